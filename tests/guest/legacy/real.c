/* SPDX-License-Identifier: MIT */
/*
 * Real mode: 16-bit addressing and its wrap-around, segments, near and far transfers, the stack, strings, the vector
 * table, limits, unreal mode, code that changes itself. Each piece of 16-bit code is copied to CODE_SEG:0 and called.
 */
#include "lib/legacy.h"

enum { CODE_SEG = 0x1000, DATA_SEG = 0x2000, OTHER_SEG = 0x3000 };
#define AT(seg, off) (*(volatile u16 *)(((seg) << 4) + (off)))
#define AT8(seg, off) (*(volatile u8 *)(((seg) << 4) + (off)))
#define AT32(seg, off) (*(volatile u32 *)(((seg) << 4) + (off)))

extern u32 real_keep_limits;

/* A piece of 16-bit code, ended by lret. */
#define CODE16(name, text)                                                                                           \
	extern const char name[], name##_end[];                                                                      \
	__asm__(".pushsection .rodata\n" #name ":\n.code16\n" text "\nlret\n.code32\n" #name "_end:\n.popsection")

static struct real_regs r;

static void load16(const char *from, const char *end, u32 to)
{
	for (u8 *p = (u8 *)to; from < end;)
		*p++ = (u8)*from++;
}

static void run(const char *from, const char *end)
{
	load16(from, end, CODE_SEG << 4);
	r.ds = DATA_SEG;
	r.es = OTHER_SEG;
	r.eflags = FL_1;
	real_call(CODE_SEG, 0, &r);
}
#define RUN(name) run(name, name##_end)

CODE16(addressing, "mov $0x1234, %ax; mov $0x100, %bx; mov $0x20, %si; mov $3, %di; mov $0x40, %bp;"
		   "mov %ax, 4(%bx,%si); inc %ax; mov %ax, (%bx,%di); inc %ax; mov %ax, %ds:0x10(%bp,%si); inc %ax;"
		   "mov %ax, %es:(%di); inc %ax; mov %ax, 0x300; inc %ax;"
		   "mov $0xffff, %bx; mov %al, 3(%bx); mov $0x8000, %si; mov %ah, 0x7ff0(%bx,%si);"
		   "mov $0x12340400, %ecx; addr32 mov %cl, %ds:-0x12340000(%ecx,%edi,2);"
		   "lea 0x10(%bx,%si), %dx; mov $-1, %ebp; lea 0x10(%bx,%si), %ebp; movl $0x89abcdef, 0x500;"
		   "lock incw 0x500; xchg %ax, 0x504; cs movw 0, %di");

static void addressing_test(void)
{
	for (unsigned i = 0; i < 0x10000; i++)
		AT8(DATA_SEG, i) = 0;
	r.edi = 0;
	RUN(addressing);
	check_eq("bx+si+4", AT(DATA_SEG, 0x124), 0x1234);
	check_eq("bx+di", AT(DATA_SEG, 0x103), 0x1235);
	check_eq("ds:bp+si", AT(DATA_SEG, 0x70), 0x1236);
	check_eq("es:di", AT(OTHER_SEG, 3), 0x1237);
	check_eq("disp16", AT(DATA_SEG, 0x300), 0x1238);
	check_eq("wrap around of bx+3", AT8(DATA_SEG, 2), 0x39);
	check_eq("wrap around of bx+si", AT8(DATA_SEG, 0xffef), 0x12);
	check_eq("32-bit address", AT8(DATA_SEG, 0x406), 0);
	check_eq("lea", (u16)r.edx, 0x800f);
	check_eq("lea, 32-bit operand", r.ebp, 0x800f);
	check_eq("32-bit operand", AT32(DATA_SEG, 0x500), 0x89abcdf0);
	check_eq("xchg", AT(DATA_SEG, 0x504), 0x1239);
	check_eq("code segment read", (u16)r.edi, AT(CODE_SEG, 0));
}

CODE16(flow, "xor %ax, %ax; mov $5, %cx; 1: add $3, %ax; loop 1b; jcxz 2f; mov $0, %ax; 2: call 3f; jmp 4f;"
	     "3: add $0x100, %ax; ret; 4: push %ax; push $7; call 5f; jmp 6f; 5: mov %sp, %bp; mov 2(%bp), %dx; ret $2;"
	     "6: pop %ax; mov $7f - flow, %bx; call *%bx; jmp 8f; 7: inc %ax; ret; 8: push %cs; push $9f - flow; lret; hlt;"
	     "9: push %cs; call 10f; jmp 11f; 10: add $0x1000, %ax; lret; 11: lcall $0x1000, $12f - flow; jmp 13f;"
	     "12: inc %ax; lret; 13: mov $14f - flow, %si; push %si; mov %sp, %bp; jmp *(%bp); hlt; 14: pop %si;"
	     "cmp $0x1111, %ax; setz %bl; mov $0x10000, %ecx; jcxz 15f; mov $0, %bl; 15: mov $0x10001, %ecx; 16: inc %dx;"
	     "loop 16b; .byte 0x66, 0xe9; .long 17f - . - 4; hlt; 17:");

static void flow_test(void)
{
	RUN(flow);
	check_eq("ax", (u16)r.eax, 0x1111);
	check_eq("flags to setz", r.ebx & 0xff, 1);
	check_eq("argument of a call, and CX alone is counted", (u16)r.edx, 8);
	check_eq("upper half of ecx", r.ecx, 0x10000);
}

/* From 0x100 back to 0xff00, which is over the top; a call from there over the end to 0x10. */
CODE16(wrap_entry, ".byte 0xe9; .word 0xff00 - 3");
CODE16(wrap_high, "mov $0x77, %al; .byte 0xe8; .word 0x10 - 0xff05; .byte 0xe9; .word 0x20 - 0xff08");
CODE16(wrap_low, "mov $0x66, %ah; ret");
CODE16(wrap_done, "mov $0x55, %bl");

static void wrap_test(void)
{
	load16(wrap_high, wrap_high_end, (CODE_SEG << 4) + 0xff00);
	load16(wrap_low, wrap_low_end, (CODE_SEG << 4) + 0x10);
	load16(wrap_done, wrap_done_end, (CODE_SEG << 4) + 0x20);
	r.eax = r.ebx = 0;
	RUN(wrap_entry);
	check_eq("branches wrap around", r.eax << 8 | (r.ebx & 0xff), 0x667755);
}

CODE16(stack, "mov %esp, %edx; mov $0x12345678, %eax; push %eax; pop %cx; pop %bx; pushw $0x1234; pushal; popal;"
	      "pop %si; pusha; mov $0, %cx; mov $0, %di; popa; mov $0x2222, %di; push %di; mov $0xffff, %bp; enter $8, $2;"
	      "mov %bp, %di; leave; pop %ax; sub %sp, %dx; push %sp; pop %ax; add %sp, %dx; sub %sp, %ax;"
	      "push %ds; pop %es; mov %es, %bp; pushl $-3; popl %ebx");

static void stack_test(void)
{
	r.ecx = r.ebx = r.esi = 0;
	RUN(stack);
	check_eq("push, pop of halves", (u16)r.ecx, 0x5678);
	check_eq("si", (u16)r.esi, 0x1234);
	check_eq("popl", r.ebx, (u32)-3);
	check_eq("push sp", (u16)r.eax, 0);
	check_eq("es = ds", r.es, DATA_SEG);
}

CODE16(strings, "cld; mov $0xfff8, %di; mov $0x5a, %al; mov $16, %cx; rep stosb; mov %di, %dx;"
		"mov $0xfffe, %si; mov $0x4000, %di; mov $4, %cx; rep movsb %es:(%si), %es:(%di);"
		"std; mov $3, %si; mov $0x5003, %di; mov $4, %cx; rep movsb; cld;"
		"xor %di, %di; mov $0xffff, %cx; mov $0x77, %al; movb $0x77, %es:0x6000; repne scasb; mov %di, %bx;"
		"mov $0xfff0, %si; mov $0, %di; mov $0x20, %cx; movl $1, %ebp; rep lodsb; mov %si, %bp;"
		"mov $0x10, %ecx; mov $0x7000, %edi; addr32 rep stosb; mov $0x100, %bx; mov $0x80, %al;"
		"movb $0x99, 0x180; xlat");

static void strings_test(void)
{
	for (unsigned i = 0; i < 0x10000; i++)
		AT8(OTHER_SEG, i) = 0;
	for (unsigned i = 0; i < 8; i++)
		AT8(DATA_SEG, i) = (u8)(0x10 + i);
	r.edi = r.esi = 0xabcd0000;
	RUN(strings);
	check_eq("rep stosb wraps", AT32(OTHER_SEG, 0xfffc) & AT32(OTHER_SEG, 0), 0x5a5a5a5a);
	check_eq("di wraps", (u16)r.edx, 8);
	check_eq("movsb wraps", AT32(OTHER_SEG, 0x4000), 0x5a5a5a5a);
	check_eq("std", AT32(OTHER_SEG, 0x5000), 0x13121110);
	check_eq("scasb", (u16)r.ebx, 0x100);
	check_eq("lodsb wraps", (u16)r.ebp, 0x10);
	check_eq("addr32 stosb", r.edi, 0x7010);
	check_eq("xlat", (u8)r.eax, 0x99);
}

/* Vectors: the handler notes IP, vector and flags at DATA_SEG:0x800 and goes on at the address in BP. */
CODE16(handler, "push %ax; push %ds; mov $0x2000, %ax; mov %ax, %ds; incw 0x800; mov %sp, %ax; mov %ax, 0x808;"
		"push %bp; mov %sp, %bp; mov 6(%bp), %ax; mov %ax, 0x802; mov 10(%bp), %ax; mov %ax, 0x804;"
		"mov (%bp), %ax; mov %ax, 6(%bp); andw $~0x100, 10(%bp); pop %bp; pop %ds; pop %ax; iret");


static u8 vector_taken(void)
{
	return AT8(CODE_SEG, 0xfff);
}

static void prepare_vectors(void)
{
	load16(handler, handler_end, (CODE_SEG << 4) + 0x1000);
	for (unsigned n = 0; n < 0x70; n++) {
		u8 *stub = (u8 *)(CODE_SEG << 4) + 0x1100 + n * 16;

		/* movb $n, %cs:0xfff ; jmp 0x1000 */
		stub[0] = 0x2e, stub[1] = 0xc6, stub[2] = 0x06, stub[3] = 0xff, stub[4] = 0x0f, stub[5] = (u8)n;
		stub[6] = 0xe9;
		*(u16 *)(stub + 7) = (u16)(0x1000 - (0x1100 + n * 16 + 9));
		*(u32 *)(n * 4) = CODE_SEG << 16 | (0x1100 + n * 16);
	}
}

static void trap_check(const char *name, const char *from, const char *end, unsigned vector, unsigned ip)
{
	AT(DATA_SEG, 0x800) = 0;
	AT8(CODE_SEG, 0xfff) = 0xff;
	run(from, end);
	check_eq(name, vector_taken(), vector);
	if (vector == 0xff)
		return;
	check_eq("  once", AT(DATA_SEG, 0x800), 1);
	check_eq("  return address", AT(DATA_SEG, 0x802), ip);
}
#define TRAP(what, name, vector, ip) trap_check(what, name, name##_end, vector, ip)

/* BP is where the handler goes on: offset of label 9. */
CODE16(int_n, "mov $9f - int_n, %bp; int $0x60; 9:");
CODE16(int_3, "mov $9f - int_3, %bp; int3; 9:");
CODE16(int_o, "mov $9f - int_o, %bp; mov $0x7f, %al; inc %al; into; 9:");
CODE16(div_0, "mov $9f - div_0, %bp; xor %cx, %cx; div %cx; 9:");
CODE16(bound_5, "mov $9f - bound_5, %bp; movw $5, 0x600; movw $9, 0x602; mov $10, %ax; bound %ax, 0x600; 9:");
CODE16(bound_ok, "mov $9f - bound_ok, %bp; movw $5, 0x600; movw $9, 0x602; mov $9, %ax; bound %ax, 0x600; 9:");
CODE16(ud_2, "mov $9f - ud_2, %bp; ud2; 9:");
CODE16(ud_vex, "mov $9f - ud_vex, %bp; .byte 0xc5, 0xf8, 0x77; 9:");
CODE16(ud_lldt, "mov $9f - ud_lldt, %bp; .byte 0x0f, 0x00, 0xd0; 9:");
CODE16(gp_limit, "mov $9f - gp_limit, %bp; mov 0xffff, %ax; 9:");
CODE16(gp_write, "mov $9f - gp_write, %bp; mov %eax, 0xfffd; 9:");
CODE16(gp_far, "mov $9f - gp_far, %bp; mov $0x10000, %ebx; addr32 mov (%ebx), %al; 9:");
CODE16(gp_string, "mov $9f - gp_string, %bp; mov $0xffff, %si; lodsw; 9:");
CODE16(ss_limit, "mov $9f - ss_limit, %bp; mov $0xffff, %ebx; mov %ss:(%bx), %ax; 9:");
CODE16(gp_jump, "mov $9f - gp_jump, %bp; .byte 0x66, 0xe9; .long 0x12345; 9:");
CODE16(gp_call, "mov $9f - gp_call, %bp; mov $0x10000, %ebx; calll *%ebx; 9:");
CODE16(tf, "mov $9f - tf, %bp; pushf; pop %ax; or $1, %ah; push %ax; popf; nop; 9:");
CODE16(big_len, "mov $9f - big_len, %bp; .rept 15; cs; .endr; nop; 9:");
CODE16(none, "mov $9f - none, %bp; clc; 9:");

static void vectors_test(void)
{
	prepare_vectors();
	TRAP("int 60", int_n, 0x60, 5);
	TRAP("int3", int_3, 3, 4);
	TRAP("into", int_o, 4, 8);
	TRAP("div", div_0, 0, 5);
	TRAP("bound", bound_5, 5, 18);
	TRAP("bound within", bound_ok, 0xff, 0);
	TRAP("ud2", ud_2, 6, 3);
	TRAP("VEX", ud_vex, 6, 3);
	TRAP("lldt", ud_lldt, 6, 3);
	TRAP("too long", big_len, 13, 3);
	TRAP("nothing", none, 0xff, 0);
	TRAP("single step", tf, 1, 11);
	if (under_tcg()) {
		skip("limits (TCG has no checks: SDM vol. 3, 5.3)");
		return;
	}
	TRAP("word at ffff", gp_limit, 13, 3);
	TRAP("dword at fffd", gp_write, 13, 3);
	TRAP("byte at 10000", gp_far, 13, 9);
	TRAP("lodsw at ffff", gp_string, 13, 6);
	TRAP("word at ss:ffff", ss_limit, 12, 9);
	TRAP("jump beyond the limit", gp_jump, 13, 3);
	TRAP("call beyond the limit", gp_call, 13, 9);
}

CODE16(far_pointers, "movw $0x1234, 0x700; movw $0x3000, 0x702; les 0x700, %di; mov %es, %ax; movl $0x56789abc, 0x704;"
		     "movw $0x4000, 0x708; lfsl 0x704, %ecx; mov %fs, %bx; lgs 0x700, %si; mov %gs, %dx; lds 0x700, %bp");
CODE16(patching, "mov $3, %cx; xor %ax, %ax; 1: add $1, %ax; incb %cs:(1b - patching + 2); loop 1b");

static void others_test(void)
{
	RUN(far_pointers);
	check_eq("les", r.edi << 16 | (u16)r.eax, 0x12343000);
	check_eq("lfsl", r.ecx, 0x56789abc);
	check_eq("fs", (u16)r.ebx, 0x4000);
	check_eq("lgs", (r.esi << 16) | (u16)r.edx, 0x12343000);
	check_eq("lds", r.ds, 0x3000);
	check_eq("lds bp", (u16)r.ebp, 0x1234);
	RUN(patching);
	check_eq("patched by itself", (u16)r.eax, 1 + 2 + 3);
	r.edi = 0;
}

/* A limit of 4 GiB in DS that was loaded in protected mode stays in real mode. */
CODE16(unreal, "xor %ax, %ax; mov %ax, %fs; mov $0x200000, %ebx; addr32 fs movl $0x600dcafe, (%ebx);"
	       "mov $0x10, %ax; mov %ax, %fs; mov $0x1fff00, %ebx; addr32 fs movl 0(%ebx), %ecx");

static void unreal_test(void)
{
	volatile u32 *at = (u32 *)0x200000;

	*at = 0;
	real_keep_limits = 1;
	RUN(unreal);
	real_keep_limits = 0;
	check_eq("unreal mode, write", *at, 0x600dcafe);
	check_eq("unreal mode, base", r.ecx, 0x600dcafe);
}

void legacy_main(void)
{
	addressing_test();
	flow_test();
	wrap_test();
	stack_test();
	strings_test();
	vectors_test();
	others_test();
	unreal_test();
}
