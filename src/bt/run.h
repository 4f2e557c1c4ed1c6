// SPDX-License-Identifier: MIT
//
// The run loop's parts: see run.c.
#ifndef BT_RUN_H
#define BT_RUN_H

#include "bt/bt.h"


static inline uint64_t *bt_slot(struct vcpu *v, unsigned off)
{
	return (uint64_t *)((char *)v + off);
}

// Around translated code: with pmu=stop cycles count there only.
static inline void pmu_goes(struct vcpu *v)
{
	if (!v->pmu.stopped)
		return;
	v->pmu.cycles += vcpu_host_tsc() - v->pmu.stopped;
	v->pmu.stopped = 0;
}

static inline void pmu_stops(struct vcpu *v)
{
	if (v->pmu.active && !v->pmu.stopped && v->shared->config.pmu == PMU_STOP)
		v->pmu.stopped = vcpu_host_tsc();
}

// -- mode.c
uint64_t bt_translation_key(const struct vcpu *v); // what else translation depends on: a change throws all units away
void bt_set_mode(struct vcpu *v);                  // the mode may have changed
void bt_apply(struct vcpu *v, const struct sys_result *res);

// -- events.c
void bt_deliver_fault(struct vcpu *v);
void bt_try_interrupt(struct vcpu *v); // deliver the pending one if the guest takes it now; else hear when it does
void bt_try_nmi(struct vcpu *v);
void bt_service(struct vcpu *v);       // v->pending
void bt_idle(struct vcpu *v);          // the vCPU does not run

// -- leave.c
void bt_take_state(struct vcpu *v, uint64_t why); // the guest's flags, as translated code has left them
void bt_note_exit(struct vcpu *v, uint64_t why);  // v->rip, and for the crash report and -d exit
bool bt_left(struct vcpu *v, uint64_t why);      // do what it was left for; true: an instruction has been completed

#endif
