// SPDX-License-Identifier: MIT
//
// One translation unit: decode from the guest's code until an unconditional transfer, a page end or a cap; find which
// registers it names and which flags live; emit. Everything is decided by the guest's bytes, the mode and the options.
//
// A unit passes conditional branches on their not-taken side. It never reads beyond the page it starts on, except that
// an instruction which straddles two pages makes a unit of its own.
#include "bt/rewrite.h"
#include "bt/selfcheck.h"
#include "bt/trans.h"
#include "x86/features.h"
#include "x86/mnemonic.h"

static void ident(struct trans *t, const struct x86_insn *insn);
static void fwait(struct trans *t, const struct x86_insn *insn);
static void undefined(struct trans *t, const struct x86_insn *insn);
static void ident_x87(struct trans *t, const struct x86_insn *insn);
static void ident_sse(struct trans *t, const struct x86_insn *insn);

static const struct treatment by_class[X86_CLASS_COUNT] = {
	[X86_CLASS_INVALID] = {undefined, true},
	[X86_CLASS_UD] = {undefined, true},
	[X86_CLASS_PLAIN] = {ident, false},
	[X86_CLASS_RDRAND] = {ident, false},
	[X86_CLASS_X87] = {ident_x87, false},
	[X86_CLASS_MMX] = {ident_x87, false},
	[X86_CLASS_SSE] = {ident_sse, false},
	[X86_CLASS_AVX] = {ident_sse, false},
	[X86_CLASS_AVX512] = {ident_sse, false},
	[X86_CLASS_MASKED] = {ident_sse, false},
	[X86_CLASS_FXSAVE] = {ident_sse, false},
	[X86_CLASS_XSAVE] = {ident_sse, false},
	[X86_CLASS_FWAIT] = {fwait, false},
	[X86_CLASS_JMP] = {flow_jmp, true},
	[X86_CLASS_JCC] = {flow_jcc, false},
	[X86_CLASS_LOOP] = {flow_loop, false},
	[X86_CLASS_CALL] = {flow_call, true},
	[X86_CLASS_JMP_IND] = {flow_jmp_ind, true},
	[X86_CLASS_CALL_IND] = {flow_call_ind, true},
	[X86_CLASS_RET] = {flow_ret, true},
	[X86_CLASS_PUSH] = {emit_push, false},
	[X86_CLASS_POP] = {emit_pop, false},
	[X86_CLASS_LEAVE] = {emit_leave_insn, false},
	[X86_CLASS_STRING] = {emit_string, true},
	// every other class runs in C and ends its unit: see treat()
};

// System classes that are done in the cache where sys_inline allows it.
static const struct treatment inline_by_class[X86_CLASS_COUNT] = {
	[X86_CLASS_CLI] = {sys_cli, false},
	[X86_CLASS_STI] = {sys_sti, false},
	[X86_CLASS_SWAPGS] = {sys_swapgs, false},
	[X86_CLASS_PUSHF] = {sys_pushf, false},
	[X86_CLASS_POPF] = {sys_popf, false},
	[X86_CLASS_STAC] = {sys_stac, true},
	[X86_CLASS_CLAC] = {sys_clac, true},
	[X86_CLASS_RDTSC] = {sys_rdtsc, false},
	[X86_CLASS_RDTSCP] = {sys_rdtsc, false},
	[X86_CLASS_SYSCALL] = {sys_syscall, true},
	[X86_CLASS_SYSRET] = {sys_sysret, true},
	[X86_CLASS_MOV_FROM_SEG] = {sys_from_seg, false},
	[X86_CLASS_RDFSBASE] = {sys_rdbase, false},
	[X86_CLASS_RDGSBASE] = {sys_rdbase, false},
};

static const struct treatment in_c = {emit_sys, true};
static const struct treatment vector_in_c = {ident_sse, true};

// Gathers, scatters and MASKMOV are carried out by C.
static bool is_vector_in_c(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_VSIB || (insn->class == X86_CLASS_MASKED && !insn->mem.present);
}

static const struct treatment *treat(const struct trans *t, const struct x86_insn *insn)
{
	const struct treatment *tr = &by_class[insn->class];

	if (is_vector_in_c(insn))
		return &vector_in_c;
	if (sys_inline(t, insn))
		return &inline_by_class[insn->class];
	return tr->emit ? tr : &in_c;
}

static bool ends_unit(const struct trans *t, const struct x86_insn *insn)
{
	return treat(t, insn)->ends;
}

// -- decoding ---------------------------------------------------------------------------------------------------------

// The bytes of an instruction that straddles the page end; the second page's fetch may fault.
static int decode_straddling(struct trans *t, struct x86_insn *insn, unsigned avail)
{
	uint64_t next = (t->t->pc | PAGE_OFFSET) + 1;
	const struct mem *m = &t->b->sh->config.mem;
	const uint8_t *page;
	bool global;
	gpa_t gpa;

	if (!code_gpa(t->v, next, &gpa, &global))
		return -1;
	page = mem_host(m, gpa, PAGE_SIZE);
	if (!page)
		vcpu_nyi(t->v, "code outside RAM");
	__builtin_memcpy(t->straddle, t->bytes, avail);
	__builtin_memcpy(t->straddle + avail, page, X86_INSN_MAX);
	t->t->gpa2 = gpa;
	t->bytes = t->straddle;
	return x86_decode(insn, t->straddle, X86_INSN_MAX, t->code);
}

static bool offered(struct trans *t, const struct x86_insn *insn)
{
	return insn->feature == X86_FEATURE_NONE || cpuid_has(t->v, insn->feature);
}

static bool names_fit(uint16_t named)
{
	unsigned n = 0;

	for (unsigned bits = named & ~BIT(X86_RSP); bits; bits &= bits - 1)
		n++;
	return n <= TU_NAMES_MAX;
}

static bool uses_homes(const struct trans *t, const struct x86_insn *insn) // C code finds all registers in struct vcpu
{
	return treat(t, insn) != &in_c && insn->class != X86_CLASS_STRING && !is_vector_in_c(insn);
}

static void decode_unit(struct trans *t)
{
	bool one = t->t->mode & MODE_ONE || t->b->sh->config.stress & (STRESS_ONE | STRESS_CAREFUL);
	unsigned max = one ? 1 : TU_INSNS_MAX, off = 0;
	unsigned room = PAGE_SIZE - (t->t->pc & PAGE_OFFSET);

	while (t->n < max) {
		struct x86_insn *insn = &t->insn[t->n];
		int len = off < room ? x86_decode(insn, t->bytes + off, MIN(room - off, X86_INSN_MAX), t->code) : 0;
		uint16_t named = t->named;

		if (t->n && debugger_breaks_at(&t->b->sh->debugger, t->t->pc + off))
			break;
		if (len == 0 && t->n)
			break; // the page ends: the next unit begins here
		if (len == 0)
			len = decode_straddling(t, insn, room);
		if (len <= 0 || !offered(t, insn)) {
			insn->class = insn->len > X86_INSN_MAX ? X86_CLASS_INVALID : X86_CLASS_UD;
			insn->gpr_read = insn->gpr_written = 0;
			insn->flags_read = RFLAGS_ARITH;
			if (insn->len == 0 || insn->len > X86_INSN_MAX)
				insn->len = 1;
		}
		if (t->t->mode & MODE_ALONE && !selfcheck_can(insn)) {
			if (t->n)
				break;
			t->t->uncheckable = true;
		}
		if (uses_homes(t, insn))
			named |= insn->gpr_read | insn->gpr_written;
		if (!names_fit(named))
			break;
		t->named = named;
		if (uses_homes(t, insn))
			t->written |= insn->gpr_written;
		t->off[t->n++] = (uint16_t)off;
		off += insn->len;
		if (ends_unit(t, insn) || t->t->gpa2 != ~UINT64_C(0))
			break;
	}
	t->off[t->n] = (uint16_t)off;
	t->t->len = (uint16_t)off;
	t->t->ninsns = (uint8_t)t->n;
}

// -- analysis ---------------------------------------------------------------------------------------------------------

static void place_registers(struct trans *t)
{
	uint16_t taken = t->named | BIT(X86_RSP);

	for (unsigned r = 0; r < X86_GPRS; r++) {
		t->t->map[r] = r < X86_R13 ? (uint8_t)r : X86_REG_NONE;
		t->victim_of[r] = X86_REG_NONE;
	}
	t->t->map[X86_RSP] = HOST_GUEST_RSP;
	for (unsigned r = X86_R13; r <= X86_R15; r++) {
		int victim = X86_R12;

		if (!(t->named & BIT(r)))
			continue;
		while (taken & BIT(victim))
			victim--;
		ASSERT(victim >= 0);
		taken |= BIT(victim);
		t->victim_of[r] = t->t->map[r] = (uint8_t)victim;
		t->t->map[victim] = X86_REG_NONE;
	}
	window_plan(t, taken);
}

// May the guest see the flags before this instruction through an exception of it?
bool insn_may_fault(const struct x86_insn *insn)
{
	return insn->class != X86_CLASS_PLAIN || insn->mem.present || insn->mnemonic == X86_MNEM_DIV ||
	       insn->mnemonic == X86_MNEM_IDIV;
}

static bool leads_to_constant(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL || insn->class == X86_CLASS_JCC ||
	       insn->class == X86_CLASS_LOOP;
}

// An instruction that writes only some flags (INC, rotates) leaves them in the host with the rest as it found them:
// dead or not, the rest must be right if a fault can show it.
static void find_live_flags(struct trans *t)
{
	struct x86_insn *last = &t->insn[t->n - 1];
	uint16_t live = RFLAGS_ARITH, visible = RFLAGS_ARITH;

	if (!ends_unit(t, last)) {
		live = flow_live_at(t, insn_pc(t, t->n));
		visible = flow_shown_at(t, insn_pc(t, t->n));
	}
	t->live_in[t->n] = live;
	for (unsigned i = t->n; i-- > 0;) {
		const struct x86_insn *insn = &t->insn[i];
		uint16_t kills = (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;

		if (insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL)
			live = visible = 0;
		if (leads_to_constant(insn)) {
			live |= flow_live_at(t, insn_pc(t, i + 1) + insn->imm);
			visible |= flow_shown_at(t, insn_pc(t, i + 1) + insn->imm);
		}
		live = (uint16_t)((live & ~kills) | insn->flags_read) & RFLAGS_ARITH;
		if (kills && kills != RFLAGS_ARITH)
			live |= visible & ~kills;
		if (!uses_homes(t, insn) || insn->class == X86_CLASS_UD || insn->class == X86_CLASS_INVALID)
			live = RFLAGS_ARITH;
		visible = insn_may_fault(insn) ? RFLAGS_ARITH : (uint16_t)((visible & ~kills) | live);
		t->live_in[i] = live;
	}
	t->t->flags_in = live != 0;
	t->shown_in = !live && visible;
}

// -- emission ---------------------------------------------------------------------------------------------------------

void note_op(struct trans *t)
{
	struct bt *b = t->b;

	ASSERT(b->nmaps < MAPS_MAX);
	b->map[b->nmaps++] = (struct insn_map){
		.host = (uint32_t)(emit_here(&t->hot) - b->tc), .guest = t->off[t->i], .flags = (uint8_t)t->flags,
		.left = (uint8_t)(t->n - 1 - t->i)};
}

static void undefined(struct trans *t, const struct x86_insn *insn)
{
	emit_exit(t, EXIT_UD, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].insn = insn->class == X86_CLASS_INVALID;
}

// Only when the guest gets there does it matter.
static void emit_nyi(struct trans *t, const char *what)
{
	emit_exit(t, EXIT_NYI, insn_pc(t, t->i));
	t->b->exit[t->b->nexits - 1].what = what;
}

static bool is_lea(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY && insn->map == 0 && insn->opcode == 0x8d;
}

static void emit_lea_insn(struct trans *t, const struct x86_insn *insn)
{
	unsigned dst = host_of(t, (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3);
	struct x86_insn plain = *insn;

	if (insn->addrsize == 8 && insn->opsize >= 4 && insn->mem.base < X86_GPRS &&
	    insn->mem.disp == (int32_t)insn->mem.disp) {
		emit_lea(&t->hot, insn->opsize, dst, (struct emit_mem){.base = (uint8_t)host_of(t, insn->mem.base),
			.index = insn->mem.index == X86_REG_NONE ? X86_REG_NONE : (uint8_t)host_of(t, insn->mem.index),
			.scale = insn->mem.scale, .disp = (int32_t)insn->mem.disp});
		return;
	}
	plain.mem.seg = X86_DS; // LEA knows no segments
	if (t->t->mode & MODE_BASES && t->code != X86_MODE64) {
		uint32_t mode = t->t->mode;

		t->t->mode &= ~(uint32_t)MODE_BASES;
		emit_ea(t, &plain, 0);
		t->t->mode = mode;
	} else {
		emit_ea(t, &plain, 0);
	}
	if (insn->opsize == 2)
		emit_op_rr(&t->hot, 2, 0x89, HOST_T0, dst);
	else
		emit_mov(&t->hot, insn->opsize, dst, HOST_T0);
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
		rw.map[r] = t->t->map[r] == X86_REG_NONE ? 0 : t->t->map[r];
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
}

static void emit_bitstring(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;
	unsigned offset = host_of(t, (insn->modrm >> 3 & 7) | (insn->rex >> 2 & 1) << 3);
	struct rewrite rw = {.has_mem = true, .base = HOST_T1, .index = HOST_T0, .scale = 1}; // every register is RAX
	uint8_t out[REWRITE_MAX];
	int n;

	emit_ea(t, insn, 0);
	emit_bitstring_ea(t, insn);
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
	rw->disp = m.disp;
}

static void ident(struct trans *t, const struct x86_insn *insn)
{
	struct rewrite rw = renaming(t, insn);
	uint16_t sets = (insn->flags_written | insn->flags_undefined) & RFLAGS_ARITH;
	bool partial = sets && sets != RFLAGS_ARITH;
	uint8_t out[REWRITE_MAX];
	unsigned access = insn->mem.access;
	int n;

	if (is_lea(insn)) {
		emit_lea_insn(t, insn);
		return;
	}
	if (insn->spare_nop)
		return;
	if (insn->mem.bitstring) {
		emit_bitstring(t, insn);
		return;
	}
	if (insn->mem.present)
		use_operand(&rw, emit_operand(t, insn, access ? access : X86_READ, access_size(t, insn)));
	if (insn->flags_read & RFLAGS_ARITH || partial)
		emit_need_flags(t);
	n = rewrite_insn(out, insn, t->bytes + t->off[t->i], &rw);
	if (n == REWRITE_NEED_LOW) {
		emit_high_byte(t, insn, &rw);
	} else if (n > 0) {
		note_op(t);
		emit_bytes(&t->hot, out, (size_t)n);
	} else {
		ASSERT(!t->nopen);
		emit_sys(t, insn);
		return;
	}
	if (sets)
		t->flags = FLAGS_HOST;
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
	if (!(t->v->cr4 & CR4_OSXSAVE)) {
		emit_exit(t, EXIT_UD, insn_pc(t, t->i));
		return;
	}
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
	t->b->map[t->b->nmaps - 1].saved_ax = true;
	emit_bytes(e, out, (size_t)n);
	emit_load_state(e, 8, X86_RAX, SLOT_RAX);
	emit_load_state(e, 8, X86_RDX, SLOT_TMP);
	emit_access_done(t);
}

static void device_not_available(struct trans *t)
{
	emit_exit(t, EXIT_NM, insn_pc(t, t->i));
}

static void ident_x87(struct trans *t, const struct x86_insn *insn)
{
	if (t->t->mode & MODE_FPU_NM)
		device_not_available(t);
	else
		ident(t, insn);
}

static void fwait(struct trans *t, const struct x86_insn *insn)
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

	if (insn->class == X86_CLASS_FXSAVE || insn->class == X86_CLASS_XSAVE)
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
		emit_bytes(&t->hot, (const uint8_t[]){0x41, 0x0f, 0x7e, 0xc0 | (HOST_T0 & 7)}, 4); // movd %mm0, %r13d
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
static void ident_sse(struct trans *t, const struct x86_insn *insn)
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

static bool room_left(const struct bt *b)
{
	return b->hot + EMIT_ROOM <= b->hot_end && b->cold + EMIT_ROOM <= b->cold_end && b->ntus + 1 < TUS_MAX &&
	       b->nexits + 4 * TU_INSNS_MAX < EXITS_MAX && b->nsites + 4 * TU_INSNS_MAX < SITES_MAX &&
	       b->ninsns + TU_INSNS_MAX < INSNS_MAX && b->nrelocs + 8 * TU_INSNS_MAX < RELOCS_MAX &&
	       b->nmaps + 2 * TU_INSNS_MAX < MAPS_MAX &&
	       b->nmodes + 4 < MODES_MAX; // a unit names its own mode's table and those of the modes it leads to
}

static void start_emission(struct trans *t)
{
	struct bt *b = t->b;
	uint64_t state = (uint64_t)t->v;

	t->hot = (struct emit){b->tc_rw + b->hot, b->tc_rw + b->hot_end, b->delta, state};
	t->cold = (struct emit){b->tc_rw + b->cold, b->tc_rw + b->cold_end, b->delta, state};
	t->t->first_map = b->nmaps;
	t->t->first_exit = b->nexits;
	t->t->first_reloc = b->nrelocs;
}

// Both entries, into the state that the unit begins with: live flags in the host's, dead ones that a fault would show
// in the slot.
static void emit_entries(struct trans *t)
{
	if (t->shown_in) {
		t->t->entry = emit_here(&t->hot);
		emit_keep_flags(&t->hot);
		t->t->entry_slot = emit_here(&t->hot);
		t->flags = FLAGS_DEAD;
		return;
	}
	t->t->entry_slot = emit_here(&t->hot);
	if (t->t->flags_in)
		emit_restore_flags(&t->hot);
	t->t->entry = emit_here(&t->hot);
	t->flags = FLAGS_HOST;
}

static void emit_unit(struct trans *t)
{
	start_emission(t);
	t->t->start = emit_here(&t->hot);
	emit_entries(t);
	if (t->v->counting)
		emit_count(t);
	emit_prologue(t);
	t->t->body = emit_here(&t->hot);
	for (t->i = 0; t->i < t->n && !t->ended; t->i++) {
		t->host[t->i] = (uint32_t)(emit_here(&t->hot) - t->b->tc);
		if (t->flags == FLAGS_SLOT && !t->live_in[t->i])
			t->flags = FLAGS_DEAD;
		treat(t, &t->insn[t->i])->emit(t, &t->insn[t->i]);
		window_after(t, &t->insn[t->i]);
	}
	if (!t->ended) {
		t->i = t->n - 1;
		emit_goto(t, insn_pc(t, t->n));
	}
	t->t->code_size = (uint32_t)(emit_here(&t->hot) - t->t->start);
}

static void count(struct trans *t, uint32_t hot, uint32_t cold, uint64_t cycles)
{
	struct stats *st = t->b->st;

	st->tu_translated++;
	st->tu_insns += t->n;
	st->tu_bytes_in += t->t->len;
	st->tu_bytes_out += t->b->hot - hot + t->b->cold - cold;
	st->tu_cycles += cycles;
}

// Translate the unit at pc (physical address gpa). Faults of a straddled second page are raised. May flush the cache.
struct tu *bt_translate(struct vcpu *v, uint64_t pc, gpa_t gpa, uint32_t mode)
{
	struct bt *b = bt_of(v);
	struct trans t = {.v = v, .b = b, .code = mode & MODE_CODE, .user = mode & MODE_USER,
		.careful = mode & MODE_CAREFUL,
		.tlb = mode & MODE_USER ? TLB_USER : mode & MODE_AC ? TLB_KERNEL_AC : TLB_KERNEL};
	uint64_t start = __builtin_ia32_rdtsc();
	uint32_t hot, cold;

	if (!room_left(b))
		tc_flush(v);
	hot = b->hot;
	cold = b->cold;
	t.bytes = mem_host(&b->sh->config.mem, gpa, 1);
	if (!t.bytes)
		vcpu_nyi(v, "code outside RAM");
	t.t = tc_new_tu(b);
	t.tu_id = (uint32_t)(t.t - b->tu);
	*t.t = (struct tu){.pc = pc, .gpa = gpa, .gpa2 = ~UINT64_C(0), .mode = mode};
	decode_unit(&t);
	place_registers(&t);
	find_live_flags(&t);
	emit_unit(&t);
	t.t->nmaps = b->nmaps - t.t->first_map;
	t.t->nexits = b->nexits - t.t->first_exit;
	t.t->nrelocs = b->nrelocs - t.t->first_reloc;
	t.t->since = move_clock();
	b->hot = (uint32_t)align_up((uint64_t)(t.hot.p - b->tc_rw), 16);
	b->cold = (uint32_t)(t.cold.p - b->tc_rw);
	b->ntus++;
	tc_insert(b, t.t);
	code_watch(v, t.t);
	count(&t, hot, cold, __builtin_ia32_rdtsc() - start);
	if (b->sh->config.log & LOG_TU)
		dump_unit(&t, hot, cold);
	if (b->sh->config.log & LOG_PERFMAP)
		dump_symbol(&t, cold);
	return t.t;
}
