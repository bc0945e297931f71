/* Records of a study: written and replayed. */
#include "orchestrator/study_log.h"

#include <inttypes.h>
#include <string.h>

void study_log_ask(struct text *record, const struct study_proposal *proposal)
{
    if (proposal->answer == STUDY_RESUME) {
        text_printf(record, "{\"op\":\"resume\",\"trial\":%" PRId64 "}", proposal->trial);
        return;
    }
    text_printf(record,
                "{\"op\":\"ask\",\"trial\":%" PRId64 ",\"configuration\":%" PRId64 ",\"seed\":%d,\"position\":%" PRId64
                ",\"parameters\":",
                proposal->trial, proposal->configuration, proposal->seed_index, proposal->position);
    json_add(record, proposal->parameters);
    if (proposal->parent > 0)
        text_printf(record, ",\"parent\":%" PRId64 ",\"parent_step\":%" PRId64 ",\"replaced\":%" PRId64,
                    proposal->parent, proposal->parent_step, proposal->replaced);
    text_add_char(record, '}');
}

void study_log_tell(struct text *record, int64_t trial, int64_t step, const cJSON *metrics)
{
    text_printf(record, "{\"op\":\"tell\",\"trial\":%" PRId64, trial);
    if (step > 0)
        text_printf(record, ",\"step\":%" PRId64, step);
    text_add(record, ",\"metrics\":");
    json_add(record, metrics);
    text_add_char(record, '}');
}

void study_log_observe(struct text *record, const char *sweep, const cJSON *parameters, const cJSON *metrics)
{
    text_add(record, "{\"op\":\"observe\",\"sweep\":");
    text_add_json(record, sweep);
    text_add(record, ",\"parameters\":");
    json_add(record, parameters);
    text_add(record, ",\"metrics\":");
    json_add(record, metrics);
    text_add_char(record, '}');
}

void study_log_fail(struct text *record, int64_t trial)
{
    text_printf(record, "{\"op\":\"fail\",\"trial\":%" PRId64 "}", trial);
}

void study_log_length(struct text *record, int64_t trial, int64_t steps)
{
    text_printf(record, "{\"op\":\"length\",\"trial\":%" PRId64 ",\"steps\":%" PRId64 "}", trial, steps);
}

static int replay_ask(struct study *study, const cJSON *record, struct err *err)
{
    struct study_proposal proposal = {.answer = STUDY_TRIAL};
    int64_t seed_index = 0;
    int rc = json_get_int64(record, "trial", "record", &proposal.trial, err);
    if (rc == 0)
        rc = json_get_int64(record, "configuration", "record", &proposal.configuration, err);
    if (rc == 0)
        rc = json_get_int64(record, "seed", "record", &seed_index, err);
    if (rc == 0)
        rc = json_get_int64(record, "position", "record", &proposal.position, err);
    if (rc == 0)
        rc = json_get_object(record, "parameters", "record", &proposal.parameters, err);
    if (rc == 0)
        rc = json_opt_int64(record, "parent", "record", &proposal.parent, err);
    if (rc == 0)
        rc = json_opt_int64(record, "parent_step", "record", &proposal.parent_step, err);
    if (rc == 0)
        rc = json_opt_int64(record, "replaced", "record", &proposal.replaced, err);
    proposal.seed_index = (int)seed_index;
    return rc == 0 ? study_restore(study, &proposal, err) : rc;
}

static int replay_tell(struct study *study, int64_t trial, const cJSON *record, struct err *err)
{
    struct study_decision decision;
    const cJSON *metrics = NULL;
    int64_t step = 0;
    int rc = json_get_object(record, "metrics", "record", &metrics, err);
    if (rc == 0)
        rc = json_opt_int64(record, "step", "record", &step, err);
    if (rc < 0)
        return rc;
    /* What it decides now it decided then: what came of it stands in the records that follow. */
    return step > 0 ? study_tell_step(study, trial, step, metrics, &decision, err)
                    : study_tell(study, trial, metrics, err);
}

static int replay_observe(struct study *study, const cJSON *record, struct err *err)
{
    const char *sweep = NULL;
    const cJSON *parameters = NULL, *metrics = NULL;
    bool is_taken;
    int rc = json_get_string(record, "sweep", "record", &sweep, err);
    if (rc == 0)
        rc = json_get_object(record, "parameters", "record", &parameters, err);
    if (rc == 0)
        rc = json_get_object(record, "metrics", "record", &metrics, err);
    return rc == 0 ? study_observe(study, sweep, parameters, metrics, &is_taken, err) : rc;
}

static int replay_length(struct study *study, int64_t trial, const cJSON *record, struct err *err)
{
    int64_t steps = 0;
    bool is_new;
    int rc = json_get_int64(record, "steps", "record", &steps, err);
    return rc == 0 ? study_set_length(study, trial, steps, &is_new, err) : rc;
}

int study_log_replay(struct study *study, const cJSON *record, struct err *err)
{
    const char *op = NULL;
    int64_t trial = 0;
    int rc = json_get_string(record, "op", "record", &op, err);
    if (rc == 0 && strcmp(op, "observe") == 0)
        return replay_observe(study, record, err);
    if (rc == 0)
        rc = json_get_int64(record, "trial", "record", &trial, err);
    if (rc < 0)
        return rc;
    if (strcmp(op, "ask") == 0)
        return replay_ask(study, record, err);
    if (strcmp(op, "resume") == 0)
        return study_restore(study, &(struct study_proposal){.answer = STUDY_RESUME, .trial = trial}, err);
    if (strcmp(op, "tell") == 0)
        return replay_tell(study, trial, record, err);
    if (strcmp(op, "fail") == 0)
        return study_fail(study, trial, err);
    if (strcmp(op, "cancel") == 0)
        return study_cancel(study, trial, err);
    if (strcmp(op, "length") == 0)
        return replay_length(study, trial, record, err);
    return err_set(err, ERR_FORMAT, "record: op '%.40s' is none of ask, resume, tell, fail, cancel, length", op);
}
