// SPDX-License-Identifier: MIT
//
// The telnet protocol's part of a socket's stream (-serial telnet:, -chardev socket,telnet=on). See io/telnet.c.
#ifndef IO_TELNET_H
#define IO_TELNET_H

#include "base/types.h"

enum { TELNET_GREETING = 12 };
extern const uint8_t telnet_greeting[TELNET_GREETING]; // what to send first

struct telnet {
	uint8_t state;
	bool broke; // a BREAK has come; whoever looks clears it
};

// Take the protocol out of n bytes, in place; returns how many are data.
size_t telnet_filter(struct telnet *t, uint8_t *bytes, size_t n);

#endif
