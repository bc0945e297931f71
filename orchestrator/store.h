/* The store: one SQLite file, the truth about every sweep in it (schemas/store.sql, docs/store.md).
 *
 * The coordinator opens it for writing, alone (FILE.lock), in WAL mode with synchronous=FULL: a transaction that was
 * acknowledged survives a power cut. Everybody may open it for reading at any time. Opening for writing also brings an
 * older schema up to date (after a backup as FILE.v<N>.bak) and settles what a crash left behind (store_recover).
 *
 * Writing is described by operations (store_op.h). While a sweep runs they go through a thread of their own
 * (store_thread.h) and the event loop never calls SQLite; before and after, store_apply runs them directly. */
#ifndef ORCHESTRATOR_STORE_H
#define ORCHESTRATOR_STORE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "orchestrator/trial_state.h"

enum {
    STORE_VERSION = 4,                 /* PRAGMA user_version of the schema this program writes */
    STORE_APPLICATION_ID = 0x4e535750, /* PRAGMA application_id, "NSWP" */
    STORE_CHECKED_BYTES = 256 << 20    /* larger files are not read whole (quick_check) at every opening */
};

enum store_mode { STORE_READ, STORE_WRITE };

struct store;

/* Opens `path`; STORE_WRITE creates a missing one, takes FILE.lock, migrates and recovers. *store is owned by the
 * caller. ERR_BUSY when another coordinator has it (with its pid), ERR_NOT_FOUND when reading a missing file,
 * ERR_STORE when it is no database, no store of ours, corrupt, or newer than this program: such a file is not
 * touched. STORE_READ of a file of an earlier version reads a migrated copy of it as it is now, in a temporary file. */
int store_open(struct store **store, const char *path, enum store_mode mode, struct err *err) MUST_CHECK;
/* Whether every commit waits until it is on disk, as it does after store_open. One that does brings all before it
 * along: false for rows that nothing hangs on until then. */
int store_set_durable(struct store *store, bool is_durable, struct err *err) MUST_CHECK;
/* From here on the schema's CHECKs are not looked at: operations write the names that this program has for states and
 * reasons, and have checked the rest. SQLite makes a table of a list of names at each change of a row. */
int store_trust_operations(struct store *store, struct err *err) MUST_CHECK;
/* Closes and gives the lock back; NULL is fine. Open transactions are rolled back. */
void store_close(struct store *store);
/* The path as it was given to store_open. */
const char *store_path(const struct store *store);
/* The connection, for queries of status, compare and export. Borrowed. Nobody writes through it. */
sqlite3 *store_database(struct store *store);
/* Reads the whole file for damage (PRAGMA quick_check, foreign_key_check). ERR_STORE with the first finding. */
int store_check(struct store *store, struct err *err) MUST_CHECK;

/* Ids are given by the writer, so that operations that refer to each other can be queued without waiting for the
 * store: the next free one, counted in memory (there is one writer). An id whose insertion failed stays unused. */
enum store_table { STORE_SWEEP, STORE_CONFIGURATION, STORE_TRIAL, STORE_ATTEMPT, STORE_TABLE_COUNT };
int64_t store_new_id(struct store *store, enum store_table table);

/* Values that may be absent (NULL in the store). Zeroed: absent. */
struct optional_int {
    bool is_known;
    int64_t value;
};
struct optional_real {
    bool is_known;
    double value;
};
static inline struct optional_int known_int(int64_t value)
{
    return (struct optional_int){true, value};
}
static inline struct optional_real known_real(double value)
{
    return (struct optional_real){true, value};
}

/* Reading at the start of `run`: rows in the caller's arena ----------------------------------------------------------
 */

struct store_sweep {
    int64_t id;
    const char *name;
    const char *definition; /* the file as it was given */
    const char *definition_sha256;
    const char *folder;        /* where relative paths in the definition start */
    const char *output_folder; /* where checkpoints and artifacts of its trials live */
    int64_t seed;
    enum sweep_state state;
    bool is_archived; /* left out of lists */
};

struct store_configuration {
    int64_t id, sweep_id;
    int64_t number; /* from 1 */
    bool is_baseline;
    const char *parameters; /* canonical JSON of the searched values that apply */
    const char *settings;   /* canonical JSON of everything that applies. Loaded: NULL when all its trials are final. */
};

struct store_trial {
    int64_t id, sweep_id, configuration_id;
    int64_t number; /* from 1 */
    int64_t seed;
    const char *identity;
    /* The rest is loaded, and ignored when a trial is added: it starts WAITING. */
    enum trial_state state;
    enum trial_reason reason;
    struct optional_real value;
    int64_t steps;
    struct optional_int total_steps, trained_parameters;
    int configuration;                 /* index into store_loaded.configurations */
    int attempts[ATTEMPT_STATE_COUNT]; /* by state; attempts[ATTEMPT_FAILED] are the retries used up (since `retry`) */
    double seconds;                    /* over all attempts */
    int64_t checkpoint_step;           /* of the newest committed checkpoint … */
    const char *checkpoint_path;       /* … and its path and hash; NULL: none */
    const char *checkpoint_sha256;
};

/* A sweep with all it needs to go on; arrays by number. Metrics are not in it: store_read_points. */
struct store_loaded {
    struct store_sweep sweep;
    struct store_configuration *configurations;
    struct store_trial *trials;
    int n_configurations, n_trials;
};

/* Loads a sweep by name into `arena`. ERR_NOT_FOUND: "there is no sweep 'x' in 'runs/nightsweep.db', nearest is …".
 * Memory: about 200 bytes and the parameters' text a trial, settings only of what is unfinished. */
int store_load(struct store *store, const char *name, struct arena *arena, struct store_loaded *loaded,
               struct err *err) MUST_CHECK;
/* Id of the sweep of that name, or 0 when there is none. */
int store_find_sweep(struct store *store, const char *name, int64_t *id, struct err *err) MUST_CHECK;
/* Names of all sweeps, NULL-terminated, oldest first. */
int store_sweep_names(struct store *store, struct arena *arena, const char *const **names, struct err *err) MUST_CHECK;

/* The same without those that are archived. */
int store_listed_names(struct store *store, struct arena *arena, const char *const **names, struct err *err) MUST_CHECK;

/* Called row by row; what it points to is valid during the call. Not 0 ends the reading and is returned. */
typedef int (*store_point_fn)(int64_t trial_id, int64_t step, struct optional_real value, void *context,
                              struct err *err);
/* Points of one metric of a sweep's trials, by trial and step: what stopping rules are fed with after a restart. */
int store_read_points(struct store *store, int64_t sweep_id, const char *metric, store_point_fn on_point, void *context,
                      struct err *err) MUST_CHECK;

struct store_bias_check; /* store_op.h */
typedef int (*store_bias_check_fn)(const struct store_bias_check *check, void *context, struct err *err);
/* Bias checks of a sweep, by trial; with `baselines_only` those of baseline trials: everybody's "before". */
int store_read_bias_checks(struct store *store, int64_t sweep_id, bool baselines_only, store_bias_check_fn on_check,
                           void *context, struct err *err) MUST_CHECK;

struct store_decision; /* store_op.h */
typedef int (*store_decision_fn)(const struct store_decision *decision, void *context, struct err *err);
/* Decisions of a sweep in the order they were made. */
int store_read_decisions(struct store *store, int64_t sweep_id, store_decision_fn on_decision, void *context,
                         struct err *err) MUST_CHECK;

#endif
