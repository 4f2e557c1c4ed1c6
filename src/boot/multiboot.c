// SPDX-License-Identifier: MIT
//
// Kernels with a multiboot header (Multiboot Specification 0.6.96): an ELF file of either class, or any file whose
// header says where its bytes go ("The address fields of Multiboot header"). -initrd names the modules, separated by
// commas, each with what follows its name as its string. The kernel may lie anywhere in RAM from 0x1000 on, so all that
// is made for it stands behind it: modules first, each on a page of its own, then a block with the information
// structure, the lists and strings, and the GDT that it starts with.
#include "boot/bytes.h"
#include "boot/elf.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>

enum {
	SEARCH = 8192, // the header is 4-byte aligned within so much
	MAGIC = 0x1badb002,
	HEADER_SIZE = 12,
	HEADER_SIZE_ADDRESSES = 32,
	NEEDS_KNOWN = 0x7, // of bits 0-15, which must be understood: page alignment, memory map, video mode (there is none)
	HAS_ADDRESSES = BIT(16),

	INFO_MEMORY = BIT(0), INFO_BOOT_DEVICE = BIT(1), INFO_CMDLINE = BIT(2), INFO_MODULES = BIT(3), INFO_MMAP = BIT(6),
	INFO_LOADER_NAME = BIT(9),
	INFO_SIZE = 120,
	MODULES_MAX = 64, MODULE_SIZE = 16,
	MMAP_SIZE = 24,
	GDT_SIZE = 0x40,
	KERNEL_LOW = 0x1000,
};

struct module {
	gpa_t at;
	uint64_t size;
	char *string;
};

struct multiboot {
	gpa_t entry, end; // of the kernel and the modules
	unsigned modules;
	struct module module[MODULES_MAX];
};

static bool find_header(const struct boot *b, size_t *at)
{
	for (size_t i = 0; i + HEADER_SIZE <= b->image_size && i + HEADER_SIZE <= SEARCH; i += 4) {
		const uint8_t *h = b->image + i;

		if (get32(h) == MAGIC && get32(h) + get32(h + 4) + get32(h + 8) == 0) {
			*at = i;
			return true;
		}
	}
	return false;
}

bool multiboot_probe(const struct boot *b)
{
	size_t at;

	return find_header(b, &at);
}

// -- The kernel -------------------------------------------------------------------------------------------------------

static int load_flat(struct boot *b, struct multiboot *mb, size_t at)
{
	const uint8_t *h = b->image + at;
	uint32_t header, load, load_end, bss_end;
	uint64_t from, size, total;
	int ret;

	if (b->image_size - at < HEADER_SIZE_ADDRESSES)
		return boot_fail(b, -ENOEXEC, "%s: -kernel: truncated in its multiboot header: copy it again",
				 b->args->kernel);
	header = get32(h + 12);
	load = get32(h + 16);
	load_end = get32(h + 20);
	bss_end = get32(h + 24);
	mb->entry = get32(h + 28);
	if (header < load || header - load > at || (load_end && load_end < load) ||
	    (bss_end && bss_end < MAX(load_end, load)))
		return boot_fail(b, -ENOEXEC, "%s: -kernel: the addresses in its multiboot header contradict each other",
				 b->args->kernel);
	from = at - (header - load);
	size = load_end ? load_end - load : b->image_size - from;
	if (size > b->image_size - from)
		return boot_fail(b, -ENOEXEC, "%s: -kernel: truncated: its multiboot header promises more: copy it again",
				 b->args->kernel);
	total = MAX(size, (uint64_t)(bss_end ? bss_end - load : 0));
	ret = total ? boot_check_place(b, load, total) : 0;
	if (ret || !total)
		return ret;
	memcpy(boot_ram(b, load, total), b->image + from, size);
	memset((uint8_t *)boot_ram(b, load, total) + size, 0, total - size);
	b->kernel_end = load + total;
	return 0;
}

static int load_elf(struct boot *b, struct multiboot *mb)
{
	struct elf e;
	int ret = elf_read_header(b, &e);

	mb->entry = e.entry;
	for (unsigned i = 0; !ret && i < e.phnum; i++) {
		struct elf_segment s;

		ret = elf_read_segment(b, &e, i, &s);
		if (ret || s.type != PT_LOAD)
			continue;
		if (s.flags & PF_X && e.entry >= s.vaddr && e.entry - s.vaddr < s.filesz)
			mb->entry = e.entry - s.vaddr + s.paddr;
		ret = elf_load_segment(b, &s);
	}
	return ret;
}

static int load_kernel(struct boot *b, struct multiboot *mb)
{
	size_t at = 0;
	uint32_t flags;
	int ret;

	find_header(b, &at);
	flags = get32(b->image + at + 4);
	if (flags & 0xffff & ~NEEDS_KNOWN)
		return boot_fail(b, -ENOSYS, "%s: -kernel: its multiboot header asks for what is not known (flags %#x)",
				 b->args->kernel, flags);
	b->low_start = KERNEL_LOW;
	if (flags & HAS_ADDRESSES)
		ret = load_flat(b, mb, at);
	else if (elf_probe(b))
		ret = load_elf(b, mb);
	else
		ret = boot_fail(b, -ENOEXEC, "%s: -kernel: a multiboot kernel that is no ELF file and has no addresses",
				b->args->kernel);
	if (!ret && !mem_is_ram(&b->cfg->mem, mb->entry, 1))
		ret = boot_fail(b, -ENOEXEC, "%s: -kernel: its entry point %#llx is outside RAM: give more with -m",
				b->args->kernel, (unsigned long long)mb->entry);
	mb->end = MAX(b->kernel_end, (gpa_t)BOOT_KERNEL_MIN);
	return ret;
}

// -- Modules ----------------------------------------------------------------------------------------------------------

static int load_module(struct boot *b, struct multiboot *mb, const char *text, size_t len)
{
	struct module *m = &mb->module[mb->modules];
	char *path;
	int ret;

	if (mb->modules == MODULES_MAX)
		return boot_fail(b, -E2BIG, "-initrd: %u modules are the most", MODULES_MAX);
	m->string = strndup(text, len);
	path = strndup(text, strcspn(text, " ") < len ? strcspn(text, " ") : len);
	if (m->string && path) {
		mb->modules++;
		ret = boot_load_file(b, path, mb->end, b->ram_end, true, &m->at, &m->size);
		mb->end = m->at + m->size;
	} else {
		free(m->string);
		ret = boot_fail(b, -ENOMEM, "-initrd: no host memory");
	}
	free(path);
	return ret;
}

static int load_modules(struct boot *b, struct multiboot *mb)
{
	const char *at = b->args->initrd;
	int ret = 0;

	while (at && *at && !ret) {
		size_t len = strcspn(at, ",");
		const char *next = at[len] ? at + len + 1 : NULL;

		while (len && *at == ' ') {
			at++;
			len--;
		}
		ret = load_module(b, mb, at, len);
		at = next;
	}
	return ret;
}

// -- The information structure ----------------------------------------------------------------------------------------

struct block { // memory behind the modules, filled from its start
	struct boot *b;
	gpa_t at;
};

static uint8_t *take(struct block *k, uint64_t size, gpa_t *at)
{
	uint8_t *p = boot_ram(k->b, k->at, size);

	*at = k->at;
	k->at += align_up(size, 8);
	memset(p, 0, size);
	return p;
}

static gpa_t put_string(struct block *k, const char *first, const char *second)
{
	gpa_t at;
	size_t n = strlen(first), m = strlen(second);
	uint8_t *p = take(k, n + m + 2, &at);

	memcpy(p, first, n);
	if (m)
		p[n++] = ' ';
	memcpy(p + n, second, m);
	return at;
}

static uint64_t block_size(const struct boot *b, const struct multiboot *mb)
{
	uint64_t size = GDT_SIZE + INFO_SIZE + E820_MAX * MMAP_SIZE + 128;

	size += strlen(b->args->kernel) + strlen(boot_cmdline(b));
	for (unsigned i = 0; i < mb->modules; i++)
		size += MODULE_SIZE + strlen(mb->module[i].string) + 16;
	return size;
}

static gpa_t put_mmap(struct block *k, const struct e820 *map)
{
	gpa_t at;
	uint8_t *p = take(k, map->count * MMAP_SIZE, &at);

	for (unsigned i = 0; i < map->count; i++, p += MMAP_SIZE) {
		put32(p, MMAP_SIZE - 4); // without this field
		put64(p + 4, map->entry[i].addr);
		put64(p + 12, map->entry[i].size);
		put32(p + 20, map->entry[i].type);
	}
	return at;
}

static gpa_t put_modules(struct block *k, const struct multiboot *mb)
{
	gpa_t at;
	uint8_t *p = take(k, mb->modules * MODULE_SIZE + 1, &at);

	for (unsigned i = 0; i < mb->modules; i++, p += MODULE_SIZE) {
		const struct module *m = &mb->module[i];

		put32(p, m->at);
		put32(p + 4, m->at + m->size);
		put32(p + 8, put_string(k, m->string, ""));
	}
	return at;
}

static gpa_t put_info(struct boot *b, const struct multiboot *mb, struct block *k)
{
	gpa_t at;
	uint8_t *info;

	take(k, GDT_SIZE, &b->gdt);
	info = take(k, INFO_SIZE, &at);
	put32(info, INFO_MEMORY | INFO_BOOT_DEVICE | INFO_CMDLINE | INFO_MODULES | INFO_MMAP | INFO_LOADER_NAME);
	put32(info + 4, BOOT_EBDA >> 10);
	put32(info + 8, (b->ram_end - BOOT_KERNEL_MIN) >> 10);
	put32(info + 12, 0x8000ffff); // the first hard disk, no partition
	put32(info + 16, put_string(k, b->args->kernel, boot_cmdline(b)));
	put32(info + 20, mb->modules);
	put32(info + 24, put_modules(k, mb));
	put32(info + 44, b->e820.count * MMAP_SIZE);
	put32(info + 48, put_mmap(k, &b->e820));
	put32(info + 64, put_string(k, "ringer", ""));
	return at;
}

int multiboot_load(struct boot *b)
{
	struct multiboot mb = { .modules = 0 };
	int ret = load_kernel(b, &mb);

	b->bios_state = true;
	if (!ret)
		ret = load_modules(b, &mb);
	if (!ret) {
		struct block k = { b, align_up(mb.end, PAGE_SIZE) };

		if (k.at > b->ram_end || block_size(b, &mb) > b->ram_end - k.at)
			ret = boot_fail(b, -ENOSPC, "%s: -kernel: no room for the multiboot information: give more with -m",
					b->args->kernel);
		else
			start_multiboot(b, mb.entry, put_info(b, &mb, &k));
	}
	for (unsigned i = 0; i < mb.modules; i++)
		free(mb.module[i].string);
	return ret;
}
