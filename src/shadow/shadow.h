// SPDX-License-Identifier: MIT
//
// Shadow mappings: which pages of one guest address space the host maps at the guest's own addresses, for user code in
// the mapped form (docs/MEMORY.md). What bt/ calls stands in bt/bt.h; this is the record behind it.
#ifndef SHADOW_SHADOW_H
#define SHADOW_SHADOW_H

#include "bt/bt.h"

enum {
	LARGE_SHIFT = 21, LARGE_MANY = 1 << 30,
	SHADOW_PAGES = 1 << 17,      // mapped at most: 512 MiB
	SHADOW_INDEX = 1 << 18, SHADOW_FRAMES = 1 << 20,
	SHADOW_REGIONS = 1 << 12, SHADOW_ACCOUNTS = 64,
	SENSITIVE_SEEN = 256,
	// Pages around a fault that are mapped with it, if they may be; more as faults go from window to window
	SHADOW_WINDOW = 16, SHADOW_WINDOW_MAX = 256,
};

struct shadow_page {
	uint64_t vpn : 36, gfn : 24; // page numbers
	uint64_t rights : 2;         // enum shadow_rights
};

enum shadow_rights { SHADOW_WRITE = BIT(0), SHADOW_EXEC = BIT(1) }; // never both: code is looked at before it runs

// How the owner's user code runs.
enum shadow_form { FORM_MAPPED, FORM_DIRECT };

struct account { // of an address space, see policy.c; times in cycles
	gpa_t root;
	uint64_t cost, ran; // as the owner
	uint64_t stints;    // how often it has begun to run
	uint64_t until;     // it is checked until then
	uint64_t stray;     // of the cost: on the way to code that is not run directly, and back
	uint64_t turns;     // of the world
	uint64_t calls;     // of the cost: turns that a system call has ended
	uint64_t stray_to_cpuid; // of those: to a page where it is for CPUID alone
	bool catches_cpuid; // directly it runs with CPUID as an exception, as its hot code shares pages with one
	uint64_t translated_until; // it is not run directly until then
	unsigned direct_pause;     // ms, the last time
	uint64_t print;     // fingerprint of its tables when that began
	unsigned pause;     // ms, the last time
};

struct shadow {
	bool valid;          // some address space owns the mappings
	bool of_kernel;      // for a kernel that runs in the lower half, not for user code
	bool seen_user;      // there has been user code
	uint8_t form;        // enum shadow_form
	uint64_t strayed;    // DIRECT: (TSC) when it came to a page of code that is translated, or 0
	bool strayed_to_cpuid; // where it is for CPUID alone
	bool stuck;          // DIRECT: it has come back without having run, perhaps: the next instruction is translated
	bool held;           // DIRECT: it runs 32-bit code, translated; until it comes from the kernel again
	bool stale;          // the guest has flushed it since: nothing of it may be used before it is looked at again
	uint16_t pcid;
	gpa_t root;          // its top page table
	gpa_t last_root;     // of the space seen last
	uint64_t arrived;    // when that came (TSC)
	uint64_t looked;     // the value of that when its fingerprint was last taken
	uint64_t counted;    // until when the owner's time has been counted
	unsigned asked;      // how often its mode was, and nothing charged, since that was weighed against its cost
	uint64_t translated; // stats' tu_again_cycles then
	struct account account[SHADOW_ACCOUNTS]; // by root, folded
	uint64_t left;       // when the owner was last seen to go
	uint64_t checked, check_cost; // the last look at all pages: when, how long
	unsigned large;      // how much INVLPG of one address may concern, as a shift: the largest page there was
	uint32_t has_large[SHADOW_REGIONS]; // by 2 MiB of addresses, folded: number + 1 of one with parts of large pages
	gva_t wanted;        // where the last true fault was, or 0: to be mapped when user code comes back
	enum vmem_access wanted_access;
	gva_t window_end;    // of the window mapped last
	unsigned window;     // and its pages
	uint64_t burst_began, aside_until; // (TSC) see burst.c
	uint64_t burst_rip;      // the first's instruction
	unsigned burst, aside;   // true faults since then; how long it goes aside, in ms
	uint32_t n;
	struct shadow_page page[SHADOW_PAGES];
	uint32_t index[SHADOW_INDEX]; // hash of vpn -> number in page[] + 1
	uint64_t frame[SHADOW_FRAMES]; // by gfn, folded: vpn + 1 of the one writable mapping of it; SHADOW_MANY; 0
	uint64_t code[SHADOW_FRAMES];  // the same of executable ones
	gva_t seen[SENSITIVE_SEEN]; // DIRECT: pages whose code must be translated; forgotten with the mappings
};

#define SHADOW_MANY (~UINT64_C(0))

_Static_assert(sizeof(struct shadow) + 0x10000 <= ZONE_VCPU_GUARD - ZONE_VCPU_SHADOW, "it outgrew its place");

static inline struct shadow *shadow_of(const struct vcpu *v)
{
	return (struct shadow *)((uintptr_t)v + ZONE_VCPU_SHADOW);
}

static inline uint32_t *large_word(struct shadow *s, gva_t gva)
{
	return &s->has_large[gva >> LARGE_SHIFT & (SHADOW_REGIONS - 1)];
}

// -- world.c
void shadow_give_up(struct vcpu *v); // the owner is none any more

// -- record.c: the mappings, and the host's in step with them
struct shadow_page *shadow_find(struct shadow *s, gva_t gva);
bool shadow_map(struct vcpu *v, gva_t gva, gpa_t gpa, unsigned pages, unsigned rights); // side by side in both
void shadow_take_right(struct vcpu *v, gpa_t gpa, enum shadow_rights right); // from all mappings of the page
void shadow_unmap(struct vcpu *v, gva_t gva, uint64_t size);
void shadow_drop(struct vcpu *v); // all

// -- policy.c
void policy_switch(struct vcpu *v, gpa_t root);
void policy_start_counting(struct vcpu *v);
void policy_begin(struct vcpu *v); // the present space is another process
bool policy_may_claim(struct vcpu *v, gpa_t root);
bool policy_too_dear(struct vcpu *v);
enum shadow_form policy_form(struct vcpu *v, gpa_t root); // for the present space, which is the owner
bool policy_is_due(struct vcpu *v);
void policy_charge(struct vcpu *v, uint64_t cycles);
void policy_charge_churn(struct vcpu *v, uint64_t cycles);
void policy_charge_fault(struct vcpu *v, uint64_t cycles); // and what the host has done before us
void policy_charge_exit(struct vcpu *v, bool call); // directly run code has come back
void policy_charge_stray(struct vcpu *v); // to where it has to be translated
void policy_settle_stray(struct vcpu *v); // and comes from there to its kernel
bool policy_catches_cpuid(struct vcpu *v, gpa_t root);

// -- burst.c
void burst_note(struct vcpu *v);     // a true fault, not of the checked form
bool burst_goes_on(struct vcpu *v);  // run checked for a while

// -- direct.c
unsigned direct_rules(const struct vcpu *v); // enum sensitive_rule
bool shadow_is_sensitive(struct vcpu *v, gva_t gva); // as far as is known from a fault there
bool shadow_is_cpuids(struct vcpu *v, gva_t gva);    // for no other reason than a CPUID
bool direct_suits(struct vcpu *v); // the present space's user code, as far as its kernel has set things up

// -- fault.c
enum shadow_answer shadow_map_fault(struct vcpu *v, gva_t gva, enum vmem_access access, uint32_t *error);
void shadow_map_wanted(struct vcpu *v);
bool shadow_allows(struct vcpu *v, const struct shadow_page *p); // as the guest's tables stand

#endif
