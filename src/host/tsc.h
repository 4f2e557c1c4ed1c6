// SPDX-License-Identifier: MIT
//
// The rate of the host's time stamp counter.
#ifndef HOST_TSC_H
#define HOST_TSC_H

#include "base/types.h"

// Hz. From CPUID where it is stated exactly, else measured against CLOCK_MONOTONIC_RAW (about 50 ms, once a process).
uint64_t host_tsc_hz(void);

#endif
