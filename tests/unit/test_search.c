/* Search algorithms: the table, where each ends, and that a proposal depends on definition and index only. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search.h"

struct fixture {
    struct definition definition;
    cJSON *parameters;
    struct problems problems;
};

static void fixture_init(struct fixture *f, const char *parameters, uint64_t seed, int64_t configurations)
{
    struct err err = {0};
    memset(f, 0, sizeof(*f));
    f->definition.seed = seed;
    f->definition.configurations = configurations;
    cr_assert_eq(json_parse(parameters, strlen(parameters), &f->parameters, &err), 0, "%s", err.message);
    int rc = space_read(&f->definition.space, f->parameters, NULL, &f->definition.arena, &f->problems, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    cr_assert_eq(f->problems.n, 0, "%s", f->problems.list.data);
}

static void fixture_done(struct fixture *f)
{
    arena_done(&f->definition.arena);
    json_free(f->parameters);
    problems_done(&f->problems);
}

/* The proposal as text, owned by the caller; NULL when there are no more. */
static char *propose(const struct fixture *f, const char *kind, int64_t index)
{
    cJSON *configuration = NULL;
    struct text text = {0};
    struct err err = {0};
    int rc = search_find(kind)->propose(&f->definition, index, &configuration, &err);
    cr_assert_eq(rc, 0, "%s", err.message);
    if (!configuration)
        return NULL;
    json_add(&text, configuration);
    cJSON_Delete(configuration);
    return text_take(&text);
}

static void expect(const struct fixture *f, const char *kind, int64_t index, const char *expected)
{
    char *text = propose(f, kind, index);
    if (expected)
        cr_expect_str_eq(text ? text : "none", expected);
    else
        cr_expect_null(text, "%s", text);
    free(text);
}

Test(search, table)
{
    cr_assert_not_null(search_find("grid"));
    cr_assert_not_null(search_find("random"));
    cr_expect_str_eq(search_find("random")->name, "random");
    cr_expect_null(search_find("gird"));
    for (const struct search_kind *const *kind = search_kinds; *kind; kind++)
        cr_expect((*kind)->help && ((*kind)->propose || (*kind)->suggest || (*kind)->choose) &&
                  search_find((*kind)->name) == *kind);
}

static const char *const grid = "{\"method\":{\"values\":[\"full\",\"lora\"]},\"rank\":{\"values\":[1,4]}}";

Test(search, grid_ends_with_its_size_or_at_the_limit)
{
    struct fixture f;
    fixture_init(&f, grid, 0, 0);
    expect(&f, "grid", 0, "{\"method\":\"full\"}");
    expect(&f, "grid", 1, "{\"method\":\"lora\",\"rank\":1}");
    expect(&f, "grid", 2, "{\"method\":\"lora\",\"rank\":4}");
    expect(&f, "grid", 3, NULL);
    f.definition.configurations = 2;
    expect(&f, "grid", 1, "{\"method\":\"lora\",\"rank\":1}");
    expect(&f, "grid", 2, NULL);
    f.definition.configurations = 50;
    expect(&f, "grid", 3, NULL);
    fixture_done(&f);
}

Test(search, grid_refuses_a_space_that_cannot_be_listed)
{
    struct fixture f;
    cJSON *configuration = NULL;
    struct err err = {0};
    fixture_init(&f, "{\"clip\":{\"min\":1,\"max\":2}}", 0, 0);
    cr_expect_eq(search_find("grid")->propose(&f.definition, 0, &configuration, &err), ERR_USAGE);
    cr_expect(strstr(err.message, "parameters.clip"), "%s", err.message);
    fixture_done(&f);
}

Test(search, random_is_a_function_of_seed_and_index)
{
    static const char *const space = "{\"clip\":{\"min\":1,\"max\":2},\"epochs\":{\"values\":[1,2,3]}}";
    struct fixture a, b, other;
    fixture_init(&a, space, 7, 20);
    fixture_init(&b, space, 7, 30); /* more configurations keep those there were */
    fixture_init(&other, space, 8, 20);
    for (int64_t i = 19; i >= 0; i--) {
        char *first = propose(&a, "random", i), *again = propose(&b, "random", i),
             *different = propose(&other, "random", i), *next = propose(&b, "random", i + 1);
        cr_expect_str_eq(first, again);
        cr_expect_str_neq(first, different);
        cr_expect_str_neq(first, next);
        free(first);
        free(again);
        free(different);
        free(next);
    }
    expect(&a, "random", 20, NULL);
    expect(&b, "random", 30, NULL);
    fixture_done(&a);
    fixture_done(&b);
    fixture_done(&other);
}
