// SPDX-License-Identifier: MIT
//
// Generated code: writes small functions and runs them, again and again in the same memory.   codegen ROUNDS
// Per round: 32 functions of up to 40 steps (add, xor, rotate, multiply by a constant) are written one after
// another into a page or two, each is called 100 times; then an operand in the middle of each is patched and
// all are called once more.
#include <sys/mman.h>

#include "common.h"

#define FUNCTIONS 32
#define STEPS 40
#define CALLS 100

typedef uint64_t function(uint64_t x);

static uint64_t seed = 88172645463325252ull;

static uint32_t next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 16);
}

static unsigned char *put(unsigned char *p, const void *bytes, size_t n)
{
	memcpy(p, bytes, n);
	return p + n;
}

/* One step on RAX with a 32-bit immediate at its end, or a rotation. */
static unsigned char *put_step(unsigned char *p, uint32_t kind, uint32_t immediate)
{
	static const unsigned char add[] = { 0x48, 0x05 }, xor[] = { 0x48, 0x35 }, multiply[] = { 0x48, 0x69, 0xc0 },
				   rotate[] = { 0x48, 0xc1, 0xc0, 0x0d };

	if (kind == 3)
		return put(p, rotate, sizeof(rotate));
	if (kind == 2)
		p = put(p, multiply, sizeof(multiply));
	else
		p = put(p, kind ? xor : add, 2);
	return put(p, &immediate, 4);
}

static unsigned char *generate(unsigned char *p, unsigned char **operand)
{
	static const unsigned char mov_rax_rdi[] = { 0x48, 0x89, 0xf8 }, ret[] = { 0xc3 };
	int steps = 8 + (int)(next_random() % (STEPS - 8));

	p = put(p, mov_rax_rdi, sizeof(mov_rax_rdi));
	for (int i = 0; i < steps; i++) {
		p = put_step(p, i == steps / 2 ? 0 : next_random() & 3, next_random());
		if (i == steps / 2)
			*operand = p - 4;
	}
	return put(p, ret, sizeof(ret));
}

int main(int argc, char **argv)
{
	long rounds = argument(argc, argv, 1);
	unsigned char *code = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t x = 1;

	if (code == MAP_FAILED)
		die("mmap");
	for (long r = 0; r < rounds; r++) {
		unsigned char *start[FUNCTIONS], *operand[FUNCTIONS], *p = code;

		for (int i = 0; i < FUNCTIONS; i++) {
			start[i] = p;
			p = generate(p, &operand[i]);
		}
		for (int n = 0; n < CALLS; n++)
			for (int i = 0; i < FUNCTIONS; i++)
				x = ((function *)(void *)start[i])(x);
		for (int i = 0; i < FUNCTIONS; i++) {
			uint32_t value = next_random();

			memcpy(operand[i], &value, sizeof(value));
			x = ((function *)(void *)start[i])(x);
		}
	}
	printf("codegen %ld: %016llx\n", rounds, (unsigned long long)x);
	return 0;
}
