// SPDX-License-Identifier: MIT
//
// Which spaces have mappings, and when these hold. The host's mappings are a large TLB of some guest address spaces:
// one whose user code runs in the mapped form, and as many as there are worlds; user code of the others runs in the
// checked form. They follow the guest's invalidations and nothing else, as a processor's TLB: INVLPG takes one page; a
// flush makes all of a space stale, and before its user code uses it again each page is compared with the guest's
// tables, if that is not too often. A space is known by its root; what that has become meanwhile a flush or another
// PCID says. Who has mappings, and for how long, is policy.c's. Until there is user code it may be a kernel in the
// lower half.
#include "base/string.h"
#include "shadow/shadow.h"

enum { RECHECK_FREE = 600, RECHECK_SHARE = 16 }; // looking at more pages takes at most that part of the time

static uint64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

static gpa_t root_of(const struct vcpu *v)
{
	return v->cr3 & PTE_ADDR;
}

static uint16_t pcid_of(const struct vcpu *v)
{
	return v->cr4 & CR4_PCIDE ? v->cr3 & 0xfff : 0;
}

// -- invalidations ----------------------------------------------------------------------------------------------------

static bool on(const struct vcpu *v)
{
	return v->shared->config.memory != MEMORY_CHECKED;
}

void shadow_init(struct vcpu *v)
{
	for (unsigned i = 0; i < SHADOW_SPACES && on(v); i++)
		shadow_of(v)->space[i].number = (uint8_t)i;
	if (on(v))
		record_init(&shadow_of(v)->record);
}

void shadow_flush(struct vcpu *v)
{
	if (on(v))
		shadow_of(v)->fresh = 0;
}

void shadow_flush_pcid(struct vcpu *v, uint16_t pcid)
{
	struct shadow *s = shadow_of(v);

	for (unsigned m = on(v) ? s->fresh : 0; m; m &= m - 1)
		if (s->space[__builtin_ctz(m)].pcid == pcid)
			s->fresh &= (uint16_t)~(m & -m);
}

// All of the page that the address is in, which may have been a large one.
static void unmap_around(struct vcpu *v, struct shadow_space *p, gva_t gva)
{
	uint32_t *word = large_word(v, p, gva);

	if (p->large > LARGE_SHIFT) {
		shadow_unmap(v, p, align_down(gva, BIT64(p->large)), BIT64(p->large));
	} else if (*word) {
		shadow_unmap(v, p, align_down(gva, BIT64(LARGE_SHIFT)), BIT64(LARGE_SHIFT));
		if (*word == (uint32_t)(gva >> LARGE_SHIFT) + 1)
			*word = 0;
	} else {
		shadow_unmap(v, p, align_down(gva, PAGE_SIZE), PAGE_SIZE);
	}
}

static void flush_page_of(struct vcpu *v, struct shadow_space *p, gva_t gva)
{
	uint64_t start = now();

	unmap_around(v, p, gva);
	shadow_of(v)->seen[p->number][gva >> PAGE_SHIFT & (SENSITIVE_SEEN - 1)] = 0;
	policy_charge_churn(v, p, now() - start);
}

// Those with other PCIDs keep theirs, but for global pages; what is stale will be looked at in any case.
void shadow_flush_page(struct vcpu *v, gva_t gva, uint16_t pcid)
{
	if (!on(v) || gva >> 47)
		return;
	for (unsigned m = shadow_of(v)->fresh; m; m &= m - 1) {
		struct shadow_space *p = &shadow_of(v)->space[__builtin_ctz(m)];

		if ((p->pcid == pcid || p->has_global) && space_pages(v, p))
			flush_page_of(v, p, gva);
	}
}

// Code has been translated from this page: nobody writes to it unseen any more.
void shadow_watch(struct vcpu *v, gpa_t gpa)
{
	if (on(v))
		shadow_take_right(v, gpa, SHADOW_WRITE);
}

bool shadow_runs(const struct vcpu *v, gpa_t gpa)
{
	return on(v) && (record_may_have(&shadow_of(v)->record, gpa >> PAGE_SHIFT, SHADOW_EXEC) || clean_is_known(v, gpa));
}

// Somebody is about to write to this page: it may not be run as it is any more without another look.
void shadow_claim_write(struct vcpu *v, gpa_t gpa)
{
	if (!shadow_runs(v, gpa))
		return;
	shadow_take_right(v, gpa, SHADOW_EXEC);
	if (!code_is_here(bt_of(v), gpa))
		peers_forget_code(bt_of(v), gpa);
}

void shadow_lose_writes(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);

	if (!on(v))
		return;
	memset(s->clean, 0, sizeof(s->clean));
	for (unsigned i = 0; i < SHADOW_SPACES; i++)
		if (space_form(&s->space[i]) == FORM_DIRECT)
			shadow_drop(v, &s->space[i]);
}

// -- who has mappings -------------------------------------------------------------------------------------------------

void shadow_give_up(struct vcpu *v, struct shadow_space *p)
{
	shadow_drop(v, p);
	p->valid = false;
	shadow_of(v)->fresh &= (uint16_t)~BIT(p->number);
	if (shadow_of(v)->here == p)
		shadow_of(v)->here = NULL;
	if (space_form(p) == FORM_DIRECT)
		vmm_direct_rest(v);
}

static struct shadow_space *space_with(struct shadow *s, gpa_t root)
{
	for (unsigned i = 0; i < SHADOW_SPACES; i++)
		if (s->space[i].valid && s->space[i].root == root)
			return &s->space[i];
	return NULL;
}

static void claim(struct vcpu *v, struct shadow_space *p)
{
	struct shadow *s = shadow_of(v);

	if (p->valid)
		shadow_give_up(v, p);
	memset(s->seen[p->number], 0, sizeof(s->seen[0])); // also if nothing was mapped
	s->here = p;
	policy_start_counting(v);
	p->large = PAGE_SHIFT;
	p->of_kernel = v->cpl == 0;
	if (space_form(p) == FORM_DIRECT) {
		vmm_direct_renew(v, space_world(p));
		vmm_direct_catch_cpuid(v, space_world(p), policy_catches_cpuid(v, root_of(v)));
		vmm_direct_catch_tsc(v, space_world(p), false);
	}
	p->turns = p->tsc_turns = 0;
	p->held = p->stuck = false;
	p->valid = true;
	s->fresh |= (uint16_t)BIT(p->number);
	p->wanted = 0;
	p->window = SHADOW_WINDOW;
	p->aside_until = p->burst_began = 0;
	p->root = root_of(v);
	p->pcid = pcid_of(v);
	p->checked = p->check_cost = 0;
	bt_of(v)->st->shadow_claims++;
}

// Other code has no mapped form.
static bool is_flat(const struct vcpu *v)
{
	return vcpu_code64(v) || mode_is_flat(segments_mode(v));
}

// Code of a kernel, or a loader, that runs in the lower half, with no other rights than those of the tables.
static bool is_low_kernel(const struct vcpu *v)
{
	const uint64_t rights = CR4_SMAP | CR4_PKE | CR4_PKS;

	return v->cpl == 0 && vcpu_code64(v) && !(v->rip >> 47 || v->gpr[X86_RSP] >> 47) && !(v->cr4 & rights);
}

// Where there is user code it is what the mappings are for: a kernel beside it would throw them away all the time.
static bool kernel_may_claim(const struct vcpu *v)
{
	return is_low_kernel(v) && !shadow_of(v)->seen_user;
}

static bool try_to_claim(struct vcpu *v, bool user)
{
	struct shadow_space *place;

	if (!(user || kernel_may_claim(v)) || !is_flat(v))
		return false;
	place = policy_claim(v, root_of(v));
	if (place)
		claim(v, place);
	return place;
}

bool shadow_is_kernels(const struct vcpu *v)
{
	return on(v) && space_here(v) && space_here(v)->of_kernel;
}

// Is it still to have them?
static bool stays(struct vcpu *v, struct shadow_space *p, bool user)
{
	if (space_form(p) == FORM_DIRECT && !vmm_direct_is_alive(v, space_world(p)))
		return false;
	if (policy_is_due(v) && policy_too_dear(v, p))
		return false;
	return !(user && p->of_kernel); // none of it is for user code
}

// Not all the time, if that takes long.
static bool may_look(const struct vcpu *v, const struct shadow_space *p)
{
	return space_pages(v, p) <= RECHECK_FREE || now() - p->checked > RECHECK_SHARE * p->check_cost;
}

// Is the present space's user code to run in the mapped form, or as it is? MODE_MAPPED, MODE_DIRECT or 0. Called
// whenever something has changed that the mode depends on, in kernel mode too: for the way back. If the mappings are a
// kernel's own (shadow_is_kernels) the answer is about its code, not user code's.
uint32_t shadow_mode(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);
	bool user = v->cpl == 3; // and then: code that the mappings are for
	struct shadow_space *p;

	if (!on(v) || !vcpu_long_mode(v) || !vcpu_paging(v) || v->cr4 & CR4_LA57)
		return 0; // the host knows nothing of so wide addresses
	if (!user)
		policy_settle_stray(v);
	if (s->last_root != root_of(v)) {
		policy_switch(v, root_of(v));
		s->here = space_with(s, root_of(v));
	}
	if (s->here && !stays(v, s->here, user))
		shadow_give_up(v, s->here);
	s->seen_user |= user;
	if (!s->here && !try_to_claim(v, user))
		return 0;
	p = s->here;
	if (p->pcid != pcid_of(v)) {
		p->pcid = pcid_of(v);
		s->fresh &= (uint16_t)~BIT(p->number);
	}
	if (p->of_kernel) {
		if (!is_low_kernel(v))
			return 0;
		user = true;
	}
	if (user && space_is_stale(v, p) && may_look(v, p))
		shadow_look(v, p);
	if (space_is_stale(v, p))
		return 0;
	if (burst_goes_on(v, p))
		return 0;
	if (user && p->wanted)
		shadow_map_wanted(v);
	if (space_form(p) == FORM_MAPPED)
		return MODE_MAPPED;
	p->held &= user;
	return p->held ? 0 : MODE_DIRECT;
}
