// SPDX-License-Identifier: MIT
//
// What operators take away while the machine runs: images, networks and objects that no device uses (blockdev-del,
// drive_del, netdev_del, object-del). Devices go when the guest lets them (machine/virtio.c); here they are found to
// have gone. Each place in the lists is then free for what comes next.
#include <string.h>

#include "cli/cli.h"
#include "machine/medium.h"

static bool is_live(const struct machine *m, const struct virtio_config *v)
{
	for (unsigned i = 0; i < m->virtio.count; i++)
		if (m->virtio.pci[i].device && m->virtio.config[i] == v)
			return true;
	return false;
}

void cli_forget_gone(struct cli *c, const struct machine *m)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < c->config.nvirtio; i++) {
		struct virtio_config *v = &c->config.virtio[i];

		if (v->gone || is_live(m, v))
			continue;
		v->gone = true;
		*v->id = *c->wants_drive[i] = 0;
		if (v->kind == VIRTIO_NET) {
			c->config.nic[v->card].gone = true;
			*c->config.nic[v->card].netdev = 0;
		}
	}
	for (unsigned i = 0; i < c->wants; i++)
		if (!c->config.virtio[c->wanted[i].device].gone)
			c->wanted[kept++] = c->wanted[i];
	c->wants = kept;
}

bool cli_drive_in_use(struct cli *c, struct machine *m, const struct cli_drive *d)
{
	bool virtio = false;

	for (unsigned i = 0; i < c->drives; i++) {
		const struct cli_drive *other = &c->drive[i];

		if (!other->gone && other != d && (!strcmp(other->below, d->id) || !strcmp(other->backing, d->id)))
			return true;
	}
	if (medium_uses(m, d->id))
		return true;
	for (unsigned i = 0; i < c->config.nvirtio; i++)
		virtio |= !strcmp(c->wants_drive[i], d->id);
	// Else it has the device for ever that it was attached to, or that one has gone.
	return virtio || (d->attached && !d->wanted && !d->disc && !d->behind && !d->protocol);
}

void cli_forget_drive(struct cli *c, struct cli_drive *d)
{
	struct cli_drive *below = *d->below ? cli_find_drive(c, d->below) : NULL;
	struct cli_drive *behind = *d->backing ? cli_find_drive(c, d->backing) : NULL;

	*d = (struct cli_drive){.gone = true, .attached = true, .place = -1};
	if (below)
		below->attached = false;
	for (unsigned i = 0; behind && i < c->drives; i++)
		if (!c->drive[i].gone && !strcmp(c->drive[i].backing, behind->id))
			return;
	if (behind)
		behind->attached = behind->behind = false;
}

static enum cli_result drop_drive(struct cli *c, struct machine *m, const char *id, bool node)
{
	struct cli_drive *d = *id ? cli_find_drive(c, id) : NULL;

	if (!d || d->image.is_node != node)
		return cli_error(c, node ? "Failed to find node with node-name='%s'" : "Device '%s' not found", id);
	if (cli_drive_in_use(c, m, d))
		return cli_error(c, node ? "Node %s is in use" : "Drive '%s' is in use: its device must go first", id);
	cli_forget_drive(c, d);
	return CLI_OK;
}

static enum cli_result drop_network(struct cli *c, struct machine *m, const char *id)
{
	unsigned n = 0;

	while (n < c->config.nets && !(c->config.net[n].taken && !strcmp(c->config.net[n].id, id)))
		n++;
	if (n == c->config.nets)
		return cli_error(c, "Device '%s' not found", id);
	for (unsigned i = 0; i < c->config.nics; i++)
		if (!c->config.nic[i].gone && c->config.nic[i].net == (int)n)
			return cli_error(c, "Network '%s' is in use: its card must go first", id);
	net_close(m->net[n]);
	m->net[n] = NULL;
	c->config.net[n].taken = false;
	return CLI_OK;
}

enum cli_result cli_drop(struct cli *c, struct machine *m, enum plug_kind what, const char *id)
{
	switch (what) {
	case PLUG_DROP_DRIVE: return drop_drive(c, m, id, false);
	case PLUG_DROP_NODE: return drop_drive(c, m, id, true);
	case PLUG_DROP_NETWORK: return drop_network(c, m, id);
	case PLUG_DROP_OBJECT: return cli_drop_object(c, id);
	default: return CLI_ERROR;
	}
}
