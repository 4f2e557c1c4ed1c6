// SPDX-License-Identifier: MIT
//
// Places inside a region that are reached on several ways, and the ways there. The register map is one for the whole
// region. Arithmetic flags at a label are in the host's if they will be read, noted if anybody may still see them. A
// merged check (window.c) holds there if it holds on all ways: those from before the label, whose code is there
// already, are compared; a loop begins with what lasts all through it, and who branches back makes good what he has
// lost.
//
// Backward branches poll, if possible at an earlier place of the loop where nobody can see the flags.
#include "base/string.h"
#include "bt/trans.h"

enum { LOOP_ALIGN = 32 };

static struct label *label_at(struct trans *t, unsigned i)
{
	return t->label_of[i] == NOWHERE ? NULL : &t->label[t->label_of[i]];
}

// Do calls come back between the label and the last way back to it?
static bool has_calls(const struct trans *t, unsigned i, const struct label *l)
{
	for (; i <= l->reach; i++)
		if (t->insn[i].class == X86_CLASS_CALL || t->insn[i].class == X86_CLASS_CALL_IND)
			return true;
	return false;
}

// Where flags are at a label. In the mapped form nothing takes them out of the host's, so there they stay; but if they
// come noted, by another unit, and nobody reads them, to make them anew would be in vain. The first way decides it: a
// loop without calls is not to note them in each turn, nor what only seldom comes by a call.
static enum flag_state flags_at(struct trans *t, unsigned i)
{
	enum flag_state wanted = flags_wanted(t, t->in[i]);
	struct label *l = label_at(t, i);

	if (!is_mapped(t) || !t->in[i].visible || wanted == FLAGS_HOST)
		return wanted;
	if (!l->settled) {
		l->noted = l->loop ? has_calls(t, i, l) : t->flags == FLAGS_NOTED;
		l->settled = true;
	}
	return l->noted ? FLAGS_NOTED : FLAGS_HOST;
}

// The present instruction is about to set the flags.
bool label_notes(struct trans *t, unsigned i)
{
	enum flag_state was = t->flags;
	bool notes;

	t->flags = FLAGS_HOST;
	notes = flags_at(t, i) == FLAGS_NOTED;
	t->flags = was;
	return notes;
}

static void flags_for(struct trans *t, unsigned to)
{
	enum flag_state wanted = flags_at(t, to);

	if (wanted == FLAGS_HOST)
		emit_flags_home(t, &t->hot);
	if (wanted == FLAGS_NOTED)
		emit_flags_noted(t, &t->hot, t->in[to].lost);
	t->flags = wanted;
}

static void meet(struct trans *t, struct label *l)
{
	for (unsigned i = 0; i < t->nwindows && l->ways; i++)
		window_join(&l->window[i], &t->window[i]);
	if (l->ways) {
		mapped_join(l->proof, t->proof);
		l->narrow &= t->narrow;
	} else {
		l->narrow = t->narrow;
		memcpy(l->window, t->window, sizeof(l->window));
		memcpy(l->proof, t->proof, sizeof(l->proof));
		l->recipe = t->recipe;
		l->exported = t->exported;
		l->exported_lost = t->exported_lost;
	}
	l->ways++;
}

// As at the branch that is the only way here.
static void take_recipe(struct trans *t, const struct label *l)
{
	if (l->ways > 1 || l->back || t->flags != FLAGS_HOST)
		return;
	t->recipe = l->recipe;
	t->exported = l->exported;
	t->exported_lost = l->exported_lost;
}

// Short and with no other inside: all of it from one of the lines that the host keeps decoded instructions in.
static bool is_tight(const struct trans *t, const struct label *l)
{
	enum { TIGHT = 24 }; // instructions

	for (unsigned i = t->i + 1; i <= l->last; i++)
		if (l->last - t->i > TIGHT || (t->label_of[i] != NOWHERE && t->label[t->label_of[i]].loop))
			return false;
	return l->loop;
}

static void start_loop(struct trans *t, struct label *l)
{
	counted_guard(t);
	if (l->loop)
		window_enter_loop(t, l->last);
	t->narrow = narrow_counter(t);
	mapped_enter_loop(t, l->reach);
	for (unsigned i = 0; i < t->nwindows; i++)
		t->window[i].joined = true;
	flags_for(t, t->i);
	if (is_tight(t, l))
		emit_align(&t->hot, LOOP_ALIGN);
	memcpy(l->window, t->window, sizeof(l->window));
	memcpy(l->proof, t->proof, sizeof(l->proof));
	l->at = emit_here(&t->hot);
}

void label_bind(struct trans *t)
{
	struct label *l = label_at(t, t->i);

	if (!l || (t->ended && !l->ways))
		return;
	if (!t->ended) {
		flags_for(t, t->i);
		meet(t, l);
	}
	for (unsigned i = 0; i < t->nfixups; i++)
		if (t->fixup[i].to == t->i)
			emit_patch32(t->fixup[i].place, t->hot.delta, emit_here(&t->hot));
	memcpy(t->window, l->window, sizeof(t->window));
	t->row.valid = false;
	memcpy(t->proof, l->proof, sizeof(t->proof));
	t->narrow = l->narrow;
	flags_from_here(t, flags_at(t, t->i));
	take_recipe(t, l);
	t->ended = false;
	if (l->back)
		start_loop(t, l);
}

// Code that an instruction before it has left for good (it needs the careful form each time) and that only later code
// leads back to: it is not in the unit.
static bool never_bound(struct trans *t, unsigned to)
{
	return to != NOWHERE && to <= t->i && !label_at(t, to)->at;
}

void label_drop_dead_ways(struct trans *t)
{
	if (never_bound(t, t->target[t->i]))
		t->target[t->i] = NOWHERE;
	if (never_bound(t, t->next[t->i]))
		t->next[t->i] = NOWHERE;
}

static void lead_forward(struct trans *t, uint8_t *place, unsigned to)
{
	meet(t, label_at(t, to));
	t->fixup[t->nfixups++] = (struct fixup){place, (uint16_t)to};
}

static bool needs_windows(const struct trans *t, const struct label *l)
{
	for (unsigned i = 0; i < t->nwindows; i++)
		if (l->window[i].valid && !window_fits(t, &l->window[i]))
			return true;
	return !mapped_fits(t, l->proof);
}

// A way taken: a poll, what a loop relies on, the flags, the jump. Flags that are to be noted are so already if they
// are not in the host's.
static void lead(struct trans *t, unsigned to)
{
	struct label *l = label_at(t, to);
	unsigned from = t->i;

	if (flags_at(t, to) != FLAGS_HOST)
		flags_for(t, to);
	if (region_polls(t, from, to))
		emit_poll(t, &t->hot, VCPU_PENDING, EXIT_POLL, insn_pc(t, to), flags_at(t, to) == FLAGS_HOST);
	t->i = to; // a check that fails has not begun with it
	for (unsigned i = 0; to <= from && i < t->nwindows; i++)
		if (l->window[i].valid && !window_fits(t, &l->window[i]))
			window_make(t, &l->window[i]);
	if (to <= from)
		mapped_make(t, l->proof);
	t->i = from;
	flags_for(t, to);
	if (to <= from)
		emit_patch32(emit_jmp32(&t->hot), t->hot.delta, l->at);
	else
		lead_forward(t, emit_jmp32(&t->hot), to);
}

void label_jump(struct trans *t, unsigned to)
{
	lead(t, to);
	t->ended = true;
}

// The branch itself, to a place to be filled in; or around what follows: *over is its end then.
static uint8_t *emit_condition(struct trans *t, const struct x86_insn *insn, bool around)
{
	struct emit *e = &t->hot;

	if (insn->class == X86_CLASS_JCC)
		return emit_jcc32(e, insn->cond ^ around);
	if (insn->addrsize == 4)
		emit_u8(e, 0x67);
	emit_u8(e, insn->opcode);
	emit_u8(e, around ? 5 : 2);
	if (!around)
		emit_bytes(e, (const uint8_t[]){0xeb, 5}, 2); // jmp over the next
	return emit_jmp32(e);
}

// The way out of a loop, polled where it does not cost the loop anything. Nobody can see the flags there.
static void lead_aside(struct trans *t, const struct x86_insn *insn, unsigned to)
{
	enum flag_state was = t->flags;
	uint8_t *place = emit_condition(t, insn, false);

	emit_patch32(place, t->hot.delta, emit_here(&t->cold));
	t->flags = FLAGS_NONE;
	emit_poll(t, &t->cold, VCPU_PENDING, EXIT_POLL, insn_pc(t, to), false);
	place = emit_jmp32(&t->cold);
	if (to <= t->i)
		emit_patch32(place, t->cold.delta, label_at(t, to)->at);
	else
		lead_forward(t, place, to);
	t->flags = was;
}

void label_branch(struct trans *t, const struct x86_insn *insn, unsigned to)
{
	enum flag_state wanted = flags_at(t, to), was;
	struct label *l = label_at(t, to);
	struct window windows[WINDOWS];
	struct proof proofs[PROOFS];
	uint8_t *over;

	if (wanted == FLAGS_NOTED)
		emit_note_flags(t, t->in[to].lost); // on both ways: it costs less than a jump
	was = t->flags;
	if (!region_polls(t, t->i, to) && !(to <= t->i && needs_windows(t, l)) && (wanted != FLAGS_HOST || was == wanted)) {
		over = emit_condition(t, insn, false);
		if (to <= t->i)
			emit_patch32(over, t->hot.delta, l->at);
		else
			lead_forward(t, over, to);
		return;
	}
	if (region_polls(t, t->i, to) && !t->in[to].visible && wanted == FLAGS_NONE && insn->class == X86_CLASS_JCC &&
	    !(to <= t->i && needs_windows(t, l))) {
		lead_aside(t, insn, to);
		return;
	}
	over = emit_condition(t, insn, true);
	memcpy(windows, t->window, sizeof(windows));
	t->flags = wanted == FLAGS_HOST ? was : wanted;
	memcpy(proofs, t->proof, sizeof(proofs));
	lead(t, to);
	memcpy(t->window, windows, sizeof(windows));
	memcpy(t->proof, proofs, sizeof(proofs));
	t->flags = was;
	emit_patch32(over, t->hot.delta, emit_here(&t->hot));
}

// Nobody can see the flags here.
void label_poll(struct trans *t)
{
	emit_cold_poll(t, insn_pc(t, t->i));
}
