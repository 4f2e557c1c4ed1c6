// SPDX-License-Identifier: MIT
//
// The crash report: what is said when the machine ends because of a bug in ringer, or of a thing of the architecture
// that is not built yet. Written into shared.report, then REQ_CRASH; the app prints it. Makes no use of anything that
// could be what has broken: no allocation, no translation, no guest page walk that changes the guest.
#include "base/format.h"
#include "bt/entry.h"
#include "vmm/linux.h"
#include "vmm/vmm.h"
#include "x86/decode.h"

struct report {
	char *text;
	size_t used;
};

enum { INSN_BYTES = 15 };

static void say(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void say(struct report *r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	r->used += format_textv(r->text + r->used, REPORT_SIZE - r->used, fmt, ap);
	va_end(ap);
}

static const char *const gpr_names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

static void say_segment(struct report *r, const char *name, const struct x86_seg *s)
{
	say(r, "%-4s %04x base %016lx limit %08x attr %05x\n", name, s->sel, s->base, s->limit, s->attr);
}

static const char *mode_name(const struct vcpu *v)
{
	if (!(v->cr0 & CR0_PE))
		return "real";
	if (v->rflags & RFLAGS_VM)
		return "virtual-8086";
	if (vcpu_code64(v))
		return "64-bit";
	if (vcpu_long_mode(v))
		return v->seg[X86_CS].attr & SEG_DB ? "compatibility, 32-bit" : "compatibility, 16-bit";
	return v->seg[X86_CS].attr & SEG_DB ? "protected, 32-bit" : "protected, 16-bit";
}

static void say_insn_bytes(struct report *r, struct vcpu *v)
{
	gva_t pc = vcpu_linear_pc(v);
	const uint8_t *byte;
	gpa_t gpa;

	say(r, "bytes at %016lx:", pc);
	for (unsigned i = 0; i < INSN_BYTES; i++) {
		byte = mmu_peek(v, pc + i, &gpa) ? mem_host(&v->shared->config.mem, gpa, 1) : NULL;
		if (!byte)
			break;
		say(r, " %02x", *byte);
	}
	say(r, "\n");
}

static void say_vcpu(struct report *r, const struct vcpu *v)
{
	static const char *const sreg_names[] = {"es", "cs", "ss", "ds", "fs", "gs"};

	say(r, "vcpu %u: rip %016lx rflags %08lx cpl %u mode %s\n", v->index, v->rip, v->rflags, v->cpl, mode_name(v));
	for (unsigned i = 0; i < X86_GPRS; i++)
		say(r, "%-3s %016lx%s", gpr_names[i], v->gpr[i], i % 4 == 3 ? "\n" : "  ");
	for (unsigned i = 0; i < X86_SREGS; i++)
		say_segment(r, sreg_names[i], &v->seg[i]);
	say_segment(r, "ldtr", &v->ldtr);
	say_segment(r, "tr", &v->tr);
	say(r, "gdt  %016lx limit %04x  idt %016lx limit %04x\n", v->gdtr.base, v->gdtr.limit, v->idtr.base, v->idtr.limit);
	say(r, "cr0 %lx cr2 %lx cr3 %lx cr4 %lx efer %lx xcr0 %lx\n", v->cr0, v->cr2, v->cr3, v->cr4, v->efer, v->xcr0);
	say(r, "pending %x shadow %u activity %u nmi_blocked %u fault: pending %u vector %u error %x cr2 %lx\n", v->pending,
	    v->shadow, v->activity, v->nmi_blocked, v->fault.pending, v->fault.vector, v->fault.error, v->fault.cr2);
}

static void say_exits(struct report *r, const struct vcpu *v)
{
	const struct vcpu_exit *e;

	say(r, "last exits, newest first:\n");
	for (uint32_t i = 1; i <= EXIT_LOG && i <= v->nexits; i++) {
		e = &v->exits[(v->nexits - i) % EXIT_LOG];
		say(r, "  %016lx %s %lx\n", e->rip, e->what, e->info);
	}
}

// What lies on top of the host's stack: in translated code, where guest returns go back to.
static void say_stack(struct report *r, const struct vcpu *v, uint64_t rsp)
{
	enum { WORDS = 8 };
	uint64_t bottom = (uintptr_t)v + ZONE_VCPU_CALLS;

	if (rsp % 8 || rsp < bottom || rsp > bottom + ZONE_VCPU_CALLS_SIZE - WORDS * 8)
		return;
	say(r, "stack ");
	for (unsigned i = 0; i < WORDS; i++)
		say(r, " %lx", ((const uint64_t *)rsp)[i]);
	say(r, "\n");
}

static void say_host(struct report *r, const struct vcpu *v, const struct report_host *h)
{
	// Order of ucontext's gregs (<sys/ucontext.h>).
	static const char *const names[] = {
		"r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx",
		"rdx", "rax", "rcx", "rsp", "rip", "efl", "csgsfs", "err", "trapno", "mask", "cr2",
	};
	uint64_t rip = (uint64_t)h->gregs[16], tc = (uintptr_t)v + ZONE_VCPU_TC;

	say(r, "host signal %d code %d address %016lx, in %s\n", h->signal, h->code, h->address,
	    rip - tc < v->shared->config.tc_size ? "translated code" : "the monitor");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		say(r, "%-6s %016lx%s", names[i], (uint64_t)h->gregs[i], i % 4 == 3 ? "\n" : "  ");
	say(r, "\n");
	say_stack(r, v, (uint64_t)h->gregs[15]);
}

static void say_bytes(struct report *r, char kind, uint64_t at, const uint8_t *bytes, size_t n)
{
	say(r, "%c%c %lx ", TRACE_RECORD, kind, at);
	for (size_t i = 0; i < n; i++)
		say(r, "%02x", bytes[i]);
	say(r, "\n");
}

// The present unit, as records that the app disassembles.
static void say_unit(struct report *r, const struct vcpu *v, const struct report_host *host)
{
	enum { CHUNK = 256, MOST = 4096 };
	struct bt_unit_view u;
	const uint8_t *guest;

	if (!bt_view_unit(v, host ? (uint64_t)host->gregs[16] : 0, &u))
		return;
	say(r, "%c%c %lx %lx %x %u %u %lx %u\n", TRACE_RECORD, TRACE_UNIT, u.pc, u.gpa, u.mode, u.ninsns, u.len,
	    (uint64_t)u.code, u.size);
	guest = mem_host(&v->shared->config.mem, u.gpa, MIN(u.len, PAGE_SIZE - (u.gpa & PAGE_OFFSET)));
	for (size_t at = 0; guest && at < u.len;) {
		struct x86_insn insn;
		int n = x86_decode(&insn, guest + at, MIN(u.len - at, X86_INSN_MAX), (u.mode & 3) | (v->amd ? X86_AMD : 0));

		n = n > 0 ? n : 1;
		say_bytes(r, TRACE_GUEST, u.pc + at, guest + at, (size_t)n);
		at += (size_t)n;
	}
	for (size_t at = 0; at < u.size && at < MOST; at += CHUNK)
		say_bytes(r, TRACE_HOST, (uint64_t)u.code + at, u.code + at, MIN(u.size - at, CHUNK));
	say(r, "%c%c\n", TRACE_RECORD, TRACE_END);
}

void report_trace_state(struct vcpu *v, const char *title)
{
	struct report r = {v->shared->report, 0};
	char *line = r.text;

	say_vcpu(&r, v);
	vmm_trace_text(v, "%s\n", title);
	for (char *p = r.text; p < r.text + r.used; p++)
		if (*p == '\n') {
			*p = 0;
			vmm_trace_text(v, "  %s\n", line);
			line = p + 1;
		}
	r.text[0] = 0;
}

static _Noreturn void end_with_report(struct vcpu *v)
{
	world_request(v, REQ_CRASH, 0, 0, 0);
	linux_exit(START_ENDED);
}

static struct report begin(struct vcpu *v)
{
	struct vmm *vm = vmm_of(v);

	if (vm->crashing)
		linux_exit(START_CRASHED_TWICE);
	vm->crashing = true;
	return (struct report){vm->shared->report, 0};
}

_Noreturn void report_crash(struct vcpu *v, const char *what, const struct report_host *host)
{
	struct report r = begin(v);

	say(&r, "ringer: %s\n", what);
	if (host)
		say_host(&r, v, host);
	say_vcpu(&r, v);
	say_exits(&r, v);
	say_insn_bytes(&r, v);
	say_unit(&r, v, host);
	end_with_report(v);
}

_Noreturn void vcpu_nyi(struct vcpu *v, const char *what)
{
	struct report r = begin(v);

	vcpu_stats(v)->nyi++;
	say(&r, "ringer: not built yet: %s\n", what);
	say_insn_bytes(&r, v);
	say_vcpu(&r, v);
	say_exits(&r, v);
	say_unit(&r, v, NULL);
	end_with_report(v);
}

_Noreturn void vmm_crash(struct vcpu *v, const char *text)
{
	report_crash(v, text, NULL);
}

_Noreturn void base_panic(const char *file, int line, const char *what)
{
	char text[256];

	format_text(text, sizeof(text), "a bug in ringer: %s:%d: %s", file, line, what);
	report_crash(vmm_self()->vcpu, text, NULL);
}
