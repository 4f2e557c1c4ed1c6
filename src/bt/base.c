// SPDX-License-Identifier: MIT
//
// Units of the base tier. Instructions that name only registers in their homes stand as they are; a direct branch is an
// exit of five bytes (a call of ROUTINE_EXIT, or a jump once it is linked), passed by a short branch if it is
// conditional, or leads to its target if that is in the unit; a call is a host call, behind which the unit goes on;
// everything else is a call of its thunk. In the mapped form operands in memory are no reason for one: an instruction
// stands here behind its zone check, if the unit's proofs do not have it.
#include "bt/base.h"
#include "bt/verbatim.h"

static bool names_homeless(const struct x86_insn *insn)
{
	return (insn->gpr_read | insn->gpr_written) & HOMELESS;
}

static bool relative(const struct x86_insn *insn)
{
	return insn->mem.present && insn->mem.base == X86_REG_RIP;
}

// Where calls are paired with returns, these come back into the unit.
bool base_goes_on(const struct trans *t, const struct x86_insn *insn)
{
	return t->t->tier == TIER_BASE && (insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_CALL_IND) &&
	       pairs_calls(t);
}

static bool is_fastcall(const struct x86_insn *insn)
{
	return insn->class >= X86_CLASS_SYSCALL && insn->class <= X86_CLASS_SYSEXIT;
}

// What base code has no form for is left to a hot unit.
bool base_can(const struct trans *t, const struct x86_insn *insn)
{
	if (relative(insn) && (insn->addrsize != 8 || insn->class == X86_CLASS_POP))
		return false;
	if (is_fastcall(insn) && sys_inline(t, insn))
		return false; // R11 has no home, a thunk does not know its address, and they are run often
	switch (insn->class) {
	case X86_CLASS_LOOP:
		return insn->addrsize == word(t);
	case X86_CLASS_CALL: case X86_CLASS_CALL_IND: case X86_CLASS_JMP_IND: case X86_CLASS_RET:
		return insn->opsize != 2 || t->code == X86_MODE64;
	default:
		return true;
	}
}

static bool is_lea(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY && insn->map == 0 && insn->opcode == 0x8d;
}

// Its bytes can stand as they are. (32-bit code has some that mean something else here.)
bool base_is_same(const struct x86_insn *insn)
{
	return insn->mode == X86_MODE64 && insn->class == X86_CLASS_PLAIN && insn->encoding == X86_ENC_LEGACY &&
	       !insn->mem.present && !insn->spare_nop && !names_homeless(insn) &&
	       !((insn->gpr_read | insn->gpr_written) & BIT(X86_RSP));
}

static void emit_same(struct trans *t, unsigned len, unsigned operand)
{
	const uint8_t *from = t->bytes + t->off[t->i];

	if (((uint64_t)from & PAGE_OFFSET) <= PAGE_SIZE - 16) { // in two moves; what is too much of it will be written over
		__builtin_memcpy(t->hot.p, from, 16);
		t->hot.p += len;
	} else {
		emit_bytes(&t->hot, from, len);
	}
	if (operand)
		note_operand(t, operand);
}

// Is there nothing in it that needs a thunk?
static bool is_simple(const struct trans *t, const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_PLAIN:
		return !insn->mem.present || (is_lea(insn) && insn->mem.base < X86_GPRS &&
					      insn->mem.seg < X86_FS && insn->addrsize == word(t));
	case X86_CLASS_X87: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX: case X86_CLASS_AVX512:
	case X86_CLASS_RDRAND: case X86_CLASS_FWAIT:
		return !insn->mem.present;
	case X86_CLASS_UD: case X86_CLASS_INVALID:
		return true;
	case X86_CLASS_STAC: case X86_CLASS_CLAC: case X86_CLASS_SYSCALL: case X86_CLASS_SYSRET:
	case X86_CLASS_SYSENTER: case X86_CLASS_SYSEXIT:
		return sys_inline(t, insn); // they depend on their address
	default:
		return false;
	}
}

// In the mapped form an instruction has its operand where it stands, behind a zone check: no thunk.
static bool stands_here(const struct trans *t, const struct x86_insn *insn)
{
	return !names_homeless(insn) && (is_simple(t, insn) || mapped_has_form(t, insn));
}

static uint32_t here(const struct trans *t)
{
	return (uint32_t)(t->hot.p - t->b->tc_rw);
}

static void note_insn(struct trans *t)
{
	struct base *s = &t->b->base;

	uint32_t last_host = t->i ? t->host[t->i - 1] : t->t->start;
	int last = t->i ? t->off[t->i - 1] : 0;

	ASSERT(here(t) - last_host <= UINT8_MAX);
	s->bmap[s->nmaps++] = (struct base_map){(uint8_t)(here(t) - last_host), (uint8_t)(t->off[t->i] - last)};
}

static void call_routine(struct trans *t, enum routine r, uint32_t argument)
{
	emit_call_shared(t->b, &t->hot, base_routine(t, r, argument));
}

static struct exit *exit_here(struct trans *t, enum exit_kind kind, uint64_t target)
{
	struct exit *x = &t->b->exit[new_exit(t, kind, target)];

	x->base = true;
	x->place = here(t);
	return x;
}

static bool polls(const struct trans *t, uint64_t target)
{
	return target <= insn_pc(t, t->i) && !(t->t->mode & MODE_ALONE);
}

static void emit_base_exit(struct trans *t, uint64_t target)
{
	struct exit *x = exit_here(t, t->t->mode & MODE_ALONE ? EXIT_NEXT : EXIT_DIRECT, target);

	x->unlinked = base_routine(t, ROUTINE_EXIT, 0);
	call_routine(t, ROUTINE_EXIT, 0);
}

// A loop of a few instructions is made anew in little time, and is likely to go on.
static enum loop_kind loop_kind(const struct trans *t, uint64_t target)
{
	enum { SHORT = 64 };

	if (insn_pc(t, t->i) - target <= SHORT)
		return LOOP_SHORT;
	return t->user ? LOOP_USER : LOOP_KERNEL;
}

static void emit_exit_polling(struct trans *t, uint64_t target)
{
	if (polls(t, target))
		call_routine(t, ROUTINE_POLL, loop_kind(t, target));
	emit_base_exit(t, target);
}

// -- branches within the unit -----------------------------------------------------------------------------------------

// The unit's instruction at the target, if a branch may go straight to it; else n.
static unsigned inside(const struct trans *t, uint64_t target)
{
	unsigned j = 0;

	if (t->t->mode & MODE_ALONE || t->b->sh->config.stress & (STRESS_NOCHAIN | STRESS_FLUSH | STRESS_IRQ))
		return t->n;
	while (j < t->n && insn_pc(t, j) != target)
		j++;
	return j <= t->i && t->t->mode & MODE_APART ? t->n : j; // TRICKS: long loops without merged checks
}

static void emit_jump(struct trans *t, unsigned j)
{
	int64_t back = (int64_t)t->host[j] - (here(t) + 2);

	if (back >= -128) {
		emit_u8(&t->hot, 0xeb);
		emit_u8(&t->hot, (uint8_t)back);
	} else {
		emit_patch32(emit_jmp32(&t->hot), t->hot.delta, t->b->tc + t->host[j]);
	}
}

// Backward: a poll, whose place has an exit so that C knows where it leads.
static void emit_loop(struct trans *t, unsigned j)
{
	call_routine(t, ROUTINE_POLL, loop_kind(t, insn_pc(t, j)));
	exit_here(t, EXIT_POLL, insn_pc(t, j));
	emit_jump(t, j);
}

static void note_forward(struct trans *t, unsigned j)
{
	ASSERT(t->nforward < TRACE_INSNS);
	t->forward[t->nforward].place = t->hot.p - (t->wide ? 4 : 1);
	t->forward[t->nforward++].to = (uint8_t)j;
}

static void emit_forward_jcc(struct trans *t, unsigned cc, unsigned j)
{
	if (t->wide) {
		emit_jcc32(&t->hot, cc);
	} else {
		emit_u8(&t->hot, 0x70 | cc);
		emit_u8(&t->hot, 0);
	}
	note_forward(t, j);
}

// The short branches that lead here. False: one cannot reach.
static bool land_forward(struct trans *t)
{
	for (unsigned k = 0; k < t->nforward; k++) {
		uint8_t *place = t->forward[k].place;

		if (t->forward[k].to != t->i)
			continue;
		if (t->wide)
			emit_patch32(place, t->hot.delta, emit_here(&t->hot));
		else if (t->hot.p - place - 1 > 127)
			return false;
		else
			*place = (uint8_t)(t->hot.p - place - 1);
	}
	return true;
}

static void base_jcc(struct trans *t, const struct x86_insn *insn)
{
	uint64_t target = branch_target(t, t->i);
	unsigned j = inside(t, target);
	uint8_t *over;

	if (j < t->n && j > t->i) {
		emit_forward_jcc(t, insn->cond, j);
		return;
	}
	emit_u8(&t->hot, 0x70 | (insn->cond ^ 1));
	emit_u8(&t->hot, 0);
	over = t->hot.p;
	if (j < t->n)
		emit_loop(t, j);
	else
		emit_exit_polling(t, target);
	over[-1] = (uint8_t)(t->hot.p - over);
}

static void base_loop(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	uint8_t *over;

	if (insn->addrsize == 4)
		emit_u8(e, 0x67);
	emit_bytes(e, (const uint8_t[]){insn->opcode, 2, 0xeb, 0}, 4); // jmp over the next
	over = e->p;
	emit_exit_polling(t, branch_target(t, t->i));
	over[-1] = (uint8_t)(e->p - over);
}

static void base_jmp(struct trans *t, const struct x86_insn *insn)
{
	uint64_t target = branch_target(t, t->i);
	unsigned j = inside(t, target);

	if (j <= t->i)
		emit_loop(t, j);
	else
		emit_exit_polling(t, target);
	t->ended = true;
}

// -- calls and returns: paired by the host's own, as in pair.c ------------------------------------------------------

// The guest's return address into T1: where a return lands, or for ROUTINE_CALL to read. Two bytes, then the address.
static void emit_return_address(struct trans *t, uint64_t ret, bool wide)
{
	emit_bytes(&t->hot, wide ? (const uint8_t[]){0x49, 0xbb} : (const uint8_t[]){0x41, 0xbb}, 2); // %r11
	if (!wide) {
		emit_u32(&t->hot, (uint32_t)ret);
		return;
	}
	emit_u64(&t->hot, ret);
	move_note(t->b, t->t, here(t) - 8, 0);
}

// Of a return address: is it too far for an immediate of 32 bits?
static bool is_wide(const struct trans *t, uint64_t ret)
{
	return t->code == X86_MODE64 && (int64_t)ret != (int32_t)ret;
}

// A return comes here, with its target in T0 and the flags noted, and goes on if the target is what follows.
static void emit_landing(struct trans *t)
{
	uint64_t ret = next_pc(t);
	bool wide = is_wide(t, ret);

	emit_return_address(t, ret, wide);
	exit_here(t, EXIT_LANDING, ret);
	call_routine(t, ROUTINE_LAND, wide | (t->code == X86_MODE32) << 1);
}

static void base_call(struct trans *t, const struct x86_insn *insn)
{
	uint64_t ret = next_pc(t);
	bool wide = is_wide(t, ret), lands = pairs_calls(t);
	struct exit *x;

	call_routine(t, ROUTINE_CALL, CALL_ARGUMENT(t->tlb, t->code == X86_MODE32, lands, wide));
	if (lands) {
		x = exit_here(t, EXIT_DIRECT, branch_target(t, t->i));
		x->calls = true;
		x->unlinked = base_routine(t, ROUTINE_EXIT_CALL, 0);
		call_routine(t, ROUTINE_EXIT_CALL, 0);
		emit_landing(t);
	} else {
		emit_base_exit(t, branch_target(t, t->i));
		emit_return_address(t, ret, wide);
		t->ended = true;
	}
}

// Its thunk has left the target in T0 and the flags noted.
static void leave_by_target(struct trans *t, const struct x86_insn *insn)
{
	uint32_t jump;

	if (t->t->mode & MODE_ALONE) // it has left
		return;
	jump = base_routine(t, ROUTINE_JUMP, tc_mode_id(t->b, t->t->mode));
	if (!pairs_calls(t) || insn->class == X86_CLASS_JMP_IND) {
		emit_jmp_shared(t->b, &t->hot, jump);
	} else if (insn->class == X86_CLASS_RET) {
		emit_u8(&t->hot, 0xc3);
	} else {
		emit_call_shared(t->b, &t->hot, jump);
		emit_landing(t);
	}
}

// -- the rest ---------------------------------------------------------------------------------------------------------

static bool is_indirect(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_RET || insn->class == X86_CLASS_JMP_IND || insn->class == X86_CLASS_CALL_IND;
}

static void base_thunk(struct trans *t, const struct x86_insn *insn)
{
	struct x86_insn plain = *insn;
	bool given;
	uint32_t thunk = thunk_of(t, insn, &given);

	plain.mem.seg = X86_DS; // the thunk adds the base
	if (is_indirect(insn))
		emit_note_branch(t, insn);
	if (given)
		emit_ea(t, &plain, 0);
	if (insn->class == X86_CLASS_CALL_IND)
		emit_mov_pc(t, &t->hot, HOST_T1, next_pc(t));
	emit_call_shared(t->b, &t->hot, thunk);
	if (is_indirect(insn))
		leave_by_target(t, insn);
	t->ended |= ends_unit(t, insn) && !base_goes_on(t, insn);
}

static void emit_insn(struct trans *t, const struct x86_insn *insn)
{
	if (base_is_same(insn)) {
		emit_same(t, insn->len, takes_operand(t, insn) ? insn->imm_size : 0);
		return;
	}
	switch (insn->class) {
	case X86_CLASS_JMP:
		base_jmp(t, insn);
		return;
	case X86_CLASS_JCC:
		base_jcc(t, insn);
		return;
	case X86_CLASS_LOOP:
		base_loop(t, insn);
		return;
	case X86_CLASS_CALL:
		base_call(t, insn);
		return;
	default:
		break;
	}
	if (insn->spare_nop) {
		mapped_prefetch(t, insn);
		return;
	}
	if (is_lea(insn) && relative(insn) && insn->opsize == 8 && !names_homeless(insn)) {
		emit_mov_pc(t, &t->hot, host_of(t, (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3),
			    next_pc(t) + (uint64_t)insn->mem.disp);
		return;
	}
	if (!stands_here(t, insn))
		base_thunk(t, insn);
	else
		treat(t, insn)->emit(t, insn);
}

// Instructions that branches of the unit lead to: no proof holds there.
static uint32_t find_heads(const struct trans *t)
{
	uint32_t heads = 0;

	for (unsigned i = 0; i < t->n; i++)
		if (t->insn[i].class == X86_CLASS_JCC || t->insn[i].class == X86_CLASS_JMP)
			for (unsigned j = 0; j < t->n; j++)
				heads |= insn_pc(t, j) == branch_target(t, i) ? BIT(j) : 0;
	return heads;
}

// What holds behind the present instruction. Behind what may have been C's, or another unit's, nothing.
static void note_proofs(struct trans *t)
{
	const struct x86_insn *insn = &t->insn[t->i];

	if (insn->class == X86_CLASS_JCC || stands_here(t, insn))
		mapped_after(t, insn);
	else
		mapped_drop_all(t);
}

static bool emit_all(struct trans *t)
{
	uint32_t heads = is_mapped(t) ? find_heads(t) : 0;
	bool takes = t->patched && !tu_straddles(t->t);

	mapped_drop_all(t);
	for (t->i = 0; t->i < t->n; t->i++) {
		t->ended = false; // a branch may lead here
		t->host[t->i] = here(t);
		if (!land_forward(t))
			return false;
		note_insn(t);
		if (t->verbatim[t->i].len) {
			emit_same(t, t->verbatim[t->i].len, takes ? t->verbatim[t->i].operand : 0);
			continue;
		}
		t->in[t->i] = t->out[t->i] = all_flags;
		if (t->i + 2 < t->n && t->insn[t->i + 2].mem.present)
			thunk_expect(t, t->i + 2);
		if (heads & BIT(t->i))
			mapped_drop_all(t);
		emit_insn(t, &t->insn[t->i]);
		if (is_mapped(t))
			note_proofs(t);
		if (!t->ended && t->flags != FLAGS_HOST)
			emit_need_flags(t);
	}
	if (!t->ended) {
		t->i = t->n - 1;
		emit_exit_polling(t, insn_pc(t, t->i) + t->insn[t->i].len);
	}
	return true;
}

// Are all flags written before anything else can be seen of those that it is entered with?
static bool overwrites_flags(const struct trans *t)
{
	uint16_t open = RFLAGS_ARITH;

	for (unsigned i = 0; i < t->n && open; i++) {
		const struct verbatim *s = &t->verbatim[i];
		const struct x86_insn *insn = &t->insn[i];

		if (s->len ? s->flags_read & open :
		    insn->flags_read & open || !base_is_same(insn) || insn_may_fault(insn))
			return false;
		open &= (uint16_t)~(s->len ? s->flags_set : flags_set(insn));
	}
	return !open;
}

void base_unit(struct trans *t)
{
	struct bt *b = t->b;
	struct emit hot = t->hot, cold = t->cold;

	for (unsigned r = 0; r < X86_GPRS; r++) {
		t->map[r] = (uint8_t)home_of(r);
		t->victim_of[r] = X86_REG_NONE;
	}
	t->t->start = t->t->entry = here(t);
	t->flags = FLAGS_HOST;
	t->t->first_map = b->base.nmaps;
	if (!emit_all(t)) { // with wide branches
		t->hot = hot;
		t->cold = cold;
		t->wide = true;
		t->nforward = 0;
		t->flags = FLAGS_HOST;
		b->nexits = t->t->first_exit;
		b->nrelocs = t->t->first_reloc;
		b->base.nmaps = t->t->first_map;
		emit_all(t);
	}
	t->t->nmaps = (uint16_t)(b->base.nmaps - t->t->first_map);
	t->t->needs_flags = !overwrites_flags(t);
	t->t->code_size = (uint16_t)(here(t) - t->t->start);
}
