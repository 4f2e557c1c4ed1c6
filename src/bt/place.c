// SPDX-License-Identifier: MIT
//
// From addresses in base code back to the guest: which instruction of which unit, in which registers. Thunks and
// routines do not know for whom they run; the return address on the host's stack does.
#include "base/string.h"
#include "bt/base.h"

static void set_map(struct bt *b, const uint8_t victim[3])
{
	uint8_t *map = b->base.map;

	for (unsigned r = 0; r < X86_GPRS; r++)
		map[r] = (uint8_t)home_of(r);
	for (unsigned r = 0; r < 3; r++)
		if (victim[r] != X86_REG_NONE) {
			map[HOMELESS_FIRST + r] = victim[r];
			map[victim[r]] = X86_REG_NONE;
		}
}

static uint16_t insn_at(const struct bt *b, const struct tu *t, uint32_t offset)
{
	const struct base_map *m = &b->base.bmap[t->first_map];
	uint32_t host = m->host;
	uint16_t guest = m->guest;

	for (uint32_t i = 1; i < t->nmaps && (host += m[i].host) <= offset; i++)
		guest = (uint16_t)(guest + m[i].guest);
	return guest;
}

static uint32_t exit_at(const struct bt *b, const struct tu *t, uint32_t at)
{
	for (uint32_t i = t->first_exit; i < t->first_exit + t->nexits; i++)
		if (b->exit[i].place == at && b->exit[i].tu == (uint32_t)(t - b->tu))
			return i;
	return 0;
}

// ra: behind a call in a base unit, or in a counted link.
void base_place(struct bt *b, const uint8_t *ra, struct place *p)
{
	const struct tu *t = tc_owner(b, ra - 1);
	uint32_t at = (uint32_t)(ra - b->tc);

	if (!t) { // a counted link
		memcpy(&p->exit, b->tc_rw + at + 5, sizeof(p->exit));
		p->tu = b->exit[p->exit].tu;
		p->ends = false;
		return;
	}
	*p = (struct place){.tu = (uint32_t)(t - b->tu), .guest = insn_at(b, t, at - 1 - t->start)};
	p->exit = exit_at(b, t, at - 5);
	p->ends = p->exit;
	if (!p->exit)
		p->exit = exit_at(b, t, at);
}

static struct place place_on_stack(struct bt *b, const uint64_t *rsp)
{
	struct place p;

	base_place(b, (const uint8_t *)*rsp, &p);
	return p;
}

// A check failed: T0 is the address.
const uint8_t *bt_base_miss(struct vcpu *v, const uint8_t *ra)
{
	struct bt *b = bt_of(v);
	uint64_t *host = (uint64_t *)((char *)v + SLOT_HOST_REGS);
	const struct base_site *bs = base_site_at(b, (uint32_t)(ra - b->tc));
	struct place p = place_on_stack(b, (const uint64_t *)(host[X86_RSP] + 8 + bs->on_stack));
	struct site s = bs->site;
	gva_t gva = host[HOST_T0];

	s.tu = p.tu;
	s.guest = p.guest;
	set_map(b, bs->victim);
	host[HOST_T1] = (uint64_t)tlb_learn(v, &s, gva);
	host[HOST_T0] = gva & PAGE_OFFSET;
	return ra;
}

// An exit in a thunk was taken: where the guest goes on, the stack of calls being put right.
uint64_t base_return(struct vcpu *v, struct exit *x)
{
	struct bt *b = bt_of(v);
	uint64_t *calls = (uint64_t *)((char *)v + SLOT_CALLS);
	struct place p = place_on_stack(b, (const uint64_t *)*calls);

	*calls += 8;
	b->last_unit = p.tu;
	return b->tu[p.tu].pc + p.guest + exit_pc(b, x);
}

static bool is_shared(const struct bt *b, const uint8_t *host)
{
	return host >= b->tc && host < b->tc + b->base.cold_end;
}

// A host exception in base code. False: it is elsewhere.
bool base_host_fault(struct bt *b, const uint8_t *rip, const uint64_t *host, struct tu **t, struct insn_map *m)
{
	static const uint8_t none[3] = {X86_REG_NONE, X86_REG_NONE, X86_REG_NONE};
	struct tu *owner = tc_owner(b, rip);
	const struct thunk *th;
	struct place p;

	if (owner && owner->tier == TIER_BASE) {
		*m = (struct insn_map){.guest = insn_at(b, owner, (uint32_t)(rip - b->tc) - owner->start), .flags = FLAGS_HOST};
		*t = owner;
		set_map(b, none);
		return true;
	}
	if (!is_shared(b, rip) || rip < b->tc + THUNKS_AT)
		return false;
	th = thunk_at(b, (uint32_t)(rip - b->tc));
	p = place_on_stack(b, (const uint64_t *)host[X86_RSP]);
	*m = (struct insn_map){.guest = p.guest, .flags = th->flags, .saved_ax = th->saved_ax};
	*t = &b->tu[p.tu];
	set_map(b, th->victim);
	return true;
}
