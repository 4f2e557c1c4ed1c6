// SPDX-License-Identifier: MIT
//
// What the decoder says about effects, against the host processor: registers and flags read and written, undefined
// flags, and the memory operand's place, size and access. Each instruction is executed twice under the trap flag. The
// second time everything that it does not read according to the decoder is changed: the results must be the same, and
// nothing but what it writes according to the decoder may differ from what was there before.
// Usage: test_decode_effects [cases]
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "x86/decode.h"
#include "x86/mnemonic.h"

enum { CS_32 = 0x23, CS_64 = 0x33, SHOWN_MAX = 60, DATA_SIZE = 4096, DATA_AT = 2048, TAIL = 512 };
enum { ST_OFF = 32, XMM_OFF = 160, VEC_SIZE = 128 + 256 };
#define CODE ((uint8_t *)0x13570000)
#define DATA ((uint8_t *)0x24680000)

struct state {
	uint64_t gpr[X86_GPRS];
	uint64_t flags;
	uint8_t vec[VEC_SIZE]; // ST and XMM, as FXSAVE stores them
	uint8_t mem[DATA_SIZE];
	int signal;
};

static const int reg_index[X86_GPRS] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8,
	REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };
static uint8_t *writable;
static uint8_t bytes[16];
static struct x86_insn insn;
static struct state in[2], out[2];
static int run;
static long wanted, done, faulted, wrong, shown;
static uint64_t seed = 88172645463325252;
static bool offered[X86_FEATURE_COUNT];
static bool started;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void fill_random(void *p, size_t n)
{
	uint8_t *b = p;

	for (; n >= 8; n -= 8, b += 8)
		memcpy(b, &(uint64_t){ random64() }, 8);
	while (n--)
		*b++ = random64();
}

static bool host_offers(const struct x86_cpuid_bit *b)
{
	unsigned r[4];

	return __get_cpuid_count(b->leaf, b->subleaf, &r[0], &r[1], &r[2], &r[3]) && (r[b->reg] >> b->bit & 1);
}

static void find_features(void)
{
	for (int f = 0; f < X86_FEATURE_COUNT; f++) {
		offered[f] = true;
		for (int i = 0; i < 3; i++)
			offered[f] &= !x86_feature_bits[f][i].leaf || host_offers(&x86_feature_bits[f][i]);
	}
}

/* Choosing an instruction. */

static bool can_run(void)
{
	const struct x86_mem *m = &insn.mem;

	switch (insn.class) {
	case X86_CLASS_PLAIN: case X86_CLASS_SSE: case X86_CLASS_AVX: case X86_CLASS_AVX512: case X86_CLASS_MMX:
	case X86_CLASS_X87: case X86_CLASS_MASKED:
		break;
	default:
		return false;
	}
	if (!offered[insn.feature])
		return false;
	if (!m->present)
		return insn.class == X86_CLASS_PLAIN || random64() % 4 == 0;
	return insn.mode == X86_MODE64 && m->base < X86_GPRS && m->base != m->index && !m->bitstring && m->seg < X86_FS;
}

static void choose(void)
{
	static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x67, 0x48, 0x41, 0x4f };
	int len;

	do {
		uint64_t r = random64(), *b = (uint64_t *)bytes;
		size_t n = 0;

		b[0] = random64(), b[1] = random64();
		while ((r & 3) == 0 && n < 3) {
			bytes[n++] = prefixes[(r >> 8) % sizeof(prefixes)];
			r = random64();
		}
		switch (r >> 16 & 15) {
		case 0: case 1: case 2: case 3: bytes[n++] = 0x0f; break;
		case 4: bytes[n++] = 0x0f; bytes[n++] = 0x38; break;
		case 5: bytes[n++] = 0x0f; bytes[n++] = 0x3a; break;
		case 6: bytes[n++] = 0xc4; bytes[n++] = (r >> 24 & 0xe0) | (1 + (r >> 32) % 3); break;
		case 7: bytes[n++] = 0x62; bytes[n++] = (r >> 24 & 0xf0) | (1 + (r >> 32) % 6); break;
		case 8: bytes[n++] = 0xc5; break;
		}
		len = x86_decode(&insn, bytes, 15, random64() % 4 ? X86_MODE64 : X86_MODE32);
	} while (len <= 0 || !can_run());
}

/* Preparing the two states. */

static uint64_t operand_address(const struct state *s)
{
	const struct x86_mem *m = &insn.mem;
	uint64_t a = m->disp + s->gpr[m->base] + (m->index < X86_GPRS && !m->vsib ? s->gpr[m->index] * m->scale : 0);

	return insn.addrsize == 4 ? (uint32_t)a : a;
}

static void aim_operand(struct state *s)
{
	const struct x86_mem *m = &insn.mem;

	if (!m->present)
		return;
	if (m->index < X86_GPRS)
		s->gpr[m->index] &= 0xffff;
	s->gpr[m->base] = 0;
	s->gpr[m->base] = (uintptr_t)DATA + DATA_AT - operand_address(s);
	if (insn.addrsize == 4)
		s->gpr[m->base] = (uint32_t)s->gpr[m->base] | random64() << 32;
}

static void prepare_first(struct state *s)
{
	for (int r = 0; r < X86_GPRS; r++)
		s->gpr[r] = random64() >> (random64() & 8 ? 0 : random64() % 64);
	if (insn.mode == X86_MODE32)
		for (int r = 0; r < X86_GPRS; r++)
			s->gpr[r] = r < X86_R8 ? (uint32_t)s->gpr[r] : 0;
	s->flags = random64() & RFLAGS_ARITH;
	fill_random(s->mem, DATA_SIZE);
	fill_random(s->vec, VEC_SIZE);
	aim_operand(s);
}

static void prepare_second(struct state *s, const struct state *first)
{
	unsigned flips = random64() & RFLAGS_ARITH & ~insn.flags_read;
	uint8_t *operand = s->mem + DATA_AT;

	*s = *first;
	s->flags ^= flips;
	for (int r = 0; r < X86_GPRS; r++)
		if (!(insn.gpr_read & BIT(r)) && (insn.mode == X86_MODE64 || r < X86_R8))
			s->gpr[r] = insn.mode == X86_MODE64 ? random64() : (uint32_t)random64();
	fill_random(s->mem + DATA_AT - TAIL, TAIL);
	fill_random(operand, TAIL);
	if (insn.mem.access & X86_READ)
		memcpy(operand, first->mem + DATA_AT, insn.mem.size);
}

/* Judging. */

static void complain(const char *what, uint64_t detail)
{
	static int seen[SHOWN_MAX];

	wrong++;
	for (int i = 0; i < shown; i++)
		if (seen[i] == insn.mnemonic)
			return;
	if (shown == SHOWN_MAX)
		return;
	seen[shown++] = insn.mnemonic;
	printf("%-28s %#lx mnemonic %d class %s mode %d:", what, detail, insn.mnemonic,
		x86_class_name(insn.class), insn.mode);
	for (int i = 0; i < insn.len; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

static void judge_written(int i)
{
	unsigned may = insn.flags_written | insn.flags_undefined;
	unsigned flags = (in[i].flags ^ out[i].flags) & RFLAGS_ARITH;
	size_t size = insn.mem.access & X86_WRITE ? insn.mem.size : 0;

	for (int r = 0; r < X86_GPRS; r++)
		if (in[i].gpr[r] != out[i].gpr[r] && !(insn.gpr_written & BIT(r)))
			complain("register written", r);
	if (flags & ~may)
		complain("flags written", flags & ~may);
	if (memcmp(in[i].mem, out[i].mem, DATA_AT))
		complain("memory written before", 0);
	if (memcmp(in[i].mem + DATA_AT + size, out[i].mem + DATA_AT + size, DATA_SIZE - DATA_AT - size))
		complain("memory written after", size);
}

// FNSAVE and FNSTENV leave reserved words, masked stores leave elements.
static bool writes_in_part(void)
{
	return insn.class == X86_CLASS_MASKED || insn.mnemonic == X86_MNEM_FNSAVE || insn.mnemonic == X86_MNEM_FNSTENV;
}

static void judge_same(void)
{
	unsigned flags = (out[0].flags ^ out[1].flags) & insn.flags_written & ~insn.flags_undefined & RFLAGS_ARITH;

	for (int r = 0; r < X86_GPRS; r++)
		if (out[0].gpr[r] != out[1].gpr[r] && (insn.gpr_written & BIT(r)))
			complain("register result differs", r);
	if (flags)
		complain("flag result differs", flags);
	if (memcmp(out[0].vec, out[1].vec, VEC_SIZE))
		complain("vector result differs", 0);
	if ((insn.mem.access & X86_WRITE) && !writes_in_part() &&
			memcmp(out[0].mem + DATA_AT, out[1].mem + DATA_AT, insn.mem.size))
		complain("memory result differs", insn.mem.size);
}

static void judge(void)
{
	if (out[0].signal != out[1].signal) {
		complain("faults differ", out[0].signal << 8 | out[1].signal);
		return;
	}
	if (out[0].signal != SIGTRAP) {
		faulted++;
		return;
	}
	judge_written(0);
	judge_written(1);
	judge_same();
}

/* The loop in the signal handler. */

static void load(ucontext_t *uc, const struct state *s)
{
	greg_t *g = uc->uc_mcontext.gregs;
	uint8_t *fx = (uint8_t *)uc->uc_mcontext.fpregs;

	for (int r = 0; r < X86_GPRS; r++)
		g[reg_index[r]] = s->gpr[r];
	g[REG_EFL] = s->flags | RFLAGS_FIXED1 | RFLAGS_TF | RFLAGS_IF;
	g[REG_RIP] = (uintptr_t)CODE;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | (insn.mode == X86_MODE64 ? CS_64 : CS_32);
	memcpy(fx + ST_OFF, s->vec, VEC_SIZE);
	fx[0] = 0x7f, fx[1] = 3;     // control word
	fx[2] = fx[3] = fx[4] = 0;   // status, empty tags
	memcpy(fx + 24, &(uint32_t){ 0x1f80 }, 4); // MXCSR
	memcpy(DATA, s->mem, DATA_SIZE);
	memcpy(writable, bytes, insn.len);
}

static void store(const ucontext_t *uc, struct state *s, int sig)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	for (int r = 0; r < X86_GPRS; r++)
		s->gpr[r] = g[reg_index[r]];
	s->flags = g[REG_EFL];
	memcpy(s->vec, (uint8_t *)uc->uc_mcontext.fpregs + ST_OFF, VEC_SIZE);
	for (int i = 0; i < 8; i++)
		memset(s->vec + 16 * i + 10, 0, 6);
	memcpy(s->mem, DATA, DATA_SIZE);
	s->signal = sig;
}

static void finish(void)
{
	printf("%ld cases, %ld faulted, %ld wrong\n", done, faulted, wrong);
	fflush(stdout);
	_exit(wrong != 0);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	if (started)
		store(context, &out[run], sig);
	if (started && run == 0) {
		run = 1;
	} else {
		if (started)
			judge();
		if (started && ++done == wanted)
			finish();
		started = true;
		run = 0;
		choose();
		prepare_first(&in[0]);
		prepare_second(&in[1], &in[0]);
	}
	load(context, &in[run]);
}

static void set_up(void)
{
	static const int signals[] = { SIGUSR1, SIGSEGV, SIGILL, SIGTRAP, SIGBUS, SIGFPE };
	int fd = memfd_create("code", 0);
	stack_t stack = { .ss_sp = malloc(1 << 20), .ss_size = 1 << 20 };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	if (fd < 0 || ftruncate(fd, PAGE_SIZE))
		exit(77);
	writable = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mmap(CODE, PAGE_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) != CODE)
		exit(77);
	if (mmap(DATA, DATA_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != DATA)
		exit(77);
	sigaltstack(&stack, NULL);
	sigfillset(&sa.sa_mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
}

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	wanted = argc > 1 ? atol(argv[1]) : 50000;
	find_features();
	child = fork();
	if (child == 0) {
		alarm(90);
		set_up();
		raise(SIGUSR1);
		_exit(1);
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		printf("the child died of signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
