/* What the worker lets through, what it says itself, the end of a log, and the commands it takes. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "worker/cgroup.h"
#include "worker/command.h"
#include "worker/relay.h"
#include "worker/slot.h"

static char *tail_text(const struct relay_tail *tail)
{
    struct text text = {0};
    text_add(&text, "");
    relay_tail_text(tail, &text);
    return text_take(&text);
}

Test(relay, a_tail_keeps_the_last_bytes_whatever_the_chunks)
{
    enum { TOTAL = 20000 };
    static char data[TOTAL];
    for (size_t i = 0; i < TOTAL; i++)
        data[i] = (char)('a' + i % 23);
    static const size_t chunks[] = {1, 7, 1000, 4095, 4096, 4097, 9000, TOTAL};
    for (size_t c = 0; c < sizeof(chunks) / sizeof(chunks[0]); c++) {
        struct relay_tail tail = {0};
        for (size_t at = 0; at < TOTAL; at += chunks[c])
            relay_tail_add(&tail, data + at, at + chunks[c] < TOTAL ? chunks[c] : TOTAL - at);
        char *text = tail_text(&tail);
        cr_assert_eq(strlen(text), (size_t)RELAY_TAIL_BYTES, "chunks of %zu", chunks[c]);
        cr_assert_eq(memcmp(text, data + TOTAL - RELAY_TAIL_BYTES, RELAY_TAIL_BYTES), 0, "chunks of %zu", chunks[c]);
        free(text);
    }
}

Test(relay, a_short_tail_is_whole_and_becomes_valid_utf8)
{
    struct relay_tail tail = {0};
    relay_tail_add(&tail, "a\xff\0é\xc3", 6);
    char *text = tail_text(&tail);
    cr_assert_str_eq(text, "a\xef\xbf\xbd\xef\xbf\xbdé\xef\xbf\xbd");
    free(text);
    /* A continuation byte at the start is only dropped when something was cut off before it. */
    tail = (struct relay_tail){0};
    relay_tail_add(&tail, "\xa9x", 2);
    text = tail_text(&tail);
    cr_assert_str_eq(text, "\xef\xbf\xbdx");
    free(text);
}

Test(relay, a_character_cut_at_the_front_goes)
{
    struct relay_tail tail = {0};
    for (int i = 0; i < RELAY_TAIL_BYTES; i++)
        relay_tail_add(&tail, "é", 2);
    relay_tail_add(&tail, "x", 1);
    char *text = tail_text(&tail);
    cr_assert_eq(strlen(text), (size_t)RELAY_TAIL_BYTES - 1);
    cr_assert_eq(strncmp(text, "é", 2), 0);
    free(text);
}

static const struct {
    const char *line, *message;
} refused_records[] = {
    {"hello", "a value was expected"},
    {"", "a value was expected"},
    {"[1]", "an object was expected"},
    {"{\"attempt\":7}", "'type'"},
    {"{\"type\":3,\"attempt\":7}", "type"},
    {"{\"type\":\"points\"}", "'attempt'"},
    {"{\"type\":\"points\",\"attempt\":7.5}", "attempt"},
    {"{\"type\":\"points\",\"attempt\":8}", "a record of attempt 8, attempt 7 was expected"},
    {"{\"type\":\"ended\",\"attempt\":7}", "'ended', which only the worker sends"},
    {"{\"type\":\"hello\",\"attempt\":7}", "'hello'"},
    {"{\"type\":\"points\",\"attempt\":7} x", "behind the end"},
};

Test(relay, a_line_that_is_no_record_of_the_attempt_is_refused)
{
    for (size_t i = 0; i < sizeof(refused_records) / sizeof(refused_records[0]); i++) {
        struct err err = {0};
        const char *line = refused_records[i].line;
        cr_assert_eq(relay_check(line, strlen(line), 7, &err), ERR_FORMAT, "'%s'", line);
        cr_assert(strstr(err.message, refused_records[i].message), "'%s' gave '%s'", line, err.message);
    }
    const char *good = "{\"v\":1,\"type\":\"points\",\"attempt\":7,\"seq\":1,\"points\":[[\"train/loss\",1,0.5]]}";
    struct err err = {0};
    cr_assert_eq(relay_check(good, strlen(good), 7, &err), 0, "%s", err.message);
}

Test(relay, the_workers_own_lines_are_json_lines)
{
    struct text text = {0};
    struct relay_end end = {.attempt = 12,
                            .slot = 2,
                            .signal = 9,
                            .reason = "timeout",
                            .seconds = 1.5,
                            .peak_bytes = 4096,
                            .log_tail = "a \"line\"\n"};
    relay_add_ended(&text, &end);
    cr_assert_str_eq(text.data, "{\"v\":1,\"type\":\"ended\",\"attempt\":12,\"slot\":2,\"exit_status\":0,\"signal\":9,"
                                "\"reason\":\"timeout\",\"seconds\":1.5,\"peak_bytes\":4096,"
                                "\"log_tail\":\"a \\\"line\\\"\\n\"}\n");
    text_reset(&text);
    end.reason = NULL;
    end.has_joules = true;
    end.joules = 12.5;
    relay_add_ended(&text, &end);
    cr_assert_null(strstr(text.data, "reason"));
    cr_assert(strstr(text.data, "\"peak_bytes\":4096,\"joules\":12.5,\"log_tail\""), "%s", text.data);
    text_reset(&text);
    relay_add_hello(&text, "node-1", 42, 3, "abc", (const char *[]){"/m", "/d \"x\"", NULL});
    cr_assert(
        strstr(
            text.data,
            "\"host\":\"node-1\",\"pid\":42,\"slots\":3,\"marker\":\"abc\",\"missing\":[\"/m\",\"/d \\\"x\\\"\"]}\n"),
        "%s", text.data);
    text_reset(&text);
    relay_add_hello(&text, "node-1", 42, 3, NULL, (const char *[]){NULL});
    cr_assert(strstr(text.data, "\"marker\":null,\"missing\":[]}\n"), "%s", text.data);
    text_done(&text);
}

Test(command, a_start_keeps_the_jobs_numbers_and_order)
{
    const char *line = "{\"v\":1,\"type\":\"start\",\"attempt\":5,\"slot\":2,"
                       "\"limits\":{\"time_seconds\":1.5,\"memory_bytes\":2147483648},\"extra\":true,"
                       "\"job\":{\"z\": 0.1, \"a\": 9007199254740991, \"x\":1e-05,\"limits\":{\"threads\":3}}}";
    struct command command = {0};
    struct err err = {0};
    cr_assert_eq(command_parse(&command, line, strlen(line), &err), 0, "%s", err.message);
    cr_assert_eq(command.kind, COMMAND_START);
    cr_assert_eq(command.attempt, 5);
    cr_assert_eq(command.slot, 2);
    cr_assert_eq(command.limits.time_seconds, 1.5);
    cr_assert_eq(command.limits.memory_bytes, 2147483648u);
    cr_assert_eq(command.limits.threads, 3);
    cr_assert_str_eq(command.job.data, "{\"z\":0.1,\"a\":9007199254740991,\"x\":1e-05,\"limits\":{\"threads\":3}}\n");
    command_done(&command);
}

Test(command, limits_are_none_and_one_thread_when_absent)
{
    const char *line = "{\"v\":1,\"type\":\"start\",\"attempt\":5,\"slot\":1,\"job\":{}}";
    struct command command = {0};
    struct err err = {0};
    cr_assert_eq(command_parse(&command, line, strlen(line), &err), 0, "%s", err.message);
    cr_assert_eq(command.limits.time_seconds, 0.0);
    cr_assert_eq(command.limits.memory_bytes, 0u);
    cr_assert_eq(command.limits.threads, 1);
    command_done(&command);
}

Test(command, stop_kill_and_quit)
{
    static const struct {
        const char *line;
        enum command_kind kind;
        int64_t attempt;
    } good[] = {
        {"{\"v\":1,\"type\":\"stop\",\"attempt\":0}", COMMAND_STOP, 0},
        {"{\"v\":1,\"type\":\"go\",\"attempt\":7}", COMMAND_GO, 7},
        {"{\"v\":1,\"type\":\"kill\",\"attempt\":9}", COMMAND_KILL, 9},
        {"{\"v\":1,\"type\":\"quit\"}", COMMAND_QUIT, 0},
        {"{\"v\":1,\"type\":\"slots\",\"slots\":3}", COMMAND_SLOTS, 0},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct command command = {0};
        struct err err = {0};
        cr_assert_eq(command_parse(&command, good[i].line, strlen(good[i].line), &err), 0, "%s", err.message);
        cr_assert_eq(command.kind, good[i].kind);
        cr_assert_eq(command.attempt, good[i].attempt);
        command_done(&command);
    }
}

static const struct {
    const char *line, *message;
} refused_commands[] = {
    {"{", "line 1"},
    {"7", "an object was expected"},
    {"{\"type\":\"quit\"}", "'v'"},
    {"{\"v\":2,\"type\":\"quit\"}", "protocol version 2, 1 was expected"},
    {"{\"v\":1}", "'type'"},
    {"{\"v\":1,\"type\":\"pause\"}", "'pause' is unknown"},
    {"{\"v\":1,\"type\":\"stop\"}", "'attempt'"},
    {"{\"v\":1,\"type\":\"kill\",\"attempt\":-1}", "kill.attempt: -1 is below 0"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":0,\"slot\":1,\"job\":{}}", "start.attempt: 0 is below 1"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"job\":{}}", "'slot'"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1}", "'job'"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1,\"job\":[]}", "job"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1,\"limits\":3,\"job\":{}}", "start.limits"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1,\"limits\":{\"memory_bytes\":-1},\"job\":{}}", "below 0"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1,\"limits\":{\"time_seconds\":\"1\"},\"job\":{}}",
     "time_seconds"},
    {"{\"v\":1,\"type\":\"start\",\"attempt\":1,\"slot\":1,\"job\":{\"limits\":{\"threads\":0}}}", "threads: 0"},
};

Test(command, what_is_no_command_is_refused_with_its_place)
{
    for (size_t i = 0; i < sizeof(refused_commands) / sizeof(refused_commands[0]); i++) {
        struct command command = {0};
        struct err err = {0};
        const char *line = refused_commands[i].line;
        cr_assert_eq(command_parse(&command, line, strlen(line), &err), ERR_FORMAT, "'%s'", line);
        cr_assert(strstr(err.message, refused_commands[i].message), "'%s' gave '%s'", line, err.message);
        command_done(&command);
    }
}

Test(cgroup, the_count_and_its_place_are_found)
{
    char path[128];
    cr_expect_eq(cgroup_parse_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), 7);
    cr_expect_eq(cgroup_parse_kills("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n"), 1);
    cr_expect_eq(cgroup_parse_kills("oom 2\n"), 0);
    cr_expect_eq(cgroup_parse_kills(""), 0);
    cr_assert(cgroup_parse_path("8:pids:/\n4:memory:/job/7\n0::/other\n", path, sizeof(path)));
    cr_expect_str_eq(path, "/sys/fs/cgroup/memory/job/7/memory.oom_control");
    cr_assert(cgroup_parse_path("1:name=systemd:/a\n0::/user.slice/x\n", path, sizeof(path)));
    cr_expect_str_eq(path, "/sys/fs/cgroup/user.slice/x/memory.events");
    cr_expect_not(cgroup_parse_path("1:name=systemd:/a\n", path, sizeof(path)));
    cr_expect_not(cgroup_parse_path("", path, sizeof(path)));
    cr_expect_not(cgroup_parse_path("0::/a-path-that-is-too-long", path, 20));
}

Test(slot, cpu_time_comes_from_the_stat_file)
{
    static const char stat[] = "4711 (a name) with) 1) R 1 2 3 4 5 6 7 8 9 10 250 31 0 0 20 0 1 0 99 1000 2\n";
    cr_assert_eq(slot_parse_cpu(stat), 281u);
    cr_assert_eq(slot_parse_cpu("4711 (cut off"), 0u);
    cr_assert_eq(slot_parse_cpu("4711 (x) R 1 2"), 0u);
}

Test(slot, the_peak_comes_from_the_status_file)
{
    cr_assert_eq(slot_parse_peak("Name:\tx\nVmPeak:\t   9 kB\nVmHWM:\t    1234 kB\nVmRSS:\t 8 kB\n"), 1234u * 1024);
    cr_assert_eq(slot_parse_peak("Name:\tVmHWM: 3 kB\nState:\tZ (zombie)\n"), 0u);
}
