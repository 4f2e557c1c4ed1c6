// SPDX-License-Identifier: MIT
//
// Thunks: one guest instruction each, as a routine that base units call. It depends on the instruction's bytes and the
// mode and on nothing else, so one serves all units; an operand relative to RIP comes in T0 already. A thunk is made by
// the same functions as a hot unit, as if it were a unit of one instruction at address 0, but that checks are calls of
// ROUTINE_CHECK. Its exits know only what to do; where is in the return address (place.c).
#include "base/string.h"
#include "bt/base.h"

// -- what is known by its bytes ---------------------------------------------------------------------------------------

static unsigned key_hash(uint64_t lo, uint64_t hi, uint32_t mode)
{
	uint64_t h = (lo ^ hi * UINT64_C(0xff51afd7ed558ccd) ^ (uint64_t)mode << 32) * UINT64_C(0x9e3779b97f4a7c15);

	return h >> 47 & (THUNK_HASH - 1);
}

struct thunk_key *base_key(struct bt *b, uint64_t lo, uint64_t hi, uint32_t mode)
{
	for (unsigned i = key_hash(lo, hi, mode);; i = (i + 1) & (THUNK_HASH - 1)) {
		uint32_t *number = &b->base.key_hash[i];
		struct thunk_key *k;

		if (!*number) {
			ASSERT(b->base.nkeys < KEYS_MAX);
			*number = b->base.nkeys++;
			b->base.key[*number] = (struct thunk_key){.lo = lo, .hi = hi, .mode = mode};
		}
		k = &b->base.key[*number];
		if (k->lo == lo && k->hi == hi && k->mode == mode)
			return k;
	}
}

struct identity {
	uint64_t half[2];
};

// Its bytes and length; but for the address, if that is given: then what surrounds it, and how much that is.
static struct identity identity_of(const struct trans *t, unsigned i, bool given)
{
	const struct x86_insn *insn = &t->insn[i];
	const uint8_t *from = t->bytes + t->off[i];
	uint8_t bytes[16] = {0};
	struct identity id;

	if (given) {
		unsigned head = insn->modrm_off, rex = insn->opcode_off - 1u - (insn->map > 0) - (insn->map > 1);

		memcpy(bytes, from, head);
		if (insn->rex && insn->encoding == X86_ENC_LEGACY)
			bytes[rex] &= 0xfc; // X, B
		bytes[head] = insn->modrm & 0x38;
		memcpy(bytes + head + 1, from + insn->imm_off, insn->imm_size);
		bytes[15] = (uint8_t)(0x80 | head << 3 | insn->imm_size);
	} else {
		memcpy(bytes, from, insn->len);
		bytes[15] = insn->len;
	}
	memcpy(id.half, bytes, sizeof(bytes));
	return id;
}

// Is this the first time that the instruction is met?
static bool is_new(struct bt *b, struct identity id)
{
	uint64_t h = (id.half[0] ^ id.half[1] * UINT64_C(0xff51afd7ed558ccd)) * UINT64_C(0x9e3779b97f4a7c15) >> 44;
	bool seen = b->base.seen[h >> 6] >> (h & 63) & 1;

	b->base.seen[h >> 6] |= BIT64(h & 63);
	return !seen;
}

static bool address_can_be_given(const struct trans *t, const struct x86_insn *insn)
{
	const struct x86_mem *m = &insn->mem;

	return m->present && insn->addrsize == word_of(insn) && insn->encoding == X86_ENC_LEGACY && insn->has_modrm &&
	       !m->vsib && (home_of(m->base) < X86_GPRS || (insn->mode == X86_MODE32 && m->base == X86_REG_NONE)) &&
	       (m->index == X86_REG_NONE || home_of(m->index) < X86_GPRS) && insn->class != X86_CLASS_POP &&
	       !(insn->map == 0 && insn->opcode == 0x8d) && uses_homes(t, insn); // not LEA
}

// What C carries out finds the address by itself. Others get it if it is relative to RIP, or if the instruction is not
// met often enough to have a thunk with the address in it.
static bool gives_address(const struct trans *t, const struct x86_insn *insn)
{
	if (insn->mem.present && insn->mem.base == X86_REG_RIP)
		return uses_homes(t, insn);
	return address_can_be_given(t, insn) &&
	       (is_new(t->b, identity_of(t, t->i, false)) || t->b->base.nthunks > THUNKS_MAX / 8 * 7);
}

// -- checks -----------------------------------------------------------------------------------------------------------

void base_note_site(struct trans *t, const struct emit *e, unsigned access, unsigned size, unsigned seg)
{
	struct base *s = &t->b->base;
	uint32_t ra = (uint32_t)(e->p - t->b->tc_rw), *head = &s->site_hash[ra & (BASE_SITE_HASH - 1)];
	struct base_site *site = &s->site[s->nsites];

	ASSERT(s->nsites < BASE_SITES_MAX);
	*site = (struct base_site){.ra = ra, .next = *head, .on_stack = t->on_stack};
	for (unsigned r = 0; r < 3; r++)
		site->victim[r] = t->shared ? t->victim_of[HOMELESS_FIRST + r] : X86_REG_NONE;
	site->site = t->shared ? site_of(t, access, size, seg) :
		(struct site){.access = access & 3, .size = (uint16_t)size, .seg = seg & 7};
	*head = s->nsites++;
}

const struct base_site *base_site_at(const struct bt *b, uint32_t ra)
{
	uint32_t i = b->base.site_hash[ra & (BASE_SITE_HASH - 1)];

	while (b->base.site[i].ra != ra)
		i = b->base.site[i].next;
	ASSERT(i);
	return &b->base.site[i];
}

void base_check(struct trans *t, unsigned access, unsigned size, unsigned seg)
{
	uint32_t check = base_routine(t, ROUTINE_CHECK, CHECK_ARGUMENT(t->tlb, !!(access & X86_WRITE), size));

	emit_call_shared(t->b, &t->hot, check);
	base_note_site(t, &t->hot, access, size, seg);
}

// -- thunks -----------------------------------------------------------------------------------------------------------

// The thunk's instruction, which may raise a host exception, is about to be emitted.
void base_note_op(struct trans *t)
{
	struct base *s = &t->b->base;

	if (t->shared)
		s->thunk[s->nthunks - 1].flags = (uint8_t)t->flags & 7;
}

void base_note_saved_ax(struct trans *t)
{
	struct base *s = &t->b->base;

	if (t->shared)
		s->thunk[s->nthunks - 1].saved_ax = true;
}

const struct thunk *thunk_at(const struct bt *b, uint32_t at)
{
	uint32_t lo = 0, hi = b->base.nthunks;

	while (lo + 1 < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (b->base.thunk[mid].start <= at)
			lo = mid;
		else
			hi = mid;
	}
	return &b->base.thunk[lo];
}

// Back to the unit with the target in T0, which leaves by it. MODE_ALONE: to C.
static void emit_go(struct trans *m)
{
	emit_epilogue(m, &m->hot);
	emit_flags_noted(m, &m->hot, 0xffff);
	base_trust_stack(&m->hot, m->t->mode);
	if (m->t->mode & MODE_ALONE) {
		emit_lea(&m->hot, 8, X86_RSP, mem_base(X86_RSP, 8));
		emit_jmp_state(&m->hot, SLOT_STUB_IND);
	} else {
		emit_u8(&m->hot, 0xc3);
	}
	m->ended = true;
}

static void emit_ret(struct trans *m, const struct x86_insn *insn)
{
	emit_load(&m->hot, word(m), HOST_T0, emit_stack_operand(m, 0, word(m), X86_READ));
	emit_rsp_add(m, (int)word(m) + (insn->imm_size ? (uint16_t)insn->imm : 0));
	emit_go(m);
}

static void emit_target(struct trans *m, const struct x86_insn *insn)
{
	if (insn->mem.present)
		emit_load(&m->hot, word(m), HOST_T0, emit_operand(m, insn, X86_READ, word(m)));
	else
		emit_mov(&m->hot, word(m), HOST_T0, host_of(m, (insn->modrm & 7) | (insn->rex & 1) << 3));
}

static void emit_jmp_ind(struct trans *m, const struct x86_insn *insn)
{
	emit_target(m, insn);
	emit_go(m);
}

// The guest's return address comes in T1. Both it and the target wait on the host's stack.
static void emit_call_ind(struct trans *m, const struct x86_insn *insn)
{
	struct emit *e = &m->hot;

	emit_bytes(e, (const uint8_t[]){0x41, 0x53}, 2); // push %r11
	m->on_stack = 8;
	emit_target(m, insn);
	emit_bytes(e, (const uint8_t[]){0x41, 0x52}, 2); // push %r10
	m->on_stack = 16;
	emit_stack_ea(m, -(int)word(m));
	emit_check(m, X86_WRITE, word(m), X86_SS);
	emit_op_mem(e, 4, 0xff, 6, mem_base(X86_RSP, 8)); // push
	emit_host_pop_to_mem(m, word(m));
	emit_rsp_add(m, -(int)word(m));
	emit_bytes(e, (const uint8_t[]){0x41, 0x5a}, 2); // pop %r10
	emit_lea(e, 8, X86_RSP, mem_base(X86_RSP, 8));
	m->on_stack = 0;
	emit_go(m);
}

static void emit_instruction(struct trans *m, const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_RET:
		emit_ret(m, insn);
		return;
	case X86_CLASS_JMP_IND:
		emit_jmp_ind(m, insn);
		return;
	case X86_CLASS_CALL_IND:
		emit_call_ind(m, insn);
		return;
	default:
		treat(m, insn)->emit(m, insn);
	}
}

static void make(struct trans *m, const struct x86_insn *insn)
{
	struct base *s = &m->b->base;
	struct thunk *th = &s->thunk[s->nthunks++];

	*th = (struct thunk){.start = s->thunks};
	place_registers(m);
	for (unsigned r = 0; r < 3; r++)
		th->victim[r] = m->victim_of[HOMELESS_FIRST + r];
	emit_prologue(m);
	emit_instruction(m, insn);
	if (!m->ended) {
		emit_need_flags(m);
		emit_epilogue(m, &m->hot);
		emit_u8(&m->hot, 0xc3);
	}
	s->thunks = (uint32_t)(m->hot.p - m->b->tc_rw);
	s->cold = (uint32_t)(m->cold.p - m->b->tc_rw);
}

// One that stands as it is asks for nothing later; what is fetched for it is in vain. It has an operand in memory.
void thunk_expect(struct trans *t, unsigned i)
{
	const struct base *s = &t->b->base;
	const struct x86_mem *m = &t->insn[i].mem;
	struct identity id = identity_of(t, i, m->base == X86_REG_RIP);

	__builtin_prefetch(&s->key[s->key_hash[key_hash(id.half[0], id.half[1], t->t->mode & ~(uint32_t)MODE_APART)]]);
}

// TC offset of the thunk for the present instruction.
// *given: it expects the address of its operand in T0.
uint32_t thunk_of(struct trans *t, const struct x86_insn *insn, bool *given)
{
	struct bt *b = t->b;
	struct base *s = &b->base;
	struct identity id = identity_of(t, t->i, *given = gives_address(t, insn));
	uint32_t mode = t->t->mode & ~(uint32_t)MODE_APART;
	struct thunk_key *k = base_key(b, id.half[0], id.half[1], mode);
	struct tu unit = {.gfn2 = NO_FRAME, .mode = mode, .tier = TIER_BASE, .hot = t->t->hot};
	uint8_t map[X86_GPRS];
	uint32_t nexits = b->nexits, ninsns = b->ninsns;
	struct trans m;

	if (k->code)
		return k->code;
	memset(&m, 0, offsetof(struct trans, insn));
	m.v = t->v;
	m.b = b;
	m.t = &unit;
	m.map = map;
	m.code = t->code;
	m.user = t->user;
	m.tlb = t->tlb;
	m.shared = true;
	m.n = 1;
	m.insn[0] = *insn;
	m.given = *given;
	m.off[0] = 0;
	m.next[0] = m.target[0] = NOWHERE;
	m.in[0] = m.out[0] = all_flags;
	m.bytes = t->bytes + t->off[t->i];
	m.named = uses_homes(t, insn) ? insn->gpr_read | insn->gpr_written : 0;
	m.written = uses_homes(t, insn) ? insn->gpr_written : 0;
	m.flags = FLAGS_HOST;
	m.hot = (struct emit){b->tc_rw + s->thunks, b->tc_rw + s->thunks_end, b->delta, (uint64_t)t->v, 0, 0};
	m.cold = (struct emit){b->tc_rw + s->cold, b->tc_rw + s->cold_end, b->delta, (uint64_t)t->v, 0, 0};
	k->code = s->thunks;
	b->nexits = s->nexits; // of their own, which no unit takes with it
	b->ninsns = s->ninsns;
	make(&m, &m.insn[0]);
	s->nexits = b->nexits;
	s->ninsns = b->ninsns;
	b->nexits = nexits;
	b->ninsns = ninsns;
	return k->code;
}
