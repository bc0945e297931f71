/* A trainer that trains nothing: speaks the whole protocol of docs/protocol.md in milliseconds.
 *
 * Every number it reports follows from the job's settings, its seed and the step, so that a trial that was stopped and
 * resumed must end with the same values and the same artifact as one that was not. It reads `settings.steps` (default
 * 4), evaluates on validation halfway and at the end, on test at the end, and checkpoints halfway, when asked to stop
 * and as checkpoint_seconds says. Environment:
 *   FAKE_STEP_MS   milliseconds a step takes (default 0)
 *   FAKE_BURN      when set, a step takes that long of CPU time
 *   FAKE_TRAINER   halfway: crash (abort), hang (no answer to anything), garbage (a line that is no record), oom (ever
 *                  more memory), fail (a `failed` record), exit (ends with status 0 and no last record)
 *   FAKE_KILLS     a job whose settings have this text kills its worker */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "common/line.h"
#include "common/text.h"
#include "common/version.h"

enum { N_ITEMS = 8, N_CLASSES = 2, CHECK_PAIRS = 4 };

struct fake {
    cJSON *job;
    const char *output, *metric, *resume;
    int64_t attempt, seq, n_steps, steps_per_epoch, resumed_step, checkpoint_seconds, stop_after_steps;
    char settings[HASH_HEX_SIZE]; /* hash of settings and seed */
    double best_value;
    int64_t best_step;
    bool is_supervised, is_asked_to_stop;
    struct line_splitter lines;
    struct timespec started, checkpointed;
};

static double seconds_since(struct timespec then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - then.tv_sec) + (double)(now.tv_nsec - then.tv_nsec) / 1e9;
}

/* A number in [0, 1) that follows from settings, seed, `purpose` and step. */
static double number(const struct fake *fake, const char *purpose, int64_t step)
{
    struct text text = {0};
    char hex[HASH_HEX_SIZE];
    text_printf(&text, "%s %s %lld", fake->settings, purpose, (long long)step);
    hash_bytes(text.data, text.len, hex);
    text_done(&text);
    hex[7] = '\0';
    return (double)strtoul(hex, NULL, 16) / (double)(1 << 28);
}

/* Records ------------------------------------------------------------------------------------------------------- */

static void begin(struct fake *fake, struct text *record, const char *type)
{
    text_printf(record, "{\"v\":1,\"type\":\"%s\",\"attempt\":%lld,\"seq\":%lld", type, (long long)fake->attempt,
                (long long)++fake->seq);
}

static void add_int(struct text *record, const char *key, int64_t value)
{
    text_printf(record, ",\"%s\":%lld", key, (long long)value);
}

static void add_double(struct text *record, const char *key, double value)
{
    text_printf(record, ",\"%s\":", key);
    text_add_double(record, value);
}

static void add_string(struct text *record, const char *key, const char *value)
{
    text_printf(record, ",\"%s\":", key);
    text_add_json(record, value);
}

static void finish(struct text *record)
{
    text_add(record, "}\n");
    if (record->failed || fwrite(record->data, 1, record->len, stdout) != record->len || fflush(stdout) != 0)
        _exit(3); /* the worker is gone */
    text_done(record);
}

static void send_started(struct fake *fake)
{
    static const char *const files[] = {"model", "tokenizer", "train"};
    static const char *const names[] = {"model", "tokenizer", "data"};
    struct text record = {0};
    begin(fake, &record, "started");
    text_add(&record, ",\"fingerprint\":{\"program_version\":");
    text_add_json(&record, version_program());
    add_string(&record, "git_commit", version_commit());
    text_add(&record,
             ",\"blas_version\":\"none\",\"blas_core\":\"none\",\"cpu\":\"none\",\"kernel_level\":\"portable\","
             "\"compute\":\"float32\"},\"hashes\":{");
    for (size_t i = 0; i < 3; i++) {
        char hex[HASH_HEX_SIZE];
        const char *given = NULL;
        const cJSON *hashes = json_get(fake->job, "hashes");
        if (hashes && json_opt_string(hashes, files[i], "job.hashes", &given, NULL) < 0)
            given = NULL;
        hash_bytes(names[i], strlen(names[i]), hex);
        text_printf(&record, "%s\"%s\":\"%s\"", i ? "," : "", names[i], given ? given : hex);
    }
    text_printf(&record, "},\"resumed_step\":%lld,\"bit_exact\":true", (long long)fake->resumed_step);
    add_int(&record, "total_steps", fake->n_steps);
    add_int(&record, "steps_per_epoch", fake->steps_per_epoch);
    text_add(&record, ",\"trained_parameters\":100,\"total_parameters\":1000,\"parameters_by_method\":{\"lora\":90,"
                      "\"head\":10},\"labels\":[\"negative\",\"positive\"],\"examples\":{\"train\":80,\"validation\":8,"
                      "\"test\":8},\"flops\":1000000,\"estimated_bytes\":4096");
    finish(&record);
}

static double train_loss(const struct fake *fake, int64_t step)
{
    return 0.5 * number(fake, "loss", 0) + 1.0 / (double)(step + 1);
}

static void send_train_points(struct fake *fake, int64_t step)
{
    struct text record = {0};
    begin(fake, &record, "points");
    text_printf(&record, ",\"points\":[[\"train/loss\",%lld,", (long long)step);
    text_add_double(&record, train_loss(fake, step));
    text_printf(&record, "],[\"train/learning_rate\",%lld,0.001]]", (long long)step);
    finish(&record);
}

/* Evaluation ---------------------------------------------------------------------------------------------------- */

struct item {
    int32_t label, prediction;
    float loss, probabilities[N_CLASSES];
};

struct evaluation {
    struct item items[N_ITEMS];
    int confusion[N_CLASSES][N_CLASSES]; /* label, prediction */
    double accuracy, loss, ece, f1[N_CLASSES], macro_f1;
};

static void evaluate(const struct fake *fake, const char *split, int64_t step, struct evaluation *evaluation)
{
    memset(evaluation, 0, sizeof(*evaluation));
    for (int i = 0; i < N_ITEMS; i++) {
        struct item *item = &evaluation->items[i];
        float p = (float)(0.05 + 0.9 * number(fake, split, step * N_ITEMS + i));
        *item = (struct item){.label = i % N_CLASSES, .prediction = p > 0.5f, .probabilities = {1 - p, p}};
        item->loss = 1 - item->probabilities[item->label];
        evaluation->confusion[item->label][item->prediction]++;
        evaluation->accuracy += (item->label == item->prediction) / (double)N_ITEMS;
        evaluation->loss += (double)item->loss / N_ITEMS;
    }
    for (int c = 0; c < N_CLASSES; c++) {
        int right = evaluation->confusion[c][c];
        int others = evaluation->confusion[c][1 - c] + evaluation->confusion[1 - c][c];
        evaluation->f1[c] = right ? 2.0 * right / (2.0 * right + others) : 0;
        evaluation->macro_f1 += evaluation->f1[c] / N_CLASSES;
    }
    evaluation->ece = 0.1 * number(fake, "ece", step);
}

static double metric_value(const struct fake *fake, const struct evaluation *evaluation, int64_t step)
{
    if (text_equal(fake->metric, "train/loss"))
        return train_loss(fake, step);
    if (text_ends_with(fake->metric, "/loss"))
        return evaluation->loss;
    if (text_ends_with(fake->metric, "/macro_f1"))
        return evaluation->macro_f1;
    return text_ends_with(fake->metric, "/ece") ? evaluation->ece : evaluation->accuracy;
}

static void send_evaluation_points(struct fake *fake, const char *split, int64_t step, const struct evaluation *from)
{
    struct text record = {0};
    const struct {
        const char *name;
        double value;
    } points[] = {{"accuracy", from->accuracy}, {"loss", from->loss}, {"macro_f1", from->macro_f1}, {"ece", from->ece}};
    begin(fake, &record, "points");
    text_add(&record, ",\"points\":[");
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        text_printf(&record, "%s[\"%s/%s\",%lld,", i ? "," : "", split, points[i].name, (long long)step);
        text_add_double(&record, points[i].value);
        text_add(&record, "]");
    }
    text_add(&record, "]");
    finish(&record);
}

static void send_evaluation(struct fake *fake, const char *split, int64_t step, bool is_final,
                            const struct evaluation *from)
{
    struct text record = {0};
    char hex[HASH_HEX_SIZE];
    send_evaluation_points(fake, split, step, from);
    begin(fake, &record, "evaluation");
    add_string(&record, "split", split);
    add_int(&record, "step", step);
    text_printf(&record, ",\"is_final\":%s,\"n_items\":%d,\"metrics\":{\"accuracy\":", is_final ? "true" : "false",
                N_ITEMS);
    text_add_double(&record, from->accuracy);
    add_double(&record, "macro_f1", from->macro_f1);
    add_double(&record, "loss", from->loss);
    add_double(&record, "ece", from->ece);
    text_add(&record, ",\"f1\":{\"negative\":");
    text_add_double(&record, from->f1[0]);
    add_double(&record, "positive", from->f1[1]);
    text_printf(&record, "},\"confusion\":[[%d,%d],[%d,%d]]}", from->confusion[0][0], from->confusion[0][1],
                from->confusion[1][0], from->confusion[1][1]);
    hash_bytes(split, strlen(split), hex);
    add_string(&record, "item_set_sha256", hex);
    text_add(&record, ",\"items\":\"");
    text_add_base64(&record, from->items, sizeof(from->items));
    text_add(&record, "\"");
    finish(&record);
}

/* Every check of the job: of each pair whether the prediction flips, and the signed difference. */
static void send_checks(struct fake *fake, int64_t step)
{
    const cJSON *check = NULL;
    cJSON_ArrayForEach(check, json_get(fake->job, "checks"))
    {
        struct text record = {0};
        const char *name = "", *kind = "";
        double flips = 0, absolute = 0, total = 0;
        char hex[HASH_HEX_SIZE];
        if (json_get_string(check, "name", "check", &name, NULL) < 0 ||
            json_get_string(check, "kind", "check", &kind, NULL) < 0)
            continue;
        struct text items = {0};
        for (int i = 0; i < CHECK_PAIRS; i++) {
            double difference = number(fake, name, i) - 0.5;
            bool has_flipped = difference > 0.25;
            flips += has_flipped / (double)CHECK_PAIRS;
            absolute += (difference < 0 ? -difference : difference) / CHECK_PAIRS;
            total += difference / CHECK_PAIRS;
            text_printf(&items, "%s[%d,", i ? "," : "", has_flipped);
            text_add_double(&items, difference);
            text_add(&items, "]");
        }
        begin(fake, &record, "check");
        add_string(&record, "name", name);
        add_string(&record, "kind", kind);
        add_int(&record, "step", step);
        text_add(&record, ",\"metrics\":{\"flip_rate\":");
        text_add_double(&record, flips);
        add_double(&record, "mean_absolute_difference", absolute);
        add_double(&record, "signed_difference", total);
        hash_bytes(name, strlen(name), hex);
        text_printf(&record, "},\"n_items\":%d,\"item_set_sha256\":\"%s\",\"items\":[%s]", CHECK_PAIRS, hex,
                    items.data);
        text_done(&items);
        finish(&record);
    }
}

/* Files --------------------------------------------------------------------------------------------------------- */

static void die(int status, const struct err *err)
{
    fprintf(stderr, "fake-trainer: %s\n", err->message);
    exit(status);
}

static void add_file(struct text *record, const char *path, const struct text *content)
{
    char hex[HASH_HEX_SIZE];
    hash_bytes(content->data, content->len, hex);
    add_string(record, "path", path);
    add_int(record, "bytes", (int64_t)content->len);
    add_string(record, "sha256", hex);
}

static void write_file(const char *folder, const char *path, const struct text *content)
{
    struct err err = {0};
    if (file_make_folders(folder, &err) < 0 || file_write_atomic(path, content->data, content->len, &err) < 0)
        die(3, &err);
}

static void send_checkpoint(struct fake *fake, int64_t step)
{
    struct text record = {0}, content = {0}, path = {0};
    text_printf(&path, "%s/%lld-%lld.checkpoint", fake->output, (long long)fake->attempt, (long long)step);
    text_printf(&content, "{\"step\":%lld,\"best_step\":%lld,\"best_value\":", (long long)step,
                (long long)fake->best_step);
    text_add_double(&content, fake->best_value);
    text_add(&content, "}\n");
    write_file(fake->output, path.data, &content);
    begin(fake, &record, "checkpoint");
    add_int(&record, "step", step);
    add_file(&record, path.data, &content);
    finish(&record);
    text_done(&path);
    text_done(&content);
    clock_gettime(CLOCK_MONOTONIC, &fake->checkpointed);
}

/* A safetensors file without tensors that carries the value. */
static int64_t send_artifact(struct fake *fake)
{
    static const char name[] = "adapter/adapter_model.safetensors";
    struct text record = {0}, header = {0}, content = {0};
    char *path = file_join(fake->output, name), *folder = file_folder(path);
    text_add(&header, "{\"__metadata__\":{\"value\":\"");
    text_add_double(&header, fake->best_value);
    text_add(&header, "\"}}");
    uint64_t len = header.len;
    text_add_n(&content, (const char *)&len, sizeof(len));
    text_add_n(&content, header.data, header.len);
    write_file(folder, path, &content);
    begin(fake, &record, "artifact");
    add_string(&record, "kind", "adapter");
    add_file(&record, name, &content);
    finish(&record);
    int64_t bytes = (int64_t)content.len;
    text_done(&header);
    text_done(&content);
    free(path);
    free(folder);
    return bytes;
}

/* Takes up where the checkpoint stands. */
static void read_checkpoint(struct fake *fake)
{
    struct err err = {0};
    cJSON *checkpoint = NULL;
    if (!fake->resume)
        return;
    if (json_read_file(fake->resume, &checkpoint, &err) < 0 ||
        json_get_int64(checkpoint, "step", "checkpoint", &fake->resumed_step, &err) < 0 ||
        json_get_int64(checkpoint, "best_step", "checkpoint", &fake->best_step, &err) < 0 ||
        json_get_double(checkpoint, "best_value", "checkpoint", &fake->best_value, &err) < 0)
        die(3, &err);
    json_free(checkpoint);
}

/* The job and the lines behind it ------------------------------------------------------------------------------- */

static int read_job(struct fake *fake, struct err *err)
{
    const cJSON *settings = NULL, *objective = NULL;
    int64_t seed = 0;
    fake->n_steps = 4;
    fake->checkpoint_seconds = 30;
    int rc = json_get_int64(fake->job, "attempt", "job", &fake->attempt, err);
    if (rc == 0)
        rc = json_get_string(fake->job, "output", "job", &fake->output, err);
    if (rc == 0)
        rc = json_opt_string(fake->job, "resume", "job", &fake->resume, err);
    if (rc == 0)
        rc = json_get_object(fake->job, "settings", "job", &settings, err);
    if (rc == 0)
        rc = json_opt_int64(settings, "steps", "job.settings", &fake->n_steps, err);
    if (rc == 0)
        rc = json_opt_int64(fake->job, "seed", "job", &seed, err);
    if (rc == 0)
        rc = json_opt_int64(fake->job, "checkpoint_seconds", "job", &fake->checkpoint_seconds, err);
    if (rc == 0)
        rc = json_opt_int64(fake->job, "stop_after_steps", "job", &fake->stop_after_steps, err);
    fake->metric = "validation/accuracy";
    objective = json_get(fake->job, "objective");
    if (rc == 0 && objective)
        rc = json_opt_string(objective, "metric", "job.objective", &fake->metric, err);
    if (rc < 0)
        return rc;
    if (fake->n_steps < 1)
        fake->n_steps = 4; /* -1: as many as the epochs have */
    fake->steps_per_epoch = (fake->n_steps + 1) / 2;
    struct text text = {0};
    json_add_canonical(&text, settings);
    text_printf(&text, " %lld", (long long)seed);
    hash_bytes(text.data, text.len, fake->settings);
    text_done(&text);
    return 0;
}

static int on_line(char *line, size_t len, void *context, struct err *err)
{
    struct fake *fake = context;
    cJSON *object = NULL;
    const char *type = NULL;
    int rc = json_parse(line, len, &object, err);
    if (rc == 0)
        rc = json_get_string(object, "type", "line", &type, err);
    if (rc == 0 && !fake->job && text_equal(type, "job")) {
        fake->job = object;
        return read_job(fake, err);
    }
    if (rc == 0 && fake->job && text_equal(type, "stop"))
        fake->is_asked_to_stop = true;
    else if (rc == 0)
        rc = err_set(err, ERR_FORMAT, "a line of type '%s' was not expected", type);
    json_free(object);
    return rc;
}

/* Reads what is there on standard input, waiting up to timeout_ms (-1: for ever). */
static void take_lines(struct fake *fake, int timeout_ms)
{
    struct pollfd input = {.fd = 0, .events = POLLIN};
    struct err err = {0};
    char buffer[4096];
    if (poll(&input, 1, timeout_ms) <= 0)
        return;
    ssize_t n = read(0, buffer, sizeof(buffer));
    if (n > 0 && line_splitter_feed(&fake->lines, buffer, (size_t)n, on_line, fake, &err) < 0)
        die(2, &err);
    if (n == 0 && !fake->job) {
        err_set(&err, ERR_FORMAT, "standard input ended before the job");
        die(2, &err);
    }
    if (n == 0 && fake->is_supervised)
        _exit(3); /* the worker is gone */
}

/* Training ------------------------------------------------------------------------------------------------------ */

static void misbehave(struct fake *fake, int64_t step)
{
    const char *how = getenv("FAKE_TRAINER");
    if (!how || !*how)
        return;
    fprintf(stderr, "fake-trainer: asked to %s at step %lld\n", how, (long long)step);
    if (text_equal(how, "crash"))
        abort();
    if (text_equal(how, "exit"))
        _exit(0);
    if (text_equal(how, "hang"))
        for (;;)
            pause();
    if (text_equal(how, "garbage")) {
        puts("this is no record");
        fflush(stdout);
    }
    for (size_t megabytes = 0; text_equal(how, "oom") && megabytes < 2048; megabytes++) {
        volatile char *block = malloc(1 << 20);
        for (size_t i = 0; block && i < 1 << 20; i += 1024)
            block[i] = 1;
        usleep(1000);
    }
    if (text_equal(how, "fail")) {
        struct text record = {0};
        begin(fake, &record, "failed");
        add_string(&record, "reason", "diverged");
        add_string(&record, "message", "the loss is not a number");
        add_int(&record, "step", step);
        finish(&record);
        exit(1);
    }
}

static void send_progress(struct fake *fake, int64_t step)
{
    struct text record = {0};
    begin(fake, &record, "progress");
    add_int(&record, "step", step);
    add_int(&record, "total_steps", fake->n_steps);
    add_double(&record, "tokens_per_second", 1000);
    add_double(&record, "loss", train_loss(fake, step));
    finish(&record);
}

static void send_stopped(struct fake *fake, int64_t step)
{
    struct text record = {0};
    begin(fake, &record, "stopped");
    add_int(&record, "step", step);
    finish(&record);
}

static void send_finished(struct fake *fake, int64_t stored_bytes)
{
    struct text record = {0};
    double seconds = seconds_since(fake->started);
    begin(fake, &record, "finished");
    add_int(&record, "step", fake->n_steps);
    add_double(&record, "value", fake->best_value);
    add_int(&record, "best_step", fake->best_step);
    text_add(&record, ",\"objectives\":{");
    text_add_json(&record, fake->metric);
    text_add(&record, ":");
    text_add_double(&record, fake->best_value);
    text_add(&record, "}");
    add_int(&record, "stored_bytes", stored_bytes);
    add_int(&record, "peak_bytes", 1 << 20);
    add_double(&record, "seconds", seconds);
    add_double(&record, "tokens_per_second", 1000);
    add_string(&record, "message", "");
    finish(&record);
}

/* Validation at the end of an epoch; remembers the best of the objective. */
static void end_epoch(struct fake *fake, int64_t step)
{
    struct evaluation evaluation;
    const char *goal = "maximize";
    const cJSON *objective = json_get(fake->job, "objective");
    bool is_final = step == fake->n_steps;
    evaluate(fake, "validation", step, &evaluation);
    send_evaluation(fake, "validation", step, is_final, &evaluation);
    double value = metric_value(fake, &evaluation, step);
    if (objective && json_opt_string(objective, "goal", "job.objective", &goal, NULL) < 0)
        goal = "maximize";
    if (fake->best_step == 0 || (text_equal(goal, "minimize") ? value < fake->best_value : value > fake->best_value)) {
        fake->best_value = value;
        fake->best_step = step;
    }
}

static void finish_training(struct fake *fake)
{
    struct evaluation evaluation;
    evaluate(fake, "test", fake->best_step, &evaluation);
    send_evaluation(fake, "test", fake->best_step, true, &evaluation);
    send_checks(fake, fake->n_steps);
    send_finished(fake, send_artifact(fake));
}

static void burn(int ms)
{
    struct timespec start, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    do
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

static void train(struct fake *fake, int step_ms)
{
    send_started(fake);
    for (int64_t step = fake->resumed_step + 1; step <= fake->n_steps; step++) {
        if (step_ms > 0 && getenv("FAKE_BURN"))
            burn(step_ms);
        else if (step_ms > 0)
            usleep((useconds_t)step_ms * 1000);
        send_train_points(fake, step);
        if (step % fake->steps_per_epoch == 0 || step == fake->n_steps)
            end_epoch(fake, step);
        if (step == fake->steps_per_epoch)
            misbehave(fake, step);
        take_lines(fake, 0);
        if (fake->is_asked_to_stop || step == fake->steps_per_epoch || fake->checkpoint_seconds == 0 ||
            seconds_since(fake->checkpointed) > (double)fake->checkpoint_seconds)
            send_checkpoint(fake, step);
        if (step == fake->stop_after_steps)
            send_progress(fake, step);
        if (fake->is_asked_to_stop || step == fake->stop_after_steps) {
            send_stopped(fake, step);
            return;
        }
    }
    finish_training(fake);
}

static void kill_worker(const struct fake *fake)
{
    const char *text = getenv("FAKE_KILLS");
    char *settings = text ? cJSON_PrintUnformatted(json_get(fake->job, "settings")) : NULL;
    if (settings && strstr(settings, text))
        kill(getppid(), SIGKILL);
    cJSON_free(settings);
}

int main(int argc, char **argv)
{
    struct fake fake = {.is_supervised = argc > 1 && text_equal(argv[1], "--supervised")};
    const char *ms = getenv("FAKE_STEP_MS");
    int64_t step_ms = 0;
    if (ms && *ms && text_parse_int64(ms, &step_ms, NULL) < 0)
        return 2;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGINT, SIG_IGN);
    clock_gettime(CLOCK_MONOTONIC, &fake.started);
    fake.checkpointed = fake.started;
    while (!fake.job)
        take_lines(&fake, -1);
    read_checkpoint(&fake);
    kill_worker(&fake);
    fprintf(stderr, "fake-trainer: %s threads\n", getenv("OMP_NUM_THREADS") ? getenv("OMP_NUM_THREADS") : "no");
    train(&fake, (int)step_ms);
    line_splitter_done(&fake.lines);
    json_free(fake.job);
    return 0;
}
