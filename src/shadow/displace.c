// SPDX-License-Identifier: MIT
//
// Displaced code, instruction by instruction. All registers and flags are the guest's, as in place. Most instructions
// are copied as they are. What depends on its own address is put in other words: RIP-relative operands go through a
// register that is kept in the world's state meanwhile, calls push the address that they would push in place, jumps to
// other pages are links, returns and indirect jumps look in the index. What is sensitive, or rare, becomes a stop:
// UD2. For each place in the code a note says which instruction it belongs to, and what is to be undone for it not to
// have begun.
#include "shadow/displace.h"
#include "base/string.h"
#include "bt/rewrite.h"
#include "cpu/hooks.h"
#include "shadow/sensitive.h"
#include "x86/decode.h"

enum {
	ROOM = 256, NOTES = 12, // that an instruction may take
	FAR_JUMP = 14,
};

// From here on the instruction at this offset has not been done.
static void note(struct displacer *w, unsigned offset, unsigned undo)
{
	struct displaced_note *n = &w->d->note[w->d->notes++];

	n->at = (uint32_t)(w->e.p - (uint8_t *)w->slot) & 0xffff;
	n->offset = offset & 0x1fff;
	n->undo = undo & 7;
}

// -- control flow -----------------------------------------------------------------------------------------------------

static void lead_to(struct displacer *w, uint8_t *place, unsigned offset)
{
	unsigned there = w->slot->code[offset];

	if (there) {
		emit_patch32(place, w->e.delta, (uint8_t *)w->slot + there + w->e.delta);
		return;
	}
	w->todo[offset / 64] |= BIT64(offset % 64);
	w->patch[w->patches++] = (struct displaced_patch){place, (uint16_t)offset};
}

// jmp [rip]: to any address, in place until it is displaced.
static void jump_far(struct displacer *w, gva_t target)
{
	emit_u8(&w->e, 0xff);
	emit_u8(&w->e, 0x25);
	emit_u32(&w->e, 0);
	w->d->link[w->d->links++] = (struct displaced_link){(uint32_t)(w->e.p - (uint8_t *)w->slot), target};
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
	note(w, offset, UNDO_PUSH);
}

static void end_call(struct displacer *w, unsigned next)
{
	emit_u64(&w->e, w->d->page + next);
	if (next < PAGE_SIZE)
		w->todo[next / 64] |= BIT64(next % 64); // it will come back
}

// -- one instruction --------------------------------------------------------------------------------------------------

// A register that it does not name: of R8 to R11, as there is no other register in the address.
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
	note(w, offset, UNDO_SAVE + r - X86_R8);
}

static void restore(struct displacer *w, unsigned r, unsigned offset)
{
	emit_load_state(&w->e, 8, r, DIRECT_SAVED);
	note(w, offset, UNDO_NONE);
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
	if (r > X86_R11 || insn->addrsize != 8 || has_other_segment(insn))
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
	note(w, offset + insn->len, UNDO_SAVE + r - X86_R8);
	restore(w, r, offset + insn->len);
	return true;
}

static bool put_push_relative(struct displacer *w, const struct x86_insn *insn, unsigned offset)
{
	if (insn->opsize != 8 || insn->addrsize != 8 || has_other_segment(insn))
		return false;
	save(w, X86_R8, offset);
	emit_mov_imm(&w->e, X86_R8, operand_address(w, insn, offset));
	emit_load(&w->e, 8, X86_R8, mem_base(X86_R8, 0));
	emit_bytes(&w->e, (const uint8_t[]){0x41, 0x50}, 2); // PUSH R8
	note(w, offset + insn->len, UNDO_SAVE);
	restore(w, X86_R8, offset + insn->len);
	return true;
}

static const uint8_t looking_up[] = {X86_RCX, X86_RDX, X86_R8};

static void begin_look_up(struct displacer *w, unsigned offset)
{
	for (unsigned i = 0; i < ARRAY_SIZE(looking_up); i++)
		emit_store_state(&w->e, 8, looking_up[i], DIRECT_SAVED + i * 8);
	note(w, offset, UNDO_LOOK_UP);
}

// The address in R8 goes to the world's state, or instead of it that of its displaced code; that is counted (policy.c).
// Then all is as it was. All without a change of flags.
static void look_up(struct displacer *w, unsigned offset)
{
	const struct emit_mem twice = {.base = X86_RCX, .index = X86_RCX, .scale = 1};
	const struct emit_mem place = {.base = X86_RDX, .index = X86_RCX, .scale = 8};
	const struct emit_mem in_page = {.base = X86_R8, .index = X86_RCX, .scale = 1};
	const struct emit_mem in_table = {.base = X86_RDX, .index = X86_R8, .scale = 2};
	const struct emit_mem in_slot = {.base = X86_RDX, .index = X86_RCX, .scale = 1};
	uint8_t *here, *elsewhere, *none;

	emit_store_state(&w->e, 8, X86_R8, DIRECT_TARGET);
	emit_rorx(&w->e, 8, X86_RCX, X86_R8, PAGE_SHIFT);
	emit_movzwl(&w->e, X86_RCX, X86_RCX); // DISPLACED_INDEX_BITS
	emit_lea(&w->e, 8, X86_RCX, twice);
	emit_op_state(&w->e, 8, 0x8d, X86_RDX, (uint32_t)(w->index - w->e.state), 0); // LEA
	emit_lea(&w->e, 8, X86_RDX, place);
	emit_load(&w->e, 8, X86_RCX, mem_base(X86_RDX, offsetof(struct displaced_place, minus_page)));
	emit_load(&w->e, 8, X86_RDX, mem_base(X86_RDX, offsetof(struct displaced_place, slot)));
	emit_lea(&w->e, 8, X86_R8, in_page);
	emit_mov_imm(&w->e, X86_RCX, PAGE_SHIFT);
	emit_shrx(&w->e, 8, X86_RCX, X86_R8, X86_RCX);
	here = emit_jrcxz(&w->e);
	elsewhere = emit_jmp8(&w->e);
	emit_patch8(here, &w->e);
	emit_load(&w->e, 2, X86_RCX, in_table);
	none = emit_jrcxz(&w->e);
	emit_lea(&w->e, 8, X86_RDX, in_slot);
	emit_store_state(&w->e, 8, X86_RDX, DIRECT_TARGET);
	emit_load_state(&w->e, 8, X86_RCX, DIRECT_LOOKED_UP);
	emit_lea(&w->e, 8, X86_RCX, mem_base(X86_RCX, 1));
	emit_store_state(&w->e, 8, X86_RCX, DIRECT_LOOKED_UP);
	emit_patch8(elsewhere, &w->e);
	emit_patch8(none, &w->e);
	for (unsigned i = 0; i < ARRAY_SIZE(looking_up); i++)
		emit_load_state(&w->e, 8, looking_up[i], DIRECT_SAVED + i * 8);
	note(w, offset, UNDO_NONE);
}

// The target of an indirect jump or call, to R8.
static void load_target(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset)
{
	if (insn->modrm >= 0xc0) {
		emit_mov(&w->e, 8, X86_R8, (insn->modrm & 7) | (insn->rex & 1) << 3);
		return;
	}
	if (is_relative(insn)) {
		emit_mov_imm(&w->e, X86_R8, operand_address(w, insn, offset));
		emit_load(&w->e, 8, X86_R8, mem_base(X86_R8, 0));
		return;
	}
	if (has_other_segment(insn))
		emit_u8(&w->e, insn->mem.seg == X86_FS ? 0x64 : 0x65);
	if (insn->addrsize == 4)
		emit_u8(&w->e, 0x67);
	emit_u8(&w->e, 0x4c | (insn->rex & 3)); // mov r8, what FF /2 and /4 have
	emit_u8(&w->e, 0x8b);
	emit_u8(&w->e, insn->modrm & 0xc7);
	emit_bytes(&w->e, bytes + insn->modrm_off + 1, insn->len - insn->modrm_off - 1u);
}

static bool put_indirect(struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes, unsigned offset)
{
	bool call = insn->class == X86_CLASS_CALL_IND;

	if (insn->opsize != 8 || (is_relative(insn) && (insn->addrsize != 8 || has_other_segment(insn))))
		return false;
	begin_look_up(w, offset);
	load_target(w, insn, bytes, offset);
	look_up(w, offset);
	if (call)
		push_return(w, offset, 6);
	emit_jmp_state(&w->e, DIRECT_TARGET);
	if (call)
		end_call(w, offset + insn->len);
	return true;
}

static void put_return(struct displacer *w, unsigned offset)
{
	begin_look_up(w, offset);
	emit_load(&w->e, 8, X86_R8, mem_base(X86_RSP, 0));
	look_up(w, offset);
	emit_lea(&w->e, 8, X86_RSP, mem_base(X86_RSP, 8));
	note(w, offset, UNDO_POP);
	emit_jmp_state(&w->e, DIRECT_TARGET);
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
	note(w, offset + insn->len, UNDO_NONE);
	past = emit_jmp32(&w->e);
	note(w, target & PAGE_OFFSET, UNDO_NONE);
	lead_to(w, emit_jmp32(&w->e), target & PAGE_OFFSET);
	emit_patch32(past, w->e.delta, emit_here(&w->e));
	return true;
}

// By itself: what is hidden in it is not run. (INT is no more than a stop.)
static bool is_sensitive(const struct displacer *w, const struct x86_insn *insn, const uint8_t *bytes)
{
	size_t at;
	uint8_t alone[16];

	memset(alone, 0x90, sizeof(alone));
	memcpy(alone, bytes, insn->len);
	return insn->encoding == X86_ENC_LEGACY && insn->map == 1 &&
	       sensitive_find(alone, sizeof(alone), w->rules | SENSITIVE_HIDDEN, &at) &&
	       at == insn->opcode_off - 1u;
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
	case X86_CLASS_PUSH:
		if (is_relative(insn))
			return put_push_relative(w, insn, offset) ? PUT : PUT_NOT;
		emit_bytes(&w->e, bytes, insn->len);
		return PUT;
	case X86_CLASS_VSIB: case X86_CLASS_STRING: case X86_CLASS_XLAT: case X86_CLASS_POP:
	case X86_CLASS_PUSHF: case X86_CLASS_ENTER: case X86_CLASS_LEAVE: case X86_CLASS_XSAVE:
	case X86_CLASS_XGETBV:
		if (is_relative(insn))
			return PUT_NOT;
		emit_bytes(&w->e, bytes, insn->len);
		return PUT;
	case X86_CLASS_SYSCALL: // it stops; where it stands is looked for two bytes before (vmm/direct_run.c)
		if (insn->len != 2)
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
	       w->d->notes + NOTES + w->patches <= DISPLACED_NOTES && w->d->links + w->patches + 4u <= DISPLACED_LINKS;
}

int displace_decode(const struct displacer *w, unsigned offset, struct x86_insn *insn, uint8_t bytes[2 * X86_INSN_MAX])
{
	size_t n = MIN(PAGE_SIZE - offset, (size_t)X86_INSN_MAX);

	memcpy(bytes, w->page + offset, n);
	if (w->after)
		memcpy(bytes + n, w->after, X86_INSN_MAX);
	return x86_decode(insn, bytes, n + (w->after ? X86_INSN_MAX : 0), X86_MODE64);
}

// From this offset on, as far as it goes.
static void follow(struct displacer *w, unsigned offset)
{
	uint8_t bytes[2 * X86_INSN_MAX];
	struct x86_insn insn;
	enum put how = PUT;

	while (how == PUT && offset < PAGE_SIZE && has_room(w)) {
		int len = displace_decode(w, offset, &insn, bytes);

		note(w, offset, UNDO_NONE);
		if (w->slot->code[offset]) {
			lead_to(w, emit_jmp32(&w->e), offset);
			return;
		}
		if (!len)
			break; // the next page is not to be had now
		w->slot->code[offset] = (uint16_t)(w->e.p - (uint8_t *)w->slot);
		how = len > 0 ? put(w, &insn, bytes, offset) : PUT_NOT;
		offset += insn.len;
		w->d->crosses |= offset > PAGE_SIZE;
	}
	if (how == PUT_NOT) {
		emit_u8(&w->e, 0x0f); // UD2
		emit_u8(&w->e, 0x0b);
	} else if (how == PUT) {
		note(w, offset, UNDO_NONE);
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
		unsigned there = w->slot->code[offset];

		emit_patch32(w->patch[i].place, w->e.delta,
			     there ? (uint8_t *)w->slot + there + w->e.delta : emit_here(&w->e));
		if (there)
			continue;
		note(w, offset, UNDO_NONE);
		jump_far(w, w->d->page + offset);
	}
	w->patches = 0;
}

static void follow_all(struct displacer *w, unsigned offset)
{
	do {
		if (!w->slot->code[offset] && has_room(w))
			follow(w, offset);
	} while (next_todo(w, &offset));
	patch_all(w);
}

// One instruction after the other. Where that is out of step with what is run it costs room, and nothing else.
static void sweep(struct displacer *w)
{
	uint8_t bytes[2 * X86_INSN_MAX];
	struct x86_insn insn;

	for (unsigned offset = 0; offset < PAGE_SIZE && has_room(w); offset += MAX(insn.len, 1)) {
		follow_all(w, offset);
		displace_decode(w, offset, &insn, bytes);
	}
}

void displace(struct displacer *w, unsigned offset)
{
	follow_all(w, offset);
	if (w->all)
		sweep(w);
	w->d->used = (uint32_t)(w->e.p - (uint8_t *)w->slot);
}
