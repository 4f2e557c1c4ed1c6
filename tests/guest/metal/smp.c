/* SPDX-License-Identifier: MIT */
/*
 * Two processors on one memory: the way up of the second, locked operations (across a line and across a page too), the
 * order of plain ones, shootdown of a mapping, code that the other processor changes, interrupts in both directions,
 * HLT, INIT and SIPI in the middle of something. With one processor there is nothing to see: -smp 2.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"code that the other writes", "SDM vol. 3, \"Handling Self- and Cross-Modifying Code\""},
	{0},
};

enum { TRAMPOLINE = 0x8000, VEC_PING = 0x71, VEC_SHOOT = 0x72, VEC_STORM = 0x73, STACK = 0x4000, CPUS = 8 };
enum { ICR_INIT = 0x4500, ICR_SIPI = 0x4600, ICR_NMI = 0x4400, ICR_FIXED = 0x4000, ICR_OTHERS = 0xc0000 };

extern u8 ap_begin[], ap_end[];
void ap_main(u32 n);
aligned(16) u8 ap_stacks[CPUS][STACK];
volatile u32 ap_count;

__asm__(".text\n.code16\n.globl ap_begin\nap_begin:\n"
	"cli\nxorw %ax, %ax\nmovw %ax, %ds\n"
	"movl $0x20, %eax\nmovl %eax, %cr4\nmovl $boot_pml4, %eax\nmovl %eax, %cr3\n"
	"movl $0xc0000080, %ecx\nmovl $0x901, %eax\nxorl %edx, %edx\nwrmsr\n"
	"lgdtl 0x8000 + ap_gdtr - ap_begin\nmovl $0x80000033, %eax\nmovl %eax, %cr0\nljmpl $8, $ap64\n"
	".balign 8\nap_gdt: .quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff\n"
	"ap_gdtr: .word 23\n.long 0x8000 + ap_gdt - ap_begin\n.globl ap_end\nap_end:\n"
	".code64\nap64:\nmovl $0x10, %eax\nmovl %eax, %ds\nmovl %eax, %es\nmovl %eax, %ss\n"
	"movl $1, %edi\nlock xaddl %edi, ap_count\nmovl %edi, %eax\nandl $7, %eax\nincl %eax\nimull $0x4000, %eax, %eax\n"
	"leaq ap_stacks(%rax), %rsp\ncall ap_main\n1: hlt\njmp 1b\n");

typedef void job(void);
static job *volatile ap_job;
static volatile u32 ap_busy, pings, shoots, storms[2], nmis;
static volatile u64 shoot_va;

static u32 me(void)
{
	return apic_read(APIC_ID) >> 24;
}

static void on_ping(struct frame *f)
{
	pings++;
	apic_eoi();
}

static void on_shoot(struct frame *f)
{
	invlpg(shoot_va);
	shoots++;
	apic_eoi();
}

static void on_storm(struct frame *f)
{
	storms[me() & 1]++;
	apic_eoi();
}

static void on_nmi(struct frame *f)
{
	nmis++;
}

void ap_main(u32 n)
{
	job *j;

	gdt_reload();
	idt_load(sizeof idt - 1);
	apic_write(APIC_SPIV, 0x1ff);
	sti();
	for (;;) {
		while (!(j = ap_job) || n + 1 != ap_count)
			__asm__ volatile("pause");
		ap_job = NULL;
		j();
		ap_busy = 0;
	}
}

static void send(u32 what)
{
	while (apic_read(APIC_ICR) & 0x1000)
		;
	apic_write(APIC_ICR2, 1u << 24);
	apic_write(APIC_ICR, what);
}

static bool await(volatile u32 *word, u32 value, u64 ms)
{
	u64 start = rdtsc(), ticks = ms * tsc_khz();

	while (*word != value && rdtsc() - start < ticks)
		__asm__ volatile("pause");
	return *word == value;
}

static void start_job(job *j)
{
	ap_busy = 1;
	ap_job = j;
}

static void join(const char *name)
{
	if (await(&ap_busy, 0, 20000))
		return;
	report(false, name, "the other processor does not come to an end");
	metal_exit(1);
}

static bool start_ap(void)
{
	u32 before = ap_count;

	memcpy((void *)(u64)TRAMPOLINE, ap_begin, (size_t)(ap_end - ap_begin));
	send(ICR_INIT);
	wait_us(10000);
	send(ICR_SIPI | TRAMPOLINE >> 12);
	return await(&ap_count, before + 1, 1000);
}

/* --- locked operations --- */
static u64 rounds;
aligned(4096) static u8 arena[3 * 4096];
static volatile u64 *shared;
static volatile u32 lock;
static u64 guarded;

static void add_many(void)
{
	for (u64 i = 0; i < rounds; i++)
		__asm__ volatile("lock addq $1, %0" : "+m"(*shared));
}

static void exchange_many(void)
{
	for (u64 i = 0; i < rounds; i++) {
		u64 old = *shared, seen;

		do {
			seen = old;
			__asm__ volatile("lock cmpxchgq %2, %1" : "+a"(old), "+m"(*shared) : "r"(seen + 3));
		} while (old != seen);
	}
}

static void guard_many(void)
{
	for (u64 i = 0; i < rounds; i++) {
		while (__atomic_exchange_n(&lock, 1, __ATOMIC_ACQUIRE))
			while (lock)
				__asm__ volatile("pause");
		guarded++;
		__atomic_store_n(&lock, 0, __ATOMIC_RELEASE);
	}
}

static void both(const char *name, job *j, u64 n, u64 step)
{
	rounds = n;
	*shared = 0;
	start_job(j);
	j();
	join(name);
	check_eq(name, *shared, 2 * n * step);
}

static void test_locks(void)
{
	shared = (u64 *)arena;
	both("LOCK ADD", add_many, scaled(200000), 1);
	both("LOCK CMPXCHG", exchange_many, scaled(100000), 3);
	shared = (u64 *)(arena + 60);
	both("LOCK ADD across two lines", add_many, scaled(2000), 1);
	shared = (u64 *)(arena + 4096 - 3);
	both("LOCK ADD across two pages", add_many, scaled(2000), 1);
	page_map(0x50000000, page_alloc() | PTE_P | PTE_W);
	page_alloc();
	page_map(0x50001000, page_alloc() | PTE_P | PTE_W);
	shared = (u64 *)0x50000ffe;
	both("across two pages that lie apart", add_many, scaled(2000), 1);
	both("LOCK CMPXCHG across these", exchange_many, scaled(1000), 3);
	rounds = scaled(100000);
	guarded = 0;
	start_job(guard_many);
	guard_many();
	join("XCHG as a lock");
	check_eq("XCHG as a lock", guarded, 2 * rounds);
}

/* --- order: who sees the flag sees what was written before it --- */
static volatile u64 data, flag;

static void write_in_order(void)
{
	for (u64 i = 1; i <= rounds; i++) {
		data = i;
		flag = i;
	}
}

static void test_order(void)
{
	u64 wrong = 0, seen;

	rounds = scaled(1000000);
	start_job(write_in_order);
	do {
		seen = flag;
		wrong += data < seen;
	} while (seen < rounds);
	join("order");
	check_eq("stores are seen in their order", wrong, 0);
}

/* --- shootdown --- */
static volatile u32 turn, ap_turn;
static volatile u64 *window, ap_saw;

static void read_window(void)
{
	for (u32 i = 1; i <= rounds; i++) {
		while (turn != i)
			(void)*window; /* keeps the old translation warm */
		ap_saw = *window;
		ap_turn = i;
	}
}

static void test_shootdown(void)
{
	u64 va = 0x40000000, page[2] = {page_alloc(), page_alloc()}, wrong = 0;

	*(u64 *)page[0] = 1000;
	*(u64 *)page[1] = 1001;
	page_map(va, page[0] | PTE_P | PTE_W);
	window = (u64 *)va;
	turn = ap_turn = 0;
	rounds = scaled(1000);
	start_job(read_window);
	for (u32 i = 1; i <= rounds; i++) {
		u32 before = shoots;

		*page_entry(va, 1) = page[i & 1] | PTE_P | PTE_W;
		shoot_va = va;
		send(ICR_FIXED | VEC_SHOOT);
		if (!await(&shoots, before + 1, 5000))
			wrong += 1000000;
		turn = i;
		if (!await(&ap_turn, i, 5000))
			wrong += 1000000;
		wrong += ap_saw != 1000 + (i & 1);
	}
	join("shootdown");
	check_eq("a mapping that the other has been told to forget", wrong, 0);
}

/* --- code that the other processor writes --- */
aligned(4096) static u8 code[4096] = {0xb8, 0, 0, 0, 0, 0xc3};
static volatile u32 ap_wrong;

static u32 call_code(void)
{
	u32 value;

	__asm__ volatile("call *%1" : "=a"(value) : "r"(code) : "memory", "cc");
	return value;
}

static void run_code(void)
{
	for (u32 i = 1; i <= rounds; i++) {
		while (turn != i)
			call_code();
		cpuid(0, 0); /* SDM, "Handling Self- and Cross-Modifying Code" */
		ap_wrong += call_code() != i;
		ap_turn = i;
	}
}

static void test_cross_modify(void)
{
	rounds = scaled(2000);
	turn = ap_turn = ap_wrong = 0;
	start_job(run_code);
	for (u32 i = 1; i <= rounds; i++) {
		*(volatile u32 *)(code + 1) = i;
		turn = i;
		if (!await(&ap_turn, i, 5000))
			ap_wrong += 1000000;
	}
	join("code that the other writes");
	check_eq("code that the other writes", ap_wrong, 0);
	cpuid(0, 0);
	check_eq("and the writer runs it too", call_code(), (u32)rounds);
}

/* --- kvmclock: what a guest computes of one TSC value must be the same with each processor's page --- */
static volatile struct kvmclock kvm_page[2];

static u64 kvm_ns(const volatile struct kvmclock *p, u64 tsc)
{
	tsc -= p->tsc;
	tsc = p->shift < 0 ? tsc >> -p->shift : tsc << p->shift;
	return p->ns + (u64)((unsigned __int128)tsc * p->mul >> 32);
}

static void name_kvm_page(void)
{
	wrmsr(0x4b564d01, (u64)&kvm_page[1] | 1);
}

static void test_kvmclock(void)
{
	u64 now;

	if (!(cpuid(1, 0).c >> 31) || cpuid(0x40000000, 0).b != 0x4b4d564b || !(cpuid(0x40000001, 0).a >> 24 & 1)) {
		report_skip("kvmclock", "not in CPUID, or not said to be stable");
		return;
	}
	wrmsr(0x4b564d01, (u64)&kvm_page[0] | 1);
	start_job(name_kvm_page);
	join("kvmclock");
	now = rdtsc();
	check_eq("kvmclock is one clock", kvm_ns(&kvm_page[1], now), kvm_ns(&kvm_page[0], now));
	wrmsr(0x4b564d01, 0);
}

/* --- interrupts --- */
static void storm(void)
{
	u32 to = !me();

	for (u64 i = 0; i < rounds; i++) {
		while (apic_read(APIC_ICR) & 0x1000)
			;
		apic_write(APIC_ICR2, to << 24);
		apic_write(APIC_ICR, ICR_FIXED | VEC_STORM);
	}
}

static void sleep_and_wake(void)
{
	for (u64 i = 0; i < rounds; i++) {
		u32 before = pings;

		ap_turn = (u32)i + 1;
		cli();
		while (pings == before)
			hlt_wait();
		sti();
	}
}

static void idle(void)
{
	while (turn)
		__asm__ volatile("pause");
}

static void test_interrupts(void)
{
	u32 missed = 0;

	rounds = scaled(3000);
	turn = 1;
	start_job(idle);
	for (u64 i = 0; i < rounds; i++) {
		u32 before = pings;

		send(ICR_FIXED | VEC_PING);
		missed += !await(&pings, before + 1, 2000);
	}
	check_eq("each interrupt arrives once", missed, 0);
	pings = 0;
	send(ICR_FIXED | ICR_OTHERS | VEC_PING);
	report(await(&pings, 1, 2000), "to all others", "%u have come", pings);
	nmis = 0;
	send(ICR_NMI);
	report(await(&nmis, 1, 2000), "NMI", "%u have come", nmis);
	turn = 0;
	join("interrupts");

	storms[0] = storms[1] = 0;
	start_job(storm);
	sti();
	storm();
	join("storm");
	wait_us(2000);
	cli();
	report(storms[0] && storms[1], "storms in both directions", "%u and %u have come", storms[0], storms[1]);

	rounds = scaled(1000);
	ap_turn = 0;
	start_job(sleep_and_wake);
	missed = 0;
	for (u32 i = 1; i <= rounds; i++) {
		missed += !await(&ap_turn, i, 2000);
		send(ICR_FIXED | VEC_PING);
	}
	join("HLT");
	check_eq("HLT ends with an interrupt of the other", missed, 0);
}

static void forever(void)
{
	turn = 2;
	for (;;)
		;
}

static void test_restart(void)
{
	turn = 0;
	start_job(forever);
	await(&turn, 2, 1000);
	ap_busy = 0;
	report(start_ap(), "INIT and SIPI stop a loop and start anew", "it has not come up");
	shared = (u64 *)arena;
	both("it works again", add_many, 1000, 1);
}

void metal_main(void)
{
	apic_enable();
	trap_handle(VEC_PING, on_ping);
	trap_handle(VEC_SHOOT, on_shoot);
	trap_handle(VEC_STORM, on_storm);
	trap_handle(NMI, on_nmi);
	tsc_khz();
	if (!start_ap()) {
		report_skip("all", "there is one processor only");
		return;
	}
	report(true, "the second processor comes", "%u", ap_count);
	test_locks();
	test_order();
	test_shootdown();
	test_cross_modify();
	test_kvmclock();
	test_interrupts();
	test_restart();
}
