// SPDX-License-Identifier: MIT
//
// Records of the software TLB: its tables, the entries of check sites, what is kept of spaces that are not the present
// one. tlb.c, site.c and space.c work on them; translated code reads them in place.
#ifndef BT_TLB_H
#define BT_TLB_H

#include "bt/slots.h"
#include "cpu/vcpu.h"

enum { TLB_BITS = 14, TLB_SIZE = 1 << TLB_BITS, TLB_LOG = 1024 };

enum tlb_index { TLB_KERNEL, TLB_KERNEL_AC, TLB_USER, TLB_INDEXES };

struct tlb_entry {
	uint64_t tag;  // linear address of the page; never matches when invalid (see tlb_invalid_tag)
	uint64_t host; // host address of the page
};

// Of one check site: see site.c. Translated code compares and uses it in place.
struct site_entry {
	uint64_t tag;    // linear address of the page
	uint64_t limit;  // what an address xor the tag must be below: the page's size less what is accessed; 0: invalid
	uint64_t host;   // host address of the page; 0: invalid
	uint64_t addend; // host less tag
};

// SITE_APART: a merged check that reaches beyond a page takes that way. ALWAYS: so does one of a page that the TLB does
// not have; not all that it is made for may be accessed.
enum site_apart { SITE_TOGETHER, SITE_APART, SITE_APART_ALWAYS };

struct site_info { // what else belongs to an entry
	uint32_t next, prev; // ring it hangs on, as byte offsets into the array
	uint32_t table;      // GS offset of the table of the TLB it is filled from
	uint32_t retry;      // TC offset to go on at once it is filled, with the address in T0
	uint16_t limit;      // of a 4 KiB page
	uint16_t refills;    // counts up to 0x10000
	uint32_t since;      // when that began: see site_is_worth
	uint32_t site;       // its number
	uint8_t addend;      // host register that becomes host address less linear address, or X86_REG_NONE: T1 + T0
	bool constant;       // the address is
	uint8_t apart;       // enum site_apart: is there a way to a unit without merged checks behind the number?
	uint8_t failures;    // times that C sent it there
};
enum { GUILTY = 1 << 16 };

struct tlb_log { // entries filled since the last flush; all of them if n > TLB_LOG
	uint32_t n;
	uint16_t slot[TLB_LOG];
};

struct tlb {
	struct tlb_entry e[TLB_SIZE];
	uint8_t kind[TLB_SIZE]; // enum tlb_kind
	struct tlb_log log[2];  // of non-global and of global entries
};
enum tlb_kind { TLB_GLOBAL = BIT(0), TLB_LARGE = BIT(1), TLB_HUGE = BIT(2) }; // ORDER SITE: bt_stub_site

struct page_writes { // slots of the write tables that have led to a guest frame since it was last watched
	uint16_t slot[2];
	uint8_t n; // more than 2: look everywhere
};

enum { LARGE_BITS = 2048, SPACES = 8, SPACE_ENTRIES = 512, SPACE_FOOTINGS = 512 };

struct space_entry {
	uint64_t tag, host;
	uint16_t slot;
	uint8_t table; // enum tlb_index * 2 + 1 for writes
	uint8_t kind;
};

struct space { // see space.c
	bool valid;
	uint16_t pcid;
	uint32_t n, nfootings;
	uint64_t used, generation;
	struct space_entry e[SPACE_ENTRIES];
	struct {
		uint32_t id, mode;
		uint64_t va;
		gpa_t gpa, gpa2;
	} footing[SPACE_FOOTINGS];
};

// A set of regions of the address space, by hash: it may say yes to one that is not in it.
struct region_set {
	uint64_t bits[1024];
	bool any;
};

struct large_set { // the same, smaller
	uint64_t bits[LARGE_BITS / 64];
	bool any;
};

struct code_fetch { // instruction TLB of the run loop: linear page -> physical page
	uint64_t va;
	gpa_t gpa;
	bool global;
};
enum { CODE_FETCH = 256 };

#endif
