// SPDX-License-Identifier: MIT
//
// Which engine runs the guest: -accel, several of them, and the chains of -machine accel=a:b. The first that is built
// wins; when none of those named is, that is an error, as a script that names one alone wants exactly that.
#include <string.h>

#include "cli/cli.h"
#include "host/world.h"

static const struct accel {
	const char *name;
	const char *help; // NULL: known to QEMU, not built here
} accels[] = {
	{ "tcg", "binary translation (the same as bt)" },
	{ "bt", "binary translation" },
	{ "kvm", NULL },
	{ "hvf", NULL },
	{ "whpx", NULL },
	{ "xen", NULL },
	{ "nvmm", NULL },
	{ "hax", NULL },
};

static enum cli_result help(void)
{
	printf("Accelerators supported in QEMU binary:\n");
	for (size_t i = 0; i < ARRAY_SIZE(accels); i++)
		if (accels[i].help)
			printf("%s\n", accels[i].name);
	return CLI_DONE;
}

static enum cli_result choose(struct cli *c, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(accels); i++) {
		if (strcmp(accels[i].name, name))
			continue;
		if (accels[i].help && c->accel != ACCEL_BT) {
			if (c->accel == ACCEL_REFUSED)
				cli_warn("-accel %s is not built; using binary translation (-accel bt)", c->refused);
			c->accel = ACCEL_BT;
		} else if (!accels[i].help && c->accel == ACCEL_UNDECIDED) {
			c->accel = ACCEL_REFUSED;
			snprintf(c->refused, sizeof(c->refused), "%s", name);
		}
		return CLI_OK;
	}
	return cli_error(c, "unknown accelerator '%s'; '-accel help' lists them", name);
}

enum cli_result cli_accel_chain(struct cli *c, const char *chain)
{
	char name[32];

	for (;;) {
		size_t n = strcspn(chain, ":");

		snprintf(name, sizeof(name), "%.*s", (int)MIN(n, sizeof(name) - 1), chain);
		if (choose(c, name) != CLI_OK)
			return CLI_ERROR;
		if (!chain[n])
			return CLI_OK;
		chain += n + 1;
	}
}

enum cli_result cli_accel(struct cli *c, const char *arg)
{
	static const char *const on_off[] = { "on", "off", "single", "multi", NULL };
	struct cli_prop p;
	uint64_t mb;

	while (cli_next_prop(&arg, &p)) {
		if (!*p.key || !strcmp(p.key, "accel")) {
			if (cli_is_help(p.value))
				return help();
			if (choose(c, p.value) != CLI_OK)
				return CLI_ERROR;
		} else if (!strcmp(p.key, "tb-size")) {
			if (!cli_parse_number(p.value, &mb) || mb < 1 || mb > 1024)
				return cli_error(c, "tb-size=%s: give 1 to 1024 (MiB)", p.value);
			c->config.tc_size = mb << 20;
		} else if (!strcmp(p.key, "thread") || !strcmp(p.key, "split-wx") ||
			   !strcmp(p.key, "one-insn-per-tb")) {
			if (!cli_is_one_of(p.value, on_off))
				return cli_error(c, "%s=%s: not a value of this property", p.key, p.value);
			if (!strcmp(p.key, "one-insn-per-tb") && !strcmp(p.value, "on"))
				c->config.stress |= STRESS_ONE;
		} else if (c->accel != ACCEL_REFUSED) { // properties of an engine that is passed over do not matter
			return cli_error(c, "unknown property '%s'", p.key);
		}
	}
	return CLI_OK;
}

// MiB for each vCPU. What user code can be run directly needs no room.
unsigned cli_default_cache(const struct cli *c)
{
	bool direct = c->config.memory == MEMORY_AUTO || memory_is_direct(c->config.memory);

	return direct && host_has_world() ? 22 : 44;
}
