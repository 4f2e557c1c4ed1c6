/* SPDX-License-Identifier: MIT */
/*
 * A fuzzer in the role of a hostile process that runs directly, beside an instruction for which its code is
 * displaced (src/shadow/displaced.h): code at random, which ends in all ways, first run for what it is; then jumps
 * into the middle of what has been made of it, of its tables and of the handler, with any registers and flags, and
 * with any words where the monitor and displaced code hand over to one another. Whatever becomes of it: the machine
 * goes on, its read-only page and the kernel's memory stay as they are, and a process beside it computes what it
 * should, directly, too.
 * CASES and a seed from the clock: soak.sh.
 */
#include "lib/direct.h"
#include "lib/random.h"

const struct tcg_known tcg_known[] = {{0}};

#ifndef CASES
#define CASES 4000
#define SOAK false
#else
#define SOAK true
#endif
#define LEAVE (TEXT + 0x2000)
#define LOADER (TEXT + 0x4000)
#define VICTIM 0x100000000000ull /* the other process has a page of code here, and one of data */
#define STATE (HANDOVER_AT + 0x4000)
#define DISPLACED (HANDOVER_AT + 0x14000)
enum {
	PAGE = 0x1000, INDEX = 0x100000, SLOT = 0x10000, STACK_SIZE = 0xf000,
	TIMER = 0x40, PERIOD = 100000, TICKS = 3, BATCH = 40, WARM = 12,
	RSP = 4, WRITES = 4, STRIDE = 64,
};

static u8 *hostile, *victim_data, canary[PAGE], before[PAGE];
static u64 *targets; /* DATA's first words, by which it calls */
static u8 *p;
static u64 root[2]; /* the hostile process's, the other's */
static unsigned in_world[2], batches;
static volatile int ticks;

/* What LOADER loads. */
static struct load {
	u64 gpr[16], rflags, target;
	struct {
		u64 at, value;
	} write[WRITES];
} *load;

/* --- code --- */

static void put(unsigned byte) { *p++ = (u8)byte; }
static void put32(u64 v) { memcpy(p, &v, 4); p += 4; }
static void put64(u64 v) { memcpy(p, &v, 8); p += 8; }

static u64 here(void) { return TEXT + (u64)(p - hostile); }

/* Of what would be an instruction of its own, if somebody jumped there. */
static u64 nasty(void)
{
	static const u64 words[] = {0x050f, 0x80cd, 0xa20f, 0xcc, 0xf1, 0xf4, 0x0b0f, 0xc3, 0xe0ff, 0x310f, 0xd0010f, 0x9d,
		0xcf48, 0xcb, 0x078ec0, 0xc8ae0ff3, 0x050feb90, 0x81cd, 0x03cd, 0x340f, 0x5c9d00000100680f, 0x90909090c3010f,
		0xf8c70ff3};

	return words[below(ARRAY_SIZE(words))] << 8 * below(4);
}

static u64 somewhere(void) { return TEXT + below(PAGE / STRIDE) * STRIDE + (below(8) ? 0 : below(STRIDE)); }

static unsigned reg_but_rsp(void)
{
	unsigned r = below(15);

	return r >= RSP ? r + 1 : r;
}

/* [REX.W] op with disp32(%rip) */
static void relative(unsigned op, unsigned reg, u64 to)
{
	put(0x48 | (reg >> 3) << 2);
	put(op);
	put(0x05 | (reg & 7) << 3);
	put32(to - (here() + 4));
}

static void branch(unsigned op, u64 to)
{
	put(op);
	put32(to - (here() + 4));
}

static void instruction(void)
{
	static const u8 memory[] = {0x8b, 0x89, 0x01, 0x03, 0x87, 0x3b, 0x8d};
	unsigned r = reg_but_rsp();

	switch (below(20)) {
	case 0: put(0x90); return;
	case 1: put(0x48 | r >> 3); put(0xb8 | (r & 7)); put64(below(3) ? nasty() : any()); return;
	case 2: put(0x40 | r >> 3); put(0xb8 | (r & 7)); put32(nasty()); return;
	case 3: put(0x48 | (r >> 3) << 2); put(0x01 + below(8) * 8); put(0xc0 | (r & 7) << 3 | (below(8) & ~(unsigned)RSP));
		return;
	case 4: case 5: case 6: relative(memory[below(ARRAY_SIZE(memory))], r, DATA + below(PAGE - 8)); return;
	case 7: case 8: branch(0xe8, somewhere()); return;
	case 9: put(0x0f); branch(0x80 | below(16), below(4) ? somewhere() : LEAVE); return;
	case 10: branch(0xe9, below(4) ? somewhere() : LEAVE); return;
	case 11: put(0xc3); return;
	case 12: put(0x40 | r >> 3); put(0x50 | (r & 7)); put(0x40 | r >> 3); put(0x58 | (r & 7)); return;
	case 13: put(0x48); put(0xb8); put64(somewhere()); put(0xff); put(below(2) ? 0xd0 : 0xe0); return;
	case 14: put(0xff); put(below(2) ? 0x15 : 0x25); put32(DATA + below(64) * 8 - (here() + 4)); return;
	case 15: put(0xe0 + below(4)); put(below(2) ? 2 : below(256)); return;
	case 16: put(0x9c); put(0x58); return;
	case 17:
		if (!below(3)) /* CPUID, RDTSC, XGETBV: stops */
			put32(below(2) ? 0x90a20f90 : below(2) ? 0x9090310f : 0x90d0010f);
		return;
	case 18:
		if (!below(4)) {
			put32(any());
			put32(any());
		}
		return;
	default: put(0x66); put(0x0f); put(0xef); put(0xc0 | below(64)); /* pxor */
	}
}

/* A page of it, with a way in every STRIDE bytes, and LSL. */
static void write_page(void)
{
	for (u64 at = 0; at < PAGE; at += STRIDE) {
		p = hostile + at;
		while (p < hostile + at + STRIDE - 24)
			instruction();
		branch(0xe9, below(2) ? LEAVE : somewhere());
	}
	memcpy(hostile + PAGE - 3, "\x0f\x03\xc0", 3);
	memcpy(before, hostile, PAGE);
	for (unsigned i = 0; i < 64; i++)
		targets[i] = below(8) ? somewhere() : any();
}

/* --- one case --- */

static u64 place_of_displaced(void)
{
	u64 slots = DISPLACED + INDEX + SLOT; /* the first has no page */

	switch (below(16)) {
	case 0: return DISPLACED + below(INDEX + SLOT);
	case 1: return HANDOVER_AT + below(0x2000000);
	case 2: return slots + below(0x2000); /* the table */
	case 3: return slots + below(40) * SLOT + below(SLOT);
	case 4: return slots + SLOT + 0x2000 + below(0x4000);
	case 5: return somewhere();
	default: return slots + 0x2000 + below(below(2) ? 0x1000 : 0x6000);
	}
}

static u64 any_word(void)
{
	switch (below(12)) {
	case 0: return any();
	case 1: return STATE + below(32) * 8;
	case 2: return STATE + 0x1000 + below(STACK_SIZE) / 8 * 8;
	case 3: return place_of_displaced();
	case 4: return somewhere();
	case 5: return STACK_TOP - below(0x2000);
	case 6: return DATA + below(PAGE);
	case 7: return (any() >> below(64)) | 0xffff800000000000;
	case 8: return below(0x400000); /* the kernel's, and the first pages */
	case 9: return HANDLER_AT + below(PAGE);
	case 10: return below(16);
	default: return TEXT + below(PAGE);
	}
}

static void prepare(u64 target, bool hard)
{
	memset(load, 0, sizeof(*load));
	for (unsigned i = 0; i < 16; i++)
		load->gpr[i] = any_word();
	load->gpr[RSP] = !hard || below(4) ? STACK_TOP - 512 - below(512) / 8 * 8 : any_word();
	load->rflags = FL_1 | FL_IF | (any() & FL_ARITH);
	if (hard && !below(8))
		load->rflags |= any() & (FL_DF | FL_AC | FL_NT | FL_TF);
	load->target = target;
	for (unsigned i = 0; i < WRITES; i++) {
		load->write[i].at = DATA + PAGE - 8;
		if (!hard || below(3))
			continue;
		load->write[i].at = below(3) ? STATE + below(32) * 8 : STATE + 0x1000 + below(STACK_SIZE) / 8 * 8;
		if (load->write[i].at == STATE + 64)
			load->write[i].at += 8; /* runon: not to lose the world each time */
		load->write[i].value = any_word();
	}
}

/* RDI: struct load, which stays there. */
__asm__(".pushsection .rodata\n"
	CODE(loader, ".irp i, 0, 16, 32, 48\n mov 144+\\i(%rdi), %rax\n mov 152+\\i(%rdi), %rcx\n"
		" mov %rcx, (%rax)\n .endr\n"
		" mov 8(%rdi), %rcx\n mov 16(%rdi), %rdx\n mov 24(%rdi), %rbx\n mov 40(%rdi), %rbp\n mov 48(%rdi), %rsi\n"
		" mov 64(%rdi), %r8\n mov 72(%rdi), %r9\n mov 80(%rdi), %r10\n mov 88(%rdi), %r11\n mov 96(%rdi), %r12\n"
		" mov 104(%rdi), %r13\n mov 112(%rdi), %r14\n mov 120(%rdi), %r15\n pushq 128(%rdi)\n popf\n"
		" mov 32(%rdi), %rsp\n mov (%rdi), %rax\n jmp *136(%rdi)")
	CODE(look, "mov 0x410100001000, %al\n int $0x81")
	/* Its answer in RAX; all registers and its page of data take part. */
	CODE(victim, "mov $1, %eax\n xor %ecx, %ecx\n xor %edx, %edx\n xor %ebx, %ebx\n xor %ebp, %ebp\n xor %esi, %esi\n"
		" xor %r8d, %r8d\n xor %r9d, %r9d\n xor %r10d, %r10d\n xor %r11d, %r11d\n xor %r12d, %r12d\n xor %r13d, %r13d\n"
		" xor %r14d, %r14d\n xor %r15d, %r15d\n movq %rax, %xmm3\n mov $200, %ecx\n"
		"1: imul $0x5851f42d, %rax, %rax\n add (%rdi,%rcx,8), %rax\n adc %rax, %rdx\n rol $7, %rdx\n xor %rdx, %rbx\n"
		" add %rbx, %rbp\n add %rbp, %rsi\n xor %rsi, %r8\n add %r8, %r9\n add %r9, %r10\n xor %r10, %r11\n"
		" add %r11, %r12\n add %r12, %r13\n add %r13, %r14\n add %r14, %r15\n push %r15\n pop %rax\n movq %xmm3, %r15\n"
		" add %r15, %rax\n movq %rax, %xmm3\n test $63, %ecx\n jnz 2f\n push %rcx\n push %r11\n syscall\n pop %r11\n"
		" pop %rcx\n 2: dec %ecx\n jnz 1b\n int $0x81")
	".popsection");
CODE_DECLARE(loader) CODE_DECLARE(look) CODE_DECLARE(victim)

/* It has had its time, or is where IRET does not lead (AMD's processors jump there first): to the end. */
static void tick(struct frame *f)
{
	apic_eoi();
	if (!(f->cs & 3) || (++ticks < TICKS && f->rip < VICTIM * 8))
		return;
	f->rip = LEAVE;
	f->cs = LINUX_CODE;
	f->ss = LINUX_DATA;
	f->rsp = STACK_TOP - 64;
	f->rflags = FL_1 | FL_IF;
}

/* What a process leaves behind in registers that the kernel does not use. */
static void put_right(void)
{
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es\n mov %0, %%fs\n mov %0, %%gs\n"
		" fninit\n push $0x1f80\n ldmxcsr (%%rsp)\n pop %%rax" : : "r"(0) : "rax");
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, 0);
	write_dr6(0xffff0ff0);
}

static void run_case(u64 target, bool hard)
{
	prepare(target, hard);
	ticks = 0;
	direct_run(LOADER, DATA + PAGE);
	put_right();
}

static bool is_in_world(void) { return direct_run(LEAVE + 16, 0) == NO_TRAP; }

/* The other process, in its own space. */
static u64 victim_says(void)
{
	u64 rax;

	write_cr3(root[1]);
	ticks = -1000000;
	rax = direct_run(VICTIM, VICTIM + PAGE) == NO_TRAP ? trap.f.rax : 0;
	in_world[1] += is_in_world();
	write_cr3(root[0]);
	return rax;
}

static void fill(u8 *page)
{
	for (unsigned i = 0; i < PAGE; i++)
		page[i] = (u8)(i * 7 + i / 256);
}

static bool is_filled(const u8 *page)
{
	for (unsigned i = 0; i < PAGE; i++)
		if (page[i] != (u8)(i * 7 + i / 256))
			return false;
	return true;
}

static void setup(void)
{
	u64 first = read_cr3() & PTE_ADDR;

	direct_setup();
	apic_enable();
	trap_handle(TIMER, tick);
	apic_write(APIC_TDCR, 0xb);
	apic_write(APIC_LVTT, TIMER | 1 << 17);
	hostile = direct_page(TEXT, RO);
	p = direct_page(LEAVE, RO);
	memcpy(p, "\xcd\x81", 2);
	put_code(p + 16, &(struct code)CODE_OF(look));
	put_code(direct_page(LOADER, RO), &(struct code)CODE_OF(loader));
	targets = (u64 *)direct_page(DATA, RW | PTE_NX);
	load = (struct load *)direct_page(DATA + PAGE, RW | PTE_NX);
	root[0] = first;
	root[1] = page_alloc();
	memcpy((void *)root[1], (void *)first, PAGE);
	write_cr3(root[1]);
	put_code(direct_page(VICTIM, RO), &(struct code)CODE_OF(victim));
	victim_data = direct_page(VICTIM + PAGE, RO | PTE_NX);
	fill(victim_data);
	write_cr3(first);
	fill(canary);
}

void metal_main(void)
{
	unsigned spoiled = 0, wrong = 0;
	u64 want;

	begin_random(SOAK);
	setup();
	want = victim_says();
	in_world[1] = 0;
	apic_write(APIC_TMICT, PERIOD);
	for (u64 n = 0; n < CASES && wrong + spoiled < 10; n += BATCH, batches++) {
		write_page();
		for (unsigned i = 0; i < WARM; i++)
			run_case(TEXT + below(PAGE / STRIDE) * STRIDE, false);
		for (unsigned i = 0; i < BATCH; i++)
			run_case(below(200) ? place_of_displaced() : HANDLER_AT + below(0x200), true);
		ticks = 0;
		in_world[0] += is_in_world();
		spoiled += memcmp(hostile, before, PAGE) || !is_filled(canary) || !is_filled(victim_data);
		wrong += victim_says() != want;
	}
	apic_write(APIC_TMICT, 0);
	print("%u of %u batches in a world, the other process %u\n", in_world[0], batches, in_world[1]);
	check_eq("what a hostile process must not reach", spoiled, 0);
	check_eq("what the process beside it computes", wrong, 0);
}
