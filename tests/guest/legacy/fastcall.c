/* SPDX-License-Identifier: MIT */
/*
 * SYSENTER and SYSEXIT outside long mode, often enough for all tiers; what they load, whatever the tables say; a kernel
 * that changes the user's DS on the way.
 */
#include "lib/legacy.h"

enum { MSR_SYSENTER_CS = 0x174, MSR_SYSENTER_ESP = 0x175, MSR_SYSENTER_EIP = 0x176, ROUNDS = 2000,
	SEL_SMALL = SEL_SPARE };

static u8 fast_stack[1024] aligned(16);
volatile u32 fast_count, fast_esp, fast_flags, fast_sels, fast_ds, fast_value = 0x77;
void fast_entry(void), fast_loop(void), fast_once(void);
extern char fast_load[];

/* User's EIP comes in EDX, ESP in ECX. */
__asm__(".pushsection .text\nfast_entry: mov %esp, fast_esp; pushf; popl fast_flags; mov %cs, %eax; shl $16, %eax\n"
	"mov %ss, %esi; or %esi, %eax; mov %eax, fast_sels; incl fast_count; mov fast_ds, %eax; mov %eax, %ds; stc\n"
	"sysexit\n"
	"fast_call: mov $1f, %edx; mov %esp, %ecx; sysenter; 1: ret\n"
	"fast_loop: xor %eax, %eax; mov $2000, %ebx\n"
	"1: call fast_call; jnc 2f; dec %ebx; jnz 1b; 2: int $0x81\n"
	"fast_once: call fast_call; fast_load: mov fast_value, %eax; int $0x81\n.popsection");

static void many(void)
{
	check_eq("no trap", (u32)user_run(fast_loop), VEC_LEAVE);
	check_eq("calls", fast_count, ROUNDS);
	check_eq("ESP of the MSR", fast_esp, (u32)fast_stack + sizeof(fast_stack));
	check_eq("CS, SS of the MSR", fast_sels, SEL_CODE << 16 | SEL_DATA);
	check_eq("IF off", fast_flags & FL_IF, 0);
	check_eq("CS of the user", trap.f.cs & 0xffff, SEL_USER_CODE);
	check_eq("SS of the user", trap.f.ss & 0xffff, SEL_USER_DATA);
	check_eq("flags stay", trap.f.eflags & FL_CF, FL_CF);
}

static void segments(void)
{
	unsigned good = 0, bad = 0;

	gdt[SEL_SMALL / 8] = descriptor(0, 0xfff, 0x40f3);
	for (unsigned i = 0; i < 200; i++) {
		int vector;

		fast_ds = i & 1 ? SEL_SMALL | 3 : SEL_USER_DATA;
		vector = user_run(fast_once);
		good += !(i & 1) && vector == VEC_LEAVE && trap.f.eax == 0x77;
		bad += i & 1 && vector == GP && !trap.error && trap.f.eip == (u32)fast_load;
	}
	fast_ds = SEL_USER_DATA;
	check_eq("a flat DS that the kernel has loaded", good, 100);
	if (under_tcg())
		skip("limits of accesses (TCG has no checks: SDM vol. 3, 5.3)");
	else
		check_eq("a small DS that the kernel has loaded", bad, 100);
}

static void refused(void)
{
	for (u32 null = 0; null < (under_tcg() ? 1 : 4); null++) { /* TCG takes 3 for one: SDM vol. 2, SYSENTER, SYSEXIT */
		wrmsr(MSR_SYSENTER_CS, null);
		check_trap("SYSENTER without a selector", user_run(fast_once), GP, 0);
		check_trap("SYSEXIT without one", TRY("sysexit", :), GP, 0);
	}
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	check_eq("with one again", (u32)user_run(fast_once), VEC_LEAVE);
	wrmsr(MSR_SYSENTER_ESP, (u32)fast_stack + 64);
	user_run(fast_once);
	check_eq("another stack", fast_esp, (u32)fast_stack + 64);
}

void legacy_main(void)
{
	wrmsr(MSR_SYSENTER_CS, SEL_CODE);
	wrmsr(MSR_SYSENTER_ESP, (u32)fast_stack + sizeof(fast_stack));
	wrmsr(MSR_SYSENTER_EIP, (u32)fast_entry);
	fast_ds = SEL_USER_DATA;
	many();
	segments();
	refused();
}
