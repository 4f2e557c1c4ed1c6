/* SPDX-License-Identifier: MIT */
/*
 * After each kind of invalidation the new mapping is what reads, writes and fetches see: INVLPG, MOV CR3, MOV CR4,
 * INVPCID, PCIDs with and without the no-flush bit, global pages, large pages, changes at every level; aliases; A
 * and D. What may still be seen before an invalidation is not checked: the manual allows either.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"2 MiB page changed, INVLPG of one address: code", "SDM vol. 3, 4.10.4.1: all of a large page goes"},
	{"1 GiB page, INVLPG of another address in it", "SDM vol. 3, 4.10.4.1: all of a large page goes"},
	{0},
};

#define VA 0x7f0000001000ull
#define VA2 0x7f0000a01000ull
#define VA_LARGE 0x7f0040000000ull
#define VA_MANY 0x7f0100000000ull
enum { FRAMES = 4, RW = PTE_P | PTE_W | PTE_U };

static u64 frame[FRAMES], large[2];

/* Each frame: its number as data at +64, and code that returns it at +0. */
static void fill(u64 f, u32 n)
{
	u8 *p = (u8 *)f;

	p[0] = 0xb8;
	memcpy(p + 1, &n, 4);
	p[5] = 0xc3;
	*(u32 *)(p + 64) = n;
}

static u64 call_at(u64 va)
{
	u64 r;

	__asm__ volatile("call *%1" : "=a"(r) : "r"(va) : "rcx", "rdx", "memory", "cc");
	return r;
}

static u32 read_at(u64 va) { return *(volatile u32 *)(va + 64); }

/* --- ways to invalidate --- */
static u64 target;
static void by_invlpg(void) { invlpg(target); }
static void by_cr3(void) { write_cr3(read_cr3()); }
static void by_pge(void) { write_cr4(read_cr4() ^ CR4_PGE); write_cr4(read_cr4() ^ CR4_PGE); }
static void by_pcide_free(void) { write_cr0(read_cr0()); write_cr3(read_cr3()); }
static void by_smep(void) { write_cr4(read_cr4() | CR4_SMEP); write_cr4(read_cr4() & ~(u64)CR4_SMEP);
	write_cr3(read_cr3()); }
static void by_invpcid_address(void) { invpcid(0, read_cr3() & 0xfff, target); }
static void by_invpcid_context(void) { invpcid(1, read_cr3() & 0xfff, 0); }
static void by_invpcid_all(void) { invpcid(2, 0, 0); }
static void by_invpcid_nonglobal(void) { invpcid(3, 0, 0); }
static void by_invlpg_twice(void) { invlpg(target + 4095); invlpg(target & ~4095ull); }

static const struct way { const char *name; void (*flush)(void); bool global, pcid; } ways[] = {
	{"INVLPG", by_invlpg, true, false}, {"MOV CR3", by_cr3, false, false}, {"CR4.PGE toggled", by_pge, true, false},
	{"MOV CR0, MOV CR3", by_pcide_free, false, false}, {"CR4.SMEP set", by_smep, false, false},
	{"INVPCID address", by_invpcid_address, false, true}, {"INVPCID context", by_invpcid_context, false, true},
	{"INVPCID all", by_invpcid_all, true, true}, {"INVPCID non-global", by_invpcid_nonglobal, false, true},
	{"INVLPG at the page's last byte", by_invlpg_twice, true, false},
};

static bool offered(const struct way *w)
{
	return !(w->pcid && !has_invpcid()) && !(w->flush == by_smep && !has_smep());
}

/* Map, use, change, invalidate, use. */
static void test_remap(const struct way *w, u64 extra, const char *what)
{
	char name[96];
	u64 bad = 0, first = 0;

	target = VA;
	for (u64 i = 0; i < 200; i++) {
		u64 f = i % FRAMES, got;

		*page_entry(VA, 1) = frame[f] | RW | extra;
		w->flush();
		got = read_at(VA);
		if (got != 100 + f && !bad++)
			first = i << 32 | got;
		if (i & 1) {
			got = call_at(VA);
			if (got != 100 + f && !bad++)
				first = i << 32 | 1 << 16 | got;
		}
		*(volatile u32 *)(VA + 128) = (u32)i;
		if (*(volatile u32 *)(frame[f] + 128) != (u32)i && !bad++)
			first = i << 32 | 2 << 16;
	}
	*page_entry(VA, 1) = 0;
	w->flush();
	TRY("mov (%0), %%eax", : "r"(VA) : "rax");
	if ((trap.vector != PF || trap.f.error != 0) && !bad++)
		first = 3 << 16;
	TRY("call *%0", : "r"(VA) : "rax", "memory");
	if ((trap.vector != PF || trap.f.error & 1) && !bad++)
		first = 4 << 16;
	*page_entry(VA, 1) = frame[1] | RW | extra;	/* not present to present needs no invalidation */
	if (read_at(VA) != 101 && !bad++)
		first = 5 << 16;
	if (call_at(VA) != 101 && !bad++)
		first = 6 << 16;
	format(name, sizeof name, "%s: %s", w->name, what);
	report(!bad, name, "%lu bad, first round %lu what %lx", bad, first >> 32, first & 0xffffffff);
}

/* Rights taken away. */
static void test_rights(const struct way *w, u64 extra, const char *what)
{
	char name[96];

	target = VA;
	write_cr0(read_cr0() | CR0_WP);
	*page_entry(VA, 1) = frame[0] | RW | extra;
	w->flush();
	*(volatile u32 *)(VA + 200) = 1;
	*page_entry(VA, 1) = frame[0] | PTE_P | PTE_U | extra;
	w->flush();
	TRY("movl $2, 200(%0)", : "r"(VA) : "memory");
	format(name, sizeof name, "%s: write right taken, %s", w->name, what);
	check_trap(name, PF, 3, 0);
	*page_entry(VA, 1) = frame[0] | RW | extra;
	w->flush();
	TRY("movl $2, 200(%0)", : "r"(VA) : "memory");
	format(name, sizeof name, "%s: write right given, %s", w->name, what);
	check_none(name);
	call_at(VA);
	*page_entry(VA, 1) = frame[0] | RW | extra | PTE_NX;
	w->flush();
	TRY("call *%0", : "r"(VA) : "rax", "memory");
	format(name, sizeof name, "%s: execute right taken, %s", w->name, what);
	check_trap(name, PF, 0x11, VA);
	*page_entry(VA, 1) = frame[0] | RW | extra;
	w->flush();
	TRY("call *%0", : "r"(VA) : "rax", "memory");
	format(name, sizeof name, "%s: execute right given, %s", w->name, what);
	check_none(name);
	write_cr0(read_cr0() & ~(u64)CR0_WP);
}

/* A and D are set again after they were cleared. */
static void test_ad(const struct way *w, u64 extra)
{
	char name[96];
	u64 *e = page_entry(VA, 1), bad = 0;

	target = VA;
	for (int i = 0; i < 50; i++) {
		*e = frame[0] | RW | extra;
		w->flush();
		read_at(VA);
		bad += (*e & (PTE_A | PTE_D)) != PTE_A;
		*(volatile u32 *)(VA + 300) = 1;
		bad += (*e & (PTE_A | PTE_D)) != (PTE_A | PTE_D);
		*e &= ~(u64)PTE_D;
		w->flush();
		read_at(VA);
		bad += !!(*e & PTE_D);
		__asm__ volatile("rep stosb" : : "D"(VA + 310), "c"(8l), "a"(0) : "memory");
		bad += !(*e & PTE_D);
		*e &= ~(u64)(PTE_A | PTE_D);
		w->flush();
		call_at(VA);
		bad += (*e & (PTE_A | PTE_D)) != PTE_A;
	}
	format(name, sizeof name, "%s: A and D set again", w->name);
	report(!bad, name, "%lu bad, entry %lx", bad, *e);
}

static void test_user_side(const struct way *w);

/* --- large pages --- */
static void test_large(void)
{
	u64 *pde = page_entry(VA_LARGE, 2), bad = 0, bad_code = 0, pt = page_alloc(), pt2 = page_alloc();

	for (u64 i = 0; i < 512; i++) {
		fill(large[0] + i * 4096, (u32)(1000 + i));
		fill(large[1] + i * 4096, (u32)(2000 + i));
		((u64 *)pt)[i] = (large[1] + i * 4096) | RW;
		((u64 *)pt2)[i] = (large[0] + (511 - i) * 4096) | RW;
	}
	for (int round = 0; round < 10; round++) {
		*pde = large[round & 1] | RW | PTE_PS;
		invlpg(VA_LARGE + 0x1ff000 / 10 * (u64)round);
		for (u64 i = 0; i < 512; i += 7) {
			u64 want = (round & 1 ? 2000 : 1000) + i;

			bad += read_at(VA_LARGE + i * 4096) != want;
			if (i % 5 == 0)
				bad_code += call_at(VA_LARGE + i * 4096) != want;
		}
	}
	report(!bad, "2 MiB page changed, INVLPG of one address", "%lu bad", bad);
	report(!bad_code, "2 MiB page changed, INVLPG of one address: code", "%lu bad", bad_code);
	bad = 0;
	for (int round = 0; round < 10; round++) {
		*pde = round & 1 ? (pt2 | RW) : (large[0] | RW | PTE_PS);
		write_cr3(read_cr3());
		for (u64 i = 0; i < 512; i += 7) {
			bad += read_at(VA_LARGE + i * 4096) != 1000 + (round & 1 ? 511 - i : i);
			bad += call_at(VA_LARGE + i * 4096) != 1000 + (round & 1 ? 511 - i : i);
		}
	}
	report(!bad, "2 MiB page split and joined, MOV CR3", "%lu bad", bad);
	*pde = pt | RW;
	write_cr3(read_cr3());
	/* Another table under the entry above; a change two and three levels up. */
	*page_entry(VA_LARGE, 1) = frame[2] | RW;
	invlpg(VA_LARGE);
	check_eq("entry in the new table", read_at(VA_LARGE), 102);
	*page_entry(VA_LARGE, 2) = pt2 | RW;
	invlpg(VA_LARGE);
	check_eq("PDE changed, INVLPG", read_at(VA_LARGE), 1511);
	*page_entry(VA_LARGE, 3) &= ~(u64)PTE_P;
	write_cr3(read_cr3());
	TRY("mov (%0), %%eax", : "r"(VA_LARGE) : "rax");
	check_trap("PDPTE not present, MOV CR3", PF, 0, 0);
	*page_entry(VA_LARGE, 3) |= PTE_P;
	check_eq("PDPTE present again", read_at(VA_LARGE), 1511);
	boot_pml4[VA_LARGE >> 39 & 511] &= ~(u64)PTE_W;
	write_cr0(read_cr0() | CR0_WP);
	write_cr3(read_cr3());
	TRY("movl $1, 128(%0)", : "r"(VA_LARGE) : "memory");
	check_trap("PML4E read-only, MOV CR3", PF, 3, 0);
	boot_pml4[VA_LARGE >> 39 & 511] |= PTE_W;
	write_cr3(read_cr3());
	write_cr0(read_cr0() & ~(u64)CR0_WP);
	if (has_gbpages()) {
		u64 *pdpte = page_entry(VA_LARGE + (1 << 30), 3);

		*pdpte = RW | PTE_PS;
		invlpg(VA_LARGE + (1 << 30));
		bad = read_at(VA_LARGE + (1 << 30) + frame[0]) != 100;
		bad += read_at(VA_LARGE + (1 << 30) + large[1] + 5 * 4096) != 2005;
		bad += call_at(VA_LARGE + (1 << 30) + large[1] + 5 * 4096) != 2005;
		*pdpte = RW | PTE_PS | PTE_NX;	/* while a large page maps it, INVLPG takes all of it (SDM vol. 3, 4.10.4.1) */
		invlpg(VA_LARGE + (1 << 30) + 0x12345000);
		TRY("call *%0", : "r"(VA_LARGE + (1 << 30) + large[1] + 5 * 4096) : "rax", "memory");
		bad += trap.vector != PF;
		*pdpte = 0;
		write_cr3(read_cr3());
		TRY("mov (%0), %%eax", : "r"(VA_LARGE + (1 << 30) + frame[0]) : "rax");
		bad += trap.vector != PF;
		report(!bad, "1 GiB page, INVLPG of another address in it", "%lu bad", bad);
	}
}

/* --- many pages: more than any TLB holds --- */
static void test_many(void)
{
	enum { N = 1024 };
	u64 base = page_alloc(), bad = 0;

	for (int i = 1; i < N; i++)
		page_alloc();
	for (u64 i = 0; i < N; i++)
		*(u32 *)(base + i * 4096 + 64) = (u32)i;
	for (int round = 0; round < 6; round++) {
		for (u64 i = 0; i < N; i++) {
			u64 f = round & 1 ? N - 1 - i : i;

			*page_entry(VA_MANY + i * 4096, 1) = (base + f * 4096) | RW | (i & 3 ? 0 : PTE_G);
			if (round >= 3)
				invlpg(VA_MANY + i * 4096);
		}
		if (round < 3)
			by_pge();
		for (u64 i = 0; i < N; i++)
			bad += read_at(VA_MANY + i * 4096) != (round & 1 ? N - 1 - i : i);
		for (u64 i = 0; i < N; i++)
			*(volatile u32 *)(VA_MANY + i * 4096 + 72) = (u32)(i + 77);
		for (u64 i = 0; i < N; i++)
			bad += *(volatile u32 *)(base + i * 4096 + 72) != 77 + (round & 1 ? N - 1 - i : i);
	}
	report(!bad, "1024 pages remapped in reverse", "%lu bad", bad);
}

/* --- PCIDs --- */
static void test_pcid(void)
{
	u64 cr3a = read_cr3() & PTE_ADDR, cr3b = page_alloc(), bad = 0;
	u64 *entry_b, va = 11ull << 39;
	u64 keep = 1ull << 63;

	if (!has_pcid()) {
		report_skip("PCID", "not in CPUID");
		return;
	}
	memcpy((void *)cr3b, boot_pml4, 4096);
	((u64 *)cr3b)[va >> 39] = 0;
	*page_entry(va, 1) = frame[0] | RW;
	write_cr3(cr3b);
	entry_b = page_entry(va, 1);
	*entry_b = frame[1] | RW;
	write_cr3(cr3a);
	write_cr4(read_cr4() | CR4_PCIDE);
	for (int i = 0; i < 100; i++) {
		write_cr3(cr3a | 1 | (i & 1 ? keep : 0));
		bad += read_at(va) != 100;
		bad += call_at(va) != 100;
		write_cr3(cr3b | 2 | (i & 2 ? keep : 0));
		bad += read_at(va) != 101;
		bad += call_at(va) != 101;
	}
	report(!bad, "two PCIDs, two mappings", "%lu bad", bad);
	check_eq("the no-flush bit does not stay in CR3", read_cr3(), cr3b | 2);
	/* Changed in the other context, then invalidated from here. */
	write_cr3(cr3a | 1);
	read_at(va);
	call_at(va);
	write_cr3(cr3b | 2 | keep);
	*entry_b = frame[2] | RW;
	invlpg(va);
	check_eq("INVLPG in one PCID", read_at(va), 102);
	check_eq("INVLPG in one PCID, code", call_at(va), 102);
	if (has_invpcid()) {
		write_cr3(cr3a | 1 | keep);
		check_eq("the other PCID is as it was", read_at(va), 100);
		for (int type = 0; type < 4; type++) {
			char name[64];

			read_at(va);
			call_at(va);
			write_cr3(cr3b | 2 | keep);
			read_at(va);
			call_at(va);
			*entry_b = frame[type] | RW;
			write_cr3(cr3a | 1 | keep);
			invpcid((u64)type, 2, va);
			write_cr3(cr3b | 2 | keep);
			format(name, sizeof name, "INVPCID type %d of another PCID", type);
			check_eq(name, read_at(va), 100 + (u64)type);
			format(name, sizeof name, "INVPCID type %d of another PCID, code", type);
			check_eq(name, call_at(va), 100 + (u64)type);
			write_cr3(cr3a | 1 | keep);
		}
		TRY("invpcid (%0), %1", : "r"((u64[]){0, 0}), "r"(4ull) : "memory");
		check_trap("#GP: INVPCID type 4", GP, 0, 0);
		TRY("invpcid (%0), %1", : "r"((u64[]){0x1000, 0}), "r"(1ull) : "memory");
		check_trap("#GP: INVPCID reserved bits", GP, 0, 0);
		TRY("invpcid (%0), %1", : "r"((u64[]){1, NON_CANONICAL}), "r"(0ull) : "memory");
		check_trap("#GP: INVPCID of a non-canonical address", GP, 0, 0);
	}
	/* Without the no-flush bit the PCID's translations go. */
	write_cr3(cr3b | 2);
	*entry_b = frame[3] | RW;
	write_cr3(cr3a | 1);
	write_cr3(cr3b | 2);
	check_eq("MOV CR3 without no-flush", read_at(va), 103);
	check_eq("MOV CR3 without no-flush, code", call_at(va), 103);
	/* Clearing PCIDE flushes all; needs PCID 0 only to be set again. */
	write_cr3(cr3a);
	TRY("mov %0, %%cr4", : "r"(read_cr4() & ~(u64)CR4_PCIDE) : "memory");
	check_none("PCIDE cleared");
	TRY("mov %0, %%cr3", : "r"(read_cr3() | keep) : "memory");
	check_trap("#GP: CR3 bit 63 without PCIDE", GP, 0, 0);
	check_eq("after PCIDE", read_at(va), 100);
}

/* --- aliases --- */
static void test_aliases(void)
{
	u64 bad = 0;

	page_map(VA, frame[0] | RW);
	page_map(VA2, frame[0] | RW);
	for (u32 i = 0; i < 100; i++) {
		*(volatile u32 *)(VA + 400) = i;
		bad += *(volatile u32 *)(VA2 + 400) != i || *(volatile u32 *)(frame[0] + 400) != i;
		*(volatile u32 *)(VA2 + 400) = i + 1;
		bad += *(volatile u32 *)(VA + 400) != i + 1;
	}
	report(!bad, "two addresses of a frame", "%lu bad", bad);
	page_map(VA, frame[1] | RW);
	*(volatile u32 *)(VA + 400) = 7;
	check_eq("an alias remapped, the other stays", *(volatile u32 *)(VA2 + 400), 100);
	/* A page table mapped at a linear address: entries changed through it. */
	page_map(VA2, (u64)(page_entry(VA, 1)) / 4096 * 4096 | RW);
	bad = 0;
	for (u64 i = 0; i < 100; i++) {
		*(volatile u64 *)(VA2 + (VA >> 12 & 511) * 8) = frame[i % FRAMES] | RW;
		invlpg(VA);
		bad += read_at(VA) != 100 + i % FRAMES;
	}
	report(!bad, "entries changed through a mapping of their table", "%lu bad", bad);
	/* A page table that lies on a page with code. */
	fill(frame[3], 103);
}

/* --- CPL 3 --- */
void u_read(void), u_call(void);
__asm__(".pushsection .user.text, \"ax\", @progbits\nu_read: mov 64(%rdi), %eax\n int $0x81\n"
	"u_call: call *%rdi\n int $0x81\n.popsection");

static void test_user_side(const struct way *w)
{
	char name[96];
	u64 bad = 0;

	target = VA;
	for (u64 i = 0; i < 100; i++) {
		*page_entry(VA, 1) = frame[i % FRAMES] | RW;
		w->flush();
		user_run(i & 1 ? u_read : u_call, VA);
		bad += trap.vector != NO_TRAP || trap.f.rax != 100 + i % FRAMES;
		bad += read_at(VA) != 100 + i % FRAMES;
	}
	*page_entry(VA, 1) = frame[0] | PTE_P | PTE_W;
	w->flush();
	user_run(u_read, VA);
	bad += trap.vector != PF || trap.f.error != 5;
	user_run(u_call, VA);
	bad += trap.vector != PF || trap.f.error != 0x15;
	*page_entry(VA, 1) = frame[0] | RW;
	w->flush();
	user_run(u_call, VA);
	bad += trap.vector != NO_TRAP || trap.f.rax != 100;
	format(name, sizeof name, "%s: seen by CPL 3", w->name);
	report(!bad, name, "%lu bad, last vector %d error %lx", bad, trap.vector, trap.f.error);
}

void metal_main(void)
{
	page_identity_user(false);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 0x800);
	for (u32 i = 0; i < FRAMES; i++) {
		frame[i] = page_alloc();
		fill(frame[i], 100 + i);
	}
	large[0] = page_alloc_large();
	large[1] = page_alloc_large();
	for (int pge = 0; pge < 2; pge++) {
		if (pge)
			write_cr4(read_cr4() | CR4_PGE);
		for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
			if (!offered(&ways[i])) {
				report_skip(ways[i].name, "not in CPUID");
				continue;
			}
			test_remap(&ways[i], 0, pge ? "page, PGE on" : "page");
			test_rights(&ways[i], 0, pge ? "PGE on" : "PGE off");
			if (ways[i].global || !pge)
				test_remap(&ways[i], PTE_G, pge ? "global page, PGE on" : "global page, PGE off");
			if (ways[i].global)
				test_rights(&ways[i], PTE_G, "global");
			test_ad(&ways[i], 0);
			test_user_side(&ways[i]);
		}
	}
	by_pge();
	test_large();
	test_many();
	test_aliases();
	test_pcid();
}
