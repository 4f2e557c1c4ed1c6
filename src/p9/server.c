// SPDX-License-Identifier: MIT
//
// The server's requests, as a table, and its beginning and end. A message is size[4] type[1] tag[2] and what its type
// says; the answer has the next type, or is an error with the host's number for it.
#include "p9/server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/limits.h"

enum { RLERROR = 7, TVERSION = 100, DESCRIPTORS_KEPT = 256 /* for the rest of ringer */, HANDLES = 4096 };

// msize[4] version[s]; msize[4] version[s]
static int version(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t msize = p9_get32(in);
	char name[32];

	p9_get_string(in, name, sizeof(name));
	if (in->bad || msize < P9_MSIZE_MIN)
		return -EMSGSIZE;
	p9_fids_drop(s);
	s->msize = MIN(msize, (uint32_t)P9_MSIZE_MAX);
	p9_put32(out, s->msize);
	if (!strcmp(name, "9P2000.L")) {
		p9_put_string(out, name);
		return 0;
	}
	s->msize = 0;
	p9_put_string(out, "unknown");
	return 0;
}

static int no_auth(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	return -EOPNOTSUPP;
}

// Requests are answered in order: what is to be forgotten has been answered.
static int flush(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	return 0;
}

static int clunk(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	uint32_t id = p9_get32(in);
	struct p9_fid *f = in->bad ? NULL : p9_fid_find(s, id); // a parked one may go as it is

	return f ? p9_fid_drop(s, f) : -EBADF;
}

static p9_request *const requests[] = {
	[8] = p9_statfs, [12] = p9_lopen, [14] = p9_lcreate, [16] = p9_symlink, [18] = p9_mknod, [20] = p9_rename,
	[22] = p9_readlink, [24] = p9_getattr, [26] = p9_setattr, [30] = p9_xattrwalk, [32] = p9_xattrcreate,
	[40] = p9_readdir, [50] = p9_fsync, [52] = p9_lock, [54] = p9_getlock, [70] = p9_link, [72] = p9_mkdir,
	[74] = p9_renameat, [76] = p9_unlinkat, [TVERSION] = version, [102] = no_auth, [104] = p9_attach, [108] = flush,
	[110] = p9_walk, [116] = p9_read, [118] = p9_write, [120] = clunk, [122] = p9_remove,
};

static int obey(struct p9 *s, uint8_t type, struct p9_in *in, struct p9_out *out)
{
	p9_request *request = type < ARRAY_SIZE(requests) ? requests[type] : NULL;
	int r;

	if (!request)
		return -EOPNOTSUPP;
	if (!s->msize && type != TVERSION)
		return -EPROTO;
	r = request(s, in, out);
	return r == 0 && out->bad ? -EMSGSIZE : r;
}

size_t p9_handle(struct p9 *s, const uint8_t *request, size_t n, uint8_t *reply, size_t room)
{
	struct p9_in in = {.at = request, .left = n};
	uint32_t size = p9_get32(&in);
	uint8_t type = p9_get8(&in);
	uint16_t tag = p9_get16(&in);
	struct p9_out out = {.start = reply, .size = P9_HEADER, .room = s->msize ? MIN(room, (size_t)s->msize) : room};
	uint32_t length;
	int r;

	if (in.bad || room < P9_HEADER + 4)
		return 0;
	r = size < P9_HEADER || size > n || (s->msize && size > s->msize) ? -EMSGSIZE : 0;
	if (r == 0) {
		in.left = size - P9_HEADER;
		r = obey(s, type, &in, &out);
	}
	if (r < 0) {
		out.size = P9_HEADER;
		out.bad = false;
		p9_put32(&out, (uint32_t)-r);
	}
	length = (uint32_t)out.size;
	memcpy(reply, &length, sizeof(length));
	reply[4] = r < 0 ? RLERROR : type + 1;
	memcpy(reply + 5, &tag, sizeof(tag));
	return out.size;
}

static int open_root(struct p9 *s, char *err, size_t errlen)
{
	char proc[P9_PROC];
	struct stat st;

	s->root = open(s->config.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0 || fstat(s->root, &st) < 0) {
		snprintf(err, errlen, "cannot open '%s': %s", s->config.path, strerror(errno));
		return -errno;
	}
	s->root_dev = st.st_dev;
	s->root_ino = st.st_ino;
	if (access(p9_proc(proc, s->root), F_OK) == 0)
		return 0;
	snprintf(err, errlen, "cannot use /proc/self/fd, which shared folders need: %s", strerror(errno));
	return -errno;
}

int p9_open(struct p9 **to, const struct p9_config *c, char *err, size_t errlen)
{
	struct p9 *s = calloc(1, sizeof(*s));
	int r;

	*to = NULL;
	if (!s) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	s->config = *c;
	s->handles_max = host_raise_files();
	s->handles_max -= MIN(s->handles_max / 2, (unsigned)DESCRIPTORS_KEPT);
	s->handles = c->handles ? c->handles : MIN(s->handles_max / 16, (unsigned)HANDLES);
	r = open_root(s, err, errlen);
	if (r < 0)
		p9_close(s);
	else
		*to = s;
	return r;
}

void p9_reset(struct p9 *s)
{
	p9_fids_drop(s);
	s->msize = 0;
}

void p9_close(struct p9 *s)
{
	if (!s)
		return;
	p9_fids_drop(s);
	if (s->root >= 0)
		close(s->root);
	free(s);
}
