// SPDX-License-Identifier: MIT
//
// Units move. With address space randomization each new process has the same pages of code somewhere else. Units know
// their own linear address in few places, all noted when they are made: so the units of a page that the running space
// maps elsewhere are given the new address instead of being translated again. User code of 64-bit mode only, far from
// the ends of the address space, where the length of no encoding depends on the address.
//
// All that stand on one footing (a page and mode) move together, so links between them stay as they are. Nothing may
// lead to a moved unit by its old address: its slot of the indirect table is cleared, every indirect entry and return
// landing compares with the address it has now, and links from other pages find that its footing is not held until it
// is found to be there (footing.c). What a living process has stays with it, as a rule: the page tables tell whether
// there is one. The child that ends gives its units to the next.
#include "bt/bt.h"

enum {
	REST = 1, REST_SHIFT = 20, // how long a unit stays: in 2^20 cycles of the TSC
	COPIES = 6,                // of the same code: with more, the one that has been still the longest goes
};

static bool high_enough(uint64_t pc)
{
	return pc >= MOVE_LOWEST && pc < UINT64_C(1) << 47;
}

bool move_is_possible(uint64_t pc, uint32_t mode)
{
	return mode & MODE_USER && (mode & MODE_CODE) == MODE_CODE64 && high_enough(pc);
}

static uint16_t page_number(uint64_t pc)
{
	return (uint16_t)(pc >> PAGE_SHIFT);
}

uint32_t move_clock(void)
{
	return (uint32_t)(__builtin_ia32_rdtsc() >> REST_SHIFT);
}

void move_note(struct bt *b, const struct tu *t, uint32_t at, uint32_t upper)
{
	if (move_is_possible(t->pc, t->mode))
		b->reloc[b->nrelocs++] = (struct reloc){at, upper};
}

static void add(uint8_t *at, uint64_t delta)
{
	uint64_t value;

	__builtin_memcpy(&value, at, sizeof(value));
	value += delta;
	__builtin_memcpy(at, &value, sizeof(value));
}

// The two halves of an address in two instructions.
static void add_split(uint8_t *low, uint8_t *high, uint64_t delta)
{
	uint32_t l, h;
	uint64_t value;

	__builtin_memcpy(&l, low, sizeof(l));
	__builtin_memcpy(&h, high, sizeof(h));
	value = ((uint64_t)h << 32 | l) + delta;
	__builtin_memcpy(low, &value, sizeof(l));
	value >>= 32;
	__builtin_memcpy(high, &value, sizeof(h));
}

// joins: there are units already where it goes to.
static void move_one(struct bt *b, struct tu *t, uint64_t delta, uint32_t now, bool joins)
{
	struct hot_tu *h = hot_of(b, t);

	tc_leave_tables(b, t);
	if (joins) { // links and indirect entry look at the wrong footing
		tc_unlink_incoming(b, t);
		if (t->hot)
			h->indirect_entry = 0;
	}
	for (uint32_t i = t->first_reloc; i < t->first_reloc + t->nrelocs; i++) {
		const struct reloc *r = &b->reloc[i];

		if (r->at & RELOC_COPY)
			continue;
		if (r->upper)
			add_split(b->tc_rw + r->at, b->tc_rw + r->upper, delta);
		else
			add(b->tc_rw + r->at, delta);
	}
	if (h->indirect_entry)
		add(b->tc_rw + h->indirect_imm, delta);
	t->was = page_number(t->pc);
	t->pc += delta;
	site_flush_unit(b, t);
	t->since = now;
	if (joins) {
		footing_leave(b, t);
		footing_join(b, t);
	}
	if (h->indirect_entry)
		itab_set(b, t);
	b->st->tu_moved++;
}

// Rather one that no process will miss: of these the one that came last, which is likely to be in the host's caches.
static struct tu *candidate(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode, uint32_t now)
{
	struct bt *b = bt_of(v);
	struct tu *last = NULL, *first = NULL;
	unsigned copies = 0;

	for (uint32_t i = tc_chain(b, gpa, mode); i; i = b->tu[i].hash_next) {
		struct tu *t = &b->tu[i];

		if (t->gpa != gpa || t->mode != mode || t->dead || t->fixed || !high_enough(t->pc))
			continue;
		copies++;
		if (!t->footing || !footing_lives(v, t->footing)) {
			if (!last || now - t->since < now - last->since)
				last = t;
		} else if (now - t->since > REST && t->was != page_number(pc)) {
			if (!first || now - t->since > now - first->since)
				first = t;
		}
	}
	return last ? last : copies > COPIES ? first : NULL;
}

// A unit for pc, from another address of the same code; NULL if there is none.
struct tu *move_unit(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode)
{
	struct bt *b = bt_of(v);
	uint32_t now = move_clock(), next;
	struct tu *found;
	uint64_t delta;
	bool joins;

	if (!move_is_possible(pc, mode) || mode & MODE_ALONE)
		return NULL;
	found = candidate(v, pc, gpa, mode, now);
	if (!found)
		return NULL;
	delta = pc - found->pc;
	if (mode & MODE_ONE || !found->footing) { // leads nowhere, and nothing leads to it
		move_one(b, found, delta, now, false);
		return found;
	}
	joins = !footing_move(b, found->footing, align_down(found->pc, PAGE_SIZE), delta);
	for (uint32_t unit = b->footing[found->footing].first; unit; unit = next) {
		struct tu *t = &b->tu[unit];

		next = t->footing_next;
		if (t->fixed || (joins && tc_find(b, t->pc + delta, t->gpa, mode))) { // translated there meanwhile
			code_unwatch(b, t);
			tc_retire(b, t);
		} else {
			move_one(b, t, delta, now, joins);
		}
	}
	if (joins)
		footing_check(b, found->footing);
	tc_forget_calls(v);
	return found;
}
