// SPDX-License-Identifier: MIT
//
// In the place of net_user.c where ringer is built without libslirp.
#include <errno.h>
#include <stdio.h>

#include "io/net_user.h"

int net_user_open(struct net *n, const struct net_config *c, char *err, size_t errlen)
{
	snprintf(err, errlen, "ringer was built without libslirp (Debian's package libslirp-dev)");
	return -ENOSYS;
}

void net_user_close(struct net *n)
{
}

int net_user_send(struct net *n, const struct net_frame *f)
{
	return 0;
}

void net_user_flush(struct net *n)
{
}
