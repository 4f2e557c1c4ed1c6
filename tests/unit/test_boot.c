// SPDX-License-Identifier: MIT
//
// The kernel loader on tiny made-up images: what it places where, the state it leaves, and what it says to each kind of
// bad input. The ACPI tables go through iasl both ways, if it is installed.
#include "boot/acpi_files.h"
#include "boot/boot.h"
#include "boot/bytes.h"
#include "boot/load.h"
#include "mem/zone.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RAM = 64 << 20, SETUP = 1024, BODY = 4096 };

static int failures;
static char dir[] = "/tmp/ringer-boot-XXXXXX";
static struct config cfg;
static struct vcpu v;
static char err[512];

_Noreturn void base_panic(const char *file, int line, const char *what);
_Noreturn void base_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

#define CHECK(x)                                                                                                       \
	((x) ? (void)0 : (void)(failures++, printf("%s:%d: not so: %s (err: %s)\n", __FILE__, __LINE__, #x, err)))

static const char *put_file(const char *name, const void *data, size_t size)
{
	static char paths[4][64];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", dir, name);
	FILE *f = fopen(path, "wb");

	if (!f || fwrite(data, 1, size, f) != size || fclose(f))
		abort();
	return path;
}

static int load(const char *kernel, const char *initrd, const char *append)
{
	struct boot_args a = { .kernel = kernel, .initrd = initrd, .append = append };

	memset(&v, 0, sizeof(v));
	err[0] = 0;
	return boot_load(&a, &cfg, &v, err, sizeof(err));
}

// The load fails, and its one line names the file (or option) and holds `says`.
static void expect(int line, int ret, const char *name, const char *says)
{
	if (ret < 0 && strstr(err, name) && strstr(err, says) && !strchr(err, '\n'))
		return;
	failures++;
	printf("line %d: expected a refusal of %s with \"%s\", got %d \"%s\"\n", line, name, says, ret, err);
}

// -- bzImage ---------------------------------------------------------------------------------------------------------

static size_t make_bzimage(uint8_t *k)
{
	memset(k, 0, SETUP);
	memset(k + SETUP, 0x90, BODY);
	k[0x1f1] = SETUP / 512 - 1;
	put32(k + 0x1f4, BODY / 16);
	put16(k + 0x1fe, 0xaa55);
	k[0x200] = 0xeb;
	k[0x201] = 0x6a;
	memcpy(k + 0x202, "HdrS", 4);
	put16(k + 0x206, 0x20f);
	k[0x211] = 1;
	put32(k + 0x22c, 0x7fffffff);
	put32(k + 0x230, 0x200000);
	k[0x234] = 1;
	put16(k + 0x236, 1);
	put32(k + 0x238, 2047);
	put64(k + 0x258, 0x1000000);
	put32(k + 0x260, 0x800000);
	return SETUP + BODY;
}

static void test_bzimage(void)
{
	static uint8_t k[SETUP + BODY], initrd[5000];
	size_t size = make_bzimage(k);
	const uint8_t *zp = mem_host(&cfg.mem, BOOT_ZERO_PAGE, 4096);

	memset(initrd, 0x5a, sizeof(initrd));
	CHECK(load(put_file("bz", k, size), put_file("rd", initrd, sizeof(initrd)), "console=ttyS0") == 0);
	CHECK(v.rip == 0x1000200 && v.gpr[X86_RSI] == BOOT_ZERO_PAGE && v.rflags == 2);
	CHECK(v.seg[X86_CS].sel == 0x10 && v.seg[X86_SS].sel == 0x18 && (v.seg[X86_CS].attr & SEG_L));
	CHECK(vcpu_long_mode(&v) && vcpu_paging(&v) && (v.cr4 & CR4_PAE));
	CHECK(!memcmp(mem_host(&cfg.mem, 0x1000000, BODY), k + SETUP, BODY));
	CHECK(get32(zp + 0x228) == BOOT_CMDLINE && !strcmp(mem_host(&cfg.mem, BOOT_CMDLINE, 64), "console=ttyS0"));
	CHECK(zp[0x210] == 0xff && get64(zp + 0x70) == BOOT_RSDP && zp[0x1e8] >= 6);
	uint32_t at = get32(zp + 0x218);

	CHECK(get32(zp + 0x21c) == sizeof(initrd) && at % 4096 == 0 && at + sizeof(initrd) <= RAM - BOOT_ACPI_SIZE);
	CHECK(at > RAM - BOOT_ACPI_SIZE - 3 * 4096 && !memcmp(mem_host(&cfg.mem, at, 5000), initrd, 5000));
	uint64_t pml4e = get64(mem_host(&cfg.mem, v.cr3, 8)), pdpte = get64(mem_host(&cfg.mem, pml4e & PTE_ADDR, 8));
	uint64_t pde = get64(mem_host(&cfg.mem, (pdpte & PTE_ADDR) + 8 * 8, 8));

	CHECK((pde & ~0xfffull) == 0x1000000 && (pde & PTE_PS) && (pde & PTE_P));
	CHECK(get64(mem_host(&cfg.mem, v.gdtr.base + 0x10, 8)) == 0x00af9b000000ffff);
	CHECK(get64(mem_host(&cfg.mem, v.gdtr.base + 0x18, 8)) == 0x00cf93000000ffff);
}

static void test_bzimage_low(void) // RAM ends before the preferred address: as low as alignment allows
{
	static uint8_t k[SETUP + BODY];
	size_t size = make_bzimage(k);

	mem_layout(&cfg.mem, 12 << 20);
	CHECK(load(put_file("bz", k, size), NULL, NULL) == 0 && v.rip == 0x200200);
	k[0x234] = 0;
	expect(__LINE__, load(put_file("fixed", k, size), NULL, NULL), "/fixed", "-m");
	mem_layout(&cfg.mem, 8 << 20);
	k[0x234] = 1;
	expect(__LINE__, load(put_file("big", k, size), NULL, NULL), "/big", "-m");
	mem_layout(&cfg.mem, 1 << 20);
	expect(__LINE__, load(put_file("tiny", k, size), NULL, NULL), "-m", "4M");
	mem_layout(&cfg.mem, RAM);
}

static void test_bzimage_i386(void) // the 32-bit entry: protected mode, no paging
{
	static uint8_t k[SETUP + BODY];
	size_t size = make_bzimage(k);

	put16(k + 0x236, 0);
	CHECK(load(put_file("i386", k, size), NULL, NULL) == 0 && !(v.rip & 0xfff) && !(v.cr0 & CR0_PG) && !v.efer &&
	      v.seg[X86_CS].attr & SEG_DB && v.gpr[X86_RSI]);
}

static void test_bzimage_refusals(void)
{
	static uint8_t k[SETUP + BODY], big[RAM];
	char line[4000];
	size_t size = make_bzimage(k);

	expect(__LINE__, load(put_file("short", k, size - 100), NULL, NULL), "/short", "truncated");
	expect(__LINE__, load(put_file("shorter", k, 0x220), NULL, NULL), "/shorter", "truncated");
	put16(k + 0x206, 0x20a);
	expect(__LINE__, load(put_file("old", k, size), NULL, NULL), "/old", "too old");
	make_bzimage(k);
	memset(line, 'x', sizeof(line) - 1);
	line[sizeof(line) - 1] = 0;
	expect(__LINE__, load(put_file("bz", k, size), NULL, line), "-append", "2047");
	line[2047] = 0;
	CHECK(load(put_file("bz", k, size), NULL, line) == 0);
	expect(__LINE__, load(put_file("bz", k, size), put_file("huge", big, RAM - (20 << 20)), ""), "/huge", "-m");
	expect(__LINE__, load(put_file("bz", k, size), put_file("none", big, 0), ""), "/none", "empty");
	expect(__LINE__, load(put_file("bz", k, size), "/nonexistent/rd", ""), "/nonexistent/rd", "check");
	expect(__LINE__, load(put_file("bz", k, size), "/tmp", ""), "/tmp", "regular");
}

// -- PVH -------------------------------------------------------------------------------------------------------------

static size_t make_pvh64(uint8_t *k)
{
	Elf64_Ehdr *h = (Elf64_Ehdr *)k;
	Elf64_Phdr *p = (Elf64_Phdr *)(k + sizeof(*h));
	uint8_t *note = k + 0x200;

	memset(k, 0, 0x400);
	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_ident[EI_DATA] = ELFDATA2LSB;
	h->e_machine = EM_X86_64;
	h->e_phoff = sizeof(*h);
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf64_Phdr){
	    .p_type = PT_LOAD, .p_offset = 0x300, .p_paddr = 0x200000, .p_filesz = 0x100, .p_memsz = 0x3000};
	p[1] = (Elf64_Phdr){ .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20, .p_memsz = 20, .p_align = 4 };
	put32(note, 4);
	put32(note + 4, 4);
	put32(note + 8, 18);
	memcpy(note + 12, "Xen", 4);
	put32(note + 16, 0x200010);
	memset(k + 0x300, 0xf4, 0x100);
	return 0x400;
}

static size_t make_pvh32(uint8_t *k)
{
	Elf32_Ehdr *h = (Elf32_Ehdr *)k;
	Elf32_Phdr *p = (Elf32_Phdr *)(k + sizeof(*h));

	make_pvh64(k);
	memset(k + EI_NIDENT, 0, 0x200 - EI_NIDENT);
	h->e_ident[EI_CLASS] = ELFCLASS32;
	h->e_machine = EM_386;
	h->e_phoff = sizeof(*h);
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf32_Phdr){
	    .p_type = PT_LOAD, .p_offset = 0x300, .p_paddr = 0x200000, .p_filesz = 0x100, .p_memsz = 0x3000};
	p[1] = (Elf32_Phdr){ .p_type = PT_NOTE, .p_offset = 0x200, .p_filesz = 20, .p_memsz = 20, .p_align = 4 };
	return 0x400;
}

static void check_pvh(void)
{
	const uint8_t *info = mem_host(&cfg.mem, BOOT_PVH_INFO, 4096);

	CHECK(v.rip == 0x200010 && v.gpr[X86_RBX] == BOOT_PVH_INFO && !vcpu_paging(&v) && !v.efer && !v.cr4);
	CHECK((v.cr0 & CR0_PE) && (v.seg[X86_CS].attr & SEG_DB) && !(v.seg[X86_CS].attr & SEG_L));
	CHECK(v.seg[X86_CS].limit == 0xffffffff && v.tr.limit == 0x67);
	CHECK(get32(info) == 0x336ec578 && get32(info + 4) == 1 && get32(info + 12) == 1 &&
	      get64(info + 32) == BOOT_RSDP);
	CHECK(!strcmp(mem_host(&cfg.mem, get64(info + 24), 8), "hello") && get32(info + 48) >= 6);
	const uint8_t *module = mem_host(&cfg.mem, get64(info + 16), 32),
		      *map = mem_host(&cfg.mem, get64(info + 40), 24);

	CHECK(get64(module + 8) == 3 && !memcmp(mem_host(&cfg.mem, get64(module), 3), "abc", 3));
	CHECK(get64(map) == 0 && get64(map + 8) == BOOT_EBDA && get32(map + 16) == 1);
}

static void test_pvh(void)
{
	static uint8_t k[0x400] __attribute__((aligned(16)));
	Elf64_Ehdr *h = (Elf64_Ehdr *)k;
	Elf64_Phdr *p = (Elf64_Phdr *)(k + sizeof(*h));
	size_t size = make_pvh64(k);

	CHECK(load(put_file("pvh64", k, size), put_file("rd", "abc", 3), "hello") == 0);
	check_pvh();
	size = make_pvh32(k);
	CHECK(load(put_file("pvh32", k, size), put_file("rd", "abc", 3), "hello") == 0);
	check_pvh();

	make_pvh64(k);
	expect(__LINE__, load(put_file("cut", k, 0x380), NULL, NULL), "/cut", "truncated");
	expect(__LINE__, load(put_file("cut", k, 40), NULL, NULL), "/cut", "truncated");
	expect(__LINE__, load(put_file("cut", k, 4), NULL, NULL), "/cut", "truncated");
	put32(k + 0x208, 19);
	expect(__LINE__, load(put_file("nonote", k, size), NULL, NULL), "/nonote", "PVH");
	make_pvh64(k);
	h->e_machine = EM_AARCH64;
	expect(__LINE__, load(put_file("arm", k, size), NULL, NULL), "/arm", "another machine");
	make_pvh64(k);
	p[0].p_memsz = (uint64_t)RAM * 2;
	expect(__LINE__, load(put_file("large", k, size), NULL, NULL), "/large", "-m");
	p[0].p_paddr = UINT64_MAX - 10;
	expect(__LINE__, load(put_file("wrap", k, size), NULL, NULL), "/wrap", "-m");
	p[0].p_paddr = 0x1000;
	p[0].p_memsz = 0x100;
	expect(__LINE__, load(put_file("low", k, size), NULL, NULL), "/low", "1 MiB");
	make_pvh64(k);
	p[0].p_offset = UINT64_MAX - 4;
	expect(__LINE__, load(put_file("offset", k, size), NULL, NULL), "/offset", "truncated");
	make_pvh64(k);
	h->e_phoff = UINT64_MAX;
	expect(__LINE__, load(put_file("phoff", k, size), NULL, NULL), "/phoff", "truncated");
	make_pvh64(k);
	put32(k + 0x200, 0xffffffff);
	put32(k + 0x204, 0xffffffff);
	expect(__LINE__, load(put_file("badnote", k, size), NULL, NULL), "/badnote", "PVH");
}

// -- Multiboot -------------------------------------------------------------------------------------------------------

enum { MB_AT = 64, MB_LOAD = 0x20000, MB_BSS = 0x3000 };

static void make_multiboot(uint8_t *k, size_t size, uint32_t flags)
{
	memset(k, 0x90, size);
	put32(k + MB_AT, 0x1badb002);
	put32(k + MB_AT + 4, flags);
	put32(k + MB_AT + 8, 0u - 0x1badb002u - flags);
	put32(k + MB_AT + 12, MB_LOAD + MB_AT - 16); // the bytes are used from 16 on
	put32(k + MB_AT + 16, MB_LOAD);
	put32(k + MB_AT + 20, MB_LOAD + 0x800);
	put32(k + MB_AT + 24, MB_LOAD + MB_BSS);
	put32(k + MB_AT + 28, MB_LOAD + 0x40);
}

static void test_multiboot_flat(void)
{
	static uint8_t k[4096], one[100], two[5000];
	char modules[300];
	const char *kernel, *first, *second;
	const uint8_t *info, *mod, *map;

	memset(one, 1, sizeof(one));
	memset(two, 2, sizeof(two));
	make_multiboot(k, sizeof(k), 1 << 16 | 3);
	memset(mem_host(&cfg.mem, MB_LOAD, MB_BSS), 0xff, MB_BSS);
	kernel = put_file("mb", k, sizeof(k));
	first = put_file("one", one, sizeof(one));
	second = put_file("two", two, sizeof(two));
	snprintf(modules, sizeof(modules), "%s a b,%s", first, second);
	CHECK(load(kernel, modules, "x=1 y") == 0);
	CHECK(v.rip == MB_LOAD + 0x40 && v.gpr[X86_RAX] == 0x2badb002 && v.cr0 == (CR0_PE | CR0_ET | CR0_NE));
	CHECK(v.seg[X86_CS].base == 0 && v.seg[X86_CS].limit == UINT32_MAX && v.seg[X86_CS].attr & SEG_DB && v.rflags == 2);
	CHECK(!memcmp(mem_host(&cfg.mem, MB_LOAD, 0x800), k + 16, 0x800));
	for (unsigned i = 0x800; i < MB_BSS; i++)
		CHECK(*(uint8_t *)mem_host(&cfg.mem, MB_LOAD + i, 1) == 0);
	info = mem_host(&cfg.mem, v.gpr[X86_RBX], 120);
	CHECK((get32(info) & 0x24f) == 0x24f && get32(info + 4) == 639 && get32(info + 8) < RAM / 1024);
	snprintf(modules, sizeof(modules), "%s x=1 y", kernel);
	CHECK(!strcmp(mem_host(&cfg.mem, get32(info + 16), 100), modules) && get32(info + 20) == 2);
	mod = mem_host(&cfg.mem, get32(info + 24), 32);
	CHECK(get32(mod) % 4096 == 0 && get32(mod + 4) - get32(mod) == 100);
	CHECK(!memcmp(mem_host(&cfg.mem, get32(mod), 100), one, 100));
	snprintf(modules, sizeof(modules), "%s a b", first);
	CHECK(!strcmp(mem_host(&cfg.mem, get32(mod + 8), 100), modules));
	CHECK(get32(mod + 16) % 4096 == 0 && !memcmp(mem_host(&cfg.mem, get32(mod + 16), 5000), two, 5000));
	CHECK(!strcmp(mem_host(&cfg.mem, get32(mod + 24), 100), second));
	map = mem_host(&cfg.mem, get32(info + 48), get32(info + 44));
	CHECK(get32(info + 44) % 24 == 0 && get32(map) == 20 && get64(map + 4) == 0 && get32(map + 20) == E820_RAM);
	CHECK(!strcmp(mem_host(&cfg.mem, get32(info + 64), 10), "ringer"));
	CHECK(get64(mem_host(&cfg.mem, v.gdtr.base + 0x08, 8)) == 0x00cf9b000000ffff);
}

static void test_multiboot_elf(void)
{
	static uint8_t k[8192];
	Elf64_Ehdr *h = (Elf64_Ehdr *)k;
	Elf64_Phdr *p = (Elf64_Phdr *)(k + sizeof(*h));

	make_multiboot(k, sizeof(k), 0);
	memmove(k + 512, k + MB_AT, 12);
	*h = (Elf64_Ehdr){ .e_ident = "\x7f" "ELF\2\1\1", .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_phnum = 1,
			   .e_entry = 0xffffffff80000010, .e_phoff = sizeof(*h), .e_phentsize = sizeof(*p) };
	*p = (Elf64_Phdr){ .p_type = PT_LOAD, .p_flags = PF_X, .p_vaddr = 0xffffffff80000000, .p_paddr = 0x200000,
			   .p_filesz = sizeof(k), .p_memsz = 3 * sizeof(k) };
	CHECK(load(put_file("mbelf", k, sizeof(k)), NULL, NULL) == 0);
	CHECK(v.rip == 0x200010 && !memcmp(mem_host(&cfg.mem, 0x200000, sizeof(k)), k, sizeof(k)));
	p->p_paddr = RAM - 4096;
	expect(__LINE__, load(put_file("mbhigh", k, sizeof(k)), NULL, NULL), "/mbhigh", "-m");
}

static void test_multiboot_refusals(void)
{
	static uint8_t k[4096];

	make_multiboot(k, sizeof(k), 1 << 16 | 8);
	expect(__LINE__, load(put_file("mbflag", k, sizeof(k)), NULL, NULL), "/mbflag", "flags");
	make_multiboot(k, sizeof(k), 0);
	expect(__LINE__, load(put_file("mbnone", k, sizeof(k)), NULL, NULL), "/mbnone", "no ELF");
	make_multiboot(k, sizeof(k), 1 << 16);
	expect(__LINE__, load(put_file("mbcut", k, 1000), NULL, NULL), "/mbcut", "truncated");
	put32(k + MB_AT + 12, MB_LOAD + MB_AT + 4);
	expect(__LINE__, load(put_file("mbneg", k, sizeof(k)), NULL, NULL), "/mbneg", "contradict");
	make_multiboot(k, sizeof(k), 1 << 16);
	put32(k + MB_AT + 20, 0);
	put32(k + MB_AT + 24, 0xffffffff);
	expect(__LINE__, load(put_file("mbbss", k, sizeof(k)), NULL, NULL), "/mbbss", "-m");
	make_multiboot(k, sizeof(k), 1 << 16);
	put32(k + MB_AT + 28, 0xfffffff0);
	expect(__LINE__, load(put_file("mbentry", k, sizeof(k)), NULL, NULL), "/mbentry", "entry");
	make_multiboot(k, sizeof(k), 1 << 16);
	expect(__LINE__, load(put_file("mbmod", k, sizeof(k)), "/nonexistent/module x", NULL), "/nonexistent/mod",
	       "open");
}

// -- Foreign files ---------------------------------------------------------------------------------------------------

static void test_foreign(void)
{
	static uint8_t k[4096];

	expect(__LINE__, load("/nonexistent/kernel", NULL, NULL), "/nonexistent/kernel", "check the path");
	expect(__LINE__, load(put_file("empty", k, 0), NULL, NULL), "/empty", "empty");
	expect(__LINE__, load("/", NULL, NULL), "/:", "regular");
	expect(__LINE__, load("/dev/zero", NULL, NULL), "/dev/zero", "regular");
	expect(__LINE__, load(put_file("one", k, 1), NULL, NULL), "/one", "not a kernel");
	expect(__LINE__, load(put_file("zeros", k, sizeof(k)), NULL, NULL), "/zeros", "not a kernel");
	memcpy(k + 0x38, "ARM\x64", 4);
	expect(__LINE__, load(put_file("Image", k, sizeof(k)), NULL, NULL), "/Image", "arm64");
	memset(k, 0, sizeof(k));
	memcpy(k, "\x1f\x8b", 2);
	expect(__LINE__, load(put_file("gz", k, sizeof(k)), NULL, NULL), "/gz", "unpack");
	memset(k, 0, sizeof(k));
	put32(k + 64, 0xe85250d6);
	expect(__LINE__, load(put_file("mb2", k, sizeof(k)), NULL, NULL), "/mb2", "multiboot 2 is not built");
}

// -- ACPI ------------------------------------------------------------------------------------------------------------

static uint8_t sum(const uint8_t *p, size_t n)
{
	uint8_t s = 0;

	while (n--)
		s += *p++;
	return s;
}

// A table at gpa: checksum right, and iasl takes it apart and puts it together again.
static void check_table(gpa_t gpa, const char *signature, bool iasl)
{
	const uint8_t *t = mem_host(&cfg.mem, gpa, 36);
	uint32_t len = t ? get32(t + 4) : 0;
	char cmd[512];

	CHECK(t && len >= 36 && mem_is_ram(&cfg.mem, gpa, len) && !memcmp(t, signature, 4) && sum(t, len) == 0);
	if (!t || !iasl)
		return;
	snprintf(cmd, sizeof(cmd), "%.4s.aml", signature);
	put_file(cmd, t, len);
	snprintf(cmd, sizeof(cmd),
		 "cd %s && iasl -d %.4s.aml >%.4s.log 2>&1 && iasl -we -p again %.4s.dsl >>%.4s.log 2>&1 || "
		 "{ cat %.4s.log; false; }",
		 dir, signature, signature, signature, signature, signature);
	CHECK(system(cmd) == 0);
}

static void test_acpi(void)
{
	static uint8_t k[SETUP + BODY];
	size_t size = make_bzimage(k);
	bool iasl = system("command -v iasl >/dev/null") == 0;
	const uint8_t *rsdp = mem_host(&cfg.mem, BOOT_RSDP, 36);

	CHECK(load(put_file("bz", k, size), NULL, NULL) == 0);
	CHECK(!memcmp(rsdp, "RSD PTR ", 8) && sum(rsdp, 20) == 0 && sum(rsdp, 36) == 0);
	gpa_t xsdt = get64(rsdp + 24);

	check_table(get32(rsdp + 16), "RSDT", false);
	check_table(xsdt, "XSDT", false);
	const uint8_t *x = mem_host(&cfg.mem, xsdt, 36 + 3 * 8);

	check_table(get64(x + 36), "FACP", iasl);
	check_table(get64(x + 44), "APIC", iasl);
	check_table(get64(x + 52), "HPET", iasl);
	const uint8_t *fadt = mem_host(&cfg.mem, get64(x + 36), 244);

	check_table(get64(fadt + 140), "DSDT", iasl);
	CHECK(!memcmp(mem_host(&cfg.mem, get64(fadt + 132), 64), "FACS", 4) && get64(fadt + 132) % 64 == 0);
	if (!iasl)
		printf("iasl is not installed: tables not disassembled\n");
}

// The script, as firmware runs it with the tables at a place of its own: that makes what is built for this place.
static void test_acpi_files(void)
{
	enum { AT = 0x12340000, COMMAND = 0, FILE_NAME = 4, ARGUMENTS = 60 };
	static struct acpi_files f;
	static uint8_t want[ACPI_FILE_SIZE], want_rsdp[ACPI_RSDP_SIZE];
	struct acpi a = {.cfg = &cfg, .base = AT, .mem = want, .size = sizeof(want)};
	unsigned allocated = 0;

	CHECK(acpi_files_build(&f, &cfg) && f.script_size && f.script_size % ACPI_SCRIPT_ENTRY == 0);
	acpi_build(&a, want_rsdp);
	CHECK(memcmp(f.tables, want, sizeof(want)));
	for (const uint8_t *p = f.script; p < f.script + f.script_size; p += ACPI_SCRIPT_ENTRY) {
		bool rsdp = !strcmp((const char *)p + FILE_NAME, ACPI_FILE_RSDP);
		uint8_t *file = rsdp ? f.rsdp : f.tables;
		size_t size = rsdp ? sizeof(f.rsdp) : sizeof(f.tables);
		const uint8_t *args = p + ARGUMENTS;
		uint64_t field = 0;

		CHECK(rsdp || !strcmp((const char *)p + FILE_NAME, ACPI_FILE_TABLES));
		switch (get32(p + COMMAND)) {
		case 1:
			allocated++;
			CHECK(get32(args) == (rsdp ? 16 : PAGE_SIZE) && args[4] == (rsdp ? 2 : 1));
			break;
		case 2:
			CHECK(!strcmp((const char *)args, ACPI_FILE_TABLES) && get32(args + 56) + args[60] <= size);
			memcpy(&field, file + get32(args + 56), args[60]);
			CHECK(field < sizeof(f.tables));
			field += AT;
			memcpy(file + get32(args + 56), &field, args[60]);
			break;
		case 3:
			CHECK(file[get32(args)] == 0 && get32(args + 4) + get32(args + 8) <= size);
			file[get32(args)] = acpi_checksum(file + get32(args + 4), get32(args + 8));
			break;
		default:
			CHECK(!"a known command");
		}
	}
	CHECK(allocated == 2);
	CHECK(!memcmp(f.tables, want, sizeof(want)) && !memcmp(f.rsdp, want_rsdp, sizeof(want_rsdp)));
}

// The structures one after the other, as a kernel walks them; how many, and the text of type 1's serial number.
static unsigned walk_smbios(const uint8_t *t, const uint8_t *end, unsigned *oems)
{
	unsigned count = 0;

	while (t + 4 <= end) {
		uint8_t type = t[0];

		CHECK(get16(t + 2) == count);
		if (type == 11)
			*oems = t[4];
		for (t += t[1]; t + 1 < end && (t[0] || t[1]); t++)
			;
		t += 2;
		count++;
		if (type == 127)
			break;
	}
	CHECK(t == end);
	return count;
}

static void test_smbios(void)
{
	static char big[SMBIOS_SIZE];
	struct smbios_args a = {.text[SMBIOS_SERIAL] = "ds=nocloud", .oems = 2, .oem = {"one", "two=2"},
				.uuid = {1, 2, 3, 4}};
	static struct smbios s;
	unsigned oems = 0;

	CHECK(smbios_build(&s, &a, &cfg, 0xf2100));
	CHECK(!memcmp(s.entry, "_SM_", 4) && sum(s.entry, sizeof(s.entry)) == 0 && sum(s.entry + 0x10, 0xf) == 0);
	CHECK(!memcmp(s.entry_64, "_SM3_", 5) && sum(s.entry_64, sizeof(s.entry_64)) == 0);
	CHECK(walk_smbios(s.table, s.table + s.size, &oems) == get16(s.entry + 0x1c) && oems == 2);
	CHECK(get16(s.entry + 0x16) == s.size && get32(s.entry_64 + 0x10) == 0xf2100);
	CHECK(memmem(s.table, s.size, "ds=nocloud\0", 11) && memmem(s.table, s.size, "two=2\0", 6));
	CHECK(get32(s.table + 0x18 + sizeof("ringer") + sizeof("0.1.0") + sizeof("01/01/2026") + 1 + 8) == 0x01020304);
	memset(big, 'x', sizeof(big) - 1);
	a.oem[1] = big;
	CHECK(!smbios_build(&s, &a, &cfg, 0xf2100));
}

int main(void)
{
	char cmd[64];

	if (!mkdtemp(dir) || mmap((void *)ZONE_RAM, RAM, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == MAP_FAILED)
		return 1;
	mem_layout(&cfg.mem, RAM);
	cfg.vcpus = 1;
	cfg.pit = cfg.pic = cfg.hpet = cfg.rtc = cfg.i8042 = true;
	for (unsigned i = 0; i < SERIAL_PORTS; i++)
		cfg.serial_present[i] = true;
	test_bzimage();
	test_bzimage_low();
	test_bzimage_i386();
	test_bzimage_refusals();
	test_pvh();
	test_multiboot_flat();
	test_multiboot_elf();
	test_multiboot_refusals();
	test_foreign();
	test_acpi();
	test_acpi_files();
	test_smbios();
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	if (!failures)
		return system(cmd) != 0;
	printf("%d failures; files in %s\n", failures, dir);
	return 1;
}
