// SPDX-License-Identifier: MIT
//
// The base tier's shared routines, made when first asked for, and the table by which indirect targets in base code are
// found. A routine keeps all registers but T0 and T1, and all flags. What it finds wrong it leaves to C together with
// its return address, which says where in a unit (or thunk) that was.
#include "base/string.h"
#include "bt/base.h"

enum { RAX = X86_RAX, RCX = X86_RCX };
#define AT_BASE(field) ((int32_t)(BT_OFFSET + offsetof(struct bt, base) + offsetof(struct base, field)))

static void push(struct emit *e, unsigned reg)
{
	emit_rex(e, 4, 0, 0, reg);
	emit_u8(e, 0x50 | (reg & 7));
}

static void pop(struct emit *e, unsigned reg)
{
	emit_rex(e, 4, 0, 0, reg);
	emit_u8(e, 0x58 | (reg & 7));
}

static void keep_flags(struct emit *e) // on the host's stack, under RAX
{
	push(e, RAX);
	emit_bytes(e, (const uint8_t[]){0x9f, 0x0f, 0x90, 0xc0}, 4); // lahf; seto %al
}

static void give_flags(struct emit *e)
{
	emit_bytes(e, (const uint8_t[]){0x04, 0x7f, 0x9e}, 3); // add $0x7f, %al; sahf
	pop(e, RAX);
}

static void ret(struct emit *e)
{
	emit_u8(e, 0xc3);
}

static void drop(struct emit *e) // the return address
{
	emit_lea(e, 8, X86_RSP, mem_base(X86_RSP, 8));
}

static uint8_t *jcc8(struct emit *e, unsigned cc)
{
	emit_u8(e, 0x70 | cc);
	emit_u8(e, 0);
	return e->p - 1;
}

static void here8(uint8_t *place, const struct emit *e)
{
	*place = (uint8_t)(e->p - place - 1);
}

void emit_call_shared(struct bt *b, struct emit *e, uint32_t routine)
{
	emit_u8(e, 0xe8);
	emit_u32(e, 0);
	emit_patch32(e->p - 4, e->delta, b->tc + routine);
}

void emit_jmp_shared(struct bt *b, struct emit *e, uint32_t routine)
{
	emit_patch32(emit_jmp32(e), e->delta, b->tc + routine);
}

static struct emit_mem passes_of(void) // the counter number T1
{
	return (struct emit_mem){.base = X86_REG_NONE, .index = HOST_T1, .scale = 2, .disp = AT_BASE(passes)};
}

// Kernel code becomes hot a little later: much of it runs while the guest boots, and then no more.
static unsigned worth_of(bool kernel)
{
	return kernel ? PASSES_KERNEL : PASSES_USER;
}

static void emit_add_pass(struct emit *e, unsigned worth)
{
	emit_gs(e);
	emit_op_mem(e, 2, 0x83, 0, passes_of()); // addw
	emit_u8(e, worth);
}

// Count one more pass of the place that is `depth` bytes up the host's stack. Flags: carry if it is hot.
static void count_pass(struct emit *e, int depth, unsigned worth)
{
	emit_load(e, 4, HOST_T1, mem_base(X86_RSP, depth));
	emit_op_rr(e, 4, 0xc1, 5, HOST_T1); // shr: counters of neighbours share a cache line
	emit_u8(e, PASSES_SHIFT);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, PASSES - 1);
	emit_add_pass(e, worth);
}

// Look for the address in T0: the place of a jump to where it is not found, T0 then xored with the tag.
static uint8_t *emit_look_up(struct emit *e, unsigned tlb, bool write, unsigned size, int32_t *table)
{
	uint8_t *miss;

	*table = (int32_t)(BT_OFFSET + (write ? offsetof(struct bt, tlb_w) : offsetof(struct bt, tlb_r)) +
			   tlb * sizeof(struct tlb));
	emit_rorx(e, 8, HOST_T1, HOST_T0, 8);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, (TLB_SIZE - 1) << 4);
	emit_gs(e);
	emit_op_mem(e, 8, 0x33, HOST_T0, mem_base(HOST_T1, *table)); // xor tag, T0
	emit_alu_imm(e, 8, ALU_CMP, HOST_T0, (int32_t)(PAGE_SIZE - size));
	miss = jcc8(e, CC_A);
	emit_gs(e);
	emit_load(e, 8, HOST_T1, mem_base(HOST_T1, *table + 8));
	return miss;
}

static void check_routine(struct emit *e, uint32_t argument)
{
	int32_t table;
	uint8_t *miss;

	keep_flags(e);
	miss = emit_look_up(e, argument >> 17, argument >> 16 & 1, (uint16_t)argument, &table);
	give_flags(e);
	ret(e);
	here8(miss, e);
	emit_gs(e);
	emit_op_mem(e, 8, 0x33, HOST_T0, mem_base(HOST_T1, table));
	give_flags(e);
	emit_jmp_state(e, SLOT_STUB_BASE_MISS);
}

static void poll_routine(struct emit *e, enum loop_kind loop)
{
	uint8_t *pending, *hot;

	keep_flags(e);
	emit_cmp_state_imm8(e, 4, VCPU_PENDING, 0);
	pending = jcc8(e, CC_NE);
	count_pass(e, 8, loop == LOOP_SHORT ? PASSES_SHORT : worth_of(loop == LOOP_KERNEL));
	hot = jcc8(e, CC_B);
	give_flags(e);
	ret(e);
	here8(pending, e);
	here8(hot, e);
	give_flags(e);
	pop(e, HOST_T1);
	emit_jmp_state(e, SLOT_STUB_AT);
}

// Hot code of the mapped form relies on the guest's stack pointer: see stack_trust.c.
static void trust_routine(struct emit *e)
{
	uint8_t *zone, *upper;

	keep_flags(e);
	emit_stack_test(e, &zone, &upper);
	give_flags(e);
	ret(e);
	emit_patch32(zone, e->delta, emit_here(e));
	emit_patch32(upper, e->delta, emit_here(e));
	give_flags(e);
	pop(e, HOST_T1);
	emit_jmp_state(e, SLOT_STUB_AT);
}

// The same where nobody sees the flags, with a return address on the stack and T0 where to go.
void base_trust_stack(struct emit *e, uint32_t mode)
{
	uint8_t *zone, *upper, *on;

	if (!(mode & MODE_MAPPED))
		return;
	emit_stack_test(e, &zone, &upper);
	on = emit_jmp32(e);
	emit_patch32(zone, e->delta, emit_here(e));
	emit_patch32(upper, e->delta, emit_here(e));
	drop(e);
	emit_jmp_state(e, SLOT_STUB_IND);
	emit_patch32(on, e->delta, emit_here(e));
}

static void count_routine(struct emit *e, unsigned worth)
{
	uint8_t *hot;

	keep_flags(e);
	count_pass(e, 8, worth);
	hot = jcc8(e, CC_B);
	give_flags(e);
	ret(e);
	here8(hot, e);
	give_flags(e);
	pop(e, HOST_T1);
	emit_jmp_state(e, SLOT_STUB_AT);
}

static void exit_routine(struct emit *e, bool calls)
{
	if (calls)
		emit_load(e, 8, HOST_T1, mem_base(X86_RSP, 0)); // a landing's address, which stays
	else
		pop(e, HOST_T1);
	emit_jmp_state(e, SLOT_STUB_AT);
}

enum { EXIT_LENGTH = 5, RETURN_AT = EXIT_LENGTH + 2 }; // of the exit behind the call of ROUTINE_CALL; see base_call

// The guest's return address into reg, from behind the place that is `depth` bytes up the host's stack.
static void emit_load_return(struct emit *e, unsigned reg, uint32_t argument, int depth)
{
	emit_load(e, 8, HOST_T1, mem_base(X86_RSP, depth));
	if (argument & CALL_ARGUMENT(0, 1, 0, 0))
		emit_load(e, 4, reg, mem_base(HOST_T1, RETURN_AT));
	else
		emit_op_mem(e, 8, argument & 1 ? 0x8b : 0x63, reg, mem_base(HOST_T1, RETURN_AT)); // movslq
}

static unsigned push_size(uint32_t argument)
{
	return argument & CALL_ARGUMENT(0, 1, 0, 0) ? 4 : 8;
}

// The address is not in the TLB: by ROUTINE_CHECK, with all registers as they must be if that fails.
static void emit_call_slowly(struct trans *t, struct emit *e, uint32_t argument)
{
	unsigned size = push_size(argument);
	uint32_t check = base_routine(t, ROUTINE_CHECK, CHECK_ARGUMENT(t->tlb, true, size));

	give_flags(e);
	pop(e, RCX);
	emit_load_return(e, HOST_T0, argument, 0);
	push(e, HOST_T0);
	t->on_stack = 8;
	emit_lea(e, size, HOST_T0, mem_base(HOST_GUEST_RSP, -(int)size));
	emit_call_shared(t->b, e, check);
	base_note_site(t, e, X86_WRITE, size, X86_SS);
	t->on_stack = 0;
	emit_lea(e, 8, HOST_T1, checked_mem());
	pop(e, HOST_T0);
	emit_store(e, size, HOST_T0, mem_base(HOST_T1, 0));
	push(e, RCX);
	keep_flags(e);
}

static void call_routine(struct trans *t, struct emit *e, uint32_t argument)
{
	unsigned size = push_size(argument);
	uint8_t *miss, *hot, *pushed;
	int32_t table;

	push(e, RCX);
	keep_flags(e);
	emit_load_return(e, RCX, argument, 16);
	emit_lea(e, size, HOST_T0, mem_base(HOST_GUEST_RSP, -(int)size));
	miss = emit_look_up(e, t->tlb, true, size, &table);
	emit_store(e, size, RCX, checked_mem());
	pushed = e->p;
	emit_lea(e, size, HOST_GUEST_RSP, mem_base(HOST_GUEST_RSP, -(int)size));
	count_pass(e, 16, worth_of(!t->user));
	hot = jcc8(e, CC_B);
	give_flags(e);
	pop(e, RCX);
	ret(e);
	here8(hot, e);
	give_flags(e);
	pop(e, RCX);
	pop(e, HOST_T1);
	if (argument & CALL_ARGUMENT(0, 0, 1, 0)) {
		emit_lea(e, 8, HOST_T0, mem_base(HOST_T1, EXIT_LENGTH));
		push(e, HOST_T0);
	}
	emit_jmp_state(e, SLOT_STUB_AT);
	here8(miss, e);
	emit_call_slowly(t, e, argument);
	emit_patch32(emit_jmp32(e), e->delta, pushed + e->delta);
}

static void land_gone_routine(struct emit *e)
{
	drop(e);
	emit_jmp_state(e, SLOT_STUB_RET);
}

// The flags are in the slot as a rule: base code notes them so. T0 is free.
static void emit_flags_to_host(struct emit *e)
{
	uint8_t *recipe, *done;

	emit_cmp_state_imm8(e, 4, SLOT_RECIPE, 0);
	recipe = jcc8(e, CC_NE);
	emit_restore_flags_by(e, HOST_T0);
	emit_u8(e, 0xeb);
	emit_u8(e, 0);
	done = e->p - 1;
	here8(recipe, e);
	emit_make_flags(e, 0);
	here8(done, e);
}

static void land_routine(struct emit *e, uint32_t argument)
{
	uint8_t *other;

	if (!argument)
		emit_op_rr(e, 8, 0x63, HOST_T1, HOST_T1); // movslq
	emit_op_rr(e, 8, 0x39, HOST_T1, HOST_T0);         // cmp
	other = jcc8(e, CC_NE);
	emit_flags_to_host(e);
	ret(e);
	here8(other, e);
	land_gone_routine(e);
}

static void make(struct trans *t, struct emit *e, enum routine r, uint32_t argument)
{
	switch (r) {
	case ROUTINE_CHECK:
		check_routine(e, argument);
		return;
	case ROUTINE_POLL:
		poll_routine(e, argument);
		return;
	case ROUTINE_COUNT:
		count_routine(e, argument);
		return;
	case ROUTINE_CALL:
		call_routine(t, e, argument);
		return;
	case ROUTINE_LAND:
		land_routine(e, argument);
		return;
	case ROUTINE_LAND_GONE:
		land_gone_routine(e);
		return;
	case ROUTINE_JUMP:
		emit_table_branch(e, argument, 4);
		return;
	case ROUTINE_EXIT:
		exit_routine(e, false);
		return;
	case ROUTINE_EXIT_CALL:
		exit_routine(e, true);
		return;
	case ROUTINE_TRUST:
		trust_routine(e);
		return;
	}
	NOT_REACHED();
}

static uint32_t routine_of(struct bt *b, struct trans *t, enum routine r, uint32_t argument)
{
	struct thunk_key *k = base_key(b, argument, ~(uint64_t)r, 0);
	struct emit e;
	uint32_t at;

	if (k->code)
		return k->code;
	if (r == ROUTINE_CALL) // so that what it needs exists
		base_routine(t, ROUTINE_CHECK, CHECK_ARGUMENT(t->tlb, true, push_size(argument)));
	at = k->code = b->base.routines;
	e = (struct emit){b->tc_rw + at, b->tc_rw + THUNKS_AT, b->delta, (uint64_t)b - BT_OFFSET, 0, 0};
	make(t, &e, r, argument);
	ASSERT(e.p <= e.end);
	b->base.routines = (uint32_t)align_up((uint64_t)(e.p - b->tc_rw), 16);
	return at;
}

uint32_t base_routine(struct trans *t, enum routine r, uint32_t argument)
{
	return routine_of(t->b, t, r, argument);
}

// Returns to a unit that is no more go by the table.
void base_close_landings(struct bt *b, const struct tu *t)
{
	uint32_t gone = routine_of(b, NULL, ROUTINE_LAND_GONE, 0);

	for (uint32_t i = t->first_exit; i < t->first_exit + t->nexits; i++)
		if (b->exit[i].kind == EXIT_LANDING)
			emit_patch32(b->tc_rw + b->exit[i].place + 1, b->delta, b->tc + gone);
}

// A routine on the way of a link. The exit's number stands behind it. NULL: the cache is full.
static const uint8_t *link_by(struct bt *b, const struct exit *x, enum routine r, uint32_t argument, const uint8_t *to)
{
	struct emit e = {b->tc_rw + b->cold, b->tc_rw + b->cold_end, b->delta, (uint64_t)b - BT_OFFSET, 0, 0};
	const uint8_t *start = emit_here(&e);

	if (b->cold + tc_room(b) > b->cold_end)
		return NULL;
	emit_call_shared(b, &e, routine_of(b, NULL, r, argument));
	emit_patch32(emit_jmp32(&e), e.delta, to);
	emit_u32(&e, (uint32_t)(x - b->exit));
	b->cold = (uint32_t)(e.p - b->tc_rw);
	return start;
}

// A hot unit leads to a base unit, which becomes hot in its turn: the link is counted. Most merged checks that have
// failed fail seldom; the others are worth a hot unit soon.
const uint8_t *base_counted_link(struct bt *b, const struct exit *x, const uint8_t *to)
{
	unsigned worth = x->kind == EXIT_APART ? PASSES_APART : worth_of(!(b->tu[x->tu].mode & MODE_USER));

	return link_by(b, x, ROUTINE_COUNT, worth, to);
}

// A base unit leads to a hot one of the mapped form.
const uint8_t *base_trusted_link(struct bt *b, const struct exit *x, const uint8_t *to)
{
	return link_by(b, x, ROUTINE_TRUST, 0, to);
}

void base_emit_exit(struct bt *b, struct emit *e, const struct exit *x)
{
	emit_bytes(e, (const uint8_t[]){0x4c, 0x8d, 0x1d}, 3); // lea behind the exit, %r11
	emit_u32(e, 0);
	emit_patch32(e->p - 4, e->delta, b->tc + x->place + 5);
	emit_jmp_state(e, SLOT_STUB_AT);
}

// The entry of a base unit for who leaves the flags noted.
const uint8_t *base_flags_entry(struct bt *b, struct tu *t)
{
	struct emit e = {b->tc_rw + b->base.cold, b->tc_rw + b->base.cold_end, b->delta, (uint64_t)b - BT_OFFSET, 0, 0};
	const uint8_t *entry = emit_here(&e);

	emit_make_flags(&e, 0);
	emit_patch32(emit_jmp32(&e), e.delta, b->tc + t->entry);
	b->base.cold = (uint32_t)(e.p - b->tc_rw);
	return entry;
}

// -- the look-up of indirect targets: where a mode's table (tc.c) has nothing -------------------------------------

const uint8_t *base_lookup_of(const struct bt *b, unsigned mode_id)
{
	return b->tc + LOOKUPS_AT + mode_id * LOOKUP_SIZE;
}

// The mode has got a number: make its routine. It goes to the address in T0, and polls; the flags come noted.
void base_name_mode(struct bt *b, unsigned mode_id)
{
	uint64_t state = (uint64_t)b - BT_OFFSET;
	struct emit it = {b->tc_rw + LOOKUPS_AT + mode_id * LOOKUP_SIZE, NULL, b->delta, state, 0, 0}, *e = &it;
	struct emit_mem entry = mem_base(HOST_T1, AT_BASE(lookup));
	uint8_t *hot, *other, *gone, *pending, *dead;

	b->base.tag[mode_id] = (uint64_t)(mode_id + 1) << 59;
	push(e, RCX);
	emit_rorx(e, 4, HOST_T1, HOST_T0, 16);
	emit_op_rr(e, 4, 0x01, HOST_T0, HOST_T1); // add: as itab_index
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, PASSES - 1);
	emit_add_pass(e, worth_of(!(b->modes[mode_id] & MODE_USER)));
	hot = jcc8(e, CC_B);
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, LOOKUPS - 1);
	emit_op_rr(e, 4, 0xc1, 4, HOST_T1); // shl
	emit_u8(e, LOOKUP_SHIFT);
	emit_gs(e);
	emit_load(e, 8, RCX, entry);
	emit_op_rr(e, 8, 0x31, HOST_T0, RCX); // xor
	emit_op_state(e, 8, 0x3b, RCX, (uint32_t)AT_BASE(tag) + mode_id * 8, 0); // cmp
	other = jcc8(e, CC_NE);
	entry.disp += 8;
	emit_gs(e);
	emit_load(e, 8, RCX, entry);
	emit_op_mem(e, 1, 0x80, 7, mem_base(RCX, 0)); // cmpb: held?
	emit_u8(e, 0);
	gone = jcc8(e, CC_E);
	emit_cmp_state_imm8(e, 4, VCPU_PENDING, 0);
	pending = jcc8(e, CC_NE);
	pop(e, RCX);
	entry.disp += 16;
	emit_gs(e);
	emit_op_mem(e, 1, 0x80, 7, entry); // cmpb: needs_flags?
	emit_u8(e, 0);
	entry.disp -= 8;
	emit_gs(e);
	emit_load(e, 8, HOST_T1, entry);
	dead = jcc8(e, CC_E);
	emit_flags_to_host(e);
	here8(dead, e);
	emit_bytes(e, (const uint8_t[]){0x41, 0xff, 0xe3}, 3); // jmp *%r11
	here8(hot, e);
	here8(other, e);
	here8(gone, e);
	here8(pending, e);
	pop(e, RCX);
	emit_jmp_state(e, SLOT_STUB_IND);
	ASSERT(e->p <= b->tc_rw + LOOKUPS_AT + (mode_id + 1) * LOOKUP_SIZE);
}

void base_enter_lookup(struct bt *b, struct tu *t)
{
	t->looked_up = true;
	b->base.lookup[itab_index(t->pc) & (LOOKUPS - 1)] = (struct base_lookup){
		.tag = b->base.tag[tc_mode_id(b, t->mode)] ^ t->pc, .entry = b->tc + t->entry,
		.held = t->footing ? &b->holds[t->footing] : &b->base.always, .needs_flags = t->needs_flags};
}

bool base_has(const struct bt *b, unsigned mode_id, uint64_t pc)
{
	const struct base_lookup *l = &b->base.lookup[itab_index(pc) & (LOOKUPS - 1)];

	return (l->tag ^ pc) == b->base.tag[mode_id] && *l->held;
}

void base_leave_lookup(struct bt *b, struct tu *t)
{
	unsigned i = itab_index(t->pc) & (LOOKUPS - 1);

	if (!t->looked_up) // most are never the target of an indirect branch
		return;
	t->looked_up = false;
	if (b->base.lookup[i].entry == b->tc + t->entry)
		b->base.lookup[i].tag = 0;
}

void base_forget_all(struct bt *b)
{
	memset(b->base.lookup, 0, sizeof(b->base.lookup));
}

// -- the shared part as a whole -----------------------------------------------------------------------------------

// Room for what one unit may ask for?
bool base_has_room(const struct bt *b)
{
	const struct base *s = &b->base;

	return s->thunks + EMIT_ROOM / 4 <= s->thunks_end && s->cold + EMIT_ROOM / 8 <= s->cold_end &&
	       s->routines + EMIT_ROOM / 4 <= THUNKS_AT && s->nthunks + TRACE_INSNS < THUNKS_MAX &&
	       s->nkeys + 4 * TRACE_INSNS < KEYS_MAX &&
	       s->nsites + 2 * TRACE_INSNS < BASE_SITES_MAX &&
	       s->nexits + 4 * TRACE_INSNS < TC_SEGMENTS * EXITS_SEGMENT + BASE_EXITS_MAX &&
	       s->ninsns + TRACE_INSNS < TC_SEGMENTS * INSNS_SEGMENT + BASE_INSNS_MAX;
}

void base_flush(struct bt *b)
{
	enum { SHARED_CODE = 3 << 20 }; // enough for the thunks of all programs of the bench
	struct base *s = &b->base;

	if (s->nkeys)
		memset(s->key_hash, 0, sizeof(s->key_hash));
	s->nkeys = 1; // number 0 means none
	memset(s->seen, 0, sizeof(s->seen));
	memset(s->site_hash, 0, sizeof(s->site_hash));
	for (unsigned i = 0; i < PASSES; i++)
		s->passes[i] = (uint16_t)-PASSES_HOT;
	base_forget_all(b);
	s->always = 1;
	s->nthunks = 0;
	s->nsites = 1;
	s->nexits = TC_SEGMENTS * EXITS_SEGMENT;
	s->ninsns = TC_SEGMENTS * INSNS_SEGMENT;
	s->routines = ROUTINES_AT;
	s->thunks = THUNKS_AT;
	s->cold_end = MAX(b->tc_size / 8, MIN(b->tc_size / 4, SHARED_CODE));
	s->cold = s->thunks_end = s->cold_end - s->cold_end / 8;
}
