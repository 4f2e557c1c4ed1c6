// SPDX-License-Identifier: MIT
//
// The world of direct execution, made: see direct.h for its two threads. It is forked from the monitor before the jail
// closes; then its mapper throws away all that is not in direct.h.
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

_Static_assert(offsetof(struct direct_commands, sequence) == DC_SEQUENCE &&
	       offsetof(struct direct_commands, count) == DC_COUNT &&
	       offsetof(struct direct_commands, then_run) == DC_THEN_RUN &&
	       offsetof(struct direct_commands, gate) == DC_GATE &&
	       offsetof(struct direct_commands, cpuid) == DC_CPUID &&
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


enum { CPUID_CHEAP = 3000 }; // cycles
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

// The child: becomes the runner. Its first exception tells the monitor that all went well.
_Noreturn static void become_world(void)
{
	long err = linux_call3(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0), mapper;

	direct_state()->cpuid_cycles = cost_of_catching_cpuid();
	err |= linux_call3(SYS_prctl, PR_SET_TSC, PR_TSC_SIGSEGV, 0);
	err |= linux_call3(SYS_mprotect, DIRECT_COMMANDS, DIRECT_COMMANDS_SIZE, PROT_READ);
	err |= catch_all(); // all blocked: so they stay in the mapper
	err |= jail_close_mapper();
	mapper = direct_start_mapper();
	if (err || mapper < 0)
		linux_exit(1);
	direct_state()->mapper = (uint32_t)mapper;
	err = linux_call3(SYS_close_range, 0, ~0u, 0);
	err |= unblock();
	if (err || jail_close_runner())
		linux_exit(1);
	__asm__ volatile("wrgsbase %0; wrfsbase %0; ud2" : : "r"(UINT64_C(0)));
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
	if (!direct_await(vm, DIRECT_LEFT) || !direct_await_sleep(vm) || !direct_keep_frame(vm)) {
		direct_kill(vm);
		return;
	}
	vm->direct.mapper = direct_state()->mapper;
	vm->direct.share = DIRECT_WHOLE;
	vm->direct.trip_ns = vm->direct.command_ns = 5000; // until it has been measured
	vm->direct.cpuid_cycles = direct_state()->cpuid_cycles;
	vm->direct.catches_cpuid = vm->direct.cpuid_cycles;
	direct_command(vm, 0, text, DC_UNMAP, 0);
	direct_command(vm, text_end, ZONE_DIRECT - text_end, DC_UNMAP, 0);
	direct_command(vm, DIRECT_END, DIRECT_USER_END - DIRECT_END, DC_UNMAP, 0);
	if (!direct_map_now(vm))
		direct_kill(vm);
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

uint64_t vmm_direct_cost_of_cpuid(const struct vcpu *v)
{
	return vmm_of(v)->direct.cpuid_faults ? 0 : 2 * vmm_of(v)->direct.cpuid_cycles;
}

// Also when it is so already: the last owner's code may have changed it, by a jump into the handler.
void vmm_direct_catch_cpuid(struct vcpu *v, bool on)
{
	struct vmm *vm = vmm_of(v);

	vm->direct.cpuid_faults = vm->direct.catches_cpuid && (on || vm->direct.cpuid_cycles < CPUID_CHEAP);
	vm->direct.set_cpuid = vm->direct.cpuid_faults ? 1 : vm->direct.catches_cpuid ? 2 : 0;
}
