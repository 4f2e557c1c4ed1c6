// SPDX-License-Identifier: MIT
//
// Direct execution: a space's user code runs as it is, in a process that has its pages and nothing else
// (vmm/direct.c). Whatever stops it there comes here: a system call is carried out, a hidden fault mapped, a true one
// delivered; everything else is the translator's, for one instruction. What user code can do without being stopped
// must be the same for guest and host: the selectors, flags and control bits that it could see are compared before it
// runs, and no page is executable there that holds instructions which would tell (sensitive.c). Code on such a page is
// translated, in the checked form, and linked to such code only.
#include "bt/run.h"
#include "cpu/segment.h"
#include "shadow/sensitive.h"
#include "shadow/shadow.h"

enum { LATE_TURNS = 256, WAY_CYCLES = 30000 }; // of its turns so many are looked at; what one costs beside the trip
enum { USER_CS32 = 0x23, USER_SS = 0x2b, USER_CS = 0x33 }; // the host's

// The host's descriptors that user code can load, from USER_CS32 on: 32-bit code, data, 64-bit code.
static const uint64_t host_descriptor[] = {0xcffb000000ffff, 0xcff3000000ffff, 0xaffb000000ffff};

// And data, for the number of a processor in its limit, which nothing but LSL and LAR can tell.
enum { USER_NUMBER = 0x7b };
static const uint64_t host_number = 0xf5 * BIT64(40), number_mask = 0xff00ffffffff0000 & ~BIT64(40);

static const uint64_t *descriptor(struct vcpu *v, uint32_t at)
{
	gpa_t gpa;

	if (at + 7 > v->gdtr.limit || (v->gdtr.base + at) % 8 || !mmu_peek(v, v->gdtr.base + at, &gpa))
		return NULL;
	return mem_host(&v->shared->config.mem, gpa, 8);
}

// Are these selectors the same descriptors in the guest? Far transfers and loads of them are not seen.
static bool has_host_descriptors(struct vcpu *v)
{
	const uint64_t *d;

	for (unsigned i = 0; i < ARRAY_SIZE(host_descriptor); i++) {
		const uint64_t accessed = BIT64(40);

		d = descriptor(v, (USER_CS32 & SEL_INDEX) + i * 8);
		if (!d || (*d | accessed) != (host_descriptor[i] | accessed))
			return false;
	}
	d = descriptor(v, USER_NUMBER & SEL_INDEX);
	return d && !((*d ^ host_number) & number_mask);
}

static uint64_t host_xcr0(void)
{
	uint32_t lo, hi;

	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return (uint64_t)hi << 32 | lo;
}

unsigned direct_rules(const struct vcpu *v)
{
	unsigned world = space_world(space_here(v));

	return (v->xcr0 != host_xcr0() ? SENSITIVE_STATE : 0) |
	       (vmm_direct_tsc_faults(v, world) ? SENSITIVE_TSC_FAULTS : 0) |
	       (vmm_direct_cpuid_faults(v, world) ? SENSITIVE_CPUID_FAULTS : 0);
}

// What its kernel may change at any time: with these bits user code can do what the host's can, and no more.
static bool control_suits(const struct vcpu *v)
{
	const uint64_t cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE;

	return (v->cr4 & (cr4 | CR4_PKE | CR4_TSD)) == cr4 &&
	       (v->cr0 & (CR0_AM | CR0_NE | CR0_TS | CR0_EM)) == (CR0_AM | CR0_NE) &&
	       v->efer & EFER_SCE && !(v->dr[7] & 0xff) && !v->pmu.active &&
	       (v->xcr0 ^ v->shared->config.host_xcr0) % BIT64(8) == 0; // or the host would know other instructions
}

bool direct_suits(struct vcpu *v)
{
	const struct config *c = &v->shared->config;

	return vcpu_code64(v) && control_suits(v) && !(host_xcr0() & ~(uint64_t)SENSITIVE_XCR0_KNOWN) &&
	       !(c->stress & (memory_is_direct(c->memory) ? STRESS_IRQ : ~0u)) && !v->counts && has_host_descriptors(v);
}

static bool state_suits(const struct vcpu *v)
{
	const uint64_t fixed = RFLAGS_IF | RFLAGS_TF | RFLAGS_VM | RFLAGS_NT | RFLAGS_ID | RFLAGS_VIF | RFLAGS_VIP |
			       RFLAGS_IOPL;
	const struct x86_seg *s = v->seg;

	return s[X86_CS].sel == USER_CS && s[X86_SS].sel == USER_SS && !s[X86_DS].sel && !s[X86_ES].sel && !s[X86_FS].sel &&
	       !s[X86_GS].sel && v->rip < BIT64(47) - PAGE_SIZE &&
	       (v->rflags & fixed) == RFLAGS_IF;
}

static enum shadow_ran hold(struct vcpu *v)
{
	space_here(v)->held = true;
	bt_of(v)->st->direct_holds++;
	bt_set_mode(v);
	return SHADOW_RAN; // the run loop goes on in another mode
}

// The instruction at hand is for the translator.
static enum shadow_ran step(struct vcpu *v)
{
	bt_of(v)->st->direct_steps++;
	bt_of(v)->careful |= (v->rflags & RFLAGS_AC) != 0; // the mode may not say so yet
	policy_charge_stray(v);
	return SHADOW_STEP;
}

// So often for RDTSC that it is to fault in that world? It costs more at each turn then, but code beside it runs (libc
// has one on the page of its locks).
static void consider_tsc(struct vcpu *v, struct shadow_space *s)
{
	uint64_t trip = vmm_direct_trip_cycles(v, space_world(s));

	if (s->turns < LATE_TURNS)
		return;
	if (s->tsc_turns * (trip + WAY_CYCLES) > s->turns * vmm_direct_cost_of_tsc(v) && s->tsc_turns > LATE_TURNS / 2) {
		vmm_direct_catch_tsc(v, space_world(s), true);
		shadow_forget_tscs(v);
	}
	s->turns = s->tsc_turns = 0;
}

// It has come to a page with sensitive instructions: most of what is there may run elsewhere.
static bool is_displaced(struct vcpu *v)
{
	return displaced_find(v, v->rip) || (shadow_wants_displaced(v, v->rip) && displaced_add(v, v->rip));
}

// All on its page are.
static enum shadow_ran translate(struct vcpu *v)
{
	if (v->rflags & RFLAGS_AC)
		return step(v);
	bt_of(v)->st->direct_pages++;
	space_here(v)->tsc_turns += shadow_is_tscs(v, v->rip);
	policy_charge_stray(v);
	return SHADOW_TRANSLATE;
}

static enum shadow_ran page_fault(struct vcpu *v, const struct direct_left *left)
{
	enum vmem_access access = left->error & PF_I ? VMEM_FETCH : left->error & PF_W ? VMEM_WRITE : VMEM_READ;
	struct shadow_space *s = space_here(v);
	uint64_t start = __builtin_ia32_rdtsc();
	uint32_t error;
	enum shadow_answer answer = shadow_map_fault(v, left->cr2, access, &error);

	policy_charge(v, s, __builtin_ia32_rdtsc() - start);
	s->wanted = 0;
	switch (answer) {
	case ANSWER_MAPPED:
		bt_of(v)->st->direct_hidden++;
		return SHADOW_RAN;
	case ANSWER_TRUE:
		bt_of(v)->st->direct_faults++;
		s->wanted = left->cr2;
		s->wanted_access = access;
		burst_note(v);
		vcpu_raise_pf(v, left->cr2, error);
	case ANSWER_NEVER: case ANSWER_DEVICE:
		break;
	}
	if (shadow_is_sensitive(v, v->rip) || (displaces_all(v) && access == VMEM_FETCH))
		return access == VMEM_FETCH && is_displaced(v) ? SHADOW_RAN : translate(v);
	bt_of(v)->careful = access != VMEM_FETCH;
	return step(v);
}

// Segments that the code has loaded, far transfers to 32-bit code among them.
static void take_selectors(struct vcpu *v, const struct direct_left *left)
{
	static const uint8_t which[4] = {X86_DS, X86_ES, X86_FS, X86_GS};
	uint64_t base[2] = {v->seg[X86_FS].base, v->seg[X86_GS].base};

	for (unsigned i = 0; i < ARRAY_SIZE(which); i++)
		if (left->selector[i] != v->seg[which[i]].sel)
			segment_load(v, which[i], left->selector[i]);
	v->seg[X86_FS].base = base[0];
	v->seg[X86_GS].base = base[1];
	if (left->code_selector == USER_CS)
		return;
	v->seg[X86_CS] = segment_flat_code(USER_CS32, 3, false);
	v->rip = (uint32_t)v->rip; // of a forged one
	bt_set_mode(v);
}

static enum shadow_ran system_call(struct vcpu *v)
{
	const struct x86_insn insn = {
		.class = X86_CLASS_SYSCALL, .mode = X86_MODE64, .map = 1, .opcode = 5, .len = 2, .opsize = 4,
	};

	bt_of(v)->st->direct_syscalls++;
	bt_system_insn(v, &insn);
	return SHADOW_RAN;
}

// The instruction has run, and left a trap: INT3, INT1, or single-step. Else it is still to be run.
static enum shadow_ran exception(struct vcpu *v, const struct direct_left *left)
{
	if (left->vector == VEC_DB && v->rflags & RFLAGS_TF)
		vcpu_raise_db(v, DR6_BS);
	if (left->vector == VEC_DB || left->vector == VEC_BP)
		v->rip--;
	if (!vcpu_code64(v))
		return SHADOW_RAN;
	if (left->vector == VEC_UD && displaced_find(v, v->rip)) {
		displaced_note_stop(v);
		return translate(v);
	}
	return left->vector == VEC_PF ? page_fault(v, left) : step(v);
}

static void run_world(struct vcpu *v, const struct shadow_space *s, struct direct_left *left)
{
	uint64_t displaced = displaced_find(v, v->rip);

	if (displaced)
		v->rip = displaced;
	vmm_direct_run(v, space_world(s), left);
	displaced_undo(v, left);
	bt_of(v)->st->direct_led += left->led;
	policy_charge_displaced(v, left);
}

enum shadow_ran shadow_run(struct vcpu *v)
{
	struct shadow_space *s = space_here(v);
	uint64_t rip = v->rip, start;
	struct direct_left left = {0};

	if (!vcpu_code64(v) || v->shared->debugger.breakpoints || v->shared->debugger.watchpoints)
		return hold(v);
	if (!state_suits(v) || !control_suits(v))
		return step(v);
	shadow_of(v)->strayed = 0;
	if (s->stuck) {
		s->stuck = false;
		return step(v);
	}
	if (shadow_is_sensitive(v, v->rip) && !is_displaced(v))
		return translate(v);
	if (displaces_all(v))
		is_displaced(v); // else what runs in place is to fault
	s->turns++;
	consider_tsc(v, s);
	start = __builtin_ia32_rdtsc();
	run_world(v, s, &left);
	policy_charge_exit(v, left.how == DIRECT_SYSCALL, __builtin_ia32_rdtsc() - start);
	switch (left.how) {
	case DIRECT_FORGED:
		bt_of(v)->st->direct_forged++;
		vcpu_raise(v, VEC_GP, 0);
	case DIRECT_LOST:
		bt_of(v)->st->direct_lost++;
		policy_lose(v, s);
		shadow_give_up(v, s);
		vcpu_raise(v, VEC_GP, 0);
	case DIRECT_FULL:
		shadow_drop(v, s);
		return SHADOW_RAN;
	case DIRECT_KICKED:
		bt_of(v)->st->direct_kicks++;
		s->stuck = v->rip == rip; // with something always pending it would never go on
		take_selectors(v, &left);
		return SHADOW_RAN;
	case DIRECT_SYSCALL:
		take_selectors(v, &left);
		return system_call(v);
	case DIRECT_EXCEPTION:
		take_selectors(v, &left);
		return exception(v, &left);
	}
	NOT_REACHED();
}
