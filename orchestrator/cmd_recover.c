/* `nightsweep recover`: a new store out of what can be read of a damaged one. */
#include <inttypes.h>
#include <stdio.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/store_rescue.h"

static void print(const struct rescue *rescue, const char *store, const char *output)
{
    bool is_damaged = rescue->is_log_damaged;
    printf("%-20s %10s %10s\n", "table", "rows", "left out");
    for (int i = 0; i < rescue->n_tables; i++) {
        const struct rescue_table *table = &rescue->tables[i];
        printf("%-20s %10" PRId64 " %10" PRId64 "%s\n", table->name, table->n_copied, table->n_refused,
               table->is_damaged ? "  damaged: more may be lost" : "");
        is_damaged = is_damaged || table->is_damaged;
    }
    if (rescue->is_log_damaged)
        printf("the write-ahead log is damaged: what was acknowledged last is lost\n");
    printf("'%s' holds what could be read of '%s'%s; give it to `run` with --store, trials that lack something are "
           "trained again\n",
           output, store, is_damaged ? "" : ", which is all of it");
}

static int run(const struct command_line *line, struct err *err)
{
    struct text path = {0};
    struct rescue rescue;
    const char *output = command_value(line, "output");
    if (!output)
        text_printf(&path, "%s.recovered", line->store);
    int rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : 0;
    if (rc == 0)
        rc = store_rescue(line->store, output ? output : path.data, &rescue, err);
    if (rc == 0)
        print(&rescue, line->store, output ? output : path.data);
    text_done(&path);
    return rc;
}

static const struct command_option options[] = {
    {"output", "FILE", "the new store (default: the damaged one's name with .recovered behind it)"},
    {NULL, NULL, NULL},
};

const struct command command_recover = {
    .name = "recover",
    .arguments = "",
    .summary = "save what can be read of a damaged store into a new one",
    .description = "A store whose pages are damaged is refused by every other command and left untouched. This one "
                   "reads its tables "
                   "row by row, around what cannot be read, and writes them into a new store, whole in itself: a row "
                   "is only taken "
                   "with the rows that it refers to. The damaged file stays as it is.\n\n"
                   "Checkpoints and adapters are files of their own beside the store and are not touched. A trial that "
                   "was running "
                   "goes on from its checkpoint; one whose row was lost is trained again by `nightsweep run`.",
    .options = options,
    .run = run,
};
