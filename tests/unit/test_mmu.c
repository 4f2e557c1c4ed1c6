// SPDX-License-Identifier: MIT
//
// mmu_walk against a model written as plainly as the manual says it: every combination of the W, U and NX bits of all
// levels with every access and every control bit that counts, for 4 KiB, 2 MiB and 1 GiB pages; then random entries
// with P, A, D, G, PAT and reserved bits thrown in. Also vmem_*: crossings, faults that must leave no trace, devices.
#include "cpu_ram.h"

enum { LEVELS = 4, LEAF_4K = 0, LEAF_2M = 1, LEAF_1G = 2 };

#define GVA UINT64_C(0x00001234567899a8)

static const uint64_t table_of[LEVELS] = {0x4000, 0x3000, 0x2000, 0x1000}; // by level: page table .. PML4

struct expectation {
	bool ok;
	uint32_t error;
	uint64_t after[LEVELS];
};

static gpa_t entry_at(int level)
{
	return table_of[level] + (GVA >> (12 + 9 * level) & 511) * 8;
}

static bool reserved_bit_set(uint64_t e, int level, bool nxe)
{
	if (e >> 48 & 0xf) // MAXPHYADDR of the model is 48
		return true;
	if (!nxe && e >> 63)
		return true;
	if (level == 3 && e & PTE_PS)
		return true;
	if (level == 2 && e & PTE_PS && e & 0x3fffe000)
		return true;
	return level == 1 && e & PTE_PS && e & 0x1fe000;
}

// The manual's rules, one after the other.
static struct expectation model(const struct vcpu *v, const uint64_t entries[LEVELS], unsigned access)
{
	bool user_access = access & VMEM_USER, write = access & VMEM_WRITE, fetch = access & VMEM_FETCH;
	bool nxe = v->efer & EFER_NXE, user_page = true, writable = true, nx = false;
	struct expectation x = {.ok = false};
	int level = 3, leaf = 0;

	memcpy(x.after, entries, sizeof(x.after));
	x.error = (write ? 2 : 0) | (user_access ? 4 : 0) | (fetch && (nxe || v->cr4 & CR4_SMEP) ? 16 : 0);
	for (;; level--) {
		uint64_t e = entries[level];

		if (!(e & 1))
			return x;
		if (reserved_bit_set(e, level, nxe)) {
			x.error |= 1 | 8;
			return x;
		}
		user_page = user_page && e & 4;
		writable = writable && e & 2;
		nx = nx || e >> 63;
		if (level == 0 || e & PTE_PS)
			break;
	}
	leaf = level;
	x.error |= 1;
	if (user_access && !user_page)
		return x;
	if (user_access && write && !writable)
		return x;
	if (!user_access && write && !writable && v->cr0 & CR0_WP)
		return x;
	if (fetch && nx)
		return x;
	if (fetch && !user_access && user_page && v->cr4 & CR4_SMEP)
		return x;
	if (!fetch && !user_access && user_page && v->cr4 & CR4_SMAP) {
		if (access & VMEM_IMPLICIT)
			return x;
		if (!(v->rflags & RFLAGS_AC))
			return x;
	}
	x.ok = true;
	for (level = 3; level >= leaf; level--)
		x.after[level] |= PTE_A;
	if (write)
		x.after[leaf] |= PTE_D;
	return x;
}

static void compare(const uint64_t entries[LEVELS], unsigned access)
{
	struct vcpu *v = test_vcpu;
	struct expectation x = model(v, entries, access);
	struct mmu_walk w = {0};
	bool ok;

	for (int level = 0; level < LEVELS; level++)
		put64(entry_at(level), entries[level]);
	ok = mmu_walk(v, GVA, access, &w);
	CHECK_EQ(ok, x.ok);
	if (!ok)
		CHECK_EQ(w.error, x.error);
	for (int level = 0; level < LEVELS; level++)
		CHECK_EQ(get64(entry_at(level)), x.after[level]);
	if (failures > 20)
		exit(finish());
}

static const uint8_t accesses[] = {
	VMEM_READ, VMEM_WRITE, VMEM_FETCH, VMEM_READ | VMEM_USER, VMEM_WRITE | VMEM_USER, VMEM_FETCH | VMEM_USER,
	VMEM_READ | VMEM_IMPLICIT, VMEM_WRITE | VMEM_IMPLICIT, VMEM_READ | VMEM_WRITE,
};

static void set_controls(unsigned bits)
{
	struct vcpu *v = test_vcpu;

	v->cr0 = CR0_PE | CR0_PG | (bits & 1 ? CR0_WP : 0);
	v->cr4 = CR4_PAE | (bits & 2 ? CR4_SMEP : 0) | (bits & 4 ? CR4_SMAP : 0);
	v->efer = EFER_LME | EFER_LMA | (bits & 8 ? EFER_NXE : 0);
	v->rflags = 2 | (bits & 16 ? RFLAGS_AC : 0);
	v->cr3 = 0x1000;
}

static uint64_t rights(unsigned bits)
{
	return PTE_P | (bits & 1 ? PTE_W : 0) | (bits & 2 ? PTE_U : 0) | (bits & 4 ? PTE_NX : 0);
}

static void all_rights(int leaf)
{
	static const uint64_t target[] = {0x567000, 0x400000, 0};
	uint64_t e[LEVELS] = {0};

	for (unsigned combo = 0; combo < 1u << 3 * (LEVELS - leaf); combo++) {
		for (int level = leaf; level < LEVELS; level++) {
			e[level] = rights(combo >> 3 * (level - leaf) & 7);
			e[level] |= level == leaf ? target[leaf] | (leaf ? PTE_PS : 0) : table_of[level - 1];
		}
		for (unsigned controls = 0; controls < 32; controls++) {
			set_controls(controls);
			for (unsigned a = 0; a < ARRAY_SIZE(accesses); a++)
				compare(e, accesses[a]);
		}
	}
}

static uint64_t seed = 88172645463325252u;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

// Mostly present, permissive entries with a few odd bits each, so that walks reach every level.
static void random_entries(unsigned rounds)
{
	uint64_t e[LEVELS];

	while (rounds--) {
		for (int level = 0; level < LEVELS; level++) {
			uint64_t noise = rnd() & rnd() & rnd() & (PTE_PWT | PTE_PCD | PTE_A | PTE_D | PTE_PS | PTE_G | 0xe00 |
								  UINT64_C(0x00f0000000000000));

			e[level] = (level ? table_of[level - 1] : 0x777000) | (rnd() & 7) | (rnd() & 3 ? 7 : 0) | noise;
			if (!(rnd() & 7))
				e[level] |= PTE_NX;
			if (!(rnd() & 31))
				e[level] |= BIT64(12 + rnd() % 40);
		}
		for (int level = 1; level < LEVELS; level++) // the tables stay where they are, unless reserved bits end it
			if (!(e[level] & PTE_PS) && (e[level] & PTE_ADDR) != table_of[level - 1] &&
			    !(e[level] >> 48 & 0xf))
				e[level] = (e[level] & ~PTE_ADDR) | table_of[level - 1];
		set_controls(rnd() & 31);
		compare(e, accesses[rnd() % ARRAY_SIZE(accesses)]);
	}
}

static void map_user_page(gva_t gva, gpa_t gpa, uint64_t bits)
{
	put64(table_of[3] + (gva >> 39 & 511) * 8, table_of[2] | 7);
	put64(table_of[2] + (gva >> 30 & 511) * 8, table_of[1] | 7);
	put64(table_of[1] + (gva >> 21 & 511) * 8, table_of[0] | 7);
	put64(table_of[0] + (gva >> 12 & 511) * 8, gpa | bits);
}

static void descriptions(void)
{
	struct mmu_walk w;
	gpa_t gpa;

	set_controls(8);
	test_vcpu->cr4 |= CR4_PGE;
	map_user_page(GVA, 0x567000, PTE_P | PTE_U | PTE_G | PTE_PS /* PAT */ | PTE_PCD | PTE_NX);
	CHECK(mmu_walk(test_vcpu, GVA, VMEM_READ, &w));
	CHECK_EQ(w.gpa, 0x5679a8);
	CHECK_EQ(w.page_size, 4096);
	CHECK(w.user && !w.write && !w.exec && !w.dirty && w.global);
	CHECK_EQ(w.pat, 4 | 2);
	CHECK(mmu_peek(test_vcpu, GVA, &gpa));
	CHECK_EQ(gpa, 0x5679a8);
	put64(table_of[1] + (GVA >> 21 & 511) * 8, 0x600000 | PTE_PS | PTE_P | PTE_W | BIT(12));
	CHECK(mmu_walk(test_vcpu, GVA, VMEM_WRITE, &w));
	CHECK_EQ(w.gpa, 0x600000 + (GVA & 0x1fffff));
	CHECK_EQ(w.page_size, 2 << 20);
	CHECK_EQ(w.pat, 4);
	CHECK(!w.user && w.write && w.dirty);
	test_vcpu->mmu.pages_1g = false;
	put64(table_of[2] + (GVA >> 30 & 511) * 8, PTE_PS | PTE_P | PTE_W);
	CHECK(!mmu_walk(test_vcpu, GVA, VMEM_READ, &w));
	CHECK_EQ(w.error, PF_P | PF_RSVD);
	test_vcpu->mmu.pages_1g = true;
	test_vcpu->cr3 = UINT64_C(0x7ffff000); // no RAM: all ones
	CHECK(!mmu_walk(test_vcpu, GVA, VMEM_READ, &w));
	CHECK_EQ(w.error, PF_P | PF_RSVD);
	test_vcpu->cr0 = CR0_PE;
	test_vcpu->efer = 0;
	CHECK(mmu_walk(test_vcpu, UINT64_C(0x1ffffffff), VMEM_WRITE, &w));
	CHECK_EQ(w.gpa, 0xffffffff);
}

static void crossings(void)
{
	struct vcpu *v = test_vcpu;
	gva_t end = (GVA & ~UINT64_C(4095)) + 4096;
	uint8_t buf[16];

	set_controls(8 | 1);
	map_user_page(GVA, 0x567000, 7);
	map_user_page(end, 0x899000, 5);
	memset(ram(0x567000), 0x11, 4096);
	memset(ram(0x899000), 0x22, 4096);
	CHECK_EQ(RAISED(vmem_read(v, end - 3, buf, 8, VMEM_READ)), -1);
	CHECK(!memcmp(buf, "\x11\x11\x11\x22\x22\x22\x22\x22", 8));
	CHECK_EQ(RAISED(vmem_write_u64(v, end - 3, 0, VMEM_WRITE)), VEC_PF); // the second page is read-only
	CHECK_EQ(v->fault.cr2, end);
	CHECK_EQ(v->fault.error, PF_P | PF_W);
	CHECK_EQ(get64(0x567ff8), 0x1111111111111111u);
	map_user_page(end, 0x899000, 7);
	CHECK_EQ(RAISED(vmem_write_u64(v, end - 3, UINT64_C(0x0807060504030201), VMEM_WRITE)), -1);
	CHECK_EQ(get64(0x567ff8), UINT64_C(0x0302011111111111));
	CHECK_EQ(get64(0x899000), UINT64_C(0x2222220807060504));
	CHECK_EQ(RAISED(vmem_read_u64(v, UINT64_C(0x00007ffffffffffc), VMEM_READ)), VEC_GP);
	CHECK_EQ(RAISED(vmem_read_seg(v, UINT64_C(0x0000800000000000), buf, 1, VMEM_READ, X86_SS)), VEC_SS);
	map_user_page(end, 0xfee00000, 7); // a device
	CHECK_EQ(vmem_read_u32(v, end + 4, VMEM_READ), 0x44332211);
	mmio_reads = 0;
	CHECK_EQ(RAISED(vmem_read(v, end - 2, buf, 8, VMEM_READ)), -1); // 2 of RAM; 4 and 2 of the device
	CHECK_EQ(mmio_reads, 2);
	vmem_write_u16(v, end + 2, 0x1234, VMEM_WRITE);
	CHECK_EQ(last_mmio_value, 0x1234);
}

int main(void)
{
	make_vcpu();
	make_ram();
	all_rights(LEAF_4K);
	all_rights(LEAF_2M);
	all_rights(LEAF_1G);
	random_entries(300000);
	descriptions();
	crossings();
	return finish();
}
