// SPDX-License-Identifier: MIT
//
// Slots of PCI bus 0 that devices come to and go from while the guest runs: an object for each, whose _EJ0 lets its
// device go, and the method for the chip's event, which asks its registers (chip/pci_hotplug.c) and notifies the slots
// concerned (ACPI specification, "Device Object Notifications", "_EJx (Eject)").
#include "boot/acpi.h"

enum { FIRST_SLOT = 2, SLOTS = 32, PORTS = 0xae00, NOTIFY_CHECK = 1, NOTIFY_EJECT = 3 };

static void slot_name(char name[5], unsigned slot)
{
	static const char digits[] = "0123456789ABCDEF";

	name[0] = 'S';
	name[1] = digits[slot >> 1];
	name[2] = digits[(slot & 1) << 3];
	name[3] = '_';
	name[4] = 0;
}

static void put_slot(struct aml *b, unsigned slot)
{
	size_t device, method;
	char name[5];

	slot_name(name, slot);
	device = aml_device(b, name);
	aml_name(b, "_ADR");
	aml_int(b, slot << 16);
	aml_name(b, "_SUN");
	aml_int(b, slot);
	method = aml_method(b, "_EJ0", 1);
	aml_store_int(b, BIT(slot), "PCEJ");
	aml_close(b, method);
	aml_close(b, device);
}

void hotplug_put_slots(struct aml *b)
{
	size_t field;

	aml_io_region(b, "PCST", PORTS, 12);
	field = aml_field(b, "PCST");
	aml_field_part(b, "PCIU", 32);
	aml_field_part(b, "PCID", 32);
	aml_field_part(b, "PCEJ", 32);
	aml_close(b, field);
	for (unsigned slot = FIRST_SLOT; slot < SLOTS; slot++)
		put_slot(b, slot);
}

static void put_notices(struct aml *b, unsigned local, uint8_t what)
{
	char path[] = "\\_SB.PCI0.S00_";

	for (unsigned slot = FIRST_SLOT; slot < SLOTS; slot++) {
		size_t branch = aml_if_bits(b, local, BIT(slot));

		slot_name(path + 10, slot);
		aml_notify(b, path, what);
		aml_close(b, branch);
	}
}

void hotplug_put_event(struct aml *b)
{
	size_t scope = aml_scope(b, "\\_GPE"), method = aml_method(b, "_E01", 0);

	aml_load_local(b, "\\_SB.PCI0.PCIU", 0);
	aml_load_local(b, "\\_SB.PCI0.PCID", 1);
	put_notices(b, 0, NOTIFY_CHECK);
	put_notices(b, 1, NOTIFY_EJECT);
	aml_close(b, method);
	aml_close(b, scope);
}
