/* SPDX-License-Identifier: MIT */
/*
 * Memory operands under a mask, around a page end: gathers and scatters, VMASKMOV, MASKMOVQ and MASKMOVDQU, and
 * AVX-512 loads, stores and arithmetic with an opmask, broadcasts, compressing, expanding, widening and narrowing ones.
 * Each instruction runs at many distances from the boundary, with many masks, with one of the two pages missing or
 * read-only. A run's result is: the signal, its address and error code, the registers (after a fault those of the
 * signal frame: a gather must have kept what it had done), and the memory around the boundary. Of the address only the
 * page counts.
 */
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "features.h"

enum { PAGE = 4096, AROUND = 512, FRAME_MAX = 8192 };

struct state { /* what goes in and comes out; offsets are known to the rows */
	uint8_t zmm1[64], zmm2[64], zmm3[64];
	uint64_t k1, k2;
} __attribute__((aligned(64)));

typedef void row_code(struct state *s, uint8_t *mem);

struct row {
	row_code *run;
	const char *text, *feature;
};

#define ROW(load, store, feature, text)                                                                            \
	asm(".section .text.masked, \"ax\", @progbits\n"                                                           \
	    "1: " load "\n" text "\n" store "; ret\n"                                                              \
	    ".section .rodata.masked, \"a\"\n"                                                                     \
	    "2: .asciz \"" text "\"\n"                                                                             \
	    "3: .asciz \"" feature "\"\n"                                                                          \
	    ".section masked_rows, \"aw\"\n"                                                                       \
	    ".quad 1b, 2b, 3b\n"                                                                                   \
	    ".text");
#define LOAD_YMM "vmovdqu (%rdi), %ymm1; vmovdqu 64(%rdi), %ymm2; vmovdqu 128(%rdi), %ymm3"
#define STORE_YMM "vmovdqu %ymm1, (%rdi); vmovdqu %ymm2, 64(%rdi); vmovdqu %ymm3, 128(%rdi)"
#define LOAD_ZMM                                                                                                   \
	"vmovdqu64 (%rdi), %zmm17; vmovdqu64 64(%rdi), %zmm2; vmovdqu64 128(%rdi), %zmm3; kmovq 192(%rdi), %k1;"     \
	"kmovq 200(%rdi), %k2"
#define STORE_ZMM                                                                                                  \
	"vmovdqu64 %zmm17, (%rdi); vmovdqu64 %zmm2, 64(%rdi); vmovdqu64 %zmm3, 128(%rdi); kmovq %k1, 192(%rdi);"     \
	"kmovq %k2, 200(%rdi)"
#define Y(text) ROW(LOAD_YMM, STORE_YMM, "avx2", text)
#define X(text) ROW("movdqu (%rdi), %xmm1; movdqu 64(%rdi), %xmm2; movdqu 128(%rdi), %xmm3",                       \
		    "movdqu %xmm1, (%rdi); movdqu %xmm2, 64(%rdi); movdqu %xmm3, 128(%rdi)", "", text)
#define M(text)                                                                                                        \
	ROW("movq (%rdi), %mm1; movq 64(%rdi), %mm2; movq 128(%rdi), %mm3", "movq %mm2, 64(%rdi); emms", "", text)
#define Z(text) ROW(LOAD_ZMM, STORE_ZMM, "avx512bw", text)
#define Z2(text) ROW(LOAD_ZMM, STORE_ZMM, "avx512vbmi2", text)
#define ZN(text) ROW(LOAD_ZMM, STORE_ZMM, "avx512vnni", text)

Y("vpgatherdd %ymm3, (%rsi,%ymm2,4), %ymm1")
Y("vpgatherdd %xmm3, 4(%rsi,%xmm2,2), %xmm1")
Y("vpgatherdq %ymm3, (%rsi,%xmm2,8), %ymm1")
Y("vpgatherdq %xmm3, (%rsi,%xmm2,1), %xmm1")
Y("vpgatherqd %xmm3, (%rsi,%ymm2,4), %xmm1")
Y("vpgatherqd %xmm3, -8(%rsi,%xmm2,4), %xmm1")
Y("vpgatherqq %ymm3, (%rsi,%ymm2,8), %ymm1")
Y("vpgatherqq %xmm3, (%rsi,%xmm2,8), %xmm1")
Y("vgatherdps %ymm3, (%rsi,%ymm2,4), %ymm1")
Y("vgatherdpd %ymm3, (%rsi,%xmm2,8), %ymm1")
Y("vgatherqps %xmm3, (%rsi,%ymm2,4), %xmm1")
Y("vgatherqpd %xmm3, (%rsi,%xmm2,8), %xmm1")
Y("lea 64(%rsi), %r14; vgatherdps %ymm3, -64(%r14,%ymm2,4), %ymm1")
Y("vmaskmovps (%rsi), %ymm3, %ymm1")
Y("vmaskmovps (%rsi), %xmm3, %xmm1")
Y("vmaskmovpd (%rsi), %ymm3, %ymm1")
Y("vmaskmovps %ymm2, %ymm3, (%rsi)")
Y("vmaskmovpd %xmm2, %xmm3, (%rsi)")
Y("vpmaskmovd (%rsi), %ymm3, %ymm1")
Y("vpmaskmovq (%rsi), %xmm3, %xmm1")
Y("vpmaskmovd %xmm2, %xmm3, (%rsi)")
Y("vpmaskmovq %ymm2, %ymm3, (%rsi)")
Y("push %rdi; mov %rsi, %rdi; vmaskmovdqu %xmm3, %xmm2; pop %rdi")
X("push %rdi; mov %rsi, %rdi; maskmovdqu %xmm3, %xmm2; pop %rdi")
M("push %rdi; mov %rsi, %rdi; maskmovq %mm3, %mm2; pop %rdi")
Z("vpgatherdd (%rsi,%zmm2,4), %zmm17{%k1}")
Z("vpgatherdd (%rsi,%xmm2,1), %xmm17{%k1}")
Z("vpgatherdq (%rsi,%ymm2,8), %zmm17{%k1}")
Z("vpgatherqd (%rsi,%zmm2,4), %ymm17{%k1}")
Z("vpgatherqq (%rsi,%ymm2,8), %ymm17{%k1}")
Z("vgatherdps 64(%rsi,%ymm2,4), %ymm17{%k1}")
Z("vgatherqpd (%rsi,%zmm2,8), %zmm17{%k1}")
Z("vmovdqa64 %zmm2, %zmm31; vgatherqps (%rsi,%zmm31,4), %ymm17{%k1}")
Z("vpscatterdd %zmm17, (%rsi,%zmm2,4){%k1}")
Z("vpscatterdq %ymm17, (%rsi,%xmm2,8){%k1}")
Z("vpscatterqd %xmm17, (%rsi,%ymm2,2){%k1}")
Z("vscatterqpd %zmm17, (%rsi,%zmm2,8){%k1}")
Z("vscatterdps %ymm3, 4(%rsi,%ymm2,4){%k1}")
Z("vmovdqu8 (%rsi), %zmm17{%k1}")
Z("vmovdqu8 (%rsi), %ymm17{%k1}{z}")
Z("vmovdqu16 (%rsi), %zmm17{%k1}{z}")
Z("vmovdqu32 (%rsi), %zmm17{%k1}")
Z("vmovdqu64 (%rsi), %xmm17{%k1}")
Z("vmovupd (%rsi), %zmm17{%k1}{z}")
Z("vmovaps (%rsi), %xmm17{%k1}")
Z("vmovdqa32 (%rsi), %zmm17{%k1}")
Z("vmovdqu8 %zmm2, (%rsi){%k1}")
Z("vmovdqu8 %xmm2, (%rsi){%k1}")
Z("vmovdqu16 %ymm2, (%rsi){%k1}")
Z("vmovdqu32 %zmm2, (%rsi){%k1}")
Z("vmovdqu64 %zmm2, (%rsi){%k1}")
Z("vmovapd %ymm2, (%rsi){%k1}")
Z("vmovss (%rsi), %xmm17{%k1}")
Z("vmovsd %xmm2, (%rsi){%k1}")
Z("vaddps (%rsi), %zmm2, %zmm17{%k1}")
Z("vaddpd (%rsi){1to8}, %zmm2, %zmm17{%k1}")
Z("vaddps (%rsi){1to4}, %xmm2, %xmm17{%k1}{z}")
Z("vaddsd (%rsi), %xmm2, %xmm17{%k1}")
Z("vpaddw (%rsi), %zmm2, %zmm17{%k1}")
Z("vpaddq (%rsi){1to2}, %xmm2, %xmm17{%k1}")
Z("vpmullw (%rsi), %ymm2, %ymm17{%k1}")
Z("vpandd (%rsi), %zmm2, %zmm17{%k1}")
Z("vpternlogq $0x5a, (%rsi), %zmm2, %zmm17{%k1}")
Z("vpabsb (%rsi), %zmm17{%k1}")
Z("vfmadd231ps (%rsi), %zmm2, %zmm17{%k1}")
Z("vpslld $3, (%rsi), %zmm17{%k1}")
Z("vpslld (%rsi), %zmm2, %zmm17{%k1}")
Z("vpsllvw (%rsi), %zmm2, %zmm17{%k1}")
Z("vpcmpub $1, (%rsi), %zmm2, %k2{%k1}")
Z("vcmppd $2, (%rsi), %zmm2, %k2{%k1}")
Z("vcmpps $2, (%rsi){1to16}, %zmm2, %k2{%k1}")
Z("vptestmw (%rsi), %ymm2, %k2{%k1}")
Z("vfpclassps $0x7f, (%rsi){1to8}, %k2{%k1}")
Z("vpblendmd (%rsi), %zmm2, %zmm17{%k1}")
Z("vpbroadcastb (%rsi), %zmm17{%k1}")
Z("vpbroadcastq (%rsi), %ymm17{%k1}")
Z("vbroadcastss (%rsi), %zmm17{%k1}")
Z("vbroadcastf32x4 (%rsi), %zmm17{%k1}")
Z("vbroadcasti64x4 (%rsi), %zmm17{%k1}{z}")
Z("vbroadcastf32x2 (%rsi), %zmm17{%k1}")
Z("vexpandps (%rsi), %zmm17{%k1}")
Z("vpexpandq (%rsi), %ymm17{%k1}{z}")
Z("vcompresspd %zmm2, (%rsi){%k1}")
Z("vpcompressd %zmm2, (%rsi){%k1}")
Z2("vpexpandb (%rsi), %zmm17{%k1}")
Z2("vpexpandw (%rsi), %xmm17{%k1}")
Z2("vpcompressb %zmm2, (%rsi){%k1}")
Z2("vpcompressw %ymm2, (%rsi){%k1}")
Z("vpmovzxbd (%rsi), %zmm17{%k1}")
Z("vpmovsxbq (%rsi), %zmm17{%k1}")
Z("vpmovzxwd (%rsi), %ymm17{%k1}{z}")
Z("vpmovdb %zmm2, (%rsi){%k1}")
Z("vpmovqw %zmm2, (%rsi){%k1}")
Z("vpmovqb %xmm2, (%rsi){%k1}")
Z("vpmovsdw %ymm2, (%rsi){%k1}")
Z("vpmovuswb %zmm2, (%rsi){%k1}")
Z("vcvtps2pd (%rsi), %zmm17{%k1}")
Z("vcvtpd2ps (%rsi), %ymm17{%k1}")
Z("vcvtpd2psx (%rsi){1to2}, %xmm17{%k1}")
Z("vcvtdq2pd (%rsi){1to8}, %zmm17{%k1}")
Z("vcvtph2ps (%rsi), %zmm17{%k1}")
Z("vcvtps2ph $0, %zmm2, (%rsi){%k1}")
Z("vextractf32x4 $1, %zmm2, (%rsi){%k1}")
Z("vextracti64x4 $1, %zmm2, (%rsi){%k1}")
Z("vinsertf32x4 $1, (%rsi), %zmm2, %zmm17{%k1}")
Z("vshufps $0x1b, (%rsi), %zmm2, %zmm17{%k1}")
Z("vpshufb (%rsi), %zmm2, %zmm17{%k1}")
Z("vpermd (%rsi), %zmm2, %zmm17{%k1}")
Z("vpermw (%rsi), %zmm2, %zmm17{%k1}")
Z("vpunpcklbw (%rsi), %zmm2, %zmm17{%k1}")
Z("vpmaddwd (%rsi), %zmm2, %zmm17{%k1}")
Z("vpmaddubsw (%rsi), %ymm2, %ymm17{%k1}")
Z("vpackssdw (%rsi), %zmm2, %zmm17{%k1}")
Z("vmovddup (%rsi), %zmm17{%k1}")
Z("vmovshdup (%rsi), %zmm17{%k1}")
Z("vpconflictd (%rsi), %zmm17{%k1}")
Z("vplzcntq (%rsi), %zmm17{%k1}")
Z("vrndscalepd $3, (%rsi), %zmm17{%k1}")
Z("vgetmantsd $1, (%rsi), %xmm2, %xmm17{%k1}")
Z("valignd $3, (%rsi), %zmm2, %zmm17{%k1}")
ZN("vpdpbusd (%rsi), %zmm2, %zmm17{%k1}")
ZN("vpdpwssd (%rsi){1to16}, %zmm2, %zmm17{%k1}")

extern const struct row __start_masked_rows[], __stop_masked_rows[];

static uint8_t *window, *alias; /* two pages, seen twice; a page's room on both sides stays unmapped */
static sigjmp_buf out;
static struct {
	int signo;
	unsigned long error;
	long where, exact;
	struct state regs;
} fault;
static uint32_t offset_of[8];

static void from_frame(const uint8_t *x, bool zmm17, struct state *s)
{
	for (int i = 0; i < 3; i++) {
		uint8_t *to = i == 0 ? s->zmm1 : i == 1 ? s->zmm2 : s->zmm3;
		int n = i + 1;

		if (n == 1 && zmm17) {
			memcpy(to, x + offset_of[7] + 64, 64);
			continue;
		}
		memcpy(to, x + 160 + 16 * n, 16);
		if (offset_of[2])
			memcpy(to + 16, x + offset_of[2] + 16 * n, 16);
		if (zmm17)
			memcpy(to + 32, x + offset_of[6] + 32 * n, 32);
	}
	if (zmm17) {
		memcpy(&s->k1, x + offset_of[5] + 8, 8);
		memcpy(&s->k2, x + offset_of[5] + 16, 8);
	}
}

static bool with_zmm;

static void handler(int signo, siginfo_t *info, void *context)
{
	ucontext_t *u = context;

	fault.signo = signo;
	fault.error = u->uc_mcontext.gregs[REG_ERR];
	fault.where = info->si_addr ? ((uint8_t *)info->si_addr - window) / PAGE : -1; // processors differ in the byte
	fault.exact = info->si_addr ? (uint8_t *)info->si_addr - (window + PAGE) : 1 << 20;
	memset(&fault.regs, 0, sizeof(fault.regs));
	from_frame((const uint8_t *)u->uc_mcontext.fpregs, with_zmm, &fault.regs);
	siglongjmp(out, 1);
}

static void fill_index(uint8_t *v, unsigned size, uint64_t *random)
{
	for (unsigned i = 0; i < 64; i += size) {
		int64_t x = (int64_t)(next_random(random) % 41) - 20;

		memcpy(v + i, &x, size);
	}
}

static void fill_random(uint8_t *v, uint64_t *random)
{
	for (unsigned i = 0; i < 64; i += 8) {
		uint64_t r = next_random(random);

		memcpy(v + i, &r, 8);
	}
}

static uint64_t one(const struct row *row, unsigned offset, uint64_t mask, uint64_t seed, uint64_t volatile h)
{
	static struct state s;
	uint64_t random = seed | 1;
	bool vsib = strstr(row->text, "gather") || strstr(row->text, "scatter");
	uint8_t *edge = alias + PAGE;

	for (int i = -AROUND; i < AROUND; i++)
		edge[i] = (uint8_t)(next_random(&random) >> 24);
	memset(&s, 0, sizeof(s));
	fill_random(s.zmm1, &random);
	fill_random(s.zmm2, &random);
	if (vsib)
		fill_index(s.zmm2, strstr(row->text, "gatherq") || strstr(row->text, "scatterq") ? 8 : 4, &random);
	for (unsigned i = 0; i < 64; i++) /* its sign bits are a mask, whatever the size of an element */
		s.zmm3[i] = (uint8_t)((next_random(&random) & 0x7f) | (mask >> i & 1) << 7);
	s.k1 = mask;
	s.k2 = 0x5555aaaa33330f0f;
	memset(&fault, 0, sizeof(fault));
	with_zmm = strncmp(row->feature, "avx512", 6) == 0;
	if (!sigsetjmp(out, 1))
		row->run(&s, window + PAGE - offset);
	else
		s = fault.regs;
	if (fault.signo)
		asm volatile("emms");
	h = hash(h, &s, sizeof(s));
	h = hash(h, edge - AROUND, 2 * AROUND);
	h = hash(h, &fault.signo, sizeof(fault.signo));
	if (fault.signo) {
		h = hash(h, &fault.error, sizeof(fault.error));
		h = hash(h, &fault.where, sizeof(fault.where));
	}
	if (verbose()) {
		printf("  at -%u mask %016jx: signal %d error %lx at %ld; %016jx k1 %jx k2 %jx\n    1 ", offset, mask,
		       fault.signo, fault.error, fault.exact, hash(HASH_START, edge - AROUND, 2 * AROUND), s.k1, s.k2);
		print_hex(s.zmm1, 64);
		printf("\n    3 ");
		print_hex(s.zmm3, 64);
		printf("\n");
	}
	return h;
}

static const struct {
	const char *name;
	int low, high;
} layouts[] = {
	{ "both pages", PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE },
	{ "upper missing", PROT_READ | PROT_WRITE, PROT_NONE },
	{ "lower missing", PROT_NONE, PROT_READ | PROT_WRITE },
	{ "upper read-only", PROT_READ | PROT_WRITE, PROT_READ },
};

static const uint16_t offsets[] = { 0, 1, 2, 4, 8, 12, 16, 20, 28, 32, 40, 48, 60, 63, 64, 128 };
static const uint64_t masks[] = {
	0, ~0ull, 1, 2, 0x80, 0x8000, 0x8080808080808080, 0x00000000ffffffff, 0xffffffff00000000, 0x0f0f, 0xf0f0,
	0x7777777777777777, 0x8888888888888888, 0xff, 0xff00, 0x0123456789abcdef,
};

static void run_row(const struct row *row, unsigned layout)
{
	uint64_t h = HASH_START, seed = 0x9e3779b97f4a7c15;
	unsigned faults = 0;

	if (verbose())
		printf("%s: %s\n", layouts[layout].name, row->text);
	for (unsigned i = 0; i < COUNT(offsets); i++)
		for (unsigned k = 0; k < COUNT(masks); k++) {
			h = one(row, offsets[i], masks[k], seed = seed * 0xd1342543de82ef95 + 1, h);
			faults += fault.signo != 0;
		}
	printf("%016jx %4u faults  %s: %s\n", h, faults, layouts[layout].name, row->text);
}

static void make_window(void)
{
	int fd = memfd_create("masked", 0);
	uint8_t *room;

	if (fd < 0 || ftruncate(fd, 2 * PAGE))
		exit(1);
	room = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	window = mmap(room + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	alias = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* An argument takes only the rows whose text contains it. */
int main(int argc, char **argv)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE };
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_size = 1 << 17 };
	uint32_t a, b, c, d;

	stack.ss_sp = mmap(NULL, stack.ss_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	sigaltstack(&stack, NULL);
	for (unsigned i = 0; i < COUNT(signals); i++)
		sigaction(signals[i], &action, NULL);
	for (unsigned i = 2; i < 8; i++)
		if (__get_cpuid_count(0xd, i, &a, &b, &c, &d))
			offset_of[i] = b;
	make_window();
	for (unsigned layout = 0; layout < COUNT(layouts); layout++) {
		mprotect(window, PAGE, layouts[layout].low);
		mprotect(window + PAGE, PAGE, layouts[layout].high);
		for (const struct row *row = __start_masked_rows; row < __stop_masked_rows; row++)
			if ((!*row->feature || have(row->feature)) && (argc < 2 || strstr(row->text, argv[1])))
				run_row(row, layout);
	}
	return 0;
}
