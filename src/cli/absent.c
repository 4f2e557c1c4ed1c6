// SPDX-License-Identifier: MIT
//
// What programs that drive QEMU ask for by habit and a guest can do without: devices for people (USB tablets, sound)
// and defaults of devices that ringer has not. The guest goes without them, which is said; what somebody could depend
// on is refused instead.
#include <string.h>

#include "cli/cli.h"

static const char *const absent_devices[] = {
	"usb-tablet", "usb-mouse", "usb-kbd", "usb-hub", "qemu-xhci", "nec-usb-xhci", "piix3-usb-uhci", "piix4-usb-uhci",
	"usb-ehci", "ich9-usb-ehci1", "ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3", "pci-ohci", "intel-hda",
	"ich9-intel-hda", "hda-duplex", "hda-micro", "hda-output", "AC97", "ES1370", "sb16", "virtio-sound-pci",
	"virtio-keyboard-pci", "virtio-mouse-pci", "virtio-tablet-pci", "vmcoreinfo", "pvpanic", "pvpanic-pci", NULL,
};

const char *cli_absent_name(unsigned i)
{
	return i < ARRAY_SIZE(absent_devices) ? absent_devices[i] : NULL;
}

bool cli_absent_device(const char *name)
{
	if (!cli_is_one_of(name, absent_devices))
		return false;
	cli_warn("-device %s is not built: the guest goes without it", name);
	return true;
}

enum cli_result cli_usb(struct cli *c, const char *arg)
{
	static const char *const harmless[] = { "tablet", "mouse", "keyboard", NULL };

	if (arg && !cli_is_one_of(arg, harmless))
		return cli_error(c, "USB is not built; use virtio (-drive if=virtio, -nic) instead of '%s'", arg);
	cli_warn("%s%s%s: USB is not built: the guest goes without it", c->option, arg ? " " : "", arg ? arg : "");
	return CLI_OK;
}

enum cli_result cli_audio(struct cli *c, const char *arg)
{
	char text[512] = "";

	if (*arg == '{' && cli_from_json(c, arg, "driver", text, sizeof(text)) != CLI_OK)
		return CLI_ERROR;
	if (*text)
		arg = text;
	if (strncmp(arg, "none", 4) && !strstr(arg, "driver=none"))
		cli_warn("%s %s: sound is not built: the guest goes without it", c->option, arg);
	return CLI_OK;
}

// -global DRIVER.PROPERTY=VALUE, or as three properties. Some say what is so anyway.
static const struct truth {
	const char *driver, *property;
	const char *values[3]; // none: any
} truths[] = {
	{ "virtio-blk-pci", "scsi", { "off", "false" } }, { "kvm-pit", "lost_tick_policy", { NULL } },
	{ "mc146818rtc", "lost_tick_policy", { NULL } }, { "PIIX4_PM", "disable_s3", { "1", "on" } },
	{ "PIIX4_PM", "disable_s4", { "1", "on" } }, { "ICH9-LPC", "disable_s3", { "1", "on" } },
	{ "ICH9-LPC", "disable_s4", { "1", "on" } }, { "ICH9-LPC", "noreboot", { NULL } },
	{ "i440FX-pcihost", "pci-hole64-size", { NULL } }, { "q35-pcihost", "pci-hole64-size", { NULL } },
	{ "isa-fdc", "fdtypeA", { NULL } }, { "isa-fdc", "fdtypeB", { NULL } },
};

static bool is_truth(const char *driver, const char *property, const char *value)
{
	for (size_t i = 0; i < ARRAY_SIZE(truths); i++)
		if (!strcmp(truths[i].driver, driver) && !strcmp(truths[i].property, property))
			return !truths[i].values[0] || cli_is_one_of(value, truths[i].values);
	return (!strncmp(driver, "virtio-", 7) && !strcmp(property, "disable-legacy")) ||
	       (!strncmp(driver, "virtio-", 7) && !strcmp(property, "disable-modern") && !strcmp(value, "off"));
}

enum cli_result cli_global(struct cli *c, const char *arg)
{
	char driver[64] = "", property[64] = "", value[512] = "";
	const struct cli_text texts[] = {
		{ "driver", driver, sizeof(driver) }, { "property", property, sizeof(property) },
		{ "value", value, sizeof(value) },
	};
	const char *whole = arg;
	struct cli_prop p;
	uint64_t base;
	enum cli_result r = CLI_OK;

	if (sscanf(arg, "%63[^.,=].%63[^=]=%511[^\n]", driver, property, value) < 3)
		for (*driver = *property = 0; r == CLI_OK && cli_next_prop(&arg, &p);)
			r = cli_take_text(c, texts, ARRAY_SIZE(texts), &p);
	if (r == CLI_ERROR)
		return r;
	if (!*driver || !*property || r == CLI_DONE)
		return cli_error(c, "'%s': write it as DRIVER.PROPERTY=VALUE", whole);
	if (!strcmp(driver, "isa-debugcon") && !strcmp(property, "iobase")) {
		if (!cli_parse_number(value, &base) || !base || base > 0xffff)
			return cli_error(c, "isa-debugcon.iobase=%s is no port", value);
		c->debugcon_base = (uint16_t)base;
	} else if (!is_truth(driver, property, value)) {
		cli_warn("%s %s has no effect: it is not built", c->option, whole);
	}
	return CLI_OK;
}
