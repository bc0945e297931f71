/* From a configuration to a job: resolved settings, trial seed, identity, and the line the trainer reads. */
#ifndef ORCHESTRATOR_JOB_H
#define ORCHESTRATOR_JOB_H

#include "orchestrator/definition.h"

/* Hashes of what a sweep reads, cached by device, inode, size and time below the store's folder (cache_path NULL: not
 * cached). */
struct input_hashes {
    char model[HASH_HEX_SIZE]; /* over config.json and the weights */
    char tokenizer[HASH_HEX_SIZE];
    char train[HASH_HEX_SIZE], validation[HASH_HEX_SIZE], test[HASH_HEX_SIZE]; /* "" when there is no such file */
    char init_adapters[INIT_ADAPTERS_MAX][HASH_HEX_SIZE];                      /* of the definition's, in its order */
    char checks[CHECKS_MAX][HASH_HEX_SIZE]; /* of each check's item file, "" where the kind has none */
};
/* The cache beside a store; heap, owned by the caller; NULL without memory. */
char *job_hash_cache(const char *store_path);
int job_hash_inputs(struct input_hashes *hashes, const struct definition *definition, const char *cache_path,
                    struct err *err) MUST_CHECK;

/* Definition's settings and the configuration together, resolved (settings_resolve); owned by the caller. */
int job_settings(const struct definition *definition, const cJSON *configuration, cJSON **settings,
                 struct err *err) MUST_CHECK;
/* The settings of the baseline trial: linear_probe under the sweep's fixed settings. Owned by the caller. */
int job_baseline_settings(const struct definition *definition, cJSON **settings, struct err *err) MUST_CHECK;
/* Seed of the repeat-th (from 0) trial of every configuration: the same for all, so that methods are compared on the
 * same data order. A fixed `seed` setting replaces it. */
uint64_t job_seed(const struct definition *definition, const cJSON *settings, int repeat);
/* SHA-256 of canonical JSON of {numerics, model, tokenizer, data hashes, task (without paths), settings without
 * defaults, seed, objective, checks}; init_adapter stands in the settings as its folder's hash. What an
 * earlier sweep made (definition_origin) counts by its content: a model as if it had been named by its path, an adapter
 * beside the settings. */
int job_identity(const struct definition *definition, const struct input_hashes *hashes, const cJSON *settings,
                 uint64_t seed, char identity[HASH_HEX_SIZE], struct err *err) MUST_CHECK;
/* The same in two steps, for several seeds of a configuration: appends what does not depend on the seed, then hashes.
 */
int job_identity_add(struct text *out, const struct definition *definition, const struct input_hashes *hashes,
                     const cJSON *settings, struct err *err) MUST_CHECK;
int job_identity_of_seed(const struct text *rest, const struct definition *definition,
                         const struct input_hashes *hashes, uint64_t seed, char identity[HASH_HEX_SIZE],
                         struct err *err) MUST_CHECK;

/* Identity of a trial that goes on from another's checkpoint: hash of what its own would be, the other's, and the step.
 */
void job_child_identity(const char *own, const char *parent, int64_t step, char identity[HASH_HEX_SIZE]);

struct job {
    int64_t attempt;
    const char *identity, *output; /* absolute folder of the trial */
    const char *resume;            /* checkpoint or NULL */
    const cJSON *settings;         /* NULL: settings_text, canonical JSON, which names no saved adapters */
    const char *settings_text;
    uint64_t seed;
    double checkpoint_seconds;
    int64_t stop_after_steps;
    int64_t pause_at_step; /* 0: off */
    bool waits;            /* after every validation, for a word to go on */
    const char *parent;    /* identity of the trial whose checkpoint it goes on from; NULL: its own */
};
/* Appends the job message as one line without newline (docs/protocol.md). */
void job_write(struct text *line, const struct definition *definition, const struct input_hashes *hashes,
               const struct job *job);

#endif
