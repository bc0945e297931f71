/* YAML as JSON: what a configuration file in YAML says, in the tree the rest of the program reads.
 *
 * Plain scalars are resolved as the YAML 1.2 core schema does it, and the words of YAML 1.1 that people still write
 * (yes, no, on, off) are booleans; `1e-5` is a number. Aliases are expanded, merge keys (<<) are merged. A number's
 * valuestring is how it was written, where 1 and 1.0 must be told apart. */
#ifndef ORCHESTRATOR_YAML_H
#define ORCHESTRATOR_YAML_H

#include "common/json.h"

enum { YAML_MAX_NODES = 100000 }; /* aliases expanded */

/* Parses the only document of text[0..n) into *root (owned by the caller: json_free). ERR_FORMAT with line and column
 * for what is no YAML, two documents, a key that is no scalar or stands twice, .inf and .nan, aliases in a circle, and
 * more than YAML_MAX_NODES nodes or JSON_MAX_DEPTH levels. */
int yaml_parse(const char *text, size_t n, cJSON **root, struct err *err) MUST_CHECK;

#endif
