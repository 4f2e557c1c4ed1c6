// SPDX-License-Identifier: MIT
//
// Firmware (-bios): the file is the ROM that ends at 4 GiB; its last 128 KiB are also below 1 MiB, in RAM that the
// firmware may write (the board's shadow RAM, always switched on). The processor starts at the reset vector, so vCPU 0
// is left as it is, all zeros. A name without a path that is no file here is looked for where Debian installs firmware.
#include "boot/bytes.h"
#include "boot/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ROM_UNIT = 4 << 10, ROM_MAX = 8 << 20, LOW_ROM = 128 << 10, LOW_ROM_END = 1 << 20 };

static int open_rom(const struct boot_args *a, uint64_t *size)
{
	static const char *const places[] = {"%s", "/usr/share/seabios/%s", "/usr/share/qemu/%s",
		"/usr/share/ovmf/%s", "/usr/share/OVMF/%s"};
	unsigned n = strchr(a->bios, '/') ? 1 : ARRAY_SIZE(places);
	struct stat st;
	char path[512];
	int fd = -ENOENT;

	for (unsigned i = 0; i < n && fd < 0; i++) {
		snprintf(path, sizeof(path), places[i], a->bios);
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	}
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size % ROM_UNIT || st.st_size > ROM_MAX || !st.st_size) {
		close(fd);
		return -EINVAL;
	}
	*size = (uint64_t)st.st_size;
	return fd;
}

uint64_t boot_firmware_size(const struct boot_args *a)
{
	uint64_t size = 0;
	int fd = a->bios ? open_rom(a, &size) : -1;

	if (fd >= 0)
		close(fd);
	return size;
}

int firmware_load(struct boot *b)
{
	const char *path = b->args->bios;
	uint64_t size, room = mem_rom_size(&b->cfg->mem);
	int fd = open_rom(b->args, &size);
	uint8_t *rom = (uint8_t *)(ZONE_RAM + b->cfg->mem.rom_start);
	unsigned low;

	if (fd == -EINVAL)
		return boot_fail(b, fd, "%s: -bios: its size is not a multiple of 4 KiB, 8 MiB at most: give a ROM image",
				 path);
	if (fd < 0)
		return boot_fail(b, fd, "-bios: could not open '%s': %s: check the path", path, strerror(-fd));
	if (size != room || pread(fd, rom, size, 0) != (ssize_t)size) {
		close(fd);
		return boot_fail(b, -EIO, "%s: -bios: has changed while it was read: try again", path);
	}
	close(fd);
	low = (unsigned)MIN(size, (uint64_t)LOW_ROM);
	memcpy(boot_ram(b, LOW_ROM_END - low, low), rom + size - low, low);
	return 0;
}
