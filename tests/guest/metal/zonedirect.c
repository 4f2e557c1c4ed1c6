/* SPDX-License-Identifier: MIT */
/*
 * zonefuzz.c as a process that can run directly, as it is or displaced.
 */
#define DIRECT 1
#include "zonefuzz.c"
