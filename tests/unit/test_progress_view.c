/* Tests of orchestrator/progress_view: lines of the display fit the terminal and say what they must. */
#include "orchestrator/progress_view.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/json.h"
#include "orchestrator/printable.h"

static const struct progress_slot slots[] = {
    {.trial = 12,
     .method = "lora",
     .parameters = "rank 8",
     .step = 120,
     .total_steps = 506,
     .loss = 0.4125,
     .tokens_per_second = 5210.4},
    {.trial = 13, .method = "adapter", .parameters = "\x1b[2Jevil", .loss = NAN},
    {.trial = 0},
};
static const struct progress_state state = {.sweep = "methods",
                                            .n_trials = 81,
                                            .n_complete = 30,
                                            .n_pruned = 2,
                                            .n_failed = 2,
                                            .n_running = 2,
                                            .steps_per_second = 5.13,
                                            .seconds_left = 4800,
                                            .best = {true, 0.8512},
                                            .metric = "validation/accuracy",
                                            .slots = slots,
                                            .n_slots = 3};

Test(progress_view, screen)
{
    struct text out = {0};
    cr_assert_eq(progress_add_screen(&out, &state, 200, false), 4);
    static const char *const parts[] = {
        "trial 12    lora",
        "step 120/506",
        "loss 0.4125",
        "5,210 tokens/s",
        "rank 8\n",
        "starting",
        "\\x1b[2Jevil",
        "free",
        "##########..............  34/81 trials, 2 pruned, 2 failed, 5.1 steps/s, 80 min left, best "
        "validation/accuracy 0.8512\n"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
        cr_assert_not_null(strstr(out.data, parts[i]), "'%s' in\n%s", parts[i], out.data);
    cr_assert_null(strchr(out.data, '\x1b'), "no escape without colour");
    text_reset(&out);
    progress_add_screen(&out, &state, 200, true);
    cr_assert_not_null(strstr(out.data, "\x1b[32m"));
    text_done(&out);
}

/* A line that wraps would shift everything that is redrawn. */
Test(progress_view, screen_fits_every_width)
{
    struct text out = {0};
    for (int width = 24; width < 160; width++) {
        text_reset(&out);
        int n = 0, lines = progress_add_screen(&out, &state, width, false);
        for (char *line = out.data, *end; (end = strchr(line, '\n')); line = end + 1, n++) {
            *end = '\0';
            cr_assert_leq(printable_width(line), (size_t)width, "%d: '%s'", width, line);
            cr_assert_eq(utf8_valid_prefix(line, strlen(line)), strlen(line));
        }
        cr_assert_eq(n, lines);
    }
    text_done(&out);
}

Test(progress_view, plain_line_and_json)
{
    struct text out = {0};
    struct progress_state unknown = {.sweep = "a", .n_trials = 3, .seconds_left = NAN};
    progress_add_line(&out, &unknown);
    cr_assert_str_eq(out.data, "a: 0/3 trials");
    text_reset(&out);
    progress_add_json(&out, &state, "2026-11-24T22:00:00Z");
    cJSON *json = NULL;
    struct err err;
    cr_assert_eq(json_parse(out.data, out.len, &json, &err), 0, "%s", err.message);
    cr_assert_eq(json_get(json, "v")->valueint, 1);
    cr_assert_eq(json_get(json, "complete")->valueint, 30);
    cr_assert_float_eq(json_get(json, "best")->valuedouble, 0.8512, 0);
    cr_assert_eq(cJSON_GetArraySize(json_get(json, "slots")), 3);
    cr_assert(cJSON_IsNull(json_get(cJSON_GetArrayItem(json_get(json, "slots"), 1), "loss")));
    json_free(json);
    text_reset(&out);
    progress_add_event_json(&out, "trial_failed", "line\nwith \"quotes\"", "t");
    cr_assert_str_eq(out.data,
                     "{\"v\":1,\"type\":\"event\",\"time\":\"t\",\"kind\":\"trial_failed\",\"message\":\"line\\nwith "
                     "\\\"quotes\\\"\"}");
    text_done(&out);
}

Test(progress_view, durations)
{
    static const struct {
        double seconds;
        const char *text;
    } cases[] = {{0, "0 s"},           {119.4, "119 s"},
                 {120, "2 min"},       {7199, "119 min"},
                 {7200, "2 h 00 min"}, {11100, "3 h 05 min"},
                 {200000, "2 d 7 h"},  {NAN, "?"},
                 {INFINITY, "?"},      {-1, "?"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct text out = {0};
        progress_add_duration(&out, cases[i].seconds);
        cr_assert_str_eq(out.data, cases[i].text, "%g: %s", cases[i].seconds, out.data);
        text_done(&out);
    }
}
