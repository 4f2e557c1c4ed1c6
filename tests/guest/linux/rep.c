/* SPDX-License-Identifier: MIT */
/*
 * String instructions and the C library's string functions (each of its variants that the processor has) at every
 * alignment and many sizes, right up to a page that is not there; string instructions that fault half way, in both
 * directions, with 32-bit addresses, overlapping.
 */
#include "catch.h"

enum { PAGE = 4096 };

#ifdef __x86_64__
#define MOVE_WORDS "rep movsq"
#else
#define MOVE_WORDS "rep movsl"
#endif

static uint8_t *low, *high; /* each: two good pages and then nothing */

static uint8_t *guarded(int flags)
{
	uint8_t *p = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	size_t i;

	mprotect(p + 2 * PAGE, PAGE, PROT_NONE);
	for (i = 0; i < 2 * PAGE; i++)
		p[i] = (uint8_t)(i * 7 + i / 251);
	return p;
}

static void test_copies(void)
{
	uint8_t *from = low + 2 * PAGE, *to = high + 2 * PAGE;
	uint64_t h = HASH_START;
	size_t size, gap;

	for (size = 0; size < 700; size += size < 130 ? 1 : 37)
		for (gap = 0; gap < 9; gap += 1 + (size > 130)) {
			memcpy(to - size - gap, from - size, size);
			h = hash(h, to - size - gap, size);
			memmove(to - size - gap, to - size - gap / 2, size);
			h = hash(h, to - size - gap, size);
			memset(to - size - gap, (int)(size + gap), size);
			h = hash(h, to - size - gap - 8, size + 8);
		}
	memcpy(to - 5000, from - 5000, 5000);
	printf("copies %016jx\n", hash(h, to - 5000, 5000));
}

static void test_searches(void)
{
	char *end = (char *)low + 2 * PAGE, *second = (char *)high + 2 * PAGE;
	uint64_t h = HASH_START;
	size_t size, gap;

	for (size = 1; size < 400; size += size < 100 ? 1 : 23)
		for (gap = 0; gap < 4; gap++) {
			char *text = end - size - gap, *copy = second - size;
			size_t numbers[9];

			memset(text, 'a', size + gap);
			text[size - 1] = 0;
			memcpy(copy, text, size);
			if (size > 3)
				copy[size - 3] = 'b';
			numbers[0] = strlen(text);
			numbers[1] = strnlen(text, size + 100);
			numbers[2] = strchr(text, 0) - text;
			numbers[3] = strchr(copy, 'b') ? strchr(copy, 'b') - copy : 9999;
			numbers[4] = strcmp(text, copy) < 0;
			numbers[5] = memcmp(text, copy, size) < 0;
			numbers[6] = strrchr(copy, 'a') ? strrchr(copy, 'a') - copy : 9999;
			numbers[7] = memchr(copy, 'b', size) ? (char *)memchr(copy, 'b', size) - copy : 9999;
			numbers[8] = strstr(copy, "ab") ? strstr(copy, "ab") - copy : 9999;
			h = hash(h, numbers, sizeof(numbers));
		}
	printf("searches %016jx\n", h);
}

/* What a string instruction leaves: registers and flags. */
struct string_state {
	unsigned long rcx, rsi, rdi, rax, flags;
};

#define STRING(name, text)                                                                             \
	static void name(void *at, void *unused)                                                       \
	{                                                                                              \
		struct string_state *s = at;                                                           \
		(void)unused;                                                                          \
		asm volatile("cmp %%eax, %%eax; " text "; pushf; pop %4; cld"                          \
			     : "+c"(s->rcx), "+S"(s->rsi), "+D"(s->rdi), "+a"(s->rax), "=r"(s->flags)  \
			     :                                                                         \
			     : "memory", "cc");                                                        \
	}

STRING(rep_movsb, "rep movsb")
STRING(rep_movsw_back, "std; rep movsw")
STRING(rep_stosb, "rep stosb")
STRING(rep_stosl_back, "std; rep stosl")
STRING(rep_lodsb, "rep lodsb")
STRING(repe_cmpsb, "cmp %%al, %%al; repe cmpsb")
STRING(repne_cmpsw, "repne cmpsw")
STRING(repe_scasb, "repe scasb")
STRING(repne_scasl_back, "std; repne scasl")
#ifdef __x86_64__
STRING(rep_movsq, "rep movsq")
STRING(movsq, "movsq")
STRING(addr32_movsb, "addr32 rep movsb")
STRING(addr32_stosl, "addr32 rep stosl")
STRING(addr32_scasb, "addr32 repne scasb")
#endif

struct row {
	const char *name;
	void (*run)(void *, void *);
	int direction, size;
};

#define ROW(name, direction, size) { #name, name, direction, size }
static const struct row rows[] = {
	ROW(rep_movsb, 1, 1), ROW(rep_movsw_back, -1, 2), ROW(rep_stosb, 1, 1),
	ROW(rep_stosl_back, -1, 4), ROW(rep_lodsb, 1, 1), ROW(repe_cmpsb, 1, 1), ROW(repne_cmpsw, 1, 2),
	ROW(repe_scasb, 1, 1), ROW(repne_scasl_back, -1, 4),
#ifdef __x86_64__
	ROW(rep_movsq, 1, 8), ROW(movsq, 1, 8), ROW(addr32_movsb, 1, 1), ROW(addr32_stosl, 1, 4),
	ROW(addr32_scasb, 1, 1),
#endif
};

static void run(const struct row *r, long from, long to, unsigned long count)
{
	struct string_state s = {
	    .rcx = count, .rsi = (uintptr_t)low + from, .rdi = (uintptr_t)high + to, .rax = 0x5a5a5a5a};
	int signo = catch_run(r->run, &s, NULL);

	if (signo) {
		s.rcx = caught.regs[REG_RCX];
		s.rsi = caught.regs[REG_RSI];
		s.rdi = caught.regs[REG_RDI];
		s.flags = caught.regs[REG_EFL];
	}
	asm volatile("cld");
	printf("%-16s %5ld %5ld x%-5ld: %-7s rcx %ld rsi %ld rdi %ld", r->name, from, to, (long)count, catch_name(signo),
	       (long)s.rcx, (long)s.rsi - (long)low, (long)s.rdi - (long)high);
	if (signo)
		printf(" error %lx address %s", caught.error, caught.addr == (uintptr_t)high + 2 * PAGE ? "rdi's end" :
		       caught.addr == (uintptr_t)low + 2 * PAGE ? "rsi's end" : "elsewhere");
	printf(" flags %lx memory %016jx\n", s.flags & 0xcd5, hash(HASH_START, high, 2 * PAGE));
}

static void test_instructions(void)
{
	size_t i;

	for (i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];
		long middle = PAGE + 1, edge = r->direction > 0 ? 2 * PAGE - 5 * r->size : 5 * r->size;

		run(r, middle, middle + 3, 0);
		run(r, middle, middle + 3, 1);
		run(r, middle - 9, middle - 21, 50);
		run(r, PAGE / 2, PAGE / 2 + 11, 250);
		if (r->direction > 0) { /* to the page that is not there, source or destination first */
			run(r, middle, edge + 1, 100);
			run(r, edge - 3 * r->size, middle, 100);
			run(r, edge, edge, 5);
			run(r, edge, edge, 6);
		}
	}
}

/* The destination just ahead of the source: what is copied is copied again. */
static void test_overlap(void)
{
	long distance;

	for (distance = -9; distance < 40; distance += 3) {
		void *from = high + 200, *to = high + 200 + distance;
		unsigned long count = 300, words = 60;

		asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count)::"memory");
		from = high + 1000;
		to = high + 1000 + distance;
		asm volatile(MOVE_WORDS : "+S"(from), "+D"(to), "+c"(words)::"memory");
	}
	printf("overlapping %016jx\n", hash(HASH_START, high, 2 * PAGE));
}

int main(void)
{
	low = guarded(MAP_32BIT);
	high = guarded(MAP_32BIT);
	catch_init();
	test_copies();
	test_searches();
	test_instructions();
	test_overlap();
}
