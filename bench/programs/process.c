// SPDX-License-Identifier: MIT
//
// What processes cost.
//   process exec TIMES PROGRAM     fork, exec PROGRAM, wait
//   process pipe TURNS             one byte to and fro between two processes
//   process map TIMES              map 2 MiB and a file, touch each page, protect half, unmap
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "common.h"

static long exec_wait(long times, char *program)
{
	long ended = 0;

	for (long i = 0; i < times; i++) {
		int status;
		pid_t child = fork();

		if (child == 0) {
			execl(program, program, (char *)NULL);
			_exit(127);
		}
		if (child < 0)
			die("fork");
		ended += waitpid(child, &status, 0) == child && status == 0;
	}
	return ended;
}

static long ping_pong(long turns)
{
	int to[2], fro[2];
	unsigned char byte = 0;
	long sum = 0;

	if (pipe(to) || pipe(fro))
		die("pipe");
	if (fork() == 0) {
		close(to[1]);
		while (read(to[0], &byte, 1) == 1) {
			byte++;
			if (write(fro[1], &byte, 1) != 1)
				break;
		}
		_exit(0);
	}
	for (long i = 0; i < turns; i++) {
		if (write(to[1], &byte, 1) != 1 || read(fro[0], &byte, 1) != 1)
			die("pipe");
		sum += byte;
	}
	close(to[1]);
	wait(NULL);
	return sum;
}

#define AREA (2ul << 20)
#define PAGE 4096ul

static long touch(volatile char *p, size_t size)
{
	long sum = 0;

	for (size_t i = 0; i < size; i += PAGE)
		sum += p[i]++;
	return sum;
}

static long map_unmap(long times)
{
	static char content[AREA / 4];
	int fd = open("/tmp/map", O_RDWR | O_CREAT | O_TRUNC, 0600);
	long sum = 0;

	memset(content, 3, sizeof(content));
	if (fd < 0 || write(fd, content, sizeof(content)) != sizeof(content))
		die("/tmp/map");
	for (long i = 0; i < times; i++) {
		char *p = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		char *f = mmap(NULL, sizeof(content), PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

		if (p == MAP_FAILED || f == MAP_FAILED)
			die("mmap");
		sum += touch(p, AREA);
		if (mprotect(p, AREA / 2, PROT_READ) || mprotect(p, AREA / 2, PROT_READ | PROT_WRITE))
			die("mprotect");
		sum += touch(p, AREA) + touch(f, sizeof(content));
		munmap(p, AREA);
		munmap(f, sizeof(content));
	}
	unlink("/tmp/map");
	return sum;
}

int main(int argc, char **argv)
{
	long n = argument(argc, argv, 2), result;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	if (!strcmp(argv[1], "exec") && argc > 3)
		result = exec_wait(n, argv[3]);
	else if (!strcmp(argv[1], "pipe"))
		result = ping_pong(n);
	else if (!strcmp(argv[1], "map"))
		result = map_unmap(n);
	else
		return 2;
	printf("%s %ld: %ld\n", argv[1], n, result);
	return 0;
}
