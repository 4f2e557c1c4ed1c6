// SPDX-License-Identifier: MIT
//
// boot_load: read the kernel file, recognise its format by its magic, or say what it is instead; then what all formats
// share: the command line, the initrd, the BIOS data area, the memory map and the ACPI tables.
#include "boot/acpi.h"
#include "boot/bytes.h"
#include "boot/elf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KERNEL_SIZE_MAX = 1 << 30, MULTIBOOT2_SEARCH = 32768 };

int boot_fail(struct boot *b, int error, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b->err, b->errlen, fmt, ap);
	va_end(ap);
	return error;
}

void *boot_ram(const struct boot *b, gpa_t gpa, uint64_t size)
{
	return mem_host(&b->cfg->mem, gpa, size);
}

const char *boot_cmdline(const struct boot *b)
{
	return b->args->append ? b->args->append : "";
}

int boot_put_cmdline(struct boot *b, size_t max)
{
	const char *s = boot_cmdline(b);
	size_t len = strlen(s);

	if (max >= BOOT_CMDLINE_MAX)
		max = BOOT_CMDLINE_MAX - 1;
	if (len > max)
		return boot_fail(b, -E2BIG, "-append: the command line has %zu characters, %s takes %zu: shorten it",
				 len, b->args->kernel, max);
	memcpy(boot_ram(b, BOOT_CMDLINE, len + 1), s, len + 1);
	return 0;
}

// Open a regular file and learn its size. Returns the descriptor or a negative errno, said in err.
static int open_file(struct boot *b, const char *option, const char *path, uint64_t *size)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), error = -errno;

	if (fd < 0)
		return boot_fail(b, error, "%s: could not open %s file '%s': %s: check the path", option,
				 option[1] == 'k' ? "kernel" : "initrd", path, strerror(-error));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return boot_fail(b, -EINVAL, "%s: %s wants a regular file: give one", path, option);
	}
	*size = st.st_size;
	return fd;
}

static int read_all(struct boot *b, int fd, const char *path, uint8_t *to, uint64_t size)
{
	for (uint64_t done = 0; done < size;) {
		ssize_t n = read(fd, to + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int error = n < 0 ? -errno : -EIO;

			return boot_fail(b, error, "%s: read failed after %llu bytes: %s", path,
					 (unsigned long long)done,
					 n < 0 ? strerror(-error) : "the file has become shorter; try again");
		}
		done += n;
	}
	return 0;
}

static int read_kernel(struct boot *b)
{
	const char *path = b->args->kernel;
	uint64_t size = 0;
	int fd = open_file(b, "-kernel", path, &size), ret;

	if (fd < 0)
		return fd;
	ret = 0;
	if (size == 0)
		ret = boot_fail(b, -ENOEXEC, "%s: -kernel: the file is empty: give a bzImage or a PVH ELF", path);
	else if (size > KERNEL_SIZE_MAX)
		ret = boot_fail(b, -EFBIG, "%s: -kernel: over 1 GiB is no kernel: give a bzImage or PVH ELF", path);
	if (!ret && !(b->image = malloc(size)))
		ret = boot_fail(b, -ENOMEM, "%s: no host memory to read %llu bytes", path, (unsigned long long)size);
	if (!ret)
		ret = read_all(b, fd, path, b->image, size);
	b->image_size = size;
	close(fd);
	return ret;
}

int boot_check_place(struct boot *b, uint64_t at, uint64_t size)
{
	bool high = at >= BOOT_KERNEL_MIN, low = at >= b->low_start && at < BOOT_EBDA;
	uint64_t end = high ? b->ram_end : BOOT_EBDA;

	if ((!high && !low) || at > end || size > end - at)
		return boot_fail(b, -ENOSPC,
				 "%s: -kernel: a segment at %#llx of %llu KiB does not fit in RAM: give more with -m, "
				 "or link it at 1 MiB",
				 b->args->kernel, (unsigned long long)at, (unsigned long long)(size >> 10));
	return 0;
}

int boot_load_file(struct boot *b, const char *path, gpa_t floor, gpa_t ceiling, bool low, gpa_t *at, uint64_t *size)
{
	int fd = open_file(b, "-initrd", path, size), ret;

	if (fd < 0)
		return fd;
	floor = align_up(floor, PAGE_SIZE);
	ceiling = align_down(MIN(ceiling, b->ram_end), PAGE_SIZE);
	if (*size == 0) {
		ret = boot_fail(b, -EINVAL, "%s: -initrd: the file is empty: give a cpio archive or an image", path);
	} else if (ceiling < floor || *size > ceiling - floor) {
		ret = boot_fail(
		    b, -ENOSPC,
		    "%s: -initrd: %llu MiB do not fit above the kernel in %llu MiB of RAM: give more with -m", path,
		    (unsigned long long)(*size >> 20), (unsigned long long)(b->cfg->mem.ram_size >> 20));
	} else {
		*at = low ? floor : align_down(ceiling - *size, PAGE_SIZE);
		ret = read_all(b, fd, path, boot_ram(b, *at, *size), *size);
	}
	close(fd);
	return ret;
}

int boot_load_initrd(struct boot *b, gpa_t floor, gpa_t ceiling, gpa_t *at, uint64_t *size)
{
	*at = *size = 0;
	return b->args->initrd ? boot_load_file(b, b->args->initrd, floor, ceiling, false, at, size) : 0;
}

// -- What it is instead ----------------------------------------------------------------------------------------------

struct foreign { // a file that is no kernel for this board, by magic
	uint32_t offset;
	const char *magic;
	uint8_t len;
	const char *what;
};

static const struct foreign foreigns[] = {
	{ 0x38, "ARM\x64", 4, "an arm64 kernel: give one for x86-64" },
	{ 0x30, "RISCV", 5, "a RISC-V kernel: give one for x86-64" },
	{ 0x24, "\x18\x28\x6f\x01", 4, "an ARM zImage: give a kernel for x86-64" },
	{ 0, "\x27\x05\x19\x56", 4, "a U-Boot image: give a bzImage or a PVH ELF" },
	{ 0, "\x1f\x8b", 2, "a gzip file: unpack it, or give the bzImage" },
	{ 0, "\xfd\x37zXZ", 5, "an xz file: unpack it, or give the bzImage" },
	{ 0, "\x28\xb5\x2f\xfd", 4, "a zstd file: unpack it, or give the bzImage" },
	{ 0, "BZh", 3, "a bzip2 file: unpack it, or give the bzImage" },
	{ 0, "!<arch>", 7, "an archive or Debian package: unpack it and give boot/vmlinuz-..." },
	{ 0, "070701", 6, "a cpio archive: it belongs to -initrd" },
	{ 0, "QFI\xfb", 4, "a qcow2 disk image: it is no kernel" },
	{ 0, "MZ", 2, "an EFI program without a Linux boot header: not built yet; give a bzImage or a PVH ELF" },
};

static bool is_multiboot2(const struct boot *b)
{
	for (size_t i = 0; i + 4 <= b->image_size && i + 4 <= MULTIBOOT2_SEARCH; i += 8)
		if (get32(b->image + i) == 0xe85250d6)
			return true;
	return false;
}

static int refuse_foreign(struct boot *b)
{
	const char *path = b->args->kernel;

	for (size_t i = 0; i < ARRAY_SIZE(foreigns); i++) {
		const struct foreign *f = &foreigns[i];

		if (b->image_size >= f->offset + f->len && !memcmp(b->image + f->offset, f->magic, f->len))
			return boot_fail(b, -ENOEXEC, "%s: -kernel: this is %s", path, f->what);
	}
	if (is_multiboot2(b))
		return boot_fail(b, -ENOSYS, "%s: -kernel: multiboot 2 is not built: give a multiboot 1 kernel", path);
	return boot_fail(b, -ENOEXEC,
			 "%s: -kernel: not a kernel that ringer knows: give a bzImage, a PVH ELF or a multiboot kernel",
			 path);
}

// -- All together ----------------------------------------------------------------------------------------------------

// What a kernel may look up in the BIOS data area: where the EBDA starts and how much conventional memory there is.
static void put_bios_data(struct boot *b)
{
	put16(boot_ram(b, 0x40e, 2), BOOT_EBDA >> 4);
	put16(boot_ram(b, 0x413, 2), BOOT_EBDA >> 10);
	put16(boot_ram(b, 0x400, 2), b->cfg->serial_present[0] ? 0x3f8 : 0);
}

static int put_acpi(struct boot *b)
{
	gpa_t base = b->cfg->mem.low_end - BOOT_ACPI_SIZE;
	struct acpi a = {.cfg = b->cfg, .base = base, .mem = boot_ram(b, base, BOOT_ACPI_SIZE), .size = BOOT_ACPI_SIZE};

	acpi_build(&a, boot_ram(b, BOOT_RSDP, ACPI_RSDP_SIZE));
	return a.overflow ? boot_fail(b, -ENOSPC, "ACPI tables outgrew their place: this is a bug in ringer") : 0;
}

static int put_smbios(struct boot *b)
{
	static const struct smbios_args plain;
	struct smbios *s = malloc(sizeof(*s));
	int ret = 0;

	if (!s || !smbios_build(s, b->args->smbios ? b->args->smbios : &plain, b->cfg, BOOT_SMBIOS_TABLE)) {
		ret = boot_fail(b, -ENOSPC, "-smbios: the strings do not fit into %d bytes: give fewer", SMBIOS_SIZE);
	} else {
		memcpy(boot_ram(b, BOOT_SMBIOS, sizeof(s->entry)), s->entry, sizeof(s->entry));
		memcpy(boot_ram(b, BOOT_SMBIOS + 0x20, sizeof(s->entry_64)), s->entry_64, sizeof(s->entry_64));
		memcpy(boot_ram(b, BOOT_SMBIOS_TABLE, s->size), s->table, s->size);
	}
	free(s);
	return ret;
}

static int load_format(struct boot *b)
{
	if (bzimage_probe(b))
		return bzimage_load(b);
	if (multiboot_probe(b))
		return multiboot_load(b);
	if (elf_probe(b))
		return pvh_load(b);
	return refuse_foreign(b);
}

int boot_load(const struct boot_args *a, struct config *cfg, struct vcpu *v0, char *err, size_t errlen)
{
	struct boot b = { .args = a, .cfg = cfg, .v = v0, .err = err, .errlen = errlen, .gdt = BOOT_GDT };
	int ret;

	if (cfg->mem.low_end < BOOT_RAM_MIN)
		return boot_fail(&b, -EINVAL, "-m: %llu KiB are too little to boot %s: give at least 4M",
				 (unsigned long long)(cfg->mem.ram_size >> 10), a->kernel ? a->kernel : a->bios);
	cfg->bios_state = false;
	if (a->bios)
		return firmware_load(&b);
	b.ram_end = cfg->mem.low_end - BOOT_ACPI_SIZE;
	b.low_start = BOOT_LOW_END;
	e820_build(&b.e820, &cfg->mem, cfg->board == BOARD_Q35);
	ret = read_kernel(&b);
	if (!ret)
		ret = load_format(&b);
	if (!ret) {
		cfg->bios_state = b.bios_state;
		put_bios_data(&b);
		if (b.bios_state)
			bios_put_vectors(&b);
		ret = put_acpi(&b);
		if (cfg->board != BOARD_MICROVM)
			mptable_build(cfg, BOOT_MPTABLE, boot_ram(&b, BOOT_MPTABLE, MPTABLE_SIZE));
	}
	if (!ret)
		ret = put_smbios(&b);
	free(b.image);
	return ret;
}
