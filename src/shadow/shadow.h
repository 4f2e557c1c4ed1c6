// SPDX-License-Identifier: MIT
//
// Shadow mappings: which pages of guest address spaces the host maps at the guest's own addresses, for user code in
// the mapped form and for user code that runs as it is (docs/MEMORY.md). What bt/ calls stands in bt/bt.h; this is the
// state behind it: of the vCPU, and of each space that has mappings. One of them has the mapped form's, in the
// monitor's process; each of the others has a world.
#ifndef SHADOW_SHADOW_H
#define SHADOW_SHADOW_H

#include "bt/bt.h"
#include "shadow/displaced.h"
#include "shadow/record.h"

enum {
	LARGE_SHIFT = 21, LARGE_MANY = 1 << 30,
	SHADOW_PAGES = 1 << 17,      // mapped at most, of one space: 512 MiB
	SHADOW_REGIONS = 1 << 12, SHADOW_ACCOUNTS = 64,
	SENSITIVE_SEEN = 256, SHADOW_CLEAN = 1 << 15,
	// Pages around a fault that are mapped with it, if they may be; more as faults go from window to window
	SHADOW_WINDOW = 16, SHADOW_WINDOW_MAX = 256,
};

// How the user code of a space that has mappings runs.
enum shadow_form { FORM_MAPPED, FORM_DIRECT };

struct account { // of an address space, see policy.c; times in cycles
	gpa_t root;
	uint64_t cost, ran; // with mappings
	uint64_t stints;    // how often it has begun to run
	uint64_t until;     // it is checked until then
	uint64_t stray;     // of the cost: on the way to code that is not run directly, and back
	uint64_t led;       // of that: by signals to displaced code
	uint64_t turns;     // of its world
	uint64_t calls;     // of the cost: turns that a system call has ended
	uint64_t stray_to_cpuid; // of those: to a page where it is for CPUID alone
	bool catches_cpuid; // directly it runs with CPUID as an exception, as its hot code shares pages with one
	uint64_t translated_until; // it is not run directly until then
	unsigned direct_pause;     // ms, the last time
	uint64_t print;     // fingerprint of its tables when that began
	unsigned pause;     // ms, the last time
};

// An address space with mappings.
struct shadow_space {
	bool valid;
	uint8_t number;      // in struct shadow and in the record: 0, or that of its world + 1
	bool of_kernel;      // for a kernel that runs in the lower half, not for user code
	bool stuck;          // DIRECT: it has come back without having run, perhaps: the next instruction is translated
	bool held;           // DIRECT: it runs 32-bit code, translated; until it comes from the kernel again
	uint16_t turns, tsc_turns; // DIRECT: of late, and those of them that RDTSC alone was the reason of
	bool has_global;     // pages that the guest's tables have as global, perhaps: INVLPG of any space concerns it
	uint16_t pcid;
	gpa_t root;          // its top page table
	uint64_t left;       // (TSC) when it was last seen to go
	uint64_t checked, check_cost; // the last look at all pages: when, how long
	unsigned large;      // how much INVLPG of one address may concern, as a shift: the largest page there was
	gva_t wanted;        // where the last true fault was, or 0: to be mapped when user code comes back
	enum vmem_access wanted_access;
	gva_t window_end;    // of the window mapped last
	unsigned window;     // and its pages
	uint64_t burst_began, aside_until; // (TSC) see burst.c
	uint64_t burst_rip;      // the first's instruction
	unsigned burst, aside;   // true faults since then; how long it goes aside, in ms
};

enum { SHADOW_SPACES = VMM_WORLDS + 1 };

struct shadow {
	bool seen_user;      // there has been user code
	bool strayed_to_cpuid; // where it is for CPUID alone
	uint64_t strayed;    // DIRECT: (TSC) when it came to a page of code that is translated, or 0
	uint16_t fresh;      // spaces, by number; not these: stale, flushed by the guest since they were looked at
	struct shadow_space *here;  // the space seen last, if it has mappings, or NULL
	gpa_t last_root;     // of that space in any case
	uint64_t arrived;    // when that came (TSC)
	uint64_t looked;     // the value of that when its fingerprint was last taken
	uint64_t again;      // (TSC) it is not asked before that who has mappings to spare
	uint64_t counted;    // until when its time has been counted
	unsigned asked;      // how often its mode was, and nothing charged, since that was weighed against its cost
	uint64_t direct_cost, direct_time; // DIRECT, of all spaces, of late: what it has cost, how long it was
	uint64_t translated; // stats' tu_again_cycles then
	struct account account[SHADOW_ACCOUNTS]; // by root, folded
	struct shadow_space space[SHADOW_SPACES];
	// DIRECT: pages whose code must be translated; forgotten with the mappings
	gva_t seen[SHADOW_SPACES][SENSITIVE_SEEN];
	uint64_t clean[SHADOW_CLEAN]; // by frame, folded: see clean.c
	// By 2 MiB of addresses, folded: number + 1 of one with parts of large pages
	uint32_t has_large[SHADOW_SPACES][SHADOW_REGIONS];
	struct record record;
	struct displaced_slots displaced[VMM_WORLDS];
};

_Static_assert(sizeof(struct shadow) + 0x10000 <= ZONE_VCPU_GUARD - ZONE_VCPU_SHADOW, "it outgrew its place");
_Static_assert((int)SHADOW_SPACES <= (int)RECORD_SPACES, "the record has no more");

static inline struct shadow *shadow_of(const struct vcpu *v)
{
	return (struct shadow *)((uintptr_t)v + ZONE_VCPU_SHADOW);
}

// The present one. There must be one.
static inline struct shadow_space *space_here(const struct vcpu *v)
{
	return shadow_of(v)->here;
}

static inline enum shadow_form space_form(const struct shadow_space *p)
{
	return p->number ? FORM_DIRECT : FORM_MAPPED;
}

// Is nothing to run in place? A test.
static inline bool displaces_all(const struct vcpu *v)
{
	return v->shared->config.memory == MEMORY_DISPLACED;
}

static inline unsigned space_world(const struct shadow_space *p)
{
	return p->number - 1u;
}

static inline uint32_t space_pages(const struct vcpu *v, const struct shadow_space *p)
{
	return record_pages(&shadow_of(v)->record, p->number);
}

// Nothing of a stale one may be used before it is looked at again.
static inline bool space_is_stale(const struct vcpu *v, const struct shadow_space *p)
{
	return !(shadow_of(v)->fresh >> p->number & 1);
}

static inline uint32_t *large_word(const struct vcpu *v, const struct shadow_space *p, gva_t gva)
{
	return &shadow_of(v)->has_large[p->number][gva >> LARGE_SHIFT & (SHADOW_REGIONS - 1)];
}

// -- world.c
void shadow_give_up(struct vcpu *v, struct shadow_space *p); // it has no mappings any more

// -- map.c: the record, and the host's mappings in step with it
// Pages that lie side by side in both, of the present space.
bool shadow_map(struct vcpu *v, gva_t gva, gpa_t gpa, unsigned pages, unsigned rights);
void shadow_take_right(struct vcpu *v, gpa_t gpa, enum shadow_rights right); // from all mappings of it, of all spaces
void shadow_unmap(struct vcpu *v, struct shadow_space *p, gva_t gva, uint64_t size);
void shadow_drop(struct vcpu *v, struct shadow_space *p); // all

void shadow_claim_code(struct vcpu *v, gpa_t gpa); // nobody writes there unseen any more

// -- clean.c: frames without sensitive instructions
bool clean_is(const struct vcpu *v, gpa_t gpa, unsigned rules);
bool clean_is_known(const struct vcpu *v, gpa_t gpa); // by some rules
void clean_note(struct vcpu *v, gpa_t gpa, unsigned rules);
void clean_forget(struct vcpu *v, gpa_t gpa);

// -- look.c
void shadow_look(struct vcpu *v, struct shadow_space *p); // at each page of the present space, which is stale

// -- policy.c
void policy_switch(struct vcpu *v, gpa_t root); // another space is the present one: before `here` says so
void policy_start_counting(struct vcpu *v);
void policy_begin(struct vcpu *v); // the present space is another process
struct shadow_space *policy_claim(struct vcpu *v, gpa_t root); // whose place the present space may take, or NULL
bool policy_too_dear(struct vcpu *v, struct shadow_space *p);
bool policy_is_due(struct vcpu *v);
void policy_charge(struct vcpu *v, const struct shadow_space *p, uint64_t cycles);
void policy_charge_churn(struct vcpu *v, const struct shadow_space *p, uint64_t cycles);
void policy_charge_fault(struct vcpu *v, uint64_t cycles); // and what the host has done before us
void policy_charge_exit(struct vcpu *v, bool call, uint64_t cycles); // directly run code has come back after so long
void policy_charge_stray(struct vcpu *v); // to where it has to be translated
void policy_lose(struct vcpu *v, const struct shadow_space *p); // its world, by its code's doing
void policy_settle_stray(struct vcpu *v); // and comes from there to its kernel
void policy_charge_displaced(struct vcpu *v, const struct direct_left *left); // what that has cost it
bool policy_catches_cpuid(struct vcpu *v, gpa_t root);

// -- burst.c
void burst_note(struct vcpu *v);     // a true fault, not of the checked form
bool burst_goes_on(struct vcpu *v, const struct shadow_space *p);  // run checked for a while

// -- direct.c
unsigned direct_rules(const struct vcpu *v); // enum sensitive_rule
bool shadow_is_sensitive(struct vcpu *v, gva_t gva); // as far as is known from a fault there
bool shadow_is_cpuids(struct vcpu *v, gva_t gva);    // for no other reason than a CPUID
bool shadow_is_tscs(struct vcpu *v, gva_t gva);      // for no other than what reads the TSC
void shadow_forget_tscs(struct vcpu *v);             // those are not any more, of the present space
bool shadow_wants_displaced(struct vcpu *v, gva_t gva);  // a visit to such a page: is it worth it?
void shadow_keep_translated(struct vcpu *v, gva_t gva);  // it never is
bool direct_suits(struct vcpu *v); // the present space's user code, as far as its kernel has set things up

// -- fault.c
enum shadow_answer shadow_map_fault(struct vcpu *v, gva_t gva, enum vmem_access access, uint32_t *error);
void shadow_map_wanted(struct vcpu *v);
bool shadow_allows(struct vcpu *v, const struct record_page *p, const struct mmu_walk *w);

#endif
