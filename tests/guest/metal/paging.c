/* SPDX-License-Identifier: MIT */
/*
 * Page walks against a model: every combination of P, W, U, NX, A, D and a reserved bit in the last entry, at each
 * page size, under each setting of WP, SMEP, SMAP, AC and NXE, for reads, writes and fetches at CPL 0 and 3; and
 * random combinations over all levels. Compared: fault or not, error code, CR2, and what became of A and D.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"SMAP with AC*", "SDM vol. 3, 4.6.1: with EFLAGS.AC set, supervisor data accesses to user pages are allowed"},
	{"PKU*", "SDM vol. 3, 4.6.2"},
	{0},
};

#define VA_ROOT (10ull << 39)		/* one PML4 entry of our own */
#define VA_4K (VA_ROOT + 0x40201000ull)	/* PDPTE 1, PDE 1, PTE 1 */
#define VA_2M (VA_ROOT + 0x80600000ull)	/* PDPTE 2, PDE 3 */
#define VA_1G (VA_ROOT + 0x140000000ull)	/* PDPTE 5 */
#define RESERVED (1ull << 51)
#define FREE_BITS (7ull << 9 | 1ull << 52)	/* ignored bits: kept, and of no effect */

enum { C_WP = 1, C_SMEP = 2, C_SMAP = 4, C_AC = 8, C_NXE = 16 };
enum access { READ, WRITE, FETCH };
static const char *const access_name[] = {"read", "write", "fetch"};

struct path {		/* one linear address, its entries from the PML4 down */
	const char *name;
	u64 va;
	int levels;	/* entries */
	u64 *entry[4];
	u64 base[4];	/* addresses in them, with PS */
};
static struct path paths[3];
static u64 page_frame, page_large;

/* Each frame: RET for CPL 0 at +0, INT VEC_LEAVE for CPL 3 at +16, data from +32. */
static void fill_frame(u64 frame)
{
	memcpy((void *)frame, "\xc3", 1);
	memcpy((void *)(frame + 16), "\xcd\x81", 2);
}

static void make_paths(void)
{
	u64 pml4e, pdpt = page_alloc(), pd1 = page_alloc(), pd2 = page_alloc(), pt = page_alloc();
	u64 *root = &boot_pml4[VA_ROOT >> 39];

	pml4e = pdpt;
	page_frame = page_alloc();
	page_large = page_alloc_large();
	fill_frame(page_frame);
	fill_frame(page_large);
	paths[0] = (struct path){"4K", VA_4K, 4, {root, (u64 *)pdpt + 1, (u64 *)pd1 + 1, (u64 *)pt + 1},
		{pml4e, pd1, pt, page_frame}};
	paths[1] = (struct path){"2M", VA_2M, 3, {root, (u64 *)pdpt + 2, (u64 *)pd2 + 3},
		{pml4e, pd2, page_large | PTE_PS}};
	/* 1 GiB from physical 0: the frame lies in it. */
	paths[2] = (struct path){"1G", VA_1G + page_frame, 2, {root, (u64 *)pdpt + 5}, {pml4e, PTE_PS}};
}

struct result {
	bool fault;
	u64 error;
};

static u64 reserved_bits(const struct path *p, int i)
{
	u64 r = RESERVED;

	if (i == 0)
		r |= PTE_PS;
	if (i == p->levels - 1 && p->levels == 3)
		r |= 0x1fe000;
	if (i == p->levels - 1 && p->levels == 2)
		r |= 0x3fffe000;
	return r;
}

static struct result model(const struct path *p, const u64 *flags, int ctl, enum access how, bool user)
{
	u64 base = (how == WRITE ? 2 : 0) | (user ? 4 : 0) | (how == FETCH && ctl & (C_NXE | C_SMEP) ? 16 : 0);
	bool w = true, u = true, nx = false, bad;

	for (int i = 0; i < p->levels; i++) {
		if (!(flags[i] & PTE_P))
			return (struct result){true, base};
		if (flags[i] & reserved_bits(p, i) || (flags[i] & PTE_NX && !(ctl & C_NXE)))
			return (struct result){true, base | 9};
		w &= !!(flags[i] & PTE_W);
		u &= !!(flags[i] & PTE_U);
		nx |= !!(flags[i] & PTE_NX);
	}
	if (user)
		bad = !u || (how == WRITE && !w) || (how == FETCH && nx);
	else if (how == FETCH)
		bad = nx || (u && ctl & C_SMEP);
	else
		bad = (u && ctl & C_SMAP && !(ctl & C_AC)) || (how == WRITE && !w && ctl & C_WP);
	return (struct result){bad, bad ? base | 1 : 0};
}

__asm__(".pushsection .user.text, \"ax\", @progbits\n"
	".globl u_read, u_write, u_fetch\n"
	"u_read: mov 32(%rdi), %eax\n int $0x81\n"
	"u_write: movl $0x55, 40(%rdi)\n int $0x81\n"
	"u_fetch: add $16, %rdi\n jmp *%rdi\n.popsection");


void u_read(void), u_write(void), u_fetch(void);

static void access_kernel(u64 va, enum access how, u64 flags)
{
	switch (how) {
	case READ:
		TRY("push %1\n popf\n mov 32(%0), %%eax\n push $2\n popf", : "r"(va), "r"(flags) : "rax", "memory", "cc");
		break;
	case WRITE:
		TRY("push %1\n popf\n movl $0x55, 40(%0)\n push $2\n popf", : "r"(va), "r"(flags) : "memory", "cc");
		break;
	default:
		TRY("push %1\n popf\n call *%0\n push $2\n popf", : "r"(va), "r"(flags) : "memory", "cc");
	}
}

static void set_controls(int ctl)
{
	write_cr0((read_cr0() & ~(u64)CR0_WP) | (ctl & C_WP ? CR0_WP : 0));
	write_cr4((read_cr4() & ~(u64)(CR4_SMEP | CR4_SMAP)) | (ctl & C_SMEP ? CR4_SMEP : 0) | (ctl & C_SMAP ? CR4_SMAP
		: 0));
	wrmsr(MSR_EFER, (rdmsr(MSR_EFER) & ~0x800ull) | (ctl & C_NXE ? 0x800 : 0));
}

struct tally {
	u64 done, bad;
	char first[160];
};

static void note(struct tally *t, const struct path *p, const u64 *flags, const u64 *after, int ctl,
	enum access how, bool user,
		 struct result want, const char *what)
{
	if (t->bad++)
		return;
	format(t->first, sizeof t->first,
		"%s: %s %s, ctl %x, %lx %lx %lx %lx: trap %d error %lx cr2 %lx, want %s %lx; last after %lx", what,
	       user ? "user" : "kernel", access_name[how], (u32)ctl, flags[0], flags[1], flags[2], flags[3],
	       	trap.vector, trap.f.error,
	       trap.cr2, want.fault ? "#PF" : "none", want.error, after[p->levels - 1]);
}

static void try_one(struct tally *t, const struct path *p, const u64 *flags, int ctl, enum access how, bool user)
{
	struct result want = model(p, flags, ctl, how, user);
	u64 before[4], after[4] = {0}, offset = how == READ ? 32 : how == WRITE ? 40 : user ? 16 : 0;
	const char *what = NULL;
	bool tcg = under_tcg();	/* says P = 0 where a reserved bit is set (SDM vol. 3, 4.7: P is 1 then) */
	u64 keep = ~(u64)(PTE_A | PTE_D);

	for (int i = 0; i < p->levels; i++)
		*p->entry[i] = before[i] = p->base[i] | flags[i];
	invlpg(p->va);
	if (user)
		user_run_flags(how == READ ? u_read : how == WRITE ? u_write : u_fetch, p->va, FL_1, SEL_USER_CODE,
			user_stack_top - 64);
	else
		access_kernel(p->va, how, FL_1 | (ctl & C_AC ? FL_AC : 0));
	for (int i = 0; i < p->levels; i++)
		after[i] = *p->entry[i];
	t->done++;
	if (want.fault) {
		if (trap.vector != PF)
			what = "no #PF";
		else if (trap.f.error != want.error && !(tcg && want.error & 8 && trap.f.error == (want.error & ~1ull)))
			what = "error code";
		else if (trap.cr2 != p->va + offset)
			what = "CR2";
		else if ((after[p->levels - 1] ^ before[p->levels - 1]) & ~(u64)PTE_A)
			what = "entry changed by a fault";
	} else if (trap.vector != NO_TRAP) {
		what = "trap";
	} else {
		u64 last = after[p->levels - 1], was = before[p->levels - 1];

		for (int i = 0; i < p->levels; i++)
			if (!(after[i] & PTE_A))
				what = "A not set";
		if (how == WRITE && !(last & PTE_D))
			what = "D not set";
		if (how != WRITE && (last ^ was) & PTE_D)
			what = "D set by a read";
		for (int i = 0; i < p->levels; i++)
			if ((after[i] ^ before[i]) & keep)
				what = "other bits changed";
	}
	if (what)
		note(t, p, flags, after, ctl, how, user, want, what);
}

static bool offered(int ctl)
{
	return !(ctl & C_SMEP && !has_smep()) && !(ctl & C_SMAP && !has_smap());
}

static void control_name(char *out, size_t n, int ctl)
{
	format(out, n, "%s%s%s%s%s", ctl & C_SMAP ? ctl & C_AC ? "SMAP with AC" : "SMAP" : ctl & C_AC ? "AC" : "plain",
		ctl & C_WP ? " WP" : "",
	       ctl & C_SMEP ? " SMEP" : "", ctl & C_NXE ? " NXE" : "", "");
}

static void test_leaves(const struct path *p, int ctl)
{
	static struct tally t;
	char name[96], ctl_name[48];
	u32 step = scaled(50) == 50 ? 1 : 5;

	memset(&t, 0, sizeof t);
	set_controls(ctl);
	for (u32 k = 0; k < 128; k += step) {
		u64 leaf = (k & 1 ? PTE_P : 0) | (k & 2 ? PTE_W : 0) | (k & 4 ? PTE_U : 0) | (k & 8 ? PTE_NX : 0) |
			   (k & 16 ? PTE_A : 0) | (k & 32 ? PTE_D : 0) | (k & 64 ? RESERVED : 0);
		u64 flags[4] = {PTE_P | PTE_W | PTE_U, PTE_P | PTE_W | PTE_U, PTE_P | PTE_W | PTE_U, PTE_P | PTE_W | PTE_U};

		flags[p->levels - 1] = leaf;
		for (int how = READ; how <= FETCH; how++)
			for (int user = 0; user < 2; user++)
				try_one(&t, p, flags, ctl, how, user);
	}
	set_controls(C_NXE);
	control_name(ctl_name, sizeof ctl_name, ctl);
	format(name, sizeof name, "%s: last entry of %s pages", ctl_name, p->name);
	report(!t.bad, name, "%lu of %lu bad, first %s", t.bad, t.done, t.first);
}

static u32 seed = 12345;
static u32 random32(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void test_random(const struct path *p, int ctl, int n)
{
	static struct tally t;
	char name[96], ctl_name[48];

	memset(&t, 0, sizeof t);
	set_controls(ctl);
	while (n--) {
		u64 flags[4] = {0};

		for (int i = 0; i < p->levels; i++) {
			u32 r = random32();

			flags[i] = PTE_P | PTE_W | PTE_U;	/* mostly permissive, so that the lower levels count */
			if ((r & 7) == 0)
				flags[i] &= ~(u64)PTE_P;
			if (r & 0x10)
				flags[i] &= ~(u64)PTE_W;
			if ((r & 0x60) == 0)
				flags[i] &= ~(u64)PTE_U;
			if ((r & 0x180) == 0)
				flags[i] |= PTE_NX;
			if ((r & 0x1e00) == 0)
				flags[i] |= RESERVED;
			if ((r & 0x1e000) == 0 && i == 0)
				flags[i] |= PTE_PS;
			if ((r & 0x1e000) == 0 && i == p->levels - 1 && p->levels < 4)
				flags[i] |= 1 << 13;
			if (r & 0x20000)
				flags[i] |= PTE_A;
			if (r & 0x40000)
				flags[i] |= FREE_BITS;
			if (i == p->levels - 1)
				flags[i] |= r >> 16 & (PTE_D | PTE_G);
		}
		try_one(&t, p, flags, ctl, random32() % 3, random32() & 1);
	}
	set_controls(C_NXE);
	control_name(ctl_name, sizeof ctl_name, ctl);
	format(name, sizeof name, "%s: random entries of %s pages", ctl_name, p->name);
	report(!t.bad, name, "%lu of %lu bad, first %s", t.bad, t.done, t.first);
}

/* Changes of control bits and of AC take effect at once, with a translation in use. */
static void test_switches(void)
{
	const struct path *p = &paths[0];
	u64 all = PTE_P | PTE_W | PTE_U;

	for (int i = 0; i < 4; i++)
		*p->entry[i] = p->base[i] | all;
	*p->entry[3] = p->base[3] | PTE_P;	/* read-only, supervisor */
	invlpg(p->va);
	TRY("movl $1, (%0)", : "r"(p->va + 64) : "memory");
	check_none("write to a read-only page without WP");
	set_controls(C_WP | C_NXE);
	TRY("movl $1, (%0)", : "r"(p->va + 64) : "memory");
	check_trap("WP takes effect at once", PF, 3, 0);
	set_controls(C_NXE);
	TRY("movl $1, (%0)", : "r"(p->va + 64) : "memory");
	check_none("WP cleared takes effect at once");
	*p->entry[3] = p->base[3] | all;
	invlpg(p->va);
	TRY("mov (%0), %%eax\n call *%0", : "r"(p->va) : "rax", "memory");
	check_none("a user page used by the kernel");
	if (has_smep()) {
		set_controls(C_SMEP | C_NXE);
		TRY("call *%0", : "r"(p->va) : "memory");
		check_trap("SMEP takes effect at once", PF, 0x11, p->va);
		set_controls(C_NXE);
		TRY("call *%0", : "r"(p->va) : "memory");
		check_none("SMEP cleared takes effect at once");
	}
	if (has_smap()) {
		set_controls(C_SMAP | C_NXE);
		TRY("mov (%0), %%eax", : "r"(p->va) : "rax", "memory");
		check_trap("SMAP takes effect at once", PF, 1, 0);
		TRY("stac\n mov (%0), %%eax\n clac\n", : "r"(p->va) : "rax", "memory");
		check_none("SMAP with AC by STAC");
		TRY("stac\n mov (%0), %%eax\n clac\n mov (%0), %%eax", : "r"(p->va) : "rax", "memory");
		check_trap("CLAC takes effect at once", PF, 1, 0);
		for (int i = 0; i < 50; i++) {
			TRY("stac\n movl $1, 64(%0)\n incl 64(%0)\n clac", : "r"(p->va) : "memory");
			if (trap.vector != NO_TRAP)
				break;
		}
		check_none("SMAP with AC, repeatedly");
		TRY("stac\n rep movsb\n clac\n movl $0, (%1)", : "S"(p->va), "D"(p->va + 128), "c"(16) : "memory");
		report(trap.vector == PF && trap.f.rcx == 0, "SMAP with AC: string under AC, then without",
			"vector %d rcx %lx", trap.vector, trap.f.rcx);
		TRY("rep movsb", : "S"(boot_pml4), "D"(p->va + 128), "c"(16) : "memory");
		check_trap("string to a user page without AC", PF, 3, 0);
		set_controls(C_NXE);
	}
	/* NXE cleared makes NX a reserved bit. */
	*p->entry[3] = p->base[3] | all | PTE_NX;
	invlpg(p->va);
	TRY("mov (%0), %%eax", : "r"(p->va) : "rax", "memory");
	check_none("an NX page read");
	set_controls(0);
	invlpg(p->va);
	TRY("mov (%0), %%eax", : "r"(p->va) : "rax", "memory");
	check_trap("NX without NXE is reserved", PF, under_tcg() ? 8 : 9, 0);
	set_controls(C_NXE);
	invlpg(p->va);
	TRY("call *%0", : "r"(p->va) : "memory");
	check_trap("NX", PF, 0x11, p->va);
}

static void test_keys(void)
{
	const struct path *p = &paths[0];
	static const struct { u32 pkru; bool user, write; u64 error; int wp; const char *name; } rows[] = {
		{0xc00, true, false, 0x25, 0, "AD, user read"}, {0xc00, true, true, 0x27, 0, "AD, user write"},
		{0x800, true, false, 0, 0, "WD, user read"}, {0x800, true, true, 0x27, 0, "WD, user write"},
		{0x400, false, false, 0x21, 0, "AD, kernel read"}, {0x800, false, true, 0, 0, "WD, kernel write without WP"},
		{0x800, false, true, 0x23, 1, "WD, kernel write with WP"}, {0, true, true, 0, 0, "none, user write"},
		{0xc00, true, false, 0x25, 0, "AD again, user read"}, {0, true, false, 0, 0, "none again, user read"},
		{0x800, true, true, 0x27, 0, "WD again, user write"}, {0x55555154, true, true, 0, 0, "others only, user write"},
	};

	if (!(cpuid(0, 0).a >= 7 && cpuid(7, 0).c >> 3 & 1)) {
		report_skip("protection keys", "not in CPUID");
		return;
	}
	write_cr4(read_cr4() | CR4_PKE);
	for (int i = 0; i < 4; i++)
		*p->entry[i] = p->base[i] | PTE_P | PTE_W | PTE_U;
	*p->entry[3] |= 5ull << 59;
	invlpg(p->va);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		char name[64];

		set_controls(C_NXE | (rows[i].wp ? C_WP : 0));
		__asm__ volatile("wrpkru" : : "a"(rows[i].pkru), "c"(0), "d"(0));
		if (rows[i].user)
			user_run(rows[i].write ? u_write : u_read, p->va);
		else
			access_kernel(p->va, rows[i].write ? WRITE : READ, FL_1);
		format(name, sizeof name, "PKU: %s", rows[i].name);
		check_trap(name, rows[i].error ? PF : NO_TRAP, rows[i].error, 0);
	}
	__asm__ volatile("wrpkru" : : "a"(0), "c"(0), "d"(0));
	write_cr4(read_cr4() & ~(u64)CR4_PKE);
	set_controls(C_NXE);
}

void metal_main(void)
{
	page_identity_user(false);
	make_paths();
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		if (i == 2 && !has_gbpages()) {
			report_skip("1G pages", "not in CPUID");
			continue;
		}
		for (int ctl = 0; ctl < 32; ctl++)
			if (offered(ctl))
				test_leaves(&paths[i], ctl);
		for (int ctl = 0; ctl < 32; ctl++)
			if (offered(ctl))
				test_random(&paths[i], ctl, (int)scaled(600));
	}
	test_switches();
	test_keys();
}
