// SPDX-License-Identifier: MIT
//
// The local APIC by itself: priorities, EOI, errors, IPIs, the timer in each mode, the two register forms.
#include "cpu_harness.h"

enum { ID = 0x20, TPR = 0x80, PPR = 0xa0, EOI = 0xb0, LDR = 0xd0, DFR = 0xe0, SVR = 0xf0, ISR = 0x100, TMR = 0x180,
	IRR = 0x200, ESR = 0x280, ICR = 0x300, ICR2 = 0x310, LVTT = 0x320, LINT0 = 0x350, LVTERR = 0x370, TMICT = 0x380,
	TMCCT = 0x390, TDCR = 0x3e0 };

static uint32_t rd(uint32_t off)
{
	return lapic_mmio_read(test_vcpu, off, 4);
}

static void wr(uint32_t off, uint32_t value)
{
	lapic_mmio_write(test_vcpu, off, 4, value);
}

static void fresh(void)
{
	test_vcpu->apic_base = APIC_BASE_DEFAULT | APIC_BASE_ENABLE | APIC_BASE_BSP;
	lapic_reset(test_vcpu);
	test_vcpu->pending = 0;
	test_vcpu->lapic.hooks = (struct lapic_hooks){0};
	wr(SVR, 0x1ff);
}

static void fixed(uint8_t vector)
{
	lapic_deliver(test_vcpu, vector, LAPIC_FIXED, LAPIC_EDGE);
}

static void test_reset_state(void)
{
	struct vcpu *v = test_vcpu;

	lapic_reset(v);
	CHECK_EQ(rd(0x30), 0x50014);
	CHECK_EQ(rd(SVR), 0xff);
	CHECK_EQ(rd(DFR), 0xffffffff);
	for (unsigned off = LVTT; off <= LVTERR; off += 0x10)
		CHECK_EQ(rd(off), 0x10000);
	fixed(0x30); // software-disabled: not accepted
	CHECK_EQ(lapic_pending_vector(v), -1);
	wr(LINT0, 0x700);
	CHECK_EQ(rd(LINT0), 0x10700); // mask cannot be cleared
	CHECK(!lapic_accept_extint(v));
	lapic_firmware_setup(v);
	CHECK(lapic_accept_extint(v));
	wr(LINT0, 0x10700);
	CHECK(!lapic_accept_extint(v));
}

static void test_priorities(void)
{
	struct vcpu *v = test_vcpu;

	fresh();
	fixed(0x31);
	CHECK(v->pending & PENDING_IRQ);
	fixed(0x51);
	fixed(0x5f);
	CHECK_EQ(lapic_pending_vector(v), 0x5f);
	CHECK_EQ(lapic_ack(v), 0x5f);
	CHECK_EQ(rd(PPR), 0x50);
	CHECK_EQ(rd(ISR + 0x20), BIT(31));
	CHECK_EQ(rd(IRR + 0x20), BIT(17));
	CHECK_EQ(lapic_pending_vector(v), -1); // 0x51 is of the same class
	CHECK_EQ(lapic_ack(v), 0xff);          // spurious
	fixed(0x60);
	CHECK_EQ(lapic_ack(v), 0x60);
	wr(EOI, 0);
	CHECK_EQ(rd(PPR), 0x50);
	v->pending = 0;
	wr(EOI, 0);
	CHECK(v->pending & PENDING_IRQ);
	CHECK_EQ(lapic_pending_vector(v), 0x51);
	wr(TPR, 0x5a);
	CHECK_EQ(lapic_get_cr8(v), 5);
	CHECK_EQ(rd(PPR), 0x5a);
	CHECK_EQ(lapic_pending_vector(v), -1);
	v->pending = 0;
	lapic_set_cr8(v, 4);
	CHECK(v->pending & PENDING_IRQ);
	CHECK_EQ(rd(TPR), 0x40);
	CHECK_EQ(lapic_ack(v), 0x51);
	wr(EOI, 0);
	lapic_set_cr8(v, 0);
	CHECK_EQ(lapic_ack(v), 0x31);
	wr(EOI, 0);
	wr(EOI, 0); // with nothing in service: nothing
	CHECK_EQ(rd(PPR), 0);
}

static int eois[4], neois;

static void note_eoi(void *opaque, uint8_t vector)
{
	eois[neois++ & 3] = vector;
}

static void test_level(void)
{
	struct vcpu *v = test_vcpu;

	fresh();
	v->lapic.hooks.eoi = note_eoi;
	lapic_deliver(v, 0x41, LAPIC_FIXED, LAPIC_LEVEL);
	CHECK_EQ(rd(TMR + 0x20), BIT(1));
	CHECK_EQ(lapic_ack(v), 0x41);
	wr(EOI, 0);
	CHECK_EQ(neois, 1);
	CHECK_EQ(eois[0], 0x41);
	fixed(0x41);
	CHECK_EQ(rd(TMR + 0x20), 0);
	lapic_ack(v);
	wr(EOI, 0);
	CHECK_EQ(neois, 1);
	// A level-triggered local pin asks again while it is asserted.
	wr(LINT0, 0x8000 | 0x55);
	lapic_set_lint(v, 0, true);
	CHECK_EQ(rd(LINT0), 0x8000 | 0x4000 | 0x55);
	CHECK_EQ(lapic_ack(v), 0x55);
	wr(EOI, 0);
	CHECK_EQ(lapic_ack(v), 0x55);
	lapic_set_lint(v, 0, false);
	wr(EOI, 0);
	CHECK_EQ(lapic_pending_vector(v), -1);
	CHECK_EQ(rd(LINT0), 0x8000 | 0x55);
}

static void test_errors(void)
{
	struct vcpu *v = test_vcpu;

	fresh();
	wr(LVTERR, 0xfe);
	fixed(5);
	CHECK_EQ(rd(ESR), 0);
	wr(ESR, 0);
	CHECK_EQ(rd(ESR), 0x40);
	CHECK_EQ(lapic_ack(v), 0xfe);
	wr(EOI, 0);
	wr(ICR, 0x40000 | 3);
	rd(0x400);
	wr(ESR, 0);
	CHECK_EQ(rd(ESR), 0x20 | 0x80);
	wr(ESR, 0);
	CHECK_EQ(rd(ESR), 0);
}

static void test_ipis(void)
{
	struct vcpu *v = test_vcpu;

	fresh();
	wr(ICR, 0x40000 | 0x71); // self
	CHECK_EQ(lapic_ack(v), 0x71);
	wr(EOI, 0);
	wr(ICR, 0xc0000 | 0x71); // all but self
	CHECK_EQ(lapic_pending_vector(v), -1);
	wr(ICR2, 1u << 24);
	wr(ICR, 0x72); // another's ID
	CHECK_EQ(lapic_pending_vector(v), -1);
	wr(ICR2, 0);
	wr(ICR, 0x72);
	CHECK_EQ(lapic_ack(v), 0x72);
	wr(EOI, 0);
	wr(LDR, 0x04000000);
	wr(ICR2, 0x0c000000);
	wr(ICR, 0x900 | 0x73); // logical, flat, lowest priority
	CHECK_EQ(lapic_ack(v), 0x73);
	wr(EOI, 0);
	wr(DFR, 0x0fffffff); // cluster model
	wr(ICR2, 0x14000000);
	wr(ICR, 0x800 | 0x74);
	CHECK_EQ(lapic_pending_vector(v), -1);
	wr(ICR2, 0x04000000);
	wr(ICR, 0x800 | 0x74);
	CHECK_EQ(lapic_ack(v), 0x74);
	wr(EOI, 0);
	v->pending = 0;
	wr(ICR, 0x40400);
	CHECK_EQ(v->pending, PENDING_NMI);
	v->pending = 0;
	wr(ICR, 0x80000 | 0x4500);
	CHECK_EQ(v->pending, PENDING_INIT);
	wr(ICR, 0x80000 | 0x8500); // INIT level de-assert
	wr(ICR, 0x80000 | 0x4609);
	CHECK_EQ(v->pending, PENDING_INIT | PENDING_SIPI);
	CHECK_EQ(v->sipi_vector, 9);
}

static int take(uint8_t vector)
{
	if (lapic_pending_vector(test_vcpu) != vector)
		return 0;
	lapic_ack(test_vcpu);
	lapic_eoi(test_vcpu);
	return 1;
}

static void test_oneshot(void)
{
	uint64_t t0;

	fresh();
	wr(TDCR, 0xb); // 1
	wr(LVTT, 0x40);
	t0 = clock_ns;
	wr(TMICT, 100000);
	CHECK_EQ(rd(TMCCT), 100000);
	run_until(t0 + 40000);
	CHECK_EQ(rd(TMCCT), 60000);
	run_until(t0 + 99999);
	CHECK(!take(0x40));
	run_until(t0 + 100000);
	CHECK(take(0x40));
	CHECK_EQ(rd(TMCCT), 0);
	run_until(t0 + 900000);
	CHECK(!take(0x40));
	// Divided by 16, and changed to 2 while it runs: the count goes on from where it stands.
	wr(TDCR, 3);
	t0 = clock_ns;
	wr(TMICT, 1000);
	run_until(t0 + 8000);
	CHECK_EQ(rd(TMCCT), 500);
	wr(TDCR, 0);
	run_until(t0 + 8999);
	CHECK(!take(0x40));
	run_until(t0 + 9000);
	CHECK(take(0x40));
	// Masked: counts, does not interrupt. Count 0 stops.
	wr(LVTT, 0x10040);
	wr(TMICT, 100);
	run_until(clock_ns + 1000);
	CHECK(!take(0x40));
	wr(LVTT, 0x40);
	wr(TMICT, 100);
	wr(TMICT, 0);
	run_until(clock_ns + 1000);
	CHECK(!take(0x40));
}

static void test_periodic(void)
{
	uint64_t t0;
	int n = 0;

	fresh();
	wr(TDCR, 0xb);
	wr(LVTT, 0x20040);
	t0 = clock_ns;
	wr(TMICT, 10000);
	for (unsigned i = 1; i <= 100; i++) {
		run_until(t0 + i * 10000);
		n += take(0x40);
	}
	CHECK_EQ(n, 100);
	CHECK_EQ(rd(TMCCT), 10000);
	// Starved for 5.5 periods: one interrupt, and the phase is kept.
	clock_ns += 55000;
	run_until(clock_ns);
	CHECK(take(0x40));
	CHECK_EQ(rd(TMCCT), 5000);
	run_until(clock_ns + 4999);
	CHECK(!take(0x40));
	run_until(clock_ns + 1);
	CHECK(take(0x40));
	wr(TMICT, 1); // absurdly fast: still no storm
	run_until(clock_ns + 1000000);
	CHECK(take(0x40));
}

static void test_tsc_deadline(void)
{
	struct vcpu *v = test_vcpu;
	uint64_t deadline = vcpu_tsc(v) + 2000000000;

	fresh();
	lapic_set_tsc_deadline(v, deadline);
	CHECK_EQ(lapic_get_tsc_deadline(v), 0); // not in this mode
	wr(LVTT, 0x40040);
	wr(TMICT, 100);
	CHECK_EQ(rd(TMICT), 0);
	lapic_set_tsc_deadline(v, deadline);
	CHECK_EQ(lapic_get_tsc_deadline(v), deadline);
	CHECK(v->lapic.timer.deadline > clock_ns && v->lapic.timer.deadline <= clock_ns + 2000000000);
	v->lapic.timer.fire(v, clock_ns); // too early by the TSC: armed again
	CHECK(!take(0x40));
	CHECK(v->lapic.timer.deadline);
	v->tsc_offset += 3000000000; // as a write to the TSC does
	lapic_tsc_changed(v);
	CHECK(take(0x40));
	CHECK_EQ(lapic_get_tsc_deadline(v), 0);
	CHECK_EQ(v->lapic.timer.deadline, 0);
	lapic_set_tsc_deadline(v, 1); // long past
	CHECK(take(0x40));
	lapic_set_tsc_deadline(v, UINT64_MAX);
	CHECK(v->lapic.timer.deadline > clock_ns);
	wr(LVTT, 0x40); // leaving the mode disarms
	CHECK_EQ(v->lapic.timer.deadline, 0);
	wr(LVTT, 0x40040);
	CHECK_EQ(lapic_get_tsc_deadline(v), 0);
}

static void test_x2apic(void)
{
	struct vcpu *v = test_vcpu;
	uint64_t base, value;

	fresh();
	base = v->apic_base;
	CHECK(lapic_claims(v, 0xfee00030));
	CHECK(!lapic_claims(v, 0xfee01000));
	CHECK(!lapic_msr_read(v, 0x802, &value));
	CHECK(!lapic_set_base(v, base | BIT(9)));
	CHECK(!lapic_set_base(v, (base & ~(uint64_t)APIC_BASE_ENABLE) | APIC_BASE_X2APIC));
	CHECK(lapic_set_base(v, base | APIC_BASE_X2APIC));
	CHECK(!lapic_claims(v, 0xfee00030));
	CHECK(!lapic_set_base(v, base)); // not back to xAPIC
	CHECK(lapic_msr_read(v, 0x80d, &value) && value == 1);
	CHECK(!lapic_msr_write(v, 0x80d, 1));
	CHECK(!lapic_msr_write(v, 0x802, 0));
	CHECK(!lapic_msr_read(v, 0x80e, &value)); // DFR is gone
	CHECK(!lapic_msr_read(v, 0x831, &value));
	CHECK(!lapic_msr_read(v, 0x80b, &value)); // EOI is write-only
	CHECK(!lapic_msr_write(v, 0x80b, 1));
	CHECK(!lapic_msr_write(v, 0x808, 0x100));
	CHECK(lapic_msr_write(v, 0x835, 0x5700)); // status bits may be written, as Linux does, and stay as they were
	CHECK(lapic_msr_read(v, 0x835, &value) && value == 0x700);
	CHECK(!lapic_msr_write(v, 0x835, 0x20700));
	CHECK(lapic_msr_write(v, 0x83f, 0x90)); // SELF IPI
	CHECK_EQ(lapic_ack(v), 0x90);
	CHECK(lapic_msr_write(v, 0x80b, 0));
	CHECK(lapic_msr_write(v, 0x830, 0x91)); // to ID 0
	CHECK_EQ(lapic_ack(v), 0x91);
	CHECK(lapic_msr_write(v, 0x80b, 0));
	CHECK(lapic_msr_write(v, 0x830, UINT64_C(0xffffffff00000092)));
	CHECK_EQ(lapic_ack(v), 0x92);
	CHECK(lapic_msr_write(v, 0x80b, 0));
	CHECK(lapic_msr_write(v, 0x830, UINT64_C(0x0000000100000893))); // logical
	CHECK_EQ(lapic_ack(v), 0x93);
	CHECK(lapic_msr_write(v, 0x80b, 0));
	CHECK(lapic_set_base(v, base & ~(uint64_t)APIC_BASE_ENABLE));
	CHECK(!lapic_set_base(v, base | APIC_BASE_X2APIC)); // disabled goes to xAPIC only
	CHECK(!(cpuid_query(v, 1, 0).edx & BIT(9)));
	CHECK(lapic_accept_extint(v));
	CHECK(lapic_set_base(v, base));
	CHECK_EQ(rd(SVR), 0xff); // its state was lost
}

int main(void)
{
	make_vcpu();
	test_reset_state();
	test_priorities();
	test_level();
	test_errors();
	test_ipis();
	test_oneshot();
	test_periodic();
	test_tsc_deadline();
	test_x2apic();
	return finish();
}
