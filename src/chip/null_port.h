// SPDX-License-Identifier: MIT
//
// Ports that swallow writes, so that the delays which software makes with them stay in the monitor: 0x80 (the POST
// code) and 0xed.
#ifndef CHIP_NULL_PORT_H
#define CHIP_NULL_PORT_H

#include "bus/bus.h"

struct null_port {
	struct dev dev;
};

extern const struct dev_class null_port_class;

#endif
