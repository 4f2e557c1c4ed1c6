/* SPDX-License-Identifier: MIT */
/*
 * Every exception with its error code, saved RIP and flags, and the ways between privilege levels: gates, IRET, far
 * transfers, call gates, SYSCALL. State at a fault is that before the instruction, so that it can be restarted.
 */
#include "lib/metal.h"

const struct tcg_known tcg_known[] = {
	{"int $0x92 from CPL 3, gate DPL 0", "SDM vol. 3, 6.13: error code is vector * 8 + 2"},
	{"int3 from CPL 3, gate DPL 0", "SDM vol. 3, 6.13: error code is vector * 8 + 2"},
	{"int beyond the IDT limit", "SDM vol. 3, 6.13: error code is vector * 8 + 2"},
	{"RF in the image of*", "SDM vol. 3, 17.3.1.1: faults push RF set"},
	{"#UD by a not-present gate: #NP", "SDM vol. 3, 6.13: EXT is set for events not caused by INT n"},
	{"IST beyond the TSS limit: #TS", "SDM vol. 3, 6.14.5"},
	{"16 bytes*", "SDM vol. 3, 6.15: #GP for more than 15 bytes"},
	{"#UD: lock*", "SDM vol. 2, LOCK: #UD for all but its list of instructions with a memory destination"},
	{"#UD: mov imm /1", "SDM vol. 2, A.4: not an instruction"},
	{"#UD: VEX.vvvv*", "SDM vol. 2, 2.3.5.6"},
	{"#MF*", "SDM vol. 3, 6.15"},
	{"#XM*", "SDM vol. 3, 6.15: TCG raises no SIMD exceptions"},
	{"#UD: unmasked SIMD*", "SDM vol. 3, 6.15"},
	{"#SS*", "SDM vol. 3, 6.15: #SS for non-canonical addresses by SS; TCG raises #GP or #PF"},
	{"#GP*", "SDM vol. 2: checks that TCG does not make"},
	{"#NP*", "SDM vol. 2: checks that TCG does not make"},
	{"#DF*", "SDM vol. 3, 6.15"},
	{"#AC", "SDM vol. 3, 6.15"},
	{"#PF: read-modify-write is a write", "SDM vol. 3, 4.7: the access is a write (and real processors say so)"},
	{"#PF: cmpxchg is a write", "SDM vol. 3, 4.7"},
	{"#PF: xchg", "SDM vol. 3, 4.7"},
	{"#PF: lock add across the end", "SDM vol. 3, 4.7"},
	{0},
};

#define VA_DATA 0x7f0000101000ull
#define VA_GONE 0x7f0000105000ull	/* the page behind four present ones: absent */
static u8 *const gone = (u8 *)VA_GONE;
extern volatile u64 scratch[16];
volatile u64 scratch[16] aligned(64);

/* code begins with the faulting instruction at label 76 inside TRY: its address is stored in `at`. */
extern volatile u64 at;
volatile u64 at;
#define FAULT(code, ...) TRY("movq $78f, at\n78:\t" code, __VA_ARGS__)
#define AFTER(code, ...) TRY("movq $78f, at\n\t" code "\n78:\t", __VA_ARGS__)

#define USER(name, code) \
	void name(void); \
	__asm__(".pushsection .user.text, \"ax\", @progbits\n.globl " #name "\n" #name ":\t" code "\n\tint $0x81\n" \
		"\tud2\n.popsection")

/* --- #DE --- */
static void test_de(void)
{
	FAULT("divb %0", : "r"((u8)0), "a"(5) : "rdx");
	check_trap("#DE: div of 8 bits", DE, 0, at);
	FAULT("divw %w0", : "r"(0), "a"(5), "d"(0));
	check_trap("#DE: div of 16 bits", DE, 0, at);
	FAULT("divl %k0", : "r"(0), "a"(5), "d"(0));
	check_trap("#DE: div of 32 bits", DE, 0, at);
	FAULT("divq %0", : "r"(0ull), "a"(5), "d"(0));
	check_trap("#DE: div of 64 bits", DE, 0, at);
	FAULT("divl %k0", : "r"(2), "a"(5), "d"(2));
	check_trap("#DE: quotient too large", DE, 0, at);
	FAULT("idivq %0", : "r"(-1ull), "a"(1ull << 63), "d"(-1ull));
	check_trap("#DE: idiv of the smallest by -1", DE, 0, at);
	FAULT("idivb %0", : "r"((u8)-1), "a"(0xff80));
	check_trap("#DE: idiv of 8 bits", DE, 0, at);
	scratch[0] = 0;
	FAULT("divl %0", : "m"(scratch[0]), "a"(5), "d"(0));
	check_trap("#DE: div by memory", DE, 0, at);
	FAULT("mov $1, %%ebx\n mov $2, %%r13d\n mov $3, %%r14d\n mov $4, %%r15d\n mov $0x77, %%r8d\n movq $79f, at\n"
		"stc\n79: divl %k0\n",
	      : "r"(0), "a"(5), "d"(6) : "rbx", "r13", "r14", "r15", "r8", "cc");
	report(trap.f.rax == 5 && trap.f.rdx == 6 && trap.f.rbx == 1 && trap.f.r13 == 2 && trap.f.r14 == 3 &&
		trap.f.r15 == 4 && trap.f.r8 == 0x77,
	       "#DE: registers", "rax %lx rdx %lx rbx %lx r13 %lx r14 %lx r15 %lx r8 %lx", trap.f.rax, trap.f.rdx,
	       	trap.f.rbx, trap.f.r13,
	       trap.f.r14, trap.f.r15, trap.f.r8);
	check_trap("#DE in the middle of a block", DE, 0, at);
	report(trap.f.rflags & FL_RF, "RF in the image of #DE", "rflags %lx", trap.f.rflags);
}

/* --- flags, registers and frame --- */
static void test_frame(void)
{
	u64 bad = 0, first = 0, sp;

	for (u64 k = 0; k < 64; k++) {
		u64 f = FL_1 | (k & 1) | (k & 2) << 1 | (k & 4) << 2 | (k & 8) << 3 | (k & 16) << 3 | (k & 32) << 6;

		TRY("push %0\n popf\n ud2", : "r"(f) : "cc", "memory");
		if ((trap.f.rflags & 0xfff) != f && !bad++)
			first = f << 32 | trap.f.rflags;
		TRY("push %0\n popf\n mov %%rax, (%1)", : "r"(f), "r"(gone) : "cc", "memory");
		if ((trap.f.rflags & 0xfff) != f && !bad++)
			first = f << 32 | trap.f.rflags;
		TRY("push %0\n popf\n mov %%rax, scratch\n mov scratch, %%rax\n push (%1)", : "r"(f), "r"(gone) : "cc",
			"memory", "rax");
		if ((trap.f.rflags & 0xfff) != f && !bad++)
			first = f << 32 | trap.f.rflags;
	}
	report(!bad, "arithmetic flags in the image", "%lu bad, first want %lx got %lx", bad, first >> 32,
		first & 0xffffffff);
	TRY("pushf\n orq %0, (%%rsp)\n popf\n ud2", : "i"(FL_DF | FL_NT | FL_AC | FL_ID | FL_IOPL) : "memory", "cc");
	check_eq("other flags in the image", trap.f.rflags & (FL_DF | FL_NT | FL_AC | FL_ID | FL_IOPL),
		FL_DF | FL_NT | FL_AC | FL_ID | FL_IOPL);
	__asm__ volatile("pushf\n andq %0, (%%rsp)\n popf" : : "i"(~(FL_ID | FL_AC | FL_NT | FL_IOPL)) : "memory", "cc");
	TRY("mov %%rsp, %0\n ud2", "=&r"(sp) : : "memory");
	check_eq("CS in the image", trap.f.cs, SEL_CODE);
	check_eq("SS in the image", trap.f.ss, SEL_DATA);
	check_eq("RSP in the image", trap.f.rsp, trap_rsp);
	for (int i = 0; i < 16; i += 8) {
		__asm__ volatile("" : : : "memory");
		TRY("and $-16, %%rsp\n sub %0, %%rsp\n ud2", : "r"((u64)i) : "memory", "cc");
		check_eq(i ? "frame alignment, odd stack" : "frame alignment, even stack", trap.at & 15, 8);
	}
	TRY("and $-16, %%rsp\n sub $3, %%rsp\n mov (%0), %%eax", : "r"(NON_CANONICAL) : "memory", "rax");
	check_eq("frame alignment with error code, unaligned stack", trap.at & 15, 0);
	report(trap.f.rsp - trap.at <= 64, "frame lies below RSP", "rsp %lx frame at %lx", trap.f.rsp, trap.at);
}

/* --- #UD --- */
static void try_bytes(const char *name, const void *bytes, size_t n, int vector, u64 error)
{
	static u8 buf[4096] aligned(4096);
	u64 sp;

	memset(buf, 0x90, 64);
	memcpy(buf + 16, bytes, n);
	buf[16 + n] = 0xc3;
	/* Registers that make memory operands of (%rax)... harmless. */
	TRY("mov %%rsp, %0\n call *%1", "=&r"(sp) : "r"(buf + 16), "a"(scratch), "b"(scratch), "d"(scratch),
		"S"(scratch), "D"(scratch + 8), "c"(1)
	    : "memory", "cc", "r8", "r9", "r10", "r11", "r12");
	check_trap(name, vector, error, vector == NO_TRAP ? 0 : (u64)buf + 16);
}
#define BYTES(name, s, vector, error) try_bytes(name, s, sizeof(s) - 1, vector, error)

static void test_ud(void)
{
	static const struct { const char *name, *bytes; u8 n; } invalid[] = {
#define _(name, s) {"#UD: " name, s, sizeof(s) - 1},
		_("ud2", "\x0f\x0b") _("ud1", "\x0f\xb9\x00") _("ud0", "\x0f\xff\x00")
		_("push es", "\x06") _("pop es", "\x07") _("push cs", "\x0e") _("daa", "\x27") _("das", "\x2f") _("aaa",
			"\x37") _("aas", "\x3f")
		_("pusha", "\x60") _("popa", "\x61") _("opcode 82", "\x82\xc0\x01") _("lcall ptr",
			"\x9a\0\0\0\0\0\0") _("into", "\xce")
		_("aam", "\xd4\x0a") _("aad", "\xd5\x0a") _("salc", "\xd6") _("ljmp ptr", "\xea\0\0\0\0\0\0")
		_("lea of a register", "\x8d\xc0") _("mov to cs", "\x8e\xc8") _("mov to segment 6",
			"\x8e\xf0") _("mov from segment 7", "\x8c\xf8")
		_("mov imm /1", "\xc6\xc8\x00") _("inc/dec /2", "\xfe\xd0") _("jmp far of a register", "\xff\xe8")
		_("call far of a register", "\xff\xd8") _("group 5 /7", "\xff\xf8") _("mov cr1",
			"\x0f\x20\xc8") _("mov to cr5", "\x0f\x22\xe8")
		_("mov cr9", "\x44\x0f\x20\xc8") _("sgdt of a register 0f 01 c5", "\x0f\x01\xc7") _("lldt group /6",
			"\x0f\x00\xf0")
		_("cmpxchg8b of a register", "\x0f\xc7\xc8") _("bt group /0", "\x0f\xba\xc0\x01") _("0f 04",
			"\x0f\x04") _("0f 0a", "\x0f\x0a")
		_("0f 24", "\x0f\x24\xc0") _("0f 36", "\x0f\x36") _("0f a6", "\x0f\xa6\x00") _("movnti of a register",
			"\x0f\xc3\xc0")
		_("lock mov", "\xf0\x89\x00") _("lock add to a register", "\xf0\x01\xc0") _("lock cmp",
			"\xf0\x39\x00") _("lock nop", "\xf0\x90")
		_("lock bt", "\xf0\x0f\xa3\x00") _("lock bt imm", "\xf0\x0f\xba\x20\x01") _("lock add from memory",
			"\xf0\x03\x00")
		_("lock mul", "\xf0\xf7\x20") _("lock test", "\xf0\x85\x00") _("lock jmp", "\xf0\xeb\x00") _("lock push",
			"\xf0\x50")
		_("lock inc of a register", "\xf0\xff\xc0") _("lock xchg of registers", "\xf0\x87\xc0") _("lock shl",
			"\xf0\xd1\x20")
		_("lock movaps", "\xf0\x0f\x28\x00") _("lock cpuid", "\xf0\x0f\xa2") _("lock cmp imm", "\xf0\x83\x38\x01")
		_("lock cmpxchg of registers", "\xf0\x0f\xb1\xc0") _("lock movs", "\xf0\xa4") _("lock rdtsc", "\xf0\x0f\x31")
		_("psrlw group /0", "\x0f\x71\xc0\x01") _("fxsave of a register",
			"\x0f\xae\xc0") _("clflush group /7, lock", "\xf0\x0f\xae\x38")
#undef _
	};

	for (unsigned i = 0; i < ARRAY_SIZE(invalid); i++)
		try_bytes(invalid[i].name, invalid[i].bytes, invalid[i].n, UD, 0);
	report(trap.f.rflags & FL_RF, "RF in the image of #UD", "rflags %lx", trap.f.rflags);
	BYTES("lock inc of memory is fine", "\xf0\xff\x00", NO_TRAP, 0);
	BYTES("xchg without lock is fine", "\x87\x00", NO_TRAP, 0);
	BYTES("rep nop is fine", "\xf3\x90", NO_TRAP, 0);
	BYTES("nop of memory is fine", "\x0f\x1f\x00", NO_TRAP, 0);
	BYTES("endbr64 is fine", "\xf3\x0f\x1e\xfa", NO_TRAP, 0);
	BYTES("rep ret is fine", "\xf3\xc3", NO_TRAP, 0);
	BYTES("15 bytes are fine", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\xc0", NO_TRAP, 0);
	BYTES("16 bytes: #GP", "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x89\xc0", GP, 0);
	if (has_avx()) {
		BYTES("#UD: 66 before VEX", "\x66\xc5\xf8\x28\xc0", UD, 0);
		BYTES("#UD: REX before VEX", "\x48\xc5\xf8\x28\xc0", UD, 0);
		BYTES("#UD: lock before VEX", "\xf0\xc5\xf8\x28\xc0", UD, 0);
		BYTES("#UD: VEX.vvvv where it must be 1111", "\xc5\xc0\x28\xc0", UD, 0);
	}
}

/* --- FPU: #NM, #MF, #XM, #UD by control bits --- */
static void test_fpu(void)
{
	u64 cr0 = read_cr0(), cr4 = read_cr4();

	write_cr0(cr0 | CR0_TS);
	FAULT("fnop", : : );
	check_trap("#NM: x87 with TS", NM, 0, at);
	FAULT("movaps %%xmm0, %%xmm1", : : );
	check_trap("#NM: SSE with TS", NM, 0, at);
	FAULT("fwait", : : );
	check_trap("#NM: FWAIT with TS and MP", NM, 0, at);
	FAULT("movq %%mm0, %%mm1", : : );
	check_trap("#NM: MMX with TS", NM, 0, at);
	if (has_avx()) {
		FAULT("vmovaps %%ymm0, %%ymm1", : : );
		check_trap("#NM: AVX with TS", NM, 0, at);
	}
	FAULT("fxsave64 (%0)", : "r"(VA_DATA) : "memory");
	check_trap("#NM: FXSAVE with TS", NM, 0, at);
	FAULT("prefetcht0 (%0)", : "r"(VA_DATA));
	check_none("prefetch with TS");
	write_cr0((cr0 | CR0_TS) & ~(u64)CR0_MP);
	FAULT("fwait", : : );
	check_none("FWAIT with TS without MP");
	__asm__ volatile("clts");
	FAULT("fnop", : : );
	check_none("clts");
	check_eq("clts clears TS", read_cr0() & CR0_TS, 0);
	write_cr0(cr0 | CR0_EM);
	FAULT("fnop", : : );
	check_trap("#NM: x87 with EM", NM, 0, at);
	FAULT("movaps %%xmm0, %%xmm1", : : );
	check_trap("#UD: SSE with EM", UD, 0, at);
	write_cr0(cr0);
	write_cr4(cr4 & ~(u64)CR4_OSFXSR);
	FAULT("movaps %%xmm0, %%xmm1", : : );
	check_trap("#UD: SSE without OSFXSR", UD, 0, at);
	write_cr4(cr4);
	if (cpuid(1, 0).c >> 26 & 1) {
		write_cr4(cr4 & ~(u64)CR4_OSXSAVE);
		FAULT("xgetbv", : "c"(0) : "rax", "rdx");
		check_trap("#UD: XGETBV without OSXSAVE", UD, 0, at);
		check_eq("CPUID.OSXSAVE follows CR4", cpuid(1, 0).c >> 27 & 1, 0);
		if (has_avx()) {
			FAULT("vmovaps %%ymm0, %%ymm1", : : );
			check_trap("#UD: AVX without OSXSAVE", UD, 0, at);
		}
		write_cr4(cr4);
		check_eq("CPUID.OSXSAVE follows CR4 back", cpuid(1, 0).c >> 27 & 1, 1);
		if (has_avx()) {
			__asm__ volatile("xsetbv" : : "a"(3), "d"(0), "c"(0));
			FAULT("vmovaps %%ymm0, %%ymm1", : : );
			check_trap("#UD: AVX without XCR0.AVX", UD, 0, at);
			__asm__ volatile("xsetbv" : : "a"(7), "d"(0), "c"(0));
			FAULT("vmovaps %%ymm0, %%ymm1", : : );
			check_none("AVX again");
		}
		FAULT("xsetbv", : "a"(2), "d"(0), "c"(0));
		check_trap("#GP: XCR0 without x87", GP, 0, at);
		FAULT("xsetbv", : "a"(5), "d"(0), "c"(0));
		check_trap("#GP: XCR0 AVX without SSE", GP, 0, at);
		FAULT("xsetbv", : "a"(7), "d"(0), "c"(1));
		check_trap("#GP: XCR1", GP, 0, at);
	}
	scratch[0] = 0x33b;	/* ZE unmasked */
	FAULT("fninit\n fldcw scratch\n fld1\n fldz\n fdivrp\n movq $79f, at\n79: fwait", : : "memory");
	check_trap("#MF at FWAIT", MF, 0, at);
	FAULT("fld1", : : );
	check_trap("#MF at the next x87 instruction", MF, 0, at);
	FAULT("fnclex\n fninit", : : );
	check_none("fnclex waits for nothing");
	scratch[0] = 0x1d80;	/* ZM unmasked */
	FAULT("ldmxcsr scratch\n pxor %%xmm1, %%xmm1\n pcmpeqd %%xmm0, %%xmm0\n psrld $25, %%xmm0\n pslld $23, %%xmm0\n"
		"movq $79f, at\n"
	      "79: divss %%xmm1, %%xmm0", : : );
	check_trap("#XM: divide by zero", XM, 0, at);
	FAULT("stmxcsr scratch", : : "memory");
	check_eq("#XM: MXCSR flag", scratch[0] & 0x3f, 4);
	write_cr4(cr4 & ~(u64)CR4_OSXMMEXCPT);
	scratch[0] = 0x1d80;
	FAULT("ldmxcsr scratch\n movq $79f, at\n79: divss %%xmm1, %%xmm0", : : );
	check_trap("#UD: unmasked SIMD exception without OSXMMEXCPT", UD, 0, at);
	write_cr4(cr4);
	scratch[0] = 0x1f80;
	__asm__ volatile("ldmxcsr scratch");
	scratch[0] = 0x10000;
	FAULT("ldmxcsr scratch", : : "memory");
	check_trap("#GP: MXCSR reserved bits", GP, 0, at);
}

/* --- #GP and #SS by address --- */
static void test_addresses(void)
{
	u64 bad = NON_CANONICAL;

	idt[SS].ist = 2;	/* the stack is what is wrong */
	FAULT("mov (%0), %%eax", : "r"(bad) : "rax");
	check_trap("#GP: load", GP, 0, at);
	FAULT("mov %%eax, (%0)", : "r"(bad) : "memory");
	check_trap("#GP: store", GP, 0, at);
	FAULT("lock incl (%0)", : "r"(bad) : "memory");
	check_trap("#GP: lock inc", GP, 0, at);
	FAULT("mov -1(%0), %%rax", : "r"(bad) : "rax");
	report(trap.vector == GP || trap.vector == PF, "load across the canonical boundary", "vector %d", trap.vector);
	FAULT("mov (%%rbx), %%eax", : "b"(0xffff7fffffffffffull) : "rax");
	check_trap("#GP: just below the upper half", GP, 0, at);
	FAULT("push %%rbp\n mov %0, %%rbp\n movq $79f, at\n79: mov (%%rbp), %%eax\n", : "r"(bad) : "rax", "memory");
	__asm__ volatile("mov %0, %%rbp" : : "r"(trap.f.rbp == bad ? *(u64 *)(trap_rsp - 8) : 0));
	check_trap("#SS: by rbp", SS, 0, at);
	bad += 0x1000;
	FAULT("mov %0, %%rsp\n movq $79f, at\n79: push %%rax", : "r"(bad) : "memory");
	check_trap("#SS: push", SS, 0, at);
	FAULT("mov %0, %%rsp\n movq $79f, at\n79: pop %%rax", : "r"(bad) : "memory", "rax");
	check_trap("#SS: pop", SS, 0, at);
	FAULT("mov %0, %%rsp\n movq $79f, at\n79: call 80f\n80:", : "r"(bad) : "memory");
	check_trap("#SS: call", SS, 0, at);
	check_eq("#SS: RSP as before", trap.f.rsp, bad);
	bad = NON_CANONICAL;
	FAULT("mov (%%rsp, %0), %%eax", : "r"(bad) : "rax");
	check_trap("#SS: by rsp with an index", SS, 0, at);
	FAULT("mov %%fs:(%%rbx), %%eax", : "b"(bad) : "rax");
	check_trap("#GP: by fs", GP, 0, at);
	wrmsr(MSR_FS_BASE, 0x7fffffffff00);
	FAULT("mov %%fs:0x100, %%eax", : : "rax");
	check_trap("#GP: fs base plus offset", GP, 0, at);
	wrmsr(MSR_FS_BASE, 0);
	FAULT("jmp *%0", : "r"(bad));
	check_trap("#GP: jmp", GP, 0, 0);
	FAULT("call *%0", : "r"(bad) : "memory");
	check_trap("#GP: call", GP, 0, 0);
	FAULT("push %0\n ret", : "r"(bad) : "memory");
	check_trap("#GP: ret", GP, 0, 0);
	FAULT("lgdt (%0)", : "r"(bad));
	check_trap("#GP: lgdt", GP, 0, at);
	FAULT("cld\n movq $79f, at\n79: movsb", : "S"(bad), "D"(VA_DATA) : "memory");
	check_trap("#GP: movs source", GP, 0, at);
	FAULT("rep stosb", : "D"(bad), "c"(4), "a"(0) : "memory");
	check_trap("#GP: rep stos", GP, 0, at);
	FAULT("movups (%0), %%xmm0", : "r"(bad));
	check_trap("#GP: SSE load", GP, 0, at);
	FAULT("fldl (%0)", : "r"(bad));
	check_trap("#GP: x87 load", GP, 0, at);
	FAULT("invlpg (%0)", : "r"(bad));
	check_none("invlpg of a non-canonical address does nothing");
	FAULT("prefetcht0 (%0)\n nopl (%0)\n lea (%0), %%rax", : "r"(bad) : "rax");
	check_none("prefetch, nop and lea touch nothing");
	/* Alignment. */
	FAULT("movaps (%0), %%xmm0", : "r"(VA_DATA + 8));
	check_trap("#GP: movaps misaligned load", GP, 0, at);
	FAULT("movaps %%xmm0, (%0)", : "r"(VA_DATA + 1) : "memory");
	check_trap("#GP: movaps misaligned store", GP, 0, at);
	FAULT("addps (%0), %%xmm0", : "r"(VA_DATA + 4));
	check_trap("#GP: SSE operand misaligned", GP, 0, at);
	FAULT("movntdq %%xmm0, (%0)", : "r"(VA_DATA + 8) : "memory");
	check_trap("#GP: movntdq misaligned", GP, 0, at);
	FAULT("fxsave64 (%0)", : "r"(VA_DATA + 8) : "memory");
	check_trap("#GP: fxsave misaligned", GP, 0, at);
	FAULT("lock cmpxchg16b (%0)", : "r"(VA_DATA + 8), "a"(0), "d"(0), "b"(0), "c"(0) : "memory", "cc");
	check_trap("#GP: cmpxchg16b misaligned", GP, 0, at);
	if (cpuid(1, 0).c >> 26 & 1) {
		FAULT("xsave64 (%0)", : "r"(VA_DATA + 16), "a"(7), "d"(0) : "memory");
		check_trap("#GP: xsave misaligned", GP, 0, at);
	}
	if (has_avx()) {
		FAULT("vmovaps (%0), %%ymm0", : "r"(VA_DATA + 16));
		check_trap("#GP: vmovaps of 256 bits misaligned", GP, 0, at);
		FAULT("vaddps (%0), %%ymm0, %%ymm0", : "r"(VA_DATA + 4));
		check_none("VEX operands may be misaligned");
	}
	idt_reset();
}

/* --- MSRs and control registers --- */
static void test_controls(void)
{
	u64 v;

	if (under_tcg()) {
		report_skip("control registers and MSRs", "TCG takes reserved bits (SDM vol. 2, MOV CR, WRMSR)");
		return;
	}

#define WRMSR_GP(name, msr, value) { \
	v = value; FAULT("wrmsr", : "c"(msr), "a"((u32)v), "d"((u32)(v >> 32))); check_trap("#GP: " name, GP, 0, at); }
	FAULT("rdmsr", : "c"(0x12345678) : "rax", "rdx");
	check_trap("#GP: rdmsr of an unknown MSR", GP, 0, at);
	WRMSR_GP("wrmsr of an unknown MSR", 0x12345678, 0)
	WRMSR_GP("non-canonical FS base", MSR_FS_BASE, NON_CANONICAL)
	WRMSR_GP("non-canonical GS base", MSR_GS_BASE, NON_CANONICAL)
	WRMSR_GP("non-canonical KERNEL_GS_BASE", MSR_KERNEL_GS_BASE, 0x1234000000000000)
	WRMSR_GP("non-canonical LSTAR", MSR_LSTAR, NON_CANONICAL)
	WRMSR_GP("EFER reserved bit", MSR_EFER, rdmsr(MSR_EFER) | 2)
	WRMSR_GP("EFER.LME changed while paging", MSR_EFER, rdmsr(MSR_EFER) & ~0x100ull)
	WRMSR_GP("APIC base reserved bit", MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1)
	WRMSR_GP("PAT memory type 2", 0x277, 0x0007040600020406)
#define MOVCR_GP(name, reg, value) { FAULT("mov %0, %%" reg, : "r"((u64)(value)) : "memory"); \
	check_trap("#GP: " name, GP, 0, at); }
	MOVCR_GP("CR0: PG without PE", "cr0", read_cr0() & ~(u64)CR0_PE)
	MOVCR_GP("CR0: NW without CD", "cr0", read_cr0() | CR0_NW)
	MOVCR_GP("CR0: PG cleared in 64-bit mode", "cr0", read_cr0() & ~CR0_PG)
	MOVCR_GP("CR0: upper half", "cr0", read_cr0() | 1ull << 32)
	MOVCR_GP("CR4: PAE cleared", "cr4", read_cr4() & ~(u64)CR4_PAE)
	MOVCR_GP("CR4: reserved bit", "cr4", read_cr4() | 1ull << 40)
	MOVCR_GP("CR4: reserved bit 15", "cr4", read_cr4() | 1ull << 15)
	MOVCR_GP("CR3: reserved bits", "cr3", read_cr3() | 1ull << 62)
	MOVCR_GP("CR8: above 15", "cr8", 16)
	MOVCR_GP("DR7: upper half", "db7", 1ull << 32)
	MOVCR_GP("DR6: upper half", "db6", 1ull << 32)
	if (has_pcid()) {
		u64 cr3 = read_cr3();

		write_cr3(cr3 | 8);
		MOVCR_GP("CR4: PCIDE with CR3 bits set", "cr4", read_cr4() | CR4_PCIDE)
		write_cr3(cr3);
	}
	FAULT("mov %%db4, %0", "=r"(v) : );
	check_none("DR4 is DR6 without CR4.DE");
	write_cr4(read_cr4() | CR4_DE);
	FAULT("mov %%db4, %0", "=r"(v) : );
	check_trap("#UD: DR4 with CR4.DE", UD, 0, at);
	FAULT("mov %0, %%db5", : "r"(0ull));
	check_trap("#UD: DR5 with CR4.DE", UD, 0, at);
	write_cr4(read_cr4() & ~(u64)CR4_DE);
	write_cr0(read_cr0() | 0x10000000);
	report(!(read_cr0() & 0x10000000), "CR0 reserved bits below 32 are ignored", "cr0 %lx", read_cr0());
	__asm__ volatile("mov %%cr0, %%rax\n and $-2, %%eax\n lmsw %%ax" : : : "rax", "memory");
	check_eq("LMSW cannot clear PE", read_cr0() & CR0_PE, CR0_PE);
}

/* --- selectors --- */
/* What REX.W JMP and CALL take: AMD's processors a 32-bit offset, as without REX.W. */
struct far_pointer {
	u32 off;
	u16 sel_amd, zero, sel;
} __attribute__((packed));

static void far_set(struct far_pointer *p, u16 sel, u64 off)
{
	*p = (struct far_pointer){.off = (u32)off};
	if (is_amd())
		p->sel_amd = sel;
	else
		p->sel = sel;
}

static void test_selectors(void)
{
	u64 r;
	struct far_pointer far;
 \
#define LOAD(name, reg, sel, vec, err) { FAULT("mov %w0, %%" reg, : "r"((u64)(sel)) : "memory"); \
	check_trap(name, vec, err, vec == NO_TRAP ? 0 : at); }
	LOAD("mov ds: null", "ds", 0, NO_TRAP, 0)
	LOAD("mov ds: null with RPL 3", "ds", 3, NO_TRAP, 0)
	LOAD("#GP: mov ds beyond the GDT", "ds", 0x1000, GP, 0x1000)
	LOAD("#GP: mov ds of the LDT", "ds", 0x14, GP, 0x14)
	LOAD("#NP: mov ds", "ds", SEL_NP_DATA, NP, SEL_NP_DATA)
	LOAD("#GP: mov ds of the TSS", "ds", SEL_TSS, GP, SEL_TSS)
	LOAD("mov ds of readable code", "ds", SEL_CODE, NO_TRAP, 0)
	LOAD("#GP: mov ds, RPL above DPL", "ds", SEL_DATA | 3, GP, SEL_DATA)
	LOAD("mov es of user data", "es", SEL_USER_DATA, NO_TRAP, 0)
	LOAD("#GP: mov ss beyond the GDT", "ss", 0x2000, GP, 0x2000)
	LOAD("#SS: mov ss not present", "ss", SEL_NP_DATA, SS, SEL_NP_DATA)
	LOAD("#GP: mov ss of code", "ss", SEL_CODE, GP, SEL_CODE)
	LOAD("#GP: mov ss with RPL 3", "ss", SEL_DATA | 3, GP, SEL_DATA)
	LOAD("#GP: mov ss of user data", "ss", SEL_USER_DATA, GP, SEL_USER_DATA & ~3)
	if (is_amd())
		LOAD("mov ss null with RPL 3, at CPL 0", "ss", 3, NO_TRAP, 0)
	else
		LOAD("#GP: mov ss null with RPL 3", "ss", 3, GP, 0)
	LOAD("mov ss null at CPL 0", "ss", 0, NO_TRAP, 0)
	LOAD("mov ss back", "ss", SEL_DATA, NO_TRAP, 0)
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(SEL_DATA));
	gdt[SEL_SPARE / 8] = 0x00af99000000ffff;	/* execute-only code */
	gdt[SEL_SPARE / 8 + 1] = 0x00cf91000000ffff;	/* read-only data */
	LOAD("#GP: mov ds of execute-only code", "ds", SEL_SPARE, GP, SEL_SPARE)
	LOAD("#GP: mov ss of read-only data", "ss", SEL_SPARE + 8, GP, SEL_SPARE + 8)
	LOAD("mov ds of read-only data", "ds", SEL_SPARE + 8, NO_TRAP, 0)
	__asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA));
	report(gdt[SEL_SPARE / 8 + 1] >> 40 & 1, "loading sets the accessed bit", "descriptor %lx", gdt[SEL_SPARE / 8 + 1]);
	FAULT("push %0\n pop %%fs", : "r"((u64)SEL_NP_DATA) : "memory");
	check_trap("#NP: pop fs", NP, SEL_NP_DATA, 0);
	FAULT("ltr %w0", : "r"(SEL_TSS));
	check_trap("#GP: ltr of a busy TSS", GP, SEL_TSS, at);
	if (!under_tcg()) {	/* takes it, and aborts later */
		FAULT("ltr %w0", : "r"(0));
		check_trap("#GP: ltr of null", GP, 0, at);
	}
	FAULT("ltr %w0", : "r"(SEL_DATA));
	check_trap("#GP: ltr of data", GP, SEL_DATA, at);
	FAULT("lldt %w0", : "r"(SEL_DATA));
	check_trap("#GP: lldt of data", GP, SEL_DATA, at);
	FAULT("lldt %w0", : "r"(0));
	check_none("lldt of null");
#define FAR(name, s, o, vec, err) { far_set(&far, (u16)(s), (u64)(o)); \
	FAULT("rex.w ljmp *%0", : "m"(far) : "memory"); check_trap(name, vec, err, at); }
	FAR("#GP: far jump to null", 0, 0, GP, 0)
	FAR("#GP: far jump to data", SEL_DATA, 0, GP, SEL_DATA)
	FAR("#GP: far jump beyond the GDT", 0x3000, 0, GP, 0x3000)
	FAR("#NP: far jump", SEL_NP_CODE, 0, NP, SEL_NP_CODE)
	FAR("#GP: far jump to user code", SEL_USER_CODE, 0, GP, SEL_USER_CODE & ~3)
	FAULT("push %0\n push %1\n lretq", : "r"((u64)SEL_DATA), "r"(0x1000ull) : "memory");
	check_trap("#GP: far return to data", GP, SEL_DATA, 0);
	FAULT("push %0\n push %1\n lretq", : "r"((u64)SEL_CODE), "r"(NON_CANONICAL) : "memory");
	check_trap("#GP: far return to a non-canonical address", GP, 0, 0);
	FAULT("push %0\n push %%rsp\n pushf\n push %1\n push $77f\n iretq", : "r"((u64)SEL_DATA), "r"(0ull) : "memory");
	check_trap("#GP: iret to a null CS", GP, 0, 0);
	FAULT("push %0\n push %%rsp\n pushf\n push %1\n push $77f\n iretq", : "r"((u64)SEL_CODE), "r"((u64)SEL_CODE)
		: "memory");
	check_trap("#GP: iret to a bad SS", GP, SEL_CODE, 0);
	FAULT("push %0\n push %%rsp\n pushf\n push %1\n push %2\n iretq", : "r"((u64)SEL_DATA), "r"((u64)SEL_CODE),
		"r"(NON_CANONICAL) : "memory");
	check_trap("#GP: iret to a non-canonical RIP", GP, 0, 0);
	FAULT("pushf\n orq $0x4000, (%%rsp)\n popf\n iretq", : : "memory", "cc");
	check_trap("#GP: iret with NT", GP, 0, 0);
	__asm__ volatile("pushf\n andq $~0x4000, (%%rsp)\n popf" : : : "memory", "cc");
	__asm__ volatile("xor %%eax, %%eax\n lar %w1, %%eax\n setz %%al\n movzbl %%al, %%ecx\n mov %%ecx, %%eax"
		: "=a"(r) : "r"(SEL_DATA) : "rcx", "cc");
	__asm__ volatile("mov $0, %k0\n lar %w1, %k0" : "=&r"(r) : "r"(SEL_DATA) : "cc");
	check_eq("lar", r & 0xf0ff00, 0xc09300);
	__asm__ volatile("mov $0, %k0\n lsl %w1, %k0" : "=&r"(r) : "r"(SEL_DATA) : "cc");
	check_eq("lsl", r, 0xffffffff);
	__asm__ volatile("mov $7, %k0\n lar %w1, %k0\n jz 1f\n or $0x100, %k0\n1:" : "=&r"(r) : "r"(0x1230) : "cc");
	check_eq("lar of a bad selector", r, 0x107);
	__asm__ volatile("verr %w1\n setz %b0\n verw %w2\n setz %%ah\n movzbl %b0, %k0" : "=q"(r) : "r"(SEL_CODE),
		"r"(SEL_CODE) : "rax", "cc");
	check_eq("verr of code", r & 1, 1);
	__asm__ volatile("mov $0, %k0\n verw %w1\n setz %b0" : "=&q"(r) : "r"(SEL_CODE) : "cc");
	check_eq("verw of code", r, 0);
}

/* --- gates --- */
static volatile u64 seen_flags, seen_ss, seen_cpl;

static void see_handler(struct frame *f)
{
	seen_flags = flags_read();
	__asm__ volatile("mov %%ss, %0" : "=r"(seen_ss));
	f->rax = f->cs;
}

static void test_gates(void)
{
	u64 rsp, r;

	AFTER("int3", : : );
	check_trap("#BP", BP, 0, at);
	report(!(trap.f.rflags & FL_RF), "no RF in the image of a trap", "rflags %lx", trap.f.rflags);
	AFTER("int $0x92", : : );
	check_trap("int n", 0x92, 0, at);
	AFTER("int $13", : : );
	report(trap.vector != NO_TRAP, "int 13 arrives without an error code", "vector %d", trap.vector);
	idt_load(0x92 * 16 - 1 + 15);
	FAULT("int $0x92", : : );
	check_trap("int beyond the IDT limit", GP, 0x92 * 8 + 2, at);
	idt_load(sizeof idt - 1);
	idt[0x92].type &= 0x7f;
	FAULT("int $0x92", : : );
	check_trap("#NP: gate not present", NP, 0x92 * 8 + 2, at);
	idt_reset();
	idt[0x92].type = 0x85;	/* a task gate: not in long mode */
	FAULT("int $0x92", : : );
	check_trap("#GP: task gate", GP, 0x92 * 8 + 2, at);
	idt_reset();
	idt[0x92].selector = SEL_DATA;
	FAULT("int $0x92", : : );
	check_trap("#GP: gate to data", GP, SEL_DATA, at);
	idt[0x92].selector = 0;
	FAULT("int $0x92", : : );
	check_trap("#GP: gate to a null selector", GP, 0, at);
	idt[0x92].selector = SEL_NP_CODE;
	FAULT("int $0x92", : : );
	check_trap("#NP: gate to not-present code", NP, SEL_NP_CODE, at);
	idt[0x92].selector = SEL_CODE32;
	FAULT("int $0x92", : : );
	check_trap("#GP: gate to 32-bit code", GP, SEL_CODE32, at);
	idt_reset();
	idt[0x92].offset2 = 0x12345678;
	FAULT("int $0x92", : : );
	check_trap("#GP: gate to a non-canonical address", GP, 0, 0);
	idt_reset();
	/* Flags in the handler. */
	trap_handle(0x92, see_handler);
	__asm__ volatile("pushf\n orq $0x40200, (%%rsp)\n popf\n int $0x92\n cli" : "=a"(r) : : "memory", "cc");
	check_eq("interrupt gate clears IF", seen_flags & FL_IF, 0);
	__asm__ volatile("pushf\n andq $~0x40000, (%%rsp)\n popf" : : : "memory", "cc");
	idt[0x92].type = 0x8f;
	__asm__ volatile("sti\n int $0x92\n cli" : "=a"(r) : : "memory", "cc");
	check_eq("trap gate keeps IF", seen_flags & FL_IF, FL_IF);
	__asm__ volatile("pushf\n orq $0x4000, (%%rsp)\n popf\n int $0x92\n pushf\n pop %%rax\n mov %%rax, %%rcx\n"
		"and $~0x4000, %%rcx\n push %%rcx\n popf"
			 : "=a"(r) : : "memory", "cc", "rcx");
	check_eq("NT is cleared for the handler and comes back", (seen_flags & FL_NT) | (r & FL_NT), FL_NT);
	trap_handle(0x92, NULL);
	idt_reset();
	/* IST. */
	idt[UD].ist = 3;
	TRY("mov %%rsp, %0\n ud2", "=&r"(rsp) : : "memory");
	check_trap("#UD on an IST stack", UD, 0, 0);
	check_eq("IST: frame at the top of the stack", trap.at + 40, tss.ist[2]);
	idt[GP].ist = 4;
	TRY("mov (%0), %%eax", : "r"(NON_CANONICAL) : "rax");
	check_eq("IST: frame with error code", trap.at + 48, tss.ist[3]);
	tss.ist[3] -= 5;
	TRY("mov (%0), %%eax", : "r"(NON_CANONICAL) : "rax");
	check_eq("IST: unaligned pointer is aligned", trap.at + 48, (tss.ist[3] & ~15ull));
	tss.ist[3] += 5;
	idt_reset();
	/* IST beyond the TSS limit. */
	gdt[SEL_TSS / 8] = (gdt[SEL_TSS / 8] & ~0x000f02000000ffffull) | 83;
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	idt[0x92].ist = 7;
	FAULT("int $0x92", : : );
	check_trap("IST beyond the TSS limit: #TS", TS, SEL_TSS, at);
	gdt[SEL_TSS / 8] = (gdt[SEL_TSS / 8] & ~0x000f02000000ffffull) | (sizeof tss - 1);
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	idt_reset();
}

/* --- double faults and faults in delivery --- */
static void test_delivery_faults(void)
{
	idt[DE].type &= 0x7f;
	FAULT("divl %k0", : "r"(0), "a"(5), "d"(0));
	check_trap("#DF: #NP in delivering #DE", DF, 0, at);
	check_eq("#DF came on its IST stack", trap.at + 48, tss.ist[0]);
	idt_reset();
	idt[UD].type &= 0x7f;
	FAULT("ud2", : : );
	check_trap("#UD by a not-present gate: #NP", NP, UD * 8 + 3, at);
	idt_reset();
	idt[PF].type &= 0x7f;
	FAULT("mov (%0), %%eax", : "r"(gone) : "rax");
	check_trap("#DF: #NP in delivering #PF", DF, 0, at);
	check_eq("#DF: CR2 is that of the #PF", trap.cr2, VA_GONE);
	idt_reset();
	idt[GP].selector = SEL_DATA;
	FAULT("mov (%0), %%eax", : "r"(NON_CANONICAL) : "rax");
	check_trap("#DF: #GP in delivering #GP", DF, 0, at);
	idt_reset();
	/* The stack of delivery is absent: #UD becomes #PF, #PF becomes #DF. */
	tss.ist[4] = VA_GONE + 4096;
	idt[UD].ist = 5;
	FAULT("ud2", : : );
	check_trap("#PF in delivering #UD", PF, 2, at);
	report(trap.cr2 >= VA_GONE && trap.cr2 < VA_GONE + 4096, "#PF in delivering #UD: CR2", "cr2 %lx", trap.cr2);
	idt_reset();
	idt[PF].ist = 5;
	FAULT("mov (%0), %%eax", : "r"(gone) : "rax");
	check_trap("#DF: #PF in delivering #PF", DF, 0, at);
	idt_reset();
	idt[0x92].ist = 5;
	FAULT("int $0x92", : : );
	check_trap("#PF in delivering int n", PF, 2, at);
	idt_reset();
	tss.ist[4] = NON_CANONICAL + 0x1000;
	idt[0x92].ist = 5;
	FAULT("int $0x92", : : );
	check_trap("#SS in delivering int n", SS, 0, at);
	idt_reset();
	tss.ist[4] = tss.ist[5] - 0x2000;
}

/* --- #PF: restart --- */
static void test_page_faults(void)
{
	u64 a, b, c, sp;

	idt[PF].ist = 2;	/* the stack may be what is absent */
	FAULT("mov (%0), %%eax", : "r"(gone + 0x123) : "rax");
	check_trap("#PF: load", PF, 0, at);
	check_eq("#PF: load, CR2", trap.cr2, VA_GONE + 0x123);
	FAULT("mov %%eax, (%0)", : "r"(gone + 0x10) : "memory");
	check_trap("#PF: store", PF, 2, at);
	report(trap.f.rflags & FL_RF, "RF in the image of #PF", "rflags %lx", trap.f.rflags);
	FAULT("incl (%0)", : "r"(gone) : "memory");
	check_trap("#PF: read-modify-write is a write", PF, 2, at);
	FAULT("lock cmpxchg %%ecx, (%0)", : "r"(gone), "a"(1) : "memory");
	check_trap("#PF: cmpxchg is a write", PF, 2, at);
	FAULT("xchg %%eax, (%0)", : "r"(gone), "a"(0x55) : "memory");
	check_trap("#PF: xchg", PF, 2, at);
	check_eq("#PF: xchg leaves the register", trap.f.rax, 0x55);
	FAULT("call *%0", : "r"(gone + 8) : "memory");
	check_trap("#PF: fetch", PF, rdmsr(MSR_EFER) & 0x800 ? 0x10 : 0, VA_GONE + 8);
	check_eq("#PF: fetch, CR2", trap.cr2, VA_GONE + 8);
	FAULT("call *(%0)", : "r"(gone) : "memory");
	check_trap("#PF: call through memory", PF, 0, at);
	check_eq("#PF: call through memory leaves RSP", trap.f.rsp, trap_rsp);
	FAULT("push (%0)", : "r"(gone) : "memory");
	check_trap("#PF: push of memory", PF, 0, at);
	check_eq("#PF: push of memory leaves RSP", trap.f.rsp, trap_rsp);
	FAULT("push $1\n movq $79f, at\n79: pop (%0)", : "r"(gone) : "memory");
	check_trap("#PF: pop to memory", PF, 2, at);
	check_eq("#PF: pop to memory leaves RSP", trap.f.rsp, trap_rsp - 8);
	FAULT("mov %0, %%rsp\n movq $79f, at\n79: push %%rax", : "r"(gone + 8) : "memory");
	check_trap("#PF: push", PF, 2, at);
	check_eq("#PF: push, CR2", trap.cr2, VA_GONE);
	check_eq("#PF: push leaves RSP", trap.f.rsp, VA_GONE + 8);
	FAULT("mov %0, %%rsp\n movq $79f, at\n79: ret", : "r"(gone + 8) : "memory");
	check_trap("#PF: ret", PF, 0, at);
	check_eq("#PF: ret leaves RSP", trap.f.rsp, VA_GONE + 8);
	FAULT("mov %%rsp, %%rcx\n mov %0, %%rsp\n movq $79f, at\n79: iretq", : "r"(gone) : "memory", "rcx");
	check_trap("#PF: iret", PF, 0, at);
	FAULT("push %%rbp\n mov %0, %%rbp\n movq $79f, at\n79: leave", : "r"(gone) : "memory");
	__asm__ volatile("mov %0, %%rbp" : : "r"(*(u64 *)(trap_rsp - 8)));
	check_trap("#PF: leave", PF, 0, at);
	check_eq("#PF: leave leaves RSP", trap.f.rsp, trap_rsp - 8);
	/* Across the end of the last present page. */
	memset((void *)(VA_GONE - 16), 0xaa, 16);
	FAULT("mov %%rax, (%0)", : "r"(gone - 3), "a"(0x1122334455667788) : "memory");
	check_trap("#PF: store across the end", PF, 2, at);
	check_eq("#PF: store across the end, CR2", trap.cr2, VA_GONE);
	check_eq("#PF: store across the end wrote nothing", *(u32 *)(VA_GONE - 4), 0xaaaaaaaa);
	FAULT("mov (%0), %%rax", : "r"(gone - 7), "a"(0x99) : "memory");
	check_trap("#PF: load across the end", PF, 0, at);
	check_eq("#PF: load across the end leaves the register", trap.f.rax, 0x99);
	FAULT("movups %%xmm0, (%0)", : "r"(gone - 15) : "memory");
	check_trap("#PF: movups across the end", PF, 2, at);
	check_eq("#PF: movups across the end, CR2", trap.cr2, VA_GONE);
	FAULT("lock addq $1, (%0)", : "r"(gone - 1) : "memory");
	check_trap("#PF: lock add across the end", PF, 2, at);
	FAULT("fstpt (%0)", : "r"(gone - 5) : "memory");
	check_trap("#PF: fstpt across the end", PF, 2, at);
	/* Strings stop where they are. */
	TRY("movq $78f, at\n78: rep stosb", "=D"(a), "=c"(c) : "D"(gone - 100), "c"(200), "a"(0x33) : "memory");
	check_trap("#PF: rep stosb", PF, 2, at);
	report(trap.f.rdi == VA_GONE && trap.f.rcx == 100 && trap.cr2 == VA_GONE, "#PF: rep stosb, registers",
		"rdi %lx rcx %lx cr2 %lx", trap.f.rdi,
	       trap.f.rcx, trap.cr2);
	check_eq("#PF: rep stosb wrote what it could", *(u8 *)(VA_GONE - 1), 0x33);
	TRY("movq $78f, at\n78: rep movsq", "=D"(a), "=S"(b), "=c"(c) : "D"(VA_DATA), "S"(gone - 20), "c"(8) : "memory");
	report(trap.f.rsi == VA_GONE - 4 && trap.f.rdi == VA_DATA + 16 && trap.f.rcx == 6 && trap.cr2 == VA_GONE,
		"#PF: rep movsq, source ends",
	       "rsi %lx rdi %lx rcx %lx cr2 %lx", trap.f.rsi, trap.f.rdi, trap.f.rcx, trap.cr2);
	TRY("std\n movq $78f, at\n78: rep movsb\n cld", "=D"(a), "=S"(b), "=c"(c) : "D"(VA_GONE + 4096 - 1),
		"S"(VA_DATA + 100), "c"(8) : "memory");
	report(trap.vector == PF && trap.f.rcx == 8 && trap.cr2 == VA_GONE + 4095 && trap.f.rflags & FL_DF,
		"#PF: rep movsb downwards",
	       "vector %d rcx %lx cr2 %lx rflags %lx", trap.vector, trap.f.rcx, trap.cr2, trap.f.rflags);
	__asm__ volatile("cld");
	TRY("movq $78f, at\n78: repe cmpsb", "=D"(a), "=S"(b), "=c"(c) : "D"(gone - 8), "S"(gone - 8), "c"(50) : "memory");
	report(trap.vector == PF && trap.f.rcx == 42 && trap.f.rip == at, "#PF: repe cmpsb", "vector %d rcx %lx",
		trap.vector, trap.f.rcx);
	/* More than one instruction of a block done before the fault. */
	TRY("mov $1, %%eax\n mov %%rax, scratch\n mov $2, %%eax\n mov %%rax, scratch+8\n add $5, %%rax\n movq $78f, at\n"
		"stc\n78: mov (%0), %%rcx\n"
	    "mov $3, %%eax\n mov %%rax, scratch+8", : "r"(gone) : "rax", "rcx", "memory", "cc");
	report(trap.f.rax == 7 && scratch[0] == 1 && scratch[1] == 2 && trap.f.rip == at && trap.f.rflags & FL_CF,
		"#PF in the middle of a block",
	       "rax %lx stored %lx %lx rip %lx rflags %lx", trap.f.rax, scratch[0], scratch[1], trap.f.rip, trap.f.rflags);
	TRY("mov %%rbp, %0\n mov %1, %%rsp\n movq $78f, at\n78: enter $16, $0\n", "=&r"(sp) : "r"(gone + 8) : "memory");
	check_trap("#PF: enter", PF, 2, at);
	report(trap.f.rsp == VA_GONE + 8 && trap.f.rbp == sp, "#PF: enter leaves RSP and RBP",
		"rsp %lx rbp %lx want %lx", trap.f.rsp, trap.f.rbp, sp);
	idt_reset();
}

/* A handler that mends the cause and returns: the instruction must run again and succeed. */
static volatile int mended;
static void mend(struct frame *f)
{
	mended++;
	page_map(read_cr2() & ~4095ull, page_alloc() | PTE_P | PTE_W);
}

static void test_restart(void)
{
	u64 base = 0x7f0000201000ull, bad = 0, r;
	u8 *p = (u8 *)base;

	trap_handle(PF, mend);
	for (u64 i = 0; i < 64; i++) {
		u8 *q = p + i * 8192 + 4096 - (i & 7);

		*(volatile u64 *)q = i * 0x0101010101010101;
		__asm__ volatile("lock xadd %0, (%1)" : "=r"(r) : "r"(q), "0"(1ull) : "memory", "cc");
		bad += r != i * 0x0101010101010101 || *(volatile u64 *)q != i * 0x0101010101010101 + 1;
	}
	report(!bad, "faults mended: stores across two absent pages", "%lu bad", bad);
	p = (u8 *)(base + 0x200000);
	for (int i = 0; i < 10000; i++)
		((u8 *)0x7f0000101000)[i] = (u8)(i * 7);
	r = 10000;
	__asm__ volatile("rep movsb" : "+D"(p), "+c"(r) : "S"(0x7f0000101000ull) : "memory");
	bad = 0;
	for (u64 i = 0; i < 10000; i++)
		bad += ((u8 *)base)[0x200000 + i] != (u8)(i * 7);
	check_eq("memcmp of the same", (u64)memcmp((void *)(base + 0x200000), (void *)0x7f0000101000, 10000), 0);
	report(!bad && (u64)p == base + 0x200000 + 10000, "faults mended: rep movsb", "%lu bytes bad, rdi %lx", bad,
		(u64)p);
	p = (u8 *)(base + 0x300000 + 16384);
	__asm__ volatile("mov %%rsp, %%rbx\n mov %1, %%rsp\n mov $1500, %%ecx\n1: push %%rcx\n dec %%ecx\n jnz 1b\n"
		"xor %%eax, %%eax\n mov $1500, %%ecx\n"
			 "2: pop %%rdx\n add %%rdx, %%rax\n dec %%ecx\n jnz 2b\n mov %%rbx, %%rsp" : "=&a"(r) : "r"(p) : "rbx",
			 	"rcx", "rdx", "memory", "cc");
	/* The handler runs on the same stack: only what was pushed must survive, which IST delivery keeps. */
	check_eq("faults mended: a growing stack", r, 1500 * 1501 / 2);
	trap_handle(PF, NULL);
}

/* --- CPL 3 --- */
USER(u_nothing, "mov $0x42, %eax");
USER(u_cs, "mov %cs, %eax\n mov %ss, %ecx\n shl $16, %ecx\n or %ecx, %eax");
#define PRIVILEGED(_) \
	_(hlt, "hlt") _(cli, "cli") _(sti, "sti") _(in, "in $0x71, %al") _(out, "out %al, $0x80") \
	_(outs, "outsb") _(ins, "insb") _(lgdt, "lgdt (%rdi)") _(lidt, "lidt (%rdi)") _(lldt, "lldt %ax") \
	_(ltr, "ltr %ax") _(clts, "clts") _(lmsw, "lmsw %ax") _(mov_from_cr0, "mov %cr0, %rax") \
	_(mov_to_cr3, "mov %rax, %cr3") _(mov_cr8, "mov %cr8, %rax") _(mov_from_dr7, "mov %dr7, %rax") \
	_(mov_to_dr0, "mov %rax, %dr0") _(wrmsr, "wrmsr") _(rdmsr, "rdmsr") _(invlpg, "invlpg (%rdi)") \
	_(wbinvd, "wbinvd") _(invd, "invd") _(swapgs, "swapgs") _(sysretq, "sysretq") _(xsetbv, "xsetbv") \
	_(iret_bad, "push $0x10\n push %rsp\n pushf\n push $8\n push $0\n iretq")
#define _(name, code) USER(p_##name, code);
PRIVILEGED(_)
#undef _
USER(u_int3, "int3");
USER(u_int92, "int $0x92");
USER(u_ud2, "ud2");
USER(u_popf, "pushf\n pop %rax\n or $0x3200, %eax\n push %rax\n popf\n pushf\n pop %rax");
USER(u_in, "in $0x71, %al\n mov $7, %eax");
USER(u_kernel_read, "mov (%rdi), %eax");
USER(u_kernel_write, "mov %eax, (%rdi)");
USER(u_jump, "jmp *%rdi");
USER(u_align, "mov 1(%rdi), %eax");
USER(u_align_ok, "mov (%rdi), %rax\n movups 4(%rdi), %xmm0\n mov 3(%rdi), %al");
USER(u_far_call, "rex.w lcall *(%rdi)\n mov $0x99, %ecx");
USER(u_syscall, "mov $0x11, %ebx\n stc\n syscall\n mov %rcx, %rdx\n mov %rsp, %rsi");
USER(u_far_jump, "rex.w ljmp *(%rdi)");
USER(u_mov_ss, "mov %edi, %ss\n mov %ss, %eax");
USER(u_mov_ds, "mov %edi, %ds\n mov %ds, %eax");
USER(u_rdtsc, "rdtsc");
USER(u_smsw, "smsw %eax");
USER(u_sgdt, "sgdt -32(%rsp)");
USER(u_sidt, "sidt -32(%rsp)");
USER(u_str, "str %eax");
USER(u_sldt, "sldt %eax");
USER(u_lret_in, "mov $0x77, %eax");
USER(u_pushf, "pushf\n pop %rax");

static void test_user(void)
{
	static const struct { const char *name; void (*fn)(void); } priv[] = {
#define _(name, code) {"#GP at CPL 3: " #name, p_##name},
		PRIVILEGED(_)
#undef _
	};
	u64 cr0 = read_cr0(), cr4 = read_cr4();

	user_run(u_nothing, 0);
	report(trap.vector == NO_TRAP && trap.f.rax == 0x42, "CPL 3 runs and returns by INT",
		"vector %d rax %lx rip %lx", trap.vector, trap.f.rax, trap.f.rip);
	check_eq("CPL 3: CS and SS in the frame", trap.f.cs << 16 | trap.f.ss, SEL_USER_CODE << 16 | SEL_USER_DATA);
	user_run(u_cs, 0);
	check_eq("CPL 3: CS and SS", trap.f.rax, SEL_USER_DATA << 16 | SEL_USER_CODE);
	for (unsigned i = 0; i < ARRAY_SIZE(priv); i++) {
		user_run(priv[i].fn, (u64)user_stack);
		if (priv[i].fn == p_iret_bad)
			check_trap(priv[i].name, GP, SEL_CODE, 0);
		else
			check_trap(priv[i].name, GP, 0, (u64)priv[i].fn);
	}
	trap_handle(0x92, see_handler);
	seen_ss = 0xffff;
	idt[0x92].type |= 0x60;
	user_run(u_int92, 0);
	report(trap.vector == NO_TRAP && trap.f.rax == SEL_USER_CODE, "int n from CPL 3, gate DPL 3",
		"vector %d rax %lx", trap.vector, trap.f.rax);
	check_eq("SS is null after a change of privilege", seen_ss, 0);
	trap_handle(0x92, NULL);
	idt_reset();
	user_run(u_int92, 0);
	check_trap("int $0x92 from CPL 3, gate DPL 0", GP, 0x92 * 8 + 2, (u64)u_int92);
	user_run(u_int3, 0);
	check_trap("int3 from CPL 3, gate DPL 0", GP, BP * 8 + 2, (u64)u_int3);
	idt[BP].type |= 0x60;
	user_run(u_int3, 0);
	check_trap("int3 from CPL 3, gate DPL 3", BP, 0, (u64)u_int3 + 1);
	check_eq("RSP0 is used", trap.at + 40, tss.rsp[0]);
	idt_reset();
	user_run(u_ud2, 0);
	check_trap("#UD from CPL 3", UD, 0, (u64)u_ud2);
	check_eq("#UD from CPL 3: frame", trap.at + 40, tss.rsp[0]);
	user_run(u_popf, 0);
	check_eq("popf at CPL 3 changes neither IF nor IOPL", trap.f.rax & 0x3200, 0);
	user_run_flags(u_popf, 0, FL_1 | FL_IOPL, SEL_USER_CODE, user_stack_top - 64);
	check_eq("popf at CPL 3 with IOPL 3 changes IF", trap.f.rax & 0x3200, 0x3200);
	user_run_flags(p_cli, 0, FL_1 | FL_IF | FL_IOPL, SEL_USER_CODE, user_stack_top - 64);
	report(trap.vector == NO_TRAP && !(trap.f.rflags & FL_IF), "cli at CPL 3 with IOPL 3", "vector %d rflags %lx",
		trap.vector, trap.f.rflags);
	user_run_flags(p_sti, 0, FL_1 | FL_IOPL, SEL_USER_CODE, user_stack_top - 64);
	report(trap.vector == NO_TRAP && trap.f.rflags & FL_IF, "sti at CPL 3 with IOPL 3", "vector %d rflags %lx",
		trap.vector, trap.f.rflags);
	user_run_flags(u_in, 0, FL_1 | FL_IOPL, SEL_USER_CODE, user_stack_top - 64);
	report(trap.vector == NO_TRAP && trap.f.rax == 7, "in at CPL 3 with IOPL 3", "vector %d", trap.vector);
	tss.bits[0x71 / 8] &= (u8)~(1 << (0x71 & 7));
	user_run(u_in, 0);
	report(trap.vector == NO_TRAP && trap.f.rax == 7, "in at CPL 3 by the I/O bitmap", "vector %d", trap.vector);
	tss.bits[0x71 / 8] |= 1 << (0x71 & 7);
	/* Pages. */
	page_identity_user(false);
	user_run(u_kernel_read, (u64)scratch);
	check_trap("#PF: CPL 3 reads a supervisor page", PF, 5, (u64)u_kernel_read);
	user_run(u_kernel_write, (u64)scratch);
	check_trap("#PF: CPL 3 writes a supervisor page", PF, 7, (u64)u_kernel_write);
	user_run(u_jump, (u64)test_user);
	check_trap("#PF: CPL 3 jumps to a supervisor page", PF, rdmsr(MSR_EFER) & 0x800 ? 0x15 : 5, (u64)test_user);
	page_identity_user(true);
	user_run(u_kernel_read, NON_CANONICAL);
	check_trap("#GP: CPL 3 non-canonical", GP, 0, (u64)u_kernel_read);
	user_run(u_jump, NON_CANONICAL);
	check_trap("#GP: CPL 3 jumps to a non-canonical address", GP, 0, 0);
	/* #AC */
	user_run_flags(u_align, (u64)user_stack, FL_1 | FL_AC, SEL_USER_CODE, user_stack_top - 64);
	check_none("no #AC without CR0.AM");
	write_cr0(cr0 | CR0_AM);
	user_run_flags(u_align, (u64)user_stack, FL_1 | FL_AC, SEL_USER_CODE, user_stack_top - 64);
	check_trap("#AC", AC, 0, (u64)u_align);
	user_run_flags(u_align_ok, (u64)user_stack, FL_1 | FL_AC, SEL_USER_CODE, user_stack_top - 64);
	report(trap.vector == NO_TRAP || trap.vector == AC, "aligned and byte accesses under AC", "vector %d rip %lx",
		trap.vector, trap.f.rip);
	user_run_flags(u_align, (u64)user_stack, FL_1, SEL_USER_CODE, user_stack_top - 64);
	check_none("no #AC without EFLAGS.AC");
	TRY("pushf\n orq $0x40000, (%%rsp)\n popf\n mov 1(%0), %%eax\n pushf\n andq $~0x40000, (%%rsp)\n popf",
		: "r"(scratch) : "rax", "memory", "cc");
	check_none("no #AC at CPL 0");
	write_cr0(cr0);
	/* CR4 bits that forbid things. */
	write_cr4(cr4 | CR4_TSD);
	user_run(u_rdtsc, 0);
	check_trap("#GP: rdtsc at CPL 3 with TSD", GP, 0, (u64)u_rdtsc);
	TRY("rdtsc", : : "rax", "rdx");
	check_none("rdtsc at CPL 0 with TSD");
	write_cr4(cr4);
	user_run(u_rdtsc, 0);
	check_none("rdtsc at CPL 3");
	user_run(u_smsw, 0);
	report(trap.vector == NO_TRAP && (trap.f.rax & 0xffff) == (cr0 & 0xffff), "smsw at CPL 3", "vector %d rax %lx",
		trap.vector, trap.f.rax);
	user_run(u_str, 0);
	report(trap.vector == NO_TRAP && (trap.f.rax & 0xffff) == SEL_TSS, "str at CPL 3", "vector %d rax %lx",
		trap.vector, trap.f.rax);
	if (has_umip()) {
		static const struct { const char *name; void (*fn)(void); } umip[] = {
			{"#GP: smsw with UMIP", u_smsw}, {"#GP: sgdt with UMIP", u_sgdt}, {"#GP: sidt with UMIP", u_sidt},
			{"#GP: str with UMIP", u_str}, {"#GP: sldt with UMIP", u_sldt},
		};

		write_cr4(cr4 | CR4_UMIP);
		for (unsigned i = 0; i < ARRAY_SIZE(umip); i++) {
			user_run(umip[i].fn, 0);
			check_trap(umip[i].name, GP, 0, (u64)umip[i].fn);
		}
		write_cr4(cr4);
	}
	user_run(u_mov_ds, SEL_USER_DATA);
	check_eq("mov ds at CPL 3", trap.f.rax, SEL_USER_DATA);
	user_run(u_mov_ds, SEL_DATA);
	check_trap("#GP: mov ds of a kernel segment at CPL 3", GP, SEL_DATA, (u64)u_mov_ds);
	user_run(u_mov_ss, 0);
	check_trap("#GP: mov ss of null at CPL 3", GP, 0, (u64)u_mov_ss);
	__asm__ volatile("mov %0, %%ds" : : "r"(SEL_DATA));
}

/* --- SYSCALL, call gates, far transfers --- */
extern volatile u64 sys_rcx, sys_r11, sys_flags, sys_cs, sys_ss, sys_rsp;
volatile u64 sys_rcx, sys_r11, sys_flags, sys_cs, sys_ss, sys_rsp;
void sys_entry(void), gate_entry(void), sys_entry_32(void);
__asm__(".text\nsys_entry: mov %rsp, sys_rsp\n mov $boot_stack_end - 0x4000, %rsp\n mov %rcx, sys_rcx\n"
	"mov %r11, sys_r11\n pushf\n pop sys_flags\n"
	"mov %cs, %eax\n mov %rax, sys_cs\n mov %ss, %eax\n mov %rax, sys_ss\n mov sys_rsp, %rsp\n mov $0x5151, %eax\n"
		"sysretq\n"
	"gate_entry: mov %cs, %eax\n mov %rax, sys_cs\n mov %ss, %eax\n mov %rax, sys_ss\n mov %rsp, sys_rsp\n"
		"mov 8(%rsp), %rax\n mov %rax, sys_rcx\n"
	"mov $0x6161, %eax\n lretq\n");
USER_DATA static struct far_pointer user_far = {1, 0, 0, 1};

static void set_gate(const void *target, u16 sel, u8 type)
{
	u64 a = (u64)target;

	gdt[SEL_GATE / 8] = (a & 0xffff) | (u64)sel << 16 | (u64)type << 40 | (a >> 16 & 0xffff) << 48;
	gdt[SEL_GATE / 8 + 1] = a >> 32;
}

static void test_transfers(void)
{
	u64 r, efer = rdmsr(MSR_EFER);

	wrmsr(MSR_STAR, (u64)SEL_CODE << 32 | 0x1bull << 48);
	wrmsr(MSR_LSTAR, (u64)sys_entry);
	wrmsr(MSR_FMASK, FL_CF | FL_IF | FL_TF | FL_DF);
	user_run(u_syscall, 0);
	report(trap.vector == NO_TRAP && trap.f.rax == 0x5151, "syscall and sysret", "vector %d rip %lx rax %lx",
		trap.vector, trap.f.rip, trap.f.rax);
	check_eq("syscall: RCX is the next instruction", sys_rcx, (u64)u_syscall + 8);
	check_eq("syscall: R11 holds the flags", sys_r11 & 0x3ffed7, FL_1 | FL_CF);
	check_eq("syscall: flags masked", sys_flags & (FL_CF | FL_IF), 0);
	check_eq("syscall: CS, SS", sys_cs << 16 | sys_ss, SEL_CODE << 16 | SEL_DATA);
	check_eq("syscall: RSP stays", sys_rsp, user_stack_top - 64);
	check_eq("sysret: CS, SS", trap.f.cs << 16 | trap.f.ss, SEL_USER_CODE << 16 | SEL_USER_DATA);
	check_eq("sysret: flags", trap.f.rflags & FL_CF, FL_CF);
	wrmsr(MSR_EFER, efer & ~1ull);
	user_run(u_syscall, 0);
	check_trap("#UD: syscall without SCE", UD, 0, (u64)u_syscall + 6);
	wrmsr(MSR_EFER, efer);

	set_gate(gate_entry, SEL_CODE, 0xec);
	far_set(&user_far, SEL_GATE | 3, 1);
	user_run(u_far_call, (u64)&user_far);
	report(trap.vector == NO_TRAP && trap.f.rax == 0x6161 && trap.f.rcx == 0x99,
		"call gate from CPL 3 and far return", "vector %d error %lx rax %lx",
	       trap.vector, trap.f.error, trap.f.rax);
	check_eq("call gate: CS, SS", sys_cs << 16 | sys_ss, SEL_CODE << 16);
	check_eq("call gate: RSP0 less four words", sys_rsp, tss.rsp[0] - 32);
	check_eq("call gate: pushed CS", sys_rcx, SEL_USER_CODE);
	check_eq("far return to CPL 3: CS, SS", trap.f.cs << 16 | trap.f.ss, SEL_USER_CODE << 16 | SEL_USER_DATA);
	set_gate(gate_entry, SEL_CODE, 0x8c);
	user_run(u_far_call, (u64)&user_far);
	check_trap("#GP: call gate DPL 0 from CPL 3", GP, SEL_GATE, (u64)u_far_call);
	set_gate(gate_entry, SEL_CODE, 0x6c);
	user_run(u_far_call, (u64)&user_far);
	check_trap("#NP: call gate not present", NP, SEL_GATE, (u64)u_far_call);
	set_gate(gate_entry, SEL_CODE32, 0xec);
	user_run(u_far_call, (u64)&user_far);
	check_trap("#GP: call gate to 32-bit code", GP, SEL_CODE32, (u64)u_far_call);
	set_gate(gate_entry, 0, 0xec);
	user_run(u_far_call, (u64)&user_far);
	check_trap("#GP: call gate to a null selector", GP, 0, (u64)u_far_call);
	set_gate(gate_entry, SEL_CODE, 0xec);
	user_run(u_far_jump, (u64)&user_far);
	check_trap("#GP: far jump through a gate to more privilege", GP, SEL_CODE, (u64)u_far_jump);
	far_set(&user_far, SEL_CODE, 1);
	user_run(u_far_jump, (u64)&user_far);
	check_trap("#GP: far jump to kernel code", GP, SEL_CODE, (u64)u_far_jump);
	far_set(&user_far, SEL_CONFORMING, (u64)u_cs);
	user_run(u_far_jump, (u64)&user_far);
	report(trap.vector == NO_TRAP && (trap.f.rax & 0xffff) == (SEL_CONFORMING | 3),
		"far jump to conforming code keeps CPL 3", "vector %d rax %lx",
	       trap.vector, trap.f.rax);
	/* From CPL 0. */
	far_set(&user_far, SEL_CODE, (u64)gate_entry);
	TRY("rex.w lcall *%1", "=a"(r) : "m"(user_far) : "memory", "rcx");
	check_eq("far call and return at CPL 0", r, 0x6161);
	check_eq("far call pushes CS", sys_rcx, SEL_CODE);
	set_gate(gate_entry, SEL_CODE, 0x8c);
	far_set(&user_far, SEL_GATE, 1);
	TRY("rex.w lcall *%1", "=a"(r) : "m"(user_far) : "memory", "rcx");
	check_eq("call gate at CPL 0", r, 0x6161);
	user_run_flags(u_pushf, 0, FL_1 | FL_ARITH | FL_DF | FL_ID, SEL_USER_CODE, user_stack_top - 64);
	check_eq("iret loads the flags", trap.f.rax & (FL_ARITH | FL_DF | FL_ID), FL_ARITH | FL_DF | FL_ID);
	__asm__ volatile("cld");
}

/* 32-bit code at CPL 0: INTO, BOUND, and its traps. */
u64 compat_trap(u64 which);
__asm__("compat_trap: push %rbx\n mov %rsp, trap_rsp\n movq $2f, trap_resume\n pushq $0x30\n push $1f\n lretq\n"
	".code32\n"
	"1: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n cmp $4, %edi\n je 7f\n cmp $5, %edi\n je 8f\n"
		"cmp $6, %edi\n je 9f\n cmp $0, %edi\n je 3f\n cmp $1, %edi\n je 4f\n cmp $2, %edi\n je 5f\n"
	"ud2\n3: mov $0x7fffffff, %eax\n inc %eax\n into\ncompat_after_into: jmp 6f\n"
	"4: mov $20, %eax\ncompat_bound: bound %eax, limits\n jmp 6f\n"
	"5: mov $0xffffffff, %eax\n mov $4, %ecx\ncompat_load: mov (%eax, %ecx), %eax\n jmp 6f\n"
	"7: xor %eax, %eax\n mov %eax, %ds\n compat_null: mov limits, %eax\n jmp 6f\n"
	"8: xor %ecx, %ecx\n mov %ecx, %es\n mov $limits, %edi\n compat_null_es: stosl\n jmp 6f\n"
	"9: xor %ecx, %ecx\n mov %ecx, %fs\n compat_null_fs: mov %fs:limits, %eax\n"
	"6: ljmp $8, $2f\n.code64\n2: movq $0, trap_resume\n pop %rbx\n ret\n.data\nlimits: .long 0, 10\n.text\n");
extern char compat_after_into[], compat_bound[], compat_null[], compat_null_es[], compat_null_fs[];

static void test_compat(void)
{
	u64 r, s;
 \
#define COMPAT(n) trap.vector = NO_TRAP; __asm__ volatile("call compat_trap" : "=a"(r) : "D"(n) : "rcx", "rdx", \
	"memory", "cc")
	COMPAT(0);
	check_trap("#OF in 32-bit code", OF, 0, (u64)compat_after_into);
	check_eq("#OF: CS", trap.f.cs, SEL_CODE32);
	COMPAT(1);
	check_trap("#BR in 32-bit code", BR, 0, (u64)compat_bound);
	COMPAT(2);
	check_none("32-bit addresses wrap in 32-bit code");
	COMPAT(3);
	check_trap("#UD in 32-bit code", UD, 0, 0);
	COMPAT(4);
	check_trap("#GP: null DS in 32-bit code", GP, 0, (u64)compat_null);
	COMPAT(5);
	check_trap("#GP: null ES in 32-bit code", GP, 0, (u64)compat_null_es);
	COMPAT(6);
	check_trap("#GP: null FS in 32-bit code", GP, 0, (u64)compat_null_fs);
	user_run(u_nothing, 0);
	__asm__ volatile("mov %%ds, %k0\n mov %%es, %k1" : "=r"(r), "=r"(s));
	check_eq("IRET to CPL 3 takes kernel segments out of DS and ES", r | s, 0);
	__asm__ volatile("mov %0, %%ds\n mov %0, %%es" : : "r"(SEL_DATA));
}

/* A handler that traps itself, five deep. */
static int depth, depth_max;
static void nest(struct frame *f)
{
	if (++depth < 5)
		__asm__ volatile("ud2");
	depth_max = depth > depth_max ? depth : depth_max;
	depth--;
	f->rip += 2;
}

static void test_nested(void)
{
	trap_handle(UD, nest);
	for (int i = 0; i < 100; i++)
		__asm__ volatile("ud2");
	trap_handle(UD, NULL);
	check_eq("traps in trap handlers", (u64)(depth << 8 | depth_max), 5);
}

void metal_main(void)
{
	for (u64 i = 0; i < 4; i++)
		page_map(VA_DATA + i * 4096, page_alloc() | PTE_P | PTE_W | PTE_U);
	page_map(VA_GONE, 0);
	test_de();
	test_frame();
	test_ud();
	test_fpu();
	test_addresses();
	test_controls();
	test_selectors();
	test_gates();
	test_delivery_faults();
	test_page_faults();
	test_user();
	test_transfers();
	test_compat();
	test_nested();
	idt[PF].ist = 2;
	test_restart();
}
