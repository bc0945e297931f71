/* What the files that read a definition share. */
#ifndef ORCHESTRATOR_DEFINITION_INTERNAL_H
#define ORCHESTRATOR_DEFINITION_INTERNAL_H

#include "orchestrator/definition.h"

struct definition_reader {
    struct definition *definition;
    struct problems problems;
    struct err err;    /* of the last failed call, for problems_add_err */
    bool is_elsewhere; /* trials are trained by somebody else */
};

/* Adds what r->err says as a problem unless it is about memory: ERR_NOMEM is returned, anything else is 0. */
int definition_note(struct definition_reader *r, int rc);
/* Reports members of `object` that are in neither list (NULL-terminated; `reserved` may be NULL). */
void definition_check_keys(struct definition_reader *r, const cJSON *object, const char *where,
                           const char *const *known, const char *const *reserved);
/* A member of the root that must be an object; NULL when it is absent or reported. */
const cJSON *definition_section(struct definition_reader *r, const char *key);
/* A number with its bounds; whole when is_int. *out keeps its value when it is absent. */
int definition_number(struct definition_reader *r, const cJSON *object, const char *section_name, const char *key,
                      double min, double max, bool is_int, double *out) MUST_CHECK;

/* Sections about the search: definition_search.c */
int definition_read_search(struct definition_reader *r) MUST_CHECK;
int definition_read_objectives(struct definition_reader *r) MUST_CHECK;
int definition_read_stopping(struct definition_reader *r) MUST_CHECK;
int definition_read_constraints(struct definition_reader *r) MUST_CHECK;
/* Adds a problem for each metric of the stopping rule or a constraint that no trial reports (after the checks). */
void definition_check_reported(struct definition_reader *r);

#endif
