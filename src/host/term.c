// SPDX-License-Identifier: MIT
//
// Terminal raw mode. What the guest writes passes as it is but for the output processing that the user's shell had
// set (so that ringer's own lines end well); what the user types passes as it is. Restored by atexit, by the handlers
// of SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT and SIGSYS, and by host/signals.c for those that ask ringer to end. A
// terminal that another process group has in the foreground is that group's: neither its mode is changed nor is it
// read.
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "host/term.h"

static struct {
	int fd;
	pid_t owner; // a forked child must not touch the terminal of its parent
	volatile sig_atomic_t raw;
	bool known;
	struct termios saved, mode;
} term = { .fd = -1 };

// A terminal that is not our session's has no groups that we could ask for, and is ours.
static bool in_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	return group < 0 || group == getpgrp();
}

// Without waiting for output: nothing of it is changed, and who should read it may never do so.
void term_restore(void)
{
	if (!term.raw || term.owner != getpid())
		return;
	term.raw = 0;
	if (in_foreground(term.fd))
		tcsetattr(term.fd, TCSANOW, &term.saved);
}

void term_raw_again(void)
{
	if (!term.known || term.owner != getpid())
		return;
	term.raw = in_foreground(term.fd);
	if (term.raw)
		tcsetattr(term.fd, TCSANOW, &term.mode);
}

bool term_may_read(int fd)
{
	if (!term.known || !isatty(fd))
		return true;
	if (!in_foreground(fd))
		return false;
	if (!term.raw)
		term_raw_again();
	return true;
}

void term_suspend(void)
{
	term_restore();
	raise(SIGSTOP);
	term_raw_again();
}

static void on_crash(int sig)
{
	term_restore();
	raise(sig); // SA_RESETHAND: the default action this time
}

static void install_handlers(void)
{
	static const int crashes[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS };
	struct sigaction sa = { .sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER };

	for (size_t i = 0; i < ARRAY_SIZE(crashes); i++)
		sigaction(crashes[i], &sa, NULL);
	signal(SIGTTOU, SIG_IGN); // when the foreground changes between our look and our act
	signal(SIGTTIN, SIG_IGN);
	atexit(term_restore);
}

int term_raw(int fd, enum term_signals signals)
{
	struct termios *t = &term.mode;

	if (!isatty(fd))
		return 0;
	if (!term.known) {
		if (tcgetattr(fd, &term.saved) < 0)
			return -errno;
		term.fd = fd;
		term.owner = getpid();
		install_handlers();
	}
	*t = term.saved;
	t->c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	t->c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (signals == TERM_SIGNALS_TO_GUEST)
		t->c_lflag &= ~(tcflag_t)ISIG;
	t->c_cflag = (t->c_cflag & ~(tcflag_t)(CSIZE | PARENB)) | CS8;
	t->c_cc[VMIN] = 1;
	t->c_cc[VTIME] = 0;
	term.known = true;
	term.raw = in_foreground(fd);
	if (term.raw && tcsetattr(fd, TCSANOW, t) < 0) {
		int err = -errno;

		term_restore();
		return err;
	}
	return 0;
}
