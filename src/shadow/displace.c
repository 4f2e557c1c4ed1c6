// SPDX-License-Identifier: MIT
//
// Displaced code, instruction by instruction. All registers and flags are the guest's, as in place. Most instructions
// are copied as they are. What depends on its own address is put in other words: RIP-relative operands go through a
// register that is kept in the world's state meanwhile, calls push the address that they would push in place, returns
// to the page look in its table. What is sensitive, or rare, becomes a stop (UD2). For each place in the code a note
// says which instruction it belongs to, and what is to be undone for it not to have begun.
#include "shadow/displace.h"
#include "base/string.h"
#include "bt/rewrite.h"
#include "cpu/hooks.h"
#include "shadow/sensitive.h"
#include "x86/decode.h"

enum {
	ROOM = 192, NOTES = 12, // that an instruction may take
	FAR_JUMP = 14,
};

// From here on the instruction at this offset has not been done.
static struct displaced_note *note(struct displacer *w, unsigned offset)
{
	struct displaced_note *n = &w->d->note[w->d->notes++];

	*n = (struct displaced_note){.at = (uint16_t)(w->e.p - (uint8_t *)w->slot), .offset = (uint16_t)offset,
		.saved = X86_REG_NONE};
	return n;
}

// -- control flow -----------------------------------------------------------------------------------------------------

static void lead_to(struct displacer *w, uint8_t *place, unsigned offset)
{
	uint32_t there = w->slot->code[offset];

	if (there) {
		emit_patch32(place, w->e.delta, (uint8_t *)w->slot + there + w->e.delta);
		return;
	}
	w->todo[offset / 64] |= BIT64(offset % 64);
	w->patch[w->patches++] = (struct displaced_patch){place, (uint16_t)offset};
}

// jmp [rip]: to any address, in place.
static void jump_far(struct displacer *w, gva_t target)
{
	emit_u8(&w->e, 0xff);
	emit_u8(&w->e, 0x25);
	emit_u32(&w->e, 0);
	emit_u64(&w->e, target);
}

static bool is_on_page(const struct displacer *w, gva_t target)
{
	return align_down(target, PAGE_SIZE) == w->d->page;
}

static unsigned jump_size(const struct displacer *w, gva_t target)
{
	return is_on_page(w, target) ? 5 : FAR_JUMP;
}

static void jump(struct displacer *w, gva_t target)
{
	if (is_on_page(w, target))
		lead_to(w, emit_jmp32(&w->e), target & PAGE_OFFSET);
	else
		jump_far(w, target);
}

static void jump_if(struct displacer *w, unsigned cond, gva_t target)
{
	if (is_on_page(w, target)) {
		lead_to(w, emit_jcc32(&w->e, cond), target & PAGE_OFFSET);
		return;
	}
	emit_u8(&w->e, 0x70 | (cond ^ 1));
	emit_u8(&w->e, FAR_JUMP);
	jump_far(w, target);
}

// push [rip + distance]: of the return address, which stands behind the jump that follows.
static void push_return(struct displacer *w, unsigned offset, unsigned distance)
{
	emit_u8(&w->e, 0xff);
	emit_u8(&w->e, 0x35);
	emit_u32(&w->e, distance);
	note(w, offset)->pushed = 8;
}

static void end_call(struct displacer *w, unsigned next)
{
	emit_u64(&w->e, w->d->page + next);
	if (next < PAGE_SIZE)
		w->todo[next / 64] |= BIT64(next % 64); // it will come back
}

// -- one instruction --------------------------------------------------------------------------------------------------

// A register that it does not name.
static unsigned spare_register(const struct x86_insn *insn)
{
	unsigned used = insn->gpr_read | insn->gpr_written, r = X86_R8;

	while (used >> r & 1)
		r++;
	return r;
}

static void save(struct displacer *w, unsigned r, unsigned offset)
{
	emit_store_state(&w->e, 8, r, DIRECT_SAVED);
	note(w, offset)->saved = (uint8_t)r;
}

static void restore(struct displacer *w, unsigned r, unsigned offset)
{
	emit_load_state(&w->e, 8, r, DIRECT_SAVED);
	note(w, offset);
}

static gva_t operand_address(const struct displacer *w, const struct x86_insn *insn, unsigned offset)
{
	return w->d->page + offset + insn->len + (uint64_t)insn->mem.disp;
}

static bool is_relative(const struct x86_insn *insn)
{
	return insn->mem.present && insn->mem.base == X86_REG_RIP;
}

static bool has_other_segment(const struct x86_insn *insn)
{
	return insn->mem.seg == X86_FS || insn->mem.seg == X86_GS;
}

static bool is_lea(const struct x86_insn *insn)
{
	return insn->encoding == X86_ENC_LEGACY && insn->map == 0 && insn->opcode == 0x8d && insn->opsize >= 4 &&
	       insn->addrsize == 8;
}

// False: it is not done.
static bool put_relative(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset)
{
	struct rewrite rw = {.has_mem = true, .index = X86_REG_NONE, .scale = 1};
	unsigned r = spare_register(insn);
	uint8_t out[REWRITE_MAX];
	int len;

	if (is_lea(insn)) {
		gva_t address = operand_address(w, insn, offset);

		emit_mov_imm(&w->e, (insn->modrm >> 3 & 7) | (insn->rex & 4) << 1,
			     insn->opsize == 8 ? address : (uint32_t)address);
		return true;
	}
	if (r >= X86_GPRS || insn->addrsize != 8 || has_other_segment(insn))
		return false;
	for (unsigned i = 0; i < X86_GPRS; i++)
		rw.map[i] = (uint8_t)i;
	rw.base = (uint8_t)r;
	len = rewrite_insn(out, insn, bytes, &rw);
	if (len <= 0)
		return false;
	save(w, r, offset);
	emit_mov_imm(&w->e, r, operand_address(w, insn, offset));
	emit_bytes(&w->e, out, (size_t)len);
	note(w, offset + insn->len)->saved = (uint8_t)r;
	restore(w, r, offset + insn->len);
	return true;
}

// The target of an indirect jump or call, from memory, to the world's state. r is free.
static void load_target(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset,
			unsigned r)
{
	if (is_relative(insn)) {
		emit_mov_imm(&w->e, r, operand_address(w, insn, offset));
		emit_load(&w->e, 8, r, mem_base(r, 0));
		return;
	}
	if (has_other_segment(insn))
		emit_u8(&w->e, insn->mem.seg == X86_FS ? 0x64 : 0x65);
	if (insn->addrsize == 4)
		emit_u8(&w->e, 0x67);
	emit_u8(&w->e, 0x4c | (insn->rex & 3)); // mov r, what FF /2 and /4 have
	emit_u8(&w->e, 0x8b);
	emit_u8(&w->e, (insn->modrm & 0xc7) | (r & 7) << 3);
	emit_bytes(&w->e, bytes + insn->modrm_off + 1, insn->len - insn->modrm_off - 1u);
}

static bool put_indirect(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset)
{
	bool call = insn->class == X86_CLASS_CALL_IND;
	unsigned r = X86_R8, rm = (insn->modrm & 7) | (insn->rex & 1) << 3;

	if (insn->opsize != 8 || (is_relative(insn) && (insn->addrsize != 8 || has_other_segment(insn))))
		return false;
	if (insn->modrm >= 0xc0) {
		if (call && rm == X86_RSP)
			return false;
		if (call)
			push_return(w, offset, 2 + (rm >> 3));
		emit_op_rr(&w->e, 4, 0xff, 4, rm);
	} else {
		save(w, r, offset);
		load_target(w, insn, bytes, offset, r);
		emit_store_state(&w->e, 8, r, DIRECT_TARGET);
		restore(w, r, offset);
		if (call)
			push_return(w, offset, 6);
		emit_jmp_state(&w->e, DIRECT_TARGET);
	}
	if (call)
		end_call(w, offset + insn->len);
	return true;
}

// Taken it jumps over the jump that it does not take.
static bool put_loop(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset,
		     gva_t target)
{
	uint8_t *past;

	if (!is_on_page(w, target))
		return false;
	emit_bytes(&w->e, bytes, insn->len - 1u);
	emit_u8(&w->e, 5);
	note(w, offset + insn->len);
	past = emit_jmp32(&w->e);
	note(w, target & PAGE_OFFSET);
	lead_to(w, emit_jmp32(&w->e), target & PAGE_OFFSET);
	emit_patch32(past, w->e.delta, emit_here(&w->e));
	return true;
}

static void note_saved_both(struct displacer *w, unsigned offset)
{
	struct displaced_note *n = note(w, offset);

	n->saved = X86_RCX;
	n->saved_rdx = true;
}

static void restore_both(struct displacer *w, unsigned offset)
{
	emit_load_state(&w->e, 8, X86_RDX, DIRECT_SAVED2);
	note(w, offset)->saved = X86_RCX;
	restore(w, X86_RCX, offset);
}

// Who returns to the page goes on in displaced code; that is counted (policy.c). All without a change of flags.
static void put_return(struct displacer *w, unsigned offset)
{
	const struct emit_mem in_table = {.base = X86_RCX, .index = X86_RDX, .scale = 4};
	const struct emit_mem in_slot = {.base = X86_RCX, .index = X86_RDX, .scale = 1};
	uint64_t slot = (uint64_t)(uintptr_t)w->slot + (uint64_t)w->e.delta;
	uint8_t *near, *none;
	const uint8_t *in_place;

	save(w, X86_RCX, offset);
	emit_store_state(&w->e, 8, X86_RDX, DIRECT_SAVED2);
	note_saved_both(w, offset);
	emit_load(&w->e, 8, X86_RCX, mem_base(X86_RSP, 0));
	emit_mov_imm(&w->e, X86_RDX, -w->d->page);
	emit_lea(&w->e, 8, X86_RDX, in_slot);
	emit_mov_imm(&w->e, X86_RCX, PAGE_SHIFT);
	emit_shrx(&w->e, 8, X86_RCX, X86_RDX, X86_RCX);
	near = emit_jrcxz(&w->e);
	in_place = w->e.p;
	restore_both(w, offset);
	emit_u8(&w->e, 0xc3);
	emit_patch8(near, &w->e);
	note_saved_both(w, offset);
	emit_op_state(&w->e, 8, 0x8d, X86_RCX, (uint32_t)(slot - w->e.state), 0); // LEA
	emit_load(&w->e, 4, X86_RDX, in_table);
	emit_lea(&w->e, 8, X86_RCX, in_slot);
	emit_store_state(&w->e, 8, X86_RCX, DIRECT_TARGET);
	emit_mov(&w->e, 4, X86_RCX, X86_RDX);
	none = emit_jrcxz(&w->e);
	*none = (uint8_t)(in_place - none - 1);
	emit_load_state(&w->e, 8, X86_RCX, DIRECT_RETURNS);
	emit_lea(&w->e, 8, X86_RCX, mem_base(X86_RCX, 1));
	emit_store_state(&w->e, 8, X86_RCX, DIRECT_RETURNS);
	restore_both(w, offset);
	emit_lea(&w->e, 8, X86_RSP, mem_base(X86_RSP, 8));
	note(w, offset)->pushed = -8;
	emit_jmp_state(&w->e, DIRECT_TARGET);
}

static bool is_sensitive(const struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes)
{
	uint8_t alone[16];
	size_t at;

	memset(alone, 0x90, sizeof(alone));
	memcpy(alone, bytes, insn->len);
	return sensitive_find(alone, sizeof(alone), w->rules | SENSITIVE_HIDDEN, &at);
}

enum put { PUT, PUT_ENDS, PUT_NOT };

// x87 instructions keep their own address; those that change TF are for translation.
static enum put put(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset)
{
	gva_t next = w->d->page + offset + insn->len, target = next + insn->imm;

	if (is_sensitive(w, insn, bytes))
		return PUT_NOT;
	switch (insn->class) {
	case X86_CLASS_JMP: case X86_CLASS_JCC: case X86_CLASS_CALL: case X86_CLASS_LOOP: case X86_CLASS_RET:
	case X86_CLASS_JMP_IND: case X86_CLASS_CALL_IND:
		if (insn->prefixes & X86_PFX_OPSIZE)
			return PUT_NOT;
	}
	switch (insn->class) {
	case X86_CLASS_PLAIN: case X86_CLASS_MMX: case X86_CLASS_SSE: case X86_CLASS_AVX: case X86_CLASS_AVX512:
	case X86_CLASS_MASKED: case X86_CLASS_RDRAND: case X86_CLASS_FXSAVE:
		if (is_relative(insn) && !insn->spare_nop)
			return put_relative(w, insn, bytes, offset) ? PUT : PUT_NOT;
		emit_bytes(&w->e, bytes, insn->len);
		return PUT;
	case X86_CLASS_VSIB: case X86_CLASS_STRING: case X86_CLASS_XLAT: case X86_CLASS_PUSH: case X86_CLASS_POP:
	case X86_CLASS_PUSHF: case X86_CLASS_ENTER: case X86_CLASS_LEAVE:
		if (is_relative(insn))
			return PUT_NOT;
		emit_bytes(&w->e, bytes, insn->len);
		return PUT;
	case X86_CLASS_RET:
		if (insn->opcode == 0xc3)
			put_return(w, offset);
		else
			emit_bytes(&w->e, bytes, insn->len);
		return PUT_ENDS;
	case X86_CLASS_JMP:
		jump(w, target);
		return PUT_ENDS;
	case X86_CLASS_JCC:
		jump_if(w, insn->cond, target);
		return PUT;
	case X86_CLASS_CALL:
		push_return(w, offset, jump_size(w, target));
		jump(w, target);
		end_call(w, offset + insn->len);
		return PUT_ENDS;
	case X86_CLASS_JMP_IND: case X86_CLASS_CALL_IND:
		return put_indirect(w, insn, bytes, offset) ? PUT_ENDS : PUT_NOT;
	case X86_CLASS_LOOP:
		return put_loop(w, insn, bytes, offset, target) ? PUT : PUT_NOT;
	default:
		return PUT_NOT;
	}
}

// -- a page -----------------------------------------------------------------------------------------------------------

static bool has_room(const struct displacer *w)
{
	size_t left = (size_t)(w->slot->bytes + sizeof(w->slot->bytes) - w->e.p);

	return left >= ROOM + w->patches * FAR_JUMP && w->patches + 2 <= ARRAY_SIZE(w->patch) &&
	       w->d->notes + NOTES <= DISPLACED_NOTES;
}

// From this offset on, as far as it goes.
static void follow(struct displacer *w, unsigned offset)
{
	struct x86_insn insn;
	enum put how = PUT;

	while (how == PUT && offset < PAGE_SIZE && has_room(w)) {
		int len = x86_decode(&insn, w->page + offset, PAGE_SIZE - offset, X86_MODE64);

		if (w->slot->code[offset]) {
			lead_to(w, emit_jmp32(&w->e), offset);
			return;
		}
		note(w, offset);
		w->slot->code[offset] = (uint32_t)(w->e.p - (uint8_t *)w->slot);
		how = len > 0 ? put(w, &insn, w->page + offset, offset) : PUT_NOT;
		offset += insn.len;
	}
	if (how == PUT_NOT) {
		emit_u8(&w->e, 0x0f); // UD2
		emit_u8(&w->e, 0x0b);
	} else if (how == PUT) {
		jump_far(w, w->d->page + offset);
	}
}

static bool next_todo(struct displacer *w, unsigned *offset)
{
	for (unsigned i = 0; i < ARRAY_SIZE(w->todo); i++) {
		if (!w->todo[i])
			continue;
		*offset = i * 64 + (unsigned)__builtin_ctzll(w->todo[i]);
		w->todo[i] &= w->todo[i] - 1;
		return true;
	}
	return false;
}

// What there was no room for is reached in place, and faults there.
static void patch_all(struct displacer *w)
{
	for (unsigned i = 0; i < w->patches; i++) {
		unsigned offset = w->patch[i].offset;
		uint32_t there = w->slot->code[offset];

		emit_patch32(w->patch[i].place, w->e.delta,
			     there ? (uint8_t *)w->slot + there + w->e.delta : emit_here(&w->e));
		if (!there)
			jump_far(w, w->d->page + offset);
	}
}

void displace(struct displacer *w, unsigned offset)
{
	do {
		if (!w->slot->code[offset] && has_room(w))
			follow(w, offset);
	} while (next_todo(w, &offset));
	patch_all(w);
	w->d->used = (uint32_t)(w->e.p - (uint8_t *)w->slot);
}
