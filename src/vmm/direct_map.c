// SPDX-License-Identifier: MIT
//
// A world as its monitor has it in hand: commands for its mapper, the proof that its runner sleeps, and its end.
#include "vmm/direct.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <signal.h>
#include <sys/mman.h>

enum {
	REFUSES_AFTER = 200000000, // ns of the processor's time
	LOST_AFTER = 1000, // times 10 ms that nothing has come of it, whoever is to blame
	YIELDS = 100,     // before waiting for that is worth a nap
};

struct direct_commands *direct_commands(const struct world *w)
{
	return (struct direct_commands *)w->area;
}

struct direct_state *direct_state(const struct world *w)
{
	return (struct direct_state *)(w->area + (DIRECT_STATE - ZONE_DIRECT));
}

struct displaced_area *vmm_direct_displaced(const struct vcpu *v, unsigned world)
{
	return (struct displaced_area *)(vmm_of(v)->direct.world[world].area + (DIRECT_DISPLACED - ZONE_DIRECT));
}

uint64_t vmm_direct_displaced_at(void)
{
	return DIRECT_DISPLACED;
}

uint64_t vmm_direct_state_at(void)
{
	return DIRECT_STATE;
}

bool direct_await(struct world *w, uint32_t what)
{
	const struct linux_timespec moment = {0, 100000000};

	for (unsigned i = 0; !direct_state(w)->left && i < 50 && !w->dead; i++)
		linux_futex_wait(&direct_state(w)->left, 0, &moment);
	return direct_state(w)->left == what;
}

void direct_command(struct world *w, uint64_t at, uint64_t size, uint64_t prot, uint64_t offset)
{
	struct direct_commands *c = direct_commands(w);

	c->command[w->queued++] = (struct direct_command){at, size, prot, offset};
}

void direct_send_commands(struct world *w, bool then_run)
{
	struct direct_commands *c = direct_commands(w);

	c->count = w->queued;
	c->then_run = then_run;
	w->queued = 0;
	c->sequence++;
	linux_futex_wake(&c->sequence);
}

bool direct_map_now(struct world *w)
{
	direct_state(w)->left = 0;
	direct_send_commands(w, false);
	return direct_await(w, DIRECT_MAPPED);
}

static void nap(void)
{
	const struct linux_timespec moment = {0, 10000000};
	_Atomic uint32_t never = 0;

	linux_futex_wait(&never, 0, &moment);
}

// Afterwards no guest code runs there any more.
void direct_kill(struct world *w)
{
	if (!w->pid)
		return;
	if (!w->dead)
		linux_call3(SYS_tgkill, w->pid, w->pid, SIGKILL);
	for (unsigned i = 0; !w->dead && i < LOST_AFTER; i++)
		nap();
	ASSERT(w->dead);
	w->pid = 0;
}

// That it has left is a word which guest code can write: the host knows better. Whoever sleeps on `run` - nobody but
// the runner can - is moved to the gate, which nothing in the world can wake but the mapper, by our command.
static bool is_asleep(const struct world *w)
{
	return linux_futex_requeue(&direct_state(w)->run, &direct_commands(w)->gate) == 1 ||
	       linux_futex_requeue(&direct_commands(w)->gate, &direct_commands(w)->gate) == 1; // it sleeps there already
}

bool direct_refuses(const struct world *w, uint64_t had, unsigned naps)
{
	return naps >= LOST_AFTER || (naps && direct_time_of(w) - had > REFUSES_AFTER);
}

// Guest code does not run in the world when this is true, nor until direct_wake or a command to the mapper.
bool direct_await_sleep(struct world *w)
{
	uint64_t had = 0;

	for (unsigned i = 0; !w->dead; i++) {
		if (is_asleep(w))
			return true;
		if (i == YIELDS)
			had = direct_time_of(w);
		if (i >= YIELDS && direct_refuses(w, had, i - YIELDS))
			break;
		if (i < YIELDS)
			linux_call3(SYS_sched_yield, 0, 0, 0);
		else
			nap();
	}
	return false;
}

// A job-control stop sends a sleeper back to the word that it came by.
void direct_wake(struct world *w)
{
	direct_state(w)->run = 1;
	if (linux_futex_wake(&direct_commands(w)->gate) != 1)
		linux_futex_wake(&direct_state(w)->run);
}

static void room_for_one(struct world *w)
{
	if (w->queued == DIRECT_COMMANDS_MAX && !direct_map_now(w))
		direct_kill(w); // what it maps is not known
}

void vmm_direct_map(struct vcpu *v, unsigned world, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights)
{
	struct world *w = &vmm_of(v)->direct.world[world];
	uint64_t prot = PROT_READ;

	prot |= (rights & VMM_DIRECT_WRITE ? PROT_WRITE : 0) | (rights & VMM_DIRECT_EXEC ? PROT_EXEC : 0);

	ASSERT(mem_is_ram(&v->shared->config.mem, gpa, size) && gva < DIRECT_USER_END && size <= DIRECT_USER_END - gva &&
	       (gva + size <= ZONE_START || gva >= ZONE_END));
	room_for_one(w);
	direct_command(w, gva, size, prot, mem_file_offset(&v->shared->config.mem, gpa));
}

void vmm_direct_unmap(struct vcpu *v, unsigned world, gva_t gva, uint64_t size)
{
	room_for_one(&vmm_of(v)->direct.world[world]);
	direct_command(&vmm_of(v)->direct.world[world], gva, size, DC_UNMAP, 0);
}

void vmm_direct_unmap_all(struct vcpu *v, unsigned world)
{
	struct world *w = &vmm_of(v)->direct.world[world];

	w->queued = 0;
	direct_command(w, 0, ZONE_START, DC_UNMAP, 0);
	direct_command(w, ZONE_END, DIRECT_USER_END - ZONE_END, DC_UNMAP, 0);
}
