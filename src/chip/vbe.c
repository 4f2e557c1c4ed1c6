// SPDX-License-Identifier: MIT
//
// Bochs' display interface ("BOCHS VBE Display Interface", as QEMU's "standard-vga" document extends it): a resolution
// and a depth by sixteen-bit registers behind an index, and the PCI function with the frame buffer (BAR 0) and all
// registers in memory (BAR 2). There is no EDID and no ROM: firmware gets the video BIOS as a file.
#include "chip/vga.h"

#include "base/string.h"

enum { ID_FIRST = 0xb0c0, ID_LAST = 0xb0c5, DEVICE_PC = 2, DEVICE_Q35 = 1, MEMORY_AT = 0xfd000000 };
enum { REGISTERS_AT = 0xfebd0000, REGISTERS_SIZE = 4096, REGISTERS_VGA = 0x400, REGISTERS_VBE = 0x500,
	REGISTERS_MORE = 0x600, MORE_SIZE = 8 };
#define LITTLE_ENDIAN_ORDER 0x1e1e1e1eu

static bool depth_is_known(unsigned bpp)
{
	return bpp == 4 || bpp == 8 || bpp == 15 || bpp == 16 || bpp == 24 || bpp == 32;
}

// What of the registers does not fit is made to fit: there is never a line longer than what it is cut from, nor more
// lines than memory.
static void settle(struct screen *s)
{
	uint16_t *r = s->vbe;
	uint32_t lines;

	if (!depth_is_known(r[VBE_BPP]))
		r[VBE_BPP] = 8;
	r[VBE_WIDTH] = (uint16_t)MAX(MIN(r[VBE_WIDTH], VBE_WIDTH_MAX) & ~7, 8);
	r[VBE_VIRTUAL_WIDTH] = (uint16_t)(MIN(MAX(r[VBE_VIRTUAL_WIDTH], r[VBE_WIDTH]), 2 * VBE_WIDTH_MAX) & ~7);
	lines = SCREEN_MEMORY / vbe_pitch(s);
	r[VBE_VIRTUAL_HEIGHT] = (uint16_t)MIN(lines, 0xffffu);
	r[VBE_HEIGHT] = (uint16_t)MAX(MIN(r[VBE_HEIGHT], MIN(lines, (uint32_t)VBE_HEIGHT_MAX)), 1u);
	r[VBE_X] = (uint16_t)MIN(r[VBE_X], r[VBE_VIRTUAL_WIDTH] - r[VBE_WIDTH]);
	r[VBE_Y] = (uint16_t)MIN(r[VBE_Y], r[VBE_VIRTUAL_HEIGHT] - r[VBE_HEIGHT]);
}

// The VGA's own registers follow: graphics in the window, and chained but for sixteen colours.
static void tell_vga(struct screen *s)
{
	bool planar = s->vbe[VBE_BPP] == 4;

	s->graphics.r[GFX_MISC] = (s->graphics.r[GFX_MISC] & ~0x0c) | 0x04 | GFX_GRAPHICS;
	s->graphics.r[GFX_MODE] = (s->graphics.r[GFX_MODE] & ~0x60) | (planar ? 0 : GFX_SHIFT_256);
	s->sequencer.r[SEQ_MEMORY] |= SEQ_ODD_EVEN_OFF | (planar ? 0 : SEQ_CHAIN_4);
	if (planar)
		s->sequencer.r[SEQ_MEMORY] &= ~SEQ_CHAIN_4;
	s->sequencer.r[SEQ_MAP_MASK] |= 0xf;
	s->crtc.r[CRT_MODE] |= 3;
	s->crtc.r[CRT_CELL_HEIGHT] &= ~0x9f;
}

static void enable(struct vga *g, uint16_t value)
{
	struct screen *s = g->screen;
	bool was = s->vbe[VBE_ENABLE] & VBE_ENABLED;

	s->vbe[VBE_ENABLE] = value;
	if (!(value & VBE_ENABLED))
		s->vbe[VBE_BANK] = 0;
	if (!(value & VBE_ENABLED) || was)
		return;
	s->vbe[VBE_VIRTUAL_WIDTH] = s->vbe[VBE_X] = s->vbe[VBE_Y] = 0;
	settle(s);
	tell_vga(s);
	if (!(value & VBE_KEEP_MEMORY) && g->memory)
		memset(g->memory, 0, (size_t)vbe_pitch(s) * s->vbe[VBE_HEIGHT]);
}

uint16_t vbe_read(const struct vga *g, unsigned n)
{
	static const uint16_t limits[] = {0, VBE_WIDTH_MAX, VBE_HEIGHT_MAX, VBE_BPP_MAX}; // from VBE_WIDTH on

	if (n == VBE_MEMORY)
		return SCREEN_MEMORY >> 16;
	if (n >= VBE_WIDTH && n <= VBE_BPP && g->screen->vbe[VBE_ENABLE] & VBE_GET_LIMITS)
		return limits[n];
	return n < VBE_REGISTERS ? g->screen->vbe[n] : 0;
}

void vbe_write(struct vga *g, unsigned n, uint16_t value)
{
	struct screen *s = g->screen;

	switch (n) {
	case VBE_ID:
		if (value >= ID_FIRST && value <= ID_LAST)
			s->vbe[VBE_ID] = value;
		break;
	case VBE_BANK:
		s->vbe[VBE_BANK] = value & ((SCREEN_MEMORY >> 16) - 1);
		break;
	case VBE_ENABLE:
		enable(g, value);
		break;
	case VBE_WIDTH: case VBE_HEIGHT: case VBE_BPP: case VBE_VIRTUAL_WIDTH: case VBE_X: case VBE_Y:
		s->vbe[n] = value;
		if (s->vbe[VBE_ENABLE] & VBE_ENABLED)
			settle(s);
		break;
	}
}

// -- the PCI function

uint64_t vbe_registers_read(struct vga *g, uint32_t off, unsigned size)
{
	uint64_t low;

	if (size > 2 && off < REGISTERS_MORE) {
		low = vbe_registers_read(g, off, size / 2);
		return low | vbe_registers_read(g, off + size / 2, size / 2) << 4 * size;
	}
	if (off >= REGISTERS_VGA && off < REGISTERS_VGA + VGA_PORTS_LEN)
		return vga_port_read(g, off - REGISTERS_VGA) |
		       (size == 2 ? (uint64_t)vga_port_read(g, off - REGISTERS_VGA + 1) << 8 : 0);
	if (off >= REGISTERS_VBE && off < REGISTERS_VBE + 2 * (VBE_REGISTERS + 1))
		return vbe_read(g, (off - REGISTERS_VBE) / 2) >> 8 * (off & 1);
	if (off == REGISTERS_MORE)
		return MORE_SIZE;
	return off == REGISTERS_MORE + 4 ? LITTLE_ENDIAN_ORDER : 0;
}

void vbe_registers_write(struct vga *g, uint32_t off, unsigned size, uint64_t value)
{
	if (size > 2) {
		vbe_registers_write(g, off, size / 2, value & (size == 4 ? 0xffff : 0xffffffff));
		vbe_registers_write(g, off + size / 2, size / 2, value >> 4 * size);
	} else if (off >= REGISTERS_VGA && off < REGISTERS_VGA + VGA_PORTS_LEN) {
		vga_port_write(g, off - REGISTERS_VGA, (uint8_t)value);
		if (size == 2)
			vga_port_write(g, off - REGISTERS_VGA + 1, (uint8_t)(value >> 8));
	} else if (off >= REGISTERS_VBE && off < REGISTERS_VBE + 2 * VBE_REGISTERS && size == 2 && !(off & 1)) {
		vbe_write(g, (off - REGISTERS_VBE) / 2, (uint16_t)value);
	}
}

static void tell_place(void *opaque, struct pci_function *f, unsigned off, unsigned size)
{
	struct vga *g = opaque;

	if (g->moved)
		g->moved(g->opaque, f->bar[0].mapped);
}

static void reset_function(struct vga *g)
{
	const struct pci_identity id = {g->pci.devfn, 0x1234, 0x1111, 2, 0x030000, 0, 0, 0x1af4, 0x1100};
	const struct pci_bar memory = {BUS_MMIO, SCREEN_MEMORY, &g->dev, VGA_RANGE_MEMORY, 0};
	const struct pci_bar registers = {BUS_MMIO, REGISTERS_SIZE, &g->dev, VGA_RANGE_REGISTERS, 0};
	struct pci_host *host = g->pci.host;

	if (!host)
		return;
	pci_function_unmap(&g->pci);
	pci_function_init(&g->pci, &id);
	g->pci.host = host;
	g->pci.written = tell_place;
	g->pci.opaque = g;
	pci_function_bar(&g->pci, 0, &memory, MEMORY_AT);
	pci_set(&g->pci, PCI_BAR0, 1, PCI_BAR_PREFETCHABLE);
	pci_function_bar(&g->pci, 2, &registers, REGISTERS_AT);
	pci_set(&g->pci, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY); // as firmware leaves it
	pci_function_place(&g->pci);
	tell_place(g, &g->pci, 0, 0);
}

void vbe_reset(struct vga *g)
{
	memset(g->screen->vbe, 0, sizeof(g->screen->vbe));
	g->screen->vbe[VBE_ID] = ID_LAST;
	g->vbe_index = 0;
	reset_function(g);
}

void vga_add(struct vga *g, struct pci_host *host, bool q35)
{
	g->pci.devfn = PCI_DEVFN(q35 ? DEVICE_Q35 : DEVICE_PC, 0);
	pci_host_add(host, &g->pci);
	vbe_reset(g);
}
