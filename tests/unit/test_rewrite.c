// SPDX-License-Identifier: MIT
//
// bt/rewrite.c against Zydis: instructions of 16-, 32- and 64-bit code over all maps, opcodes, ModRM bytes and prefix
// bits are rewritten with random register maps and memory operands; the output, decoded as 64-bit code, must be the
// same instruction with exactly the registers and the memory operand asked for. It is done twice: with struct x86_insn
// filled from Zydis, so that an error in the decoder does not hide one here, and as x86_decode fills it.
#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bt/rewrite.h"

enum { BYTES = 24 };

struct sample {
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint8_t bytes[BYTES];
};

struct counts {
	uint64_t tried, valid, rewritten, need_low, cannot, failed;
};

static ZydisDecoder decoders[3];
static struct counts counts;
static uint64_t random_state = 0x9e3779b97f4a7c15;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state >> 24;
}

static bool chance(unsigned int percent)
{
	return random32() % 100 < percent;
}

static bool is_gpr(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15;
}

static bool is_high_byte(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}

static bool is_byte(ZydisRegister r)
{
	return r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15B;
}

static uint8_t gpr_number(ZydisRegister r)
{
	if (is_high_byte(r))
		return r - ZYDIS_REGISTER_AH;
	return (uint8_t)ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r));
}

static enum x86_class class_of(const ZydisDecodedInstruction *zi, const ZydisDecodedOperand *op)
{
	if ((zi->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED) ||
	    zi->encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX)
		return X86_CLASS_OTHER_SYSTEM;
	for (int i = 0; i < zi->operand_count; i++) {
		bool hidden = op[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN;

		if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && op[i].mem.type == ZYDIS_MEMOP_TYPE_MIB)
			return X86_CLASS_OTHER_SYSTEM;
		if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(op[i].reg.value) == ZYDIS_REGCLASS_SEGMENT)
			return X86_CLASS_MOV_TO_SEG;
		if (hidden && op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && gpr_number(op[i].mem.base) == X86_RSP)
			return X86_CLASS_PUSH;
	}
	switch (zi->mnemonic) {
	case ZYDIS_MNEMONIC_MOVDIR64B: case ZYDIS_MNEMONIC_XLAT: case ZYDIS_MNEMONIC_MONITOR:
	case ZYDIS_MNEMONIC_MONITORX:
	case ZYDIS_MNEMONIC_MWAITX: case ZYDIS_MNEMONIC_BOUND: case ZYDIS_MNEMONIC_CLI: case ZYDIS_MNEMONIC_STI:
	case ZYDIS_MNEMONIC_ENTER: case ZYDIS_MNEMONIC_LEAVE: case ZYDIS_MNEMONIC_CLZERO:
	case ZYDIS_MNEMONIC_UD0: case ZYDIS_MNEMONIC_UD1: case ZYDIS_MNEMONIC_UD2:
		return X86_CLASS_OTHER_SYSTEM;
	default:
		break;
	}
	switch (zi->meta.category) {
	case ZYDIS_CATEGORY_STRINGOP:
		return X86_CLASS_STRING;
	case ZYDIS_CATEGORY_XSAVE: case ZYDIS_CATEGORY_XSAVEOPT:
		return X86_CLASS_XSAVE;
	case ZYDIS_CATEGORY_AMX_TILE: case ZYDIS_CATEGORY_CALL: case ZYDIS_CATEGORY_CET: case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_ENQCMD: case ZYDIS_CATEGORY_HRESET: case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_IO: case ZYDIS_CATEGORY_IOSTRINGOP: case ZYDIS_CATEGORY_KEYLOCKER:
	case ZYDIS_CATEGORY_KEYLOCKER_WIDE: case ZYDIS_CATEGORY_KNC: case ZYDIS_CATEGORY_MPX:
	case ZYDIS_CATEGORY_PADLOCK: case ZYDIS_CATEGORY_POP: case ZYDIS_CATEGORY_PT: case ZYDIS_CATEGORY_PUSH:
	case ZYDIS_CATEGORY_RET: case ZYDIS_CATEGORY_SEGOP: case ZYDIS_CATEGORY_SGX: case ZYDIS_CATEGORY_SMAP:
	case ZYDIS_CATEGORY_SYSCALL: case ZYDIS_CATEGORY_SYSRET: case ZYDIS_CATEGORY_SYSTEM:
	case ZYDIS_CATEGORY_UINTR: case ZYDIS_CATEGORY_UNCOND_BR: case ZYDIS_CATEGORY_VTX:
	case ZYDIS_CATEGORY_WAITPKG: case ZYDIS_CATEGORY_AMD3DNOW:
		return X86_CLASS_OTHER_SYSTEM;
	default:
		return X86_CLASS_PLAIN;
	}
}

static enum x86_encoding encoding_of(const ZydisDecodedInstruction *zi)
{
	switch (zi->encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_VEX: return X86_ENC_VEX;
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: return X86_ENC_EVEX;
	case ZYDIS_INSTRUCTION_ENCODING_XOP: return X86_ENC_XOP;
	case ZYDIS_INSTRUCTION_ENCODING_3DNOW: return X86_ENC_3DNOW;
	default: return X86_ENC_LEGACY;
	}
}

static void fill_opcode(struct x86_insn *insn, const ZydisDecodedInstruction *zi)
{
	switch (insn->encoding) {
	case X86_ENC_VEX:
		insn->map = zi->raw.vex.m_mmmm;
		insn->opcode_off = zi->raw.vex.offset + zi->raw.vex.size;
		break;
	case X86_ENC_EVEX:
		insn->map = zi->raw.evex.mmm;
		insn->opcode_off = zi->raw.evex.offset + 4;
		break;
	case X86_ENC_XOP:
		insn->map = zi->raw.xop.m_mmmm;
		insn->opcode_off = zi->raw.xop.offset + 3;
		break;
	default:
		insn->map = zi->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? 0 : zi->opcode_map == ZYDIS_OPCODE_MAP_0F ? 1 :
			    zi->opcode_map == ZYDIS_OPCODE_MAP_0F38 ? 2 : 3;
		insn->opcode_off = zi->raw.prefix_count + (insn->map > 1 ? 2 : insn->map);
	}
	insn->opcode = zi->opcode;
}

static void fill_register(struct x86_insn *insn, const ZydisDecodedOperand *op)
{
	ZydisRegister r = op->reg.value;

	if (!is_gpr(r))
		return;
	insn->gpr_read |= BIT(gpr_number(r));
	switch (op->encoding) {
	case ZYDIS_OPERAND_ENCODING_MODRM_REG:
		insn->fields |= X86_FIELD_REG_GPR | (is_byte(r) ? X86_FIELD_REG_BYTE : 0);
		break;
	case ZYDIS_OPERAND_ENCODING_MODRM_RM:
		insn->fields |= X86_FIELD_RM_GPR | (is_byte(r) ? X86_FIELD_RM_BYTE : 0);
		break;
	case ZYDIS_OPERAND_ENCODING_NDSNDD:
		insn->fields |= X86_FIELD_VVVV_GPR;
		break;
	case ZYDIS_OPERAND_ENCODING_OPCODE:
		insn->fields |= X86_FIELD_OPCODE_GPR | (is_byte(r) ? X86_FIELD_OPCODE_BYTE : 0);
		break;
	default:
		insn->fields |= X86_FIELD_IMPLICIT_GPR;
	}
}

static uint8_t address_register(ZydisRegister r)
{
	if (r == ZYDIS_REGISTER_NONE)
		return X86_REG_NONE;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return X86_REG_RIP;
	return is_gpr(r) ? gpr_number(r) : (uint8_t)ZydisRegisterGetId(r);
}

static void fill_memory(struct x86_insn *insn, const ZydisDecodedOperand *op)
{
	if (op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM && op->encoding != ZYDIS_OPERAND_ENCODING_DISP16_32_64)
		return;
	insn->mem = (struct x86_mem){
		.present = true, .vsib = op->mem.type == ZYDIS_MEMOP_TYPE_VSIB,
		.base = address_register(op->mem.base), .index = address_register(op->mem.index),
		.scale = op->mem.scale ? op->mem.scale : 1, .size = op->size / 8, .disp = op->mem.disp.value,
	};
	if (insn->mem.base < X86_GPRS)
		insn->gpr_read |= BIT(insn->mem.base);
	if (!insn->mem.vsib && insn->mem.index < X86_GPRS)
		insn->gpr_read |= BIT(insn->mem.index);
}

static void fill_prefixes(struct x86_insn *insn, const struct sample *s)
{
	for (int i = 0; i < s->zi.raw.prefix_count; i++) {
		switch (s->zi.raw.prefixes[i].value) {
		case 0x66: insn->prefixes |= X86_PFX_OPSIZE; break;
		case 0x67: insn->prefixes |= X86_PFX_ADDRSIZE; break;
		case 0xf0: insn->prefixes |= X86_PFX_LOCK; break;
		case 0xf2: insn->prefixes |= X86_PFX_REPNE; break;
		case 0xf3: insn->prefixes |= X86_PFX_REP; break;
		default: break;
		}
	}
	if (insn->encoding == X86_ENC_LEGACY && (s->zi.attributes & ZYDIS_ATTRIB_HAS_REX))
		insn->rex = s->bytes[s->zi.raw.rex.offset];
}

static void fill_insn(struct x86_insn *insn, const struct sample *s, enum x86_mode mode)
{
	const ZydisDecodedInstruction *zi = &s->zi;

	*insn = (struct x86_insn){
		.len = zi->length, .mode = mode, .class = class_of(zi, s->op), .encoding = encoding_of(zi),
		.opsize = zi->operand_width / 8, .addrsize = zi->address_width / 8,
		.has_modrm = zi->attributes & ZYDIS_ATTRIB_HAS_MODRM,
		.modrm_off = zi->raw.modrm.offset, .disp_off = zi->raw.disp.offset, .disp_size = zi->raw.disp.size / 8,
		.spare_nop = zi->mnemonic == ZYDIS_MNEMONIC_NOP && zi->opcode_map == ZYDIS_OPCODE_MAP_0F,
		.imm_off = zi->raw.imm[0].offset, .imm_size = (zi->raw.imm[0].size + zi->raw.imm[1].size) / 8,
	};
	insn->modrm = insn->has_modrm ? s->bytes[insn->modrm_off] : 0;
	fill_opcode(insn, zi);
	fill_prefixes(insn, s);
	for (int i = 0; i < zi->operand_count; i++) {
		if (s->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER)
			fill_register(insn, &s->op[i]);
		else if (s->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			fill_memory(insn, &s->op[i]);
	}
	if (insn->has_modrm && zi->raw.imm[0].size == 0 && zi->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX &&
	    insn->modrm_off + 1 + (zi->raw.sib.offset ? 1 : 0) + insn->disp_size < insn->len) {
		insn->imm_off = insn->len - 1; // a vector register in an immediate
		insn->imm_size = 1;
	}
}

static bool random_rewrite(struct rewrite *rw, const struct x86_insn *insn)
{
	static const uint8_t scales[] = {1, 2, 4, 8};
	unsigned int how = random32() % 3;

	for (int i = 0; i < X86_GPRS; i++)
		rw->map[i] = i;
	for (int i = X86_GPRS - 1; i > 0 && how; i--) {
		int j = how == 1 ? (int)(random32() % (i + 1)) : i;
		uint8_t r = rw->map[i];

		if (how == 2 && chance(20))
			j = random32() % X86_GPRS;
		rw->map[i] = rw->map[j];
		rw->map[j] = r;
	}
	rw->has_mem = insn->mem.present && (chance(80) || insn->addrsize == 2 || insn->mem.base == X86_REG_RIP);
	rw->base = chance(5) ? X86_REG_NONE : random32() % X86_GPRS;
	rw->index = chance(50) ? X86_REG_NONE : random32() % X86_GPRS;
	if (rw->index == X86_RSP)
		rw->index = X86_REG_NONE;
	rw->scale = scales[random32() % 4];
	rw->disp = (int32_t)random32();
	rw->addr32 = chance(30);
	if (chance(60))
		rw->disp = chance(50) ? 0 : (int8_t)random32() * (1 << random32() % 7);
	if (!rw->has_mem && insn->mem.present && !insn->mem.vsib && insn->mem.index < X86_GPRS && insn->mem.scale > 1)
		return rw->map[insn->mem.index] != X86_RSP; // not encodable, refused
	return true;
}

static bool same_register(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b, const struct rewrite *rw)
{
	ZydisRegister ra = a->reg.value, rb = b->reg.value;

	if (!is_gpr(ra))
		return ra == rb || (ZydisRegisterGetClass(ra) == ZydisRegisterGetClass(rb) &&
				    (ZydisRegisterGetClass(ra) == ZYDIS_REGCLASS_FLAGS ||
				     ZydisRegisterGetClass(ra) == ZYDIS_REGCLASS_IP));
	return is_gpr(rb) && a->size == b->size && is_high_byte(ra) == is_high_byte(rb) &&
	       gpr_number(rb) == rw->map[gpr_number(ra)];
}

static bool same_own_memory(const struct x86_insn *insn, const ZydisDecodedOperand *b, const struct rewrite *rw)
{
	uint8_t base = insn->mem.base < X86_GPRS ? rw->map[insn->mem.base] : insn->mem.base;
	uint8_t index = insn->mem.index;
	uint8_t got_base = address_register(b->mem.base), got_index = address_register(b->mem.index);

	if (!insn->mem.vsib && index < X86_GPRS)
		index = rw->map[index];
	if (b->mem.disp.value != (int32_t)insn->mem.disp)
		return false;
	if (got_base == base && got_index == index)
		return index == X86_REG_NONE || b->mem.scale == insn->mem.scale;
	return got_base == index && got_index == base && b->mem.scale <= 1 && insn->mem.scale == 1;
}

static bool same_memory(const struct x86_insn *insn, const ZydisDecodedOperand *a, const ZydisDecodedOperand *b,
			const struct rewrite *rw)
{
	uint8_t index = insn->mem.vsib ? insn->mem.index : rw->index;
	uint8_t scale = insn->mem.vsib ? insn->mem.scale : rw->scale;

	if (a->mem.type != b->mem.type)
		return false;
	if (a->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM && a->encoding != ZYDIS_OPERAND_ENCODING_DISP16_32_64)
		return address_register(a->mem.base) == address_register(b->mem.base); // implicit, of strings
	if (!rw->has_mem)
		return same_own_memory(insn, b, rw);
	if (b->mem.base != ZYDIS_REGISTER_NONE &&
	    (ZydisRegisterGetClass(b->mem.base) == ZYDIS_REGCLASS_GPR32) != rw->addr32)
		return false;
	return address_register(b->mem.base) == rw->base && address_register(b->mem.index) == index &&
	       (index == X86_REG_NONE || b->mem.scale == scale) && b->mem.disp.value == rw->disp &&
	       (!insn->mem.vsib || a->mem.index == b->mem.index);
}

static bool same_operand(const struct x86_insn *insn, const ZydisDecodedOperand *a, const ZydisDecodedOperand *b,
			 const struct rewrite *rw)
{
	uint64_t mask = a->size && a->size < 64 ? BIT64(a->size) - 1 : UINT64_MAX;

	if (a->type != b->type)
		return false;
	switch (a->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return same_register(a, b, rw);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		if (a->size != b->size && a->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
			return false;
		return same_memory(insn, a, b, rw) && a->element_size == b->element_size;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return ((a->imm.value.u ^ b->imm.value.u) & mask) == 0;
	default:
		return false;
	}
}

static bool same_vector_parts(const ZydisDecodedInstructionAvx *a, const ZydisDecodedInstructionAvx *b)
{
	return a->vector_length == b->vector_length && a->mask.mode == b->mask.mode && a->mask.reg == b->mask.reg &&
	       a->broadcast.mode == b->broadcast.mode && a->rounding.mode == b->rounding.mode && a->has_sae == b->has_sae;
}

static bool same_flags(const ZydisAccessedFlags *a, const ZydisAccessedFlags *b)
{
	if (!a || !b)
		return a == b;
	return !memcmp(a, b, sizeof(*a));
}

static const char *difference(const struct x86_insn *insn, const struct sample *in, const struct sample *out,
			      const struct rewrite *rw)
{
	uint64_t kept = ZYDIS_ATTRIB_HAS_LOCK | ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE;

	if (in->zi.mnemonic != out->zi.mnemonic)
		return "mnemonic";
	if ((in->zi.attributes ^ out->zi.attributes) & kept)
		return "prefixes";
	if (in->zi.operand_count != out->zi.operand_count)
		return "operand count";
	if (!same_vector_parts(&in->zi.avx, &out->zi.avx))
		return "vector parts";
	if (!same_flags(in->zi.cpu_flags, out->zi.cpu_flags))
		return "flags";
	if (insn->spare_nop)
		return NULL; // no operand size is kept where nothing is read
	if (insn->mode != X86_MODE64 &&
	    (in->zi.mnemonic == ZYDIS_MNEMONIC_RDPID || in->zi.mnemonic == ZYDIS_MNEMONIC_VPCMPESTRI))
		return NULL; // the same 32 bits; Zydis gives the implied width of the mode
	for (int i = 0; i < in->zi.operand_count; i++)
		if (!same_operand(insn, &in->op[i], &out->op[i], rw))
			return "operand";
	return NULL;
}

static void print_bytes(const char *what, const uint8_t *bytes, int n)
{
	printf("  %s:", what);
	for (int i = 0; i < n; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

static void fail(const char *why, const struct x86_insn *insn, const struct sample *in, const uint8_t *out, int n,
		 const struct rewrite *rw)
{
	if (counts.failed++ >= 12)
		return;
	printf("FAIL %s: mode%d %s\n", why, 16 << insn->mode, ZydisMnemonicGetString(in->zi.mnemonic));
	print_bytes("in", in->bytes, insn->len);
	print_bytes("out", out, n > 0 ? n : 0);
	printf("  result %d fields %x mem %d: base %d index %d scale %d disp %x; map", n, insn->fields, rw->has_mem,
	       rw->base, rw->index, rw->scale, rw->disp);
	for (int i = 0; i < X86_GPRS; i++)
		printf(" %d", rw->map[i]);
	printf("\n");
}

static bool names_high_byte(const struct sample *s)
{
	for (int i = 0; i < s->zi.operand_count; i++)
		if (s->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER && is_high_byte(s->op[i].reg.value))
			return true;
	return false;
}

static bool map_is_identity(const struct rewrite *rw)
{
	for (int i = 0; i < X86_GPRS; i++)
		if (rw->map[i] != i)
			return false;
	return true;
}

// Refusals must have a reason: a moved implicit register, a high byte register, or no 64-bit form.
static bool refusal_is_right(int rc, const struct x86_insn *insn, const struct sample *s, const struct rewrite *rw)
{
	if (rc == REWRITE_NEED_LOW)
		return names_high_byte(s);
	if (!rewrite_supported(insn))
		return insn->class == X86_CLASS_OTHER_SYSTEM || insn->class == X86_CLASS_PUSH ||
		       insn->class == X86_CLASS_MOV_TO_SEG || insn->mode != X86_MODE64;
	if (insn->mem.present && !rw->has_mem)
		return true;
	if (insn->class == X86_CLASS_STRING && insn->addrsize == 2)
		return true;
	return (insn->fields & X86_FIELD_IMPLICIT_GPR) && !map_is_identity(rw);
}

static void check_output(const struct x86_insn *insn, const struct sample *in, const uint8_t *bytes, int n,
			 const struct rewrite *rw)
{
	struct sample out;
	const char *why;

	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[X86_MODE64], bytes, n, &out.zi, out.op)))
		why = "invalid output";
	else if (out.zi.length != n)
		why = "length";
	else
		why = difference(insn, in, &out, rw);
	if (why)
		fail(why, insn, in, bytes, n, rw);
}

static void try_decoded(const struct sample *in, const struct x86_insn *expected, const struct rewrite *rw)
{
	uint8_t bytes[REWRITE_MAX];
	struct x86_insn insn;
	int n;

	if (x86_decode(&insn, in->bytes, 15, expected->mode) <= 0 || !rewrite_supported(&insn) || insn.spare_nop)
		return;
	if ((insn.class == X86_CLASS_STRING || insn.class == X86_CLASS_MASKED) &&
	    (insn.addrsize == 2 || !map_is_identity(rw)))
		return;
	if (insn.addrsize == 4 && insn.mem.base == X86_REG_NONE && expected->mem.base != X86_REG_NONE)
		return; // Zydis 4.0 lets REX.B make a base of "no base" under 67
	n = rewrite_insn(bytes, &insn, in->bytes, rw);
	if (n > 0)
		check_output(expected, in, bytes, n, rw);
	else if (rewrite_insn(bytes, expected, in->bytes, rw) > 0)
		fail("refused as decoded", &insn, in, bytes, n, rw);
}

static void try_bytes(const uint8_t *bytes, enum x86_mode mode)
{
	uint8_t out[REWRITE_MAX];
	struct x86_insn insn;
	struct rewrite rw;
	struct sample in;
	int n;

	counts.tried++;
	memcpy(in.bytes, bytes, BYTES);
	if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[mode], bytes, 15, &in.zi, in.op)))
		return;
	counts.valid++;
	fill_insn(&insn, &in, mode);
	if (!random_rewrite(&rw, &insn))
		return;
	memset(out, 0xcc, sizeof(out));
	try_decoded(&in, &insn, &rw);
	n = rewrite_insn(out, &insn, in.bytes, &rw);
	if (n > 0) {
		counts.rewritten++;
		check_output(&insn, &in, out, n, &rw);
		return;
	}
	counts.need_low += n == REWRITE_NEED_LOW;
	counts.cannot += n == REWRITE_CANNOT;
	if (!refusal_is_right(n, &insn, &in, &rw))
		fail("refused", &insn, &in, out, n, &rw);
}

static void randomize(uint8_t *bytes)
{
	for (int i = 0; i < BYTES; i++)
		bytes[i] = random32();
}

static void try_legacy(enum x86_mode mode, int map, int opcode, int modrm, int prefix)
{
	static const uint8_t prefixes[][2] = {{0}, {0x66}, {0xf3}, {0xf2}, {0x66, 0xf2}};
	uint8_t bytes[BYTES];
	int n = 0;

	randomize(bytes);
	for (int i = 0; i < 2; i++)
		if (prefixes[prefix][i])
			bytes[n++] = prefixes[prefix][i];
	if (chance(10))
		bytes[n++] = 0xf0;
	if (chance(15))
		bytes[n++] = 0x67;
	if (mode == X86_MODE64 && chance(60))
		bytes[n++] = 0x40 | (random32() & 15);
	if (map > 0)
		bytes[n++] = 0x0f;
	if (map > 1)
		bytes[n++] = map == 2 ? 0x38 : 0x3a;
	bytes[n++] = opcode;
	bytes[n] = modrm;
	try_bytes(bytes, mode);
}

static void try_vex(enum x86_mode mode, int map, int opcode, int last)
{
	uint8_t bytes[BYTES];
	uint8_t regs = mode == X86_MODE64 ? random32() & 0xe0 : 0xe0;
	int n = 0;

	randomize(bytes);
	if (chance(50))
		last |= 0x78;
	if (mode != X86_MODE64)
		last |= 0x40;
	if (chance(15))
		bytes[n++] = 0x67;
	if (map == 1 && chance(30)) {
		bytes[n++] = 0xc5;
		bytes[n++] = (last & 0x7f) | (regs & 0x80);
	} else {
		bytes[n++] = map >= 8 ? 0x8f : 0xc4;
		bytes[n++] = regs | map;
		bytes[n++] = last;
	}
	bytes[n] = opcode;
	try_bytes(bytes, mode);
}

static void try_evex(enum x86_mode mode, int map, int opcode, int pp, int w)
{
	uint8_t bytes[BYTES];
	uint8_t regs = mode == X86_MODE64 ? random32() & 0xf0 : 0xf0;
	int n = 0;

	randomize(bytes);
	if (chance(15))
		bytes[n++] = 0x67;
	bytes[n] = 0x62;
	bytes[n + 1] = regs | map;
	bytes[n + 2] = (random32() & 0x78) | (chance(50) ? 0x78 : 0) | 4 | pp | w << 7;
	if (mode != X86_MODE64)
		bytes[n + 2] |= 0x40;
	if (chance(50))
		bytes[n + 3] |= 8;
	if (chance(30))
		bytes[n + 3] &= 0x6f;
	bytes[n + 4] = opcode;
	try_bytes(bytes, mode);
}

static void sweep_legacy(enum x86_mode mode)
{
	for (int map = 0; map < 4; map++)
		for (int opcode = 0; opcode < 256; opcode++)
			for (int prefix = 0; prefix < 5; prefix++)
				for (int modrm = 0; modrm < 256; modrm++)
					try_legacy(mode, map, opcode, modrm, prefix);
}

static void sweep_vector(enum x86_mode mode)
{
	static const int vex_maps[] = {1, 2, 3, 8, 9, 10};
	static const int evex_maps[] = {1, 2, 3, 5, 6};

	for (int opcode = 0; opcode < 256; opcode++) {
		for (size_t m = 0; m < ARRAY_SIZE(vex_maps); m++)
			for (int i = 0; i < 16 * 24; i++)
				try_vex(mode, vex_maps[m], opcode, (i & 7) | (i & 8) << 4 | (random32() & 0x78));
		for (size_t m = 0; m < ARRAY_SIZE(evex_maps); m++)
			for (int i = 0; i < 8 * 200; i++)
				try_evex(mode, evex_maps[m], opcode, i & 3, (i >> 2) & 1);
	}
}

static void sweep_random(enum x86_mode mode)
{
	uint8_t bytes[BYTES];

	for (int i = 0; i < 1000000; i++) {
		randomize(bytes);
		try_bytes(bytes, mode);
	}
}

int main(void)
{
	ZydisDecoderInit(&decoders[X86_MODE16], ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoders[X86_MODE32], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[X86_MODE64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (enum x86_mode mode = X86_MODE16; mode <= X86_MODE64; mode++) {
		sweep_legacy(mode);
		sweep_vector(mode);
		sweep_random(mode);
	}
	printf("rewrite: %" PRIu64 " tried, %" PRIu64 " valid, %" PRIu64 " rewritten, %" PRIu64 " high bytes, %" PRIu64
	       " without a form, %" PRIu64 " failed\n",
	       counts.tried, counts.valid, counts.rewritten, counts.need_low, counts.cannot, counts.failed);
	return counts.failed != 0;
}
