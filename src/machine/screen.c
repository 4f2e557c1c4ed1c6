// SPDX-License-Identifier: MIT
//
// A picture of what the guest shows, from the registers of its display and the frame buffer: text with the font that
// is in plane 2, the VGA's graphics modes, and the linear ones. The registers are the guest's and change meanwhile:
// they are copied first, and each number is bounded where it is used.
#include "machine/screen.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT = 0xb8000, TEXT_MONO = 0xb0000, TEXT_SIZE = 32 << 10, FONT_SIZE = 8 << 10, GLYPH = 32,
	PLANE_2 = 2 };
enum { CELL_HEIGHT = 0x1f, DOUBLE_LINES = BIT(7), EIGHT_DOTS = BIT(0), HALF_CLOCK = BIT(3), CURSOR_OFF = BIT(5),
	LINE_GRAPHICS = BIT(2) };

struct drawing {
	struct screen s;
	const struct mem *mem;
	const uint8_t *frame;
	struct picture *to;
};

static uint8_t *pixel(const struct drawing *d, unsigned x, unsigned y)
{
	return d->to->rgb + 3 * ((size_t)y * d->to->width + x);
}

static bool make(struct drawing *d, unsigned width, unsigned height)
{
	d->to->width = width;
	d->to->height = height;
	d->to->rgb = calloc((size_t)width * height, 3);
	return d->to->rgb;
}

// Six bits of colour to eight; the lowest is what is added.
static uint8_t widen_colour(unsigned c)
{
	return (uint8_t)((c & 0x3f) << 2 | (c & 1) * 3);
}

static void put_colour(const struct drawing *d, uint8_t *to, uint8_t index)
{
	const uint8_t *c = d->s.dac[index & d->s.dac_mask];

	for (unsigned i = 0; i < 3; i++)
		to[i] = d->s.vbe[VBE_ENABLE] & VBE_DAC_8 ? c[i] : widen_colour(c[i]);
}

// Which colour of the palette one of sixteen is.
static uint8_t of_sixteen(const struct drawing *d, unsigned n)
{
	const uint8_t *r = d->s.attribute.r;
	uint8_t c = r[n & 0xf], select = r[ATT_SELECT];

	if (r[ATT_MODE] & ATT_PALETTE_SELECT)
		return (c & 0xf) | (uint8_t)(select << 4);
	return (c & 0x3f) | (uint8_t)((select & 0xc) << 4);
}

static unsigned lines_shown(const struct screen *s)
{
	unsigned over = s->crtc.r[CRT_OVERFLOW];

	return (s->crtc.r[CRT_HEIGHT] | (over & BIT(1)) << 7 | (over & BIT(6)) << 3) + 1;
}

static unsigned start_address(const struct screen *s)
{
	return (unsigned)s->crtc.r[CRT_START] << 8 | s->crtc.r[CRT_START + 1];
}

// The four planes at an address. Behind the windows for text is plain RAM: two planes in turns, or one.
static void get_planes(const struct drawing *d, uint32_t at, uint8_t four[4])
{
	unsigned where = d->s.graphics.r[GFX_MISC] >> 2 & 3;
	bool turns = !(d->s.sequencer.r[SEQ_MEMORY] & SEQ_ODD_EVEN_OFF);
	const uint8_t *ram = mem_host(d->mem, (where == 2 ? TEXT_MONO : TEXT) + (turns ? 2 * at : at) % TEXT_SIZE, 2);

	memset(four, 0, 4);
	if (where < 2)
		memcpy(four, d->frame + at % (SCREEN_MEMORY / 4) * 4, 4);
	else if (ram)
		memcpy(four, ram, turns ? 2 : 1);
}

// -- text

struct text {
	unsigned columns, rows, dots, height, pitch, start, cursor;
	uint32_t font[2]; // in plane 2
};

static void measure(const struct screen *s, struct text *t)
{
	uint8_t maps = s->sequencer.r[SEQ_FONT];

	t->columns = s->crtc.r[CRT_WIDTH] + 1;
	t->dots = s->sequencer.r[1] & EIGHT_DOTS ? 8 : 9;
	t->height = (s->crtc.r[CRT_CELL_HEIGHT] & CELL_HEIGHT) + 1;
	t->rows = MAX(lines_shown(s) / t->height, 1);
	t->pitch = s->crtc.r[CRT_PITCH] * 2;
	t->start = start_address(s);
	t->cursor = (unsigned)s->crtc.r[CRT_CURSOR] << 8 | s->crtc.r[CRT_CURSOR + 1];
	t->font[0] = ((maps >> 4 & 1) | (maps << 1 & 6)) * FONT_SIZE;
	t->font[1] = ((maps >> 5 & 1) | (maps >> 1 & 6)) * FONT_SIZE;
}

static unsigned glyph_line(const struct drawing *d, const struct text *t, const uint8_t *cell, unsigned line)
{
	uint32_t at = t->font[cell[1] >> 3 & 1] + cell[0] * GLYPH + line;
	unsigned bits = (unsigned)d->frame[at * 4 + PLANE_2] << 1;
	bool joins = (cell[0] & 0xe0) == 0xc0 && d->s.attribute.r[ATT_MODE] & LINE_GRAPHICS;

	return bits | (joins ? bits >> 1 & 1 : 0);
}

static bool under_cursor(const struct screen *s, const struct text *t, unsigned n, unsigned line)
{
	unsigned from = s->crtc.r[CRT_CURSOR_START], to = s->crtc.r[CRT_CURSOR_END] & CELL_HEIGHT;

	return n == t->cursor && !(from & CURSOR_OFF) && line >= (from & CELL_HEIGHT) && line <= to;
}

static void draw_cell(const struct drawing *d, const struct text *t, unsigned column, unsigned row)
{
	unsigned n = t->start + row * t->pitch + column, bits;
	uint8_t cell[4], colour[2]; // character and attribute, and two planes more

	get_planes(d, n, cell);
	colour[0] = of_sixteen(d, cell[1] >> 4); // blinking or not: nothing moves in a picture
	colour[1] = of_sixteen(d, cell[1]);
	for (unsigned line = 0; line < t->height; line++) {
		uint8_t *to = pixel(d, column * t->dots, row * t->height + line);

		bits = under_cursor(&d->s, t, n, line) ? 0x1ff : glyph_line(d, t, cell, line);
		for (unsigned x = 0; x < t->dots; x++)
			put_colour(d, to + 3 * x, colour[bits >> (8 - x) & 1]);
	}
}

static bool draw_text(struct drawing *d)
{
	struct text t;

	measure(&d->s, &t);
	if (!make(d, t.columns * t.dots, t.rows * t.height))
		return false;
	for (unsigned row = 0; row < t.rows; row++)
		for (unsigned column = 0; column < t.columns; column++)
			draw_cell(d, &t, column, row);
	return true;
}

// -- graphics

static unsigned planar_bits(const struct drawing *d, const uint8_t four[4], unsigned x)
{
	unsigned colour = 0;

	for (unsigned plane = 0; plane < 4; plane++)
		colour |= (four[plane] >> (7 - x % 8) & 1u) << plane;
	return colour & d->s.attribute.r[ATT_PLANES];
}

// Two bits for each pixel, from two planes in turns, as CGA's modes have them.
static unsigned interleaved_bits(const uint8_t four[4], unsigned x)
{
	return four[x / 4 % 2] >> (6 - x % 4 * 2) & 3;
}

// The address of a line: CGA's rows lie in two banks, or four, that a bit of the line's number chooses.
static uint32_t line_address(const struct screen *s, unsigned start, unsigned pitch, unsigned line)
{
	unsigned repeat = (s->crtc.r[CRT_CELL_HEIGHT] & CELL_HEIGHT) + 1, row = line / repeat, sub = line % repeat;
	unsigned bank = 12 + (s->crtc.r[CRT_MODE] >> 6 & 1); // words or bytes
	uint32_t at = start + row * pitch;

	if (!(s->crtc.r[CRT_MODE] & BIT(0)))
		at = (at & ~(1u << bank)) | (sub & 1) << bank;
	if (!(s->crtc.r[CRT_MODE] & BIT(1)))
		at = (at & ~(1u << 13)) | (sub >> 1 & 1) << 13;
	return at;
}

static void draw_line(const struct drawing *d, unsigned y, uint32_t at, bool bytes, bool doubled)
{
	bool two = d->s.graphics.r[GFX_MODE] & GFX_SHIFT_INTERLEAVED;

	for (unsigned x = 0; x < d->to->width; x++) {
		unsigned from = doubled ? x / 2 : x;
		uint8_t four[4], colour;

		get_planes(d, at + from / (bytes ? 4 : 8), four);
		if (bytes)
			colour = four[from % 4];
		else
			colour = of_sixteen(d, two ? interleaved_bits(four, from) : planar_bits(d, four, from));
		put_colour(d, pixel(d, x, y), colour);
	}
}

static bool draw_graphics(struct drawing *d)
{
	const struct screen *s = &d->s;
	bool bytes = s->graphics.r[GFX_MODE] & GFX_SHIFT_256, doubled = bytes || s->sequencer.r[1] & HALF_CLOCK;
	unsigned repeats = s->crtc.r[CRT_CELL_HEIGHT] & DOUBLE_LINES ? 2 : 1, pitch = s->crtc.r[CRT_PITCH] * 2;
	unsigned width = (s->crtc.r[CRT_WIDTH] + 1) * 8 * (s->sequencer.r[1] & HALF_CLOCK && !bytes ? 2 : 1);

	if (!make(d, width, lines_shown(s)))
		return false;
	for (unsigned y = 0; y < d->to->height; y++)
		draw_line(d, y, line_address(s, start_address(s), pitch, y / repeats), bytes, doubled);
	return true;
}

// -- the linear frame buffer

static uint8_t widen(unsigned value, unsigned bits)
{
	return (uint8_t)(value << (8 - bits) | value >> (2 * bits - 8));
}

static void put_direct(const struct drawing *d, uint8_t *to, const uint8_t *from, unsigned bpp)
{
	unsigned word = from[0] | (unsigned)from[1] << 8, green = bpp == 15 ? 5 : 6;

	if (bpp >= 24) {
		to[0] = from[2];
		to[1] = from[1];
		to[2] = from[0];
		return;
	}
	to[0] = widen(word >> (5 + green) & 31, 5);
	to[1] = widen(word >> 5 & (BIT(green) - 1), green);
	to[2] = widen(word & 31, 5);
}

static void draw_linear_line(const struct drawing *d, unsigned y, const uint8_t *from, unsigned bpp)
{
	for (unsigned x = 0; x < d->to->width; x++)
		if (bpp == 8)
			put_colour(d, pixel(d, x, y), from[x]);
		else
			put_direct(d, pixel(d, x, y), from + (size_t)x * ((bpp + 7) / 8), bpp);
}

static bool draw_linear(struct drawing *d)
{
	const uint16_t *r = d->s.vbe;
	unsigned bpp = r[VBE_BPP], bytes = (bpp + 7) / 8, width = MIN(r[VBE_WIDTH], VBE_WIDTH_MAX);

	if (!make(d, MAX(width, 1u), MAX(MIN(r[VBE_HEIGHT], VBE_HEIGHT_MAX), 1)))
		return false;
	for (unsigned y = 0; y < d->to->height; y++) {
		uint64_t row = (uint64_t)(r[VBE_Y] + y) * vbe_pitch(&d->s) + (uint64_t)r[VBE_X] * bytes;

		if (bpp == 4)
			draw_line(d, y, (r[VBE_Y] + y) * (r[VBE_VIRTUAL_WIDTH] / 8u) + r[VBE_X] / 8u, false, false);
		else if (bytes <= 4 && row + (uint64_t)width * bytes + 1 <= SCREEN_MEMORY)
			draw_linear_line(d, y, d->frame + row, bpp);
	}
	return true;
}

bool screen_draw(struct picture *p, const struct screen *screen, const struct mem *mem)
{
	struct drawing d = {.mem = mem, .frame = (const uint8_t *)(ZONE_RAM + MEM_FRAME), .to = p};
	bool (*draw)(struct drawing *d);
	bool ok;

	memcpy(&d.s, screen, sizeof(d.s));
	if (d.s.vbe[VBE_ENABLE] & VBE_ENABLED)
		draw = draw_linear;
	else
		draw = d.s.graphics.r[GFX_MISC] & GFX_GRAPHICS ? draw_graphics : draw_text;
	ok = draw(&d);
	if (ok && !(d.s.attribute.index & ATT_SHOWN))
		memset(p->rgb, 0, (size_t)3 * p->width * p->height);
	return ok;
}
