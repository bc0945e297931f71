/* The page: one self-contained HTML file with the results of some sweeps, made from the store alone. */
#ifndef ORCHESTRATOR_EXPORT_PAGE_H
#define ORCHESTRATOR_EXPORT_PAGE_H

#include "common/text.h"
#include "orchestrator/export_columns.h"
#include "orchestrator/store.h"

/* Appends the page of the sweeps named (n_names > 0) as it stands in the store now. Curves are thinned
 * (export_curves.h); the full numbers stay in the store. */
int export_page(struct text *out, struct store *store, const char *const *names, int n_names,
                struct err *err) MUST_CHECK;
/* The page's data alone, as JSON: {"format":2,"program_version","exported_at","sweeps":[…]}, a sweep being "is_large"
 * (more than 5,000 trials: numbers have 7 digits, decisions and curves are reduced), its row, "summary"
 * (summary_add_json), tables as columns (export_columns.h) and "curves" (export_curves.h). */
int export_page_data(export_take_fn take, void *context, struct store *store, const char *const *names, int n_names,
                     struct err *err) MUST_CHECK;
/* Appends the page without data. A live page asks its own server for newer data, and only it. */
void export_page_shell(struct text *out, bool is_live);
/* Writes the page to `path` (replaced atomically, folders made), or to standard output where that is "-". */
int export_page_file(const char *path, struct store *store, const char *const *names, int n_names, bool is_live,
                     struct err *err) MUST_CHECK;

#endif
