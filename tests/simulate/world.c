/* Time, chance and events; the loop (orchestrator/loop.h) and the crash points (common/crash.h) of the simulation. */
#include "tests/simulate/world.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crash.h"
#include "tests/support/faults/faults.h"

enum { EVENTS_MAX = 4096, RUN_EVENTS_MAX = 300000 };

struct world *world;

/* Chance ----------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

double world_uniform(void)
{
    world->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    return (double)(mix(world->random) >> 11) * 0x1p-53;
}

double world_between(double from, double to)
{
    return from + (to - from) * world_uniform();
}

int world_below(int n)
{
    return (int)(world_uniform() * n);
}

bool world_chance(double share)
{
    return world_uniform() < share;
}

bool world_takes(int *left, double share)
{
    if (*left <= 0 || !world_chance(share))
        return false;
    --*left;
    return true;
}

double world_number(const char *identity, const char *purpose, int64_t step)
{
    uint64_t hash = UINT64_C(1469598103934665603) + (uint64_t)step;
    for (const char *c = identity; *c; c++)
        hash = mix(hash ^ (unsigned char)*c);
    for (const char *c = purpose; *c; c++)
        hash = mix(hash ^ (unsigned char)*c);
    return (double)(hash >> 11) * 0x1p-53;
}

/* What is said ----------------------------------------------------------------------------------------------------- */

void world_trace(const char *format, ...)
{
    char line[1024];
    size_t len = strlen(world->folder);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (char *at = line; len > 0 && (at = strstr(at, world->folder));)
        memmove(at, at + len, strlen(at + len) + 1);
    for (const char *c = line; *c; c++)
        world->trace_hash = mix(world->trace_hash ^ (unsigned char)*c);
    if (world->prints) {
        printf("%10.4f %s\n", 1e-9 * (double)world->now_ns, line);
        fflush(stdout);
    }
}

void world_break(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->broken, sizeof(world->broken), format, arguments);
    va_end(arguments);
    world_trace("BROKEN: %s", world->broken);
    _exit(WORLD_BROKEN);
}

void world_kill(const char *where)
{
    world_trace("the coordinator is killed: %s", where);
    _exit(WORLD_KILLED);
}

/* The ledger ------------------------------------------------------------------------------------------------------- */

static int64_t count(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK || sqlite3_step(row) != SQLITE_ROW)
        world_break("'%s': %s", sql, sqlite3_errmsg(db));
    int64_t n = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return n;
}

void world_read_ledger(sqlite3 *db, struct ledger *ledger)
{
    *ledger = (struct ledger){
        .points = count(db, "SELECT count(*) FROM metric"),
        .evaluations = count(db, "SELECT count(*) FROM evaluation"),
        .decisions = count(db, "SELECT count(*) FROM decision"),
        .events = count(db, "SELECT count(*) FROM event"),
        .attempts = count(db, "SELECT count(*) FROM attempt"),
        .trials = count(db, "SELECT count(*) FROM trial"),
        .final_trials = count(db, "SELECT count(*) FROM trial WHERE state IN ('COMPLETE', 'PRUNED')"),
    };
}

void world_check_ledger(const struct ledger *found)
{
    const struct ledger *known = &world->ledger;
    const struct {
        const char *what;
        int64_t found, known;
    } rows[] = {
        {"points", found->points, known->points},
        {"evaluations", found->evaluations, known->evaluations},
        {"decisions", found->decisions, known->decisions},
        {"events", found->events, known->events},
        {"attempts", found->attempts, known->attempts},
        {"trials", found->trials, known->trials},
        {"trials that are through", found->final_trials, known->final_trials},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].found < rows[i].known)
            world_break("%" PRId64 " %s were committed, %" PRId64 " are there", rows[i].known, rows[i].what,
                        rows[i].found);
}

/* Events ----------------------------------------------------------------------------------------------------------- */

struct event {
    uint64_t at_ns, number;
    void (*act)(void *context);
    void *context;
};

static struct event events[EVENTS_MAX];
static int n_events;
static uint64_t last_number;

void world_after(double seconds, void (*act)(void *context), void *context)
{
    if (n_events == EVENTS_MAX)
        world_break("more than %d events wait", EVENTS_MAX);
    events[n_events++] = (struct event){world->now_ns + (uint64_t)(1e9 * seconds), ++last_number, act, context};
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->number < b->number);
}

static struct event take_event(void)
{
    int first = 0;
    for (int i = 1; i < n_events; i++)
        if (is_before(&events[i], &events[first]))
            first = i;
    struct event event = events[first];
    events[first] = events[--n_events];
    return event;
}

/* The loop --------------------------------------------------------------------------------------------------------- */

const bool loop_has_threads = false;

static struct loop *running;
static bool is_stopped, has_news, is_planned;

static struct coordinator *coordinator(void)
{
    return running->options.context;
}

uint64_t loop_now_ns(void)
{
    return world->now_ns;
}

static void tick(void *context)
{
    (void)context;
    if (is_stopped)
        return;
    running->options.on_tick(running->options.context);
    world_after(1e-3 * (double)running->options.tick_ms, tick, NULL);
}

static void news(void *context)
{
    (void)context;
    has_news = false;
    if (!is_stopped)
        running->options.on_news(running->options.context);
}

void loop_wake(struct loop *loop)
{
    (void)loop;
    if (!has_news)
        world_after(world_between(0, 0.002), news, NULL);
    has_news = true;
}

/* What the store's thread does, when its time has come; the disk may fail it. */
static void commit(void *context)
{
    static const int errors[] = {ENOSPC, EIO};
    (void)context;
    is_planned = false;
    if (is_stopped)
        return;
    bool fails = world_takes(&world->store_faults, 0.05);
    if (fails)
        faults_start(FAULT_IO, 1 + world_below(16), errors[world_below(2)], world_chance(0.7));
    bool has_worked = store_thread_pump(coordinator()->thread);
    faults_stop();
    if (has_worked)
        world_trace("the store's thread: a batch%s", fails ? ", with a bad disk" : "");
}

static void plan_commit(void)
{
    struct store_thread *thread = coordinator()->thread;
    if (is_planned || !thread || store_thread_pending(thread) == 0 || store_thread_is_held(thread, NULL))
        return;
    is_planned = true;
    world_after(world_chance(world->slow_commits) ? world_between(0.1, 3) : world_between(0.0001, 0.01), commit, NULL);
}

static void interrupt(void *context)
{
    (void)context;
    if (is_stopped)
        return;
    world_trace("SIGINT");
    running->options.on_signal(running->options.context, SIGINT);
}

static void kill_now(void *context)
{
    (void)context;
    world_kill("at a random moment");
}

/* States may change as this table says, and not otherwise. It is not made from trial_state.c, which it watches. */
static const char state_watch[] =
    "CREATE TEMP TRIGGER watch BEFORE UPDATE OF state ON main.trial WHEN OLD.state <> NEW.state AND OLD.state || '>' "
    "|| "
    "NEW.state NOT IN ('WAITING>RUNNING', 'WAITING>COMPLETE', 'WAITING>PRUNED', 'WAITING>FAILED', 'RUNNING>WAITING', "
    "'RUNNING>PAUSED', 'RUNNING>COMPLETE', 'RUNNING>PRUNED', 'RUNNING>FAILED', 'PAUSED>WAITING', 'PAUSED>RUNNING', "
    "'PAUSED>COMPLETE', 'PAUSED>PRUNED', 'FAILED>WAITING') BEGIN SELECT RAISE(ABORT, 'an illegal change of state'); "
    "END;"
    "CREATE TEMP TRIGGER once BEFORE INSERT ON main.attempt WHEN EXISTS (SELECT 1 FROM main.attempt a WHERE a.trial_id "
    "= "
    "NEW.trial_id AND a.state = 'RUNNING') BEGIN SELECT RAISE(ABORT, 'a trial runs twice'); END;";

int loop_open(struct loop *loop, const struct loop_options *options, struct err *err)
{
    struct ledger found;
    loop->options = *options;
    running = loop;
    sqlite3 *db = store_database(coordinator()->options->store);
    world_read_ledger(db, &found);
    world_check_ledger(&found);
    if (sqlite3_exec(db, state_watch, NULL, NULL, NULL) != SQLITE_OK)
        return err_set(err, ERR_INTERNAL, "the states cannot be watched: %s", sqlite3_errmsg(db));
    world_after(1e-3 * (double)options->tick_ms, tick, NULL);
    if (world_takes(&world->interrupts, 0.3))
        for (int i = 0, n = 1 + world_below(2); i < n; i++)
            world_after(world_between(0, 20), interrupt, NULL);
    if (world_takes(&world->kills, 0.7))
        world_after(world_between(0, world_chance(0.3) ? 1 : 15), kill_now, NULL);
    people_come(coordinator());
    return 0;
}

void loop_run(struct loop *loop)
{
    (void)loop;
    for (int n = 0; !is_stopped; n++) {
        plan_commit();
        if (n == RUN_EVENTS_MAX)
            world_break("the run does not end");
        struct event event = take_event();
        world->now_ns = event.at_ns;
        world->n_events++;
        event.act(event.context);
        if (!is_stopped)
            running->options.on_idle(running->options.context);
    }
}

void loop_stop(struct loop *loop)
{
    (void)loop;
    is_stopped = true;
}

void loop_close(struct loop *loop)
{
    (void)loop;
}

/* Crash points ----------------------------------------------------------------------------------------------------- */

#define CRASH_INFO(constant, name, where, state) [constant] = {name, where, state},
const struct crash_point_info crash_points[CRASH_POINT_COUNT] = {CRASH_POINTS(CRASH_INFO)};
#undef CRASH_INFO

void crash_at(enum crash_point point)
{
    if (point == CRASH_BATCH_COMMITTED) {
        faults_stop(); /* the batch is through */
        world_read_ledger(store_database(coordinator()->options->store), &world->ledger);
    }
    if (world_takes(&world->kills, world->kill_rate))
        world_kill(crash_points[point].name);
}
