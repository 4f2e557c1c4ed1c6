// SPDX-License-Identifier: MIT
//
// What POSIX says of permissions, links, names, renames, removal, sizes, times, directories and attributes, asked of
// the present directory: a shared folder, mounted by root in a guest. Each group works in a directory of its own.
// Prints what is wrong; status 0 if nothing is.
//   posix [devices] DIRECTORY/posix
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static int failures, checks;

#define OK(x) (checks++, (x) ? (void)0 : (void)(failures++, printf("posix.c:%d: %s: errno %d\n", __LINE__, #x, errno)))
#define FAILS(error, x) \
	(checks++, errno = 0, (x) == -1 && errno == (error) ? (void)0 : \
	 (void)(failures++, printf("posix.c:%d: %s: errno %d, not %s\n", __LINE__, #x, errno, #error)))

static struct stat of(const char *path)
{
	struct stat st = {0};

	OK(lstat(path, &st) == 0);
	return st;
}

static int make(const char *path, mode_t mode, const char *content)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, mode);

	OK(fd >= 0 && write(fd, content, strlen(content)) == (ssize_t)strlen(content));
	close(fd);
	return fd;
}

static bool holds(const char *path, const char *content)
{
	char text[256] = "";
	int fd = open(path, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	return n == (ssize_t)strlen(content) && !strcmp(text, content);
}

// Run f as somebody who is not root; its failures are ours.
static void as(uid_t uid, void (*f)(void))
{
	int status = 0;

	fflush(stdout);
	if (fork() == 0) {
		failures = 0;
		OK(setgid(uid) == 0 && setuid(uid) == 0);
		f();
		fflush(stdout);
		_exit(failures > 100 ? 100 : failures);
	}
	wait(&status);
	checks++;
	failures += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void stranger(void)
{
	FAILS(EACCES, open("private", O_RDONLY));
	FAILS(EACCES, open("readable", O_WRONLY));
	OK(holds("readable", "text"));
	FAILS(EACCES, open("closed/inside", O_RDONLY));
	FAILS(EACCES, creat("new", 0644));
	FAILS(EACCES, mkdir("newdir", 0755));
	FAILS(EACCES, unlink("readable"));
	FAILS(EACCES, rename("readable", "moved"));
	FAILS(EPERM, chmod("readable", 0777));
	FAILS(EPERM, chown("readable", 1000, 1000));
	FAILS(EPERM, unlink("sticky/roots"));
	FAILS(EACCES, symlink("x", "link"));
	make("sticky/mine", 0640, "mine");
	OK(of("sticky/mine").st_uid == 1000 && of("sticky/mine").st_gid == 1000);
	OK(mkdir("sticky/dir", 0750) == 0 && of("sticky/dir").st_uid == 1000);
	OK(symlink("mine", "sticky/link") == 0 && of("sticky/link").st_uid == 1000);
	OK(chmod("sticky/mine", 0600) == 0 && (of("sticky/mine").st_mode & 07777) == 0600);
	FAILS(EPERM, chown("sticky/mine", 0, -1));
	OK(unlink("sticky/mine") == 0 && rmdir("sticky/dir") == 0 && unlink("sticky/link") == 0);
}

static void permissions(void)
{
	make("private", 0600, "secret");
	make("readable", 0644, "text");
	OK(mkdir("closed", 0700) == 0 && mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0);
	make("closed/inside", 0666, "");
	make("sticky/roots", 0666, "");
	as(1000, stranger);
	for (mode_t mode = 0; mode < 010000; mode += 0421)
		OK(chmod("private", mode) == 0 && (of("private").st_mode & 07777) == mode);
	OK(chown("private", 12, 34) == 0 && of("private").st_uid == 12 && of("private").st_gid == 34);
	OK(chown("private", -1, 56) == 0 && of("private").st_uid == 12 && of("private").st_gid == 56);
	OK(chmod("private", 06755) == 0 && chown("private", 0, 0) == 0 && !(of("private").st_mode & 06000));
	OK(mkdir("group", 0755) == 0 && chown("group", 0, 77) == 0 && chmod("group", 02755) == 0);
	make("group/file", 0644, "");
	OK(of("group/file").st_gid == 77);
	OK(mkdir("group/dir", 0755) == 0 && of("group/dir").st_gid == 77 && (of("group/dir").st_mode & 02000));
	umask(027);
	make("masked", 0666, "");
	OK((of("masked").st_mode & 0777) == 0640 && mkdir("masks", 0777) == 0 && (of("masks").st_mode & 0777) == 0750);
	umask(022);
}

static void links(void)
{
	char name[300], target[1100];
	char back[PATH_MAX];

	make("a", 0644, "same");
	OK(link("a", "b") == 0 && of("a").st_nlink == 2 && of("a").st_ino == of("b").st_ino && holds("b", "same"));
	FAILS(EEXIST, link("a", "b"));
	FAILS(ENOENT, link("none", "c"));
	FAILS(EPERM, link(".", "dirlink"));
	OK(chmod("a", 0600) == 0 && (of("b").st_mode & 0777) == 0600);
	OK(unlink("a") == 0 && of("b").st_nlink == 1 && holds("b", "same"));
	OK(symlink("b", "s") == 0 && holds("s", "same") && readlink("s", back, sizeof(back)) == 1 && *back == 'b');
	OK(S_ISLNK(of("s").st_mode) && of("s").st_size == 1);
	FAILS(EEXIST, symlink("x", "s"));
	FAILS(EINVAL, readlink("b", back, sizeof(back)));
	FAILS(ELOOP, open("s", O_RDONLY | O_NOFOLLOW));
	OK(symlink("nowhere", "dangling") == 0);
	FAILS(ENOENT, open("dangling", O_RDONLY));
	OK(symlink("l2", "l1") == 0 && symlink("l1", "l2") == 0);
	FAILS(ELOOP, open("l1", O_RDONLY));
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = 0;
	OK(symlink(target, "long") == 0 && readlink("long", back, sizeof(back)) == (ssize_t)strlen(target));
	memset(name, 'n', sizeof(name));
	name[256] = 0;
	FAILS(ENAMETOOLONG, creat(name, 0644));
	name[255] = 0;
	make(name, 0644, "255");
	OK(holds(name, "255") && unlink(name) == 0);
	make("with space, \\ and \xc3\xa4\n", 0644, "");
	OK(unlink("with space, \\ and \xc3\xa4\n") == 0);
}

static void renames(void)
{
	int fd;

	make("a", 0644, "A");
	make("b", 0644, "B");
	fd = open("b", O_RDONLY);
	OK(rename("a", "b") == 0 && holds("b", "A") && access("a", F_OK) == -1);
	OK(pread(fd, (char[2]){0}, 2, 0) == 1); // what it replaced lives on
	close(fd);
	OK(mkdir("d", 0755) == 0 && mkdir("d/sub", 0755) == 0 && mkdir("empty", 0755) == 0 && mkdir("full", 0755) == 0);
	make("full/x", 0644, "");
	OK(rename("d", "empty") == 0 && access("empty/sub", F_OK) == 0);
	FAILS(ENOTEMPTY, rename("empty", "full"));
	FAILS(ENOTDIR, rename("empty", "b"));
	FAILS(EISDIR, rename("b", "empty"));
	FAILS(EINVAL, rename("empty", "empty/sub/deeper"));
	FAILS(ENOENT, rename("none", "c"));
	OK(link("b", "c") == 0 && rename("b", "c") == 0 && access("b", F_OK) == 0 && unlink("b") == 0);
	fd = open("c", O_RDWR);
	OK(rename("c", "full/c") == 0 && pwrite(fd, "moved", 5, 0) == 5 && holds("full/c", "moved"));
	OK(rename("full", "fuller") == 0 && pwrite(fd, "again", 5, 0) == 5 && holds("fuller/c", "again"));
	close(fd);
}

static void removal(void)
{
	char text[8] = "";
	int fd;

	OK(mkdir("d", 0755) == 0);
	make("d/f", 0644, "x");
	FAILS(ENOTEMPTY, rmdir("d"));
	FAILS(EISDIR, unlink("d"));
	FAILS(ENOTDIR, rmdir("d/f"));
	FAILS(ENOTDIR, open("d/f/g", O_RDONLY));
	FAILS(ENOENT, unlink("none"));
	fd = open("d/f", O_RDWR);
	OK(unlink("d/f") == 0 && rmdir("d") == 0 && access("d", F_OK) == -1);
	OK(pwrite(fd, "alive", 5, 0) == 5 && pread(fd, text, 5, 0) == 5 && !strcmp(text, "alive"));
	close(fd);
}

static void special(bool devices)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX, .sun_path = "socket"};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	OK(mkfifo("fifo", 0640) == 0 && S_ISFIFO(of("fifo").st_mode) && (of("fifo").st_mode & 0777) == 0640);
	OK(bind(s, (struct sockaddr *)&sa, sizeof(sa)) == 0 && S_ISSOCK(of("socket").st_mode));
	close(s);
	FAILS(EEXIST, mkfifo("fifo", 0640));
	if (!devices)
		return;
	OK(mknod("null", S_IFCHR | 0666, makedev(1, 3)) == 0 && S_ISCHR(of("null").st_mode));
	OK(of("null").st_rdev == makedev(1, 3) && mknod("block", S_IFBLK | 0600, makedev(8, 1)) == 0);
	OK(S_ISBLK(of("block").st_mode) && unlink("null") == 0 && unlink("block") == 0);
}

static void sizes(void)
{
	char text[16] = "";
	int fd, other;
	char *p;

	make("f", 0644, "0123456789");
	FAILS(EEXIST, open("f", O_CREAT | O_EXCL | O_RDWR, 0644));
	FAILS(ENOTDIR, open("f", O_DIRECTORY | O_RDONLY));
	OK(truncate("f", 4) == 0 && holds("f", "0123") && truncate("f", 6) == 0 && of("f").st_size == 6);
	fd = open("f", O_RDWR | O_APPEND);
	other = open("f", O_WRONLY);
	OK(pread(fd, text, 16, 0) == 6 && !memcmp(text, "0123\0\0", 6));
	OK(write(fd, "end", 3) == 3 && of("f").st_size == 9 && ftruncate(fd, 2) == 0 && write(fd, "x", 1) == 1);
	OK(holds("f", "01x") && pwrite(other, "yy", 2, 1) == 2 && holds("f", "0yy"));
	OK(pwrite(other, "z", 1, (1 << 30) + 5) == 1 && of("f").st_size == (1 << 30) + 6 && of("f").st_blocks < 100);
	OK(fsync(fd) == 0 && fdatasync(other) == 0);
	close(fd);
	close(other);
	fd = open("f", O_RDWR | O_TRUNC);
	OK(fd >= 0 && of("f").st_size == 0 && write(fd, "mapped", 6) == 6);
	p = mmap(NULL, 6, PROT_READ, MAP_PRIVATE, fd, 0);
	OK(p != MAP_FAILED && !memcmp(p, "mapped", 6));
	close(fd);
}

static void times(void)
{
	const struct timespec set[2] = {{981173106, 123456789}, {4000000000, 987654321}};
	const struct timespec omit[2] = {{0, UTIME_OMIT}, {0, UTIME_NOW}};
	struct stat a, b;

	make("f", 0644, "x");
	OK(utimensat(AT_FDCWD, "f", set, 0) == 0);
	a = of("f");
	OK(a.st_atim.tv_sec == 981173106 && a.st_mtim.tv_sec == 4000000000); // Linux' 9P client sets whole seconds
	OK(utimensat(AT_FDCWD, "f", omit, 0) == 0);
	b = of("f");
	OK(b.st_atim.tv_sec == 981173106 && b.st_mtim.tv_sec > 1600000000);
	usleep(20000);
	OK(chmod("f", 0600) == 0);
	a = of("f");
	OK(a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec);
	OK(a.st_ctim.tv_sec > b.st_ctim.tv_sec || a.st_ctim.tv_nsec > b.st_ctim.tv_nsec);
	OK(symlink("f", "s") == 0 && utimensat(AT_FDCWD, "s", set, AT_SYMLINK_NOFOLLOW) == 0);
	OK(of("f").st_atim.tv_nsec == a.st_atim.tv_nsec);
}

static void directories(void)
{
	enum { MANY = 400 };
	char seen[MANY] = {0}, name[32];
	int count = 0, wrong = 0;
	struct dirent *e;
	long place = -1;
	DIR *d;

	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "entry-number-%d", i);
		if (link(i ? "entry-number-0" : "../sizes/f", name) < 0)
			wrong++;
	}
	d = opendir(".");
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, "entry-number-", 13))
			continue;
		if (seen[atoi(e->d_name + 13)]++)
			wrong++;
		if (++count == MANY / 2)
			place = telldir(d);
	}
	OK(count == MANY && !wrong);
	seekdir(d, place);
	for (count = 0; (e = readdir(d));)
		count++;
	OK(count >= MANY / 2 && count <= MANY / 2 + 2);
	rewinddir(d);
	while ((e = readdir(d)))
		if (*e->d_name == 'e' && unlink(e->d_name) < 0)
			wrong++;
	closedir(d);
	OK(!wrong && rmdir("../directories") == 0);
}

static void attributes(void)
{
	struct statvfs v;
	char text[64];

	make("f", 0644, "");
	if (setxattr("f", "user.one", "value", 5, XATTR_CREATE) < 0 && errno == EOPNOTSUPP)
		return;
	OK(getxattr("f", "user.one", text, sizeof(text)) == 5 && !memcmp(text, "value", 5));
	FAILS(EEXIST, setxattr("f", "user.one", "x", 1, XATTR_CREATE));
	FAILS(ENODATA, setxattr("f", "user.two", "x", 1, XATTR_REPLACE));
	FAILS(ERANGE, getxattr("f", "user.one", text, 2));
	FAILS(ENODATA, getxattr("f", "user.virtfs.uid", text, sizeof(text)));
	OK(listxattr("f", text, sizeof(text)) == 9 && !strcmp(text, "user.one"));
	OK(removexattr("f", "user.one") == 0 && listxattr("f", text, sizeof(text)) == 0);
	OK(statvfs(".", &v) == 0 && v.f_bsize && v.f_blocks && v.f_namemax == 255);
}

static void in(const char *name)
{
	OK(chdir("..") == 0 && mkdir(name, 0755) == 0 && chdir(name) == 0);
}

int main(int argc, char **argv)
{
	umask(022);
	OK(mkdir("posix", 0755) == 0 && mkdir("posix/permissions", 0755) == 0 && chdir("posix/permissions") == 0);
	permissions();
	in("links");
	links();
	in("renames");
	renames();
	in("removal");
	removal();
	in("special");
	special(argc > 1);
	in("sizes");
	sizes();
	in("times");
	times();
	in("directories");
	directories();
	OK(chdir("/") == 0 && chdir(argv[argc - 1]) == 0 && mkdir("attributes", 0755) == 0 && chdir("attributes") == 0);
	attributes();
	printf("posix: %d checks, %d failed\n", checks, failures);
	return failures != 0;
}
