/* SPDX-License-Identifier: MIT */
/*
 * Memory as the kernel moves it about under a process: mremap, madvise, protections, large pages, big and growing
 * stacks, files mapped shared and private, the heap; content checked after each change of the page tables.
 */
#include <fcntl.h>
#include <sys/resource.h>

#include "catch.h"

enum { PAGE = 4096, MEGABYTE = 1 << 20 };

static uint8_t *map(size_t size)
{
	return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void fill(uint8_t *p, size_t size, uint64_t seed)
{
	uint64_t *words = (uint64_t *)p;
	size_t i;

	for (i = 0; i < size / 8; i++)
		words[i] = next_random(&seed);
}

static uint64_t sum(const uint8_t *p, size_t size)
{
	const uint64_t *words = (const uint64_t *)p;
	uint64_t h = 0;
	size_t i;

	for (i = 0; i < size / 8; i++)
		h = (h << 7 | h >> 57) + words[i];
	return h;
}

static void touch(void *at, void *unused)
{
	(void)unused;
	*(volatile uint8_t *)at = 1;
}

static void peek(void *at, void *unused)
{
	(void)unused;
	(void)*(volatile uint8_t *)at;
}

static void test_mremap(void)
{
	uint8_t *p = map(64 * PAGE), *blocker;
	size_t size = 64 * PAGE;
	int i, faults = 0;

	fill(p, size, 1);
	for (i = 0; i < 6; i++) {
		uint8_t *old = p;

		blocker = mmap(p + size, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		p = mremap(p, size, size * 2, MREMAP_MAYMOVE);
		fill(p + size, size, i + 2);
		size *= 2;
		if (p != old)
			faults += catch_run(peek, old, NULL) == SIGSEGV;
		else
			faults++;
		munmap(blocker, PAGE);
	}
	printf("mremap: %zu bytes, sum %016jx, old places gone %d\n", size, sum(p, size), faults);
	p = mremap(p, size, PAGE, 0);
	printf("shrunk: %d %d\n", catch_run(peek, p + PAGE - 1, NULL), catch_run(peek, p + PAGE, NULL));
}

static void test_advice(void)
{
	uint8_t *p = map(32 * PAGE);
	int i;

	fill(p, 32 * PAGE, 7);
	for (i = 0; i < 32; i += 3)
		madvise(p + i * PAGE, PAGE, MADV_DONTNEED);
	printf("after MADV_DONTNEED %016jx\n", sum(p, 32 * PAGE));
	fill(p, 32 * PAGE, 8);
	printf("filled again %016jx\n", sum(p, 32 * PAGE));
}

static void test_protection(void)
{
	uint8_t *p = map(16 * PAGE);
	int i, faults = 0, count = 0;

	fill(p, 16 * PAGE, 9);
	for (i = 0; i < 3000; i++) {
		uint8_t *at = p + (i * 7 % 16) * PAGE + i % PAGE;
		int protection = i % 3 == 0 ? PROT_NONE : i % 3 == 1 ? PROT_READ : PROT_READ | PROT_WRITE;

		mprotect(p + (i * 7 % 16) * PAGE, PAGE, protection);
		faults += catch_run(i & 1 ? touch : peek, at, NULL) != 0;
		count += (protection == PROT_NONE) || (protection == PROT_READ && (i & 1));
	}
	check(faults == count, "every access was judged by the protection of the moment: %d of %d", faults, count);
	mprotect(p, 16 * PAGE, PROT_READ);
	printf("content %016jx\n", sum(p, 16 * PAGE));
}

static void test_large_pages(void)
{
	uint8_t *p = map(12 * MEGABYTE), *large = (uint8_t *)(((uintptr_t)p + 2 * MEGABYTE - 1) & -2l * MEGABYTE);

	madvise(large, 8 * MEGABYTE, MADV_HUGEPAGE);
	fill(large, 8 * MEGABYTE, 10);
	printf("large pages %016jx\n", sum(large, 8 * MEGABYTE));
	mprotect(large + 5 * PAGE, PAGE, PROT_READ); /* splits one */
	printf("split: %s, %s\n", catch_name(catch_run(touch, large + 5 * PAGE, NULL)),
	       catch_name(catch_run(touch, large + 6 * PAGE, NULL)));
	munmap(large + 2 * MEGABYTE + 3 * PAGE, PAGE);
	printf("hole: %s, %s\n", catch_name(catch_run(peek, large + 2 * MEGABYTE + 3 * PAGE, NULL)),
	       catch_name(catch_run(peek, large + 2 * MEGABYTE + 4 * PAGE, NULL)));
	madvise(large + 4 * MEGABYTE, 2 * MEGABYTE, MADV_DONTNEED);
	printf("dropped %016jx\n", sum(large + 4 * MEGABYTE, 4 * MEGABYTE));
	munmap(p, 12 * MEGABYTE);
}

static uint64_t __attribute__((noinline)) descend(int depth, uint64_t seed)
{
	volatile uint64_t frame[500];
	uint64_t below;

	frame[depth % 500] = seed;
	if (depth == 0)
		return seed;
	below = descend(depth - 1, seed * 6364136223846793005ull + 1);
	return below ^ frame[depth % 500];
}

static void test_stack(void)
{
	printf("deep stack %016jx\n", descend(1500, 1));
	printf("again %016jx\n", descend(1700, 2));
}

static void test_files(void)
{
	int fd = memfd_create("file", 0);
	uint8_t *shared, *again, *private, buffer[PAGE];
	size_t i, wrong = 0;

	if (ftruncate(fd, 64 * PAGE))
		return;
	shared = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	again = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	private = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	fill(shared, 64 * PAGE, 11);
	wrong += sum(again, 64 * PAGE) != sum(shared, 64 * PAGE);
	private[0] ^= 1;
	for (i = 0; i < 64; i++) {
		again[i * PAGE + 8] = (uint8_t)i;
		wrong += shared[i * PAGE + 8] != (uint8_t)i;
		wrong += pread(fd, buffer, PAGE, i * PAGE) != PAGE || memcmp(buffer, shared + i * PAGE, PAGE);
		buffer[9] = (uint8_t)~i;
		wrong += pwrite(fd, buffer, PAGE, i * PAGE) != PAGE || again[i * PAGE + 9] != (uint8_t)~i;
	}
	wrong += private[1] != shared[1] || private[0] == shared[0];
	check(!wrong, "a file's mappings agree: %zu wrong", wrong);
	printf("file %016jx\n", sum(shared, 64 * PAGE));
	if (ftruncate(fd, PAGE))
		return;
	printf("cut short: %s\n", catch_name(catch_run(peek, shared + 2 * PAGE, NULL)));
}

static void test_heap(void)
{
	uint8_t *blocks[200];
	uint64_t random = 3, h = 0;
	size_t i, sizes[200];

	for (i = 0; i < COUNT(blocks); i++) {
		sizes[i] = (next_random(&random) % (i % 10 ? 3000 : 300000) + 16) & ~7ul;
		blocks[i] = malloc(sizes[i]);
		fill(blocks[i], sizes[i], i + 1);
	}
	for (i = 0; i < COUNT(blocks); i += 2)
		free(blocks[i]);
	for (i = 1; i < COUNT(blocks); i += 2) {
		blocks[i] = realloc(blocks[i], sizes[i] * 3);
		h += sum(blocks[i], sizes[i]);
	}
	printf("heap %016jx\n", h);
}

/* Strides over more pages than a TLB holds, twice. */
static void test_sweep(void)
{
	size_t size = 48 * MEGABYTE, i;
	uint8_t *p = map(size);
	uint64_t h = 0;

	for (i = 0; i < size; i += PAGE)
		*(uint64_t *)(p + i + i / PAGE % 500 * 8) = i;
	for (i = 0; i < size; i += PAGE)
		h = h * 31 + *(uint64_t *)(p + i + i / PAGE % 500 * 8);
	printf("sweep %016jx\n", h);
	munmap(p, size);
}

int main(void)
{
	catch_init();
	test_mremap();
	test_advice();
	test_protection();
	test_large_pages();
	test_stack();
	test_files();
	test_heap();
	test_sweep();
}
