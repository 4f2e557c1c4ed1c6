// SPDX-License-Identifier: MIT
//
// ACPI fixed hardware (ACPI specification, "ACPI Register Model"), arranged as in Intel's 82371AB. There is no firmware
// in system management mode behind the APM command port: the two ACPI commands set and clear SCI_EN at once. The PM
// timer is computed from the virtual clock; TMR_STS is brought up to date when someone looks, and a timer runs only
// while TMR_EN asks for the interrupt.
#include "chip/acpi_pm.h"

#include "base/muldiv.h"

enum { PM1_STATUS = 0, PM1_ENABLE = 2, PM1_CONTROL = 4, PM_TIMER = 8, SMI_ENABLE = 0x30, SMI_APM_SET_UP = BIT(5) };
enum { CONTROL_SCI_EN = BIT(0), CONTROL_SLP_EN = BIT(13), CONTROL_WRITABLE = 0x1c07 & ~1, CONTROL_SLP_TYP_SHIFT = 10 };
enum { TIMER_HALF_SHIFT = 23, TIMER_MASK = 0xffffff };
enum { EVENTS_SCI = ACPI_TMR | ACPI_GBL | ACPI_PWRBTN | ACPI_SLPBTN | ACPI_RTC };
enum { STATUS_CLEARABLE = EVENTS_SCI | BIT(4) | ACPI_WAK, ENABLE_WRITABLE = EVENTS_SCI };
enum { NS_PER_S = 1000000000 };

static uint64_t pm_ticks(struct acpi_pm *c)
{
	return muldiv64(bus_now(c->dev.bus), ACPI_PM_HZ, NS_PER_S);
}

static void pm_arm(struct acpi_pm *c)
{
	uint64_t next = (c->half_periods + 1) << TIMER_HALF_SHIFT;
	bool wanted = (c->enable & ACPI_TMR) && !(c->status & ACPI_TMR);

	timer_set(c->dev.bus, &c->timer, wanted ? muldiv64_up(next, NS_PER_S, ACPI_PM_HZ) : 0);
}

static void pm_update(struct acpi_pm *c)
{
	uint64_t half_periods = pm_ticks(c) >> TIMER_HALF_SHIFT;
	bool gpe = (c->gpe_status[0] & c->gpe_enable[0]) || (c->gpe_status[1] & c->gpe_enable[1]);

	if (half_periods != c->half_periods)
		c->status |= ACPI_TMR;
	c->half_periods = half_periods;
	irq_set(&c->sci, (c->control & CONTROL_SCI_EN) && ((c->status & c->enable & EVENTS_SCI) || gpe));
	pm_arm(c);
}

static void pm_fire(void *opaque, uint64_t now)
{
	pm_update(opaque);
}

void acpi_pm_event(struct acpi_pm *c, enum acpi_pm_event event)
{
	c->status |= event;
	pm_update(c);
}

void acpi_pm_gpe(struct acpi_pm *c, uint8_t bits)
{
	c->gpe_status[0] |= bits;
	pm_update(c);
}

static void pm_write_control(struct acpi_pm *c, uint16_t value)
{
	unsigned type = value >> CONTROL_SLP_TYP_SHIFT & 7;

	c->control = (c->control & CONTROL_SCI_EN) | (value & CONTROL_WRITABLE);
	if (!(value & CONTROL_SLP_EN) || (type != ACPI_SLP_TYP_S5 && type != ACPI_SLP_TYP_S4))
		return;
	if (c->power_off)
		c->power_off(c->opaque);
}

static uint16_t pm_register(struct acpi_pm *c, uint64_t reg)
{
	switch (reg) {
	case PM1_STATUS:
		return c->status;
	case PM1_ENABLE:
		return c->enable;
	case PM1_CONTROL:
		return c->control;
	case PM_TIMER:
		return pm_ticks(c);
	case SMI_ENABLE:
		return c->no_smm ? SMI_APM_SET_UP : 0;
	case PM_TIMER + 2:
		return (pm_ticks(c) & TIMER_MASK) >> 16;
	}
	return 0;
}

static uint64_t pm_read(struct acpi_pm *c, uint64_t off, unsigned size)
{
	uint64_t value;

	if (off == PM_TIMER && size == 4)
		return pm_ticks(c) & TIMER_MASK;
	pm_update(c);
	value = pm_register(c, off & ~1u) | (uint32_t)pm_register(c, (off & ~1u) + 2) << 16;
	return value >> (off & 1) * 8;
}

// One 16-bit register; mask says which of its bytes are written.
static void pm_write_register(struct acpi_pm *c, uint64_t reg, uint16_t value, uint16_t mask)
{
	switch (reg) {
	case PM1_STATUS:
		c->status &= ~(value & mask & STATUS_CLEARABLE);
		break;
	case PM1_ENABLE:
		c->enable = ((c->enable & ~mask) | (value & mask)) & ENABLE_WRITABLE;
		break;
	case PM1_CONTROL: // a write of one byte must not act on SLP_EN of the other
		pm_write_control(c, (c->control & ~mask) | (value & mask));
		break;
	}
}

static void pm_write(struct acpi_pm *c, uint64_t off, unsigned size, uint32_t value)
{
	uint32_t mask = size == 1 ? 0xff : size == 2 ? 0xffff : 0xffffffff;
	unsigned shift = (off & 1) * 8;

	pm_update(c);
	pm_write_register(c, off & ~1u, value << shift, mask << shift);
	if (size == 4)
		pm_write_register(c, (off & ~1u) + 2, value >> 16, 0xffff);
	pm_update(c);
}

static uint8_t gpe_read(struct acpi_pm *c, uint64_t off)
{
	return off < 2 ? c->gpe_status[off] : c->gpe_enable[off - 2];
}

static void gpe_write(struct acpi_pm *c, uint64_t off, uint8_t value)
{
	if (off < 2)
		c->gpe_status[off] &= ~value;
	else
		c->gpe_enable[off - 2] = value;
	pm_update(c);
}

static void apm_write(struct acpi_pm *c, uint64_t off, uint8_t value)
{
	if (off) {
		c->apm_status = value;
		return;
	}
	c->apm_command = value;
	if (value == ACPI_CMD_ENABLE)
		c->control |= CONTROL_SCI_EN;
	else if (value == ACPI_CMD_DISABLE)
		c->control &= ~CONTROL_SCI_EN;
	pm_update(c);
}

static uint64_t wide_gpe_read(struct acpi_pm *c, uint64_t off, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)gpe_read(c, off + i) << (8 * i);
	return value;
}

static uint64_t acpi_pm_read(struct dev *d, unsigned range, uint64_t off, unsigned size)
{
	struct acpi_pm *c = (struct acpi_pm *)d;

	if (range == ACPI_PM_RANGE_PM)
		return pm_read(c, off, size);
	if (range == ACPI_PM_RANGE_GPE)
		return wide_gpe_read(c, off, size);
	return (off ? c->apm_status : c->apm_command) | (size > 1 && !off ? c->apm_status << 8 : 0);
}

static void acpi_pm_write(struct dev *d, unsigned range, uint64_t off, unsigned size, uint64_t value)
{
	struct acpi_pm *c = (struct acpi_pm *)d;

	if (range == ACPI_PM_RANGE_PM) {
		pm_write(c, off, size, value);
		return;
	}
	for (unsigned i = 0; i < size; i++) {
		if (range == ACPI_PM_RANGE_GPE)
			gpe_write(c, off + i, value >> (8 * i));
		else
			apm_write(c, off + i, value >> (8 * i));
	}
}

static void acpi_pm_reset(struct dev *d)
{
	struct acpi_pm *c = (struct acpi_pm *)d;

	c->status = c->enable = c->control = 0;
	c->gpe_status[0] = c->gpe_status[1] = c->gpe_enable[0] = c->gpe_enable[1] = 0;
	c->apm_command = c->apm_status = 0;
	c->half_periods = pm_ticks(c) >> TIMER_HALF_SHIFT;
	pm_update(c);
}

static void acpi_pm_init(struct dev *d)
{
	struct acpi_pm *c = (struct acpi_pm *)d;

	timer_init(d->bus, &c->timer, pm_fire, c);
}

const struct dev_class acpi_pm_class = {"acpi_pm", sizeof(struct acpi_pm), 4, acpi_pm_init, acpi_pm_reset,
	acpi_pm_read, acpi_pm_write};
