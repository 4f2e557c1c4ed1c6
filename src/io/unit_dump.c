// SPDX-License-Identifier: MIT
//
// Text out of the monitor's unit records (bus/shared.h), disassembled by Zydis in AT&T syntax. Host code calls stubs
// through memory, with a number behind the call: that is data, and printed so.
#include <Zydis/Zydis.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bus/shared.h"
#include "io/unit_dump.h"

enum { LEFT_WIDTH = 62, CODE_SIZE_BITS = 3, USER_BIT = 1 << 2 }; // ORDER MODE: bt/tu.h, enum bt_mode_bits

static const ZydisMachineMode machine_modes[] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32,
	ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_MACHINE_MODE_LONG_64};
static const ZydisStackWidth stack_widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64,
	ZYDIS_STACK_WIDTH_64};

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static size_t get_bytes(const char *text, uint8_t *out, size_t max)
{
	size_t n = 0;

	for (; n < max && digit(text[0]) >= 0 && digit(text[1]) >= 0; text += 2)
		out[n++] = (uint8_t)(digit(text[0]) << 4 | digit(text[1]));
	return n;
}

// One instruction as text; returns its length, 1 for a byte that is none. is_call: a call through a slot of the state,
// that is, of a stub.
static size_t disassemble(unsigned code, uint64_t at, const uint8_t *bytes, size_t n, char *text, size_t size,
			  bool *is_call)
{
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction insn;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	*is_call = false;
	ZydisDecoderInit(&decoder, machine_modes[code], stack_widths[code]);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_ATT);
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, bytes, n, &insn, op)) ||
	    ZYAN_FAILED(ZydisFormatterFormatInstruction(&formatter, &insn, op, insn.operand_count_visible, text, size, at,
							ZYAN_NULL))) {
		snprintf(text, size, ".byte 0x%02x", bytes[0]);
		return 1;
	}
	*is_call = insn.mnemonic == ZYDIS_MNEMONIC_CALL && op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
		   op[0].mem.base == ZYDIS_REGISTER_RIP;
	return insn.length;
}

static void print_row(struct unit_dump *d, FILE *out, uint64_t at, const char *host)
{
	fprintf(out, "%-*s | %012" PRIx64 "  %s\n", LEFT_WIDTH, d->guest, at, host);
	d->guest[0] = 0;
}

static void flush(struct unit_dump *d, FILE *out)
{
	bool number = false;

	for (size_t i = 0; i < d->host_used;) {
		char text[128];
		size_t n;

		if (number && i + 4 <= d->host_used) {
			uint32_t value;

			memcpy(&value, d->host + i, n = 4);
			snprintf(text, sizeof(text), ".long %u", value);
			number = false;
		} else {
			n = disassemble(2, d->host_at + i, d->host + i, d->host_used - i, text, sizeof(text), &number);
		}
		print_row(d, out, d->host_at + i, text);
		i += n;
	}
	if (d->guest[0])
		fprintf(out, "%s\n", d->guest); // became nothing
	d->guest[0] = 0;
	d->host_used = 0;
}

static void start(struct unit_dump *d, FILE *out, const char *p)
{
	static const char *const sizes[] = {"16-bit", "32-bit", "64-bit", "?"};
	uint64_t pc = 0, gpa = 0, entry = 0;
	unsigned mode = 0, insns = 0, len = 0, size = 0;

	d->host_used = 0;
	d->guest[0] = 0;
	sscanf(p, "%" SCNx64 " %" SCNx64 " %x %u %u %" SCNx64 " %u", &pc, &gpa, &mode, &insns, &len, &entry, &size);
	d->mode = mode;
	fprintf(out, "unit %016" PRIx64 " physical %" PRIx64 " %s %s mode %x: %u instructions, %u bytes -> %u bytes\n", pc,
		gpa, sizes[mode & CODE_SIZE_BITS], mode & USER_BIT ? "user" : "kernel", mode, insns, len, size);
}

static void take_guest(struct unit_dump *d, const char *p)
{
	char *hex;
	uint64_t pc = strtoull(p, &hex, 16);
	uint8_t bytes[16];
	size_t n = get_bytes(hex + (*hex == ' '), bytes, sizeof(bytes));
	int used = snprintf(d->guest, sizeof(d->guest), "%016" PRIx64 "  ", pc);
	bool is_call;

	if (n)
		disassemble(d->mode & CODE_SIZE_BITS, pc, bytes, n, d->guest + used, sizeof(d->guest) - (size_t)used,
			    &is_call);
}

static void take_host(struct unit_dump *d, const char *p)
{
	char *hex;
	uint64_t at = strtoull(p, &hex, 16);

	if (!d->host_used)
		d->host_at = at;
	d->host_used += get_bytes(hex + (*hex == ' '), d->host + d->host_used, sizeof(d->host) - d->host_used);
}

void unit_dump_record(struct unit_dump *d, FILE *out, const char *record)
{
	const char *rest = record[0] && record[1] ? record + 2 : "";

	if (*record == TRACE_HOST) {
		take_host(d, rest);
		return;
	}
	flush(d, out);
	switch (*record) {
	case TRACE_UNIT:
		start(d, out, rest);
		break;
	case TRACE_GUEST:
		take_guest(d, rest);
		break;
	case TRACE_COLD:
		snprintf(d->guest, sizeof(d->guest), "%18s(cold)", "");
		break;
	case TRACE_END:
		fputc('\n', out);
		break;
	}
}
