// SPDX-License-Identifier: MIT
//
// What operators add while the machine runs (device_add, drive_add, blockdev-add, netdev_add, object-add): the same
// words as on the command line, read by the same functions, into the same lists, where there is a place; then made and
// given to the machine. What cannot be had leaves the lists as they were. What goes again is unplug.c's.
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "machine/medium.h"

static enum cli_result check_id(struct cli *c, const struct machine *m, const struct virtio_config *v)
{
	for (unsigned i = 0; *v->id && i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && m->virtio.config[i] && !strcmp(m->virtio.config[i]->id, v->id))
			return cli_error(c, "Duplicate device ID '%s'", v->id);
	return CLI_OK;
}

static enum cli_result add_device(struct cli *c, struct machine *m, const char *arg)
{
	static const char *const can[] = { "virtio-balloon-pci", "virtio-balloon", "virtio-blk-pci", "virtio-blk",
		"virtio-net-pci", "virtio-net", "virtio-rng-pci", "virtio-rng", NULL };
	char json[2048];
	const char *text = arg, *rest;
	struct virtio_config *v;
	struct cli_drive *d;
	struct cli_prop p = {.key = ""};

	if (*arg == '{' && cli_from_json(c, arg, "driver", json, sizeof(json)) != CLI_OK)
		return CLI_ERROR;
	if (*arg == '{')
		text = json;
	rest = text;
	if (!cli_next_prop(&rest, &p) || (*p.key && strcmp(p.key, "driver")))
		return cli_error(c, "Parameter 'driver' is missing");
	if (!cli_is_one_of(p.value, can))
		return cli_error(c, "%s cannot be added while the machine runs; virtio-blk-pci, virtio-net-pci, virtio-rng-pci "
				 "and virtio-balloon-pci can", p.value);
	if (cli_device(c, text) != CLI_OK)
		return CLI_ERROR;
	v = &c->config.virtio[c->last_device];
	if (cli_settle_bus(c, v) != CLI_OK || check_id(c, m, v) != CLI_OK || cli_settle_objects(c) != CLI_OK)
		return CLI_ERROR;
	if (v->kind == VIRTIO_NET)
		return cli_settle_nets(c);
	if (v->kind != VIRTIO_BLK)
		return CLI_OK;
	d = cli_find_drive(c, c->wants_drive[c->last_device]);
	*c->wants_drive[c->last_device] = 0; // it does not have it yet
	if (!d)
		return cli_error(c, "drive: there is no such -drive or -blockdev");
	if (d->interface == DRIVE_NONE && !cli_drive_in_use(c, m, d))
		d->attached = d->disc = d->wanted = false;
	strcpy(c->wants_drive[c->last_device], d->id);
	return cli_give_drive(c, c->last_device);
}

static enum cli_result add_network(struct cli *c, struct machine *m, const char *text, char *err, size_t errlen)
{
	if (cli_netdev(c, text) != CLI_OK)
		return CLI_ERROR;
	if (net_open(&m->net[c->last_net], &m->loop, &c->config.net[c->last_net], err, errlen) == 0)
		return CLI_OK;
	return cli_error(c, "%.400s", err);
}

static enum cli_result add_node(struct cli *c, const char *text)
{
	return cli_blockdev(c, text) == CLI_OK ? cli_settle_node(c, &c->drive[c->last_drive]) : CLI_ERROR;
}

static enum cli_result add_drive(struct cli *c, const char *text)
{
	const struct cli_drive *d;

	if (cli_drive(c, text) != CLI_OK)
		return CLI_ERROR;
	d = &c->drive[c->last_drive];
	return d->interface == DRIVE_NONE && *d->id ? CLI_OK : cli_error(c, "give if=none and id=NAME, then device_add");
}

// DRIVE,node-name=NODE
static enum cli_result insert(struct cli *c, struct machine *m, const char *text)
{
	struct cli_prop drive, node;
	struct block_config image;
	char err[400] = "";
	struct cli_drive *d;

	if (!cli_next_prop(&text, &drive) || !cli_next_prop(&text, &node))
		return cli_error(c, "name the drive and the node");
	d = *node.value ? cli_find_drive(c, node.value) : NULL;
	if (!d || !d->image.is_node)
		return cli_error(c, "Failed to find node with node-name='%s'", node.value);
	if (d->attached && cli_drive_in_use(c, m, d))
		return cli_error(c, "Node '%s' is in use already", node.value);
	image = cli_image_of(d, &d->image.on_error);
	if (medium_insert(m, drive.value, &image, err, sizeof(err)) < 0)
		return cli_error(c, "%s", err);
	d->attached = d->disc = true;
	return CLI_OK;
}

static void begin(struct cli *c, const struct machine *m)
{
	cli_forget_gone(c, m);
	c->last_device = PCI_APP_MAX;
	c->last_drive = CLI_DRIVES;
	c->last_net = c->last_card = MACHINE_NETS_MAX;
	*c->err = 0;
}

// What has been put into the lists since begin().
static void take_back(struct cli *c, struct machine *m, unsigned objects)
{
	if (c->last_drive < CLI_DRIVES)
		cli_forget_drive(c, &c->drive[c->last_drive]);
	if (c->last_net < MACHINE_NETS_MAX)
		c->config.net[c->last_net].taken = false;
	if (c->last_card < MACHINE_NETS_MAX)
		c->config.nic[c->last_card].gone = true;
	c->objects = objects;
	cli_forget_gone(c, m);
}

static int plug(void *opaque, struct machine *m, enum plug_kind what, const char *text, char *err, size_t errlen)
{
	static const char *const names[] = {
		[PLUG_DEVICE] = "device_add", [PLUG_DRIVE] = "drive_add", [PLUG_NODE] = "blockdev-add",
		[PLUG_NETWORK] = "netdev_add", [PLUG_OBJECT] = "object-add", [PLUG_INSERT] = "blockdev-insert-medium",
		[PLUG_DROP_DRIVE] = "drive_del", [PLUG_DROP_NODE] = "blockdev-del", [PLUG_DROP_NETWORK] = "netdev_del",
		[PLUG_DROP_OBJECT] = "object-del",
	};
	struct cli *c = opaque;
	const unsigned objects = c->objects, ports = c->config.ports, scsis = c->config.scsis, ides = c->ides;
	enum cli_result r = CLI_ERROR;

	begin(c, m);
	c->option = names[what];
	switch (what) {
	case PLUG_DEVICE: r = add_device(c, m, text); break;
	case PLUG_DRIVE: r = add_drive(c, text); break;
	case PLUG_NODE: r = add_node(c, text); break;
	case PLUG_NETWORK: r = add_network(c, m, text, err, errlen); break;
	case PLUG_OBJECT: r = cli_object(c, text); break;
	case PLUG_INSERT: r = insert(c, m, text); break;
	default: r = cli_drop(c, m, what, text);
	}
	if (r == CLI_OK && what == PLUG_DEVICE && virtio_bus_plug(m, &c->config.virtio[c->last_device], err, errlen) < 0)
		r = cli_error(c, "%.400s", err);
	c->ides = ides;
	c->config.ports = ports;
	c->config.scsis = scsis;
	if (r == CLI_OK)
		return 0;
	if (what < PLUG_INSERT)
		take_back(c, m, objects);
	snprintf(err, errlen, "%s", *c->err ? c->err : "help is for the command line");
	return -EINVAL;
}

void cli_let_plug(struct cli *c, struct machine *m)
{
	c->runs = true;
	m->plug = plug;
	m->plug_opaque = c;
}
