// SPDX-License-Identifier: MIT
//
// The monitor's half of the board: all chips without host I/O, wired up. The owner gives a bus with a clock and a set
// of callbacks; ports and MMIO that nobody here decodes are the app's. See chip/board.c for the tables.
#ifndef CHIP_BOARD_H
#define CHIP_BOARD_H

#include "bus/shared.h"
#include "chip/acpi_pm.h"
#include "chip/ahci.h"
#include "chip/e1000.h"
#include "chip/hpet.h"
#include "chip/i440fx.h"
#include "chip/i6300esb.h"
#include "chip/i8254.h"
#include "chip/i8259.h"
#include "chip/ioapic.h"
#include "chip/mmio_app.h"
#include "chip/null_port.h"
#include "chip/pci_app.h"
#include "chip/pci_host.h"
#include "chip/pcie_port.h"
#include "chip/piix_ide.h"
#include "chip/pci_hotplug.h"
#include "chip/pci_testdev.h"
#include "chip/q35.h"
#include "chip/uart16550.h"
#include "chip/vga.h"

// What the board asks of its owner. Each is called with opaque; each may be NULL.
struct board_host {
	void *opaque;
	void (*pic_intr)(void *opaque, bool level);     // the PIC's INTR: LINT0 of the local APIC, or the processor's pin
	void (*ioapic_deliver)(void *opaque, const struct ioapic_message *m);
	void (*power_off)(void *opaque);                // ACPI S5
	void (*reset)(void *opaque);                    // port 0xcf9
	void (*doorbell)(void *opaque);                 // the app should look at the serial rings
	void (*msi)(void *opaque, uint64_t address, uint32_t data);
	uint64_t (*pci_access)(void *opaque, bool write, uint64_t address, unsigned size, uint64_t value);
	uint64_t (*port_access)(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value); // the app's
	void (*pci_kick)(void *opaque, unsigned function); // a queue of the app's has been notified
	void (*screen_moved)(void *opaque, uint32_t at); // the frame buffer: where the guest has it, 0: nowhere
	struct ide_window *ide; // of both channels
	struct screen *screen;  // what is to be seen, and the frame buffer; NULL: nobody looks
	uint8_t *screen_memory;
	void (*ejected)(void *opaque, unsigned function);  // the guest has let it go
};

struct board {
	struct bus *bus;
	const struct config *config;
	struct board_host host;
	struct i8259 pic;
	struct i8254 pit;
	struct ioapic ioapic;
	struct uart16550 serial[SERIAL_PORTS];
	struct acpi_pm pm;
	struct pci_host pci;
	struct i440fx i440fx; // one of the two, or neither
	struct q35 q35;
	struct pci_app_hooks pci_hooks;
	struct pcie_port root_port[PCIE_PORTS];
	struct pci_app_function pci_app[PCI_APP_MAX];
	struct mmio_app mmio_app[PCI_APP_MAX];
	struct hpet hpet;
	struct null_port null_port;
	struct piix_ide ide;
	struct ahci_function ahci[AHCI_CONTROLLERS];
	struct e1000_function e1000[E1000_CARDS];
	struct vga vga;
	struct pci_testdev testdev;
	struct i6300esb watchdog;
	struct pci_hotplug hotplug;
	struct pci_app *apps; // of board_add_pci
	uint16_t gsi_sources[IOAPIC_PINS]; // who drives each line: enum board_source bits; the line is their OR
};

// Build the board on bus (bus_init done, now and opaque set). tx and rx: arrays of SERIAL_PORTS rings, or NULL.
// 0, or a negative errno if the tables do not fit (a bug).
int board_init(struct board *b, const struct config *config, struct bus *bus, const struct board_host *host,
	       struct ring *serial_tx, struct ring *serial_rx);

// As the reset line does; the bytes in the rings stay.
void board_reset(struct board *b);

// Drive line n as the app's devices: 0-15 are ISA IRQs (PIC input n and IO-APIC pin n; 0 is pin 2), 16-23 pins only.
void board_set_gsi(struct board *b, unsigned n, bool level);

// All of the app's lines at once: shared.irq_lines.
void board_set_app_lines(struct board *b, uint64_t lines);

// Functions whose device is in the app: those that are present in apps[PCI_APP_MAX], once, after board_init.
void board_add_pci(struct board *b, struct pci_app *apps);
// Those in the set have come; are to go, which the guest decides: then host.ejected is called.
void board_plug_pci(struct board *b, uint32_t functions);
void board_ask_eject(struct board *b, uint32_t functions);
// Those in the set have new interrupts: shared.pci_events.
void board_serve_pci(struct board *b, uint32_t functions);

// The power button, which the guest hears of through ACPI.
void board_press_power(struct board *b);

// The app has put bytes into a serial_rx ring or made room in a serial_tx ring (PENDING_LINES).
void board_poll_serial(struct board *b);

// The processor acknowledges the PIC's INTR: the vector.
uint8_t board_pic_ack(struct board *b);

// EOI broadcast of a local APIC for a level-triggered interrupt.
void board_eoi(struct board *b, uint8_t vector);

#endif
