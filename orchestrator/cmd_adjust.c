/* `nightsweep adjust`: other slots and another deadline for the run that is working. */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "orchestrator/command_kinds.h"
#include "orchestrator/control_request.h"

static int read_request(const struct command_line *line, struct control_request *request, struct err *err)
{
    double until = 0, lasting = 0;
    bool is_endless = command_has(line, "no-deadline");
    int rc = command_get_int(line, "slots", 1, 1024, &request->slots, err);
    if (rc == 0)
        rc = command_get_clock(line, "until", (int64_t)time(NULL), &until, err);
    if (rc == 0)
        rc = command_get_duration(line, "for", &lasting, err);
    if (rc < 0)
        return rc;
    if (command_has(line, "for") && lasting == 0)
        return err_set(err, ERR_USAGE, "adjust: --for: a duration above 0 was expected");
    if (command_has(line, "until") + command_has(line, "for") + is_endless > 1)
        return err_set(err, ERR_USAGE, "adjust: one of --until, --for and --no-deadline was expected");
    if (until > 0 || lasting > 0 || is_endless)
        request->deadline_seconds = known_real(until > 0 ? until : lasting);
    if (!request->slots && !request->deadline_seconds.is_known)
        return err_set(err, ERR_USAGE, "adjust: --slots, --until, --for or --no-deadline was expected");
    return 0;
}

static int run(const struct command_line *line, struct err *err)
{
    struct control_request request = {.op = CONTROL_ADJUST};
    cJSON *answer = NULL;
    int rc = read_request(line, &request, err);
    if (rc == 0)
        rc = control_perform(line->store, &request, &answer, err);
    json_free(answer);
    if (rc == 0)
        puts(command_has(line, "json") ? "{\"v\":1,\"adjusted\":true}" : "adjusted");
    return rc;
}

static const struct command_option options[] = {
    {"slots", "N", "trials at a time, of each worker"},
    {"until", "HH:MM", "the run stops at this time of day"},
    {"for", "DURATION", "the run stops after so long from now: 8h, 1h30m, 20m"},
    {"no-deadline", NULL, "the run goes on until everything is trained"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_adjust = {
    .name = "adjust",
    .arguments = "",
    .summary = "give a run more or fewer slots, or another deadline, while it works",
    .description =
        "Changes the run that is using the store, and what it goes on with. With fewer slots the trials in those "
        "beyond write checkpoints and wait for one that is free; with more, waiting trials start at once. Nothing that "
        "was trained is lost either way.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 0,
    .run = run,
};
