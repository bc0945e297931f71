/* `nightsweep explain TRIAL`: why a trial waits, pauses, was pruned, failed, or counts. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"
#include "orchestrator/printable.h"
#include "orchestrator/report.h"
#include "orchestrator/trial_state.h"

/* What the sentences are made of. Texts are those of the query's row. */
struct facts {
    const struct command_line *line;
    enum trial_state state;
    const char *sweep, *reason, *message, *method, *parameters, *metric, *worker, *rule, *action, *why, *definition;
    int64_t number, steps, total_steps, before, failures, attempts, checkpoint_step, slot, has_checkpoint, others;
    int64_t rank; /* 0: of the baseline, which takes no part */
    double value;
    cJSON *run; /* what the run that uses the store says of itself, or NULL */
};

static const char query[] =
    "SELECT s.name, t.number, t.state, t.reason, t.message, json_extract(c.settings, '$.method'), c.parameters, "
    "t.steps,"
    " t.total_steps, o.metric, t.value, a.worker, a.slot, d.rule, d.action, d.reason, k.step, k.trial_id IS NOT NULL,"
    " (SELECT COUNT(*) FROM trial e WHERE e.sweep_id = t.sweep_id AND e.number < t.number AND e.state = 'WAITING'),"
    " (SELECT COUNT(*) FROM attempt f WHERE f.trial_id = t.id AND f.state = 'FAILED'),"
    " (SELECT COUNT(*) FROM attempt f WHERE f.trial_id = t.id),"
    " (c.role = 'search') * (1 + (SELECT COUNT(*) FROM trial e JOIN configuration b ON b.id = e.configuration_id AND "
    "b.role = 'search' WHERE"
    " e.sweep_id = t.sweep_id AND e.state = 'COMPLETE' AND iif(o.goal = 'maximize', e.value > t.value,"
    " e.value < t.value))), (SELECT COUNT(*) FROM trial e JOIN configuration b ON b.id = e.configuration_id AND"
    " b.role = 'search' WHERE e.sweep_id = t.sweep_id AND e.state = 'COMPLETE')"
    " FROM trial t JOIN sweep s ON s.id = t.sweep_id JOIN configuration c ON c.id = t.configuration_id"
    " LEFT JOIN objective o ON o.sweep_id = s.id AND o.position = 0 LEFT JOIN checkpoint k ON k.trial_id = t.id"
    " LEFT JOIN attempt a ON a.trial_id = t.id AND a.state = 'RUNNING'"
    " LEFT JOIN decision d ON d.id = (SELECT MAX(id) FROM decision WHERE trial_id = t.id AND action <> 'continue')"
    " WHERE t.id = ?1";

static const struct report_section sections[] = {
    {"decisions", "decisions", REPORT_TABLE,
     "SELECT created_at, rule, step, action, reason FROM decision WHERE trial_id = ?1 ORDER BY id"},
    {"attempts", "attempts", REPORT_TABLE,
     "SELECT number AS attempt, state, reason, worker, resumed_step, exit_status, signal, seconds, message FROM attempt"
     " WHERE trial_id = ?1 ORDER BY number"},
    {"logs", "last lines of output", REPORT_LINES,
     "SELECT 'attempt ' || number AS attempt, log_tail FROM attempt WHERE trial_id = ?1 AND state = 'FAILED' AND"
     " log_tail <> '' ORDER BY number DESC LIMIT 1"},
};
enum { N_SECTIONS = sizeof(sections) / sizeof(sections[0]) };

static const char *text(sqlite3_stmt *row, int column)
{
    const char *s = (const char *)sqlite3_column_text(row, column);
    return s ? s : "";
}

static int read_facts(struct facts *f, sqlite3_stmt *row, struct err *err)
{
    f->sweep = text(row, 0);
    f->number = sqlite3_column_int64(row, 1);
    f->reason = text(row, 3);
    f->message = text(row, 4);
    f->method = text(row, 5);
    f->parameters = text(row, 6);
    f->steps = sqlite3_column_int64(row, 7);
    f->total_steps = sqlite3_column_int64(row, 8);
    f->metric = text(row, 9);
    f->value = sqlite3_column_double(row, 10);
    f->worker = text(row, 11);
    f->slot = sqlite3_column_int64(row, 12);
    f->rule = text(row, 13);
    f->action = text(row, 14);
    f->why = text(row, 15);
    f->checkpoint_step = sqlite3_column_int64(row, 16);
    f->has_checkpoint = sqlite3_column_int64(row, 17);
    f->before = sqlite3_column_int64(row, 18);
    f->failures = sqlite3_column_int64(row, 19);
    f->attempts = sqlite3_column_int64(row, 20);
    f->rank = sqlite3_column_int64(row, 21);
    f->others = sqlite3_column_int64(row, 22);
    return trial_state_parse(text(row, 2), &f->state, err);
}

/* Sentences, a line each ---------------------------------------------------------------------------------------------
 */

static void say_run(struct text *out, const struct facts *f)
{
    const cJSON *sweep = json_get(f->run, "sweep"), *slots = json_get(f->run, "slots");
    if (!f->run)
        text_add(out, "No run is using the store: `nightsweep run` of the definition goes on with it.\n");
    else if (cJSON_IsString(sweep) && !text_equal(sweep->valuestring, f->sweep))
        text_printf(out, "The run works on sweep '%s'.\n", sweep->valuestring);
    else if (cJSON_IsTrue(json_get(f->run, "paused")))
        text_add(out, "The run is paused: `nightsweep resume` goes on.\n");
    else if (cJSON_IsTrue(json_get(f->run, "stopping")))
        text_add(out, "The run is stopping: the next one takes it up.\n");
    else
        text_printf(out, "%" PRId64 " waiting trial%s of lower number come%s first; the run has %d slot%s.\n",
                    f->before, f->before == 1 ? "" : "s", f->before == 1 ? "s" : "",
                    cJSON_IsNumber(slots) ? slots->valueint : 0,
                    cJSON_IsNumber(slots) && slots->valueint == 1 ? "" : "s");
}

static void say_waiting(struct text *out, const struct facts *f)
{
    if (f->failures > 0)
        text_printf(out, "%" PRId64 " attempt%s failed; it is tried again: %s\n", f->failures,
                    f->failures == 1 ? "" : "s", f->message);
    else if (f->attempts > 0)
        text_printf(out, "It has begun and was interrupted: %s\n", f->message[0] ? f->message : "its run ended");
    if (f->has_checkpoint)
        text_printf(out, "It goes on from its checkpoint of step %" PRId64 " of %" PRId64 ".\n", f->checkpoint_step,
                    f->total_steps);
    say_run(out, f);
}

static void say_decision(struct text *out, const struct facts *f, const char *verb)
{
    if (text_equal(f->rule, "person"))
        text_printf(out, "A person canceled it at step %" PRId64 ": %s\n", f->steps, f->why);
    else if (f->rule[0])
        text_printf(out, "The rule '%s' %s it at step %" PRId64 " of %" PRId64 ": %s\n", f->rule, verb, f->steps,
                    f->total_steps, f->why);
    if (f->message[0] && !text_equal(f->message, f->why))
        text_printf(out, "%s\n", f->message);
}

static void say_failed(struct text *out, const struct facts *f)
{
    static const char *const advice[TRIAL_REASON_COUNT] = {
        [REASON_DIVERGED] = "A smaller learning_rate, or max_grad_norm, is what helps most often.",
        [REASON_OUT_OF_MEMORY] = "A smaller batch_size or max_tokens, or a larger resources.memory.",
        [REASON_TIMEOUT] = "A larger resources.time, or fewer epochs.",
        [REASON_CRASHED] = "The last lines of its output say more; `nightsweep doctor` looks the machine over.",
        [REASON_BAD_DATA] = "`nightsweep data` looks the files over.",
        [REASON_INFEASIBLE] = "The model cannot do what this configuration asks for."};
    enum trial_reason reason = REASON_NONE;
    text_printf(out, "%s: %s\n", f->reason, f->message);
    text_printf(out, "%" PRId64 " of %" PRId64 " attempts failed.\n", f->failures, f->attempts);
    if (trial_reason_parse(f->reason, &reason, NULL) == 0 && advice[reason])
        text_printf(out, "%s\n", advice[reason]);
    if (trial_reason_is_deterministic(reason))
        text_add(out, "Another attempt would end the same way, so it was not repeated.\n");
    else
        text_printf(out, "`nightsweep retry %s/%" PRId64 "` lets it be tried again.\n", f->sweep, f->number);
}

static void say(struct text *out, const struct facts *f)
{
    switch (f->state) {
    case TRIAL_WAITING:
        say_waiting(out, f);
        break;
    case TRIAL_RUNNING:
        text_printf(out, "It runs on %s, slot %" PRId64 ", step %" PRId64 " of %" PRId64 ".\n", f->worker, f->slot,
                    f->steps, f->total_steps);
        break;
    case TRIAL_PAUSED:
        say_decision(out, f, "paused");
        text_add(out, "It goes on if the rule promotes it, and is pruned otherwise.\n");
        break;
    case TRIAL_PRUNED:
        say_decision(out, f, "ended");
        break;
    case TRIAL_FAILED:
        say_failed(out, f);
        break;
    case TRIAL_COMPLETE:
        text_printf(out, "It ran to its end: %s %.6g", f->metric, f->value);
        if (f->rank > 0)
            text_printf(out, ", place %" PRId64 " of %" PRId64 ".\n", f->rank, f->others);
        else
            text_add(out, ". It is the baseline that checks are compared with, and takes no part in the comparison.\n");
        if (f->message[0])
            text_printf(out, "%s\n", f->message);
        break;
    }
}

/* Output -------------------------------------------------------------------------------------------------------------
 */

static int add_text(struct text *out, struct store *store, const struct facts *f, const char *why, int64_t id,
                    struct err *err)
{
    struct text body = {0};
    int rc = 0;
    text_printf(out, "trial %" PRId64 " of sweep '", f->number);
    printable_add(out, f->sweep);
    text_printf(out, "' (%s, ", f->method);
    printable_add(out, f->parameters);
    text_printf(out, ") is %s\n", trial_state_name(f->state));
    printable_add_lines(out, why, "  ");
    for (int i = 0; i < N_SECTIONS && rc == 0; i++) {
        rc = report_add_text(&body, store, &sections[i], id, err);
    }
    if (rc == 0 && body.len > 0) {
        text_add_char(out, '\n');
        text_add_n(out, body.data, body.len);
    }
    text_done(&body);
    return rc;
}

static int add_json(struct text *out, struct store *store, const struct facts *f, const char *why, int64_t id,
                    struct err *err)
{
    int rc = 0;
    text_add(out, "{\"v\":1,\"sweep\":");
    printable_add_json(out, f->sweep);
    text_printf(out, ",\"trial\":%" PRId64 ",\"state\":\"%s\",\"why\":[", f->number, trial_state_name(f->state));
    for (const char *line = why, *end; *line; line = end + 1) {
        struct text sentence = {0};
        end = strchr(line, '\n');
        text_add_n(&sentence, line, (size_t)(end - line));
        text_add(out, line == why ? "" : ",");
        printable_add_json(out, sentence.data ? sentence.data : "");
        text_done(&sentence);
    }
    text_add_char(out, ']');
    for (int i = 0; i < N_SECTIONS && rc == 0; i++) {
        text_add_char(out, ',');
        rc = report_add_json(out, store, &sections[i], id, err);
    }
    text_add(out, "}\n");
    return rc;
}

static int explain(struct text *out, const struct command_line *line, struct store *store, int64_t id, struct err *err)
{
    struct facts facts = {.line = line};
    struct text why = {0};
    sqlite3_stmt *row = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(store_database(store), query, -1, &row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "'%s': %s", line->store, sqlite3_errmsg(store_database(store)));
    sqlite3_bind_int64(row, 1, id);
    if (sqlite3_step(row) != SQLITE_ROW)
        rc = err_set(err, ERR_STORE, "'%s': the trial cannot be read", line->store);
    if (rc == 0)
        rc = read_facts(&facts, row, err);
    if (rc == 0 && facts.state == TRIAL_WAITING && !control_find_state(line->store, &facts.run))
        facts.run = NULL;
    if (rc == 0) {
        say(&why, &facts);
        rc = (command_has(line, "json") ? add_json : add_text)(out, store, &facts, why.data ? why.data : "", id, err);
    }
    json_free(facts.run);
    text_done(&why);
    sqlite3_finalize(row);
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    return choice_run_trial(line, "explain", explain, err);
}

static const struct command_option options[] = {
    {"sweep", "SWEEP", "the trial's sweep; not needed when the store has only one"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_explain = {
    .name = "explain",
    .arguments = "TRIAL",
    .summary = "why a trial waits, pauses, was pruned or failed",
    .description =
        "TRIAL is a number, or SWEEP/NUMBER. Says in words what keeps a waiting trial (no run, a paused run, trials "
        "before "
        "it, an attempt that is repeated), which rule paused or ended one, at which step and why, or how it failed and "
        "what usually helps; then its decisions, its attempts and the last lines of the failed one.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
