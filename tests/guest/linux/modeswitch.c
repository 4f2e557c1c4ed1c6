/* SPDX-License-Identifier: MIT */
/*
 * A 64-bit program that runs some of its code in 32-bit mode and comes back: by far return, far jump, far call and
 * iret; with system calls by int 0x80 there; the same bytes decoded in both modes; faults taken in 32-bit code, and a
 * signal handler that returns into it. Linked without PIE, so that the code lies below 4 GiB.
 */
#include "catch.h"

#define USER_CS64 "0x33"
#define USER_CS32 "0x23"
#define USER_DS "0x2b"

uint32_t results[8] __attribute__((used));
uint64_t saved_stack __attribute__((used));
uint8_t low_stack[8192] __attribute__((used, aligned(16)));
struct {
	uint32_t offset;
	uint16_t selector;
} __attribute__((packed)) pointer32 __attribute__((used)), pointer64 __attribute__((used));

void by_lret(void), by_iret(void), by_jump(void), by_call(void), both_modes(uint32_t *), fault32(void *, void *);
extern char fault_at[], code32[], call32[], back64[];

#define ENTER "push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; mov %rsp, saved_stack; " \
	      "mov $low_stack+8192, %rsp; "
#define LEAVE "mov saved_stack, %rsp; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret\n"

asm(".text; .globl by_lret, by_iret, by_jump, by_call, both_modes, fault32, fault_at, code32, call32, back64\n"
    "by_lret: " ENTER "pushq $" USER_CS32 "; pushq $code32; lretq\n"
    "by_iret: " ENTER "mov %rsp, %rax; pushq $" USER_DS "; push %rax; pushf; pushq $" USER_CS32
    "; pushq $code32; iretq\n"
    "by_jump: " ENTER "ljmpl *pointer32\n"
    "by_call: " ENTER "lcall *pointer32\n" LEAVE "back64: " LEAVE ".code32\n"
    "code32: mov $" USER_DS ", %eax; mov %eax, %ds; mov %eax, %es\n"
    "mov $0xfffffffe, %ecx; inc %ecx; inc %ecx; inc %ecx; push %ecx; pusha; popa; pop results\n"
    "mov $20, %eax; int $0x80; mov %eax, results+4; mov %cs, results+8; mov %ss, results+12\n"
    "mov %esp, results+16; aam $10; mov $results, %edi; movl $0x1234, 20(%edi)\n"
    "ljmp $" USER_CS64 ", $back64\n"
    "call32: mov $" USER_DS ", %eax; mov %eax, %ds; incl results+24; lret\n"
    ".code64\n"
    /* 48 ff c0: in 64-bit mode inc %rax; in 32-bit mode dec %eax, inc %eax */
    "both_modes: " ENTER "mov %rdi, %r12; mov $100, %eax; call 1f; mov %eax, (%r12)\n"
    "pushq $" USER_CS32 "; pushq $2f; lretq; .code32\n"
    "2: mov $" USER_DS ", %eax; mov %eax, %ds; mov $100, %eax; call 1f; mov %eax, results+28; ljmp $" USER_CS64
    ", $3f\n"
    ".code64; 1: .byte 0x48, 0xff, 0xc0, 0xc3\n"
    "3: mov results+28, %eax; mov %eax, 4(%r12); " LEAVE "fault32: " ENTER "pushq $" USER_CS32
    "; pushq $4f; lretq; .code32\n"
    "4: mov $" USER_DS ", %eax; mov %eax, %ds; mov $0x11111111, %ebx; nop\n"
    "fault_at: ud2; mov %ebx, results; movl $5, 8\n"
    ".code64");

static void report_results(const char *how)
{
	printf("%-8s inc %x, getpid %s, cs %x ss %x, stack %s, %x\n", how, results[0],
	       results[1] == (uint32_t)getpid() ? "right" : "WRONG", results[2] & 0xffff, results[3] & 0xffff,
	       results[4] == (uint32_t)(uintptr_t)(low_stack + 8192) ? "right" : "WRONG", results[5]);
	memset(results, 0, sizeof(results));
}

static void test_ways(void)
{
	int i;

	by_lret();
	report_results("lret");
	by_iret();
	report_results("iret");
	pointer32.offset = (uint32_t)(uintptr_t)code32;
	pointer32.selector = 0x23;
	by_jump();
	report_results("jump");
	pointer32.offset = (uint32_t)(uintptr_t)call32;
	for (i = 0; i < 1000; i++)
		by_call();
	printf("called %u times\n", results[6]);
}

static void skip(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)info;
	printf("%s in cs %llx at +%d, rbx %llx\n", catch_name(signo), u->uc_mcontext.gregs[REG_CSGSFS] & 0xffff,
	       (int)(u->uc_mcontext.gregs[REG_RIP] - (long long)fault_at), u->uc_mcontext.gregs[REG_RBX]);
	u->uc_mcontext.gregs[REG_RIP] += 2;
	u->uc_mcontext.gregs[REG_RBX] = 0x1111222233334444;
}

static void test_faults(void)
{
	struct sigaction action = { .sa_sigaction = skip, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	catch_init();
	sigaction(SIGILL, &action, NULL);
	printf("then %s", catch_name(catch_run(fault32, NULL, NULL)));
	printf(" in cs %llx at +%d, address %lx, ebx was %x\n", caught.regs[REG_CSGSFS] & 0xffff,
	       (int)(caught.pc - (uintptr_t)fault_at), caught.addr, results[0]);
}

int main(void)
{
	uint32_t both[2];
	int i;

	test_ways();
	for (i = 0; i < 100; i++)
		both_modes(both);
	printf("the same bytes: 64-bit %u, 32-bit %u\n", both[0], both[1]);
	test_faults();
}
