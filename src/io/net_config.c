// SPDX-License-Identifier: MIT
//
// The properties of networks as QEMU spells them: the pieces that the back-ends' tables are made of.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/net.h"

static const struct net_class *const classes[NET_KINDS] = {
    [NET_USER] = &net_user_class,
    [NET_TAP] = &net_tap_class,
    [NET_STREAM] = &net_stream_class,
    [NET_SOCKET] = &net_socket_class,
};

const struct net_class *net_kind_class(enum net_kind kind)
{
	return classes[kind];
}

int net_kind_find(const char *name)
{
	for (int i = 0; i < NET_KINDS; i++)
		if (!strcmp(classes[i]->name, name))
			return i;
	return -ENOENT;
}

void net_config_init(struct net_config *c, enum net_kind kind)
{
	memset(c, 0, sizeof(*c));
	c->kind = kind;
	if (kind == NET_TAP) {
		c->tap = (struct net_tap_config){.header = true};
		memset(c->tap.fd, -1, sizeof(c->tap.fd));
	} else if (kind != NET_USER) {
		c->stream.address.fd = -1;
	}
}

int net_parse_bool(const char *key, const char *value, bool *to, char *err, size_t errlen)
{
	static const struct {
		const char *word;
		bool value;
	} words[] = {{"on", true},   {"yes", true}, {"true", true}, {"y", true},
		     {"off", false}, {"no", false}, {"false", false}, {"n", false}};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(value, words[i].word)) {
			*to = words[i].value;
			return 0;
		}
	snprintf(err, errlen, "%s=%s: give on or off", key, value);
	return -EINVAL;
}

int net_parse_text(const char *key, const char *value, char *to, size_t size, char *err, size_t errlen)
{
	if (strlen(value) >= size) {
		snprintf(err, errlen, "%s: at most %zu characters", key, size - 1);
		return -EINVAL;
	}
	strcpy(to, value);
	return 0;
}

int net_parse_fd(const char *key, const char *value, int *to, char *err, size_t errlen)
{
	char *end;
	long fd = strtol(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || fd > 1 << 20 || fcntl((int)fd, F_GETFD) < 0) {
		snprintf(err, errlen, "%s=%s: not the number of an open file descriptor", key, value);
		return -EINVAL;
	}
	*to = (int)fd;
	return 0;
}

int net_parse_port(const char *text, unsigned lowest, uint16_t *port)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || n < lowest || n > 65535)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}
