/* SPDX-License-Identifier: MIT */
/*
 * A kernel in the lower half that does nothing but ask devices, as firmware and loaders do. What it reads must be
 * right; and as the host's mappings have no devices, it must not cost a fault of the host's each time: lowdevice.sh
 * looks at how many there were. The same for its data in the upper half, of which the host's mappings have none either.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {{0}};

#define APIC 0xfee00000ull
#define VA 0x7f0000001000ull
#define HIGH 0xffffff8000200000ull
enum { TURNS = 20000 };

static u32 version;

static noinline unsigned by_pointer(volatile u32 *p)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < TURNS; i++)
		bad += *p != version;
	return bad;
}

/* One way for memory and the device, in turn: the flags live across both. */
static noinline unsigned in_turn(volatile u32 *a, volatile u32 *b)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		volatile u32 *p = i & 1 ? a : b;

		bad += *p != version;
	}
	return bad;
}

static noinline unsigned with_index(volatile u32 *p, unsigned n)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < TURNS; i++)
		bad += p[n] != version;
	return bad;
}

static noinline unsigned write_and_read(volatile u32 *p)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		*p = i;
		bad += *p != i;
		*p += 1; /* a read and a write of one instruction */
		bad += *p != i + 1;
	}
	return bad;
}

static noinline u64 with_flags(u64 at) /* alive over the access */
{
	u64 bad = 0;

	for (unsigned i = 0; i < TURNS; i++) {
		u32 v;
		u8 carry;

		__asm__ volatile("stc\n\tmov (%2), %0\n\tsetc %1" : "=r"(v), "=q"(carry) : "r"(at) : "cc", "memory");
		bad += v != version || carry != 1;
	}
	return bad;
}

/* A loop in a loop around one pointer. */
static noinline unsigned sieve(volatile u8 *a, u64 n)
{
	unsigned primes = 0;

	for (u64 i = 0; i < n; i++)
		a[i] = 1;
	a[0] = a[1] = 0;
	for (u64 i = 2; i < n; i++) {
		if (!a[i])
			continue;
		primes++;
		for (u64 k = 2 * i; k < n; k += i)
			a[k] = 0;
	}
	return primes;
}

void metal_main(void)
{
	static volatile u32 memory;
	static _Alignas(4096) u8 data[16384];

	apic_enable();
	version = *(volatile u32 *)(APIC + APIC_VERSION);
	memory = version;
	page_map(VA, APIC | PTE_P | PTE_W | PTE_PCD);
	check_eq("a device by a pointer", by_pointer((volatile u32 *)(APIC + APIC_VERSION)), 0);
	check_eq("memory by the same", by_pointer(&memory), 0);
	check_eq("both in turn", in_turn((volatile u32 *)(VA + APIC_VERSION), &memory), 0);
	check_eq("by an index", with_index((volatile u32 *)VA, APIC_VERSION / 4), 0);
	check_eq("flags live", with_flags(APIC + APIC_VERSION), 0);
	for (unsigned i = 0; i < sizeof(data); i += 4096)
		page_map(HIGH + i, (u64)(data + i) | PTE_P | PTE_W);
	for (unsigned i = 0; i < 5; i++)
		check_eq("data of the upper half", sieve((volatile u8 *)HIGH, sizeof(data)), 1900);
	check_eq("writes", write_and_read((volatile u32 *)(VA + APIC_TMICT)), 0);
}
