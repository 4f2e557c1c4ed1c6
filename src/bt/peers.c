// SPDX-License-Identifier: MIT
//
// Translated code and the other writers of guest memory: other vCPUs, and devices of the app (bus/peers.h). A page from
// which this vCPU is about to translate is claimed first: its bit in `coders` is set, and every other vCPU that may
// have a write entry for the page drops it. A vCPU that wants a write entry sets its bit in `writers` first and looks
// at `coders` then: of two that do so at the same time at least one sees the other. Its writes to pages with code of
// others take the careful form, and are told to them.
#include "bus/peers.h"
#include "bt/bt.h"

static struct vcpu *peer(unsigned i)
{
	return (struct vcpu *)ZONE_VCPU(i);
}

static void serve_drops(struct vcpu *v)
{
	struct peer_queue *q = &v->peers->inbox[v->index].drops;
	struct bt *b = bt_of(v);
	uint64_t gfn;

	while ((gfn = peer_receive(q))) {
		gfn &= ~BIT64(63);
		tlb_drop_writes(b, gfn << PAGE_SHIFT);
		shadow_watch(v, gfn << PAGE_SHIFT);
		v->peers->writers[gfn] &= (uint16_t)~b->me;
		peer_done(q);
	}
}

static void serve_writes(struct vcpu *v)
{
	struct peer_queue *q = &v->peers->inbox[v->index].writes;
	struct bt *b = bt_of(v);
	uint64_t m;

	if (q->overflow) {
		q->overflow = 0;
		b->flush_tc = true;
		shadow_lose_writes(v);
	}
	while ((m = peer_receive(q))) {
		gpa_t gpa = peer_write_gpa(m);
		unsigned size = peer_write_size(m);

		peer_done(q);
		shadow_claim_write(v, gpa);
		if (code_is_here(b, gpa))
			code_written(v, gpa, MIN(size, PAGE_SIZE - (unsigned)(gpa & PAGE_OFFSET)));
		else if (!shadow_runs(v, gpa))
			peers_forget_code(b, gpa);
	}
}

// Between two units: obey what the others have sent.
void peers_serve(struct vcpu *v)
{
	serve_drops(v);
	serve_writes(v);
}

// A vCPU that has gone to sleep looks at its messages before it touches guest memory again.
static void await_drop(struct vcpu *v, unsigned i, uint32_t n)
{
	struct peer_queue *q = &v->peers->inbox[i].drops;

	while ((int32_t)(q->tail - n) < 0 && v->shared->vcpu_asleep[i] != VCPU_ASLEEP) {
		serve_drops(v); // it may be waiting for us
		vmm_yield(v);
	}
}

static void send_drop(struct vcpu *v, unsigned i, gfn_t gfn)
{
	struct peer_queue *q = &v->peers->inbox[i].drops;
	uint32_t n;

	while (!peer_send(q, BIT64(63) | gfn, &n)) {
		peer(i)->pending |= PENDING_PEERS;
		vmm_wake(v, i);
		serve_drops(v);
		vmm_yield(v);
	}
	peer(i)->pending |= PENDING_PEERS;
	vmm_wake(v, i);
	await_drop(v, i, n);
}

void peers_claim_code(struct vcpu *v, gpa_t gpa)
{
	struct bt *b = bt_of(v);
	gfn_t gfn = gpa >> PAGE_SHIFT;
	unsigned others;

	if (!b->peers || gfn >= PEER_GFNS || b->peers->coders[gfn] & b->me)
		return;
	b->peers->coders[gfn] |= b->me;
	for (others = b->peers->writers[gfn] & ~(unsigned)b->me; others; others &= others - 1)
		send_drop(v, (unsigned)__builtin_ctz(others), gfn);
}

void peers_forget_code(struct bt *b, gpa_t gpa)
{
	if (b->peers && gpa >> PAGE_SHIFT < PEER_GFNS)
		b->peers->coders[gpa >> PAGE_SHIFT] &= (uint16_t)~b->me;
}

void peers_claim_write(struct bt *b, gpa_t gpa)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;

	shadow_claim_write(bt_vcpu(b), gpa);
	if (b->smp && gfn < PEER_GFNS && !(b->peers->writers[gfn] & b->me))
		b->peers->writers[gfn] |= b->me;
}

bool peers_code_elsewhere(const struct bt *b, gpa_t gpa)
{
	return gpa >> PAGE_SHIFT < PEER_GFNS && b->peers->coders[gpa >> PAGE_SHIFT] & ~(unsigned)b->me;
}

void peers_written(struct bt *b, gpa_t gpa, unsigned size)
{
	uint32_t tell = b->smp ? peers_tell_written(b->peers, gpa, size, b->me) : 0;

	for (; tell; tell &= tell - 1)
		peer((unsigned)__builtin_ctz(tell))->pending |= PENDING_PEERS;
}
