// SPDX-License-Identifier: MIT
//
// A hostile driver against the virtio devices: rings, descriptors, lengths, addresses, loops, registers, configuration
// space and resets, in any order, as the bytes of an input say. Guest RAM is mapped with nothing around it and the disk
// is a heap block, so that what leaves them is seen (built with ASan and UBSan). Checked besides: a device answers each
// buffer once at most, says nothing before it is started, and comes back to life by a reset.
//   fuzz_virtio FILE-OR-DIRECTORY...   replay these inputs
//   fuzz_virtio -n N [-s SEED]         make N inputs up
// Built by clang with -fsanitize=fuzzer and -DLIBFUZZER it is an ordinary libFuzzer target.
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "virtio/9p.h"
#include "virtio/balloon.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/mmio.h"
#include "virtio/net.h"
#include "virtio/pci.h"
#include "virtio/rng.h"
#include "virtio/scsi.h"

enum { RAM = 64 << 10, DISK = 256 << 10, SIZE = 8, DESC = 0x1000, AVAIL = 0x2000, USED = 0x3000, TABLE = 0x4000,
	DATA = 0x8000, QUEUES = 16 };
enum { COMMON_FEATURES_SELECT = 8, COMMON_FEATURES = 12, COMMON_STATUS = 20, COMMON_QUEUE = 22, COMMON_SIZE = 24,
	COMMON_ENABLE = 28, COMMON_DESC = 32 };

static struct mem mem;
static uint8_t *const ram = (uint8_t *)ZONE_RAM;
static unsigned interrupts;

_Noreturn void base_panic(const char *file, int line, const char *what);
_Noreturn void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

#define MUST(x) ((x) ? (void)0 : base_panic(__FILE__, __LINE__, #x))

// -- the input

struct input {
	const uint8_t *p, *end;
};

static uint8_t take8(struct input *in)
{
	return in->p < in->end ? *in->p++ : 0;
}

static uint16_t take16(struct input *in)
{
	uint16_t low = take8(in);

	return low | (uint16_t)(take8(in) << 8);
}

// Small values and places near the borders more often than others.
static uint64_t take_value(struct input *in)
{
	static const uint64_t special[] = { 0, 1, RAM - 1, RAM, RAM - 16, UINT32_MAX, UINT64_MAX, UINT64_MAX - 15,
		UINT64_C(1) << 63, DESC, DATA, TABLE, 0x10, 512, 1 << 20, UINT64_C(0xfee00000) };
	uint8_t how = take8(in);

	if (how < 128)
		return special[how % ARRAY_SIZE(special)];
	return how < 200 ? take16(in) : (uint64_t)take16(in) << 48 | (uint64_t)take16(in) << 24 | take16(in);
}

// -- a disk in memory; every other request ends later

static uint8_t *disk;
static struct block_request *later;

static void run(struct block_request *r)
{
	uint64_t at = r->offset;

	MUST(r->offset <= DISK && r->size <= DISK - r->offset);
	for (unsigned i = 0; i < r->niov && r->op <= BLOCK_WRITE; i++) {
		if (r->op == BLOCK_READ)
			memcpy(r->iov[i].iov_base, disk + at, r->iov[i].iov_len);
		else
			memcpy(disk + at, r->iov[i].iov_base, r->iov[i].iov_len);
		at += r->iov[i].iov_len;
	}
	MUST(r->op > BLOCK_WRITE || at == r->offset + r->size);
	if (r->op >= BLOCK_DISCARD)
		memset(disk + r->offset, 0, r->size);
	r->error = at & 512 ? -5 : 0;
}

static struct block_request *submit(struct block_engine *e, struct block_request *list)
{
	struct block_request *now = NULL, *next;

	for (bool wait = false; list; list = next, wait = !wait) {
		struct block_request **to = wait ? &later : &now;

		next = list->next;
		run(list);
		list->next = *to;
		*to = list;
	}
	return now;
}

static void stop(struct block_engine *e)
{
}

static int nothing(struct block *b, const struct block_request *r, unsigned worker)
{
	return 0;
}

static void close_disk(struct block *b)
{
}

static const struct block_ops disk_ops = { .run = nothing, .close = close_disk };
static struct block_engine engine = { "test", submit, stop, NULL };
static struct block image;

struct block_request *block_submit(struct block *b, struct block_request *list)
{
	return b->engine->submit(b->engine, list);
}

struct block_request *block_poll(struct block *b, bool last)
{
	return NULL;
}

void block_close(struct block *b)
{
}

// -- a network that looks at each byte, has no room now and then, and sends frames of its own

static struct net net, second;
static bool full;

static int net_take(struct net *n, const struct net_frame *f)
{
	static volatile uint8_t sum;
	static unsigned sends;

	for (unsigned i = 0; i < f->count; i++)
		for (size_t k = 0; k < f->iov[i].iov_len; k++)
			sum += ((const uint8_t *)f->iov[i].iov_base)[k];
	full = ++sends % 5 == 0;
	return full ? -11 : 0;
}

static const struct net_class net_fake = {.name = "fake", .send = net_take};

static void network_lives(void)
{
	static uint8_t frame[NET_FRAME_MAX];
	static const size_t sizes[] = { 60, 1514, 14, 9014, 40000, 13 };
	static unsigned turn;
	struct iovec two[2] = { { frame, 12 }, { frame + 12, sizes[++turn % ARRAY_SIZE(sizes)] - 12 } };
	const struct net_frame f = {.iov = two, .count = 2, .hdr.flags = turn & 1};

	net_enter(&net);
	memset(frame, turn & 8 ? 0xff : 0, 12);
	net_deliver(&net, &f);
	net_delivered(&net);
	if (turn % 16 == 0)
		net_set_link(&net, !net.up);
	if (full)
		net.card.sendable(net.card.opaque);
	if (second.card.receive) {
		net_deliver(&second, &f);
		net_delivered(&second);
	}
	full = false;
	net_leave(&net);
}

static struct virtio_device *make_net(uint8_t which)
{
	struct virtio_net *v = calloc(1, sizeof(*v));
	const struct virtio_net_options o = {.mac = {2}, .mtu = 1500, .no_merge = which & 1, .no_offloads = which & 2,
					      .multiqueue = which & 16};

	if (!net.whole)
		net.whole = malloc(NET_FRAME_MAX);
	net_attach(&net, NULL);
	net.class = &net_fake;
	net.offers = NET_CHECKSUM | NET_SEGMENT | NET_MERGED;
	net.up = true;
	net.raw = which & 4;
	full = false;
	if (!second.whole)
		second.whole = malloc(NET_FRAME_MAX);
	second.card = (struct net_card){0};
	second.class = &net_fake;
	second.up = true;
	net.next = which & 8 ? &second : NULL;
	virtio_net_init(v, &mem, &net, &o);
	return &v->dev;
}

static void put(unsigned at, const void *from, unsigned n);

static struct block disc;
static bool is_scsi;

static struct virtio_device *make_scsi(uint8_t which)
{
	const struct virtio_scsi_config c = {.queues = 1 + (which & 1)};
	const struct scsi_disk_config disks[] = {
		{ .target = 0, .serial = "fuzz", .id = "d", .write_cache = which & 1, .block_size = which & 2 ? 4096 : 512 },
		{ .type = SCSI_CDROM, .target = 0, .lun = 3 },
	};
	struct virtio_device *d = virtio_scsi_create(&c, &mem);

	is_scsi = true;
	image = (struct block){.ops = &disk_ops, .size = DISK, .engine = &engine, .readonly = which & 4};
	disc = (struct block){.ops = &disk_ops, .size = DISK, .engine = &engine, .readonly = true};
	virtio_scsi_add(d, &image, &disks[0]);
	virtio_scsi_add(d, &disc, &disks[1]);
	return d;
}

// A command's header at DATA, mostly for a disk that is there, and its length.
static unsigned put_command(struct input *in, uint8_t shape)
{
	static const uint8_t opcodes[] = { 0x00, 0x03, 0x08, 0x0a, 0x12, 0x1a, 0x1b, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41,
		0x42, 0x43, 0x46, 0x4a, 0x5a, 0x88, 0x8a, 0x91, 0x93, 0x9e, 0xa0, 0xa8, 0xaa };
	uint8_t b[51] = {1, shape & 64 ? take8(in) & 1 : 0, 0x40, shape & 128 ? 3 : take8(in) & 1}, how = take8(in);

	for (unsigned i = 19; i < 36; i++)
		b[i] = how & 1 ? take8(in) & take8(in) & 15 : 0;
	b[19] = how < 240 ? opcodes[how % ARRAY_SIZE(opcodes)] : take8(in);
	b[20 + take8(in) % 16] = take8(in);
	b[20 + take8(in) % 16] = take8(in);
	put(DATA, b, sizeof(b));
	return sizeof(b);
}

// -- a console's host ends: sometimes full, typing now and then, coming and going

static struct virtio_console *console;

ssize_t chardev_write(struct chardev *c, const void *from, size_t n)
{
	static volatile uint8_t sum;
	static unsigned writes;

	for (size_t i = 0; i < n; i++)
		sum += ((const uint8_t *)from)[i];
	return ++writes % 7 == 0 ? -11 : (ssize_t)(writes % 3 ? n : (n + 1) / 2);
}

void chardev_accept_input(struct chardev *c)
{
	uint8_t *at;
	size_t n = c->user.room(c->user.opaque, &at);
	static unsigned turn;

	if (!n || ++turn % 3 == 0)
		return;
	n = turn % 2 ? n : 1;
	memset(at, 'x', n);
	c->user.filled(c->user.opaque, n);
}

int chardev_open(struct chardev *c, struct loop *l, const struct stream_config *config, char *err, size_t errlen)
{
	c->opened = c->up = true;
	return 0;
}

void chardev_close(struct chardev *c)
{
}

bool chardev_await_output(struct chardev *c, int until_fd)
{
	static unsigned turn;

	return ++turn % 4;
}

static void console_lives(void)
{
	static unsigned turn;

	pthread_mutex_lock(&console->dev.lock);
	for (unsigned i = 0; i < 3; i++) {
		struct chardev *c = &console->port[i].chardev;

		if (!console->port[i].present)
			continue;
		chardev_accept_input(c);
		c->user.writable(c->user.opaque);
		if (++turn % 8 == 0) {
			c->up = !c->up;
			c->user.link(c->user.opaque, c->up);
		}
	}
	pthread_mutex_unlock(&console->dev.lock);
	if (turn % 5 == 0)
		virtio_console_drain(console, -1);
}

static struct virtio_device *make_console(uint8_t which)
{
	const struct console_port_config ports[] = {
		{ .console = true, .nr = 0, .to.kind = STREAM_NULL }, { .nr = 2, .name = "fuzz", .to.kind = STREAM_NULL },
	};
	const struct mux none = {0};
	char err[300];

	console = calloc(1, sizeof(*console));
	virtio_console_init(console, &mem, which & 1 ? 31 : 3);
	for (size_t i = 0; i < ARRAY_SIZE(ports); i++)
		virtio_console_add(console, &ports[i]);
	MUST(virtio_console_open(console, NULL, &none, err, sizeof(err)) == 0);
	return &console->dev;
}

static struct virtio_device *make_folder(void)
{
	struct virtio_9p *v = calloc(1, sizeof(*v));
	struct p9_config c;
	struct p9 *server;
	char err[300];

	p9_config_init(&c);
	strcpy(c.path, "/usr");
	c.readonly = true;
	MUST(p9_open(&server, &c, err, sizeof(err)) == 0 && virtio_9p_init(v, &mem, server, "fuzz") == 0);
	return &v->dev;
}

static void complete_later(void)
{
	struct block_request *list = later;

	later = NULL;
	if (list)
		image.completed(image.opaque, list);
	if (net.card.receive)
		network_lives();
	if (console)
		console_lives();
}

// -- the driver

static struct virtio_pci pci;
static struct pci_app app;

static void on_raise(void *opaque, unsigned index)
{
	interrupts++;
}

static bool mmio; // over which transport

// A register of the common configuration structure, or (from PCI_APP_DEVICE on) of the device's.
static void set(unsigned off, unsigned size, uint64_t value)
{
	static const struct {
		unsigned common, mmio;
	} map[] = { { COMMON_FEATURES_SELECT, 0x24 }, { COMMON_FEATURES, 0x20 }, { COMMON_STATUS, 0x70 },
		    { COMMON_QUEUE, 0x30 }, { COMMON_SIZE, 0x38 }, { COMMON_ENABLE, 0x44 }, { COMMON_DESC, 0x80 },
		    { COMMON_DESC + 4, 0x84 }, { COMMON_DESC + 8, 0x90 }, { COMMON_DESC + 12, 0x94 },
		    { COMMON_DESC + 16, 0xa0 }, { COMMON_DESC + 20, 0xa4 } };

	if (off == COMMON_STATUS && !(uint8_t)value)
		complete_later(); // a reset waits for it
	for (size_t i = 0; mmio && i < ARRAY_SIZE(map); i++)
		if (map[i].common == off) {
			virtio_mmio_write(&pci, map[i].mmio, 4, value);
			return;
		}
	if (!mmio)
		virtio_pci_write(&pci, off, size, value);
	else if (off >= PCI_APP_DEVICE)
		virtio_mmio_write(&pci, 0x100 + off - PCI_APP_DEVICE, size, value);
	else if ((off & ~3u) != 0x70) // a reset by chance: as above
		virtio_mmio_write(&pci, off & ~3u, 4, value);
}

static void place_queue(unsigned q)
{
	const uint64_t parts[] = { DESC, AVAIL, USED };

	set(COMMON_QUEUE, 2, q);
	set(COMMON_SIZE, 2, SIZE);
	for (unsigned i = 0; i < 3; i++) {
		set(COMMON_DESC + 8 * i, 4, parts[i] + 0x100 * q);
		set(COMMON_DESC + 8 * i + 4, 4, 0);
	}
	set(COMMON_ENABLE, 2, 1);
}

static struct {
	uint16_t at;
	bool wrap;
} place[QUEUES]; // the driver's next descriptor in packed rings

static bool packed(void)
{
	return virtio_has(pci.device, VIRTIO_F_RING_PACKED);
}

static void start(uint64_t features)
{
	set(COMMON_STATUS, 1, 0);
	set(COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	for (unsigned i = 0; i < 2; i++) {
		set(COMMON_FEATURES_SELECT, 4, i);
		set(COMMON_FEATURES, 4, (uint32_t)(features >> 32 * i));
	}
	set(COMMON_STATUS, 1, VIRTIO_FEATURES_OK);
	for (unsigned q = 0; q < pci.device->nqueues; q++) {
		place_queue(q);
		place[q % QUEUES].at = 0;
		place[q % QUEUES].wrap = true;
	}
	set(COMMON_STATUS, 1, VIRTIO_DRIVER_OK);
}

static void put(unsigned at, const void *from, unsigned n)
{
	memcpy(ram + at % (RAM - n), from, n);
}

static void put_desc(unsigned table, unsigned i, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	const uint16_t tail[2] = { flags, next };

	put(table + 16 * i, &addr, 8);
	put(table + 16 * i + 8, &len, 4);
	put(table + 16 * i + 12, tail, 4);
}

static void make_available(unsigned q, uint16_t head, unsigned by)
{
	unsigned base = AVAIL + 0x100 * q;
	uint16_t idx;

	memcpy(&idx, ram + base + 2, 2);
	put(base + 4 + 2 * (idx % SIZE), &head, 2);
	idx += by;
	put(base + 2, &idx, 2);
}

// -- packed rings

static void put_packed(unsigned table, unsigned i, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	const uint16_t tail[2] = { id, flags };

	put(table + 16 * i, &addr, 8);
	put(table + 16 * i + 8, &len, 4);
	put(table + 16 * i + 12, tail, 4);
}

// The next descriptor of queue q, made available.
static void put_next(unsigned q, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
	flags &= (uint16_t)~(1u << 7 | 1u << 15);
	put_packed(DESC + 0x100 * q, place[q].at, addr, len, id, flags | (place[q].wrap ? 1u << 7 : 1u << 15));
	if (++place[q].at == SIZE) {
		place[q].at = 0;
		place[q].wrap = !place[q].wrap;
	}
}

static void make_packed_request(struct input *in, unsigned q, uint8_t shape, uint8_t spoil, unsigned data, bool reads)
{
	const uint64_t addr[3] = { DATA, DATA + 16, DATA + 0x4000 };
	const uint32_t len[3] = { 16 + (is_scsi ? 35 : 0), data, is_scsi ? 600 : 1 };
	const uint16_t flags[3] = { 1, 1 | (reads ? 2 : 0), 2 };
	uint16_t id = take8(in);

	for (unsigned i = 0; i < 3; i++) {
		bool bad = spoil < 160 && spoil % 3 == i;
		uint64_t a = bad && (spoil & 4) ? take_value(in) : addr[i];
		uint32_t n = bad && (spoil & 8) ? (uint32_t)take_value(in) : len[i];
		uint16_t f = bad && (spoil & 16) ? take16(in) : flags[i];

		if (shape & 1)
			put_packed(TABLE, i, a, n, id, f & ~1u);
		else
			put_next(q, a, n, id, f);
	}
	if (shape & 1)
		put_next(q, shape & 2 ? TABLE : take_value(in), shape & 4 ? 48 : (uint32_t)take_value(in), id,
			 4 | (shape & 8 ? 0 : take16(in)));
}

// A request as a driver makes it, of one readable header, some data and a status byte, with one part of it spoilt.
static void make_request(struct input *in)
{
	unsigned queues = console ? 8 : is_scsi ? 4 : pci.device->nqueues > 2 ? 3 : 2;
	uint8_t shape = take8(in), q = take8(in) % queues, first = take8(in) % SIZE, spoil = take8(in);
	unsigned table = shape & 1 ? TABLE : DESC + 0x100 * q, at = shape & 1 ? 0 : first;
	const uint32_t header[4] = { take8(in) % 15, console ? shape << 16 | spoil % 9 : 0, take8(in), 0 };
	const uint32_t range[4] = { take8(in), 0, take16(in), take8(in) % 3 };
	unsigned header_size = 16;
	bool reads = !(header[0] & 1);

	put(DATA, header, sizeof(header));
	put(DATA + 16, range, sizeof(range));
	if (is_scsi && q != 0)
		header_size = put_command(in, shape);
	if (packed()) {
		make_packed_request(in, q, shape, spoil, header[0] > 10 ? 16 : 512u << (shape >> 6), reads);
		return;
	}
	put_desc(table, at, DATA, header_size, 1, at + 1);
	put_desc(table, at + 1, DATA + 16, header[0] > 10 ? 16 : 512u << (shape >> 6), 1 | (reads ? 2 : 0), at + 2);
	put_desc(table, at + 2, DATA + 0x4000, is_scsi ? 600 : 1, 2, 0);
	if (spoil < 160)
		put_desc(table, at + spoil % 3, spoil & 4 ? take_value(in) : DATA, spoil & 8 ? (uint32_t)take_value(in) : 600,
			 spoil & 16 ? take8(in) : 1, spoil & 32 ? (uint16_t)take_value(in) : at + 1 + spoil % 3);
	if (shape & 1)
		put_desc(DESC + 0x100 * q, first, shape & 2 ? TABLE : take_value(in),
			 shape & 4 ? 48 : (uint32_t)take_value(in), 4 | (shape & 8 ? 0 : take8(in)), 0);
	make_available(q, first, 1);
}

static void step(struct input *in)
{
	uint8_t op = take8(in);
	uint64_t value;

	switch (op % 16) {
	case 0: case 1: case 2: case 3: case 4:
		make_request(in);
		break;
	case 5: case 6: case 7:
		app.kicks |= op >> 4;
		virtio_pci_kicked(&pci);
		break;
	case 8:
		complete_later();
		break;
	case 9:
		value = take_value(in);
		put(take16(in), &value, 8);
		break;
	case 10:
		put_desc(DESC, take8(in) % (2 * SIZE), take_value(in), (uint32_t)take_value(in), take8(in),
			 (uint16_t)take_value(in));
		break;
	case 11:
		if (packed())
			put_next(op >> 4 & 1, take_value(in), take16(in), take16(in), take16(in));
		else
			make_available(op >> 4 & 1, take16(in), take8(in) % 4);
		break;
	case 12:
		value = take16(in);
		set(value % 64 + (op >> 4 & 1) * PCI_APP_DEVICE, 1u << (op >> 6), take_value(in));
		break;
	case 13:
		value = take16(in);
		if (mmio)
			virtio_mmio_read(&pci, value % 0x300, 1u << (op >> 6));
		else
			virtio_pci_read(&pci, value % (PCI_APP_DEVICE + 128), 1u << (op >> 6));
		break;
	case 14:
		value = op & 16 ? pci.device->offered : take_value(in) | BIT64(VIRTIO_F_VERSION_1);
		start(op & 32 ? value & ~BIT64(VIRTIO_F_RING_PACKED) : value);
		break;
	case 15:
		set(COMMON_QUEUE, 2, take8(in) % 4);
		set(COMMON_DESC + (op >> 4) % 6 * 4, 4, take_value(in));
		set(COMMON_ENABLE, 2, 1);
		break;
	}
}

static struct virtio_device *make_device(uint8_t which)
{
	struct virtio_blk_config c = {
		.queues = 2, .write_cache = true, .serial = "fuzz", .block_size = which & 2 ? 4096 : 512,
	};

	if (which >= 0xe0)
		return make_net(which);
	if (which >= 0xde)
		return make_folder();
	if (which >= 0xb0 && which < 0xc8)
		return make_scsi(which);
	if (which >= 0xc8 && which < 0xda)
		return make_console(which);
	if (which >= 0xda) {
		const struct virtio_balloon_config all = {.reporting = true, .deflate_on_oom = true};
		struct virtio_balloon *b = malloc(sizeof(*b));

		virtio_balloon_init(b, &all, &mem);
		return &b->dev;
	}
	if (which & 1) {
		struct virtio_rng *r = malloc(sizeof(*r));

		virtio_rng_init(r, &mem);
		return &r->dev;
	}
	image = (struct block){.ops = &disk_ops, .size = DISK, .engine = &engine, .readonly = which & 4};
	return virtio_blk_create(&image, &c, &mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, data + size};
	struct virtio_device *device;
	uint64_t offer;
	uint8_t how;

	if (!disk) {
		mem_layout(&mem, RAM);
		MUST(mmap(ram, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == ram);
		disk = malloc(DISK);
	}
	memset(ram, 0, RAM);
	memset(disk, 0, DISK);
	console = NULL;
	is_scsi = false;
	device = make_device(take8(&in));
	how = take8(&in);
	mmio = how & 2;
	offer = how & 1 ? 0 : BIT64(VIRTIO_F_RING_PACKED) | (device->class->in_order ? BIT64(VIRTIO_F_IN_ORDER) : 0);
	device->offered |= offer;
	if (mmio)
		virtio_mmio_init(&pci, device, &app, 0, 0);
	else
		virtio_pci_init(&pci, device, &app, 0, 0x18, 0, PCI_APP_VECTORS);
	pci.raise = on_raise;
	interrupts = 0;
	app.kicks = UINT64_MAX;
	virtio_pci_kicked(&pci);
	MUST(!interrupts); // it has not been started
	start(pci.device->offered);
	while (in.p < in.end)
		step(&in);
	memset(ram, 0, RAM);
	start(pci.device->offered); // whatever was: it works again
	MUST(virtio_running(pci.device));
	complete_later();
	set(COMMON_STATUS, 1, 0);
	virtio_destroy(pci.device);
	free(pci.device);
	return 0;
}

#ifndef LIBFUZZER
static void replay(const char *path)
{
	static uint8_t data[64 << 10];
	FILE *f = fopen(path, "re");
	size_t n;

	MUST(f);
	n = fread(data, 1, sizeof(data), f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, n);
}

static unsigned replay_all(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	unsigned n = 0;

	if (!d) {
		replay(path);
		return 1;
	}
	while ((e = readdir(d))) {
		char name[4096];

		snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
		if (e->d_name[0] != '.') {
			replay(name);
			n++;
		}
	}
	closedir(d);
	return n;
}

static uint64_t next(uint64_t *state) // xorshift
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

int main(int argc, char **argv)
{
	uint64_t cases = 0, seed = 1, replayed = 0;
	uint8_t data[512];
	int c;

	while ((c = getopt(argc, argv, "n:s:")) > 0)
		*(c == 'n' ? &cases : &seed) = strtoull(optarg, NULL, 0);
	for (int i = optind; i < argc; i++)
		replayed += replay_all(argv[i]);
	for (uint64_t i = 0; i < cases; i++) {
		uint64_t state = (seed + i) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		size_t n = next(&state) % sizeof(data);

		for (size_t k = 0; k < n; k++)
			data[k] = next(&state) >> 32;
		alarm(20);
		LLVMFuzzerTestOneInput(data, n);
	}
	printf("%llu inputs replayed, %llu made up\n", (unsigned long long)replayed, (unsigned long long)cases);
	return cases + replayed ? 0 : 1;
}
#endif
