// SPDX-License-Identifier: MIT
//
// Pause, buttons, end. A paused machine's monitors are stopped by a signal, wherever they are: nothing of the app waits
// for them. The guest's clocks are not held back; it finds that time has passed, as after Ctrl-Z.
#include "machine/control.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dev/keys.h"
#include "machine/events.h"
#include "machine/medium.h"

enum { FREEZE_MS = 2000 };

static void signal_monitors(struct machine *m, int sig)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (m->monitor[i].pid > 0)
			kill(-m->monitor[i].pid, sig); // its group: itself, and the process of directly run code
}

void machine_hold(struct machine *m)
{
	if (m->paused)
		signal_monitors(m, SIGSTOP);
}

void machine_suspend(void *opaque, bool stop)
{
	struct machine *m = opaque;

	if (!m->paused)
		signal_monitors(m, stop ? SIGSTOP : SIGCONT);
	if (!stop)
		loop_event_raise(&m->doorbell);
}

static enum machine_event now(const struct machine *m)
{
	return (enum machine_event)atomic_load(&m->event);
}

const char *machine_run_state(const struct machine *m)
{
	if (now(m) == EVENT_SHUTDOWN)
		return "shutdown";
	if (now(m) == EVENT_STOPPED)
		return "debug";
	if (m->io_error)
		return "io-error";
	if (m->paused)
		return m->has_run ? "paused" : "prelaunch";
	return "running";
}

bool machine_is_running(const struct machine *m)
{
	return !m->paused && now(m) != EVENT_SHUTDOWN && now(m) != EVENT_STOPPED;
}

void machine_tell(struct machine *m, enum machine_note note, bool guest, const char *why)
{
	if (m->listener_of_events.heard)
		m->listener_of_events.heard(m->listener_of_events.opaque, note, guest, why);
}

static bool is_out_of_hand(const struct machine *m)
{
	return now(m) == EVENT_SHUTDOWN || now(m) == EVENT_STOPPED;
}

int machine_pause(struct machine *m)
{
	if (is_out_of_hand(m))
		return -EBUSY;
	if (m->paused)
		return 0;
	m->paused = true;
	signal_monitors(m, SIGSTOP);
	machine_tell(m, NOTE_STOP, false, "");
	return 0;
}

// A disk's requests have failed on the host.
void machine_on_disk_failed(void *opaque)
{
	struct machine_listener *to;
	struct block_failure f[BLOCK_FAILURES];
	struct machine *m = opaque;
	unsigned n = block_waiting_take(&m->waiting, f);
	bool stop = false;

	to = &m->listener_of_events;
	for (unsigned i = 0; i < n; i++) {
		if (to->heard_failure)
			to->heard_failure(to->opaque, &f[i]);
		stop |= f[i].action == BLOCK_STOPPED;
	}
	if (!stop)
		return;
	m->io_error = true;
	if (m->paused)
		return;
	m->paused = true;
	signal_monitors(m, SIGSTOP);
	machine_tell(m, NOTE_STOP, false, "");
}

void machine_device_changed(void *opaque)
{
	struct machine *m = opaque;

	loop_event_raise(&m->device_changed);
}

void machine_on_device_changed(void *opaque)
{
	struct machine *m = opaque;

	medium_tell(m);
	virtio_bus_tell(m);
}

int machine_unpause(struct machine *m)
{
	if (is_out_of_hand(m))
		return -EBUSY;
	m->has_run = true;
	if (!m->paused)
		return 0;
	m->paused = false;
	signal_monitors(m, SIGCONT);
	if (m->io_error)
		block_waiting_retry(&m->waiting);
	m->io_error = false;
	machine_tell(m, NOTE_RESUME, false, "");
	return 0;
}

int machine_reset(struct machine *m)
{
	if (now(m) == EVENT_STOPPED)
		return -EBUSY;
	m->io_error = false; // the requests that wait are given up
	machine_reset_now(m, RESET_REQUESTED, false);
	return 0;
}

void machine_press_power(struct machine *m)
{
	atomic_store(&m->shared->power_pressed, 1);
	machine_tell_lines(m);
	machine_tell(m, NOTE_POWERDOWN, false, "");
}

bool machine_press_key(struct machine *m, const char *name, bool down)
{
	unsigned key = strncmp(name, "0x", 2) ? key_find(name) : (unsigned)strtoul(name, NULL, 16);

	if (!key || key > UINT8_MAX)
		return false;
	if (m->config->board != BOARD_MICROVM) {
		pthread_mutex_lock(&m->lock);
		i8042_key(&m->pc.i8042, key, down);
		pthread_mutex_unlock(&m->lock);
	}
	return true;
}

void machine_send_nmi(struct machine *m)
{
	for (unsigned i = 0; i < m->config->vcpus; i++) {
		atomic_fetch_add(&m->vcpu[i]->nmis, 1);
		machine_pend(m, i, PENDING_NMI);
	}
}

bool machine_set_link(struct machine *m, const char *name, bool up)
{
	const struct machine_config *c = m->config;
	int net = -1;

	for (unsigned i = 0; i < c->nets; i++)
		if (c->net[i].taken && !strcmp(c->net[i].id, name))
			net = (int)i;
	for (unsigned i = 0; i < c->nvirtio; i++)
		if (!c->virtio[i].gone && c->virtio[i].kind == VIRTIO_NET && !strcmp(c->virtio[i].id, name) && *name) {
			net = c->nic[c->virtio[i].card].net;
			if (net < 0)
				return true; // it has no link to cut
		}
	if (net >= 0)
		net_cut(m->net[net], !up);
	return net >= 0;
}

// A debugger's stop without a debugger. What else may happen meanwhile ends the wait.
bool machine_freeze(struct machine *m, char *why, size_t n)
{
	const struct timespec moment = {.tv_nsec = 1000 * 1000};

	if (m->config->vcpus > 1 || m->stopped || m->config->empty) {
		snprintf(why, n, "%s", m->stopped ? "a debugger has the processor" :
			 m->config->empty ? "there is no processor" : "registers can be looked at with one processor only");
		return false;
	}
	if (m->paused)
		signal_monitors(m, SIGCONT);
	machine_ask_stop(m);
	for (int i = 0; i < FREEZE_MS && now(m) == EVENT_NONE; i++)
		nanosleep(&moment, NULL);
	if (now(m) == EVENT_STOPPED)
		return true;
	atomic_fetch_and(&m->vcpu[0]->pending, ~(uint32_t)PENDING_STOP); // if it comes late, the loop lets it go on
	machine_hold(m);
	snprintf(why, n, "the processor does not stop");
	return false;
}

void machine_thaw(struct machine *m)
{
	machine_hold(m);
	machine_resume(m, RESUME_RUN);
}

void machine_quit(struct machine *m)
{
	machine_tell(m, NOTE_SHUTDOWN, false, "host-qmp-quit");
	m->hurry = true;
	machine_post(m, EVENT_QUIT, 0);
}
