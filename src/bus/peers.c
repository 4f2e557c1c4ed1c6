// SPDX-License-Identifier: MIT
//
// The queues between vCPUs: several writers, one reader. A writer takes a place by advancing the head and then fills
// it; the reader waits for no place that is still empty, it will be told of it anyway.
#include "bus/peers.h"

bool peer_send(struct peer_queue *q, uint64_t message, uint32_t *n)
{
	uint32_t at = q->head;

	do {
		if (at - q->tail >= PEER_MESSAGES) {
			q->overflow = 1;
			return false;
		}
	} while (!__atomic_compare_exchange_n((uint32_t *)&q->head, &at, at + 1, false, __ATOMIC_SEQ_CST,
					      __ATOMIC_SEQ_CST));
	q->message[at % PEER_MESSAGES] = message;
	*n = at + 1;
	return true;
}

uint64_t peer_receive(struct peer_queue *q)
{
	return q->tail == q->head ? 0 : q->message[q->tail % PEER_MESSAGES];
}

void peer_done(struct peer_queue *q)
{
	q->message[q->tail % PEER_MESSAGES] = 0;
	q->tail++;
}

uint32_t peers_tell_written(struct peers *p, gpa_t gpa, unsigned size, uint32_t except)
{
	uint32_t tell, n, set;

	if (gpa >> PAGE_SHIFT >= PEER_GFNS)
		return 0;
	set = tell = p->coders[gpa >> PAGE_SHIFT] & ~except;
	for (; set; set &= set - 1)
		peer_send(&p->inbox[__builtin_ctz(set)].writes, BIT64(63) | gpa << PAGE_SHIFT | (size - 1), &n);
	return tell;
}
