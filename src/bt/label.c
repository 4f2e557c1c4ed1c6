// SPDX-License-Identifier: MIT
//
// Places inside a region that are reached on several ways, and the ways there. The register map is one for the whole
// region. Arithmetic flags at a label are in the host's if anybody may still see them, else nowhere. A merged check
// (window.c) holds there if it holds on all ways: those from before the label, whose code is there already, are
// compared; a loop begins with what lasts all through it, and who branches back makes good what he has lost.
//
// Backward branches poll, if possible at an earlier place of the loop where nobody can see the flags.
#include "base/string.h"
#include "bt/trans.h"

static struct label *label_at(struct trans *t, unsigned i)
{
	return t->label_of[i] == NOWHERE ? NULL : &t->label[t->label_of[i]];
}

static void flags_for(struct trans *t, unsigned to)
{
	if (t->visible_in[to])
		emit_flags_home(t, &t->hot);
	t->flags = t->visible_in[to] ? FLAGS_HOST : FLAGS_DEAD;
}

static void meet(struct trans *t, struct label *l)
{
	for (unsigned i = 0; i < t->nwindows && l->met; i++)
		window_join(&l->window[i], &t->window[i]);
	if (!l->met)
		memcpy(l->window, t->window, sizeof(l->window));
	l->met = true;
}

static void start_loop(struct trans *t, struct label *l)
{
	window_enter_loop(t, l->last);
	flags_for(t, t->i);
	memcpy(l->window, t->window, sizeof(l->window));
	l->at = emit_here(&t->hot);
}

void label_bind(struct trans *t)
{
	struct label *l = label_at(t, t->i);

	if (!l || (t->ended && !l->met))
		return;
	if (!t->ended) {
		flags_for(t, t->i);
		meet(t, l);
	}
	for (unsigned i = 0; i < t->nfixups; i++)
		if (t->fixup[i].to == t->i)
			emit_patch32(t->fixup[i].place, t->hot.delta, emit_here(&t->hot));
	memcpy(t->window, l->window, sizeof(t->window));
	t->flags = t->visible_in[t->i] ? FLAGS_HOST : FLAGS_DEAD;
	t->recipe.op = RECIPE_NONE;
	t->ended = false;
	if (l->loop)
		start_loop(t, l);
}

static void lead_forward(struct trans *t, uint8_t *place, unsigned to)
{
	meet(t, label_at(t, to));
	t->fixup[t->nfixups++] = (struct fixup){place, (uint8_t)to};
}

static bool needs_windows(const struct trans *t, const struct label *l)
{
	for (unsigned i = 0; i < t->nwindows; i++)
		if (l->window[i].valid && !window_fits(t, &l->window[i]))
			return true;
	return false;
}

// The way back to a loop, to be taken: a poll, what the loop relies on, the jump.
static void lead_back(struct trans *t, unsigned to)
{
	struct label *l = label_at(t, to);
	unsigned from = t->i;

	if (region_polls(t, from, to))
		emit_poll(t, &t->hot, VCPU_PENDING, EXIT_POLL, insn_pc(t, to), t->visible_in[to]);
	t->i = to; // a check that fails has not begun with it
	for (unsigned i = 0; i < t->nwindows; i++)
		if (l->window[i].valid && !window_fits(t, &l->window[i]))
			window_make(t, &l->window[i]);
	t->i = from;
	flags_for(t, to);
	emit_patch32(emit_jmp32(&t->hot), t->hot.delta, l->at);
}

void label_jump(struct trans *t, unsigned to)
{
	if (to <= t->i) {
		lead_back(t, to);
	} else {
		flags_for(t, to);
		lead_forward(t, emit_jmp32(&t->hot), to);
	}
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

void label_branch(struct trans *t, const struct x86_insn *insn, unsigned to)
{
	struct label *l = label_at(t, to);
	struct window windows[WINDOWS];
	uint8_t *over;

	if (to > t->i) {
		if (region_polls(t, t->i, to)) { // backward in the guest's code
			over = emit_condition(t, insn, true);
			emit_poll(t, &t->hot, VCPU_PENDING, EXIT_POLL, insn_pc(t, to), t->visible_in[to]);
			lead_forward(t, emit_jmp32(&t->hot), to);
			emit_patch32(over, t->hot.delta, emit_here(&t->hot));
		} else {
			lead_forward(t, emit_condition(t, insn, false), to);
		}
		return;
	}
	if (!region_polls(t, t->i, to) && !needs_windows(t, l)) {
		emit_patch32(emit_condition(t, insn, false), t->hot.delta, l->at);
		return;
	}
	over = emit_condition(t, insn, true);
	memcpy(windows, t->window, sizeof(windows));
	lead_back(t, to);
	memcpy(t->window, windows, sizeof(windows));
	t->flags = FLAGS_HOST;
	emit_patch32(over, t->hot.delta, emit_here(&t->hot));
}

// Nobody can see the flags here.
void label_poll(struct trans *t)
{
	emit_cold_poll(t, insn_pc(t, t->i));
}
