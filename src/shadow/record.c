// SPDX-License-Identifier: MIT
//
// The record of shadow mappings. Pages stand side by side in page[], found by address through a hash table, and from
// the frame, if it is mapped writable, through frame[]: a page that comes to hold translated code must lose that right
// at once. The host's mappings and the record change together; where the host refuses (there is a limit)
// all of them go, which is always allowed: a TLB may forget.
#include "base/string.h"
#include "shadow/shadow.h"

static unsigned hash(uint64_t vpn)
{
	return (unsigned)(vpn * UINT64_C(0x9e3779b97f4a7c15) >> 46);
}

// The place in index[] of this page, or where it would stand.
static unsigned place_of(const struct shadow *s, uint64_t vpn)
{
	unsigned i = hash(vpn);

	while (s->index[i] && s->page[s->index[i] - 1].vpn != vpn)
		i = (i + 1) & (SHADOW_INDEX - 1);
	return i;
}

struct shadow_page *shadow_find(struct shadow *s, gva_t gva)
{
	unsigned i = place_of(s, gva >> PAGE_SHIFT);

	return s->index[i] ? &s->page[s->index[i] - 1] : NULL;
}

// Those behind an emptied place move up, or they would not be found any more.
static void close_gap(struct shadow *s, unsigned i)
{
	for (unsigned k = (i + 1) & (SHADOW_INDEX - 1); s->index[k]; k = (k + 1) & (SHADOW_INDEX - 1)) {
		unsigned home = hash(s->page[s->index[k] - 1].vpn);

		if (((k - home) & (SHADOW_INDEX - 1)) < ((k - i) & (SHADOW_INDEX - 1)))
			continue;
		s->index[i] = s->index[k];
		i = k;
	}
	s->index[i] = 0;
}

static void forget_frame(struct shadow *s, const struct shadow_page *p)
{
	unsigned i = p->gfn & (SHADOW_FRAMES - 1);

	if (s->frame[i] == p->vpn + 1u)
		s->frame[i] = 0;
	if (s->code[i] == p->vpn + 1u)
		s->code[i] = 0;
}

static void forget(struct shadow *s, struct shadow_page *p)
{
	struct shadow_page *last = &s->page[s->n - 1];

	forget_frame(s, p);
	close_gap(s, place_of(s, p->vpn));
	if (p != last) {
		s->index[place_of(s, last->vpn)] = (uint32_t)(p - s->page) + 1;
		*p = *last;
	}
	s->n--;
}

static void note(struct shadow *s, uint64_t vpn, uint64_t gfn, unsigned rights)
{
	unsigned i = place_of(s, vpn);
	uint64_t *f = rights & SHADOW_WRITE ? s->frame : s->code;

	if (!s->index[i])
		s->index[i] = ++s->n;
	else
		forget_frame(s, &s->page[s->index[i] - 1]);
	s->page[s->index[i] - 1] = (struct shadow_page){.vpn = vpn, .gfn = gfn & 0xffffff, .rights = rights & 3};
	f += gfn & (SHADOW_FRAMES - 1);
	if (rights)
		*f = !*f || *f == vpn + 1 ? vpn + 1 : SHADOW_MANY;
}

void shadow_drop(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);

	if (!s->n)
		return;
	if (s->form == FORM_DIRECT)
		vmm_direct_unmap_all(v);
	else if (vmm_unmap_guest_all(v))
		vmm_crash(v, "guest memory cannot be unmapped");
	for (uint32_t i = 0; i < s->n; i++)
		s->frame[s->page[i].gfn & (SHADOW_FRAMES - 1)] = s->code[s->page[i].gfn & (SHADOW_FRAMES - 1)] = 0;
	if (s->n > SHADOW_INDEX / 64)
		memset(s->index, 0, sizeof(s->index));
	else
		for (uint32_t i = 0; i < s->n; i++)
			for (unsigned k = hash(s->page[i].vpn); s->index[k]; k = (k + 1) & (SHADOW_INDEX - 1))
				s->index[k] = 0;
	memset(s->has_large, 0, sizeof(s->has_large));
	memset(s->seen, 0, sizeof(s->seen));
	s->n = 0;
	bt_of(v)->st->shadow_drops++;
}

// What 32-bit code reaches for across its 4 GiB goes on at 0. So the pages on both sides are never there together, and
// such an access faults in the host.
static bool meets_edge(struct shadow *s, gva_t gva, uint64_t size)
{
	const gva_t edge = BIT64(32);

	return (edge - PAGE_SIZE - gva < size && shadow_find(s, edge)) ||
	       (edge - gva < size && shadow_find(s, edge - PAGE_SIZE));
}

static int host_map(struct vcpu *v, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights)
{
	if (shadow_of(v)->form != FORM_DIRECT)
		return vmm_map_guest(v, gva, gpa, size, rights & SHADOW_WRITE);
	policy_charge(v, vmm_direct_command_cycles(v));
	vmm_direct_map(v, gva, gpa, size, (rights & SHADOW_WRITE ? VMM_DIRECT_WRITE : 0) |
		(rights & SHADOW_EXEC ? VMM_DIRECT_EXEC : 0));
	return 0; // shadow/direct.c hears if the host refuses
}

static int host_unmap(struct vcpu *v, gva_t gva, uint64_t size)
{
	if (shadow_of(v)->form != FORM_DIRECT)
		return vmm_unmap_guest(v, gva, size);
	policy_charge(v, vmm_direct_command_cycles(v));
	vmm_direct_unmap(v, gva, size);
	return 0;
}

// Nothing is both written and executed unseen: whoever writes makes code data, and the other way round.
static void settle_rights(struct vcpu *v, gpa_t gpa, unsigned rights)
{
	if (rights & SHADOW_WRITE)
		shadow_take_right(v, gpa, SHADOW_EXEC);
	if (rights & SHADOW_EXEC) {
		shadow_take_right(v, gpa, SHADOW_WRITE);
		tlb_drop_writes(bt_of(v), gpa);
		peers_claim_code(v, gpa); // devices are to tell
	}
}

bool shadow_map(struct vcpu *v, gva_t gva, gpa_t gpa, unsigned pages, unsigned rights)
{
	struct shadow *s = shadow_of(v);
	uint64_t size = (uint64_t)pages << PAGE_SHIFT;
	int err;

	if (s->form == FORM_MAPPED && meets_edge(s, gva, size))
		return false;
	if (s->n + pages > SHADOW_PAGES)
		shadow_drop(v);
	for (unsigned i = 0; i < pages; i++)
		settle_rights(v, gpa + (uint64_t)i * PAGE_SIZE, rights);
	err = host_map(v, gva, gpa, size, rights);
	if (err == VMM_MAP_FULL) {
		shadow_drop(v);
		err = host_map(v, gva, gpa, size, rights);
	}
	if (err)
		return false; // below the host's lowest address, say
	for (unsigned i = 0; i < pages; i++)
		note(s, (gva >> PAGE_SHIFT) + i, (gpa >> PAGE_SHIFT) + i, rights);
	bt_of(v)->st->shadow_maps++;
	bt_of(v)->st->shadow_pages += pages;
	return true;
}

void shadow_unmap(struct vcpu *v, gva_t gva, uint64_t size)
{
	struct shadow *s = shadow_of(v);
	bool any = false;

	if (size >> PAGE_SHIFT > s->n) {
		for (uint32_t i = s->n; i-- > 0;)
			if (((uint64_t)s->page[i].vpn << PAGE_SHIFT) - gva < size) {
				forget(s, &s->page[i]);
				any = true;
			}
	} else {
		for (gva_t at = gva; at < gva + size; at += PAGE_SIZE) {
			struct shadow_page *p = shadow_find(s, at);

			if (p)
				forget(s, p);
			any |= p != NULL;
		}
	}
	if (any && host_unmap(v, gva, size))
		shadow_drop(v); // too many mappings to cut one in two
}

// It was data and becomes code, or the other way round: where that goes on it is what most of the time is spent on.
static void take_from(struct vcpu *v, struct shadow_page p)
{
	enum { TURN_CYCLES = 25000 };

	policy_charge_churn(v, TURN_CYCLES);
	shadow_map(v, (gva_t)p.vpn << PAGE_SHIFT, (gpa_t)p.gfn << PAGE_SHIFT, 1, 0);
}

void shadow_take_right(struct vcpu *v, gpa_t gpa, enum shadow_rights right)
{
	struct shadow *s = shadow_of(v);
	uint64_t gfn = gpa >> PAGE_SHIFT, *f = right == SHADOW_WRITE ? s->frame : s->code;
	struct shadow_page *p;

	f += gfn & (SHADOW_FRAMES - 1);
	if (!*f)
		return;
	if (*f == SHADOW_MANY) {
		for (uint32_t i = 0; i < s->n; i++)
			if (s->page[i].gfn == gfn && s->page[i].rights & right)
				take_from(v, s->page[i]);
		return;
	}
	p = shadow_find(s, (*f - 1) << PAGE_SHIFT);
	if (p && p->gfn == gfn && p->rights & right)
		take_from(v, *p);
}
