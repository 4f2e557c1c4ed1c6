// SPDX-License-Identifier: MIT
//
// A second opinion on the kernel loader: run boot_load, and write what it made as guest RAM (one file) and a 64 KiB ROM
// whose reset code (image.asm) brings a processor into the state of vCPU 0. tests/boot/image.sh runs both under QEMU.
//   image RAM.bin ROM.bin STUB.bin MIB KERNEL INITRD APPEND
#include "boot/boot.h"
#include "boot/load.h"
#include "mem/zone.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { ROM_SIZE = 65536, ROM_PARAMS = 0x80 };

_Noreturn void base_panic(const char *file, int line, const char *what);
_Noreturn void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static int put_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	return !f || fwrite(data, 1, size, f) != size || fclose(f);
}

int main(int argc, char **argv)
{
	static struct config cfg;
	static struct vcpu v;
	static uint8_t rom[ROM_SIZE];
	char err[512];

	if (argc != 8)
		return 1;
	struct boot_args a = { .kernel = argv[5], .initrd = argv[6], .append = argv[7] };
	FILE *stub = fopen(argv[3], "rb");

	mem_layout(&cfg.mem, strtoull(argv[4], NULL, 10) << 20);
	if (!stub || fread(rom, 1, ROM_SIZE, stub) != ROM_SIZE ||
	    mmap((void *)ZONE_RAM, cfg.mem.low_end, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0) == MAP_FAILED)
		return 1;
	fclose(stub);
	cfg.vcpus = 1;
	cfg.pit = cfg.pic = cfg.hpet = cfg.rtc = cfg.i8042 = cfg.serial_present[0] = true;
	if (boot_load(&a, &cfg, &v, err, sizeof(err)) < 0) {
		fprintf(stderr, "%s\n", err);
		return 1;
	}
	uint64_t params[] = { v.cr0, v.cr3, v.cr4, v.efer, v.rip, v.gpr[X86_RSI], v.gpr[X86_RBX], v.gpr[X86_RSP] };

	memcpy(rom, mem_host(&cfg.mem, BOOT_RSDP, 36), 36);
	memcpy(rom + ROM_PARAMS, params, sizeof(params));
	return put_file(argv[1], mem_host(&cfg.mem, 0, cfg.mem.low_end), cfg.mem.low_end) ||
	       put_file(argv[2], rom, ROM_SIZE);
}
