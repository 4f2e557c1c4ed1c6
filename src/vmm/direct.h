// SPDX-License-Identifier: MIT
//
// Direct execution, the host's half: what the monitor shares with a world, a process that holds nothing but guest
// user pages and this. At ZONE_DIRECT there, and from ZONE_DIRECT on, one after the other, in the monitor: the
// commands, which the world can only read, then its state and its signal stack, which the guest's code could write:
// the monitor trusts nothing in there beyond its bounds; last displaced code, which the world can read and execute.
// A world has two threads. The *runner* runs guest code; whatever stops that is a signal to it, whose handler
// (direct.S) says so and waits for its next turn. The *mapper* carries out mmap and munmap for the monitor; it never
// runs guest code, and has no memory that guest code can write: it works in registers.
#ifndef VMM_DIRECT_H
#define VMM_DIRECT_H
#include "mem/zone.h"
#include "shadow/displaced.h"

#define DIRECT_COMMANDS ZONE_DIRECT
#define DIRECT_COMMANDS_SIZE 0x4000
#define DIRECT_STATE (ZONE_DIRECT + DIRECT_COMMANDS_SIZE)
#define DIRECT_STACK (DIRECT_STATE + 0x1000)
#define DIRECT_STACK_SIZE 0xf000 // a signal frame with AVX-512 state takes 4 KiB
#define DIRECT_DISPLACED (DIRECT_STACK + DIRECT_STACK_SIZE)
#define DIRECT_END (DIRECT_DISPLACED + DISPLACED_SIZE)
#define DIRECT_SIZE (DIRECT_END - ZONE_DIRECT)

// ORDER DIRECT: offsets in struct direct_commands and struct direct_state, for direct.S.
#define DC_SEQUENCE 0
#define DC_COUNT 4
#define DC_THEN_RUN 8
#define DC_GATE 12
#define DC_CPUID 16
#define DC_TSC 20
#define DC_COMMAND 32
#define DC_COMMAND_SIZE 32
#define DC_UNMAP -1 // as protection
#define DS_RUN 0
#define DS_LEFT 64
#define DS_SIGNAL 68
#define DS_ARCH 72
#define DS_SELECTORS 80
#define DS_FRAME 88
#define DS_FS_BASE 96
#define DS_GS_BASE 104
#define DS_CALL 112
#define DS_LED 120

#define DIRECT_LEFT 1   // the runner: by a signal
#define DIRECT_MAPPED 2 // the mapper is done, and the runner waits
#define DIRECT_FAILED 3 // the host has refused a mapping; the runner waits

#define DIRECT_MAP_FLAGS 0xc011 // MAP_SHARED, MAP_FIXED, MAP_NORESERVE, MAP_POPULATE

#ifndef __ASSEMBLER__
#include "base/types.h"

#define DIRECT_USER_END 0x7ffffffff000

enum { DIRECT_XCR0 = 0xe7 }; // the state that is the guest's, as far as the host has it

struct direct_command {
	uint64_t at, size, prot, offset; // of the RAM file; prot DC_UNMAP: munmap
};

enum { DIRECT_COMMANDS_MAX = (DIRECT_COMMANDS_SIZE - DC_COMMAND) / DC_COMMAND_SIZE };

struct direct_commands {
	_Atomic uint32_t sequence; // the mapper waits for it to change
	uint32_t count;
	uint32_t then_run;         // the runner's turn afterwards; else the monitor is told
	_Atomic uint32_t gate;     // the runner sleeps on it: see is_asleep
	uint32_t cpuid;            // before it goes on: 0 nothing, 1 CPUID is to fault, 2 it is not to
	uint32_t tsc;              // likewise: 0 nothing, PR_TSC_ENABLE or PR_TSC_SIGSEGV
	uint32_t pad[2];
	struct direct_command command[DIRECT_COMMANDS_MAX];
};

struct direct_state {
	_Atomic uint32_t run; // the runner waits while it is 0
	uint32_t pad[15];
	_Atomic uint32_t left; // the monitor waits while it is 0: DIRECT_x
	uint32_t signal;
	uint32_t arch;         // SIGSYS: si_arch
	uint32_t pad2;
	uint16_t selector[4];  // DS, ES, FS, GS; aligned, as all is: the guest's EFLAGS.AC may be set
	uint64_t frame;        // address of the signal's ucontext
	uint64_t fs_base, gs_base;
	uint64_t call;         // SIGSYS: si_call_addr
	uint32_t led;          // how often the handler has led to displaced code
	uint32_t pad3;
	uint64_t saved[3], target, looked_up; // for displaced code
	uint32_t mapper;       // its thread number, and struct vmm's cpuid_cycles and tsc_cycles: written before there is
	uint32_t cpuid_cycles; // guest code
	uint32_t tsc_cycles;
};

extern const char direct_text[], direct_text_end[]; // a page, all that stays of the monitor's image
// Behind their SYSCALL:
extern const char direct_called_futex[], direct_called_futex2[], direct_called_arch_prctl[], direct_called_prctl[];
extern const char direct_called_sigreturn[];
void direct_handler(void);
long direct_start_mapper(void);

struct vmm;
struct world;

// -- direct_map.c
struct direct_commands *direct_commands(const struct world *w);
struct direct_state *direct_state(const struct world *w);
void direct_command(struct world *w, uint64_t at, uint64_t size, uint64_t prot, uint64_t offset); // there must be room
void direct_send_commands(struct world *w, bool then_run);
bool direct_map_now(struct world *w);     // while the runner waits; false: the host has refused one
bool direct_await(struct world *w, uint32_t what); // DIRECT_LEFT, DIRECT_MAPPED: false if another, or none in 5 s
bool direct_await_sleep(struct world *w); // true: no guest code runs in the world until one of these two
void direct_wake(struct world *w);
void direct_kill(struct world *w);        // afterwards none ever does

// It has been asked to stop, having had `had` of the processor's time, and has not for `naps` times 10 ms. Because it
// does not, rather than because the host has others run?
bool direct_refuses(const struct world *w, uint64_t had, unsigned naps);

// -- direct_run.c
// Of the signal in which the runner waits, before there is guest code.
bool direct_keep_frame(struct vmm *vm, struct world *w);

// -- direct_place.c
enum { DIRECT_WHOLE = 16 }; // of a processor's time: struct vmm, direct.share
void direct_pin(struct vmm *vm, struct world *w);     // at each turn: the monitor and the world to one processor
uint64_t direct_time_of(const struct world *w);       // the processor's, that it has had so far, in ns
bool direct_measure(struct vmm *vm, struct world *w); // at each turn, while the runner waits; false as direct_map_now
#endif
#endif
