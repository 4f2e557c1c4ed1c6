/* SPDX-License-Identifier: MIT */
/*
 * Virtual-8086 mode: into it by IRET, out of it by exceptions and INT, what IOPL and VME make of its instructions, the
 * I/O permission map, addresses and limits; protected-mode virtual interrupts.
 */
#include "lib/legacy.h"

enum { CODE_SEG = 0x1000, DATA_SEG = 0x2000, STACK_SEG = 0x4000 };

#define CODE16(name, text)                                                                                           \
	extern const char name[], name##_end[];                                                                      \
	__asm__(".pushsection .rodata\n" #name ":\n.code16\n" text "\nint3\n.code32\n" #name "_end:\n.popsection")

extern u32 user_saved_esp;
void v86_enter(u32 eflags);
__asm__(".pushsection .text\nv86_enter: pusha; mov %esp, user_saved_esp; mov 36(%esp), %eax; push $0; push $0;"
	"push $0x2000;"
	"push $0x3000; push $0x4000; push $0x1000; push %eax; push $0x1000; push $0; mov $0x11110000, %ebx;"
		"mov $0x1234, %ecx;"
	"iret\n.popsection");

/* Gives the vector that ended it; registers are in trap.f. */
static int run(const char *from, const char *end, u32 flags)
{
	u8 *p = (u8 *)(CODE_SEG << 4);

	while (from < end)
		*p++ = (u8)*from++;
	trap.vector = NO_TRAP;
	v86_enter(FL_1 | FL_VM | flags);
	user_saved_esp = 0;
	return trap.vector;
}
#define RUN(name, flags) run(name, name##_end, flags)

CODE16(plain, "mov %cs, %ax; mov %ds, %bx; mov %es, %cx; mov %ss, %dx; mov $0x5678, %si; mov %si, 0x10;"
	"movl $0x89abcdef, %es:0x20;"
	      "push %si; pop %di; mov $0xffff, %bp; call 1f; jmp 2f; 1: ret; 2: mov $0x3000, %bp; mov %bp, %ds;"
	      	"mov 0x20, %bp");
CODE16(flags_io, "pushf; pop %ax; pushf; popf; sti; pushf; pop %bx; cli; pushf; pop %cx; mov $0x3002, %dx; push %dx;"
	"popf; nop");
CODE16(v_cli, "cli");
CODE16(v_sti, "sti; pushf; pop %ax");
CODE16(v_pushf, "pushf; pop %ax");
CODE16(v_pushfl, "pushfl");
CODE16(v_popf, "mov $0x202, %ax; push %ax; popf; pushf; pop %ax");
CODE16(v_popf_tf, "mov $0x102, %ax; push %ax; popf");
CODE16(v_iret, "mov $0x202, %ax; push %ax; push %cs; mov $1f - v_iret, %ax; push %ax; iret; hlt; 1: mov $0x77, %al");
CODE16(v_int, "int $0x40; mov $0x44, %bl");
CODE16(v_hlt, "hlt");
CODE16(v_cr, "mov %cr0, %eax");
CODE16(v_lldt, "lldt %ax");
CODE16(v_lar, "lar %ax, %bx");
CODE16(v_out, "mov $0x80, %dx; out %al, %dx; mov $0x81, %dx; out %al, %dx");
CODE16(v_limit, "mov 0xffff, %ax");
CODE16(v_vex, ".byte 0xc5, 0xf8, 0x77");
CODE16(v_far, "lcall $0x1000, $1f - v_far; jmp 2f; 1: mov $0x99, %al; lret; 2: ljmp $0x1001, $(3f - v_far - 16);"
	".org v_far + 40; 3: mov %cs, %bx");
CODE16(v_handler, "push %bp; mov %sp, %bp; mov 6(%bp), %cx; pop %bp; pushf; pop %dx; mov $0x33, %bh; iret");
CODE16(v_db, "pushf; pop %ax; or $1, %ah; push %ax; popf; nop; nop");

static void iopl3(void)
{
	u32 iopl = 3 << 12;

	check_eq("plain", (u32)RUN(plain, iopl), BP);
	check_eq("cs", (u16)trap.f.eax, CODE_SEG);
	check_eq("ds", (u16)trap.f.ebx, DATA_SEG);
	check_eq("es", (u16)trap.f.ecx, 0x3000);
	check_eq("ss", (u16)trap.f.edx, STACK_SEG);
	check_eq("memory", *(u16 *)0x20010, 0x5678);
	check_eq("push, pop", (u16)trap.f.edi, 0x5678);
	check_eq("ds loaded", (u16)trap.f.ebp, 0xcdef);
	check_eq("pushed VM", trap.f.eflags & (FL_VM | FL_IOPL), FL_VM | FL_IOPL);
	check_eq("pushed DS", trap.f.v86_ds, 0x3000);
	check_eq("pushed ES", trap.f.v86_es, 0x3000);
	check_eq("pushed SS", trap.f.ss, STACK_SEG);
	check_eq("pushed SP", trap.f.esp, 0x1000);
	check_eq("DS of the handler", trap.f.ds, 0);
	check_eq("upper half of EBX", trap.f.ebx >> 16, 0x1111);
	check_eq("flags", (u32)RUN(flags_io, iopl), BP);
	check_eq("pushf", (u16)trap.f.eax, 0x3002);
	check_eq("sti", (u16)trap.f.ebx, 0x3202);
	check_eq("cli", (u16)trap.f.ecx, 0x3002);
	check_trap("int n to a gate of DPL 0", RUN(v_int, iopl), GP, 0x40 * 8 + 2);
	idt[0x40] |= 3ull << 45;
	check_eq("int n to a gate of DPL 3", (u32)RUN(v_int, iopl), 0x40);
	idt[0x40] &= ~(3ull << 45);
	check_eq("iret", (u32)RUN(v_iret, iopl), BP);
	check_eq("iret's place", (u8)trap.f.eax, 0x77);
	check_eq("iret's flags", trap.f.eflags & FL_IF, FL_IF);
	check_eq("far transfers", (u32)RUN(v_far, iopl), BP);
	check_eq("far call", (u8)trap.f.eax, 0x99);
	check_eq("far jump", (u16)trap.f.ebx, 0x1001);
	check_eq("single step", (u32)RUN(v_db, iopl), DB);
	check_eq("  at", trap.f.eip, 8);
}

static void iopl0(void)
{
	set_cr4(get_cr4() & ~CR4_VME);
	check_trap("cli", RUN(v_cli, 0), GP, 0);
	check_trap("sti", RUN(v_sti, 0), GP, 0);
	check_trap("pushf", RUN(v_pushf, 0), GP, 0);
	check_trap("popf", RUN(v_popf, 0), GP, 0);
	check_trap("iret", RUN(v_iret, 0), GP, 0);
	check_trap("int n", RUN(v_int, 0), GP, 0);
	check_trap("hlt", RUN(v_hlt, 0), GP, 0);
	check_trap("mov from CR0", RUN(v_cr, 0), GP, 0);
	check_trap("lldt", RUN(v_lldt, 0), UD, 0);
	check_trap("lar", RUN(v_lar, 0), UD, 0);
	check_trap("VEX", RUN(v_vex, 0), UD, 0);
	tss.bits[0x80 / 8] = 2;
	check_trap("out", RUN(v_out, 0), GP, 0);
	check_eq("  the second", trap.f.eip, 7);
	tss.bits[0x80 / 8] = 0;
	check_eq("out allowed", (u32)RUN(v_out, 0), BP);
	tss.bits[0x80 / 8] = 3;
	check_trap("out with IOPL 3", RUN(v_out, FL_IOPL), GP, 0);
	tss.bits[0x80 / 8] = 0;
	if (under_tcg())
		skip("limit (TCG has no check: SDM vol. 3, 21.2.1)");
	else
		check_trap("limit", RUN(v_limit, 0), GP, 0);
}

/* With VME: VIF for IF, and INT n through the table at 0 where the redirection map allows. */
static void vme(void)
{
	u32 a, b, c, d;

	__asm__("cpuid" : "=a"(a), "=b"(b), "=c"(c), "=d"(d) : "a"(1));
	if (!(d & 2)) {
		skip("VME: not offered");
		return;
	}
	set_cr4(get_cr4() | CR4_VME);
	check_eq("VME cli", (u32)RUN(v_cli, FL_VIF), BP);
	check_eq("VIF clear", trap.f.eflags & (FL_VIF | FL_IF), 0);
	check_eq("VME sti", (u32)RUN(v_sti, 0), BP);
	check_eq("VIF set", trap.f.eflags & (FL_VIF | FL_IF), FL_VIF);
	check_eq("pushf shows VIF and IOPL 3", (u16)trap.f.eax, 0x3202);
	check_trap("sti with VIP", RUN(v_sti, FL_VIP), GP, 0);
	check_eq("VME pushf", (u32)RUN(v_pushf, 0), BP);
	check_eq("pushf, VIF clear", (u16)trap.f.eax, 0x3002);
	check_trap("pushfl", RUN(v_pushfl, 0), GP, 0);
	check_eq("VME popf", (u32)RUN(v_popf, 0), BP);
	check_eq("popf to VIF", trap.f.eflags & (FL_VIF | FL_IF), FL_VIF);
	check_trap("popf of IF with VIP", RUN(v_popf, FL_VIP), GP, 0);
	check_trap("popf of TF", RUN(v_popf_tf, 0), GP, 0);
	check_eq("VME iret", (u32)RUN(v_iret, 0), BP);
	check_eq("iret to VIF", trap.f.eflags & (FL_VIF | FL_IF), FL_VIF);
	*(u32 *)(0x40 * 4) = CODE_SEG << 16 | 0x800;
	for (const char *p = v_handler; p < v_handler_end; p++)
		*(u8 *)((CODE_SEG << 4) + 0x800 + (p - v_handler)) = (u8)*p;
	tss.io_base = offsetof(struct tss, bits) + 32;
	check_eq("VME int n", (u32)RUN(v_int, FL_VIF), BP);
	check_eq("own handler, and back", (u16)trap.f.ebx, 0x3344);
	check_eq("pushed flags", (u16)trap.f.ecx, 0x3202);
	check_eq("flags in the handler", (u16)trap.f.edx, 0x3002);
	check_eq("VIF back", trap.f.eflags & FL_VIF, FL_VIF);
	tss.bits[0x40 / 8] = 1;
	check_trap("redirected, IOPL 0", RUN(v_int, 0), GP, 0);
	tss.bits[0x40 / 8] = 0;
	tss.io_base = offsetof(struct tss, bits);
	set_cr4(get_cr4() & ~CR4_VME);
}

static void user_sti(void)
{
	__asm__ volatile("sti; pushf; pop %eax; cli; pushf; pop %ebx; int $0x81");
}

static void pvi(void)
{
	check_trap("sti at CPL 3", user_run(user_sti), GP, 0);
	set_cr4(get_cr4() | CR4_PVI);
	check_eq("PVI", (u32)user_run(user_sti), VEC_LEAVE);
	check_eq("sti to VIF", trap.f.eax & (FL_VIF | FL_IF), FL_VIF);
	check_eq("cli to VIF", trap.f.ebx & (FL_VIF | FL_IF), 0);
	set_cr4(get_cr4() & ~CR4_PVI);
}

void legacy_main(void)
{
	idt[BP] |= 3ull << 45;
	tss.bits[127] = 0xff;
	iopl3();
	iopl0();
	vme();
	if (under_tcg())
		skip("PVI (TCG 7.2 has none: SDM vol. 3, 21.4)");
	else
		pvi();
}
