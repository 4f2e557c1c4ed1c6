// SPDX-License-Identifier: MIT
//
// A seccomp filter over the app (seccomp(2)), as QEMU's -sandbox: calls that change the host itself or reach into
// other processes end it at once. With spawn=deny execve fails, and so does execveat but for one descriptor with an
// empty path: the monitor's, which can neither be closed nor be replaced, so that a reset of the guest still starts a
// new monitor. What is left is what devices need: files, sockets, memory, threads. The monitor inherits the filter, and
// has its own.
#include "host/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILTER_MAX = 200, CLOEXEC_ONLY = 4 /* CLOSE_RANGE_CLOEXEC */ };

#define DENY_FAIL (SECCOMP_RET_ERRNO | EPERM)
#define DENY_KILL SECCOMP_RET_KILL_PROCESS

static const unsigned always[] = {
	SYS_reboot, SYS_swapon, SYS_swapoff, SYS_syslog, SYS_mount, SYS_umount2, SYS_kexec_load, SYS_kexec_file_load,
	SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev,
	SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_keyctl, SYS_add_key, SYS_request_key, SYS_pivot_root, SYS_chroot,
	SYS_unshare, SYS_setns, SYS_acct, SYS_settimeofday, SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_iopl,
	SYS_ioperm, SYS_open_by_handle_at, SYS_quotactl, SYS_sethostname, SYS_setdomainname, SYS_vhangup, SYS_personality,
	SYS_uselib, SYS_ustat, SYS_sysfs, SYS__sysctl, SYS_create_module, SYS_get_kernel_syms, SYS_query_module,
};
static const unsigned privileges[] = {
	SYS_setuid, SYS_setgid, SYS_setreuid, SYS_setregid, SYS_setresuid, SYS_setresgid, SYS_setgroups, SYS_setfsuid,
	SYS_setfsgid, SYS_capset,
};
static const unsigned scheduling[] = {
	SYS_setpriority, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_sched_setattr,
	SYS_ioprio_set,
};

struct filter {
	struct sock_filter at[FILTER_MAX];
	unsigned short n;
};

static void add(struct filter *f, struct sock_filter what)
{
	if (f->n < FILTER_MAX)
		f->at[f->n++] = what;
}

static void load(struct filter *f, size_t offset)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

static void end(struct filter *f, unsigned action)
{
	add(f, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

// If what is loaded is value, the next n instructions; else past them.
static void when(struct filter *f, unsigned value, unsigned n)
{
	add(f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, (uint8_t)n));
}

static void deny(struct filter *f, const unsigned *calls, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		when(f, calls[i], 1);
		end(f, DENY_KILL);
	}
}

static size_t argument(unsigned n)
{
	return offsetof(struct seccomp_data, args) + 8 * n; // its low half
}

// A call whose argument n must not be value.
static void deny_value(struct filter *f, unsigned call, unsigned n, unsigned value)
{
	when(f, call, 4);
	load(f, argument(n));
	when(f, value, 1);
	end(f, DENY_FAIL);
	end(f, SECCOMP_RET_ALLOW);
}

static void deny_spawn(struct filter *f, unsigned fd)
{
	when(f, SYS_execve, 1);
	end(f, DENY_FAIL);
	when(f, SYS_execveat, 6);
	load(f, argument(0));
	when(f, fd, 3);
	load(f, argument(4));
	when(f, AT_EMPTY_PATH, 1);
	end(f, SECCOMP_RET_ALLOW);
	end(f, DENY_FAIL);
	deny_value(f, SYS_close, 0, fd);
	deny_value(f, SYS_dup2, 1, fd);
	deny_value(f, SYS_dup3, 1, fd);
	when(f, SYS_close_range, 4);
	load(f, argument(2));
	when(f, CLOEXEC_ONLY, 1);
	end(f, SECCOMP_RET_ALLOW);
	end(f, DENY_FAIL);
}

int confine_close(const struct confine *c, int monitor_fd)
{
	struct filter f = {.n = 0};
	struct sock_fprog program;

	load(&f, offsetof(struct seccomp_data, arch));
	when(&f, AUDIT_ARCH_X86_64, 1);
	add(&f, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0));
	end(&f, DENY_KILL);
	load(&f, offsetof(struct seccomp_data, nr));
	deny(&f, always, ARRAY_SIZE(always));
	if (c->no_privileges)
		deny(&f, privileges, ARRAY_SIZE(privileges));
	if (c->no_scheduling)
		deny(&f, scheduling, ARRAY_SIZE(scheduling));
	if (c->no_spawn)
		deny_spawn(&f, (unsigned)monitor_fd);
	end(&f, SECCOMP_RET_ALLOW);
	if (f.n == FILTER_MAX)
		return -E2BIG;
	program = (struct sock_fprog){f.n, f.at};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		    &program) != 0)
		return -errno;
	return 0;
}
