// SPDX-License-Identifier: MIT
//
// What translated code and the assembly stubs know of struct vcpu by number: offsets from the host's GS base
// (ORDER VCPU: checked in run.c), and the slots of vcpu.bt[], bt/'s own words.
#ifndef BT_SLOTS_H
#define BT_SLOTS_H

#define VCPU_GPR 0
#define VCPU_RIP 128
#define VCPU_RFLAGS 136
#define VCPU_PENDING 144
#define VCPU_TSC_OFFSET 152
#define VCPU_SEG 160
#define VCPU_SEG_SIZE 24
#define VCPU_SEG_BASE 16
#define VCPU_ROOM 304 // seg_room: 16 bytes a segment, for reads and for writes
#define VCPU_BT 400

// Slots, as byte offsets from the GS base.
#define SLOT(n) (VCPU_BT + (n)*8)
#define SLOT_HOST_RSP SLOT(0)      // the run loop's stack pointer, while in translated code
#define SLOT_IF SLOT(1)            // the interrupt flag, 0 or 1, while in translated code
#define SLOT_IRQ_WAIT SLOT(2)      // an interrupt waits for the interrupt flag: sti must leave
#define SLOT_FLAGS SLOT(3)         // arithmetic flags saved by lahf; seto (AX)
#define SLOT_RAX SLOT(4)           // RAX while AX holds flags
#define SLOT_STUB_EXIT SLOT(5)     // addresses of the stubs
#define SLOT_STUB_MISS SLOT(6)
#define SLOT_STUB_IND SLOT(7)
#define SLOT_STUB_CAREFUL SLOT(8)
#define SLOT_STUB_COMMIT SLOT(9)
#define SLOT_TMP SLOT(10)
#define SLOT_SELF SLOT(11)         // the address of struct vcpu
#define SLOT_CALLS SLOT(12)        // host RSP in translated code, while outside it
#define SLOT_CALLS_BASE SLOT(13)   // where that stack is empty: the address of bt_stub_ret_empty stands there
#define SLOT_STUB_RET SLOT(14)
#define SLOT_STUB_EMPTY SLOT(35)   // bt_stub_ret_empty
#define SLOT_CALLS_FLOOR SLOT(36)  // as SLOT_CALLS_BASE, for the part of the stack that the present mode uses
#define SLOT_CALLS_USER SLOT(37)   // user code's SLOT_CALLS while in the kernel, by SYSCALL in the cache
#define SLOT_TABLE SLOT(15)        // the present mode's indirect table
#define SLOT_HOST_REGS SLOT(16)    // 16 words: host registers as saved by the miss and careful stubs
#define SLOT_HOST_FLAGS SLOT(32)   // host RFLAGS saved by the same
#define SLOT_ENTRY SLOT(34)        // bt_enter: where to
#define SLOT_STUB_AT SLOT(38)      // see base.h
#define SLOT_STUB_BASE_MISS SLOT(39)
#define SLOT_NOTES SLOT(48)         // two words: operands of a recipe (recipe.h)
#define SLOT_NOTE_CARRY SLOT(62)    // the carry flag that went into it, a byte
#define SLOT_STUB_SYS SLOT(40)
#define SLOT_STUB_SITE SLOT(50)
#define SLOT_RECIPE SLOT(52)        // number of the recipe for flags that are noted; 0: they are in SLOT_FLAGS
#define SLOT_RECIPES SLOT(53)       // the address of bt.recipe
#define SLOT_RCX SLOT(54)           // RCX, RDX, T0 while recipes.S uses them
#define SLOT_RDX SLOT(55)
#define SLOT_T0 SLOT(56)
#define SLOT_STUB_FLAGS SLOT(51)
#define SLOT_KMASK SLOT(33)        // the opmask of an EVEX access in the careful form
#define SLOT_BRANCH SLOT(61)        // exit of the last indirect branch (EXIT_BRANCH): see bt_branch_fault
#define SLOT_MAPPED SLOT(60)       // MODE_MAPPED or MODE_DIRECT if the present address space's user code runs so, or 0

// The first and the first write table of the software TLB, from the GS base (ORDER TLB).
#define BT_TLB_R 0x8000000
#define BT_TLB_W (BT_TLB_R + 3 * BT_TLB_STRIDE)
#define BT_TLB_STRIDE 0x45008
#define BT_TLB_BITS 14

// Entries per check site (site.c, ORDER SITE): two arrays of 32 bytes each, behind the software TLB.
#define SITE_ENTRIES 0x20000
#define SITE_ENTRY_AT (BT_TLB_R + 6 * BT_TLB_STRIDE)
#define SITE_INFO_AT (SITE_ENTRY_AT + SITE_ENTRIES * 32)
#define SITE_REFILLS_AT (SITE_INFO_AT + SITE_ENTRIES * 32)
#define SITE_APART_AT (SITE_REFILLS_AT + 8)
#define SITE_INFO_PREV 4
#define SITE_INFO_TABLE 8
#define SITE_INFO_RETRY 12
#define SITE_INFO_LIMIT 16
#define SITE_INFO_REFILLS 18
#define SITE_INFO_APART 30
#define SITE_HASH 128         // rings of valid entries, by page
#define SITE_HALF_SHIFT 8     // of the rings' heads: those of global pages begin at 1 << this
#define SITE_HEADS (2 << SITE_HALF_SHIFT)
#define SITE_REFILLS_MAX 64   // after so many it is asked whether a site is worth its entry
#define SITE_REFILLS_START (0x10000 - SITE_REFILLS_MAX)
#define SITE_TLB_SIZE 0x4000
#define SITE_TLB_KIND (SITE_TLB_SIZE * 16)

// Why translated code was left: what bt_enter returns, in the low 8 bits; the rest is a number.
#define LEAVE_EXIT 0   // through an exit record: number = exit id
#define LEAVE_IND 1    // indirect branch not in the table: v->rip is the target
#define LEAVE_FAULT 2  // v->fault holds an exception for v->rip
#define LEAVE_CAREFUL 3 // the instruction at v->rip must be run in the careful form
#define LEAVE_NEXT 4   // nothing else: go on at v->rip
#define LEAVE_AT 5     // from a place of base code: its address is in SLOT_TMP (base_place)

#endif
