// SPDX-License-Identifier: MIT
//
// -device: one table of the devices that can be added, each with a function that takes its properties.
#include <string.h>

#include "cli/cli.h"

static enum cli_result debug_exit(struct cli *c, const char *arg)
{
	uint64_t base = 0x501, size = 2;
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		uint64_t *to = !strcmp(p.key, "iobase") ? &base : !strcmp(p.key, "iosize") ? &size : NULL;

		if (!strcmp(p.key, "id"))
			continue;
		if (!to)
			return cli_error(c, "isa-debug-exit has no property '%s'; it has iobase and iosize",
					 *p.key ? p.key : p.value);
		if (!cli_parse_number(p.value, to))
			return cli_error(c, "isa-debug-exit: %s=%s is not a number", p.key, p.value);
	}
	if (size < 1 || size > 8 || base > 0xffff || base + size > 0x10000)
		return cli_error(
		    c, "isa-debug-exit: iobase=%#llx,iosize=%#llx is not a range of 1 to 8 ports below 0x10000",
		    (unsigned long long)base, (unsigned long long)size);
	c->config.pc.debug_exit = true;
	c->config.pc.debug_exit_base = (uint16_t)base;
	c->config.pc.debug_exit_size = (uint16_t)size;
	return CLI_OK;
}

static enum cli_result pc_testdev(struct cli *c, const char *arg)
{
	struct cli_prop p;

	while (cli_next_prop(&arg, &p))
		if (strcmp(p.key, "id"))
			return cli_error(c, "pc-testdev has no property '%s'", *p.key ? p.key : p.value);
	c->config.pc.testdev = true;
	return CLI_OK;
}

static enum cli_result pci_testdev(struct cli *c, const char *arg)
{
	struct cli_prop p;

	while (cli_next_prop(&arg, &p))
		if (strcmp(p.key, "id"))
			return cli_error(c, "pci-testdev has no property '%s'", *p.key ? p.key : p.value);
	c->config.pc.pci_testdev = true;
	return CLI_OK;
}

static enum cli_result watchdog(struct cli *c, const char *arg)
{
	struct cli_prop p;

	while (cli_next_prop(&arg, &p))
		if (strcmp(p.key, "id"))
			return cli_error(c, "i6300esb has no property '%s' that is built", *p.key ? p.key : p.value);
	c->config.pc.watchdog = true;
	return CLI_OK;
}

static enum cli_result debugcon_to(struct cli *c, const char *text)
{
	char why[300] = "";

	if (c->config.pc.debugcon.kind != STREAM_NONE)
		return cli_error(c, "there is one debug console at most");
	if (stream_parse(text, &c->config.pc.debugcon, why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	return CLI_OK;
}

static enum cli_result debugcon(struct cli *c, const char *arg)
{
	uint64_t base = DEBUGCON_IOBASE, readback = DEBUGCON_READBACK;
	char to[600] = "";
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		uint64_t *number = !strcmp(p.key, "iobase") ? &base : !strcmp(p.key, "readback") ? &readback : NULL;

		if (!strcmp(p.key, "chardev"))
			snprintf(to, sizeof(to), "chardev:%s", p.value);
		else if (!number && strcmp(p.key, "id"))
			return cli_error(c, "isa-debugcon has no property '%s'; it has iobase, readback and chardev",
					 *p.key ? p.key : p.value);
		else if (number && !cli_parse_number(p.value, number))
			return cli_error(c, "isa-debugcon: %s=%s is not a number", p.key, p.value);
	}
	if (base > 0xffff)
		return cli_error(c, "isa-debugcon: iobase=%#llx is no port", (unsigned long long)base);
	if (!*to)
		return cli_error(c, "isa-debugcon: say where it prints (chardev=ID)");
	c->config.pc.debugcon_base = (uint16_t)base;
	c->config.pc.debugcon_readback = (uint32_t)readback;
	return debugcon_to(c, to);
}

// -debugcon TO: the device where it usually is.
enum cli_result cli_debugcon(struct cli *c, const char *arg)
{
	c->config.pc.debugcon_base = DEBUGCON_IOBASE;
	c->config.pc.debugcon_readback = DEBUGCON_READBACK;
	return debugcon_to(c, arg);
}

// A serial port by its device's name: the next one, or that of index=.
static enum cli_result isa_serial(struct cli *c, const char *arg)
{
	uint64_t index = c->serials;
	char to[600] = "", why[300];
	struct cli_prop p;

	while (cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "chardev"))
			snprintf(to, sizeof(to), "chardev:%s", p.value);
		else if (!strcmp(p.key, "index") && (!cli_parse_number(p.value, &index) || index >= SERIAL_PORTS))
			return cli_error(c, "isa-serial: index=%s: give 0 to %d", p.value, SERIAL_PORTS - 1);
		else if (strcmp(p.key, "index") && strcmp(p.key, "id"))
			return cli_error(c, "isa-serial has no property '%s' that is built; it has chardev and index",
					 *p.key ? p.key : p.value);
	}
	if (!*to)
		return cli_error(c, "isa-serial: say where it goes (chardev=ID)");
	if (index >= SERIAL_PORTS || (index < c->serials && c->config.serial[index].kind != STREAM_NONE))
		return cli_error(c, "isa-serial: port %llu is taken, or more than %d", (unsigned long long)index, SERIAL_PORTS);
	if (stream_parse(to, &c->config.serial[index], why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	c->serials = MAX(c->serials, (unsigned)index + 1);
	return CLI_OK;
}

// QEMU's standard VGA has one place, the one where -vga std puts it.
static enum cli_result vga(struct cli *c, const char *arg)
{
	struct cli_prop p;
	uint64_t n;

	c->config.vga_slot = SLOT_ANY;
	while (cli_next_prop(&arg, &p)) {
		if (!strcmp(p.key, "addr") && cli_parse_slot(p.value, &c->config.vga_slot))
			continue;
		if (!strcmp(p.key, "vgamem_mb") && cli_parse_number(p.value, &n) && n == SCREEN_MEMORY >> 20)
			continue;
		if (strcmp(p.key, "id") && strcmp(p.key, "bus"))
			return cli_error(c, "VGA: '%s=%s' is unknown or not built", p.key, p.value);
	}
	if (c->vga_device)
		return cli_error(c, "VGA: there is one at most");
	c->vga_device = c->vga_asked = true;
	c->config.no_vga = false;
	return CLI_OK;
}

static const struct device_option {
	const char *name, *bus, *description;
	enum cli_result (*take)(struct cli *c, const char *props);
} device_options[] = {
	{ "virtio-balloon-pci", "virtio-bus", "free-page-reporting=on: unused memory goes back to the host",
		cli_virtio_balloon },
	{ "virtio-blk-pci", "virtio-bus", "drive=ID,serial=,num-queues=: a disk", cli_virtio_blk },
	{ "virtio-9p-pci", "virtio-bus", "shared folder: fsdev=ID,mount_tag=TAG", cli_virtio_9p },
	{ "virtio-net-pci", "virtio-bus", "network card: netdev=ID,mac=ADDRESS", cli_virtio_net },
	{ "e1000", "PCI", "netdev=ID,mac=ADDRESS,addr=: Intel's 82540EM, for systems without a virtio driver", cli_e1000 },
	{ "e1000-82540em", "PCI", NULL, cli_e1000 },
	{ "scsi-cd", "SCSI", "drive=ID,scsi-id=,lun=: a disc on virtio-scsi, read-only", cli_scsi_cd },
	{ "scsi-hd", "SCSI", "drive=ID,scsi-id=,lun=,serial=: a disk on virtio-scsi", cli_scsi_hd },
	{ "virtio-scsi-pci", "virtio-bus", "num_queues=: a bus for scsi-hd and scsi-cd", cli_virtio_scsi },
	{ "virtio-serial-pci", "virtio-bus", "ports for virtserialport and virtconsole: max_ports=", cli_virtio_serial },
	{ "virtserialport", "virtio-serial-bus", "chardev=ID,name=NAME,nr=N: a port for a program in the guest",
		cli_virtserialport },
	{ "virtconsole", "virtio-serial-bus", "chardev=ID,nr=N: a console, hvc0 and so on", cli_virtconsole },
	{ "virtio-rng-pci", "virtio-bus", "random numbers of the host", cli_virtio_rng },
	{ "ich9-ahci", "PCI", "addr=: a SATA controller; ide-hd,bus=ID.0 and so on are its six places", cli_ahci },
	{ "ahci", "PCI", NULL, cli_ahci },
	{ "ide-hd", "IDE", "drive=ID,bus=ide.N,unit=N,serial=: a disk on the IDE or SATA controller", cli_ide_hd },
	{ "ide-cd", "IDE", "drive=ID,bus=ide.N,unit=N: a CD-ROM there", cli_ide_cd },
	{ "pcie-root-port", "PCI", "on q35, a place that a device with bus=ID may come to while the guest runs",
		cli_root_port },
	{ "VGA", "PCI", "the display of -vga std: vgamem_mb=16", vga },
	{ "isa-serial", "ISA", "chardev=ID,index=N: a serial port", isa_serial },
	{ "isa-debug-exit", "ISA", "iobase=PORT,iosize=N: a write of v ends ringer with status (v<<1)|1", debug_exit },
	{ "isa-debugcon", "ISA", "iobase=PORT,readback=N,chardev=ID: bytes written are printed", debugcon },
	{ "i6300esb", "PCI", "a watchdog, which resets a guest that does not keep it quiet", watchdog },
	{ "pc-testdev", "ISA", "interrupt lines and device memory for processor tests", pc_testdev },
	{ "pci-testdev", "PCI", "a function whose accesses are counted, in memory and in ports", pci_testdev },
};

const char *cli_device_name(unsigned i)
{
	return i < ARRAY_SIZE(device_options) ? device_options[i].name : NULL;
}

static enum cli_result device_help(void)
{
	printf("Misc devices:\n");
	for (size_t i = 0; i < ARRAY_SIZE(device_options); i++)
		if (device_options[i].description)
			printf("name \"%s\", bus %s, desc \"%s\"\n", device_options[i].name,
			       device_options[i].bus, device_options[i].description);
	return CLI_DONE;
}

// virtio-blk-pci's row is virtio-blk's and virtio-blk-device's too, and that of virtio-blk-pci-non-transitional, which
// has the modern interface alone, as all of them here.
static bool is_named(struct cli *c, const char *row, const char *name)
{
	static const struct {
		const char *ending;
		enum virtio_place place;
	} endings[] = { { "-pci", VIRTIO_PLACE_PCI }, { "-pci-non-transitional", VIRTIO_PLACE_PCI },
		      { "-device", VIRTIO_PLACE_MMIO }, { "", VIRTIO_PLACE_ANY } };
	size_t n = strlen(row);
	const char *pci = n > 4 && !strcmp(row + n - 4, "-pci") ? row + n - 4 : NULL;

	c->place = VIRTIO_PLACE_ANY;
	if (!pci)
		return !strcmp(row, name);
	n = (size_t)(pci - row);
	for (size_t i = 0; i < ARRAY_SIZE(endings) && !strncmp(row, name, n); i++)
		if (!strcmp(name + n, endings[i].ending)) {
			c->place = endings[i].place;
			return true;
		}
	return false;
}

enum cli_result cli_settle_ids(struct cli *c)
{
	const char *ids[PCI_APP_MAX + CONSOLE_PORTS + SCSI_DISKS + AHCI_CONTROLLERS + MACHINE_NETS_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < c->config.nvirtio; i++)
		ids[n++] = c->config.virtio[i].id;
	for (unsigned i = 0; i < c->config.ports; i++)
		ids[n++] = c->config.port[i].id;
	for (unsigned i = 0; i < c->config.scsis; i++)
		ids[n++] = c->scsi[i].id;
	for (unsigned i = 0; i < AHCI_CONTROLLERS; i++)
		ids[n++] = c->config.ahci[i].id;
	for (unsigned i = 0; i < c->config.nics; i++)
		ids[n++] = c->config.nic[i].id;
	c->option = "-device";
	for (unsigned i = 1; i < n; i++)
		for (unsigned k = 0; k < i; k++)
			if (*ids[i] && !strcmp(ids[i], ids[k]))
				return cli_error(c, "id=%s: another device has this id; choose another", ids[i]);
	return CLI_OK;
}

enum cli_result cli_device(struct cli *c, const char *arg)
{
	char text[2048];
	enum cli_result r;
	struct cli_prop p;

	if (*arg == '{') {
		if (cli_from_json(c, arg, "driver", text, sizeof(text)) != CLI_OK)
			return CLI_ERROR;
		arg = text;
	}

	if (!cli_next_prop(&arg, &p))
		return cli_error(c, "name a device; '-device help' lists them");
	if (cli_is_help(p.value) && (!*p.key || !strcmp(p.key, "driver")))
		return device_help();
	for (size_t i = 0; i < ARRAY_SIZE(device_options); i++)
		if (is_named(c, device_options[i].name, p.value)) {
			r = device_options[i].take(c, arg);
			c->place = VIRTIO_PLACE_ANY;
			return r;
		}
	if (cli_absent_device(p.value))
		return CLI_OK;
	return cli_error(c, "device '%s' is not built; '-device help' lists those that are", p.value);
}
