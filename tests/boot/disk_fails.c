// SPDX-License-Identifier: MIT
//
// A host disk that fails, for LD_PRELOAD: transfers that touch the megabyte at FAIL_AT (bytes) end with EIO (if
// FAIL_WHILE is set: as long as that file exists), and so does every fdatasync once the file FAIL_FLUSH exists.
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_bad(off_t at, const struct iovec *v, int n)
{
	off_t bad = atoll(getenv("FAIL_AT")), end = at;

	for (int i = 0; i < n; i++)
		end += (off_t)v[i].iov_len;
	errno = EIO;
	if (getenv("FAIL_WHILE") && access(getenv("FAIL_WHILE"), F_OK))
		return 0;
	return at < bad + (1 << 20) && end > bad;
}

ssize_t preadv2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	return is_bad(at, v, n) ? -1 : syscall(SYS_preadv2, fd, v, n, at, 0, flags);
}

ssize_t preadv(int fd, const struct iovec *v, int n, off_t at)
{
	return preadv2(fd, v, n, at, 0);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	return is_bad(at, v, n) ? -1 : syscall(SYS_pwritev, fd, v, n, at, 0);
}

// With -D_FILE_OFFSET_BITS=64 a program calls these.
ssize_t preadv64v2(int fd, const struct iovec *v, int n, off_t at, int flags) __attribute__((alias("preadv2")));
ssize_t preadv64(int fd, const struct iovec *v, int n, off_t at) __attribute__((alias("preadv")));
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) __attribute__((alias("pwritev")));

int fdatasync(int fd)
{
	if (access(getenv("FAIL_FLUSH"), F_OK) == 0) {
		errno = EIO;
		return -1;
	}
	return (int)syscall(SYS_fdatasync, fd);
}
