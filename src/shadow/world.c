// SPDX-License-Identifier: MIT
//
// Whose mappings they are, and when they hold. The host's mappings are one large TLB of one guest address space, its
// owner: user code of the owner runs in the mapped form, all other in the checked form. They follow the guest's
// invalidations and nothing else, as a processor's TLB: INVLPG takes one page; a flush of the space makes all of it
// stale, and before user code uses it again each page is compared with the guest's tables, if that is not too often.
// Who becomes the owner, and for how long, is policy.c's. Until there is user code it may be a kernel in
// the lower half.
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

void shadow_flush(struct vcpu *v)
{
	if (on(v))
		shadow_of(v)->stale = true;
}

void shadow_flush_pcid(struct vcpu *v, uint16_t pcid)
{
	if (on(v) && shadow_of(v)->pcid == pcid)
		shadow_of(v)->stale = true;
}

// All of the page that the address is in, which may have been a large one.
static void unmap_around(struct vcpu *v, struct shadow *s, gva_t gva)
{
	uint32_t *word = large_word(s, gva);

	if (s->large > LARGE_SHIFT) {
		shadow_unmap(v, align_down(gva, BIT64(s->large)), BIT64(s->large));
	} else if (*word) {
		shadow_unmap(v, align_down(gva, BIT64(LARGE_SHIFT)), BIT64(LARGE_SHIFT));
		if (*word == (uint32_t)(gva >> LARGE_SHIFT) + 1)
			*word = 0;
	} else {
		shadow_unmap(v, align_down(gva, PAGE_SIZE), PAGE_SIZE);
	}
}

void shadow_flush_page(struct vcpu *v, gva_t gva)
{
	struct shadow *s = shadow_of(v);
	uint64_t start = now();

	if (!on(v) || !s->n || gva >> 47)
		return;
	unmap_around(v, s, gva);
	s->seen[gva >> PAGE_SHIFT & (SENSITIVE_SEEN - 1)] = 0;
	policy_charge_churn(v, now() - start);
}

// Code has been translated from this page: nobody writes to it unseen any more.
void shadow_watch(struct vcpu *v, gpa_t gpa)
{
	if (on(v) && shadow_of(v)->n)
		shadow_take_right(v, gpa, SHADOW_WRITE);
}

bool shadow_runs(const struct vcpu *v, gpa_t gpa)
{
	return on(v) && shadow_of(v)->n && shadow_of(v)->code[gpa >> PAGE_SHIFT & (SHADOW_FRAMES - 1)];
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

// -- the owner --------------------------------------------------------------------------------------------------------

void shadow_give_up(struct vcpu *v)
{
	shadow_drop(v);
	shadow_of(v)->valid = false;
	if (shadow_of(v)->form == FORM_DIRECT)
		vmm_direct_rest(v);
}

// Look at every page of a stale space: those that the guest's tables do not have like that any more go.
static void recheck(struct vcpu *v, struct shadow *s)
{
	uint64_t start = now();
	uint32_t kept = 0, gone = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		if (shadow_allows(v, &s->page[i]))
			kept++;
		else
			gone++;
		if (gone > (s->form == FORM_DIRECT ? 8 : 64) && gone > kept) {
			shadow_drop(v);
			break;
		}
	}
	for (uint32_t i = s->n; i-- > 0 && gone;)
		if (i < s->n && !shadow_allows(v, &s->page[i]))
			shadow_unmap(v, (gva_t)s->page[i].vpn << PAGE_SHIFT, PAGE_SIZE);
	s->stale = false;
	s->checked = now();
	s->check_cost = s->checked - start;
	bt_of(v)->st->shadow_checks++;
	policy_charge_churn(v, s->check_cost);
	if (s->form == FORM_DIRECT && gone > kept) { // another process, which has to prove itself
		shadow_give_up(v);
		policy_begin(v);
	}
}

static void claim(struct vcpu *v, struct shadow *s)
{
	shadow_drop(v);
	memset(s->seen, 0, sizeof(s->seen)); // also if nothing was mapped
	policy_start_counting(v);
	s->large = PAGE_SHIFT;
	s->of_kernel = v->cpl == 0;
	s->form = s->of_kernel ? FORM_MAPPED : policy_form(v, root_of(v));
	if (s->form == FORM_DIRECT)
		vmm_direct_catch_cpuid(v, policy_catches_cpuid(v, root_of(v)));
	s->held = false;
	s->valid = true;
	s->stale = false;
	s->wanted = 0;
	s->window = SHADOW_WINDOW;
	s->aside_until = s->burst_began = 0;
	s->root = root_of(v);
	s->pcid = pcid_of(v);
	s->checked = s->check_cost = 0;
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

bool shadow_is_kernels(const struct vcpu *v)
{
	return on(v) && shadow_of(v)->valid && shadow_of(v)->of_kernel;
}

// Is the present space's user code to run in the mapped form, or as it is? MODE_MAPPED, MODE_DIRECT or 0. Called
// whenever something has changed that the mode depends on, in kernel mode too: for the way back. If the mappings are a
// kernel's own (shadow_is_kernels) the answer is about its code, not user code's.
uint32_t shadow_mode(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);
	bool user = v->cpl == 3; // and then: code that the mappings are for

	if (!on(v) || !vcpu_long_mode(v) || !vcpu_paging(v) || v->cr4 & CR4_LA57)
		return 0; // the host knows nothing of so wide addresses
	if (!user)
		policy_settle_stray(v);
	if (s->last_root != root_of(v))
		policy_switch(v, root_of(v));
	if (s->valid && s->root == root_of(v) && policy_is_due(v) && policy_too_dear(v))
		shadow_give_up(v);
	if (user && shadow_is_kernels(v) && s->root == root_of(v))
		shadow_give_up(v); // none of it is for user code
	s->seen_user |= user;
	if (!s->valid || s->root != root_of(v)) {
		if (!(user || kernel_may_claim(v)) || !is_flat(v) || !policy_may_claim(v, root_of(v)))
			return 0;
		claim(v, s);
	}
	if (s->pcid != pcid_of(v)) {
		s->pcid = pcid_of(v);
		s->stale = true;
	}
	if (s->of_kernel) {
		if (!is_low_kernel(v))
			return 0;
		user = true;
	}
	if (s->stale && user && (s->n <= RECHECK_FREE || now() - s->checked > RECHECK_SHARE * s->check_cost))
		recheck(v, s);
	if (s->stale || !s->valid)
		return 0;
	if (burst_goes_on(v))
		return 0;
	if (user && s->wanted)
		shadow_map_wanted(v);
	if (s->form == FORM_MAPPED)
		return MODE_MAPPED;
	s->held &= user;
	return s->held ? 0 : MODE_DIRECT;
}
