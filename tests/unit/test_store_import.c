/* Tests of orchestrator/store_import and store_care: a whole store copied into another, row by row; backups. */
#include "orchestrator/store_import.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/hash.h"
#include "orchestrator/store_care.h"
#include "orchestrator/store_internal.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static char here[TEMP_PATH_SIZE + 256], there[TEMP_PATH_SIZE + 256];

static void setup(void)
{
    temp_open(&temp);
    snprintf(here, sizeof here, "%s", temp_path(&temp, "here.db"));
    snprintf(there, sizeof there, "%s", temp_path(&temp, "there.db"));
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(store_import, .init = setup, .fini = teardown);

static void meddle(const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void read_fixture(const char *fixture, const char *path)
{
    char *sql = NULL;
    size_t size = 0;
    struct err err;
    cr_assert_eq(file_read(fixture, 1 << 20, &sql, &size, &err), 0, "%s", err.message);
    meddle(path, sql);
    free(sql);
}

static int import_all(struct store *store, const char *as, struct store_import *import, struct err *err)
{
    *import = (struct store_import){.other = there, .as = as};
    return store_import_sweeps(store, import, err);
}

static void expect_equal(struct store *store, const char *a, const char *b)
{
    char *x = rows_text(store, a), *y = rows_text(store, b);
    cr_expect_str_eq(x, y, "%s", a);
    cr_expect_str_neq(x, "NULL", "%s compares nothing", a);
    free(x);
    free(y);
}

/* A row in every table, so that a table that is forgotten is seen. */
static const char rows[] =
    "UPDATE sweep SET archived_at = '2026-01-01';"
    "INSERT INTO input VALUES (1, 'model', '/m', 'aa', 'apache-2.0', '/m/README.md');"
    "INSERT OR IGNORE INTO objective_value VALUES (1, 0, 0.875);"
    "INSERT OR IGNORE INTO decision VALUES (77, 1, 1, 'person', 3, 'stop', 'because', 'now');"
    "INSERT OR IGNORE INTO event VALUES (77, 1, 1, 'study', '{}', 'now');"
    "INSERT OR IGNORE INTO evaluation VALUES (77, 1, 'test', 9, 1, 2, '{}', 'ff', x'0102');"
    "INSERT OR IGNORE INTO bias_check VALUES (77, 1, '0:x', 'flip', 2, 0.1, 0.2, 0.1, 0, 1, 'ff', '[]');"
    "INSERT OR IGNORE INTO parameter_value VALUES (1, 'rank', 8);"
    "INSERT INTO origin VALUES (1, 'model', 'all', 'earlier', 2, 'i', '/runs/ranks/from-earlier-2', 'h');";

Test(store_import, every_row_of_an_earlier_version_arrives)
{
    struct store_import import;
    struct err err = {0};
    char before[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
    read_fixture("tests/fixtures/store-v2.sql", there);
    store_close(rows_open(there)); /* brings it up to date, and settles what ran */
    meddle(there, rows);
    struct store *store = rows_open(here);
    int64_t own = rows_sweep(store, "own");
    rows_complete(store, rows_trial(store, own, rows_configuration(store, own, 1), 1, 5), 0.5);
    cr_assert_eq(hash_file(there, before, &err), 0);
    cr_assert_eq(import_all(store, NULL, &import, &err), 0, "%s", err.message);
    cr_assert_eq(hash_file(there, after, &err), 0);
    cr_assert_str_eq(before, after);
    cr_assert_eq(import.n_sweeps, 1);
    cr_assert_eq(import.n_trials, 3);
    cr_assert(import.n_missing > 0, "the fixture's files are not there");
    cr_assert_eq(store_check(store, &err), 0, "%s", err.message);
    char sql[4800];
    snprintf(sql, sizeof sql, "ATTACH '%s' AS other", there);
    cr_assert_eq(sqlite3_exec(store_database(store), sql, NULL, NULL, NULL), SQLITE_OK);
    /* As many rows in every table as both had together. */
    static const char *const tables[] = {
        "sweep",           "input",           "origin",   "objective",   "configuration", "trial",
        "objective_value", "parameter_value", "attempt",  "metric",      "evaluation",    "bias_check",
        "checkpoint",      "artifact",        "decision", "metric_name", "environment",   "event"};
    static const int own_rows[] = {1, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1 /* imported */};
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'table'"),
                 sizeof(tables) / sizeof(*tables), "a table is not in this test, and perhaps not imported");
    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
        snprintf(sql, sizeof sql, "SELECT (SELECT COUNT(*) FROM main.%s) - (SELECT COUNT(*) FROM other.%s)", tables[i],
                 tables[i]);
        cr_expect_eq(rows_number(store, sql), own_rows[i], "%s", tables[i]);
        snprintf(sql, sizeof sql, "SELECT COUNT(*) FROM other.%s", tables[i]);
        cr_expect(rows_number(store, sql) > 0, "nothing to compare in %s", tables[i]);
    }
    /* Columns that were copied, without ids. */
    expect_equal(
        store, "SELECT group_concat(quote(value) || step || metric) FROM main.curve WHERE sweep = 'ranks'",
        "SELECT group_concat(quote(m.value) || m.step || n.name) FROM other.metric m JOIN other.metric_name n ON "
        "n.id = m.name_id");
    expect_equal(store,
                 "SELECT group_concat(worker || state || number || started_at || e.cpu) FROM main.attempt a "
                 "JOIN main.environment e ON e.id = a.environment_id WHERE a.id > 1",
                 "SELECT group_concat(worker || state || number || started_at || e.cpu) FROM other.attempt a "
                 "JOIN other.environment e ON e.id = a.environment_id");
    expect_equal(store, "SELECT k.path FROM main.checkpoint k",
                 "SELECT x.output_folder || '/3/3-20.checkpoint' FROM main.sweep x WHERE name = 'ranks'");
    store_close(store);
}

Test(store_import, names_that_are_taken_and_folders_in_the_way)
{
    struct store_import import;
    struct err err = {0};
    struct store *other = rows_open(there);
    rows_sweep(other, "s");
    store_close(other);
    struct store *store = rows_open(here);
    cr_assert_eq(import_all(store, NULL, &import, &err), 0, "%s", err.message);
    cr_assert_eq(import_all(store, NULL, &import, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "there is a sweep 's'"), "%s", err.message);
    cr_assert_eq(import_all(store, "a/b", &import, &err), ERR_USAGE);
    cr_assert_eq(import_all(store, "again", &import, &err), 0, "%s", err.message);
    cr_assert_eq(file_make_folders(temp_path(&temp, "here/third"), &err), 0);
    cr_assert_eq(import_all(store, "third", &import, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "is there already"), "%s", err.message);
    /* What an import that was killed left is done again. */
    temp_write(&temp, "here/third/.importing", "", 0);
    cr_assert_eq(import_all(store, "third", &import, &err), 0, "%s", err.message);
    cr_assert_not(file_exists(temp_path(&temp, "here/third/.importing")));
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM sweep"), 3);
    snprintf(there, sizeof there, "%s", here);
    cr_assert_eq(import_all(store, "x", &import, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "the store itself"), "%s", err.message);
    temp_write(&temp, "junk.db", "this is no database, but long enough", 36);
    snprintf(there, sizeof there, "%s", temp_path(&temp, "junk.db"));
    cr_assert_eq(import_all(store, NULL, &import, &err), ERR_STORE);
    cr_assert_not(file_exists(temp_path(&temp, "here.db.import.tmp")));
    store_close(store);
}

Test(store_import, backup_of_a_live_store)
{
    struct err err = {0};
    int64_t bytes = 0;
    struct store *store = rows_open(here), *reader = NULL;
    rows_sweep(store, "s");
    cr_assert_eq(store_open(&reader, here, STORE_READ, &err), 0);
    cr_assert_eq(store_backup(reader, there, &bytes, &err), 0, "%s", err.message);
    cr_assert(bytes > 0);
    cr_assert_eq(store_backup(reader, there, &bytes, &err), ERR_USAGE);
    cr_assert_not(file_exists(temp_path(&temp, "there.db.tmp")));
    store_close(reader);
    cr_assert_eq(store_open(&reader, there, STORE_READ, &err), 0, "%s", err.message);
    cr_assert_eq(rows_number(reader, "SELECT COUNT(*) FROM sweep"), 1);
    store_close(reader);
    cr_assert_eq(store_shrink(store, &err), 0, "%s", err.message);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM sweep"), 1);
    store_close(store);
}

Test(store_import, below)
{
    cr_assert(disk_is_below("/a/b", "/a") && disk_is_below("/a", "/a"));
    cr_assert_not(disk_is_below("/ab", "/a") || disk_is_below("/", "/a"));
}
