/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit program: system calls by int 0x80 and by the vDSO's entry (sysenter or syscall); segments through
 * set_thread_area and modify_ldt, with their limits; the instructions that 64-bit mode has not; 16-bit operands and
 * addresses; faults and signals; vector code.
 */
#include <asm/ldt.h>
#include <elf.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

#include "catch.h"
#include "features.h"

static int by_interrupt(int number, int a, int b, int c)
{
	int result;

	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

static uint32_t vdso_entry;
static int by_vdso(int number, int a, int b, int c)
{
	int result;

	asm volatile("call *%1" : "=a"(result) : "m"(vdso_entry), "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
}

static void test_system_calls(void)
{
	int (*const ways[])(int, int, int, int) = { by_interrupt, by_vdso };
	char buffer[64];
	int fd[2], i, wrong = 0;
	size_t way;

	vdso_entry = getauxval(AT_SYSINFO);
	printf("the vDSO has an entry: %d\n", vdso_entry != 0);
	if (pipe(fd) || !vdso_entry)
		return;
	for (way = 0; way < 2; way++)
		for (i = 0; i < 500; i++) {
			wrong += ways[way](SYS_getpid, 0, 0, 0) != getpid();
			wrong += ways[way](SYS_write, fd[1], (int)"through a pipe", 14) != 14;
			wrong += ways[way](SYS_read, fd[0], (int)buffer, 64) != 14 || memcmp(buffer, "through a pipe", 14);
			wrong += ways[way](SYS_close, 999, 0, 0) != -9;
			wrong += ways[way](SYS_write, fd[1], 8, 4) != -14;
		}
	check(!wrong, "system calls: %d wrong", wrong);
}

static void set_descriptor(struct user_desc *d, void *base, unsigned limit)
{
	memset(d, 0, sizeof(*d));
	d->base_addr = (unsigned)base;
	d->limit = limit;
	d->seg_32bit = 1;
	d->useable = 1;
}

static uint8_t data[4096] __attribute__((aligned(4096)));

static void read_fs(void *at, void *unused)
{
	(void)unused;
	asm volatile("movb %%fs:(%0), %%al" ::"r"(at) : "eax");
}

static void write_fs(void *at, void *unused)
{
	(void)unused;
	asm volatile("movl $1, %%fs:(%0)" ::"r"(at));
}

static void load_fs(void *selector, void *unused)
{
	(void)unused;
	asm volatile("mov %0, %%fs" ::"r"(selector));
}

static void report(const char *what, void (*code)(void *, void *), long at)
{
	int signo = catch_run(code, (void *)at, NULL);

	printf("%-28s %s trap %lu error %lx\n", what, catch_name(signo), caught.trap, caught.error);
}

static void test_segments(void)
{
	struct user_desc d;
	unsigned selector, got;

	memcpy(data + 100, "\x78\x56\x34\x12", 4);
	set_descriptor(&d, data + 64, 0x7f);
	d.entry_number = -1;
	printf("set_thread_area %d\n", (int)syscall(SYS_set_thread_area, &d));
	selector = d.entry_number << 3 | 3;
	load_fs((void *)selector, NULL);
	asm volatile("movl %%fs:36, %0" : "=r"(got));
	printf("through fs: %x\n", got);
	report("the last byte", read_fs, 0x7f);
	report("one beyond", read_fs, 0x80);
	report("four bytes over the end", write_fs, 0x7d);
	report("far beyond", read_fs, -1);
	set_descriptor(&d, data, 0xfff);
	d.entry_number = 3;
	d.read_exec_only = 1;
	printf("modify_ldt %d\n", (int)syscall(SYS_modify_ldt, 1, &d, sizeof(d)));
	load_fs((void *)(3 << 3 | 7), NULL);
	report("read a read-only segment", read_fs, 100);
	report("write a read-only segment", write_fs, 100);
	set_descriptor(&d, data, 0xff); /* expands down: only what is above the limit is inside */
	d.entry_number = 4;
	d.contents = 1;
	printf("modify_ldt %d\n", (int)syscall(SYS_modify_ldt, 1, &d, sizeof(d)));
	load_fs((void *)(4 << 3 | 7), NULL);
	report("expand-down, below", read_fs, 0xff);
	report("expand-down, above", read_fs, 0x100);
	d.seg_not_present = 1;
	d.entry_number = 5;
	syscall(SYS_modify_ldt, 1, &d, sizeof(d));
	report("a segment not present", load_fs, 5 << 3 | 7);
	report("an empty descriptor", load_fs, 6 << 3 | 7);
	report("beyond the table", load_fs, 0x7ff << 3 | 7);
	report("a null selector", load_fs, 0);
	report("used", read_fs, 0);
	asm volatile("lar %1, %0" : "=r"(got) : "r"(3 << 3 | 7) : "cc");
	printf("lar %x, ", got & 0xfff00);
	asm volatile("lsl %1, %0" : "=r"(got) : "r"(selector) : "cc");
	printf("lsl %x\n", got);
}

/* defined: the flags that the manual does not leave undefined; ringer makes the others as Intel's processors do */
#define DECIMAL(name, defined) \
	static uint64_t name##_all(void)                                                                          \
	{                                                                                                         \
		uint64_t h = HASH_START;                                                                          \
		bool intel = have("intel");                                                                       \
		unsigned i;                                                                                       \
		for (i = 0; i < 0x10000; i += 7) {                                                                \
			unsigned flags, a = i;                                                                    \
			asm volatile("push %2; popf; " #name "; pushf; pop %1"                                    \
				     : "+a"(a), "=r"(flags)                                                       \
				     : "r"((i & 0x11) | 0x202)                                                    \
				     : "cc", "memory");                                                           \
			flags &= intel ? 0x8d5 : defined;                                                         \
			h = hash(hash(h, &a, 4), &flags, 4);                                                      \
		}                                                                                                 \
		return h;                                                                                         \
	}
DECIMAL(daa, 0xd5)
DECIMAL(das, 0xd5)
DECIMAL(aaa, 0x11)
DECIMAL(aas, 0x11)
DECIMAL(aam, 0xc4)
DECIMAL(aad, 0xc4)

static void bound(void *value, void *unused)
{
	static const int32_t limits[2] = { 5, 20 };

	(void)unused;
	asm volatile("bound %0, %1" ::"r"(value), "m"(limits));
}

static void overflow(void *value, void *unused)
{
	(void)unused;
	asm volatile("add $1, %0; into" ::"r"(value) : "cc");
}

static void test_old_instructions(void)
{
	uint32_t regs[8], got, high;
	uint16_t cs;

	printf("daa %016llx das %016llx aaa %016llx\n", daa_all(), das_all(), aaa_all());
	printf("aas %016llx aam %016llx aad %016llx\n", aas_all(), aam_all(), aad_all());
	report("bound inside", bound, 20);
	report("bound outside", bound, 21);
	report("no overflow", overflow, 1);
	report("overflow", overflow, 0x7fffffff);
	asm volatile("mov $1, %%ecx; mov $2, %%edx; pusha; xor %%ecx, %%ecx; xor %%edx, %%edx; mov 24(%%esp), %0; "
		     "popa; mov %%edx, %1"
		     : "=a"(got), "=m"(regs[0])::"ecx", "edx", "memory");
	printf("pusha, popa: %u\n", regs[0]);
	asm volatile("inc %0; inc %0; dec %0; push %%es; pop %%es; xor %1, %1; stc; .byte 0xd6; movzbl %%al, %0"
		     : "=a"(got), "=d"(high)
		     : "0"(7));
	printf("salc %x\n", got);
	asm volatile("mov %%cs, %0" : "=r"(cs));
	if (cs == 0x23) {
		asm volatile("lcall $0x23, $1f; jmp 2f; 1: mov $77, %0; lret; 2:" : "=a"(got) : : "memory");
	} else { /* a 32-bit kernel's selector */
		asm volatile("push %1; push $1f; lcall *(%%esp); add $8, %%esp; jmp 2f; 1: mov $77, %0; lret; 2:"
			     : "=&a"(got) : "r"(cs) : "memory");
	}
	printf("privilege %u, far call %u\n", cs & 3, got);
	asm volatile("push %%ebx; mov $data+96, %%ebx; mov $4, %%al; xlat; movzbl %%al, %0; pop %%ebx" : "=a"(got));
	printf("xlat %x\n", got);
	asm volatile("mov $0x10003, %%ecx; xor %0, %0; 1: inc %0; loopw 1b" : "=a"(got)::"ecx");
	printf("loopw %u\n", got);
	asm volatile("enter $32, $3; mov %%ebp, %0; sub %%esp, %0; leave" : "=a"(got)::"memory");
	printf("enter %u\n", got);
	asm volatile("push $0x12345678; popw %%ax; popw %%dx; movzwl %%ax, %%eax; movzwl %%dx, %%edx"
		     : "=a"(got), "=d"(high));
	printf("16-bit pops %x %x\n", got, high);
	asm volatile("mov $0x20012, %%ecx; bsfw %%cx, %%ax; movzwl %%ax, %%eax; arpl %%cx, %%cx" : "=a"(got)::"ecx", "cc");
	printf("bsfw %u\n", got);
}

/* 16-bit addresses reach only the first 64 KiB, where a segment of its own must put the data. */
static void test_16bit_addresses(void)
{
	uint32_t got, lea;

	load_fs((void *)(3 << 3 | 7), NULL);
	asm volatile("push %%ebx; mov $0x10050, %%ebx; mov $20, %%esi; movl %%fs:(%%bx,%%si), %0; lea -3(%%bx,%%si), "
		     "%1; pop %%ebx"
		     : "=a"(got), "=d"(lea)::"esi");
	printf("16-bit address: %x, lea %x\n", got, lea);
	asm volatile("mov $0x12345678, %%eax; addr16 lea 0x1234, %0" : "=r"(got)::"eax");
	printf("addr16 lea %x\n", got);
}

static uint64_t read_wrapped(void)
{
	uint32_t got;

	asm volatile("mov $0x10, %%ecx; movl data+100-0x10(%%ecx), %0" : "=r"(got)::"ecx");
	asm volatile("mov $0xffffff00, %%ecx; xorl data+100+0x100(%%ecx), %0" : "+r"(got)::"ecx");
	return got;
}

static void at_null(void *at, void *unused)
{
	(void)unused;
	*(volatile char *)at = 1;
}

static void jump_to(void *at, void *unused)
{
	(void)unused;
	asm volatile("jmp *%0" ::"r"(at));
}

static void invalid(void *at, void *unused)
{
	(void)at, (void)unused;
	asm volatile("ud2");
}

static void trap_flag(void *at, void *unused)
{
	(void)at, (void)unused;
	asm volatile("pushf; orl $0x100, (%esp); popf; nop; nop");
}

static void divide(void *by, void *unused)
{
	(void)unused;
	asm volatile("cltd; idivl %0" ::"r"(by), "a"(7) : "edx");
}

static void interrupt(void *at, void *unused)
{
	(void)at, (void)unused;
	asm volatile("int $0x42");
}

static void port(void *at, void *unused)
{
	(void)at, (void)unused;
	asm volatile("outb %al, $0x80");
}

static void test_faults(void)
{
	report("write to nothing", at_null, 0);
	if (have("kernel64")) { /* Linux 6.1's 686-pae leaves data executable, and has pages of its own at the top */
		report("write to the top", at_null, -4096);
		report("jump to data", jump_to, (long)data);
		report("jump to the top", jump_to, -16);
	}
	report("jump to nothing", jump_to, 16);
	report("ud2", invalid, 0);
	report("trap flag", trap_flag, 0);
	report("divide by zero", divide, 0);
	report("interrupt", interrupt, 0);
	report("port", port, 0);
}

static void test_vectors(void)
{
	float a[4] = { 1.5f, -2.25f, 3e20f, 1e-30f }, b[4] = { 3, 7, 1e20f, 1e-20f };
	double d = 0;
	int i;

	for (i = 0; i < 100; i++)
		asm volatile("movups %0, %%xmm0; movups %1, %%xmm7; mulps %%xmm7, %%xmm0; sqrtps %%xmm0, %%xmm0; addps "
			     "%%xmm7, %%xmm0; "
			     "movups %%xmm0, %0"
			     : "+m"(a)
			     : "m"(b)
			     : "xmm0", "xmm7");
	for (i = 1; i < 1000; i++)
		d += 1.0 / i / i;
	printf("vectors %016llx x87 %.17g\n", hash(HASH_START, a, sizeof(a)), d);
}

static volatile int handled;
static void skip(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	(void)signo, (void)info;
	handled++;
	u->uc_mcontext.gregs[REG_EIP] += 2;
	u->uc_mcontext.gregs[REG_EBX] *= 3;
}

static void skip_plain(int signo)
{
	handled += signo;
}

static void test_frames(void)
{
	struct sigaction action = { .sa_sigaction = skip, .sa_flags = SA_SIGINFO };
	uint32_t b = 14;

	sigaction(SIGILL, &action, NULL);
	asm volatile("push %%ebx; mov %0, %%ebx; ud2; mov %%ebx, %0; pop %%ebx" : "+a"(b));
	signal(SIGUSR1, skip_plain);
	raise(SIGUSR1);
	printf("handled %d, ebx %u\n", handled, b);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 14);
	catch_init();
	test_system_calls();
	test_segments();
	test_old_instructions();
	test_16bit_addresses();
	printf("wrapped %llx\n", (unsigned long long)read_wrapped());
	test_faults();
	test_vectors();
	test_frames();
}
