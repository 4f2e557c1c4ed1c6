// SPDX-License-Identifier: MIT
//
// The server from inside: fids (the client's names for files), and what its requests share.
#ifndef P9_SERVER_H
#define P9_SERVER_H

#include <sys/stat.h>
#include <sys/types.h>

#include "p9/p9.h"
#include "p9/wire.h"

enum { P9_BUCKETS = 16384, P9_PATH_MAX = 4096 };
enum { P9_NOFID = 0xffffffff, P9_HEADER = 7, P9_QID = 13, P9_XATTR_MAX = 64 << 10 };

enum p9_fid_state { FID_FILE /* named, not open */, FID_OPEN, FID_XATTR, FID_XATTR_NEW };

struct p9_fid {
	struct p9_fid *next;
	uint32_t id, uid;
	enum p9_fid_state state;
	int fd;           // O_PATH until it is opened; then the open file; -1: parked
	char *path;       // of a parked one, below the root; else NULL
	dev_t dev;        // ... and which file that must be
	ino_t ino;
	struct p9_fid *next_parked, *newer, *older; // with the same hash; in the order of use, if it has a descriptor
	uint32_t type;    // S_IFMT of the host's file
	uint64_t dir_at;  // where a directory's descriptor stands
	// FID_XATTR: a value to be read; FID_XATTR_NEW: one that is being written, set when the fid goes
	uint8_t *value;
	size_t value_size, value_done;
	char value_name[P9_NAME_MAX + 1];
	int value_flags;
};

struct p9 {
	struct p9_config config;
	int root;
	dev_t root_dev;
	ino_t root_ino;
	uint32_t msize; // 0: no version has been agreed on
	unsigned fids, parked_count, handles, handles_max; // fids with descriptors: wanted at most, possible at most
	bool warned_of_devices;
	struct p9_fid *newest, *oldest; // in the order of use, of those with a descriptor
	uint32_t in_use[2]; // ids that this request has named: not to be parked
	struct p9_fid *bucket[P9_BUCKETS], *parked[P9_BUCKETS];
};

typedef int p9_request(struct p9 *s, struct p9_in *in, struct p9_out *out); // 0 or a negative errno

// fid.c
struct p9_fid *p9_fid_find(struct p9 *s, uint32_t id);
struct p9_fid *p9_get_fid(struct p9 *s, struct p9_in *in); // NULL: bad message or no such fid
// Takes fd over, on failure too. type: S_IFMT of the host's file. -EBADF: the id is taken; -ENFILE: too many.
int p9_fid_add(struct p9 *s, uint32_t id, uint32_t uid, int fd, uint32_t type, struct p9_fid **to);
int p9_fid_drop(struct p9 *s, struct p9_fid *f); // what the last of it said
void p9_fids_drop(struct p9 *s);

// park.c
void p9_fid_added(struct p9 *s, struct p9_fid *f); // it has a descriptor
void p9_fid_gone(struct p9 *s, struct p9_fid *f);
bool p9_fid_use(struct p9 *s, struct p9_fid *f); // false: it was parked, and its file cannot be found again
int p9_path_in(struct p9 *s, int dir, const char *name, char path[P9_PATH_MAX]); // its length, or a negative errno
void p9_name_goes(struct p9 *s, int dir, const char *name); // is about to be removed, or become another file's
void p9_renamed(struct p9 *s, const char *from, const char *to); // paths below the root

// path.c
enum { P9_PROC = 32 };
const char *p9_proc(char to[P9_PROC], int fd); // a path that means the open file fd
bool p9_is_name(const char *name); // of one component: neither empty, nor with a slash, nor . or ..
int p9_path_of(struct p9 *s, int fd, char path[P9_PATH_MAX]); // below the root: its length, 0 for the root, or -errno
int p9_open_beneath(struct p9 *s, const char *path, int flags); // a descriptor, or a negative errno
int p9_parent_of(struct p9 *s, int fd, char name[P9_NAME_MAX + 1]); // a descriptor of the directory fd is in
p9_request p9_walk, p9_attach;

// model.c: what the guest sees of owners and modes, and where that is kept
int p9_stat(struct p9 *s, int fd, struct stat *st);
int p9_stat_typed(struct p9 *s, int fd, struct stat *st, uint32_t *type); // S_IFMT of the host's file too
int p9_set_owner(struct p9 *s, int fd, uint32_t uid, uint32_t gid);
int p9_set_mode(struct p9 *s, int fd, uint32_t mode);
int p9_own_new(struct p9 *s, int fd, uint32_t uid, uint32_t gid, uint32_t mode, uint64_t rdev);
bool p9_is_hidden_xattr(const struct p9 *s, const char *name);

// attr.c
int p9_put_qid(struct p9 *s, struct p9_out *out, const struct stat *st);
uint64_t p9_qid_path(const struct p9 *s, uint64_t dev, uint64_t ino);
p9_request p9_getattr, p9_setattr, p9_statfs;

// file.c, tree.c, xattr.c, lock.c
p9_request p9_lopen, p9_lcreate, p9_read, p9_write, p9_fsync, p9_readdir;
p9_request p9_mkdir, p9_mknod, p9_symlink, p9_readlink, p9_link, p9_rename, p9_renameat, p9_unlinkat, p9_remove;
p9_request p9_xattrwalk, p9_xattrcreate, p9_lock, p9_getlock;
int p9_xattr_finish(struct p9 *s, struct p9_fid *f);
int p9_xattr_read(struct p9_fid *f, uint64_t offset, uint32_t count, struct p9_out *out);
int p9_xattr_write(struct p9_fid *f, uint64_t offset, uint32_t count, const uint8_t *from, struct p9_out *out);

#endif
