/* Licenses of models and data, as the files beside them say. */
#ifndef ORCHESTRATOR_LICENSE_H
#define ORCHESTRATOR_LICENSE_H

#include "common/arena.h"
#include "orchestrator/job.h"

/* NULL and NULL: nothing says. */
struct license {
    const char *text;   /* an SPDX identifier where it is one, at most LICENSE_MAX bytes, no control characters */
    const char *source; /* the file's name, or "definition" */
};
enum { LICENSE_MAX = 120 };

/* What the folder's files say, the first of: README.md (front matter, as model and data set cards have it),
 * config.json, METADATA and PKG-INFO (of a package), a license's own text (LICENSE, LICENCE, COPYING; with .txt or
 * .md), a GGUF file's general.license. A file that cannot be read or understood says nothing. ERR_NOMEM. Texts are the
 * arena's. */
int license_find(struct license *out, const char *folder, struct arena *arena, struct err *err) MUST_CHECK;

/* What a sweep is trained on. */
struct input {
    const char *role, *path, *sha256; /* model, train, validation or test; absolute; of the hashes */
    struct license license;           /* the definition's `licenses` before what the files say */
};
enum { INPUTS_MAX = 4 };
/* In this order: the model, then the task's files that there are. Paths and hashes are borrowed, licenses the arena's.
 * ERR_NOMEM. */
int inputs_describe(struct input inputs[INPUTS_MAX], int *n, const struct definition *definition,
                    const struct input_hashes *hashes, struct arena *arena, struct err *err) MUST_CHECK;

#endif
