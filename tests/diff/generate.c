// SPDX-License-Identifier: MIT
//
// A case is a pure function of its form's name and its number: one instruction under test, in odd cases among others
// that feed it and use what it leaves, at an address that follows from the name. Registers named by a memory operand
// get the values that make its address what was drawn: aligned or not, across pages, at the edge of nothing, read-only.
#include <string.h>
#include "difftest.h"
#include "x86/features.h"
#include "x86/mnemonic.h"

uint64_t case_seed;

enum { SEQUENCE_ROOM = SLOT_FORWARD_PAD - SLOT_START - 6 };

static uint64_t name_hash(const char *name)
{
	uint64_t h = UINT64_C(14695981039346656037);

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * UINT64_C(1099511628211);
	return h ^ h >> 29;
}

bool set_gpr(struct test_case *t, unsigned int reg, uint64_t value)
{
	if (!is_code64())
		value = (uint32_t)value;
	if ((t->clobbered & BIT(reg)) || ((t->fixed & BIT(reg)) && t->in.gpr[reg] != value))
		return false;
	t->in.gpr[reg] = value;
	t->fixed |= BIT(reg);
	return true;
}

static bool in_region(uint64_t at, uint64_t n, uint64_t base, uint64_t size)
{
	return at >= base && at + n <= base + size;
}

void add_poke(struct test_case *t, uint64_t at, const void *bytes, unsigned int n)
{
	struct poke *p = &t->poke[t->pokes];

	if (t->pokes == MAX_POKES || n > POKE_SIZE)
		return;
	if (!in_region(at, n, SCRATCH_BASE, SCRATCH_SIZE) && !in_region(at, n, STACK_BASE, STACK_SIZE))
		return;
	p->at = at;
	p->size = n;
	memcpy(p->bytes, bytes, n);
	t->pokes++;
}

static uint64_t ordinary_place(struct rng *r, const struct x86_insn *insn, unsigned int size)
{
	uint64_t at = SCRATCH_BASE + PAGE_SIZE + rng_below(r, PAGE_SIZE - 128);
	uint32_t how = rng_below(r, 100);
	unsigned int need = insn->class == X86_CLASS_SSE && size == 16 ? 80 : size >= 16 ? 65 : 45;

	if (how < need)
		return at & ~(uint64_t)(size >= 64 ? 63 : size >= 32 ? 31 : 15);
	if (how < need + 12 && size > 1) // across a page
		return SCRATCH_BASE + 2 * PAGE_SIZE - 1 - rng_below(r, size - 1);
	return at;
}

static uint64_t faulting_place(struct rng *r, unsigned int size)
{
	switch (rng_below(r, 6)) {
	case 0: return SCRATCH_BASE + SCRATCH_SIZE - rng_below(r, size);
	case 1: return SCRATCH_BASE - 1 - rng_below(r, size);
	case 2: return READONLY_BASE + rng_below(r, PAGE_SIZE);
	case 3: return READONLY_BASE + PAGE_SIZE - 1 - rng_below(r, size);
	case 4: return SCRATCH_BASE + SCRATCH_SIZE + rng_below(r, PAGE_SIZE);
	default: // not canonical
		return (is_code64() ? UINT64_C(0x8000123400000000) : 0xfffff000) + rng_below(r, PAGE_SIZE);
	}
}

// Stores that have changed something else when they fault, on processors at hand: VCVTPS2PH has flagged in MXCSR, MMX
// stores have set the x87 TOP to 0.
static bool leaves_traces(const struct x86_insn *insn)
{
	return insn->mnemonic == X86_MNEM_VCVTPS2PH || (insn->class == X86_CLASS_MMX && insn->mem.access & X86_WRITE);
}

static uint64_t draw_place(struct rng *r, const struct x86_insn *insn, bool target)
{
	unsigned int size = insn->mem.size ? insn->mem.size : 1;
	uint64_t ea;

	if (special_place(r, insn, &ea))
		return ea;
	if (insn->mem.vsib)
		return SCRATCH_BASE + PAGE_SIZE + 512 + rng_below(r, 2048);
	if (target && size <= (insn->class == X86_CLASS_X87 ? 8 : 64) && !leaves_traces(insn) && rng_chance(r, 9))
		return faulting_place(r, size);
	return ordinary_place(r, insn, size);
}

static uint64_t segment_base(struct test_case *t, const struct x86_insn *insn)
{
	if (insn->mem.seg == X86_FS) {
		t->use_fs = true;
		return FS_TEST_BASE;
	}
	return insn->mem.seg == X86_GS ? GS_TEST_BASE : 0;
}

static bool patch_disp(struct x86_insn *insn, uint8_t *bytes, int64_t disp)
{
	if (insn->disp_size == 2) {
		memcpy(bytes + insn->disp_off, &disp, 2);
	} else if (insn->disp_size == 4 && (disp == (int32_t)disp || insn->addrsize == 4)) {
		int32_t d = disp;

		memcpy(bytes + insn->disp_off, &d, 4);
	} else if (insn->disp_size == 8) {
		memcpy(bytes + insn->disp_off, &disp, 8);
	} else {
		return false;
	}
	return x86_decode(insn, bytes, 15, code_mode) > 0;
}

static bool is_known(const struct test_case *t, unsigned int reg)
{
	return (t->fixed & BIT(reg)) && !(t->clobbered & BIT(reg));
}

// index * scale, with a value drawn for the index if it has none yet; small when the displacement must make up for it.
static bool draw_index(struct test_case *t, struct rng *r, const struct x86_insn *insn, bool small, uint64_t *product)
{
	uint8_t index = insn->mem.index;

	*product = 0;
	if (index == X86_REG_NONE || insn->mem.vsib)
		return true;
	if (!is_known(t, index)) {
		uint64_t v = small ? rng_below(r, 1 << 24) : random_value(r);

		if (small && insn->addrsize == 4 && is_code64())
			v |= rng_next(r) << 32;
		if (!set_gpr(t, index, v))
			return false;
	}
	if (insn->addrsize == 2) {
		*product = (uint16_t)t->in.gpr[index];
		return true;
	}
	*product = (insn->addrsize == 4 ? (uint32_t)t->in.gpr[index] : t->in.gpr[index]) * insn->mem.scale;
	return true;
}

static bool solve_base(struct test_case *t, struct rng *r, struct x86_insn *insn, uint8_t *bytes, uint64_t offset)
{
	uint8_t base = insn->mem.base;
	uint64_t value, product;

	if (base == insn->mem.index && !insn->mem.vsib) {
		value = is_known(t, base) ? t->in.gpr[base] : offset / (insn->mem.scale + 1u);
		if (insn->addrsize == 4)
			value = (uint32_t)value;
		return set_gpr(t, base, value) && patch_disp(insn, bytes, offset - value * (insn->mem.scale + 1u));
	}
	if (!draw_index(t, r, insn, is_known(t, base), &product))
		return false;
	if (is_known(t, base))
		return patch_disp(insn, bytes, offset - product - t->in.gpr[base]);
	if (insn->addrsize == 2)
		return set_gpr(t, base, (uint16_t)(offset - product - insn->mem.disp) | (rng_next(r) & 0xffff0000));
	value = offset - product - insn->mem.disp;
	if (insn->addrsize == 4)
		value = (uint32_t)value | (is_code64() ? rng_next(r) << 32 : 0);
	return set_gpr(t, base, value);
}

// Give the registers (or the displacement) the values that make the operand's address ea.
static bool solve_address(struct test_case *t, struct rng *r, struct x86_insn *insn, uint8_t *bytes, uint64_t at,
			  uint64_t ea)
{
	uint64_t offset = ea - segment_base(t, insn);
	uint64_t product;

	if (!is_code64())
		offset = (uint32_t)offset;
	if (insn->addrsize == 4 && (uint32_t)offset != offset)
		return false;
	if (insn->addrsize == 2 && (uint16_t)offset != offset)
		return false;
	if (insn->mem.base == X86_REG_RIP)
		return patch_disp(insn, bytes, offset - (at + insn->len));
	if (insn->mem.base != X86_REG_NONE)
		return solve_base(t, r, insn, bytes, offset);
	if (insn->mem.index == X86_REG_NONE)
		return patch_disp(insn, bytes, offset);
	return draw_index(t, r, insn, true, &product) && patch_disp(insn, bytes, offset - product);
}

static void fill_index_lanes(struct test_case *t, struct rng *r, const struct x86_insn *insn)
{
	bool wide = insn->opcode & 1; // gathers and scatters: odd opcodes have 64-bit indices
	unsigned int n = insn->mem.index;
	uint8_t lanes[64] = {0};

	for (unsigned int i = 0; i < 64; i += wide ? 8 : 4)
		lanes[i] = rng_below(r, 64);
	if (n < 16) {
		memcpy(t->in.xsave + 160 + 16 * n, lanes, 16);
		if (xsave_size[2])
			memcpy(t->in.xsave + xsave_offset[2] + 16 * n, lanes + 16, 16);
		if (xsave_size[6])
			memcpy(t->in.xsave + xsave_offset[6] + 32 * n, lanes + 32, 32);
	} else if (xsave_size[7]) {
		memcpy(t->in.xsave + xsave_offset[7] + 64 * (n - 16), lanes, 64);
	}
}

static bool setup_memory(struct test_case *t, struct rng *r, struct x86_insn *insn, uint8_t *bytes, uint64_t at,
			 bool target)
{
	uint8_t operand[POKE_SIZE];
	uint64_t ea;

	if (!insn->mem.present)
		return true;
	if (!is_code64() && insn->mem.seg == X86_CS && (leaves_traces(insn) || insn->class == X86_CLASS_X87))
		return false; // it would fault
	ea = draw_place(r, insn, target);
	if (!solve_address(t, r, insn, bytes, at, ea))
		return false;
	if (insn->mem.vsib)
		fill_index_lanes(t, r, insn);
	if (target && insn->class == X86_CLASS_X87 && !in_region(ea, insn->mem.size, SCRATCH_BASE, SCRATCH_SIZE))
		t->in.xsave[0] |= 0x3f; // an unmasked exception would keep the store from faulting
	if (target) {
		t->has_ea = true;
		t->ea = ea;
		random_operand(r, operand, sizeof(operand));
		if (insn->mem.size && insn->mem.size <= 64 && rng_chance(r, 70))
			add_poke(t, ea, operand, insn->mem.size);
	}
	return true;
}

// Flags: what is left undefined must not be read by what follows.
static bool take_flags(struct test_case *t, const struct x86_insn *insn)
{
	if (insn->flags_read & t->undefined)
		return false;
	t->undefined = (t->undefined & ~(insn->flags_written & ~insn->flags_read)) | insn->flags_undefined;
	t->ever_undefined |= insn->flags_undefined;
	return true;
}

static bool fits_around(const struct test_case *t, const struct x86_insn *insn)
{
	if (insn->mem.vsib || insn->mem.bitstring || insn->mem.size > 64 || insn->class == X86_CLASS_MASKED)
		return false;
	return !(insn->gpr_written & BIT(X86_RSP));
}

static bool try_add(struct test_case *t, struct rng *r, const struct form *form, bool target, bool plain)
{
	struct test_case saved = *t;
	unsigned int n = t->insns;
	uint64_t at = n ? t->insn_at[n - 1] + t->insn[n - 1].len : t->start;
	struct x86_insn *insn = &t->insn[n];
	uint8_t *bytes = t->bytes[n];

	if (!encode_form(r, form, &form->shape[rng_below(r, form->shapes)], plain, bytes, insn))
		return false;
	if (at + insn->len > t->slot + SLOT_START + SEQUENCE_ROOM + (t->start - t->slot - SLOT_START))
		goto fail;
	if (!target && !fits_around(t, insn))
		goto fail;
	if (!setup_memory(t, r, insn, bytes, at, target))
		goto fail;
	if (target && !special_setup(t, r, insn, bytes, at))
		goto fail;
	if (!take_flags(t, insn))
		goto fail;
	t->clobbered |= insn->gpr_written;
	memcpy(t->code + (at - t->slot), bytes, insn->len);
	t->insn_at[n] = at;
	if (target)
		t->target = n;
	t->insns++;
	return true;
fail:
	*t = saved;
	return false;
}

static bool add_instruction(struct test_case *t, struct rng *r, const struct form *form, bool target)
{
	for (int attempt = 0; attempt < (target ? 60 : 6); attempt++)
		if (try_add(t, r, form, target, target && attempt > 40))
			return true;
	return false;
}

// Neighbours come from a fixed set of features, so that processors that differ in others still see the same cases.
static bool is_neighbour(const struct form *f, uint8_t class)
{
	static const uint16_t features[] = {
		X86_FEATURE_NONE, X86_FEATURE_CMOV, X86_FEATURE_SSE, X86_FEATURE_SSE2, X86_FEATURE_SSE3, X86_FEATURE_SSSE3,
		X86_FEATURE_SSE4_1, X86_FEATURE_SSE4_2, X86_FEATURE_POPCNT, X86_FEATURE_MOVBE, X86_FEATURE_BMI1,
		X86_FEATURE_BMI2, X86_FEATURE_AVX, X86_FEATURE_AVX2, X86_FEATURE_FMA,
	};

	if (f->policy != POLICY_RUN || f->key.class != class || f->key.vsib || !feature_vectors_enabled(&f->key))
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++)
		if (features[i] == f->key.feature)
			return true;
	return false;
}

static void add_neighbours(struct test_case *t, struct rng *r, const struct forms *forms, unsigned int n)
{
	static const uint8_t classes[] = {X86_CLASS_PLAIN, X86_CLASS_PLAIN, X86_CLASS_PLAIN, X86_CLASS_SSE, X86_CLASS_AVX};

	while (n--) {
		uint8_t class = classes[rng_below(r, ARRAY_SIZE(classes))];

		for (int attempt = 0; attempt < 40; attempt++) {
			const struct form *f = &forms->form[rng_below(r, forms->count)];

			if (is_neighbour(f, class) && add_instruction(t, r, f, false))
				break;
		}
	}
}

static void place_slot(struct test_case *t, struct rng *r, uint64_t hash)
{
	uint64_t pages = CODE_BASE + hash % (FORM_PAGES / 2) * 2 * PAGE_SIZE;
	unsigned int index = t->number % 12;

	if (index < 7)
		t->slot = pages + index * SLOT_SIZE;
	else if (index == 7) // the code crosses a page
		t->slot = pages + PAGE_SIZE - SLOT_START - 1 - rng_below(r, 14);
	else
		t->slot = pages + PAGE_SIZE + (index - 7) * SLOT_SIZE;
	t->start = t->slot + SLOT_START;
}

static void draw_state(struct test_case *t, struct rng *r)
{
	for (int i = 0; i < X86_GPRS; i++)
		t->in.gpr[i] = is_code64() || i >= 8 ? random_value(r) : (uint32_t)random_value(r);
	t->in.gpr[X86_RSP] = STACK_BASE + 2 * PAGE_SIZE - 8 * rng_below(r, 64);
	t->in.rflags = RFLAGS_FIXED1 | RFLAGS_IF | (rng_next(r) & RFLAGS_ARITH);
	if (rng_chance(r, 15))
		t->in.rflags |= RFLAGS_DF;
	generate_vectors(r, &t->in, execute_xsave_mask());
}

static bool generate(struct test_case *t, const struct forms *forms, const struct form *form, unsigned int number,
		     bool among)
{
	uint64_t hash = name_hash(form->name);
	struct rng seed = {.s = hash ^ number ^ case_seed << 32}, r = {.s = rng_next(&seed)};

	memset(t, 0, sizeof(*t));
	memset(t->code, 0x90, sizeof(t->code));
	t->form = form;
	t->number = number;
	place_slot(t, &r, hash);
	draw_state(t, &r);
	if (among && !form->key.vsib)
		add_neighbours(t, &r, forms, rng_below(&r, 3));
	if (!add_instruction(t, &r, form, true))
		return false;
	if (among)
		add_neighbours(t, &r, forms, rng_below(&r, 4));
	special_mask(t, &t->insn[t->target]);
	return true;
}

// In company if possible: those before may have spoilt the registers or flags it needs.
bool generate_case(struct test_case *t, const struct forms *forms, const struct form *form, unsigned int number)
{
	bool among = (number & 1) && form->policy == POLICY_RUN;

	return (among && generate(t, forms, form, number, true)) || generate(t, forms, form, number, false);
}
