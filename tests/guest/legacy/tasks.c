/* SPDX-License-Identifier: MIT */
/*
 * Task switches: by JMP, CALL and IRET to a TSS and through task gates, for interrupts and exceptions with error codes,
 * to 16-bit tasks and to virtual-8086 mode; busy bits, links, NT, TS, the debug trap, and what is wrong with a TSS.
 */
#include "lib/legacy.h"

static struct tss other aligned(128);
struct tss16 {
	u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
static struct tss16 small aligned(64);
static u8 other_stack[4096] aligned(16);
static volatile u32 seen[8];

enum { SEL_OTHER = SEL_SPARE, SEL_SMALL = SEL_SPARE + 8, SEL_GATE = SEL_SPARE + 16 };

static u32 type_of(u16 sel)
{
	return (u32)(*(volatile u64 *)&gdt[sel / 8] >> 40) & 0xf;
}

static void prepare(void (*code)(void))
{
	other = (struct tss){.eip = (u32)code, .esp = (u32)other_stack + sizeof(other_stack), .eflags = FL_1,
		.cs = SEL_CODE,
			     .ss = SEL_DATA, .ds = SEL_DATA, .es = SEL_DATA, .fs = SEL_DATA, .gs = 0, .eax = 0x1111, .ebx = 0x2222,
			     .esp0 = (u32)other_stack + 2048, .ss0 = SEL_DATA, .io_base = sizeof(other), .cr3 = get_cr3()};
	gdt[SEL_OTHER / 8] = descriptor((u32)&other, sizeof(other) - 1, 0x89);
}

static u32 flags_now(void)
{
	u32 f;

	__asm__ volatile("pushf; pop %0" : "=r"(f));
	return f;
}

static u16 task_register(void)
{
	u16 x;

	__asm__ volatile("str %0" : "=r"(x));
	return x;
}

/* The other task: notes what it sees and goes back by IRET; called again it goes on behind. */
void other_code(void);
__asm__(".pushsection .text\nother_code: mov %eax, seen_asm; mov %ebx, seen_asm + 4; str %ax; movzwl %ax, %eax;"
	"mov %eax, seen_asm + 8;"
	"pushf; popl seen_asm + 12; mov %cr0, %eax; mov %eax, seen_asm + 16; clts; incl ran_asm; iret;"
		"addl $0x100, ran_asm; iret\n.popsection");
volatile u32 seen_asm[8], ran_asm;

static void calls(void)
{
	prepare(other_code);
	ran_asm = 0;
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_OTHER) : "memory");
	check_eq("ran", ran_asm, 1);
	check_eq("eax", seen_asm[0], 0x1111);
	check_eq("ebx", seen_asm[1], 0x2222);
	check_eq("tr", seen_asm[2], SEL_OTHER);
	check_eq("NT in the called task", seen_asm[3] & FL_NT, FL_NT);
	check_eq("TS", seen_asm[4] & CR0_TS, CR0_TS);
	check_eq("link", other.link, SEL_TSS);
	check_eq("back", task_register(), SEL_TSS);
	check_eq("busy bit of the old", type_of(SEL_TSS), 11);
	check_eq("busy bit of the other", type_of(SEL_OTHER), 9);
	check_eq("NT after", flags_now() & FL_NT, 0);
	check_eq("TS after", get_cr0() & CR0_TS, CR0_TS);
	__asm__ volatile("clts");
	gdt[SEL_GATE / 8] = gate(SEL_OTHER, 0, 0x85);
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_GATE) : "memory");
	check_eq("through a gate, on behind", ran_asm, 0x101);
	check_eq("saved NT", other.eflags & FL_NT, 0);
	__asm__ volatile("clts");
}

/* Jumps: no link, no NT; the old task is available again. */
static void back_by_jump(void)
{
	seen[0] = task_register();
	seen[1] = type_of(SEL_TSS);
	seen[2] = type_of(SEL_OTHER);
	seen[3] = flags_now();
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_TSS));
}

static void jumps(void)
{
	prepare(back_by_jump);
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_OTHER) : "memory");
	check_eq("jump: tr", seen[0], SEL_OTHER);
	check_eq("jump: old is available", seen[1], 9);
	check_eq("jump: new is busy", seen[2], 11);
	check_eq("jump: no NT", seen[3] & FL_NT, 0);
	check_eq("jump back", task_register(), SEL_TSS);
	check_eq("jump: link untouched", other.link, 0);
	__asm__ volatile("clts");
}

/* An exception by a task gate: the error code lies on the new task's stack; the instruction is skipped by hand. */
void fault_code(void);
__asm__(".pushsection .text\nfault_code: pop %eax; mov %eax, seen_asm; mov tss + 32, %eax; mov %eax, seen_asm + 4;"
	"mov tss + 36, %eax;"
	"mov %eax, seen_asm + 8; addl $2, tss + 32; clts; iret; jmp fault_code\n"
	".globl bad_load\nbad_load: mov %eax, %fs; ret\n"
	"int_code: mov tss + 32, %eax; mov %eax, seen_asm; clts; iret; jmp int_code\n"
	".globl int_here, int_after\nint_here: int $0x50\nint_after: ret\n.popsection");
extern char bad_load[], int_after[];
void int_code(void);

static void events(void)
{
	u64 old = idt[GP];

	prepare(fault_code);
	idt[GP] = gate(SEL_OTHER, 0, 0x85);
	for (unsigned i = 0; i < 2; i++) {
		seen_asm[0] = 0;
		__asm__ volatile("call bad_load" : : "a"(SEL_TSS) : "memory");
		check_eq("error code", seen_asm[0], SEL_TSS);
		check_eq("saved EIP", seen_asm[1], (u32)bad_load);
		if (!under_tcg())
			check_eq("saved RF", seen_asm[2] & FL_RF, FL_RF);
	}
	idt[GP] = old;
	prepare(int_code);
	idt[0x50] = gate(SEL_OTHER, 0, 0x85);
	__asm__ volatile("call int_here" : : : "eax", "memory");
	check_eq("INT saves the next address", seen_asm[0], (u32)int_after);
}

/* A 16-bit task: 16-bit code at LOW, called, back by IRET. */
extern char small_code[], small_code_end[];
__asm__(".pushsection .rodata\n.globl small_code\nsmall_code: .code16; mov %ax, 0x9000; mov %sp, 0x9002; str %bx;"
	"mov %bx, 0x9004; clts;"
	"iret; .code32\n.globl small_code_end\nsmall_code_end:\n.popsection");

static void sixteen(void)
{
	for (char *p = small_code, *to = (char *)0x8800; p < small_code_end;)
		*to++ = *p++;
	small = (struct tss16){.ip = 0x8800, .flags = FL_1, .ax = 0xabcd, .sp = 0x7000, .cs = SEL_CODE16, .ss = SEL_DATA16,
			       .ds = SEL_DATA16, .es = 0};
	gdt[SEL_SMALL / 8] = descriptor((u32)&small, sizeof(small) - 1, 0x81);
	__asm__ volatile("lcall %0, $0" : : "i"(SEL_SMALL) : "memory");
	check_eq("16-bit task: ax", *(volatile u16 *)0x9000, 0xabcd);
	check_eq("16-bit task: sp", *(volatile u16 *)0x9002, 0x7000);
	check_eq("16-bit task: tr", *(volatile u16 *)0x9004, SEL_SMALL);
	check_eq("16-bit task: link", small.link, SEL_TSS);
	check_eq("back from it", task_register(), SEL_TSS);
}

/* Into virtual-8086 mode by a task switch, and out by INT3 at a task gate that is the first task's. */
static void to_v86(void)
{
	*(u16 *)0x10000 = 0xcc90; /* nop; int3 */
	prepare(other_code);
	other.eflags = FL_1 | FL_VM | FL_IOPL;
	other.cs = other.ds = other.ss = other.es = 0x1000;
	other.eip = 0;
	other.esp = 0x800;
	gdt[SEL_TSS / 8] &= ~(2ull << 40);
	idt[BP] = gate(SEL_TSS, 0, 0xe5);
	gdt[SEL_TSS / 8] |= 2ull << 40;
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_OTHER) : "memory");
	check_eq("out of virtual-8086 mode", task_register(), SEL_TSS);
	check_eq("its EIP", other.eip, 2);
	check_eq("its VM", other.eflags & FL_VM, FL_VM);
	check_eq("NT here", flags_now() & FL_NT, FL_NT);
	__asm__ volatile("pushf; andl $~0x4000, (%esp); popf; clts");
	gdt[SEL_OTHER / 8] &= ~(2ull << 40);
}

static void wrong(void)
{
	prepare(other_code);
	gdt[SEL_OTHER / 8] |= 2ull << 40;
	check_trap("call of a busy task", TRY("lcall %0, $0", : "i"(SEL_OTHER)), GP, SEL_OTHER);
	gdt[SEL_OTHER / 8] = descriptor((u32)&other, 0x66, 0x89);
	check_trap("limit of 66h", TRY("lcall %0, $0", : "i"(SEL_OTHER)), TS, SEL_OTHER);
	gdt[SEL_OTHER / 8] = descriptor((u32)&other, 0x67, 0x09);
	check_trap("not present", TRY("ljmp %0, $0", : "i"(SEL_OTHER)), NP, SEL_OTHER);
	gdt[SEL_GATE / 8] = gate(SEL_DATA, 0, 0x85);
	check_trap("gate to data", TRY("lcall %0, $0", : "i"(SEL_GATE)), GP, SEL_DATA);
	gdt[SEL_GATE / 8] = gate(SEL_OTHER, 0, 0x05);
	check_trap("absent gate", TRY("lcall %0, $0", : "i"(SEL_GATE)), NP, SEL_GATE);
	tss.link = SEL_DATA;
	check_trap("IRET to no task", TRY("pushf; orl $0x4000, (%%esp); popf; iret", : : "memory"), TS, SEL_DATA);
	__asm__ volatile("pushf; andl $~0x4000, (%esp); popf");
}

/* A segment of the new task is wrong: #TS is raised in that task, at its first instruction. */
static bool in_other;
static bool ts_handler(struct frame *f)
{
	seen[4] = task_register();
	seen[5] = f->eip;
	seen[6] = f->error;
	in_other = true;
	f->cs = SEL_CODE;
	f->ds = f->es = SEL_DATA;
	f->eip = (u32)back_by_jump;
	return true;
}

static void wrong_segment(void)
{
	prepare(other_code);
	other.ds = SEL_CODE64 + 0x100;
	set_handler(TS, ts_handler);
	__asm__ volatile("ljmp %0, $0" : : "i"(SEL_OTHER) : "memory");
	set_handler(TS, 0);
	check(in_other, "#TS");
	check_eq("in the new task", seen[4], SEL_OTHER);
	if (!under_tcg()) /* TCG has the jump's address: SDM vol. 3, 7.3 */
		check_eq("at its first instruction", seen[5], (u32)other_code);
	check_eq("selector", seen[6], SEL_CODE64 + 0x100);
	__asm__ volatile("clts");
}

void legacy_main(void)
{
	calls();
	jumps();
	events();
	sixteen();
	to_v86();
	wrong();
	wrong_segment();
}
