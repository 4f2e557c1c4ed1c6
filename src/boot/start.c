// SPDX-License-Identifier: MIT
//
// The complete state of vCPU 0 at the kernel's first instruction, and the GDT and page tables it stands on. Starts from
// a zeroed struct vcpu; what is zero after reset (and after firmware) is not written. The MTRRs are as firmware leaves
// them: write-back by default, with the VGA window and the PCI hole uncached.
#include "boot/bytes.h"
#include "boot/load.h"

enum {
	GDT_CODE = 0x10, // Linux's __BOOT_CS and __BOOT_DS
	GDT_DATA = 0x18,
	GDT_MULTIBOOT_CODE = 0x08, // where QEMU has them: some kernels go on with them under a GDT of their own
	GDT_MULTIBOOT_DATA = 0x10,
	GDT_TSS = 0x20,
	GDT_LIMIT = 0x30 - 1,

	ATTR_CODE32 = SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_R | SEG_TYPE_A | SEG_DB | SEG_G,
	ATTR_CODE64 = SEG_P | SEG_S | SEG_TYPE_CODE | SEG_TYPE_R | SEG_TYPE_A | SEG_L | SEG_G,
	ATTR_DATA = SEG_P | SEG_S | SEG_TYPE_W | SEG_TYPE_A | SEG_DB | SEG_G,
	ATTR_TSS_BUSY = SEG_P | 0xb,
	ATTR_LDT = SEG_P | 0x2,

	MTRR_WB = 6,
	MTRR_WP = 5,
	XSAVE_MXCSR = 24,
};

static struct x86_seg flat(uint16_t sel, uint32_t attr)
{
	return (struct x86_seg){ .sel = sel, .attr = attr, .limit = 0xffffffff };
}

static void put_descriptor(struct boot *b, const struct x86_seg *s)
{
	uint8_t *p = boot_ram(b, b->gdt + s->sel, 16);
	uint32_t limit = s->attr & SEG_G ? s->limit >> 12 : s->limit;

	put32(p, (limit & 0xffff) | (uint32_t)(s->base << 16));
	put32(p + 4, ((s->base >> 16) & 0xff) | (s->attr & 0xf0ff) << 8 | (limit & 0xf0000) | (s->base & 0xff000000));
}

static void start_segments(struct boot *b, uint32_t code_attr, uint16_t code, uint16_t data)
{
	struct vcpu *v = b->v;

	v->seg[X86_CS] = flat(code, code_attr);
	for (unsigned i = 0; i < X86_SREGS; i++)
		if (i != X86_CS)
			v->seg[i] = flat(data, ATTR_DATA);
	v->tr = (struct x86_seg){ .sel = GDT_TSS, .attr = ATTR_TSS_BUSY, .limit = 0x67 };
	v->ldtr = (struct x86_seg){ .attr = ATTR_LDT | SEG_UNUSABLE, .limit = 0xffff };
	v->gdtr = (struct x86_table){ .base = b->gdt, .limit = GDT_LIMIT };

	memset(boot_ram(b, b->gdt, GDT_LIMIT + 1), 0, GDT_LIMIT + 1);
	put_descriptor(b, &v->seg[X86_CS]);
	put_descriptor(b, &v->seg[X86_DS]);
	put_descriptor(b, &v->tr);
}

static unsigned physical_bits(const struct config *cfg)
{
	for (unsigned i = 0; i < cfg->cpuid_count && i < CPUID_LEAVES_MAX; i++)
		if (cfg->cpuid[i].leaf == 0x80000008 && (cfg->cpuid[i].eax & 0xff) >= 32)
			return MIN(cfg->cpuid[i].eax & 0xff, 52u);
	return 36;
}

static void start_mtrrs(struct boot *b)
{
	struct vcpu *v = b->v;
	const uint64_t every = UINT64_C(0x0101010101010101);
	uint64_t hole = align_down(MEM_LOW_MAX_MB * UINT64_C(0x100000), BIT64(30));

	v->mtrr_def_type = 0xc00 | MTRR_WB;
	v->mtrr_fixed[0] = v->mtrr_fixed[1] = every * MTRR_WB; // up to 640 KiB; the VGA window [2] is uncached
	for (unsigned i = 3; i < ARRAY_SIZE(v->mtrr_fixed); i++)
		v->mtrr_fixed[i] = every * MTRR_WP;
	v->mtrr_var[0] = hole; // uncached
	v->mtrr_var[1] = (BIT64(physical_bits(b->cfg)) - 1) & ~(BIT64(32) - hole - 1);
	v->mtrr_var[1] |= 0x800;
}

static void start_common(struct boot *b, gpa_t entry)
{
	struct vcpu *v = b->v;

	v->rip = entry;
	v->rflags = RFLAGS_FIXED1;
	v->gpr[X86_RSP] = BOOT_STACK_TOP;
	v->cr0 = CR0_PE | CR0_ET | CR0_NE;
	v->xcr0 = 1;
	v->dr[6] = 0xffff0ff0;
	v->dr[7] = 0x400;
	v->cpl = 0;
	v->activity = VCPU_RUNNING;
	v->pat = UINT64_C(0x0007040600070406);
	v->apic_base = 0xfee00900;
	v->misc_enable = MISC_ENABLE_RESET;
	v->de_cfg = DE_CFG_LFENCE_SERIALIZES;
	start_mtrrs(b);
	put16(v->xsave, 0x37f);
	put32(v->xsave + XSAVE_MXCSR, 0x1f80);
}

// Identity map of the first 4 GiB by 2 MiB pages: every processor model has those.
static gpa_t put_page_tables(struct boot *b)
{
	enum { DIRS = 4, ENTRIES = 512, TABLE = PTE_P | PTE_W | PTE_A, PAGE = TABLE | PTE_D | PTE_PS };
	gpa_t pml4 = BOOT_PAGE_TABLES, pdpt = pml4 + PAGE_SIZE, pd = pdpt + PAGE_SIZE;
	uint8_t *p = boot_ram(b, pml4, (2 + DIRS) * PAGE_SIZE);

	memset(p, 0, 2 * PAGE_SIZE);
	put64(p, pdpt | TABLE);
	for (unsigned i = 0; i < DIRS; i++)
		put64(p + PAGE_SIZE + i * 8, (pd + i * PAGE_SIZE) | TABLE);
	for (unsigned i = 0; i < DIRS * ENTRIES; i++)
		put64(p + 2 * PAGE_SIZE + i * 8, (uint64_t)i << 21 | PAGE);
	return pml4;
}

void start_linux64(struct boot *b, gpa_t entry, gpa_t zero_page)
{
	struct vcpu *v = b->v;

	start_common(b, entry);
	start_segments(b, ATTR_CODE64, GDT_CODE, GDT_DATA);
	v->cr3 = put_page_tables(b);
	v->cr4 = CR4_PAE;
	v->efer = EFER_LME | EFER_LMA;
	v->cr0 |= CR0_PG;
	v->gpr[X86_RSI] = zero_page;
}

// The 32-bit boot protocol: protected mode, flat segments, no paging.
void start_linux32(struct boot *b, gpa_t entry, gpa_t zero_page)
{
	start_common(b, entry);
	start_segments(b, ATTR_CODE32, GDT_CODE, GDT_DATA);
	b->v->gpr[X86_RSI] = zero_page;
}

void start_pvh(struct boot *b, gpa_t entry, gpa_t start_info)
{
	start_common(b, entry);
	start_segments(b, ATTR_CODE32, GDT_CODE, GDT_DATA);
	b->v->gpr[X86_RBX] = start_info;
}

// The multiboot specification, "I386 machine state". ESP and the GDT are the kernel's to set up; here they are valid.
void start_multiboot(struct boot *b, gpa_t entry, gpa_t info)
{
	enum { LOADED_BY_MULTIBOOT = 0x2badb002 };

	start_common(b, entry);
	start_segments(b, ATTR_CODE32, GDT_MULTIBOOT_CODE, GDT_MULTIBOOT_DATA);
	b->v->gpr[X86_RAX] = LOADED_BY_MULTIBOOT;
	b->v->gpr[X86_RBX] = info;
}
