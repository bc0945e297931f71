/* A worker without trainers: answers each `start` at once with the records of a trial that was trained, so that what is
 * measured is the coordinator and its store (bench/coordinator/bench.py). Takes the options of nightsweep-worker.
 * Environment:
 *   BENCH_POINTS   curve points of a trial (default 0), of four metrics in turn
 *   BENCH_BATCH    points a line (default 100)
 *   BENCH_MS       milliseconds from a start to its answer (default 0)
 *   BENCH_REPORT   folder in which it leaves <pid>: nanoseconds (CLOCK_MONOTONIC) of the first start and the last end,
 *                  how many there were, and the median of the nanoseconds from an end to the next start of that slot */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "common/text.h"
#include "common/version.h"

enum { INPUT_BYTES = 1 << 20, HEARTBEAT_NS = 1000000000, N_METRICS = 4, SLOTS_MAX = 1024, GAPS_MAX = 100000 };

struct bench {
    const char *marker;
    int64_t slots, points, batch, ms;
    uint64_t first_ns, last_ns, beat_ns;
    int64_t n_trials;
    uint64_t ended_ns[SLOTS_MAX + 1]; /* by slot; 0: nothing ran in it yet */
    uint64_t due_ns[SLOTS_MAX + 1];   /* by slot: when what runs there is answered; 0: nothing does */
    int64_t attempts[SLOTS_MAX + 1];
    uint64_t gaps[GAPS_MAX];
    size_t n_gaps;
    bool is_quitting;
    char *input;
    size_t len, capacity;
    struct text bodies, out;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void flush(struct bench *bench)
{
    for (size_t at = 0; at < bench->out.len;) {
        ssize_t n = write(1, bench->out.data + at, bench->out.len - at);
        if (n <= 0)
            exit(0); /* the coordinator is gone */
        at += (size_t)n;
    }
    text_reset(&bench->out);
}

static void say_hello(struct bench *bench)
{
    char *marker = NULL;
    size_t len = 0;
    struct err err;
    if (!bench->marker || file_read(bench->marker, 4096, &marker, &len, &err) < 0)
        exit(3);
    text_printf(&bench->out,
                "{\"v\":1,\"type\":\"hello\",\"version\":\"%s\",\"host\":\"bench\",\"pid\":%ld,\"slots\":%" PRId64
                ",\"marker\":\"%s\"}\n",
                version_program(), (long)getpid(), bench->slots, marker);
    free(marker);
    flush(bench);
}

static void beat(struct bench *bench)
{
    if (now_ns() - bench->beat_ns < HEARTBEAT_NS)
        return;
    bench->beat_ns = now_ns();
    text_add(&bench->out, "{\"v\":1,\"type\":\"heartbeat\",\"cpu_seconds\":0}\n");
    flush(bench);
}

/* The points of a trial, once: a line's end each, from its `points` on. Every trial has the same. */
static void make_points(struct bench *bench)
{
    static const char *const names[N_METRICS] = {"train/loss", "train/grad_norm", "train/learning_rate",
                                                 "validation/loss"};
    for (int64_t i = 0; i < bench->points; i++) {
        /* As many digits as a measured loss has. */
        text_printf(&bench->bodies, "%s[\"%s\",%" PRId64 ",%.17g]", i % bench->batch ? "," : ",\"points\":[",
                    names[i % N_METRICS], i / N_METRICS + 1, 1.0 / (double)(i + 3));
        if (i % bench->batch == bench->batch - 1 || i == bench->points - 1)
            text_add(&bench->bodies, "]}\n");
    }
    if (bench->bodies.failed)
        exit(3);
}

static void add_points(struct bench *bench, int64_t attempt, int64_t *seq)
{
    for (const char *body = bench->bodies.data, *end; body && *body; body = end) {
        end = strchr(body, '\n') + 1;
        text_printf(&bench->out, "{\"v\":1,\"type\":\"points\",\"attempt\":%" PRId64 ",\"seq\":%" PRId64, attempt,
                    ++*seq);
        text_add_n(&bench->out, body, (size_t)(end - body));
        if (bench->out.len > INPUT_BYTES / 4) {
            flush(bench);
            beat(bench);
        }
    }
}

static void train(struct bench *bench, int64_t attempt, int64_t slot)
{
    static const char started[] =
        ",\"fingerprint\":{\"program_version\":\"bench\",\"git_commit\":\"none\",\"blas_version\":\"none\","
        "\"blas_core\":\"none\",\"cpu\":\"none\",\"kernel_level\":\"none\",\"compute\":\"float32\"},"
        "\"hashes\":{\"model\":\"m\",\"tokenizer\":\"t\",\"data\":\"d\"},\"resumed_step\":0,\"bit_exact\":true,"
        "\"total_steps\":1,\"trained_parameters\":100}\n";
    int64_t seq = 1;
    text_printf(&bench->out, "{\"v\":1,\"type\":\"started\",\"attempt\":%" PRId64 ",\"seq\":1%s", attempt, started);
    add_points(bench, attempt, &seq);
    text_printf(&bench->out,
                "{\"v\":1,\"type\":\"finished\",\"attempt\":%" PRId64 ",\"seq\":%" PRId64
                ",\"step\":1,\"value\":0.5,\"best_step\":1,\"objectives\":{\"validation/accuracy\":0.5},"
                "\"stored_bytes\":0,\"peak_bytes\":1,\"seconds\":0.001}\n",
                attempt, ++seq);
    text_printf(&bench->out,
                "{\"v\":1,\"type\":\"ended\",\"attempt\":%" PRId64 ",\"slot\":%" PRId64
                ",\"exit_status\":0,\"signal\":0,\"seconds\":0.001,\"peak_bytes\":1,\"log_tail\":\"\"}\n",
                attempt, slot);
    bench->n_trials++;
}

static void end_slot(struct bench *bench, int64_t slot)
{
    train(bench, bench->attempts[slot], slot);
    bench->ended_ns[slot] = now_ns();
    bench->due_ns[slot] = 0;
}

static void send_answers(struct bench *bench)
{
    if (bench->out.len == 0)
        return;
    flush(bench);
    bench->last_ns = now_ns();
}

/* Answers what is due. Milliseconds until the next is, at most 200. */
static int end_due_slots(struct bench *bench)
{
    uint64_t now = now_ns(), next = now + 200000000;
    for (int64_t slot = 1; slot <= bench->slots && bench->ms > 0; slot++)
        if (bench->due_ns[slot] > 0 && bench->due_ns[slot] <= now)
            end_slot(bench, slot);
        else if (bench->due_ns[slot] > 0 && bench->due_ns[slot] < next)
            next = bench->due_ns[slot];
    send_answers(bench);
    return (int)((next - now + 999999) / 1000000);
}

/* The number behind a key; our own coordinator writes the line, so it is looked for and not parsed. */
static int64_t find_number(const char *line, const char *key)
{
    const char *at = strstr(line, key);
    return at ? strtoll(at + strlen(key), NULL, 10) : 0;
}

static void take_line(struct bench *bench, const char *line)
{
    static const char start[] = "{\"v\":1,\"type\":\"start\",", quit[] = "{\"v\":1,\"type\":\"quit\"";
    if (strncmp(line, start, sizeof(start) - 1) == 0) {
        if (bench->first_ns == 0)
            bench->first_ns = now_ns();
        int64_t slot = find_number(line, "\"slot\":");
        if (slot < 1 || slot > SLOTS_MAX)
            exit(2);
        if (bench->ended_ns[slot] > 0 && bench->n_gaps < GAPS_MAX)
            bench->gaps[bench->n_gaps++] = now_ns() - bench->ended_ns[slot];
        bench->attempts[slot] = find_number(line, "\"attempt\":");
        bench->due_ns[slot] = now_ns() + (uint64_t)bench->ms * 1000000;
        if (bench->ms == 0)
            end_slot(bench, slot);
    } else if (strncmp(line, quit, sizeof(quit) - 1) == 0)
        bench->is_quitting = true;
}

static void take_input(struct bench *bench)
{
    if (bench->capacity - bench->len < INPUT_BYTES) {
        char *larger = realloc(bench->input, bench->capacity + 2 * INPUT_BYTES);
        if (!larger)
            exit(3);
        bench->input = larger;
        bench->capacity += 2 * INPUT_BYTES;
    }
    ssize_t n = read(0, bench->input + bench->len, INPUT_BYTES);
    if (n <= 0)
        exit(0);
    bench->len += (size_t)n;
    char *line = bench->input, *end;
    while ((end = memchr(line, '\n', bench->len - (size_t)(line - bench->input)))) {
        *end = '\0';
        take_line(bench, line);
        line = end + 1;
    }
    bench->len -= (size_t)(line - bench->input);
    memmove(bench->input, line, bench->len);
    send_answers(bench);
}

static int compare_gaps(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(struct bench *bench)
{
    const char *folder = getenv("BENCH_REPORT");
    char path[4096];
    if (!folder)
        return;
    snprintf(path, sizeof(path), "%s/%ld", folder, (long)getpid());
    FILE *file = fopen(path, "w");
    if (!file)
        return;
    qsort(bench->gaps, bench->n_gaps, sizeof(bench->gaps[0]), compare_gaps);
    fprintf(file, "%" PRIu64 " %" PRIu64 " %" PRId64 " %" PRIu64 "\n", bench->first_ns, bench->last_ns, bench->n_trials,
            bench->n_gaps ? bench->gaps[bench->n_gaps / 2] : 0);
    fclose(file);
}

static int64_t number_of(const char *text, int64_t otherwise)
{
    int64_t number = 0;
    return text && text_parse_int64(text, &number, NULL) == 0 ? number : otherwise;
}

int main(int argc, char **argv)
{
    static struct bench bench;
    bench.points = number_of(getenv("BENCH_POINTS"), 0);
    bench.batch = number_of(getenv("BENCH_BATCH"), 100);
    bench.ms = number_of(getenv("BENCH_MS"), 0);
    for (int i = 1; i + 1 < argc; i += 2) {
        if (text_equal(argv[i], "--slots"))
            bench.slots = number_of(argv[i + 1], 1);
        if (text_equal(argv[i], "--marker"))
            bench.marker = argv[i + 1];
    }
    make_points(&bench);
    say_hello(&bench);
    while (!bench.is_quitting) {
        struct pollfd input = {.fd = 0, .events = POLLIN};
        if (poll(&input, 1, end_due_slots(&bench)) > 0)
            take_input(&bench);
        beat(&bench);
    }
    report(&bench);
    text_done(&bench.bodies);
    text_done(&bench.out);
    free(bench.input);
    return 0;
}
