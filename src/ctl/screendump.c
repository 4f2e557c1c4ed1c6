// SPDX-License-Identifier: MIT
//
// A picture of the guest's screen into a file: PPM ("P6"), or PNG without compression (RFC 2083; its data are stored
// blocks of RFC 1951).
#include "ctl/screendump.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "machine/screen.h"

enum { BLOCK_MAX = 65535 };

struct png {
	FILE *f;
	uint32_t crc, a, b; // of the chunk; Adler's two sums
	uint64_t left;      // bytes of the block
	uint64_t all;
};

static void png_bytes(struct png *p, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	fwrite(bytes, 1, n, p->f);
	for (size_t i = 0; i < n; i++) {
		p->crc ^= at[i];
		for (unsigned bit = 0; bit < 8; bit++)
			p->crc = p->crc >> 1 ^ (p->crc & 1 ? 0xedb88320 : 0);
	}
}

static void png_be(struct png *p, uint32_t value)
{
	const uint8_t bytes[4] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};

	png_bytes(p, bytes, 4);
}

static void png_open(struct png *p, const char *type, uint32_t size)
{
	png_be(p, size);
	p->crc = ~0u;
	png_bytes(p, type, 4);
}

static void png_close(struct png *p)
{
	png_be(p, ~p->crc);
}

// Data of the picture, each block with its header; the last one is marked.
static void png_data(struct png *p, const uint8_t *at, size_t n)
{
	while (n) {
		size_t part;

		if (!p->left) {
			uint16_t size = (uint16_t)MIN(p->all, BLOCK_MAX);
			const uint8_t head[5] = {p->all <= BLOCK_MAX, (uint8_t)size, (uint8_t)(size >> 8), (uint8_t)~size,
						 (uint8_t)(~size >> 8)};

			png_bytes(p, head, sizeof(head));
			p->left = size;
		}
		part = MIN(n, p->left);
		png_bytes(p, at, part);
		for (size_t i = 0; i < part; i++) {
			p->a = (p->a + at[i]) % 65521;
			p->b = (p->b + p->a) % 65521;
		}
		p->left -= part;
		p->all -= part;
		at += part;
		n -= part;
	}
}

static void write_png(FILE *f, const struct picture *pic)
{
	static const uint8_t signature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, kind[] = {8, 2, 0, 0, 0};
	static const uint8_t zlib[] = {0x78, 0x01}, no_filter = 0;
	size_t line = (size_t)3 * pic->width;
	uint64_t all = (uint64_t)pic->height * (line + 1);
	struct png p = {.f = f, .a = 1, .all = all};

	fwrite(signature, 1, sizeof(signature), f);
	png_open(&p, "IHDR", 13);
	png_be(&p, pic->width);
	png_be(&p, pic->height);
	png_bytes(&p, kind, sizeof(kind));
	png_close(&p);
	png_open(&p, "IDAT", (uint32_t)(sizeof(zlib) + all + (all + BLOCK_MAX - 1) / BLOCK_MAX * 5 + 4));
	png_bytes(&p, zlib, sizeof(zlib));
	for (unsigned y = 0; y < pic->height; y++) {
		png_data(&p, &no_filter, 1);
		png_data(&p, pic->rgb + y * line, line);
	}
	png_be(&p, p.b << 16 | p.a);
	png_close(&p);
	png_open(&p, "IEND", 0);
	png_close(&p);
}

static void write_ppm(FILE *f, const struct picture *pic)
{
	fprintf(f, "P6\n%u %u\n255\n", pic->width, pic->height);
	fwrite(pic->rgb, 3, (size_t)pic->width * pic->height, f);
}

static int save(const struct picture *pic, const char *path, bool png, char *why, size_t len)
{
	FILE *f = fopen(path, "wb");
	bool failed;

	if (!f) {
		snprintf(why, len, "failed to open file '%s': %s", path, strerror(errno));
		return -EIO;
	}
	(png ? write_png : write_ppm)(f, pic);
	failed = ferror(f);
	failed |= fclose(f) != 0;
	if (failed)
		snprintf(why, len, "cannot write '%s': is its disk full?", path);
	return failed ? -EIO : 0;
}

int screendump(struct machine *m, const char *path, const char *format, char *why, size_t len)
{
	bool png = format && !strcmp(format, "png");
	struct picture pic;
	int r;

	if (format && !png && strcmp(format, "ppm")) {
		snprintf(why, len, "'%s' is no format of pictures: give ppm or png", format);
		return -EINVAL;
	}
	if (!m->shared->config.vga) {
		snprintf(why, len, "There is no console to take a screendump from");
		return -ENODEV;
	}
	if (!screen_draw(&pic, &m->shared->screen, &m->shared->config.mem)) {
		snprintf(why, len, "out of memory");
		return -ENOMEM;
	}
	r = save(&pic, path, png, why, len);
	free(pic.rgb);
	return r;
}
