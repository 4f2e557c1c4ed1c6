// SPDX-License-Identifier: MIT
//
// Fids: a hash table from the client's numbers to files. Most hold a descriptor; those that have not been used for long
// are parked (p9/park.c).
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "p9/server.h"

enum { FIDS_MAX = 1 << 18 };

static struct p9_fid **slot(struct p9 *s, uint32_t id)
{
	struct p9_fid **at = &s->bucket[id % P9_BUCKETS];

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

struct p9_fid *p9_fid_find(struct p9 *s, uint32_t id)
{
	return *slot(s, id);
}

struct p9_fid *p9_get_fid(struct p9 *s, struct p9_in *in)
{
	uint32_t id = p9_get32(in);
	struct p9_fid *f = in->bad ? NULL : p9_fid_find(s, id);

	return f && p9_fid_use(s, f) ? f : NULL;
}

int p9_fid_add(struct p9 *s, uint32_t id, uint32_t uid, int fd, uint32_t type, struct p9_fid **to)
{
	struct p9_fid **at = slot(s, id), *f = NULL;
	int r = 0;

	if (*at || id == P9_NOFID)
		r = -EBADF;
	else if (s->fids >= FIDS_MAX || s->fids - s->parked_count >= s->handles_max)
		r = -ENFILE;
	else if (!(f = calloc(1, sizeof(*f))))
		r = -ENOMEM;
	if (r < 0) {
		close(fd);
		return r;
	}
	*f = (struct p9_fid){.id = id, .uid = uid, .fd = fd, .type = type};
	*at = f;
	s->fids++;
	p9_fid_added(s, f);
	if (to)
		*to = f;
	return 0;
}

int p9_fid_drop(struct p9 *s, struct p9_fid *f)
{
	struct p9_fid **at = slot(s, f->id);
	int r = f->state == FID_XATTR_NEW ? p9_xattr_finish(s, f) : 0;

	p9_fid_gone(s, f);
	*at = f->next;
	s->fids--;
	if (f->fd >= 0)
		close(f->fd);
	free(f->value);
	free(f);
	return r;
}

// The client is gone: what it had not finished is not finished for it.
void p9_fids_drop(struct p9 *s)
{
	for (unsigned i = 0; i < P9_BUCKETS; i++)
		while (s->bucket[i]) {
			s->bucket[i]->state = FID_FILE;
			p9_fid_drop(s, s->bucket[i]);
		}
}
