// SPDX-License-Identifier: MIT
//
// The binary translator's own state and the seams between its files. One struct bt per vCPU, in the vCPU's private
// memory (ZONE_VCPU + BT_OFFSET), reachable from translated code at constant offsets from the host's GS base.
//
//   run.c        the run loop: find or make a unit, enter it, handle why it was left
//   translate.c  one unit: policy by class, emission; analyse.c: decoding, flags; ident.c: most instructions
//   region.c     units with loops; label.c: ways inside them; spill.c: where registers are; window.c: merged checks
//   check.c      memory operands: the inline TLB check, the careful form; adjacent.c: accesses in a row
//   counted.c    loops of which is known what they access
//   flow.c       direct transfers; pair.c: calls, returns, indirect ones; stack.c: push, pop, enter, leave
//   mapped.c     the mapped form of memory operands: the guest's own, with a zone check
//   tlb.c        the software TLB and its misses; site.c: an entry per check site
//   tc.c         the translation cache: units, look-up, chaining, flush; evict.c: its segments
//   footing.c    pages that units stand on, and whether they are mapped; move.c: units of code that is elsewhere now
//   code.c       coherency: pages that hold translated code, retirement
//   flags.c      where the arithmetic flags are; recipe.c: how to make them anew
//   recover.c    from host state back to guest state: misses, host faults
//   sample.c     which hot units the timer meets again and again
//   base.c       units of the base tier, and what belongs to it: see base.h; promote.c: from there to the hot tier
//   string.c     string instructions
//   vector.c     vector registers for C code; gather.c: gathers and scatters; masked.c: masks of memory operands
#ifndef BT_BT_H
#define BT_BT_H

#include "bt/emit.h"
#include "bt/recipe.h"
#include "bt/slots.h"
#include "cpu/system.h"
#include "cpu/vcpu.h"
#include "mem/zone.h"
#include "x86/decode.h"

// Register homes in translated code.
enum { HOST_T0 = X86_R13, HOST_T1 = X86_R14, HOST_GUEST_RSP = X86_R15 };

enum {
	TLB_BITS = 14, TLB_SIZE = 1 << TLB_BITS, TLB_LOG = 1024,
	TRACE_INSNS = 32,         // instructions in a straight unit at most
	TU_INSNS_MAX = 320,       // in a region: see region.c
	TU_PLACES = 12,           // host registers for guest registers besides RSP, and for what goes with them
	RECIPES_MAX = 1 << 16,    // a table by hash: filled to three quarters
	TU_HASH = 1 << 16, ITAB_SIZE = 1 << 16, MODES_MAX = 24, MODES_SPARE = 6, ITAB_LOG = 8192,
	CODE_VPAGES = 8192, GFNS_MAX = 1 << 24, FOOTINGS_MAX = 1 << 15, FOOTING_HASH = 1 << 14,
	EMIT_ROOM = 64 << 10,     // bytes one unit may take in each half of the cache
	TC_SEGMENTS = 8, TC_SEGMENT_MIN = 512 << 10, // the cache and the tables of records come in: see evict.c
	TUS_SEGMENT = 24 << 10, EXITS_SEGMENT = 1 << 17, SITES_SEGMENT = 1 << 17, INSNS_SEGMENT = 1 << 15,
	MAPS_SEGMENT = 1 << 17, RELOCS_SEGMENT = 1 << 17, ENTRIES_SEGMENT = SITE_ENTRIES / TC_SEGMENTS,
	TC_STUB_SITE = 0,         // a jump to bt_stub_site
	BOUNCES = 4, BOUNCE_SIZE = 8192,
};

// -- the mode: everything besides location that a unit's code depends on --------------------------------------------
enum bt_mode_bits {
	MODE_CODE16 = 0, MODE_CODE32 = 1, MODE_CODE64 = 2, MODE_CODE = 3, // enum x86_mode
	MODE_USER = BIT(2),     // CPL 3
	MODE_AC = BIT(3),       // supervisor code that may touch user pages while SMAP is on (EFLAGS.AC)
	MODE_SS32 = BIT(4),     // 32-bit stack outside 64-bit code
	MODE_FPU_NM = BIT(5),   // x87 raises #NM or is absent: CR0.TS or CR0.EM
	MODE_SSE_UD = BIT(6),   // SSE raises #UD: CR4.OSFXSR clear or CR0.EM
	MODE_SSE_NM = BIT(7),   // SSE and AVX raise #NM: CR0.TS
	MODE_SEGS = BIT(8),     // outside 64-bit code: some of ES CS SS DS is not flat; accesses look at their segments
	MODE_WAIT_NM = BIT(9),  // FWAIT raises #NM: CR0.TS and CR0.MP
	MODE_FS_ODD = BIT(10),  // the others are flat, but not usable, writable and 4 GiB; each access looks
	MODE_GS_ODD = BIT(11),
	MODE_CS = BIT(17),      // the code segment has a base or a limit: units are of one base and limit (tu.cs_*)
	MODE_REAL = BIT(18),    // real mode or virtual-8086 mode: no VEX encodings
	// treatment, not machine state
	MODE_ONE = BIT(12),     // one instruction a unit, no chaining
	MODE_CAREFUL = BIT(13), // memory accesses through C: MMIO, watched pages, page crossings
	MODE_ALONE = BIT(14),   // for --selfcheck: linked to nothing, and only what can be run twice
	MODE_APART = BIT(15),   // no merged checks: a unit that a failed one goes on in
	MODE_MAPPED = BIT(16),  // user code whose memory the host maps at the guest's own addresses: mapped.c, shadow/
};

enum tlb_index { TLB_KERNEL, TLB_KERNEL_AC, TLB_USER, TLB_INDEXES };

struct tlb_entry {
	uint64_t tag;  // linear address of the page; never matches when invalid (see tlb_invalid_tag)
	uint64_t host; // host address of the page
};

// Of one check site: see site.c. Translated code compares and uses it in place.
struct site_entry {
	uint64_t tag;    // linear address of the page
	uint64_t limit;  // what an address xor the tag must be below: the page's size less what is accessed; 0: invalid
	uint64_t host;   // host address of the page; 0: invalid
	uint64_t addend; // host less tag
};

// SITE_APART: a merged check that reaches beyond a page takes that way. ALWAYS: so does one of a page that the TLB does
// not have; not all that it is made for may be accessed.
enum site_apart { SITE_TOGETHER, SITE_APART, SITE_APART_ALWAYS };

struct site_info { // what else belongs to an entry
	uint32_t next, prev; // ring it hangs on, as byte offsets into the array
	uint32_t table;      // GS offset of the table of the TLB it is filled from
	uint32_t retry;      // TC offset to go on at once it is filled, with the address in T0
	uint16_t limit;      // of a 4 KiB page
	uint16_t refills;    // counts up to 0x10000
	uint32_t since;      // when that began: see site_is_worth
	uint32_t site;       // its number
	uint8_t addend;      // host register that becomes host address less linear address, or X86_REG_NONE: T1 + T0
	bool constant;       // the address is
	uint8_t apart;       // enum site_apart: is there a way to a unit without merged checks behind the number?
	uint8_t failures;    // times that C sent it there
};
enum { GUILTY = 1 << 16 };

struct tlb_log { // entries filled since the last flush; all of them if n > TLB_LOG
	uint32_t n;
	uint16_t slot[TLB_LOG];
};

struct tlb {
	struct tlb_entry e[TLB_SIZE];
	uint8_t kind[TLB_SIZE]; // enum tlb_kind
	struct tlb_log log[2];  // of non-global and of global entries
};
enum tlb_kind { TLB_GLOBAL = BIT(0), TLB_LARGE = BIT(1), TLB_HUGE = BIT(2) }; // ORDER SITE: bt_stub_site

// Where the guest's arithmetic flags are. SLOT: in SLOT_FLAGS; RECIPE: nowhere, but there is a recipe; NOTED: number
// SLOT_RECIPE is the recipe, or if that is 0 they are in the slot; NONE: nowhere, and nobody can see them.
enum flag_state { FLAGS_HOST, FLAGS_SLOT, FLAGS_RECIPE, FLAGS_NOTED, FLAGS_NONE };

// How much is spent on a unit. Base: small and quickly made, checks in shared routines. Hot: for code that has proven
// to run often, everything in place.
// FAVOURED: a hot unit whose check sites have entries of their own (site.c).
enum tier { TIER_BASE, TIER_HOT, TIER_FAVOURED };

// WANTED: it is to be made anew as TIER_FAVOURED when the run loop next comes to it.
enum favour { FAVOUR_NONE, FAVOUR_WANTED, FAVOUR_MADE };

// -- translation units ----------------------------------------------------------------------------------------------
struct tu {
	uint64_t pc;            // linear address
	gpa_t gpa, gpa2;        // physical address of its first byte; of the second page if it straddles one, else ~0
	const uint8_t *start;   // its hot code begins here
	const uint8_t *entry_noted; // entry for those who leave the arithmetic flags noted (FLAGS_NOTED)
	const uint8_t *entry;   // the same with all flags in the host's
	const uint8_t *indirect_entry; // checks r13 against pc first; NULL until the indirect table wants it
	uint32_t code_size;     // host bytes in the hot half
	uint32_t mode;
	uint16_t len;           // guest bytes from pc on; all it is made of lies there or in
	uint16_t before;        // as many bytes in front of pc
	uint16_t first, end;    // of the bytes of the page (gpa's) that its translation depends on: offsets,
	uint64_t lines;         // and which 64-byte lines these lie in
	uint16_t ninsns;
	uint8_t tier;           // enum tier: TIER_BASE or TIER_HOT
	bool dead;
	bool crosses;           // it has had links with units on other footings
	uint8_t favour;         // enum favour
	uint8_t conflicts;      // misses that replaced another page in the software TLB
	uint8_t samples;        // of the timer that have met it lately,
	uint32_t sampled;       // and when the last one did: move_clock()
	uint8_t map[X86_GPRS];  // guest register -> host register, or X86_REG_NONE: in vcpu.gpr[]
	bool fixed;             // cannot move: its code depends on its address in other ways
	bool uncheckable;       // MODE_ALONE: its only instruction cannot be run twice
	uint32_t hash_next;
	uint32_t page_next[2];  // list of units on the guest page (index << 1 | which)
	uint32_t incoming;      // exits chained to this unit
	uint32_t footing;       // see footing.c; 0 if its code is mapped in every address space
	uint32_t footing_next, footing_prev; // units on the same one
	uint32_t itab_next;     // unit that its indirect entry passes others on to, or 0
	uint32_t first_map;     // struct insn_map
	uint32_t first_exit;
	uint32_t first_entry;   // struct site_entry
	uint32_t first_reloc;   // where its code names its own address, or one that moves with it
	uint16_t nmaps, nexits, nentries, nrelocs;
	uint32_t indirect_exit, indirect_imm, indirect_other; // of the indirect entry: its exit; TC offsets of the address
							      // in it, and of the jump for other targets
	uint32_t cs_base, cs_limit; // MODE_CS
	uint64_t was;           // the address it came from, or 0
	uint32_t since;         // move_clock() when it came to this address
};

struct reloc { // see move.c
	uint32_t at;    // TC offset of 8 bytes, or of the lower 4 if upper is not 0
	uint32_t upper; // with RELOC_COPY in at: where in the guest's page they come from, and how many, << 16 (code.c)
};
#define RELOC_COPY BIT(31)

struct insn_map { // host address -> guest instruction that can raise an exception there, ascending
	uint16_t host;      // offset of the instruction's first host byte from tu.start
	int16_t guest;      // offset from tu.pc
	uint16_t homed;     // guest registers that are in vcpu.gpr[] for the moment
	uint8_t left;       // as in struct exit, behind this instruction
	uint16_t recipe;    // number in bt.recipe, with FLAGS_RECIPE
	uint8_t flags : 3;  // enum flag_state at its operation
	bool saved_ax : 1;  // RAX and RDX are in SLOT_RAX and SLOT_TMP for the moment
};

enum exit_kind {
	EXIT_DIRECT,   // to a known linear address, may be chained
	EXIT_APART,    // the same, but the unit there makes each check by itself (window.c)
	EXIT_POLL,     // something is pending: v->rip = pc, then look
	EXIT_SYS,      // system instruction insns[insn] at pc: run it in C
	EXIT_STRING,   // string instruction
	EXIT_VECTOR,   // vector instruction that C carries out
	EXIT_UD, EXIT_NM, // raise for the instruction at pc
	EXIT_NYI,      // the instruction at pc is not built yet: say what
	EXIT_NEXT,     // v->rip = pc, find the next unit (unchainable)
	EXIT_CAREFUL,  // the instruction at pc needs the careful form
	EXIT_STI,      // as POLL, after sti and one more instruction
	EXIT_LANDING,  // no exit: at `patch` a return comes back into a region, until that is retired
	EXIT_COUNT,    // --deterministic: the unit at pc holds more instructions than may run
};

struct exit {
	uint64_t pc;        // guest linear address: target, or of the instruction. In a thunk: relative to that
	uint32_t tu;
	uint32_t target;    // unit it is chained to, or 0
	union {
		uint32_t next; // next in target's incoming list
		uint32_t insn; // index in insns for SYS, STRING, VECTOR
	};
	uint32_t at;        // base: TC offset of its own code
	union {
		struct {
			uint32_t patch;    // TC offset of the rel32 to patch, 0 if it cannot be chained
			uint32_t unlinked; // TC offset it leads to when not chained
		};
		const char *what;          // for NYI
	};
	uint8_t kind;
	bool flags_noted; // flags are: what it is chained to is entered at entry_noted
	bool calls;         // base: it is a call when linked too
	uint8_t left;       // --deterministic: instructions of the unit counted but not run
};

struct site { // one inline check: what the miss handler must know
	uint32_t tu;
	union {
		uint32_t retry; // TC offset to go on at with the address in T0
		uint32_t insn;  // careful: index in insns if the operand is masked, or 0
	};
	uint32_t done;    // TC offset to go on at with the host page in T1 and the offset in T0
	int16_t guest;    // offset of the instruction
	uint16_t homed;   // as in struct insn_map
	uint16_t size;
	uint8_t align;    // the instruction demands it, or 0: #GP comes before #PF
	uint8_t left;     // as in struct exit, from this instruction on
	uint16_t recipe;  // number in bt.recipe, with FLAGS_RECIPE
	uint8_t access : 2; // enum x86_access
	uint8_t flags : 3;  // enum flag_state
	uint8_t bounce : 2; // careful: which bounce buffer
	uint8_t seg : 3;    // #SS or #GP for a non-canonical address
	bool merged : 1;  // a window's: see window.c; align is its register
	bool masked : 1;  // parts of the operand may not be accessed
	bool x87 : 1;     // an x87 or MMX instruction
	bool waits : 1;   // one that first raises a waiting #MF
};

struct footing {
	uint64_t held;      // not 0: the present space has gpa at va (and gpa2 behind it)
	uint64_t va;
	gpa_t gpa, gpa2;    // gpa2: of a unit that straddles, or ~0
	uint32_t mode;
	uint32_t next;      // in the hash chain, or of free ones
	uint32_t place;     // in bt.held
	uint32_t first;     // of the units that stand on it
	bool moved;         // its units or those they are linked with have moved: check_links
};

struct vpage { // a linear page of kernel code that direct links rely on
	uint64_t va;
	gpa_t gpa;
	bool global;
};

struct bounce { // one memory operand of an instruction in the careful form
	gva_t gva;
	uint64_t bytes; // those that a masked operand consists of, bit by byte
	uint8_t *ram;   // where what was written goes; NULL: through the guest's paging
	uint8_t *in_place; // RAM that the instruction works on itself, at gpa; else NULL
	gpa_t gpa;
	uint16_t size;
	uint8_t data[BOUNCE_SIZE] __attribute__((aligned(64)));
};

struct code_page { // what code.c knows of a page that holds code
	gpa_t gpa;
	uint64_t lines; // with code
	bool stale;     // lines is not known
	uint8_t hits;   // writes to code since a unit was made here
};

struct near_write { // a linear page that may be written, but for the code on it: see code.c
	uint64_t tag;   // linear address | enum tlb_index
	uint8_t *host;
	gpa_t gpa;
};
enum { CODE_PAGES = 64, NEAR_WRITES = 16, PATCHED_PAGES = 4096 };

struct page_writes { // slots of the write tables that have led to a guest frame since it was last watched
	uint16_t slot[2];
	uint8_t n; // more than 2: look everywhere
};

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

// -- the base tier: see base.h ----------------------------------------------------------------------------------------
enum {
	LOOKUPS = 1 << 16, THUNKS_MAX = 96 << 10, THUNK_HASH = 1 << 17, BASE_SITES_MAX = 1 << 17,
	SEEN = 1 << 20, BASE_SITE_HASH = 1 << 14,
	BASE_MAPS_SEGMENT = 1 << 18, BASE_EXITS_MAX = 1 << 14, BASE_INSNS_MAX = 1 << 14,
	PASSES = 1 << 19, PASSES_HOT = 8000, PASSES_KERNEL = 2, PASSES_USER = 3, RETIRED = 1 << 12,
};

struct base_map { // where in a base unit each guest instruction is, ascending
	uint16_t host, guest; // offsets from tu.start, tu.pc
};

struct thunk_key { // an instruction's bytes and length, and the mode; or a routine
	uint64_t lo, hi;
	uint32_t mode;
	uint32_t code; // TC offset, 0: free
};

struct thunk {
	uint32_t start;      // TC offset
	uint8_t victim[3];   // of r13, r14, r15: the register whose place each takes, or X86_REG_NONE
	uint8_t flags : 3;   // enum flag_state at its operation
	bool saved_ax : 1;   // as in struct insn_map
};

struct base_site { // a call of ROUTINE_CHECK
	uint32_t ra;         // TC offset behind the call
	uint32_t next;       // in the hash chain
	uint8_t victim[3];   // as in struct thunk
	uint8_t on_stack;    // bytes on the host's stack above the return address into the unit
	struct site site;    // unit and instruction to be filled in
};

struct place { // in base code
	uint32_t tu, exit; // exit: the one that begins or ends there, or of a counted link, or 0
	uint16_t guest;    // offset of the instruction
	bool ends;         // the exit has just been taken
};

struct base_lookup { // an indirect target
	uint64_t tag;
	const uint64_t *held; // its footing's word
	const uint8_t *entry;
	uint64_t unused;
};
enum { LOOKUP_SHIFT = 5 }; // log of that size

struct base {
	uint32_t routines, thunks, thunks_end, cold, cold_end; // TC offsets
	uint32_t nthunks, nsites, nmaps, nexits, ninsns;
	uint8_t map[X86_GPRS];    // as in struct tu, where recover.c is asked about
	uint64_t tag[MODES_MAX];  // of entries in lookup, xor their address
	uint64_t always;          // 1: as a footing that is held
	struct base_lookup lookup[LOOKUPS];
	uint16_t passes[PASSES];  // counters of places and targets by hash; hot when one becomes 0
	uint64_t seen[SEEN / 64]; // by hash: instructions met once, which have no thunk of their own yet
	uint8_t retired[RETIRED]; // by guest frame, hashed: how many hot units have been
	struct thunk_key key[THUNK_HASH];
	struct thunk thunk[THUNKS_MAX];
	struct base_site site[BASE_SITES_MAX];
	uint32_t site_hash[BASE_SITE_HASH];
	struct base_map bmap[TC_SEGMENTS * BASE_MAPS_SEGMENT];
};

enum { LARGE_BITS = 2048, SPACES = 8, SPACE_ENTRIES = 512, SPACE_FOOTINGS = 512 };

struct space_entry {
	uint64_t tag, host;
	uint16_t slot;
	uint8_t table; // enum tlb_index * 2 + 1 for writes
	uint8_t kind;
};

struct space { // see space.c
	bool valid;
	uint16_t pcid;
	uint32_t n, nfootings;
	uint64_t used, generation;
	struct space_entry e[SPACE_ENTRIES];
	struct {
		uint32_t id, mode;
		uint64_t va;
		gpa_t gpa, gpa2;
	} footing[SPACE_FOOTINGS];
};

// A set of regions of the address space, by hash: it may say yes to one that is not in it.
struct region_set {
	uint64_t bits[1024];
	bool any;
};

struct large_set { // the same, smaller
	uint64_t bits[LARGE_BITS / 64];
	bool any;
};

struct code_fetch { // instruction TLB of the run loop: linear page -> physical page
	uint64_t va;
	gpa_t gpa;
	bool global;
};
enum { CODE_FETCH = 256 };

struct segment { // of the translation cache
	uint32_t hot;          // where its hot code begins
	uint32_t ntus, nexits, nentries; // one more than the last number used in it, when it was left
} __attribute__((packed, aligned(4)));

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
	uint32_t mode_now;
	uint32_t nmodes, modes[MODES_MAX];
	// translation cache
	uint8_t *tc_rw;
	const uint8_t *tc;       // executable
	int64_t delta;           // executable - writable
	uint32_t tc_size, hot, cold, hot_end, cold_end;
	uint32_t ntus, nexits, nsites, nentries, ninsns, nmaps, nrelocs; // the next numbers, in the present segment
	uint32_t nrecipes;
	unsigned segment, nsegments; // being filled; there are
	struct segment segments[TC_SEGMENTS];
	bool wants_room;         // the present segment is full: the run loop goes on to the next
	uint32_t hash[TU_HASH];
	struct tu *tu;
	struct exit *exit;
	struct site *site;
	struct x86_insn *insn;
	struct vector_op *vop;   // beside insn, where that is a vector instruction
	struct insn_map *map;
	struct recipe *recipe;
	struct reloc *reloc;
	struct footing *footing;
	uint32_t footing_hash[FOOTING_HASH], held[FOOTINGS_MAX];
	uint32_t nfootings, nheld, free_footing;
	uint32_t *page_head;     // per guest frame: first unit on it (index << 1 | which), 0 none
	struct code_page code_page[CODE_PAGES];
	struct near_write near_write[NEAR_WRITES];
	uint8_t patched[PATCHED_PAGES]; // writes to the code of pages, hashed
	uint32_t last_unit;      // entered or left last: for the crash report
	struct page_writes *page_writes; // per guest frame: which write entries may lead to it
	uint32_t link_exit;      // exit to be chained to the unit found next, or 0
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
	uint32_t nvpages;
	bool vpages_overflow;
	struct bounce bounce[BOUNCES];
	struct vector_layout vectors;
	struct selfcheck check;
	struct base base;
	struct itab itab[MODES_MAX];
};

#define BT_OFFSET 0x8000000 // from ZONE_VCPU(i)

static inline struct bt *bt_of(const struct vcpu *v)
{
	return (struct bt *)((char *)(uintptr_t)v + BT_OFFSET);
}

// -- run.c
void bt_init(struct vcpu *v);
_Noreturn void bt_run(struct vcpu *v);
uint32_t bt_mode(const struct vcpu *v);
struct tu *bt_find_unit(struct vcpu *v, uint32_t mode); // at v->rip; may raise
uint32_t bt_system_insn(struct vcpu *v, const struct x86_insn *insn); // enum sys_effect
uint64_t bt_enter_unit(struct vcpu *v, const struct tu *t); // returns why it was left; v is canonical again, rip known

// -- stubs.S
uint64_t bt_enter(const void *entry, uint64_t host_flags);
uint64_t bt_enter_table(const void *entry, uint64_t pc);
_Noreturn void bt_leave(uint64_t why);

// -- tc.c
void tc_init(struct vcpu *v);
void tc_flush(struct vcpu *v);
void tc_forget_calls(struct vcpu *v);
struct tu *tc_find(struct bt *b, uint64_t pc, gpa_t gpa, uint32_t mode);
bool tc_same_cs(const struct tu *t, uint32_t base, uint32_t limit);
uint32_t tc_chain(const struct bt *b, gpa_t gpa, uint32_t mode);
struct tu *tc_new_tu(struct bt *b);
void tc_insert(struct bt *b, struct tu *t);
void tc_remove(struct bt *b, struct tu *t); // from look-up and indirect table
void tc_leave_tables(struct bt *b, struct tu *t);
void tc_detach(struct bt *b, struct tu *t); // nothing leads to it any more
void tc_link(struct bt *b, struct exit *x, struct tu *t);
void tc_unlink(struct bt *b, uint32_t exit);
void tc_unlink_incoming(struct bt *b, struct tu *t);
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
void tc_make_room(struct vcpu *v);
void tc_open_segment(struct bt *b, unsigned segment);
void tc_empty_segments(struct bt *b);
struct tu *tc_owner(struct bt *b, const uint8_t *host); // the unit whose hot code holds the address
static inline uint64_t tc_epoch(const struct bt *b) // changes when numbers of units may come to mean others
{
	return b->st->tc_flushes + b->st->tc_evictions;
}

// -- base tier
void base_place(struct bt *b, const uint8_t *ra, struct place *p);
bool base_host_fault(struct bt *b, const uint8_t *rip, const uint64_t *host, struct tu **t, struct insn_map *m);
uint64_t base_return(struct vcpu *v, struct exit *x);
const uint8_t *base_flags_entry(struct bt *b, struct tu *t);
void base_flush(struct bt *b);
void base_forget_all(struct bt *b);
void base_enter_lookup(struct bt *b, struct tu *t);
void base_leave_lookup(struct bt *b, const struct tu *t);
bool base_has(const struct bt *b, unsigned mode_id, uint64_t pc); // is it in the look-up?
void base_name_mode(struct bt *b, unsigned mode_id);
const uint8_t *base_lookup_of(const struct bt *b, unsigned mode_id); // code: to the address in T0, by look-up
void base_note_retired(struct bt *b, const struct tu *t);
void base_close_landings(struct bt *b, const struct tu *t);
struct tu *bt_promote(struct vcpu *v, struct tu *t);
bool bt_passed_often(struct bt *b, uint64_t place);
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
const uint8_t *emit_guard(struct bt *b, const struct exit *x, const struct tu *t);

// -- footing.c
void footing_join(struct bt *b, struct tu *t); // t is to stand on one
void footing_leave(struct bt *b, struct tu *t);
void footing_flush(struct bt *b);
bool footing_move(struct bt *b, uint32_t id, uint64_t va, uint64_t delta);
void footing_hold(struct bt *b, uint32_t id);
void footing_release(struct bt *b, uint32_t id);
void footing_release_all(struct bt *b);
void footing_release_at(struct bt *b, gva_t gva, unsigned shift);

// -- space.c
void space_switch(struct vcpu *v, uint16_t pcid, bool keep);
void space_drop(struct bt *b, uint16_t pcid);
void space_drop_all(struct bt *b);
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
void code_note_bytes(struct tu *t, unsigned first, unsigned end); // offsets in its page
void code_written(struct vcpu *v, gpa_t gpa, unsigned size); // within a page: retire what is there
bool code_is_patched(const struct bt *b, gpa_t gpa);         // often, the code on this page
uint8_t *code_write_near(struct vcpu *v, gva_t gva, unsigned size, enum tlb_index x, bool known);
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
// After flushes: links over changed pages die.
void code_check_vpages(struct vcpu *v, gva_t gva_flushed, unsigned shift, bool global);
void code_drop_vpages(struct bt *b);                        // those without units
void code_note_vpage(struct bt *b, uint64_t pc, gpa_t gpa, bool global);

// -- recover.c
void recover_site(struct vcpu *v, const struct site *s); // SLOT_HOST_REGS -> canonical state at the site's instruction
uint64_t recover_noted(const struct vcpu *v, const uint64_t *gpr); // arithmetic flags that are noted
const uint8_t *bt_make_flags(struct vcpu *v, const uint8_t *ra);
bool bt_host_fault(struct vcpu *v, int sig, const void *info, void *ucontext);

// -- shadow/: the host's mappings of guest user pages
uint32_t shadow_mode(struct vcpu *v);       // MODE_MAPPED if the present space's user code may run so, or 0
bool shadow_fault(struct vcpu *v, gva_t gva, bool write); // true: it was hidden, the page is mapped now
void shadow_flush(struct vcpu *v);          // the guest has flushed all spaces
void shadow_flush_pcid(struct vcpu *v, uint16_t pcid);
void shadow_flush_page(struct vcpu *v, gva_t gva);
void shadow_watch(struct vcpu *v, gpa_t gpa); // code has been translated from this page

// -- segment.c
uint32_t segments_mode(const struct vcpu *v); // what bt_mode says outside 64-bit code
void segments_measure(struct vcpu *v);        // the segments, or the mode, may have changed: v->seg_room

// -- careful.c
const uint8_t *bt_careful_access(struct vcpu *v, const uint8_t *ra);
const uint8_t *bt_careful_commit(struct vcpu *v, const uint8_t *ra);

void masked_probe(struct vcpu *v, gva_t gva, uint64_t bytes, enum vmem_access access, enum x86_sreg seg);
void masked_write(struct vcpu *v, gva_t gva, const uint8_t *data, uint64_t bytes);

// -- gather.c, masked.c
void bt_gather(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op);
void bt_maskmov(struct vcpu *v, const struct x86_insn *insn, const struct vector_op *op);

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
