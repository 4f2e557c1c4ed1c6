// SPDX-License-Identifier: MIT
//
// Create, run and destroy a machine. What happens to it while it runs is in events.c.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/process.h"
#include "io/trace.h"
#include "machine/cpu_model.h"
#include "machine/events.h"

static void serial_changed(void *opaque)
{
	machine_tell_lines(opaque);
}

static void mux_quit(void *opaque)
{
	struct machine *m = opaque;

	m->hurry = true;
	machine_post(m, EVENT_QUIT, 0);
}

static void on_doorbell(void *opaque)
{
	struct machine *m = opaque;

	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_doorbell(&m->serial[i]);
	virtio_bus_ejected(m);
	trace_drain(&m->trace, &m->shared->trace, m->signals.lf.fd);
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
	struct machine *m = opaque;
	struct timespec ts;

	if (m->config->deterministic)
		return m->shared->request[0].now;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void bus_deadline(void *opaque, uint64_t deadline)
{
	struct machine *m = opaque;

	if (m->config->deterministic)
		m->shared->request[0].deadline = deadline; // the monitor asks for it to be run then
	else
		loop_timer_set(&m->timer, deadline);
}

static int configure(struct machine *m, char *err, size_t errlen)
{
	const struct machine_config *c = m->config;
	struct config *to = &m->shared->config;
	char cpu[1024];
	int r;

	m->shared->magic = SHARED_MAGIC;
	m->shared->size = sizeof(struct shared);
	to->vcpus = c->vcpus;
	to->topology = c->topology;
	to->numa = c->numa;
	to->stress = c->stress | (c->selfcheck ? STRESS_IRQ : 0); // units are counted in the run loop
	to->log = c->log | (c->perfmap ? LOG_PERFMAP : 0);
	to->selfcheck = c->selfcheck;
	to->memory = c->memory;
	to->deterministic = c->deterministic;
	to->start_stopped = c->start_stopped;
	to->tc_size = c->tc_size;
	to->debug_exit = c->pc.debug_exit;
	to->board = c->board;
	to->ecam = c->boot.bios ? PCI_ECAM_FIRMWARE : PCI_ECAM_BASE;
	to->pit = !c->no_pit;
	to->hpet = !c->no_hpet && c->board != BOARD_MICROVM;
	to->pci_testdev = c->pc.pci_testdev;
	for (unsigned i = 0; i < c->root_ports; i++) {
		const struct root_port_config *p = &c->root_port[i];

		to->root_port[i] = (struct pcie_port_place){true, p->multifunction, (uint8_t)(p->slot << 3 | p->function),
			(uint8_t)p->chassis, (uint16_t)p->number, (uint8_t)p->port};
	}
	to->watchdog = c->pc.watchdog;
	to->pci_hotplug = c->board == BOARD_PC;
	to->watchdog_mute = c->pc.watchdog_mute;
	to->pic = !c->no_pic;
	to->rtc = !c->no_rtc;
	to->i8042 = c->board != BOARD_MICROVM;
	to->vga = machine_has_vga(c);
	to->ide = ide_is_present(m);
	to->floppy = floppy_is_present(m);
	for (int i = 0; i < SERIAL_PORTS; i++)
		to->serial_present[i] = c->serial[i].kind != STREAM_NONE;
	if (!c->deterministic)
		return cpu_model_build(c->cpu ? c->cpu : CPU_MODEL_DEFAULT, &to->topology, to, err, errlen);
	to->tsc_hz = DETERMINISTIC_HZ;
	snprintf(cpu, sizeof(cpu), "%s,-rdrand,-rdseed", c->cpu ? c->cpu : CPU_MODEL_DEFAULT);
	r = cpu_model_build(cpu, &to->topology, to, err, errlen);
	if (!r && to->pmu) {
		snprintf(err, errlen, "-cpu: pmu and -deterministic count the same instructions; leave one of the two away");
		return -EINVAL;
	}
	return r;
}

static void disk_failed(void *opaque)
{
	struct machine *m = opaque;

	loop_event_raise(&m->disk_failed);
}

static int open_serial(struct machine *m, char *err, size_t errlen)
{
	char why[400] = "";

	for (int i = 0; i < SERIAL_PORTS; i++) {
		struct serial *s = &m->serial[i];
		int r;

		s->changed = serial_changed;
		s->opaque = m;
		s->chardev.mux = m->mux;
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
	int r = trace_open(&m->trace, m->config->log_file);

	if (r < 0)
		snprintf(err, errlen, "-D: cannot open '%s' for writing: %s", m->config->log_file, strerror(-r));
	return r;
}

static int create_loop(struct machine *m, char *err, size_t errlen)
{
	int r = loop_init(&m->loop);

	if (r < 0 || (r = loop_event_add(&m->loop, &m->doorbell, on_doorbell, m)) < 0 ||
	    (r = loop_event_add(&m->loop, &m->event_raised, machine_on_event, m)) < 0 ||
	    (r = loop_event_add(&m->loop, &m->disk_failed, machine_on_disk_failed, m)) < 0 ||
	    (r = loop_event_add(&m->loop, &m->device_changed, machine_on_device_changed, m)) < 0 ||
	    (r = loop_timer_add(&m->loop, &m->timer, on_timer, m)) < 0 ||
	    (r = signals_add(&m->loop, &m->signals, machine_terminate, m)) < 0)
		snprintf(err, errlen, "cannot set up the event loop: %s", strerror(-r));
	m->signals.suspend = machine_suspend;
	return r;
}

// Who has answered: the monitor writes the line, among those of its own devices.
static void log_access(void *opaque, const char *dev, enum bus_space space, bool write, uint64_t addr, unsigned size,
		       uint64_t value)
{
	struct request *r = &((struct machine *)opaque)->shared->request[0];

	snprintf(r->dev, sizeof(r->dev), "%s", dev);
}

static int create_board(struct machine *m, char *err, size_t errlen)
{
	int r;

	bus_init(&m->bus);
	m->bus.now = bus_clock;
	m->bus.deadline_changed = bus_deadline;
	m->bus.opaque = m;
	if (m->config->log & (LOG_DEV | LOG_UNIMP))
		m->bus.log = log_access;
	r = pc_create(m, err, errlen);
	if (r == 0)
		r = ide_create(m, err, errlen);
	if (r == 0)
		r = ahci_create(m, err, errlen);
	if (r == 0)
		r = e1000_create(m, err, errlen);
	if (r == 0)
		r = pflash_create(m, err, errlen);
	if (r == 0)
		r = floppy_create(m, err, errlen);
	return r < 0 ? r : virtio_bus_create(m, err, errlen);
}

static int open_nets(struct machine *m, char *err, size_t errlen)
{
	char why[400];

	for (unsigned i = 0; i < m->config->nets; i++) {
		const struct net_config *c = &m->config->net[i];
		int r = net_open(&m->net[i], &m->loop, c, why, sizeof(why));

		if (r < 0) {
			snprintf(err, errlen, "network '%s': %s: %s", c->id, net_kind_class(c->kind)->name, why);
			return r;
		}
	}
	return 0;
}

int machine_create(struct machine *m, const struct machine_config *c, char *err, size_t errlen)
{
	int r;

	memset(m, 0, sizeof(*m));
	m->config = c;
	m->state_fd = m->ram_fd = m->monitor_fd = -1;
	for (unsigned i = 0; i < VCPUS_MAX; i++) {
		m->tc_fd[i] = -1;
		m->monitor[i] = (struct monitor){.machine = m, .vcpu = i, .pidfd = -1};
	}
	m->loop.epoll_fd = -1;
	block_waiting_init(&m->waiting, disk_failed, m);
	m->paused = c->start_paused;
	m->has_run = !c->start_paused;
	m->mux = (struct mux){.quit = mux_quit, .opaque = m, .escape = c->escape};
	m->pc.debugcon_to = (struct stream){.in_fd = -1, .out_fd = -1};
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->pc.pci_lines, NULL);
	r = process_find_monitor(m->monitor_path, sizeof(m->monitor_path));
	if (r < 0)
		snprintf(err, errlen, "cannot find the monitor at %s: %s; build it, or name it in $RINGER_VMM",
			 m->monitor_path, strerror(-r));
	if (r < 0 || (r = machine_map(m, err, errlen)) < 0 || (r = configure(m, err, errlen)) < 0 ||
	    (r = open_log(m, err, errlen)) < 0 || (r = create_loop(m, err, errlen)) < 0 ||
	    (r = open_nets(m, err, errlen)) < 0 || (r = create_board(m, err, errlen)) < 0)
		machine_destroy(m);
	return r;
}

// From here on the app may do less. Its monitor is executed by a descriptor that is not in the way of others.
static int confine(struct machine *m, char *err, size_t errlen)
{
	enum { OUT_OF_THE_WAY = 200 };
	int fd, r;

	if (!m->config->confine.on)
		return 0;
	fd = open(m->monitor_path, O_PATH | O_CLOEXEC);
	m->monitor_fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, OUT_OF_THE_WAY);
	if (fd >= 0)
		close(fd);
	r = m->monitor_fd < 0 ? -errno : confine_close(&m->config->confine, m->monitor_fd);
	if (r < 0)
		snprintf(err, errlen, "-sandbox: the host refuses it: %s", strerror(-r));
	return r;
}

int machine_run(struct machine *m, char *err, size_t errlen)
{
	int r = machine_power_on(m, err, errlen);

	// The terminal is touched last: what cannot start leaves it alone.
	if (r < 0 || (r = open_serial(m, err, errlen)) < 0 || (r = pc_open(m, err, errlen)) < 0 ||
	    (r = virtio_bus_open(m, err, errlen)) < 0)
		return r;
	r = confine(m, err, errlen);
	if (r < 0)
		return r;
	r = machine_start_threads(m);
	if (r == 0 && m->started)
		m->started(m->started_opaque);
	if (r == 0)
		r = loop_run(&m->loop);
	if (r < 0)
		snprintf(err, errlen, "cannot run the machine: %s", strerror(-r));
	machine_kill_monitors(m);
	machine_stop_threads(m);
	machine_drain(m);
	return r < 0 ? r : m->status;
}

void machine_destroy(struct machine *m)
{
	if (m->shared)
		machine_stop_threads(m);
	machine_kill_monitors(m);
	balloon_stop(m);
	virtio_bus_destroy(m);
	ide_destroy(m);
	ahci_destroy(m);
	e1000_destroy(m);
	pflash_destroy(m);
	floppy_destroy(m);
	for (int i = 0; i < SERIAL_PORTS; i++)
		serial_close(&m->serial[i]);
	pc_close(m);
	for (unsigned i = 0; i < m->config->nets; i++)
		net_close(m->net[i]);
	signals_remove(&m->loop, &m->signals);
	loop_timer_remove(&m->loop, &m->timer);
	loop_event_remove(&m->loop, &m->event_raised);
	loop_event_remove(&m->loop, &m->disk_failed);
	loop_event_remove(&m->loop, &m->device_changed);
	loop_event_remove(&m->loop, &m->doorbell);
	loop_destroy(&m->loop);
	trace_close(&m->trace);
	machine_unmap(m);
	if (m->monitor_fd >= 0 && !m->config->confine.no_spawn)
		close(m->monitor_fd);
	pthread_mutex_destroy(&m->lock);
}
