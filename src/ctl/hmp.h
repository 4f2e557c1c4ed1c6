// SPDX-License-Identifier: MIT
//
// The human monitor from inside: its commands, which are in several files.
#ifndef CTL_HMP_H
#define CTL_HMP_H

#include "ctl/operator.h"

__attribute__((format(printf, 2, 3))) void hmp_print(struct hmp_text *t, const char *fmt, ...);

// The next word of *rest, into word; false: there is none.
bool hmp_word(const char **rest, char *word, size_t size);
// The next word as a number (0x.., decimal). False: it is none, which has been said.
bool hmp_number(const char **rest, struct hmp_text *t, uint64_t *n);

// hmp_info.c: what "info NAME" shows. NULL at the end.
struct hmp_info {
	const char *name, *help;
	void (*show)(struct machine *m, struct hmp_text *t);
};
extern const struct hmp_info hmp_infos[];

// hmp_memory.c
void hmp_examine(struct machine *m, const char *rest, struct hmp_text *t);          // x /FMT ADDRESS
void hmp_examine_physical(struct machine *m, const char *rest, struct hmp_text *t); // xp
void hmp_print_value(struct machine *m, const char *rest, struct hmp_text *t);      // print
void hmp_memsave(struct machine *m, const char *rest, struct hmp_text *t);
void hmp_pmemsave(struct machine *m, const char *rest, struct hmp_text *t);
void hmp_dump(struct machine *m, const char *rest, struct hmp_text *t);
void hmp_mappings(struct machine *m, struct hmp_text *t); // info mem
void hmp_pages(struct machine *m, struct hmp_text *t);    // info tlb
void hmp_registers(struct machine *m, struct hmp_text *t);

#endif
