// SPDX-License-Identifier: MIT
//
// A VGA's four planes behind the window at 0xa0000 (IBM VGA's "Graphics Controller Registers"): a byte is written to
// the planes of the map mask, by one of four write modes, through latches that the last read has filled. In chained
// mode (mode 13h, and all of the display interface's but those of four bits) the window is a piece of the frame
// buffer as it is.
#include "chip/vga.h"

#include "base/string.h"

static uint32_t spread(uint8_t byte)
{
	return byte * 0x01010101u;
}

// Four bits to four bytes of ones or zeros.
static uint32_t planes(uint8_t bits)
{
	return ((bits & 1) | (bits & 2u) << 7 | (bits & 4u) << 14 | (bits & 8u) << 21) * 0xff;
}

static uint32_t *plane_word(struct vga *g, uint32_t off)
{
	return (uint32_t *)g->memory + off % (SCREEN_MEMORY / 4);
}

static uint32_t bank(const struct screen *s)
{
	return s->vbe[VBE_ENABLE] & VBE_ENABLED ? (uint32_t)s->vbe[VBE_BANK] << 16 : 0;
}

static bool chained(const struct screen *s)
{
	return s->sequencer.r[SEQ_MEMORY] & SEQ_CHAIN_4;
}

static bool odd_even(const struct screen *s)
{
	return !(s->sequencer.r[SEQ_MEMORY] & SEQ_ODD_EVEN_OFF);
}

static uint8_t compare(const struct screen *s, uint32_t latch)
{
	uint32_t differ = (latch ^ planes(s->graphics.r[GFX_COMPARE])) & planes(s->graphics.r[GFX_DONT_CARE]);

	return (uint8_t)~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

uint8_t vga_planes_read(struct vga *g, uint32_t off)
{
	const struct screen *s = g->screen;
	unsigned plane = s->graphics.r[GFX_READ_MAP] & 3;

	if (!g->memory)
		return 0xff;
	off += bank(s);
	if (chained(s))
		return g->memory[off % SCREEN_MEMORY];
	if (odd_even(s)) {
		plane = (plane & 2) | (off & 1);
		off >>= 1;
	}
	g->latch = *plane_word(g, off);
	if (s->graphics.r[GFX_MODE] & BIT(3))
		return compare(s, g->latch);
	return (uint8_t)(g->latch >> 8 * plane);
}

// What the function register says of a byte and the latches.
static uint32_t combine(const struct screen *s, uint32_t value, uint32_t latch)
{
	switch (s->graphics.r[GFX_FUNCTION] >> 3 & 3) {
	case 1: return value & latch;
	case 2: return value | latch;
	case 3: return value ^ latch;
	default: return value;
	}
}

static uint8_t rotate(const struct screen *s, uint8_t byte)
{
	unsigned n = s->graphics.r[GFX_FUNCTION] & 7;

	return (uint8_t)(byte >> n | byte << (8 - n));
}

// The double word that this byte makes of the latches.
static uint32_t write_value(const struct screen *s, uint8_t byte, uint32_t latch)
{
	uint32_t set = planes(s->graphics.r[GFX_SET]), enable = planes(s->graphics.r[GFX_ENABLE_SET]);
	uint32_t mask = spread(s->graphics.r[GFX_BIT_MASK]), value;

	switch (s->graphics.r[GFX_MODE] & 3) {
	case 0:
		value = combine(s, (spread(rotate(s, byte)) & ~enable) | (set & enable), latch);
		break;
	case 1:
		return latch;
	case 2:
		value = combine(s, planes(byte), latch);
		break;
	default:
		mask &= spread(rotate(s, byte));
		value = set;
		break;
	}
	return (value & mask) | (latch & ~mask);
}

void vga_planes_write(struct vga *g, uint32_t off, uint8_t byte)
{
	const struct screen *s = g->screen;
	uint8_t map = s->sequencer.r[SEQ_MAP_MASK] & 0xf;
	uint32_t *at;

	if (!g->memory)
		return;
	off += bank(s);
	if (chained(s)) {
		if (map & BIT(off & 3))
			g->memory[off % SCREEN_MEMORY] = byte;
		return;
	}
	if (odd_even(s)) {
		map &= off & 1 ? 0xa : 0x5;
		off >>= 1;
	}
	at = plane_word(g, off);
	*at = (write_value(s, byte, g->latch) & planes(map)) | (*at & ~planes(map));
}
