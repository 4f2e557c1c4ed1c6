// SPDX-License-Identifier: MIT
//
// Displaced code. A page with a CPUID on it (say) cannot be run as it is, and a stop for each visit costs more than the
// visit. So what is there is copied, instruction by instruction (displace.c), to where the world can run but not write,
// and the world's signal handler leads there (vmm/direct.S). What is sensitive stops there, and is translated. Who
// leaves the page goes on in place; who comes back faults, and is led here again.
//
// Guest code may jump into the middle of all this, and can do nothing there that it could not do in place: sensitive
// instructions that take something from the monitor's hand are looked for in what has been written, too.
//
// The page is in the record as one that is executed, with SHADOW_DISPLACED: whatever takes that right away, or the
// mapping, takes the displaced code with it (map.c).
#include "shadow/displaced.h"
#include "base/string.h"
#include "shadow/displace.h"
#include "shadow/sensitive.h"
#include "shadow/shadow.h"
#include "x86/decode.h"

enum { STOPS = 32, STOPS_MS = 10 }; // so many in that time are too many

static struct displaced *displaced_in(const struct vcpu *v, const struct shadow_space *p, unsigned slot)
{
	return &shadow_of(v)->displaced[space_world(p)][slot];
}

static uint32_t *used_slots(const struct vcpu *v, const struct shadow_space *p)
{
	return &shadow_of(v)->has_displaced[space_world(p)];
}

static struct displaced_area *area_of(const struct vcpu *v, const struct shadow_space *p)
{
	return vmm_direct_displaced(v, space_world(p));
}

static uint64_t *index_of(struct displaced_area *area, gva_t gva)
{
	return &area->index[gva >> PAGE_SHIFT & (DISPLACED_INDEX - 1)];
}

// That the page has, or DISPLACED_SLOTS.
static unsigned slot_of(struct displaced_area *area, gva_t gva)
{
	uint64_t entry = *index_of(area, gva);

	return entry && align_down(entry, PAGE_SIZE) == align_down(gva, PAGE_SIZE) ? (unsigned)(entry & PAGE_OFFSET) - 1 :
										     DISPLACED_SLOTS;
}

static const struct displaced_note *find_note(const struct displaced *d, unsigned at)
{
	unsigned low = 0, high = d->notes;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (d->note[mid].at <= at)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &d->note[low - 1] : NULL;
}

void displaced_undo(struct vcpu *v, const struct direct_left *left)
{
	const struct shadow_space *p = space_here(v);
	uint64_t at = v->rip - vmm_direct_displaced_at(), slot = (at >> DISPLACED_SLOT_SHIFT) - 1;
	const struct displaced_note *n;
	const struct displaced *d;

	if (slot >= DISPLACED_SLOTS || !(*used_slots(v, p) >> slot & 1))
		return; // elsewhere, or guest code has jumped there by itself
	d = displaced_in(v, p, (unsigned)slot);
	n = find_note(d, at % DISPLACED_SLOT_SIZE);
	if (!n)
		return;
	v->rip = d->page + n->offset;
	if (n->saved != X86_REG_NONE)
		v->gpr[n->saved] = left->saved[0];
	if (n->saved_rdx)
		v->gpr[X86_RDX] = left->saved[1];
	v->gpr[X86_RSP] += (uint64_t)n->pushed;
}

// Another process may be next.
static void clear_slot(struct vcpu *v, const struct shadow_space *p, unsigned slot)
{
	struct displaced_area *area = area_of(v, p);
	struct displaced *d = displaced_in(v, p, slot);

	*index_of(area, d->page) = 0;
	memset(&area->slot[slot], 0, d->used);
	*used_slots(v, p) &= ~BIT(slot);
}

// The page comes to be one that is executed, elsewhere. The slot, or DISPLACED_SLOTS.
static unsigned begin_page(struct vcpu *v, gva_t page)
{
	struct shadow_space *p = space_here(v);
	unsigned slot;
	struct mmu_walk w;

	if (*index_of(area_of(v, p), page) || !~*used_slots(v, p) || !mmu_walk(v, page, VMEM_FETCH | VMEM_USER, &w) ||
	    !mem_is_ram(&v->shared->config.mem, align_down(w.gpa, PAGE_SIZE), PAGE_SIZE) || !mmu_key_is_open(v, &w) ||
	    !shadow_map(v, page, align_down(w.gpa, PAGE_SIZE), 1, SHADOW_EXEC | SHADOW_DISPLACED))
		return DISPLACED_SLOTS;
	slot = (unsigned)__builtin_ctz(~*used_slots(v, p));
	*displaced_in(v, p, slot) = (struct displaced){.page = page, .used = DISPLACED_TABLE_SIZE};
	*index_of(area_of(v, p), page) = page + slot + 1;
	*used_slots(v, p) |= BIT(slot);
	return slot;
}

static const uint8_t *bytes_of(const struct vcpu *v, gva_t page)
{
	struct record_page p;

	if (!record_find(&shadow_of(v)->record, space_here(v)->number, page >> PAGE_SHIFT, &p))
		return NULL;
	return mem_host(&v->shared->config.mem, p.gfn << PAGE_SHIFT, PAGE_SIZE);
}

static void give_up(struct vcpu *v, unsigned slot)
{
	shadow_keep_translated(v, displaced_in(v, space_here(v), slot)->page);
	clear_slot(v, space_here(v), slot);
}

bool displaced_add(struct vcpu *v, gva_t rip)
{
	struct displaced_area *area = area_of(v, space_here(v));
	unsigned slot = slot_of(area, rip);
	struct displacer w = {.rules = direct_rules(v)};
	uint32_t before, seam;

	if (slot == DISPLACED_SLOTS)
		slot = begin_page(v, align_down(rip, PAGE_SIZE));
	if (slot == DISPLACED_SLOTS)
		return false;
	w.d = displaced_in(v, space_here(v), slot);
	w.slot = &area->slot[slot];
	w.page = bytes_of(v, w.d->page);
	ASSERT(w.page);
	before = w.d->used;
	w.e.p = (uint8_t *)w.slot + before;
	w.e.delta = (int64_t)(vmm_direct_displaced_at() - (uint64_t)(uintptr_t)area);
	w.e.state = vmm_direct_state_at();
	displace(&w, rip & PAGE_OFFSET);
	bt_of(v)->st->direct_displaced++;
	seam = MAX(before - X86_INSN_MAX, (uint32_t)DISPLACED_TABLE_SIZE); // with the end of what was there
	if (sensitive_anywhere((const uint8_t *)w.slot + seam, w.d->used - seam))
		give_up(v, slot);
	return displaced_find(v, rip);
}

uint64_t displaced_find(const struct vcpu *v, gva_t rip)
{
	struct displaced_area *area = area_of(v, space_here(v));
	unsigned slot = slot_of(area, rip);
	uint32_t there = slot < DISPLACED_SLOTS ? area->slot[slot].code[rip & PAGE_OFFSET] : 0;

	return there ? vmm_direct_displaced_at() + ((slot + UINT64_C(1)) << DISPLACED_SLOT_SHIFT) + there : 0;
}

bool displaced_is_all_cpuids(struct vcpu *v)
{
	for (uint32_t m = *used_slots(v, space_here(v)); m; m &= m - 1)
		if (!shadow_is_cpuids(v, displaced_in(v, space_here(v), (unsigned)__builtin_ctz(m))->page))
			return false;
	return true;
}

// A stop takes a hundred times as long as the instruction, and what is translated goes on as long as it is on the page.
void displaced_note_stop(struct vcpu *v)
{
	unsigned slot = slot_of(area_of(v, space_here(v)), v->rip);
	uint64_t now = __builtin_ia32_rdtsc();
	struct displaced *d;

	if (slot == DISPLACED_SLOTS)
		return;
	d = displaced_in(v, space_here(v), slot);
	if (!d->stops++)
		d->stops_began = now;
	if (d->stops < STOPS)
		return;
	d->stops = 0;
	if (now - d->stops_began < v->shared->config.tsc_hz / 1000 * STOPS_MS)
		give_up(v, slot);
}

void displaced_forget(struct vcpu *v, const struct shadow_space *p, gva_t gva, uint64_t size)
{
	for (uint32_t m = *used_slots(v, p); m; m &= m - 1) {
		unsigned slot = (unsigned)__builtin_ctz(m);

		if (displaced_in(v, p, slot)->page - gva < size)
			clear_slot(v, p, slot);
	}
}
