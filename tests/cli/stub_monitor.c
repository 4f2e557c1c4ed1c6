// SPDX-License-Identifier: MIT
//
// A monitor with no processor, for tests of the app: it maps the state as ringer-vmm does, greets on the first serial
// port, and does what each byte typed there says. So the app's half of every exchange can be tested without a guest.
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bus/shared.h"
#include "cpu/vcpu.h"
#include "host/futex.h"
#include "mem/zone.h"

static struct shared *shared;

static void ring_doorbell(void)
{
	atomic_fetch_add(&shared->doorbell, 1);
	if (atomic_load(&shared->doorbell_asleep))
		host_futex_wake(&shared->doorbell);
}

static struct vcpu *vcpu(void)
{
	return (struct vcpu *)ZONE_VCPU(0);
}

static void sleep_for_lines(void)
{
	atomic_store(&shared->vcpu_asleep[0], 1);
	while (!(atomic_load(&vcpu()->pending) & PENDING_LINES))
		host_futex_wait(&vcpu()->pending, atomic_load(&vcpu()->pending) & ~PENDING_LINES, NULL);
	atomic_store(&shared->vcpu_asleep[0], 0);
	atomic_fetch_and(&vcpu()->pending, ~(uint32_t)PENDING_LINES);
}

static void put(uint8_t byte)
{
	struct ring *r = &shared->serial_tx[0];

	while (r->head - r->tail == RING_SIZE) {
		atomic_store(&r->writer_waits, 1);
		ring_doorbell();
		if (r->head - r->tail == RING_SIZE)
			sleep_for_lines();
	}
	r->data[r->head % RING_SIZE] = byte;
	atomic_fetch_add(&r->head, 1);
}

static void say(const char *text)
{
	while (*text)
		put((uint8_t)*text++);
	ring_doorbell();
}

static int get(void)
{
	struct ring *r = &shared->serial_rx[0];
	uint8_t byte;

	while (r->head == r->tail)
		sleep_for_lines();
	byte = r->data[r->tail % RING_SIZE];
	atomic_fetch_add(&r->tail, 1);
	if (atomic_exchange(&r->writer_waits, 0))
		ring_doorbell();
	return byte;
}

static uint64_t ask(uint32_t kind, uint64_t addr, uint32_t size, uint64_t value)
{
	struct request *r = &shared->request[0];

	r->kind = kind;
	r->addr = addr;
	r->size = size;
	r->value = value;
	atomic_store(&r->state, REQ_POSTED);
	if (atomic_load(&r->app_asleep))
		host_futex_wake(&r->state);
	atomic_store(&r->monitor_asleep, 1);
	while (atomic_load(&r->state) != REQ_ANSWERED)
		host_futex_wait(&r->state, REQ_POSTED, NULL);
	atomic_store(&r->monitor_asleep, 0);
	atomic_store(&r->state, REQ_IDLE);
	return r->value;
}

static void trace(const char *text)
{
	struct ring *r = &shared->trace;

	for (; *text; text++) {
		r->data[r->head % RING_SIZE] = (uint8_t)*text;
		atomic_fetch_add(&r->head, 1);
	}
	ring_doorbell();
}

static void flood(unsigned lines)
{
	char text[32];

	for (unsigned i = 0; i < lines; i++) {
		snprintf(text, sizeof(text), "line %u\n", i);
		say(text);
	}
}

static void count_input(void)
{
	char text[32];
	unsigned n = 0;

	while (get() != '.')
		n++;
	snprintf(text, sizeof(text), "counted %u\n", n);
	say(text);
}

// A thousand world switches that nobody answers but with ones.
static void switches(void)
{
	bool ones = true;

	for (unsigned i = 0; i < 1000; i++)
		ones &= ask(REQ_PORT_READ, 0x1234, 2, 0) == 0xffff;
	say(ones ? "ones\n" : "not ones\n");
}

static void obey(int command)
{
	char echo[2] = { (char)command, 0 };

	switch (command) {
	case 's': ask(REQ_SHUTDOWN, 0, 0, 0); break;
	case 'r': ask(REQ_RESET, 0, 0, RESET_REQUESTED); break;
	case 't': vcpu()->rip = 0xffffffff81000000; ask(REQ_RESET, 0, 0, RESET_TRIPLE_FAULT); break;
	case 'c': strcpy(shared->report, "ringer: NYI: a stub's crash\n"); ask(REQ_CRASH, 0, 0, 0); break;
	case 'k': raise(SIGKILL); break;
	case 'e': _exit(7);
	case 'x': ask(REQ_PORT_WRITE, 0xf4, 4, 0x10); say("no exit\n"); break;
	case 'p': switches(); break;
	case 'f': flood(20000); break;
	case 'n': count_input(); break;
	case 'd': trace("traced\n"); break;
	case 'h': for (;;) pause();
	default: say(echo);
	}
}

int main(void)
{
	const int rw = PROT_READ | PROT_WRITE, how = MAP_SHARED | MAP_FIXED_NOREPLACE;

	shared = mmap((void *)ZONE_SHARED, SHARED_SIZE, rw, how, MONITOR_FD_STATE, 0);
	if (shared == MAP_FAILED || shared->magic != SHARED_MAGIC || shared->size != sizeof(*shared))
		return 2;
	if (mmap((void *)ZONE_VCPU(0), VCPU_SHARED_SIZE, rw, how, MONITOR_FD_STATE, SHARED_SIZE) == MAP_FAILED)
		return 2;
	say("stub\n");
	for (;;)
		obey(get());
}
