/* SPDX-License-Identifier: MIT */
/*
 * Signal frames: every register survives a signal taken between two instructions; a handler may change any of them and
 * the program goes on with that; handlers nest; siglongjmp leaves from an alternate stack; a handler may repair the
 * cause of a fault so that the instruction runs again; timers interrupt loops of every kind.
 */
#include <sys/time.h>

#include "catch.h"

static volatile int seen;
static char *page;

static void set_handler(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigaction(signo, &action, NULL);
}

#ifdef __x86_64__
#define XMM7_WORD2(fp) (&(fp)->_xmm[7].element[2])
#else /* behind FSAVE's image is FXSAVE's */
#define XMM7_WORD2(fp) ((uint32_t *)((char *)(fp) + 112 + 160 + 7 * 16 + 8))
#endif

static void change_all(int signo, siginfo_t *info, void *context)
{
	static const int order[] = { REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP,
#ifdef __x86_64__
				     REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
#endif
	};
	ucontext_t *u = context;
	size_t i;

	(void)signo, (void)info;
	for (i = 0; i < COUNT(order); i++)
		u->uc_mcontext.gregs[order[i]] = (long)((unsigned long)u->uc_mcontext.gregs[order[i]] * 3 + i);
	u->uc_mcontext.gregs[REG_EFL] ^= 0x8d5;
	u->uc_mcontext.gregs[CATCH_PC] += 2;
	*XMM7_WORD2(u->uc_mcontext.fpregs) = 0x12345678;
}

/* All registers known, ud2, all registers stored: rdi at the end of the area on the stack. */
void all_registers(uint64_t *area);
#ifdef __x86_64__
enum { REGISTERS = 16 };
asm(".text; .globl all_registers; all_registers:\n"
    "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; push %rdi\n"
    "mov $0x1011121314151617, %rax; mov $0x2021222324252627, %rbx; mov $0x3031323334353637, %rcx\n"
    "mov $0x4041424344454647, %rdx; mov $0x5051525354555657, %rsi; mov $0x6061626364656667, %rdi\n"
    "mov $0x7071727374757677, %r8; mov $0x8081828384858687, %r9; mov $0x9091929394959697, %r10\n"
    "mov $0xa0a1a2a3a4a5a6a7, %r11; mov $0xb0b1b2b3b4b5b6b7, %r12; mov $0xc0c1c2c3c4c5c6c7, %r13\n"
    "mov $0xd0d1d2d3d4d5d6d7, %r14; mov $0xe0e1e2e3e4e5e6e7, %r15; mov $0xf0f1f2f3f4f5f6f7, %rbp\n"
    "pcmpeqd %xmm7, %xmm7; cmp %rax, %rbx; ud2\n"
    "pushf; push %rdi; mov 16(%rsp), %rdi\n"
    "mov %rax, (%rdi); mov %rbx, 8(%rdi); mov %rcx, 16(%rdi); mov %rdx, 24(%rdi); mov %rsi, 32(%rdi)\n"
    "pop 40(%rdi); mov %r8, 48(%rdi); mov %r9, 56(%rdi); mov %r10, 64(%rdi); mov %r11, 72(%rdi)\n"
    "mov %r12, 80(%rdi); mov %r13, 88(%rdi); mov %r14, 96(%rdi); mov %r15, 104(%rdi); mov %rbp, 112(%rdi)\n"
    "pop 120(%rdi); movups %xmm7, 128(%rdi)\n"
    "pop %rdi; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");
#else
enum { REGISTERS = 8 };
asm(".text; .globl all_registers; all_registers:\n"
    "push %ebx; push %ebp; push %esi; push %edi; push 20(%esp)\n"
    "mov $0x10111213, %eax; mov $0x20212223, %ebx; mov $0x30313233, %ecx; mov $0x40414243, %edx\n"
    "mov $0x50515253, %esi; mov $0x60616263, %edi; mov $0x70717273, %ebp\n"
    "pcmpeqd %xmm7, %xmm7; cmp %eax, %ebx; ud2\n"
    "pushf; push %edi; mov 8(%esp), %edi\n"
    "mov %eax, (%edi); mov %ebx, 8(%edi); mov %ecx, 16(%edi); mov %edx, 24(%edi); mov %esi, 32(%edi)\n"
    "pop 40(%edi); mov %ebp, 48(%edi); pop 56(%edi); movups %xmm7, 64(%edi)\n"
    "pop %edi; pop %edi; pop %esi; pop %ebp; pop %ebx; ret");
#endif

static void test_registers(void)
{
	uint64_t area[REGISTERS + 2] = { 0 };
	size_t i;

	set_handler(SIGILL, change_all, 0);
	all_registers(area);
	for (i = 0; i < COUNT(area); i++)
		printf("register %2zu %016jx\n", i, i == REGISTERS - 1 ? area[i] & 0x8d5 : area[i]);
}

static void map_it(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)context;
	seen++;
	mprotect((void *)((uintptr_t)info->si_addr & ~4095ul), 4096, PROT_READ | PROT_WRITE);
}

static void test_repair(void)
{
	uint64_t *words = (uint64_t *)page;
	uint64_t copy[20], sum = 0;
	size_t i;

	set_handler(SIGSEGV, map_it, 0);
	for (i = 0; i < 16; i++) {
		mprotect(page, 8192, i & 1 ? PROT_NONE : PROT_READ);
		memcpy(copy, "some bytes to be copied across a page boundary", 46);
		asm volatile("rep movsb"
			     : "+D"((char *){page + 4096 - 20}), "+S"((char *){(char *)copy}),
			       "+c"((long){46})::"memory");
		words[i]++;
		*(uint64_t *)(page + 4093) += i;
		sum += words[i];
	}
	printf("repaired %d times, sum %ju, %.46s\n", seen, sum, page + 4096 - 20);
}

static void nested(int signo, siginfo_t *info, void *context)
{
	static const int next[] = { [SIGUSR1] = SIGUSR2, [SIGUSR2] = SIGALRM, [SIGALRM] = SIGTERM, [SIGTERM] = 0 };

	(void)info, (void)context;
	printf("enter %d, ", signo);
	if (next[signo])
		raise(next[signo]);
	printf("leave %d, ", signo);
}

/* Flags that nobody reads any more, but that a handler sees: the fault comes after a jump, before they are set anew. */
void dead_flags(void *bad, void *flags_and_memory);
asm(".text; .globl dead_flags; dead_flags:\n"
    "push (%rsi); popf; mov 8(%rsi), %rax; jmp 1f; .balign 64\n"
    "1: mov 16(%rsi), %rcx; mov (%rdi), %rdx; xor %eax, %eax; ret");

static void test_dead_flags(void)
{
	static const unsigned long bits[] = { 0x1, 0x4, 0x10, 0x40, 0x80, 0x800 };
	unsigned long memory[5] = { 0, 1, 2 }, wrong = 0;
	int i, bit;

	catch_init();
	for (i = 0; i < 300; i++) {
		memory[0] = 0x202;
		for (bit = 0; bit < 6; bit++)
			memory[0] |= i >> bit & 1 ? bits[bit] : 0;
		if (catch_text(dead_flags, i % 3 ? NULL : memory, memory))
			wrong += ((unsigned long)caught.regs[REG_EFL] ^ memory[0]) & 0x8d5 ? 1 : 0;
	}
	check(!wrong, "a handler sees flags that nobody reads: %lu wrong", wrong);
}

static void test_nesting(void)
{
	set_handler(SIGUSR1, nested, SA_NODEFER);
	set_handler(SIGUSR2, nested, SA_ONSTACK);
	set_handler(SIGALRM, nested, 0);
	set_handler(SIGTERM, nested, SA_ONSTACK);
	raise(SIGUSR1);
	printf("done\n");
}

static sigjmp_buf out;
static void on_stack_overflow(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
	siglongjmp(out, 1);
}

static int __attribute__((noinline)) deep(volatile char *above, int levels)
{
	volatile char frame[1024];

	frame[0] = above ? *above : 1;
	return levels ? deep(frame, levels - 1) + frame[0] : 0;
}

static void test_overflow(void)
{
	static char small[1 << 16];
	stack_t stack = { .ss_sp = small, .ss_size = sizeof(small) };
	volatile int i;

	sigaltstack(&stack, NULL);
	set_handler(SIGSEGV, on_stack_overflow, SA_ONSTACK);
	for (i = 0; i < 5; i++)
		if (!sigsetjmp(out, 1))
			deep(NULL, 1 << 30);
	printf("the stack overflowed %d times\n", i);
}

static volatile int ticks;
static void tick(int signo, siginfo_t *info, void *context)
{
	(void)signo, (void)info, (void)context;
	ticks++;
}

/* Loops that only a signal can end: a jump to itself, a long string instruction, a call loop. */
static void test_timer(void)
{
	struct itimerval every = { { 0, 2000 }, { 0, 2000 } }, never = { { 0, 0 }, { 0, 0 } };
	unsigned long sum = 0, count;
	char *buffer = malloc(1 << 20);

	set_handler(SIGALRM, tick, SA_RESTART);
	setitimer(ITIMER_REAL, &every, NULL);
	asm volatile("1: cmpl $5, %0; jl 1b" ::"m"(ticks) : "cc");
	printf("a loop of two instructions was interrupted\n");
	while (ticks < 15) {
		void *to = buffer;

		count = 1 << 20;
		asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(ticks) : "memory");
		sum += count + (to != buffer + (1 << 20));
	}
	printf("string stores were interrupted, %lu errors\n", sum);
	while (ticks < 25) {
		for (count = 0; count < 1000; count++)
			sum += (unsigned long)getppid() >> 31;
		asm volatile("pushf; popf; cpuid" ::"a"(0) : "rbx", "rcx", "rdx", "memory");
	}
	setitimer(ITIMER_REAL, &never, NULL);
	printf("system calls were interrupted, %lu errors\n", sum);
}

int main(void)
{
	page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	test_registers();
	test_repair();
	test_nesting();
	test_overflow();
	test_dead_flags();
	test_timer();
}
