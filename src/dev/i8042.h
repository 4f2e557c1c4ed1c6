// SPDX-License-Identifier: MIT
//
// The keyboard controller at ports 0x60 and 0x64, with a keyboard on which operators type (dev/keys.h), and
// port 0x92. See dev/i8042.c.
#ifndef DEV_I8042_H
#define DEV_I8042_H

#include "bus/bus.h"

enum { I8042_RANGE_DATA, I8042_RANGE_COMMAND, I8042_RANGE_PORT92 };
enum { I8042_DATA = 0x60, I8042_COMMAND = 0x64, I8042_PORT92 = 0x92, I8042_IRQ = 1, I8042_RAM = 32, I8042_QUEUE = 64 };

struct i8042 {
	struct dev dev;
	uint8_t ram[I8042_RAM]; // ram[0] is the command byte
	uint8_t status;         // without the bits that are computed
	uint8_t out, out_port;
	uint8_t awaits;         // the command whose parameter comes next at port 0x60; 0: none
	uint8_t queue[I8042_QUEUE], queued; // what the keyboard says next
	uint8_t kbd_awaits;     // its command whose parameter comes next; 0: none
	uint8_t kbd_set, kbd_last; // scan code set; the byte that it would send again
	bool kbd_mute;          // it was told not to scan its keys
	bool from_command;      // the last write was to port 0x64
	struct irq_line irq;
	void (*reset)(void *opaque);          // the guest pulls the reset line
	void (*a20)(void *opaque, bool open); // may be NULL
	void *opaque;
};

extern const struct dev_class i8042_class;

bool i8042_translates(const struct i8042 *c); // what the keyboard says, from set 2 to set 1
bool i8042_type(struct i8042 *c, const uint8_t *bytes, unsigned n); // all or nothing

#endif
