// SPDX-License-Identifier: MIT
//
// The drives on the SATA controllers, q35's own (controller 0 there) and those of -device: see machine/ahci.c.
#ifndef MACHINE_AHCI_H
#define MACHINE_AHCI_H

#include "dev/ahci.h"
#include "machine/ide.h"

struct ahci_config { // of one controller
	bool present;
	char id[64];
	int slot;                    // on the bus; -1: any
	struct ide_config drive[AHCI_PORTS];
};

// Opens the images, and gives each controller a place on the bus. 0, or a negative errno with a line in err.
int ahci_create(struct machine *m, char *err, size_t errlen);
void ahci_reset_all(struct machine *m);
void ahci_destroy(struct machine *m);

#endif
