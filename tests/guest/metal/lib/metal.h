/* SPDX-License-Identifier: MIT */
/*
 * What a bare-metal guest has: printing and reporting, traps that can be caught, CPL 3, page tables, the local
 * APIC and the small instructions. A guest defines metal_main(); when that returns, the summary is printed and the
 * machine ended through isa-debug-exit with 0 (all passed: status 1) or 1.
 *
 * Catching: TRY("asm" : outs : ins : clobbers) runs asm at CPL 0 and gives the vector it raised, or NO_TRAP; the
 * state pushed and the registers are in `trap`. user_run() does the same for code at CPL 3. Handlers set by
 * trap_handle() come first. Labels 76: and 77: are taken inside TRY.
 */
#ifndef METAL_H
#define METAL_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define noinline __attribute__((noinline))
#define aligned(n) __attribute__((aligned(n)))
#define naked __attribute__((naked, noinline, used))
#define USER_DATA __attribute__((section(".user.data")))

/* --- printing and reporting (report.c) --- */
void put_char(char c);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int format(char *out, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One check. On failure the details are printed too. */
void report(bool ok, const char *name, const char *details, ...) __attribute__((format(printf, 3, 4)));
void report_skip(const char *name, const char *why);
void check_eq(const char *name, u64 got, u64 want);
/* The last TRY or user_run raised this vector with this error code; at rip unless that is 0. */
void check_trap(const char *name, int vector, u64 error, u64 rip);
void check_none(const char *name);
_Noreturn void metal_exit(int code);
void metal_main(void);
extern unsigned failed_count;

/* Where QEMU TCG is known to differ from the manual: such a check is printed as KNOWN there, and not counted. */
struct tcg_known {
	const char *name;	/* the check's name, or its beginning when it ends in '*' */
	const char *manual;	/* where the manual says otherwise */
};
extern const struct tcg_known tcg_known[];	/* each guest has one, ended by an empty row */
bool under_tcg(void);

void *memset(void *p, int c, size_t n);
void *memcpy(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);

/* --- segments and traps (trap.c) --- */
enum {
	SEL_CODE = 0x08, SEL_DATA = 0x10, SEL_USER_CODE32 = 0x1b, SEL_USER_DATA = 0x23, SEL_USER_CODE = 0x2b,
	SEL_CODE32 = 0x30, SEL_NP_DATA = 0x38, SEL_CONFORMING = 0x40, SEL_NP_CODE = 0x48, SEL_TSS = 0x50, SEL_GATE = 0x60,
	SEL_SPARE = 0x70,	/* 0x70-0x98 are for the guest */
	GDT_ENTRIES = 0xa0 / 8,
};
enum {
	DE = 0, DB, NMI, BP, OF, BR, UD, NM, DF, TS = 10, NP, SS, GP, PF, MF = 16, AC, MC, XM, CP = 21, NO_TRAP = -1,
	VEC_LEAVE = 0x81,	/* INT from CPL 3 ends user_run */
};
enum {
	FL_CF = 1, FL_1 = 2, FL_PF = 4, FL_AF = 0x10, FL_ZF = 0x40, FL_SF = 0x80, FL_TF = 0x100, FL_IF = 0x200,
		FL_DF = 0x400,
	FL_OF = 0x800, FL_IOPL = 0x3000, FL_NT = 0x4000, FL_RF = 0x10000, FL_VM = 0x20000, FL_AC = 0x40000,
		FL_ID = 0x200000,
	FL_ARITH = 0x8d5,
};

struct frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};
struct trap {
	struct frame f;
	u64 cr2, at;		/* at: RSP of the pushed frame's lowest word (error code or RIP) */
	int vector;		/* NO_TRAP if none */
	int count;
};
extern volatile struct trap trap;
extern u64 trap_resume, trap_rsp;
extern bool trap_keep_if;	/* resume with the IF of the trapped code (else with IF clear) */

struct tss {
	u32 reserved0;
	u64 rsp[3], reserved1, ist[7], reserved2;
	u16 reserved3, iomap;
	u8 bits[8192 + 1];
} __attribute__((packed));
extern struct tss tss;
extern u64 gdt[GDT_ENTRIES];
struct gate {
	u16 offset0, selector;
	u8 ist, type;
	u16 offset1;
	u32 offset2, reserved;
};
extern struct gate idt[256];
struct desc_ptr {
	u16 limit;
	u64 base;
} __attribute__((packed));

typedef void trap_handler(struct frame *f);
extern u8 trap_stubs[256 * 16];
void trap_handle(int vector, trap_handler *h);
/* type: 0x8e interrupt gate, 0x8f trap gate, + 0x60 for DPL 3 */
void idt_set(int vector, const void *handler, int type, int ist);
void idt_reset(void);
void idt_load(u16 limit);
void gdt_reload(void);

#define TRY(code, ...) ({ \
	trap.vector = NO_TRAP; \
	__asm__ volatile("movq $77f, trap_resume\n\tmovq %%rsp, trap_rsp\n76:\t" code "\n77:\tmovq $0, trap_resume" \
		: __VA_ARGS__); \
	trap.vector; })

/*
 * Run at CPL 3: fn(arg) on the user stack, until a trap or INT VEC_LEAVE. Gives the vector or NO_TRAP; RAX in
 * trap.f.
 */
int user_run(void (*fn)(void), u64 arg);
int user_run_flags(void (*fn)(void), u64 arg, u64 rflags, u64 cs, u64 rsp);
/* With a cs of CPL 0 it is kernel code like that; its stack may be anywhere if the vectors have an IST. */
int user_run_segments(void (*fn)(void), u64 arg, u64 rflags, u64 cs, u64 rsp, u64 ss);
extern u8 user_stack[0x2000];
#define user_stack_top ((u64)user_stack + sizeof user_stack)

/* --- page tables (page.c) --- */
enum {
	PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_PWT = 8, PTE_PCD = 0x10, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80,
		PTE_G = 0x100,
};
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000ffffffffff000ull
u64 page_alloc(void);			/* a zeroed physical page (address is also its identity-mapped one) */
u64 page_alloc_large(void);		/* 2 MiB, aligned, not zeroed */
/* The entry for va at a level (1 page, 2: 2 MiB, 3: 1 GiB, 4), making the tables above it with P W U. */
u64 *page_entry(u64 va, int level);
void page_map(u64 va, u64 entry);	/* 4 KiB: address and flags in one; with INVLPG */
void page_identity_user(bool user);	/* U of the identity map (.user always has it) */
extern u64 boot_pml4[512];

/* --- local APIC and chips (apic.c) --- */
enum {
	APIC_ID = 0x20, APIC_VERSION = 0x30, APIC_TPR = 0x80, APIC_PPR = 0xa0, APIC_EOI = 0xb0, APIC_LDR = 0xd0,
		APIC_DFR = 0xe0,
	APIC_SPIV = 0xf0, APIC_ISR = 0x100, APIC_TMR = 0x180, APIC_IRR = 0x200, APIC_ESR = 0x280, APIC_ICR = 0x300,
		APIC_ICR2 = 0x310,
	APIC_LVTT = 0x320, APIC_LVTPC = 0x340, APIC_LVT0 = 0x350, APIC_LVT1 = 0x360, APIC_LVTERR = 0x370,
		APIC_TMICT = 0x380,
	APIC_TMCCT = 0x390, APIC_TDCR = 0x3e0, APIC_SELF_IPI = 0x3f0,
};
extern bool x2apic;
u32 apic_read(int reg);
void apic_write(int reg, u32 value);
void apic_enable(void);			/* xAPIC, software-enabled, spurious vector 0xff, all LVTs masked */
bool apic_enter_x2(void);
void apic_eoi(void);
void apic_icr(u32 low);			/* to self by shorthand */
bool apic_irr(int vector);
bool apic_isr(int vector);
void pic_init(u8 mask1, u8 mask2);	/* vectors 0x20 and 0x28 */
void pit_set(int channel, int mode, u16 count);
u16 pit_read(int channel);
void ioapic_write(u8 reg, u32 value);
u32 ioapic_read(u8 reg);
/* A clock and the TSC read as one: of many readings the one that took least, so that a busy host does no harm. */
struct sample {
	u64 clock, tsc;
};
struct sample clock_sample(u64 (*clock)(void));
u64 tsc_khz(void);			/* from PIT channel 2, measured once */
void wait_us(u64 us);			/* by the TSC */
u64 scaled(u64 n);			/* n, or a fiftieth of it where code runs very slowly (stress settings) */

/* --- instructions --- */
static inline void outb(u16 p, u8 v) { __asm__ volatile("outb %0, %1" : : "a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { __asm__ volatile("outl %0, %1" : : "a"(v), "Nd"(p)); }
static inline u8 inb(u16 p) { u8 v; __asm__ volatile("inb %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u32 inl(u16 p) { u32 v; __asm__ volatile("inl %1, %0" : "=a"(v) : "Nd"(p)); return v; }
static inline u64 rdmsr(u32 m) { u32 a, d; __asm__ volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(m));
	return (u64)d << 32 | a; }
static inline void wrmsr(u32 m, u64 v) { __asm__ volatile("wrmsr" : : "c"(m), "a"((u32)v), "d"((u32)(v >> 32))
	: "memory"); }
static inline u64 rdtsc(void) { u32 a, d; __asm__ volatile("rdtsc" : "=a"(a), "=d"(d) : : "memory");
	return (u64)d << 32 | a; }
static inline void cli(void) { __asm__ volatile("cli" : : : "memory"); }
static inline void sti(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void nop(void) { __asm__ volatile("nop"); }
static inline void hlt_wait(void) { __asm__ volatile("sti\n\thlt\n\tcli" : : : "memory"); }
static inline void invlpg(u64 va) { __asm__ volatile("invlpg (%0)" : : "r"(va) : "memory"); }
static inline u64 flags_read(void) { u64 f; __asm__ volatile("pushfq\n\tpop %0" : "=r"(f)); return f; }
#define METAL_CR(n) \
	static inline u64 read_cr##n(void) { u64 v; __asm__ volatile("mov %%cr" #n ", %0" : "=r"(v) : : "memory"); \
		return v; } \
	static inline void write_cr##n(u64 v) { __asm__ volatile("mov %0, %%cr" #n : : "r"(v) : "memory"); }
METAL_CR(0) METAL_CR(2) METAL_CR(3) METAL_CR(4) METAL_CR(8)
#define METAL_DR(n) \
	static inline u64 read_dr##n(void) { u64 v; __asm__ volatile("mov %%db" #n ", %0" : "=r"(v)); return v; } \
	static inline void write_dr##n(u64 v) { __asm__ volatile("mov %0, %%db" #n : : "r"(v)); }
METAL_DR(0) METAL_DR(1) METAL_DR(2) METAL_DR(3) METAL_DR(6) METAL_DR(7)
struct kvmclock { /* the page of KVM's paravirtual clock */
	u32 version, pad0;
	u64 tsc, ns;
	u32 mul;
	signed char shift;
	u8 flags, pad[2];
} __attribute__((packed));

struct cpuid { u32 a, b, c, d; };
static inline struct cpuid cpuid(u32 leaf, u32 sub)
{
	struct cpuid r;
	__asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
	return r;
}
static inline bool is_amd(void) { return cpuid(0, 0).b == 0x68747541; } /* "Auth" */
static inline void invpcid(u64 type, u64 pcid, u64 va)
{
	struct { u64 pcid, va; } d = {pcid, va};
	__asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

enum {
	CR0_PE = 1, CR0_MP = 2, CR0_EM = 4, CR0_TS = 8, CR0_NE = 0x20, CR0_WP = 1 << 16, CR0_AM = 1 << 18, CR0_NW = 1 << 29,
	CR0_CD = 1 << 30,
	CR4_TSD = 4, CR4_DE = 8, CR4_PSE = 0x10, CR4_PAE = 0x20, CR4_MCE = 0x40, CR4_PGE = 0x80, CR4_PCE = 0x100,
		CR4_OSFXSR = 0x200,
	CR4_OSXMMEXCPT = 0x400, CR4_UMIP = 0x800, CR4_FSGSBASE = 1 << 16, CR4_PCIDE = 1 << 17, CR4_OSXSAVE = 1 << 18,
	CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR4_PKE = 1 << 22,
};
#define CR0_PG (1ull << 31)
#define MSR_EFER 0xc0000080u
#define MSR_STAR 0xc0000081u
#define MSR_LSTAR 0xc0000082u
#define MSR_CSTAR 0xc0000083u
#define MSR_FMASK 0xc0000084u
#define MSR_FS_BASE 0xc0000100u
#define MSR_GS_BASE 0xc0000101u
#define MSR_KERNEL_GS_BASE 0xc0000102u
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define NON_CANONICAL 0x0100000000000000ull	// with 48 and with 57 bits

bool has_pcid(void), has_invpcid(void), has_smep(void), has_smap(void), has_avx(void), has_gbpages(void),
	has_tsc_deadline(void),
	has_x2apic(void), has_umip(void), has_fsgsbase(void);
#endif
