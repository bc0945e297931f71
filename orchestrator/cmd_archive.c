/* `nightsweep archive`: leaves sweeps out of lists. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"

static int print_done(const struct command_line *line, const char *sweep, bool is_undone, bool is_changed,
                      struct err *err)
{
    struct text out = {0};
    if (command_has(line, "json")) {
        text_add(&out, "{\"v\":1,\"sweep\":");
        printable_add_json(&out, sweep);
        text_printf(&out, ",\"archived\":%s}\n", is_undone ? "false" : "true");
    } else {
        text_add(&out, "sweep '");
        printable_add(&out, sweep);
        text_printf(&out, "' is%s %s\n",
                    is_changed  ? ""
                    : is_undone ? " not archived:"
                                : " archived:",
                    !is_changed ? "nothing to do"
                    : is_undone ? "listed again"
                                : "archived: status and serve list it when it is named, or with --archived");
    }
    return command_print(&out, "the answer", 0, err);
}

static int archive(const struct command_line *line, const char *sweep, struct err *err)
{
    bool is_undone = command_has(line, "undo");
    const struct control_request request = {.op = is_undone ? CONTROL_UNARCHIVE : CONTROL_ARCHIVE, .sweep = sweep};
    cJSON *answer = NULL;
    int64_t n = 0;
    int rc = control_perform(line->store, &request, &answer, err);
    if (rc == 0)
        rc = json_get_int64(answer, "changed", "answer", &n, err);
    if (rc == 0)
        rc = print_done(line, sweep, is_undone, n > 0, err);
    json_free(answer);
    return rc;
}

/* Every name is looked up before the first sweep is changed. */
static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    int rc = store_open(&store, line->store, STORE_READ, err);
    for (int i = 0; i < line->n_arguments && rc == 0; i++)
        rc = choice_check_sweep(store, line->arguments[i], err);
    store_close(store);
    for (int i = 0; i < line->n_arguments && rc == 0; i++)
        rc = archive(line, line->arguments[i], err);
    return rc;
}

static const struct command_option options[] = {
    {"undo", NULL, "list them again"},
    {"json", NULL, "write one JSON object for each sweep"},
    {NULL, NULL, NULL},
};

const struct command command_archive = {
    .name = "archive",
    .arguments = "SWEEP...",
    .summary = "leave sweeps out of lists; everything of them stays",
    .description =
        "`status` and `serve` without names leave archived sweeps out. Rows and files stay, results are reused "
        "as before, and every command takes an archived sweep that is named. Works while a run uses the "
        "store.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
