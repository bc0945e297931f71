/* Sweep files of Weights & Biases: YAML becomes JSON as people mean it, every distribution has its counterpart, what
 * has none is named, and what is wrong is refused with its place. Expected numbers were computed with scipy. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/definition.h"
#include "orchestrator/wandb.h"
#include "orchestrator/yaml.h"

static char *yaml_as_json(const char *yaml, struct err *err)
{
    cJSON *root = NULL;
    struct text text = {0};
    if (yaml_parse(yaml, strlen(yaml), &root, err) < 0)
        return NULL;
    json_add(&text, root);
    json_free(root);
    return text_take(&text);
}

Test(yaml, values_are_what_people_mean)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"a: 1e-5", "{\"a\":1e-05}"},
        {"a: [1, 2.5, .5, -3, 0x1f, 0o17, 1_000]", "{\"a\":[1,2.5,0.5,-3,31,15,1000]}"},
        {"a: [yes, No, true, OFF]", "{\"a\":[true,false,true,false]}"},
        {"a: [~, null, '', \"1\", 'yes', v1.0, 1.2.3, -]",
         "{\"a\":[null,null,\"\",\"1\",\"yes\",\"v1.0\",\"1.2.3\",\"-\"]}"},
        {"b: &x {p: 1, q: 2}\na:\n  <<: *x\n  q: 3", "{\"b\":{\"p\":1,\"q\":2},\"a\":{\"q\":3,\"p\":1}}"},
        {"- a\n- b: |\n    two\n    lines\n", "[\"a\",{\"b\":\"two\\nlines\\n\"}]"},
        {"# a comment\n---\na: 1\n...\n", "{\"a\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        char *json = yaml_as_json(cases[i].yaml, &err);
        cr_expect_str_eq(json ? json : err.message, cases[i].json);
        free(json);
    }
}

Test(yaml, refuses_with_line_and_column)
{
    static const struct {
        const char *yaml, *expect;
    } cases[] = {
        {"a: [1, 2", "line 2, column 1"},
        {"a: 1\na: 2", "line 2, column 1: the key stands in a mapping twice"},
        {"a: &x [*x]", "an alias of itself"},
        {"a: .inf", "line 1, column 4: a finite number"},
        {"? [1]\n: 2", "a key must be a text"},
        {"a: 1\n---\nb: 2", "a second document"},
        {"", "the file is empty"},
        {"a: \"\\0\"", "a text with a NUL"},
        {"a:\n\t- b", "line 2"},
        {"a: \xff", "byte"},
        {"a: *b", "line 1"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        char *json = yaml_as_json(cases[i].yaml, &err);
        cr_expect_null(json, "%s: was taken", cases[i].yaml);
        cr_expect(strstr(err.message, cases[i].expect), "%s: %s", cases[i].yaml, err.message);
        free(json);
    }
}

/* Ten lists of ten aliases each, eight levels: 10^8 values in a file of half a kilobyte. */
Test(yaml, refuses_what_aliases_blow_up)
{
    struct text text = {0};
    struct err err = {0};
    text_add(&text, "a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for (int level = 1; level < 9; level++) {
        text_printf(&text, "a%d: &a%d [", level, level);
        for (int i = 0; i < 10; i++)
            text_printf(&text, "%s*a%d", i ? ", " : "", level - 1);
        text_add(&text, "]\n");
    }
    cr_expect_null(yaml_as_json(text.data, &err));
    cr_expect(strstr(err.message, "too many values"), "%s", err.message);
    text_done(&text);
}

/* The parameter `p` of a file whose p is `distribution`, as JSON; NULL: the message is in `err`. */
static char *parameter(const char *distribution, char **remarks, struct err *err)
{
    struct text yaml = {0}, json = {0}, said = {0};
    cJSON *definition = NULL;
    text_printf(&yaml, "method: random\nparameters:\n  p: %s\n", distribution);
    int rc = wandb_convert(yaml.data, yaml.len, "sweep.yaml", &definition, &said, err);
    text_done(&yaml);
    if (remarks)
        *remarks = text_take(&said);
    text_done(&said);
    if (rc < 0)
        return NULL;
    json_add(&json, json_get(json_get(definition, "parameters"), "p"));
    json_free(definition);
    return text_take(&json);
}

Test(wandb, every_distribution)
{
    static const struct {
        const char *yaml, *json;
    } cases[] = {
        {"{values: [16, a, 2.5]}", "{\"values\":[16,\"a\",2.5]}"},
        {"{distribution: categorical, values: [1]}", "{\"values\":[1]}"},
        {"{values: [a, b], probabilities: [3, 1]}", "{\"values\":[\"a\",\"b\"],\"probabilities\":[0.75,0.25]}"},
        {"{min: 1, max: 5}", "{\"min\":1,\"max\":5,\"type\":\"int\"}"},
        {"{min: 1.0, max: 5}", "{\"min\":1,\"max\":5}"},
        {"{distribution: int_uniform, min: 1, max: 5}", "{\"min\":1,\"max\":5,\"type\":\"int\"}"},
        {"{distribution: uniform, min: 0, max: 1}", "{\"min\":0,\"max\":1}"},
        {"{distribution: q_uniform, min: 0, max: 1, q: 0.1}", "{\"min\":0,\"max\":1,\"quantum\":0.1}"},
        {"{distribution: q_uniform, min: 1, max: 9, q: 4}", "{\"min\":0,\"max\":8,\"type\":\"int\",\"quantum\":4}"},
        {"{distribution: q_uniform, min: 0.2, max: 4}", "{\"min\":0,\"max\":4,\"type\":\"int\"}"},
        {"{distribution: log_uniform_values, min: 1e-5, max: 0.1}", "{\"min\":1e-05,\"max\":0.1,\"scale\":\"log\"}"},
        {"{distribution: inv_log_uniform_values, min: 0.01, max: 9}", "{\"min\":0.01,\"max\":9,\"scale\":\"log\"}"},
        {"{distribution: q_log_uniform_values, min: 1, max: 32}",
         "{\"min\":1,\"max\":32,\"scale\":\"log\",\"type\":\"int\"}"},
        {"{distribution: normal, mu: 2, sigma: 0.5}", "{\"distribution\":\"normal\",\"mean\":2,\"deviation\":0.5}"},
        {"{distribution: log_normal}", "{\"distribution\":\"log_normal\",\"mean\":0,\"deviation\":1}"},
        {"{distribution: q_normal, mu: 8, sigma: 2}",
         "{\"distribution\":\"normal\",\"mean\":8,\"deviation\":2,\"type\":\"int\"}"},
        {"{distribution: q_log_normal, mu: 2}",
         "{\"distribution\":\"log_normal\",\"mean\":2,\"deviation\":1,\"type\":\"int\"}"},
        {"{distribution: beta}", "{\"min\":0,\"max\":1}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        char *json = parameter(cases[i].yaml, NULL, &err);
        cr_expect(json, "%s: %s", cases[i].yaml, err.message);
        cr_expect_str_eq(json ? json : "", cases[i].json, "%s: %s", cases[i].yaml, json ? json : "");
        free(json);
    }
}

static double member(const char *json, const char *key, int i)
{
    cJSON *root = cJSON_Parse(json);
    const cJSON *item = json_get(root, key);
    double value = i < 0 ? item->valuedouble : cJSON_GetArrayItem(item, i)->valuedouble;
    cJSON_Delete(root);
    return value;
}

Test(wandb, bounds_of_exponents_are_values)
{
    struct err err = {0};
    char *json = parameter("{distribution: log_uniform, min: -9.210340371976182, max: -2.302585092994046}", NULL, &err);
    cr_expect_float_eq(member(json, "min", -1), 1e-4, 1e-17);
    cr_expect_float_eq(member(json, "max", -1), 0.1, 1e-14);
    free(json);
    json = parameter("{distribution: inv_log_uniform, min: 2.302585092994046, max: 9.210340371976182}", NULL, &err);
    cr_expect_float_eq(member(json, "min", -1), 1e-4, 1e-17);
    cr_expect_float_eq(member(json, "max", -1), 0.1, 1e-14);
    free(json);
    json = parameter("{distribution: q_log_uniform, min: 2.08, max: 6.24, q: 8}", NULL, &err);
    cr_expect_eq(member(json, "min", -1), 8);
    cr_expect_eq(member(json, "max", -1), 512);
    free(json);
}

/* Φ(0.25) − Φ(−0.25) = 0.19741265 of scipy.stats.norm; I_x(2, 3) of scipy.special.betainc. */
Test(wandb, listed_distributions_have_their_probabilities)
{
    struct err err = {0};
    char *json = parameter("{distribution: q_normal, q: 0.5}", NULL, &err);
    cr_expect_eq(member(json, "values", 10), 0);
    cr_expect_float_eq(member(json, "probabilities", 10), 0.1974126513658474, 1e-6);
    cr_expect_float_eq(member(json, "probabilities", 12), 0.12097757871025, 1e-6);
    free(json);
    json = parameter("{distribution: q_beta, a: 2, b: 3, q: 0.25}", NULL, &err);
    cr_expect_float_eq(member(json, "probabilities", 0), 0.078857421875, 1e-12);
    cr_expect_float_eq(member(json, "probabilities", 1), 0.40234375, 1e-12);
    cr_expect_float_eq(member(json, "probabilities", 4), 0.007080078125, 1e-12);
    free(json);
    char *remarks = NULL;
    json = parameter("{distribution: beta, a: 2, b: 3}", &remarks, &err);
    cr_expect_float_eq(member(json, "values", 0), 0.02944478713793322, 1e-9);
    cr_expect_float_eq(member(json, "values", 49), 0.3828674689639817, 1e-9);
    cr_expect(strstr(remarks, "parameters.p: a beta distribution has no counterpart"), "%s", remarks);
    free(json);
    free(remarks);
}

Test(wandb, wrong_parameters_are_refused)
{
    static const struct {
        const char *yaml, *expect;
    } cases[] = {
        {"{distribution: log_uniform, min: 1e-5, max: 0.1}", "log_uniform_values with these bounds is likely meant"},
        {"{distribution: log_uniform, min: 16, max: 512}", "log_uniform_values with these bounds is likely meant"},
        {"{distribution: inv_log_uniform, min: 0.001, max: 0.1}", "inv_log_uniform_values with these bounds"},
        {"{distribution: q_log_uniform, min: 1, max: 64, q: 2}", "q_log_uniform_values with these bounds"},
        {"{distribution: log_uniform, min: -2000, max: 1}", "are no numbers"},
        {"{distribution: log_uniform_values, min: 0, max: 1}", "parameters.p.min: 0 must be above 0"},
        {"{min: 5, max: 1}", "min 5 is above max 1"},
        {"{min: 5}", "parameters.p.max: is missing"},
        {"{min: a, max: 2}", "parameters.p.min: a text was found"},
        {"{values: []}", "parameters.p.values: an empty list was found"},
        {"{values: 3}", "parameters.p.values: a number was found"},
        {"{values: [1, 2], probabilities: [1]}", "2 numbers, one a value"},
        {"{values: [1, 2], probabilities: [0, 0]}", "one above it"},
        {"{distribution: q_uniform, min: 0, max: 1, q: 0}", "parameters.p.q: 0 must be above 0"},
        {"{distribution: q_normal, q: 0.001}", "makes 10001 values"},
        {"{distribution: normal, sigma: 0}", "parameters.p.sigma: 0 must be above 0"},
        {"{distribution: beta, a: 0}", "must be above 0"},
        {"{distribution: int_uniform, min: 0.5, max: 2}", "whole bounds"},
        {"{distribution: q_log_uniform_values, min: 0.1, max: 0.4}", "rounds to 0"},
        {"{distribution: log_unifrm, min: 1, max: 2}", "nearest is 'log_uniform'"},
        {"{distribution: normal, mean: 2}", "parameters.p.mean: is not known"},
        {"{}", "'value', 'values', 'min' and 'max', 'distribution' or 'parameters' is missing"},
        {"3", "parameters.p: a number was found"},
        {"{parameters: {}}", "a mapping of parameters was expected"},
        {"{distribution: constant}", "parameters.p.value: is missing"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        char *json = parameter(cases[i].yaml, NULL, &err);
        cr_expect_null(json, "%s: was taken", cases[i].yaml);
        cr_expect(strstr(err.message, cases[i].expect), "%s: %s", cases[i].yaml, err.message);
        free(json);
    }
}

static cJSON *convert(const char *yaml, char **remarks, struct err *err)
{
    cJSON *definition = NULL;
    struct text said = {0};
    if (wandb_convert(yaml, strlen(yaml), "runs/My Sweep.yaml", &definition, &said, err) < 0)
        definition = NULL;
    if (remarks)
        *remarks = text_take(&said);
    text_done(&said);
    return definition;
}

static void expect_member(const cJSON *definition, const char *key, const char *json)
{
    struct text text = {0};
    json_add(&text, json_get(definition, key));
    cr_expect_str_eq(text.data, json, "%s: %s", key, text.data);
    text_done(&text);
}

Test(wandb, a_whole_file)
{
    struct err err = {0};
    char *remarks = NULL;
    cJSON *d = convert("program: train.py\nproject: p\nmethod: bayes\nrun_cap: 30\ndescription: why\n"
                       "metric: {name: val/loss, target: 0.1}\n"
                       "early_terminate: {type: hyperband, max_iter: 27, s: 2, strict: true}\n"
                       "parameters:\n  epochs: {value: 3}\n  lr: {min: 0.0, max: 0.1}\n"
                       "  optimizer:\n    parameters:\n      name: {values: [adam, sgd]}\n      eps: {value: 1e-8}\n"
                       "nightsweep:\n  seeds: 3\n  name: other\n",
                       &remarks, &err);
    cr_assert(d, "%s", err.message);
    expect_member(d, "name", "\"other\"");
    expect_member(d, "search", "{\"algorithm\":\"gp\"}");
    expect_member(d, "objectives", "[{\"metric\":\"val/loss\",\"goal\":\"minimize\"}]");
    expect_member(d, "stopping", "{\"rule\":\"asha\",\"min_resource\":3,\"max_resource\":27,\"reduction_factor\":3}");
    expect_member(d, "budget", "{\"trials\":30}");
    expect_member(d, "settings", "{\"epochs\":3,\"optimizer.eps\":1e-08}");
    expect_member(d, "parameters",
                  "{\"lr\":{\"min\":0,\"max\":0.1},\"optimizer.name\":{\"values\":[\"adam\",\"sgd\"]}}");
    expect_member(d, "seeds", "3");
    cr_expect_str_eq(cJSON_GetArrayItem(json_get(d, "notes"), 0)->valuestring, "why");
    static const char *const named[] = {
        "program, command: ", "project: ", "metric.target: ", "early_terminate.strict: "};
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++)
        cr_expect(strstr(remarks, named[i]), "%s is dropped silently: %s", named[i], remarks);
    free(remarks);
    json_free(d);
}

Test(wandb, names_and_several_metrics)
{
    struct err err = {0};
    char *remarks = NULL;
    cJSON *d =
        convert("method: custom\nmetrics: [{name: a, goal: maximize}, {name: b}]\nparameters: {x: {values: [1]}}",
                &remarks, &err);
    cr_assert(d, "%s", err.message);
    expect_member(d, "name", "\"my-sweep\"");
    expect_member(d, "search", "{\"algorithm\":\"auto\"}");
    expect_member(d, "objectives",
                  "[{\"metric\":\"a\",\"goal\":\"maximize\"},{\"metric\":\"b\",\"goal\":\"minimize\"}]");
    free(remarks);
    json_free(d);
}

Test(wandb, wrong_files_are_refused_with_every_problem)
{
    static const struct {
        const char *yaml, *expect;
    } cases[] = {
        {"[1]", "a list was found, a mapping was expected"},
        {"method: baies\nparameters: {x: {values: [1]}}", "nearest is 'bayes'"},
        {"parameters: {x: {values: [1]}}", "method: is missing"},
        {"method: grid", "parameters: is missing"},
        {"method: bayes\nparameters: {x: {values: [1]}}", "metric: is missing, bayes needs"},
        {"method: grid\nparmeters: {x: {values: [1]}}", "nearest is 'parameters'"},
        {"method: grid\nmetric: {goal: min}\nparameters: {x: {values: [1]}}", "metric.goal: minimize or maximize"},
        {"method: grid\nmetric: {nam: x}\nparameters: {x: {values: [1]}}",
         "metric.nam: is not known; nearest is 'name'"},
        {"method: grid\nearly_terminate: {type: median}\nparameters: {x: {values: [1]}}",
         "type: hyperband was expected"},
        {"method: grid\nearly_terminate: {type: hyperband}\nparameters: {x: {values: [1]}}", "min_iter: is missing"},
        {"method: grid\nearly_terminate: {type: hyperband, max_iter: 9}\nparameters: {x: {values: [1]}}",
         ".s: is missing"},
        {"method: grid\nearly_terminate: {type: hyperband, min_iter: 2, eta: 1}\nparameters: {x: {values: [1]}}",
         "eta above 1"},
        {"method: grid\nrun_cap: many\nparameters: {x: {values: [1]}}", "run_cap: a text was found"},
        {"method: grid\nnightsweep: 3\nparameters: {x: {values: [1]}}", "nightsweep: a number was found"},
        {"method: no\nparameters: {x: {min: 3, max: 1}}", "2 problems"},
        {"method: grid\nparameters: {x: {values: [1]}", "'runs/My Sweep.yaml': line 3"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct err err = {0};
        cJSON *d = convert(cases[i].yaml, NULL, &err);
        cr_expect_null(d, "%s: was taken", cases[i].yaml);
        cr_expect(strstr(err.message, cases[i].expect), "%s: %s", cases[i].yaml, err.message);
        json_free(d);
    }
}
