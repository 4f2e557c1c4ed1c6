// SPDX-License-Identifier: MIT
//
// -device virtio-serial-pci, and the ports on it: virtserialport, virtconsole. A port finds its bus (the first, if it
// names none) and its number when all options have been seen.
#include <string.h>

#include "cli/cli.h"

enum { NR_ANY = CONSOLE_PORTS };

enum cli_result cli_virtio_serial(struct cli *c, const char *arg)
{
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_CONSOLE);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = cli_virtio_prop(c, v, &p);
		uint64_t n;

		if (r == CLI_DONE && !strcmp(p.key, "max_ports")) {
			if (!cli_parse_number(p.value, &n) || n < 1 || n > CONSOLE_PORTS)
				return cli_error(c, "max_ports=%s: give 1 to %d", p.value, CONSOLE_PORTS);
			v->ports = (unsigned)n;
			r = CLI_OK;
		}
		if (r == CLI_DONE)
			r = cli_error(c, "virtio-serial-pci has no property '%s' that is built", *p.key ? p.key : p.value);
		if (r != CLI_OK)
			return r;
	}
	return v ? CLI_OK : CLI_ERROR;
}

static enum cli_result port_prop(struct cli *c, struct console_port_config *port, const struct cli_prop *p)
{
	const struct cli_text texts[] = {
		{ "name", port->name, sizeof(port->name) }, { "chardev", port->to.path, sizeof(port->to.path) },
		{ "bus", c->port_bus[port - c->config.port], sizeof(c->port_bus[0]) },
		{ "id", port->id, sizeof(port->id) },
	};
	uint64_t n;
	enum cli_result r = cli_take_text(c, texts, ARRAY_SIZE(texts), p);

	if (r != CLI_DONE)
		return r;
	if (strcmp(p->key, "nr"))
		return cli_error(c, "%s has no property '%s' that is built", port->console ? "virtconsole" : "virtserialport",
				 *p->key ? p->key : p->value);
	if (!cli_parse_number(p->value, &n) || n >= CONSOLE_PORTS)
		return cli_error(c, "nr=%s: give 0 to %d", p->value, CONSOLE_PORTS - 1);
	if (!n && !port->console)
		return cli_error(c, "nr=0 is for a virtconsole; give 1 to %d", CONSOLE_PORTS - 1);
	port->nr = (unsigned)n;
	return CLI_OK;
}

static enum cli_result add_port(struct cli *c, bool console, const char *arg)
{
	struct console_port_config *port = &c->config.port[c->config.ports];
	struct cli_prop p;

	if (c->config.ports == CONSOLE_PORTS)
		return cli_error(c, "at most %d ports", CONSOLE_PORTS);
	c->config.ports++;
	*port = (struct console_port_config){.console = console, .nr = NR_ANY};
	while (cli_next_prop(&arg, &p))
		if (port_prop(c, port, &p) != CLI_OK)
			return CLI_ERROR;
	if (!*port->to.path)
		return cli_error(c, "say what stands behind it (chardev=ID)");
	port->to.kind = STREAM_NAMED;
	return CLI_OK;
}

enum cli_result cli_virtserialport(struct cli *c, const char *arg)
{
	return add_port(c, false, arg);
}

enum cli_result cli_virtconsole(struct cli *c, const char *arg)
{
	return add_port(c, true, arg);
}

static bool is_taken(const struct cli *c, const struct console_port_config *port, unsigned nr)
{
	for (unsigned i = 0; i < c->config.ports; i++) {
		const struct console_port_config *other = &c->config.port[i];

		if (other != port && other->device == port->device && other->nr == nr)
			return true;
	}
	return false;
}

// Port 0 is a console's, the first one's.
static unsigned choose_nr(const struct cli *c, const struct console_port_config *port)
{
	unsigned nr = port->console ? 0 : 1;

	while (nr < CONSOLE_PORTS && is_taken(c, port, nr))
		nr++;
	return nr;
}

enum cli_result cli_settle_ports(struct cli *c)
{
	c->option = "-device";
	for (unsigned i = 0; i < c->config.ports; i++) {
		struct virtio_config *bus = cli_find_bus(c, VIRTIO_CONSOLE, c->port_bus[i]);

		if (!bus)
			return cli_error(c, "%s%sthere is no virtio-serial-pci for this port", c->port_bus[i],
					 *c->port_bus[i] ? ": " : "");
		c->config.port[i].device = (unsigned)(bus - c->config.virtio);
	}
	for (unsigned i = 0; i < c->config.ports; i++) {
		struct console_port_config *port = &c->config.port[i];
		struct virtio_config *bus = &c->config.virtio[port->device];

		if (port->nr != NR_ANY && is_taken(c, port, port->nr))
			return cli_error(c, "nr=%u: another port has this number", port->nr);
		if (port->nr == NR_ANY)
			port->nr = choose_nr(c, port);
		if (port->nr >= CONSOLE_PORTS || (bus->ports && port->nr >= bus->ports))
			return cli_error(c, "port %u: this bus has no room for it (max_ports=)", port->nr);
	}
	for (unsigned i = 0; i < c->config.ports; i++) { // those without max_ports= have what they need
		unsigned *most = &c->wanted_ports[c->config.port[i].device];

		*most = MAX(*most, c->config.port[i].nr + 1);
	}
	for (unsigned i = 0; i < c->config.nvirtio; i++)
		if (!c->config.virtio[i].ports)
			c->config.virtio[i].ports = MAX(c->wanted_ports[i], 1u);
	return CLI_OK;
}
