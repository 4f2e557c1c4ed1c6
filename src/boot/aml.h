// SPDX-License-Identifier: MIT
//
// An emitter of AML, the byte code of ACPI's DSDT (ACPI specification, "ACPI Machine Language (AML) Specification"),
// as much of it as the board's description needs: names, integers, packages, scopes, devices, resource templates.
// Things with a length are opened and closed; the caller nests them rightly. Overflow is remembered, never written.
#ifndef BOOT_AML_H
#define BOOT_AML_H

#include "base/types.h"

struct aml {
	uint8_t *p;
	size_t len, cap;
	bool overflow;
};

// Open: returns what aml_close wants. path is one name segment, "\\" + one, or "" + nothing else.
size_t aml_scope(struct aml *b, const char *path);
size_t aml_device(struct aml *b, const char *name);
size_t aml_package(struct aml *b, unsigned elements);
void aml_close(struct aml *b, size_t opened);

// Data and names. aml_name declares Name(name, ...): the datum is what is emitted next.
void aml_name(struct aml *b, const char *name);
void aml_int(struct aml *b, uint64_t value);
void aml_eisaid(struct aml *b, const char *id);  // "PNP0501"
void aml_string(struct aml *b, const char *s);

// Methods, as far as devices that come and go need them. path: segments with dots between, "\\" before the first.
size_t aml_method(struct aml *b, const char *name, unsigned args); // open
void aml_put_osc(struct aml *b, const uint8_t uuid[16], uint32_t granted); // _OSC of a PCI root: who controls what
size_t aml_if_bits(struct aml *b, unsigned local, uint32_t bits);  // open: if any of them is set in LocalN
void aml_load_local(struct aml *b, const char *path, unsigned local);
void aml_store_int(struct aml *b, uint64_t value, const char *name);
void aml_notify(struct aml *b, const char *path, uint8_t value);
void aml_io_region(struct aml *b, const char *name, uint16_t base, uint8_t len);
size_t aml_field(struct aml *b, const char *region); // open: its parts follow, accessed 32 bits at a time
void aml_field_part(struct aml *b, const char *name, unsigned bits);

// A resource template: open, descriptors, close.
struct aml_template {
	size_t buffer, size_at, start;
};
struct aml_template aml_template_open(struct aml *b);
void aml_io(struct aml *b, uint16_t base, uint8_t len);
void aml_irq(struct aml *b, unsigned irq);
void aml_dma(struct aml *b, unsigned channel); // of bytes
void aml_interrupt(struct aml *b, uint32_t gsi); // level-triggered, active high, shared
void aml_memory32(struct aml *b, uint32_t base, uint32_t len);
enum aml_range { AML_RANGE_MEMORY, AML_RANGE_IO, AML_RANGE_BUS };
void aml_window16(struct aml *b, enum aml_range type, uint16_t first, uint16_t last);
void aml_window32(struct aml *b, enum aml_range type, uint32_t first, uint32_t last);
void aml_template_close(struct aml *b, struct aml_template t);

#endif
