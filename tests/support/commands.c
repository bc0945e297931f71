/* Subcommands in the process of the test: see commands.h. */
#include "tests/support/commands.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "orchestrator/command.h"
#include "tests/support/store_rows.h"

struct temp commands_temp;
static struct err err;
static char *image; /* the store as every call finds it */
static size_t image_bytes;

/* Nine trials of three methods with what compare, explain, the page and the other exports read. An item is label,
 * prediction, loss and two probabilities, little-endian. */
static const char rows[] =
    "INSERT INTO objective VALUES (1, 1, 'bias/flip_rate', 'minimize');"
    "INSERT INTO configuration SELECT 10 + n, 1, 10 + n, 'search', "
    "  json_object('method', m, 'rank', n), json_object('method', m, 'rank', n, 'epochs', 2) FROM"
    "  (SELECT 0 AS n, 'full' AS m UNION SELECT 1, 'lora' UNION SELECT 2, 'bitfit');"
    "INSERT INTO trial SELECT 100 + 3 * n + s, 1, 10 + n, 100 + 3 * n + s, 100 + s, 'x' || n || s, 'COMPLETE', NULL, "
    "  NULL, 0.7 + 0.02 * n + 0.001 * s, 40, 40, 1154 * (1 + n), 4616, 1e9, '2026-11-24 10:00:00.000', "
    "  '2026-11-24 10:00:10.000' FROM (SELECT 0 AS n UNION SELECT 1 UNION SELECT 2), (SELECT 0 AS s UNION SELECT 1 "
    "UNION"
    "  SELECT 2);"
    "INSERT INTO attempt SELECT id, id, 1, 1, 'COMPLETE', NULL, NULL, 'node1/0', 0, 0, 1, 0, NULL, 9.5, 2000.0, 1e8, "
    "  'done', '2026-11-24 10:00:00.000', '2026-11-24 10:00:10.000' FROM trial WHERE id >= 100;"
    "INSERT INTO objective_value SELECT id, 0, value FROM trial WHERE id >= 100;"
    "INSERT INTO objective_value SELECT id, 1, 0.1 + 0.001 * id FROM trial WHERE id >= 100;"
    "INSERT INTO parameter_value SELECT t.id, 'rank', c.number FROM trial t JOIN configuration c ON c.id = "
    "  t.configuration_id WHERE t.id >= 100;"
    "INSERT INTO parameter_value SELECT t.id, 'method', c.settings ->> 'method' FROM trial t JOIN configuration c ON "
    "  c.id = t.configuration_id WHERE t.id >= 100;"
    "INSERT OR IGNORE INTO metric_name VALUES (50, 'validation/accuracy'), (51, 'train/loss');"
    "INSERT OR IGNORE INTO metric SELECT t.id, n.id, s.step, CASE s.step WHEN 20 THEN NULL ELSE 1.0 / s.step END FROM "
    "  trial t, metric_name n, (SELECT 10 AS step UNION SELECT 20 UNION SELECT 30 UNION SELECT 40) s WHERE t.id >= 100;"
    "INSERT INTO evaluation SELECT 1000 + id, id, 'test', 40, 1, 4, '{\"accuracy\":0.75,\"loss\":0.5,\"f1\":{\"a\":0.7,"
    "\"b\":0.8},\"confusion\":[[1,1],[0,2]]}', 'set', "
    "  x'01000000010000000000003f0000003f0000003f00000000000000000000003f0000003f0000003f"
    "01000000000000000000003f0000003f0000003f00000000000000000000003f0000003f0000003f' FROM trial WHERE id >= 100;"
    "INSERT INTO evaluation SELECT 2000 + id, id, 'validation', 40, 1, 4, '{\"accuracy\":0.5}', 'other', NULL FROM "
    "trial"
    "  WHERE id >= 100;"
    "INSERT INTO bias_check SELECT 1000 + id, id, '0:counterfactual', 'flip_rate', 4, 0.1, 0.2, 0.1, 0.05, 0.15, "
    "'set', "
    "  '[]' FROM trial WHERE id >= 100;"
    "INSERT INTO decision SELECT 1000 + id, 1, id, 'median', 20, 'continue', 'above the median', "
    "  '2026-11-24 10:00:05.000' FROM trial WHERE id >= 100;"
    "INSERT INTO event VALUES (500, 1, 100, 'no_room', 'no room for a checkpoint', '2026-11-24 10:00:05.000');"
    "INSERT OR IGNORE INTO input VALUES (1, 'model', '/m', 'aa', 'apache-2.0', '/m/README.md');";

static void execute(sqlite3 *db, const char *sql)
{
    cr_assert_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
}

/* An older store, migrated, with the rows above. */
static void make_image(void)
{
    char *sql = NULL, path[TEMP_PATH_SIZE + 256];
    size_t n = 0;
    sqlite3 *db = NULL;
    snprintf(path, sizeof(path), "%s", temp_path(&commands_temp, "made.db"));
    cr_assert_eq(file_read("tests/fixtures/store-v2.sql", 1 << 20, &sql, &n, &err), 0, "%s", err.message);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    execute(db, sql);
    sqlite3_close(db);
    free(sql);
    struct store *store = rows_open(path);
    execute(store_database(store), rows);
    store_close(store);
    cr_assert_eq(file_read(path, 1 << 24, &image, &image_bytes, &err), 0, "%s", err.message);
}

void commands_open(void)
{
    static const char definition[] =
        "{\"name\": \"d\", \"model\": \"model\", \"task\": {\"train\": \"train.jsonl\", \"text\": \"text\", \"label\": "
        "\"label\"}, \"parameters\": {\"method\": {\"values\": [\"lora\", \"full\"]}, \"learning_rate\": {\"min\": "
        "1e-4, \"max\": 1e-2, \"scale\": \"log\"}}, \"search\": {\"algorithm\": \"random\", \"configurations\": 3}}";
    static const char elsewhere[] =
        "{\"name\": \"e\", \"parameters\": {\"x\": {\"min\": 0, \"max\": 1}, \"kind\": {\"values\": [\"a\", \"b\"]}}, "
        "\"objectives\": [{\"metric\": \"loss\", \"goal\": \"minimize\"}], \"search\": {\"algorithm\": \"tpe\"}, "
        "\"budget\": {\"trials\": 8}}";
    static const char yaml[] =
        "method: bayes\nmetric: {name: loss, goal: minimize}\nparameters:\n  lr: {distribution: log_uniform_values, "
        "min: 1e-5, max: 1e-1}\n  layers: {values: [1, 2]}\n  nested: {parameters: {drop: {min: 0.0, max: 0.5}}}\n"
        "early_terminate: {type: hyperband, min_iter: 3}\nprogram: train.py\n";
    static const char *const files[][2] = {{"model/config.json", "{\"model_type\": \"bert\"}"},
                                           {"model/tokenizer.json", "{}"},
                                           {"model/model.safetensors", "{}"},
                                           {"model/README.md", "---\nlicense: mit\n---\n"},
                                           {"train.jsonl", "{\"text\": \"a\", \"label\": 0}\n"},
                                           {"d.json", definition},
                                           {"e.json", elsewhere},
                                           {"w.yaml", yaml},
                                           {"h.txt", "the cat sat\non the mat\n"},
                                           {"r.txt", "the cat sat\non a mat\n"},
                                           {"text.csv", "text,label\n\"a, b\",x\nc,y\nd,x\n"}};
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    temp_open(&commands_temp);
    cr_assert_eq(file_make_folders(temp_path(&commands_temp, "model"), &err), 0);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        temp_write(&commands_temp, files[i][0], files[i][1], strlen(files[i][1]));
    make_image();
    cr_assert_not_null(freopen(temp_path(&commands_temp, "stdout"), "w", stdout));
    cr_assert_not_null(freopen("/dev/null", "w", stderr));
    cr_assert_not_null(freopen("/dev/null", "r", stdin));
}

void commands_close(void)
{
    free(image);
    temp_close(&commands_temp);
}

static bool is_kept(const char *name)
{
    static const char *const names[] = {"model",  "data",  "stdout", "train.jsonl", "d.json", "e.json",
                                        "w.yaml", "h.txt", "r.txt",  "text.csv",    "made.db"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return name[0] == '.';
}

/* What earlier calls have made. */
static void remove_made(void)
{
    char path[TEMP_PATH_SIZE + 512];
    DIR *folder = opendir(commands_temp.folder);
    cr_assert_not_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));) {
        snprintf(path, sizeof(path), "%s/%s", commands_temp.folder, entry->d_name);
        if (!is_kept(entry->d_name))
            cr_assert_eq(file_remove_tree(path, &err), 0, "%s", err.message);
    }
    closedir(folder);
}

/* The words into argv, the texts in `text`; behind it the program's name. */
static int split(const char *words, char *text, size_t size, char **argv)
{
    int argc = 1;
    char *to = text, *rest = NULL;
    for (const char *c = words; *c; c++)
        to += *c == '%' ? snprintf(to, size - (size_t)(to - text), "%s", commands_temp.folder)
                        : snprintf(to, size - (size_t)(to - text), "%c", *c);
    argv[0] = to;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        cr_assert_lt(argc, COMMANDS_MOST_WORDS);
        argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
    }
    argv[argc] = NULL;
    return argc;
}

int commands_prepare(const char *words, char **argv)
{
    static char text[8 * TEMP_PATH_SIZE];
    (void)!json_check_memory(&err); /* what an earlier call lacked is no business of this one */
    remove_made();
    temp_write(&commands_temp, "s.db", image, image_bytes);
    fflush(stdout);
    rewind(stdout);
    cr_assert_eq(truncate(temp_path(&commands_temp, "stdout"), 0), 0);
    setenv("NIGHTSWEEP_STORE", temp_path(&commands_temp, "s.db"), 1);
    return split(words, text, sizeof(text), argv);
}

int commands_perform(int argc, char **argv, struct err *problem)
{
    struct command_line line;
    int rc = command_line_parse(&line, argc, argv, problem);
    if (rc == 0)
        rc = line.command->run(&line, problem);
    fflush(stdout);
    return rc;
}

int commands_call(const char *words, struct err *problem)
{
    char *argv[COMMANDS_MOST_WORDS + 1];
    int argc = commands_prepare(words, argv);
    return commands_perform(argc, argv, problem);
}

const char *commands_output(void)
{
    static char text[1 << 20];
    FILE *file = fopen(temp_path(&commands_temp, "stdout"), "r");
    cr_assert_not_null(file);
    size_t n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}
