/* The page: one self-contained HTML file with the results of some sweeps, made from the store alone. */
#ifndef ORCHESTRATOR_EXPORT_PAGE_H
#define ORCHESTRATOR_EXPORT_PAGE_H

#include "common/text.h"
#include "orchestrator/store.h"

/* Appends the page of the sweeps named (n_names > 0) as it stands in the store now. Curves longer than 400 points are
 * thinned evenly, keeping first and last; the full numbers stay in the store. */
int export_page(struct text *out, struct store *store, const char *const *names, int n_names,
                struct err *err) MUST_CHECK;
/* The page's data alone, as JSON. */
int export_page_data(struct text *out, struct store *store, const char *const *names, int n_names,
                     struct err *err) MUST_CHECK;
/* Writes the page to `path` (replaced atomically, folders made). */
int export_page_file(const char *path, struct store *store, const char *const *names, int n_names,
                     struct err *err) MUST_CHECK;

#endif
