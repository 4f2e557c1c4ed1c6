// SPDX-License-Identifier: MIT
//
// -d tu and -perfmap: what has just been translated, as records for the app, which disassembles and names it (see
// "Records" in bus/shared.h). Host code goes out instruction by instruction of the guest, so that both stand side by
// side there.
#include "bt/entry.h"
#include "bt/trans.h"

enum { BYTES_A_RECORD = 256 };

static void put_hex(char *out, const uint8_t *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * n] = 0;
}

static void put_bytes(struct vcpu *v, char kind, uint64_t at, const uint8_t *bytes, size_t size)
{
	char hex[2 * BYTES_A_RECORD + 1];

	for (size_t done = 0, n; done < size; done += n) {
		n = MIN(size - done, BYTES_A_RECORD);
		put_hex(hex, bytes + done, n);
		vmm_trace_text(v, "%c%c %lx %s\n", TRACE_RECORD, kind, at + done, hex);
	}
}

static void put_host(const struct trans *t, uint32_t from, uint32_t to)
{
	const struct bt *b = t->b;

	put_bytes(t->v, TRACE_HOST, (uint64_t)b->tc + from, b->tc_rw + from, to - from);
}

void dump_unit(const struct trans *t, uint32_t hot, uint32_t cold)
{
	const struct tu *u = t->t;
	uint32_t end = hot + u->code_size;

	vmm_trace_text(t->v, "%c%c %lx %lx %x %u %u %lx %u\n", TRACE_RECORD, TRACE_UNIT, u->pc, u->gpa, u->mode, u->ninsns,
		       u->len, (uint64_t)t->b->tc + u->start, (uint32_t)u->code_size);
	put_host(t, hot, t->host[0]);
	for (uint32_t i = 0; i < t->n; i++) {
		uint32_t next = i + 1 < t->n && t->host[i + 1] ? t->host[i + 1] : end;

		put_bytes(t->v, TRACE_GUEST, insn_pc(t, i), t->bytes + t->off[i], t->insn[i].len);
		if (t->host[i]) // else the unit has ended before it
			put_host(t, t->host[i], next);
	}
	vmm_trace_text(t->v, "%c%c\n", TRACE_RECORD, TRACE_COLD);
	put_host(t, cold, (uint32_t)(t->cold.p - t->b->tc_rw));
	vmm_trace_text(t->v, "%c%c\n", TRACE_RECORD, TRACE_END);
}

bool bt_view_unit(const struct vcpu *v, uint64_t host_rip, struct bt_unit_view *out)
{
	struct bt *b = bt_of(v);
	const struct tu *u = tc_owner(b, (const uint8_t *)host_rip);

	if (!u && b->last_unit)
		u = &b->tu[b->last_unit];
	if (!u)
		return false;
	*out = (struct bt_unit_view){.pc = u->pc, .gpa = u->gpa, .mode = u->mode, .len = u->len, .ninsns = u->ninsns,
		.code = b->tc + u->start, .size = u->code_size};
	return true;
}

static const char *kind_of(const struct tu *u)
{
	static const char *const kind[2][2][2] = {
		{{"kernel_hot", "kernel_hot_mapped"}, {"user_hot", "user_hot_mapped"}},
		{{"kernel", "kernel_mapped"}, {"user", "user_mapped"}},
	};

	return kind[u->tier == TIER_BASE][!!(u->mode & MODE_USER)][!!(u->mode & MODE_MAPPED)];
}

// A symbol for the unit's hot code; its cold code has another.
void dump_symbol(const struct trans *t, uint32_t cold)
{
	const struct bt *b = t->b;
	const struct tu *u = t->t;

	vmm_trace_text(t->v, "%c%c %lx %x %s_%lx\n", TRACE_RECORD, TRACE_SYMBOL, (uint64_t)b->tc + u->start,
		       (uint32_t)u->code_size, kind_of(u), u->pc);
	if (t->cold.p == b->tc_rw + cold) // base code has no cold half
		return;
	vmm_trace_text(t->v, "%c%c %lx %x %s_%lx.cold\n", TRACE_RECORD, TRACE_SYMBOL, (uint64_t)b->tc + cold,
		       (uint32_t)(t->cold.p - b->tc_rw) - cold, kind_of(u), u->pc);
}
