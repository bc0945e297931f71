/* Advice within limits, the words for under- and overfitting, knowledge kept, and gaps by the size of the training set.
 */
#include "orchestrator/advise.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static struct temp temp;
static struct store *store;
static struct arena arena;
static int64_t sweep;
static int number;

static void setup(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "own");
    number = 0;
}

static void teardown(void)
{
    store_close(store);
    arena_done(&arena);
    temp_close(&temp);
}

TestSuite(advise, .init = setup, .fini = teardown);

static void run_sql(const char *format, ...)
{
    char sql[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sql, sizeof(sql), format, arguments);
    va_end(arguments);
    cr_assert_eq(sqlite3_exec(store_database(store), sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql,
                 sqlite3_errmsg(store_database(store)));
}

/* A finished trial of a configuration of its own: its id. */
static int64_t trial(const char *settings, double value, int64_t stored, int64_t peak, double seconds)
{
    int64_t configuration = store_new_id(store, STORE_CONFIGURATION);
    number++;
    ROWS_APPLY(
        store,
        {.kind = STORE_ADD_CONFIGURATION,
         .configuration = {
             .id = configuration, .sweep_id = sweep, .number = number, .parameters = "{}", .settings = settings}});
    int64_t id = rows_trial(store, sweep, configuration, number, 7);
    rows_complete(store, id, value);
    run_sql("UPDATE trial SET stored_bytes = %lld, trained_parameters = %lld WHERE id = %lld", (long long)stored,
            (long long)stored / 4, (long long)id);
    run_sql("UPDATE attempt SET peak_bytes = %lld, seconds = %g WHERE trial_id = %lld", (long long)peak, seconds,
            (long long)id);
    return id;
}

/* Training losses that go from `first` to `last` in a straight line over 100 steps, validations at every 20th. */
static void curves(int64_t id, double first, double last, const double validation[5], int best)
{
    run_sql("INSERT OR IGNORE INTO metric_name (id, name) VALUES (101, 'train/loss'), (102, 'validation/loss')");
    for (int step = 1; step <= 100; step++)
        run_sql("INSERT INTO metric VALUES (%lld, 101, %d, %.17g)", (long long)id, step,
                first + (last - first) * step / 100);
    for (int i = 0; i < 5; i++)
        run_sql("INSERT INTO metric VALUES (%lld, 102, %d, %.17g)", (long long)id, 20 * (i + 1), validation[i]);
    run_sql(
        "INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics) VALUES (%lld, 'validation', %d, "
        "1, 100, '{\"loss\":%.17g,\"confusion\":[[40,10],[10,40]]}')",
        (long long)id, 20 * best, validation[best - 1]);
}

static struct advice take(const char *name, struct advice_limits limits)
{
    struct advice advice;
    struct err err = {0};
    cr_assert_eq(advise(store, name, &limits, &arena, &advice, &err), 0, "%s", err.message);
    return advice;
}

static const char *text_of(const struct advice *advice)
{
    static char kept[1 << 14];
    struct text out = {0};
    advice_add_text(&out, advice);
    snprintf(kept, sizeof(kept), "%s", out.data);
    text_done(&out);
    return kept;
}

Test(advise, the_best_within_the_limits)
{
    trial("{\"method\":\"full\"}", 0.90, 80000000, 900000000, 50);
    trial("{\"method\":\"lora\",\"rank\":8}", 0.88, 400000, 200000000, 20);
    trial("{\"method\":\"lora\",\"rank\":2}", 0.86, 100000, 190000000, 20);
    trial("{\"method\":\"bitfit\"}", 0.80, 100000, 100000000, 10);
    struct advice all = take(NULL, (struct advice_limits){0});
    cr_expect_str_eq(all.chosen->method, "full");
    cr_expect(all.n_admitted == 4 && strcmp(all.sweep, "own") == 0);
    struct advice small = take("own", (struct advice_limits){.bytes = 500000});
    cr_expect(strcmp(small.chosen->method, "lora") == 0 && small.chosen->number == 2);
    cr_expect(strstr(text_of(&small), "full, best of its method, 0.9000 on validation: stores 76.3 MiB"), "%s",
              text_of(&small));
    struct advice smaller = take("own", (struct advice_limits){.bytes = 200000});
    cr_expect_eq(smaller.chosen->number, 3, "the smaller rank, not its method's best");
    cr_expect(strstr(text_of(&smaller), "not its method's best"), "%s", text_of(&smaller));
    struct advice quick = take("own", (struct advice_limits){.seconds = 15, .memory_bytes = 150000000});
    cr_expect_str_eq(quick.chosen->method, "bitfit");
    struct advice none = take("own", (struct advice_limits){.bytes = 1});
    cr_expect(!none.chosen && strstr(text_of(&none), "nothing fits: all 4 configurations"), "%s", text_of(&none));
}

Test(advise, what_was_not_measured_is_not_within_a_limit)
{
    int64_t id = trial("{\"method\":\"lora\",\"rank\":8}", 0.88, 400000, 0, 20);
    run_sql("UPDATE trial SET stored_bytes = NULL WHERE id = %lld", (long long)id);
    cr_expect_null(take("own", (struct advice_limits){.bytes = 1e12}).chosen);
    cr_expect_not_null(take("own", (struct advice_limits){.seconds = 30}).chosen);
}

Test(advise, other_sweeps_are_evidence)
{
    trial("{\"method\":\"lora\",\"rank\":8}", 0.88, 400000, 200000000, 20);
    sweep = rows_sweep(store, "newer");
    trial("{\"method\":\"full\"}", 0.70, 80000000, 900000000, 50);
    trial("{\"method\":\"lora\",\"rank\":8}", 0.65, 400000, 200000000, 20);
    rows_sweep(store, "unfinished");
    struct advice advice = take("own", (struct advice_limits){0});
    cr_assert_eq(advice.n_earlier, 1);
    cr_expect(advice.earlier[0].rank == 2 && advice.earlier[0].n_methods == 2);
    cr_expect_float_eq(advice.earlier[0].behind, 0.05, 1e-12);
    cr_expect(strstr(text_of(&advice), "'newer': number 2 of 2 methods"), "%s", text_of(&advice));
    cr_expect_str_eq(take(NULL, (struct advice_limits){0}).sweep, "newer", "the newest with a finished trial");
}

Test(advise, an_empty_store_and_unknown_sweeps)
{
    struct advice advice;
    struct err err = {0};
    const struct advice_limits limits = {0};
    cr_expect_eq(advise(store, NULL, &limits, &arena, &advice, &err), ERR_USAGE);
    cr_expect_eq(advise(store, "own2", &limits, &arena, &advice, &err), ERR_NOT_FOUND);
    cr_expect(strstr(err.message, "nearest is own"), "%s", err.message);
}

static struct fit fit_of(int64_t id)
{
    struct fit fit = {0};
    struct err err = {0};
    cr_assert_eq(fit_read(store, id, &fit, &err), 0, "%s", err.message);
    fit_judge(&fit);
    return fit;
}

static const char *words_of(int64_t id, const char *method, const char *settings)
{
    static char kept[1024];
    struct text out = {0};
    struct fit fit = fit_of(id);
    fit_add_words(&out, &fit, method, settings);
    snprintf(kept, sizeof(kept), "%s: %s", fit_names[fit.verdict], out.data ? out.data : "");
    text_done(&out);
    return kept;
}

Test(advise, planted_curves_are_named)
{
    const char *lora = "{\"method\":\"lora\",\"rank\":8,\"learning_rate\":0.001,\"epochs\":3}";
    const double rises[] = {0.5, 0.4, 0.45, 0.5, 0.6}, flat[] = {0.4, 0.36, 0.33, 0.32, 0.33},
                 chance[] = {0.693, 0.692, 0.691, 0.690, 0.690}, falls[] = {0.6, 0.5, 0.45, 0.42, 0.4};
    int64_t over = trial(lora, 0.8, 1, 1, 1), good = trial(lora, 0.8, 1, 1, 1), guess = trial(lora, 0.5, 1, 1, 1),
            early = trial(lora, 0.8, 1, 1, 1), none = trial(lora, 0.8, 1, 1, 1);
    curves(over, 0.7, 0.1, rises, 2);
    curves(good, 0.31, 0.30, flat, 4);
    curves(guess, 0.693, 0.69, chance, 5);
    curves(early, 0.8, 0.38, falls, 5);
    const char *words = words_of(over, "lora", lora);
    cr_expect(strstr(words, "overfitting: ") && strstr(words, "best at step 40 of 100") &&
                  strstr(words, "stop near step 40") && strstr(words, "rank 4 instead of 8") &&
                  strstr(words, "learning_rate 0.0005 instead of 0.001"),
              "%s", words);
    cr_expect(strstr(words_of(over, "full", "{\"learning_rate\":0.001}"), "partial with top_layers 2"));
    words = words_of(good, "lora", lora);
    cr_expect(strstr(words, "good: neither"), "%s", words);
    words = words_of(guess, "lora", lora);
    /* Labels half and half: guessing has a loss of ln 2. */
    cr_expect(strstr(words, "underfitting: ") && strstr(words, "guessing by frequency has 0.693") &&
                  strstr(words, "learning_rate 0.003") && strstr(words, "rank 16 instead of 8"),
              "%s", words);
    words = words_of(early, "lora", lora);
    cr_expect(strstr(words, "underfitting: ") && strstr(words, "epochs 6 instead of 3"), "%s", words);
    cr_expect(strncmp(words_of(none, "lora", lora), "unknown: ", 9) == 0, "no curves: nothing is said");
}

static void add_check(int64_t id, const char *name, const char *metric, double before, double after)
{
    ROWS_APPLY(store, {.kind = STORE_BIAS_CHECK,
                       .bias_check = {.trial_id = id,
                                      .check_name = name,
                                      .metric = metric,
                                      .n_items = 200,
                                      .before = known_real(before),
                                      .after = after}});
}

Test(advise, knowledge_kept)
{
    int64_t probed = trial("{\"method\":\"full\"}", 0.9, 1, 1, 1), asked = trial("{\"method\":\"lora\"}", 0.8, 1, 1, 1);
    trial("{\"method\":\"bitfit\"}", 0.7, 1, 1, 1);
    add_check(probed, "0:probe", "probe_accuracy", 0.8, 0.6);
    add_check(probed, "1:probe", "probe_accuracy", 0.5, 0.7);
    add_check(probed, "2:perplexity", "perplexity", 10, 100);
    add_check(asked, "2:perplexity", "perplexity", 10, 12.5);
    add_check(asked, "2:perplexity", "bits_per_byte", 1, 2);
    struct advice advice = take("own", (struct advice_limits){0});
    const struct compare_method *m = advice.comparison.methods;
    cr_expect_float_eq(m[0].kept, (0.75 + 1) / 2, 1e-12, "a gain makes up for no loss");
    cr_expect_str_eq(m[0].kept_by, "probe");
    cr_expect_float_eq(m[1].kept, 0.8, 1e-12);
    cr_expect(isnan(m[2].kept) && !m[2].kept_by);
    cr_expect(isnan(m[0].chosen->axes[AXIS_BIAS]), "forgetting is no bias");
}

Test(advise, gaps_by_the_size_of_the_training_set)
{
    const double validation[] = {0.6, 0.5, 0.5, 0.5, 0.5};
    static const struct {
        const char *settings;
        double last;
    } cases[] = {{"{\"method\":\"full\",\"train_examples\":1000}", 0.4},
                 {"{\"method\":\"full\",\"train_examples\":100}", 0.1},
                 {"{\"method\":\"lora\",\"train_examples\":100}", 0.3}};
    for (int i = 0; i < 3; i++)
        curves(trial(cases[i].settings, 0.8, 1, 1, 1), cases[i].last, cases[i].last, validation, 5);
    struct advice advice = take("own", (struct advice_limits){0});
    const struct comparison *c = &advice.comparison;
    int full = strcmp(c->methods[0].label, "full") == 0 ? 0 : 1;
    cr_assert_eq(c->n_sizes, 2);
    cr_expect_str_eq(c->sizes[0].label, "100");
    cr_expect_float_eq(c->sizes[0].gaps[full], 0.4, 1e-12);
    cr_expect_float_eq(c->sizes[0].gaps[1 - full], 0.2, 1e-12);
    cr_expect_float_eq(c->sizes[1].gaps[full], 0.1, 1e-12);
    cr_expect(isnan(c->sizes[1].gaps[1 - full]), "lora had no run of 1000: null, not 0");
    struct text out = {0};
    compare_add_text(&out, c);
    cr_expect(strstr(out.data, "by the size of the training set"));
    cr_expect(strstr(out.data, "knowledge kept (%)") && strstr(out.data, "parameters updated"), "%s", out.data);
    text_done(&out);
}
