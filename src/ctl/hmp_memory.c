// SPDX-License-Identifier: MIT
//
// Guest memory for people and scripts: x, xp, memsave, pmemsave, and a dump of all of it as an ELF core (ELF
// specification, "Program Header"). What is not RAM is not looked at. Addresses that the guest's page tables translate
// are seen as the first processor sees them now.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/dump.h"
#include "ctl/hmp.h"
#include "ctl/peek.h"

enum { SAVE_PIECE = 1 << 16 };

struct format { // /COUNT FORMAT SIZE
	unsigned count, size;
	char how; // x d u o c
};

static bool parse_format(const char **rest, struct format *f)
{
	const char *at = *rest;
	char *end;

	*f = (struct format){1, 4, 'x'};
	if (*at++ != '/')
		return true;
	f->count = isdigit((unsigned char)*at) ? (unsigned)strtoul(at, &end, 10) : 1;
	for (at += strspn(at, "0123456789"); *at && *at != ' '; at++) {
		const char *sizes = "bhwg", *size = strchr(sizes, *at);

		if (size)
			f->size = 1u << (size - sizes);
		else if (strchr("xduoc", *at))
			f->how = *at;
		else
			return false;
	}
	*rest = at + strspn(at, " ");
	return f->count > 0 && f->count <= 1024;
}

static bool read_guest(struct machine *m, bool physical, uint64_t addr, void *to, size_t n)
{
	const struct mem *mem = &m->shared->config.mem;
	const void *at = physical ? mem_host(mem, addr, n) : NULL;

	if (!physical)
		return peek_read(mem, m->vcpu[0], addr, to, n) == n;
	if (at)
		memcpy(to, at, n);
	return at;
}

static void print_value(struct hmp_text *t, const struct format *f, uint64_t v)
{
	int64_t s = f->size == 8 ? (int64_t)v : (int64_t)(v << (64 - 8 * f->size)) >> (64 - 8 * f->size);

	switch (f->how) {
	case 'd':
		hmp_print(t, " %lld", (long long)s);
		break;
	case 'u':
		hmp_print(t, " %llu", (unsigned long long)v);
		break;
	case 'o':
		hmp_print(t, " %#llo", (unsigned long long)v);
		break;
	case 'c':
		hmp_print(t, isprint((int)(v & 0xff)) ? " '%c'" : " '\\x%02x'", (int)(v & 0xff));
		break;
	default:
		hmp_print(t, " 0x%0*llx", (int)f->size * 2, (unsigned long long)v);
	}
}

static void examine(struct machine *m, const char *rest, struct hmp_text *t, bool physical)
{
	struct format f;
	uint64_t addr, v;

	if (!parse_format(&rest, &f)) {
		hmp_print(t, "Error: write it as /COUNT FORMAT SIZE: 1 to 1024, x d u o or c, b h w or g\r\n");
		return;
	}
	if (!hmp_number(&rest, t, &addr))
		return;
	for (unsigned i = 0; i < f.count; i++, addr += f.size) {
		if (i * f.size % 16 == 0)
			hmp_print(t, "%s%016llx:", i ? "\r\n" : "", (unsigned long long)addr);
		v = 0;
		if (!read_guest(m, physical, addr, &v, f.size)) {
			hmp_print(t, " Cannot access memory\r\n");
			return;
		}
		print_value(t, &f, v);
	}
	hmp_print(t, "\r\n");
}

void hmp_examine(struct machine *m, const char *rest, struct hmp_text *t)
{
	examine(m, rest, t, false);
}

void hmp_examine_physical(struct machine *m, const char *rest, struct hmp_text *t)
{
	examine(m, rest, t, true);
}

void hmp_print_value(struct machine *m, const char *rest, struct hmp_text *t)
{
	struct format f;
	uint64_t v;

	if (!parse_format(&rest, &f) || !hmp_number(&rest, t, &v))
		return;
	f.size = 8;
	hmp_print(t, f.how == 'x' ? "%#llx\r\n" : "%lld\r\n", (unsigned long long)v);
}

// -- to a file

bool memory_save(struct machine *m, bool physical, uint64_t addr, uint64_t size, const char *file, char *why, size_t n)
{
	FILE *f = fopen(file, "we");
	static const char cannot[] = "Could not open";
	char *piece = malloc(SAVE_PIECE);
	bool ok = f && piece;

	if (!ok)
		snprintf(why, n, "%s '%.150s': %s", cannot, file, strerror(errno));
	while (ok && size) {
		uint64_t part = MIN(size, SAVE_PIECE - (addr & (SAVE_PIECE - 1)));

		ok = read_guest(m, physical, addr, piece, part);
		if (!ok)
			snprintf(why, n, "Invalid addr 0x%016llx/size %llu specified", (unsigned long long)addr,
				 (unsigned long long)size);
		else if (fwrite(piece, 1, part, f) != part)
			ok = !snprintf(why, n, "cannot write '%.150s': %s", file, strerror(errno));
		addr += part;
		size -= part;
	}
	free(piece);
	if (f && fclose(f) && ok)
		ok = !snprintf(why, n, "cannot write '%.150s': %s", file, strerror(errno));
	return ok;
}

static void save(struct machine *m, const char *rest, struct hmp_text *t, bool physical)
{
	char file[512], why[256] = "";
	uint64_t addr, size;

	if (!hmp_number(&rest, t, &addr) || !hmp_number(&rest, t, &size))
		return;
	if (!hmp_word(&rest, file, sizeof(file)))
		hmp_print(t, "Error: name a file\r\n");
	else if (!memory_save(m, physical, addr, size, file, why, sizeof(why)))
		hmp_print(t, "Error: %s\r\n", why);
}

void hmp_memsave(struct machine *m, const char *rest, struct hmp_text *t)
{
	save(m, rest, t, false);
}

void hmp_pmemsave(struct machine *m, const char *rest, struct hmp_text *t)
{
	save(m, rest, t, true);
}

void hmp_dump(struct machine *m, const char *rest, struct hmp_text *t)
{
	char file[512], why[256] = "";

	while (hmp_word(&rest, file, sizeof(file)) && *file == '-')
		if (strcmp(file, "-p")) {
			hmp_print(t, "Error: '%s' is not built: an ELF core is\r\n", file);
			return;
		}
	if (!*file || *file == '-')
		hmp_print(t, "Error: name a file\r\n");
	else if (!memory_dump_file(m, file, why, sizeof(why)))
		hmp_print(t, "Error: %s\r\n", why);
}

void hmp_registers(struct machine *m, struct hmp_text *t)
{
	static const char names[16][4] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI", "R8 ", "R9 ", "R10",
					   "R11", "R12", "R13", "R14", "R15" };
	static const char segments[6][3] = { "ES", "CS", "SS", "DS", "FS", "GS" };
	const struct vcpu *v = m->vcpu[0];
	char why[200] = "";

	if (!machine_freeze(m, why, sizeof(why))) {
		hmp_print(t, "Error: %s\r\n", why);
		return;
	}
	hmp_print(t, "\r\nCPU#0\r\n");
	for (unsigned i = 0; i < 16; i++)
		hmp_print(t, "%s=%016llx%s", names[i], (unsigned long long)v->gpr[i], i % 4 == 3 ? "\r\n" : " ");
	hmp_print(t, "RIP=%016llx RFL=%08llx CPL=%u HLT=%u\r\n", (unsigned long long)v->rip,
		  (unsigned long long)v->rflags, v->seg[X86_CS].sel & 3u, atomic_load(&m->shared->vcpu_asleep[0]) != 0);
	for (unsigned i = 0; i < 6; i++)
		hmp_print(t, "%s =%04x %016llx %08x\r\n", segments[i], v->seg[i].sel, (unsigned long long)v->seg[i].base,
			  v->seg[i].limit);
	hmp_print(t, "CR0=%08llx CR2=%016llx CR3=%016llx CR4=%08llx\r\nEFER=%016llx\r\n", (unsigned long long)v->cr0,
		  (unsigned long long)v->cr2, (unsigned long long)v->cr3, (unsigned long long)v->cr4,
		  (unsigned long long)v->efer);
	machine_thaw(m);
}
