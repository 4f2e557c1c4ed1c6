// SPDX-License-Identifier: MIT
//
// The monitor as a child process of the app.
#ifndef HOST_PROCESS_H
#define HOST_PROCESS_H

#include <sys/types.h>

#include "base/types.h"

// The path of ringer-vmm: $RINGER_VMM, or beside the running program. 0 or a negative errno if there is no such program
// (path then holds where it was looked for).
int process_find_monitor(char *path, size_t size);

// Start it with one argument and with fds[i] as descriptor 3 + i, stderr, and nothing else: stdin and stdout are
// /dev/null, the environment
// is empty, its process group its own. It dies with the calling thread. Returns the pid, with a pidfd of it; or a
// negative errno, that of a failed exec included. Call from the main thread only.
// exec_fd: what to execute instead of path, or -1.
pid_t process_spawn(const char *path, int exec_fd, const char *arg, const int *fds, unsigned nfds, int *pidfd);

// Kill and reap.
void process_kill(pid_t pid, int *pidfd);

// How it ended, in words. Reaps it. Its exit status, or -1 if it was killed.
int process_describe_end(pid_t pid, char *text, size_t size);

#endif
