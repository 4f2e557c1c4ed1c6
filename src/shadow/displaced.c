// SPDX-License-Identifier: MIT
//
// Displaced code. A page with a CPUID on it (say) cannot be run as it is, and a stop for each visit costs more than the
// visit. So what is there is copied, instruction by instruction (displace.c), to where the world can run but not write,
// and the world's signal handler leads there (vmm/direct.S). What is sensitive stops there, and is translated. Who
// leaves the page for one that has not been displaced goes on in place; who comes back faults, and is led here again.
//
// Guest code may jump into the middle of all this, and can do nothing there that it could not do in place: sensitive
// instructions that take something from the monitor's hand are looked for in what has been written, too.
//
// The page is in the record as one that is executed, with SHADOW_DISPLACED: whatever takes that right away, or the
// mapping, takes the displaced code with it (map.c), and the links to it. An instruction that ends on the next page
// needs that in the record, too.
#include "shadow/displaced.h"
#include "base/string.h"
#include "shadow/displace.h"
#include "shadow/sensitive.h"
#include "shadow/shadow.h"
#include "x86/decode.h"

enum {
	STOPS = 32, STOPS_MS = 10, // so many in that time are too many
	SWEEP_AT = 2,              // a page that is come to so often is displaced whole
};

enum { NONE = 0 }; // the slot of no page

static struct displaced_slots *slots_of(const struct vcpu *v, const struct shadow_space *p)
{
	return &shadow_of(v)->displaced[space_world(p)];
}

static struct displaced_area *area_of(const struct vcpu *v, const struct shadow_space *p)
{
	return vmm_direct_displaced(v, space_world(p));
}

static uint64_t index_at(void)
{
	return vmm_direct_displaced_at();
}

static uint64_t slot_at(unsigned slot)
{
	return index_at() + DISPLACED_INDEX_SIZE + ((uint64_t)slot << DISPLACED_SLOT_SHIFT);
}

static struct displaced_place *place_of(struct displaced_area *area, gva_t gva)
{
	return &area->index[gva >> PAGE_SHIFT & (ARRAY_SIZE(area->index) - 1)];
}

// Of the page, or NONE.
static unsigned slot_of(struct displaced_area *area, gva_t gva)
{
	const struct displaced_place *place = place_of(area, gva);

	return place->minus_page && gva + place->minus_page < PAGE_SIZE ?
		       (unsigned)((place->slot - slot_at(0)) >> DISPLACED_SLOT_SHIFT) : NONE;
}

static bool is_used(const struct displaced_slots *s, unsigned slot)
{
	return s->used[slot / 64] >> slot % 64 & 1;
}

static unsigned next_used(const struct displaced_slots *s, unsigned slot)
{
	do
		slot++;
	while (slot < DISPLACED_SLOTS && !is_used(s, slot));
	return slot;
}

#define FOR_SLOTS(slot, s) for (unsigned slot = next_used(s, NONE); slot < DISPLACED_SLOTS; slot = next_used(s, slot))

static const struct displaced_note *find_note(const struct displaced *d, unsigned at)
{
	unsigned low = 0, high = d->notes;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (d->note[mid].at <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &d->note[low - 1] : NULL;
}

void displaced_undo(struct vcpu *v, const struct direct_left *left)
{
	const struct displaced_slots *s = slots_of(v, space_here(v));
	uint64_t at = v->rip - slot_at(0), slot = at >> DISPLACED_SLOT_SHIFT;
	const struct displaced_note *n;

	if (slot >= DISPLACED_SLOTS || !is_used(s, (unsigned)slot))
		return; // elsewhere, or guest code has jumped there by itself
	n = find_note(&s->slot[slot], at % DISPLACED_SLOT_SIZE);
	if (!n)
		return;
	v->rip = s->slot[slot].page + n->offset;
	switch (n->undo) {
	case UNDO_NONE:
		break;
	case UNDO_PUSH:
		v->gpr[X86_RSP] += 8;
		break;
	case UNDO_POP:
		v->gpr[X86_RSP] -= 8;
		break;
	case UNDO_LOOK_UP:
		v->gpr[X86_RCX] = left->saved[0];
		v->gpr[X86_RDX] = left->saved[1];
		v->gpr[X86_R8] = left->saved[2];
		break;
	default:
		v->gpr[X86_R8 + n->undo - UNDO_SAVE] = left->saved[0];
	}
}

// Where the code at this address is to be found in the world.
static uint64_t place_in_world(struct displaced_area *area, gva_t gva)
{
	unsigned slot = slot_of(area, gva), there = area->slot[slot].code[gva & PAGE_OFFSET];

	return there ? slot_at(slot) + there : gva;
}

// Unless what that would put there is sensitive.
static void set_link(struct displaced_area *area, struct displaced_slot *slot, const struct displaced_link *link)
{
	uint8_t *at = (uint8_t *)slot + link->at;
	uint64_t to = place_in_world(area, link->target);

	memcpy(at, &to, sizeof(to));
	if (to != link->target && sensitive_anywhere(at - X86_INSN_MAX, sizeof(to) + (size_t)2 * X86_INSN_MAX))
		memcpy(at, &link->target, sizeof(to));
}

// All links to this page.
static void relink(const struct vcpu *v, const struct shadow_space *p, gva_t page)
{
	struct displaced_area *area = area_of(v, p);
	struct displaced_slots *s = slots_of(v, p);

	FOR_SLOTS(slot, s) {
		const struct displaced *d = &s->slot[slot];

		for (unsigned i = 0; i < d->links; i++)
			if (align_down(d->link[i].target, PAGE_SIZE) == page)
				set_link(area, &area->slot[slot], &d->link[i]);
	}
}

static void link_all(struct displaced_area *area, const struct displaced *d, struct displaced_slot *to)
{
	for (unsigned i = 0; i < d->links; i++)
		set_link(area, to, &d->link[i]);
}

// Another process may be next.
static void wipe_slot(struct displaced_area *area, struct displaced_slots *s, unsigned slot)
{
	const struct displaced *d = &s->slot[slot];

	*place_of(area, d->page) = (struct displaced_place){.slot = slot_at(NONE)};
	memset(&area->slot[slot], 0, d->used);
	s->used[slot / 64] &= ~BIT64(slot % 64);
}

static void clear_slot(struct vcpu *v, const struct shadow_space *p, unsigned slot)
{
	struct displaced_slots *s = slots_of(v, p);

	wipe_slot(area_of(v, p), s, slot);
	relink(v, p, s->slot[slot].page);
}

static void clear_all(struct vcpu *v, const struct shadow_space *p)
{
	struct displaced_slots *s = slots_of(v, p);

	FOR_SLOTS(slot, s)
		wipe_slot(area_of(v, p), s, slot);
}

// What is needed of the others' comes back.
static unsigned free_slot(struct vcpu *v, const struct shadow_space *p)
{
	const struct displaced_slots *s = slots_of(v, p);

	for (unsigned slot = NONE + 1; slot < DISPLACED_SLOTS; slot++)
		if (!is_used(s, slot))
			return slot;
	clear_all(v, p);
	return NONE + 1;
}

// The page comes to be one that is executed, elsewhere. The slot, or NONE.
static unsigned begin_page(struct vcpu *v, gva_t page)
{
	struct shadow_space *p = space_here(v);
	struct displaced_slots *s = slots_of(v, p);
	struct displaced_place *place = place_of(area_of(v, p), page);
	unsigned slot;
	struct mmu_walk w;

	if (place->minus_page || !mmu_walk(v, page, VMEM_FETCH | VMEM_USER, &w) ||
	    !mem_is_ram(&v->shared->config.mem, align_down(w.gpa, PAGE_SIZE), PAGE_SIZE) || !mmu_key_is_open(v, &w) ||
	    !shadow_map(v, page, align_down(w.gpa, PAGE_SIZE), 1, SHADOW_EXEC | SHADOW_DISPLACED))
		return NONE;
	slot = free_slot(v, p);
	s->slot[slot].page = page;
	s->slot[slot].used = DISPLACED_TABLE_SIZE;
	s->slot[slot].notes = s->slot[slot].links = 0;
	s->slot[slot].crosses = false;
	s->slot[slot].stops = s->slot[slot].visits = 0;
	*place = (struct displaced_place){-page, slot_at(slot)};
	s->used[slot / 64] |= BIT64(slot % 64);
	return slot;
}

// A page that is executed, here or in place; or NULL.
static const uint8_t *bytes_of(const struct vcpu *v, gva_t page)
{
	struct record_page p;

	if (!record_find(&shadow_of(v)->record, space_here(v)->number, page >> PAGE_SHIFT, &p) || !(p.rights & SHADOW_EXEC))
		return NULL;
	return mem_host(&v->shared->config.mem, p.gfn << PAGE_SHIFT, PAGE_SIZE);
}

static void give_up(struct vcpu *v, unsigned slot)
{
	shadow_keep_translated(v, slots_of(v, space_here(v))->slot[slot].page);
	clear_slot(v, space_here(v), slot);
}

// Both pages, if the instruction there is on two. False: it has to be translated.
static bool prepare(struct vcpu *v, struct displacer *w, gva_t rip)
{
	gva_t page = align_down(rip, PAGE_SIZE);
	uint8_t bytes[2 * X86_INSN_MAX];
	struct x86_insn insn;

	w->page = bytes_of(v, page);
	w->after = NULL;
	if (displace_decode(w, rip & PAGE_OFFSET, &insn, bytes))
		return true;
	w->after = bytes_of(v, page + PAGE_SIZE);
	if (w->after)
		return true;
	if (!shadow_wants_displaced(v, page + PAGE_SIZE) || begin_page(v, page + PAGE_SIZE) == NONE)
		return false;
	w->after = bytes_of(v, page + PAGE_SIZE);
	return slot_of(area_of(v, space_here(v)), rip) != NONE; // that may have taken it away
}

// More of a page. False: what it would put there is sensitive.
static bool displace_more(struct vcpu *v, unsigned slot, struct displacer *w, gva_t rip)
{
	struct displaced_area *area = area_of(v, space_here(v));
	struct displaced *d = &slots_of(v, space_here(v))->slot[slot];
	uint32_t seam = d->used - X86_INSN_MAX; // with the end of what there was

	w->d = d;
	w->slot = &area->slot[slot];
	w->rules = direct_rules(v);
	w->index = index_at();
	w->e.p = (uint8_t *)w->slot + d->used;
	w->e.delta = (int64_t)(index_at() - (uint64_t)(uintptr_t)area);
	w->e.state = vmm_direct_state_at();
	w->all = ++d->visits == SWEEP_AT;
	displace(w, rip & PAGE_OFFSET);
	bt_of(v)->st->direct_displaced++;
	if (sensitive_anywhere((const uint8_t *)w->slot->code, sizeof(w->slot->code)) ||
	    sensitive_anywhere((const uint8_t *)w->slot + seam, d->used - seam))
		return false;
	link_all(area, d, w->slot);
	relink(v, space_here(v), d->page);
	return true;
}

enum added { ADDED, NOT_NOW, FULL, SENSITIVE };

// The slot is cleared if that fails.
static enum added add(struct vcpu *v, gva_t rip, bool alone)
{
	unsigned slot = slot_of(area_of(v, space_here(v)), rip);
	struct displacer w = {0};
	bool fits;

	if (slot == NONE)
		slot = begin_page(v, align_down(rip, PAGE_SIZE));
	if (slot == NONE || !prepare(v, &w, rip))
		return NOT_NOW;
	if (alone)
		slots_of(v, space_here(v))->slot[slot].visits = SWEEP_AT;
	fits = displace_more(v, slot, &w, rip);
	if (fits && displaced_find(v, rip))
		return ADDED;
	clear_slot(v, space_here(v), slot);
	return fits ? FULL : SENSITIVE;
}

// What else is on the page is left where it is, if it does not fit or is why that is sensitive.
bool displaced_add(struct vcpu *v, gva_t rip)
{
	enum added how = add(v, rip, false);

	if (how == FULL || how == SENSITIVE)
		how = add(v, rip, true);
	if (how == SENSITIVE)
		shadow_keep_translated(v, rip);
	return how == ADDED;
}

uint64_t displaced_find(const struct vcpu *v, gva_t rip)
{
	uint64_t at = place_in_world(area_of(v, space_here(v)), rip);

	return at == rip ? 0 : at;
}

bool displaced_is_all_cpuids(struct vcpu *v)
{
	const struct displaced_slots *s = slots_of(v, space_here(v));

	FOR_SLOTS(slot, s)
		if (!shadow_is_cpuids(v, s->slot[slot].page))
			return false;
	return true;
}

// A stop takes a hundred times as long as the instruction, and what is translated goes on as long as it is on the page.
void displaced_note_stop(struct vcpu *v)
{
	unsigned slot = slot_of(area_of(v, space_here(v)), v->rip);
	uint64_t now = __builtin_ia32_rdtsc();
	struct displaced *d;

	if (slot == NONE || displaces_all(v))
		return;
	d = &slots_of(v, space_here(v))->slot[slot];
	if (!d->stops++)
		d->stops_began = now;
	if (d->stops < STOPS)
		return;
	d->stops = 0;
	if (now - d->stops_began < v->shared->config.tsc_hz / 1000 * STOPS_MS)
		give_up(v, slot);
}

void displaced_forget(struct vcpu *v, const struct shadow_space *p, gva_t gva, uint64_t size)
{
	const struct displaced_slots *s = slots_of(v, p);

	if (size == BIT64(47)) {
		clear_all(v, p);
		return;
	}
	FOR_SLOTS(slot, s) {
		const struct displaced *d = &s->slot[slot];

		if (d->page - gva < size || (d->crosses && d->page + PAGE_SIZE - gva < size))
			clear_slot(v, p, slot);
	}
}
