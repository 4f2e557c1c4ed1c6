// SPDX-License-Identifier: MIT
//
// Records of translation units: what code depends on (the mode), the units, their exits and check sites, where their
// guest instructions are, the footings that they stand on. tc.c and evict.c keep them.
#ifndef BT_TU_H
#define BT_TU_H

#include "bt/recipe.h"
#include "bt/slots.h"
#include "cpu/vcpu.h"
#include "x86/decode.h"

enum {
	TRACE_INSNS = 32,         // instructions in a straight unit at most
	TU_INSNS_MAX = 320,       // in a region: see region.c
	TU_PLACES = 12,           // host registers for guest registers besides RSP, and for what goes with them
	RECIPES_MAX = 1 << 16,    // a table by hash: filled to three quarters
	TU_HASH = 1 << 17, ITAB_SIZE = 1 << 16, MODES_MAX = 24, MODES_SPARE = 6, ITAB_LOG = 8192,
	CODE_VPAGES = 8192, VPAGE_HASH = 1024, GFNS_MAX = 1 << 24, FOOTINGS_MAX = 1 << 15, FOOTING_HASH = 1 << 14,
	EMIT_ROOM = 64 << 10,     // bytes one unit may take in each half of the cache,
	BASE_ROOM = 16 << 10,     // and one of TRACE_INSNS
	TC_SEGMENTS = 14, BASE_SEGMENTS = 6, TC_SEGMENT_MIN = 448 << 10, // of cache and tables of records: see evict.c
	TUS_SEGMENT = 48 << 10, HOTS_SEGMENT = 8 << 10, EXITS_SEGMENT = 1 << 18, SITES_SEGMENT = 1 << 17,
	INSNS_SEGMENT = 1 << 15,
	MAPS_SEGMENT = 1 << 20, RELOCS_SEGMENT = 1 << 15, ENTRIES_SEGMENT = SITE_ENTRIES / TC_SEGMENTS,
	OWNER_SHIFT = 9,          // log of the blocks by which owner.c looks for units
	TC_STUB_SITE = 0,         // a jump to bt_stub_site
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
	MODE_INNER = BIT(10),   // CPL 1 or 2: supervisor code that may not do everything
	MODE_CS = BIT(17),      // the code segment has a base or a limit: units are of one base and limit (tu.cs_*)
	MODE_REAL = BIT(18),    // real mode or virtual-8086 mode: no VEX encodings
	// treatment, not machine state
	MODE_ONE = BIT(12),     // one instruction a unit, no chaining
	MODE_CAREFUL = BIT(13), // memory accesses through C: MMIO, watched pages, page crossings
	MODE_ALONE = BIT(14),   // for --selfcheck: linked to nothing, and only what can be run twice
	MODE_APART = BIT(15),   // no merged checks: a unit that a failed one goes on in
	MODE_MAPPED = BIT(16),  // code whose memory the host maps at the guest's own addresses: mapped.c, shadow/
	MODE_DIRECT = BIT(19),  // user code that is not translated, but run as it is (shadow/direct.c)
};

// Code that is translated without a thought for segments: 64-bit code, and 32-bit code with flat segments, whose
// addresses wrap at 4 GiB (TRICKS: zero above).
static inline enum x86_mode decoder_mode(const struct vcpu *v, unsigned size) // enum x86_mode
{
	return size | (v->amd ? X86_AMD : 0);
}

static inline bool mode_is_flat(uint32_t mode)
{
	return (mode & MODE_CODE) == MODE_CODE64 ||
	       (mode & (MODE_CODE | MODE_SS32 | MODE_SEGS | MODE_CS)) == (MODE_CODE32 | MODE_SS32);
}

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
// There are very many of them, and nine in ten are of the base tier: what only hot ones need is in struct hot_tu.
struct tu {
	uint64_t pc;            // linear address
	gpa_t gpa;              // physical address of its first byte
	uint32_t gfn2;          // frame of the second page if it straddles one, else NO_FRAME
	uint32_t mode;
	uint32_t start;         // TC offset: its hot code begins here
	uint32_t entry_noted;   // the same: entry for those who leave the arithmetic flags noted (FLAGS_NOTED), or 0
	uint32_t entry;         // with all flags in the host's
	uint16_t code_size;     // host bytes in the hot half
	uint16_t len;           // guest bytes from pc on; all it is made of lies there or in
	uint16_t before;        // as many bytes in front of pc
	uint16_t first, end;    // of the bytes of the page (gpa's) that its translation depends on: offsets
	uint16_t ninsns;
	uint8_t tier : 2;       // enum tier: TIER_BASE or TIER_HOT
	uint8_t favour : 2;     // enum favour
	bool dead : 1;
	bool crosses : 1;       // it has had links with units on other footings
	bool late : 1;          // it has code in another segment than its own
	bool fixed : 1;         // cannot move: its code depends on its address in other ways
	bool looked_up : 1;     // it has been entered in the base tier's look-up
	bool remake : 1;        // it is to be made anew, in the same tier, when the run loop next comes to it
	bool uncheckable : 1;   // MODE_ALONE: its only instruction cannot be run twice
	bool needs_flags : 1;   // base tier: somebody may see the arithmetic flags that it is entered with
	uint16_t footing;       // see footing.c; 0 if its code is mapped in every address space
	uint32_t hot;           // its struct hot_tu, or 0
	uint32_t hash_next;
	uint32_t page_next[2];  // list of units on the guest page (index << 1 | which)
	uint32_t incoming;      // exits chained to this unit
	uint32_t footing_next, footing_prev; // units on the same one
	uint32_t first_map;     // bytes in bt.map, of a base unit struct base_map
	uint32_t first_exit;
	uint32_t first_reloc;   // where its code names its own address, or one that moves with it
	uint16_t nmaps, nexits, nrelocs;
	uint16_t was;           // the page number (the lower bits of it) of the address it came from, or 0
	uint32_t since;         // move_clock() when it came to this address
};
#define NO_FRAME UINT32_MAX
_Static_assert(sizeof(struct tu) == 104 && FOOTINGS_MAX <= BIT(16), "there are very many");

struct hot_tu {
	uint64_t lines;         // of 64 bytes each, of the page, that its translation depends on
	uint8_t map[X86_GPRS];  // guest register -> host register, or X86_REG_NONE: in vcpu.gpr[]
	uint32_t indirect_entry; // TC offset: checks r10 against pc first; 0 until the indirect table wants it
	uint32_t indirect_exit, indirect_imm, indirect_other; // its exit; TC offsets of the address in it, and of the jump
							      // for other targets
	uint32_t itab_next;     // unit that it passes others on to, or 0
	uint32_t first_entry;   // struct site_entry
	uint32_t cs_base, cs_limit; // MODE_CS
	uint32_t sampled;       // when the timer's signal last met it: move_clock(),
	uint8_t samples;        // and how often lately
	uint8_t conflicts;      // misses that replaced another page in the software TLB
	uint16_t nentries;
};

static inline bool tu_straddles(const struct tu *t)
{
	return t->gfn2 != NO_FRAME;
}

static inline gpa_t tu_gpa2(const struct tu *t)
{
	return tu_straddles(t) ? (gpa_t)t->gfn2 << PAGE_SHIFT : ~UINT64_C(0);
}

struct reloc { // see move.c
	uint32_t at;    // TC offset of 8 bytes, or of the lower 4 if upper is not 0
	uint32_t upper; // with RELOC_COPY in at: where in the guest's page they come from, and how many, << 16 (code.c)
};
#define RELOC_COPY BIT(31)

struct insn_map { // host address -> guest instruction that can raise an exception there, ascending: insn_map.c
	uint16_t host;      // offset of the instruction's first host byte from tu.start
	int16_t guest;      // offset from tu.pc
	uint16_t homed;     // guest registers that are in vcpu.gpr[] for the moment
	uint16_t recipe;    // number in bt.recipe, with FLAGS_RECIPE
	uint8_t left;       // as in struct exit, behind this instruction
	uint8_t flags : 3;  // enum flag_state at its operation
	bool saved_ax : 1;  // RAX and RDX are in SLOT_RAX and SLOT_TMP for the moment
	signed char ahead : 4; // words that RSP is ahead of its register (stack.c)
};
enum { NEW_MAPS = 6 * TU_INSNS_MAX, MAP_BYTES_MAX = 11 };

enum exit_kind {
	EXIT_DIRECT,   // to a known linear address, may be chained
	EXIT_APART,    // the same, but the unit there makes each check by itself (window.c)
	EXIT_POLL,     // something is pending: v->rip = pc, then look
	EXIT_SYS,      // system instruction insns[insn] at pc: run it in C
	EXIT_STRING,   // string instruction
	EXIT_VECTOR,   // vector instruction that C carries out
	EXIT_UD, EXIT_NM, EXIT_DE, // raise for the instruction at pc
	EXIT_NYI,      // the instruction at pc is not built yet: say what
	EXIT_NEXT,     // v->rip = pc, find the next unit (unchainable)
	EXIT_CAREFUL,  // the instruction at pc needs the careful form
	EXIT_STI,      // as POLL, after sti and one more instruction
	EXIT_LANDING,  // no exit: at `patch` a return comes back into a region, until that is retired
	EXIT_BRANCH,   // no exit: who the indirect branch at pc is, for bt_branch_fault
	EXIT_COUNT,    // --deterministic: the unit at pc holds more instructions than may run
};

struct exit {
	uint32_t tu : 20;
	uint32_t kind : 4;
	bool flags_noted : 1; // flags are: what it is chained to is entered at entry_noted
	bool calls : 1;       // base: it is a call when linked too
	bool base : 1;
	int8_t high : 5;    // with low: the guest's linear address, target or of the instruction, less the unit's (a thunk
	uint32_t low;       // is at 0): exit_pc
	uint32_t target : 20; // unit it is chained to, or 0
	uint32_t left : 8;  // --deterministic: instructions of the unit counted but not run
	uint32_t guard : 4; // hot: how many bytes before `place` the displacement of its guard is; 0: it has none
	union {
		uint32_t next; // next in target's incoming list
		uint32_t insn; // index in insns for SYS, STRING, VECTOR
		uint32_t what; // for NYI: offset of the words in the monitor's image
	};
	uint32_t place;     // TC offset of the rel32 to patch, 0 if it cannot be chained. Base: of its own code
	union {
		uint32_t unlinked;  // TC offset it leads to when not chained
		int32_t pushed;     // for BRANCH: what it has taken off RSP
	};
};
#define EXIT_TU (BIT(20) - 1)
_Static_assert(TC_SEGMENTS * TUS_SEGMENT <= BIT(20) && sizeof(struct exit) == 24, "there are very many");

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
	bool plain : 1;   // a load of an only operand, or a register's store, by which C can act in passing (device.c)
};

struct footing {
	uint64_t va;
	gpa_t gpa, gpa2;    // gpa2: of a unit that straddles, or ~0
	uint32_t mode;
	uint32_t next;      // in the hash chain, or of free ones
	uint32_t place;     // in bt.held
	uint32_t first;     // of the units that stand on it
	uint64_t space[2];  // CR3 of who has held it at this address first, and of another one
	uint32_t family;    // or 0: none of its units has had a link with another footing's
	uint32_t kin_next, kin_prev; // others of the family
	uint64_t at;        // its place in the family
};

struct family { // footings that links tie together: see family.c
	uint64_t base;      // of those held; differ: of some of them
	uint64_t epoch;     // bt.hold_epoch that nheld is of
	uint32_t first, n;  // members; first: of a free one, the next
	uint32_t nheld;
	bool differ, mixed;
};

#endif
