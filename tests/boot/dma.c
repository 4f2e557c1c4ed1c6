// SPDX-License-Identifier: MIT
//
// Code that comes by DMA: the disk reads sectors with different functions into one page, again and again, and each is
// run. The processor has never written there, so only the device can say that what was translated is void. Then the
// same while each transfer is under way: what is run meanwhile is the old function or the new one, afterwards the new.
//   dma DISK OFFSET COUNT       sector i of COUNT, from OFFSET on, holds a function that returns i
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

// Run what is in the page until the transfer has ended, and once more; how many of the results were wrong.
static int run_meanwhile(aio_context_t aio, int fd, char *page, off_t at, int before, int after)
{
	struct iocb cb = {.aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = fd, .aio_buf = (unsigned long)page,
			  .aio_nbytes = 512, .aio_offset = at}, *list[] = {&cb};
	struct io_event done;
	int wrong = 0, got;

	if (syscall(SYS_io_submit, aio, 1, list) != 1)
		return 1;
	do {
		got = ((int (*)(void))page)();
		wrong += got != before && got != after;
	} while (!syscall(SYS_io_getevents, aio, 0, 1, &done, NULL));
	return wrong + (done.res != 512) + (((int (*)(void))page)() != after);
}

int main(int argc, char **argv)
{
	off_t at = atoll(argv[2]);
	int fd = open(argv[1], O_RDONLY | O_DIRECT), count = atoi(argv[3]), wrong = 0, last = 199 * 7 % count;
	aio_context_t aio = 0;
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
	if (syscall(SYS_io_setup, 1, &aio))
		return 3;
	for (int i = 0; i < 500; i++) {
		int n = i * 5 % count;

		wrong += run_meanwhile(aio, fd, page, at + n * 512, last, n);
		last = n;
	}
	printf("code by dma: %d wrong\n", wrong);
	return wrong != 0;
}
