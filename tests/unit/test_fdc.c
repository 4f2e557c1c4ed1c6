// SPDX-License-Identifier: MIT
//
// The floppy controller and the DMA controller behind it: a 1440 KiB disk read and written by DMA and byte by byte,
// what it says of wrong sectors, rates and drives, and register accesses at random, which must stay within the disk and
// RAM.
#include <sys/mman.h>

#include "chip_test.h"
#include "dev/fdc.h"

enum { SECTORS = 2880, RAM = 1 << 20, BUFFER = 0x12000, RANDOM_ACCESSES = 400000 };

static struct fdc fdc;
static struct i8237 dma;
static struct mem mem;
static struct probe irq;
static uint8_t disk_bytes[SECTORS * FDC_SECTOR];
static struct block disk = {.size = sizeof(disk_bytes)};
static uint8_t result[16];
static uint8_t *ram;

static int run(struct block *b, struct block_request *r, unsigned worker)
{
	uint8_t *at = disk_bytes + r->offset;

	CHECK(r->offset <= b->size && r->size <= b->size - r->offset && r->niov == 1 && r->iov->iov_len == r->size);
	CHECK(r->op == BLOCK_READ || !b->readonly);
	memcpy(r->op == BLOCK_READ ? r->iov->iov_base : at, r->op == BLOCK_READ ? at : r->iov->iov_base, r->size);
	return 0;
}

static void setup(void)
{
	test_bus();
	bus_init_dev(&bus, &fdc.dev, &fdc_class);
	bus_init_dev(&bus, &dma.dev, &i8237_class);
	CHECK(!bus_add(&bus, BUS_PORT, FDC_LOW, FDC_LOW_LEN, &fdc.dev, FDC_RANGE_LOW));
	CHECK(!bus_add(&bus, BUS_PORT, FDC_HIGH, FDC_HIGH_LEN, &fdc.dev, FDC_RANGE_HIGH));
	CHECK(!bus_add(&bus, BUS_PORT, I8237_BYTES, I8237_BYTES_LEN, &dma.dev, I8237_RANGE_BYTES));
	CHECK(!bus_add(&bus, BUS_PORT, I8237_WORDS, I8237_WORDS_LEN, &dma.dev, I8237_RANGE_WORDS));
	CHECK(!bus_add(&bus, BUS_PORT, I8237_PAGES, I8237_PAGES_LEN, &dma.dev, I8237_RANGE_PAGES));
	mem_layout(&mem, RAM);
	dma.mem = &mem;
	fdc.dma = &dma;
	fdc.run = run;
	fdc.irq = probe_line(&irq);
	disk.readonly = false;
	fdc.drive[0].image = &disk;
	fdc.drive[0].format = *fdc_format_of(disk.size);
	fdc_class.reset(&fdc.dev);
	i8237_class.reset(&dma.dev);
	for (unsigned i = 0; i < sizeof(disk_bytes); i++)
		disk_bytes[i] = (uint8_t)(i / FDC_SECTOR * 5 + i);
}

// A command's bytes, and as many of its result as there are. How many.
static unsigned command(const uint8_t *bytes, unsigned n)
{
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++) {
		CHECK_IS(inb(0x3f4) & 0xc0, 0x80);
		outb(0x3f5, bytes[i]);
	}
	while ((inb(0x3f4) & 0xf0) == 0xd0 && got < sizeof(result))
		result[got++] = (uint8_t)inb(0x3f5);
	return got;
}
#define COMMAND(...) command((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))
#define RESULT_IS(...) CHECK(!memcmp(result, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})))

static void dma_to(unsigned at, unsigned size, uint8_t mode)
{
	outb(0x0a, 6);
	outb(0x0c, 0);
	outb(0x0b, mode);
	outb(4, at & 0xff);
	outb(4, at >> 8 & 0xff);
	outb(0x81, at >> 16);
	outb(5, (size - 1) & 0xff);
	outb(5, (size - 1) >> 8);
	outb(0x0a, 2);
}

static void start(void)
{
	setup();
	CHECK_IS(inb(0x3f4), 0); // in reset
	outb(0x3f2, 0x1c);
	CHECK(irq.level);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_IS(COMMAND(8), 2);
		RESULT_IS(0xc0 | i, 0);
	}
	CHECK(!irq.level);
	CHECK_IS(COMMAND(8), 1);
	RESULT_IS(0x80);
	outb(0x3f7, 0); // 500 kbit/s
	CHECK_IS(COMMAND(3, 0xaf, 2), 0);
	CHECK_IS(inb(0x3f7), 0x80);
	CHECK_IS(COMMAND(7, 0), 0);
	CHECK(irq.level);
	CHECK_IS(COMMAND(8), 2);
	RESULT_IS(0x20, 0);
	CHECK_IS(inb(0x3f7), 0);
}

static void seek(unsigned track)
{
	CHECK_IS(COMMAND(15, 0, track), 0);
	CHECK_IS(COMMAND(8), 2);
	RESULT_IS(0x20, track);
}

static void test_dma(void)
{
	start();
	dma_to(BUFFER, 1024, 0x46);
	CHECK_IS(COMMAND(0xe6, 0, 0, 0, 18, 2, 18, 27, 255), 7); // from the first side on to the second
	RESULT_IS(4, 0, 0, 0, 1, 2, 2);
	CHECK(!memcmp(ram + BUFFER, disk_bytes + 17 * FDC_SECTOR, 1024));
	CHECK_IS(inb(8) & 0xf, 4);
	CHECK_IS(inb(8) & 0xf, 0);
	CHECK_IS(COMMAND(0xe6, 0, 0, 0, 1, 2, 18, 27, 255), 7); // its count has run out
	RESULT_IS(0x40, 0x10);
	seek(79);
	memset(ram + BUFFER, 0x5a, 512);
	dma_to(BUFFER, 512, 0x4a);
	CHECK_IS(COMMAND(0xc5, 4, 79, 1, 18, 2, 18, 27, 255), 7);
	RESULT_IS(4, 0, 0, 80, 0, 1, 2);
	CHECK(disk_bytes[sizeof(disk_bytes) - 1] == 0x5a && disk_bytes[sizeof(disk_bytes) - 513] != 0x5a);
	dma_to(BUFFER, 1024, 0x46);
	CHECK_IS(COMMAND(0x46, 4, 79, 1, 18, 2, 18, 27, 255), 7); // more than there is
	RESULT_IS(0x44, 0x80);
	dma_to(0x1ff00, 512, 0x46); // the page does not carry
	memset(ram + 0x10000, 0xee, 256);
	CHECK_IS(COMMAND(0x46, 4, 79, 1, 18, 2, 18, 27, 255), 7);
	CHECK(ram[0x1ff00] == 0x5a && ram[0x10000] == 0x5a && ram[0x20000] != 0x5a);
	dma_to(0xff0000, 512, 0x46); // no RAM there
	CHECK_IS(COMMAND(0x46, 4, 79, 1, 18, 2, 18, 27, 255), 7);
	memcpy(ram + BUFFER, (uint8_t[]){79, 0, 1, 2, 79, 0, 2, 2}, 8);
	dma_to(BUFFER, 8, 0x4a);
	CHECK_IS(COMMAND(0x4d, 0, 2, 2, 84, 0xf6), 7);
	RESULT_IS(0, 0, 0);
	CHECK(disk_bytes[79 * 36 * 512] == 0xf6 && disk_bytes[(79 * 36 + 2) * 512 - 1] == 0xf6);
	disk.readonly = true;
	CHECK_IS(COMMAND(0xc5, 4, 79, 1, 18, 2, 18, 27, 255), 7);
	RESULT_IS(0x40 | 4, 2);
}

static void test_bytes(void)
{
	const uint8_t read[] = {0x46, 0, 0, 0, 3, 2, 4, 27, 255}, write[] = {0x45, 0, 0, 0, 5, 2, 5, 27, 255};

	start();
	COMMAND(3, 0xaf, 3); // no DMA
	for (unsigned i = 0; i < sizeof(read); i++)
		outb(0x3f5, read[i]);
	for (unsigned i = 0; i < 1024; i++) {
		CHECK_IS(inb(0x3f4), 0xf0);
		CHECK(irq.level);
		CHECK_IS(inb(0x3f5), disk_bytes[2 * FDC_SECTOR + i]);
	}
	CHECK_IS(inb(0x3f4), 0xd0);
	CHECK_IS(command(NULL, 0), 7);
	RESULT_IS(0x40, 0x80, 0, 1, 0, 1, 2);
	for (unsigned i = 0; i < sizeof(write); i++)
		outb(0x3f5, write[i]);
	for (unsigned i = 0; i < 512; i++) {
		CHECK_IS(inb(0x3f4), 0xb0);
		outb(0x3f5, i * 3 & 0xff);
	}
	CHECK_IS(command(NULL, 0), 7);
	for (unsigned i = 0; i < 512; i++)
		CHECK_IS(disk_bytes[4 * FDC_SECTOR + i], i * 3 & 0xff);
}

static void test_errors(void)
{
	start();
	CHECK_IS(COMMAND(0x4a, 0), 7); // READ ID
	RESULT_IS(0, 0, 0, 0, 0, 1, 2);
	outb(0x3f7, 2);
	CHECK_IS(COMMAND(0x4a, 0), 7); // at the wrong rate
	RESULT_IS(0x40, 1);
	outb(0x3f7, 0);
	dma_to(BUFFER, 512, 0x46);
	CHECK_IS(COMMAND(0x46, 0, 1, 0, 1, 2, 18, 27, 255), 7); // the head is on track 0
	RESULT_IS(0x40, 4, 0x10);
	CHECK_IS(COMMAND(0x46, 0, 0, 0, 19, 2, 19, 27, 255), 7);
	RESULT_IS(0x40, 4, 0);
	CHECK_IS(COMMAND(0x46, 0, 0, 0, 0, 2, 18, 27, 255), 7);
	RESULT_IS(0x40, 4, 0);
	CHECK_IS(COMMAND(0x46, 1, 0, 0, 1, 2, 18, 27, 255), 7); // no such drive
	RESULT_IS(0x41);
	CHECK_IS(COMMAND(7, 1), 0);
	CHECK_IS(COMMAND(8), 2);
	RESULT_IS(0x71, 0);
	CHECK_IS(COMMAND(0x16, 0, 0, 0, 1, 2, 18, 27, 255), 7); // VERIFY
	RESULT_IS(0, 0, 0, 1, 0, 1, 2);
	CHECK_IS(COMMAND(0x10), 1);
	RESULT_IS(0x90);
	CHECK_IS(COMMAND(0x1f), 1);
	RESULT_IS(0x80);
	COMMAND(0x13, 0, 0x57, 0); // implied seeks
	dma_to(BUFFER, 512, 0x46);
	CHECK_IS(COMMAND(0x46, 4, 40, 1, 7, 2, 18, 27, 255), 7);
	RESULT_IS(4, 0, 0, 40, 1, 8, 2);
	CHECK(!memcmp(ram + BUFFER, disk_bytes + (40 * 36 + 18 + 6) * 512, 512));
	CHECK_IS(COMMAND(0x94), 1);
	outb(0x3f4, 0x80);
	CHECK_IS(fdc.configure, 0x57); // locked
}

static void test_random(void)
{
	static const uint16_t ports[] = {0x3f2, 0x3f4, 0x3f5, 0x3f5, 0x3f5, 0x3f5, 0x3f7, 0x0a, 0x0b, 0x0c, 0x04, 0x05,
		0x81, 0x0f, 0xd4};
	uint32_t x = 12345;

	start();
	for (unsigned i = 0; i < RANDOM_ACCESSES; i++) {
		x = x * 1664525 + 1013904223;
		if (x >> 31)
			inb(ports[(x >> 8) % ARRAY_SIZE(ports)]);
		else if (x >> 24 & 7)
			outb(0x3f5, x >> 16 & (x & 1 ? 0xff : 0x0f));
		else
			outb(ports[(x >> 8) % ARRAY_SIZE(ports)], x >> 16 & 0xff);
		CHECK(fdc.at <= FDC_FIFO && fdc.byte < FDC_SECTOR);
		disk.readonly = x >> 20 & 1;
	}
}

static void test_formats(void)
{
	CHECK_IS(fdc_format_of(737280)->sectors, 9);
	CHECK_IS(fdc_format_of(1474560)->sectors, 18);
	CHECK_IS(fdc_format_of(1474559)->sectors, 18);
	CHECK_IS(fdc_format_of(163840)->sectors, 8);
	CHECK_IS(fdc_format_of(1296384)->sectors, 36);
	CHECK_IS(fdc_format_of(512)->sectors, 36);
	CHECK_IS(fdc_format_of(2949120)->kind, FDC_2880K);
	CHECK(!fdc_format_of(2949121));
}

int main(void)
{
	ram = mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	test_formats();
	test_dma();
	test_bytes();
	test_errors();
	test_random();
	return test_result();
}
