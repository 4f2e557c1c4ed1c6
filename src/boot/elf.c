// SPDX-License-Identifier: MIT
//
// Reads ELF headers of both classes into one shape, and copies segments to guest RAM. The file is hostile: offsets and
// lengths are checked here, addresses by boot_check_place.
#include "boot/elf.h"
#include "boot/bytes.h"

#include <elf.h>
#include <errno.h>

bool elf_probe(const struct boot *b)
{
	return b->image_size >= SELFMAG && !memcmp(b->image, ELFMAG, SELFMAG);
}

static int truncated(struct boot *b)
{
	return boot_fail(b, -ENOEXEC, "%s: -kernel: truncated or damaged ELF file: copy it again", b->args->kernel);
}

static int check_machine(struct boot *b, const struct elf *e)
{
	unsigned machine, want = e->is64 ? EM_X86_64 : EM_386;

	machine = get16(b->image + offsetof(Elf32_Ehdr, e_machine));
	if (b->image[EI_DATA] != ELFDATA2LSB || machine != want)
		return boot_fail(b, -ENOEXEC, "%s: -kernel: an ELF file for another machine (%u): give one for x86",
				 b->args->kernel, machine);
	return 0;
}

int elf_read_header(struct boot *b, struct elf *e)
{
	e->is64 = b->image_size > EI_CLASS && b->image[EI_CLASS] == ELFCLASS64;
	if (b->image_size < (e->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return truncated(b);
	if (e->is64) {
		Elf64_Ehdr h;

		memcpy(&h, b->image, sizeof(h));
		*e = (struct elf){ true, h.e_entry, h.e_phoff, h.e_phnum, h.e_phentsize };
	} else {
		Elf32_Ehdr h;

		memcpy(&h, b->image, sizeof(h));
		*e = (struct elf){ false, h.e_entry, h.e_phoff, h.e_phnum, h.e_phentsize };
	}
	if (check_machine(b, e))
		return -ENOEXEC;
	if (e->phentsize < (e->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) || e->phoff > b->image_size ||
	    (uint64_t)e->phnum * e->phentsize > b->image_size - e->phoff)
		return truncated(b);
	return 0;
}

#define SEGMENT_OF(h) \
	(struct elf_segment) { h.p_type, h.p_flags, h.p_offset, h.p_vaddr, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align }

int elf_read_segment(struct boot *b, const struct elf *e, unsigned i, struct elf_segment *s)
{
	const uint8_t *p = b->image + e->phoff + (size_t)i * e->phentsize;

	if (e->is64) {
		Elf64_Phdr h;

		memcpy(&h, p, sizeof(h));
		*s = SEGMENT_OF(h);
	} else {
		Elf32_Phdr h;

		memcpy(&h, p, sizeof(h));
		*s = SEGMENT_OF(h);
	}
	if (s->type != PT_LOAD && s->type != PT_NOTE)
		return 0;
	if (s->offset > b->image_size || s->filesz > b->image_size - s->offset)
		return truncated(b);
	return 0;
}

int elf_load_segment(struct boot *b, const struct elf_segment *s)
{
	uint8_t *ram;
	int ret;

	if (!s->memsz)
		return 0;
	if (s->memsz < s->filesz)
		return truncated(b);
	ret = boot_check_place(b, s->paddr, s->memsz);
	if (ret)
		return ret;
	ram = boot_ram(b, s->paddr, s->memsz);
	memcpy(ram, b->image + s->offset, s->filesz);
	memset(ram + s->filesz, 0, s->memsz - s->filesz);
	b->kernel_end = MAX(b->kernel_end, s->paddr + s->memsz);
	return 0;
}
