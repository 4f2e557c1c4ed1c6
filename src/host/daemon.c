// SPDX-License-Identifier: MIT
//
// A child that ends before it is ready closes the pipe without a byte: then its status is ours, and what it had to say
// it has said.
#include "host/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void wait_for(pid_t child, int fd)
{
	int status = 0;
	ssize_t n;
	char byte;

	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(0);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

int daemon_fork(void)
{
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid > 0) {
		close(fds[1]);
		wait_for(pid, fds[0]);
	}
	close(fds[0]);
	setsid();
	return fds[1];
}

void daemon_ready(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	char byte = 0;
	ssize_t n;

	for (int i = 0; i <= STDERR_FILENO && null >= 0; i++)
		dup2(null, i);
	if (null > STDERR_FILENO)
		close(null);
	n = write(fd, &byte, 1);
	(void)n; // the caller has gone
	close(fd);
}
