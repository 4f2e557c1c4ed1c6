// SPDX-License-Identifier: MIT
//
// The table of sensitive instructions, and the search for them. An instruction stands here if CPL 3 may run it on some
// host without a fault, and what it does or says is not up to the guest: descriptor tables and selectors, CPUID, the
// host's counters, protection keys, calls to the host's own hypervisor, ways into the host's kernel that the monitor
// cannot tell from the guest's own. Not here is what always faults at CPL 3 (the monitor sees it then), what is
// harmless wherever it runs, and what direct execution provides for by other means: SYSCALL (a filter), selectors and
// flags (compared before).
//
// Prefixes in front of these opcodes are ignored, or change their operand size only, with one exception: RDPID is
// RDSEED with F3. All but INT n begin with 0F, so the search is for words that have an 0F or CD byte in them, and looks
// at the byte behind it in a bitmap; the few that are left are compared with the rows.
//
// 0F 00 and its like are common as upper bytes of displacements: of every two pages of compiled code one has such. So
// for rows that are no more than a wrong answer there is a second question: is it *hidden* within other instructions?
// All streams of instructions are followed that begin at 15 consecutive bytes, which is what one instruction can
// have, ahead of it: one of them is the true one. If none has an instruction begin there, nothing gets there but by a
// jump into the middle of an instruction; if in doubt, the same is asked from farther ahead. Rows that take something
// from the monitor's hand count wherever they stand.
#include "shadow/sensitive.h"
#include "x86/decode.h"

#define REG(r) (UINT64_C(0xff) << (r) * 8) // register forms with this reg field
#define FORM(modrm) BIT64((modrm) - 0xc0)

// Of group 7's register forms: those which always fault or are the same everywhere, XGETBV apart (CLAC, STAC; XSETBV,
// XEND, XTEST; LMSW; SWAPGS), and RDTSCP, which has a row; and those which leave for a hypervisor, change rights or
// wait (VMX and SVM, VMFUNC, ENCLU; WRPKRU; MONITORX, MWAITX). What is left says something of the host, or is not an
// instruction yet.
#define HARMLESS \
	(FORM(0xca) | FORM(0xcb) | FORM(0xd0) | FORM(0xd1) | FORM(0xd5) | FORM(0xd6) | REG(6) | FORM(0xf8) | FORM(0xf9))
#define LEAVES (UINT64_C(0x1f) | FORM(0xd4) | FORM(0xd7) | REG(3) | FORM(0xef) | FORM(0xfa) | FORM(0xfb))

enum { WHOLE = true, MODRM = false, ANYWHERE = true, VISIBLE = false };

//	name, first bytes, ModRM?, where, rule, prefix, memory forms, register forms
#define SENSITIVE_ROWS(_) \
	_("CPUID", 0x0f, 0xa2, WHOLE, VISIBLE, SENSITIVE_CPUID_FAULTS, 0, 0, 0) \
	_("SLDT", 0x0f, 0x00, MODRM, VISIBLE, 0, 0, BIT(0), REG(0)) \
	_("STR", 0x0f, 0x00, MODRM, VISIBLE, 0, 0, BIT(1), REG(1)) \
	_("VERR/VERW", 0x0f, 0x00, MODRM, VISIBLE, 0, 0, BIT(4) | BIT(5), REG(4) | REG(5)) \
	_("SGDT/SIDT", 0x0f, 0x01, MODRM, VISIBLE, 0, 0, BIT(0) | BIT(1), 0) \
	_("SMSW", 0x0f, 0x01, MODRM, VISIBLE, 0, 0, BIT(4), REG(4)) \
	_("VMCALL and the like", 0x0f, 0x01, MODRM, ANYWHERE, 0, 0, 0, LEAVES) \
	_("RDTSCP", 0x0f, 0x01, MODRM, VISIBLE, SENSITIVE_TSC_FAULTS, 0, 0, FORM(0xf9)) \
	_("RDPKRU and the like", 0x0f, 0x01, MODRM, VISIBLE, 0, 0, 0, ~(HARMLESS | LEAVES | REG(4))) \
	_("XGETBV", 0x0f, 0x01, MODRM, VISIBLE, SENSITIVE_STATE, 0, 0, FORM(0xd0)) \
	_("LAR", 0x0f, 0x02, MODRM, VISIBLE, 0, 0, 0xff, ~UINT64_C(0)) \
	_("LSL", 0x0f, 0x03, MODRM, VISIBLE, 0, 0, 0xff, ~UINT64_C(0)) \
	_("RDTSC", 0x0f, 0x31, WHOLE, VISIBLE, SENSITIVE_TSC_FAULTS, 0, 0, 0) \
	_("RDPMC", 0x0f, 0x33, WHOLE, VISIBLE, 0, 0, 0, 0) \
	_("SYSENTER", 0x0f, 0x34, WHOLE, VISIBLE, 0, 0, 0, 0) \
	_("GETSEC", 0x0f, 0x37, WHOLE, VISIBLE, 0, 0, 0, 0) \
	_("XSAVE/XRSTOR/XSAVEOPT", 0x0f, 0xae, MODRM, VISIBLE, SENSITIVE_STATE, 0, BIT(4) | BIT(5) | BIT(6), 0) \
	_("RDFSBASE/WRFSBASE", 0x0f, 0xae, MODRM, VISIBLE, SENSITIVE_BASES, 0xf3, 0, UINT64_C(0xffffffff)) \
	_("TPAUSE", 0x0f, 0xae, MODRM, VISIBLE, SENSITIVE_TSC_FAULTS, 0x66, 0, REG(6)) \
	_("UMWAIT", 0x0f, 0xae, MODRM, VISIBLE, SENSITIVE_TSC_FAULTS, 0xf2, 0, REG(6)) \
	_("UMONITOR", 0x0f, 0xae, MODRM, VISIBLE, 0, 0xf3, 0, REG(6)) \
	_("XSAVEC", 0x0f, 0xc7, MODRM, VISIBLE, SENSITIVE_STATE, 0, BIT(4), 0) \
	_("RDPID", 0x0f, 0xc7, MODRM, ANYWHERE, 0, 0xf3, 0, REG(7)) \
	_("INT 3", 0xcd, 0x03, WHOLE, VISIBLE, 0, 0, 0, 0) \
	_("INT 4", 0xcd, 0x04, WHOLE, VISIBLE, 0, 0, 0, 0) \
	_("INT 80h", 0xcd, 0x80, WHOLE, VISIBLE, 0, 0, 0, 0)

static const struct sensitive rows[] = {
#define ROW(name, first, second, ...) {name, {first, second}, __VA_ARGS__},
	SENSITIVE_ROWS(ROW)
#undef ROW
};

// Second bytes that some row has.
#define IN_WORD(w, second) ((second) >> 6 == (w) ? BIT64((second) & 63) : 0)
#define SECOND0(name, first, second, ...) | IN_WORD(0, second)
#define SECOND1(name, first, second, ...) | IN_WORD(1, second)
#define SECOND2(name, first, second, ...) | IN_WORD(2, second)
#define SECOND3(name, first, second, ...) | IN_WORD(3, second)
static const uint64_t seconds[4] = {0 SENSITIVE_ROWS(SECOND0), 0 SENSITIVE_ROWS(SECOND1),
	0 SENSITIVE_ROWS(SECOND2), 0 SENSITIVE_ROWS(SECOND3)};

enum {
	LOOK_BACK = 64, LOOK_BACK_MAX = 1024, // how far ahead of a place streams begin: farther if it is in doubt
	BRANCH_SHORTER = 2,
	HIDDEN_MAX = 1024, // such places on one page; with more the page is left to translation
	SEAM_LOW = 1024, SEAM_HIGH = 16, SEAM_FROM = SEAM_LOW - 2, // before that it is all on the lower page
};

static bool is_prefix(uint8_t b)
{
	switch (b) {
	case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64: case 0x65: case 0x66: case 0x67:
	case 0xf0: case 0xf2: case 0xf3:
		return true;
	default:
		return b >> 4 == 4; // REX
	}
}

// Where the prefixes begin that stand before this place.
static size_t first_prefix(const uint8_t *bytes, size_t at)
{
	size_t end = at > X86_INSN_MAX - 2 ? at - (X86_INSN_MAX - 2) : 0;

	while (at > end && is_prefix(bytes[at - 1]))
		at--;
	return at;
}

static bool has_prefix(const uint8_t *bytes, size_t at, uint8_t wanted)
{
	for (size_t i = first_prefix(bytes, at); i < at; i++)
		if (bytes[i] == wanted)
			return true;
	return false;
}

// A near branch with 66h: the displacement has 16 bits on AMD's processors, 32 on Intel's. Its target needs no look:
// to jump into the middle of an instruction takes no such thing.
static bool may_be_shorter(const struct x86_insn *insn)
{
	return insn->prefixes & X86_PFX_OPSIZE && insn->imm_size == 4 &&
	       (insn->class == X86_CLASS_JCC || insn->class == X86_CLASS_JMP || insn->class == X86_CLASS_CALL);
}

// Has a stream that begins at one of 15 bytes so far back an instruction begin there, prefixes included? True if too
// little is known of what follows.
static bool any_stream_begins(const uint8_t *bytes, size_t n, size_t at, size_t back)
{
	size_t begin = at > back ? at - back : 0, first = first_prefix(bytes, at);
	bool begins[LOOK_BACK_MAX + X86_INSN_MAX] = {true, true, true, true, true, true, true, true, true, true, true, true,
		true, true, true}; // at begin + i
	struct x86_insn insn;

	for (size_t i = begin; i < first; i++) {
		int len = begins[i - begin] ? x86_decode(&insn, bytes + i, n - i, X86_MODE64) : -1;

		if (len == 0)
			return true;
		if (len <= 0 || i + (unsigned)len > at + BRANCH_SHORTER)
			continue;
		if (i + (unsigned)len <= at)
			begins[i - begin + (unsigned)len] = true;
		if (may_be_shorter(&insn))
			begins[i - begin + (unsigned)len - BRANCH_SHORTER] = true;
	}
	for (size_t i = first; i <= at; i++)
		if (begins[i - begin])
			return true;
	return false;
}

// Streams that begin farther back are others, and have had more time to meet.
static bool is_hidden(const uint8_t *bytes, size_t n, size_t at)
{
	for (size_t back = LOOK_BACK; back <= LOOK_BACK_MAX; back *= 2) {
		if (!any_stream_begins(bytes, n, at, back))
			return true;
		if (at <= back)
			break;
	}
	return false;
}

static bool matches(const struct sensitive *row, const uint8_t *bytes, size_t n, size_t at)
{
	const uint8_t *b = bytes + at;

	if (b[0] != row->bytes[0] || b[1] != row->bytes[1])
		return false;
	if (row->whole)
		return true;
	if (at + 2 >= n)
		return false;
	if (b[2] >= 0xc0 ? !(row->registers >> (b[2] - 0xc0) & 1) : !(row->memory >> (b[2] >> 3 & 7) & 1))
		return false;
	return !row->prefix || has_prefix(bytes, at, row->prefix);
}

static const struct sensitive *find_row(const uint8_t *bytes, size_t n, size_t at, unsigned rules)
{
	const unsigned unless = SENSITIVE_CPUID_FAULTS | SENSITIVE_TSC_FAULTS;

	rules ^= unless; // now a bit says that rows with it count
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if ((!rows[i].rule || rows[i].rule & rules) && matches(&rows[i], bytes, n, at))
			return &rows[i];
	return NULL;
}

// The top bit of each byte that is zero, and perhaps of some above it.
static uint64_t zero_bytes(uint64_t word)
{
	return (word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080);
}

static const struct sensitive *find_from(const uint8_t *bytes, size_t n, size_t from, unsigned rules, size_t *at)
{
	const struct sensitive *row;
	unsigned hidden = 0;

	for (size_t i = align_down(from, 8); i < n; i += 8) {
		uint64_t word, found;

		__builtin_memcpy(&word, bytes + i, 8);
		found = zero_bytes(word ^ UINT64_C(0x0f0f0f0f0f0f0f0f)) | zero_bytes(word ^ UINT64_C(0xcdcdcdcdcdcdcdcd));
		for (; found; found &= found - 1) {
			*at = i + ((unsigned)__builtin_ctzll(found) >> 3);
			if (*at < from || *at + 1 >= n || !(seconds[bytes[*at + 1] >> 6] >> (bytes[*at + 1] & 63) & 1))
				continue;
			row = find_row(bytes, n, *at, rules);
			if (!row)
				continue;
			if (row->anywhere || rules & SENSITIVE_HIDDEN || hidden++ == HIDDEN_MAX || !is_hidden(bytes, n, *at))
				return row;
		}
	}
	return NULL;
}

const struct sensitive *sensitive_find(const uint8_t *bytes, size_t n, unsigned rules, size_t *at)
{
	return find_from(bytes, n, 0, rules, at);
}

bool sensitive_anywhere(const uint8_t *bytes, size_t n)
{
	for (size_t at = 0; at + 1 < n; at++)
		for (size_t i = 0; bytes[at] == 0x0f && i < ARRAY_SIZE(rows); i++)
			if (rows[i].anywhere && matches(&rows[i], bytes, n, at))
				return true;
	return false;
}

bool sensitive_page(const uint8_t *page, unsigned rules)
{
	size_t at;

	return find_from(page, PAGE_SIZE, 0, rules, &at);
}

bool sensitive_page_after(const uint8_t *low, const uint8_t *page, unsigned rules)
{
	uint8_t both[SEAM_LOW + PAGE_SIZE];
	size_t at;

	__builtin_memcpy(both, low + PAGE_SIZE - SEAM_LOW, SEAM_LOW);
	__builtin_memcpy(both + SEAM_LOW, page, PAGE_SIZE);
	return find_from(both, sizeof(both), SEAM_FROM, rules, &at);
}

bool sensitive_seam(const uint8_t *low, const uint8_t *high, unsigned rules)
{
	uint8_t seam[SEAM_LOW + SEAM_HIGH], narrow[2 * SEAM_HIGH];
	size_t at;

	__builtin_memcpy(narrow, low + PAGE_SIZE - SEAM_HIGH, SEAM_HIGH);
	__builtin_memcpy(narrow + SEAM_HIGH, high, SEAM_HIGH);
	if (!find_from(narrow, sizeof(narrow), SEAM_HIGH - 2, rules | SENSITIVE_HIDDEN, &at))
		return false; // nothing that could be hidden
	__builtin_memcpy(seam, low + PAGE_SIZE - SEAM_LOW, SEAM_LOW);
	__builtin_memcpy(seam + SEAM_LOW, high, SEAM_HIGH);
	return find_from(seam, sizeof(seam), SEAM_FROM, rules, &at);
}
