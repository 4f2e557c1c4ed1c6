// SPDX-License-Identifier: MIT
//
// Devices in passing: plain accesses to device memory, and to ports, that do not leave the unit. A page that a failed
// check has found to be a device's is remembered until the software TLB is flushed; a load from it is carried out on a
// word that C has filled, a store to one of the monitor's own is made by C and then once more to that word, where it
// does nothing. All else takes the careful form. Ports of the monitor's own chips need only
// the two registers that the instruction names; those of the app take the long way. And a store to code that changes
// only operands which units have taken over (code.c) need not be made by C: the units get the value, then it runs.
#include "bt/trans.h"
#include "cpu/insn.h"

enum { MOV_STORE = 0x89 };

// Is all it does with memory a load of its only operand, which C may fetch before it runs, or a store of a register?
bool device_is_plain(const struct trans *t, const struct x86_insn *insn)
{
	bool store = insn->encoding == X86_ENC_LEGACY && !insn->map && insn->opcode == MOV_STORE;

	return insn->class == X86_CLASS_PLAIN && insn->mem.present && (insn->mem.access == X86_READ || store) &&
	       !insn->mem.bitstring && t->code == X86_MODE64 && !t->careful && !t->v->counts &&
	       !(t->t->mode & (MODE_ALONE | MODE_ONE));
}

static struct device_page *page_of(struct bt *b, gva_t gva, bool write)
{
	return &b->device_page[write][gva >> PAGE_SHIFT & (DEVICE_PAGES - 1)];
}

static uint64_t tag_of(gva_t gva, enum tlb_index x)
{
	return align_down(gva, PAGE_SIZE) | x;
}

// Such an access has been allowed, and led to gpa, which is not RAM.
void device_note(struct bt *b, gva_t gva, enum tlb_index x, gpa_t gpa, bool write)
{
	if (!debugger_watches(&b->sh->debugger, align_down(gva, PAGE_SIZE), PAGE_SIZE, write))
		*page_of(b, gva, write) = (struct device_page){tag_of(gva, x), align_down(gpa, PAGE_SIZE)};
}

void device_forget(struct bt *b)
{
	for (unsigned i = 0; i < DEVICE_PAGES; i++)
		b->device_page[0][i].tag = b->device_page[1][i].tag = ~UINT64_C(0);
}

// Is it a whole and aligned access in passing to a device's page that is known?
static bool is_known(struct bt *b, const struct site *s, gva_t gva, enum tlb_index x, bool write)
{
	return page_of(b, gva, write)->tag == tag_of(gva, x) && s->plain && !s->merged && s->size <= 8 &&
	       !(s->size & (s->size - 1)) && !(gva & (s->size - 1u));
}

// A check failed: if it was for such a load, that is carried out. The host address of a page in which its value stands;
// else NULL.
uint8_t *device_load(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x)
{
	struct bt *b = bt_of(v);
	gpa_t gpa = page_of(b, gva, false)->gpa | (gva & PAGE_OFFSET);

	if (!is_known(b, s, gva, x, false))
		return NULL;
	if (!lapic_claims(v, gpa))
		recover_site(v, s); // others look at what the guest does
	b->device_value = vcpu_mmio_read(v, gpa, s->size);
	return (uint8_t *)&b->device_value - (gva & PAGE_OFFSET);
}

// -- in the mapped form -----------------------------------------------------------------------------------------------
// There an access to a device faults in the host, each time. An instruction that has done so a few times is checked
// wherever it is translated from then on: units that hold it otherwise are made anew when they meet a device. If it
// goes on - what faults may be the proof of another's operand, as for kernel data of the upper half, to which a kernel
// in the lower one cannot have a mapping - no instruction of that unit has the mapped form.

static uint8_t *met_at(struct bt *b, uint64_t pc)
{
	return &b->device_met[pc * UINT64_C(0x9e3779b97f4a7c15) >> 48 & (DEVICES_MET - 1)];
}

enum { FEW = 4, MANY = 64 }; // faults; if so many have not helped (pushes to a device), it is left as it is

static uint8_t *unit_at(struct bt *b, uint64_t pc) // of the unit that begins there
{
	return met_at(b, ~pc);
}

bool device_is_met(const struct trans *t, uint64_t pc)
{
	return *met_at(t->b, pc) >= FEW || *unit_at(t->b, t->t->pc) >= FEW;
}

// The instruction at pc has faulted in t, whose code runs no more.
void device_met(struct bt *b, struct tu *t, uint64_t pc)
{
	uint8_t *met = met_at(b, pc), *all = unit_at(b, t->pc);

	if (*met == MANY)
		return;
	*all += *met >= FEW && *all < FEW;
	++*met;
	if (*met < FEW || t->dead || tu_straddles(t))
		return;
	t->remake = true;
	tc_isolate(b, t);
}

// -- stores to code ---------------------------------------------------------------------------------------------------

// What a register of the unit holds that the call-out has come from.
static uint64_t *device_register(struct vcpu *v, const struct site *s, unsigned reg)
{
	const struct bt *b = bt_of(v);
	const struct tu *t = &b->tu[s->tu];
	unsigned host = t->tier == TIER_BASE ? b->base.map[reg] : hot_of(b, t)->map[reg];

	if (host == X86_REG_NONE || s->homed & BIT(reg))
		return &v->gpr[reg];
	return (uint64_t *)((char *)v + SLOT_HOST_REGS) + host;
}

// The register that the site's MOV stores. -1: its bytes are not there any more.
static int stored_register(const struct bt *b, const struct site *s)
{
	const struct tu *t = &b->tu[s->tu];
	const uint8_t *p = mem_code(&b->sh->config.mem, t->gpa + (uint64_t)(int64_t)s->guest, 1);
	unsigned rex = 0, n = 0;

	if (!p || tu_straddles(t))
		return -1;
	for (; *p != MOV_STORE; p++) {
		if (++n == X86_INSN_MAX - 1)
			return -1;
		rex = (*p & 0xf0) == 0x40 ? *p : 0;
	}
	return (p[1] >> 3 & 7) | (rex >> 2 & 1) << 3;
}

// The site's store has been carried out, and something is pending of it: on behind it, by the run loop.
static _Noreturn void leave_behind(struct vcpu *v, const struct site *s)
{
	const struct bt *b = bt_of(v);
	gpa_t gpa = b->tu[s->tu].gpa + (uint64_t)(int64_t)s->guest;
	struct x86_insn insn;

	recover_site(v, s);
	x86_decode(&insn, mem_code(&b->sh->config.mem, gpa, 1), X86_INSN_MAX, X86_MODE64);
	v->rip += insn.len;
	v->count_left += s->left - 1;
	bt_leave(LEAVE_NEXT);
}

// The same of a store to a device of the monitor's: the host address of a page where the store does nothing.
uint8_t *device_write(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x)
{
	struct bt *b = bt_of(v);
	gpa_t gpa = page_of(b, gva, true)->gpa | (gva & PAGE_OFFSET);
	int reg = is_known(b, s, gva, x, true) && !v->pending ? stored_register(b, s) : -1;
	uint64_t value;

	if (reg < 0)
		return NULL;
	value = *device_register(v, s, (unsigned)reg);
	if (!lapic_claims(v, gpa))
		recover_site(v, s);
	if (!vcpu_mmio_write_quick(v, gpa, s->size, value))
		return NULL;
	if (v->pending)
		leave_behind(v, s);
	return (uint8_t *)&b->device_value - (gva & PAGE_OFFSET);
}

// A store to code that changes operands only, which units take over: where it goes. Else NULL.
uint8_t *device_store(struct vcpu *v, const struct site *s, gva_t gva, enum tlb_index x)
{
	int reg = s->plain && !s->merged && s->size <= 8 ? stored_register(bt_of(v), s) : -1;

	return reg < 0 ? NULL : code_write_operand(v, gva, x, device_register(v, s, (unsigned)reg), s);
}

// -- ports ------------------------------------------------------------------------------------------------------------

static uint64_t merge(uint64_t old, uint64_t value, unsigned size)
{
	uint64_t mask = BIT64(size * 8) - 1;

	return size == 4 ? value & mask : (old & ~mask) | (value & mask);
}

// IN and OUT of a kernel, to one of the monitor's chips. False: nothing has been done.
bool device_port(struct vcpu *v, const struct site *s, const struct x86_insn *insn)
{
	bool in = insn->class == X86_CLASS_IN;
	unsigned size = !(insn->opcode & 1) ? 1 : insn->opsize == 2 ? 2 : 4;
	uint64_t *rax, value = 0;
	uint16_t port;

	if ((!in && insn->class != X86_CLASS_OUT) || v->cpl || v->shared->config.log || v->dr[7] & 0xff)
		return false;
	rax = device_register(v, s, X86_RAX);
	port = insn->opcode & 8 ? (uint16_t)*device_register(v, s, X86_RDX) : (uint8_t)insn->imm;
	if (!vcpu_port_quick(v, port, size, in ? &value : rax, !in))
		return false;
	if (in)
		*rax = merge(*rax, value, size);
	return true;
}
