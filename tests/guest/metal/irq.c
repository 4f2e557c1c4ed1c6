/* SPDX-License-Identifier: MIT */
/*
 * When interrupts are taken: the windows of STI and MOV SS, CLI, POPF and IRET, HLT, NMI blocking, priorities by
 * TPR and ISR; interrupts through the PICs, the virtual wire and the IO-APIC; and computations that must not
 * notice a storm of them.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{0},
};

enum { LOG_MAX = 32, V1 = 0x51, V2 = 0x62, V3 = 0x73, V_TIMER = 0x84 };
static struct { int vector; u64 rip, flags; } log_[LOG_MAX];
static volatile int taken;

static void note(struct frame *f)
{
	if (taken < LOG_MAX) {
		log_[taken].vector = (int)f->vector;
		log_[taken].rip = f->rip;
		log_[taken].flags = f->rflags;
	}
	taken++;
}

static void on_apic(struct frame *f)
{
	note(f);
	apic_eoi();
}

static void self_ipi(int vector)
{
	apic_icr((u32)vector);
}

/* --- windows --- */
extern char w_sti[], w_sti2[], w_popf[], w_iret[], w_ss[], w_ss2[], w_hlt[];

static void check_at(const char *name, const char *want)
{
	report(taken == 1 && log_[0].rip == (u64)want, name, "%d taken, at %lx, want %lx", taken, log_[0].rip, (u64)want);
}

static void test_windows(void)
{
	cli();
	taken = 0;
	self_ipi(V1);
	for (int i = 0; i < 1000; i++)
		nop();
	check_eq("no interrupt under CLI", (u64)taken, 0);
	report(apic_irr(V1), "it waits in IRR", "IRR %d", apic_irr(V1));
	__asm__ volatile("sti\n nop\nw_sti: nop\n nop\n cli" : : : "memory");
	check_at("STI: taken after the next instruction", w_sti);
	report(log_[0].flags & FL_IF, "IF in the image", "rflags %lx", log_[0].flags);
	taken = 0;
	self_ipi(V1);
	for (int i = 0; i < 20; i++)
		__asm__ volatile("sti\n cli" : : : "memory");
	check_eq("STI, CLI: never taken", (u64)taken, 0);
	__asm__ volatile("pushf\n orq $0x200, (%%rsp)\n popf\nw_popf: nop\n nop\n cli" : : : "memory", "cc");
	check_at("POPF: taken at once", w_popf);
	taken = 0;
	self_ipi(V1);
	__asm__ volatile("mov %%rsp, %%rcx\n push %0\n push %%rcx\n pushf\n orq $0x200, (%%rsp)\n push %1\n"
		"push $w_iret\n iretq\nw_iret: nop\n cli"
			 : : "r"((u64)SEL_DATA), "r"((u64)SEL_CODE) : "rcx", "memory", "cc");
	check_at("IRET: taken at once", w_iret);
	taken = 0;
	self_ipi(V1);
	__asm__ volatile("mov %%ss, %%eax\n sti\n mov %%eax, %%ss\nw_ss: nop\nw_ss2: nop\n cli" : : : "rax", "memory");
	report(taken == 1 && (log_[0].rip == (u64)w_ss || log_[0].rip == (u64)w_ss2), "STI, MOV SS", "%d taken at %lx",
		taken, log_[0].rip);
	taken = 0;
	self_ipi(V1);
	__asm__ volatile("sti\n hlt\nw_hlt: cli" : : : "memory");
	check_at("STI, HLT: wakes and goes on behind it", w_hlt);
	taken = 0;
	sti();
	self_ipi(V1);
	for (int i = 0; i < 1000 && !taken; i++)
		nop();
	cli();
	check_eq("self-IPI with IF set", (u64)taken, 1);
	/* From CPL 3. */
}

void u_spin(void), u_int(void);
extern char u_spin_loop[], u_spin_end[];
__asm__(".pushsection .user.text, \"ax\", @progbits\nu_spin: xor %eax, %eax\nu_spin_loop: inc %eax\n"
	"cmp $100000000, %eax\n jne u_spin_loop\nu_spin_end: int $0x81\n.popsection");

static void on_leave_spin(struct frame *f)
{
	on_apic(f);
	f->rip = (u64)u_spin_end;
}

static void arm_timer(u32 count, u32 mode)
{
	apic_write(APIC_TDCR, 0xb);	/* divide by 1 */
	apic_write(APIC_LVTT, V_TIMER | mode);
	apic_write(APIC_TMICT, count);
}

static void test_user(void)
{
	taken = 0;
	self_ipi(V1);
	trap_handle(V1, on_leave_spin);
	user_run_flags(u_spin, 0, FL_1 | FL_IF, SEL_USER_CODE, user_stack_top - 64);
	report(taken == 1 && log_[0].rip == (u64)u_spin, "an interrupt at the entry to CPL 3", "%d taken at %lx", taken,
		log_[0].rip);
	trap_handle(V_TIMER, on_leave_spin);
	for (int i = 0; i < 20; i++) {
		taken = 0;
		arm_timer(200000, 0);
		user_run_flags(u_spin, 0, FL_1 | FL_IF, SEL_USER_CODE, user_stack_top - 64);
		if (taken != 1 || trap.vector != NO_TRAP || trap.f.rax == 0)
			break;
	}
	report(taken == 1 && trap.vector == NO_TRAP, "a timer interrupt in a loop at CPL 3", "%d taken, vector %d",
		taken, trap.vector);
	trap_handle(V1, on_apic);
	trap_handle(V_TIMER, on_apic);
}

/* --- loops that only an interrupt ends --- */
static char *break_to;
static void on_break(struct frame *f)
{
	on_apic(f);
	f->rip = (u64)break_to;
}

extern char loop_1_end[], loop_2_end[], loop_3_end[], loop_4_end[];

static void test_loops(void)
{
	u64 rcx, rdi, r;

	trap_handle(V_TIMER, on_break);
	taken = 0;
	break_to = loop_1_end;
	arm_timer(100000, 0);
	__asm__ volatile("sti\n1: jmp 1b\n.globl loop_1_end\nloop_1_end: cli" : : : "memory");
	check_eq("jmp to itself is interrupted", (u64)taken, 1);
	taken = 0;
	break_to = loop_2_end;
	arm_timer(100000, 0);
	__asm__ volatile("sti\n lea 1f(%%rip), %%rax\n1: jmp *%%rax\nloop_2_end: cli" : : : "rax", "memory");
	check_eq("an indirect jump to itself is interrupted", (u64)taken, 1);
	taken = 0;
	break_to = loop_3_end;
	arm_timer(100000, 0);
	__asm__ volatile("mov %%rsp, %%rbx\n lea 1f(%%rip), %%rax\n push %%rax\n push %%rax\n sti\n1: sub $8, %%rsp\n"
		"mov %%rax, (%%rsp)\n ret\n"
			 "loop_3_end: cli\n mov %%rbx, %%rsp" : : : "rax", "rbx", "memory", "cc");
	check_eq("a loop of returns is interrupted", (u64)taken, 1);
	if (under_tcg())
		return;		/* LOOP to itself is never interrupted there, and a storm lets nothing through */
	taken = 0;
	break_to = loop_4_end;
	arm_timer(100000, 0);
	__asm__ volatile("xor %%ecx, %%ecx\n sti\n1: loop 1b\n jmp 1b\nloop_4_end: cli" : : : "rcx", "memory");
	check_eq("loop is interrupted", (u64)taken, 1);
	/* A long REP: interrupted in the middle with registers that go on. */
	trap_handle(V_TIMER, on_apic);
	taken = 0;
	arm_timer(20000 * (u32)(50 / scaled(50)), 0x20000);
	rcx = 4 << 20, rdi = 20 << 20;
	sti();
	__asm__ volatile("rep stosb" : "+c"(rcx), "+D"(rdi) : "a"(0x5a) : "memory");
	cli();
	arm_timer(0, 0);
	r = taken;
	report(!rcx && rdi == 24 << 20 && *(u64 *)(23 << 20) == 0x5a5a5a5a5a5a5a5a, "rep stosb under interrupts",
		"rcx %lx rdi %lx, %lu interrupts", rcx, rdi, r);
	wait_us(1000);
	sti();
	nop();
	nop();
	cli();
}

/* --- priorities --- */
static void on_nested(struct frame *f)
{
	note(f);
	if (f->vector == V2) {
		self_ipi(V1);	/* lower: waits */
		self_ipi(V3);	/* higher: nests */
		sti();
		nop();
		nop();
		cli();
		note(f);
	}
	apic_eoi();
}

static void test_priorities(void)
{
	taken = 0;
	write_cr8(5);
	check_eq("CR8 and TPR", apic_read(APIC_TPR), 0x50);
	apic_write(APIC_TPR, 0x63);
	check_eq("TPR and CR8", read_cr8(), 6);
	check_eq("PPR follows TPR", apic_read(APIC_PPR), 0x63);
	self_ipi(V1);
	self_ipi(V2);
	self_ipi(V3);
	sti();
	for (int i = 0; i < 100; i++)
		nop();
	cli();
	report(taken == 1 && log_[0].vector == V3, "TPR holds back its class and lower ones", "%d taken, first %x",
		taken, log_[0].vector);
	sti();
	write_cr8(5);
	nop();
	cli();
	report(taken == 2 && log_[1].vector == V2, "CR8 lowered lets one in", "%d taken, second %x", taken, log_[1].vector);
	write_cr8(0);
	sti();
	nop();
	nop();
	cli();
	report(taken == 3 && log_[2].vector == V1, "CR8 at zero lets all in", "%d taken, third %x", taken, log_[2].vector);
	taken = 0;
	self_ipi(V2);
	self_ipi(V1);
	self_ipi(V3);
	sti();
	nop();
	nop();
	cli();
	report(taken == 3 && log_[0].vector == V3 && log_[1].vector == V2 && log_[2].vector == V1,
		"waiting interrupts by priority", "%d: %x %x %x", taken,
	       log_[0].vector, log_[1].vector, log_[2].vector);
	trap_handle(V1, on_nested);
	trap_handle(V2, on_nested);
	trap_handle(V3, on_nested);
	taken = 0;
	self_ipi(V2);
	sti();
	nop();
	nop();
	cli();
	report(taken == 4 && log_[0].vector == V2 && log_[1].vector == V3 && log_[2].vector == V2 && log_[3].vector == V1,
	       "nesting by priority, the lower after EOI", "%d: %x %x %x %x", taken, log_[0].vector, log_[1].vector,
	       	log_[2].vector, log_[3].vector);
	trap_handle(V1, on_apic);
	trap_handle(V2, on_apic);
	trap_handle(V3, on_apic);
	report(!apic_isr(V1) && !apic_isr(V2) && !apic_isr(V3) && !apic_irr(V1), "ISR and IRR are empty",
		"isr %d %d %d", apic_isr(V1), apic_isr(V2), apic_isr(V3));
	/* The same vector twice while it waits is one interrupt. */
	taken = 0;
	self_ipi(V1);
	self_ipi(V1);
	sti();
	nop();
	nop();
	cli();
	check_eq("one vector sent twice", (u64)taken, 1);
	TRY("int $0x51", : : "memory");
	check_eq("INT n of an interrupt's vector", (u64)taken, 2);
}

/* --- NMI --- */
static volatile int nmis, nmi_depth, nmi_depth_max, nmi_seen_inside, nmi_mode;

static void send_nmi(void)
{
	if (x2apic) {
		wrmsr(0x830, rdmsr(0x802) << 32 | 0x400);
	} else {
		apic_write(APIC_ICR2, apic_read(APIC_ID));
		apic_write(APIC_ICR, 0x400);
	}
}

static void on_nmi(struct frame *f)
{
	int n = ++nmis;

	nmi_depth++;
	if (nmi_depth > nmi_depth_max)
		nmi_depth_max = nmi_depth;
	if (n == 1 && nmi_mode) {
		send_nmi();
		for (int i = 0; i < 1000; i++)
			nop();
		nmi_seen_inside = nmis - 1;
		if (nmi_mode == 2) {	/* a trap's IRET inside opens the gate */
			__asm__ volatile("int3");
			for (int i = 0; i < 100; i++)
				nop();
			nmi_seen_inside = nmis - 1;
		}
	}
	nmi_depth--;
}

static void on_nothing(struct frame *f) { }

static void test_nmi(void)
{
	trap_handle(NMI, on_nmi);
	trap_handle(BP, on_nothing);
	nmis = 0;
	nmi_mode = 0;
	cli();
	send_nmi();
	for (int i = 0; i < 1000 && !nmis; i++)
		nop();
	check_eq("NMI to itself, IF clear", (u64)nmis, 1);
	nmis = nmi_depth_max = 0;
	nmi_mode = 1;
	send_nmi();
	for (int i = 0; i < 1000 && nmis < 2; i++)
		nop();
	report(nmis == 2 && nmi_seen_inside == 0 && nmi_depth_max == 1, "an NMI in an NMI waits for IRET",
		"%d NMIs, %d inside, depth %d", nmis, nmi_seen_inside,
	       nmi_depth_max);
	nmis = nmi_depth_max = 0;
	nmi_mode = 2;
	send_nmi();
	for (int i = 0; i < 1000 && nmis < 2; i++)
		nop();
	report(nmis == 2 && nmi_seen_inside == 1 && nmi_depth_max == 2, "an IRET inside opens for the next NMI",
		"%d NMIs, %d inside, depth %d", nmis,
	       nmi_seen_inside, nmi_depth_max);
	nmis = 0;
	nmi_mode = 0;
	__asm__ volatile("" : : : "memory");
	send_nmi();
	__asm__ volatile("cli" : : : "memory");
	wait_us(10);
	check_eq("NMI once more", (u64)nmis, 1);
	for (int i = 0; i < 500; i++)
		send_nmi();
	report(nmis > 400, "500 NMIs", "%d", nmis);
	trap_handle(NMI, NULL);
	trap_handle(BP, NULL);
}

/* --- PIC and PIT --- */
static void on_pic(struct frame *f)
{
	note(f);
	if (f->vector >= 0x28)
		outb(0xa0, 0x20);
	outb(0x20, 0x20);
}

static u8 pic_read(u8 ocw3)
{
	outb(0x20, ocw3);
	return inb(0x20);
}

static void wait_taken(int n, u64 us)
{
	u64 start = rdtsc(), ticks = us * tsc_khz() / 1000;

	sti();
	while (taken < n && rdtsc() - start < ticks)
		__asm__ volatile("pause");
	cli();
}

/* No more ticks than the time allows; a starved host loses some, so few are enough. */
static void check_ticks(const char *name, u64 us, u64 period)
{
	u64 start = rdtsc();
	u64 allowed;
	int n;

	taken = 0;
	wait_taken(1 << 20, us);
	n = taken;
	allowed = (rdtsc() - start) * 1000 / tsc_khz() / period + 2;
	report(n >= 2 && (u64)n <= allowed, name, "%d ticks, %lu allowed", n, allowed);
}

static void test_pic(void)
{

	for (int v = 0x20; v < 0x30; v++)
		trap_handle(v, on_pic);
	apic_write(APIC_LVT0, 0x700);	/* ExtINT: the virtual wire */
	pic_init(0xff, 0xff);
	pit_set(0, 0, 1000);
	wait_us(3000);
	taken = 0;
	sti();
	nop();
	nop();
	cli();
	check_eq("PIC: masked", (u64)taken, 0);
	check_eq("PIC: IRR shows it", pic_read(0x0a) & 1, 1);
	outb(0x21, 0xfe);
	wait_taken(1, 300000);
	report(taken == 1 && log_[0].vector == 0x20, "PIC: PIT mode 0 after unmasking", "%d taken, vector %x", taken,
		log_[0].vector);
	taken = 0;
	pit_set(0, 0, 2000);
	wait_taken(1, 300000);
	check_eq("PIC: one-shot", (u64)taken, 1);
	wait_taken(2, 5000);
	check_eq("PIC: one-shot is once", (u64)taken, 1);
	pit_set(0, 2, 1193);
	check_ticks("PIC: PIT at 1 kHz", 50000, 1000);
	pit_set(0, 3, 11932);
	check_ticks("PIC: PIT mode 3 at 100 Hz", 100000, 10000);
	taken = 0;
	for (int i = 0; i < 5; i++)
		hlt_wait();
	report(taken >= 5, "PIC: HLT wakes each tick", "%d ticks", taken);
	/* Masked at the APIC: nothing arrives. */
	apic_write(APIC_LVT0, 0x10700);
	taken = 0;
	wait_taken(1, 30000);
	check_eq("LVT0 masked: no PIC interrupts", (u64)taken, 0);
	apic_write(APIC_LVT0, 0x700);
	wait_taken(1, 300000);
	report(taken >= 1, "LVT0 unmasked", "%d taken", taken);
	/* In service: no further one until EOI. */
	pit_set(0, 2, 1193);
	trap_handle(0x20, note);
	taken = 0;
	wait_taken(1, 300000);
	wait_taken(2, 10000);
	check_eq("PIC: none without EOI", (u64)taken, 1);
	check_eq("PIC: ISR", pic_read(0x0b) & 1, 1);
	outb(0x20, 0x60);	/* specific EOI of IRQ 0 */
	check_eq("PIC: ISR after EOI", pic_read(0x0b) & 1, 0);
	trap_handle(0x20, on_pic);
	/* The serial port's THRE interrupt, IRQ 4: level above, edge at the PIC. */
	outb(0x21, 0xef);
	taken = 0;
	outb(0x3fc, 0x0b);	/* OUT2 */
	outb(0x3f9, 2);
	wait_taken(1, 300000);
	report(taken >= 1 && log_[0].vector == 0x24, "PIC: serial THRE", "%d taken, vector %x", taken, log_[0].vector);
	check_eq("serial IIR", inb(0x3fa) & 0xf, taken ? 2 : 1);
	outb(0x3f9, 0);
	/* RTC: periodic, IRQ 8 through the second PIC. */
	outb(0x21, 0xfb);
	outb(0xa1, 0xfe);
	outb(0x70, 0x8a);
	outb(0x71, 0x26);
	outb(0x70, 0x8c);
	inb(0x71);
	outb(0x70, 0x8b);
	outb(0x71, (inb(0x71) & 0x07) | 0x42);
	taken = 0;
	for (int i = 0; i < 3; i++) {
		wait_taken(i + 1, 300000);
		outb(0x70, 0x8c);
		inb(0x71);
	}
	report(taken >= 3 && log_[0].vector == 0x28, "PIC: RTC periodic through the second PIC", "%d taken, vector %x",
		taken, log_[0].vector);
	outb(0x70, 0x8b);
	outb(0x71, 0x02);
	outb(0x70, 0x8c);
	inb(0x71);
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	pit_set(0, 0, 0xffff);
	apic_write(APIC_LVT0, 0x10000);
}

/* --- IO-APIC --- */
static volatile u32 remote_irr;
static void on_level(struct frame *f)
{
	note(f);
	remote_irr = ioapic_read(0x10 + 2 * 4);
	if (taken >= 3)
		outb(0x3f9, 0);	/* the serial port lets go of its line */
	apic_eoi();
}

static void ioapic_route(int pin, u32 low)
{
	ioapic_write((u8)(0x10 + 2 * pin + 1), apic_read(APIC_ID) >> (x2apic ? 0 : 24) << 24);
	ioapic_write((u8)(0x10 + 2 * pin), low);
}

static void test_ioapic(void)
{
	u32 version = ioapic_read(1);

	report((version >> 16 & 0xff) == 23 && (version & 0xff) >= 0x11, "IO-APIC version: 24 pins", "%x", version);
	for (int pin = 0; pin < 24; pin++)
		ioapic_route(pin, 0x10000);
	trap_handle(V1, on_apic);
	pit_set(0, 0, 0xffff);
	taken = 0;
	ioapic_route(2, V1);
	pit_set(0, 0, 2000);
	wait_taken(1, 300000);
	report(taken == 1 && log_[0].vector == V1, "IO-APIC: PIT on pin 2, edge", "%d taken, vector %x", taken,
		log_[0].vector);
	pit_set(0, 2, 1193);
	check_ticks("IO-APIC: PIT at 1 kHz", 50000, 1000);
	ioapic_route(2, V1 | 0x10000);
	taken = 0;
	wait_taken(1, 10000);
	report(taken <= 1, "IO-APIC: masked pin", "%d taken", taken);
	pit_set(0, 0, 0xffff);
	wait_taken(100, 100);
	/* Level: comes again until the device lets go. */
	trap_handle(V2, on_level);
	taken = 0;
	ioapic_route(4, V2 | 0x8000);
	outb(0x3fc, 0x0b);
	outb(0x3f9, 2);
	wait_taken(3, 300000);
	wait_taken(100, 1000);
	check_eq("IO-APIC: level comes again after EOI", (u64)taken, 3);
	check_eq("IO-APIC: remote IRR in service", remote_irr >> 14 & 1, 1);
	check_eq("IO-APIC: remote IRR afterwards", ioapic_read(0x10 + 2 * 4) >> 14 & 1, 0);
	ioapic_route(4, 0x10000);
	outb(0x3f9, 0);
	/* Level, masked while asserted, then unmasked. */
	taken = 0;
	outb(0x3f9, 2);
	ioapic_route(4, V2 | 0x18000);
	wait_taken(1, 2000);
	check_eq("IO-APIC: masked level", (u64)taken, 0);
	ioapic_route(4, V2 | 0x8000);
	wait_taken(3, 300000);
	wait_taken(100, 1000);
	check_eq("IO-APIC: unmasked while asserted", (u64)taken, 3);
	ioapic_route(4, 0x10000);
	outb(0x3f9, 0);
	trap_handle(V2, on_apic);
	/* Logical destination and lowest priority. */
	apic_write(APIC_LDR, 1u << 24);
	apic_write(APIC_DFR, 0xffffffff);
	taken = 0;
	ioapic_write(0x10 + 2 * 2 + 1, 1u << 24);
	ioapic_write(0x10 + 2 * 2, V1 | 0x900);	/* logical, lowest priority */
	pit_set(0, 0, 2000);
	wait_taken(1, 300000);
	check_eq("IO-APIC: logical, lowest priority", (u64)taken, 1);
	ioapic_write(0x10 + 2 * 2 + 1, 2u << 24);
	pit_set(0, 0, 2000);
	wait_taken(2, 5000);
	check_eq("IO-APIC: another logical destination", (u64)taken, 1);
	ioapic_route(2, 0x10000);
	pit_set(0, 0, 0xffff);
}

/* --- a storm that a computation must not notice --- */
static u64 compute(void)
{
	u64 a = 1, b = 2, c = 3, i = scaled(200000), r;

	__asm__ volatile("xor %%r8d, %%r8d\n mov $7, %%r9d\n mov $11, %%r14d\n mov $13, %%r15d\n"
		"cvtsi2sd %3, %%xmm5\n"
			 "1: add %0, %1\n adc %1, %2\n rol $7, %2\n sbb %%r8, %0\n xor %2, %0\n imul %%r9, %1\n"
			 	"add %%r14, %%r15\n xor %%r15, %%r14\n"
			 "push %0\n push %1\n pop %%r10\n pop %%r11\n add %%r10, %%r8\n cmp %%r11, %%r8\n cmovb %%r11, %%r8\n"
			 	"setc %%r10b\n"
			 "addsd %%xmm5, %%xmm5\n call 2f\n dec %3\n jnz 1b\n jmp 3f\n2: lea (%%r8, %%r14), %%r8\n ret\n"
			 	"3: mov %%r8, %4\n xor %%r15, %4\n"
			 "movq %%xmm5, %%r8\n xor %%r8, %4" : "+&r"(a), "+&r"(b), "+&r"(c), "+&r"(i), "=&r"(r)
			 : : "r8", "r9", "r10", "r11", "r14", "r15", "memory", "cc");
	return a ^ b << 1 ^ c << 2 ^ r << 3;
}

static void test_storm(void)
{
	u64 want = compute(), got, bad = 0;
	int n;

	trap_handle(V_TIMER, on_apic);
	taken = 0;
	arm_timer(20000 * (u32)(50 / scaled(50)), 0x20000);	/* every 20 us if it counts at 1 GHz */
	for (int i = 0; i < 10; i++) {
		sti();
		got = compute();
		cli();
		bad += got != want;
	}
	n = taken;
	arm_timer(0, 0x10000);
	report(!bad && n > 5, "a computation under a storm of interrupts", "%lu of 10 wrong, %d interrupts", bad, n);
	sti();
	nop();
	nop();
	cli();
}

void metal_main(void)
{
	apic_enable();
	for (int i = 0; i < 3; i++)
		trap_handle((int[]){V1, V2, V3}[i], on_apic);
	trap_handle(V_TIMER, on_apic);
	trap_handle(0xff, note);
	pic_init(0xff, 0xff);
	tsc_khz();
	test_windows();
	test_user();
	test_loops();
	test_priorities();
	test_nmi();
	test_pic();
	test_ioapic();
	test_storm();
	if (apic_enter_x2()) {
		print("x2APIC:\n");
		test_windows();
		test_priorities();
		test_nmi();
		test_storm();
	}
}
