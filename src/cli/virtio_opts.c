// SPDX-License-Identifier: MIT
//
// -device for virtio devices: the properties that all have (id, addr, bus), then each kind's own.
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char *const off[] = { "off", "false", "no", NULL };

// addr=SLOT[.FUNCTION], hexadecimal as QEMU has it.
bool cli_parse_slot(const char *text, int *slot)
{
	char *end;
	unsigned long n = strtoul(text, &end, 16);

	if (end == text || n > 31 || (*end && strcmp(end, ".0")))
		return false;
	*slot = (int)n;
	return true;
}

struct virtio_config *cli_find_bus(struct cli *c, enum virtio_kind kind, const char *name)
{
	size_t n = strlen(name);

	if (n > 2 && !strcmp(name + n - 2, ".0"))
		n -= 2;
	for (unsigned i = 0; i < c->config.nvirtio; i++) {
		struct virtio_config *v = &c->config.virtio[i];

		if (!v->gone && v->kind == kind && (!n || (strlen(v->id) == n && !strncmp(v->id, name, n))))
			return v;
	}
	return NULL;
}

struct virtio_config *cli_virtio_add(struct cli *c, enum virtio_kind kind)
{
	struct virtio_config *v;
	unsigned i = 0;

	while (i < c->config.nvirtio && !c->config.virtio[i].gone)
		i++;
	if (i == PCI_APP_MAX) {
		cli_error(c, "more than %d PCI devices are not built", PCI_APP_MAX);
		return NULL;
	}
	c->config.nvirtio = MAX(c->config.nvirtio, i + 1);
	c->last_device = i;
	v = &c->config.virtio[i];
	*v = (struct virtio_config){.kind = kind, .place = c->place, .slot = SLOT_ANY, .vectors = PCI_APP_VECTORS};
	return v;
}

// The properties of the rings, which all devices have. CLI_DONE: p is none of them.
static enum cli_result ring_prop(struct cli *c, struct virtio_config *v, const struct cli_prop *p)
{
	static const char *const on[] = { "on", "true", "yes", NULL };
	static const struct {
		const char *key;
		unsigned feature;
	} props[] = {
		{ "packed", VIRTIO_F_RING_PACKED }, { "in_order", VIRTIO_F_IN_ORDER }, { "event_idx", VIRTIO_F_EVENT_IDX },
		{ "indirect_desc", VIRTIO_F_INDIRECT },
	};

	for (size_t i = 0; i < ARRAY_SIZE(props); i++) {
		if (strcmp(p->key, props[i].key))
			continue;
		if (!cli_is_one_of(p->value, on) && !cli_is_one_of(p->value, off))
			return cli_error(c, "%s=%s is neither on nor off", p->key, p->value);
		*(cli_is_one_of(p->value, on) ? &v->features_on : &v->features_off) |= BIT64(props[i].feature);
		return CLI_OK;
	}
	return CLI_DONE;
}

enum cli_result cli_virtio_prop(struct cli *c, struct virtio_config *v, const struct cli_prop *p)
{
	static const char *const on[] = { "on", "true", "yes", "auto", NULL };
	static const char *const bus[] = { "pci.0", "pcie.0", "pci", NULL };
	uint64_t n;

	if (!strcmp(p->key, "id")) {
		snprintf(v->id, sizeof(v->id), "%.63s", p->value);
		return CLI_OK;
	}
	if (!strcmp(p->key, "vectors")) {
		if (!cli_parse_number(p->value, &n) || n > 2048)
			return cli_error(c, "vectors=%s: give 0 to 2048", p->value);
		v->vectors = (unsigned)n;
		return CLI_OK;
	}
	if (!strcmp(p->key, "addr"))
		return cli_parse_slot(p->value, &v->slot) ? CLI_OK :
			cli_error(c, "addr=%s is not a slot; give 2 to 1f", p->value);
	if (!strcmp(p->key, "bus")) {
		snprintf(v->bus, sizeof(v->bus), "%.63s", cli_is_one_of(p->value, bus) ? "" : p->value);
		return CLI_OK;
	}
	if (!strcmp(p->key, "disable-legacy"))
		return cli_is_one_of(p->value, on) ? CLI_OK : cli_error(c, "the legacy interface is not built");
	if (!strcmp(p->key, "disable-modern"))
		return cli_is_one_of(p->value, off) ? CLI_OK : cli_error(c, "only the modern interface is built");
	return !strcmp(p->key, "romfile") && !*p->value ? CLI_OK : ring_prop(c, v, p);
}

enum cli_result cli_settle_places(struct cli *c)
{
	bool mmio = c->config.board == BOARD_MICROVM;

	if (cli_settle_root_ports(c) != CLI_OK)
		return CLI_ERROR;
	for (unsigned i = 0; i < c->config.nvirtio; i++) {
		struct virtio_config *v = &c->config.virtio[i];

		if (cli_settle_bus(c, v) != CLI_OK)
			return CLI_ERROR;
		if (mmio && (v->place == VIRTIO_PLACE_PCI || v->slot != SLOT_ANY))
			return cli_error(c, "%s%sthe microvm machine has no PCI; use virtio-...-device", v->id, *v->id ? ": " : "");
		if (!mmio && v->place == VIRTIO_PLACE_MMIO)
			return cli_error(c, "%s%sdevices on virtio-mmio need -machine microvm; use virtio-...-pci", v->id,
					 *v->id ? ": " : "");
	}
	return CLI_OK;
}

enum cli_result cli_virtio_rng(struct cli *c, const char *arg)
{
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_RNG);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = cli_virtio_prop(c, v, &p);

		if (r == CLI_DONE && !strcmp(p.key, "rng"))
			r = cli_use_object(c, OBJECT_RNG, p.value);
		if (r == CLI_DONE)
			r = cli_error(c, "virtio-rng-pci has no property '%s' that is built", *p.key ? p.key : p.value);
		if (r != CLI_OK)
			return r;
	}
	return v ? CLI_OK : CLI_ERROR;
}

enum cli_result cli_virtio_balloon(struct cli *c, const char *arg)
{
	static const char *const on[] = { "on", "true", "yes", NULL };
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_BALLOON);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = cli_virtio_prop(c, v, &p);
		bool *to = !strcmp(p.key, "free-page-reporting") ? &v->balloon.reporting :
			!strcmp(p.key, "deflate-on-oom") ? &v->balloon.deflate_on_oom : NULL;

		if (r == CLI_DONE && to && (cli_is_one_of(p.value, on) || cli_is_one_of(p.value, off))) {
			*to = cli_is_one_of(p.value, on);
			r = CLI_OK;
		}
		if (r == CLI_DONE)
			r = cli_error(c, "virtio-balloon-pci: '%s=%s' is unknown or not built", p.key, p.value);
		if (r != CLI_OK)
			return r;
	}
	return v ? CLI_OK : CLI_ERROR;
}

// A power of two within bounds.
static bool parse_power(const char *text, uint64_t min, uint64_t max, unsigned *value)
{
	uint64_t n;

	if (!cli_parse_number(text, &n) || n < min || n > max || (n & (n - 1)))
		return false;
	*value = (unsigned)n;
	return true;
}

static enum cli_result blk_prop(struct cli *c, struct virtio_config *v, const struct cli_prop *p)
{
	static const char *const on[] = { "on", "true", "yes", "auto", NULL };
	static const struct {
		const char *key;
		const char *const *values; // NULL: any
	} fixed[] = {
		{ "bootindex", NULL }, { "share-rw", off }, { "config-wce", NULL }, { "scsi", off },
		{ "discard", on }, { "write-zeroes", on }, { "write-cache", on },
	};
	uint64_t n;

	if (!strcmp(p->key, "drive")) {
		snprintf(c->wants_drive[v - c->config.virtio], sizeof(c->wants_drive[0]), "%.63s", p->value);
	} else if (!strcmp(p->key, "iothread")) {
		return cli_use_object(c, OBJECT_THREAD, p->value);
	} else if (!strcmp(p->key, "serial")) {
		snprintf(v->blk.serial, sizeof(v->blk.serial), "%.20s", p->value);
	} else if (!strcmp(p->key, "num-queues")) {
		if (!cli_parse_number(p->value, &n) || n < 1 || n > 16)
			return cli_error(c, "num-queues=%s: give 1 to 16", p->value);
		v->blk.queues = (unsigned)n;
	} else if (!strcmp(p->key, "queue-size")) {
		if (!parse_power(p->value, 4, VIRTQ_SIZE_MAX, &v->blk.queue_size))
			return cli_error(c, "queue-size=%s: give a power of two, 4 to %d", p->value, VIRTQ_SIZE_MAX);
	} else if (!strcmp(p->key, "logical_block_size") || !strcmp(p->key, "physical_block_size")) {
		unsigned *to = p->key[0] == 'l' ? &v->blk.block_size : &v->blk.physical_size;

		if (!parse_power(p->value, BLOCK_SECTOR, 4096, to))
			return cli_error(c, "%s=%s: give 512, 1024, 2048 or 4096", p->key, p->value);
	} else {
		for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
			if (strcmp(p->key, fixed[i].key))
				continue;
			if (fixed[i].values && !cli_is_one_of(p->value, fixed[i].values))
				return cli_error(c, "%s=%s is not built; use %s", p->key, p->value, fixed[i].values[0]);
			return CLI_OK;
		}
		return CLI_DONE;
	}
	return CLI_OK;
}

enum cli_result cli_virtio_blk(struct cli *c, const char *arg)
{
	struct virtio_config *v = cli_virtio_add(c, VIRTIO_BLK);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = cli_virtio_prop(c, v, &p);

		if (r == CLI_DONE)
			r = cli_error_policy(c, &p, &v->image.on_error);
		if (r == CLI_DONE)
			r = blk_prop(c, v, &p);
		if (r == CLI_DONE)
			r = cli_error(c, "virtio-blk-pci has no property '%s' that is built", *p.key ? p.key : p.value);
		if (r != CLI_OK)
			return r;
	}
	if (v && !*c->wants_drive[v - c->config.virtio])
		return cli_error(c, "virtio-blk-pci: say which disk (drive=ID)");
	return v ? CLI_OK : CLI_ERROR;
}
