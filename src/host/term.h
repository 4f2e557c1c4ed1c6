// SPDX-License-Identifier: MIT
//
// The user's terminal: put into raw mode once, given back on every way out. The saved mode is the one piece of
// file-scope state here, because the handlers of crash signals need it.
#ifndef HOST_TERM_H
#define HOST_TERM_H

#include "base/types.h"

enum term_signals { TERM_SIGNALS_KEPT /* Ctrl-C and Ctrl-Z act on ringer */, TERM_SIGNALS_TO_GUEST };

// Raw mode on fd if it is a terminal (otherwise nothing, and 0). Installs the handlers of crash signals and atexit.
int term_raw(int fd, enum term_signals signals);
void term_restore(void); // async-signal-safe; idempotent
void term_raw_again(void); // after a restore, e.g. when continued
bool term_may_read(int fd); // false: fd is a terminal and another process group has it
void term_suspend(void); // restore, stop the process as Ctrl-Z would, raw again when continued

#endif
