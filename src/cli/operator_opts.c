// SPDX-License-Identifier: MIT
//
// -qmp, -monitor, -mon: who may command the machine, and over which stream; and what the machine does by itself at a
// reset or a power-off (-action).
#include <string.h>

#include "cli/cli.h"

static enum cli_result add(struct cli *c, const struct stream_config *to, bool qmp, bool pretty)
{
	if (qmp && !qmp_is_built())
		return cli_error(c, "QMP needs ringer to be built with libjansson-dev");
	if (to->kind == STREAM_NONE || to->kind == STREAM_NULL)
		return CLI_OK;
	if (c->operators == OPERATORS_MAX)
		return cli_error(c, "%d are the most", OPERATORS_MAX);
	c->operator[c->operators++] = (struct operator_config){.to = *to, .qmp = qmp, .pretty = pretty};
	return CLI_OK;
}

static enum cli_result add_text(struct cli *c, const char *arg, bool qmp, bool pretty)
{
	struct stream_config to;
	char why[400];

	if (stream_parse(arg, &to, why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	snprintf(to.label, sizeof(to.label), "compat_monitor%u", c->operators);
	return add(c, &to, qmp, pretty);
}

enum cli_result cli_qmp(struct cli *c, const char *arg)
{
	return add_text(c, arg, true, strstr(c->option, "pretty"));
}

enum cli_result cli_monitor(struct cli *c, const char *arg)
{
	return add_text(c, arg, false, false);
}

enum cli_result cli_mon(struct cli *c, const char *arg)
{
	struct stream_config to = {.kind = STREAM_NAMED};
	bool qmp = false, pretty = false;
	struct cli_prop p;

	for (bool first = true; cli_next_prop(&arg, &p); first = false) {
		if (!strcmp(p.key, "chardev") || (first && !*p.key))
			snprintf(to.path, sizeof(to.path), "%.250s", p.value);
		else if (!strcmp(p.key, "mode") && (!strcmp(p.value, "control") || !strcmp(p.value, "readline")))
			qmp = *p.value == 'c';
		else if (!strcmp(p.key, "pretty"))
			pretty = !strcmp(p.value, "on");
		else if (strcmp(p.key, "id"))
			return cli_error(c, "%s=%s is not known; chardev=, mode=control|readline and pretty= are", p.key, p.value);
	}
	if (!*to.path)
		return cli_error(c, "say which stream (chardev=ID)");
	return add(c, &to, qmp, pretty);
}

enum cli_result cli_watchdog_action(struct cli *c, const char *arg)
{
	char action[64];

	snprintf(action, sizeof(action), "watchdog=%.40s", arg);
	return cli_action(c, action);
}

// -action EVENT=WHAT,... Panics are told by a device that is not built: they never come.
enum cli_result cli_action(struct cli *c, const char *arg)
{
	static const struct {
		const char *event, *what;
		int no_reboot, no_shutdown; // -1: as it is
	} actions[] = {
		{ "reboot", "reset", 0, -1 }, { "reboot", "shutdown", 1, -1 }, { "shutdown", "poweroff", -1, 0 },
		{ "shutdown", "pause", -1, 1 }, { "panic", NULL, -1, -1 }, { "watchdog", "reset", -1, -1 },
		{ "watchdog", "none", -1, -1 },
	};
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		size_t i = 0;

		while (i < ARRAY_SIZE(actions) && (strcmp(p.key, actions[i].event) ||
						   (actions[i].what && strcmp(p.value, actions[i].what))))
			i++;
		if (i == ARRAY_SIZE(actions))
			return cli_error(c, "%s=%s is not built; reboot=reset|shutdown, shutdown=poweroff|pause and "
					 "watchdog=reset|none are", p.key, p.value);
		if (*p.key == 'w')
			c->config.pc.watchdog_mute = *p.value == 'n';
		if (actions[i].no_reboot >= 0)
			c->config.no_reboot = actions[i].no_reboot;
		if (actions[i].no_shutdown >= 0)
			c->config.no_shutdown = actions[i].no_shutdown;
	}
	return CLI_OK;
}

// -echr N: the character that begins the keys of a multiplexed standard input, as a number.
enum cli_result cli_echr(struct cli *c, const char *arg)
{
	uint64_t n;

	if (!cli_parse_number(arg, &n) || n < 1 || n > 26)
		return cli_error(c, "'%s' is no control character; give 1 (Ctrl-a) to 26", arg);
	c->config.escape = (uint8_t)n;
	return CLI_OK;
}

enum cli_result cli_name(struct cli *c, const char *arg)
{
	struct cli_prop p;

	for (bool first = true; cli_next_prop(&arg, &p); first = false) // process=, debug-threads=: names of threads
		if ((first && !*p.key) || !strcmp(p.key, "guest"))
			snprintf(c->name, sizeof(c->name), "%.250s", p.value);
	c->config.name = *c->name ? c->name : NULL;
	return CLI_OK;
}
