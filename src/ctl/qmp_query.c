// SPDX-License-Identifier: MIT
//
// QMP's questions about what ringer is and has, as libvirt and test suites ask them before they start a machine: types,
// boards, processors, options. The answers have the members of QEMU's as far as there is anything to say; what ringer
// has not is an empty list.
#include <stdio.h>
#include <string.h>

#include "ctl/qmp.h"
#include "machine/cpu_named.h"

static const struct known_names *known(const struct qmp_call *c)
{
	return qmp_machine(c)->config->known;
}

static json_t *nothing(struct qmp_call *c)
{
	return json_array();
}

static json_t *refused(struct qmp_call *c, const char *why)
{
	snprintf(c->why, sizeof(c->why), "%s", why);
	return NULL;
}

static const char *text_of(const struct qmp_call *c, const char *key)
{
	return json_string_value(json_object_get(c->args, key));
}

// -- what there is

static json_t *query_types(struct qmp_call *c)
{
	static const char *const types[][2] = {
		{ "memory-backend-ram", "memory-backend" }, { "memory-backend-memfd", "memory-backend" },
		{ "rng-random", "rng-backend" }, { "iothread", "object" }, { "pc-i440fx-7.2-machine", "machine" },
		{ "pc-q35-7.2-machine", "machine" }, { "microvm-machine", "machine" }, { "none-machine", "machine" },
		{ "tcg-accel", "accel" }, { "i8042", "isa-device" }, { "isa-serial", "isa-device" },
		{ "i440FX-pcihost", "pci-host-bridge" }, { "PIIX3", "pci-device" }, { "PIIX4_PM", "pci-device" },
		{ "piix3-ide", "pci-device" }, { "hpet", "sys-bus-device" },
	};
	json_t *list = json_array();
	const char *name;
	char modern[80];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "name", types[i][0], "parent", types[i][1]));
	for (unsigned i = 0; (name = known(c)->device(i)); i++) {
		size_t n = strlen(name);

		json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "parent", "device"));
		snprintf(modern, sizeof(modern), "%s-non-transitional", name);
		if (!strncmp(name, "virtio-", 7) && !strcmp(name + n - 4, "-pci"))
			json_array_append_new(list, json_pack("{s:s,s:s}", "name", modern, "parent", "device"));
	}
	for (unsigned i = 0; (name = known(c)->absent(i)); i++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "name", name, "parent", "device"));
	return list;
}

// Of devices: what all virtio ones take; ringer's tables are in its parsers.
static json_t *query_properties(struct qmp_call *c)
{
	static const char *const common[] = { "id", "addr", "bus", "bootindex", "packed", "in_order", "event_idx",
					      "indirect_desc", "vectors", "iommu_platform", "disable-legacy", "disable-modern" };
	const char *type = text_of(c, "typename"), *name;
	json_t *list = json_array();

	for (unsigned i = 0; type && (name = known(c)->device(i)); i++) {
		if (strcmp(type, name))
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(common) && !strncmp(name, "virtio", 6); k++)
			json_array_append_new(list, json_pack("{s:s,s:s}", "name", common[k], "type", "str"));
		return list;
	}
	for (unsigned i = 0; type && (name = known(c)->absent(i)); i++)
		if (!strcmp(type, name))
			return list;
	json_decref(list);
	c->class = "DeviceNotFound";
	return refused(c, "Device type not found");
}

// Of boards and objects: those that programs look for.
static json_t *query_object_properties(struct qmp_call *c)
{
	static const struct {
		const char *type, *properties[12];
	} of_types[] = {
		{ "machine", { "usb", "dump-guest-core", "mem-merge", "accel", "memory-backend", "graphics",
			       "kernel-irqchip", "hpet", "vmport", "smm", "pit" } },
		{ "memory-backend", { "size", "share", "prealloc", "merge", "dump", "host-nodes", "policy" } },
	};
	const char *type = text_of(c, "typename");
	json_t *list = json_array();

	for (size_t i = 0; type && i < ARRAY_SIZE(of_types); i++)
		for (unsigned k = 0; strstr(type, of_types[i].type) && of_types[i].properties[k]; k++)
			json_array_append_new(list, json_pack("{s:s,s:s}", "name", of_types[i].properties[k], "type",
							      "str"));
	return list;
}

static json_t *query_machines(struct qmp_call *c)
{
	json_t *list = json_array();
	const char *name, *alias;

	for (unsigned i = 0; (name = known(c)->board(i, &alias)); i++) {
		json_t *one = json_pack("{s:s,s:i,s:b,s:b,s:b,s:b}", "name", name, "cpu-max", VCPUS_MAX,
					"hotpluggable-cpus", false, "numa-mem-supported", true, "deprecated", false, "acpi",
					true);

		if (alias)
			json_object_set_new(one, "alias", json_string(alias));
		if (!strcmp(name, "pc-i440fx-7.2"))
			json_object_set_new(one, "is-default", json_true());
		if (strcmp(name, "none")) {
			json_object_set_new(one, "default-cpu-type", json_string("qemu64-x86_64-cpu"));
			json_object_set_new(one, "default-ram-id", json_string("pc.ram"));
		}
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *model_entry(const char *name, bool fixed)
{
	char type[100];

	snprintf(type, sizeof(type), "%s-x86_64-cpu", name);
	return json_pack("{s:s,s:s,s:b,s:b,s:[],s:b}", "name", name, "typename", type, "static", false, "migration-safe",
			 fixed, "unavailable-features", "deprecated", false);
}

static json_t *query_models(struct qmp_call *c)
{
	static const char *const own[] = { "host", "max", "qemu64", "Opteron_G1" };
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(own); i++)
		json_array_append_new(list, model_entry(own[i], i >= 2));
	for (unsigned i = 0; i < cpu_named_count; i++)
		json_array_append_new(list, model_entry(cpu_named[i].name, true));
	return list;
}

// What a model would be here: each feature that ringer knows, on or off.
static json_t *expand_model(struct qmp_call *c)
{
	const char *name = json_string_value(json_object_get(json_object_get(c->args, "model"), "name"));
	json_t *props = json_object();
	const struct cpu_named *row;
	struct cpu_bits host, offered, bits;

	cpu_bits_host(&host);
	cpu_bits_offered(&offered, &host);
	row = name ? cpu_named_find(name, strlen(name)) : NULL;
	bits = offered;
	if (row)
		cpu_named_bits(row, &bits);
	if (!name || (!row && strcmp(name, "host") && strcmp(name, "max") && strcmp(name, "base"))) {
		json_decref(props);
		return refused(c, "The CPU model is not known, or not one that can be expanded");
	}
	for (unsigned i = 0; i < cpu_features_count; i++) {
		const struct cpu_feature *f = &cpu_features[i];
		bool on = strcmp(name, "base") && (bits.word[f->word] & offered.word[f->word] & BIT(f->bit));

		json_object_set_new(props, f->name, json_boolean(on));
	}
	return json_pack("{s:{s:s,s:o}}", "model", "name", name, "props", props);
}

static json_t *query_options(struct qmp_call *c)
{
	json_t *list = json_array();
	const char *name;

	for (unsigned i = 0; (name = known(c)->option(i)); i++)
		json_array_append_new(list, json_pack("{s:s,s:[]}", "option", name, "parameters"));
	return list;
}

// Commands and events, without their members: those are the same as QEMU's.
static json_t *query_schema(struct qmp_call *c)
{
	json_t *list = json_array();
	const char *name;

	json_array_append_new(list, json_pack("{s:s,s:s,s:[]}", "name", "0", "meta-type", "object", "members"));
	for (unsigned i = 0; (name = qmp_name(i)); i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s,s:s}", "name", name, "meta-type", "command",
						      "arg-type", "0", "ret-type", "0"));
	for (unsigned i = 0; qmp_events[i]; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:s}", "name", qmp_events[i], "meta-type", "event",
						      "arg-type", "0"));
	return list;
}

// -- this machine

static json_t *query_pci(struct qmp_call *c)
{
	struct machine *m = qmp_machine(c);
	json_t *devices = json_array();

	for (unsigned i = 0; i < m->virtio.count; i++) {
		const struct pci_app *p = &m->shared->pci[i];
		const char *id = m->virtio.pci[i].device ? m->virtio.pci[i].device->name : NULL;

		if (p->present && !p->mmio)
			json_array_append_new(devices, json_pack(
				"{s:i,s:i,s:i,s:{s:i},s:{s:i,s:i,s:i,s:i},s:s,s:[]}", "bus", 0, "slot", p->devfn >> 3, "function",
				p->devfn & 7, "class_info", "class", (int)(p->class_code >> 8), "id", "device", p->device,
				"vendor", p->vendor, "subsystem", p->subsystem, "subsystem-vendor", p->subsystem_vendor,
				"qdev_id", id ? id : "", "regions"));
	}
	return json_pack("[{s:i,s:o}]", "bus", 0, "devices", devices);
}

static json_t *query_current(struct qmp_call *c)
{
	return json_pack("{s:b}", "wakeup-suspend-support", false);
}

static json_t *off(struct qmp_call *c)
{
	return json_pack("{s:b}", "enabled", false);
}

static json_t *query_balloon(struct qmp_call *c)
{
	uint64_t bytes;

	if (balloon_memory(c->op->all->machine, &bytes))
		return json_pack("{s:I}", "actual", (json_int_t)bytes);
	c->class = "DeviceNotActive";
	return refused(c, "No balloon device has been activated");
}

static json_t *query_migration(struct qmp_call *c)
{
	return json_pack("[{s:s,s:b}]", "capability", "events", "state", false);
}

static json_t *query_migrate(struct qmp_call *c)
{
	return json_object();
}

const struct qmp_command qmp_queries[] = {
	{ "device-list-properties", query_properties }, { "qom-list-types", query_types },
	{ "qom-list-properties", query_object_properties },
	{ "query-acpi-ospm-status", nothing },
	{ "query-balloon", query_balloon }, { "query-block-jobs", nothing },
	{ "query-command-line-options", query_options },
	{ "query-cpu-definitions", query_models }, { "query-cpu-model-expansion", expand_model },
	{ "query-current-machine", query_current }, { "query-hotpluggable-cpus", nothing }, { "query-iothreads", nothing },
	{ "query-jobs", nothing }, { "query-machines", query_machines }, { "query-memdev", nothing },
	{ "query-memory-devices", nothing }, { "query-mice", nothing }, { "query-migrate", query_migrate },
	{ "query-migrate-capabilities", query_migration },
	{ "query-pci", query_pci },
	{ "query-qmp-schema", query_schema }, { "query-rx-filter", nothing }, { "query-spice", off },
	{ "query-tpm-models", nothing }, { "query-tpm-types", nothing }, { "query-tpm", nothing }, { "query-vnc", off },
	{ "query-vnc-servers", nothing }, { NULL, NULL },
};
