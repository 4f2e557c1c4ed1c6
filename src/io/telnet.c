// SPDX-License-Identifier: MIT
//
// A terminal over a socket (RFC 854, "Telnet Protocol Specification"): on connecting the other end is asked for
// characters one by one, not echoed and of eight bits; what it answers, and whatever else it negotiates, is taken out
// of the stream. A sequence may be cut anywhere between two reads.
#include "io/telnet.h"

enum telnet_code { SE = 240, BREAK = 243, SB = 250, WILL = 251, DONT = 254, IAC = 255 };
enum telnet_option { OPTION_BINARY = 0, OPTION_ECHO = 1, OPTION_SUPPRESS_GO_AHEAD = 3 };
enum { DO = 253 };

enum telnet_state { TELNET_DATA, TELNET_IAC, TELNET_OPTION, TELNET_SUB, TELNET_SUB_IAC };

const uint8_t telnet_greeting[TELNET_GREETING] = {
	IAC, WILL, OPTION_ECHO, IAC, WILL, OPTION_SUPPRESS_GO_AHEAD, IAC, WILL, OPTION_BINARY, IAC, DO, OPTION_BINARY,
};

// Returns whether the byte is data.
static bool take(struct telnet *t, uint8_t byte)
{
	switch ((enum telnet_state)t->state) {
	case TELNET_DATA:
		t->state = byte == IAC ? TELNET_IAC : TELNET_DATA;
		return byte != IAC;
	case TELNET_IAC:
		t->state = byte == SB ? TELNET_SUB : byte >= WILL && byte <= DONT ? TELNET_OPTION : TELNET_DATA;
		t->broke |= byte == BREAK;
		return byte == IAC;
	case TELNET_OPTION:
		t->state = TELNET_DATA;
		return false;
	case TELNET_SUB:
		t->state = byte == IAC ? TELNET_SUB_IAC : TELNET_SUB;
		return false;
	case TELNET_SUB_IAC:
		t->state = byte == SE ? TELNET_DATA : TELNET_SUB;
		return false;
	}
	return false;
}

size_t telnet_filter(struct telnet *t, uint8_t *bytes, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (take(t, bytes[i]))
			bytes[kept++] = bytes[i];
	return kept;
}
