// SPDX-License-Identifier: MIT
//
// PCI configuration mechanism #1 at 0xcf8 and the functions of bus 0 that have no host I/O; the reset control register
// 0xcf9 stands in the middle of it. See chip/pci_host.c.
#ifndef CHIP_PCI_HOST_H
#define CHIP_PCI_HOST_H

#include "bus/bus.h"

enum { PCI_FUNCTIONS_MAX = 64, PCI_CONFIG_SIZE = 256, PCI_HOST_BASE = 0xcf8, PCI_HOST_LEN = 8, PCI_BARS = 6 };
enum { PCI_COMMAND = 0x04, PCI_STATUS = 0x06, PCI_BAR0 = 0x10, PCI_CAPABILITIES = 0x34, PCI_INTERRUPT_LINE = 0x3c,
	PCI_DEVICE_SPECIFIC = 0x40 };
enum { PCI_COMMAND_IO = BIT(0), PCI_COMMAND_MEMORY = BIT(1), PCI_COMMAND_MASTER = BIT(2),
	PCI_COMMAND_INTX_OFF = BIT(10) };
enum { PCI_STATUS_INTERRUPT = BIT(3), PCI_STATUS_CAPABILITIES = BIT(4) };

enum { PCI_BAR_PREFETCHABLE = BIT(3) };

#define PCI_DEVFN(device, function) ((device) << 3 | (function))

// A base address register: where in the ports or in memory one of the function's ranges is decoded. Its size is a power
// of two, 0: absent. The guest moves it; what would overlap another device is not decoded.
struct pci_bar {
	enum bus_space space;
	uint32_t size;
	struct dev *dev;
	unsigned range;  // of dev
	uint32_t mapped; // where it is decoded now, 0: nowhere
};

struct pci_function {
	struct pci_host *host;
	struct pci_bar bar[PCI_BARS];
	uint8_t devfn;
	const struct pcie_port *port; // what leads to its bus; NULL: it is on bus 0
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE];  // bits that a write changes
	uint8_t clearable[PCI_CONFIG_SIZE]; // bits that writing 1 clears
	void (*written)(void *opaque, struct pci_function *f, unsigned off, unsigned size); // may be NULL
	void (*reading)(void *opaque, struct pci_function *f, unsigned off, unsigned size); // before a read; may be NULL
	void *opaque;
};

struct pci_host {
	struct dev dev;
	uint32_t address;
	uint8_t reset_control;
	struct pci_function *functions[PCI_FUNCTIONS_MAX];
	unsigned nfunctions;
	bool absent; // there is no PCI: nothing but the reset control register
	void (*reset)(void *opaque); // 0xcf9
	void *opaque;
};

extern const struct dev_class pci_host_class;

// The line (ISA number) that interrupt pin A of a device on bus 0 is wired to; pins B to D go on from there. The ACPI
// tables say the same (boot/dsdt.c).
unsigned pci_intx_line(uint8_t devfn);
unsigned pci_function_line(const struct pci_function *f); // ... of a function wherever it is

void pci_host_add(struct pci_host *c, struct pci_function *f);
void pci_host_remove(struct pci_host *c, struct pci_function *f); // nothing of it is decoded any more

// Fill in a function's identity and the writable bits of the standard header (type 0), all BARs absent.
struct pci_identity {
	uint8_t devfn;
	uint16_t vendor, device;
	uint8_t revision;
	uint32_t class_code; // 24 bits
	uint8_t header_type;
	uint8_t interrupt_pin;
	uint16_t subsystem_vendor, subsystem;
};
void pci_function_init(struct pci_function *f, const struct pci_identity *id);
// The same, with some registers as firmware leaves them; host, hooks and opaque are kept.
struct pci_preset {
	uint8_t off, size;
	uint32_t value;
};
void pci_function_preset(struct pci_function *f, const struct pci_identity *id, const struct pci_preset *p,
			 size_t count);
// Accesses of the guest's, whichever way they have come.
uint32_t pci_function_read(struct pci_function *f, unsigned off, unsigned size);
void pci_function_write(struct pci_function *f, unsigned off, unsigned size, uint32_t value);
struct pci_function *pci_host_find(const struct pci_host *c, unsigned bus, unsigned devfn); // or NULL
// Give it BAR n, after pci_function_init: range of d, at first at `at` (decoded once the command register says so).
void pci_function_bar(struct pci_function *f, unsigned n, const struct pci_bar *bar, uint32_t at);
void pci_function_place(struct pci_function *f); // decode what the command register and the BARs say now
void pci_function_unmap(struct pci_function *f); // decode nothing any more: before pci_function_init of a known one
void pci_set(struct pci_function *f, unsigned off, unsigned size, uint32_t value);
uint32_t pci_get(const struct pci_function *f, unsigned off, unsigned size);

#endif
