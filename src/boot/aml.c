// SPDX-License-Identifier: MIT
//
// The AML emitter. Lengths of packages and the like always take the three-byte form, filled in when they are closed.
#include "boot/aml.h"
#include "boot/bytes.h"

enum aml_op {
	AML_ZERO = 0x00,
	AML_ONE = 0x01,
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_METHOD = 0x14,
	AML_ROOT = '\\',
	AML_MULTI_NAME = 0x2f,
	AML_LOCAL0 = 0x60,
	AML_STORE = 0x70,
	AML_AND = 0x7b,
	AML_NOTIFY = 0x86,
	AML_IF = 0xa0,
	AML_EXT_REGION = 0x80,
	AML_EXT_FIELD = 0x81,
	AML_EXT_DEVICE = 0x82,
};

enum { PKG_LENGTH_SIZE = 3, SEGMENT_SIZE = 4 };

static void emit(struct aml *b, const void *bytes, size_t n)
{
	if (n > b->cap - b->len) {
		b->overflow = true;
		return;
	}
	memcpy(b->p + b->len, bytes, n);
	b->len += n;
}

static void emit8(struct aml *b, uint8_t x)
{
	emit(b, &x, 1);
}

static void emit16(struct aml *b, uint16_t x)
{
	emit(b, &x, 2);
}

static void emit32(struct aml *b, uint32_t x)
{
	emit(b, &x, 4);
}

static size_t open_length(struct aml *b)
{
	size_t at = b->len;

	emit(b, "\0\0", PKG_LENGTH_SIZE);
	return at;
}

void aml_close(struct aml *b, size_t opened)
{
	size_t len = b->len - opened;

	if (b->overflow)
		return;
	b->p[opened] = 0x80 | (len & 0xf);
	b->p[opened + 1] = len >> 4;
	b->p[opened + 2] = len >> 12;
}

// One name segment, padded with underscores; a leading backslash is kept.
static void emit_name(struct aml *b, const char *name)
{
	char segment[SEGMENT_SIZE + 1] = "____";

	if (*name == '\\') {
		emit8(b, *name++);
		if (!*name) {
			emit8(b, 0); // the root itself
			return;
		}
	}
	memcpy(segment, name, MIN(strlen(name), (size_t)SEGMENT_SIZE));
	emit(b, segment, SEGMENT_SIZE);
}

size_t aml_scope(struct aml *b, const char *path)
{
	size_t at;

	emit8(b, AML_SCOPE);
	at = open_length(b);
	emit_name(b, path);
	return at;
}

size_t aml_device(struct aml *b, const char *name)
{
	size_t at;

	emit8(b, AML_EXT);
	emit8(b, AML_EXT_DEVICE);
	at = open_length(b);
	emit_name(b, name);
	return at;
}

static void emit_path(struct aml *b, const char *path)
{
	unsigned segments = 1;

	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (segments == 1) {
		emit_name(b, path);
		return;
	}
	if (*path == '\\') {
		emit8(b, AML_ROOT);
		path++;
	}
	emit8(b, AML_MULTI_NAME);
	emit8(b, segments);
	while (segments--) {
		char segment[SEGMENT_SIZE + 1] = "";

		memcpy(segment, path, MIN(strcspn(path, "."), (size_t)SEGMENT_SIZE));
		emit_name(b, segment);
		path += strcspn(path, ".") + (segments != 0);
	}
}

size_t aml_method(struct aml *b, const char *name, unsigned args)
{
	size_t at;

	emit8(b, AML_METHOD);
	at = open_length(b);
	emit_name(b, name);
	emit8(b, args);
	return at;
}

size_t aml_if_bits(struct aml *b, unsigned local, uint32_t bits)
{
	size_t at;

	emit8(b, AML_IF);
	at = open_length(b);
	emit8(b, AML_AND);
	emit8(b, AML_LOCAL0 + local);
	aml_int(b, bits);
	emit8(b, 0); // the result goes nowhere else
	return at;
}

void aml_load_local(struct aml *b, const char *path, unsigned local)
{
	emit8(b, AML_STORE);
	emit_path(b, path);
	emit8(b, AML_LOCAL0 + local);
}

void aml_store_int(struct aml *b, uint64_t value, const char *name)
{
	emit8(b, AML_STORE);
	aml_int(b, value);
	emit_name(b, name);
}

void aml_notify(struct aml *b, const char *path, uint8_t value)
{
	emit8(b, AML_NOTIFY);
	emit_path(b, path);
	aml_int(b, value);
}

void aml_io_region(struct aml *b, const char *name, uint16_t base, uint8_t len)
{
	enum { SPACE_IO = 1 };

	emit8(b, AML_EXT);
	emit8(b, AML_EXT_REGION);
	emit_name(b, name);
	emit8(b, SPACE_IO);
	aml_int(b, base);
	aml_int(b, len);
}

size_t aml_field(struct aml *b, const char *region)
{
	enum { ACCESS_DWORD = 3, WRITE_ZEROS = 0x40 };
	size_t at;

	emit8(b, AML_EXT);
	emit8(b, AML_EXT_FIELD);
	at = open_length(b);
	emit_name(b, region);
	emit8(b, ACCESS_DWORD | WRITE_ZEROS);
	return at;
}

void aml_field_part(struct aml *b, const char *name, unsigned bits)
{
	emit_name(b, name);
	emit8(b, bits); // below 64: a length of one byte
}

size_t aml_package(struct aml *b, unsigned elements)
{
	size_t at;

	emit8(b, AML_PACKAGE);
	at = open_length(b);
	emit8(b, elements);
	return at;
}

void aml_name(struct aml *b, const char *name)
{
	emit8(b, AML_NAME);
	emit_name(b, name);
}

void aml_int(struct aml *b, uint64_t x)
{
	unsigned size = x <= 0xff ? 1 : x <= 0xffff ? 2 : x <= 0xffffffff ? 4 : 8;

	if (x <= 1) {
		emit8(b, x ? AML_ONE : AML_ZERO);
		return;
	}
	emit8(b, size == 1 ? AML_BYTE : size == 2 ? AML_WORD : size == 4 ? AML_DWORD : AML_QWORD);
	emit(b, &x, size);
}

void aml_string(struct aml *b, const char *s)
{
	emit8(b, AML_STRING);
	emit(b, s, strlen(s) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

// Three letters of five bits each and four hexadecimal digits, most significant byte first.
void aml_eisaid(struct aml *b, const char *id)
{
	uint16_t letters = (id[0] & 0x1f) << 10 | (id[1] & 0x1f) << 5 | (id[2] & 0x1f);

	emit8(b, AML_DWORD);
	emit8(b, letters >> 8);
	emit8(b, letters);
	emit8(b, hex_digit(id[3]) << 4 | hex_digit(id[4]));
	emit8(b, hex_digit(id[5]) << 4 | hex_digit(id[6]));
}

// -- Resource templates: "Resource Data Types for ACPI" --------------------------------------------------------------

struct aml_template aml_template_open(struct aml *b)
{
	struct aml_template t;

	emit8(b, AML_BUFFER);
	t.buffer = open_length(b);
	emit8(b, AML_WORD);
	t.size_at = b->len;
	emit16(b, 0);
	t.start = b->len;
	return t;
}

void aml_template_close(struct aml *b, struct aml_template t)
{
	emit8(b, 0x79); // end tag, without a checksum
	emit8(b, 0);
	if (b->overflow)
		return;
	put16(b->p + t.size_at, b->len - t.start);
	aml_close(b, t.buffer);
}

void aml_io(struct aml *b, uint16_t base, uint8_t len)
{
	emit8(b, 0x47);
	emit8(b, 1); // 16 address lines decoded
	emit16(b, base);
	emit16(b, base);
	emit8(b, 1); // alignment
	emit8(b, len);
}

void aml_irq(struct aml *b, unsigned irq)
{
	emit8(b, 0x22);
	emit16(b, 1u << irq);
}

void aml_dma(struct aml *b, unsigned channel)
{
	emit8(b, 0x2a);
	emit8(b, 1u << channel);
	emit8(b, 0); // 8 bits at a time, no bus master
}

void aml_interrupt(struct aml *b, uint32_t gsi)
{
	emit8(b, 0x89);
	emit16(b, 6);
	emit8(b, 0x09); // consumer, level, active high, shared
	emit8(b, 1);
	emit32(b, gsi);
}

void aml_memory32(struct aml *b, uint32_t base, uint32_t len)
{
	emit8(b, 0x86);
	emit16(b, 9);
	emit8(b, 1); // writable
	emit32(b, base);
	emit32(b, len);
}

// The type-specific flags: memory is writable (and uncached), ports are decoded entirely.
static void emit_window(struct aml *b, uint8_t tag, uint16_t len, enum aml_range type)
{
	static const uint8_t specific[] = { [AML_RANGE_MEMORY] = 1, [AML_RANGE_IO] = 3, [AML_RANGE_BUS] = 0 };

	emit8(b, tag);
	emit16(b, len);
	emit8(b, type);
	emit8(b, 0x0c); // producer, both ends fixed, positive decode
	emit8(b, specific[type]);
}

void aml_window16(struct aml *b, enum aml_range type, uint16_t first, uint16_t last)
{
	emit_window(b, 0x88, 13, type);
	emit16(b, 0);
	emit16(b, first);
	emit16(b, last);
	emit16(b, 0);
	emit16(b, last - first + 1);
}

void aml_window32(struct aml *b, enum aml_range type, uint32_t first, uint32_t last)
{
	emit_window(b, 0x87, 23, type);
	emit32(b, 0);
	emit32(b, first);
	emit32(b, last);
	emit32(b, 0);
	emit32(b, last - first + 1);
}

// ACPI specification, "_OSC (Operating System Capabilities)"; PCI Firmware Specification, "_OSC Interface for PCI Host
// Bridge Devices". The first double word of the answer has errors, the third what the system may control.
void aml_put_osc(struct aml *b, const uint8_t uuid[16], uint32_t granted)
{
	enum { CREATE_DWORD_FIELD = 0x8a, IF = 0xa0, ELSE = 0xa1, RETURN = 0xa4, EQUAL = 0x93, NOT = 0x92, BUFFER = 0x11,
		STORE = 0x70, AND = 0x7b, OR = 0x7d, LOCAL0 = 0x60, ARG0 = 0x68, ARG1, ARG3 = ARG0 + 3, ZERO = 0, ONE = 1,
		BYTE = 0x0a, DWORD = 0x0c, BAD_UUID = 4, BAD_REVISION = 8, MASKED = 16 };
	static const uint8_t fields[] = { CREATE_DWORD_FIELD, ARG3, ZERO, 'C', 'D', 'W', '1' },
		if_uuid[] = { EQUAL, ARG0, BUFFER, 3 + 16, BYTE, 16 },
		control[] = { CREATE_DWORD_FIELD, ARG3, BYTE, 8, 'C', 'D', 'W', '3', STORE, 'C', 'D', 'W', '3', LOCAL0,
			AND, 'C', 'D', 'W', '3', DWORD },
		if_masked[] = { 'C', 'D', 'W', '3', IF, 19, NOT, EQUAL, LOCAL0, 'C', 'D', 'W', '3', OR, 'C', 'D', 'W', '1',
			BYTE, MASKED, 'C', 'D', 'W', '1' },
		if_revision[] = { IF, 16, NOT, EQUAL, ARG1, ONE, OR, 'C', 'D', 'W', '1', BYTE, BAD_REVISION, 'C', 'D', 'W',
			'1' },
		otherwise[] = { ELSE, 12, OR, 'C', 'D', 'W', '1', BYTE, BAD_UUID, 'C', 'D', 'W', '1', RETURN, ARG3 };
	size_t method = aml_method(b, "_OSC", 4), known;

	emit(b, fields, sizeof(fields));
	emit8(b, IF);
	known = open_length(b);
	emit(b, if_uuid, sizeof(if_uuid));
	emit(b, uuid, 16);
	emit(b, control, sizeof(control));
	emit32(b, granted);
	emit(b, if_masked, sizeof(if_masked));
	emit(b, if_revision, sizeof(if_revision));
	aml_close(b, known);
	emit(b, otherwise, sizeof(otherwise));
	aml_close(b, method);
}
