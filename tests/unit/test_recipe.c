// SPDX-License-Identifier: MIT
//
// bt/recipe.c against the host's processor: instructions of every kind that has a recipe, in all sizes and forms, with
// random and extreme operands, are run by the host; what recipe_flags makes of the registers as they are afterwards
// (and of the notes, where the recipe wants them) must be the flags the host has. And the same of bt_stub_flags, with a
// struct vcpu that consists of slots.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "bt/host_flags.h"
#include "bt/recipe.h"
#include "bt/slots.h"

struct state { // ORDER STATE: known to the code below by its offsets
	uint64_t gpr[X86_GPRS], flags, memory;
};

static uint64_t vcpu[512];
static struct recipe recipes[2];
static struct host_flags host_flags;

void bt_stub_flags(void);
void bt_stub_make_flags(void);

void bt_stub_make_flags(void)
{
	abort();
}

static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint64_t random64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t random_operand(void)
{
	static const uint64_t extremes[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff,
		0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};

	switch (random64() % 4) {
	case 0: return extremes[random64() % 16];
	case 1: return extremes[random64() % 16] + random64() % 5 - 2;
	case 2: return random64() >> random64() % 64;
	default: return random64();
	}
}

// One instruction between loading and storing all registers but RSP and R15 (which points to struct state). Memory
// operands are [r15 + 136].
static uint8_t *page;

static size_t put(size_t n, const void *bytes, size_t size)
{
	memcpy(page + n, bytes, size);
	return n + size;
}

static size_t move_all(size_t n, uint8_t opcode)
{
	for (unsigned r = 0; r < 15; r++)
		if (r != X86_RSP) {
			uint8_t mov[] = {(uint8_t)(0x49 | (r >= 8) << 2), opcode, (uint8_t)(0x47 | (r & 7) << 3), (uint8_t)(r * 8)};

			n = put(n, mov, sizeof(mov));
		}
	return n;
}

static void run(const uint8_t *insn, size_t len, struct state *s)
{
	static const uint8_t enter[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x49, 0x89, 0xff},
		flags_in[] = {0x41, 0xff, 0xb7, 128, 0, 0, 0, 0x9d}, flags_out[] = {0x9c, 0x41, 0x8f, 0x87, 128, 0, 0, 0},
		leave[] = {0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3};
	size_t n = put(0, enter, sizeof(enter));

	n = put(n, flags_in, sizeof(flags_in));
	n = move_all(n, 0x8b);
	n = put(n, insn, len);
	n = put(n, flags_out, sizeof(flags_out));
	n = move_all(n, 0x89);
	put(n, leave, sizeof(leave));
	((void (*)(struct state *))(uintptr_t)page)(s);
}

// opcode, whether there is a ModRM byte, its fixed reg field or -1, bytes of immediate (8: as the operand size says)
struct form {
	uint16_t opcode;
	bool modrm;
	int8_t reg;
	uint8_t imm;
};

static unsigned pick_register(void)
{
	unsigned r = random64() % 14;

	return r == X86_RSP ? 14 : r;
}

static size_t make(const struct form *f, uint8_t *out)
{
	size_t n = 0;
	bool wide = random64() % 2, word = !wide && random64() % 3 == 0, memory = random64() % 4 == 0;
	unsigned reg = f->reg >= 0 ? (unsigned)f->reg : pick_register(), rm = memory ? 15 : pick_register();
	unsigned imm = f->imm == 8 ? (word ? 2 : 4) : f->imm;
	uint8_t rex = (uint8_t)(0x40 | wide << 3 | (reg >> 3) << 2 | rm >> 3);

	if (random64() % 4 == 0 && !memory && f->reg < 0)
		rm = reg, rex = (uint8_t)(0x40 | wide << 3 | (reg >> 3) << 2 | rm >> 3);
	if (word)
		out[n++] = 0x66;
	if (rex != 0x40 || random64() % 2)
		out[n++] = rex;
	if (f->opcode > 0xff)
		out[n++] = (uint8_t)(f->opcode >> 8);
	out[n++] = (uint8_t)f->opcode;
	if (f->modrm)
		out[n++] = (uint8_t)((memory ? 0x80 : 0xc0) | (reg & 7) << 3 | (rm & 7));
	if (f->modrm && memory) {
		out[n] = 136;
		out[n + 1] = out[n + 2] = out[n + 3] = 0;
		n += 4;
	}
	for (uint64_t x = random_operand(); imm; imm--, x >>= 8)
		out[n++] = (uint8_t)x;
	return n;
}

// What bt_stub_flags makes of it.
static uint64_t by_stub(const struct recipe *r, const struct state *after, const uint64_t *notes)
{
	uint8_t call[15] = {0x65, 0xff, 0x14, 0x25, [8] = 0x0f, 0x1f, 0x80}; // and NOPL with the number 0
	const uint32_t at = SLOT_STUB_FLAGS;
	struct state s = *after;

	recipes[1] = *r;
	recipes[1].quick = (uint8_t)recipe_quick(r);
	memcpy(vcpu, after->gpr, sizeof(after->gpr));
	vcpu[SLOT_RECIPES / 8] = (uint64_t)recipes;
	vcpu[SLOT_RECIPE / 8] = 1;
	vcpu[SLOT_STUB_FLAGS / 8] = (uint64_t)bt_stub_flags;
	memcpy(&vcpu[SLOT_NOTES / 8], notes, 16);
	memcpy(call + 4, &at, 4);
	s.flags = random64() & RFLAGS_ARITH;
	run(call, sizeof(call), &s);
	s.gpr[X86_R13] = after->gpr[X86_R13]; // it may change
	if (memcmp(s.gpr, after->gpr, sizeof(s.gpr)))
		printf("bt_stub_flags changes registers\n"), s.flags = ~UINT64_C(0);
	return s.flags;
}

static bool try(const struct form *f, uint64_t *count)
{
	uint8_t bytes[X86_INSN_MAX + 1];
	size_t len = make(f, bytes);
	struct state before, after;
	uint64_t notes[2] = {random64(), random64()}, want, got;
	struct x86_insn insn;
	struct producer p;

	if (x86_decode(&insn, bytes, len, X86_MODE64) != (int)len)
		return true;
	host_flags_correct(&host_flags, &insn);
	if (!recipe_of(&insn, &p))
		return true;
	for (unsigned r = 0; r < X86_GPRS; r++)
		before.gpr[r] = random_operand();
	before.gpr[X86_RSP] = before.gpr[15] = 0;
	before.memory = random_operand();
	before.flags = random64() & RFLAGS_ARITH;
	after = before;
	run(bytes, len, &after);
	if (p.old)
		notes[0] = before.gpr[p.dst];
	if (p.memory)
		notes[p.as == RECIPE_NOTE_B] = before.memory;
	want = after.flags & RFLAGS_ARITH;
	got = recipe_flags(&p.recipe, after.gpr, notes, p.carry ? before.flags & 1 : random64() & 1);
	++*count;
	if (want == got && recipe_quick(&p.recipe))
		got = by_stub(&p.recipe, &after, notes) & RFLAGS_ARITH;
	if (want == got)
		return true;
	printf("opcode %x, size %u: flags %" PRIx64 ", by recipe %" PRIx64 ":", f->opcode, insn.opsize, want, got);
	for (size_t i = 0; i < len; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
	return false;
}

int main(void)
{
	static const struct form extra[] = {
		{0x80, true, -2, 1}, {0x81, true, -2, 8}, {0x83, true, -2, 1}, {0x84, true, -1, 0}, {0x85, true, -1, 0},
		{0xa8, false, -1, 1}, {0xa9, false, -1, 8}, {0xf6, true, 0, 1}, {0xf7, true, 0, 8}, {0xf6, true, 3, 0},
		{0xf7, true, 3, 0}, {0xc0, true, -2, 1}, {0xc1, true, -2, 1}, {0xd0, true, -2, 0}, {0xd1, true, -2, 0},
		{0x69, true, -1, 8}, {0x6b, true, -1, 1}, {0x0faf, true, -1, 0},
	};
	uint64_t count = 0, failed = 0;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED || syscall(SYS_arch_prctl, 0x1001, vcpu)) // ARCH_SET_GS
		return 77;
	host_flags_find(&host_flags);
	for (unsigned i = 0; i < 400000 && failed < 20; i++) {
		struct form f = extra[random64() % 18];

		if (random64() % 2) {
			unsigned op = random64() % 8, form = random64() % 6;

			f = (struct form){(uint16_t)(op << 3 | form), form < 4, -1, form < 4 ? 0 : form == 4 ? 1 : 8};
		}
		if (f.reg == -2)
			f.reg = (int8_t)(random64() % 8);
		failed += !try(&f, &count);
	}
	printf("%" PRIu64 " recipes, %" PRIu64 " wrong\n", count, failed);
	return failed || count < 100000;
}
