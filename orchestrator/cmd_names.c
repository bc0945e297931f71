/* `nightsweep names`: what the store calls its sweeps and trials, for shell completion and scripts. */
#include <stdio.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/store.h"

enum { NAMES_MAX = 1000 }; /* a shell shows no more */

static const char sweeps_sql[] =
    "SELECT name FROM sweep WHERE substr(name, 1, length(?1)) = ?1 ORDER BY id DESC LIMIT ?2";
static const char trials_sql[] =
    "SELECT s.name || '/' || t.number FROM sweep s JOIN trial t ON t.sweep_id = s.id"
    " WHERE substr(s.name || '/' || t.number, 1, length(?1)) = ?1 ORDER BY s.id DESC, t.number LIMIT ?2";

static int add_names(struct text *out, struct store *store, const char *sql, const char *begin, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int code = sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(row, 1, begin, -1, SQLITE_STATIC);
        sqlite3_bind_int(row, 2, NAMES_MAX);
        while ((code = sqlite3_step(row)) == SQLITE_ROW) {
            printable_add(out, (const char *)sqlite3_column_text(row, 0));
            text_add_char(out, '\n');
        }
    }
    int rc = code == SQLITE_DONE ? 0
                                 : err_set(err, ERR_STORE, "%s: cannot read the names: %s", store_path(store),
                                           sqlite3_errmsg(store_database(store)));
    sqlite3_finalize(row);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    int rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = add_names(&out, store, command_has(line, "trials") ? trials_sql : sweeps_sql,
                       line->n_arguments ? line->arguments[0] : "", err);
    rc = command_print(&out, "the names", rc, err);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"trials", NULL, "trials as SWEEP/NUMBER instead of sweeps"},
    {NULL, NULL, NULL},
};

const struct command command_names = {
    .name = "names",
    .arguments = "[BEGINNING]",
    .summary = "names of the store's sweeps or trials, a line each",
    .description =
        "Those that begin so, or all; newest sweep first, archived ones too, at most 1,000. What completion in "
        "bash, zsh and fish asks.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 1,
    .run = run,
};
