// SPDX-License-Identifier: MIT
//
// One translation unit side by side: the guest's instructions left, the host code of each right, disassembled.
#ifndef IO_UNIT_DUMP_H
#define IO_UNIT_DUMP_H

#include <stdio.h>

#include "base/types.h"

enum { UNIT_CODE_MAX = 64 << 10 };

struct unit_dump {
	uint32_t mode;
	char guest[96];              // the instruction whose host code comes, as text
	uint64_t host_at;
	size_t host_used;
	uint8_t host[UNIT_CODE_MAX]; // of that instruction, so far
};

// record: behind its TRACE_RECORD byte, zero-terminated.
void unit_dump_record(struct unit_dump *d, FILE *out, const char *record);

#endif
