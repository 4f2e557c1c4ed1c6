// SPDX-License-Identifier: MIT
//
// The 9P server over memory: files made, read, listed, renamed, locked and removed; owners in attributes; no way out
// of the tree, by links, "..", names with slashes or a directory that changes places; a tree that is read-only; and
// messages that are cut short, or made at random, after which the tree's neighbour is as it was.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "p9/p9.h"
#include "p9/wire.h"

static int failures;

#define CHECK(x) \
	do { \
		if (!(x)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x); \
			failures++; \
		} \
	} while (0)

enum { STATFS = 8, LOPEN = 12, LCREATE = 14, SYMLINK = 16, MKNOD = 18, RENAME = 20, READLINK = 22, GETATTR = 24,
       SETATTR = 26, XATTRWALK = 30, XATTRCREATE = 32, READDIR = 40, FSYNC = 50, LOCK = 52, GETLOCK = 54, LINK = 70,
       MKDIR = 72, RENAMEAT = 74, UNLINKAT = 76, VERSION = 100, ATTACH = 104, FLUSH = 108, WALK = 110, READ = 116,
       WRITE = 118, CLUNK = 120, REMOVE = 122 };
enum { ROOT = 1, MSIZE = 65536, NOFID = -1 };

static char base[] = "/tmp/ringer-9p-XXXXXX";
static struct p9 *s;
static unsigned handles; // descriptors for fids, 0: as many as there may be
static uint8_t request[MSIZE], reply[MSIZE];
static struct p9_in answer; // behind the header

// Send a message; "1248" are numbers of that size, s a string, b bytes with their count before them as a 4.
// 0 or the negative errno that came back.
static int call(unsigned type, const char *format, ...)
{
	struct p9_out out = {.start = request, .size = 7, .room = sizeof(request)};
	uint32_t size;
	va_list ap;
	size_t n;

	va_start(ap, format);
	for (; *format; format++) {
		const char *text = strchr("sb", *format) ? va_arg(ap, const char *) : NULL;

		if (*format == 's')
			p9_put_string(&out, text);
		else if (*format == 'b') {
			p9_put32(&out, (uint32_t)strlen(text));
			p9_put_bytes(&out, text, strlen(text));
		} else {
			uint64_t v = *format == '8' ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);

			p9_put_bytes(&out, &v, (size_t)(*format - '0'));
		}
	}
	va_end(ap);
	size = (uint32_t)out.size;
	memcpy(request, &size, 4);
	request[4] = (uint8_t)type;
	memset(request + 5, 0x5a, 2);
	n = p9_handle(s, request, size, reply, sizeof(reply));
	CHECK(n >= 7 && !memcmp(reply, &(uint32_t){(uint32_t)n}, 4) && reply[5] == 0x5a && reply[6] == 0x5a);
	answer = (struct p9_in){.at = reply + 7, .left = n - 7};
	if (reply[4] == 7)
		return -(int)p9_get32(&answer);
	CHECK(reply[4] == type + 1);
	return 0;
}

static void start(enum p9_model model, bool readonly)
{
	struct p9_config c;
	char err[300] = "";

	p9_config_init(&c);
	c.model = model;
	c.readonly = readonly;
	c.handles = handles;
	snprintf(c.path, sizeof(c.path), "%s/tree", base);
	CHECK(p9_open(&s, &c, err, sizeof(err)) == 0);
	CHECK(call(GETATTR, "48", ROOT, UINT64_C(0)) == -EPROTO); // first a version
	CHECK(call(VERSION, "4s", MSIZE, "9P2000.u") == 0 && p9_get32(&answer) == MSIZE);
	CHECK(call(GETATTR, "48", ROOT, UINT64_C(0)) == -EPROTO);
	CHECK(call(VERSION, "4s", MSIZE, "9P2000.L") == 0);
	CHECK(call(ATTACH, "44ss4", ROOT, NOFID, "user", "", 1000u) == 0 && *answer.at == 0x80);
}

static void stop(void)
{
	p9_close(s);
	s = NULL;
}

static int walk(unsigned from, unsigned to, const char *name)
{
	return call(WALK, "442s", from, to, 1, name);
}

static const char *host(const char *name)
{
	static char path[2][512];
	static int i;

	snprintf(path[i ^= 1], sizeof(path[0]), "%s/%s", base, name);
	return path[i];
}

static void put(const char *name, const char *content)
{
	FILE *f = fopen(host(name), "w");

	CHECK(f && fputs(content, f) >= 0 && fclose(f) == 0);
}

static bool contains(const char *name, const char *content)
{
	char buffer[256] = "";
	FILE *f = fopen(host(name), "r");

	if (!f)
		return false;
	buffer[fread(buffer, 1, sizeof(buffer) - 1, f)] = 0;
	fclose(f);
	return !strcmp(buffer, content);
}

static bool read_is(unsigned fid, const char *content)
{
	uint32_t n;

	if (call(READ, "484", fid, UINT64_C(0), 1000u))
		return false;
	n = p9_get32(&answer);
	return n == strlen(content) && answer.left == n && !memcmp(answer.at, content, n);
}

static uint32_t mode_of(unsigned fid)
{
	if (call(GETATTR, "48", fid, UINT64_C(0x7ff)))
		return 0;
	p9_get_bytes(&answer, 8 + 13);
	return p9_get32(&answer);
}

static void test_files(void)
{
	CHECK(walk(ROOT, 2, "new") == -ENOENT);
	CHECK(call(WALK, "442", ROOT, 2, 0) == 0);
	CHECK(call(LCREATE, "4s444", 2, "new", 0102u, 0640u, (unsigned)getgid()) == 0);
	CHECK(call(WRITE, "48b", 2, UINT64_C(0), "hello, world") == 0 && p9_get32(&answer) == 12);
	CHECK(read_is(2, "hello, world") && contains("tree/new", "hello, world"));
	CHECK(call(FSYNC, "44", 2, 0) == 0);
	CHECK(mode_of(2) == (S_IFREG | 0640));
	CHECK(call(CLUNK, "4", 2) == 0 && call(CLUNK, "4", 2) == -EBADF);

	CHECK(walk(ROOT, 2, "new") == 0 && call(READ, "484", 2, UINT64_C(0), 10) == -EBADF); // not open
	CHECK(walk(ROOT, 2, "new") == -EBADF); // the number is taken
	CHECK(call(SETATTR, "4444488888", 2, 1 | 8, 0600, 0, 0, UINT64_C(5), UINT64_C(0), UINT64_C(0), UINT64_C(0),
		   UINT64_C(0)) == 0);
	CHECK(mode_of(2) == (S_IFREG | 0600));
	CHECK(call(LOPEN, "44", 2, 0) == 0 && read_is(2, "hello"));
	CHECK(call(WRITE, "48b", 2, UINT64_C(0), "x") == -EBADF); // opened for reading
	CHECK(call(WALK, "442", 2, 3, 0) == -EINVAL); // open fids stay where they are
	CHECK(call(CLUNK, "4", 2) == 0);

	CHECK(call(MKDIR, "4s44", ROOT, "dir", 0750, (unsigned)getgid()) == 0 && *answer.at == 0x80);
	CHECK(call(MKDIR, "4s44", ROOT, "dir", 0750, 0) == -EEXIST);
	CHECK(walk(ROOT, 2, "dir") == 0 && mode_of(2) == (S_IFDIR | 0750));
	CHECK(call(RENAMEAT, "4s4s", ROOT, "new", 2, "moved") == 0 && contains("tree/dir/moved", "hello"));
	CHECK(walk(2, 3, "moved") == 0 && call(LINK, "44s", ROOT, 3, "again") == 0 && contains("tree/again", "hello"));
	CHECK(call(RENAME, "44s", 3, ROOT, "back") == 0 && contains("tree/back", "hello"));
	CHECK(call(UNLINKAT, "4s4", ROOT, "dir", 0) == -EISDIR);
	CHECK(call(REMOVE, "4", 3) == 0 && access(host("tree/back"), F_OK) < 0);
	CHECK(call(UNLINKAT, "4s4", ROOT, "again", 0) == 0);
	CHECK(call(UNLINKAT, "4s4", ROOT, "dir", (unsigned)AT_REMOVEDIR) == 0);
	CHECK(call(CLUNK, "4", 2) == 0);
	CHECK(call(MKNOD, "4s4444", ROOT, "pipe", (unsigned)S_IFIFO | 0600u, 0, 0, (unsigned)getgid()) == 0);
	CHECK(walk(ROOT, 2, "pipe") == 0 && S_ISFIFO(mode_of(2)) && call(LOPEN, "44", 2, 0) < 0); // would wait
	CHECK(call(REMOVE, "4", 2) == 0);
	CHECK(call(STATFS, "4", ROOT) == 0 && answer.left == 4 + 4 + 6 * 8 + 4);
	CHECK(call(FLUSH, "2", 9) == 0);
}

// All names of a directory, through replies of `room` bytes.
static unsigned list(unsigned fid, unsigned room, const char *prefix)
{
	uint64_t offset = 0;
	unsigned found = 0;

	for (;;) {
		CHECK(call(READDIR, "484", fid, offset, room) == 0);
		if (!p9_get32(&answer))
			return found;
		while (answer.left) {
			char name[256];

			p9_get_bytes(&answer, 13);
			offset = p9_get64(&answer);
			p9_get8(&answer);
			p9_get_string(&answer, name, sizeof(name));
			CHECK(!answer.bad);
			found += !strncmp(name, prefix, strlen(prefix));
		}
	}
}

static void test_directory(void)
{
	char name[64];

	CHECK(mkdir(host("tree/many"), 0700) == 0);
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "tree/many/f%d", i);
		put(name, "");
	}
	CHECK(walk(ROOT, 2, "many") == 0 && call(LOPEN, "44", 2, 0) == 0);
	CHECK(list(2, 60000, "f") == 500 && list(2, 300, "f") == 500 && list(2, 4000, "f") == 500);
	CHECK(call(READDIR, "484", 2, UINT64_C(0), 1) == -EINVAL);
	CHECK(call(CLUNK, "4", 2) == 0);
}

static void test_symlinks(void)
{
	char target[300];

	CHECK(call(SYMLINK, "4ss4", ROOT, "link", "../secret", (unsigned)getgid()) == 0);
	CHECK(walk(ROOT, 2, "link") == 0 && call(READLINK, "4", 2) == 0);
	p9_get_string(&answer, target, sizeof(target));
	CHECK(!strcmp(target, "../secret") && S_ISLNK(mode_of(2)));
	CHECK(call(CLUNK, "4", 2) == 0);
}

// "secret" lies beside the tree.
static void test_escape(void)
{
	static const char *const names[] = {"../secret", "/etc/passwd", "dir/../../secret", "a/b", "", "."};

	CHECK(symlink("../secret", host("tree/out")) == 0 && symlink("..", host("tree/up")) == 0);
	CHECK(symlink("/proc/self/fd", host("tree/fds")) == 0);
	CHECK(walk(ROOT, 2, "..") == 0 && walk(2, 3, "secret") == -ENOENT && call(CLUNK, "4", 2) == 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK(walk(ROOT, 2, names[i]) < 0 || (!strcmp(names[i], ".") && call(CLUNK, "4", 2) == 0));
		CHECK(call(MKDIR, "4s44", ROOT, names[i], 0700, 0) < 0);
		CHECK(call(UNLINKAT, "4s4", ROOT, names[i], 0) < 0);
		CHECK(call(RENAMEAT, "4s4s", ROOT, "out", ROOT, names[i]) < 0);
		CHECK(call(SYMLINK, "4ss4", ROOT, names[i], "x", 0) < 0);
		CHECK(call(WALK, "442", ROOT, 2, 0) == 0 && call(LCREATE, "4s444", 2, names[i], 0101u, 0600, 0) < 0);
		CHECK(call(CLUNK, "4", 2) == 0);
	}
	CHECK(walk(ROOT, 2, "out") == 0 && call(LOPEN, "44", 2, 0) == -ELOOP);
	CHECK(call(SETATTR, "4444488888", 2, 8, 0, 0, 0, UINT64_C(0), UINT64_C(0), UINT64_C(0), UINT64_C(0),
		   UINT64_C(0)) == -EINVAL);
	CHECK(call(CLUNK, "4", 2) == 0);
	CHECK(call(WALK, "442ss", ROOT, 2, 2, "up", "secret") == 0 && p9_get16(&answer) == 1); // the link, and no further
	CHECK(call(WALK, "442ss", ROOT, 2, 2, "fds", "0") == 0 && p9_get16(&answer) == 1);
	CHECK(call(WALK, "442", ROOT, 2, 0) == 0);
	CHECK(call(LCREATE, "4s444", 2, "out", 01102u, 0600, 0) < 0); // not through the link
	CHECK(call(CLUNK, "4", 2) == 0);

	// A directory that leaves the tree while it is held: its ".." is not the host's.
	CHECK(mkdir(host("tree/dir"), 0700) == 0 && walk(ROOT, 2, "dir") == 0);
	CHECK(walk(2, 3, "..") == 0 && walk(3, 4, "dir") == 0 && call(CLUNK, "4", 3) == 0 && call(CLUNK, "4", 4) == 0);
	CHECK(rename(host("tree/dir"), host("dir")) == 0);
	CHECK(walk(2, 3, "..") < 0);
	CHECK(call(RENAME, "44s", 2, ROOT, "taken") < 0 && call(REMOVE, "4", 2) < 0);
	CHECK(rmdir(host("dir")) == 0);
	CHECK(call(REMOVE, "4", ROOT) < 0 && access(host("tree"), F_OK) == 0);
	CHECK(call(ATTACH, "44ss4", ROOT, NOFID, "user", "", 1000u) == 0);
	CHECK(contains("secret", "secret"));
}

static int lock(unsigned fid, unsigned type, uint64_t at, uint64_t n)
{
	int r = call(LOCK, "41488" "4s", fid, type, 0, at, n, 7, "client");

	return r < 0 ? r : p9_get8(&answer);
}

static void test_locks(void)
{
	put("tree/locked", "0123456789");
	for (unsigned fid = 2; fid < 4; fid++)
		CHECK(walk(ROOT, fid, "locked") == 0 && call(LOPEN, "44", fid, 2) == 0);
	CHECK(lock(2, 1, 0, 5) == 0 && lock(3, 1, 5, 5) == 0);
	CHECK(lock(3, 0, 4, 1) == 1 && lock(3, 1, 0, 0) == 1); // blocked
	CHECK(call(GETLOCK, "41884s", 3, 0, UINT64_C(0), UINT64_C(0), 7, "client") == 0);
	CHECK(p9_get8(&answer) == 1 && p9_get64(&answer) == 0 && p9_get64(&answer) == 5);
	CHECK(lock(2, 2, 0, 5) == 0 && lock(3, 0, 4, 1) == 0);
	CHECK(call(GETLOCK, "41884s", 2, 1, UINT64_C(0), UINT64_C(2), 7, "client") == 0 && p9_get8(&answer) == 2);
	CHECK(lock(2, 1, INT64_MAX, INT64_MAX) == -EINVAL && lock(2, 9, 0, 0) == -EINVAL);
	CHECK(call(CLUNK, "4", 3) == 0 && lock(2, 1, 0, 0) == 0); // its locks have gone with it
	CHECK(call(CLUNK, "4", 2) == 0);
}

static bool has_xattrs(void)
{
	put("tree/probe", "");
	return setxattr(host("tree/probe"), "user.probe", "x", 1, 0) == 0;
}

static void test_xattrs(void)
{
	put("tree/attributes", "");
	CHECK(walk(ROOT, 2, "attributes") == 0 && walk(ROOT, 3, "attributes") == 0);
	CHECK(call(XATTRCREATE, "4s84", 3, "user.colour", UINT64_C(3), 0) == 0);
	CHECK(call(WRITE, "48b", 3, UINT64_C(0), "blue") == -ENOSPC && call(WRITE, "48b", 3, UINT64_C(0), "red") == 0);
	CHECK(call(CLUNK, "4", 3) == 0);
	CHECK(call(XATTRWALK, "44s", 2, 3, "user.colour") == 0 && p9_get64(&answer) == 3 && read_is(3, "red"));
	CHECK(call(READ, "484", 3, UINT64_MAX, 10) == 0 && p9_get32(&answer) == 0 && call(CLUNK, "4", 3) == 0);
	CHECK(call(XATTRWALK, "44s", 2, 3, "") == 0 && p9_get64(&answer) >= 12 && call(CLUNK, "4", 3) == 0);
	CHECK(call(XATTRWALK, "44s", 2, 3, "user.none") == -ENODATA);
	CHECK(call(XATTRCREATE, "4s84", 2, "user.huge", UINT64_MAX, 0) == -E2BIG);
	CHECK(call(CLUNK, "4", 2) == 0);
}

// Owners, modes and kinds in attributes of plain files.
static void test_mapped(void)
{
	struct stat st;
	uint32_t v;

	CHECK(call(WALK, "442", ROOT, 2, 0) == 0);
	CHECK(call(LCREATE, "4s444", 2, "mapped", 0102u, 04755u, 77u) == 0 && mode_of(2) == (S_IFREG | 04755));
	CHECK(p9_get32(&answer) == 1000 && p9_get32(&answer) == 77);
	CHECK(stat(host("tree/mapped"), &st) == 0 && (st.st_mode & 07777) == 0600);
	CHECK(getxattr(host("tree/mapped"), "user.virtfs.uid", &v, 4) == 4 && v == 1000);
	CHECK(call(CLUNK, "4", 2) == 0 && walk(ROOT, 2, "mapped") == 0);
	CHECK(call(XATTRWALK, "44s", 2, 3, "user.virtfs.uid") == -ENODATA); // not the guest's to see
	CHECK(call(XATTRWALK, "44s", 2, 3, "") == 0 && p9_get64(&answer) == 0 && call(CLUNK, "4", 3) == 0);
	CHECK(call(XATTRCREATE, "4s84", 2, "user.virtfs.mode", UINT64_C(4), 0) == -EPERM);
	CHECK(call(XATTRCREATE, "4s84", 2, "security.capability", UINT64_C(4), 0) == -EOPNOTSUPP);
	CHECK(call(CLUNK, "4", 2) == 0);
	CHECK(call(MKNOD, "4s4444", ROOT, "device", (unsigned)S_IFCHR | 0666u, 1, 3, 0) == 0);
	CHECK(walk(ROOT, 2, "device") == 0 && mode_of(2) == (S_IFCHR | 0666) && call(CLUNK, "4", 2) == 0);
	CHECK(stat(host("tree/device"), &st) == 0 && S_ISREG(st.st_mode));
	CHECK(call(SYMLINK, "4ss4", ROOT, "mapped-link", "/etc/passwd", 0) == 0);
	CHECK(lstat(host("tree/mapped-link"), &st) == 0 && S_ISREG(st.st_mode));
	CHECK(contains("tree/mapped-link", "/etc/passwd"));
	CHECK(walk(ROOT, 2, "mapped-link") == 0 && S_ISLNK(mode_of(2)) && call(READLINK, "4", 2) == 0 &&
	      p9_get16(&answer) == 11);
	CHECK(call(CLUNK, "4", 2) == 0);
}

static void test_readonly(void)
{
	put("tree/fixed", "fixed");
	CHECK(walk(ROOT, 2, "fixed") == 0);
	CHECK(call(LOPEN, "44", 2, 1) == -EROFS && call(LOPEN, "44", 2, 01000u) == -EROFS);
	CHECK(call(SETATTR, "4444488888", 2, 8, 0, 0, 0, UINT64_C(0), UINT64_C(0), UINT64_C(0), UINT64_C(0),
		   UINT64_C(0)) == -EROFS);
	CHECK(call(MKDIR, "4s44", ROOT, "d", 0700, 0) == -EROFS && call(UNLINKAT, "4s4", ROOT, "fixed", 0) == -EROFS);
	CHECK(call(RENAMEAT, "4s4s", ROOT, "fixed", ROOT, "x") == -EROFS && call(LINK, "44s", ROOT, 2, "x") == -EROFS);
	CHECK(call(SYMLINK, "4ss4", ROOT, "x", "y", 0) == -EROFS);
	CHECK(call(MKNOD, "4s4444", ROOT, "x", (unsigned)S_IFREG, 0, 0, 0) == -EROFS);
	CHECK(call(XATTRCREATE, "4s84", 2, "user.x", UINT64_C(1), 0) == -EROFS);
	CHECK(call(RENAME, "44s", 2, ROOT, "x") == -EROFS);
	CHECK(call(WALK, "442", ROOT, 3, 0) == 0 && call(LCREATE, "4s444", 3, "x", 0101u, 0600, 0) == -EROFS);
	CHECK(call(LOPEN, "44", 2, 0) == 0 && read_is(2, "fixed"));
	CHECK(walk(ROOT, 4, "fixed") == 0 && call(REMOVE, "4", 4) == -EROFS && contains("tree/fixed", "fixed"));
}

// Each message that there is, cut at each byte: an error or an answer, and nothing read that was not sent.
static void test_cut(void)
{
	static const struct {
		unsigned type;
		size_t size;
	} messages[] = {{STATFS, 4}, {LOPEN, 8}, {LCREATE, 20}, {SYMLINK, 14}, {MKNOD, 26}, {RENAME, 14}, {READLINK, 4},
			{GETATTR, 12}, {SETATTR, 56}, {XATTRWALK, 14}, {XATTRCREATE, 22}, {READDIR, 16}, {FSYNC, 8},
			{LOCK, 36}, {GETLOCK, 36}, {LINK, 14}, {MKDIR, 18}, {RENAMEAT, 20}, {UNLINKAT, 14}, {ATTACH, 20},
			{FLUSH, 2}, {WALK, 20}, {READ, 16}, {WRITE, 30}, {CLUNK, 4}, {REMOVE, 4}};

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		for (uint32_t n = 0; n < 7 + messages[i].size; n++) {
			uint8_t *m = malloc(n ? n : 1); // so that a sanitizer sees the end

			memset(m, 0xff, n);
			memcpy(m, &n, MIN(n, 4u));
			if (n > 4)
				m[4] = (uint8_t)messages[i].type;
			CHECK(p9_handle(s, m, n, reply, sizeof(reply)) == (n < 7 ? 0u : 11u) || messages[i].type == FLUSH);
			free(m);
		}
	CHECK(p9_handle(s, request, 7, reply, 10) == 0);
}

static uint64_t seed = 88172645463325252;

static uint32_t any(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static void random_message(struct p9_out *out)
{
	static const char *const names[] = {"a",   "b",   "..",  ".",         "",     "out",
					    "up",  "dir", "a/b", "../secret", "many", "user.x"};
	static const uint8_t types[] = {STATFS, LOPEN, LCREATE, SYMLINK, MKNOD, RENAME, READLINK, GETATTR, SETATTR,
					XATTRWALK, XATTRCREATE, READDIR, FSYNC, LOCK, GETLOCK, LINK, MKDIR, RENAMEAT,
					UNLINKAT, ATTACH, FLUSH, WALK, READ, WRITE, CLUNK, REMOVE};
	unsigned pieces = any() % 9;

	p9_put32(out, 0);
	p9_put8(out, any() % 50 ? types[any() % sizeof(types)] : (uint8_t)any());
	p9_put16(out, 0);
	p9_put32(out, any() % 8);
	while (pieces--)
		switch (any() % 5) {
		case 0: p9_put32(out, any() % 8); break;
		case 1: p9_put32(out, any() >> any() % 32); break;
		case 2: p9_put16(out, any() % 4); break;
		case 3: p9_put64(out, (uint64_t)any() << any() % 40); break;
		case 4: p9_put_string(out, names[any() % ARRAY_SIZE(names)]); break;
		}
}

static void test_random(unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint8_t m[512];
		struct p9_out out = {.start = m, .room = sizeof(m)};
		uint32_t size;
		size_t n;

		random_message(&out);
		size = any() % 100 ? (uint32_t)out.size : any();
		memcpy(m, &size, 4);
		if (any() % 1000 == 0)
			p9_reset(s);
		if (any() % 200 == 0) {
			call(VERSION, "4s", 4096 + any() % 9000, "9P2000.L");
			call(ATTACH, "44ss4", ROOT, NOFID, "user", "", 0u);
		}
		n = p9_handle(s, m, out.size, reply, 11 + any() % 9000);
		CHECK(n >= 7 && n <= 11 + 9000);
	}
	CHECK(contains("secret", "secret"));
}

static unsigned open_descriptors(void);

// Far more fids than descriptors for them: what they name is found again, through what the client renames and removes.
static void test_many(void)
{
	enum { DIR_FID = 4000, FIRST = 5000, MANY = 3000 };
	char name[40];
	unsigned before = open_descriptors();

	CHECK(call(MKDIR, "4s44", ROOT, "crowd", 0755u, 0u) == 0 && walk(ROOT, DIR_FID, "crowd") == 0);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "tree/crowd/%u", i);
		put(name, name);
		CHECK(walk(DIR_FID, FIRST + i, name + strlen("tree/crowd/")) == 0);
	}
	CHECK(!handles || open_descriptors() <= before + handles + 2);
	CHECK(call(UNLINKAT, "4s4", DIR_FID, "7", 0u) == 0); // still its fid's
	CHECK(call(RENAMEAT, "4s4s", DIR_FID, "8", DIR_FID, "9") == 0); // 9 is gone, but for its fid
	CHECK(call(RENAMEAT, "4s4s", ROOT, "crowd", ROOT, "moved") == 0);
	CHECK(rename(host("tree/moved/20"), host("tree/moved/x")) == 0); // by the host
	put("tree/moved/20", "another");
	for (unsigned i = 0; i < MANY; i++) {
		int r = call(GETATTR, "48", FIRST + i, UINT64_C(0));

		CHECK(r == 0 || (i == 20 && r == -EBADF));
	}
	CHECK(call(LOPEN, "44", FIRST + 8, 0u) == 0 && call(READ, "484", FIRST + 8, UINT64_C(0), 100u) == 0);
	CHECK(p9_get32(&answer) == 12 && !memcmp(answer.at, "tree/crowd/8", 12));
	CHECK(call(REMOVE, "4", FIRST + 30) == 0 && access(host("tree/moved/30"), F_OK) < 0);
	for (unsigned i = 0; i < MANY; i++)
		CHECK(i == 30 || call(CLUNK, "4", FIRST + i) == 0);
	CHECK(call(CLUNK, "4", DIR_FID) == 0);
	CHECK(open_descriptors() <= before);
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void test_properties(void)
{
	static const struct {
		const char *key, *value;
		int r;
	} cases[] = {{"security_model", "mapped-file", -EINVAL}, {"security_model", "mapped", 0}, {"multidevs", "remap", 0},
		     {"multidevs", "some", -EINVAL}, {"readonly", "on", 0}, {"readonly", "", 0}, {"readonly", "ro", -EINVAL},
		     {"fmode", "0640", 0}, {"fmode", "8", -EINVAL}, {"path", "", -EINVAL}, {"writeout", "immediate", -EINVAL},
		     {"colour", "red", -ENOENT}};
	struct p9_config c;
	struct p9 *none;
	char err[300];

	p9_config_init(&c);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		CHECK(p9_config_prop(&c, cases[i].key, cases[i].value, err, sizeof(err)) == cases[i].r);
	CHECK(c.readonly && c.model == P9_MAPPED && p9_config_check(&c, err, sizeof(err)) == -EINVAL);
	CHECK(p9_config_prop(&c, "path", "/nowhere/at/all", err, sizeof(err)) == 0 &&
	      p9_config_check(&c, err, sizeof(err)) == 0);
	CHECK(p9_open(&none, &c, err, sizeof(err)) == -ENOENT && strstr(err, "/nowhere/at/all") && !none);
}

int main(int argc, char **argv)
{
	unsigned before = open_descriptors(), rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 200000;
	char command[600];

	CHECK(mkdtemp(base) != NULL);
	CHECK(mkdir(host("tree"), 0755) == 0);
	put("secret", "secret");
	test_properties();
	for (handles = 0; handles <= 4; handles += 4) {
		start(P9_NONE, false);
		test_files();
		test_directory();
		test_symlinks();
		test_escape();
		test_locks();
		test_cut();
		if (has_xattrs())
			test_xattrs();
		test_many();
		stop();
		snprintf(command, sizeof(command), "rm -rf %s/tree/*", base);
		CHECK(system(command) == 0);
	}
	if (has_xattrs()) {
		start(P9_MAPPED, false);
		test_mapped();
		stop();
	} else {
		printf("no user attributes in /tmp: mapped-xattr is not tested here\n");
	}
	start(P9_NONE, true);
	test_readonly();
	stop();
	for (int i = 0; i < 2; i++) {
		start(i ? P9_MAPPED : P9_NONE, false);
		test_random(rounds / 2);
		stop();
	}
	CHECK(open_descriptors() == before);
	snprintf(command, sizeof(command), "chmod -R u+rwX %s; rm -rf %s", base, base);
	CHECK(system(command) == 0);
	return failures != 0;
}
