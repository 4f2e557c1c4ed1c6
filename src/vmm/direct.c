// SPDX-License-Identifier: MIT
//
// The world of direct execution: how it is made, told what to map, and run. See direct.h for its two threads. It is
// forked from the monitor before the jail closes; then its mapper throws away all that is not in direct.h. Both stay on
// one processor while it runs in turn with the monitor: a hand-over there takes 2 us, and ten times as long from one
// sleeping processor to another.
#include "vmm/direct.h"
#include "base/string.h"
#include "bt/host_signal.h"
#include "vmm/jail.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <asm/prctl.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

_Static_assert(offsetof(struct direct_commands, sequence) == DC_SEQUENCE &&
	       offsetof(struct direct_commands, count) == DC_COUNT &&
	       offsetof(struct direct_commands, then_run) == DC_THEN_RUN &&
	       offsetof(struct direct_commands, gate) == DC_GATE &&
	       offsetof(struct direct_commands, command) == DC_COMMAND &&
	       sizeof(struct direct_command) == DC_COMMAND_SIZE && offsetof(struct direct_state, run) == DS_RUN &&
	       offsetof(struct direct_state, left) == DS_LEFT && offsetof(struct direct_state, signal) == DS_SIGNAL &&
	       offsetof(struct direct_state, arch) == DS_ARCH && offsetof(struct direct_state, frame) == DS_FRAME &&
	       offsetof(struct direct_state, selector) == DS_SELECTORS &&
	       offsetof(struct direct_state, fs_base) == DS_FS_BASE &&
	       offsetof(struct direct_state, gs_base) == DS_GS_BASE &&
	       offsetof(struct direct_state, call) == DS_CALL, "ORDER DIRECT");
_Static_assert(DIRECT_MAP_FLAGS == (MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE), "direct.h has no mman.h");
_Static_assert(sizeof(struct direct_commands) <= DIRECT_COMMANDS_SIZE, "it outgrew its place");

#define USER_END 0x7ffffffff000
#define UPPER_HALF (~UINT64_C(0) << 47)

enum {
	UC_FPSTATE = UC_CR2 + 1, UC_SIZE = 512,
	LEGACY_SIZE = 512, HEADER_SIZE = 64, LEGACY_MXCSR = 24, // SDM, "Legacy Region of an XSAVE Area", "XSAVE Header"
	GUEST_STATE = 0xe7,
	TIMED_BATCHES = 16, REPIN_MS = 20, FREE_MS = 5,
	LOST_AFTER = 200, // times 10 ms that it has not answered a kick, or has not gone to sleep
	YIELDS = 100,     // before waiting for that is worth a nap
};

static struct direct_commands *commands(void)
{
	return (struct direct_commands *)DIRECT_COMMANDS;
}

static struct direct_state *state(void)
{
	return (struct direct_state *)DIRECT_STATE;
}

// -- making it ----------------------------------------------------------------------------------------------------

static const uint8_t caught[] = {SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGUSR1};

static long catch_all(void)
{
	const stack_t ss = {.ss_sp = (void *)DIRECT_STACK, .ss_size = DIRECT_STACK_SIZE};
	const struct linux_sigaction act = {
		.handler = (void *)(uintptr_t)direct_handler,
		.flags = SA_SIGINFO | SA_ONSTACK | LINUX_SA_RESTORER,
		.restorer = (void *)(uintptr_t)direct_handler, // which never returns
		.mask = ~UINT64_C(0),
	};
	uint64_t all = ~UINT64_C(0);
	long err = linux_call3(SYS_sigaltstack, (uintptr_t)&ss, 0, 0);

	for (unsigned i = 0; !err && i < ARRAY_SIZE(caught); i++)
		err = linux_call6(SYS_rt_sigaction, caught[i], (uintptr_t)&act, 0, 8, 0, 0);
	return err ? err : linux_call6(SYS_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&all, 0, 8, 0, 0);
}

static long unblock(void)
{
	uint64_t none = 0;

	return linux_call6(SYS_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&none, 0, 8, 0, 0);
}

// The child: becomes the runner. Its first exception tells the monitor that all went well.
_Noreturn static void become_world(void)
{
	long err = linux_call3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0), mapper;

	err |= linux_call3(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0);
	state()->cpuid_faults = !linux_call3(SYS_arch_prctl, ARCH_SET_CPUID, 0, 0);
	err |= linux_call3(SYS_mprotect, DIRECT_COMMANDS, DIRECT_COMMANDS_SIZE, PROT_READ);
	err |= catch_all(); // all blocked: so they stay in the mapper
	err |= jail_close_mapper();
	mapper = direct_start_mapper();
	if (err || mapper < 0)
		linux_exit(1);
	state()->mapper = (uint32_t)mapper;
	err = linux_call3(SYS_close_range, 0, ~0u, 0);
	err |= unblock();
	if (err || jail_close_runner())
		linux_exit(1);
	__asm__ volatile("wrgsbase %0; wrfsbase %0; ud2" : : "r"(UINT64_C(0)));
	__builtin_unreachable();
}

static bool await(struct vmm *vm, uint32_t what)
{
	const struct linux_timespec moment = {0, 100000000};

	for (unsigned i = 0; !state()->left && i < 50 && !vm->direct.dead; i++)
		linux_futex_wait(&state()->left, 0, &moment);
	return state()->left == what;
}

static void command(struct vmm *vm, uint64_t at, uint64_t size, uint64_t prot, uint64_t offset)
{
	struct direct_commands *c = commands();

	c->command[vm->direct.queued++] = (struct direct_command){at, size, prot, offset};
}

static void send_commands(struct vmm *vm, bool then_run)
{
	struct direct_commands *c = commands();

	c->count = vm->direct.queued;
	c->then_run = then_run;
	vm->direct.queued = 0;
	c->sequence++;
	linux_futex_wake(&c->sequence);
}

// Have them done while the runner waits. False: the host has refused one.
static bool map_now(struct vmm *vm)
{
	state()->left = 0;
	send_commands(vm, false);
	return await(vm, DIRECT_MAPPED);
}

static uint64_t *frame(void)
{
	uint64_t at = state()->frame;

	return at % 8 || at - DIRECT_STACK > DIRECT_STACK_SIZE - UC_SIZE ? NULL : (uint64_t *)at;
}

// The vector state in the frame, NULL if it is not where the host's kernel puts it.
static uint8_t *vectors_in(const struct vmm *vm, const uint64_t *uc)
{
	uint64_t at = uc[UC_FPSTATE];

	return at % 64 || at - DIRECT_STACK > DIRECT_STACK_SIZE - vm->direct.vectors ? NULL : (uint8_t *)at;
}

static void nap(void)
{
	const struct linux_timespec moment = {0, 10000000};
	_Atomic uint32_t never = 0;

	linux_futex_wait(&never, 0, &moment);
}

// Afterwards no guest code runs there any more.
static void kill_world(struct vmm *vm)
{
	if (!vm->direct.pid)
		return;
	if (!vm->direct.dead)
		linux_call3(SYS_tgkill, vm->direct.pid, vm->direct.pid, SIGKILL);
	for (unsigned i = 0; !vm->direct.dead && i < LOST_AFTER; i++)
		nap();
	ASSERT(vm->direct.dead);
	vm->direct.pid = 0;
}

// That it has left is a word which guest code can write: the host knows better. Whoever sleeps on `run` - nobody but
// the runner can - is moved to the gate, which nothing in the world can wake but the mapper, by our command.
static bool is_asleep(void)
{
	return linux_futex_requeue(&state()->run, &commands()->gate) == 1 ||
	       linux_futex_requeue(&commands()->gate, &commands()->gate) == 1; // it sleeps there already
}

// Guest code does not run in the world when this is true, nor until wake_runner or a command to the mapper.
static bool await_sleep(struct vmm *vm)
{
	for (unsigned i = 0; i < YIELDS + LOST_AFTER && !vm->direct.dead; i++) {
		if (is_asleep())
			return true;
		if (i < YIELDS)
			linux_call3(SYS_sched_yield, 0, 0, 0);
		else
			nap();
	}
	return false;
}

// A job-control stop sends a sleeper back to the word that it came by.
static void wake_runner(void)
{
	state()->run = 1;
	if (linux_futex_wake(&commands()->gate) != 1)
		linux_futex_wake(&state()->run);
}

// The length of XSAVE's image of the guest's state, in its standard form (SDM, "CPUID - Processor Extended State").
static uint32_t vectors_size(const struct vmm *vm)
{
	uint32_t end = LEGACY_SIZE + HEADER_SIZE;

	for (uint32_t i = 2; i < 8; i++) {
		uint32_t size = 0xd, at, c = i, d;

		if (!(vm->shared->config.host_xcr0 & GUEST_STATE & BIT(i)))
			continue;
		__asm__("cpuid" : "+a"(size), "=b"(at), "+c"(c), "=d"(d));
		end = MAX(end, at + size);
	}
	return end;
}

static bool host_is_able(struct vmm *vm)
{
	_Atomic uint32_t word = 0;

	return vm->fsgsbase && vm->shared->config.host_xcr0 &&
	       linux_futex_wait_both(&word, 1, &word, 1) == -EAGAIN &&
	       linux_call3(SYS_sched_getaffinity, 0, sizeof(vm->direct.processors), (uintptr_t)vm->direct.processors) > 0;
}

void direct_make(struct vmm *vm)
{
	uint64_t text = (uintptr_t)direct_text, text_end = (uintptr_t)direct_text_end;
	long pid;

	if (!host_is_able(vm))
		return;
	pid = linux_call6(SYS_mmap, ZONE_DIRECT, DIRECT_END - ZONE_DIRECT, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0);
	if (pid != (long)ZONE_DIRECT)
		return;
	vm->direct.vectors = vectors_size(vm);
	if (vm->direct.vectors > XSAVE_AREA_MAX)
		return;
	pid = linux_call6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);
	if (!pid)
		become_world();
	if (pid < 0)
		return;
	vm->direct.pid = (uint32_t)pid;
	if (!await(vm, DIRECT_LEFT) || !await_sleep(vm)) {
		kill_world(vm);
		return;
	}
	vm->direct.mapper = state()->mapper;
	vm->direct.cpuid_faults = state()->cpuid_faults;
	command(vm, 0, text, DC_UNMAP, 0);
	command(vm, text_end, ZONE_DIRECT - text_end, DC_UNMAP, 0);
	command(vm, DIRECT_END, USER_END - DIRECT_END, DC_UNMAP, 0);
	if (!map_now(vm))
		kill_world(vm);
}

// By the signal.
void direct_child_ended(struct vmm *vm)
{
	vm->direct.dead = true;
	vm->vcpu->pending |= PENDING_IRQ; // whoever waits looks
}

bool vmm_direct_ready(const struct vcpu *v)
{
	return vmm_of(v)->direct.pid && !vmm_of(v)->direct.dead;
}

bool vmm_direct_cpuid_faults(const struct vcpu *v)
{
	return vmm_of(v)->direct.cpuid_faults;
}

// -- its pages ----------------------------------------------------------------------------------------------------

static void room_for_one(struct vmm *vm)
{
	if (vm->direct.queued == DIRECT_COMMANDS_MAX && !map_now(vm))
		kill_world(vm); // what it maps is not known
}

void vmm_direct_map(struct vcpu *v, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights)
{
	uint64_t prot = PROT_READ;

	prot |= (rights & VMM_DIRECT_WRITE ? PROT_WRITE : 0) | (rights & VMM_DIRECT_EXEC ? PROT_EXEC : 0);

	ASSERT(mem_is_ram(&v->shared->config.mem, gpa, size) && gva < USER_END && size <= USER_END - gva &&
	       (gva + size <= ZONE_START || gva >= ZONE_END));
	room_for_one(vmm_of(v));
	command(vmm_of(v), gva, size, prot, mem_file_offset(&v->shared->config.mem, gpa));
}

void vmm_direct_unmap(struct vcpu *v, gva_t gva, uint64_t size)
{
	room_for_one(vmm_of(v));
	command(vmm_of(v), gva, size, DC_UNMAP, 0);
}

void vmm_direct_unmap_all(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);

	vm->direct.queued = 0;
	command(vm, 0, ZONE_START, DC_UNMAP, 0);
	command(vm, ZONE_END, USER_END - ZONE_END, DC_UNMAP, 0);
}

// -- running it ---------------------------------------------------------------------------------------------------

// In the order of x86 register numbers.
static const uint8_t frame_word[X86_GPRS] = {UC_RAX, UC_RCX, UC_RDX, UC_RBX, UC_RSP, UC_RBP, UC_RSI, UC_RDI,
	UC_R8, UC_R8 + 1, UC_R8 + 2, UC_R8 + 3, UC_R8 + 4, UC_R8 + 5, UC_R8 + 6, UC_R8 + 7};

enum { FRAME_FLAGS = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_AC };

static void put_state(const struct vcpu *v, uint64_t *uc, uint8_t *vectors)
{
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & GUEST_STATE;

	for (unsigned r = 0; r < X86_GPRS; r++)
		uc[frame_word[r]] = v->gpr[r];
	uc[UC_RIP] = v->rip;
	uc[UC_EFLAGS] = (v->rflags & FRAME_FLAGS) | RFLAGS_IF | RFLAGS_FIXED1;
	uc[UC_SEGS] = (uint64_t)v->seg[X86_SS].sel << 48 | v->seg[X86_CS].sel;
	state()->fs_base = v->seg[X86_FS].base;
	state()->gs_base = v->seg[X86_GS].base;
	state()->frame = (uintptr_t)uc;
	__asm__ volatile("xsave64 %0" : "+m"(*(uint8_t (*)[XSAVE_AREA_MAX])vectors) : "a"(mask), "d"(0));
}

// Guest code may have written there, and may do so yet: what XRSTOR would not take is put right in a copy.
static void take_vectors(struct vcpu *v, const uint8_t *vectors)
{
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & GUEST_STATE;
	uint64_t *header = (uint64_t *)(v->xsave + LEGACY_SIZE);

	memcpy(v->xsave, vectors, vmm_of(v)->direct.vectors);
	header[0] &= mask; // the frame may hold more than is the guest's
	for (unsigned i = 1; i < HEADER_SIZE / 8; i++)
		header[i] = 0;
	*(uint32_t *)(v->xsave + LEGACY_MXCSR) &= v->shared->config.mxcsr_mask;
	__asm__ volatile("xrstor64 %0" : : "m"(v->xsave), "a"(mask), "d"(0));
}

static bool is_canonical(uint64_t address)
{
	return address < BIT64(47) || address >= UPPER_HALF;
}

// False: guest code has forged what no processor could hold.
static bool take_state(struct vcpu *v, const uint64_t *uc, uint8_t *vectors, struct direct_left *left)
{
	if (!is_canonical(uc[UC_RIP]) || !is_canonical(state()->fs_base) || !is_canonical(state()->gs_base))
		return false;
	for (unsigned r = 0; r < X86_GPRS; r++)
		v->gpr[r] = uc[frame_word[r]];
	v->rip = uc[UC_RIP];
	v->rflags = (v->rflags & ~(uint64_t)(FRAME_FLAGS | RFLAGS_RF)) |
		    (uc[UC_EFLAGS] & (FRAME_FLAGS | RFLAGS_TF | RFLAGS_NT | RFLAGS_ID)) | RFLAGS_FIXED1;
	v->seg[X86_FS].base = state()->fs_base;
	v->seg[X86_GS].base = state()->gs_base;
	left->code_selector = (uint16_t)uc[UC_SEGS];
	memcpy(left->selector, state()->selector, sizeof(left->selector));
	take_vectors(v, vectors);
	return true;
}

// A system call that was none: the host has made one of a fetch from its page of old system calls, and has gone back to
// the caller. (It has lost RAX, where the call's result belongs.)
static bool is_old_call(void)
{
	return state()->arch == AUDIT_ARCH_X86_64 && state()->call >= UPPER_HALF;
}

static void undo_old_call(struct vcpu *v, struct direct_left *left)
{
	v->rip = left->cr2 = state()->call;
	v->gpr[X86_RSP] -= 8;
	left->how = DIRECT_EXCEPTION;
	left->vector = VEC_PF;
	left->error = PF_U | PF_I;
}

static void classify(struct vcpu *v, const uint64_t *uc, struct direct_left *left)
{
	left->vector = (unsigned)uc[UC_TRAPNO];
	left->error = uc[UC_ERR];
	left->cr2 = uc[UC_CR2];
	switch (state()->signal) {
	case SIGUSR1:
		left->how = DIRECT_KICKED;
		break;
	case SIGSYS:
		if (is_old_call()) {
			undo_old_call(v, left);
			break;
		}
		left->how = state()->arch == AUDIT_ARCH_X86_64 ? DIRECT_SYSCALL : DIRECT_EXCEPTION;
		left->vector = VEC_UD; // INT 80h, run again by the monitor
		v->rip -= v->rip < USER_END ? 2 : 0;
		break;
	default:
		left->how = DIRECT_EXCEPTION;
	}
}

// That the monitor and the world have had, in ns. (A process has a clock by its number: clock_getcpuclockid.)
static uint64_t processor_time(const struct vmm *vm)
{
	const uint64_t clocks[2] = {CLOCK_PROCESS_CPUTIME_ID, (uint64_t)(~(int64_t)vm->direct.pid << 3 | 2)};
	uint64_t ns = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(clocks); i++) {
		struct linux_timespec t = {0, 0};

		linux_call3(SYS_clock_gettime, clocks[i], (uintptr_t)&t, 0);
		ns += (uint64_t)t.sec * 1000000000 + (uint64_t)t.nsec;
	}
	return ns;
}

// Has somebody else had more than a third of the time since they were put there?
static bool is_starved(const struct vmm *vm, uint64_t now)
{
	uint64_t ns = vmm_tsc_to_ns(vm->vcpu, now - vm->direct.pinned);
	uint64_t halted = vcpu_stats(vm->vcpu)->halt_ns - vm->direct.halted;

	return processor_time(vm) - vm->direct.worked + halted < ns / 3 * 2;
}

// With several vCPUs each has one of its own as far as there are.
static uint32_t processor_of(const struct vmm *vm)
{
	unsigned left = vm->vcpu->index % vm->processors;

	for (unsigned cpu = 0; cpu < 64 * ARRAY_SIZE(vm->direct.processors); cpu++)
		if (vm->direct.processors[cpu / 64] >> cpu % 64 & 1 && !left--)
			return cpu;
	return 0;
}

static void release(struct vmm *vm, uint64_t now)
{
	const uint32_t threads[] = {0, vm->direct.pid, vm->direct.mapper};

	for (unsigned i = 0; i < ARRAY_SIZE(threads); i++)
		linux_call3(SYS_sched_setaffinity, threads[i], sizeof(vm->direct.processors),
			    (uintptr_t)vm->direct.processors);
	vm->direct.pinned = 0;
	vm->direct.free_until = now + vm->shared->config.tsc_hz / 1000 * FREE_MS;
}

// The monitor and the world to the processor that the host would have it on.
static void pin(struct vmm *vm)
{
	uint64_t now = linux_rdtsc(), one[ARRAY_SIZE(vm->direct.processors)] = {0};
	uint32_t cpu = 0;

	if (vm->processors == 1 ||
	    (vm->direct.pinned && now - vm->direct.pinned < vm->shared->config.tsc_hz / 1000 * REPIN_MS))
		return;
	if (vm->direct.pinned && is_starved(vm, now)) { // for a moment, so that the host may find a better one
		release(vm, now);
		return;
	}
	if (now < vm->direct.free_until)
		return;
	if (vm->shared->config.vcpus > 1)
		cpu = processor_of(vm);
	else
		linux_call3(SYS_getcpu, (uintptr_t)&cpu, 0, 0);
	one[cpu / 64 % ARRAY_SIZE(one)] = BIT64(cpu % 64);
	linux_call3(SYS_sched_setaffinity, 0, sizeof(one), (uintptr_t)one);
	linux_call3(SYS_sched_setaffinity, vm->direct.pid, sizeof(one), (uintptr_t)one);
	linux_call3(SYS_sched_setaffinity, vm->direct.mapper, sizeof(one), (uintptr_t)one);
	vm->direct.pinned = now;
	vm->direct.halted = vcpu_stats(vm->vcpu)->halt_ns;
	vm->direct.worked = processor_time(vm);
}

void vmm_direct_rest(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);

	if (vm->direct.pinned)
		release(vm, 0);
}

// Until it has left, and sleeps. False: it is dead, or does not answer.
static bool wait_for_it(struct vcpu *v)
{
	const struct linux_timespec moment = {0, 10000000};
	struct vmm *vm = vmm_of(v);
	_Atomic uint32_t *asleep = &v->shared->vcpu_asleep[v->index];
	unsigned kicked = 0; // and has not answered so often

	*asleep = VCPU_AWAY;
	while (!state()->left && !vm->direct.dead) {
		if (v->pending && !kicked) {
			linux_call3(SYS_tgkill, vm->direct.pid, vm->direct.pid, SIGUSR1);
			kicked = 1;
		}
		if (!kicked)
			linux_futex_wait_both(&v->pending, 0, &state()->left, 0);
		else if (kicked < LOST_AFTER)
			kicked += linux_futex_wait(&state()->left, 0, &moment) == -ETIMEDOUT;
		else
			break;
	}
	*asleep = VCPU_AWAKE;
	return state()->left && await_sleep(vm);
}

// One batch in so many is waited for, to know what they cost on this host.
static bool time_commands(struct vmm *vm)
{
	uint64_t start = linux_rdtsc(), n = vm->direct.queued, *average = &vm->direct.command_cycles;

	if (vm->direct.batches++ % TIMED_BATCHES)
		return true;
	if (!map_now(vm))
		return false;
	*average = *average ? (*average * 3 + (linux_rdtsc() - start) / n) / 4 : (linux_rdtsc() - start) / n;
	return true;
}

uint64_t vmm_direct_command_cycles(const struct vcpu *v)
{
	return vmm_of(v)->direct.command_cycles;
}

void vmm_direct_run(struct vcpu *v, struct direct_left *left)
{
	struct vmm *vm = vmm_of(v);
	uint64_t *uc = frame();
	uint8_t *vectors = uc ? vectors_in(vm, uc) : NULL;

	pin(vm);
	if (vm->direct.queued && !time_commands(vm)) {
		left->how = DIRECT_FULL;
		return;
	}
	if (vectors) {
		put_state(v, uc, vectors);
		state()->left = 0;
		if (vm->direct.queued)
			send_commands(vm, true);
		else
			wake_runner();
	}
	left->how = DIRECT_LOST;
	if (!vectors || !wait_for_it(v)) {
		kill_world(vm);
	} else if (state()->left == DIRECT_FAILED) {
		left->how = DIRECT_FULL;
		// The runner waits in the frame that it had.
	} else {
		uc = frame();
		vectors = uc ? vectors_in(vm, uc) : NULL;
		if (vectors && take_state(v, uc, vectors, left))
			classify(v, uc, left);
		else
			kill_world(vm);
	}
}
