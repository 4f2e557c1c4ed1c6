// SPDX-License-Identifier: MIT
//
// Regions: units that are more than a straight line. From the unit's entry all direct branches within its page are
// followed, both ways, and calls to where they return; what can come to a branch backward - the loops, and the ways to
// them - makes the unit, with branches inside it that are nothing but branches. Its other ways are exits as ever.
//
// Instructions are laid out as they are found: on from the entry, jumps followed, then the taken sides of branches in
// the order in which these stand. A backward branch means one to a place that is laid out before it.
//
// What must hold at a place with several ways in is label.c's.
#include "base/string.h"
#include "bt/trans.h"

enum { TRACE_MAX = 96, TRACE_BRANCHES = 4, TRACE_ALONE = 16, APART_LOOP = 40, FLAT_MAX = 96, FLAT_RUN = 8,
	TAIL_MAX = 4 };

struct layout {
	uint16_t at[PAGE_SIZE]; // the instruction that begins at an offset in the page, or NOWHERE
};

static uint16_t *place_of(const struct trans *t, struct layout *l, int off)
{
	return &l->at[(t->t->pc & PAGE_OFFSET) + (uint64_t)(int64_t)off];
}

static bool allowed(const struct trans *t)
{
	return t->t->tier == TIER_HOT && !(t->t->mode & (MODE_ONE | MODE_CAREFUL | MODE_ALONE)) && !t->v->counts &&
	       !(t->b->sh->config.stress &
		 (STRESS_ONE | STRESS_CAREFUL | STRESS_NOCHAIN | STRESS_FLUSH | STRESS_IRQ));
}

// Where the branch i leads, as an offset from the unit's pc; false if that is on another page.
static bool constant_target(const struct trans *t, unsigned i, int *off)
{
	const struct x86_insn *insn = &t->insn[i];
	uint64_t target = branch_target(t, i);

	if (insn->class != X86_CLASS_JMP && insn->class != X86_CLASS_JCC && insn->class != X86_CLASS_LOOP)
		return false;
	if (branch_is_far_off(t, insn))
		return false;
	*off = (int)(target - t->t->pc);
	return same_page(t, target);
}

static bool returns_here(const struct trans *t, const struct x86_insn *insn)
{
	return (insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_CALL_IND) && pairs_calls(t);
}

// Where the unit goes on behind instruction i, if it does: offset from the unit's pc.
static bool successor(const struct trans *t, unsigned i, int *off)
{
	const struct x86_insn *insn = &t->insn[i];

	if (insn->class == X86_CLASS_JMP)
		return constant_target(t, i, off);
	*off = t->off[i] + insn->len;
	return !ends_unit(t, insn) || returns_here(t, insn);
}

// One way from this offset on, until it meets what is there already or leaves. In the mapped form not to what lies
// before the entry: one at the head of an inner loop would have the outer ones the wrong way round. The heads of these
// become hot in their turn.
static void follow(struct trans *t, struct layout *l, int off)
{
	int first = is_mapped(t) ? 0 : -PAGE_SIZE;
	bool on = true;

	while (on && off >= first && t->n < TU_INSNS_MAX && (t->t->pc & PAGE_OFFSET) + (uint64_t)(int64_t)off < PAGE_SIZE &&
	       *place_of(t, l, off) == NOWHERE && decode_next(t, off)) {
		*place_of(t, l, off) = (uint16_t)(t->n - 1);
		if (tu_straddles(t->t))
			return;
		on = successor(t, t->n - 1, &off);
	}
}

static unsigned index_at(const struct trans *t, struct layout *l, int off)
{
	return (t->t->pc & PAGE_OFFSET) + (uint64_t)(int64_t)off < PAGE_SIZE ? *place_of(t, l, off) : NOWHERE;
}

static void find_ways(struct trans *t, struct layout *l)
{
	for (unsigned i = 0; i < t->n; i++) {
		int off;

		t->next[i] = successor(t, i, &off) ? (uint16_t)index_at(t, l, off) : NOWHERE;
		t->target[i] = t->insn[i].class != X86_CLASS_JMP && constant_target(t, i, &off) ?
			       (uint16_t)index_at(t, l, off) : NOWHERE;
	}
}

// Is there a branch backward on the first way? Few loops have none there.
static bool turns_back(const struct trans *t)
{
	int off;

	for (unsigned i = 0; i < t->n; i++)
		if (constant_target(t, i, &off) && off <= t->off[i])
			return true;
	return false;
}

static bool has(const bool *set, unsigned i)
{
	return i != NOWHERE && set[i];
}

// Which instructions can come to a branch backward; false if there is none.
static bool find_loops(const struct trans *t, bool *keep)
{
	bool any = false, again = true;

	for (unsigned i = 0; i < t->n; i++) {
		keep[i] = t->next[i] <= i || t->target[i] <= i;
		any |= keep[i];
	}
	while (any && again) {
		again = false;
		for (unsigned i = t->n; i-- > 0;)
			if (!keep[i] && (has(keep, t->next[i]) || has(keep, t->target[i])))
				again = keep[i] = true;
	}
	return any && keep[0];
}

// Large, and full of branches: seldom all of a loop, but what an entry in its midst would be made again with.
static bool is_branchy(const struct trans *t, const bool *keep)
{
	unsigned n = 0, branches = 0;

	for (unsigned i = 0; i < t->n; i++) {
		n += keep[i];
		branches += keep[i] && (t->target[i] != NOWHERE || t->insn[i].class == X86_CLASS_JCC ||
					ends_unit(t, &t->insn[i]));
	}
	return n > FLAT_MAX && branches * FLAT_RUN > n;
}

// The straight unit that would have been stays: longer than others if few branches leave it, but not into another.
static void keep_trace(const struct trans *t, bool *keep)
{
	unsigned branches = 0;

	for (unsigned i = 0; i < t->n && i < TRACE_MAX; i++) {
		branches += t->target[i] != NOWHERE || t->insn[i].class == X86_CLASS_JCC || returns_here(t, &t->insn[i]);
		if ((i >= TRACE_INSNS && branches > TRACE_BRANCHES) || (i >= TRACE_ALONE && is_translated(t, t->off[i])))
			return;
		keep[i] = true;
		if (ends_unit(t, &t->insn[i]) && !returns_here(t, &t->insn[i]))
			return;
	}
}

// A few instructions from there up to a return, without a branch among them.
static bool follow_tail(struct trans *t, struct layout *l, int off)
{
	for (unsigned n = 0; n < TAIL_MAX && t->n < TU_INSNS_MAX && index_at(t, l, off) == NOWHERE &&
			     (t->t->pc & PAGE_OFFSET) + (uint64_t)(int64_t)off < PAGE_SIZE - X86_INSN_MAX &&
			     decode_next(t, off); n++) {
		const struct x86_insn *insn = &t->insn[t->n - 1];

		*place_of(t, l, off) = (uint16_t)(t->n - 1);
		if (insn->class == X86_CLASS_RET)
			return true;
		if (ends_unit(t, insn) || insn->class == X86_CLASS_JCC || insn->class == X86_CLASS_LOOP)
			return false;
		off += insn->len;
	}
	return false;
}

// Where a branch forward leads to hardly more than a return, that is had here: a link and its jump are as much again.
// It is to name no further registers.
static void keep_tails(struct trans *t, struct layout *l, bool *keep)
{
	uint16_t named = BIT(X86_RAX);
	unsigned end = t->n;
	int off;

	for (unsigned i = 0; i < end; i++)
		if (keep[i] && uses_homes(t, &t->insn[i]))
			named |= t->insn[i].gpr_read | t->insn[i].gpr_written;
	for (unsigned i = 0; i < end; i++) {
		unsigned first = t->n;
		bool ok;

		if (!keep[i] || t->insn[i].class != X86_CLASS_JCC || !constant_target(t, i, &off) || off <= t->off[i] ||
		    index_at(t, l, off) != NOWHERE)
			continue;
		t->named = named;
		ok = follow_tail(t, l, off) && t->named == named;
		memset(keep + first, ok, t->n - first);
	}
}

static void drop_others(struct trans *t, struct layout *l, const bool *keep)
{
	unsigned n = 0;

	t->named = 0;
	for (unsigned i = 0; i < t->n; i++) {
		*place_of(t, l, t->off[i]) = keep[i] ? (uint16_t)n : NOWHERE;
		if (!keep[i])
			continue;
		if (uses_homes(t, &t->insn[i]))
			t->named |= t->insn[i].gpr_read | t->insn[i].gpr_written;
		t->off[n] = t->off[i];
		if (n != i)
			t->insn[n] = t->insn[i];
		n++;
	}
	t->n = n;
}

bool region_grow(struct trans *t)
{
	struct layout l;
	bool keep[TU_INSNS_MAX], grow;
	int off;

	if (!allowed(t))
		return false;
	memset(l.at, 0xff, sizeof(l.at)); // NOWHERE;
	follow(t, &l, 0);
	if (tu_straddles(t->t))
		return true; // one instruction, across the page's end
	grow = turns_back(t);
	for (unsigned i = 0; grow && i < t->n; i++)
		if (t->insn[i].class != X86_CLASS_JMP && constant_target(t, i, &off))
			follow(t, &l, off);
	find_ways(t, &l);
	// One that does not fit would be made again and again, from each of its exits.
	if (t->n == TU_INSNS_MAX || !find_loops(t, keep) || is_branchy(t, keep))
		memset(keep, false, sizeof(keep));
	keep_trace(t, keep);
	keep_tails(t, &l, keep);
	drop_others(t, &l, keep);
	find_ways(t, &l);
	return true;
}

// -- labels, loops, polls -----------------------------------------------------------------------------------------

// A long loop without merged checks is left at its end: in most turns they hold.
static bool tries_again(const struct trans *t, unsigned from, unsigned to)
{
	return t->t->mode & MODE_APART && to <= from && from - to >= APART_LOOP;
}

// A way back from a part that stands behind an end of the unit, as what happens seldom does, makes no loop of what lies
// between.
static bool is_loop(const struct trans *t, unsigned head, unsigned last)
{
	for (unsigned i = head; i < last; i++)
		if (t->next[i] == NOWHERE)
			return false;
	return true;
}

// The way to a label; if there are too many it leaves the unit.
static uint16_t note_way(struct trans *t, unsigned from, unsigned to)
{
	struct label *l;

	if (to == NOWHERE || (t->label_of[to] == NOWHERE && t->nlabels == LABELS) || tries_again(t, from, to))
		return NOWHERE;
	if (t->label_of[to] == NOWHERE) {
		t->label_of[to] = (uint16_t)t->nlabels;
		t->label[t->nlabels++] = (struct label){.back = false};
	}
	l = &t->label[t->label_of[to]];
	if (to <= from) {
		l->back = true;
		l->reach = MAX(l->reach, (uint16_t)from);
		if (is_loop(t, to, from)) {
			l->loop = true;
			l->last = MAX(l->last, (uint16_t)from);
		}
	}
	return (uint16_t)to;
}

// Does the way lead to a lower address? Each circle of code has one that does: that is where it is polled.
static bool goes_back(const struct trans *t, unsigned from, unsigned to)
{
	return to != NOWHERE && t->off[to] <= t->off[from] && !counted_ends(t, from, to);
}

// The last instruction before the branch, on all ways to it, at which nobody can see the flags; or NOWHERE.
static unsigned place_for_poll(const struct trans *t, unsigned from)
{
	for (unsigned i = from;; i--) {
		if (!t->in[i].visible)
			return i;
		if (!i || t->label_of[i] != NOWHERE || t->next[i - 1] != i)
			return NOWHERE;
	}
}

// One poll at the label does for all ways there, unless it is in a loop that the branch is not in.
static bool polls_at_label(const struct trans *t, unsigned from, unsigned to)
{
	return !t->in[to].visible && t->depth[to] <= t->depth[from];
}

// Out of a loop: what stands before the branch would be polled in each turn, what stands on the way only once.
static bool leaves_loop(const struct trans *t, unsigned from, unsigned to)
{
	for (unsigned i = 0; i <= from; i++) {
		const struct label *l = t->label_of[i] == NOWHERE ? NULL : &t->label[t->label_of[i]];

		if (l && l->loop && from <= l->last && (to < i || to > l->last))
			return true;
	}
	return false;
}

static bool polls_aside(const struct trans *t, unsigned from, unsigned to)
{
	return t->insn[from].class == X86_CLASS_JCC && !t->in[to].visible && leaves_loop(t, from, to);
}

bool region_polls(const struct trans *t, unsigned from, unsigned to)
{
	return goes_back(t, from, to) && !polls_at_label(t, from, to) &&
	       (polls_aside(t, from, to) || place_for_poll(t, from) == NOWHERE);
}

static void place_poll(struct trans *t, unsigned from, unsigned to)
{
	if (goes_back(t, from, to) && !region_polls(t, from, to))
		t->poll_before[polls_at_label(t, from, to) ? to : place_for_poll(t, from)] = true;
}

void region_analyse(struct trans *t)
{
	for (unsigned i = 0; i < t->n; i++) {
		t->label_of[i] = NOWHERE;
		t->depth[i] = 0;
		t->poll_before[i] = false;
	}
	for (unsigned i = 0; i < t->n; i++) {
		if (t->next[i] != i + 1)
			t->next[i] = note_way(t, i, t->next[i]);
		t->target[i] = note_way(t, i, t->target[i]);
	}
	for (unsigned i = 0; i < t->n; i++)
		if (t->label_of[i] != NOWHERE && t->label[t->label_of[i]].loop)
			for (unsigned k = i; k <= t->label[t->label_of[i]].last; k++)
				t->depth[k]++;
	find_live_flags(t);
	find_counted(t);
	for (unsigned i = 0; i < t->n; i++) {
		place_poll(t, i, t->next[i]);
		place_poll(t, i, t->target[i]);
	}
}
