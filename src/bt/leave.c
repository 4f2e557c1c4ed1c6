// SPDX-License-Identifier: MIT
//
// Why translated code was left, and what is done about it.
#include "bt/run.h"

static void canonical_flags(struct vcpu *v, bool noted)
{
	uint64_t host = *bt_slot(v, SLOT_HOST_FLAGS);

	if (noted)
		host = (host & ~(uint64_t)RFLAGS_ARITH) | recover_noted(v, v->gpr);
	v->rflags = (v->rflags & ~(uint64_t)(LIVE_FLAGS | RFLAGS_IF)) | (host & LIVE_FLAGS) |
		    (*bt_slot(v, SLOT_IF) & 1 ? RFLAGS_IF : 0);
}

void bt_take_state(struct vcpu *v, uint64_t why)
{
	struct bt *b = bt_of(v);
	uint32_t exit = (uint32_t)(why >> 8);
	unsigned how = why & 0xff;

	if (how == LEAVE_AT) {
		base_place(b, (const uint8_t *)*bt_slot(v, SLOT_TMP), &b->place);
		exit = b->place.exit;
	}
	if (how == LEAVE_IND)
		vcpu_set_linear_pc(v, v->rip);
	if (how == LEAVE_EXIT || how == LEAVE_IND || how == LEAVE_AT)
		canonical_flags(v, how == LEAVE_IND || b->exit[exit].flags_noted);
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
	known_note(v, insn);
	sys_execute(v, insn, &res);
	if (known_depends_on(insn))
		known_forget(bt_of(v));
	if (v->dr[7] & 0xff && does_io(insn))
		debug_note_io(v, insn);
	if (insn->class == X86_CLASS_INT1)
		debug_join_int1(v);
	bt_apply(v, &res);
	if (res.effect & SYS_HALT && v->activity == VCPU_HALTED)
		vmm_trace(v, LOG_EXIT, "halt at %lx\n", v->rip);
	if (insn->class == X86_CLASS_SYSRET && v->rflags & ~before & RFLAGS_TF)
		vcpu_raise_db(v, DR6_BS); // of the TF that it has loaded, before the next instruction
	return res.effect;
}

// Gathers, scatters, MASKMOV; XSAVE of 32-bit code.
static void vector_insn(struct vcpu *v, const struct exit *x)
{
	struct bt *b = bt_of(v);
	const struct x86_insn *insn = &b->insn[x->insn];

	if (insn->class == X86_CLASS_VSIB)
		bt_gather(v, insn, &b->vop[x->insn]);
	else if (insn->class == X86_CLASS_XSAVE)
		bt_xsave32(v, insn);
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
	case EXIT_BRANCH:
	case EXIT_LANDING:
		return false;
	case EXIT_UD:
		if (x->insn)
			vcpu_raise(v, VEC_GP, 0);
		vcpu_raise(v, VEC_UD, 0);
	case EXIT_NM:
		vcpu_raise(v, VEC_NM, 0);
	case EXIT_DE:
		vcpu_raise(v, VEC_DE, 0);
	case EXIT_NYI:
		vcpu_nyi(v, (const char *)(uintptr_t)(ZONE_IMAGE + x->what));
	}
	NOT_REACHED();
}

// For the crash report and -d exit: where and why translated code was left.
void bt_note_exit(struct vcpu *v, uint64_t why)
{
	static const char *const kinds[] = {
	    [EXIT_APART] = "apart",
	    [EXIT_DIRECT] = "direct", [EXIT_POLL] = "poll",       [EXIT_SYS] = "system", [EXIT_STRING] = "string",
	    [EXIT_VECTOR] = "vector", [EXIT_UD] = "undefined",    [EXIT_NM] = "no fpu", [EXIT_NYI] = "not built",
	    [EXIT_DE] = "divide",
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
		vcpu_set_linear_pc(v, exit_pc(b, x));
		b->last_unit = x->tu;
	} else if ((why & 0xff) == LEAVE_AT) {
		v->rip = exit_pc(b, &b->exit[b->place.exit]);
		b->last_unit = b->place.tu;
	}
	from = b->tu[b->last_unit].pc;
	if (exit) {
		v->count_left += x->left;
	}
	vcpu_log_exit(v, what, from);
	vmm_trace(v, LOG_EXIT, "exit: %s at %lx from unit %lx\n", what, v->rip, from);
}

// Base code was left at an exit that is not linked, for a poll, or because it has passed there often.
static void take_place(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	const struct place *p = &b->place;

	if (p->ends) {
		if (b->exit[p->exit].kind == EXIT_DIRECT)
			b->link_exit = p->exit;
	} else if (bt_passed_often(b, *bt_slot(v, SLOT_TMP) >> PASSES_SHIFT)) {
		bt_promote(v, &b->tu[p->tu], false);
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
		bt_promote(v, &b->tu[often], false);
	return done;
}

// Do what translated code was left for.
bool bt_left(struct vcpu *v, uint64_t why)
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
		if (!v->amd && vcpu_code64(v) && !vcpu_canonical(v, v->rip))
			bt_branch_fault(v);
		b->want_table = true;
		b->want_hot = bt_passed_often(b, base_target_counter(vcpu_linear_pc(v)));
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
