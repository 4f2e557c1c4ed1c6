// SPDX-License-Identifier: MIT
//
// virtio-console (Virtio 1.x, "Console Device"), with the multiport feature: each port has a pair of queues, and a pair
// of control queues says what ports there are, how they are called and who has them open. What is to be said to the
// driver is a set of bits for each port, not a list: however often it asks, nothing grows.
//
// A chain that the host end takes only in part goes back onto its queue, and `sent` says how far we were. Input is
// read while the port's buffer is empty and somebody in the guest has the port open; a console always is.
#include "virtio/console.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { F_MULTIPORT = 1, F_EMERGENCY_WRITE = 2, EMERGENCY_WRITE_AT = 8, PIECE = 4096 };
enum { RX = 0, TX = 1, CONTROL_RX = 2, CONTROL_TX = 3 };
enum event { DEVICE_READY, PORT_ADD, PORT_REMOVE, PORT_READY, CONSOLE_PORT, RESIZE, PORT_OPEN, PORT_NAME };

struct control {
	uint32_t id;
	uint16_t event, value;
};

static unsigned queue_of(unsigned port, unsigned way)
{
	return port ? 2 * port + 2 + way : way;
}

static bool has_control(const struct virtio_console *v)
{
	return virtio_has(&v->dev, F_MULTIPORT);
}

// -- what the driver is told

static bool say(struct virtio_console *v, const struct console_port *p, enum event e, uint16_t value)
{
	const struct control m = {p->nr, e, value};
	struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};
	struct virtq *q = &v->dev.queue[CONTROL_RX];
	size_t n;

	if (!virtq_pop(q, &c))
		return false;
	n = virtio_chain_write(&c, 0, &m, sizeof(m));
	if (e == PORT_NAME)
		n += virtio_chain_write(&c, n, p->name, strlen(p->name));
	virtq_push(q, c.head, (uint32_t)n);
	return true;
}

static void say_what_waits(struct virtio_console *v)
{
	static const enum event order[] = {PORT_ADD, CONSOLE_PORT, PORT_NAME, PORT_OPEN};

	if (!has_control(v))
		return;
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *p = &v->port[i];

		for (size_t k = 0; k < ARRAY_SIZE(order) && p->tell; k++) {
			enum event e = order[k];

			if (!(p->tell & BIT(e)))
				continue;
			if (!say(v, p, e, e == PORT_OPEN ? p->host_open : 1))
				goto out;
			p->tell &= ~BIT(e);
		}
	}
out:
	virtq_signal(&v->dev.queue[CONTROL_RX]);
}

// -- data

static bool wants_input(const struct console_port *p)
{
	return virtio_running(&p->owner->dev) && p->in_start == p->in_end &&
	       (p->guest_open || p->console || !has_control(p->owner));
}

// What has come goes into the guest's buffers as far as there are some.
static void give_input(struct console_port *p)
{
	struct virtio_console *v = p->owner;
	struct virtq *q = &v->dev.queue[queue_of(p->nr, RX)];

	while (p->in_start < p->in_end) {
		struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};
		size_t n;

		if (!virtq_pop(q, &c))
			break;
		n = virtio_chain_write(&c, 0, p->in + p->in_start, p->in_end - p->in_start);
		p->in_start += n;
		virtq_push(q, c.head, (uint32_t)n);
	}
	virtq_signal(q);
}

static size_t port_room(void *opaque, uint8_t **at)
{
	struct console_port *p = opaque;

	if (!wants_input(p))
		return 0;
	p->in_start = p->in_end = 0;
	*at = p->in;
	return sizeof(p->in);
}

static void port_filled(void *opaque, size_t n)
{
	struct console_port *p = opaque;

	p->in_end = (unsigned)n;
	give_input(p);
}

static void accept_input(struct console_port *p)
{
	give_input(p);
	if (p->chardev.opened && wants_input(p))
		chardev_accept_input(&p->chardev);
}

// False: the host end takes no more now.
static bool send_chain(struct console_port *p, const struct virtio_chain *c)
{
	uint8_t piece[PIECE];
	size_t n;

	if (!p->chardev.opened || !p->chardev.up)
		goto out;
	while ((n = virtio_chain_read(c, p->sent, piece, sizeof(piece))) > 0) {
		ssize_t done = chardev_write(&p->chardev, piece, n);

		if (done < 0)
			return false;
		p->sent += (size_t)done;
	}
out:
	p->sent = 0;
	return true;
}

static void send_output(struct console_port *p)
{
	struct virtio_console *v = p->owner;
	struct virtq *q = &v->dev.queue[queue_of(p->nr, TX)];

	for (;;) {
		struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};

		if (!virtq_pop(q, &c))
			break;
		if (!send_chain(p, &c)) {
			virtq_unpop(q, c.head);
			break;
		}
		virtq_push(q, c.head, 0);
	}
	virtq_signal(q);
}

static void port_writable(void *opaque)
{
	send_output(opaque);
}

static void port_link(void *opaque, bool up)
{
	struct console_port *p = opaque;

	if (p->console)
		return; // always open
	p->host_open = up;
	if (!up)
		p->in_start = p->in_end = 0;
	p->tell |= BIT(PORT_OPEN);
	say_what_waits(p->owner);
}

static void tell_operators(struct virtio_console *v)
{
	if (v->dev.changed)
		v->dev.changed(v->dev.memory_opaque);
}

// -- what the driver says

static void obey(struct virtio_console *v, const struct control *m)
{
	struct console_port *p = m->id < CONSOLE_PORTS ? &v->port[m->id] : NULL;

	if (m->event == DEVICE_READY) {
		for (unsigned i = 0; i < CONSOLE_PORTS && m->value; i++)
			v->port[i].tell |= v->port[i].present ? BIT(PORT_ADD) : 0;
		return;
	}
	if (!p || !p->present)
		return;
	if (m->event == PORT_READY && m->value) {
		p->tell |= (p->console ? BIT(CONSOLE_PORT) : 0) | (*p->name ? BIT(PORT_NAME) : 0) |
			   (p->host_open ? BIT(PORT_OPEN) : 0);
	} else if (m->event == PORT_OPEN) {
		p->guest_open = m->value;
		tell_operators(v);
		accept_input(p);
	}
}

static void take_control(struct virtio_console *v)
{
	struct virtq *q = &v->dev.queue[CONTROL_TX];
	struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};

	while (virtq_pop(q, &c)) {
		struct control m;
		bool whole = virtio_chain_read(&c, 0, &m, sizeof(m)) == sizeof(m);

		virtq_push(q, c.head, 0);
		if (whole)
			obey(v, &m);
	}
	virtq_signal(q);
	say_what_waits(v);
}

// Of a port that is not there: its buffers come back at once.
static void discard(struct virtio_console *v, struct virtq *q)
{
	struct virtio_chain c = {.iov = v->iov, .room = VIRTQ_SEGMENTS_MAX};

	while (virtq_pop(q, &c))
		virtq_push(q, c.head, 0);
	virtq_signal(q);
}

static void console_kick(struct virtio_device *d, unsigned q)
{
	struct virtio_console *v = container_of(d, struct virtio_console, dev);
	struct console_port *p = &v->port[q < CONTROL_RX ? 0 : q / 2 - 1];

	if (q == CONTROL_RX)
		say_what_waits(v);
	else if (q == CONTROL_TX)
		take_control(v);
	else if ((q & 1) == RX)
		accept_input(p);
	else if (p->present)
		send_output(p);
	else
		discard(v, &d->queue[q]);
}

static void console_started(struct virtio_device *d)
{
	struct virtio_console *v = container_of(d, struct virtio_console, dev);

	for (unsigned i = 0; i < CONSOLE_PORTS; i++)
		accept_input(&v->port[i]);
}

static void console_reset(struct virtio_device *d)
{
	struct virtio_console *v = container_of(d, struct virtio_console, dev);

	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *p = &v->port[i];

		p->guest_open = false;
		p->tell = 0;
		p->sent = 0;
		p->in_start = p->in_end = 0;
	}
	v->space.emergency_write = 0;
	tell_operators(v);
}

static void console_config_write(struct virtio_device *d, unsigned off, unsigned size, uint32_t value)
{
	struct virtio_console *v = container_of(d, struct virtio_console, dev);
	const uint8_t byte = (uint8_t)value;

	if (off == EMERGENCY_WRITE_AT && v->port[0].present && v->port[0].chardev.opened)
		chardev_write(&v->port[0].chardev, &byte, 1); // what does not fit is lost
}

static void console_destroy(struct virtio_device *d)
{
	struct virtio_console *v = container_of(d, struct virtio_console, dev);

	for (unsigned i = 0; i < CONSOLE_PORTS; i++)
		chardev_close(&v->port[i].chardev);
}

static const struct virtio_class console_class = {
	.name = "virtio-serial", .id = VIRTIO_ID_CONSOLE, .pci_class = 0x078000, .in_order = true, .kick = console_kick,
	.started = console_started, .reset = console_reset, .config_write = console_config_write,
	.destroy = console_destroy,
};

void virtio_console_init(struct virtio_console *v, const struct mem *mem, unsigned ports)
{
	virtio_init(&v->dev, &console_class, mem, 2 * (ports + 1));
	v->dev.offered |= BIT64(F_MULTIPORT) | BIT64(F_EMERGENCY_WRITE);
	v->space.ports = ports;
	v->dev.config = &v->space;
	v->dev.config_size = sizeof(v->space);
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		v->port[i].owner = v;
		v->port[i].nr = i;
	}
}

void virtio_console_add(struct virtio_console *v, const struct console_port_config *c)
{
	struct console_port *p = &v->port[c->nr];

	p->present = true;
	p->config = c;
	p->console = p->host_open = c->console;
	memcpy(p->name, c->name, sizeof(p->name));
	p->to = c->to;
	p->chardev.user = (struct chardev_user){
		.room = port_room, .filled = port_filled, .writable = port_writable, .link = port_link, .opaque = p,
		.lock = &v->dev.lock,
	};
}

int virtio_console_open(struct virtio_console *v, struct loop *l, const struct mux *mux, char *err, size_t errlen)
{
	char why[400] = "";
	int r = 0;

	pthread_mutex_lock(&v->dev.lock);
	for (unsigned i = 0; i < CONSOLE_PORTS && r == 0; i++) {
		struct console_port *p = &v->port[i];

		if (!p->present || p->to.kind == STREAM_NONE)
			continue;
		p->chardev.mux = *mux;
		r = chardev_open(&p->chardev, l, &p->to, why, sizeof(why));
		if (r < 0)
			snprintf(err, errlen, "chardev '%s': %s", p->to.label, why[0] ? why : strerror(-r));
		else if (p->chardev.up)
			p->host_open = true;
	}
	pthread_mutex_unlock(&v->dev.lock);
	return r;
}

void virtio_console_drain(struct virtio_console *v, int until_fd)
{
	pthread_mutex_lock(&v->dev.lock);
	for (unsigned i = 0; i < CONSOLE_PORTS; i++) {
		struct console_port *p = &v->port[i];
		unsigned q = queue_of(i, TX);

		if (!p->present || !p->chardev.opened || q >= v->dev.nqueues)
			continue;
		send_output(p);
		while (virtq_has(&v->dev.queue[q]) && chardev_await_output(&p->chardev, until_fd))
			send_output(p);
	}
	pthread_mutex_unlock(&v->dev.lock);
}
