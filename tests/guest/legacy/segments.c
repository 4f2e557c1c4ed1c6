/* SPDX-License-Identifier: MIT */
/*
 * Segments of protected mode: base and limit of each kind, expand-down, access rights, the local table, 16-bit stacks
 * and code segments with bases, conforming code, call gates with and without parameters, returns to outer levels.
 */
#include "lib/legacy.h"

enum { DATA = 0x93, DATA_RO = 0x91, DATA_DOWN = 0x97, CODE = 0x9b, CODE_XO = 0x99, CONFORMING = 0x9f, D = 0x4000,
	G = 0x8000,
       DPL3 = 0x60, NOT_P = 0x80 };

static u8 area[0x30000] aligned(4096);

static u16 spare(unsigned n, u64 d)
{
	gdt[SEL_SPARE / 8 + n] = d;
	return (u16)(SEL_SPARE + n * 8);
}

static int load_data(u16 sel)
{
	int v = TRY("mov %w0, %%fs", : "r"(sel));

	__asm__ volatile("mov %w0, %%fs" : : "r"(SEL_DATA));
	return v;
}

static int load_ss(u16 sel)
{
	return TRY("mov %w0, %%ss; mov %w1, %%ss", : "r"(sel), "r"(SEL_DATA));
}

/* A byte, word or dword at an offset of a segment in FS, read or written. */
static int access(u16 sel, u32 off, unsigned size, bool write)
{
	int v = NO_TRAP;
	u32 x = 0x5a5a5a5a;

	__asm__ volatile("mov %w0, %%fs" : : "r"(sel));
	if (size == 1 && !write)
		v = TRY("movb %%fs:(%1), %%al", "+a"(x) : "r"(off) : "memory");
	else if (size == 2 && !write)
		v = TRY("movw %%fs:(%1), %%ax", "+a"(x) : "r"(off) : "memory");
	else if (!write)
		v = TRY("movl %%fs:(%1), %%eax", "+a"(x) : "r"(off) : "memory");
	else if (size == 1)
		v = TRY("movb %%al, %%fs:(%1)", "+a"(x) : "r"(off) : "memory");
	else if (size == 2)
		v = TRY("movw %%ax, %%fs:(%1)", "+a"(x) : "r"(off) : "memory");
	else
		v = TRY("movl %%eax, %%fs:(%1)", "+a"(x) : "r"(off) : "memory");
	__asm__ volatile("mov %w0, %%fs" : : "r"(SEL_DATA));
	return v;
}

/* The same with ES, DS and SS limited too, so that the code is made in the form that looks at all of them. */
static int access_ds(u16 sel, u32 off, bool write)
{
	u32 x = 0x11223344;
	int v;

	if (write)
		v = TRY("mov %w2, %%ds; movl %%eax, (%1); mov %%ss, %%ecx; mov %%ecx, %%ds", "+a"(x) : "r"(off),
			"r"(sel) : "ecx",
			"memory");
	else
		v = TRY("mov %w2, %%ds; movl (%1), %%eax; mov %%ss, %%ecx; mov %%ecx, %%ds", "+a"(x) : "r"(off),
			"r"(sel) : "ecx",
			"memory");
	return v;
}

static void loads(void)
{
	__asm__ volatile("lldt %w0" : : "r"(0));
	check_trap("null DS", load_data(0), NO_TRAP, 0);
	check_trap("null DS with RPL", load_data(3), NO_TRAP, 0);
	check_trap("beyond the table", load_data(GDT_ENTRIES * 8), GP, GDT_ENTRIES * 8);
	check_trap("beyond the table, RPL", load_data(GDT_ENTRIES * 8 + 3), GP, GDT_ENTRIES * 8);
	check_trap("no LDT", load_data(4), GP, 4);
	check_trap("execute-only", load_data(spare(0, descriptor(0, 0xffff, CODE_XO))), GP, SEL_SPARE);
	check_trap("readable code", load_data(spare(0, descriptor(0, 0xfffff, CODE | D | G))), NO_TRAP, 0);
	check_trap("system", load_data(SEL_TSS), GP, SEL_TSS);
	check_trap("not present", load_data(spare(0, descriptor(0, 0xffff, DATA & ~NOT_P))), NP, SEL_SPARE);
	check_trap("DPL 0 with RPL 3", load_data((u16)(spare(0, descriptor(0, 0xfffff, DATA | D | G)) | 3)), GP, SEL_SPARE);
	check_trap("conforming with RPL 3", load_data((u16)(spare(0, descriptor(0, 0xfffff, CONFORMING | D | G)) | 3)),
		NO_TRAP, 0);
	check_trap("null SS", load_ss(0), GP, 0);
	check_trap("read-only SS", load_ss(spare(0, descriptor(0, 0xfffff, DATA_RO | D | G))), GP, SEL_SPARE);
	check_trap("SS of DPL 3", load_ss(spare(0, descriptor(0, 0xfffff, DATA | DPL3 | D | G))), GP, SEL_SPARE);
	check_trap("SS with RPL 3", load_ss((u16)(spare(0, descriptor(0, 0xfffff, DATA | D | G)) | 3)), GP, SEL_SPARE);
	check_trap("SS not present", load_ss(spare(0, descriptor(0, 0xfffff, (DATA & ~NOT_P) | D | G))), SS, SEL_SPARE);
	spare(0, descriptor(0, 0xfffff, 0x92 | D | G));
	load_data(SEL_SPARE);
	check_eq("accessed bit", (u32)(*(volatile u64 *)&gdt[SEL_SPARE / 8] >> 40) & 1, 1);
}

static void limits(void)
{
	u16 s = spare(1, descriptor((u32)area, 0x100, DATA | D));

	area[0x100] = 0x77;
	check_trap("last byte", access(s, 0x100, 1, false), NO_TRAP, 0);
	if (under_tcg()) {
		skip("limits and rights of accesses (TCG has no checks: SDM vol. 3, 5.3, 5.5)");
		return;
	}
	check_trap("byte beyond", access(s, 0x101, 1, false), GP, 0);
	check_trap("word over the end", access(s, 0x100, 2, false), GP, 0);
	check_trap("dword over the end, write", access(s, 0xfe, 4, true), GP, 0);
	check_trap("dword within", access(s, 0xfd, 4, true), NO_TRAP, 0);
	check_trap("at the top", access(s, 0xffffffff, 4, false), GP, 0);
	check_trap("DS, within", access_ds(s, 0xfd, true), NO_TRAP, 0);
	check_trap("DS, beyond", access_ds(s, 0xfe, true), GP, 0);
	check_trap("DS, at the top", access_ds(s, 0xfffffffe, false), GP, 0);
	s = spare(1, descriptor((u32)area, 1, DATA | D | G));
	check_trap("pages", access(s, 0x1ffc, 4, true), NO_TRAP, 0);
	check_trap("beyond pages", access(s, 0x1ffd, 4, true), GP, 0);
	s = spare(1, descriptor((u32)area, 0xfff, DATA_DOWN | D));
	check_trap("expand-down, below", access(s, 0xfff, 1, false), GP, 0);
	check_trap("expand-down, above", access(s, 0x1000, 4, true), NO_TRAP, 0);
	check_trap("expand-down, above 64 KiB", access(s, 0x20000, 4, true), NO_TRAP, 0);
	s = spare(1, descriptor((u32)area, 0xfff, DATA_DOWN));
	check_trap("expand-down 16, top", access(s, 0xfffc, 4, true), NO_TRAP, 0);
	check_trap("expand-down 16, over", access(s, 0xfffd, 4, true), GP, 0);
	check_trap("expand-down 16, above", access(s, 0x10000, 1, true), GP, 0);
	s = spare(1, descriptor((u32)area, 0xfff, DATA_RO | D));
	check_trap("read-only, read", access(s, 0, 4, false), NO_TRAP, 0);
	check_trap("read-only, write", access(s, 0, 4, true), GP, 0);
	s = spare(1, descriptor((u32)area, 0xfff, CODE | D));
	check_trap("code, read", access(s, 0, 4, false), NO_TRAP, 0);
	check_trap("code, write", access(s, 0, 4, true), GP, 0);
	check_trap("null", access(0, 0, 4, false), GP, 0);
	check_trap("write to CS", TRY("movl $0, %%cs:(%0)", : "r"(area) : "memory"), GP, 0);
}

/* Strings, a loop, merged accesses through a segment with a base in DS and ES. */
static void bases(void)
{
	u16 s = spare(2, descriptor((u32)area, 0xffff, DATA | D));
	u32 sum = 0;

	for (unsigned i = 0; i < 0x100; i++)
		area[i] = (u8)i;
	__asm__ volatile("push %%ds; push %%es; mov %w1, %%ds; mov %w1, %%es; xor %%esi, %%esi; mov $0x1000, %%edi;"
			 "mov $0x100, %%ecx; rep movsb; mov $0x1000, %%esi; mov $0x100, %%ecx; 1: movzbl (%%esi), %%eax;"
			 	"add %%eax, %0;"
			 "incb (%%esi); inc %%esi; dec %%ecx; jnz 1b; mov 0x1010, %%al; movb %%al, 0x2000; pop %%es; pop %%ds"
			 : "+r"(sum) : "r"(s) : "eax", "ecx", "esi", "edi", "memory");
	check_eq("sum", sum, 0x7f80);
	check_eq("copied and counted", area[0x10ff] | area[0x1000] << 8, 0x100);
	check_eq("constant address", area[0x2000], 0x11);
}

static void local_table(void)
{
	u32 x;

	ldt[1] = descriptor((u32)area, 0xfff, DATA | D);
	*(u32 *)area = 0x13572468;
	__asm__ volatile("lldt %w0" : : "r"(SEL_LDT));
	check_trap("LDT", load_data(0xc), NO_TRAP, 0);
	check_trap("LDT, beyond", load_data(0x44), GP, 0x44);
	__asm__ volatile("mov %w1, %%fs; movl %%fs:0, %0; mov %w2, %%fs" : "=r"(x) : "r"(0xc), "r"(SEL_DATA));
	check_eq("through it", x, 0x13572468);
	__asm__ volatile("lldt %w0" : : "r"(0));
	check_trap("LDT of a data segment", TRY("lldt %w0", : "r"(SEL_DATA)), GP, SEL_DATA);
}

/* 16-bit stack: SP alone counts and wraps; a code segment with a base: near calls push offsets. */
__asm__(".pushsection .text\n.globl based\nbased: call 1f; lret; 1: mov (%esp), %eax; mov $2f - based, %ecx;"
	"call *%ecx;"
	"jmp 3f; 2: inc %edx; ret; 3: ret\nbased_end:\n.popsection");
extern const char based[], based_end[];

static void stacks_and_code(void)
{
	u16 ss = spare(3, descriptor((u32)area, 0xffff, DATA)), cs = spare(4, descriptor((u32)based,
		(u32)(based_end - based) - 1,
											 CODE | D));
	struct {
		u32 off;
		u16 sel;
	} __attribute__((packed)) far = {0, cs};
	u32 sp = 0, eax = 0, edx = 1;

	__asm__ volatile("mov %%esp, %%ecx; mov %w2, %%ss; mov $0x12340000, %%esp; push $0x11112222; pushw $0x3333; pop %0;"
			 "mov %%esp, %1; mov %w3, %%ss; mov %%ecx, %%esp"
			 : "=&r"(eax), "=&r"(sp) : "r"(ss), "r"(SEL_DATA) : "ecx", "memory");
	check_eq("16-bit stack wraps", sp, 0x1234fffe);
	__asm__ volatile("lcall *%2" : "=&a"(eax), "+d"(edx) : "m"(far) : "ecx", "memory");
	check_eq("offset pushed", eax, 5);
	check_eq("indirect call", edx, 2);
	if (under_tcg())
		return;
	far.off = (u32)(based_end - based);
	check_trap("far call beyond the limit", TRY("lcall *%0", : "m"(far) : "memory"), GP, 0);
}

/* Call gates: from CPL 3 to 0 with two parameters, by a 32-bit and a 16-bit gate; back by lret $n. */
u32 gate_seen[8];
__asm__(".pushsection .text\n"
	".globl gate_target\ngate_target: mov %cs, %ax; mov %eax, gate_seen; mov 8(%esp), %eax; mov %eax, gate_seen + 4;"
	"mov 12(%esp), %eax; mov %eax, gate_seen + 8; mov 4(%esp), %eax; mov %eax, gate_seen + 12; mov %ss, %ax;"
		"mov %eax, gate_seen + 16;"
	"lret $8\n"
	".globl gate_user\ngate_user: push $0x1111; push $0x2222; mov %esp, %ebx; lcall $0x58 + 8 * 6 + 3, $0;"
		"sub %esp, %ebx;"
	"mov %ebx, %ecx; mov %cs, %dx; int $0x81\n"
	".globl low_user\nlow_user: lcall $0x58 + 8 * 7, $0; int $0x81\n"
	".globl conforming_user\nconforming_user: lcall $0x58 + 8 * 8, $conforming_code; int $0x81\n"
	".globl conforming_code\nconforming_code: mov %cs, %ax; mov %eax, gate_seen; lret\n"
	".popsection");
extern char gate_target[], conforming_code[];
void gate_user(void), low_user(void), conforming_user(void);

static void gates(void)
{
	spare(6, gate(SEL_CODE, (u32)gate_target, 0xec) | 2ull << 32);
	spare(7, gate(SEL_CODE, (u32)gate_target, 0x8c));
	spare(8, descriptor(0, 0xfffff, CONFORMING | D | G));
	gate_seen[0] = 0;
	check_eq("gate", (u32)user_run(gate_user), VEC_LEAVE);
	check_eq("CPL 0", gate_seen[0] & 0xffff, SEL_CODE);
	check_eq("second parameter", gate_seen[1], 0x2222);
	check_eq("first parameter", gate_seen[2], 0x1111);
	check_eq("pushed CS", gate_seen[3] & 0xffff, SEL_USER_CODE);
	check_eq("inner SS", gate_seen[4] & 0xffff, SEL_DATA);
	check_eq("released outside", trap.f.ecx, (u32)-8);
	check_eq("back at CPL 3", trap.f.edx & 0xffff, SEL_USER_CODE);
	check_trap("gate of DPL 0", user_run(low_user), GP, SEL_SPARE + 8 * 7);
	check_eq("conforming", (u32)user_run(conforming_user), VEC_LEAVE);
	check_eq("at CPL 3", gate_seen[0] & 0xffff, (SEL_SPARE + 8 * 8) | 3);
	check_trap("far jump to data", TRY("ljmp %0, $0", : "i"(SEL_DATA)), GP, SEL_DATA);
	check_trap("far jump to null", TRY("ljmp $0, $0", :), GP, 0);
	check_trap("far jump to user code", TRY("ljmp %0, $0", : "i"(SEL_USER_CODE)), GP, SEL_USER_CODE & ~3);
	spare(9, descriptor(0, 0xfffff, (CODE & ~NOT_P) | D | G));
	check_trap("far call to absent code", TRY("lcall %0, $0", : "i"(SEL_SPARE + 8 * 9)), NP, SEL_SPARE + 8 * 9);
}

/* The stack of level 1, for a call gate and for INT: what is wrong with it. */
__asm__(".pushsection .text\n.globl inner_target\ninner_target: ud2\n"
	".globl inner_call\ninner_call: lcall $0x58 + 8 * 11 + 3, $0; int $0x81\n"
	".globl inner_int\ninner_int: int $0x52\n.popsection");
extern char inner_target[];
void inner_call(void), inner_int(void);

static void inner_stacks(void)
{
	const u16 sel = SEL_SPARE + 8 * 10;
	static const struct {
		const char *name;
		u16 rpl;
		u32 limit, attr, esp;
		int vector;
	} rows[] = {
		{"a stack that is full", 1, 0xff, 0x40b3, 8, SS},
		{"a stack of which the pointer is outside", 1, 0xff, 0x40b3, 0x200, SS},
		{"an absent stack", 1, 0xff, 0x4033, 0x100, SS},
		{"a stack of level 0", 1, 0xff, 0x4093, 0x100, TS},
		{"a stack with RPL 0", 0, 0xff, 0x40b3, 0x100, TS},
		{"a read-only stack", 1, 0xff, 0x40b1, 0x100, TS},
		{"a stack of code", 1, 0xff, 0x40bb, 0x100, TS},
	};

	spare(11, gate(SEL_SPARE + 8 * 12 + 1, (u32)inner_target, 0xec));
	spare(12, descriptor(0, 0xfffff, 0xc0bb));
	idt[0x52] = gate(SEL_SPARE + 8 * 12 + 1, (u32)inner_target, 0xee);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (under_tcg() && rows[i].vector == SS) {
			skip("an inner stack that is full or absent (TCG: no check, or #TS: SDM vol. 2, CALL, INT n)");
			continue;
		}
		spare(10, descriptor((u32)area, rows[i].limit, rows[i].attr));
		tss.ss1 = sel | rows[i].rpl;
		tss.esp1 = rows[i].esp;
		check_trap(rows[i].name, user_run(inner_call), rows[i].vector, sel);
		check_trap(rows[i].name, user_run(inner_int), rows[i].vector, sel);
	}
	tss.ss1 = 0;
	check_trap("a null stack", user_run(inner_call), TS, 0);
	check_trap("a null stack", user_run(inner_int), TS, 0);
}

void legacy_main(void)
{
	loads();
	limits();
	bases();
	local_table();
	stacks_and_code();
	gates();
	inner_stacks();
}
