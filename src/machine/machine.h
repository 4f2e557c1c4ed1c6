// SPDX-License-Identifier: MIT
//
// struct machine: one virtual PC as the app holds it - its memory files, its devices, its host ends, and for each of
// its processors a monitor process. Created from a plain configuration, run until something ends it, destroyed; nothing
// is left behind. Nothing here exits the process: machine_run returns the exit status.
//
// Threads: the event loop (the one that calls machine_run), a request server for each vCPU, the doorbell listener, and
// one for each virtio device (machine/doorbell.c). Devices are touched only under `lock`, virtio devices only under
// their own locks. What ends or stops the machine is an event (machine_post), handled in the loop.
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "boot/boot.h"
#include "bus/bus.h"
#include "bus/peers.h"
#include "bus/shared.h"
#include "cpu/vcpu.h"
#include "host/confine.h"
#include "host/loop.h"
#include "host/signals.h"
#include "io/block_waiting.h"
#include "io/net.h"
#include "io/serial.h"
#include "io/trace.h"
#include "machine/control.h"
#include "machine/floppy.h"
#include "machine/ahci.h"
#include "machine/balloon.h"
#include "machine/e1000.h"
#include "machine/ide.h"
#include "machine/pflash.h"
#include "machine/pc.h"
#include "machine/virtio.h"
#include "p9/p9.h"

#define MACHINE_RAM_MIN (UINT64_C(2) << 20)
#define MACHINE_RAM_MAX (UINT64_C(1) << 40)

enum { MACHINE_NETS_MAX = 8, MACHINE_FOLDERS_MAX = 8 };

enum nic_model { NIC_VIRTIO, NIC_E1000 };

struct nic_config {
	bool gone;       // it has been taken away: the place is free
	enum nic_model model;
	char id[64];     // NIC_E1000: of the device; a virtio device has one of its own
	int slot;        // likewise; SLOT_ANY
	char netdev[64]; // "": a card without a cable
	int net;         // index of that network, or -1
	uint8_t mac[6];
	bool has_mac, no_merge, multiqueue;
	uint16_t mtu;    // host_mtu=, or 0
};

struct machine_config {
	uint64_t ram_size;
	unsigned vcpus;
	struct topology topology;
	struct numa numa;
	struct boot_args boot;
	const char *cpu; // -cpu, or NULL
	enum board_kind board;
	bool no_hpet, no_pit, no_pic, no_rtc; // hpet=off; microvm's pit=off and so on
	struct stream_config serial[SERIAL_PORTS];
	struct pc_config pc;
	struct ide_config ide[IDE_DRIVES];
	struct block_config pflash;                // firmware's variables; no file: there are none
	struct ahci_config ahci[AHCI_CONTROLLERS]; // the first is q35's own
	struct floppy_config floppy[FDC_DRIVES];
	unsigned root_ports;
	struct root_port_config { // -device pcie-root-port
		char id[64];
		int slot, function; // addr=; slot -1: any
		bool multifunction;
		unsigned chassis, number, port;
	} root_port[PCIE_PORTS];
	struct virtio_config virtio[PCI_APP_MAX];
	unsigned nvirtio;
	unsigned nets, nics;
	struct net_config net[MACHINE_NETS_MAX];
	struct nic_config nic[MACHINE_NETS_MAX];
	unsigned ports; // of virtio-serial
	struct console_port_config port[CONSOLE_PORTS];
	unsigned scsis; // disks on virtio-scsi
	struct scsi_disk_config scsi[SCSI_DISKS];
	unsigned folders;
	struct p9_config folder[MACHINE_FOLDERS_MAX];
	uint64_t tc_size;
	bool no_reboot, no_shutdown, deterministic, no_vga;
	int vga_slot; // addr= of -device VGA, or SLOT_ANY
	bool start_stopped, start_paused; // -S: for the debugger; for an operator
	bool empty; // -machine none: nothing but operators
	struct smbios_args smbios;
	uint8_t escape; // -echr; 0: Ctrl-a
	const char *name; // -name, or NULL
	uint32_t log, stress, selfcheck, memory;
	const char *log_file; // -D; NULL: stderr
	bool perfmap;
	bool prealloc; // -mem-prealloc
	struct confine confine; // -sandbox
	const struct known_names *known; // for operators who ask
	int64_t rtc_offset; // -rtc base=: nanoseconds from the host's time
};

enum machine_event {
	EVENT_NONE,
	EVENT_QUIT,     // value: exit status
	EVENT_SHUTDOWN, // the guest has powered off
	EVENT_RESET,    // value: enum reset_reason
	EVENT_CRASH,    // shared.report says what
	EVENT_STOPPED,  // a vCPU has stopped: for the debugger
};

struct monitor { // of one vCPU
	struct machine *machine;
	unsigned vcpu;
	pid_t pid;
	int pidfd;
	struct loop_fd gone;
	pthread_t server;
	bool server_runs;
};

struct machine {
	const struct machine_config *config;
	int state_fd, ram_fd, tc_fd[VCPUS_MAX];
	struct shared *shared;
	struct peers *peers;
	struct vcpu *vcpu[VCPUS_MAX];

	struct loop loop;
	struct signals signals;
	bool paused, has_run; // by an operator; ever let go
	bool io_error; // ... paused by a disk's failure (werror=stop)
	struct block_waiting waiting; // requests of virtio disks that have failed
	struct loop_event disk_failed;
	struct loop_event device_changed; // something that operators are told of: a tray, a port, the balloon
	bool hurry; // the user has asked for the end: output that nobody reads is not waited for
	struct mux mux; // what the keys of a multiplexed standard input do
	struct serial serial[SERIAL_PORTS];
	struct net *net[MACHINE_NETS_MAX];
	struct trace trace;
	struct loop_event doorbell, event_raised;
	struct loop_timer timer; // earliest timer of `bus`
	pthread_t listener;
	bool listener_runs;
	_Atomic bool quit; // the threads are to end
	_Atomic int event; // enum machine_event: the first one posted wins until it is handled
	_Atomic uint64_t event_value;
	_Atomic uint32_t epoch; // futex word: a server waits for the next after a request that ended or stopped the machine

	pthread_mutex_t lock; // the board: bus and devices
	struct bus bus;
	struct pc pc;
	struct virtio_bus virtio; // its devices have locks of their own
	struct balloon_polling balloon;

	char monitor_path[4096];
	int monitor_fd; // it is executed by this; -1: by its path
	struct monitor monitor[VCPUS_MAX];

	void (*stopped)(void *opaque, unsigned vcpu, uint32_t reason,
			uint64_t addr); // the debugger's; NULL: nobody stops it for long
	void *stopped_opaque;
	struct machine_listener listener_of_events;
	// What operators add while the machine runs, in the command line's words; it ends in virtio_bus_plug.
	int (*plug)(void *opaque, struct machine *m, enum plug_kind what, const char *text, char *err, size_t errlen);
	void *plug_opaque;
	void (*started)(void *opaque); // nothing can fail any more; or NULL
	void *started_opaque;
	int status; // exit status, once the loop has ended
};

// 0, or a negative errno with one line in err. m need not be initialised; on failure nothing is left.
int machine_create(struct machine *m, const struct machine_config *c, char *err, size_t errlen);
int machine_run(struct machine *m, char *err, size_t errlen); // the exit status, or a negative errno with a line in err
void machine_destroy(struct machine *m);

// From any thread.
void machine_post(struct machine *m, enum machine_event event, uint64_t value);
extern _Thread_local bool machine_posted; // by this thread, which may find the event long handled when it looks again
void machine_tell_lines(struct machine *m); // interrupt lines or serial rings have changed: let the vCPU look
void machine_device_changed(void *machine); // for operators to hear of
void machine_tell_written(void *machine, gpa_t gpa, uint64_t size); // guest RAM, by a device: code there is void
void machine_set_irq(void *machine, unsigned gsi, bool level); // for struct irq_line
void machine_set_pci_line(void *machine, unsigned slot, bool level); // likewise: INTA of a device on bus 0
void machine_ask_stop(struct machine *m); // ends in m->stopped

void machine_next_epoch(struct machine *m);

// From the loop, after m->stopped was called.
void machine_resume(struct machine *m, enum resume how);

static inline int machine_vga_slot(const struct machine_config *c)
{
	return c->board == BOARD_Q35 ? 1 : 2;
}

static inline bool machine_has_vga(const struct machine_config *c)
{
	return !c->no_vga && c->board != BOARD_MICROVM && !c->empty;
}

// memory.c
int machine_map(struct machine *m, char *err, size_t errlen);
int machine_clear_memory(struct machine *m);
void machine_unmap(struct machine *m);

// server.c
int machine_start_threads(struct machine *m);
void machine_stop_threads(struct machine *m);

#endif
