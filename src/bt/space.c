// SPDX-License-Identifier: MIT
//
// Address spaces that were left a moment ago. With PCIDs a CR3 write may keep what is known of the space it enters
// (bit 63, "Process-Context Identifiers (PCIDs)" in the SDM); the software TLB and the footings (footing.c) hold one
// space at a time, so what they know of the one being left is noted here, and comes back with it. As in a processor, an
// entry may be lost at any time; one that the guest has invalidated is dropped.
#include "bt/bt.h"

static struct space *find(struct bt *b, uint16_t pcid)
{
	for (unsigned i = 0; i < SPACES; i++)
		if (b->space[i].valid && b->space[i].pcid == pcid)
			return &b->space[i];
	return NULL;
}

static struct space *oldest(struct bt *b)
{
	struct space *s = &b->space[0];

	for (unsigned i = 1; i < SPACES; i++)
		if (!b->space[i].valid || (s->valid && b->space[i].used < s->used))
			s = &b->space[i];
	return s;
}

static void save_table(struct space *s, const struct tlb *t, unsigned table)
{
	const struct tlb_log *log = &t->log[0];

	for (unsigned k = MIN(log->n, TLB_LOG); k-- > 0 && s->n < SPACE_ENTRIES;) {
		unsigned i = log->slot[k];

		if (t->kind[i] & TLB_GLOBAL || t->e[i].tag == tlb_invalid_tag(i))
			continue;
		s->e[s->n++] = (struct space_entry){t->e[i].tag, t->e[i].host, (uint16_t)i, (uint8_t)table, t->kind[i]};
	}
}

static void save_footings(struct bt *b, struct space *s)
{
	s->nfootings = MIN(b->nheld, SPACE_FOOTINGS);
	for (unsigned i = 0; i < s->nfootings; i++) {
		const struct footing *f = &b->footing[b->held[i]];

		s->footing[i].id = b->held[i];
		s->footing[i].mode = f->mode;
		s->footing[i].va = f->va;
		s->footing[i].gpa = f->gpa;
		s->footing[i].gpa2 = f->gpa2;
	}
}

static void save(struct bt *b, uint16_t pcid)
{
	struct space *s = find(b, pcid);

	if (!s)
		s = oldest(b);
	s->valid = true;
	s->pcid = pcid;
	s->used = ++b->space_clock;
	s->generation = b->st->tc_flushes;
	s->n = 0;
	for (unsigned x = 0; x < TLB_INDEXES; x++) {
		save_table(s, &b->tlb_w[x], x * 2 + 1);
		save_table(s, &b->tlb_r[x], x * 2);
	}
	save_footings(b, s);
}

static void restore(struct bt *b, struct space *s)
{
	for (unsigned i = s->n; i-- > 0;)
		tlb_restore(b, &s->e[i]);
	if (s->generation != b->st->tc_flushes)
		return;
	for (unsigned i = 0; i < s->nfootings; i++) {
		const struct footing *f = &b->footing[s->footing[i].id];

		if (f->va == s->footing[i].va && f->gpa == s->footing[i].gpa && f->gpa2 == s->footing[i].gpa2 &&
		    f->mode == s->footing[i].mode) // has not moved, nor been given up
			footing_hold(b, s->footing[i].id);
	}
}

void space_drop(struct bt *b, uint16_t pcid)
{
	struct space *s = find(b, pcid);

	if (s)
		s->valid = false;
}

void space_drop_all(struct bt *b)
{
	for (unsigned i = 0; i < SPACES; i++)
		b->space[i].valid = false;
}

// CR3 has been written, with PCIDs on: from b->pcid to pcid, keeping what is known of it or not.
void space_switch(struct vcpu *v, uint16_t pcid, bool keep)
{
	struct bt *b = bt_of(v);
	struct space *s;

	if (pcid != b->pcid)
		save(b, b->pcid);
	if (!keep || pcid == b->pcid)
		space_drop(b, pcid);
	tlb_flush(v, false);
	b->pcid = pcid;
	s = find(b, pcid);
	if (s)
		restore(b, s);
}
