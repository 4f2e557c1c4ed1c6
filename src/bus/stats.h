// SPDX-License-Identifier: MIT
//
// Statistics, always on: one X-macro list, counted by the monitor in shared memory, printed by the app
// (--stats, text and JSON). A row: name, unit, meaning.
#ifndef BUS_STATS_H
#define BUS_STATS_H

#include "base/types.h"

#define STATS(_) \
	_(insns, "instructions", "guest instructions run (counted with --deterministic only)") \
	_(tu_translated, "units", "translation units translated") \
	_(tu_insns, "instructions", "guest instructions translated") \
	_(tu_bytes_in, "bytes", "guest bytes translated") \
	_(tu_bytes_out, "bytes", "host bytes emitted") \
	_(tu_cycles, "cycles", "host cycles spent translating") \
	_(tu_again_cycles, "cycles", "of these for the mapped form of what the checked form has already") \
	_(tu_ident, "instructions", "of these copied unchanged but for registers and memory operands") \
	_(flags_saved, "checks", "emitted with a saving of the guest's flags") \
	_(flags_recipe, "checks", "emitted where flags have a recipe") \
	_(flags_free, "checks", "emitted where flags had been saved before") \
	_(flags_entry, "units", "that save flags at their entry") \
	_(tu_hot, "units", "of these for the hot tier") \
	_(tu_hot_insns, "instructions", "guest instructions translated for the hot tier") \
	_(tu_hot_bytes, "bytes", "host bytes emitted for the hot tier") \
	_(tu_hot_cycles, "cycles", "host cycles spent translating for the hot tier") \
	_(tu_promoted, "units", "units that ran often and were made anew for the hot tier") \
	_(flags_made, "times", "noted flags made anew for code that reads them") \
	_(tu_retired, "units", "units retired because guest code changed") \
	_(tu_moved, "units", "units given another address, where the guest maps their code now") \
	_(tu_evicted, "units", "units that went with the oldest segment of the translation cache") \
	_(tc_flushes, "times", "translation cache flushed whole") \
	_(tc_evictions, "times", "oldest segment of the translation cache emptied") \
	_(tc_chained, "links", "direct links made") \
	_(tc_lookups, "times", "units looked up by the run loop") \
	_(ind_misses, "times", "indirect branches that missed the inline table") \
	_(tlb_misses, "times", "inline checks that missed (hidden faults filled)") \
	_(site_refills, "times", "entries of check sites filled") \
	_(site_misses, "times", "of these with the help of C") \
	_(site_apart, "times", "merged checks that reached beyond a page") \
	_(site_guilty, "sites", "sites that went to ever new pages and became address-indexed") \
	_(tlb_flushes, "times", "address space flushes") \
	_(tlb_flush_pages, "pages", "single page flushes") \
	_(careful, "instructions", "instructions run in the careful form") \
	_(code_writes, "times", "writes to translated code") \
	_(code_patches, "times", "of these, operands that units took over") \
	_(code_near_writes, "times", "writes beside translated code on the same page") \
	_(sys_insns, "instructions", "system instructions run in C") \
	_(callouts, "times", "callouts from translated code") \
	_(faults, "times", "true exceptions delivered") \
	_(page_faults, "times", "of these page faults") \
	_(irqs, "times", "external interrupts delivered") \
	_(nmis, "times", "NMIs delivered") \
	_(halts, "times", "times the vCPU slept in HLT") \
	_(halt_ns, "ns", "time slept in HLT") \
	_(world_switches, "times", "world switches to the app") \
	_(world_switch_ns, "ns", "time waited for the app") \
	_(port_accesses, "times", "port accesses, all") \
	_(mmio_accesses, "times", "MMIO accesses, all") \
	_(timer_signals, "times", "host timer signals") \
	_(host_faults, "times", "host exceptions in translated code") \
	_(shadow_sealed, "times", "no guest mappings, all access checked: the host seals the vdso") \
	_(shadow_faults, "times", "hidden faults of user code in the mapped form") \
	_(shadow_maps, "times", "host mappings made for it") \
	_(shadow_pages, "pages", "guest pages in these") \
	_(shadow_drops, "times", "all of them dropped at once") \
	_(shadow_checks, "times", "all of them compared with the guest's tables after a flush") \
	_(shadow_check_cycles, "cycles", "of these looks") \
	_(shadow_claims, "times", "address spaces that came to be mapped") \
	_(shadow_demotions, "times", "address spaces whose mappings cost too much: checked again for a while") \
	_(shadow_leaves, "times", "switches away from an address space that is mapped") \
	_(shadow_true, "times", "host faults of user code in the mapped form that were not hidden") \
	_(shadow_bursts, "times", "bursts of such faults, during which it ran checked") \
	_(shadow_after, "times", "pages mapped when user code came back from such a fault") \
	_(direct_exits, "times", "directly run user code came back to the monitor") \
	_(direct_kicks, "times", "of these because something was pending") \
	_(direct_syscalls, "times", "of these by SYSCALL") \
	_(direct_hidden, "times", "of these by hidden faults") \
	_(direct_faults, "times", "of these by page faults of the guest's") \
	_(direct_steps, "instructions", "of directly run code that had to be translated one by one") \
	_(direct_pages, "times", "it came to a page whose code has to be translated") \
	_(direct_displaced, "times", "code of such a page was displaced") \
	_(direct_led, "times", "faults by which it was led to displaced code") \
	_(direct_holds, "times", "it came to 32-bit code, translated until the kernel was next entered") \
	_(direct_demotions, "times", "address spaces that came back too often: translated for a while") \
	_(direct_switches, "times", "it was another address space's turn than before") \
	_(direct_forged, "times", "directly run code came back with registers that it had forged") \
	_(direct_renewals, "times", "a spare process took a lost one's place") \
	_(direct_lost, "times", "the process of directly run code was lost") \
	_(shadow_cycles, "cycles", "host cycles spent on all this, the host's own part of a fault estimated") \
	_(selfchecks, "units", "units self-checked") \
	_(nyi, "times", "not-yet-built paths met")

struct stats {
#define _(name, unit, help) uint64_t name;
	STATS(_)
#undef _
};

#endif
