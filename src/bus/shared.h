// SPDX-License-Identifier: MIT
//
// struct shared: what the app and the monitor say to each other. Lies in the state memfd, mapped at ZONE_SHARED in
// both. The monitor trusts the app; the app trusts nothing here that the guest can influence beyond its bounds: every
// index and length read from here is masked or checked by the app before use.
#ifndef BUS_SHARED_H
#define BUS_SHARED_H

#include "base/types.h"
#include "bus/ide_window.h"
#include "bus/pci_app.h"
#include "bus/screen.h"
#include "bus/topology.h"
#include "mem/mem.h"

enum { SHARED_MAGIC = 0x52474e43 /* "RGNB": bump with every change of layout */, VCPUS_MAX = 16,
	SHARED_SIZE = 4 << 20, VCPU_SHARED_SIZE = 1 << 20, // file sizes in the state memfd: shared, then each vcpu,
	CHIPS_SHARED_SIZE = 1 << 20, PEERS_SHARED_SIZE = 80 << 20, // struct chips, struct peers
	SERIAL_PORTS = 4, AHCI_CONTROLLERS = 3, E1000_CARDS = 4,
	RING_SIZE = 64 << 10, REPORT_SIZE = 32 << 10, TRACE_SIZE = 1 << 20 };

// Offsets in the state memfd.
static inline uint64_t vcpu_file_offset(unsigned i)
{
	return SHARED_SIZE + (uint64_t)i * VCPU_SHARED_SIZE;
}
#define CHIPS_FILE_OFFSET vcpu_file_offset(VCPUS_MAX)
#define PEERS_FILE_OFFSET (CHIPS_FILE_OFFSET + CHIPS_SHARED_SIZE)
#define STATE_FILE_SIZE (PEERS_FILE_OFFSET + PEERS_SHARED_SIZE)

// File descriptors the app hands to the monitor (posix_spawn file actions). Nothing else is open there.
enum { MONITOR_FD_STATE = 3, MONITOR_FD_RAM = 4, MONITOR_FD_TC = 5 };

// The monitor's exit statuses: what it could not do at its start, before it could say so in another way.
#define START_FAILURES(_) \
	_(MAP, "map its memory in the zone") \
	_(SHARED, "agree with ringer on their shared memory: build both anew") \
	_(SIZE, "place so much memory in the zone") \
	_(UNMAP, "unmap the rest of its address space") \
	_(SEALED, "clear its address space for --memory=mapped or direct: the host seals the vdso") \
	_(DIRECT, "make a process for --memory=direct: that wants FSGSBASE, and Linux 5.16") \
	_(GS, "set its GS base") \
	_(SIGNAL, "catch its signals") \
	_(TIMER, "make its timer") \
	_(JAIL, "close its jail: is seccomp missing?") \
	_(CRASHED_TWICE, "report its crash: it crashed again") \
	_(ENDED, "go on: its run loop came to an end that is none")
enum start_failure {
	START_BEFORE = 99,
#define _(name, what) START_##name,
	START_FAILURES(_)
#undef _
};

// A byte ring: one writer, one reader, in different programs. Indices run freely; the index modulo RING_SIZE is the
// place. A writer that finds it full sets writer_waits, looks again, and then waits to be told: the reader, after it
// has moved tail, exchanges writer_waits for 0 and if it was set tells the writer. How the writer is told:
//   serial_tx (writer: monitor)  the app sets PENDING_LINES in vcpu.pending and wakes the vCPU if it is asleep
//   serial_rx (writer: app)      the monitor rings the doorbell
//   trace     (writer: monitor)  the app futex-wakes `tail`, on which the monitor may sleep
// The app tells the monitor of new bytes in serial_rx, too, with PENDING_LINES; the monitor tells the app of new bytes
// in serial_tx and trace with the doorbell.
struct ring {
	_Atomic uint32_t head; // written by the writer
	_Atomic uint32_t tail; // written by the reader
	_Atomic uint32_t writer_waits;
	_Atomic uint32_t broken; // the writer sends a break, until the reader has seen it
	uint8_t data[RING_SIZE];
};

// A world switch: the monitor asks the app for one device access or service and waits for the answer.
enum request_kind {
	REQ_NONE,
	REQ_PORT_READ, REQ_PORT_WRITE, REQ_MMIO_READ, REQ_MMIO_WRITE, // addr, size 1 2 4 8, value
	REQ_PORT_READ_BLOCK, REQ_PORT_WRITE_BLOCK, // as often as value says, in and out of block
	REQ_PCI_READ, REQ_PCI_WRITE, // the same in a function's window: addr is pci_app_address
	REQ_SHUTDOWN,   // power off (ACPI S5)
	REQ_RESET,      // guest reset (i8042, port CF9, triple fault: value says which, enum reset_reason)
	REQ_CRASH,      // a bug in ringer or an NYI: shared.report holds the text
	REQ_TIMERS,     // --deterministic: run the app's timers that are due at `now`
	REQ_STOPPED,    // the vCPU has stopped (value: enum stop_reason); answer = go on (value: enum resume)
};
enum reset_reason { RESET_REQUESTED, RESET_TRIPLE_FAULT };
enum stop_reason { STOP_ASKED, STOP_BREAKPOINT, STOP_STEP, STOP_WATCHPOINT };
enum resume { RESUME_RUN, RESUME_STEP };

enum request_state { REQ_IDLE, REQ_POSTED, REQ_ANSWERED }; // futex word

enum { REQUEST_BLOCK = 1024 };

// Why a monitor sleeps: its vCPU is in HLT, or runs guest code directly, in another process.
enum vcpu_sleep { VCPU_AWAKE, VCPU_ASLEEP, VCPU_AWAY };

struct request {
	_Atomic uint32_t state;   // enum request_state; the futex both sides wait on
	_Atomic uint32_t app_asleep; // the app's thread is in futex_wait: wake it after posting
	_Atomic uint32_t monitor_asleep; // the monitor is in futex_wait (else it spins): wake it after answering
	uint32_t kind;            // enum request_kind
	uint32_t size;
	uint64_t addr;
	uint64_t value;           // in and out
	uint64_t now;             // the virtual clock
	uint64_t deadline;        // --deterministic: the earliest timer of the app's devices, 0: none; written by the app
	char dev[16];             // -d dev, unimp: the device of the app that has answered
	uint8_t block[REQUEST_BLOCK];
};

enum accel_stress { // --stress= settings, bits
	STRESS_TINY_TC = BIT(0),   // a very small translation cache
	STRESS_NOCHAIN = BIT(1),   // no direct chaining
	STRESS_FLUSH = BIT(2),     // flush TC and TLB every few units; with NOCHAIN after each
	STRESS_IRQ = BIT(3),       // leave translated code at each unit boundary
	STRESS_ONE = BIT(4),       // one instruction a unit
	STRESS_CAREFUL = BIT(5),   // every instruction in the careful form
	STRESS_COLD = BIT(6),      // no unit is made anew for the hot tier
	STRESS_HOT = BIT(7),       // all units are of the hot tier at once
	STRESS_SEALED = BIT(8),    // the vdso cannot be unmapped, as on hosts that seal it
};

// How user code reaches memory: translated, through the software TLB, or by host mappings at the guest's own addresses;
// or as it is, in a process of its own.
enum memory_form { MEMORY_CHECKED, MEMORY_MAPPED, MEMORY_AUTO, MEMORY_DIRECT, MEMORY_DISPLACED };

static inline bool memory_is_direct(enum memory_form form) // always, not only where it pays
{
	return form == MEMORY_DIRECT || form == MEMORY_DISPLACED;
}

// Performance counters: do cycles run on while the monitor works for the guest?
enum pmu_mode { PMU_NONE, PMU_RUN, PMU_STOP };

enum log_item {
	LOG_TU = BIT(0), LOG_EXIT = BIT(1), LOG_FAULT = BIT(2), LOG_IRQ = BIT(3), LOG_INT = BIT(4), LOG_MMU = BIT(5),
	LOG_DEV = BIT(6), LOG_RESET = BIT(7), LOG_UNIMP = BIT(8), LOG_GUEST_ERRORS = BIT(9), LOG_ALL = BIT(10) - 1,
	LOG_PERFMAP = BIT(10), // -perfmap
};

// Records: a line of the trace that begins with TRACE_RECORD is not text yet, the app makes text of it (io/). The next
// byte is its kind; then words, numbers in hexadecimal but for counts. A unit is UNIT, then for each guest instruction
// GUEST and the HOST bytes it became (those before the first GUEST are the unit's entry), COLD, more HOST, END.
enum trace_record {
	TRACE_RECORD = 1,
	TRACE_UNIT = 'U',   // pc gpa mode instructions bytes(decimal) entry size(decimal)
	TRACE_GUEST = 'G',  // pc bytes
	TRACE_HOST = 'H',   // address bytes; a run of code may be cut anywhere
	TRACE_COLD = 'C', TRACE_END = 'E',
	TRACE_SYMBOL = 'S', // address size name, for perf
};

// --deterministic: the machine always starts at this moment (ns since 1970: 2026-01-01), with a clock of 1 GHz.
#define DETERMINISTIC_EPOCH (UINT64_C(1767225600) * 1000000000)
#define DETERMINISTIC_HZ UINT64_C(1000000000)

enum { CPUID_LEAVES_MAX = 96 };
struct cpuid_leaf { // one row of the CPUID model, made by the app (machine/cpu_model.c) and read by cpu/
	uint32_t leaf, subleaf;
	bool has_subleaf;
	uint32_t eax, ebx, ecx, edx;
};

struct pci_place { // of a function on the bus whose device is in the app
	bool present;
	uint8_t devfn;
};

enum board_kind { BOARD_PC, BOARD_Q35, BOARD_MICROVM };

struct config { // written by the app before the monitor starts, constant once guest code runs
	struct mem mem;
	uint32_t vcpus;
	struct topology topology;
	struct numa numa;
	uint32_t stress;        // enum accel_stress
	uint32_t log;           // enum log_item
	uint32_t memory;        // enum memory_form; a host that seals the vdso turns auto into checked (vmm/start.c)
	uint32_t selfcheck;     // every Nth unit, 0 = off
	bool deterministic;
	bool start_stopped;     // -S
	uint64_t tsc_hz;        // the host's TSC rate, as the guest is told
	uint64_t tc_size;       // bytes
	uint64_t host_xcr0;     // state components that the guest may be offered
	uint32_t mxcsr_mask;
	uint32_t cpuid_count;
	struct cpuid_leaf cpuid[CPUID_LEAVES_MAX];
	uint32_t pmu;           // enum pmu_mode
	uint64_t arch_capabilities; // value of IA32_ARCH_CAPABILITIES, if offered
	bool debug_exit;        // isa-debug-exit lives in the app: port range for the table of the app's ports
	bool serial_present[SERIAL_PORTS];
	bool pit, pic, hpet, rtc, i8042, vga, ide, floppy;
	struct pci_place ahci[AHCI_CONTROLLERS], e1000[E1000_CARDS];
	struct pcie_port_place root_port[PCIE_PORTS];
	bool pci_testdev;
	bool pci_hotplug; // devices may come and go while the guest runs
	bool watchdog, watchdog_mute; // i6300esb; its reset is left out
	bool bios_state;        // the chips start as a BIOS leaves them: see board_firmware_setup
	uint32_t board;         // enum board_kind
	uint32_t ecam;          // q35: where configuration space is in memory
	uint32_t mmio_devices;  // virtio-mmio
};

#include "bus/stats.h"

// What a debugger has asked for. Written by the app while the vCPU is stopped; translations are thrown away after each
// stop, and no unit but one of a single instruction is ever made that begins at, or passes over, a breakpoint.
enum { BREAKPOINTS_MAX = 64, WATCHPOINTS_MAX = 16 };
enum watch_kind { WATCH_WRITE, WATCH_READ, WATCH_ACCESS };
struct watchpoint { // no page with one enters the software TLB: its accesses all pass cpu/vmem.c
	uint64_t at, size; // linear address
	uint32_t kind;     // enum watch_kind
};
struct debugger {
	uint32_t breakpoints, watchpoints;
	uint64_t breakpoint[BREAKPOINTS_MAX]; // linear addresses
	struct watchpoint watchpoint[WATCHPOINTS_MAX];
	bool hit;           // by the monitor: a watchpoint has been met since the last stop, this one
	uint32_t hit_kind;
	uint64_t hit_at;
};

// The watchpoint that an access meets, or NULL.
static inline const struct watchpoint *debugger_watches(const struct debugger *d, uint64_t at, uint64_t size,
							bool write)
{
	for (uint32_t i = 0; i < d->watchpoints && i < WATCHPOINTS_MAX; i++) {
		const struct watchpoint *w = &d->watchpoint[i];

		if (w->kind != (write ? WATCH_READ : WATCH_WRITE) && at < w->at + w->size && w->at < at + size)
			return w;
	}
	return NULL;
}

static inline void debugger_note_access(struct debugger *d, _Atomic uint32_t *pending, uint32_t stop, uint64_t at,
					uint64_t size, bool write)
{
	const struct watchpoint *w = debugger_watches(d, at, size, write);

	if (!w)
		return;
	d->hit = true;
	d->hit_kind = w->kind;
	d->hit_at = MAX(at, w->at);
	*pending |= stop;
}

static inline bool debugger_breaks_at(const struct debugger *d, uint64_t pc)
{
	for (uint32_t i = 0; i < d->breakpoints && i < BREAKPOINTS_MAX; i++)
		if (d->breakpoint[i] == pc)
			return true;
	return false;
}

struct shared {
	uint32_t magic;
	uint32_t size;          // sizeof(struct shared), checked by the monitor
	struct config config;
	struct request request[VCPUS_MAX];
	_Atomic uint32_t doorbell; // futex word: the monitor adds 1 and wakes when a ring of the app's needs attention
	_Atomic uint32_t doorbell_asleep;
	_Atomic uint32_t vcpu_asleep[VCPUS_MAX]; // enum vcpu_sleep: its monitor waits on vcpu.pending
	_Atomic uint64_t irq_lines; // level of each GSI driven by a device of the app; then set PENDING_LINES and wake
	_Atomic uint64_t irq_fell;  // lines that have been low since the monitor last looked: an edge must not be missed
	_Atomic uint64_t irq_rose;  // and those that have been high
	_Atomic uint32_t a20_masked; // address line 20 is held low
	_Atomic uint32_t power_pressed; // the power button; then PENDING_LINES
	_Atomic uint32_t pci_events; // functions with new bits in vectors or isr
	struct screen screen;
	struct ide_window ide[2]; // channels
	_Atomic uint32_t pci_plugged, pci_unplug; // functions that have come, that the guest is asked to let go
	_Atomic uint32_t pci_ejected; // by the monitor: it has; then the doorbell
	struct pci_app pci[PCI_APP_MAX];
	struct ring serial_tx[SERIAL_PORTS], serial_rx[SERIAL_PORTS];
	struct ring trace;      // -d text, written by the monitor
	struct stats stats[VCPUS_MAX];
	struct debugger debugger;
	char report[REPORT_SIZE]; // the crash report
};

_Static_assert(sizeof(struct shared) <= SHARED_SIZE, "struct shared outgrew its memfd");

#endif
