// SPDX-License-Identifier: MIT
//
// -device pcie-root-port: places on q35 that devices with bus=ID come to, and go from while the guest runs.
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { WATCHDOG_SLOT = 30, SLOTS = 32, FUNCTIONS = 8, FIRST_SLOT = 2, CHASSIS_MAX = 255, NUMBER_MAX = 0x1fff };

// addr=SLOT[.FUNCTION], hexadecimal, or a number.
static bool parse_address(const char *text, struct root_port_config *p)
{
	char *end;
	unsigned long slot = strtoul(text, &end, 16), function = 0;

	if (end != text && *end == '.' && end[1])
		function = strtoul(end + 1, &end, 16);
	if (end == text || *end || slot >= SLOTS || function >= FUNCTIONS)
		return false;
	p->slot = (int)slot;
	p->function = (int)function;
	return true;
}

static enum cli_result take_number(struct cli *c, const struct cli_prop *p, uint64_t max, unsigned *to)
{
	uint64_t n;

	if (!cli_parse_number(p->value, &n) || n > max)
		return cli_error(c, "pcie-root-port: %s=%s: give 0 to %llu", p->key, p->value, (unsigned long long)max);
	*to = (unsigned)n;
	return CLI_OK;
}

static enum cli_result take_prop(struct cli *c, struct root_port_config *r, const struct cli_prop *p)
{
	static const char *const on[] = { "on", "true", "yes", NULL }, *const off[] = { "off", "false", "no", NULL };
	const struct cli_text texts[] = { { "id", r->id, sizeof(r->id) } };
	enum cli_result taken = cli_take_text(c, texts, ARRAY_SIZE(texts), p);

	if (taken != CLI_DONE)
		return taken;
	if (!strcmp(p->key, "bus") && !strcmp(p->value, "pcie.0"))
		return CLI_OK;
	if (!strcmp(p->key, "addr"))
		return parse_address(p->value, r) ? CLI_OK : cli_error(c, "addr=%s is no slot and function", p->value);
	if (!strcmp(p->key, "chassis"))
		return take_number(c, p, CHASSIS_MAX, &r->chassis);
	if (!strcmp(p->key, "slot"))
		return take_number(c, p, NUMBER_MAX, &r->number);
	if (!strcmp(p->key, "port"))
		return take_number(c, p, CHASSIS_MAX, &r->port);
	if (!strcmp(p->key, "multifunction") && (cli_is_one_of(p->value, on) || cli_is_one_of(p->value, off))) {
		r->multifunction = cli_is_one_of(p->value, on);
		return CLI_OK;
	}
	if (!strcmp(p->key, "hotplug") && cli_is_one_of(p->value, on))
		return CLI_OK;
	return cli_error(c, "pcie-root-port: '%s=%s' is unknown or not built", p->key, p->value);
}

enum cli_result cli_root_port(struct cli *c, const char *props)
{
	struct root_port_config *r = &c->config.root_port[c->config.root_ports];
	struct cli_prop p;

	if (c->config.root_ports == PCIE_PORTS)
		return cli_error(c, "more than %d root ports are not built", PCIE_PORTS);
	c->config.root_ports++;
	*r = (struct root_port_config){.slot = SLOT_ANY};
	while (cli_next_prop(&props, &p))
		if (take_prop(c, r, &p) != CLI_OK)
			return CLI_ERROR;
	return *r->id ? CLI_OK : cli_error(c, "pcie-root-port: give it an id, which devices name (bus=ID)");
}

unsigned cli_find_root_port(const struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->config.root_ports; i++)
		if (!strcmp(c->config.root_port[i].id, id))
			return i + 1;
	return 0;
}

// Is anything in the slot but functions of ports other than this one?
static bool is_taken(const struct cli *c, const struct root_port_config *p, int slot)
{
	const struct machine_config *m = &c->config;

	if (slot == 0 || slot == 31 || (machine_has_vga(m) && slot == machine_vga_slot(m)))
		return true;
	if (m->pc.watchdog && slot == WATCHDOG_SLOT)
		return true;
	for (unsigned i = 1; i < AHCI_CONTROLLERS; i++) // those without addr= stand below the watchdog
		if (m->ahci[i].present && slot == (m->ahci[i].slot >= 0 ? m->ahci[i].slot : WATCHDOG_SLOT - 1 - (int)i))
			return true;
	for (unsigned i = 0; i < m->nvirtio; i++)
		if (!*m->virtio[i].bus && m->virtio[i].slot == slot)
			return true;
	for (unsigned i = 0; i < m->root_ports; i++) {
		const struct root_port_config *other = &m->root_port[i];

		if (other != p && other->slot == slot && (p->slot == SLOT_ANY || other->function == p->function))
			return true;
	}
	return false;
}

enum cli_result cli_settle_root_ports(struct cli *c)
{
	c->option = "-device";
	if (c->config.root_ports && c->config.board != BOARD_Q35)
		return cli_error(c, "pcie-root-port: only -machine q35 has PCI Express");
	for (unsigned i = 0; i < c->config.root_ports; i++) {
		struct root_port_config *p = &c->config.root_port[i];

		if (cli_find_root_port(c, p->id) != i + 1)
			return cli_error(c, "id=%s: another device has this id; choose another", p->id);
		if (p->slot != SLOT_ANY && is_taken(c, p, p->slot))
			return cli_error(c, "pcie-root-port %s: its address belongs to another device; choose another", p->id);
	}
	for (unsigned i = 0; i < c->config.root_ports; i++) {
		struct root_port_config *p = &c->config.root_port[i];

		for (int slot = FIRST_SLOT; p->slot == SLOT_ANY && slot < SLOTS; slot++)
			if (!is_taken(c, p, slot))
				p->slot = slot;
		if (p->slot == SLOT_ANY)
			return cli_error(c, "pcie-root-port %s: the bus is full", p->id);
		if (!p->number)
			p->number = i + 1;
	}
	return CLI_OK;
}

// bus= of a device: the board's, or a root port's, which has one place.
enum cli_result cli_settle_bus(struct cli *c, struct virtio_config *v)
{
	v->port = *v->bus ? cli_find_root_port(c, v->bus) : 0;
	if (*v->bus && !v->port)
		return cli_error(c, "Bus '%s' not found", v->bus);
	if (v->port && v->slot != SLOT_ANY && v->slot != 0)
		return cli_error(c, "%s: a root port has the one place addr=0", v->bus);
	return CLI_OK;
}
