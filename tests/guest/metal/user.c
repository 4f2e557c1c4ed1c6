/* SPDX-License-Identifier: MIT */
/*
 * User code that computes while everything around it happens: interrupts, faults, system calls, rights that are
 * lowered, other processes at the same addresses, flags and control bits of every kind, 32-bit code, single-stepping,
 * the ends of what is mapped. Its state must be its own all the time. Meant for --memory=direct;
	any machine must pass.
 */
#include "lib/direct.h"

const struct tcg_known tcg_known[] = {
	{"alignment checks", "Interrupt 17: Alignment Check Exception (#AC)"},
	{"unmasked exceptions*", "Interrupt 19: SIMD Floating-Point Exception (#XM)"},
	{0},
};

enum { TIMER = 0x40, PERIOD = 400000, PROCESSES = 6 };

/* Each takes its argument in RDI, and ends by INT 81h with its answer in RAX. */
__asm__(".pushsection .rodata\n"
	CODE(popf_all, "mov (%rdi), %rax\n push %rax\n popf\n pushf\n pop %rax\n push $2\n popf\n int $0x81")
	CODE(popf_kept, "mov (%rdi), %rax\n push %rax\n popf\n mov $1000, %ecx\n 1: lea -1(%rcx), %ecx\n jrcxz 2f\n"
		" jmp 1b\n 2: mov $5, %eax\n mov %rcx, %rdx\n int $0x81")
	CODE(syscalls, "mov $300, %ebx\n xor %eax, %eax\n 1: mov %rdi, %r12\n syscall\n 2: lea 2b(%rip), %rdx\n"
		" cmp %rdx, %rcx\n"
		" jne 3f\n pushf\n pop %rdx\n xor %r11, %rdx\n and $0x3000d5, %edx\n dec %ebx\n jnz 1b\n int $0x81\n 3: ud2")
	CODE(unaligned, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n push $0x40002\n popf\n mov (%rdi), %rax\n"
		" mov 1(%rdi), %rax\n int $0x81")
	CODE(to_end, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n jmp *%rdi")
	CODE(call_end, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n call *%rdi")
	CODE(bases, "mov $1000, %ecx\n 1: wrfsbase %rdi\n lea 8(%rdi), %rax\n wrgsbase %rax\n mov %fs:0, %rax\n"
		" add %gs:0, %rax\n"
		" test $63, %ecx\n jnz 2f\n mov $7, %eax\n push %rcx\n syscall\n pop %rcx\n 2: dec %ecx\n jnz 1b\n"
		" rdfsbase %rax\n int $0x81")
	CODE(count_up, "mov 8(%rdi), %rcx\n mov %rdi, %rax\n 1: cmp %rcx, 8(%rdi)\n jne 9f\n incq (%rdi)\n jmp 1b\n"
		" 9: ud2")
	CODE(process, "mov $2000, %ecx\n mov 8(%rdi), %rdx\n movq %rdx, %xmm5\n 1: cmp %rdx, 8(%rdi)\n jne 9f\n"
		" incq (%rdi)\n"
		" movq %xmm5, %rax\n cmp %rax, %rdx\n jne 9f\n test $255, %ecx\n jnz 2f\n push %rcx\n mov %rdx, %rax\n"
		" syscall\n pop %rcx\n 2: dec %ecx\n jnz 1b\n mov (%rdi), %rax\n int $0x81\n 9: ud2")
	CODE(tsc, "mov $100, %ebx\n xor %r12d, %r12d\n 1: rdtsc\n shl $32, %rdx\n or %rdx, %rax\n cmp %r12, %rax\n"
		" jb 9f\n mov %rax, %r12\n"
		" rdtscp\n shl $32, %rdx\n or %rdx, %rax\n cmp %r12, %rax\n jb 9f\n mov %rax, %r12\n dec %ebx\n"
		" jnz 1b\n int $0x81\n 9: ud2")
	CODE(one_sse, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n xorps %xmm0, %xmm0\n int $0x81")
	CODE(one_fld, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n fld1\n fstp %st(0)\n int $0x81")
	CODE(one_rdtsc, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n rdtsc\n int $0x81")
	CODE(one_rdfsbase, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n rdfsbase %rax\n int $0x81")
	CODE(one_xgetbv, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n xor %ecx, %ecx\n xgetbv\n int $0x81")
	CODE(one_vex, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n vpxor %ymm0, %ymm0, %ymm0\n int $0x81")
	CODE(one_syscall, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n mov $1, %eax\n syscall\n int $0x81")
	CODE(xm, "push $0x1d80\n ldmxcsr (%rsp)\n mov $0x3f800000, %eax\n movd %eax, %xmm1\n xorps %xmm2, %xmm2\n"
		" mov $1000, %ecx\n 1: addss %xmm1, %xmm3\n dec %ecx\n jnz 1b\n divss %xmm2, %xmm1\n int $0x81")
	CODE(mf, "fninit\n push $0x37b\n fldcw (%rsp)\n mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n fld1\n fldz\n"
		" fdivrp\n nop\n fwait\n int $0x81")
	CODE(steps, "mov $3, %ecx\n 1: xor %eax, %eax\n pushf\n pop %rdx\n nop\n lea 1(%rax), %eax\n syscall\n"
		" push %rcx\n pop %rcx\n mov $2, %ecx\n rep lodsb\n cpuid\n mov $1, %eax\n int $0x81")
	CODE(divide, "mov $1000, %ecx\n 1: dec %ecx\n jnz 1b\n xor %edx, %edx\n div %rcx\n int $0x81")
	".popsection");
#define CODES(_) _(popf_all) _(popf_kept) _(syscalls) _(unaligned) _(to_end) _(call_end) _(bases) _(count_up) \
	_(process) _(tsc) _(one_sse) _(one_fld) _(one_rdtsc) _(one_rdfsbase) _(one_xgetbv) _(one_vex) _(one_syscall) \
	_(xm) _(mf) _(steps) _(divide)
CODES(CODE_DECLARE)

static u8 *text; /* of the present code's page, a page of its own: what holds another back is not to hold back all */
static u64 text_at;
static u64 data; /* DATA's frame */
static volatile unsigned ticks;
static void (*volatile on_tick)(struct frame *f);

static u64 put(const u8 *start, const u8 *end)
{
	static struct {
		const u8 *start;
		u8 *page;
	} pages[32];
	unsigned i = 0;

	while (pages[i].start && pages[i].start != start)
		i++;
	text_at = TEXT + 0x2000 * i;
	if (!pages[i].start) {
		pages[i].start = start;
		pages[i].page = direct_page(text_at, RW);
	}
	text = pages[i].page;
	memcpy(text, start, (size_t)(end - start));
	return text_at;
}
#define PUT(name) put(name##_start, name##_end)
#define AT_END(name, back) (text_at + (u64)(name##_end - name##_start) - (back)) /* so many bytes before its end */

static void tick(struct frame *f)
{
	ticks++;
	if (on_tick && f->cs & 3)
		on_tick(f);
	apic_eoi();
}

static void timer_on(void)
{
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, TIMER | 1 << 17);
	apic_write(APIC_TMICT, PERIOD);
}

static void timer_off(void)
{
	apic_write(APIC_TMICT, 0);
	on_tick = NULL;
}

/* --- flags --- */

static void try_popf(void)
{
	const u64 mine = FL_ARITH | FL_DF | FL_NT | FL_AC | FL_ID;
	u64 at = PUT(popf_all);
	unsigned bad = 0;

	for (unsigned bit = 0; bit < 22; bit++)
		for (unsigned other = 0; other < 22; other++) {
			u64 value = (1ull << bit | 1ull << other) & ~(u64)FL_TF;

			*(u64 *)data = value;
			bad += direct_run(at, DATA) != NO_TRAP || trap.f.rax != ((value & mine) | FL_1 | FL_IF);
		}
	check_eq("POPF, PUSHF with each pair of bits", bad, 0);
	at = PUT(popf_kept);
	bad = 0;
	for (unsigned bit = 0; bit < 22; bit++) {
		*(u64 *)data = (1ull << bit) & ~(u64)FL_TF;
		for (unsigned k = 0; k < 3; k++)
			bad += direct_run(at, DATA) != NO_TRAP || trap.f.rax != 5 || trap.f.rdx != 0 ||
				(trap.f.rflags & ~(u64)FL_RF) != ((*(u64 *)data & mine) | FL_1 | FL_IF);
	}
	check_eq("flags kept while it computes", bad, 0);
}

static void try_alignment(void)
{
	u64 at = PUT(unaligned);
	unsigned bad = 0;

	for (unsigned k = 0; k < 20; k++) {
		bad += direct_run(at, DATA) != AC || trap.f.error || trap.f.rip != AT_END(unaligned, 6) ||
			!(trap.f.rflags & FL_AC);
		write_cr0(read_cr0() & ~(u64)CR0_AM);
		bad += direct_run(at, DATA) != NO_TRAP;
		write_cr0(read_cr0() | CR0_AM);
	}
	check_eq("alignment checks", bad, 0);
}

/* --- system calls, bases, time --- */

static void try_syscalls(void)
{
	u64 want = 0;
	unsigned bad = 0;

	for (unsigned i = 0; i < 300; i++)
		want = want * 3 + 1;
	for (unsigned k = 0; k < 5; k++)
		bad += direct_run(PUT(syscalls), k) != NO_TRAP || trap.f.rax != want || trap.f.r12 != k;
	check_eq("system calls", bad, 0);
}

static void try_bases(void)
{
	unsigned bad = 0;

	if (!has_fsgsbase())
		return;
	for (unsigned k = 0; k < 5; k++) {
		bad += direct_run(PUT(bases), DATA + 16 * k) != NO_TRAP || trap.f.rax != DATA + 16 * k;
		bad += rdmsr(MSR_FS_BASE) != DATA + 16 * k || rdmsr(MSR_GS_BASE) != DATA + 16 * k + 8;
		wrmsr(MSR_FS_BASE, 0x1000 * k);
		bad += direct_run(PUT(one_rdfsbase), 0) != NO_TRAP || trap.f.rax != 0x1000 * k;
	}
	check_eq("FS and GS bases", bad, 0);
}

static void try_time(void)
{
	unsigned bad = 0;

	for (unsigned k = 0; k < 5; k++) {
		u64 before = rdtsc();

		bad += direct_run(PUT(tsc), 0) != NO_TRAP || trap.f.rax < before || trap.f.rax > rdtsc();
	}
	check_eq("time stamps between the kernel's", bad, 0);
}

/* --- vector state --- */

enum { VECTOR_BYTES = 1024 };

/* RDI: an image to load and to compare with; between them it computes for long. */
__asm__(".pushsection .rodata\n"
	CODE(vectors, "mov $7, %eax\n xor %edx, %edx\n xrstor (%rdi)\n mov $3000, %ecx\n mov %rdi, %rbx\n"
		"1: mov 2048(%rbx), %rax\n inc %rax\n mov %rax, 2048(%rbx)\n test $1023, %ecx\n jnz 2f\n"
		" push %rcx\n syscall\n pop %rcx\n 2: dec %ecx\n jnz 1b\n mov $7, %eax\n xor %edx, %edx\n"
		" xsave 4096(%rdi)\n int $0x81")
	".popsection");
CODE_DECLARE(vectors)

aligned(64) static u8 kernel_image[4096], spoiled[4096];

/* A kernel that uses vectors itself, and puts back what was there. */
static void spoil(struct frame *f)
{
	__asm__ volatile("xsave (%0)\n\txrstor (%1)\n\txrstor (%0)" : : "r"(kernel_image), "r"(spoiled), "a"(7),
		"d"(0) : "memory");
}

static void try_vectors(void)
{
	u8 *image = (u8 *)data, *after = (u8 *)direct_page(DATA + 0x1000, RW | PTE_NX);
	unsigned bad = 0, all = has_avx() ? 7 : 3;

	if (!(cpuid(1, 0).c >> 26 & 1))
		return;
	memset(spoiled, 0x33, 512);
	memset(spoiled + 512, 0, sizeof spoiled - 512);
	memcpy(spoiled + 24, &(u32){0x1f80}, 4);
	spoiled[512] = 2;
	timer_on();
	on_tick = spoil;
	for (unsigned round = 0; round < 30; round++) {
		memset(image, 0, 2048);
		memset(after, 0, 4096);
		for (unsigned i = 160; i < 832; i++)
			if (i < 416 || i >= 576)
				image[i] = (u8)(i * 7 + round);
		for (unsigned i = 0; i < 8; i++)
			image[32 + 16 * i + round % 10] = (u8)(i + 1);
		memcpy(image, &(u16[]){0x27f, 0, 0xff}, 6);
		memcpy(image + 24, &(u32){0x1f80 | (round & 3) << 13}, 4);
		image[512] = (u8)all;
		bad += direct_run(PUT(vectors), DATA) != NO_TRAP || memcmp(image + 24, after + 24, 4) ||
			memcmp(image + 160, after + 160, 256) || (all == 7 && memcmp(image + 576, after + 576, 256));
		for (unsigned i = 0; i < 8; i++)
			bad += memcmp(image + 32 + 16 * i, after + 32 + 16 * i, 10) != 0;
	}
	timer_off();
	check_eq("vector state over interrupts and system calls", bad, 0);
}

static void try_vector_faults(void)
{
	unsigned bad = 0;

	for (unsigned k = 0; k < 10; k++) {
		bad += direct_run(PUT(xm), 0) != XM || trap.f.rip != AT_END(xm, 6) || trap.f.error;
		bad += direct_run(PUT(mf), 0) != MF || trap.f.rip != AT_END(mf, 3);
		__asm__ volatile("fninit\n\tpush $0x1f80\n\tldmxcsr (%%rsp)\n\tpop %%rax" : : : "rax");
		bad += direct_run(PUT(divide), 0) != DE || trap.f.rip != AT_END(divide, 5);
	}
	check_eq("unmasked exceptions: #XM, #MF, #DE", bad, 0);
}

/* --- control bits that the kernel changes under code that has run --- */

static void expect_bits(const u8 *start, const u8 *end, u64 back, int vector, unsigned *bad)
{
	u64 at = put(start, end);

	*bad += direct_run(at, 0) != vector || (vector != NO_TRAP && trap.f.rip != text_at + (u64)(end - start) - back);
}
#define EXPECT(name, back, vector) expect_bits(name##_start, name##_end, back, vector, &bad)

static void try_control(void)
{
	u64 cr0 = read_cr0(), cr4 = read_cr4(), efer = rdmsr(0xc0000080);
	unsigned bad = 0;

	for (unsigned k = 0; k < 5; k++) {
		EXPECT(one_sse, 5, NO_TRAP);
		write_cr0(cr0 | CR0_TS);
		EXPECT(one_sse, 5, NM);
		EXPECT(one_fld, 6, NM);
		write_cr0(cr0 | CR0_EM);
		EXPECT(one_sse, 5, UD);
		EXPECT(one_fld, 6, NM);
		write_cr0(cr0);
		write_cr4(cr4 & ~(u64)CR4_OSFXSR);
		EXPECT(one_sse, 5, UD);
		write_cr4(cr4 | CR4_TSD);
		EXPECT(one_rdtsc, 4, GP);
		write_cr4(cr4);
		EXPECT(one_rdtsc, 4, NO_TRAP);
		if (cr4 & CR4_OSXSAVE) {
			EXPECT(one_xgetbv, 5, NO_TRAP);
			write_cr4(cr4 & ~(u64)CR4_OSXSAVE);
			EXPECT(one_xgetbv, 5, UD);
			EXPECT(one_vex, 6, has_avx() ? UD : UD);
			write_cr4(cr4);
		}
		if (has_avx()) {
			EXPECT(one_vex, 6, NO_TRAP);
			__asm__ volatile("xsetbv" : : "c"(0), "a"(3), "d"(0));
			EXPECT(one_vex, 6, UD);
			__asm__ volatile("xsetbv" : : "c"(0), "a"(direct_xcr0()), "d"(0));
		}
		if (has_fsgsbase()) {
			EXPECT(one_rdfsbase, 7, NO_TRAP);
			write_cr4(cr4 & ~(u64)CR4_FSGSBASE);
			EXPECT(one_rdfsbase, 7, UD);
			write_cr4(cr4);
		}
		EXPECT(one_syscall, 4, NO_TRAP);
		wrmsr(0xc0000080, efer & ~1ull);
		EXPECT(one_syscall, 4, UD);
		wrmsr(0xc0000080, efer);
	}
	check_eq("control bits changed under code that has run", bad, 0);
}

/* --- the ends of what is mapped --- */

/* A page fault is where the instruction stands, or begins, or goes on. */
static bool is_at_rip(void)
{
	return trap.cr2 == trap.f.rip || trap.cr2 == (trap.f.rip | 0xfff) + 1;
}

static void try_end(const char *name, const u8 *start, const u8 *end, u64 to, int vector, u64 error)
{
	unsigned bad = 0;

	for (unsigned k = 0; k < 5; k++) {
		int got = direct_run(put(start, end), to);
		bool is = got == vector && trap.f.error == error && (vector != PF || is_at_rip());

		if (!is && !bad++)
			print("  first: vector %d, error %lx, rip %lx, rsp %lx, cr2 %lx\n", got, trap.f.error, trap.f.rip,
				trap.f.rsp, trap.cr2);
	}
	check_eq(name, bad, 0);
}

static void try_ends(void)
{
	const u64 page = TEXT + 0x50000, last = 0x7ffffffff000;
	u8 *p = direct_page(page, RW);

	memset(p, 0x90, 4096);
	memset(direct_page(last, RW), 0x90, 4096);
	try_end("into a page that is not there", to_end_start, to_end_end, page + 0xff0, PF, 0x14);
	memcpy(p + 0xffe, "\x48\xb8", 2);
	try_end("by an instruction on both", to_end_start, to_end_end, page + 0xffe, PF, 0x14);
	memset(p, 0x90, 4096);
	memset(direct_page(page + 0x1000, RW | PTE_NX), 0x90, 4096);
	try_end("into one that is not executable", to_end_start, to_end_end, page + 0xff0, PF, 0x15);
	page_map(page + 0x1000, (*page_entry(page + 0x1000, 1) & PTE_ADDR) | PTE_P);
	try_end("into the kernel's", to_end_start, to_end_end, page + 0xff0, PF, 0x15);
	try_end("behind the last page", to_end_start, to_end_end, last + 0xff8, GP, 0);
	try_end("to no address", to_end_start, to_end_end, NON_CANONICAL, GP, 0);
	try_end("a call to no address", call_end_start, call_end_end, 0x8000000000000000, GP, 0);
	try_end("to the upper half", to_end_start, to_end_end, 0xffff800000001000, PF, 0x14);
	try_end("to where Linux has its vsyscall page", call_end_start, call_end_end, 0xffffffffff600000, PF, 0x14);
	check_eq("RSP behind that call", trap.f.rsp, STACK_TOP - 64 - 8);
	try_end("its second entry", to_end_start, to_end_end, 0xffffffffff600400, PF, 0x14);
	check_eq("RSP behind that jump", trap.f.rsp, STACK_TOP - 64);
}

/* --- rights lowered, pages exchanged, while it runs --- */

static unsigned countdown;
static u64 change_to, change_at;
static bool change_by_cr3;

static void change(struct frame *f)
{
	if (--countdown)
		return;
	*page_entry(change_at, 1) = change_to;
	if (change_by_cr3)
		write_cr3(read_cr3());
	else
		invlpg(change_at);
}

/* It reads and writes there by turns: either may be what meets the change, unless it may still read. */
static void try_change(const char *name, u64 at, u64 to, int vector, u64 error, u64 cr2)
{
	u64 write_too = error == 7 ? 0 : 2;
	unsigned bad = 0;

	for (unsigned k = 0; k < 6; k++) {
		u64 kept = *page_entry(at, 1);
		int got;

		((u64 *)data)[0] = 0;
		((u64 *)data)[1] = 77;
		countdown = 5;
		change_at = at;
		change_to = to;
		change_by_cr3 = k & 1;
		on_tick = change;
		timer_on();
		got = direct_run(PUT(count_up), DATA);
		timer_off();
		if ((got != vector || (trap.f.error & ~write_too) != error ||
			(vector == PF && trap.cr2 != cr2 && trap.cr2 != cr2 + 8)) &&
			!bad++)
			print("  first: vector %d, error %lx, rip %lx, cr2 %lx\n", got, trap.f.error, trap.f.rip, trap.cr2);
		page_map(at, kept);
	}
	check_eq(name, bad, 0);
}

static void try_changes(void)
{
	u64 other = page_alloc();

	try_change("its data taken away", DATA, 0, PF, 4, DATA);
	try_change("made read-only", DATA, data | RO | PTE_NX, PF, 7, DATA);
	try_change("made the kernel's", DATA, data | PTE_P | PTE_W, PF, 5, DATA);
	try_change("exchanged for another page", DATA, other | RW | PTE_NX, UD, 0, 0);
	countdown = 0;
}

static void try_code_change(void)
{
	u64 at = PUT(count_up), kept = *page_entry(at, 1), code = kept & PTE_ADDR, other = page_alloc();
	static const struct { u64 flags; int vector; u64 error; } to[] = {{0, PF, 0x14}, {RW | PTE_NX, PF, 0x15},
		{PTE_P | PTE_W, PF, 0x15}};
	unsigned bad = 0;

	for (unsigned k = 0; k < 2 * ARRAY_SIZE(to); k++) {
		((u64 *)data)[1] = 77;
		countdown = 5;
		change_at = at;
		change_to = code | to[k / 2].flags;
		change_by_cr3 = k & 1;
		on_tick = change;
		timer_on();
		bad += direct_run(PUT(count_up), DATA) != to[k / 2].vector || trap.f.error != to[k / 2].error ||
			trap.cr2 != trap.f.rip;
		timer_off();
		page_map(at, kept);
	}
	memset((void *)other, 0x06, 4096); /* what stands there now is no instruction */
	countdown = 5;
	change_to = other | RW;
	on_tick = change;
	timer_on();
	direct_run(PUT(count_up), DATA);
	bad += trap.vector != UD;
	timer_off();
	page_map(at, kept);
	check_eq("its code taken away, or exchanged", bad, 0);
}

/* --- processes with the same code at the same addresses --- */

static void try_processes(void)
{
	u64 root[PROCESSES], frame[PROCESSES], first = read_cr3() & PTE_ADDR, shared, at;
	unsigned bad = 0;

	at = PUT(process);
	shared = *page_entry(at, 1) & PTE_ADDR;
	for (unsigned i = 0; i < PROCESSES; i++) {
		root[i] = page_alloc();
		memcpy((void *)root[i], (void *)first, 4096);
		((u64 *)root[i])[DATA >> 39] = 0;
		frame[i] = page_alloc();
		((u64 *)frame[i])[1] = 0x1000 + i;
		write_cr3(root[i]);
		page_map(at, shared | RO);
		page_map(DATA, frame[i] | RW | PTE_NX);
		page_map(STACK_TOP - 0x1000, page_alloc() | RW | PTE_NX);
	}
	timer_on();
	for (unsigned round = 0; round < 40; round++)
		for (unsigned i = 0; i < PROCESSES; i++) {
			write_cr3(root[i]);
			bad += direct_run(at, DATA) != NO_TRAP || trap.f.rax != 2000 * (round + 1);
		}
	timer_off();
	write_cr3(first);
	check_eq("processes with different data at equal addresses", bad, 0);
}

/* --- 32-bit code, single-stepping --- */

__asm__(".pushsection .user.text, \"ax\", @progbits\n"
	".globl far_code\nfar_code: mov $500, %ebx\n xor %r12d, %r12d\n"
	"1: mov $0x11112222, %eax\n mov %rsp, %r14\n mov $user_stack + 0x800, %esp\n"
	" mov $0x2b, %ecx\n mov %ecx, %ds\n ljmp *2f(%rip)\n"
	" .balign 8\n2: .long 3f\n .word 0x23\n"
	" .code32\n3: .byte 0x40\n rol $8, %eax\n push %cs\n pop %edx\n movl $4f, 5f\n"
		" ljmp *5f\n" /* 40h: INC EAX here, REX there */
	" .code64\n4: mov %r14, %rsp\n xor %ecx, %ecx\n mov %ecx, %ds\n add %rax, %r12\n add %rdx, %r12\n"
		" dec %ebx\n jnz 1b\n mov %r12, %rax\n int $0x81\n"
	" .popsection\n.pushsection .user.data, \"aw\", @progbits\n .balign 8\n5: .long 0\n .word 0x33\n .popsection");
void far_code(void);

static void try_compatibility(void)
{
	u64 want = 500ull * ((0x11112223u << 8 | 0x11) + 0x23);
	unsigned bad = 0;

	for (unsigned k = 0; k < 3; k++) {
		bool is = direct_run((u64)far_code, 0) == NO_TRAP && trap.f.rax == want && trap.f.cs == LINUX_CODE;

		if (!is && !bad++)
			print("  first: vector %d, error %lx, at %lx:%lx, rax %lx for %lx, cr2 %lx\n", trap.vector, trap.f.error,
				trap.f.cs,
				trap.f.rip, trap.f.rax, want, trap.cr2);
	}
	check_eq("to 32-bit code and back", bad, 0);
}

static struct {
	u64 hash;
	unsigned n;
	u64 rip[64];
} stepped;

static void step(struct frame *f)
{
	if (stepped.n < ARRAY_SIZE(stepped.rip))
		stepped.rip[stepped.n] = f->rip - text_at;
	stepped.n++;
	write_dr6(0xffff0ff0);
}

static void try_steps(void)
{
	static const u8 want[] = {5, 7, 8, 9, 10, 13, 15, 16, 17, 22, 22, 24, 26, 31};
	unsigned bad = 0;

	trap_handle(DB, step);
	for (unsigned k = 0; k < 5; k++) {
		stepped.n = 0;
		bad += direct_run(PUT(to_end), 0) != PF; /* something that runs on before */
		bad += direct_run_flags(PUT(steps), DATA, FL_TF) != NO_TRAP;
		for (unsigned i = 0; i < stepped.n && i < sizeof want; i++)
			bad += stepped.rip[i] != want[i];
		if (stepped.n != sizeof want && !bad++)
			for (unsigned i = 0; i < stepped.n; i++)
				print("  step %u at %lx\n", i, stepped.rip[i]);
	}
	trap_handle(DB, NULL);
	check_eq("single-stepping", bad, 0);
}

void metal_main(void)
{
	direct_setup();
	data = (u64)direct_page(DATA, RW | PTE_NX);
	apic_enable();
	trap_handle(TIMER, tick);
	try_popf();
	try_alignment();
	try_syscalls();
	try_bases();
	try_time();
	try_vectors();
	try_vector_faults();
	try_control();
	try_ends();
	try_changes();
	try_code_change();
	try_processes();
	try_compatibility();
	try_steps();
	report(ticks > 50, "interrupts have come", "%u", ticks);
}
