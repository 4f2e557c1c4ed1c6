// SPDX-License-Identifier: MIT
//
// shadow/sensitive.c against the decoder: of every instruction whose first three bytes can be enumerated, with several
// prefixes, the search and the decoder's class agree on whether it is sensitive. Which class is what stands in a table
// here. Then places: at every offset, over the end of a page, within other instructions and right behind any.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shadow/sensitive.h"
#include "x86/decode.h"
#include "x86/mnemonic.h"

static unsigned failures;
static uint64_t seed = 88172645463325252;
static uint8_t low[PAGE_SIZE], high[PAGE_SIZE];

#define CHECK(x, ...) \
	do { \
		if (!(x) && failures++ < 20) { \
			printf("line %d: ", __LINE__); \
			printf(__VA_ARGS__); \
			printf("\n"); \
		} \
	} while (0)

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

// -- the decoder's opinion

enum kind {
	RUNS,    // natively as in the guest
	FAULTS,  // at CPL 3, always
	HANDLED, // by direct execution
	SENSITIVE,
};

static const uint8_t kind_of_class[X86_CLASS_COUNT] = {
	[X86_CLASS_INVALID] = FAULTS, [X86_CLASS_UD] = FAULTS, [X86_CLASS_IN] = FAULTS, [X86_CLASS_OUT] = FAULTS,
	[X86_CLASS_INS] = FAULTS, [X86_CLASS_OUTS] = FAULTS, [X86_CLASS_CLI] = FAULTS, [X86_CLASS_STI] = FAULTS,
	[X86_CLASS_CLTS] = FAULTS, [X86_CLASS_HLT] = FAULTS, [X86_CLASS_CLAC] = FAULTS, [X86_CLASS_STAC] = FAULTS,
	[X86_CLASS_MOV_FROM_CR] = FAULTS, [X86_CLASS_MOV_TO_CR] = FAULTS, [X86_CLASS_MOV_FROM_DR] = FAULTS,
	[X86_CLASS_MOV_TO_DR] = FAULTS, [X86_CLASS_LMSW] = FAULTS, [X86_CLASS_LGDT] = FAULTS, [X86_CLASS_LIDT] = FAULTS,
	[X86_CLASS_LLDT] = FAULTS, [X86_CLASS_LTR] = FAULTS, [X86_CLASS_RDMSR] = FAULTS, [X86_CLASS_WRMSR] = FAULTS,
	[X86_CLASS_SWAPGS] = FAULTS, [X86_CLASS_INVLPG] = FAULTS, [X86_CLASS_INVPCID] = FAULTS, [X86_CLASS_INVD] = FAULTS,
	[X86_CLASS_WBINVD] = FAULTS, [X86_CLASS_SYSRET] = FAULTS, [X86_CLASS_SYSEXIT] = FAULTS, [X86_CLASS_XSETBV] = FAULTS,
	[X86_CLASS_RSM] = FAULTS, [X86_CLASS_CET] = FAULTS, [X86_CLASS_KEYLOCKER] = FAULTS, [X86_CLASS_AMX] = FAULTS,
	[X86_CLASS_SYSCALL] = HANDLED, [X86_CLASS_PUSHF] = HANDLED,
	[X86_CLASS_POPF] = HANDLED, [X86_CLASS_PUSH_SEG] = HANDLED, [X86_CLASS_POP_SEG] = HANDLED,
	[X86_CLASS_MOV_FROM_SEG] = HANDLED, [X86_CLASS_MOV_TO_SEG] = HANDLED, [X86_CLASS_LOAD_FAR_PTR] = HANDLED,
	[X86_CLASS_JMP_FAR] = HANDLED, [X86_CLASS_CALL_FAR] = HANDLED, [X86_CLASS_RET_FAR] = HANDLED,
	[X86_CLASS_IRET] = HANDLED,
	[X86_CLASS_INT1] = HANDLED, [X86_CLASS_INT3] = HANDLED,
	[X86_CLASS_RDTSC] = SENSITIVE, [X86_CLASS_RDTSCP] = SENSITIVE,
	[X86_CLASS_CPUID] = SENSITIVE, [X86_CLASS_SLDT] = SENSITIVE, [X86_CLASS_STR] = SENSITIVE,
	[X86_CLASS_VERR] = SENSITIVE,
	[X86_CLASS_VERW] = SENSITIVE, [X86_CLASS_SGDT] = SENSITIVE, [X86_CLASS_SIDT] = SENSITIVE,
	[X86_CLASS_SMSW] = SENSITIVE,
	[X86_CLASS_LAR] = SENSITIVE, [X86_CLASS_LSL] = SENSITIVE, [X86_CLASS_RDPMC] = SENSITIVE,
	[X86_CLASS_RDPID] = SENSITIVE,
	[X86_CLASS_SYSENTER] = SENSITIVE, [X86_CLASS_GETSEC] = SENSITIVE, [X86_CLASS_RDPKRU] = SENSITIVE,
	[X86_CLASS_WRPKRU] = SENSITIVE, [X86_CLASS_SVM] = SENSITIVE, [X86_CLASS_XGETBV] = SENSITIVE,
	[X86_CLASS_XSAVE] = SENSITIVE,
	[X86_CLASS_RDFSBASE] = SENSITIVE, [X86_CLASS_RDGSBASE] = SENSITIVE, [X86_CLASS_WRFSBASE] = SENSITIVE,
	[X86_CLASS_WRGSBASE] = SENSITIVE, [X86_CLASS_SGX] = SENSITIVE,
};

static enum kind kind_of(const struct x86_insn *x)
{
	bool group7 = x->encoding == X86_ENC_LEGACY && x->map == 1 && x->opcode == 1;

	switch (x->class) {
	case X86_CLASS_INT:
		return x->imm == 3 || x->imm == 4 || x->imm == 0x80 ? SENSITIVE : FAULTS;
	case X86_CLASS_XSAVE: // not the S forms
		return x->opcode == 0xc7 && (x->modrm >> 3 & 7) != 4 ? FAULTS : SENSITIVE;
	case X86_CLASS_MWAIT: // MONITORX, MWAITX; UMONITOR, UMWAIT, TPAUSE; the others fault
		if (x->map == 1 && x->opcode == 0xae)
			return SENSITIVE;
		// fall through
	case X86_CLASS_VMX: // VMREAD, VMXON and so on outside of group 7 fault
	case X86_CLASS_UINTR:
		return group7 && (x->modrm < 0xc8 || x->modrm > 0xc9) ? SENSITIVE : FAULTS;
	case X86_CLASS_OTHER_SYSTEM:
		return group7 && x->modrm >= 0xc0 ? SENSITIVE : FAULTS;
	default:
		return kind_of_class[x->class];
	}
}

// -- the search

static bool found_at(const uint8_t *insn, size_t len, unsigned rules, size_t *offset)
{
	uint8_t bytes[40];
	size_t at;
	bool is;

	memset(bytes, 0x90, sizeof(bytes));
	memcpy(bytes + 8, insn, len);
	is = sensitive_find(bytes, sizeof(bytes), rules, &at);
	*offset = is ? at - 8 : 0;
	return is;
}

static bool found(const uint8_t *insn, size_t len, unsigned rules)
{
	size_t at;

	return found_at(insn, len, rules, &at);
}

// What is no processor's yet in group 7; and what prefixes make of XSAVE (PTWRITE, CLWB, ...).
static bool may_be_found(const struct x86_insn *x)
{
	return x->map == 1 && ((x->opcode == 0x01 && x->modrm >= 0xc0) || x->opcode == 0xae);
}

static void try_one(const uint8_t *bytes, size_t len)
{
	unsigned all = SENSITIVE_STATE | SENSITIVE_BASES | SENSITIVE_HIDDEN;
	size_t at;
	bool is = found_at(bytes, len, all, &at), is_insn;
	struct x86_insn x;

	is_insn = x86_decode(&x, bytes, len, X86_MODE64) > 0;
	if (is_insn && kind_of(&x) == SENSITIVE)
		CHECK(is, "missed: class %s, bytes %02x %02x %02x %02x",
			x86_class_name(x.class), bytes[0], bytes[1], bytes[2], bytes[3]);
	else if (is && is_insn && x.encoding == X86_ENC_LEGACY && at + x.map == x.opcode_off && !may_be_found(&x))
		CHECK(false, "found: class %s, bytes %02x %02x %02x %02x",
			x86_class_name(x.class), bytes[0], bytes[1], bytes[2], bytes[3]);
}

static void test_opcodes(void)
{
	static const struct { uint8_t len, bytes[3]; } prefix[] = {{0, {0}}, {1, {0xf3}}, {1, {0xf2}},
		{1, {0x66}}, {2, {0xf3, 0x48}}, {3, {0xf3, 0x66, 0x41}}};
	uint8_t b[20];

	for (size_t p = 0; p < ARRAY_SIZE(prefix); p++)
		for (unsigned i = 0; i < 1 << 24; i++) {
			unsigned n = prefix[p].len;

			if (p && (i & 255) != 0x0f) // all first bytes once, and the map of system instructions with each
				continue;
			memset(b, 0x11, sizeof(b));
			memcpy(b, prefix[p].bytes, n);
			b[n] = i & 255;
			b[n + 1] = i >> 8 & 255;
			b[n + 2] = i >> 16;
			try_one(b, sizeof(b));
		}
}

struct example { uint8_t len, bytes[8]; bool anywhere; };

static const struct example examples[] = {
	{2, {0x0f, 0xa2}, false}, {3, {0x0f, 0x00, 0xc0}, false}, {3, {0x0f, 0x00, 0x08}, false}, {4,
	{0x66, 0x0f, 0x00, 0xe3}, false},
	{3, {0x0f, 0x01, 0x00}, false}, {3, {0x0f, 0x01, 0x0b}, false}, {4, {0x48, 0x0f, 0x01, 0xe0}, false},
	{3, {0x0f, 0x01, 0xc1}, true}, {3, {0x0f, 0x01, 0xd9}, true}, {3, {0x0f, 0x01, 0xee}, false}, {3,
	{0x0f, 0x01, 0xef}, true},
	{3, {0x0f, 0x01, 0xfd}, false}, {3, {0x0f, 0x02, 0xc1}, false}, {3, {0x0f, 0x03, 0x06}, false}, {2,
	{0x0f, 0x33}, false},
	{2, {0x0f, 0x34}, false}, {2, {0xcd, 0x03}, false}, {2, {0xcd, 0x80}, false}, {4, {0xf3, 0x0f, 0xc7, 0xf8}, true},
	{6, {0xf3, 0x66, 0x2e, 0x0f, 0xc7, 0xf9}, true}, {5, {0xf3, 0x49, 0x0f, 0xc7, 0xff}, true},
};

static void test_places(void)
{
	for (const struct example *e = examples; e < examples + ARRAY_SIZE(examples); e++)
		for (size_t at = 0; at < PAGE_SIZE; at++) {
			size_t here = MIN(e->len, PAGE_SIZE - at);

			memset(low, 0x90, sizeof(low));
			memset(high, 0x90, sizeof(high));
			memcpy(low + at, e->bytes, here);
			memcpy(high, e->bytes + here, e->len - here);
			CHECK(sensitive_page(low, 0) == (here == e->len), "%02x %02x at %zx", e->bytes[0], e->bytes[1], at);
			if (here < e->len) {
				CHECK(sensitive_page(high, 0) == (e->bytes[here] == 0x0f && e->bytes[0] != 0xf3),
					"%02x %02x from %zx", e->bytes[0], e->bytes[1], at);
				CHECK(sensitive_seam(low, high, 0), "%02x %02x over the end, from %zx",
					e->bytes[0], e->bytes[1], at);
			} else if (here + at < PAGE_SIZE - 64) {
				CHECK(!sensitive_seam(low, high, 0), "%02x %02x at %zx is no seam's", e->bytes[0], e->bytes[1], at);
			}
		}
}

// RDSEED is not RDPID, what needs a rule is not found without it, and what the host has fault not with one.
static void test_rules(void)
{
	static const struct { uint8_t len, bytes[4]; unsigned rule; } of_rule[] = {{3, {0x0f, 0x01, 0xd0}, SENSITIVE_STATE},
		{3, {0x0f, 0xae, 0x20}, SENSITIVE_STATE}, {3, {0x0f, 0xae, 0x2b}, SENSITIVE_STATE},
		{3, {0x0f, 0xc7, 0x27}, SENSITIVE_STATE},
		{4, {0xf3, 0x0f, 0xae, 0xc0}, SENSITIVE_BASES}, {4, {0xf3, 0x0f, 0xae, 0xd9}, SENSITIVE_BASES},
		{3, {0x0f, 0xc7, 0xf8}, BIT(31)}, {3, {0x0f, 0xae, 0xe8}, BIT(31)}};
	static const struct { uint8_t len, bytes[4]; unsigned rule; } but_for[] = {
		{2, {0x0f, 0xa2}, SENSITIVE_CPUID_FAULTS}, {2, {0x0f, 0x31}, SENSITIVE_TSC_FAULTS},
		{3, {0x0f, 0x01, 0xf9}, SENSITIVE_TSC_FAULTS},
		{4, {0x66, 0x0f, 0xae, 0xf0}, SENSITIVE_TSC_FAULTS}, {4, {0xf2, 0x0f, 0xae, 0xf7}, SENSITIVE_TSC_FAULTS}};
	const unsigned all = SENSITIVE_CPUID_FAULTS | SENSITIVE_TSC_FAULTS;

	for (size_t i = 0; i < ARRAY_SIZE(of_rule); i++)
		for (unsigned rule = SENSITIVE_STATE; rule <= SENSITIVE_HIDDEN; rule++)
			CHECK(found(of_rule[i].bytes, of_rule[i].len, rule) == !!(rule & of_rule[i].rule), "rule %x, %zu", rule, i);
	for (size_t i = 0; i < ARRAY_SIZE(but_for); i++)
		CHECK(found(but_for[i].bytes, but_for[i].len, all & ~but_for[i].rule) &&
		      !found(but_for[i].bytes, but_for[i].len, but_for[i].rule), "but for, %zu", i);
}

// Within the immediate of one MOV among others: only the rows that count anywhere, unless all are asked for.
static void test_hidden(void)
{
	for (const struct example *e = examples; e < examples + ARRAY_SIZE(examples); e++)
		for (unsigned gap = 0; gap + e->len <= 8; gap++) {
			memset(low, 0x90, sizeof(low));
			for (unsigned i = 0; i < 6; i++)
				memcpy(low + 1024 + i * 10, "\x48\xb8\x11\x11\x11\x11\x11\x11\x11\x11", 10);
			memcpy(low + 1024 + 5 * 10 + 2 + gap, e->bytes, e->len);
			CHECK(sensitive_page(low, 0) == e->anywhere, "%02x %02x hidden by %u", e->bytes[0], e->bytes[1], gap);
			CHECK(sensitive_page(low, SENSITIVE_HIDDEN),
				"%02x %02x hidden by %u, all asked for", e->bytes[0], e->bytes[1], gap);
		}
}

// Behind any instructions whatever an instruction is found.
static void test_never_missed(void)
{
	for (unsigned round = 0; round < 200000; round++) {
		const struct example *e = &examples[random64() % ARRAY_SIZE(examples)];
		size_t at = 0, end = random64() % 200;
		uint8_t code[240];
		struct x86_insn x;

		while (at < end) {
			uint64_t r[2] = {random64(), random64()};
			int len;

			if (random64() % 4 == 0)
				memcpy(r, "\x48\xb8\x0f\x00", 4); // an operand that begins as a sensitive instruction
			len = x86_decode(&x, (uint8_t *)r, 15, X86_MODE64);
			if (len > 0)
				memcpy(code + at, r, (unsigned)len);
			at += len > 0 ? (unsigned)len : 0;
		}
		memset(low, 0x90, sizeof(low));
		memcpy(low + 2000, code, at);
		memcpy(low + 2000 + at, e->bytes, e->len);
		CHECK(sensitive_page(low, 0), "%02x %02x missed in round %u", e->bytes[0], e->bytes[1], round);
	}
}

int main(void)
{
	test_rules();
	test_places();
	test_hidden();
	test_never_missed();
	test_opcodes();
	printf("%u failures\n", failures);
	return failures != 0;
}
