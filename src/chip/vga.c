// SPDX-License-Identifier: MIT
//
// See chip/vga.h.
#include "chip/vga.h"

#include "base/string.h"

enum { // ports, from 0x3c0 on
	ATTRIBUTE = 0x0, ATTRIBUTE_READ = 0x1, MISC_WRITE = 0x2, STATUS_0 = 0x2, SEQUENCER = 0x4, SEQUENCER_DATA = 0x5,
	DAC_MASK = 0x6, DAC_READ_INDEX = 0x7, DAC_STATE = 0x7, DAC_WRITE_INDEX = 0x8, DAC_DATA = 0x9,
	FEATURE_READ = 0xa, MISC_READ = 0xc, GRAPHICS = 0xe, GRAPHICS_DATA = 0xf,
	CRTC = 0x14, CRTC_DATA = 0x15, STATUS_1 = 0x1a, FEATURE_WRITE = 0x1a,
};
enum { RETRACE = BIT(0) | BIT(3), CRTC_PROTECT = BIT(7), CRTC_END_RETRACE = 17, COLOUR_MAX = 63 };

// 80 by 25 characters, as firmware leaves it.
static const uint8_t text_crtc[VGA_CRTC] = {
	0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0x00, 0x4f, 0x0d, 0x0e, 0x00,
	0x00, 0x00, 0x00, 0x9c, 0x8e, 0x8f, 0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
};
static const uint8_t text_sequencer[VGA_SEQUENCER] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const uint8_t text_graphics[VGA_GRAPHICS] = {0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x0e, 0x0f, 0xff};
static const uint8_t text_attributes[VGA_ATTRIBUTES] = {
	0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14, 0x07, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f,
	0x0c, 0x00, 0x0f, 0x08, 0x00,
};

static void vga_reset(struct dev *d)
{
	struct vga *g = (struct vga *)d;
	struct dev dev = g->dev;

	*g = (struct vga){.dev = dev, .misc = 0x67, .dac_mask = 0xff};
	memcpy(g->crtc.r, text_crtc, sizeof(text_crtc));
	memcpy(g->sequencer.r, text_sequencer, sizeof(text_sequencer));
	memcpy(g->graphics.r, text_graphics, sizeof(text_graphics));
	memcpy(g->attribute.r, text_attributes, sizeof(text_attributes));
}

static uint8_t bank_read(const struct vga_bank *b, unsigned n)
{
	return b->index < n ? b->r[b->index] : 0;
}

static void bank_write(struct vga_bank *b, unsigned n, uint8_t value)
{
	if (b->index < n)
		b->r[b->index] = value;
}

static void next_colour(struct vga *g, uint8_t *index)
{
	if (++g->dac_part == 3) {
		g->dac_part = 0;
		++*index;
	}
}

static uint8_t read_colour(struct vga *g)
{
	uint8_t value = g->dac[g->dac_read][g->dac_part];

	next_colour(g, &g->dac_read);
	return value;
}

static uint64_t vga_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct vga *g = (struct vga *)d;

	switch (off) {
	case ATTRIBUTE: return g->attribute.index;
	case ATTRIBUTE_READ: return bank_read(&g->attribute, VGA_ATTRIBUTES);
	case STATUS_0: return 0;
	case SEQUENCER: return g->sequencer.index;
	case SEQUENCER_DATA: return bank_read(&g->sequencer, VGA_SEQUENCER);
	case DAC_MASK: return g->dac_mask;
	case DAC_STATE: return g->dac_reads ? 3 : 0;
	case DAC_WRITE_INDEX: return g->dac_write;
	case DAC_DATA: return read_colour(g);
	case FEATURE_READ: return g->feature;
	case MISC_READ: return g->misc;
	case GRAPHICS: return g->graphics.index;
	case GRAPHICS_DATA: return bank_read(&g->graphics, VGA_GRAPHICS);
	case CRTC: return g->crtc.index;
	case CRTC_DATA: return bank_read(&g->crtc, VGA_CRTC);
	case STATUS_1:
		g->attribute_data = false;
		g->status ^= RETRACE;
		return g->status;
	default: return 0xff;
	}
}

static void write_attribute(struct vga *g, uint8_t value)
{
	if (g->attribute_data)
		bank_write(&g->attribute, VGA_ATTRIBUTES, value);
	else
		g->attribute.index = value & 0x3f;
	g->attribute_data = !g->attribute_data;
}

static void write_colour(struct vga *g, uint8_t value)
{
	g->dac[g->dac_write][g->dac_part] = value & COLOUR_MAX;
	next_colour(g, &g->dac_write);
}

static void select_colour(struct vga *g, uint8_t *index, uint8_t value, bool reads)
{
	*index = value;
	g->dac_part = 0;
	g->dac_reads = reads;
}

// The first eight registers may be protected, but for a bit that is none of ours.
static void write_crtc(struct vga *g, uint8_t value)
{
	if (g->crtc.index >= 8 || !(g->crtc.r[CRTC_END_RETRACE] & CRTC_PROTECT))
		bank_write(&g->crtc, VGA_CRTC, value);
}

static void vga_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *g = (struct vga *)d;
	uint8_t byte = (uint8_t)value;

	switch (off) {
	case ATTRIBUTE: write_attribute(g, byte); break;
	case MISC_WRITE: g->misc = byte; break;
	case SEQUENCER: g->sequencer.index = byte & 7; break;
	case SEQUENCER_DATA: bank_write(&g->sequencer, VGA_SEQUENCER, byte); break;
	case DAC_MASK: g->dac_mask = byte; break;
	case DAC_READ_INDEX: select_colour(g, &g->dac_read, byte, true); break;
	case DAC_WRITE_INDEX: select_colour(g, &g->dac_write, byte, false); break;
	case DAC_DATA: write_colour(g, byte); break;
	case GRAPHICS: g->graphics.index = byte & 0xf; break;
	case GRAPHICS_DATA: bank_write(&g->graphics, VGA_GRAPHICS, byte); break;
	case CRTC: g->crtc.index = byte & 0x3f; break;
	case CRTC_DATA: write_crtc(g, byte); break;
	case FEATURE_WRITE: g->feature = byte; break;
	default: break;
	}
}

const struct dev_class vga_class = {"vga", sizeof(struct vga), 1, NULL, vga_reset, vga_read, vga_write};
