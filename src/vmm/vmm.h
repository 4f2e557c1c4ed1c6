// SPDX-License-Identifier: MIT
//
// struct vmm: the monitor's own state around one vCPU. It stands at ZONE_VCPU(i) + ZONE_VCPU_VMM, private to the
// monitor process; the host's GS base points at ZONE_VCPU(i), so a signal handler finds it without being told.
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include "base/assert.h"
#include "bus/bus.h"
#include "bus/peers.h"
#include "bus/shared.h"
#include "chip/board.h"
#include "cpu/vcpu.h"
#include "mem/zone.h"

// What the vCPUs' monitors share: the board, with the bus that it is on. At ZONE_CHIPS in each of them. Whoever touches
// it holds the lock; pointers to functions are the same in all, but `opaque` of a callback says nothing of who calls:
// vmm_self does. The board's timers are run by vCPU 0, which also takes the app's lines and the PIC's output.
struct chips {
	_Atomic uint32_t lock;
	_Atomic uint32_t trace_lock;
	_Atomic uint32_t ready;   // monitors that have come to their run loop
	_Atomic uint64_t tsc_start; // host TSC at virtual time 0; set by vCPU 0
	struct bus bus;
	struct board board;
	struct vcpu *vcpu[VCPUS_MAX];
};

enum { HOST_TIMERS = 2 };

struct vmm {
	struct vmm *self;         // read through GS (vmm_self)
	struct vcpu *vcpu;
	struct shared *shared;
	struct chips *chips;
	struct bus bus;           // the local APIC's timer
	struct timer app_timer;   // --deterministic: the earliest of the app's devices

	// -- clock and host timer (vmm/clock.c)
	uint64_t tsc_start;       // host TSC at virtual time 0
	uint64_t tsc_mult;        // ns = cycles * tsc_mult >> 62
	struct host_timer {
		int32_t id;       // the kernel's
		uint64_t at;      // virtual time at which it fires; 0: not, or not known
	} host_timer[HOST_TIMERS];
	uint64_t armed;           // virtual time at which one of them fires, 0 = not armed
	uint64_t last_step;       // from the deadline before that
	uint64_t last_armed;

	uint32_t processors;      // of the host, that this may run on
	uint32_t spin_cycles;     // how long a world switch spins before it sleeps
	uint64_t halt_spin;       // cycles that HLT looks on before it sleeps
	// -- the worlds of direct execution (vmm/direct.c)
	struct {
		struct world {
			uint32_t pid, mapper;     // its threads; pid 0: there is none
			_Atomic bool dead;
			bool cpuid_faults;        // CPUID does, there
			bool tsc_faults;          // RDTSC and RDTSCP do
			uint8_t set_cpuid, set_tsc; // at its next turn: struct direct_commands, cpuid and tsc
			uint32_t queued;          // commands
			uint32_t placed;          // as `placement` was when it was last put on a processor
			uint64_t area;            // where the monitor has what it shares with it
			struct direct_frame {
				uint64_t *uc;         // where the runner's signals are handed over
				uint8_t *vectors;
				uint64_t words[64];   // of uc, and the software's part of the vector state, as the host has made them
				uint8_t software[48];
				uint32_t size;        // of the vector state with all that the host has
			} frame;
		} world[VMM_WORLDS + VMM_SPARES]; // the spare ones at the end
		uint32_t spares;          // that are left
		uint32_t last;            // the world that ran last
		bool catches_cpuid;       // the host can have it fault
		bool int1_stays;          // INT1's trap has its own address, not that of what follows: some hypervisors' doing
		uint32_t cpuid_cycles;    // that each switch to the runner and from it takes longer then
		uint32_t tsc_cycles;      // the same where RDTSC faults
		uint32_t turns;           // so far
		uint32_t share;           // of the time that all have had lately, in sixteenths
		uint64_t trip_ns, command_ns; // of the processor's time: to a world and back, for a command
		uint32_t vectors;         // bytes of a signal frame's vector state
		uint32_t placement;       // counts: where the monitor and the worlds are to run has changed
		uint32_t processor;       // all on that one, if pinned
		uint64_t pinned;          // when (TSC) they were last put on one processor, or 0
		uint64_t free_until;      // (TSC) they are put on none until then
		uint64_t halted, worked;  // ns, when they were: in HLT, and that all had had of the processor
		uint64_t processors[16];  // those that they may run on
	} direct;

	bool fsgsbase;            // the host lets user code write the GS base
	bool stepping;            // the last stop ended with RESUME_STEP
	bool crashing;            // a report is being made: a second crash ends at once
	uint64_t trace_lost;      // bytes of trace dropped, not yet said in the trace
};

static inline struct vmm *vmm_of(const struct vcpu *v)
{
	return (struct vmm *)((uintptr_t)v + ZONE_VCPU_VMM);
}

static inline struct vmm *vmm_self(void)
{
	struct vmm *vm;

	__asm__("mov %%gs:%c1, %0" : "=r"(vm) : "i"(ZONE_VCPU_VMM));
	return vm;
}

static inline void vmm_lock(_Atomic uint32_t *lock)
{
	while (__atomic_exchange_n((uint32_t *)lock, 1, __ATOMIC_ACQUIRE))
		while (*lock)
			vmm_yield(NULL);
}

static inline void vmm_unlock(_Atomic uint32_t *lock)
{
	__atomic_store_n((uint32_t *)lock, 0, __ATOMIC_RELEASE);
}

// -- main.c: everything that needs no host call
void vmm_init(struct vmm *vm);

// -- pending.c
void vmm_take_app_lines(struct vmm *vm);

// -- clock.c
void clock_init(struct vmm *vm);
int clock_make_timers(struct vmm *vm); // before the jail
void clock_fired(struct vmm *vm, int timer);
void clock_shifted(struct vmm *vm);
uint64_t clock_now(void *opaque);
void clock_arm(void *opaque, uint64_t deadline);

// -- fault.c
int fault_catch_signals(void *stack, size_t size);
void fault_restorer(void); // start.S

// -- direct.c
void direct_make(struct vmm *vm); // before the jail; without an effect if the host has not what it takes
void direct_child_ended(struct vmm *vm); // one of them

// -- world.c
uint64_t world_request(struct vcpu *v, enum request_kind kind, uint64_t addr, unsigned size, uint64_t value);
void world_ring_doorbell(struct shared *sh);
void world_kick(struct shared *sh, unsigned function);

// -- report.c: end the machine with a report. regs: the interrupted host registers (ucontext's gregs), or NULL.
struct report_host {
	int signal, code;
	uint64_t address;
	const long long *gregs;
};
void report_trace_state(struct vcpu *v, const char *title); // the registers into the trace
_Noreturn void report_crash(struct vcpu *v, const char *what, const struct report_host *host);

_Static_assert(sizeof(struct chips) <= CHIPS_SHARED_SIZE, "struct chips outgrew its place");

#endif
