// SPDX-License-Identifier: MIT
//
// Host exceptions and the timer's signal. An exception in translated code is bt/'s (bt_host_fault rewrites the
// interrupted context so that it goes on elsewhere); any other is a bug in ringer and becomes a crash report. Handlers
// run on their own stack with all signals masked and with vector state fresh: the guest's stands in the signal frame
// and comes back with sigreturn. The stack is disarmed meanwhile: a guest's stack pointer is never mistaken for it.
#include "bt/entry.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <signal.h>
#include <ucontext.h>

static void on_fault(int sig, siginfo_t *info, void *context)
{
	struct vcpu *v = vmm_self()->vcpu;
	ucontext_t *uc = context;
	struct report_host host = {sig, info->si_code, (uintptr_t)info->si_addr, uc->uc_mcontext.gregs};

	vcpu_stats(v)->host_faults++;
	if (info->si_code <= 0 || !bt_host_fault(v, sig, info, uc)) // not positive: sent by some process
		report_crash(v, "the monitor met a host exception", &host);
}

static void on_timer(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	struct vmm *vm = vmm_self();

	vcpu_stats(vm->vcpu)->timer_signals++;
	bt_sample(vm->vcpu, (const void *)uc->uc_mcontext.gregs[REG_RIP]);
	clock_fired(vm, info->si_value.sival_int);
	vm->vcpu->pending |= PENDING_TIMER;
}

static void on_child(int sig, siginfo_t *info, void *context)
{
	direct_child_ended(vmm_self());
}

static const struct {
	int sig;
	void (*handler)(int, siginfo_t *, void *);
} handlers[] = {
	{SIGSEGV, on_fault}, {SIGBUS, on_fault}, {SIGFPE, on_fault}, {SIGILL, on_fault}, {SIGTRAP, on_fault},
	{SIGALRM, on_timer}, {SIGCHLD, on_child},
};

int fault_catch_signals(void *stack, size_t size)
{
	const stack_t ss = {.ss_sp = stack, .ss_size = size, .ss_flags = (int)LINUX_SS_AUTODISARM};
	long err = linux_call3(SYS_sigaltstack, (uintptr_t)&ss, 0, 0);
	uint64_t none = 0;

	for (unsigned i = 0; !err && i < ARRAY_SIZE(handlers); i++) {
		const struct linux_sigaction act = {
			.handler = (void *)(uintptr_t)handlers[i].handler,
			.flags = SA_SIGINFO | SA_ONSTACK | SA_NOCLDSTOP | LINUX_SA_RESTORER,
			.restorer = (void *)(uintptr_t)fault_restorer,
			.mask = ~UINT64_C(0),
		};

		err = linux_call6(SYS_rt_sigaction, (uint64_t)handlers[i].sig, (uintptr_t)&act, 0, 8, 0, 0);
	}
	if (!err)
		err = linux_call6(SYS_rt_sigprocmask, SIG_SETMASK, (uintptr_t)&none, 0, 8, 0, 0);
	return (int)err;
}
