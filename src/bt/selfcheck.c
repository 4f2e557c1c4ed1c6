// SPDX-License-Identifier: MIT
//
// --selfcheck=N: every Nth unit is run twice from the same state: first one instruction at a time in the careful form,
// with its writes noted, then, after these are undone, as a unit; registers, flags, vectors and memory must agree.
// The careful run is right by itself: where the comparison must end (a fault, a device, code that changes itself) its
// result stands. A difference ends the machine with a report.
//
// Units for this (MODE_ALONE) are linked to nothing, hold only instructions whose effects both runs can repeat, and
// take all flags to be live where they end.
#include "base/format.h"
#include "base/string.h"
#include "bt/selfcheck.h"

enum { LEAVE_MASK = 0xff, HOST_STATE = 0xe7, FX_POINTERS = 6, FX_MXCSR = 24, XSTATE_HEADER = 512, XSTATE_DATA = 576 };

bool selfcheck_can(const struct x86_insn *insn)
{
	switch (insn->class) {
	case X86_CLASS_X87:
		return insn->mem.size <= 10; // the environment holds addresses of host code
	case X86_CLASS_MASKED:
		return insn->mem.present;
	case X86_CLASS_JMP: case X86_CLASS_JCC: case X86_CLASS_LOOP:
		return insn->imm; // taken or not would look the same
	case X86_CLASS_PLAIN: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX: case X86_CLASS_AVX512:
	case X86_CLASS_FWAIT:
	case X86_CLASS_CALL:
	case X86_CLASS_JMP_IND:
	case X86_CLASS_CALL_IND:
	case X86_CLASS_RET:
	case X86_CLASS_PUSH:
	case X86_CLASS_POP:
	case X86_CLASS_LEAVE:
		return true;
	default:
		return false;
	}
}

// -- the careful run's writes -----------------------------------------------------------------------------------------

// May this access be made twice? Only RAM; what will fault does so by itself.
bool selfcheck_allows(struct vcpu *v, gva_t gva, unsigned size)
{
	gva_t last = gva + size - 1;
	const struct mem *m = &v->shared->config.mem;
	gpa_t gpa;

	if (mmu_peek(v, gva, &gpa) && !mem_is_ram(m, gpa, 1))
		return false;
	return !(mmu_peek(v, last, &gpa) && !mem_is_ram(m, gpa, 1));
}

static void note_piece(struct vcpu *v, gva_t gva, unsigned size)
{
	struct selfcheck *c = &bt_of(v)->check;
	struct check_write *w = &c->write[c->nwrites];
	gpa_t gpa;

	if (!mmu_peek(v, gva, &gpa) || c->nwrites == CHECK_WRITES) {
		c->lost = true;
		return;
	}
	c->nwrites++;
	w->gpa = gpa;
	w->host = mem_host(&v->shared->config.mem, gpa, size);
	w->size = (uint16_t)size;
	if (!w->host || size > sizeof(w->before))
		c->lost = true;
	else
		memcpy(w->before, w->host, size);
}

// The careful form is about to write here.
void selfcheck_note_write(struct vcpu *v, gva_t gva, unsigned size)
{
	unsigned room = PAGE_SIZE - (unsigned)(gva & PAGE_OFFSET);

	note_piece(v, gva, MIN(size, room));
	if (size > room)
		note_piece(v, gva + room, size - room);
}

// -- state ------------------------------------------------------------------------------------------------------------

static void take(const struct vcpu *v, struct check_state *s)
{
	memcpy(s->gpr, v->gpr, sizeof(s->gpr));
	s->rip = v->rip;
	s->rflags = v->rflags;
}

static void give(struct vcpu *v, const struct check_state *s)
{
	memcpy(v->gpr, s->gpr, sizeof(s->gpr));
	v->rip = s->rip;
	v->rflags = s->rflags;
}

static void take_vectors(struct vcpu *v, uint8_t *image)
{
	vmm_save_vectors(v);
	memcpy(image, v->xsave, XSAVE_AREA_MAX);
}

static void give_vectors(struct vcpu *v, const uint8_t *image)
{
	memcpy(v->xsave, image, XSAVE_AREA_MAX);
	vmm_load_vectors(v);
}

// All but the x87 pointers, which point into the translation cache, and what of the image is not state.
static int vectors_differ(const uint8_t *a, const uint8_t *b)
{
	for (int i = 0; i < XSAVE_AREA_MAX; i++)
		if (a[i] != b[i] && !(i >= FX_POINTERS && i < FX_MXCSR) && !(i >= 416 && i < XSTATE_DATA))
			return i;
	return -1;
}

// -- the two runs -----------------------------------------------------------------------------------------------------

static uint16_t insn_offset(const struct vcpu *v, const struct tu *t)
{
	return (uint16_t)(vcpu_linear_pc(v) - t->pc);
}

// Decode what the unit has at rip, for what it leaves undefined.
static bool decode_here(struct vcpu *v, const struct tu *t, struct x86_insn *insn)
{
	uint16_t off = insn_offset(v, t);
	const uint8_t *bytes = mem_code(&v->shared->config.mem, t->gpa + off, 1);

	return x86_decode(insn, bytes, MIN(t->len - off, X86_INSN_MAX), decoder_mode(v, t->mode & MODE_CODE)) > 0;
}

// One instruction in the careful form. False: it was not completed; the state is right before it.
static bool careful_step(struct vcpu *v)
{
	struct bt *b = bt_of(v);
	struct tu *t = bt_find_unit(v, (b->mode_now & ~(uint32_t)MODE_MAPPED) | MODE_ONE | MODE_CAREFUL);
	uint64_t why = bt_enter_unit(v, t);

	if ((why & LEAVE_MASK) == LEAVE_EXIT)
		return b->exit[why >> 8].kind == EXIT_NEXT || b->exit[why >> 8].kind == EXIT_DIRECT;
	return (why & LEAVE_MASK) == LEAVE_IND;
}

// The unit, instruction by instruction: states in c->step. False: the comparison is off, the state stands.
static bool careful_run(struct vcpu *v, const struct tu *t)
{
	struct bt *b = bt_of(v);
	struct selfcheck *c = &b->check;
	uint64_t epoch = tc_epoch(b);

	for (c->nsteps = 0; c->nsteps < t->ninsns; c->nsteps++) {
		struct check_state *s = &c->step[c->nsteps];
		struct x86_insn insn;
		uint64_t next;

		if (!decode_here(v, t, &insn))
			return false;
		take(v, s);
		next = v->rip + insn.len;
		c->step[c->nsteps + 1].undefined = (s->undefined & ~insn.flags_written) | insn.flags_undefined;
		if (!careful_step(v) || c->lost || t->dead || b->flush_tc || tc_epoch(b) != epoch)
			return false;
		if (v->rip != next) {
			c->nsteps++;
			break;
		}
	}
	take(v, &c->step[c->nsteps]);
	return true;
}

static bool write_differs(const struct check_write *w)
{
	return memcmp(w->host, w->after, w->size);
}

static const char *const names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
				    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "flags"};

struct text {
	char buf[3000];
	size_t n;
};

static void say(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	t->n += format_textv(t->buf + t->n, sizeof(t->buf) - t->n, fmt, ap);
	va_end(ap);
}

static void say_bytes(struct text *t, const uint8_t *bytes, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		say(t, "%02x", bytes[i]);
}

static _Noreturn void report(struct vcpu *v, const struct tu *t, const struct check_state *careful, int vector)
{
	struct selfcheck *c = &bt_of(v)->check;
	const uint64_t *was = (const uint64_t *)&c->step[0], *want = (const uint64_t *)careful;
	struct text x = {.n = 0};
	struct check_state is;

	take(v, &is);
	say(&x, "self-check %lu of --selfcheck=%u: a unit and its instructions one by one differ\n",
	    vcpu_stats(v)->selfchecks, v->shared->config.selfcheck);
	say(&x, "unit at %lx, %u instructions, mode %x, %u of them run by themselves: ", t->pc, t->ninsns, t->mode,
	    c->nsteps);
	say_bytes(&x, mem_host(&v->shared->config.mem, t->gpa, 1),
		  MIN(t->len, PAGE_SIZE - (unsigned)(t->gpa & PAGE_OFFSET)));
	say(&x, "\n      before           by themselves    as a unit\n");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		say(&x, "%-5s %016lx %016lx %016lx%s\n", names[i], was[i], want[i], ((const uint64_t *)&is)[i],
		    want[i] != ((const uint64_t *)&is)[i] ? " *" : "");
	say(&x, "flags undefined: %x\n", (unsigned)careful->undefined);
	if (vector >= 0)
		say(&x, "vector state at byte %d of its XSAVE image: %02x by themselves, %02x as a unit\n", vector,
		    c->careful[vector], v->xsave[vector]);
	for (unsigned i = 0; i < c->nwrites; i++) {
		const struct check_write *w = &c->write[i];

		say(&x, "write to %lx:%s before ", w->gpa, write_differs(w) ? " *" : "");
		say_bytes(&x, w->before, w->size);
		say(&x, " by themselves ");
		say_bytes(&x, w->after, w->size);
		say(&x, " as a unit ");
		say_bytes(&x, w->host, w->size);
		say(&x, "\n");
	}
	vmm_crash(v, x.buf);
}

static bool states_differ(const struct vcpu *v, const struct check_state *s)
{
	uint64_t flags = (RFLAGS_ARITH | RFLAGS_DF | RFLAGS_IF) & ~(uint64_t)s->undefined;

	return memcmp(v->gpr, s->gpr, sizeof(s->gpr)) || v->rip != s->rip || (v->rflags ^ s->rflags) & flags;
}

static bool memory_differs(const struct selfcheck *c)
{
	for (unsigned i = 0; i < c->nwrites; i++)
		if (write_differs(&c->write[i]))
			return true;
	return false;
}

static bool wants_careful(const struct vcpu *v, uint64_t why)
{
	const struct bt *b = bt_of((struct vcpu *)(uintptr_t)v);

	return (why & LEAVE_MASK) == LEAVE_CAREFUL ||
	       ((why & LEAVE_MASK) == LEAVE_EXIT && b->exit[why >> 8].kind == EXIT_CAREFUL);
}

// The unit has come back with `why`. At an access that the careful form must make it has stopped on the way.
static const struct check_state *end_of_unit(const struct vcpu *v, const struct selfcheck *c, uint64_t why)
{
	if (wants_careful(v, why))
		for (unsigned i = 0; i < c->nsteps; i++)
			if (c->step[i].rip == v->rip)
				return &c->step[i];
	return &c->step[c->nsteps];
}

// *vector: where in the image of the vectors they differ, or -1.
static bool agrees(struct vcpu *v, uint64_t why, int *vector)
{
	struct selfcheck *c = &bt_of(v)->check;
	bool early = wants_careful(v, why);

	*vector = -1;
	if ((why & LEAVE_MASK) == LEAVE_FAULT || states_differ(v, end_of_unit(v, c, why)))
		return false;
	if (early)
		return true;
	vmm_save_vectors(v);
	*vector = vectors_differ(c->careful, v->xsave);
	return *vector < 0 && !memory_differs(c);
}

// Back to the state before the careful run. If that has marked page-table entries as accessed or dirty, the unit must
// find the software TLB as empty as it did.
static void go_back(struct vcpu *v)
{
	struct selfcheck *c = &bt_of(v)->check;

	for (unsigned i = 0; i < c->nwrites; i++)
		memcpy(c->write[i].after, c->write[i].host, c->write[i].size);
	for (unsigned i = c->nwrites; i-- > 0;) {
		memcpy(c->write[i].host, c->write[i].before, c->write[i].size);
		vcpu_ram_written(v, c->write[i].gpa, c->write[i].size);
	}
	for (unsigned i = 0; i < c->marks.n; i++)
		*c->marks.set[i].entry &= ~c->marks.set[i].bits;
	if (c->marks.n) {
		tlb_flush(v, true);
		shadow_mode(v); // what it maps goes by the tables as they are again
	}
	give(v, &c->step[0]);
	give_vectors(v, c->before);
}

static bool run_carefully(struct vcpu *v, const struct tu *t)
{
	struct selfcheck *c = &bt_of(v)->check;
	bool comparable;

	c->nwrites = c->marks.n = 0;
	c->lost = false;
	c->step[0].undefined = 0;
	take_vectors(v, c->before);
	c->recording = true;
	v->marks = &c->marks;
	comparable = careful_run(v, t);
	selfcheck_stop(v);
	return comparable && c->marks.n <= MMU_MARKS;
}

// What is noted during the careful run is noted no more: it has ended, or an exception has been raised in it.
void selfcheck_stop(struct vcpu *v)
{
	bt_of(v)->check.recording = false;
	v->marks = NULL;
}

// Run what is at rip both ways, if it can be. True: it has been run, and *why says how it ended, or is ~0 if the
// careful run's result stands.
bool selfcheck_unit(struct vcpu *v, uint64_t *why)
{
	struct bt *b = bt_of(v);
	struct selfcheck *c = &b->check;
	struct tu *t = bt_find_unit(v, b->mode_now | MODE_ALONE);
	int vector;

	*why = ~UINT64_C(0);
	if (t->uncheckable || tu_straddles(t))
		return false;
	if (!run_carefully(v, t))
		return c->nsteps || v->fault.pending;
	take_vectors(v, c->careful);
	go_back(v);
	if (t->dead || b->flush_tc)
		return false; // nothing has been run
	*why = bt_enter_unit(v, t);
	b->st->selfchecks++;
	if (!agrees(v, *why, &vector))
		report(v, t, end_of_unit(v, c, *why), vector);
	return true;
}
