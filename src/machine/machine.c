// SPDX-License-Identifier: MIT
//
// Create, run, reset and destroy a machine. A reset of the guest is a new monitor process on zeroed memory: nothing of
// the old life can be left over, and the start is the same code as the first.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/futex.h"
#include "host/memfd.h"
#include "host/process.h"
#include "io/trace.h"
#include "machine/cpu_model.h"
#include "machine/machine.h"

enum { XSAVE_FCW = 0, XSAVE_MXCSR = 24, FCW_INIT = 0x37f, MXCSR_INIT = 0x1f80 };

void machine_post(struct machine *m, enum machine_event event, uint64_t value)
{
	int none = EVENT_NONE;

	if (event == EVENT_QUIT) {
		atomic_store(&m->event_value, value);
		atomic_store(&m->event, event); // whatever else was about to happen
	} else if (atomic_compare_exchange_strong(&m->event, &none, event)) {
		atomic_store(&m->event_value, value);
	}
	loop_event_raise(&m->event_raised);
}

static void pend(struct machine *m, unsigned i, uint32_t what)
{
	struct vcpu *v = m->vcpu[i];

	atomic_fetch_or(&v->pending, what);
	if (atomic_load(&m->shared->vcpu_asleep[i]))
		host_futex_wake(&v->pending);
}

void machine_tell_lines(struct machine *m)
{
	for (unsigned i = 0; i < m->shared->config.vcpus; i++)
		pend(m, i, PENDING_LINES);
}

void machine_set_irq(void *machine, unsigned gsi, bool level)
{
	struct machine *m = machine;
	uint64_t bit = BIT64(gsi % 64);
	uint64_t old =
	    level ? atomic_fetch_or(&m->shared->irq_lines, bit) : atomic_fetch_and(&m->shared->irq_lines, ~bit);

	if (!(old & bit) == level)
		machine_tell_lines(m);
}

void machine_ask_stop(struct machine *m)
{
	pend(m, 0, PENDING_STOP);
}

void machine_resume(struct machine *m, enum resume how)
{
	struct request *r = &m->shared->request[0];

	r->value = how;
	atomic_store(&m->event, EVENT_NONE);
	atomic_store(&r->state, REQ_ANSWERED);
	if (atomic_load(&r->monitor_asleep))
		host_futex_wake(&r->state);
	sem_post(&m->server_go);
}

static void serial_changed(void *opaque)
{
	machine_tell_lines(opaque);
}

static void mux_quit(void *opaque)
{
	machine_post(opaque, EVENT_QUIT, 0);
}

static void mux_say(void *opaque, const char *text)
{
	fputs(text, stderr);
}

static void on_doorbell(void *opaque)
{
	struct machine *m = opaque;

	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_doorbell(&m->serial[i]);
	trace_drain(&m->shared->trace, m->log_fd);
}

static void drain(struct machine *m)
{
	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_drain(&m->serial[i]);
	trace_drain(&m->shared->trace, m->log_fd);
}

static void end(struct machine *m, int status)
{
	m->status = status;
	loop_quit(&m->loop);
}

static void print_report(struct machine *m)
{
	const char *text = m->shared->report;

	for (size_t i = 0; i < REPORT_SIZE && text[i]; i++)
		fputc((text[i] >= ' ' && text[i] < 127) || text[i] == '\n' || text[i] == '\t' ? text[i] : '?', stderr);
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
	struct machine *m = opaque;
	const char *failure;
	char how[128];

	loop_remove(&m->loop, &m->monitor_gone);
	failure = start_failure(process_describe_end(m->monitor, how, sizeof(how)));
	m->monitor = 0;
	drain(m);
	if (failure)
		fprintf(stderr, "ringer: the monitor (ringer-vmm) could not %s\n", failure);
	else
		fprintf(stderr, "\nringer: the monitor (ringer-vmm) ended unexpectedly %s; this is a bug in ringer\n", how);
	print_report(m);
	end(m, 1);
}

static void terminate(void *opaque, int sig, pid_t sender)
{
	struct machine *m = opaque;

	fprintf(stderr, "\nringer: terminating on signal %d from pid %d\n", sig, (int)sender);
	end(m, 0);
}

static int spawn(struct machine *m, char *err, size_t errlen)
{
	int fds[] = {m->state_fd, m->ram_fd, m->tc_fd};
	pid_t pid = process_spawn(m->monitor_path, fds, ARRAY_SIZE(fds), &m->monitor_pidfd);
	int r;

	if (pid < 0) {
		snprintf(err, errlen, "cannot start the monitor %s: %s", m->monitor_path, strerror(-pid));
		return pid;
	}
	m->monitor = pid;
	m->monitor_gone =
	    (struct loop_fd){.fd = m->monitor_pidfd, .events = EPOLLIN, .ready = on_monitor_gone, .opaque = m};
	r = loop_add(&m->loop, &m->monitor_gone);
	if (r < 0)
		snprintf(err, errlen, "cannot watch the monitor: %s", strerror(-r));
	return r;
}

static void kill_monitor(struct machine *m)
{
	loop_remove(&m->loop, &m->monitor_gone);
	process_kill(m->monitor, &m->monitor_pidfd);
	m->monitor = 0;
}

// Memory is zero: load the guest, and start its processor.
static int power_on(struct machine *m, char *err, size_t errlen)
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
	int r = boot_load(&m->config->boot, &s->config, m->vcpu[0], err, errlen);

	return r < 0 ? r : spawn(m, err, errlen);
}

static void reset(struct machine *m)
{
	char err[512] = "";
	int r;

	kill_monitor(m);
	drain(m);
	r = machine_clear_memory(m);
	if (r < 0)
		snprintf(err, sizeof(err), "cannot clear memory: %s", strerror(-r));
	pthread_mutex_lock(&m->lock);
	atomic_store(&m->shared->irq_lines, 0);
	pc_reset(m);
	pthread_mutex_unlock(&m->lock);
	if (r == 0)
		r = power_on(m, err, sizeof(err));
	if (r < 0) {
		fprintf(stderr, "ringer: reset: %s\n", err);
		end(m, 1);
		return;
	}
	atomic_store(&m->event, EVENT_NONE);
	sem_post(&m->server_go);
}

static void on_reset(struct machine *m, uint64_t reason)
{
	if (reason == RESET_TRIPLE_FAULT)
		fprintf(stderr, "\nringer: the guest triple-faulted at RIP %#018llx%s\n",
			(unsigned long long)m->vcpu[0]->rip, m->config->no_reboot ? "" : "; resetting it");
	if (m->config->no_reboot)
		end(m, 0);
	else
		reset(m);
}

static void on_stopped(struct machine *m, uint64_t reason)
{
	if (m->stopped)
		m->stopped(m->stopped_opaque, 0, (uint32_t)reason, m->shared->request[0].addr);
}

static void on_event(void *opaque)
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
		if (!m->config->no_shutdown)
			end(m, 0);
		return;
	case EVENT_RESET:
		drain(m);
		on_reset(m, value);
		return;
	case EVENT_CRASH:
		drain(m);
		fputc('\n', stderr);
		print_report(m);
		end(m, 1);
		return;
	case EVENT_STOPPED:
		on_stopped(m, value);
		return;
	}
}

static void on_timer(void *opaque)
{
	struct machine *m = opaque;

	pthread_mutex_lock(&m->lock);
	bus_run_timers(&m->bus);
	pthread_mutex_unlock(&m->lock);
}

static uint64_t bus_clock(void *opaque)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void bus_deadline(void *opaque, uint64_t deadline)
{
	struct machine *m = opaque;

	loop_timer_set(&m->timer, deadline);
}

static int configure(struct machine *m, char *err, size_t errlen)
{
	const struct machine_config *c = m->config;
	struct config *to = &m->shared->config;

	m->shared->magic = SHARED_MAGIC;
	m->shared->size = sizeof(struct shared);
	to->vcpus = 1;
	to->stress = c->stress;
	to->log = c->log;
	to->selfcheck = c->selfcheck;
	to->deterministic = c->deterministic;
	to->start_stopped = c->start_stopped;
	to->tc_size = c->tc_size;
	to->debug_exit = c->pc.debug_exit;
	to->pit = to->pic = to->rtc = to->i8042 = true;
	for (int i = 0; i < SERIAL_PORTS; i++)
		to->serial_present[i] = c->serial[i].kind != STREAM_NONE;
	return cpu_model_build(c->cpu ? c->cpu : CPU_MODEL_DEFAULT, to->vcpus, to, err, errlen);
}

static int open_serial(struct machine *m, char *err, size_t errlen)
{
	char why[400] = "";

	for (int i = 0; i < SERIAL_PORTS; i++) {
		struct serial *s = &m->serial[i];
		int r;

		s->changed = serial_changed;
		s->opaque = m;
		s->mux = (struct mux){.quit = mux_quit, .say = mux_say, .opaque = m};
		r = serial_open(s, &m->loop, &m->config->serial[i], &m->shared->serial_tx[i], &m->shared->serial_rx[i],
				why, sizeof(why));
		if (r < 0) {
			snprintf(err, errlen, "-serial: %s", why[0] ? why : strerror(-r));
			return r;
		}
	}
	return 0;
}

static int open_log(struct machine *m, char *err, size_t errlen)
{
	if (!m->config->log_file) {
		m->log_fd = STDERR_FILENO;
		return 0;
	}
	m->log_fd = open(m->config->log_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (m->log_fd >= 0)
		return 0;
	snprintf(err, errlen, "-D: cannot open '%s' for writing: %s", m->config->log_file, strerror(errno));
	return -errno;
}

static int create_loop(struct machine *m, char *err, size_t errlen)
{
	int r = loop_init(&m->loop);

	if (r < 0 || (r = loop_event_add(&m->loop, &m->doorbell, on_doorbell, m)) < 0 ||
	    (r = loop_event_add(&m->loop, &m->event_raised, on_event, m)) < 0 ||
	    (r = loop_timer_add(&m->loop, &m->timer, on_timer, m)) < 0 ||
	    (r = signals_add(&m->loop, &m->signals, terminate, m)) < 0)
		snprintf(err, errlen, "cannot set up the event loop: %s", strerror(-r));
	return r;
}

static int create_board(struct machine *m, char *err, size_t errlen)
{
	bus_init(&m->bus);
	m->bus.now = bus_clock;
	m->bus.deadline_changed = bus_deadline;
	m->bus.opaque = m;
	return pc_create(m, err, errlen);
}

int machine_create(struct machine *m, const struct machine_config *c, char *err, size_t errlen)
{
	int r;

	memset(m, 0, sizeof(*m));
	m->config = c;
	m->state_fd = m->ram_fd = m->tc_fd = m->log_fd = m->monitor_pidfd = -1;
	m->loop.epoll_fd = -1;
	for (int i = 0; i < SERIAL_PORTS; i++)
		m->serial[i].stream = (struct stream){.in_fd = -1, .out_fd = -1};
	pthread_mutex_init(&m->lock, NULL);
	sem_init(&m->server_go, 0, 0);
	r = process_find_monitor(m->monitor_path, sizeof(m->monitor_path));
	if (r < 0)
		snprintf(err, errlen, "cannot find the monitor at %s: %s; build it, or name it in $RINGER_VMM",
			 m->monitor_path, strerror(-r));
	if (r < 0 || (r = machine_map(m, err, errlen)) < 0 || (r = configure(m, err, errlen)) < 0 ||
	    (r = open_log(m, err, errlen)) < 0 || (r = create_loop(m, err, errlen)) < 0 ||
	    (r = create_board(m, err, errlen)) < 0)
		machine_destroy(m);
	return r;
}

int machine_run(struct machine *m, char *err, size_t errlen)
{
	int r = power_on(m, err, errlen);

	// The terminal is touched last: what cannot start leaves it alone.
	if (r < 0 || (r = open_serial(m, err, errlen)) < 0)
		return r;
	r = machine_start_threads(m);
	if (r == 0)
		r = loop_run(&m->loop);
	if (r < 0)
		snprintf(err, errlen, "cannot run the machine: %s", strerror(-r));
	kill_monitor(m);
	machine_stop_threads(m);
	drain(m);
	return r < 0 ? r : m->status;
}

void machine_destroy(struct machine *m)
{
	if (m->shared)
		machine_stop_threads(m);
	if (m->monitor > 0)
		kill_monitor(m);
	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_close(&m->serial[i]);
	signals_remove(&m->loop, &m->signals);
	loop_timer_remove(&m->loop, &m->timer);
	loop_event_remove(&m->loop, &m->event_raised);
	loop_event_remove(&m->loop, &m->doorbell);
	loop_destroy(&m->loop);
	if (m->log_fd > STDERR_FILENO)
		close(m->log_fd);
	if (m->monitor_pidfd >= 0)
		close(m->monitor_pidfd);
	machine_unmap(m);
	sem_destroy(&m->server_go);
	pthread_mutex_destroy(&m->lock);
}
