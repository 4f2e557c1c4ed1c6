// SPDX-License-Identifier: MIT
//
// Options that describe the machine: its board, memory, processors and clock.
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "host/memfd.h"

static const char *const off[] = { "off", "false", "no", NULL };
static const char *const any[] = { NULL };
static const char *const on_or_auto[] = { "on", "auto", "off", NULL };

// Machine properties that are taken: those with a list only with these values.
static const struct machine_prop {
	const char *name;
	const char *const *values;
} machine_props[] = {
	{ "usb", off }, { "vmport", on_or_auto }, { "smm", on_or_auto }, { "graphics", on_or_auto },
	{ "dump-guest-core", any }, { "mem-merge", any }, { "kernel_irqchip", any }, { "kernel-irqchip", any },
	{ "igd-passthru", off }, { "sata", off }, { "nvdimm", off },
};

static const struct machine_name {
	const char *name;
	enum board_kind board;
	const char *help;
} machine_names[] = {
	{ "microvm", BOARD_MICROVM, "microvm (i386)" },
	{ "none", BOARD_PC, "empty machine" },
	{ "pc", BOARD_PC, "Standard PC (i440FX + PIIX, 1996) (alias of pc-i440fx-7.2)" },
	{ "pc-i440fx-7.2", BOARD_PC, "Standard PC (i440FX + PIIX, 1996) (default)" },
	{ "q35", BOARD_Q35, "Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-7.2)" },
	{ "pc-q35-7.2", BOARD_Q35, "Standard PC (Q35 + ICH9, 2009)" },
};

static enum cli_result machine_help(void)
{
	printf("Supported machines are:\n");
	for (size_t i = 0; i < ARRAY_SIZE(machine_names); i++)
		printf("%-20s %s\n", machine_names[i].name, machine_names[i].help);
	return CLI_DONE;
}

const char *cli_board_name(unsigned i, const char **alias)
{
	static const char *const boards[][2] = {
		{ "pc-i440fx-7.2", "pc" }, { "pc-q35-7.2", "q35" }, { "microvm", NULL }, { "none", NULL },
	};

	*alias = i < ARRAY_SIZE(boards) ? boards[i][1] : NULL;
	return i < ARRAY_SIZE(boards) ? boards[i][0] : NULL;
}

static bool find_machine(struct cli *c, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(machine_names); i++)
		if (!strcmp(machine_names[i].name, name)) {
			c->config.board = machine_names[i].board;
			return true;
		}
	return false;
}

// What microvm alone has.
static enum cli_result microvm_prop(struct cli *c, const struct cli_prop *p)
{
	static const char *const passed[] = { "acpi", "auto-kernel-cmdline", "x-option-roms", "ioapic2", NULL };
	const struct {
		const char *key;
		bool *absent;
	} parts[] = {
		{ "isa-serial", &c->no_serial }, { "pit", &c->config.no_pit }, { "pic", &c->config.no_pic },
		{ "rtc", &c->config.no_rtc },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (strcmp(p->key, parts[i].key))
			continue;
		if (!cli_is_one_of(p->value, on_or_auto) && !cli_is_one_of(p->value, off))
			return cli_error(c, "%s=%s: give on, off or auto", p->key, p->value);
		*parts[i].absent = cli_is_one_of(p->value, off);
		c->microvm_prop = parts[i].key;
		return CLI_OK;
	}
	if (!strcmp(p->key, "pcie"))
		return cli_is_one_of(p->value, off) ? CLI_OK : cli_error(c, "pcie=%s is not built; use -machine q35", p->value);
	if (!cli_is_one_of(p->key, passed))
		return CLI_DONE;
	if (!strcmp(p->key, "acpi") && cli_is_one_of(p->value, off))
		return cli_error(c, "acpi=off is not built: virtio-mmio devices are found by its tables");
	return CLI_OK;
}

static enum cli_result machine_prop(struct cli *c, const struct cli_prop *p)
{
	if (!strcmp(p->key, "pit") || !strcmp(p->key, "hpet")) {
		bool absent = cli_is_one_of(p->value, off);

		if (!absent && strcmp(p->value, "on"))
			return cli_error(c, "%s=%s must be on or off", p->key, p->value);
		c->hpet_asked = *p->key == 'h' && !absent;
		if (*p->key == 'p')
			c->config.no_pit = absent;
		else
			c->config.no_hpet = absent;
		return CLI_OK;
	}
	if (!strcmp(p->key, "memory-backend")) {
		snprintf(c->memory_backend, sizeof(c->memory_backend), "%.63s", p->value);
		return CLI_OK;
	}
	for (size_t i = 0; i < ARRAY_SIZE(machine_props); i++) {
		if (strcmp(machine_props[i].name, p->key))
			continue;
		if (machine_props[i].values == any || cli_is_one_of(p->value, machine_props[i].values))
			return CLI_OK;
		return cli_error(c, "%s=%s is not built yet; use %s", p->key, p->value, machine_props[i].values[0]);
	}
	if (!strcmp(p->key, "pflash0") || !strcmp(p->key, "pflash1")) {
		snprintf(c->flash[p->key[6] - '0'], sizeof(c->flash[0]), "%.63s", p->value);
		return CLI_OK;
	}
	if (microvm_prop(c, p) == CLI_OK)
		return CLI_OK;
	return *c->err ? CLI_ERROR : cli_error(c, "unknown or unbuilt property '%s'", p->key);
}

enum cli_result cli_machine(struct cli *c, const char *arg)
{
	struct cli_prop p;
	bool first = true;

	for (; cli_next_prop(&arg, &p); first = false) {
		if ((!*p.key && first) || !strcmp(p.key, "type")) {
			if (cli_is_help(p.value))
				return machine_help();
			c->config.empty = !strcmp(p.value, "none"); // for probes: "-M none -accel help", or by QMP
			if (c->config.empty)
				continue;
			if (!find_machine(c, p.value))
				return cli_error(c, "machine '%s' is not built; '-machine help' lists those that are",
						 p.value);
		} else if (!strcmp(p.key, "accel")) {
			if (cli_accel_chain(c, p.value) != CLI_OK)
				return CLI_ERROR;
		} else if (machine_prop(c, &p) != CLI_OK) {
			return CLI_ERROR;
		}
	}
	return CLI_OK;
}

static enum cli_result check_memory(struct cli *c, const char *text, uint64_t size)
{
	uint64_t host = host_memory_total();

	if (size < MACHINE_RAM_MIN)
		return cli_error(c, "%s is too little memory for any guest; give at least %lluM (512M suits most)",
				 text, (unsigned long long)(MACHINE_RAM_MIN >> 20));
	if (size > MACHINE_RAM_MAX || size > host)
		return cli_error(c, "%s is more memory than %s (%llu MiB); ask for less", text,
			size > MACHINE_RAM_MAX ? "the machine can hold" : "this host has, swap included",
			(unsigned long long)(MIN(MACHINE_RAM_MAX, host) >> 20));
	c->config.ram_size = align_up(size, PAGE_SIZE);
	return CLI_OK;
}

enum cli_result cli_memory(struct cli *c, const char *arg)
{
	struct cli_prop p;
	uint64_t size;

	while (cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "slots") || !strcmp(p.key, "maxmem"))
			continue; // room for memory that could only be plugged by commands that are refused
		if (*p.key && strcmp(p.key, "size"))
			return cli_error(c, "unknown property '%s'", p.key);
		if (!cli_parse_size(p.value, 1 << 20, &size))
			return cli_error(c, "'%s' is not a size; write it like 512M or 2G", p.value);
		if (check_memory(c, p.value, size) != CLI_OK)
			return CLI_ERROR;
	}
	return CLI_OK;
}

// base=: utc, the host's local time, or a date, which is UTC.
static enum cli_result rtc_base(struct cli *c, const char *text)
{
	time_t now = time(NULL), base = now;
	struct tm t = {0};
	const char *end;

	if (!strcmp(text, "localtime")) {
		localtime_r(&now, &t);
		base = timegm(&t);
	} else if (strcmp(text, "utc")) {
		end = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);
		if (!end)
			end = strptime(text, "%Y-%m-%d", &t);
		if (!end || *end)
			return cli_error(c, "base=%s: give utc, localtime or a date as 2024-02-29T13:00:00", text);
		base = timegm(&t);
	}
	c->config.rtc_offset = (int64_t)(base - now) * 1000000000;
	return CLI_OK;
}

enum cli_result cli_rtc(struct cli *c, const char *arg)
{
	static const char *const clocks[] = { "host", "rt", "vm", NULL }, *const fixes[] = { "none", "slew", NULL };
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "base")) {
			if (rtc_base(c, p.value) != CLI_OK)
				return CLI_ERROR;
		} else if (strcmp(p.key, "clock") && strcmp(p.key, "driftfix")) {
			return cli_error(c, "unknown property '%s'; base=, clock= and driftfix= are there",
					 *p.key ? p.key : p.value);
		} else if (!cli_is_one_of(p.value, *p.key == 'c' ? clocks : fixes)) { // time is never lost here
			return cli_error(c, "%s=%s: give %s", p.key, p.value, *p.key == 'c' ? "host, rt or vm" : "none or slew");
		}
	}
	return CLI_OK;
}
