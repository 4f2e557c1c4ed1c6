// SPDX-License-Identifier: MIT
//
// One translation unit: decode from the guest's code until an unconditional transfer, a page end or a cap, or a region
// around a loop (region.c); find which registers it names and which flags live; emit. Everything is decided by the
// guest's bytes, the mode and the options.
//
// A straight unit passes conditional branches on their not-taken side. None ever reads beyond the page it starts on,
// except that an instruction which straddles two pages makes a unit of its own.
#include "base/string.h"
#include "bt/base.h"
#include "x86/mnemonic.h"

static void undefined(struct trans *t, const struct x86_insn *insn);

static const struct treatment by_class[X86_CLASS_COUNT] = {
	[X86_CLASS_INVALID] = {undefined, true},
	[X86_CLASS_UD] = {undefined, true},
	[X86_CLASS_PLAIN] = {ident, false},
	[X86_CLASS_RDRAND] = {ident, false},
	[X86_CLASS_X87] = {ident_x87, false},
	[X86_CLASS_MMX] = {ident_x87, false},
	[X86_CLASS_SSE] = {ident_sse, false},
	[X86_CLASS_AVX] = {ident_sse, false},
	[X86_CLASS_AVX512] = {ident_sse, false},
	[X86_CLASS_MASKED] = {ident_sse, false},
	[X86_CLASS_FXSAVE] = {ident_sse, false},
	[X86_CLASS_XSAVE] = {ident_sse, false},
	[X86_CLASS_FWAIT] = {fwait, false},
	[X86_CLASS_JMP] = {flow_jmp, true},
	[X86_CLASS_JCC] = {flow_jcc, false},
	[X86_CLASS_LOOP] = {flow_loop, false},
	[X86_CLASS_CALL] = {flow_call, true},
	[X86_CLASS_JMP_IND] = {flow_jmp_ind, true},
	[X86_CLASS_CALL_IND] = {flow_call_ind, true},
	[X86_CLASS_RET] = {flow_ret, true},
	[X86_CLASS_PUSH] = {emit_push, false},
	[X86_CLASS_POP] = {emit_pop, false},
	[X86_CLASS_LEAVE] = {emit_leave_insn, false},
	[X86_CLASS_STRING] = {emit_string, true},
	// every other class runs in C and ends its unit: see treat()
};

// System classes that are done in the cache where sys_inline allows it.
static const struct treatment inline_by_class[X86_CLASS_COUNT] = {
	[X86_CLASS_CLI] = {sys_cli, false},
	[X86_CLASS_STI] = {sys_sti, false},
	[X86_CLASS_SWAPGS] = {sys_swapgs, false},
	[X86_CLASS_PUSHF] = {sys_pushf, false},
	[X86_CLASS_POPF] = {sys_popf, false},
	[X86_CLASS_STAC] = {sys_stac, true},
	[X86_CLASS_CLAC] = {sys_clac, true},
	[X86_CLASS_CPUID] = {sys_cpuid, false},
	[X86_CLASS_RDMSR] = {sys_rdmsr, false},
	[X86_CLASS_RDTSC] = {sys_rdtsc, false},
	[X86_CLASS_RDTSCP] = {sys_rdtsc, false},
	[X86_CLASS_SYSCALL] = {sys_syscall, true},
	[X86_CLASS_SYSRET] = {sys_sysret, true},
	[X86_CLASS_SYSENTER] = {sys_sysenter, true},
	[X86_CLASS_SYSEXIT] = {sys_sysexit, true},
	[X86_CLASS_MOV_FROM_SEG] = {sys_from_seg, false},
	[X86_CLASS_MOV_FROM_CR] = {sys_from_cr, false},
	[X86_CLASS_RDFSBASE] = {sys_rdbase, false},
	[X86_CLASS_RDGSBASE] = {sys_rdbase, false},
	[X86_CLASS_PUSH_SEG] = {seg_push, false},
	[X86_CLASS_POP_SEG] = {seg_pop, false},
	[X86_CLASS_MOV_TO_SEG] = {seg_mov, false},
	[X86_CLASS_LOAD_FAR_PTR] = {seg_far_ptr, false},
};

static const struct treatment string_in_place = {emit_string_inline, false};
static const struct treatment sys_in_place = {sys_callout, false};
static const struct treatment in_c = {emit_sys, true};
static const struct treatment vector_in_c = {ident_sse, true};

// Gathers, scatters and MASKMOV are carried out by C, and XSAVE where it knows eight registers only.
bool is_vector_in_c(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_VSIB || (insn->class == X86_CLASS_MASKED && !insn->mem.present) ||
	       (insn->class == X86_CLASS_XSAVE && insn->mode != X86_MODE64);
}

// Classes of most instructions, about which nothing else is to be asked.
#define ORDINARY ( \
	BIT64(X86_CLASS_PLAIN) | BIT64(X86_CLASS_JCC) | BIT64(X86_CLASS_JMP) | BIT64(X86_CLASS_CALL) | \
	BIT64(X86_CLASS_RET) | BIT64(X86_CLASS_PUSH) | BIT64(X86_CLASS_POP) | BIT64(X86_CLASS_SSE))

const struct treatment *treat(const struct trans *t, const struct x86_insn *insn)
{
	const struct treatment *tr = &by_class[insn->class];

	if (insn->class < 64 && ORDINARY >> insn->class & 1 && !(t->t->mode & MODE_CS))
		return tr;
	if (branch_is_far_off(t, insn))
		return &in_c;
	if (is_vector_in_c(insn))
		return &vector_in_c;
	if (insn->class == X86_CLASS_STRING && string_inline(t, insn))
		return &string_in_place;
	if (sys_inline(t, insn))
		return &inline_by_class[insn->class];
	if (!tr->emit && sys_stays(t, insn))
		return &sys_in_place;
	return tr->emit ? tr : &in_c;
}

bool uses_homes(const struct trans *t, const struct x86_insn *insn)
{
	const struct treatment *tr = treat(t, insn);

	return tr != &in_c && tr->emit != emit_string && !is_vector_in_c(insn);
}

bool ends_unit(const struct trans *t, const struct x86_insn *insn)
{
	return treat(t, insn)->ends;
}

// May the instruction raise an exception where it runs, behind its checks?
static bool host_may_fault(const struct trans *t, const struct x86_insn *insn)
{
	return (is_mapped(t) && insn->mem.present) || insn->class != X86_CLASS_PLAIN ||
	       insn->mem.aligned || insn->mnemonic == X86_MNEM_DIV ||
	       insn->mnemonic == X86_MNEM_IDIV || insn->mnemonic == X86_MNEM_AAM;
}

void note_op(struct trans *t)
{
	if (t->t->tier == TIER_BASE || host_may_fault(t, &t->insn[t->i]))
		note_fault(t);
}

static uint32_t here(const struct emit *e, const struct bt *b)
{
	return (uint32_t)(e->p - b->tc_rw);
}

void note_fault(struct trans *t)
{
	struct bt *b = t->b;

	if (t->t->tier == TIER_BASE) {
		base_note_op(t);
		return;
	}
	ASSERT(b->nnew_maps < NEW_MAPS);
	b->new_map[b->nnew_maps++] = (struct insn_map){
		.host = (uint16_t)(here(&t->hot, t->b) - t->t->start), .guest = t->off[t->i], .homed = t->borrowed,
		.flags = (uint8_t)t->flags, .left = (uint8_t)(t->n - 1 - t->i), .recipe = flags_recipe(t),
		.ahead = (signed char)(t->ahead / (int)word(t))};
}

void note_saved_ax(struct trans *t)
{
	if (t->t->tier == TIER_BASE)
		base_note_saved_ax(t);
	else
		t->b->new_map[t->b->nnew_maps - 1].saved_ax = true;
}

static void undefined(struct trans *t, const struct x86_insn *insn)
{
	emit_exit(t, EXIT_UD, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = insn->class == X86_CLASS_INVALID;
}

static void start_emission(struct trans *t)
{
	struct bt *b = t->b;
	uint64_t state = (uint64_t)t->v;

	t->hot = (struct emit){b->tc_rw + b->hot, b->tc_rw + b->hot_end, b->delta, state, 0, 0};
	t->cold = (struct emit){b->tc_rw + b->cold, b->tc_rw + b->cold_end, b->delta, state, 0, 0};
	t->t->first_map = b->nmaps;
	b->nnew_maps = 0;
	t->t->first_exit = b->nexits;
	hot_of(b, t->t)->first_entry = b->nentries;
	t->t->first_reloc = b->nrelocs;
}

// Both entries, into the state that the unit begins with.
static void emit_entries(struct trans *t)
{
	struct emit *e = &t->hot;
	enum flag_state begins = flags_wanted(t, t->in[0]);

	t->home = true;
	t->t->entry_noted = here(e, t->b);
	if (begins == FLAGS_NOTED) {
		t->t->entry = here(&t->cold, t->b);
		t->flags = FLAGS_HOST;
		emit_flags_noted(t, &t->cold, 0);
		emit_patch32(emit_jmp32(&t->cold), t->cold.delta, t->b->tc + t->t->entry_noted);
		t->b->st->flags_entry++;
	}
	t->flags = FLAGS_NOTED;
	if (begins == FLAGS_HOST)
		emit_flags_home(t, e);
	if (begins != FLAGS_NOTED)
		t->t->entry = here(e, t->b);
	t->home = false;
	flags_from_here(t, begins);
}

// Go on behind the present instruction.
static void emit_next(struct trans *t)
{
	unsigned to = t->next[t->i];

	if (to == NOWHERE) {
		mapped_settle_stack(t, true);
		emit_goto(t, insn_pc(t, t->i) + t->insn[t->i].len);
	} else if (to != t->i + 1) {
		label_jump(t, to);
	}
}

// To another unit, but by a call or a return, which access the stack.
static bool may_lead_away(const struct trans *t)
{
	switch (t->insn[t->i].class) {
	case X86_CLASS_JCC: case X86_CLASS_LOOP:
		return t->target[t->i] == NOWHERE;
	case X86_CLASS_JMP:
		return t->next[t->i] == NOWHERE;
	default:
		return t->insn[t->i].class == X86_CLASS_JMP_IND;
	}
}

static void emit_insn(struct trans *t)
{
	t->host[t->i] = (uint32_t)(emit_here(&t->hot) - t->b->tc);
	t->home = false;
	label_drop_dead_ways(t);
	if (t->poll_before[t->i])
		label_poll(t);
	flags_before(t, &t->insn[t->i]);
	if (may_lead_away(t))
		mapped_settle_stack(t, false);
	spill_before(t, &t->insn[t->i]);
	treat(t, &t->insn[t->i])->emit(t, &t->insn[t->i]);
	spill_after(t, &t->insn[t->i]);
	flags_after(t, &t->insn[t->i]);
	window_after(t, &t->insn[t->i]);
	mapped_after(t, &t->insn[t->i]);
	if (!t->ended)
		emit_next(t);
}

static void emit_unit(struct trans *t)
{
	t->t->start = here(&t->hot, t->b);
	emit_entries(t);
	if (t->v->counts)
		emit_count(t);
	emit_prologue(t);
	mapped_trust_stack(t);
	for (t->i = 0; t->i < t->n; t->i++) {
		t->host[t->i] = 0;
		label_bind(t);
		if (!t->ended)
			emit_insn(t);
	}
	ASSERT(here(&t->hot, t->b) - t->t->start <= UINT16_MAX);
	t->t->code_size = (uint16_t)(here(&t->hot, t->b) - t->t->start);
}

static unsigned guest_bytes(const struct trans *t)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < t->n; i++)
		sum += t->insn[i].len;
	return sum;
}

// Bytes used in all parts of the cache.
static uint32_t used(const struct bt *b)
{
	return b->hot + b->cold + b->base.routines + b->base.thunks + b->base.cold;
}

static void count(struct trans *t, uint32_t before, uint64_t cycles)
{
	struct stats *st = t->b->st;

	st->tu_translated++;
	st->tu_insns += t->n;
	st->tu_bytes_in += t->t->tier == TIER_BASE ? t->t->len : guest_bytes(t);
	st->tu_bytes_out += used(t->b) - before;
	st->tu_cycles += cycles;
	if (t->t->mode & MODE_MAPPED && tc_find(t->b, t->t->pc, t->t->gpa, t->t->mode ^ MODE_MAPPED))
		st->tu_again_cycles += cycles;
	if (t->t->tier == TIER_HOT) {
		st->tu_hot++;
		st->tu_hot_insns += t->n;
		st->tu_hot_bytes += used(t->b) - before;
		st->tu_hot_cycles += cycles;
	}
}

// The base tier has no form for some modes.
static enum tier tier_of(const struct vcpu *v, uint32_t mode, enum tier wanted)
{
	if (mode & (MODE_ONE | MODE_CAREFUL) || !mode_is_flat(mode) || v->counts ||
	    v->shared->config.stress & STRESS_HOT)
		return TIER_HOT;
	return wanted == TIER_BASE ? TIER_BASE : TIER_HOT;
}

// Where there are no samples, every other unit.
static bool is_favoured(const struct vcpu *v, uint64_t pc, uint32_t mode, enum tier wanted)
{
	bool blindly = mode & MODE_ALONE || v->shared->config.stress & STRESS_HOT;

	return wanted == TIER_FAVOURED || (blindly && pc & 1);
}

// What is counted by instruction comes to be as they are decoded.
static void start_trans(struct trans *t, struct vcpu *v, uint32_t mode)
{
	memset(t, 0, offsetof(struct trans, insn));
	t->v = v;
	t->b = bt_of(v);
	t->code = mode & MODE_CODE;
	t->user = mode & MODE_USER;
	t->careful = mode & MODE_CAREFUL;
	t->tlb = t->user ? TLB_USER : mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL;
}

// The record for hot units only was begun for any.
static void keep_hot(struct bt *b, struct tu *t)
{
	struct hot_tu *h = hot_of(b, t);

	h->nentries = (uint16_t)(b->nentries - h->first_entry);
	if (t->tier == TIER_BASE)
		t->hot = 0;
	else
		b->nhots++;
}

// Translate the unit at pc (physical address gpa). Faults of a straddled second page are raised. May flush the cache.
struct tu *bt_translate(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode, enum tier tier)
{
	struct bt *b = bt_of(v);
	struct known_fate known[KNOWN_FATES];
	struct trans t;
	uint64_t start = __builtin_ia32_rdtsc();
	uint32_t hot, cold, before;

	if (!base_has_room(b))
		tc_flush(v);
	tc_turn(b, tier_of(v, mode, tier));
	if (!tc_has_room(b))
		tc_make_room(v);
	if (tier != TIER_BASE)
		b->hot = (uint32_t)align_up(b->hot, 16);
	peers_claim_code(v, gpa);
	hot = b->hot;
	cold = b->cold;
	before = used(b);
	start_trans(&t, v, mode);
	t.bytes = mem_code(&b->sh->config.mem, gpa, 1);
	if (!t.bytes)
		vcpu_nyi(v, "code run from a device");
	t.t = tc_new_tu(b);
	t.tu_id = (uint32_t)(t.t - b->tu);
	*t.t = (struct tu){.pc = pc, .gpa = gpa, .gfn2 = NO_FRAME, .mode = mode, .hot = b->nhots,
		.tier = (uint8_t)tier_of(v, mode, tier),
		.favour = is_favoured(v, pc, mode, tier) ? FAVOUR_MADE : FAVOUR_NONE};
	b->hot_tu[b->nhots] = (struct hot_tu){0};
	t.map = b->hot_tu[b->nhots].map;
	if (mode & MODE_CS) {
		hot_of(b, t.t)->cs_base = (uint32_t)v->seg[X86_CS].base;
		hot_of(b, t.t)->cs_limit = v->seg[X86_CS].limit;
	}
	t.patched = code_is_patched(b, gpa);
	if (t.t->tier != TIER_BASE)
		t.known = memset(known, 0, sizeof(known));
	decode_unit(&t);
	start_emission(&t);
	if (t.t->tier == TIER_BASE) {
		base_unit(&t);
	} else {
		place_registers(&t);
		emit_unit(&t);
		insn_map_keep(b, t.t);
	}
	ASSERT(t.hot.p <= t.hot.end && t.cold.p <= t.cold.end);
	t.t->nexits = (uint16_t)(b->nexits - t.t->first_exit);
	keep_hot(b, t.t);
	t.t->nrelocs = (uint16_t)(b->nrelocs - t.t->first_reloc);
	t.t->since = move_clock();
	b->hot = (uint32_t)(t.hot.p - b->tc_rw);
	b->cold = (uint32_t)(t.cold.p - b->tc_rw);
	b->ntus++;
	tc_count_live(b, t.t, 1);
	tc_insert(b, t.t);
	tc_note_owner(b, t.t);
	code_watch(v, t.t);
	count(&t, before, __builtin_ia32_rdtsc() - start);
	if (b->sh->config.log & LOG_TU)
		dump_unit(&t, hot, cold);
	if (b->sh->config.log & LOG_PERFMAP)
		dump_symbol(&t, cold);
	return t.t;
}
