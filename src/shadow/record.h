// SPDX-License-Identifier: MIT
//
// Which pages are mapped for which address space, with what rights: a plain table, which knows nothing of the host.
// Pages stand in groups of 64 that lie side by side, found by space and address through a hash table; so a look at all
// of a space goes from page table to page table. From the frame its one writable mapping is known, and its one
// executable one; if there are more, in any spaces, only that.
#ifndef SHADOW_RECORD_H
#define SHADOW_RECORD_H

#include "base/types.h"
#include "mem/mem.h"

enum {
	RECORD_SPACES = 16, RECORD_GROUP = 64,
	RECORD_GROUPS = 1 << 15, RECORD_INDEX = 1 << 16, RECORD_FRAMES = 1 << 20,
};

enum shadow_rights {
	SHADOW_WRITE = BIT(0), SHADOW_EXEC = BIT(1), // never both: code is looked at before it runs
	SHADOW_DISPLACED = BIT(2), // with EXEC: not in place (displaced.h)
};

struct record_page {
	uint64_t vpn, gfn; // page numbers
	unsigned space, rights; // enum shadow_rights
};

struct record_group {
	uint64_t has;          // which of its pages
	uint64_t first : 36;   // page number
	uint64_t space : 4;
	uint32_t next, before; // of the space's: number + 1
	uint32_t page[RECORD_GROUP]; // gfn, rights << 24
};

struct record {
	struct record_list {
		uint32_t first, last; // group, number + 1: the oldest is first, which the look relies on
		uint32_t pages;
	} of[RECORD_SPACES];
	uint32_t unused;        // a list of groups, number + 1
	uint32_t made;          // groups that have been in use
	uint32_t spare;         // that are not
	uint32_t index[RECORD_INDEX];   // hash of space and first page -> group, number + 1
	uint32_t writes[RECORD_FRAMES]; // by gfn, folded: place + 1 of the one writable mapping of it; RECORD_MANY; 0
	uint32_t runs[RECORD_FRAMES];   // the same of executable ones
	struct record_group group[RECORD_GROUPS];
};

#define RECORD_MANY UINT32_MAX

void record_init(struct record *r);
bool record_find(const struct record *r, unsigned space, uint64_t vpn, struct record_page *out);
bool record_has_room(const struct record *r, unsigned pages); // for so many side by side
void record_note(struct record *r, const struct record_page *p);
bool record_forget(struct record *r, unsigned space, uint64_t vpn, uint64_t pages); // false: there was none
void record_forget_all(struct record *r, unsigned space);
bool record_with(struct record *r, uint64_t gfn, enum shadow_rights right, struct record_page *out); // one of them

// May there be a mapping with this right?
static inline bool record_may_have(const struct record *r, uint64_t gfn, enum shadow_rights right)
{
	return (right == SHADOW_WRITE ? r->writes : r->runs)[gfn & (RECORD_FRAMES - 1)];
}

static inline uint32_t record_pages(const struct record *r, unsigned space)
{
	return r->of[space].pages;
}

// A space's groups, in no order: the next is to be taken before pages of one are forgotten.
static inline struct record_group *record_group(struct record *r, uint32_t number)
{
	return number ? &r->group[number - 1] : NULL;
}

static inline struct record_page record_page_at(const struct record_group *g, unsigned i)
{
	return (struct record_page){g->first + i, g->page[i] & 0xffffff, g->space, g->page[i] >> 24};
}

#endif
