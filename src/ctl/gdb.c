// SPDX-License-Identifier: MIT
//
// The debugger's connection: bytes in, packets out of them, and the vCPU's stops. While the vCPU runs only an interrupt
// (byte 3) is taken; everything else waits in the buffer until it has stopped, so that no register is read while it
// changes.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl/gdb_listen.h"
#include "ctl/gdb_wire.h"

enum { INTERRUPT = 3 };

// -- stopping and going on

static void say_stopped(struct gdb *g, uint32_t reason)
{
	static const char *const kinds[] = {[WATCH_WRITE] = "watch", [WATCH_READ] = "rwatch", [WATCH_ACCESS] = "awatch"};
	const struct debugger *d = &g->machine->shared->debugger;
	char text[64];

	g->owes_reply = false;
	if (reason == STOP_WATCHPOINT) {
		snprintf(text, sizeof(text), "T05%s:%llx;thread:1;", kinds[d->hit_kind % 3], (unsigned long long)d->hit_at);
		gdb_reply(g, text);
	} else if (reason == STOP_BREAKPOINT)
		gdb_reply(g, "T05swbreak:;thread:1;");
	else
		gdb_reply(g, g->interrupted && reason == STOP_ASKED ? "T02thread:1;" : "T05thread:1;");
	g->interrupted = false;
}

void gdb_go_on(struct gdb *g, enum resume how)
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
		gdb_go_on(g, RESUME_RUN); // the debugger that asked has gone
		return;
	}
	if (g->owes_reply)
		say_stopped(g, reason);
	work_off(g);
}

void gdb_leave(struct gdb *g)
{
	if (!g->connected)
		return;
	g->connected = false;
	loop_remove(&g->machine->loop, &g->client);
	close(g->client.fd);
	g->client.fd = -1;
	g->machine->shared->debugger.breakpoints = g->machine->shared->debugger.watchpoints = 0;
	g->owes_reply = false;
	gdb_go_on(g, RESUME_RUN);
}

// -- receiving

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
		gdb_transmit(g, g->out, g->out_used);
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
	bool good = gdb_get_hex(&given, hash + 1, 1) == 1 && given == sum;

	drop(g, len + 4);
	if (!g->no_ack)
		gdb_transmit(g, good ? "+" : "-", 1);
	if (good)
		gdb_take_packet(g, packet, len);
	return true;
}

static void work_off(struct gdb *g)
{
	while (g->connected && take_one(g))
		;
	if (g->in_used == sizeof(g->in)) // no packet is that long
		gdb_leave(g);
}

static void on_client(void *opaque, uint32_t events)
{
	struct gdb *g = opaque;
	ssize_t n = recv(g->client.fd, g->in + g->in_used, sizeof(g->in) - g->in_used, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		gdb_leave(g);
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
		gdb_reply(g, text);
		g->stopped = false; // there is nothing left to go on
		gdb_leave(g);
	}
	if (g->listener.fd >= 0) {
		loop_remove(&g->machine->loop, &g->listener);
		close(g->listener.fd);
	}
	if (g->unix_path[0])
		unlink(g->unix_path);
	g->machine = NULL;
}
