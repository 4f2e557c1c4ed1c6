// SPDX-License-Identifier: MIT
//
// -fw_cfg: files of the user's in the firmware configuration device (dev/fw_cfg.h), where systemd, Ignition and others
// look for what they are told (opt/...).
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"

enum { FILE_MAX = 16 << 20 };

static enum cli_result read_file(struct cli *c, struct fw_cfg_item *item, const char *path)
{
	FILE *f = fopen(path, "re");
	struct stat st;

	if (!f)
		return cli_error(c, "cannot read '%s': %s", path, strerror(errno));
	if (fstat(fileno(f), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		fclose(f);
		return cli_error(c, "'%s' is not a file of at most %d MiB", path, FILE_MAX >> 20);
	}
	item->data = malloc((size_t)st.st_size + 1);
	item->size = item->data ? (uint32_t)fread(item->data, 1, (size_t)st.st_size, f) : 0;
	fclose(f);
	return item->data ? CLI_OK : cli_error(c, "out of memory");
}

enum cli_result cli_fw_cfg(struct cli *c, const char *arg)
{
	struct fw_cfg_item *item = &c->config.pc.item[c->config.pc.items];
	char name[512] = "", file[512] = "", string[512] = "";
	const struct cli_text texts[] = {
		{ "name", name, sizeof(name) }, { "file", file, sizeof(file) }, { "string", string, sizeof(string) },
	};
	struct cli_prop p;
	enum cli_result r = CLI_OK;

	if (c->config.pc.items == FW_CFG_ITEMS)
		return cli_error(c, "%d are the most", FW_CFG_ITEMS);
	for (bool first = true; r == CLI_OK && cli_next_prop(&arg, &p); first = false) {
		if (first && !*p.key)
			strcpy(p.key, "name");
		r = cli_take_text(c, texts, ARRAY_SIZE(texts), &p);
		if (r == CLI_DONE)
			return cli_error(c, "unknown or unbuilt property '%s'; name=, file= and string= are there",
					 *p.key ? p.key : p.value);
	}
	if (r != CLI_OK)
		return r;
	if (!*name || strlen(name) >= FW_CFG_NAME)
		return cli_error(c, "name=%s: from 1 to %d characters, such as opt/org.example/config", name, FW_CFG_NAME - 1);
	if (!*file == !*string)
		return cli_error(c, "name=%s: give file= or string=", name);
	if (strncmp(name, "opt/", 4))
		cli_warn("-fw_cfg name=%s: names of yours begin with opt/", name);
	strcpy(item->name, name);
	if (*file && read_file(c, item, file) != CLI_OK)
		return CLI_ERROR;
	if (*string) {
		item->data = strdup(string);
		item->size = (uint32_t)strlen(string);
	}
	c->config.pc.items++;
	return item->data ? CLI_OK : cli_error(c, "out of memory");
}
