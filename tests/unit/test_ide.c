// SPDX-License-Identifier: MIT
//
// The IDE controller: a disk and a CD-ROM by programmed I/O and by bus mastering, what lies outside the disk or RAM,
// and register accesses at random, which must end with nothing worse than an error to the guest. All of it once more by
// the monitor's chip, which does without the app what it may (bus/ide_window.h).
#include <sys/mman.h>

#include "chip/piix_ide.h"
#include "chip_test.h"
#include "dev/ide.h"

enum { SECTORS = 512, DISCS = 128, RAM = 1 << 20, RANDOM_ACCESSES = 400000,
	READ_MANY = 72, BUFFERED = IDE_BUFFER };

static struct ide ide;
static struct mem mem;
static struct probe irq[2];
static uint8_t disk_bytes[SECTORS * IDE_SECTOR], disc_bytes[DISCS * CD_SECTOR];
static struct block disk = {.size = sizeof(disk_bytes)}, disc = {.size = sizeof(disc_bytes), .readonly = true};
static uint8_t buffers[2][IDE_BUFFER];
static unsigned flushes, written, asked;
static bool by_chip, hostile;
static struct bus app;
static struct piix_ide chip;
static struct ide_window windows[IDE_CHANNELS];

// What may stand in the window is anything, if the monitor is the guest's.
static void scribble(void)
{
	struct ide_window *w = &windows[random_bits() & 1];
	uint32_t r = random_bits();

	w->at = r & 1 ? random_bits() : w->at;
	w->nposts = r & 2 ? random_bits() : w->nposts;
	w->second = r & 4;
	w->to_drive = r & 8;
	w->post[r >> 8 & (IDE_POSTS - 1)] = (struct ide_post){(uint8_t)(r >> 16), (uint8_t)(r >> 24)};
}

static uint64_t ask_app(void *opaque, bool write, uint64_t port, unsigned size, uint64_t value)
{
	asked++;
	if (port >= IDE_BUS_MASTER)
		port += 0xc000 - IDE_BUS_MASTER;
	if (hostile)
		scribble();
	if (write)
		bus_write(&app, BUS_PORT, port, size, value);
	else
		CHECK(bus_read(&app, BUS_PORT, port, size, &value));
	if (hostile) // or its chip would leave its window
		for (unsigned i = 0; i < IDE_CHANNELS; i++)
			windows[i].at = windows[i].nposts = 0;
	return value;
}

static void put_chip_between(void)
{
	static const uint16_t at[] = {0x1f0, 0x170, 0x3f6, 0x376};

	app = bus;
	test_bus();
	bus_init_dev(&bus, &chip.dev, &piix_ide_class);
	chip.window = windows;
	chip.access = ask_app;
	CHECK(!bus_add(&bus, BUS_PORT, 0xc000, IDE_BUS_MASTER_LEN, &chip.dev, PIIX_IDE_RANGE_MASTER));
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		CHECK(!bus_add(&bus, BUS_PORT, at[i], i < 2 ? 8 : 1, &chip.dev, PIIX_IDE_RANGE_COMMAND + i));
}

static int run(struct block *b, struct block_request *r, unsigned worker)
{
	uint8_t *at = (b == &disk ? disk_bytes : disc_bytes) + r->offset;

	flushes += r->op == BLOCK_FLUSH;
	if (r->op == BLOCK_FLUSH)
		return 0;
	CHECK(r->offset <= b->size && r->size <= b->size - r->offset);
	for (unsigned i = 0; i < r->niov; at += r->iov[i++].iov_len)
		memcpy(r->op == BLOCK_READ ? r->iov[i].iov_base : at, r->op == BLOCK_READ ? at : r->iov[i].iov_base,
		       r->iov[i].iov_len);
	return 0;
}

static void will_write(void *opaque, gpa_t gpa, uint64_t size)
{
	CHECK(mem_is_ram(&mem, gpa, size));
	written++;
}

static void setup(void)
{
	static const struct {
		uint32_t base, len;
		unsigned range;
	} ports[] = {
		{0x1f0, 8, IDE_RANGE_COMMAND}, {0x3f6, 1, IDE_RANGE_CONTROL}, {0x170, 8, IDE_RANGE_COMMAND + 1},
		{0x376, 1, IDE_RANGE_CONTROL + 1}, {0xc000, IDE_BUS_MASTER_LEN, IDE_RANGE_BUS_MASTER},
	};

	test_bus();
	bus_init_dev(&bus, &ide.dev, &ide_class);
	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		CHECK(!bus_add(&bus, BUS_PORT, ports[i].base, ports[i].len, &ide.dev, ports[i].range));
	mem_layout(&mem, RAM);
	ide.mem = &mem;
	ide.run = run;
	ide.will_write = will_write;
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = &ide.channel[i].drive[0];

		ide.channel[i].irq = probe_line(&irq[i]);
		ide.channel[i].window = by_chip ? &windows[i] : NULL;
		d->image = i ? &disc : &disk;
		d->cdrom = i;
		d->buffer = buffers[i];
		strcpy(d->serial, "S1");
	}
	ide_class.reset(&ide.dev);
	if (by_chip)
		put_chip_between();
	for (unsigned i = 0; i < sizeof(disk_bytes); i++)
		disk_bytes[i] = (uint8_t)(i / IDE_SECTOR + i);
	for (unsigned i = 0; i < sizeof(disc_bytes); i++)
		disc_bytes[i] = (uint8_t)(i / CD_SECTOR * 3 + i);
}

static void command(unsigned base, uint32_t lba, unsigned count, unsigned what)
{
	outb(base + 6, 0xe0 | (lba >> 24 & 15));
	outb(base + 2, count);
	outb(base + 3, lba & 0xff);
	outb(base + 4, lba >> 8 & 0xff);
	outb(base + 5, lba >> 16 & 0xff);
	outb(base + 7, what);
}

static bool reads(unsigned base, const uint8_t *want, unsigned size)
{
	bool same = true;

	for (unsigned i = 0; i < size; i += 2)
		same &= inw(base) == (uint32_t)(want[i] | want[i + 1] << 8);
	return same;
}

static void test_pio(void)
{
	uint8_t want[4 * IDE_SECTOR];

	setup();
	flushes = 0;
	CHECK_IS(inb(0x1f7), IDE_DRDY | IDE_DSC);
	command(0x1f0, 5, 2, 0x20);
	CHECK(irq[0].level && inb(0x1f7) & IDE_DRQ);
	CHECK(!irq[0].level);
	CHECK(reads(0x1f0, disk_bytes + 5 * IDE_SECTOR, IDE_SECTOR));
	CHECK(irq[0].level);
	CHECK(reads(0x1f0, disk_bytes + 6 * IDE_SECTOR, IDE_SECTOR));
	CHECK_IS(inb(0x1f7), IDE_DRDY | IDE_DSC);
	command(0x1f0, 9, 1, 0x30);
	for (unsigned i = 0; i < IDE_SECTOR; i += 2)
		outw(0x1f0, i * 7 & 0xffff);
	for (unsigned i = 0; i < IDE_SECTOR; i += 2)
		CHECK_IS(disk_bytes[9 * IDE_SECTOR + i], i * 7 & 0xff);
	command(0x1f0, 0, 8, 0xc6); // SET MULTIPLE
	memcpy(want, disk_bytes, sizeof(want));
	command(0x1f0, 0, 4, 0xc4);
	CHECK(reads(0x1f0, want, sizeof(want)));
	command(0x1f0, 0, 0, 0xe7);
	CHECK_IS(flushes, 1);
	command(0x1f0, SECTORS - 1, 2, 0x20); // over the end
	CHECK(inb(0x1f7) & IDE_ERR && inb(0x1f1) & IDE_NO_ID && !(inb(0x1f7) & IDE_DRQ));
	command(0x1f0, 0, 0, 0x5c);           // no such command
	CHECK(inb(0x1f7) & IDE_ERR && inb(0x1f1) == IDE_ABORTED);
	outb(0x1f6, 0xf0);                    // there is no second drive
	CHECK_IS(inb(0x1f7), 0);
	command(0x170, 0, 1, 0xec);
	CHECK(inb(0x174) == 0x14 && inb(0x175) == 0xeb && inb(0x177) & IDE_ERR);
}

static void prd(unsigned n, uint32_t gpa, uint32_t len, bool last)
{
	uint8_t *p = mem_host(&mem, 0x1000 + n * 8, 8);
	uint32_t word = len | (last ? 0x80000000u : 0);

	memcpy(p, &gpa, 4);
	memcpy(p + 4, &word, 4);
}

static void test_dma(void)
{
	setup();
	written = 0;
	outl(0xc004, 0x1000);
	prd(0, 0x20000, 512, false);
	prd(1, 0x30000, 1536, true);
	command(0x1f0, 3, 4, 0xc8);
	outb(0xc000, 9);
	CHECK(!memcmp(mem_host(&mem, 0x20000, 512), disk_bytes + 3 * IDE_SECTOR, 512));
	CHECK(!memcmp(mem_host(&mem, 0x30000, 1536), disk_bytes + 4 * IDE_SECTOR, 1536));
	CHECK(written == 2 && inb(0xc002) & 4 && !(inb(0xc002) & 1) && irq[0].level);
	outb(0xc000, 0);
	outb(0xc002, 4);
	prd(1, 0x30000, 1536, true);
	command(0x1f0, 3, 8, 0xca); // the table is too short
	outb(0xc000, 1);
	CHECK(inb(0x1f7) & IDE_ERR && inb(0xc002) & 2);
	outb(0xc000, 0);
	prd(0, 0xfffff000, 0, true); // outside RAM
	command(0x1f0, 3, 8, 0xc8);
	outb(0xc000, 9);
	CHECK(inb(0x1f7) & IDE_ERR);
	outb(0xc000, 0);
	outl(0xc004, RAM - 4); // a table that is
	command(0x1f0, 3, 8, 0xc8);
	outb(0xc000, 9);
	CHECK(inb(0x1f7) & IDE_ERR);
	outb(0xc000, 0);
}

static void packet(const uint8_t p[12], unsigned limit)
{
	outb(0x176, 0xa0);
	outb(0x171, 0);
	outb(0x174, limit & 0xff);
	outb(0x175, limit >> 8);
	outb(0x177, 0xa0);
	for (unsigned i = 0; i < 12; i += 2)
		outw(0x170, p[i] | p[i + 1] << 8);
}

static void test_cdrom(void)
{
	setup();
	packet((uint8_t[12]){0x25}, 8); // READ CAPACITY
	CHECK_IS(inw(0x170), 0);
	CHECK_IS(inw(0x170), (DISCS - 1) << 8);
	CHECK_IS(inw(0x170), 0);
	CHECK_IS(inw(0x170), CD_SECTOR >> 8);
	CHECK_IS(inb(0x172), 3);
	packet((uint8_t[12]){0x28, [5] = 7, [8] = 2}, 2048);
	CHECK_IS(inb(0x174) | inb(0x175) << 8, 2048);
	CHECK(reads(0x170, disc_bytes + 7 * CD_SECTOR, 2 * CD_SECTOR));
	CHECK(!(inb(0x177) & (IDE_DRQ | IDE_ERR)));
	packet((uint8_t[12]){0x28, [5] = 7, [8] = 3}, 4000); // what is left over makes no limit for the next
	CHECK_IS(inb(0x174) | inb(0x175) << 8, 4000);
	CHECK(reads(0x170, disc_bytes + 7 * CD_SECTOR, 4000));
	CHECK_IS(inb(0x174) | inb(0x175) << 8, 3 * CD_SECTOR - 4000);
	CHECK(reads(0x170, disc_bytes + 7 * CD_SECTOR + 4000, 3 * CD_SECTOR - 4000));
	packet((uint8_t[12]){0x28, [8] = READ_MANY}, 0xfffe); // more than the drive has room for at once
	for (unsigned done = 0, part; done < READ_MANY * CD_SECTOR; done += part) {
		part = (unsigned)(inb(0x174) | inb(0x175) << 8);
		CHECK_IS(part, done < BUFFERED ? MIN(0xfffeu, BUFFERED - done) : READ_MANY * CD_SECTOR - BUFFERED);
		if (!part || !reads(0x170, disc_bytes + done, part)) {
			CHECK(!"as on the disc");
			break;
		}
	}
	packet((uint8_t[12]){0x28, [5] = DISCS, [8] = 1}, 2048);
	CHECK(inb(0x177) & IDE_ERR && inb(0x171) >> 4 == 5);
	packet((uint8_t[12]){0x03, [4] = 18}, 18);
	CHECK_IS(inw(0x170) & 0xff, 0x70);
	CHECK_IS(inw(0x170) & 0xff, 5);
	outb(0xc000, 0);
	outl(0xc00c, 0x1000);
	prd(0, 0x40000, 2 * CD_SECTOR, true);
	outb(0x171, 1);
	outb(0x177, 0xa0);
	for (unsigned i = 0; i < 12; i += 2)
		outw(0x170, i == 0 ? 0x28 : i == 4 ? 7 << 8 : i == 8 ? 2 : 0);
	outb(0xc008, 9);
	CHECK(!memcmp(mem_host(&mem, 0x40000, 2 * CD_SECTOR), disc_bytes + 7 * CD_SECTOR, 2 * CD_SECTOR));
	outb(0xc008, 0);
}

static unsigned tray_moves;

static void tray_moved(void *opaque)
{
	tray_moves++;
}

static unsigned sense_of(const uint8_t p[12])
{
	packet(p, 8);
	return inb(0x177) & IDE_ERR ? inb(0x171) >> 4 : 0;
}

static unsigned media_status(void)
{
	unsigned event;

	packet((uint8_t[12]){0x4a, [1] = 1, [4] = 0x10, [8] = 8}, 8);
	inw(0x170);
	inw(0x170);
	event = inw(0x170);
	inw(0x170);
	return event; // what has happened, and above it bit 1: a disc is in, bit 0: the tray is open
}

// A tray that the guest and an operator open, a lock, another disc.
static void test_tray(void)
{
	static const uint8_t ready[12] = {0}, lock[12] = {0x1e, [4] = 1}, unlock[12] = {0x1e},
		out[12] = {0x1b, [4] = 2}, in[12] = {0x1b, [4] = 3}, read[12] = {0x28, [8] = 1};
	struct ide_drive *d = &ide.channel[1].drive[0];

	setup();
	ide.tray_moved = tray_moved;
	tray_moves = 0;
	CHECK_IS(sense_of(ready), 0);
	CHECK_IS(media_status() >> 8, 2);
	CHECK_IS(sense_of(lock), 0);
	CHECK_IS(sense_of(out), 5); // prevented
	ide_cdrom_press_button(d);
	CHECK(!d->open && tray_moves == 0);
	CHECK_IS(media_status(), 0x200 | IDE_MEDIA_EJECT_ASKED);
	CHECK_IS(media_status(), 0x200); // it is told once
	CHECK_IS(sense_of(unlock), 0);
	CHECK_IS(sense_of(out), 0);
	CHECK(d->open && tray_moves == 1);
	CHECK_IS(media_status(), 0x100 | IDE_MEDIA_REMOVED);
	CHECK_IS(sense_of(ready), 2); // not ready
	CHECK_IS(sense_of(read), 2);
	CHECK(ide_cdrom_change(d, NULL) == &disc);
	CHECK_IS(sense_of(in), 0);
	CHECK_IS(sense_of(ready), 2); // empty
	CHECK_IS(media_status(), 0);
	ide_cdrom_move_tray(d, true);
	CHECK(!ide_cdrom_change(d, &disc));
	ide_cdrom_move_tray(d, false);
	CHECK_IS(sense_of(ready), 6); // may have changed, once
	CHECK_IS(sense_of(ready), 0);
	CHECK_IS(tray_moves, 4);
	CHECK_IS(sense_of(lock), 0);
	outb(0x376, 4); // a reset unlocks it
	outb(0x376, 0);
	CHECK_IS(sense_of(out), 0);
	packet(in, 8);
	d->changed = false;
	packet((uint8_t[12]){0x28, [5] = 7, [8] = 2}, 2048); // the disc goes while it is being read
	ide_cdrom_change(d, NULL);
	for (unsigned i = 0; i < CD_SECTOR; i++)
		inw(0x170);
	CHECK(!(inb(0x177) & IDE_DRQ));
	ide.tray_moved = NULL;
}

static void test_random(void)
{
	static const uint16_t bases[] = {0x1f0, 0x1f0, 0x170, 0x170, 0xc000, 0x3f6, 0x376};
	static const uint8_t commands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x35, 0x39, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8,
		0xca, 0xec, 0xef, 0x90, 0x08, 0x91};

	setup();
	for (unsigned i = 0; i < RANDOM_ACCESSES; i++) {
		uint32_t r = random_bits(), v = random_bits();
		unsigned base = bases[r % ARRAY_SIZE(bases)];
		unsigned port = base + (r >> 8) % (base == 0xc000 ? 16 : base > 0x300 ? 1 : 8);
		bool data = base < 0x300 && (r >> 12 & 1);

		if (data)
			port = base;
		if (base < 0x300 && port == base + 7)
			v = commands[v % ARRAY_SIZE(commands)];
		if (base > 0x300 && base < 0x400 && r >> 20 & 15)
			continue; // few resets
		if (r >> 16 & 1)
			bus_write(&bus, BUS_PORT, port, data ? 4 : port >= 0xc000 && !(port & 3) ? 4 : 1, v);
		else if (data)
			inl(port);
		else
			inb(port);
	}
}

// The app's for a sector: its command, the status that takes the interrupt back, the last word.
static void test_how_often_asked(void)
{
	enum { COUNT = 16 };

	setup();
	outb(0x1f6, 0xe0);
	asked = 0;
	for (unsigned i = 0; i < COUNT; i++) {
		command(0x1f0, i, 1, 0x20);
		while (!(inb(0x3f6) & IDE_DRQ))
			;
		CHECK_IS(inb(0x1f7), IDE_DRDY | IDE_DSC | IDE_DRQ);
		CHECK(reads(0x1f0, disk_bytes + i * IDE_SECTOR, IDE_SECTOR));
		CHECK_IS(inb(0x1f7), IDE_DRDY | IDE_DSC);
	}
	CHECK_IS(asked, COUNT * 3);
	outb(0x376, 2); // without interrupts, as firmware does
	asked = 0;
	packet((uint8_t[12]){0x28, [5] = 7, [8] = COUNT}, CD_SECTOR);
	for (unsigned i = 0; i < COUNT; i++) {
		CHECK_IS(inb(0x177), IDE_DRDY | IDE_DSC | IDE_DRQ);
		CHECK_IS(inb(0x174) | inb(0x175) << 8, CD_SECTOR);
		CHECK_IS(inb(0x172), 2);
		CHECK(reads(0x170, disc_bytes + (7 + i) * CD_SECTOR, CD_SECTOR));
	}
	CHECK_IS(inb(0x177), IDE_DRDY | IDE_DSC);
	CHECK_IS(asked, COUNT + 2); // the command, the end of the packet
}

int main(void)
{
	mem_layout(&mem, RAM);
	if (mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	    MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (unsigned i = 0; i < 2; i++) {
		by_chip = i;
		test_pio();
		test_dma();
		test_cdrom();
		test_tray();
		test_random();
	}
	test_how_often_asked();
	hostile = true;
	test_random();
	return test_result();
}
