// SPDX-License-Identifier: MIT
//
// Locks of byte ranges: the host's, owned by the open file, so that two fids of one client contend as two processes do
// that have opened the file. Nothing here ever waits: a client that would is told so and asks again.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "p9/server.h"

enum { RANGE_READ, RANGE_WRITE, RANGE_FREE, STATUS_SUCCESS = 0, STATUS_BLOCKED = 1 };

static const short types[] = {[RANGE_READ] = F_RDLCK, [RANGE_WRITE] = F_WRLCK, [RANGE_FREE] = F_UNLCK};

struct range {
	uint8_t type;
	uint64_t start, length; // length 0: to the end, wherever that comes to be
};

static int to_host(const struct range *r, struct flock *l)
{
	if (r->type >= ARRAY_SIZE(types) || r->start > INT64_MAX || r->length > INT64_MAX - r->start)
		return -EINVAL;
	*l = (struct flock){
	    .l_type = types[r->type], .l_whence = SEEK_SET, .l_start = (off_t)r->start, .l_len = (off_t)r->length};
	return 0;
}

// fid[4] type[1] flags[4] start[8] length[8] proc_id[4] client_id[s]; status[1]
int p9_lock(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	struct range range = {.type = p9_get8(in)};
	struct flock l;
	char client[1024];
	int r;

	p9_get32(in);
	range.start = p9_get64(in);
	range.length = p9_get64(in);
	p9_get32(in);
	p9_get_string(in, client, sizeof(client));
	if (!f || in->bad || f->state != FID_OPEN)
		return -EBADF;
	r = to_host(&range, &l);
	if (r < 0)
		return r;
	r = fcntl(f->fd, F_OFD_SETLK, &l) < 0 ? -errno : 0;
	if (r < 0 && r != -EAGAIN && r != -EACCES)
		return r;
	p9_put8(out, r < 0 ? STATUS_BLOCKED : STATUS_SUCCESS);
	return 0;
}

static void put_found(struct p9_out *out, const struct flock *l, const struct range *asked, uint32_t process,
		      const char *client)
{
	bool none = l->l_type == F_UNLCK;

	p9_put8(out, none ? RANGE_FREE : l->l_type == F_RDLCK ? RANGE_READ : RANGE_WRITE);
	p9_put64(out, none ? asked->start : (uint64_t)l->l_start);
	p9_put64(out, none ? asked->length : (uint64_t)l->l_len);
	p9_put32(out, none ? process : (uint32_t)l->l_pid);
	p9_put_string(out, client);
}

// fid[4] type[1] start[8] length[8] proc_id[4] client_id[s]; type[1] start[8] length[8] proc_id[4] client_id[s]
int p9_getlock(struct p9 *s, struct p9_in *in, struct p9_out *out)
{
	struct p9_fid *f = p9_get_fid(s, in);
	struct range range = {.type = p9_get8(in)};
	uint32_t process;
	struct flock l;
	char client[1024];
	int r;

	range.start = p9_get64(in);
	range.length = p9_get64(in);
	process = p9_get32(in);
	p9_get_string(in, client, sizeof(client));
	if (!f || in->bad || f->state != FID_OPEN)
		return -EBADF;
	r = range.type == RANGE_FREE ? -EINVAL : to_host(&range, &l);
	if (r == 0 && fcntl(f->fd, F_OFD_GETLK, &l) < 0)
		r = -errno;
	if (r == 0)
		put_found(out, &l, &range, process, client);
	return r;
}
