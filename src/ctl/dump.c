// SPDX-License-Identifier: MIT
//
// All of the guest's memory as an ELF core (ELF specification, "Program Header", "Note Section"): a segment for the RAM
// below 4 GiB, one for what is above, by physical addresses, and, with one processor, its registers as two notes: what
// debuggers read, and QEMU's, with the system registers by which crash finds the kernel. Memory changes while it is
// written unless the machine is paused.
#include "ctl/dump.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

enum { PIECE = 1 << 20, SEG_DESCRIPTOR = 0xf0ff /* what of enum x86_seg_attr is in a descriptor */ };

struct qemu_segment {
	uint32_t selector, limit, flags, pad;
	uint64_t base;
};

struct qemu_registers { // version 1
	uint32_t version, size;
	uint64_t rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r[8], rip, rflags;
	struct qemu_segment cs, ds, es, fs, gs, ss, ldt, tr, gdt, idt;
	uint64_t cr[5], kernel_gs_base;
};

struct core {
	Elf64_Ehdr head;
	Elf64_Phdr segment[3]; // the notes, low RAM, high RAM
	struct __attribute__((packed)) { // what is in a note is aligned to 4 bytes
		Elf64_Nhdr head;
		char name[8];
		struct elf_prstatus status;
	} process;
	struct __attribute__((packed)) {
		Elf64_Nhdr head;
		char name[8];
		struct qemu_registers registers;
	} qemu;
};

static struct elf_prstatus status_of(const struct vcpu *v)
{
	// struct user_regs_struct's order, by x86's numbers
	static const uint8_t order[] = { 15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7 };
	enum { RIP = 16, CS = 17, RFLAGS = 18, RSP = 19, SS = 20, FS_BASE = 21, DS = 23, ES = 24, FS = 25, GS = 26 };
	struct elf_prstatus s = {.pr_pid = 1};
	unsigned long long *r = (unsigned long long *)s.pr_reg;

	for (unsigned i = 0; i < ARRAY_SIZE(order); i++)
		r[i] = v->gpr[order[i]];
	r[RIP] = v->rip;
	r[RFLAGS] = v->rflags;
	r[RSP] = v->gpr[X86_RSP];
	r[CS] = v->seg[X86_CS].sel;
	r[SS] = v->seg[X86_SS].sel;
	r[DS] = v->seg[X86_DS].sel;
	r[ES] = v->seg[X86_ES].sel;
	r[FS] = v->seg[X86_FS].sel;
	r[GS] = v->seg[X86_GS].sel;
	r[FS_BASE] = v->seg[X86_FS].base;
	r[FS_BASE + 1] = v->seg[X86_GS].base;
	return s;
}

static struct qemu_segment segment_of(const struct x86_seg *s)
{
	return (struct qemu_segment){.selector = s->sel, .limit = s->limit, 
				     .flags = (s->attr & SEG_DESCRIPTOR) << 8, .base = s->base};
}

static struct qemu_segment table_of(const struct x86_table *t)
{
	return (struct qemu_segment){.limit = t->limit, .base = t->base};
}

static struct qemu_registers qemu_registers_of(const struct vcpu *v)
{
	const uint64_t *r = v->gpr;
	struct qemu_registers q = {
		.version = 1, .size = sizeof(q), .rax = r[X86_RAX], .rbx = r[X86_RBX], .rcx = r[X86_RCX], .rdx = r[X86_RDX],
		.rsi = r[X86_RSI], .rdi = r[X86_RDI], .rsp = r[X86_RSP], .rbp = r[X86_RBP], .rip = v->rip,
		.rflags = v->rflags, .cs = segment_of(&v->seg[X86_CS]), .ds = segment_of(&v->seg[X86_DS]),
		.es = segment_of(&v->seg[X86_ES]), .fs = segment_of(&v->seg[X86_FS]), .gs = segment_of(&v->seg[X86_GS]),
		.ss = segment_of(&v->seg[X86_SS]), .ldt = segment_of(&v->ldtr), .tr = segment_of(&v->tr),
		.gdt = table_of(&v->gdtr), .idt = table_of(&v->idtr), .cr = {v->cr0, 0, v->cr2, v->cr3, v->cr4},
		.kernel_gs_base = v->kernel_gs_base,
	};
	memcpy(q.r, &r[8], sizeof(q.r));
	return q;
}

static void put_head(struct core *c, const struct mem *mem, bool registers)
{
	const struct { uint64_t at, size; } ram[] = {
		{ 0, mem->low_end }, { MEM_HIGH_START, mem->high_end - MEM_HIGH_START },
	};
	uint64_t offset = sizeof(*c);
	unsigned segments = 1;

	memcpy(c->head.e_ident, ELFMAG, SELFMAG);
	c->head.e_ident[EI_CLASS] = ELFCLASS64;
	c->head.e_ident[EI_DATA] = ELFDATA2LSB;
	c->head.e_ident[EI_VERSION] = EV_CURRENT;
	c->head.e_type = ET_CORE;
	c->head.e_machine = EM_X86_64;
	c->head.e_version = EV_CURRENT;
	c->head.e_ehsize = sizeof(c->head);
	c->head.e_phentsize = sizeof(c->segment[0]);
	c->head.e_phoff = offsetof(struct core, segment);
	c->segment[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(struct core, process),
				     .p_filesz = registers ? sizeof(*c) - offsetof(struct core, process) : 0};
	for (unsigned i = 0; i < ARRAY_SIZE(ram); i++)
		if (ram[i].size) {
			c->segment[segments++] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = offset, .p_paddr = ram[i].at,
							      .p_vaddr = ram[i].at, .p_filesz = ram[i].size,
							      .p_memsz = ram[i].size};
			offset += ram[i].size;
		}
	c->head.e_phnum = (Elf64_Half)segments;
	c->process.head = (Elf64_Nhdr){.n_namesz = 5, .n_descsz = sizeof(c->process.status), .n_type = NT_PRSTATUS};
	strcpy(c->process.name, "CORE");
	c->qemu.head = (Elf64_Nhdr){.n_namesz = 5, .n_descsz = sizeof(c->qemu.registers)};
	strcpy(c->qemu.name, "QEMU");
}

// From the file that is the guest's memory: pages that nobody has touched are not made by reading them there.
static bool copy_memory(FILE *to, int from, uint64_t size)
{
	char *piece = malloc(PIECE);
	uint64_t at = 0;
	ssize_t n = 1;

	while (piece && at < size && (n = pread(from, piece, MIN(size - at, (uint64_t)PIECE), (off_t)at)) > 0 &&
	       fwrite(piece, 1, (size_t)n, to) == (size_t)n)
		at += (uint64_t)n;
	free(piece);
	return at == size;
}

bool memory_dump(struct machine *m, FILE *f, char *why, size_t n)
{
	const struct mem *mem = &m->shared->config.mem;
	bool frozen = m->config->vcpus == 1 && machine_freeze(m, why, n), ok;
	struct core c = {0};

	put_head(&c, mem, frozen);
	if (frozen) {
		c.process.status = status_of(m->vcpu[0]);
		c.qemu.registers = qemu_registers_of(m->vcpu[0]);
	}
	ok = fwrite(&c, sizeof(c), 1, f) == 1 && copy_memory(f, m->ram_fd, mem->low_end + mem->high_end - MEM_HIGH_START);
	if (fclose(f))
		ok = false;
	if (!ok)
		snprintf(why, n, "cannot write the dump: %s", strerror(errno));
	if (frozen)
		machine_thaw(m);
	return ok;
}

bool memory_dump_file(struct machine *m, const char *file, char *why, size_t n)
{
	FILE *f = fopen(file, "we");

	if (f)
		return memory_dump(m, f, why, n);
	snprintf(why, n, "cannot write '%.150s': %s", file, strerror(errno));
	return false;
}
