// SPDX-License-Identifier: MIT
//
// Signals as events of the loop, by signalfd: those that ask ringer to end, and those that stop and continue it, around
// which the terminal changes hands. SIGPIPE is ignored: a closed output is an error of write.
#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "host/signals.h"
#include "host/term.h"

static void signal_set(sigset_t *set)
{
	static const int taken[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGCONT};

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(taken); i++)
		sigaddset(set, taken[i]);
}

void signals_block(void)
{
	sigset_t set;

	signal_set(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
}

static void signal_ready(void *opaque, uint32_t events)
{
	struct signals *s = opaque;
	struct signalfd_siginfo si;

	if (read(s->lf.fd, &si, sizeof(si)) != sizeof(si))
		return;
	switch (si.ssi_signo) {
	case SIGTSTP:
		if (s->suspend)
			s->suspend(s->opaque, true);
		term_suspend();
		if (s->suspend)
			s->suspend(s->opaque, false);
		break;
	case SIGCONT:
		term_raw_again();
		if (s->suspend)
			s->suspend(s->opaque, false);
		break;
	default:
		s->terminate(s->opaque, (int)si.ssi_signo, (pid_t)si.ssi_pid);
	}
}

int signals_add(struct loop *l, struct signals *s, void (*terminate)(void *, int, pid_t), void *opaque)
{
	sigset_t set;

	signal_set(&set);
	s->terminate = terminate;
	s->opaque = opaque;
	s->lf = (struct loop_fd){.fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK),
				 .events = EPOLLIN,
				 .ready = signal_ready,
				 .opaque = s};
	return s->lf.fd < 0 ? -errno : loop_add(l, &s->lf);
}

void signals_remove(struct loop *l, struct signals *s)
{
	loop_remove(l, &s->lf);
	if (s->lf.fd > 0)
		close(s->lf.fd);
	s->lf.fd = -1;
}
