// SPDX-License-Identifier: MIT
//
// All of the guest's memory as an ELF core (ELF specification, "Program Header", "Note Section"): a segment for the RAM
// below 4 GiB, one for what is above, by physical addresses, and, with one processor, its registers as a note.
// Memory changes while it is written unless the machine is paused.
#include "ctl/dump.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/procfs.h>

struct core {
	Elf64_Ehdr head;
	Elf64_Phdr segment[3]; // the note, low RAM, high RAM
	Elf64_Nhdr note;
	char name[8];
	struct elf_prstatus status;
};

static void put_registers(struct core *c, struct machine *m)
{
	// struct user_regs_struct's order, by x86's numbers
	static const uint8_t order[] = { 15, 14, 13, 12, 5, 3, 11, 10, 9, 8, 0, 1, 2, 6, 7 };
	enum { RIP = 16, CS = 17, RFLAGS = 18, RSP = 19, SS = 20, FS_BASE = 21, DS = 23, ES = 24, FS = 25, GS = 26 };
	const struct vcpu *v = m->vcpu[0];
	unsigned long long *r = (unsigned long long *)c->status.pr_reg;

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
	c->status.pr_pid = 1;
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
	c->segment[0] = (Elf64_Phdr){.p_type = PT_NOTE, .p_offset = offsetof(struct core, note),
				     .p_filesz = registers ? sizeof(*c) - offsetof(struct core, note) : 0};
	for (unsigned i = 0; i < ARRAY_SIZE(ram); i++)
		if (ram[i].size) {
			c->segment[segments++] = (Elf64_Phdr){.p_type = PT_LOAD, .p_offset = offset, .p_paddr = ram[i].at,
							      .p_vaddr = ram[i].at, .p_filesz = ram[i].size,
							      .p_memsz = ram[i].size};
			offset += ram[i].size;
		}
	c->head.e_phnum = (Elf64_Half)segments;
	c->note = (Elf64_Nhdr){.n_namesz = 5, .n_descsz = sizeof(c->status), .n_type = NT_PRSTATUS};
	strcpy(c->name, "CORE");
}

bool memory_dump(struct machine *m, const char *file, char *why, size_t n)
{
	const struct mem *mem = &m->shared->config.mem;
	bool frozen = m->config->vcpus == 1 && machine_freeze(m, why, n), ok;
	struct core c = {0};
	FILE *f = fopen(file, "we");

	put_head(&c, mem, frozen);
	if (frozen)
		put_registers(&c, m);
	ok = f && fwrite(&c, sizeof(c), 1, f) == 1 && fwrite((void *)ZONE_RAM, mem->low_end, 1, f) == 1 &&
	     (mem->high_end == MEM_HIGH_START ||
	      fwrite((void *)(ZONE_RAM + MEM_HIGH_START), mem->high_end - MEM_HIGH_START, 1, f) == 1);
	if (f && fclose(f))
		ok = false;
	if (!ok)
		snprintf(why, n, "cannot write '%.150s': %s", file, strerror(errno));
	if (frozen)
		machine_thaw(m);
	return ok;
}
