// SPDX-License-Identifier: MIT
//
// CPU features by name, in QEMU's spelling: where each stands in CPUID (or IA32_ARCH_CAPABILITIES), and who provides
// it. Bits are held in feature words, one for each register of a leaf that has any.
#ifndef MACHINE_CPU_FEATURES_H
#define MACHINE_CPU_FEATURES_H

#include "base/types.h"
#include <stdio.h>

enum cpu_word {
	WORD_1_ECX, WORD_1_EDX, WORD_6_EAX, WORD_7_EBX, WORD_7_ECX, WORD_7_EDX, WORD_71_EAX, WORD_72_EDX, WORD_D1_EAX,
	WORD_E1_ECX, WORD_E1_EDX, WORD_E7_EDX, WORD_E8_EBX, WORD_E21_EAX, WORD_E21_ECX, // E: 0x8000_00xx
	WORD_KVM,                     // 0x4000_0001 EAX
	WORD_ARCH_LOW, WORD_ARCH_HIGH, // IA32_ARCH_CAPABILITIES
	CPU_WORDS,
};

enum cpu_reg { CPU_EAX, CPU_EBX, CPU_ECX, CPU_EDX };
struct cpu_word_place { // leaf 0: not in CPUID
	uint32_t leaf, subleaf;
	uint8_t reg; // enum cpu_reg
};
extern const struct cpu_word_place cpu_words[CPU_WORDS];

enum cpu_provider {
	BY_HOST,   // the host executes it: offered if the host has it
	BY_RINGER, // ringer brings it, whatever the host has
	BY_MAX,    // so too, but in `max` or by name only: what costs speed
	BY_NONE,   // ringer does not offer it
};

struct cpu_feature {
	const char *name;
	uint8_t word; // enum cpu_word
	uint8_t bit;
	uint8_t provider; // enum cpu_provider
};
extern const struct cpu_feature cpu_features[];
extern const unsigned cpu_features_count;

struct cpu_bits {
	uint32_t word[CPU_WORDS];
};

// By name; underscores count as hyphens, QEMU's aliases are known. NULL: no such feature.
const struct cpu_feature *cpu_feature_find(const char *name, size_t len);

void cpu_bits_host(struct cpu_bits *host);                                      // what the host's CPUID says
void cpu_bits_offered(struct cpu_bits *offered, const struct cpu_bits *host);   // what ringer can offer on it
bool cpu_bits_has(const struct cpu_bits *bits, const char *name);

// Clear features whose precondition (AVX for AVX2, ...) is missing. Returns the first one cleared that stands in
// `wanted`, or NULL, and in *needs what it needs.
const char *cpu_bits_close(struct cpu_bits *bits, const struct cpu_bits *wanted, const char **needs);

#endif
