// SPDX-License-Identifier: MIT
//
// Locks on a file of a shared folder, between two processes of the guest: byte ranges and whole files.
//   locks FILE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

#define CHECK(x) ((x) ? (void)0 : (void)(failures++, printf("locks.c:%d: %s: errno %d\n", __LINE__, #x, errno)))

static int range(int fd, int command, short type, off_t start, off_t len)
{
	struct flock l = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
	int r = fcntl(fd, command, &l);

	return r < 0 || command != F_GETLK ? r : l.l_type;
}

// What f says in another process that has opened the file.
static int elsewhere(const char *path, int (*f)(int fd))
{
	int status = 0;

	if (fork() == 0) {
		int fd = open(path, O_RDWR);

		_exit(fd < 0 ? 99 : f(fd));
	}
	wait(&status);
	return WEXITSTATUS(status);
}

static int try_first(int fd)
{
	return range(fd, F_SETLK, F_WRLCK, 0, 1) < 0 ? 1 : 0;
}

static int try_second(int fd)
{
	return range(fd, F_SETLK, F_RDLCK, 10, 1) < 0 ? 1 : 0;
}

static int ask_first(int fd)
{
	return range(fd, F_GETLK, F_RDLCK, 0, 1) == F_WRLCK ? 1 : 0;
}

static int try_whole(int fd)
{
	return flock(fd, LOCK_EX | LOCK_NB) < 0 ? 1 : 0;
}

static int wait_first(int fd)
{
	return range(fd, F_SETLKW, F_WRLCK, 0, 1) < 0 ? 1 : 0;
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR | O_CREAT, 0644);

	CHECK(argc == 2 && fd >= 0);
	CHECK(range(fd, F_SETLK, F_WRLCK, 0, 10) == 0);
	CHECK(elsewhere(argv[1], try_first) == 1 && elsewhere(argv[1], try_second) == 0);
	CHECK(elsewhere(argv[1], ask_first) == 1);
	if (fork() == 0)
		_exit(wait_first(open(argv[1], O_RDWR)));
	usleep(300000);
	CHECK(range(fd, F_SETLK, F_UNLCK, 0, 0) == 0);
	CHECK(wait(&failures) > 0 && failures == 0);
	CHECK(elsewhere(argv[1], try_first) == 0);
	CHECK(flock(fd, LOCK_EX) == 0 && elsewhere(argv[1], try_whole) == 1);
	CHECK(flock(fd, LOCK_UN) == 0 && elsewhere(argv[1], try_whole) == 0);
	return failures != 0;
}
