// SPDX-License-Identifier: MIT
//
// Image locks, as QEMU takes them (its manual, "Disk image file locking"): open file description locks on single bytes
// of the image. Byte 100 + p held shared says "I use permission p", byte 200 + p "I let nobody else use p". We use
// reading, and writing and resizing if we may, and let nobody else write or resize.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "io/block.h"

enum permission { CONSISTENT_READ = 0, WRITE = 1, RESIZE = 3 };
enum { USED_BASE = 100, DENIED_BASE = 200 };

static struct flock one_byte(short type, int at)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1};
}

static bool held_by_others(int fd, int at)
{
	struct flock l = one_byte(F_WRLCK, at);

	return !fcntl(fd, F_OFD_GETLK, &l) && l.l_type != F_UNLCK;
}

static int hold(int fd, int at)
{
	struct flock l = one_byte(F_RDLCK, at);

	return fcntl(fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
}

int block_lock(int fd, const struct block_config *c, bool readonly, char *err, size_t errlen)
{
	static const enum permission denied[] = { WRITE, RESIZE };
	static const enum permission used[] = { CONSISTENT_READ, WRITE, RESIZE };
	unsigned uses = readonly ? 1 : ARRAY_SIZE(used);
	int r = 0;

	for (unsigned i = 0; i < uses && r == 0; i++)
		r = hold(fd, USED_BASE + (int)used[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(denied) && r == 0; i++)
		r = hold(fd, DENIED_BASE + (int)denied[i]);
	if (r == -EINVAL || r == -ENOLCK || r == -EOPNOTSUPP)
		return 0; // a file system without locks
	for (unsigned i = 0; i < uses && r == 0; i++)
		r = held_by_others(fd, DENIED_BASE + (int)used[i]) ? -EBUSY : 0;
	for (unsigned i = 0; i < ARRAY_SIZE(denied) && r == 0; i++)
		r = held_by_others(fd, USED_BASE + (int)denied[i]) ? -EBUSY : 0;
	if (r < 0)
		snprintf(err, errlen, "%s: another process has locked this disk image; end it, or use a copy or snapshot=on",
			 c->file);
	return r;
}
