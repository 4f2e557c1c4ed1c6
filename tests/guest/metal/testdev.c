/* SPDX-License-Identifier: MIT */
/*
 * pc-testdev and isa-debugcon: the latch in all widths, device memory, interrupt lines as edges and levels through the
 * I/O APIC. Wants -device pc-testdev and -device isa-debugcon (tests/guests.txt).
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

enum { LATCH = 0xe0, BYTES = 0xe8, LINES = 0x2000, DEBUGCON = 0xe9 + 0x100, LINE = 14, VECTOR = 0x60 };
static volatile int taken;

static void on_irq(struct frame *f)
{
	taken++;
	outb(LINES + LINE, 0);
	apic_eoi();
}

static void outw(u16 p, u16 v)
{
	__asm__ volatile("outw %0, %1" : : "a"(v), "Nd"(p));
}

static void test_latch(void)
{
	outl(LATCH, 0x11223344);
	report(inl(LATCH) == 0x11223344, "latch, 32 bits", "%x", inl(LATCH));
	outb(LATCH + 1, 0xaa);
	outw(LATCH + 2, 0xbbcc);
	report(inl(LATCH) == 0xbbccaa44, "latch, bytes and words", "%x", inl(LATCH));
	report(inb(BYTES + 3) == 0xbb, "latch, second place", "%x", inb(BYTES + 3));
}

static void test_window(void)
{
	volatile u8 *w8 = (volatile u8 *)0xff000000;
	volatile u64 *w64 = (volatile u64 *)0xff000000;

	w64[0] = 0x1122334455667788;
	w8[3] = 0xee;
	report(w64[0] == 0x11223344ee667788, "device memory keeps what is written", "%lx", w64[0]);
	w64[0x10000 / 8 - 1] = 5;
	report(w64[0x10000 / 8 - 1] == 5 && w64[1] == 0, "its last eight bytes", "%lx", w64[0x10000 / 8 - 1]);
	__asm__ volatile("lock xaddq %0, (%1)" : : "r"(1ull), "r"(w64 + 2) : "memory");
	report(w64[2] == 1, "a locked add to it", "%lx", w64[2]);
}

static void test_line(const char *name, u32 entry)
{
	taken = 0;
	ioapic_write(0x10 + 2 * LINE + 1, (apic_read(APIC_ID) >> 24) << 24);
	ioapic_write(0x10 + 2 * LINE, entry);
	outb(LINES + LINE, 1);
	sti();
	nop();
	nop();
	cli();
	report(taken == 1, name, "taken %d times", taken);
	outb(LINES + LINE, 1);
	outb(LINES + LINE, 0);
	sti();
	nop();
	nop();
	cli();
	report(taken == 2, entry & 0x8000 ? "a level that is gone, but was sent" : "a pulse", "taken %d times", taken);
	ioapic_write(0x10 + 2 * LINE, 1 << 16);
}

void metal_main(void)
{
	static const char text[] = "a line of the debug console\n";

	outl(LATCH, 0x5aa5a55a);
	if (inl(LATCH) != 0x5aa5a55a) {
		report_skip("pc-testdev", "no such device: give -device pc-testdev");
		return;
	}
	apic_enable();
	trap_handle(VECTOR, on_irq);
	test_latch();
	test_window();
	test_line("an edge", VECTOR);
	test_line("a level", VECTOR | 0x8000);
	report(inb(DEBUGCON) == 0x77, "the debug console reads as it was told", "%x", inb(DEBUGCON));
	for (const char *s = text; *s; s++)
		outb(DEBUGCON, (u8)*s);
}
