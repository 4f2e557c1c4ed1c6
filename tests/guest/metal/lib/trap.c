/* SPDX-License-Identifier: MIT */
/*
 * GDT, IDT, TSS and what happens at a trap: a handler set for the vector, else the end of user_run (traps from CPL
 * 3), else the end of a TRY, else the guest is over with a dump.
 */
#include "lib/metal.h"

void user_leave(void);
void user_enter(u64 rip, u64 arg, u64 rsp, u64 rflags, u64 cs, u64 ss);
void metal_start(void);
void trap_enter(struct frame *f);

volatile struct trap trap;
u64 trap_resume, trap_rsp, user_saved_rsp;
bool trap_keep_if;
static bool user_active;
static unsigned user_cpl;
static trap_handler *handlers[256];

aligned(4096) struct gate idt[256];
aligned(4096) struct tss tss;
aligned(16) u8 boot_stack[0x8000];
extern u8 boot_stack_end[];
__asm__(".globl boot_stack_end\n.set boot_stack_end, boot_stack + 0x8000");
aligned(16) static u8 rsp0_stack[0x4000];
aligned(16) static u8 ist_stacks[7][0x2000];
USER_DATA aligned(4096) u8 user_stack[0x2000] = {1};

u64 gdt[GDT_ENTRIES] = {
	[SEL_CODE / 8] = 0x00af9b000000ffff, [SEL_DATA / 8] = 0x00cf93000000ffff,
		[SEL_USER_CODE32 / 8] = 0x00cffb000000ffff,
	[SEL_USER_DATA / 8] = 0x00cff3000000ffff, [SEL_USER_CODE / 8] = 0x00affb000000ffff,
		[SEL_CODE32 / 8] = 0x00cf9b000000ffff,
	[SEL_NP_DATA / 8] = 0x00cf13000000ffff, [SEL_CONFORMING / 8] = 0x00af9f000000ffff,
		[SEL_NP_CODE / 8] = 0x00af1b000000ffff,
};

void gdt_reload(void)
{
	struct desc_ptr p = {sizeof gdt - 1, (u64)gdt};

	__asm__ volatile("lgdt %0" : : "m"(p) : "memory");
}

void idt_load(u16 limit)
{
	struct desc_ptr p = {limit, (u64)idt};

	__asm__ volatile("lidt %0" : : "m"(p) : "memory");
}

void idt_set(int vector, const void *handler, int type, int ist)
{
	u64 a = (u64)handler;

	idt[vector] = (struct gate){.offset0 = (u16)a, .selector = SEL_CODE, .ist = (u8)ist, .type = (u8)type,
				    .offset1 = (u16)(a >> 16), .offset2 = (u32)(a >> 32)};
}

void idt_reset(void)
{
	for (int i = 0; i < 256; i++)
		idt_set(i, trap_stubs + 16 * i, 0x8e, i == DF ? 1 : 0);
	idt_set(VEC_LEAVE, trap_stubs + 16 * VEC_LEAVE, 0xee, 0);
	idt_load(sizeof idt - 1);
}

void trap_handle(int vector, trap_handler *h)
{
	handlers[vector] = h;
}

static void tss_load(void)
{
	u64 base = (u64)&tss, limit = sizeof tss - 1;

	tss.rsp[0] = (u64)rsp0_stack + sizeof rsp0_stack;
	for (int i = 0; i < 7; i++)
		tss.ist[i] = (u64)ist_stacks[i] + sizeof ist_stacks[i];
	tss.iomap = offsetof(struct tss, bits);
	memset(tss.bits, 0xff, sizeof tss.bits);
	gdt[SEL_TSS / 8] = (limit & 0xffff) | (base & 0xffffff) << 16 | 0x89ull << 40 | (limit >> 16 & 15) << 48;
	gdt[SEL_TSS / 8] |= (base >> 24 & 255) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
}

static _Noreturn void trap_fatal(struct frame *f)
{
	print("\nFAIL: unexpected trap %lu error %lx at %lx:%lx rflags %lx rsp %lx:%lx cr2 %lx\n", f->vector, f->error,
		f->cs,
	      f->rip, f->rflags, f->ss, f->rsp, read_cr2());
	print("  rax %lx rbx %lx rcx %lx rdx %lx rsi %lx rdi %lx rbp %lx\n", f->rax, f->rbx, f->rcx, f->rdx, f->rsi,
		f->rdi, f->rbp);
	print("  r8 %lx r9 %lx r10 %lx r11 %lx r12 %lx r13 %lx r14 %lx r15 %lx\n", f->r8, f->r9, f->r10, f->r11, f->r12,
		f->r13,
	      f->r14, f->r15);
	failed_count++;
	metal_exit(3);
}

static bool pushes_error(u64 vector)
{
	return vector == DF || (vector >= TS && vector <= PF) || vector == AC || vector == CP;
}

static void trap_record(struct frame *f)
{
	trap.f = *f;
	trap.cr2 = read_cr2();
	trap.at = (u64)(pushes_error(f->vector) ? &f->error : &f->rip);
	trap.vector = (int)f->vector;
	trap.count++;
}

void trap_enter(struct frame *f)
{
	u64 drop = FL_TF | FL_RF | FL_AC | FL_NT | FL_DF | FL_IOPL | (trap_keep_if ? 0 : FL_IF);

	if (handlers[f->vector]) {
		handlers[f->vector](f);
		return;
	}
	if (user_active && (f->cs & 3) == user_cpl) {
		if (f->vector == VEC_LEAVE) {
			trap.f = *f;
			trap.vector = NO_TRAP;
		} else {
			trap_record(f);
		}
		user_active = false;
		f->rip = (u64)user_leave;
		f->rsp = user_saved_rsp;
	} else if (trap_resume) {
		trap_record(f);
		f->rip = trap_resume;
		f->rsp = trap_rsp;
		trap_resume = 0;
	} else {
		trap_fatal(f);
	}
	f->cs = SEL_CODE;
	f->ss = SEL_DATA;
	f->rflags &= ~drop;
}

int user_run_segments(void (*fn)(void), u64 arg, u64 rflags, u64 cs, u64 rsp, u64 ss)
{
	trap.vector = NO_TRAP;
	user_active = true;
	user_cpl = (unsigned)cs & 3;
	user_enter((u64)fn, arg, rsp, rflags, cs, ss);
	return trap.vector;
}

int user_run_flags(void (*fn)(void), u64 arg, u64 rflags, u64 cs, u64 rsp)
{
	return user_run_segments(fn, arg, rflags, cs, rsp, SEL_USER_DATA);
}

int user_run(void (*fn)(void), u64 arg)
{
	return user_run_flags(fn, arg, FL_1, SEL_USER_CODE, user_stack_top - 64);
}

static bool cpuid7_b(int bit) { return cpuid(0, 0).a >= 7 && cpuid(7, 0).b >> bit & 1; }
bool has_pcid(void) { return cpuid(1, 0).c >> 17 & 1; }
bool has_invpcid(void) { return cpuid7_b(10); }
bool has_smep(void) { return cpuid7_b(7); }
bool has_smap(void) { return cpuid7_b(20); }
bool has_fsgsbase(void) { return cpuid7_b(0); }
bool has_umip(void) { return cpuid(0, 0).a >= 7 && cpuid(7, 0).c >> 2 & 1; }
bool has_avx(void) { return cpuid(1, 0).c >> 28 & 1; }
bool has_gbpages(void) { return cpuid(0x80000001, 0).d >> 26 & 1; }
bool has_tsc_deadline(void) { return cpuid(1, 0).c >> 24 & 1; }
bool has_x2apic(void) { return cpuid(1, 0).c >> 21 & 1; }

void metal_start(void)
{
	gdt_reload();
	tss_load();
	idt_reset();
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMMEXCPT);
	if (cpuid(1, 0).c >> 26 & 1) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(has_avx() ? 7 : 3), "d"(0));
	}
	__asm__ volatile("fninit\n\tpush $0x1f80\n\tldmxcsr (%%rsp)\n\tpop %%rax" : : : "rax");
	outb(0x3fb, 0x03);
	outb(0x3f9, 0);
	outb(0x3fa, 0x07);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	metal_main();
	metal_exit(failed_count ? 1 : 0);
}
