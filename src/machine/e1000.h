// SPDX-License-Identifier: MIT
//
// The 82540EM network cards (-device e1000): see machine/e1000.c.
#ifndef MACHINE_E1000_H
#define MACHINE_E1000_H

struct machine;

// Puts each such card of the configuration on the bus and on its network. 0, or a negative errno with a line in err.
int e1000_create(struct machine *m, char *err, size_t errlen);
void e1000_reset_all(struct machine *m);
void e1000_destroy(struct machine *m);

#endif
