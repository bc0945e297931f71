/* The life of an attempt: reserved, on disk, sent, and closed in one of four ways. Everything is written before it is
 * acted upon; what is in memory follows what was submitted, since the store works in the order of submission. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/log.h"
#include "orchestrator/coordinator_internal.h"

/* Slots are found by their attempt, and by the identity of its trial when an equal one waits for its result. */
static int index_slot(struct coordinator *c, struct coordinator_slot *slot, struct err *err)
{
    const char *identity = slot->trial->stored->identity;
    bool is_found = c->definition->reuse;
    slot->by_attempt.tbl = slot->by_identity.tbl = NULL;
    HASH_ADD(by_attempt, c->by_attempt, attempt, sizeof(slot->attempt), slot);
    if (is_found && slot->by_attempt.tbl)
        HASH_ADD_KEYPTR(by_identity, c->by_identity, identity, strlen(identity), slot);
    return slot->by_attempt.tbl && (!is_found || slot->by_identity.tbl)
               ? 0
               : err_set(err, ERR_NOMEM, "no memory to start a trial");
}

int attempt_index_slots(struct coordinator *c, struct err *err)
{
    int rc = 0;
    HASH_CLEAR(by_attempt, c->by_attempt);
    HASH_CLEAR(by_identity, c->by_identity);
    for (int i = 0; i < c->n_slots; i++)
        c->slots[i].by_attempt.tbl = c->slots[i].by_identity.tbl = NULL;
    for (int i = 0; i < c->n_slots && rc == 0; i++)
        if (c->slots[i].state != SLOT_FREE)
            rc = index_slot(c, &c->slots[i], err);
    return rc;
}

static void free_slot(struct coordinator *c, struct coordinator_slot *slot)
{
    if (slot->by_attempt.tbl)
        HASH_DELETE(by_attempt, c->by_attempt, slot);
    if (slot->by_identity.tbl)
        HASH_DELETE(by_identity, c->by_identity, slot);
    slot->state = SLOT_FREE;
    slot->trial->is_out = false;
    slot->trial = NULL;
    slot->attempt = 0;
    slot->shown = (struct progress_slot){.loss = NAN};
    c->n_busy--;
}

void attempt_set_waiting(struct coordinator *c, struct live_trial *trial)
{
    coordinator_set_state(c, trial, TRIAL_WAITING);
    if (trial->index < c->next)
        c->next = trial->index;
}

/* The trial's folder ------------------------------------------------------------------------------------------------
 */

char *attempt_folder(const struct coordinator *c, const struct live_trial *trial)
{
    char number[32];
    snprintf(number, sizeof(number), "%" PRId64, trial->stored->number);
    return file_join(c->options->loaded->sweep.output_folder, number);
}

/* Removes the entries of a folder for which `is_doomed` holds; a missing folder has none. */
static int clean_folder(const char *folder, const char *keep, bool (*is_doomed)(const char *name, const char *keep),
                        struct err *err)
{
    DIR *entries = opendir(folder);
    int rc = 0;
    if (!entries)
        return errno == ENOENT ? 0 : err_set_errno(err, "'%s'", folder);
    for (struct dirent *entry; rc == 0 && (entry = readdir(entries));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || !is_doomed(entry->d_name, keep))
            continue;
        char *path = file_join(folder, entry->d_name);
        rc = path ? file_remove_tree(path, err) : err_set(err, ERR_NOMEM, "no memory for a path");
        free(path);
    }
    closedir(entries);
    return rc;
}

bool attempt_find_folders(const struct coordinator *c)
{
    DIR *entries = opendir(c->options->loaded->sweep.output_folder);
    bool is_found = false;
    for (struct dirent *entry; entries && !is_found && (entry = readdir(entries));)
        is_found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    if (entries)
        closedir(entries);
    return is_found || (!entries && errno != ENOENT);
}

/* What attempts that were lost left behind: everything but the committed checkpoint. */
static bool is_other(const char *name, const char *keep)
{
    const char *kept = keep ? strrchr(keep, '/') : NULL;
    return !kept || strcmp(name, kept + 1) != 0;
}

static bool is_checkpoint(const char *name, const char *keep)
{
    (void)keep;
    return strstr(name, ".checkpoint") != NULL;
}

void attempt_remove_leftovers(struct coordinator *c)
{
    struct err err = {0};
    for (int i = 0; i < c->n_trials; i++) {
        const struct live_trial *trial = c->trials[i];
        if (trial->state != TRIAL_COMPLETE && trial->state != TRIAL_PRUNED)
            continue;
        char *folder = attempt_folder(c, trial);
        if (folder && clean_folder(folder, NULL, is_checkpoint, &err) < 0)
            log_debug("coordinator", "%s", err.message);
        free(folder);
    }
}

/* What is wrong with the committed checkpoint, in a word; NULL: it is there as it was written. */
static const char *checkpoint_fault(const struct live_trial *trial)
{
    char hash[HASH_HEX_SIZE];
    struct err err = {0};
    if (!trial->checkpoint || !trial->checkpoint_sha256)
        return NULL;
    if (hash_file(trial->checkpoint, hash, &err) < 0)
        return err.code == ERR_NOT_FOUND ? "gone" : "not to be read";
    return strcmp(hash, trial->checkpoint_sha256) == 0 ? NULL : "damaged";
}

/* One that is not as it was written costs its steps, not the trial. */
static void check_checkpoint(struct coordinator *c, struct live_trial *trial)
{
    const char *fault = checkpoint_fault(trial);
    if (!fault)
        return;
    coordinator_event(c, trial, "checkpoint_lost", "the checkpoint of step %" PRId64 " is %s: the trial starts again",
                      trial->checkpoint_step, fault);
    free(trial->checkpoint);
    free(trial->checkpoint_sha256);
    trial->checkpoint = trial->checkpoint_sha256 = NULL;
    trial->checkpoint_step = 0;
}

/* Heirs ----------------------------------------------------------------------------------------------------------- */

bool attempt_is_awaited(const struct coordinator *c, const struct live_trial *trial)
{
    for (int i = 0; i < c->n_by_study && trial->has_heirs; i++) {
        const struct live_trial *heir = c->by_study[i];
        if (heir->parent == trial && !heir->checkpoint && !trial_state_is_final(heir->state))
            return true;
    }
    return false;
}

/* Gives a trial that goes on from another's checkpoint its own link to the file. The other one starts later than this
 * is written, so the file is there until then. */
static int inherit(struct coordinator *c, struct live_trial *trial, const char *folder, struct err *err)
{
    struct live_trial *parent = trial->parent;
    struct text path = {0};
    if (!parent || trial->checkpoint)
        return 0;
    bool is_there = parent->checkpoint && parent->checkpoint_step == trial->parent_step;
    const char *fault = is_there ? checkpoint_fault(parent) : "gone";
    if (fault)
        return err_set(err, ERR_DATA,
                       "it goes on from step %" PRId64 " of trial %" PRId64 ", whose checkpoint of that step is %s",
                       trial->parent_step, parent->stored->number, fault);
    int rc = file_make_folders(folder, err);
    text_printf(&path, "%s/parent-%" PRId64 ".checkpoint", folder, trial->parent_step);
    if (rc == 0 && path.failed)
        rc = err_set(err, ERR_NOMEM, "no memory for a checkpoint's path");
    if (rc == 0)
        unlink(path.data);
    if (rc == 0 && link(parent->checkpoint, path.data) != 0)
        rc = err_set_errno(err, "'%s'", path.data);
    if (rc == 0) {
        crash_at(CRASH_INHERITED);
        const struct store_op op = {.kind = STORE_INHERIT_CHECKPOINT,
                                    .inherit_checkpoint = {trial->stored->id, parent->stored->id, path.data}};
        coordinator_submit(c, &op, 1, NULL, NULL);
        trial->checkpoint = strdup(path.data);
        trial->checkpoint_step = trial->parent_step;
        trial->checkpoint_sha256 = parent->checkpoint_sha256 ? strdup(parent->checkpoint_sha256) : NULL;
    }
    text_done(&path);
    return rc;
}

/* Beginning ---------------------------------------------------------------------------------------------------------
 */

static int write_start(struct coordinator *c, const struct coordinator_slot *slot, struct text *line, struct err *err)
{
    const struct live_trial *trial = slot->trial;
    const struct resources *resources = &c->definition->resources;
    char *folder = attempt_folder(c, trial);
    cJSON *settings = NULL;
    int rc = folder ? 0 : err_set(err, ERR_NOMEM, "no memory for a job");
    if (rc == 0)
        rc = inherit(c, slot->trial, folder, err);
    if (rc == 0 && trial->has_folder)
        rc = clean_folder(folder, trial->checkpoint, is_other, err);
    slot->trial->has_folder = true;
    if (rc == 0 && (c->definition->n_init_adapters > 0 || c->definition->from[ORIGIN_ADAPTER].sweep))
        rc = json_parse(trial->settings, strlen(trial->settings), &settings, err);
    if (rc == 0) {
        struct job job = {.attempt = slot->attempt,
                          .identity = trial->stored->identity,
                          .output = folder,
                          .resume = trial->checkpoint,
                          .settings = settings,
                          .settings_text = trial->settings,
                          .seed = (uint64_t)trial->stored->seed,
                          .pause_at_step = c->study ? study_pause_step(c->study, trial->study_trial) : 0,
                          .waits = study_decides(c, trial),
                          .parent = trial->parent ? trial->parent->stored->identity : NULL,
                          .checkpoint_seconds = c->options->checkpoint_seconds};
        text_printf(line,
                    "{\"v\":1,\"type\":\"start\",\"attempt\":%" PRId64 ",\"slot\":%d,\"limits\":{\"time_seconds\":",
                    slot->attempt, slot->number);
        text_add_double(line, resources->time_seconds);
        text_printf(line, ",\"memory_bytes\":%" PRIu64 "},\"job\":", resources->memory_bytes);
        job_write(line, c->definition, c->options->hashes, &job);
        text_add(line, "}");
    }
    json_free(settings);
    free(folder);
    return rc;
}

static void send_start(struct coordinator *c, struct coordinator_slot *slot)
{
    struct text line = {0};
    struct err err = {0};
    crash_at(CRASH_ATTEMPT_BEGUN);
    check_checkpoint(c, slot->trial);
    slot->first_step = slot->trial->checkpoint_step;
    slot->state = SLOT_RUNNING;
    slot->started_ns = loop_now_ns();
    if (write_start(c, slot, &line, &err) < 0) {
        attempt_fail(c, slot, err.code == ERR_DATA ? REASON_BAD_DATA : REASON_CRASHED, err.message);
        free_slot(c, slot);
        coordinator_dispatch(c);
    } else
        pool_send(slot->pool, &line);
    c->has_started = true;
    text_done(&line);
}

/* What `done` of a reservation needs: slots may have moved meanwhile, the attempt's number tells. */
struct reservation {
    struct coordinator *c;
    int64_t attempt;
};

/* What an equal trial reported is what this one would have. */
static void tell_reused(struct coordinator *c, const struct live_trial *trial, const struct store_result *result)
{
    struct store_op ops[STUDY_OPS_MAX];
    struct text record = {0};
    cJSON *metrics = result->reused_metrics ? cJSON_Parse(result->reused_metrics) : NULL;
    size_t n = c->study && metrics ? study_end_ops(c, trial, metrics, &record, ops) : 0;
    if (n > 0)
        coordinator_submit(c, ops, n, NULL, NULL);
    text_done(&record);
    cJSON_Delete(metrics);
}

static void take_reused(struct coordinator *c, struct coordinator_slot *slot, const struct store_result *result)
{
    coordinator_set_state(c, slot->trial, TRIAL_COMPLETE);
    tell_reused(c, slot->trial, result);
    progress_say(c->options->progress, "trial_reused", "trial %" PRId64 " (%s): an equal trial is in the store",
                 slot->trial->stored->number, slot->trial->method);
}

static void on_begun(const struct store_result *result, void *context)
{
    struct reservation reservation = *(struct reservation *)context;
    struct coordinator *c = reservation.c;
    struct coordinator_slot *slot = coordinator_find_attempt(c, reservation.attempt);
    free(context);
    if (!slot || slot->state != SLOT_RESERVED)
        return;
    if (result->rc < 0) {
        struct err err;
        coordinator_fail(c, err_set(&err, result->rc, "%s", result->message), &err);
        return;
    }
    if (result->reused_trial_id != 0)
        take_reused(c, slot, result);
    else if (slot->pool->is_ready && !c->is_stopping) {
        send_start(c, slot);
        return;
    } else
        attempt_suspend(c, slot, ATTEMPT_INTERRUPTED, c->stop_cause ? c->stop_cause : ATTEMPT_WORKER_LOST,
                        c->stop_cause ? "not started: the run was stopped" : "not started: its worker is gone");
    free_slot(c, slot);
    coordinator_dispatch(c);
}

/* One group: an equal trial's results are taken, or the attempt begins. */
static void begin(struct coordinator *c, struct coordinator_slot *slot, struct reservation *reservation)
{
    char worker[sizeof(slot->pool->host) + 16];
    snprintf(worker, sizeof(worker), c->n_pools > 1 ? "%s#%d" : "%s", slot->pool->host, slot->pool->options.number);
    /* A trial that has begun is not exchanged for an equal one: its checkpoint would be lost. */
    const struct store_op op = {.kind = STORE_BEGIN_ATTEMPT,
                                .begin_attempt = {.id = slot->attempt,
                                                  .trial_id = slot->trial->stored->id,
                                                  .worker = worker,
                                                  .slot = slot->number,
                                                  .may_reuse = c->definition->reuse && !slot->trial->checkpoint}};
    coordinator_set_state(c, slot->trial, TRIAL_RUNNING);
    coordinator_submit(c, &op, 1, on_begun, reservation);
}

void attempt_reserve(struct coordinator *c, struct coordinator_slot *slot, struct live_trial *trial)
{
    struct reservation *reservation = malloc(sizeof(*reservation));
    struct err err;
    slot->state = SLOT_RESERVED;
    slot->trial = trial;
    trial->is_out = true;
    slot->attempt = store_thread_new_id(c->thread, STORE_ATTEMPT);
    c->n_busy++;
    int rc = reservation ? index_slot(c, slot, &err) : err_set(&err, ERR_NOMEM, "no memory to start a trial");
    if (rc < 0) {
        free(reservation);
        free_slot(c, slot);
        coordinator_fail(c, rc, &err);
        return;
    }
    slot->is_closed = false;
    slot->goal = TRIAL_WAITING;
    cJSON_Delete(slot->outcomes);
    cJSON_Delete(slot->held_report);
    slot->outcomes = slot->held_report = NULL;
    slot->seconds = slot->tokens_per_second = slot->peak_bytes = 0;
    snprintf(slot->shown_parameters, sizeof(slot->shown_parameters), "%s", trial->parameters);
    slot->shown = (struct progress_slot){.trial = trial->stored->number,
                                         .method = trial->method,
                                         .parameters = slot->shown_parameters,
                                         .step = trial->checkpoint_step,
                                         .total_steps = trial->stored->total_steps.value,
                                         .loss = NAN};
    *reservation = (struct reservation){c, slot->attempt};
    begin(c, slot, reservation);
}

/* Closing -----------------------------------------------------------------------------------------------------------
 */

static struct store_op end_op(const struct coordinator_slot *slot, enum attempt_state state, enum trial_reason reason,
                              const char *message)
{
    struct store_op op = {.kind = STORE_END_ATTEMPT,
                          .end_attempt = {.attempt_id = slot->attempt,
                                          .state = state,
                                          .reason = reason,
                                          .message = message,
                                          .seconds = known_real(1e-9 * (double)(loop_now_ns() - slot->started_ns))}};
    if (slot->seconds > 0)
        op.end_attempt.seconds = known_real(slot->seconds);
    if (slot->tokens_per_second > 0)
        op.end_attempt.tokens_per_second = known_real(slot->tokens_per_second);
    if (slot->peak_bytes > 0)
        op.end_attempt.peak_bytes = known_int((int64_t)slot->peak_bytes);
    return op;
}

/* After the commit, the checkpoint of a trial that is through counts no more. */
void attempt_on_through(const struct store_result *result, void *context)
{
    struct err err = {0};
    (void)context;
    crash_at(CRASH_TRIAL_THROUGH);
    if (result->rc == 0 && result->replaced_path && file_remove_tree(result->replaced_path, &err) < 0)
        log_debug("coordinator", "%s", err.message);
}

/* The final report to the study: objectives, what the checks said, and what it cost. Owned by the caller; NULL without
 * memory. */
static cJSON *final_metrics(const struct coordinator *c, const struct coordinator_slot *slot, const double *values,
                            double seconds)
{
    cJSON *metrics = slot->outcomes ? cJSON_Duplicate(slot->outcomes, true) : cJSON_CreateObject();
    for (int i = 0; metrics && i < c->definition->n_objectives; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(metrics, c->definition->objectives[i].metric);
        cJSON_AddNumberToObject(metrics, c->definition->objectives[i].metric, values[i]);
    }
    if (metrics && c->definition->cost) {
        cJSON_AddNumberToObject(metrics, "seconds", slot->trial->seconds + seconds);
        cJSON_AddNumberToObject(metrics, "parameters", (double)slot->trial->trained_parameters);
    }
    return metrics;
}

void attempt_complete(struct coordinator *c, struct coordinator_slot *slot, const double *values, const char *message,
                      struct optional_int steps, struct optional_int stored_bytes)
{
    struct live_trial *trial = slot->trial;
    struct store_op ops[2 + OBJECTIVES_MAX + STUDY_OPS_MAX];
    struct text record = {0};
    if (c->study && slot->goal == TRIAL_WAITING && study_is_undecided(c->study, trial->study_trial)) {
        attempt_suspend(c, slot, ATTEMPT_STOPPED, NULL,
                        "through before its turn came; ends from its checkpoint when it has");
        return;
    }
    bool is_paused = slot->goal == TRIAL_PAUSED && c->definition->is_strict;
    if (slot->goal == TRIAL_PRUNED || is_paused) { /* it was through before it heard that it should end */
        attempt_suspend(c, slot, ATTEMPT_STOPPED, NULL, NULL);
        return;
    }
    size_t n = 0;
    ops[n++] = end_op(slot, ATTEMPT_COMPLETE, REASON_NONE, message);
    for (int i = 0; i < c->definition->n_objectives; i++)
        ops[n++] =
            (struct store_op){.kind = STORE_OBJECTIVE_VALUE,
                              .objective_value = {.trial_id = trial->stored->id, .position = i, .value = values[i]}};
    ops[n++] = (struct store_op){.kind = STORE_MOVE_TRIAL,
                                 .move_trial = {.trial_id = trial->stored->id,
                                                .to = TRIAL_COMPLETE,
                                                .message = message,
                                                .value = known_real(values[0]),
                                                .steps = steps,
                                                .stored_bytes = stored_bytes}};
    cJSON *metrics = c->study ? final_metrics(c, slot, values, ops[0].end_attempt.seconds.value) : NULL;
    if (metrics)
        n += study_end_ops(c, trial, metrics, &record, ops + n);
    coordinator_submit(c, ops, n, attempt_on_through, c);
    cJSON_Delete(metrics);
    text_done(&record);
    slot->is_closed = true;
    coordinator_set_state(c, trial, TRIAL_COMPLETE);
    trial->seconds += ops[0].end_attempt.seconds.value;
    c->trained_seconds += trial->seconds;
    c->n_trained++;
    slot->pool->n_starts = 0;
    if (!trial->is_baseline)
        coordinator_note_value(c, values[0]);
    progress_say(c->options->progress, "trial_complete", "trial %" PRId64 " (%s%s%s): %s %.4f, %.1f s",
                 trial->stored->number, trial->method, trial->parameters[0] ? ", " : "", trial->parameters,
                 c->definition->objectives[0].metric, values[0], trial->seconds);
}

void attempt_fail(struct coordinator *c, struct coordinator_slot *slot, enum trial_reason reason, const char *message)
{
    struct live_trial *trial = slot->trial;
    bool is_lasting = trial_reason_is_deterministic(reason), is_strict = c->definition->is_strict;
    if (is_lasting && is_strict && slot->goal == TRIAL_WAITING && c->study &&
        study_is_undecided(c->study, trial->study_trial)) {
        attempt_suspend(c, slot, ATTEMPT_STOPPED, NULL, "failed before its turn came; fails again when it has");
        return;
    }
    /* What the rule decided before stands: with strict order a fast trainer must not change what comes of a trial. */
    bool is_decided = slot->goal == TRIAL_PRUNED || (slot->goal == TRIAL_PAUSED && is_strict);
    bool is_final = !is_decided && (is_lasting || trial->failures + 1 > c->definition->resources.retries);
    struct text record = {0};
    size_t n = 2;
    const char *why = is_final || slot->goal == TRIAL_WAITING ? message : slot->goal_reason;
    struct store_op ops[2 + STUDY_OPS_MAX] = {end_op(slot, ATTEMPT_FAILED, reason, message),
                                              {.kind = STORE_MOVE_TRIAL,
                                               .move_trial = {.trial_id = trial->stored->id,
                                                              .to = is_final ? TRIAL_FAILED : slot->goal,
                                                              .reason = is_final ? reason : REASON_NONE,
                                                              .message = why}}};
    if (is_final && c->study)
        n += study_end_ops(c, trial, NULL, &record, ops + n);
    coordinator_submit(c, ops, n, NULL, NULL);
    text_done(&record);
    slot->is_closed = true;
    trial->failures++;
    trial->seconds += ops[0].end_attempt.seconds.value;
    slot->pool->n_starts = 0;
    if (is_final)
        coordinator_set_state(c, trial, TRIAL_FAILED);
    else if (slot->goal != TRIAL_WAITING) /* what the stopping rule decided holds all the same */
        coordinator_set_state(c, trial, slot->goal);
    else
        attempt_set_waiting(c, trial);
    const char *next = is_final                     ? "failed"
                       : slot->goal == TRIAL_PRUNED ? "was ended and failed"
                       : slot->goal == TRIAL_PAUSED ? "was paused and failed"
                                                    : "will be tried again";
    progress_say(c->options->progress, is_final ? "trial_failed" : "attempt_failed",
                 "trial %" PRId64 " (%s%s%s) %s: %s, %.300s", trial->stored->number, trial->method,
                 trial->parameters[0] ? ", " : "", trial->parameters, next, trial_reason_name(reason),
                 message ? message : "");
}

void attempt_suspend(struct coordinator *c, struct coordinator_slot *slot, enum attempt_state state, const char *cause,
                     const char *message)
{
    struct live_trial *trial = slot->trial;
    bool is_decided = slot->goal != TRIAL_WAITING;
    const char *why = is_decided ? slot->goal_reason : message;
    struct store_op ops[2] = {
        end_op(slot, state, REASON_NONE, why),
        {.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = trial->stored->id, .to = slot->goal, .message = why}}};
    ops[0].end_attempt.cause = is_decided ? NULL : cause;
    coordinator_submit(c, ops, 2, attempt_on_through, c);
    slot->is_closed = true;
    trial->seconds += ops[0].end_attempt.seconds.value;
    if (is_decided)
        coordinator_set_state(c, trial, slot->goal);
    else
        attempt_set_waiting(c, trial);
    if (is_decided)
        progress_say(c->options->progress, slot->goal == TRIAL_PAUSED ? "trial_paused" : "trial_pruned",
                     "trial %" PRId64 " (%s%s%s) %s: %s", trial->stored->number, trial->method,
                     trial->parameters[0] ? ", " : "", trial->parameters,
                     slot->goal == TRIAL_PAUSED ? "pauses" : "ends early", slot->goal_reason);
}

/* The process is gone -------------------------------------------------------------------------------------------- */

/* The last line of a log: what a person looks at first. */
static const char *last_line(const char *log, char *out, size_t size)
{
    size_t n = strlen(log);
    while (n > 0 && (log[n - 1] == '\n' || log[n - 1] == '\r'))
        n--;
    size_t start = n;
    while (start > 0 && log[start - 1] != '\n')
        start--;
    snprintf(out, size, "%.*s", (int)(n - start), log + start);
    return out;
}

/* The end of an attempt that said nothing itself: killed over time or memory, or crashed. */
static void close_silent(struct coordinator *c, struct coordinator_slot *slot, const char *reason_name,
                         int64_t exit_status, int64_t signal, const char *log)
{
    char message[700], line[400];
    enum trial_reason reason = REASON_CRASHED;
    if (reason_name && trial_reason_parse(reason_name, &reason, NULL) < 0)
        reason = REASON_CRASHED;
    if (c->is_killing) {
        attempt_suspend(c, slot, ATTEMPT_INTERRUPTED, c->stop_cause, "ended at once, as asked");
        return;
    }
    last_line(log, line, sizeof(line));
    if (reason == REASON_TIMEOUT)
        snprintf(message, sizeof(message), "over the time limit of %g s", c->definition->resources.time_seconds);
    else if (reason == REASON_OUT_OF_MEMORY && c->definition->resources.memory_bytes == 0)
        snprintf(message, sizeof(message), "out of memory%s%s", line[0] ? ": " : "", line);
    else if (reason == REASON_OUT_OF_MEMORY)
        snprintf(message, sizeof(message), "over the memory limit of %" PRIu64 " bytes",
                 c->definition->resources.memory_bytes);
    else if (signal)
        snprintf(message, sizeof(message), "the trainer was ended by signal %" PRId64 "%s%s", signal,
                 line[0] ? "; its last line: " : "", line);
    else
        snprintf(message, sizeof(message), "the trainer ended with exit status %" PRId64 " and no result%s%s",
                 exit_status, line[0] ? "; its last line: " : "", line);
    attempt_fail(c, slot, reason, message);
}

/* Something took the attempt away: a worker or node that is gone, a batch system. That is no fault of the trial's,
 * unless it happens again and again while just this one runs. */
static void interrupt(struct coordinator *c, struct coordinator_slot *slot, const char *cause, const char *why)
{
    struct live_trial *trial = slot->trial;
    trial->losses++;
    if (trial->losses >= WORKER_LOSSES_MAX) {
        trial->failures = c->definition->resources.retries;
        attempt_fail(c, slot, REASON_CRASHED, "its worker ended five times while it ran");
    } else
        attempt_suspend(c, slot, ATTEMPT_INTERRUPTED, c->stop_cause ? c->stop_cause : cause, why);
}

void attempt_ended(struct coordinator *c, struct coordinator_slot *slot, const cJSON *message)
{
    int64_t exit_status = 0, signal = 0, peak = 0;
    double seconds = 0;
    const char *reason = NULL, *log = "";
    struct err err = {0};
    bool is_read = json_opt_int64(message, "exit_status", "ended", &exit_status, &err) == 0 &&
                   json_opt_int64(message, "signal", "ended", &signal, &err) == 0 &&
                   json_opt_int64(message, "peak_bytes", "ended", &peak, &err) == 0 &&
                   json_opt_double(message, "seconds", "ended", &seconds, &err) == 0 &&
                   json_opt_string(message, "reason", "ended", &reason, &err) == 0 &&
                   json_opt_string(message, "log_tail", "ended", &log, &err) == 0;
    if (!is_read)
        log_debug("coordinator", "attempt %" PRId64 ": %s", slot->attempt, err.message);
    if (!slot->is_closed && !c->is_killing && text_equal(reason ? reason : "", "interrupted"))
        interrupt(c, slot, ATTEMPT_PREEMPTED, "taken away with its worker or by a signal: no fault of the trial");
    else if (!slot->is_closed)
        close_silent(c, slot, reason, exit_status, signal, log);
    struct store_op op = {.kind = STORE_EXIT_ATTEMPT,
                          .exit_attempt = {.attempt_id = slot->attempt,
                                           .exit_status = known_int(exit_status),
                                           .log_tail = log[0] ? log : NULL}};
    if (signal)
        op.exit_attempt.signal = known_int(signal);
    if (peak > 0)
        op.exit_attempt.peak_bytes = known_int(peak);
    coordinator_submit(c, &op, 1, NULL, NULL);
    const cJSON *joules = json_get(message, "joules");
    if (cJSON_IsNumber(joules))
        coordinator_event(c, slot->trial, "energy",
                          "%.1f joules by the counters of the machine's packages, other work on them included",
                          joules->valuedouble);
    free_slot(c, slot);
    crash_at(CRASH_ATTEMPT_FREED);
}

void attempt_lost(struct coordinator *c, struct coordinator_slot *slot, const char *why)
{
    /* A reservation is answered by the store, which then finds no worker. */
    if (slot->state != SLOT_RUNNING)
        return;
    if (!slot->is_closed)
        interrupt(c, slot, ATTEMPT_WORKER_LOST, why);
    free_slot(c, slot);
}
