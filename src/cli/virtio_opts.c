// SPDX-License-Identifier: MIT
//
// -device for virtio devices: the properties that all have (id, addr, bus), then each kind's own.
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const char *const off[] = { "off", "false", "no", NULL };

// addr=SLOT[.FUNCTION], hexadecimal as QEMU has it.
static bool parse_slot(const char *text, int *slot)
{
	char *end;
	unsigned long n = strtoul(text, &end, 16);

	if (end == text || n > 31 || (*end && strcmp(end, ".0")))
		return false;
	*slot = (int)n;
	return true;
}

static bool id_is_free(const struct cli *c, const char *id)
{
	for (unsigned i = 0; i < c->config.nvirtio; i++)
		if (!strcmp(c->config.virtio[i].id, id))
			return false;
	return true;
}

// A new virtio device of the list, with what all of them have in common. NULL: said.
static struct virtio_config *virtio_add(struct cli *c, enum virtio_kind kind)
{
	struct virtio_config *v = &c->config.virtio[c->config.nvirtio];

	if (c->config.nvirtio == PCI_APP_MAX) {
		cli_error(c, "more than %d PCI devices are not built", PCI_APP_MAX);
		return NULL;
	}
	c->config.nvirtio++;
	*v = (struct virtio_config){.kind = kind, .slot = SLOT_ANY};
	return v;
}

// Properties that every PCI device has. CLI_DONE: p is none of these.
static enum cli_result virtio_prop(struct cli *c, struct virtio_config *v, const struct cli_prop *p)
{
	static const char *const on[] = { "on", "true", "yes", "auto", NULL };
	static const char *const bus[] = { "pci.0", "pcie.0", "pci", NULL };

	if (!strcmp(p->key, "id")) {
		if (!id_is_free(c, p->value))
			return cli_error(c, "id=%s: another device has this id; choose another", p->value);
		snprintf(v->id, sizeof(v->id), "%.63s", p->value);
		return CLI_OK;
	}
	if (!strcmp(p->key, "addr"))
		return parse_slot(p->value, &v->slot) ? CLI_OK : cli_error(c, "addr=%s is not a slot; give 2 to 1f", p->value);
	if (!strcmp(p->key, "bus"))
		return cli_is_one_of(p->value, bus) ? CLI_OK : cli_error(c, "bus=%s is not built; there is pci.0", p->value);
	if (!strcmp(p->key, "disable-legacy"))
		return cli_is_one_of(p->value, on) ? CLI_OK : cli_error(c, "the legacy interface is not built");
	if (!strcmp(p->key, "disable-modern"))
		return cli_is_one_of(p->value, off) ? CLI_OK : cli_error(c, "only the modern interface is built");
	return !strcmp(p->key, "romfile") && !*p->value ? CLI_OK : CLI_DONE;
}

enum cli_result cli_virtio_rng(struct cli *c, const char *arg)
{
	struct virtio_config *v = virtio_add(c, VIRTIO_RNG);
	struct cli_prop p;

	while (v && cli_next_prop(&arg, &p)) {
		enum cli_result r = virtio_prop(c, v, &p);

		if (r == CLI_DONE)
			r = cli_error(c, "virtio-rng-pci has no property '%s' that is built", *p.key ? p.key : p.value);
		if (r != CLI_OK)
			return r;
	}
	return v ? CLI_OK : CLI_ERROR;
}
