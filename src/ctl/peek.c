// SPDX-License-Identifier: MIT
//
// The debugger's page walk (SDM, "Paging"): one loop over the levels of whichever format is in force. It cannot use
// cpu/'s, which belongs to the monitor, raises faults and sets bits.
#include <string.h>

#include "ctl/peek.h"

struct format {
	unsigned levels;     // of tables
	unsigned bits;       // of index at each level
	unsigned entry_size;
	unsigned top_bits;   // of index at the top level
	unsigned large_from; // lowest level (0: 4 KiB leaf) whose entry cannot be a large page, seen from above
};

static struct format format_of(const struct vcpu *v)
{
	if (vcpu_long_mode(v))
		return (struct format){v->cr4 & CR4_LA57 ? 5 : 4, 9, 8, 9, 3};
	if (v->cr4 & CR4_PAE)
		return (struct format){3, 9, 8, 2, 2};
	return (struct format){2, 10, 4, 10, v->cr4 & CR4_PSE ? 2 : 1};
}

static bool read_entry(const struct mem *m, gpa_t table, unsigned index, unsigned size, uint64_t *entry)
{
	const void *at = mem_host(m, table + (uint64_t)index * size, size);

	*entry = 0;
	if (!at)
		return false;
	memcpy(entry, at, size);
	return *entry & PTE_P;
}

static gpa_t large_page(const struct format *f, uint64_t entry, unsigned shift, gva_t gva)
{
	gpa_t base = entry & PTE_ADDR & ~(BIT64(shift) - 1);

	if (f->entry_size == 4) // PSE-36: bits 13-20 are address bits 32-39
		base = (entry & 0xffc00000) | (entry >> 13 & 0xff) << 32;
	return base | (gva & (BIT64(shift) - 1));
}

bool peek_translate(const struct mem *m, const struct vcpu *v, gva_t gva, gpa_t *gpa)
{
	struct format f = format_of(v);
	gpa_t table = v->cr3 & (f.levels == 3 ? 0xffffffe0 : PTE_ADDR);
	uint64_t entry;

	*gpa = gva;
	if (!vcpu_paging(v))
		return true;
	for (unsigned level = f.levels; level--;) {
		unsigned shift = PAGE_SHIFT + level * f.bits;
		unsigned width = level == f.levels - 1 ? f.top_bits : f.bits;

		if (!read_entry(m, table, gva >> shift & (BIT(width) - 1), f.entry_size, &entry))
			return false;
		if (level && level < f.large_from && entry & PTE_PS) {
			*gpa = large_page(&f, entry, shift, gva);
			return true;
		}
		table = entry & (f.entry_size == 4 ? 0xfffff000 : PTE_ADDR);
	}
	*gpa = table | (gva & PAGE_OFFSET);
	return true;
}

static gva_t canonical(const struct format *f, gva_t gva)
{
	unsigned bits = PAGE_SHIFT + f->levels * f->bits;

	return f->levels < 4 ? gva & UINT32_MAX : (gva_t)((int64_t)(gva << (64 - bits)) >> (64 - bits));
}

// Walk to gva. 0: *page is its leaf; else log2 of the size of the hole it lies in.
static unsigned walk_to(const struct mem *m, const struct vcpu *v, const struct format *f, gva_t gva,
			struct peek_page *page)
{
	gpa_t table = v->cr3 & (f->levels == 3 ? 0xffffffe0 : PTE_ADDR);

	*page = (struct peek_page){.user = true, .write = true};
	for (unsigned level = f->levels; level--;) {
		unsigned shift = PAGE_SHIFT + level * f->bits;
		unsigned width = level == f->levels - 1 ? f->top_bits : f->bits;
		bool of_pae = f->levels == 3 && level == 2; // these have no rights

		if (!read_entry(m, table, gva >> shift & (BIT(width) - 1), f->entry_size, &page->entry))
			return shift;
		page->user &= of_pae || page->entry & PTE_U;
		page->write &= of_pae || page->entry & PTE_W;
		table = page->entry & (f->entry_size == 4 ? 0xfffff000 : PTE_ADDR);
		if (level && !(level < f->large_from && page->entry & PTE_PS))
			continue;
		page->size = BIT64(shift);
		page->gva = gva & ~(page->size - 1);
		page->gpa = level ? large_page(f, page->entry, shift, page->gva) : table;
		break;
	}
	return 0;
}

bool peek_next_page(const struct mem *m, const struct vcpu *v, gva_t from, struct peek_page *page)
{
	struct format f = format_of(v);
	gva_t gva = canonical(&f, from), next;
	unsigned hole;

	if (!vcpu_paging(v) || gva != from)
		return false;
	while ((hole = walk_to(m, v, &f, gva, page))) {
		next = canonical(&f, (gva & ~(BIT64(hole) - 1)) + BIT64(hole));
		if (next <= gva)
			return false;
		gva = next;
	}
	return true;
}

// The host address of as much of [gva, gva+*n) as one page holds; NULL: not there.
static uint8_t *piece(const struct mem *m, const struct vcpu *v, gva_t gva, size_t *n)
{
	gpa_t gpa;

	*n = MIN(*n, PAGE_SIZE - (gva & PAGE_OFFSET));
	return peek_translate(m, v, gva, &gpa) ? mem_host(m, gpa, *n) : NULL;
}

size_t peek_read(const struct mem *m, const struct vcpu *v, gva_t gva, void *out, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t part = n - done;
		const uint8_t *at = piece(m, v, gva + done, &part);

		if (!at)
			break;
		memcpy((uint8_t *)out + done, at, part);
		done += part;
	}
	return done;
}

size_t peek_write(const struct mem *m, const struct vcpu *v, gva_t gva, const void *in, size_t n)
{
	size_t done = 0;

	while (done < n) {
		size_t part = n - done;
		uint8_t *at = piece(m, v, gva + done, &part);

		if (!at)
			break;
		memcpy(at, (const uint8_t *)in + done, part);
		done += part;
	}
	return done;
}
