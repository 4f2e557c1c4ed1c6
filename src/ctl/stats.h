// SPDX-License-Identifier: MIT
//
// The statistics of bus/stats.h, and what each device's traffic has cost, printed.
#ifndef CTL_STATS_H
#define CTL_STATS_H

#include <stdio.h>

#include "bus/shared.h"
#include "machine/machine.h"

enum stats_format { STATS_OFF, STATS_TEXT, STATS_JSON };

// Of all vCPUs together.
struct stats stats_sum(const struct shared *s);
void stats_print(FILE *f, enum stats_format format, const struct stats *s, const struct machine *m);

#endif
