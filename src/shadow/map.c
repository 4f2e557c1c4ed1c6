// SPDX-License-Identifier: MIT
//
// Mappings made and taken away: the host's and the record change together. Where the host refuses (there is a limit)
// all of the space's go, which is always allowed: a TLB may forget. What becomes code loses its writers, and what is
// written its runners, in whichever space: those of a world that does not run now are queued for it, and carried out
// before it does.
#include "base/string.h"
#include "shadow/shadow.h"

static void displaced_lost(struct vcpu *v, const struct shadow_space *p, gva_t gva, uint64_t size)
{
	if (space_form(p) == FORM_DIRECT)
		displaced_forget(v, p, gva, size);
}

void shadow_drop(struct vcpu *v, struct shadow_space *p)
{
	if (!space_pages(v, p))
		return;
	displaced_lost(v, p, 0, BIT64(47));
	if (space_form(p) == FORM_DIRECT)
		vmm_direct_unmap_all(v, space_world(p));
	else if (vmm_unmap_guest_all(v))
		vmm_crash(v, "guest memory cannot be unmapped");
	record_forget_all(&shadow_of(v)->record, p->number);
	if (p->large > PAGE_SHIFT)
		memset(shadow_of(v)->has_large[p->number], 0, sizeof(shadow_of(v)->has_large[0]));
	memset(shadow_of(v)->seen[p->number], 0, sizeof(shadow_of(v)->seen[0]));
	p->has_global = false;
	bt_of(v)->st->shadow_drops++;
}

// What 32-bit code reaches for across its 4 GiB goes on at 0. So the pages on both sides are never there together, and
// such an access faults in the host.
static bool meets_edge(const struct record *r, unsigned space, gva_t gva, uint64_t size)
{
	const gva_t edge = BIT64(32);
	struct record_page p;

	return (edge - PAGE_SIZE - gva < size && record_find(r, space, edge >> PAGE_SHIFT, &p)) ||
	       (edge - gva < size && record_find(r, space, (edge >> PAGE_SHIFT) - 1, &p));
}

static int host_map(struct vcpu *v, const struct shadow_space *p, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights)
{
	if (space_form(p) != FORM_DIRECT)
		return vmm_map_guest(v, gva, gpa, size, rights & SHADOW_WRITE);
	policy_charge(v, p, vmm_direct_command_cycles(v));
	vmm_direct_map(v, space_world(p), gva, gpa, size, (rights & SHADOW_WRITE ? VMM_DIRECT_WRITE : 0) |
		((rights & (SHADOW_EXEC | SHADOW_DISPLACED)) == SHADOW_EXEC ? VMM_DIRECT_EXEC : 0));
	return 0; // shadow/direct.c hears if the host refuses
}

static int host_unmap(struct vcpu *v, const struct shadow_space *p, gva_t gva, uint64_t size)
{
	if (space_form(p) != FORM_DIRECT)
		return vmm_unmap_guest(v, gva, size);
	policy_charge(v, p, vmm_direct_command_cycles(v));
	vmm_direct_unmap(v, space_world(p), gva, size);
	return 0;
}

void shadow_claim_code(struct vcpu *v, gpa_t gpa)
{
	shadow_take_right(v, gpa, SHADOW_WRITE);
	tlb_drop_writes(bt_of(v), gpa);
	peers_claim_code(v, gpa); // devices are to tell
}

// Nothing is both written and executed unseen: whoever writes makes code data, and the other way round.
static void settle_rights(struct vcpu *v, gpa_t gpa, unsigned rights)
{
	if (rights & SHADOW_WRITE)
		shadow_take_right(v, gpa, SHADOW_EXEC);
	if (rights & SHADOW_EXEC)
		shadow_claim_code(v, gpa);
}

// The table of all spaces is full: those that are not the present one go.
static void make_room(struct vcpu *v, struct shadow_space *p, unsigned pages)
{
	struct shadow *s = shadow_of(v);

	if (space_pages(v, p) + pages > SHADOW_PAGES)
		shadow_drop(v, p);
	for (unsigned i = 0; i < SHADOW_SPACES && !record_has_room(&s->record, pages); i++)
		if (&s->space[i] != p)
			shadow_drop(v, &s->space[i]);
	if (!record_has_room(&s->record, pages))
		shadow_drop(v, p);
}

static bool map(struct vcpu *v, struct shadow_space *p, gva_t gva, gpa_t gpa, unsigned pages, unsigned rights)
{
	struct record *r = &shadow_of(v)->record;
	uint64_t size = (uint64_t)pages << PAGE_SHIFT;
	int err = host_map(v, p, gva, gpa, size, rights);

	if (err == VMM_MAP_FULL) {
		shadow_drop(v, p);
		err = host_map(v, p, gva, gpa, size, rights);
	}
	if (err)
		return false; // below the host's lowest address, say
	displaced_lost(v, p, gva, size);
	for (unsigned i = 0; i < pages; i++)
		record_note(r, &(struct record_page){(gva >> PAGE_SHIFT) + i, ((gpa >> PAGE_SHIFT) + i) & 0xffffff,
			p->number, rights});
	bt_of(v)->st->shadow_maps++;
	bt_of(v)->st->shadow_pages += pages;
	return true;
}

bool shadow_map(struct vcpu *v, gva_t gva, gpa_t gpa, unsigned pages, unsigned rights)
{
	struct shadow_space *p = space_here(v);

	if (space_form(p) == FORM_MAPPED &&
	    meets_edge(&shadow_of(v)->record, p->number, gva, (uint64_t)pages << PAGE_SHIFT))
		return false;
	make_room(v, p, pages);
	for (unsigned i = 0; i < pages; i++)
		settle_rights(v, gpa + (uint64_t)i * PAGE_SIZE, rights);
	return map(v, p, gva, gpa, pages, rights);
}

void shadow_unmap(struct vcpu *v, struct shadow_space *p, gva_t gva, uint64_t size)
{
	displaced_lost(v, p, gva, size);
	if (record_forget(&shadow_of(v)->record, p->number, gva >> PAGE_SHIFT, size >> PAGE_SHIFT) &&
	    host_unmap(v, p, gva, size))
		shadow_drop(v, p); // too many mappings to cut one in two
}

// It was data and becomes code, or the other way round: where that goes on it is what most of the time is spent on.
static void take_from(struct vcpu *v, struct shadow_space *p, const struct record_page *page)
{
	enum { TURN_CYCLES = 25000 };

	policy_charge_churn(v, p, TURN_CYCLES);
	if (!map(v, p, page->vpn << PAGE_SHIFT, page->gfn << PAGE_SHIFT, 1, 0))
		shadow_drop(v, p); // it cannot stay as it is
}

void shadow_take_right(struct vcpu *v, gpa_t gpa, enum shadow_rights right)
{
	struct shadow *s = shadow_of(v);
	struct record_page page;

	if (right == SHADOW_EXEC)
		clean_forget(v, gpa);
	while (record_with(&s->record, gpa >> PAGE_SHIFT, right, &page))
		take_from(v, &s->space[page.space], &page);
}
