/* Opening a trial: data, tokenizer, model, methods. */
#include "trainer/trial.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "common/version.h"
#include "trainer/augment.h"
#include "trainer/gemm.h"
#include "trainer/gemm_bf16.h"
#include "trainer/halves.h"
#include "trainer/kernels.h"
#include "trainer/methods/method_file.h"
#include "trainer/prefix_cache.h"
#include "trainer/safetensors.h"
#include "trainer/task.h"
#include "trainer/token_cache.h"
#include "trainer/token_kinds.h"

void fingerprint_take(struct fingerprint *fingerprint)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];
    snprintf(fingerprint->blas_version, sizeof(fingerprint->blas_version), "%.*s",
             (int)strcspn(gemm_library() + strcspn(gemm_library(), " ") + 1, " ") + (int)strcspn(gemm_library(), " ") +
                 1,
             gemm_library());
    snprintf(fingerprint->blas_core, sizeof(fingerprint->blas_core), "%s", gemm_core());
    snprintf(fingerprint->kernel_level, sizeof(fingerprint->kernel_level), "%s", kernels()->level);
    snprintf(fingerprint->compute, sizeof(fingerprint->compute), "fp32");
    snprintf(fingerprint->cpu, sizeof(fingerprint->cpu), "unknown");
    while (file && fgets(line, sizeof(line), file)) {
        const char *value = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !value)
            continue;
        snprintf(fingerprint->cpu, sizeof(fingerprint->cpu), "%.*s", (int)strcspn(value + 2, "\n"), value + 2);
        break;
    }
    if (file)
        fclose(file);
}

/* Hashes ----------------------------------------------------------------------------------------------------------- */

static int check_hash(const struct trial_job *job, const char *name, const char *found, const char *what,
                      struct err *err)
{
    const cJSON *expected = json_get(job->hashes, name);
    if (!cJSON_IsString(expected) || !expected->valuestring[0] || strcmp(expected->valuestring, found) == 0)
        return 0;
    return err_set(err, ERR_DATA, "'%s' has changed since the sweep began (hash %.12s…, %.12s… was expected)", what,
                   found, expected->valuestring);
}

static int hash_data(struct trial *trial, struct err *err)
{
    const struct trial_job *job = trial->job;
    const char *const names[] = {"train", "validation", "test"}, *const paths[] = {job->train, job->validation,
                                                                                   job->test};
    char all[3 * HASH_HEX_SIZE] = "", own[HASH_HEX_SIZE];
    int rc = 0;
    for (int i = 0; i < 3 && rc == 0; i++) {
        if (!paths[i])
            continue;
        rc = hash_file(paths[i], own, err);
        if (rc == 0)
            rc = check_hash(job, names[i], own, paths[i], err);
        if (rc == 0)
            memcpy(all + strlen(all), own, HASH_HEX_SIZE);
    }
    hash_bytes(all, strlen(all), trial->data_hash);
    return rc;
}

static int hash_inputs(struct trial *trial, struct err *err)
{
    const struct trial_job *job = trial->job;
    const char *init = setting_text(job->settings, "init_adapter", NULL);
    char own[HASH_HEX_SIZE];
    char *cache = trial->cache_folder ? file_join(trial->cache_folder, "hashes") : NULL;
    int rc = hash_model(job->model, cache, trial->model_hash, err);
    if (rc == 0)
        rc = check_hash(job, "model", trial->model_hash, job->model, err);
    if (rc == 0)
        rc = hash_tokenizer(job->model, cache, trial->tokenizer_hash, err);
    if (rc == 0)
        rc = check_hash(job, "tokenizer", trial->tokenizer_hash, "tokenizer.json", err);
    if (rc == 0 && init)
        rc = hash_folder(init, NULL, own, err);
    if (rc == 0 && init)
        rc = check_hash(job, "init_adapter", own, init, err);
    free(cache);
    return rc < 0 ? rc : hash_data(trial, err);
}

/* Data ------------------------------------------------------------------------------------------------------------- */

static size_t rows_setting(const struct trial *trial, const char *name)
{
    return (size_t)setting_number(trial->job->settings, name, 0);
}

/* Behind every choice of rows, so that no copy of a training row is in another split. */
static int augment(struct trial *trial, struct err *err)
{
    const struct trial_job *job = trial->job;
    const cJSON *given = json_get(job->settings, "augmentation");
    if (!given || (cJSON_IsString(given) && strcmp(given->valuestring, "none") == 0))
        return 0;
    return augment_rows(&trial->train_rows, job->train, job->task, job->settings, job->seed, &trial->n_augmented, err);
}

/* The classes of the training rows; none of other tasks. */
static int read_labels(struct trial *trial, struct err *err)
{
    if (trial->job->task_kind->read_labels)
        return trial->job->task_kind->read_labels(trial, err);
    trial->labels.names = calloc(1, sizeof(*trial->labels.names));
    return trial->labels.names ? 0 : err_set(err, ERR_NOMEM, "no memory");
}

static int read_rows(struct trial *trial, struct err *err)
{
    const struct trial_job *job = trial->job;
    double fraction = setting_number(job->settings, "train_fraction", 1);
    int per_class = (int)setting_number(job->settings, "examples_per_class", 0);
    int dev_per_class = (int)setting_number(job->settings, "validation_examples_per_class", 0);
    int rc = rows_read(&trial->train_rows, job->train, job->task, rows_setting(trial, "train_examples"), err);
    if (rc == 0 && job->validation)
        rc = rows_read(&trial->validation_rows, job->validation, job->task, rows_setting(trial, "validation_examples"),
                       err);
    else if (rc == 0)
        rc = dataset_split(&trial->train_rows, &trial->validation_rows, err);
    if (rc == 0 && job->test)
        rc = rows_read(&trial->test_rows, job->test, job->task, rows_setting(trial, "test_examples"), err);
    if (rc == 0)
        rc = read_labels(trial, err);
    if (rc == 0 && fraction < 1)
        rc = dataset_keep_fraction(&trial->train_rows, fraction, err);
    if (rc == 0 && per_class > 0)
        rc = dataset_keep_per_class(&trial->train_rows, per_class, job->seed, "examples_per_class", err);
    if (rc == 0 && dev_per_class > 0)
        rc = dataset_keep_per_class(&trial->validation_rows, dev_per_class, job->seed, "validation_examples_per_class",
                                    err);
    return rc < 0 ? rc : augment(trial, err);
}

static int encode(struct trial *trial, struct err *err)
{
    const struct task_kind *task = trial->job->task_kind;
    struct {
        struct dataset *dataset;
        const struct rows *rows;
    } parts[] = {{&trial->train, &trial->train_rows},
                 {&trial->validation, &trial->validation_rows},
                 {&trial->test, &trial->test_rows}};
    int rc = task->begin ? task->begin(trial, err) : 0;
    for (size_t i = 0; i < (trial->job->test ? 3 : 2) && rc == 0; i++)
        rc = task->encode(trial, parts[i].dataset, parts[i].rows, err);
    if (rc == 0 && trial->labels.count > 0)
        rc = dataset_class_weights(&trial->train, &trial->labels, json_get(trial->job->settings, "class_weights"),
                                   &trial->arena, &trial->class_weights, err);
    return rc;
}

/* Tasks of the examples, and what methods count tokens by. */
static int find_kinds(struct trial *trial, struct err *err)
{
    struct token_kinds *kinds = &trial->token_kinds;
    int rc = token_kinds_assign(kinds, &trial->train, &trial->train_rows, err);
    if (rc == 0)
        rc = token_kinds_assign(kinds, &trial->validation, &trial->validation_rows, err);
    if (rc == 0)
        rc = token_kinds_assign(kinds, &trial->test, &trial->test_rows, err);
    if (rc == 0 && methods_count(trial->job->settings))
        rc = token_kinds_count(kinds, &trial->train, trial->model.vocab_size, &trial->arena, err);
    return rc;
}

/* Model ------------------------------------------------------------------------------------------------------------ */

/* A head of the model's own keeps its classes and their order. */
static int use_model_head(struct trial *trial, struct err *err)
{
    int n_classes = 0;
    cJSON *config = NULL;
    char *path = file_join(trial->job->model, "config.json");
    int rc = path ? json_read_file(path, &config, err) : err_set(err, ERR_NOMEM, "no memory");
    if (rc == 0)
        rc = model_head_classes(trial->job->model, &n_classes, err);
    if (rc == 0 && n_classes == 0)
        rc = err_set(err, ERR_UNSUPPORTED,
                     "settings.init_head: '%s' carries no classification head; leave init_head at \"seeded\"",
                     trial->job->model);
    if (rc == 0)
        rc = labels_order_as_head(&trial->labels, json_get(config, "id2label"), n_classes, &trial->arena, err);
    json_free(config);
    free(path);
    return rc;
}

static bool has_own_head(const struct trial *trial)
{
    return task_find(trial->job->task_kind->name)->has_head &&
           strcmp(setting_text(trial->job->settings, "init_head", "seeded"), "model") == 0;
}

int trial_open_model(struct trial *trial, struct model *model, struct arena *arena, const struct params *original,
                     struct err *err)
{
    const cJSON *settings = trial->job->settings;
    struct model_options options = {
        .task = trial->job->model_task,
        .pooling = setting_text(settings, "pooling", "pooler"),
        .n_classes = trial->job->task_kind->n_outputs ? trial->job->task_kind->n_outputs : trial->labels.count,
        .use_model_head = has_own_head(trial),
        .dropout = setting_number(settings, "dropout", -1),
        .attention_dropout = setting_number(settings, "attention_dropout", -1),
        .keeps_packed = strcmp(setting_text(settings, "weight_storage", "float32"), "file") == 0,
        .original = original,
        .seed = trial->job->seed,
    };
    const char *init = setting_text(settings, "init_adapter", NULL);
    int rc = model_open(model, trial->job->model, &options, arena, err);
    model->token_kinds = &trial->token_kinds;
    if (rc == 0)
        rc = methods_attach(model, settings, trial->job->seed, err);
    if (rc == 0 && init)
        rc = methods_load(model, settings, trial->labels.names, init, err);
    return rc;
}

static int open_model(struct trial *trial, struct err *err)
{
    const cJSON *settings = trial->job->settings;
    bool has_classes = trial->job->task_kind->n_outputs == 0;
    int rc = has_own_head(trial) && has_classes ? use_model_head(trial, err) : 0;
    if (rc == 0)
        rc = trial_open_model(trial, &trial->model, &trial->arena, NULL, err);
    if (rc == 0 && tokenizer_vocab_size(trial->tokenizer) > trial->model.vocab_size)
        rc = err_set(err, ERR_FORMAT, "the tokenizer has %d ids, the model's embedding only %d rows",
                     tokenizer_vocab_size(trial->tokenizer), trial->model.vocab_size);
    if (rc == 0)
        trial->max_tokens = (int)fmin(setting_number(settings, "max_tokens", 128), trial->model.max_positions);
    return rc;
}

static void read_plan(struct trial *trial)
{
    const cJSON *settings = trial->job->settings;
    trial->learning_rate = setting_number(settings, "learning_rate", 1e-3);
    trial->label_smoothing = setting_number(settings, "label_smoothing", 0);
    trial->batch_size = (int)setting_number(settings, "batch_size", 32);
    trial->accumulation = (int)setting_number(settings, "accumulation", 1);
    int64_t per_step = (int64_t)trial->batch_size * trial->accumulation;
    trial->steps_per_epoch = ((int64_t)trial->train.count + per_step - 1) / per_step;
    double steps = setting_number(settings, "steps", 0);
    trial->total_steps =
        steps > 0 ? (int64_t)steps
                  : (int64_t)ceil(setting_number(settings, "epochs", 3) * (double)trial->steps_per_epoch - 1e-9);
    trial->total_steps = trial->total_steps > 0 ? trial->total_steps : 1;
    optimizer_init(&trial->optimizer, settings);
    schedule_init(&trial->schedule, settings, trial->total_steps);
}

/* Memory for the copy of the best weights: of the trial's arena, or a file without a name when it is large. */
enum { BEST_IN_MEMORY = 16 << 20 };

static int open_best(struct trial *trial, struct err *err)
{
    const struct params *params = &trial->model.params;
    size_t bytes = params_count_trained(params) * sizeof(real);
    real *all;
    if (bytes <= BEST_IN_MEMORY) {
        all = arena_alloc(&trial->arena, bytes);
    } else {
        int rc = file_make_folders(trial->job->output, err);
        if (rc == 0)
            rc = file_scratch_map(trial->job->output, bytes, &trial->best_map, err);
        if (rc < 0)
            return rc;
        all = trial->best_map;
        trial->best_bytes = bytes;
    }
    trial->best = arena_calloc(&trial->arena, params->count, sizeof(*trial->best));
    if (!all || !trial->best)
        return err_set(err, ERR_NOMEM, "no memory to keep the best weights (%zu bytes)", bytes);
    for (size_t i = 0; i < params->count; i++)
        if (params->items[i]->is_trained) {
            trial->best[i] = all;
            all += param_size(params->items[i]);
        }
    return 0;
}

/* In pieces, after each of which the file's pages are given back. */
static void copy_best(struct trial *trial, bool restores)
{
    enum { PIECE = 1 << 20 };
    size_t copied = 0;
    for (size_t i = 0; i < trial->model.params.count; i++) {
        struct param *param = trial->model.params.items[i];
        size_t bytes = param->is_trained ? param_size(param) * sizeof(real) : 0;
        for (size_t at = 0, n; at < bytes; at += n) {
            char *own = (char *)param->value.data + at, *best = (char *)trial->best[i] + at;
            n = bytes - at < PIECE ? bytes - at : PIECE;
            memcpy(restores ? own : best, restores ? best : own, n);
            copied += n;
            if (trial->best_map && (copied >= PIECE || at + n == bytes)) {
                (void)madvise(trial->best_map, trial->best_bytes, MADV_DONTNEED); /* it is in the file */
                copied = 0;
            }
        }
    }
}

void trial_keep_best(struct trial *trial)
{
    copy_best(trial, false);
}

void trial_restore_best(struct trial *trial)
{
    copy_best(trial, true);
}

/* Copies that keep the best weights, and the optimiser's state. */
static int open_state(struct trial *trial, struct err *err)
{
    struct params *params = &trial->model.params;
    int rc = optimizer_start(&trial->optimizer, params, err);
    trial->order = arena_calloc(&trial->arena, trial->train.count, sizeof(*trial->order));
    if (rc == 0 && !trial->order)
        rc = err_set(err, ERR_NOMEM, "no memory for the order of %zu examples", trial->train.count);
    if (rc == 0)
        rc = open_best(trial, err);
    trial->order_epoch = -1;
    trial->progress = (struct progress){.best_step = -1};
    trial->tape = (struct tape){.dropout = rng_make(trial->job->seed, RNG_DROPOUT), .trap_nan = trial->trap_nan};
    return rc;
}

static size_t tokens_of(const struct example *example)
{
    return (size_t)example->n_tokens + (example->decoder_ids ? (size_t)example->n_targets : 0);
}

/* Whether batches are cut into groups: not when a group's loss would have to know the other's rows. */
bool trial_divides(const struct trial *trial)
{
    return !methods_look_at_batch(trial->job->settings);
}

/* The largest group a micro-batch of the longest examples is cut into, and its number of groups. */
static size_t largest_group(const struct trial *trial, size_t *n_groups)
{
    const struct dataset *train = &trial->train;
    size_t longest = 0, total = 0,
           left = (size_t)trial->batch_size < train->count ? (size_t)trial->batch_size : train->count;
    for (size_t i = 0; i < train->count; i++) {
        size_t n = tokens_of(&train->examples[i]);
        longest = n > longest ? n : longest;
    }
    size_t *counts = calloc(longest + 1, sizeof(*counts));
    for (size_t i = 0; counts && i < train->count; i++)
        counts[tokens_of(&train->examples[i])]++;
    for (size_t n = longest, taken = left; counts && n > 0 && taken > 0; n--) {
        size_t of_these = counts[n] < taken ? counts[n] : taken;
        total += n * of_these;
        taken -= of_these;
    }
    total = counts ? total : longest * left;
    free(counts);
    *n_groups = trial_divides(trial) ? lanes_groups(left, total) : 1;
    size_t group = total / *n_groups + longest; /* groups end with whole sequences */
    return group < total ? group : total;
}

/* What a layer, and the widest linear site of all, take a token. Values of a layer: what its linear sites give, the
 * activation, attention's result, two dropouts, sums and norms, what methods add at a site (twice its width). */
static size_t layer_width(const struct trial *trial, int layer, size_t *widest)
{
    size_t hidden = (size_t)trial->model.hidden_size, sites = 0, own = 0;
    for (size_t i = 0; i < trial->model.n_sites; i++) {
        const struct site *site = trial->model.sites[i];
        if (site->layer != layer || site == trial->model.output_embedding)
            continue;
        if (site->kind == SITE_LINEAR) {
            own = (size_t)site->out > own ? (size_t)site->out : own;
            sites += (size_t)site->out * (site->hooks ? 3 : 1);
        } else if (site->hooks) {
            sites += 2 * hidden + (size_t)site->method_width;
        }
    }
    *widest = own > *widest ? own : *widest;
    return sites + (layer < trial->model.n_layers ? own + 7 * hidden : 0);
}

/* Step memory of the largest group. Gradients live only from one operation to the next. When layers are forgotten, the
 * values of one exist at a time, beside each one's result. */
static size_t step_bytes(const struct trial *trial, bool forgets_layers)
{
    size_t widest = 0, all = 0, largest = 0, hidden = (size_t)trial->model.hidden_size, n_groups = 0;
    int first = trial->prefix.layers, n_layers = trial->model.n_layers;
    for (int layer = first; layer <= n_layers; layer++) {
        size_t width = layer_width(trial, layer, &widest);
        all += width;
        largest = width > largest ? width : largest;
    }
    if (forgets_layers)
        all = largest + (size_t)(n_layers - first + 1) * hidden;
    size_t tokens = largest_group(trial, &n_groups);
    size_t at_once = n_groups > 1 && trial->lanes.has_thread ? 2 : 1;
    return at_once * tokens * (all + 3 * widest + 8 * hidden) * sizeof(real);
}

static void estimate_memory(struct trial *trial)
{
    trial->estimated_bytes = trial->arena.used_bytes + trial->lanes.arena.used_bytes + trial->train.arena.used_bytes +
                             step_bytes(trial, trial->model.forgets_layers) + ((size_t)16 << 20);
    if (trial->halves)
        for (size_t i = 0; i < trial->model.n_sites; i++)
            if (trial->model.sites[i]->kind == SITE_LINEAR)
                trial->estimated_bytes +=
                    (size_t)trial->model.sites[i]->in * (size_t)trial->model.sites[i]->out * sizeof(uint16_t);
    if (trial->model.output_embedding) /* logits of a block of rows; see op_token_cross_entropy */
        trial->estimated_bytes += (size_t)64 << 20;
}

/* "compute": "bf16": both lanes' products go through copies of the weights in bfloat16. */
static int open_compute(struct trial *trial, struct err *err)
{
    struct fingerprint *f = &trial->fingerprint;
    if (strcmp(setting_text(trial->job->settings, "compute", "fp32"), "bf16") != 0)
        return 0;
    if (trial->model.keeps_packed)
        return err_set(err, ERR_UNSUPPORTED, "settings.compute: 'bf16' does not go with weight_storage 'file' yet");
    int rc = gemm_bf16_open(err);
    if (rc < 0)
        return rc;
    trial->halves = halves_open(&trial->halves_arena);
    if (!trial->halves)
        return err_set(err, ERR_NOMEM, "no memory for weights in bf16");
    trial->tape.halves = trial->lanes.tape.halves = trial->halves;
    snprintf(f->compute, sizeof(f->compute), "bf16 %s", gemm_bf16_library());
    return 0;
}

/* Everything that decides what the prefix gives for a text, to the last bit. */
static int prefix_key(const struct trial *trial, unsigned char key[PREFIX_KEY_BYTES], struct err *err)
{
    const struct fingerprint *f = &trial->fingerprint;
    struct text text = {0};
    struct hash hash;
    text_printf(&text, "%d|%zu|%s|%d|%d|%s|%s|%s|%s|%s", VERSION_NUMERICS, sizeof(real), trial->model_hash,
                trial->prefix.layers, trial->model.keeps_packed, f->compute, f->kernel_level, f->blas_version,
                f->blas_core, f->cpu);
    if (text.failed)
        return err_set(err, ERR_NOMEM, "no memory for the key of a frozen prefix");
    hash_begin(&hash);
    hash_add(&hash, text.data, text.len);
    hash_end(&hash, key);
    text_done(&text);
    return 0;
}

/* "frozen_prefix": "shared". A trial that trains its lowest layer has none, and computes as ever. */
static int open_prefix(struct trial *trial, struct err *err)
{
    unsigned char key[PREFIX_KEY_BYTES];
    uint64_t bound;
    int rc = prefix_cache_bound(&bound, err);
    if (rc < 0 || strcmp(setting_text(trial->job->settings, "frozen_prefix", "none"), "shared") != 0)
        return rc;
    if (!trial->model.kind->runs_layers)
        return err_set(err, ERR_UNSUPPORTED, "settings.frozen_prefix: shared is not built in for '%s' models",
                       trial->model.kind->name);
    trial->prefix.layers = frozen_prefix_layers(&trial->model);
    if (trial->prefix.layers == 0)
        return 0;
    rc = prefix_key(trial, key, err);
    if (rc < 0)
        return rc;
    trial->prefix.halves = trial->halves;
    trial->prefix.cache = prefix_cache_open(trial->cache_folder, key, bound);
    trial->model.prefix = trial->lanes.second.prefix = &trial->prefix;
    return 0;
}

/* Forgets layers when the limit asks for it and the model can. */
static void save_memory(struct trial *trial)
{
    bool can = trial->model.kind->runs_layers && !methods_spanning_layers(trial->job->settings);
    size_t kept = trial->estimated_bytes;
    if (!can || trial->job->memory_bytes == 0 || kept <= trial->job->memory_bytes)
        return;
    trial->model.forgets_layers = true;
    estimate_memory(trial);
    trial->model.forgets_layers = trial->estimated_bytes < kept;
    trial->lanes.second.forgets_layers = trial->model.forgets_layers;
    trial->estimated_bytes = trial->model.forgets_layers ? trial->estimated_bytes : kept;
}

/* What this process has that is no memory of the trial's: the loaded library's, untouched for the most part, now and
 * once its threads and the lanes have begun. */
static rlim_t reserved_bytes(const struct trial *trial)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*u %*u %*u %*u %*u %llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    rlim_t now = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
    rlim_t own = trial->arena.used_bytes + trial->lanes.arena.used_bytes + trial->train.arena.used_bytes;
    return (now > own ? now - own : 0) + gemm_reserved_bytes(trial->lanes.has_thread ? TRIAL_LANES : 1);
}

static int limit_memory(const struct trial *trial, struct err *err)
{
    rlim_t most = trial->job->memory_bytes + reserved_bytes(trial);
    struct rlimit before, limit = {most, most};
    const char *spanning = methods_spanning_layers(trial->job->settings);
    if (trial->job->memory_bytes == 0)
        return 0;
    if (trial->estimated_bytes > trial->job->memory_bytes)
        return err_set(err, ERR_NOMEM, "about %zu MiB are needed%s%s%s, the limit is %zu MiB",
                       trial->estimated_bytes >> 20,
                       trial->model.forgets_layers ? " even when layers are computed again in backward" : "",
                       spanning ? ", since layers cannot be computed again with method " : "", spanning ? spanning : "",
                       (size_t)(trial->job->memory_bytes >> 20));
    /* The worker's own limit, or the shell's, may be lower already: it cannot be raised, and need not be. */
    if (getrlimit(RLIMIT_DATA, &before) == 0 && before.rlim_max < most)
        limit.rlim_cur = limit.rlim_max = before.rlim_max;
    if (setrlimit(RLIMIT_DATA, &limit) < 0)
        return err_set_errno(err, "the memory limit cannot be set");
    return 0;
}

int trial_open(struct trial *trial, struct trial_job *job, struct records *records, atomic_bool *stop, struct err *err)
{
    trial->job = job;
    trial->records = records;
    trial->stop = stop;
    gemm_set_threads(1); /* threads are the lanes' */
    fingerprint_take(&trial->fingerprint);
    trial->cache_folder = cache_folder();
    int rc = hash_inputs(trial, err);
    if (rc == 0)
        rc = tokenizer_open(&trial->tokenizer, job->model, err);
    if (rc == 0)
        rc = read_rows(trial, err);
    if (rc == 0)
        rc = token_kinds_read(&trial->token_kinds, &trial->train_rows, &trial->arena, err);
    if (rc == 0)
        rc = open_model(trial, err);
    if (rc == 0)
        rc = encode(trial, err);
    if (rc == 0)
        rc = find_kinds(trial, err);
    if (rc == 0)
        rc = trial_check_fits(trial, err);
    if (rc < 0)
        return rc;
    read_plan(trial);
    rc = open_state(trial, err);
    if (rc == 0)
        rc = lanes_open(trial, err);
    if (rc == 0)
        rc = open_compute(trial, err);
    if (rc == 0)
        rc = open_prefix(trial, err);
    if (rc < 0)
        return rc;
    safetensors_release(trial->model.weights);
    estimate_memory(trial);
    save_memory(trial);
    return limit_memory(trial, err);
}

int trial_open_to_predict(struct trial *trial, struct trial_job *job, const char *input, struct err *err)
{
    trial->job = job;
    job->test = input;
    gemm_set_threads(1);
    int rc = tokenizer_open(&trial->tokenizer, job->model, err);
    if (rc == 0)
        rc = rows_read(&trial->test_rows, input, job->task, 0, err);
    if (rc == 0)
        rc = open_model(trial, err);
    if (rc == 0)
        rc = encode(trial, err);
    if (rc == 0)
        rc = token_kinds_assign(&trial->token_kinds, &trial->test, &trial->test_rows, err);
    if (rc == 0)
        rc = lanes_open(trial, err);
    if (rc == 0)
        rc = open_compute(trial, err);
    return rc < 0 ? rc : open_prefix(trial, err); /* nothing is kept: there is no folder */
}

void trial_close(struct trial *trial)
{
    lanes_close(trial);
    prefix_cache_close(trial->prefix.cache);
    halves_close(trial->halves);
    arena_done(&trial->halves_arena);
    if (trial->best_map)
        munmap(trial->best_map, trial->best_bytes);
    model_close(&trial->model);
    dataset_done(&trial->train);
    dataset_done(&trial->validation);
    dataset_done(&trial->test);
    labels_done(&trial->labels);
    rows_done(&trial->train_rows);
    rows_done(&trial->validation_rows);
    rows_done(&trial->test_rows);
    tokenizer_close(trial->tokenizer);
    free(trial->cache_folder);
    arena_done(&trial->arena);
    arena_done(&trial->step_arena);
    *trial = (struct trial){0};
}
