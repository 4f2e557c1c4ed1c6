// SPDX-License-Identifier: MIT
//
// What cpu/ and bt/ need from the monitor around them, and vmm/ supplies (a unit test supplies its own): device
// access, time, interrupts, sleep, trace and the ways out of the machine. Included by cpu/vcpu.h.
#ifndef CPU_HOOKS_H
#define CPU_HOOKS_H

#include "base/types.h"
#include "bus/shared.h"

struct vcpu;

// -- Devices (vmm/world.c): the local APIC's page, the monitor's bus, then the app (a world switch). All ones if
// nobody is there. size is 1, 2, 4 or 8; the access does not cross a page.
uint64_t vcpu_port_read(struct vcpu *v, uint16_t port, unsigned size);
void vcpu_port_write(struct vcpu *v, uint16_t port, unsigned size, uint64_t value);
// The same if one of the monitor's chips is there, which need not know who asks. False: nothing has been done.
bool vcpu_port_quick(struct vcpu *v, uint16_t port, unsigned size, uint64_t *value, bool write);
bool vcpu_mmio_write_quick(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value);
// INS and OUTS: `count` accesses to a port at once, no more than REQUEST_BLOCK bytes. False: not so here.
bool vcpu_port_block(struct vcpu *v, uint16_t port, unsigned size, unsigned count, void *bytes, bool write);
uint64_t vcpu_mmio_read(struct vcpu *v, gpa_t gpa, unsigned size);
void vcpu_mmio_write(struct vcpu *v, gpa_t gpa, unsigned size, uint64_t value);

// -- Time (vmm/clock.c): nanoseconds since the machine started, by the TSC; nanoseconds since 1970 of the host.
uint64_t vmm_clock_ns(const struct vcpu *v);
uint64_t vmm_wall_clock_ns(const struct vcpu *v);
// vcpu_cycles at the moment when vmm_clock_ns was 0: the same for all vCPUs.
uint64_t vmm_clock_start(const struct vcpu *v);
// The length of so many TSC cycles (for a difference of two TSC values).
uint64_t vmm_tsc_to_ns(const struct vcpu *v, uint64_t cycles);

// -- The run loop's services (vmm/pending.c, vmm/halt.c).
// Take and serve what stands in v->pending: timers, lines and rings of the app, stops (the app looks at the vCPU then:
// v must be canonical). Returns the bits that are left for the run loop: PENDING_IRQ, _NMI, _INIT, _SIPI, _FLUSH, and
// _STEP: run one instruction, then call this again.
uint32_t vmm_service_pending(struct vcpu *v);
// The vector of the interrupt that the processor would take now if RFLAGS.IF allows: the local APIC's, or EXTINT_VECTOR
// for one of the PIC that comes through the virtual wire; -1 if none. Changes nothing.
enum { EXTINT_VECTOR = 256 };
int vmm_next_interrupt(struct vcpu *v);
// Acknowledge: it is being delivered. Returns its vector (a spurious one if it has just gone away).
uint8_t vmm_ack_interrupt(struct vcpu *v);
// The processor is in HLT: sleep until something stands in v->pending. Takes nothing.
void vmm_halt(struct vcpu *v);
// Let others run while this vCPU waits for one of them; wake one that sleeps, to look at its pending word.
void vmm_yield(struct vcpu *v);
unsigned vmm_processors(const struct vcpu *v); // of the host, that the monitors may use
void vmm_wake(struct vcpu *v, unsigned index);
// Tell the app that the vCPU has stopped and wait for what to do. Vector state is stored into v->xsave before and
// loaded from there after; registers and memory may have changed.
enum resume vmm_stopped(struct vcpu *v, enum stop_reason why);
void vmm_save_vectors(struct vcpu *v); // the host's registers into v->xsave (standard form)
void vmm_load_vectors(struct vcpu *v);

// -- Guest RAM at the guest's own addresses (vmm/guest_map.c): pages of the lower half outside the zone.
// 0, or a negative errno: nothing is mapped there then.
enum { VMM_MAP_FULL = -12 }; // -ENOMEM: as many mappings as the host allows
int vmm_map_guest(struct vcpu *v, gva_t gva, gpa_t gpa, uint64_t size, bool write);
int vmm_unmap_guest(struct vcpu *v, gva_t gva, uint64_t size);
int vmm_unmap_guest_all(struct vcpu *v);

// -- Guest user code run as it is, in a process (vmm/direct.c): a world, of which there are a few, each with pages of
// its own, which are mapped and unmapped before it runs next.
enum { VMM_WORLDS = 8, VMM_SPARES = 8 }; // at most; a spare one takes the place of a lost one
enum { VMM_DIRECT_EXEC = BIT(0), VMM_DIRECT_WRITE = BIT(1) };
struct direct_left { // why it came back
	enum { DIRECT_KICKED, DIRECT_SYSCALL, DIRECT_EXCEPTION, DIRECT_FULL, DIRECT_FORGED, DIRECT_LOST } how;
	unsigned vector;       // EXCEPTION: as the host's processor met it
	uint64_t error, cr2;
	uint16_t selector[4];  // of DS, ES, FS, GS
	uint16_t code_selector;
	uint64_t saved[3];     // the registers that displaced code keeps in the world's state
	uint32_t led;          // how often its handler has led it to displaced code
	uint64_t looked_up;    // and a jump has, within that
};
bool vmm_direct_is_alive(const struct vcpu *v, unsigned world); // is there such a world?
bool vmm_direct_may_renew(const struct vcpu *v);                // is there a spare one?
void vmm_direct_renew(struct vcpu *v, unsigned world);          // which takes its place, if it is not alive
bool vmm_direct_cpuid_faults(const struct vcpu *v, unsigned world); // CPUID in it is an exception
// Cycles a turn if it were made one; 0: it is, or cannot be.
uint64_t vmm_direct_cost_of_cpuid(const struct vcpu *v, unsigned world);
// From its next turn on; without an effect where it cannot be.
void vmm_direct_catch_cpuid(struct vcpu *v, unsigned world, bool on);
bool vmm_direct_tsc_faults(const struct vcpu *v, unsigned world); // RDTSC, RDTSCP, TPAUSE and UMWAIT are, likewise
uint64_t vmm_direct_cost_of_tsc(const struct vcpu *v);
void vmm_direct_catch_tsc(struct vcpu *v, unsigned world, bool on);
void vmm_direct_map(struct vcpu *v, unsigned world, gva_t gva, gpa_t gpa, uint64_t size, unsigned rights);
void vmm_direct_unmap(struct vcpu *v, unsigned world, gva_t gva, uint64_t size);
void vmm_direct_unmap_all(struct vcpu *v, unsigned world);
// From v's registers on, whose segments are the host's own for 64-bit user code, until there is something to do: v's
// registers again. KICKED: something is pending. SYSCALL: by that instruction, at v->rip. FULL: the host has refused
// a mapping. LOST: the world is gone. FORGED: what came back is nothing that a processor could hold. With these three v
// is as it was.
void vmm_direct_run(struct vcpu *v, unsigned world, struct direct_left *left);
struct displaced_area *vmm_direct_displaced(const struct vcpu *v, unsigned world); // shadow/displaced.h
uint64_t vmm_direct_displaced_at(void); // its address in the world, and that of its state, which guest code can write
uint64_t vmm_direct_state_at(void);
enum { DIRECT_SAVED = 128, DIRECT_TARGET = 152, DIRECT_LOOKED_UP = 160 }; // offsets in that: three words, and one each
uint64_t vmm_direct_command_cycles(const struct vcpu *v); // what mapping or unmapping takes, measured
uint64_t vmm_direct_trip_cycles(const struct vcpu *v, unsigned world); // what the way there and back takes, measured
void vmm_direct_rest(struct vcpu *v); // none is run for a while

// -- Memory of the translator's tables or cache that holds nothing now: whole pages of it go back to the host, and are
// zero when next touched. For the cache, its writable mapping (vmm/release.c).
void vmm_release(struct vcpu *v, const void *from, const void *to, bool cache);

// -- The ways out.
_Noreturn void vmm_shutdown(struct vcpu *v);                      // ACPI S5
_Noreturn void vmm_reset(struct vcpu *v, enum reset_reason why);

_Noreturn void vmm_crash(struct vcpu *v, const char *text); // a bug in ringer: the report begins with text

// -- Trace: text for the -d items, into the ring to the app; dropped and counted when that is full.
void vmm_trace_text(struct vcpu *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define vmm_trace(v, item, ...) ((v)->shared->config.log & (item) ? vmm_trace_text(v, __VA_ARGS__) : (void)0)

#endif
