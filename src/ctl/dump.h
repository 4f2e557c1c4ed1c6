// SPDX-License-Identifier: MIT
//
// Guest memory into files: a piece as it is, or all of it as an ELF core. False: it failed, why says how.
#ifndef CTL_DUMP_H
#define CTL_DUMP_H

#include <stdio.h>

#include "machine/machine.h"

bool memory_save(struct machine *m, bool physical, uint64_t addr, uint64_t size, const char *file, char *why, size_t n);
bool memory_dump(struct machine *m, FILE *f, char *why, size_t n); // closes f
bool memory_dump_file(struct machine *m, const char *file, char *why, size_t n);

#endif
