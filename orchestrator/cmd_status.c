/* `nightsweep status`: what sweeps the store has and where each stands. */
#include <stdio.h>
#include <string.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/lock.h"
#include "orchestrator/printable.h"
#include "orchestrator/progress_view.h"
#include "orchestrator/report.h"
#include "orchestrator/summary.h"

static const struct report_section sections[] = {
    {"sweep", NULL, REPORT_RECORD,
     "SELECT name, state, created_at, finished_at, archived_at, output_folder, definition_sha256 FROM sweep WHERE id = "
     "?1"},
    {"waits", "waits for", REPORT_TABLE,
     "SELECT w.name AS sweep, w.state, COUNT(t.id) AS trials, COUNT(CASE WHEN t.state IN ('COMPLETE', 'PRUNED', "
     "'FAILED') THEN 1 END) AS through FROM sweep s JOIN sweep w ON w.state <> 'COMPLETE' AND w.name IN "
     "(json_extract(s.definition, '$.model.from'), json_extract(s.definition, '$.settings.init_adapter.from'))"
     " LEFT JOIN trial t ON t.sweep_id = w.id WHERE s.id = ?1 AND NOT EXISTS (SELECT 1 FROM origin o WHERE"
     " o.sweep_id = s.id) GROUP BY w.id ORDER BY w.id"},
    {"origins", "starts from", REPORT_TABLE,
     "SELECT role, from_sweep AS sweep, from_trial AS trial, seed, sha256 FROM origin WHERE sweep_id = ?1"
     " ORDER BY role, from_trial, seed"},
    {"best", "best trial", REPORT_TABLE,
     "SELECT t.number AS trial, c.number AS configuration, json_extract(c.settings, '$.method') AS method,"
     " o.metric, t.value, c.parameters AS parameters_json"
     " FROM trial t JOIN configuration c ON c.id = t.configuration_id"
     " JOIN objective o ON o.sweep_id = t.sweep_id AND o.position = 0"
     " WHERE t.sweep_id = ?1 AND t.state = 'COMPLETE' AND c.role = 'search' AND t.value IS NOT NULL"
     " ORDER BY CASE o.goal WHEN 'maximize' THEN -t.value ELSE t.value END, t.number LIMIT 1"},
    {"running", "running", REPORT_TABLE,
     "SELECT t.number AS trial, json_extract(c.settings, '$.method') AS method, t.steps, t.total_steps, a.worker,"
     " a.slot, a.number AS attempt, a.started_at, c.parameters AS parameters_json"
     " FROM trial t JOIN configuration c ON c.id = t.configuration_id JOIN attempt a ON a.trial_id = t.id"
     " WHERE t.sweep_id = ?1 AND t.state = 'RUNNING' AND a.state = 'RUNNING' ORDER BY t.number"},
    {"inputs", "trained on", REPORT_TABLE,
     "SELECT group_concat(role, ', ') AS input, license, license_source AS said_by FROM (SELECT * FROM input WHERE"
     " sweep_id = ?1 ORDER BY role <> 'model', role <> 'train', role <> 'validation')"
     " GROUP BY role = 'model', license, license_source ORDER BY MIN(role <> 'model')"},
    {"attempts", "attempts that did not come to their end", REPORT_TABLE,
     "SELECT CASE WHEN state = 'FAILED' THEN 'trial' ELSE 'elsewhere' END AS fault,"
     " COALESCE(reason, CASE state WHEN 'STOPPED' THEN 'decided' ELSE 'interrupted' END) AS why, COUNT(*) AS attempts,"
     " COUNT(DISTINCT trial_id) AS trials, SUM(seconds) AS seconds FROM attempt WHERE state IN ('FAILED', 'STOPPED',"
     " 'INTERRUPTED') AND trial_id IN (SELECT id FROM trial WHERE sweep_id = ?1) GROUP BY 1, 2 ORDER BY 1, 3 DESC"},
    {"failed", "failed", REPORT_TABLE,
     "SELECT reason, COUNT(*) AS trials, MIN(number) AS first_trial, message FROM trial WHERE sweep_id = ?1 AND"
     " state = 'FAILED' GROUP BY reason ORDER BY COUNT(*) DESC"},
};

enum { N_SECTIONS = sizeof(sections) / sizeof(sections[0]) };

/* What the run that holds the lock says of itself: paused, until when. Nothing when it does not answer. */
static void add_state(struct text *out, const char *store, bool is_json)
{
    cJSON *state = NULL;
    if (!control_find_state(store, &state))
        return;
    const cJSON *deadline = json_get(state, "deadline_seconds");
    if (is_json) {
        text_add(out, ",\"run\":");
        json_add(out, state);
    } else {
        text_add(out, cJSON_IsTrue(json_get(state, "paused")) ? ", paused (`nightsweep resume`)" : "");
        text_add(out, cJSON_IsTrue(json_get(state, "stopping")) ? ", stopping" : "");
        if (cJSON_IsNumber(deadline)) {
            text_add(out, ", stops in ");
            progress_add_duration(out, deadline->valuedouble);
        }
    }
    json_free(state);
}

/* Who holds the store's lock, as text or JSON. */
static int add_holder(struct text *out, const char *store, bool is_json, struct err *err)
{
    struct lock_holder holder = {0};
    struct text path = {0};
    text_printf(&path, "%s.lock", store);
    int rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : lock_query(path.data, &holder, err);
    text_done(&path);
    if (rc < 0)
        return rc;
    if (is_json && holder.is_held) {
        text_printf(out, ",\"lock\":{\"pid\":%lld,\"host\":", (long long)holder.pid);
        printable_add_json(out, holder.host);
        text_add_char(out, '}');
        add_state(out, store, true);
    } else if (is_json) {
        text_add(out, ",\"lock\":null");
    } else if (holder.is_held) {
        text_printf(out, ", in use by process %lld on host '", (long long)holder.pid);
        printable_add(out, holder.host);
        text_add_char(out, '\'');
        add_state(out, store, false);
    } else {
        text_add(out, ", no run is using it");
    }
    return 0;
}

static void add_counts(struct text *out, const struct summary *summary)
{
    static const char *const words[TRIAL_STATE_COUNT] = {"waiting",  "running", "paused",
                                                         "complete", "pruned",  "failed"};
    int64_t total = 0;
    for (int i = 0; i < TRIAL_STATE_COUNT; i++)
        total += summary->n_trials[i];
    summary_add_count(out, total);
    text_add(out, total == 1 ? " trial" : " trials");
    const char *separator = ": ";
    for (int i = 0; i < TRIAL_STATE_COUNT; i++)
        if (summary->n_trials[i] > 0) {
            text_printf(out, "%s%d %s", separator, summary->n_trials[i], words[i]);
            separator = ", ";
        }
    text_add_char(out, '\n');
}

static int add_text(struct text *out, struct store *store, const struct store_sweep *sweep, struct summary *summary,
                    struct err *err)
{
    int rc = 0;
    struct text body = {0};
    text_add(out, "\nsweep '");
    printable_add(out, sweep->name);
    text_printf(out, "' %s%s, ", sweep_state_name(sweep->state), sweep->is_archived ? ", archived" : "");
    add_counts(out, summary);
    for (int i = 0; i < N_SECTIONS && rc == 0; i++) {
        text_reset(&body);
        rc = report_add_text(&body, store, &sections[i], sweep->id, err);
        if (rc == 0 && body.len > 0)
            printable_add_lines(out, body.data, "  ");
    }
    if (rc == 0 && summary->n_methods > 0) {
        text_reset(&body);
        summary_add_table(&body, summary);
        text_add(out, "  best configuration of each method:\n");
        printable_add_lines(out, body.data ? body.data : "", "    ");
    }
    text_done(&body);
    return rc;
}

static int add_json(struct text *out, struct store *store, const struct store_sweep *sweep, struct summary *summary,
                    struct err *err)
{
    int rc = 0;
    text_add_char(out, '{');
    for (int i = 0; i < N_SECTIONS && rc == 0; i++) {
        rc = report_add_json(out, store, &sections[i], sweep->id, err);
        text_add_char(out, ',');
    }
    text_add(out, "\"summary\":");
    summary_add_json(out, summary);
    text_add_char(out, '}');
    return rc;
}

/* Id and state of a sweep by name. */
static int find(struct store *store, const char *name, struct store_sweep *sweep, struct err *err)
{
    sqlite3_stmt *row = NULL;
    *sweep = (struct store_sweep){.name = name};
    int rc = store_find_sweep(store, name, &sweep->id, err);
    if (rc == 0 &&
        sqlite3_prepare_v2(store_database(store), "SELECT state, archived_at IS NOT NULL FROM sweep WHERE id = ?1", -1,
                           &row, NULL) == SQLITE_OK) {
        sqlite3_bind_int64(row, 1, sweep->id);
        if (sqlite3_step(row) == SQLITE_ROW) {
            rc = sweep_state_parse((const char *)sqlite3_column_text(row, 0), &sweep->state, err);
            sweep->is_archived = sqlite3_column_int(row, 1) != 0;
        }
    }
    sqlite3_finalize(row);
    return rc;
}

static int add_sweep(struct text *out, struct store *store, const char *name, bool is_json, struct err *err)
{
    struct arena arena = {0};
    struct summary summary = {0};
    struct store_sweep sweep;
    int rc = summary_read(store, name, &arena, &summary, err);
    if (rc == 0)
        rc = find(store, name, &sweep, err);
    if (rc == 0)
        rc = is_json ? add_json(out, store, &sweep, &summary, err) : add_text(out, store, &sweep, &summary, err);
    arena_done(&arena);
    return rc;
}

static int add_store(struct text *out, struct store *store, const struct command_line *line, struct err *err)
{
    bool is_json = command_has(line, "json");
    struct arena arena = {0};
    const char *const *names = (const char *const *)line->arguments;
    int n = line->n_arguments, rc = 0;
    if (n == 0 && (rc = command_has(line, "archived") ? store_sweep_names(store, &arena, &names, err)
                                                      : store_listed_names(store, &arena, &names, err)) == 0)
        while (names[n])
            n++;
    text_add(out, is_json ? "{\"v\":1,\"store\":" : "store '");
    if (is_json)
        printable_add_json(out, line->store);
    else
        printable_add(out, line->store);
    text_add(out, is_json ? "" : "'");
    if (rc == 0)
        rc = add_holder(out, line->store, is_json, err);
    text_add(out, is_json ? ",\"sweeps\":[" : n ? "\n" : "\nno sweeps yet\n");
    for (int i = 0; i < n && rc == 0; i++) {
        text_add(out, is_json && i ? "," : "");
        rc = add_sweep(out, store, names[i], is_json, err);
    }
    text_add(out, is_json ? "]}\n" : "");
    arena_done(&arena);
    return rc == 0 && out->failed ? err_set(err, ERR_NOMEM, "no memory for the status") : rc;
}

static int run(const struct command_line *line, struct err *err)
{
    struct store *store = NULL;
    struct text out = {0};
    int rc = store_open(&store, line->store, STORE_READ, err);
    if (rc == 0)
        rc = add_store(&out, store, line, err);
    rc = command_print(&out, "the sweeps", rc, err);
    store_close(store);
    return rc;
}

static const struct command_option options[] = {
    {"archived", NULL, "list archived sweeps too"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_status = {
    .name = "status",
    .arguments = "[SWEEP...]",
    .summary = "where the sweeps of a store stand",
    .description =
        "Of the sweeps named, or of all: how many trials are in which state, what runs now, what failed and "
        "why, the best trial so far, and the best configuration of each method with its interval over seeds. "
        "Archived sweeps are shown when they are named, or with --archived. "
        "Can be asked at any time, also while a run writes to the store, and says which process that is.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = COMMAND_MAX_FILES,
    .run = run,
};
