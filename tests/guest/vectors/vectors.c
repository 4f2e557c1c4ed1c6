/* SPDX-License-Identifier: MIT */
/*
 * Recorded results of single instructions in real mode: each vector says what registers and memory held before, and
 * what they must hold behind. The vectors come as the first module (-initrd), made by vectors.py from files that
 * somebody recorded on a processor; what lies in the first 636 KiB is all theirs, but for the vector table's unnamed
 * entries and what real mode is entered and left by, above that.
 */
#include "lib/legacy.h"

enum {
	PAD = 0x9f000, FILLED = 0x10000, FILLED_END = 0x50000,
	REGS = 14, AX = 0, CS = 4, IP = 12, FLAGS = 13, SHOWN = 40
};

struct vector {
	u16 length;               /* of the whole record in bytes */
	u32 name;                 /* offset of a string behind the records */
	u16 before[REGS], after[REGS]; /* AX BX CX DX CS SS DS ES SP BP SI DI IP FLAGS; IP after: where it stops */
	u16 mask, nbefore, nafter; /* of flags; bytes of memory */
	u32 flags_at;             /* where an exception has pushed flags, or 0 */
	u32 memory[];             /* address << 8 | byte */
} __attribute__((packed));

struct vectors {
	char magic[4];
	u32 count, names, pattern; /* pattern: memory is filled, and nothing but what is named may change */
	struct vector first;
} __attribute__((packed));

extern const char pad_start[], pad_end[], pad_back[], pad_trap[];
extern u16 pad_regs[REGS];
void pad_go(void);
static unsigned shown;

static void place(u32 at, u8 byte)
{
	*(volatile u8 *)at = byte;
}

static void say(const struct vector *v, const char *name, const char *what, u32 got, u32 want)
{
	if (shown++ >= SHOWN)
		return;
	print("  ");
	print(name);
	print(": ");
	print(what);
	print(" is ");
	print_hex(got);
	print(", recorded ");
	print_hex(want);
	print("\n");
}

/* As record16.c fills it. */
static u8 filling(u32 at)
{
	return (u8)(at * 167 ^ at >> 8);
}

static void fill(void)
{
	for (u32 at = FILLED; at < FILLED_END; at++)
		place(at, filling(at));
}

/* All of the filled memory that the vector does not name, nor the way back. */
static bool only_named(const struct vector *v, const char *name, u32 stop)
{
	for (u32 i = 0; i < 5; i++)
		place(stop + i, filling(stop + i));
	for (u32 i = 0; i < (u32)v->nbefore + v->nafter; i++)
		place(v->memory[i] >> 8, filling(v->memory[i] >> 8));
	for (u32 at = FILLED; at < FILLED_END; at++)
		if (*(volatile u8 *)at != filling(at)) {
			say(v, name, "other memory", at << 8 | *(volatile u8 *)at, at << 8 | filling(at));
			fill();
			return false;
		}
	return true;
}

static void prepare(const struct vector *v)
{
	u32 stop = ((u32)v->after[CS] << 4) + v->after[IP];
	u16 back = (u16)(pad_back - pad_start);

	for (unsigned i = 0; i < 256; i++)
		*(volatile u32 *)(4 * i) = (u32)PAD << 12 | (u16)(pad_trap - pad_start);
	for (unsigned i = 0; i < v->nbefore; i++)
		place(v->memory[i] >> 8, (u8)v->memory[i]);
	place(stop, 0xea); /* ljmp pad_back */
	place(stop + 1, (u8)back);
	place(stop + 2, (u8)(back >> 8));
	place(stop + 3, (u8)(PAD >> 4));
	place(stop + 4, PAD >> 12);
}

static bool compare(const struct vector *v, const char *name)
{
	static const char *const names[REGS] = {"ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di",
						"ip", "flags"};
	volatile u16 *got = (volatile u16 *)(PAD + ((u32)pad_regs - (u32)pad_start));
	bool good = true;

	if (got[IP]) {
		say(v, name, "an exception that was not recorded", 1, 0);
		return false;
	}
	for (unsigned i = 0; i < REGS; i++) {
		u16 mask = i == FLAGS ? v->mask & 0xfff : i == CS || i == IP ? 0 : 0xffff;

		if (!((got[i] ^ v->after[i]) & mask))
			continue;
		say(v, name, names[i], got[i] & mask, v->after[i] & mask);
		good = false;
	}
	for (unsigned i = 0; i < v->nafter; i++) {
		u32 m = v->memory[v->nbefore + i], at = m >> 8;
		u8 mask = 0xff, byte = *(volatile u8 *)at;

		if (v->flags_at && at - v->flags_at < 2)
			mask = (u8)((v->mask & 0xfff) >> 8 * (at - v->flags_at));
		if (!((byte ^ m) & mask))
			continue;
		say(v, name, "memory", at << 8 | byte, m);
		good = false;
	}
	return good;
}

static bool run(const struct vector *v, const char *name, bool pattern)
{
	u32 stop = ((u32)v->after[CS] << 4) + v->after[IP];
	bool good;

	volatile u16 *regs = (volatile u16 *)(PAD + ((u32)pad_regs - (u32)pad_start));

	prepare(v);
	for (unsigned i = 0; i < REGS; i++)
		regs[i] = v->before[i];
	pad_go();
	good = compare(v, name);
	return (!pattern || only_named(v, name, stop)) && good;
}

/*
 * The pad: copied to PAD. pad_go enters real mode, takes the registers of the vector and jumps to its instruction,
 * behind which stands a far jump back. Nothing between touches the vector's stack, or flags once they are there.
 */
__asm__(".pushsection .text; .globl pad_go\n"
	"pad_go: pusha; pushf; mov %esp, pad_esp; mov $0x48, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss;"
	"lidt %cs:pad_idtr; ljmp $0x40, $pad_real16\n"
	"pad_home: mov $0x10, %eax; mov %eax, %ds; mov %eax, %es; mov %eax, %ss; mov pad_esp, %esp;"
	"lidt pad_idtr32; popf; popa; ret\n"
	".popsection; .pushsection .data; pad_esp: .long 0; pad_idtr: .word 0x3ff; .long 0;"
	"pad_idtr32: .word 2047; .long idt; .set pad_real16, pad_enter - pad_start\n"
	".globl pad_start, pad_end, pad_back, pad_trap, pad_regs\n"
	"pad_start: pad_regs: .fill 14, 2, 0; pad_gdtr: .word 40 * 8 - 1; .long gdt; .fill 64, 2, 0; pad_stack:\n"
	".code16\n"
	"pad_enter: mov %cr0, %eax; and $0xfe, %al; mov %eax, %cr0; ljmp $0x9f00, $1f - pad_start; 1:\n"
	"mov %cs, %ax; mov %ax, %ds; mov %ax, %ss; mov $pad_stack - pad_start, %sp;"
	"mov pad_regs - pad_start + 24, %ax; mov %ax, 2f - pad_start + 1; mov pad_regs - pad_start + 8, %ax;"
	"mov %ax, 2f - pad_start + 3; mov pad_regs - pad_start + 26, %ax; and $0xeff, %ax; push %ax;"
	"movw $0, pad_regs - pad_start + 24; movzwl pad_regs - pad_start + 2, %ebx; movzwl pad_regs - pad_start + 4, %ecx;"
	"movzwl pad_regs - pad_start + 6, %edx; mov pad_regs - pad_start + 14, %es; movzwl pad_regs - pad_start + 18, %ebp;"
	"movzwl pad_regs - pad_start + 20, %esi; movzwl pad_regs - pad_start + 22, %edi;"
	"movzwl pad_regs - pad_start, %eax; popf;"
	"mov pad_regs - pad_start + 10, %ss; movzwl pad_regs - pad_start + 16, %esp; mov pad_regs - pad_start + 12, %ds\n"
	"2: ljmp $0, $0\n"
	"pad_trap: movw $1, %cs:pad_regs - pad_start + 24\n"
	"pad_back: mov %ax, %cs:pad_regs - pad_start; mov %ds, %cs:pad_regs - pad_start + 12;"
	"mov %ss, %cs:pad_regs - pad_start + 10; mov %sp, %cs:pad_regs - pad_start + 16; mov %cs, %ax; mov %ax, %ds;"
	"mov %ax, %ss; mov $pad_stack - pad_start, %sp; pushf; popw pad_regs - pad_start + 26; cli; cld;"
	"mov %bx, pad_regs - pad_start + 2; mov %cx, pad_regs - pad_start + 4; mov %dx, pad_regs - pad_start + 6;"
	"mov %es, pad_regs - pad_start + 14; mov %bp, pad_regs - pad_start + 18; mov %si, pad_regs - pad_start + 20;"
	"mov %di, pad_regs - pad_start + 22; lgdtl pad_gdtr - pad_start; mov %cr0, %eax; or $1, %al; mov %eax, %cr0;"
	"ljmpl $8, $pad_home\n"
	".code32\npad_end: .popsection");

static void run_all(const struct vectors *all)
{
	const struct vector *v = &all->first;

	if (all->pattern)
		fill();
	for (u32 i = 0; i < all->count; i++) {
		const char *name = (const char *)all + all->names + v->name;

		check(run(v, name, all->pattern), name);
		v = (const struct vector *)((const char *)v + v->length);
	}
}

void legacy_main(void)
{
	const struct boot_module *module = (void *)(u32)boot_info->module_list;
	const struct vectors *all = (void *)(u32)module->start;

	gdt[SEL_CODE16 / 8] = descriptor(PAD, 0xffff, 0x9b);
	gdt[SEL_DATA16 / 8] = descriptor(0, 0xffff, 0x93);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	for (const char *p = pad_start; p < pad_end; p++)
		place(PAD + (u32)(p - pad_start), (u8)*p);
	if (!boot_info->modules || *(const u32 *)all->magic != 0x36314356) {
		check(false, "a module with vectors");
		return;
	}
	run_all(all);
}
