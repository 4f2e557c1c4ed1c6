// SPDX-License-Identifier: MIT
//
// Byte rings between the two programs (struct ring in bus/shared.h): one writer, one reader. Only the indices'
// ordering is done here; sleeping and waking is the caller's. An index pair that makes no sense counts as full and as
// empty-able: no function reads or writes outside data[] or runs for longer than one ring, whatever the indices are.
#ifndef BUS_RING_H
#define BUS_RING_H

#include "bus/shared.h"

uint32_t ring_used(const struct ring *r);
uint32_t ring_space(const struct ring *r);

// Writer: put in as much of [in, in+size) as there is room for; returns how much.
uint32_t ring_push(struct ring *r, const void *in, uint32_t size);

// Reader: take out up to size bytes; returns how many. ring_peek leaves them in.
uint32_t ring_pop(struct ring *r, void *out, uint32_t size);
uint32_t ring_peek(const struct ring *r, void *out, uint32_t size);

// Writer, having found too little room: ask to be told of room. True: meanwhile there are `wanted` bytes of it after
// all.
bool ring_wait_space(struct ring *r, uint32_t wanted);

// Reader, after ring_pop: true, once, if the writer asked to be told.
bool ring_writer_waits(struct ring *r);

#endif
