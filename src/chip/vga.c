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
enum { RETRACE = BIT(0) | BIT(3), CRTC_PROTECT = BIT(7), COLOUR_MAX = 63 };

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

// The 64 colours of an EGA: two bits each of red, green, blue.
static void set_text_colours(struct screen *s)
{
	for (unsigned i = 0; i < 64; i++)
		for (unsigned part = 0; part < 3; part++)
			s->dac[i][part] = (i >> (2 - part) & 1) * 0x2a + (i >> (5 - part) & 1) * 0x15;
}

static void vga_reset(struct dev *d)
{
	struct vga *g = (struct vga *)d;
	struct screen *s;

	if (!g->screen)
		g->screen = &g->own;
	s = g->screen;
	*s = (struct screen){.misc = 0x67, .dac_mask = 0xff, .attribute.index = ATT_SHOWN};
	memcpy(s->crtc.r, text_crtc, sizeof(text_crtc));
	memcpy(s->sequencer.r, text_sequencer, sizeof(text_sequencer));
	memcpy(s->graphics.r, text_graphics, sizeof(text_graphics));
	memcpy(s->attribute.r, text_attributes, sizeof(text_attributes));
	set_text_colours(s);
	g->attribute_data = g->dac_reads = false;
	g->feature = g->status = g->dac_read = g->dac_write = g->dac_part = 0;
	vbe_reset(g);
}

// mask: the bits of the index that name the register.
static uint8_t bank_read(const struct vga_bank *b, unsigned n, uint8_t mask)
{
	unsigned i = b->index & mask;

	return i < n ? b->r[i] : 0;
}

static void bank_write(struct vga_bank *b, unsigned n, uint8_t mask, uint8_t value)
{
	unsigned i = b->index & mask;

	if (i < n)
		b->r[i] = value;
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
	uint8_t value = g->screen->dac[g->dac_read][g->dac_part];

	next_colour(g, &g->dac_read);
	return value;
}

uint8_t vga_port_read(struct vga *g, uint32_t port)
{
	const struct screen *s = g->screen;

	switch (port) {
	case ATTRIBUTE: return s->attribute.index;
	case ATTRIBUTE_READ: return bank_read(&s->attribute, VGA_ATTRIBUTES, 0x1f);
	case STATUS_0: return 0;
	case SEQUENCER: return s->sequencer.index;
	case SEQUENCER_DATA: return bank_read(&s->sequencer, VGA_SEQUENCER, 0xff);
	case DAC_MASK: return s->dac_mask;
	case DAC_STATE: return g->dac_reads ? 3 : 0;
	case DAC_WRITE_INDEX: return g->dac_write;
	case DAC_DATA: return read_colour(g);
	case FEATURE_READ: return g->feature;
	case MISC_READ: return s->misc;
	case GRAPHICS: return s->graphics.index;
	case GRAPHICS_DATA: return bank_read(&s->graphics, VGA_GRAPHICS, 0xff);
	case CRTC: return s->crtc.index;
	case CRTC_DATA: return bank_read(&s->crtc, VGA_CRTC, 0xff);
	case STATUS_1:
		g->attribute_data = false;
		g->status ^= RETRACE;
		return g->status;
	default: return 0xff;
	}
}

static void write_attribute(struct vga *g, uint8_t value)
{
	struct vga_bank *bank = &g->screen->attribute;

	if (g->attribute_data)
		bank_write(bank, VGA_ATTRIBUTES, 0x1f, value);
	else
		bank->index = value & 0x3f;
	g->attribute_data = !g->attribute_data;
}

static void write_colour(struct vga *g, uint8_t value)
{
	struct screen *s = g->screen;

	s->dac[g->dac_write][g->dac_part] = s->vbe[VBE_ENABLE] & VBE_DAC_8 ? value : value & COLOUR_MAX;
	next_colour(g, &g->dac_write);
}

static void select_colour(struct vga *g, uint8_t *index, uint8_t value, bool reads)
{
	*index = value;
	g->dac_part = 0;
	g->dac_reads = reads;
}

// The first eight registers may be protected, but for a bit that is none of ours.
static void write_crtc(struct screen *s, uint8_t value)
{
	if (s->crtc.index >= 8 || !(s->crtc.r[CRT_END_RETRACE] & CRTC_PROTECT))
		bank_write(&s->crtc, VGA_CRTC, 0xff, value);
}

void vga_port_write(struct vga *g, uint32_t port, uint8_t byte)
{
	struct screen *s = g->screen;

	switch (port) {
	case ATTRIBUTE: write_attribute(g, byte); break;
	case MISC_WRITE: s->misc = byte; break;
	case SEQUENCER: s->sequencer.index = byte & 7; break;
	case SEQUENCER_DATA: bank_write(&s->sequencer, VGA_SEQUENCER, 0xff, byte); break;
	case DAC_MASK: s->dac_mask = byte; break;
	case DAC_READ_INDEX: select_colour(g, &g->dac_read, byte, true); break;
	case DAC_WRITE_INDEX: select_colour(g, &g->dac_write, byte, false); break;
	case DAC_DATA: write_colour(g, byte); break;
	case GRAPHICS: s->graphics.index = byte & 0xf; break;
	case GRAPHICS_DATA: bank_write(&s->graphics, VGA_GRAPHICS, 0xff, byte); break;
	case CRTC: s->crtc.index = byte & 0x3f; break;
	case CRTC_DATA: write_crtc(s, byte); break;
	case FEATURE_WRITE: g->feature = byte; break;
	default: break;
	}
}

// -- who is meant

// The display interface's index is at an even port, its data at the next and the one after that.
static uint64_t vbe_port_read(struct vga *g, uint64_t off)
{
	return off ? vbe_read(g, g->vbe_index) : g->vbe_index;
}

static void vbe_port_write(struct vga *g, uint64_t off, uint16_t value)
{
	if (off)
		vbe_write(g, g->vbe_index, value);
	else
		g->vbe_index = value;
}

static uint64_t vga_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct vga *g = (struct vga *)d;
	uint64_t value = 0;

	if (range == VGA_RANGE_REGISTERS)
		return vbe_registers_read(g, (uint32_t)off, size);
	if (range == VGA_RANGE_VBE)
		return vbe_port_read(g, off);
	for (unsigned i = 0; i < size; i++) {
		uint32_t at = (uint32_t)off + i;
		uint64_t byte = range == VGA_RANGE_PORTS ? vga_port_read(g, at) : vga_planes_read(g, at);

		value |= byte << 8 * i;
	}
	return value;
}

static void vga_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct vga *g = (struct vga *)d;

	if (range == VGA_RANGE_REGISTERS)
		vbe_registers_write(g, (uint32_t)off, size, value);
	else if (range == VGA_RANGE_VBE)
		vbe_port_write(g, off, (uint16_t)value);
	else
		for (unsigned i = 0; i < size; i++, value >>= 8)
			(range == VGA_RANGE_PORTS ? vga_port_write : vga_planes_write)(g, (uint32_t)off + i, (uint8_t)value);
}

const struct dev_class vga_class = {"vga", sizeof(struct vga), 0, NULL, vga_reset, vga_read, vga_write};
