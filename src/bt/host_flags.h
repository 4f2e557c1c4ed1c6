// SPDX-License-Identifier: MIT
//
// Flags that instructions leave undefined are what the host makes of them. Of a multiplication and of the counts of
// leading and trailing zeros one host writes them all, another leaves some as they were: those it has not written are
// then the ones of an earlier instruction, for which they must be kept. Found out by running them.
#ifndef BT_HOST_FLAGS_H
#define BT_HOST_FLAGS_H

#include "x86/decode.h"

struct host_flags {
	uint16_t multiply, count; // undefined ones that are as they were before
};

void host_flags_find(struct host_flags *h);
void host_flags_correct(const struct host_flags *h, struct x86_insn *insn); // as the decoder has made it

#endif
