// SPDX-License-Identifier: MIT
//
// The flash memory that holds firmware's variables (-drive if=pflash, the second): below the ROM of its code, which is
// the first and is never written.
#include "machine/pflash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "machine/machine.h"

int pflash_create(struct machine *m, char *err, size_t errlen)
{
	const struct block_config *c = &m->config->pflash;
	struct pflash *f = &m->pc.pflash;
	struct block_request r = {.op = BLOCK_READ};
	struct iovec iov;
	int e;

	if (!*c->file)
		return 0;
	bus_init_dev(&m->bus, &f->dev, &pflash_class);
	e = block_open(&f->image, c, NULL, err, errlen);
	if (e < 0)
		return e;
	if (!f->image->size || f->image->size % PFLASH_BLOCK || f->image->size > PFLASH_MAX) {
		snprintf(err, errlen, "%s: flash memory is 4 KiB to %d MiB, in steps of 4 KiB", c->file, PFLASH_MAX >> 20);
		return -EINVAL;
	}
	f->run = block_run;
	f->size = (uint32_t)f->image->size;
	f->bytes = malloc(f->size);
	iov = (struct iovec){f->bytes, f->size};
	r.iov = &iov;
	r.niov = 1;
	r.size = f->size;
	if (!f->bytes || block_run(f->image, &r, 0)) {
		snprintf(err, errlen, "%s: cannot be read", c->file);
		return -EIO;
	}
	pflash_class.reset(&f->dev);
	return bus_add(&m->bus, BUS_MMIO, m->shared->config.mem.rom_start - f->size, f->size, &f->dev, 0);
}

void pflash_destroy(struct machine *m)
{
	struct pflash *f = &m->pc.pflash;

	if (f->image)
		block_close(f->image);
	free(f->bytes);
	f->image = NULL;
	f->bytes = NULL;
}
