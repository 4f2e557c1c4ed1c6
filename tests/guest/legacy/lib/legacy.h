/* SPDX-License-Identifier: MIT */
/*
 * For bare-metal guests in 32-bit and 16-bit modes: reports over the serial port, a GDT, IDT, TSS and LDT to play with,
 * traps that can be caught, CPL 3, and calls into real mode. A guest defines legacy_main().
 *
 * TRY("asm", outs : ins : clobbers) runs asm at CPL 0 and gives the vector it raised or NO_TRAP;
 * what was pushed is in `trap`. Labels 75: and 76: are taken inside.
 */
#ifndef LEGACY_H
#define LEGACY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define aligned(n) __attribute__((aligned(n)))
#define noinline __attribute__((noinline))

enum {
	DE, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, NO_TRAP = -1,
	VEC_LEAVE = 0x81,
};
enum {
	SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER_CODE = 0x1b, SEL_USER_DATA = 0x23, SEL_TSS = 0x28, SEL_LDT = 0x30,
	SEL_CODE64 = 0x38, SEL_CODE16 = 0x40, SEL_DATA16 = 0x48, SEL_TSS2 = 0x50, SEL_SPARE = 0x58,
	GDT_ENTRIES = 40,
};
enum {
	FL_CF = 1, FL_1 = 2, FL_PF = 4, FL_AF = 0x10, FL_ZF = 0x40, FL_SF = 0x80, FL_TF = 0x100, FL_IF = 0x200,
	FL_DF = 0x400, FL_OF = 0x800, FL_IOPL = 0x3000, FL_NT = 0x4000, FL_RF = 0x10000, FL_VM = 0x20000,
	FL_AC = 0x40000, FL_VIF = 0x80000, FL_VIP = 0x100000, FL_ID = 0x200000, FL_ARITH = 0x8d5,
};
enum {
	CR0_PE = 1, CR0_MP = 2, CR0_TS = 8, CR0_NE = 0x20, CR0_WP = 0x10000, CR0_NW = 1 << 29, CR0_CD = 1 << 30,
	CR4_VME = 1, CR4_PVI = 2, CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_PGE = 0x80, CR4_OSFXSR = 0x200,
	PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100,
};
#define CR0_PG 0x80000000u
#define MSR_EFER 0xc0000080u
enum { EFER_LME = 0x100, EFER_LMA = 0x400, EFER_NXE = 0x800 };

struct frame { /* as pushed by trap_common */
	u32 gs, fs, es, ds, edi, esi, ebp, esp_here, ebx, edx, ecx, eax, vector, error, eip, cs, eflags, esp, ss;
	u32 v86_es, v86_ds, v86_fs, v86_gs; /* from virtual-8086 mode */
};

struct trap {
	int vector;
	u32 error, cr2;
	struct frame f;
};
extern volatile struct trap trap;

struct tss {
	u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
	u32 es, cs, ss, ds, fs, gs, ldt;
	u16 trap, io_base;
	u8 bits[128];
	u8 end;
} __attribute__((packed));
extern struct tss tss;
extern u64 gdt[GDT_ENTRIES], ldt[8], idt[256];

struct boot_info { /* as the PVH boot protocol has it; -initrd is the first module */
	u32 magic, version, flags, modules;
	u64 module_list;
};
struct boot_module {
	u64 start, size, command_line, reserved;
};
extern const struct boot_info *boot_info;

struct table {
	u16 limit;
	u32 base;
} __attribute__((packed));

void print(const char *s);
void print_hex(u32 x);
void check(bool ok, const char *name);
void check_eq(const char *name, u32 got, u32 want);
void check_trap(const char *name, int got, int vector, u32 error);
void skip(const char *name);
bool under_tcg(void);
bool is_amd(void);
void legacy_main(void);

/* A descriptor: attributes as in its second word's bits 8-23 >> 8 (G is 0x8000, D 0x4000), limit as in the fields. */
u64 descriptor(u32 base, u32 limit, u32 attr);
u64 gate(u16 sel, u32 off, u32 attr); /* attr: 0x8e interrupt, 0xe. user; low 5 bits of `count` are 0 */
void set_handler(unsigned vector, bool (*handler)(struct frame *f)); /* true: go on by f */
void *page_alloc(void);

/* Run code at CPL 3, with ESP at the top of the user stack, until INT 0x81 or an exception that nobody handles. */
int user_run(void (*code)(void));
extern u8 user_stack[4096];

/* Real mode: 16-bit code at a label of the guest's below 64 KiB of `real_base`; see real.S. */
struct real_regs {
	u32 eax, ebx, ecx, edx, esi, edi, ebp, eflags;
	u16 ds, es;
};
void real_call(u16 cs, u16 ip, struct real_regs *r); /* far-called with SS:SP = 0:0x7000; returns by lret */

#define TRY(code, ...)                                                                                               \
	({                                                                                                           \
		trap.vector = NO_TRAP;                                                                               \
		__asm__ volatile("movl $76f, trap_resume\n\tmovl %%esp, trap_esp\n75:\t" code                        \
				 "\n76:\tmovl $0, trap_resume" : __VA_ARGS__);                                       \
		trap.vector;                                                                                         \
	})

static inline void outb(u16 port, u8 x)
{
	__asm__ volatile("outb %0, %1" : : "a"(x), "Nd"(port));
}

static inline void outl(u16 port, u32 x)
{
	__asm__ volatile("outl %0, %1" : : "a"(x), "Nd"(port));
}

static inline u8 inb(u16 port)
{
	u8 x;

	__asm__ volatile("inb %1, %0" : "=a"(x) : "Nd"(port));
	return x;
}

#define CONTROL_REGISTER(n)                                                                                          \
	static inline u32 get_cr##n(void)                                                                            \
	{                                                                                                            \
		u32 x;                                                                                               \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(x));                                                    \
		return x;                                                                                            \
	}                                                                                                            \
	static inline void set_cr##n(u32 x)                                                                          \
	{                                                                                                            \
		__asm__ volatile("mov %0, %%cr" #n : : "r"(x) : "memory");                                           \
	}
CONTROL_REGISTER(0)
CONTROL_REGISTER(2)
CONTROL_REGISTER(3)
CONTROL_REGISTER(4)

static inline u64 rdmsr(u32 n)
{
	u64 x;

	__asm__ volatile("rdmsr" : "=A"(x) : "c"(n));
	return x;
}

static inline void wrmsr(u32 n, u64 x)
{
	__asm__ volatile("wrmsr" : : "c"(n), "A"(x));
}

static inline void invlpg(void *p)
{
	__asm__ volatile("invlpg (%0)" : : "r"(p) : "memory");
}

static inline void load_gdt(void)
{
	struct table t = {sizeof(gdt) - 1, (u32)gdt};

	__asm__ volatile("lgdt %0" : : "m"(t));
}
#endif
