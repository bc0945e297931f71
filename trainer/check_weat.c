/* Word and sentence embedding association test on the model's features (docs/checks.md).
 * Caliskan et al. 2017, arXiv:1608.07187; sentences: May et al. 2019, arXiv:1903.10561 */
#include <stdlib.h>
#include <string.h>

#include "common/association.h"
#include "common/json.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/features.h"

enum { SETS = 4 };

/* Target sets X and Y, attribute sets A and B, one behind the other. Texts point into the file. */
struct word_sets {
    struct json_lines lines;
    const char **texts;
    size_t counts[SETS], n;
    char hash[HASH_HEX_SIZE];
};

static const char *const set_names[SETS] = {"targ1", "targ2", "attr1", "attr2"};

static int add_set(struct word_sets *sets, int index, struct err *err)
{
    const cJSON *root = sets->lines.items[0].root, *set = NULL, *examples = NULL;
    int rc = json_get_object(root, set_names[index], "association", &set, err);
    if (rc == 0)
        rc = json_get_array(set, "examples", set_names[index], &examples, err);
    for (const cJSON *item = rc == 0 ? examples->child : NULL; item && rc == 0; item = item->next) {
        if (!cJSON_IsString(item) || !item->valuestring[0])
            return err_set(err, ERR_FORMAT, "%s.examples: %s was found, a text was expected", set_names[index],
                           json_type_name(item));
        const char **grown = realloc(sets->texts, (sets->n + 1) * sizeof(*grown));
        if (!grown)
            return err_set(err, ERR_NOMEM, "no memory for an association test");
        sets->texts = grown;
        sets->texts[sets->n++] = item->valuestring;
        sets->counts[index]++;
    }
    return rc == 0 && sets->counts[index] == 0
               ? err_set(err, ERR_FORMAT, "%s.examples: the list is empty", set_names[index])
               : rc;
}

static int read_file(struct word_sets *sets, const char *path, struct err *err)
{
    struct text all = {0};
    *sets = (struct word_sets){0};
    int rc = json_lines_read(&sets->lines, path, err);
    if (rc == 0 && sets->lines.count > 1)
        return err_set(err, ERR_FORMAT, "'%s', line %d: a second test was found, one a file was expected", path,
                       sets->lines.items[1].line);
    for (int i = 0; i < SETS && rc == 0; i++)
        if ((rc = add_set(sets, i, err)) < 0) {
            char key[16];
            snprintf(key, sizeof(key), "\"%s\"", set_names[i]);
            err_wrap(err, "'%s', line %d", path, json_lines_find(&sets->lines, sets->lines.items[0].line, key));
        }
    for (size_t i = 0; i < sets->n; i++)
        text_printf(&all, "%zu:%s", strlen(sets->texts[i]), sets->texts[i]);
    if (rc == 0)
        hash_bytes(all.data ? all.data : "", all.len, sets->hash);
    text_done(&all);
    return rc;
}

static void sets_done(struct word_sets *sets)
{
    json_lines_done(&sets->lines);
    free(sets->texts);
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct word_sets sets = {0};
    int rc = features_fit(trial, err);
    if (rc == 0)
        rc = read_file(&sets, check->file, err);
    sets_done(&sets);
    return rc;
}

static int measure(struct trial *trial, const struct word_sets *sets, double *items, double *scores, double *features,
                   struct err *err)
{
    size_t d = (size_t)trial->model.hidden_size, n_targets = sets->counts[0] + sets->counts[1];
    int rc = features_compute(trial, sets->texts, sets->n, features, err);
    if (rc < 0)
        return rc;
    const struct association association = {
        .x = features,
        .y = features + sets->counts[0] * d,
        .a = features + n_targets * d,
        .b = features + (n_targets + sets->counts[2]) * d,
        .n_x = (int)sets->counts[0],
        .n_y = (int)sets->counts[1],
        .n_a = (int)sets->counts[2],
        .n_b = (int)sets->counts[3],
        .width = (int)d,
    };
    association_scores(&association, scores);
    for (size_t i = 0; i < n_targets; i++) {
        items[2 * i] = i < sets->counts[0];
        items[2 * i + 1] = scores[i];
    }
    return 0;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct word_sets sets;
    struct arena arena = {0};
    int rc = read_file(&sets, check->file, err);
    size_t n = sets.counts[0] + sets.counts[1];
    double *items = arena_calloc(&arena, 3 * n + 1, sizeof(*items));
    double *features = arena_calloc(&arena, sets.n * (size_t)trial->model.hidden_size + 1, sizeof(*features));
    if (rc == 0 && (!items || !features))
        rc = err_set(err, ERR_NOMEM, "no memory for the features of %zu texts", sets.n);
    if (rc == 0)
        rc = measure(trial, &sets, items, items + 2 * n, features, err);
    if (rc == 0)
        check_send(trial, check, items, n, sets.hash);
    arena_done(&arena);
    sets_done(&sets);
    return rc;
}

const struct check_kind check_weat = {.name = "weat", .fits = fits, .run = run};
