// SPDX-License-Identifier: MIT
//
// What bt/ needs of a Linux x86-64 signal frame's ucontext, without libc's headers: the general registers in the
// kernel's order (struct sigcontext: r8-r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags, cs.., err, trapno,
// ...).
#ifndef BT_HOST_SIGNAL_H
#define BT_HOST_SIGNAL_H

#include "base/types.h"
#include "x86/regs.h"

struct host_fault {
	uint64_t gpr[X86_GPRS];
	uint64_t rip, rflags, err, trapno, cr2;
};

enum { // 64-bit words of struct ucontext: flags, link, stack_t (3), then struct sigcontext
	UC_GREGS = 5, UC_R8 = UC_GREGS, UC_RDI = UC_GREGS + 8, UC_RSI, UC_RBP, UC_RBX, UC_RDX, UC_RAX, UC_RCX, UC_RSP,
	UC_RIP, UC_EFLAGS, UC_SEGS, UC_ERR, UC_TRAPNO, UC_OLDMASK, UC_CR2,
};

static inline void host_fault_read(struct host_fault *f, const void *ucontext)
{
	static const uint8_t where[8] = {UC_RAX, UC_RCX, UC_RDX, UC_RBX, UC_RSP, UC_RBP, UC_RSI, UC_RDI};
	const uint64_t *w = ucontext;

	for (unsigned i = 0; i < 8; i++) {
		f->gpr[i] = w[where[i]];
		f->gpr[8 + i] = w[UC_R8 + i];
	}
	f->rip = w[UC_RIP];
	f->rflags = w[UC_EFLAGS];
	f->err = w[UC_ERR];
	f->trapno = w[UC_TRAPNO];
	f->cr2 = w[UC_CR2];
}

static inline void host_fault_set_rsp(void *ucontext, uint64_t rsp)
{
	((uint64_t *)ucontext)[UC_RSP] = rsp;
}

// Return from the signal into a function of ours with one argument, direction flag clear.
static inline void host_fault_leave(void *ucontext, uint64_t function, uint64_t argument)
{
	uint64_t *w = ucontext;

	w[UC_RIP] = function;
	w[UC_RDI] = argument;
	w[UC_EFLAGS] &= ~(uint64_t)RFLAGS_DF;
}

#endif
