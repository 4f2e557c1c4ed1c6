/* SPDX-License-Identifier: MIT */
/*
 * x87: every operation on operands from the corners, under every precision and rounding control. A line folds the
 * results, status and tag words of one operation under one control word. The instruction and operand pointers are left
 * out: fp_x87_faults.c looks at those.
 */
#include "fp_values.h"
#include "guest.h"

struct __attribute__((packed)) saved {
	uint16_t control, pad0, status, pad1, tag, pad2;
	uint32_t pointers[4];
	struct extended st[8];
};

struct probe {
	struct saved after;
	struct extended stored;
	unsigned long flags;
};

/* The operation sees a in st(0) and b in st(1); it may store to %2, of ten bytes. */
#define PROBE(name, text)                                                                                           \
	static void probe_##name(struct probe *p, uint16_t control, const struct extended *a, const struct extended *b) \
	{                                                                                                           \
		asm volatile("fninit; fldt %4; fldt %3; fldcw %5; cmp %%eax, %%eax; " text                              \
			     "; pushf; pop %1; fnsave %0"                                                               \
			     : "=m"(p->after), "=r"(p->flags), "+m"(p->stored)                                          \
			     : "m"(*a), "m"(*b), "m"(control)                                                           \
			     : "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");    \
	}

#define TWO(X)                                                                                                      \
	X(fadd, "fadd %%st(1)") X(fsub, "fsub %%st(1)") X(fsubr, "fsubr %%st(1)") X(fmul, "fmul %%st(1)")           \
	X(fdiv, "fdiv %%st(1)") X(fdivr, "fdivr %%st(1)") X(faddp, "faddp") X(fdivrp, "fdivrp %%st, %%st(1)")       \
	X(fprem, "fprem") X(fprem1, "fprem1") X(fscale, "fscale") X(fpatan, "fpatan") X(fyl2x, "fyl2x")             \
	X(fyl2xp1, "fyl2xp1") X(fcom, "fcom") X(fucompp, "fucompp") X(fcomi, "fcomi %%st(1)")                       \
	X(fucomip, "fucomip %%st(1)") X(fxch, "fxch %%st(1)")                                                       \
	X(fcmovb, "fcomi %%st(1); fcmovb %%st(1), %%st") X(fcmovne, "fcomi %%st(1); fcmovne %%st(1), %%st")

#define ONE(X)                                                                                                      \
	X(fsqrt, "fsqrt") X(fabs, "fabs") X(fchs, "fchs") X(frndint, "frndint") X(fsin, "fsin") X(fcos, "fcos")     \
	X(fptan, "fptan") X(fsincos, "fsincos") X(f2xm1, "f2xm1") X(fxtract, "fxtract") X(ftst, "ftst")             \
	X(fxam, "fxam") X(fst32, "fsts %2") X(fst64, "fstpl %2") X(fst80, "fstpt %2") X(fist16, "fists %2")         \
	X(fist32, "fistl %2") X(fistp64, "fistpll %2") X(fisttp16, "fisttps %2") X(fisttp64, "fisttpll %2")         \
	X(fbstp, "fbstp %2") X(fild16, "fstpt %2; filds %2") X(fild64, "fstpt %2; fildll %2")                       \
	X(fld32, "fstpt %2; flds %2") X(fld64, "fstpt %2; fldl %2") X(fadd32, "fstps %2; fadds %2")                 \
	X(fmul64, "fstl %2; fmull %2") X(fiadd16, "fistps %2; fiadds %2") X(fidiv32, "fistl %2; fidivl %2")         \
	X(constants, "fldpi; fldl2t; fldl2e; fldlg2; fldln2; fld1") X(overflow, ".rept 7; fld1; .endr") \
	X(underflow, "fstp %%st; fstp %%st; fadd %%st(1)") X(ffree, "ffree %%st(1); fincstp; fadd %%st(1)")         \
	X(fdecstp, "fdecstp; fld1") X(fnclex, "fldz; fdivp; fnclex")

TWO(PROBE)
ONE(PROBE)

struct operation {
	const char *name;
	void (*run)(struct probe *, uint16_t, const struct extended *, const struct extended *);
	int operands;
};

#define ROW_TWO(name, text) { #name, probe_##name, 2 },
#define ROW_ONE(name, text) { #name, probe_##name, 1 },
static const struct operation operations[] = { TWO(ROW_TWO) ONE(ROW_ONE) };

enum { FLAGS_COMPARED = 0x8d5 };

static uint64_t run_one(const struct operation *op, uint16_t control, size_t i, size_t j, uint64_t h)
{
	struct probe p = { 0 };

	memset(&p.stored, 0x5a, sizeof(p.stored));
	op->run(&p, control, &extended_values[i], &extended_values[j]);
	p.flags &= FLAGS_COMPARED;
	if (verbose()) {
		printf("%s %03x %zu %zu: sw %04x tw %04x flags %03x st ", op->name, control, i, j, p.after.status, p.after.tag,
		       (unsigned)p.flags);
		print_hex(&p.after.st[0], 10);
		putchar(' ');
		print_hex(&p.after.st[1], 10);
		putchar(' ');
		print_hex(&p.stored, 10);
		putchar('\n');
	}
	h = hash(h, &p.after.status, 2);
	h = hash(h, &p.after.tag, 2);
	h = hash(h, p.after.st, sizeof(p.after.st));
	h = hash(h, &p.stored, sizeof(p.stored));
	return hash(h, &p.flags, sizeof(p.flags));
}

static void run(const struct operation *op, uint16_t control)
{
	size_t i, j, others = op->operands == 2 ? COUNT(extended_values) : 1;
	uint64_t h = HASH_START;

	for (i = 0; i < COUNT(extended_values); i++)
		for (j = 0; j < others; j++)
			h = run_one(op, control, i, j + (others == 1 ? 2 : 0), h);
	printf("%-10s %03x %016llx\n", op->name, control, (unsigned long long)h);
}

int main(int argc, char **argv)
{
	static const uint16_t precisions[] = { 0x000, 0x200, 0x300 };
	size_t i, p, r;

	for (i = 0; i < COUNT(operations); i++)
		for (p = 0; p < COUNT(precisions); p++)
			for (r = 0; r < 4; r++)
				if (argc < 2 || !strcmp(argv[1], operations[i].name))
					run(&operations[i], 0x7f | precisions[p] | r << 10);
}
