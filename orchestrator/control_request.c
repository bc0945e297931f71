/* Requests and answers, and who carries them out. */
#include "orchestrator/control_request.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "common/file.h"
#include "orchestrator/control.h"
#include "orchestrator/lock.h"
#include "orchestrator/printable.h"

/* A run that is just starting or about to end holds the lock and does not listen. */
enum { TRIES = 100, TRY_MS = 100 };

static const char *const op_names[CONTROL_OP_COUNT + 1] = {"cancel", "retry",  "archive", "unarchive", "delete",
                                                           "pause",  "resume", "adjust",  "state"};

int control_request_read(struct control_request *request, const cJSON *json, struct err *err)
{
    const char *name = NULL;
    int op = 0;
    *request = (struct control_request){0};
    if (!cJSON_IsObject(json))
        return err_set(err, ERR_FORMAT, "request: %s, an object was expected", json_type_name(json));
    int rc = json_get_string(json, "op", "request", &name, err);
    if (rc < 0)
        return rc;
    while (op_names[op] && !text_equal(op_names[op], name))
        op++;
    if (!op_names[op])
        return err_set(err, ERR_USAGE, "request: op '%.40s' is unknown to this run, which may be of another version",
                       name);
    request->op = (enum control_op)op;
    rc = json_opt_string(json, "sweep", "request", &request->sweep, err);
    if (rc == 0)
        rc = json_opt_int64(json, "trial", "request", &request->trial, err);
    if (rc == 0)
        rc = json_opt_string(json, "reason", "request", &request->reason, err);
    if (rc == 0)
        rc = json_opt_int64(json, "slots", "request", &request->slots, err);
    if (rc == 0 && json_get(json, "deadline_seconds")) {
        request->deadline_seconds.is_known = true;
        rc = json_get_double(json, "deadline_seconds", "request", &request->deadline_seconds.value, err);
    }
    if (rc == 0 && !request->sweep && request->op <= CONTROL_RESUME)
        rc = err_set(err, ERR_FORMAT, "request: 'sweep' is missing, a name was expected");
    return rc;
}

void control_request_write(struct text *out, const struct control_request *request)
{
    text_printf(out, "{\"v\":1,\"op\":\"%s\"", op_names[request->op]);
    if (request->sweep) {
        text_add(out, ",\"sweep\":");
        printable_add_json(out, request->sweep);
    }
    if (request->trial)
        text_printf(out, ",\"trial\":%" PRId64, request->trial);
    if (request->reason) {
        text_add(out, ",\"reason\":");
        printable_add_json(out, request->reason);
    }
    if (request->slots)
        text_printf(out, ",\"slots\":%" PRId64, request->slots);
    if (request->deadline_seconds.is_known) {
        text_add(out, ",\"deadline_seconds\":");
        text_add_double(out, request->deadline_seconds.value);
    }
    text_add_char(out, '}');
}

bool control_request_store_op(const struct control_request *request, struct store_op *op)
{
    static const enum store_op_kind kinds[] = {[CONTROL_CANCEL] = STORE_CANCEL,
                                               [CONTROL_RETRY] = STORE_RETRY,
                                               [CONTROL_ARCHIVE] = STORE_ARCHIVE,
                                               [CONTROL_UNARCHIVE] = STORE_UNARCHIVE,
                                               [CONTROL_DELETE] = STORE_DELETE};
    if (request->op >= CONTROL_PAUSE)
        return false;
    *op = (struct store_op){.kind = kinds[request->op],
                            .choice = {.sweep = request->sweep,
                                       .trial = request->trial,
                                       .reason = request->reason ? request->reason : "canceled by a person"}};
    return true;
}

void control_answer_result(struct text *out, const struct store_result *result)
{
    struct err err = {0};
    if (result->rc == 0) {
        text_printf(out, "{\"v\":1,\"ok\":true,\"changed\":%" PRId64 "}", result->n_changed);
        return;
    }
    err_set(&err, result->rc, "%s", result->message);
    control_answer_error(out, &err);
}

void control_answer_error(struct text *out, const struct err *err)
{
    text_printf(out, "{\"v\":1,\"ok\":false,\"code\":%d,\"message\":", err->code);
    printable_add_json(out, err->message);
    text_add_char(out, '}');
}

/* Who carries it out -------------------------------------------------------------------------------------------------
 */

static int read_answer(const char *line, size_t n, cJSON **answer, struct err *err)
{
    cJSON *json = NULL;
    bool is_ok = false;
    int64_t code = ERR_FORMAT;
    const char *message = "";
    int rc = json_parse(line, n, &json, err);
    if (rc == 0)
        rc = json_get_bool(json, "ok", "answer", &is_ok, err);
    if (rc == 0 && !is_ok) {
        rc = json_get_int64(json, "code", "answer", &code, err);
        if (rc == 0)
            rc = json_get_string(json, "message", "answer", &message, err);
        if (rc == 0)
            rc = err_set(err, code < 0 ? (int)code : ERR_FORMAT, "%s", message);
    }
    if (rc == 0)
        *answer = json;
    else
        json_free(json);
    return rc;
}

static int ask(const char *store, const struct control_request *request, cJSON **answer, bool *is_heard,
               struct err *err)
{
    struct text line = {0}, reply = {0};
    control_request_write(&line, request);
    int rc =
        line.failed ? err_set(err, ERR_NOMEM, "no memory for a request") : control_ask(store, line.data, &reply, err);
    *is_heard = rc != ERR_NOT_FOUND;
    if (rc == 0)
        rc = read_answer(reply.data, reply.len, answer, err);
    text_done(&line);
    text_done(&reply);
    return rc;
}

/* As the store's only writer. */
static int do_here(struct store *store, const struct store_op *op, cJSON **answer, struct err *err)
{
    struct text line = {0};
    struct store_result result;
    int rc = store_apply(store, op, 1, &result, err);
    if (rc < 0)
        return rc;
    control_answer_result(&line, &result);
    rc = line.failed ? err_set(err, ERR_NOMEM, "no memory for an answer")
                     : read_answer(line.data, line.len, answer, err);
    text_done(&line);
    return rc;
}

static int holder_of(const char *store, struct lock_holder *holder, struct err *err)
{
    struct text path = {0};
    text_printf(&path, "%s.lock", store);
    int rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for a path") : lock_query(path.data, holder, err);
    text_done(&path);
    return rc;
}

/* One try: *is_over false when somebody has the store and does not listen. */
static int try_once(const char *path, const struct control_request *request, cJSON **answer, bool *is_over,
                    struct err *err)
{
    struct store_op op;
    struct store *store = NULL;
    struct lock_holder holder = {0};
    bool is_here = control_request_store_op(request, &op);
    *is_over = true;
    int rc = is_here ? store_open(&store, path, STORE_WRITE, err) : holder_of(path, &holder, err);
    if (is_here && rc == 0) {
        rc = do_here(store, &op, answer, err);
        store_close(store);
        return rc;
    }
    if (rc < 0 && rc != ERR_BUSY)
        return rc;
    if (!is_here && !holder.is_held)
        return err_set(err, ERR_USAGE, "no run is using the store '%s': there is nothing to %s", path,
                       op_names[request->op]);
    rc = ask(path, request, answer, is_over, err);
    if (!*is_over && holder_of(path, &holder, err) == 0)
        rc = err_set(err, ERR_BUSY, "store '%s' is in use by process %" PRId64 " on host '%s', which does not answer",
                     path, holder.pid, holder.host);
    return rc;
}

int control_perform(const char *store, const struct control_request *request, cJSON **answer, struct err *err)
{
    const struct timespec pause = {.tv_nsec = TRY_MS * 1000000L};
    bool is_over = false;
    int rc = 0;
    if (!file_exists(store))
        return err_set(err, ERR_NOT_FOUND, "there is no store '%s'", store);
    for (int i = 0; i < TRIES && !is_over; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        rc = try_once(store, request, answer, &is_over, err);
    }
    return rc;
}

bool control_find_state(const char *store, cJSON **answer)
{
    const struct control_request request = {.op = CONTROL_STATE};
    struct err err;
    bool is_heard = false;
    return ask(store, &request, answer, &is_heard, &err) == 0;
}
