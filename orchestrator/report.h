/* Rows of a query as aligned text or as JSON: what `status` and `show` are made of. */
#ifndef ORCHESTRATOR_REPORT_H
#define ORCHESTRATOR_REPORT_H

#include "common/text.h"
#include "orchestrator/store.h"

enum report_layout {
    REPORT_TABLE,  /* a line a row */
    REPORT_RECORD, /* a line a column of every row; what is NULL is left out */
    REPORT_LINES   /* the first column as heading, the second as the lines below it */
};

/* Columns are named by the query; one that ends in _json holds JSON. Text columns of a table are aligned left. */
struct report_section {
    const char *key;   /* in JSON */
    const char *title; /* in text; NULL: only in JSON */
    enum report_layout layout;
    const char *sql; /* ?1 is the id */
};

/* Appends the section with its title; nothing when there are no rows. */
int report_add_text(struct text *out, struct store *store, const struct report_section *section, int64_t id,
                    struct err *err) MUST_CHECK;
/* Appends "key":[{…},…], and of a record "key":{…} or null. */
int report_add_json(struct text *out, struct store *store, const struct report_section *section, int64_t id,
                    struct err *err) MUST_CHECK;

#endif
