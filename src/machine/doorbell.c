// SPDX-License-Identifier: MIT
//
// The doorbells of virtio devices: for each device a thread that sleeps on its bell (bus/pci_app.h) and lets the device
// serve the queues that were notified. So a device that is busy keeps no other waiting. When the last silence was short
// the next is likely to be: then the thread looks on before it sleeps, as a wake-up takes longer than a small request;
// while it does it yields to whoever else has work. A disk's requests that end meanwhile it takes from the host itself.
#include "machine/doorbell.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <x86intrin.h>

#include "host/futex.h"
#include "host/thread.h"
#include "machine/machine.h"

enum { LOOK_ON_NS = 300000, YIELD_TURNS = 16 };

struct doorbell {
	struct machine *machine;
	struct virtio_pci *function;
	pthread_t thread;
	bool runs;
	_Atomic bool quit; // its device goes
};

static bool has_work(struct doorbell *d)
{
	return atomic_load_explicit(&d->function->app->kicks, memory_order_acquire) || atomic_load(&d->machine->quit) ||
	       atomic_load(&d->quit);
}

static void look(struct doorbell *d, bool last)
{
	struct virtio_device *device = d->function->device;

	if (device->class->look)
		device->class->look(device, last);
}

static bool look_on(struct doorbell *d, uint64_t cycles)
{
	uint64_t since = __rdtsc();

	for (unsigned i = 1; !has_work(d); i++) {
		if (__rdtsc() - since >= cycles)
			return false;
		look(d, false);
		_mm_pause();
		if (!(i % YIELD_TURNS))
			sched_yield();
	}
	return true;
}

static void sleep_until_rung(struct doorbell *d)
{
	struct pci_app *a = d->function->app;
	uint32_t seen = atomic_load(&a->bell);

	look(d, true);
	atomic_store(&a->asleep, 1);
	if (!has_work(d))
		host_futex_wait(&a->bell, seen, NULL);
	atomic_store(&a->asleep, 0);
}

static void *listen_to(void *opaque)
{
	struct doorbell *d = opaque;
	uint64_t patience = d->machine->shared->config.tsc_hz / (UINT64_C(1000000000) / LOOK_ON_NS), since;
	bool was_short = false;

	while (!atomic_load(&d->machine->quit) && !atomic_load(&d->quit)) {
		virtio_pci_kicked(d->function);
		since = __rdtsc();
		if (!was_short || !look_on(d, patience))
			sleep_until_rung(d);
		was_short = __rdtsc() - since < patience;
	}
	look(d, true);
	return NULL;
}

int doorbell_start(struct machine *m, unsigned i)
{
	struct doorbell *d = &m->virtio.doorbell[i];
	int r;

	*d = (struct doorbell){.machine = m, .function = &m->virtio.pci[i]};
	r = pthread_create(&d->thread, NULL, listen_to, d);
	d->runs = !r;
	return -r;
}

void doorbell_stop(struct machine *m, unsigned i)
{
	struct doorbell *d = &m->virtio.doorbell[i];

	atomic_store(&d->quit, true);
	if (d->runs)
		host_join_woken(d->thread, &m->virtio.pci[i].app->bell);
	d->runs = false;
}

int doorbells_start(struct machine *m)
{
	struct virtio_bus *b = &m->virtio;
	int r = 0;

	b->doorbell = calloc(PCI_APP_MAX, sizeof(*b->doorbell));
	if (!b->doorbell)
		return -ENOMEM;
	for (unsigned i = 0; !r && i < b->count; i++)
		r = doorbell_start(m, i);
	return r;
}

void doorbells_stop(struct machine *m)
{
	for (unsigned i = 0; m->virtio.doorbell && i < m->virtio.count; i++)
		doorbell_stop(m, i);
	free(m->virtio.doorbell);
	m->virtio.doorbell = NULL;
}
