// SPDX-License-Identifier: MIT
//
// Guest exceptions out of C code: note what was raised, and jump to the run loop's landing point, which delivers it.
#include "cpu/vcpu.h"

// Exceptions that push an error code (SDM, "Exception and Interrupt Vectors").
static bool has_error_code(enum x86_vector vector)
{
	const uint32_t with = BIT(VEC_DF) | BIT(VEC_TS) | BIT(VEC_NP) | BIT(VEC_SS) | BIT(VEC_GP) | BIT(VEC_PF) |
			      BIT(VEC_AC) | BIT(VEC_CP);

	return with >> vector & 1;
}

static _Noreturn void raise_fault(struct vcpu *v, const struct vcpu_fault *f)
{
	v->fault = *f;
	jump_to(&v->landing, 1);
}

_Noreturn void vcpu_raise(struct vcpu *v, enum x86_vector vector, uint32_t error)
{
	struct vcpu_fault f = {.vector = vector, .pending = true, .has_error = has_error_code(vector), .error = error};

	raise_fault(v, &f);
}

_Noreturn void vcpu_raise_pf(struct vcpu *v, gva_t gva, uint32_t error)
{
	struct vcpu_fault f = {.vector = VEC_PF, .pending = true, .has_error = true, .error = error, .cr2 = gva};

	raise_fault(v, &f);
}

_Noreturn void vcpu_raise_db(struct vcpu *v, uint64_t dr6)
{
	struct vcpu_fault f = {.vector = VEC_DB, .pending = true, .dr6 = dr6};

	raise_fault(v, &f);
}
