// SPDX-License-Identifier: MIT
//
// The monitor as a child process. Between fork and exec only async-signal-safe calls are made. A failed exec is told to
// the parent through a close-on-exec pipe. PR_SET_PDEATHSIG lets the child die with the app, however that ends.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host/process.h"

enum { FIRST_FD = 3, SAFE_FD = 64, CLOSE_AT_EXEC = 4 /* CLOSE_RANGE_CLOEXEC */ };

int process_find_monitor(char *path, size_t size)
{
	const char *given = getenv("RINGER_VMM");
	char self[PATH_MAX];
	ssize_t n;

	if (given) {
		snprintf(path, size, "%s", given);
	} else {
		n = readlink("/proc/self/exe", self, sizeof(self) - 1);
		if (n < 0)
			return -errno;
		self[n] = 0;
		char *slash = strrchr(self, '/');

		snprintf(path, size, "%.*s/ringer-vmm", slash ? (int)(slash - self) : 0, self);
	}
	return access(path, X_OK) < 0 ? -errno : 0;
}

static void reset_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < _NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

// Descriptors are first moved out of the way, so that none of the targets is overwritten before it was copied.
static int place_fds(const int *fds, unsigned nfds, int report, bool at_exec)
{
	int high[8], null;

	if (nfds > ARRAY_SIZE(high))
		return -EINVAL;
	for (unsigned i = 0; i < nfds; i++)
		if ((high[i] = fcntl(fds[i], F_DUPFD, SAFE_FD)) < 0)
			return -errno;
	report = fcntl(report, F_DUPFD_CLOEXEC, SAFE_FD);
	null = open("/dev/null", O_RDWR);
	if (report < 0 || null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(null, 2) < 0)
		return -errno;
	for (unsigned i = 0; i < nfds; i++)
		if (dup2(high[i], FIRST_FD + (int)i) < 0)
			return -errno;
	if (dup2(report, FIRST_FD + (int)nfds) < 0 || fcntl(FIRST_FD + (int)nfds, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	syscall(SYS_close_range, FIRST_FD + nfds + 1, ~0u, at_exec ? CLOSE_AT_EXEC : 0);
	return FIRST_FD + (int)nfds;
}

static _Noreturn void child(const char *path, int exec_fd, char *arg, const int *fds, unsigned nfds, int report,
			    pid_t parent)
{
	char *argv[] = { "ringer-vmm", arg, NULL }, *envp[] = { NULL };
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpgid(0, 0); // Ctrl-C and Ctrl-Z are the app's to deal with
	if (getppid() != parent)
		_exit(127);
	reset_signals();
	err = place_fds(fds, nfds, report, exec_fd >= 0);
	if (err >= 0) {
		report = err;
		if (exec_fd >= 0)
			syscall(SYS_execveat, exec_fd, "", argv, envp, AT_EMPTY_PATH);
		else
			execve(path, argv, envp);
		err = -errno;
	}
	ssize_t n = write(report, &err, sizeof(err));

	_exit(n == sizeof(err) ? 127 : 126);
}

pid_t process_spawn(const char *path, int exec_fd, const char *arg, const int *fds, unsigned nfds, int *pidfd)
{
	pid_t parent = getpid(), pid;
	int report[2], err = 0;

	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0)
		child(path, exec_fd, (char *)(uintptr_t)arg, fds, nfds, report[1], parent);
	err = pid < 0 ? -errno : 0;
	close(report[1]);
	if (pid > 0) {
		ssize_t n;

		do
			n = read(report[0], &err, sizeof(err));
		while (n < 0 && errno == EINTR);
		if (n != sizeof(err))
			err = 0;
	}
	close(report[0]);
	if (pid > 0 && !err) {
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		if (*pidfd < 0)
			err = -errno;
		else
			fcntl(*pidfd, F_SETFD, FD_CLOEXEC);
	}
	if (pid > 0 && err) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return err ? err : pid;
}

void process_kill(pid_t pid, int *pidfd)
{
	if (pid > 0) {
		kill(pid, SIGKILL);
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (*pidfd >= 0)
		close(*pidfd);
	*pidfd = -1;
}

int process_describe_end(pid_t pid, char *text, size_t size)
{
	int status = 0;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR) {
			snprintf(text, size, "in an unknown way");
			return -1;
		}
	if (WIFSIGNALED(status))
		snprintf(text, size, "by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		snprintf(text, size, "with status %d", WEXITSTATUS(status));
	return WIFSIGNALED(status) ? -1 : WEXITSTATUS(status);
}
