// SPDX-License-Identifier: MIT
//
// -smbios type=N,KEY=VALUE,... and -uuid: what the machine says it is.
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

enum { VALUE_MAX = 32 << 10 };

static const struct {
	unsigned type;
	const char *key;
	enum smbios_text field;
} texts[] = {
#define _(type, key, field) { type, key, SMBIOS_##field },
	SMBIOS_TEXTS(_)
#undef _
};

static enum cli_result out_of_memory(struct cli *c)
{
	return cli_error(c, "out of memory");
}

enum cli_result cli_uuid(struct cli *c, const char *arg)
{
	uint8_t uuid[16];
	unsigned n = 0;

	for (const char *s = arg; *s; s++) {
		char pair[3] = {s[0], s[1], 0}, *end;

		if (*s == '-' && (n == 4 || n == 6 || n == 8 || n == 10))
			continue;
		if (n == sizeof(uuid) || strspn(pair, "0123456789abcdefABCDEF") != 2)
			return cli_error(c, "'%.80s' is no UUID; write it like 550e8400-e29b-41d4-a716-446655440000", arg);
		uuid[n++] = (uint8_t)strtoul(pair, &end, 16);
		s++;
	}
	if (n != sizeof(uuid))
		return cli_error(c, "'%.80s' is no UUID: it is too short", arg);
	memcpy(c->config.smbios.uuid, uuid, sizeof(uuid));
	return CLI_OK;
}

static enum cli_result add_oem(struct cli *c, char *value)
{
	struct smbios_args *a = &c->config.smbios;

	if (!value)
		return out_of_memory(c);
	if (a->oems == SMBIOS_OEM_MAX) {
		free(value);
		return cli_error(c, "%d strings are the most", SMBIOS_OEM_MAX);
	}
	a->oem[a->oems++] = value; // for as long as ringer runs
	return CLI_OK;
}

static enum cli_result add_oem_file(struct cli *c, const char *path)
{
	FILE *f = fopen(path, "re");
	char *value = calloc(1, VALUE_MAX);
	size_t n = f && value ? fread(value, 1, VALUE_MAX, f) : 0;
	bool bad = !f || !value || ferror(f) || !n || n == VALUE_MAX || memchr(value, 0, n);

	if (f)
		fclose(f);
	if (!bad)
		return add_oem(c, value);
	free(value);
	return cli_error(c, "path=%s: cannot be read, or has not 1 to %d bytes of text", path, VALUE_MAX - 1);
}

static enum cli_result take(struct cli *c, unsigned type, const struct cli_prop *p)
{
	if (strlen(p->value) == sizeof(p->value) - 1)
		return cli_error(c, "%s=%.40s...: longer than %zu bytes%s", p->key, p->value, sizeof(p->value) - 2,
				 type == 11 ? "; put it into a file (path=)" : "");
	if (type == 1 && !strcmp(p->key, "uuid"))
		return cli_uuid(c, p->value);
	if (type == 11 && !strcmp(p->key, "value"))
		return add_oem(c, strdup(p->value));
	if (type == 11 && !strcmp(p->key, "path"))
		return add_oem_file(c, p->value);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].type == type && !strcmp(texts[i].key, p->key)) {
			char *value = strdup(p->value);

			c->config.smbios.text[texts[i].field] = value;
			return value ? CLI_OK : out_of_memory(c);
		}
	return cli_error(c, "type %u has no property '%s' that is built", type, *p->key ? p->key : p->value);
}

enum cli_result cli_smbios(struct cli *c, const char *arg)
{
	struct cli_prop p;
	uint64_t type;

	if (!cli_next_prop(&arg, &p) || strcmp(p.key, "type") || !cli_parse_number(p.value, &type))
		return cli_error(c, "give the structure's type first (type=1)");
	if (type > 3 && type != 11)
		return cli_error(c, "type=%s is not built; 0, 1, 2, 3 and 11 are", p.value);
	c->config.smbios.has_board |= type == 2;
	while (cli_next_prop(&arg, &p))
		if (take(c, (unsigned)type, &p) != CLI_OK)
			return CLI_ERROR;
	return CLI_OK;
}
