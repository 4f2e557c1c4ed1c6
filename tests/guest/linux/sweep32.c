/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit program under a 64-bit kernel that touches much memory for the first time: each fault shows the monitor
 * 64-bit code, the kernel's, between 32-bit code, which cannot run directly. (It once took that for a reason to throw
 * away all of the program's mappings, each time.) 4 KiB pages, as large ones are refused.
 */
#include <sys/prctl.h>

#include "guest.h"

enum { SIZE = 32 << 20 };

static unsigned char memory[SIZE];

int main(void)
{
	uint64_t h = HASH_START;

	prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
	for (unsigned int i = 0; i < 2u * SIZE; i++)
		memory[(4096 * i + i) % SIZE] = 1 + memory[i % SIZE];
	for (unsigned int i = 0; i < SIZE; i += 61)
		h = hash(h, &memory[i], 1);
	printf("%016llx\n", (unsigned long long)h);
	return 0;
}
