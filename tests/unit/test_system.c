// SPDX-License-Identifier: MIT
//
// System instructions from their bytes: privilege, operands, faults and effects. Transfers with frames are in
// test_delivery.c.
#include "cpu_long.h"

#define R(name) test_vcpu->gpr[X86_##name]

static void flags(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	CHECK_EQ(EXECUTE(0xfb), -1); // sti
	CHECK_EQ(v->shadow, SHADOW_STI);
	CHECK(effects.effect & SYS_SHADOW);
	v->shadow = 0;
	CHECK_EQ(EXECUTE(0xfb), -1); // again: no shadow
	CHECK_EQ(v->shadow, 0);
	CHECK_EQ(EXECUTE(0xfa), -1);
	CHECK_EQ(v->rflags & RFLAGS_IF, 0);
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0, 0xfa);
	v->rflags |= RFLAGS_IOPL;
	CHECK_EQ(EXECUTE(0xfb), -1);
	v->rflags = 2 | RFLAGS_IF;
	put64(USTACK, RFLAGS_IOPL | RFLAGS_CF | RFLAGS_AC | RFLAGS_VM | RFLAGS_RF | 0x8028);
	CHECK_EQ(EXECUTE(0x9d), -1); // popfq at level 3
	CHECK_EQ(v->rflags, 2 | RFLAGS_IF | RFLAGS_CF | RFLAGS_AC);
	CHECK_EQ(R(RSP), USTACK + 8);
	v->rflags |= RFLAGS_RF;
	CHECK_EQ(EXECUTE(0x9c), -1); // pushfq
	CHECK_EQ(get64(USTACK), 2 | RFLAGS_IF | RFLAGS_CF | RFLAGS_AC);
	CHECK_EQ(EXECUTE(0x66, 0x9c), -1);
	CHECK_EQ(R(RSP), USTACK - 2);
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x01, 0xca); // clac
	set_cpl(0);
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0xca), -1);
	CHECK_EQ(v->rflags & RFLAGS_AC, 0);
}

static void control_registers(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	R(RAX) = v->cr0 & ~(uint64_t)CR0_PG;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xc0); // paging off in 64-bit mode
	R(RAX) = v->cr0 & ~(uint64_t)CR0_PE;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xc0);
	R(RAX) = v->cr0 | CR0_NW;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xc0);
	R(RAX) = (v->cr0 | CR0_TS) & ~(uint64_t)CR0_ET;
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xc0), -1);
	CHECK(v->cr0 & CR0_TS && v->cr0 & CR0_ET);
	CHECK(!(effects.effect & SYS_FLUSH_ALL));
	CHECK_EQ(EXECUTE(0x0f, 0x06), -1); // clts
	CHECK(!(v->cr0 & CR0_TS));
	R(RAX) = v->cr4 & ~(uint64_t)CR4_PAE;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xe0);
	R(RAX) = v->cr4 | CR4_VMXE;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xe0);
	R(RAX) = v->cr4 | CR4_PCIDE | CR4_SMEP;
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xe0), -1);
	CHECK(effects.effect & SYS_FLUSH_ALL);
	R(RAX) = PML4 | 5 | BIT64(63);
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xd8), -1);
	CHECK_EQ(v->cr3, PML4 | 5);
	CHECK(effects.effect & SYS_FLUSH_TLB && effects.flush_keep && effects.flush_pcid_valid);
	CHECK_EQ(effects.flush_pcid, 5);
	R(RAX) = PML4 | BIT64(50);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xd8);
	R(RAX) = 16;
	CHECK_FAULT(VEC_GP, 0, 0x44, 0x0f, 0x22, 0xc0); // cr8
	R(RAX) = 7;
	CHECK_EQ(EXECUTE(0x44, 0x0f, 0x22, 0xc0), -1);
	CHECK_EQ(EXECUTE(0x44, 0x0f, 0x20, 0xc3), -1);
	CHECK_EQ(R(RBX), 7);
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x20, 0xc0);
	v->cr4 |= CR4_UMIP;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x01, 0xe0); // smsw
	v->cr4 &= ~(uint64_t)CR4_UMIP;
	R(RAX) = ~UINT64_C(0);
	CHECK_EQ(EXECUTE(0x66, 0x0f, 0x01, 0xe0), -1);
	CHECK_EQ(R(RAX), 0xffffffffffff0000u | (uint16_t)v->cr0);
}

// From 32-bit protected mode into long mode as a boot loader goes, and out again.
static void into_long_mode(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->cr0 = CR0_PE | CR0_ET;
	v->cr4 = 0;
	v->efer = EFER_LME;
	v->seg[X86_CS] = segment_flat_code(SEL_KCODE32, 0, false);
	R(RAX) = CR0_PE | CR0_PG;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x22, 0xc0); // no PAE
	R(RAX) = CR4_PAE;
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xe0), -1);
	R(RAX) = CR0_PE | CR0_PG;
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xc0), -1);
	CHECK(v->efer & EFER_LMA);
	CHECK(effects.effect & SYS_FLUSH_ALL);
	CHECK_EQ(EXECUTE(0xea, 0x00, 0x00, 0x01, 0x00, SEL_KCODE, 0x00), -1);
	CHECK(vcpu_code64(v));
	CHECK_EQ(v->rip, CODE);
	put64(DATA, CODE | (uint64_t)SEL_KCODE32 << 32);
	R(RBX) = DATA;
	CHECK_EQ(EXECUTE(0xff, 0x2b), -1); // jmp far [rbx]
	CHECK(!vcpu_code64(v));
	R(RAX) = CR0_PE;
	CHECK_EQ(EXECUTE(0x0f, 0x22, 0xc0), -1);
	CHECK(!(v->efer & EFER_LMA));
}

static void segments(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	R(RAX) = SEL_KDATA;
	CHECK_EQ(EXECUTE(0x8e, 0xd8), -1);
	CHECK_EQ(v->seg[X86_DS].sel, SEL_KDATA);
	CHECK(get64(GDT + SEL_KDATA) & (uint64_t)SEG_TYPE_A << 40);
	CHECK_EQ(v->rip, CODE + 2);
	R(RAX) = 0x1000;
	CHECK_FAULT(VEC_GP, 0x1000, 0x8e, 0xd8);
	R(RAX) = SEL_ABSENT;
	CHECK_FAULT(VEC_NP, SEL_ABSENT, 0x8e, 0xd8);
	R(RAX) = SEL_ABSENT | 3;
	CHECK_FAULT(VEC_GP, SEL_ABSENT, 0x8e, 0xd0); // mov ss: RPL is looked at first
	R(RAX) = SEL_TSS;
	CHECK_FAULT(VEC_GP, SEL_TSS, 0x8e, 0xc0);
	R(RAX) = 0;
	CHECK_EQ(EXECUTE(0x8e, 0xd0), -1); // a null SS at level 0
	CHECK_EQ(v->shadow, SHADOW_MOV_SS);
	CHECK_EQ(v->cpl, 0);
	R(RAX) = 4;
	CHECK_FAULT(VEC_GP, 4, 0x8e, 0xd8); // LDT without LDT
	R(RAX) = SEL_LDT;
	CHECK_EQ(EXECUTE(0x0f, 0x00, 0xd0), -1); // lldt
	CHECK_EQ(v->ldtr.base, LDT);
	put64(LDT + 8, 0x00cff3123400ffff);
	R(RAX) = 0xf;
	CHECK_EQ(EXECUTE(0x8e, 0xe0), -1); // mov fs
	CHECK_EQ(v->seg[X86_FS].base, 0x123400);
	put_gdt(SEL_TSS, 0x0000890000000067 | (uint64_t)TSS << 16);
	R(RAX) = SEL_TSS;
	CHECK_EQ(EXECUTE(0x0f, 0x00, 0xd8), -1); // ltr
	CHECK_EQ(get64(GDT + SEL_TSS) >> 40 & 15, DESC_TSS_BUSY);
	CHECK_FAULT(VEC_GP, SEL_TSS, 0x0f, 0x00, 0xd8); // busy now
	CHECK_EQ(EXECUTE(0x0f, 0x02, 0xd8), -1); // lar ebx, eax
	CHECK_EQ(R(RBX), 0x8b00);
	CHECK(v->rflags & RFLAGS_ZF);
	R(RAX) = SEL_UDATA;
	CHECK_EQ(EXECUTE(0x0f, 0x03, 0xd8), -1); // lsl
	CHECK_EQ(R(RBX), 0xffffffff);
	set_cpl(3);
	R(RAX) = SEL_KDATA;
	CHECK_EQ(EXECUTE(0x0f, 0x03, 0xd8), -1);
	CHECK(!(v->rflags & RFLAGS_ZF));
	CHECK_FAULT(VEC_GP, SEL_KDATA, 0x8e, 0xd8);
	R(RAX) = SEL_RODATA;
	CHECK_EQ(EXECUTE(0x0f, 0x00, 0xe8), -1); // verw
	CHECK(!(v->rflags & RFLAGS_ZF));
	CHECK_EQ(EXECUTE(0x0f, 0x00, 0xe0), -1); // verr
	CHECK(v->rflags & RFLAGS_ZF);
	R(RAX) = SEL_CONFORM;
	CHECK_EQ(EXECUTE(0x8e, 0xd8), -1); // conforming readable code as data
}

static void tables_and_bases(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	R(RBX) = DATA;
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0x03), -1); // sgdt
	CHECK_EQ(get64(DATA) & 0xffff, GDT_LIMIT);
	CHECK_EQ(get64(DATA + 2), GDT);
	put64(DATA + 2, UINT64_C(0x800000000000));
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x01, 0x1b); // lidt, not canonical
	put64(DATA + 2, UINT64_C(0xffffff0000001000));
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0x1b), -1);
	CHECK_EQ(v->idtr.base, UINT64_C(0xffffff0000001000));
	CHECK_FAULT(VEC_UD, 0, 0xf3, 0x48, 0x0f, 0xae, 0xd8); // wrgsbase without CR4.FSGSBASE
	v->cr4 |= CR4_FSGSBASE;
	R(RAX) = 0x1234567890;
	v->kernel_gs_base = 0x999;
	CHECK_EQ(EXECUTE(0xf3, 0x48, 0x0f, 0xae, 0xd8), -1);
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0xf8), -1);
	CHECK_EQ(v->seg[X86_GS].base, 0x999);
	CHECK_EQ(v->kernel_gs_base, 0x1234567890);
	CHECK_EQ(EXECUTE(0xf3, 0x0f, 0xae, 0xc9), -1); // rdgsbase ecx
	CHECK_EQ(R(RCX), 0x999);
	put64(DATA + 0x999, 0x77);
	R(RBX) = DATA;
	CHECK_EQ(EXECUTE(0x65, 0x0f, 0x01, 0x3b), -1); // invlpg gs:[rbx]
	CHECK_EQ(effects.flush_gva, DATA + 0x999);
	R(RAX) = 3;
	put64(DATA, 1);
	CHECK_FAULT(VEC_GP, 0, 0x66, 0x0f, 0x38, 0x82, 0x0b); // invpcid rcx, [rbx]: a bad type
}

static void syscalls(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->star = (uint64_t)(SEL_UCODE32) << 48 | (uint64_t)SEL_KCODE << 32;
	v->lstar = UINT64_C(0xffffffff81000000);
	v->fmask = RFLAGS_IF | RFLAGS_DF | RFLAGS_AC;
	set_cpl(3);
	v->rflags = 2 | RFLAGS_IF | RFLAGS_AC | RFLAGS_ZF;
	CHECK_EQ(EXECUTE(0x0f, 0x05), -1);
	CHECK_EQ(R(RCX), CODE + 2);
	CHECK_EQ(R(R11), 2 | RFLAGS_IF | RFLAGS_AC | RFLAGS_ZF);
	CHECK_EQ(v->rip, v->lstar);
	CHECK_EQ(v->rflags, 2 | RFLAGS_ZF);
	CHECK_EQ(v->cpl, 0);
	CHECK_EQ(v->seg[X86_CS].sel, SEL_KCODE);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_KDATA);
	CHECK_EQ(EXECUTE(0x48, 0x0f, 0x07), -1);
	CHECK_EQ(v->rip, CODE + 2);
	CHECK_EQ(v->seg[X86_CS].sel, SEL_UCODE);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_UDATA);
	CHECK_EQ(v->rflags, 2 | RFLAGS_IF | RFLAGS_AC | RFLAGS_ZF);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0x0f, 0x07);
	set_cpl(0);
	R(RCX) = UINT64_C(0x800000000000);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0x0f, 0x07);
	R(RCX) = 0x123450000;
	CHECK_EQ(EXECUTE(0x0f, 0x07), -1); // to compatibility mode
	CHECK_EQ(v->rip, 0x23450000);
	CHECK(!vcpu_code64(v));
	CHECK_EQ(v->seg[X86_CS].sel, SEL_UCODE32);
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x05); // Intel: not from there
	v->amd = true;
	v->cstar = 0x7000;
	CHECK_EQ(EXECUTE(0x0f, 0x05), -1);
	CHECK_EQ(v->rip, 0x7000);
	CHECK(vcpu_code64(v));
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x34);
	v->amd = false;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x34); // SYSENTER_CS is 0
	v->sysenter_cs = SEL_KCODE;
	v->sysenter_esp = KSTACK;
	v->sysenter_eip = HANDLER;
	set_cpl(3);
	CHECK_EQ(EXECUTE(0x0f, 0x34), -1);
	CHECK_EQ(v->rip, HANDLER);
	CHECK_EQ(R(RSP), KSTACK);
	CHECK(vcpu_code64(v));
	R(RDX) = CODE;
	R(RCX) = USTACK;
	CHECK_EQ(EXECUTE(0x0f, 0x35), -1);
	CHECK_EQ(v->seg[X86_CS].sel, (SEL_KCODE + 16) | 3);
	CHECK_EQ(v->cpl, 3);
	CHECK(!vcpu_code64(v));
	v->efer &= ~(uint64_t)EFER_SCE;
	set_cpl(3);
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x05);
}

static void far_transfers(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode(); // a call gate to level 0 and back
	set_cpl(3);
	R(RBX) = DATA;
	put64(DATA, (uint64_t)SEL_CALL << 32);
	CHECK_EQ(EXECUTE(0xff, 0x1b), -1);
	CHECK_EQ(v->rip, HANDLER);
	CHECK_EQ(v->cpl, 0);
	CHECK_EQ(v->seg[X86_SS].sel, 0);
	CHECK_EQ(R(RSP), KSTACK - 32);
	CHECK_EQ(get64(KSTACK - 32), CODE + 2);
	CHECK_EQ(get64(KSTACK - 24), SEL_UCODE);
	CHECK_EQ(get64(KSTACK - 16), USTACK);
	CHECK_EQ(get64(KSTACK - 8), SEL_UDATA);
	CHECK_EQ(EXECUTE(0x48, 0xcb), -1);
	CHECK_EQ(v->cpl, 3);
	CHECK_EQ(v->rip, CODE + 2);
	CHECK_EQ(R(RSP), USTACK);
	CHECK_EQ(v->seg[X86_SS].sel, SEL_UDATA);
	put64(DATA, CODE | (uint64_t)SEL_KCODE << 32);
	CHECK_FAULT(VEC_GP, SEL_KCODE, 0xff, 0x2b);
	put64(DATA, CODE | (uint64_t)SEL_CONFORM << 32);
	CHECK_EQ(EXECUTE(0xff, 0x2b), -1); // conforming code keeps the level
	CHECK_EQ(v->cpl, 3);
	CHECK_EQ(v->seg[X86_CS].sel, SEL_CONFORM | 3);
	make_long_mode();
	put64(DATA, CODE | (uint64_t)SEL_TSS << 32);
	CHECK_FAULT(VEC_GP, SEL_TSS, 0xff, 0x2b);
	put64(DATA, 0);
	CHECK_FAULT(VEC_GP, 0, 0xff, 0x2b);
	put64(DATA, UINT64_C(0x800000000000));
	put64(DATA + 8, SEL_KCODE);
	CHECK_FAULT(VEC_GP, 0, 0x48, 0xff, 0x2b);
	put64(DATA, HANDLER);
	CHECK_EQ(EXECUTE(0x48, 0xff, 0x1b), -1); // a far call within the level, and a return that releases 16 bytes
	CHECK_EQ(R(RSP), KSTACK - 0x800 - 16);
	CHECK_EQ(EXECUTE(0x48, 0xca, 0x10, 0x00), -1);
	CHECK_EQ(R(RSP), KSTACK - 0x800 + 16);
}

static void ports(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	R(RAX) = ~UINT64_C(0);
	CHECK_EQ(EXECUTE(0xe4, 0x60), -1);
	CHECK_EQ(R(RAX), 0xffffffffffffff60u);
	R(RDX) = 0x1f0;
	CHECK_EQ(EXECUTE(0xed), -1);
	CHECK_EQ(R(RAX), 0xa5a5a5f0);
	R(RAX) = 0x12345678;
	CHECK_EQ(EXECUTE(0x66, 0xef), -1);
	CHECK_EQ(ports_written[nports_written - 1], (uint64_t)0x1f0 << 32 | 0x5678);
	v->rip = CODE;
	R(RDI) = DATA + 0xffc; // rep insd up to the end of a page, then a fault
	R(RCX) = 3;
	put64(PT + ((DATA >> 12) + 1) * 8, 0);
	CHECK_EQ(EXECUTE(0xf3, 0x6d), VEC_PF);
	CHECK_EQ(R(RCX), 2);
	CHECK_EQ(R(RDI), DATA + 0x1000);
	CHECK_EQ(v->fault.cr2, DATA + 0x1000);
	CHECK_EQ(v->rip, CODE);
	R(RDI) = DATA;
	R(RCX) = 100; // more than one call moves
	CHECK_EQ(EXECUTE(0xf3, 0x6c), -1);
	CHECK_EQ(v->rip, CODE);
	CHECK_EQ(EXECUTE(0xf3, 0x6c), -1);
	CHECK_EQ(v->rip, CODE + 2);
	CHECK_EQ(R(RCX), 0);
	CHECK_EQ(R(RDI), DATA + 100);
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0, 0xec);
	v->tr.limit = 0x67 + 0x100; // with a bit map: ports 0x1f0-0x1f7 allowed
	memset(ram(TSS + 0x68), 0xff, 0x100);
	*(uint8_t *)ram(TSS + 0x68 + 0x3e) = 0;
	CHECK_EQ(EXECUTE(0xec), -1);
	R(RDX) = 0x1f6;
	CHECK_FAULT(VEC_GP, 0, 0xed);
	v->rflags |= RFLAGS_IOPL;
	CHECK_EQ(EXECUTE(0xed), -1);
}

static void set_code32(void)
{
	make_long_mode();
	set_cpl(3);
	test_vcpu->seg[X86_CS] = segment_flat_code(SEL_UCODE32, 3, false);
}

static void legacy(void)
{
	struct vcpu *v = test_vcpu;
	uint32_t frame[8];

	set_code32();
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			v->gpr[i] = 0x100 + i;
	CHECK_EQ(EXECUTE(0x60), -1);
	memcpy(frame, ram(USTACK - 32), 32);
	CHECK_EQ(R(RSP), USTACK - 32);
	CHECK_EQ(frame[7], 0x100);
	CHECK_EQ(frame[3], USTACK);
	R(RAX) = 0;
	CHECK_EQ(EXECUTE(0x61), -1);
	CHECK_EQ(R(RAX), 0x100);
	CHECK_EQ(R(RSP), USTACK);
	R(RAX) = 0x3b;
	v->rflags = 2;
	CHECK_EQ(EXECUTE(0x27), -1); // daa
	CHECK_EQ(R(RAX), 0x41);
	CHECK_EQ(v->rflags & (RFLAGS_AF | RFLAGS_CF), RFLAGS_AF);
	R(RAX) = 0x20f;
	CHECK_EQ(EXECUTE(0x37), -1); // aaa
	CHECK_EQ(R(RAX), 0x305);
	R(RAX) = 77;
	CHECK_EQ(EXECUTE(0xd4, 0x0a), -1); // aam
	CHECK_EQ(R(RAX), 0x707);
	CHECK_EQ(EXECUTE(0xd5, 0x0a), -1);
	CHECK_EQ(R(RAX), 77);
	CHECK_FAULT(VEC_DE, 0, 0xd4, 0x00);
	R(RBX) = DATA;
	put64(DATA, 5 | UINT64_C(10) << 32);
	R(RAX) = 10;
	CHECK_EQ(EXECUTE(0x62, 0x03), -1); // bound
	R(RAX) = 11;
	CHECK_FAULT(VEC_BR, 0, 0x62, 0x03);
	put64(DATA + 11, 0x5a);
	CHECK_EQ(EXECUTE(0xd7), -1); // xlat
	CHECK_EQ(R(RAX), 0x5a);
	R(RBP) = 0x1234;
	CHECK_EQ(EXECUTE(0xc8, 0x10, 0x00, 0x00), -1); // enter 16, 0
	CHECK_EQ(R(RBP), USTACK - 4);
	CHECK_EQ(R(RSP), USTACK - 20);
	R(RAX) = SEL_KDATA;
	R(RCX) = 3;
	CHECK_EQ(EXECUTE(0x63, 0xc8), -1); // arpl
	CHECK_EQ(R(RAX), SEL_KDATA | 3);
	put64(DATA, 0x4321 | (uint64_t)SEL_UDATA << 32);
	CHECK_EQ(EXECUTE(0xc4, 0x0b), -1); // les ecx, [ebx]
	CHECK_EQ(R(RCX), 0x4321);
	CHECK_EQ(v->seg[X86_ES].sel, SEL_UDATA);
	v->seg[X86_DS].limit = DATA - 1;
	CHECK_FAULT(VEC_GP, 0, 0xc4, 0x0b); // beyond the limit
	CHECK_EQ(EXECUTE(0x1e), -1); // push ds writes 16 bits
	CHECK_EQ(R(RSP), USTACK - 24);
	v->rflags |= RFLAGS_OF;
	put_idt(VEC_OF, DESC_INT, 3, 0);
	CHECK_EQ(EXECUTE(0xce), -1); // into, to a 64-bit handler
	CHECK(vcpu_code64(v));
}

static void debug_registers(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	v->dr[7] = 0x400;
	R(RAX) = 0x1234;
	CHECK_EQ(EXECUTE(0x0f, 0x23, 0xe0), -1); // dr4 is dr6
	CHECK_EQ(v->dr[6], 0xffff0ff0 | (0x1234 & 0xe00f));
	v->cr4 |= CR4_DE;
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x23, 0xe0);
	R(RAX) = BIT64(32);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x23, 0xf8);
	R(RAX) = 0xffffffff;
	CHECK_EQ(EXECUTE(0x0f, 0x23, 0xf8), -1);
	CHECK_EQ(v->dr[7], 0xffff27ff);
	v->dr[7] = 0x400;
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x21, 0xf8);
}

static void processor(void)
{
	struct vcpu *v = test_vcpu;

	make_long_mode();
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x01, 0xd0); // xgetbv without OSXSAVE
	v->cr4 |= CR4_OSXSAVE;
	R(RCX) = 0;
	R(RDX) = 0;
	R(RAX) = 7;
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0xd1), -1);
	CHECK_EQ(v->xcr0, 7);
	R(RAX) = 5;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x01, 0xd1); // AVX without SSE
	R(RAX) = 0x27;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x01, 0xd1); // one of three AVX-512 bits
	R(RAX) = 6;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x01, 0xd1);
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0xd0), -1);
	CHECK_EQ(R(RAX), 7);
	CHECK_EQ(EXECUTE(0xf4), -1);
	CHECK_EQ(v->activity, VCPU_HALTED);
	CHECK(effects.effect & SYS_HALT);
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x0b);
	CHECK_FAULT(VEC_UD, 0, 0x0f, 0x01, 0xd9); // vmmcall: the other vendor's
	R(RAX) = 99;
	CHECK_EQ(EXECUTE(0x0f, 0x01, 0xc1), -1); // vmcall
	CHECK_EQ(R(RAX), (uint64_t)-1000);
	R(RCX) = 0x12345;
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x32);
	R(RCX) = MSR_LSTAR;
	R(RAX) = 0x1000;
	R(RDX) = 0;
	CHECK_EQ(EXECUTE(0x0f, 0x30), -1);
	CHECK_EQ(v->lstar, 0x1000);
	v->cr4 |= CR4_TSD;
	set_cpl(3);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x31);
	CHECK_FAULT(VEC_GP, 0, 0xf4);
	CHECK_FAULT(VEC_GP, 0, 0x0f, 0x30);
	v->tsc_aux = 0x55;
	R(RAX) = ~UINT64_C(0);
	CHECK_EQ(EXECUTE(0xf3, 0x0f, 0xc7, 0xf8), -1);
	CHECK_EQ(R(RAX), 0x55);
}

int main(void)
{
	make_vcpu();
	make_ram();
	flags();
	control_registers();
	into_long_mode();
	segments();
	tables_and_bases();
	syscalls();
	far_transfers();
	ports();
	legacy();
	debug_registers();
	processor();
	return finish();
}
