/* Reading the job. */
#include "trainer/trial_job.h"

#include <string.h>

#include "common/checks.h"
#include "common/json.h"
#include "common/settings.h"
#include "trainer/task.h"

int trial_job_read_kind(struct trial_job *job, struct err *err)
{
    const char *name;
    int rc = json_get_string(job->task, "kind", "task", &name, err);
    if (rc < 0)
        return rc;
    job->task_kind = task_kind_find(name);
    if (!job->task_kind)
        return err_set(err, ERR_UNSUPPORTED, "task.kind: '%s', %s was expected", name, task_list(task_names()));
    job->model_task = job->task_kind->model_task;
    return job->task_kind->head ? job->task_kind->head(job->model, &job->model_task, err) : 0;
}

static int read_task(struct trial_job *job, struct err *err)
{
    int rc = json_get_object(job->root, "task", "job", &job->task, err);
    if (rc == 0)
        rc = trial_job_read_kind(job, err);
    if (rc == 0)
        rc = json_get_string(job->task, "train", "task", &job->train, err);
    if (rc == 0)
        rc = json_opt_string(job->task, "validation", "task", &job->validation, err);
    return rc < 0 ? rc : json_opt_string(job->task, "test", "task", &job->test, err);
}

static int read_objective(struct trial_job *job, struct err *err)
{
    const cJSON *objective = NULL;
    const struct task_info *info = task_find(job->task_kind->name);
    const char *const *reports = task_reports(info, true), *metric = reports[0];
    int rc = json_opt_object(job->root, "objective", "job", &objective, err);
    if (rc == 0)
        rc = json_opt_string(objective, "metric", "objective", &metric, err);
    if (rc < 0)
        return rc;
    if (strncmp(metric, "validation/", 11) != 0)
        return err_set(err, ERR_USAGE, "objective.metric: '%s', a metric of validation was expected", metric);
    job->metric = metric + 11;
    const struct task_metric *known = task_metric(info, job->metric);
    if (!known || !known->is_curve)
        return err_set(err, ERR_USAGE, "objective.metric: '%s', %s was expected of the task %s", metric,
                       task_list(reports), info->name);
    const char *goal = known->is_maximized ? "maximize" : "minimize";
    rc = json_opt_string(objective, "goal", "objective", &goal, err);
    if (rc < 0)
        return rc;
    job->is_maximized = strcmp(goal, "maximize") == 0;
    if (!job->is_maximized && strcmp(goal, "minimize") != 0)
        return err_set(err, ERR_USAGE, "objective.goal: '%s', maximize or minimize was expected", goal);
    return 0;
}

static int read_check(struct trial_check *check, const cJSON *item, struct err *err)
{
    const struct check_info *info = NULL;
    *check = (struct trial_check){.options = item};
    int rc = json_get_string(item, "name", "checks", &check->name, err);
    if (rc == 0)
        rc = json_get_string(item, "kind", "checks", &check->kind, err);
    if (rc == 0 && !(info = check_find(check->kind))) {
        const char *nearest = text_nearest(check->kind, check_names());
        rc = err_set(err, ERR_UNSUPPORTED, "checks: kind '%s' is not built in%s%s%s", check->kind,
                     nearest ? "; nearest is '" : "", nearest ? nearest : "", nearest ? "'" : "");
    }
    if (rc == 0 && info->has_file)
        rc = json_get_string(item, "file", "checks", &check->file, err);
    for (const struct check_option *option = rc == 0 ? info->options : NULL; option && option->name && rc == 0;
         option++) {
        const char *value = NULL;
        rc = option->is_required ? json_get_string(item, option->name, "checks", &value, err)
                                 : json_opt_string(item, option->name, "checks", &value, err);
    }
    return rc;
}

static int read_checks(struct trial_job *job, struct err *err)
{
    const cJSON *checks = NULL;
    int rc = json_opt_array(job->root, "checks", "job", &checks, err);
    for (const cJSON *item = checks ? checks->child : NULL; item && rc == 0; item = item->next) {
        struct trial_check *check = &job->checks[job->n_checks];
        if (job->n_checks == TRIAL_JOB_MAX_CHECKS)
            return err_set(err, ERR_USAGE, "checks: more than %d", TRIAL_JOB_MAX_CHECKS);
        rc = read_check(check, item, err);
        const char *kind = job->task_kind->name;
        const char *refusal = rc == 0 ? check_refuses_task(check_find(check->kind), kind) : NULL;
        if (refusal)
            rc = err_set(err, ERR_UNSUPPORTED, "checks: '%s' does not apply: %s", check->name, refusal);
        job->n_checks++;
    }
    return rc;
}

static int read_limits(struct trial_job *job, struct err *err)
{
    const cJSON *limits = NULL;
    int64_t memory = 0, threads = 1;
    int rc = json_opt_object(job->root, "limits", "job", &limits, err);
    if (rc == 0)
        rc = json_opt_int64(limits, "memory_bytes", "limits", &memory, err);
    if (rc == 0)
        rc = json_opt_int64(limits, "threads", "limits", &threads, err);
    if (rc == 0)
        rc = json_opt_double(job->root, "checkpoint_seconds", "job", &job->checkpoint_seconds, err);
    if (rc == 0)
        rc = json_opt_int64(job->root, "stop_after_steps", "job", &job->stop_after_steps, err);
    if (rc == 0)
        rc = json_opt_int64(job->root, "pause_at_step", "job", &job->pause_at_step, err);
    if (rc == 0)
        rc = json_opt_bool(job->root, "waits", "job", &job->waits, err);
    if (rc == 0 && (memory < 0 || threads < 1 || threads > 1024 || job->stop_after_steps < 0 || job->pause_at_step < 0))
        rc = err_set(err, ERR_USAGE, "limits: a number is out of range");
    job->memory_bytes = (uint64_t)memory;
    job->threads = (int)threads;
    return rc;
}

/* Resolved again: a job written by hand may leave defaults out, and nothing that does not apply gets in. */
static int resolve_settings(struct trial_job *job, struct err *err)
{
    const cJSON *given = json_get(job->root, "settings");
    cJSON *resolved = NULL;
    int rc = settings_resolve(given, "settings", &resolved, err);
    if (rc < 0)
        return rc;
    cJSON_DeleteItemFromObjectCaseSensitive(job->root, "settings");
    if (!json_put(job->root, "settings", resolved))
        return err_set(err, ERR_NOMEM, "no memory for the settings");
    job->settings = resolved;
    for (const cJSON *item = resolved->child; item; item = item->next) {
        bool is_off = cJSON_IsString(item) && text_equal(item->valuestring, "none");
        const char *why = is_off ? NULL : task_refuses_setting(task_find(job->task_kind->name), item->string);
        if (why)
            return err_set(err, ERR_UNSUPPORTED, "settings.%s: does not apply to the task %s: %s", item->string,
                           job->task_kind->name, why);
    }
    return 0;
}

static int read_header(struct trial_job *job, struct err *err)
{
    const char *type;
    const cJSON *model;
    int64_t version, seed = 0;
    int rc = json_get_int64(job->root, "v", "job", &version, err);
    if (rc == 0 && version != 1)
        rc = err_set(err, ERR_UNSUPPORTED, "job: protocol version %lld, this program speaks 1", (long long)version);
    if (rc == 0)
        rc = json_get_string(job->root, "type", "job", &type, err);
    if (rc == 0 && strcmp(type, "job") != 0)
        rc = err_set(err, ERR_FORMAT, "job: type '%s', job was expected", type);
    if (rc == 0)
        rc = json_opt_int64(job->root, "attempt", "job", &job->attempt, err);
    if (rc == 0)
        rc = json_opt_string(job->root, "identity", "job", &job->identity, err);
    if (rc == 0)
        rc = json_get_string(job->root, "output", "job", &job->output, err);
    if (rc == 0)
        rc = json_opt_string(job->root, "resume", "job", &job->resume, err);
    if (rc == 0)
        rc = json_opt_string(job->root, "parent", "job", &job->parent, err);
    if (rc == 0)
        rc = json_get_object(job->root, "model", "job", &model, err);
    if (rc == 0)
        rc = json_get_string(model, "path", "model", &job->model, err);
    if (rc == 0)
        rc = json_opt_int64(job->root, "seed", "job", &seed, err);
    if (rc == 0 && seed < 0)
        rc = err_set(err, ERR_USAGE, "job: seed %lld is below 0", (long long)seed);
    job->seed = (uint64_t)seed;
    return rc < 0 ? rc : json_opt_object(job->root, "hashes", "job", &job->hashes, err);
}

int trial_job_parse(struct trial_job *job, const char *text, size_t n, struct err *err)
{
    *job = (struct trial_job){.identity = "", .checkpoint_seconds = 30, .threads = 1};
    int rc = json_parse(text, n, &job->root, err);
    if (rc == 0 && !cJSON_IsObject(job->root))
        rc = err_set(err, ERR_FORMAT, "job: %s was found, an object was expected", json_type_name(job->root));
    if (rc == 0)
        rc = read_header(job, err);
    if (rc == 0)
        rc = read_task(job, err);
    if (rc == 0)
        rc = resolve_settings(job, err);
    if (rc == 0)
        rc = read_objective(job, err);
    if (rc == 0)
        rc = read_checks(job, err);
    return rc < 0 ? rc : read_limits(job, err);
}

void trial_job_done(struct trial_job *job)
{
    json_free(job->root);
    *job = (struct trial_job){0};
}
