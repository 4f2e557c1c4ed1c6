// SPDX-License-Identifier: MIT
//
// The PC's two Intel 8237A DMA controllers and their page registers. See dev/i8237.c.
#ifndef DEV_I8237_H
#define DEV_I8237_H

#include "bus/bus.h"
#include "mem/mem.h"

enum i8237_range { I8237_RANGE_BYTES, I8237_RANGE_WORDS, I8237_RANGE_PAGES };
enum { I8237_BYTES = 0x00, I8237_BYTES_LEN = 16, I8237_WORDS = 0xc0, I8237_WORDS_LEN = 32, I8237_PAGES = 0x81,
	I8237_PAGES_LEN = 15, I8237_CHANNELS = 4 };

struct i8237_chip {
	struct i8237_channel {
		uint16_t base_address, base_count, address, count;
		uint8_t mode;
	} channel[I8237_CHANNELS];
	uint8_t command, mask, request, ended; // a bit each channel
	bool high; // the next byte of a 16-bit register is its upper one
};

struct i8237 {
	struct dev dev;
	struct i8237_chip chip[2]; // of bytes, of words
	uint8_t page[16];          // by port, from 0x80 on
	const struct mem *mem;
	void (*will_write)(void *opaque, gpa_t gpa, uint64_t size); // before guest RAM is written
	void *opaque;
};

extern const struct dev_class i8237_class;

// A device on channel n (0 to 3) moves up to size bytes to memory or from it. How many were moved: fewer when the
// count has run out (*ended: terminal count, also with the last of them) or the channel is masked or set otherwise.
unsigned i8237_move(struct i8237 *d, unsigned n, bool to_memory, uint8_t *bytes, unsigned size, bool *ended);

#endif
