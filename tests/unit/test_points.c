/* Lines of curve points: read as json_parse reads them, or left to it. */
#include "common/points.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

#define HEAD "{\"v\":1,\"type\":\"points\",\"attempt\":7,\"seq\":3,\"points\":["

static bool parse(const char *line, struct points *points)
{
    return points_parse(line, strlen(line), points);
}

Test(points, reads_what_trainers_write)
{
    char line[] = HEAD "[\"train/loss\",1,0.69314718055994529],[\"train/rate\",1,1e-05],[\"train/loss\",2,null],"
                       "[\"train/rate\",2,-3]]}";
    struct points points = {0};
    cr_assert(parse(line, &points));
    cr_assert_eq(points.attempt, 7);
    cr_assert_eq(points.n, 4);
    points_end_names(&points);
    cr_assert_str_eq(points.points[0].name, "train/loss");
    cr_assert_str_eq(points.points[3].name, "train/rate");
    cr_expect_eq(points.points[2].name, points.points[0].name, "equal names are one pointer");
    cr_expect_eq(points.points[0].value, 0.69314718055994529);
    cr_expect_eq(points.points[1].value, 1e-05);
    cr_expect(isnan(points.points[2].value));
    cr_expect_eq(points.points[2].step, 2);
    cr_expect_eq(points.points[3].value, -3);
    points_done(&points);
}

Test(points, keeps_its_memory_from_line_to_line)
{
    struct points points = {0};
    cr_assert(parse(HEAD "[\"a\",1,2]]}", &points));
    cr_assert(parse(HEAD "]}", &points));
    cr_assert_eq(points.n, 0);
    cr_assert(parse(HEAD "[\"a\",1,2],[\"b\",1,2]]}", &points));
    cr_assert_eq(points.n, 2);
    points_done(&points);
}

Test(points, leaves_every_other_spelling_to_json)
{
    static const char *const lines[] = {
        "",
        "{}",
        "{\"v\":1,\"type\":\"points\"",
        "{\"v\":2,\"type\":\"points\",\"attempt\":7,\"seq\":3,\"points\":[]}",
        "{\"v\":1,\"type\":\"point\",\"attempt\":7,\"seq\":3,\"points\":[]}",
        "{\"v\":1,\"type\":\"points\",\"attempt\":-7,\"seq\":3,\"points\":[]}",
        "{\"v\":1,\"type\":\"points\",\"attempt\":07,\"seq\":3,\"points\":[]}",
        "{\"v\":1,\"type\":\"points\",\"attempt\":1234567890123456,\"seq\":3,\"points\":[]}",
        "{\"v\":1,\"type\":\"points\",\"attempt\":7,\"points\":[]}",
        HEAD,
        HEAD "]",
        HEAD "]}}",
        HEAD "] }",
        HEAD "[]]}",
        HEAD "[\"a\",1,2],]}",
        HEAD "[\"a\",1,2]",
        HEAD "[\"a\",1,2,3]]}",
        HEAD "[\"a\",1.5,2]]}",
        HEAD "[\"a\",-1,2]]}",
        HEAD "[\"a\", 1,2]]}",
        HEAD "[\"a\\n\",1,2]]}",
        HEAD "[\"a\xc3\xa4\",1,2]]}",
        HEAD "[\"a\",1,nul]]}",
        HEAD "[\"a\",1,-]]}",
        HEAD "[\"a\",1,01]]}",
        HEAD "[\"a\",1,1.]]}",
        HEAD "[\"a\",1,1e]]}",
        HEAD "[\"a\",1,.5]]}",
        HEAD "[\"a\",1,1e999]]}",
        HEAD "[\"a\",1,9007199254740993]]}",
        HEAD "[\"a\",1,0x10]]}",
        HEAD "[\"a\",1,\"2\"]]}",
    };
    struct points points = {0};
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        cr_expect_not(parse(lines[i], &points), "%s", lines[i]);
        cr_expect_eq(points.n, 0);
    }
    points_done(&points);
}

/* Every prefix and every changed byte: what is read is JSON too, with the same points. */
Test(points, reads_nothing_that_json_would_not)
{
    static const char good[] = HEAD "[\"train/loss\",12,0.5e-3],[\"b\",3,null]]}";
    struct points points = {0};
    struct err err;
    for (size_t at = 0; at < sizeof(good) - 1; at++)
        for (int byte = 1; byte < 256; byte++) {
            char line[sizeof(good)];
            cJSON *json = NULL;
            memcpy(line, good, sizeof(line));
            line[at] = (char)byte;
            if (!parse(line, &points))
                continue;
            cr_assert_eq(json_parse(line, sizeof(good) - 1, &json, &err), 0, "%s: %s", line, err.message);
            const cJSON *list = json_get(json, "points");
            cr_assert_eq(cJSON_GetArraySize(list), (int)points.n, "%s", line);
            for (size_t i = 0; i < points.n; i++) {
                const cJSON *item = cJSON_GetArrayItem(list, (int)i), *value = item->child->next->next;
                cr_assert_eq(strlen(item->child->valuestring), points.points[i].name_len);
                cr_assert_eq(memcmp(item->child->valuestring, points.points[i].name, points.points[i].name_len), 0);
                cr_assert_eq(item->child->next->valuedouble, (double)points.points[i].step);
                cr_assert(cJSON_IsNull(value) ? isnan(points.points[i].value)
                                              : value->valuedouble == points.points[i].value);
            }
            json_free(json);
        }
    for (size_t n = 0; n < sizeof(good) - 1; n++)
        cr_assert_not(points_parse(good, n, &points));
    points_done(&points);
}
