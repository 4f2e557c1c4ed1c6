// SPDX-License-Identifier: MIT
//
// Segments outside 64-bit code. Flat ones cost nothing: the mode says that they are. If one of ES, CS, SS, DS is not,
// code is translated in a form in which each access compares the end of what it reaches for with its segment's room,
// and adds the base (check.c). The room is what can be accessed without a further look: up to the limit of an ordinary
// segment, nothing of one that is unusable, expands down, or does not allow this kind of access. Whatever is beyond it
// goes to the careful form, which asks segment_linear.
//
// Translated code knows linear addresses only (struct tu, struct exit); v->rip is the offset in the code segment.
#include "bt/trans.h"

// Any access that wraps in 32 bits is allowed.
static bool whole(const struct x86_seg *s)
{
	return !(s->attr & SEG_UNUSABLE) && s->limit == UINT32_MAX &&
	       (s->attr & (SEG_TYPE_CODE | SEG_TYPE_E | SEG_TYPE_W)) == SEG_TYPE_W;
}

static bool flat(const struct x86_seg *s)
{
	return whole(s) && !s->base;
}

static bool flat_code(const struct x86_seg *s)
{
	return !s->base && s->limit == UINT32_MAX;
}

// A code segment that cannot be read, or a data segment that runs, is rare enough to be looked at each time.
static bool all_flat(const struct vcpu *v)
{
	const struct x86_seg *cs = &v->seg[X86_CS];

	return flat(&v->seg[X86_DS]) && flat(&v->seg[X86_ES]) && flat(&v->seg[X86_SS]) && flat_code(cs) &&
	       (cs->attr & (SEG_TYPE_CODE | SEG_TYPE_R)) == (SEG_TYPE_CODE | SEG_TYPE_R);
}

uint32_t segments_mode(const struct vcpu *v)
{
	uint32_t mode = v->seg[X86_CS].attr & SEG_DB ? MODE_CODE32 : MODE_CODE16;

	if (v->seg[X86_SS].attr & (SEG_DB | SEG_UNUSABLE))
		mode |= MODE_SS32;
	if (vcpu_real_segments(v))
		mode |= MODE_REAL;
	if (!flat_code(&v->seg[X86_CS]))
		mode |= MODE_CS;
	return all_flat(v) ? mode : mode | MODE_SEGS;
}

static bool allows(const struct vcpu *v, const struct x86_seg *s, bool write)
{
	if ((s->attr & (SEG_S | SEG_TYPE_CODE | SEG_TYPE_E)) == (SEG_S | SEG_TYPE_E))
		return false;
	if (vcpu_real_segments(v))
		return true;
	if (s->attr & SEG_UNUSABLE)
		return false;
	if (s->attr & SEG_TYPE_CODE)
		return !write && s->attr & SEG_TYPE_R;
	return !write || s->attr & SEG_TYPE_W;
}

// Where the others are flat, FS and GS have room for everything or for nothing.
static void measure_odd(struct vcpu *v)
{
	for (unsigned i = X86_FS; i <= X86_GS; i++)
		v->seg_room[i][0] = v->seg_room[i][1] = whole(&v->seg[i]) ? BIT64(33) : 0;
}

void segments_measure(struct vcpu *v, uint32_t mode)
{
	if (!(mode & MODE_SEGS)) {
		measure_odd(v);
		return;
	}
	for (unsigned i = 0; i < X86_SREGS; i++) {
		const struct x86_seg *s = &v->seg[i];
		uint64_t room = s->limit == UINT32_MAX ? BIT64(33) : s->limit + UINT64_C(1);

		v->seg_room[i][0] = allows(v, s, false) ? room : 0;
		v->seg_room[i][1] = allows(v, s, true) ? room : 0;
	}
}

// -- segment registers in the cache -----------------------------------------------------------------------------------

static uint32_t field_of(unsigned seg, size_t field)
{
	return VCPU_SEG + seg * VCPU_SEG_SIZE + (uint32_t)field;
}

static unsigned pushed(const struct x86_insn *insn)
{
	return insn->opcode >> 3 & 7;
}

static unsigned loaded_by(const struct x86_insn *insn)
{
	if (insn->class == X86_CLASS_MOV_TO_SEG)
		return insn->modrm >> 3 & 7;
	if (insn->class == X86_CLASS_POP_SEG)
		return pushed(insn);
	switch (insn->opcode) {
	case 0xc4: return X86_ES;
	case 0xc5: return X86_DS;
	case 0xb4: return X86_FS;
	case 0xb5: return X86_GS;
	default: return X86_SS;
	}
}

// Pushes everywhere. Loads in real mode, where they change a selector and a base and nothing else; with a code segment
// of 64 KiB that is nothing the mode depends on.
bool seg_inline(const struct trans *t, const struct x86_insn *insn)
{
	const uint32_t real = MODE_REAL | MODE_CS | MODE_SEGS;
	unsigned seg;

	switch (insn->class) {
	case X86_CLASS_PUSH_SEG:
		return true;
	case X86_CLASS_MOV_TO_SEG: case X86_CLASS_POP_SEG: case X86_CLASS_LOAD_FAR_PTR:
		seg = loaded_by(insn);
		return (t->t->mode & (real | MODE_USER | MODE_INNER)) == real && seg != X86_SS && seg != X86_CS &&
		       seg < X86_SREGS;
	default:
		return false;
	}
}

// Of 32-bit operands Intel's processors write only 16 bits.
void seg_push(struct trans *t, const struct x86_insn *insn)
{
	unsigned size = t->code == X86_MODE64 && insn->opsize != 2 ? 8 : insn->opsize;
	unsigned written = size == 4 && !t->v->amd ? 2 : size;

	emit_stack_ea(t, -(int)size);
	emit_check(t, X86_WRITE, written, X86_SS);
	emit_lea(&t->hot, 8, HOST_T0, checked_mem());
	emit_load_state(&t->hot, 2, HOST_T1, field_of(pushed(insn), offsetof(struct x86_seg, sel)));
	emit_store(&t->hot, written, HOST_T1, mem_base(HOST_T0, 0));
	emit_rsp_add(t, -(int)size);
	emit_access_done(t);
}

// Has the register been left unusable by protected mode? Then C makes it as it should be. Nothing may have changed yet.
static void emit_usable(struct trans *t, const struct x86_insn *insn)
{
	emit_save_flags(t);
	emit_cmp_state_imm8(&t->hot, 1, field_of(loaded_by(insn), offsetof(struct x86_seg, attr)) + 2, 0);
	sys_rare_if(t, CC_NE, insn);
}

static void emit_load_real(struct trans *t, unsigned seg, unsigned reg) // which is lost
{
	emit_store_state(&t->hot, 2, reg, field_of(seg, offsetof(struct x86_seg, sel)));
	emit_shift(&t->hot, 4, 4, reg, 4);
	emit_store_state(&t->hot, 8, reg, field_of(seg, offsetof(struct x86_seg, base)));
}

void seg_pop(struct trans *t, const struct x86_insn *insn)
{
	emit_usable(t, insn);
	emit_stack_ea(t, 0);
	emit_check(t, X86_READ, 2, X86_SS);
	emit_load(&t->hot, 2, HOST_T0, checked_mem());
	emit_load_real(t, pushed(insn), HOST_T0);
	emit_rsp_add(t, insn->opsize);
	emit_access_done(t);
}

void seg_mov(struct trans *t, const struct x86_insn *insn)
{
	emit_usable(t, insn);
	if (insn->mem.present)
		emit_load(&t->hot, 2, HOST_T0, emit_operand(t, insn, X86_READ, 2));
	else
		emit_movzwl(&t->hot, HOST_T0, host_of(t, insn->modrm & 7));
	emit_load_real(t, loaded_by(insn), HOST_T0);
	emit_access_done(t);
}

void seg_far_ptr(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned dst = host_of(t, insn->modrm >> 3 & 7);

	emit_usable(t, insn);
	emit_ea(t, insn, 0);
	emit_check(t, X86_READ, insn->opsize + 2u, insn->mem.seg);
	emit_lea(e, 8, HOST_T0, checked_mem());
	emit_load(e, 2, HOST_T1, mem_base(HOST_T0, insn->opsize));
	emit_load_real(t, loaded_by(insn), HOST_T1);
	if (insn->opsize == 2)
		emit_load_merge16(e, dst, mem_base(HOST_T0, 0));
	else
		emit_load(e, 4, dst, mem_base(HOST_T0, 0));
	emit_access_done(t);
}
