// SPDX-License-Identifier: MIT
//
// The human monitor: a prompt, lines, and a table of the commands that scripts type.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/hmp.h"
#include "ctl/screendump.h"
#include "machine/medium.h"

void hmp_print(struct hmp_text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->at + t->used, sizeof(t->at) - t->used, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->used = MIN(t->used + (size_t)n, sizeof(t->at) - 1);
}

bool hmp_word(const char **rest, char *word, size_t size)
{
	const char *at = *rest + strspn(*rest, " \t");
	bool quoted = *at == '"';
	size_t n;

	at += quoted;
	n = strcspn(at, quoted ? "\"" : " \t");
	snprintf(word, size, "%.*s", (int)MIN(n, size - 1), at);
	*rest = at + n + (quoted && at[n]);
	return n > 0;
}

bool hmp_number(const char **rest, struct hmp_text *t, uint64_t *n)
{
	char word[64], *end;

	errno = 0;
	if (hmp_word(rest, word, sizeof(word))) {
		*n = strtoull(word, &end, 0);
		if (!*end && !errno && *word != '-')
			return true;
	}
	hmp_print(t, "Error: '%s' is not a number; write it as 0x1000 or 4096\r\n", word);
	return false;
}

static void help(struct machine *m, const char *rest, struct hmp_text *t);

static void info(struct machine *m, const char *rest, struct hmp_text *t)
{
	for (size_t i = 0; hmp_infos[i].name; i++)
		if (!strcmp(rest, hmp_infos[i].name)) {
			hmp_infos[i].show(m, t);
			return;
		}
	if (*rest)
		hmp_print(t, "info %.100s is not built; there are:\r\n", rest);
	for (size_t i = 0; hmp_infos[i].name; i++)
		hmp_print(t, "info %-10s %s\r\n", hmp_infos[i].name, hmp_infos[i].help);
}

static void stop(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_pause(m) < 0)
		hmp_print(t, "Error: the machine has powered off, or a debugger has stopped it\r\n");
}

static void cont(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_unpause(m) < 0)
		hmp_print(t, "Error: the machine has powered off, or a debugger has stopped it\r\n");
}

static void quit(struct machine *m, const char *rest, struct hmp_text *t)
{
	machine_quit(m);
}

static void reset(struct machine *m, const char *rest, struct hmp_text *t)
{
	if (machine_reset(m) < 0)
		hmp_print(t, "Error: a debugger has stopped the machine\r\n");
}

static void powerdown(struct machine *m, const char *rest, struct hmp_text *t)
{
	machine_press_power(m);
}

// screendump FILE [-f ppm|png], or the format first
static void dump_screen(struct machine *m, const char *rest, struct hmp_text *t)
{
	char file[512] = "", format[16] = "ppm", why[600];

	if (sscanf(rest, "-f %15s %511s", format, file) != 2 && sscanf(rest, "%511s -f %15s", file, format) < 1)
		hmp_print(t, "Error: give the name of a file\r\n");
	else if (screendump(m, file, format, why, sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
}

static void plug(struct machine *m, enum plug_kind what, const char *text, struct hmp_text *t)
{
	char why[512] = "";

	if (!m->plug || m->plug(m->plug_opaque, m, what, text, why, sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
	else if (what == PLUG_DRIVE)
		hmp_print(t, "OK\r\n");
}

static void device_add(struct machine *m, const char *rest, struct hmp_text *t)
{
	plug(m, PLUG_DEVICE, rest, t);
}

// What the guest is to have, in MiB.
static void balloon(struct machine *m, const char *rest, struct hmp_text *t)
{
	unsigned long long n = strtoull(rest, NULL, 10);

	if (!n || n >> 40)
		hmp_print(t, "Error: give a number of MiB\r\n");
	else if (!balloon_ask(m, n << 20))
		hmp_print(t, "Error: No balloon device has been activated\r\n");
}

static void netdev_add(struct machine *m, const char *rest, struct hmp_text *t)
{
	plug(m, PLUG_NETWORK, rest, t);
}

static void object_add(struct machine *m, const char *rest, struct hmp_text *t)
{
	plug(m, PLUG_OBJECT, rest, t);
}

// drive_add [-n] PCI-ADDRESS file=...: the address is of no importance with if=none.
static void drive_add(struct machine *m, const char *rest, struct hmp_text *t)
{
	char word[512];

	while (hmp_word(&rest, word, sizeof(word)) && !strchr(word, '='))
		;
	plug(m, PLUG_DRIVE, word, t);
}

static void device_del(struct machine *m, const char *rest, struct hmp_text *t)
{
	char why[200] = "";

	if (virtio_bus_unplug(m, rest, why, sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
}

static void drive_del(struct machine *m, const char *rest, struct hmp_text *t)
{
	char why[512] = "";

	if (m->plug(m->plug_opaque, m, PLUG_DROP_DRIVE, rest, why, sizeof(why)) < 0 &&
	    m->plug(m->plug_opaque, m, PLUG_DROP_NODE, rest, why, sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
}

static void netdev_del(struct machine *m, const char *rest, struct hmp_text *t)
{
	plug(m, PLUG_DROP_NETWORK, rest, t);
}

static void object_del(struct machine *m, const char *rest, struct hmp_text *t)
{
	plug(m, PLUG_DROP_OBJECT, rest, t);
}

static bool take_flag(const char **rest, const char *flag)
{
	size_t n = strlen(flag);
	bool is = !strncmp(*rest, flag, n) && ((*rest)[n] == ' ' || !(*rest)[n]);

	if (is)
		*rest += n + strspn(*rest + n, " ");
	return is;
}

// eject [-f] DRIVE
static void eject(struct machine *m, const char *rest, struct hmp_text *t)
{
	bool force = take_flag(&rest, "-f");
	char why[512] = "";

	if (medium_change(m, rest, NULL, force, why, sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
}

// change DRIVE [-f] FILE [FORMAT]
static void change(struct machine *m, const char *rest, struct hmp_text *t)
{
	char drive[80], file[512], format[16], why[512] = "";
	bool force = false;

	if (!hmp_word(&rest, drive, sizeof(drive)) || (rest += strspn(rest, " "), force = take_flag(&rest, "-f"), false) ||
	    !hmp_word(&rest, file, sizeof(file)))
		hmp_print(t, "Error: give a drive, as ide1-cd0, and a file\r\n");
	else if (medium_change_file(m, drive, file, hmp_word(&rest, format, sizeof(format)) ? format : NULL, force, why,
				    sizeof(why)) < 0)
		hmp_print(t, "Error: %s\r\n", why);
}

// set_link NAME on|off
static void set_link(struct machine *m, const char *rest, struct hmp_text *t)
{
	char name[80], state[8] = "";

	if (!hmp_word(&rest, name, sizeof(name)) || !hmp_word(&rest, state, sizeof(state)) ||
	    (strcmp(state, "on") && strcmp(state, "off")))
		hmp_print(t, "Error: give a network's or card's name, and on or off\r\n");
	else if (!machine_set_link(m, name, !strcmp(state, "on")))
		hmp_print(t, "Error: Device '%s' not found\r\n", name);
}

// Of the machine's whole state nothing is kept.
static void snapshot(struct machine *m, const char *rest, struct hmp_text *t)
{
	hmp_print(t, "Error: snapshots and migration are not built\r\n");
}

static void nmi(struct machine *m, const char *rest, struct hmp_text *t)
{
	machine_send_nmi(m);
}

// sendkey KEY-KEY... [HOLD-MS]: all down, all up; the keyboard keeps them in their order
static void send_key(struct machine *m, const char *rest, struct hmp_text *t)
{
	char word[200], *name[16], *save = NULL;
	unsigned n = 0;

	if (!hmp_word(&rest, word, sizeof(word)))
		hmp_print(t, "Error: name the keys, as ctrl-alt-f1\r\n");
	else
		for (char *w = strtok_r(word, "-", &save); w && n < ARRAY_SIZE(name); w = strtok_r(NULL, "-", &save))
			name[n++] = w;
	for (unsigned i = 0; i < n; i++)
		if (!machine_press_key(m, name[i], true))
			hmp_print(t, "Error: unknown key: '%.50s'\r\n", name[i]);
	while (n--)
		machine_press_key(m, name[n], false);
}

// Which processor "info registers" and x look at.
static void cpu(struct machine *m, const char *rest, struct hmp_text *t)
{
	uint64_t n;

	if (hmp_number(&rest, t, &n) && n)
		hmp_print(t, "Error: only processor 0 can be looked at\r\n");
}

static const struct {
	const char *name, *help;
	void (*run)(struct machine *m, const char *rest, struct hmp_text *t);
} commands[] = {
	{ "balloon", "MIB: the memory that the guest is to have, by virtio-balloon", balloon },
	{ "c", NULL, cont },
	{ "change", "DRIVE [-f] FILE [FORMAT]: another disc for a CD-ROM drive", change },
	{ "cont", "go on", cont },
	{ "delvm", NULL, snapshot },
	{ "cpu", NULL, cpu },
	{ "device_add", "DRIVER,id=ID,...: on -machine pc, a virtio device", device_add },
	{ "device_del", "ID: the guest is asked to let it go", device_del },
	{ "drive_add", "0 if=none,id=ID,file=F: for device_add", drive_add },
	{ "drive_del", "ID: an image that no device uses", drive_del },
	{ "eject", "[-f] DRIVE: the disc comes out of a CD-ROM drive", eject },
	{ "loadvm", NULL, snapshot },
	{ "migrate", NULL, snapshot },
	{ "netdev_add", "TYPE,id=ID: for device_add", netdev_add },
	{ "netdev_del", "ID: a network that no card uses", netdev_del },
	{ "object_add", "KIND,id=ID: for device_add", object_add },
	{ "object_del", "ID: an object that no device uses", object_del },
	{ "savevm", NULL, snapshot },
	{ "set_link", "NAME on|off: the cable of a network card", set_link },
	{ "dump-guest-memory", "[-p] FILE: all of it, as an ELF core", hmp_dump },
	{ "help", "this list", help },
	{ "?", NULL, help },
	{ "i", NULL, info },
	{ "info", "WHAT: of the machine; alone: lists them", info },
	{ "memsave", "ADDRESS SIZE FILE: guest memory, by virtual address", hmp_memsave },
	{ "nmi", "a non-maskable interrupt for each processor", nmi },
	{ "p", NULL, hmp_print_value },
	{ "pmemsave", "ADDRESS SIZE FILE: guest memory, by physical address", hmp_pmemsave },
	{ "print", "/FORMAT NUMBER", hmp_print_value },
	{ "q", NULL, quit },
	{ "quit", "end ringer", quit },
	{ "screendump", "FILE [-f ppm|png]: a picture of the screen", dump_screen },
	{ "sendkey", "KEY-KEY...: typed on the keyboard, as ctrl-alt-delete", send_key },
	{ "stop", "pause the machine", stop },
	{ "s", NULL, stop },
	{ "system_powerdown", "press the power button", powerdown },
	{ "system_reset", "press the reset button", reset },
	{ "x", "/COUNT FORMAT SIZE ADDRESS: guest memory, by virtual address", hmp_examine },
	{ "xp", "/COUNT FORMAT SIZE ADDRESS: guest memory, by physical address", hmp_examine_physical },
};

static void help(struct machine *m, const char *rest, struct hmp_text *t)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (commands[i].help)
			hmp_print(t, "%-18s %s\r\n", commands[i].name, commands[i].help);
}

void hmp_obey(struct machine *m, const char *line, struct hmp_text *t)
{
	size_t n;

	line += strspn(line, " \t");
	n = strcspn(line, " \t/");
	if (!n)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strlen(commands[i].name) == n && !strncmp(line, commands[i].name, n)) {
			line += n;
			commands[i].run(m, line + strspn(line, " \t"), t);
			return;
		}
	hmp_print(t, "unknown command: '%.*s'\r\n", (int)MIN(n, (size_t)100), line);
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
	hmp_print(&answer, HMP_PROMPT);
	operator_put(op, answer.at, answer.used);
	return end + 1;
}
