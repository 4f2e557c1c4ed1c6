// SPDX-License-Identifier: MIT
//
// The register table. Numbers and types are those of GDB's features org.gnu.gdb.i386.core, .sse and .segments for
// x86-64 (GDB manual, "i386 Features"). Vector registers are in vcpu.xsave while the vCPU is stopped; writing one marks
// its component as in use (SDM, "XSAVE Area").
#include <stdio.h>
#include <string.h>

#include "ctl/gdb_regs.h"

enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16, FX_MXCSR = 24, FX_ST0 = 32,
	FX_XMM0 = 160, XSTATE_BV = 512, YMM_HIGH = 576, STATE_X87 = BIT(0), STATE_SSE = BIT(1), STATE_AVX = BIT(2) };

#define V(field) offsetof(struct vcpu, field)
#define X(off) (offsetof(struct vcpu, xsave) + (off))

enum reg_kind {
	KIND_PLAIN, KIND_X87, KIND_FTW, KIND_SSE, KIND_AVX, KIND_CR8,
	KIND_SHOWN, // not written: a selector's cache, or the paging mode's, would not follow
};

struct reg {
	const char *name, *type;
	uint16_t bits;
	uint8_t stored; // bytes in struct vcpu; the rest of the register reads as zero
	uint8_t kind;
	uint32_t at;
};

static const struct reg core[] = {
#define GPR(name, index) { name, "int64", 64, 8, KIND_PLAIN, V(gpr) + (index) * 8 }
#define PTR(name, type, at) { name, type, 64, 8, KIND_PLAIN, at }
	GPR("rax", X86_RAX), GPR("rbx", X86_RBX), GPR("rcx", X86_RCX), GPR("rdx", X86_RDX),
	GPR("rsi", X86_RSI), GPR("rdi", X86_RDI),
	PTR("rbp", "data_ptr", V(gpr[X86_RBP])), PTR("rsp", "data_ptr", V(gpr[X86_RSP])),
	GPR("r8", X86_R8), GPR("r9", X86_R9), GPR("r10", X86_R10), GPR("r11", X86_R11),
	GPR("r12", X86_R12), GPR("r13", X86_R13), GPR("r14", X86_R14), GPR("r15", X86_R15),
	PTR("rip", "code_ptr", V(rip)),
	{ "eflags", "i386_eflags", 32, 4, KIND_PLAIN, V(rflags) },
#define SEG(name, index) { name, "int32", 32, 2, KIND_SHOWN, V(seg[0].sel) + (index) * sizeof(struct x86_seg) }
	SEG("cs", X86_CS), SEG("ss", X86_SS), SEG("ds", X86_DS),
	SEG("es", X86_ES), SEG("fs", X86_FS), SEG("gs", X86_GS),
#define ST(n) { "st" #n, "i387_ext", 80, 10, KIND_X87, X(FX_ST0 + (n) * 16) }
	ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
	{ "fctrl", "int", 32, 2, KIND_X87, X(FX_FCW) },
	{ "fstat", "int", 32, 2, KIND_X87, X(FX_FSW) },
	{ "ftag", "int", 32, 1, KIND_FTW, X(FX_FTW) },
	{ "fiseg", "int", 32, 2, KIND_X87, X(FX_FIP + 4) },
	{ "fioff", "int", 32, 4, KIND_X87, X(FX_FIP) },
	{ "foseg", "int", 32, 2, KIND_X87, X(FX_FDP + 4) },
	{ "fooff", "int", 32, 4, KIND_X87, X(FX_FDP) },
	{ "fop", "int", 32, 2, KIND_X87, X(FX_FOP) },
};

static const struct reg sse[] = {
#define XMM(n) { "xmm" #n, "vec128", 128, 16, KIND_SSE, X(FX_XMM0 + (n) * 16) }
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
	{ "mxcsr", "i386_mxcsr", 32, 4, KIND_SSE, X(FX_MXCSR) },
};

static const struct reg segments[] = {
	{ "fs_base", "int", 64, 8, KIND_PLAIN, V(seg[X86_FS].base) },
	{ "gs_base", "int", 64, 8, KIND_PLAIN, V(seg[X86_GS].base) },
};

// As QEMU names them.
static const struct reg control[] = {
	{ "k_gs_base", "int", 64, 8, KIND_PLAIN, V(kernel_gs_base) },
	{ "cr0", "int", 64, 8, KIND_SHOWN, V(cr0) },
	{ "cr2", "int", 64, 8, KIND_PLAIN, V(cr2) },
	{ "cr3", "int", 64, 8, KIND_SHOWN, V(cr3) },
	{ "cr4", "int", 64, 8, KIND_SHOWN, V(cr4) },
	{ "cr8", "int", 64, 1, KIND_CR8, V(lapic.tpr) },
	{ "efer", "int", 64, 8, KIND_SHOWN, V(efer) },
};

static const struct reg avx[] = {
#define YMM(n) { "ymm" #n "h", "uint128", 128, 16, KIND_AVX, X(YMM_HIGH + (n) * 16) }
	YMM(0), YMM(1), YMM(2), YMM(3), YMM(4), YMM(5), YMM(6), YMM(7),
	YMM(8), YMM(9), YMM(10), YMM(11), YMM(12), YMM(13), YMM(14), YMM(15),
};

#define BIT_FIELD(name, n) "<field name=\"" name "\" start=\"" n "\" end=\"" n "\"/>"
#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" count "\"/>"
#define MEMBER(name, type) "<field name=\"" name "\" type=\"" type "\"/>"

static const char flags_types[] = "<flags id=\"i386_eflags\" size=\"4\">"
	BIT_FIELD("CF", "0") BIT_FIELD("PF", "2") BIT_FIELD("AF", "4") BIT_FIELD("ZF", "6")
	BIT_FIELD("SF", "7") BIT_FIELD("TF", "8") BIT_FIELD("IF", "9") BIT_FIELD("DF", "10")
	BIT_FIELD("OF", "11") BIT_FIELD("NT", "14") BIT_FIELD("RF", "16") BIT_FIELD("VM", "17")
	BIT_FIELD("AC", "18") BIT_FIELD("ID", "21") "</flags>";

static const char vector_types[] =
	VECTOR("v4f", "ieee_single", "4") VECTOR("v2d", "ieee_double", "2") VECTOR("v16i8", "int8", "16")
	VECTOR("v8i16", "int16", "8") VECTOR("v4i32", "int32", "4") VECTOR("v2i64", "int64", "2")
	"<union id=\"vec128\">" MEMBER("v4_float", "v4f") MEMBER("v2_double", "v2d") MEMBER("v16_int8", "v16i8")
	MEMBER("v8_int16", "v8i16") MEMBER("v4_int32", "v4i32") MEMBER("v2_int64", "v2i64") MEMBER("uint128", "uint128")
	"</union><flags id=\"i386_mxcsr\" size=\"4\">"
	BIT_FIELD("IE", "0") BIT_FIELD("DE", "1") BIT_FIELD("ZE", "2") BIT_FIELD("OE", "3")
	BIT_FIELD("UE", "4") BIT_FIELD("PE", "5") BIT_FIELD("DAZ", "6") BIT_FIELD("IM", "7")
	BIT_FIELD("DM", "8") BIT_FIELD("ZM", "9") BIT_FIELD("OM", "10") BIT_FIELD("UM", "11")
	BIT_FIELD("PM", "12") BIT_FIELD("FZ", "15") "</flags>";

static const struct feature {
	const char *name, *types;
	const struct reg *regs;
	unsigned n;
} features[] = {
	{ "org.gnu.gdb.i386.core", flags_types, core, ARRAY_SIZE(core) },
	{ "org.gnu.gdb.i386.sse", vector_types, sse, ARRAY_SIZE(sse) },
	{ "org.gnu.gdb.i386.segments", "", segments, ARRAY_SIZE(segments) },
	{ "org.gnu.gdb.i386.avx", "", avx, ARRAY_SIZE(avx) },
	{ "org.ringer.i386.control", "", control, ARRAY_SIZE(control) },
};

unsigned gdb_regs_count(void)
{
	return ARRAY_SIZE(core) + ARRAY_SIZE(sse) + ARRAY_SIZE(segments) + ARRAY_SIZE(avx) + ARRAY_SIZE(control);
}

static const struct reg *find(unsigned n)
{
	for (unsigned i = 0; i < ARRAY_SIZE(features); n -= features[i++].n)
		if (n < features[i].n)
			return &features[i].regs[n];
	return NULL;
}

// FXSAVE keeps one bit a register: empty or not. The protocol has two bits, 11 is empty.
static uint16_t full_tag_word(uint8_t abridged)
{
	uint16_t full = 0;

	for (unsigned i = 0; i < 8; i++)
		full |= abridged & BIT(i) ? 0 : 3u << i * 2;
	return full;
}

size_t gdb_reg_read(const struct vcpu *v, unsigned n, uint8_t *out)
{
	const struct reg *r = find(n);

	if (!r)
		return 0;
	memset(out, 0, r->bits / 8);
	memcpy(out, (const uint8_t *)v + r->at, r->stored);
	if (r->kind == KIND_CR8)
		out[0] >>= 4;
	if (r->kind == KIND_FTW) {
		uint16_t full = full_tag_word(out[0]);

		memcpy(out, &full, sizeof(full));
	}
	return r->bits / 8;
}

size_t gdb_reg_write(struct vcpu *v, unsigned n, const uint8_t *in)
{
	const struct reg *r = find(n);

	if (!r)
		return 0;
	if (r->kind == KIND_FTW || r->kind == KIND_CR8 || r->kind == KIND_SHOWN)
		return 0;
	memcpy((uint8_t *)v + r->at, in, r->stored);
	if (r->kind == KIND_X87)
		v->xsave[XSTATE_BV] |= STATE_X87;
	if (r->kind == KIND_SSE)
		v->xsave[XSTATE_BV] |= STATE_SSE;
	if (r->kind == KIND_AVX)
		v->xsave[XSTATE_BV] |= STATE_AVX;
	v->rflags = (v->rflags & ~(uint64_t)(BIT(3) | BIT(5) | BIT(15))) | RFLAGS_FIXED1;
	return r->bits / 8;
}

// -- target.xml
// ---------------------------------------------------------------------------------------------------------

struct window { // what of a text that is made from its beginning is wanted
	char *out;
	size_t from, n, at, done;
};

static void add(struct window *w, const char *text)
{
	for (; *text; text++, w->at++)
		if (w->at >= w->from && w->done < w->n)
			w->out[w->done++] = *text;
}

size_t gdb_target_xml(char *out, size_t offset, size_t n)
{
	struct window w = {.out = out, .from = offset, .n = n};
	char line[128];

	add(&w, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM "
		"\"gdb-target.dtd\"><target><architecture>i386:x86-64</architecture>");
	for (unsigned i = 0; i < ARRAY_SIZE(features); i++) {
		const struct feature *f = &features[i];

		snprintf(line, sizeof(line), "<feature name=\"%s\">", f->name);
		add(&w, line);
		add(&w, f->types);
		for (unsigned k = 0; k < f->n; k++) {
			snprintf(line, sizeof(line), "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\"/>", f->regs[k].name,
				 f->regs[k].bits, f->regs[k].type);
			add(&w, line);
		}
		add(&w, "</feature>");
	}
	add(&w, "</target>");
	return w.done;
}
