/* What people ask of a run while it works: cancel, retry, pause, resume, adjust, and where it stands.
 *
 * A request waits until no slot is reserved, so that every trial is either in the store's hands or running; nothing new
 * starts meanwhile. It is answered when the store has committed what came of it. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/control_request.h"
#include "orchestrator/coordinator_internal.h"
#include "orchestrator/printable.h"
#include "orchestrator/progress_view.h"

enum { SLOTS_MAX = 1024 };

static void answer_error(struct control_client *client, const struct err *err)
{
    struct text line = {0};
    control_answer_error(&line, err);
    control_answer(client, line.data ? line.data : "{}");
    text_done(&line);
}

static void on_committed(const struct store_result *result, void *context)
{
    struct text line = {0};
    control_answer_result(&line, result);
    control_answer(context, line.data ? line.data : "{}");
    text_done(&line);
}

/* Submits what the client waits for. */
static void submit(struct coordinator *c, const struct store_op *op, struct control_client *client)
{
    struct err err;
    if (store_thread_submit(c->thread, op, 1, on_committed, client, &err) < 0)
        answer_error(client, &err);
}

/* An event of the sweep, which the client waits for. */
static void submit_event(struct coordinator *c, const char *kind, const char *message, struct control_client *client)
{
    const struct store_op op = {.kind = STORE_EVENT,
                                .event = {.sweep_id = c->options->loaded->sweep.id, .kind = kind, .message = message}};
    submit(c, &op, client);
}

static void send_to_attempt(struct coordinator_slot *slot, const char *type)
{
    struct text line = {0};
    text_printf(&line, "{\"v\":1,\"type\":\"%s\",\"attempt\":%" PRId64 "}", type, slot->attempt);
    pool_send(slot->pool, &line);
    text_done(&line);
}

static bool is_chosen(const struct coordinator *c, const struct control_request *request,
                      const struct live_trial *trial)
{
    return text_equal(request->sweep, c->definition->name) &&
           (request->trial == 0 || request->trial == trial->stored->number);
}

/* Cancel -------------------------------------------------------------------------------------------------------------
 */

/* A running trial waits, as far as the store goes, until the operation behind this one cancels it. */
static void end_attempt(struct coordinator *c, struct live_trial *trial, const char *reason)
{
    for (int i = 0; i < c->n_slots; i++) {
        struct coordinator_slot *slot = &c->slots[i];
        if (slot->state != SLOT_RUNNING || slot->trial != trial || slot->is_closed)
            continue;
        slot->goal = TRIAL_WAITING;
        attempt_suspend(c, slot, ATTEMPT_STOPPED, ATTEMPT_ASKED, reason);
        send_to_attempt(slot, "kill");
    }
}

static int cancel_trial(struct coordinator *c, struct live_trial *trial, const char *reason, struct err *err)
{
    end_attempt(c, trial, reason);
    trial->state = TRIAL_PRUNED;
    trial->is_settled = false;
    return trial->study_trial ? study_cancel(c->study, trial->study_trial, err) : 0;
}

static void do_cancel(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    struct err err = {0};
    struct store_op op;
    int rc = 0, n = 0;
    control_request_store_op(request, &op);
    for (int i = 0; i < c->n_trials && rc == 0; i++) {
        struct live_trial *trial = c->trials[i];
        if (!is_chosen(c, request, trial) || trial_state_is_final(trial->state))
            continue;
        rc = cancel_trial(c, trial, op.choice.reason, &err);
        n++;
    }
    submit(c, &op, client);
    if (rc < 0)
        coordinator_fail(c, rc, &err);
    c->may_ask = true;
    if (n > 0)
        progress_say(c->options->progress, "canceled", "%d trial%s canceled: %s", n, n == 1 ? " is" : "s are",
                     op.choice.reason);
    if (request->trial == 0 && text_equal(request->sweep, c->definition->name)) {
        c->is_canceled = true;
        coordinator_stop(c, ATTEMPT_ASKED, "canceled", "the sweep is canceled");
    }
}

/* Retry --------------------------------------------------------------------------------------------------------------
 */

static void do_retry(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    struct store_op op;
    int n = 0;
    control_request_store_op(request, &op);
    submit(c, &op, client);
    for (int i = 0; i < c->n_trials; i++) {
        struct live_trial *trial = c->trials[i];
        if (!is_chosen(c, request, trial) || trial->state != TRIAL_FAILED)
            continue;
        trial->failures = trial->losses = 0;
        attempt_set_waiting(c, trial);
        n++;
    }
    if (n > 0)
        progress_say(c->options->progress, "retried", "%d failed trial%s tried again", n, n == 1 ? " is" : "s are");
}

/* Of a whole sweep, which need not be the one that is worked on. */
static void do_store(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    struct store_op op;
    struct err err;
    control_request_store_op(request, &op);
    if (request->op == CONTROL_DELETE && text_equal(request->sweep, c->definition->name)) {
        err_set(&err, ERR_USAGE, "the run works on sweep '%s': cancel it first", c->definition->name);
        answer_error(client, &err);
    } else
        submit(c, &op, client);
}

/* Pause, resume ------------------------------------------------------------------------------------------------------
 */

static void stop_above(struct coordinator *c, int most)
{
    for (int i = 0; i < c->n_slots; i++)
        if (c->slots[i].state == SLOT_RUNNING && c->slots[i].number > most && !c->slots[i].is_closed)
            send_to_attempt(&c->slots[i], "stop");
}

static void do_pause(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    (void)request;
    if (!c->is_paused)
        progress_say(c->options->progress, "paused",
                     "paused: running trials write their checkpoints; `nightsweep resume %s` goes on",
                     c->definition->name);
    c->is_paused = true;
    stop_above(c, 0);
    submit_event(c, "paused", "paused as asked", client);
}

static void do_resume(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    (void)request;
    if (c->is_paused)
        progress_say(c->options->progress, "resumed", "goes on");
    c->is_paused = false;
    submit_event(c, "continued", "goes on as asked", client);
}

/* Adjust -------------------------------------------------------------------------------------------------------------
 */

/* The rows of `n` slots a worker: those that are there stay, with their trials. Nobody keeps a slot's address. */
static int grow_slots(struct coordinator *c, int each, struct err *err)
{
    int n = c->n_slots;
    struct coordinator_slot *slots = arena_calloc(&c->arena, (size_t)(c->n_pools * each), sizeof(*slots));
    if (!slots)
        return err_set(err, ERR_NOMEM, "no memory for %d slots", c->n_pools * each);
    memcpy(slots, c->slots, (size_t)n * sizeof(*slots));
    for (int i = 0; i < n; i++)
        if (slots[i].shown.parameters)
            slots[i].shown.parameters = slots[i].shown_parameters;
    for (int p = 0; p < c->n_pools; p++)
        for (int number = c->slots_made + 1; number <= each; number++) {
            slots[n].pool = &c->pools[p];
            slots[n].number = number;
            slots[n++].shown.loss = (double)NAN;
        }
    c->slots = slots;
    c->n_slots = n;
    c->slots_made = each;
    return attempt_index_slots(c, err);
}

static int set_slots(struct coordinator *c, int each, struct err *err)
{
    struct text line = {0};
    if (each < 1 || each > SLOTS_MAX)
        return err_set(err, ERR_USAGE, "slots: %d is not from 1 to %d", each, SLOTS_MAX);
    int rc = each > c->slots_made ? grow_slots(c, each, err) : 0;
    if (rc < 0)
        return rc;
    c->slots_each = each;
    for (int p = 0; p < c->n_pools; p++) {
        c->pools[p].options.slots = each;
        text_printf(&line, "{\"v\":1,\"type\":\"slots\",\"slots\":%d}", each);
        pool_send(&c->pools[p], &line);
    }
    text_done(&line);
    stop_above(c, each);
    if (c->options->adjustment)
        c->options->adjustment->slots = each;
    return 0;
}

static void set_deadline(struct coordinator *c, double seconds)
{
    double elapsed = 1e-9 * (double)(loop_now_ns() - c->started_ns);
    c->deadline_seconds = seconds > 0 ? elapsed + seconds : 0;
    if (c->options->adjustment) {
        c->options->adjustment->has_deadline = true;
        c->options->adjustment->deadline_ns = seconds > 0 ? loop_now_ns() + (uint64_t)(1e9 * seconds) : 0;
    }
}

static void do_adjust(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    struct err err = {0};
    struct text said = {0};
    double seconds = request->deadline_seconds.value;
    if (request->slots && set_slots(c, (int)request->slots, &err) < 0) {
        answer_error(client, &err);
        return;
    }
    if (request->slots)
        text_printf(&said, "%" PRId64 " slot%s", request->slots, request->slots == 1 ? "" : "s");
    if (request->deadline_seconds.is_known) {
        set_deadline(c, seconds);
        text_add(&said, said.len ? ", " : "");
        text_add(&said, seconds > 0 ? "the deadline comes in " : "no deadline");
        if (seconds > 0)
            progress_add_duration(&said, seconds);
    }
    const char *message = said.data ? said.data : "nothing changed";
    progress_say(c->options->progress, "adjusted", "as asked: %s", message);
    submit_event(c, "adjusted", message, client);
    text_done(&said);
}

/* State --------------------------------------------------------------------------------------------------------------
 */

static void do_state(struct coordinator *c, const struct control_request *request, struct control_client *client)
{
    struct text line = {0};
    double left = c->deadline_seconds - 1e-9 * (double)(loop_now_ns() - c->started_ns);
    (void)request;
    text_add(&line, "{\"v\":1,\"ok\":true,\"sweep\":");
    printable_add_json(&line, c->definition->name);
    text_printf(
        &line, ",\"paused\":%s,\"stopping\":%s,\"slots\":%d,\"workers\":%d,\"running\":%d,\"deadline_seconds\":",
        c->is_paused ? "true" : "false", c->is_stopping ? "true" : "false", c->slots_each, c->n_pools, c->n_busy);
    if (c->deadline_seconds > 0)
        text_add_double(&line, left > 0 ? left : 0);
    else
        text_add(&line, "null");
    text_add_char(&line, '}');
    control_answer(client, line.data ? line.data : "{}");
    text_done(&line);
}

/* The queue ----------------------------------------------------------------------------------------------------------
 */

static const struct {
    void (*act)(struct coordinator *c, const struct control_request *request, struct control_client *client);
    bool is_of_sweep; /* only of the sweep that the run works on … */
    bool needs_start; /* … and only while it starts trials */
} kinds[CONTROL_OP_COUNT] = {
    [CONTROL_CANCEL] = {do_cancel, false, false}, [CONTROL_RETRY] = {do_retry, false, false},
    [CONTROL_ARCHIVE] = {do_store, false, false}, [CONTROL_UNARCHIVE] = {do_store, false, false},
    [CONTROL_DELETE] = {do_store, false, false},  [CONTROL_PAUSE] = {do_pause, true, true},
    [CONTROL_RESUME] = {do_resume, true, true},   [CONTROL_ADJUST] = {do_adjust, false, true},
    [CONTROL_STATE] = {do_state, false, false},
};

static void act(struct coordinator *c, const cJSON *json, struct control_client *client)
{
    struct control_request request;
    struct err err = {0};
    int rc = control_request_read(&request, json, &err);
    if (rc == 0 && c->is_quitting)
        rc = err_set(&err, ERR_BUSY, "the run is about to end");
    if (rc == 0 && kinds[request.op].is_of_sweep && !text_equal(request.sweep, c->definition->name))
        rc = err_set(&err, ERR_USAGE, "the run works on sweep '%s', not on '%s'", c->definition->name, request.sweep);
    if (rc == 0 && kinds[request.op].needs_start && c->is_stopping)
        rc = err_set(&err, ERR_USAGE, "the run is stopping already");
    if (rc < 0)
        answer_error(client, &err);
    else
        kinds[request.op].act(c, &request, client);
}

static bool has_reserved(const struct coordinator *c)
{
    for (int i = 0; i < c->n_slots; i++)
        if (c->slots[i].state == SLOT_RESERVED)
            return true;
    return false;
}

void coordinator_take_requests(struct coordinator *c)
{
    if (c->is_taking || c->n_requests == 0 || has_reserved(c))
        return;
    c->is_taking = true;
    for (int i = 0; i < c->n_requests; i++) {
        act(c, c->requests[i].json, c->requests[i].client);
        json_free(c->requests[i].json);
    }
    c->n_requests = 0;
    c->is_taking = false;
}

void coordinator_on_request(struct control_client *client, cJSON *request, void *context)
{
    struct coordinator *c = context;
    struct err err;
    if (c->n_requests == CONTROL_CLIENTS_MAX || c->is_taking) {
        err_set(&err, ERR_BUSY, "the run has too many requests to answer");
        answer_error(client, &err);
        json_free(request);
        return;
    }
    c->requests[c->n_requests++] = (struct coordinator_request){client, request};
    coordinator_dispatch(c);
}

void coordinator_refuse_requests(struct coordinator *c)
{
    struct err err;
    err_set(&err, ERR_BUSY, "the run is about to end");
    for (int i = 0; i < c->n_requests; i++) {
        answer_error(c->requests[i].client, &err);
        json_free(c->requests[i].json);
    }
    c->n_requests = 0;
}
