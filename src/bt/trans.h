// SPDX-License-Identifier: MIT
//
// The translation of one unit in progress: what translate.c, check.c, flow.c and stack.c pass around.
#ifndef BT_TRANS_H
#define BT_TRANS_H

#include "bt/bt.h"

enum { WINDOWS = 8, LABELS = 64, NOWHERE = 0xffff };

struct window { // see window.c
	uint8_t base;    // guest register
	uint8_t addend;  // host register: host address - guest address,
	bool whole;      // or the host address itself, where there is an index too
	bool valid;
	bool joined;     // more than one way has led to where `at` was 0
	unsigned access; // checked for: enum x86_access
	int lo, hi;      // bounds, relative to the register's value when checked
	int at;          // how far the register has moved since
};

enum { PROOFS = 10, COUNTED = 8 };

struct counted { // a loop with a counter: see counted.c
	uint16_t head, last, update; // instructions
	uint8_t reg;
	bool wide;                   // 64 bits of it count
	bool sure;                   // it begins with `start`: there is no other way
	bool compares;               // at the end; else it is the change itself that reaches 0
	int64_t start, end, step;
	int64_t lo, hi;              // its values at the head
};

struct proof { // see mapped.c
	uint8_t base, index, scale; // guest registers or X86_REG_NONE; scale 0: nothing
	uint64_t slack;             // base + index * scale is no farther than that from an address outside the zone
};

struct touch { // one access of an instruction through a base register
	int disp;
	unsigned size, access;
};

struct row { // accesses by the same registers, one after the other: see adjacent.c
	bool valid;
	uint8_t base, index, scale; // guest registers
	bool used;       // by the present instruction, as its stack operand
	bool by_addend;  // T1 is host address less linear address; else T1 + T0 is the host address of lo
	unsigned access;
	int lo, hi;      // displacements that have been checked
	int at;          // how far the base has moved since
	uint32_t named_t0, named_t1; // of struct emit, then
};

struct label { // a place that instructions of the same region lead to: see label.c
	bool back;           // later ones too,
	uint16_t reach;      // up to this one;
	bool loop;           // with what lies between, those up to
	uint16_t last;       // this one are a loop
	unsigned ways;       // in that have been emitted
	struct recipe recipe;          // what is known of the flags, if there is
	bool exported;                 // one way only
	uint16_t exported_lost;
	bool settled, noted; // mapped form: it is decided that flags which nobody reads here are noted, not in the host's
	const uint8_t *at;   // for those from behind
	struct window window[WINDOWS]; // what is valid here
	struct proof proof[PROOFS];
	uint16_t narrow;
};

struct fixup { // a branch forward: the rel32, and the instruction it leads to
	uint8_t *place;
	uint16_t to;
};

// What becomes of the arithmetic flags at some place: read before they are written; those, and what a fault shows or
// nobody knows; registers overwritten before that is over; does a check of the unit take the host's flags?
struct fate {
	uint16_t live, visible, lost;
	bool shown;
};

// What has been found out about places outside, which several analyses ask for.
struct known_fate {
	uint64_t pc;
	struct fate fate;
};
enum { KNOWN_FATES = 64 };

// Each instruction by itself, with the flags in the host's behind it.
static const struct fate all_flags = {.live = RFLAGS_ARITH, .visible = RFLAGS_ARITH, .lost = 0xffff};

struct trans {
	struct vcpu *v;
	struct bt *b;
	struct tu *t;
	uint32_t tu_id;
	uint8_t *map;                        // guest register -> host register: as in struct hot_tu
	struct emit hot, cold;
	const uint8_t *bytes;                // the unit's guest bytes (host address, or the straddle buffer)
	uint8_t straddle[2 * X86_INSN_MAX + 2];
	uint32_t n;                          // instructions
	uint32_t i;                          // the one being emitted
	struct known_fate *known;            // KNOWN_FATES of them, by hash; a pc of 0: none. NULL: not kept
	enum flag_state flags;
	struct recipe recipe;                // of the present flags, if there is one
	bool noted;                          // the present instruction has noted what its recipe needs
	bool announced;                      // it is in SLOT_RECIPE before the operation
	int ahead;                           // bytes that guest RSP is ahead of its register (stack.c)
	bool exported;                       // SLOT_RECIPE and its notes are the present recipe,
	uint16_t exported_lost;              // even if these registers change
	enum x86_mode code;
	bool careful, user;
	bool patched;                        // the code of this page is patched often: keep account of operands
	enum tlb_index tlb;
	uint8_t victim_of[X86_GPRS];         // r9-r11: the register whose place each takes, or X86_REG_NONE
	struct window window[WINDOWS];
	unsigned nwindows;
	struct row row;
	struct proof proof[PROOFS];          // mapped form
	unsigned next_proof;
	uint16_t narrow;                     // guest registers between -2^31 and 2^32
	uint16_t named, written;             // guest registers
	uint16_t in_memory;                  // of those named: without a host register (spill.c)
	uint16_t lost;                       // of the present instruction: to be given T0 or T1
	uint16_t borrowed;                   // guest registers whose places others have for the present instruction
	uint8_t lender[X86_GPRS];            // whose place each has
	unsigned accesses;                   // of the present instruction, so far
	uint32_t open_site[BOUNCES];         // careful form: writes to be committed
	unsigned nopen;
	bool home;                           // the registers are back in their homes
	bool ended;                          // an unconditional exit has been emitted
	unsigned nlabels, nfixups;
	struct counted counted[COUNTED];
	unsigned ncounted;
	// base tier
	bool shared;                         // a thunk: see thunk.c
	bool given;                          // its operand's address comes in T0
	uint8_t on_stack;                    // bytes it has on the host's stack
	bool wide;                           // branches within the unit are not short
	unsigned nforward;

	// By instruction, in the order of emission; not cleared when a translation begins.
	struct x86_insn insn[TU_INSNS_MAX];
	struct verbatim verbatim[TRACE_INSNS]; // base tier; len 0: it is none. Of insn, such have only len and class
	struct {
		uint8_t *place, to;              // displacement, instruction
	} forward[TRACE_INSNS];          // the first nforward of them
	int16_t off[TU_INSNS_MAX + 1];       // offset in the guest's code from the unit's pc
	uint16_t next[TU_INSNS_MAX];         // what follows if it does not branch: an instruction, or NOWHERE
	uint16_t target[TU_INSNS_MAX];       // where it branches to in the region, or NOWHERE
	uint16_t label_of[TU_INSNS_MAX];     // its label, or NOWHERE
	uint8_t depth[TU_INSNS_MAX];         // of loops around it
	bool poll_before[TU_INSNS_MAX];      // for a backward branch behind it
	struct fate in[TU_INSNS_MAX], out[TU_INSNS_MAX]; // of flags before and behind each
	uint32_t host[TU_INSNS_MAX];         // TC offset of each instruction's code, or 0
	struct label label[LABELS];
	struct fixup fixup[TU_INSNS_MAX];
};

// What an emitter treats an instruction as: policy, one row per class (by_class in translate.c).
struct treatment {
	void (*emit)(struct trans *t, const struct x86_insn *insn);
	bool ends;   // nothing of the unit follows it
};

static inline uint64_t insn_pc(const struct trans *t, unsigned i)
{
	return t->t->pc + (uint64_t)(int64_t)t->off[i];
}

static inline uint64_t next_pc(const struct trans *t)
{
	uint64_t pc = insn_pc(t, t->i) + t->insn[t->i].len;

	return t->code == X86_MODE64 ? pc : (uint32_t)pc;
}

static inline unsigned host_of(const struct trans *t, unsigned guest)
{
	ASSERT(t->map[guest] != X86_REG_NONE);
	return t->map[guest];
}

// How much an instruction counts for: loops run.
static inline unsigned weight_of(const struct trans *t, unsigned i)
{
	return 1u << 2 * MIN(t->depth[i], 4u);
}

static inline bool same_page(const struct trans *t, uint64_t pc)
{
	return (pc ^ t->t->pc) >> PAGE_SHIFT == 0 && !tu_straddles(t->t);
}

static inline bool is_flat(const struct trans *t)
{
	return mode_is_flat(t->t->mode);
}

// How wide an address is, and what a push moves, in flat code.
static inline unsigned word_of(const struct x86_insn *insn)
{
	return insn->mode == X86_MODE64 ? 8 : 4;
}

static inline unsigned word(const struct trans *t)
{
	return t->code == X86_MODE64 ? 8 : 4;
}

static inline bool stack_is_wide(const struct trans *t) // not SP alone
{
	return t->code == X86_MODE64 || t->t->mode & MODE_SS32;
}

static inline unsigned stack_addr_size(const struct trans *t)
{
	return t->code == X86_MODE64 ? 8 : stack_is_wide(t) ? 4 : 2;
}

// -- check.c
void emit_ea(struct trans *t, const struct x86_insn *insn, int disp_adjust); // T0 = linear address; keeps flags
void emit_ea_base(struct trans *t, unsigned seg); // the last part of that: the base of FS or GS, where others have none
void emit_stack_ea(struct trans *t, int disp);   // T0 = linear address of guest RSP + disp; keeps flags
void emit_seg_base(struct trans *t, unsigned seg);
// The host address of T0's `size` bytes becomes T1 + T0. May leave for a miss or fault; then nothing has happened yet.
void emit_check(struct trans *t, unsigned access, unsigned size, unsigned seg);
bool emit_constant_operand(struct trans *t, const struct x86_insn *insn, unsigned access, unsigned size,
			   struct emit_mem *out);
// disp(base), in 64-bit code without a segment's base: its operand; or a window's check, where host address less linear
// address goes to addend.
struct emit_mem emit_based_operand(struct trans *t, unsigned base, int disp, unsigned access, unsigned size,
				   unsigned seg);
void emit_merged_check(struct trans *t, unsigned base, int disp, unsigned access, unsigned size, unsigned seg,
		       unsigned addend);
void emit_row_check(struct trans *t, unsigned access, unsigned size, unsigned seg); // as emit_check, of a row
void emit_access_done(struct trans *t);          // after the instruction's operation: careful writes are committed
uint32_t new_site(struct trans *t, unsigned access, unsigned size, unsigned seg);
struct site site_of(struct trans *t, unsigned access, unsigned size, unsigned seg);
struct emit_mem checked_mem(void);
void note_saved_ax(struct trans *t);             // and RAX, RDX are in their slots there
void note_fault(struct trans *t);                // as the next, and it may raise an exception in any case
void note_op(struct trans *t);                   // the host code from here on belongs to the present instruction
uint32_t new_exit(struct trans *t, enum exit_kind kind, uint64_t pc);

// -- region.c: more than a straight line
bool region_grow(struct trans *t);     // instead of a straight unit; false: it is to be one
void region_analyse(struct trans *t);
bool region_polls(const struct trans *t, unsigned from, unsigned to); // at the branch, in the absence of a better place

// -- counted.c
void find_counted(struct trans *t);
bool counted_touch(const struct trans *t, unsigned i, unsigned base, struct touch *out);
bool is_counted(const struct trans *t, unsigned base);   // is there an access by it and a counter?
unsigned counted_register(const struct trans *t, unsigned i);
void counted_guard(struct trans *t);
bool counted_ends(const struct trans *t, unsigned from, unsigned to);

// -- label.c: ways inside a region
void label_bind(struct trans *t);                        // before the present instruction
void label_drop_dead_ways(struct trans *t); // from the present instruction
void label_jump(struct trans *t, unsigned to);           // go on there
void label_branch(struct trans *t, const struct x86_insn *insn, unsigned to); // JCC, LOOP
void label_poll(struct trans *t);
bool label_notes(struct trans *t, unsigned i);     // are flags noted there?
// -- live.c
bool insn_may_fault(const struct x86_insn *insn);
bool insn_checks(const struct trans *t, const struct x86_insn *insn);
bool insn_divides(const struct trans *t, const struct x86_insn *insn); // and compares before it, in ident.c
uint16_t flags_set(const struct x86_insn *insn); // arithmetic flags it writes or leaves undefined
void find_live_flags(struct trans *t);
struct fate fate_outside(const struct trans *t, uint64_t pc); // at a branch target

// -- flags.c
enum flag_state flags_wanted(const struct trans *t, struct fate f); // where they are to be at such a place
void emit_save_flags(struct trans *t);           // the host's flags will be overwritten
void emit_need_flags(struct trans *t);           // the guest's flags to the host's, if they are alive
// The code to bring them to the host's, or to note them for a place where these registers will be lost. Keep t->flags.
void emit_flags_home(struct trans *t, struct emit *e);
void emit_flags_noted(const struct trans *t, struct emit *e, uint16_t lost);
void emit_note_flags(struct trans *t, uint16_t lost); // here and now
bool emit_flags_to_leave(const struct trans *t, struct emit *e); // for an exit to C; true: they are noted
void emit_flags_to_slot(struct trans *t);        // if they are alive: a recipe will not find its registers
void emit_make_flags(struct emit *e, uint32_t unit);
void emit_restore_flags(struct emit *e);         // from the slot
void emit_restore_flags_by(struct emit *e, unsigned free); // the same, where a register is free
void emit_keep_flags(struct emit *e);            // to the slot
bool emit_producer(struct trans *t, const struct x86_insn *insn, struct emit_mem m);
void emit_announcement(struct trans *t, const struct x86_insn *insn);
void flags_before(struct trans *t, const struct x86_insn *insn); // around the emission of each instruction
void flags_after(struct trans *t, const struct x86_insn *insn);
void flags_from_here(struct trans *t, enum flag_state state); // no longer what they were
uint16_t flags_recipe(const struct trans *t);    // number of the present recipe

// -- remake.c: a recipe as code
enum { ALU_TEST = 8 }; // behind enum emit_alu

uint32_t note_slot(unsigned which);
bool in_state(const struct trans *t, unsigned operand, uint32_t *off);
void emit_alu_rr(struct emit *e, unsigned size, unsigned op, unsigned dst, unsigned src);
void emit_alu_ri(struct emit *e, unsigned size, unsigned op, unsigned dst, int32_t imm);
void emit_operation_again(const struct trans *t, struct emit *e); // the guest's flags to the host's
uint16_t recipe_number(struct bt *b, const struct recipe *r);     // 0 is none

// -- spill.c: guest registers in memory
void place_registers(struct trans *t);
void spill_before(struct trans *t, const struct x86_insn *insn);
struct emit_mem spill_operand(struct trans *t, struct emit_mem m);
void spill_take(struct trans *t, const struct x86_insn *insn, unsigned nth); // T0, T1 from number nth on for those lost
bool spill_fold(struct trans *t, const struct x86_insn *insn); // the whole instruction, with it as the operand
void spill_put(struct trans *t, const struct x86_insn *insn);               // what it has written
void spill_after(struct trans *t, const struct x86_insn *insn);
void spill_return(const struct trans *t, struct emit *e);                   // places to those they belong to

// -- translate.c
const struct treatment *treat(const struct trans *t, const struct x86_insn *insn);
bool uses_homes(const struct trans *t, const struct x86_insn *insn); // C code finds registers in struct vcpu
bool is_vector_in_c(const struct x86_insn *insn);
bool ends_unit(const struct trans *t, const struct x86_insn *insn);

// -- analyse.c
void decode_unit(struct trans *t);
bool is_translated(const struct trans *t, int off);      // as good as this unit would be, from there on
int decode_guest(const struct trans *t, struct x86_insn *insn, const uint8_t *bytes, size_t n);
bool decode_next(struct trans *t, int off);             // one more instruction; false: it cannot be

// -- ident.c
bool takes_operand(const struct trans *t, const struct x86_insn *insn); // over as it is, and keeps account of it
void note_operand(struct trans *t, unsigned size); // it has just been emitted, with the operand at its end
void ident(struct trans *t, const struct x86_insn *insn);
void fwait(struct trans *t, const struct x86_insn *insn);
void ident_x87(struct trans *t, const struct x86_insn *insn);
void ident_sse(struct trans *t, const struct x86_insn *insn);

// -- flow.c
// An address in the unit's own neighbourhood, which moves with it.
void emit_mov_pc(struct trans *t, struct emit *e, unsigned dst, uint64_t pc);
void emit_exit(struct trans *t, enum exit_kind kind, uint64_t pc);      // unconditional, in the hot half
void emit_cold_exit(struct trans *t, enum exit_kind kind, uint64_t pc); // the same in the cold half, aside
void emit_apart_exit(struct trans *t);
void emit_jump_table(struct trans *t, unsigned mode_id);                // to the address in T0
void emit_goto(struct trans *t, uint64_t target);                       // to another unit
void emit_prologue(struct trans *t);
// A poll in e: leave through an exit of the given kind at pc if the word is not zero. Keeps the guest's flags if
// `live`.
void emit_poll(struct trans *t, struct emit *e, uint32_t off, enum exit_kind kind, uint64_t pc, bool live);
void emit_cold_poll(struct trans *t, uint64_t pc);
void emit_poll_word(struct trans *t, uint32_t off, enum exit_kind kind, uint64_t pc);
uint64_t branch_target(const struct trans *t, unsigned i); // of a direct one
bool branch_is_far_off(const struct trans *t, const struct x86_insn *insn); // beyond the code segment's limit
bool pairs_calls(const struct trans *t);
void emit_epilogue(const struct trans *t, struct emit *e);
void emit_table_branch(struct emit *e, uint32_t mode_id, unsigned how); // jump (4) or call (2), by T0
void emit_indirect(struct trans *t);                                    // registers home, then to T0
// The cold side of a direct branch; place is the hot branch's rel32.
struct exit *emit_branch_stub(struct trans *t, uint8_t *place, uint64_t target, bool polled);
void emit_call_out(struct trans *t, uint64_t target);
void flow_jmp(struct trans *t, const struct x86_insn *insn);
void flow_jcc(struct trans *t, const struct x86_insn *insn);
void flow_loop(struct trans *t, const struct x86_insn *insn);

// -- guard.c: user code that leads to another page looks at the target's footing before it goes, where the flags are
// not in the host's. tc_link says which byte that is.
enum {
	GUARD_CMP = 7, GUARD_DISP = 2,            // the comparison, and where its displacement is
	GUARD_NEAR = GUARD_CMP - GUARD_DISP + 2 + 1, // from there to the rel32 of the jump behind it, over a short branch
	GUARD_FAR = GUARD_CMP - GUARD_DISP + 6 + 1, // or a long one
};

bool guards_in_place(const struct trans *t, uint64_t target);
void emit_held(const struct trans *t, struct emit *e);

// -- pair.c
void flow_call(struct trans *t, const struct x86_insn *insn);
void flow_jmp_ind(struct trans *t, const struct x86_insn *insn);
void flow_call_ind(struct trans *t, const struct x86_insn *insn);
void flow_ret(struct trans *t, const struct x86_insn *insn);
void emit_note_branch(struct trans *t, const struct x86_insn *insn);

// -- count.c: --deterministic
void emit_count(struct trans *t);                    // at the entry: all the unit's instructions
void emit_uncount(struct trans *t, struct emit *e);  // less those behind the present one; keeps flags, uses T1

// -- stack.c
void emit_push(struct trans *t, const struct x86_insn *insn);
void emit_pop(struct trans *t, const struct x86_insn *insn);
void emit_leave_insn(struct trans *t, const struct x86_insn *insn);
void emit_rsp_add(struct trans *t, int n);
void emit_host_pop_to_mem(struct trans *t, unsigned size);

// -- window.c: merged checks
// False: the instruction sets the register anew; else *by: how much it moves it.
bool moves_base(const struct x86_insn *insn, unsigned base, int *by);
bool window_wanted(struct trans *t, unsigned *worth);     // by guest register: what a window around it would save
void window_add(struct trans *t, unsigned base, unsigned host);
void window_after(struct trans *t, const struct x86_insn *insn);
bool window_has(const struct trans *t, const struct x86_insn *insn); // its operand, as things are
bool plain_segment(const struct x86_insn *insn);
bool plain_access(const struct x86_insn *insn); // to an operand of its own, without a segment's base
bool names_high(const struct x86_insn *insn);
unsigned segment_of(unsigned base);
bool stack_is_inside(const struct trans *t, unsigned base, int at, int lo, int hi);

// -- adjacent.c: accesses in a row
bool stack_touch(const struct x86_insn *insn, struct touch *out);
bool row_operand(struct trans *t, const struct x86_insn *insn, struct emit_mem *out);
bool row_stack(struct trans *t, const struct x86_insn *insn, struct emit_mem *out);
void row_kept(struct trans *t);
void row_after(struct trans *t, const struct x86_insn *insn);
bool row_class(const struct x86_insn *insn);

// -- window.c
void window_drop_all(struct trans *t);
void window_join(struct window *w, const struct window *other);
void window_enter_loop(struct trans *t, unsigned last); // before the present instruction: what lasts through it
bool window_fits(const struct trans *t, const struct window *wanted);
void window_make(struct trans *t, const struct window *wanted);
struct emit_mem emit_operand(struct trans *t, const struct x86_insn *insn, unsigned access, unsigned size);
struct emit_mem emit_stack_operand(struct trans *t, int disp, unsigned size, unsigned access);

// -- stack_trust.c
void emit_stack_test(struct emit *e, uint8_t **zone, uint8_t **upper);

// -- narrow.c
void narrow_after(struct trans *t, const struct x86_insn *insn);
uint16_t narrow_counter(const struct trans *t);

// -- mapped.c: the guest's own operands. Not in thunks, which do not know where a host fault leads.
static inline bool is_mapped(const struct trans *t)
{
	return t->t->mode & MODE_MAPPED && !t->shared;
}

bool mapped_has_form(const struct trans *t, const struct x86_insn *insn); // all of its accesses take it
bool mapped_keeps_flags(const struct trans *t, const struct x86_insn *insn); // the same, and nothing takes the flags
bool mapped_operand(struct trans *t, const struct x86_insn *insn, int adjust, struct emit_mem *out);
void mapped_prefetch(struct trans *t, const struct x86_insn *insn); // nothing in the checked form
struct emit_mem mapped_stack(struct trans *t, unsigned base, int disp, unsigned size);
void mapped_after(struct trans *t, const struct x86_insn *insn);
void mapped_drop_all(struct trans *t);
void mapped_trust_stack(struct trans *t);               // what holds of RSP wherever a unit begins
void mapped_settle_stack(struct trans *t, bool behind); // see to it
void mapped_join(struct proof *have, const struct proof *other);
bool mapped_fits(const struct trans *t, const struct proof *wanted);
void mapped_make(struct trans *t, const struct proof *wanted);
void mapped_enter_loop(struct trans *t, unsigned last);

// -- system.c: system instructions done in the cache
bool sys_inline(const struct trans *t, const struct x86_insn *insn); // may this one be?
void sys_cli(struct trans *t, const struct x86_insn *insn);
void sys_sti(struct trans *t, const struct x86_insn *insn);
void sys_swapgs(struct trans *t, const struct x86_insn *insn);
void sys_pushf(struct trans *t, const struct x86_insn *insn);
void sys_popf(struct trans *t, const struct x86_insn *insn);
void sys_stac(struct trans *t, const struct x86_insn *insn);
void sys_clac(struct trans *t, const struct x86_insn *insn);
void sys_rdtsc(struct trans *t, const struct x86_insn *insn);
void sys_from_seg(struct trans *t, const struct x86_insn *insn);
void sys_from_cr(struct trans *t, const struct x86_insn *insn);
bool sys_stays(const struct trans *t, const struct x86_insn *insn); // for C, but within the unit?
void emit_rflags(struct trans *t, bool keep);                       // the guest's to T0, RF and VM clear
void emit_take_flags(struct trans *t);                              // RFLAGS from T0, where DF is clear
void emit_ready_to_go(struct trans *t);                             // before all ways into another mode
void emit_enter_mode(struct trans *t, uint32_t mode);               // on to the address in T0
void emit_enter_user(struct trans *t, uint32_t mode);               // the same into user code
void emit_mode_jump(struct trans *t, uint32_t mode);                // both of these
void emit_user_jump(struct trans *t, uint32_t mode);                // both of these

// -- fastcall.c
bool fastcall_inline(const struct trans *t, const struct x86_insn *insn);
void sys_syscall(struct trans *t, const struct x86_insn *insn);
void sys_sysret(struct trans *t, const struct x86_insn *insn);
void sys_sysenter(struct trans *t, const struct x86_insn *insn);
void sys_sysexit(struct trans *t, const struct x86_insn *insn);

// -- segment.c: segment registers in the cache
void seg_push(struct trans *t, const struct x86_insn *insn);
void seg_pop(struct trans *t, const struct x86_insn *insn);
void seg_mov(struct trans *t, const struct x86_insn *insn);
void seg_far_ptr(struct trans *t, const struct x86_insn *insn);
void sys_rare_if(struct trans *t, unsigned cc, const struct x86_insn *insn); // then C has it all
bool seg_inline(const struct trans *t, const struct x86_insn *insn);
void sys_rdbase(struct trans *t, const struct x86_insn *insn);
uint32_t keep_insn(struct trans *t, const struct x86_insn *insn);       // number in bt.insn
uint32_t keep_vector(struct trans *t, const struct x86_insn *insn);     // with its vector registers
void emit_vector(struct trans *t, const struct x86_insn *insn);         // leave for C
void emit_sys(struct trans *t, const struct x86_insn *insn); // leave for C
void emit_sys_aside(struct trans *t, const struct x86_insn *insn);      // the same in the cold half
void emit_string(struct trans *t, const struct x86_insn *insn);

// -- device.c
bool device_is_plain(const struct trans *t, const struct x86_insn *insn);
bool device_is_met(const struct trans *t, uint64_t pc); // by the operand of the instruction there

// -- known.c
void sys_cpuid(struct trans *t, const struct x86_insn *insn);
void sys_rdmsr(struct trans *t, const struct x86_insn *insn);

// -- callout.c
void emit_callout_site(struct trans *t, struct emit *e, const struct x86_insn *insn);
void sys_callout(struct trans *t, const struct x86_insn *insn);

// -- string_inline.c
bool string_inline(const struct trans *t, const struct x86_insn *insn); // may it stay within its unit?
void emit_string_inline(struct trans *t, const struct x86_insn *insn);

// -- dump.c: records for the app; hot and cold: TC offsets where the unit's two parts begin
void dump_unit(const struct trans *t, uint32_t hot, uint32_t cold);
void dump_symbol(const struct trans *t, uint32_t cold);

#endif
