// SPDX-License-Identifier: MIT
//
// x86_decode_memo says what x86_decode says: over the machine code of this program and its libraries, from every byte
// on, and over random bytes that often begin as an instruction with other operands before them did. And what has the
// register head of an instruction without an operand in memory is the same but for its immediate.
#include "x86/decode_memo.h" // before link.h, whose PF_W is a macro
#include "x86/register_head.h"

#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct x86_memo memo;
static long cases, differ;

static struct {
	uint64_t key;
	struct x86_insn insn;
} known[1 << 16];
static long heads;

static bool says_all(const struct x86_insn *insn, const struct x86_register_head *h)
{
	return insn->class == X86_CLASS_PLAIN && insn->encoding == X86_ENC_LEGACY && !insn->prefixes && insn->map < 2 &&
	       !insn->mem.present && insn->len == h->size + (h->has_imm ? 0 : insn->imm_size);
}

static bool head_lies(const uint8_t *bytes, const struct x86_insn *insn, int len)
{
	struct x86_register_head h = x86_register_head(bytes);
	unsigned i = h.key * UINT64_C(0x9e3779b97f4a7c15) >> 48;
	struct x86_insn same = known[i].insn;

	if (known[i].key == h.key) {
		same.imm = insn->imm;
		heads++;
		return len != same.len || memcmp(&same, insn, sizeof(same));
	}
	if (len > 0 && says_all(insn, &h)) {
		known[i].key = h.key;
		known[i].insn = *insn;
	}
	return false;
}

static void compare(const uint8_t *bytes, size_t n, enum x86_mode mode)
{
	struct x86_insn a, b;
	int la = x86_decode(&a, bytes, n < X86_INSN_MAX ? n : X86_INSN_MAX, mode);
	int lb = x86_decode_memo(&memo, &b, bytes, n, mode);

	cases++;
	if (la == lb && (la <= 0 || !memcmp(&a, &b, sizeof(a))) &&
	    (mode != X86_MODE64 || n < 2 * X86_INSN_MAX || !head_lies(bytes, &a, la)))
		return;
	if (differ++ < 10) {
		printf("mode %d, %d and %d:", mode, la, lb);
		for (unsigned i = 0; i < X86_INSN_MAX; i++)
			printf(" %02x", bytes[i]);
		printf("\n");
	}
}

static int try_code(struct dl_phdr_info *info, size_t size, void *data)
{
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];
		const uint8_t *code = (const uint8_t *)info->dlpi_addr + p->p_vaddr;

		for (size_t at = 0; p->p_type == PT_LOAD && p->p_flags & PF_X && at < p->p_memsz; at++)
			compare(code + at, p->p_memsz - at, at % 5 ? X86_MODE64 : X86_MODE32);
	}
	return 0;
}

static void try_random(void)
{
	static const uint8_t common[] = {
		0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x64, 0x48, 0x41, 0x0f, 0xc1, 0xc5, 0xc4, 0x81, 0x8b};
	uint8_t bytes[32];

	srandom(1);
	for (long n = 0; n < 4000000; n++) {
		unsigned at = 0;

		for (unsigned i = n & 7 ? 3 + random() % 4 : 0; i < sizeof(bytes); i++)
			bytes[i] = (uint8_t)random(); // else the head stays, and what comes behind it changes
		while (!(n & 7) && random() & 1 && at < 5)
			bytes[at++] = common[random() % sizeof(common)];
		compare(bytes, sizeof(bytes), (enum x86_mode)(random() % 3));
	}
}

int main(void)
{
	dl_iterate_phdr(try_code, NULL);
	try_random();
	printf("%ld cases, %ld differ, %ld heads met again\n", cases, differ, heads);
	return differ || cases < 4000000 || heads < 200000;
}
