/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions: single-step over all sorts of instructions, with the RIP of each trap compared with a list of
 * labels; instruction, data and I/O breakpoints; DR6, DR7, general detect, RF, ICEBP.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"single-step: sti", "SDM vol. 2, STI: only maskable interrupts wait for the next instruction"},
	{"single-step: ICEBP", "SDM vol. 3, 6.3.3, 17.3.1"},
	{"ICEBP leaves DR6 alone*", "SDM vol. 3, 17.2.3"},
	{"general detect*", "SDM vol. 3, 17.2.4"},
	{"ICEBP raises #DB", "SDM vol. 2, INT1"},
	{"single-step: repne scasb*", "SDM vol. 2, REP, says so of faults; Intel's processors do the same at traps"},
	{0},
};

enum { LOG_MAX = 64, DR6_BD = 1 << 13, DR6_BS = 1 << 14, DR6_FIXED = 0xffff0ff0 };
static struct { u64 rip, dr6, rflags, rax, rcx, at; } steps[LOG_MAX];
static volatile int nsteps;
static volatile bool set_rf, stop;

static void on_db(struct frame *f)
{
	if (nsteps < LOG_MAX) {
		steps[nsteps].rip = f->rip;
		steps[nsteps].dr6 = read_dr6();
		steps[nsteps].rflags = f->rflags;
		steps[nsteps].rax = f->rax;
		steps[nsteps].rcx = f->rcx;
	}
	nsteps++;
	if (set_rf)
		f->rflags |= FL_RF;
	if (stop || nsteps >= LOG_MAX)
		f->rflags &= ~(u64)FL_TF;
	write_dr6(DR6_FIXED);
}

/*
 * A fragment: name_start to name_end, with labels in the table name_want. It is called with TF set by its first
 * instruction, which the prologue (push, popf) does; the first trap comes after the first instruction of the
 * fragment.
 */
#define FRAGMENT(name, code, want) \
	void name(void); \
	extern u64 name##_want[]; \
	__asm__(".text\n" #name ": push %rbx\n push %rbp\n push %r12\n pushf\n orq $0x100, (%rsp)\n popf\n" code \
		"\n96: pushf\n97: andq $~0x100, (%rsp)\n98: popf\n99: pop %r12\n pop %rbp\n pop %rbx\n ret\n" \
		".data\n.balign 8\n" #name "_want: .quad " want ", 97b, 98b, 99b, 0\n.text")

/* The traps after the fragment: at the pushf (label 96 is the last of `want`), 97, 98 and, after the popf, 99. */
FRAGMENT(f_plain, "1: nop\n2: mov $5, %eax\n3: add %eax, %eax\n4: mov %rax, step_data(%rip)\n"
	"5: mov step_data(%rip), %rcx\n6: lea 1(%rax), %rdx",
	 "2b, 3b, 4b, 5b, 6b, 96b");
FRAGMENT(f_jumps, "1: jmp 3f\n2: ud2\n3: xor %eax, %eax\n4: jz 6f\n5: ud2\n6: jnz 5b\n7: call 9f\n8: jmp 10f\n"
	"9: ret\n10: mov $3, %ecx\n11: loop 11b",
	 "3b, 4b, 6b, 7b, 9b, 8b, 10b, 11b, 11b, 11b, 96b");
FRAGMENT(f_indirect, "1: lea 3f(%rip), %rax\n2: jmp *%rax\n ud2\n3: lea 5f(%rip), %rax\n4: call *%rax\n6: jmp 7f\n"
	"5: ret\n7: nop",
	 "2b, 3b, 4b, 5b, 6b, 7b, 96b");
FRAGMENT(f_ss, "1: mov %ss, %eax\n2: mov %eax, %ss\n3: nop\n4: nop", "2b, 4b, 96b");
FRAGMENT(f_ss_jump, "1: mov %ss, %eax\n2: mov %eax, %ss\n3: jmp 4f\n ud2\n4: nop", "2b, 4b, 96b");
FRAGMENT(f_pushf, "1: pushf\n2: pop %rax\n3: mov %rax, step_data(%rip)", "2b, 3b, 96b");
FRAGMENT(f_popf_keeps, "1: pushf\n2: popf\n3: nop", "2b, 3b, 96b");
FRAGMENT(f_rep, "1: mov $3, %ecx\n2: lea step_buf(%rip), %rdi\n3: rep stosb\n4: nop", "2b, 3b, 3b, 3b, 4b, 96b");
FRAGMENT(f_repne, "1: xor %edi, %edi\n2: lea step_buf(%rip), %rdi\n3: lea 5(%rdi), %rsi\n4: mov $3, %ecx\n"
	"5: mov $0x80, %al\n6: cmp %al, %al\n7: repne scasb\n8: nop", "2b, 3b, 4b, 5b, 6b, 7b, 7b, 7b, 8b, 96b");
FRAGMENT(f_rep_zero, "1: xor %ecx, %ecx\n2: rep stosb\n3: nop", "2b, 3b, 96b");
FRAGMENT(f_repe, "1: mov $5, %ecx\n2: lea step_buf(%rip), %rdi\n3: mov %rdi, %rsi\n4: repne cmpsb\n5: nop",
	"2b, 3b, 4b, 5b, 96b");
FRAGMENT(f_string, "1: lea step_buf(%rip), %rdi\n2: mov %rdi, %rsi\n3: movsb\n4: stosb\n5: lodsb\n6: scasb",
	"2b, 3b, 4b, 5b, 6b, 96b");
FRAGMENT(f_int, "1: nop\n2: int $0x92\n3: nop\n4: nop", "2b, 4b, 96b");
FRAGMENT(f_int3, "1: nop\n2: int3\n3: nop\n4: nop", "2b, 4b, 96b");
FRAGMENT(f_iret, "1: mov %ss, %eax\n2: push %rax\n3: lea 8(%rsp), %rax\n4: push %rax\n5: pushf\n6: mov %cs, %eax\n"
	"7: push %rax\n8: lea 11f(%rip), %rax\n"
	 "9: push %rax\n10: iretq\n ud2\n11: nop\n12: nop", "2b, 3b, 4b, 5b, 6b, 7b, 8b, 9b, 10b, 11b, 12b, 96b");
FRAGMENT(f_system, "1: cpuid\n2: rdtsc\n3: in $0x61, %al\n4: cli\n5: mov %cr0, %rax\n6: mov %rax, %cr0\n"
	"7: mov %cr3, %rax\n8: mov %rax, %cr3\n"
	 "9: invlpg (%rsp)\n10: swapgs\n11: swapgs\n12: mov %dr7, %rax",
	 "2b, 3b, 4b, 5b, 6b, 7b, 8b, 9b, 10b, 11b, 12b, 96b");
FRAGMENT(f_sti, "1: sti\n2: nop\n3: cli", "2b, 3b, 96b");
FRAGMENT(f_vector, "1: pxor %xmm0, %xmm0\n2: movups %xmm0, step_buf(%rip)\n3: fld1\n4: fstpl step_buf(%rip)\n"
	"5: fninit", "2b, 3b, 4b, 5b, 96b");
FRAGMENT(f_fault, "1: nop\n2: ud2\n3: nop", "2b, 96b");	/* the handler skips the ud2 and, TF being in the image,
	one more trap is due */
FRAGMENT(f_mend, "1: lea step_gone, %rax\n2: mov (%rax), %ecx\n3: nop", "2b, 3b, 96b");
FRAGMENT(f_lock, "1: lock incq step_data(%rip)\n2: xchg %rax, step_data(%rip)\n3: push %rax\n4: pop %rcx\n"
	"5: enter $16, $0\n6: leave", "2b, 3b, 4b, 5b, 6b, 96b");
FRAGMENT(f_smc, "1: movb $0x90, 3f(%rip)\n2: nop\n3: nop\n4: nop", "2b, 3b, 4b, 96b");
FRAGMENT(f_icebp, "1: nop\n2: .byte 0xf1\n3: nop", "2b, 3b, 96b");
FRAGMENT(f_far, "1: mov %cs, %eax\n2: push %rax\n3: lea 6f(%rip), %rcx\n4: push %rcx\n5: lretq\n ud2\n6: nop",
	"2b, 3b, 4b, 5b, 6b, 96b");

extern u64 step_data;
u64 step_data;
extern u8 step_buf[64];
u8 step_buf[64];
#define GONE 0x7f0000105000ull
__asm__(".globl step_gone\n.set step_gone, 0x70105000");
#define STEP_GONE 0x70105000ull

static void run_steps(const char *name, void (*fn)(void), const u64 *want)
{
	int n = 0;
	char got[200];
	size_t at = 0;
	bool ok;

	nsteps = 0;
	set_rf = stop = false;
	write_dr6(DR6_FIXED);
	fn();
	while (want[n])
		n++;
	ok = nsteps == n;
	for (int i = 0; i < n && i < nsteps && ok; i++)
		ok = steps[i].rip == want[i];
	got[0] = 0;
	for (int i = 0; i < nsteps && at + 12 < sizeof got; i++)
		at += (size_t)format(got + at, sizeof got - at, " %s%lx", i < n && steps[i].rip == want[i] ? "" : "!",
			steps[i].rip - (u64)fn);
	report(ok, name, "%d traps, want %d; offsets%s", nsteps, n, got);
}

static void on_int(struct frame *f) { }
static volatile u64 handler_flags;
static void on_ud(struct frame *f)
{
	handler_flags = flags_read();
	f->rip += 2;
}
static void on_pf(struct frame *f)
{
	page_map(STEP_GONE, page_alloc() | PTE_P | PTE_W);
}

static void test_steps(void)
{
	u64 bad = 0;

#define RUN(text, f) run_steps("single-step: " text, f, f##_want)
	RUN("plain instructions", f_plain);
	for (int i = 0; i + 1 < nsteps; i++)
		bad += steps[i].dr6 != (DR6_FIXED | DR6_BS) || !(steps[i].rflags & FL_TF);
	report(!bad, "single-step: DR6.BS and TF in the image", "%lu bad; DR6 %lx rflags %lx", bad, steps[0].dr6,
		steps[0].rflags);
	RUN("jumps and calls", f_jumps);
	RUN("indirect jumps and calls", f_indirect);
	RUN("mov ss holds the trap back", f_ss);
	RUN("mov ss, then a jump", f_ss_jump);
	RUN("pushf", f_pushf);
	check_eq("single-step: pushf pushes TF", step_data & FL_TF, FL_TF);
	RUN("popf", f_popf_keeps);
	RUN("rep stosb: after each iteration", f_rep);
	check_eq("single-step: rep stosb, RCX counts down", steps[2].rcx << 8 | steps[3].rcx << 4 | steps[4].rcx, 0x210);
	RUN("rep stosb of nothing", f_rep_zero);
	RUN("repne scasb: after each iteration", f_repne);
	check_eq("single-step: repne scasb, its flags come with its end (AMD's: with each iteration)",
		 (steps[6].rflags & FL_ZF ? 4 : 0) | (steps[7].rflags & FL_ZF ? 2 : 0) | (steps[8].rflags & FL_ZF ? 1 : 0),
		 is_amd() ? 0 : 6);
	RUN("repne cmpsb that ends at once", f_repe);
	RUN("string instructions", f_string);
	trap_handle(0x92, on_int);
	RUN("int n: none in the handler, none right behind", f_int);
	trap_handle(BP, on_int);
	RUN("int3", f_int3);
	RUN("iret", f_iret);
	RUN("system instructions", f_system);
	RUN("sti", f_sti);
	RUN("SSE and x87", f_vector);
	trap_handle(UD, on_ud);
	RUN("a fault skipped by its handler", f_fault);
	check_eq("TF is clear in a handler", handler_flags & FL_TF, 0);
	page_map(STEP_GONE, 0);
	trap_handle(PF, on_pf);
	RUN("a page fault mended", f_mend);
	RUN("locked instructions and the stack", f_lock);
	RUN("code patched while stepping", f_smc);
	RUN("ICEBP", f_icebp);
	check_eq("ICEBP leaves DR6 alone, the step before set BS", steps[1].dr6, DR6_FIXED);
	RUN("far return", f_far);
	trap_handle(UD, NULL);
	trap_handle(PF, NULL);
}

/* Flags at each step, with instructions whose results the next one overwrites. */
FRAGMENT(f_flags, "1: xor %eax, %eax\n2: sub $1, %eax\n3: add $1, %eax\n4: mov $0x7fffffff, %ecx\n5: add $1, %ecx\n"
	"6: mov step_data(%rip), %rdx\n7: test %eax, %eax",
	 "2b, 3b, 4b, 5b, 6b, 7b, 96b");

static void test_step_flags(void)
{
	static const u16 want[] = {0x44, 0x95, 0x55, 0x55, 0x894, 0x894, 0x44};
	u64 bad = 0, first = 0;

	RUN("dead flags", f_flags);
	for (unsigned i = 0; i < ARRAY_SIZE(want); i++)
		if ((steps[i].rflags & 0x8d5 & ~(i == 0 || i == 6 ? FL_AF : 0)) != want[i] && !bad++)
			first = (u64)i << 32 | steps[i].rflags;
	report(!bad, "single-step: flags are exact even where nobody reads them", "%lu bad, first at step %lu: %lx",
		bad, first >> 32, first & 0xffffffff);
}

/* --- breakpoints --- */
u64 hot(u64 n);
extern char hot_mid[], hot_end[], hot_call[], behind_ss[];
__asm__(".text\n.balign 16\nhot: xor %eax, %eax\n1: add %rdi, %rax\nhot_mid: xor $0x55, %rax\n dec %rdi\n jnz 1b\n"
	"hot_end: ret\n");

static void dr_set(int n, u64 address, int kind, int length)
{
	u64 dr7 = read_dr7() & ~(0xfull << (16 + 4 * n)) & ~(3ull << (2 * n));

	write_dr7(dr7);
	if (n == 0)
		write_dr0(address);
	else if (n == 1)
		write_dr1(address);
	else if (n == 2)
		write_dr2(address);
	else
		write_dr3(address);
	write_dr7(dr7 | 2ull << (2 * n) | (u64)(kind | length << 2) << (16 + 4 * n));
}

static void dr_clear(void)
{
	write_dr7(0x400);
	write_dr6(DR6_FIXED);
}

static void start_log(void)
{
	nsteps = 0;
	set_rf = true;
	stop = false;
	write_dr6(DR6_FIXED);
}

static u64 call_hot(u64 n)
{
	u64 r;

	__asm__ volatile("call hot" : "=a"(r), "+D"(n) : : "memory", "cc");
	return r;
}

static void test_exec(void)
{
	u64 want = call_hot(10), bad = 0;

	for (int i = 0; i < 1000; i++)
		call_hot(5);
	start_log();
	dr_set(0, (u64)hot_mid, 0, 0);
	check_eq("instruction breakpoint: result", call_hot(10), want);
	check_eq("instruction breakpoint: hits in a loop", (u64)nsteps, 10);
	check_eq("instruction breakpoint: RIP", steps[0].rip, (u64)hot_mid);
	check_eq("instruction breakpoint: DR6", steps[0].dr6, DR6_FIXED | 1);
	check_eq("instruction breakpoint: RF is not in its image", steps[0].rflags & FL_RF, 0);
	dr_clear();
	start_log();
	call_hot(10);
	check_eq("instruction breakpoint taken away", (u64)nsteps, 0);
	dr_set(1, (u64)hot_end, 0, 0);
	dr_set(2, (u64)hot, 0, 0);
	call_hot(3);
	check_eq("two instruction breakpoints", (u64)nsteps, 2);
	report(steps[0].rip == (u64)hot && steps[1].rip == (u64)hot_end && steps[0].dr6 == (DR6_FIXED | 4) &&
		steps[1].dr6 == (DR6_FIXED | 2),
	       "two instruction breakpoints: RIP and DR6", "%lx %lx, %lx %lx", steps[0].rip, steps[0].dr6, steps[1].rip,
	       	steps[1].dr6);
	dr_clear();
	for (int i = 0; i < 20; i++) {
		start_log();
		if (i & 1)
			dr_set(3, (u64)hot_mid, 0, 0);
		call_hot(2);
		bad += nsteps != (i & 1 ? 2 : 0);
		dr_clear();
	}
	report(!bad, "instruction breakpoint on and off", "%lu bad", bad);
	/* Not enabled, or not on the first byte. */
	start_log();
	write_dr0((u64)hot_mid);
	write_dr7(0x400);
	call_hot(2);
	check_eq("a disabled breakpoint", (u64)nsteps, 0);
	dr_set(0, (u64)hot_mid + 1, 0, 0);
	call_hot(2);
	check_eq("a breakpoint inside an instruction", (u64)nsteps, 0);
	dr_clear();
	/* MOV SS holds the next instruction's back on Intel's processors, but not on AMD's. */
	start_log();
	dr_set(0, (u64)behind_ss, 0, 0);
	__asm__ volatile("mov %%ss, %%eax\n mov %%eax, %%ss\n.global behind_ss\nbehind_ss: nop" : : : "rax");
	check_eq("instruction breakpoint behind mov ss", (u64)nsteps, is_amd());
	dr_clear();
}

static u8 watched[64] aligned(64);
static u64 watch_rip;

#define DATA(name, code, hits, ...) { \
	start_log(); \
	__asm__ volatile(code "\n85: movq $85b, watch_rip_" : __VA_ARGS__); \
	report(nsteps == (hits) && (!(hits) || steps[0].rip == watch_rip_), name, \
		"%d hits, want %d; RIP %lx want %lx; DR6 %lx", nsteps, hits, \
	       steps[0].rip, watch_rip_, steps[0].dr6); }
extern volatile u64 watch_rip_;
volatile u64 watch_rip_;

static void test_data(void)
{
	u64 rcx, rdi;

	(void)watch_rip;
	dr_set(0, (u64)watched + 8, 1, 3);	/* writes of 4 bytes */
	DATA("write breakpoint: exact", "movl $1, 8(%0)", 1, : "r"(watched) : "memory")
	check_eq("write breakpoint: DR6", steps[0].dr6, DR6_FIXED | 1);
	DATA("write breakpoint: one byte of it", "movb $1, 11(%0)", 1, : "r"(watched) : "memory")
	DATA("write breakpoint: overlapping from below", "movq $1, 4(%0)", 1, : "r"(watched) : "memory")
	DATA("write breakpoint: just below", "movl $1, 4(%0)", 0, : "r"(watched) : "memory")
	DATA("write breakpoint: just above", "movl $1, 12(%0)", 0, : "r"(watched) : "memory")
	DATA("write breakpoint: a read", "mov 8(%0), %%eax", 0, : "r"(watched) : "rax")
	DATA("write breakpoint: read-modify-write", "incl 8(%0)", 1, : "r"(watched) : "memory", "cc")
	DATA("write breakpoint: xchg", "xchg %%eax, 8(%0)", 1, : "r"(watched) : "rax", "memory")
	start_log();
	__asm__ volatile("mov %%rsp, %%rcx\n lea 16(%0), %%rsp\n push $1\n85: mov %%rcx, %%rsp\n movq $85b, watch_rip_"
		: : "r"(watched) : "rcx", "memory");
	report(nsteps == 1 && steps[0].rip == watch_rip_, "write breakpoint: push", "%d hits", nsteps);
	DATA("write breakpoint: SSE", "movups %%xmm0, (%0)", 1, : "r"(watched) : "memory")
	DATA("write breakpoint: movs", "movsb", 1, : "S"(watched + 32), "D"(watched + 9) : "memory")
	DATA("write breakpoint: stos", "stosl", 1, : "D"(watched + 8), "a"(0) : "memory")
	start_log();
	rcx = 8, rdi = (u64)watched + 4;
	__asm__ volatile("rep stosb" : "+c"(rcx), "+D"(rdi) : "a"(0) : "memory");
	report(nsteps >= 1 && nsteps <= 4 && !rcx, "write breakpoint: rep stosb over it",
		"%d hits, rcx %lx, first rcx %lx", nsteps, rcx, steps[0].rcx);
	dr_clear();
	dr_set(1, (u64)watched + 16, 3, 2);	/* any access of 8 bytes */
	DATA("access breakpoint: read", "mov 20(%0), %%al", 1, : "r"(watched) : "rax")
	check_eq("access breakpoint: DR6", steps[0].dr6, DR6_FIXED | 2);
	DATA("access breakpoint: write", "movb %%al, 16(%0)", 1, : "r"(watched) : "memory")
	DATA("access breakpoint: lea", "lea 16(%0), %%rax", 0, : "r"(watched) : "rax")
	DATA("access breakpoint: lods", "lodsb", 1, : "S"(watched + 17) : "rax", "memory")
	start_log();
	__asm__ volatile("mov %%rsp, %%rcx\n lea 16(%0), %%rsp\n pop %%rax\n85: mov %%rcx, %%rsp\n"
		"movq $85b, watch_rip_" : : "r"(watched) : "rcx", "rax", "memory");
	report(nsteps == 1 && steps[0].rip == watch_rip_, "access breakpoint: pop", "%d hits", nsteps);
	dr_clear();
	/* The trap comes after the instruction: its effect is there. */
	dr_set(2, (u64)watched, 1, 0);
	start_log();
	watched[0] = 0;
	__asm__ volatile("movb $0x77, (%0)\n movzbl (%0), %%eax" : : "r"(watched) : "rax", "memory");
	check_eq("write breakpoint: the write is done", watched[0], 0x77);
	check_eq("write breakpoint of one byte: hits", (u64)nsteps, 2);	/* with the = 0 above */
	/* mov ss holds it back. */
	start_log();
	__asm__ volatile("mov %%ss, %%eax\n mov %%eax, %%ss\n movb $1, (%0)\n86: nop\n movq $86b, watch_rip_" :
		: "r"(watched) : "rax", "memory");
	report(nsteps == 1 && steps[0].rip == watch_rip_, "write breakpoint behind mov ss", "%d hits", nsteps);
	dr_clear();
	if (under_tcg())
		return;	/* loops for ever in what follows */
	/* Single-step and a data breakpoint at once: one trap, both bits. */
	dr_set(0, (u64)watched, 1, 0);
	start_log();
	__asm__ volatile("pushf\n orq $0x100, (%%rsp)\n popf\n movb $1, (%0)\n pushf\n andq $~0x100, (%%rsp)\n popf\n" :
		: "r"(watched) : "memory", "cc");
	check_eq("data breakpoint and single-step at once", steps[0].dr6, DR6_FIXED | DR6_BS | 1);
	dr_clear();
	write_cr4(read_cr4() | CR4_DE);
	dr_set(3, 0x80, 2, 0);
	start_log();
	__asm__ volatile("outb %%al, $0x80\n87: movq $87b, watch_rip_" : : "a"(0) : "memory");
	report(nsteps == 1 && steps[0].rip == watch_rip_ && steps[0].dr6 == (DR6_FIXED | 8), "I/O breakpoint",
		"%d hits, DR6 %lx", nsteps, steps[0].dr6);
	start_log();
	outb(0x81, 0);
	check_eq("I/O breakpoint: another port", (u64)nsteps, 0);
	dr_clear();
	write_cr4(read_cr4() & ~(u64)CR4_DE);
}

static void test_registers(void)
{
	u64 v;

	write_dr6(0);
	check_eq("DR6: fixed bits", read_dr6() & ~0x10000ull, DR6_FIXED & ~0x10000ull);
	write_dr6(DR6_FIXED);
	write_dr7(0);
	check_eq("DR7: fixed bit", read_dr7(), 0x400);
	write_dr0(0x123456789abcdef0);
	check_eq("DR0 holds 64 bits", read_dr0(), 0x123456789abcdef0);
	write_dr7(0x2000 | 0x400);
	TRY("mov %%dr0, %0", "=r"(v) : );
	/* on_db is the handler: it logs. */
	(void)v;
}

static void test_general_detect(void)
{
	u64 dr7 = 0;

	start_log();
	set_rf = false;
	trap_handle(DB, NULL);
	write_dr6(DR6_FIXED);
	write_dr7(0x2400);
	TRY("movq $78f, watch_rip_\n78: mov %%dr7, %0", "=r"(dr7) : );
	check_trap("general detect: mov from DR7", DB, 0, watch_rip_);
	check_eq("general detect: DR6.BD", read_dr6(), DR6_FIXED | DR6_BD);
	check_eq("general detect: GD is clear afterwards", read_dr7(), 0x400);
	write_dr6(DR6_FIXED);
	/* BS and BD stay until software clears them; B0-B3 may go at the next exception. */
	TRY("pushf\n orq $0x100, (%%rsp)\n popf\n nop\n nop", : : "memory", "cc");
	write_dr0((u64)watched);
	write_dr7(0x400 | 2 | 1 << 16);
	TRY("movb $1, (%0)\n nop", : "r"(watched) : "memory");
	write_dr7(0x400);
	check_eq("DR6 accumulates", read_dr6() & 0x400f, DR6_BS | 1);
	TRY(".byte 0xf1", : : "memory");
	report(trap.vector == DB, "ICEBP raises #DB", "vector %d", trap.vector);
	dr_clear();
	/* A breakpoint on user code, and TF in user mode. */
	trap_handle(DB, on_db);
}

void u_steps(void), u_sys(void), u_after(void), u_end(void);
__asm__(".pushsection .user.text, \"ax\", @progbits\nu_steps: nop\nu_steps_1: mov $1, %eax\nu_steps_2: int $0x81\n"
	"u_sys: nop\nu_sys_1: syscall\nu_after: nop\nu_end: int $0x81\n.popsection\n"
	"sys_step: mov $0x66, %eax\nsys_step_1: sysretq\n");
extern char u_steps_1[], u_steps_2[], u_sys_1[], sys_step[], sys_step_1[];

static void show(const char *name, const u64 *want, int n)
{
	bool ok = nsteps == n;

	for (int i = 0; i < n && ok; i++)
		ok = steps[i].rip == want[i];
	report(ok, name, "%d traps, want %d: %lx %lx %lx %lx; want %lx %lx %lx", nsteps, n, steps[0].rip, steps[1].rip,
		steps[2].rip, steps[3].rip, want[0],
	       n > 1 ? want[1] : 0, n > 2 ? want[2] : 0);
}

static void test_user(void)
{
	u64 a[] = {(u64)u_steps_1, (u64)u_steps_2};
	u64 masked[] = {(u64)u_sys_1, (u64)u_end};

	start_log();
	set_rf = false;
	user_run_flags(u_steps, 0, FL_1 | FL_TF, SEL_USER_CODE, user_stack_top - 64);
	show("single-step in CPL 3", a, 2);
	wrmsr(MSR_STAR, (u64)SEL_CODE << 32 | 0x1bull << 48);
	wrmsr(MSR_LSTAR, (u64)sys_step);
	wrmsr(MSR_FMASK, FL_TF | FL_IF);
	start_log();
	set_rf = false;
	user_run_flags(u_sys, 0, FL_1 | FL_TF, SEL_USER_CODE, user_stack_top - 64);
	/* SYSRET sets TF again: the trap comes after the next instruction, or (some processors) at once. */
	if (nsteps == 3 && steps[1].rip == (u64)u_after)
		report(steps[0].rip == (u64)u_sys_1 && steps[2].rip == (u64)u_end, "single-step over SYSCALL that masks TF",
			"%lx %lx %lx", steps[0].rip,
		       steps[1].rip, steps[2].rip);
	else
		show("single-step over SYSCALL that masks TF", masked, 2);
	dr_set(0, (u64)u_steps_1, 0, 0);
	start_log();
	user_run(u_steps, 0);
	show("instruction breakpoint in CPL 3", (u64[]){(u64)u_steps_1}, 1);
	dr_clear();
}

void metal_main(void)
{
	trap_handle(DB, on_db);
	idt[DB].ist = 2;
	test_steps();
	test_step_flags();
	test_registers();
	dr_clear();
	test_exec();
	test_data();
	test_user();
	trap_handle(DB, on_db);
	test_general_detect();
}
