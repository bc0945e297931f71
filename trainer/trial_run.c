/* Training: steps, validations, checkpoints, and what follows the last step. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/json.h"
#include "common/version.h"
#include "trainer/methods/method_file.h"
#include "trainer/task.h"
#include "trainer/trial.h"

#define POINTS_SECONDS 0.25 /* curve points travel at least this often */

struct clocks {
    double start, sent, checkpointed;
    bool cannot_keep; /* the last checkpoint could not be written */
    /* Trained by this attempt, and the seconds that took without validation and checkpoints: by the clock, and of all
     * threads' processor time. */
    double tokens, training, processor;
};

static double read_clock(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double trial_processor_seconds(void)
{
    return read_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* Tokens a second while training. */
static double speed(const struct clocks *clocks)
{
    return clocks->training > 0 ? clocks->tokens / clocks->training : 0;
}

static double peak_bytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

int64_t trial_epoch_of(const struct trial *trial, int64_t step)
{
    return step / trial->steps_per_epoch;
}

/* One optimiser step ----------------------------------------------------------------------------------------------- */

static void order_epoch(struct trial *trial, int64_t epoch)
{
    bool shuffles = strcmp(setting_text(trial->job->settings, "order", "shuffle"), "shuffle") == 0;
    if (trial->order_epoch == epoch)
        return;
    dataset_order(trial->order, (uint32_t)trial->train.count, trial->job->seed, (uint32_t)epoch, shuffles);
    trial->order_epoch = epoch;
}

/* The first parameter whose gradient is not finite, or whose squares sum up to more than a number holds. */
static const char *not_finite(const struct params *params)
{
    for (size_t i = 0; i < params->count; i++) {
        const struct param *param = params->items[i];
        for (size_t k = 0; param->is_trained && k < param_size(param); k++)
            if (!isfinite(param->value.grad[k] * param->value.grad[k]))
                return param->name;
    }
    return "all parameters together";
}

static void send_counted(void *context, const char *name, double value)
{
    struct trial *trial = context;
    char full[256];
    snprintf(full, sizeof(full), "train/%s", name);
    records_point(trial->records, full, trial->progress.step + 1, value);
}

static int train_step(struct trial *trial, struct err *err)
{
    int64_t step = trial->progress.step;
    size_t batch = (size_t)trial->batch_size, count = trial->train.count;
    order_epoch(trial, trial_epoch_of(trial, step));
    size_t begin = (size_t)(step % trial->steps_per_epoch) * batch * (size_t)trial->accumulation;
    size_t end =
        begin + batch * (size_t)trial->accumulation < count ? begin + batch * (size_t)trial->accumulation : count;
    int parts = (int)((end - begin + batch - 1) / batch), rc = 0;
    double loss = 0, rate = trial->learning_rate * schedule_factor(&trial->schedule, step);
    params_zero_grad(&trial->model.params, lanes_crew(trial));
    for (int part = 0; part < parts && rc == 0; part++) {
        size_t first = begin + (size_t)part * batch, n = end - first < batch ? end - first : batch;
        rc = trial_micro_batch(trial, (uint32_t)(step * trial->accumulation + part), first, n, 1.0 / parts, &loss, err);
    }
    if (rc == ERR_NUMERIC)
        return err_wrap(err, "step %lld", (long long)step + 1);
    if (rc < 0)
        return rc;
    double norm = optimizer_grad_norm(&trial->optimizer, &trial->model.params, lanes_crew(trial));
    records_point(trial->records, "train/loss", step + 1, loss);
    records_point(trial->records, "train/grad_norm", step + 1, norm);
    records_point(trial->records, "train/learning_rate", step + 1, rate);
    struct model *const models[TRIAL_LANES] = {&trial->model, &trial->lanes.second};
    methods_measure(trial->job->settings, models, TRIAL_LANES, false, send_counted, trial);
    if (!isfinite(loss))
        return err_set(err, ERR_NUMERIC, "the loss is not finite at step %lld", (long long)step + 1);
    if (!isfinite(norm))
        return err_set(err, ERR_NUMERIC, "the gradient of '%s' is not finite at step %lld",
                       not_finite(&trial->model.params), (long long)step + 1);
    optimizer_step(&trial->optimizer, &trial->model.params, rate, norm, lanes_crew(trial));
    trial->progress.step++;
    return methods_step(&trial->model, trial->job->settings, trial->progress.step, trial->total_steps, err);
}

/* Validation ------------------------------------------------------------------------------------------------------- */

static bool is_validation_step(const struct trial *trial)
{
    int64_t step = trial->progress.step, every = (int64_t)setting_number(trial->job->settings, "evaluate_every", 0);
    return step == trial->total_steps || step % trial->steps_per_epoch == 0 || (every > 0 && step % every == 0);
}

static int validate(struct trial *trial, struct err *err)
{
    struct arena arena = {0};
    struct metrics metrics;
    struct progress *p = &trial->progress;
    int rc = trial_evaluate(trial, "validation", false, &arena, &metrics, err);
    double value = rc == 0 ? metrics_get(&metrics, trial->job->metric) : 0;
    arena_done(&arena);
    if (rc == 0)
        rc = trial_check_follow(trial, err);
    if (rc == ERR_NUMERIC)
        return err_wrap(err, "validation at step %lld", (long long)p->step);
    if (rc < 0)
        return rc;
    if (!isfinite(value))
        return err_set(err, ERR_NUMERIC, "validation/%s is not finite at step %lld", trial->job->metric,
                       (long long)p->step);
    bool is_better = p->best_step < 0 || (trial->job->is_maximized ? value > p->best_value : value < p->best_value);
    int64_t patience = (int64_t)setting_number(trial->job->settings, "patience", 0);
    if (is_better) {
        p->best_step = p->step;
        p->best_value = value;
        p->bad_evaluations = 0;
        trial_keep_best(trial);
    } else {
        p->bad_evaluations++;
        p->is_stopped_early = patience > 0 && p->bad_evaluations >= patience;
    }
    return 0;
}

/* Records of start and end ----------------------------------------------------------------------------------------- */

/* An estimate of all training: the forward pass (of a frozen prefix once an example); the same again for gradients of
 * activations, in the layers from the lowest trained one upwards; and for gradients of weights, by the share of the
 * layers' matrices that is trained. */
static double training_flops(const struct trial *trial)
{
    const struct model *model = &trial->model;
    double mean = ceil((double)trial->train.n_tokens / (double)trial->train.count), matrices = 0, trained = 0;
    double examples = (double)trial->total_steps * trial->batch_size * trial->accumulation;
    int lowest = model->n_layers;
    for (size_t i = 0; i < model->n_sites; i++)
        if (model->sites[i]->kind == SITE_LINEAR && model->sites[i]->layer >= 0)
            matrices += (double)model->sites[i]->in * model->sites[i]->out;
    for (size_t i = 0; i < model->params.count; i++) {
        const struct param *param = model->params.items[i];
        if (!param->is_trained)
            continue;
        lowest = param->layer < lowest ? param->layer : lowest;
        trained += param->layer >= 0 && param->n_dims == 2 ? (double)param_size(param) : 0;
    }
    double above = 1 - (double)(lowest > 0 ? lowest : 0) / model->n_layers,
           share = matrices > 0 ? trained / matrices : 0, below = (double)trial->prefix.layers / model->n_layers;
    return model_forward_flops(model, (int)mean) *
           (examples * (1 - below + above + fmin(1, share)) + (double)trial->train.count * below);
}

static void send_started(struct trial *trial, int64_t resumed_step, bool bit_exact)
{
    const struct fingerprint *f = &trial->fingerprint;
    const struct params *params = &trial->model.params;
    size_t total = 0;
    struct text *line = records_begin(trial->records, "started");
    text_add(line, ",\"fingerprint\":{\"program_version\":");
    text_add_json(line, version_program());
    records_add_text(line, "git_commit", version_commit());
    records_add_text(line, "blas_version", f->blas_version);
    records_add_text(line, "blas_core", f->blas_core);
    records_add_text(line, "cpu", f->cpu);
    records_add_text(line, "kernel_level", f->kernel_level);
    records_add_text(line, "compute", f->compute);
    text_add(line, "},\"hashes\":{\"model\":");
    text_add_json(line, trial->model_hash);
    records_add_text(line, "tokenizer", trial->tokenizer_hash);
    records_add_text(line, "data", trial->data_hash);
    text_add(line, "}");
    records_add_int(line, "resumed_step", resumed_step);
    text_printf(line, ",\"bit_exact\":%s", bit_exact ? "true" : "false");
    records_add_int(line, "total_steps", trial->total_steps);
    records_add_int(line, "steps_per_epoch", trial->steps_per_epoch);
    for (size_t i = 0; i < params->count; i++)
        total += params->items[i]->is_replaced ? 0 : param_size(params->items[i]);
    records_add_int(line, "trained_parameters", (int64_t)params_count_trained(params));
    records_add_int(line, "total_parameters", (int64_t)total);
    text_add(line, ",\"parameters_by_method\":{");
    for (const struct method_kind *const *kind = method_kinds, *const *first = kind; *kind; kind++) {
        size_t n = 0;
        for (size_t i = 0; i < params->count; i++)
            if (params->items[i]->is_trained && params->items[i]->origin != PARAM_HEAD &&
                text_equal(params->items[i]->method, (*kind)->name))
                n += param_size(params->items[i]);
        text_printf(line, "%s\"%s\":%zu", kind == first ? "" : ",", (*kind)->name, n);
    }
    text_add(line, "},\"labels\":[");
    for (int c = 0; c < trial->labels.count; c++) {
        text_add(line, c ? "," : "");
        text_add_json(line, trial->labels.names[c]);
    }
    text_printf(line, "],\"examples\":{\"train\":%zu,\"validation\":%zu,\"test\":%zu}", trial->train.count,
                trial->validation.count, trial->test.count);
    /* No validation file: which rows were taken follows from the data alone (dataset_split). */
    records_add_text(line, "validation_split", trial->job->validation ? "file" : "hash of text, 10 % of each label");
    records_add_text(line, "validation_sha256", trial->validation.sha256);
    records_add_int(line, "augmented", (int64_t)trial->n_augmented);
    records_add_int(line, "truncated", (int64_t)trial->train.n_truncated);
    records_add_int(line, "prefix_layers", trial->prefix.layers);
    text_printf(line, ",\"recomputes\":%s", trial->model.forgets_layers ? "true" : "false");
    records_add_number(line, "flops", training_flops(trial));
    records_add_int(line, "estimated_bytes", (int64_t)trial->estimated_bytes);
    records_send(trial->records);
}

/* Hashes and announces every file of the adapter folder, by name; their bytes together. */
static int send_artifacts(struct trial *trial, const char *folder, const char *below, int64_t *stored, struct err *err)
{
    struct dirent **entries = NULL;
    int rc = 0, n = scandir(folder, &entries, NULL, alphasort);
    if (n < 0)
        return err_set_errno(err, "'%s'", folder);
    for (int i = 0; i < n; i++) {
        char hash[HASH_HEX_SIZE], name[1024];
        struct stat st;
        char *path = file_join(folder, entries[i]->d_name);
        snprintf(name, sizeof(name), "%s/%s", below, entries[i]->d_name);
        bool is_own = entries[i]->d_name[0] != '.' && path && stat(path, &st) == 0;
        if (rc == 0 && is_own && S_ISDIR(st.st_mode)) {
            rc = send_artifacts(trial, path, name, stored, err);
        } else if (rc == 0 && is_own && (rc = hash_file(path, hash, err)) == 0) {
            struct text *line = records_begin(trial->records, "artifact");
            records_add_text(line, "kind", "adapter");
            records_add_text(line, "path", name);
            records_add_int(line, "bytes", st.st_size);
            records_add_text(line, "sha256", hash);
            records_send(trial->records);
            *stored += st.st_size;
        }
        free(path);
        free(entries[i]);
    }
    free(entries);
    return rc;
}

static int save(struct trial *trial, int64_t *stored, struct err *err)
{
    char *folder = file_join(trial->job->output, "adapter");
    int rc = folder ? methods_save(&trial->model, trial->job->settings, trial->labels.names, folder, err)
                    : err_set(err, ERR_NOMEM, "no memory to save");
    crash_at(CRASH_ADAPTER_SAVED);
    if (rc == 0)
        rc = send_artifacts(trial, folder, "adapter", stored, err);
    crash_at(CRASH_ARTIFACTS_SENT);
    free(folder);
    return rc;
}

static void add_objectives(struct text *line, const struct metrics *validation, const struct metrics *test)
{
    bool is_first = true;
    text_add(line, ",\"objectives\":{");
    for (const struct task_metric *metric = validation->task->metrics; metric->name; metric++) {
        if (!metric->is_curve)
            continue;
        text_printf(line, "%s\"validation/%s\":", is_first ? "" : ",", metric->name);
        text_add_double(line, metrics_get(validation, metric->name));
        if (test) {
            text_printf(line, ",\"test/%s\":", metric->name);
            text_add_double(line, metrics_get(test, metric->name));
        }
        is_first = false;
    }
    text_add(line, "}");
}

/* What each check cost, where there is one. */
static void add_check_seconds(struct text *line, const struct trial *trial)
{
    const struct trial_job *job = trial->job;
    for (int i = 0; i < job->n_checks; i++) {
        text_add(line, i ? "," : ",\"check_seconds\":{");
        text_add_json(line, job->checks[i].name);
        text_add_char(line, ':');
        text_add_double(line, trial->check_seconds[i]);
    }
    text_add(line, job->n_checks > 0 ? "}" : "");
}

/* After the last step: the best weights, their evaluations, checks and files. */
static int finish(struct trial *trial, const struct clocks *clocks, struct err *err)
{
    struct arena arena = {0};
    struct metrics validation, test;
    int64_t stored = 0;
    bool has_test = trial->test.count > 0;
    crash_at(CRASH_TRAINED);
    trial_restore_best(trial);
    int rc = trial_evaluate(trial, "validation", true, &arena, &validation, err);
    if (rc == 0 && has_test)
        rc = trial_evaluate(trial, "test", true, &arena, &test, err);
    if (rc == 0)
        rc = trial_check(trial, err);
    crash_at(CRASH_CHECKED);
    if (rc == 0)
        rc = save(trial, &stored, err);
    if (rc == 0) {
        double seconds = now() - clocks->start;
        struct text *line = records_begin(trial->records, "finished");
        records_add_int(line, "step", trial->progress.step);
        records_add_number(line, "value", metrics_get(&validation, trial->job->metric));
        records_add_int(line, "best_step", trial->progress.best_step);
        add_objectives(line, &validation, has_test ? &test : NULL);
        records_add_int(line, "stored_bytes", stored);
        records_add_number(line, "peak_bytes", peak_bytes());
        records_add_number(line, "seconds", seconds);
        records_add_number(line, "processor_seconds", trial_processor_seconds());
        add_check_seconds(line, trial);
        records_add_number(line, "tokens_per_second", speed(clocks));
        if (trial->prefix.layers > 0) {
            records_add_int(line, "prefix_read", atomic_load(&trial->prefix.n_read));
            records_add_int(line, "prefix_computed", atomic_load(&trial->prefix.n_computed));
        }
        records_add_text(line, "message", trial->progress.is_stopped_early ? "stopped early: patience is used up" : "");
        records_send(trial->records);
        crash_at(CRASH_RESULT_SENT);
    }
    arena_done(&arena);
    return rc;
}

/* The loop --------------------------------------------------------------------------------------------------------- */

static void send_progress(struct trial *trial, struct clocks *clocks)
{
    clocks->sent = now();
    records_flush(trial->records);
    struct text *line = records_begin(trial->records, "progress");
    records_add_int(line, "step", trial->progress.step);
    records_add_int(line, "total_steps", trial->total_steps);
    records_add_number(line, "tokens_per_second", speed(clocks));
    records_add_number(line, "tokens", clocks->tokens);
    records_add_number(line, "training_seconds", clocks->training);
    records_add_number(line, "processor_seconds", clocks->processor);
    records_send(trial->records);
}

/* A disk that is full or broken costs the steps since the last checkpoint, should this attempt end before there is a
 * new one, and not the trial. Said once, until one could be written. */
static int keep_checkpoint(struct trial *trial, struct clocks *clocks, struct err *err)
{
    int rc = checkpoint_write(trial, err);
    if (rc == 0)
        clocks->cannot_keep = false;
    if (rc != ERR_IO)
        return rc;
    if (!clocks->cannot_keep) {
        struct text *line = records_begin(trial->records, "progress");
        records_add_int(line, "step", trial->progress.step);
        records_add_text(line, "message", err->message);
        records_send(trial->records);
    }
    clocks->cannot_keep = true;
    return 0;
}

static int stop(struct trial *trial, struct clocks *clocks, bool keeps, struct err *err)
{
    int rc = keeps ? keep_checkpoint(trial, clocks, err) : 0;
    if (rc < 0)
        return rc;
    records_add_int(records_begin(trial->records, "stopped"), "step", trial->progress.step);
    records_send(trial->records);
    return 0;
}

/* What decides about the trial has the validation now: going on before its word would be a step too many. */
static void wait_for_word(const struct trial *trial)
{
    struct go *go = trial->job->waits ? trial->go : NULL;
    while (go && !atomic_load(trial->stop) && !atomic_load(&go->is_all))
        if (sem_wait(&go->said) == 0)
            return;
}

static int one_step(struct trial *trial, struct clocks *clocks, struct err *err)
{
    double before = trial->progress.summed_tokens, began = now(), processor = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    int rc = train_step(trial, err);
    bool validates = rc == 0 && is_validation_step(trial);
    clocks->training += now() - began;
    clocks->processor += read_clock(CLOCK_PROCESS_CPUTIME_ID) - processor;
    crash_at(CRASH_STEP_DONE);
    if (validates) {
        rc = validate(trial, err);
        crash_at(CRASH_EVALUATED);
    }
    if (rc < 0)
        return rc;
    clocks->tokens += trial->progress.summed_tokens - before;
    if (now() - clocks->sent >= POINTS_SECONDS)
        send_progress(trial, clocks);
    bool is_last = trial->progress.step == trial->total_steps || trial->progress.is_stopped_early;
    if (validates && !is_last)
        wait_for_word(trial);
    if (now() - clocks->checkpointed < trial->job->checkpoint_seconds || is_last)
        return 0;
    clocks->checkpointed = now();
    return keep_checkpoint(trial, clocks, err);
}

int trial_run(struct trial *trial, struct err *err)
{
    bool bit_exact = true;
    int64_t steps_here = 0;
    int rc = file_make_folders(trial->job->output, err);
    if (rc == 0 && trial->job->resume)
        rc = checkpoint_read(trial, trial->job->resume, &bit_exact, err);
    if (rc < 0)
        return rc;
    struct clocks clocks = {.start = now(), .checkpointed = now()};
    send_started(trial, trial->progress.step, bit_exact);
    crash_at(CRASH_TRAINING);
    while (rc == 0 && trial->progress.step < trial->total_steps && !trial->progress.is_stopped_early) {
        if (atomic_load(trial->stop) ||
            (trial->job->pause_at_step && trial->progress.step == trial->job->pause_at_step))
            return stop(trial, &clocks, true, err);
        if (trial->job->stop_after_steps && steps_here == trial->job->stop_after_steps) {
            send_progress(trial, &clocks);
            return stop(trial, &clocks, false, err);
        }
        rc = one_step(trial, &clocks, err);
        steps_here++;
        if (trial->records->failed)
            return err_set(err, ERR_IO, "nobody reads the records");
    }
    return rc < 0 ? rc : finish(trial, &clocks, err);
}
