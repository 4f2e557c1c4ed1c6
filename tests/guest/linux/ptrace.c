/* SPDX-License-Identifier: MIT */
/*
 * A debugger's view: single steps over a known sequence of instructions, each place printed; breakpoints written into
 * the code; hardware breakpoints on execution, writes and reads; system calls stopped at; registers of all kinds read
 * and written.
 */
#include <elf.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "guest.h"

void traced(void);
extern char traced_end[], at_cpuid[], point_one[], point_two[];
static volatile uint64_t watched[4] __attribute__((used));
static char from[64] __attribute__((used)) = "copied by a string instruction";
static char to[64] __attribute__((used));

#ifdef __x86_64__
#define AT "(%rip)"
#define SYSTEM_CALL "mov $39, %eax; syscall"
#else /* the names of the 64-bit registers, for these */
#define AT
#define SYSTEM_CALL "mov $20, %eax; int $0x80"
#define rip eip
#define rax eax
#define rbx ebx
#define rcx ecx
#define r12 esi
#define orig_rax orig_eax
#define cs xcs
#define ss xss
#define user_fpregs_struct user_fpxregs_struct
#define PTRACE_GETFPREGS PTRACE_GETFPXREGS
#define PTRACE_SETFPREGS PTRACE_SETFPXREGS
#endif

asm(".text; .globl traced, traced_end, at_cpuid, point_one, point_two\n"
    "traced: push %rbx; mov $3, %ecx; xor %ebx, %ebx\n"
    "1: add %rcx, %rbx; loop 1b\n"
    "lea from" AT ", %rsi; lea to" AT ", %rdi; mov $4, %ecx; cld; rep movsb\n"
    "pushf; pop %rax; xor %eax, %eax; at_cpuid: cpuid; call 2f; nop; jmp 3f; ud2\n"
    "2: ret\n"
    "3: " SYSTEM_CALL "; nop; lock incl watched" AT "\n"
    "point_one: mov $7, %eax; mov %rax, watched+8" AT "; mov watched+8" AT ", %rdx\n"
    "mov %ss, %ecx; mov %ecx, %ss; xor %edx, %edx; movd %eax, %xmm1; fld1; fstp %st(0)\n"
    "movw $5, watched+16" AT "\n"
    "point_two: nop; pop %rbx; ret\n"
    "traced_end:");

enum { LOOP = 8 };

static pid_t start(void)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		traced();
		_exit(watched[2] == 5 ? 21 : 22);
	}
	waitpid(pid, &status, 0);
	return pid;
}

static int resume(pid_t pid, int request)
{
	int status = 0;

	ptrace(request, pid, NULL, NULL);
	waitpid(pid, &status, 0);
	return status;
}

static struct user_regs_struct registers(pid_t pid)
{
	struct user_regs_struct r;

	memset(&r, 0, sizeof(r));
	ptrace(PTRACE_GETREGS, pid, NULL, &r);
	return r;
}

static int place(uint64_t pc)
{
	return pc >= (uintptr_t)traced && pc < (uintptr_t)traced_end ? (int)(pc - (uintptr_t)traced) : -1;
}

static long poke_break(pid_t pid, char *at)
{
	long old = ptrace(PTRACE_PEEKTEXT, pid, at, NULL);

	ptrace(PTRACE_POKETEXT, pid, at, (old & ~0xffl) | 0xcc);
	return old;
}

static void remove_break(pid_t pid, char *at, long old)
{
	struct user_regs_struct r = registers(pid);

	ptrace(PTRACE_POKETEXT, pid, at, old);
	r.rip = (uintptr_t)at;
	ptrace(PTRACE_SETREGS, pid, NULL, &r);
}

static void end(pid_t pid)
{
	int status = resume(pid, PTRACE_CONT);

	printf("ended %d with %d\n", WIFEXITED(status), WEXITSTATUS(status));
}

static void test_steps(void)
{
	pid_t pid = start();
	long old = poke_break(pid, (char *)traced);
	struct user_regs_struct r;
	siginfo_t info;
	int steps;

	resume(pid, PTRACE_CONT);
	remove_break(pid, (char *)traced, old);
	for (steps = 0; steps < 100; steps++) {
		resume(pid, PTRACE_SINGLESTEP);
		r = registers(pid);
		ptrace(PTRACE_GETSIGINFO, pid, NULL, &info);
		if (place(r.rip) < 0)
			break;
		printf("step %2d at +%d, code %d", steps, place(r.rip), info.si_code);
		if (place(r.rip) >= LOOP && (uintptr_t)r.rip <= (uintptr_t)at_cpuid)
			printf(", rbx %lu, rcx %lu, flags %lx", (long)r.rbx, (long)r.rcx, (long)r.eflags & 0xdd5);
		putchar('\n');
	}
	printf("%d steps\n", steps);
	end(pid);
}

static void test_breakpoints(void)
{
	pid_t pid = start();
	long one = poke_break(pid, point_one), two = poke_break(pid, point_two);
	struct user_regs_struct r;
	int status;

	status = resume(pid, PTRACE_CONT);
	r = registers(pid);
	printf("breakpoint: signal %d at +%d from the point\n", WSTOPSIG(status), (int)(r.rip - (uintptr_t)point_one));
	remove_break(pid, point_one, one);
	status = resume(pid, PTRACE_CONT);
	r = registers(pid);
	printf("breakpoint: signal %d at +%d from the point, rax %lu\n", WSTOPSIG(status),
	       (int)(r.rip - (uintptr_t)point_two), (long)r.rax);
	remove_break(pid, point_two, two);
	end(pid);
}

static long set_debug(pid_t pid, int n, unsigned long value)
{
	return ptrace(PTRACE_POKEUSER, pid, offsetof(struct user, u_debugreg) + n * sizeof(long), value);
}

static void report_hardware(pid_t pid, const char *what)
{
	int status = resume(pid, PTRACE_CONT);
	struct user_regs_struct r = registers(pid);
	long dr6 = ptrace(PTRACE_PEEKUSER, pid, offsetof(struct user, u_debugreg[6]), NULL);
	siginfo_t info;

	ptrace(PTRACE_GETSIGINFO, pid, NULL, &info);
	printf("%s: signal %d code %d at +%d, dr6 %lx\n", what, WSTOPSIG(status), info.si_code, place(r.rip), dr6 & 0xe00f);
	set_debug(pid, 6, 0);
}

/* DR7: enable bit of breakpoint n, its kind (0 execute, 1 write, 3 access) and length. */
static unsigned long control(int n, int kind, int size)
{
	return 1ul << (2 * n) | (unsigned long)(kind | (size - 1) << 2) << (16 + 4 * n);
}

static void test_hardware(void)
{
	int word = sizeof(long) == 8 ? 3 : 4;
	pid_t pid = start();

	if (set_debug(pid, 0, (unsigned long)point_one) || set_debug(pid, 1, (unsigned long)&watched[1]) ||
	    set_debug(pid, 2, (unsigned long)&watched[2]) || set_debug(pid, 3, (unsigned long)&to[2]) ||
	    set_debug(pid, 7, control(0, 0, 1) | control(1, 3, word) | control(2, 1, 2) | control(3, 1, 1)))
		printf("no hardware breakpoints\n");
	report_hardware(pid, "string write");
	report_hardware(pid, "execution");
	report_hardware(pid, "write of a word");
	report_hardware(pid, "read of a word");
	report_hardware(pid, "write of two bytes");
	end(pid);
}

static void test_syscalls(void)
{
	pid_t pid = start();
	struct user_regs_struct r;
	int stops = 0, status;

	ptrace(PTRACE_SETOPTIONS, pid, NULL, PTRACE_O_TRACESYSGOOD);
	while (status = resume(pid, PTRACE_SYSCALL), WIFSTOPPED(status)) {
		r = registers(pid);
		stops++;
		if (r.orig_rax == SYS_getpid && WSTOPSIG(status) == (SIGTRAP | 0x80))
			printf("getpid at +%d, rax %s\n", place(r.rip), (long)r.rax == -38 ? "not yet" : "a result");
	}
	printf("%d stops, status %d\n", stops, WEXITSTATUS(status));
}

static void test_registers(void)
{
	pid_t pid = start();
	long old = poke_break(pid, point_one);
	struct user_regs_struct r;
	struct user_fpregs_struct f;

	resume(pid, PTRACE_CONT);
	remove_break(pid, point_one, old);
	ptrace(PTRACE_GETFPREGS, pid, NULL, &f);
	printf("x87 control %x, mxcsr %x\n", (unsigned)f.cwd, (unsigned)f.mxcsr);
	memset(f.xmm_space, 0x5a, sizeof(f.xmm_space));
	f.mxcsr = 0x1fa0;
	ptrace(PTRACE_SETFPREGS, pid, NULL, &f);
	ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL);
	waitpid(pid, NULL, 0);
	memset(&f, 0, sizeof(f));
	ptrace(PTRACE_GETFPREGS, pid, NULL, &f);
	printf("set: xmm5 %x, mxcsr %x\n", (unsigned)f.xmm_space[20], (unsigned)f.mxcsr);
	r = registers(pid);
	r.r12 = 0x1234;
	r.rip += 0;
	ptrace(PTRACE_SETREGS, pid, NULL, &r);
	r = registers(pid);
	printf("rax %lx r12 %lx privilege %lu %lu at +%d\n", (long)r.rax, (long)r.r12, (long)r.cs & 3, (long)r.ss & 3,
	       place(r.rip));
	end(pid);
}

int main(void)
{
	test_steps();
	test_breakpoints();
	test_hardware();
	test_syscalls();
	test_registers();
}
