/* `nightsweep backup`: a checked copy of the store, also of a live one. */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/store_care.h"
#include "orchestrator/summary.h"

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    int64_t bytes = 0;
    int rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = store_backup(store, line->arguments[0], &bytes, err);
    store_close(store);
    if (rc < 0)
        return rc;
    if (command_has(line, "json")) {
        text_add(&out, "{\"v\":1,\"file\":");
        printable_add_json(&out, line->arguments[0]);
        text_printf(&out, ",\"bytes\":%" PRId64 ",\"integrity\":\"ok\"}\n", bytes);
    } else {
        text_add(&out, "'");
        printable_add(&out, line->arguments[0]);
        text_add(&out, "': ");
        summary_add_count(&out, bytes);
        text_add(&out, " bytes, checked: ok\n");
    }
    return command_print(&out, "the answer", 0, err);
}

static const struct command_option options[] = {
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_backup = {
    .name = "backup",
    .arguments = "FILE",
    .summary = "copy the store, also while a run writes to it, and check the copy",
    .description =
        "FILE, which must not exist, becomes the store as of one moment: one file, checked with SQLite's "
        "integrity_check, there whole or not at all. It is a store like any other: --store FILE reads it, `import "
        "FILE` "
        "takes sweeps out of it. Checkpoints and adapters are files of their own and are not in it: the folder beside "
        "the store holds them.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
