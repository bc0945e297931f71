/* A file of definitions: one sweep, or the stages of one that is made in several.
 *
 *   {"name": "low", …common…, "stages": [{"name": "align", …}, {"name": "tune", "model": {"from": "align"}, …}]}
 *
 * Each stage is a sweep of its own, called low.align and low.tune: the common part with the stage's members merged over
 * it (RFC 7396: objects member by member, null takes away, anything else replaces). They are worked through in order;
 * "from" names an earlier stage, or any sweep of the store (origin.h). So every command that knows sweeps knows stages,
 * and what one made is kept, reused and compared like everything else. */
#ifndef ORCHESTRATOR_STAGES_H
#define ORCHESTRATOR_STAGES_H

#include "orchestrator/definition.h"

enum { STAGES_MAX = 32 };

struct stages {
    const char *name; /* of the whole: the file's, or the new one */
    const char *remarks;
    struct definition *items; /* heap; in order. stages_take takes one out */
    int n;
    bool is_staged; /* false: n is 1 and its name is `name` */
    struct arena arena;
};

/* Reads and checks every definition of the file (definition_read); new_name (may be NULL) replaces the file's name.
 * ERR_USAGE with all problems of the first stage that has some. A stage that starts from an earlier one of the same
 * file gets that one's model as its stand_in. Done also after a failure. */
int stages_read(struct stages *stages, const char *path, const char *new_name, struct err *err) MUST_CHECK;
/* The same from text, as definition_parse. */
int stages_parse(struct stages *stages, const char *text, const char *folder, const char *path, const char *new_name,
                 struct err *err) MUST_CHECK;
/* Moves the i-th definition out: the caller is done with it. */
struct definition stages_take(struct stages *stages, int i);
void stages_done(struct stages *stages);

#endif
