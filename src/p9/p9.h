// SPDX-License-Identifier: MIT
//
// A file server that speaks 9P2000.L: one directory tree of the host, shown to a guest. Requests and replies are plain
// buffers, so that any transport will do; one request at a time, each answered before the next is looked at.
//
// What keeps a guest inside of the tree: every file it names is a descriptor that was opened from its parent's, one
// component at a time, never through a symbolic link (O_PATH, O_NOFOLLOW). "..", the few old requests that name a
// file without its directory, and fids whose descriptor was given up (p9/park.c) start from the root, with openat2
// and RESOLVE_BENEATH. Only regular files and directories are ever opened for more than that. What is in a message
// is looked at before it is used, and nothing that it asks for grows beyond a bound.
#ifndef P9_P9_H
#define P9_P9_H

#include "base/types.h"

enum { P9_MSIZE_MIN = 4096, P9_MSIZE_MAX = 512 << 10, P9_TAG_MAX = 31 };

// What the guest's owners and modes are on the host: its own (of ringer's rights), or those of the file's attributes
// user.virtfs.*, as QEMU keeps them.
enum p9_model { P9_NONE, P9_PASSTHROUGH, P9_MAPPED };

// Files with equal inode numbers on several file systems below the tree.
enum p9_multidevs { P9_MULTIDEVS_WARN, P9_MULTIDEVS_REMAP, P9_MULTIDEVS_FORBID };

struct p9_config {
	char id[64], path[512];
	bool has_model;
	enum p9_model model;
	enum p9_multidevs multidevs;
	bool readonly;
	uint16_t file_mode, dir_mode; // of the host's files in P9_MAPPED
	unsigned handles; // files that are named, not open, and yet hold a descriptor; 0: as ringer chooses
};

void p9_config_init(struct p9_config *c);
// A property as QEMU spells it. 0, -ENOENT: no such property, -EINVAL with a line in err.
int p9_config_prop(struct p9_config *c, const char *key, const char *value, char *err, size_t errlen);
int p9_config_check(const struct p9_config *c, char *err, size_t errlen);

struct p9;

// 0, or a negative errno with a line in err.
int p9_open(struct p9 **s, const struct p9_config *c, char *err, size_t errlen);
void p9_close(struct p9 *s); // NULL is fine
void p9_reset(struct p9 *s); // forget the client and all it had open

// Answer a request of n bytes; the reply's length. 0: it was no message, or there is no room for the shortest reply.
size_t p9_handle(struct p9 *s, const uint8_t *request, size_t n, uint8_t *reply, size_t room);

#endif
