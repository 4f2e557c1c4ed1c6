// SPDX-License-Identifier: MIT
//
// -daemonize: the caller gets its status when the machine runs, or could not be made; what runs is a child in a session
// of its own. It is forked before anything is made, as monitors end with the process that started them.
#ifndef HOST_DAEMON_H
#define HOST_DAEMON_H

// In the child, the descriptor for daemon_ready. The parent does not return but for a negative errno.
int daemon_fork(void);
void daemon_ready(int fd);

#endif
