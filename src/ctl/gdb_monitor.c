// SPDX-License-Identifier: MIT
//
// GDB's "monitor" command: a line of text in, text out. The commands are those of QEMU's human monitor that a debugger
// needs, one row each; registers are printed in QEMU's form, which scripts read.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/gdb_wire.h"
#include "ctl/peek.h"
#include "ctl/stats.h"

static void help(struct gdb *g, const char *arg, FILE *out);

static char code_size(const struct vcpu *v)
{
	return vcpu_code64(v) ? '6' : v->seg[X86_CS].attr & SEG_DB ? '3' : '1';
}

static void print_segment(FILE *out, const char *name, const struct x86_seg *s)
{
	fprintf(out, "%s =%04x %016" PRIx64 " %08x %08x\n", name, s->sel, s->base, s->limit, s->attr);
}

static void info_registers(struct gdb *g, const char *arg, FILE *out)
{
	static const char *const names[] = {"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP",
		"R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
	static const uint8_t order[] = {X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RBP, X86_RSP,
		X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15};
	static const char *const segs[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
	const struct vcpu *v = gdb_vcpu(g);

	for (unsigned i = 0; i < X86_GPRS; i++)
		fprintf(out, "%s=%016" PRIx64 "%c", names[i], v->gpr[order[i]], i % 4 == 3 ? '\n' : ' ');
	fprintf(out, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " CPL=%u CS%c HLT=%u\n", v->rip, v->rflags, v->cpl, code_size(v),
		v->activity == VCPU_HALTED);
	for (unsigned i = 0; i < X86_SREGS; i++)
		print_segment(out, segs[i], &v->seg[i]);
	print_segment(out, "LDT", &v->ldtr);
	print_segment(out, "TR", &v->tr);
	fprintf(out, "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n", v->gdtr.base, v->gdtr.limit,
		v->idtr.base, v->idtr.limit);
	fprintf(out, "CR0=%08" PRIx64 " CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08" PRIx64 "\n", v->cr0, v->cr2, v->cr3,
		v->cr4);
	fprintf(out, "DR0=%016" PRIx64 " DR1=%016" PRIx64 " DR2=%016" PRIx64 " DR3=%016" PRIx64 "\n", v->dr[0], v->dr[1],
		v->dr[2], v->dr[3]);
	fprintf(out, "DR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", v->dr[6], v->dr[7], v->efer);
}

static void info_stats(struct gdb *g, const char *arg, FILE *out)
{
	const struct stats copy = stats_sum(g->machine->shared);

	stats_print(out, STATS_TEXT, &copy, g->machine);
}

static void info_status(struct gdb *g, const char *arg, FILE *out)
{
	fprintf(out, "VM status: paused (debug)\n");
}

static void gva2gpa(struct gdb *g, const char *arg, FILE *out)
{
	gpa_t gpa;

	if (peek_translate(gdb_memory(g), gdb_vcpu(g), strtoull(arg, NULL, 0), &gpa))
		fprintf(out, "gpa: %#" PRIx64 "\n", gpa);
	else
		fprintf(out, "Unmapped\n");
}

static void quit(struct gdb *g, const char *arg, FILE *out)
{
	machine_post(g->machine, EVENT_QUIT, 0);
}

static const struct command {
	const char *name, *help;
	void (*act)(struct gdb *g, const char *arg, FILE *out);
} commands[] = {
	{ "gva2gpa", "ADDRESS -- the guest-physical address of a linear one", gva2gpa },
	{ "help", "-- this list", help },
	{ "info registers", "-- the processor's registers", info_registers },
	{ "info stats", "-- ringer's statistics", info_stats },
	{ "info status", "-- whether the guest runs", info_status },
	{ "quit", "-- end ringer", quit },
};

static void help(struct gdb *g, const char *arg, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(out, "%s %s\n", commands[i].name, commands[i].help);
}

static void run(struct gdb *g, const char *line, FILE *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		size_t n = strlen(commands[i].name);

		if (!strncmp(line, commands[i].name, n) && (!line[n] || line[n] == ' ')) {
			commands[i].act(g, line + n, out);
			return;
		}
	}
	fprintf(out, "unknown command '%s'; 'help' lists them\n", line);
}

void gdb_monitor(struct gdb *g, const char *line)
{
	char text[GDB_PACKET_MAX]; // twice that in hexadecimal is the longest packet there is
	char hex[2 * sizeof(text)];
	FILE *out = fmemopen(text, sizeof(text) - 16, "w");
	long n;

	if (!out) {
		gdb_reply(g, "E0c");
		return;
	}
	run(g, line, out);
	fflush(out);
	n = ftell(out);
	fclose(out);
	if (n > 0)
		gdb_send(g, hex, gdb_put_hex(hex, (uint8_t *)text, (size_t)n));
	else
		gdb_reply(g, "OK");
}
