// SPDX-License-Identifier: MIT
//
// What the monitor may do for the guest of an IDE channel without asking the app (dev/ide.c): move the data of the
// present block, but for its last access, which ends the block; read registers, where that has no effect; take
// writes that have no effect of their own (`post`), for the app to find. One for each channel, in struct shared. The
// app says what may be done whenever it has answered an access, and when a transfer has ended; the monitor does it
// with the board locked, as all accesses are made, so that never both move data. The app trusts none of this.
#ifndef BUS_IDE_WINDOW_H
#define BUS_IDE_WINDOW_H

#include "base/types.h"

enum { IDE_WINDOW = 8192, IDE_POSTS = 32 };
enum { IDE_STATUS_ASK = BIT(8) }; // beside the status: reading the register takes the interrupt back
// Registers, bits in them.
enum { IDE_DATA, IDE_FEATURE, IDE_DEVICE = 6, IDE_STATUS, IDE_SECOND = BIT(4), IDE_BUSY = BIT(7) };

struct ide_post { // a write of a register
	uint8_t reg, value;
};

struct ide_window {
	_Atomic uint32_t end; // data[] as far as it is known. The access that comes to its end, or beyond, is the app's
	uint32_t at;          // what has been moved: the monitor's
	_Atomic uint32_t status; // as read from the status registers, and IDE_STATUS_ASK
	uint8_t task[IDE_STATUS]; // the registers before it, as they are read if no write waits
	bool to_drive;
	bool second;          // the drive that is selected
	uint32_t nposts;
	struct ide_post post[IDE_POSTS];
	uint8_t data[IDE_WINDOW];
};

#endif
