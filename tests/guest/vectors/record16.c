/* SPDX-License-Identifier: MIT */
/*
 * Records what this host's processor does with single instructions of 16-bit code: the vectors of recorded.txt. The
 * code runs in 16-bit segments of the LDT, where offsets, sizes and flags are as in real mode.
 *   cc -O2 -o record16 tests/guest/vectors/record16.c && ./record16 >tests/guest/vectors/recorded.txt
 * A line: name | mask of defined flags | before: 14 registers, address=byte ... | after: the same.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { AX, BX, CX, DX, CS, SS, DS, ES, SP, BP, SI, DI, IP, FLAGS, REGS, TIMES = 3, BRANCH = 0x10, BASE = 0x10000 };
enum { CODE, DATA, EXTRA, STACK, SEGMENTS, SIZE = 0x10000, ARITH = 0x8d5, CF = 1, PF = 4, AF = 0x10, ZF = 0x40,
       SF = 0x80, OF = 0x800 };

/* Bytes: R a register form of ModRM, M a memory form, 1 2 4 immediates; flags left undefined. */
static const struct form {
	const char *name, *bytes;
	uint16_t undefined;
} forms[] = {
	{"add", "01 R"}, {"add8", "00 M"}, {"adc", "13 M"}, {"sbb", "19 R"}, {"sub8", "2a R"}, {"cmp", "39 M"},
	{"and", "21 M", AF}, {"or8", "0a M", AF}, {"xor", "33 R", AF}, {"test", "85 R", AF}, {"add imm", "81 /0 M 2"},
	{"sbb imm8", "83 /3 R 1"}, {"cmp8 imm", "80 /7 M 1"}, {"inc", "43"}, {"dec", "4e"}, {"inc8 m", "fe /0 M"},
	{"dec m", "ff /1 M"}, {"neg", "f7 /3 R"}, {"neg8 m", "f6 /3 M"}, {"not m", "f7 /2 M"},
	{"shl 1", "d1 /4 R", AF}, {"sar imm", "c1 /7 R 1", AF | OF}, {"shr8 cl", "d2 /5 M", AF | OF},
	{"rol cl", "d3 /0 R", OF}, {"ror8", "d0 /1 R"}, {"rcl imm", "c1 /2 M 1", OF}, {"rcr8 cl", "d2 /3 R", OF},
	{"mul", "f7 /4 R", SF | ZF | AF | PF}, {"mul8 m", "f6 /4 M", SF | ZF | AF | PF},
	{"imul", "f7 /5 M", SF | ZF | AF | PF}, {"imul 2", "0f af R", SF | ZF | AF | PF},
	{"imul 3", "69 M 2", SF | ZF | AF | PF}, {"div", "f7 /6 R", ARITH}, {"div8", "f6 /6 R", ARITH},
	{"idiv", "f7 /7 R", ARITH}, {"idiv8 m", "f6 /7 M", ARITH},
	{"aaa", "37", SF | ZF | PF | OF}, {"aas", "3f", SF | ZF | PF | OF}, {"daa", "27", OF}, {"das", "2f", OF},
	{"aam", "d4 1", OF | AF | CF}, {"aad", "d5 1", OF | AF | CF}, {"cbw", "98"}, {"cwd", "99"}, {"cwde", "66 98"},
	{"xlat", "d7"}, {"lea", "8d M"}, {"xchg", "87 M"}, {"xchg8", "86 R"}, {"mov", "89 M"}, {"mov8", "8a M"},
	{"mov imm", "c7 /0 M 2"}, {"movzx", "0f b6 R"}, {"movsx", "0f be M"}, {"setcc", "0f 9f M"}, {"cmov", "0f 4c R"},
	{"bt", "0f a3 R", OF | SF | AF | PF}, {"bts imm", "0f ba /5 M 1", OF | SF | AF | PF},
	{"bt m", "0f a3 M", OF | SF | AF | PF}, {"btc m", "0f bb M", OF | SF | AF | PF},
	{"bsf", "0f bc R", OF | SF | AF | PF | CF}, {"bsr", "0f bd R", OF | SF | AF | PF | CF},
	{"shld", "0f a4 R 1", AF | OF}, {"shrd cl", "0f ad M", AF | OF}, {"xadd", "0f c1 M"}, {"cmpxchg", "0f b1 M"},
	{"push", "50"}, {"push imm", "68 2"}, {"push imm8", "6a 1"}, {"push m", "ff /6 M"}, {"pop", "5b"},
	{"pop m", "8f /0 M"}, {"pusha", "60"}, {"popa", "61"}, {"push sp", "54"}, {"pop sp", "5c"}, {"leave", "c9"},
	{"enter", "c8 10 00 00"}, {"enter 3", "c8 08 00 03"}, {"pushd", "66 50"}, {"popd", "66 5b"},
	{"movsb", "a4"}, {"movsw", "a5"}, {"rep movsb", "f3 a4"}, {"rep movsw", "f3 a5"}, {"stosw", "ab"},
	{"rep stosb", "f3 aa"}, {"lodsb", "ac"}, {"rep lodsw", "f3 ad"}, {"cmpsb", "a6"}, {"repe cmpsb", "f3 a6"},
	{"repne scasw", "f2 af"}, {"scasb", "ae"}, {"rep movsd", "66 f3 a5"}, {"cs lodsb", "2e ac"},
	{"es mov", "26 8b M"}, {"ss add", "36 01 M"}, {"add32", "66 01 R"}, {"sub32 m", "66 2b M"},
	{"shl32 imm", "66 c1 /4 R 1", AF | OF}, {"inc32", "66 47"}, {"mov a32", "67 8b 46 10"},
	{"add a32 sib", "67 01 44 5e 08"}, {"lea a32", "67 8d 84 8b 34 12 00 00"}, {"moffs", "a1 2"}, {"moffs8", "a2 2"},
	{"clc", "f8"}, {"stc", "f9"}, {"cmc", "f5"}, {"cld", "fc"}, {"std", "fd"}, {"lahf", "9f"}, {"sahf", "9e"},
	{"salc", "d6"}, {"nop", "90"}, {"jz", "74 10"}, {"jl", "7c 10"}, {"jmp", "eb 10"}, {"loop", "e2 10"},
	{"loopne", "e0 10"}, {"jcxz", "e3 10"}, {"call", "e8 10 00"},
};

static uint8_t *memory;             /* the four segments */
static uint8_t before[SEGMENTS * SIZE];
static sigjmp_buf fault;
static uint64_t state = 0x123456789abcdef;
struct { uint32_t off; uint16_t sel; } __attribute__((packed)) far_in __attribute__((used));
uint16_t in_regs[REGS] __attribute__((used)), out_regs[REGS] __attribute__((used));
uint16_t sels[SEGMENTS] __attribute__((used));
uint64_t host_sp __attribute__((used));

/* Into the 16-bit code, and out of it by a far jump to back64, or back64_taken where a branch leads to. */
void go(void);
__asm__(".text; .globl go, back64, back64_taken\n"
	"go: push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15; pushf; mov %rsp, host_sp;"
	"movzwl in_regs, %eax; movzwl in_regs+2, %ebx; movzwl in_regs+4, %ecx; movzwl in_regs+6, %edx;"
	"movzwl in_regs+18, %ebp; movzwl in_regs+20, %esi; movzwl in_regs+22, %edi; movzwl in_regs+16, %r8d;"
	"pushf; mov (%rsp), %r9; and $~0xcd5, %r9; movzwl in_regs+26, %r10d; and $0xcd5, %r10d; or %r10, %r9;"
	"mov %r9, (%rsp); popf; mov sels+2, %ds; mov sels+4, %es; mov sels+6, %ss; mov %r8d, %esp;"
	"ljmp *far_in\n"
	"back64_taken: movb $1, taken\n"
	"back64: mov %ax, out_regs; mov %bx, out_regs+2; mov %cx, out_regs+4; mov %dx, out_regs+6; mov %sp, out_regs+16;"
	"mov %bp, out_regs+18; mov %si, out_regs+20; mov %di, out_regs+22; mov $0x2b, %eax; mov %eax, %ss;"
	"mov host_sp, %rsp; mov %eax, %ds; mov %eax, %es; pushf; pop %rax; mov %ax, out_regs+26;"
	"popf; pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx; ret");
extern const char back64[], back64_taken[];
bool taken __attribute__((used));

static uint32_t random32(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33);
}

static uint16_t value(void)
{
	static const uint16_t edges[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0xfffe, 9, 0x99};

	return random32() % 3 ? (uint16_t)random32() : edges[random32() % (sizeof(edges) / 2)];
}

static void on_fault(int n)
{
	(void)n;
	siglongjmp(fault, 1);
}

static void make_segment(unsigned i)
{
	struct user_desc d = {.entry_number = i, .base_addr = (uint32_t)(uintptr_t)memory + i * SIZE, .limit = SIZE - 1,
			      .contents = i == CODE ? MODIFY_LDT_CONTENTS_CODE : 0, .seg_32bit = 0};

	if (syscall(SYS_modify_ldt, 1, &d, sizeof(d))) {
		perror("modify_ldt");
		exit(1);
	}
	sels[i] = (uint16_t)(i * 8 + 7);
}

static unsigned assemble(const struct form *f, uint8_t *out)
{
	unsigned n = 0, reg = random32() & 7;

	for (const char *p = f->bytes; *p; p++) {
		if (*p == ' ')
			continue;
		if (*p == '/') {
			reg = (unsigned)(*++p - '0');
		} else if (*p == 'R') {
			out[n++] = (uint8_t)(0xc0 | reg << 3 | (random32() & 7));
		} else if (*p == 'M') {
			unsigned mod = random32() % 3, rm = random32() & 7;

			out[n++] = (uint8_t)(mod << 6 | reg << 3 | rm);
			for (unsigned k = mod == 2 || (!mod && rm == 6) ? 2 : mod; k--;)
				out[n++] = (uint8_t)random32();
		} else if (p[1] == ' ' || !p[1]) {
			for (int k = *p - '0'; k--;)
				out[n++] = (uint8_t)random32();
		} else {
			out[n++] = (uint8_t)strtoul((char[]){p[0], p[1], 0}, NULL, 16);
			p++;
		}
	}
	return n;
}


/* Memory before: a byte for each address of real mode, as vectors.c fills it too. */
static uint8_t pattern(uint32_t at)
{
	return (uint8_t)(at * 167 ^ at >> 8);
}

static void show(const uint16_t *r, uint16_t ip)
{
	for (unsigned i = 0; i < REGS; i++)
		printf(" %x", i == CS ? 0x1000 : i == DS ? 0x2000 : i == ES ? 0x3000 : i == SS ? 0x4000 : i == IP ? ip :
		       i == FLAGS ? (r[i] & 0xcd5) | 2 : r[i]);
}

static void place_exit(uint16_t at, const char *to)
{
	uint8_t jump[8] = {0x66, 0xea, 0, 0, 0, 0, 0x33, 0}; /* jmp 0x33:to, of 32 bits */
	uint32_t target = (uint32_t)(uintptr_t)to;

	memcpy(jump + 2, &target, sizeof(target));
	memcpy(memory + at, jump, sizeof(jump));
}

/* False: the instruction faults, or writes where it stands. */
static bool run(const uint8_t *code, unsigned len)
{
	uint16_t ip = in_regs[IP];

	for (unsigned i = 0; i < SEGMENTS * SIZE; i++)
		memory[i] = pattern(i + BASE);
	place_exit((uint16_t)(ip + len), back64);
	place_exit((uint16_t)(ip + len + BRANCH), back64_taken);
	memcpy(memory + ip, code, len);
	memcpy(before, memory, sizeof(before));
	taken = 0;
	if (sigsetjmp(fault, 1))
		return false;
	go();
	return !memcmp(memory, before, SIZE);
}

static void record(const struct form *f)
{
	uint8_t code[16];
	unsigned len = assemble(f, code);

	for (unsigned i = 0; i < REGS; i++)
		in_regs[i] = value();
	in_regs[IP] = (uint16_t)(0x100 + random32() % 0xfd00);
	in_regs[SP] = (uint16_t)(random32() & 0xfffe);
	if (strstr(f->bytes, "f3") || strstr(f->bytes, "f2"))
		in_regs[CX] &= 0x3f;
	far_in.off = in_regs[IP];
	if (!run(code, len))
		return;
	printf("%s | %x |", f->name, 0xcd7 & ~f->undefined);
	show(in_regs, in_regs[IP]);
	for (unsigned i = 0; i < len; i++)
		printf(" %x=%x", BASE + in_regs[IP] + i, code[i]);
	printf(" %x=cc |", BASE + in_regs[IP] + len + (taken ? 0 : BRANCH));
	show(out_regs, (uint16_t)(in_regs[IP] + len + (taken ? BRANCH : 0)));
	for (unsigned i = 0; i < SEGMENTS * SIZE; i++)
		if (memory[i] != before[i])
			printf(" %x=%x", BASE + i, memory[i]);
	printf("\n");
}

int main(void)
{
	stack_t alternative = {.ss_sp = malloc(1 << 16), .ss_size = 1 << 16};
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER};

	memory = mmap(NULL, SEGMENTS * SIZE, PROT_READ | PROT_WRITE | PROT_EXEC,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	for (unsigned i = 0; i < SEGMENTS; i++)
		make_segment(i);
	far_in.sel = sels[CODE];
	sigaltstack(&alternative, NULL);
	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	printf("# SPDX-License-Identifier: MIT\n"
	       "# Recorded by record16.c. name | defined flags | before | after: see there.\n");
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		for (unsigned k = 0; k < TIMES; k++)
			record(&forms[i]);
	return 0;
}
