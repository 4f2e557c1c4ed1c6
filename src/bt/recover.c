// SPDX-License-Identifier: MIT
//
// From host state in the middle of a unit back to the guest's canonical state between two instructions. A unit's
// register map is one for the whole unit, so the host registers and the unit tell every guest register; where the
// arithmetic flags are stands with each check (struct site) and each copied instruction (struct insn_map).
#include "base/string.h"
#include "bt/bt.h"
#include "bt/host_signal.h"

enum { HOST_FLAGS_MASK = RFLAGS_ARITH | RFLAGS_DF };

static uint64_t flags_from_slot(const struct vcpu *v)
{
	uint16_t ax = *(const uint16_t *)((const char *)v + SLOT_FLAGS);

	return (ax >> 8 & (RFLAGS_ARITH & ~RFLAGS_OF)) | (ax & 0xff ? RFLAGS_OF : 0);
}

static uint64_t flags_by_recipe(const struct vcpu *v, uint32_t number, const uint64_t *gpr)
{
	ASSERT(number < RECIPES_MAX);
	return recipe_flags(&bt_of(v)->recipe[number], gpr, (const uint64_t *)((const char *)v + SLOT_NOTES),
			    *((const char *)v + SLOT_NOTE_CARRY) & 1);
}

// The flags that FLAGS_NOTED stands for.
uint64_t recover_noted(const struct vcpu *v, const uint64_t *gpr)
{
	uint32_t number = *(const uint32_t *)((const char *)v + SLOT_RECIPE);

	return number ? flags_by_recipe(v, number, gpr) : flags_from_slot(v);
}

// Called by bt_stub_flags: noted flags to the host's. Behind the call: the unit whose registers these are, or 0 if they
// are in their homes.
const uint8_t *bt_make_flags(struct vcpu *v, const uint8_t *ra)
{
	const struct tu *t = &bt_of(v)->tu[*(const uint32_t *)(ra + 3)];
	const uint64_t *host = (const uint64_t *)((const char *)v + SLOT_HOST_REGS);
	uint64_t *host_flags = (uint64_t *)((char *)v + SLOT_HOST_FLAGS), gpr[X86_GPRS];
	const uint8_t *map = hot_of(bt_of(v), t)->map;
	bool homes = t == bt_of(v)->tu;

	for (unsigned r = 0; r < X86_GPRS; r++) {
		unsigned at = homes ? home_of(r) : map[r];

		gpr[r] = at == X86_REG_NONE ? v->gpr[r] : host[at];
	}
	*host_flags = (*host_flags & ~(uint64_t)RFLAGS_ARITH) | recover_noted(v, gpr);
	bt_of(v)->st->flags_made++;
	return ra;
}

// host[]: the 16 host registers; host_flags: the host's RFLAGS.
static void recover(struct vcpu *v, const struct tu *t, int guest_off, int ahead, unsigned homed,
		    enum flag_state flags, uint16_t recipe, const uint64_t *host, uint64_t host_flags)
{
	bool iflag = *(const uint64_t *)((const char *)v + SLOT_IF) & 1;
	uint64_t arith = host_flags & RFLAGS_ARITH;
	const uint8_t *map = t->tier == TIER_BASE ? bt_of(v)->base.map : hot_of(bt_of(v), t)->map;

	for (unsigned r = 0; r < X86_GPRS; r++)
		if (map[r] != X86_REG_NONE && !(homed & BIT(r)))
			v->gpr[r] = host[map[r]];
	if (ahead && (t->mode & MODE_CODE) == MODE_CODE64)
		v->gpr[X86_RSP] += (uint64_t)(ahead * 8);
	else if (ahead)
		v->gpr[X86_RSP] = (uint32_t)(v->gpr[X86_RSP] + (uint64_t)(ahead * 4));
	switch (flags) {
	case FLAGS_RECIPE: arith = flags_by_recipe(v, recipe, v->gpr); break;
	case FLAGS_SLOT: arith = flags_from_slot(v); break;
	case FLAGS_NOTED: arith = recover_noted(v, v->gpr); break;
	case FLAGS_HOST: case FLAGS_NONE: break;
	}
	vcpu_set_linear_pc(v, t->pc + (uint64_t)(int64_t)guest_off);
	v->rflags = (v->rflags & ~(uint64_t)(HOST_FLAGS_MASK | RFLAGS_IF)) | arith | (host_flags & RFLAGS_DF) |
		    (iflag ? RFLAGS_IF : 0);
}

void recover_site(struct vcpu *v, const struct site *s)
{
	const char *state = (const char *)v;

	recover(v, &bt_of(v)->tu[s->tu], s->guest, 0, s->homed, s->flags, s->recipe,
		(const uint64_t *)(state + SLOT_HOST_REGS),
		*(const uint64_t *)(state + SLOT_HOST_FLAGS));
}

// Which exception of the guest a host signal in its translated instruction stands for.
static bool guest_exception(const struct vcpu *v, const struct host_fault *f, struct vcpu_fault *out)
{
	*out = (struct vcpu_fault){.pending = true};
	switch (f->trapno) {
	case VEC_XM:
		out->vector = v->cr4 & CR4_OSXMMEXCPT ? VEC_XM : VEC_UD;
		return true;
	case VEC_DE: case VEC_MF: case VEC_UD: case VEC_BR:
		out->vector = (uint8_t)f->trapno;
		return true;
	case VEC_GP: case VEC_SS: case VEC_AC: // an unaligned vector operand, a bad XSAVE header: #GP(0), #AC(0)
		out->vector = (uint8_t)f->trapno;
		out->has_error = true;
		return true;
	default:
		return false;
	}
}

// The stack of calls is full, in translated code or in a stub: begin anew, with what may be on its way on it, and try
// again. What lies below is of the same mode, or the user's, which ends at the floor. Zone checks may read there
// too, but not so near to RSP for long.
static bool calls_overflow(struct vcpu *v, const struct host_fault *f, void *ucontext)
{
	const uint64_t *floor = (const uint64_t *)((const char *)v + SLOT_CALLS_FLOOR);
	uint64_t low = (uint64_t)v + ZONE_VCPU_CALLS, rsp = f->gpr[X86_RSP], n;

	if (f->trapno != VEC_PF || f->cr2 >= low || f->cr2 < low - PAGE_SIZE || rsp < low || rsp > *floor ||
	    rsp - f->cr2 > PAGE_SIZE)
		return false;
	n = MIN(*floor - rsp, 256);
	tc_forget_calls(v);
	memmove((void *)(*floor - n), (const void *)rsp, n);
	host_fault_set_rsp(ucontext, *floor - n);
	return true;
}

// The instruction whose access faulted, in a hot unit or a base one.
static bool accessing(struct bt *b, const struct host_fault *f, struct tu **t, struct insn_map *m)
{
	const uint8_t *rip = (const uint8_t *)f->rip;

	*t = tc_owner(b, rip);
	if (!*t || !((*t)->mode & MODE_MAPPED))
		return false;
	if ((*t)->tier == TIER_BASE)
		return base_host_fault(b, rip, f->gpr, t, m);
	return insn_map_find(b, *t, (uint32_t)(rip - b->tc - (*t)->start), m);
}

// Memory accesses of the mapped form fault in the host: hidden, or the careful form finds out what it is - a true
// fault, a device, an address in the zone, or none at all.
static bool mapped_fault(struct vcpu *v, const struct host_fault *f, void *ucontext)
{
	enum shadow_answer answer = ANSWER_NEVER;
	struct insn_map m;
	struct tu *t;

	if (f->trapno != VEC_PF && f->trapno != VEC_GP && f->trapno != VEC_SS)
		return false;
	if (!accessing(bt_of(v), f, &t, &m))
		return false;
	if (f->trapno == VEC_PF)
		answer = shadow_fault(v, f->cr2, f->err & PF_W);
	if (answer == ANSWER_MAPPED)
		return true;
	if (m.saved_ax)
		return false;
	if (answer == ANSWER_DEVICE || (answer == ANSWER_NEVER && bt_of(v)->mapped_kernel))
		device_met(bt_of(v), t, t->pc + (uint64_t)(int64_t)m.guest);
	recover(v, t, m.guest, m.ahead, m.homed, m.flags, m.recipe, f->gpr, f->rflags);
	v->count_left += m.left + 1;
	bt_of(v)->st->shadow_true++;
	host_fault_leave(ucontext, (uint64_t)bt_leave, LEAVE_CAREFUL);
	return true;
}

// A host exception at an address in the translation cache: make it the guest's. False: it is a bug of ours.
bool bt_host_fault(struct vcpu *v, int sig, const void *info, void *ucontext)
{
	struct bt *b = bt_of(v);
	struct vcpu_fault fault;
	struct insn_map m;
	struct host_fault f;
	struct tu *t;

	host_fault_read(&f, ucontext);
	if (calls_overflow(v, &f, ucontext))
		return true;
	if (f.rip - (uint64_t)b->tc >= b->tc_size)
		return false;
	if (mapped_fault(v, &f, ucontext))
		return true;
	if (!guest_exception(v, &f, &fault))
		return false;
	if (!base_host_fault(b, (const uint8_t *)f.rip, f.gpr, &t, &m)) {
		t = tc_owner(b, (const uint8_t *)f.rip);
		if (!t || !insn_map_find(b, t, (uint32_t)(f.rip - (uint64_t)b->tc - t->start), &m))
			return false;
	}
	recover(v, t, m.guest, m.ahead, m.homed, m.flags, m.recipe, f.gpr, f.rflags);
	if (m.saved_ax) {
		v->gpr[X86_RAX] = *(const uint64_t *)((const char *)v + SLOT_RAX);
		v->gpr[X86_RDX] = *(const uint64_t *)((const char *)v + SLOT_TMP);
	}
	v->count_left += m.left;
	v->fault = fault;
	b->st->host_faults++;
	host_fault_leave(ucontext, (uint64_t)bt_leave, LEAVE_FAULT);
	return true;
}
