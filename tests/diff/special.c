// SPDX-License-Identifier: MIT
//
// Instructions whose random operands would only ever fault, or run away, get the registers and memory they need:
// branches a landing pad, returns an address to return to, strings a short count, restores a valid image. One function
// a class; a class that is not listed needs nothing.
#include <string.h>
#include "difftest.h"
#include "x86/mnemonic.h"

bool wild_branches;

struct setup {
	struct test_case *t;
	struct rng *r;
	struct x86_insn *insn;
	uint8_t *bytes;
	uint64_t at;
};

static uint64_t draw_pad(struct setup *s)
{
	return s->t->slot + (rng_chance(s->r, 50) ? SLOT_BACK_PAD : SLOT_FORWARD_PAD);
}

static uint8_t rm_register(const struct x86_insn *insn)
{
	return (insn->modrm & 7) | (insn->rex & 1) << 3;
}

static uint8_t reg_register(const struct x86_insn *insn)
{
	return (insn->modrm >> 3 & 7) | (insn->rex & 4) << 1;
}

static bool is_register_form(const struct x86_insn *insn)
{
	return insn->has_modrm && !insn->mem.present;
}

// The source operand in rm, memory or register.
static bool give_rm(struct setup *s, uint64_t value, unsigned int n)
{
	if (is_register_form(s->insn))
		return set_gpr(s->t, rm_register(s->insn), value);
	add_poke(s->t, s->t->ea, &value, n);
	return true;
}

static uint16_t draw_selector(struct setup *s)
{
	const uint16_t selectors[] = {0, 3, user_ss, user_ss, user_cs};

	return selectors[rng_below(s->r, ARRAY_SIZE(selectors))];
}

static bool fix_stack(struct setup *s, bool faults)
{
	uint64_t rsp = STACK_BASE + 2 * PAGE_SIZE - 8 * ((int)rng_below(s->r, 80) - 8);

	if (s->t->clobbered & BIT(X86_RSP))
		return false;
	if (s->t->fixed & BIT(X86_RSP))
		return true;
	if (rng_chance(s->r, 15))
		rsp -= rng_below(s->r, 8);
	if (faults && rng_chance(s->r, 3))
		rsp = STACK_BASE + rng_below(s->r, 16);
	if (faults && rng_chance(s->r, 3))
		rsp = STACK_BASE + STACK_SIZE - rng_below(s->r, 16);
	if (faults && rng_chance(s->r, 2) && is_code64())
		rsp |= BIT64(50);
	return set_gpr(s->t, X86_RSP, rsp);
}

// A stack pointer; now and then one that faults.
static bool give_stack(struct setup *s)
{
	return fix_stack(s, true);
}

// For what is not atomic on processors: what was pushed or popped before the fault stays.
static bool sure_stack(struct setup *s)
{
	return fix_stack(s, false);
}

static void poke_stack(struct setup *s, unsigned int offset, uint64_t value, unsigned int n)
{
	add_poke(s->t, s->t->in.gpr[X86_RSP] + offset, &value, n);
}

static bool setup_branch(struct setup *s)
{
	int64_t disp = draw_pad(s) - (s->at + s->insn->len);

	if (!s->insn->imm_size)
		return true;
	memcpy(s->bytes + s->insn->imm_off, &disp, s->insn->imm_size);
	return x86_decode(s->insn, s->bytes, 15, code_mode) > 0;
}

static bool setup_loop(struct setup *s)
{
	uint64_t count = rng_below(s->r, 3);

	if (s->insn->addrsize == 4 && is_code64())
		count |= rng_next(s->r) << 32;
	return set_gpr(s->t, X86_RCX, count) && setup_branch(s);
}

static bool setup_call(struct setup *s)
{
	return give_stack(s) && setup_branch(s);
}

static bool setup_near16(struct setup *s) // where it leads nothing is mapped
{
	return !(s->insn->gpr_written & BIT(X86_RSP)) || give_stack(s);
}

static bool setup_jump_indirect(struct setup *s)
{
	return give_rm(s, draw_pad(s), 8);
}

static bool setup_call_indirect(struct setup *s)
{
	return give_stack(s) && give_rm(s, draw_pad(s), 8);
}

static bool setup_return(struct setup *s)
{
	if (!give_stack(s))
		return false;
	poke_stack(s, 0, draw_pad(s), 8);
	return true;
}

static bool setup_far_pointer(struct setup *s)
{
	bool direct = !s->insn->mem.present; // 9A and EA of 32-bit code
	unsigned int n = direct ? s->insn->opsize : s->insn->mem.size - 2;
	uint64_t pad = draw_pad(s);
	uint8_t pointer[16];

	if (direct) {
		memcpy(s->bytes + s->insn->imm_off, &pad, n);
		memcpy(s->bytes + s->insn->imm_off + n, &user_cs, 2);
		return x86_decode(s->insn, s->bytes, 15, code_mode) > 0 && fix_stack(s, false);
	}
	memcpy(pointer, &pad, 8);
	memcpy(pointer + n, &user_cs, 2);
	add_poke(s->t, s->t->ea, pointer, n + 2);
	return fix_stack(s, false); // a far call that faults has pushed CS on some processors
}

static bool setup_return_far(struct setup *s)
{
	unsigned int n = s->insn->opsize;

	if (!give_stack(s))
		return false;
	poke_stack(s, 0, draw_pad(s), n);
	poke_stack(s, n, user_cs, n);
	return true;
}

static uint64_t draw_flags(struct setup *s)
{
	return (rng_next(s->r) & ~(uint64_t)(RFLAGS_TF | RFLAGS_AC | RFLAGS_NT | RFLAGS_VM)) | RFLAGS_FIXED1;
}

static bool setup_iret(struct setup *s)
{
	unsigned int n = s->insn->opsize;
	uint64_t frame[5] = {draw_pad(s), user_cs, draw_flags(s) & 0x3fffff, STACK_BASE + 0x1800, user_ss};
	uint8_t bytes[40];

	if (!give_stack(s))
		return false;
	for (unsigned int i = 0; i < 5; i++)
		memcpy(bytes + i * n, &frame[i], n);
	add_poke(s->t, s->t->in.gpr[X86_RSP], bytes, 5 * n);
	return true;
}

static bool setup_popf(struct setup *s)
{
	if (!give_stack(s))
		return false;
	poke_stack(s, 0, draw_flags(s), 8);
	return true;
}

static bool setup_pop_segment(struct setup *s)
{
	if (!give_stack(s))
		return false;
	poke_stack(s, 0, (rng_next(s->r) & ~UINT64_C(0xffff)) | draw_selector(s), 8);
	return true;
}

static bool setup_selector(struct setup *s)
{
	return give_rm(s, (rng_next(s->r) & ~UINT64_C(0xffff)) | draw_selector(s), 2);
}

static bool setup_load_far(struct setup *s)
{
	uint16_t selector = draw_selector(s);

	add_poke(s->t, s->t->ea + s->insn->mem.size - 2, &selector, 2);
	return true;
}

static bool setup_frame(struct setup *s)
{
	return give_stack(s) && set_gpr(s->t, X86_RBP, STACK_BASE + 2 * PAGE_SIZE + 256 - 8 * rng_below(s->r, 64));
}

static bool setup_int(struct setup *s)
{
	if (s->bytes[s->insn->imm_off] == 0x80) // a system call
		s->bytes[s->insn->imm_off] = 0x81;
	return x86_decode(s->insn, s->bytes, 15, code_mode) > 0;
}

static bool setup_syscall(struct setup *s)
{
	return set_gpr(s->t, X86_RAX, 0x7fff0001); // no such call
}

static uint64_t segment_offset(struct setup *s, uint64_t at)
{
	if (s->insn->mem.seg == X86_FS) {
		s->t->use_fs = true;
		return at - FS_TEST_BASE;
	}
	return s->insn->mem.seg == X86_GS ? at - GS_TEST_BASE : at;
}

static uint64_t widen(struct setup *s, uint64_t v)
{
	return s->insn->addrsize == 4 && is_code64() ? (uint32_t)v | rng_next(s->r) << 32 : v;
}

static bool setup_xlat(struct setup *s)
{
	return set_gpr(s->t, X86_RBX, widen(s, segment_offset(s, SCRATCH_BASE + PAGE_SIZE + rng_below(s->r, PAGE_SIZE))));
}

static bool setup_maskmov(struct setup *s)
{
	uint64_t at = SCRATCH_BASE + 2 * PAGE_SIZE - rng_below(s->r, 64);

	if (s->insn->mem.present)
		return true;
	if (rng_chance(s->r, 5))
		at = READONLY_BASE;
	return set_gpr(s->t, X86_RDI, widen(s, segment_offset(s, at)));
}

static uint64_t draw_string_place(struct setup *s)
{
	uint32_t how = rng_below(s->r, 100);

	if (how < 4) // runs into nothing after a few
		return SCRATCH_BASE + SCRATCH_SIZE - 3 * s->insn->opsize;
	if (how < 8)
		return SCRATCH_BASE + rng_below(s->r, 3) * s->insn->opsize;
	if (how < 11)
		return READONLY_BASE + rng_below(s->r, 64);
	if (how < 45)
		return SCRATCH_BASE + 2 * PAGE_SIZE - rng_below(s->r, 40);
	return SCRATCH_BASE + PAGE_SIZE + 1024 + rng_below(s->r, 2048);
}

static bool setup_string(struct setup *s)
{
	uint64_t from = draw_string_place(s), to = draw_string_place(s);
	uint8_t run[POKE_SIZE];

	if (rng_chance(s->r, 20)) // overlapping
		to = from - 16 + rng_below(s->r, 32);
	if (rng_chance(s->r, 60)) {
		memset(run, rng_next(s->r), sizeof(run));
		add_poke(s->t, from, run, sizeof(run));
		add_poke(s->t, to, run, sizeof(run));
		if (rng_chance(s->r, 50))
			add_poke(s->t, to + rng_below(s->r, 32), &from, 1);
		if (rng_chance(s->r, 50) && !(s->t->clobbered & BIT(X86_RAX)))
			memcpy(&s->t->in.gpr[X86_RAX], run, 8);
	}
	s->t->in.rflags &= ~RFLAGS_DF;
	if (rng_chance(s->r, 40))
		s->t->in.rflags |= RFLAGS_DF;
	if ((s->insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE)) &&
	    !set_gpr(s->t, X86_RCX, widen(s, rng_chance(s->r, 12) ? 0 : rng_below(s->r, 20))))
		return false;
	return set_gpr(s->t, X86_RSI, widen(s, segment_offset(s, from))) && set_gpr(s->t, X86_RDI, widen(s, to));
}

// XSAVE and XRSTOR of what the test itself manages; the header of an image says what it holds.
static bool setup_xsave(struct setup *s)
{
	uint64_t header = rng_next(s->r) & execute_xsave_mask();

	if (rng_chance(s->r, 5))
		header |= BIT64(62);
	if ((s->insn->mem.access & X86_READ) && !(s->insn->mem.access & X86_WRITE))
		add_poke(s->t, s->t->ea + 512, &header, 8);
	return set_gpr(s->t, X86_RAX, rng_next(s->r) & execute_xsave_mask()) && set_gpr(s->t, X86_RDX, 0);
}

static bool setup_base(struct setup *s)
{
	return set_gpr(s->t, rm_register(s->insn), rng_chance(s->r, 80) ? rng_next(s->r) >> 17 : rng_next(s->r));
}

static bool setup_control_word(struct setup *s, bool is_mxcsr)
{
	uint64_t value = rng_next(s->r);

	if (is_mxcsr)
		value = (value & (rng_chance(s->r, 90) ? 0xffff : 0x1ffff)) | (rng_chance(s->r, 80) ? 0x1f80 : 0);
	else
		value |= rng_chance(s->r, 80) ? 0x7f : 0;
	add_poke(s->t, s->t->ea, &value, is_mxcsr ? 4 : 2);
	return true;
}

static bool setup_divide(struct setup *s)
{
	if (rng_chance(s->r, 30))
		return true;
	if (!set_gpr(s->t, X86_RDX, 0))
		return true;
	if (!(s->t->fixed & BIT(X86_RAX)))
		set_gpr(s->t, X86_RAX, rng_next(s->r) >> (8 + rng_below(s->r, 48)));
	return true;
}

static bool setup_compare_exchange(struct setup *s)
{
	const uint64_t *gpr = s->t->in.gpr;
	unsigned int n = s->insn->mem.size;

	if (!s->insn->mem.present || rng_chance(s->r, 50) || (s->t->clobbered & (BIT(X86_RAX) | BIT(X86_RDX))))
		return true;
	if (s->insn->opcode == 0xc7) {
		uint8_t pair[16];

		memcpy(pair, &gpr[X86_RAX], n / 2);
		memcpy(pair + n / 2, &gpr[X86_RDX], n / 2);
		add_poke(s->t, s->t->ea, pair, n);
	} else {
		add_poke(s->t, s->t->ea, &gpr[X86_RAX], n);
	}
	return true;
}

static bool setup_plain(struct setup *s)
{
	if (s->insn->mem.bitstring)
		return set_gpr(s->t, reg_register(s->insn), (uint64_t)rng_below(s->r, 4096) - 2048);
	switch (s->insn->mnemonic) {
	case X86_MNEM_DIV:
	case X86_MNEM_IDIV:
		return setup_divide(s);
	case X86_MNEM_CMPXCHG:
	case X86_MNEM_CMPXCHG8B:
	case X86_MNEM_CMPXCHG16B:
		return setup_compare_exchange(s);
	case X86_MNEM_MOVDIR64B:
		return set_gpr(s->t, reg_register(s->insn),
			       widen(s, SCRATCH_BASE + 64 * rng_below(s->r, 32) + rng_below(s->r, 10) / 9));
	case X86_MNEM_CLZERO:
		return set_gpr(s->t, X86_RAX, widen(s, SCRATCH_BASE + rng_below(s->r, 2048)));
	default:
		return true;
	}
}

static bool setup_float(struct setup *s)
{
	switch (s->insn->mnemonic) {
	case X86_MNEM_FLDCW:
	case X86_MNEM_FLDENV:
	case X86_MNEM_FRSTOR:
		return setup_control_word(s, false);
	case X86_MNEM_LDMXCSR:
	case X86_MNEM_VLDMXCSR:
		return setup_control_word(s, true);
	default:
		return true;
	}
}

static bool (*const setups[X86_CLASS_COUNT])(struct setup *) = {
	[X86_CLASS_PLAIN] = setup_plain, [X86_CLASS_X87] = setup_float, [X86_CLASS_SSE] = setup_float,
	[X86_CLASS_AVX] = setup_float, [X86_CLASS_MASKED] = setup_maskmov, [X86_CLASS_XSAVE] = setup_xsave,
	[X86_CLASS_OTHER_SYSTEM] = setup_plain,
	[X86_CLASS_JMP] = setup_branch, [X86_CLASS_JCC] = setup_branch, [X86_CLASS_LOOP] = setup_loop,
	[X86_CLASS_CALL] = setup_call, [X86_CLASS_JMP_IND] = setup_jump_indirect,
	[X86_CLASS_CALL_IND] = setup_call_indirect, [X86_CLASS_RET] = setup_return,
	[X86_CLASS_NEAR16] = setup_near16,
	[X86_CLASS_JMP_FAR] = setup_far_pointer, [X86_CLASS_CALL_FAR] = setup_far_pointer,
	[X86_CLASS_RET_FAR] = setup_return_far, [X86_CLASS_IRET] = setup_iret,
	[X86_CLASS_PUSH] = give_stack, [X86_CLASS_POP] = give_stack, [X86_CLASS_PUSHA] = sure_stack,
	[X86_CLASS_POPA] = sure_stack, [X86_CLASS_PUSHF] = give_stack,
	[X86_CLASS_POPF] = setup_popf, [X86_CLASS_ENTER] = setup_frame, [X86_CLASS_LEAVE] = setup_frame,
	[X86_CLASS_PUSH_SEG] = give_stack, [X86_CLASS_POP_SEG] = setup_pop_segment,
	[X86_CLASS_MOV_TO_SEG] = setup_selector, [X86_CLASS_LOAD_FAR_PTR] = setup_load_far,
	[X86_CLASS_LAR] = setup_selector, [X86_CLASS_LSL] = setup_selector, [X86_CLASS_VERR] = setup_selector,
	[X86_CLASS_VERW] = setup_selector, [X86_CLASS_INT] = setup_int, [X86_CLASS_SYSCALL] = setup_syscall,
	[X86_CLASS_XLAT] = setup_xlat, [X86_CLASS_STRING] = setup_string, [X86_CLASS_WRFSBASE] = setup_base,
	[X86_CLASS_WRGSBASE] = setup_base,
};

bool special_setup(struct test_case *t, struct rng *r, struct x86_insn *insn, uint8_t *bytes, uint64_t at)
{
	struct setup s = {t, r, insn, bytes, at};

	if (insn->class == X86_CLASS_RDFSBASE)
		t->use_fs = true;
	return !setups[insn->class] || setups[insn->class](&s);
}

// Images have their own place: FXRSTOR and XRSTOR need a valid one, saves room for it.
bool special_place(struct rng *r, const struct x86_insn *insn, uint64_t *ea)
{
	bool writes = insn->mem.access & X86_WRITE;

	if (!wild_branches && (insn->class == X86_CLASS_JMP_IND || insn->class == X86_CLASS_CALL_IND)) {
		*ea = SCRATCH_BASE + PAGE_SIZE + rng_below(r, 2 * PAGE_SIZE - 16); // where a target can be put
		return true;
	}
	if (insn->class != X86_CLASS_XSAVE && insn->class != X86_CLASS_FXSAVE)
		return false;
	*ea = writes ? SCRATCH_BASE + PAGE_SIZE + 64 * rng_below(r, 16) : SCRATCH_BASE + 3 * PAGE_SIZE;
	if (rng_chance(r, 8))
		*ea += rng_below(r, 64);
	return true;
}

// The FPU's instruction and data pointers in images that a case stores.
void special_mask(struct test_case *t, const struct x86_insn *insn)
{
	bool writes = insn->mem.present && (insn->mem.access & X86_WRITE);
	unsigned int offset = 0, size = 0;

	if (insn->class == X86_CLASS_FXSAVE || insn->class == X86_CLASS_XSAVE) {
		offset = 6;
		size = 18;
	} else if (insn->class == X86_CLASS_X87 && (insn->mem.size == 28 || insn->mem.size == 108)) {
		offset = 12;
		size = 16;
	} else if (insn->class == X86_CLASS_X87 && (insn->mem.size == 14 || insn->mem.size == 94)) {
		offset = 6;
		size = 8;
	}
	if (!writes || !size)
		return;
	t->masked_at[0] = t->ea + offset;
	t->masked_size[0] = size;
	t->masks = 1;
}
