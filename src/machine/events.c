// SPDX-License-Identifier: MIT
//
// The events of a machine's life, handled in the loop: its start, the guest's power-off and reset, crashes, stops, the
// monitor's death, signals to ringer. A reset of the guest is a new monitor process on zeroed memory: nothing of the
// old life can be left over, and the start is the same code as the first.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/futex.h"
#include "host/process.h"
#include "io/trace.h"
#include "machine/events.h"

enum { XSAVE_FCW = 0, XSAVE_MXCSR = 24, FCW_INIT = 0x37f, MXCSR_INIT = 0x1f80 };

_Thread_local bool machine_posted;

void machine_post(struct machine *m, enum machine_event event, uint64_t value)
{
	int none = EVENT_NONE;

	machine_posted = true;
	if (event == EVENT_QUIT) {
		atomic_store(&m->event_value, value);
		atomic_store(&m->event, event); // whatever else was about to happen
	} else if (atomic_compare_exchange_strong(&m->event, &none, event)) {
		atomic_store(&m->event_value, value);
	}
	loop_event_raise(&m->event_raised);
}

void machine_pend(struct machine *m, unsigned i, uint32_t what)
{
	struct vcpu *v = m->vcpu[i];

	atomic_fetch_or(&v->pending, what);
	if (atomic_load(&m->shared->vcpu_asleep[i]))
		host_futex_wake(&v->pending);
}

void machine_tell_lines(struct machine *m)
{
	machine_pend(m, 0, PENDING_LINES);
}

void machine_tell_written(void *machine, gpa_t gpa, uint64_t size)
{
	struct machine *m = machine;

	while (size) {
		uint64_t part = MIN(size, PAGE_SIZE - (gpa & PAGE_OFFSET));
		uint32_t tell = peers_tell_written(m->peers, gpa, (unsigned)part, 0);

		for (unsigned i = 0; tell; i++, tell >>= 1)
			if (tell & 1 && i < m->config->vcpus)
				atomic_fetch_or(&m->vcpu[i]->pending, PENDING_PEERS); // a sleeping one need not wake for it
		gpa += part;
		size -= part;
	}
}

void machine_set_irq(void *machine, unsigned gsi, bool level)
{
	struct machine *m = machine;
	uint64_t bit = BIT64(gsi % 64);
	uint64_t old =
	    level ? atomic_fetch_or(&m->shared->irq_lines, bit) : atomic_fetch_and(&m->shared->irq_lines, ~bit);

	if (!(old & bit) != level)
		return;
	atomic_fetch_or(level ? &m->shared->irq_rose : &m->shared->irq_fell, bit);
	machine_tell_lines(m);
}

// Devices share lines: one is high while any of its devices wants it.
void machine_set_pci_line(void *machine, unsigned slot, bool level)
{
	struct machine *m = machine;
	unsigned line = board_pci_gsi(slot, 0);
	bool any = false;

	pthread_mutex_lock(&m->pc.pci_lines);
	m->pc.pci_line = level ? m->pc.pci_line | BIT(slot) : m->pc.pci_line & ~BIT(slot);
	for (unsigned i = 0; i < 32; i++)
		any |= (m->pc.pci_line & BIT(i)) && board_pci_gsi(i, 0) == line;
	machine_set_irq(m, line, any);
	pthread_mutex_unlock(&m->pc.pci_lines);
}

void machine_ask_stop(struct machine *m)
{
	machine_pend(m, 0, PENDING_STOP);
}

// What the servers have waited for has been dealt with.
void machine_next_epoch(struct machine *m)
{
	atomic_fetch_add(&m->epoch, 1);
	for (unsigned i = 0; i < m->config->vcpus; i++)
		host_futex_wake(&m->epoch);
}

void machine_resume(struct machine *m, enum resume how)
{
	struct request *r = &m->shared->request[0];

	atomic_fetch_and(&m->vcpu[0]->pending, ~(uint32_t)PENDING_STOP); // whoever has asked since: it was stopped
	r->value = how;
	atomic_store(&m->event, EVENT_NONE);
	atomic_store(&r->state, REQ_ANSWERED);
	if (atomic_load(&r->monitor_asleep))
		host_futex_wake(&r->state);
	machine_next_epoch(m);
}

void machine_drain(struct machine *m)
{
	int until_fd = m->hurry ? -1 : m->signals.lf.fd;

	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_drain(&m->serial[i], until_fd);
	virtio_bus_drain(m, until_fd);
	trace_drain(&m->trace, &m->shared->trace, until_fd);
}

static void end(struct machine *m, int status)
{
	m->status = status;
	loop_quit(&m->loop);
}

static void print_report(struct machine *m)
{
	trace_print(&m->trace, m->shared->report, REPORT_SIZE);
}

// What the monitor's exit status says, or NULL.
static const char *start_failure(int status)
{
	static const char *const words[] = {
#define _(name, what) what,
		START_FAILURES(_)
#undef _
	};
	unsigned n = (unsigned)(status - START_BEFORE - 1);

	return n < ARRAY_SIZE(words) ? words[n] : NULL;
}

static void on_monitor_gone(void *opaque, uint32_t events)
{
	struct monitor *mon = opaque;
	struct machine *m = mon->machine;
	const char *failure;
	char how[128];

	loop_remove(&m->loop, &mon->gone);
	failure = start_failure(process_describe_end(mon->pid, how, sizeof(how)));
	mon->pid = 0;
	machine_drain(m);
	if (failure)
		fprintf(stderr, "ringer: the monitor (ringer-vmm) could not %s\n", failure);
	else
		fprintf(stderr, "\nringer: the monitor (ringer-vmm) ended unexpectedly %s; this is a bug in ringer\n",
			how);
	print_report(m);
	end(m, 1);
}

void machine_terminate(void *opaque, int sig, pid_t sender)
{
	struct machine *m = opaque;

	m->hurry = true;
	machine_tell(m, NOTE_SHUTDOWN, false, "host-signal");
	if (loop_await_output(STDERR_FILENO, -1))
		fprintf(stderr, "\nringer: terminating on signal %d from pid %d\n", sig, (int)sender);
	end(m, 0);
}

static int spawn(struct machine *m, struct monitor *mon, char *err, size_t errlen)
{
	int fds[] = {m->state_fd, m->ram_fd, m->tc_fd[mon->vcpu]}, r;
	char arg[12];

	snprintf(arg, sizeof(arg), "%u", mon->vcpu);
	r = process_spawn(m->monitor_path, m->monitor_fd, arg, fds, ARRAY_SIZE(fds), &mon->pidfd);
	if (r < 0) {
		snprintf(err, errlen, "cannot start the monitor %s: %s", m->monitor_path, strerror(-r));
		return r;
	}
	mon->pid = r;
	if (m->config->perfmap && !mon->vcpu)
		trace_start_perfmap(&m->trace, mon->pid);
	mon->gone = (struct loop_fd){.fd = mon->pidfd, .events = EPOLLIN, .ready = on_monitor_gone, .opaque = mon};
	r = loop_add(&m->loop, &mon->gone);
	if (r < 0)
		snprintf(err, errlen, "cannot watch the monitor: %s", strerror(-r));
	return r;
}

void machine_kill_monitors(struct machine *m)
{
	for (unsigned i = 0; i < VCPUS_MAX; i++) {
		struct monitor *mon = &m->monitor[i];

		if (mon->pidfd < 0)
			continue;
		loop_remove(&m->loop, &mon->gone);
		process_kill(mon->pid, &mon->pidfd);
		mon->pid = 0;
	}
}

// Memory is zero: load the guest, and start its processor.
int machine_power_on(struct machine *m, char *err, size_t errlen)
{
	struct shared *s = m->shared;

	for (unsigned i = 0; i < s->config.vcpus; i++) {
		struct vcpu *v = m->vcpu[i];
		uint16_t fcw = FCW_INIT;
		uint32_t mxcsr = MXCSR_INIT;

		v->index = i;
		v->pending = m->config->start_stopped ? PENDING_STOP : 0;
		memcpy(v->xsave + XSAVE_FCW, &fcw, sizeof(fcw));
		memcpy(v->xsave + XSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
		atomic_store(&s->vcpu_asleep[i], 0);
		atomic_store(&s->request[i].state, REQ_IDLE);
		atomic_store(&s->request[i].monitor_asleep, 0);
	}
	int r = m->config->empty ? 0 : boot_load(&m->config->boot, &s->config, m->vcpu[0], err, errlen);

	if (r >= 0 && s->config.vga)
		pc_put_video_bios(m);
	if (r >= 0 && m->config->boot.bios)
		r = pc_put_acpi(m, err, errlen);
	for (unsigned i = 0; r >= 0 && !m->config->empty && i < s->config.vcpus; i++)
		r = spawn(m, &m->monitor[i], err, errlen);
	machine_hold(m);
	return r;
}

static void reset(struct machine *m)
{
	char err[512] = "";
	int r;

	machine_kill_monitors(m);
	machine_drain(m);
	virtio_bus_ejected(m);
	virtio_bus_reset(m); // before guest memory goes
	ahci_reset_all(m);
	e1000_reset_all(m);
	r = machine_clear_memory(m);
	if (r < 0)
		snprintf(err, sizeof(err), "cannot clear memory: %s", strerror(-r));
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->shared->irq_lines, 0);
	atomic_store(&m->shared->irq_fell, 0);
	atomic_store(&m->shared->irq_rose, 0);
	atomic_store(&m->shared->a20_masked, 0);
	atomic_store(&m->shared->power_pressed, 0);
	atomic_store(&m->shared->pci_events, 0);
	atomic_store(&m->shared->pci_plugged, 0); // a new monitor finds what there is
	atomic_store(&m->shared->pci_unplug, 0);
	pc_reset(m);
	pthread_mutex_unlock(&m->lock);
	if (r == 0)
		r = machine_power_on(m, err, sizeof(err));
	if (r < 0) {
		fprintf(stderr, "ringer: reset: %s\n", err);
		end(m, 1);
		return;
	}
	atomic_store(&m->event, EVENT_NONE);
	machine_next_epoch(m);
}

void machine_reset_now(struct machine *m, enum reset_reason reason, bool guest)
{
	const char *why = guest ? "guest-reset" : "host-qmp-system-reset";

	machine_drain(m);
	if (reason == RESET_TRIPLE_FAULT)
		fprintf(stderr, "\nringer: the guest triple-faulted at RIP %#018llx%s\n",
			(unsigned long long)m->vcpu[0]->rip, m->config->no_reboot ? "" : "; resetting it");
	machine_tell(m, m->config->no_reboot ? NOTE_SHUTDOWN : NOTE_RESET, guest, why);
	if (m->config->no_reboot)
		end(m, 0);
	else
		reset(m);
}

static void on_stopped(struct machine *m, uint64_t reason)
{
	if (m->stopped)
		m->stopped(m->stopped_opaque, 0, (uint32_t)reason, m->shared->request[0].addr);
	else
		machine_resume(m, RESUME_RUN); // machine_freeze had given up
}

void machine_on_event(void *opaque)
{
	struct machine *m = opaque;
	uint64_t value = atomic_load(&m->event_value);

	switch ((enum machine_event)atomic_load(&m->event)) {
	case EVENT_NONE:
		return;
	case EVENT_QUIT:
		end(m, (int)value);
		return;
	case EVENT_SHUTDOWN:
		machine_tell(m, NOTE_SHUTDOWN, true, "guest-shutdown");
		if (!m->config->no_shutdown)
			end(m, 0);
		return;
	case EVENT_RESET:
		machine_reset_now(m, (enum reset_reason)value, true);
		return;
	case EVENT_CRASH:
		machine_drain(m);
		fputc('\n', stderr);
		print_report(m);
		end(m, 1);
		return;
	case EVENT_STOPPED:
		on_stopped(m, value);
		return;
	}
}

