// SPDX-License-Identifier: MIT
//
// Where the guest's arithmetic flags are while a unit is emitted. The inline checks need the host's flags. If the
// guest's are there, and the instruction that produced them has a recipe (recipe.h), they are just given up: who reads
// them after all gets them by the operation carried out anew, and a fault by recipe_flags. Without a recipe they go to
// SLOT_FLAGS.
//
// A recipe is one of the present registers: before an instruction overwrites one of them, its value is noted, if
// anybody may still want the flags.
//
// Between units, and where several ways meet in one, flags are in the host's if they are sure to be read. If not,
// but somebody might see them, they are noted: SLOT_RECIPE has the recipe's number, or 0 with the flags in SLOT_FLAGS.
// Such a recipe names registers only where they are sure to stay as long as the flags are of interest.
#include "bt/trans.h"

// -- the slot: the five flags of lahf, and OF by seto. T1 is free here.
void emit_keep_flags(struct emit *e)
{
	emit_mov(e, 8, HOST_T1, X86_RAX);
	emit_u8(e, 0x9f);                                  // lahf
	emit_bytes(e, (const uint8_t[]){0x0f, 0x90, 0xc0}, 3); // seto %al
	emit_store_state(e, 2, X86_RAX, SLOT_FLAGS);
	emit_mov(e, 8, X86_RAX, HOST_T1);
}

static void emit_restore_by_rax(struct emit *e)
{
	emit_load_state(e, 2, X86_RAX, SLOT_FLAGS);
	emit_bytes(e, (const uint8_t[]){0x04, 0x7f}, 2); // add $0x7f, %al: OF again
	emit_u8(e, 0x9e);                                // sahf
}

void emit_restore_flags(struct emit *e)
{
	emit_store_state(e, 8, X86_RAX, SLOT_RAX);
	emit_restore_by_rax(e);
	emit_load_state(e, 8, X86_RAX, SLOT_RAX);
}

// What waits for the guest's RAX does not wait for a store.
void emit_restore_flags_by(struct emit *e, unsigned free)
{
	emit_mov(e, 8, free, X86_RAX);
	emit_restore_by_rax(e);
	emit_mov(e, 8, X86_RAX, free);
}

// -- states -----------------------------------------------------------------------------------------------------------

void emit_save_flags(struct trans *t)
{
	struct stats *st = t->b->st;

	*(t->flags == FLAGS_RECIPE || (t->flags == FLAGS_HOST && (t->recipe.op || t->exported)) ? &st->flags_recipe
	  : t->flags == FLAGS_HOST ? &st->flags_saved : &st->flags_free) += 1;
	if (t->flags != FLAGS_HOST)
		return;
	if (t->recipe.op) {
		t->flags = FLAGS_RECIPE;
		return;
	}
	if (t->exported) {
		t->flags = FLAGS_NOTED;
		return;
	}
	emit_keep_flags(&t->hot);
	t->flags = FLAGS_SLOT;
}

// Noted flags to the host's. The stub needs to know which registers are where: by the unit, or 0 if all are in their
// homes.
void emit_make_flags(struct emit *e, uint32_t unit)
{
	emit_call_state(e, SLOT_STUB_FLAGS);
	emit_bytes(e, (const uint8_t[]){0x0f, 0x1f, 0x80}, 3); // nopl unit(%rax)
	emit_u32(e, unit);
}

// The same where it is worth some bytes: what is in the slot needs no stub.
static void emit_make_flags_here(struct emit *e, struct emit *cold, uint32_t unit)
{
	uint8_t *recipe, *back;

	emit_cmp_state_imm8(e, 4, SLOT_RECIPE, 0);
	recipe = emit_jcc32(e, CC_NE);
	emit_restore_flags(e);
	emit_patch32(recipe, e->delta, emit_here(cold));
	emit_make_flags(cold, unit);
	back = emit_jmp32(cold);
	emit_patch32(back, cold->delta, emit_here(e));
}

void emit_flags_home(struct trans *t, struct emit *e)
{
	uint32_t unit = t->home ? 0 : t->tu_id;

	switch (t->flags) {
	case FLAGS_SLOT: emit_restore_flags(e); break;
	case FLAGS_RECIPE: emit_operation_again(t, e); break;
	case FLAGS_NOTED:
		if (e == &t->hot)
			emit_make_flags_here(e, &t->cold, unit);
		else
			emit_make_flags(e, unit);
		break;
	case FLAGS_HOST: case FLAGS_NONE: break;
	}
}

void emit_need_flags(struct trans *t)
{
	if (t->in[t->i].live)
		emit_flags_home(t, &t->hot);
	t->flags = FLAGS_HOST;
}

void emit_flags_to_slot(struct trans *t)
{
	if (!t->in[t->i].live || t->flags == FLAGS_SLOT)
		return;
	emit_flags_home(t, &t->hot);
	emit_keep_flags(&t->hot);
	t->flags = FLAGS_SLOT;
}

enum flag_state flags_wanted(const struct trans *t, struct fate f)
{
	return f.live || t->careful ? FLAGS_HOST : f.visible ? FLAGS_NOTED : FLAGS_NONE;
}

static void emit_store_note(const struct trans *t, struct emit *e, unsigned reg, unsigned which, unsigned by)
{
	unsigned from = by;
	uint32_t off;

	if (reg == X86_RSP && t->recipe.moved != t->ahead)
		emit_lea(e, 8, by, mem_base(HOST_GUEST_RSP, t->ahead - t->recipe.moved));
	else if (in_state(t, reg, &off))
		emit_load_state(e, 8, by, off);
	else
		from = host_of(t, reg);
	emit_store_state(e, 8, from, note_slot(which));
}

// The operands among these registers become notes, by way of a work register.
static struct recipe emit_notes(const struct trans *t, struct emit *e, uint16_t regs, unsigned by)
{
	struct recipe r = t->recipe;
	bool same = r.a == r.b;

	if (r.a < X86_GPRS && regs & BIT(r.a)) {
		emit_store_note(t, e, r.a, RECIPE_NOTE_A, by);
		r.moved = r.a == X86_RSP ? 0 : r.moved;
		r.a = RECIPE_NOTE_A;
		r.b = same ? RECIPE_NOTE_A : r.b;
	}
	if (r.b < X86_GPRS && regs & BIT(r.b)) {
		emit_store_note(t, e, r.b, RECIPE_NOTE_B, by);
		r.b = RECIPE_NOTE_B;
	}
	return r;
}

// The slot has the recipe of the present flags already, with notes of those registers.
static bool is_noted(const struct trans *t, uint16_t lost)
{
	lost &= t->recipe.op ? recipe_registers(&t->recipe) : 0;
	return t->exported && !(lost & ~t->exported_lost);
}

void emit_flags_noted(const struct trans *t, struct emit *e, uint16_t lost)
{
	uint16_t number = 0;

	if (t->flags == FLAGS_NOTED || t->flags == FLAGS_NONE || is_noted(t, lost))
		return;
	if (t->flags != FLAGS_SLOT && t->recipe.op) {
		struct recipe r = emit_notes(t, e, lost, HOST_T1);

		number = recipe_number(t->b, &r);
	} else if (t->flags == FLAGS_HOST) {
		emit_keep_flags(e);
	}
	emit_store_state_imm32(e, number, SLOT_RECIPE);
}

void emit_note_flags(struct trans *t, uint16_t lost)
{
	lost &= t->recipe.op ? recipe_registers(&t->recipe) : 0;
	emit_flags_noted(t, &t->hot, lost);
	t->exported_lost = t->exported ? t->exported_lost | lost : lost;
	t->exported = true;
	if (t->flags == FLAGS_SLOT)
		t->flags = FLAGS_NOTED;
}

bool emit_flags_to_leave(const struct trans *t, struct emit *e)
{
	if (t->flags == FLAGS_HOST || t->flags == FLAGS_NONE)
		return false;
	emit_flags_noted(t, e, 0);
	return true;
}

void flags_from_here(struct trans *t, enum flag_state state)
{
	t->flags = state;
	t->recipe.op = RECIPE_NONE;
	t->exported = false;
}

// -- the recipe -------------------------------------------------------------------------------------------------------

static void drop(struct trans *t)
{
	t->recipe.op = RECIPE_NONE;
	t->exported = false;
	if (t->flags == FLAGS_RECIPE) { // nobody will ask
		ASSERT(!t->out[t->i].visible);
		t->flags = FLAGS_NONE;
	}
}

// The registers of the recipe that the instruction sets anew. That RSP moves by a constant can be told later.
static uint16_t lost_registers(const struct trans *t, const struct x86_insn *insn, int *rsp_by)
{
	uint16_t lost = insn->gpr_written & recipe_registers(&t->recipe);
	const struct recipe *r = &t->recipe;

	*rsp_by = 0;
	if (lost & BIT(X86_RSP) && r->a == X86_RSP && r->b != X86_RSP && t->code == X86_MODE64 &&
	    moves_base(insn, X86_RSP, rsp_by))
		lost &= (uint16_t)~BIT(X86_RSP);
	return lost;
}

// A check of the present instruction will take the host's flags.
static bool will_check(const struct trans *t, const struct x86_insn *insn)
{
	return t->flags == FLAGS_HOST && insn_checks(t, insn);
}

void flags_before(struct trans *t, const struct x86_insn *insn)
{
	bool gone = t->flags == FLAGS_RECIPE || will_check(t, insn);
	int by;
	uint16_t lost;

	t->noted = t->announced = false;
	if (!t->recipe.op || flags_set(insn) == RFLAGS_ARITH)
		return;
	lost = lost_registers(t, insn, &by);
	if (!lost || (insn->class != X86_CLASS_LOOP && !(gone ? t->out[t->i].visible : t->out[t->i].shown)))
		return;
	t->recipe = emit_notes(t, &t->hot, lost, t->row.valid && t->row.by_addend ? HOST_T0 : HOST_T1);
	t->exported = false;
}

void flags_after(struct trans *t, const struct x86_insn *insn)
{
	uint16_t set = flags_set(insn), lost;
	struct producer p;
	int by;

	if (set) {
		t->recipe.op = RECIPE_NONE;
		t->exported = false;
		t->exported_lost = 0;
		if (set == RFLAGS_ARITH && t->flags == FLAGS_HOST && !takes_operand(t, insn) && recipe_of(insn, &p) &&
		    (t->noted || !(p.old || p.memory))) {
			t->recipe = p.recipe;
			t->exported = t->announced;
		}
		return;
	}
	if (!t->recipe.op)
		return;
	lost = lost_registers(t, insn, &by);
	t->recipe.moved += by;
	t->exported &= !by;
	if (lost)
		drop(t);
}

// The flags that the present instruction is about to set will be noted at the branch behind it: the number goes to the
// slot before the operation, so that the two stand together. Nothing can fault any more.
void emit_announcement(struct trans *t, const struct x86_insn *insn)
{
	unsigned next = t->i + 1, to;
	struct producer p;
	uint16_t lost;

	t->announced = false;
	if (t->t->tier != TIER_HOT || t->careful || next == t->n || t->next[t->i] != next ||
	    t->insn[next].class != X86_CLASS_JCC || t->label_of[next] != NOWHERE || t->poll_before[next])
		return;
	to = t->target[next];
	if (to == NOWHERE || !label_notes(t, to) || takes_operand(t, insn) || !recipe_of(insn, &p) ||
	    ((p.old || p.memory) && !t->noted))
		return;
	lost = t->in[to].lost & recipe_registers(&p.recipe);
	if (lost)
		return;
	emit_store_state_imm32(&t->hot, recipe_number(t->b, &p.recipe), SLOT_RECIPE);
	t->announced = true;
}

// The operation with the memory operand in T1.
static void emit_from_t1(struct trans *t, const struct x86_insn *insn, const struct producer *p)
{
	static const uint8_t ops[] = {[RECIPE_ADD] = ALU_ADD, [RECIPE_SUB] = ALU_SUB, [RECIPE_AND] = ALU_TEST,
		[RECIPE_ADC] = ALU_ADC, [RECIPE_SBB] = ALU_SBB};
	unsigned op = ops[p->recipe.op], size = insn->opsize;

	if (op == ALU_SUB && !p->recipe.result)
		op = ALU_CMP;
	if (p->as == RECIPE_NOTE_B)
		emit_alu_rr(&t->hot, size, op, host_of(t, p->dst), HOST_T1);
	else if (p->src == RECIPE_IMM)
		emit_alu_ri(&t->hot, size, op, HOST_T1, p->recipe.imm);
	else
		emit_alu_rr(&t->hot, size, op, HOST_T1, host_of(t, p->src));
}

// A register of the operation that is in T0 or T1, or nowhere, for the moment.
static bool in_work_register(const struct trans *t, const struct producer *p)
{
	for (unsigned r = 0; r < X86_GPRS; r++)
		if ((p->dst == r || p->src == r) && (t->map[r] == HOST_T0 || t->map[r] == HOST_T1 ||
						     t->map[r] == X86_REG_NONE))
			return true;
	return false;
}

// Note what the recipe of the present instruction needs, if it is worth that. True: that was its memory operand, and
// the operation has been emitted too.
bool emit_producer(struct trans *t, const struct x86_insn *insn, struct emit_mem m)
{
	struct producer p;

	if (t->careful || t->lost || takes_operand(t, insn) || !t->out[t->i].shown || !recipe_of(insn, &p) ||
	    !(p.old || p.memory) || in_work_register(t, &p) || (p.carry && t->out[t->i].live))
		return false;
	t->noted = true;
	if (p.carry)
		emit_op_state(&t->hot, 4, 0x0f90 | CC_B, 0, SLOT_NOTE_CARRY, 0); // setc
	if (p.old)
		emit_store_state(&t->hot, 8, host_of(t, p.dst), SLOT_NOTES);
	if (!p.memory)
		return false;
	note_op(t);
	emit_load(&t->hot, insn->opsize, HOST_T1, m);
	emit_store_state(&t->hot, 8, HOST_T1, note_slot(p.as));
	emit_announcement(t, insn);
	emit_from_t1(t, insn, &p);
	t->flags = FLAGS_HOST;
	t->b->st->tu_ident++;
	return true;
}

uint16_t flags_recipe(const struct trans *t)
{
	return t->flags == FLAGS_RECIPE ? recipe_number(t->b, &t->recipe) : 0;
}
