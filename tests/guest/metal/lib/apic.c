/* SPDX-License-Identifier: MIT */
/*
 * The local APIC in both its modes, the IO-APIC, the two PICs, the PIT, and a TSC frequency measured by PIT
 * channel 2.
 */
#include "lib/metal.h"

bool x2apic;

u32 apic_read(int reg)
{
	return x2apic ? (u32)rdmsr(0x800 + (u32)reg / 16) : *(volatile u32 *)(0xfee00000ul + (u64)reg);
}

void apic_write(int reg, u32 value)
{
	if (x2apic)
		wrmsr(0x800 + (u32)reg / 16, value);
	else
		*(volatile u32 *)(0xfee00000ul + (u64)reg) = value;
}

void apic_enable(void)
{
	wrmsr(MSR_APIC_BASE, 0xfee00000 | 0x900);
	x2apic = false;
	apic_write(APIC_SPIV, 0x1ff);
	apic_write(APIC_LVTT, 0x10000);
	apic_write(APIC_LVTPC, 0x10000);
	apic_write(APIC_LVT0, 0x10000);
	apic_write(APIC_LVT1, 0x10000);
	apic_write(APIC_LVTERR, 0x10000);
	apic_write(APIC_TPR, 0);
}

bool apic_enter_x2(void)
{
	if (!has_x2apic())
		return false;
	wrmsr(MSR_APIC_BASE, 0xfee00000 | 0xd00);
	x2apic = true;
	return true;
}

void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

void apic_icr(u32 low)
{
	if (x2apic)
		wrmsr(0x830, low | 0x40000);
	else
		apic_write(APIC_ICR, low | 0x40000);
}

static bool apic_bit(int base, int vector)
{
	return apic_read(base + vector / 32 * 16) >> (vector & 31) & 1;
}

bool apic_irr(int vector)
{
	return apic_bit(APIC_IRR, vector);
}

bool apic_isr(int vector)
{
	return apic_bit(APIC_ISR, vector);
}

void pic_init(u8 mask1, u8 mask2)
{
	static const u8 words[2][4] = {{0x11, 0x20, 0x04, 0x01}, {0x11, 0x28, 0x02, 0x01}};

	for (int i = 0; i < 2; i++) {
		u16 port = i ? 0xa0 : 0x20;

		outb(port, words[i][0]);
		for (int w = 1; w < 4; w++)
			outb(port + 1, words[i][w]);
	}
	outb(0x21, mask1);
	outb(0xa1, mask2);
}

void pit_set(int channel, int mode, u16 count)
{
	outb(0x43, (u8)(channel << 6 | 0x30 | mode << 1));
	outb((u16)(0x40 + channel), (u8)count);
	outb((u16)(0x40 + channel), (u8)(count >> 8));
}

u16 pit_read(int channel)
{
	u8 low;

	outb(0x43, (u8)(channel << 6));
	low = inb((u16)(0x40 + channel));
	return (u16)(low | inb((u16)(0x40 + channel)) << 8);
}

void ioapic_write(u8 reg, u32 value)
{
	*(volatile u32 *)0xfec00000ul = reg;
	*(volatile u32 *)0xfec00010ul = value;
}

u32 ioapic_read(u8 reg)
{
	*(volatile u32 *)0xfec00000ul = reg;
	return *(volatile u32 *)0xfec00010ul;
}

struct sample clock_sample(u64 (*clock)(void))
{
	struct sample best = {0};
	u64 shortest = ~0ull;

	for (int i = 0; i < 20; i++) {
		u64 t0 = rdtsc(), c = clock(), t1 = rdtsc();

		if (t1 - t0 < shortest) {
			shortest = t1 - t0;
			best = (struct sample){c, t0 / 2 + t1 / 2};
		}
	}
	return best;
}

static u64 read_pit2(void)
{
	return pit_read(2);
}

/* Channel 2 in mode 0, gated by port 0x61: two readings 20 ms apart, within one run through. */
u64 tsc_khz(void)
{
	static u64 khz;
	struct sample a, b;

	for (int i = 0; !khz; i++) {
		outb(0x61, (inb(0x61) & ~2) | 1);
		pit_set(2, 0, 0xffff);
		a = clock_sample(read_pit2);
		while (pit_read(2) > 0xffff - 25000)
			;
		b = clock_sample(read_pit2);
		if (!(inb(0x61) & 0x20) || i == 20)
			khz = (b.tsc - a.tsc) * 1193182 / ((a.clock - b.clock) & 0xffff) / 1000;
	}
	return khz;
}

void wait_us(u64 us)
{
	u64 start = rdtsc(), ticks = us * tsc_khz() / 1000;

	while (rdtsc() - start < ticks)
		;
}

u64 scaled(u64 n)
{
	static u64 ticks;
	u64 start, took;

	for (int i = 0; i < 5 && !(i == 0 && ticks); i++) {	/* the first runs are slower: code is being translated */
		start = rdtsc();
		for (volatile int k = 0; k < 200; k++)
			;
		took = rdtsc() - start;
		if (!i || took < ticks)
			ticks = took;
	}
	return ticks > 200 * 500 ? n / 50 : n;
}
