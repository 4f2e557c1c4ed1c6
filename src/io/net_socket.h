// SPDX-License-Identifier: MIT
//
// Stream sockets for -netdev stream and socket: where to listen or connect, in one step that fails with a line or
// succeeds; nothing waits for a peer but a connect, and that not for long.
#ifndef IO_NET_SOCKET_H
#define IO_NET_SOCKET_H

#include "io/net.h"

// A non-blocking socket, listening (server) or connected; or a negative errno with a line in err.
int net_socket_make(const struct net_stream_config *c, char *err, size_t errlen);
void net_socket_unmake(const struct net_stream_config *c, int listener); // close; remove its name
int net_socket_accept(int listener); // -EAGAIN: nobody

#endif
