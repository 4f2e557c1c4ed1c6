/* SPDX-License-Identifier: MIT */
/*
 * In the role of user code that looks for the host below it: instructions which CPL 3 may run but which must tell of
 * the guest, in loops on a page, over the ends of pages, written into pages that run already, in the middle of other
 * instructions; and those which must fault, with the exact state. What they say at CPL 0 is the measure.
 */
#include "lib/direct.h"

const struct tcg_known tcg_known[] = {
	{"instructions that fault*", "Error Code"}, /* 16 for each vector, not 8 */
	{0},
};

/* Each leaves what it has found out in RAX; RSI points to 64 bytes of its own. RBX, RCX, RDX may change. */
__asm__(".pushsection .rodata\n"
	CODE(cpuid0, "xor %eax, %eax\n cpuid\n rol $7, %rbx\n add %rbx, %rax\n add %rcx, %rax\n xor %rdx, %rax")
	CODE(cpuid1, "mov $1, %eax\n cpuid\n rol $7, %rbx\n add %rbx, %rax\n add %rcx, %rax\n xor %rdx, %rax")
	CODE(cpuid7, "mov $7, %eax\n xor %ecx, %ecx\n cpuid\n rol $7, %rbx\n add %rbx, %rax\n add %rcx, %rax\n"
		" xor %rdx, %rax")
	CODE(cpuid_name, "mov $0x80000003, %eax\n cpuid\n rol $7, %rbx\n add %rbx, %rax\n add %rcx, %rax\n"
		" xor %rdx, %rax")
	CODE(cpuid_hypervisor, "mov $0x40000000, %eax\n rex.w cpuid\n add %rbx, %rax\n add %rcx, %rax\n xor %rdx, %rax")
	CODE(sgdt, "sgdt (%rsi)\n mov 2(%rsi), %rax\n xor (%rsi), %ax")
	CODE(sidt, "sidt 8(%rsi)\n mov 10(%rsi), %rax\n xor 8(%rsi), %ax")
	CODE(sldt, "xor %eax, %eax\n sldt %eax")
	CODE(sldt_mem, "movq $-1, (%rsi)\n sldt (%rsi)\n mov (%rsi), %rax")
	CODE(str, "xor %eax, %eax\n str %eax")
	CODE(smsw, "smsw %rax")
	CODE(smsw_mem, "movq $-1, (%rsi)\n smsw (%rsi)\n mov (%rsi), %rax")
	CODE(lar, "mov $0x2b, %ecx\n lar %ecx, %eax\n setz %cl\n shl $32, %rcx\n or %rcx, %rax")
	CODE(lsl, "mov $0x33, %ecx\n lsl %ecx, %eax\n setz %cl\n shl $32, %rcx\n or %rcx, %rax")
	CODE(lsl_cpu, "xor %eax, %eax\n mov $0x7b, %ecx\n lsl %ecx, %eax\n setz %cl\n shl $32, %rcx\n or %rcx, %rax")
	CODE(verr, "xor %eax, %eax\n mov $0x2b, %ecx\n verr %cx\n setz %al\n mov $0x43, %ecx\n verr %cx\n"
		" adc $1, %rax\n setz %ah")
	CODE(verw, "xor %eax, %eax\n mov $0x2b, %ecx\n verw %cx\n setz %al\n mov $0x33, %ecx\n verw %cx\n setz %ah")
	CODE(rdtscp_aux, "rdtscp\n mov %rcx, %rax")
	CODE(xgetbv, "xor %ecx, %ecx\n xgetbv\n shl $32, %rdx\n or %rdx, %rax")
	CODE(rdpid, "rdpid %rax")
	CODE(rdpid9, "xor %r9d, %r9d\n rdpid %r9\n mov %r9, %rax")
	CODE(fsbase, "rdfsbase %rax")
	CODE(gsbase, "rdgsbase %rax")
	".popsection");
#define PROBES(_) _(cpuid0) _(cpuid1) _(cpuid7) _(cpuid_name) _(cpuid_hypervisor) _(sgdt) _(sidt) _(sldt) \
	_(sldt_mem) \
	_(str) _(smsw) _(smsw_mem) _(lar) _(lsl) _(lsl_cpu) _(verr) _(verw) _(rdtscp_aux) _(xgetbv)
#define PROBES_RDPID(_) _(rdpid) _(rdpid9)
#define PROBES_FSGSBASE(_) _(fsbase) _(gsbase)
PROBES(CODE_DECLARE) PROBES_RDPID(CODE_DECLARE) PROBES_FSGSBASE(CODE_DECLARE)
static const struct code probes[] = {PROBES(CODE_ROW)}, probes_rdpid[] = {PROBES_RDPID(CODE_ROW)},
	probes_fsgsbase[] = {PROBES_FSGSBASE(CODE_ROW)};

/* Around a probe: EBP rounds, what it says folded into R12. */
__asm__(".pushsection .rodata\n"
	CODE(enter, "mov %rdi, %rsi\n xor %r12d, %r12d\n mov $300, %ebp")
	CODE(fold, "rol $9, %r12\n xor %rax, %r12\n dec %ebp\n .byte 0x0f, 0x85") /* jnz, its offset follows */
	CODE(leave, "mov %r12, %rax\n int $0x81")
	CODE(back, "mov %r12, %rax\n ret")
	".popsection");
CODE_DECLARE(enter) CODE_DECLARE(fold) CODE_DECLARE(leave) CODE_DECLARE(back)
static const struct code head = CODE_OF(enter), tail = CODE_OF(fold), user_end = CODE_OF(leave),
	kernel_end = CODE_OF(back);

static u8 *text[3]; /* TEXT's pages, through the identity map; they lie side by side there too */
static u64 scratch;

static size_t length(const struct code *c) { return (size_t)(c->end - c->start); }

/* The loop with the probe's first byte at this offset of TEXT; where it begins. */
static u64 place(const struct code *c, const struct code *end, u64 at)
{
	u8 *p = text[0] + at - length(&head), *again;
	u64 start = TEXT + (u64)(p - text[0]);
	u32 offset;

	p = put_code(p, &head);
	again = p;
	p = put_code(p, c);
	p = put_code(p, &tail);
	offset = (u32)(again - (p + 4));
	memcpy(p, &offset, 4);
	put_code(p + 4, end);
	return start;
}

static u64 in_kernel(const struct code *c, u64 at)
{
	u64 start = place(c, &kernel_end, at) - TEXT + (u64)text[0], result, kept;

	__asm__ volatile("push %%rbp\n push %%rbx\n push %%r12\n call *%[start]\n pop %%r12\n pop %%rbx\n pop %%rbp"
		: "=a"(result), "=D"(kept) : [start] "r"(start), "D"(scratch) : "rcx", "rdx", "rsi", "r9", "memory", "cc");
	return result;
}

static void expect(const struct code *c, u64 start, u64 want, unsigned *bad)
{
	int vector = direct_run(start, scratch);

	if ((vector != NO_TRAP || trap.f.rax != want) && !(*bad)++)
		print("  first: %s at %lx: vector %d, %lx for %lx\n", c->name, start, vector, trap.f.rax, want);
}

/* In the page, and with each of its bytes the first on the next page. */
static void try_probe(const struct code *c, unsigned *bad)
{
	u64 want = in_kernel(c, 0x800);

	expect(c, place(c, &user_end, 0x800), want, bad);
	for (u64 i = 1; i <= length(c); i++)
		expect(c, place(c, &user_end, 0x1000 - i), want, bad);
	expect(c, place(c, &user_end, 0x1040), want, bad);
}

static void try_probes(const char *name, const struct code *c, unsigned n)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < n; i++)
		try_probe(&c[i], &bad);
	check_eq(name, bad, 0);
}

/*
 * Written into code that runs: RDI is what executes, RSI the same frame to be written, RDX where the bytes come from,
	ECX
 * how many. The page runs with NOPs there, then the code itself writes,
	through its own page or another mapping of it.
 */
__asm__(".pushsection .rodata\n"
	CODE(rewrite, "mov %rdi, %r8\n mov 0(%r8), %r9\n mov 8(%r8), %r10\n mov 16(%r8), %r11d\n mov 24(%r8), %r13\n"
		" xor %r12d, %r12d\n mov $200, %ebp\n"
		"1: lea 64(%r8), %rsi\n xor %eax, %eax\n call *%r9\n rol $9, %r12\n xor %rax, %r12\n"
		" cmp $100, %ebp\n jne 2f\n mov %r13, %rsi\n mov %r10, %rdi\n mov %r11d, %ecx\n push %r11\n rep movsb\n"
		" pop %r11\n"
		" int $0x82\n" /* serializes by its IRET */
		"2: dec %ebp\n jnz 1b\n mov %r12, %rax\n int $0x81")
	".popsection");
CODE_DECLARE(rewrite)
static const struct code rewriter = CODE_OF(rewrite);

static u64 folded(u64 value)
{
	u64 r = 0;

	for (unsigned i = 0; i < 200; i++)
		r = (r << 9 | r >> 55) ^ (i <= 100 ? 0 : value);
	return r;
}

/* What it says once, at CPL 0, in the place where it will be. */
static u64 said_in_kernel(u8 *p, const struct code *c)
{
	u64 result, kept;

	*put_code(p, c) = 0xc3;
	__asm__ volatile("push %%rbx\n call *%[p]\n pop %%rbx" : "=a"(result), "=S"(kept)
		: [p] "r"(p), "S"(scratch + 64), "a"(0) : "rcx", "rdx", "rdi", "r9", "memory", "cc");
	return result;
}

static void try_written(const char *name, u64 through, bool near)
{
	static const struct code *const which[] = {&probes[0], &probes[1], &probes[5], &probes[7], &probes[10],
		&probes[12]};
	unsigned bad = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(which); i++)
		for (u64 at = 0xff0 - 3 * (u64)near; at < 0xffe; at += 5) {
			const struct code *c = which[i];
			u64 *args = (u64 *)(scratch), want = folded(said_in_kernel(text[0] + at, c));
			u64 writer = near ? 0x100 : 0x2000;

			memset(text[0] + at, 0x90, length(c));
			put_code(text[0] + writer, &rewriter);
			args[0] = TEXT + at;
			args[1] = through + at;
			args[2] = length(c);
			args[3] = scratch + 256;
			memcpy((void *)(scratch + 256), c->start, length(c));
			expect(c, TEXT + writer, want, &bad);
		}
	check_eq(name, bad, 0);
}

/* By the kernel, between two runs. */
static void try_patched(void)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(probes); i++) {
		const struct code nops = {"nops", (const u8 *)scratch + 512, (const u8 *)scratch + 512 + length(&probes[i])};
		u64 want = in_kernel(&probes[i], 0x400);

		memset((void *)(scratch + 512), 0x90, length(&probes[i]));
		for (unsigned k = 0; k < 3; k++) {
			direct_run(place(&nops, &user_end, 0x400), scratch);
			expect(&probes[i], place(&probes[i], &user_end, 0x400), want, &bad);
		}
	}
	check_eq("by the kernel into a page that has run", bad, 0);
}

/* CPUID and RDPID within the immediate of a MOV, which a jump enters. */
static void try_within(void)
{
	static const u8 code[] = {0x31, 0xc0, 0xeb, 0x02, /* xor %eax, %eax; jmp +2 */
		0x48, 0xb8, 0x0f, 0xa2, 0x90, 0x90, 0x90, 0x90, 0xcd, 0x81}; /* movabs with cpuid; int $0x81 in it */
	unsigned bad = 0;

	memset(text[0], 0x90, 0x1000);
	memcpy(text[0] + 0x300, code, sizeof code);
	for (unsigned i = 0; i < 100; i++) {
		direct_run(TEXT + 0x300, 0);
		bad += (u32)trap.f.rax != cpuid(0, 0).a || (u32)trap.f.rbx != cpuid(0, 0).b || (u32)trap.f.rdx != cpuid(0,
			0).d;
	}
	check_eq("CPUID within another instruction", bad, 0);
}

/* --- what must fault, with the exact state --- */

/* RDI points to 16 registers; what is tried follows. */
__asm__(".pushsection .rodata\n"
	CODE(load, "mov $200, %eax\n 1: dec %eax\n jnz 1b\n mov 128(%rdi), %rax\n push %rax\n popf\n"
		" mov (%rdi), %rax\n mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %rbx\n mov 40(%rdi), %rbp\n"
		" mov 48(%rdi), %rsi\n mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n"
		" mov 96(%rdi), %r12\n mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n mov 56(%rdi), %rdi")
	".popsection");
CODE_DECLARE(load)
static const struct code loader = CODE_OF(load);

static const struct fault {
	const char *name;
	u8 len, bytes[10];
	u8 vector;
	u16 error;
	u8 behind; /* of a trap: RIP is behind it */
} faults[] = {
	{"UD2", 2, {0x0f, 0x0b}, UD, 0, 0}, {"HLT", 1, {0xf4}, GP, 0, 0}, {"CLI", 1, {0xfa}, GP, 0, 0},
	{"STI", 1, {0xfb}, GP, 0, 0}, {"IN", 2, {0xe4, 0x71}, GP, 0, 0}, {"IN DX", 1, {0xec}, GP, 0, 0},
	{"OUT", 2, {0xe6, 0x80}, GP, 0, 0}, {"INS", 2, {0xf3, 0x6c}, GP, 0, 0}, {"INT3", 1, {0xcc}, BP, 0, 1},
	{"INT 3", 2, {0xcd, 0x03}, BP, 0, 2}, {"INT 4", 2, {0xcd, 0x04}, OF, 0, 2}, {"INT 5", 2, {0xcd, 0x05}, GP,
	5 * 8 + 2, 0},
	{"INT 80h", 2, {0xcd, 0x80}, 0x80, 0, 2}, {"INT 13", 2, {0xcd, 0x0d}, GP, 0x6a, 0}, {"INT FFh", 2, {0xcd, 0xff},
	GP, 0x7fa, 0},
	{"INT1", 1, {0xf1}, DB, 0, 1}, {"RDMSR", 2, {0x0f, 0x32}, GP, 0, 0}, {"WRMSR", 2, {0x0f, 0x30}, GP, 0, 0},
	{"MOV CR0", 3, {0x0f, 0x20, 0xc0}, GP, 0, 0}, {"MOV to CR3", 3, {0x0f, 0x22, 0xd8}, GP, 0, 0},
	{"MOV CR8", 4, {0x44, 0x0f, 0x20, 0xc0}, GP, 0, 0}, {"MOV DR7", 3, {0x0f, 0x21, 0xf8}, GP, 0, 0},
	{"LGDT", 3, {0x0f, 0x01, 0x10}, GP, 0, 0}, {"LIDT", 3, {0x0f, 0x01, 0x18}, GP, 0, 0}, {"LMSW", 3, {0x0f, 0x01,
	0xf0}, GP, 0, 0},
	{"LLDT", 3, {0x0f, 0x00, 0xd0}, GP, 0, 0}, {"LTR", 3, {0x0f, 0x00, 0xd8}, GP, 0, 0}, {"INVLPG", 3, {0x0f, 0x01,
	0x38}, GP, 0, 0},
	{"INVD", 2, {0x0f, 0x08}, GP, 0, 0}, {"WBINVD", 2, {0x0f, 0x09}, GP, 0, 0}, {"CLTS", 2, {0x0f, 0x06}, GP, 0, 0},
	{"SWAPGS", 3, {0x0f, 0x01, 0xf8}, GP, 0, 0}, {"SYSRET", 3, {0x48, 0x0f, 0x07}, GP, 0, 0}, {"SYSEXIT", 2, {0x0f,
	0x35}, GP, 0, 0},
	{"XSETBV", 3, {0x0f, 0x01, 0xd1}, GP, 0, 0}, {"RSM", 2, {0x0f, 0xaa}, UD, 0, 0}, {"RDPMC", 2, {0x0f, 0x33}, GP, 0,
	0},
	{"VMLAUNCH", 3, {0x0f, 0x01, 0xc2}, UD, 0, 0}, {"GETSEC", 2, {0x0f, 0x37}, UD, 0, 0},
	{"CLAC", 3, {0x0f, 0x01, 0xca}, UD, 0, 0}, {"MONITOR", 3, {0x0f, 0x01, 0xc8}, UD, 0, 0},
	{"POP FS, 10h", 4, {0x6a, 0x10, 0x0f, 0xa1}, GP, 0x10, 2}, {"POP GS, 3Bh", 4, {0x6a, 0x3b, 0x0f, 0xa9}, GP, 0x38,
	2},
	{"no such opcode", 1, {0x06}, UD, 0, 0}, {"LOCK NOP", 2, {0xf0, 0x90}, UD, 0, 0}, {"too long", 15, {0}, GP, 0, 0},
	{"not canonical", 9, {0xa1, 0, 0, 0, 0, 0, 0, 0, 0x80}, GP, 0, 0},
	{"SYSENTER", 2, {0x0f, 0x34}, GP, 0, 0},
}, load_number = {"POP GS, 7Bh", 4, {0x6a, LINUX_NUMBER, 0x0f, 0xa9}, GP, LINUX_NUMBER & ~3, 2};

static bool state_is(const struct fault *f, u64 rip, const u64 *regs)
{
	const volatile struct frame *t = &trap.f;
	u64 got[16] = {t->rax, t->rcx, t->rdx, t->rbx, regs[4], t->rbp, t->rsi, t->rdi, t->r8, t->r9, t->r10, t->r11,
		t->r12,
		t->r13, t->r14, t->r15};
	u64 pushed = f->bytes[0] == 0x6a ? 8 : 0;

	for (unsigned i = 0; i < 16; i++)
		if (got[i] != regs[i])
			return false;
	return t->rip == rip + f->behind && t->error == f->error && t->rsp == STACK_TOP - 64 - pushed &&
		(t->rflags & ~(u64)FL_RF) == regs[16] && t->cs == LINUX_CODE && t->ss == LINUX_DATA;
}

static void try_fault(const struct fault *f, unsigned *bad)
{
	static u64 at = TEXT + 0x100000;
	u64 *regs = (u64 *)(scratch + 1024), rip = (at += 0x2000) + length(&loader);
	u8 bytes[16], *page = direct_page(at, RW); /* of its own: what holds another back is not to hold back all */

	for (unsigned i = 0; i < 17; i++)
		regs[i] = 0x1122334455667788ull * (i + 3) + i;
	regs[16] = FL_1 | FL_IF | FL_CF | FL_SF;
	memset(bytes, 0x66, sizeof bytes);
	if (f->bytes[0])
		memcpy(bytes, f->bytes, f->len);
	memset(put_code(page, &loader), 0x90, 0x200);
	memcpy(page + length(&loader), bytes, f->bytes[0] ? f->len : sizeof bytes);
	for (unsigned round = 0; round < 4; round++) {
		int vector = direct_run(at, (u64)regs);

		if ((vector != f->vector || !state_is(f, rip, regs)) && !(*bad)++)
			print("  first: %s: vector %d, error %lx, rip %lx for %lx, rsp %lx, flags %lx\n", f->name, vector,
				trap.f.error,
				trap.f.rip, rip + f->behind, trap.f.rsp, trap.f.rflags);
	}
}

static const void *gate_handler(unsigned vector)
{
	return (void *)((u64)idt[vector].offset0 | (u64)idt[vector].offset1 << 16);
}

static void try_faults(void)
{
	unsigned bad = 0, amd = is_amd();

	idt_set(3, gate_handler(3), 0xee, 0);
	idt_set(4, gate_handler(4), 0xee, 0);
	idt_set(0x80, gate_handler(0x80), 0xee, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(faults) - amd; i++) /* SYSENTER is no instruction there */
		try_fault(&faults[i], &bad);
	check_eq("instructions that fault or trap, by all their state", bad, 0);
	idt_reset();
}

/* A descriptor that hosts have: in an address space that has not run before, as that is when it is looked at. */
static void try_missing(void)
{
	u64 first = read_cr3(), root = page_alloc();
	unsigned bad = 0;

	memcpy((void *)root, (void *)(first & PTE_ADDR), 0x1000);
	gdt[LINUX_NUMBER / 8] = 0;
	write_cr3(root);
	try_fault(&load_number, &bad);
	write_cr3(first);
	check_eq("a selector that a Linux host has, and this machine has not", bad, 0);
}

static void nothing(struct frame *f) {}

void metal_main(void)
{
	direct_setup();
	for (unsigned i = 0; i < 3; i++)
		text[i] = (u8 *)page_alloc();
	for (unsigned i = 0; i < 3; i++) {
		page_map(TEXT + 0x1000 * i, (u64)text[i] | RW);
		page_map(DATA + 0x10000 + 0x1000 * i, (u64)text[i] | RW | PTE_NX);
	}
	direct_page(scratch = DATA, RW | PTE_NX);
	idt_set(0x82, gate_handler(0x82), 0xee, 0);
	trap_handle(0x82, nothing);
	wrmsr(MSR_TSC_AUX, 0x7654321);
	try_probes("instructions that tell, in the page and over its end", probes, ARRAY_SIZE(probes));
	if (cpuid(7, 0).c >> 22 & 1)
		try_probes("RDPID", probes_rdpid, ARRAY_SIZE(probes_rdpid));
	else
		report_skip("RDPID", "no such instruction");
	if (has_fsgsbase()) {
		wrmsr(MSR_FS_BASE, 0x123456789000);
		wrmsr(MSR_GS_BASE, 0xffff812345678000);
		try_probes("RDFSBASE, RDGSBASE", probes_fsgsbase, ARRAY_SIZE(probes_fsgsbase));
	}
	try_written("written by the code itself into its own page", TEXT, true);
	try_written("written by another page's code", TEXT, false);
	try_written("written through another mapping", DATA + 0x10000, false);
	try_patched();
	try_within();
	try_faults();
	try_missing();
}
