/* SPDX-License-Identifier: MIT */
/*
 * zonefuzz.c as a kernel in the lower half: there kernels run in the mapped form too, until there is user code.
 */
#define KERNEL 1
#include "zonefuzz.c"
