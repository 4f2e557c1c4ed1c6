// SPDX-License-Identifier: MIT
//
// The smallest HTTP server that takes a thousand connections at once: a process for each.
//   serve DIRECTORY
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static int answer(int to)
{
	char request[2000], name[100];
	ssize_t n = read(to, request, sizeof(request) - 1);
	struct stat st;
	int from;

	request[n > 0 ? n : 0] = 0;
	if (sscanf(request, "GET /%99s ", name) != 1 || (from = open(name, O_RDONLY)) < 0 || fstat(from, &st) < 0)
		return 1;
	dprintf(to, "HTTP/1.0 200 OK\r\nContent-Length: %lld\r\n\r\n", (long long)st.st_size);
	while (sendfile(to, from, NULL, 1 << 20) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(80)};
	int s = socket(AF_INET, SOCK_STREAM, 0);

	signal(SIGCHLD, SIG_IGN);
	if (argc != 2 || chdir(argv[1]) < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) < 0 || listen(s, 1024) < 0)
		return 1;
	for (;;) {
		int to = accept(s, NULL, NULL);

		if (to >= 0 && fork() == 0)
			_exit(answer(to));
		close(to);
	}
}
