// SPDX-License-Identifier: MIT
//
// QMP in a ringer that was built without libjansson: refused before there is a machine, so the rest is never called.
#include "ctl/operator.h"

bool qmp_is_built(void)
{
	return false;
}

void qmp_greet(struct operator *op)
{
}

size_t qmp_take(struct operator *op, const char *in, size_t n)
{
	return n;
}

void qmp_complain(struct operator *op, const char *why)
{
}

void qmp_tell(struct operator *op, enum machine_note note, bool guest, const char *why)
{
}

void qmp_tell_failure(struct operator *op, const struct block_failure *f)
{
}
