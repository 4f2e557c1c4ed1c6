/* SPDX-License-Identifier: MIT */
/*
 * More different instructions than a translator may want to keep routines for, one by one: each is run once, then all
 * again, forwards and from the middle. (ringer's base tier shares the code of an instruction among all units that have
 * it, by its bytes, and has a table of fixed size for them.)
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

enum { MANY = 120000, LENGTH = 7 };

static u32 value(u32 i)
{
	return i * 2654435761u + 12345;
}

/* add $value, %r10d; at the end: mov %r10d, %eax; ret */
static void put_all(u8 *p)
{
	for (u32 i = 0; i < MANY; i++, p += LENGTH) {
		u32 v = value(i);

		memcpy(p, "\x41\x81\xc2", 3);
		memcpy(p + 3, &v, 4);
	}
	memcpy(p, "\x44\x89\xd0\xc3", 4);
}

static u32 run_from(const u8 *code, u32 first)
{
	u64 r;

	__asm__ volatile("xor %%r10d, %%r10d\n call *%1" : "=a"(r) : "r"(code + (u64)first * LENGTH)
		: "r10", "memory", "cc");
	return (u32)r;
}

void metal_main(void)
{
	u8 *code = (u8 *)page_alloc_large();
	char name[64];

	put_all(code);
	for (int round = 0; round < 3; round++)
		for (u32 first = 0; first < MANY; first += MANY / 3 + 5) {
			u32 sum = 0;

			for (u32 i = first; i < MANY; i++)
				sum += value(i);
			format(name, sizeof name, "round %d, %u different instructions", round, MANY - first);
			check_eq(name, run_from(code, first), sum);
		}
}
