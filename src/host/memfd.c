// SPDX-License-Identifier: MIT
//
// Memory files: created sealed, so that no side can be sent SIGBUS by the other shrinking one, and mapped with
// MAP_FIXED_NOREPLACE, so that an occupied address is an error and never a mapping lost.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "host/memfd.h"

int host_memfd_create(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int host_map_fixed(int fd, uint64_t addr, uint64_t size, uint64_t offset)
{
	void *want = (void *)(uintptr_t)addr;
	void *got = mmap(want, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED_NOREPLACE, fd,
			 (off_t)offset);

	if (got == MAP_FAILED)
		return -errno;
	if (got != want) { // a kernel before 4.17 takes the flag for a hint
		munmap(got, size);
		return -EEXIST;
	}
	return 0;
}

void host_unmap(uint64_t addr, uint64_t size)
{
	munmap((void *)(uintptr_t)addr, size);
}

int host_memfd_zero(int fd, uint64_t offset, uint64_t size)
{
	if (!size)
		return 0;
	return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) < 0 ? -errno : 0;
}

int host_memfd_take(int fd, uint64_t size)
{
	return fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 ? -errno : 0;
}

uint64_t host_memory_total(void)
{
	struct sysinfo si;

	if (sysinfo(&si) < 0)
		return UINT64_MAX;
	return ((uint64_t)si.totalram + si.totalswap) * si.mem_unit;
}
