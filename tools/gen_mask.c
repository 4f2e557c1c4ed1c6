// SPDX-License-Identifier: MIT
//
// Which bytes of its memory operand a masked instruction may touch: how an opmask (or VMASKMOV's vector mask) divides
// the operand, and whether masked-out parts are protected from faults. Zydis gives operand and element sizes and the
// exception class; what it counts in other elements than the mask does stands here by name. And, from the same class,
// whether the operand must be aligned.
#include <string.h>

#include "gen_facts.h"
#include "gen_sample.h"

static bool is_vector_masked(ZydisMnemonic m)
{
	return m == ZYDIS_MNEMONIC_VMASKMOVPS || m == ZYDIS_MNEMONIC_VMASKMOVPD || m == ZYDIS_MNEMONIC_VPMASKMOVD ||
		m == ZYDIS_MNEMONIC_VPMASKMOVQ;
}

static bool is_packed(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VEXPANDPS: case ZYDIS_MNEMONIC_VEXPANDPD: case ZYDIS_MNEMONIC_VPEXPANDB:
	case ZYDIS_MNEMONIC_VPEXPANDW: case ZYDIS_MNEMONIC_VPEXPANDD: case ZYDIS_MNEMONIC_VPEXPANDQ:
	case ZYDIS_MNEMONIC_VCOMPRESSPS: case ZYDIS_MNEMONIC_VCOMPRESSPD: case ZYDIS_MNEMONIC_VPCOMPRESSB:
	case ZYDIS_MNEMONIC_VPCOMPRESSW: case ZYDIS_MNEMONIC_VPCOMPRESSD: case ZYDIS_MNEMONIC_VPCOMPRESSQ:
		return true;
	default:
		return false;
	}
}

// Bytes of the destination that one mask bit governs, where that is not the destination's element.
static unsigned unit_by_name(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_VFMADDCPH: case ZYDIS_MNEMONIC_VFCMADDCPH: case ZYDIS_MNEMONIC_VFMULCPH:
	case ZYDIS_MNEMONIC_VFCMULCPH: case ZYDIS_MNEMONIC_VFMADDCSH: case ZYDIS_MNEMONIC_VFCMADDCSH:
	case ZYDIS_MNEMONIC_VFMULCSH: case ZYDIS_MNEMONIC_VFCMULCSH:
		return 4;
	case ZYDIS_MNEMONIC_VPSHUFBITQMB:
		return 1;
	default:
		return 0;
	}
}

// Those by name have memory elements that are not their destination's.
static bool suppresses_faults(const struct sample *s)
{
	switch (s->insn.mnemonic) {
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16: case ZYDIS_MNEMONIC_VDBPSADBW: case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
		return false;
	default:
		break;
	}
	switch (s->insn.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1: case ZYDIS_EXCEPTION_CLASS_E2: case ZYDIS_EXCEPTION_CLASS_E3:
	case ZYDIS_EXCEPTION_CLASS_E4: case ZYDIS_EXCEPTION_CLASS_E5: case ZYDIS_EXCEPTION_CLASS_E6:
	case ZYDIS_EXCEPTION_CLASS_E10: case ZYDIS_EXCEPTION_CLASS_E11:
		return true;
	default:
		return false;
	}
}

static bool allows_any_place(ZydisMnemonic m)
{
	switch (m) {
	case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU: case ZYDIS_MNEMONIC_LDDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM: case ZYDIS_MNEMONIC_PCMPISTRI:
	case ZYDIS_MNEMONIC_PCMPISTRM:
		return true;
	default:
		return false;
	}
}

static const ZydisDecodedOperand *memory_of(const struct sample *s)
{
	for (int i = 0; i < s->insn.operand_count; i++)
		if (s->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && s->op[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM)
			return &s->op[i];
	return NULL;
}

static unsigned unit_of(const struct sample *s, const ZydisDecodedOperand *m, bool broadcast)
{
	const ZydisDecodedOperand *dst = &s->op[0];
	bool to_mask = dst->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		ZydisRegisterGetClass(dst->reg.value) == ZYDIS_REGCLASS_MASK;
	unsigned named = unit_by_name(s->insn.mnemonic), total = m->size / 8;
	unsigned dst_element = dst->element_size / 8, element = m->element_size / 8;

	if (named)
		return named;
	if (broadcast && to_mask)
		return total;
	if (broadcast)
		return s->insn.avx.broadcast.is_static ? dst_element : MAX(dst_element, total);
	return dst->size == m->size && !to_mask ? MAX(dst_element, element) : element;
}

// Does the operand raise #GP if it is not aligned to its size? (SDM, exception types 1, 2 and 4.)
static bool must_align(const struct sample *s, const ZydisDecodedOperand *m)
{
	switch (s->insn.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_SSE1: case ZYDIS_EXCEPTION_CLASS_AVX1: case ZYDIS_EXCEPTION_CLASS_E1:
	case ZYDIS_EXCEPTION_CLASS_E1NF:
		return true;
	case ZYDIS_EXCEPTION_CLASS_SSE2: case ZYDIS_EXCEPTION_CLASS_SSE4:
		return m->size == 128 && !allows_any_place(s->insn.mnemonic);
	default:
		return s->insn.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B || s->insn.mnemonic == ZYDIS_MNEMONIC_CVTPD2PI ||
			s->insn.mnemonic == ZYDIS_MNEMONIC_CVTTPD2PI || s->insn.meta.isa_set == ZYDIS_ISA_SET_SHA;
	}
}

void gen_mask(struct x86_row *row, const struct sample *s)
{
	const ZydisDecodedOperand *m = memory_of(s);
	bool broadcast = s->insn.avx.broadcast.mode != ZYDIS_BROADCAST_MODE_INVALID;
	bool vector = is_vector_masked(s->insn.mnemonic);
	enum x86_mask kind = vector ? X86_MASK_VECTOR : is_packed(s->insn.mnemonic) ? X86_MASK_PACKED :
		broadcast ? (s->insn.avx.broadcast.is_static ? X86_MASK_REPEAT : X86_MASK_ANY) :
		X86_MASK_ELEMENT;
	unsigned unit;

	if (!m || !row->mem_access)
		return;
	if (must_align(s, m))
		row->mask = ROW_MASK_ALIGNED;
	if ((row->flags & ROW_VSIB) || !(vector || (is_evex(s->map) && row->class == X86_CLASS_AVX512)))
		return;
	unit = unit_of(s, m, broadcast);
	if (!vector && !suppresses_faults(s)) {
		if (!(row->mem_access & X86_WRITE))
			return;
		kind |= X86_MASK_FAULTS;
	}
	if (unit == 16)
		return; // takes no mask
	if (!unit || unit > 8 || (unit & (unit - 1)))
		gen_die(ZydisMnemonicGetString(s->insn.mnemonic));
	row->mask |= kind | __builtin_ctz(unit) << 4;
}
