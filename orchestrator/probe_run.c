/* Runs probes: one trainer each, as many at a time as there are slots. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/file.h"
#include "orchestrator/child.h"
#include "orchestrator/probe.h"

struct probing;

struct probe_slot {
    struct child child;
    struct probing *probing;
    struct probe *probe; /* that it runs */
    struct text job;
};

struct probing {
    struct probes *probes;
    const struct plan *plan;
    uv_loop_t loop;
    struct probe_slot *slots;
    int n_slots, next, n_done, n_started;
    const char *folder;
    probe_progress_fn on_progress;
    void *context;
    struct err err; /* of a trainer that could not be started */
    uv_signal_t signals[2];
    bool is_stopped;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    struct probe_slot *slot = context;
    return probe_take_record(slot->probe, line, n, now(), err);
}

static void start_next(struct probe_slot *slot);

static void on_end(struct child *child, void *context)
{
    struct probe_slot *slot = context;
    struct probing *probing = slot->probing;
    struct probe *probe = slot->probe;
    struct err err = {0};
    if (!probe->reason[0] && !(child->is_timed_out && probe->n_steps > 0) && child_result(child, 0, &err) < 0)
        snprintf(probe->message, sizeof(probe->message), "%s", err.message);
    probing->n_done++;
    if (probing->on_progress)
        probing->on_progress(probing->n_done, probing->probes->n_timed, probing->context);
    start_next(slot);
}

static void write_job(struct probe_slot *slot)
{
    struct probing *probing = slot->probing;
    struct text output = {0};
    text_printf(&output, "%s/%d", probing->folder, probing->next);
    struct job job = {.attempt = probing->next,
                      .identity = "",
                      .output = output.data ? output.data : "",
                      .settings = slot->probe->settings,
                      .seed = slot->probe->seed,
                      .checkpoint_seconds = 10 * PROBE_MAX_SECONDS, /* none */
                      .stop_after_steps = PROBE_STEPS};
    text_reset(&slot->job);
    job_write(&slot->job, probing->plan->definition, probing->plan->hashes, &job);
    text_add_char(&slot->job, '\n');
    text_done(&output);
}

/* The next probe that is to be timed, or nothing when there are no more. */
static void start_next(struct probe_slot *slot)
{
    static const char *const argv[] = {"nightsweep-trainer", "--supervised", NULL};
    struct probing *probing = slot->probing;
    while (!probing->is_stopped && probing->next < probing->probes->n &&
           !probing->probes->items[probing->next].is_timed)
        probing->next++;
    if (probing->is_stopped || probing->next == probing->probes->n)
        return;
    slot->probe = &probing->probes->items[probing->next++];
    write_job(slot);
    struct child_options options = {.argv = argv,
                                    .input = slot->job.data,
                                    .input_len = slot->job.len,
                                    .on_line = on_line,
                                    .on_end = on_end,
                                    .context = slot,
                                    .timeout_seconds = PROBE_MAX_SECONDS};
    slot->probe->spawned = now();
    if (child_start(&slot->child, &probing->loop, &options, &probing->err) < 0)
        snprintf(slot->probe->message, sizeof(slot->probe->message), "%s", probing->err.message);
    else
        probing->n_started++;
}

static int make_folder(char *folder, size_t size, struct err *err)
{
    const char *base = getenv("TMPDIR");
    snprintf(folder, size, "%s/nightsweep-plan-XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(folder) ? 0 : err_set_errno(err, "cannot make a folder '%s'", folder);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct probing *probing = handle->data;
    (void)number;
    probing->is_stopped = true;
    for (int i = 0; i < probing->n_slots; i++)
        child_kill(&probing->slots[i].child, SIGKILL);
}

/* Without these the folder of the probes would stay behind. They keep no loop going. */
static void watch_signals(struct probing *probing)
{
    static const int numbers[] = {SIGINT, SIGTERM};
    for (int i = 0; i < 2; i++) {
        uv_signal_init(&probing->loop, &probing->signals[i]);
        probing->signals[i].data = probing;
        uv_signal_start(&probing->signals[i], on_signal, numbers[i]);
        uv_unref((uv_handle_t *)&probing->signals[i]);
    }
}

static void run_loop(struct probing *probing)
{
    watch_signals(probing);
    for (int i = 0; i < probing->n_slots; i++) {
        probing->slots[i].probing = probing;
        start_next(&probing->slots[i]);
    }
    uv_run(&probing->loop, UV_RUN_DEFAULT);
    for (int i = 0; i < 2; i++)
        uv_close((uv_handle_t *)&probing->signals[i], NULL);
    uv_run(&probing->loop, UV_RUN_DEFAULT);
    for (int i = 0; i < probing->n_slots; i++)
        text_done(&probing->slots[i].job);
}

int probes_run(struct probes *probes, const struct plan *plan, int slots, probe_progress_fn on_progress, void *context,
               struct err *err)
{
    char folder[4096];
    struct probing probing = {.probes = probes,
                              .plan = plan,
                              .n_slots = slots < probes->n_timed ? slots : probes->n_timed,
                              .folder = folder,
                              .on_progress = on_progress,
                              .context = context};
    int rc = make_folder(folder, sizeof(folder), err);
    if (rc < 0)
        return rc;
    probing.slots = calloc((size_t)probing.n_slots + 1, sizeof(*probing.slots));
    if (!probing.slots)
        rc = err_set(err, ERR_NOMEM, "no memory for %d probes", probing.n_slots);
    else if (uv_loop_init(&probing.loop) < 0)
        rc = err_set(err, ERR_IO, "cannot start an event loop");
    if (rc == 0) {
        run_loop(&probing);
        uv_loop_close(&probing.loop);
    }
    if (rc == 0 && probing.is_stopped)
        rc = err_set(err, ERR_CANCELED, "stopped as asked; nothing was written");
    if (rc == 0 && probing.n_started == 0 && probes->n_timed > 0)
        rc = err_set(err, probing.err.code, "%s", probing.err.message);
    if (file_remove_tree(folder, rc == 0 ? err : NULL) < 0 && rc == 0)
        rc = err->code;
    free(probing.slots);
    return rc;
}
