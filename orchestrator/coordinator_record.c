/* A trainer's records become rows. Fields are those of docs/protocol.md; a record that lacks one is refused with its
 * name, and the attempt with it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/checks.h"
#include "common/crash.h"
#include "common/file.h"
#include "common/log.h"
#include "orchestrator/coordinator_internal.h"

#define STEP_MAX 9007199254740992.0 /* 2^53: whole numbers are exact up to there */

typedef int (*record_fn)(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err);

static int read_environment(const struct coordinator *c, const cJSON *record, struct store_environment *e,
                            struct err *err)
{
    const cJSON *fingerprint = NULL, *hashes = NULL;
    int rc = json_get_object(record, "fingerprint", "started", &fingerprint, err);
    if (rc == 0)
        rc = json_get_object(record, "hashes", "started", &hashes, err);
    if (rc < 0)
        return rc;
    const struct {
        const cJSON *object;
        const char *key, **out;
    } members[] = {
        {fingerprint, "program_version", &e->program_version},
        {fingerprint, "git_commit", &e->git_commit},
        {fingerprint, "blas_version", &e->blas_version},
        {fingerprint, "blas_core", &e->blas_core},
        {fingerprint, "cpu", &e->cpu},
        {fingerprint, "kernel_level", &e->kernel_level},
        {fingerprint, "compute", &e->compute},
        {hashes, "model", &e->model_sha256},
        {hashes, "tokenizer", &e->tokenizer_sha256},
        {hashes, "data", &e->data_sha256},
    };
    for (size_t i = 0; rc == 0 && i < sizeof(members) / sizeof(members[0]); i++)
        rc = json_get_string(members[i].object, members[i].key, "started", members[i].out, err);
    e->definition_sha256 = c->definition->sha256;
    return rc;
}

static int on_started(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    struct store_op op = {.kind = STORE_START_ATTEMPT};
    struct store_start_attempt *start = &op.start_attempt;
    int64_t total = 0, trained = 0;
    double flops = 0;
    const char *split = NULL;
    start->attempt_id = slot->attempt;
    int rc = read_environment(c, record, &start->environment, err);
    if (rc == 0)
        rc = json_get_int64(record, "resumed_step", "started", &start->resumed_step, err);
    if (rc == 0)
        rc = json_get_bool(record, "bit_exact", "started", &start->is_bit_exact, err);
    if (rc == 0)
        rc = json_get_int64(record, "total_steps", "started", &total, err);
    if (rc == 0)
        rc = json_get_int64(record, "trained_parameters", "started", &trained, err);
    if (rc == 0)
        rc = json_opt_double(record, "flops", "started", &flops, err);
    if (rc == 0)
        rc = json_opt_string(record, "validation_split", "started", &split, err);
    if (rc < 0)
        return rc;
    start->total_steps = known_int(total);
    start->trained_parameters = known_int(trained);
    if (flops > 0)
        start->flops = known_real(flops);
    slot->trial->trained_parameters = trained;
    study_note_length(c, slot->trial, total);
    slot->shown.total_steps = total;
    slot->shown.step = slot->first_step = start->resumed_step;
    if (start->resumed_step > 0)
        coordinator_event(c, slot->trial, "resumed", "went on from step %" PRId64 "%s", start->resumed_step,
                          start->is_bit_exact ? "" : ", on another kind of machine or build: not bit-exact");
    else if (split && !text_equal(split, "file"))
        coordinator_event(c, slot->trial, "validation_split", "taken from the training file: %s", split);
    coordinator_submit(c, &op, 1, NULL, NULL);
    return 0;
}

static int read_point(const cJSON *item, struct store_point *point, struct err *err)
{
    const cJSON *name = cJSON_IsArray(item) ? item->child : NULL, *step = name ? name->next : NULL;
    const cJSON *value = step ? step->next : NULL;
    if (!cJSON_IsString(name) || !cJSON_IsNumber(step) || !value || (!cJSON_IsNumber(value) && !cJSON_IsNull(value)))
        return err_set(err, ERR_FORMAT, "points: [name, step, value] was expected");
    if (!(step->valuedouble >= 0 && step->valuedouble <= STEP_MAX) || step->valuedouble != floor(step->valuedouble))
        return err_set(err, ERR_FORMAT, "points: step %g is no whole number from 0 to 2^53", step->valuedouble);
    *point = (struct store_point){.name = name->valuestring,
                                  .step = (int64_t)step->valuedouble,
                                  .value = cJSON_IsNumber(value) ? value->valuedouble : (double)NAN};
    return 0;
}

/* What the display shows of a point. */
static void show_point(struct coordinator_slot *slot, const struct store_point *point)
{
    if (strncmp(point->name, "train/", 6) != 0)
        return;
    if (strcmp(point->name, "train/loss") == 0)
        slot->shown.loss = point->value;
    if (point->step > slot->shown.step)
        slot->shown.step = point->step;
}

static void submit_points(struct coordinator *c, struct coordinator_slot *slot, const struct store_point *points,
                          size_t n)
{
    const struct store_op op = {.kind = STORE_POINTS,
                                .points = {.attempt_id = slot->attempt, .points = points, .n = n}};
    for (size_t i = 0; i < n; i++)
        show_point(slot, &points[i]);
    if (n > 0)
        coordinator_submit(c, &op, 1, NULL, NULL);
}

static int on_points(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    const cJSON *list = NULL;
    int rc = json_get_array(record, "points", "points", &list, err);
    if (rc < 0)
        return rc;
    size_t n = (size_t)cJSON_GetArraySize(list), i = 0;
    struct store_point *points = calloc(n ? n : 1, sizeof(*points));
    if (!points)
        return err_set(err, ERR_NOMEM, "no memory for %zu points", n);
    for (const cJSON *item = list->child; item && rc == 0; item = item->next, i++)
        rc = read_point(item, &points[i], err);
    if (rc == 0)
        submit_points(c, slot, points, n);
    free(points);
    return rc;
}

int record_take_points(struct coordinator *c, struct coordinator_slot *slot, const struct points *points,
                       struct err *err)
{
    struct store_point *own = calloc(points->n ? points->n : 1, sizeof(*own));
    if (!own)
        return err_set(err, ERR_NOMEM, "no memory for %zu points", points->n);
    for (size_t i = 0; i < points->n; i++)
        own[i] = (struct store_point){points->points[i].name, points->points[i].step, points->points[i].value};
    submit_points(c, slot, own, points->n);
    free(own);
    return 0;
}

/* Validation in the course of training, as the study knows metrics: "validation/accuracy". */
static int report(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics,
                  struct err *err)
{
    cJSON *named = cJSON_CreateObject();
    char name[128];
    for (const cJSON *item = named ? metrics->child : NULL; item; item = item->next) {
        snprintf(name, sizeof(name), "validation/%s", item->string);
        if (cJSON_IsNumber(item) && !cJSON_AddNumberToObject(named, name, item->valuedouble))
            break;
    }
    if (!named)
        return err_set(err, ERR_NOMEM, "no memory for an evaluation");
    study_report(c, slot, step, named);
    cJSON_Delete(named);
    return 0;
}

static int on_evaluation(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    struct store_op op = {.kind = STORE_EVALUATION};
    struct store_evaluation *e = &op.evaluation;
    const cJSON *metrics = NULL;
    const char *items = NULL;
    unsigned char *bytes = NULL;
    struct text text = {0};
    e->attempt_id = slot->attempt;
    int rc = json_get_string(record, "split", "evaluation", &e->split, err);
    if (rc == 0)
        rc = json_get_int64(record, "step", "evaluation", &e->step, err);
    if (rc == 0)
        rc = json_get_bool(record, "is_final", "evaluation", &e->is_final, err);
    if (rc == 0)
        rc = json_get_int64(record, "n_items", "evaluation", &e->n_items, err);
    if (rc == 0)
        rc = json_get_object(record, "metrics", "evaluation", &metrics, err);
    if (rc == 0)
        rc = json_opt_string(record, "item_set_sha256", "evaluation", &e->item_set_sha256, err);
    if (rc == 0)
        rc = json_opt_string(record, "items", "evaluation", &items, err);
    if (rc == 0 && items)
        rc = text_decode_base64(items, strlen(items), &bytes, &e->items_bytes, err);
    if (rc == 0) {
        json_add(&text, metrics);
        e->items = bytes;
        e->metrics = text.data;
        rc = text.failed ? err_set(err, ERR_NOMEM, "no memory for an evaluation") : 0;
    }
    if (rc == 0)
        coordinator_submit(c, &op, 1, NULL, NULL);
    if (rc == 0 && c->study && !e->is_final && strcmp(e->split, "validation") == 0)
        rc = report(c, slot, e->step, metrics, err);
    text_done(&text);
    free(bytes);
    return rc;
}

/* "bias/flip_rate": what constraints on results look at. */
static void add_outcome(struct coordinator_slot *slot, const char *kind, const cJSON *metric)
{
    const struct check_info *info = kind ? check_find(kind) : NULL;
    char name[128];
    snprintf(name, sizeof(name), "%s/%s", info ? info->group : "bias", metric->string);
    if (!slot->outcomes)
        slot->outcomes = cJSON_CreateObject();
    if (slot->outcomes && !json_get(slot->outcomes, name))
        cJSON_AddNumberToObject(slot->outcomes, name, metric->valuedouble);
}

/* One row a metric. The items lie with the first metric: what fine-tuning added is measured pair by pair against the
 * baseline once both are there (bias_before.h). */
static int on_check(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    struct store_bias_check check = {.attempt_id = slot->attempt};
    const cJSON *metrics = NULL, *items = json_get(record, "items");
    const char *kind = NULL;
    struct text text = {0};
    int rc = json_get_string(record, "name", "check", &check.check_name, err);
    if (rc == 0)
        rc = json_opt_string(record, "kind", "check", &kind, err);
    if (rc == 0)
        rc = json_get_int64(record, "n_items", "check", &check.n_items, err);
    if (rc == 0)
        rc = json_get_object(record, "metrics", "check", &metrics, err);
    if (rc == 0)
        rc = json_opt_string(record, "item_set_sha256", "check", &check.item_set_sha256, err);
    if (rc < 0)
        return rc;
    if (cJSON_IsArray(items))
        json_add(&text, items);
    check.items = text.failed ? NULL : text.data;
    for (const cJSON *metric = metrics->child; metric; metric = metric->next) {
        if (!cJSON_IsNumber(metric))
            continue;
        check.metric = metric->string;
        check.after = metric->valuedouble;
        add_outcome(slot, kind, metric);
        const struct store_op op = {.kind = STORE_BIAS_CHECK, .bias_check = check};
        coordinator_submit(c, &op, 1, NULL, NULL);
        check.items = NULL;
    }
    text_done(&text);
    return 0;
}

/* A committed checkpoint: the file before it goes, and the trial would go on from this one. */
struct written {
    struct coordinator *c;
    struct live_trial *trial;
    int64_t step;
    char sha256[HASH_HEX_SIZE];
    char path[];
};

static void on_checkpoint_written(const struct store_result *result, void *context)
{
    struct written *written = context;
    struct err err = {0};
    if (result->rc == 0) {
        free(written->trial->checkpoint);
        written->trial->checkpoint = strdup(written->path);
        written->trial->checkpoint_step = written->step;
        free(written->trial->checkpoint_sha256);
        written->trial->checkpoint_sha256 = written->sha256[0] ? strdup(written->sha256) : NULL;
        crash_at(CRASH_CHECKPOINT_REPLACED);
        if (result->replaced_path && file_remove_tree(result->replaced_path, &err) < 0)
            log_debug("coordinator", "%s", err.message);
        crash_at(CRASH_CHECKPOINT_REMOVED);
    } else if (result->rc != ERR_CANCELED) {
        err_set(&err, result->rc, "%s", result->message);
        coordinator_fail(written->c, result->rc, &err);
    }
    free(written);
}

/* A checkpoint is the file that its attempt and step name in the trial's folder, and nothing else: the coordinator will
 * remove it when it counts no more. */
static int check_checkpoint_path(const struct coordinator *c, const struct coordinator_slot *slot,
                                 const struct store_checkpoint *checkpoint, struct err *err)
{
    struct text expected = {0};
    char *folder = attempt_folder(c, slot->trial);
    int rc = 0;
    if (folder)
        text_printf(&expected, "%s/%" PRId64 "-%" PRId64 ".checkpoint", folder, slot->attempt, checkpoint->step);
    if (!folder || expected.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for a checkpoint's path");
    else if (strcmp(checkpoint->path, expected.data) != 0)
        rc = err_set(err, ERR_FORMAT, "checkpoint: path '%.500s', '%s' was expected", checkpoint->path, expected.data);
    text_done(&expected);
    free(folder);
    return rc;
}

static int on_checkpoint(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    struct store_op op = {.kind = STORE_CHECKPOINT};
    struct store_checkpoint *checkpoint = &op.checkpoint;
    checkpoint->attempt_id = slot->attempt;
    int rc = json_get_int64(record, "step", "checkpoint", &checkpoint->step, err);
    if (rc == 0)
        rc = json_get_string(record, "path", "checkpoint", &checkpoint->path, err);
    if (rc == 0)
        rc = json_get_int64(record, "bytes", "checkpoint", &checkpoint->bytes, err);
    if (rc == 0)
        rc = json_get_string(record, "sha256", "checkpoint", &checkpoint->sha256, err);
    if (rc == 0)
        rc = check_checkpoint_path(c, slot, checkpoint, err);
    if (rc < 0)
        return rc;
    size_t size = strlen(checkpoint->path) + 1;
    struct written *written = malloc(sizeof(*written) + size);
    if (!written)
        return err_set(err, ERR_NOMEM, "no memory for a checkpoint's path");
    *written = (struct written){.c = c, .trial = slot->trial, .step = checkpoint->step};
    memcpy(written->path, checkpoint->path, size);
    if (strlen(checkpoint->sha256) + 1 == HASH_HEX_SIZE)
        memcpy(written->sha256, checkpoint->sha256, HASH_HEX_SIZE);
    if (!study_report_held(c, slot, &op, on_checkpoint_written, written))
        coordinator_submit(c, &op, 1, on_checkpoint_written, written);
    return 0;
}

/* A path of a trainer stays below its trial's folder. */
static bool is_below(const char *path)
{
    if (path[0] == '/' || path[0] == '\0')
        return false;
    for (const char *part = path; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || part[2] == '\0'))
            return false;
    return true;
}

static int on_artifact(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    struct store_op op = {.kind = STORE_ARTIFACT};
    struct store_artifact *artifact = &op.artifact;
    struct text path = {0};
    const char *below = NULL;
    artifact->attempt_id = slot->attempt;
    int rc = json_get_string(record, "kind", "artifact", &artifact->kind, err);
    if (rc == 0)
        rc = json_get_string(record, "path", "artifact", &below, err);
    if (rc == 0 && !is_below(below))
        rc = err_set(err, ERR_FORMAT, "artifact: path '%s' is not below the trial's folder", below);
    if (rc == 0)
        rc = json_get_int64(record, "bytes", "artifact", &artifact->bytes, err);
    if (rc == 0)
        rc = json_get_string(record, "sha256", "artifact", &artifact->sha256, err);
    if (rc < 0)
        return rc;
    text_printf(&path, "%" PRId64 "/%s", slot->trial->stored->number, below);
    artifact->path = path.data;
    if (path.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for an artifact's path");
    else
        coordinator_submit(c, &op, 1, NULL, NULL);
    text_done(&path);
    return rc;
}

static int on_progress(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    const char *message = NULL;
    int rc = json_opt_string(record, "message", "progress", &message, err);
    if (rc == 0)
        rc = json_opt_int64(record, "step", "progress", &slot->shown.step, err);
    if (rc == 0)
        rc = json_opt_int64(record, "total_steps", "progress", &slot->shown.total_steps, err);
    if (rc == 0)
        rc = json_opt_double(record, "tokens_per_second", "progress", &slot->shown.tokens_per_second, err);
    if (rc == 0)
        rc = json_opt_double(record, "loss", "progress", &slot->shown.loss, err);
    if (rc == 0 && message) {
        coordinator_event(c, slot->trial, "checkpoint_failed", "%.900s", message);
        progress_say(c->options->progress, "checkpoint_failed",
                     "trial %" PRId64 " goes on without a checkpoint: %.500s", slot->trial->stored->number, message);
    }
    return rc;
}

static int on_stopped(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    (void)record;
    (void)err;
    if (slot->held_report)
        attempt_fail(c, slot, REASON_CRASHED, "no checkpoint could be written at the end of its generation");
    else
        attempt_suspend(c, slot, ATTEMPT_STOPPED, c->stop_cause, "stopped as asked; goes on from its checkpoint");
    return 0;
}

/* The objectives' values; ERR_NUMERIC names the one that is missing or no number. */
static int read_values(const struct coordinator *c, const cJSON *record, double *values, struct err *err)
{
    const cJSON *objectives = NULL;
    int rc = json_get_object(record, "objectives", "finished", &objectives, err);
    for (int i = 0; i < c->definition->n_objectives && rc == 0; i++) {
        const char *metric = c->definition->objectives[i].metric;
        const cJSON *value = json_get(objectives, metric);
        if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble))
            rc = err_set(err, ERR_NUMERIC, "'%s' is %s at the end of training", metric,
                         value ? "not a finite number" : "not reported");
        else
            values[i] = value->valuedouble;
    }
    return rc;
}

static int on_finished(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    double values[OBJECTIVES_MAX] = {0};
    int64_t step = 0, stored = 0;
    const char *message = NULL;
    int rc = json_get_int64(record, "step", "finished", &step, err);
    if (rc == 0)
        rc = json_get_int64(record, "stored_bytes", "finished", &stored, err);
    if (rc == 0)
        rc = json_opt_double(record, "seconds", "finished", &slot->seconds, err);
    if (rc == 0)
        rc = json_opt_double(record, "tokens_per_second", "finished", &slot->tokens_per_second, err);
    if (rc == 0)
        rc = json_opt_double(record, "peak_bytes", "finished", &slot->peak_bytes, err);
    if (rc == 0)
        rc = json_opt_string(record, "message", "finished", &message, err);
    if (rc < 0)
        return rc;
    rc = read_values(c, record, values, err);
    if (rc == ERR_NUMERIC) {
        attempt_fail(c, slot, REASON_DIVERGED, err->message);
        return 0;
    }
    if (rc == 0)
        attempt_complete(c, slot, values, message && message[0] ? message : NULL, known_int(step), known_int(stored));
    return rc;
}

static int on_failed(struct coordinator *c, struct coordinator_slot *slot, const cJSON *record, struct err *err)
{
    const char *name = NULL, *message = NULL;
    enum trial_reason reason = REASON_CRASHED;
    int rc = json_get_string(record, "reason", "failed", &name, err);
    if (rc == 0)
        rc = trial_reason_parse(name, &reason, err);
    if (rc == 0)
        rc = json_opt_string(record, "message", "failed", &message, err);
    if (rc == 0)
        attempt_fail(c, slot, reason, message);
    return rc;
}

static const struct {
    const char *type;
    record_fn take;
} kinds[] = {
    {"started", on_started},       {"points", on_points},     {"evaluation", on_evaluation}, {"check", on_check},
    {"checkpoint", on_checkpoint}, {"artifact", on_artifact}, {"progress", on_progress},     {"stopped", on_stopped},
    {"finished", on_finished},     {"failed", on_failed},
};

int record_take(struct coordinator *c, struct coordinator_slot *slot, const char *type, const cJSON *record,
                struct err *err)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].type, type) == 0)
            return kinds[i].take(c, slot, record, err);
    return err_set(err, ERR_FORMAT, "there is no record of type '%s'", type);
}
