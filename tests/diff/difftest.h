// SPDX-License-Identifier: MIT
//
// The differential test: every instruction form the decoder knows is run with random operands, and everything it can
// change is captured and hashed. The program runs on the bare processor and inside a guest; the results must be equal.
// The code under test is 64-bit, or (--bits 32) 32-bit code in compatibility mode, entered by a far jump.
//   forms.c     which forms there are: sweeps all encodings through x86_decode
//   encode.c    one random encoding of a form
//   generate.c  a case: a few instructions, and the registers and memory they meet
//   special.c   what particular instructions need in registers and memory to be worth running
//   execute.c   runs a case at its fixed place and captures the outcome, signals included
//   digest.c    what of an outcome is compared
//   stub.S      the way in and out with all registers
#ifndef DIFFTEST_H
#define DIFFTEST_H

#include "x86/decode.h"

// The world of the tests: fixed addresses below 2 GiB, so that absolute and 32-bit addressing reach them.
#define CODE_BASE UINT64_C(0x10000000)
#define SCRATCH_BASE UINT64_C(0x20000000)
#define READONLY_BASE UINT64_C(0x20010000)
#define STACK_BASE UINT64_C(0x20020000)
#define FS_TEST_BASE UINT64_C(0x20000840)
#define GS_TEST_BASE UINT64_C(0x1fff8008)
#define WATCHDOG_SECONDS 120

enum {
	CODE_PAGES = 1024, FORM_PAGES = CODE_PAGES - 2, SCRATCH_PAGES = 4, STACK_PAGES = 4, READONLY_PAGES = 2,
	SCRATCH_SIZE = SCRATCH_PAGES * PAGE_SIZE, STACK_SIZE = STACK_PAGES * PAGE_SIZE,
	SLOT_SIZE = 512, // code of one case; two pages are a form's
	SLOT_BACK_PAD = 0x00, SLOT_START = 0x40, SLOT_FORWARD_PAD = 0xb0, SLOT_POINTERS = 0xe0,
	XSAVE_SIZE = 4096, MAX_INSNS = 6, MAX_POKES = 4, POKE_SIZE = 64,
	FORM_SHAPES = 12,
};

enum { EXIT_FALL_THROUGH, EXIT_BACK, EXIT_FORWARD, EXIT_SIGNAL, EXITS };

// An encoding without its registers: what chooses the form, and some bits that may be chosen freely.
struct shape {
	uint8_t encoding, map, opcode;
	uint8_t pp; // VEX, EVEX: pp; legacy: SHAPE_66, SHAPE_F3, SHAPE_F2
	uint8_t w, ll, b, masked, lock;
	uint8_t modrm;
};
enum { SHAPE_66 = 1, SHAPE_F3 = 2, SHAPE_F2 = 4 };

struct form_key {
	uint16_t mnemonic, feature, mem_size;
	uint8_t encoding, map, opcode, class, opsize, vl, fields, imm_size, rep, lock, mem, b, vsib;
};

enum policy { POLICY_RUN, POLICY_PRIVILEGED, POLICY_UNTESTED, POLICY_SYSTEM };

struct form {
	struct form_key key;
	enum policy policy;
	bool supported; // by this processor and its system
	bool has_modrm;
	uint8_t shapes;
	uint32_t seen;
	struct shape shape[FORM_SHAPES];
	char name[64];
};

struct forms {
	struct form *form;
	size_t count, room;
	uint32_t *hash;
};

void forms_collect(struct forms *forms);
void forms_key(struct form_key *key, const struct x86_insn *insn, const uint8_t *bytes);
enum policy forms_policy(const struct x86_insn *insn);

struct rng {
	uint64_t s;
};
uint64_t rng_next(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n);
bool rng_chance(struct rng *r, uint32_t percent);

struct poke {
	uint64_t at;
	uint8_t size;
	uint8_t bytes[POKE_SIZE];
};

// Everything a case starts from and everything it leaves: the layout is known to stub.S.
struct cpu_state {
	uint64_t gpr[X86_GPRS];
	uint64_t rflags;
	uint64_t unused[7];
	uint8_t xsave[XSAVE_SIZE] __attribute__((aligned(64)));
};

struct exchange {
	struct cpu_state in, out;
	uint64_t host_rsp, xsave_mask, entry, exit_id;
	uint32_t host_mxcsr, host_fcw;
	uint32_t far_offset, far_selector; // where the hop to 32-bit code goes
};

struct test_case {
	const struct form *form;
	unsigned int number;
	uint64_t slot; // address of the code
	uint64_t start;
	uint8_t code[SLOT_SIZE];
	struct x86_insn insn[MAX_INSNS];
	uint8_t bytes[MAX_INSNS][16];
	uint64_t insn_at[MAX_INSNS];
	unsigned int insns, target; // target: which of them is under test
	struct poke poke[MAX_POKES];
	unsigned int pokes;
	bool use_fs;
	bool has_ea;
	uint64_t ea;
	struct cpu_state in;
	// while generating
	uint16_t fixed; // registers whose value is decided
	uint16_t clobbered; // registers that an instruction before has changed
	uint16_t undefined; // flags that are undefined at the end
	uint16_t ever_undefined;
	uint64_t masked_at[4]; // bytes of memory not compared: FPU pointers and the like
	uint32_t masked_size[4];
	unsigned int masks;
};

struct outcome {
	struct cpu_state state;
	uint64_t exit_id;
	int32_t signal, code;
	uint64_t address, trap, error, fault_rip, fault_flags;
};

struct dirty { // a word of memory that differs from the template
	uint64_t at, value;
};

bool encode_form(struct rng *r, const struct form *form, const struct shape *shape, bool plain, uint8_t *bytes,
		 struct x86_insn *insn);
bool generate_case(struct test_case *t, const struct forms *forms, const struct form *form, unsigned int number);
void generate_vectors(struct rng *r, struct cpu_state *in, uint64_t mask);
uint64_t random_value(struct rng *r);
void random_bytes(struct rng *r, uint8_t *p, unsigned int n);
void fill_template(void);
bool special_setup(struct test_case *t, struct rng *r, struct x86_insn *insn, uint8_t *bytes, uint64_t at);
bool special_place(struct rng *r, const struct x86_insn *insn, uint64_t *ea);
void special_mask(struct test_case *t, const struct x86_insn *insn);
void add_poke(struct test_case *t, uint64_t at, const void *bytes, unsigned int n);
bool set_gpr(struct test_case *t, unsigned int reg, uint64_t value);
void random_operand(struct rng *r, uint8_t *p, unsigned int n);

void execute_setup(void);
void execute_place(const struct test_case *t);
void execute_case(const struct test_case *t, struct outcome *o);
// Compares memory with the template, restores it, and hands out what differed.
size_t execute_collect(const struct test_case *t, struct dirty *dirty, size_t room);
uint64_t execute_xsave_mask(void);
extern uint8_t template_scratch[SCRATCH_SIZE], template_stack[STACK_SIZE];
extern uint8_t template_readonly[READONLY_PAGES * PAGE_SIZE];
extern uint16_t user_cs, user_ss; // of the code under test
extern enum x86_mode code_mode; // with X86_AMD on such a processor

static inline bool is_code64(void)
{
	return (code_mode & X86_MODE_SIZE) == X86_MODE64;
}

extern unsigned int xsave_offset[8], xsave_size[8];
extern const char *current_row;

bool feature_offered(unsigned int feature);
bool feature_vectors_enabled(const struct form_key *key);

extern bool compare_fpu_pointers;
extern uint64_t case_seed; // another number, other cases
extern bool wild_branches; // also through pointers that are not canonical
extern uint64_t compared_state; // XCR0 bits that take part
uint64_t digest_case(const struct test_case *t, const struct outcome *o, const struct dirty *dirty, size_t n,
		     bool verbose);

#endif
