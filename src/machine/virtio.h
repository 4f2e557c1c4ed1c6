// SPDX-License-Identifier: MIT
//
// The machine's virtio devices: made from the command line's list, each on a PCI slot. See
// machine/virtio.c.
#ifndef MACHINE_VIRTIO_H
#define MACHINE_VIRTIO_H

#include "p9/p9.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/pci.h"
#include "virtio/scsi.h"

struct machine;

enum virtio_kind { VIRTIO_BALLOON, VIRTIO_BLK, VIRTIO_CONSOLE, VIRTIO_FOLDER, VIRTIO_NET, VIRTIO_RNG,
	VIRTIO_SCSI };

enum { SLOT_ANY = -1 };

enum virtio_place { VIRTIO_PLACE_ANY, VIRTIO_PLACE_PCI, VIRTIO_PLACE_MMIO }; // what its name on the command line says

struct virtio_config { // one -device
	enum virtio_kind kind;
	bool gone; // it has been taken away: the place is free
	char id[64];
	enum virtio_place place;
	int slot; // addr=, or SLOT_ANY
	char bus[64];     // bus=, if that is no board's
	unsigned port;    // ... the root port that it names, + 1; 0: it is on the board's bus
	uint64_t features_on, features_off; // packed=on and its kin
	unsigned vectors;   // vectors=: MSI-X messages at most
	struct virtio_balloon_config balloon; // VIRTIO_BALLOON
	// VIRTIO_BLK
	struct block_config image;
	struct virtio_blk_config blk;
	struct virtio_scsi_config scsi; // VIRTIO_SCSI
	char tag[P9_TAG_MAX + 1], fsdev[64]; // VIRTIO_FOLDER: mount_tag=, fsdev=
	int folder;    // ... index in machine_config.folder
	unsigned ports; // VIRTIO_CONSOLE: max_ports=, or how many it needs
	unsigned card; // VIRTIO_NET: index in machine_config.nic
};

struct virtio_bus {
	struct virtio_pci pci[PCI_APP_MAX]; // without a device: it has gone
	const struct virtio_config *config[PCI_APP_MAX]; // of each
	uint64_t asked[PCI_APP_MAX]; // when the guest was last asked to let it go
	unsigned count;
	struct doorbell *doorbell; // machine/doorbell.c
};

int virtio_bus_create(struct machine *m, char *err, size_t errlen); // 0, or a negative errno with a line in err
void virtio_bus_destroy(struct machine *m);
void virtio_bus_reset(struct machine *m); // nothing touches guest memory after this until the guest starts a device
// A device for a machine that runs; ask the guest to let one go, by id; take away those that it has let go.
int virtio_bus_plug(struct machine *m, const struct virtio_config *c, char *err, size_t errlen);
int virtio_bus_unplug(struct machine *m, const char *id, char *err, size_t errlen);
void virtio_bus_tell(struct machine *m); // operators: which ports the guest has opened, how large its balloon is
// A console port's character device, and whether the guest has it open. NULL: it is gone.
const struct chardev *virtio_bus_port(struct machine *m, unsigned i, bool *open);
void virtio_bus_ejected(struct machine *m);
int virtio_bus_open(struct machine *m, char *err, size_t errlen); // consoles' host ends: when all else stands
void virtio_bus_drain(struct machine *m, int until_fd); // what the guest has sent to consoles goes out

// A request of the monitor: REQ_PCI_READ, REQ_PCI_WRITE.
uint64_t virtio_bus_access(struct machine *m, bool write, uint64_t address, unsigned size, uint64_t value);

#endif
