// SPDX-License-Identifier: MIT
//
// Delivery and return: frames, stacks, error codes, flags, CR2, DR6; round trips through IRETQ with random state;
// double and triple faults; software interrupts; and the same in 32-bit protected mode and real mode.
#include "cpu_long.h"

static uint64_t seed = 0x9e3779b97f4a7c15u;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	return seed ^= seed << 17;
}

static void from_user(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	set_cpl(3);
	v->rflags = 2 | RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_AC | RFLAGS_CF;
	v->gpr[X86_RSP] = USTACK + 5;
	raise_and_land(VEC_GP, 0x1234);
	CHECK_EQ(v->rip, HANDLER + VEC_GP * 16);
	CHECK_EQ(v->cpl, 0);
	CHECK_EQ(v->seg[X86_CS].sel, SEL_KCODE);
	CHECK_EQ(v->seg[X86_SS].sel, 0);
	CHECK(v->seg[X86_SS].attr & SEG_UNUSABLE);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 48);
	CHECK_EQ(v->rflags, 2 | RFLAGS_AC | RFLAGS_CF);
	CHECK_EQ(get64(KSTACK - 48), 0x1234);
	CHECK_EQ(get64(KSTACK - 40), CODE);
	CHECK_EQ(get64(KSTACK - 32), SEL_UCODE);
	CHECK_EQ(get64(KSTACK - 24), 2 | RFLAGS_IF | RFLAGS_TF | RFLAGS_NT | RFLAGS_AC | RFLAGS_CF | RFLAGS_RF);
	CHECK_EQ(get64(KSTACK - 16), USTACK + 5);
	CHECK_EQ(get64(KSTACK - 8), SEL_UDATA);
}

static void same_level_and_ist(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->gpr[X86_RSP] = KSTACK - 0x7f9;
	put_idt(32, DESC_TRAP, 0, 0);
	v->rflags = 2 | RFLAGS_IF;
	effects.effect = 0;
	CHECK_EQ(interrupt(32, SYS_INT_EXTERNAL), -1);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 0x800 - 40);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_KDATA);
	CHECK_EQ(v->rflags, 2 | RFLAGS_IF); // a trap gate
	CHECK_EQ(get64(v->gpr[X86_RSP] + 16), 2 | RFLAGS_IF);
	CHECK_EQ(get64(v->gpr[X86_RSP] + 24), KSTACK - 0x7f9);
	make_long_mode();
	put_idt(VEC_NMI, DESC_INT, 0, 1);
	CHECK_EQ(interrupt(VEC_NMI, SYS_INT_NMI), -1);
	CHECK_EQ(v->gpr[X86_RSP], IST1 - 40);
	CHECK(v->nmi_blocked);
	CHECK_EQ(EXECUTE(0x48, 0xcf), -1);
	CHECK(!v->nmi_blocked);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 0x800);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_KDATA);
}

static void page_fault(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	page_fault_at(UINT64_C(0xffff800000001234), PF_W);
	CHECK_EQ(v->cr2, UINT64_C(0xffff800000001234));
	CHECK_EQ(get64(v->gpr[X86_RSP]), PF_W);
	CHECK_EQ(v->rip, HANDLER + VEC_PF * 16);
}

static void debug_exception(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->dr[6] = 0xffff0ff1;
	v->dr[7] = 0x2400;
	CHECK_FAULT(VEC_DB, 0, 0x0f, 0x21, 0xc0); // mov rax, dr0 under GD
	land();
	CHECK_EQ(v->dr[6], 0xffff0ff0 | BIT(13));
	CHECK_EQ(v->dr[7], 0x400);
	CHECK_EQ(get64(v->gpr[X86_RSP] + 16) & RFLAGS_RF, RFLAGS_RF);
	make_long_mode();
	if (!jump_set(&v->landing))
		vcpu_raise_db(v, BIT(14));
	land();
	CHECK_EQ(get64(v->gpr[X86_RSP] + 16) & RFLAGS_RF, 0);
}

static void error_codes(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode(); // INT n through a gate of DPL 0: the instruction faults, EXT clear
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0x80 * 8 + 2, 0xcd, 0x80);
	land();
	CHECK_EQ(get64(KSTACK - 48), 0x80 * 8 + 2);
	CHECK_EQ(get64(KSTACK - 40), CODE);
	make_long_mode(); // the same gate with DPL 3
	set_cpl(3);
	put_idt(0x80, DESC_INT, 3, 0);
	CHECK_EQ(EXECUTE(0xcd, 0x80), -1);
	CHECK_EQ(get64(KSTACK - 40), CODE + 2);
	CHECK_EQ(get64(KSTACK - 24) & RFLAGS_RF, 0);
	CHECK(effects.effect & SYS_NO_TRAP);
	make_long_mode(); // an external interrupt through an absent gate: #NP with EXT and IDT
	put64(IDT + 33 * 16, get64(IDT + 33 * 16) & ~((uint64_t)SEG_P << 40));
	CHECK_EQ(interrupt(33, SYS_INT_EXTERNAL), VEC_NP);
	land();
	CHECK_EQ(v->rip, HANDLER + VEC_NP * 16);
	CHECK_EQ(get64(v->gpr[X86_RSP]), 33 * 8 + 2 + 1);
	make_long_mode(); // beyond the limit
	v->idtr.limit = 33 * 16 - 2;
	CHECK_EQ(interrupt(32, SYS_INT_EXTERNAL), VEC_GP);
	CHECK_EQ(v->fault.error, 32 * 8 + 2);
	make_long_mode(); // #UD whose gate names a bad code segment, then #GP with EXT
	put_gate(IDT + VEC_UD * 16, SEL_KDATA, HANDLER, DESC_INT, 0, 0);
	raise_and_land(VEC_UD, 0);
	CHECK_EQ(v->rip, HANDLER + VEC_GP * 16);
	CHECK_EQ(get64(v->gpr[X86_RSP]), SEL_KDATA + 1);
	CHECK(!v->delivering.active);
}

static void double_and_triple(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode(); // #GP whose stack is not mapped: #PF during a contributory exception is not a double fault
	put_idt(VEC_GP, DESC_INT, 0, 1);
	put64(TSS + 0x24, 0x100000000000);
	raise_and_land(VEC_GP, 0);
	CHECK_EQ(v->rip, HANDLER + VEC_PF * 16);
	CHECK_EQ(v->cr2, 0x100000000000 - 8); // SS is pushed first
	make_long_mode(); // #PF whose stack is not mapped
	put_idt(VEC_PF, DESC_INT, 0, 1);
	put64(TSS + 0x24, 0x100000000000);
	put_idt(VEC_DF, DESC_INT, 0, 2);
	put64(TSS + 0x2c, IST1);
	page_fault_at(0x1234, 0);
	CHECK_EQ(v->rip, HANDLER + VEC_DF * 16);
	CHECK_EQ(v->gpr[X86_RSP], IST1 - 48);
	CHECK_EQ(get64(IST1 - 48), 0);
	make_long_mode(); // contributory during contributory
	put64(IDT + VEC_NP * 16, 0);
	raise_and_land(VEC_NP, 8);
	CHECK_EQ(v->rip, HANDLER + VEC_DF * 16);
	make_long_mode(); // a canonical violation of the stack: #SS during #UD
	put_idt(VEC_UD, DESC_INT, 0, 1);
	put64(TSS + 0x24, UINT64_C(0x1234000000000000));
	raise_and_land(VEC_UD, 0);
	CHECK_EQ(v->rip, HANDLER + VEC_SS * 16);
	CHECK_EQ(get64(v->gpr[X86_RSP]), 1);
	make_long_mode(); // no IDT at all
	v->idtr.limit = 0;
	raise_and_land(VEC_UD, 0);
	CHECK_EQ(v->activity, VCPU_SHUTDOWN);
	CHECK(effects.effect & SYS_HALT);
}

// Any event from any level, then IRETQ: all is as it was.
static void round_trips(void)
{
	struct vcpu *v = test_vcpu;

	for (unsigned n = 0; n < 20000; n++) {
		static const unsigned compat[] = {SEL_UCODE, SEL_UCODE32};
		unsigned cpl = rnd() & 1 ? 3 : 0, vector = rnd() & 1 ? 32 + rnd() % 200 : VEC_PF;
		struct x86_seg cs, ss;
		uint64_t rip, rsp, flags;

		make_long_mode();
		set_cpl(cpl);
		if (cpl && rnd() & 1)
			v->seg[X86_CS] = segment_flat_code(compat[1], 3, false);
		put_idt(vector, rnd() & 1 ? DESC_INT : DESC_TRAP, 0, rnd() & 1);
		flags = v->rflags = 2 | (rnd() & (RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF | RFLAGS_IOPL | RFLAGS_AC |
						  RFLAGS_ID));
		rip = v->rip = rnd() & 0x7fffffff;
		rsp = v->gpr[X86_RSP] -= rnd() & 0xff;
		cs = v->seg[X86_CS];
		ss = v->seg[X86_SS];
		if (vector == VEC_PF)
			raise_and_land(VEC_PF, 7);
		else
			CHECK_EQ(interrupt(vector, SYS_INT_EXTERNAL), -1);
		CHECK_EQ(v->gpr[X86_RSP] & 7, 0);
		if (vector == VEC_PF)
			v->gpr[X86_RSP] += 8;
		CHECK_EQ(EXECUTE(0x48, 0xcf), -1);
		CHECK_EQ(v->rip, rip);
		CHECK_EQ(v->gpr[X86_RSP], rsp);
		CHECK_EQ(v->rflags & ~(uint64_t)RFLAGS_RF, flags);
		CHECK_EQ(!(v->rflags & RFLAGS_RF), vector != VEC_PF);
		CHECK_EQ(!(effects.effect & SYS_KEEP_RF), vector != VEC_PF);
		CHECK_EQ(v->cpl, cpl);
		CHECK_EQ(v->seg[X86_CS].sel, cs.sel);
		CHECK_EQ(v->seg[X86_CS].attr, cs.attr);
		CHECK_EQ(v->seg[X86_SS].sel, ss.sel);
		CHECK_EQ(v->seg[X86_SS].attr, ss.attr);
	}
}

static void set_iret_frame(uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp, uint64_t ss)
{
	const uint64_t frame[] = {rip, cs, flags, rsp, ss};

	make_long_mode();
	memcpy(ram(KSTACK - 0x800), frame, sizeof(frame));
}

static void iret_checks(void)
{
	struct vcpu *v = test_vcpu;

	set_iret_frame(CODE, 0, 2, USTACK, SEL_UDATA);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xcf);
	set_iret_frame(CODE, 0x1003, 2, USTACK, SEL_UDATA);
	CHECK_FAULT(VEC_GP, 0x1000, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_UDATA, 2, USTACK, SEL_UDATA);
	CHECK_FAULT(VEC_GP, SEL_UDATA & ~3, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_UCODE, 2, USTACK, 0);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_UCODE, 2, USTACK, SEL_KDATA);
	CHECK_FAULT(VEC_GP, SEL_KDATA, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_UCODE, 2, USTACK, SEL_RODATA);
	CHECK_FAULT(VEC_GP, SEL_RODATA & ~3, 0x48, 0xcf);
	set_iret_frame(UINT64_C(0x800000000000), SEL_UCODE, 2, USTACK, SEL_UDATA);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xcf);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 0x800);
	set_iret_frame(UINT64_C(0x100000000), SEL_UCODE32, 2, USTACK, SEL_UDATA);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_KCODE, 2, USTACK, 0); // a null SS at level 0
	CHECK_EQ(EXECUTE(0x48, 0xcf), -1);
	CHECK_EQ(v->seg[X86_SS].sel, 0);
	set_iret_frame(CODE, SEL_UCODE, 2, USTACK, SEL_UDATA);
	v->rflags |= RFLAGS_NT;
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xcf);
	set_iret_frame(CODE, SEL_UCODE, 2 | RFLAGS_IF, USTACK, SEL_UDATA); // data segments of inner levels are dropped
	v->seg[X86_DS] = segment_flat_data(SEL_KDATA, 0);
	v->seg[X86_FS] = segment_null(3, 0);
	v->seg[X86_FS].base = 0x123456789;
	CHECK_EQ(EXECUTE(0x48, 0xcf), -1);
	CHECK_EQ(v->seg[X86_DS].sel, 0);
	CHECK_EQ(v->seg[X86_FS].sel, 0);
	CHECK_EQ(v->seg[X86_FS].base, 0x123456789);
	CHECK_EQ(v->seg[X86_ES].sel, SEL_UDATA);
	set_cpl(3); // IRET at level 3 leaves IF and IOPL
	put64(USTACK, CODE + 8);
	put64(USTACK + 8, SEL_UCODE);
	put64(USTACK + 16, RFLAGS_IOPL | RFLAGS_CF);
	put64(USTACK + 24, USTACK - 64);
	put64(USTACK + 32, SEL_UDATA);
	CHECK_EQ(EXECUTE(0x48, 0xcf), -1);
	CHECK_EQ(v->rflags, 2 | RFLAGS_IF | RFLAGS_CF);
	CHECK_EQ(v->gpr[X86_RSP], USTACK - 64);
}

static void set_protected32(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->cr0 = CR0_PE | CR0_ET;
	v->cr4 = 0;
	v->efer = 0;
	v->seg[X86_CS] = segment_flat_code(SEL_KCODE32, 0, false);
	v->seg[X86_SS] = segment_flat_data(SEL_KDATA, 0);
	for (unsigned i = 0; i < 256; i++)
		put64(IDT + i * 8, UINT64_C(0x00008e0000000000) | (uint64_t)SEL_KCODE32 << 16 | (HANDLER & 0xffff) |
					   (uint64_t)(HANDLER >> 16) << 48);
	put64(TSS + 4, KSTACK | (uint64_t)SEL_KDATA << 32);
}

static void protected32(void)
{
	struct vcpu *v = test_vcpu;
	uint32_t frame[6];

	set_protected32();
	raise_and_land(VEC_GP, 0x44);
	CHECK_EQ(v->rip, HANDLER);
	memcpy(frame, ram(v->gpr[X86_RSP]), sizeof(frame));
	CHECK_EQ(frame[0], 0x44);
	CHECK_EQ(frame[1], CODE);
	CHECK_EQ(frame[2], SEL_KCODE32);
	v->gpr[X86_RSP] += 4;
	CHECK_EQ(EXECUTE(0xcf), -1);
	CHECK_EQ(v->rip, CODE);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 0x800);
	set_protected32(); // from level 3, with a stack switch, and back
	v->cpl = 3;
	v->seg[X86_CS] = segment_flat_code(SEL_UCODE32, 3, false);
	v->seg[X86_SS] = segment_flat_data(SEL_UDATA, 3);
	v->gpr[X86_RSP] = USTACK;
	CHECK_EQ(interrupt(0x40, SYS_INT_EXTERNAL), -1);
	memcpy(frame, ram(KSTACK - 20), 20);
	CHECK_EQ(v->gpr[X86_RSP], KSTACK - 20);
	CHECK_EQ(frame[1], SEL_UCODE32);
	CHECK_EQ(frame[3], USTACK);
	CHECK_EQ(frame[4], SEL_UDATA);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_KDATA);
	CHECK_EQ(EXECUTE(0xcf), -1);
	CHECK_EQ(v->cpl, 3);
	CHECK_EQ(v->gpr[X86_RSP], USTACK);
	CHECK_EQ(v->seg[X86_CS].sel, SEL_UCODE32);
}

static void real_mode(void)
{
	struct vcpu *v = test_vcpu;
	uint16_t frame[3];

	memset(ram(0), 0, 1 << 20);
	vcpu_reset(v, test_shared);
	v->seg[X86_CS].sel = 0x1000;
	v->seg[X86_CS].base = 0x10000;
	v->seg[X86_SS].sel = 0x2000;
	v->seg[X86_SS].base = 0x20000;
	v->gpr[X86_RSP] = 0x100;
	v->rip = 0x123;
	v->rflags = 2 | RFLAGS_IF;
	v->idtr.limit = 0x3ff;
	put64(0x21 * 4, 0x30004567);
	CHECK_EQ(EXECUTE(0xcd, 0x21), -1);
	CHECK_EQ(v->rip, 0x4567);
	CHECK_EQ(v->seg[X86_CS].base, 0x30000);
	memcpy(frame, ram(0x200fa), 6);
	CHECK_EQ(frame[0], 0x125);
	CHECK_EQ(frame[1], 0x1000);
	CHECK_EQ(frame[2], 2 | RFLAGS_IF);
	CHECK_EQ(EXECUTE(0xcf), -1);
	CHECK_EQ(v->rip, 0x125);
	CHECK_EQ(v->gpr[X86_RSP], 0x100);
	CHECK_EQ(v->seg[X86_CS].base, 0x10000);
}

int main(void)
{
	make_vcpu();
	make_ram();
	from_user();
	same_level_and_ist();
	page_fault();
	debug_exception();
	error_codes();
	double_and_triple();
	round_trips();
	iret_checks();
	protected32();
	real_mode();
	return finish();
}
