// SPDX-License-Identifier: MIT
//
// The display, QEMU's "standard VGA": the registers of a VGA (IBM VGA's, as clones have kept them: chip/vga.c), its
// planes behind the window at 0xa0000 (chip/vga_planes.c), and Bochs' display interface with a linear frame buffer, as
// a PCI function (chip/vbe.c). What is to be seen is in struct screen, for the app to draw. The frame buffer is
// memory that the guest reaches without us (mem/mem.h); text at 0xb8000 is plain RAM.
#ifndef CHIP_VGA_H
#define CHIP_VGA_H

#include "bus/bus.h"
#include "bus/screen.h"
#include "chip/pci_host.h"

enum { VGA_PORTS = 0x3c0, VGA_PORTS_LEN = 32, VGA_WINDOW = 0xa0000, VGA_WINDOW_LEN = 64 << 10, VBE_PORTS = 0x1ce,
	VBE_PORTS_LEN = 4 };
enum vga_range { VGA_RANGE_PORTS, VGA_RANGE_WINDOW, VGA_RANGE_VBE, VGA_RANGE_MEMORY, VGA_RANGE_REGISTERS };

struct vga {
	struct dev dev;
	struct pci_function pci;
	bool attribute_data;     // the next write to 0x3c0 is data, not an index
	uint8_t feature, status;
	uint8_t dac_read, dac_write, dac_part; // colours, and which of red, green, blue is next
	bool dac_reads;
	uint32_t latch;          // of the four planes
	uint16_t vbe_index;
	struct screen own;

	// by the owner
	struct screen *screen;   // NULL: own
	uint8_t *memory;         // SCREEN_MEMORY bytes; NULL: there is none
	void (*moved)(void *opaque, uint32_t at); // where the guest has the frame buffer now, 0: nowhere
	void *opaque;
};

extern const struct dev_class vga_class;

void vga_add(struct vga *g, struct pci_host *host, bool q35); // the PCI function
uint8_t vga_port_read(struct vga *g, uint32_t port);
void vga_port_write(struct vga *g, uint32_t port, uint8_t byte);

// vga_planes.c
uint8_t vga_planes_read(struct vga *g, uint32_t off);
void vga_planes_write(struct vga *g, uint32_t off, uint8_t byte);

// vbe.c
uint16_t vbe_read(const struct vga *g, unsigned n);
void vbe_write(struct vga *g, unsigned n, uint16_t value);
void vbe_reset(struct vga *g); // the PCI function too
uint64_t vbe_registers_read(struct vga *g, uint32_t off, unsigned size);
void vbe_registers_write(struct vga *g, uint32_t off, unsigned size, uint64_t value);

#endif
