/* Tests of orchestrator/store, store_migrate and store_read: real files; what is refused stays untouched. */
#include "orchestrator/store.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/file.h"
#include "common/hash.h"
#include "orchestrator/store_internal.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static char path[TEMP_PATH_SIZE + 256];

static void setup(void)
{
    temp_open(&temp);
    memcpy(path, temp_path(&temp, "x.db"), sizeof path);
}

static void teardown(void)
{
    temp_close(&temp);
}

TestSuite(store, .init = setup, .fini = teardown);

static void refuse_open(enum store_mode mode, int code, const char *part)
{
    struct store *store = NULL;
    struct err err = {0};
    cr_assert_eq(store_open(&store, path, mode, &err), code, "'%s'", err.message);
    cr_assert_null(store);
    cr_assert_not_null(strstr(err.message, part), "'%s' is not in '%s'", part, err.message);
}

/* SQL on the file behind the store's back. */
static void meddle(const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    sqlite3_close(db);
}

Test(store, creates_a_file_with_its_settings)
{
    memcpy(path, temp_path(&temp, "new/folder/x.db"), sizeof path);
    struct store *store = rows_open(path);
    cr_assert_str_eq(store_path(store), path);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), STORE_VERSION);
    cr_assert_eq(rows_number(store, "PRAGMA application_id"), STORE_APPLICATION_ID);
    cr_assert_eq(rows_number(store, "PRAGMA synchronous"), 2); /* FULL */
    cr_assert_eq(rows_number(store, "PRAGMA foreign_keys"), 1);
    char *mode = rows_text(store, "PRAGMA journal_mode");
    cr_assert_str_eq(mode, "wal");
    free(mode);
    cr_assert_eq(store_new_id(store, STORE_TRIAL), 1);
    cr_assert_eq(store_new_id(store, STORE_TRIAL), 2);
    cr_assert_eq(store_new_id(store, STORE_ATTEMPT), 1);
    store_close(store);
    store_close(NULL);
}

Test(store, ids_go_on_after_the_largest)
{
    struct store *store = rows_open(path);
    int64_t sweep = rows_sweep(store, "s"), configuration = rows_configuration(store, sweep, 1);
    rows_attempt(store, rows_trial(store, sweep, configuration, 1, 11));
    store_close(store);
    store = rows_open(path);
    cr_assert_eq(store_new_id(store, STORE_SWEEP), 2);
    cr_assert_eq(store_new_id(store, STORE_CONFIGURATION), 2);
    cr_assert_eq(store_new_id(store, STORE_TRIAL), 2);
    cr_assert_eq(store_new_id(store, STORE_ATTEMPT), 2);
    store_close(store);
}

Test(store, one_writer_many_readers)
{
    struct store *store = rows_open(path), *reader = NULL;
    struct err err;
    char holder[64];
    snprintf(holder, sizeof holder, "held by process %d on host '", (int)getpid());
    refuse_open(STORE_WRITE, ERR_BUSY, holder);
    cr_assert_eq(store_open(&reader, path, STORE_READ, &err), 0, "%s", err.message);
    rows_sweep(store, "s");
    cr_assert_eq(rows_number(reader, "SELECT COUNT(*) FROM sweep"), 1);
    cr_assert_eq(sqlite3_exec(store_database(reader), "DELETE FROM sweep", NULL, NULL, NULL), SQLITE_READONLY);
    store_close(store);
    cr_assert_eq(rows_number(reader, "SELECT COUNT(*) FROM sweep"), 1);
    store_close(reader);
    store_close(rows_open(path));
}

Test(store, missing_empty_and_foreign_files)
{
    refuse_open(STORE_READ, ERR_NOT_FOUND, "there is no store '");
    temp_write(&temp, "x.db", "", 0);
    refuse_open(STORE_READ, ERR_NOT_FOUND, "there is no store '");
    temp_write(&temp, "x.db", "this is a text, and a rather long one at that", 45);
    refuse_open(STORE_READ, ERR_STORE, "is not an SQLite database");
    refuse_open(STORE_WRITE, ERR_STORE, "is not an SQLite database");
    cr_assert_eq(unlink(path), 0);
    meddle("CREATE TABLE song (title)");
    refuse_open(STORE_WRITE, ERR_STORE, "database of another program");
    cr_assert_eq(unlink(path), 0);
    temp_write(&temp, "x.db", "", 0);
    store_close(rows_open(path)); /* an empty file becomes a store */
}

Test(store, newer_version_is_refused_untouched)
{
    struct stat before, after;
    store_close(rows_open(path));
    meddle("PRAGMA user_version = 99; PRAGMA journal_mode = DELETE");
    cr_assert_eq(stat(path, &before), 0);
    refuse_open(STORE_WRITE, ERR_STORE, "has version 99, written by a newer program; this one reads up to 4");
    refuse_open(STORE_READ, ERR_STORE, "has version 99");
    cr_assert_eq(stat(path, &after), 0);
    cr_assert_eq(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
    cr_assert_eq(before.st_size, after.st_size);
    cr_assert_neq(access(temp_path(&temp, "x.db-wal"), F_OK), 0);
    cr_assert_neq(access(temp_path(&temp, "x.db.v99.bak"), F_OK), 0);
}

Test(store, damage_is_noticed)
{
    struct store *store = rows_open(path);
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "sweep %d", i);
        rows_sweep(store, name);
    }
    double pages = rows_number(store, "PRAGMA page_count");
    store_close(store);
    /* Garbage over a page in the middle of what was written. */
    FILE *file = fopen(path, "r+b");
    cr_assert_not_null(file);
    for (long page = 3; page < (long)pages; page += 2) {
        cr_assert_eq(fseek(file, page * 4096, SEEK_SET), 0);
        for (int i = 0; i < 4096; i++)
            cr_assert_neq(fputc(0x5a, file), EOF);
    }
    fclose(file);
    refuse_open(STORE_WRITE, ERR_STORE, "is damaged: ");
    cr_assert_eq(truncate(path, 4096 * 3 + 100), 0);
    refuse_open(STORE_WRITE, ERR_STORE, "is damaged: ");
}

/* Where hosts share the file there is no write-ahead log; the store goes from one to the other and back. */
Test(store, a_rollback_journal_can_stand_in_for_the_write_ahead_log)
{
    static const char *const modes[] = {"rollback", "wal", "rollback", NULL};
    static const char *const found[] = {"truncate", "wal", "truncate", "wal"};
    struct store *reader = NULL;
    struct err err = {0};
    for (int i = 0; i < 4; i++) {
        char name[32];
        if (modes[i])
            setenv("NIGHTSWEEP_JOURNAL", modes[i], 1);
        else
            unsetenv("NIGHTSWEEP_JOURNAL");
        struct store *store = rows_open(path);
        char *mode = rows_text(store, "PRAGMA journal_mode");
        cr_expect_str_eq(mode, found[i]);
        free(mode);
        snprintf(name, sizeof name, "sweep %d", i);
        rows_sweep(store, name);
        cr_assert_eq(store_open(&reader, path, STORE_READ, &err), 0, "%s", err.message);
        cr_expect_eq(rows_number(reader, "SELECT count(*) FROM sweep"), i + 1);
        store_close(reader);
        store_close(store);
    }
    setenv("NIGHTSWEEP_JOURNAL", "none", 1);
    refuse_open(STORE_WRITE, ERR_USAGE, "NIGHTSWEEP_JOURNAL: 'none', wal or rollback was expected");
    unsetenv("NIGHTSWEEP_JOURNAL");
}

/* A copy of what a kill would leave: the file and its write-ahead log, which closing would empty. */
static void copy_live(const char *suffix, char *out, size_t size)
{
    char *data = NULL, from[TEMP_PATH_SIZE + 300];
    size_t len = 0;
    struct err err = {0};
    snprintf(from, sizeof from, "%s%s", path, suffix);
    snprintf(out, size, "%s", temp_path(&temp, "killed.db"));
    snprintf(out + strlen(out), size - strlen(out), "%s", suffix);
    cr_assert_eq(file_read(from, 1 << 26, &data, &len, &err), 0, "%s", err.message);
    cr_assert_eq(file_write_atomic(out, data, len, &err), 0, "%s", err.message);
    free(data);
}

static void spoil(const char *file, long at)
{
    FILE *out = fopen(file, "r+b");
    cr_assert_not_null(out);
    cr_assert_eq(fseek(out, at, SEEK_SET), 0);
    int c = fgetc(out);
    cr_assert_eq(fseek(out, at, SEEK_SET), 0);
    cr_assert_neq(fputc(c ^ 0x41, out), EOF);
    fclose(out);
}

/* SQLite itself takes damage for the log's end, and what was acknowledged behind it would be gone without a word. */
Test(store, a_spoilt_page_of_the_write_ahead_log_is_noticed)
{
    enum { FRAME = 24 + 4096, HEADER = 32 };
    static const struct {
        const char *what;
        int from_end, at; /* the frame, counted from the last; the byte of it */
        bool is_noticed;
    } cases[] = {{"whole", 0, -1, false},         {"a page", 8, 1000, true},   {"a page's number", 8, 1, true},
                 {"salts", 9, 9, true},           {"a checksum", 9, 17, true}, {"the first page", 0, 24 + 7, true},
                 {"the last page", 1, 24, false}, {"its end", 1, 5, false}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char file[TEMP_PATH_SIZE + 300], log[TEMP_PATH_SIZE + 300];
        struct stat info;
        struct err err = {0};
        unlink(path);
        struct store *store = rows_open(path);
        for (int k = 0; k < 30; k++) {
            char name[32];
            snprintf(name, sizeof name, "sweep %d", k);
            rows_sweep(store, name); /* a transaction each */
        }
        copy_live("", file, sizeof file);
        copy_live("-wal", log, sizeof log);
        store_close(store);
        cr_assert_eq(stat(log, &info), 0);
        long n = (info.st_size - HEADER) / FRAME;
        cr_assert_gt(n, 30);
        if (cases[i].at >= 0)
            spoil(log, HEADER + FRAME * (cases[i].from_end ? n - cases[i].from_end : 0) + cases[i].at);
        store = NULL;
        int rc = store_open(&store, file, STORE_WRITE, &err);
        cr_expect_eq(rc, cases[i].is_noticed ? ERR_STORE : 0, "%s: %s", cases[i].what, err.message);
        if (cases[i].is_noticed)
            cr_expect_not_null(strstr(err.message, "of its write-ahead log"), "%s: %s", cases[i].what, err.message);
        if (rc == 0)
            cr_expect_geq(rows_number(store, "SELECT count(*) FROM sweep"), 29, "%s", cases[i].what);
        store_close(store);
    }
}

Test(store, references_are_checked)
{
    struct store *store = rows_open(path);
    struct err err = {0};
    rows_sweep(store, "s");
    cr_assert_eq(store_check(store, &err), 0, "%s", err.message);
    store_close(store);
    meddle("PRAGMA foreign_keys = OFF; INSERT INTO objective VALUES (77, 0, 'm', 'minimize')");
    store = rows_open(path);
    cr_assert_eq(store_check(store, &err), ERR_STORE);
    cr_assert_not_null(strstr(err.message, "a row of 'objective' refers to one of 'sweep' that is not there"), "%s",
                       err.message);
    store_close(store);
}

/* Made-up later versions: the ways of migration are tested before there is one. */
static const struct store_migration migrations[] = {
    {STORE_VERSION, "ALTER TABLE sweep ADD COLUMN mood TEXT"},
    {STORE_VERSION + 1, "UPDATE sweep SET mood = 'calm'"},
    {STORE_VERSION + 2, "UPDATE sweep SET mood = 'never'; DELETE FROM sweep"}, /* leaves objectives without sweep */
    {STORE_VERSION + 3, "THIS IS NO SQL"},
};

Test(store, migrates_forward_after_a_backup)
{
    struct store *store = rows_open(path);
    struct err err;
    rows_sweep(store, "s");
    cr_assert_eq(store_migrate(store, migrations, 4, STORE_VERSION + 2, &err), 0, "%s", err.message);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), STORE_VERSION + 2);
    cr_assert_eq(rows_number(store, "PRAGMA foreign_keys"), 1);
    char *mood = rows_text(store, "SELECT mood FROM sweep");
    cr_assert_str_eq(mood, "calm");
    free(mood);
    store_close(store);
    /* The backup is the store as it was, and opens. */
    memcpy(path, temp_path(&temp, "x.db.v4.bak"), sizeof path);
    store = rows_open(path);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM sweep"), 1);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM pragma_table_info('sweep') WHERE name = 'mood'"), 0);
    store_close(store);
    cr_assert_eq(access(temp_path(&temp, "x.db.v5.bak"), F_OK), 0);
    cr_assert_neq(access(temp_path(&temp, "x.db.v5.bak.tmp"), F_OK), 0);
}

Test(store, failed_migration_changes_nothing)
{
    struct store *store = rows_open(path);
    struct err err;
    rows_sweep(store, "s");
    cr_assert_eq(store_migrate(store, migrations, 4, STORE_VERSION + 3, &err), ERR_STORE);
    cr_assert_not_null(strstr(err.message, "stays at version 6: "), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "a row of 'objective' refers to"), "%s", err.message);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), STORE_VERSION + 2);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM sweep WHERE mood = 'calm'"), 1);
    cr_assert_eq(sqlite3_exec(store_database(store), "PRAGMA user_version = 7", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(store_migrate(store, migrations, 4, 8, &err), ERR_INTERNAL);
    cr_assert_not_null(strstr(err.message, "syntax error"), "%s", err.message);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), 7);
    cr_assert_eq(store_migrate(store, migrations, 4, 9, &err), ERR_INTERNAL);
    cr_assert_eq(store_migrate(store, migrations, 0, 9, &err), ERR_STORE);
    cr_assert_not_null(strstr(err.message, "no way leads from there to version 9"), "%s", err.message);
    store_close(store);
}

static void read_fixture(const char *fixture)
{
    char *sql = NULL;
    size_t size = 0;
    FILE *file = fopen(fixture, "rb");
    cr_assert_not_null(file, "%s", fixture);
    cr_assert_gt(getdelim(&sql, &size, '\0', file), 0);
    fclose(file);
    meddle(sql);
    free(sql);
}

/* A store of every version that ever was opens, and goes on. */
static void fixture_goes_on(const char *fixture)
{
    struct store_loaded loaded;
    struct arena arena = {0};
    struct err err;
    read_fixture(fixture);
    struct store *store = rows_open(path);
    cr_assert_eq(store_check(store, &err), 0, "%s", err.message);
    cr_assert_eq(store_load(store, "ranks", &arena, &loaded, &err), 0, "%s", err.message);
    cr_assert_eq(loaded.n_configurations, 2);
    cr_assert_eq(loaded.n_trials, 3);
    cr_assert_eq(loaded.trials[0].state, TRIAL_COMPLETE);
    cr_assert_eq(loaded.trials[0].value.value, 0.875);
    cr_assert_eq(loaded.trials[1].state, TRIAL_FAILED);
    cr_assert_eq(loaded.trials[1].reason, REASON_DIVERGED);
    /* Was RUNNING when it was dumped. */
    cr_assert_eq(loaded.trials[2].state, TRIAL_WAITING);
    cr_assert_eq(loaded.trials[2].attempts[ATTEMPT_INTERRUPTED], 1);
    cr_assert_str_eq(loaded.trials[2].checkpoint_path, "/runs/ranks/3/3-20.checkpoint");
    rows_complete(store, loaded.trials[2].id, 0.5);
    cr_assert_eq(rows_number(store, "SELECT mean FROM leaderboard WHERE rank = 1"), 0.875);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM curve WHERE sweep = 'ranks' AND trial = 1"), 4);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), STORE_VERSION);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"), 2);
    arena_done(&arena);
    store_close(store);
}

Test(store, fixture_of_version_1)
{
    fixture_goes_on("tests/fixtures/store-v1.sql");
    cr_assert_eq(access(temp_path(&temp, "x.db.v1.bak"), F_OK), 0);
}

Test(store, fixture_of_version_2)
{
    fixture_goes_on("tests/fixtures/store-v2.sql");
    cr_assert_eq(access(temp_path(&temp, "x.db.v2.bak"), F_OK), 0);
}

Test(store, fixture_of_version_3)
{
    fixture_goes_on("tests/fixtures/store-v3.sql");
    cr_assert_eq(access(temp_path(&temp, "x.db.v3.bak"), F_OK), 0);
}

/* Reading changes nothing in a file of an earlier version, and shows what this program shows. */
Test(store, earlier_version_is_read_and_left_as_it_is)
{
    struct err err = {0};
    struct store *store = NULL;
    read_fixture("tests/fixtures/store-v1.sql");
    char before[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
    cr_assert_eq(hash_file(path, before, &err), 0);
    cr_assert_eq(store_open(&store, path, STORE_READ, &err), 0, "%s", err.message);
    cr_assert_eq(rows_number(store, "PRAGMA user_version"), STORE_VERSION);
    cr_assert_eq(rows_number(store, "SELECT mean FROM leaderboard WHERE rank = 1"), 0.875);
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM trials"), 3); /* a view of version 2 */
    store_close(store);
    cr_assert_eq(hash_file(path, after, &err), 0);
    cr_assert_str_eq(before, after);
    cr_assert_neq(access(temp_path(&temp, "x.db.v1.bak"), F_OK), 0);
}

/* What the migrations make of the first version is what a new store begins with. */
Test(store, migrated_schema_is_the_new_one)
{
    static const char sql[] = "SELECT group_concat(type || name || sql, x'0a') FROM (SELECT * FROM sqlite_master "
                              "WHERE sql IS NOT NULL ORDER BY name)";
    read_fixture("tests/fixtures/store-v1.sql");
    struct store *store = rows_open(path);
    char *migrated = rows_text(store, sql);
    store_close(store);
    char fresh[4096];
    memcpy(fresh, temp_path(&temp, "new.db"), sizeof fresh);
    store = rows_open(fresh);
    char *created = rows_text(store, sql);
    cr_assert_str_eq(migrated, created);
    free(migrated);
    free(created);
    store_close(store);
}

/* A coordinator that dies with trials in every state. */
Test(store, recovers_what_ran)
{
    struct store_loaded loaded;
    struct arena arena = {0};
    struct err err;
    struct store *store = rows_open(path);
    int64_t sweep = rows_sweep(store, "s"), trials[5];
    int64_t configuration = rows_configuration(store, sweep, 1);
    for (int i = 0; i < 5; i++)
        trials[i] = rows_trial(store, sweep, configuration, i + 1, i);
    rows_complete(store, trials[0], 0.5);
    rows_attempt(store, trials[1]);
    int64_t attempt = rows_attempt(store, trials[2]);
    ROWS_APPLY(store, {.kind = STORE_END_ATTEMPT, .end_attempt = {.attempt_id = attempt, .state = ATTEMPT_STOPPED}},
               {.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = trials[2], .to = TRIAL_PAUSED}});
    attempt = rows_attempt(store, trials[3]);
    ROWS_APPLY(store,
               {.kind = STORE_END_ATTEMPT,
                .end_attempt = {.attempt_id = attempt, .state = ATTEMPT_FAILED, .reason = REASON_CRASHED}},
               {.kind = STORE_MOVE_TRIAL, .move_trial = {.trial_id = trials[3], .to = TRIAL_WAITING}});
    rows_attempt(store, trials[3]);
    store_close(store);

    store = rows_open(path);
    cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), 0, "%s", err.message);
    static const enum trial_state expected[5] = {TRIAL_COMPLETE, TRIAL_WAITING, TRIAL_PAUSED, TRIAL_WAITING,
                                                 TRIAL_WAITING};
    static const int interrupted[5] = {0, 1, 0, 1, 0}, failed[5] = {0, 0, 0, 1, 0};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(loaded.trials[i].state, expected[i], "trial %d", i);
        cr_assert_eq(loaded.trials[i].attempts[ATTEMPT_INTERRUPTED], interrupted[i], "trial %d", i);
        cr_assert_eq(loaded.trials[i].attempts[ATTEMPT_FAILED], failed[i], "trial %d", i);
        cr_assert_eq(loaded.trials[i].attempts[ATTEMPT_RUNNING], 0, "trial %d", i);
    }
    char *message = rows_text(store, "SELECT message FROM event WHERE kind = 'recovered'");
    cr_assert_str_eq(message, "2 trials that were running go on from their checkpoints");
    free(message);
    arena_done(&arena);
    store_close(store);
    store = rows_open(path); /* nothing to recover: nothing is written */
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM event"), 1);
    store_close(store);
}

Test(store, loads_what_the_coordinator_needs)
{
    struct store_loaded loaded;
    struct arena arena = {0};
    struct err err = {0};
    const char *const *names = NULL;
    int64_t id = 5;
    struct store *store = rows_open(path);
    cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "there is no sweep 's' in '"), "%s", err.message);
    int64_t sweep = rows_sweep(store, "sums");
    cr_assert_eq(store_load(store, "sumz", &arena, &loaded, &err), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err.message, "nearest is 'sums'"), "%s", err.message);
    cr_assert_eq(store_load(store, "sums", &arena, &loaded, &err), 0, "%s", err.message);
    cr_assert_eq(loaded.n_trials + loaded.n_configurations, 0);

    int64_t other = rows_sweep(store, "other"), other_configuration = rows_configuration(store, other, 1);
    rows_trial(store, other, other_configuration, 1, 1);
    int64_t ended = rows_configuration(store, sweep, 1), open = rows_configuration(store, sweep, 2);
    rows_configuration(store, sweep, 3);
    int64_t first = rows_trial(store, sweep, ended, 1, -3);
    int64_t second = rows_trial(store, sweep, open, 2, INT64_MAX);
    rows_complete(store, first, 0.25);
    int64_t attempt = rows_attempt(store, second);
    ROWS_APPLY(store, {.kind = STORE_CHECKPOINT,
                       .checkpoint = {.attempt_id = attempt, .step = 40, .path = "/c", .bytes = 9, .sha256 = "c0"}});

    cr_assert_eq(store_load(store, "sums", &arena, &loaded, &err), 0, "%s", err.message);
    cr_assert_eq(loaded.sweep.id, sweep);
    cr_assert_str_eq(loaded.sweep.name, "sums");
    cr_assert_str_eq(loaded.sweep.output_folder, "/runs");
    cr_assert_eq(loaded.sweep.seed, 7);
    cr_assert_eq(loaded.sweep.state, SWEEP_OPEN);
    cr_assert_eq(loaded.n_configurations, 3);
    cr_assert_null(loaded.configurations[0].settings); /* all its trials are final */
    cr_assert_str_eq(loaded.configurations[1].settings, "{\"method\":\"lora\",\"rank\":2}");
    cr_assert_not_null(loaded.configurations[2].settings);
    cr_assert_str_eq(loaded.configurations[0].parameters, "{\"rank\":1}");
    cr_assert_eq(loaded.n_trials, 2);
    const struct store_trial *a = &loaded.trials[0], *b = &loaded.trials[1];
    cr_assert_eq(a->state, TRIAL_COMPLETE);
    cr_assert_eq(a->value.value, 0.25);
    cr_assert_eq(a->seed, -3);
    cr_assert_eq(a->seconds, 1.5);
    cr_assert_eq(a->attempts[ATTEMPT_COMPLETE], 1);
    cr_assert_null(a->checkpoint_path);
    cr_assert_eq(b->state, TRIAL_RUNNING);
    cr_assert_not(b->value.is_known);
    cr_assert_eq(b->seed, INT64_MAX);
    cr_assert_eq(b->configuration, 1);
    cr_assert_eq(b->configuration_id, open);
    cr_assert_str_eq(b->identity, "id-2");
    cr_assert_eq(b->checkpoint_step, 40);
    cr_assert_str_eq(b->checkpoint_path, "/c");
    cr_assert_eq(b->steps, 40);

    cr_assert_eq(store_sweep_names(store, &arena, &names, &err), 0);
    cr_assert_str_eq(names[0], "sums");
    cr_assert_str_eq(names[1], "other");
    cr_assert_null(names[2]);
    cr_assert_eq(store_find_sweep(store, "other", &id, &err), 0);
    cr_assert_eq(id, other);
    cr_assert_eq(store_find_sweep(store, "none", &id, &err), 0);
    cr_assert_eq(id, 0);
    arena_done(&arena);
    store_close(store);
}

Test(store, loading_into_a_small_arena_is_an_error)
{
    struct store_loaded loaded = {.n_trials = 77};
    struct err err = {0};
    struct store *store = rows_open(path);
    int64_t sweep = rows_sweep(store, "s"), configuration = rows_configuration(store, sweep, 1);
    for (int i = 1; i <= 100; i++)
        rows_trial(store, sweep, configuration, i, i);
    for (size_t limit = 1; limit < 70000; limit += 10000) {
        struct arena arena;
        arena_init(&arena, limit);
        cr_assert_eq(store_load(store, "s", &arena, &loaded, &err), ERR_NOMEM, "%zu", limit);
        cr_assert_eq(loaded.n_trials, 77);
        arena_done(&arena);
    }
    cr_assert_eq(rows_number(store, "SELECT COUNT(*) FROM trial"), 100);
    rows_sweep(store, "not in a transaction any more");
    store_close(store);
}
