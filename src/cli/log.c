// SPDX-License-Identifier: MIT
//
// -d and --stress: words that are bits. QEMU's names stand beside ringer's own where they mean the same.
#include <string.h>

#include "cli/cli.h"

struct word {
	const char *name;
	uint32_t bit;
	const char *help;
};

static const struct word log_words[] = {
	{ "tu", LOG_TU, "each translation unit: guest code left, what it became right" },
	{ "in_asm", LOG_TU, "the same" },
	{ "out_asm", LOG_TU, "the same" },
	{ "exit", LOG_EXIT, "exits from translated code to the run loop" },
	{ "fault", LOG_FAULT, "exceptions delivered to the guest" },
	{ "irq", LOG_IRQ, "interrupt lines and delivery" },
	{ "int", LOG_INT, "interrupts and exceptions, with the processor's state" },
	{ "mmu", LOG_MMU, "address translation" },
	{ "dev", LOG_DEV, "device accesses" },
	{ "reset", LOG_RESET, "the processor's state at reset" },
	{ "cpu_reset", LOG_RESET, "the same" },
	{ "unimp", LOG_UNIMP, "things that are not built" },
	{ "guest_errors", LOG_GUEST_ERRORS, "odd things that the guest does" },
};

static const struct word stress_words[] = {
	{ "tiny_tc", STRESS_TINY_TC, "a very small translation cache" },
	{ "nochain", STRESS_NOCHAIN, "no direct links between units" },
	{ "flush", STRESS_FLUSH, "flush the translation cache and TLB every few units; with nochain after each" },
	{ "irq", STRESS_IRQ, "leave translated code at each unit boundary" },
	{ "one", STRESS_ONE, "one instruction a unit" },
	{ "careful", STRESS_CAREFUL, "every instruction in the careful form" },
	{ "cold", STRESS_COLD, "all code in the base tier, however often it runs" },
	{ "hot", STRESS_HOT, "all code in the hot tier at once" },
	{ "sealed", STRESS_SEALED, "a host that seals the vdso, where guest memory cannot be mapped" },
};

static enum cli_result parse(struct cli *c, const char *arg, const struct word *words, size_t n, uint32_t *bits,
			     uint32_t all)
{
	char name[32];

	while (*arg) {
		size_t len = strcspn(arg, ","), i;

		snprintf(name, sizeof(name), "%.*s", (int)MIN(len, sizeof(name) - 1), arg);
		for (i = 0; i < n && strcmp(words[i].name, name); i++)
			;
		if (i < n)
			*bits |= words[i].bit;
		else if (!strcmp(name, "all"))
			*bits = all;
		else
			return cli_error(c, "unknown item '%s'; '%s help' lists them", name, c->option);
		arg += len + (arg[len] == ',');
	}
	return CLI_OK;
}

static enum cli_result help(const char *title, const struct word *words, size_t n)
{
	printf("%s (comma separated):\n", title);
	for (size_t i = 0; i < n; i++)
		printf("%-15s %s\n", words[i].name, words[i].help);
	return CLI_DONE;
}

enum cli_result cli_log(struct cli *c, const char *arg)
{
	if (cli_is_help(arg))
		return help("Log items", log_words, ARRAY_SIZE(log_words));
	return parse(c, arg, log_words, ARRAY_SIZE(log_words), &c->config.log, LOG_ALL);
}

enum cli_result cli_stress(struct cli *c, const char *arg)
{
	if (cli_is_help(arg))
		return help("Stress settings", stress_words, ARRAY_SIZE(stress_words));
	return parse(c, arg, stress_words, ARRAY_SIZE(stress_words), &c->config.stress, ~0u);
}
