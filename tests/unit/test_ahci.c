// SPDX-License-Identifier: MIT
//
// The SATA controller: a disk and a CD-ROM through command lists, queued commands that end in another order, errors,
// resets with requests under way, and register writes and lists at random, which must end with nothing worse than an
// error to the guest, and reach no memory but RAM.
#include <sys/mman.h>

#include "chip_test.h"
#include "dev/ahci.h"

enum { SECTORS = 512, DISCS = 64, RAM = 1 << 20, LIST = 0x10000, RECEIVED = 0x11000, TABLES = 0x12000, TABLE = 0x400,
	DATA = 0x40000, ROUNDS = 60000 };
enum { CLB = 0, FB = 8, P_IS = 0x10, P_IE = 0x14, CMD = 0x18, TFD = 0x20, SIG = 0x24, SSTS = 0x28, SCTL = 0x2c,
	SACT = 0x34, CI = 0x38 };

static struct ahci ahci;
static struct mem mem;
static struct probe irq;
static uint8_t disk_bytes[SECTORS * IDE_SECTOR], disc_bytes[DISCS * CD_SECTOR], buffers[2][IDE_BUFFER];
static struct block disk = {.size = sizeof(disk_bytes)}, disc = {.size = sizeof(disc_bytes), .readonly = true};
static struct block_request *submitted[AHCI_SLOTS];
static unsigned holds, nheld, fails;

static int run(struct block *b, struct block_request *r, unsigned worker)
{
	uint8_t *at = (b == &disk ? disk_bytes : disc_bytes) + r->offset;

	if (r->op == BLOCK_FLUSH)
		return 0;
	CHECK(r->offset <= b->size && r->size <= b->size - r->offset);
	for (unsigned i = 0; i < r->niov; at += r->iov[i++].iov_len) {
		CHECK(mem_is_ram(&mem, mem_gpa(r->iov[i].iov_base), r->iov[i].iov_len) || b == &disc ||
		      r->iov[i].iov_base == buffers[0]);
		memcpy(r->op == BLOCK_READ ? r->iov[i].iov_base : at, r->op == BLOCK_READ ? at : r->iov[i].iov_base,
		       r->iov[i].iov_len);
	}
	return 0;
}

static struct block_request *submit(struct block *b, struct block_request *list)
{
	if (holds) {
		CHECK(nheld < AHCI_SLOTS);
		submitted[nheld++] = list;
		return NULL;
	}
	list->error = fails ? -5 : run(b, list, 0);
	return list;
}

// Let the nth of those held end.
static void complete(unsigned n)
{
	struct block_request *r = submitted[n];

	submitted[n] = submitted[--nheld];
	r->error = fails ? -5 : run(&disk, r, 0);
	r->next = NULL;
	ahci_completed(&ahci.port[0], r);
}

static void will_write(void *opaque, gpa_t gpa, uint64_t size)
{
	CHECK(mem_is_ram(&mem, gpa, size));
}

static uint32_t get(unsigned off)
{
	uint64_t value = 0;

	CHECK(bus_read(&bus, BUS_PORT, AHCI_AT + off, 4, &value));
	return (uint32_t)value;
}

static void set(unsigned off, uint32_t value)
{
	bus_write(&bus, BUS_PORT, AHCI_AT + off, 4, value);
}

static unsigned port(unsigned n, unsigned reg)
{
	return 0x100 + n * 0x80 + reg;
}

static void setup(void)
{
	static bool made;

	test_bus();
	if (!made) {
		bus_init_dev(&bus, &ahci.dev, &ahci_class);
		made = true;
	}
	CHECK(!bus_add(&bus, BUS_PORT, AHCI_AT, AHCI_SIZE, &ahci.dev, 0));
	ahci.ide.mem = &mem;
	ahci.ide.run = run;
	ahci.ide.will_write = will_write;
	ahci.submit = submit;
	ahci.irq = probe_line(&irq);
	for (unsigned i = 0; i < 2; i++) {
		struct ide_drive *d = &ahci.port[i].channel.drive[0];

		d->image = i ? &disc : &disk;
		d->cdrom = i;
		d->buffer = buffers[i];
		strcpy(d->serial, "S1");
	}
	ahci_class.reset(&ahci.dev);
	holds = fails = nheld = 0;
	for (unsigned i = 0; i < sizeof(disk_bytes); i++)
		disk_bytes[i] = (uint8_t)(i / IDE_SECTOR + i);
	for (unsigned i = 0; i < sizeof(disc_bytes); i++)
		disc_bytes[i] = (uint8_t)(i / CD_SECTOR * 3 + i);
	memset(mem_host(&mem, 0, RAM), 0, RAM);
	set(0x04, BIT(31) | BIT(1));
	for (unsigned i = 0; i < 2; i++) {
		set(port(i, CLB), LIST);
		set(port(i, FB), RECEIVED);
		set(port(i, P_IE), ~0u);
		set(port(i, CMD), AHCI_START | AHCI_FIS_ON | AHCI_SPIN_UP | AHCI_POWER_ON);
	}
}

static void put(gpa_t gpa, const void *from, size_t size)
{
	memcpy(mem_host(&mem, gpa, size), from, size);
}

// A command of one piece of memory in the slot's table.
static void prepare(unsigned slot, const uint8_t fis[20], const uint8_t *packet, uint32_t gpa, uint32_t len)
{
	const uint32_t header[8] = {(packet ? BIT(5) : 0) | 5 | (len ? 1u << 16 : 0), 0, TABLES + slot * TABLE};
	const uint32_t prd[4] = {gpa, 0, 0, len - 1};

	put(LIST + slot * 32, header, sizeof(header));
	put(TABLES + slot * TABLE, fis, 20);
	put(TABLES + slot * TABLE + 0x80, prd, sizeof(prd));
	if (packet)
		put(TABLES + slot * TABLE + 0x40, packet, 12);
}

static void transfer(unsigned slot, uint8_t command, uint32_t lba, uint16_t count, uint32_t gpa, uint32_t len)
{
	bool queued = command == 0x60 || command == 0x61;
	const uint8_t tag = (uint8_t)(slot << 3);
	const uint8_t fis[20] = {0x27, 0x80, command, queued ? (uint8_t)count : 0, (uint8_t)lba, (uint8_t)(lba >> 8),
		(uint8_t)(lba >> 16), 0x40, 0, 0, 0, queued ? (uint8_t)(count >> 8) : 0, queued ? tag : (uint8_t)count,
		queued ? 0 : (uint8_t)(count >> 8)};

	prepare(slot, fis, NULL, gpa, len);
	if (queued)
		set(port(0, SACT), BIT(slot));
	set(port(0, CI), BIT(slot));
}

static void settle(unsigned n)
{
	set(port(n, P_IS), ~0u);
	set(0x08, ~0u);
	CHECK(!irq.level);
}

static void test_disk(void)
{
	const uint8_t identify[20] = {0x27, 0x80, 0xec};
	const uint16_t *words = mem_host(&mem, DATA, IDE_SECTOR);
	uint32_t count;

	setup();
	CHECK_IS(get(0x0c), 0x3f);
	CHECK_IS(get(port(0, SIG)), 0x101);
	CHECK_IS(get(port(1, SIG)), 0xeb140101u);
	CHECK_IS(get(port(2, SSTS)), 0);
	CHECK_IS(get(port(0, SSTS)), 0x113);
	CHECK_IS(get(port(0, TFD)) & 0xff, IDE_DRDY | IDE_DSC);
	prepare(0, identify, NULL, DATA, IDE_SECTOR);
	set(port(0, CI), 1);
	CHECK(irq.level && get(port(0, CI)) == 0 && get(port(0, P_IS)) == AHCI_PIO_FIS && get(0x08) == 1);
	CHECK(words[75] == 31 && words[76] & BIT(8) && words[100] == SECTORS);
	settle(0);
	transfer(3, 0x25, 7, 4, DATA, 4 * IDE_SECTOR);
	CHECK(!memcmp(mem_host(&mem, DATA, 2048), disk_bytes + 7 * IDE_SECTOR, 2048));
	memcpy(&count, mem_host(&mem, LIST + 3 * 32 + 4, 4), 4);
	CHECK_IS(count, 2048);
	CHECK_IS(*(uint8_t *)mem_host(&mem, RECEIVED + 0x40, 1), 0x34);
	settle(0);
	memset(mem_host(&mem, DATA, 512), 0x5a, 512);
	transfer(0, 0x35, 9, 1, DATA, IDE_SECTOR);
	CHECK(disk_bytes[9 * IDE_SECTOR] == 0x5a && disk_bytes[10 * IDE_SECTOR - 1] == 0x5a);
	settle(0);
	transfer(0, 0x20, 9, 1, DATA + 4096, IDE_SECTOR); // by programmed I/O
	CHECK(!memcmp(mem_host(&mem, DATA + 4096, 512), disk_bytes + 9 * IDE_SECTOR, 512));
	settle(0);
	transfer(0, 0xea, 0, 0, 0, 0);
	CHECK(get(port(0, CI)) == 0 && get(port(0, P_IS)) == AHCI_REGISTER_FIS);
	settle(0);
}

static void test_errors(void)
{
	setup();
	transfer(0, 0x25, SECTORS - 1, 2, DATA, 1024); // over the end
	CHECK(get(port(0, P_IS)) & AHCI_TASK_ERROR && get(port(0, TFD)) & IDE_ERR && get(port(0, CI)) == 1);
	transfer(1, 0x25, 0, 1, DATA, 512); // waits until the list has been stopped
	CHECK_IS(get(port(0, CI)), 3);
	set(port(0, CMD), AHCI_FIS_ON);
	CHECK(get(port(0, CI)) == 0 && !(get(port(0, CMD)) & AHCI_LIST_RUNS));
	set(port(0, CMD), AHCI_FIS_ON | AHCI_START);
	settle(0);
	transfer(0, 0x25, 0, 2, DATA, 512); // too little memory
	CHECK(get(port(0, TFD)) & IDE_ERR);
	set(port(0, CMD), AHCI_FIS_ON);
	set(port(0, CMD), AHCI_FIS_ON | AHCI_START);
	transfer(0, 0x25, 0, 2, RAM - 512, 1024); // that is not there
	CHECK(get(port(0, TFD)) & IDE_ERR);
	set(port(0, SCTL), 1);
	CHECK_IS(get(port(0, SSTS)), 0);
	set(port(0, SCTL), 0);
	CHECK(get(port(0, SSTS)) == 0x113 && get(port(0, TFD)) == (0x100 | IDE_DRDY | IDE_DSC));
	settle(0);
	fails = 1;
	transfer(2, 0x60, 0, 1, DATA, 512);
	CHECK(get(port(0, SACT)) == 4 && get(port(0, CI)) == 0 && get(port(0, P_IS)) & AHCI_TASK_ERROR);
	set(0x04, 1); // the whole controller
	CHECK(get(port(0, SACT)) == 0 && !irq.level && get(0x04) == BIT(31));
}

static void test_queued(void)
{
	uint32_t bits;

	setup();
	holds = 1;
	for (unsigned i = 0; i < AHCI_SLOTS; i++)
		transfer(i, i % 2 ? 0x61 : 0x60, i * 8, 8, DATA + i * 4096, 4096);
	CHECK(get(port(0, SACT)) == ~0u && get(port(0, CI)) == 0 && nheld == AHCI_SLOTS && !irq.level);
	complete(5);
	memcpy(&bits, mem_host(&mem, RECEIVED + 0x5c, 4), 4);
	CHECK(get(port(0, SACT)) == ~BIT(5) && bits == BIT(5) && irq.level);
	settle(0);
	while (nheld > 1)
		complete(nheld / 2);
	complete(0);
	CHECK(get(port(0, SACT)) == 0 && irq.level);
	CHECK(!memcmp(mem_host(&mem, DATA + 8 * 4096, 4096), disk_bytes + 64 * IDE_SECTOR, 4096));
	CHECK_IS(disk_bytes[5 * 8 * IDE_SECTOR], 0);
	settle(0);
	transfer(0, 0x25, 0, 1, DATA, 512); // one that is not queued keeps the next from starting
	transfer(1, 0x25, 1, 1, DATA + 512, 512);
	CHECK(nheld == 1 && get(port(0, TFD)) & IDE_BSY && get(port(0, CI)) == 3);
	complete(0);
	CHECK(nheld == 1 && get(port(0, CI)) == 2);
	complete(0);
	CHECK(get(port(0, CI)) == 0);
}

static void test_cdrom(void)
{
	uint8_t fis[20] = {0x27, 0x80, 0xa0, 1};

	setup();
	ahci.port[1].channel.drive[0].changed = false;
	prepare(0, fis, (uint8_t[12]){0x28, [5] = 7, [8] = 2}, DATA, 2 * CD_SECTOR);
	set(port(1, CI), 1);
	CHECK(!memcmp(mem_host(&mem, DATA, 4096), disc_bytes + 7 * CD_SECTOR, 4096) && irq.level && !get(port(1, CI)));
	settle(1);
	fis[3] = 0; // by programmed I/O
	fis[6] = 8;
	prepare(0, fis, (uint8_t[12]){0x28, [5] = 9, [8] = 2}, DATA, 2 * CD_SECTOR);
	set(port(1, CI), 1);
	CHECK(!memcmp(mem_host(&mem, DATA, 4096), disc_bytes + 9 * CD_SECTOR, 4096) && !get(port(1, CI)));
	prepare(0, fis, (uint8_t[12]){0x28, [5] = DISCS, [8] = 2}, DATA, 2 * CD_SECTOR);
	set(port(1, CI), 1);
	CHECK(get(port(1, TFD)) & IDE_ERR && get(port(1, TFD)) >> 12 == 5);
}

static uint32_t random_address(void)
{
	uint32_t r = random_bits();

	return r % 8 == 0 ? RAM - (r >> 8) % 2048 : r % 9 == 0 ? r : DATA + (r >> 8) % 0x10000;
}

// A command of random shape in a random slot; most are nearly right.
static void random_command(void)
{
	static const uint8_t commands[] = {0x20, 0x24, 0x25, 0x29, 0x30, 0x35, 0x60, 0x61, 0xa0, 0xa1, 0xc4, 0xc5, 0xc8,
		0xca, 0xe7, 0xea, 0xec, 0xef, 0xc6, 0x91};
	static const uint8_t packets[] = {0x28, 0xa8, 0x12, 0x03, 0x43, 0x5a, 0x46, 0x25, 0x4a, 0x51};
	uint32_t r = random_bits(), v = random_bits(), slot = r % AHCI_SLOTS;
	uint8_t fis[20] = {r % 64 ? 0x27 : (uint8_t)v, r >> 5 & 15 ? 0x80 : 0, commands[v % ARRAY_SIZE(commands)],
		(uint8_t)(v >> 8 & 7), (uint8_t)(v >> 16), (uint8_t)(v >> 24 & 1), 0, 0x40, [12] = (uint8_t)(r >> 8 & 15),
		[15] = (uint8_t)(r >> 12 & 4)};
	uint8_t packet[12] = {packets[r % ARRAY_SIZE(packets)], [5] = (uint8_t)(v >> 8 & 63), [8] = (uint8_t)(v >> 3 & 7)};
	uint32_t prds = r >> 20 & 7, header[4] = {prds << 16 | 5, 0, r % 32 ? TABLES + slot * TABLE : random_address()};

	put(LIST + slot * 32, header, sizeof(header));
	put(TABLES + slot * TABLE, fis, 20);
	put(TABLES + slot * TABLE + 0x40, packet, 12);
	for (uint32_t i = 0; i < prds; i++) {
		const uint32_t prd[4] = {random_address(), random_bits() % 16 ? 0 : random_bits(), 0, random_bits() % 8192};

		put(TABLES + slot * TABLE + 0x80 + i * 16, prd, 16);
	}
	set(port(r >> 8 & 1, SACT), BIT(slot));
	set(port(r >> 8 & 1, CI), BIT(slot));
}

static void test_random(unsigned rounds)
{
	setup();
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t r = random_bits(), v = random_bits();
		unsigned n = r >> 8 & 1;

		holds = r >> 9 & 1;
		fails = !(r >> 10 & 15);
		if (nheld && (r >> 16 & 1 || nheld > 16))
			complete(v % nheld);
		else if (r % 32)
			random_command();
		else if (r >> 17 & 1)
			(void)get((v >> 4) % AHCI_SIZE & ~3u);
		else {
			while (nheld)
				complete(0);
			set(r >> 18 & 1 ? (v >> 4) % 0x200 & ~3u : port(n, CMD), r >> 19 & 1 ? v : 0);
			set(port(n, CLB), r >> 20 & 7 ? LIST : v);
			set(port(n, FB), r >> 23 & 7 ? RECEIVED : v);
			set(port(n, CMD), AHCI_START | AHCI_FIS_ON);
		}
	}
	while (nheld)
		complete(0);
}

int main(int argc, char **argv)
{
	mem_layout(&mem, RAM);
	if (mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) ==
	    MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	test_disk();
	test_errors();
	test_queued();
	test_cdrom();
	test_random(argc > 1 ? (unsigned)atoi(argv[1]) : ROUNDS);
	ahci_free(&ahci);
	return test_result();
}
