// SPDX-License-Identifier: MIT
//
// Instruction lengths and validity against the host processor, for 64-bit and compatibility mode. The bytes stand at
// the end of a page whose successor cannot be accessed: an instruction longer than the bytes given faults in its fetch
// at exactly that page. Each is executed under the trap flag, so at most one instruction runs, with registers that
// point to nowhere; what would enter the kernel or change segment bases is left out. The whole loop lives in the
// signal handler, in a child process.
// Usage: test_decode_host [cases]
#include <cpuid.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "../vendor.h"
#include "x86/decode.h"

enum { CS_32 = 0x23, CS_64 = 0x33, SHOWN_MAX = 40, TRAP_GP = 13, TRAP_PF = 14, PF_FETCH = 0x10 };
#define CODE ((uint8_t *)0x13570000)

enum outcome { RAN, UNDEFINED, FETCH_FAULT };
enum step { STEP_SHORT, STEP_WHOLE, STEP_INVALID }; // one byte less than the decoder says; as it says; 15 bytes

static uint8_t *writable; // the same page as CODE
static struct {
	enum x86_mode mode;
	uint8_t bytes[16];
	struct x86_insn insn;
	int len;
	enum step step;
} test;
static long wanted, done, valid, skipped, no_feature, longer, shorter, refused, accepted, shown;
static uint64_t seed = 88172645463325252;
static bool offered[X86_FEATURE_COUNT];
static enum x86_mode rules; // X86_AMD or none
static long ignored;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static bool host_offers(const struct x86_cpuid_bit *b)
{
	unsigned r[4];

	if (!__get_cpuid_count(b->leaf, b->subleaf, &r[0], &r[1], &r[2], &r[3]))
		return false;
	return r[b->reg] >> b->bit & 1;
}

static void find_features(void)
{
	for (int f = 0; f < X86_FEATURE_COUNT; f++) {
		offered[f] = true;
		for (int i = 0; i < 3; i++)
			if (x86_feature_bits[f][i].leaf && !host_offers(&x86_feature_bits[f][i]))
				offered[f] = false;
	}
}

// Classes that must not be executed here.
static bool is_unsafe(const struct x86_insn *x)
{
	switch (x->class) {
	case X86_CLASS_SYSCALL: case X86_CLASS_SYSENTER: case X86_CLASS_INT: case X86_CLASS_INT1: case X86_CLASS_INT3:
	case X86_CLASS_INTO: case X86_CLASS_IRET: case X86_CLASS_JMP_FAR: case X86_CLASS_CALL_FAR: case X86_CLASS_RET_FAR:
	case X86_CLASS_MOV_TO_SEG: case X86_CLASS_POP_SEG: case X86_CLASS_LOAD_FAR_PTR: case X86_CLASS_WRFSBASE:
	case X86_CLASS_WRGSBASE: case X86_CLASS_WRPKRU: case X86_CLASS_TSX: case X86_CLASS_AMX: case X86_CLASS_MWAIT:
	case X86_CLASS_MONITOR: case X86_CLASS_VMX: case X86_CLASS_SVM: case X86_CLASS_SGX: case X86_CLASS_CET:
	case X86_CLASS_UINTR: case X86_CLASS_KEYLOCKER: case X86_CLASS_GETSEC: case X86_CLASS_RSM: case X86_CLASS_SYSEXIT:
	case X86_CLASS_SYSRET: case X86_CLASS_OTHER_SYSTEM: case X86_CLASS_CLAC: case X86_CLASS_STAC: // #UD at CPL 3
		return true;
	default:
		return false;
	}
}

/* Choosing bytes: plainly random, or with a likely prefix and escape in front. */

static size_t put_start(uint8_t *b)
{
	static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0x67, 0x2e, 0x65, 0xf0, 0x48, 0x41, 0x44, 0x4f };
	uint64_t r = random64();
	size_t n = 0;

	while ((r & 3) == 0 && n < 4) {
		b[n++] = prefixes[(r >> 8) % sizeof(prefixes)];
		r = random64();
	}
	switch (r >> 4 & 15) {
	case 0: case 1: case 2: b[n++] = 0x0f; break;
	case 3: b[n++] = 0x0f; b[n++] = 0x38; break;
	case 4: b[n++] = 0x0f; b[n++] = 0x3a; break;
	case 5: b[n++] = 0xc5; b[n++] = r >> 16 | 0xc0; break;
	case 6: case 7:
		b[n++] = 0xc4;
		b[n++] = 0xc0 | (r >> 16 & 0x20) | (1 + (r >> 24) % 3);
		b[n++] = r >> 32 | (r >> 40 & 1) * 0x78;
		break;
	case 8: case 9: case 10:
		b[n++] = 0x62;
		b[n++] = 0xc0 | (r >> 16 & 0x30) | (1 + (r >> 24) % 6);
		b[n++] = r >> 32 | 4 | (r >> 40 & 1) * 0x78;
		b[n++] = (r >> 48 & 0x7f) | (r >> 56 & 1) * 0x80 | (r >> 57 & 1) * 8;
		break;
	default: break;
	}
	return n;
}

static void choose(void)
{
	do {
		uint64_t r[2] = { random64(), random64() };
		size_t n;

		memcpy(test.bytes, r, 16);
		n = put_start(test.bytes);
		if (random64() % 2) // small displacements and immediates
			memset(test.bytes + n + 3, 0, 16 - n - 3);
		test.mode = random64() % 3 ? X86_MODE64 : X86_MODE32;
		test.len = x86_decode(&test.insn, test.bytes, 15, test.mode | rules);
		if (test.len > 0 && (is_unsafe(&test.insn) || !offered[test.insn.feature])) {
			*(is_unsafe(&test.insn) ? &skipped : &no_feature) += 1;
			test.len = 0;
		}
	} while (test.len == 0);
	test.step = test.len < 0 ? STEP_INVALID : test.len == 1 ? STEP_WHOLE : STEP_SHORT;
}

static unsigned bytes_given(void)
{
	return test.step == STEP_INVALID ? 15 : test.step == STEP_WHOLE ? test.len : test.len - 1;
}

static void set_context(ucontext_t *uc)
{
	greg_t *g = uc->uc_mcontext.gregs;
	unsigned n = bytes_given();
	uint64_t nowhere = test.mode == X86_MODE64 ? 0x4141414141414141 : 0x41414141;
	static const int regs[] = { REG_RAX, REG_RBX, REG_RCX, REG_RDX, REG_RSI, REG_RDI, REG_RBP, REG_RSP, REG_R8, REG_R9,
		REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15 };

	memcpy(writable + PAGE_SIZE - n, test.bytes, n);
	for (size_t i = 0; i < ARRAY_SIZE(regs); i++)
		g[regs[i]] = nowhere;
	g[REG_RIP] = (greg_t)(uintptr_t)(CODE + PAGE_SIZE - n);
	g[REG_EFL] = RFLAGS_FIXED1 | RFLAGS_TF | RFLAGS_IF;
	g[REG_CSGSFS] = (g[REG_CSGSFS] & ~(greg_t)0xffff) | (test.mode == X86_MODE64 ? CS_64 : CS_32);
}

// Where the host means something else: an undefined instruction that is also too long is #GP first; in a virtual
// machine VMCALL belongs to the hypervisor, whatever its prefixes.
static bool is_known_acceptance(const ucontext_t *uc)
{
	const uint8_t *b = test.bytes + test.insn.opcode_off;

	return (uc->uc_mcontext.gregs[REG_TRAPNO] == TRAP_GP && test.insn.opcode_off + 8 >= 15) ||
		(b[-1] == 0x0f && b[0] == 0x01 && b[1] == 0xc1);
}

/*
 * AMD's processors do not look at some bits that the manuals want to have one value, and Intel's do look
 * (docs/FIDELITY.md): EVEX.R' and V' outside 64-bit code, EVEX.b and z where they mean nothing, the upper bits of the
 * number of a mask register, W of VPERMQ and VPERMPD. With these as they should be it must be an instruction.
 */
static bool is_insn_without(unsigned how)
{
	const struct x86_insn *x = &test.insn;
	struct x86_insn insn;
	uint8_t b[16];

	memcpy(b, test.bytes, sizeof(b));
	if (x->encoding == X86_ENC_EVEX) {
		uint8_t *p = b + x->opcode_off - 3;

		p[0] |= (how & 1 && test.mode == X86_MODE32 ? 0x10 : 0) | (how & 2 ? 0x90 : 0); // R'; R and R'
		p[2] |= (how & 1 && test.mode == X86_MODE32 ? 8 : 0) | (how & 4 ? 8 : 0);       // V'
		p[1] |= how & 4 ? 0x78 : 0;                                                     // vvvv
		p[2] &= (uint8_t)~((how & 8 ? 0x10 : 0) | (how & 16 ? 0x80 : 0));               // b; z
	} else if (x->encoding == X86_ENC_VEX && test.bytes[x->opcode_off - 3] == 0xc4) {
		uint8_t *p = b + x->opcode_off - 2;

		p[0] |= how & 2 ? 0xe0 : 0;
		p[1] |= (how & 4 ? 0x40 : 0) | (how & 8 && x->map == 3 && x->opcode < 2 ? 0x80 : 0);
	} else if (x->encoding == X86_ENC_VEX) {
		b[x->opcode_off - 1] |= how & 2 ? 0x80 : 0;
	} else {
		return false;
	}
	return x86_decode(&insn, b, 15, test.mode | rules) > 0;
}

// LOCK MOV CR0 is MOV CR8 to AMD's processors (not offered: cr8legacy), and VERW may have a LOCK.
static bool is_locked_by_amd(void)
{
	const uint8_t *b = test.bytes + test.insn.opcode_off;
	bool moves = b[0] == 0x20 || b[0] == 0x22, verw = b[0] == 0x00 && (b[1] >> 3 & 7) == 5;

	return test.insn.encoding == X86_ENC_LEGACY && test.insn.prefixes & X86_PFX_LOCK && test.insn.map == 1 &&
	       (moves || verw);
}

static bool is_accepted_by_amd(void)
{
	for (unsigned how = 1; how < 32; how++)
		if (is_insn_without(how))
			return true;
	return is_locked_by_amd();
}

static void show(const char *what)
{
	if (++shown > SHOWN_MAX)
		return;
	printf("%-9s mode %s len %d mnemonic %d feature %s class %s:", what,
		test.mode == X86_MODE64 ? "64" : "32", test.len, test.insn.mnemonic,
		x86_feature_name(test.insn.feature), x86_class_name(test.insn.class));
	for (int i = 0; i < 15; i++)
		printf(" %02x", test.bytes[i]);
	printf("\n");
}

static enum outcome outcome_of(int sig, const ucontext_t *uc)
{
	const greg_t *g = uc->uc_mcontext.gregs;

	if (sig == SIGILL || (test.step == STEP_INVALID && is_known_acceptance(uc)))
		return UNDEFINED;
	if (sig == SIGSEGV && g[REG_TRAPNO] == TRAP_PF && (g[REG_ERR] & PF_FETCH) &&
			g[REG_CR2] == (greg_t)(uintptr_t)(CODE + PAGE_SIZE) &&
			g[REG_RIP] == (greg_t)(uintptr_t)(CODE + PAGE_SIZE - bytes_given()))
		return FETCH_FAULT;
	return RAN;
}

static void count(long *counter, const char *what)
{
	++*counter;
	show(what);
}

// Judges one outcome; returns true when the next step of the same bytes is to be run.
static bool judge(enum outcome o)
{
	switch (test.step) {
	case STEP_INVALID:
		if (o == RAN && rules & X86_AMD && is_accepted_by_amd())
			ignored++;
		else if (o == RAN)
			count(&accepted, "accepted");
		return false;
	case STEP_SHORT:
		if (o == RAN) {
			count(&shorter, "shorter");
			return false;
		}
		test.step = STEP_WHOLE;
		return true;
	default:
		valid++;
		if (o == FETCH_FAULT)
			count(&longer, "longer");
		else if (o == UNDEFINED && test.insn.class != X86_CLASS_UD)
			count(&refused, "refused");
		return false;
	}
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	if (sig == SIGUSR1) {
		choose();
	} else if (!judge(outcome_of(sig, uc))) {
		if (++done == wanted) {
			printf("%ld cases, %ld valid, skipped: %ld unsafe, %ld without feature\n"
				"%ld are undefined, but accepted by AMD's processors in known ways\n"
				"host differs: %ld longer, %ld shorter, %ld refused, %ld accepted\n",
				done, valid, skipped, no_feature, ignored, longer, shorter, refused, accepted);
			fflush(stdout);
			_exit(longer || shorter || refused || accepted);
		}
		choose();
	}
	set_context(uc);
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
	if (mmap(CODE + PAGE_SIZE, PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
			MAP_FAILED)
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

	wanted = argc > 1 ? atol(argv[1]) : 200000;
	find_features();
	rules = processor_is_amd() ? X86_AMD : 0;
	child = fork();
	if (child == 0) {
		alarm(60);
		set_up();
		raise(SIGUSR1);
		_exit(1);
	}
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status))
		printf("the child died of signal %d\n", WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
