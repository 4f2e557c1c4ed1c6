// SPDX-License-Identifier: MIT
//
// The world as its monitor has it in hand: commands for its mapper, the proof that its runner sleeps, and its end.
#include "vmm/direct.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include <signal.h>
#include <sys/mman.h>

enum {
	LOST_AFTER = 200, // times 10 ms that it has not gone to sleep, or has not died
	YIELDS = 100,     // before waiting for that is worth a nap
};

bool direct_await(struct vmm *vm, uint32_t what)
{
	const struct linux_timespec moment = {0, 100000000};

	for (unsigned i = 0; !direct_state()->left && i < 50 && !vm->direct.dead; i++)
		linux_futex_wait(&direct_state()->left, 0, &moment);
	return direct_state()->left == what;
}

void direct_command(struct vmm *vm, uint64_t at, uint64_t size, uint64_t prot, uint64_t offset)
{
	struct direct_commands *c = direct_commands();

	c->command[vm->direct.queued++] = (struct direct_command){at, size, prot, offset};
}

void direct_send_commands(struct vmm *vm, bool then_run)
{
	struct direct_commands *c = direct_commands();

	c->count = vm->direct.queued;
	c->then_run = then_run;
	vm->direct.queued = 0;
	c->sequence++;
	linux_futex_wake(&c->sequence);
}

bool direct_map_now(struct vmm *vm)
{
	direct_state()->left = 0;
	direct_send_commands(vm, false);
	return direct_await(vm, DIRECT_MAPPED);
}

static void nap(void)
{
	const struct linux_timespec moment = {0, 10000000};
	_Atomic uint32_t never = 0;

	linux_futex_wait(&never, 0, &moment);
}

// Afterwards no guest code runs there any more.
void direct_kill(struct vmm *vm)
{
	if (!vm->direct.pid)
		return;
	if (!vm->direct.dead)
		linux_call3(SYS_tgkill, vm->direct.pid, vm->direct.pid, SIGKILL);
	for (unsigned i = 0; !vm->direct.dead && i < LOST_AFTER; i++)
		nap();
	ASSERT(vm->direct.dead);
	vm->direct.pid = 0;
}

// That it has left is a word which guest code can write: the host knows better. Whoever sleeps on `run` - nobody but
// the runner can - is moved to the gate, which nothing in the world can wake but the mapper, by our command.
static bool is_asleep(void)
{
	return linux_futex_requeue(&direct_state()->run, &direct_commands()->gate) == 1 ||
	       linux_futex_requeue(&direct_commands()->gate, &direct_commands()->gate) == 1; // it sleeps there already
}

// Guest code does not run in the world when this is true, nor until direct_wake or a command to the mapper.
bool direct_await_sleep(struct vmm *vm)
{
	for (unsigned i = 0; i < YIELDS + LOST_AFTER && !vm->direct.dead; i++) {
		if (is_asleep())
			return true;
		if (i < YIELDS)
			linux_call3(SYS_sched_yield, 0, 0, 0);
		else
			nap();
	}
	return false;
}

// A job-control stop sends a sleeper back to the word that it came by.
void direct_wake(struct vmm *vm)
{
	direct_state()->run = 1;
	if (linux_futex_wake(&direct_commands()->gate) != 1)
		linux_futex_wake(&direct_state()->run);
}

static void room_for_one(struct vmm *vm)
{
	if (vm->direct.queued == DIRECT_COMMANDS_MAX && !direct_map_now(vm))
		direct_kill(vm); // what it maps is not known
}

void vmm_direct_map(struct vcpu *v, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights)
{
	uint64_t prot = PROT_READ;

	prot |= (rights & VMM_DIRECT_WRITE ? PROT_WRITE : 0) | (rights & VMM_DIRECT_EXEC ? PROT_EXEC : 0);

	ASSERT(mem_is_ram(&v->shared->config.mem, gpa, size) && gva < DIRECT_USER_END && size <= DIRECT_USER_END - gva &&
	       (gva + size <= ZONE_START || gva >= ZONE_END));
	room_for_one(vmm_of(v));
	direct_command(vmm_of(v), gva, size, prot, mem_file_offset(&v->shared->config.mem, gpa));
}

void vmm_direct_unmap(struct vcpu *v, gva_t gva, uint64_t size)
{
	room_for_one(vmm_of(v));
	direct_command(vmm_of(v), gva, size, DC_UNMAP, 0);
}

void vmm_direct_unmap_all(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);

	vm->direct.queued = 0;
	direct_command(vm, 0, ZONE_START, DC_UNMAP, 0);
	direct_command(vm, ZONE_END, DIRECT_USER_END - ZONE_END, DC_UNMAP, 0);
}
