// SPDX-License-Identifier: MIT
//
// The run loop. Between two units the guest's state is canonical and everything rare happens here: exceptions and
// interrupts are delivered, system instructions run in C, units are found, made, chained. vcpu_raise from anywhere
// below lands at the top of the loop.
#include "base/jump.h"
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

enum { LIVE_FLAGS = RFLAGS_ARITH | RFLAGS_DF };

static uint64_t *slot(struct vcpu *v, unsigned off)
{
	return (uint64_t *)((char *)v + off);
}

// -- the mode ---------------------------------------------------------------------------------------------------------

static bool alignment_checked(const struct vcpu *v)
{
	return v->cpl == 3 && v->cr0 & CR0_AM && v->rflags & RFLAGS_AC;
}

uint32_t bt_mode(const struct vcpu *v)
{
	uint32_t m = vcpu_code64(v) ? MODE_CODE64 : segments_mode(v);

	if (v->cpl == 3)
		m |= MODE_USER | (vcpu_code64(v) ? (uint32_t)*slot((struct vcpu *)(uintptr_t)v, SLOT_MAPPED) : 0);
	else if (v->cr4 & CR4_SMAP && v->rflags & RFLAGS_AC)
		m |= MODE_AC;
	if (alignment_checked(v))
		m |= MODE_CAREFUL | MODE_ONE;
	if (v->cr0 & (CR0_TS | CR0_EM))
		m |= MODE_FPU_NM;
	if (v->cr0 & CR0_EM || !(v->cr4 & CR4_OSFXSR))
		m |= MODE_SSE_UD;
	if (v->cr0 & CR0_TS)
		m |= MODE_SSE_NM | (v->cr0 & CR0_MP ? MODE_WAIT_NM : 0);
	return m;
}

// What else translation depends on, and changes so rarely that a change throws all units away.
static uint64_t translation_key(const struct vcpu *v)
{
	uint64_t key = (v->cr4 & (CR4_OSXSAVE | CR4_FSGSBASE | CR4_PKE | CR4_VMXE | CR4_SMAP | CR4_TSD)) ^ v->xcr0 << 32;

	return key ^ v->lstar * 3 ^ v->star * 5 ^ v->fmask * 7 ^ (v->efer & EFER_SCE) << 60;
}

// -- reactions --------------------------------------------------------------------------------------------------------

static uint16_t present_pcid(const struct vcpu *v)
{
	return v->cr4 & CR4_PCIDE ? v->cr3 & 0xfff : 0;
}

// MOV to CR3, or INVPCID of one context.
static void flush_space(struct vcpu *v, const struct sys_result *res)
{
	struct bt *b = bt_of(v);

	if (!res->flush_pcid_valid)
		shadow_flush(v);
	else if (!res->flush_keep)
		shadow_flush_pcid(v, res->flush_pcid);
	if (!res->flush_pcid_valid) {
		space_drop_all(b);
		tlb_flush(v, false);
		b->pcid = present_pcid(v);
	} else if (res->flush_pcid != present_pcid(v)) {
		space_drop(b, res->flush_pcid);
	} else {
		space_switch(v, res->flush_pcid, res->flush_keep);
	}
}

void vcpu_space_changed(struct vcpu *v)
{
	flush_space(v, &(struct sys_result){0});
}

// INVLPG, or INVPCID of one address.
static void flush_page(struct vcpu *v, const struct sys_result *res)
{
	shadow_flush_page(v, res->flush_gva);
	if (res->flush_pcid_valid && res->flush_pcid != present_pcid(v))
		space_drop(bt_of(v), res->flush_pcid);
	else
		tlb_flush_page(v, res->flush_gva);
}

static void set_mode(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	uint32_t mapped = shadow_mode(v), mode;
	bool changed = mapped != *slot(v, SLOT_MAPPED);

	*slot(v, SLOT_MAPPED) = mapped;
	mode = bt_mode(v);
	if (mode & MODE_SEGS)
		segments_measure(v);
	if (changed || mode != b->mode_now)
		tc_forget_calls(v);
	b->mode_now = mode;
}

static void apply(struct vcpu *v, const struct sys_result *res)
{
	struct bt *b = bt_of(v);

	if (res->effect & SYS_FLUSH_ALL) {
		tlb_flush(v, true);
		b->pcid = present_pcid(v);
	} else if (res->effect & SYS_FLUSH_TLB)
		flush_space(v, res);
	if (res->effect & SYS_FLUSH_PAGE)
		flush_page(v, res);
	set_mode(v);
	if (b->key != translation_key(v)) {
		b->key = translation_key(v);
		b->flush_tc = true;
	}
}

static const char *vector_name(unsigned vector)
{
	static const char *const names[] = {"#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "9",
					    "#TS", "#NP", "#SS", "#GP", "#PF", "15",  "#MF", "#AC", "#MC", "#XM"};

	return vector < ARRAY_SIZE(names) ? names[vector] : "?";
}

static void note_fault(struct vcpu *v)
{
	vcpu_log_exit(v, vector_name(v->fault.vector), v->fault.vector == VEC_PF ? v->fault.cr2 : v->fault.error);
	vmm_trace(v, LOG_FAULT, "fault: %s error %x at %04x:%016lx cpl %u cr2 %lx\n", vector_name(v->fault.vector),
		  v->fault.error, v->seg[X86_CS].sel, v->rip, v->cpl, v->fault.vector == VEC_PF ? v->fault.cr2 : v->cr2);
}

static void deliver_fault(struct vcpu *v)
{
	struct sys_result res = {0};
	struct bt *b = bt_of(v);

	b->st->faults++;
	b->st->page_faults += v->fault.vector == VEC_PF;
	note_fault(v);
	b->data_hits = 0;
	sys_deliver_fault(v, &res);
	v->shadow = 0;
	apply(v, &res);
}

// Deliver the pending interrupt if the guest takes it now; else see to it that we hear when it does.
static void try_interrupt(struct vcpu *v)
{
	struct sys_result res = {0};
	bool waits = vmm_next_interrupt(v) >= 0;

	*slot(v, SLOT_IRQ_WAIT) = waits;
	if (!waits || v->shadow || !(v->rflags & RFLAGS_IF))
		return;
	if (bt_of(v)->step && v->activity == VCPU_RUNNING)
		return; // a debugger's step does not end in a handler
	v->activity = VCPU_RUNNING;
	uint8_t vector = vmm_ack_interrupt(v);

	vcpu_log_exit(v, "interrupt", vector);
	vmm_trace(v, LOG_IRQ, "irq: vector %02x delivered at %lx\n", vector, v->rip);
	bt_of(v)->st->irqs++;
	*slot(v, SLOT_IRQ_WAIT) = vmm_next_interrupt(v) >= 0;
	sys_deliver_interrupt(v, vector, SYS_INT_EXTERNAL, &res);
	apply(v, &res);
}

static void try_nmi(struct vcpu *v)
{
	struct sys_result res = {0};

	if (!bt_of(v)->nmi_waits || v->nmi_blocked || v->shadow)
		return;
	bt_of(v)->nmi_waits--;
	bt_of(v)->st->nmis++;
	v->activity = VCPU_RUNNING;
	sys_deliver_interrupt(v, VEC_NMI, SYS_INT_NMI, &res);
	apply(v, &res);
}

// INIT, and what may follow it.
static void start_anew(struct vcpu *v, uint32_t what)
{
	struct bt *b = bt_of(v);

	if (what & PENDING_INIT) {
		vcpu_init(v);
		b->nmi_waits = 0;
		*slot(v, SLOT_IRQ_WAIT) = false;
		tlb_flush(v, true);
	}
	if (what & PENDING_SIPI)
		vcpu_sipi(v);
	vmm_trace(v, LOG_RESET, "reset: vcpu %u: %s%s, at %x:%lx\n", v->index, what & PENDING_INIT ? "INIT " : "",
		  what & PENDING_SIPI ? "SIPI" : "", v->seg[X86_CS].sel, v->rip);
	if (v->activity == VCPU_RUNNING) {
		set_mode(v);
		b->flush_tc |= b->key != translation_key(v);
		b->key = translation_key(v);
	}
}

static void service(struct vcpu *v)
{
	uint32_t left = vmm_service_pending(v);

	sample_serve(v);
	if (left & PENDING_PEERS)
		peers_serve(v);
	if (left & (PENDING_INIT | PENDING_SIPI))
		start_anew(v, left);
	if (left & PENDING_FLUSH) { // the debugger has had a stop
		bt_of(v)->stopped = true;
		bt_of(v)->stopped_at = v->rip;
		tlb_flush(v, true);
		bt_of(v)->flush_tc = true;
		set_mode(v);
	}
	bt_of(v)->step = left & PENDING_STEP;
	if (v->activity == VCPU_WAIT_SIPI)
		return;
	if (left & PENDING_NMI) {
		unsigned came = __atomic_exchange_n((uint32_t *)&v->nmis, 0, __ATOMIC_SEQ_CST);

		bt_of(v)->nmi_waits = MIN(bt_of(v)->nmi_waits + came, v->nmi_blocked ? 1u : 2u);
		try_nmi(v);
	}
	try_interrupt(v);
}

static void idle(struct vcpu *v)
{
	if (v->activity == VCPU_SHUTDOWN)
		vmm_reset(v, RESET_TRIPLE_FAULT);
	if (v->pending)
		service(v);
	else if (*slot(v, SLOT_IRQ_WAIT) && v->rflags & RFLAGS_IF)
		try_interrupt(v);
	if (v->activity != VCPU_RUNNING && v->activity != VCPU_SHUTDOWN && !v->pending)
		vmm_halt(v);
}

// -- one unit ---------------------------------------------------------------------------------------------------------

static void note_pages(struct bt *b, const struct tu *t, gpa_t gpa, bool global)
{
	code_note_vpage(b, t->pc, gpa, global);
	if (t->gpa2 != ~UINT64_C(0))
		code_note_vpage(b, t->pc + PAGE_SIZE, t->gpa2, global);
}

static void link(struct vcpu *v, struct exit *x, struct tu *t, gpa_t gpa, bool global)
{
	struct bt *b = bt_of(v);
	bool crosses = (x->pc ^ b->tu[x->tu].pc) >> PAGE_SHIFT || t->gpa2 != ~UINT64_C(0);

	if (x->pc != t->pc || (b->tu[x->tu].mode ^ t->mode) & ~(uint32_t)MODE_APART ||
	    !tc_same_cs(t, b->tu[x->tu].cs_base, b->tu[x->tu].cs_limit) ||
	    (x->kind == EXIT_APART) != !!(t->mode & MODE_APART))
		return; // something was delivered in between
	if (crosses) {
		if (!t->footing)
			note_pages(b, t, gpa, global);
	}
	if (x->target && &b->tu[x->target] != t)
		tc_unlink(b, (uint32_t)(x - b->exit)); // its guard finds a footing that another space has
	tc_link(b, x, t);
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
	return want || t->favour == FAVOUR_WANTED ? bt_promote(v, t) : t;
}

// What was worth a hot unit in one form of memory access is so in the other.
static enum tier first_tier(struct bt *b, uint64_t pc, gpa_t gpa, uint32_t mode)
{
	const struct tu *other = mode & MODE_MAPPED ? tc_find(b, pc, gpa, mode ^ MODE_MAPPED) : NULL;

	return mode & MODE_APART || (other && other->tier == TIER_HOT) ? TIER_HOT : TIER_BASE;
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
	if (t && t->gpa2 != ~UINT64_C(0)) { // does it still continue on the same second page?
		code_gpa(v, (pc | PAGE_OFFSET) + 1, &gpa2, &global2);
		if (gpa2 != t->gpa2) {
			code_unwatch(b, t);
			tc_retire(b, t);
			t = NULL;
		}
	}
	if (!t)
		t = bt_translate(v, pc, gpa, mode, first_tier(b, pc, gpa, mode));
	t = hotter(v, t);
	if (t->gpa2 != ~UINT64_C(0))
		code_gpa(v, (pc | PAGE_OFFSET) + 1, &gpa2, &global2);
	global &= global2;
	if (plain && (!(t->pc >> 63) || (!global && b->spaces_differ))) {
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

static void canonical_flags(struct vcpu *v, bool noted)
{
	uint64_t host = *slot(v, SLOT_HOST_FLAGS);

	if (noted)
		host = (host & ~(uint64_t)RFLAGS_ARITH) | recover_noted(v, v->gpr);
	v->rflags = (v->rflags & ~(uint64_t)(LIVE_FLAGS | RFLAGS_IF)) | (host & LIVE_FLAGS) |
		    (*slot(v, SLOT_IF) & 1 ? RFLAGS_IF : 0);
}

static struct itab *present_table(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct itab *it = &b->itab[tc_mode_id(b, b->mode_now)];

	*slot(v, SLOT_IF) = !!(v->rflags & RFLAGS_IF);
	*slot(v, SLOT_TABLE) = (uint64_t)it->e;
	return it;
}

static void take_state(struct vcpu *v, uint64_t why)
{
	struct bt *b = bt_of(v);
	uint32_t exit = (uint32_t)(why >> 8);
	unsigned how = why & 0xff;

	if (how == LEAVE_AT) {
		base_place(b, (const uint8_t *)*slot(v, SLOT_TMP), &b->place);
		exit = b->place.exit;
	}
	if (how == LEAVE_EXIT || how == LEAVE_IND || how == LEAVE_AT)
		canonical_flags(v, how == LEAVE_IND || b->exit[exit].flags_noted);
}

static uint64_t enter(struct vcpu *v, const struct tu *t)
{
	uint64_t why;

	present_table(v);
	why = bt_enter(t->entry, (v->rflags & LIVE_FLAGS) | RFLAGS_FIXED1);
	take_state(v, why);
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
	const uint8_t *entry = it->e[itab_index(v->rip)];

	if (!leads_on(b, it, v->rip) || b->link_exit || b->want_table || b->want_hot || v->rflags & RFLAGS_DF)
		return false;
	*slot(v, SLOT_RECIPE) = 0;
	*slot(v, SLOT_FLAGS) = (v->rflags & (RFLAGS_ARITH & ~RFLAGS_OF)) << 8 | !!(v->rflags & RFLAGS_OF);
	*why = bt_enter_table(entry, v->rip);
	take_state(v, *why);
	return true;
}

static bool does_io(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_IN || insn->class == X86_CLASS_OUT || insn->class == X86_CLASS_INS ||
	       insn->class == X86_CLASS_OUTS;
}

uint32_t bt_system_insn(struct vcpu *v, const struct x86_insn *insn)
{
	struct sys_result res = {0};
	uint64_t before = v->rflags;

	bt_of(v)->st->sys_insns++;
	sys_execute(v, insn, &res);
	if (v->dr[7] & 0xff && does_io(insn))
		debug_note_io(v, insn);
	if (insn->class == X86_CLASS_INT1)
		debug_join_int1(v);
	apply(v, &res);
	if (res.effect & SYS_HALT && v->activity == VCPU_HALTED)
		vmm_trace(v, LOG_EXIT, "halt at %lx\n", v->rip);
	if (insn->class == X86_CLASS_SYSRET && v->rflags & ~before & RFLAGS_TF)
		vcpu_raise_db(v, DR6_BS); // of the TF that it has loaded, before the next instruction
	return res.effect;
}

// Gathers, scatters, MASKMOV.
static void vector_insn(struct vcpu *v, const struct exit *x)
{
	struct bt *b = bt_of(v);
	const struct x86_insn *insn = &b->insn[x->insn];

	if (insn->class == X86_CLASS_VSIB)
		bt_gather(v, insn, &b->vop[x->insn]);
	else
		bt_maskmov(v, insn, &b->vop[x->insn]);
	v->rip += insn->len;
	if (!vcpu_code64(v))
		v->rip = (uint32_t)v->rip;
}

// Returns true if a guest instruction has been completed (not merely approached).
static bool take_exit(struct vcpu *v, uint32_t id)
{
	struct bt *b = bt_of(v);
	struct exit *x = &b->exit[id];

	switch ((enum exit_kind)x->kind) {
	case EXIT_APART:
		b->apart = true;
		b->link_exit = id;
		return false;
	case EXIT_DIRECT:
		b->link_exit = id;
		return true;
	case EXIT_POLL:
	case EXIT_NEXT:
		return true;
	case EXIT_STI:
		v->shadow = SHADOW_STI;
		return true;
	case EXIT_SYS:
		b->sys_effect = bt_system_insn(v, &b->insn[x->insn]);
		return true;
	case EXIT_STRING:
		b->st->callouts++;
		if (bt_string(v, &b->insn[x->insn]))
			return true;
		v->count_left++; // it will be counted when it goes on
		return false;
	case EXIT_VECTOR:
		b->st->callouts++;
		vector_insn(v, x);
		return true;
	case EXIT_CAREFUL:
		b->careful = true;
		return false;
	case EXIT_COUNT:
	case EXIT_LANDING:
		return false;
	case EXIT_UD:
		if (x->insn)
			vcpu_raise(v, VEC_GP, 0);
		vcpu_raise(v, VEC_UD, 0);
	case EXIT_NM:
		vcpu_raise(v, VEC_NM, 0);
	case EXIT_NYI:
		vcpu_nyi(v, x->what);
	}
	NOT_REACHED();
}

// For the crash report and -d exit: where and why translated code was left.
static void note_exit(struct vcpu *v, uint64_t why)
{
	static const char *const kinds[] = {
	    [EXIT_APART] = "apart",
	    [EXIT_DIRECT] = "direct", [EXIT_POLL] = "poll",       [EXIT_SYS] = "system", [EXIT_STRING] = "string",
	    [EXIT_VECTOR] = "vector", [EXIT_UD] = "undefined",    [EXIT_NM] = "no fpu",  [EXIT_NYI] = "not built",
	    [EXIT_NEXT] = "next",     [EXIT_CAREFUL] = "careful", [EXIT_STI] = "sti",    [EXIT_COUNT] = "count"};
	static const char *const whys[] = {[LEAVE_IND] = "indirect", [LEAVE_FAULT] = "fault", [LEAVE_CAREFUL] = "access",
					   [LEAVE_NEXT] = "next", [LEAVE_AT] = "place"};
	struct bt *b = bt_of(v);
	struct exit *x = &b->exit[why >> 8];
	bool exit = (why & 0xff) == LEAVE_EXIT;
	const char *what = exit ? kinds[x->kind] : whys[why & 7];
	uint64_t from;

	if (exit && !x->tu) {
		v->rip = base_return(v, x);
	} else if (exit) {
		vcpu_set_linear_pc(v, x->pc);
		b->last_unit = x->tu;
	} else if ((why & 0xff) == LEAVE_AT) {
		v->rip = b->exit[b->place.exit].pc;
		b->last_unit = b->place.tu;
	}
	from = b->tu[b->last_unit].pc;
	if (exit) {
		v->count_left += x->left;
	}
	vcpu_log_exit(v, what, from);
	vmm_trace(v, LOG_EXIT, "exit: %s at %lx from unit %lx\n", what, v->rip, from);
}

uint64_t bt_enter_unit(struct vcpu *v, const struct tu *t)
{
	uint64_t why = enter(v, t);

	note_exit(v, why);
	return why;
}

// Base code was left at an exit that is not linked, for a poll, or because it has passed there often.
static void take_place(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	const struct place *p = &b->place;

	if (p->ends) {
		if (b->exit[p->exit].kind == EXIT_DIRECT)
			b->link_exit = p->exit;
	} else if (bt_passed_often(b, *slot(v, SLOT_TMP))) {
		bt_promote(v, &b->tu[p->tu]);
		b->want_hot = true;
	}
}

// Base code leaves for C at instructions that need not leave a hot unit. The unit, if this one has done so often.
static uint32_t left_often(struct vcpu *v, const struct exit *x)
{
	struct bt *b = bt_of(v);
	enum { WEIGHT = 8 * PASSES_KERNEL }; // it costs as much as so many passes
	uint64_t counter = base_target_counter(v->rip) & (PASSES - 1);
	uint16_t *passes = &b->base.passes[counter];

	if (x->tu || (x->kind != EXIT_STRING && x->kind != EXIT_SYS))
		return 0;
	*passes = *passes > (uint16_t)-WEIGHT ? 0 : (uint16_t)(*passes + WEIGHT);
	return bt_passed_often(b, counter) ? b->last_unit : 0;
}

static bool leave_by_exit(struct vcpu *v, uint32_t id)
{
	struct bt *b = bt_of(v);
	uint32_t often = left_often(v, &b->exit[id]);
	uint64_t epoch = tc_epoch(b);
	bool done = take_exit(v, id);

	if (often && tc_epoch(b) == epoch && !b->flush_tc)
		bt_promote(v, &b->tu[often]);
	return done;
}

// Do what translated code was left for.
static bool leave(struct vcpu *v, uint64_t why)
{
	struct bt *b = bt_of(v);

	switch (why & 0xff) {
	case LEAVE_EXIT:
		return leave_by_exit(v, (uint32_t)(why >> 8));
	case LEAVE_AT:
		take_place(v);
		return true;
	case LEAVE_IND:
		b->st->ind_misses++;
		b->want_table = true;
		b->want_hot = bt_passed_often(b, base_target_counter(v->rip));
		return true;
	case LEAVE_CAREFUL:
		b->careful = true;
		return false;
	case LEAVE_NEXT:
		return true;
	default: // LEAVE_FAULT: v->fault is pending
		return false;
	}
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
	if (!v->counting)
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

	if (!b->sh->config.selfcheck || v->counting || ++b->check.countdown < b->sh->config.selfcheck)
		return false;
	b->check.countdown = 0;
	if (!selfcheck_unit(v, &why))
		return false;
	if (why != ~UINT64_C(0))
		leave(v, why);
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

static void run_unit(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	uint64_t rflags = v->rflags;
	uint32_t mode = mode_for(v, b);
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
		tc_make_room(v);
	if (one || b->careful)
		mode |= MODE_ONE;
	if (b->careful || (one && debug_watches_data(v)))
		mode |= MODE_CAREFUL | MODE_ONE;
	if (b->sh->config.stress & STRESS_CAREFUL)
		mode |= MODE_CAREFUL;
	if (mode & MODE_CAREFUL)
		mode &= ~(uint32_t)MODE_MAPPED;
	b->st->careful += b->careful;
	if (v->dr[7] & 0xff && !(rflags & RFLAGS_RF) && !(v->shadow & SHADOW_MOV_SS))
		debug_check_fetch(v, vcpu_linear_pc(v));
	if (mode == b->mode_now && run_checked(v))
		return;
	if (mode == b->mode_now && b->apart)
		mode |= MODE_APART;
	b->apart = false;
	if (mode == b->mode_now && !one && !(mode & MODE_CS) && enter_by_table(v, &why)) {
		note_exit(v, why);
		leave(v, why);
		return;
	}
	b->want_table |= !b->link_exit && !(mode & MODE_CS);
	t = bt_find_unit(v, mode);
	b->careful = false;
	b->last_unit = (uint32_t)(t - b->tu);
	b->sys_effect = 0;
	v->shadow = 0;
	if (leave(v, bt_enter_unit(v, t)) && one)
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
		deliver_fault(v);
		return;
	}
	if (v->counting && v->count_left <= 0)
		v->pending |= PENDING_TIMER;
	if (v->activity != VCPU_RUNNING) {
		idle(v);
		return;
	}
	if (v->pending && !v->shadow && !b->careful)
		service(v);
	else if (*slot(v, SLOT_IRQ_WAIT) && v->rflags & RFLAGS_IF && !v->shadow && !b->careful)
		try_interrupt(v);
	else if (b->nmi_waits && !v->nmi_blocked && !v->shadow)
		try_nmi(v);
	if (v->activity == VCPU_RUNNING)
		run_unit(v);
	if (b->sh->config.stress & STRESS_FLUSH && !b->careful && flush_is_due(b)) {
		tlb_flush(v, true);
		set_mode(v);
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
	tc_init(v);
	tlb_init(b);
	vector_init(b);
	b->mode_now = bt_mode(v);
	segments_measure(v);
	b->key = translation_key(v);
}

_Noreturn void bt_run(struct vcpu *v)
{
	jump_set(&v->landing); // vcpu_raise comes back here, with v->fault to deliver
	tc_forget_calls(v);
	selfcheck_stop(v);
	for (;;)
		step(v);
}
