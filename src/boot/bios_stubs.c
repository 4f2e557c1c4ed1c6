// SPDX-License-Identifier: MIT
//
// What a multiboot kernel that goes back to real mode finds of a BIOS: an interrupt table whose entries all lead
// somewhere. The timer's handler counts the ticks of the day in the BIOS data area and calls the user's hook; those of
// the other lines end their interrupt; the rest return at once. There are no services. Sixteen-bit code, by hand.
#include "boot/bytes.h"
#include "boot/load.h"

enum { SEGMENT = 0xf000, STUBS = 0x100, IRQ_MASTER = 0x08, IRQ_SLAVE = 0x70, VECTORS = 256 };

static const uint8_t end_slave[] = {0x50, 0xb0, 0x20, 0xe6, 0xa0}; // push ax; mov al, 20h; out a0h, al; then:
static const uint8_t end_master[] = {
	0x58, 0x50, 0xb0, 0x20, 0xe6, 0x20, // pop ax; push ax; mov al, 20h; out 20h, al
	0x58, 0xcf,                         // pop ax; iret
};
static const uint8_t tick[] = {
	0x50, 0x1e, 0x31, 0xc0, 0x8e, 0xd8,                   // push ax; push ds; xor ax, ax; mov ds, ax
	0x66, 0xff, 0x06, 0x6c, 0x04,                         // inc dword [46ch]
	0x66, 0x81, 0x3e, 0x6c, 0x04, 0xb0, 0x00, 0x18, 0x00, // cmp dword [46ch], 1800b0h: midnight
	0x72, 0x0e,                                           // jb
	0x66, 0xc7, 0x06, 0x6c, 0x04, 0x00, 0x00, 0x00, 0x00, // mov dword [46ch], 0
	0xc6, 0x06, 0x70, 0x04, 0x01,                         // mov byte [470h], 1
	0x1f, 0x58, 0xcd, 0x1c,                               // pop ds; pop ax; int 1ch
	0x50, 0xb0, 0x20, 0xe6, 0x20, 0x58, 0xcf,             // push ax; mov al, 20h; out 20h, al; pop ax; iret
};
static const uint8_t nothing[] = {0xcf};

static uint16_t put_code(struct boot *b, uint16_t *at, const uint8_t *code, size_t size)
{
	uint16_t start = *at;

	memcpy(boot_ram(b, SEGMENT * 16 + start, size), code, size);
	*at = (uint16_t)(start + size);
	return start;
}

void bios_put_vectors(struct boot *b)
{
	uint16_t at = STUBS;
	uint16_t slave = put_code(b, &at, end_slave, sizeof(end_slave));
	uint16_t master = put_code(b, &at, end_master, sizeof(end_master)) + 1; // behind the pop
	uint16_t timer = put_code(b, &at, tick, sizeof(tick)), rest = put_code(b, &at, nothing, sizeof(nothing));

	for (unsigned i = 0; i < VECTORS; i++) {
		uint16_t handler = i == IRQ_MASTER ? timer : rest;

		if (i > IRQ_MASTER && i < IRQ_MASTER + 8)
			handler = master;
		else if (i >= IRQ_SLAVE && i < IRQ_SLAVE + 8)
			handler = slave;
		put16(boot_ram(b, i * 4, 4), handler);
		put16(boot_ram(b, i * 4 + 2, 4), SEGMENT);
	}
}
