// SPDX-License-Identifier: MIT
//
// What is delivered, and what becomes of a fault during delivery: SDM, "Interrupt 8 - Double Fault Exception". While an
// event is being delivered v->delivering says which; vcpu_raise from in there lands in the run loop, which calls
// sys_deliver_fault again, and that looks at v->delivering. Also the side effects of exceptions on CR2, DR6 and DR7.
#include "cpu/transfer.h"

enum { DR6_TRAPS = 0xf, DR6_BD = BIT(13), DR7_GD = BIT(13), ERROR_EXT = 1, DEBUGCTL_LBR_BTF = 3 };
#define DR6_ONES 0xffff0ff0u

enum fault_class { CLASS_BENIGN, CLASS_CONTRIBUTORY, CLASS_PAGE, CLASS_DOUBLE };

static enum fault_class fault_class(uint8_t vector)
{
	const uint32_t contributory = BIT(VEC_DE) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP) | BIT(VEC_CP);

	if (vector == VEC_DF)
		return CLASS_DOUBLE;
	if (vector == VEC_PF)
		return CLASS_PAGE;
	return vector < 32 && contributory >> vector & 1 ? CLASS_CONTRIBUTORY : CLASS_BENIGN;
}

static bool makes_double(enum fault_class first, enum fault_class second)
{
	if (first == CLASS_CONTRIBUTORY)
		return second == CLASS_CONTRIBUTORY;
	return first == CLASS_PAGE && (second == CLASS_PAGE || second == CLASS_CONTRIBUTORY);
}

// A second exception while the first was being delivered: one after the other, a double fault, or shutdown (false).
static bool combine(struct vcpu *v, struct vcpu_fault *f)
{
	const struct vcpu_delivering *was = &v->delivering;
	enum fault_class first = was->exception ? fault_class(was->vector) : CLASS_BENIGN;
	enum fault_class second = fault_class(f->vector);

	if (!was->active)
		return true;
	if (second == CLASS_CONTRIBUTORY && f->has_error && !was->software)
		f->error |= ERROR_EXT;
	if (first == CLASS_DOUBLE)
		return second == CLASS_BENIGN;
	if (makes_double(first, second))
		*f = (struct vcpu_fault){.vector = VEC_DF, .has_error = true};
	return true;
}

static void note_debug(struct vcpu *v, const struct vcpu_fault *f)
{
	v->dr[6] = (v->dr[6] & ~(uint64_t)DR6_TRAPS) | DR6_ONES | f->dr6;
	v->dr[7] &= ~(uint64_t)DR7_GD;
	v->debugctl &= ~(uint64_t)DEBUGCTL_LBR_BTF;
}

// Fault-class exceptions push RF set, so that an instruction breakpoint does not hit again on return. Traps and aborts
// leave it; #DB is a fault only when a debug register was touched under DR7.GD.
static bool pushes_resume_flag(const struct vcpu_fault *f)
{
	switch (f->vector) {
	case VEC_DB:
		return f->dr6 & DR6_BD;
	case VEC_NMI:
	case VEC_BP:
	case VEC_OF:
	case VEC_DF:
	case VEC_MC:
		return false;
	default:
		return true;
	}
}

static void deliver(struct vcpu *v, const struct event *e, struct sys_result *res)
{
	delivery_enter(v, e);
	v->delivering.active = false;
	v->shadow = 0;
}

void sys_deliver_fault(struct vcpu *v, struct sys_result *res)
{
	struct vcpu_fault f = v->fault;
	struct event e;

	v->fault.pending = false;
	if (f.vector == VEC_PF)
		v->cr2 = f.cr2;
	if (!combine(v, &f)) {
		v->delivering.active = false;
		v->activity = VCPU_SHUTDOWN;
		res->effect |= SYS_HALT;
		return;
	}
	if (f.vector == VEC_DB)
		note_debug(v, &f);
	v->activity = VCPU_RUNNING; // a single-step trap ends the HLT it follows
	v->delivering = (struct vcpu_delivering){.active = true, .exception = true, .vector = f.vector};
	e = (struct event){.vector = f.vector, .has_error = f.has_error && v->cr0 & CR0_PE, .error = f.error,
			   .resume = pushes_resume_flag(&f), .rip = v->rip};
	deliver(v, &e, res);
}

void sys_deliver_interrupt(struct vcpu *v, uint8_t vector, enum sys_interrupt kind, struct sys_result *res)
{
	struct event e = {.vector = vector, .software = kind == SYS_INT_SOFTWARE, .rip = v->rip};

	v->delivering = (struct vcpu_delivering){.active = true, .software = e.software, .vector = vector};
	if (kind == SYS_INT_NMI)
		v->nmi_blocked = true;
	if (kind == SYS_INT_PRIVILEGED)
		v->delivering.exception = true;
	v->activity = VCPU_RUNNING;
	deliver(v, &e, res);
}

void delivery_software(struct vcpu *v, uint8_t vector, enum sys_interrupt kind, uint64_t next)
{
	struct event e = {.vector = vector, .software = kind == SYS_INT_SOFTWARE, .rip = next};

	v->delivering = (struct vcpu_delivering){.active = true, .software = e.software,
						 .exception = kind == SYS_INT_PRIVILEGED, .vector = vector};
	delivery_enter(v, &e);
	v->delivering.active = false;
}
