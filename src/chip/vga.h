// SPDX-License-Identifier: MIT
//
// The registers of a VGA (IBM VGA's, as clones have kept them), so that software which drives a text screen without
// asking finds one: they keep what is written, and the retrace bits move. Nothing is shown. The window at 0xa0000 is
// plain RAM, which is all that text mode needs of it.
#ifndef CHIP_VGA_H
#define CHIP_VGA_H

#include "bus/bus.h"

enum { VGA_PORTS = 0x3c0, VGA_PORTS_LEN = 32 };
enum { VGA_CRTC = 25, VGA_SEQUENCER = 5, VGA_GRAPHICS = 9, VGA_ATTRIBUTES = 21, VGA_COLOURS = 256 };

struct vga_bank { // registers behind an index
	uint8_t index;
	uint8_t r[32];
};

struct vga {
	struct dev dev;
	struct vga_bank crtc, sequencer, graphics, attribute;
	bool attribute_data;     // the next write to 0x3c0 is data, not an index
	uint8_t misc, feature, dac_mask, status;
	uint8_t dac_read, dac_write, dac_part; // colours, and which of red, green, blue is next
	bool dac_reads;
	uint8_t dac[VGA_COLOURS][3];
};

extern const struct dev_class vga_class;

#endif
