// SPDX-License-Identifier: MIT
//
// What the remote protocol's packets do to the stopped vCPU: one function each, in one table. Breakpoints are addresses
// in struct shared that the translator respects: guest memory is never patched for them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/gdb_packets.h"
#include "ctl/gdb_regs.h"
#include "ctl/peek.h"

static struct vcpu *vcpu(const struct gdb *g)
{
	return g->machine->vcpu[0];
}

static const struct mem *memory(const struct gdb *g)
{
	return &g->machine->shared->config.mem;
}

static size_t put_hex(char *out, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", bytes[i]);
	return 2 * n;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

size_t gdb_get_hex(uint8_t *bytes, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(text[2 * i]), lo = hi < 0 ? -1 : hex_digit(text[2 * i + 1]);

		if (lo < 0)
			return i;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	return n;
}

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
		used += put_hex(text + used, bytes, gdb_reg_read(vcpu(g), i, bytes));
	gdb_send(g, text, used);
}

static void do_write_regs(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX], old[GDB_REG_BYTES_MAX];

	for (unsigned i = 0; i < gdb_regs_count(); i++) {
		size_t n = gdb_reg_read(vcpu(g), i, old);

		if (gdb_get_hex(bytes, p, n) != n)
			break;
		gdb_reg_write(vcpu(g), i, bytes);
		p += 2 * n;
	}
	gdb_reply(g, "OK");
}

static void do_read_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX];
	char text[2 * GDB_REG_BYTES_MAX + 1];
	size_t n = gdb_reg_read(vcpu(g), (unsigned)strtoul(p, NULL, 16), bytes);

	gdb_send(g, text, put_hex(text, bytes, n));
}

static void do_write_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX] = {0};
	char *value;
	unsigned n = (unsigned)strtoul(p, &value, 16);

	if (*value == '=' && gdb_reg_read(vcpu(g), n, bytes) && gdb_get_hex(bytes, value + 1, sizeof(bytes)) &&
	    gdb_reg_write(vcpu(g), n, bytes))
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
	len = peek_read(memory(g), vcpu(g), addr, bytes, MIN(len, sizeof(bytes)));
	if (len)
		gdb_send(g, text, put_hex(text, bytes, len));
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
		gdb_reply(g, peek_write(memory(g), vcpu(g), addr, bytes, len) == len ? "OK" : "E14");
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

static void do_breakpoint(struct gdb *g, const char *p)
{
	struct debugger *d = &g->machine->shared->debugger;
	bool set = p[-1] == 'Z';
	uint64_t addr, len;
	uint32_t i;

	if ((*p != '0' && *p != '1') || p[1] != ',' || !get_range(p + 2, &addr, &len)) {
		gdb_reply(g, ""); // watchpoints are not built
		return;
	}
	for (i = 0; i < d->breakpoints && d->breakpoint[i] != addr; i++)
		;
	if (set && i == BREAKPOINTS_MAX) {
		gdb_reply(g, "E28");
		return;
	}
	if (set && i == d->breakpoints)
		d->breakpoint[d->breakpoints++] = addr;
	if (!set && i < d->breakpoints)
		d->breakpoint[i] = d->breakpoint[--d->breakpoints];
	gdb_reply(g, "OK");
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
	{'?', do_why}, {'g', do_read_regs}, {'G', do_write_regs}, {'p', do_read_reg}, {'P', do_write_reg},
	{'m', do_read_memory}, {'M', do_write_memory}, {'c', do_continue}, {'C', do_continue}, {'s', do_step},
	{'S', do_step}, {'v', do_v}, {'q', do_query}, {'Q', do_set}, {'Z', do_breakpoint}, {'z', do_breakpoint},
	{'H', do_ok}, {'T', do_ok}, {'D', do_detach}, {'k', do_kill},
};

void gdb_take_packet(struct gdb *g, const char *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].letter == *p) {
			commands[i].act(g, p + 1);
			return;
		}
	gdb_reply(g, "");
}
