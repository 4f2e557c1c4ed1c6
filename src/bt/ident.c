// SPDX-License-Identifier: MIT
//
// Instructions that the host's processor carries out: written anew with the guest's registers where they are and the
// memory operand redirected; everything else of them is as it was.
#include "base/string.h"
#include "bt/rewrite.h"
#include "bt/trans.h"
#include "x86/mnemonic.h"

// Only when the guest gets there does it matter.
static void emit_nyi(struct trans *t, const char *what)
{
	emit_exit(t, EXIT_NYI, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].what = (uint32_t)((uintptr_t)what - ZONE_IMAGE);
}

static bool is_lea(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY && insn->map == 0 && insn->opcode == 0x8d;
}

static bool placed(const struct trans *t, unsigned guest)
{
	return guest >= X86_GPRS || t->map[guest] != X86_REG_NONE;
}

static void emit_lea_insn(struct trans *t, const struct x86_insn *insn)
{
	unsigned reg = (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3, dst;
	struct x86_insn plain = *insn;
	bool whole = placed(t, reg) && placed(t, insn->mem.base) && placed(t, insn->mem.index);

	if (whole && insn->addrsize >= 4 && insn->opsize >= 4 && insn->opsize <= insn->addrsize &&
	    insn->mem.base < X86_GPRS && insn->mem.disp == (int32_t)insn->mem.disp) {
		emit_lea(&t->hot, insn->opsize, host_of(t, reg), (struct emit_mem){.base = (uint8_t)host_of(t, insn->mem.base),
			.index = insn->mem.index == X86_REG_NONE ? X86_REG_NONE : (uint8_t)host_of(t, insn->mem.index),
			.scale = insn->mem.scale, .disp = (int32_t)insn->mem.disp});
		return;
	}
	plain.mem.seg = X86_DS; // LEA knows no segments
	emit_ea(t, &plain, 0);
	spill_take(t, insn, 1);
	dst = host_of(t, reg);
	if (insn->opsize == 2)
		emit_op_rr(&t->hot, 2, 0x89, HOST_T0, dst);
	else
		emit_mov(&t->hot, insn->opsize, dst, HOST_T0);
	spill_put(t, insn);
}

// The register whose high byte it is, and where in ModRM it is named: beside memory in reg, as the source of MOVZX or
// MOVSX to a register that needs REX in rm.
static bool names_high_byte(const struct x86_insn *insn, unsigned *reg, unsigned *shift)
{
	bool in_rm = insn->modrm >= 0xc0 && insn->fields & X86_FIELD_RM_BYTE && !(insn->fields & X86_FIELD_REG_BYTE);
	unsigned r;

	*shift = in_rm ? 0 : 3;
	r = insn->modrm >> *shift & 7;
	if (insn->rex || !(insn->fields & (in_rm ? X86_FIELD_RM_BYTE : X86_FIELD_REG_BYTE)) || r < 4)
		return false;
	*reg = r - 4;
	return true;
}

// A byte register AH..BH beside an operand that needs REX: swap it with a low byte, use that, swap back. The low byte
// is that of the same register, or of RCX for CMPXCHG, which has a use for AL.
static void emit_high_byte(struct trans *t, const struct x86_insn *insn, const struct rewrite *rw)
{
	struct emit *e = &t->hot;
	uint8_t bytes[X86_INSN_MAX], out[REWRITE_MAX], swap[2] = {0x86};
	struct x86_insn low = *insn;
	struct rewrite with = *rw;
	unsigned r, partner, shift;
	int n;

	if (!names_high_byte(insn, &r, &shift) || host_of(t, r) != r) {
		emit_nyi(t, "high byte register form");
		return;
	}
	partner = insn->fields & X86_FIELD_IMPLICIT_GPR && r == X86_RAX ? X86_RCX : r;
	swap[1] = (uint8_t)(0xc0 | (r + 4) << 3 | partner);
	with.map[partner] = (uint8_t)partner;
	__builtin_memcpy(bytes, t->bytes + t->off[t->i], insn->len);
	bytes[insn->modrm_off] = (uint8_t)((insn->modrm & ~(7u << shift)) | partner << shift);
	low.modrm = bytes[insn->modrm_off];
	emit_bytes(e, swap, 2); // xchg %ah, %al
	note_op(t);
	n = rewrite_insn(out, &low, bytes, &with);
	ASSERT(n > 0);
	emit_bytes(e, out, (size_t)n);
	emit_bytes(e, swap, 2);
}

static unsigned access_size(struct trans *t, const struct x86_insn *insn)
{
	if (insn->mem.size)
		return insn->mem.size;
	if (insn->class == X86_CLASS_XSAVE)
		return cpuid_query(t->v, 0xd, 0).ebx;
	return 1;
}

// The unit's registers, and a checked memory operand.
static struct rewrite renaming(const struct trans *t, const struct x86_insn *insn)
{
	struct rewrite rw = {.has_mem = insn->mem.present, .base = HOST_T1, .index = HOST_T0, .scale = 1};

	for (unsigned r = 0; r < X86_GPRS; r++)
		rw.map[r] = t->map[r] == X86_REG_NONE ? 0 : t->map[r];
	return rw;
}

// BT and its kin with a register offset reach far from their operand's address: the words of the offset move the
// address in T0, the bits below go into RAX, as the instruction's register, for the moment.
static void emit_bitstring_ea(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned offset = host_of(t, (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3);

	emit_save_flags(t);
	if (insn->opsize == 8)
		emit_mov(e, 8, HOST_T1, offset);
	else
		emit_op_rr(e, 8, insn->opsize == 2 ? 0x0fbf : 0x63, HOST_T1, offset); // movsx, movsxd
	emit_op_rr(e, 8, 0xc1, 7, HOST_T1);                                         // sar $3
	emit_u8(e, 3);
	emit_alu_imm(e, 8, ALU_AND, HOST_T1, -(int)insn->opsize);
	emit_lea(e, insn->addrsize == 8 ? 8 : 4, HOST_T0, (struct emit_mem){.base = HOST_T0, .index = HOST_T1, .scale = 1});
	if (insn->addrsize == 2)
		emit_movzwl(e, HOST_T0, HOST_T0);
}

static void emit_bitstring(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned offset = host_of(t, (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3);
	struct rewrite rw = {.has_mem = true, .base = HOST_T1, .index = HOST_T0, .scale = 1}; // every register is RAX
	struct x86_insn flat = *insn;
	uint8_t out[REWRITE_MAX];
	int n;

	emit_flags_to_slot(t); // as long as a recipe finds its registers
	flat.mem.seg = X86_DS; // an address of 16 bits wraps with the offset in it, and without the base
	emit_ea(t, &flat, 0);
	emit_bitstring_ea(t, insn);
	emit_ea_base(t, insn->mem.seg);
	emit_check(t, insn->mem.access, insn->opsize, insn->mem.seg);
	emit_store_state(e, 8, X86_RAX, SLOT_TMP);
	emit_mov(e, 4, X86_RAX, offset);
	emit_alu_imm(e, 4, ALU_AND, X86_RAX, insn->opsize * 8 - 1);
	emit_need_flags(t);
	n = rewrite_insn(out, insn, t->bytes + t->off[t->i], &rw);
	ASSERT(n > 0);
	note_op(t);
	emit_bytes(e, out, (size_t)n);
	emit_load_state(e, 8, X86_RAX, SLOT_TMP);
	emit_access_done(t);
	t->b->st->tu_ident++;
}

static void use_operand(struct rewrite *rw, struct emit_mem m)
{
	rw->base = m.base;
	rw->index = m.index;
	rw->scale = m.scale;
	rw->addr32 = m.addr32;
	rw->disp = m.disp;
}

bool takes_operand(const struct trans *t, const struct x86_insn *insn)
{
	return t->patched && !t->nwindows && !t->ncounted && insn->class == X86_CLASS_PLAIN &&
	       insn->encoding == X86_ENC_LEGACY && insn->imm_size >= 4 && !insn->map && !insn->mem.present &&
	       !(insn->gpr_written & BIT(X86_RSP)) && !tu_straddles(t->t);
}

// The instruction has been emitted at the end of the hot code. Nothing follows the operand in the guest's code either.
void note_operand(struct trans *t, unsigned size)
{
	struct bt *b = t->b;
	unsigned from = (unsigned)((int)(t->t->pc & PAGE_OFFSET) + t->off[t->i]) + t->insn[t->i].len - size;

	b->reloc[b->nrelocs++] = (struct reloc){
		(uint32_t)(t->hot.p - size - b->tc_rw) | RELOC_COPY, (uint32_t)size << 16 | from};
}

// A host signal costs thousands of cycles: a quotient that does not fit is met before the division. DIV: just when the
// upper half of the dividend is not below the divisor. IDIV: only for a divisor of 0; the rest comes by signal, and so
// does all that is divided by bytes.
bool insn_divides(const struct trans *t, const struct x86_insn *insn)
{
	return (insn->mnemonic == X86_MNEM_DIV || insn->mnemonic == X86_MNEM_IDIV) && insn->opcode & 1 &&
	       t->t->tier == TIER_HOT && !t->careful;
}

static void emit_divisor(struct trans *t, const struct x86_insn *insn, const struct emit_mem *m, unsigned opcode,
			 unsigned reg)
{
	if (m)
		emit_op_mem(&t->hot, insn->opsize, opcode, reg, *m);
	else
		emit_op_rr(&t->hot, insn->opsize, opcode, reg, host_of(t, (insn->modrm & 7) | (insn->rex & 1) << 3));
}

static void emit_divide_check(struct trans *t, const struct x86_insn *insn, const struct emit_mem *m)
{
	bool is_signed = insn->mnemonic == X86_MNEM_IDIV;

	if (m)
		note_op(t);
	if (is_signed) {
		emit_divisor(t, insn, m, 0x83, ALU_CMP);
		emit_u8(&t->hot, 0);
	} else {
		emit_divisor(t, insn, m, 0x3b, host_of(t, X86_RDX)); // cmp divisor, upper half
	}
	emit_patch32(emit_jcc32(&t->hot, is_signed ? CC_E : CC_AE), t->hot.delta, emit_here(&t->cold));
	emit_cold_exit(t, EXIT_DE, insn_pc(t, t->i));
}

void ident(struct trans *t, const struct x86_insn *insn)
{
	struct rewrite rw;
	struct emit_mem m = {.base = X86_REG_NONE, .index = X86_REG_NONE};
	uint16_t sets = (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;
	bool partial = sets && sets != RFLAGS_ARITH;
	uint8_t out[REWRITE_MAX];
	unsigned access = insn->mem.access;
	int n;

	if (is_lea(insn)) {
		emit_lea_insn(t, insn);
		return;
	}
	if (insn->spare_nop) {
		mapped_prefetch(t, insn);
		return;
	}
	if (insn->mem.bitstring) {
		emit_bitstring(t, insn);
		return;
	}
	if (insn_divides(t, insn))
		emit_save_flags(t);
	if (insn->mem.present)
		m = emit_operand(t, insn, access ? access : X86_READ, access_size(t, insn));
	if (insn->flags_read & RFLAGS_ARITH || partial)
		emit_need_flags(t);
	if (emit_producer(t, insn, m))
		return;
	if (t->lost) {
		emit_announcement(t, insn);
		if (spill_fold(t, insn)) {
			t->flags = sets ? FLAGS_HOST : t->flags;
			t->b->st->tu_ident++;
			return;
		}
	}
	if (insn->mem.present)
		m = spill_operand(t, m);
	spill_take(t, insn, insn->mem.present && m.base == HOST_T0);
	rw = renaming(t, insn);
	if (insn->mem.present)
		use_operand(&rw, m);
	n = rewrite_insn(out, insn, t->bytes + t->off[t->i], &rw);
	if (n == REWRITE_NEED_LOW) {
		emit_high_byte(t, insn, &rw);
	} else if (n > 0) {
		if (insn_divides(t, insn))
			emit_divide_check(t, insn, insn->mem.present ? &m : NULL);
		if (!t->announced)
			emit_announcement(t, insn);
		note_op(t);
		emit_bytes(&t->hot, out, (size_t)n);
		if (takes_operand(t, insn) && !memcmp(out + n - insn->imm_size, t->bytes + t->off[t->i] + insn->imm_off,
						      insn->imm_size))
			note_operand(t, insn->imm_size);
	} else {
		ASSERT(!t->nopen);
		emit_sys(t, insn);
		return;
	}
	if (sets)
		t->flags = FLAGS_HOST;
	spill_put(t, insn);
	emit_access_done(t);
	t->b->st->tu_ident++;
}

// FXSAVE and FXRSTOR outside 64-bit mode know eight XMM registers: the image ends behind them, and what is restored to
// the others is what they hold. On the bounce buffer only.
static void ident_fx32(struct trans *t, const struct x86_insn *insn)
{
	enum { XMM8 = 160 + 8 * 16, IMAGE = 512 };
	bool save = insn->mem.access & X86_WRITE;
	struct rewrite rw = renaming(t, insn);
	uint8_t out[REWRITE_MAX];
	int n;

	if (!t->careful) {
		emit_exit(t, EXIT_CAREFUL, insn_pc(t, t->i));
		return;
	}
	emit_save_flags(t);
	emit_ea(t, insn, 0);
	emit_check(t, insn->mem.access, save ? XMM8 : IMAGE, insn->mem.seg);
	for (unsigned r = 8; r < 16 && !save; r++) {
		struct emit_mem at = checked_mem();

		at.disp = (int)(XMM8 + (r - 8) * 16);
		emit_op_mem(&t->hot, 4, 0x0f11, r, at); // movups
	}
	n = rewrite_insn(out, insn, t->bytes + t->off[t->i], &rw);
	ASSERT(n > 0);
	note_op(t);
	emit_bytes(&t->hot, out, (size_t)n);
	emit_access_done(t);
}

// XSAVE and its kin see the guest's XCR0, not the host's: the mask in EDX:EAX is cut for the one instruction.
static void ident_xsave(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	uint8_t out[REWRITE_MAX];
	struct rewrite rw = renaming(t, insn);
	struct x86_insn plain = *insn;
	int n;

	// XSAVEOPT leaves out what it believes to lie there since the last XRSTOR, and bounce buffers would deceive it.
	if (insn->map == 1 && insn->opcode == 0xae && (insn->modrm >> 3 & 7) == 6)
		plain.modrm = (insn->modrm & ~0x38) | 4 << 3; // XSAVE
	emit_save_flags(t);
	emit_ea(t, insn, 0);
	emit_check(t, insn->mem.access ? insn->mem.access : X86_READ, access_size(t, insn), insn->mem.seg);
	emit_store_state(e, 8, X86_RAX, SLOT_RAX);
	emit_store_state(e, 8, X86_RDX, SLOT_TMP);
	emit_alu_imm(e, 4, ALU_AND, X86_RAX, (int32_t)t->v->xcr0);
	emit_alu_imm(e, 4, ALU_AND, X86_RDX, (int32_t)(t->v->xcr0 >> 32));
	n = rewrite_insn(out, &plain, t->bytes + t->off[t->i], &rw);
	ASSERT(n > 0);
	note_op(t);
	note_saved_ax(t);
	emit_bytes(e, out, (size_t)n);
	emit_load_state(e, 8, X86_RAX, SLOT_RAX);
	emit_load_state(e, 8, X86_RDX, SLOT_TMP);
	emit_access_done(t);
}

static void device_not_available(struct trans *t)
{
	emit_exit(t, EXIT_NM, insn_pc(t, t->i));
}

void ident_x87(struct trans *t, const struct x86_insn *insn)
{
	if (t->t->mode & MODE_FPU_NM)
		device_not_available(t);
	else
		ident(t, insn);
}

void fwait(struct trans *t, const struct x86_insn *insn)
{
	if (t->t->mode & MODE_WAIT_NM)
		device_not_available(t);
	else
		ident(t, insn);
}

// Is the state the instruction works on switched off? (SDM, "Exception Type" of each class.)
static bool vector_state_off(const struct trans *t, const struct x86_insn *insn)
{
	const struct vcpu *v = t->v;
	const uint64_t avx = 0x6, avx512 = 0xe6; // of XCR0: SSE, AVX; opmask, ZMM_Hi256, Hi16_ZMM
	uint64_t needs = insn->encoding == X86_ENC_EVEX || insn->class == X86_CLASS_AVX512 ? avx512 : avx;

	if (insn->class == X86_CLASS_XSAVE)
		return !(v->cr4 & CR4_OSXSAVE);
	if (insn->class == X86_CLASS_FXSAVE)
		return false;
	if (insn->encoding == X86_ENC_VEX || insn->encoding == X86_ENC_EVEX)
		return !(v->cr4 & CR4_OSXSAVE) || (v->xcr0 & needs) != needs;
	return t->t->mode & MODE_SSE_UD;
}

// MASKMOVQ is an MMX instruction like any other: what its first lookup of the registers does to the x87 state, and the
// exception that may wait there, a move does as well.
static void leave_for_vector(struct trans *t, const struct x86_insn *insn)
{
	if (insn->class == X86_CLASS_MASKED && insn->encoding == X86_ENC_LEGACY && !(insn->prefixes & X86_PFX_OPSIZE)) {
		note_op(t);
		emit_bytes(&t->hot, (const uint8_t[]){0x41, 0x0f, 0x7e, 0xc0 | (HOST_T0 & 7)}, 4); // movd %mm0, %r10d
	}
	emit_vector(t, insn);
}

// VZEROUPPER, VZEROALL outside 64-bit mode leave the upper eight registers alone: each of the lower ones is moved to
// itself, or cleared, by an instruction that zeroes what lies above.
static void zero_lower_eight(struct trans *t, const struct x86_insn *insn)
{
	bool all = insn->vl == 32;

	for (unsigned r = 0; r < 8; r++) {
		uint8_t upper = 0xc5, second = all ? 0x80 | (~r & 15) << 3 | 1 : 0xf8; // VPXOR r, r, r; VMOVAPS r, r

		emit_bytes(&t->hot, (const uint8_t[]){upper, second, all ? 0xef : 0x28, (uint8_t)(0xc0 | r << 3 | r)}, 4);
	}
}

static bool is_vzero(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_VEX && insn->map == 1 && insn->opcode == 0x77;
}

// One access per element, or faults that masked-out elements must not raise: their normal form is right when the whole
// operand lies in one valid page; all else takes the careful form, which knows.
void ident_sse(struct trans *t, const struct x86_insn *insn)
{
	if (vector_state_off(t, insn))
		emit_exit(t, EXIT_UD, insn_pc(t, t->i));
	else if (t->t->mode & MODE_SSE_NM)
		device_not_available(t);
	else if (is_vector_in_c(insn))
		leave_for_vector(t, insn);
	else if (t->code != X86_MODE64 && is_vzero(insn))
		zero_lower_eight(t, insn);
	else if (insn->class == X86_CLASS_XSAVE)
		ident_xsave(t, insn);
	else if (insn->class == X86_CLASS_FXSAVE && t->code != X86_MODE64)
		ident_fx32(t, insn);
	else
		ident(t, insn);
}
