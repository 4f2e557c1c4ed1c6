// SPDX-License-Identifier: MIT
//
// Which instruction forms there are: every encoding (maps, opcodes, prefixes that choose, W, vector length, broadcast,
// ModRM.reg, memory or register) goes through x86_decode, and what the decoder tells apart is a form. So the rows are
// those of the decoder's tables, and a form the decoder gains is tested without being listed here.
#include <cpuid.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "difftest.h"
#include "mnemonic_names.h"
#include "x86/features.h"

enum { HASH_SIZE = 1 << 16 };

// Classes that are not simply run: privileged ones must fault, the rest gives no reproducible result.
static const uint8_t class_policy[X86_CLASS_COUNT] = {
	[X86_CLASS_INS] = POLICY_PRIVILEGED, [X86_CLASS_OUTS] = POLICY_PRIVILEGED, [X86_CLASS_IN] = POLICY_PRIVILEGED,
	[X86_CLASS_OUT] = POLICY_PRIVILEGED, [X86_CLASS_CLI] = POLICY_PRIVILEGED, [X86_CLASS_STI] = POLICY_PRIVILEGED,
	[X86_CLASS_CLTS] = POLICY_PRIVILEGED, [X86_CLASS_HLT] = POLICY_PRIVILEGED, [X86_CLASS_CLAC] = POLICY_PRIVILEGED,
	[X86_CLASS_STAC] = POLICY_PRIVILEGED, [X86_CLASS_MOV_FROM_CR] = POLICY_PRIVILEGED,
	[X86_CLASS_MOV_TO_CR] = POLICY_PRIVILEGED, [X86_CLASS_MOV_FROM_DR] = POLICY_PRIVILEGED,
	[X86_CLASS_MOV_TO_DR] = POLICY_PRIVILEGED, [X86_CLASS_LMSW] = POLICY_PRIVILEGED,
	[X86_CLASS_LGDT] = POLICY_PRIVILEGED, [X86_CLASS_LIDT] = POLICY_PRIVILEGED,
	[X86_CLASS_LLDT] = POLICY_PRIVILEGED, [X86_CLASS_LTR] = POLICY_PRIVILEGED,
	[X86_CLASS_SYSRET] = POLICY_PRIVILEGED, [X86_CLASS_SYSEXIT] = POLICY_PRIVILEGED,
	[X86_CLASS_RDMSR] = POLICY_PRIVILEGED, [X86_CLASS_WRMSR] = POLICY_PRIVILEGED,
	[X86_CLASS_SWAPGS] = POLICY_PRIVILEGED, [X86_CLASS_INVLPG] = POLICY_PRIVILEGED,
	[X86_CLASS_INVPCID] = POLICY_PRIVILEGED, [X86_CLASS_INVD] = POLICY_PRIVILEGED,
	[X86_CLASS_WBINVD] = POLICY_PRIVILEGED, [X86_CLASS_XSETBV] = POLICY_PRIVILEGED,
	[X86_CLASS_CPUID] = POLICY_UNTESTED, [X86_CLASS_RDTSC] = POLICY_UNTESTED,
	[X86_CLASS_RDTSCP] = POLICY_UNTESTED, [X86_CLASS_RDPID] = POLICY_UNTESTED,
	[X86_CLASS_RDRAND] = POLICY_UNTESTED, [X86_CLASS_XGETBV] = POLICY_UNTESTED,
	[X86_CLASS_RDPKRU] = POLICY_UNTESTED, [X86_CLASS_WRPKRU] = POLICY_UNTESTED,
	[X86_CLASS_SMSW] = POLICY_UNTESTED, [X86_CLASS_SGDT] = POLICY_UNTESTED, [X86_CLASS_SIDT] = POLICY_UNTESTED,
	[X86_CLASS_SLDT] = POLICY_UNTESTED, [X86_CLASS_STR] = POLICY_UNTESTED, [X86_CLASS_TSX] = POLICY_UNTESTED,
	[X86_CLASS_SYSENTER] = POLICY_UNTESTED, [X86_CLASS_MWAIT] = POLICY_UNTESTED,
	[X86_CLASS_MONITOR] = POLICY_UNTESTED, [X86_CLASS_AMX] = POLICY_UNTESTED,
	[X86_CLASS_INVALID] = POLICY_SYSTEM, [X86_CLASS_RDPMC] = POLICY_SYSTEM, [X86_CLASS_RSM] = POLICY_SYSTEM,
	[X86_CLASS_GETSEC] = POLICY_SYSTEM, [X86_CLASS_VMX] = POLICY_SYSTEM, [X86_CLASS_SVM] = POLICY_SYSTEM,
	[X86_CLASS_SGX] = POLICY_SYSTEM, [X86_CLASS_CET] = POLICY_SYSTEM, [X86_CLASS_UINTR] = POLICY_SYSTEM,
	[X86_CLASS_KEYLOCKER] = POLICY_SYSTEM, [X86_CLASS_OTHER_SYSTEM] = POLICY_SYSTEM,
};

static uint64_t enumeration_random = 88172645463325252;

static uint32_t random_below(uint32_t n)
{
	enumeration_random ^= enumeration_random << 13;
	enumeration_random ^= enumeration_random >> 7;
	enumeration_random ^= enumeration_random << 17;
	return (enumeration_random >> 20) % n;
}

enum policy forms_policy(const struct x86_insn *insn)
{
	if ((insn->feature == X86_FEATURE_MOVDIR64B && insn->mem.size == 64) || insn->feature == X86_FEATURE_CLZERO)
		return POLICY_RUN;
	if (insn->class == X86_CLASS_SYSCALL && !is_code64() && code_mode & X86_AMD)
		return POLICY_UNTESTED; // a way into Linux, which returns into the vDSO
	if (insn->class == X86_CLASS_INT1 && code_mode & X86_AMD)
		return POLICY_UNTESTED; // a KVM on such a processor has it trap where it stands: see linux/signals.c
	return class_policy[insn->class];
}

static bool cpuid_bit(const struct x86_cpuid_bit *b)
{
	uint32_t r[4] = {0};

	if (!__get_cpuid_count(b->leaf, b->subleaf, &r[0], &r[1], &r[2], &r[3]))
		return false;
	return r[b->reg] & BIT(b->bit);
}

static bool cpuid_offers(unsigned int feature)
{
	for (int i = 0; i < 3 && x86_feature_bits[feature][i].leaf; i++)
		if (!cpuid_bit(&x86_feature_bits[feature][i]))
			return false;
	return true;
}

bool feature_offered(unsigned int feature)
{
	static uint8_t known[X86_FEATURE_COUNT];

	if (!known[feature])
		known[feature] = cpuid_offers(feature) ? 2 : 1;
	return known[feature] == 2;
}

// Has the system turned on the state these registers need?
bool feature_vectors_enabled(const struct form_key *key)
{
	uint64_t mask = execute_xsave_mask();

	if (key->encoding == X86_ENC_EVEX || key->class == X86_CLASS_AVX512)
		return (mask & 0xe6) == 0xe6;
	if (key->vl || key->class == X86_CLASS_AVX)
		return key->encoding == X86_ENC_LEGACY || (mask & 6) == 6;
	return true;
}

void forms_key(struct form_key *key, const struct x86_insn *insn, const uint8_t *bytes)
{
	memset(key, 0, sizeof(*key));
	key->mnemonic = insn->mnemonic;
	key->feature = insn->feature;
	key->encoding = insn->encoding;
	key->map = insn->map;
	key->opcode = insn->fields & X86_FIELD_OPCODE_GPR ? insn->opcode & ~7 : insn->opcode;
	if (insn->class == X86_CLASS_X87 && insn->modrm >= 0xc0)
		key->mem = 2;
	key->class = insn->class;
	key->opsize = insn->opsize;
	key->vl = insn->vl;
	key->fields = insn->fields;
	key->imm_size = insn->imm_size;
	key->lock = (insn->prefixes & X86_PFX_LOCK) != 0;
	if (insn->class == X86_CLASS_STRING || insn->class == X86_CLASS_INS || insn->class == X86_CLASS_OUTS)
		key->rep = insn->prefixes & (X86_PFX_REP | X86_PFX_REPNE);
	if (insn->mem.present)
		key->mem = 1;
	key->mem_size = insn->mem.size;
	key->vsib = insn->mem.vsib;
	if (insn->encoding == X86_ENC_EVEX)
		key->b = (bytes[insn->opcode_off - 1] >> 4) & 1;
}

static uint32_t key_hash(const struct form_key *key)
{
	const uint8_t *p = (const uint8_t *)key;
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < sizeof(*key); i++)
		h = (h ^ p[i]) * 16777619u;
	return h;
}

static const char *encoding_name(const struct form_key *key)
{
	static const char *const names[] = {"", "vex.", "evex.", "xop.", "3dnow."};

	return names[key->encoding];
}

static void name_form(struct form *f)
{
	const struct form_key *k = &f->key;
	char *p = f->name, *end = f->name + sizeof(f->name);

	p += snprintf(p, end - p, "%s%s%s.%x%02x", is_code64() ? "" : "c32.", encoding_name(k),
		      mnemonic_names[k->mnemonic], k->map, k->opcode);
	if (k->lock)
		p += snprintf(p, end - p, ".lock");
	if (k->rep)
		p += snprintf(p, end - p, k->rep & X86_PFX_REP ? ".rep" : ".repne");
	if (k->opsize)
		p += snprintf(p, end - p, ".o%d", k->opsize);
	if (k->vl)
		p += snprintf(p, end - p, ".v%d", k->vl);
	if (k->mem == 1)
		p += snprintf(p, end - p, ".m%d", k->mem_size);
	if (k->b)
		p += snprintf(p, end - p, ".b");
	if (k->imm_size)
		snprintf(p, end - p, ".i%d", k->imm_size);
	for (p = f->name; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p += 'a' - 'A';
}

static struct form *find_form(struct forms *forms, const struct form_key *key)
{
	uint32_t h = key_hash(key) % HASH_SIZE;
	struct form *f;

	for (; forms->hash[h]; h = (h + 1) % HASH_SIZE)
		if (!memcmp(&forms->form[forms->hash[h] - 1].key, key, sizeof(*key)))
			return &forms->form[forms->hash[h] - 1];
	if (forms->count == forms->room) {
		forms->room = forms->room ? forms->room * 2 : 4096;
		forms->form = realloc(forms->form, forms->room * sizeof(*forms->form));
		if (!forms->form)
			abort();
	}
	f = &forms->form[forms->count++];
	memset(f, 0, sizeof(*f));
	f->key = *key;
	forms->hash[h] = forms->count;
	return f;
}

static void add_shape(struct forms *forms, const struct shape *s, const struct x86_insn *insn, const uint8_t *bytes)
{
	struct form_key key;
	struct form *f;

	forms_key(&key, insn, bytes);
	f = find_form(forms, &key);
	if (!f->seen++) {
		f->policy = forms_policy(insn);
		f->supported = feature_offered(key.feature) && feature_vectors_enabled(&key);
		f->has_modrm = insn->has_modrm;
		name_form(f);
	}
	if (f->shapes < FORM_SHAPES)
		f->shape[f->shapes++] = *s;
	else if (random_below(f->seen) < FORM_SHAPES)
		f->shape[random_below(FORM_SHAPES)] = *s;
}

static unsigned int put_prefix(const struct shape *s, uint8_t *p)
{
	unsigned int n = 0;

	switch (s->encoding) {
	case X86_ENC_LEGACY:
		if (s->lock)
			p[n++] = 0xf0;
		if (s->pp & SHAPE_66)
			p[n++] = 0x66;
		if (s->pp & (SHAPE_F3 | SHAPE_F2))
			p[n++] = s->pp & SHAPE_F3 ? 0xf3 : 0xf2;
		if (s->w)
			p[n++] = 0x48;
		if (s->map)
			p[n++] = 0x0f;
		if (s->map > 1)
			p[n++] = s->map == 2 ? 0x38 : 0x3a;
		break;
	case X86_ENC_VEX:
	case X86_ENC_XOP:
		p[n++] = s->encoding == X86_ENC_VEX ? 0xc4 : 0x8f;
		p[n++] = 0xe0 | s->map;
		p[n++] = s->w << 7 | 0x78 | s->ll << 2 | s->pp;
		break;
	default:
		p[n++] = 0x62;
		p[n++] = 0xf0 | s->map;
		p[n++] = s->w << 7 | 0x7c | s->pp;
		p[n++] = s->ll << 5 | s->b << 4 | 8 | (s->masked ? 1 : 0);
	}
	return n;
}

// vvvv unused must be all ones, gathers want registers that differ: a few fillings of the rest are tried.
static bool try_shape(struct forms *forms, struct shape *s)
{
	uint8_t bytes[32] = {0};
	unsigned int n = put_prefix(s, bytes);
	struct x86_insn insn;

	bytes[n] = s->opcode;
	bytes[n + 1] = s->modrm;
	bytes[n + 2] = 0x08; // SIB: rax + rcx
	if (x86_decode(&insn, bytes, 15, code_mode) <= 0) {
		if (s->encoding == X86_ENC_LEGACY)
			return false;
		if (s->encoding == X86_ENC_EVEX)
			bytes[n - 2] ^= 0x28; // another vvvv
		else
			bytes[n - 1] ^= 0x28;
		if (x86_decode(&insn, bytes, 15, code_mode) <= 0)
			return false;
	}
	add_shape(forms, s, &insn, bytes);
	return true;
}

static void try_modrms(struct forms *forms, struct shape *s)
{
	for (int reg = 0; reg < 8; reg++) {
		s->modrm = reg << 3 | 4;
		try_shape(forms, s);
		for (int rm = 0; rm < 8; rm++) {
			s->modrm = 0xc0 | reg << 3 | rm;
			try_shape(forms, s);
		}
	}
}

static bool is_prefix_or_escape(int opcode)
{
	if (is_code64() && ((opcode >= 0x40 && opcode <= 0x4f) || opcode == 0x62 || opcode == 0xc4 || opcode == 0xc5))
		return true;
	return opcode == 0x0f || opcode == 0x26 || opcode == 0x2e || opcode == 0x36 || opcode == 0x3e ||
	       (opcode >= 0x64 && opcode <= 0x67) || opcode == 0xf0 || opcode == 0xf2 || opcode == 0xf3;
}

// F2 and F3 mean nothing to most one-byte opcodes.
static bool takes_rep(int map, int opcode)
{
	return map || (opcode >= 0xa4 && opcode <= 0xaf) || (opcode >= 0x6c && opcode <= 0x6f) || opcode == 0x90;
}

static void sweep_legacy(struct forms *forms)
{
	struct shape s = {.encoding = X86_ENC_LEGACY};

	for (int map = 0; map < 4; map++) {
		for (int opcode = 0; opcode < 256; opcode++) {
			if (map == 0 && is_prefix_or_escape(opcode))
				continue;
			if (map == 1 && (opcode == 0x38 || opcode == 0x3a))
				continue;
			for (int i = 0; i < 24; i++) {
				static const uint8_t prefixes[] = {0, SHAPE_66, SHAPE_F3, SHAPE_F2, SHAPE_66 | SHAPE_F3,
								   SHAPE_66 | SHAPE_F2};

				s.map = map;
				s.opcode = opcode;
				s.pp = prefixes[i % 6];
				s.w = i / 6 & 1;
				s.lock = i / 12;
				if (s.w && !is_code64())
					continue;
				if ((s.pp & (SHAPE_F2 | SHAPE_F3)) && (!takes_rep(map, opcode) || s.lock))
					continue;
				try_modrms(forms, &s);
			}
		}
	}
}

static void sweep_vector(struct forms *forms)
{
	static const uint8_t maps[][3] = {{X86_ENC_VEX, 1, 3}, {X86_ENC_XOP, 8, 10}, {X86_ENC_EVEX, 1, 6}};
	struct shape s = {0};

	for (size_t e = 0; e < ARRAY_SIZE(maps); e++) {
		bool evex = maps[e][0] == X86_ENC_EVEX;

		s.encoding = maps[e][0];
		for (s.map = maps[e][1]; s.map <= maps[e][2]; s.map++) {
			for (int opcode = 0; opcode < 256; opcode++) {
				s.opcode = opcode;
				for (int i = 0; i < (evex ? 96 : 16); i++) {
					s.pp = i & 3;
					s.w = i >> 2 & 1;
					s.ll = evex ? i / 32 : i >> 3;
					s.b = evex && (i & 8);
					s.masked = evex && (i & 16);
					try_modrms(forms, &s);
				}
			}
		}
	}
}

static int by_name(const void *a, const void *b)
{
	const struct form *fa = a, *fb = b;
	int order = strcmp(fa->name, fb->name);

	return order ? order : memcmp(&fa->key, &fb->key, sizeof(fa->key));
}

// Forms that differ in what a name does not say get a number.
static void number_duplicates(struct forms *forms)
{
	char base[64] = "";
	int n = 0;

	for (size_t i = 0; i < forms->count; i++) {
		struct form *f = &forms->form[i];
		size_t length = strlen(f->name);

		if (strcmp(f->name, base)) {
			strcpy(base, f->name);
			n = 1;
			continue;
		}
		if (length < sizeof(f->name) - 4)
			snprintf(f->name + length, sizeof(f->name) - length, "#%d", ++n);
	}
}

void forms_collect(struct forms *forms)
{
	*forms = (struct forms){.hash = calloc(HASH_SIZE, sizeof(*forms->hash))};
	if (!forms->hash)
		abort();
	sweep_legacy(forms);
	sweep_vector(forms);
	free(forms->hash);
	qsort(forms->form, forms->count, sizeof(*forms->form), by_name);
	number_duplicates(forms);
}
