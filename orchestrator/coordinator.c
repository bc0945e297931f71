/* The loop: slots, signals, the clock, the worker and the store's thread. */
#include "orchestrator/coordinator.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/log.h"
#include "orchestrator/coordinator_internal.h"

static void quit_if_done(struct coordinator *c);

/* The store ---------------------------------------------------------------------------------------------------------
 */

static void kill_all(struct coordinator *c)
{
    for (int i = 0; i < c->n_pools; i++)
        pool_kill(&c->pools[i]);
}

bool coordinator_has_worker(const struct coordinator *c)
{
    for (int i = 0; i < c->n_pools; i++)
        if (c->pools[i].worker)
            return true;
    return false;
}

void coordinator_pause(struct coordinator *c, bool is_paused)
{
    for (int i = 0; i < c->n_pools; i++)
        pool_pause(&c->pools[i], is_paused);
}

void coordinator_fail(struct coordinator *c, int rc, const struct err *err)
{
    if (c->rc == 0) {
        c->rc = rc;
        c->err = *err;
    }
    c->is_stopping = c->is_killing = true;
    kill_all(c);
    quit_if_done(c);
}

void coordinator_submit(struct coordinator *c, const struct store_op *ops, size_t n, store_done_fn done, void *context)
{
    struct err err;
    int rc = store_thread_submit(c->thread, ops, n, done, context, &err);
    if (rc < 0)
        coordinator_fail(c, rc, &err);
    else if (store_thread_is_full(c->thread))
        coordinator_pause(c, true);
}

/* Of a group that nobody waits for. A record of a closed attempt is refused: that is what closing is for. */
static void on_store_error(const struct store_result *result, void *context)
{
    struct coordinator *c = context;
    struct err err;
    log_debug("coordinator", "the store refused: %s", result->message);
    if (result->rc == ERR_CANCELED || result->rc == ERR_NUMERIC || result->rc == ERR_FORMAT)
        return;
    coordinator_fail(c, err_set(&err, result->rc, "%s", result->message), &err);
}

static void notify(void *context)
{
    struct coordinator *c = context;
    loop_wake(&c->loop);
}

/* A full disk stops nothing that is acknowledged: what was not yet written waits, and is tried again. */
static void look_at_storage(struct coordinator *c)
{
    struct err err = {0};
    bool was_held = c->is_held;
    c->is_held = store_thread_is_held(c->thread, &err);
    if (c->is_held && !was_held) {
        c->retry_ns = loop_now_ns();
        coordinator_pause(c, true);
        progress_say(c->options->progress, "store_held", "the store cannot be written, waiting: %.500s", err.message);
    } else if (c->is_held && loop_now_ns() - c->retry_ns > STORE_RETRY_SECONDS * UINT64_C(1000000000)) {
        c->retry_ns = loop_now_ns();
        store_thread_retry(c->thread);
    } else if (was_held && !c->is_held)
        progress_say(c->options->progress, "store_continues", "the store can be written again");
}

static void on_store_news(void *context)
{
    struct coordinator *c = context;
    store_thread_drain(c->thread);
    look_at_storage(c);
    if (!c->is_held && !store_thread_is_full(c->thread))
        coordinator_pause(c, false);
    coordinator_dispatch(c);
}

void coordinator_event(struct coordinator *c, const struct live_trial *trial, const char *kind, const char *format, ...)
{
    char message[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    const struct store_op op = {.kind = STORE_EVENT,
                                .event = {.sweep_id = c->options->loaded->sweep.id,
                                          .trial_id = trial ? trial->stored->id : 0,
                                          .kind = kind,
                                          .message = message}};
    coordinator_submit(c, &op, 1, NULL, NULL);
}

/* Handing out -------------------------------------------------------------------------------------------------------
 */

struct coordinator_slot *coordinator_find_attempt(struct coordinator *c, int64_t attempt)
{
    struct coordinator_slot *slot;
    HASH_FIND(by_attempt, c->by_attempt, &attempt, sizeof(attempt), slot);
    return slot;
}

/* An equal trial that runs now will soon be there to be reused. */
static bool is_equal_running(const struct coordinator *c, const struct live_trial *trial)
{
    const char *identity = trial->stored->identity;
    struct coordinator_slot *slot;
    HASH_FIND(by_identity, c->by_identity, identity, strlen(identity), slot);
    return slot != NULL;
}

/* With strict order a trial waits until it is decided about what it reported. */
static bool is_held(const struct coordinator *c, const struct live_trial *trial)
{
    return c->study && trial->study_trial > 0 && study_is_undecided(c->study, trial->study_trial);
}

static struct live_trial *next_trial(struct coordinator *c)
{
    while (c->next < c->n_trials && (!c->trials[c->next]->is_wanted || c->trials[c->next]->state != TRIAL_WAITING))
        c->next++;
    for (int i = c->next; i < c->n_trials; i++) {
        struct live_trial *trial = c->trials[i];
        if (trial->is_wanted && trial->state == TRIAL_WAITING && !trial->is_out && !is_equal_running(c, trial) &&
            !attempt_is_awaited(c, trial) && !is_held(c, trial))
            return trial;
    }
    return NULL;
}

static bool has_waiting(const struct coordinator *c)
{
    for (int i = c->next; i < c->n_trials; i++)
        if (c->trials[i]->is_wanted && c->trials[i]->state == TRIAL_WAITING)
            return true;
    return false;
}

static bool has_ready(const struct coordinator *c)
{
    for (int i = c->next; i < c->n_trials; i++)
        if (c->trials[i]->is_wanted && c->trials[i]->state == TRIAL_WAITING && !is_held(c, c->trials[i]))
            return true;
    return false;
}

void coordinator_dispatch(struct coordinator *c)
{
    c->is_due = true;
}

static void hand_out(struct coordinator *c)
{
    coordinator_take_requests(c);
    bool may_start = c->n_busy < c->n_slots && !c->is_stopping && !c->is_paused && c->n_requests == 0 && !c->is_held &&
                     !store_thread_is_full(c->thread);
    for (int i = 0; may_start && i < c->n_slots; i++) {
        const struct pool *pool = c->slots[i].pool;
        if (c->slots[i].state != SLOT_FREE || !pool->is_ready || pool->is_silent || c->slots[i].number > c->slots_each)
            continue;
        struct live_trial *trial = next_trial(c);
        if (!trial && c->study && !has_ready(c))
            trial = study_next(c);
        if (trial)
            attempt_reserve(c, &c->slots[i], trial);
    }
    quit_if_done(c);
}

/* Whatever came meanwhile is answered at once: one look at the slots, one transaction, one write to each worker. */
static void on_idle(void *context)
{
    struct coordinator *c = context;
    while (c->is_due) {
        c->is_due = false;
        hand_out(c);
    }
    store_thread_hand_over(c->thread);
    for (int i = 0; i < c->n_pools; i++)
        pool_flush(&c->pools[i]);
    if (c->has_started)
        crash_at(CRASH_ATTEMPT_SENT);
    c->has_started = false;
}

/* Stopping ----------------------------------------------------------------------------------------------------------
 */

static void send_to_all(struct coordinator *c, const char *type)
{
    struct text line = {0};
    for (int i = 0; i < c->n_pools; i++) {
        text_printf(&line, "{\"v\":1,\"type\":\"%s\",\"attempt\":0}", type);
        pool_send(&c->pools[i], &line);
    }
    text_done(&line);
}

void coordinator_stop(struct coordinator *c, const char *cause, const char *kind, const char *message)
{
    if (c->is_stopping)
        return;
    c->is_stopping = true;
    c->stop_cause = cause;
    progress_say(c->options->progress, kind, "%s", message);
    coordinator_event(c, NULL, kind, "%s", message);
    send_to_all(c, "stop");
    quit_if_done(c);
}

/* A batch system says SIGUSR1 shortly before the time limit, and SIGTERM when it wants the machine for others. */
static const char *cause_of(int signal)
{
    return signal == SIGUSR1 ? ATTEMPT_TIME_LIMIT : signal == SIGTERM ? ATTEMPT_PREEMPTED : ATTEMPT_ASKED;
}

static void on_signal(void *context, int signal)
{
    struct coordinator *c = context;
    c->is_interrupted = true;
    if (!c->is_stopping) {
        coordinator_stop(c, cause_of(signal), "stopping",
                         "stopping: running trials write their checkpoints; once more to end them at once");
        return;
    }
    if (c->is_killing)
        kill_all(c);
    c->is_killing = true;
    if (c->is_held)
        store_thread_give_up(c->thread);
    send_to_all(c, "kill");
}

static void close_all(struct coordinator *c)
{
    if (c->is_closing)
        return;
    c->is_closing = true;
    loop_stop(&c->loop);
    coordinator_refuse_requests(c);
    control_close(&c->control);
}

/* Ends the run once nothing runs and nothing more is to be started. */
static void quit_if_done(struct coordinator *c)
{
    bool is_over = c->n_busy == 0 && (c->is_stopping || (!has_waiting(c) && (!c->study || !c->may_ask)));
    if (!is_over && !(c->rc < 0 && !coordinator_has_worker(c)))
        return;
    if (c->control.n_asked > 0 && c->rc == 0) /* what was asked is answered first */
        return;
    if (!coordinator_has_worker(c))
        close_all(c);
    else if (!c->is_quitting) {
        c->is_quitting = true;
        if (c->study && !c->is_stopping)
            study_close(c);
        budget_settle(c);
        for (int i = 0; i < c->n_pools; i++) {
            if (c->pools[i].is_ready)
                pool_quit(&c->pools[i]);
            else /* its launcher may wait for a node that does not come back */
                pool_kill(&c->pools[i]);
        }
    }
}

/* The worker --------------------------------------------------------------------------------------------------------
 */

static void on_ready(struct pool *pool)
{
    struct coordinator *c = pool->options.context;
    budget_watch(c); /* it may be used up already */
    log_debug("coordinator", "worker %d on '%s' is ready", pool->options.number, pool->host);
    coordinator_dispatch(c);
}

/* What a trainer says that is no record ends its attempt. */
static void refuse(struct coordinator *c, struct coordinator_slot *slot, const struct err *err)
{
    struct text line = {0};
    char message[ERR_MESSAGE_SIZE + 64];
    snprintf(message, sizeof(message), "a record is refused: %s", err->message);
    attempt_fail(c, slot, REASON_CRASHED, message);
    text_printf(&line, "{\"v\":1,\"type\":\"kill\",\"attempt\":%" PRId64 "}", slot->attempt);
    pool_send(slot->pool, &line);
    text_done(&line);
}

static void on_message(struct pool *pool, const char *type, const cJSON *message)
{
    struct coordinator *c = pool->options.context;
    struct err err = {0};
    int64_t attempt = 0;
    struct coordinator_slot *slot =
        json_get_int64(message, "attempt", type, &attempt, &err) == 0 ? coordinator_find_attempt(c, attempt) : NULL;
    if (!slot || slot->pool != pool || slot->state != SLOT_RUNNING) {
        log_debug("coordinator", "'%s' of attempt %" PRId64 ", which does not run", type, attempt);
        return;
    }
    if (strcmp(type, "ended") == 0) {
        attempt_ended(c, slot, message);
        coordinator_dispatch(c);
    } else if (!slot->is_closed && record_take(c, slot, type, message, &err) < 0)
        refuse(c, slot, &err);
    crash_at(CRASH_RECORD_TAKEN);
}

static void on_points(struct pool *pool, const struct points *points)
{
    struct coordinator *c = pool->options.context;
    struct coordinator_slot *slot = coordinator_find_attempt(c, points->attempt);
    struct err err = {0};
    if (!slot || slot->pool != pool || slot->state != SLOT_RUNNING)
        log_debug("coordinator", "'points' of attempt %" PRId64 ", which does not run", points->attempt);
    else if (!slot->is_closed && record_take_points(c, slot, points, &err) < 0)
        refuse(c, slot, &err);
}

static void start_worker(struct coordinator *c, struct pool *pool)
{
    struct err err = {0};
    int rc = pool_start(pool, &err);
    if (rc < 0)
        coordinator_fail(c, rc, &err);
}

/* A node may be lost for good: the others go on without it. */
static void give_up(struct coordinator *c, struct pool *pool, const char *why)
{
    struct err err;
    pool->is_given_up = true;
    for (int i = 0; i < c->n_pools; i++)
        if (!c->pools[i].is_given_up) {
            progress_say(c->options->progress, "worker_given_up", "worker %d ended %d times in a row and is left out",
                         pool->options.number, pool->n_starts);
            return;
        }
    coordinator_fail(c, err_set(&err, ERR_IO, "the worker ended %d times in a row: %.1000s", pool->n_starts, why),
                     &err);
}

static void on_silent(struct pool *pool)
{
    struct coordinator *c = pool->options.context;
    if (!c->is_quitting)
        coordinator_event(c, NULL, "worker_silent",
                          "worker %d on '%s' says nothing: it is killed after %d seconds of that", pool->options.number,
                          pool->host, POOL_SILENCE_SECONDS);
}

static void on_gone(struct pool *pool, const char *why)
{
    struct coordinator *c = pool->options.context;
    for (int i = 0; i < c->n_slots; i++)
        if (c->slots[i].pool == pool && c->slots[i].state == SLOT_RUNNING)
            attempt_lost(c, &c->slots[i], why);
    if (c->is_quitting || c->is_stopping) {
        quit_if_done(c);
        return;
    }
    progress_say(c->options->progress, "worker_lost", "%s", why);
    coordinator_event(c, NULL, "worker_lost", "%s", why);
    if (pool->n_starts >= WORKER_STARTS_MAX)
        give_up(c, pool, why);
    else
        start_worker(c, pool);
    coordinator_dispatch(c);
}

/* The clock ---------------------------------------------------------------------------------------------------------
 */

static void on_tick(void *context)
{
    struct coordinator *c = context;
    double deadline = c->deadline_seconds;
    for (int i = 0; i < c->n_pools; i++)
        pool_watch(&c->pools[i]);
    look_at_storage(c);
    if (deadline > 0 && 1e-9 * (double)(loop_now_ns() - c->started_ns) > deadline)
        coordinator_stop(c, ATTEMPT_TIME_LIMIT, "deadline",
                         "the deadline has come: running trials write their checkpoints");
    budget_watch(c);
    coordinator_show(c);
    coordinator_dispatch(c);
}

/* The beginning -----------------------------------------------------------------------------------------------------
 */

struct live_trial *coordinator_add_trial(struct coordinator *c, const struct store_trial *stored, const char *settings,
                                         const char *parameters, bool is_baseline)
{
    if (c->n_trials == c->trials_capacity) {
        int larger = c->trials_capacity ? 2 * c->trials_capacity : 256;
        struct live_trial **moved = realloc(c->trials, (size_t)larger * sizeof(*moved));
        if (!moved)
            return NULL;
        c->trials = moved;
        c->trials_capacity = larger;
    }
    struct live_trial *trial = arena_calloc(&c->arena, 1, sizeof(*trial));
    if (!trial)
        return NULL;
    /* The seeds of a configuration follow each other, and share what describes it. */
    const struct live_trial *before = c->n_trials > 0 ? c->trials[c->n_trials - 1] : NULL;
    bool is_same = before && before->settings == settings && before->is_baseline == is_baseline;
    *trial =
        (struct live_trial){.stored = stored,
                            .index = c->n_trials,
                            .settings = settings,
                            .method = is_same ? before->method : coordinator_method_name(c, settings),
                            .parameters = is_same ? before->parameters : coordinator_describe(c, parameters),
                            .state = stored->state,
                            .is_wanted = true,
                            .has_folder = c->has_folders,
                            .is_baseline = is_baseline,
                            .failures = stored->attempts[ATTEMPT_FAILED],
                            .seconds = stored->seconds,
                            .trained_parameters = stored->trained_parameters.value,
                            .checkpoint = stored->checkpoint_path ? strdup(stored->checkpoint_path) : NULL,
                            .checkpoint_sha256 = stored->checkpoint_sha256 ? strdup(stored->checkpoint_sha256) : NULL,
                            .checkpoint_step = stored->checkpoint_step};
    if (stored->number > c->last_trial)
        c->last_trial = stored->number;
    c->trials[c->n_trials++] = trial;
    c->n_in_state[trial->state]++;
    return trial;
}

void coordinator_set_state(struct coordinator *c, struct live_trial *trial, enum trial_state state)
{
    if (trial->is_wanted) {
        c->n_in_state[trial->state]--;
        c->n_in_state[state]++;
    }
    trial->state = state;
}

void coordinator_note_value(struct coordinator *c, double value)
{
    bool is_maximized = c->definition->objectives[0].is_maximized;
    if (!c->best.is_known || (is_maximized ? value > c->best.value : value < c->best.value))
        c->best = known_real(value);
}

static int make_trials(struct coordinator *c, struct err *err)
{
    const struct store_loaded *loaded = c->options->loaded;
    c->n_pools = c->options->workers;
    c->has_folders = attempt_find_folders(c);
    c->slots_each = c->slots_made = c->options->slots;
    c->n_slots = c->n_pools * c->slots_each;
    c->pools = arena_calloc(&c->arena, (size_t)c->n_pools, sizeof(*c->pools));
    c->slots = arena_calloc(&c->arena, (size_t)c->n_slots, sizeof(*c->slots));
    if (!c->slots || !c->pools)
        return err_set(err, ERR_NOMEM, "no memory for %d slots", c->n_slots);
    for (int i = 0; i < loaded->n_trials; i++) {
        const struct store_trial *stored = &loaded->trials[i];
        const struct store_configuration *configuration = &loaded->configurations[stored->configuration];
        struct live_trial *trial = coordinator_add_trial(c, stored, configuration->settings, configuration->parameters,
                                                         configuration->is_baseline);
        if (!trial)
            return err_set(err, ERR_NOMEM, "no memory for %d trials", loaded->n_trials);
        trial->is_wanted = c->options->is_wanted[i];
        if (!trial->is_wanted)
            c->n_in_state[trial->state]--;
        if (stored->state == TRIAL_COMPLETE && !trial->is_baseline && stored->value.is_known)
            coordinator_note_value(c, stored->value.value);
    }
    for (int i = 0; i < c->n_slots; i++) {
        c->slots[i].pool = &c->pools[i / c->slots_each];
        c->slots[i].number = i % c->slots_each + 1;
        c->slots[i].shown.loss = (double)NAN;
    }
    return 0;
}

/* A file that a worker must see as it is here; its content is new at every run. */
static int write_marker(struct coordinator *c, struct err *err)
{
    char token[128];
    char *folder = file_folder(store_path(c->options->store));
    char *path = folder ? file_join(folder, ".nightsweep-marker") : NULL;
    snprintf(token, sizeof(token), "%" PRIu64 " %ld", loop_now_ns(), (long)uv_os_getpid());
    hash_bytes(token, strlen(token), c->marker);
    int rc = path ? file_write_fleeting(path, c->marker, strlen(c->marker), err)
                  : err_set(err, ERR_NOMEM, "no memory for the marker file");
    if (rc == 0)
        rc = file_absolute(path, &c->marker_path, err);
    free(path);
    free(folder);
    return rc;
}

/* What trainers will read: a node without one of them is named before it gets a trial. */
static void list_files(struct coordinator *c)
{
    static const char *const keys[] = {"train", "validation", "test"};
    const struct definition *d = c->definition;
    int n = 0;
    char *config = file_join(d->model, "config.json");
    if (config && file_exists(config))
        c->files[n++] = arena_strdup(&c->arena, config);
    free(config);
    if (n == 0 || !c->files[0]) {
        n = 0;
        c->files[n++] = d->model;
    }
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const cJSON *file = json_get(d->task, keys[i]);
        if (cJSON_IsString(file))
            c->files[n++] = file->valuestring;
    }
    for (int i = 0; i < d->n_checks && n < COORDINATOR_FILES_MAX; i++)
        if (d->checks[i].file)
            c->files[n++] = d->checks[i].file;
    for (int i = 0; i < d->n_init_adapters && n < COORDINATOR_FILES_MAX; i++)
        c->files[n++] = d->init_adapters[i].path;
}

/* A run that cannot be asked still runs. */
static void listen_to_commands(struct coordinator *c)
{
    struct err err = {0};
    c->control.on_request = coordinator_on_request;
    c->control.context = c;
    if (control_listen(&c->control, &c->loop.uv, store_path(c->options->store), &err) < 0)
        progress_say(c->options->progress, "no_control",
                     "commands such as `nightsweep pause` cannot reach this run: %s", err.message);
}

static char *worker_program(void)
{
    char *folder = file_program_folder();
    char *program = folder ? file_join(folder, "nightsweep-worker") : NULL;
    free(folder);
    return program;
}

static int serve(struct coordinator *c, struct err *err)
{
    const struct store_thread_options thread_options = {.notify = notify,
                                                        .notify_context = c,
                                                        .on_error = on_store_error,
                                                        .on_error_context = c,
                                                        .holds_on_failure = true,
                                                        .is_pumped = !loop_has_threads};
    const struct loop_options loop_options = {.context = c,
                                              .tick_ms = TICK_MS,
                                              .on_news = on_store_news,
                                              .on_tick = on_tick,
                                              .on_signal = on_signal,
                                              .on_idle = on_idle};
    char *program = worker_program();
    int rc =
        program ? loop_open(&c->loop, &loop_options, err) : err_set(err, ERR_NOMEM, "no memory for the worker's path");
    if (rc < 0) {
        free(program);
        return rc;
    }
    for (int i = 0; i < c->n_pools; i++) {
        const struct pool_options pool_options = {.launcher = c->options->launcher,
                                                  .number = i,
                                                  .program = program,
                                                  .marker_path = c->marker_path,
                                                  .marker = c->marker,
                                                  .files = c->files,
                                                  .slots = c->slots_each,
                                                  .context = c,
                                                  .on_ready = on_ready,
                                                  .on_message = on_message,
                                                  .on_silent = on_silent,
                                                  .on_points = on_points,
                                                  .on_gone = on_gone};
        pool_init(&c->pools[i], &c->loop.uv, &pool_options);
    }
    rc = store_thread_start(&c->thread, c->options->store, &thread_options, err);
    if (rc == 0)
        listen_to_commands(c);
    for (int i = 0; i < c->n_pools && rc == 0; i++)
        start_worker(c, &c->pools[i]);
    if (rc < 0)
        close_all(c);
    loop_run(&c->loop);
    store_thread_stop(c->thread);
    loop_close(&c->loop);
    free(program);
    if (rc == 0 && c->rc < 0) {
        *err = c->err;
        rc = c->rc;
    }
    return rc;
}

/* Whether a run that was stopped would have gone on with a trial that nobody has seen yet. The study is of no use after
 * this. */
static bool has_more(struct coordinator *c)
{
    struct study_proposal proposal;
    struct err err;
    return c->study && c->is_stopping && c->may_ask && c->rc == 0 && study_ask(c->study, &proposal, &err) == 0 &&
           (proposal.answer == STUDY_TRIAL || proposal.answer == STUDY_RESUME);
}

int coordinator_run(const struct coordinator_options *options, struct run_outcome *outcome, struct err *err)
{
    struct coordinator *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(err, ERR_NOMEM, "no memory for the coordinator");
    c->options = options;
    c->definition = options->definition;
    c->deadline_seconds = options->deadline_seconds;
    c->started_ns = loop_now_ns();
    int rc = make_trials(c, err);
    if (rc == 0 && options->study)
        rc = study_take_up(c, err);
    if (rc == 0 && (has_waiting(c) || c->study)) {
        list_files(c);
        rc = write_marker(c, err);
        if (rc == 0)
            rc = serve(c, err);
    }
    attempt_remove_leftovers(c);
    for (int i = 0; i < c->n_trials; i++) {
        const struct live_trial *trial = c->trials[i];
        outcome->n_failed += trial->is_wanted && trial->state == TRIAL_FAILED;
        outcome->n_open += trial->is_wanted && !trial_state_is_final(trial->state);
        free(trial->checkpoint);
        free(trial->checkpoint_sha256);
    }
    outcome->n_open += outcome->n_open == 0 && has_more(c);
    for (int i = 0; i < c->n_slots && c->slots; i++) {
        cJSON_Delete(c->slots[i].outcomes);
        cJSON_Delete(c->slots[i].held_report);
    }
    HASH_CLEAR(by_attempt, c->by_attempt);
    HASH_CLEAR(by_identity, c->by_identity);
    free(c->trials);
    free(c->by_study);
    free(c->known);
    outcome->was_interrupted = outcome->was_interrupted || c->is_interrupted;
    outcome->was_canceled = outcome->was_canceled || c->is_canceled;
    free(c->marker_path);
    arena_done(&c->arena);
    free(c);
    return rc;
}
