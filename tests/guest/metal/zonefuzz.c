/* SPDX-License-Identifier: MIT */
/*
 * A fuzzer in the role of a hostile guest: user code at random that puts an address together - in the monitor's zone,
 * at its borders, in the upper half, no address at all, or on a page of its own - in registers that held another one
 * before, and accesses it. Whatever is not its own page must fault with that very address. CASES and a seed from the
 * clock: tests/guest/metal/soak.sh. With KERNEL (zonekernel.c) it is a kernel's code in the lower half, which has more
 * ways to hold an address; with DIRECT (zonedirect.c) an operating system's process, which can run directly, half of
 * the time beside an instruction for which it is displaced.
 */
#include "lib/direct.h"
#include "lib/random.h"

#ifndef KERNEL
#define KERNEL 0
#endif
#ifndef DIRECT
#define DIRECT 0
#endif

const struct tcg_known tcg_known[] = {{0}};

#ifndef CASES
#define CASES 20000
#define SOAK false
#else
#define SOAK true
#endif
#define ZONE 0x400000000000ull
#define OWN 0x7f0000001000ull
#define LEAVE (TEXT + 0x2000)
enum { RCX = 1, RSP = 4, RSI = 6, RDI = 7, SNIPPET = 400, BATCH = 4096 / SNIPPET };

static u64 frame, code;
static u8 *p;

static unsigned reg_but(unsigned a, unsigned b)
{
	unsigned r;

	do
		r = below(16);
	while (r == RSP || r == a || r == b);
	return r;
}

static bool canonical(u64 at) { return (u64)((s64)(at << 16) >> 16) == at; }

static void put(unsigned byte) { *p++ = (u8)byte; }
static void put32(u32 v) { memcpy(p, &v, 4); p += 4; }
static void put64(u64 v) { memcpy(p, &v, 8); p += 8; }

/* op with a register in ModRM.reg and one in rm, 64 bits */
static void op_rr(unsigned op, unsigned reg, unsigned rm)
{
	put(0x48 | (reg >> 3) << 2 | rm >> 3);
	put(op);
	put(0xc0 | (reg & 7) << 3 | (rm & 7));
}

static void movabs(unsigned r, u64 v)
{
	put(0x48 | r >> 3);
	put(0xb8 | (r & 7));
	put64(v);
}

static void mov32(unsigned r, u32 v)
{
	if (r >> 3)
		put(0x41);
	put(0xb8 | (r & 7));
	put32(v);
}

/* MOV between a control or debug register (op: 0x20, 0x22; 0x21, 0x23) and a general one */
static void mov_special(unsigned op, unsigned special, unsigned r)
{
	if (r >> 3)
		put(0x41);
	put(0x0f);
	put(op);
	put(0xc0 | special << 3 | (r & 7));
}

static void msr(unsigned op, u32 number) /* 0x30 WRMSR, 0x32 RDMSR */
{
	mov32(RCX, number);
	put(0x0f);
	put(op);
}

/* The same as set(), as only a kernel can: by a register that C reads for it. */
static void set_by_kernel(unsigned r, unsigned tmp, u64 v)
{
	movabs(tmp, v);
	switch (below(3)) {
	case 0: mov_special(0x22, 2, tmp); mov_special(0x20, 2, r); return;
	case 1: mov_special(0x23, 1, tmp); mov_special(0x21, 1, r); return;
	default: mov_special(0x22, 2, tmp); mov32(r, 1); mov_special(0x20, 2, r); /* what was proven was another value */
	}
}

/* The register comes to hold v, in one of many ways. */
static void set(unsigned r, unsigned tmp, u64 v)
{
	u32 k = (u32)any() >> below(32);

	if (KERNEL && r != tmp && !below(4)) {
		set_by_kernel(r, tmp, v);
		return;
	}
	switch (below(12)) {
	case 0: movabs(r, v - (u64)(s64)(int)k); op_rr(0x81, 0, r); put32(k); return; /* add */
	case 1: movabs(r, v + (u64)(s64)(int)k); op_rr(0x81, 5, r); put32(k); return; /* sub */
	case 2: movabs(tmp, v); op_rr(0x89, tmp, r); return;
	case 3: movabs(tmp, v); put(tmp >> 3 ? 0x41 : 0x40); put(0x50 | (tmp & 7)); put(r >> 3 ? 0x41 : 0x40);
		put(0x58 | (r & 7)); return; /* push, pop */
	case 4: movabs(tmp, v); op_rr(0x87, tmp, r); return; /* xchg */
	case 5: movabs(r, v >> 1); op_rr(0x01, r, r); op_rr(0x81, 0, r); put32(v & 1); return;
	case 6: movabs(tmp, v); op_rr(0x39, tmp, tmp); put(0x48 | (r >> 3) << 2 | tmp >> 3); put(0x0f); put(0x44);
		put(0xc0 | (r & 7) << 3 | (tmp & 7)); return; /* cmp; cmove */
	case 7: movabs(r, ~v); op_rr(0xf7, 2, r); return; /* not */
	case 8: movabs(r, __builtin_bswap64(v)); put(0x48 | r >> 3); put(0x0f); put(0xc8 | (r & 7)); return;
	case 9: mov32(r, (u32)(v >> 32)); op_rr(0xc1, 4, r); put(32); mov32(tmp, (u32)v); op_rr(0x09, tmp, r); return;
	case 10:
		if (v == (u32)v) {
			mov32(r, (u32)v);
		} else if (v == (u64)(s64)(int)v) {
			op_rr(0xc7, 0, r);
			put32((u32)v);
		} else {
			movabs(r, v);
		}
		return;
	default: movabs(r, v);
	}
}

/* [prefix] op with disp32(base,index,scale) */
static void op_mem(unsigned prefix, unsigned two, unsigned op, unsigned reg, unsigned base, unsigned index,
		   unsigned shift, u32 disp)
{
	if (prefix)
		put(prefix);
	put(0x48 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3);
	if (two)
		put(0x0f);
	put(op);
	put(0x84 | (reg & 7) << 3);
	put(shift << 6 | (index & 7) << 3 | (base & 7));
	put32(disp);
}

static const struct probe {
	u8 prefix, two, op, group; /* group: ModRM.reg + 1, if it is part of the operation */
} probes[] = {
	{0, 0, 0x8b, 0}, {0, 0, 0x89, 0}, {0, 0, 0x03, 0}, {0, 0, 0x01, 0}, {0, 0, 0x87, 0}, {0, 1, 0xb6, 0},
	{0, 1, 0xb1, 0},
	{0, 0, 0x63, 0}, {0, 0, 0x88, 0}, {0, 0, 0xff, 7}, {0, 0, 0xff, 1}, {0xf0, 0, 0xff, 1}, {0, 0, 0xf7, 4},
	{0, 1, 0x10, 0}, {0, 1, 0x11, 0}, {0, 0, 0xd3, 5}, {0, 0, 0x8f, 1}, {0, 1, 0xc3, 0}, {0, 0, 0x3b, 0},
	{0, 0, 0xdd, 1}, {0, 0, 0xdd, 4}, {0, 0, 0xff, 3}, {0, 0, 0xff, 5},
};
enum { BRANCHES = 2 }; /* the last ones */

static u64 some_address(bool *own)
{
	static const u64 busy[] = {0x410100000000, 0x410180000000, 0x410200000000, 0x411000000000, 0x411003000000,
		0x411005000000, 0x411006000000, 0x411008000000, 0x411040000000, 0x411080000000, 0x480000000000, 0x410320000000};

	*own = !below(8);
	if (*own)
		return OWN + below(4096 - 64) / 16 * 16;
	switch (below(7)) {
	case 6: return ((u64)(0x1000000 - 1 - below(0x2000)) << 32) + (any() >> 32) / 16 * 16; /* zone.c: not canonical */
	case 0: return ZONE | (any() & 0xfffffffffff0);
	case 1: return (ZONE << below(2)) + (u64)(s64)((int)any() >> below(32)) / 16 * 16;
	case 2: return 0x500000000000 + (u64)(s64)((int)any() >> below(32)) / 16 * 16;
	case 3: return any() & ~15ull;
	default: return busy[below(ARRAY_SIZE(busy))] + (any() >> (36 + below(20))) / 16 * 16;
	}
}

/* What the registers have been proven to hold before. */
static void decoy(unsigned base, unsigned index)
{
	movabs(base, OWN + 64);
	if (below(2))
		mov32(index, below(64));
	else
		movabs(index, 8);
	op_mem(0, 0, 0x3b, reg_but(base, index), base, index, below(3), 0);
	if (below(2))
		op_mem(0, 0, 0x3b, reg_but(base, index), base, RSP, 0, 8);
}

static void by_stack(u64 at)
{
	unsigned r = reg_but(RSP, RSP);

	set(r, reg_but(r, r), at);
	op_rr(0x89, r, RSP);
	switch (below(3)) {
	case 0: put(0x58); return;                       /* pop %rax */
	case 1: put(0xc3); return;                       /* ret */
	default: op_rr(0x83, 0, RSP); put(8); put(0x50); /* add $8, %rsp; push %rax */
	}
}

/* IRET to the next instruction, with another stack. */
static void by_iret(u64 at)
{
	unsigned r = reg_but(RSP, RSP);

	set(r, reg_but(r, r), at);
	put(0x6a); put(SEL_DATA);
	put(r >> 3 ? 0x41 : 0x40); put(0x50 | (r & 7));
	put(0x9c);
	put(0x6a); put(SEL_CODE);
	put(0xe8); put32(0); /* call: RIP */
	op_mem(0, 0, 0x83, 0, RSP, RSP, 0, 0); /* add $..., (%rsp) */
	put(9 + 2); /* this, and IRET */
	put(0x48); put(0xcf);
	put(0x58);
}

/* By FS or GS, whose base comes from an MSR. */
static void by_segment(u64 at, bool own)
{
	unsigned base = reg_but(RSP, RSP), gs = below(2);
	const struct probe *probe = &probes[below(ARRAY_SIZE(probes) - (own ? BRANCHES : 0))];
	u64 add = any() >> (33 + below(30));

	add = canonical(at - add) ? add : 0;

	movabs(2, (at - add) >> 32);
	mov32(0, (u32)(at - add));
	msr(0x30, MSR_FS_BASE + gs);
	set(base, reg_but(base, base), add);
	put(gs ? 0x65 : 0x64);
	op_mem(probe->prefix, probe->two, probe->op, probe->group ? probe->group - 1u : reg_but(base, base), base, RSP, 0,
	       0);
}

/* What reads or writes tables, or a state of 512 bytes. */
static void by_system(u64 at)
{
	static const struct {
		u8 op, group;
	} ops[] = {{0x00, 0}, {0x00, 1}, {0x00, 2}, {0x00, 3}, {0x00, 4}, {0x00, 5}, {0x01, 0}, {0x01, 1}, {0x01, 2},
		{0x01, 3}, {0x01, 4}, {0x01, 6}, {0xae, 0}, {0xae, 1}, {0xae, 2}, {0xae, 3}, {0xae, 7}, {0x02, 0}, {0x03, 0}};
	unsigned base = reg_but(RSP, RSP), n = below(ARRAY_SIZE(ops));

	decoy(base, reg_but(base, RSP));
	set(base, reg_but(base, base), at);
	op_mem(0, 1, ops[n].op, ops[n].group, base, RSP, 0, 0);
}

static void by_string(u64 at)
{
	static const u8 ops[] = {0xab, 0xa5, 0xa4, 0xad, 0xae, 0xa7, 0x6c, 0x6e};
	unsigned op = ops[below(ARRAY_SIZE(ops) - (KERNEL ? 0 : 2))];
	bool source = op == 0xad || op == 0x6e || ((op == 0xa5 || op == 0xa4) && below(2));

	movabs(source ? RDI : RSI, OWN);
	set(source ? RSI : RDI, 3, at);
	mov32(RCX, 1 + below(3));
	mov32(2, 0x80); /* a port: in, out */
	if (below(2))
		put(0xf3);
	put(0x48);
	put(op);
}

static void by_operand(u64 at, bool own)
{
	unsigned base = reg_but(RSP, RSP), index = reg_but(base, base), shift = below(4);
	const struct probe *probe = &probes[below(ARRAY_SIZE(probes) - (own ? BRANCHES : 0))];
	u32 disp = below(3) ? (u32)any() >> below(32) : 0;
	u64 i = any() >> below(64), tmp;

	if (below(3) == 0)
		i = (u64)(s64)(int)i;
	tmp = at - (i << shift) - (u64)(s64)(int)disp;
	if (below(2))
		decoy(base, index);
	if (below(2)) {
		set(base, reg_but(base, index), tmp);
		set(index, reg_but(base, index), i);
	} else {
		set(index, reg_but(base, index), i);
		set(base, reg_but(base, index), tmp);
	}
	if (!below(4)) { /* jmp to what follows */
		put(0xeb);
		put(0);
	}
	op_mem(probe->prefix, probe->two, probe->op, probe->group ? probe->group - 1u : reg_but(base, index), base, index,
	       shift, disp);
}

/* In a loop with a counter that goes between constants; or would, but for a way around the first. */
static void by_loop(u64 at, bool own)
{
	unsigned base = reg_but(0, 0), index = reg_but(base, 0), shift = below(own ? 2 : 4); /* CMPXCHG changes RAX */
	unsigned step = 1 + below(own ? 8 : 64), turns = 1 + below(own ? 3 : 20), start = below(64);
	const struct probe *probe = &probes[below(ARRAY_SIZE(probes) - BRANCHES)];
	u32 disp = below(3) ? (u32)any() >> below(32) : 0;
	u64 i = !own && !below(3) ? any() >> below(64) : start;
	u8 *head, *over = NULL;

	if (below(2))
		decoy(base, index);
	set(base, reg_but(base, index), at - (i << shift) - (u64)(s64)(int)disp);
	if (i != start) {
		set(index, reg_but(base, index), i);
		op_rr(0x39, base, base);
		put(0x74); /* je */
		over = p++;
	}
	mov32(index, start);
	if (over)
		*over = (u8)(p - over - 1);
	head = p;
	op_mem(probe->prefix, probe->two, probe->op, probe->group ? probe->group - 1u : reg_but(base, index), base, index,
	       shift, disp);
	op_rr(0x83, 0, index);
	put(step);
	op_rr(0x81, 7, index);
	put32(start + step * turns);
	put(0x75); /* jne */
	put((u8)(head - p - 1));
}

static bool as_it_must(int vector, u64 at, bool own)
{
	if (own)
		return vector == NO_TRAP;
	if (!KERNEL && trap.f.rip - TEXT >= 0x1000)
		return false;
	if (!canonical(at))
		return vector == GP || vector == SS;
	return vector == PF && trap.cr2 == at;
}

/* What directly run code has there beside its own: displacefuzz.c. */
static bool is_of_world(u64 at)
{
	return DIRECT && (at >> 13 == HANDLER_AT >> 13 || at >> 24 == HANDOVER_AT >> 24);
}

/* The first 4 GiB are mapped for all, and the fuzzer's own pages. */
static bool is_free(u64 at)
{
	return at >> 32 && at < ~0ull - 64 && at >> 20 != OWN >> 20 && canonical(at) == canonical(at + 512) &&
	       !is_of_world(at);
}

static void end_snippet(void)
{
	if (DIRECT) {
		u64 after = TEXT + (u64)(p - (u8 *)code) + 5;

		put(0xe9);
		put32((u32)(LEAVE - after));
		return;
	}
	put(0xcd);
	put(0x81);
}

static int run(void (*code)(void))
{
	if (DIRECT)
		return direct_run((u64)code, 0);
	return KERNEL ? user_run_segments(code, 0, FL_1, SEL_CODE, user_stack_top - 64, SEL_DATA) : user_run(code, 0);
}

static void batch(unsigned *bad)
{
	u64 at[BATCH];
	bool own[BATCH];

	for (unsigned n = 0; n < BATCH; n++) {
		do
			at[n] = some_address(&own[n]);
		while (!own[n] && !is_free(at[n]));
		p = (u8 *)code + n * SNIPPET;
		if (!own[n] && !below(6))
			by_stack(at[n]);
		else if (!own[n] && !below(12))
			by_string(at[n]);
		else if (KERNEL && !own[n] && !below(6))
			below(2) ? by_iret(at[n]) : by_system(at[n]);
		else if (KERNEL && !below(12) && canonical(at[n]))
			by_segment(at[n], own[n]);
		else if (!below(6))
			by_loop(at[n], own[n]);
		else
			by_operand(at[n], own[n]);
		end_snippet();
	}
	if (DIRECT)
		memcpy((u8 *)code + BATCH * SNIPPET, below(2) ? "\x0f\x03\xc0" : "\x90\x90\x90", 3); /* LSL */
	for (unsigned n = 0; n < (DIRECT ? 3 : 2) * BATCH; n++) {
		unsigned k = n % BATCH;
		int vector = run((void (*)(void))(TEXT + k * SNIPPET));

		if (as_it_must(vector, at[k], own[k]))
			continue;
		if (!(*bad)++) {
			print("  first: %lx: vector %d, cr2 %lx, rip %lx, code", at[k], vector, trap.cr2, trap.f.rip);
			for (unsigned i = 0; i < 80; i++)
				print(" %x", ((u8 *)code)[k * SNIPPET + i]);
			print("\n");
		}
	}
}

void metal_main(void)
{
	unsigned bad = 0;

	begin_random(SOAK);
	frame = page_alloc();
	code = page_alloc();
	if (DIRECT)
		direct_setup();
	page_map(OWN, frame | RW);
	memcpy(direct_page(LEAVE, RW), "\xcd\x81", 2);
	page_map(TEXT, code | RW);
	for (int i = 0; KERNEL && i < 32; i++)
		idt_set(i, trap_stubs + 16 * i, 0x8e, 2);
	if (KERNEL)
		idt_set(VEC_LEAVE, trap_stubs + 16 * VEC_LEAVE, 0x8e, 2);
	for (u64 n = 0; n < CASES && bad < 100; n += BATCH)
		batch(&bad);
	check_eq("random accesses to the zone and elsewhere", bad, 0);
}
