// SPDX-License-Identifier: MIT
//
// The app's end of a world switch: a thread for each vCPU answers its requests, another turns the monitors' doorbell
// into an event of the loop. A busy vCPU is waited for by spinning a little, an idle one costs nothing. A request that
// ends or stops the machine is not answered here: the thread waits until the loop has dealt with it (machine_resume, or
// reset).
#include <string.h>
#include <x86intrin.h>

#include "host/futex.h"
#include "host/thread.h"
#include "machine/doorbell.h"
#include "machine/machine.h"

enum { SPIN_NS = 30000, DOORBELL_REST_NS = 200000 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static bool is_posted(struct request *r)
{
	return atomic_load_explicit(&r->state, memory_order_acquire) == REQ_POSTED;
}

// False: the machine is being taken down.
static bool wait_posted(struct machine *m, struct request *r)
{
	uint64_t spin_until = now_ns() + SPIN_NS;

	while (!atomic_load(&m->quit)) {
		uint32_t seen;

		if (is_posted(r))
			return true;
		if (now_ns() < spin_until) {
			for (int i = 0; i < 32 && !is_posted(r); i++)
				_mm_pause();
			continue;
		}
		atomic_store(&r->app_asleep, 1);
		seen = atomic_load(&r->state);
		if (seen != REQ_POSTED)
			host_futex_wait(&r->state, seen, NULL);
		atomic_store(&r->app_asleep, 0);
	}
	return false;
}

static void answer(struct request *r, uint64_t value)
{
	r->value = value;
	atomic_store(&r->state, REQ_ANSWERED);
	if (atomic_load(&r->monitor_asleep))
		host_futex_wake(&r->state);
}

static uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : BIT64(size * 8) - 1;
}

static uint64_t access_device(struct machine *m, uint32_t kind, uint64_t addr, unsigned size, uint64_t value)
{
	enum bus_space space = kind == REQ_PORT_READ || kind == REQ_PORT_WRITE ? BUS_PORT : BUS_MMIO;
	bool read = kind == REQ_PORT_READ || kind == REQ_MMIO_READ;

	if (size != 1 && size != 2 && size != 4 && size != 8)
		return UINT64_MAX;
	pthread_mutex_lock(&m->lock);
	if (!read)
		bus_write(&m->bus, space, addr, size, value & ones(size));
	else if (!bus_read(&m->bus, space, addr, size, &value))
		value = ones(size);
	pthread_mutex_unlock(&m->lock);
	return value;
}

// As often as `count` says. Both ends are the monitor's to say, so they are bounded here.
static uint64_t access_block(struct machine *m, struct request *r, bool write)
{
	unsigned size = r->size;
	uint64_t count = r->value;

	if ((size != 1 && size != 2 && size != 4) || count > REQUEST_BLOCK / size)
		return 0;
	for (uint64_t i = 0; i < count; i++) {
		uint64_t value = 0;

		if (write)
			memcpy(&value, r->block + i * size, size);
		value = access_device(m, write ? REQ_PORT_WRITE : REQ_PORT_READ, r->addr, size, value);
		if (!write)
			memcpy(r->block + i * size, &value, size);
	}
	return 0;
}

static uint64_t serve(struct machine *m, struct request *r)
{
	switch (r->kind) {
	case REQ_PORT_READ:
	case REQ_PORT_WRITE:
	case REQ_MMIO_READ:
	case REQ_MMIO_WRITE:
		return access_device(m, r->kind, r->addr, r->size, r->value);
	case REQ_PORT_READ_BLOCK:
	case REQ_PORT_WRITE_BLOCK:
		return access_block(m, r, r->kind == REQ_PORT_WRITE_BLOCK);
	case REQ_PCI_READ:
	case REQ_PCI_WRITE:
		return virtio_bus_access(m, r->kind == REQ_PCI_WRITE, r->addr, r->size, r->value);
	case REQ_TIMERS:
		pthread_mutex_lock(&m->lock);
		bus_run_timers(&m->bus);
		pthread_mutex_unlock(&m->lock);
		break;
	case REQ_SHUTDOWN:
		machine_post(m, EVENT_SHUTDOWN, 0);
		break;
	case REQ_RESET:
		machine_post(m, EVENT_RESET, r->value);
		break;
	case REQ_CRASH:
		machine_post(m, EVENT_CRASH, 0);
		break;
	case REQ_STOPPED:
		machine_post(m, EVENT_STOPPED, r->value);
		break;
	}
	return 0;
}

static void *server_thread(void *opaque)
{
	const struct monitor *mon = opaque;
	struct machine *m = mon->machine;
	struct request *r = &m->shared->request[mon->vcpu];

	while (wait_posted(m, r)) {
		uint64_t value;
		uint32_t epoch;

		epoch = atomic_load(&m->epoch);
		machine_posted = false;
		value = serve(m, r);
		if (!machine_posted)
			answer(r, value);
		else
			while (!atomic_load(&m->quit) && atomic_load(&m->epoch) == epoch)
				host_futex_wait(&m->epoch, epoch, NULL);
	}
	return NULL;
}

// After each ring the listener rests, so that a stream of bytes costs the monitor few wake-ups; the first is passed on
// at once, and what comes during the rest is seen at its end.
static void *listener_thread(void *opaque)
{
	struct machine *m = opaque;
	struct shared *s = m->shared;
	const struct timespec rest = { .tv_nsec = DOORBELL_REST_NS };
	uint32_t seen = 0;

	while (!atomic_load(&m->quit)) {
		atomic_store(&s->doorbell_asleep, 1);
		if (atomic_load(&s->doorbell) == seen)
			host_futex_wait(&s->doorbell, seen, NULL);
		atomic_store(&s->doorbell_asleep, 0);
		if (atomic_load(&s->doorbell) == seen)
			continue;
		seen = atomic_load(&s->doorbell);
		loop_event_raise(&m->doorbell);
		nanosleep(&rest, NULL);
	}
	return NULL;
}

int machine_start_threads(struct machine *m)
{
	int err = 0;

	atomic_store(&m->quit, false);
	for (unsigned i = 0; !err && i < m->config->vcpus; i++) {
		struct monitor *mon = &m->monitor[i];

		err = pthread_create(&mon->server, NULL, server_thread, mon);
		mon->server_runs = !err;
	}
	if (!err) {
		err = pthread_create(&m->listener, NULL, listener_thread, m);
		m->listener_runs = !err;
	}
	return err ? -err : doorbells_start(m);
}

void machine_stop_threads(struct machine *m)
{
	atomic_store(&m->quit, true);
	machine_next_epoch(m);
	for (unsigned i = 0; i < m->config->vcpus; i++) {
		if (m->monitor[i].server_runs)
			host_join_woken(m->monitor[i].server, &m->shared->request[i].state);
		m->monitor[i].server_runs = false;
	}
	if (m->listener_runs)
		host_join_woken(m->listener, &m->shared->doorbell);
	m->listener_runs = false;
	doorbells_stop(m);
}
