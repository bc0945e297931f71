/* Workers and their trainers without processes (orchestrator/pool.h): what they say comes late, in order, cut off by
 * their death, and sometimes it is nonsense.
 *
 * Trainers are those of docs/protocol.md: points, evaluations, checkpoints as files, a result. What they report follows
 * from identity and step alone, so whoever is killed, every trial must come to the same numbers. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "tests/simulate/crew.h"

enum { WORKERS_MAX = 64, SLOTS_MAX = 8, LINES_MAX = 2048 };

enum fault { NO_FAULT, FAULT_CRASH, FAULT_EXIT, FAULT_NONSENSE, FAULT_GARBLED, FAULT_DISK };

struct trainer {
    struct pool_worker *worker;
    bool is_busy, is_asked_to_stop;
    int64_t attempt, slot, seq, step, first_step, every, pause_at, checkpoint_every;
    double step_seconds;
    char output[512], identity[HASH_HEX_SIZE], parent[HASH_HEX_SIZE];
    struct text points;
    enum fault fault;
    int records_left; /* until the fault */
    int life;         /* events of an earlier one are void */
};

struct line {
    uint64_t at_ns;
    char *text;
};

struct pool_worker {
    struct pool *pool;
    bool is_alive, is_hung;
    uint64_t last_ns, hung_ns;
    struct line lines[LINES_MAX]; /* on their way, from first */
    int first, n;
    struct trainer trainers[SLOTS_MAX];
    char why[200];
};

/* An event of a trainer's life. */
struct moment {
    struct trainer *trainer;
    int life;
};

static struct pool_worker workers[WORKERS_MAX];
static int n_workers;

/* Lines ------------------------------------------------------------------------------------------------------------ */

static void deliver(void *context)
{
    struct pool_worker *worker = context;
    struct pool *pool = worker->pool;
    if (worker->n == 0 || pool->is_paused || worker->lines[worker->first].at_ns > world->now_ns ||
        pool->worker != worker)
        return;
    char *text = worker->lines[worker->first].text;
    worker->first = (worker->first + 1) % LINES_MAX;
    worker->n--;
    cJSON *message = cJSON_Parse(text);
    const cJSON *type = json_get(message, "type");
    world_trace("worker %d: %.400s", pool->options.number, text);
    if (!message)
        crew_end(pool, "a line of the worker is no message");
    else if (pool->is_ready && cJSON_IsString(type))
        pool->options.on_message(pool, type->valuestring, message);
    cJSON_Delete(message);
    free(text);
}

/* Sends the text, which is emptied. */
static void say(struct pool_worker *worker, struct text *text)
{
    uint64_t at = world->now_ns + (uint64_t)(1e9 * world_between(0.0001, world_chance(0.1) ? 0.2 : 0.005));
    if (!worker->is_alive || worker->is_hung) {
        text_done(text);
        return;
    }
    if (worker->n == LINES_MAX)
        world_break("more than %d lines are on their way", LINES_MAX);
    worker->last_ns = at > worker->last_ns ? at : worker->last_ns + 1;
    worker->lines[(worker->first + worker->n++) % LINES_MAX] = (struct line){worker->last_ns, text_take(text)};
    world_after(1e-9 * (double)(worker->last_ns - world->now_ns) + 1e-9, deliver, worker);
}

/* Workers ---------------------------------------------------------------------------------------------------------- */

static void gone(void *context)
{
    struct pool_worker *worker = context;
    struct pool *pool = worker->pool;
    if (pool->worker != worker)
        return;
    pool->worker = NULL;
    pool->is_ready = pool->is_paused = pool->is_silent = false;
    world_trace("worker %d is gone: %s", pool->options.number, worker->why);
    pool->options.on_gone(pool, worker->why);
}

void crew_end(struct pool *pool, const char *why)
{
    struct pool_worker *worker = pool->worker;
    if (!worker || !worker->is_alive)
        return;
    pool_pause(pool, false);
    worker->is_alive = false;
    snprintf(worker->why, sizeof(worker->why), "%s", why);
    for (int i = 0; i < SLOTS_MAX; i++) {
        worker->trainers[i].life++;
        worker->trainers[i].is_busy = false;
    }
    while (worker->n > 0 && world_chance(0.5)) /* what it had not passed on */
        free(worker->lines[(worker->first + --worker->n) % LINES_MAX].text);
    uint64_t last = worker->n > 0 ? worker->lines[(worker->first + worker->n - 1) % LINES_MAX].at_ns : world->now_ns;
    world_after(1e-9 * (double)(last > world->now_ns ? last - world->now_ns : 0) + 0.001, gone, worker);
}

static void die(void *context)
{
    struct pool_worker *worker = context;
    if (worker->is_alive)
        crew_end(worker->pool, "the worker was ended by signal 9");
}

static void hang(void *context)
{
    struct pool_worker *worker = context;
    worker->is_hung = true;
    worker->hung_ns = world->now_ns;
}

static void greet(void *context)
{
    struct pool_worker *worker = context;
    struct pool *pool = worker->pool;
    if (!worker->is_alive || worker->is_hung)
        return;
    snprintf(pool->host, sizeof(pool->host), "node");
    pool->is_ready = true;
    world_trace("worker %d: hello", pool->options.number);
    pool->options.on_ready(pool);
}

void pool_init(struct pool *pool, uv_loop_t *loop, const struct pool_options *options)
{
    *pool = (struct pool){.loop = loop, .options = *options};
}

int pool_start(struct pool *pool, struct err *err)
{
    if (n_workers == WORKERS_MAX)
        return err_set(err, ERR_INTERNAL, "more than %d workers in one run", WORKERS_MAX);
    struct pool_worker *worker = &workers[n_workers++];
    worker->pool = pool;
    worker->is_alive = true;
    pool->worker = worker;
    pool->n_starts++;
    for (int i = 0; i < SLOTS_MAX; i++)
        worker->trainers[i].worker = worker;
    world_after(world_between(0.005, world_chance(0.1) ? 3 : 0.05), greet, worker);
    if (world_takes(&world->worker_deaths, 0.3))
        world_after(world_between(0, 12), world_chance(0.2) ? hang : die, worker);
    return 0;
}

void pool_pause(struct pool *pool, bool is_paused)
{
    if (!pool->worker || pool->is_paused == is_paused)
        return;
    pool->is_paused = is_paused;
    for (int i = 0; !is_paused && i < pool->worker->n; i++)
        world_after(1e-9, deliver, pool->worker);
}

void pool_kill(struct pool *pool)
{
    crew_end(pool, "the worker was killed");
}

static void leave(void *context)
{
    struct pool_worker *worker = context;
    if (worker->is_alive)
        crew_end(worker->pool, "the worker ended with exit status 0");
}

void pool_quit(struct pool *pool)
{
    if (!pool->worker)
        return;
    pool_pause(pool, false);
    world_after(world_between(0.001, 0.05), pool->worker->is_hung ? die : leave, pool->worker);
}

void pool_watch(struct pool *pool)
{
    struct pool_worker *worker = pool->worker;
    if (worker && worker->is_alive && worker->is_hung && pool->is_ready && !pool->is_silent) {
        pool->is_silent = true;
        pool->options.on_silent(pool);
    }
    if (worker && worker->is_alive && worker->is_hung &&
        world->now_ns - worker->hung_ns > POOL_SILENCE_SECONDS * UINT64_C(1000000000))
        crew_end(pool, "the worker said nothing for 10 seconds");
}

/* What trainers say ------------------------------------------------------------------------------------------------ */

static void end_trainer(struct trainer *trainer, int exit_status, int signal)
{
    struct text line = {0};
    text_printf(&line,
                "{\"v\":1,\"type\":\"ended\",\"attempt\":%" PRId64 ",\"slot\":%" PRId64
                ",\"exit_status\":%d,\"signal\":%d,\"seconds\":1,\"peak_bytes\":1000,\"log_tail\":\"\"}",
                trainer->attempt, trainer->slot, exit_status, signal);
    trainer->is_busy = false;
    trainer->life++;
    text_done(&trainer->points);
    say(trainer->worker, &line);
}

/* False: it ended in doing so. */
static bool send_record(struct trainer *trainer, const char *type, const char *members)
{
    struct text line = {0};
    if (trainer->fault != NO_FAULT && trainer->records_left-- <= 0) {
        enum fault fault = trainer->fault;
        trainer->fault = NO_FAULT;
        if (fault == FAULT_CRASH || fault == FAULT_EXIT) {
            end_trainer(trainer, 0, fault == FAULT_CRASH ? 11 : 0);
            return false;
        }
        if (fault == FAULT_NONSENSE)
            text_printf(&line,
                        "{\"v\":1,\"type\":\"points\",\"attempt\":%" PRId64
                        ",\"seq\":1,\"points\":[[\"train/loss\",-1,0]]}",
                        trainer->attempt);
        else if (fault == FAULT_GARBLED)
            text_add(&line, "{\"v\":1,\"type\":\"poi");
        if (line.len)
            say(trainer->worker, &line);
        if (!trainer->worker->is_alive)
            return false;
    }
    text_printf(&line, "{\"v\":1,\"type\":\"%s\",\"attempt\":%" PRId64 ",\"seq\":%" PRId64 "%s}", type,
                trainer->attempt, ++trainer->seq, members);
    say(trainer->worker, &line);
    return true;
}

double crew_loss(const char *identity, int64_t step)
{
    return 0.5 * world_number(identity, "level", 0) + 1.0 / (double)(step + 1) +
           0.1 * world_number(identity, "loss", step);
}

/* The step at which the trial has no number any more; 0: never. */
int64_t crew_diverges(const char *identity)
{
    return world_number(identity, "diverges", 0) < 0.05 ? 3 + (int64_t)(6 * world_number(identity, "diverges", 1)) : 0;
}

static bool flush_points(struct trainer *trainer)
{
    struct text members = {0};
    if (trainer->points.len == 0)
        return true;
    text_printf(&members, ",\"points\":[%s]", trainer->points.data);
    text_reset(&trainer->points);
    bool goes_on = send_record(trainer, "points", members.data);
    text_done(&members);
    return goes_on;
}

static bool send_evaluation(struct trainer *trainer, bool is_final)
{
    struct text members = {0};
    if (!flush_points(trainer))
        return false;
    text_printf(&members,
                ",\"split\":\"validation\",\"step\":%" PRId64 ",\"is_final\":%s,\"n_items\":8,\"metrics\":{\"loss\":",
                trainer->step, is_final ? "true" : "false");
    text_add_double(&members, crew_loss(trainer->identity, trainer->step));
    text_add(&members, "}");
    bool goes_on = send_record(trainer, "evaluation", members.data);
    text_done(&members);
    return goes_on;
}

static bool send_checkpoint(struct trainer *trainer)
{
    char members[900], path[700], content[160], hash[HASH_HEX_SIZE];
    struct err err;
    if (!flush_points(trainer))
        return false;
    if (trainer->fault == FAULT_DISK) {
        trainer->fault = NO_FAULT;
        snprintf(members, sizeof(members), ",\"step\":%" PRId64 ",\"message\":\"no space left\"", trainer->step);
        return send_record(trainer, "progress", members);
    }
    snprintf(path, sizeof(path), "%s/%" PRId64 "-%" PRId64 ".checkpoint", trainer->output, trainer->attempt,
             trainer->step);
    int n = snprintf(content, sizeof(content), "%s %" PRId64 "\n", trainer->identity, trainer->step);
    if (file_write_atomic(path, content, (size_t)n, &err) < 0)
        world_break("a trainer's checkpoint: %s", err.message);
    hash_bytes(content, (size_t)n, hash);
    snprintf(members, sizeof(members), ",\"step\":%" PRId64 ",\"path\":\"%s\",\"bytes\":%d,\"sha256\":\"%s\"",
             trainer->step, path, n, hash);
    return send_record(trainer, "checkpoint", members);
}

static bool send_started(struct trainer *trainer)
{
    char members[600];
    snprintf(
        members, sizeof(members),
        ",\"fingerprint\":{\"program_version\":\"0\",\"git_commit\":\"0\",\"blas_version\":\"0\",\"blas_core\":\"0\","
        "\"cpu\":\"0\",\"kernel_level\":\"portable\",\"compute\":\"f32\"},\"hashes\":{\"model\":\"0\",\"tokenizer\":"
        "\"0\",\"data\":\"0\"},\"resumed_step\":%" PRId64 ",\"bit_exact\":true,\"total_steps\":%d,"
        "\"trained_parameters\":10",
        trainer->step, CREW_STEPS);
    return send_record(trainer, "started", members);
}

/* Training --------------------------------------------------------------------------------------------------------- */

static void finish(struct trainer *trainer)
{
    struct text members = {0};
    bool goes_on =
        send_evaluation(trainer, true) &&
        send_record(trainer, "artifact", ",\"kind\":\"adapter\",\"path\":\"adapter/a\",\"bytes\":1,\"sha256\":\"0\"");
    text_printf(&members, ",\"step\":%" PRId64 ",\"value\":0,\"objectives\":{\"validation/loss\":", trainer->step);
    text_add_double(&members, crew_loss(trainer->identity, trainer->step));
    text_add(&members, "},\"stored_bytes\":1,\"seconds\":1,\"message\":\"\"");
    goes_on = goes_on && send_record(trainer, "finished", members.data);
    text_done(&members);
    if (goes_on)
        end_trainer(trainer, 0, 0);
}

static void stop(struct trainer *trainer)
{
    char members[64];
    snprintf(members, sizeof(members), ",\"step\":%" PRId64, trainer->step);
    if (send_checkpoint(trainer) && send_record(trainer, "stopped", members))
        end_trainer(trainer, 0, 0);
}

static void diverge(struct trainer *trainer)
{
    char members[128];
    snprintf(members, sizeof(members), ",\"reason\":\"diverged\",\"message\":\"no number\",\"step\":%" PRId64,
             trainer->step);
    if (flush_points(trainer) && send_record(trainer, "failed", members))
        end_trainer(trainer, 1, 0);
}

/* One step, and what follows it. False: the trainer is through. */
static bool train(struct trainer *trainer)
{
    if (trainer->is_asked_to_stop || (trainer->pause_at && trainer->step == trainer->pause_at)) {
        stop(trainer);
        return false;
    }
    trainer->step++;
    if (trainer->step == crew_diverges(trainer->identity)) {
        diverge(trainer);
        return false;
    }
    text_printf(&trainer->points, "%s[\"train/loss\",%" PRId64 ",", trainer->points.len ? "," : "", trainer->step);
    text_add_double(&trainer->points, crew_loss(trainer->identity, trainer->step));
    text_add(&trainer->points, "]");
    if (world_chance(0.5) && !flush_points(trainer))
        return false;
    if (trainer->step % trainer->every == 0 && !send_evaluation(trainer, false))
        return false;
    if (trainer->step == CREW_STEPS) {
        finish(trainer);
        return false;
    }
    return trainer->step % trainer->checkpoint_every != 0 || send_checkpoint(trainer);
}

static void live(void *context);

static void live_on(struct trainer *trainer, double seconds)
{
    struct moment *moment = malloc(sizeof(*moment));
    *moment = (struct moment){trainer, trainer->life};
    world_after(seconds, live, moment);
}

static void live(void *context)
{
    struct moment moment = *(struct moment *)context;
    struct trainer *trainer = moment.trainer;
    free(context);
    if (moment.life == trainer->life && train(trainer) && trainer->is_busy)
        live_on(trainer, trainer->step_seconds * world_between(0.5, 1.5));
}

/* Commands --------------------------------------------------------------------------------------------------------- */

/* Goes on from a checkpoint, which must be there and its own or its parent's. */
static void resume(struct trainer *trainer, const char *path)
{
    char *content = NULL, identity[HASH_HEX_SIZE] = "";
    size_t len = 0;
    struct err err;
    if (file_read(path, 1000, &content, &len, &err) < 0)
        world_break("attempt %" PRId64 " shall go on from %s", trainer->attempt, err.message);
    if (sscanf(content, "%64s %" SCNd64, identity, &trainer->step) != 2 ||
        (strcmp(identity, trainer->identity) != 0 && strcmp(identity, trainer->parent) != 0))
        world_break("attempt %" PRId64 " shall go on from another trial's checkpoint", trainer->attempt);
    free(content);
}

/* Nothing is sent before it is on disk, and no trial runs twice at a time. */
static void check_start(const struct trainer *trainer)
{
    struct coordinator *c = trainer->worker->pool->options.context;
    sqlite3_stmt *row = NULL;
    sqlite3_prepare_v2(store_database(c->options->store), "SELECT 1 FROM attempt WHERE id = ?1 AND state = 'RUNNING'",
                       -1, &row, NULL);
    sqlite3_bind_int64(row, 1, trainer->attempt);
    if (sqlite3_step(row) != SQLITE_ROW)
        world_break("attempt %" PRId64 " is sent, and is not RUNNING in the store", trainer->attempt);
    sqlite3_finalize(row);
    for (int w = 0; w < n_workers; w++)
        for (int i = 0; i < SLOTS_MAX; i++) {
            const struct trainer *other = &workers[w].trainers[i];
            if (other != trainer && other->is_busy && strcmp(other->output, trainer->output) == 0)
                world_break("trial '%s' runs twice at a time", trainer->output);
        }
}

static const char *text_of(const cJSON *object, const char *name)
{
    const cJSON *item = json_get(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static int64_t number_of(const cJSON *object, const char *name)
{
    const cJSON *item = json_get(object, name);
    return cJSON_IsNumber(item) ? (int64_t)item->valuedouble : 0;
}

static void start(struct pool_worker *worker, const cJSON *command)
{
    const cJSON *job = json_get(command, "job"), *settings = json_get(job, "settings");
    int64_t slot = number_of(command, "slot");
    struct trainer *trainer = slot >= 1 && slot <= SLOTS_MAX ? &worker->trainers[slot - 1] : NULL;
    if (!trainer || trainer->is_busy)
        world_break("slot %" PRId64 " is busy", slot);
    *trainer = (struct trainer){.worker = worker,
                                .is_busy = true,
                                .attempt = number_of(command, "attempt"),
                                .slot = slot,
                                .every = number_of(settings, "evaluate_every"),
                                .pause_at = number_of(job, "pause_at_step"),
                                .checkpoint_every = 1 + world_below(4),
                                .step_seconds = world_between(0.01, 0.5),
                                .life = trainer->life + 1};
    snprintf(trainer->output, sizeof(trainer->output), "%s", text_of(job, "output"));
    snprintf(trainer->identity, sizeof(trainer->identity), "%s", text_of(job, "identity"));
    snprintf(trainer->parent, sizeof(trainer->parent), "%s", text_of(job, "parent"));
    if (text_of(job, "resume")[0])
        resume(trainer, text_of(job, "resume"));
    trainer->first_step = trainer->step;
    if (world_takes(&world->trainer_faults, 0.15)) {
        trainer->fault = FAULT_CRASH + (enum fault)world_below(5);
        trainer->records_left = world_below(20);
    }
    check_start(trainer);
    struct err err;
    if (file_make_folders(trainer->output, &err) < 0)
        world_break("%s", err.message);
    if (send_started(trainer))
        live_on(trainer, trainer->step_seconds);
}

struct command {
    struct pool_worker *worker;
    cJSON *json;
};

static void obey(void *context)
{
    struct command command = *(struct command *)context;
    struct pool_worker *worker = command.worker;
    const char *type = text_of(command.json, "type");
    int64_t attempt = number_of(command.json, "attempt");
    free(context);
    if (worker->is_alive && !worker->is_hung && strcmp(type, "start") == 0)
        start(worker, command.json);
    for (int i = 0; i < SLOTS_MAX && worker->is_alive && !worker->is_hung; i++) {
        struct trainer *trainer = &worker->trainers[i];
        if (!trainer->is_busy || (attempt != 0 && trainer->attempt != attempt))
            continue;
        if (strcmp(type, "stop") == 0)
            trainer->is_asked_to_stop = true;
        else if (strcmp(type, "kill") == 0)
            end_trainer(trainer, 0, 9);
    }
    cJSON_Delete(command.json);
}

void pool_send(struct pool *pool, struct text *line)
{
    if (pool->worker && line->data) {
        struct command *command = malloc(sizeof(*command));
        *command = (struct command){pool->worker, cJSON_Parse(line->data)};
        world_trace("to worker %d: %.90s", pool->options.number, line->data);
        world_after(0.0005, obey, command);
    }
    text_done(line);
}

void pool_flush(struct pool *pool)
{
    (void)pool; /* each line is on its way already */
}
