// SPDX-License-Identifier: MIT
//
// Operators: whoever commands the machine from outside while it runs, over a character stream (-qmp, -monitor, -mon).
// QMP is a stream of JSON objects for programs (QEMU's documentation, "QEMU Machine Protocol Specification"); the human
// monitor takes lines. Both run in the event loop. What comes in is bounded and may be anything; each command that
// cannot be obeyed is answered with one error. Nothing more is read while an answer waits to be sent.
#ifndef CTL_OPERATOR_H
#define CTL_OPERATOR_H

#include "io/chardev.h"
#include "machine/control.h"
#include "machine/machine.h"

enum { OPERATORS_MAX = 8, OPERATOR_IN = 64 << 10, OPERATOR_OUT = 256 << 10 };

struct operator_config {
	struct stream_config to;
	bool qmp, pretty; // else the human monitor
};

struct operators;

struct operator {
	struct operators *all;
	struct chardev chardev;
	bool qmp, pretty, greeted, ready; // ready: qmp_capabilities was said
	bool overlong; // what is being read is too long: it is passed over, up to the end of its line
	char in[OPERATOR_IN];
	size_t in_used;
	char out[OPERATOR_OUT];
	size_t out_used;
};

struct console_monitor { // the human monitor on the console's terminal (console.c)
	struct machine *machine;
	struct mux *mux; // where it is, since it has been asked for
	struct loop_event ready;
	char in[512], line[512]; // typed and not yet looked at; the line that becomes
	size_t typed, used;
	bool begins, greeted;
};

struct passed { // a descriptor from an operator; without a name: a free place
	char name[64];
	int fd;
};

struct operators {
	struct machine *machine;
	struct passed passed[16];
	uint64_t dumped; // bytes of the last dump of memory
	struct console_monitor console;
	unsigned count;
	struct operator *one[OPERATORS_MAX];
};

// Between machine_create and machine_run. 0, or a negative errno with a line in err.
int operators_open(struct operators *o, struct machine *m, const struct operator_config *c, unsigned n, char *err,
		   size_t errlen);
void operators_close(struct operators *o);

// operator.c, for the two languages
void operator_put(struct operator *op, const char *text, size_t n); // what has no room is dropped

// qmp.c: is it built (libjansson)? A greeting; take as much of the input as is complete, and say how much that was; an
// event.
bool qmp_is_built(void);
void qmp_greet(struct operator *op);
size_t qmp_take(struct operator *op, const char *in, size_t n);
void qmp_complain(struct operator *op, const char *why);
void qmp_tell(struct operator *op, enum machine_note note, bool guest, const char *why);
void qmp_tell_failure(struct operator *op, const struct block_failure *f);

// hmp.c
struct hmp_text { // an answer
	char at[32768];
	size_t used;
};
#define HMP_GREETING "QEMU 7.2.0 monitor (ringer 0.1.0) - type 'help' for more information\r\n"
#define HMP_PROMPT "(qemu) "
void hmp_greet(struct operator *op);
size_t hmp_take(struct operator *op, const char *in, size_t n);
void hmp_obey(struct machine *m, const char *line, struct hmp_text *answer);

// console.c
int console_open(struct console_monitor *c, struct machine *m);
void console_close(struct console_monitor *c);

#endif
