// SPDX-License-Identifier: MIT
//
// The app's part of the PC board: the devices that need the host. The rest of the board (interrupt controllers, timers,
// UART registers, PCI host) is chip/board.c in the monitor.
#ifndef MACHINE_PC_H
#define MACHINE_PC_H

#include "boot/acpi_files.h"
#include "dev/debug_exit.h"
#include "dev/debugcon.h"
#include "dev/fdc.h"
#include "dev/fw_cfg.h"
#include "dev/i8042.h"
#include "dev/ahci.h"
#include "dev/ide.h"
#include "dev/pflash.h"
#include "dev/mc146818.h"
#include "dev/pc_testdev.h"
#include "io/stream.h"

struct machine;

enum { FW_CFG_ITEMS = 16 };
struct fw_cfg_item { // -fw_cfg
	char name[FW_CFG_NAME];
	void *data;
	uint32_t size;
};

struct pc_config {
	bool debug_exit;
	uint16_t debug_exit_base, debug_exit_size;
	struct stream_config debugcon; // STREAM_NONE: there is none
	uint16_t debugcon_base;
	uint32_t debugcon_readback;
	bool testdev, pci_testdev, watchdog, watchdog_mute;
	uint16_t boot_order, boot_once; // what a BIOS tries first, second, third: half bytes of CMOS; 0: not said
	unsigned items;
	struct fw_cfg_item item[FW_CFG_ITEMS];
};

struct pc {
	struct mc146818 rtc;
	struct i8042 i8042;
	struct ide ide;
	struct pflash pflash;
	struct ahci ahci[AHCI_CONTROLLERS];
	struct e1000 *e1000[E1000_CARDS]; // NULL: there is none
	pthread_mutex_t pci_lines; // of what follows
	uint32_t pci_line;         // INTA of the devices of bus 0, a bit each
	struct fdc fdc;
	struct i8237 dma;
	struct debug_exit debug_exit;
	struct debugcon debugcon;
	struct stream debugcon_to;
	struct fw_cfg fw_cfg;
	struct acpi_files *acpi; // for firmware, or NULL
	uint8_t *video_bios; // or NULL
	uint32_t video_bios_size;
	struct smbios *smbios;   // likewise
	struct pc_testdev testdev;
};

// Make the devices and put them on m->bus. 0, or a negative errno with a line in err.
int pc_create(struct machine *m, char *err, size_t errlen);
int pc_open(struct machine *m, char *err, size_t errlen); // its host ends
void pc_close(struct machine *m);
void pc_put_video_bios(struct machine *m); // for firmware; without any, its font for text
int pc_put_acpi(struct machine *m, char *err, size_t errlen); // the tables, for firmware
void pc_reset(struct machine *m); // all devices, as the reset line does

#endif
