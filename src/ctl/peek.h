// SPDX-License-Identifier: MIT
//
// Guest memory by linear address as a debugger wants it: through the guest's page tables, but with all rights and with
// no trace left (no accessed or dirty bits, no faults, no device touched). Only while the vCPU is stopped.
#ifndef CTL_PEEK_H
#define CTL_PEEK_H

#include "cpu/vcpu.h"

// The physical address of gva, for all paging formats. False: not mapped.
bool peek_translate(const struct mem *m, const struct vcpu *v, gva_t gva, gpa_t *gpa);

// How many of n bytes could be moved: all up to the first that is not mapped to RAM.
size_t peek_read(const struct mem *m, const struct vcpu *v, gva_t gva, void *out, size_t n);
size_t peek_write(const struct mem *m, const struct vcpu *v, gva_t gva, const void *in, size_t n);

struct peek_page { // a leaf of the guest's page tables
	gva_t gva;
	gpa_t gpa;
	uint64_t size, entry;
	bool user, write; // by the entries of all levels
};

// The first page at or above from. False: none, or no paging.
bool peek_next_page(const struct mem *m, const struct vcpu *v, gva_t from, struct peek_page *page);

#endif
