/* Exports for other tools: forms checked by hand here; `make check-interop` opens them with the real programs. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "common/json.h"
#include "orchestrator/export.h"
#include "orchestrator/export_rows.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;
static int64_t sweep, trials[3];

/* A sweep 's' with a finished trial of rank 4 and a curve, a failed one, and a waiting one. */
static void fill_store(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "s");
    for (int i = 0; i < 3; i++)
        trials[i] = rows_trial(store, sweep, rows_configuration(store, sweep, i + 1), i + 1, 7);
    ROWS_APPLY(
        store, {.kind = STORE_PARAMETER_VALUE, .parameter_value = {.trial_id = trials[0], .name = "rank", .number = 4}},
        {.kind = STORE_PARAMETER_VALUE,
         .parameter_value = {.trial_id = trials[0], .name = "a,b", .text = "say \"hi\"\n"}},
        {.kind = STORE_PARAMETER_VALUE, .parameter_value = {.trial_id = trials[1], .name = "../up", .text = "x"}});
    rows_complete(store, trials[0], 0.1 + 0.2);
}
static void close_store(void)
{
    store_close(store);
    temp_close(&temp);
}
TestSuite(export, .init = fill_store, .fini = close_store);

static char *export_to(const char *name, const struct export_format *format)
{
    struct err err = {0};
    char *data = NULL, path[TEMP_PATH_SIZE + 256];
    size_t n;
    snprintf(path, sizeof(path), "%s", temp_path(&temp, name));
    struct export_request request = {path, store, (const char *const[]){"s"}, 1, NULL, 0};
    cr_assert_eq(format->write(&request, &err), 0, "%s", err.message);
    if (file_is_folder(path))
        return NULL;
    cr_assert_eq(file_read(path, 1 << 24, &data, &n, &err), 0, "%s", err.message);
    return data;
}

Test(export, csv_quotes_and_keeps_every_digit)
{
    char *csv = export_to("x.csv", &export_csv);
    cr_expect_not_null(strstr(csv, ",\"params.a,b\","), "%s", csv);
    cr_expect_not_null(strstr(csv, ",\"say \"\"hi\"\"\n\","), "%s", csv);
    cr_expect_not_null(strstr(csv, ",0.30000000000000004,"), "%s", csv);
    int rows = 0;
    for (const char *c = csv; (c = strstr(c, "\r\n")); c += 2)
        rows++;
    cr_expect_eq(rows, 4);
    free(csv);
}

Test(export, jsonl_is_an_object_a_trial)
{
    char *lines = export_to("x.jsonl", &export_jsonl), *rest = lines;
    for (int i = 0; i < 3; i++) {
        struct err err = {0};
        cJSON *root = NULL;
        size_t n = strcspn(rest, "\n");
        cr_assert_eq(json_parse(rest, n, &root, &err), 0, "%s", err.message);
        cr_expect_eq(json_get(root, "trial")->valueint, i + 1);
        cr_expect(cJSON_IsArray(json_get(root, "attempts")) && cJSON_IsObject(json_get(root, "metrics")));
        if (i == 0)
            cr_expect_eq(json_get(root, "value")->valuedouble, 0.1 + 0.2);
        rest += n + 1;
        json_free(root);
    }
    cr_expect_eq(*rest, '\0');
    free(lines);
}

/* The record at `*at` of a TFRecord file: its data and length; its checksum is compared below. */
static const char *next_record(const char *file, size_t *at, size_t *n)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | (unsigned char)file[*at + (size_t)i];
    const char *data = file + *at + 12;
    *n = length;
    *at += 16 + length;
    return data;
}

Test(export, tensorboard_writes_records_of_whole_runs)
{
    char path[TEMP_PATH_SIZE + 512], *file = NULL;
    struct err err = {0};
    size_t n, at = 0, length, records;
    export_to("tb", &export_tensorboard);
    snprintf(path, sizeof(path), "%s/s/trial-0003", temp_path(&temp, "tb"));
    cr_expect(file_is_folder(path), "the trial that waits has a run too");
    struct text name = {0};
    text_printf(&name, "%s/s/trial-0001/events.out.tfevents.%.0f.nightsweep", temp_path(&temp, "tb"),
                rows_number(store, "SELECT (julianday(MIN(started_at)) - 2440587.5) * 86400.0 FROM attempt"));
    cr_assert_eq(file_read(name.data, 1 << 20, &file, &n, &err), 0, "%s", err.message);
    const char *first = next_record(file, &at, &length);
    cr_expect_eq(memcmp(first + length - 13, "brain.Event:2", 13), 0);
    for (records = 1; at < n; records++)
        next_record(file, &at, &length);
    cr_expect_eq(at, n);
    cr_expect_eq(records, 4, "%zu records: version, experiment, session start and end", records);
    /* The length 24 of the first record as 8 bytes has this masked CRC-32C (worked out apart from our code). */
    cr_expect_eq((unsigned char)file[0], 24);
    cr_expect_eq(memcmp(file + 8, "\xa3\x7f\x4b\x22", 4), 0);
    free(file);
    text_done(&name);
}

Test(export, mlflow_names_stay_in_their_folder)
{
    export_to("ml", &export_mlflow);
    struct err err = {0};
    struct text find = {0};
    cr_expect_not(file_exists(temp_path(&temp, "ml/1/up")));
    /* '../up' is the folder '_.' with the file 'up' below params. */
    char run[HASH_HEX_SIZE], *data = NULL;
    size_t n;
    hash_bytes("s/2/id-2", 8, run);
    run[32] = '\0';
    text_printf(&find, "%s/1/%s/params/_./up", temp_path(&temp, "ml"), run);
    cr_assert_eq(file_read(find.data, 100, &data, &n, &err), 0, "%s", err.message);
    cr_expect_str_eq(data, "x");
    free(data);
    text_done(&find);
}

Test(export, journal_has_a_line_for_each_trial)
{
    char *journal = export_to("x.log", &export_optuna_journal);
    struct err err = {0};
    int lines = 0;
    for (char *line = journal, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        cJSON *root = NULL;
        cr_assert_eq(json_parse(line, (size_t)(end - line), &root, &err), 0, "%s", err.message);
        cr_expect_eq(json_get(root, "op_code")->valueint, lines == 0 ? 0 : lines == 1 ? 3 : 4);
        json_free(root);
    }
    cr_expect_eq(lines, 5);
    cr_expect_not_null(strstr(journal, "\"value\":0.30000000000000004"));
    free(journal);
}

Test(export, adapters_are_checked_against_their_hash)
{
    char hash[HASH_HEX_SIZE], path[TEMP_PATH_SIZE + 256], sql[TEMP_PATH_SIZE + 512];
    struct err err = {0};
    temp_write(&temp, "weights", "WEIGHTS", 7);
    hash_bytes("WEIGHTS", 7, hash);
    snprintf(
        sql, sizeof(sql),
        "UPDATE sweep SET output_folder = '%s',"
        " definition = '{\"model\":\"models/tiny\",\"task\":{\"kind\":\"classification\",\"train\":\"a|b.jsonl\"}}'",
        temp.folder);
    cr_assert_eq(sqlite3_exec(store_database(store), sql, NULL, NULL, NULL), SQLITE_OK);
    snprintf(sql, sizeof(sql), "INSERT INTO artifact VALUES (%d, 'adapter', 'weights', 7, '%s')", (int)trials[0], hash);
    cr_assert_eq(sqlite3_exec(store_database(store), sql, NULL, NULL, NULL), SQLITE_OK);
    ROWS_APPLY(
        store,
        {.kind = STORE_INPUT, .input = {.sweep_id = sweep, .role = "train", .path = "/d/a|b.jsonl", .sha256 = "00"}},
        {.kind = STORE_INPUT,
         .input = {sweep, .role = "model", "/m/tiny", "11", .license = "mit", .license_source = "README.md"}});
    snprintf(path, sizeof(path), "%s", temp_path(&temp, "out"));
    struct export_request request = {path, store, (const char *const[]){"s"}, 1, NULL, 0};
    cr_assert_eq(export_adapters.write(&request, &err), 0, "%s", err.message);
    char *card = NULL;
    size_t n;
    cr_assert_eq(file_read(temp_path(&temp, "out/s-0001-lora/README.md"), 1 << 20, &card, &n, &err), 0, "%s",
                 err.message);
    cr_expect_not_null(strstr(card, hash));
    cr_expect_not_null(strstr(card, "base_model: \"tiny\""));
    cr_expect_not_null(strstr(card, "## Data"));
    cr_expect_not_null(strstr(card, "| `train` | `\"a\\|b.jsonl\"` |"), "%s", card);
    cr_expect_not_null(strstr(card, "| model | `tiny` | mit | README.md |\n| train | `a\\|b.jsonl` | not said |  |\n"),
                       "%s", card);
    cr_expect(file_exists(temp_path(&temp, "out/s-0001-lora/weights")));
    free(card);
    temp_write(&temp, "weights", "CHANGED", 7);
    cr_expect_eq(export_adapters.write(&request, &err), ERR_DATA);
    cr_expect_not_null(strstr(err.message, "changed after training"), "%s", err.message);
    request.trials = (const int64_t[]){9};
    request.n_trials = 1;
    cr_expect_eq(export_adapters.write(&request, &err), ERR_NOT_FOUND);
}
