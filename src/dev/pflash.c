// SPDX-License-Identifier: MIT
//
// See dev/pflash.h.
#include "dev/pflash.h"

#include <string.h>

enum { ARRAY = 0xff, WRITE = 0x40, WRITE_OLD = 0x10, ERASE = 0x20, ERASE_CONFIRM = 0xd0, CLEAR = 0x50, LOCK = 0x60,
	STATUS = 0x70, IDENTITY = 0x90, QUERY = 0x98, BUFFER = 0xe8 };
enum { READY = BIT(7), ERASE_FAILED = BIT(5), WRITE_FAILED = BIT(4) };
enum { MAKER = 0x89, DEVICE = 0x18 };

static bool store(struct pflash *f, uint32_t at, uint32_t size)
{
	struct iovec iov = {f->bytes + at, size};
	struct block_request r = {.op = BLOCK_WRITE, .offset = at, .size = size, .iov = &iov, .niov = 1};

	return !f->run(f->image, &r, 0);
}

// Flash can clear bits; setting them takes an erase. The image is written by sectors.
static void write_bytes(struct pflash *f, uint32_t at, unsigned size, uint64_t value)
{
	uint32_t first = at & ~(uint32_t)(BLOCK_SECTOR - 1);
	uint32_t end = (at + size + BLOCK_SECTOR - 1) & ~(uint32_t)(BLOCK_SECTOR - 1);

	for (unsigned i = 0; i < size && !f->image->readonly; i++)
		f->bytes[at + i] &= (uint8_t)(value >> 8 * i);
	if (f->image->readonly || !store(f, first, end - first))
		f->status |= WRITE_FAILED;
	f->status |= READY;
	f->command = STATUS;
}

static void erase(struct pflash *f, uint32_t at)
{
	at &= ~(uint32_t)(PFLASH_BLOCK - 1);
	if (!f->image->readonly)
		memset(f->bytes + at, 0xff, PFLASH_BLOCK);
	if (f->image->readonly || !store(f, at, PFLASH_BLOCK))
		f->status |= ERASE_FAILED;
	f->status |= READY;
	f->command = STATUS;
}

static void start(struct pflash *f, uint8_t command)
{
	switch (command) {
	case CLEAR: // and it reads as memory again, as the next command finds it
		f->status = 0;
		f->command = ARRAY;
		break;
	case WRITE: case WRITE_OLD: case ERASE: case LOCK: case STATUS: case IDENTITY: case QUERY:
		f->command = command;
		break;
	case BUFFER:
		f->status |= READY | WRITE_FAILED | ERASE_FAILED;
		f->command = STATUS;
		break;
	default:
		f->command = ARRAY;
	}
}

static uint64_t identity(uint64_t off)
{
	return (off & 0xff) == 0 ? MAKER : (off & 0xff) == 1 ? DEVICE : 0;
}

static uint64_t query(const struct pflash *f, uint64_t off)
{
	// The signature, Intel's command set, its table; voltages and times; the size; blocks of one size.
	const unsigned blocks = f->size / PFLASH_BLOCK;
	const uint8_t table[0x31 - 0x10] = {'Q', 'R', 'Y', 1, 0, 0x31, 0, 0, 0, 0, 0, 0x45, 0x55, 0, 0, 7, 0, 10, 0, 4, 0,
		4, 0, (uint8_t)__builtin_ctz(f->size), 2, 0, 0, 0, 1, (uint8_t)(blocks - 1), (uint8_t)((blocks - 1) >> 8),
		PFLASH_BLOCK >> 8 & 0xff, PFLASH_BLOCK >> 16};

	off &= 0xff;
	return off >= 0x10 && off < 0x31 ? table[off - 0x10] : 0;
}

static uint64_t pflash_read(struct dev *dev, unsigned range, uint64_t off, unsigned size)
{
	const struct pflash *f = (struct pflash *)dev;
	uint64_t value = 0;

	switch (f->command) {
	case IDENTITY: return identity(off);
	case QUERY: return query(f, off);
	case ARRAY:
		memcpy(&value, f->bytes + off, size);
		return value;
	default: return f->status;
	}
}

static void pflash_write(struct dev *dev, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct pflash *f = (struct pflash *)dev;

	if (f->command == WRITE || f->command == WRITE_OLD)
		write_bytes(f, (uint32_t)off, size, value);
	else if (f->command == ERASE && (uint8_t)value == ERASE_CONFIRM)
		erase(f, (uint32_t)off);
	else if (f->command == LOCK) // locks are not kept
		f->command = STATUS;
	else
		start(f, (uint8_t)value);
}

static void pflash_reset(struct dev *dev)
{
	struct pflash *f = (struct pflash *)dev;

	f->command = ARRAY;
	f->status = READY;
}

const struct dev_class pflash_class = {"pflash", sizeof(struct pflash), 8, NULL, pflash_reset, pflash_read,
	pflash_write};
