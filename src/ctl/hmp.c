// SPDX-License-Identifier: MIT
//
// The human monitor: a prompt, lines, and a table of the commands that scripts type.
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ctl/operator.h"
#include "ctl/screendump.h"

static void print(struct hmp_text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void print(struct hmp_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at + t->used, sizeof(t->at) - t->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used = MIN(t->used + (size_t)n, sizeof(t->at) - 1);
}

static void help(struct machine *m, const char *rest, struct hmp_text *t);

static void info_status(struct machine *m, struct hmp_text *t)
{
	const char *state = machine_run_state(m);

	if (machine_is_running(m) || !strcmp(state, "paused"))
		print(t, "VM status: %s\r\n", state);
	else
		print(t, "VM status: paused (%s)\r\n", state);
}

static void info_version(struct machine *m, struct hmp_text *t)
{
	print(t, "7.2.0 (ringer 0.1.0)\r\n");
}

static void info_kvm(struct machine *m, struct hmp_text *t)
{
	print(t, "kvm support: disabled\r\n");
}

static void info_name(struct machine *m, struct hmp_text *t)
{
	if (m->config->name)
		print(t, "%s\r\n", m->config->name);
}

static void info_cpus(struct machine *m, struct hmp_text *t)
{
	for (unsigned i = 0; i < m->config->vcpus; i++)
		print(t, "%c CPU #%u: thread_id=%d\r\n", i ? ' ' : '*', i, (int)m->monitor[i].pid);
}

static void info(struct machine *m, const char *rest, struct hmp_text *t)
{
	static const struct {
		const char *name;
		void (*show)(struct machine *m, struct hmp_text *t);
	} infos[] = {
		{ "cpus", info_cpus }, { "kvm", info_kvm }, { "name", info_name }, { "status", info_status },
		{ "version", info_version },
	};

	for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
		if (!strcmp(rest, infos[i].name)) {
			infos[i].show(m, t);
			return;
		}
	print(t, "info %.100s is not built; there are:", rest);
	for (size_t i = 0; i < ARRAY_SIZE(infos); i++)
		print(t, " %s", infos[i].name);
	print(t, "\r\n");
}

static void stop(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_pause(m) < 0)
		print(t, "Error: the machine has powered off, or a debugger has stopped it\r\n");
}

static void cont(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_unpause(m) < 0)
		print(t, "Error: the machine has powered off, or a debugger has stopped it\r\n");
}

static void quit(struct machine *m, const char *rest, struct hmp_text *t)
{
	machine_quit(m);
}

static void reset(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_reset(m) < 0)
		print(t, "Error: a debugger has stopped the machine\r\n");
}

static void powerdown(struct machine *m, const char *rest, struct hmp_text *t)
{
	machine_press_power(m);
}

// screendump [-f ppm|png] FILE
static void dump_screen(struct machine *m, const char *rest, struct hmp_text *t)
{
	char file[512] = "", format[16] = "ppm", why[600];

	if (sscanf(rest, "-f %15s %511[^\n]", format, file) != 2 && sscanf(rest, "%511[^\n]", file) != 1)
		print(t, "Error: give the name of a file\r\n");
	else if (screendump(m, file, format, why, sizeof(why)) < 0)
		print(t, "Error: %s\r\n", why);
}

static const struct {
	const char *name, *help;
	void (*run)(struct machine *m, const char *rest, struct hmp_text *t);
} commands[] = {
	{ "c", NULL, cont },
	{ "cont", "go on", cont },
	{ "help", "this list", help },
	{ "?", NULL, help },
	{ "info", "cpus, kvm, name, status, version", info },
	{ "q", NULL, quit },
	{ "quit", "end ringer", quit },
	{ "screendump", "[-f ppm|png] FILE: a picture of the screen", dump_screen },
	{ "stop", "pause the machine", stop },
	{ "s", NULL, stop },
	{ "system_powerdown", "press the power button", powerdown },
	{ "system_reset", "press the reset button", reset },
};

static void help(struct machine *m, const char *rest, struct hmp_text *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].help)
			print(t, "%-18s %s\r\n", commands[i].name, commands[i].help);
}

void hmp_obey(struct machine *m, const char *line, struct hmp_text *t)
{
	size_t n;

	line += strspn(line, " \t");
	n = strcspn(line, " \t");
	if (!n)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strlen(commands[i].name) == n && !strncmp(line, commands[i].name, n)) {
			line += n;
			commands[i].run(m, line + strspn(line, " \t"), t);
			return;
		}
	print(t, "unknown command: '%.*s'\r\n", (int)MIN(n, (size_t)100), line);
}

void hmp_greet(struct operator *op)
{
	static const char text[] = HMP_GREETING HMP_PROMPT;

	operator_put(op, text, sizeof(text) - 1);
}

size_t hmp_take(struct operator *op, const char *in, size_t n)
{
	struct hmp_text answer = {.used = 0};
	char line[512];
	size_t end = 0;

	while (end < n && in[end] != '\n' && in[end] != '\r')
		end++;
	if (end == n)
		return 0;
	snprintf(line, sizeof(line), "%.*s", (int)MIN(end, sizeof(line) - 1), in);
	for (size_t i = strlen(line); i && (line[i - 1] == ' ' || line[i - 1] == '\t'); i--)
		line[i - 1] = 0;
	hmp_obey(op->all->machine, line, &answer);
	if (in[end] == '\r' && end + 1 < n && in[end + 1] == '\n')
		end++;
	print(&answer, HMP_PROMPT);
	operator_put(op, answer.at, answer.used);
	return end + 1;
}
