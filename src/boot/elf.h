// SPDX-License-Identifier: MIT
//
// Within boot/: ELF files of either class, as far as loading needs them. A PVH kernel and a multiboot kernel are loaded
// alike; they differ in where their entry point is named.
#ifndef BOOT_ELF_H
#define BOOT_ELF_H

#include "boot/load.h"

struct elf_segment { // a program header of either class
	uint32_t type, flags;
	uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct elf {
	bool is64;
	uint64_t entry; // the header's: a virtual address
	uint64_t phoff;
	unsigned phnum, phentsize;
};

bool elf_probe(const struct boot *b);

// The header, with its table of segments checked to lie in the file. 0 or a negative errno, said.
int elf_read_header(struct boot *b, struct elf *e);

// Segment i (below phnum). Its place in the file is not checked for types other than PT_LOAD and PT_NOTE.
int elf_read_segment(struct boot *b, const struct elf *e, unsigned i, struct elf_segment *s);

// Copy a PT_LOAD segment to its physical address, where boot_check_place lets it stand.
int elf_load_segment(struct boot *b, const struct elf_segment *s);

#endif
