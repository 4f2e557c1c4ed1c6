// SPDX-License-Identifier: MIT
//
// Control transfers through descriptors, for the files of cpu/: far jumps, calls and returns, IRET, and the checks they
// share with each other.
#ifndef CPU_TRANSFER_H
#define CPU_TRANSFER_H

#include "cpu/segment.h"
#include "cpu/system.h"

// next: the address of the following instruction (what a call pushes).
void far_jump(struct vcpu *v, uint16_t sel, uint64_t off, uint64_t next);
void far_call(struct vcpu *v, uint16_t sel, uint64_t off, unsigned opsize, uint64_t next);
void far_return(struct vcpu *v, unsigned opsize, uint16_t release);
void far_iret(struct vcpu *v, unsigned opsize, uint64_t next);

// The code segment a RET or IRET goes back to: fetched, checked and marked accessed.
void far_check_return_cs(struct vcpu *v, uint16_t sel, struct desc *d);
// Is off a place that code of segment d can run at? Faults #GP(0).
void far_check_target(struct vcpu *v, const struct desc *d, uint64_t off);
static inline bool desc_code64(const struct vcpu *v, const struct desc *d)
{
	return vcpu_long_mode(v) && desc_attr(d) & SEG_L;
}
// Commit CS, RIP and CPL.
void far_enter(struct vcpu *v, const struct desc *d, uint16_t sel, unsigned cpl, uint64_t rip);

// -- quick.c: the usual case in long mode. NULL or false: it is not.
const uint64_t *quick_peek(struct vcpu *v, gva_t gva, size_t size);    // where in RAM a system table is
bool quick_desc(struct vcpu *v, uint16_t sel, struct desc *d);         // present, and accessed already
bool quick_code(struct vcpu *v, uint16_t sel, struct desc *d);         // and a 64-bit code segment, not conforming
// Or a user's code segment of 32 bits, and RIP is one to go to.
bool quick_return_code(struct vcpu *v, uint16_t sel, uint64_t rip, struct desc *d);

// Delivery of one event. rip is what the handler returns to; v->rip stays as it is until all has succeeded.
struct event {
	uint8_t vector;
	bool software, has_error, resume; // software: INT n, INT3, INTO; resume: the pushed RFLAGS has RF set
	uint32_t error;
	uint64_t rip;
};
void delivery_enter(struct vcpu *v, const struct event *e);
// A software interrupt out of an instruction: the gate's DPL counts, next is pushed.
void delivery_software(struct vcpu *v, uint8_t vector, enum sys_interrupt kind, uint64_t next);


// -- task.c: outside long mode. next: where the old task goes on; e: the event that it is for, or NULL.
enum task_reason { TASK_JUMP, TASK_CALL, TASK_IRET, TASK_EVENT };
void task_switch(struct vcpu *v, uint16_t sel, enum task_reason why, uint64_t next, const struct event *e);
void task_return(struct vcpu *v, uint64_t next); // IRET with NT set

// -- v86.c: virtual-8086 mode, and virtual interrupts
bool v86_int(struct vcpu *v, uint8_t vector, uint64_t next); // true: INT n has gone to the guest's own table
void v86_iret(struct vcpu *v, unsigned opsize);
void v86_enter(struct vcpu *v, struct stack *st, const uint64_t *frame); // IRET from level 0: EIP CS EFLAGS popped
uint64_t v86_pushed_flags(const struct vcpu *v, unsigned size); // PUSHF. Faults #GP(0)
bool v86_popf(struct vcpu *v, uint64_t value, unsigned size);   // true: it has been done
// CLI, STI at CPL > IOPL: true: they have changed VIF. Else #GP(0) is due.
bool v86_set_vif(struct vcpu *v, bool set);

void syscall_enter(struct vcpu *v, uint64_t next);
void syscall_return(struct vcpu *v, unsigned opsize);
void sysenter_enter(struct vcpu *v);
void sysenter_return(struct vcpu *v, unsigned opsize);

#endif
