// SPDX-License-Identifier: MIT
//
// The table behind features.h: each feature's CPUID bits. Data only.
#include "x86/features.h"


enum {
#define _(name, leaf, subleaf, reg, bit) LEAF_##name = leaf, SUB_##name = subleaf, REG_##name = X86_CPUID_##reg, \
	BIT_##name = bit,
	X86_FEATURES(_)
#undef _
};

#define ROW(name) { LEAF_##name, SUB_##name, REG_##name, BIT_##name }

const struct x86_cpuid_bit x86_feature_bits[X86_FEATURE_COUNT][3] = {
#define _(name, leaf, subleaf, reg, bit) [X86_FEATURE_##name] = { ROW(name) },
	X86_FEATURES(_)
#undef _
#define _(name, a, b, c) [X86_FEATURE_##name] = { ROW(a), ROW(b), ROW(c) },
	X86_FEATURE_SETS(_)
#undef _
};

static const char names[X86_FEATURE_COUNT][24] = {
	"NONE",
#define _(name, leaf, subleaf, reg, bit) #name,
	X86_FEATURES(_)
#undef _
#define _(name, a, b, c) #name,
	X86_FEATURE_SETS(_)
#undef _
};

const char *x86_feature_name(enum x86_feature f)
{
	return names[f < X86_FEATURE_COUNT ? f : X86_FEATURE_NONE];
}
