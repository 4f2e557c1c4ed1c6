/* SPDX-License-Identifier: MIT */
/*
 * In the role of a hostile guest: user code forms addresses of the monitor's zone (bits 47-44 equal 4) in every way
 * there is, and steps over its borders. What it meets must be what its own page tables say: a page fault with the exact
 * address, or its own page where it has mapped one there. Then the same for its own pages whose rights have just been
 * lowered. Meant for --memory=mapped --stress=hot; any machine must pass.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define ZONE 0x400000000000ull
#define ZONE_END 0x500000000000ull
#define MONITOR 0x411000000000ull /* something of it is there */
#define OWN 0x7f0000001000ull
enum { RW = PTE_P | PTE_W | PTE_U, ROUNDS = 3, PATTERN = 0x13572468, WRITTEN = 0x5aa55aa5 };

/* Each takes the address in RDI, reads there (into EAX) or writes WRITTEN there, and ends by INT 81h. */
#define U(name, code) "\n.globl " #name "\n" #name ": mov $0x5aa55aa5, %eax\n" code "\n int $0x81\n"
__asm__(".pushsection .user.text, \"ax\", @progbits\n"
	U(r_base, "mov (%rdi), %eax")
	U(r_disp8, "lea -0x70(%rdi), %rsi\n mov 0x70(%rsi), %eax")
	U(r_far_up, "mov $0x7ffffff0, %ecx\n sub %rcx, %rdi\n mov 0x7ffffff0(%rdi), %eax")
	U(r_far_down, "mov $0x7ffffff0, %ecx\n add %rcx, %rdi\n mov -0x7ffffff0(%rdi), %eax")
	U(r_index, "mov %rdi, %rcx\n mov $0x1234, %esi\n sub %rsi, %rcx\n mov (%rsi,%rcx), %eax")
	U(r_index8, "mov %rdi, %rcx\n and $7, %edi\n shr $3, %rcx\n mov (%rdi,%rcx,8), %eax")
	U(r_no_base, "mov %rdi, %rcx\n sub $0x100, %rcx\n shr $3, %rcx\n mov 0x100(,%rcx,8), %eax")
	U(r_wrap, "mov $-0x100000, %rsi\n sub %rsi, %rdi\n mov (%rdi,%rsi), %eax")
	U(r_halves, "mov %rdi, %rcx\n shr $1, %rcx\n mov (%rcx,%rcx), %eax")
	U(r_r13, "mov %rdi, %r13\n mov (%r13), %eax")
	U(r_r14_index, "mov %rdi, %r14\n xor %r15d, %r15d\n mov (%r14,%r15,4), %eax")
	U(r_twice, "mov 8(%rsp), %edx\n mov (%rdi), %eax\n mov (%rdi), %eax")
	U(r_copied, "mov %rsp, %rsi\n mov -8(%rsi), %ecx\n mov %rdi, %rsi\n mov (%rsi), %eax")
	U(r_lea, "lea 0x40(%rsp), %rsi\n mov (%rsi), %ecx\n lea (%rdi), %rsi\n mov (%rsi), %eax")
	U(r_cmov, "mov %rsp, %rsi\n mov (%rsi), %ecx\n cmp %eax, %eax\n cmove %rdi, %rsi\n mov (%rsi), %eax")
	U(r_xchg, "mov %rsp, %rsi\n mov (%rsi), %ecx\n xchg %rdi, %rsi\n mov (%rsi), %eax")
	U(r_fs, "mov $0xfff, %esi\n mov %fs:(%rsi), %eax")
	U(r_fs_only, "mov %fs:0xfff, %eax")
	U(r_stack, "mov %rdi, %rsp\n mov (%rsp), %eax")
	U(r_pop, "mov %rdi, %rsp\n pop %rax")
	U(r_pop_far, "lea -0x7000(%rdi), %rsp\n add $0x7000, %rsp\n pop %rax")
	U(r_leave, "mov %rdi, %rbp\n leave\n mov %rbp, %rax")
	U(r_push_mem, "push (%rdi)\n pop %rax")
	U(r_movzx, "movzwl (%rdi), %ecx\n movzwl 2(%rdi), %eax\n shl $16, %eax\n or %ecx, %eax")
	U(r_high, "mov (%rdi), %ah\n mov (%rdi), %eax")
	U(r_lods, "mov %rdi, %rsi\n lodsl")
	U(r_movs, "mov %rdi, %rsi\n lea -64(%rsp), %rdi\n mov $1, %ecx\n rep movsl\n mov -64(%rsp), %eax")
	U(r_cmps, "mov %rdi, %rsi\n lea -64(%rsp), %rdi\n mov $1, %ecx\n repe cmpsl\n mov -4(%rsi), %eax")
	U(r_scas, "mov $1, %ecx\n repne scasl\n mov -4(%rdi), %eax")
	U(r_bt, "mov %rdi, %rcx\n lea -0x1000(%rdi), %rdi\n mov $0x8000, %esi\n bt %rsi, (%rdi)\n mov (%rcx), %eax")
	U(r_sse, "movd (%rdi), %xmm0\n movd %xmm0, %eax")
	U(r_avx, "vmovd (%rdi), %xmm0\n vmovd %xmm0, %eax")
	U(r_gather, "vpcmpeqd %xmm1, %xmm1, %xmm1\n vpsrldq $12, %xmm1, %xmm1\n vpxor %xmm2, %xmm2, %xmm2\n"
		" vpgatherdd %xmm1, (%rdi,%xmm2,1), %xmm0\n vmovd %xmm0, %eax")
	U(r_mask, "vpcmpeqd %xmm1, %xmm1, %xmm1\n vpsrldq $12, %xmm1, %xmm1\n vpmaskmovd (%rdi), %xmm1, %xmm0\n"
		" vmovd %xmm0, %eax")
	U(r_x87, "fninit\n fildl (%rdi)\n fistpl -64(%rsp)\n mov -64(%rsp), %eax")
	U(r_loop, "lea -0x40(%rdi), %rsi\n mov $5, %ecx\n 1: lea -0x1000000(%rsp), %rdx\n add $0x10, %rsi\n dec %ecx\n"
		" jz 2f\n jmp 1b\n 2: mov -0x10(%rsi), %eax")
	U(n_mov, "mov $8, %ecx\n xor %esi, %esi\n mov %rdi, %rcx\n mov (%rsi,%rcx), %eax")
	U(n_cmov, "mov $8, %ecx\n xor %esi, %esi\n cmove %rdi, %rcx\n mov (%rsi,%rcx), %eax")
	U(n_xchg, "mov $8, %ecx\n xor %esi, %esi\n xchg %rdi, %rcx\n mov (%rsi,%rcx), %eax")
	U(n_shl, "mov %rdi, %rcx\n shr $32, %rcx\n mov %edi, %esi\n shl $32, %rcx\n mov (%rsi,%rcx), %eax")
	U(n_pop, "mov $8, %ecx\n xor %esi, %esi\n push %rdi\n pop %rcx\n mov (%rsi,%rcx), %eax")
	U(n_load, "mov $8, %ecx\n xor %esi, %esi\n push %rdi\n mov (%rsp), %rcx\n mov (%rsi,%rcx), %eax")
	U(n_loop, "mov $8, %ecx\n lea -64(%rsp), %rsi\n mov $2, %edx\n 1: mov (%rsi,%rcx), %eax\n mov %rdi, %rcx\n"
		" xor %esi, %esi\n dec %edx\n jnz 1b")
	U(n_join, "mov %rdi, %rcx\n xor %esi, %esi\n test %rsp, %rsp\n jnz 1f\n mov $8, %ecx\n 1: mov (%rsi,%rcx), %eax")
	U(n_skip, "mov %rdi, %rsi\n test %rsp, %rsp\n jnz 1f\n mov (%rsi), %ecx\n 1: mov (%rsi), %eax")
	U(n_add, "xor %esi, %esi\n mov $8, %ecx\n add %rdi, %rcx\n mov -8(%rsi,%rcx), %eax")
	U(c_base, "mov $8, %ecx\n 1: mov -8(%rdi,%rcx), %eax\n add $8, %rcx\n cmp $0x18, %rcx\n jne 1b")
	U(c_scale, "mov $2, %ecx\n 1: mov -16(%rdi,%rcx,8), %eax\n add $1, %ecx\n cmp $4, %ecx\n jne 1b")
	U(c_jump, "lea -64(%rsp), %rsi\n mov %rdi, %rcx\n sub %rsi, %rcx\n test %rsp, %rsp\n jnz 1f\n mov $8, %ecx\n"
		" 1: mov (%rsi,%rcx), %eax\n add $8, %rcx\n cmp $0x18, %rcx\n jb 1b")
	U(c_after, "xor %ecx, %ecx\n 1: mov -64(%rsp,%rcx), %eax\n add $8, %rcx\n cmp $0x10, %rcx\n jne 1b\n"
		" xor %esi, %esi\n mov %rdi, %rcx\n mov (%rsi,%rcx), %eax")
	U(c_inner, "lea -64(%rsp), %rsi\n mov $2, %edx\n 2: mov $8, %ecx\n 1: mov -8(%rsi,%rcx), %eax\n add $8, %rcx\n"
		" cmp $0x18, %rcx\n jne 1b\n mov %rdi, %rsi\n dec %edx\n jnz 2b")
	U(w_base, "mov %eax, (%rdi)")
	U(w_imm, "movl $0x5aa55aa5, (%rdi)")
	U(w_index, "mov %rdi, %rcx\n xor %esi, %esi\n mov %eax, (%rsi,%rcx)")
	U(w_lock, "mov %eax, %ecx\n 1: lock cmpxchg %ecx, (%rdi)\n jne 1b")
	U(w_xchg, "xchg %eax, (%rdi)")
	U(w_push, "movabs $0x5aa55aa55aa55aa5, %rax\n lea 8(%rdi), %rsp\n push %rax")
	U(w_pop_mem, "push %rax\n pop (%rdi)")
	U(w_stos, "mov $1, %ecx\n rep stosl")
	U(w_stos_down, "mov $1, %ecx\n std\n rep stosl\n cld")
	U(w_movs, "push %rax\n mov %rsp, %rsi\n movsl")
	U(w_sse, "movd %eax, %xmm0\n movd %xmm0, (%rdi)")
	U(w_mask, "vmovd %eax, %xmm0\n vpcmpeqd %xmm1, %xmm1, %xmm1\n vpsrldq $12, %xmm1, %xmm1\n"
		" vpmaskmovd %xmm0, %xmm1, (%rdi)")
	U(w_x87, "fninit\n push %rax\n fildl (%rsp)\n fistpl (%rdi)")
	U(w_nti, "movnti %eax, (%rdi)")
	U(x_call, "mov %rdi, %rsp\n lea 8(%rsp), %rsp\n call 1f\n 1:")
	U(x_call_mem, "call *(%rdi)")
	U(x_jmp_mem, "jmp *(%rdi)")
	U(x_jmp, "jmp *%rdi")
	U(x_ret, "mov %rdi, %rsp\n ret")
	U(x_fxsave, "fxsave (%rdi)")
	U(x_xsave, "mov $7, %eax\n xor %edx, %edx\n xsave (%rdi)")
	U(x_walk_up, "1: mov -0x10000(%rdi), %eax\n add $0x1000, %rdi\n jmp 1b")
	U(x_walk_down, "add $0x10000, %rdi\n 1: mov (%rdi), %eax\n sub $0x1000, %rdi\n jmp 1b")
	U(x_walk_rsp, "lea -0x7ff0(%rdi), %rsp\n 1: add $0x1000, %rsp\n mov (%rsp), %eax\n jmp 1b")
	U(x_steps_up, "mov %rdi, %rsp\n mov $0x20010, %ecx\n 1: add $0x7ff0, %rsp\n dec %ecx\n jnz 1b\n push %rax")
	U(x_steps_off, "mov %rdi, %rsp\n mov $0x20010, %ecx\n 1: lea 0x7ff0(%rsp), %rsp\n jmp 3f\n 2: push %rax\n"
		" 3: dec %ecx\n jnz 1b\n lea 2b(%rip), %rax\n jmp *%rax")
	U(x_prefetch, "mov %rdi, %rsi\n xor %ecx, %ecx\n prefetcht0 (%rsi)\n prefetchw 8(%rsi,%rcx,8)\n mov (%rsi), %eax")
	U(x_addr32, "mov %rdi, %rsi\n movl $0x400000, %esi\n addr32 mov (%esi), %eax")
	".popsection");

#define READS(_) _(r_base) _(r_disp8) _(r_far_up) _(r_far_down) _(r_index) _(r_index8) _(r_no_base) _(r_wrap) \
	_(r_halves) _(r_r13) _(r_r14_index) _(r_twice) _(r_copied) _(r_lea) _(r_cmov) _(r_xchg) _(r_stack) _(r_pop) \
	_(r_pop_far) _(r_leave) _(r_push_mem) _(r_movzx) _(r_high) _(r_lods) _(r_movs) _(r_cmps) _(r_scas) _(r_bt) \
	_(r_sse) _(r_avx) _(r_gather) _(r_mask) _(r_x87) _(r_loop) _(r_fs) _(r_fs_only) \
	_(n_mov) _(n_cmov) _(n_xchg) _(n_shl) _(n_pop) _(n_load) _(n_loop) _(n_join) _(n_skip) _(n_add) \
	_(c_base) _(c_scale) _(c_jump) _(c_after) _(c_inner)
#define WRITES(_) _(w_base) _(w_imm) _(w_index) _(w_lock) _(w_xchg) _(w_push) _(w_pop_mem) _(w_stos) _(w_stos_down) \
	_(w_movs) _(w_sse) _(w_mask) _(w_x87) _(w_nti)
#define OTHERS(_) _(x_call) _(x_call_mem) _(x_jmp_mem) _(x_jmp) _(x_ret) _(x_fxsave) _(x_xsave)
#define DECLARE(name) void name(void);
READS(DECLARE) WRITES(DECLARE) OTHERS(DECLARE)
void x_walk_up(void), x_walk_down(void), x_walk_rsp(void), x_steps_up(void), x_steps_off(void);
void x_prefetch(void);

struct form {
	const char *name;
	void (*fn)(void);
};
#define FORM(name) {#name, name},
static const struct form reads[] = {READS(FORM)}, writes[] = {WRITES(FORM)}, others[] = {OTHERS(FORM)};

static const u64 places[] = {
	ZONE, ZONE + 0x100000, 0x400100000000, 0x410100000000,
	0x410180001000, 0x4101801fff00, 0x410200000000, 0x411000000000,
	0x411001000000, 0x411003000000, 0x411005000000, 0x411005004000, 0x411006030000, 0x411008000000, 0x411040000000,
	0x411080000000, 0x480000000000, 0x480000001000, 0x480000100000, 0x480000400000, 0x4fff00000000, ZONE_END - 0x1000,
};

static u64 frame;

static int run(const struct form *f, u64 at)
{
	if ((u64)((s64)(at << 16) >> 16) == at)
		wrmsr(0xc0000100, at - 0xfff); /* FS base */
	return user_run(f->fn, at);
}

/* Not there: a page fault at that very address, whoever asks. */
static void expect_fault(const struct form *f, u64 at, bool write, unsigned *bad)
{
	int vector = run(f, at);
	u64 error = write ? 6 : 4;

	if (vector == PF && trap.cr2 == at && (trap.f.error & ~16ull) == error)
		return;
	if (!(*bad)++)
		print("  first: %s at %lx: vector %d, cr2 %lx, error %lx\n", f->name, at, vector, trap.cr2, trap.f.error);
}

static void expect_read(const struct form *f, u64 at, unsigned *bad)
{
	int vector = run(f, at);

	if (vector == NO_TRAP && (u32)trap.f.rax == PATTERN)
		return;
	if (!(*bad)++)
		print("  first: %s at %lx: vector %d, cr2 %lx, rax %lx\n", f->name, at, vector, trap.cr2, trap.f.rax);
}

static void expect_write(const struct form *f, u64 at, unsigned *bad)
{
	volatile u32 *word = (u32 *)(frame + (at & 4095));
	int vector;

	*word = PATTERN;
	vector = run(f, at);
	if (vector == NO_TRAP && *word == WRITTEN)
		return;
	if (!(*bad)++)
		print("  first: %s at %lx: vector %d, cr2 %lx, there %x\n", f->name, at, vector, trap.cr2, *word);
}

static void try_unmapped(void)
{
	unsigned bad = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned p = 0; p < ARRAY_SIZE(places); p++) {
			u64 at = places[p] + (p & 3 ? 64 * p : 0x100);

			for (unsigned i = 0; i < ARRAY_SIZE(reads); i++)
				expect_fault(&reads[i], at, false, &bad);
			for (unsigned i = 0; i < ARRAY_SIZE(writes); i++)
				expect_fault(&writes[i], at, true, &bad);
		}
	check_eq("unmapped addresses of the zone, by all forms", bad, 0);
	bad = 0;
	for (unsigned p = 0; p < ARRAY_SIZE(places); p++) {
		u64 at = places[p] + 0x100;

		expect_fault(&others[0], at, true, &bad);
		for (unsigned i = 1; i < ARRAY_SIZE(others); i++)
			expect_fault(&others[i], at, i >= 5, &bad);
	}
	check_eq("the same by jumps, calls, and images of registers", bad, 0);
}

static void try_own_pages(void)
{
	unsigned bad = 0;

	for (unsigned p = 0; p < ARRAY_SIZE(places); p++)
		page_map(places[p] & ~4095ull, frame | RW);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned p = 0; p < ARRAY_SIZE(places); p++) {
			u64 at = (places[p] & ~4095ull) + 0x800 + 64 * p;

			for (unsigned i = 0; i < 1024; i++)
				((u32 *)frame)[i] = PATTERN;
			for (unsigned i = 0; i < ARRAY_SIZE(reads); i++)
				if (reads[i].fn != r_stack || round) /* what a trap pushes is not there: it has its own stack */
					expect_read(&reads[i], at, &bad);
			for (unsigned i = 0; i < ARRAY_SIZE(writes); i++)
				expect_write(&writes[i], at, &bad);
		}
	check_eq("the guest's own pages at addresses of the zone", bad, 0);
	for (unsigned p = 0; p < ARRAY_SIZE(places); p++)
		page_map(places[p] & ~4095ull, 0);
}

/* Code that runs at an address of the zone, and loads relative to itself. */
static void try_code(void)
{
	static const u8 code[] = {0x8b, 0x05, 0xfa, 0x00, 0x00, 0x00, 0xcd, 0x81}; /* mov 0xfa(%rip), %eax; int $0x81 */
	unsigned bad = 0;

	memcpy((void *)frame, code, sizeof code);
	*(u32 *)(frame + 0x100) = PATTERN;
	for (unsigned p = 0; p < ARRAY_SIZE(places); p++) {
		u64 at = places[p] & ~4095ull;

		page_map(at, frame | RW);
		for (unsigned round = 0; round < ROUNDS; round++)
			if (user_run((void (*)(void))at, 0) != NO_TRAP || (u32)trap.f.rax != PATTERN)
				bad++;
		page_map(at, 0);
	}
	check_eq("code in the zone that reads its own data", bad, 0);
}

/* Over the borders: the guest's page on one side, nothing of its on the other. */
static void try_borders(void)
{
	static const struct form up = {"up", x_walk_up}, down = {"down", x_walk_down}, rsp = {"rsp", x_walk_rsp};
	unsigned bad = 0;

	page_map(ZONE - 0x1000, frame | RW);
	page_map(ZONE_END, frame | RW);
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 3; i++)
			if (run(&reads[0], ZONE - 1 - i) != PF || trap.cr2 != ZONE)
				bad++;
		if (run(&reads[0], ZONE_END - 2) != PF || trap.cr2 != ZONE_END - 2)
			bad++;
		if (run(&writes[0], ZONE - 2) != PF || trap.cr2 != ZONE)
			bad++;
		if (run(&up, ZONE - 0x1000 + 0x10000) != PF || trap.cr2 != ZONE)
			bad++;
		if (run(&down, ZONE_END - 0x10000) != PF || trap.cr2 != ZONE_END - 0x1000)
			bad++;
		if (run(&rsp, ZONE - 0x2000 + 0x7ff0) != PF || trap.cr2 != ZONE)
			bad++;
	}
	check_eq("accesses and walks over the zone's borders", bad, 0);
}

/* Steps of the stack pointer without an access, over the border and on to where the monitor is. */
static void try_steps(void)
{
	static const struct form forms[] = {FORM(x_steps_up) FORM(x_steps_off)};
	unsigned bad = 0;

	for (unsigned i = 0; i < 2; i++)
		bad += run(&forms[i], ZONE - 0x8000) != PF || trap.cr2 != ZONE - 0x8000 + 0x7ff0ull * 0x20010 - 8;
	check_eq("a stack pointer that steps far into the zone", bad, 0);
}

/* It touches nothing, and proves nothing. */
static void try_prefetch(void)
{
	static const struct form prefetch = {"prefetch", x_prefetch};
	unsigned bad = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		bad += run(&prefetch, MONITOR) != PF || trap.cr2 != MONITOR;
	check_eq("prefetch in the zone", bad, 0);
}

/* What is known of an address must not depend on a constant that is patched. */
static void try_patched(void)
{
	static const u8 code[] = {
		0x8b, 0x0f, 0x48, 0x81, 0xc7, 0, 0, 0, 0, 0x48, 0x81, 0xc7, 0, 0, 0, 0, 0x48, 0x81, 0xc7, 0, 0, 0, 0,
		0x48, 0x81, 0xc7, 0, 0, 0, 0, 0x8b, 0x07, 0xcd, 0x81}; /* mov (%rdi), %ecx; 4 add $x, %rdi; mov (%rdi), %eax */
	u64 page = page_alloc(), to = 0x400180001000;
	unsigned bad = 0;

	page_map(OWN, page | RW);
	memcpy((void *)page, code, sizeof code);
	for (unsigned n = 0; n < 400; n++) {
		u32 by = n < 399 ? n & 0xff : (u32)((to - (ZONE - 0x1000)) / 4);

		for (unsigned i = 0; i < 4; i++)
			*(volatile u32 *)(page + 5 + 7 * i) = by;
		if (n < 399)
			bad += user_run((void (*)(void))OWN, ZONE - 0x1000) != NO_TRAP;
		else
			bad += user_run((void (*)(void))OWN, ZONE - 0x1000) != PF || trap.cr2 != to;
	}
	check_eq("steps that are patched to be large", bad, 0);
}

/* Also those whose bits 63-32 alone, with the offset of the monitor's table added, are offsets of what else is there:
 * the guard page of its stack of calls, the state of the processor, the translation cache. */
static void try_not_canonical(void)
{
	static const u64 odd[] = {0x800000000000, 0x8000400100000000, 0x0001400100000000, 0xffff400100000000,
		0x7fff800000000000, 0xfffe7f0000001000, 0x00fff80000001000, 0x00ffffff00000000, 0x00fff00000000000,
		0xfb00000000000000, 0xfb00041000000000, 0x3b00000000001000, 0x3b00100000000000, 0x7b00000000000000};
	static const struct form stack = {"stack", r_pop};
	unsigned bad = 0;

	for (unsigned round = 0; round < ROUNDS; round++)
		for (unsigned p = 0; p < ARRAY_SIZE(odd); p++) {
			bad += run(&reads[0], odd[p]) != GP;
			bad += run(&writes[0], odd[p]) != GP;
			bad += run(&stack, odd[p]) != SS;
		}
	check_eq("addresses that are not canonical", bad, 0);
	bad = 0;
	for (unsigned round = 0; round < ROUNDS; round++)
		bad += run(&reads[0], 0xffff800000001000) != PF || run(&reads[0], 0xffffffffff600000) != PF;
	check_eq("addresses of the upper half", bad, 0);
}

/* --- pages whose rights have just been lowered --- */

static void by_invlpg(void) { invlpg(OWN); }
static void by_cr3(void) { write_cr3(read_cr3()); }

static void try_rights(const char *name, void (*flush)(void))
{
	u64 *e = page_entry(OWN, 1), other = page_alloc();
	unsigned bad = 0;

	*(u32 *)(other + 64) = WRITTEN + 7;
	for (unsigned round = 0; round < 10; round++) {
		*(u32 *)(frame + 64) = PATTERN;
		*e = frame | RW;
		flush();
		bad += run(&reads[0], OWN + 64) != NO_TRAP || (u32)trap.f.rax != PATTERN;
		bad += !(*e & PTE_A) || *e & PTE_D;
		bad += run(&writes[0], OWN + 64) != NO_TRAP || *(u32 *)(frame + 64) != WRITTEN || !(*e & PTE_D);
		*e = frame | PTE_P | PTE_U;
		flush();
		bad += run(&writes[0], OWN + 64) != PF || trap.cr2 != OWN + 64 || trap.f.error != 7;
		bad += run(&reads[0], OWN + 64) != NO_TRAP || (u32)trap.f.rax != WRITTEN;
		*e = frame | PTE_P | PTE_W;
		flush();
		bad += run(&reads[0], OWN + 64) != PF || trap.f.error != 5;
		*e = other | RW;
		flush();
		bad += run(&reads[0], OWN + 64) != NO_TRAP || (u32)trap.f.rax != WRITTEN + 7;
		*e = 0;
		flush();
		bad += run(&reads[0], OWN + 64) != PF || trap.f.error != 4;
	}
	check_eq(name, bad, 0);
}

void metal_main(void)
{
	frame = page_alloc();
	write_cr4(read_cr4() | CR4_OSXSAVE | CR4_OSFXSR);
	__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
	try_unmapped();
	try_own_pages();
	try_borders();
	try_steps();
	try_prefetch();
	try_patched();
	try_not_canonical();
	try_rights("rights lowered, INVLPG", by_invlpg);
	try_rights("rights lowered, MOV CR3", by_cr3);
	try_code();
	try_unmapped();
}
