// SPDX-License-Identifier: MIT
//
// Options written as JSON objects (-blockdev, -device, -netdev): turned into the comma-separated form, which is what
// the handlers read. Nested objects become dotted keys; an array of {"str": S}, as hostfwd has it, its key repeated.
#include <string.h>

#include "cli/cli.h"

#ifdef HAVE_JANSSON
#include <jansson.h>

struct text {
	char *to;
	size_t size, used;
	bool full;
};

static void put(struct text *t, const char *s, bool double_commas)
{
	for (; *s; s++)
		for (int i = 0; i < (*s == ',' && double_commas ? 2 : 1); i++) {
			if (t->used + 1 < t->size)
				t->to[t->used++] = *s;
			else
				t->full = true;
		}
	t->to[t->used] = 0;
}

static void put_pair(struct text *t, const char *key, const char *value)
{
	put(t, t->used ? "," : "", false);
	put(t, key, true);
	put(t, "=", false);
	put(t, value, true);
}

static void put_value(struct text *t, const char *key, const json_t *v)
{
	char number[32], sub[128];
	const char *name;
	json_t *member;
	size_t i;

	switch (json_typeof(v)) {
	case JSON_OBJECT:
		json_object_foreach((json_t *)(uintptr_t)v, name, member) {
			snprintf(sub, sizeof(sub), "%s%s%s", key, *key ? "." : "", name);
			put_value(t, sub, member);
		}
		break;
	case JSON_ARRAY:
		json_array_foreach((json_t *)(uintptr_t)v, i, member) {
			const json_t *str = json_object_get(member, "str");

			snprintf(sub, sizeof(sub), "%s.%zu", key, i);
			put_value(t, str ? key : sub, str ? str : member);
		}
		break;
	case JSON_STRING:
		put_pair(t, key, json_string_value(v));
		break;
	case JSON_INTEGER:
		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		put_pair(t, key, number);
		break;
	case JSON_TRUE:
	case JSON_FALSE:
		put_pair(t, key, json_is_true(v) ? "on" : "off");
		break;
	case JSON_NULL: // as "backing" of a node with none
		put_pair(t, key, "");
		break;
	case JSON_REAL:
		break;
	}
}

enum cli_result cli_from_json(struct cli *c, const char *arg, const char *first, char *to, size_t size)
{
	struct text t = {.to = to, .size = size};
	json_error_t e;
	json_t *root = json_loads(arg, JSON_REJECT_DUPLICATES, &e), *kind;

	*to = 0;
	if (!root)
		return cli_error(c, "no JSON object: %s (column %d)", e.text, e.column);
	kind = json_object_get(root, first);
	if (kind) {
		json_incref(kind);
		put_value(&t, first, kind);
		json_object_del(root, first);
		json_decref(kind);
	}
	if (json_is_object(root))
		put_value(&t, "", root);
	json_decref(root);
	return t.full ? cli_error(c, "the JSON object is too long") : CLI_OK;
}

#else

enum cli_result cli_from_json(struct cli *c, const char *arg, const char *first, char *to, size_t size)
{
	return cli_error(c, "the JSON form needs ringer to be built with libjansson-dev; write KEY=VALUE,...");
}

#endif
