/* Comparing methods: what is chosen, on which scores, what is told apart and what is not. Stores with a few trials of
 * known predictions. */
#include "orchestrator/compare.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

enum { ITEMS = 60 };

static struct temp temp;
static struct store *store;
static struct arena arena;
static int64_t sweep, next_trial;

static void setup(void)
{
    temp_open(&temp);
    store = rows_open(temp_path(&temp, "x.db"));
    sweep = rows_sweep(store, "s");
    next_trial = 1;
}

static void teardown(void)
{
    store_close(store);
    arena_done(&arena);
    temp_close(&temp);
}

TestSuite(compare, .init = setup, .fini = teardown);

static int64_t configuration(int number, const char *settings)
{
    int64_t id = store_new_id(store, STORE_CONFIGURATION);
    ROWS_APPLY(store, {.kind = STORE_ADD_CONFIGURATION,
                       .configuration = {
                           .id = id, .sweep_id = sweep, .number = number, .parameters = "{}", .settings = settings}});
    return id;
}

/* A finished trial with that validation accuracy; on the test split the first `right` items of ITEMS are right when
 * each is moved on by `turn` (right < 0: no test). */
static int64_t trial(int64_t configuration_id, int64_t seed, double validation, int right, int turn, const char *set)
{
    struct {
        int32_t label, predicted;
        float loss, p[2];
    } items[ITEMS];
    char metrics[64];
    int64_t id = rows_trial(store, sweep, configuration_id, next_trial++, seed), attempt = rows_attempt(store, id);
    for (int i = 0; i < ITEMS; i++) {
        bool is_right = (i + turn) % ITEMS < right;
        items[i].label = i % 2;
        items[i].predicted = is_right ? i % 2 : 1 - i % 2;
        items[i].loss = is_right ? 0.5F : 1;
        items[i].p[0] = items[i].p[1] = 0.5F;
    }
    snprintf(metrics, sizeof(metrics), "{\"accuracy\":%.17g}", right / (double)ITEMS);
    if (right >= 0)
        ROWS_APPLY(store, {.kind = STORE_EVALUATION,
                           .evaluation = {.attempt_id = attempt,
                                          .split = "test",
                                          .step = 10,
                                          .is_final = true,
                                          .n_items = ITEMS,
                                          .metrics = metrics,
                                          .item_set_sha256 = set,
                                          .items = set ? items : NULL,
                                          .items_bytes = set ? sizeof(items) : 0}});
    ROWS_APPLY(store,
               {.kind = STORE_END_ATTEMPT,
                .end_attempt = {.attempt_id = attempt, .state = ATTEMPT_COMPLETE, .seconds = known_real(2)}},
               {.kind = STORE_MOVE_TRIAL,
                .move_trial = {.trial_id = id, .to = TRIAL_COMPLETE, .value = known_real(validation)}});
    return id;
}

static void execute(const char *sql)
{
    char *message = NULL;
    cr_assert_eq(sqlite3_exec(store_database(store), sql, NULL, NULL, &message), SQLITE_OK, "%s: %s", sql, message);
}

static struct comparison compare(void)
{
    struct comparison c;
    struct err err = {0};
    const char *const names[] = {"s"};
    const struct compare_options options = {.margin = 0.05, .resamples = 2000};
    cr_assert_eq(compare_sweeps(store, names, 1, &options, &arena, &c, &err), 0, "%s", err.message);
    return c;
}

static void expect_verdict(const struct comparison *c, int pair, const char *wanted)
{
    struct text verdict = {0};
    compare_add_verdict(&verdict, c, &c->pairs[pair]);
    cr_expect_str_eq(verdict.data, wanted);
    text_done(&verdict);
}

/* The JSON must parse, whatever is missing. */
static cJSON *json_of(const struct comparison *c)
{
    struct text out = {0};
    struct err err = {0};
    cJSON *root = NULL;
    compare_add_json(&out, c);
    cr_assert_eq(json_parse(out.data, out.len, &root, &err), 0, "%s in %s", err.message, out.data);
    text_reset(&out);
    compare_add_text(&out, c);
    cr_assert(!out.failed && utf8_valid_prefix(out.data, out.len) == out.len);
    cr_expect_null(strstr(out.data, "nan"));
    text_done(&out);
    return root;
}

Test(compare, the_configuration_is_chosen_on_validation_and_scored_on_test)
{
    int64_t a = configuration(1, "{\"method\":\"lora\"}"), b = configuration(2, "{\"method\":\"lora\"}"),
            lucky = configuration(3, "{\"method\":\"lora\"}");
    for (int s = 0; s < 3; s++) {
        trial(a, s, 0.8, 60, 0, "set"); /* the best test score, which must not choose */
        trial(b, s, 0.9, 45, 0, "set");
    }
    trial(lucky, 0, 1, 30, 0, "set"); /* the best validation score, of one seed */
    struct comparison c = compare();
    cr_assert_eq(c.n_methods, 1);
    cr_expect_eq(c.methods[0].chosen->number, 2);
    cr_expect_float_eq(c.methods[0].test.mean, 0.75, 1e-12);
    cr_expect_eq(c.methods[0].n_configurations, 3);
    cr_assert_eq(c.methods[0].n_expected, 2, "one seed does not compete");
    /* Best of one of 0.8 and 0.9: 0.85; of two draws: 0.9 in 3 of 4 cases. */
    cr_expect_float_eq(c.methods[0].expected_best[0], 0.85, 1e-12);
    cr_expect_float_eq(c.methods[0].expected_best[1], 0.875, 1e-12);
    cr_expect_eq(c.n_pairs, 0);
    json_free(json_of(&c));
}

Test(compare, a_planted_difference_is_found_and_none_is_not)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}"),
            prompt = configuration(3, "{\"method\":\"prompt\"}");
    for (int s = 0; s < 4; s++) {
        trial(full, s, 0.90, 50 + s % 2, 3 * s, "set");
        trial(lora, s, 0.89, 50 + s % 2, 3 * s + 1, "set"); /* as good, wrong on other items */
        trial(prompt, s, 0.70, 20 + s % 2, 3 * s, "set");
    }
    struct comparison c = compare();
    cr_assert_eq(c.n_pairs, 3);
    cr_expect(c.uses_test && c.n_items == ITEMS && c.pairs[0].has_items && c.pairs[0].n_seeds == 4);
    cr_expect_float_eq(c.pairs[0].difference.mean, 0, 1e-12);
    cr_expect(c.pairs[0].p > 0.5 && c.pairs[0].items.low < 0 && c.pairs[0].items.high > 0);
    expect_verdict(&c, 0, "not distinguishable");
    expect_verdict(&c, 1, "full is better");
    expect_verdict(&c, 2, "lora is better");
    cr_expect_float_eq(c.pairs[1].difference.mean, 0.5, 1e-12);
    cr_expect_float_eq(c.pairs[1].cliff_delta, 1, 0);
    cr_expect_float_eq(c.pairs[1].order_ab, 0, 0);
    cr_expect_float_eq(c.pairs[1].order_ba, 1, 0);
    /* p is 2/2001 twice, the least that 2,000 resamples give; Holm multiplies the smallest of three by three. */
    cr_expect_float_eq(c.pairs[1].adjusted_p, 6.0 / 2001, 1e-12);
    cr_expect_float_eq(c.order_confidence, 1 - 0.05 / 3, 1e-15);
    cr_assert_eq(c.n_inferiority, 2);
    cr_expect_str_eq(c.methods[c.inferiority[0].method].label, "lora");
    cr_expect_eq(c.inferiority[1].verdict, 0, "0.5 worse, margin 0.05");
    cJSON *root = json_of(&c);
    cr_expect_str_eq(json_get(cJSON_GetArrayItem(json_get(root, "pairs"), 1), "verdict")->valuestring,
                     "full is better");
    json_free(root);
}

Test(compare, not_inferior_within_the_margin_and_equivalent_on_both_sides)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}");
    for (int s = 0; s < 4; s++) {
        trial(full, s, 0.90, 50 + s % 2, 0, "set");
        trial(lora, s, 0.89, 50 + s % 2, 0, "set"); /* right on the same items */
    }
    struct comparison c = compare();
    cr_assert_eq(c.n_inferiority, 1);
    cr_expect_eq(c.inferiority[0].verdict, 1);
    cr_expect(c.inferiority[0].is_equivalent);
    cr_expect(c.pairs[0].p >= 1);
}

Test(compare, a_lower_loss_is_better)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}");
    execute("UPDATE objective SET metric = 'validation/loss', goal = 'minimize'");
    for (int s = 0; s < 3; s++) {
        trial(full, s, 0.3 + 0.001 * s, 55, s, "set");
        trial(lora, s, 0.6 + 0.001 * s, 10, s, "set");
    }
    execute(
        "UPDATE evaluation SET metrics = json_set(metrics, '$.loss', 1.0 - json_extract(metrics, '$.accuracy') / 2)");
    struct comparison c = compare();
    cr_expect_str_eq(c.methods[0].label, "full");
    cr_expect_lt(c.pairs[0].difference.mean, -0.3);
    cr_expect_lt(c.pairs[0].items.high, 0, "item losses of 0.5 and 1 follow the predictions");
    expect_verdict(&c, 0, "full is better");
    cr_expect_float_eq(c.pairs[0].order_ab, 0, 0);
    cr_expect_eq(c.inferiority[0].verdict, 0);
    cr_expect_lt(c.inferiority[0].high90, 0, "turned: more is better");
}

Test(compare, perplexity_is_resampled_over_tokens)
{
    int64_t ids[] = {configuration(1, "{\"method\":\"full\"}"), configuration(2, "{\"method\":\"lora\"}")};
    execute("UPDATE objective SET metric = 'validation/perplexity', goal = 'minimize'");
    for (int c = 0; c < 2; c++)
        for (int s = 0; s < 3; s++)
            trial(ids[c], s, 2.0 + c, 30, 0, "set");
    /* 12 bytes an item: tokens, −1, loss. One of 3 tokens and loss ln 2, one of 1 token and loss 0; then ln 4 and 0. */
    execute("UPDATE evaluation SET n_items = 2, metrics = '{\"perplexity\":1.7}',"
            " items = x'03000000ffffffff1872313f01000000ffffffff00000000'");
    execute("UPDATE evaluation SET metrics = '{\"perplexity\":2.8}',"
            " items = x'03000000ffffffff1872b13f01000000ffffffff00000000'"
            " WHERE trial_id IN (SELECT t.id FROM trial t JOIN configuration c ON c.id = t.configuration_id"
            " WHERE c.number = 2)");
    struct comparison c = compare();
    cr_assert(c.pairs[0].has_items && c.n_items == 2);
    /* Drawn are only the first item (2 − 4), only the second (1 − 1), or both (2^(3/4) − 4^(3/4)). */
    cr_expect_float_eq(c.pairs[0].items.low, -2, 1e-6);
    cr_expect_float_eq(c.pairs[0].items.high, 0, 1e-6);
    expect_verdict(&c, 0, "not distinguishable");
}

Test(compare, what_cannot_be_said_is_null)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}");
    trial(full, 1, 0.9, -1, 0, NULL);
    trial(lora, 1, 0.8, -1, 0, NULL);
    struct comparison c = compare();
    cr_expect(!c.uses_test && !c.pairs[0].has_items);
    expect_verdict(&c, 0, "cannot be tested");
    cr_expect_eq(c.inferiority[0].verdict, -1);
    cJSON *root = json_of(&c);
    const cJSON *pair = cJSON_GetArrayItem(json_get(root, "pairs"), 0);
    static const char *const unknown[] = {"p", "p_holm", "cohen_d", "order_a_over_b", "over_items"};
    for (size_t i = 0; i < 5; i++)
        cr_expect(cJSON_IsNull(json_get(pair, unknown[i])), "'%s' is not null", unknown[i]);
    cr_expect(cJSON_IsNull(json_get(cJSON_GetArrayItem(json_get(root, "methods"), 0), "trained_parameters")));
    json_free(root);
}

Test(compare, one_seed_with_items_is_tested_over_items)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}");
    trial(full, 1, 0.9, 58, 0, "set");
    trial(lora, 1, 0.8, 10, 0, "set");
    struct comparison c = compare();
    cr_expect(c.pairs[0].has_items && isnan(c.pairs[0].seeds_p) && isnan(c.pairs[0].detectable));
    expect_verdict(&c, 0, "full is better");
}

Test(compare, other_items_other_seeds_and_broken_blobs_are_not_paired)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}"),
            prompt = configuration(3, "{\"method\":\"prompt\"}");
    for (int s = 0; s < 3; s++) {
        trial(full, s, 0.90 + 0.01 * s, 50 + s, 0, "set");
        trial(lora, s, 0.80 + 0.01 * s, 30 + s, 0, "another set");
        trial(prompt, 10 + s, 0.70 + 0.01 * s, 40 + s, 0, "set");
    }
    execute("UPDATE evaluation SET items = x'00' WHERE trial_id = (SELECT MAX(id) FROM trial)");
    struct comparison c = compare();
    cr_expect(!c.pairs[0].has_items && c.pairs[0].n_seeds == 3, "other items");
    cr_expect(!c.pairs[1].has_items && c.pairs[1].n_seeds == 0, "other seeds: Welch");
    cr_expect_float_eq(c.pairs[1].difference.df, 4, 1e-9, "equal variances of three each");
    expect_verdict(&c, 1, "full is better");
    json_free(json_of(&c));
}

Test(compare, overfitting_is_validation_loss_less_training_loss_before_the_best_checkpoint)
{
    int64_t plain = configuration(1, "{\"method\":\"full\"}"),
            smoothed = configuration(2, "{\"label_smoothing\":0.1,\"method\":\"lora\"}");
    int64_t t = trial(plain, 1, 0.9, 50, 0, "set");
    trial(smoothed, 1, 0.8, 50, 0, "set");
    execute("INSERT INTO metric_name (id, name) VALUES (1, 'train/loss')");
    execute("UPDATE trial SET steps = 20");
    /* The best checkpoint is at step 10 of 20: the mean of steps 9 and 10. */
    execute("INSERT INTO metric (trial_id, name_id, step, value) SELECT t.id, 1, v.column1, v.column2 FROM trial t,"
            " (VALUES (8, 5.0), (9, 0.2), (10, 0.4), (11, 7.0)) v");
    execute("INSERT INTO evaluation (trial_id, split, step, is_final, n_items, metrics)"
            " SELECT id, 'validation', 10, 1, 5, '{\"loss\":0.75}' FROM trial");
    struct comparison c = compare();
    cr_expect_eq(c.methods[0].chosen->trials[0].id, t);
    cr_expect_float_eq(c.methods[0].gap.mean, 0.45, 1e-12);
    cr_expect_eq(c.methods[1].gap.n, 0, "a smoothed training loss is another formula");
}

Test(compare, fronts_hold_what_nothing_beats)
{
    int64_t full = configuration(1, "{\"method\":\"full\"}"), lora = configuration(2, "{\"method\":\"lora\"}"),
            worse = configuration(3, "{\"method\":\"lora\"}");
    trial(full, 1, 0.9, 50, 0, "set");
    trial(lora, 1, 0.8, 50, 0, "set");
    trial(worse, 1, 0.7, 50, 0, "set");
    execute("UPDATE trial SET trained_parameters = 1000, stored_bytes = number * 10");
    execute("UPDATE trial SET trained_parameters = 10 WHERE number = 2");
    struct comparison c = compare();
    const struct compare_configuration *x = c.configurations;
    cr_expect(x[0].on_front[AXIS_PARAMETERS] && x[1].on_front[AXIS_PARAMETERS] && !x[2].on_front[AXIS_PARAMETERS]);
    cr_expect(x[0].on_front[AXIS_BYTES] && !x[1].on_front[AXIS_BYTES] && !x[2].on_front[AXIS_BYTES]);
    cr_expect(!x[0].on_front[AXIS_BIAS] && x[0].on_front[AXIS_SCORE], "no bias was measured; the rest counts");
    cr_expect(c.methods[0].is_traditional && !c.methods[1].is_traditional);
}

Test(compare, what_is_wrong_is_named)
{
    struct comparison c;
    struct err err = {0};
    struct compare_options options = {.margin = 0.01, .resamples = 100};
    const char *const unknown[] = {"t"}, *const both[] = {"s", "other"}, *const one[] = {"s"};
    cr_expect_eq(compare_sweeps(store, unknown, 1, &options, &arena, &c, &err), ERR_NOT_FOUND);
    cr_expect_eq(compare_sweeps(store, one, 1, &options, &arena, &c, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.message, "no trial of 's' is finished"), "%s", err.message);
    trial(configuration(1, "{\"method\":\"lora\"}"), 1, 0.5, 30, 0, "set");
    options.reference = "lore";
    cr_expect_eq(compare_sweeps(store, one, 1, &options, &arena, &c, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.message, "nearest is lora"), "%s", err.message);
    rows_sweep(store, "other");
    execute(
        "UPDATE objective SET metric = 'validation/loss' WHERE sweep_id = (SELECT id FROM sweep WHERE name = 'other')");
    cr_expect_eq(compare_sweeps(store, both, 2, &options, &arena, &c, &err), ERR_USAGE);
    cr_expect_not_null(strstr(err.message, "validation/loss"), "%s", err.message);
}
