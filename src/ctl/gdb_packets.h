// SPDX-License-Identifier: MIT
//
// Between gdb.c (the connection) and gdb_packets.c (what packets mean).
#ifndef CTL_GDB_PACKETS_H
#define CTL_GDB_PACKETS_H

#include "ctl/gdb.h"

// gdb_packets.c: the vCPU has stopped; p is one packet's text.
void gdb_take_packet(struct gdb *g, const char *p);
size_t gdb_get_hex(uint8_t *bytes, const char *text, size_t n); // returns how many bytes there were

// gdb.c
void gdb_reply(struct gdb *g, const char *text);
void gdb_send(struct gdb *g, const char *bytes, size_t n);
void gdb_go_on(struct gdb *g, enum resume how);
void gdb_leave(struct gdb *g); // the debugger goes; the guest goes on

#endif
