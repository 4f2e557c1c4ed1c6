// SPDX-License-Identifier: MIT
//
// Segments outside 64-bit code. Flat ones cost nothing: the mode says that they are. If one of ES, CS, SS, DS is not,
// code is translated in a form in which each access compares the end of what it reaches for with its segment's room,
// and adds the base (check.c). The room is what can be accessed without a further look: up to the limit of an ordinary
// segment, nothing of one that is unusable, expands down, or does not allow this kind of access. Whatever is beyond it
// goes to the careful form, which asks segment_linear.
//
// Translated code knows linear addresses only (struct tu, struct exit); v->rip is the offset in the code segment.
#include "bt/bt.h"

// Any access that wraps in 32 bits is allowed.
static bool whole(const struct x86_seg *s)
{
	return !(s->attr & SEG_UNUSABLE) && s->limit == UINT32_MAX &&
	       (s->attr & (SEG_TYPE_CODE | SEG_TYPE_E | SEG_TYPE_W)) == SEG_TYPE_W;
}

static bool flat(const struct x86_seg *s)
{
	return whole(s) && !s->base;
}

static bool flat_code(const struct x86_seg *s)
{
	return !s->base && s->limit == UINT32_MAX;
}

// A code segment that cannot be read, or a data segment that runs, is rare enough to be looked at each time.
static bool all_flat(const struct vcpu *v)
{
	const struct x86_seg *cs = &v->seg[X86_CS];

	return flat(&v->seg[X86_DS]) && flat(&v->seg[X86_ES]) && flat(&v->seg[X86_SS]) && flat_code(cs) &&
	       (cs->attr & (SEG_TYPE_CODE | SEG_TYPE_R)) == (SEG_TYPE_CODE | SEG_TYPE_R);
}

uint32_t segments_mode(const struct vcpu *v)
{
	uint32_t mode = v->seg[X86_CS].attr & SEG_DB ? MODE_CODE32 : MODE_CODE16;

	if (v->seg[X86_SS].attr & (SEG_DB | SEG_UNUSABLE))
		mode |= MODE_SS32;
	if (vcpu_real_segments(v))
		mode |= MODE_REAL;
	if (!flat_code(&v->seg[X86_CS]))
		mode |= MODE_CS;
	return all_flat(v) ? mode : mode | MODE_SEGS;
}

static bool allows(const struct vcpu *v, const struct x86_seg *s, bool write)
{
	if ((s->attr & (SEG_S | SEG_TYPE_CODE | SEG_TYPE_E)) == (SEG_S | SEG_TYPE_E))
		return false;
	if (vcpu_real_segments(v))
		return true;
	if (s->attr & SEG_UNUSABLE)
		return false;
	if (s->attr & SEG_TYPE_CODE)
		return !write && s->attr & SEG_TYPE_R;
	return !write || s->attr & SEG_TYPE_W;
}

// Where the others are flat, FS and GS have room for everything or for nothing.
static void measure_odd(struct vcpu *v)
{
	for (unsigned i = X86_FS; i <= X86_GS; i++)
		v->seg_room[i][0] = v->seg_room[i][1] = whole(&v->seg[i]) ? BIT64(33) : 0;
}

void segments_measure(struct vcpu *v, uint32_t mode)
{
	if (!(mode & MODE_SEGS)) {
		measure_odd(v);
		return;
	}
	for (unsigned i = 0; i < X86_SREGS; i++) {
		const struct x86_seg *s = &v->seg[i];
		uint64_t room = s->limit == UINT32_MAX ? BIT64(33) : s->limit + UINT64_C(1);

		v->seg_room[i][0] = allows(v, s, false) ? room : 0;
		v->seg_room[i][1] = allows(v, s, true) ? room : 0;
	}
}
