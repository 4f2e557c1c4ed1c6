// SPDX-License-Identifier: MIT
//
// Guest memory by linear address for C code: RAM or device, any alignment, across pages. Every page of an access is
// walked before the first byte moves, so a fault leaves nothing half done. Linear addresses are 64 bits and canonical
// in long mode and wrap at 4 GiB outside it. Segment limits are not looked at here: see segment_linear.
#include "base/assert.h"
#include "base/string.h"
#include "cpu/vmem.h"

enum { SPANS_MAX = 3, ACCESS_MAX = 2 * PAGE_SIZE };

struct span { // a piece of an access within one page
	gpa_t gpa;
	size_t size;
	uint8_t *host; // NULL: a device
	bool watch;    // a write must be made known
};

static void check_canonical(struct vcpu *v, gva_t gva, size_t size, enum x86_sreg seg)
{
	if (!vcpu_canonical(v, gva) || !vcpu_canonical(v, gva + size - 1))
		vcpu_raise(v, seg == X86_SS ? VEC_SS : VEC_GP, 0);
}

static inline void map_page(struct vcpu *v, gva_t gva, size_t size, enum vmem_access access, struct span *s)
{
	struct mmu_walk w;

	s->size = size;
	s->host = vcpu_ram_host(v, gva, access);
	s->watch = !s->host;
	if (s->host)
		return;
	if (!mmu_walk(v, gva, access, &w))
		vcpu_raise_pf(v, gva, w.error);
	s->gpa = w.gpa;
	s->host = mem_host(&v->shared->config.mem, w.gpa, size);
}

static inline void note_access(struct vcpu *v, gva_t gva, size_t size, enum vmem_access access)
{
	bool write = access & VMEM_WRITE;

	if (v->dr[7] & 0xff && !(access & (VMEM_IMPLICIT | VMEM_FETCH)))
		vcpu_data_access(v, gva, size, write);
	if (v->shared->debugger.watchpoints)
		debugger_note_access(&v->shared->debugger, &v->pending, PENDING_STOP, gva, size, write);
}

static unsigned map_access(struct vcpu *v, gva_t gva, size_t size, enum vmem_access access, enum x86_sreg seg,
			   struct span spans[SPANS_MAX])
{
	bool long_mode = vcpu_long_mode(v);
	unsigned n = 0;

	ASSERT(size && size <= ACCESS_MAX);
	if (long_mode)
		check_canonical(v, gva, size, seg);
	while (size) {
		if (!long_mode)
			gva = (uint32_t)gva;
		size_t here = MIN(size, PAGE_SIZE - (gva & PAGE_OFFSET));

		map_page(v, gva, here, access, &spans[n++]);
		gva = vmem_advance(v, gva, here);
		size -= here;
	}
	return n;
}

static inline void copy(void *to, const void *from, size_t n)
{
	switch (n) {
	case 1:
		__builtin_memcpy(to, from, 1);
		return;
	case 2:
		__builtin_memcpy(to, from, 2);
		return;
	case 4:
		__builtin_memcpy(to, from, 4);
		return;
	case 8:
		__builtin_memcpy(to, from, 8);
		return;
	default:
		memcpy(to, from, n);
	}
}

// The largest naturally aligned device access at gpa within size bytes.
static unsigned device_size(gpa_t gpa, size_t size)
{
	for (unsigned n = 8; n > 1; n /= 2)
		if (size >= n && !(gpa & (n - 1)))
			return n;
	return 1;
}

static void device_read(struct vcpu *v, gpa_t gpa, uint8_t *out, size_t size)
{
	while (size) {
		unsigned n = device_size(gpa, size);
		uint64_t value = vcpu_mmio_read(v, gpa, n);

		copy(out, &value, n);
		gpa += n;
		out += n;
		size -= n;
	}
}

static void device_write(struct vcpu *v, gpa_t gpa, const uint8_t *in, size_t size)
{
	while (size) {
		unsigned n = device_size(gpa, size);
		uint64_t value = 0;

		copy(&value, in, n);
		vcpu_mmio_write(v, gpa, n, value);
		gpa += n;
		in += n;
		size -= n;
	}
}

void vmem_read_seg(struct vcpu *v, gva_t gva, void *out, size_t size, enum vmem_access access, enum x86_sreg seg)
{
	struct span spans[SPANS_MAX];
	unsigned n = map_access(v, gva, size, access, seg, spans);
	uint8_t *to = out;

	note_access(v, gva, size, access);
	for (unsigned i = 0; i < n; to += spans[i++].size) {
		if (spans[i].host)
			copy(to, spans[i].host, spans[i].size);
		else
			device_read(v, spans[i].gpa, to, spans[i].size);
	}
}

void vmem_write_seg(struct vcpu *v, gva_t gva, const void *in, size_t size, enum vmem_access access, enum x86_sreg seg)
{
	struct span spans[SPANS_MAX];
	unsigned n = map_access(v, gva, size, access, seg, spans);
	const uint8_t *from = in;

	note_access(v, gva, size, access);
	for (unsigned i = 0; i < n; from += spans[i++].size) {
		if (spans[i].host) {
			copy(spans[i].host, from, spans[i].size);
			if (spans[i].watch)
				vcpu_ram_written(v, spans[i].gpa, spans[i].size);
		} else {
			device_write(v, spans[i].gpa, from, spans[i].size);
		}
	}
}

void vmem_read(struct vcpu *v, gva_t gva, void *out, size_t size, enum vmem_access access)
{
	vmem_read_seg(v, gva, out, size, access, X86_DS);
}

void vmem_write(struct vcpu *v, gva_t gva, const void *in, size_t size, enum vmem_access access)
{
	vmem_write_seg(v, gva, in, size, access, X86_DS);
}

void vmem_probe(struct vcpu *v, gva_t gva, size_t size, enum vmem_access access, enum x86_sreg seg)
{
	struct span spans[SPANS_MAX];

	map_access(v, gva, size, access, seg, spans);
}

void vmem_set_bits(struct vcpu *v, gva_t gva, uint8_t bits)
{
	struct span s;

	map_page(v, gva, 1, VMEM_READ | VMEM_WRITE | VMEM_IMPLICIT, &s);
	if (!s.host)
		return;
	__atomic_fetch_or(s.host, bits, __ATOMIC_SEQ_CST);
	if (s.watch)
		vcpu_ram_written(v, s.gpa, 1);
}
