// SPDX-License-Identifier: MIT
//
// Answers of CPUID and RDMSR that translated code gives by itself: of CPUID the last ones, in a table by leaf; of MSRs
// those that are 64 bits of struct vcpu and nothing else, in a table of where. C fills them when it is asked for what
// is not there, and forgets them all when an instruction may have changed what they depend on.
#include "bt/trans.h"

// The number that entry i can never be asked for stands in an empty one.
static void empty_msr(struct bt *b, unsigned i)
{
	b->known.msr[i] = (struct known_msr){-(uint32_t)!i, 0};
}

void known_forget(struct bt *b)
{
	if (b->known.empty)
		return;
	b->known.empty = true;
	for (unsigned i = 0; i < KNOWN_LEAVES; i++)
		b->known.leaf[i].key = !i;
	while (b->known.nmsrs)
		empty_msr(b, b->known.filled[--b->known.nmsrs]);
}

void known_init(struct bt *b)
{
	for (unsigned i = 0; i < KNOWN_MSRS; i++)
		empty_msr(b, i);
	known_forget(b);
}

static void note_leaf(struct vcpu *v)
{
	uint32_t leaf = (uint32_t)v->gpr[X86_RAX], subleaf = (uint32_t)v->gpr[X86_RCX];

	bt_of(v)->known.leaf[leaf & (KNOWN_LEAVES - 1)] =
		(struct known_leaf){(uint64_t)subleaf << 32 | leaf, cpuid_query(v, leaf, subleaf), 0};
}

static void note_msr(struct vcpu *v)
{
	uint32_t msr = (uint32_t)v->gpr[X86_RCX], field = msr_field(v, msr);
	struct known *k = &bt_of(v)->known;

	if (!field || k->msr[(uint8_t)msr].minus == -msr)
		return;
	if (k->nmsrs == KNOWN_MSRS_AT_ONCE)
		known_forget(bt_of(v));
	k->empty = false;
	k->filled[k->nmsrs++] = (uint8_t)msr;
	k->msr[(uint8_t)msr] = (struct known_msr){-msr, field};
}

// C is about to carry out an instruction that is not answered here.
void known_note(struct vcpu *v, const struct x86_insn *insn)
{
	if (insn->class != X86_CLASS_CPUID && insn->class != X86_CLASS_RDMSR)
		return;
	bt_of(v)->known.empty = false;
	if (insn->class == X86_CLASS_CPUID)
		note_leaf(v);
	else
		note_msr(v);
}

bool known_depends_on(const struct x86_insn *insn)
{
	return insn->class == X86_CLASS_WRMSR || insn->class == X86_CLASS_MOV_TO_CR || insn->class == X86_CLASS_XSETBV;
}

// -- as code ----------------------------------------------------------------------------------------------------------

#define AT_KNOWN(field) ((int32_t)(BT_OFFSET + offsetof(struct bt, known) + offsetof(struct known, field)))

// What follows in the hot half has been emitted: the way by C, which comes back behind it.
static void emit_by_c(struct trans *t, const struct x86_insn *insn)
{
	if (!sys_stays(t, insn)) {
		emit_sys_aside(t, insn);
		return;
	}
	emit_call_state(&t->cold, SLOT_STUB_SYS);
	emit_callout_site(t, &t->cold, insn);
	emit_patch32(emit_jmp32(&t->cold), t->cold.delta, emit_here(&t->hot));
}

static void emit_leaf_word(struct trans *t, unsigned guest, size_t at)
{
	emit_gs(&t->hot);
	emit_load(&t->hot, 4, host_of(t, guest),
		  mem_base(HOST_T1, AT_KNOWN(leaf) + (int32_t)offsetof(struct known_leaf, regs) + (int32_t)at));
}

void sys_cpuid(struct trans *t, const struct x86_insn *insn)
{
	struct emit *e = &t->hot;

	emit_save_flags(t);
	emit_mov(e, 8, HOST_T0, host_of(t, X86_RCX));
	emit_shift(e, 8, 4, HOST_T0, 32);
	emit_mov(e, 4, HOST_T1, host_of(t, X86_RAX));
	emit_op_rr(e, 8, 0x09, HOST_T1, HOST_T0); // or
	emit_alu_imm(e, 4, ALU_AND, HOST_T1, KNOWN_LEAVES - 1);
	emit_shift(e, 4, 4, HOST_T1, KNOWN_LEAF_SHIFT);
	emit_gs(e);
	emit_op_mem(e, 8, 0x3b, HOST_T0, mem_base(HOST_T1, AT_KNOWN(leaf))); // cmp
	emit_patch32(emit_jcc32(e, CC_NE), e->delta, emit_here(&t->cold));
	emit_leaf_word(t, X86_RAX, offsetof(struct cpuid_regs, eax));
	emit_leaf_word(t, X86_RBX, offsetof(struct cpuid_regs, ebx));
	emit_leaf_word(t, X86_RCX, offsetof(struct cpuid_regs, ecx));
	emit_leaf_word(t, X86_RDX, offsetof(struct cpuid_regs, edx));
	emit_by_c(t, insn);
}

static void emit_msr_word(struct emit *e, unsigned dst, size_t at)
{
	struct emit_mem m = {.base = X86_REG_NONE, .index = HOST_T0, .scale = sizeof(struct known_msr),
			     .disp = AT_KNOWN(msr) + (int32_t)at};

	emit_gs(e);
	emit_load(e, 4, dst, m);
}

// Without the flags: to put them away and fetch them again takes longer than all the rest.
void sys_rdmsr(struct trans *t, const struct x86_insn *insn)
{
	unsigned rax = host_of(t, X86_RAX), rcx = host_of(t, X86_RCX), rdx = host_of(t, X86_RDX);
	struct emit_mem difference = {.base = X86_RCX, .index = HOST_T1, .scale = 1};
	struct emit *e = &t->hot;
	uint8_t *found, *missed;

	ASSERT(rcx == X86_RCX);
	emit_op_rr(e, 4, 0x0fb6, HOST_T0, rcx); // movzbl
	emit_mov(e, 8, HOST_T1, rcx);
	emit_msr_word(e, rcx, offsetof(struct known_msr, minus));
	emit_lea(e, 4, rcx, difference);
	found = emit_jrcxz(e);
	missed = emit_jmp32(e);
	emit_patch8(found, e);
	emit_mov(e, 8, rcx, HOST_T1);
	emit_msr_word(e, HOST_T0, offsetof(struct known_msr, field));
	emit_gs(e);
	emit_load(e, 4, rax, mem_base(HOST_T0, 0));
	emit_gs(e);
	emit_load(e, 4, rdx, mem_base(HOST_T0, 4));
	emit_patch32(missed, e->delta, emit_here(&t->cold));
	emit_mov(&t->cold, 8, rcx, HOST_T1);
	emit_by_c(t, insn);
}
