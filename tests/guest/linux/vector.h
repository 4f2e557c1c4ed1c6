/* SPDX-License-Identifier: MIT */
/*
 * A harness for vector instructions. A row FP(feature, "text") or INT(feature, "text") is a function made by the
 * assembler, and an entry in a table with its own text as its name. The including file says how operands are loaded
 * and the result stored (VECTOR_LOAD, VECTOR_STORE): a, b, c arrive at rsi, rdx, rcx, the result leaves at rdi, and
 * rax and the flags are results too. In 32 bits they are edi and so on, and rows INT64 are not there. FP rows run on
 * the corners of floating point under several MXCSR settings. A line folds all results of one row into one hash.
 */
#ifndef VECTOR_H
#define VECTOR_H

#include "features.h"
#include "fp_values.h"

struct vector {
	uint8_t bytes[64];
} __attribute__((aligned(64)));

/* scratch: what a row may store beside its result, from byte 80 on; 128 is aligned. */
struct vector_result {
	struct vector v;
	uint64_t rax, flags; /* in 32 bits half of each */
	uint8_t scratch[176];
};

struct vector_row {
	void (*run)(struct vector_result *, const struct vector *a, const struct vector *b, const struct vector *c);
	const char *text, *feature;
	uintptr_t floating;
};

#ifdef __x86_64__
#define VECTOR_WORD ".quad"
#define INT64(feature, text) INT(feature, text)
#else
#define VECTOR_WORD ".long"
#define INT64(feature, text)
#endif

#define VECTOR_ROW(floating, feature, text)                                                                        \
	asm(".section .text.vector, \"ax\", @progbits\n"                                                           \
	    "1: " VECTOR_LOAD "; xor %eax, %eax\n" text "\n"                                                       \
	    "pushf; pop 72(%rdi); mov %rax, 64(%rdi); " VECTOR_STORE "; ret\n"                                     \
	    ".section .rodata.vector, \"a\"\n"                                                                     \
	    "2: .asciz \"" text "\"\n"                                                                             \
	    "3: .asciz \"" feature "\"\n"                                                                          \
	    ".section vector_rows, \"aw\"\n"                                                                        \
	    VECTOR_WORD " 1b, 2b, 3b, " #floating "\n"                                                                    \
	    ".text");
#define FP(feature, text) VECTOR_ROW(1, feature, text)
#define INT(feature, text) VECTOR_ROW(0, feature, text)

extern const struct vector_row __start_vector_rows[], __stop_vector_rows[];

enum { VECTOR_FLAGS = 0x8d5, VECTOR_RANDOM = 96 };

/* Vectors whose elements run through a table from a given place on, and random ones. */
static void vector_fill(struct vector *v, const void *table, size_t count, size_t size, size_t from)
{
	size_t i;

	for (i = 0; i < sizeof(v->bytes) / size; i++)
		memcpy(v->bytes + i * size, (const char *)table + (from + i) % count * size, size);
}

static void vector_random(struct vector *v, uint64_t *state)
{
	size_t i;

	for (i = 0; i < sizeof(v->bytes); i += 8) {
		uint64_t r = next_random(state);

		memcpy(v->bytes + i, &r, 8);
	}
}

/* In 32 bits the arguments come in the same registers, and not by the C calling convention. */
static void vector_run(const struct vector_row *row, struct vector_result *r, const struct vector *a,
		       const struct vector *b, const struct vector *c)
{
#ifdef __x86_64__
	row->run(r, a, b, c);
#else
	const void *code = row->run;

	asm volatile("call *%%eax" : "+a"(code), "+D"(r), "+S"(a), "+d"(b), "+c"(c) : : "memory", "cc");
#endif
}

static uint64_t vector_once(const struct vector_row *row, uint32_t mxcsr, const struct vector *a,
			    const struct vector *b, const struct vector *c, uint64_t h)
{
	static struct vector_result r;
	uint32_t after, normal = 0x1f80;

	memset(&r, 0, sizeof(r));
	asm volatile("ldmxcsr %0" ::"m"(mxcsr));
	vector_run(row, &r, a, b, c);
	asm volatile("stmxcsr %0; ldmxcsr %1" : "=m"(after) : "m"(normal));
	r.flags &= VECTOR_FLAGS;
	if (verbose()) {
		printf("%s: mxcsr %04x -> %04x\n  a ", row->text, mxcsr, after);
		print_hex(a, 64);
		printf("\n  b ");
		print_hex(b, 64);
		printf("\n  c ");
		print_hex(c, 64);
		printf("\n  = ");
		print_hex(&r.v, 64);
		printf(" rax %llx flags %llx\n", (unsigned long long)r.rax, (unsigned long long)r.flags);
	}
	h = hash(h, &after, sizeof(after));
	return hash(h, &r, sizeof(r));
}

static uint64_t vector_floating(const struct vector_row *row, uint32_t mxcsr, uint64_t h)
{
	struct vector a, b, c;
	size_t i, j;

	for (i = 0; i < COUNT(float_values); i += 8)
		for (j = 0; j < COUNT(float_values); j++) {
			vector_fill(&a, float_values, COUNT(float_values), 4, i);
			vector_fill(&b, float_values, COUNT(float_values), 4, j);
			vector_fill(&c, float_values, COUNT(float_values), 4, 3 * j + i / 4);
			h = vector_once(row, mxcsr, &a, &b, &c, h);
			vector_fill(&a, double_values, COUNT(double_values), 8, i + (j & 4));
			vector_fill(&b, double_values, COUNT(double_values), 8, j);
			vector_fill(&c, double_values, COUNT(double_values), 8, 3 * j + i / 4);
			h = vector_once(row, mxcsr, &a, &b, &c, h);
		}
	return h;
}

static uint64_t vector_integers(const struct vector_row *row, uint64_t h)
{
	struct vector a, b, c;
	uint64_t state = 0x123456789abcdef1;
	size_t i;

	for (i = 0; i < VECTOR_RANDOM; i++) {
		vector_random(&a, &state);
		vector_random(&b, &state);
		vector_random(&c, &state);
		if (i % 8 == 1)
			b = a;
		if (i % 8 == 2)
			memset(&b, 0, sizeof(b));
		if (i % 8 == 3)
			memset(&a, 0x80, sizeof(a));
		if (i % 8 == 4)
			memset(&b, (int)(i & 0x1f), 1 + i % 7);
		h = vector_once(row, 0x1f80, &a, &b, &c, h);
	}
	return h;
}

static int vector_main(int argc, char **argv)
{
	static const uint32_t controls[] = { 0x1f80, 0x3f80, 0x5f80, 0x7f80, 0x1fc0, 0x9f80, 0xdfc0, 0x1fbf };
	const struct vector_row *row;
	size_t i;

	for (row = __start_vector_rows; row < __stop_vector_rows; row++) {
		uint64_t h = HASH_START;

		if (!have(row->feature) || (argc > 1 && !strstr(row->text, argv[1])))
			continue;
		if (!row->floating)
			h = vector_integers(row, h);
		for (i = 0; row->floating && i < COUNT(controls); i++)
			h = vector_floating(row, controls[i], h);
		printf("%016llx %s\n", (unsigned long long)h, row->text);
	}
	return 0;
}

#endif
