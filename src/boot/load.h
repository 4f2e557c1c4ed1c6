// SPDX-License-Identifier: MIT
//
// Within boot/: one loading in progress, and the places in guest memory that loading uses. Below 640 KiB stand the
// tables that a kernel replaces early; ACPI tables take the top of RAM below 4 GiB; everything between is the kernel's.
//
//   0x00001000  GDT                      0x00003000  PVH start info, modules, memory map
//   0x00002000  zero page (boot_params)  0x00009000  page tables: PML4, PDPT, four PDs
//   0x00020000  command line             0x000f0000  RSDP; 0xf0100 bios_stubs.c, 0xf1000 MP table, 0xf2000 SMBIOS
#ifndef BOOT_LOAD_H
#define BOOT_LOAD_H

#include "boot/boot.h"
#include "boot/e820.h"

enum boot_place {
	BOOT_GDT = 0x1000,
	BOOT_ZERO_PAGE = 0x2000,
	BOOT_PVH_INFO = 0x3000,
	BOOT_STACK_TOP = 0x8000,
	BOOT_PAGE_TABLES = 0x9000,
	BOOT_CMDLINE = 0x20000,
	BOOT_CMDLINE_MAX = 0x10000,
	BOOT_LOW_END = 0x30000, // nothing of the loader's stands above it and below the RSDP
	BOOT_EBDA = 0x9fc00,
	BOOT_RSDP = 0xf0000,
	BOOT_MPTABLE = 0xf1000,
	BOOT_SMBIOS = 0xf2000, // its entry points, then the table
	BOOT_SMBIOS_TABLE = BOOT_SMBIOS + 0x100,
	BOOT_KERNEL_MIN = 0x100000,
	BOOT_ACPI_SIZE = 0x10000, // at the end of low RAM; its last page is the FACS, which the guest may write
	BOOT_RAM_MIN = 4 << 20,
};

struct boot {
	const struct boot_args *args;
	const struct config *cfg;
	struct vcpu *v;
	char *err;
	size_t errlen;
	uint8_t *image; // the kernel file, whole
	size_t image_size;
	gpa_t ram_end;  // end of low RAM that the kernel and the initrd may use
	gpa_t low_start; // where a kernel may begin below 640 KiB
	gpa_t kernel_end; // of its highest part
	gpa_t gdt;        // where start.c puts it
	struct e820 e820;
	bool bios_state; // the kernel may expect what a BIOS leaves: bios_stubs.c, board_firmware_setup
};

// Write one line to err; returns error, so that callers can `return boot_fail(...)`.
int boot_fail(struct boot *b, int error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

// Guest RAM at gpa, or NULL where [gpa, gpa+size) is not RAM.
void *boot_ram(const struct boot *b, gpa_t gpa, uint64_t size);

// The command line as a C string, never NULL; and copy it to BOOT_CMDLINE, refusing more than max characters.
const char *boot_cmdline(const struct boot *b);
int boot_put_cmdline(struct boot *b, size_t max);

// Load the initrd, if one was given, as high as possible in [floor, ceiling), on a page boundary.
int boot_load_initrd(struct boot *b, gpa_t floor, gpa_t ceiling, gpa_t *at, uint64_t *size);

// Refuse a part of the kernel that does not lie in RAM that is free for it.
int boot_check_place(struct boot *b, uint64_t at, uint64_t size);

// Load a file of -initrd as high as possible, or as low, in [floor, ceiling).
int boot_load_file(struct boot *b, const char *path, gpa_t floor, gpa_t ceiling, bool low, gpa_t *at, uint64_t *size);

// The three formats. Each is called only if the file's magic says so.
bool bzimage_probe(const struct boot *b);
int bzimage_load(struct boot *b);
bool multiboot_probe(const struct boot *b);
int multiboot_load(struct boot *b);
int firmware_load(struct boot *b);
int pvh_load(struct boot *b); // an ELF file: elf_probe

// The real-mode interrupt table and its handlers (bios_stubs.c).
void bios_put_vectors(struct boot *b);

// The state of vCPU 0 at the kernel's first instruction (start.c).
void start_linux64(struct boot *b, gpa_t entry, gpa_t zero_page);
void start_linux32(struct boot *b, gpa_t entry, gpa_t zero_page);
void start_pvh(struct boot *b, gpa_t entry, gpa_t start_info);
void start_multiboot(struct boot *b, gpa_t entry, gpa_t info);

#endif
