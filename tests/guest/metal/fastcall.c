/* SPDX-License-Identifier: MIT */
/*
 * System calls of 32-bit code under a 64-bit kernel: SYSENTER, and back by SYSRET, SYSEXIT or into 64-bit code, often
 * enough for all tiers; segment registers that the kernel has changed on the way; upper halves of registers.
 */
#include "lib/metal.h"

#define MSR_SYSENTER_CS 0x174u
#define MSR_SYSENTER_ESP 0x175u
#define MSR_SYSENTER_EIP 0x176u

enum { SEL_SMALL = SEL_SPARE, ROUNDS = 2000, BY_SYSRET = 0, BY_SYSEXIT = 1, TO_64 = 2, NO_SEL = -1 };

const struct tcg_known tcg_known[] = {
	{"SYSRET: a small GS *", "limits in compatibility mode: SDM vol. 3, 5.3.1"},
	{"SYSEXIT: a small GS *", "limits in compatibility mode: SDM vol. 3, 5.3.1"},
	{"SYSRET: a null DS *", "null selectors in compatibility mode: SDM vol. 3, 5.4.1.1"},
	{"SYSEXIT: a null DS *", "null selectors in compatibility mode: SDM vol. 3, 5.4.1.1"},
	{NULL, NULL}
};

void fast_entry(void), u32_loop(void), u32_mixed(void), u32_gs(void), u32_ds(void), u_back64(void);
extern char u32_gs_load[], u32_ds_load[];
USER_DATA volatile u32 u32_table[4] = {0, 7, 0, 0};
USER_DATA volatile u32 u32_total;
volatile u32 fast_way, fast_count;
volatile s64 fast_gs, fast_ds;
volatile u64 fast_flags, fast_rsp, fast_sels;
static u8 fast_stack[4096] aligned(16);

/* User's EIP comes in EDX, ESP in ECX. */
__asm__(".text\nfast_entry: mov %rsp, fast_rsp\n pushf\n pop fast_flags\n mov %cs, %eax\n"
	"shl $16, %eax\n mov %ss, %esi\n or %esi, %eax\n mov %eax, fast_sels\n incl fast_count\n"
	"mov fast_gs, %rax\n test %rax, %rax\n js 1f\n mov %eax, %gs\n"
	"1: mov fast_ds, %rax\n test %rax, %rax\n js 1f\n mov %eax, %ds\n mov %eax, %es\n"
	"1: mov $100, %eax\n movabs $0xdeadbeef00000001, %rsi\n mov %rsi, %rdi\n mov %rsi, %rbp\n"
	"cmpl $1, fast_way\n je 2f\n ja 3f\n"
	"mov %rcx, %rsp\n mov %edx, %ecx\n mov $0x203, %r11d\n sysretl\n"
	"2: stc\n sysexitl\n"
	"3: mov %rcx, %rsp\n mov $u_back64, %ecx\n mov $2, %r11d\n sysretq\n"
	".section .user, \"ax\"\n.code32\n"
	"u32_segs: mov $0x23, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %gs\n ret\n"
	"u32_call: mov $1f, %edx\n mov %esp, %ecx\n sysenter\n1: ret\n"
	"u32_loop: call u32_segs\n mov $2000, %ebx\n"
	"1: call u32_call\n jnc 9f\n mov u32_table(, %esi, 4), %eax\n add u32_table + 2(%edi, %ebp), %eax\n"
	"add %eax, u32_total\n dec %ebx\n jnz 1b\n"
	"9: mov u32_total, %eax\n int $0x81\n"
	/* DEC EAX and INC EAX, or in 64-bit code INC RAX */
	"u32_mixed: call u32_segs\n call u32_call\n .byte 0x48, 0xff, 0xc0\n int $0x81\n"
	"u32_gs: call u32_segs\n call u32_call\nu32_gs_load: mov %gs:u32_table + 4, %eax\n int $0x81\n"
	"u32_ds: call u32_segs\n call u32_call\nu32_ds_load: mov u32_table + 4, %eax\n int $0x81\n"
	".code64\nu_back64: mov (%rsp), %ecx\n add $4, %rsp\n push %rcx\n ret\n.text\n");

static int run32(void (*code)(void), unsigned way, s64 gs, s64 ds)
{
	fast_way = way;
	fast_gs = gs;
	fast_ds = ds;
	return user_run_flags(code, 0, FL_1, SEL_USER_CODE32, user_stack_top - 64);
}

static const char *named(unsigned way, const char *what)
{
	static char name[100];

	format(name, sizeof(name), "%s: %s", way == BY_SYSRET ? "SYSRET" : "SYSEXIT", what);
	return name;
}

static void many(unsigned way)
{
	fast_count = 0;
	u32_total = 0;
	run32(u32_loop, way, NO_SEL, NO_SEL);
	check_eq(named(way, "no trap"), (u64)(u32)trap.vector, (u32)NO_TRAP);
	check_eq(named(way, "calls"), fast_count, ROUNDS);
	check_eq(named(way, "upper halves are gone"), u32_total, ROUNDS * 14);
	check_eq(named(way, "RSP of the MSR"), fast_rsp, (u64)fast_stack + sizeof(fast_stack));
	check_eq(named(way, "CS, SS of the MSR"), fast_sels, SEL_CODE << 16 | SEL_DATA);
	check_eq(named(way, "IF off"), fast_flags & FL_IF, 0);
	check_eq(named(way, "CS, SS of the user"), trap.f.cs << 16 | trap.f.ss, SEL_USER_CODE32 << 16 | SEL_USER_DATA);
	check_eq(named(way, "IF of the user"), trap.f.rflags & FL_IF, way == BY_SYSRET ? FL_IF : 0);
}

/* The kernel changes a register of the user's, and changes it back. */
static void segments(unsigned way)
{
	unsigned good = 0, bad = 0;

	for (unsigned i = 0; i < 200; i++) {
		bool small = i & 1;

		run32(u32_gs, way, small ? SEL_SMALL | 3 : SEL_USER_DATA, NO_SEL);
		good += !small && trap.vector == NO_TRAP && trap.f.rax == 7;
		bad += small && trap.vector == GP && trap.f.error == 0 && trap.f.rip == (u64)u32_gs_load;
	}
	check_eq(named(way, "a whole GS that the kernel has loaded"), good, 100);
	check_eq(named(way, "a small GS that the kernel has loaded"), bad, 100);
	for (unsigned i = good = bad = 0; i < 200; i++) {
		bool null = i & 1;

		run32(u32_ds, way, NO_SEL, null ? 0 : SEL_USER_DATA);
		good += !null && trap.vector == NO_TRAP && trap.f.rax == 7;
		bad += null && trap.vector == GP && trap.f.error == 0 && trap.f.rip == (u64)u32_ds_load;
	}
	check_eq(named(way, "a flat DS that the kernel has loaded"), good, 100);
	check_eq(named(way, "a null DS that the kernel has loaded"), bad, 100);
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%gs" : : "r"(SEL_DATA));
}

/* A return address that 32-bit code has pushed is returned to by 64-bit code. */
static void mixed(void)
{
	unsigned narrow = 0, wide = 0;

	for (unsigned i = 0; i < 400; i++) {
		bool to64 = i % 3 == 0;

		run32(u32_mixed, to64 ? TO_64 : i % 3 - 1, NO_SEL, NO_SEL);
		narrow += !to64 && trap.vector == NO_TRAP && trap.f.rax == 100 && trap.f.cs == SEL_USER_CODE32;
		wide += to64 && trap.vector == NO_TRAP && trap.f.rax == 101 && trap.f.cs == SEL_USER_CODE;
	}
	check_eq("32-bit code returns to 32-bit code", narrow, 266);
	check_eq("64-bit code returns to 64-bit code", wide, 134);
}

static void refused(void)
{
	wrmsr(MSR_SYSENTER_CS, 0);
	run32(u32_loop, BY_SYSRET, NO_SEL, NO_SEL);
	report(trap.vector == GP && trap.f.error == 0, "#GP: SYSENTER without a selector", "vector %d", trap.vector);
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	run32(u32_mixed, BY_SYSRET, NO_SEL, NO_SEL);
	check_eq("SYSENTER with one again", trap.f.rax, 100);
	wrmsr(MSR_SYSENTER_ESP, (u64)fast_stack + 64);
	run32(u32_mixed, BY_SYSEXIT, NO_SEL, NO_SEL);
	check_eq("another stack", fast_rsp, (u64)fast_stack + 64);
}

void metal_main(void)
{
	if (cpuid(0, 0).b != 0x756e6547) { /* Genu */
		report_skip("SYSENTER", "in long mode it is Intel's");
		return;
	}
	gdt[SEL_SMALL / 8] = 0x0040f30000000fffull;
	wrmsr(MSR_STAR, (u64)SEL_CODE << 32 | 0x1bull << 48);
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	wrmsr(MSR_SYSENTER_ESP, (u64)fast_stack + sizeof(fast_stack));
	wrmsr(MSR_SYSENTER_EIP, (u64)fast_entry);
	for (unsigned way = BY_SYSRET; way <= BY_SYSEXIT; way++) {
		many(way);
		segments(way);
	}
	mixed();
	refused();
}
