// SPDX-License-Identifier: MIT
//
// Options about ringer's own process and memory, not the guest's: messages, locked memory, and -readconfig.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static enum cli_result take_switch(struct cli *c, const struct cli_prop *p, bool *to)
{
	static const char *const on[] = { "on", "yes", "true", NULL }, *const off[] = { "off", "no", "false", NULL };

	*to = cli_is_one_of(p->value, on);
	if (*to || cli_is_one_of(p->value, off))
		return CLI_OK;
	return cli_error(c, "%s=%s: give on or off", p->key, p->value);
}

// -msg timestamp=on: a time before each line of ringer's own. guest-name= has no name to show but -name's: not built.
enum cli_result cli_msg(struct cli *c, const char *arg)
{
	struct cli_prop p;
	bool on = false;

	while (cli_next_prop(&arg, &p)) {
		if (!*p.key)
			snprintf(p.key, sizeof(p.key), "%.63s", p.value), strcpy(p.value, "on");
		if (strcmp(p.key, "timestamp") && strcmp(p.key, "guest-name"))
			return cli_error(c, "unknown property '%s'; timestamp= is built", p.key);
		if (take_switch(c, &p, &on) != CLI_OK)
			return CLI_ERROR;
		if (*p.key == 't')
			cli_stamp_messages(on);
		else if (on)
			return cli_error(c, "guest-name=on is not built; leave it out");
	}
	return CLI_OK;
}

// -overcommit mem-lock=,cpu-pm= and its older name -realtime mlock=.
enum cli_result cli_overcommit(struct cli *c, const char *arg)
{
	struct cli_prop p;
	bool on = false;

	while (cli_next_prop(&arg, &p)) {
		bool lock = !strcmp(p.key, "mem-lock") || !strcmp(p.key, "mlock");

		if (!lock && strcmp(p.key, "cpu-pm"))
			return cli_error(c, "unknown property '%s'; mem-lock= and cpu-pm= are there",
					 *p.key ? p.key : p.value);
		if (take_switch(c, &p, &on) != CLI_OK)
			return CLI_ERROR;
		if (!lock && on)
			return cli_error(c, "cpu-pm=on needs hardware virtualization, which is not built; leave it out");
		if (lock)
			c->mem_lock = on;
	}
	return CLI_OK;
}

// -add-fd fd=N,set=M,opaque=TEXT: one descriptor for each set.
enum cli_result cli_add_fd(struct cli *c, const char *arg)
{
	uint64_t fd = UINT64_MAX, set = UINT64_MAX;
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		bool is_fd = !strcmp(p.key, "fd");

		if (!strcmp(p.key, "opaque"))
			continue;
		if ((!is_fd && strcmp(p.key, "set")) || !cli_parse_number(p.value, is_fd ? &fd : &set))
			return cli_error(c, "%s=%s: write it as fd=N,set=M, numbers", p.key, p.value);
	}
	if (set >= CLI_FDSETS)
		return cli_error(c, "set= must be given, 0 to %d", CLI_FDSETS - 1);
	if (fd > INT_MAX - 1 || fcntl((int)fd, F_GETFD) < 0)
		return cli_error(c, "fd= must be given, and be an open descriptor");
	c->fdset[set] = (int)fd + 1;
	return CLI_OK;
}

static enum cli_result settle_path(struct cli *c, char *path, size_t size)
{
	static const char prefix[] = "/dev/fdset/";
	uint64_t set;

	if (strncmp(path, prefix, sizeof(prefix) - 1))
		return CLI_OK;
	if (!cli_parse_number(path + sizeof(prefix) - 1, &set) || set >= CLI_FDSETS || !c->fdset[set])
		return cli_error(c, "%s: there is no such -add-fd", path);
	snprintf(path, size, "/proc/self/fd/%d", c->fdset[set] - 1);
	return CLI_OK;
}

enum cli_result cli_settle_fdsets(struct cli *c)
{
	enum cli_result r = CLI_OK;

	c->option = "-chardev";
	for (unsigned i = 0; r == CLI_OK && i < c->chardevs; i++)
		r = settle_path(c, c->chardev[i].stream.path, sizeof(c->chardev[i].stream.path));
	for (unsigned i = 0; r == CLI_OK && i < SERIAL_PORTS; i++)
		r = settle_path(c, c->config.serial[i].path, sizeof(c->config.serial[i].path));
	if (r == CLI_OK)
		c->option = "-drive";
	for (unsigned i = 0; r == CLI_OK && i < c->drives; i++)
		r = settle_path(c, c->drive[i].image.file, sizeof(c->drive[i].image.file));
	return r;
}

// -sandbox on,obsolete=,elevateprivileges=,spawn=,resourcecontrol=: see host/confine.c.
enum cli_result cli_sandbox(struct cli *c, const char *arg)
{
	static const char *const values[] = { "allow", "deny", "children", NULL };
	struct confine *to = &c->config.confine;
	bool obsolete; // is always denied
	const struct {
		const char *key;
		bool *deny;
	} rules[] = {
		{ "obsolete", &obsolete }, { "elevateprivileges", &to->no_privileges }, { "spawn", &to->no_spawn },
		{ "resourcecontrol", &to->no_scheduling },
	};
	struct cli_prop p;

	for (bool first = true; cli_next_prop(&arg, &p); first = false) {
		size_t i = 0;

		if ((first && !*p.key) || !strcmp(p.key, "enable")) {
			strcpy(p.key, "enable");
			if (take_switch(c, &p, &to->on) != CLI_OK)
				return CLI_ERROR;
			continue;
		}
		while (i < ARRAY_SIZE(rules) && strcmp(p.key, rules[i].key))
			i++;
		if (i == ARRAY_SIZE(rules))
			return cli_error(c, "unknown property '%s'; obsolete=, elevateprivileges=, spawn= and resourcecontrol= "
					 "are there", *p.key ? p.key : p.value);
		if (!cli_is_one_of(p.value, values))
			return cli_error(c, "%s=%s: give allow or deny", p.key, p.value);
		*rules[i].deny = !strcmp(p.value, "deny");
	}
	return CLI_OK;
}

// -- -readconfig ------------------------------------------------------------------------------------------------------

enum { CONFIG_LINE = 1024, CONFIG_TEXT = 2048 };

struct config_section { // being read
	char name[64], text[CONFIG_TEXT]; // the option; its argument so far
};

static const char *trim(char *s)
{
	size_t n;

	s += strspn(s, " \t");
	n = strlen(s);
	while (n && strchr(" \t\r\n", s[n - 1]))
		s[--n] = 0;
	return s;
}

static bool append(struct config_section *s, const char *key, const char *value)
{
	size_t n = strlen(s->text);

	n += (size_t)snprintf(s->text + n, sizeof(s->text) - n, "%s%s%s", n ? "," : "", key, *key ? "=" : "");
	for (; *value && n + 2 < sizeof(s->text); value++) {
		s->text[n++] = *value;
		if (*value == ',')
			s->text[n++] = ',';
	}
	s->text[MIN(n, sizeof(s->text) - 1)] = 0;
	return !*value && n < sizeof(s->text) - 1;
}

// What the device or backend is comes first and without a key, as on the command line.
static bool put_kind(struct config_section *s, const char *kind)
{
	char rest[CONFIG_TEXT];

	strcpy(rest, s->text);
	return (size_t)snprintf(s->text, sizeof(s->text), "%s%s%s", kind, *rest ? "," : "", rest) < sizeof(s->text);
}

// [NAME "ID"] or [NAME]
static bool begin_section(struct config_section *s, const char *line)
{
	char id[64] = "";

	*s->text = 0;
	return sscanf(line, "[ %63[a-z-] \"%63[^\"]\" ]", s->name, id) == 2 ? append(s, "id", id) :
	       sscanf(line, "[ %63[a-z-] ]", s->name) == 1 && strchr(line, ']');
}

static bool take_pair(struct config_section *s, const char *line)
{
	static const char *const kinds[] = { "driver", "backend", "type", "qom-type", "fsdriver", NULL };
	static const char *const plain[] = { "machine", "smbios", NULL };
	char key[64], value[512] = "";

	if (!*s->name || sscanf(line, "%63[A-Za-z0-9._-] = \"%511[^\"]\"", key, value) < 1 || !strchr(line, '='))
		return false;
	return cli_is_one_of(key, kinds) && !cli_is_one_of(s->name, plain) ? put_kind(s, value) : append(s, key, value);
}

// A file of sections, as QEMU's -readconfig has it: each is an option and its properties.
enum cli_result cli_readconfig(struct cli *c, const char *file)
{
	struct config_section s = {.name = ""};
	FILE *f = fopen(file, "re");
	enum cli_result r = CLI_OK;
	char line[CONFIG_LINE];

	if (!f)
		return cli_error(c, "cannot open '%s': %s", file, strerror(errno));
	for (unsigned n = 1; r == CLI_OK && fgets(line, sizeof(line), f); n++) {
		const char *at = trim(line);

		if (!*at || *at == '#')
			continue;
		if (*at == '[')
			r = *s.name ? cli_take_named(c, s.name, s.text) : CLI_OK;
		if (r == CLI_OK && !(*at == '[' ? begin_section(&s, at) : take_pair(&s, at)))
			r = cli_error(c, "'%s', line %u: give [NAME \"ID\"] or KEY = \"VALUE\"", file, n);
	}
	if (r == CLI_OK && *s.name)
		r = cli_take_named(c, s.name, s.text);
	fclose(f);
	return r;
}
