/* JSON: cJSON behind a fence.
 *
 * cJSON accepts more than JSON and loses what it does not understand: trailing garbage, duplicate keys,
 * keys that differ only in case, integers beyond 2^53, 1e999, "\u0000", any depth, invalid UTF-8. json_parse
 * refuses all of these with line and column, so the rest of the program reads a tree it can trust. A tree takes up to
 * forty times its text, so the number of values is bounded too.
 * Readers take `where`, the JSON path of the object ("parameters.rank"), for their messages. */
#ifndef COMMON_JSON_H
#define COMMON_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/text.h"

enum {
    JSON_MAX_DEPTH = 64,
    JSON_MAX_FILE_BYTES = 64 << 20,
    JSON_MAX_VALUES = 4 << 20 /* of one text, 80 bytes each; a tokenizer of 256,000 tokens has two million */
};

/* Parses all of text[0..n) into *root (owned by the caller: json_free). ERR_FORMAT with line and column. */
int json_parse(const char *text, size_t n, cJSON **root, struct err *err) MUST_CHECK;
/* The same for a file (at most JSON_MAX_FILE_BYTES); the path stands in front of the message. */
int json_read_file(const char *path, cJSON **root, struct err *err) MUST_CHECK;
void json_free(cJSON *root); /* NULL is fine */
/* cJSON says of a member that could not be added as little as of one that has no value. ERR_NOMEM when it lacked memory
 * on this thread since the last call: asked at the end of what builds trees that decide something. */
int json_check_memory(struct err *err) MUST_CHECK;

/* Adds a value, which it takes, to an object under a copy of the key, or behind an array's others. Without memory (of
 * the value, the container or the key: each may be NULL) it is freed, and the answer is false. */
bool json_put(cJSON *object, const char *key, cJSON *value);
bool json_append(cJSON *array, cJSON *value);

/* Case-sensitive member of an object, or NULL. */
const cJSON *json_get(const cJSON *object, const char *key);
/* Required members. ERR_FORMAT: "parameters.rank: 'min' is missing, a number was expected". Strings are borrowed. */
int json_get_string(const cJSON *object, const char *key, const char *where, const char **out,
                    struct err *err) MUST_CHECK;
int json_get_double(const cJSON *object, const char *key, const char *where, double *out, struct err *err) MUST_CHECK;
/* Whole numbers of at most 2^53. */
int json_get_int64(const cJSON *object, const char *key, const char *where, int64_t *out, struct err *err) MUST_CHECK;
int json_get_bool(const cJSON *object, const char *key, const char *where, bool *out, struct err *err) MUST_CHECK;
int json_get_object(const cJSON *object, const char *key, const char *where, const cJSON **out,
                    struct err *err) MUST_CHECK;
int json_get_array(const cJSON *object, const char *key, const char *where, const cJSON **out,
                   struct err *err) MUST_CHECK;
/* Optional members: *out keeps its value when the key is absent or null; a wrong type is still an error. */
int json_opt_string(const cJSON *object, const char *key, const char *where, const char **out,
                    struct err *err) MUST_CHECK;
int json_opt_double(const cJSON *object, const char *key, const char *where, double *out, struct err *err) MUST_CHECK;
int json_opt_int64(const cJSON *object, const char *key, const char *where, int64_t *out, struct err *err) MUST_CHECK;
int json_opt_bool(const cJSON *object, const char *key, const char *where, bool *out, struct err *err) MUST_CHECK;
int json_opt_object(const cJSON *object, const char *key, const char *where, const cJSON **out,
                    struct err *err) MUST_CHECK;
int json_opt_array(const cJSON *object, const char *key, const char *where, const cJSON **out,
                   struct err *err) MUST_CHECK;

/* "a number", "an array", … for messages that say what was found. */
const char *json_type_name(const cJSON *value);
/* Appends compact JSON, members in their order, numbers as text_add_double writes them. */
void json_add(struct text *text, const cJSON *value);
/* Appends canonical JSON: keys sorted bytewise, no spaces, numbers as text_add_double writes them (so 3 and 3.0
 * are equal). Two values are the same exactly if their canonical texts are: what identities are hashed from. */
void json_add_canonical(struct text *text, const cJSON *value);
bool json_equal(const cJSON *a, const cJSON *b);

#endif
