// SPDX-License-Identifier: MIT
//
// What of an outcome is compared, as one number, or printed for a look at a difference. Components the processor holds
// in their initial state are compared by value; the FPU's instruction and data pointers only if asked for.
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "difftest.h"

enum { COMPARED_FLAGS = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID };

bool compare_fpu_pointers;

struct digest {
	uint64_t h;
};

static void mix(struct digest *d, uint64_t v)
{
	d->h = (d->h ^ v) * UINT64_C(0x9fb21c651e98df25);
	d->h ^= d->h >> 32;
}

static void mix_bytes(struct digest *d, const uint8_t *p, size_t n)
{
	for (; n >= 8; p += 8, n -= 8) {
		uint64_t v;

		memcpy(&v, p, 8);
		mix(d, v);
	}
}

// The area as if no component were in its initial state.
static void make_canonical(uint8_t *area)
{
	uint64_t present;

	memcpy(&present, area + 512, 8);
	if (!(present & 1)) {
		memset(area, 0, 24);
		memset(area + 32, 0, 128);
		area[0] = 0x7f;
		area[1] = 0x03;
	}
	if (!(present & 2))
		memset(area + 160, 0, 256);
	for (int c = 2; c < 8; c++)
		if (xsave_size[c] && !(present & BIT(c)))
			memset(area + xsave_offset[c], 0, xsave_size[c]);
	if (!compare_fpu_pointers)
		memset(area + 6, 0, 18);
	memset(area + 28, 0, 4);
	for (int i = 0; i < 8; i++)
		memset(area + 32 + 16 * i + 10, 0, 6);
}

static void mix_vectors(struct digest *d, const uint8_t *area)
{
	mix_bytes(d, area, 416);
	for (int c = 2; c < 8; c++)
		mix_bytes(d, area + xsave_offset[c], xsave_size[c]);
}

static void print_hex(const char *name, const uint8_t *p, int n)
{
	printf("  %s ", name);
	for (int i = n - 1; i >= 0; i--)
		printf("%02x%s", p[i], i && i % 8 == 0 ? "_" : "");
	printf("\n");
}

static void print_vectors(const uint8_t *area)
{
	char name[16];

	printf("  fcw %02x%02x fsw %02x%02x ftw %02x\n", area[1], area[0], area[3], area[2], area[4]);
	print_hex("mxcsr", area + 24, 4);
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "st%d", i);
		print_hex(name, area + 32 + 16 * i, 10);
	}
	for (int i = 0; i < 16; i++) {
		uint8_t lanes[64] = {0};

		memcpy(lanes, area + 160 + 16 * i, 16);
		if (xsave_size[2])
			memcpy(lanes + 16, area + xsave_offset[2] + 16 * i, 16);
		if (xsave_size[6])
			memcpy(lanes + 32, area + xsave_offset[6] + 32 * i, 32);
		snprintf(name, sizeof(name), "zmm%d", i);
		print_hex(name, lanes, xsave_size[6] ? 64 : 32);
	}
	for (unsigned int i = 0; i < xsave_size[7] / 64; i++) {
		snprintf(name, sizeof(name), "zmm%u", i + 16);
		print_hex(name, area + xsave_offset[7] + 64 * i, 64);
	}
	for (unsigned int i = 0; i < xsave_size[5] / 8; i++) {
		snprintf(name, sizeof(name), "k%u", i);
		print_hex(name, area + xsave_offset[5] + 8 * i, 8);
	}
}

static void print_gprs(const struct cpu_state *s)
{
	static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

	for (int i = 0; i < X86_GPRS; i++)
		printf("  %-3s %016" PRIx64 "%s", names[i], s->gpr[i], i % 4 == 3 ? "\n" : "");
}

static void print_case(const struct test_case *t)
{
	printf("code at %" PRIx64 "%s\n", t->start, t->use_fs ? ", FS is the test's" : "");
	for (unsigned int i = 0; i < t->insns; i++) {
		printf("%s %" PRIx64 ":", i == t->target ? "->" : "  ", t->insn_at[i]);
		for (int b = 0; b < t->insn[i].len; b++)
			printf(" %02x", t->bytes[i][b]);
		printf("\n");
	}
	if (t->has_ea)
		printf("operand at %" PRIx64 "\n", t->ea);
	for (unsigned int i = 0; i < t->pokes; i++) {
		printf("memory %" PRIx64 " before", t->poke[i].at);
		print_hex("", t->poke[i].bytes, t->poke[i].size);
	}
	printf("before: rflags %" PRIx64 "\n", t->in.rflags);
	print_gprs(&t->in);
	print_vectors(t->in.xsave);
}

static void print_outcome(const struct test_case *t, const struct outcome *o, uint64_t flags, const struct dirty *dirty,
			  size_t n)
{
	printf("after: exit %" PRIu64 " rflags %" PRIx64 " (undefined %x)\n", o->exit_id, flags,
	       o->exit_id != EXIT_FALL_THROUGH ? t->ever_undefined : t->undefined);
	if (o->signal)
		printf("  signal %d code %d address %" PRIx64 " trap %" PRIu64 " error %" PRIx64 " at %" PRIx64 "\n",
		       o->signal, o->code, o->address, o->trap, o->error, o->fault_rip);
	print_gprs(&o->state);
	print_vectors(o->state.xsave);
	for (size_t i = 0; i < n; i++)
		printf("  memory %" PRIx64 ": %016" PRIx64 "\n", dirty[i].at, dirty[i].value);
}

uint64_t digest_case(const struct test_case *t, const struct outcome *o, const struct dirty *dirty, size_t n,
		     bool verbose)
{
	struct digest d = {.h = UINT64_C(0x243f6a8885a308d3)};
	bool early = o->exit_id != EXIT_FALL_THROUGH; // what follows has not run
	uint64_t flags = (o->signal ? o->fault_flags : o->state.rflags) &
			 ~(uint64_t)(early ? t->ever_undefined : t->undefined);
	struct outcome canonical = *o;

	flags &= COMPARED_FLAGS;
	make_canonical(canonical.state.xsave);
	for (int i = 0; i < X86_GPRS; i++)
		mix(&d, is_code64() || i >= 8 ? o->state.gpr[i] : (uint32_t)o->state.gpr[i]);
	mix(&d, flags);
	mix(&d, o->exit_id);
	mix(&d, (uint64_t)o->signal << 32 | (uint32_t)o->code);
	mix(&d, o->address);
	mix(&d, o->trap << 32 | o->error);
	mix(&d, o->fault_rip);
	mix_vectors(&d, canonical.state.xsave);
	for (size_t i = 0; i < n; i++) {
		mix(&d, dirty[i].at);
		mix(&d, dirty[i].value);
	}
	if (verbose) {
		print_case(t);
		print_outcome(t, &canonical, flags, dirty, n);
	}
	return d.h;
}
