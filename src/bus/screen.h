// SPDX-License-Identifier: MIT
//
// What a display shows, as both programs see it: part of struct shared. The monitor's VGA (chip/vga.c, chip/vbe.c)
// writes the registers; the app draws a picture from them and from the frame buffer when somebody asks for one
// (machine/screen.c). It does so without a lock: a picture taken in the midst of a change shows the midst of a change,
// and whatever it reads is bounded before use.
#ifndef BUS_SCREEN_H
#define BUS_SCREEN_H

#include "base/types.h"

enum { SCREEN_MEMORY = 16 << 20 }; // the frame buffer; four bytes of each double word are the VGA's planes 0 to 3
enum { VGA_CRTC = 25, VGA_SEQUENCER = 5, VGA_GRAPHICS = 9, VGA_ATTRIBUTES = 21, VGA_COLOURS = 256 };

struct vga_bank { // registers behind an index
	uint8_t index;
	uint8_t r[32];
};

enum vga_register { // those that others than the register file look at
	SEQ_MAP_MASK = 2, SEQ_FONT = 3, SEQ_MEMORY = 4,
	GFX_SET = 0, GFX_ENABLE_SET = 1, GFX_COMPARE = 2, GFX_FUNCTION = 3, GFX_READ_MAP = 4, GFX_MODE = 5, GFX_MISC = 6,
	GFX_DONT_CARE = 7, GFX_BIT_MASK = 8,
	CRT_WIDTH = 1, CRT_OVERFLOW = 7, CRT_CELL_HEIGHT = 9, CRT_CURSOR_START = 10, CRT_CURSOR_END = 11, CRT_START = 12,
	CRT_CURSOR = 14, CRT_END_RETRACE = 17, CRT_HEIGHT = 18, CRT_PITCH = 19, CRT_MODE = 23,
	ATT_MODE = 16, ATT_OVERSCAN = 17, ATT_PLANES = 18, ATT_SELECT = 20, ATT_SHOWN = 0x20 /* of the index */,
};
enum { SEQ_ODD_EVEN_OFF = BIT(2), SEQ_CHAIN_4 = BIT(3), GFX_GRAPHICS = BIT(0), GFX_SHIFT_256 = BIT(6),
	GFX_SHIFT_INTERLEAVED = BIT(5), ATT_PALETTE_SELECT = BIT(7) };

enum vbe_register { // of Bochs' display interface
	VBE_ID, VBE_WIDTH, VBE_HEIGHT, VBE_BPP, VBE_ENABLE, VBE_BANK, VBE_VIRTUAL_WIDTH, VBE_VIRTUAL_HEIGHT, VBE_X, VBE_Y,
	VBE_REGISTERS, VBE_MEMORY = VBE_REGISTERS,
};
enum { VBE_ENABLED = BIT(0), VBE_GET_LIMITS = BIT(1), VBE_DAC_8 = BIT(5), VBE_KEEP_MEMORY = BIT(7) };
enum { VBE_WIDTH_MAX = 4096, VBE_HEIGHT_MAX = 3072, VBE_BPP_MAX = 32 };

struct screen {
	struct vga_bank crtc, sequencer, graphics, attribute;
	uint8_t misc, dac_mask;
	uint8_t dac[VGA_COLOURS][3];
	uint16_t vbe[VBE_REGISTERS];
};

// Bytes of a line of the linear frame buffer.
static inline uint32_t vbe_pitch(const struct screen *s)
{
	return (uint32_t)s->vbe[VBE_VIRTUAL_WIDTH] * ((s->vbe[VBE_BPP] + 7u) / 8);
}

#endif
