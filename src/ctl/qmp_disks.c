// SPDX-License-Identifier: MIT
//
// QMP's questions about disks: what is in each, and what was read and written.
#include <stdio.h>
#include <sys/stat.h>

#include "ctl/disks.h"
#include "ctl/qmp.h"

static json_t *image_of(const struct disk_seen *d)
{
	struct stat st = {0};

	stat(d->image->file, &st);
	return json_pack("{s:o,s:s,s:I,s:I,s:b}", "filename", qmp_text(d->image->file), "format", d->image->format,
			 "virtual-size", (json_int_t)d->block->size, "actual-size", (json_int_t)st.st_blocks * 512,
			 "dirty-flag", false);
}

static json_t *node_of(const struct disk_seen *d)
{
	const struct block_config *c = d->image;
	static const char *const limits[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
	json_t *node = json_pack("{s:s,s:o,s:s,s:b,s:i,s:b,s:s,s:i,s:{s:b,s:b,s:b},s:o}", "node-name", d->node, "file",
				 qmp_text(c->file), "drv", c->format, "ro", d->block->readonly, "backing_file_depth", 0,
				 "encrypted", false, "detect_zeroes", "off", "write_threshold", 0, "cache", "writeback",
				 !c->writethrough, "direct", c->direct, "no-flush", c->no_flush, "image", image_of(d));

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		json_object_set_new(node, limits[i], json_integer(0));
	return node;
}

static json_t *query_block(struct qmp_call *c)
{
	json_t *list = json_array();
	struct disk_seen d;

	for (unsigned i = 0; disk_see(qmp_machine(c), i, &d); i++) {
		json_t *one = json_pack("{s:s,s:s,s:b,s:b,s:s}", "device", d.name, "qdev", d.qdev, "locked",
					d.locked, "removable", d.removable, "type", "unknown");

		if (d.block) {
			json_object_set_new(one, "inserted", node_of(&d));
			json_object_set_new(one, "io-status", json_string("ok"));
		}
		if (d.removable)
			json_object_set_new(one, "tray_open", json_boolean(d.open));
		json_array_append_new(list, one);
	}
	return list;
}

static json_t *query_nodes(struct qmp_call *c)
{
	json_t *list = json_array();
	struct disk_seen d;

	for (unsigned i = 0; disk_see(qmp_machine(c), i, &d); i++)
		if (d.block)
			json_array_append_new(list, node_of(&d));
	return list;
}

static void put(json_t *o, const char *operation, const char *what, uint64_t n)
{
	char key[40];

	snprintf(key, sizeof(key), operation, what);
	json_object_set_new(o, key, json_integer((json_int_t)n));
}

static json_t *stats_of(const struct disk_seen *d)
{
	static const struct {
		enum block_op op;
		const char *plain, *failed;
	} ops[] = {
		{ BLOCK_READ, "rd_%s", "failed_rd_%s" }, { BLOCK_WRITE, "wr_%s", "failed_wr_%s" },
		{ BLOCK_FLUSH, "flush_%s", "failed_flush_%s" }, { BLOCK_DISCARD, "unmap_%s", "failed_unmap_%s" },
	};
	static const char *const invalid[] = { "invalid_rd_%s", "invalid_wr_%s", "invalid_flush_%s", "invalid_unmap_%s" };
	json_t *o = json_pack("{s:b,s:b,s:[],s:I}", "account_invalid", false, "account_failed", true, "timed_stats",
			      "wr_highest_offset", (json_int_t)(d->block ? d->block->written_to : 0));

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		const struct block_stats *s = d->block ? &d->block->stats[ops[i].op] : &(struct block_stats){0};

		if (ops[i].op != BLOCK_FLUSH) {
			put(o, ops[i].plain, "bytes", s->bytes);
			put(o, ops[i].plain, "merged", 0);
		}
		put(o, ops[i].plain, "operations", s->done);
		put(o, ops[i].plain, "total_time_ns", s->ns);
		put(o, ops[i].failed, "operations", s->failed);
	}
	for (size_t i = 0; i < ARRAY_SIZE(invalid); i++)
		put(o, invalid[i], "operations", 0);
	return o;
}

static json_t *query_stats(struct qmp_call *c)
{
	json_t *list = json_array();
	struct disk_seen d;

	for (unsigned i = 0; disk_see(qmp_machine(c), i, &d); i++) {
		json_t *one = json_pack("{s:s,s:s,s:o}", "device", d.name, "qdev", d.qdev, "stats", stats_of(&d));

		if (d.block) {
			json_object_set_new(one, "node-name", json_string(d.node));
			json_object_set_new(one, "parent", json_pack("{s:o}", "stats", stats_of(&d)));
		}
		json_array_append_new(list, one);
	}
	return list;
}

const struct qmp_command qmp_disks[] = {
	{ "query-block", query_block }, { "query-blockstats", query_stats }, { "query-named-block-nodes", query_nodes },
	{ NULL, NULL },
};
