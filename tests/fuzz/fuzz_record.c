/* Lines on the wire: a trainer's records as worker and coordinator take them, a coordinator's commands as the worker
 * takes them, and jobs. The input is cut into chunks where its bytes say. Whatever a trainer sends, the coordinator
 * goes on: its store stands as it is, and it ends the attempt at most. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/line.h"
#include "common/points.h"
#include "orchestrator/probe.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/record_taker.h"
#include "trainer/trial_job.h"
#include "worker/command.h"
#include "worker/relay.h"

static void take_record(const char *line, size_t n)
{
    cJSON *record = NULL;
    const char *type = NULL;
    struct err err;
    if (json_parse(line, n, &record, &err) < 0)
        return;
    if (cJSON_IsObject(record) && json_get_string(record, "type", "message", &type, &err) == 0)
        (void)!record_taker_take(record, type, &err);
    json_free(record);
}

/* The short way of a line of points takes nothing that the long way would not. */
static void compare_points(const char *line, size_t n)
{
    struct points points = {0};
    cJSON *record = NULL;
    struct err err;
    if (points_parse(line, n, &points)) {
        if (json_parse(line, n, &record, &err) < 0)
            fuzz_fail(err.message);
        if (cJSON_GetArraySize(json_get(record, "points")) != (int)points.n)
            fuzz_fail("points are lost");
    }
    json_free(record);
    points_done(&points);
}

static int on_line(char *line, size_t n, void *context, struct err *err)
{
    struct command command = {0};
    struct probe probe = {0};
    struct trial_job job = {0};
    (void)context;
    (void)!relay_check(line, n, 7, err);
    (void)!command_parse(&command, line, n, err);
    command_done(&command);
    (void)!probe_take_record(&probe, line, n, 1, err);
    (void)!trial_job_parse(&job, line, n, err);
    trial_job_done(&job);
    compare_points(line, n);
    take_record(line, n);
    return 0;
}

static void start(void)
{
    static int is_started;
    struct err err;
    if (is_started++)
        return;
    if (!freopen("/dev/null", "w", stdout)) /* where progress goes */
        fuzz_fail("no /dev/null");
    if (record_taker_open(fuzz_path("s.db"), &err) < 0)
        fuzz_fail(err.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct line_splitter lines = {.max_bytes = 4096};
    struct err err;
    int rc = 0;
    start();
    for (size_t at = 0, n; at < size && rc == 0; at += n) {
        n = 1 + data[at] * 8u;
        n = at + n < size ? n : size - at;
        rc = line_splitter_feed(&lines, (const char *)data + at, n, on_line, NULL, &err);
    }
    if (rc == 0)
        rc = line_splitter_end(&lines, &err);
    line_splitter_done(&lines);
    if (record_taker_flush(&err) < 0)
        fuzz_fail(err.message);
    return 0;
}
