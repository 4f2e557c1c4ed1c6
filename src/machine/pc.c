// SPDX-License-Identifier: MIT
//
// The app's half of the board, as one table: which device answers where. Interrupt lines go to the monitor, which has
// the interrupt controllers; what ends or resets the machine becomes an event.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/machine.h"

struct pc_row {
	struct dev *dev;
	const struct dev_class *class;
	uint64_t base, len;
	unsigned range;
	bool absent;
};

enum { PC_ROWS = 13 };

static void describe(struct machine *m, struct pc_row rows[PC_ROWS])
{
	const struct pc_config *c = &m->config->pc;
	struct pc *pc = &m->pc;
	struct dev *test = &pc->testdev.dev;
	const struct pc_row board[PC_ROWS] = {
		{ &pc->rtc.dev, &mc146818_class, MC146818_BASE, MC146818_LEN, 0, m->config->no_rtc },
		{ &pc->i8042.dev, &i8042_class, I8042_DATA, 1, I8042_RANGE_DATA, false },
		{ &pc->i8042.dev, &i8042_class, I8042_COMMAND, 1, I8042_RANGE_COMMAND, false },
		{ &pc->i8042.dev, &i8042_class, I8042_PORT92, 1, I8042_RANGE_PORT92, false },
		{ &pc->debug_exit.dev, &debug_exit_class, c->debug_exit_base, c->debug_exit_size, 0, !c->debug_exit },
		{ &pc->debugcon.dev, &debugcon_class, c->debugcon_base, 1, 0, c->debugcon.kind == STREAM_NONE },
		{ &pc->fw_cfg.dev, &fw_cfg_class, FW_CFG_BASE, FW_CFG_LEN, FW_CFG_RANGE_PORTS, false },
		{ &pc->fw_cfg.dev, &fw_cfg_class, FW_CFG_DMA, FW_CFG_DMA_LEN, FW_CFG_RANGE_DMA, false },
		{ test, &pc_testdev_class, PC_TESTDEV_LATCH, 4, PC_TESTDEV_RANGE_LATCH, !c->testdev },
		{ test, &pc_testdev_class, PC_TESTDEV_FLUSH, 4, PC_TESTDEV_RANGE_FLUSH, !c->testdev },
		{ test, &pc_testdev_class, PC_TESTDEV_BYTES, 4, PC_TESTDEV_RANGE_BYTES, !c->testdev },
		{ test, &pc_testdev_class, PC_TESTDEV_LINES, PC_TESTDEV_LINES_LEN, PC_TESTDEV_RANGE_LINES, !c->testdev },
		{ test, &pc_testdev_class, PC_TESTDEV_WINDOW, PC_TESTDEV_WINDOW_LEN, PC_TESTDEV_RANGE_WINDOW, !c->testdev },
	};

	memcpy(rows, board, sizeof(board));
}

static void guest_exit(void *opaque, int status)
{
	machine_post(opaque, EVENT_QUIT, (uint64_t)status & 0xff);
}

static void guest_reset(void *opaque)
{
	machine_post(opaque, EVENT_RESET, RESET_REQUESTED);
}

static void set_a20(void *opaque, bool on)
{
	atomic_store(&((struct machine *)opaque)->shared->a20_masked, !on);
}

static void debugcon_put(void *opaque, uint8_t byte)
{
	stream_write_all(&((struct machine *)opaque)->pc.debugcon_to, &byte, 1);
}

static int64_t realtime(void *opaque)
{
	const struct machine *m = opaque;
	struct timespec ts;

	if (m->config->deterministic)
		return (int64_t)(DETERMINISTIC_EPOCH + m->shared->request[0].now);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec + m->config->rtc_offset;
}

static void wire(struct machine *m)
{
	const struct mem *mem = &m->shared->config.mem;
	struct pc *pc = &m->pc;

	pc->rtc.irq = (struct irq_line){ machine_set_irq, m, MC146818_IRQ };
	pc->rtc.realtime = realtime;
	pc->rtc.opaque = m;
	pc->i8042.irq = (struct irq_line){ machine_set_irq, m, I8042_IRQ };
	pc->i8042.reset = guest_reset;
	pc->i8042.a20 = set_a20;
	pc->i8042.opaque = m;
	pc->debug_exit.exit = guest_exit;
	pc->debug_exit.opaque = m;
	pc->debugcon.readback = m->config->pc.debugcon_readback;
	pc->debugcon.put = debugcon_put;
	pc->debugcon.opaque = m;
	pc->fw_cfg.ram_size = mem->ram_size;
	pc->fw_cfg.cpus = (uint16_t)m->shared->config.vcpus;
	pc->fw_cfg.mem = mem;
	pc->fw_cfg.will_write = machine_tell_written;
	pc->fw_cfg.opaque = m;
	for (unsigned i = 0; i < m->config->pc.items; i++)
		fw_cfg_add_file(&pc->fw_cfg, m->config->pc.item[i].name, m->config->pc.item[i].data,
				m->config->pc.item[i].size);
	pc->testdev.set_irq = machine_set_irq;
	pc->testdev.opaque = m;
	if (!m->config->no_rtc)
		mc146818_start(&pc->rtc);
	mc146818_set_memory(&pc->rtc, mem->low_end, mem->high_end - MEM_HIGH_START);
	mc146818_set_cpus(&pc->rtc, m->shared->config.vcpus);
}

// Which kinds of disk a BIOS tries, in which order: CMOS has the first two in one byte, the third in another.
static void set_boot_order(struct machine *m, bool first)
{
	enum { CMOS_BOOT_2 = 0x3d, CMOS_BOOT_1 = 0x38, DEFAULT = 0x312 }; // disk, floppy, CD-ROM
	const struct pc_config *c = &m->config->pc;
	unsigned order = first && c->boot_once ? c->boot_once : c->boot_order ? c->boot_order : DEFAULT;

	mc146818_set_byte(&m->pc.rtc, CMOS_BOOT_2, (uint8_t)order);
	mc146818_set_byte(&m->pc.rtc, CMOS_BOOT_1, (uint8_t)(order >> 8 << 4));
}

int pc_create(struct machine *m, char *err, size_t errlen)
{
	struct pc_row rows[PC_ROWS];

	describe(m, rows);
	for (unsigned i = 0; i < PC_ROWS; i++)
		if (!rows[i].absent && (!i || rows[i].dev != rows[i - 1].dev))
			bus_init_dev(&m->bus, rows[i].dev, rows[i].class);
	wire(m);
	for (unsigned i = 0; i < PC_ROWS; i++) {
		const struct pc_row *row = &rows[i];
		enum bus_space space = row->base > 0xffff ? BUS_MMIO : BUS_PORT;
		int r = row->absent ? 0 : bus_add(&m->bus, space, row->base, row->len, row->dev, row->range);

		if (r < 0) {
			snprintf(err, errlen, "%s: its addresses %#llx-%#llx belong to another device; choose others",
				 row->class->name, (unsigned long long)row->base,
				 (unsigned long long)(row->base + row->len - 1));
			return r;
		}
	}
	pc_reset(m);
	set_boot_order(m, true);
	return 0;
}

// SeaBIOS gives the table a place and corrects the entry point.
static int put_smbios(struct machine *m, char *err, size_t errlen)
{
	struct smbios *s = m->pc.smbios;

	if (!s)
		s = m->pc.smbios = malloc(sizeof(*s));
	if (!s || !smbios_build(s, &m->config->smbios, &m->shared->config, 0)) {
		snprintf(err, errlen, "-smbios: the strings do not fit into %d bytes: give fewer", SMBIOS_SIZE);
		return s ? -ENOSPC : -ENOMEM;
	}
	fw_cfg_add_file(&m->pc.fw_cfg, SMBIOS_FILE_TABLES, s->table, s->size);
	fw_cfg_add_file(&m->pc.fw_cfg, SMBIOS_FILE_ENTRY, s->entry, sizeof(s->entry));
	return 0;
}

static void load_video_bios(struct pc *pc)
{
	enum { MAX = 256 << 10 };
	static const char *const places[] = {"/usr/share/seabios/vgabios-stdvga.bin", "/usr/share/qemu/vgabios-stdvga.bin"};
	FILE *f = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(places) && !f; i++)
		f = fopen(places[i], "rbe");
	if (f)
		pc->video_bios = malloc(MAX);
	if (pc->video_bios)
		pc->video_bios_size = (uint32_t)fread(pc->video_bios, 1, MAX, f);
	if (f)
		fclose(f);
}

// Where no firmware runs that would do it: the video BIOS's font of 16 lines into plane 2, as text mode has it. It is
// found by its first two characters, a blank and a face.
static void put_font(const struct pc *pc)
{
	static const uint8_t first[32] = {[18] = 0x7e, 0x81, 0xa5, 0x81, 0x81, 0xbd, 0x99, 0x81, 0x81, 0x7e};
	enum { LINES = 16, GLYPH = 32, FONT = 256 * LINES };
	uint8_t *frame = (uint8_t *)(ZONE_RAM + MEM_FRAME);
	const uint8_t *font;

	font = pc->video_bios_size ? memmem(pc->video_bios, pc->video_bios_size, first, sizeof(first)) : NULL;
	if (!font || font - pc->video_bios > (ptrdiff_t)pc->video_bios_size - FONT)
		return;
	for (unsigned i = 0; i < FONT; i++)
		frame[4 * (i / LINES * GLYPH + i % LINES) + 2] = font[i];
}

void pc_put_video_bios(struct machine *m)
{
	struct pc *pc = &m->pc;

	if (!pc->video_bios)
		load_video_bios(pc);
	if (!m->config->boot.bios)
		put_font(pc);
	else if (pc->video_bios_size) // firmware looks for it under the name of its function
		fw_cfg_add_file(&pc->fw_cfg, "pci1234,1111.rom", pc->video_bios, pc->video_bios_size);
}

int pc_put_acpi(struct machine *m, char *err, size_t errlen)
{
	struct fw_cfg *c = &m->pc.fw_cfg;
	struct acpi_files *f = m->pc.acpi;

	if (!f)
		f = m->pc.acpi = malloc(sizeof(*f));
	if (!f || !acpi_files_build(f, &m->shared->config)) {
		snprintf(err, errlen, "ACPI tables: %s", f ? "they outgrew their place: this is a bug in ringer" :
			 "out of memory");
		return f ? -ENOSPC : -ENOMEM;
	}
	fw_cfg_add_file(c, ACPI_FILE_SCRIPT, f->script, f->script_size);
	fw_cfg_add_file(c, ACPI_FILE_TABLES, f->tables, sizeof(f->tables));
	fw_cfg_add_file(c, ACPI_FILE_RSDP, f->rsdp, sizeof(f->rsdp));
	return put_smbios(m, err, errlen);
}

int pc_open(struct machine *m, char *err, size_t errlen)
{
	char why[400] = "";
	int r = stream_open(&m->pc.debugcon_to, &m->config->pc.debugcon, why, sizeof(why));

	if (r < 0)
		snprintf(err, errlen, "isa-debugcon: %s", why[0] ? why : strerror(-r));
	return r;
}

void pc_close(struct machine *m)
{
	stream_close(&m->pc.debugcon_to);
	free(m->pc.video_bios);
	m->pc.video_bios = NULL;
	free(m->pc.acpi);
	m->pc.acpi = NULL;
	free(m->pc.smbios);
	m->pc.smbios = NULL;
}

void pc_reset(struct machine *m)
{
	struct pc_row rows[PC_ROWS];

	set_boot_order(m, false);
	describe(m, rows);
	for (unsigned i = 0; i < PC_ROWS; i++)
		if (!rows[i].absent && (!i || rows[i].dev != rows[i - 1].dev) && rows[i].class->reset)
			rows[i].class->reset(rows[i].dev);
	if (ide_is_present(m))
		ide_class.reset(&m->pc.ide.dev);
	if (m->pc.pflash.image)
		pflash_class.reset(&m->pc.pflash.dev);
	if (floppy_is_present(m)) {
		fdc_class.reset(&m->pc.fdc.dev);
		i8237_class.reset(&m->pc.dma.dev);
	}
}
