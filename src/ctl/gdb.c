// SPDX-License-Identifier: MIT
//
// The remote protocol's packets. While the vCPU runs only an interrupt (byte 3) is taken; everything else waits in the
// buffer until it has stopped, so that no register is read while it changes. Breakpoints are addresses in struct shared
// that the translator respects: guest memory is never patched.
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/gdb.h"
#include "ctl/gdb_listen.h"
#include "ctl/gdb_regs.h"
#include "ctl/peek.h"

enum { INTERRUPT = 3, SEND_PATIENCE_MS = 1000 };

static struct vcpu *vcpu(const struct gdb *g)
{
	return g->machine->vcpu[0];
}

static const struct mem *memory(const struct gdb *g)
{
	return &g->machine->shared->config.mem;
}

// -- sending

static void transmit(struct gdb *g, const char *bytes, size_t n)
{
	while (n) {
		ssize_t done = send(g->client.fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
		struct pollfd p = {.fd = g->client.fd, .events = POLLOUT};

		if (done < 0 && errno == EAGAIN && poll(&p, 1, SEND_PATIENCE_MS) > 0)
			continue;
		if (done <= 0)
			return; // the loop will see the hang-up
		bytes += done;
		n -= (size_t)done;
	}
}

static void send_packet(struct gdb *g, const char *text, size_t n)
{
	uint8_t sum = 0;

	n = MIN(n, sizeof(g->out) - 8);
	for (size_t i = 0; i < n; i++)
		sum += (uint8_t)text[i];
	g->out[0] = '$';
	memmove(g->out + 1, text, n);
	g->out_used = n + 1 + (size_t)sprintf(g->out + 1 + n, "#%02x", sum);
	transmit(g, g->out, g->out_used);
}

static void reply(struct gdb *g, const char *text)
{
	send_packet(g, text, strlen(text));
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

static size_t get_hex(uint8_t *bytes, const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int hi = hex_digit(text[2 * i]), lo = hi < 0 ? -1 : hex_digit(text[2 * i + 1]);

		if (lo < 0)
			return i;
		bytes[i] = (uint8_t)(hi << 4 | lo);
	}
	return n;
}

// -- stopping and going on
// ----------------------------------------------------------------------------------------------

static void say_stopped(struct gdb *g, uint32_t reason)
{
	g->owes_reply = false;
	if (reason == STOP_BREAKPOINT)
		reply(g, "T05swbreak:;thread:1;");
	else
		reply(g, g->interrupted && reason == STOP_ASKED ? "T02thread:1;" : "T05thread:1;");
	g->interrupted = false;
}

static void go_on(struct gdb *g, enum resume how)
{
	if (!g->stopped)
		return;
	g->stopped = false;
	machine_resume(g->machine, how);
}

static void work_off(struct gdb *g);

static void on_stopped(void *opaque, unsigned index, uint32_t reason, uint64_t addr)
{
	struct gdb *g = opaque;

	g->stopped = true;
	if (!g->connected && (g->had_client || !g->machine->config->start_stopped)) {
		go_on(g, RESUME_RUN); // the debugger that asked has gone
		return;
	}
	if (g->owes_reply)
		say_stopped(g, reason);
	work_off(g);
}

static void leave(struct gdb *g)
{
	if (!g->connected)
		return;
	g->connected = false;
	loop_remove(&g->machine->loop, &g->client);
	close(g->client.fd);
	g->client.fd = -1;
	g->machine->shared->debugger.breakpoints = 0;
	g->owes_reply = false;
	go_on(g, RESUME_RUN);
}

// -- packets
// ------------------------------------------------------------------------------------------------------------

static void do_why(struct gdb *g, const char *p)
{
	reply(g, "T05thread:1;");
}

static void do_read_regs(struct gdb *g, const char *p)
{
	char text[2 * GDB_REGS_BYTES];
	uint8_t bytes[GDB_REG_BYTES_MAX];
	size_t used = 0;

	for (unsigned i = 0; i < gdb_regs_count(); i++)
		used += put_hex(text + used, bytes, gdb_reg_read(vcpu(g), i, bytes));
	send_packet(g, text, used);
}

static void do_write_regs(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX], old[GDB_REG_BYTES_MAX];

	for (unsigned i = 0; i < gdb_regs_count(); i++) {
		size_t n = gdb_reg_read(vcpu(g), i, old);

		if (get_hex(bytes, p, n) != n)
			break;
		gdb_reg_write(vcpu(g), i, bytes);
		p += 2 * n;
	}
	reply(g, "OK");
}

static void do_read_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX];
	char text[2 * GDB_REG_BYTES_MAX + 1];
	size_t n = gdb_reg_read(vcpu(g), (unsigned)strtoul(p, NULL, 16), bytes);

	send_packet(g, text, put_hex(text, bytes, n));
}

static void do_write_reg(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_REG_BYTES_MAX] = {0};
	char *value;
	unsigned n = (unsigned)strtoul(p, &value, 16);

	if (*value == '=' && gdb_reg_read(vcpu(g), n, bytes) && get_hex(bytes, value + 1, sizeof(bytes)) &&
	    gdb_reg_write(vcpu(g), n, bytes))
		reply(g, "OK");
	else
		reply(g, "E22");
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
		reply(g, "E22");
		return;
	}
	len = peek_read(memory(g), vcpu(g), addr, bytes, MIN(len, sizeof(bytes)));
	if (len)
		send_packet(g, text, put_hex(text, bytes, len));
	else
		reply(g, "E14");
}

static void do_write_memory(struct gdb *g, const char *p)
{
	uint8_t bytes[GDB_PACKET_MAX / 2];
	uint64_t addr, len;
	const char *data = get_range(p, &addr, &len);

	if (!data || *data != ':' || len > sizeof(bytes) || get_hex(bytes, data + 1, len) != len)
		reply(g, "E22");
	else
		reply(g, peek_write(memory(g), vcpu(g), addr, bytes, len) == len ? "OK" : "E14");
}

static void do_continue(struct gdb *g, const char *p)
{
	g->owes_reply = true;
	go_on(g, RESUME_RUN);
}

static void do_step(struct gdb *g, const char *p)
{
	g->owes_reply = true;
	go_on(g, RESUME_STEP);
}

static void do_v(struct gdb *g, const char *p)
{
	if (!strcmp(p, "Cont?"))
		reply(g, "vCont;c;C;s;S");
	else if (!strncmp(p, "Cont;s", 6) || !strncmp(p, "Cont;S", 6))
		do_step(g, p);
	else if (!strncmp(p, "Cont;c", 6) || !strncmp(p, "Cont;C", 6))
		do_continue(g, p);
	else if (!strncmp(p, "Kill", 4)) {
		reply(g, "OK");
		machine_post(g->machine, EVENT_QUIT, 0);
	} else
		reply(g, "");
}

static void do_query(struct gdb *g, const char *p)
{
	char text[GDB_PACKET_MAX];
	uint64_t offset, len;

	if (!strncmp(p, "Supported", 9)) {
		snprintf(text, sizeof(text),
			 "PacketSize=%x;qXfer:features:read+;QStartNoAckMode+;swbreak+;vContSupported+",
			 GDB_PACKET_MAX);
		reply(g, text);
	} else if (!strncmp(p, "Xfer:features:read:target.xml:", 30) && get_range(p + 30, &offset, &len)) {
		size_t n = gdb_target_xml(text + 1, offset, MIN(len, sizeof(text) - 1));

		text[0] = n == len ? 'm' : 'l';
		send_packet(g, text, n + 1);
	} else if (!strcmp(p, "Attached")) {
		reply(g, "1");
	} else if (!strcmp(p, "C")) {
		reply(g, "QC1");
	} else if (!strcmp(p, "fThreadInfo")) {
		reply(g, "m1");
	} else if (!strcmp(p, "sThreadInfo")) {
		reply(g, "l");
	} else {
		reply(g, "");
	}
}

static void do_set(struct gdb *g, const char *p)
{
	if (strcmp(p, "StartNoAckMode")) {
		reply(g, "");
		return;
	}
	reply(g, "OK");
	g->no_ack = true;
}

static void do_breakpoint(struct gdb *g, const char *p)
{
	struct debugger *d = &g->machine->shared->debugger;
	bool set = p[-1] == 'Z';
	uint64_t addr, len;
	uint32_t i;

	if ((*p != '0' && *p != '1') || p[1] != ',' || !get_range(p + 2, &addr, &len)) {
		reply(g, ""); // watchpoints are not built
		return;
	}
	for (i = 0; i < d->breakpoints && d->breakpoint[i] != addr; i++)
		;
	if (set && i == BREAKPOINTS_MAX) {
		reply(g, "E28");
		return;
	}
	if (set && i == d->breakpoints)
		d->breakpoint[d->breakpoints++] = addr;
	if (!set && i < d->breakpoints)
		d->breakpoint[i] = d->breakpoint[--d->breakpoints];
	reply(g, "OK");
}

static void do_ok(struct gdb *g, const char *p)
{
	reply(g, "OK");
}

static void do_detach(struct gdb *g, const char *p)
{
	reply(g, "OK");
	leave(g);
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

static void take_packet(struct gdb *g, const char *p)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].letter == *p) {
			commands[i].act(g, p + 1);
			return;
		}
	reply(g, "");
}

// -- receiving
// ----------------------------------------------------------------------------------------------------------

static void drop(struct gdb *g, size_t n)
{
	memmove(g->in, g->in + n, g->in_used - n);
	g->in_used -= n;
}

// One packet from the front of the buffer. False: it is not there whole, or must wait until the vCPU has stopped.
static bool take_one(struct gdb *g)
{
	char packet[sizeof(g->in)], *hash;
	uint8_t sum = 0, given;
	size_t len;

	if (!g->in_used)
		return false;
	if (g->in[0] == INTERRUPT) {
		drop(g, 1);
		g->interrupted = true;
		if (!g->stopped)
			machine_ask_stop(g->machine);
		return true;
	}
	if (g->in[0] == '-')
		transmit(g, g->out, g->out_used);
	if (g->in[0] != '$') {
		drop(g, 1);
		return true;
	}
	hash = memchr(g->in, '#', g->in_used);
	if (!g->stopped || !hash || hash + 3 > g->in + g->in_used)
		return false;
	len = (size_t)(hash - g->in) - 1;
	memcpy(packet, g->in + 1, len);
	packet[len] = 0;
	for (size_t i = 0; i < len; i++)
		sum += (uint8_t)packet[i];
	bool good = get_hex(&given, hash + 1, 1) == 1 && given == sum;

	drop(g, len + 4);
	if (!g->no_ack)
		transmit(g, good ? "+" : "-", 1);
	if (good)
		take_packet(g, packet);
	return true;
}

static void work_off(struct gdb *g)
{
	while (g->connected && take_one(g))
		;
	if (g->in_used == sizeof(g->in)) // no packet is that long
		leave(g);
}

static void on_client(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	ssize_t n = recv(g->client.fd, g->in + g->in_used, sizeof(g->in) - g->in_used, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(g);
		return;
	}
	g->in_used += (size_t)n;
	work_off(g);
}

static void on_connection(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	int fd = accept4(g->listener.fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (g->connected) {
		close(fd); // one at a time
		return;
	}
	g->client = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = on_client, .opaque = g};
	if (loop_add(&g->machine->loop, &g->client) < 0) {
		close(fd);
		return;
	}
	g->connected = g->had_client = true;
	g->no_ack = g->owes_reply = g->interrupted = false;
	g->in_used = g->out_used = 0;
	if (!g->stopped)
		machine_ask_stop(g->machine);
}

int gdb_open(struct gdb *g, struct machine *m, const char *where, char *err, size_t errlen)
{
	int fd, r;

	memset(g, 0, sizeof(*g));
	g->machine = m;
	g->client.fd = -1;
	fd = gdb_listen(where, g->unix_path, sizeof(g->unix_path), err, errlen);
	g->listener = (struct loop_fd){.fd = fd, .events = EPOLLIN, .ready = on_connection, .opaque = g};
	if (fd < 0)
		return fd;
	r = loop_add(&m->loop, &g->listener);
	if (r < 0) {
		snprintf(err, errlen, "-gdb: %s", strerror(-r));
		return r;
	}
	m->stopped = on_stopped;
	m->stopped_opaque = g;
	return 0;
}

void gdb_close(struct gdb *g, int status)
{
	char text[8];

	if (!g->machine)
		return;
	if (g->connected) {
		snprintf(text, sizeof(text), "W%02x", status & 0xff);
		reply(g, text);
		g->stopped = false; // there is nothing left to go on
		leave(g);
	}
	if (g->listener.fd >= 0) {
		loop_remove(&g->machine->loop, &g->listener);
		close(g->listener.fd);
	}
	if (g->unix_path[0])
		unlink(g->unix_path);
	g->machine = NULL;
}
