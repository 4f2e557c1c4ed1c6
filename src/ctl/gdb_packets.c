// SPDX-License-Identifier: MIT
//
// What each packet of the remote protocol does: one row of the table at the end, one function. All run while the vCPU
// is stopped. Breakpoints and watchpoints are addresses in struct shared that the monitor respects.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/gdb_regs.h"
#include "ctl/gdb_wire.h"
#include "ctl/peek.h"

static void do_why(struct gdb *g, const char *p)
{
	gdb_reply(g, "T05thread:1;");
}

static void do_read_regs(struct gdb *g, const char *p)
{
	char text[2 * GDB_REGS_BYTES];
	uint8_t bytes[GDB_REG_BYTES_MAX];
	size_t used = 0;

	for (unsigned i = 0; i < gdb_regs_count(); i++)
		used += gdb_put_hex(text + used, bytes, gdb_reg_read(gdb_vcpu(g), i, bytes));
	gdb_send(g, text, used);
}

static void do_write_regs(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX], old[GDB_REG_BYTES_MAX];

	for (unsigned i = 0; i < gdb_regs_count(); i++) {
		size_t n = gdb_reg_read(gdb_vcpu(g), i, old);

		if (gdb_get_hex(bytes, p, n) != n)
			break;
		gdb_reg_write(gdb_vcpu(g), i, bytes);
		p += 2 * n;
	}
	gdb_reply(g, "OK");
}

static void do_read_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX];
	char text[2 * GDB_REG_BYTES_MAX + 1];
	size_t n = gdb_reg_read(gdb_vcpu(g), (unsigned)strtoul(p, NULL, 16), bytes);

	gdb_send(g, text, gdb_put_hex(text, bytes, n));
}

static void do_write_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX] = {0};
	char *value;
	unsigned n = (unsigned)strtoul(p, &value, 16);

	if (*value == '=' && gdb_reg_read(gdb_vcpu(g), n, bytes) && gdb_get_hex(bytes, value + 1, sizeof(bytes)) &&
	    gdb_reg_write(gdb_vcpu(g), n, bytes))
		gdb_reply(g, "OK");
	else
		gdb_reply(g, "E22");
}

// "address,length": the rest of the packet, or NULL if it is not well-formed.
static const char *get_range(const char *p, uint64_t *addr, uint64_t *len)
{
	char *end;

	*addr = strtoull(p, &end, 16);
	if (*end != ',')
		return NULL;
	*len = strtoull(end + 1, &end, 16);
	return end;
}

static void do_read_memory(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_PACKET_MAX / 2];
	char text[GDB_PACKET_MAX + 1];
	uint64_t addr, len;

	if (!get_range(p, &addr, &len)) {
		gdb_reply(g, "E22");
		return;
	}
	len = peek_read(gdb_memory(g), gdb_vcpu(g), addr, bytes, MIN(len, sizeof(bytes)));
	if (len)
		gdb_send(g, text, gdb_put_hex(text, bytes, len));
	else
		gdb_reply(g, "E14");
}

static void do_write_memory(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_PACKET_MAX / 2];
	uint64_t addr, len;
	const char *data = get_range(p, &addr, &len);

	if (!data || *data != ':' || len > sizeof(bytes) || gdb_get_hex(bytes, data + 1, len) != len)
		gdb_reply(g, "E22");
	else
		gdb_reply(g, peek_write(gdb_memory(g), gdb_vcpu(g), addr, bytes, len) == len ? "OK" : "E14");
}

// The same in binary. GDB asks with no bytes whether the packet is known.
static void do_write_binary(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_PACKET_MAX];
	uint64_t addr, len;
	const char *data = get_range(p, &addr, &len);

	if (!data || *data != ':' || len > sizeof(bytes) ||
	    gdb_unescape(bytes, sizeof(bytes), data + 1, (size_t)(g->packet_end - data - 1)) != len)
		gdb_reply(g, "E22");
	else
		gdb_reply(g, peek_write(gdb_memory(g), gdb_vcpu(g), addr, bytes, len) == len ? "OK" : "E14");
}

static void do_continue(struct gdb *g, const char *p)
{
	g->owes_reply = true;
	gdb_go_on(g, RESUME_RUN);
}

static void do_step(struct gdb *g, const char *p)
{
	g->owes_reply = true;
	gdb_go_on(g, RESUME_STEP);
}

static void do_v(struct gdb *g, const char *p)
{
	if (!strcmp(p, "Cont?"))
		gdb_reply(g, "vCont;c;C;s;S");
	else if (!strncmp(p, "Cont;s", 6) || !strncmp(p, "Cont;S", 6))
		do_step(g, p);
	else if (!strncmp(p, "Cont;c", 6) || !strncmp(p, "Cont;C", 6))
		do_continue(g, p);
	else if (!strncmp(p, "Kill", 4)) {
		gdb_reply(g, "OK");
		machine_post(g->machine, EVENT_QUIT, 0);
	} else
		gdb_reply(g, "");
}

static void do_query(struct gdb *g, const char *p)
{
	char text[GDB_PACKET_MAX];
	uint64_t offset, len;

	if (!strncmp(p, "Supported", 9)) {
		snprintf(text, sizeof(text),
			 "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;swbreak+;vContSupported+",
			 GDB_PACKET_MAX);
		gdb_reply(g, text);
	} else if (!strncmp(p, "Xfer:features:read:target.xml:", 30) && get_range(p + 30, &offset, &len)) {
		size_t n = gdb_target_xml(text + 1, offset, MIN(len, sizeof(text) - 1));

		text[0] = n == len ? 'm' : 'l';
		gdb_send(g, text, n + 1);
	} else if (!strncmp(p, "Rcmd,", 5)) {
		uint8_t line[GDB_PACKET_MAX / 2];

		line[gdb_get_hex(line, p + 5, MIN(strlen(p + 5) / 2, sizeof(line) - 1))] = 0;
		gdb_monitor(g, (char *)line);
	} else if (!strcmp(p, "Attached")) {
		gdb_reply(g, "1");
	} else if (!strcmp(p, "C")) {
		gdb_reply(g, "QC1");
	} else if (!strcmp(p, "fThreadInfo")) {
		gdb_reply(g, "m1");
	} else if (!strcmp(p, "sThreadInfo")) {
		gdb_reply(g, "l");
	} else {
		gdb_reply(g, "");
	}
}

static void do_set(struct gdb *g, const char *p)
{
	if (strcmp(p, "StartNoAckMode")) {
		gdb_reply(g, "");
		return;
	}
	gdb_reply(g, "OK");
	g->no_ack = true;
}

static bool change_breakpoint(struct debugger *d, bool set, uint64_t addr)
{
	uint32_t i;

	for (i = 0; i < d->breakpoints && d->breakpoint[i] != addr; i++)
		;
	if (set && i == BREAKPOINTS_MAX)
		return false;
	if (set && i == d->breakpoints)
		d->breakpoint[d->breakpoints++] = addr;
	if (!set && i < d->breakpoints)
		d->breakpoint[i] = d->breakpoint[--d->breakpoints];
	return true;
}

static bool change_watchpoint(struct debugger *d, bool set, const struct watchpoint *w)
{
	uint32_t i;

	for (i = 0; i < d->watchpoints && memcmp(&d->watchpoint[i], w, sizeof(*w)); i++)
		;
	if (set && i == WATCHPOINTS_MAX)
		return false;
	if (set && i == d->watchpoints)
		d->watchpoint[d->watchpoints++] = *w;
	if (!set && i < d->watchpoints)
		d->watchpoint[i] = d->watchpoint[--d->watchpoints];
	return true;
}

// Z type,address,length: 0 and 1 are breakpoints, 2 watches writes, 3 reads, 4 both.
static void do_breakpoint(struct gdb *g, const char *p)
{
	static const uint32_t kinds[] = {[2] = WATCH_WRITE, [3] = WATCH_READ, [4] = WATCH_ACCESS};
	struct debugger *d = &g->machine->shared->debugger;
	unsigned type = (unsigned)(*p - '0');
	bool set = p[-1] == 'Z', done;
	struct watchpoint w;

	memset(&w, 0, sizeof(w));
	if (type > 4 || p[1] != ',' || !get_range(p + 2, &w.at, &w.size)) {
		gdb_reply(g, "");
		return;
	}
	w.kind = type < 2 ? 0 : kinds[type];
	done = type < 2 ? change_breakpoint(d, set, w.at) : change_watchpoint(d, set, &w);
	gdb_reply(g, done ? "OK" : "E28");
}

static void do_ok(struct gdb *g, const char *p)
{
	gdb_reply(g, "OK");
}

static void do_detach(struct gdb *g, const char *p)
{
	gdb_reply(g, "OK");
	gdb_leave(g);
}

static void do_kill(struct gdb *g, const char *p)
{
	machine_post(g->machine, EVENT_QUIT, 0);
}

static const struct command {
	char letter;
	void (*act)(struct gdb *g, const char *rest);
} commands[] = {
	{'?', do_why},        {'g', do_read_regs},   {'G', do_write_regs},   {'p', do_read_reg},
	{'P', do_write_reg},  {'m', do_read_memory}, {'M', do_write_memory}, {'X', do_write_binary},
	{'c', do_continue},   {'C', do_continue},    {'s', do_step},         {'S', do_step},
	{'v', do_v},          {'q', do_query},       {'Q', do_set},          {'Z', do_breakpoint},
	{'z', do_breakpoint}, {'H', do_ok},          {'T', do_ok},           {'D', do_detach},
	{'k', do_kill},
};

void gdb_take_packet(struct gdb *g, const char *p, size_t n)
{
	g->packet_end = p + n;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].letter == *p) {
			commands[i].act(g, p + 1);
			return;
		}
	gdb_reply(g, "");
}
