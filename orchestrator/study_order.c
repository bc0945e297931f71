/* Strict order: the same seed and results give the same proposals and decisions with any number of slots.
 *
 * The study acts as if WIDTH trials ran in lockstep: lane after lane a free lane gets the next proposal, a taken one
 * hands in its trial's next report. What is told too early waits in its trial's queue until it is its turn, and what is
 * asked too early is answered by WAIT. So results come into the study in one order, whichever trial was faster. A
 * decision is known once the order has come to its report; until then a trial should not go on (study_is_undecided),
 * else it trains what may turn out to be too much. */
#include <stdlib.h>
#include <string.h>

#include "orchestrator/stop.h"
#include "orchestrator/study_internal.h"

enum { WIDTH = 8 };

struct report {
    int64_t step;   /* 0: the end */
    cJSON *metrics; /* NULL: it failed */
};

struct queue {
    struct report *reports;
    int first, n, capacity;
    int64_t last_step;
    bool has_end;
};

struct answer {
    enum study_answer answer;
    int64_t trial, replaced, position, step;
    char *reason;
};

struct later {
    int64_t trial, step;
    bool goes_on, is_paused;
    char *reason;
};

struct study_order {
    int64_t lanes[WIDTH]; /* a trial, or 0 */
    int lane;             /* whose turn it is */
    bool is_over;         /* nothing is left to propose */
    struct queue *queues; /* by trial − 1 */
    int n_queues, queues_capacity;
    struct answer *answers; /* proposals that nobody asked for yet */
    int first_answer, n_answers, answers_capacity;
    struct later *later; /* decisions that nobody took yet */
    int first_later, n_later, later_capacity;
    int64_t n_handed_out; /* new trials */
    char *reason;         /* of the last answer or decision that was taken */
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the order of reports");
}

static int grow(void *array, int *capacity, int n, size_t size, struct err *err)
{
    void **data = array;
    if (n < *capacity)
        return 0;
    int next = *capacity ? 2 * *capacity : 16;
    void *grown = realloc(*data, (size_t)next * size);
    if (!grown)
        return no_memory(err);
    *data = grown;
    *capacity = next;
    return 0;
}

int study_order_new(struct study_order **order, struct err *err)
{
    *order = calloc(1, sizeof(**order));
    return *order ? 0 : no_memory(err);
}

void study_order_free(struct study_order *order)
{
    if (!order)
        return;
    for (int i = 0; i < order->n_queues; i++) {
        for (int k = order->queues[i].first; k < order->queues[i].n; k++)
            cJSON_Delete(order->queues[i].reports[k].metrics);
        free(order->queues[i].reports);
    }
    for (int i = order->first_answer; i < order->n_answers; i++)
        free(order->answers[i].reason);
    for (int i = order->first_later; i < order->n_later; i++)
        free(order->later[i].reason);
    free(order->queues);
    free(order->answers);
    free(order->later);
    free(order->reason);
    free(order);
}

int64_t study_order_trials(const struct study *study)
{
    return study->order->n_handed_out;
}

/* Queues ----------------------------------------------------------------------------------------------------------- */

static struct queue *queue_of(const struct study *study, int64_t trial)
{
    return trial >= 1 && trial <= study->order->n_queues ? &study->order->queues[trial - 1] : NULL;
}

static int add_queue(struct study_order *order, struct err *err)
{
    int rc = grow(&order->queues, &order->queues_capacity, order->n_queues, sizeof(*order->queues), err);
    if (rc == 0)
        order->queues[order->n_queues++] = (struct queue){0};
    return rc;
}

/* Keeps a report; one that came before is left out. */
static int keep(struct study *study, int64_t trial, int64_t step, const cJSON *metrics, struct err *err)
{
    struct queue *queue = queue_of(study, trial);
    if (!queue || trial > study->order->n_handed_out)
        return err_set(err, ERR_NOT_FOUND, "there is no trial %lld; the last is %lld", (long long)trial,
                       (long long)study->order->n_handed_out);
    if (queue->has_end || (step > 0 && step <= queue->last_step))
        return 0;
    int rc = grow(&queue->reports, &queue->capacity, queue->n, sizeof(*queue->reports), err);
    cJSON *copy = metrics ? cJSON_Duplicate(metrics, true) : NULL;
    if (rc == 0 && metrics && !copy)
        rc = no_memory(err);
    if (rc < 0)
        return rc;
    queue->reports[queue->n++] = (struct report){step, copy};
    queue->has_end = step == 0;
    queue->last_step = step > 0 ? step : queue->last_step;
    return 0;
}

/* Turns ------------------------------------------------------------------------------------------------------------ */

static int keep_later(struct study_order *order, int64_t trial, int64_t step, const struct study_decision *decision,
                      struct err *err)
{
    int rc = grow(&order->later, &order->later_capacity, order->n_later, sizeof(*order->later), err);
    char *reason = strdup(decision->reason);
    if (rc == 0 && !reason)
        rc = no_memory(err);
    if (rc < 0)
        free(reason);
    else
        order->later[order->n_later++] = (struct later){trial, step, decision->goes_on, decision->is_paused, reason};
    return rc;
}

/* Takes the next report of the lane's trial; *moved is false when there is none yet. */
static int take_report(struct study *study, int64_t *lane, bool *moved, struct err *err)
{
    struct study_order *order = study->order;
    struct queue *queue = queue_of(study, *lane);
    struct study_decision decision = {.goes_on = true, .reason = ""};
    *moved = queue->first < queue->n;
    if (!*moved)
        return 0;
    struct report report = queue->reports[queue->first++];
    int rc = !report.metrics ? study_fail_now(study, *lane, err)
             : report.step   ? study_tell_step_now(study, *lane, report.step, report.metrics, &decision, err)
                             : study_tell_now(study, *lane, report.metrics, err);
    if (rc == 0 && decision.reason[0])
        rc = keep_later(order, *lane, report.step, &decision, err);
    cJSON_Delete(report.metrics);
    if (rc == 0 && study->trials[*lane - 1]->state != TRIAL_RUNNING)
        *lane = 0;
    return rc;
}

/* Fills a free lane; *moved is false when nothing is to be proposed now. */
static int take_proposal(struct study *study, int64_t *lane, bool *moved, struct err *err)
{
    struct study_order *order = study->order;
    struct study_proposal proposal;
    int rc = study_ask_now(study, &proposal, err);
    *moved = rc == 0 && (proposal.answer == STUDY_TRIAL || proposal.answer == STUDY_RESUME);
    if (!*moved)
        return rc;
    rc = grow(&order->answers, &order->answers_capacity, order->n_answers, sizeof(*order->answers), err);
    if (rc == 0 && proposal.answer == STUDY_TRIAL)
        rc = add_queue(order, err);
    if (rc < 0)
        return rc;
    struct answer *answer = &order->answers[order->n_answers];
    *answer =
        (struct answer){proposal.answer, proposal.trial, proposal.replaced, proposal.position, proposal.step, NULL};
    answer->reason = strdup(proposal.reason);
    if (!answer->reason)
        return no_memory(err);
    order->n_answers++;
    *lane = proposal.trial;
    return 0;
}

/* Goes on as far as what was told allows. */
static int advance(struct study *study, struct err *err)
{
    struct study_order *order = study->order;
    int n_idle = 0;
    while (n_idle < WIDTH) {
        int64_t *lane = &order->lanes[order->lane];
        bool moved = false, was_taken = *lane != 0;
        int rc = was_taken ? take_report(study, lane, &moved, err) : take_proposal(study, lane, &moved, err);
        if (rc < 0)
            return rc;
        if (was_taken && !moved)
            return 0; /* everything else waits for this report */
        n_idle = moved ? 0 : n_idle + 1;
        order->lane = (order->lane + 1) % WIDTH;
    }
    order->is_over = true;
    return 0;
}

/* Asking ----------------------------------------------------------------------------------------------------------- */

static void keep_reason(struct study_order *order, char *reason)
{
    free(order->reason);
    order->reason = reason;
}

int study_ask(struct study *study, struct study_proposal *proposal, struct err *err)
{
    struct study_order *order = study->order;
    if (!order)
        return study_ask_now(study, proposal, err);
    int rc = advance(study, err);
    if (rc < 0)
        return rc;
    *proposal = (struct study_proposal){.answer = order->is_over ? STUDY_DONE : STUDY_WAIT, .reason = ""};
    if (order->first_answer == order->n_answers)
        return 0;
    struct answer answer = order->answers[order->first_answer++];
    rc = study_describe(study, answer.trial, proposal, err);
    proposal->answer = answer.answer;
    proposal->replaced = answer.replaced;
    proposal->position = answer.position;
    proposal->step = answer.step;
    proposal->reason = answer.reason;
    keep_reason(order, answer.reason);
    order->n_handed_out += rc == 0 && answer.answer == STUDY_TRIAL;
    return rc;
}

/* The proposals are made again: they are the same. */
int study_restore(struct study *study, const struct study_proposal *proposal, struct err *err)
{
    struct study_proposal again;
    if (!study->order)
        return study_restore_now(study, proposal, err);
    int rc = study_ask(study, &again, err);
    bool is_same = rc == 0 && again.answer == proposal->answer && again.trial == proposal->trial;
    if (is_same && proposal->answer == STUDY_TRIAL)
        is_same = json_equal(again.parameters, proposal->parameters) && again.seed_index == proposal->seed_index;
    if (rc == 0 && !is_same)
        rc = err_set(err, ERR_USAGE, "with strict order trial %lld would not be proposed again as it was",
                     (long long)proposal->trial);
    return rc;
}

/* Telling ---------------------------------------------------------------------------------------------------------- */

/* Metrics that the study will refuse are refused at once. */
static int check(const struct study *study, const cJSON *metrics, struct err *err)
{
    double scores[OBJECTIVES_MAX] = {0}, *outcomes = calloc((size_t)study->n_constraints + 1, sizeof(double));
    bool is_bad = false;
    int rc = outcomes ? study_read_metrics(study, metrics, scores, outcomes, &is_bad, err) : no_memory(err);
    free(outcomes);
    return rc;
}

int study_tell_step(struct study *study, int64_t trial, int64_t step, const cJSON *metrics,
                    struct study_decision *decision, struct err *err)
{
    enum trial_state state = TRIAL_RUNNING;
    if (!study->order)
        return study_tell_step_now(study, trial, step, metrics, decision, err);
    *decision = (struct study_decision){.goes_on = true, .reason = ""};
    int rc = step < 1 ? err_set(err, ERR_USAGE, "step: %lld, at least 1 was expected", (long long)step) : 0;
    if (rc == 0)
        rc = check(study, metrics, err);
    if (rc == 0)
        rc = study_state(study, trial, &state, err);
    if (rc == 0 && (state == TRIAL_PRUNED || state == TRIAL_PAUSED)) {
        decision->goes_on = false;
        decision->is_paused = state == TRIAL_PAUSED;
    }
    /* A paused trial goes on behind what it still reported: that has its turn when the trial is promoted. */
    if (rc == 0 && state != TRIAL_PRUNED)
        rc = keep(study, trial, step, metrics, err);
    return rc == 0 ? advance(study, err) : rc;
}

int study_tell(struct study *study, int64_t trial, const cJSON *metrics, struct err *err)
{
    enum trial_state state = TRIAL_RUNNING;
    if (!study->order)
        return study_tell_now(study, trial, metrics, err);
    int rc = study_state(study, trial, &state, err);
    if (rc == 0 && state == TRIAL_PRUNED)
        return 0; /* what it reports later depends on how fast it was */
    if (rc == 0 && trial_state_is_final(state))
        return study_tell_now(study, trial, metrics, err);
    if (rc == 0)
        rc = check(study, metrics, err);
    if (rc == 0)
        rc = keep(study, trial, 0, metrics, err);
    return rc == 0 ? advance(study, err) : rc;
}

int study_fail(struct study *study, int64_t trial, struct err *err)
{
    enum trial_state state = TRIAL_RUNNING;
    if (!study->order)
        return study_fail_now(study, trial, err);
    int rc = study_state(study, trial, &state, err);
    if (rc == 0 && trial_state_is_final(state))
        return study_fail_now(study, trial, err);
    if (rc == 0)
        rc = keep(study, trial, 0, NULL, err);
    return rc == 0 ? advance(study, err) : rc;
}

/* Later ------------------------------------------------------------------------------------------------------------ */

bool study_next_decision(struct study *study, struct study_later *later)
{
    struct study_order *order = study->order;
    if (!order || order->first_later == order->n_later)
        return false;
    struct later next = order->later[order->first_later++];
    if (order->first_later == order->n_later)
        order->first_later = order->n_later = 0;
    keep_reason(order, next.reason);
    *later = (struct study_later){next.trial, next.step, {next.goes_on, next.is_paused, next.reason}};
    return true;
}

bool study_takes_overrun(const struct study *study)
{
    return study->order != NULL;
}

bool study_is_promoted(const struct study *study, int64_t trial)
{
    const struct study_order *order = study->order;
    for (int i = order ? order->first_answer : 0; order && i < order->n_answers; i++)
        if (order->answers[i].trial == trial && order->answers[i].answer == STUDY_RESUME)
            return true;
    return false;
}

bool study_is_undecided(const struct study *study, int64_t trial)
{
    const struct queue *queue = study->order ? queue_of(study, trial) : NULL;
    const struct definition *d = study->definition;
    if (!queue || study->trials[trial - 1]->state != TRIAL_RUNNING || (!d->stopping.kind && d->budget.steps == 0))
        return false;
    for (int i = queue->first; i < queue->n; i++) {
        bool is_whole = d->stopping.max_resource > 0 && (double)queue->reports[i].step >= d->stopping.max_resource;
        if (queue->reports[i].step > 0 && !is_whole)
            return true;
    }
    return false;
}
