/* `nightsweep delete`: a sweep goes with its rows and files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"
#include "orchestrator/store_care.h"
#include "orchestrator/summary.h"

/* What is about to go. */
struct doomed {
    const char *sweep;
    char *folder; /* NULL: none of ours; heap */
    int64_t n_trials, n_complete, file_bytes, store_bytes;
};

/* The sweep's folder, if it lies below the store's own and no other sweep has it: what is elsewhere belongs to another
 * store. */
static int find_folder(struct store *store, struct doomed *doomed, const char *folder, bool is_shared, struct err *err)
{
    char *trials = NULL;
    int rc = store_trials_folder(store_path(store), &trials, err);
    if (rc == 0 && folder && !is_shared && disk_is_below(folder, trials) && strcmp(folder, trials) != 0) {
        doomed->folder = strdup(folder);
        doomed->file_bytes = disk_bytes(folder);
    }
    free(trials);
    return rc;
}

static int look(const struct command_line *line, struct doomed *doomed, struct err *err)
{
    static const char sql[] =
        "SELECT output_folder, (SELECT COUNT(*) FROM sweep o WHERE o.output_folder = s.output_folder AND o.id <> s.id),"
        " (SELECT COUNT(*) FROM trial WHERE sweep_id = s.id),"
        " (SELECT COUNT(*) FROM trial WHERE sweep_id = s.id AND state = 'COMPLETE') FROM sweep s WHERE name = ?1";
    struct store *store = NULL;
    sqlite3_stmt *row = NULL;
    int rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = choice_check_sweep(store, doomed->sweep, err);
    if (rc == 0 && sqlite3_prepare_v2(store_database(store), sql, -1, &row, NULL) != SQLITE_OK)
        rc = err_set(err, ERR_STORE, "'%s': %s", line->store, sqlite3_errmsg(store_database(store)));
    if (rc == 0) {
        sqlite3_bind_text(row, 1, doomed->sweep, -1, SQLITE_STATIC);
        if (sqlite3_step(row) == SQLITE_ROW) {
            doomed->n_trials = sqlite3_column_int64(row, 2);
            doomed->n_complete = sqlite3_column_int64(row, 3);
            rc = find_folder(store, doomed, (const char *)sqlite3_column_text(row, 0), sqlite3_column_int64(row, 1) > 0,
                             err);
        }
    }
    sqlite3_finalize(row);
    store_close(store);
    doomed->store_bytes = store_file_bytes(line->store);
    return rc;
}

/* Yes or no at the terminal; --yes says it beforehand. */
static int ask_person(const struct command_line *line, const struct doomed *doomed, struct err *err)
{
    struct text question = {0};
    char answer[16] = "";
    if (command_has(line, "yes"))
        return 0;
    if (!isatty(STDIN_FILENO))
        return err_set(err, ERR_USAGE, "delete: nobody can be asked, --yes was expected");
    text_add(&question, "sweep '");
    printable_add(&question, doomed->sweep);
    text_printf(&question, "': %" PRId64 " trials, %" PRId64 " with results, and ", doomed->n_trials,
                doomed->n_complete);
    summary_add_count(&question, doomed->file_bytes);
    text_add(&question, " bytes of files go for good. Delete? [y/N] ");
    fputs(question.data ? question.data : "", stderr);
    text_done(&question);
    bool is_yes = fgets(answer, sizeof(answer), stdin) && (answer[0] == 'y' || answer[0] == 'Y');
    return is_yes ? 0 : err_set(err, ERR_CANCELED, "nothing is deleted");
}

/* The file gets smaller where nobody else uses the store; otherwise its room is used again, and `gc` gives it back. */
static bool shrink(const struct command_line *line)
{
    struct store *store = NULL;
    struct err ignored;
    bool is_done = store_open(&store, line->store, STORE_WRITE, &ignored) == 0 && store_shrink(store, &ignored) == 0;
    store_close(store);
    return is_done;
}

static int print_done(const struct command_line *line, const struct doomed *doomed, bool is_shrunk, struct err *err)
{
    struct text out = {0};
    int64_t freed = doomed->store_bytes - store_file_bytes(line->store);
    if (command_has(line, "json")) {
        text_add(&out, "{\"v\":1,\"sweep\":");
        printable_add_json(&out, doomed->sweep);
        text_printf(&out,
                    ",\"trials\":%" PRId64 ",\"freed_file_bytes\":%" PRId64 ",\"freed_store_bytes\":%" PRId64 "}\n",
                    doomed->n_trials, doomed->file_bytes, is_shrunk && freed > 0 ? freed : 0);
    } else {
        text_add(&out, "sweep '");
        printable_add(&out, doomed->sweep);
        text_printf(&out, "' and its %" PRId64 " trials are deleted; freed: ", doomed->n_trials);
        summary_add_count(&out, doomed->file_bytes);
        text_add(&out, " bytes of files, ");
        summary_add_count(&out, is_shrunk && freed > 0 ? freed : 0);
        text_add(&out, is_shrunk ? " bytes of the store\n"
                                 : " bytes of the store, which is in use: `nightsweep gc` gives its room back later\n");
    }
    return command_print(&out, "the answer", 0, err);
}

static int run(const struct command_line *line, struct err *err)
{
    struct doomed doomed = {.sweep = line->arguments[0]};
    const struct control_request request = {.op = CONTROL_DELETE, .sweep = doomed.sweep};
    cJSON *answer = NULL;
    int rc = look(line, &doomed, err);
    if (rc == 0)
        rc = ask_person(line, &doomed, err);
    if (rc == 0)
        rc = control_perform(line->store, &request, &answer, err);
    crash_at(CRASH_DELETED);
    /* The rows are gone: what is left of the files is found by `gc`, whatever happens from here. */
    if (rc == 0 && doomed.folder)
        rc = file_remove_tree(doomed.folder, err);
    if (rc == 0)
        rc = print_done(line, &doomed, shrink(line), err);
    json_free(answer);
    free(doomed.folder);
    return rc;
}

static const struct command_option options[] = {
    {"yes", NULL, "do not ask"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_delete = {
    .name = "delete",
    .arguments = "SWEEP",
    .summary = "delete a sweep with its results and files, and free their room",
    .description =
        "Says what will go and asks. The rows go in one transaction, then the folder of checkpoints and adapters, then "
        "the store's file is rewritten without the room they took; killed in between, `nightsweep gc` finishes it. The "
        "page beside the store stays. Refused for a sweep that a run works on; while a run works on another one the "
        "file keeps its size until `gc`. `backup` first keeps a copy, `archive` only leaves a sweep out of lists.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
