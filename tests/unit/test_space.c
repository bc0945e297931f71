/* The search space: what is refused and with which words, what is drawn, and the grid. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/space.h"

struct fixture {
    struct arena arena;
    cJSON *parameters, *settings;
    struct problems problems;
    struct space space;
};

static struct fixture *fixture_new(const char *parameters, const char *settings)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct err err = {0};
    cr_assert_eq(json_parse(parameters, strlen(parameters), &f->parameters, &err), 0, "%s", err.message);
    cr_assert_eq(json_parse(settings, strlen(settings), &f->settings, &err), 0, "%s", err.message);
    cr_assert_eq(space_read(&f->space, f->parameters, f->settings, &f->arena, &f->problems, &err), 0);
    return f;
}

/* The same for a space without mistakes. */
static struct fixture *fixture_good(const char *parameters, const char *settings)
{
    struct fixture *f = fixture_new(parameters, settings);
    cr_assert_eq(f->problems.n, 0, "%s", f->problems.list.data);
    return f;
}

static void fixture_free(struct fixture *f)
{
    problems_done(&f->problems);
    json_free(f->parameters);
    json_free(f->settings);
    arena_done(&f->arena);
    free(f);
}

static cJSON *draw(const struct fixture *f, uint32_t index)
{
    struct rng_stream stream = rng_stream(rng_make(7, RNG_SEARCH), 0, index, 0);
    cJSON *configuration = NULL;
    struct err err = {0};
    cr_assert_eq(space_draw(&f->space, &stream, &configuration, &err), 0, "%s", err.message);
    return configuration;
}

static char *as_text(const cJSON *value)
{
    struct text text = {0};
    json_add(&text, value);
    return text_take(&text);
}

static void expect_at(const struct fixture *f, int64_t index, const char *expected)
{
    cJSON *configuration = NULL;
    struct err err = {0};
    cr_assert_eq(space_grid_at(&f->space, index, &configuration, &err), 0, "%s", err.message);
    char *text = as_text(configuration);
    cr_expect_str_eq(text, expected);
    free(text);
    cJSON_Delete(configuration);
}

static double number(const cJSON *configuration, const char *name)
{
    const cJSON *value = json_get(configuration, name);
    cr_assert(cJSON_IsNumber(value), "'%s' is missing", name);
    return value->valuedouble;
}

/* ---- mistakes -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *parameters, *settings, *message;
} mistakes[] = {
    {"{\"lerning_rate\":{\"values\":[1]}}", "{}",
     "parameters: unknown name 'lerning_rate'; nearest is 'learning_rate'"},
    {"{\"epochs\":{\"values\":[1]}}", "{\"epochs\":2}", "parameters.epochs: stands in 'settings' too"},
    {"{\"epochs\":3}", "{}", "parameters.epochs: a number was found, an object"},
    {"{\"epochs\":[]}", "{}", "parameters.epochs: the list of cases is empty"},
    {"{\"epochs\":{}}", "{}", "'values', 'min' and 'max', 'distribution' or 'expression' is missing"},
    {"{\"epochs\":{\"vaules\":[1]}}", "{}", "parameters.epochs: unknown key 'vaules'; nearest is 'values'"},
    {"{\"epochs\":{\"values\":[1],\"scale\":\"log\"}}", "{}", "parameters.epochs.scale: does not belong to values"},
    {"{\"epochs\":{\"values\":[]}}", "{}", "parameters.epochs.values: an empty list was found"},
    {"{\"batch_size\":{\"values\":[8,0]}}", "{}", "parameters.batch_size.values[1]: 0 is below 1"},
    {"{\"method\":{\"values\":[[\"lora\",\"adaptr\"]]}}", "{}", "'adaptr' is not one of"},
    {"{\"epochs\":{\"min\":5,\"max\":2}}", "{}", "parameters.epochs: min 5 is above max 2"},
    {"{\"epochs\":{\"min\":5}}", "{}", "parameters.epochs.max: missing, a number was expected"},
    {"{\"epochs\":{\"min\":\"5\",\"max\":6}}", "{}", "parameters.epochs.min: a text, a number was expected"},
    {"{\"weight_decay\":{\"min\":0,\"max\":1,\"scale\":\"log\"}}", "{}",
     "parameters.weight_decay.min: 0 must be above 0 for scale log"},
    {"{\"label_smoothing\":{\"min\":0,\"max\":1}}", "{}", "parameters.label_smoothing.max: 1 is equal to 1"},
    {"{\"batch_size\":{\"min\":0,\"max\":1.5}}", "{}", "parameters.batch_size.min: 0 is below 1"},
    {"{\"batch_size\":{\"min\":1,\"max\":1.5}}", "{}", "parameters.batch_size.max: 1.5 is not a whole number"},
    {"{\"epochs\":{\"min\":1,\"max\":2.5,\"type\":\"int\"}}", "{}", "parameters.epochs.max: 2.5 is not a whole number"},
    {"{\"batch_size\":{\"min\":1,\"max\":8,\"type\":\"float\"}}", "{}", "takes whole numbers only"},
    {"{\"epochs\":{\"min\":1,\"max\":2,\"scale\":\"lin\"}}", "{}", "parameters.epochs.scale: unknown scale 'lin'"},
    {"{\"epochs\":{\"min\":1,\"max\":2,\"type\":3}}", "{}", "parameters.epochs.type: a number was found"},
    {"{\"epochs\":{\"min\":1,\"max\":2,\"quantum\":0}}", "{}", "parameters.epochs.quantum: 0 must be above 0"},
    {"{\"epochs\":{\"min\":1,\"max\":2,\"quantum\":1.5}}", "{}", "1.5 is above max - min, 1"},
    {"{\"batch_size\":{\"min\":1,\"max\":9,\"quantum\":0.5}}", "{}", "quantum: 0.5 is not a whole number"},
    {"{\"schedule\":{\"min\":1,\"max\":2}}", "{}", "parameters.schedule.min: a number was found, one of its names"},
    {"{\"epochs\":{\"values\":[1,2],\"probabilities\":[1]}}", "{}",
     "parameters.epochs.probabilities: 2 numbers, one a value, were expected, 1 were found"},
    {"{\"epochs\":{\"values\":[1,2],\"probabilities\":[0.5,0.4]}}", "{}", "their sum is 0.9, 1 was expected"},
    {"{\"epochs\":{\"values\":[1,2],\"probabilities\":[1.5,-0.5]}}", "{}", "probabilities[1]: a number from 0 to 1"},
    {"{\"epochs\":{\"distribution\":\"normal\",\"mean\":1,\"deviation\":0}}", "{}", "deviation: 0 must be above 0"},
    {"{\"epochs\":{\"distribution\":\"nromal\",\"mean\":1,\"deviation\":1}}", "{}", "nearest is 'normal'"},
    {"{\"epochs\":{\"distribution\":\"normal\",\"mean\":-9,\"deviation\":1}}", "{}", "less than one in 1000 draws"},
    {"{\"epochs\":{\"distribution\":\"normal\",\"mean\":2,\"deviation\":1,\"min\":9}}", "{}", "one in 1000 draws"},
    {"{\"schedule\":{\"distribution\":\"normal\",\"mean\":1,\"deviation\":1}}", "{}", "'schedule' takes no numbers"},
    {"{\"epochs\":{\"expression\":\"2 * )\"}}", "{}", "parameters.epochs.expression: character 5: a number, a name"},
    {"{\"epochs\":{\"expression\":\"2*btach_size\"},\"batch_size\":{\"values\":[8]}}", "{}",
     "parameters.epochs.expression: 'btach_size' is no parameter and no number in 'settings'; nearest is 'batch_size'"},
    {"{\"epochs\":{\"expression\":\"2*schedule\"},\"schedule\":{\"values\":[\"linear\"]}}", "{}",
     "parameters.epochs.expression: 'schedule' is not a number"},
    {"{\"epochs\":{\"expression\":\"schedule\"}}", "{\"schedule\":\"linear\"}", "'schedule' is not a number"},
    {"{\"epochs\":{\"expression\":\"clip\"},\"clip\":{\"expression\":\"epochs\"}}", "{}",
     "depends on itself in a circle: epochs -> clip -> epochs"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"epochs\":1}}}", "{}", "circle: epochs -> epochs"},
    {"{\"epochs\":{\"values\":[1],\"when\":[]}}", "{}", "parameters.epochs.when: a list was found"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"methd\":\"lora\"}}}", "{}", "nearest is 'method'"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"method\":[]}}}", "{}",
     "parameters.epochs.when.method: the list is empty"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"method\":\"lroa\"}}}", "{\"method\":\"lora\"}",
     "parameters.epochs.when.method: 'lroa' is not one of"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"method\":\"adapter\"}}}", "{\"method\":\"lora\"}",
     "parameters.epochs.when.method: 'method' cannot be \"adapter\" here"},
    {"{\"epochs\":{\"values\":[1],\"when\":{\"rank\":99}},\"rank\":{\"min\":1,\"max\":8}}", "{\"method\":\"lora\"}",
     "parameters.epochs.when.rank: 'rank' cannot be 99 here"},
    {"{\"epochs\":[{\"values\":[1]},{\"values\":[2],\"when\":{\"method\":\"lora\"}}]}", "{\"method\":\"lora\"}",
     "parameters.epochs[1]: is never reached"},
    {"{\"rank\":{\"values\":[8]}}", "{}", "parameters.rank: 'rank' exists only when 'method' is one of 'lora "},
    {"{\"rank\":{\"values\":[8]},\"method\":{\"values\":[\"full\",\"adapter\"]}}", "{}", "cannot be chosen here"},
    {"{\"epochs\":{\"values\":[1]}}", "{\"rank\":4}", "settings.rank: 'rank' exists only when"},
    {"{\"momentum\":{\"values\":[0.5]}}", "{}", "'momentum' exists only when 'optimizer' is one of 'sgd'"},
};

Test(space, every_mistake_is_said_once_with_its_path)
{
    for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
        struct fixture *f = fixture_new(mistakes[i].parameters, mistakes[i].settings);
        const char *list = f->problems.list.data ? f->problems.list.data : "";
        cr_expect(strstr(list, mistakes[i].message), "%s: '%s'", mistakes[i].parameters, list);
        fixture_free(f);
    }
}

Test(space, all_mistakes_at_once_and_none_twice)
{
    struct fixture *f = fixture_new("{\"rank\":{\"min\":16,\"max\":8},\"alpha\":{\"expression\":\"2 * rank\"},"
                                    "\"epocs\":{\"values\":[1]},\"batch_size\":{\"values\":[0,8]},"
                                    "\"clip\":{\"values\":[1],\"when\":{\"rank\":4}}}",
                                    "{\"method\":\"lora\"}");
    struct err err = {0};
    cr_expect_eq(f->problems.n, 3, "%s", f->problems.list.data);
    cr_expect_eq(problems_result(&f->problems, "a.json", &err), ERR_USAGE);
    cr_expect(strstr(err.message, "'a.json': 3 problems\nparameters.rank: min 16 is above max 8\n"), "%s", err.message);
    cr_expect_eq(err.message[strlen(err.message) - 1], 'd', "no newline at the end: %s", err.message);
    fixture_free(f);
    f = fixture_new("[]", "{}");
    cr_expect_str_eq(f->problems.list.data, "parameters: a list was found, an object of parameters was expected\n");
    fixture_free(f);
}

/* ---- draws ----------------------------------------------------------------------------------------------------- */

Test(space, parameters_come_after_what_they_look_at_and_exist_only_where_they_apply)
{
    struct fixture *f =
        fixture_good("{\"alpha\":{\"expression\":\"2 * rank\"},\"rank\":{\"values\":[1,4,16]},"
                     "\"learning_rate\":[{\"when\":{\"method\":\"full\"},\"min\":1e-6,\"max\":1e-4,\"scale\":\"log\"},"
                     "{\"when\":{\"method\":[\"lora\",\"adapter\"]},\"min\":1e-3,\"max\":1e-2,\"scale\":\"log\"}],"
                     "\"method\":{\"values\":[\"full\",\"bitfit\",\"lora\",[\"lora\",\"adapter\"]]}}",
                     "{}");
    int seen[4] = {0};
    cr_expect_str_eq(f->space.parameters[0].name, "method");
    for (uint32_t i = 0; i < 200; i++) {
        cJSON *c = draw(f, i);
        const cJSON *method = json_get(c, "method");
        bool is_list = cJSON_IsArray(method);
        char first = is_list ? 'l' : method->valuestring[0];
        seen[is_list ? 3 : first == 'l' ? 2 : first == 'b']++;
        if (first == 'l')
            cr_expect_eq(number(c, "alpha"), 2 * number(c, "rank"));
        else
            cr_expect(!json_get(c, "rank") && !json_get(c, "alpha"), "rank beside '%s'", method->valuestring);
        if (first == 'f')
            cr_expect(number(c, "learning_rate") <= 1e-4);
        else if (first == 'l')
            cr_expect(number(c, "learning_rate") >= 1e-3);
        else
            cr_expect_null(json_get(c, "learning_rate"));
        cJSON_Delete(c);
    }
    for (int i = 0; i < 4; i++)
        cr_expect(seen[i] > 25, "kind %d was drawn %d times", i, seen[i]);
    fixture_free(f);
}

Test(space, conditions_on_settings_and_on_defaults)
{
    struct fixture *f =
        fixture_good("{\"clip\":{\"values\":[5],\"when\":{\"optimizer\":\"adamw\",\"batch_size\":[8,16]}},"
                     "\"epochs\":[{\"values\":[1],\"when\":{\"schedule\":\"cosine\"}},{\"values\":[2]}],"
                     "\"schedule\":{\"values\":[\"linear\",\"cosine\"]},"
                     "\"steps\":{\"expression\":\"batch_size / 3 * 3\"}}",
                     "{\"batch_size\":16}");
    cr_expect_eq(space_grid_size(&f->space), 2);
    expect_at(f, 0, "{\"clip\":5,\"schedule\":\"linear\",\"epochs\":2,\"steps\":16}");
    expect_at(f, 1, "{\"clip\":5,\"schedule\":\"cosine\",\"epochs\":1,\"steps\":16}");
    fixture_free(f);
}

Test(space, draws_follow_their_distribution)
{
    enum { N = 4000 };
    struct fixture *f = fixture_good("{\"learning_rate\":{\"min\":1e-5,\"max\":1e-1,\"scale\":\"log\"},"
                                     "\"weight_decay\":{\"min\":0.1,\"max\":0.5},"
                                     "\"batch_size\":{\"min\":1,\"max\":4,\"scale\":\"log\"},"
                                     "\"max_tokens\":{\"min\":16,\"max\":70,\"quantum\":16},"
                                     "\"label_smoothing\":{\"min\":0.1,\"max\":0.3,\"quantum\":0.1},"
                                     "\"clip\":{\"distribution\":\"normal\",\"mean\":5,\"deviation\":2,\"min\":1},"
                                     "\"warmup\":{\"distribution\":\"log_normal\",\"mean\":-2,\"deviation\":0.5},"
                                     "\"accumulation\":{\"distribution\":\"normal\",\"mean\":1,\"deviation\":1},"
                                     "\"epochs\":{\"values\":[1,2,3],\"probabilities\":[0.2,0,0.8]}}",
                                     "{}");
    double log_rate = 0, decay = 0, log_warmup = 0;
    int batch[5] = {0}, tokens[5] = {0}, threes = 0, smoothing[4] = {0};
    for (uint32_t i = 0; i < N; i++) {
        cJSON *c = draw(f, i);
        double rate = number(c, "learning_rate"), weight = number(c, "weight_decay"), size = number(c, "batch_size");
        cr_assert(rate >= 1e-5 && rate <= 1e-1 && weight >= 0.1 && weight <= 0.5);
        cr_assert(size == 1 || size == 2 || size == 3 || size == 4, "%g", size);
        double t = number(c, "max_tokens"), s = number(c, "label_smoothing");
        cr_assert(t == 16 || t == 32 || t == 48 || t == 64, "%g", t);
        cr_assert(s == 0.1 || s == 0.2 || s == 0.3, "%.17g is not written as a person would", s);
        cr_assert(number(c, "clip") >= 1);
        cr_assert(number(c, "accumulation") >= 1 && number(c, "accumulation") == floor(number(c, "accumulation")));
        cr_assert_neq(number(c, "epochs"), 2);
        threes += number(c, "epochs") == 3;
        batch[(int)size]++;
        tokens[(int)t / 16]++;
        smoothing[(int)lround(s * 10)]++;
        log_rate += log10(rate) / N;
        decay += weight / N;
        log_warmup += log(number(c, "warmup")) / N;
        cJSON_Delete(c);
    }
    cr_expect_float_eq(log_rate, -3, 0.08, "%g", log_rate);
    cr_expect_float_eq(decay, 0.3, 0.01, "%g", decay);
    cr_expect_float_eq(log_warmup, -2, 0.04, "%g", log_warmup);
    cr_expect_float_eq(threes, 0.8 * N, 0.03 * N);
    /* Log over [0.5, 4.5]: 1 takes log(3) of log(9). */
    cr_expect_float_eq(batch[1], N * log(3) / log(9), 0.04 * N, "%d", batch[1]);
    cr_expect_float_eq(batch[4], N * log(4.5 / 3.5) / log(9), 0.03 * N, "%d", batch[4]);
    for (int k = 1; k <= 4; k++)
        cr_expect_float_eq(tokens[k], N / 4.0, 0.03 * N, "%d: %d", k, tokens[k]);
    for (int k = 1; k <= 3; k++)
        cr_expect_float_eq(smoothing[k], N / 3.0, 0.03 * N, "%d: %d", k, smoothing[k]);
    fixture_free(f);
}

Test(space, the_same_stream_draws_the_same_and_json_keeps_it)
{
    struct fixture *f = fixture_good("{\"learning_rate\":{\"min\":1e-5,\"max\":1e-1,\"scale\":\"log\"},"
                                     "\"seed\":{\"min\":0,\"max\":9007199254740991}}",
                                     "{}");
    for (uint32_t i = 0; i < 100; i++) {
        cJSON *a = draw(f, i), *b = draw(f, i), *next = draw(f, i + 1), *read = NULL;
        char *text = as_text(a);
        struct err err = {0};
        cr_assert_eq(json_parse(text, strlen(text), &read, &err), 0, "%s", err.message);
        cr_expect(json_equal(a, b));
        cr_expect_not(json_equal(a, next));
        cr_expect_eq(number(a, "learning_rate"), number(read, "learning_rate"));
        cr_expect_eq(number(a, "seed"), number(read, "seed"));
        free(text);
        cJSON_Delete(a);
        cJSON_Delete(b);
        cJSON_Delete(next);
        cJSON_Delete(read);
    }
    fixture_free(f);
}

static void expect_draw_fails(const char *parameters, const char *settings, const char *message)
{
    struct fixture *f = fixture_good(parameters, settings);
    struct rng_stream stream = rng_stream(rng_make(1, RNG_SEARCH), 0, 0, 0);
    cJSON *configuration = NULL;
    struct err err = {0};
    cr_expect_eq(space_draw(&f->space, &stream, &configuration, &err), ERR_USAGE);
    cr_expect(strstr(err.message, message), "%s", err.message);
    cr_expect_null(configuration);
    cr_expect_eq(space_grid_at(&f->space, 0, &configuration, &err), ERR_USAGE);
    cr_expect(strstr(err.message, message), "%s", err.message);
    fixture_free(f);
}

Test(space, expressions_that_give_no_allowed_value_are_errors)
{
    expect_draw_fails("{\"batch_size\":{\"expression\":\"accumulation / 2\"},\"accumulation\":{\"values\":[3]}}", "{}",
                      "parameters.batch_size: 1.5 is not a whole number");
    expect_draw_fails("{\"batch_size\":{\"expression\":\"clip - 2\"}}", "{\"clip\":2}",
                      "parameters.batch_size: 0 is below 1");
    expect_draw_fails("{\"epochs\":{\"expression\":\"1 / clip\"}}", "{\"clip\":0}", "parameters.epochs: division by 0");
    expect_draw_fails("{\"epochs\":{\"expression\":\"rank\"},\"rank\":{\"values\":[4],\"when\":{\"method\":\"lora\"}},"
                      "\"method\":{\"values\":[\"full\",\"lora\"],\"probabilities\":[1,0]}}",
                      "{}", "parameters.epochs: 'rank' does not exist beside the values chosen");
}

/* ---- grid ------------------------------------------------------------------------------------------------------ */

Test(space, grid_counts_conditions_and_the_last_parameter_varies_fastest)
{
    struct fixture *f = fixture_good("{\"method\":{\"values\":[\"full\",\"lora\",\"adapter\"]},"
                                     "\"rank\":{\"values\":[1,4]},\"alpha\":{\"expression\":\"2*rank\"},"
                                     "\"adapter_size\":{\"min\":8,\"max\":24,\"quantum\":8},"
                                     "\"batch_size\":{\"min\":15,\"max\":16}}",
                                     "{}");
    cr_expect_eq(space_grid_size(&f->space), (1 + 2 + 3) * 2);
    expect_at(f, 0, "{\"method\":\"full\",\"batch_size\":15}");
    expect_at(f, 1, "{\"method\":\"full\",\"batch_size\":16}");
    expect_at(f, 2, "{\"method\":\"lora\",\"rank\":1,\"alpha\":2,\"batch_size\":15}");
    expect_at(f, 5, "{\"method\":\"lora\",\"rank\":4,\"alpha\":8,\"batch_size\":16}");
    expect_at(f, 6, "{\"method\":\"adapter\",\"adapter_size\":8,\"batch_size\":15}");
    expect_at(f, 11, "{\"method\":\"adapter\",\"adapter_size\":24,\"batch_size\":16}");
    cJSON *configuration = NULL;
    struct err err = {0};
    cr_expect_eq(space_grid_at(&f->space, 12, &configuration, &err), ERR_USAGE);
    cr_expect_eq(space_grid_at(&f->space, -1, &configuration, &err), ERR_USAGE);
    fixture_free(f);
}

Test(space, grid_of_an_expression_that_decides)
{
    struct fixture *f = fixture_good("{\"clip\":{\"expression\":\"batch_size / 8\"},\"batch_size\":{\"values\":[8,16]},"
                                     "\"epochs\":{\"values\":[1,2,3],\"when\":{\"clip\":2}}}",
                                     "{}");
    cr_expect_eq(space_grid_size(&f->space), 4);
    expect_at(f, 0, "{\"batch_size\":8,\"clip\":1}");
    expect_at(f, 3, "{\"batch_size\":16,\"clip\":2,\"epochs\":3}");
    fixture_free(f);
}

Test(space, grid_sizes_that_are_none_or_very_large)
{
    struct fixture *f = fixture_good("{\"epochs\":{\"min\":1,\"max\":2}}", "{}");
    cJSON *configuration = NULL;
    struct err err = {0};
    cr_expect_eq(space_grid_size(&f->space), -1);
    cr_expect_eq(space_grid_at(&f->space, 0, &configuration, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "parameters.epochs: a grid needs values"), "%s", err.message);
    fixture_free(f);
    f = fixture_good("{\"epochs\":{\"min\":1,\"max\":2,\"quantum\":0.1}}", "{}");
    cr_expect_eq(space_grid_size(&f->space), 11);
    expect_at(f, 2, "{\"epochs\":1.2}");
    fixture_free(f);
    f = fixture_good("{\"seed\":{\"min\":0,\"max\":9007199254740991},\"steps\":{\"min\":1,\"max\":1000000000}}", "{}");
    cr_expect_eq(space_grid_size(&f->space), INT64_MAX);
    expect_at(f, 1000000001, "{\"seed\":1,\"steps\":2}");
    fixture_free(f);
    f = fixture_good("{\"seed\":{\"min\":0,\"max\":9007199254740991},\"clip\":{\"values\":[1],\"when\":{\"seed\":3}}}",
                     "{}");
    cr_expect_eq(space_grid_size(&f->space), -1, "too many values decide");
    fixture_free(f);
    f = fixture_good("{}", "{}");
    cr_expect_eq(space_grid_size(&f->space), 1);
    expect_at(f, 0, "{}");
    fixture_free(f);
}
