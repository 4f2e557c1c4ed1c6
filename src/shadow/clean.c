// SPDX-License-Identifier: MIT
//
// Frames that have been searched for sensitive instructions and have none: the next process of the same program need
// not search them again. What is known is true until somebody writes to the frame: as long as it stands here writes to
// it are claimed as if it were still run (shadow_runs), by whomever, and the first one ends it.
#include "shadow/shadow.h"

enum { RULES = 0x7f, KNOWN = 0x80, GFN_SHIFT = 8 };

static uint64_t *word_of(const struct vcpu *v, gpa_t gpa)
{
	return &shadow_of(v)->clean[gpa >> PAGE_SHIFT & (SHADOW_CLEAN - 1)];
}

static uint64_t word_for(gpa_t gpa, unsigned rules)
{
	return gpa >> PAGE_SHIFT << GFN_SHIFT | KNOWN | rules;
}

bool clean_is(const struct vcpu *v, gpa_t gpa, unsigned rules)
{
	return *word_of(v, gpa) == word_for(gpa, rules);
}

bool clean_is_known(const struct vcpu *v, gpa_t gpa)
{
	return (*word_of(v, gpa) & ~(uint64_t)RULES) == word_for(gpa, 0);
}

// Nobody can write there unseen any more: shadow_claim_code.
void clean_note(struct vcpu *v, gpa_t gpa, unsigned rules)
{
	*word_of(v, gpa) = word_for(gpa, rules);
}

void clean_forget(struct vcpu *v, gpa_t gpa)
{
	if (clean_is_known(v, gpa))
		*word_of(v, gpa) = 0;
}
