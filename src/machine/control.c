// SPDX-License-Identifier: MIT
//
// Pause, buttons, end. A paused machine's monitors are stopped by a signal, wherever they are: nothing of the app waits
// for them. The guest's clocks are not held back; it finds that time has passed, as after Ctrl-Z.
#include "machine/control.h"

#include <errno.h>
#include <signal.h>

#include "machine/events.h"

static void signal_monitors(struct machine *m, int sig)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++)
		if (m->monitor[i].pid > 0)
			kill(m->monitor[i].pid, sig);
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

int machine_unpause(struct machine *m)
{
	if (is_out_of_hand(m))
		return -EBUSY;
	m->has_run = true;
	if (!m->paused)
		return 0;
	m->paused = false;
	signal_monitors(m, SIGCONT);
	machine_tell(m, NOTE_RESUME, false, "");
	return 0;
}

int machine_reset(struct machine *m)
{
	if (now(m) == EVENT_STOPPED)
		return -EBUSY;
	machine_reset_now(m, RESET_REQUESTED, false);
	return 0;
}

void machine_press_power(struct machine *m)
{
	atomic_store(&m->shared->power_pressed, 1);
	machine_tell_lines(m);
	machine_tell(m, NOTE_POWERDOWN, false, "");
}

void machine_quit(struct machine *m)
{
	machine_tell(m, NOTE_SHUTDOWN, false, "host-qmp-quit");
	m->hurry = true;
	machine_post(m, EVENT_QUIT, 0);
}
