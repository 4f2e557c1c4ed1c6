/* SPDX-License-Identifier: MIT */
/*
 * Page tables: those of the start (identity, 2 MiB pages) and what guests hang into them. Pages come from 8 MiB on
 * and are never given back.
 */
#include "lib/metal.h"

aligned(4096) u64 boot_pml4[512];
aligned(4096) u64 boot_pdpt[512];
aligned(4096) u64 boot_pd[2048];

static u64 next_page = 8 << 20, next_large = 32 << 20;

u64 page_alloc(void)
{
	u64 p = next_page;

	next_page += 0x1000;
	memset((void *)p, 0, 0x1000);
	return p;
}

u64 page_alloc_large(void)
{
	u64 p = next_large;

	next_large += 0x200000;
	return p;
}

u64 *page_entry(u64 va, int level)
{
	u64 *table = (u64 *)(read_cr3() & PTE_ADDR);

	for (int l = 4;; l--) {
		u64 *e = &table[va >> (12 + 9 * (l - 1)) & 511];

		if (l == level)
			return e;
		if (!(*e & PTE_P) || (*e & PTE_PS))
			*e = page_alloc() | PTE_P | PTE_W | PTE_U;
		table = (u64 *)(*e & PTE_ADDR);
	}
}

void page_map(u64 va, u64 entry)
{
	*page_entry(va, 1) = entry;
	invlpg(va);
}

void page_identity_user(bool user)
{
	for (int i = 0; i < 2048; i++)
		boot_pd[i] = (boot_pd[i] & ~(u64)PTE_U) | (user || i == 2 ? PTE_U : 0);
	write_cr3(read_cr3());
}
