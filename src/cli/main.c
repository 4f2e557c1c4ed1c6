// SPDX-License-Identifier: MIT
//
// ringer: parse, create, run, destroy. The only place that exits the process and, with what it prints, the only one
// that tells the user of a failure.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cli/cli.h"
#include "host/daemon.h"
#include "host/term.h"

static int complain(const char *text)
{
	term_restore();
	cli_complain(text);
	return 1;
}

// Standard descriptors that the caller closed would be taken by files of ours.
static void fill_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int write_pidfile(const char *path)
{
	FILE *f = fopen(path, "we");

	if (!f)
		return -errno;
	fprintf(f, "%d\n", (int)getpid());
	return fclose(f) ? -errno : 0;
}

static int print_stats(const struct cli *c, const struct machine *m)
{
	const struct stats sum = stats_sum(m->shared);
	FILE *f = c->stats_file ? fopen(c->stats_file, "we") : stderr;

	if (!f)
		return -errno;
	stats_print(f, c->stats, &sum, m);
	if (f == stderr)
		return 0;
	return fclose(f) ? -errno : 0;
}

static int run(struct cli *c, struct machine *m)
{
	struct operators operators = {0};
	struct gdb gdb = {0};
	char err[600];
	int status, r = c->gdb ? gdb_open(&gdb, m, c->gdb, err, sizeof(err)) : 0;

	if (r < 0)
		return complain(err);
	r = operators_open(&operators, m, c->operator, c->operators, err, sizeof(err));
	status = r < 0 ? r : machine_run(m, err, sizeof(err));
	operators_close(&operators);
	gdb_close(&gdb, status);

	if (status < 0)
		return complain(err);
	term_restore();
	r = c->stats == STATS_OFF ? 0 : print_stats(c, m);
	if (r < 0) {
		snprintf(err, sizeof(err), "--stats: cannot write '%s': %s", c->stats_file, strerror(-r));
		return complain(err);
	}
	return status;
}

static void started(void *opaque)
{
	daemon_ready(*(const int *)opaque);
}

static int create_and_run(struct cli *c)
{
	int daemon = c->daemonize ? daemon_fork() : 0;
	struct machine m;
	char err[600];
	int status, r;

	if (daemon < 0)
		return complain("-daemonize: cannot fork");
	r = machine_create(&m, &c->config, err, sizeof(err));
	if (r < 0)
		return complain(err);
	if (c->mem_lock && mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		cli_warn("-overcommit mem-lock=on: %s; memory is not locked (ulimit -l)", strerror(errno));
	cli_let_plug(c, &m);
	m.started = c->daemonize ? started : NULL;
	m.started_opaque = &daemon;
	r = c->pidfile ? write_pidfile(c->pidfile) : 0;
	if (r < 0) {
		snprintf(err, sizeof(err), "-pidfile: cannot write '%s': %s", c->pidfile, strerror(-r));
		status = complain(err);
	} else {
		status = run(c, &m);
		if (c->pidfile)
			unlink(c->pidfile);
	}
	machine_destroy(&m);
	return status;
}

int main(int argc, char **argv)
{
	struct cli c;
	int status;

	fill_standard_fds();
	signals_block();
	switch (cli_parse(&c, argc, argv)) {
	case CLI_OK:
		status = create_and_run(&c);
		break;
	case CLI_DONE:
		status = 0;
		break;
	default:
		status = complain(c.err);
	}
	return fflush(stdout) ? 1 : status;
}
