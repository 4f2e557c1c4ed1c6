/* SPDX-License-Identifier: MIT */
/* Printing, reporting, the tables of the processor, traps. */
#include "lib/legacy.h"

u64 gdt[GDT_ENTRIES] aligned(16), ldt[8] aligned(16), idt[256] aligned(16);
struct tss tss aligned(128);
u8 boot_stack[16384] aligned(16), user_stack[4096] aligned(16);
__asm__(".globl boot_stack_end\nboot_stack_end = boot_stack + 16384");
volatile struct trap trap;
const struct boot_info *boot_info = (void *)-1; /* not in .bss: set before anything else */
u32 trap_resume, trap_esp, trap_target, user_saved_esp;
static bool (*handlers[256])(struct frame *);
static unsigned passed, failed;
static u8 trap_stack[8192] aligned(16);

extern char trap_stubs[], trap_stub[], image_end[];
void user_enter(u32 eip, u32 esp, u32 eflags);
void user_leave(void);
void legacy_start(void);
void trap_enter(struct frame *f);

static void put_char(char c)
{
	while (!(inb(0x3f8 + 5) & 0x20))
		;
	outb(0x3f8, (u8)c);
}

void print(const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			put_char('\r');
		put_char(*s);
	}
}

void print_hex(u32 x)
{
	for (int shift = 28; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[x >> shift & 15]);
}

void check(bool ok, const char *name)
{
	if (ok) {
		passed++;
		return;
	}
	failed++;
	print("FAIL ");
	print(name);
	print("\n");
}

void check_eq(const char *name, u32 got, u32 want)
{
	check(got == want, name);
	if (got == want)
		return;
	print("  got ");
	print_hex(got);
	print(" want ");
	print_hex(want);
	print("\n");
}

void check_trap(const char *name, int got, int vector, u32 error)
{
	bool ok = got == vector && (vector == NO_TRAP || trap.error == error);

	check(ok, name);
	if (ok)
		return;
	print("  got vector ");
	print_hex((u32)got);
	print(" error ");
	print_hex(trap.error);
	print(" eip ");
	print_hex(trap.f.eip);
	print(" cr2 ");
	print_hex(trap.cr2);
	print(", want ");
	print_hex((u32)vector);
	print(" error ");
	print_hex(error);
	print("\n");
}

void skip(const char *name)
{
	print("SKIP ");
	print(name);
	print("\n");
}

bool under_tcg(void)
{
	u32 a = 0x40000000, b, c, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return b == 0x54474354; /* TCGT */
}

bool is_amd(void)
{
	u32 a = 0, b, c, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return b == 0x68747541; /* Auth */
}

u64 descriptor(u32 base, u32 limit, u32 attr)
{
	return (limit & 0xffff) | (u64)(base & 0xffffff) << 16 | (u64)attr << 40 | (u64)(limit & 0xf0000) << 32 |
	       (u64)(base >> 24) << 56;
}

u64 gate(u16 sel, u32 off, u32 attr)
{
	return (off & 0xffff) | (u32)sel << 16 | (u64)attr << 40 | (u64)(off >> 16) << 48;
}

void set_handler(unsigned vector, bool (*handler)(struct frame *f))
{
	handlers[vector] = handler;
}

void *page_alloc(void)
{
	static u32 next;
	u32 *p;

	if (!next)
		next = ((u32)image_end + 0xfff) & ~0xfffu;
	p = (u32 *)next;
	next += 0x1000;
	for (unsigned i = 0; i < 1024; i++)
		p[i] = 0;
	return p;
}

static _Noreturn void finish(bool ok)
{
	outl(0xf4, ok ? 0 : 1);
	for (;;)
		__asm__ volatile("hlt");
}

void trap_enter(struct frame *f)
{
	bool user = f->cs & 3 || f->eflags & FL_VM;

	if (handlers[f->vector] && handlers[f->vector](f))
		return;
	trap.vector = (int)f->vector;
	trap.error = f->error;
	trap.cr2 = get_cr2();
	trap.f = *f;
	if (user && user_saved_esp) {
		f->eip = (u32)user_leave;
		__asm__ volatile("jmp user_leave");
	}
	if (trap_resume) {
		trap_target = trap_resume;
		f->eip = (u32)trap_stub;
		trap_resume = 0;
		return;
	}
	print("unexpected trap ");
	print_hex(f->vector);
	print(" error ");
	print_hex(f->error);
	print(" at ");
	print_hex(f->cs);
	print(":");
	print_hex(f->eip);
	print(" cr2 ");
	print_hex(trap.cr2);
	print("\n");
	finish(false);
}

int user_run(void (*code)(void))
{
	trap.vector = NO_TRAP;
	user_enter((u32)code, (u32)user_stack + sizeof(user_stack), FL_1);
	user_saved_esp = 0;
	return trap.vector;
}

static void load_tables(void)
{
	struct table t = {sizeof(idt) - 1, (u32)idt};

	gdt[SEL_CODE / 8] = descriptor(0, 0xfffff, 0xc09b);
	gdt[SEL_DATA / 8] = descriptor(0, 0xfffff, 0xc093);
	gdt[SEL_USER_CODE / 8] = descriptor(0, 0xfffff, 0xc0fb);
	gdt[SEL_USER_DATA / 8] = descriptor(0, 0xfffff, 0xc0f3);
	gdt[SEL_TSS / 8] = descriptor((u32)&tss, sizeof(tss) - 1, 0x89);
	gdt[SEL_LDT / 8] = descriptor((u32)ldt, sizeof(ldt) - 1, 0x82);
	gdt[SEL_CODE64 / 8] = descriptor(0, 0xfffff, 0xa09b);
	gdt[SEL_CODE16 / 8] = descriptor(0, 0xffff, 0x9b);
	gdt[SEL_DATA16 / 8] = descriptor(0, 0xffff, 0x93);
	load_gdt();
	__asm__ volatile("ljmp %0, $1f\n1:\tmov %1, %%ds\n\tmov %1, %%es\n\tmov %1, %%fs\n\tmov %1, %%gs\n\tmov %1, %%ss"
			 : : "i"(SEL_CODE), "r"(SEL_DATA));
	for (unsigned i = 0; i < 256; i++)
		idt[i] = gate(SEL_CODE, (u32)trap_stubs + 16 * i, i == VEC_LEAVE ? 0xee : 0x8e);
	__asm__ volatile("lidt %0" : : "m"(t));
	tss.ss0 = SEL_DATA;
	tss.esp0 = (u32)trap_stack + sizeof(trap_stack);
	tss.io_base = offsetof(struct tss, bits);
	tss.end = 0xff;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	set_cr4(get_cr4() | CR4_OSFXSR);
}

static void print_decimal(unsigned n)
{
	if (n > 9)
		print_decimal(n / 10);
	put_char((char)('0' + n % 10));
}

void legacy_start(void)
{
	load_tables();
	legacy_main();
	print_decimal(passed);
	print(" passed, ");
	print_decimal(failed);
	print(" failed\n");
	finish(!failed);
}
