// SPDX-License-Identifier: MIT
//
// The zone: one sixteenth of the lower half of the address space, bits 47-44 equal 4, in which the monitor lives with
// all it owns. What the app shares with it is mapped there at the same addresses in both programs.
//
//   0x4000_0000_0000  start; 1 TiB gap: what a table index of 32 bits can add to an address ends in it
//   ZONE_IMAGE        ringer-vmm's text and constants (read-only, executable)
//   ZONE_STACK        the monitor's stack, and its signal stack above a guard page
//   ZONE_VCPU(i)      per vCPU: struct vcpu_area (private to the monitor process: hot state, TLBs, tables),
//                     then the translation cache, executable, and its writable twin
//   ZONE_SHARED       struct shared: configuration, vCPU state, rings, requests (memfd, app and monitor)
//   ZONE_PEERS        struct peers: who has translated what, and writes where (memfd, app and monitors)
//   ZONE_CHIPS        struct chips: the board (memfd, monitors)
//   ZONE_DIRECT       what the monitor shares with the process that runs guest user code as it is (vmm/direct.h)
//   ZONE_RAM          guest RAM, at ZONE_RAM + gpa (memfd, app and monitor)
//   0x5000_0000_0000  end; 1 TiB gap before it
#ifndef MEM_ZONE_H
#define MEM_ZONE_H

#define ZONE_START 0x400000000000
#define ZONE_END 0x500000000000
#define ZONE_GAP 0x10000000000

#define ZONE_IMAGE 0x410100000000
#define ZONE_STACK 0x410180000000
#define ZONE_SHARED 0x410200000000
#define ZONE_PEERS 0x410300000000
#define ZONE_CHIPS 0x410310000000
#define ZONE_DIRECT 0x410320000000
#define ZONE_VCPU_FIRST 0x411000000000
#define ZONE_VCPU_STRIDE 0x100000000
#define ZONE_VCPU(i) (ZONE_VCPU_FIRST + (i)*ZONE_VCPU_STRIDE)
#define ZONE_VCPU_VMM 0x1000000    // offset of struct vmm: the monitor's own state (chips, timers, formatter)
#define ZONE_VCPU_SHADOW 0x3000000 // offset of what is known of the mapped guest pages (shadow/)
// Offset of the zone check's table (bt/mapped.c): a byte for each value of bits 47-32 of an address of the lower half,
// readable but for the zone's. Nothing is mapped in the 64 KiB before it.
#define ZONE_VCPU_GUARD 0x7000000
#define ZONE_VCPU_CALLS 0x7800000  // offset of the stack of host return addresses; nothing is mapped below it
#define ZONE_VCPU_CALLS_SIZE 0x40000
#define ZONE_VCPU_BT 0x8000000     // offset of bt/'s tables, anonymous and zero, mapped on first touch ...
#define ZONE_VCPU_BT_SIZE 0x38000000 // ... up to the translation cache
#define ZONE_VCPU_TC 0x40000000    // offset of the translation cache, executable mapping
#define ZONE_VCPU_TC_RW 0x80000000 // offset of its writable mapping
#define ZONE_RAM 0x480000000000

// Two pages outside the zone where checked code has nothing: for a locked operation that goes from one page of RAM into
// another, which are mapped here side by side for as long as it takes (bt/careful.c).
#define SPLIT_WINDOW 0x3e0000000000

#endif
