/* `nightsweep gc`: frees the room of what nothing needs any more. */
#include <inttypes.h>
#include <stdio.h>

#include "common/file.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/gc.h"
#include "orchestrator/printable.h"
#include "orchestrator/store_care.h"
#include "orchestrator/summary.h"

static void add_text(struct text *out, const struct gc *gc, bool is_dry, int64_t shrunk)
{
    static const char *const titles[] = {"what", ">bytes", "path"};
    struct columns columns = {0};
    columns_init(&columns, 3, titles);
    for (int i = 0; i < gc->n; i++) {
        columns_add(&columns, gc->findings[i].kind);
        columns_add_count(&columns, gc->findings[i].bytes);
        columns_add(&columns, gc->findings[i].path);
    }
    if (gc->n > 0)
        columns_write(out, &columns, "");
    columns_done(&columns);
    text_add(out, is_dry ? "would free " : "freed ");
    summary_add_count(out, gc->bytes);
    text_printf(out, " bytes of %d file%s and folders", gc->n, gc->n == 1 ? "" : "s");
    if (!is_dry) {
        text_add(out, " and ");
        summary_add_count(out, shrunk);
        text_add(out, " bytes of the store");
    }
    text_add_char(out, '\n');
}

static void add_json(struct text *out, const struct gc *gc, bool is_dry, int64_t shrunk)
{
    text_printf(out, "{\"v\":1,\"dry_run\":%s,\"findings\":[", is_dry ? "true" : "false");
    for (int i = 0; i < gc->n; i++) {
        text_printf(out, "%s{\"kind\":\"%s\",\"bytes\":%" PRId64 ",\"path\":", i ? "," : "", gc->findings[i].kind,
                    gc->findings[i].bytes);
        printable_add_json(out, gc->findings[i].path);
        text_add_char(out, '}');
    }
    text_printf(out, "],\"file_bytes\":%" PRId64 ",\"store_bytes\":%" PRId64 "}\n", gc->bytes, shrunk);
}

enum { CACHE_UNUSED_SECONDS = 7 * 24 * 3600 };

struct ages {
    double checkpoints, cached; /* seconds */
};

static int collect(struct gc *gc, struct store *store, bool is_dry, const struct ages *ages, int64_t *shrunk,
                   struct err *err)
{
    int64_t before = store_file_bytes(store_path(store));
    int rc = gc_find(gc, store, ages->checkpoints, err);
    if (rc == 0)
        rc = gc_find_cached(gc, ages->cached, err);
    if (rc < 0 || is_dry)
        return rc;
    rc = gc_remove(gc, store, err);
    if (rc == 0)
        rc = store_shrink(store, err);
    int64_t after = store_file_bytes(store_path(store));
    *shrunk = before > after ? before - after : 0;
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct gc gc = {0};
    struct text out = {0};
    bool is_dry = command_has(line, "dry-run");
    struct ages ages = {-1, CACHE_UNUSED_SECONDS};
    int64_t shrunk = 0;
    int rc = command_get_duration(line, "checkpoints-older-than", &ages.checkpoints, err);
    if (rc == 0)
        rc = command_get_duration(line, "cache-unused-for", &ages.cached, err);
    if (rc == 0 && !file_exists(line->store))
        rc = err_set(err, ERR_NOT_FOUND, "there is no store '%s'", line->store);
    if (rc == 0)
        rc = store_open(&store, line->store, is_dry ? STORE_READ : STORE_WRITE, err);
    if (rc == 0)
        rc = collect(&gc, store, is_dry, &ages, &shrunk, err);
    store_close(store);
    if (rc == 0 && command_has(line, "json"))
        add_json(&out, &gc, is_dry, shrunk);
    else if (rc == 0)
        add_text(&out, &gc, is_dry, shrunk);
    gc_done(&gc);
    return command_print(&out, "the answer", rc, err);
}

static const struct command_option options[] = {
    {"dry-run", NULL, "only list what would go; also while a run uses the store"},
    {"checkpoints-older-than", "DURATION",
     "also drop checkpoints of unfinished and failed trials that are so old (30d): such a trial would start again"},
    {"cache-unused-for", "DURATION",
     "how long no trainer opened the kept activations (*.prefix) that go from the cache folder (7d); they are computed "
     "again when they are needed"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_gc = {
    .name = "gc",
    .arguments = "",
    .summary = "free the room of what nothing needs any more",
    .description =
        "Removes, in the store's own folder: checkpoints that no trial would go on from, files that were not finished, "
        "folders of trials and sweeps that are not in the store any more. Adapters, other results and everything this "
        "program did not name are left alone. From the cache folder, which all stores share, go kept activations that "
        "nobody used for a week. Then rewrites the store's file without its free pages. Not while a run "
        "uses "
        "the store.\n\n"
        "How long checkpoints are kept: a trial that is being trained has one, the newest; a finished, pruned or "
        "canceled one has none; an unfinished or failed one keeps it until --checkpoints-older-than says otherwise.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 0,
    .run = run,
};
