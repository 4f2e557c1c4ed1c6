/* SPDX-License-Identifier: MIT */
/*
 * A hostile process on ringer with direct execution: what user code may try on a processor and its kernel besides what
 * trespass does to the world's own memory. Each attempt is a process that computes first, so that it is made in a
 * world, and must end as it does natively.
 */
#include <asm/ldt.h>
#include <errno.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "hostile.h"

enum { LINUX_URETPROBE = 335, LINUX_UPROBE = 336 };

static volatile unsigned traps;

static void on_signal(int sig)
{
	traps += sig == SIGTRAP;
}

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

/* Newer kernels let these two past every filter. This one may be such a kernel itself. */
static unsigned unfiltered(long nr)
{
	struct utsname name;
	int major, minor;

	uname(&name);
	if (sscanf(name.release, "%d.%d", &major, &minor) == 2 && major * 100 + minor >= 611)
		return ENOSYS;
	return (unsigned)-call(nr, 0, 0, 0) & 255;
}

static unsigned uretprobe(void) { return unfiltered(LINUX_URETPROBE); }
static unsigned uprobe(void) { return unfiltered(LINUX_UPROBE); }
static unsigned no_such_call(void) { return (unsigned)-call(-1, 0, 0, 0) & 255; }
static unsigned x32_call(void) { return (unsigned)-call(0x40000000 | SYS_getpid, 0, 0, 0) & 255; }
static unsigned bad_sigreturn(void) { return (unsigned)call(SYS_rt_sigreturn, 0, 0, 0); }

/* The instruction stands within another one, where the search for sensitive ones leaves it. */
#define HIDDEN(bytes, before, after) before " jmp 1f+2\n 1: movabs $" bytes ", %%r10\n" after

static unsigned hidden_int80(void)
{
	long ret;

	__asm__ volatile(HIDDEN("0x90909090909080cd", "mov $20, %%eax\n", "")
			 : "=a"(ret) : : "r8", "r9", "r10", "r11", "memory");
	return ret == getpid() ? 0 : (unsigned)ret;
}

static unsigned hidden_syscall(void)
{
	long ret;

	__asm__ volatile(HIDDEN("0x909090909090050f", "mov $39, %%eax\n", "")
			 : "=a"(ret) : : "rcx", "r10", "r11", "memory");
	return ret == getpid() ? 0 : (unsigned)ret;
}

/* Flags across system calls. */
static unsigned with_flags(unsigned long set)
{
	unsigned long flags;
	long ret;

	__asm__ volatile("pushf\n pushf\n or %2, (%%rsp)\n popf\n mov $39, %%eax\n syscall\n pushf\n pop %0\n popf"
			 : "=&r"(flags), "=&a"(ret) : "r"(set) : "rcx", "r11", "memory", "cc");
	return (flags & set) == set && ret == getpid() ? 0 : 1;
}

static unsigned flag_ac(void) { return with_flags(1 << 18); }
static unsigned flag_df(void) { return with_flags(1 << 10); }
static unsigned flag_nt(void) { return with_flags(1 << 14); }
static unsigned flag_id(void) { return with_flags(1 << 21); }

static unsigned misaligned(void)
{
	static char bytes[16];

	__asm__ volatile("pushf\n orl $0x40000, (%%rsp)\n popf\n mov 1(%0), %%eax" : : "r"(bytes) : "eax", "memory", "cc");
	return 0;
}

/* Single steps over a system call, a store, and the way back. */
static unsigned steps(void)
{
	long ret;

	signal(SIGTRAP, on_signal);
	__asm__ volatile("pushf\n orl $0x100, (%%rsp)\n popf\n mov $39, %%eax\n syscall\n nop\n"
			 "pushf\n andl $~0x100, (%%rsp)\n popf"
			 : "=a"(ret) : : "rcx", "r11", "memory", "cc");
	return traps;
}

static unsigned far_jump(void) { __asm__ volatile("jmp *%0" : : "r"(1ul << 60)); return 0; }
static unsigned far_load(void) { return (unsigned)*(volatile uint8_t *)(1ul << 60); }
static unsigned upper_load(void) { return (unsigned)*(volatile uint8_t *)0xffffffff81000000; }
static unsigned far_push(void) { __asm__ volatile("mov %0, %%rsp\n push %%rax" : : "r"(1ul << 60)); return 0; }
static unsigned far_syscall(void)
{
	__asm__ volatile("mov %0, %%rsp\n mov $231, %%eax\n mov $7, %%edi\n syscall" : : "r"(1ul << 60));
	return 0;
}

static unsigned fs_base(void) { __asm__ volatile("wrfsbase %0" : : "r"(1ul << 60)); return 0; }
static unsigned gs_base(void) { __asm__ volatile("wrgsbase %0\n mov %%gs:0, %%al" : : "r"(~0ul << 47)); return 0; }

#define LOAD(name, segment, selector) \
	static unsigned name(void) { __asm__ volatile("mov %0, %%" segment : : "r"(selector)); return with_flags(0); }
LOAD(load_ds, "ds", 0x2b)
LOAD(load_es_code, "es", 0x33)
LOAD(load_ds_kernel, "ds", 0x18)
LOAD(load_fs_kernel, "fs", 0x10)
LOAD(load_gs_far, "gs", 0xfff3)
LOAD(load_ss, "ss", 0x2b)
LOAD(load_ss_null, "ss", 0x3)

static unsigned load_ldt(void)
{
	const struct user_desc d = {
		.entry_number = 1, .base_addr = (unsigned)(uintptr_t)&traps, .limit = 4095, .seg_32bit = 1,
	};
	unsigned seen = 0;

	traps = 42;
	if (syscall(SYS_modify_ldt, 17, &d, sizeof(d)))
		return 42; /* this kernel has none */
	__asm__ volatile("mov %1, %%gs\n mov %%gs:0, %0" : "=r"(seen) : "r"(0xf));
	return with_flags(0) ? 1 : seen;
}

/* To 32-bit code, which asks its kernel who it is, and back. */
__asm__(".text\n far_call: push %rbx\n push %rbp\n mov %rsp, wide_stack\n lea narrow_stack + 4096, %rsp\n pushq $0x23\n"
	"pushq $1f\n lretq\n .code32\n 1: mov $0x2b, %eax\n mov %eax, %ds\n mov %eax, %es\n mov $20, %eax\n"
	"jmp 2f+1\n 2: mov $0x909080cd, %ecx\n ljmp $0x33, $3f\n" /* INT 80h, hidden as above */
	".code64\n 3: mov wide_stack, %rsp\n pop %rbp\n pop %rbx\n mov %eax, %eax\n ret\n");
uint64_t wide_stack;
char narrow_stack[4096] __attribute__((aligned(16)));
unsigned far_call(void);
static unsigned narrow(void) { return far_call() == (unsigned)getpid() ? 0 : 1; }
static unsigned far_return(void) { __asm__ volatile("pushq $0x10\n pushq $0\n lretq" : : : "memory"); return 0; }
static unsigned far_return_ldt(void) { __asm__ volatile("pushq $0xf\n pushq $0\n lretq" : : : "memory"); return 0; }
static unsigned iret_ring0(void)
{
	__asm__ volatile("mov %%rsp, %%rax\n pushq $0x18\n push %%rax\n pushf\n pushq $0x10\n pushq $0\n iretq"
			 : : : "rax", "memory");
	return 0;
}

/* Vector state that no processor holds. */
static char area[8192] __attribute__((aligned(64)));

static unsigned xrstor_header(void)
{
	memset(area + 512, 0xff, 64);
	__asm__ volatile("fxrstor64 %0" : : "m"(area));
	__asm__ volatile("xrstor64 %0" : : "m"(area), "a"(-1), "d"(-1));
	return 0;
}

static unsigned mxcsr(void) { const uint32_t bad = ~0u; __asm__ volatile("ldmxcsr %0" : : "m"(bad)); return 0; }

static unsigned privileged_hlt(void) { __asm__ volatile("hlt"); return 0; }
static unsigned privileged_cli(void) { __asm__ volatile("cli"); return 0; }
static unsigned privileged_in(void) { __asm__ volatile("in $0x80, %%al" : : : "eax"); return 0; }
static unsigned privileged_cr(void) { __asm__ volatile("mov %%cr0, %%rax" : : : "rax"); return 0; }
static unsigned privileged_swapgs(void) { __asm__ volatile("swapgs"); return 0; }
static unsigned privileged_msr(void) { __asm__ volatile("rdmsr" : : "c"(0xc0000082) : "rax", "rdx"); return 0; }
static unsigned privileged_sysret(void) { __asm__ volatile("sysretq"); return 0; }
static unsigned int_3(void) { __asm__ volatile("int3"); return 0; }
static unsigned int_1(void) { __asm__ volatile(".byte 0xf1"); return 0; }
static unsigned int_81(void) { __asm__ volatile("int $0x81"); return 0; }
static unsigned int_2(void) { __asm__ volatile("int $2"); return 0; }
static unsigned undefined(void) { __asm__ volatile("ud2"); return 0; }
static unsigned lock_undefined(void) { __asm__ volatile(".byte 0xf0\n nop"); return 0; }
static unsigned too_long(void) { __asm__ volatile(".fill 15, 1, 0x66\n nop"); return 0; }
static unsigned divide(void) { __asm__ volatile("div %%edx" : : "a"(1), "d"(0) : "cc"); return 0; }

#define ATTEMPTS(_) \
	_(uretprobe) _(uprobe) _(no_such_call) _(x32_call) _(bad_sigreturn) _(hidden_int80) _(hidden_syscall) \
	_(flag_ac) _(flag_df) _(flag_nt) _(flag_id) _(misaligned) _(steps) \
	_(far_jump) _(far_load) _(upper_load) _(far_push) _(far_syscall) _(fs_base) _(gs_base) \
	_(load_ds) _(load_es_code) _(load_ds_kernel) _(load_fs_kernel) _(load_gs_far) _(load_ss) _(load_ss_null) \
	_(load_ldt) _(narrow) _(far_return) _(far_return_ldt) _(iret_ring0) _(xrstor_header) _(mxcsr) \
	_(privileged_hlt) _(privileged_cli) _(privileged_in) _(privileged_cr) _(privileged_swapgs) _(privileged_msr) \
	_(privileged_sysret) _(int_3) _(int_1) _(int_81) _(int_2) _(undefined) _(lock_undefined) _(too_long) _(divide)

static const struct {
	const char *name;
	unsigned (*make)(void);
} attempts[] = {
#define ROW(name) { #name, name },
	ATTEMPTS(ROW)
};

int main(void)
{
	const unsigned n = sizeof(attempts) / sizeof(attempts[0]);

	count_worlds();
	for (unsigned i = 0; i < n; i++) {
		int status;
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (!pid) {
			compute(20);
			note_world();
			_exit((int)attempts[i].make());
		}
		waitpid(pid, &status, 0);
		printf("%-20s %s %d\n", attempts[i].name, WIFSIGNALED(status) ? "signal" : "says",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	}
	say_worlds(n);
}

HOSTILE_END
