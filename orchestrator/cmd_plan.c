/* `nightsweep plan FILE...`: what a definition asks for and what it will cost, before anything runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <uv.h>

#include "common/file.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/license.h"
#include "orchestrator/origin.h"
#include "orchestrator/printable.h"
#include "orchestrator/probe.h"
#include "orchestrator/progress.h"
#include "orchestrator/progress_view.h"
#include "orchestrator/stages.h"
#include "orchestrator/stop.h"
#include "orchestrator/summary.h"

/* A definition with all that is worked out about it. Zeroed: empty. */
struct preview {
    struct definition definition;
    struct input_hashes hashes;
    struct arena arena; /* what was loaded from the store */
    struct store_loaded loaded;
    char *waits_for; /* the sweep that has to be complete first: sizes and times are those of a stand-in; NULL: none */
    bool is_stored, is_adaptive; /* adaptive: the plan holds what is expected, not what will be proposed */
    struct plan plan;
    bool *is_open;
    int n_new, n_kept, n_complete, n_reused, n_baseline, slots;
    struct probes probes;
    bool has_probes;
    struct input inputs[INPUTS_MAX];
    int n_inputs;
    double free_bytes; /* on the store's disk; NaN: not known */
};

static void preview_done(struct preview *preview)
{
    probes_done(&preview->probes);
    plan_done(&preview->plan);
    free(preview->is_open);
    arena_done(&preview->arena);
    free(preview->waits_for);
    definition_done(&preview->definition);
}

/* Working it out -----------------------------------------------------------------------------------------------------
 */

/* The sweep of this name, if the store has one; the definition must extend it. */
static int load(struct preview *preview, struct store *store, struct err *err)
{
    int64_t id = 0;
    struct definition earlier = {0};
    const char *name = preview->definition.name;
    int rc = store ? store_find_sweep(store, name, &id, err) : 0;
    if (rc < 0 || id == 0)
        return rc;
    rc = store_load(store, name, &preview->arena, &preview->loaded, err);
    bool is_changed = rc == 0 && !text_equal(preview->loaded.sweep.definition_sha256, preview->definition.sha256);
    if (is_changed)
        rc = definition_parse(&earlier, preview->loaded.sweep.definition, preview->loaded.sweep.folder, name, err);
    if (is_changed && rc == 0)
        rc = definition_check_extends(&earlier, &preview->definition, err);
    definition_done(&earlier);
    preview->is_stored = rc == 0;
    return rc;
}

/* The model that the sweep of the store was made of, or its own origin's. */
static int read_stand_in(struct preview *preview, struct store *store, struct err *err)
{
    struct definition earlier = {0}, *d = &preview->definition;
    struct store_loaded loaded = {0};
    int rc = store_load(store, d->from[ORIGIN_MODEL].sweep, &preview->arena, &loaded, err);
    if (rc == 0)
        rc = definition_parse(&earlier, loaded.sweep.definition, loaded.sweep.folder, loaded.sweep.name, err);
    if (rc == 0 && definition_has_from(&earlier))
        rc = origin_load(&earlier, store, loaded.sweep.id, err);
    if (rc == 0 && earlier.model && !(d->stand_in = arena_strdup(&d->arena, earlier.model)))
        rc = err_set(err, ERR_NOMEM, "no memory for a path");
    definition_done(&earlier);
    return rc;
}

/* A stage that cannot begin yet is planned with the model that the earlier one started from: of the same shape. */
static int use_stand_in(struct preview *preview, struct store *store, struct err *err)
{
    struct definition *d = &preview->definition;
    const char *first = d->from[ORIGIN_MODEL].sweep ? d->from[ORIGIN_MODEL].sweep : d->from[ORIGIN_ADAPTER].sweep;
    const char *waits_for = first;
    int64_t id = 0;
    int rc = 0;
    if (!definition_has_from(d))
        return 0;
    if (preview->is_stored)
        rc = origin_load(d, store, preview->loaded.sweep.id, err);
    if (rc == 0 && d->n_origins > 0)
        rc = origin_waits_for(d, store, &waits_for, err);
    else if (rc == 0 && store && !d->stand_in && d->from[ORIGIN_MODEL].sweep)
        rc = store_find_sweep(store, d->from[ORIGIN_MODEL].sweep, &id, err);
    if (rc == 0 && id != 0)
        rc = read_stand_in(preview, store, err);
    if (rc == 0 && waits_for && !(preview->waits_for = strdup(waits_for)))
        rc = err_set(err, ERR_NOMEM, "no memory for a name");
    bool is_there = d->model && file_is_folder(d->model); /* `run` makes it again */
    if (rc == 0 && !is_there && !(d->model = d->stand_in))
        rc = err_set(err, ERR_NOT_FOUND, "model.from: there is no sweep '%s' in the file or in %s",
                     d->from[ORIGIN_MODEL].sweep, store ? store_path(store) : "the store, which is not there yet");
    return rc;
}

static int hash_inputs(struct preview *preview, const char *store_path, struct err *err)
{
    char *folder = file_folder(store_path), *cache = NULL;
    if (folder && file_is_folder(folder)) /* a plan leaves nothing where nothing was */
        cache = job_hash_cache(store_path);
    int rc = job_hash_inputs(&preview->hashes, &preview->definition, cache, err);
    free(folder);
    free(cache);
    return rc;
}

/* Whether another sweep has an equal trial whose results are taken. */
static bool is_reusable(sqlite3_stmt *query, const char *identity)
{
    if (!query)
        return false;
    sqlite3_reset(query);
    sqlite3_bind_text(query, 1, identity, -1, SQLITE_STATIC);
    return sqlite3_step(query) == SQLITE_ROW;
}

static int count_trials(struct preview *preview, struct store *store, struct err *err)
{
    const struct plan *plan = &preview->plan;
    sqlite3_stmt *query = NULL;
    preview->is_open = calloc((size_t)plan->n_trials + 1, sizeof(*preview->is_open));
    if (!preview->is_open)
        return err_set(err, ERR_NOMEM, "no memory for %d trials", plan->n_trials);
    if (store && preview->definition.reuse &&
        sqlite3_prepare_v2(store_database(store), "SELECT 1 FROM trial WHERE identity = ?1 AND state = 'COMPLETE'", -1,
                           &query, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "%s: %s", store_path(store), sqlite3_errmsg(store_database(store)));
    for (int i = 0; i < plan->n_trials; i++) {
        const struct planned_trial *trial = &plan->trials[i];
        bool is_kept = trial->stored >= 0,
             is_final = is_kept && trial_state_is_final(preview->loaded.trials[trial->stored].state),
             is_reused = !is_final && is_reusable(query, trial->identity);
        preview->n_kept += is_kept;
        preview->n_new += !is_kept;
        preview->n_complete += is_final;
        preview->n_reused += is_reused;
        preview->n_baseline += plan->configurations[trial->configuration].is_baseline;
        preview->is_open[i] = !is_final && !is_reused;
    }
    sqlite3_finalize(query);
    return 0;
}

static void look_at_machine(struct preview *preview, const char *store_path)
{
    const struct resources *resources = &preview->definition.resources;
    struct statvfs disk;
    char *folder = file_folder(store_path);
    int cores = (int)uv_available_parallelism();
    preview->slots =
        resources->slots > 0 ? resources->slots : cores / (resources->threads > 0 ? resources->threads : 1);
    preview->slots = preview->slots < 1 ? 1 : preview->slots;
    bool is_known = statvfs(folder && file_is_folder(folder) ? folder : ".", &disk) == 0;
    preview->free_bytes = is_known ? (double)disk.f_bavail * (double)disk.f_frsize : NAN;
    free(folder);
}

static void show_probing(int n_done, int n, void *context)
{
    struct progress_state state = {
        .sweep = "timing a few steps", .n_trials = n, .n_complete = n_done, .seconds_left = NAN};
    progress_update(context, &state);
}

static int probe(struct preview *preview, const struct command_line *line, struct err *err)
{
    struct progress *progress = NULL;
    int rc = probes_make(&preview->probes, &preview->plan, preview->is_open, err);
    if (rc < 0 || command_has(line, "no-timing"))
        return rc;
    progress =
        progress_new(command_has(line, "quiet") || command_has(line, "json") || !isatty(STDERR_FILENO) ? PROGRESS_QUIET
                                                                                                       : PROGRESS_AUTO);
    if (!progress)
        return err_set(err, ERR_NOMEM, "no memory to show progress");
    show_probing(0, preview->probes.n_timed, progress);
    rc = probes_run(&preview->probes, &preview->plan, preview->slots, show_probing, progress, err);
    progress_free(progress);
    preview->has_probes = rc == 0;
    return rc;
}

/* Of the definition that is in it. */
static int preview_make(struct preview *preview, const struct command_line *line, struct store *store, struct err *err)
{
    char model[HASH_HEX_SIZE];
    int rc = load(preview, store, err);
    if (rc == 0)
        rc = use_stand_in(preview, store, err);
    if (rc == 0)
        rc = hash_inputs(preview, line->store, err);
    if (rc == 0)
        rc = inputs_describe(preview->inputs, &preview->n_inputs, &preview->definition, &preview->hashes,
                             &preview->arena, err);
    memcpy(model, preview->hashes.model, sizeof(model));
    if (preview->waits_for) /* whose identities are not known: they equal nobody's */
        memset(preview->hashes.model, '?', sizeof(model) - 1);
    if (rc == 0)
        rc = plan_make(&preview->plan, &preview->definition, &preview->hashes,
                       preview->is_stored ? &preview->loaded : NULL, err);
    preview->is_adaptive = rc == 0 && plan_is_adaptive(&preview->definition);
    if (rc == 0 && preview->is_adaptive)
        rc = plan_add_expected(&preview->plan, err);
    if (rc == 0)
        rc = count_trials(preview, store, err);
    memcpy(preview->hashes.model, model, sizeof(model));
    if (rc < 0)
        return rc;
    look_at_machine(preview, line->store);
    return probe(preview, line, err);
}

/* As text ------------------------------------------------------------------------------------------------------------
 */

static void add_bytes(struct text *out, double bytes)
{
    if (bytes < 0 || !isfinite(bytes))
        text_add(out, "?");
    else if (bytes < 1 << 20)
        text_printf(out, "%.0f KiB", ceil(bytes / 1024));
    else if (bytes < 10.0 * (1 << 30))
        text_printf(out, "%.0f MiB", bytes / (1 << 20));
    else
        text_printf(out, "%.1f GiB", bytes / (1 << 30));
}

static void add_numbered(struct text *out, int n, const char *noun)
{
    summary_add_count(out, n);
    text_printf(out, " %s%s", noun, n == 1 ? "" : "s");
}

static void add_head(struct text *out, const struct preview *preview)
{
    const struct plan *plan = &preview->plan;
    int n_baseline_configurations = plan->n_configurations > 0 && plan->configurations[0].is_baseline;
    text_printf(out, "sweep '%s' (%s): %s", preview->definition.name, preview->definition.search,
                preview->is_adaptive ? "at most " : "");
    add_numbered(out, plan->n_configurations - n_baseline_configurations, "configuration");
    text_add(out, " with ");
    add_numbered(out, preview->definition.seeds, "seed");
    text_add(out, ", ");
    add_numbered(out, plan->n_trials - preview->n_baseline, "trial");
    if (preview->n_baseline > 0) {
        text_add(out, ", and ");
        add_numbered(out, preview->n_baseline, "baseline trial");
        text_add(out, " for the checks");
    }
    if (preview->waits_for) {
        text_add(out, "\n  waits for sweep '");
        printable_add(out, preview->waits_for);
        text_add(out, "'; sizes and times are those of the model that it starts from");
    }
    if (preview->is_adaptive)
        text_add(out, "\n  which ones, and how far each goes, is decided by results; below stand such as may come");
    text_printf(out, "\n  %d new, %d kept", preview->n_new, preview->n_kept);
    if (preview->n_complete > 0)
        text_printf(out, " (%d of them done)", preview->n_complete);
    text_printf(out, ", %d dropped", plan->n_dropped);
    if (preview->n_reused > 0)
        text_printf(out, "; %d take the results of equal trials in the store", preview->n_reused);
    text_add_char(out, '\n');
    if (plan->n_equal > 0)
        text_printf(out, "  %lld of %lld proposals are equal to another one and run once\n", (long long)plan->n_equal,
                    (long long)plan->n_proposals);
    for (int i = 0; i < plan->n_dropped && i < 20; i++) {
        text_printf(out, "%s%lld", i ? ", " : "  dropped, and kept in the store: trials ",
                    (long long)preview->loaded.trials[plan->dropped[i]].number);
        if (i == 19 && plan->n_dropped > 20)
            text_add(out, ", …");
    }
    text_add(out, plan->n_dropped ? "\n" : "");
}

static void add_cell_bytes(struct columns *columns, double bytes)
{
    struct text cell = {0};
    add_bytes(&cell, bytes);
    columns_add(columns, cell.data);
    text_done(&cell);
}

static void add_cell_duration(struct columns *columns, double seconds)
{
    struct text cell = {0};
    if (isfinite(seconds) && seconds < 10)
        text_printf(&cell, "%.1f s", seconds);
    else
        progress_add_duration(&cell, seconds);
    columns_add(columns, cell.data);
    text_done(&cell);
}

static void add_timed_cells(struct columns *columns, const struct preview *preview, const struct probe *source)
{
    if (!source || source->trained_parameters < 0) {
        for (int i = 0; i < 5; i++)
            columns_add(columns, source && source->reason[0] && i == 4 ? "refused" : NULL);
        return;
    }
    columns_add_count(columns, source->trained_parameters);
    add_cell_bytes(columns, (double)source->estimated_bytes);
    columns_add_count(columns, source->total_steps);
    columns_add_count(columns, isfinite(source->tokens_per_second) ? (int64_t)source->tokens_per_second : -1);
    if (source->reason[0])
        columns_add(columns, "refused");
    else
        add_cell_duration(columns, probe_seconds_per_trial(source, &preview->definition));
}

static void add_table(struct text *out, const struct preview *preview)
{
    static const char *const titles[] = {"method",  "settings", ">configurations", ">trials", ">trained",
                                         ">memory", ">steps",   ">tokens/s",       ">a trial"};
    struct columns columns;
    columns_init(&columns, preview->has_probes ? 9 : 4, titles);
    for (int i = 0; i < preview->probes.n; i++) {
        const struct probe *probe = &preview->probes.items[i];
        columns_add(&columns, probe->method);
        columns_printf(&columns, "%s%s", probe->parameters, preview->has_probes && !probe->is_timed ? " *" : "");
        columns_add_count(&columns, probe->n_configurations);
        columns_add_count(&columns, probe->n_trials);
        if (preview->has_probes)
            add_timed_cells(&columns, preview, probe_source(&preview->probes, probe));
    }
    text_add_char(out, '\n');
    columns_write(out, &columns, "  ");
    if (preview->has_probes && preview->probes.n_timed < preview->probes.n)
        text_printf(out, "  * not timed: %d of %d are, and stand for the others of their method\n",
                    preview->probes.n_timed, preview->probes.n);
    columns_done(&columns);
}

/* Probes that the trainer refused, or that did not come to an end. */
static void add_refusals(struct text *out, const struct preview *preview)
{
    bool is_first = true;
    for (int i = 0; i < preview->probes.n; i++) {
        const struct probe *probe = &preview->probes.items[i];
        if (!probe->message[0] && !probe->reason[0])
            continue;
        text_add(out, is_first ? "\n  these trials would fail:\n" : "");
        is_first = false;
        text_add(out, "    ");
        printable_add(out, probe->method);
        text_add(out, *probe->parameters ? ", " : "");
        printable_add(out, probe->parameters);
        text_printf(out, " (%d): ", probe->n_trials);
        printable_add(out, probe->reason[0] ? probe->reason : "not timed");
        text_add(out, ": ");
        printable_add(out, probe->message);
        text_add_char(out, '\n');
    }
}

/* Probes that keep within resources.memory by computing layers twice. */
static void add_recomputing(struct text *out, const struct preview *preview)
{
    bool is_first = true;
    for (int i = 0; i < preview->probes.n; i++) {
        const struct probe *probe = &preview->probes.items[i];
        if (!probe->recomputes)
            continue;
        text_add(out, is_first ? "\n  compute layers again in backward, to keep within resources.memory (same results, "
                                 "slower): "
                               : "; ");
        is_first = false;
        printable_add(out, probe->method);
        text_add(out, *probe->parameters ? ", " : "");
        printable_add(out, probe->parameters);
    }
    text_add(out, is_first ? "" : "\n");
}

/* A timed configuration about which the stopping rule will have nothing to decide: no validation lies between
 * min_resource and its end. NULL: there is none. */
static const struct probe *find_undecided(const struct preview *preview)
{
    const struct stopping *stopping = &preview->definition.stopping;
    for (int i = 0; i < preview->probes.n && preview->has_probes && stopping->kind; i++) {
        const struct probe *probe = &preview->probes.items[i];
        int64_t last = probe_last_validation(probe);
        if (probe->is_timed && probe->total_steps > 0 && (last == 0 || (double)last < stopping->min_resource))
            return probe;
    }
    return NULL;
}

static void add_undecided(struct text *out, const struct preview *preview)
{
    const struct stopping *stopping = &preview->definition.stopping;
    const struct probe *probe = find_undecided(preview);
    if (!probe)
        return;
    text_printf(out, "\n  stopping.rule: '%s' will decide nothing about ", stopping->kind->name);
    printable_add(out, probe->method);
    text_printf(out,
                ": it trains %lld steps and is not validated between step %.0f and its end; settings.evaluate_every "
                "gives validations on the way\n",
                (long long)probe->total_steps, stopping->min_resource);
}

static void add_estimate(struct text *out, const struct preview *preview)
{
    const struct definition *definition = &preview->definition;
    struct probe_estimate estimate = probes_estimate(&preview->probes, definition, preview->slots);
    double memory = (double)estimate.memory_bytes * preview->slots, machine = (double)uv_get_total_memory();
    text_add(out, "\n  memory  about ");
    add_bytes(out, memory);
    text_printf(out, " with %d slot%s, this machine has ", preview->slots, preview->slots == 1 ? "" : "s");
    add_bytes(out, machine);
    text_add(out, memory > machine ? ": TOO LITTLE, fewer slots or smaller batches help" : "");
    text_add(out, "\n  disk    about ");
    add_bytes(out, (double)estimate.adapter_bytes);
    text_add(out, " of adapters, ");
    add_bytes(out, (double)estimate.checkpoint_bytes);
    text_add(out, " of checkpoints; ");
    add_bytes(out, preview->free_bytes);
    text_add(out, " are free");
    text_add(out, "\n  time    about ");
    progress_add_duration(out, estimate.seconds);
    text_printf(out, " (%d steps of each were timed", PROBE_STEPS);
    if (estimate.n_unknown > 0)
        text_printf(out, "; not known of %d trials", estimate.n_unknown);
    text_add_char(out, ')');
    if (definition->budget.seconds > 0) {
        text_add(out,
                 estimate.seconds > definition->budget.seconds ? ", MORE than the budget of " : ", the budget is ");
        progress_add_duration(out, definition->budget.seconds);
    }
    if (definition->budget.cpu_seconds > 0) {
        text_add(out, ", CPU time of at most ");
        progress_add_duration(out, definition->budget.cpu_seconds);
    }
    if (definition->budget.until)
        text_printf(out, ", it runs until %s", definition->budget.until);
    text_add_char(out, '\n');
}

static bool is_same_license(const struct license *a, const struct license *b)
{
    return a->text && b->text ? text_equal(a->text, b->text) && text_equal(a->source, b->source) : a->text == b->text;
}

/* "model apache-2.0 (README.md); train, validation mit (definition)" */
static void add_licenses(struct text *out, const struct preview *preview)
{
    const struct input *inputs = preview->inputs;
    text_add(out, "  licenses: ");
    for (int i = 0; i < preview->n_inputs; i++) {
        const struct license *license = &inputs[i].license;
        bool goes_on = i > 0 && i + 1 < preview->n_inputs && is_same_license(license, &inputs[i + 1].license);
        text_printf(out, "%s%s", inputs[i].role, goes_on ? ", " : " ");
        if (goes_on)
            continue;
        printable_add(out, license->text ? license->text : "not said");
        if (license->source) {
            text_add(out, " (");
            printable_add(out, license->source);
            text_add_char(out, ')');
        }
        text_add(out, i + 1 < preview->n_inputs ? "; " : "\n");
    }
}

static void add_text(struct text *out, const struct preview *preview)
{
    add_head(out, preview);
    add_licenses(out, preview);
    if (preview->probes.n > 0)
        add_table(out, preview);
    if (!preview->has_probes)
        return;
    add_refusals(out, preview);
    add_recomputing(out, preview);
    add_undecided(out, preview);
    if (preview->n_complete + preview->n_reused == preview->plan.n_trials)
        text_add(out, "\n  nothing is left to train\n");
    else
        add_estimate(out, preview);
}

/* As JSON ------------------------------------------------------------------------------------------------------------
 */

static void add_number(struct text *out, const char *name, double value)
{
    text_printf(out, ",\"%s\":", name);
    if (isfinite(value))
        text_add_double(out, value);
    else
        text_add(out, "null");
}

static void add_count(struct text *out, const char *name, int64_t value)
{
    add_number(out, name, value < 0 ? NAN : (double)value);
}

static void add_string(struct text *out, const char *name, const char *value)
{
    text_printf(out, ",\"%s\":", name);
    if (*value)
        printable_add_json(out, value);
    else
        text_add(out, "null");
}

static void add_probe_json(struct text *out, const struct preview *preview, const struct probe *probe)
{
    const struct probe *source = preview->has_probes ? probe_source(&preview->probes, probe) : NULL;
    text_add(out, "{\"method\":");
    printable_add_json(out, probe->method);
    text_add(out, ",\"parameters\":");
    printable_add_json(out, probe->parameters);
    text_printf(out, ",\"configurations\":%d,\"trials\":%d,\"open_trials\":%d,\"timed\":%s", probe->n_configurations,
                probe->n_trials, probe->n_open, preview->has_probes && probe->is_timed ? "true" : "false");
    add_count(out, "trained_parameters", source ? source->trained_parameters : -1);
    add_count(out, "total_parameters", source ? source->total_parameters : -1);
    add_count(out, "memory_bytes", source ? source->estimated_bytes : -1);
    text_printf(out, ",\"recomputes\":%s", source && source->recomputes ? "true" : "false");
    add_count(out, "total_steps", source ? source->total_steps : -1);
    add_number(out, "tokens_per_second", source ? source->tokens_per_second : NAN);
    add_number(out, "seconds_per_step", source ? probe_seconds_per_step(source) : NAN);
    add_number(out, "seconds_per_trial", source ? probe_seconds_per_trial(source, &preview->definition) : NAN);
    add_string(out, "reason", source ? source->reason : "");
    add_string(out, "message", source ? source->message : "");
    text_add_char(out, '}');
}

static void add_json(struct text *out, const struct preview *preview)
{
    const struct plan *plan = &preview->plan;
    struct probe_estimate estimate = probes_estimate(&preview->probes, &preview->definition, preview->slots);
    text_add(out, "{\"sweep\":");
    text_add_json(out, preview->definition.name);
    add_string(out, "search", preview->definition.search);
    add_string(out, "waits_for", preview->waits_for ? preview->waits_for : "");
    text_printf(out, ",\"adaptive\":%s", preview->is_adaptive ? "true" : "false");
    text_printf(out, ",\"configurations\":%d,\"seeds\":%d,\"trials\":%d,\"baseline_trials\":%d", plan->n_configurations,
                preview->definition.seeds, plan->n_trials, preview->n_baseline);
    text_printf(out, ",\"new\":%d,\"kept\":%d,\"done\":%d,\"reused\":%d,\"dropped\":[", preview->n_new, preview->n_kept,
                preview->n_complete, preview->n_reused);
    for (int i = 0; i < plan->n_dropped; i++)
        text_printf(out, "%s%lld", i ? "," : "", (long long)preview->loaded.trials[plan->dropped[i]].number);
    text_printf(out, "],\"proposals\":%lld,\"equal\":%lld,\"slots\":%d", (long long)plan->n_proposals,
                (long long)plan->n_equal, preview->slots);
    add_number(out, "seconds", preview->has_probes && !estimate.n_unknown ? estimate.seconds : NAN);
    add_count(out, "memory_bytes", preview->has_probes ? estimate.memory_bytes * preview->slots : -1);
    add_count(out, "adapter_bytes", preview->has_probes ? estimate.adapter_bytes : -1);
    add_count(out, "checkpoint_bytes", preview->has_probes ? estimate.checkpoint_bytes : -1);
    add_number(out, "free_bytes", preview->free_bytes);
    text_printf(out, ",\"undecided\":%s", find_undecided(preview) ? "true" : "false");
    text_add(out, ",\"inputs\":[");
    for (int i = 0; i < preview->n_inputs; i++) {
        const struct input *input = &preview->inputs[i];
        text_printf(out, "%s{\"role\":\"%s\"", i ? "," : "", input->role);
        add_string(out, "path", input->path);
        add_string(out, "sha256", input->sha256);
        add_string(out, "license", input->license.text ? input->license.text : "");
        add_string(out, "license_source", input->license.source ? input->license.source : "");
        text_add_char(out, '}');
    }
    text_add(out, "],\"costs\":[");
    for (int i = 0; i < preview->probes.n; i++) {
        text_add(out, i ? ",\n" : "\n");
        add_probe_json(out, preview, &preview->probes.items[i]);
    }
    text_add(out, "]}");
}

/* The command --------------------------------------------------------------------------------------------------------
 */

static int plan_file(struct text *out, const struct command_line *line, const char *path, struct store *store,
                     bool *is_first, struct err *err)
{
    struct stages stages;
    int rc = stages_read(&stages, path, command_value(line, "new"), err);
    if (rc == 0)
        fputs(stages.remarks, stderr);
    for (int i = 0; i < stages.n && rc == 0; i++) {
        struct preview preview = {.definition = stages_take(&stages, i)};
        rc = preview_make(&preview, line, store, err);
        text_add(out, *is_first ? "" : command_has(line, "json") ? "," : "\n");
        *is_first = false;
        if (rc == 0 && command_has(line, "json"))
            add_json(out, &preview);
        else if (rc == 0)
            add_text(out, &preview);
        if (rc < 0 && stages.is_staged)
            err_wrap(err, "sweep '%s'", preview.definition.name);
        preview_done(&preview);
    }
    stages_done(&stages);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    bool is_json = command_has(line, "json"), is_first = true;
    int rc = 0;
    if (command_has(line, "new") && line->n_arguments > 1)
        rc = err_set(err, ERR_USAGE, "plan: --new names one sweep, %d files are given", line->n_arguments);
    if (rc == 0 && file_exists(line->store))
        rc = store_open(&store, line->store, STORE_READ, err);
    text_add(&out, is_json ? "{\"v\":1,\"sweeps\":[" : "");
    for (int i = 0; i < line->n_arguments && rc == 0; i++)
        rc = plan_file(&out, line, line->arguments[i], store, &is_first, err);
    text_add(&out, is_json ? "]}\n" : "");
    rc = command_print(&out, "the plan", rc, err);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"no-timing", NULL, "count only: start no trainer, so that sizes, memory and time stay unknown"},
    {"new", "NAME", "plan it as a sweep of another name"},
    {"json", NULL, "write one JSON object"},
    {"quiet", NULL, "show no progress"},
    {NULL, NULL, NULL},
};

const struct command command_plan = {
    .name = "plan",
    .arguments = "SWEEP.json...",
    .summary = "what a sweep will train and cost, before anything runs",
    .description =
        "Says how many trials a definition asks for: new ones, those the store has already, and those it has that are "
        "asked for no more; how many proposals are equal; and of each method and size the trained parameters, the "
        "memory "
        "and the time. For these a few steps of each are trained and timed, with as many at a time as the sweep has "
        "slots; "
        "settings that change neither size nor time (the learning rate, say) share one timing. What the model cannot "
        "do "
        "is found here too. Where results decide what comes next (a search based on a model, a stopping rule), the "
        "counts are the most there can be, and sizes and times those of random draws. A definition with stages is "
        "planned stage by stage; one that waits for an earlier one is timed with the model that this one starts "
        "from.\n\n"
        "Nothing is written to the store.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
