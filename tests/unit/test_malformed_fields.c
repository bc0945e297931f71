/* Malformed inputs of every reader, more than a thousand (tests/fixtures/malformed-fields.json): a good one with one
 * field of another kind, absent, or out of range; texts that are no JSON; data files. Each is refused, and the message
 * names the place. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "orchestrator/definition.h"
#include "tests/support/record_taker.h"
#include "tests/support/temp.h"
#include "trainer/counterfactual.h"
#include "trainer/model.h"
#include "trainer/rows.h"
#include "trainer/safetensors.h"
#include "trainer/tokenizer.h"
#include "trainer/trial_job.h"
#include "worker/command.h"
#include "worker/relay.h"

#define CASES "tests/golden/cases/models/"

static struct temp temp;
static struct err err;
static cJSON *fixture;

/* Readers: 0 or a negative code for a text of n bytes ---------------------------------------------------------------
 */

static int read_record(const char *text, size_t n)
{
    cJSON *record = NULL;
    const char *type = NULL;
    int rc = json_parse(text, n, &record, &err);
    if (rc == 0)
        rc = json_get_string(record, "type", "record", &type, &err);
    if (rc == 0)
        rc = record_taker_take(record, type, &err);
    json_free(record);
    return rc;
}

static int read_relay(const char *text, size_t n)
{
    return relay_check(text, n, 7, &err);
}

static int read_command(const char *text, size_t n)
{
    struct command command = {0};
    int rc = command_parse(&command, text, n, &err);
    command_done(&command);
    return rc;
}

static int read_job(const char *text, size_t n)
{
    struct trial_job job;
    int rc = trial_job_parse(&job, text, n, &err);
    trial_job_done(&job);
    return rc;
}

static int read_definition(const char *text, size_t n)
{
    struct definition definition;
    (void)n;
    int rc = definition_parse(&definition, text, temp.folder, "sweep.json", &err);
    definition_done(&definition);
    return rc;
}

static int read_config(const char *text, size_t n)
{
    struct arena arena = {.limit_bytes = 64 << 20};
    struct model model = {0};
    struct model_options options = {
        .pooling = "mean", .n_classes = 2, .dropout = -1, .attention_dropout = -1, .seed = 1};
    temp_write(&temp, "config.json", text, n);
    int rc = model_open(&model, temp.folder, &options, &arena, &err);
    if (rc == 0)
        model_close(&model);
    arena_done(&arena);
    return rc;
}

static int read_tokenizer(const char *text, size_t n)
{
    struct tokenizer *tokenizer = NULL;
    temp_write(&temp, "tokenizer.json", text, n);
    int rc = tokenizer_open(&tokenizer, temp.folder, &err);
    tokenizer_close(tokenizer);
    return rc;
}

static int read_items(const char *text, size_t n)
{
    struct arena arena = {0};
    struct counterfactual set;
    temp_write(&temp, "items.json", text, n);
    int rc = counterfactual_read(&set, temp_path(&temp, "items.json"), NULL, &arena, &err);
    arena_done(&arena);
    return rc;
}

static size_t data_bytes; /* behind the header */

static int read_safetensors(const char *text, size_t n)
{
    struct safetensors *file = NULL;
    char *bytes = calloc(1, 8 + n + data_bytes);
    cr_assert_not_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (char)(n >> (8 * i) & 255);
    memcpy(bytes + 8, text, n);
    temp_write(&temp, "model.safetensors", bytes, 8 + n + data_bytes);
    free(bytes);
    int rc = safetensors_open(&file, temp_path(&temp, "model.safetensors"), &err);
    safetensors_close(file);
    return rc;
}

static const struct reader {
    const char *name;
    int (*read)(const char *text, size_t n);
} readers[] = {
    {"record", read_record},           {"relay", read_relay},
    {"command", read_command},         {"job", read_job},
    {"config", read_config},           {"definition", read_definition},
    {"tokenizer", read_tokenizer},     {"items", read_items},
    {"safetensors", read_safetensors},
};
enum { N_READERS = sizeof(readers) / sizeof(readers[0]) };

static void copy_weights(const char *family)
{
    char path[256], *data = NULL;
    size_t n = 0;
    snprintf(path, sizeof(path), CASES "%s/model.safetensors", family);
    cr_assert_eq(file_read(path, 1 << 20, &data, &n, &err), 0, "%s", err.message);
    temp_write(&temp, "model.safetensors", data, n);
    free(data);
}

/* The reader of "config:bert" is "config", with that family's weights beside it. */
static const struct reader *find_reader(const cJSON *input)
{
    const char *name = json_get(input, "reader")->valuestring, *colon = strchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : strlen(name);
    const cJSON *data = json_get(input, "data");
    data_bytes = data ? (size_t)data->valueint : 0;
    if (colon)
        copy_weights(colon + 1);
    for (int i = 0; i < N_READERS; i++)
        if (strlen(readers[i].name) == n && strncmp(readers[i].name, name, n) == 0)
            return &readers[i];
    cr_assert_fail("no reader '%s'", name);
    return NULL;
}

static void setup(void)
{
    static const char names[] = "{\"kind\": \"counterfactual\", \"templates\": []}";
    temp_open(&temp);
    cr_assert_eq(json_read_file("tests/fixtures/malformed-fields.json", &fixture, &err), 0, "%s", err.message);
    cr_assert_eq(file_make_folders(temp_path(&temp, "models/tiny"), &err), 0);
    cr_assert_eq(file_make_folders(temp_path(&temp, "data"), &err), 0);
    temp_write(&temp, "models/tiny/config.json", "{}", 2);
    temp_write(&temp, "models/tiny/tokenizer.json", "{}", 2);
    temp_write(&temp, "data/train.jsonl", "", 0);
    temp_write(&temp, "names.json", names, strlen(names));
    cr_assert_not_null(freopen("/dev/null", "w", stdout)); /* where the coordinator's progress goes */
    cr_assert_eq(record_taker_open(temp_path(&temp, "s.db"), &err), 0, "%s", err.message);
}

static void teardown(void)
{
    cr_expect_eq(record_taker_flush(&err), 0, "%s", err.message);
    record_taker_close();
    json_free(fixture);
    temp_close(&temp);
}

TestSuite(malformed_fields, .init = setup, .fini = teardown);

/* One field of a good input -----------------------------------------------------------------------------------------
 */

/* The object or list that holds the last part of "a.0.b", and that part. */
static cJSON *holder_of(cJSON *root, const char *path, const char **last)
{
    char part[64];
    for (const char *dot; (dot = strchr(path, '.')); path = dot + 1) {
        snprintf(part, sizeof(part), "%.*s", (int)(dot - path), path);
        root = cJSON_IsArray(root) ? cJSON_GetArrayItem(root, (int)strtol(part, NULL, 10))
                                   : cJSON_GetObjectItemCaseSensitive(root, part);
        cr_assert_not_null(root, "no field '%s'", part);
    }
    *last = path;
    return root;
}

/* A copy of the good input with another value at the path; NULL: without it. */
static cJSON *changed(const cJSON *good, const char *path, const cJSON *value)
{
    const char *last;
    cJSON *copy = cJSON_Duplicate(good, true), *holder = holder_of(copy, path, &last);
    if (cJSON_IsArray(holder)) {
        int at = (int)strtol(last, NULL, 10);
        cJSON_DeleteItemFromArray(holder, at);
        if (value)
            cJSON_InsertItemInArray(holder, at, cJSON_Duplicate(value, true));
        return copy;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(holder, last);
    if (value)
        cJSON_AddItemToObject(holder, last, cJSON_Duplicate(value, true));
    return copy;
}

/* The last part of a path that is no number: what a message must have in it. */
static void name_in(const char *path, char name[64])
{
    for (const char *part = path; part; part = strchr(part, '.') ? strchr(part, '.') + 1 : NULL)
        if (part[0] < '0' || part[0] > '9')
            snprintf(name, 64, "%.*s", (int)strcspn(part, "."), part);
}

static int try_value(const struct reader *reader, const cJSON *input, const char *path, const cJSON *value,
                     const char *expected)
{
    struct text text = {0}, found = {0};
    cJSON *bad = changed(json_get(input, "good"), path, value);
    json_add(&text, bad);
    if (value)
        json_add(&found, value);
    err = (struct err){0};
    int rc = reader->read(text.data, text.len);
    cr_expect_lt(rc, 0, "%s: %s = %.200s was accepted", reader->name, path, found.data ? found.data : "(absent)");
    if (rc < 0)
        cr_expect(strstr(err.message, expected), "%s: %s = %.200s: '%s' is not in: %s", reader->name, path,
                  found.data ? found.data : "(absent)", expected, err.message);
    text_done(&text);
    text_done(&found);
    cJSON_Delete(bad);
    return 1;
}

static int try_field(const struct reader *reader, const cJSON *input, const cJSON *field)
{
    char kind[16], name[64] = "";
    const char *last;
    bool is_optional = text_ends_with(field->valuestring, "?");
    int n = 0;
    snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(field->valuestring, "?!"), field->valuestring);
    name_in(field->string, name);
    const cJSON *wrong = json_get(json_get(fixture, "wrong"), kind);
    cr_assert_not_null(wrong, "no kind '%s'", kind);
    for (const cJSON *value = wrong->child; value; value = value->next)
        if (!is_optional || !cJSON_IsNull(value))
            n += try_value(reader, input, field->string, value, name);
    cJSON *copy = cJSON_Duplicate(json_get(input, "good"), true);
    if (!is_optional && !text_ends_with(field->valuestring, "!") &&
        cJSON_IsObject(holder_of(copy, field->string, &last)))
        n += try_value(reader, input, field->string, NULL, name);
    cJSON_Delete(copy);
    return n;
}

Test(malformed_fields, each_is_refused_with_its_name, .timeout = 300)
{
    int n = 0;
    for (const cJSON *input = json_get(fixture, "inputs")->child; input; input = input->next) {
        const struct reader *reader = find_reader(input);
        struct text text = {0};
        json_add(&text, json_get(input, "good"));
        cr_expect_eq(reader->read(text.data, text.len), 0, "%s: %s", reader->name, err.message);
        text_done(&text);
        for (const cJSON *field = json_get(input, "fields")->child; field; field = field->next)
            n += try_field(reader, input, field);
        const cJSON *also = json_get(input, "also");
        for (const cJSON *item = also ? also->child : NULL; item; item = item->next)
            n += try_value(reader, input, item->child->valuestring, item->child->next,
                           item->child->next->next->valuestring);
    }
    cr_expect_geq(n, 1300);
}

/* What is no JSON, for every reader of it ----------------------------------------------------------------------------
 */

Test(malformed_fields, what_is_no_json_is_refused_by_all, .timeout = 300)
{
    const cJSON *quirks = json_get(fixture, "quirks");
    for (int r = 0; r < N_READERS; r++) {
        data_bytes = 0;
        if (strcmp(readers[r].name, "config") == 0)
            copy_weights("bert");
        for (const cJSON *quirk = quirks->child; quirk; quirk = quirk->next) {
            const char *why = quirk->child->valuestring, *text = quirk->child->next->valuestring;
            struct text whole = {0};
            text_printf(&whole, "%s%s", text[0] == '$' ? "{\"a\": 1}" : "", text + (text[0] == '$'));
            err = (struct err){0};
            cr_expect_lt(readers[r].read(whole.data, whole.len), 0, "%s: %s was accepted", readers[r].name, why);
            cr_expect(strstr(err.message, "line") || strstr(err.message, "twice"), "%s: %s: no place in: %s",
                      readers[r].name, why, err.message);
            text_done(&whole);
        }
    }
}

static void expect_depth(const struct reader *reader, int depth)
{
    struct text text = {0};
    text_add(&text, "{\"a\":");
    for (int i = 0; i < depth; i++)
        text_add(&text, "[");
    for (int i = 0; i < depth; i++)
        text_add(&text, "]");
    text_add(&text, "}");
    cr_expect_lt(reader->read(text.data, text.len), 0);
    cr_expect(strstr(err.message, "nested more than 64 deep"), "%s: %s", reader->name, err.message);
    text_done(&text);
}

Test(malformed_fields, depth_is_bounded, .timeout = 300)
{
    for (int r = 0; r < N_READERS; r++) {
        expect_depth(&readers[r], 65);
        expect_depth(&readers[r], 5000);
        expect_depth(&readers[r], 1000000);
    }
}

/* Data files --------------------------------------------------------------------------------------------------------
 */

Test(malformed_fields, data_files_are_refused_with_the_line)
{
    for (const cJSON *item = json_get(fixture, "rows")->child; item; item = item->next) {
        const char *format = item->child->valuestring, *text = item->child->next->valuestring;
        const char *expected = item->child->next->next->valuestring;
        struct text task = {0};
        cJSON *json = NULL;
        struct rows rows;
        text_printf(&task, "{\"text\":\"text\",\"label\":\"label\",\"format\":\"%s\"}", format);
        cr_assert_eq(json_parse(task.data, task.len, &json, &err), 0);
        temp_write(&temp, "rows", text, strlen(text));
        err = (struct err){0};
        int rc = rows_read(&rows, temp_path(&temp, "rows"), json, 0, &err);
        cr_expect_lt(rc, 0, "%s: '%s' was accepted", format, text);
        if (rc < 0)
            cr_expect(strstr(err.message, expected), "%s: '%s': '%s' is not in: %s", format, text, expected,
                      err.message);
        rows_done(&rows);
        json_free(json);
        text_done(&task);
    }
}
