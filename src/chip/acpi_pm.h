// SPDX-License-Identifier: MIT
//
// The power management block of the PIIX4, as QEMU's pc has it: PM1 at 0x600, the 24-bit PM timer at 0x608, GPE0 at
// 0xafe0, the APM ports 0xb2 and 0xb3. See chip/acpi_pm.c.
#ifndef CHIP_ACPI_PM_H
#define CHIP_ACPI_PM_H

#include "bus/bus.h"

enum { ACPI_PM_RANGE_PM, ACPI_PM_RANGE_GPE, ACPI_PM_RANGE_APM };
enum { ACPI_PM_SIZE = 0x40, ACPI_GPE_BASE = 0xafe0, ACPI_GPE_SIZE = 4, ACPI_APM_BASE = 0xb2, ACPI_SCI = 9 };
enum { ACPI_PM_HZ = 3579545, ACPI_CMD_ENABLE = 0xf1, ACPI_CMD_DISABLE = 0xf0 };
enum { ACPI_SLP_TYP_S5 = 0, ACPI_SLP_TYP_S3 = 1, ACPI_SLP_TYP_S4 = 2 }; // what the DSDT's \_S5, \_S3, \_S4 must say

enum acpi_pm_event {
	ACPI_TMR = BIT(0), ACPI_GBL = BIT(5), ACPI_PWRBTN = BIT(8), ACPI_SLPBTN = BIT(9), ACPI_RTC = BIT(10),
	ACPI_WAK = BIT(15),
};

struct acpi_pm {
	struct dev dev;
	uint16_t status, enable, control;
	uint8_t gpe_status[2], gpe_enable[2];
	uint8_t apm_command, apm_status;
	uint64_t half_periods;  // of the PM timer, seen so far: each toggles bit 23 and sets TMR_STS
	struct irq_line sci;
	struct timer timer;
	bool no_smm;            // an ICH9's, which says that there is no SMM to be set up
	void (*power_off)(void *opaque);
	void *opaque;
};

extern const struct dev_class acpi_pm_class;

// Set fixed event status bits, such as a press of the power button.
void acpi_pm_event(struct acpi_pm *c, enum acpi_pm_event event);

void acpi_pm_gpe(struct acpi_pm *c, uint8_t bits); // of the first eight general-purpose events

#endif
