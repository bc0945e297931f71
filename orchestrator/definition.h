/* The sweep definition: the JSON file a person writes (schemas/sweep.schema.json is the contract). */
#ifndef ORCHESTRATOR_DEFINITION_H
#define ORCHESTRATOR_DEFINITION_H

#include "common/checks.h"
#include "common/hash.h"
#include "common/tasks.h"
#include "orchestrator/space.h"

enum { OBJECTIVES_MAX = 8, CHECKS_MAX = 16 };

struct objective {
    const char *metric;
    bool is_maximized;
};

struct stop_kind;

/* The stopping rule and what is said about it; what a rule does not know stays at its default. */
struct stopping {
    const struct stop_kind *kind; /* NULL: trials run to their end */
    const char *metric;           /* default: the first objective's */
    bool is_maximized;
    double min_resource;     /* steps before the first decision; default 1 */
    double max_resource;     /* steps of a whole trial; 0: not known */
    double reduction_factor; /* of asha and hyperband; default 3 */
    double patience;         /* decisions without a better value; default 5 */
    double min_delta;        /* what counts as better; default 0 */
    double min_trials;       /* trials that must have been there before the first decision */
    double percentile;       /* of median: 50 */
    double interval;         /* steps between decisions; default 1 */
    double upper, lower;     /* of threshold */
    bool has_upper, has_lower;
};

/* A condition that a configuration (over parameters) or a result (over a metric) must meet. */
struct constraint {
    const char *text;                /* "bias/flip_rate <= 0.05" */
    const char *metric;              /* of a result; NULL: over parameters … */
    struct expression *left, *right; /* … then left and right are compared */
    double bound;                    /* of a result */
    bool is_at_least, is_strict;     /* >=, >; else <=, < */
};

struct check {
    const char *name;                       /* "0:counterfactual": position and kind */
    const char *kind;                       /* a name of checks_table */
    const char *file;                       /* absolute; NULL: the kind has none */
    bool items;                             /* keep per-item results */
    const char *options[CHECK_MAX_OPTIONS]; /* of the kind's own, by position in its row; NULL: not given */
};

struct resources {
    int slots;             /* trials at a time on this machine; 0: as many as cores / threads */
    int threads;           /* of a trial; default 1 */
    uint64_t memory_bytes; /* of a trial; 0: no limit */
    double time_seconds;   /* of an attempt; 0: no limit */
    int retries;           /* default 2 */
};

struct budget {
    int64_t trials;     /* 0: no limit */
    int64_t steps;      /* optimiser steps of all trials together; 0: no limit */
    double seconds;     /* "for", of all runs together; 0: no limit */
    double cpu_seconds; /* "cpu", of all trainers in all runs; 0: no limit */
    const char *until;  /* "HH:MM" local time, the next one; NULL: none */
};

/* A saved adapter that trials may start from (settings or parameters init_adapter). */
struct init_adapter {
    const char *name; /* as the definition writes it, and as settings and configurations carry it */
    const char *path; /* absolute */
};
enum { INIT_ADAPTERS_MAX = 64 };

/* What trials may start from that an earlier sweep made: its model, merged; its adapter as it is; or training rows that
 * its model translated. */
enum origin_role { ORIGIN_MODEL, ORIGIN_ADAPTER, ORIGIN_TRAIN, ORIGIN_ROLES };
extern const char *const origin_roles[ORIGIN_ROLES]; /* "model", "init_adapter", "train": columns of the store */
#define ORIGIN_PLACEHOLDER "(from)"                  /* value of init_adapter while it stands for an origin */
enum { ORIGINS_MAX = 10000 };

/* "from" of a definition: model, settings.init_adapter or task.train. */
struct origin_source {
    const char *sweep; /* a sweep of the same store; NULL: nothing comes from one */
    bool by_seed;      /* "trial": "seed": each trial from the one of its own seed; else all from the best one */
    /* model: the sweep whose vocabulary it gets (NULL: it keeps its own), and whether that one's embeddings are
     * aligned. */
    const char *vocabulary;
    bool is_unaligned;
    /* task.train: the rows to translate, what stands in front of a translation, what is put behind them (NULL:
     * nothing). */
    const char *rows, *tag, *beside;
    int beams;
};

/* A trial that trials start from (origin.h finds them). */
struct origin {
    enum origin_role role;
    bool has_seed; /* it is the start of the trials of `seed`; else of all */
    uint64_t seed;
    const char *sweep;
    int64_t trial; /* its number there */
    const char *path;
    char sha256[HASH_HEX_SIZE];
};
/* The settings whose values are saved adapters (folders): paths in a job, contents in an identity. NULL-terminated. */
extern const char *const adapter_settings[];

struct definition {
    struct arena arena; /* everything below */
    cJSON *root;
    char *text;          /* the file as it was given; of YAML what it was converted to */
    const char *remarks; /* what the conversion has to say, a line each; "" otherwise */
    char sha256[HASH_HEX_SIZE];
    const char *folder;                /* absolute: where relative paths start */
    const char *name;                  /* [a-z0-9][a-z0-9._-]{0,63} */
    uint64_t seed;                     /* default 0 */
    const char *model;                 /* absolute; NULL while it has to come from an earlier sweep */
    const struct task_info *task_info; /* of task.kind; without a task that of a classification */
    cJSON *task; /* as the job carries it: kind, absolute train/validation/test (null when absent), the columns
                  * and options of its kind, format */
    const cJSON *settings; /* as given; {} when absent */
    struct space space;
    struct init_adapter *init_adapters;
    int n_init_adapters;
    struct origin_source from[ORIGIN_ROLES];
    struct origin *origins; /* by role and seed; none until they are known */
    int n_origins;
    const char *stand_in; /* a model folder of the same shape until the origin of the model is known; or NULL */
    bool is_free;         /* no model: names are the definition's own, trials are trained elsewhere */
    const char *search;   /* name of the algorithm; default: grid when the space can be enumerated and a model is named,
                           * else auto */
    int64_t configurations; /* at most so many, 0: no limit; default 20 of random and what is based on a model */
    const cJSON *first;     /* configurations to start with; NULL: none */
    const char *cost; /* "seconds", "parameters": improvement per unit of it is sought; NULL: costs do not count */
    const cJSON *warm_start; /* names of earlier sweeps, or true: all of the store; NULL: none */
    int reevaluations;       /* seeds beyond `seeds` that the incumbent and its challenger may get each; 0: none */
    struct stopping stopping;
    struct constraint *constraints;
    int n_constraints;
    int seeds; /* default 1 */
    struct objective *objectives;
    int n_objectives; /* at least 1; default the first of its task's metrics */
    struct check *checks;
    int n_checks;
    struct resources resources;
    struct budget budget;
    bool is_strict; /* "order": "strict": proposals and decisions do not depend on which trial is faster */
    const char *model_license, *data_license; /* of `licenses`; NULL: what their files say */
    bool reuse;                               /* default true: an equal finished trial of any sweep is not run again */
};

/* Reads and checks the file; one that ends with .yaml or .yml is converted first (wandb.h). ERR_USAGE with every
 * problem at once (problems_result), ERR_NOT_FOUND, ERR_FORMAT for broken JSON (line and column). Reserved keys that
 * another version will read (tasks, …) are refused with that word. `definition` is done also after a failure.
 */
int definition_read(struct definition *definition, const char *path, struct err *err) MUST_CHECK;
/* The text of a file that holds definitions: as JSON, whatever it was converted from. All three are owned by the caller
 * (free), also after a failure; `folder` is where its relative paths start. */
struct definition_file {
    char *text, *folder, *remarks; /* remarks: as in struct definition */
};
int definition_file_read(struct definition_file *file, const char *path, struct err *err) MUST_CHECK;
void definition_file_done(struct definition_file *file);
/* The same from text; `folder` is where relative paths start, `path` stands in messages. */
int definition_parse(struct definition *definition, const char *text, const char *folder, const char *path,
                     struct err *err) MUST_CHECK;
/* The same for trials that are trained elsewhere: model and task may be missing, their files are not looked at, and
 * without a model names and values of parameters and the names of metrics are free (is_free). */
int definition_read_elsewhere(struct definition *definition, const char *path, struct err *err) MUST_CHECK;
int definition_parse_elsewhere(struct definition *definition, const char *text, const char *path,
                               struct err *err) MUST_CHECK;
void definition_done(struct definition *definition);
/* Whether trials start from what an earlier sweep made. */
bool definition_has_from(const struct definition *definition);
/* What the trials of that seed start from; NULL: nothing of an earlier sweep, or not known yet. */
const struct origin *definition_origin(const struct definition *definition, enum origin_role role, uint64_t seed);
/* Whether a sweep may be called that: 1 to 64 of a-z 0-9 . _ -, a letter or digit first. ERR_USAGE. */
int definition_check_name(const char *name, struct err *err) MUST_CHECK;
/* Whether `next` may extend what the store has as `earlier`: only parameters' values added, configurations, seeds,
 * budget, resources and checks may differ. ERR_USAGE with each difference ("settings.epochs: 2 was, 3 is"). */
int definition_check_extends(const struct definition *earlier, const struct definition *next,
                             struct err *err) MUST_CHECK;

#endif
