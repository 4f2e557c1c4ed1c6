// SPDX-License-Identifier: MIT
//
// The ICH9's SATA controller: an AHCI host bus adapter with six ports, a disk or a CD-ROM on each (Serial ATA AHCI
// 1.3.1; Serial ATA 3.x, "Transport Layer"). ahci.c has its registers, ahci_command.c the command lists. Reads, writes
// and flushes of disks go to the image, several at a time (native command queuing), and end in whichever thread ends
// them; all other commands, and those of CD-ROMs, are the IDE drives' (dev/ide_disk.c, dev/ide_cdrom.c) and are carried
// out while the guest's access waits. What is under way always ends before a port is reset or stopped.
#ifndef DEV_AHCI_H
#define DEV_AHCI_H

#include <pthread.h>

#include "dev/ide.h"

enum { AHCI_PORTS = 6, AHCI_SLOTS = 32, AHCI_SIZE = 0x1000 };
// The registers, where the monitor passes them on: no port of the guest's.
enum { AHCI_AT = 0x30000 }; // ORDER AHCI: chip/ahci.h, AHCI_APP

enum ahci_interrupt { AHCI_REGISTER_FIS = BIT(0), AHCI_PIO_FIS = BIT(1), AHCI_BITS_FIS = BIT(3),
	AHCI_CONNECTED = BIT(6), AHCI_BUS_ERROR = BIT(29), AHCI_TASK_ERROR = BIT(30) };
enum ahci_cmd { AHCI_START = BIT(0), AHCI_SPIN_UP = BIT(1), AHCI_POWER_ON = BIT(2), AHCI_CLEAR_BUSY = BIT(3),
	AHCI_FIS_ON = BIT(4), AHCI_FIS_RUNS = BIT(14), AHCI_LIST_RUNS = BIT(15), AHCI_ATAPI = BIT(24) };

struct ahci_command { // what a slot has under way at the image
	struct block_request r; // first: the image gives it back
	struct ahci_port *port;
	uint8_t slot;
	bool queued;
	struct iovec *iov;
	unsigned room;
};

struct ahci_port {
	struct ide_channel channel; // whose drive 0 it is
	struct ahci *ahci;
	uint64_t list, received;    // in guest memory: command headers, received FISes
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci;
	uint32_t running;           // slots that are the image's
	bool busy;                  // one of these is no queued command: nothing else starts
	bool failed;                // nothing starts until the list is stopped
	bool draining;
	// the command at hand
	gpa_t header, table;
	unsigned prds;
	struct ahci_command command[AHCI_SLOTS];
};

struct ahci {
	struct dev dev;
	struct ahci_port port[AHCI_PORTS];
	uint32_t ghc, is;
	struct irq_line irq;
	struct ide ide;             // its mem, run, will_write, opaque: set by the owner
	struct block_request *(*submit)(struct block *b, struct block_request *list); // block_submit
	pthread_mutex_t lock;       // of all of this
	pthread_cond_t idle;        // a request has ended
};

extern const struct dev_class ahci_class;

void ahci_completed(void *port, struct block_request *list); // block.completed
void ahci_free(struct ahci *a);

// -- among its parts

void ahci_update(struct ahci *a);          // the interrupt line
void ahci_issue(struct ahci_port *p);      // start what is in the list
void ahci_send_signature(struct ahci_port *p);

#endif
