// SPDX-License-Identifier: MIT
//
// Generates the decoder's tables from Zydis: for every mode, opcode map, opcode and combination of the key bits
// (x86/decode_table.h) it builds a sample instruction, asks Zydis about it and turns the answer into a row. Equal rows
// and equal subtrees are shared, which makes the tables small.
// Usage: gen_decode tables.c mnemonic.h
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gen_sample.h"

enum { KEYS = 1 << KEY_BITS, ROWS_MAX = 32768, TREE_MAX = 1 << 20, HASH_SIZE = 1 << 18, GROUPS_MAX = TMAP_COUNT * 3 };

static struct x86_row rows[ROWS_MAX];
static uint32_t row_count = 1;
static uint32_t tree[TREE_MAX];
static uint32_t tree_count;
static uint32_t row_hash[HASH_SIZE];
static uint32_t node_hash[HASH_SIZE];
static uint32_t roots[GROUPS_MAX][256];
static uint16_t roots_of[TMAP_COUNT][3];
static uint8_t has_modrm[2][3][32];

/* From a key to a row. */

// Registers for a sample, all different so that no rule about equal registers is met.
static void choose_registers(struct sample *s, bool rm_matters)
{
	s->reg = s->key >> KEY_REG_SHIFT & 7;
	s->rm = rm_matters ? s->key >> KEY_RM_SHIFT & 7 : (s->reg + 1) & 7;
	s->index = (s->reg + 4) & 7;
	s->vvvv = 0;
	s->no_sib = s->rip = false;
}

static uint8_t other_vvvv(const struct sample *s)
{
	uint8_t v = 1;

	while (v == s->reg || v == s->rm || v == s->index)
		v++;
	return v;
}

static bool ask_vvvv(struct sample *s, struct x86_row *row)
{
	s->vvvv = other_vvvv(s);
	if (gen_ask(s)) {
		gen_row(row, s);
		row->flags |= ROW_VVVV;
		return true;
	}
	s->vvvv = 0;
	if (!gen_ask(s))
		return false;
	gen_row(row, s);
	return true;
}

static bool fails_with(const struct sample *s, uint8_t reg, uint8_t rm, uint8_t index, uint8_t vvvv)
{
	struct sample t = *s;

	t.reg = reg, t.rm = rm, t.index = index, t.vvvv = vvvv;
	return !gen_ask(&t);
}

static void find_register_rules(const struct sample *s, struct x86_row *row)
{
	bool vsib = row->flags & ROW_VSIB;

	if ((vsib || !is_mem(s)) && row->rm_kind != KIND_GPR && fails_with(s, s->reg, s->reg, s->reg, s->vvvv))
		row->flags |= ROW_DIFF_REG_RM;
	if (!(row->flags & ROW_VVVV))
		return;
	if (fails_with(s, s->reg, s->rm, s->index, s->reg))
		row->flags |= ROW_DIFF_REG_VVVV;
	if ((vsib || !is_mem(s)) && fails_with(s, s->reg, s->vvvv, s->vvvv, s->vvvv))
		row->flags |= ROW_DIFF_RM_VVVV;
}

static void find_memory_rules(struct sample *s, struct x86_row *row)
{
	if (!is_mem(s) || !(row->flags & ROW_MEM) || (row->flags & ROW_VSIB) || addr16(s))
		return;
	s->no_sib = true;
	if (!gen_ask(s))
		row->flags |= ROW_NEED_SIB;
	s->no_sib = false;
	s->rip = true;
	if (s->mode == X86_MODE64 && !(row->flags & ROW_NEED_SIB) && !gen_ask(s))
		row->flags |= ROW_NO_RIP;
	s->rip = false;
}

static uint32_t hash_bytes(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint32_t h = 2166136261u;

	while (n--)
		h = (h ^ *b++) * 16777619u;
	return h ^ h >> 15;
}

static uint32_t intern_row(const struct x86_row *row)
{
	uint32_t h = hash_bytes(row, sizeof(*row)) % HASH_SIZE;

	for (; row_hash[h]; h = (h + 1) % HASH_SIZE)
		if (!memcmp(&rows[row_hash[h]], row, sizeof(*row)))
			return row_hash[h];
	if (row_count == ROWS_MAX)
		gen_die("too many rows");
	rows[row_count] = *row;
	return row_hash[h] = row_count++;
}

// ModRM.rm tells instructions apart only in the legacy maps (HRESET is in 0F3A) and for TILERELEASE and TILEZERO.
static bool rm_matters(const struct sample *s)
{
	return !is_mem(s) && (s->map <= TMAP_0F3A || (s->map == TMAP_VEX2 && s->opcode == 0x49));
}

static uint32_t row_for(struct sample *s)
{
	struct x86_row row;

	choose_registers(s, rm_matters(s));
	if (is_vector(s->map) ? !ask_vvvv(s, &row) : !gen_ask(s))
		return 0;
	if (!is_vector(s->map))
		gen_row(&row, s);
	else
		find_register_rules(s, &row);
	find_memory_rules(s, &row);
	return intern_row(&row);
}

// Key bits that a map, mode and opcode does not have; the row of such a key is that of the key without them.
static uint16_t unused_bits(const struct sample *s)
{
	uint16_t unused = 0;

	if (is_evex(s->map))
		return KEY_REXB;
	if (is_vector(s->map))
		return KEY_REXB | KEY_ASIZE;
	if (s->mode != X86_MODE64)
		unused |= KEY_W;
	if (s->map != TMAP_LEGACY || s->opcode != 0x90 || s->mode != X86_MODE64)
		unused |= KEY_REXB;
	if (s->map != TMAP_LEGACY || (s->opcode & 0xfc) != 0xe0)
		unused |= KEY_ASIZE;
	return unused;
}

static void fill_keys(struct sample *s, uint32_t *f)
{
	uint16_t unused = unused_bits(s);

	for (unsigned key = 0; key < KEYS; key++) {
		uint16_t like = key & ~unused;

		if (!is_vector(s->map) && (key >> KEY_REP_SHIFT & 3) == 3)
			like &= ~(1u << KEY_REP_SHIFT);
		s->key = like;
		if (!is_evex(s->map) && !rm_matters(s))
			like &= ~(7u << KEY_RM_SHIFT);
		s->key = like;
		f[key] = like == key ? row_for(s) : f[like];
	}
}

/* From the function key -> row to a decision tree. */

static uint32_t intern_children(const uint32_t *child, unsigned n)
{
	uint32_t h = hash_bytes(child, n * sizeof(*child)) % HASH_SIZE;

	for (; node_hash[h]; h = (h + 1) % HASH_SIZE) {
		uint32_t at = node_hash[h] - 1;

		if (at + n <= tree_count && !memcmp(tree + at, child, n * sizeof(*child)))
			return at;
	}
	if (tree_count + n > TREE_MAX)
		gen_die("tree too large");
	memcpy(tree + tree_count, child, n * sizeof(*child));
	node_hash[h] = tree_count + 1;
	tree_count += n;
	return tree_count - n;
}

// Bits of the key, among those in free, that the function depends on; the others are taken from at.
static uint16_t needed_bits(const uint32_t *f, uint16_t at, uint16_t free)
{
	uint16_t needed = 0;

	for (unsigned sub = free;; sub = (sub - 1) & free) {
		for (unsigned bit = 1; bit < KEYS; bit <<= 1)
			if ((free & ~needed & bit) && f[at | sub] != f[(at | sub) ^ bit])
				needed |= bit;
		if (!sub || needed == free)
			return needed;
	}
}

static uint32_t build_tree(const uint32_t *f, uint16_t at, uint16_t free)
{
	static const uint16_t groups[] = { 0x00ff, 0x1f00 };
	uint16_t needed = needed_bits(f, at, free), group = 0;
	uint32_t child[256];
	unsigned shift, width;

	if (!needed)
		return f[at];
	for (unsigned i = 0; i < ARRAY_SIZE(groups) && !group; i++)
		group = needed & groups[i];
	shift = __builtin_ctz(group);
	width = 32 - __builtin_clz(group) - shift;
	for (unsigned i = 0; i < 1u << width; i++) {
		uint16_t bits = i << shift & free;

		child[i] = build_tree(f, at | bits, free & ~(((1u << width) - 1) << shift));
	}
	return NODE | shift << 27 | width << 23 | intern_children(child, 1u << width);
}

static void note_modrm(struct sample *s)
{
	if (s->map > TMAP_0F)
		return;
	for (unsigned key = 0; key < KEYS; key++) { // any form will do
		if (key & (KEY_W | KEY_ASIZE | KEY_REXB))
			continue;
		s->key = key;
		choose_registers(s, !is_mem(s));
		if (gen_ask(s) && s->insn.raw.modrm.offset)
			has_modrm[s->map][s->mode][s->opcode >> 3] |= 1 << (s->opcode & 7);
	}
}

static void build_map(enum x86_table_map map, enum x86_mode mode, uint32_t *root)
{
	static uint32_t f[KEYS];
	struct sample s = { .map = map, .mode = mode };

	for (unsigned opcode = 0; opcode < 256; opcode++) {
		s.opcode = opcode;
		note_modrm(&s);
		fill_keys(&s, f);
		root[opcode] = build_tree(f, 0, KEYS - 1);
	}
}

static unsigned build_all(void)
{
	unsigned n = 0;

	for (int map = 0; map < TMAP_COUNT; map++) {
		for (int mode = X86_MODE64; mode >= X86_MODE16; mode--) {
			if (mode == X86_MODE16 && map >= TMAP_VEX1) {
				roots_of[map][mode] = roots_of[map][X86_MODE32];
				continue;
			}
			build_map(map, mode, roots[n]);
			roots_of[map][mode] = n++;
		}
	}
	return n;
}

/* Printing. */

static void print_row(FILE *f, const struct x86_row *r)
{
	fprintf(f, "{%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u,%u},\n", r->mnemonic, r->flags,
		r->gpr_read, r->gpr_written, r->rflags_read, r->rflags_written, r->rflags_undefined, r->mem_size,
		r->class, r->feature, r->fields, r->actions, r->reg_kind, r->rm_kind, r->vvvv_kind, r->opsize, r->vl,
		r->mem_access, r->imm_size, r->imm2_size, r->disp8_shift, r->mask);
}

static void print_words(FILE *f, const uint32_t *w, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fprintf(f, "%#x,%s", w[i], i % 16 == 15 ? "\n" : "");
}

static void print_has_modrm(FILE *f)
{
	fprintf(f, "const uint8_t x86_has_modrm[2][3][32] = {\n");
	for (int map = 0; map < 2; map++) {
		fprintf(f, "{\n");
		for (int mode = 0; mode < 3; mode++) {
			fprintf(f, "{");
			for (int i = 0; i < 32; i++)
				fprintf(f, "%u,", has_modrm[map][mode][i]);
			fprintf(f, "},\n");
		}
		fprintf(f, "},\n");
	}
	fprintf(f, "};\n");
}

static void print_tables(FILE *f, unsigned groups)
{
	fprintf(f, "// Generated by tools/gen_decode.c from Zydis.\n#include \"x86/decode_table.h\"\n\n");
	fprintf(f, "const struct x86_row x86_rows[] = {\n");
	for (uint32_t i = 0; i < row_count; i++)
		print_row(f, &rows[i]);
	fprintf(f, "};\n\nconst uint32_t x86_tree[] = {\n");
	print_words(f, tree, tree_count);
	fprintf(f, "};\n\nconst uint32_t x86_roots[][256] = {\n");
	for (unsigned g = 0; g < groups; g++) {
		fprintf(f, "{\n");
		print_words(f, roots[g], 256);
		fprintf(f, "},\n");
	}
	fprintf(f, "};\n\nconst uint16_t x86_roots_of[TMAP_COUNT][3] = {\n");
	for (int map = 0; map < TMAP_COUNT; map++)
		fprintf(f, "{%u,%u,%u},\n", roots_of[map][0], roots_of[map][1], roots_of[map][2]);
	fprintf(f, "};\n\n");
	print_has_modrm(f);
}

static void print_mnemonics(FILE *f)
{
	fprintf(f, "// Generated by tools/gen_decode.c: the mnemonics, numbered as Zydis numbers them.\n"
		"#ifndef X86_MNEMONIC_H\n#define X86_MNEMONIC_H\n\nenum x86_mnemonic {\n");
	for (int m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
		fprintf(f, "\tX86_MNEM_");
		for (const char *c = m ? ZydisMnemonicGetString(m) : "invalid"; *c; c++)
			fputc(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c, f);
		fprintf(f, " = %d,\n", m);
	}
	fprintf(f, "};\n\n#endif\n");
}

static FILE *open_output(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f)
		gen_die(path);
	return f;
}

int main(int argc, char **argv)
{
	FILE *tables, *mnemonics;
	unsigned groups;

	if (argc != 3)
		gen_die("usage: gen_decode tables.c mnemonic.h");
	gen_init();
	tables = open_output(argv[1]);
	mnemonics = open_output(argv[2]);
	groups = build_all();
	print_tables(tables, groups);
	print_mnemonics(mnemonics);
	fprintf(stderr, "gen_decode: %u rows, %u tree entries, %u groups of roots\n", row_count, tree_count, groups);
	return fclose(tables) || fclose(mnemonics);
}
