/* What commands ask of a store and of the run that uses it, as JSON: `nightsweep cancel` and its like build a request,
 * and whoever has the store carries it out: a run (coordinator_control.c), or the command itself when there is none.
 *
 *     {"v":1,"op":"cancel","sweep":"ranks","trial":7,"reason":"…"}   trial absent: all of the sweep
 *     {"v":1,"op":"retry","sweep":"ranks","trial":7}                  FAILED → WAITING
 *     {"v":1,"op":"archive","sweep":"ranks"}   unarchive, delete
 *     {"v":1,"op":"pause","sweep":"ranks"}   {"v":1,"op":"resume","sweep":"ranks"}
 *     {"v":1,"op":"adjust","slots":4,"deadline_seconds":3600}         one or both; 0 seconds: no deadline
 *     {"v":1,"op":"state"}                                            where the run stands
 *
 * Answers: {"v":1,"ok":true,"changed":3,…} or {"v":1,"ok":false,"code":-1,"message":"…"}. */
#ifndef ORCHESTRATOR_CONTROL_REQUEST_H
#define ORCHESTRATOR_CONTROL_REQUEST_H

#include "common/json.h"
#include "orchestrator/store_op.h"

enum control_op {
    CONTROL_CANCEL,
    CONTROL_RETRY,
    CONTROL_ARCHIVE,
    CONTROL_UNARCHIVE,
    CONTROL_DELETE,
    CONTROL_PAUSE,
    CONTROL_RESUME,
    CONTROL_ADJUST,
    CONTROL_STATE,
    CONTROL_OP_COUNT
};

/* Texts are borrowed from the JSON it was read from. */
struct control_request {
    enum control_op op;
    const char *sweep; /* NULL: not named */
    int64_t trial;     /* number; 0: all of the sweep */
    const char *reason;
    int64_t slots; /* 0: as it is */
    struct optional_real deadline_seconds;
};

/* ERR_FORMAT, or ERR_USAGE for an op that is none. */
int control_request_read(struct control_request *request, const cJSON *json, struct err *err) MUST_CHECK;
void control_request_write(struct text *out, const struct control_request *request);
/* The operation that carries it out in the store; false: only a run can do it. */
bool control_request_store_op(const struct control_request *request, struct store_op *op);

/* Answers, without newline. */
void control_answer_result(struct text *out, const struct store_result *result);
void control_answer_error(struct text *out, const struct err *err);

/* Carries the request out: asks the run that uses the store, or opens the store and does it itself. *answer is what
 * came of it (json_free). ERR_NOT_FOUND without a store, ERR_USAGE for what needs a run when there is none, ERR_BUSY
 * when the store is in use by somebody that cannot be asked, and what the answer says. */
int control_perform(const char *store, const struct control_request *request, cJSON **answer,
                    struct err *err) MUST_CHECK;
/* Whether a run uses the store and answered for itself; false for whatever reason. */
bool control_find_state(const char *store, cJSON **answer);

#endif
