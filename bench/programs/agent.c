// SPDX-License-Identifier: MIT
//
// Runs the bench's programs one by one, as told on standard input, and takes the time by CLOCK_MONOTONIC.
//   agent TREE      natively: makes a mount namespace with /tmp, /proc and /dev in TREE, and goes there by chroot
//   as /init        in a guest: the same on an initramfs that is that tree, told by the serial console
// A line "NAME" of /bench/programs.txt (lines "NAME command") is answered by
//   BEGIN NAME      before, for the clock of whoever reads this, and
//   END NAME ns status hash      after: the time from fork to the end, wait()'s status, a hash of what was printed.
// "quit" ends it; a guest is then powered off.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "common.h"

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The command for a name: the rest of its line in the list. */
static char *find_command(const char *name)
{
	static char list[65536];
	size_t n = strlen(name);
	FILE *f = fopen("/bench/programs.txt", "r");
	char *found = NULL;

	while (f && !found && fgets(list, sizeof(list), f))
		if (!strncmp(list, name, n) && list[n] == ' ')
			found = list + n + 1;
	if (f)
		fclose(f);
	return found;
}

static uint64_t hash_file(const char *path)
{
	uint64_t h = 0xcbf29ce484222325ull;
	unsigned char block[4096];
	ssize_t n;
	int fd = open(path, O_RDONLY);

	while (fd >= 0 && (n = read(fd, block, sizeof(block))) > 0)
		for (ssize_t i = 0; i < n; i++)
			h = (h ^ block[i]) * 0x100000001b3ull;
	close(fd);
	return h;
}

static void run(const char *name)
{
	char *command = find_command(name);
	uint64_t start, taken;
	int status = -1;
	pid_t child;

	if (!command) {
		printf("END %s 0 -1 unknown\n", name);
		return;
	}
	printf("BEGIN %s\n", name);
	fflush(stdout);
	start = now();
	child = fork();
	if (child == 0) {
		int out = open("/tmp/out", O_WRONLY | O_CREAT | O_TRUNC, 0600), in = open("/dev/null", O_RDONLY);

		dup2(in, 0);
		dup2(out, 1);
		dup2(out, 2);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	waitpid(child, &status, 0);
	taken = now() - start;
	printf("END %s %llu %d ", name, (unsigned long long)taken, status);
	fflush(stdout);
	printf("%016llx\n", (unsigned long long)hash_file("/tmp/out"));
	if (status) {
		char text[400];
		int fd = open("/tmp/out", O_RDONLY);
		ssize_t n = read(fd, text, sizeof(text));

		printf("OUT %.*s\nTUO\n", n > 0 ? (int)n : 0, text);
		close(fd);
	}
}

static void mount_or_die(const char *source, const char *where, const char *type, unsigned long flags)
{
	if (mount(source, where, type, flags, NULL))
		die(where);
}

static void enter_tree(const char *tree)
{
	int flags = CLONE_NEWNS | (getuid() ? CLONE_NEWUSER : 0);

	if (unshare(flags) || chdir(tree))
		die(tree);
	mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
	mount_or_die("tmpfs", "tmp", "tmpfs", 0);
	mount_or_die("/dev", "dev", NULL, MS_BIND | MS_REC);
	mount_or_die("/proc", "proc", NULL, MS_BIND | MS_REC);
	if (chroot(".") || chdir("/"))
		die("chroot");
}

static void start_guest(void)
{
	struct termios t;

	mount_or_die("proc", "/proc", "proc", 0);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount_or_die("tmpfs", "/tmp", "tmpfs", 0);
	if (!tcgetattr(0, &t)) {
		t.c_lflag &= ~(unsigned)(ECHO | ECHOE | ECHOK);
		tcsetattr(0, TCSANOW, &t);
	}
}

int main(int argc, char **argv)
{
	char line[64];
	int guest = getpid() == 1;

	if (guest)
		start_guest();
	else if (argc == 2)
		enter_tree(argv[1]);
	else
		return 2;
	setenv("PATH", "/usr/bin:/bin", 1);
	setenv("LC_ALL", "C", 1);
	puts("READY");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\r\n")] = 0;
		if (!strcmp(line, "quit"))
			break;
		run(line);
		fflush(stdout);
	}
	if (guest)
		reboot(RB_POWER_OFF);
	return 0;
}
