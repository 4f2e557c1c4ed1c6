// SPDX-License-Identifier: MIT
//
// The command line: QEMU's spelling, one table (options.c), everything checked before anything is created. A handler
// fills struct cli; what it cannot take it names in one line. Nothing is ignored that a guest or script could notice.
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "ctl/gdb.h"
#include "ctl/operator.h"
#include "ctl/stats.h"
#include "machine/machine.h"

enum cli_result { CLI_OK, CLI_DONE /* helped: exit with status 0 */, CLI_ERROR };

enum cli_accel { ACCEL_UNDECIDED, ACCEL_BT, ACCEL_REFUSED /* asked for, but none of those named is built */ };

enum { CHARDEVS_MAX = 40, CLI_FDSETS = 32 };
struct cli_chardev {
	char id[64];
	bool mux, used;
	struct stream_config stream;
};

struct cli_memdev { // -object memory-backend-ram
	char id[64];
	uint64_t size;
	bool used;
};

enum { OBJECTS_MAX = 32 };
enum cli_object_kind { OBJECT_RNG, OBJECT_THREAD };
struct cli_object { // -object: a name that devices may use
	char id[64];
	enum cli_object_kind kind;
	unsigned device; // of a use: whose it is
};

enum cli_interface { DRIVE_NONE, DRIVE_VIRTIO, DRIVE_IDE, DRIVE_SCSI, DRIVE_FLOPPY, DRIVE_FLASH };

struct cli_drive { // -drive, -hda, -blockdev: an image, until a device takes it
	char id[64];
	enum cli_interface interface;
	bool gone;          // deleted: its place is free
	bool attached, cdrom;
	bool behind;        // ... attached as other nodes' backing
	bool settled;       // it has found the nodes that it names
	bool wanted;        // ... attached to a virtio device that names it, and may go
	bool format_below;  // file.driver= is a format: format=raw is not another
	bool disc;          // ... attached as the disc of a CD-ROM drive, which may let it go
	int place;          // on the IDE controller, -1: any
	bool by_bus;        // ... from bus= and unit=
	bool protocol;      // a -blockdev that is a file, for another one to stand on
	char below[64];     // -blockdev: the node that it stands on
	char backing[64];   // ... and whose contents show where it has none of its own
	bool snapshot_said; // snapshot= was given
	struct block_config image;
	struct virtio_blk_config blk; // serial, write cache
};

enum { IDE_DEVICES = IDE_DRIVES + AHCI_CONTROLLERS * AHCI_PORTS };
struct cli_ide { // -device ide-hd, ide-cd
	char drive[64], serial[IDE_SERIAL + 1], id[64];
	bool cdrom;
	char bus[64];  // "ide": the board's; "": not said
	int nbus, unit; // -1: not said
};

enum { CLI_DRIVES = 2 * PCI_APP_MAX, CLI_QUEUES_MAX = 16 };

struct cli_scsi { // what a SCSI disk is called, and what it names
	char drive[64], bus[64], id[64];
};

struct cli {
	struct machine_config config;
	unsigned serials; // -serial given so far
	struct cli_drive drive[CLI_DRIVES];
	unsigned drives, last_drive; // last_drive: the one that has come last
	struct cli_ide ide[IDE_DEVICES];
	unsigned ides;
	char wants_drive[PCI_APP_MAX][64]; // a virtio device's drive=
	unsigned last_device, last_net, last_card; // the one that has come last
	struct cli_scsi scsi[SCSI_DISKS];
	bool snapshot;
	bool no_serial; // microvm's isa-serial=off
	const char *microvm_prop; // what was said that microvm alone has
	bool vga_asked;  // -vga std was said
	bool vga_device; // ... as a -device
	bool hpet_asked; // hpet=on was said, which microvm has not
	enum virtio_place place; // of the -device being handled
	char port_bus[CONSOLE_PORTS][64]; // bus= of virtserialport and virtconsole
	unsigned wanted_ports[PCI_APP_MAX];
	unsigned chardevs;
	struct cli_chardev chardev[CHARDEVS_MAX];
	unsigned operators;
	struct operator_config operator[OPERATORS_MAX];
	char name[256];
	bool stopped, daemonize;
	bool runs; // the machine: what comes now is an operator's
	unsigned objects, wants;
	struct cli_object object[OBJECTS_MAX], wanted[OBJECTS_MAX];
	char memory_backend[64]; // -machine memory-backend=
	unsigned memdevs;
	struct cli_memdev memdev[NODES_MAX];
	struct cli_node { // -numa node
		char memdev[64];
		uint64_t memory;
	} node[NODES_MAX];
	uint32_t placed; // processors that -numa has given a node: bits
	unsigned old_net, old_card; // -net: their index + 1
	bool nographic, nodefaults, display_named;
	enum cli_accel accel;
	bool enable_kvm;
	char refused[64]; // the accelerators that were asked for in vain
	enum stats_format stats;
	const char *stats_file; // NULL: stderr
	const char *pidfile;
	bool mem_lock; // -overcommit mem-lock=on
	int fdset[CLI_FDSETS]; // -add-fd: a descriptor + 1; 0: none
	uint16_t debugcon_base; // -global isa-debugcon.iobase=; 0: not given
	const char *gdb; // -gdb, -s; NULL: none
	bool memory_named; // --memory
	char flash[2][64]; // -machine pflash0=, pflash1=: nodes
	const char *option; // being handled, as it was written
	char err[600];
};

// Parse argv into c. On CLI_ERROR a whole line is in c->err.
enum cli_result cli_parse(struct cli *c, int argc, char **argv);

// For handlers: "-option: text" into c->err; returns CLI_ERROR.
enum cli_result cli_error(struct cli *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cli_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void cli_complain(const char *text);  // the line that ends ringer
void cli_stamp_messages(bool on);     // -msg timestamp=: both begin with the time

bool cli_is_help(const char *arg); // help or ?
bool cli_is_one_of(const char *arg, const char *const *words); // NULL-terminated
bool cli_parse_size(const char *text, uint64_t unit, uint64_t *bytes); // 1G, 512M, 0x100000; without suffix: units
bool cli_parse_number(const char *text, uint64_t *value);

// "key=value,key=value": the next pair of *text, cut out of a copy of the caller's (commas doubled stand for one).
// The first piece may be a value alone: then key is "" there. False at the end.
struct cli_prop {
	char key[64], value[512];
};
bool cli_next_prop(const char **text, struct cli_prop *p);

struct cli_text { // a property that is kept as it is
	const char *key;
	char *to;
	size_t size;
};
// CLI_DONE: p is none of these.
enum cli_result cli_take_text(struct cli *c, const struct cli_text *texts, size_t n, const struct cli_prop *p);

// json.c: an option written as a JSON object as KEY=VALUE,..., the first key of all first.
enum cli_result cli_from_json(struct cli *c, const char *arg, const char *first, char *to, size_t size);

// options.c: the option NAME as if it had been given with arg, for -readconfig.
enum cli_result cli_take_named(struct cli *c, const char *name, const char *arg);

// fw_cfg_opts.c
enum cli_result cli_fw_cfg(struct cli *c, const char *arg);

// absent.c: what guests can do without
bool cli_absent_device(const char *name); // and says so
const char *cli_absent_name(unsigned i);
enum cli_result cli_usb(struct cli *c, const char *arg); // -usb: NULL
enum cli_result cli_audio(struct cli *c, const char *arg);
enum cli_result cli_global(struct cli *c, const char *arg);

// process_opts.c
enum cli_result cli_msg(struct cli *c, const char *arg);
enum cli_result cli_overcommit(struct cli *c, const char *arg);
enum cli_result cli_add_fd(struct cli *c, const char *arg);
enum cli_result cli_settle_fdsets(struct cli *c); // file names /dev/fdset/N become the descriptors that were given
enum cli_result cli_sandbox(struct cli *c, const char *arg);
enum cli_result cli_readconfig(struct cli *c, const char *file);

// For operators: names, one by one (struct known_names).
const char *cli_device_name(unsigned i);
const char *cli_board_name(unsigned i, const char **alias);

// accel.c, chardev.c, device_opts.c, log.c, machine_opts.c
enum cli_result cli_accel(struct cli *c, const char *arg);
unsigned cli_default_cache(const struct cli *c);
enum cli_result cli_accel_chain(struct cli *c, const char *chain);
enum cli_result cli_chardev(struct cli *c, const char *arg);
enum cli_result cli_settle_chardevs(struct cli *c);
bool cli_uses_stdio(const struct cli *c); // once they are settled
enum cli_result cli_debugcon(struct cli *c, const char *arg);
enum cli_result cli_log(struct cli *c, const char *arg);
enum cli_result cli_stress(struct cli *c, const char *arg);
enum cli_result cli_machine(struct cli *c, const char *arg);
enum cli_result cli_memory(struct cli *c, const char *arg);
enum cli_result cli_rtc(struct cli *c, const char *arg);
enum cli_result cli_device(struct cli *c, const char *arg);
enum cli_result cli_settle_ids(struct cli *c); // of devices: no two are the same

// smp_opts.c
enum cli_result cli_smp(struct cli *c, const char *arg);
enum cli_result cli_numa(struct cli *c, const char *arg);
enum cli_result cli_memory_object(struct cli *c, const char *props);
enum cli_result cli_settle_nodes(struct cli *c);

// object_opts.c
enum cli_result cli_object(struct cli *c, const char *arg);
enum cli_result cli_use_object(struct cli *c, enum cli_object_kind kind, const char *id); // a device names it
enum cli_result cli_settle_objects(struct cli *c); // what was named is there
enum cli_result cli_drop_object(struct cli *c, const char *id);

// smbios_opts.c
enum cli_result cli_smbios(struct cli *c, const char *arg);
enum cli_result cli_uuid(struct cli *c, const char *arg);

// drive_opts.c
enum cli_result cli_drive(struct cli *c, const char *arg);
enum cli_result cli_blockdev(struct cli *c, const char *arg);
enum cli_result cli_disk(struct cli *c, const char *file); // -hda, or a file name alone
enum cli_result cli_cdrom(struct cli *c, const char *file);
enum cli_result cli_flash(struct cli *c, const char *file);
enum cli_result cli_settle_flash(struct cli *c); // firmware that comes as drives: before the rest is settled
enum cli_result cli_settle_drives(struct cli *c);
// werror=, rerror=. CLI_DONE: p is neither.
enum cli_result cli_error_policy(struct cli *c, const struct cli_prop *p, struct block_policies *to);
// The drive's image for a device of which that was said.
struct block_config cli_image_of(const struct cli_drive *d, const struct block_policies *said);
struct cli_drive *cli_find_drive(struct cli *c, const char *id);

enum cli_result cli_settle_node(struct cli *c, struct cli_drive *d); // one that stands on another finds it
enum cli_result cli_give_drive(struct cli *c, unsigned device);      // the drive that a virtio device wants

// plug.c: what operators add while the machine runs
void cli_let_plug(struct cli *c, struct machine *m);
// unplug.c: what they take away again. First: devices that the guest has let go leave their places.
void cli_forget_gone(struct cli *c, const struct machine *m);
bool cli_drive_in_use(struct cli *c, struct machine *m, const struct cli_drive *d);
void cli_forget_drive(struct cli *c, struct cli_drive *d); // and what it stood on is free
enum cli_result cli_drop(struct cli *c, struct machine *m, enum plug_kind what, const char *id);

// ide_opts.c
enum cli_result cli_ide_drive(struct cli *c, struct cli_drive *d); // a drive for this image
enum cli_result cli_floppy_drive(struct cli *c, struct cli_drive *d); // a floppy drive for this image
enum cli_result cli_ide_place(struct cli *c, struct cli_drive *d, const struct cli_prop *p);
enum cli_result cli_ide_hd(struct cli *c, const char *props);
enum cli_result cli_ide_cd(struct cli *c, const char *props);
enum cli_result cli_ahci(struct cli *c, const char *props);
enum cli_result cli_settle_ide(struct cli *c);

// root_port_opts.c
enum cli_result cli_root_port(struct cli *c, const char *props);
enum cli_result cli_settle_root_ports(struct cli *c);
unsigned cli_find_root_port(const struct cli *c, const char *id); // + 1; 0: there is none such
enum cli_result cli_settle_bus(struct cli *c, struct virtio_config *v); // what bus= says

// scsi_opts.c
enum cli_result cli_virtio_scsi(struct cli *c, const char *props);
enum cli_result cli_scsi_hd(struct cli *c, const char *props);
enum cli_result cli_scsi_cd(struct cli *c, const char *props);
enum cli_result cli_scsi_drive(struct cli *c, struct cli_drive *d); // a SCSI disk for this image
enum cli_result cli_settle_scsi(struct cli *c);

// virtio_opts.c: a new virtio device of the list, with what all of them have in common (NULL: said), and the properties
// that every PCI device has (CLI_DONE: p is none of these).
struct virtio_config *cli_virtio_add(struct cli *c, enum virtio_kind kind);
// The bus that bus=ID.0 names, or the first of its kind. NULL: none such.
struct virtio_config *cli_find_bus(struct cli *c, enum virtio_kind kind, const char *name);
enum cli_result cli_virtio_prop(struct cli *c, struct virtio_config *v, const struct cli_prop *p);
bool cli_parse_slot(const char *text, int *slot); // addr=
enum cli_result cli_settle_places(struct cli *c); // every device has its kind of bus
// What follows the name of a -device.
enum cli_result cli_virtio_balloon(struct cli *c, const char *props);
enum cli_result cli_virtio_blk(struct cli *c, const char *props);
enum cli_result cli_virtio_rng(struct cli *c, const char *props);

// console_opts.c
enum cli_result cli_virtio_serial(struct cli *c, const char *props);
enum cli_result cli_virtserialport(struct cli *c, const char *props);
enum cli_result cli_virtconsole(struct cli *c, const char *props);
enum cli_result cli_settle_ports(struct cli *c);

// operator_opts.c
enum cli_result cli_qmp(struct cli *c, const char *arg);
enum cli_result cli_monitor(struct cli *c, const char *arg);
enum cli_result cli_mon(struct cli *c, const char *arg);
enum cli_result cli_action(struct cli *c, const char *arg);
enum cli_result cli_name(struct cli *c, const char *arg);
enum cli_result cli_watchdog_action(struct cli *c, const char *arg);
enum cli_result cli_echr(struct cli *c, const char *arg);

// fs_opts.c
enum cli_result cli_fsdev(struct cli *c, const char *arg);
enum cli_result cli_virtfs(struct cli *c, const char *arg);
enum cli_result cli_virtio_9p(struct cli *c, const char *props);
enum cli_result cli_settle_folders(struct cli *c);

// net_opts.c
enum cli_result cli_netdev(struct cli *c, const char *arg);
enum cli_result cli_nic(struct cli *c, const char *arg);
enum cli_result cli_net(struct cli *c, const char *arg);
enum cli_result cli_virtio_net(struct cli *c, const char *props);
enum cli_result cli_e1000(struct cli *c, const char *props);
enum cli_result cli_settle_nets(struct cli *c);

#endif
