// SPDX-License-Identifier: MIT
//
// The option table. Each row is a name as QEMU spells it, what follows it, what -help says (NULL: taken, not shown) and
// its handler. Options of QEMU that ringer knows but has not built are in a list of their own, for a better message.
#include <string.h>

#include "cli/cli.h"

#define FIRMWARE_DEFAULT "bios-256k.bin" // SeaBIOS, for disks
#include "machine/cpu_model.h"

#define VERSION_LINE "QEMU emulator version 7.2.0 (ringer 0.1.0)"

enum arg_style { ARG_NONE, ARG_NEXT, ARG_EQUALS /* --name=value */, ARG_MAYBE_EQUALS };

struct option {
	const char *name;
	enum arg_style style;
	const char *arg, *help;
	enum cli_result (*take)(struct cli *c, const char *arg);
};

static enum cli_result take_help(struct cli *c, const char *arg);

static enum cli_result take_version(struct cli *c, const char *arg)
{
	printf("%s\n", VERSION_LINE);
	return CLI_DONE;
}

static enum cli_result ignore(struct cli *c, const char *arg)
{
	return CLI_OK;
}

static enum cli_result take_no_hpet(struct cli *c, const char *arg)
{
	c->config.no_hpet = true;
	return CLI_OK;
}

static enum cli_result take_without_effect(struct cli *c, const char *arg)
{
	cli_warn("%s %s has no effect: it is not built", c->option, arg);
	return CLI_OK;
}

#define TAKE_STRING(name, field) \
	static enum cli_result take_##name(struct cli *c, const char *arg) \
	{ \
		c->field = arg; \
		return CLI_OK; \
	}
TAKE_STRING(kernel, config.boot.kernel)
TAKE_STRING(bios, config.boot.bios)
TAKE_STRING(initrd, config.boot.initrd)
TAKE_STRING(append, config.boot.append)
TAKE_STRING(log_file, config.log_file)
TAKE_STRING(pidfile, pidfile)

#define TAKE_FLAG(name, field) \
	static enum cli_result take_##name(struct cli *c, const char *arg) \
	{ \
		c->field = true; \
		return CLI_OK; \
	}
TAKE_FLAG(no_reboot, config.no_reboot)
TAKE_FLAG(perfmap, config.perfmap)
TAKE_FLAG(no_shutdown, config.no_shutdown)
TAKE_FLAG(stopped, stopped)
TAKE_FLAG(daemonize, daemonize)
TAKE_FLAG(deterministic, config.deterministic)
TAKE_FLAG(nodefaults, nodefaults)
TAKE_FLAG(snapshot, snapshot)
TAKE_FLAG(enable_kvm, enable_kvm)
TAKE_FLAG(prealloc, config.prealloc)

static enum cli_result take_singlestep(struct cli *c, const char *arg)
{
	c->config.stress |= STRESS_ONE;
	return CLI_OK;
}

static enum cli_result take_nographic(struct cli *c, const char *arg)
{
	c->nographic = c->display_named = true;
	return CLI_OK;
}

static enum cli_result take_cpu(struct cli *c, const char *arg)
{
	if (cli_is_help(arg)) {
		cpu_model_help(stdout);
		return CLI_DONE;
	}
	c->config.cpu = arg;
	return CLI_OK;
}

static enum cli_result take_serial(struct cli *c, const char *arg)
{
	char why[300] = "";

	if (c->serials == SERIAL_PORTS)
		return cli_error(c, "a PC has %d serial ports at most", SERIAL_PORTS);
	if (stream_parse(arg, &c->config.serial[c->serials], why, sizeof(why)) < 0)
		return cli_error(c, "%s", why);
	for (unsigned i = 0; i < c->serials; i++)
		if (stream_uses_stdio(&c->config.serial[i]) && stream_uses_stdio(&c->config.serial[c->serials]))
			return cli_error(c, "standard input and output already belong to serial port %u", i);
	c->serials++;
	return CLI_OK;
}

// Options whose only built value means "no such thing".
static enum cli_result only_none(struct cli *c, const char *arg)
{
	static const char *const none[] = { "none", "null", NULL };

	if (!cli_is_one_of(arg, none))
		return cli_error(c, "'%s' is not built yet; use none", arg);
	return CLI_OK;
}

// -hda to -hdd: the last letter says which place on the controller.
static enum cli_result take_disk(struct cli *c, const char *file)
{
	enum cli_result r = cli_disk(c, file);

	if (r == CLI_OK)
		c->drive[c->last_drive].place = c->option[strlen(c->option) - 1] - 'a';
	return r;
}

// -fda, -fdb.
static enum cli_result take_floppy(struct cli *c, const char *file)
{
	enum cli_result r = take_disk(c, file);

	if (r == CLI_OK)
		c->drive[c->last_drive].interface = DRIVE_FLOPPY;
	return r;
}

// order= is what CMOS tells a BIOS, a half byte each: letters of QEMU's for the first three places. once= is the order
// until the first reset.
static enum cli_result take_boot(struct cli *c, const char *arg)
{
	static const char letters[] = "acdn", *const passed[] = { "menu", "strict", "reboot-timeout", "splash",
		"splash-time", NULL };
	struct cli_prop p;

	for (bool first = true; cli_next_prop(&arg, &p); first = false) {
		bool bare = first && !*p.key, once = !strcmp(p.key, "once");
		uint16_t order = 0;

		if (cli_is_one_of(p.key, passed))
			continue;
		if (!bare && !once && strcmp(p.key, "order"))
			return cli_error(c, "property '%s' is unknown or not built", *p.key ? p.key : p.value);
		for (unsigned i = 0; p.value[i]; i++) {
			const char *letter = strchr(letters, p.value[i]);

			if (!letter)
				return cli_error(c, "'%c' is no boot device; give a (floppy), c (disk), d (CD-ROM), n (network)",
						 p.value[i]);
			order |= i < 3 ? (uint16_t)((letter - letters + 1) << 4 * i) : 0;
		}
		if (once)
			c->config.pc.boot_once = order;
		else
			c->config.pc.boot_order = order;
	}
	return CLI_OK;
}

static enum cli_result take_vga(struct cli *c, const char *arg)
{
	static const char *const others[] = {"cirrus", "qxl", "virtio", "vmware", "tcx", "cg3", "xenfb", NULL};

	if (cli_is_help(arg)) {
		printf("none\nstd\n");
		return CLI_DONE;
	}
	if (cli_is_one_of(arg, others))
		return cli_error(c, "%s is not built; use std, which every system has a driver for, or none", arg);
	if (strcmp(arg, "std") && strcmp(arg, "none"))
		return cli_error(c, "'%s' is no display; give std or none", arg);
	c->vga_asked = !strcmp(arg, "std");
	c->config.no_vga = !c->vga_asked;
	return CLI_OK;
}

// Programs give one to a machine that nobody looks at, too.
static enum cli_result take_vnc(struct cli *c, const char *arg)
{
	if (strcmp(arg, "none"))
		cli_warn("%s %s: VNC is not built: nobody can connect there; screendump of a monitor takes pictures",
			 c->option, arg);
	return CLI_OK;
}

static enum cli_result take_display(struct cli *c, const char *arg)
{
	c->display_named = true;
	if (!strncmp(arg, "vnc", 3) && (!arg[3] || arg[3] == '='))
		return take_vnc(c, arg);
	if (cli_is_help(arg)) {
		printf("Available display backend types:\nnone\n");
		return CLI_DONE;
	}
	return only_none(c, arg);
}

static enum cli_result take_stats(struct cli *c, const char *arg)
{
	const char *file = arg ? strchr(arg, ':') : NULL;
	size_t n = file ? (size_t)(file - arg) : arg ? strlen(arg) : 0;

	if (!n || (n == 4 && !strncmp(arg, "text", n)))
		c->stats = STATS_TEXT;
	else if (n == 4 && !strncmp(arg, "json", n))
		c->stats = STATS_JSON;
	else
		return cli_error(c, "'%s' is not a format; use text or json, and :FILE to write to a file", arg);
	c->stats_file = file ? file + 1 : NULL;
	return CLI_OK;
}

static enum cli_result take_memory(struct cli *c, const char *arg)
{
	static const char *const forms[] = {
		[MEMORY_CHECKED] = "checked", [MEMORY_MAPPED] = "mapped", [MEMORY_AUTO] = "auto", [MEMORY_DIRECT] = "direct",
		[MEMORY_DISPLACED] = "displaced",
	};

	for (uint32_t i = 0; i < ARRAY_SIZE(forms); i++)
		if (!strcmp(arg, forms[i])) {
			c->config.memory = i;
			c->memory_named = true;
			return CLI_OK;
		}
	return cli_error(c, "'%s' is not a form of memory access; give checked, mapped, direct, displaced or auto", arg);
}

static enum cli_result take_selfcheck(struct cli *c, const char *arg)
{
	uint64_t n;

	if (!cli_parse_number(arg, &n) || n > UINT32_MAX)
		return cli_error(c, "'%s' is not a number; --selfcheck=1 checks every unit", arg);
	c->config.selfcheck = (uint32_t)n;
	return CLI_OK;
}

static enum cli_result take_gdb(struct cli *c, const char *arg)
{
	c->gdb = arg ? arg : "tcp::1234";
	return CLI_OK;
}

static const struct option options[] = {
	{ "m", ARG_NEXT, "[size=]SIZE", "memory of the guest: 512M, 2G (default 128M)", cli_memory },
	{ "smp", ARG_NEXT, "N[,sockets=,cores=,threads=]", "processors (default 1)", cli_smp },
	{ "numa", ARG_NEXT, "node[,cpus=A-B,memdev=ID]", "a node of memory; also cpu, dist", cli_numa },
	{ "object", ARG_NEXT, "KIND,id=ID[,...]", "memory-backend-ram for a node, rng-random, iothread", cli_object },
	{ "cpu", ARG_NEXT, "MODEL[,+X,-Y]", "processor model: host, max, ...; help lists them", take_cpu },
	{ "machine", ARG_NEXT, "pc[,accel=A:B]", "board; help lists them", cli_machine },
	{ "M", ARG_NEXT, NULL, NULL, cli_machine },
	{ "accel", ARG_NEXT, "NAME[,...]", "engine: bt (binary translation, also called tcg)", cli_accel },
	{ "enable-kvm", ARG_NONE, NULL, NULL, take_enable_kvm },
	{ "pflash", ARG_NEXT, "FILE", "firmware, and the second time its variables, in flash memory", cli_flash },
	{ "bios", ARG_NEXT, "FILE", "firmware to start with instead, such as bios-256k.bin", take_bios },
	{ "kernel", ARG_NEXT, "FILE", "kernel to boot: bzImage or PVH ELF", take_kernel },
	{ "initrd", ARG_NEXT, "FILE", "its initial RAM disk", take_initrd },
	{ "append", ARG_NEXT, "TEXT", "its command line", take_append },
	{ "nographic", ARG_NONE, NULL, "serial port on standard input and output, no display", take_nographic },
	{ "serial", ARG_NEXT, "TO", "next serial port: stdio, mon:stdio, file:F, chardev:ID, null, none", take_serial },
	{ "chardev", ARG_NEXT, "BACKEND,id=ID", "name a host end: stdio, file, null", cli_chardev },
	{ "debugcon", ARG_NEXT, "TO", "a debug console at port 0xe9, to the same places as -serial", cli_debugcon },
	{ "device", ARG_NEXT, "NAME[,...]", "add a device; help lists them", cli_device },
	{ "drive", ARG_NEXT, "file=F[,if=virtio,...]", "add a disk image: format=, id=, cache=, snapshot=", cli_drive },
	{ "blockdev", ARG_NEXT, "driver=,node-name=,...", "the same, for a -device to take", cli_blockdev },
	{ "hda", ARG_NEXT, "FILE", "a disk image on the IDE controller; also -hdb, -hdc, -hdd", take_disk },
	{ "hdb", ARG_NEXT, NULL, NULL, take_disk },
	{ "hdc", ARG_NEXT, NULL, NULL, take_disk },
	{ "hdd", ARG_NEXT, NULL, NULL, take_disk },
	{ "fda", ARG_NEXT, "FILE", "a floppy disk; also -fdb", take_floppy },
	{ "fdb", ARG_NEXT, NULL, NULL, take_floppy },
	{ "cdrom", ARG_NEXT, "FILE", "a CD-ROM's image (ISO) on the IDE controller", cli_cdrom },
	{ "snapshot", ARG_NONE, NULL, "write to temporary files, not to disk images", take_snapshot },
	{ "display", ARG_NEXT, "none", "no display is built", take_display },
	{ "vga", ARG_NEXT, "std|none", "the display, of which a monitor's screendump takes pictures", take_vga },
	{ "vnc", ARG_NEXT, NULL, NULL, take_vnc },
	{ "monitor", ARG_NEXT, "TO", "a human monitor, to the same places as -serial", cli_monitor },
	{ "qmp", ARG_NEXT, "TO", "a monitor for programs (QMP); also -qmp-pretty", cli_qmp },
	{ "qmp-pretty", ARG_NEXT, NULL, NULL, cli_qmp },
	{ "mon", ARG_NEXT, "chardev=ID[,mode=]", "either, on a -chardev: mode=readline, control", cli_mon },
	{ "parallel", ARG_NEXT, "none", "no parallel port is built", only_none },
	{ "nic", ARG_NEXT, "TYPE[,...]|none", "a network and a card on it: user, tap, stream, socket", cli_nic },
	{ "netdev", ARG_NEXT, "TYPE,id=N[,...]", "a network for -device virtio-net-pci,netdev=N", cli_netdev },
	{ "net", ARG_NEXT, "nic|TYPE|none", "the old way to say -nic", cli_net },
	{ "virtfs", ARG_NEXT, "local,path=D[,...]", "share a directory: mount_tag=T,security_model=M", cli_virtfs },
	{ "fsdev", ARG_NEXT, "local,id=N[,...]", "the same for -device virtio-9p-pci,fsdev=N", cli_fsdev },
	{ "nodefaults", ARG_NONE, NULL, "no devices that were not asked for", take_nodefaults },
	{ "no-user-config", ARG_NONE, NULL, NULL, ignore },
	{ "no-fd-bootchk", ARG_NONE, NULL, NULL, ignore },
	{ "no-hpet", ARG_NONE, NULL, NULL, take_no_hpet },
	{ "name", ARG_NEXT, "TEXT", "a name for the machine", cli_name },
	{ "boot", ARG_NEXT, "[order=]LETTERS[,once=]", "what a BIOS tries: a floppy, c disk, d CD-ROM, n network",
		take_boot },
	{ "k", ARG_NEXT, NULL, NULL, ignore }, // there is no keyboard to lay out
	{ "L", ARG_NEXT, NULL, NULL, take_without_effect },
	{ "mem-path", ARG_NEXT, NULL, NULL, take_without_effect },
	{ "global", ARG_NEXT, "DRIVER.PROPERTY=VALUE", "a device's default; few are built", cli_global },
	{ "readconfig", ARG_NEXT, "FILE", "options from a file of sections, as QEMU's", cli_readconfig },
	{ "add-fd", ARG_NEXT, "fd=N,set=M", "an open file, to be named /dev/fdset/M", cli_add_fd },
	{ "sandbox", ARG_NEXT, "on[,spawn=deny,...]", "a jail for ringer itself (docs/SAFETY.md)", cli_sandbox },
	{ "msg", ARG_NEXT, "timestamp=on", "the time before each message", cli_msg },
	{ "overcommit", ARG_NEXT, "mem-lock=on", "lock memory in the host's", cli_overcommit },
	{ "realtime", ARG_NEXT, NULL, NULL, cli_overcommit },
	{ "mem-prealloc", ARG_NONE, NULL, "take all of the guest's memory from the host now", take_prealloc },
	{ "usb", ARG_NONE, NULL, NULL, cli_usb },
	{ "usbdevice", ARG_NEXT, NULL, NULL, cli_usb },
	{ "audiodev", ARG_NEXT, NULL, NULL, cli_audio },
	{ "audio", ARG_NEXT, NULL, NULL, cli_audio },
	{ "soundhw", ARG_NEXT, NULL, NULL, cli_audio },
	{ "watchdog", ARG_NEXT, NULL, NULL, cli_device },
	{ "singlestep", ARG_NONE, NULL, NULL, take_singlestep },
	{ "rtc", ARG_NEXT, "base=utc|localtime|DATE", "the clock's time", cli_rtc },
	{ "no-reboot", ARG_NONE, NULL, "end when the guest resets", take_no_reboot },
	{ "no-shutdown", ARG_NONE, NULL, "stay when the guest powers off", take_no_shutdown },
	{ "fw_cfg", ARG_NEXT, "name=opt/NAME,string=S|file=F", "a file that the guest finds in fw_cfg", cli_fw_cfg },
	{ "smbios", ARG_NEXT, "type=N,KEY=VALUE,...", "what the machine says it is: types 0 to 3, 11", cli_smbios },
	{ "uuid", ARG_NEXT, "UUID", "the same as -smbios type=1,uuid=", cli_uuid },
	{ "action", ARG_NEXT, "EVENT=WHAT[,...]", "reboot=shutdown, shutdown=pause: as the two above", cli_action },
	{ "watchdog-action", ARG_NEXT, "reset|none", "what the i6300esb does in the end", cli_watchdog_action },
	{ "echr", ARG_NEXT, "N", "another control character than Ctrl-a (1)", cli_echr },
	{ "S", ARG_NONE, NULL, "do not start the processor: wait for the debugger, or 'cont'", take_stopped },
	{ "s", ARG_NONE, NULL, "the same as -gdb tcp::1234", take_gdb },
	{ "gdb", ARG_NEXT, "tcp::PORT", "serve a debugger", take_gdb },
	{ "d", ARG_NEXT, "ITEMS", "log these things; help lists them", cli_log },
	{ "D", ARG_NEXT, "FILE", "log to FILE instead of standard error", take_log_file },
	{ "perfmap", ARG_NONE, NULL, "name translated code for perf in /tmp/perf-PID.map", take_perfmap },
	{ "pidfile", ARG_NEXT, "FILE", "write the process id to FILE", take_pidfile },
	{ "daemonize", ARG_NONE, NULL, "go into the background once the machine runs", take_daemonize },
	{ "stats", ARG_MAYBE_EQUALS, "text|json[:FILE]", "print statistics at the end", take_stats },
	{ "memory", ARG_EQUALS, "checked|mapped|direct|auto", "how guest user code is run (docs/MEMORY.md)", take_memory },
	{ "selfcheck", ARG_EQUALS, "N", "check every Nth unit against single instructions", take_selfcheck },
	{ "stress", ARG_EQUALS, "ITEMS", "make rare paths frequent; help lists them", cli_stress },
	{ "deterministic", ARG_NONE, NULL, "virtual time counts guest instructions", take_deterministic },
	{ "version", ARG_NONE, NULL, "print the version", take_version },
	{ "help", ARG_NONE, NULL, "print this help", take_help },
	{ "h", ARG_NONE, NULL, NULL, take_help },
};

static const char *const not_built[] = {
	"sd",
	"acpitable", "no-acpi", "incoming", "tpmdev",
	"chroot", "runas", "icount",
	"full-screen", "spice", "curses", "loadvm",
	"trace", "set", "semihosting", "plugin", "dtb", "option-rom", "only-migratable", "nouserconfig",
	"cpu-pm", "dfilter", "seed", "enable-fips", "no-quit", "alt-grab", "ctrl-grab", "g", "sdl",
	"gtk", "rotate", "portrait", "preconfig", "win2k-hack", "enable-sync-profile", "dump-vmstate", "jitdump",
	NULL,
};

static const char *option_name(unsigned i)
{
	return i < ARRAY_SIZE(options) ? options[i].name : NULL;
}

static const struct known_names known = { cli_device_name, cli_absent_name, option_name, cli_board_name };

static enum cli_result take_help(struct cli *c, const char *arg)
{
	printf("%s\nusage: ringer [options]\n\n", VERSION_LINE);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option *o = &options[i];
		char left[64];

		if (!o->help)
			continue;
		snprintf(left, sizeof(left), "%s%s%s%s%s", o->style >= ARG_EQUALS ? "--" : "-", o->name,
			 o->style == ARG_NEXT           ? " "
			 : o->style == ARG_EQUALS       ? "="
			 : o->style == ARG_MAYBE_EQUALS ? "[="
							: "",
			 o->arg ? o->arg : "", o->style == ARG_MAYBE_EQUALS ? "]" : "");
		printf("  %-26s %s\n", left, o->help);
	}
	printf("\nOptions are spelled as QEMU spells them, with one dash or two.\n"
	       "While the guest runs with -nographic: Ctrl-a x exits, Ctrl-a h helps.\n");
	return CLI_DONE;
}

static const struct option *find(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		if (strlen(options[i].name) == len && !strncmp(options[i].name, name, len))
			return &options[i];
	return NULL;
}

enum cli_result cli_take_named(struct cli *c, const char *name, const char *arg)
{
	const struct option *o = find(name, strlen(name));
	const char *whole = c->option;
	char option[80];
	enum cli_result r;

	if (!o || o->style != ARG_NEXT || o->take == cli_readconfig)
		return cli_error(c, "a section [%s] is unknown or not built", name);
	snprintf(option, sizeof(option), "%s: [%s]", whole, name);
	c->option = option;
	r = o->take(c, arg);
	c->option = whole;
	return r;
}

static enum cli_result refuse(struct cli *c, const char *name)
{
	if (cli_is_one_of(name, not_built))
		return cli_error(c, "this option is not built yet; '-help' lists those that are");
	return cli_error(c, "unknown option; '-help' lists them all");
}

// Handle argv[*i]; moves *i over an argument that stands apart.
static enum cli_result take_option(struct cli *c, int argc, char **argv, int *i)
{
	const char *text = argv[*i], *name = text + (text[0] == '-') + (text[0] == '-' && text[1] == '-');
	const char *equals = strchr(name, '=');
	const struct option *o = find(name, equals ? (size_t)(equals - name) : strlen(name));

	c->option = text;
	if (text[0] != '-')
		return cli_disk(c, text);
	if (!o || (equals && o->style < ARG_EQUALS))
		return refuse(c, name);
	if (o->style == ARG_MAYBE_EQUALS || o->style == ARG_NONE || equals)
		return o->take(c, equals ? equals + 1 : NULL);
	if (++*i >= argc)
		return cli_error(c, "an argument must follow: %s", o->arg ? o->arg : "a value");
	return o->take(c, argv[*i]);
}

// Not named, the mapped form leaves alone what is looked at closely.
static void settle_memory(struct cli *c)
{
	c->config.start_stopped = c->stopped && c->gdb;
	c->config.start_paused = c->stopped && !c->gdb;
	if (!c->memory_named && (c->gdb || c->config.start_stopped || c->config.deterministic || c->config.selfcheck))
		c->config.memory = MEMORY_CHECKED;
}

// What is not built for several processors.
static enum cli_result settle_smp(struct cli *c)
{
	const char *what = c->gdb || c->config.start_stopped ? "the debugger" : c->config.deterministic ? "-deterministic" :
		c->config.selfcheck ? "--selfcheck" : NULL;

	if (c->config.vcpus == 1)
		return CLI_OK;
	if (what)
		return cli_error(c, "%s works with one processor only so far; use -smp 1", what);
	return CLI_OK;
}

// What is known only when all options have been seen.
static enum cli_result settle(struct cli *c)
{
	if (c->enable_kvm && c->accel != ACCEL_BT) {
		cli_warn("-enable-kvm: KVM is not built; using binary translation (-accel bt)");
		c->accel = ACCEL_BT;
	}
	if (!c->config.tc_size)
		c->config.tc_size = (uint64_t)cli_default_cache(c) << 20;
	c->option = "-accel";
	if (c->accel == ACCEL_REFUSED)
		return cli_error(c, "%s is not built yet; use -accel bt, or a chain such as %s:tcg", c->refused,
				 c->refused);
	c->config.boot.smbios = &c->config.smbios;
	if (cli_settle_flash(c) != CLI_OK)
		return CLI_ERROR;
	c->option = "-kernel";
	if (!c->config.boot.kernel && !c->config.boot.bios && c->drives)
		c->config.boot.bios = FIRMWARE_DEFAULT;
	if (!c->config.boot.kernel && !c->config.boot.bios && !c->config.empty)
		return cli_error(c, "nothing to boot; name a kernel, a disk (-hda, -cdrom, -drive), or firmware with -bios");
	if (c->config.boot.kernel && c->config.boot.bios) {
		cli_warn("firmware %s: the kernel is started directly, without it", c->config.boot.bios);
		c->config.boot.bios = NULL;
	}
	if (cli_settle_fdsets(c) != CLI_OK || cli_settle_objects(c) != CLI_OK || cli_settle_ids(c) != CLI_OK ||
	    cli_settle_ports(c) != CLI_OK || cli_settle_chardevs(c) != CLI_OK || cli_settle_drives(c) != CLI_OK)
		return CLI_ERROR;
	c->config.no_vga |= c->nodefaults && !c->vga_asked;
	if (cli_settle_places(c) != CLI_OK)
		return CLI_ERROR;
	c->option = "-machine";
	if (c->microvm_prop && c->config.board != BOARD_MICROVM)
		return cli_error(c, "%s= is a property of microvm", c->microvm_prop);
	if (c->hpet_asked && c->config.board == BOARD_MICROVM)
		return cli_error(c, "hpet=on: microvm has none");
	if (c->config.board == BOARD_MICROVM && c->config.boot.bios)
		return cli_error(c, "firmware is built for pc and q35 only; give -kernel, or -machine pc");
	c->option = "-deterministic";
	if (c->config.deterministic && c->config.nvirtio)
		return cli_error(c, "virtio devices answer in the host's own time; leave one of the two away");
	if (c->debugcon_base && c->config.pc.debugcon_base == DEBUGCON_IOBASE)
		c->config.pc.debugcon_base = c->debugcon_base;
	c->option = "-rtc";
	if (c->config.deterministic && c->config.rtc_offset)
		return cli_error(c, "base= and -deterministic both say what time it is; leave one of the two away");
	settle_memory(c);
	c->option = "-vga";
	if (c->vga_asked && c->config.board == BOARD_MICROVM)
		return cli_error(c, "microvm has no PCI, where a display would be");
	if (c->vga_device && c->config.vga_slot != SLOT_ANY && c->config.vga_slot != machine_vga_slot(&c->config))
		return cli_error(c, "VGA is built at addr=%d only on this machine", machine_vga_slot(&c->config));
	c->option = "-smp";
	if (settle_smp(c) != CLI_OK || cli_settle_nodes(c) != CLI_OK)
		return CLI_ERROR;
	c->option = "-serial";
	if (c->no_serial && c->serials && c->config.serial[0].kind != STREAM_NONE)
		return cli_error(c, "isa-serial=off leaves no serial port");
	if (!c->no_serial && !c->serials && c->nographic && !c->config.empty)
		c->config.serial[0].kind = STREAM_MON_STDIO;
	else if (!c->no_serial && !c->serials && !c->nodefaults)
		c->config.serial[0].kind = STREAM_NULL;
	c->option = "-daemonize";
	if (c->daemonize && cli_uses_stdio(c))
		return cli_error(c, "standard input and output are left behind; give -display none, and files or sockets");
	if (!c->serials && !c->display_named && !c->nodefaults)
		cli_warn("no display is built; -nographic shows the guest's serial console");
	return cli_settle_nets(c) == CLI_OK ? cli_settle_folders(c) : CLI_ERROR;
}

enum cli_result cli_parse(struct cli *c, int argc, char **argv)
{
	enum cli_result r = CLI_OK;

	memset(c, 0, sizeof(*c));
	c->config.ram_size = UINT64_C(128) << 20;
	c->config.vcpus = 1;
	c->config.known = &known;
	c->config.memory = MEMORY_AUTO;
	c->config.topology = (struct topology){1, 1, 1, 1, 1};
	for (int i = 1; i < argc && r == CLI_OK; i++)
		r = take_option(c, argc, argv, &i);
	return r == CLI_OK ? settle(c) : r;
}
