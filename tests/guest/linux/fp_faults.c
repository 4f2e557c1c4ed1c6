/* SPDX-License-Identifier: MIT */
/*
 * Unmasked floating-point exceptions: signal, code, where it is raised (x87: at the next waiting instruction; SSE: at
 * the instruction itself), and the state words the handler sees. And x87's own record of where the exception was: the
 * instruction and operand pointers and the opcode.
 */
#include "catch.h"
#include "features.h"

struct row {
	const char *name;
	void (*code)(void *, void *);
	uint16_t control;
	uint32_t mxcsr;
};

static long double wide_tiny = 3.3e-4932L, wide_huge = 1e4932L;
static double tiny = 1e-300, huge = 1e300, denormal = 4.9e-324, three = 3;
static float denormalf = 1e-40f;

/*
 * Each piece of code is a function of its own; an exception is located by its offset from the start.
 * rdi points at a table of operands, rsi at the control word; st(0) and xmm0 to xmm2 are free.
 */
CODE(x87_invalid, "fninit; fldcw (%rsi); fldz; fldz; 1: fdivp; nop; fwait");
CODE(x87_divide, "fninit; fldcw (%rsi); fld1; fldz; fdivrp; nop; nop; fwait");
CODE(x87_denormal, "fninit; fldcw (%rsi); fldl 16(%rdi); nop; fld1");
CODE(x87_overflow, "fninit; fldcw (%rsi); fldt 32(%rdi); fmul %st(0); fstpt -16(%rsp)");
CODE(x87_underflow, "fninit; fldcw (%rsi); fldt 48(%rdi); fmul %st(0); fwait");
CODE(x87_precision, "fninit; fldcw (%rsi); fldl 24(%rdi); fld1; fdivp; fnop");
CODE(x87_stack, "fninit; fldcw (%rsi); fadd %st(1); fwait");
CODE(x87_store, "fninit; fldcw (%rsi); fldl 8(%rdi); fistpl -16(%rsp); fwait");
CODE(x87_no_wait, "fninit; fldcw (%rsi); fld1; fldz; fdivrp; fnstsw %ax; fnclex; fwait");

CODE(sse_invalid, "xorps %xmm0, %xmm0; divps %xmm0, %xmm0");
CODE(sse_divide, "movsd 24(%rdi), %xmm0; xorpd %xmm1, %xmm1; nop; divsd %xmm1, %xmm0");
CODE(sse_denormal, "movss 64(%rdi), %xmm0; addss %xmm0, %xmm0");
CODE(sse_overflow, "movsd 8(%rdi), %xmm0; mulsd %xmm0, %xmm0");
CODE(sse_underflow, "movsd (%rdi), %xmm0; mulsd %xmm0, %xmm0");
CODE(sse_precision, "movsd 24(%rdi), %xmm1; movsd 72(%rdi), %xmm0; divsd %xmm1, %xmm0");
CODE(sse_convert, "movsd 8(%rdi), %xmm0; cvtsd2si %xmm0, %rax");
CODE(sse_memory, "xorps %xmm0, %xmm0; pxor %xmm1, %xmm1; nop; nop; divpd (%rdi), %xmm0; mulpd (%rdi), %xmm0");
CODE(sse_pending, "movl $0x1f84, -8(%rsp); ldmxcsr -8(%rsp); movl $0x1d84, -8(%rsp); ldmxcsr -8(%rsp); nop");

enum { ALL_MASKED = 0x37f, MX_MASKED = 0x1f80 };

static const struct row rows[] = {
	{ "x87 invalid", x87_invalid, ALL_MASKED & ~1, MX_MASKED },
	{ "x87 divide by zero", x87_divide, ALL_MASKED & ~4, MX_MASKED },
	{ "x87 denormal", x87_denormal, ALL_MASKED & ~2, MX_MASKED },
	{ "x87 overflow", x87_overflow, ALL_MASKED & ~8, MX_MASKED },
	{ "x87 underflow", x87_underflow, ALL_MASKED & ~16, MX_MASKED },
	{ "x87 precision", x87_precision, ALL_MASKED & ~32, MX_MASKED },
	{ "x87 stack", x87_stack, ALL_MASKED & ~1, MX_MASKED },
	{ "x87 store", x87_store, ALL_MASKED & ~1, MX_MASKED },
	{ "x87 cleared without waiting", x87_no_wait, ALL_MASKED & ~4, MX_MASKED },
	{ "x87 all masked", x87_divide, ALL_MASKED, MX_MASKED },
	{ "sse invalid", sse_invalid, ALL_MASKED, MX_MASKED & ~0x80 },
	{ "sse divide by zero", sse_divide, ALL_MASKED, MX_MASKED & ~0x200 },
	{ "sse denormal", sse_denormal, ALL_MASKED, MX_MASKED & ~0x100 },
	{ "sse overflow", sse_overflow, ALL_MASKED, MX_MASKED & ~0x400 },
	{ "sse underflow", sse_underflow, ALL_MASKED, MX_MASKED & ~0x800 },
	{ "sse precision", sse_precision, ALL_MASKED, MX_MASKED & ~0x1000 },
	{ "sse convert", sse_convert, ALL_MASKED, MX_MASKED & ~0x80 },
	{ "sse from memory", sse_memory, ALL_MASKED, MX_MASKED & ~0x100 & ~0x800 },
	{ "sse flag set, then unmasked", sse_pending, ALL_MASKED, MX_MASKED },
	{ "sse all masked", sse_divide, ALL_MASKED, MX_MASKED },
};

static struct {
	double small, large, denormal, three; /* 0, 8, 16, 24 */
	long double wide_huge, wide_tiny;     /* 32, 48 */
	float denormalf, pad;		      /* 64 */
	double one;			      /* 72 */
} operands;

static void run(const struct row *r)
{
	uint16_t control = r->control, normal = ALL_MASKED, status;
	uint32_t mxcsr = r->mxcsr, after;

	asm volatile("fninit; ldmxcsr %0" ::"m"(mxcsr));
	if (!catch_text(r->code, &operands, &control)) {
		asm volatile("fnstsw %0; stmxcsr %1" : "=m"(status), "=m"(after));
		printf("%-28s passes, status %04x, mxcsr %04x\n", r->name, status, after);
	} else {
		printf("%-28s %s code %d at +%d, address +%d, trap %lu error %lu\n", r->name, catch_name(caught.signo),
		       caught.code, (int)(caught.pc - (uintptr_t)r->code), (int)(caught.addr - (uintptr_t)r->code),
		       caught.trap, caught.error);
	}
	mxcsr = MX_MASKED;
	asm volatile("fninit; fldcw %0; ldmxcsr %1" ::"m"(normal), "m"(mxcsr));
}

/* What a handler finds in the floating-point state the kernel saved, and that it can put it right and go on. */
#ifdef __x86_64__
#define FP_MXCSR(fp) ((fp)->mxcsr)
#else /* behind FSAVE's image is FXSAVE's */
#define cwd cw
#define swd sw
#define FP_MXCSR(fp) (*(uint32_t *)((char *)(fp) + 112 + 24))
#endif

static volatile int repaired;
static void repair(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;
	fpregset_t fp = u->uc_mcontext.fpregs;

	printf("handler: %s code %d, x87 control %04x status %04x, mxcsr %04x\n", catch_name(signo), info->si_code,
	       (uint16_t)fp->cwd, (uint16_t)fp->swd, FP_MXCSR(fp));
	fp->swd &= ~0x80ff;
	fp->cwd |= 0x3f;
	FP_MXCSR(fp) = (FP_MXCSR(fp) | 0x1f80) & ~0x3f;
	repaired++;
}

static void test_repair(void)
{
	struct sigaction action = { .sa_sigaction = repair, .sa_flags = SA_SIGINFO }, old;
	uint16_t control = ALL_MASKED & ~4;
	uint32_t mxcsr = MX_MASKED & ~0x200;

	sigaction(SIGFPE, &action, &old);
	asm volatile("ldmxcsr %0" ::"m"(mxcsr));
	call_text(sse_divide, &operands, &control);
	check(repaired == 1, "the SSE instruction ran again with its exception masked");
	call_text(x87_divide, &operands, &control);
	check(repaired == 2, "the waiting instruction passed with the exception cleared");
	sigaction(SIGFPE, &old, NULL);
}

int main(void)
{
	size_t i;

	operands.small = tiny;
	operands.large = huge;
	operands.denormal = denormal;
	operands.three = three;
	operands.wide_huge = wide_huge;
	operands.wide_tiny = wide_tiny;
	operands.denormalf = denormalf;
	operands.one = 1;
	catch_init();
	for (i = 0; i < COUNT(rows); i++)
		run(&rows[i]);
	test_repair();
}
