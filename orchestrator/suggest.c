/* Sessions with somebody who trains elsewhere. */
#include "orchestrator/suggest.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/plan.h"
#include "orchestrator/stop.h"
#include "orchestrator/study_log.h"
#include "orchestrator/suggest_store.h"

struct suggest {
    struct definition definition;
    struct study *study;
    struct suggest_store *store; /* NULL: nothing is kept */
    bool *is_abandoned;          /* by trial − 1: open when the session began, and not heard of since */
    int64_t n_abandoned, n_replayed;
    char *explanation;
};

/* Opening ---------------------------------------------------------------------------------------------------------- */

static int replay(const cJSON *record, void *context, struct err *err)
{
    struct suggest *suggest = context;
    suggest->n_replayed++;
    return study_log_replay(suggest->study, record, err);
}

/* What earlier sweeps of the store found, once. */
static int warm_up(struct suggest *suggest, struct err *err)
{
    int n_taken, n_left;
    if (!suggest->definition.warm_start || suggest->n_replayed > 0)
        return 0;
    if (!suggest->store)
        return err_set(err, ERR_USAGE, "search.warm_start: the earlier sweeps are in a store, --store FILE names it");
    return suggest_store_warm_up(suggest->store, suggest->study, &n_taken, &n_left, err);
}

static int note_abandoned(struct suggest *suggest, struct err *err)
{
    suggest->n_abandoned = study_trials(suggest->study);
    suggest->is_abandoned = calloc((size_t)suggest->n_abandoned + 1, sizeof(bool));
    if (!suggest->is_abandoned)
        return err_set(err, ERR_NOMEM, "no memory for the session");
    for (int64_t i = 0; i < suggest->n_abandoned; i++) {
        enum trial_state state = TRIAL_COMPLETE;
        struct err ignored;
        suggest->is_abandoned[i] = study_state(suggest->study, i + 1, &state, &ignored) == 0 && state == TRIAL_RUNNING;
    }
    return 0;
}

/* The study of the definition; messages say which file it is about. */
static int make_study(struct suggest *suggest, const char *file, struct err *err)
{
    const struct stop_kind *rule = suggest->definition.stopping.kind;
    int rc = 0;
    if (rule && rule->in_generations)
        rc = err_set(err, ERR_USAGE,
                     "stopping.rule: %s goes on from the checkpoints of other trials, and of trials that are trained "
                     "elsewhere there are none: `nightsweep run` has it; asha, hyperband, median, patience, threshold "
                     "or predicted was expected",
                     rule->name);
    if (rc == 0 && strcmp(suggest->definition.search, "grid") == 0 && suggest->definition.budget.steps == 0)
        rc = plan_check_length(&suggest->definition, err);
    if (rc == 0)
        rc = study_new(&suggest->study, &suggest->definition, false, err);
    return rc < 0 && rc != ERR_NOMEM ? err_wrap(err, "'%s'", file) : rc;
}

int suggest_open(struct suggest **suggest, const char *file, const char *store, struct err *err)
{
    struct suggest *made = calloc(1, sizeof(*made));
    if (!made)
        return err_set(err, ERR_NOMEM, "no memory for a session");
    int rc = definition_read_elsewhere(&made->definition, file, err);
    if (rc == 0)
        rc = make_study(made, file, err);
    if (rc == 0 && store)
        rc = suggest_store_open(&made->store, &made->definition, store, err);
    if (rc == 0 && made->store)
        rc = suggest_store_replay(made->store, replay, made, err);
    if (rc == 0)
        rc = warm_up(made, err);
    if (rc == 0)
        rc = note_abandoned(made, err);
    if (rc == 0 && !(made->explanation = strdup(study_explain(made->study))))
        rc = err_set(err, ERR_NOMEM, "no memory for a session");
    if (rc < 0)
        suggest_close(made);
    else
        *suggest = made;
    return rc;
}

void suggest_close(struct suggest *suggest)
{
    if (!suggest)
        return;
    suggest_store_close(suggest->store);
    study_free(suggest->study);
    definition_done(&suggest->definition);
    free(suggest->is_abandoned);
    free(suggest->explanation);
    free(suggest);
}

const char *suggest_explain(const struct suggest *suggest)
{
    return suggest->explanation;
}

const char *suggest_remarks(const struct suggest *suggest)
{
    return suggest->definition.remarks;
}

/* Requests --------------------------------------------------------------------------------------------------------- */

struct request {
    const char *op;
    int64_t trial, step;
    bool has_step;
    const cJSON *metrics;
};

static int read_request(const cJSON *json, struct request *out, struct err *err)
{
    static const char *const ops[] = {"ask", "tell", "fail", NULL};
    int known = 0;
    if (!cJSON_IsObject(json))
        return err_set(err, ERR_USAGE, "%s was found, an object such as {\"op\":\"ask\"} was expected",
                       json_type_name(json));
    int rc = json_get_string(json, "op", "request", &out->op, err);
    if (rc < 0)
        return rc;
    while (ops[known] && strcmp(ops[known], out->op) != 0)
        known++;
    if (!ops[known]) {
        const char *near = text_nearest(out->op, ops);
        return err_set(err, ERR_USAGE, "op: '%.80s', ask, tell or fail was expected%s%s%s", out->op,
                       near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
    }
    if (known > 0)
        rc = json_get_int64(json, "trial", "request", &out->trial, err);
    if (rc == 0 && known == 1)
        rc = json_get_object(json, "metrics", "request", &out->metrics, err);
    out->has_step = known == 1 && json_get(json, "step") != NULL;
    if (rc == 0 && out->has_step)
        rc = json_get_int64(json, "step", "request", &out->step, err);
    return rc;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for a reply");
}

/* {"trial": 1, "parameters": {…}}; with repeated seeds their number too, since the trainer must vary something. */
static void reply_trial(const struct suggest *suggest, const struct study_proposal *proposal, struct text *reply)
{
    text_printf(reply, "{\"trial\":%lld,\"parameters\":", (long long)proposal->trial);
    json_add(reply, proposal->parameters);
    if (suggest->definition.seeds > 1)
        text_printf(reply, ",\"seed\":%d", proposal->seed_index);
    text_add_char(reply, '}');
}

/* When nothing new is left: trials that an earlier session asked for and nobody reported are handed out again. */
static int64_t next_abandoned(struct suggest *suggest)
{
    for (int64_t i = 0; i < suggest->n_abandoned; i++) {
        enum trial_state state = TRIAL_COMPLETE;
        struct err ignored;
        bool is_open = suggest->is_abandoned[i] && study_state(suggest->study, i + 1, &state, &ignored) == 0 &&
                       state == TRIAL_RUNNING;
        suggest->is_abandoned[i] = false;
        if (is_open)
            return i + 1;
    }
    return 0;
}

static int ask(struct suggest *suggest, struct text *reply, struct err *err)
{
    struct study_proposal proposal;
    int rc = study_ask(suggest->study, &proposal, err);
    if (rc < 0)
        return rc;
    if (proposal.answer == STUDY_TRIAL) {
        if (suggest->store)
            rc = suggest_store_ask(suggest->store, &proposal, err);
        if (rc == 0)
            reply_trial(suggest, &proposal, reply);
        return rc;
    }
    bool is_waiting = proposal.answer == STUDY_WAIT;
    int64_t again = next_abandoned(suggest);
    if (again && study_describe(suggest->study, again, &proposal, err) == 0)
        reply_trial(suggest, &proposal, reply);
    else
        text_add(reply, is_waiting ? "{\"wait\":true}" : "{\"done\":true}");
    return 0;
}

static int tell(struct suggest *suggest, const struct request *request, struct study_decision *decision,
                struct err *err)
{
    *decision = (struct study_decision){.goes_on = true, .reason = ""};
    if (strcmp(request->op, "fail") == 0)
        return study_fail(suggest->study, request->trial, err);
    if (request->has_step)
        return study_tell_step(suggest->study, request->trial, request->step, request->metrics, decision, err);
    return study_tell(suggest->study, request->trial, request->metrics, err);
}

static int report(struct suggest *suggest, const cJSON *json, const struct request *request, struct text *reply,
                  struct err *err)
{
    struct study_decision decision;
    int rc = tell(suggest, request, &decision, err);
    if (rc < 0)
        return rc;
    if (request->trial <= suggest->n_abandoned)
        suggest->is_abandoned[request->trial - 1] = false;
    if (suggest->store) {
        enum trial_state state = TRIAL_RUNNING;
        rc = study_state(suggest->study, request->trial, &state, err);
        if (rc == 0)
            rc = suggest_store_tell(suggest->store, json, request->trial, request->has_step ? request->step : 0, state,
                                    decision.reason, err);
        if (rc < 0)
            return err->code = rc == ERR_NOMEM ? ERR_NOMEM : ERR_STORE;
    }
    text_add(reply, request->has_step
                        ? decision.goes_on ? "{\"ok\":true,\"continue\":true}" : "{\"ok\":true,\"continue\":false}"
                        : "{\"ok\":true}");
    return 0;
}

int suggest_answer(struct suggest *suggest, const char *request, size_t n, struct text *reply, struct err *err)
{
    struct request read = {0};
    cJSON *json = NULL;
    int rc = json_parse(request, n, &json, err);
    if (rc == 0)
        rc = read_request(json, &read, err);
    if (rc == 0)
        rc = strcmp(read.op, "ask") == 0 ? ask(suggest, reply, err) : report(suggest, json, &read, reply, err);
    json_free(json);
    if (rc == ERR_NOMEM || rc == ERR_STORE || rc == ERR_IO || rc == ERR_INTERNAL)
        return rc;
    if (rc < 0) {
        text_add(reply, "{\"error\":");
        text_add_json(reply, err->message);
        text_add_char(reply, '}');
    }
    return reply->failed ? no_memory(err) : 0;
}
