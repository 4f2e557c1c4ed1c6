// SPDX-License-Identifier: MIT
//
// Nanoseconds to decode one instruction, over the machine code of this program and its libraries.
#include "x86/decode.h" // before link.h, whose PF_W is a macro

#include <link.h>
#include <stdio.h>
#include <time.h>

struct code {
	const uint8_t *start;
	size_t size;
};

static int find_code(struct dl_phdr_info *info, size_t size, void *data)
{
	struct code *c = data;

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && p->p_memsz > c->size)
			*c = (struct code){ (const uint8_t *)info->dlpi_addr + p->p_vaddr, p->p_memsz };
	}
	return 0;
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(void)
{
	struct code c = { 0 };
	struct x86_insn x;
	size_t n = 0, bad = 0;
	double start;

	dl_iterate_phdr(find_code, &c);
	start = now_ns();
	for (int round = 0; round < 10; round++) {
		for (size_t at = 0; at < c.size; n++) {
			int len = x86_decode(&x, c.start + at, c.size - at, X86_MODE64);

			bad += len <= 0;
			at += len > 0 ? len : 1;
		}
	}
	printf("%zu instructions, %zu not decoded, %.1f ns each\n", n, bad, (now_ns() - start) / n);
	return n == 0;
}
