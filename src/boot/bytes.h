// SPDX-License-Identifier: MIT
//
// Little-endian fields of file formats and firmware tables, at any alignment.
#ifndef BOOT_BYTES_H
#define BOOT_BYTES_H

#include "base/types.h"

#include <string.h>

static inline uint16_t get16(const void *p)
{
	uint16_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline uint32_t get32(const void *p)
{
	uint32_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline uint64_t get64(const void *p)
{
	uint64_t x;

	memcpy(&x, p, sizeof(x));
	return x;
}

static inline void put16(void *p, uint16_t x)
{
	memcpy(p, &x, sizeof(x));
}

static inline void put32(void *p, uint32_t x)
{
	memcpy(p, &x, sizeof(x));
}

static inline void put64(void *p, uint64_t x)
{
	memcpy(p, &x, sizeof(x));
}

#endif
