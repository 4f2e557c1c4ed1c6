// SPDX-License-Identifier: MIT
#include "machine/balloon.h"

#include <time.h>

#include "machine/machine.h"

static struct virtio_balloon *balloon_of(struct machine *m)
{
	for (unsigned i = 0; i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && m->virtio.config[i]->kind == VIRTIO_BALLOON)
			return container_of(m->virtio.pci[i].device, struct virtio_balloon, dev);
	return NULL;
}

bool balloon_ask(struct machine *m, uint64_t bytes)
{
	struct virtio_balloon *b = balloon_of(m);
	uint64_t ram = m->config->ram_size;
	uint64_t pages = (ram - MIN(bytes, ram)) / PAGE_SIZE;

	if (!b || pages > UINT32_MAX)
		return false;
	virtio_balloon_ask(b, (uint32_t)pages);
	return true;
}

// The driver says how much; more than there is counts as all.
bool balloon_memory(struct machine *m, uint64_t *bytes)
{
	struct virtio_balloon *b = balloon_of(m);
	uint64_t ram = m->config->ram_size;

	if (b)
		*bytes = ram - MIN((uint64_t)virtio_balloon_pages(b) * PAGE_SIZE, ram);
	return b;
}

static void poll_again(void *opaque)
{
	struct machine *m = opaque;
	struct virtio_balloon *b = balloon_of(m);
	struct timespec t;

	if (b)
		virtio_balloon_want_statistics(b);
	clock_gettime(CLOCK_MONOTONIC, &t);
	loop_timer_set(&m->balloon.timer, m->balloon.seconds ? ((uint64_t)t.tv_sec + m->balloon.seconds) * 1000000000 +
		       (uint64_t)t.tv_nsec : 0);
}

bool balloon_poll(struct machine *m, unsigned seconds)
{
	struct balloon_polling *p = &m->balloon;

	if (!p->has_timer && loop_timer_add(&m->loop, &p->timer, poll_again, m) < 0)
		return false;
	p->has_timer = true;
	p->seconds = seconds;
	poll_again(m);
	return true;
}

void balloon_stop(struct machine *m)
{
	if (m->balloon.has_timer)
		loop_timer_remove(&m->loop, &m->balloon.timer);
	m->balloon.has_timer = false;
}

bool balloon_statistics(struct machine *m, struct balloon_statistics *s)
{
	struct virtio_balloon *b = balloon_of(m);

	if (b)
		virtio_balloon_statistics(b, s);
	return b;
}

void balloon_tell(struct machine *m)
{
	struct virtio_balloon *b = balloon_of(m);

	if (!b || virtio_balloon_pages(b) == b->told)
		return;
	b->told = virtio_balloon_pages(b);
	machine_tell(m, NOTE_BALLOON, true, "");
}
