// SPDX-License-Identifier: MIT
//
// PCI functions whose device is in the app, as both programs see them: part of struct shared. The app fills in what a
// function is, before the monitor starts; from then on the monitor answers for its configuration space, its MSI-X
// table, its ISR byte and its doorbells, so that accesses that move no data stay in the monitor, and only the
// device's own registers are world switches. All of a function's registers are in one memory window (BAR 0) with a
// fixed layout. What one side tells the other is a bit in a word: nobody waits.
//   kicks    monitor to app: queue n has been notified. Then bell + 1, and a wake-up if the function's thread sleeps.
//   vectors  app to monitor: MSI-X message n is wanted. Stays set while it is masked: it is the pending bit array.
//   isr      app to monitor: the ISR byte; without MSI-X the function's INTx line is high while it is not 0.
//            After either the bit in pci_events, PENDING_LINES, a wake-up of the vCPU if it sleeps.
#ifndef BUS_PCI_APP_H
#define BUS_PCI_APP_H

#include "base/types.h"

enum { PCIE_PORTS = 24, PCI_APP_MAX = 24, PCI_APP_VECTORS = 64, PCI_APP_QUEUES = 64, PCI_APP_CONFIG = 256 };

enum pci_app_window { // offsets in BAR 0
	PCI_APP_COMMON = 0x0000, PCI_APP_ISR = 0x1000, PCI_APP_DEVICE = 0x2000, PCI_APP_NOTIFY = 0x3000,
	PCI_APP_MSIX = 0x4000, PCI_APP_PBA = 0x5000, PCI_APP_WINDOW = 0x8000,
	PCI_APP_REGION = 0x1000,     // size of each
	PCI_APP_NOTIFY_STRIDE = 4,   // a doorbell's distance from the next
};

// Where other things of these devices are: configuration space in memory (q35), and virtio-mmio devices, one after the
// other, which share a few lines of the I/O APIC (microvm).
#define PCI_ECAM_BASE UINT32_C(0xe0000000)
// Where firmware for q35 puts it.
#define PCI_ECAM_FIRMWARE UINT32_C(0xb0000000)
#define PCI_ECAM_SIZE UINT32_C(0x10000000)
#define VIRTIO_MMIO_BASE UINT32_C(0xfeb00000)
enum { VIRTIO_MMIO_SIZE = 0x200, VIRTIO_MMIO_GSI = 16, VIRTIO_MMIO_GSIS = 8 };

struct pci_app {
	// -- constant while the machine runs
	bool present;
	uint32_t mmio;               // a virtio-mmio device at this address, and no PCI function; 0: it is one
	uint8_t gsi;                 // ... its line
	uint8_t devfn;
	uint8_t port;                // the root port behind which it is, + 1; 0: it is on bus 0
	uint8_t revision;
	uint32_t class_code;         // 24 bits
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t capabilities;        // offset of the first, 0: none
	uint8_t msix;                // offset of the MSI-X capability, 0: none
	uint8_t window_access;       // offset of a capability through which configuration space reaches the window, 0: none
	uint16_t vectors_count;
	uint8_t config[PCI_APP_CONFIG];   // from 0x40: the capabilities
	uint8_t writable[PCI_APP_CONFIG];
	char name[16];               // for logs and statistics

	// -- while it runs
	_Atomic uint64_t kicks;
	_Atomic uint32_t bell;       // futex word
	_Atomic uint32_t asleep;     // the app's thread for this function waits on it
	_Atomic uint64_t vectors;
	_Atomic uint32_t isr;

	// -- counted by the monitor, for --stats
	uint64_t stat_switches;      // accesses that were world switches
	uint64_t stat_local;         // accesses that were not
	uint64_t stat_kicks;
	uint64_t stat_interrupts;
};

struct pcie_port_place { // a root port, and what the board says of its slot
	bool present, multifunction;
	uint8_t devfn, chassis;
	uint16_t slot;
	uint8_t number; // of the link
};

// The request's address for an access to the app's part of a window: REQ_PCI_READ, REQ_PCI_WRITE.
static inline uint64_t pci_app_address(unsigned function, uint32_t off)
{
	return (uint64_t)function << 32 | off;
}

#endif
