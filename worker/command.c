/* Commands out of lines. Everything is checked here, so that the worker only acts. */
#include "worker/command.h"

#include <inttypes.h>

#include "common/json.h"

/* A member that counts something: a whole number from `least` on. */
static int get_count(const cJSON *object, const char *key, const char *where, int64_t least, int64_t *out,
                     struct err *err)
{
    int rc = json_get_int64(object, key, where, out, err);
    if (rc == 0 && *out < least)
        rc = err_set(err, ERR_FORMAT, "%s.%s: %" PRId64 " is below %" PRId64 ", the least allowed", where, key, *out,
                     least);
    return rc;
}

static int parse_limits(const cJSON *start, struct command_limits *limits, struct err *err)
{
    const cJSON *object = json_get(start, "limits");
    int64_t memory = 0;
    int rc = 0;
    if (!object || cJSON_IsNull(object))
        return 0;
    if (!cJSON_IsObject(object))
        return err_set(err, ERR_FORMAT, "start.limits: %s, an object was expected", json_type_name(object));
    rc = json_opt_double(object, "time_seconds", "start.limits", &limits->time_seconds, err);
    if (rc == 0)
        rc = json_opt_int64(object, "memory_bytes", "start.limits", &memory, err);
    if (rc == 0 && (limits->time_seconds < 0 || memory < 0))
        rc = err_set(err, ERR_FORMAT, "start.limits: a number below 0, 0 means no limit");
    if (rc == 0)
        limits->memory_bytes = (uint64_t)memory;
    return rc;
}

static int parse_threads(const cJSON *job, int *threads, struct err *err)
{
    const cJSON *limits = json_get(job, "limits");
    int64_t found = 1;
    int rc = limits ? json_opt_int64(limits, "threads", "start.job.limits", &found, err) : 0;
    if (rc == 0 && (found < 1 || found > COMMAND_MAX_THREADS))
        rc = err_set(err, ERR_FORMAT, "start.job.limits.threads: %" PRId64 " is not from 1 to %d", found,
                     COMMAND_MAX_THREADS);
    if (rc == 0)
        *threads = (int)found;
    return rc;
}

static int parse_start(struct command *command, const cJSON *object, struct err *err)
{
    const cJSON *job = NULL;
    int rc = get_count(object, "attempt", "start", 1, &command->attempt, err);
    if (rc == 0)
        rc = json_get_int64(object, "slot", "start", &command->slot, err);
    if (rc == 0)
        rc = parse_limits(object, &command->limits, err);
    if (rc == 0)
        rc = json_get_object(object, "job", "start", &job, err);
    if (rc == 0)
        rc = parse_threads(job, &command->limits.threads, err);
    if (rc == 0) {
        json_add(&command->job, job);
        text_add_char(&command->job, '\n');
        if (command->job.failed)
            rc = err_set(err, ERR_NOMEM, "start.job: no memory for it");
    }
    return rc;
}

static int parse_object(struct command *command, const cJSON *object, struct err *err)
{
    const char *type = NULL;
    int64_t v = 0;
    int rc = cJSON_IsObject(object)
                 ? json_get_int64(object, "v", "command", &v, err)
                 : err_set(err, ERR_FORMAT, "command: %s, an object was expected", json_type_name(object));
    if (rc == 0 && v != 1)
        rc = err_set(err, ERR_FORMAT, "command.v: protocol version %" PRId64 ", 1 was expected", v);
    if (rc == 0)
        rc = json_get_string(object, "type", "command", &type, err);
    if (rc < 0)
        return rc;
    if (text_equal(type, "start")) {
        command->kind = COMMAND_START;
        return parse_start(command, object, err);
    }
    if (text_equal(type, "stop") || text_equal(type, "go") || text_equal(type, "kill")) {
        command->kind = type[0] == 's' ? COMMAND_STOP : type[0] == 'g' ? COMMAND_GO : COMMAND_KILL;
        return get_count(object, "attempt", type, 0, &command->attempt, err);
    }
    if (text_equal(type, "quit")) {
        command->kind = COMMAND_QUIT;
        return 0;
    }
    if (text_equal(type, "slots")) {
        command->kind = COMMAND_SLOTS;
        return get_count(object, "slots", type, 1, &command->slot, err);
    }
    return err_set(err, ERR_FORMAT,
                   "command.type: '%s' is unknown, 'start', 'stop', 'go', 'kill', 'slots' or 'quit' was expected",
                   type);
}

int command_parse(struct command *command, const char *line, size_t len, struct err *err)
{
    cJSON *object = NULL;
    int rc = json_parse(line, len, &object, err);
    if (rc == 0)
        rc = parse_object(command, object, err);
    json_free(object);
    return rc;
}

void command_done(struct command *command)
{
    text_done(&command->job);
}
