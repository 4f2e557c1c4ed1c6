// SPDX-License-Identifier: MIT
//
// Character streams on the command line: as one word (-serial unix:PATH,server=on,wait=off), and as a backend with
// properties (-chardev socket,path=PATH,server=on,wait=off).
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io/stream.h"

static const struct {
	const char *name;
	enum stream_kind kind;
} backends[] = {
	{ "stdio", STREAM_STDIO }, { "file", STREAM_FILE }, { "null", STREAM_NULL }, { "socket", STREAM_SOCKET },
	{ "pty", STREAM_PTY }, { "pipe", STREAM_PIPE },
};

int stream_kind_find(const char *backend)
{
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		if (!strcmp(backend, backends[i].name))
			return (int)backends[i].kind;
	return -1;
}

const char *stream_kind_name(unsigned i)
{
	return i < ARRAY_SIZE(backends) ? backends[i].name : NULL;
}

const char *stream_describe(const struct stream_config *c)
{
	switch (c->kind) {
	case STREAM_FILE:
	case STREAM_PIPE:
	case STREAM_SOCKET:
		return c->path;
	case STREAM_STDIO:
	case STREAM_MON_STDIO:
		return "stdio";
	case STREAM_PTY:
		return "pty";
	default:
		return "null";
	}
}

static int refuse(char *err, size_t errlen, const char *key, const char *value, const char *what)
{
	snprintf(err, errlen, "%s%s%s%s", key, *key ? "=" : "", value, what);
	return -EINVAL;
}

static int take_text(char *to, size_t size, const char *key, const char *value, char *err, size_t errlen)
{
	if (!*value || strlen(value) >= size)
		return refuse(err, errlen, key, value, *value ? ": too long" : ": what?");
	strcpy(to, value);
	return 0;
}

static int socket_prop(struct stream_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	static const char *const harmless[] = { "nodelay", "ipv4", "ipv6", "delay", "tn3270", "websocket" };
	struct net_address *a = &c->socket.address;
	const struct {
		const char *key;
		int type;
		char *to;
		size_t size;
	} texts[] = {
		{ "path", NET_ADDRESS_UNIX, a->path, sizeof(a->path) }, { "host", NET_ADDRESS_INET, a->host, sizeof(a->host) },
		{ "port", NET_ADDRESS_INET, a->port, sizeof(a->port) },
	};
	bool bare = !*key, on = false;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(key, texts[i].key)) {
			a->type = texts[i].type;
			return take_text(texts[i].to, texts[i].size, key, value, err, errlen);
		}
	if (!strcmp(key, "fd")) {
		a->type = NET_ADDRESS_FD;
		return net_parse_fd(key, value, &a->fd, err, errlen);
	}
	if (bare) { // the old way: server, nowait
		c->socket.server |= !strcmp(value, "server");
		if (!strcmp(value, "nowait"))
			c->wait = false;
		return !strcmp(value, "server") || !strcmp(value, "nowait") || !strcmp(value, "nodelay") ? 0 : -ENOENT;
	}
	if (!strcmp(key, "server"))
		return net_parse_bool(key, value, &c->socket.server, err, errlen);
	if (!strcmp(key, "telnet"))
		return net_parse_bool(key, value, &c->telnet, err, errlen);
	if (!strcmp(key, "wait"))
		return net_parse_bool(key, value, &c->wait, err, errlen);
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++) {
		if (strcmp(key, harmless[i]))
			continue;
		if (net_parse_bool(key, value, &on, err, errlen) < 0)
			return -EINVAL;
		return on && i > 3 ? refuse(err, errlen, key, value, " is not built") : 0;
	}
	return -ENOENT;
}

int stream_prop(struct stream_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	bool has_path = c->kind == STREAM_FILE || c->kind == STREAM_PIPE;

	if (c->kind == STREAM_SOCKET)
		return socket_prop(c, key, value, err, errlen);
	if (!strcmp(key, "path") && has_path)
		return take_text(c->path, sizeof(c->path), key, value, err, errlen);
	if (c->kind == STREAM_FILE && !strcmp(key, "append"))
		return net_parse_bool(key, value, &c->append, err, errlen);
	return c->kind == STREAM_STDIO && !strcmp(key, "signal") ? 0 : -ENOENT;
}

int stream_check(struct stream_config *c, char *err, size_t errlen)
{
	const struct net_address *a = &c->socket.address;
	bool has_path = c->kind == STREAM_FILE || c->kind == STREAM_PIPE;

	if (has_path && !*c->path)
		return refuse(err, errlen, "", "path", "= must be given");
	if (c->kind != STREAM_SOCKET)
		return 0;
	if (a->type == NET_ADDRESS_NONE || (a->type == NET_ADDRESS_INET && !*a->port))
		return refuse(err, errlen, "", "path", "=, or host= and port=, must be given");
	if (a->type == NET_ADDRESS_UNIX)
		snprintf(c->path, sizeof(c->path), "unix:%s", a->path);
	else
		snprintf(c->path, sizeof(c->path), "tcp:%.200s:%s", a->host, a->port);
	return 0;
}

// unix:PATH, tcp:[HOST]:PORT or telnet:[HOST]:PORT, then options.
static int parse_socket(const char *text, struct stream_config *c, char *err, size_t errlen)
{
	char copy[600], *next = copy, *piece, *colon;
	struct net_address *a = &c->socket.address;
	int r = 0;

	snprintf(copy, sizeof(copy), "%s", strchr(text, ':') + 1);
	c->kind = STREAM_SOCKET;
	c->wait = true;
	c->telnet = *text == 't' && text[1] == 'e';
	piece = strsep(&next, ",");
	if (!strncmp(text, "unix:", 5)) {
		r = socket_prop(c, "path", piece, err, errlen);
	} else {
		colon = strrchr(piece, ':');
		if (!colon || (size_t)(colon - piece) >= sizeof(a->host))
			return refuse(err, errlen, "", text, ": write it as tcp:HOST:PORT or telnet:HOST:PORT");
		*colon = 0;
		strcpy(a->host, piece);
		a->type = NET_ADDRESS_INET;
		r = socket_prop(c, "port", colon + 1, err, errlen);
	}
	while (r == 0 && next) {
		char *value;

		piece = strsep(&next, ",");
		value = strchr(piece, '=');
		if (value)
			*value++ = 0;
		r = socket_prop(c, value ? piece : "", value ? value : piece, err, errlen);
		if (r == -ENOENT)
			return refuse(err, errlen, "", piece, ": unknown or not built; server=on and wait=off are");
	}
	return r < 0 ? r : stream_check(c, err, errlen);
}

int stream_parse(const char *text, struct stream_config *out, char *err, size_t errlen)
{
	static const struct { const char *name; enum stream_kind kind; } words[] = {
		{ "none", STREAM_NONE }, { "null", STREAM_NULL }, { "stdio", STREAM_STDIO },
		{ "mon:stdio", STREAM_MON_STDIO }, { "pty", STREAM_PTY },
	}, paths[] = {
		{ "file:", STREAM_FILE }, { "pipe:", STREAM_PIPE }, { "chardev:", STREAM_NAMED },
	};

	memset(out, 0, sizeof(*out));
	snprintf(out->label, sizeof(out->label), "serial");
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i].name)) {
			out->kind = words[i].kind;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		size_t n = strlen(paths[i].name);

		if (strncmp(text, paths[i].name, n) || !text[n])
			continue;
		out->kind = paths[i].kind;
		if (strlen(text + n) < sizeof(out->path)) {
			strcpy(out->path, text + n);
			return 0;
		}
		snprintf(err, errlen, "the file name is too long (at most %zu bytes)", sizeof(out->path) - 1);
		return -EINVAL;
	}
	if (!strcmp(text, "vc") || !strncmp(text, "vc:", 3)) { // there is no display to show it on
		out->kind = STREAM_NULL;
		return 0;
	}
	if (!strncmp(text, "unix:", 5) || !strncmp(text, "tcp:", 4) || !strncmp(text, "telnet:", 7))
		return parse_socket(text, out, err, errlen);
	snprintf(err, errlen, "'%s' is not built; use stdio, mon:stdio, file:FILE, unix:PATH, tcp:HOST:PORT, "
		 "telnet:HOST:PORT, pty, pipe:PATH, chardev:ID, null or none", text);
	return -EINVAL;
}
