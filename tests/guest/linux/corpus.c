/* SPDX-License-Identifier: MIT */
/*
 * Make the files that the ordinary programs work on, the same everywhere:
 *   text      lines of words, some common and some rare, as text that compresses
 *   table     lines of number, word, amount
 *   binary    structured and random parts
 *   corpus DIRECTORY [PART]     a PARTth of it
 */
#include "guest.h"

enum { TEXT = 1500000, ROWS = 20000, BLOCKS = 300 };

static int part = 1;
static uint64_t state = 88172645463325252ull;

static FILE *create(const char *directory, const char *name)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	f = fopen(path, "w");
	if (!f) {
		perror(path);
		exit(1);
	}
	return f;
}

/* Word n: the smaller n, the more often it is asked for. */
static void word(char *out)
{
	static const char consonants[] = "bcdfghklmnprstvw", vowels[] = "aeiou";
	uint64_t r = next_random(&state), n = (r & 0xffff) * (r >> 16 & 0xffff) >> 21;
	size_t i = 0;

	do {
		out[i++] = consonants[n % 16];
		n /= 16;
		out[i++] = vowels[n % 5];
		n /= 5;
	} while (n);
	out[i] = 0;
}

static void make_text(FILE *f)
{
	size_t done = 0, column = 0;
	char w[40];

	while (done < (size_t)(TEXT / part)) {
		word(w);
		done += fprintf(f, "%s%s", column ? " " : "", w);
		column += strlen(w) + 1;
		if (column > 60 + (state & 15)) {
			fputs(state & 7 ? "\n" : ".\n\n", f);
			column = 0;
		}
	}
	fputc('\n', f);
}

static void make_table(FILE *f)
{
	char w[40];
	int i;

	for (i = 0; i < ROWS / part; i++) {
		word(w);
		fprintf(f, "%ju %s %ju.%02ju\n", next_random(&state) % 1000000, w, next_random(&state) % 10000,
			next_random(&state) % 100);
	}
}

static void make_binary(FILE *f)
{
	uint64_t block[512];
	int i, j;

	for (i = 0; i < BLOCKS / part; i++) {
		for (j = 0; j < 512; j++)
			block[j] = i % 3 == 0 ? next_random(&state) : i % 3 == 1 ? (uint64_t)(i * j) : block[j] >> (j % 60);
		fwrite(block, sizeof(block), 1, f);
	}
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*make)(FILE *);
	} files[] = { { "text", make_text }, { "table", make_table }, { "binary", make_binary } };
	size_t i;

	if (argc == 3)
		part = atoi(argv[2]);
	if (argc < 2 || argc > 3 || part < 1)
		return 1;
	for (i = 0; i < COUNT(files); i++) {
		FILE *f = create(argv[1], files[i].name);

		files[i].make(f);
		if (fclose(f))
			return 1;
	}
}
