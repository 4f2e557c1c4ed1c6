// SPDX-License-Identifier: MIT
//
// Code that comes by DMA: the disk reads sectors with different functions into one page, again and again, and each is
// run. The processor has never written there, so only the device can say that what was translated is void.
//   dma DISK OFFSET COUNT       sector i of COUNT, from OFFSET on, holds a function that returns i
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	off_t at = atoll(argv[2]);
	int fd = open(argv[1], O_RDONLY | O_DIRECT), count = atoi(argv[3]), wrong = 0;
	char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	for (int i = 0; i < 200; i++) {
		int n = i * 7 % count, got;

		if (pread(fd, page, 512, at + n * 512) != 512)
			return 2;
		for (int k = 0; k < i; k++) // sometimes often enough to become hot
			got = ((int (*)(void))page)();
		got = ((int (*)(void))page)();
		wrong += got != n;
	}
	printf("code by dma: %d wrong\n", wrong);
	return wrong != 0;
}
