/* SPDX-License-Identifier: MIT */
/*
 * Code beside a CPUID, called from pages that have none: with direct execution it runs displaced (shadow/displaced.c)
 * where the host cannot have CPUID fault. What it computes, what it leaves on the stack, and what its signal handlers
 * see must be as in place: registers, flags, the address of each instruction, each return address; and a page that is
 * written to, or replaced, is another from then on.
 */
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

enum { ROUNDS = 3000, PAGE = 4096 };
#define KEPT 0x1122334455667788ull /* in every register that a piece of code does not use */

uint64_t word_a = 5, word_b = 7, word_c;
uint32_t wide[8] __attribute__((aligned(32))) = {1, 2, 3, 4, 5, 6, 7, 8};
uint8_t guarded[PAGE] __attribute__((aligned(PAGE)));
void (*to_inner)(void);
void (*to_outer)(void);

uint64_t relative(void), calls(void), outward(void), indirect(void), loops(void), recurse(uint64_t n), flags(void);
uint64_t keep(uint64_t times), rare(void), constant(void), stepped(uint64_t), stepped_in_place(uint64_t);
uint64_t leaf_seen(void), counted(uint64_t n);
uint32_t vector(void), ask_cpuid(uint32_t leaf);
void touch(void), touch_call(void), touch_ret(uint64_t sp), divide(void), undefined(void), inner(void), walk_in(void);
extern char displaced[], displaced_end[], after_calls[], after_outward[], in_keep[], leaf[], leaf_end[];
extern char at_touch[], at_touch_call[], at_ret[], at_divide[], at_undefined[], constant_value[], keep_end[];
extern char call_on_stack[], after_in_keep[];

#define STEPS(name) \
	#name ": add word_b(%rip), %rdi; mov %rdi, %rax; push %rbx; lea word_a(%rip), %rbx\n" \
	"	call 1f; add (%rbx), %rax; mov $3, %ecx; 2: loop 2b; jmp 3f; nop; nop; nop; nop; 3: pop %rbx; ret\n" \
	"1:	lea 1(%rax), %rax; xor %edx, %edx; jnz 4f; ret\n" \
	"4:	nop; ret\n"

__asm__(".section .displaced, \"ax\", @progbits\n"
	".balign 4096; .skip 4087\n"
	"walk_in: pushfq; orl $0x100, (%rsp); popfq\n"
	"displaced:\n"
	/* rax: of everything a little */
	"relative: mov word_a(%rip), %rax; stc; adc word_b(%rip), %rax; mov %rax, word_c(%rip)\n"
	"	lock xadd %rax, word_c(%rip); addl $3, word_c(%rip); imul $3, word_c(%rip), %rdx; add %rdx, %rax\n"
	"	lea word_a(%rip), %r8; add (%r8), %rax; cmpq $13, word_a(%rip); sbb $0, %rax; movzbl word_b(%rip), %ecx\n"
	"	shl %cl, %rax; mov $13, %r10d; xchg %r10, %rax; lock cmpxchg %r10, word_c(%rip); setz %dl; movzbl %dl, %edx\n"
	"	add %r10, %rax; add %rdx, %rax; add word_a(%rip), %rax; lea word_b(%rip), %ecx\n"
	"	add %rcx, %rax; leaq relative(%rip), %rcx; add %rcx, %rax; ret\n"
	"rare:	push word_a(%rip); fld1; fldl word_b(%rip); fstp %st(0); fstp %st(0); pop %rax; rdtsc; mov $5, %eax; ret\n"
	"vector: movaps wide(%rip), %xmm0; vpaddd wide(%rip), %ymm0, %ymm1; vextracti128 $1, %ymm1, %xmm2\n"
	"	paddd %xmm2, %xmm1; paddd wide+16(%rip), %xmm1; phaddd %xmm1, %xmm1; phaddd %xmm1, %xmm1\n"
	"	movd %xmm1, %eax; vzeroupper; ret\n"
	/* 0 if the callee, on this page, has seen its return address */
	"calls:	call leaf_seen\n"
	"after_calls: lea after_calls(%rip), %rdx; sub %rdx, %rax; ret\n"
	"leaf_seen: mov (%rsp), %rax; ret\n"
	"outward: push %rbp; mov %rsp, %rbp; call see_caller\n"
	"after_outward: lea after_outward(%rip), %rdx; sub %rdx, %rax; pop %rbp; ret\n"
	"indirect: push %rbx; push %r12; xor %ebx, %ebx; call *to_inner(%rip); lea inner(%rip), %rax; call *%rax\n"
	"	push %rax; call *(%rsp)\n"
	"call_on_stack: lea (%rsp), %r8; call *(%r8); xor %r9d, %r9d; call *(%r8,%r9,8); mov %r8, %r12\n"
	"	call *(%r12); pop %rax; call *to_outer(%rip); lea 1f(%rip), %rax; jmp *%rax; ud2\n"
	"1:	lea 2f(%rip), %rax; push %rax; jmp *(%rsp); ud2\n"
	"2:	pop %rax; mov %rbx, %rax; pop %r12; pop %rbx; ret\n"
	"inner:	inc %rbx; ret\n"
	"loops:	mov $10, %ecx; xor %eax, %eax; 1: inc %eax; loop 1b; jrcxz 2f; ud2; 2: add $100, %eax\n"
	"	mov $5, %ecx; 3: cmp $3, %ecx; loopne 3b; add %ecx, %eax; mov $1, %ecx; jrcxz 4f; add $1000, %eax; 4: ret\n"
	"recurse: cmp $2, %rdi; jb 1f; push %rbx; push %rdi; dec %rdi; call recurse; mov %rax, %rbx; pop %rdi\n"
	"	sub $2, %rdi; call recurse; add %rbx, %rax; pop %rbx; ret; 1: mov %rdi, %rax; ret\n"
	/* each arithmetic flag over a return */
	"flags:	xor %r9d, %r9d; 1: mov %r9d, %eax; shl $8, %eax; sahf; call 2f; pushfq; pop %rax\n"
	"	and $0xd5, %eax; mov %r9d, %r8d; and $0xd5, %r8d; cmp %eax, %r8d; jne 3f; inc %r9d\n"
	"	cmp $256, %r9d; jne 1b; mov $1, %eax; ret; 2: ret; 3: xor %eax, %eax; ret\n"
	/* rdi times, every register else KEPT, RSP one of two values */
	"keep:	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; mov %rsp, kept_sp(%rip)\n"
	"	mov %rdi, %rax; movabs $0x1122334455667788, %rbx; mov %rbx, %rcx; mov %rbx, %rdx; mov %rbx, %rsi\n"
	"	mov %rbx, %rdi; mov %rbx, %rbp; mov %rbx, %r8; mov %rbx, %r9; mov %rbx, %r10; mov %rbx, %r11\n"
	"	mov %rbx, %r12; mov %rbx, %r13; mov %rbx, %r14; mov %rbx, %r15\n"
	"in_keep: call leaf; addq $1, word_c(%rip); cmpq $0, word_a(%rip); mov kept(%rip), %r8\n"
	"	lea -1(%rax), %rax; test %rax, %rax; jnz in_keep\n"
	"keep_end: pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"
	/* rdi - 1: what is at 2 comes to be displaced before 1, which has to jump there */
	"counted: push %rbx; xor %ebx, %ebx; mov %rdi, %rax; jmp 2f; 1: inc %rbx; 2: dec %rax; jnz 1b; mov %rbx, %rax\n"
	"	pop %rbx; ret\n"
	"leaf:	addq $1, word_c(%rip); testb $1, word_c(%rip); jz 1f; nop; 1: ret\n"
	"leaf_end:\n"
	"touch:\n"
	"at_touch: add guarded(%rip), %rdi; mov %rdi, %rax; ret\n"
	"touch_call:\n"
	"at_touch_call: jmp *guarded+8(%rip)\n"
	"touch_ret: xchg %rdi, %rsp\n"
	"at_ret: ret\n"
	"divide: xor %ecx, %ecx; xor %edx, %edx\n"
	"at_divide: div %rcx; ret\n"
	"undefined:\n"
	"at_undefined: ud2; ret\n"
	STEPS(stepped)
	"constant: mov $0x11111111, %eax\n"
	"constant_value: ret\n"
	"ask_cpuid: push %rbx; mov %edi, %eax; xor %ecx, %ecx; cpuid; xor %ebx, %eax; xor %edx, %eax; pop %rbx; ret\n"
	".balign 4096\n"
	"displaced_end:\n"
	STEPS(stepped_in_place)
	".balign 4096\n"
	".data\n"
	"kept: .quad 0x1122334455667788\n"
	"kept_sp: .quad 0\n"
	".text\n");

extern uint64_t kept_sp;

/* By itself, like all that follows: the C library has CPUIDs, beside which nothing runs directly on some hosts. */
#define APART __attribute__((section(".apart"), noinline))

APART uint64_t see_caller(void)
{
	return (uint64_t)__builtin_return_address(0);
}

static uint64_t outer_calls;

APART static void outer(void)
{
	outer_calls++;
}

static uint64_t expect_relative(void)
{
	uint64_t a = 5, c, old, x;

	x = a + 7 + 1;
	c = x;
	old = c;
	c += x;
	c = (uint32_t)(c + 3) | (c & ~0xffffffffull);
	x = old + c * 3 + a - 1;
	x <<= 7;
	/* rbx = x, rax = 13: not what word_c is */
	old = c;
	x = old + x + 0 + a + (uint32_t)(uint64_t)&word_b + (uint64_t)relative;
	return x;
}

static int failures;

static void check(const char *what, uint64_t got, uint64_t wanted)
{
	if (got == wanted || failures > 20)
		return;
	printf("%s: %#llx, not %#llx\n", what, (unsigned long long)got, (unsigned long long)wanted);
	failures++;
}

static volatile struct seen {
	uint64_t rip, rsp, address, rcx, rdx, r8;
	int signal, times;
} seen;

static enum { GO_ON, UNGUARD, SKIP } then;
static uint64_t skip_to;

static void on_fault(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;

	seen.rip = (uint64_t)g[REG_RIP];
	seen.rsp = (uint64_t)g[REG_RSP];
	seen.rcx = (uint64_t)g[REG_RCX];
	seen.rdx = (uint64_t)g[REG_RDX];
	seen.r8 = (uint64_t)g[REG_R8];
	seen.address = (uint64_t)info->si_addr;
	seen.signal = sig;
	seen.times++;
	if (then == UNGUARD)
		mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
	if (then == SKIP)
		g[REG_RIP] = (greg_t)skip_to;
}

static void catch(int sig, void (*how)(int, siginfo_t *, void *))
{
	const struct sigaction act = {.sa_sigaction = how, .sa_flags = SA_SIGINFO | SA_ONSTACK};

	sigaction(sig, &act, NULL);
}

APART static void compute(void)
{
	outer_calls = 0;
	for (int i = 0; i < ROUNDS; i++) {
		word_c = 0;
		check("relative", relative(), expect_relative());
		check("vector", vector(), 72);
		check("calls", calls(), 0);
		check("outward", outward(), 0);
		check("indirect", indirect(), 6);
		check("outer", outer_calls, (uint64_t)i + 1);
		check("loops", loops(), 10 + 100 + 2 + 1000);
		check("recurse", recurse(10), 55);
		if (i % 64 == 0)
			check("flags", flags(), 1);
		check("constant", constant(), 0x11111111);
		if (failures)
			return;
	}
}

/* RCX, RDX and R8 as they were, the instruction's own address and RSP. */
APART static uint64_t fault_with_registers(void (*f)(void), uint64_t rdi)
{
	register uint64_t r8 __asm__("r8") = KEPT;
	uint64_t rax = 0, rcx = KEPT + 1, rdx = KEPT + 2;

	__asm__ volatile("call *%[f]" : "+a"(rax), "+c"(rcx), "+d"(rdx), "+D"(rdi), "+r"(r8) : [f] "S"(f)
		: "r9", "r10", "r11", "memory", "cc");
	return rax;
}

static void check_fault(const char *what, int sig, const void *rip)
{
	check(what, (uint64_t)seen.signal, (uint64_t)sig);
	check(what, seen.rip, (uint64_t)rip);
	check(what, seen.rcx, KEPT + 1);
	check(what, seen.rdx, KEPT + 2);
	check(what, seen.r8, KEPT);
}

static void fault(void)
{
	catch(SIGSEGV, on_fault);
	catch(SIGBUS, on_fault);
	catch(SIGFPE, on_fault);
	catch(SIGILL, on_fault);
	for (int i = 0; i < 100 && !failures; i++) {
		guarded[0] = 4;
		*(uint64_t *)(guarded + 8) = (uint64_t)constant;
		then = UNGUARD;
		mprotect(guarded, PAGE, PROT_NONE);
		check("touch", fault_with_registers(touch, 3), 7);
		check_fault("touch faults", SIGSEGV, at_touch);
		check("touch's address", seen.address, (uint64_t)guarded);
		mprotect(guarded, PAGE, PROT_NONE);
		check("touch_call", fault_with_registers(touch_call, 0), 0x11111111);
		check_fault("touch_call faults", SIGSEGV, at_touch_call);
		then = SKIP;
		skip_to = (uint64_t)at_divide + 3;
		divide();
		check("divide", (uint64_t)seen.signal, SIGFPE);
		check("divide", seen.rip, (uint64_t)at_divide);
	}
}

/* What is not displaced; so much of it that the page is given up. */
static void stop(void)
{
	uint32_t a, b, c, d;

	__cpuid_count(0, 0, a, b, c, d);
	for (int i = 0; i < 100 && !failures; i++) {
		check("cpuid", ask_cpuid(0), a ^ b ^ d);
		check("rare", rare(), 5);
		skip_to = (uint64_t)at_undefined + 2;
		fault_with_registers(undefined, 0);
		check_fault("undefined", SIGILL, at_undefined);
	}
}

/* RET where there is no stack. */
static void fault_of_return(void)
{
	static uint64_t saved;

	then = SKIP;
	mprotect(guarded, PAGE, PROT_NONE);
	for (int i = 0; i < 100 && !failures; i++) {
		seen.signal = 0;
		__asm__ volatile("sub $256, %%rsp; push %%rbp; mov %%rsp, %0; lea 1f(%%rip), %%rax; mov %%rax, %1\n"
				 "call touch_ret; 1: mov %0, %%rsp; pop %%rbp; add $256, %%rsp"
			: "+m"(saved), "=m"(skip_to) : "D"(guarded + 16)
			: "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
		check("return", (uint64_t)seen.signal, SIGSEGV);
		check("return", seen.rip, (uint64_t)at_ret);
		check("return's stack", seen.rsp, (uint64_t)guarded + 16);
		check("return's stack", seen.address, (uint64_t)guarded + 16);
	}
	mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}

static volatile uint64_t alarms, alarms_inside, wrong_at;

static void on_alarm(int sig, siginfo_t *info, void *context)
{
	static const uint8_t which[] = {REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_R8, REG_R9, REG_R10,
		REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t rip = (uint64_t)g[REG_RIP];
	int in_leaf = rip >= (uint64_t)leaf && rip < (uint64_t)leaf_end;

	(void)sig;
	(void)info;
	alarms++;
	if (rip >> 44 == 4)
		wrong_at = rip;
	if (!in_leaf && (rip < (uint64_t)in_keep || rip >= (uint64_t)keep_end))
		return;
	alarms_inside++;
	for (unsigned i = 0; i < sizeof(which); i++)
		if ((uint64_t)g[which[i]] != KEPT)
			wrong_at = rip;
	if ((uint64_t)g[REG_RSP] != kept_sp - (in_leaf ? 8u : 0u))
		wrong_at = rip;
}

static void interrupt(void)
{
	const struct itimerval often = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};

	catch(SIGALRM, on_alarm);
	setitimer(ITIMER_REAL, &often, NULL);
	for (int i = 0; i < 4000 && alarms_inside < 200 && !wrong_at; i++)
		keep(20000);
	for (alarms = 0; alarms < 100 && !failures;)
		check("counted", counted(20000), 19999);
	setitimer(ITIMER_REAL, &never, NULL);
	check("interrupted wrongly at", wrong_at, 0);
	if (alarms_inside < 20) {
		printf("%llu of %llu signals inside\n", (unsigned long long)alarms_inside, (unsigned long long)alarms);
		failures++;
	}
}

static uint16_t trail[2][256];
static unsigned steps, trail_of;
static uint64_t trail_base;

static void on_trap(int sig, siginfo_t *info, void *context)
{
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t offset = (uint64_t)g[REG_RIP] - trail_base;

	(void)sig;
	(void)info;
	if (offset < 256 && steps < 256)
		trail[trail_of][steps++] = (uint16_t)offset;
}

APART static uint64_t step_through(uint64_t (*f)(uint64_t))
{
	uint64_t result = 40;

	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; call *%1; pushfq; andl $~0x100, (%%rsp); popfq"
		: "=a"(result) : "r"(f), "D"(result) : "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return result;
}

static void single_step(void)
{
	unsigned n[2];

	catch(SIGTRAP, on_trap);
	for (int i = 0; i < 20 && !failures; i++) {
		uint64_t (*f[2])(uint64_t) = {stepped_in_place, stepped};

		memset(trail, 0, sizeof(trail));
		for (trail_of = 0; trail_of < 2; trail_of++) {
			steps = 0;
			trail_base = (uint64_t)f[trail_of];
			for (int k = 0; k < 10; k++)
				check("stepped without a trap", f[trail_of](40), 53);
			check("stepped", step_through(f[trail_of]), 53);
			n[trail_of] = steps;
		}
		check("steps", n[1], n[0]);
		check("the way that it took", (uint64_t)memcmp(trail[0], trail[1], sizeof(trail[0])), 0);
		if (n[0] < 15)
			check("steps in place", n[0], 17);
	}
}

/* TF is set on the page before, by the instruction before. */
static void step_in(void)
{
	for (int i = 0; i < 20 && !failures; i++) {
		for (int k = 0; k < 10; k++)
			constant();
		trail_of = steps = 0;
		trail_base = (uint64_t)relative;
		__asm__ volatile("call walk_in; pushfq; andl $~0x100, (%%rsp); popfq" : :
			: "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
		check("first step", trail[0][0], 7);
	}
}

/* The page as data: written to, replaced, made inaccessible to execution. */
static void change(void)
{
	size_t at = (size_t)(constant_value - displaced) - 4;
	static char copy[PAGE];

	memcpy(copy, displaced, PAGE);
	mprotect(displaced, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC);
	then = SKIP;
	for (uint32_t i = 1; i < 200 && !failures; i++) {
		memcpy(displaced + at, &i, 4);
		for (int k = 0; k < 8; k++)
			check("constant, written", constant(), i);
	}
	for (uint32_t i = 1; i < 50 && !failures; i++) {
		uint32_t value = i << 16;
		char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		memcpy(p, copy, PAGE);
		memcpy(p + at, &value, 4);
		mprotect(p, PAGE, PROT_READ | PROT_EXEC);
		mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, displaced);
		for (int k = 0; k < 8; k++)
			check("constant, replaced", constant(), value);
	}
	then = SKIP;
	for (int i = 0; i < 20 && !failures; i++) {
		for (int k = 0; k < 8; k++)
			constant();
		mprotect(displaced, PAGE, PROT_READ);
		skip_to = (uint64_t)outer;
		seen.signal = 0;
		constant();
		check("not executable", (uint64_t)seen.signal, SIGSEGV);
		check("not executable", seen.rip, (uint64_t)constant);
		mprotect(displaced, PAGE, PROT_READ | PROT_EXEC);
	}
	mprotect(displaced, PAGE, PROT_READ | PROT_WRITE);
	memcpy(displaced, copy, PAGE);
	mprotect(displaced, PAGE, PROT_READ | PROT_EXEC);
}

int main(void)
{
	static char stack[1 << 16];
	const stack_t own = {.ss_sp = stack, .ss_size = sizeof(stack)};

	sigaltstack(&own, NULL);
	to_inner = inner;
	to_outer = outer;
	compute();
	interrupt();
	fault();
	fault_of_return();
	single_step();
	step_in();
	change();
	compute();
	stop();
	compute();
	puts(failures ? "FAIL" : "all as in place");
	return failures != 0;
}
