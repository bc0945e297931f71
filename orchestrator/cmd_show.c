/* `nightsweep show TRIAL`: everything the store has about one trial. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/choice.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/report.h"

static const struct report_section sections[] = {
    {"trial", "trial", REPORT_RECORD,
     "SELECT s.name AS sweep, t.number AS trial, c.number AS configuration, c.role, t.seed, t.state, t.reason, "
     "t.message,"
     " t.value, o.metric AS objective, t.steps, t.total_steps, t.trained_parameters, t.stored_bytes, t.flops,"
     " t.identity, t.created_at, t.finished_at"
     " FROM trial t JOIN sweep s ON s.id = t.sweep_id JOIN configuration c ON c.id = t.configuration_id"
     " LEFT JOIN objective o ON o.sweep_id = s.id AND o.position = 0 WHERE t.id = ?1"},
    {"parameters", "parameters", REPORT_TABLE,
     "SELECT j.key AS name, j.value FROM trial t JOIN configuration c ON c.id = t.configuration_id,"
     " json_each(c.parameters) j WHERE t.id = ?1"},
    {"settings", "settings", REPORT_TABLE,
     "SELECT j.key AS name, j.value FROM trial t JOIN configuration c ON c.id = t.configuration_id,"
     " json_each(c.settings) j WHERE t.id = ?1"},
    {"attempts", "attempts", REPORT_TABLE,
     "SELECT number AS attempt, state, reason, worker, slot, resumed_step, bit_exact, exit_status, signal, seconds,"
     " tokens_per_second, peak_bytes, started_at, ended_at, message FROM attempt WHERE trial_id = ?1 ORDER BY number"},
    {"environments", "environments", REPORT_TABLE,
     "SELECT a.number AS attempt, e.program_version, e.git_commit, e.blas_version, e.blas_core, e.cpu, e.kernel_level,"
     " e.compute FROM attempt a JOIN environment e ON e.id = a.environment_id WHERE a.trial_id = ?1 ORDER BY a.number"},
    {"hashes", "hashes of the last attempt's inputs", REPORT_RECORD,
     "SELECT e.model_sha256 AS model, e.tokenizer_sha256 AS tokenizer, e.data_sha256 AS data, e.definition_sha256 AS"
     " definition FROM attempt a JOIN environment e ON e.id = a.environment_id WHERE a.trial_id = ?1"
     " ORDER BY a.number DESC LIMIT 1"},
    {"inputs", "trained on", REPORT_TABLE,
     "SELECT i.role AS input, i.license, i.license_source AS said_by, i.sha256, i.path FROM input i JOIN trial t ON"
     " t.sweep_id = i.sweep_id WHERE t.id = ?1 ORDER BY i.role <> 'model', i.role <> 'train', i.role <> 'validation'"},
    {"origins", "starts from", REPORT_TABLE,
     "SELECT o.role, o.from_sweep AS sweep, o.from_trial AS trial, o.sha256, o.path FROM origin o JOIN trial t ON"
     " t.sweep_id = o.sweep_id AND o.seed IN ('all', CAST(t.seed AS TEXT)) WHERE t.id = ?1 ORDER BY o.role"},
    {"evaluations", "evaluations", REPORT_TABLE,
     "SELECT split, step, CASE is_final WHEN 1 THEN 'best' ELSE '' END AS of, n_items,"
     " json_extract(metrics, '$.accuracy') AS accuracy, json_extract(metrics, '$.macro_f1') AS macro_f1,"
     " json_extract(metrics, '$.loss') AS loss, json_extract(metrics, '$.ece') AS ece"
     " FROM evaluation WHERE trial_id = ?1 ORDER BY is_final, step, split DESC"},
    {"evaluation_metrics", NULL, REPORT_TABLE,
     "SELECT split, step, is_final, metrics AS metrics_json, item_set_sha256 FROM evaluation WHERE trial_id = ?1"
     " ORDER BY is_final, step, split DESC"},
    {"checks", "checks before and after", REPORT_TABLE,
     "SELECT check_name AS name, metric, n_items, before, after, delta, low, high FROM bias_check WHERE trial_id = ?1"
     " ORDER BY id"},
    {"last_points", "last points of its curves", REPORT_TABLE,
     "SELECT n.name AS metric, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
     " WHERE m.trial_id = ?1 AND m.step = (SELECT MAX(l.step) FROM metric l WHERE l.trial_id = ?1 AND l.name_id ="
     " m.name_id) ORDER BY n.name"},
    {"decisions", "decisions", REPORT_TABLE,
     "SELECT created_at, rule, step, action, reason FROM decision WHERE trial_id = ?1 ORDER BY id"},
    {"events", "events", REPORT_TABLE, "SELECT created_at, kind, message FROM event WHERE trial_id = ?1 ORDER BY id"},
    {"checkpoint", "checkpoint", REPORT_RECORD, "SELECT step, path, bytes, sha256 FROM checkpoint WHERE trial_id = ?1"},
    {"artifacts", "artifacts", REPORT_TABLE,
     "SELECT a.kind, s.output_folder || '/' || a.path AS path, a.bytes, a.sha256 FROM artifact a JOIN trial t ON"
     " t.id = a.trial_id JOIN sweep s ON s.id = t.sweep_id WHERE a.trial_id = ?1 ORDER BY a.path"},
    {"logs", "last lines of output", REPORT_LINES,
     "SELECT 'attempt ' || number AS attempt, log_tail FROM attempt WHERE trial_id = ?1 AND log_tail <> ''"
     " ORDER BY number"},
};

enum { N_SECTIONS = sizeof(sections) / sizeof(sections[0]) };

static int write_sections(struct text *out, const struct command_line *line, struct store *store, int64_t id,
                          struct err *err)
{
    bool is_json = command_has(line, "json");
    int rc = 0;
    text_add(out, is_json ? "{\"v\":1," : "");
    for (int i = 0; i < N_SECTIONS && rc == 0; i++) {
        if (is_json && i > 0)
            text_add_char(out, ',');
        rc = is_json ? report_add_json(out, store, &sections[i], id, err)
                     : report_add_text(out, store, &sections[i], id, err);
    }
    text_add(out, is_json ? "}\n" : "");
    return rc;
}

static int run(const struct command_line *line, struct err *err)
{
    return choice_run_trial(line, "show", write_sections, err);
}

static const struct command_option options[] = {
    {"sweep", "SWEEP", "the trial's sweep; not needed when the store has only one"},
    {"json", NULL, "write one JSON object, numbers with all their digits"},
    {NULL, NULL, NULL},
};

const struct command command_show = {
    .name = "show",
    .arguments = "TRIAL",
    .summary = "everything about one trial",
    .description =
        "TRIAL is the number that status, the page and the store's views give it, or SWEEP/NUMBER.\n\n"
        "Shows its configuration, state and reason, its attempts with the environment each ran in, its evaluations, "
        "the "
        "checks before and after training, the decisions about it, its files, and the last lines of its output.",
    .options = options,
    .least_arguments = 1,
    .most_arguments = 1,
    .run = run,
};
