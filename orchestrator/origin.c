/* Origins: chosen once, written, and made again where their folder is gone. */
#include "orchestrator/origin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "common/file.h"
#include "orchestrator/job.h"
#include "orchestrator/origin_make.h"
#include "orchestrator/store_op.h"

#define ALL_SEEDS "all"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for what a sweep starts from");
}

static int prepare(struct store *store, const char *sql, sqlite3_stmt **row, struct err *err)
{
    if (sqlite3_prepare_v2(store_database(store), sql, -1, row, NULL) != SQLITE_OK)
        return err_set(err, ERR_STORE, "store '%s': what a sweep starts from cannot be read: %s", store_path(store),
                       sqlite3_errmsg(store_database(store)));
    return 0;
}

/* Reading ------------------------------------------------------------------------------------------------------------
 */

static enum origin_role find_role(const char *name)
{
    for (int role = 0; role < ORIGIN_ROLES; role++)
        if (strcmp(name, origin_roles[role]) == 0)
            return (enum origin_role)role;
    return ORIGIN_MODEL;
}

static int take_row(struct definition *d, sqlite3_stmt *row, struct err *err)
{
    struct origin *origin = &d->origins[d->n_origins];
    const char *role = (const char *)sqlite3_column_text(row, 0), *seed = (const char *)sqlite3_column_text(row, 1);
    const char *sha256 = (const char *)sqlite3_column_text(row, 5);
    *origin = (struct origin){
        .role = find_role(role), .has_seed = strcmp(seed, ALL_SEEDS) != 0, .trial = sqlite3_column_int64(row, 3)};
    origin->seed = origin->has_seed ? strtoull(seed, NULL, 10) : 0;
    origin->sweep = arena_strdup(&d->arena, (const char *)sqlite3_column_text(row, 2));
    origin->path = arena_strdup(&d->arena, (const char *)sqlite3_column_text(row, 4));
    if (strlen(sha256) != HASH_HEX_SIZE - 1)
        return err_set(err, ERR_STORE, "the hash '%.80s' of '%s' is none", sha256, origin->path ? origin->path : "");
    memcpy(origin->sha256, sha256, HASH_HEX_SIZE);
    d->n_origins++;
    return origin->sweep && origin->path ? 0 : no_memory(err);
}

/* Of several starts the first stands for the sweep: in lists of files and where the tokenizer is looked for. */
static int use_first(struct definition *d, struct err *err)
{
    bool is_known[ORIGIN_ROLES] = {false};
    for (int i = 0; i < d->n_origins; i++) {
        const struct origin *origin = &d->origins[i];
        cJSON *train = cJSON_GetObjectItemCaseSensitive(d->task, "train");
        if (origin->role == ORIGIN_MODEL && !is_known[ORIGIN_MODEL])
            d->model = origin->path;
        if (origin->role == ORIGIN_TRAIN && !is_known[ORIGIN_TRAIN] &&
            (!train || !cJSON_SetValuestring(train, origin->path)))
            return no_memory(err);
        is_known[origin->role] = true;
    }
    return 0;
}

int origin_load(struct definition *d, struct store *store, int64_t sweep_id, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = prepare(store,
                     "SELECT role, seed, from_sweep, from_trial, path, sha256 FROM origin WHERE sweep_id = ?1 "
                     "ORDER BY role, length(seed), seed LIMIT ?2",
                     &row, err);
    d->n_origins = 0;
    d->origins = arena_calloc(&d->arena, ORIGINS_MAX, sizeof(*d->origins));
    if (rc == 0 && !d->origins)
        rc = no_memory(err);
    if (rc == 0) {
        sqlite3_bind_int64(row, 1, sweep_id);
        sqlite3_bind_int(row, 2, ORIGINS_MAX);
    }
    while (rc == 0 && sqlite3_step(row) == SQLITE_ROW)
        rc = take_row(d, row, err);
    sqlite3_finalize(row);
    return rc < 0 ? rc : use_first(d, err);
}

void origin_use_seed(struct definition *d, uint64_t seed)
{
    const struct origin *origin = definition_origin(d, ORIGIN_MODEL, seed);
    if (origin)
        d->model = origin->path;
}

/* Whether it is time -------------------------------------------------------------------------------------------------
 */

static int look_at_source(const char *sweep, struct store *store, bool *is_done, struct err *err)
{
    sqlite3_stmt *row = NULL;
    struct arena arena = {0};
    const char *const *names = NULL;
    int rc = prepare(store, "SELECT state = 'COMPLETE' FROM sweep WHERE name = ?1", &row, err);
    if (rc < 0)
        return rc;
    sqlite3_bind_text(row, 1, sweep, -1, SQLITE_STATIC);
    if (sqlite3_step(row) == SQLITE_ROW)
        *is_done = sqlite3_column_int(row, 0) != 0;
    else if ((rc = store_sweep_names(store, &arena, &names, err)) == 0) {
        const char *near = text_nearest(sweep, names);
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' to start from in '%s'%s%s%s", sweep, store_path(store),
                     near ? ", nearest is '" : "", near ? near : "", near ? "'" : "");
    }
    sqlite3_finalize(row);
    arena_done(&arena);
    return rc;
}

/* Whether every trial of the definition knows its start. */
static bool is_settled(const struct definition *d, enum origin_role role)
{
    bool is_known = true;
    for (int i = 0; i < (d->from[role].by_seed ? d->seeds : 1) && is_known; i++)
        is_known = definition_origin(d, role, job_seed(d, d->settings, i)) != NULL;
    return is_known;
}

int origin_waits_for(const struct definition *d, struct store *store, const char **waits_for, struct err *err)
{
    int rc = 0;
    *waits_for = NULL;
    for (int role = 0; role < ORIGIN_ROLES && rc == 0 && !*waits_for; role++) {
        bool is_done = true;
        const char *sweeps[] = {d->from[role].sweep, d->from[role].vocabulary};
        for (int i = 0; i < 2 && rc == 0 && !*waits_for; i++) {
            if (sweeps[i] && !is_settled(d, (enum origin_role)role))
                rc = look_at_source(sweeps[i], store, &is_done, err);
            if (!is_done)
                *waits_for = sweeps[i];
        }
    }
    return rc;
}

/* Choosing -----------------------------------------------------------------------------------------------------------
 */

static bool is_candidate(const struct store_loaded *loaded, const struct store_trial *trial)
{
    return trial->state == TRIAL_COMPLETE && trial->value.is_known &&
           !loaded->configurations[trial->configuration].is_baseline;
}

/* The trial of that configuration and seed, or −1. */
static int find_trial(const struct store_loaded *loaded, int configuration, uint64_t seed)
{
    for (int i = 0; i < loaded->n_trials; i++)
        if (loaded->trials[i].configuration == configuration && (uint64_t)loaded->trials[i].seed == seed &&
            is_candidate(loaded, &loaded->trials[i]))
            return i;
    return -1;
}

/* Mean of the objective and the best trial of a configuration; false: it has no finished one. */
static bool look_at_configuration(const struct store_loaded *loaded, int configuration, bool is_maximized, double *mean,
                                  int *best)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < loaded->n_trials; i++) {
        const struct store_trial *trial = &loaded->trials[i];
        if (trial->configuration != configuration || !is_candidate(loaded, trial))
            continue;
        double value = trial->value.value;
        if (n == 0 ||
            (is_maximized ? value > loaded->trials[*best].value.value : value < loaded->trials[*best].value.value))
            *best = i;
        sum += value;
        n++;
    }
    *mean = n > 0 ? sum / n : 0;
    return n > 0;
}

static int no_choice(const struct store_loaded *loaded, uint64_t missing, int n_seeds, struct err *err)
{
    if (n_seeds == 0)
        return err_set(err, ERR_DATA, "sweep '%s' has no finished trial to start from", loaded->sweep.name);
    return err_set(err, ERR_DATA,
                   "no configuration of sweep '%s' has a finished trial of each of the %d seeds; seed %" PRIu64
                   " is missing (as many seeds there, the same 'seed', or \"trial\": \"best\")",
                   loaded->sweep.name, n_seeds, missing);
}

int origin_choose(const struct store_loaded *loaded, bool is_maximized, const uint64_t *seeds, int n_seeds, int *chosen,
                  struct err *err)
{
    double best_mean = 0;
    int winner = -1, best_trial = -1;
    uint64_t missing = n_seeds > 0 ? seeds[0] : 0;
    for (int c = 0; c < loaded->n_configurations; c++) {
        double mean;
        int best = -1, have = 0;
        if (!look_at_configuration(loaded, c, is_maximized, &mean, &best))
            continue;
        while (have < n_seeds && find_trial(loaded, c, seeds[have]) >= 0)
            have++;
        if (have < n_seeds) {
            missing = seeds[have];
            continue;
        }
        if (winner >= 0 && !(is_maximized ? mean > best_mean : mean < best_mean))
            continue;
        winner = c;
        best_mean = mean;
        best_trial = best;
    }
    if (winner < 0)
        return no_choice(loaded, missing, n_seeds, err);
    if (n_seeds == 0)
        chosen[0] = best_trial;
    for (int i = 0; i < n_seeds; i++)
        chosen[i] = find_trial(loaded, winner, seeds[i]);
    return 0;
}

static int read_goal(struct store *store, int64_t sweep_id, bool *is_maximized, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc = prepare(store, "SELECT goal = 'maximize' FROM objective WHERE sweep_id = ?1 AND position = 0", &row, err);
    if (rc < 0)
        return rc;
    sqlite3_bind_int64(row, 1, sweep_id);
    *is_maximized = sqlite3_step(row) == SQLITE_ROW && sqlite3_column_int(row, 0) != 0;
    sqlite3_finalize(row);
    return 0;
}

int origin_find_best(struct store *store, const char *sweep, int64_t *trial_id, struct err *err)
{
    struct arena arena = {0};
    struct store_loaded loaded = {0};
    bool is_maximized = false;
    int best = 0, rc = store_load(store, sweep, &arena, &loaded, err);
    if (rc == 0)
        rc = read_goal(store, loaded.sweep.id, &is_maximized, err);
    if (rc == 0)
        rc = origin_choose(&loaded, is_maximized, NULL, 0, &best, err);
    if (rc == 0)
        *trial_id = loaded.trials[best].id;
    arena_done(&arena);
    return rc;
}

/* Making -------------------------------------------------------------------------------------------------------------
 */

struct settling {
    struct definition *definition;
    struct store *store;
    int64_t sweep_id;
    const char *folder;
    enum origin_role role;
    struct store_loaded loaded; /* the earlier sweep */
    struct arena arena;
};

static char *folder_name(const struct settling *s, int64_t trial)
{
    struct text name = {0};
    text_printf(&name, "%s/from-%s-%" PRId64 "%s", s->folder, s->definition->from[s->role].sweep, trial,
                s->role == ORIGIN_TRAIN ? ".jsonl" : "");
    return text_take(&name);
}

/* One row of the store; several seeds may start from one trial, whose folder is made once. */
static int add_origin(struct settling *s, const struct store_trial *trial, const uint64_t *seed, struct err *err)
{
    char digits[32] = ALL_SEEDS, sha256[HASH_HEX_SIZE] = "";
    char *path = folder_name(s, trial->number);
    if (!path)
        return no_memory(err);
    if (seed)
        snprintf(digits, sizeof(digits), "%" PRIu64, *seed);
    int rc = origin_make(s->definition, s->store, s->role, trial->id, &path, sha256, err);
    crash_at(CRASH_ORIGIN_MADE);
    const struct store_op op = {.kind = STORE_ADD_ORIGIN,
                                .origin = {.sweep_id = s->sweep_id,
                                           .role = origin_roles[s->role],
                                           .seed = digits,
                                           .from_sweep = s->loaded.sweep.name,
                                           .from_trial = trial->number,
                                           .from_identity = trial->identity,
                                           .path = path,
                                           .sha256 = sha256}};
    if (rc == 0)
        rc = store_apply(s->store, &op, 1, NULL, err);
    free(path);
    return rc;
}

/* The seeds that have no origin yet: an extended sweep may ask for more than it began with. */
static int missing_seeds(const struct settling *s, uint64_t *seeds)
{
    const struct definition *d = s->definition;
    int n = 0;
    for (int i = 0; i < d->seeds; i++) {
        uint64_t seed = job_seed(d, d->settings, i);
        if (!definition_origin(d, s->role, seed))
            seeds[n++] = seed;
    }
    return n;
}

static int settle_role(struct settling *s, struct err *err)
{
    const struct origin_source *from = &s->definition->from[s->role];
    uint64_t *seeds = arena_calloc(&s->arena, (size_t)s->definition->seeds + 1, sizeof(*seeds));
    int *chosen = arena_calloc(&s->arena, (size_t)s->definition->seeds + 1, sizeof(*chosen)), n = 0;
    bool is_maximized = false;
    if (!seeds || !chosen)
        return no_memory(err);
    if (is_settled(s->definition, s->role))
        return 0;
    n = from->by_seed ? missing_seeds(s, seeds) : 0;
    int rc = store_load(s->store, from->sweep, &s->arena, &s->loaded, err);
    if (rc == 0)
        rc = read_goal(s->store, s->loaded.sweep.id, &is_maximized, err);
    if (rc == 0)
        rc = origin_choose(&s->loaded, is_maximized, seeds, n, chosen, err);
    for (int i = 0; i < (n > 0 ? n : 1) && rc == 0; i++)
        rc = add_origin(s, &s->loaded.trials[chosen[i]], from->by_seed ? &seeds[i] : NULL, err);
    return rc;
}

/* Id of the trial that an origin names; 0: it is gone. */
static int find_source(struct store *store, const struct origin *origin, int64_t *id, struct err *err)
{
    sqlite3_stmt *row = NULL;
    int rc =
        prepare(store, "SELECT t.id FROM trial t JOIN sweep s ON s.id = t.sweep_id WHERE s.name = ?1 AND t.number = ?2",
                &row, err);
    *id = 0;
    if (rc < 0)
        return rc;
    sqlite3_bind_text(row, 1, origin->sweep, -1, SQLITE_STATIC);
    sqlite3_bind_int64(row, 2, origin->trial);
    if (sqlite3_step(row) == SQLITE_ROW)
        *id = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return 0;
}

/* What is gone is made again, and has to be what it was. */
static int check_made(struct definition *d, struct store *store, const struct origin *origin, struct err *err)
{
    char sha256[HASH_HEX_SIZE] = "", *path = strdup(origin->path);
    int64_t id = 0;
    int rc = path ? 0 : no_memory(err);
    if (rc == 0 && !file_exists(path)) {
        rc = find_source(store, origin, &id, err);
        if (rc == 0 && id == 0)
            rc = err_set(err, ERR_NOT_FOUND, "'%s' is gone, and so is trial %" PRId64 " of sweep '%s' it was made of",
                         path, origin->trial, origin->sweep);
        if (rc == 0)
            rc = origin_make(d, store, origin->role, id, &path, sha256, err);
    } else if (rc == 0) {
        rc = origin_hash(origin->role, path, store, sha256, err);
    }
    if (rc == 0 && strcmp(sha256, origin->sha256) != 0)
        rc = err_set(err, ERR_DATA, "'%s' is not what the sweep began with (hash %.12s, %.12s was)", path, sha256,
                     origin->sha256);
    free(path);
    return rc;
}

int origin_settle(struct definition *d, struct store *store, int64_t sweep_id, const char *folder, struct err *err)
{
    int rc = origin_load(d, store, sweep_id, err);
    for (int i = 0; i < d->n_origins && rc == 0; i++)
        rc = check_made(d, store, &d->origins[i], err);
    for (int role = 0; role < ORIGIN_ROLES && rc == 0; role++) {
        struct settling s = {
            .definition = d, .store = store, .sweep_id = sweep_id, .folder = folder, .role = (enum origin_role)role};
        if (d->from[role].sweep)
            rc = settle_role(&s, err);
        arena_done(&s.arena);
    }
    return rc == 0 ? origin_load(d, store, sweep_id, err) : rc;
}
