// SPDX-License-Identifier: MIT
//
// One turn of a world: the guest's registers into the signal frame in which its runner waits, and out of the one in
// which it comes back. Guest code can write there: what is taken is bounded, and is nothing but user registers.
#include "base/string.h"
#include "bt/host_signal.h"
#include "vmm/direct.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <errno.h>
#include <linux/audit.h>
#include <signal.h>

#define UPPER_HALF (~UINT64_C(0) << 47)

enum {
	UC_FPSTATE = UC_CR2 + 1, UC_SIZE = 512,
	SOFTWARE_AT = 464, SOFTWARE_SIZE_AT = 16,
	LEGACY_SIZE = 512, HEADER_SIZE = 64, LEGACY_MXCSR = 24, // SDM, "Legacy Region of an XSAVE Area", "XSAVE Header"
};

// What lies at this address there.
static void *from_world(const struct world *w, uint64_t at)
{
	return (void *)(at - ZONE_DIRECT + w->area);
}

static uint64_t to_world(const struct world *w, const void *at)
{
	return (uintptr_t)at - w->area + ZONE_DIRECT;
}

static uint64_t *frame(const struct world *w)
{
	uint64_t at = direct_state(w)->frame;

	return at % 8 || at - DIRECT_STACK > DIRECT_STACK_SIZE - UC_SIZE ? NULL : from_world(w, at);
}

// The vector state in the frame, NULL if it is not where the host's kernel puts it.
static uint8_t *vectors_in(const struct vmm *vm, const struct world *w, const uint64_t *uc)
{
	uint64_t at = uc[UC_FPSTATE];

	return at % 64 || at - DIRECT_STACK > DIRECT_STACK_SIZE - vm->direct.vectors ? NULL : from_world(w, at);
}

// FP_XSTATE_MAGIC2 stands behind the vector state, and its size in the software's part of that (struct _fpx_sw_bytes).
bool direct_keep_frame(struct vmm *vm, struct world *w)
{
	struct direct_frame *f = &w->frame;

	f->uc = frame(w);
	f->vectors = f->uc ? vectors_in(vm, w, f->uc) : NULL;
	if (!f->vectors)
		return false;
	memcpy(f->words, f->uc, sizeof(f->words));
	vm->direct.int1_stays = f->words[UC_RIP] != f->words[UC_RAX]; // become_world has it there
	memcpy(f->software, f->vectors + SOFTWARE_AT, sizeof(f->software));
	memcpy(&f->size, f->software + SOFTWARE_SIZE_AT, sizeof(f->size));
	return f->size >= vm->direct.vectors && f->size < DIRECT_STACK_SIZE &&
	       to_world(w, f->vectors) - DIRECT_STACK < DIRECT_STACK_SIZE - f->size - sizeof(FP_XSTATE_MAGIC2);
}

// In the order of x86 register numbers.
static const uint8_t frame_word[X86_GPRS] = {UC_RAX, UC_RCX, UC_RDX, UC_RBX, UC_RSP, UC_RBP, UC_RSI, UC_RDI,
	UC_R8, UC_R8 + 1, UC_R8 + 2, UC_R8 + 3, UC_R8 + 4, UC_R8 + 5, UC_R8 + 6, UC_R8 + 7};

enum { FRAME_FLAGS = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_AC };

// All of the frame, as the host has made the first one: code of another process may have written to it.
static void put_state(const struct vcpu *v, const struct world *w)
{
	const struct direct_frame *f = &w->frame;
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & DIRECT_XCR0, magic = FP_XSTATE_MAGIC2;
	uint64_t *uc = f->uc, *header = (uint64_t *)(f->vectors + LEGACY_SIZE);

	memcpy(uc, f->words, sizeof(f->words));
	for (unsigned r = 0; r < X86_GPRS; r++)
		uc[frame_word[r]] = v->gpr[r];
	uc[UC_RIP] = v->rip;
	uc[UC_EFLAGS] = (v->rflags & FRAME_FLAGS) | RFLAGS_IF | RFLAGS_FIXED1;
	uc[UC_SEGS] = (uint64_t)v->seg[X86_SS].sel << 48 | v->seg[X86_CS].sel;
	direct_state(w)->fs_base = v->seg[X86_FS].base;
	direct_state(w)->gs_base = v->seg[X86_GS].base;
	direct_state(w)->frame = to_world(w, uc);
	__asm__ volatile("xsave64 %0" : "+m"(*(uint8_t (*)[XSAVE_AREA_MAX])f->vectors) : "a"(mask), "d"(0));
	memcpy(f->vectors + SOFTWARE_AT, f->software, sizeof(f->software));
	header[0] &= mask;
	for (unsigned i = 1; i < HEADER_SIZE / 8; i++)
		header[i] = 0;
	memcpy(f->vectors + f->size, &magic, sizeof(magic));
}

// Guest code may have written there, and may do so yet: what XRSTOR would not take is put right in a copy.
static void take_vectors(struct vcpu *v, const uint8_t *vectors)
{
	uint32_t mask = (uint32_t)v->shared->config.host_xcr0 & DIRECT_XCR0;
	uint64_t *header = (uint64_t *)(v->xsave + LEGACY_SIZE);

	memcpy(v->xsave, vectors, vmm_of(v)->direct.vectors);
	header[0] &= mask; // the frame may hold more than is the guest's
	for (unsigned i = 1; i < HEADER_SIZE / 8; i++)
		header[i] = 0;
	*(uint32_t *)(v->xsave + LEGACY_MXCSR) &= v->shared->config.mxcsr_mask;
	__asm__ volatile("xrstor64 %0" : : "m"(v->xsave), "a"(mask), "d"(0));
}

static bool is_canonical(uint64_t address)
{
	return address < BIT64(47) || address >= UPPER_HALF;
}

// False: guest code has forged what no processor could hold.
static bool take_state(struct vcpu *v, const struct direct_state *state, const uint64_t *uc, uint8_t *vectors,
		       struct direct_left *left)
{
	if (!is_canonical(uc[UC_RIP]) || !is_canonical(state->fs_base) || !is_canonical(state->gs_base))
		return false;
	for (unsigned r = 0; r < X86_GPRS; r++)
		v->gpr[r] = uc[frame_word[r]];
	v->rip = uc[UC_RIP];
	v->rflags = (v->rflags & ~(uint64_t)(FRAME_FLAGS | RFLAGS_RF)) |
		    (uc[UC_EFLAGS] & (FRAME_FLAGS | RFLAGS_TF | RFLAGS_NT | RFLAGS_ID)) | RFLAGS_FIXED1;
	v->seg[X86_FS].base = state->fs_base;
	v->seg[X86_GS].base = state->gs_base;
	left->code_selector = (uint16_t)uc[UC_SEGS];
	memcpy(left->selector, state->selector, sizeof(left->selector));
	memcpy(left->saved, state->saved, sizeof(left->saved));
	left->led = state->led;
	left->looked_up = state->looked_up;
	take_vectors(v, vectors);
	return true;
}

// A system call that was none: the host has made one of a fetch from its page of old system calls, and has gone back to
// the caller. (It has lost RAX, where the call's result belongs.)
static bool is_old_call(const struct direct_state *state)
{
	return state->arch == AUDIT_ARCH_X86_64 && state->call >= UPPER_HALF;
}

static void undo_old_call(struct vcpu *v, const struct direct_state *state, struct direct_left *left)
{
	v->rip = left->cr2 = state->call;
	v->gpr[X86_RSP] -= 8;
	left->how = DIRECT_EXCEPTION;
	left->vector = VEC_PF;
	left->error = PF_U | PF_I;
}

static void classify(struct vcpu *v, const struct direct_state *state, const uint64_t *uc, struct direct_left *left)
{
	left->vector = (unsigned)uc[UC_TRAPNO];
	left->error = uc[UC_ERR];
	left->cr2 = uc[UC_CR2];
	switch (state->signal) {
	case SIGUSR1:
		left->how = DIRECT_KICKED;
		break;
	case SIGSYS:
		if (is_old_call(state)) {
			undo_old_call(v, state, left);
			break;
		}
		left->how = state->arch == AUDIT_ARCH_X86_64 ? DIRECT_SYSCALL : DIRECT_EXCEPTION;
		left->vector = VEC_UD; // INT 80h, run again by the monitor
		v->rip -= v->rip < DIRECT_USER_END ? 2 : 0;
		break;
	default:
		left->how = DIRECT_EXCEPTION;
		v->rip += left->vector == VEC_DB && !(v->rflags & RFLAGS_TF) && vmm_of(v)->direct.int1_stays;
	}
}

// Until it has left, and sleeps. False: it is dead, or does not answer.
static bool wait_for_it(struct vcpu *v, struct world *w)
{
	const struct linux_timespec moment = {0, 10000000};
	struct direct_state *state = direct_state(w);
	_Atomic uint32_t *asleep = &v->shared->vcpu_asleep[v->index];
	unsigned kicked = 0; // and has not answered so often
	uint64_t had = 0;

	*asleep = VCPU_AWAY;
	while (!state->left && !w->dead) {
		if (v->pending && !kicked) {
			linux_call3(SYS_tgkill, w->pid, w->pid, SIGUSR1);
			kicked = 1;
			had = direct_time_of(w);
		}
		if (!kicked)
			linux_futex_wait_both(&v->pending, 0, &state->left, 0);
		else if (!direct_refuses(w, had, kicked))
			kicked += linux_futex_wait(&state->left, 0, &moment) == -ETIMEDOUT;
		else
			break;
	}
	*asleep = VCPU_AWAKE;
	return state->left && direct_await_sleep(w);
}

void vmm_direct_run(struct vcpu *v, unsigned world, struct direct_left *left)
{
	struct vmm *vm = vmm_of(v);
	struct world *w = &vm->direct.world[world];
	struct direct_state *state = direct_state(w);
	const uint64_t *uc;
	uint8_t *vectors;

	vcpu_stats(v)->direct_switches += vm->direct.last != world;
	vm->direct.last = world;
	direct_pin(vm, w);
	if (!direct_measure(vm, w)) {
		left->how = DIRECT_FULL;
		return;
	}
	put_state(v, w);
	direct_commands(w)->cpuid = w->set_cpuid;
	direct_commands(w)->tsc = w->set_tsc;
	state->left = state->led = 0;
	state->looked_up = 0;
	if (w->queued)
		direct_send_commands(w, true);
	else
		direct_wake(w);
	left->how = DIRECT_LOST;
	if (!wait_for_it(v, w)) {
		direct_kill(w);
		return;
	}
	if (state->left == DIRECT_FAILED) {
		left->how = DIRECT_FULL; // the runner sleeps yet
		return;
	}
	w->set_cpuid = w->set_tsc = 0;
	uc = frame(w);
	vectors = uc ? vectors_in(vm, w, uc) : NULL;
	if (vectors && take_state(v, state, uc, vectors, left))
		classify(v, state, uc, left);
	else
		left->how = DIRECT_FORGED; // its next turn begins with a frame that is whole again
}
