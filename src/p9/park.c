// SPDX-License-Identifier: MIT
//
// Parked fids. A client may name far more files than ringer may have descriptors; beyond a number the fids that have
// been used longest ago, and are not open for reading or writing, give theirs up and keep the file's path below the
// root, its device and inode. When such a fid is used again the path is opened from the root, beneath it and through
// no link, and must lead to the same file; else the fid is stale. What the client itself renames or removes is
// followed: paths are rewritten, and a name's parked fids get descriptors before the name goes. What the host moves
// away meanwhile is lost.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "p9/server.h"

enum { PARK_TRIES = 8 };

// -- in the order of use

static void take_out(struct p9 *s, struct p9_fid *f)
{
	*(f->newer ? &f->newer->older : &s->newest) = f->older;
	*(f->older ? &f->older->newer : &s->oldest) = f->newer;
	f->newer = f->older = NULL;
}

static void put_first(struct p9 *s, struct p9_fid *f)
{
	f->older = s->newest;
	*(s->newest ? &s->newest->newer : &s->oldest) = f;
	s->newest = f;
}

// -- by path

static struct p9_fid **parked_bucket(struct p9 *s, const char *path)
{
	uint32_t hash = 2166136261u;

	while (*path)
		hash = (hash ^ (uint8_t)*path++) * 16777619u;
	return &s->parked[hash % P9_BUCKETS];
}

static void put_parked(struct p9 *s, struct p9_fid *f, char *path)
{
	struct p9_fid **at = parked_bucket(s, path);

	f->path = path;
	f->next_parked = *at;
	*at = f;
	s->parked_count++;
}

static char *take_parked(struct p9 *s, struct p9_fid *f)
{
	struct p9_fid **at = parked_bucket(s, f->path);
	char *path = f->path;

	while (*at != f)
		at = &(*at)->next_parked;
	*at = f->next_parked;
	s->parked_count--;
	f->path = NULL;
	return path;
}

// -- parking

static bool park(struct p9 *s, struct p9_fid *f)
{
	char path[P9_PATH_MAX], *copy;
	struct stat st;

	if (f->state != FID_FILE || f->id == s->in_use[0] || f->id == s->in_use[1] || p9_path_of(s, f->fd, path) <= 0 ||
	    fstatat(f->fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 || !(copy = strdup(path)))
		return false;
	f->dev = st.st_dev;
	f->ino = st.st_ino;
	close(f->fd);
	f->fd = -1;
	take_out(s, f);
	put_parked(s, f, copy);
	return true;
}

// As many as hold a descriptor too many; those that cannot be parked are looked at again when it is their turn.
static void park_oldest(struct p9 *s)
{
	for (int i = 0; i < PARK_TRIES && s->fids - s->parked_count > s->handles; i++) {
		struct p9_fid *f = s->oldest;

		if (!park(s, f)) {
			take_out(s, f);
			put_first(s, f);
		}
	}
}

void p9_fid_added(struct p9 *s, struct p9_fid *f)
{
	park_oldest(s);
	put_first(s, f);
}

void p9_fid_gone(struct p9 *s, struct p9_fid *f)
{
	if (f->path)
		free(take_parked(s, f));
	else
		take_out(s, f);
}

static int unpark(struct p9 *s, struct p9_fid *f)
{
	int fd = p9_open_beneath(s, f->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstatat(fd, "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 || st.st_dev != f->dev || st.st_ino != f->ino ||
	    (st.st_mode & S_IFMT) != f->type) {
		close(fd);
		return -ESTALE;
	}
	free(take_parked(s, f));
	f->fd = fd;
	p9_fid_added(s, f);
	return 0;
}

bool p9_fid_use(struct p9 *s, struct p9_fid *f)
{
	s->in_use[1] = s->in_use[0];
	s->in_use[0] = f->id;
	if (f->path)
		return unpark(s, f) == 0;
	take_out(s, f);
	put_first(s, f);
	return true;
}

// -- what the client changes

int p9_path_in(struct p9 *s, int dir, const char *name, char path[P9_PATH_MAX])
{
	int n = p9_path_of(s, dir, path);

	if (n < 0)
		return n;
	n += snprintf(path + n, (size_t)(P9_PATH_MAX - n), "%s%s", n ? "/" : "", name);
	return n < P9_PATH_MAX ? n : -ENAMETOOLONG;
}

void p9_name_goes(struct p9 *s, int dir, const char *name)
{
	char path[P9_PATH_MAX];
	struct p9_fid *f, *next;

	if (!s->parked_count || p9_path_in(s, dir, name, path) < 0)
		return;
	for (f = *parked_bucket(s, path); f; f = next) {
		next = f->next_parked;
		if (!strcmp(f->path, path))
			unpark(s, f);
	}
}

static bool is_below(const char *path, const char *above, size_t n)
{
	return !strncmp(path, above, n) && (!path[n] || path[n] == '/');
}

void p9_renamed(struct p9 *s, const char *from, const char *to)
{
	struct p9_fid *moved = NULL, *f, *next;
	size_t n = strlen(from);
	char *path;

	for (unsigned i = 0; s->parked_count && i < P9_BUCKETS; i++)
		for (f = s->parked[i]; f; f = next) {
			next = f->next_parked;
			if (!is_below(f->path, from, n) || asprintf(&path, "%s%s", to, f->path + n) < 0)
				continue;
			free(take_parked(s, f));
			f->path = path;
			f->next_parked = moved;
			moved = f;
		}
	for (; moved; moved = next) {
		next = moved->next_parked;
		put_parked(s, moved, moved->path);
	}
}
