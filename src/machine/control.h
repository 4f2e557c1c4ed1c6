// SPDX-License-Identifier: MIT
//
// What an operator may do with a machine that runs (ctl/operator.h): pause it and let it go on, press its buttons, end
// it; and what it hears of the machine's life. All of it from the event loop.
#ifndef MACHINE_CONTROL_H
#define MACHINE_CONTROL_H

#include "base/types.h"

struct machine;

// In which state the machine is, as QEMU calls them.
const char *machine_run_state(const struct machine *m);
bool machine_is_running(const struct machine *m);

// 0, or -EBUSY: a debugger has stopped the machine, or it has powered off.
int machine_pause(struct machine *m);
int machine_unpause(struct machine *m);
int machine_reset(struct machine *m);
void machine_press_power(struct machine *m); // the guest decides what comes of it
void machine_quit(struct machine *m);

// A key of the keyboard by its name (dev/keys.h), or its code of set 1 as "0x1c". False: there is no such key.
bool machine_press_key(struct machine *m, const char *name, bool down);
void machine_send_nmi(struct machine *m); // to each processor
bool machine_set_link(struct machine *m, const char *name, bool up); // of a network or card. False: there is none such

// Stop the one processor where its registers are all in struct vcpu, and let it go on. False: why says why not.
bool machine_freeze(struct machine *m, char *why, size_t n);
void machine_thaw(struct machine *m);

// What ringer has, by name; NULL: no more. alias: its other name, or NULL.
struct known_names {
	const char *(*device)(unsigned i);
	const char *(*absent)(unsigned i); // accepted, but the guest goes without it
	const char *(*option)(unsigned i);
	const char *(*board)(unsigned i, const char **alias);
};

enum plug_kind { PLUG_DEVICE, PLUG_DRIVE, PLUG_NODE, PLUG_NETWORK, PLUG_OBJECT,
	PLUG_INSERT, // DRIVE,node-name=NODE: a disc
	PLUG_DROP_DRIVE, PLUG_DROP_NODE, PLUG_DROP_NETWORK, PLUG_DROP_OBJECT }; // by id: what nobody uses goes

enum machine_note { NOTE_STOP, NOTE_RESUME, NOTE_RESET, NOTE_SHUTDOWN, NOTE_POWERDOWN, NOTE_DELETED,
	NOTE_TRAY_OPENED, NOTE_TRAY_CLOSED, NOTE_PORT_OPENED, NOTE_PORT_CLOSED, NOTE_BALLOON,
	NOTE_DUMPED };

struct block_failure;


// Who hears what has happened. guest: it was the guest's doing; why: as QEMU calls it, or the device that it is about.
struct machine_listener {
	void (*heard)(void *opaque, enum machine_note note, bool guest, const char *why);
	void (*heard_failure)(void *opaque, const struct block_failure *f);
	void *opaque;
};
void machine_tell(struct machine *m, enum machine_note note, bool guest, const char *why);

#endif
