// SPDX-License-Identifier: MIT
//
// The binary translator's own state and the seams between its files (its records: tu.h, tlb.h, base_state.h). One
// struct bt per vCPU, in the vCPU's private memory (ZONE_VCPU + BT_OFFSET), reachable from translated code at constant
// offsets from the host's GS base.
//
//   run.c        the run loop; its parts: find.c, the unit at hand; leave.c, why it was left; events.c, faults and
//                interrupts; mode.c, what code depends on
//   translate.c  one unit: policy by class, emission; analyse.c: decoding, flags; ident.c: most instructions
//   region.c     units with loops; label.c: ways inside them; spill.c: where registers are; window.c: merged checks
//   check.c      memory operands: the inline TLB check, the careful form; adjacent.c: accesses in a row
//   counted.c    loops of which is known what they access
//   flow.c       direct transfers; pair.c: calls, returns, indirect ones; stack.c: push, pop, enter, leave
//   mapped.c     the mapped form of memory operands: the guest's own, with a zone check
//   tlb.c        the software TLB; tlb_miss.c: its misses; site.c: an entry per check site
//   tc.c         the translation cache: units, look-up, chaining, flush; evict.c: its segments; owner.c: whose code
//   footing.c    pages that units stand on, and whether they are mapped; move.c: units of code that is elsewhere now;
//                family.c: which pages move together
//   code.c       coherency: pages that hold translated code, retirement; vpage.c: where links rely on a mapping
//   flags.c      where the arithmetic flags are; recipe.c, remake.c: how to make them anew
//   recover.c    from host state back to guest state: misses, host faults; insn_map.c: at which instruction
//   sample.c     which hot units the timer meets again and again
//   base.c       units of the base tier, and what belongs to it: see base.h; promote.c: from there to the hot tier
//   verbatim.c   instructions that stand there as they are, and need no decoding
//   known.c      answers of CPUID and RDMSR that translated code gives by itself
//   device.c     loads from device memory and port accesses in passing
//   string.c     string instructions
//   vector.c     vector registers for C code; gather.c: gathers and scatters; masked.c: masks of memory operands
#ifndef BT_BT_H
#define BT_BT_H

#include "bt/base_state.h"
#include "bt/emit.h"
#include "bt/host_flags.h"
#include "bt/known.h"
#include "bt/tlb.h"
#include "cpu/system.h"
#include "mem/zone.h"
#include "x86/decode_memo.h"

// Register homes in translated code.
enum { LIVE_FLAGS = RFLAGS_ARITH | RFLAGS_DF }; // the guest's that are the host's in translated code
enum { HOST_GUEST_RSP = X86_R9, HOST_T0 = X86_R10, HOST_T1 = X86_R11 };

// The guest's registers of these names, which compilers use least, are in vcpu.gpr[].
enum { HOMELESS_FIRST = X86_R9, HOMELESS_LAST = X86_R11, HOMELESS = BIT(X86_R9) | BIT(X86_R10) | BIT(X86_R11) };

static inline unsigned home_of(unsigned guest)
{
	return guest == X86_RSP ? HOST_GUEST_RSP : guest >= HOMELESS_FIRST && guest <= HOMELESS_LAST ? X86_REG_NONE : guest;
}

struct vpage { // a linear page of kernel code that direct links rely on
	uint64_t va;
	gpa_t gpa;
	bool global;
	uint16_t next; // number + 1 of another one in the chain
};

enum { BOUNCES = 4, BOUNCE_SIZE = 8192 };

struct bounce { // one memory operand of an instruction in the careful form
	gva_t gva;
	uint64_t bytes; // those that a masked operand consists of, bit by byte
	uint8_t *ram;   // where what was written goes; NULL: through the guest's paging
	uint8_t *in_place; // RAM that the instruction works on itself, at gpa; else NULL
	gpa_t gpa, gpa2;   // gpa2: the second page, if it goes on there
	uint16_t size;
	uint8_t data[BOUNCE_SIZE] __attribute__((aligned(64)));
};

enum { CODE_LINE_SHIFT = 6 };

struct code_page { // what code.c knows of a page that holds code
	gpa_t gpa;
	uint64_t lines; // with code
	bool stale;     // lines is not known
	uint8_t hits;   // writes to code since a unit was made here
	uint8_t near;   // and writes beside it since the first of them
};

struct device_page { // a linear page of a device's memory: see device.c
	uint64_t tag; // its address, and the table of the software TLB it would have an entry in
	gpa_t gpa;
};

struct near_write { // a linear page that may be written, but for the code on it: see code.c
	uint64_t tag;   // linear address | enum tlb_index
	uint8_t *host;
	gpa_t gpa;
};
enum { CODE_PAGES = 64, NEAR_WRITES = 16, DEVICE_PAGES = 8, DEVICES_MET = 4096, PATCHED_PAGES = 4096 };

struct vector_op { // the vector registers an instruction names besides its memory operand's: see vector.h
	uint8_t reg, rm, vvvv, k;
};

struct vector_layout { // offsets in the image that XSAVE makes; 0: the host has none
	uint32_t avx, opmask, zmm_upper, zmm16;
};

// -- --selfcheck ------------------------------------------------------------------------------------------------------
enum { CHECK_WRITES = 3 * TU_INSNS_MAX };

struct check_state { // ORDER CHECK: as reported
	uint64_t gpr[X86_GPRS], rip, rflags;
	uint16_t undefined; // flags that the instructions so far have left so
};

struct check_write {
	gpa_t gpa;
	uint8_t *host;
	uint16_t size;
	uint8_t before[128], after[128];
};

struct selfcheck {
	uint64_t countdown;
	bool recording; // the careful run is on
	bool lost;      // a write could not be noted
	unsigned nsteps, nwrites;
	struct check_state step[TU_INSNS_MAX + 1];
	struct check_write write[CHECK_WRITES];
	struct mmu_marks marks;
	uint8_t before[XSAVE_AREA_MAX], careful[XSAVE_AREA_MAX];
};

struct itab {
	const uint8_t *e[ITAB_SIZE];
	uint32_t tu[ITAB_SIZE];
	uint16_t log[ITAB_LOG]; // what has been entered since the last flush; all of it if nlog > ITAB_LOG
	uint32_t nlog;
};

struct segment { // of the translation cache
	uint32_t hot;          // where its hot code begins
	uint32_t ntus, nexits, nentries; // one more than the last number used in it, when it was left
	uint32_t nlive;                  // units that are not dead
	bool late;                       // some of its units have code in another segment
} __attribute__((packed, aligned(4)));

enum pool_name { POOL_BASE, POOL_HOT, POOLS };

struct pool { // segments that are filled in turn: see evict.c
	uint32_t start, size;  // TC offset; of each segment
	unsigned first, n;     // its segments
	// as in struct bt, while another one is at hand
	unsigned segment;
	uint32_t next_share, hot, cold, hot_end, cold_end;
	uint32_t ntus, nhots, nexits, nsites, nentries, ninsns, nmaps, nrelocs, nbmaps;
};

struct bt {
	struct tlb tlb_r[TLB_INDEXES], tlb_w[TLB_INDEXES]; // ORDER TLB: first, translated code addresses them
	struct site_entry entry[SITE_ENTRIES];             // ORDER SITE: the same
	struct site_info entry_info[SITE_ENTRIES];
	uint64_t site_refills;   // of entries, ever
	uint64_t site_apart;     // times that merged checks reached beyond a page
	uint8_t guilty[GUILTY];  // instructions, by hash, whose sites have no entries of their own
	uint64_t refills_then;   // site_refills some time ago ...
	uint32_t refills_since;  // ... and when that was
	struct shared *sh;
	struct stats *st;
	struct peers *peers;     // NULL in tests of one processor
	uint16_t me;             // this vCPU's bit
	bool smp;                // there are other vCPUs
	bool pauses_yield;       // and fewer processors to run them
	bool mapped_kernel;      // code of CPL 0 is in the mapped form: it runs in the lower half
	uint32_t mode_now;
	uint32_t nmodes, modes[MODES_MAX];
	// translation cache
	uint8_t *tc_rw;
	const uint8_t *tc;       // executable
	int64_t delta;           // executable - writable
	uint32_t tc_size, hot, cold, hot_end, cold_end;
	uint32_t ntus, nhots, nexits, nsites, nentries, ninsns, nmaps, nrelocs; // the next numbers, in the present segment
	uint32_t nrecipes;
	unsigned segment, nsegments; // being filled; there are
	uint32_t next_share;     // of the next segment for hot code, or 0: as the present one shows
	unsigned base_before;    // the segment of base code before the present one
	uint64_t opened;         // when the last segment was begun, in cycles of the host
	struct segment segments[TC_SEGMENTS];
	enum pool_name pool_now, pool_wanted; // at hand: all numbers above are of it
	struct pool pool[POOLS];
	bool wants_room;         // a segment is full: the run loop goes on to the next of pool_wanted
	uint32_t hash[TU_HASH];  // first units of chains, with marks: see tc.c
	struct tu *tu;
	uint32_t *owner;         // by blocks of the cache: the first unit with code there, see owner.c
	struct hot_tu *hot_tu;
	struct exit *exit;
	struct site *site;
	struct x86_insn *insn;
	struct vector_op *vop;   // beside insn, where that is a vector instruction
	uint8_t *map;            // see insn_map.c
	struct insn_map new_map[NEW_MAPS]; // of the unit that is being made
	uint32_t nnew_maps;
	struct recipe *recipe;
	struct reloc *reloc;
	struct footing *footing;
	uint8_t holds[FOOTINGS_MAX]; // not 0: the present space has the footing's gpa at its va (and gpa2 behind it)
	uint32_t footing_hash[FOOTING_HASH], held[FOOTINGS_MAX];
	uint32_t nfootings, nheld, free_footing;
	struct family *family;
	uint32_t nfamilies, free_family;
	uint64_t hold_epoch;         // how often all footings have been released
	uint32_t *page_head;     // per guest frame: first unit on it (index << 1 | which), 0 none
	struct code_page code_page[CODE_PAGES];
	struct near_write near_write[NEAR_WRITES];
	struct device_page device_page[2][DEVICE_PAGES]; // for loads, for stores
	uint8_t device_met[DEVICES_MET]; // instructions, by hash: how often a device has faulted in the mapped form
	uint64_t device_value;   // what a load from a device's page has given
	uint8_t patched[PATCHED_PAGES]; // writes to the code of pages, hashed
	uint32_t last_unit;      // entered or left last: for the crash report
	struct page_writes *page_writes; // per guest frame: which write entries may lead to it
	uint32_t link_exit;      // exit to be chained to the unit found next, or 0
	uint64_t low_code[2];    // of bt.vpage, those in the lower half: the lowest, the highest
	uint32_t cs_base, cs_limit; // MODE_CS: of the code whose calls are on the stack of calls
	bool edges;              // the software TLB may have pages next to the 32-bit address space: see tlb_drop_edges
	bool low_global_sites;   // a check site has an entry of a global page in the lower half: the guest has such pages
	// 2 MiB and 1 GiB regions with entries of large pages, by the address space's half and whether they are global
	struct large_set large[2][2], huge[2][2];
	struct space space[SPACES];
	uint64_t space_clock;
	uint16_t pcid;           // the present one
	struct region_set user_code;  // user pages that code has been fetched from
	bool flush_tc;           // asked for: done by the run loop
	uint32_t flush_in, flush_random; // --stress=flush
	bool careful;            // the instruction at v->rip goes through the careful form
	struct place place;      // where base code was left
	bool want_hot;           // the unit found next has run often
	bool apart;              // the unit found next has no merged checks
	const uint8_t *sampled;  // host address that the timer has met, or NULL
	bool want_table;         // the unit found next enters the indirect table
	bool step;               // one instruction a unit, for the debugger
	unsigned nmi_waits;      // NMIs to be delivered: one while another's handler runs, else two, as processors hold
	bool stopped;            // the debugger has last had a stop at stopped_at, and nothing ran since
	uint64_t stopped_at;
	uint32_t sys_effect;     // enum sys_effect of the present instruction, if it ran in C
	uint8_t data_hits;       // data breakpoints that the present instruction has met (DR6 bits 0-3)
	uint32_t nonglobal;      // of vpage[]: what a CR3 write may move, and so is checked at each
	uint32_t moved;          // of these: how many did
	// Kernel code is not the same everywhere (page table isolation): no links to nonglobal pages
	bool spaces_differ;
	uint64_t key;            // what all units depend on besides their mode (translation_key)
	struct code_fetch fetch[2][CODE_FETCH];
	struct vpage vpage[CODE_VPAGES];
	uint16_t vpage_head[VPAGE_HASH + 1]; // chains of global ones by address; the last one: of all others
	uint32_t nvpages;
	bool vpages_overflow;
	struct bounce bounce[BOUNCES];
	struct vector_layout vectors;
	struct x86_memo memo;    // of the decoder
	struct host_flags host_flags;
	struct known known;
	struct selfcheck check;
	struct base base;
	struct itab itab[MODES_MAX];
};

#define BT_OFFSET 0x8000000 // from ZONE_VCPU(i)

static inline struct hot_tu *hot_of(const struct bt *b, const struct tu *t) // of a base unit: zeros
{
	return &b->hot_tu[t->hot];
}

static inline uint64_t exit_pc(const struct bt *b, const struct exit *x)
{
	return b->tu[x->tu].pc + ((uint64_t)(int64_t)x->high << 32 | x->low);
}

static inline struct bt *bt_of(const struct vcpu *v)
{
	return (struct bt *)((char *)(uintptr_t)v + BT_OFFSET);
}

static inline struct vcpu *bt_vcpu(struct bt *b)
{
	return (struct vcpu *)((char *)b - BT_OFFSET);
}

// -- run.c, and its parts mode.c, find.c, leave.c
void bt_init(struct vcpu *v);
_Noreturn void bt_run(struct vcpu *v);
uint32_t bt_mode(const struct vcpu *v);
struct tu *bt_find_unit(struct vcpu *v, uint32_t mode); // at v->rip; may raise
uint32_t bt_system_insn(struct vcpu *v, const struct x86_insn *insn); // enum sys_effect
uint64_t bt_enter_unit(struct vcpu *v, const struct tu *t); // returns why it was left; v is canonical again, rip known

// -- stubs.S
uint64_t bt_enter(const void *entry, uint64_t host_flags);
uint64_t bt_enter_table(const void *entry, uint64_t pc);
_Noreturn void bt_branch_fault(struct vcpu *v); // pair.c
_Noreturn void bt_leave(uint64_t why);

// -- tc.c
void tc_init(struct vcpu *v);
void tc_flush(struct vcpu *v);
void tc_forget_calls(struct vcpu *v);
struct tu *tc_find(struct bt *b, uint64_t pc, gpa_t gpa, uint32_t mode);
bool tc_same_cs(const struct bt *b, const struct tu *t, uint32_t base, uint32_t limit);
uint32_t tc_chain(const struct bt *b, gpa_t gpa, uint32_t mode);
struct tu *tc_new_tu(struct bt *b);
void tc_insert(struct bt *b, struct tu *t);
void tc_remove(struct bt *b, struct tu *t); // from look-up and indirect table
void tc_leave_tables(struct bt *b, struct tu *t);
void tc_detach(struct bt *b, struct tu *t); // nothing leads to it any more
void tc_link(struct bt *b, struct exit *x, struct tu *t);
void tc_unlink(struct bt *b, uint32_t exit);
void tc_drop_late(struct bt *b, struct tu *t, uint32_t from, uint32_t to);
void tc_unlink_incoming(struct bt *b, struct tu *t);
void tc_isolate(struct bt *b, struct tu *t);
void tc_retire(struct bt *b, struct tu *t);
void tc_take_off(struct bt *b, struct tu *t);
unsigned tc_mode_id(struct bt *b, uint32_t mode);
void itab_set(struct bt *b, struct tu *t);
void itab_flush_all(struct bt *b);
static inline unsigned itab_index(uint64_t pc)
{
	return (uint16_t)((uint32_t)pc + ((uint32_t)pc >> 16));
}

// -- evict.c
bool tc_has_room(const struct bt *b); // for one more unit

static inline uint32_t tc_room(const struct bt *b) // bytes that it may take in each half of the cache
{
	return b->pool_now == POOL_BASE ? BASE_ROOM : EMIT_ROOM;
}

void tc_make_room(struct vcpu *v);
void tc_make_wanted_room(struct vcpu *v);
void tc_want_room(struct bt *b);
void tc_note_late(struct bt *b, const uint8_t *code, struct tu *t);
void tc_turn(struct bt *b, enum tier tier);
void tc_turn_to_unit(struct bt *b, const struct tu *t);
void tc_empty_segments(struct bt *b);
void tc_count_live(struct bt *b, const struct tu *t, int n);
static inline uint64_t tc_epoch(const struct bt *b) // changes when numbers of units may come to mean others
{
	return b->st->tc_flushes + b->st->tc_evictions;
}

// -- owner.c
void tc_note_owner(struct bt *b, const struct tu *t);
struct tu *tc_owner(struct bt *b, const uint8_t *host); // the unit whose hot code holds the address

// -- base tier
void base_place(struct bt *b, const uint8_t *ra, struct place *p);
bool base_host_fault(struct bt *b, const uint8_t *rip, const uint64_t *host, struct tu **t, struct insn_map *m);
uint64_t base_return(struct vcpu *v, struct exit *x);
const uint8_t *base_flags_entry(struct bt *b, struct tu *t);
void base_flush(struct bt *b);
void base_forget_all(struct bt *b);
void base_enter_lookup(struct bt *b, struct tu *t);
void base_leave_lookup(struct bt *b, struct tu *t);
bool base_has(const struct bt *b, unsigned mode_id, uint64_t pc); // is it in the look-up?
void base_name_mode(struct bt *b, unsigned mode_id);
const uint8_t *base_lookup_of(const struct bt *b, unsigned mode_id); // code: to the address in T0, by look-up
void base_note_retired(struct bt *b, const struct tu *t);
void base_close_landings(struct bt *b, const struct tu *t);
struct tu *bt_promote(struct vcpu *v, struct tu *t, bool here);
bool bt_passed_often(struct bt *b, uint64_t counter);
static inline uint64_t base_target_counter(uint64_t pc) // see base_name_mode
{
	return (uint32_t)pc + ((uint32_t)pc << 16 | (uint32_t)pc >> 16);
}
const uint8_t *base_counted_link(struct bt *b, const struct exit *x, const uint8_t *to);
const uint8_t *base_trusted_link(struct bt *b, const struct exit *x, const uint8_t *to);
const uint8_t *bt_base_miss(struct vcpu *v, const uint8_t *ra);

// -- sample.c
void sample_serve(struct vcpu *v);
void sample_conflict(struct bt *b, struct tu *t);
void sample_remake(struct bt *b, struct tu *t); // when it is come to next

// -- move.c
#define MOVE_LOWEST (UINT64_C(8) << 30)
bool move_is_possible(uint64_t pc, uint32_t mode);
uint32_t move_clock(void);
void move_note(struct bt *b, const struct tu *t, uint32_t at, uint32_t upper);
struct tu *move_unit(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode);

// -- flow.c
void emit_indirect_entry(struct bt *b, struct tu *t);
void emit_set_guard(struct bt *b, const struct exit *x, uint32_t footing);
const uint8_t *emit_guard(struct bt *b, const struct exit *x, const struct tu *t);

// -- footing.c
void footing_join(struct bt *b, struct tu *t); // t is to stand on one
void footing_leave(struct bt *b, struct tu *t);
void footing_flush(struct bt *b);
bool footing_move(struct bt *b, uint32_t id, uint64_t va, uint64_t delta);
void footing_hold(struct bt *b, uint32_t id);
bool footing_lives(struct vcpu *v, uint32_t id);
void footing_check(struct bt *b, uint32_t id);
void footing_release(struct bt *b, uint32_t id);
void footing_release_all(struct bt *b);
void footing_release_at(struct bt *b, gva_t gva, unsigned shift);

// -- family.c
void family_flush(struct bt *b);
void family_unite(struct bt *b, uint32_t from, uint32_t to, uint64_t distance); // footings
void family_leave(struct bt *b, uint32_t id);
bool family_hold(struct bt *b, uint32_t id);
void family_release(struct bt *b, uint32_t id);

// -- space.c
void space_switch(struct vcpu *v, uint16_t pcid, bool keep);
void space_drop(struct bt *b, uint16_t pcid);
void space_drop_all(struct bt *b);
void tlb_fill(struct bt *b, struct tlb *t, gva_t gva, const struct mmu_walk *w, uint8_t *host);
void tlb_note_write(struct bt *b, gva_t gva, gpa_t gpa); // there is a write entry for it
static inline bool is_canonical(const struct vcpu *v, gva_t gva)
{
	return !vcpu_long_mode(v) || vcpu_canonical(v, gva);
}

void tlb_restore(struct bt *b, const struct space_entry *e);
void tlb_note_user_code(struct bt *b, gva_t page);

// -- translate.c
struct tu *bt_translate(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode, enum tier tier);

// -- site.c
static inline uint32_t site_clock(void) // in units of 1024 cycles of the TSC
{
	return (uint32_t)(__builtin_ia32_rdtsc() >> 10);
}
void site_forget_all(struct bt *b);
void site_forget(struct bt *b, uint32_t from, uint32_t to); // entries, by number
uint32_t site_entry_new(struct bt *b, uint32_t site, uint64_t pc, uint32_t table, unsigned size);
void site_fill(struct bt *b, uint32_t entry, const struct tlb_entry *from, uint8_t kind);
bool site_is_worth(struct bt *b, uint32_t entry);
void site_failed(struct bt *b, uint32_t entry);
void site_mark_guilty(struct bt *b, uint64_t pc);
void site_flush(struct bt *b, bool global);
void site_flush_page(struct bt *b, gva_t gva, unsigned shift);
void site_drop_writes(struct bt *b, unsigned slot, uint64_t host);
void site_drop_large_writes(struct bt *b, uint64_t host);
void site_flush_unit(struct bt *b, const struct tu *t);

// -- tlb.c
void tlb_init(struct bt *b);
void tlb_flush(struct vcpu *v, bool global);
void tlb_drop_edges(struct vcpu *v);
void tlb_flush_page(struct vcpu *v, gva_t gva);
void tlb_drop_writes(struct bt *b, gpa_t page); // no write entry may lead to this page any more
bool code_gpa(struct vcpu *v, uint64_t pc, gpa_t *gpa, bool *global); // instruction fetch; raises #PF or #GP
uint8_t *tlb_host(struct vcpu *v, gva_t gva, unsigned size, bool write, uint32_t mode);
const uint8_t *bt_tlb_miss(struct vcpu *v, const uint8_t *ra);
const uint8_t *bt_site_miss(struct vcpu *v, const uint8_t *ra);
uint8_t *tlb_learn(struct vcpu *v, const struct site *s, gva_t gva);
static inline uint64_t tlb_invalid_tag(unsigned slot)
{
	return slot ? 0 : PAGE_SIZE; // index bits that this slot can never be asked with
}

// -- code.c
void code_watch(struct vcpu *v, struct tu *t);
void code_unwatch(struct bt *b, struct tu *t);
void code_note_bytes(struct bt *b, struct tu *t, unsigned first, unsigned end); // offsets in its page
void code_written(struct vcpu *v, gpa_t gpa, unsigned size); // within a page: retire what is there
bool code_is_patched(const struct bt *b, gpa_t gpa);         // often, the code on this page
uint64_t code_lines(const struct bt *b, gpa_t gpa);          // those of the page that may have code
uint8_t *code_write_near(struct vcpu *v, gva_t gva, unsigned size, enum tlb_index x, bool known);
uint8_t *code_write_operand(struct vcpu *v, gva_t gva, enum tlb_index x, const void *value,
			    const struct site *s);
void code_forget_near(struct bt *b);                         // with the software TLB
static inline bool code_is_here(const struct bt *b, gpa_t gpa)
{
	return gpa >> PAGE_SHIFT < GFNS_MAX && b->page_head[gpa >> PAGE_SHIFT];
}

// -- peers.c: other vCPUs' translated code, and devices
void peers_serve(struct vcpu *v);                       // obey the messages that wait
void peers_claim_code(struct vcpu *v, gpa_t gpa);       // before bytes of this page are read for translation
void peers_forget_code(struct bt *b, gpa_t gpa);        // no unit of ours is left on this page
void peers_claim_write(struct bt *b, gpa_t gpa);        // before code_is_watched is asked for a write entry
bool peers_code_elsewhere(const struct bt *b, gpa_t gpa);
void peers_written(struct bt *b, gpa_t gpa, unsigned size); // after a write to a watched page, within it

// Must writes to this page be seen by somebody?
static inline bool code_is_watched(const struct bt *b, gpa_t gpa)
{
	return code_is_here(b, gpa) || (b->smp && peers_code_elsewhere(b, gpa));
}

// -- vpage.c
// After flushes: links over changed pages die.
void code_check_vpages(struct vcpu *v, gva_t gva_flushed, unsigned shift, bool global);
void code_drop_vpages(struct bt *b);                        // those without units
void code_note_vpage(struct bt *b, uint64_t pc, gpa_t gpa, bool global);

// -- device.c
void device_note(struct bt *b, gva_t gva, enum tlb_index x, gpa_t gpa, bool write);
void device_forget(struct bt *b); // with the software TLB
uint8_t *device_load(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x);
uint8_t *device_write(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x);
uint8_t *device_store(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x);
void device_met(struct bt *b, struct tu *t, uint64_t pc);
bool device_port(struct vcpu *v, const struct site *s, const struct x86_insn *insn);

// -- known.c
void known_note(struct vcpu *v, const struct x86_insn *insn); // it is about to be carried out by C
bool known_depends_on(const struct x86_insn *insn);           // may it change what is known?
void known_init(struct bt *b);
void known_forget(struct bt *b);

// -- insn_map.c
void insn_map_keep(struct bt *b, struct tu *t);
bool insn_map_find(const struct bt *b, const struct tu *t, uint32_t host, struct insn_map *m);

// -- recover.c
void recover_site(struct vcpu *v, const struct site *s); // SLOT_HOST_REGS -> canonical state at the site's instruction
uint64_t recover_noted(const struct vcpu *v, const uint64_t *gpr); // arithmetic flags that are noted
const uint8_t *bt_make_flags(struct vcpu *v, const uint8_t *ra);
bool bt_host_fault(struct vcpu *v, int sig, const void *info, void *ucontext);

// -- shadow/: the host's mappings of guest user pages
void shadow_init(struct vcpu *v);
uint32_t shadow_mode(struct vcpu *v); // MODE_MAPPED, MODE_DIRECT if the present space's user code may run so, or 0
bool shadow_is_kernels(const struct vcpu *v); // that was said of a kernel's code in the lower half
// MODE_DIRECT: run it. STEP: the next instruction must be translated; TRANSLATE: so must all on its page, in this mode.
enum shadow_ran { SHADOW_RAN, SHADOW_STEP, SHADOW_TRANSLATE };
enum shadow_ran shadow_run(struct vcpu *v);
// MAPPED: it was hidden, the page is mapped now. TRUE: the tables forbid it. Otherwise it cannot be mapped: it does
// not lead to RAM (DEVICE), or for another reason (NEVER).
enum shadow_answer { ANSWER_MAPPED, ANSWER_TRUE, ANSWER_NEVER, ANSWER_DEVICE };
enum shadow_answer shadow_fault(struct vcpu *v, gva_t gva, bool write);
void shadow_flush(struct vcpu *v);          // the guest has flushed all spaces
void shadow_flush_pcid(struct vcpu *v, uint16_t pcid);
void shadow_flush_page(struct vcpu *v, gva_t gva, uint16_t pcid);
void shadow_watch(struct vcpu *v, gpa_t gpa); // code has been translated from this page
bool shadow_runs(const struct vcpu *v, gpa_t gpa);  // may code of this page be run as it is?
void shadow_lose_writes(struct vcpu *v); // somebody has written somewhere: no page is run as it is without another look
void shadow_claim_write(struct vcpu *v, gpa_t gpa); // before a write entry leads there, and at writes by C

// -- segment.c
uint32_t segments_mode(const struct vcpu *v); // what bt_mode says outside 64-bit code
void segments_measure(struct vcpu *v, uint32_t mode); // the segments, or the mode, may have changed: v->seg_room

// -- careful.c
const uint8_t *bt_careful_access(struct vcpu *v, const uint8_t *ra);
const uint8_t *bt_careful_commit(struct vcpu *v, const uint8_t *ra);

void masked_probe(struct vcpu *v, gva_t gva, uint64_t bytes, enum vmem_access access, enum x86_sreg seg);
void masked_write(struct vcpu *v, gva_t gva, const uint8_t *data, uint64_t bytes);

// -- gather.c, masked.c
void bt_gather(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op);
void bt_maskmov(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op);
void bt_xsave32(struct vcpu *v, const struct x86_insn *insn); // outside 64-bit mode

// -- debug.c
enum { DR6_BS = BIT(14) };
bool debug_watches_data(const struct vcpu *v);
void debug_check_fetch(struct vcpu *v, gva_t rip);
void debug_note_access(struct vcpu *v, gva_t gva, unsigned size, bool write);
void debug_join_int1(struct vcpu *v);
void debug_note_io(struct vcpu *v, const struct x86_insn *insn);

// -- string.c
bool bt_string(struct vcpu *v, const struct x86_insn *insn); // true: a trap that is due may follow

#endif
