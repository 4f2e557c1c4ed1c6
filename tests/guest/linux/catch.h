/* SPDX-License-Identifier: MIT */
/*
 * Run a piece of code and say which signal it raised: number, code, address, the trap number and error code that the
 * kernel passes on from the processor, and the registers at that point. The handler runs on a stack of its own and
 * leaves by siglongjmp, so the code may ruin what it likes but the callee-saved registers.
 */
#ifndef CATCH_H
#define CATCH_H

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "guest.h"

/* Code in assembly, for call_text and catch_text: arguments in rdi and rsi, of which run.sh makes edi and esi. */
#define CODE(name, text) \
	void name(void *, void *); \
	asm(".text; .globl " #name "; .type " #name ", @function; " #name ": " text "; ret")

#ifdef __x86_64__
#define CATCH_PC REG_RIP
#define CATCH_SP REG_RSP
#define CATCH_CLEAR_AC() \
	asm volatile("sub $128, %%rsp; pushf; andl $~0x40000, (%%rsp); popf; add $128, %%rsp" ::: "memory", "cc")
#else
#define CATCH_PC REG_EIP
#define CATCH_SP REG_ESP
#define REG_RAX REG_EAX
#define REG_RBX REG_EBX
#define REG_RCX REG_ECX
#define REG_RDX REG_EDX
#define REG_RSI REG_ESI
#define REG_RDI REG_EDI
#define REG_RBP REG_EBP
#define CATCH_CLEAR_AC() asm volatile("pushf; andl $~0x40000, (%%esp); popf" ::: "memory", "cc")
#endif

struct caught {
	int signo, code;
	uintptr_t addr, pc;
	unsigned long trap, error;
	gregset_t regs;
};

static struct caught caught;
static sigjmp_buf catch_out;

static void catch_handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	CATCH_CLEAR_AC(); /* a handler starts with the AC of what it interrupted */
	caught.signo = signo;
	caught.code = info->si_code;
	caught.addr = (uintptr_t)info->si_addr;
	caught.pc = u->uc_mcontext.gregs[CATCH_PC];
	caught.trap = u->uc_mcontext.gregs[REG_TRAPNO];
	caught.error = u->uc_mcontext.gregs[REG_ERR];
	memcpy(&caught.regs, &u->uc_mcontext.gregs, sizeof(caught.regs));
	siglongjmp(catch_out, 1);
}

static void catch_init(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP };
	struct sigaction action = { .sa_sigaction = catch_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_size = 1 << 17 };
	size_t i;

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&stack, NULL);
	for (i = 0; i < COUNT(signals); i++)
		sigaction(signals[i], &action, NULL);
}

/* Calls code(a, b); 0, or the signal it raised, described in `caught`. */
static int catch_run(void (*code)(void *, void *), void *a, void *b)
{
	memset(&caught, 0, sizeof(caught));
	if (sigsetjmp(catch_out, 1))
		return caught.signo;
	code(a, b);
	return 0;
}

static inline void call_text(void (*code)(void *, void *), void *a, void *b)
{
#ifdef __x86_64__
	code(a, b);
#else
	asm volatile("call *%%eax" : "+a"(code), "+D"(a), "+S"(b) : : "ecx", "edx", "memory", "cc");
#endif
}

struct catch_text {
	void (*code)(void *, void *);
	void *a, *b;
};

static void catch_call_text(void *text, void *unused)
{
	struct catch_text *t = text;

	(void)unused;
	call_text(t->code, t->a, t->b);
}

static inline int catch_text(void (*code)(void *, void *), void *a, void *b)
{
	struct catch_text t = { code, a, b };

	return catch_run(catch_call_text, &t, NULL);
}

static inline const char *catch_name(int signo)
{
	switch (signo) {
	case 0: return "nothing";
	case SIGSEGV: return "SIGSEGV";
	case SIGBUS: return "SIGBUS";
	case SIGFPE: return "SIGFPE";
	case SIGILL: return "SIGILL";
	case SIGTRAP: return "SIGTRAP";
	default: return "another signal";
	}
}

#endif
