// SPDX-License-Identifier: MIT
//
// Firmware into its ROM, or direct kernel boot: what firmware and a boot loader would have left behind, made by the app
// before the first guest instruction. boot_load recognises the kernel file, fills guest RAM (kernel, initrd, command
// line, page tables, GDT, memory map, ACPI tables) through mem_host, and writes the complete state of vCPU 0. Called by
// machine/ on a zeroed struct vcpu and zeroed RAM; reads host files and touches nothing else of the host. Kernels are
// hostile input: every offset and length in them is checked before use.
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include "boot/smbios.h"
#include "bus/shared.h"
#include "cpu/vcpu.h"

struct boot_args {
	const char *kernel; // path, or NULL with firmware
	const char *bios;   // firmware instead of a kernel: path, or NULL
	const char *initrd; // path or NULL
	const char *append; // command line or NULL
	const struct smbios_args *smbios;
};

// Load a: 0, or a negative errno with one line in err that names the file and says what to do about it.
// v0 must be zeroed; v0->index and the like are the caller's. v0->xsave gets the legacy area's FCW and MXCSR only: with
// XSTATE_BV zero, XRSTOR makes the rest initial. cfg->bios_state is what the kernel's format wants.
int boot_load(const struct boot_args *a, struct config *cfg, struct vcpu *v0, char *err, size_t errlen);

// How much ROM the firmware takes; 0 if there is none, or it cannot be read (boot_load says why).
uint64_t boot_firmware_size(const struct boot_args *a);

#endif
