/* The whole coordinator in one process, seed by seed: time, workers, disk and people are those of world.h; sweep,
 * search, store and files are the real ones. A run is killed, interrupted and started again until it is through; then
 * every promise is checked.
 *
 *   simulate [--from N] [--seeds COUNT] [--jobs N]     seeds N (1) to N + COUNT (1000) − 1; --kind NAME: of those the
 *                                                      ones with such a sweep
 *   simulate --seed N                                  one, and prints what happens
 *   simulate --seed N --twice                          twice: both must go the same way */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/run.h"
#include "tests/simulate/crew.h"

enum { RUNS_MAX = 60, JOBS_MAX = 16 };

/* Sweeps ----------------------------------------------------------------------------------------------------------- */

static const struct kind {
    const char *name, *members; /* of the definition */
    int n_configurations, n_seeds;
    bool is_repeatable; /* the same whoever runs when */
} kinds[] = {
    {"grid", "\"search\":{\"algorithm\":\"grid\"}", 6, 1, true},
    {"seeds", "\"search\":{\"algorithm\":\"random\",\"configurations\":4},\"seeds\":2", 4, 2, true},
    {"asha",
     "\"search\":{\"algorithm\":\"random\",\"configurations\":9},\"stopping\":{\"rule\":\"asha\",\"min_resource\":2,"
     "\"max_resource\":12,\"reduction_factor\":2}",
     9, 1, false},
    {"hyperband",
     "\"search\":{\"algorithm\":\"tpe\",\"configurations\":8},\"stopping\":{\"rule\":\"hyperband\",\"min_resource\":2,"
     "\"max_resource\":12,\"reduction_factor\":2}",
     8, 1, false},
    {"median",
     "\"search\":{\"algorithm\":\"sobol\",\"configurations\":8},\"stopping\":{\"rule\":\"median\",\"min_resource\":2,"
     "\"interval\":2,\"min_trials\":2}",
     8, 1, false},
    {"population",
     "\"search\":{\"algorithm\":\"random\",\"configurations\":5},\"stopping\":{\"rule\":\"pbt\",\"interval\":4,"
     "\"max_resource\":12}",
     5, 1, true},
    {"strict",
     "\"search\":{\"algorithm\":\"tpe\",\"configurations\":8},\"order\":\"strict\",\"stopping\":{\"rule\":\"asha\","
     "\"min_resource\":2,\"max_resource\":12,\"reduction_factor\":2}",
     8, 1, true},
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const char *only_kind; /* NULL: all */

static const struct kind *kind_of(uint64_t seed)
{
    return &kinds[seed % KINDS];
}

static void write_file(const char *name, const char *content)
{
    char path[128];
    struct err err;
    snprintf(path, sizeof(path), "%s/%s", world->folder, name);
    if (file_write_atomic(path, content, strlen(content), &err) < 0)
        world_break("%s", err.message);
}

static void write_sweep(void)
{
    static const char *const files[] = {"model/config.json", "model/tokenizer.json", "model/model.safetensors",
                                        "train.jsonl", "validation.jsonl"};
    const struct kind *kind = kind_of(world->seed);
    const char *rate = strcmp(kind->name, "grid") == 0 ? "{\"values\":[0.1,0.2,0.3,0.4,0.5,0.6]}"
                                                       : "{\"min\":0.0001,\"max\":0.1,\"scale\":\"log\"}";
    char path[128], text[2000];
    struct err err;
    snprintf(path, sizeof(path), "%s/model", world->folder);
    if (file_make_folders(path, &err) < 0)
        world_break("%s", err.message);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        write_file(files[i], "{\"text\":\"a\",\"label\":0}\n");
    snprintf(text, sizeof(text),
             "{\"name\":\"s\",\"seed\":%d,\"model\":\"model\",\"task\":{\"kind\":\"classification\",\"train\":"
             "\"train.jsonl\",\"validation\":\"validation.jsonl\",\"text\":\"text\",\"label\":\"label\"},\"settings\":{"
             "\"method\":\"lora\",\"steps\":%d,\"evaluate_every\":2},\"parameters\":{\"learning_rate\":%s},"
             "\"objectives\":[{\"metric\":\"validation/loss\"}],\"resources\":{\"slots\":%d,\"retries\":3},%s}",
             1 + world_below(1000), CREW_STEPS, rate, 1 + world_below(3), kind->members);
    write_file("s.json", text);
}

/* Runs ------------------------------------------------------------------------------------------------------------- */

/* In a process of its own: `nightsweep run`. Exit status 0: all is done, 1: there is more to do. */
static void run_once(int workers)
{
    struct run_outcome outcome;
    struct err err = {0};
    char store[128], definition[128];
    const char *const files[] = {definition};
    snprintf(store, sizeof(store), "%s/s.db", world->folder);
    snprintf(definition, sizeof(definition), "%s/s.json", world->folder);
    const struct run_options options = {.store = store,
                                        .files = files,
                                        .n_files = 1,
                                        .workers = workers,
                                        .checkpoint_seconds = -1,
                                        .progress = progress_new(PROGRESS_QUIET)};
    if (!world->prints && !freopen("/dev/null", "w", stderr))
        _exit(WORLD_BROKEN);
    int rc = run_sweeps(&options, &outcome, &err);
    /* The disk for good, or a worker that dies and dies: the run may end, and says so. */
    if (rc < 0 && rc != ERR_IO && rc != ERR_STORE)
        world_break("the run ends: %s", err.message);
    world_trace("the run ends: %s", rc < 0 ? err.message : outcome.n_open ? "more to do" : "done");
    _exit(rc < 0 || outcome.n_open > 0 ? 1 : 0);
}

/* Until it is through. False: a promise is broken. */
static bool run_through(void)
{
    int workers = 1 + world_below(2);
    for (world->n_runs = 1; world->n_runs <= RUNS_MAX; world->n_runs++) {
        int status = 0;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0)
            run_once(workers);
        if (child < 0 || waitpid(child, &status, 0) != child)
            world_break("no process for a run");
        if (WIFSIGNALED(status))
            snprintf(world->broken, sizeof(world->broken), "the coordinator ends by signal %d", WTERMSIG(status));
        if (world->broken[0])
            return false;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return true;
    }
    snprintf(world->broken, sizeof(world->broken), "it is not through after %d runs", RUNS_MAX);
    return false;
}

/* Promises --------------------------------------------------------------------------------------------------------- */

static sqlite3_stmt *query(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *rows = NULL;
    if (sqlite3_prepare_v2(db, sql, -1, &rows, NULL) != SQLITE_OK)
        world_break("'%s': %s", sql, sqlite3_errmsg(db));
    return rows;
}

/* The query must give this number. */
static void expect(sqlite3 *db, int64_t expected, const char *promise, const char *sql)
{
    sqlite3_stmt *row = query(db, sql);
    int64_t found = sqlite3_step(row) == SQLITE_ROW ? sqlite3_column_int64(row, 0) : -1;
    sqlite3_finalize(row);
    if (found != expected)
        world_break("%s: %" PRId64 ", expected %" PRId64, promise, found, expected);
}

/* Of one COMPLETE trial: each step once, with its value, from where it began to the end. */
static void check_curve(sqlite3 *db, int64_t id, int64_t number, int64_t first, const char *identity)
{
    sqlite3_stmt *rows = query(db, "SELECT m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id "
                                   "WHERE m.trial_id = ?1 AND n.name = 'train/loss' ORDER BY m.step");
    int64_t step = first;
    sqlite3_bind_int64(rows, 1, id);
    while (sqlite3_step(rows) == SQLITE_ROW) {
        if (sqlite3_column_int64(rows, 0) != ++step)
            world_break("trial %" PRId64 ": step %" PRId64 " where %" PRId64 " was expected", number,
                        (int64_t)sqlite3_column_int64(rows, 0), step);
        if (sqlite3_column_double(rows, 1) != crew_loss(identity, step))
            world_break("trial %" PRId64 ": another value at step %" PRId64, number, step);
    }
    sqlite3_finalize(rows);
    if (step != CREW_STEPS)
        world_break("trial %" PRId64 " is COMPLETE after step %" PRId64, number, step);
}

static void check_trials(sqlite3 *db)
{
    sqlite3_stmt *rows =
        query(db, "SELECT t.id, t.number, t.identity, t.state, t.value, t.reason, "
                  "(SELECT count(*) FROM attempt a WHERE a.trial_id = t.id AND a.state = 'COMPLETE'), "
                  "(SELECT count(*) FROM attempt a WHERE a.trial_id = t.id AND a.state = 'FAILED'), "
                  "(SELECT min(resumed_step) FROM attempt a WHERE a.trial_id = t.id AND a.environment_id IS NOT NULL) "
                  "FROM trial t ORDER BY 1");
    while (sqlite3_step(rows) == SQLITE_ROW) {
        int64_t number = sqlite3_column_int64(rows, 1), completed = sqlite3_column_int64(rows, 6);
        const char *identity = (const char *)sqlite3_column_text(rows, 2);
        const char *state = (const char *)sqlite3_column_text(rows, 3);
        const char *reason = (const char *)sqlite3_column_text(rows, 5);
        bool is_complete = strcmp(state, "COMPLETE") == 0;
        if (completed != is_complete)
            world_break("trial %" PRId64 " is %s and has %" PRId64 " COMPLETE attempts", number, state, completed);
        if (is_complete)
            check_curve(db, sqlite3_column_int64(rows, 0), number, sqlite3_column_int64(rows, 8), identity);
        if (is_complete && sqlite3_column_double(rows, 4) != crew_loss(identity, CREW_STEPS))
            world_break("trial %" PRId64 " has another result", number);
        if (reason && strcmp(reason, "diverged") == 0 && !crew_diverges(identity))
            world_break("trial %" PRId64 " is FAILED as diverged, and did not diverge", number);
        if (!world->is_touched && sqlite3_column_int64(rows, 7) > 4)
            world_break("trial %" PRId64 " was tried again too often", number);
    }
    sqlite3_finalize(rows);
}

/* Checkpoints only where a trial that FAILED may be tried again. */
static void check_files(sqlite3 *db)
{
    sqlite3_stmt *rows = query(db, "SELECT number FROM trial WHERE state <> 'FAILED'");
    while (sqlite3_step(rows) == SQLITE_ROW) {
        char folder[128];
        snprintf(folder, sizeof(folder), "%s/s/s/%d", world->folder, sqlite3_column_int(rows, 0));
        DIR *entries = opendir(folder);
        for (const struct dirent *entry; entries && (entry = readdir(entries));)
            if (strstr(entry->d_name, ".checkpoint"))
                world_break("'%s/%s' is left of a trial that is through", folder, entry->d_name);
        if (entries)
            closedir(entries);
    }
    sqlite3_finalize(rows);
}

static void check_promises(sqlite3 *db)
{
    const struct kind *kind = kind_of(world->seed);
    struct ledger found;
    sqlite3_stmt *row = query(db, "PRAGMA integrity_check");
    if (sqlite3_step(row) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(row, 0), "ok") != 0)
        world_break("the store is damaged");
    sqlite3_finalize(row);
    world_read_ledger(db, &found);
    world_check_ledger(&found);
    expect(db, 0, "rows that refer to none", "SELECT count(*) FROM pragma_foreign_key_check");
    expect(db, 0, "trials without an end",
           "SELECT count(*) FROM trial WHERE state NOT IN ('COMPLETE', 'PRUNED', 'FAILED')");
    expect(db, 0, "attempts without an end", "SELECT count(*) FROM attempt WHERE state = 'RUNNING'");
    expect(db, 0, "events of what must not be",
           "SELECT count(*) FROM event WHERE kind IN ('nondeterministic', 'checkpoint_lost')");
    expect(db, 1, "sweeps that are COMPLETE", "SELECT count(*) FROM sweep WHERE state = 'COMPLETE'");
    expect(
        db, 0, "checkpoints of trials that are through",
        "SELECT count(*) FROM checkpoint k JOIN trial t ON t.id = k.trial_id WHERE t.state IN ('COMPLETE', 'PRUNED')");
    /* The budget is exact: those asked for, and one for each whose place another took. */
    expect(
        db, kind->n_configurations * kind->n_seeds, "trials of the budget",
        "SELECT count(*) - (SELECT count(*) FROM trial WHERE message LIKE 'generation %: goes on from trial %') FROM "
        "trial");
    expect(db, 0, "configurations twice",
           "SELECT count(*) - count(DISTINCT settings) FROM configuration WHERE sweep_id NOT IN (SELECT sweep_id FROM "
           "trial WHERE message LIKE 'generation %')");
    check_trials(db);
    check_files(db);
}

/* All that a sweep comes to whoever runs when; the caller frees. "": it may differ, since a machine's fault or a person
 * ended a trial. */
static char *outcome(sqlite3 *db)
{
    struct text out = {0};
    sqlite3_stmt *rows =
        query(db, "SELECT t.number, c.parameters, t.identity, t.state, t.value, t.message, t.reason FROM "
                  "trial t JOIN configuration c ON c.id = t.configuration_id ORDER BY t.number");
    bool is_comparable = !world->is_touched && kind_of(world->seed)->is_repeatable;
    text_add(&out, "");
    while (sqlite3_step(rows) == SQLITE_ROW) {
        const char *reason = (const char *)sqlite3_column_text(rows, 6);
        is_comparable = is_comparable && !(reason && strcmp(reason, "diverged") != 0);
        for (int i = 0; i < 6; i++) {
            const char *text = (const char *)sqlite3_column_text(rows, i);
            text_printf(&out, "%s|", text ? text : "");
        }
        text_add(&out, "\n");
    }
    sqlite3_finalize(rows);
    if (!is_comparable)
        text_reset(&out);
    return text_take(&out);
}

/* Seeds ------------------------------------------------------------------------------------------------------------ */

static sqlite3 *open_store(void)
{
    char path[128];
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s/s.db", world->folder);
    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        world_break("'%s' cannot be opened", path);
    return db;
}

static void begin(uint64_t seed, bool prints)
{
    char folder[64];
    *world = (struct world){.seed = seed, .random = seed, .prints = prints};
    snprintf(folder, sizeof(folder), "%s/simulate-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder))
        world_break("no folder for the store");
    snprintf(world->folder, sizeof(world->folder), "%s", folder);
    write_sweep();
}

static void end(void)
{
    struct err err;
    if (file_remove_tree(world->folder, &err) < 0)
        fprintf(stderr, "simulate: %s\n", err.message);
}

/* The sweep as it goes when nothing goes wrong. */
static char *undisturbed(uint64_t seed, bool prints)
{
    char *expected = NULL;
    begin(seed, prints);
    world_trace("-- seed %" PRIu64 ", %s, undisturbed", seed, kind_of(seed)->name);
    if (run_through()) {
        sqlite3 *db = open_store();
        expected = outcome(db);
        sqlite3_close(db);
    }
    if (expected || !prints)
        end();
    return expected;
}

static void disturb(void)
{
    world->kills = world_below(9);
    world->worker_deaths = world_below(5);
    world->trainer_faults = world_below(4);
    world->store_faults = world_chance(0.5) ? world_below(4) : 0;
    world->requests = world_chance(0.4) ? world_below(4) : 0;
    world->interrupts = world_chance(0.3) ? world_below(3) : 0;
    world->kill_rate = world_chance(0.5) ? 0.003 : 0.02;
    world->slow_commits = world_chance(0.3) ? 0.1 : 0;
}

static void compare(const char *expected, const char *found)
{
    if (expected[0] && found[0] && strcmp(expected, found) != 0) {
        if (world->prints)
            printf("undisturbed:\n%sdisturbed:\n%s", expected, found);
        world_break("the sweep came to other results than undisturbed");
    }
}

/* In a process of its own, since a broken promise ends it. */
static void try_seed(uint64_t seed, bool prints)
{
    char *expected = undisturbed(seed, prints);
    if (!expected)
        _exit(WORLD_BROKEN);
    begin(seed, prints);
    disturb();
    world_trace(
        "-- disturbed: up to %d kills, %d deaths of workers, %d faults of trainers, %d of the disk, %d requests",
        world->kills, world->worker_deaths, world->trainer_faults, world->store_faults, world->requests);
    bool is_good = run_through();
    if (is_good) {
        sqlite3 *db = open_store();
        check_promises(db);
        char *found = outcome(db);
        compare(expected, found);
        free(found);
        sqlite3_close(db);
        end();
    }
    free(expected);
    _exit(is_good ? 0 : WORLD_BROKEN);
}

static struct world *map_world(void)
{
    void *memory = mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        perror("simulate");
        exit(3);
    }
    return memory;
}

struct totals {
    int64_t seeds, broken, runs, events;
};

static bool one_seed(uint64_t seed, bool prints, struct totals *totals)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        try_seed(seed, prints);
    bool is_good = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    totals->seeds++;
    totals->runs += world->n_runs;
    totals->events += (int64_t)world->n_events;
    if (!is_good) {
        totals->broken++;
        printf("seed %" PRIu64 " (%s): %s; `simulate --seed %" PRIu64 "` shows it%s%s\n", seed, kind_of(seed)->name,
               world->broken[0] ? world->broken : "the simulation ends early", seed,
               prints ? ", store and files are in " : "", prints ? world->folder : "");
        fflush(stdout);
        if (!prints && world->folder[0])
            end();
    }
    return is_good;
}

/* Seeds from, from + step, … below `to`, in a process that counts. */
static void work(uint64_t from, uint64_t to, uint64_t step, struct totals *totals)
{
    world = map_world();
    for (uint64_t seed = from; seed < to; seed += step)
        if (!only_kind || strcmp(kind_of(seed)->name, only_kind) == 0)
            one_seed(seed, false, totals);
    exit(0);
}

static int many_seeds(uint64_t from, uint64_t count, int jobs)
{
    struct totals *totals =
        mmap(NULL, JOBS_MAX * sizeof(*totals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct totals sum = {0};
    if (totals == MAP_FAILED)
        return 3;
    for (int i = 0; i < jobs; i++)
        if (fork() == 0)
            work(from + (uint64_t)i, from + count, (uint64_t)jobs, &totals[i]);
    while (wait(NULL) > 0)
        ;
    for (int i = 0; i < jobs; i++) {
        sum.seeds += totals[i].seeds;
        sum.broken += totals[i].broken;
        sum.runs += totals[i].runs;
        sum.events += totals[i].events;
    }
    printf("%" PRId64 " seeds, %" PRId64 " runs of the coordinator, %" PRId64 " events, %" PRId64 " broken promises\n",
           sum.seeds, sum.runs, sum.events, sum.broken);
    return (only_kind || sum.seeds == (int64_t)count) && sum.seeds > 0 && sum.broken == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    uint64_t from = 1, count = 1000, seed = 0;
    int jobs = 2;
    bool is_twice = false;
    struct totals totals = {0};
    for (int i = 1; i < argc; i++) {
        uint64_t value = i + 1 < argc ? strtoull(argv[i + 1], NULL, 10) : 0;
        if (strcmp(argv[i], "--twice") == 0) {
            is_twice = true;
            continue;
        }
        if (strcmp(argv[i], "--seed") == 0)
            seed = value;
        else if (strcmp(argv[i], "--seeds") == 0)
            count = value;
        else if (strcmp(argv[i], "--from") == 0)
            from = value;
        else if (strcmp(argv[i], "--jobs") == 0)
            jobs = (int)value;
        else if (strcmp(argv[i], "--kind") == 0 && i + 1 < argc) {
            only_kind = argv[i + 1];
            value = 1;
        } else
            value = 0;
        if (value == 0 || jobs > JOBS_MAX) {
            fprintf(stderr,
                    "usage: simulate [--from N] [--seeds COUNT] [--jobs N] [--kind NAME] | --seed N [--twice]\n");
            return 2;
        }
        i++;
    }
    if (seed == 0)
        return many_seeds(from, count, jobs);
    world = map_world();
    bool is_good = one_seed(seed, !is_twice, &totals);
    uint64_t first = world->trace_hash;
    if (is_twice && one_seed(seed, false, &totals) && world->trace_hash != first) {
        printf("seed %" PRIu64 " goes another way the second time\n", seed);
        is_good = false;
    }
    return is_good ? 0 : 1;
}
