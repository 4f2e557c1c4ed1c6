// SPDX-License-Identifier: MIT
//
// The app's half of the board, as one table: which device answers where. Interrupt lines go to the monitor, which has
// the interrupt controllers; what ends or resets the machine becomes an event.
#include <stdio.h>
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

enum { PC_ROWS = 5 };

static void describe(struct machine *m, struct pc_row rows[PC_ROWS])
{
	const struct pc_config *c = &m->config->pc;
	struct pc *pc = &m->pc;
	const struct pc_row board[PC_ROWS] = {
		{ &pc->rtc.dev, &mc146818_class, MC146818_BASE, MC146818_LEN, 0, false },
		{ &pc->i8042.dev, &i8042_class, I8042_DATA, 1, I8042_RANGE_DATA, false },
		{ &pc->i8042.dev, &i8042_class, I8042_COMMAND, 1, I8042_RANGE_COMMAND, false },
		{ &pc->i8042.dev, &i8042_class, I8042_PORT92, 1, I8042_RANGE_PORT92, false },
		{ &pc->debug_exit.dev, &debug_exit_class, c->debug_exit_base, c->debug_exit_size, 0, !c->debug_exit },
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

static int64_t realtime(void *opaque)
{
	const struct machine *m = opaque;
	struct timespec ts;

	if (m->config->deterministic)
		return (int64_t)(DETERMINISTIC_EPOCH + m->shared->request[0].now);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
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
	pc->i8042.opaque = m;
	pc->debug_exit.exit = guest_exit;
	pc->debug_exit.opaque = m;
	mc146818_start(&pc->rtc);
	mc146818_set_memory(&pc->rtc, mem->low_end, mem->high_end - MEM_HIGH_START);
	mc146818_set_cpus(&pc->rtc, m->shared->config.vcpus);
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
		int r = row->absent ? 0 : bus_add(&m->bus, BUS_PORT, row->base, row->len, row->dev, row->range);

		if (r < 0) {
			snprintf(err, errlen, "%s: its ports %#llx-%#llx belong to another device; choose others",
				 row->class->name, (unsigned long long)row->base,
				 (unsigned long long)(row->base + row->len - 1));
			return r;
		}
	}
	pc_reset(m);
	return 0;
}

void pc_reset(struct machine *m)
{
	struct pc_row rows[PC_ROWS];

	describe(m, rows);
	for (unsigned i = 0; i < PC_ROWS; i++)
		if (!rows[i].absent && (!i || rows[i].dev != rows[i - 1].dev) && rows[i].class->reset)
			rows[i].class->reset(rows[i].dev);
}
