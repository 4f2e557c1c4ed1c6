// SPDX-License-Identifier: MIT
//
// The drives on the board's floppy controller: their images, and what the controller and its DMA need of the machine.
// The DMA controllers come with the floppy controller, their only user.
#include "machine/floppy.h"

#include <errno.h>
#include <stdio.h>

#include "machine/machine.h"

enum { CMOS_FLOPPIES = 0x10, CMOS_EQUIPMENT = 0x14, EQUIPMENT_FLOPPY = BIT(0), EQUIPMENT_FPU = BIT(1) };

bool floppy_is_present(const struct machine *m)
{
	return m->config->floppy[0].present || m->config->floppy[1].present;
}

static int add_drive(struct fdc_drive *d, const struct floppy_config *c, char *err, size_t errlen)
{
	int r = block_open(&d->image, &c->image, NULL, err, errlen);
	const struct fdc_format *format = r < 0 ? NULL : fdc_format_of(d->image->size);

	if (r < 0)
		return r;
	if (!format || !d->image->size) {
		snprintf(err, errlen, "%s: %llu KiB are no floppy disk: give an image of 2880 KiB at most", c->image.file,
			 (unsigned long long)d->image->size >> 10);
		return -EINVAL;
	}
	d->format = *format;
	return 0;
}

static int add_ports(struct machine *m)
{
	struct fdc *f = &m->pc.fdc;
	struct i8237 *dma = &m->pc.dma;
	const struct {
		struct dev *dev;
		uint32_t base, len;
		unsigned range;
	} ports[] = {
		{&f->dev, FDC_LOW, FDC_LOW_LEN, FDC_RANGE_LOW}, {&f->dev, FDC_HIGH, FDC_HIGH_LEN, FDC_RANGE_HIGH},
		{&dma->dev, I8237_BYTES, I8237_BYTES_LEN, I8237_RANGE_BYTES},
		{&dma->dev, I8237_WORDS, I8237_WORDS_LEN, I8237_RANGE_WORDS},
		{&dma->dev, I8237_PAGES, I8237_PAGES_LEN, I8237_RANGE_PAGES},
	};
	int r = 0;

	bus_init_dev(&m->bus, &f->dev, &fdc_class);
	bus_init_dev(&m->bus, &dma->dev, &i8237_class);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(ports); i++)
		r = bus_add(&m->bus, BUS_PORT, ports[i].base, ports[i].len, ports[i].dev, ports[i].range);
	return r;
}

int floppy_create(struct machine *m, char *err, size_t errlen)
{
	struct fdc *f = &m->pc.fdc;
	uint8_t kinds = 0, equipment = EQUIPMENT_FPU;
	int r;

	if (!floppy_is_present(m))
		return 0;
	r = add_ports(m);
	if (r < 0) {
		snprintf(err, errlen, "floppy: its ports belong to another device");
		return r;
	}
	f->dma = &m->pc.dma;
	f->irq = (struct irq_line){machine_set_irq, m, FDC_IRQ};
	f->run = block_run;
	m->pc.dma.mem = &m->shared->config.mem;
	m->pc.dma.will_write = machine_tell_written;
	m->pc.dma.opaque = m;
	for (unsigned i = 0; r == 0 && i < FDC_DRIVES; i++) {
		if (!m->config->floppy[i].present)
			continue;
		r = add_drive(&f->drive[i], &m->config->floppy[i], err, errlen);
		kinds |= (uint8_t)(f->drive[i].format.kind << (i ? 0 : 4));
		equipment |= EQUIPMENT_FLOPPY | (i ? 0x40 : 0);
	}
	mc146818_set_byte(&m->pc.rtc, CMOS_FLOPPIES, kinds);
	mc146818_set_byte(&m->pc.rtc, CMOS_EQUIPMENT, equipment);
	return r;
}

void floppy_destroy(struct machine *m)
{
	for (unsigned i = 0; i < FDC_DRIVES; i++) {
		struct fdc_drive *d = &m->pc.fdc.drive[i];

		if (d->image)
			block_close(d->image);
		d->image = NULL;
	}
}
