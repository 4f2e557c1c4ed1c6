// SPDX-License-Identifier: MIT
//
// The jail: what the monitor may ask of the host kernel once guest code can run. Anything else, and any other
// architecture's system calls, kills the whole process, which the app notices and reports. The list is what the
// monitor uses and no more: waiting (futex, wait and wake only), coming back from a signal, its one timer, the time of
// day, and ending. No call here opens, maps or sends anything: a monitor taken over by its guest reaches this machine's
// memory and the app's request slots, nothing else.
#include "vmm/jail.h"
#include "base/types.h"
#include "vmm/linux.h"
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define KILL BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)
#define UNLESS(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, skip)
#define IF(value, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, skip, 0)
#define ALLOW_CALL(nr) UNLESS(nr, 1), ALLOW

static const struct sock_filter filter[] = {
	LOAD(arch), IF(AUDIT_ARCH_X86_64, 1), KILL,
	LOAD(nr),
	ALLOW_CALL(SYS_rt_sigreturn),
	ALLOW_CALL(SYS_timer_settime),
	ALLOW_CALL(SYS_clock_gettime),
	ALLOW_CALL(SYS_sched_yield),
	ALLOW_CALL(SYS_exit),
	ALLOW_CALL(SYS_exit_group),
	IF(SYS_futex, 1), KILL,
	LOAD(args[1]), // the operation, its low half: the high one is ignored by the kernel, too
	IF(LINUX_FUTEX_WAIT, 2), IF(LINUX_FUTEX_WAKE, 1), KILL, ALLOW,
};

struct sock_fprog jail_filter(void)
{
	return (struct sock_fprog){ARRAY_SIZE(filter), (struct sock_filter *)filter};
}

int jail_close(void)
{
	struct sock_fprog p = jail_filter();
	long err = linux_call6(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0);

	if (err)
		return (int)err;
	// Without SPEC_ALLOW older kernels slow the whole process down (docs/SAFETY.md says what speculation can read).
	return (int)linux_call3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, (uintptr_t)&p);
}
