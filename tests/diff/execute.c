// SPDX-License-Identifier: MIT
//
// Runs a case. The code lies at its fixed place with two landing pads and the pointers they jump through; a signal is
// noted by its handler, which then leaves through the fourth exit, so that the state at the fault is captured by the
// same stub. Nothing between entering and leaving a case may use thread-local storage: FS can be the test's.
#include <asm/prctl.h>
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/auxvec.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>
#include "difftest.h"

enum { LINUX_USER32_CS = 0x23, LANDING_SIZE = 16 };
#define LANDINGS (CODE_BASE + FORM_PAGES * PAGE_SIZE)

struct exchange exchange __attribute__((aligned(64)));
uint8_t template_scratch[SCRATCH_SIZE], template_stack[STACK_SIZE], template_readonly[READONLY_PAGES * PAGE_SIZE];
uint16_t user_cs, user_ss;
enum x86_mode code_mode = X86_MODE64;
unsigned int xsave_offset[8], xsave_size[8];
const char *current_row = "";
uint64_t compared_state = ~UINT64_C(0);

static struct outcome *current;
static uint64_t own_fs;
static bool have_fsgsbase;
static uint16_t own_cs;

unsigned long getauxval(unsigned long type); // <sys/auxv.h> takes names of x86/regs.h
void stub_enter(void);
void stub_hop32(void);
void stub_exit_fall_through(void);
void stub_exit_back(void);
void stub_exit_forward(void);
void stub_exit_signal(void);

static void raw_arch_prctl(long code, uint64_t value)
{
	long rc;

	__asm__ volatile("syscall" : "=a"(rc) : "0"(SYS_arch_prctl), "D"(code), "S"(value) : "rcx", "r11", "memory");
}

static void set_fs(uint64_t base)
{
	if (have_fsgsbase)
		__asm__ volatile("wrfsbase %0" : : "r"(base));
	else
		raw_arch_prctl(ARCH_SET_FS, base);
}

static void set_gs(uint64_t base)
{
	if (have_fsgsbase)
		__asm__ volatile("wrgsbase %0" : : "r"(base));
	else
		raw_arch_prctl(ARCH_SET_GS, base);
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *g = uc->uc_mcontext.gregs;

	if (!current) {
		static const char text[] = "difftest: a signal outside a case\n";

		if (write(2, text, sizeof(text) - 1))
			_exit(3);
		_exit(3);
	}
	current->signal = signal;
	current->code = info->si_code;
	current->address = (uintptr_t)info->si_addr;
	current->trap = g[REG_TRAPNO];
	current->error = g[REG_ERR];
	current->fault_rip = g[REG_RIP];
	current->fault_flags = g[REG_EFL];
	g[REG_EFL] &= ~(RFLAGS_TF | RFLAGS_AC | RFLAGS_NT);
	g[REG_RIP] = (greg_t)(uintptr_t)stub_exit_signal;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xffffll) | own_cs;
}

static void on_alarm(int signal)
{
	static const char text[] = "\ndifftest: stuck in ";

	if (write(2, text, sizeof(text) - 1) < 0 || write(2, current_row, strlen(current_row)) < 0 || write(2, "\n", 1) < 0)
		_exit(3);
	_exit(3);
}

static void map_fixed(uint64_t at, size_t size, int prot)
{
	void *p = mmap((void *)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != (void *)at) {
		perror("difftest: mmap");
		exit(2);
	}
}

static void setup_signals(void)
{
	static const int caught[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	stack_t stack = {.ss_size = 256 * 1024};

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&stack, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(caught); i++)
		sigaction(caught[i], &sa, NULL);
	sa = (struct sigaction){.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
	sigaction(SIGALRM, &sa, NULL);
}

static void setup_xsave(void)
{
	uint32_t lo, hi, a, b, c, d;

	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	exchange.xsave_mask = lo & compared_state & 0xe7;
	for (unsigned int i = 2; i < 8; i++) {
		if (!(exchange.xsave_mask & BIT(i)))
			continue;
		__cpuid_count(0xd, i, a, b, c, d);
		xsave_size[i] = a;
		xsave_offset[i] = b;
		if (a + b > XSAVE_SIZE) {
			fprintf(stderr, "difftest: XSAVE area too large\n");
			exit(2);
		}
	}
}

uint64_t execute_xsave_mask(void)
{
	return exchange.xsave_mask;
}

// Segment registers that a case may have loaded. 32-bit code cannot use null ones, whatever their base.
static void reset_segments(void)
{
	uint16_t data = is_code64() ? 0 : user_ss;

	__asm__ volatile("mov %0, %%ds; mov %0, %%es; mov %0, %%fs; mov %0, %%gs; mov %1, %%ss" : : "r"(data),
			 "r"(user_ss));
	set_fs(own_fs);
	set_gs(GS_TEST_BASE);
}

static void (*const exits[EXITS])(void) = {stub_exit_fall_through, stub_exit_back, stub_exit_forward, stub_exit_signal};

// 64-bit code below 4 GiB through which 32-bit code leaves.
static void write_landings(void)
{
	for (unsigned int i = 0; i < EXITS; i++) {
		uint8_t *p = (uint8_t *)LANDINGS + LANDING_SIZE * i;
		uint64_t target = (uintptr_t)exits[i];

		memcpy(p, "\xff\x25\0\0\0\0", 6);
		memcpy(p + 6, &target, 8);
	}
}

void execute_setup(void)
{
	__asm__("mov %%cs, %0" : "=r"(own_cs));
	__asm__("mov %%ss, %0" : "=r"(user_ss));
	user_cs = is_code64() ? own_cs : LINUX_USER32_CS;
	have_fsgsbase = getauxval(AT_HWCAP2) & 2;
	syscall(SYS_arch_prctl, ARCH_GET_FS, &own_fs);
	setup_signals();
	setup_xsave();
	map_fixed(CODE_BASE, CODE_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
	map_fixed(SCRATCH_BASE, SCRATCH_SIZE, PROT_READ | PROT_WRITE);
	map_fixed(STACK_BASE, STACK_SIZE, PROT_READ | PROT_WRITE);
	map_fixed(READONLY_BASE, READONLY_PAGES * PAGE_SIZE, PROT_READ | PROT_WRITE);
	fill_template();
	memcpy((void *)SCRATCH_BASE, template_scratch, SCRATCH_SIZE);
	memcpy((void *)STACK_BASE, template_stack, STACK_SIZE);
	memcpy((void *)READONLY_BASE, template_readonly, sizeof(template_readonly));
	mprotect((void *)READONLY_BASE, sizeof(template_readonly), PROT_READ);
	write_landings();
	reset_segments();
}

static void write_pad(uint8_t *code, unsigned int at, unsigned int exit)
{
	unsigned int pointer = SLOT_POINTERS + 8 * exit;
	uint64_t target = (uintptr_t)exits[exit];
	int32_t disp = pointer - (at + 6);

	if (!is_code64()) { // far jump to the landing in 64-bit code
		uint32_t landing = LANDINGS + LANDING_SIZE * exit;

		code[at] = 0xea;
		memcpy(code + at + 1, &landing, 4);
		memcpy(code + at + 5, &own_cs, 2);
		return;
	}
	code[at] = 0xff;
	code[at + 1] = 0x25;
	memcpy(code + at + 2, &disp, 4);
	memcpy(code + pointer, &target, 8);
}

static unsigned int sequence_end(const struct test_case *t)
{
	unsigned int last = t->insns - 1;

	return t->insn_at[last] + t->insn[last].len - t->slot;
}

void execute_place(const struct test_case *t)
{
	uint8_t code[SLOT_SIZE];

	memcpy(code, t->code, sizeof(code));
	write_pad(code, SLOT_BACK_PAD, EXIT_BACK);
	write_pad(code, SLOT_FORWARD_PAD, EXIT_FORWARD);
	write_pad(code, sequence_end(t), EXIT_FALL_THROUGH);
	memcpy((void *)t->slot, code, SLOT_POINTERS + 8 * EXITS);
}

void execute_case(const struct test_case *t, struct outcome *o)
{
	bool segments = t->insn[t->target].class == X86_CLASS_MOV_TO_SEG || t->insn[t->target].class == X86_CLASS_POP_SEG ||
			t->insn[t->target].class == X86_CLASS_LOAD_FAR_PTR;
	bool bases = t->insn[t->target].class == X86_CLASS_WRFSBASE || t->insn[t->target].class == X86_CLASS_WRGSBASE;

	memset(o, 0, sizeof(*o));
	memset(exchange.out.xsave, 0, sizeof(exchange.out.xsave));
	exchange.in = t->in;
	exchange.entry = is_code64() ? t->start : (uintptr_t)stub_hop32;
	exchange.far_offset = t->start;
	exchange.far_selector = user_cs;
	for (unsigned int i = 0; i < t->pokes; i++)
		memcpy((void *)t->poke[i].at, t->poke[i].bytes, t->poke[i].size);
	current = o;
	if (t->use_fs)
		set_fs(FS_TEST_BASE);
	stub_enter();
	if (t->use_fs && !segments && !bases)
		set_fs(own_fs);
	if (segments || bases)
		reset_segments();
	current = NULL;
	o->exit_id = exchange.exit_id & 0xffffffff;
	o->state = exchange.out;
}

static size_t collect_region(uint64_t base, const uint8_t *original, size_t size, struct dirty *dirty, size_t n,
			     size_t room)
{
	for (size_t page = 0; page < size; page += PAGE_SIZE) {
		uint64_t *now = (uint64_t *)(base + page);
		const uint64_t *then = (const uint64_t *)(original + page);

		if (!memcmp(now, then, PAGE_SIZE))
			continue;
		for (size_t i = 0; i < PAGE_SIZE / 8; i++) {
			if (now[i] == then[i])
				continue;
			if (n < room)
				dirty[n++] = (struct dirty){base + page + 8 * i, now[i]};
			now[i] = then[i];
		}
	}
	return n;
}

static void apply_masks(const struct test_case *t)
{
	for (unsigned int i = 0; i < t->masks; i++) {
		uint64_t at = t->masked_at[i], end = at + t->masked_size[i];

		for (; at < end; at++) {
			if (at >= SCRATCH_BASE && at < SCRATCH_BASE + SCRATCH_SIZE)
				*(uint8_t *)at = 0;
			else if (at >= STACK_BASE && at < STACK_BASE + STACK_SIZE)
				*(uint8_t *)at = 0;
		}
	}
}

size_t execute_collect(const struct test_case *t, struct dirty *dirty, size_t room)
{
	size_t n;

	if (!compare_fpu_pointers)
		apply_masks(t);
	n = collect_region(SCRATCH_BASE, template_scratch, SCRATCH_SIZE, dirty, 0, room);
	return collect_region(STACK_BASE, template_stack, STACK_SIZE, dirty, n, room);
}
