// SPDX-License-Identifier: MIT
//
// ELF kernels by the PVH direct boot ABI (Xen documentation, "x86/HVM direct boot ABI"): an ELF file, 32 or 64 bits,
// whose note XEN_ELFNOTE_PHYS32_ENTRY names a 32-bit entry point; it starts in protected mode without paging, with the
// physical address of a start info structure in EBX. Linux's vmlinux and ringer's own bare-metal guests are such.
#include "boot/bytes.h"
#include "boot/elf.h"

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

struct note { // the entry point, if a note names one
	bool found;
	gpa_t entry;
};

// Look through a PT_NOTE segment, already checked to lie in the file, for the entry point.
static void find_entry(const struct boot *b, struct note *n, const struct elf_segment *s)
{
	uint64_t align = s->align == 8 ? 8 : 4, at = 0;
	const uint8_t *notes = b->image + s->offset;

	while (s->filesz - at >= sizeof(Elf32_Nhdr)) {
		uint64_t namesz = get32(notes + at), descsz = get32(notes + at + 4), type = get32(notes + at + 8);
		uint64_t name = at + sizeof(Elf32_Nhdr), desc = align_up(name + namesz, align);

		if (desc + descsz > s->filesz)
			return;
		if (namesz == 4 && !memcmp(notes + name, "Xen", 4) && type == XEN_ELFNOTE_PHYS32_ENTRY && descsz >= 4) {
			*n = (struct note){ true, get32(notes + desc) };
			return;
		}
		at = align_up(desc + descsz, align);
		if (at > s->filesz)
			return;
	}
}

static int load_segments(struct boot *b, const struct elf *e, struct note *n)
{
	int ret = 0;

	for (unsigned i = 0; i < e->phnum && !ret; i++) {
		struct elf_segment s;

		ret = elf_read_segment(b, e, i, &s);
		if (!ret && s.type == PT_NOTE)
			find_entry(b, n, &s);
		else if (!ret && s.type == PT_LOAD)
			ret = elf_load_segment(b, &s);
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
	struct elf e;
	struct note note = { .found = false };
	gpa_t initrd;
	uint64_t initrd_size;
	int ret = elf_read_header(b, &e);

	if (!ret)
		ret = load_segments(b, &e, &note);
	if (ret)
		return ret;
	if (!note.found)
		return boot_fail(
		    b, -ENOEXEC,
		    "%s: -kernel: an ELF file with no PVH entry note and no multiboot header: build with CONFIG_PVH, "
		    "or give the bzImage",
		    b->args->kernel);
	if (!mem_is_ram(&b->cfg->mem, note.entry, 1))
		return boot_fail(b, -ENOEXEC, "%s: -kernel: its entry point %#llx is outside RAM: give more with -m",
				 b->args->kernel, (unsigned long long)note.entry);
	ret = boot_put_cmdline(b, BOOT_CMDLINE_MAX - 1);
	if (!ret)
		ret = boot_load_initrd(b, MAX(b->kernel_end, (gpa_t)BOOT_KERNEL_MIN), b->ram_end, &initrd, &initrd_size);
	if (ret)
		return ret;
	put_start_info(b, initrd, initrd_size);
	start_pvh(b, note.entry, BOOT_PVH_INFO);
	return 0;
}
