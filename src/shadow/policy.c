// SPDX-License-Identifier: MIT
//
// Which address spaces are worth their mappings. Each is innocent until proven guilty: one that has been running for a
// while without a break may have them, and keeps them as long as what they cost - host faults, host calls, looks at
// flushed pages, translating once more - stays a small part of the time that it runs. One that proves too dear, or
// takes turns with others all the time, goes back to the checked form for a while, each time for longer; time in which
// it was cheap is set against that. All of it is measured in time-stamp cycles.
#include "shadow/shadow.h"

enum {
	ASKED = 16,            // times between two looks at an owner whose cost has not grown
	RUN_FIRST = 3,         // ms without a break before a space is promoted
	AWAY = 2, AWAY_PAGE = 50, AWAY_MAX = 100, // ms, us, ms that the owner may not be seen before another takes over
	RUN_AGAIN = 12,        // and if its root was that of one which is held to be too dear: it may be a short one again
	ALLOWANCE = 4,         // ms that mapping may cost in any case: what is present already comes in
	SHARE = 6,             // and this part of the time that the space runs: what the form gains is more, as a rule
	TRANSLATION = 4,       // for translating again counts that part only: it is done once, and the next space has it
	CHURN = 4,             // what is looked at and taken away again, not made to stay, counts that much more
	PAUSE = 200, PAUSE_MAX = 6400, // ms
	MEMORY = 200,          // ms after which the past counts half
	STINTS_FEW = 50, STINTS_IN_MS = 8, DIRECT_STINTS_IN_MS = 1, // more often than that it may not be called away
	DIRECT_SHARE = 60,     // per cent, of a space that runs directly: there it gains much more
	DIRECT_ALLOWANCE = 30, // ms of cost: what begins touches many pages
	CALL_ALLOWANCE = 6, CALL_SHARE = 40, // ms, per cent, for system calls: in translated code they cost next to nothing
	STRAY_ALLOWANCE = 30, STRAY_SHARE = 15, // ms, per cent, for code on pages that cannot be run directly
	LED_ALLOWANCE = 8,     // ms of that, by signals to displaced code
	CPUID_ALLOWANCE = 10,  // ms of that, where CPUID alone is why
	STRAY_CYCLES = 8000,   // to translated code and back
	LED_CYCLES = 14000,    // to displaced code by a signal, twice what it takes: who does so all the time is better ...
	LOOK_UP_CYCLES = 20,   // ... off mapped; within that by a return or another indirect jump
	STAY_MAX = 5,          // ms: a timer tick
	SIGNAL_CYCLES = 5000,  // the host's own part of a fault: measured on several hosts, 4000 to 6000
	GAIN = 2,              // what runs directly would take so much longer translated, or more
	LATELY = 1000,         // ms of cost and gain after which they count half
	WARY_FROM = 50, WARIEST = 8, // ms of cost that need no gain yet
};

static uint64_t now(void)
{
	return __builtin_ia32_rdtsc();
}

static uint64_t milliseconds(const struct vcpu *v, uint64_t n)
{
	return v->shared->config.tsc_hz / 1000 * n;
}

static bool forced(const struct vcpu *v)
{
	return v->shared->config.memory == MEMORY_MAPPED || memory_is_direct(v->shared->config.memory);
}

static struct account *account_of(struct shadow *s, gpa_t root)
{
	struct account *a = &s->account[root >> PAGE_SHIFT & (SHADOW_ACCOUNTS - 1)];

	if (a->root != root)
		*a = (struct account){.root = root};
	return a;
}

// From here on.
void policy_start_counting(struct vcpu *v)
{
	shadow_of(v)->counted = now();
	shadow_of(v)->translated = bt_of(v)->st->tu_again_cycles;
}

// To translate for the mapped form what the checked form has already is a cost as well. New code is not: it would have
// been translated anyway, and costs less to translate in this form.
static void count_time(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);
	struct account *a = account_of(s, s->here->root);
	uint64_t since = s->counted, translated = s->translated;

	policy_start_counting(v);
	a->ran += s->counted - since;
	a->cost += (s->translated - translated) / TRANSLATION;
}

// Another space is the present one.
void policy_switch(struct vcpu *v, gpa_t root)
{
	struct shadow *s = shadow_of(v);

	if (s->here) {
		count_time(v);
		account_of(s, s->here->root)->stints++;
		s->asked = ASKED;
		bt_of(v)->st->shadow_leaves++;
		s->here->left = s->counted;
	}
	s->last_root = root;
	s->strayed = 0;
	policy_start_counting(v);
	s->arrived = s->counted;
}

// What runs directly has come at this price of late, and it was so long.
static void learn(struct vcpu *v, uint64_t cost, uint64_t direct)
{
	struct shadow *s = shadow_of(v);

	s->direct_cost += cost;
	s->direct_time += direct;
	if (s->direct_cost + s->direct_time > milliseconds(v, LATELY)) {
		s->direct_cost /= 2;
		s->direct_time /= 2;
	}
}

// How much dearer than its gain that was: where processes live for milliseconds, as when a system starts, most of them
// end before they have paid. The others are let begin later then.
static unsigned wariness(const struct vcpu *v)
{
	const struct shadow *s = shadow_of(v);

	return (unsigned)MIN(1 + s->direct_cost / (s->direct_time * GAIN + milliseconds(v, WARY_FROM)), (uint64_t)WARIEST);
}

void policy_begin(struct vcpu *v)
{
	if (!forced(v))
		shadow_of(v)->arrived = now();
}

static const uint64_t *table_at(const struct vcpu *v, uint64_t entry)
{
	return entry & PTE_P && !(entry & PTE_PS) ? mem_host(&v->shared->config.mem, entry & PTE_ADDR, PAGE_SIZE) : NULL;
}

static uint64_t mix(uint64_t print, unsigned i, uint64_t entry)
{
	return (print ^ (entry & PTE_ADDR) ^ i) * UINT64_C(0x9e3779b97f4a7c15);
}

// Of the two upper levels of its user half: which entries there are, and where they lead.
static uint64_t fingerprint(const struct vcpu *v, gpa_t root)
{
	const uint64_t *top = table_at(v, root | PTE_P), *next;
	uint64_t print = 1;

	for (unsigned i = 0; top && i < 256; i++) {
		next = table_at(v, top[i]);
		for (unsigned k = 0; next && k < 512; k++)
			if (next[k] & PTE_P)
				print = mix(print, i << 9 | k, next[k]);
	}
	return print;
}

// A page that has been the root of one space becomes that of the next process: what was too dear is another's.
static bool is_another(struct vcpu *v, gpa_t root, struct account *a)
{
	struct shadow *s = shadow_of(v);

	if (s->looked == s->arrived)
		return false;
	if (now() - s->arrived < milliseconds(v, RUN_AGAIN))
		return false;
	s->looked = s->arrived;
	return fingerprint(v, root) != a->print;
}

// Nothing is in its tables any more: the guest clears them before it gives them back.
static bool is_gone(const struct vcpu *v, const struct shadow_space *p)
{
	const uint64_t *top = table_at(v, p->root | PTE_P);

	for (unsigned i = 0; top && i < 256; i++)
		if (top[i] & PTE_P)
			return false;
	return true;
}

// How long a space may be away before another takes its mappings: the more it has, the longer, as all of it is to be
// found again. Processes that take turns would do nothing else.
static uint64_t patience(const struct vcpu *v, const struct shadow_space *p)
{
	uint64_t ms = MIN(AWAY + (uint64_t)space_pages(v, p) * AWAY_PAGE / 1000, (uint64_t)AWAY_MAX);

	return milliseconds(v, ms);
}

// For how long nobody has run there, if that is long enough; else 0.
static uint64_t free_since(const struct vcpu *v, const struct shadow_space *p)
{
	uint64_t away = now() - p->left;

	if (!p->valid || is_gone(v, p))
		return UINT64_MAX;
	return away >= patience(v, p) ? away : 0;
}

// The one that has been free for longest, or NULL.
static struct shadow_space *find_world(const struct vcpu *v)
{
	struct shadow_space *best = NULL;
	uint64_t longest = 0;

	for (unsigned i = 1; i < SHADOW_SPACES && longest != UINT64_MAX; i++) {
		struct shadow_space *p = &shadow_of(v)->space[i];
		bool lost = !vmm_direct_is_alive(v, space_world(p));
		uint64_t since = lost && !vmm_direct_may_renew(v) ? 0 : free_since(v, p);

		if (since > longest) {
			longest = since;
			best = p;
		}
	}
	return best;
}

// The world that the present space may have, if it is to run directly; or NULL. In the kernel nobody knows: it is
// 64-bit code, and what it goes back to may not be.
static struct shadow_space *world_for(struct vcpu *v, gpa_t root)
{
	if (v->cpl != 3 || v->shared->config.memory == MEMORY_MAPPED || !direct_suits(v) ||
	    (!forced(v) && now() < account_of(shadow_of(v), root)->translated_until))
		return NULL;
	return find_world(v);
}

// As long as it is checked that is asked for at each fault and each way back, too.
struct shadow_space *policy_claim(struct vcpu *v, gpa_t root)
{
	struct shadow *s = shadow_of(v);
	uint64_t at = now();
	struct shadow_space *place;

	if (!forced(v) && (at < s->again || at - s->arrived < milliseconds(v, RUN_FIRST * wariness(v)) ||
			   (at < account_of(s, root)->until && !is_another(v, root, account_of(s, root)))))
		return NULL;
	place = world_for(v, root);
	if (!place && free_since(v, &s->space[0]))
		place = &s->space[0];
	s->again = place ? 0 : at + milliseconds(v, 1);
	return place;
}

void policy_charge(struct vcpu *v, const struct shadow_space *p, uint64_t cycles)
{
	struct shadow *s = shadow_of(v);

	bt_of(v)->st->shadow_cycles += cycles;
	s->asked = ASKED;
	account_of(s, p->root)->cost += cycles;
	if (space_form(p) == FORM_DIRECT)
		learn(v, cycles, 0);
}

void policy_charge_churn(struct vcpu *v, const struct shadow_space *p, uint64_t cycles)
{
	policy_charge(v, p, cycles);
	account_of(shadow_of(v), p->root)->cost += cycles * (CHURN - 1);
}

void policy_charge_fault(struct vcpu *v, uint64_t cycles)
{
	policy_charge(v, space_here(v), cycles + SIGNAL_CYCLES);
}

void policy_charge_exit(struct vcpu *v, bool call, uint64_t cycles)
{
	const struct shadow_space *p = space_here(v);
	uint64_t cost = vmm_direct_trip_cycles(v, space_world(p)) + SIGNAL_CYCLES;
	struct account *a = account_of(shadow_of(v), p->root);

	learn(v, cost, cycles - MIN(cycles, cost));
	bt_of(v)->st->direct_exits++;
	a->cost += cost;
	a->calls += call ? cost : 0;
	a->turns++;
}

static void charge_stray(struct vcpu *v, uint64_t cycles)
{
	struct account *a = account_of(shadow_of(v), space_here(v)->root);

	a->stray += cycles;
	if (shadow_of(v)->strayed_to_cpuid)
		a->stray_to_cpuid += cycles;
}

void policy_charge_stray(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);

	policy_charge(v, s->here, STRAY_CYCLES);
	s->strayed = now();
	s->strayed_to_cpuid = shadow_is_cpuids(v, v->rip);
	charge_stray(v, STRAY_CYCLES + SIGNAL_CYCLES + vmm_direct_trip_cycles(v, space_world(s->here)));
}

// Guest code can write what has been counted.
void policy_charge_displaced(struct vcpu *v, const struct direct_left *left)
{
	uint64_t led = (uint64_t)MIN(left->led, 1u << 20) * LED_CYCLES;
	uint64_t cycles = led + MIN(left->looked_up, BIT64(30)) * LOOK_UP_CYCLES;

	account_of(shadow_of(v), space_here(v)->root)->led += led;
	if (!cycles)
		return;
	policy_charge(v, space_here(v), cycles);
	shadow_of(v)->strayed_to_cpuid = displaced_is_all_cpuids(v);
	charge_stray(v, cycles);
}

// How long it was there: not seen if it has come back to run directly instead.
void policy_settle_stray(struct vcpu *v)
{
	struct shadow *s = shadow_of(v);

	if (s->strayed && s->here)
		charge_stray(v, MIN(now() - s->strayed, milliseconds(v, STAY_MAX)));
	s->strayed = 0;
}

bool policy_catches_cpuid(struct vcpu *v, gpa_t root)
{
	return account_of(shadow_of(v), root)->catches_cpuid;
}

static void start_account(struct account *a)
{
	a->ran = a->cost = a->stray = a->led = a->stray_to_cpuid = a->turns = a->calls = a->stints = 0;
}

static void pause_space(struct vcpu *v, struct account *a)
{
	a->pause = MIN(MAX(a->pause * 2, (unsigned)PAUSE), (unsigned)PAUSE_MAX);
	a->until = now() + milliseconds(v, a->pause);
	a->print = fingerprint(v, a->root);
	start_account(a);
	bt_of(v)->st->shadow_demotions++;
}

// Who has done so before is known sooner.
static uint64_t allowance(const struct vcpu *v, const struct account *a, unsigned ms)
{
	return milliseconds(v, ms) * PAUSE / MAX(a->direct_pause, (unsigned)PAUSE);
}

static bool is_led(const struct vcpu *v, const struct account *a)
{
	return a->led > allowance(v, a, LED_ALLOWANCE) + a->ran / 100 * STRAY_SHARE;
}

static bool strays(const struct vcpu *v, const struct account *a)
{
	return is_led(v, a) || a->stray > allowance(v, a, STRAY_ALLOWANCE) + a->ran / 100 * STRAY_SHARE;
}

static bool calls(const struct vcpu *v, const struct account *a)
{
	return a->calls > allowance(v, a, CALL_ALLOWANCE) + a->ran / 100 * CALL_SHARE;
}

// So much that it is better off with CPUID as an exception?
static bool strays_to_cpuid(const struct vcpu *v, const struct shadow_space *p, const struct account *a)
{
	uint64_t cost = vmm_direct_cost_of_cpuid(v, space_world(p));

	return cost && a->stray_to_cpuid > milliseconds(v, CPUID_ALLOWANCE) + a->ran / 100 * STRAY_SHARE &&
	       a->turns * cost < a->stray_to_cpuid;
}

// It comes to the monitor too often to be run directly: it is translated, in the mapped form, for a while.
static void translate_space(struct vcpu *v, struct account *a)
{
	a->direct_pause = MIN(MAX(a->direct_pause * 2, (unsigned)PAUSE), (unsigned)PAUSE_MAX);
	a->translated_until = now() + milliseconds(v, a->direct_pause);
	a->catches_cpuid = false;
	start_account(a);
	bt_of(v)->st->direct_demotions++;
}

// Whoever kills worlds is translated for long: there are not many.
void policy_lose(struct vcpu *v, const struct shadow_space *p)
{
	struct account *a = account_of(shadow_of(v), p->root);

	a->direct_pause = PAUSE_MAX;
	translate_space(v, a);
}

// Does it take turns with others all the time? Then most of what it runs is the way there and back.
static bool is_restless(const struct vcpu *v, const struct account *a, unsigned in_ms)
{
	return a->stints > STINTS_FEW && a->ran / a->stints < milliseconds(v, 1) / in_ms;
}

// The mode is asked for at each fault and each way back; looking at the clock as often would be what they cost.
bool policy_is_due(struct vcpu *v)
{
	return shadow_of(v)->asked++ >= ASKED;
}

// Does it cost too much to run directly?
static bool direct_is_too_dear(const struct vcpu *v, const struct account *a)
{
	return is_restless(v, a, DIRECT_STINTS_IN_MS) || strays(v, a) || calls(v, a) ||
	       a->cost > milliseconds(v, DIRECT_ALLOWANCE) + a->ran / 100 * DIRECT_SHARE;
}

// The past counts half after a while.
static void forget_some(struct account *a, enum shadow_form form)
{
	a->ran /= 2;
	a->cost /= 2;
	a->stray /= 2;
	a->led /= 2;
	a->stray_to_cpuid /= 2;
	a->turns /= 2;
	a->calls /= 2;
	a->stints /= 2;
	a->pause -= a->pause / 4;
	a->direct_pause -= form == FORM_DIRECT ? a->direct_pause / 4 : 0;
}

// The present space has mappings. Do they cost too much, or is it to run in another form? Then it loses them.
bool policy_too_dear(struct vcpu *v, struct shadow_space *p)
{
	struct shadow *s = shadow_of(v);
	struct account *a = account_of(s, p->root);
	enum shadow_form form = space_form(p);

	s->asked = 0;
	if (forced(v))
		return false;
	count_time(v);
	if (form == FORM_DIRECT && strays_to_cpuid(v, p, a)) {
		a->catches_cpuid = true;
		start_account(a);
		return true;
	}
	if (form == FORM_DIRECT && direct_is_too_dear(v, a)) {
		translate_space(v, a);
		return true;
	}
	if (form == FORM_MAPPED && !p->of_kernel && world_for(v, p->root))
		return true; // the time for which it was to be translated is over
	if ((form == FORM_MAPPED && a->cost > milliseconds(v, ALLOWANCE) + a->ran / SHARE) ||
	    is_restless(v, a, STINTS_IN_MS)) {
		pause_space(v, a);
		return true;
	}
	if (a->ran > milliseconds(v, MEMORY))
		forget_some(a, form);
	return false;
}
