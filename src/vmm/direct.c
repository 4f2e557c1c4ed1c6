// SPDX-License-Identifier: MIT
//
// The worlds of direct execution, made: see direct.h for their two threads. They are forked from the monitor before the
// jail closes, as many as there will ever be; then its mapper throws away all that is not in direct.h, the other
// worlds' included.
#include "vmm/direct.h"
#include "vmm/jail.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <asm/prctl.h>
#include <errno.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

_Static_assert(offsetof(struct direct_commands, sequence) == DC_SEQUENCE &&
	       offsetof(struct direct_commands, count) == DC_COUNT &&
	       offsetof(struct direct_commands, then_run) == DC_THEN_RUN &&
	       offsetof(struct direct_commands, gate) == DC_GATE &&
	       offsetof(struct direct_commands, cpuid) == DC_CPUID && offsetof(struct direct_commands, tsc) == DC_TSC &&
	       offsetof(struct direct_commands, command) == DC_COMMAND &&
	       sizeof(struct direct_command) == DC_COMMAND_SIZE && offsetof(struct direct_state, run) == DS_RUN &&
	       offsetof(struct direct_state, left) == DS_LEFT && offsetof(struct direct_state, signal) == DS_SIGNAL &&
	       offsetof(struct direct_state, arch) == DS_ARCH && offsetof(struct direct_state, frame) == DS_FRAME &&
	       offsetof(struct direct_state, selector) == DS_SELECTORS &&
	       offsetof(struct direct_state, fs_base) == DS_FS_BASE &&
	       offsetof(struct direct_state, gs_base) == DS_GS_BASE &&
	       offsetof(struct direct_state, call) == DS_CALL && offsetof(struct direct_state, led) == DS_LED &&
	       offsetof(struct direct_state, saved) == DIRECT_SAVED &&
	       offsetof(struct direct_state, target) == DIRECT_TARGET &&
	       offsetof(struct direct_state, looked_up) == DIRECT_LOOKED_UP, "ORDER DIRECT");
_Static_assert(sizeof(struct displaced_area) == DISPLACED_SIZE && DIRECT_SIZE % PAGE_SIZE == 0 &&
	       sizeof(struct displaced_place) == 16 && offsetof(struct displaced_place, slot) == 8,
	       "displaced.h, direct.S");
_Static_assert(DIRECT_MAP_FLAGS == (MAP_SHARED | MAP_FIXED | MAP_NORESERVE | MAP_POPULATE), "direct.h has no mman.h");
_Static_assert(sizeof(struct direct_commands) <= DIRECT_COMMANDS_SIZE, "it outgrew its place");


enum { CHEAP = 3000 }; // cycles
enum { WORLDS_IN_ALL = 16 }; // of all vCPUs, but for two each; and as many spare ones
enum { LEGACY_SIZE = 512, HEADER_SIZE = 64 }; // SDM, "Legacy Region of an XSAVE Area", "XSAVE Header"

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

// Can CPUID be made to fault, and what does that take? The host writes a register at each switch to the runner and from
// it then; where the host is a guest itself, that may be ten times as long as all the rest of the switch. 0: it cannot.
static uint32_t cost_of_catching_cpuid(void)
{
	uint64_t least = UINT32_MAX;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t start = linux_rdtsc();

		if (linux_call3(SYS_arch_prctl, ARCH_SET_CPUID, i % 2, 0))
			return 0;
		least = MIN(least, linux_rdtsc() - start);
	}
	return (uint32_t)least;
}

// Likewise for RDTSC, which every host can have fault: a control register that is written at such switches.
static uint32_t cost_of_catching_tsc(void)
{
	uint64_t least = UINT32_MAX;

	for (unsigned i = 0; i < 8; i++) {
		uint64_t start = linux_rdtsc(), mid;

		linux_call3(SYS_prctl, PR_SET_TSC, PR_TSC_ENABLE, 0); // as it is
		mid = linux_rdtsc();
		linux_call3(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0);
		linux_call3(SYS_prctl, PR_SET_TSC, PR_TSC_ENABLE, 0);
		least = MIN(least, (linux_rdtsc() - mid - 2 * (mid - start)) / 2);
	}
	return (uint32_t)least;
}

// Newer kernels have calls which pass every filter, wherever they are made (uretprobe, uprobe); these have this, which
// comes before the filter: only the monitor's text, of which the handler's page will be left, makes calls of the host.
static void dispatch_calls(void)
{
	linux_call6(SYS_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, ZONE_IMAGE, ZONE_STACK - ZONE_IMAGE, 0, 0);
}

// The child: becomes the runner. Its first exception tells the monitor that all went well.
_Noreturn static void become_world(const struct world *own)
{
	struct direct_state *state = (struct direct_state *)DIRECT_STATE;
	long err = linux_call3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0), mapper;

	if (own->area != ZONE_DIRECT)
		err |= linux_call6(SYS_mremap, own->area, DIRECT_SIZE, DIRECT_SIZE, MREMAP_MAYMOVE | MREMAP_FIXED, ZONE_DIRECT,
				   0) != ZONE_DIRECT;
	if (err)
		linux_exit(1);
	state->cpuid_cycles = cost_of_catching_cpuid();
	state->tsc_cycles = cost_of_catching_tsc();
	err |= linux_call3(SYS_mprotect, DIRECT_COMMANDS, DIRECT_COMMANDS_SIZE, PROT_READ);
	err |= linux_call3(SYS_mprotect, DIRECT_DISPLACED, DISPLACED_INDEX_SIZE, PROT_READ);
	err |= linux_call3(SYS_mprotect, DIRECT_DISPLACED + DISPLACED_INDEX_SIZE, DISPLACED_SIZE - DISPLACED_INDEX_SIZE,
			   PROT_READ | PROT_EXEC);
	err |= catch_all(); // all blocked: so they stay in the mapper
	err |= jail_close_mapper();
	mapper = direct_start_mapper();
	if (err || mapper < 0)
		linux_exit(1);
	state->mapper = (uint32_t)mapper;
	err = linux_call3(SYS_close_range, 0, ~0u, 0);
	err |= unblock();
	dispatch_calls();
	if (err || jail_close_runner())
		linux_exit(1);
	__asm__ volatile("wrgsbase %0; wrfsbase %0\n"
			 "lea 1f(%%rip), %%rax; .byte 0xf1 /* INT1 */; 1: ud2" : : "c"(UINT64_C(0)));
	__builtin_unreachable();
}

// The length of XSAVE's image of the guest's state, in its standard form (SDM, "CPUID - Processor Extended State").
static uint32_t vectors_size(const struct vmm *vm)
{
	uint32_t end = LEGACY_SIZE + HEADER_SIZE;

	for (uint32_t i = 2; i < 8; i++) {
		uint32_t size = 0xd, at, c = i, d;

		if (!(vm->shared->config.host_xcr0 & DIRECT_XCR0 & BIT(i)))
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

static bool make_area(struct world *w, uint64_t area)
{
	struct displaced_area *none;

	w->area = area;
	if (linux_call6(SYS_mmap, area, DIRECT_SIZE, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, (uint64_t)-1, 0) != (long)area)
		return false;
	none = (struct displaced_area *)(area + DIRECT_DISPLACED - ZONE_DIRECT);
	none->index[0].slot = DIRECT_DISPLACED + DISPLACED_INDEX_SIZE; // what is looked up on page 0 finds nothing
	return true;
}

// It has come to its first exception: all that it has of the monitor goes.
static bool strip(struct vmm *vm, struct world *w)
{
	uint64_t text = (uintptr_t)direct_text, text_end = (uintptr_t)direct_text_end;

	if (!direct_await(w, DIRECT_LEFT) || !direct_await_sleep(w) || !direct_keep_frame(vm, w))
		return false;
	w->mapper = direct_state(w)->mapper;
	direct_command(w, 0, text, DC_UNMAP, 0);
	direct_command(w, text_end, ZONE_DIRECT - text_end, DC_UNMAP, 0);
	direct_command(w, DIRECT_END, DIRECT_USER_END - DIRECT_END, DC_UNMAP, 0);
	return direct_map_now(w);
}

static bool fork_world(struct world *w)
{
	long pid = linux_call6(SYS_clone, SIGCHLD, 0, 0, 0, 0, 0);

	if (!pid)
		become_world(w);
	w->pid = pid > 0 ? (uint32_t)pid : 0;
	return w->pid;
}

void direct_make(struct vmm *vm)
{
	unsigned n = MIN(MAX(WORLDS_IN_ALL / vm->shared->config.vcpus, 2u), (unsigned)VMM_WORLDS);
	struct world *w = vm->direct.world, *all[VMM_WORLDS + VMM_SPARES];

	vm->direct.vectors = vectors_size(vm);
	if (!host_is_able(vm) || vm->direct.vectors > XSAVE_AREA_MAX)
		return;
	for (unsigned i = 0; i < 2 * n; i++) {
		all[i] = i < n ? &w[i] : &w[VMM_WORLDS + i - n];
		if (!make_area(all[i], ZONE_DIRECT + i * DIRECT_SIZE))
			return;
	}
	for (unsigned i = 0; i < 2 * n && fork_world(all[i]); i++)
		vm->direct.spares = MAX(i + 1, n) - n;
	for (unsigned i = 0; i < 2 * n && all[i]->pid; i++)
		if (!strip(vm, all[i]))
			direct_kill(all[i]);
	vm->direct.share = DIRECT_WHOLE;
	vm->direct.trip_ns = vm->direct.command_ns = 5000; // until it has been measured
	vm->direct.cpuid_cycles = direct_state(&w[0])->cpuid_cycles;
	vm->direct.catches_cpuid = vm->direct.cpuid_cycles;
	vm->direct.tsc_cycles = direct_state(&w[0])->tsc_cycles;
}

// By the signal, of which there may be one for two that ended: so all are asked. They stay as they are, unreaped, lest
// their numbers become another process's.
void direct_child_ended(struct vmm *vm)
{
	for (unsigned i = 0; i < ARRAY_SIZE(vm->direct.world); i++) {
		struct world *w = &vm->direct.world[i];
		siginfo_t info = {0};

		if (w->pid && !linux_call6(SYS_waitid, P_PID, w->pid, (uintptr_t)&info, WEXITED | WNOHANG | WNOWAIT, 0, 0))
			w->dead |= info.si_pid != 0;
	}
	vm->vcpu->pending |= PENDING_IRQ; // whoever waits looks
}

static bool is_alive(const struct world *w)
{
	return w->pid && !w->dead;
}

bool vmm_direct_is_alive(const struct vcpu *v, unsigned world)
{
	return is_alive(&vmm_of(v)->direct.world[world]);
}

bool vmm_direct_may_renew(const struct vcpu *v)
{
	return vmm_of(v)->direct.spares;
}

// The lost one's number is kept by its remains, which nobody reaps.
void vmm_direct_renew(struct vcpu *v, unsigned world)
{
	struct vmm *vm = vmm_of(v);
	struct world *w = &vm->direct.world[world];

	while (!is_alive(w) && vm->direct.spares) {
		struct world *spare = &vm->direct.world[VMM_WORLDS + --vm->direct.spares];

		*w = *spare;
		spare->pid = 0;
		vcpu_stats(v)->direct_renewals++;
	}
}

bool vmm_direct_cpuid_faults(const struct vcpu *v, unsigned world)
{
	return vmm_of(v)->direct.world[world].cpuid_faults;
}

uint64_t vmm_direct_cost_of_cpuid(const struct vcpu *v, unsigned world)
{
	return vmm_direct_cpuid_faults(v, world) ? 0 : 2 * vmm_of(v)->direct.cpuid_cycles;
}

// Also when it is so already: the code of the world's last space may have changed it, by a jump into the handler.
void vmm_direct_catch_cpuid(struct vcpu *v, unsigned world, bool on)
{
	struct vmm *vm = vmm_of(v);
	struct world *w = &vm->direct.world[world];

	w->cpuid_faults = vm->direct.catches_cpuid && (on || vm->direct.cpuid_cycles < CHEAP);
	w->set_cpuid = w->cpuid_faults ? 1 : vm->direct.catches_cpuid ? 2 : 0;
}

bool vmm_direct_tsc_faults(const struct vcpu *v, unsigned world)
{
	return vmm_of(v)->direct.world[world].tsc_faults;
}

uint64_t vmm_direct_cost_of_tsc(const struct vcpu *v)
{
	return 2 * vmm_of(v)->direct.tsc_cycles;
}

void vmm_direct_catch_tsc(struct vcpu *v, unsigned world, bool on)
{
	struct vmm *vm = vmm_of(v);
	struct world *w = &vm->direct.world[world];

	w->tsc_faults = on || vm->direct.tsc_cycles < CHEAP;
	w->set_tsc = w->tsc_faults ? PR_TSC_SIGSEGV : PR_TSC_ENABLE;
}
