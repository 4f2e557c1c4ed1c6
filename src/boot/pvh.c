// SPDX-License-Identifier: MIT
//
// ELF kernels by the PVH direct boot ABI (Xen documentation, "x86/HVM direct boot ABI"): an ELF file, 32 or 64 bits,
// whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry point; it starts in protected mode without paging, with the
// physical address of a start info structure in EBX. Linux's vmlinux and ringer's own bare-metal guests are such.
#include "boot/bytes.h"
#include "boot/load.h"

#include <elf.h>
#include <errno.h>

enum {
	XEN_ELFNOTE_PHYS32_ENTRY = 18,
	PVH_MAGIC = 0x336ec578,
	PVH_INFO_SIZE = 56,
	PVH_MODULES = BOOT_PVH_INFO + 0x100,
	PVH_MEMMAP = BOOT_PVH_INFO + 0x200,
	PVH_MEMMAP_ENTRY = 24,
};

struct segment { // a program header of either class
	uint32_t type;
	uint64_t offset, paddr, filesz, memsz, align;
};

struct elf { // what is needed of either class
	bool is64;
	uint64_t phoff;
	unsigned phnum, phentsize;
	bool has_entry;
	gpa_t entry;
	gpa_t end; // of the highest segment
};

bool pvh_probe(const struct boot *b)
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

static int read_header(struct boot *b, struct elf *e)
{
	e->is64 = b->image_size > EI_CLASS && b->image[EI_CLASS] == ELFCLASS64;
	if (b->image_size < (e->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr)))
		return truncated(b);
	if (e->is64) {
		Elf64_Ehdr h;

		memcpy(&h, b->image, sizeof(h));
		*e = (struct elf){ .is64 = true, .phoff = h.e_phoff, .phnum = h.e_phnum, .phentsize = h.e_phentsize };
	} else {
		Elf32_Ehdr h;

		memcpy(&h, b->image, sizeof(h));
		*e = (struct elf){ .phoff = h.e_phoff, .phnum = h.e_phnum, .phentsize = h.e_phentsize };
	}
	if (check_machine(b, e))
		return -ENOEXEC;
	if (e->phentsize < (e->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr)) || e->phoff > b->image_size ||
	    (uint64_t)e->phnum * e->phentsize > b->image_size - e->phoff)
		return truncated(b);
	return 0;
}

static struct segment read_segment(const struct boot *b, const struct elf *e, unsigned i)
{
	const uint8_t *p = b->image + e->phoff + (size_t)i * e->phentsize;

	if (e->is64) {
		Elf64_Phdr h;

		memcpy(&h, p, sizeof(h));
		return (struct segment){ h.p_type, h.p_offset, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align };
	}
	Elf32_Phdr h;

	memcpy(&h, p, sizeof(h));
	return (struct segment){ h.p_type, h.p_offset, h.p_paddr, h.p_filesz, h.p_memsz, h.p_align };
}

static int load_segment(struct boot *b, struct elf *e, const struct segment *s)
{
	bool high = s->paddr >= BOOT_KERNEL_MIN, low = s->paddr >= BOOT_LOW_END && s->paddr + s->memsz <= BOOT_EBDA;
	uint64_t end = high ? b->ram_end : BOOT_EBDA;

	if (!s->memsz)
		return 0;
	if (s->memsz < s->filesz)
		return truncated(b);
	if ((!high && !low) || s->paddr > end || s->memsz > end - s->paddr)
		return boot_fail(b, -ENOSPC,
				 "%s: -kernel: a segment at %#llx of %llu KiB does not fit in RAM: give more with -m, "
				 "or link it at 1 MiB",
				 b->args->kernel, (unsigned long long)s->paddr, (unsigned long long)(s->memsz >> 10));
	uint8_t *ram = boot_ram(b, s->paddr, s->memsz);

	memcpy(ram, b->image + s->offset, s->filesz);
	memset(ram + s->filesz, 0, s->memsz - s->filesz);
	e->end = MAX(e->end, s->paddr + s->memsz);
	return 0;
}

// Look through a PT_NOTE segment, already checked to lie in the file, for the entry point.
static void find_entry(const struct boot *b, struct elf *e, const struct segment *s)
{
	uint64_t align = s->align == 8 ? 8 : 4, at = 0;
	const uint8_t *notes = b->image + s->offset;

	while (s->filesz - at >= sizeof(Elf32_Nhdr)) {
		uint64_t namesz = get32(notes + at), descsz = get32(notes + at + 4), type = get32(notes + at + 8);
		uint64_t name = at + sizeof(Elf32_Nhdr), desc = align_up(name + namesz, align);

		if (desc + descsz > s->filesz)
			return;
		if (namesz == 4 && !memcmp(notes + name, "Xen", 4) && type == XEN_ELFNOTE_PHYS32_ENTRY && descsz >= 4) {
			e->entry = get32(notes + desc);
			e->has_entry = true;
			return;
		}
		at = align_up(desc + descsz, align);
		if (at > s->filesz)
			return;
	}
}

static int load_segments(struct boot *b, struct elf *e)
{
	int ret = 0;

	for (unsigned i = 0; i < e->phnum && !ret; i++) {
		struct segment s = read_segment(b, e, i);

		if (s.type != PT_LOAD && s.type != PT_NOTE)
			continue;
		if (s.offset > b->image_size || s.filesz > b->image_size - s.offset)
			return truncated(b);
		if (s.type == PT_NOTE)
			find_entry(b, e, &s);
		else
			ret = load_segment(b, e, &s);
	}
	return ret;
}

static void put_start_info(struct boot *b, gpa_t initrd, uint64_t initrd_size)
{
	uint8_t *info = boot_ram(b, BOOT_PVH_INFO, PAGE_SIZE), *module = boot_ram(b, PVH_MODULES, 32);
	uint8_t *map = boot_ram(b, PVH_MEMMAP, E820_MAX * PVH_MEMMAP_ENTRY);

	memset(info, 0, PAGE_SIZE);
	put32(info, PVH_MAGIC);
	put32(info + 4, 1); // version: with a memory map
	put32(info + 12, initrd_size ? 1 : 0);
	put64(info + 16, initrd_size ? PVH_MODULES : 0);
	put64(info + 24, BOOT_CMDLINE);
	put64(info + 32, BOOT_RSDP);
	put64(info + 40, PVH_MEMMAP);
	put32(info + 48, b->e820.count);
	put64(module, initrd);
	put64(module + 8, initrd_size);
	for (unsigned i = 0; i < b->e820.count; i++) {
		put64(map + i * PVH_MEMMAP_ENTRY, b->e820.entry[i].addr);
		put64(map + i * PVH_MEMMAP_ENTRY + 8, b->e820.entry[i].size);
		put32(map + i * PVH_MEMMAP_ENTRY + 16, b->e820.entry[i].type);
	}
}

int pvh_load(struct boot *b)
{
	struct elf e = { .is64 = false };
	gpa_t initrd;
	uint64_t initrd_size;
	int ret = read_header(b, &e);

	if (!ret)
		ret = load_segments(b, &e);
	if (ret)
		return ret;
	if (!e.has_entry)
		return boot_fail(
		    b, -ENOEXEC,
		    "%s: -kernel: an ELF file without a PVH entry note: build with CONFIG_PVH, or give the bzImage",
		    b->args->kernel);
	if (!mem_is_ram(&b->cfg->mem, e.entry, 1))
		return boot_fail(b, -ENOEXEC, "%s: -kernel: its entry point %#llx is outside RAM: give more with -m",
				 b->args->kernel, (unsigned long long)e.entry);
	ret = boot_put_cmdline(b, BOOT_CMDLINE_MAX - 1);
	if (!ret)
		ret = boot_load_initrd(b, MAX(e.end, (gpa_t)BOOT_KERNEL_MIN), b->ram_end, &initrd, &initrd_size);
	if (ret)
		return ret;
	put_start_info(b, initrd, initrd_size);
	start_pvh(b, e.entry, BOOT_PVH_INFO);
	return 0;
}
