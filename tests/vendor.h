// SPDX-License-Identifier: MIT
//
// Whose processor this is, for what differs between Intel's and AMD's.
#ifndef TESTS_VENDOR_H
#define TESTS_VENDOR_H

#include <cpuid.h>
#include <stdbool.h>

static inline bool processor_is_amd(void)
{
	unsigned a, b = 0, c, d;

	__get_cpuid(0, &a, &b, &c, &d);
	return b == signature_AMD_ebx;
}

#endif
