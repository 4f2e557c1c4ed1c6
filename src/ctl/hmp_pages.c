// SPDX-License-Identifier: MIT
//
// What the guest has mapped, as its page tables say now: info mem by ranges of equal rights, info tlb by pages. The
// guest may change them meanwhile; stop it first to see one moment. An answer that is full says so and ends.
#include "ctl/hmp.h"
#include "ctl/peek.h"

enum { LINE = 100 };

static bool is_full(struct hmp_text *t)
{
	if (t->used + 2 * LINE < sizeof(t->at))
		return false;
	hmp_print(t, "... and more\r\n");
	return true;
}

// The next page behind one; false: there is none, or no room to print it.
static bool next_page(struct machine *m, struct hmp_text *t, struct peek_page *p)
{
	gva_t from = p->gva + p->size;

	return (from || !p->size) && !is_full(t) && peek_next_page(&m->shared->config.mem, m->vcpu[0], from, p);
}

void hmp_pages(struct machine *m, struct hmp_text *t)
{
	static const struct {
		uint64_t bit;
		char name;
	} bits[] = { {PTE_NX, 'X'}, {PTE_G, 'G'}, {PTE_PS, 'P'}, {PTE_D, 'D'}, {PTE_A, 'A'},
		    {PTE_PCD, 'C'}, {PTE_PWT, 'T'} };
	struct peek_page p = {.size = 0};
	char text[ARRAY_SIZE(bits) + 3];

	while (next_page(m, t, &p)) {
		unsigned n = 0;

		for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
			text[n++] = p.entry & bits[i].bit && (bits[i].bit != PTE_PS || p.size > PAGE_SIZE) ? bits[i].name : '-';
		text[n++] = p.user ? 'U' : '-';
		text[n++] = p.write ? 'W' : '-';
		text[n] = 0;
		hmp_print(t, "%016llx: %016llx %s\r\n", (unsigned long long)p.gva, (unsigned long long)p.gpa, text);
	}
	if (!p.size)
		hmp_print(t, "PG disabled\r\n");
}

static void print_range(struct hmp_text *t, gva_t start, uint64_t size, const struct peek_page *p)
{
	if (size)
		hmp_print(t, "%016llx-%016llx %016llx %cr%c\r\n", (unsigned long long)start,
			  (unsigned long long)(start + size), (unsigned long long)size, p->user ? 'u' : '-', p->write ? 'w' : '-');
}

void hmp_mappings(struct machine *m, struct hmp_text *t)
{
	struct peek_page p = {.size = 0}, last = {.size = 0};
	uint64_t size = 0;
	gva_t start = 0;

	while (next_page(m, t, &p)) {
		if (!size || p.gva != start + size || p.user != last.user || p.write != last.write) {
			print_range(t, start, size, &last);
			start = p.gva;
			size = 0;
		}
		size += p.size;
		last = p;
	}
	print_range(t, start, size, &last);
	if (!last.size)
		hmp_print(t, "PG disabled\r\n");
}
