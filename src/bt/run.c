// SPDX-License-Identifier: MIT
//
// The run loop. Between two units the guest's state is canonical and everything rare happens here: exceptions and
// interrupts are delivered, system instructions run in C, units are found, made, chained. vcpu_raise from anywhere
// below lands at the top of the loop.
#include "base/jump.h"
#include "bt/run.h"
#include "bt/selfcheck.h"
#include "bt/vector.h"

_Static_assert(offsetof(struct vcpu, gpr) == VCPU_GPR && offsetof(struct vcpu, rip) == VCPU_RIP &&
	       offsetof(struct vcpu, rflags) == VCPU_RFLAGS && offsetof(struct vcpu, pending) == VCPU_PENDING &&
	       offsetof(struct vcpu, tsc_offset) == VCPU_TSC_OFFSET && offsetof(struct vcpu, seg) == VCPU_SEG &&
	       offsetof(struct vcpu, bt) == VCPU_BT && offsetof(struct vcpu, seg_room) == VCPU_ROOM &&
	       sizeof(struct x86_seg) == VCPU_SEG_SIZE && offsetof(struct x86_seg, base) == VCPU_SEG_BASE,
	       "ORDER VCPU: bt/slots.h");
_Static_assert(offsetof(struct bt, tlb_r) == 0 && BT_TLB_R == BT_OFFSET && BT_TLB_STRIDE == sizeof(struct tlb) &&
	       BT_TLB_W == BT_OFFSET + offsetof(struct bt, tlb_w) && BT_TLB_BITS == TLB_BITS, "ORDER TLB");

static struct itab *present_table(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct itab *it = &b->itab[tc_mode_id(b, b->mode_now)];

	*bt_slot(v, SLOT_IF) = !!(v->rflags & RFLAGS_IF);
	*bt_slot(v, SLOT_TABLE) = (uint64_t)it->e;
	return it;
}

static uint64_t enter(struct vcpu *v, const struct tu *t)
{
	uint64_t why;

	present_table(v);
	pmu_goes(v);
	why = bt_enter(bt_of(v)->tc + t->entry, (v->rflags & LIVE_FLAGS) | RFLAGS_FIXED1);
	pmu_stops(v);
	bt_take_state(v, why);
	return why;
}

static bool leads_on(const struct bt *b, const struct itab *it, uint64_t pc)
{
	unsigned mode_id = (unsigned)(it - b->itab);

	return it->e[itab_index(pc)] != base_lookup_of(b, mode_id) || base_has(b, mode_id, pc);
}

// As an indirect branch does, without looking for the unit. False: the table has nothing there.
static bool enter_by_table(struct vcpu *v, uint64_t *why)
{
	struct bt *b = bt_of(v);
	struct itab *it = present_table(v);
	gva_t pc = vcpu_linear_pc(v);
	const uint8_t *entry = it->e[itab_index(pc)];

	if (!leads_on(b, it, pc) || b->link_exit || b->want_table || b->want_hot || v->rflags & RFLAGS_DF)
		return false;
	*bt_slot(v, SLOT_RECIPE) = 0;
	*bt_slot(v, SLOT_FLAGS) = (v->rflags & (RFLAGS_ARITH & ~RFLAGS_OF)) << 8 | !!(v->rflags & RFLAGS_OF);
	pmu_goes(v);
	*why = bt_enter_table(entry, pc);
	pmu_stops(v);
	bt_take_state(v, *why);
	return true;
}

uint64_t bt_enter_unit(struct vcpu *v, const struct tu *t)
{
	uint64_t why = enter(v, t);

	bt_note_exit(v, why);
	return why;
}

// The traps that follow an instruction: single-step and data breakpoints.
static void after_insn(struct vcpu *v, uint64_t rflags_before)
{
	struct bt *b = bt_of(v);
	uint64_t dr6 = b->data_hits;

	if (rflags_before & RFLAGS_TF && !(b->sys_effect & SYS_NO_TRAP))
		dr6 |= DR6_BS;
	if (!(b->sys_effect & SYS_KEEP_RF))
		v->rflags &= ~(uint64_t)RFLAGS_RF;
	if (v->shadow & SHADOW_MOV_SS)
		return; // its own data breakpoints wait for the next one's end
	b->data_hits = 0;
	if (dr6)
		vcpu_raise_db(v, dr6);
}

// At a breakpoint: ask for a stop, unless the last one was here; then go on over it.
static bool passes_breakpoint(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	bool had = b->stopped && b->stopped_at == v->rip;

	b->stopped = false;
	if (!had)
		v->pending |= PENDING_STOP;
	return had;
}

// --deterministic: are there fewer instructions to the next timer than a unit may hold? One may always run: a timer
// that is due waits for the end of an interrupt shadow.
static bool few_left(struct vcpu *v)
{
	if (!v->counts)
		return false;
	if (v->count_left < 1) {
		v->count_left++;
		v->count_end++;
	}
	return v->count_left < TRACE_INSNS;
}

// Is it this unit's turn to be checked, and has that been done?
static bool run_checked(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	uint64_t why;

	if (!b->sh->config.selfcheck || v->counts || ++b->check.countdown < b->sh->config.selfcheck)
		return false;
	b->check.countdown = 0;
	if (!selfcheck_unit(v, &why))
		return false;
	if (why != ~UINT64_C(0))
		bt_left(v, why);
	return true;
}

static bool is_far_from_user(uint64_t address)
{
	return address >> 44 == ZONE_START >> 44 || address >> 47;
}

// Code in the zone, or with a fault for an address, is not for the mapped form: what it refers to by its own address
// would be there. Nor is any code while its stack is there (stack_trust.c). One instruction at a time, linked to
// nothing.
static uint32_t mode_for(const struct vcpu *v, const struct bt *b)
{
	if (b->mode_now & MODE_MAPPED && (is_far_from_user(v->rip) || is_far_from_user(v->gpr[X86_RSP])))
		return (b->mode_now & ~(uint32_t)MODE_MAPPED) | MODE_ONE;
	return b->mode_now;
}

// A kernel in the mapped form may leave the lower half between any two units.
static uint32_t present_mode(struct vcpu *v)
{
	struct bt *b = bt_of(v);

	if (b->mapped_kernel && (v->rip >> 47 || v->gpr[X86_RSP] >> 47))
		bt_set_mode(v);
	return mode_for(v, b);
}

static void run_unit(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	uint64_t rflags = v->rflags;
	uint32_t mode = present_mode(v);
	bool at_breakpoint = debugger_breaks_at(&b->sh->debugger, vcpu_linear_pc(v));
	bool one = v->shadow || rflags & RFLAGS_TF || v->dr[7] & 0xff || b->step || at_breakpoint ||
		   few_left(v);
	struct tu *t;
	uint64_t why;

	if (at_breakpoint && !b->careful && !passes_breakpoint(v))
		return;
	if (mode & MODE_CS && v->rip > v->seg[X86_CS].limit)
		vcpu_raise(v, VEC_GP, 0);

	if (!one)
		v->rflags &= ~(uint64_t)RFLAGS_RF; // without breakpoints only a fault would show it, and pushes it set
	if (b->flush_tc || b->nmodes + MODES_SPARE > MODES_MAX)
		tc_flush(v);
	else if (b->wants_room)
		tc_make_wanted_room(v);
	if (mode & MODE_DIRECT) {
		enum shadow_ran ran = one || b->careful ? SHADOW_STEP : shadow_run(v);

		if (ran != SHADOW_TRANSLATE) { // what leads there and back is not linked
			b->link_exit = 0;
			b->want_table = b->want_hot = b->apart = false;
			mode = (mode & ~(uint32_t)MODE_DIRECT) | MODE_ONE;
		}
		if (ran == SHADOW_RAN)
			return;
	}
	if (one || b->careful)
		mode |= MODE_ONE;
	if (b->careful || (one && debug_watches_data(v)))
		mode |= MODE_CAREFUL | MODE_ONE;
	if (b->sh->config.stress & STRESS_CAREFUL)
		mode |= MODE_CAREFUL;
	if (mode & MODE_CAREFUL)
		mode &= ~(uint32_t)MODE_MAPPED;
	b->st->careful += b->careful;
	// Intel's MOV SS and POP SS hold the next instruction's breakpoint back, AMD's do not.
	if (v->dr[7] & 0xff && !(rflags & RFLAGS_RF) && (v->amd || !(v->shadow & SHADOW_MOV_SS)))
		debug_check_fetch(v, vcpu_linear_pc(v));
	if (mode == b->mode_now && run_checked(v))
		return;
	if (mode == b->mode_now && b->apart)
		mode |= MODE_APART;
	b->apart = false;
	if (mode == b->mode_now && !one && enter_by_table(v, &why)) {
		bt_note_exit(v, why);
		bt_left(v, why);
		return;
	}
	b->want_table |= !b->link_exit;
	t = bt_find_unit(v, mode);
	b->careful = false;
	b->last_unit = (uint32_t)(t - b->tu);
	b->sys_effect = 0;
	v->shadow = 0;
	if (bt_left(v, bt_enter_unit(v, t)) && one)
		after_insn(v, rflags);
}

// --stress=flush: at every turn of the run loop together with nochain, else after 1 to 1024 turns.
static bool flush_is_due(struct bt *b)
{
	if (b->sh->config.stress & STRESS_NOCHAIN || !b->flush_in) {
		b->flush_random = b->flush_random * 1664525 + 1013904223;
		b->flush_in = b->flush_random >> 22;
		return true;
	}
	b->flush_in--;
	return false;
}

static void step(struct vcpu *v)
{
	struct bt *b = bt_of(v);

	if (v->fault.pending) {
		bt_deliver_fault(v);
		return;
	}
	if (v->counting && v->count_left <= 0)
		v->pending |= PENDING_TIMER;
	else if (v->counts && v->count_left <= 0)
		pmu_update(v);
	if (v->activity != VCPU_RUNNING) {
		bt_idle(v);
		return;
	}
	if (v->pending && !v->shadow && !b->careful)
		bt_service(v);
	else if (b->nmi_waits && !v->nmi_blocked && !v->shadow)
		bt_try_nmi(v);
	else if (*bt_slot(v, SLOT_IRQ_WAIT) && v->rflags & RFLAGS_IF && !v->shadow && !b->careful)
		bt_try_interrupt(v);
	if (v->activity == VCPU_RUNNING)
		run_unit(v);
	if (b->sh->config.stress & STRESS_FLUSH && !b->careful && flush_is_due(b)) {
		tlb_flush(v, true);
		bt_set_mode(v);
		b->flush_tc = true;
	}
}

void bt_init(struct vcpu *v)
{
	struct bt *b = bt_of(v);

	b->sh = v->shared;
	b->st = vcpu_stats(v);
	b->peers = v->peers;
	b->me = (uint16_t)BIT(v->index);
	b->smp = v->peers && v->shared->config.vcpus > 1;
	b->pauses_yield = b->smp && vmm_processors(v) < v->shared->config.vcpus;
	tc_init(v);
	tlb_init(b);
	known_init(b);
	vector_init(b);
	host_flags_find(&b->host_flags);
	b->mode_now = bt_mode(v);
	segments_measure(v, b->mode_now);
	b->key = bt_translation_key(v);
}

_Noreturn void bt_run(struct vcpu *v)
{
	jump_set(&v->landing); // vcpu_raise comes back here, with v->fault to deliver
	tc_forget_calls(v);
	selfcheck_stop(v);
	pmu_stops(v);
	for (;;)
		step(v);
}
