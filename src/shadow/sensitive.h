// SPDX-License-Identifier: MIT
//
// Sensitive instructions: those that user code may run natively without a fault, but with a result that is the host's
// and not the guest's. Before guest pages are mapped executable at the guest's addresses (direct execution) they are
// searched for their encodings, at every offset, since an instruction can begin anywhere; a page that has one runs
// translated. Whoever asks sees to it first that nobody can write to the page any more.
//
// An instruction on two pages runs only if both are executable, so pages are asked about alone (an answer that stays
// with the frame), and *seams* when both neighbours of an address space are to be executable.
#ifndef SHADOW_SENSITIVE_H
#define SHADOW_SENSITIVE_H

#include "base/types.h"

enum sensitive_rule { // what of the host is not the guest's, and makes further instructions sensitive
	SENSITIVE_STATE = BIT(0), // XCR0: XGETBV, and XSAVE and its kin
	SENSITIVE_BASES = BIT(1), // the guest has CR4.FSGSBASE clear and the host set: RDFSBASE and its kin
	SENSITIVE_CPUID_FAULTS = BIT(3), // the host has CPUID fault: it does not count
	SENSITIVE_TSC_FAULTS = BIT(4),   // and what reads the TSC, or waits for it
	SENSITIVE_HIDDEN = BIT(2), // every one counts that is hidden within other instructions (sensitive.c), not only some
};

// Encodings are looked for as hosts without more state than this have them: what goes with APX (bit 19) gives the
// old instructions new ones. On a host with more bits in XCR0 the answers are not to be relied upon.
enum { SENSITIVE_XCR0_KNOWN = 0x602ff };

struct sensitive {
	const char *name;
	uint8_t bytes[2];  // that it begins with, prefixes apart
	bool whole;        // these are all of it; else a ModRM byte follows, as below
	bool anywhere;     // counts within other instructions too
	uint8_t rule;      // enum sensitive_rule: counts if asked for, or (x_FAULTS) if not; 0: always
	uint8_t prefix;    // it must have this one, or 0
	uint8_t memory;    // bit i: memory forms with i in the reg field count
	uint64_t registers; // bit i: the register form with ModRM C0h + i counts
};

// The first one of n bytes, a multiple of 8; its offset (of 0F or CD, behind prefixes) in *at. Or NULL.
const struct sensitive *sensitive_find(const uint8_t *bytes, size_t n, unsigned rules, size_t *at);

bool sensitive_page(const uint8_t *page, unsigned rules);
// The same of a page, and what begins on the one before it, which is known: what is hidden there is told better.
bool sensitive_page_after(const uint8_t *low, const uint8_t *page, unsigned rules);
// Has it one that counts wherever it stands?
bool sensitive_anywhere(const uint8_t *bytes, size_t n);
// What begins at the end of one page and goes on at the beginning of the next.
bool sensitive_seam(const uint8_t *low, const uint8_t *high, unsigned rules);

#endif
