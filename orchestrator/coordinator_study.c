/* Trials that are proposed as the sweep goes: search algorithm and stopping rule over the coordinator's trials.
 *
 * Each call that changes the study is an event of the store (kind 'study', study_log.h), committed together with what
 * came of it; after a crash the study is replayed from them and makes the same decisions. What a person reads are the
 * rows of `decision`. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "common/log.h"
#include "orchestrator/coordinator_internal.h"
#include "orchestrator/stop.h"
#include "orchestrator/study_log.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the search");
}

static void fail(struct coordinator *c, const struct err *err)
{
    coordinator_fail(c, err->code, err);
}

static struct store_op log_op(const struct coordinator *c, int64_t trial_id, const struct text *record)
{
    return (struct store_op){.kind = STORE_EVENT,
                             .event = {.sweep_id = c->options->loaded->sweep.id,
                                       .trial_id = trial_id,
                                       .kind = "study",
                                       .message = record->data ? record->data : ""}};
}

static struct store_op decision_op(const struct coordinator *c, int64_t trial_id, const char *rule, const char *action,
                                   struct optional_int step, const char *reason)
{
    return (struct store_op){.kind = STORE_DECISION,
                             .decision = {.sweep_id = c->options->loaded->sweep.id,
                                          .trial_id = trial_id,
                                          .rule = rule,
                                          .step = step,
                                          .action = action,
                                          .reason = reason}};
}

static const char *rule_name(const struct coordinator *c)
{
    return c->definition->stopping.kind ? c->definition->stopping.kind->name : "budget";
}

/* Which trial is which ----------------------------------------------------------------------------------------------
 */

static int add_by_study(struct coordinator *c, struct live_trial *trial, struct err *err)
{
    if (c->n_by_study == c->by_study_capacity) {
        int larger = c->by_study_capacity ? 2 * c->by_study_capacity : 256;
        struct live_trial **moved = realloc(c->by_study, (size_t)larger * sizeof(*moved));
        if (!moved)
            return no_memory(err);
        c->by_study = moved;
        c->by_study_capacity = larger;
    }
    c->by_study[c->n_by_study++] = trial;
    trial->study_trial = c->n_by_study;
    return 0;
}

static int add_known(struct coordinator *c, int64_t id, const char *settings, struct err *err)
{
    if (c->n_known == c->known_capacity) {
        int larger = c->known_capacity ? 2 * c->known_capacity : 256;
        struct known_configuration *moved = realloc(c->known, (size_t)larger * sizeof(*moved));
        if (!moved)
            return no_memory(err);
        c->known = moved;
        c->known_capacity = larger;
    }
    c->known[c->n_known++] = (struct known_configuration){id, settings};
    return 0;
}

/* A trial that the rule had paused or ended when the last run did not hear of it any more. */
static void settle(struct coordinator *c, struct live_trial *trial)
{
    enum trial_state state = trial->state;
    if (trial->state != TRIAL_WAITING || study_state(c->study, trial->study_trial, &state, NULL) < 0)
        return;
    if (study_is_promoted(c->study, trial->study_trial))
        state = TRIAL_PAUSED; /* until the study says so: it would be handed out twice */
    trial->is_settled = state == TRIAL_PAUSED || state == TRIAL_PRUNED;
    if (trial->is_settled)
        coordinator_set_state(c, trial, state);
}

static int find_parent(struct coordinator *c, struct live_trial *trial, struct err *err)
{
    struct study_proposal proposal;
    if (trial->study_trial > study_trials(c->study))
        return 0; /* what does not fit is said below */
    int rc = study_describe(c->study, trial->study_trial, &proposal, err);
    if (rc == 0 && proposal.parent > 0) {
        trial->parent = c->by_study[proposal.parent - 1];
        trial->parent_step = proposal.parent_step;
        trial->parent->has_heirs = true;
    }
    return rc;
}

int study_take_up(struct coordinator *c, struct err *err)
{
    const struct store_loaded *loaded = c->options->loaded;
    struct study_later later;
    int rc = 0;
    c->study = c->options->study;
    c->may_ask = true;
    while (study_next_decision(c->study, &later)) /* of the run before: in the store, and in the trials' states */
        ;
    for (int i = 0; i < loaded->n_configurations && rc == 0; i++) {
        const struct store_configuration *configuration = &loaded->configurations[i];
        if (configuration->number > c->last_configuration)
            c->last_configuration = configuration->number;
        if (!configuration->is_baseline)
            rc = add_known(c, configuration->id, configuration->settings, err);
    }
    for (int i = 0; i < c->n_trials && rc == 0; i++)
        if (!c->trials[i]->is_baseline) {
            rc = add_by_study(c, c->trials[i], err);
            c->trials[i]->told_step = rc == 0 ? c->options->told_steps[c->n_by_study - 1] : 0;
            if (rc == 0)
                rc = find_parent(c, c->trials[i], err);
            if (rc == 0)
                settle(c, c->trials[i]);
        }
    if (rc == 0 && (c->n_by_study != study_trials(c->study) || c->n_known != study_configurations(c->study)))
        rc = err_set(err, ERR_USAGE,
                     "sweep '%s' was begun with a search that lists its trials beforehand and cannot go on with '%s'; "
                     "--new NAME starts another sweep",
                     c->definition->name, c->definition->search);
    return rc;
}

/* New trials ----------------------------------------------------------------------------------------------------------
 */

/* The configuration of a proposal, added (op) when it is new. */
static int take_configuration(struct coordinator *c, const struct study_proposal *proposal, struct store_op *ops,
                              size_t *n, struct known_configuration **known, struct err *err)
{
    cJSON *settings = NULL;
    if (proposal->configuration <= c->n_known && c->known[proposal->configuration - 1].settings) {
        *known = &c->known[proposal->configuration - 1];
        return 0;
    }
    int rc = job_settings(c->definition, proposal->parameters, &settings, err);
    const char *text = rc == 0 ? store_canonical(&c->arena, settings) : NULL;
    cJSON_Delete(settings);
    if (rc == 0 && !text)
        rc = no_memory(err);
    if (rc < 0)
        return rc;
    if (proposal->configuration <= c->n_known) {
        *known = &c->known[proposal->configuration - 1];
        (*known)->settings = text;
        return 0;
    }
    int64_t id = store_thread_new_id(c->thread, STORE_CONFIGURATION);
    const char *parameters = store_canonical(&c->arena, proposal->parameters);
    rc = parameters ? add_known(c, id, text, err) : no_memory(err);
    if (rc < 0)
        return rc;
    *known = &c->known[c->n_known - 1];
    ops[(*n)++] = (struct store_op){.kind = STORE_ADD_CONFIGURATION,
                                    .configuration = {.id = id,
                                                      .sweep_id = c->options->loaded->sweep.id,
                                                      .number = ++c->last_configuration,
                                                      .parameters = parameters,
                                                      .settings = text}};
    return 0;
}

/* The stored form of the new trial; in the arena. */
static struct store_trial *new_stored(struct coordinator *c, const struct study_proposal *proposal,
                                      const struct known_configuration *known, struct err *err)
{
    struct store_trial *stored = arena_calloc(&c->arena, 1, sizeof(*stored));
    char *identity = arena_calloc(&c->arena, 1, HASH_HEX_SIZE);
    cJSON *settings = NULL;
    int rc = stored && identity ? json_parse(known->settings, strlen(known->settings), &settings, err) : no_memory(err);
    uint64_t seed = rc == 0 ? job_seed(c->definition, settings, proposal->seed_index) : 0;
    if (rc == 0)
        rc = job_identity(c->definition, c->options->hashes, settings, seed, identity, err);
    if (rc == 0 && proposal->parent > 0)
        job_child_identity(identity, c->by_study[proposal->parent - 1]->stored->identity, proposal->parent_step,
                           identity);
    json_free(settings);
    if (rc < 0)
        return NULL;
    *stored = (struct store_trial){.id = store_thread_new_id(c->thread, STORE_TRIAL),
                                   .sweep_id = c->options->loaded->sweep.id,
                                   .configuration_id = known->id,
                                   .number = c->last_trial + 1,
                                   .seed = (int64_t)seed,
                                   .identity = identity,
                                   .state = TRIAL_WAITING};
    return stored;
}

enum { VALUES_MAX = 128 };

static int add_values(struct coordinator *c, int64_t trial_id, const cJSON *parameters, struct store_op *ops, size_t *n,
                      struct err *err)
{
    int left = VALUES_MAX, rc = 0;
    for (const cJSON *item = parameters->child; item && left > 0 && rc == 0; item = item->next, left--)
        rc = store_value_op(&ops[(*n)++], trial_id, item, &c->arena, err);
    return rc;
}

static void on_replaced(const struct store_result *result, void *context)
{
    struct err err;
    if (result->rc < 0)
        coordinator_fail(context, err_set(&err, result->rc, "%s", result->message), &err);
    attempt_on_through(result, context);
}

/* The trial goes on from another one; the one in whose place it comes ends. */
static void add_replacement(struct coordinator *c, struct live_trial *trial, const struct study_proposal *proposal,
                            struct store_op *ops, size_t *n)
{
    struct live_trial *replaced = c->by_study[proposal->replaced - 1];
    trial->parent = c->by_study[proposal->parent - 1];
    trial->parent_step = proposal->parent_step;
    trial->parent->has_heirs = true;
    ops[(*n)++] =
        decision_op(c, replaced->stored->id, rule_name(c), "prune", known_int(proposal->parent_step), proposal->reason);
    ops[(*n)++] = (struct store_op){
        .kind = STORE_MOVE_TRIAL,
        .move_trial = {.trial_id = replaced->stored->id, .to = TRIAL_PRUNED, .message = proposal->reason}};
    replaced->state = TRIAL_PRUNED;
    replaced->is_settled = false;
}

static struct live_trial *take_trial(struct coordinator *c, const struct study_proposal *proposal, struct err *err)
{
    struct store_op ops[VALUES_MAX + 8];
    size_t n = 0;
    struct known_configuration *known = NULL;
    struct live_trial *trial = NULL;
    struct text record = {0};
    int rc = take_configuration(c, proposal, ops, &n, &known, err);
    struct store_trial *stored = rc == 0 ? new_stored(c, proposal, known, err) : NULL;
    if (!stored)
        return NULL;
    const char *parameters = store_canonical(&c->arena, proposal->parameters);
    trial = parameters ? coordinator_add_trial(c, stored, known->settings, parameters, false) : NULL;
    rc = trial ? add_by_study(c, trial, err) : no_memory(err);
    if (rc == 0) {
        ops[n++] = (struct store_op){.kind = STORE_ADD_TRIAL, .trial = *stored};
        rc = add_values(c, stored->id, proposal->parameters, ops, &n, err);
    }
    study_log_ask(&record, proposal);
    if (rc == 0 && proposal->parent > 0)
        add_replacement(c, trial, proposal, ops, &n);
    if (rc == 0) {
        ops[n++] = decision_op(c, stored->id, c->definition->search, "propose", (struct optional_int){0},
                               proposal->reason && proposal->reason[0] ? proposal->reason : study_explain(c->study));
        ops[n++] = log_op(c, stored->id, &record);
        coordinator_submit(c, ops, n, proposal->parent > 0 ? on_replaced : NULL, c);
    }
    text_done(&record);
    return rc == 0 ? trial : NULL;
}

/* NULL: the promotion is on disk, and changes nothing. With strict order what a trial reported beyond a pause may have
 * paused it again, or promoted it twice, before the first promotion was asked for. */
static struct live_trial *resume_trial(struct coordinator *c, const struct study_proposal *proposal)
{
    struct live_trial *trial = c->by_study[proposal->trial - 1];
    struct text record = {0};
    enum trial_state state = TRIAL_RUNNING;
    study_log_ask(&record, proposal);
    const struct store_op ops[] = {
        decision_op(c, trial->stored->id, rule_name(c), "resume", known_int(proposal->step), proposal->reason),
        log_op(c, trial->stored->id, &record)};
    coordinator_submit(c, ops, 2, NULL, NULL);
    text_done(&record);
    bool is_paused_again = study_state(c->study, trial->study_trial, &state, NULL) == 0 && state == TRIAL_PAUSED;
    if (trial->state != TRIAL_PAUSED || is_paused_again)
        return NULL;
    progress_say(c->options->progress, "trial_resumed", "trial %" PRId64 " (%s) goes on: %s", trial->stored->number,
                 trial->method, proposal->reason);
    coordinator_set_state(c, trial, TRIAL_WAITING);
    trial->is_settled = false;
    return trial;
}

struct live_trial *study_next(struct coordinator *c)
{
    struct study_proposal proposal;
    struct err err = {0};
    struct live_trial *trial = NULL;
    /* A trial that is about to pause or end must have done so before it can go on, or another one from it. */
    for (int i = 0; i < c->n_slots; i++)
        if (c->slots[i].state == SLOT_RUNNING && c->slots[i].goal != TRIAL_WAITING && !c->slots[i].is_closed)
            return NULL;
    if (!c->may_ask)
        return NULL;
    int rc = study_ask(c->study, &proposal, &err);
    for (; rc == 0 && proposal.answer == STUDY_RESUME; rc = study_ask(c->study, &proposal, &err))
        if ((trial = resume_trial(c, &proposal)))
            return trial;
    if (rc == 0 && proposal.answer == STUDY_TRIAL)
        trial = take_trial(c, &proposal, &err);
    else if (rc == 0)
        c->may_ask = false;
    if (trial)
        crash_at(CRASH_PROPOSED);
    if (!trial && c->may_ask) {
        err_wrap(&err, "the search");
        fail(c, &err);
    }
    return trial;
}

/* Reports -------------------------------------------------------------------------------------------------------------
 */

static void send_word(struct coordinator_slot *slot, const char *word)
{
    struct text line = {0};
    text_printf(&line, "{\"v\":1,\"type\":\"%s\",\"attempt\":%" PRId64 "}", word, slot->attempt);
    pool_send(slot->pool, &line);
    text_done(&line);
}

static void send_stop(struct coordinator_slot *slot)
{
    send_word(slot, "stop");
}

bool study_decides(const struct coordinator *c, const struct live_trial *trial)
{
    return trial->study_trial > 0 && (c->definition->stopping.kind || c->definition->budget.steps > 0);
}

static void ask_to_stop(struct coordinator_slot *slot, const struct study_decision *decision)
{
    slot->goal = decision->is_paused ? TRIAL_PAUSED : TRIAL_PRUNED;
    snprintf(slot->goal_reason, sizeof(slot->goal_reason), "%s", decision->reason);
    send_stop(slot);
}

static struct store_op rule_op(const struct coordinator *c, int64_t trial_id, int64_t step,
                               const struct study_decision *decision)
{
    const char *action = decision->goes_on ? "continue" : decision->is_paused ? "pause" : "prune";
    return decision_op(c, trial_id, rule_name(c), action, known_int(step), decision->reason);
}

/* A decision about a trial that may run, wait to go on, or be through already. */
static void carry_out(struct coordinator *c, const struct study_later *later)
{
    struct live_trial *trial = c->by_study[later->trial - 1];
    struct store_op ops[2] = {rule_op(c, trial->stored->id, later->step, &later->decision)};
    size_t n = 1;
    struct coordinator_slot *slot = NULL;
    for (int i = 0; i < c->n_slots; i++)
        if (c->slots[i].trial == trial && c->slots[i].state == SLOT_RUNNING && !c->slots[i].is_closed)
            slot = &c->slots[i];
    bool is_waiting = !slot && trial->state == TRIAL_WAITING && !later->decision.goes_on;
    if (is_waiting && !later->decision.is_paused)
        ops[n++] = (struct store_op){
            .kind = STORE_MOVE_TRIAL,
            .move_trial = {.trial_id = trial->stored->id, .to = TRIAL_PRUNED, .message = later->decision.reason}};
    coordinator_submit(c, ops, n, n > 1 ? on_replaced : NULL, c);
    if (slot && !later->decision.goes_on)
        ask_to_stop(slot, &later->decision);
    if (is_waiting) {
        trial->state = later->decision.is_paused ? TRIAL_PAUSED : TRIAL_PRUNED;
        trial->is_settled = later->decision.is_paused;
    }
}

static void carry_out_all(struct coordinator *c)
{
    struct study_later later;
    while (study_next_decision(c->study, &later))
        carry_out(c, &later);
}

/* What the study makes of a report. False: it has nothing to hear, or cannot. */
static bool tell(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics,
                 struct study_decision *decision)
{
    struct live_trial *trial = slot->trial;
    struct err err = {0};
    enum trial_state state = TRIAL_RUNNING;
    /* Steps that are trained again after an interruption were told before. A trial that is tried again after it failed
     * stays failed for the search. */
    if (trial->study_trial && study_state(c->study, trial->study_trial, &state, &err) == 0 && state == TRIAL_FAILED)
        return false;
    bool is_overrun = slot->goal == TRIAL_PAUSED && study_takes_overrun(c->study);
    if (trial->study_trial == 0 || step <= trial->told_step || (slot->goal != TRIAL_WAITING && !is_overrun))
        return false;
    if (study_tell_step(c->study, trial->study_trial, step, metrics, decision, &err) < 0) {
        fail(c, &err);
        return false;
    }
    trial->told_step = step;
    c->may_ask = true;
    return true;
}

/* Tells the study and submits what came of it, in one group with the checkpoint of that step when there is one. */
static void report(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics,
                   const struct store_op *checkpoint, store_done_fn done, void *context)
{
    struct live_trial *trial = slot->trial;
    struct study_decision decision;
    struct text record = {0};
    struct store_op ops[3];
    size_t n = 0;
    bool is_overrun = slot->goal == TRIAL_PAUSED && study_takes_overrun(c->study);
    if (checkpoint)
        ops[n++] = *checkpoint;
    bool is_told = tell(c, slot, step, metrics, &decision);
    if (is_told) {
        study_log_tell(&record, trial->study_trial, step, metrics);
        ops[n++] = log_op(c, trial->stored->id, &record);
        if (decision.reason[0])
            ops[n++] = rule_op(c, trial->stored->id, step, &decision);
    }
    if (n > 0)
        coordinator_submit(c, ops, n, done, context);
    text_done(&record);
    if (!is_told)
        return;
    if (!decision.goes_on && !is_overrun)
        ask_to_stop(slot, &decision);
    carry_out_all(c);
    if (slot->goal == TRIAL_WAITING && study_is_undecided(c->study, trial->study_trial))
        send_stop(slot); /* it goes on once its turn has come */
}

static void report_or_hold(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics)
{
    struct err err;
    if (step != study_pause_step(c->study, slot->trial->study_trial)) {
        report(c, slot, step, metrics, NULL, NULL, NULL);
        return;
    }
    cJSON_Delete(slot->held_report);
    slot->held_report = cJSON_Duplicate(metrics, true);
    slot->held_step = step;
    if (!slot->held_report) {
        no_memory(&err);
        fail(c, &err);
    }
}

void study_note_length(struct coordinator *c, const struct live_trial *trial, int64_t steps)
{
    struct err err = {0};
    struct text record = {0};
    bool is_new = false;
    if (!c->study || trial->study_trial == 0 || c->definition->budget.steps == 0)
        return;
    if (study_set_length(c->study, trial->study_trial, steps, &is_new, &err) < 0)
        fail(c, &err);
    if (!is_new)
        return;
    study_log_length(&record, trial->study_trial, steps);
    const struct store_op op = log_op(c, trial->stored->id, &record);
    coordinator_submit(c, &op, 1, NULL, NULL);
    text_done(&record);
    c->may_ask = true;
}

/* After a word to stop, one to go changes nothing. */
void study_report(struct coordinator *c, struct coordinator_slot *slot, int64_t step, const cJSON *metrics)
{
    report_or_hold(c, slot, step, metrics);
    if (study_decides(c, slot->trial))
        send_word(slot, "go");
}

bool study_report_held(struct coordinator *c, struct coordinator_slot *slot, const struct store_op *checkpoint,
                       store_done_fn done, void *context)
{
    cJSON *metrics = slot->held_report;
    if (!metrics || slot->held_step != checkpoint->checkpoint.step)
        return false;
    slot->held_report = NULL;
    report(c, slot, slot->held_step, metrics, checkpoint, done, context);
    cJSON_Delete(metrics);
    return true;
}

size_t study_end_ops(struct coordinator *c, const struct live_trial *trial, const cJSON *metrics, struct text *record,
                     struct store_op *ops)
{
    struct err err = {0};
    enum trial_state state = TRIAL_RUNNING;
    if (trial->study_trial == 0)
        return 0;
    int rc = study_state(c->study, trial->study_trial, &state, &err);
    if (rc < 0 || trial_state_is_final(state))
        return 0;
    if (metrics)
        study_log_tell(record, trial->study_trial, 0, metrics);
    else
        study_log_fail(record, trial->study_trial);
    rc = metrics ? study_tell(c->study, trial->study_trial, metrics, &err)
                 : study_fail(c->study, trial->study_trial, &err);
    if (rc < 0) {
        fail(c, &err);
        return 0;
    }
    c->may_ask = true;
    ops[0] = log_op(c, trial->stored->id, record);
    carry_out_all(c);
    return 1;
}

void study_close(struct coordinator *c)
{
    for (int i = 0; i < c->n_by_study; i++) {
        struct live_trial *trial = c->by_study[i];
        if (trial->state != TRIAL_PAUSED && !(trial->state == TRIAL_PRUNED && trial->is_settled))
            continue;
        const struct store_op op = {
            .kind = STORE_MOVE_TRIAL,
            .move_trial = {.trial_id = trial->stored->id, .to = TRIAL_PRUNED, .message = "paused, and never promoted"}};
        coordinator_submit(c, &op, 1, attempt_on_through, c);
        coordinator_set_state(c, trial, TRIAL_PRUNED);
        trial->is_settled = false;
    }
}
