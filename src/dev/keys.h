// SPDX-License-Identifier: MIT
//
// Keys by the names that operators use (QKeyCode), and what a PS/2 keyboard says when they are pressed.
#ifndef DEV_KEYS_H
#define DEV_KEYS_H

#include "dev/i8042.h"

enum { KEY_NONE, KEY_EXTENDED = 0x80 }; // a code of set 1, and whether it is an extended one

// The code of a name. KEY_NONE: there is no such key.
unsigned key_find(const char *name);

// Press or release it. False: the keyboard cannot be heard now, or has too much to say.
bool i8042_key(struct i8042 *c, unsigned key, bool down);

#endif
