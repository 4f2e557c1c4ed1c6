// SPDX-License-Identifier: MIT
//
// Control transfers. A direct branch ends in an exit that is chained to its target when first taken: at once within a
// page; over pages of global (kernel) code, whose mapping is asked again at flushes; over other pages through a guard,
// which looks whether the present address space has the target where it was (footing.c). An indirect branch jumps
// through the table by a hash of its target, with the flags in the slot; the unit it arrives at compares the target
// with its own address.
//
// A loop must meet a poll: backward direct branches and all indirect entries look at vcpu.pending.
#include "bt/base.h"

uint32_t new_exit(struct trans *t, enum exit_kind kind, uint64_t pc)
{
	struct bt *b = t->b;
	uint64_t away = pc - t->t->pc;

	ASSERT(t->shared || b->nexits < (b->segment + 1) * EXITS_SEGMENT);
	b->exit[b->nexits] = (struct exit){
		.kind = kind & 15, .low = (uint32_t)away, .high = (int8_t)(int32_t)(away >> 32), .tu = t->tu_id & EXIT_TU,
		.left = (uint8_t)(t->n - 1 - t->i + (kind == EXIT_CAREFUL))};
	return b->nexits++;
}

void emit_mov_pc(struct trans *t, struct emit *e, unsigned dst, uint64_t pc)
{
	emit_mov_imm(e, dst, pc);
	move_note(t->b, t->t, (uint32_t)(e->p - 8 - t->b->tc_rw), 0);
}

// -- register prologue and epilogue: r9-r11 move into the places of registers the unit does not name
void emit_prologue(struct trans *t)
{
	for (unsigned r = HOMELESS_FIRST; r <= HOMELESS_LAST; r++) {
		if (t->victim_of[r] == X86_REG_NONE)
			continue;
		emit_store_state(&t->hot, 8, t->victim_of[r], VCPU_GPR + t->victim_of[r] * 8);
		emit_load_state(&t->hot, 8, t->victim_of[r], VCPU_GPR + r * 8);
	}
	for (unsigned i = 0; i < t->nwindows; i++)
		emit_store_state(&t->hot, 8, t->window[i].addend, VCPU_GPR + t->window[i].addend * 8);
}

static bool has_epilogue(const struct trans *t)
{
	return !t->home && (t->borrowed || t->nwindows || t->victim_of[X86_R9] != X86_REG_NONE ||
			    t->victim_of[X86_R10] != X86_REG_NONE || t->victim_of[X86_R11] != X86_REG_NONE);
}

void emit_epilogue(const struct trans *t, struct emit *e)
{
	spill_return(t, e);
	if (!has_epilogue(t))
		return;
	for (unsigned r = HOMELESS_FIRST; r <= HOMELESS_LAST; r++) {
		if (t->victim_of[r] == X86_REG_NONE)
			continue;
		if (t->written & BIT(r))
			emit_store_state(e, 8, t->victim_of[r], VCPU_GPR + r * 8);
		emit_load_state(e, 8, t->victim_of[r], VCPU_GPR + t->victim_of[r] * 8);
	}
	for (unsigned i = 0; i < t->nwindows; i++)
		emit_load_state(e, 8, t->window[i].addend, VCPU_GPR + t->window[i].addend * 8);
}

// To C: registers home, and the exit's record says where the flags are.
static void emit_leave(struct trans *t, struct emit *e, enum exit_kind kind, uint64_t pc)
{
	bool noted = emit_flags_to_leave(t, e);
	uint32_t id;

	emit_epilogue(t, e);
	id = new_exit(t, kind, pc);
	t->b->exit[id].flags_noted = noted;
	emit_call_state(e, SLOT_STUB_EXIT);
	emit_u32(e, id);
}

void emit_exit(struct trans *t, enum exit_kind kind, uint64_t pc)
{
	emit_leave(t, &t->hot, kind, pc);
	t->ended = true;
}

void emit_cold_exit(struct trans *t, enum exit_kind kind, uint64_t pc)
{
	emit_leave(t, &t->cold, kind, pc);
}

// Jump (how 4) or call (how 2) through the table of the mode, by T0.
void emit_table_branch(struct emit *e, uint32_t mode_id, unsigned how)
{
	struct emit_mem sum = {.base = HOST_T0, .index = HOST_T1, .scale = 1};
	struct emit_mem slot = {.base = X86_REG_NONE, .index = HOST_T1, .scale = 8,
		.disp = (int32_t)(BT_OFFSET + offsetof(struct bt, itab) + mode_id * sizeof(struct itab))};

	emit_rorx(e, 4, HOST_T1, HOST_T0, 16);
	emit_lea(e, 4, HOST_T1, sum);
	emit_movzwl(e, HOST_T1, HOST_T1);
	emit_gs(e);
	emit_op_mem(e, 4, 0xff, how, slot);
}

void emit_jump_table(struct trans *t, unsigned mode_id)
{
	emit_table_branch(&t->hot, mode_id, 4);
}

// Registers home, then to the address in T0. The arithmetic flags are noted there.
void emit_indirect(struct trans *t)
{
	emit_flags_noted(t, &t->hot, 0xffff);
	emit_epilogue(t, &t->hot);
	if (t->t->mode & (MODE_ONE | MODE_ALONE))
		emit_jmp_state(&t->hot, SLOT_STUB_IND);
	else
		emit_jump_table(t, tc_mode_id(t->b, t->t->mode));
	t->ended = true;
}

// A poll that leaves the flags alone: they cannot be made anew.
static void emit_flagless_poll(struct trans *t, uint32_t off, enum exit_kind kind, uint64_t pc)
{
	struct emit *e = &t->hot;
	uint8_t *none;

	emit_mov(e, 8, HOST_T1, X86_RCX);
	emit_load_state(e, 4, X86_RCX, off);
	none = emit_jrcxz(e);
	emit_patch32(emit_jmp32(e), e->delta, emit_here(&t->cold));
	emit_patch8(none, e);
	emit_mov(e, 8, X86_RCX, HOST_T1);
	emit_mov(&t->cold, 8, X86_RCX, HOST_T1);
	emit_leave(t, &t->cold, kind, pc);
}

void emit_poll(struct trans *t, struct emit *e, uint32_t off, enum exit_kind kind, uint64_t pc, bool live)
{
	bool keep = live && t->flags == FLAGS_HOST && !t->recipe.op;
	uint8_t *skip;

	if (live && t->flags == FLAGS_HOST && t->recipe.op)
		t->flags = FLAGS_RECIPE;
	if (keep && e == &t->hot) {
		emit_flagless_poll(t, off, kind, pc);
		return;
	}
	if (keep)
		emit_keep_flags(e);
	emit_cmp_state_imm8(e, 4, off, 0);
	skip = emit_jcc32(e, CC_E);
	if (keep)
		t->flags = FLAGS_SLOT;
	emit_leave(t, e, kind, pc);
	if (keep)
		t->flags = FLAGS_HOST;
	emit_patch32(skip, e->delta, emit_here(e));
	if (keep)
		emit_restore_flags(e);
}

// The same where nobody can see the host's flags, and the leaving aside.
void emit_cold_poll(struct trans *t, uint64_t pc)
{
	emit_cmp_state_imm8(&t->hot, 4, VCPU_PENDING, 0);
	emit_patch32(emit_jcc32(&t->hot, CC_NE), t->hot.delta, emit_here(&t->cold));
	emit_cold_exit(t, EXIT_POLL, pc);
}

void emit_poll_word(struct trans *t, uint32_t off, enum exit_kind kind, uint64_t pc)
{
	emit_poll(t, &t->hot, off, kind, pc, true);
}

// The exits made from number `from` on come after emit_uncount.
static void nothing_left(struct trans *t, uint32_t from)
{
	for (; from < t->b->nexits; from++)
		t->b->exit[from].left = 0;
}

// Flags as the target wants them, and a poll. In the host's all are well: the target's other entry takes them.
static void emit_for_target(struct trans *t, struct emit *e, uint64_t target, bool poll)
{
	struct fate f = fate_outside(t, target);
	enum flag_state wanted = flags_wanted(t, f);

	if (wanted == FLAGS_NOTED && (poll || t->recipe.op || t->flags != FLAGS_HOST)) {
		emit_flags_noted(t, e, f.lost);
		t->flags = t->flags == FLAGS_NONE ? FLAGS_NONE : FLAGS_NOTED;
	}
	if (wanted == FLAGS_NONE)
		t->flags = FLAGS_NONE;
	if (poll)
		emit_poll(t, e, VCPU_PENDING, EXIT_POLL, target, wanted == FLAGS_HOST);
	if (wanted == FLAGS_HOST) {
		emit_flags_home(t, e);
		t->flags = FLAGS_HOST;
	}
}

static void emit_unlinked(struct emit *e, uint32_t id)
{
	emit_call_state(e, SLOT_STUB_EXIT);
	emit_u32(e, id);
}

// Behind the number of a merged check that failed: on in a unit without them, from the present instruction.
void emit_apart_exit(struct trans *t)
{
	struct emit *e = &t->cold;
	struct exit *x;
	uint32_t id;
	uint8_t *at;
	bool noted;

	if (t->t->mode & MODE_ALONE)
		return;
	noted = emit_flags_to_leave(t, e);
	emit_epilogue(t, e);
	id = new_exit(t, EXIT_APART, insn_pc(t, t->i));
	x = &t->b->exit[id];
	x->left++;
	x->flags_noted = noted;
	if (!t->v->counts) {
		at = emit_jmp32(e);
		emit_patch32(at, e->delta, emit_here(e));
		x->place = (uint32_t)(at + e->delta - t->b->tc);
		x->unlinked = (uint32_t)(emit_here(e) - t->b->tc);
	}
	emit_unlinked(e, id);
}

// On the way to the target: a poll, and flags as it wants them. The exit that stands at the end.
static struct exit *emit_way_out(struct trans *t, struct emit *e, uint64_t target, bool poll)
{
	bool one = t->t->mode & (MODE_ONE | MODE_ALONE);
	uint32_t before = t->b->nexits, id;

	emit_uncount(t, e);
	if (one)
		t->flags = emit_flags_to_leave(t, e) ? FLAGS_NOTED : t->flags;
	else
		emit_for_target(t, e, target, poll);
	id = new_exit(t, one ? EXIT_NEXT : EXIT_DIRECT, target);
	t->b->exit[id].flags_noted = t->flags != FLAGS_HOST;
	nothing_left(t, before);
	return &t->b->exit[id];
}

static uint32_t number_of(const struct trans *t, const struct exit *x)
{
	return (uint32_t)(x - t->b->exit);
}

// The cold side of a direct branch: poll if backward, registers home, then a jump that will be chained, or the table.
// place is the hot branch's rel32; call: that has been done, but the jump.
struct exit *emit_branch_stub(struct trans *t, uint8_t *place, uint64_t target, bool call)
{
	struct emit *e = &t->cold;
	enum flag_state was = t->flags;
	const uint8_t *stub = emit_here(e);
	struct exit *x;

	emit_patch32(place, e->delta, stub);
	x = emit_way_out(t, e, target, !call && target <= insn_pc(t, t->i));
	if (x->kind == EXIT_DIRECT) {
		bool guarded = guards_in_place(t, target) && !call;
		bool straight = !has_epilogue(t) && emit_here(e) == stub && !guarded;
		uint8_t *at = place;

		if (!straight) {
			emit_epilogue(t, e);
			if (guarded) {
				emit_held(t, e);
				emit_bytes(e, (const uint8_t[]){0x74, 5}, 2); // je over the jump
				x->guard = GUARD_NEAR;
			}
			at = emit_jmp32(e);
			emit_patch32(at, e->delta, emit_here(e));
		}
		x->place = (uint32_t)(at + e->delta - t->b->tc);
		x->unlinked = (uint32_t)((straight ? stub : emit_here(e)) - t->b->tc);
	} else {
		emit_epilogue(t, e);
	}
	emit_unlinked(e, number_of(t, x));
	t->flags = was;
	return x;
}

// A call that will be chained; what it returns to is emitted next. If the guard fails the call is of what it leads to
// while it is not chained, and returns to the same place.
void emit_call_out(struct trans *t, uint64_t target)
{
	struct emit *e = &t->hot;
	bool guarded = guards_in_place(t, target);
	uint8_t *fails = NULL, *call;
	struct exit *x;

	if (guarded) {
		emit_held(t, e);
		fails = emit_jcc32(e, CC_E);
	}
	emit_u8(e, 0xe8);
	emit_u32(e, 0);
	call = e->p - 4;
	x = emit_branch_stub(t, call, target, true);
	if (!guarded)
		return;
	ASSERT(x->place == (uint32_t)(call - t->b->tc_rw));
	x->guard = GUARD_FAR;
	emit_patch32(fails, e->delta, emit_here(&t->cold));
	emit_u8(&t->cold, 0xe8);
	emit_u32(&t->cold, 0);
	emit_patch32(t->cold.p - 4, t->cold.delta, t->b->tc + x->unlinked);
	emit_patch32(emit_jmp32(&t->cold), t->cold.delta, emit_here(e));
}

// The unit ends here: all of it in the hot half, but what is left when it is not chained.
void emit_goto(struct trans *t, uint64_t target)
{
	struct emit *e = &t->hot;
	uint8_t *fails = NULL, *at;
	struct exit *x;

	t->ended = true;
	if (t->t->mode & (MODE_ONE | MODE_ALONE)) {
		emit_branch_stub(t, emit_jmp32(e), target, false);
		return;
	}
	x = emit_way_out(t, e, target, target <= insn_pc(t, t->i));
	emit_epilogue(t, e);
	if (guards_in_place(t, target)) {
		emit_held(t, e);
		fails = emit_jcc32(e, CC_E);
		x->guard = GUARD_FAR;
	}
	at = emit_jmp32(e);
	x->place = (uint32_t)(at - t->b->tc_rw);
	x->unlinked = (uint32_t)(emit_here(&t->cold) - t->b->tc);
	emit_patch32(at, e->delta, emit_here(&t->cold));
	if (fails)
		emit_patch32(fails, e->delta, emit_here(&t->cold));
	emit_unlinked(&t->cold, number_of(t, x));
}

// With 16-bit operands a branch wraps around within the first 64 KiB of its segment.
static uint32_t target_offset(const struct trans *t, unsigned i)
{
	uint32_t target = (uint32_t)(insn_pc(t, i) + t->insn[i].len + t->insn[i].imm) - hot_of(t->b, t->t)->cs_base;

	return t->insn[i].opsize == 2 ? (uint16_t)target : target;
}

uint64_t branch_target(const struct trans *t, unsigned i)
{
	if (t->code == X86_MODE64)
		return insn_pc(t, i) + t->insn[i].len + t->insn[i].imm;
	return (uint32_t)(hot_of(t->b, t->t)->cs_base + target_offset(t, i));
}

bool branch_is_far_off(const struct trans *t, const struct x86_insn *insn)
{
	unsigned i = (unsigned)(insn - t->insn);

	return t->t->mode & MODE_CS && (insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_JCC ||
					insn->class == X86_CLASS_LOOP || insn->class == X86_CLASS_CALL) &&
	       target_offset(t, i) > hot_of(t->b, t->t)->cs_limit;
}

void flow_jmp(struct trans *t, const struct x86_insn *insn)
{
	if (t->next[t->i] == NOWHERE)
		emit_goto(t, branch_target(t, t->i));
	else if (region_polls(t, t->i, t->next[t->i]))
		emit_poll(t, &t->hot, VCPU_PENDING, EXIT_POLL, insn_pc(t, t->next[t->i]),
			  t->in[t->next[t->i]].visible);
}

void flow_jcc(struct trans *t, const struct x86_insn *insn)
{
	emit_need_flags(t);
	if (t->target[t->i] != NOWHERE)
		label_branch(t, insn, t->target[t->i]);
	else
		emit_branch_stub(t, emit_jcc32(&t->hot, insn->cond), branch_target(t, t->i), false);
}

// Those that count in CX, which the host has not: ECX is CX for the moment, T0 what RCX will be.
static void flow_loop16(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned count = host_of(t, X86_RCX);
	uint8_t *over;

	ASSERT(count == X86_RCX);
	emit_movzwl(e, HOST_T1, count);
	if (insn->opcode != 0xe3)
		emit_lea(e, 4, HOST_T1, mem_base(HOST_T1, -1));
	emit_mov(e, 8, HOST_T0, count);
	emit_op_rr(e, 2, 0x89, HOST_T1, HOST_T0);
	emit_movzwl(e, X86_RCX, HOST_T1);
	if (insn->opcode != 0xe3)
		emit_lea(e, 4, X86_RCX, mem_base(X86_RCX, 1)); // to be counted down again
	emit_bytes(e, (const uint8_t[]){0x67, insn->opcode, 2, 0xeb, 8}, 5);
	emit_mov(e, 8, X86_RCX, HOST_T0); // taken
	over = emit_jmp32(e);
	emit_mov(e, 8, X86_RCX, HOST_T0); // not taken
	emit_branch_stub(t, over, branch_target(t, t->i), false);
}

// LOOPcc and JrCXZ run as they are, over a jump to the exit.
void flow_loop(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	if (insn->flags_read & RFLAGS_ARITH)
		emit_need_flags(t);
	if (insn->addrsize == 2) {
		flow_loop16(t, insn);
		return;
	}
	if (t->target[t->i] != NOWHERE) {
		label_branch(t, insn, t->target[t->i]);
		return;
	}
	if (insn->addrsize == 4)
		emit_u8(e, 0x67);
	emit_u8(e, insn->opcode);
	emit_u8(e, 2);
	emit_bytes(e, (const uint8_t[]){0xeb, 5}, 2); // jmp over the next
	emit_branch_stub(t, emit_jmp32(e), branch_target(t, t->i), false);
}
