// SPDX-License-Identifier: MIT
//
// The registers as GDB's remote protocol knows them: one table, from which the target description is made and by which
// they are read and written.
#ifndef CTL_GDB_REGS_H
#define CTL_GDB_REGS_H

#include "cpu/vcpu.h"

enum { GDB_REG_BYTES_MAX = 16, GDB_REGS_BYTES = 1000 };

unsigned gdb_regs_count(void);
// Register n to or from its bytes in the protocol's order. Returns its size; 0: no such register.
size_t gdb_reg_read(const struct vcpu *v, unsigned n, uint8_t *out);
size_t gdb_reg_write(struct vcpu *v, unsigned n, const uint8_t *in);

// Part of target.xml: up to n bytes from offset into out; returns how many.
size_t gdb_target_xml(char *out, size_t offset, size_t n);

#endif
