// SPDX-License-Identifier: MIT
//
// -netdev, -nic and -net: networks and the cards on them. A network's own properties are its back-end's affair
// (io/net_*.c). There is no hub: with -net, one card and one network are each other's.
#include <errno.h>
#include <string.h>

#include "cli/cli.h"

static const char *const virtio_models[] = {"virtio", "virtio-net-pci", "virtio-net", NULL};
static const char *const e1000_models[] = {"e1000", "e1000-82540em", NULL};

static struct net_config *find_net(struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->config.nets; i++)
		if (c->config.net[i].taken && !strcmp(c->config.net[i].id, id))
			return &c->config.net[i];
	return NULL;
}

static enum cli_result net_help(void)
{
	printf("Available netdev backend types:\n");
	for (int i = 0; i < NET_KINDS; i++)
		printf("%s\n", net_kind_class(i)->name);
	return CLI_DONE;
}

static enum cli_result new_net(struct cli *c, const char *kind, struct net_config **net)
{
	int k = net_kind_find(kind);
	unsigned i = 0;

	if (k < 0)
		return cli_error(c, "a network of type '%s' is not built; '-netdev help' lists those that are", kind);
	while (i < c->config.nets && c->config.net[i].taken)
		i++;
	if (i == MACHINE_NETS_MAX)
		return cli_error(c, "at most %d networks", MACHINE_NETS_MAX);
	c->config.nets = MAX(c->config.nets, i + 1);
	c->last_net = i;
	*net = &c->config.net[i];
	net_config_init(*net, k);
	(*net)->taken = true;
	return CLI_OK;
}

static struct nic_config *new_card(struct cli *c)
{
	unsigned i = 0;

	while (i < c->config.nics && !c->config.nic[i].gone)
		i++;
	if (i == MACHINE_NETS_MAX) {
		cli_error(c, "at most %d network cards", MACHINE_NETS_MAX);
		return NULL;
	}
	c->config.nics = MAX(c->config.nics, i + 1);
	c->last_card = i;
	c->config.nic[i] = (struct nic_config){.slot = SLOT_ANY};
	return &c->config.nic[i];
}

static struct virtio_config *add_virtio(struct cli *c, struct nic_config *card)
{
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_NET);

	if (v)
		v->card = (unsigned)(card - c->config.nic);
	else
		card->gone = true;
	return v;
}

// The device that a card of -nic or -net is.
static enum cli_result add_device(struct cli *c, struct nic_config *card)
{
	return card->model != NIC_VIRTIO || add_virtio(c, card) ? CLI_OK : CLI_ERROR;
}

static enum cli_result net_prop(struct cli *c, struct net_config *n, const struct cli_prop *p)
{
	const struct net_class *class = net_kind_class(n->kind);
	char err[400] = "";
	int r = class->prop(n, p->key, p->value, err, sizeof(err));

	if (r == -ENOENT)
		return cli_error(c, "%s has no property '%s', or it is not built", class->name,
				 *p->key ? p->key : p->value);
	return r < 0 ? cli_error(c, "%s", err) : CLI_OK;
}

static enum cli_result net_done(struct cli *c, struct net_config *n)
{
	const struct net_class *class = net_kind_class(n->kind);
	char err[400] = "";

	if (class->check && class->check(n, err, sizeof(err)) < 0)
		return cli_error(c, "%s: %s", class->name, err);
	return CLI_OK;
}

static enum cli_result take_id(struct cli *c, const char *id, char *to, size_t size)
{
	if (!*id || strlen(id) >= size)
		return cli_error(c, "id=%s: from 1 to %zu characters", id, size - 1);
	if (find_net(c, id))
		return cli_error(c, "id=%s: this id is taken by another network", id);
	strcpy(to, id);
	return CLI_OK;
}

static enum cli_result parse_mac(struct cli *c, const char *value, struct nic_config *card)
{
	unsigned b[6];
	int end = 0;

	if ((sscanf(value, "%2x:%2x:%2x:%2x:%2x:%2x%n", b, b + 1, b + 2, b + 3, b + 4, b + 5, &end) != 6 &&
	     sscanf(value, "%2x-%2x-%2x-%2x-%2x-%2x%n", b, b + 1, b + 2, b + 3, b + 4, b + 5, &end) != 6) ||
	    value[end])
		return cli_error(c, "mac=%s: not an Ethernet address; an example is 52:54:00:12:34:56", value);
	if (b[0] & 1)
		return cli_error(c, "mac=%s: this is a group's address, not a card's", value);
	for (int i = 0; i < 6; i++)
		card->mac[i] = (uint8_t)b[i];
	card->has_mac = true;
	return CLI_OK;
}

// A card's properties in -nic and -net nic. -1: not one of them.
static int card_prop(struct cli *c, struct nic_config *card, const struct cli_prop *p)
{
	if (!strcmp(p->key, "mac") || !strcmp(p->key, "macaddr"))
		return (int)parse_mac(c, p->value, card);
	if (strcmp(p->key, "model"))
		return -1;
	if (cli_is_help(p->value)) {
		printf("Available NIC models:\ne1000\nvirtio-net-pci\n");
		return CLI_DONE;
	}
	card->model = cli_is_one_of(p->value, e1000_models) ? NIC_E1000 : NIC_VIRTIO;
	if (card->model == NIC_VIRTIO && !cli_is_one_of(p->value, virtio_models))
		return (int)cli_error(c, "model '%s' is not built; use virtio-net-pci or e1000", p->value);
	return CLI_OK;
}

static enum cli_result parse_mtu(struct cli *c, const char *value, struct nic_config *card)
{
	uint64_t n;

	if (!cli_parse_number(value, &n) || n < 68 || n > 65535)
		return cli_error(c, "host_mtu=%s: a number from 68 to 65535", value);
	card->mtu = (uint16_t)n;
	return CLI_OK;
}

// Those of any card. CLI_DONE: it is none of them.
static enum cli_result common_prop(struct cli *c, struct nic_config *card, const struct cli_prop *p)
{
	char err[200] = "";

	if (!strcmp(p->key, "netdev"))
		return net_parse_text(p->key, p->value, card->netdev, sizeof(card->netdev), err, sizeof(err)) < 0
			       ? cli_error(c, "%s", err)
			       : CLI_OK;
	if (!strcmp(p->key, "mac"))
		return parse_mac(c, p->value, card);
	return strcmp(p->key, "bootindex") ? CLI_DONE : CLI_OK; // a direct kernel boot has no order
}

static enum cli_result virtio_prop(struct cli *c, struct nic_config *card, const struct cli_prop *p)
{
	enum cli_result r = common_prop(c, card, p);
	char err[200] = "";
	bool merge;

	if (r != CLI_DONE)
		return r;
	if (!strcmp(p->key, "host_mtu"))
		return parse_mtu(c, p->value, card);
	if (!strcmp(p->key, "mq"))
		return net_parse_bool(p->key, p->value, &card->multiqueue, err, sizeof(err)) < 0 ? cli_error(c, "%s", err)
											       : CLI_OK;
	if (strcmp(p->key, "mrg_rxbuf"))
		return cli_error(c, "virtio-net-pci has no property '%s' that is built", *p->key ? p->key : p->value);
	if (net_parse_bool(p->key, p->value, &merge, err, sizeof(err)) < 0)
		return cli_error(c, "%s", err);
	card->no_merge = !merge;
	return CLI_OK;
}

enum cli_result cli_netdev(struct cli *c, const char *arg)
{
	struct net_config *n = NULL;
	char text[2048];
	struct cli_prop p;
	enum cli_result r;

	if (*arg == '{') {
		if (cli_from_json(c, arg, "type", text, sizeof(text)) != CLI_OK)
			return CLI_ERROR;
		arg = text;
	}
	if (!cli_next_prop(&arg, &p) || (*p.key && strcmp(p.key, "type")))
		return cli_error(c, "name the network's type first; '-netdev help' lists them");
	if (cli_is_help(p.value))
		return net_help();
	r = new_net(c, p.value, &n);
	while (r == CLI_OK && cli_next_prop(&arg, &p))
		r = strcmp(p.key, "id") ? net_prop(c, n, &p) : take_id(c, p.value, n->id, sizeof(n->id));
	if (r == CLI_OK && !*n->id)
		return cli_error(c, "a network must have an id: id=NAME");
	return r == CLI_OK ? net_done(c, n) : r;
}

// An id for a network that was not given one; no id of the user's begins with #.
static void name_net(struct cli *c, struct net_config *n)
{
	snprintf(n->id, sizeof(n->id), "#net%u", (unsigned)(n - c->config.net));
}

enum cli_result cli_nic(struct cli *c, const char *arg)
{
	struct nic_config *card;
	struct net_config *n = NULL;
	struct cli_prop p;
	enum cli_result r;
	int taken;

	if (!cli_next_prop(&arg, &p) || (*p.key && strcmp(p.key, "type")))
		return cli_error(c, "name the network's type first; '-netdev help' lists them");
	if (cli_is_help(p.value))
		return net_help();
	if (!strcmp(p.value, "none"))
		return *arg ? cli_error(c, "nothing may follow none") : CLI_OK;
	r = new_net(c, p.value, &n);
	card = r == CLI_OK ? new_card(c) : NULL;
	if (!card)
		return CLI_ERROR;
	while (r == CLI_OK && cli_next_prop(&arg, &p)) {
		taken = card_prop(c, card, &p);
		if (taken >= 0)
			r = (enum cli_result)taken;
		else
			r = strcmp(p.key, "id") ? net_prop(c, n, &p) : take_id(c, p.value, n->id, sizeof(n->id));
	}
	if (r != CLI_OK)
		return r;
	if (!*n->id)
		name_net(c, n);
	strcpy(card->netdev, n->id);
	return add_device(c, card) == CLI_OK ? net_done(c, n) : CLI_ERROR;
}

static enum cli_result net_nic(struct cli *c, const char *arg)
{
	struct nic_config *card = new_card(c);
	enum cli_result r = card ? CLI_OK : CLI_ERROR;
	struct cli_prop p;
	int taken;

	if (card && c->old_card)
		return cli_error(c, "there is no hub: one card with -net; use -nic for more");
	c->old_card = c->last_card + 1;
	while (r == CLI_OK && cli_next_prop(&arg, &p)) {
		taken = card_prop(c, card, &p);
		if (taken >= 0)
			r = (enum cli_result)taken;
		else if (strcmp(p.key, "name"))
			r = virtio_prop(c, card, &p);
	}
	return r == CLI_OK ? add_device(c, card) : r;
}

enum cli_result cli_net(struct cli *c, const char *arg)
{
	struct net_config *n = NULL;
	struct cli_prop p;
	enum cli_result r;

	if (!cli_next_prop(&arg, &p) || *p.key)
		return cli_error(c, "name nic, a network's type, or none");
	if (cli_is_help(p.value))
		return net_help();
	if (!strcmp(p.value, "none"))
		return *arg ? cli_error(c, "nothing may follow none") : CLI_OK;
	if (!strcmp(p.value, "nic"))
		return net_nic(c, arg);
	if (c->old_net)
		return cli_error(c, "there is no hub: one network with -net; use -nic for more");
	r = new_net(c, p.value, &n);
	c->old_net = c->last_net + 1;
	while (r == CLI_OK && cli_next_prop(&arg, &p))
		if (strcmp(p.key, "name") && strcmp(p.key, "id"))
			r = net_prop(c, n, &p);
	if (r != CLI_OK)
		return r;
	name_net(c, n);
	return net_done(c, n);
}

enum cli_result cli_virtio_net(struct cli *c, const char *arg)
{
	struct nic_config *card = new_card(c);
	struct virtio_config *device = card ? add_virtio(c, card) : NULL;
	enum cli_result r = device ? CLI_OK : CLI_ERROR;
	struct cli_prop p;

	while (r == CLI_OK && cli_next_prop(&arg, &p)) {
		r = cli_virtio_prop(c, device, &p);
		if (r == CLI_DONE)
			r = virtio_prop(c, card, &p);
	}
	return r;
}

enum cli_result cli_e1000(struct cli *c, const char *arg)
{
	struct nic_config *card = new_card(c);
	enum cli_result r = card ? CLI_OK : CLI_ERROR;
	struct cli_prop p;

	if (card)
		card->model = NIC_E1000;
	while (r == CLI_OK && cli_next_prop(&arg, &p)) {
		r = common_prop(c, card, &p);
		if (r != CLI_DONE)
			continue;
		r = CLI_OK;
		if (!strcmp(p.key, "id"))
			snprintf(card->id, sizeof(card->id), "%.63s", p.value);
		else if (!strcmp(p.key, "bus") && strcmp(p.value, "pci.0") && strcmp(p.value, "pcie.0"))
			r = cli_error(c, "e1000: bus=%s: this card is on the root bus only: pci.0, or pcie.0 on q35", p.value);
		else if ((strcmp(p.key, "addr") || !cli_parse_slot(p.value, &card->slot)) && strcmp(p.key, "bus") &&
			 strcmp(p.key, "romfile") && strcmp(p.key, "rombar"))
			r = cli_error(c, "e1000: property '%s%s%s' is unknown or not built", p.key, *p.key ? "=" : "", p.value);
	}
	return r;
}

// All options have been seen: each card's network must be there and be its alone.
enum cli_result cli_settle_nets(struct cli *c)
{
	unsigned users[MACHINE_NETS_MAX] = {0}, e1000s = 0;

	c->option = "-net";
	if (c->old_card && c->old_net && !*c->config.nic[c->old_card - 1].netdev)
		strcpy(c->config.nic[c->old_card - 1].netdev, c->config.net[c->old_net - 1].id);
	for (unsigned i = 0; i < c->config.nics; i++) {
		struct nic_config *card = &c->config.nic[i];
		struct net_config *n = card->gone ? NULL : find_net(c, card->netdev);

		card->net = n ? (int)(n - c->config.net) : -1;
		e1000s += card->model == NIC_E1000;
		c->option = "e1000";
		if (card->model == NIC_E1000 && c->config.board == BOARD_MICROVM)
			return cli_error(c, "this machine has no PCI; use virtio-net-device");
		if (e1000s > E1000_CARDS)
			return cli_error(c, "at most %d cards of this kind; use virtio-net-pci for more", E1000_CARDS);
		c->option = "netdev";
		if (!n && *card->netdev && !card->gone)
			return cli_error(c, "'%s': there is no such network", card->netdev);
		if (n && users[card->net]++)
			return cli_error(c, "'%s': this network has another card; there is no hub", card->netdev);
		if (!card->has_mac)
			memcpy(card->mac, (const uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, (uint8_t)(0x56 + i)}, 6);
	}
	for (unsigned i = 0; i < c->config.nets; i++)
		if (!users[i] && c->config.net[i].taken && !c->runs)
			cli_warn("network '%s' has no card", c->config.net[i].id);
	return CLI_OK;
}
