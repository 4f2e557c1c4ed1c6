// SPDX-License-Identifier: MIT
//
// The 82540EM: its EEPROM by both ways, the PHY, frames sent plain, with checksums, tags and cut into segments, frames
// received into one buffer and several, filters, a network without room, and registers and rings at random, which must
// reach no memory but RAM and end.
#include <sys/mman.h>

#include "chip_test.h"
#include "dev/e1000.h"

enum { RAM = 1 << 20, SEND_RING = 0x10000, RECEIVE_RING = 0x12000, BUFFERS = 0x20000, HEADER = 0x18000, DATA = 0x40000,
	RING = 16, ROUNDS = 400000, KEPT = 64 };
enum { EOP = 1, INSERT = 4, REPORT = 8, EXTENDED = 0x20, TAGGED = 0x40 };

static struct e1000 card;
static struct mem mem;
static struct net net = {.up = true};
static struct probe irq;
static struct net_card attached;
static uint8_t sent[KEPT][2048];
static size_t sent_size[KEPT];
static unsigned nsent;
static bool has_no_room;

void net_attach(struct net *n, const struct net_card *c)
{
	attached = c ? *c : (struct net_card){0};
}

int net_send(struct net *n, const struct net_frame *f)
{
	if (has_no_room)
		return -11;
	if (nsent < KEPT && net_frame_size(f) <= sizeof(sent[0])) {
		sent_size[nsent] = net_frame_size(f);
		net_frame_copy(f, sent[nsent++]);
	}
	return 0;
}

void net_flush(struct net *n)
{
}

void net_card_ready(struct net *n)
{
}

static void will_write(void *opaque, gpa_t gpa, uint64_t size)
{
	CHECK(mem_is_ram(&mem, gpa, size));
}

static uint32_t get(unsigned off)
{
	uint64_t value = 0;

	CHECK(bus_read(&bus, BUS_PORT, E1000_AT + off, 4, &value));
	return (uint32_t)value;
}

static void set(unsigned off, uint32_t value)
{
	bus_write(&bus, BUS_PORT, E1000_AT + off, 4, value);
}

static uint8_t *ram(gpa_t at)
{
	return mem_host(&mem, at, 1);
}

static void setup(void)
{
	static bool made;

	test_bus();
	if (!made)
		bus_init_dev(&bus, &card.dev, &e1000_class);
	made = true;
	CHECK(!bus_add(&bus, BUS_PORT, E1000_AT, E1000_SIZE, &card.dev, 0));
	card.mem = &mem;
	card.will_write = will_write;
	card.irq = probe_line(&irq);
	memcpy(card.mac, (uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, 0x56}, 6);
	e1000_attach(&card, &net);
	memset(ram(0), 0, RAM);
	nsent = 0;
	has_no_room = false;
	set(E1000_TDBAL, SEND_RING);
	set(E1000_TDLEN, RING * E1000_DESCRIPTOR);
	set(E1000_TCTL, 2);
	set(E1000_RDBAL, RECEIVE_RING);
	set(E1000_RDLEN, RING * E1000_DESCRIPTOR);
	set(E1000_RCTL, 2 | BIT(15) | BIT(26)); // on, broadcasts, without the check sequence
	for (unsigned i = 0; i < RING; i++)
		*(uint64_t *)(void *)ram(RECEIVE_RING + i * E1000_DESCRIPTOR) = BUFFERS + i * 2048;
	set(E1000_RDT, RING - 1);
	set(E1000_IMS, E1000_RXT0 | E1000_TXDW);
}

// -- media

static unsigned word_by_wires(unsigned at)
{
	const unsigned select = BIT(1), clock = BIT(0), in = BIT(2), out = BIT(3), command = 6 << 6 | at;
	unsigned word = 0;

	set(E1000_EECD, select);
	for (unsigned i = 9; i--;) {
		unsigned bit = command >> i & 1 ? in : 0;

		set(E1000_EECD, select | bit);
		set(E1000_EECD, select | bit | clock);
		set(E1000_EECD, select | bit);
	}
	for (unsigned i = 0; i < 16; i++) {
		set(E1000_EECD, select | clock);
		word = word << 1 | !!(get(E1000_EECD) & out);
		set(E1000_EECD, select);
	}
	set(E1000_EECD, 0);
	return word;
}

static unsigned word_by_register(unsigned at)
{
	set(E1000_EERD, at << 8 | 1);
	CHECK(get(E1000_EERD) & BIT(4));
	return get(E1000_EERD) >> 16;
}

static unsigned phy(unsigned n)
{
	set(E1000_MDIC, n << 16 | 1 << 21 | 2 << 26);
	CHECK((get(E1000_MDIC) & (BIT(28) | BIT(30))) == BIT(28));
	return get(E1000_MDIC) & 0xffff;
}

static void test_media(void)
{
	uint16_t sum = 0;

	setup();
	for (unsigned i = 0; i < 64; i++) {
		CHECK_IS(word_by_wires(i), word_by_register(i));
		sum += (uint16_t)word_by_register(i);
	}
	CHECK_IS(sum, 0xbaba);
	CHECK_IS(word_by_wires(1), 0x1200);
	CHECK_IS(phy(2) << 16 | (phy(3) & 0xfff0), 0x01410c20);
	CHECK_IS(phy(1) & 0x24, 0x24);
	attached.link(attached.opaque, false);
	CHECK_IS(phy(1) & 0x24, 0);
	CHECK(!(get(E1000_STATUS) & 2));
	CHECK(get(E1000_ICR) & E1000_LSC);
	set(E1000_MDIC, 2 << 16 | 2 << 21 | 2 << 26); // no such PHY
	CHECK(get(E1000_MDIC) & BIT(30));
}

// -- sending

static unsigned next_send;

static void put(uint64_t address, uint32_t low, uint32_t high)
{
	uint8_t *d = ram(SEND_RING + next_send * E1000_DESCRIPTOR);

	memcpy(d, &address, 8);
	memcpy(d + 8, &low, 4);
	memcpy(d + 12, &high, 4);
	next_send = (next_send + 1) % RING;
}

static void go(void)
{
	set(E1000_TDT, next_send);
}

static uint32_t sum_of(const uint8_t *p, size_t n)
{
	uint32_t s = 0;

	for (size_t i = 0; i < n; i++)
		s += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return s;
}

static void test_plain(void)
{
	setup();
	next_send = 0;
	for (unsigned i = 0; i < 100; i++)
		ram(DATA)[i] = (uint8_t)i;
	put(DATA, 40, 0);
	put(DATA + 40, 60 | (EOP | REPORT) << 24, 0);
	go();
	CHECK_IS(nsent, 1);
	CHECK_IS(sent_size[0], 100);
	CHECK(!memcmp(sent[0], ram(DATA), 100));
	CHECK(ram(SEND_RING + 16)[12] & 1);
	CHECK(!(ram(SEND_RING)[12] & 1)); // not asked for
	CHECK_IS(get(E1000_TDH), 2);
	CHECK(irq.level);
	CHECK(get(E1000_ICR) & E1000_TXDW);
	CHECK(!irq.level);
	CHECK_IS(get(E1000_GPTC), 1);
	CHECK_IS(get(E1000_GPTC), 0);
	put(DATA, 100 | (EOP | INSERT) << 24 | 50 << 16, 20u << 8); // the sum from byte 20 on, at byte 50
	go();
	CHECK(memcmp(sent[1] + 50, ram(DATA) + 50, 2));
	CHECK_IS((sum_of(sent[1] + 20, 80) + sum_of(ram(DATA) + 50, 2)) % 0xffff, 0);
	set(E1000_CTRL, get(E1000_CTRL) | E1000_CTRL_VME);
	set(E1000_VET, 0x8100);
	put(DATA, 100 | (uint32_t)(EOP | TAGGED) << 24, 0x123u << 16);
	go();
	CHECK_IS(sent_size[2], 104);
	CHECK(!memcmp(sent[2] + 12, "\x81\x00\x01\x23", 4) && !memcmp(sent[2] + 16, ram(DATA) + 12, 88));
	has_no_room = true;
	put(DATA, 100 | (EOP | REPORT) << 24, 0);
	go();
	CHECK_IS(nsent, 3);
	CHECK(get(E1000_TDH) != get(E1000_TDT));
	has_no_room = false;
	attached.enter(attached.opaque);
	attached.sendable(attached.opaque);
	attached.leave(attached.opaque);
	CHECK_IS(nsent, 4);
	CHECK_IS(get(E1000_TDH), get(E1000_TDT));
}

static void test_segments(void)
{
	enum { MSS = 500, PAYLOAD = 1200 };
	uint8_t *h = ram(HEADER);
	unsigned at = 0;

	setup();
	next_send = 0;
	for (unsigned i = 0; i < 54; i++)
		h[i] = (uint8_t)(i * 7);
	h[14] = 0x45;
	memset(h + 24, 0, 2);
	memcpy(h + 18, "\xff\xff", 2);         // identification: the next one wraps
	memcpy(h + 38, "\x00\x00\x10\x00", 4); // sequence number
	h[47] = 0x19;                          // FIN, PUSH, ACK
	h[50] = (uint8_t)((sum_of(h + 26, 8) + 6) >> 8);
	h[51] = (uint8_t)(sum_of(h + 26, 8) + 6);
	for (unsigned i = 0; i < PAYLOAD; i++)
		ram(DATA)[i] = (uint8_t)(i * 3);
	put(14 | 24 << 8 | (uint64_t)33 << 16 | (uint64_t)34 << 32 | (uint64_t)50 << 40,
	    PAYLOAD | (uint32_t)(EXTENDED | INSERT | 3) << 24, 54 << 8 | (uint32_t)MSS << 16);
	put(HEADER, 54 | 1 << 20 | (uint32_t)(EXTENDED | INSERT) << 24, 3 << 8);
	put(DATA, PAYLOAD | 1 << 20 | (uint32_t)(EXTENDED | INSERT | EOP | REPORT) << 24, 0);
	go();
	CHECK_IS(nsent, 3);
	for (unsigned i = 0; i < nsent; i++) {
		unsigned part = i < 2 ? MSS : PAYLOAD - 2 * MSS;
		uint8_t *f = sent[i], pseudo[12];

		CHECK_IS(sent_size[i], 54 + part);
		CHECK_IS(f[16] << 8 | f[17], 40 + part);
		CHECK_IS(f[18] << 8 | f[19], (0xffff + i) & 0xffff);
		CHECK_IS(sum_of(f + 14, 20), 0xffff);
		CHECK_IS(f[38] << 24 | f[39] << 16 | f[40] << 8 | f[41], 0x1000 + at);
		CHECK_IS(f[47], i == 2 ? 0x19 : 0x10);
		memcpy(pseudo, f + 26, 8);
		memcpy(pseudo + 8, (uint8_t[]){0, 6, (uint8_t)((20 + part) >> 8), (uint8_t)(20 + part)}, 4);
		CHECK_IS((sum_of(pseudo, 12) + sum_of(f + 34, 20 + part)) % 0xffff, 0);
		CHECK(!memcmp(f + 54, ram(DATA) + at, part));
		at += part;
	}
}

// -- receiving

static bool receive(const uint8_t *to, unsigned size, unsigned flags)
{
	static uint8_t bytes[20000];
	struct iovec one = {bytes, size};
	bool taken;

	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(i + size);
	memcpy(bytes, to, 6);
	attached.enter(attached.opaque);
	taken = attached.receive(attached.opaque, &(struct net_frame){&one, 1, {.flags = (uint8_t)flags}});
	attached.received(attached.opaque);
	attached.leave(attached.opaque);
	return taken;
}

static const uint8_t *received(unsigned i)
{
	return ram(RECEIVE_RING + i * E1000_DESCRIPTOR);
}

static void test_receive(void)
{
	static const uint8_t own[6] = {0x52, 0x54, 0, 0x12, 0x34, 0x56}, other[6] = {0x52, 0, 0, 0, 0, 1},
		group[6] = {1, 0, 0x5e, 0, 0, 0xfb}, all[6] = {255, 255, 255, 255, 255, 255};

	setup();
	CHECK(receive(own, 100, 0));
	CHECK(receive(other, 100, 0) && receive(group, 100, 0));
	CHECK_IS(get(E1000_RDH), 1);
	CHECK_IS(received(0)[8], 100);
	CHECK_IS(received(0)[12] & 7, 7); // done, the end, no checksum looked at
	CHECK(!memcmp(ram(BUFFERS), own, 6) && ram(BUFFERS)[50] == 150);
	CHECK(irq.level && (get(E1000_ICR) & E1000_RXT0));
	set(E1000_MTA + (0xfb00 >> 4 & 0xfff) / 32 * 4, BIT((0xfb00 >> 4 & 0xfff) % 32));
	CHECK(receive(group, 60, 0) && receive(all, 20, 0));
	CHECK_IS(get(E1000_RDH), 3);
	CHECK_IS(received(2)[8], 60); // padded
	set(E1000_RXCSUM, BIT(9));
	set(E1000_RCTL, get(E1000_RCTL) | BIT(5) | BIT(3)); // long ones, all addresses
	CHECK(receive(other, 5000, NET_CHECKED));
	CHECK_IS(get(E1000_RDH), 6);
	CHECK_IS(received(5)[8] | received(5)[9] << 8, 5000 - 4096);
	CHECK_IS(received(5)[12], 0x63);
	CHECK_IS(received(4)[12], 1);
	set(E1000_RDT, 7);
	CHECK(!receive(own, 5000, 0)); // it is given whole or not at all
	CHECK_IS(get(E1000_RDH), 6);
	set(E1000_RCTL, 0);
	CHECK(receive(own, 100, 0)); // off: it is nobody's
}

static void test_random(void)
{
	static const uint16_t known[] = {E1000_CTRL, E1000_EECD, E1000_EERD, E1000_MDIC, E1000_ICS, E1000_IMS, E1000_RCTL,
		E1000_TCTL, E1000_RDBAL, E1000_RDBAH, E1000_RDLEN, E1000_RDH, E1000_RDT, E1000_TDBAL, E1000_TDBAH, E1000_TDLEN,
		E1000_TDH, E1000_TDT, E1000_RXCSUM, E1000_VET};

	setup();
	for (unsigned i = 0; i < ROUNDS; i++) {
		unsigned off = random_bits() % 3 ? known[random_bits() % ARRAY_SIZE(known)] : random_bits() % E1000_SIZE & ~3u;
		uint32_t value = random_bits() << 16 ^ random_bits();

		if (off == E1000_CTRL && random_bits() % 16)
			value &= ~(uint32_t)E1000_CTRL_RST;
		if ((off == E1000_RDBAH || off == E1000_TDBAH) && random_bits() % 8)
			value = 0;
		if (off == E1000_RDBAL || off == E1000_TDBAL)
			value = random_bits() % (RAM + 4096);
		if (off == E1000_RDT || off == E1000_TDT || off == E1000_RDH || off == E1000_TDH)
			value %= 4096;
		set(off, value);
		ram(random_bits() % RAM)[0] = (uint8_t)random_bits();
		if (i % 64 == 0) // a descriptor that leads somewhere
			*(uint64_t *)(void *)ram((random_bits() % (RAM - 16)) & ~15u) = random_bits() % RAM;
		if (i % 5 == 0)
			receive((uint8_t[]){255, 255, 255, 255, 255, 255}, 14 + random_bits() % 9000, random_bits() & 3);
		if (i % 1000 == 0)
			has_no_room = !has_no_room;
		if (i % 500 == 0) {
			attached.enter(attached.opaque);
			attached.sendable(attached.opaque);
			attached.leave(attached.opaque);
		}
		get(off);
	}
}

int main(void)
{
	uint8_t *at = mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			   -1, 0);

	CHECK(at == (void *)ZONE_RAM);
	mem_layout(&mem, RAM);
	test_media();
	test_plain();
	test_segments();
	test_receive();
	test_random();
	printf("e1000: %d failures\n", failures);
	return failures != 0;
}
