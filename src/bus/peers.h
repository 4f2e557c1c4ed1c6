// SPDX-License-Identifier: MIT
//
// What those who write guest memory must know of those who have translated it. One struct peers a machine, mapped at
// ZONE_PEERS in the app and in the monitors of all vCPUs: for each page of guest RAM the set of vCPUs with translated
// code there (coders) and of those whose software TLB may have a write entry for it (writers), and for each vCPU two
// queues of messages. Nobody holds a lock, so nobody can keep another waiting by dying.
//   drops   page P is about to be translated elsewhere: drop the write entries for it. The sender waits, unless the
//           vCPU sleeps; it will look before it runs on (bt/peers.c).
//   writes  bytes of a page with code of this vCPU have been written elsewhere. Nobody waits: a processor need not
//           notice before its next serializing instruction, and an interrupt or a poll is one.
// After a message PENDING_PEERS is set in vcpu.pending. Device writes of the app are told in the same way: when a
// device takes a buffer that it may write, and when it has written it.
#ifndef BUS_PEERS_H
#define BUS_PEERS_H

#include "base/types.h"
#include "bus/shared.h"

enum { PEER_MESSAGES = 512, PEER_GFNS = 1 << 24 };

struct peer_queue {
	_Atomic uint32_t head;     // the next to be written
	_Atomic uint32_t tail;     // the next to be read: all before it have been obeyed
	_Atomic uint32_t overflow; // a message did not fit
	_Atomic uint64_t message[PEER_MESSAGES]; // 0: not written yet
};

struct peers {
	struct {
		struct peer_queue drops, writes;
	} inbox[VCPUS_MAX];
	_Atomic uint16_t coders[PEER_GFNS], writers[PEER_GFNS]; // bit i: vCPU i
};

_Static_assert(sizeof(struct peers) <= PEERS_SHARED_SIZE, "struct peers outgrew its place");
_Static_assert(VCPUS_MAX <= 16, "a bit for each vCPU");

// False: it is full (overflow is set). *n: how many messages stand before it and it.
bool peer_send(struct peer_queue *q, uint64_t message, uint32_t *n);

// The reader's next message, or 0. It counts as obeyed when peer_done is called.
uint64_t peer_receive(struct peer_queue *q);
void peer_done(struct peer_queue *q);

// Bytes of guest RAM, within a page, have been written or are about to be by a device: tell the coders but for those in
// `except`. Returns the set of vCPUs that must get PENDING_PEERS.
uint32_t peers_tell_written(struct peers *p, gpa_t gpa, unsigned size, uint32_t except);

// A message of the queue of writes.
static inline gpa_t peer_write_gpa(uint64_t message)
{
	return message << 1 >> 13;
}

static inline unsigned peer_write_size(uint64_t message)
{
	return (message & PAGE_OFFSET) + 1;
}

#endif
