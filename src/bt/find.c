// SPDX-License-Identifier: MIT
//
// The unit at the program counter: found, moved here from elsewhere, or made; then linked with the one that has led
// here and entered in the table of indirect targets.
#include "bt/run.h"

static void note_pages(struct bt *b, const struct tu *t, gpa_t gpa, bool global)
{
	code_note_vpage(b, t->pc, gpa, global);
	if (tu_straddles(t))
		code_note_vpage(b, t->pc + PAGE_SIZE, tu_gpa2(t), global);
}

static void link(struct vcpu *v, struct exit *x, struct tu *t, gpa_t gpa, bool global)
{
	struct bt *b = bt_of(v);
	const struct tu *from = &b->tu[x->tu];
	uint64_t pc = exit_pc(b, x);
	bool crosses = (pc ^ from->pc) >> PAGE_SHIFT || tu_straddles(t);

	if (pc != t->pc || (from->mode ^ t->mode) & ~(uint32_t)MODE_APART ||
	    !tc_same_cs(b, t, hot_of(b, from)->cs_base, hot_of(b, from)->cs_limit) ||
	    (x->kind == EXIT_APART) != !!(t->mode & MODE_APART))
		return; // something was delivered in between
	if (crosses) {
		if (!t->footing)
			note_pages(b, t, gpa, global);
	}
	if (x->target && &b->tu[x->target] != t)
		tc_unlink(b, (uint32_t)(x - b->exit)); // its guard finds a footing that another space has
	tc_link(b, x, t);
	family_unite(b, from->footing, t->footing, b->footing[t->footing].va - b->footing[from->footing].va);
}

static void enter_table(struct vcpu *v, struct tu *t, gpa_t gpa, bool global)
{
	struct bt *b = bt_of(v);

	if (!t->footing)
		note_pages(b, t, gpa, global);
	itab_set(b, t);
}

// The unit, or a hot one in its place if that is due.
static struct tu *hotter(struct vcpu *v, struct tu *t)
{
	struct bt *b = bt_of(v);
	bool want = b->want_hot;

	b->want_hot = false;
	return want || t->remake || t->favour == FAVOUR_WANTED ? bt_promote(v, t, true) : t;
}

// What was worth a hot unit in one form of memory access is so in the other.
static enum tier first_tier(struct bt *b, uint64_t pc, gpa_t gpa, uint32_t mode)
{
	const struct tu *other = mode & MODE_MAPPED ? tc_find(b, pc, gpa, mode ^ MODE_MAPPED) : NULL;

	return other && other->tier == TIER_HOT ? TIER_HOT : TIER_BASE;
}

// Not what is in every address space: global pages of supervisor code, and the upper half as long as it seems to be.
static bool stands_on_footing(const struct bt *b, const struct tu *t, bool global)
{
	return t->pc >> 63 ? !global && b->spaces_differ : !global || t->mode & MODE_USER;
}

struct tu *bt_find_unit(struct vcpu *v, uint32_t mode)
{
	struct bt *b = bt_of(v);
	bool global, global2 = true, plain = !(mode & (MODE_ONE | MODE_ALONE));
	gva_t pc = vcpu_linear_pc(v);
	gpa_t gpa, gpa2;
	struct tu *t;

	code_gpa(v, pc, &gpa, &global);
	b->st->tc_lookups++;
	t = tc_find(b, pc, gpa, mode);
	if (!t)
		t = move_unit(v, pc, gpa, mode);
	if (t && tu_straddles(t)) { // does it still continue on the same second page?
		code_gpa(v, (pc | PAGE_OFFSET) + 1, &gpa2, &global2);
		if (gpa2 != tu_gpa2(t)) {
			code_unwatch(b, t);
			tc_retire(b, t);
			t = NULL;
		}
	}
	if (!t)
		t = bt_translate(v, pc, gpa, mode, first_tier(b, pc, gpa, mode));
	t = hotter(v, t);
	if (tu_straddles(t))
		code_gpa(v, (pc | PAGE_OFFSET) + 1, &gpa2, &global2);
	global &= global2;
	if (plain && stands_on_footing(b, t, global)) {
		if (!t->footing)
			footing_join(b, t);
		footing_hold(b, t->footing);
	}
	if (plain && b->link_exit && !(b->sh->config.stress & (STRESS_NOCHAIN | STRESS_IRQ)))
		link(v, &b->exit[b->link_exit], t, gpa, global);
	if (plain && b->want_table && !(b->sh->config.stress & (STRESS_NOCHAIN | STRESS_IRQ)))
		enter_table(v, t, gpa, global);
	b->link_exit = 0;
	b->want_table = false;
	return t;
}
