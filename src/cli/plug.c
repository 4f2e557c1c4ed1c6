// SPDX-License-Identifier: MIT
//
// What operators add while the machine runs (device_add, drive_add, blockdev-add, netdev_add, object-add): the same
// words as on the command line, read by the same functions, into the same lists behind what stands there; then made
// and given to the machine. What cannot be had leaves the lists as they were. A device that has gone leaves its place
// in the list, so there are PCI_APP_MAX of them in a machine's life.
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

static bool is_live(const struct machine *m, const struct virtio_config *v)
{
	for (unsigned i = 0; i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && m->virtio.config[i] == v)
			return true;
	return false;
}

static enum cli_result check_id(struct cli *c, const struct machine *m, const struct virtio_config *v)
{
	for (unsigned i = 0; *v->id && i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && m->virtio.config[i] && !strcmp(m->virtio.config[i]->id, v->id))
			return cli_error(c, "Duplicate device ID '%s'", v->id);
	return CLI_OK;
}

// A drive whose device has gone is free again.
static void free_drive(struct cli *c, const struct machine *m, unsigned n)
{
	struct cli_drive *d = cli_find_drive(c, c->wants_drive[n]);

	for (unsigned i = 0; d && i < n; i++)
		if (!strcmp(c->wants_drive[i], c->wants_drive[n]) && is_live(m, &c->config.virtio[i]))
			return;
	if (d && d->interface == DRIVE_NONE)
		d->attached = false;
}

// The cards of devices that have gone leave their networks.
static void free_networks(struct cli *c, const struct machine *m)
{
	for (unsigned i = 0; i + 1 < c->config.nvirtio; i++)
		if (c->config.virtio[i].kind == VIRTIO_NET && !is_live(m, &c->config.virtio[i]))
			*c->config.nic[c->config.virtio[i].card].netdev = 0;
}

static enum cli_result add_device(struct cli *c, struct machine *m, const char *text)
{
	static const enum virtio_kind can[] = { VIRTIO_BALLOON, VIRTIO_BLK, VIRTIO_NET, VIRTIO_RNG };
	unsigned n = c->config.nvirtio;
	struct virtio_config *v = &c->config.virtio[n];
	bool known = false;

	if (cli_device(c, text) != CLI_OK)
		return CLI_ERROR;
	for (size_t i = 0; i < ARRAY_SIZE(can); i++)
		known |= c->config.nvirtio == n + 1 && v->kind == can[i];
	if (!known)
		return cli_error(c, "this device cannot be added while the machine runs; virtio-blk-pci, virtio-net-pci, "
				 "virtio-rng-pci and virtio-balloon-pci can");
	if (check_id(c, m, v) != CLI_OK || cli_settle_objects(c) != CLI_OK)
		return CLI_ERROR;
	free_drive(c, m, n);
	if (*c->wants_drive[n] && cli_give_drive(c, n) != CLI_OK)
		return CLI_ERROR;
	free_networks(c, m);
	return v->kind == VIRTIO_NET ? cli_settle_nets(c) : CLI_OK;
}

static enum cli_result add_network(struct cli *c, struct machine *m, const char *text, char *err, size_t errlen)
{
	unsigned n = c->config.nets;

	if (cli_netdev(c, text) != CLI_OK)
		return CLI_ERROR;
	if (net_open(&m->net[n], &m->loop, &c->config.net[n], err, errlen) == 0)
		return CLI_OK;
	return cli_error(c, "%.400s", err);
}

static enum cli_result add_node(struct cli *c, const char *text)
{
	return cli_blockdev(c, text) == CLI_OK ? cli_settle_node(c, &c->drive[c->drives - 1]) : CLI_ERROR;
}

static enum cli_result add_drive(struct cli *c, const char *text)
{
	unsigned n = c->drives;

	if (cli_drive(c, text) != CLI_OK)
		return CLI_ERROR;
	return c->drive[n].interface == DRIVE_NONE && *c->drive[n].id ? CLI_OK :
		cli_error(c, "give if=none and id=NAME, then device_add");
}

static int plug(void *opaque, struct machine *m, enum plug_kind what, const char *text, char *err, size_t errlen)
{
	static const char *const names[] = {
		[PLUG_DEVICE] = "device_add", [PLUG_DRIVE] = "drive_add", [PLUG_NODE] = "blockdev-add",
		[PLUG_NETWORK] = "netdev_add", [PLUG_OBJECT] = "object-add",
	};
	struct cli *c = opaque;
	const unsigned devices = c->config.nvirtio, drives = c->drives, nets = c->config.nets, cards = c->config.nics,
		       objects = c->objects, wants = c->wants, ports = c->config.ports, scsis = c->config.scsis, ides = c->ides;
	enum cli_result r = CLI_ERROR;

	c->option = names[what];
	*c->err = 0;
	switch (what) {
	case PLUG_DEVICE: r = add_device(c, m, text); break;
	case PLUG_DRIVE: r = add_drive(c, text); break;
	case PLUG_NODE: r = add_node(c, text); break;
	case PLUG_NETWORK: r = add_network(c, m, text, err, errlen); break;
	case PLUG_OBJECT: r = cli_object(c, text); break;
	}
	if (r == CLI_OK && what == PLUG_DEVICE && virtio_bus_plug(m, &c->config.virtio[devices], err, errlen) < 0)
		r = cli_error(c, "%.400s", err);
	c->ides = ides;
	c->config.ports = ports;
	c->config.scsis = scsis;
	if (r == CLI_OK)
		return 0;
	c->config.nvirtio = devices;
	*c->wants_drive[devices] = 0;
	c->drives = drives;
	c->config.nets = nets;
	c->config.nics = cards;
	c->objects = objects;
	c->wants = wants;
	snprintf(err, errlen, "%s", *c->err ? c->err : "help is for the command line");
	return -EINVAL;
}

void cli_let_plug(struct cli *c, struct machine *m)
{
	m->plug = plug;
	m->plug_opaque = c;
}
