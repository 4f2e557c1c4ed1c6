// SPDX-License-Identifier: MIT
//
// The app's devices: calendar, formats and setting of the real-time clock, its three interrupts, memory bytes; the
// keyboard controller as Linux and firmware probe it; debug exit.
#include <sys/mman.h>
#include <time.h>

#include "chip_test.h"
#include "dev/debug_exit.h"
#include "dev/fw_cfg.h"
#include "dev/i8042.h"
#include "dev/keys.h"
#include "dev/mc146818.h"
#include "dev/rtc_time.h"

#define S UINT64_C(1000000000)

static struct mc146818 rtc;
static struct probe irq;
static int64_t epoch;

static int64_t realtime(void *opaque)
{
	return epoch * (int64_t)S + test_ns;
}

static uint8_t cmos(unsigned index)
{
	outb(0x70, index);
	return inb(0x71);
}

static void set_cmos(unsigned index, uint8_t v)
{
	outb(0x70, index);
	outb(0x71, v);
}

static void setup(int64_t when)
{
	test_bus();
	epoch = when;
	irq = (struct probe){0};
	bus_init_dev(&bus, &rtc.dev, &mc146818_class);
	rtc.irq = probe_line(&irq);
	rtc.realtime = realtime;
	mc146818_start(&rtc);
	CHECK(!bus_add(&bus, BUS_PORT, MC146818_BASE, MC146818_LEN, &rtc.dev, 0));
}

static void test_calendar(void)
{
	for (int64_t s = -5000000000; s < 9000000000; s += 86399 * 17 + 1) {
		struct rtc_time t = rtc_time_from_seconds(s);
		time_t host = s;
		struct tm tm;

		gmtime_r(&host, &tm);
		CHECK(t.year == tm.tm_year + 1900 && t.month == tm.tm_mon + 1 && t.day == tm.tm_mday);
		CHECK(t.hour == tm.tm_hour && t.minute == tm.tm_min && t.second == tm.tm_sec && t.weekday == tm.tm_wday + 1);
		CHECK_IS(rtc_time_to_seconds(&t), s);
	}
	for (unsigned b = 0; b < 8; b += 2) {
		for (unsigned h = 0; h < 24; h++)
			CHECK_IS(rtc_decode_hour(rtc_encode_hour(h, b), b), h);
	}
	CHECK_IS(rtc_encode_hour(0, 0), 0x12);
	CHECK_IS(rtc_encode_hour(13, 0), 0x81);
	CHECK_IS(rtc_encode_hour(12, 4), 0x8c);
}

static void test_time(void)
{
	setup(1792540799); // 2026-10-20 23:59:59, a Tuesday
	CHECK_IS(cmos(9), 0x26);
	CHECK_IS(cmos(8), 0x10);
	CHECK_IS(cmos(7), 0x20);
	CHECK_IS(cmos(6), 3);
	CHECK_IS(cmos(4), 0x23);
	CHECK_IS(cmos(0x32), 0x20);
	CHECK_IS(cmos(10) & 0x80, 0);
	run_to(S - 200000);
	CHECK_IS(cmos(10) & 0x80, 0x80);
	run_to(S);
	CHECK_IS(cmos(10) & 0x80, 0);
	CHECK_IS(cmos(7), 0x21);
	CHECK_IS(cmos(0), 0);
	CHECK_IS(cmos(13), 0x80);
	set_cmos(11, 0x82); // set the clock
	run_for(5 * S);
	CHECK_IS(cmos(0), 0);
	set_cmos(0, 0x30);
	set_cmos(2, 0x15);
	set_cmos(4, 0x07);
	set_cmos(9, 0x31);
	set_cmos(11, 0x02);
	run_for(2 * S);
	CHECK_IS(cmos(0), 0x32);
	CHECK_IS(cmos(2), 0x15);
	CHECK_IS(cmos(4), 0x07);
	CHECK_IS(cmos(9), 0x31);
	set_cmos(11, 0x06); // binary
	CHECK_IS(cmos(0), 32);
	CHECK_IS(cmos(9), 31);
	set_cmos(0x0f, 0x5a);
	CHECK_IS(cmos(0x8f), 0x5a);
	CHECK_IS(inb(0x70), 0xff);
}

static void test_interrupts(void)
{
	setup(1792540799);
	cmos(12);
	run_to(3 * S + 5000000);
	CHECK_IS(cmos(12), 0x70); // flags come without interrupts too; the alarm bytes say midnight
	CHECK_IS(cmos(12), 0);
	CHECK(!irq.level && !bus.earliest);
	set_cmos(11, 0x12); // update ended
	run_to(4 * S);
	CHECK(irq.level);
	CHECK_IS(cmos(12), 0xd0);
	CHECK(!irq.level);
	set_cmos(11, 0x42); // periodic, 1024 Hz
	cmos(12);
	irq.rises = 0;
	for (unsigned i = 0; i < 1024; i++) {
		run_to(4 * S + S * (i + 1) / 1024 + 1000);
		CHECK_IS(cmos(12) & 0xc0, 0xc0);
	}
	CHECK_IS(irq.rises, 1024);
	set_cmos(11, 0x22);
	set_cmos(5, 0xff); // any hour
	set_cmos(3, 0x00);
	set_cmos(1, 0x10);
	cmos(12);
	run_to(10 * S);
	CHECK(!irq.level);
	run_to(11 * S); // 00:00:10
	CHECK(irq.level);
	CHECK_IS(cmos(12) & 0xa0, 0xa0);
	run_to(3610 * S);
	CHECK(!irq.level);
	run_to(3611 * S);
	CHECK(irq.level);
	rtc.dev.class->reset(&rtc.dev);
	CHECK(!irq.level);
	CHECK_IS(cmos(11), 0x02);
}

static void test_memory(void)
{
	setup(0);
	mc146818_set_memory(&rtc, UINT64_C(512) << 20, 0);
	CHECK_IS(cmos(0x15) | cmos(0x16) << 8, 640);
	CHECK_IS(cmos(0x17) | cmos(0x18) << 8, 0xffff);
	CHECK_IS(cmos(0x30) | cmos(0x31) << 8, 0xffff);
	CHECK_IS(cmos(0x34) | cmos(0x35) << 8, 496 * 16);
	mc146818_set_memory(&rtc, UINT64_C(3) << 30, UINT64_C(5) << 30);
	CHECK_IS(cmos(0x34) | cmos(0x35) << 8, 3056 * 16);
	CHECK_IS(cmos(0x5b) | cmos(0x5c) << 8 | cmos(0x5d) << 16, 5 * 16384);
	mc146818_set_cpus(&rtc, 4);
	CHECK_IS(cmos(0x5f), 3);
}

static unsigned resets;
static int a20 = -1, exit_status;

static void on_reset(void *opaque)
{
	resets++;
}

static void on_a20(void *opaque, bool open)
{
	a20 = open;
}

static void on_exit_status(void *opaque, int status)
{
	exit_status = status;
}

static unsigned command(uint8_t c)
{
	outb(0x64, c);
	return inb(0x64) & 1 ? inb(0x60) : 0x100;
}

// An operator's keys: in set 2, or as set 1 where the controller translates; all of a key or nothing.
static void test_keys(struct i8042 *kbc)
{
	unsigned typed = 0;

	outb(0x64, 0x60);
	outb(0x60, 0x05); // no translation
	while (inb(0x64) & 1)
		inb(0x60);
	CHECK(i8042_key(kbc, key_find("up"), true));
	CHECK(i8042_key(kbc, key_find("up"), false));
	CHECK_IS(inb(0x60), 0xe0);
	CHECK_IS(inb(0x60), 0x75);
	CHECK_IS(inb(0x60), 0xe0);
	CHECK_IS(inb(0x60), 0xf0);
	CHECK_IS(inb(0x60), 0x75);
	CHECK_IS(inb(0x64) & 1, 0);
	outb(0x64, 0x60);
	outb(0x60, 0x45);
	CHECK(i8042_key(kbc, key_find("a"), true));
	CHECK(i8042_key(kbc, key_find("a"), false));
	CHECK_IS(inb(0x60), 0x1e);
	CHECK_IS(inb(0x60), 0x9e);
	CHECK(!key_find("nokey") && !i8042_key(kbc, 0x7f, true) && !i8042_key(kbc, 0x80, true));
	outb(0x64, 0xad); // its clock is held: it keeps what is typed
	CHECK(i8042_key(kbc, key_find("menu"), true));
	CHECK_IS(inb(0x64) & 1, 0);
	outb(0x64, 0xae);
	CHECK_IS(inb(0x60), 0xe0);
	CHECK_IS(inb(0x60), 0x5d);
	while (typed < 1000 && i8042_key(kbc, key_find("delete"), true))
		typed++;
	CHECK_IS(typed, (I8042_QUEUE + 1) / 2);
	while (inb(0x64) & 1)
		CHECK(inb(0x60) == 0xe0 && inb(0x60) == 0x53);
	outb(0x60, 0xf5); // not to scan
	CHECK_IS(inb(0x60), 0xfa);
	CHECK(!i8042_key(kbc, key_find("a"), true));
	outb(0x60, 0xf4);
	CHECK_IS(inb(0x60), 0xfa);
	CHECK(i8042_key(kbc, key_find("a"), true));
	CHECK_IS(inb(0x60), 0x1e);
}

static void test_i8042(void)
{
	static struct i8042 kbc;
	static struct debug_exit de;

	test_bus();
	irq = (struct probe){0};
	bus_init_dev(&bus, &kbc.dev, &i8042_class);
	kbc.irq = probe_line(&irq);
	kbc.reset = on_reset;
	kbc.a20 = on_a20;
	CHECK(!bus_add(&bus, BUS_PORT, I8042_DATA, 1, &kbc.dev, I8042_RANGE_DATA));
	CHECK(!bus_add(&bus, BUS_PORT, I8042_COMMAND, 1, &kbc.dev, I8042_RANGE_COMMAND));
	CHECK(!bus_add(&bus, BUS_PORT, I8042_PORT92, 1, &kbc.dev, I8042_RANGE_PORT92));
	CHECK_IS(inb(0x64), 0x14);
	CHECK_IS(command(0xaa), 0x55);
	CHECK_IS(command(0xab), 0x00);
	CHECK_IS(command(0xa9), 0x02); // no second port
	outb(0x64, 0xd3);
	outb(0x60, 0x5a);
	CHECK_IS(inb(0x64) & 0x21, 0x01);
	CHECK_IS(inb(0x60), 0x5a);
	outb(0x64, 0x60);
	outb(0x60, 0x65);
	CHECK_IS(command(0x20), 0x65);
	CHECK_IS(irq.rises, 5); // from the start interrupts were on
	outb(0x60, 0xf2); // "who are you": a keyboard
	CHECK(irq.level);
	CHECK_IS(inb(0x64) & 0x61, 0x01);
	CHECK_IS(inb(0x60), 0xfa);
	CHECK(irq.level && irq.rises == 7); // each byte has an edge of its own
	CHECK_IS(inb(0x60), 0xab);
	CHECK_IS(inb(0x60), 0x41);
	CHECK(!irq.level);
	CHECK_IS(inb(0x64) & 1, 0);
	outb(0x60, 0xff); // reset
	CHECK_IS(inb(0x60), 0xfa);
	CHECK_IS(inb(0x60), 0xaa);
	outb(0x60, 0xed); // its lights
	CHECK_IS(inb(0x60), 0xfa);
	outb(0x60, 0x02);
	CHECK_IS(inb(0x60), 0xfa);
	outb(0x60, 0xf0); // which scan codes
	CHECK_IS(inb(0x60), 0xfa);
	outb(0x60, 0x00);
	CHECK_IS(inb(0x60), 0xfa);
	CHECK_IS(inb(0x60), 2);
	outb(0x60, 0xfe); // again
	CHECK_IS(inb(0x60), 2);
	outb(0x60, 0xed);
	CHECK_IS(inb(0x60), 0xfa);
	outb(0x60, 0xee); // a command in its place
	CHECK_IS(inb(0x60), 0xee);
	outb(0x60, 0x01); // none
	CHECK_IS(inb(0x60), 0xfe);
	outb(0x60, 0xf4);
	outb(0x60, 0xff); // the first answer was not taken
	CHECK_IS(inb(0x60), 0xfa);
	CHECK_IS(inb(0x60), 0xfa);
	CHECK_IS(inb(0x60), 0xaa);
	CHECK(!irq.level);
	outb(0x64, 0xd4);
	outb(0x60, 0xf2);
	CHECK_IS(inb(0x64) & 0x61, 0x61);
	CHECK_IS(inb(0x60), 0xfe);
	CHECK_IS(inb(0x92), 2);
	outb(0x64, 0xd1);
	outb(0x60, 0xdd);
	CHECK_IS(a20, 0);
	CHECK_IS(inb(0x92), 0);
	outb(0x92, 2);
	CHECK_IS(a20, 1);
	CHECK_IS(command(0xd0) & 3, 3);
	CHECK_IS(resets, 0);
	outb(0x64, 0xfe);
	CHECK_IS(resets, 1);
	outb(0x92, 3);
	CHECK_IS(resets, 2);
	outb(0x64, 0xff);
	CHECK_IS(resets, 2);
	test_keys(&kbc);
	bus_init_dev(&bus, &de.dev, &debug_exit_class);
	de.exit = on_exit_status;
	CHECK(!bus_add(&bus, BUS_PORT, 0xf4, 4, &de.dev, 0));
	outl(0xf4, 0x10);
	CHECK_IS(exit_status, 0x21);
	CHECK_IS(inb(0xf4), 0);
}

// -- fw_cfg

static uint64_t told; // bytes of RAM that a device has announced to write

static void on_written(void *opaque, gpa_t gpa, uint64_t size)
{
	told += size;
}

static void put_big(uint8_t *p, uint64_t value, unsigned size)
{
	while (size--) {
		p[size] = (uint8_t)value;
		value >>= 8;
	}
}

// A DMA request at 0x100 in RAM; what becomes of its control word.
static uint32_t fw_dma(uint8_t *ram, uint32_t control, uint32_t size, uint64_t to)
{
	put_big(ram + 0x100, control, 4);
	put_big(ram + 0x104, size, 4);
	put_big(ram + 0x108, to, 8);
	outl(FW_CFG_DMA + 4, 0x00010000); // big-endian
	return (uint32_t)ram[0x100] << 24 | (uint32_t)ram[0x101] << 16 | (uint32_t)ram[0x102] << 8 | ram[0x103];
}

static void test_fw_cfg(void)
{
	enum { READ = 2, SKIP = 4, SELECT = 8, WRITE = 16, ERROR = 1, RAM = 1 << 16 };
	static struct fw_cfg c;
	struct mem mem;
	uint8_t *ram = mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	unsigned key;

	mem_layout(&mem, RAM);
	test_bus();
	bus_init_dev(&bus, &c.dev, &fw_cfg_class);
	CHECK(!bus_add(&bus, BUS_PORT, FW_CFG_BASE, FW_CFG_LEN, &c.dev, FW_CFG_RANGE_PORTS));
	CHECK(!bus_add(&bus, BUS_PORT, FW_CFG_DMA, FW_CFG_DMA_LEN, &c.dev, FW_CFG_RANGE_DMA));
	outw(FW_CFG_BASE, 1);
	CHECK_IS(inb(FW_CFG_BASE + 1), 1); // without memory, no DMA
	c.mem = &mem;
	c.will_write = on_written;
	outw(FW_CFG_BASE, 1);
	CHECK_IS(inb(FW_CFG_BASE + 1), 3);
	outw(FW_CFG_BASE, 0);
	for (const char *p = "QEMU"; *p; p++)
		CHECK_IS(inb(FW_CFG_BASE + 1), *p);
	CHECK_IS(inb(FW_CFG_BASE + 1), 0);
	CHECK_IS(inl(FW_CFG_DMA), 0x554d4551);
	CHECK_IS(inl(FW_CFG_DMA + 4), 0x47464320);
	CHECK(fw_cfg_add_file(&c, "etc/one", "abcdef", 6) && fw_cfg_add_file(&c, "etc/two", "xyz", 3));
	CHECK(fw_cfg_add_file(&c, "etc/two", "XYZ!", 4));
	CHECK_IS(fw_dma(ram, 0x19u << 16 | SELECT | READ, 4 + 2 * 64, 0x200), 0);
	CHECK_IS(told, 4 + 2 * 64 + 4);
	CHECK(!memcmp(ram + 0x200, "\0\0\0\2\0\0\0\6", 8) && !strcmp((char *)ram + 0x20c, "etc/one"));
	CHECK(!memcmp(ram + 0x244, "\0\0\0\4", 4) && !strcmp((char *)ram + 0x24c, "etc/two"));
	key = ram[0x248] << 8 | ram[0x249];
	outw(FW_CFG_BASE, key);
	CHECK_IS(inb(FW_CFG_BASE + 1), 'X');
	CHECK_IS(fw_dma(ram, SKIP, 1, 0), 0);
	memset(ram + 0x300, 7, 8);
	CHECK_IS(fw_dma(ram, READ, 4, 0x300), 0); // past the end: zeros
	CHECK(!memcmp(ram + 0x300, "Z!\0\0\7", 5));
	CHECK_IS(fw_dma(ram, SKIP, UINT32_MAX, 0), 0);
	CHECK_IS(inb(FW_CFG_BASE + 1), 0);
	CHECK_IS(fw_dma(ram, key << 16 | SELECT | WRITE, 4, 0x300), ERROR);
	CHECK_IS(fw_dma(ram, key << 16 | SELECT | READ, 16, RAM - 8), ERROR); // beyond RAM
	CHECK_IS(fw_dma(ram, key << 16 | SELECT | READ, UINT32_MAX, 0x300), ERROR);
	CHECK_IS(fw_dma(ram, key << 16 | SELECT | READ, 8, UINT64_MAX - 3), ERROR);
	CHECK_IS(fw_dma(ram, 0xffffu << 16 | SELECT | READ, 4, 0x300), 0); // no such item
	CHECK_IS(ram[0x300], 0);
	outl(FW_CFG_DMA, 0xffffffff); // a request that is not in RAM
	outl(FW_CFG_DMA + 4, 0xffffffff);
	for (unsigned i = 2; i < FW_CFG_FILES; i++) {
		char name[16];

		snprintf(name, sizeof(name), "f%u", i);
		CHECK(fw_cfg_add_file(&c, name, "", 0));
	}
	CHECK(!fw_cfg_add_file(&c, "one more", "", 0));
	munmap(ram, RAM);
}

int main(void)
{
	test_calendar();
	test_time();
	test_interrupts();
	test_memory();
	test_i8042();
	test_fw_cfg();
	return test_result();
}
