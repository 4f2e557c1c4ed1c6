// SPDX-License-Identifier: MIT
//
// x86_decode against Zydis over the encoding space: every mode, map, opcode and ModRM byte with sets of prefixes, SIB
// bytes and vector-prefix bits. Compares validity, length, layout, memory operand, registers and flags. Places where
// the decoder means to differ are the named exceptions below. "full" as argument walks more combinations.
// Prints the first differences of each kind, and counts.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <Zydis/Zydis.h>

#include "x86/decode.h"
#include "x86/mnemonic.h"

enum { SHOWN_MAX = 60 };

static ZydisDecoder decoders[3];
static const char *const mode_names[3] = { "16", "32", "64" };
static uint64_t cases, valid_cases, differences;
static bool full;
static uint64_t seed = 88172645463325252;

struct answer {
	bool valid;
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

/* Named exceptions: Zydis accepts or says something that ringer means to do otherwise. */

static bool is_knights_corner(const struct answer *z)
{
	ZydisISASet set = z->insn.meta.isa_set;

	return set == ZYDIS_ISA_SET_KNCE || set == ZYDIS_ISA_SET_KNCJKBR || set == ZYDIS_ISA_SET_KNCSTREAM ||
		set == ZYDIS_ISA_SET_KNCV || set == ZYDIS_ISA_SET_KNC_MISC || set == ZYDIS_ISA_SET_KNC_PF_HINT;
}

static bool has_bogus_base(const struct answer *z)
{
	return z->insn.machine_mode == ZYDIS_MACHINE_MODE_LONG_64 && z->insn.address_width == 32 &&
		(z->insn.attributes & ZYDIS_ATTRIB_HAS_SIB) && z->insn.raw.modrm.mod == 0 && z->insn.raw.sib.base == 5 &&
		z->insn.raw.disp.size == 32;
}

static bool is_notrack(const struct answer *z)
{
	return z->insn.attributes & ZYDIS_ATTRIB_HAS_NOTRACK;
}

static struct exception {
	const char *name;
	bool (*is)(const struct answer *z);
	uint64_t count;
} exceptions[] = {
	{ "Knights Corner instruction in VEX encoding is invalid", is_knights_corner, 0 },
	{ "disp32 without base is disp32 without base under REX.B and 67 too", has_bogus_base, 0 },
	{ "3E overrides the segment of an indirect branch as ever, no-track or not", is_notrack, 0 },
};

static bool is_exception(const struct answer *z)
{
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++)
		if (z->valid && exceptions[i].is(z)) {
			exceptions[i].count++;
			return true;
		}
	return false;
}

/* Reporting: at most SHOWN_MAX lines, one for each kind and mnemonic. */

static void report(const char *kind, enum x86_mode mode, const uint8_t *b, const struct answer *z,
	const struct x86_insn *x, long long want, long long got)
{
	static struct { const char *kind; int mnemonic; } seen[SHOWN_MAX];
	static unsigned shown;
	int mnemonic = z->valid ? (int)z->insn.mnemonic : x->mnemonic;

	differences++;
	for (unsigned i = 0; i < shown; i++)
		if (seen[i].kind == kind && seen[i].mnemonic == mnemonic)
			return;
	if (shown == SHOWN_MAX)
		return;
	seen[shown].kind = kind;
	seen[shown++].mnemonic = mnemonic;
	printf("%-10s mode %s %-12s want %llx got %llx:", kind, mode_names[mode],
		ZydisMnemonicGetString(mnemonic), want, got);
	for (int i = 0; i < 12; i++)
		printf(" %02x", b[i]);
	printf("\n");
}

/* What Zydis says, in ringer's terms. */

static int gpr_number(ZydisRegister r)
{
	ZydisRegister full_reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);

	return full_reg >= ZYDIS_REGISTER_RAX && full_reg <= ZYDIS_REGISTER_R15 ? (int)(full_reg - ZYDIS_REGISTER_RAX) : -1;
}

static void use(uint16_t *mask, ZydisRegister r)
{
	if (gpr_number(r) >= 0)
		*mask |= BIT(gpr_number(r));
}

static void use_register(const struct answer *z, const ZydisDecodedOperand *op, uint16_t *read, uint16_t *written)
{
	bool scan = z->insn.mnemonic == ZYDIS_MNEMONIC_BSF || z->insn.mnemonic == ZYDIS_MNEMONIC_BSR;
	bool writes = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	if (writes)
		use(written, op->reg.value);
	if ((op->actions & (ZYDIS_OPERAND_ACTION_MASK_READ | ZYDIS_OPERAND_ACTION_CONDWRITE)) ||
		(writes && (scan || ZydisRegisterGetWidth(z->insn.machine_mode, op->reg.value) < 32)))
		use(read, op->reg.value);
}

static void zydis_registers(const struct answer *z, uint16_t *read, uint16_t *written)
{
	bool moves = z->insn.meta.category == ZYDIS_CATEGORY_STRINGOP || z->insn.meta.category == ZYDIS_CATEGORY_IOSTRINGOP;

	*read = *written = 0;
	for (int i = 0; i < z->insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &z->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
			use_register(z, op, read, written);
		} else if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			use(read, op->mem.base);
			use(read, op->mem.index);
			if (moves)
				use(written, op->mem.base);
		}
	}
}

static uint8_t mem_register(ZydisRegister r)
{
	int n = gpr_number(r);

	if (r == ZYDIS_REGISTER_NONE)
		return X86_REG_NONE;
	if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
		return X86_REG_RIP;
	return n >= 0 ? n : ZydisRegisterGetId(r);
}

static const ZydisDecodedOperand *explicit_memory(const struct answer *z)
{
	for (int i = 0; i < z->insn.operand_count; i++)
		if (z->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && (z->op[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
				z->op[i].encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64))
			return &z->op[i];
	return NULL;
}

/* Comparisons. */

#define SAME(kind, want, got) \
	do { \
		if ((want) != (got)) { \
			report(kind, mode, b, z, x, want, got); \
			return false; \
		} \
	} while (0)

static bool same_layout(enum x86_mode mode, const uint8_t *b, const struct answer *z, const struct x86_insn *x)
{
	bool modrm = z->insn.raw.modrm.offset;
	bool suffix = z->insn.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;

	SAME("mnemonic", z->insn.mnemonic, x->mnemonic);
	SAME("length", z->insn.length, x->len);
	if (x->class != X86_CLASS_SGX)
		SAME("addrsize", z->insn.address_width / 8, x->addrsize);
	SAME("has_modrm", modrm, x->has_modrm);
	if (modrm)
		SAME("modrm_off", z->insn.raw.modrm.offset, x->modrm_off);
	SAME("opcode", z->insn.opcode, suffix ? x->opcode : b[x->opcode_off]);
	SAME("disp_size", z->insn.raw.disp.size / 8, x->disp_size);
	SAME("disp_off", z->insn.raw.disp.size ? z->insn.raw.disp.offset : 0, x->disp_off);
	if (suffix)
		return true;
	SAME("imm_size", z->insn.raw.imm[0].size / 8, x->imm_size);
	if (x->imm_size) {
		SAME("imm_off", z->insn.raw.imm[0].offset, x->imm_off);
		SAME("imm", z->insn.raw.imm[0].value.u, x->imm);
	}
	if (z->insn.raw.imm[1].size)
		SAME("imm2", z->insn.raw.imm[1].value.u, x->imm2);
	return true;
}

// XSAVE's size depends on state; INVLPG, CLFLUSH, a 16-bit MOVSXD and the like do not access what Zydis says.
static bool has_own_size(const struct x86_insn *x)
{
	return x->class == X86_CLASS_XSAVE || x->class == X86_CLASS_INVLPG || x->mnemonic == X86_MNEM_CLFLUSH ||
		x->mnemonic == X86_MNEM_CLFLUSHOPT || x->mnemonic == X86_MNEM_CLWB ||
		(x->mnemonic == X86_MNEM_MOVSXD && x->opsize == 2);
}

static bool same_memory(enum x86_mode mode, const uint8_t *b, const struct answer *z, const struct x86_insn *x)
{
	const ZydisDecodedOperand *m = explicit_memory(z);
	unsigned access = 0;
	bool vsib;

	SAME("mem", m != NULL, x->mem.present);
	if (!m)
		return true;
	vsib = m->mem.type == ZYDIS_MEMOP_TYPE_VSIB;
	if (m->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
		SAME("seg", ZydisRegisterGetId(m->mem.segment), x->mem.seg);
	SAME("base", mem_register(m->mem.base), x->mem.base);
	SAME("index", mem_register(m->mem.index), x->mem.index);
	SAME("scale", m->mem.index == ZYDIS_REGISTER_NONE ? 1 : m->mem.scale, x->mem.scale);
	if (m->encoding == ZYDIS_OPERAND_ENCODING_DISP16_32_64)
		SAME("moffs", (uint64_t)m->mem.disp.value & (~UINT64_C(0) >> (64 - 8 * x->addrsize)), (uint64_t)x->mem.disp);
	else
		SAME("disp", m->mem.disp.value, x->mem.disp);
	SAME("vsib", vsib, x->mem.vsib);
	if (!has_own_size(x) && m->mem.type != ZYDIS_MEMOP_TYPE_AGEN)
		SAME("size", (vsib ? m->element_size : m->size) / 8, x->mem.size);
	if (m->mem.type != ZYDIS_MEMOP_TYPE_AGEN && !x->spare_nop)
		access = (m->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? X86_READ : 0) |
			(m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? X86_WRITE : 0);
	if (!has_own_size(x))
		SAME("access", access, x->mem.access);
	return true;
}

static bool same_registers(enum x86_mode mode, const uint8_t *b, const struct answer *z, const struct x86_insn *x)
{
	uint16_t read, written;

	if (x->spare_nop)
		return true;
	zydis_registers(z, &read, &written);
	SAME("gpr_read", read, x->gpr_read);
	SAME("gpr_written", written, x->gpr_written);
	return true;
}

static bool same_flags(enum x86_mode mode, const uint8_t *b, const struct answer *z, const struct x86_insn *x)
{
	static const ZydisAccessedFlags none;
	const ZydisAccessedFlags *f = z->insn.cpu_flags ? z->insn.cpu_flags : &none;
	unsigned changed = f->modified | f->set_0 | f->set_1 | f->undefined;

	if (x->spare_nop || ((x->flags_written | x->flags_undefined) == 0 && x->imm_size == 1 && changed))
		return true; // a shift by 0
	SAME("flags read", f->tested & ~x->flags_read & 0xfff, 0u);
	SAME("flags changed", changed & 0xfff, (unsigned)(x->flags_written | x->flags_undefined));
	return true;
}

static void compare(enum x86_mode mode, const uint8_t *b)
{
	struct answer zs, *z = &zs;
	struct x86_insn xs, *x = &xs;
	int len = x86_decode(x, b, 15, mode);

	cases++;
	z->valid = ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[mode], b, 15, &z->insn, z->op));
	if (is_exception(z))
		return;
	if (z->valid != (len > 0)) {
		report("validity", mode, b, z, x, z->valid, len > 0);
		return;
	}
	if (!z->valid)
		return;
	valid_cases++;
	if (same_layout(mode, b, z, x) && same_memory(mode, b, z, x) && same_registers(mode, b, z, x))
		same_flags(mode, b, z, x);
}

// The same bytes cut short must be asked for in whole, and must not be read beyond the cut.
static void check_cut(enum x86_mode mode, const uint8_t *b)
{
	struct x86_insn x, y;
	int len = x86_decode(&x, b, 15, mode);
	uint8_t copy[15];

	for (int n = 0; n < len; n++) {
		memcpy(copy, b, n);
		if (x86_decode(&y, copy, n, mode) != 0) {
			printf("cut to %d of %d bytes is not asked for: opcode %02x\n", n, len, x.opcode);
			differences++;
			return;
		}
	}
}

/* Walks over the encoding space. tail is what follows the opcode: ModRM, SIB and some bytes. */

static const uint8_t sibs[] = { 0x00, 0x25, 0x64, 0xa5, 0x8d, 0xe4, 0x1c, 0xf7, 0x05 };

static void put_tail(uint8_t *b, unsigned modrm, unsigned variant)
{
	uint64_t r = random64();

	b[0] = modrm;
	b[1] = sibs[variant % ARRAY_SIZE(sibs)];
	memcpy(b + 2, &r, 8);
	if (variant % 3 == 0)
		memset(b + 3, 0x81, 2);
}

static bool has_sib(unsigned modrm)
{
	return modrm < 0xc0 && (modrm & 7) == 4;
}

static void walk_modrm(enum x86_mode mode, uint8_t *b, size_t n, unsigned step)
{
	for (unsigned modrm = step > 1 ? random64() % step : 0; modrm < 256; modrm += step) {
		unsigned variants = has_sib(modrm) ? full ? ARRAY_SIZE(sibs) : 2 : 1;

		for (unsigned v = 0; v < variants; v++) {
			put_tail(b + n, modrm, full ? v : random64() % ARRAY_SIZE(sibs));
			compare(mode, b);
		}
	}
	check_cut(mode, b);
}

static void walk_legacy_opcodes(enum x86_mode mode, const uint8_t *prefixes, size_t n, unsigned step)
{
	static const uint8_t escapes[4][2] = { { 0, 0 }, { 0x0f, 0 }, { 0x0f, 0x38 }, { 0x0f, 0x3a } };
	uint8_t b[32];

	memcpy(b, prefixes, n);
	for (unsigned map = 0; map < 4; map++) {
		size_t e = map == 0 ? 0 : map == 1 ? 1 : 2;

		memcpy(b + n, escapes[map], e);
		for (unsigned opcode = 0; opcode < 256; opcode++) {
			b[n + e] = opcode;
			walk_modrm(mode, b, n + e + 1, step);
		}
	}
}

static void walk_legacy(enum x86_mode mode)
{
	static const char *const sets[] = { "", "\x66", "\xf3", "\xf2", "\x66\xf3", "\xf2\x66", "\x67", "\xf0",
		"\x64\x66\x67", "\xf2\xf3", "\xf3\xf2\x66", "\x2e\x65", "\x65\x3e", "\xf0\x66\xf3", "\x36\xf0\xf2" };
	static const uint8_t rexes[] = { 0, 0x48, 0x40, 0x45, 0x4f, 0x42, 0x41, 0x44, 0x49, 0x4c };
	unsigned rex_count = mode != X86_MODE64 ? 1 : ARRAY_SIZE(rexes);

	for (size_t s = 0; s < ARRAY_SIZE(sets); s++) {
		for (unsigned r = 0; r < rex_count; r++) {
			uint8_t prefixes[8] = { 0 };
			size_t n = strlen(sets[s]);
			bool main_set = s < 6 && r < 2;

			memcpy(prefixes, sets[s], n);
			if (rexes[r])
				prefixes[n++] = rexes[r];
			walk_legacy_opcodes(mode, prefixes, n, full || main_set ? 1 : 19);
		}
	}
}

static void walk_vex(enum x86_mode mode, uint8_t escape, unsigned map, unsigned step)
{
	uint8_t b[32] = { escape };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		for (unsigned p = 0; p < 256; p += full ? 1 : 2 * (random64() % 4) + 1) {
			b[1] = (full || random64() % 3 == 0 ? random64() & 0xe0 : 0xe0) | map;
			b[2] = !full && random64() % 2 ? p | 0x78 : p;
			b[3] = opcode;
			if (mode != X86_MODE64 && escape != 0x8f)
				b[1] |= 0xc0;
			walk_modrm(mode, b, 4, step);
		}
	}
}

static void walk_vex2(enum x86_mode mode)
{
	uint8_t b[32] = { 0xc5 };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		for (unsigned p = mode == X86_MODE64 ? 0 : 0xc0; p < 256; p += full ? 1 : 5) {
			b[1] = p;
			b[2] = opcode;
			walk_modrm(mode, b, 3, full ? 1 : 23);
		}
	}
}

static void walk_evex(enum x86_mode mode, unsigned map)
{
	uint8_t b[32] = { 0x62 };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		for (unsigned i = 0; i < (full ? 8192u : 512u); i++) { // pp W L'L b z aaa exhaustively, the rest at random
			bool plain = random64() % 2;

			b[1] = (plain ? 0xf0 : random64() & 0xf0) | map;
			b[2] = (i & 3) | (i & 4 ? 0x80 : 0) | (plain ? 0x7c : (random64() & 0x78) | (random64() % 32 ? 4 : 0));
			b[3] = (i & 8 ? 0x10 : 0) | (i >> 4 & 3) << 5 | (i & 64 ? 0x80 : 0) | (i & 128 ? random64() & 7 : 0) |
				(plain ? 8 : random64() & 8);
			b[4] = opcode;
			if (mode != X86_MODE64)
				b[1] |= 0xc0;
			walk_modrm(mode, b, 5, full ? 7 : 61);
		}
	}
}

static void walk_prefixed_vectors(enum x86_mode mode)
{
	static const uint8_t prefixes[] = { 0x66, 0xf2, 0xf3, 0xf0, 0x48, 0x67, 0x64 };
	static const uint8_t vectors[][6] = { { 0xc5, 0xf8, 0x58 }, { 0xc4, 0xe1, 0x78, 0x58 },
		{ 0x62, 0xf1, 0x7c, 0x48, 0x58 }, { 0x8f, 0xe9, 0x78, 0x80 }, { 0xc5, 0xf8, 0x77 } };
	uint8_t b[32] = { 0 };

	for (size_t p = 0; p < ARRAY_SIZE(prefixes); p++)
		for (size_t v = 0; v < ARRAY_SIZE(vectors); v++) {
			b[0] = prefixes[p];
			memcpy(b + 1, vectors[v], 6);
			walk_modrm(mode, b, v == 2 ? 6 : v == 0 ? 4 : 5, 1);
		}
}

static void walk_random(enum x86_mode mode, unsigned n)
{
	uint8_t b[16];

	while (n--) {
		uint64_t r[2] = { random64(), random64() };

		memcpy(b, r, 16);
		compare(mode, b);
	}
}

int main(int argc, char **argv)
{
	static const uint8_t evex_maps[] = { 1, 2, 3, 5, 6, 0, 4, 7 };

	full = argc > 1 && !strcmp(argv[1], "full");
	ZydisDecoderInit(&decoders[X86_MODE16], ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16);
	ZydisDecoderInit(&decoders[X86_MODE32], ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisDecoderInit(&decoders[X86_MODE64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (int mode = X86_MODE64; mode >= X86_MODE16; mode--) {
		ZydisDecoderEnableMode(&decoders[mode], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
		ZydisDecoderEnableMode(&decoders[mode], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
		walk_legacy(mode);
		walk_vex2(mode);
		for (unsigned map = 0; map < 5; map++)
			walk_vex(mode, 0xc4, map, full ? 1 : 29);
		for (unsigned map = 8; map < 12; map++)
			walk_vex(mode, 0x8f, map, full ? 1 : 83);
		for (size_t i = 0; i < ARRAY_SIZE(evex_maps); i++)
			walk_evex(mode, evex_maps[i]);
		walk_prefixed_vectors(mode);
		walk_random(mode, 500000);
	}
	printf("%llu cases, %llu valid, %llu differences\n", (unsigned long long)cases, (unsigned long long)valid_cases,
		(unsigned long long)differences);
	for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++)
		printf("%10llu  %s\n", (unsigned long long)exceptions[i].count, exceptions[i].name);
	return differences != 0;
}
