// SPDX-License-Identifier: MIT
//
// The board, as one table: which device stands at which ports, on which interrupt line, and when it is there at all.
#include <stdio.h>

#include "machine/machine.h"

int pc_create(struct machine *m, char *err, size_t errlen)
{
	return 0;
}

void pc_reset(struct machine *m)
{
	for (unsigned i = 0; i < m->pc.ndevs; i++)
		if (m->pc.devs[i]->class->reset)
			m->pc.devs[i]->class->reset(m->pc.devs[i]);
}

void pc_destroy(struct machine *m)
{
	m->pc.ndevs = 0;
}
