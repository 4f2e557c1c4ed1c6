// SPDX-License-Identifier: MIT
//
// A host fault of code in the mapped form: hidden, if the guest's tables allow the access - then the page is
// mapped, with neighbours that are in use already, and the access tried again - or not, and then it is the careful
// form's business (recover.c). What the hardware would do to the tables is done: A is set before a page is mapped, D
// before it is mapped writable. Nothing but RAM is ever mapped, no page writable that holds translated code, none that
// the debugger watches, or that only CR0.WP = 0 lets a kernel write, none of a protection key that PKRU restricts:
// WRPKRU is a flush if a key that was looked at is concerned.
#include "shadow/sensitive.h"
#include "shadow/shadow.h"

struct piece { // pages that lie side by side in both spaces
	gva_t gva;
	gpa_t gpa;
	unsigned n, rights;
};

// By rights: user code's, or a kernel's own.
static bool is_for(const struct vcpu *v, const struct mmu_walk *w)
{
	return w->user || space_here(v)->of_kernel;
}

static bool in_zone(gva_t gva)
{
	return gva >= ZONE_START && gva < ZONE_END;
}

// Is there translated code on the page, here or at another vCPU, that must hear of writes? If not, it is asked for the
// right to write before it is made.
static bool somebody_watches(struct bt *b, gpa_t gpa)
{
	peers_claim_write(b, gpa);
	return code_is_watched(b, gpa);
}

// May the present user write there straight away, with D set and nobody watching?
static bool writable(struct bt *b, const struct mmu_walk *w)
{
	return w->write && w->dirty && !somebody_watches(b, w->gpa);
}

// The page of code before or after one, or NULL.
static const uint8_t *neighbour(struct vcpu *v, gva_t gva)
{
	struct mmu_walk w;

	if (!mmu_look(v, gva, &w) || !w.user || !w.exec)
		return NULL;
	return mem_host(&v->shared->config.mem, align_down(w.gpa, PAGE_SIZE), PAGE_SIZE);
}

// In a word of seen[], beside the page's address: nothing else is why; it is not to be displaced; how often it was
// visited.
enum { ONLY_CPUID = 1, ONLY_TSC = 2, NOT_DISPLACED = 4, VISIT = 8, VISITS = 3 };

static gva_t *seen_at(struct vcpu *v, gva_t gva)
{
	return &shadow_of(v)->seen[space_here(v)->number][gva >> PAGE_SHIFT & (SENSITIVE_SEEN - 1)];
}

// By itself the page has none; at its borders?
static bool has_sensitive_seam(const uint8_t *page, const uint8_t *before, const uint8_t *after, unsigned rules)
{
	return (before && sensitive_seam(before, page, rules)) || (after && sensitive_seam(page, after, rules));
}

static bool has_sensitive(const uint8_t *page, const uint8_t *before, const uint8_t *after, unsigned rules)
{
	return (before ? sensitive_page_after(before, page, rules) : sensitive_page(page, rules)) ||
	       (after && sensitive_seam(page, after, rules));
}

// Has the page none by itself? Remembered, as far as it is so.
static bool is_clean(struct vcpu *v, const uint8_t *page, gpa_t gpa, unsigned rules)
{
	if (clean_is(v, gpa, rules))
		return true;
	shadow_claim_code(v, gpa);
	if (sensitive_page(page, rules))
		return false;
	clean_note(v, gpa, rules);
	return true;
}

// Is there code on the page that must not run as it is?
static bool is_sensitive(struct vcpu *v, gva_t gva, gpa_t gpa)
{
	const uint8_t *page = mem_host(&v->shared->config.mem, gpa, PAGE_SIZE);
	const uint8_t *before = neighbour(v, gva - PAGE_SIZE), *after = neighbour(v, gva + PAGE_SIZE);
	unsigned rules = direct_rules(v);

	if (shadow_is_sensitive(v, gva))
		return true;
	if (is_clean(v, page, gpa, rules) && !has_sensitive_seam(page, before, after, rules))
		return false;
	if (!has_sensitive(page, before, after, rules))
		return false;
	*seen_at(v, gva) = gva | (has_sensitive(page, before, after, rules | SENSITIVE_CPUID_FAULTS) ? 0 : ONLY_CPUID) |
			   (has_sensitive(page, before, after, rules | SENSITIVE_TSC_FAULTS) ? 0 : ONLY_TSC);
	return true;
}

bool shadow_is_sensitive(struct vcpu *v, gva_t gva)
{
	return gva >= PAGE_SIZE && align_down(*seen_at(v, gva), PAGE_SIZE) == align_down(gva, PAGE_SIZE);
}

bool shadow_is_cpuids(struct vcpu *v, gva_t gva)
{
	return shadow_is_sensitive(v, gva) && *seen_at(v, gva) & ONLY_CPUID;
}

bool shadow_is_tscs(struct vcpu *v, gva_t gva)
{
	return shadow_is_sensitive(v, gva) && *seen_at(v, gva) & ONLY_TSC;
}

void shadow_forget_tscs(struct vcpu *v)
{
	gva_t *seen = shadow_of(v)->seen[space_here(v)->number];

	for (unsigned i = 0; i < SENSITIVE_SEEN; i++)
		seen[i] = seen[i] & ONLY_TSC ? 0 : seen[i];
}

// Where what reads the TSC is the only reason it is to be seen whether that is made to fault.
bool shadow_wants_displaced(struct vcpu *v, gva_t gva)
{
	gva_t *seen = seen_at(v, gva);

	if (displaces_all(v))
		return !(shadow_is_sensitive(v, gva) && *seen & NOT_DISPLACED);
	if (!shadow_is_sensitive(v, gva) || *seen & (NOT_DISPLACED | ONLY_TSC))
		return false;
	if ((*seen & PAGE_OFFSET) < VISITS * VISIT)
		*seen += VISIT;
	return (*seen & PAGE_OFFSET) >= VISITS * VISIT;
}

void shadow_keep_translated(struct vcpu *v, gva_t gva)
{
	if (!shadow_is_sensitive(v, gva))
		*seen_at(v, gva) = align_down(gva, PAGE_SIZE);
	*seen_at(v, gva) |= NOT_DISPLACED;
}

// Which rights the mapping of a page may have, if they are wanted for this access. Code that was run there is data
// after a write, and data becomes code by being run.
static unsigned rights_for(struct vcpu *v, gva_t gva, const struct mmu_walk *w, enum vmem_access access)
{
	if (access & VMEM_FETCH)
		return w->exec && space_form(space_here(v)) == FORM_DIRECT && !displaces_all(v) &&
		       !is_sensitive(v, align_down(gva, PAGE_SIZE), align_down(w->gpa, PAGE_SIZE)) ? SHADOW_EXEC : 0;
	return writable(bt_of(v), w) ? SHADOW_WRITE : 0;
}

static bool watched_by_debugger(const struct bt *b, gva_t gva, uint64_t size)
{
	return debugger_watches(&b->sh->debugger, gva, size, false) || debugger_watches(&b->sh->debugger, gva, size, true);
}

// A guest's large page, 2 MiB of it, whole.
static bool map_large(struct vcpu *v, gva_t gva, const struct mmu_walk *w, enum vmem_access access)
{
	const uint64_t size = BIT64(LARGE_SHIFT);
	struct bt *b = bt_of(v);
	gva_t at = align_down(gva, size);
	gpa_t gpa = align_down(w->gpa, size);

	if (access & VMEM_FETCH || w->page_size < size || !mem_is_ram(&b->sh->config.mem, gpa, size) ||
	    watched_by_debugger(b, at, size))
		return false;
	for (gpa_t page = gpa; page < gpa + size && w->write && w->dirty; page += PAGE_SIZE)
		if (somebody_watches(b, page))
			return false;
	return shadow_map(v, at, gpa, size >> PAGE_SHIFT, w->write && w->dirty ? SHADOW_WRITE : 0);
}

static bool leads_to_ram(const struct vcpu *v, const struct mmu_walk *w)
{
	return mem_is_ram(&v->shared->config.mem, align_down(w->gpa, PAGE_SIZE), PAGE_SIZE);
}

// May this page be mapped along, and is it not yet? Not if it has been, for another use.
static bool is_used(struct vcpu *v, gva_t gva, struct mmu_walk *w, enum vmem_access access, unsigned *rights)
{
	struct bt *b = bt_of(v);
	struct record_page p;
	bool there;

	if (!mmu_look(v, gva, w) || !is_for(v, w) || !w->accessed || !mmu_key_is_open(v, w) ||
	    !leads_to_ram(v, w) || watched_by_debugger(b, gva, PAGE_SIZE))
		return false;
	if (w->page_size != PAGE_SIZE && !(access & VMEM_FETCH))
		return false;
	there = record_find(&shadow_of(v)->record, space_here(v)->number, gva >> PAGE_SHIFT, &p) &&
		p.gfn == w->gpa >> PAGE_SHIFT;
	if (there && (p.rights || access & VMEM_FETCH))
		return false;
	*rights = rights_for(v, gva, w, access);
	return !there || p.rights != *rights;
}

static bool joins(const struct piece *p, gva_t gva, gpa_t gpa, unsigned rights)
{
	return p->n && p->gva + p->n * (uint64_t)PAGE_SIZE == gva && p->gpa + p->n * (uint64_t)PAGE_SIZE == gpa &&
	       p->rights == rights && gpa != MEM_HIGH_START;
}

// The end of the window that begins there: twice as far off as of the last one, if that ended there. It does not go
// over a border of the largest size, and so over none of the zone and of the 32-bit address space.
static gva_t end_of_window(struct shadow_space *s, gva_t first)
{
	s->window = first == s->window_end ? MIN(s->window * 2, (unsigned)SHADOW_WINDOW_MAX) : SHADOW_WINDOW;
	s->window_end = MIN(first + s->window * PAGE_SIZE, (first | (SHADOW_WINDOW_MAX * PAGE_SIZE - 1)) + 1);
	return s->window_end;
}

// The window of pages around the one at fault, in as few pieces as it can be. That one gets these rights.
static bool map_window(struct vcpu *v, gva_t gva, const struct mmu_walk *wanted, enum vmem_access access,
		       unsigned needed)
{
	gva_t first = align_down(gva, SHADOW_WINDOW * PAGE_SIZE), end = end_of_window(space_here(v), first);
	gva_t page = align_down(gva, PAGE_SIZE);
	struct piece p = {0};
	bool done = true;

	for (gva_t at = first; at < end; at += PAGE_SIZE) {
		unsigned rights = needed;
		struct mmu_walk w = *wanted;
		bool use = at == page || is_used(v, at, &w, access, &rights);

		w.gpa = align_down(w.gpa, PAGE_SIZE);
		space_here(v)->has_global |= use && w.global;
		if (use && joins(&p, at, w.gpa, rights)) {
			p.n++;
			continue;
		}
		if (p.n)
			done &= shadow_map(v, p.gva, p.gpa, p.n, p.rights);
		p = use ? (struct piece){at, w.gpa, 1, rights} : (struct piece){0};
	}
	if (p.n)
		done &= shadow_map(v, p.gva, p.gpa, p.n, p.rights);
	return done;
}

static void note_size(struct vcpu *v, struct shadow_space *s, gva_t gva, uint64_t size)
{
	uint32_t *word = large_word(v, s, gva), region = (uint32_t)(gva >> LARGE_SHIFT) + 1;

	if (size > PAGE_SIZE)
		*word = !*word || *word == region ? region : LARGE_MANY;
	while (BIT64(s->large) < size)
		s->large++;
}

// The tables allow the access, by this walk.
static bool map_walked(struct vcpu *v, gva_t gva, enum vmem_access access, const struct mmu_walk *w)
{
	struct bt *b = bt_of(v);
	unsigned rights;

	if (!mmu_key_is_open(v, w) || !leads_to_ram(v, w) ||
	    (access & VMEM_WRITE && (!w->write || somebody_watches(b, w->gpa))) ||
	    watched_by_debugger(b, align_down(gva, PAGE_SIZE), PAGE_SIZE))
		return false;
	rights = rights_for(v, gva, w, access);
	if (access & VMEM_FETCH && !rights)
		return false;
	note_size(v, space_here(v), gva, w->page_size);
	space_here(v)->has_global |= w->global;
	return map_large(v, gva, w, access) || map_window(v, gva, w, access, rights);
}

static bool may_map(const struct vcpu *v, const struct shadow_space *s, gva_t gva)
{
	return s && !space_is_stale(v, s) && !in_zone(gva) &&
	       gva < BIT64(47) - PAGE_SIZE; // the host maps nothing on the last page
}

enum shadow_answer shadow_map_fault(struct vcpu *v, gva_t gva, enum vmem_access access, uint32_t *error)
{
	struct mmu_walk w;

	if (!may_map(v, space_here(v), gva))
		return ANSWER_NEVER;
	if (!mmu_walk(v, gva, access | (space_here(v)->of_kernel ? 0 : VMEM_USER), &w)) {
		*error = w.error;
		return ANSWER_TRUE;
	}
	if (!leads_to_ram(v, &w))
		return ANSWER_DEVICE;
	return map_walked(v, gva, access, &w) ? ANSWER_MAPPED : ANSWER_NEVER;
}

enum shadow_answer shadow_fault(struct vcpu *v, gva_t gva, bool write)
{
	struct stats *st = bt_of(v)->st;
	uint64_t start = __builtin_ia32_rdtsc();
	struct shadow_space *s = space_here(v);
	uint32_t error;
	enum shadow_answer answer = shadow_map_fault(v, gva, write ? VMEM_WRITE : VMEM_READ, &error);
	bool mapped = answer == ANSWER_MAPPED;

	if (!s)
		return false;
	st->shadow_faults += mapped;
	s->wanted = mapped ? 0 : gva;
	s->wanted_access = write ? VMEM_WRITE : VMEM_READ;
	policy_charge_fault(v, __builtin_ia32_rdtsc() - start);
	if (answer == ANSWER_TRUE)
		burst_note(v);
	return answer;
}

// User code comes back from where a true fault took it to: the page is mapped before it tries again, if the guest has
// set A and D for it. It may never try, so we must not.
void shadow_map_wanted(struct vcpu *v)
{
	struct shadow_space *s = space_here(v);
	uint64_t start = __builtin_ia32_rdtsc();
	struct mmu_walk w;

	if (may_map(v, s, s->wanted) && mmu_look(v, s->wanted, &w) && is_for(v, &w) && w.accessed &&
	    (!(s->wanted_access & VMEM_WRITE) || (w.write && w.dirty)) && (!(s->wanted_access & VMEM_FETCH) || w.exec) &&
	    map_walked(v, s->wanted, s->wanted_access, &w))
		bt_of(v)->st->shadow_after++;
	s->wanted = 0;
	policy_charge(v, s, __builtin_ia32_rdtsc() - start);
}

// As the tables have it now, by this look.
bool shadow_allows(struct vcpu *v, const struct record_page *p, const struct mmu_walk *w)
{
	return is_for(v, w) && w->accessed && w->gpa >> PAGE_SHIFT == p->gfn && mmu_key_is_open(v, w) &&
	       (!(p->rights & SHADOW_WRITE) || (w->write && w->dirty)) && (!(p->rights & SHADOW_EXEC) || w->exec);
}
