// SPDX-License-Identifier: MIT
//
// Linux bzImage by the 64-bit or the 32-bit boot protocol (kernel documentation, "The Linux/x86 Boot Protocol"): the
// protected-mode part is loaded where it prefers, a zero page describes the machine, and vCPU 0 starts at its 64-bit
// entry point, 512 bytes into it, or at its beginning. The real-mode part never runs.
#include "boot/bytes.h"
#include "boot/load.h"

#include <errno.h>

enum bzimage_header { // offsets in the file, and in the zero page
	ZP_ACPI_RSDP = 0x070,
	ZP_E820_COUNT = 0x1e8,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_SYSSIZE = 0x1f4,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201,
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMDLINE = 0x228,
	HDR_INITRD_MAX = 0x22c,
	HDR_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END = 0x264, // what must be in the file for us
	ZP_E820 = 0x2d0,

	HDR_MAGIC_VALUE = 0x53726448, // "HdrS"
	HDR_VERSION_MIN = 0x20c,
	LOADFLAGS_LOADED_HIGH = BIT(0),
	XLF_KERNEL_64 = BIT(0),
	LOADER_UNDEFINED = 0xff,
	ENTRY64 = 0x200,
	SECTOR = 512,
	E820_ENTRY_SIZE = 20,
};

bool bzimage_probe(const struct boot *b)
{
	return b->image_size >= HDR_MAGIC + 4 && get32(b->image + HDR_MAGIC) == HDR_MAGIC_VALUE &&
	       get16(b->image + HDR_BOOT_FLAG) == 0xaa55;
}

static uint64_t setup_size(const struct boot *b)
{
	unsigned sects = b->image[HDR_SETUP_SECTS];

	return ((sects ? sects : 4) + 1) * (uint64_t)SECTOR;
}

static uint64_t body_size(const struct boot *b)
{
	return (uint64_t)get32(b->image + HDR_SYSSIZE) * 16;
}

static int check_header(struct boot *b)
{
	const uint8_t *h = b->image;
	const char *path = b->args->kernel;
	uint64_t want;

	if (b->image_size < HDR_END)
		return boot_fail(b, -ENOEXEC, "%s: -kernel: truncated in its boot header: copy it again", path);
	if (get16(h + HDR_VERSION) < HDR_VERSION_MIN)
		return boot_fail(
		    b, -ENOSYS,
		    "%s: -kernel: boot protocol %u.%02u is too old: give a kernel of Linux 3.8 or later (2.12)", path,
		    get16(h + HDR_VERSION) >> 8, get16(h + HDR_VERSION) & 0xff);
	want = setup_size(b) + body_size(b);
	if (!(h[HDR_LOADFLAGS] & LOADFLAGS_LOADED_HIGH) || body_size(b) <= ENTRY64)
		return boot_fail(b, -ENOEXEC, "%s: -kernel: its boot header contradicts itself: copy it again", path);
	if (b->image_size + 15 < want) // the header counts paragraphs
		return boot_fail(b, -ENOEXEC, "%s: -kernel: truncated: %zu bytes of %llu: copy it again", path,
				 b->image_size, (unsigned long long)want);
	return 0;
}

// Where the kernel goes: where it prefers, or as low as its alignment allows if RAM ends too early for that. *end is
// the end of what it needs until it has read the memory map.
static int place_kernel(struct boot *b, gpa_t *at, gpa_t *end)
{
	const uint8_t *h = b->image;
	uint64_t need = MAX(get32(h + HDR_INIT_SIZE), body_size(b));
	uint32_t align = get32(h + HDR_ALIGNMENT);
	gpa_t where = get64(h + HDR_PREF_ADDRESS);

	bool fits = where >= BOOT_KERNEL_MIN && where <= b->ram_end && need <= b->ram_end - where;

	if (!fits && h[HDR_RELOCATABLE] && align && !(align & (align - 1))) {
		where = align_up(BOOT_KERNEL_MIN, align);
		fits = where <= b->ram_end && need <= b->ram_end - where;
	}
	if (!fits)
		return boot_fail(b, -ENOSPC,
				 "%s: -kernel: needs %llu MiB from %llu MiB on, and RAM is %llu MiB: give more with -m",
				 b->args->kernel, (unsigned long long)(align_up(need, 1 << 20) >> 20),
				 (unsigned long long)(where >> 20), (unsigned long long)(b->cfg->mem.ram_size >> 20));
	*at = where;
	*end = where + need;
	return 0;
}

static void put_e820(uint8_t *zp, const struct e820 *e)
{
	zp[ZP_E820_COUNT] = e->count;
	for (unsigned i = 0; i < e->count; i++) {
		uint8_t *p = zp + ZP_E820 + i * E820_ENTRY_SIZE;

		put64(p, e->entry[i].addr);
		put64(p + 8, e->entry[i].size);
		put32(p + 16, e->entry[i].type);
	}
}

static void put_zero_page(struct boot *b, gpa_t initrd, uint64_t initrd_size)
{
	uint8_t *zp = boot_ram(b, BOOT_ZERO_PAGE, PAGE_SIZE);
	size_t end = MIN((size_t)HDR_MAGIC + b->image[HDR_JUMP_LEN], MIN(b->image_size, (size_t)ZP_E820));

	memset(zp, 0, PAGE_SIZE);
	memcpy(zp + HDR_SETUP_SECTS, b->image + HDR_SETUP_SECTS, MAX(end, (size_t)HDR_END) - HDR_SETUP_SECTS);
	put64(zp + ZP_ACPI_RSDP, BOOT_RSDP);
	zp[HDR_LOADER] = LOADER_UNDEFINED;
	put32(zp + HDR_CMDLINE, BOOT_CMDLINE);
	put32(zp + HDR_RAMDISK, initrd);
	put32(zp + HDR_RAMDISK_SIZE, initrd_size);
	put_e820(zp, &b->e820);
}

int bzimage_load(struct boot *b)
{
	gpa_t at = 0, end = 0, initrd = 0;
	uint64_t initrd_size;
	int ret = check_header(b);

	if (!ret)
		ret = place_kernel(b, &at, &end);
	if (!ret)
		ret = boot_put_cmdline(b, get32(b->image + HDR_CMDLINE_SIZE));
	if (!ret)
		ret = boot_load_initrd(b, end, (gpa_t)get32(b->image + HDR_INITRD_MAX) + 1, &initrd, &initrd_size);
	if (ret)
		return ret;
	memcpy(boot_ram(b, at, body_size(b)), b->image + setup_size(b),
	       MIN(body_size(b), b->image_size - setup_size(b)));
	put_zero_page(b, initrd, initrd_size);
	if (get16(b->image + HDR_XLOADFLAGS) & XLF_KERNEL_64)
		start_linux64(b, at + ENTRY64, BOOT_ZERO_PAGE);
	else
		start_linux32(b, at, BOOT_ZERO_PAGE);
	return 0;
}
