// SPDX-License-Identifier: MIT
//
// The properties of a shared folder, as -fsdev local and -virtfs local spell them.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "p9/p9.h"
#include "p9/wire.h"

void p9_config_init(struct p9_config *c)
{
	*c = (struct p9_config){.file_mode = 0600, .dir_mode = 0700};
}

static int wrong(char *err, size_t errlen, const char *key, const char *value, const char *what)
{
	snprintf(err, errlen, "%s=%s: %s", key, value, what);
	return -EINVAL;
}

// The place of value in a NULL-terminated list, or -1.
static int find(const char *const *list, const char *value)
{
	for (int i = 0; list[i]; i++)
		if (!strcmp(list[i], value))
			return i;
	return -1;
}

static int parse_mode(const char *key, const char *value, uint16_t *to, char *err, size_t errlen)
{
	char *end;
	unsigned long n = strtoul(value, &end, 8);

	if (*value < '0' || *value > '7' || *end || n > 0777)
		return wrong(err, errlen, key, value, "an octal number up to 777");
	*to = (uint16_t)n;
	return 0;
}

static int parse_text(const char *key, const char *value, char *to, size_t size, char *err, size_t errlen)
{
	if (!*value || strlen(value) >= size)
		return wrong(err, errlen, key, value, "empty, or too long");
	strcpy(to, value);
	return 0;
}

int p9_config_prop(struct p9_config *c, const char *key, const char *value, char *err, size_t errlen)
{
	static const char *const models[] = {"none", "passthrough", "mapped-xattr", "mapped", NULL};
	static const char *const multidevs[] = {"warn", "remap", "forbid", NULL};
	static const char *const switches[] = {"off", "on", "no", "yes", "false", "true", NULL};
	int n;

	if (!strcmp(key, "id"))
		return parse_text(key, value, c->id, sizeof(c->id), err, errlen);
	if (!strcmp(key, "path"))
		return parse_text(key, value, c->path, sizeof(c->path), err, errlen);
	if (!strcmp(key, "fmode"))
		return parse_mode(key, value, &c->file_mode, err, errlen);
	if (!strcmp(key, "dmode"))
		return parse_mode(key, value, &c->dir_mode, err, errlen);
	if (!strcmp(key, "security_model")) {
		n = find(models, value);
		if (n < 0)
			return wrong(err, errlen, key, value, "this is not built; there are none, passthrough and mapped-xattr");
		c->model = (enum p9_model)MIN(n, (int)P9_MAPPED);
		c->has_model = true;
		return 0;
	}
	if (!strcmp(key, "multidevs")) {
		n = find(multidevs, value);
		c->multidevs = (enum p9_multidevs)MAX(n, 0);
		return n < 0 ? wrong(err, errlen, key, value, "give remap, forbid or warn") : 0;
	}
	if (!strcmp(key, "readonly")) {
		n = *value ? find(switches, value) : 1;
		c->readonly = n & 1;
		return n < 0 ? wrong(err, errlen, key, value, "give on or off") : 0;
	}
	if (!strcmp(key, "writeout") || !strncmp(key, "throttling.", 11))
		return wrong(err, errlen, key, value, "this property is not built yet");
	return -ENOENT;
}

int p9_config_check(const struct p9_config *c, char *err, size_t errlen)
{
	if (!*c->path)
		snprintf(err, errlen, "path= must be given");
	else if (!c->has_model)
		snprintf(err, errlen, "security_model= must be given: none, passthrough or mapped-xattr");
	else
		return 0;
	return -EINVAL;
}
