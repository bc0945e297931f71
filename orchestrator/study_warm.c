/* Earlier sweeps: what they found counts as a prior of the model, and their best are tried first. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_pareto.h"
#include "orchestrator/study_internal.h"

enum { WARM_FIRST = 3 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for earlier sweeps");
}

/* The space's parameters among the values, in its order. */
static cJSON *pick(const struct study *study, const cJSON *values)
{
    cJSON *picked = cJSON_CreateObject();
    for (int i = 0; picked && i < study->definition->space.n_parameters; i++) {
        const char *name = study->definition->space.parameters[i].name;
        const cJSON *value = json_get(values, name);
        if (value)
            json_put(picked, name, cJSON_Duplicate(value, true));
    }
    return picked;
}

static int add(struct study *study, const struct study_foreign *foreign, struct err *err)
{
    if (study->n_foreign == study->foreign_capacity) {
        int next = study->foreign_capacity ? 2 * study->foreign_capacity : 64;
        struct study_foreign *grown = realloc(study->foreign, (size_t)next * sizeof(*grown));
        if (!grown)
            return no_memory(err);
        study->foreign = grown;
        study->foreign_capacity = next;
    }
    study->foreign[study->n_foreign++] = *foreign;
    return 0;
}

/* The point, scores and outcomes of a trial; ERR_USAGE where it does not belong here. */
static int read(struct study *study, const cJSON *parameters, const cJSON *metrics, struct study_foreign *foreign,
                struct err *err)
{
    bool is_bad = false;
    struct text key = {0};
    foreign->x = arena_calloc(&study->arena, (size_t)study->codec.n + 1, sizeof(double));
    foreign->scores = arena_calloc(&study->arena, (size_t)study->n_objectives + 1, sizeof(double));
    foreign->outcomes = arena_calloc(&study->arena, (size_t)study->n_constraints + 1, sizeof(double));
    if (!foreign->x || !foreign->scores || !foreign->outcomes)
        return no_memory(err);
    for (int i = 0; i < study->n_constraints; i++)
        foreign->outcomes[i] = NAN;
    int rc = study_encode(study, parameters, foreign->x, err);
    if (rc == 0)
        rc = study_read_metrics(study, metrics, foreign->scores, foreign->outcomes, &is_bad, err);
    if (rc == 0 && (is_bad || !study_is_allowed(study, foreign->x)))
        rc = err_set(err, ERR_USAGE, "not a trial of this space");
    json_add_canonical(&key, parameters);
    foreign->key = key.data ? arena_strdup(&study->arena, key.data) : NULL;
    text_done(&key);
    return rc == 0 && !foreign->key ? no_memory(err) : rc;
}

/* Whether every parameter that exists there has a value: what is left out cannot be guessed. */
static bool is_whole(struct study *study, const cJSON *parameters, const double *x)
{
    cJSON *decoded = NULL;
    struct err ignored;
    if (codec_decode(&study->codec, x, &decoded, &ignored) < 0)
        return false;
    bool is_same = cJSON_GetArraySize(decoded) == cJSON_GetArraySize(parameters);
    cJSON_Delete(decoded);
    return is_same;
}

int study_observe(struct study *study, const char *sweep, const cJSON *values, const cJSON *metrics, bool *is_taken,
                  struct err *err)
{
    struct study_foreign foreign = {.sweep = arena_strdup(&study->arena, sweep)};
    cJSON *parameters = pick(study, values);
    *is_taken = false;
    if (study->n_trials > 0) {
        cJSON_Delete(parameters);
        return err_set(err, ERR_USAGE, "earlier sweeps are looked at before the first trial");
    }
    int rc = parameters && foreign.sweep ? read(study, parameters, metrics, &foreign, err) : no_memory(err);
    if (rc == 0 && is_whole(study, parameters, foreign.x)) {
        rc = add(study, &foreign, err);
        *is_taken = rc == 0;
    }
    cJSON_Delete(parameters);
    return rc == ERR_USAGE ? 0 : rc;
}

/* First proposals -------------------------------------------------------------------------------------------------- */

struct rank {
    double violation, dominated, score;
    int at;
};

static int compare_ranks(const void *a, const void *b)
{
    const struct rank *x = a, *y = b;
    if (x->violation != y->violation)
        return x->violation < y->violation ? -1 : 1;
    if (x->dominated != y->dominated)
        return x->dominated < y->dominated ? -1 : 1;
    return x->score != y->score ? (x->score < y->score ? -1 : 1) : x->at - y->at;
}

static struct rank rank_of(const struct study *study, int i)
{
    const struct study_foreign *own = &study->foreign[i];
    struct rank rank = {study_violation(study, own->outcomes), 0, own->scores[0], i};
    for (int k = 0; k < study->n_foreign && study->n_objectives > 1; k++)
        rank.dominated += pareto_dominates(study->foreign[k].scores, own->scores, study->n_objectives);
    return rank;
}

static bool is_first_already(const struct study *study, const struct study_foreign *foreign)
{
    for (int i = 0; i < study->n_first; i++) {
        bool is_same = true;
        for (int j = 0; j < study->codec.n && is_same; j++)
            is_same = study->first[i][j] == foreign->x[j] || (isnan(study->first[i][j]) && isnan(foreign->x[j]));
        if (is_same)
            return true;
    }
    return false;
}

int study_rank_foreign(struct study *study, struct err *err)
{
    size_t n = (size_t)study->n_foreign;
    study->is_warm = true;
    if (n == 0)
        return 0;
    struct rank *ranks = arena_calloc(&study->arena, n, sizeof(*ranks));
    double **first = arena_calloc(&study->arena, (size_t)study->n_first + WARM_FIRST, sizeof(*first));
    if (!ranks || !first)
        return no_memory(err);
    for (int i = 0; i < study->n_foreign; i++)
        ranks[i] = rank_of(study, i);
    qsort(ranks, n, sizeof(*ranks), compare_ranks);
    if (study->n_first > 0)
        memcpy(first, study->first, (size_t)study->n_first * sizeof(*first));
    study->first = first;
    for (int i = 0, added = 0; i < study->n_foreign && added < WARM_FIRST; i++) {
        const struct study_foreign *foreign = &study->foreign[ranks[i].at];
        if (is_first_already(study, foreign))
            continue;
        double *x = arena_calloc(&study->arena, (size_t)study->codec.n + 1, sizeof(*x));
        if (!x)
            return no_memory(err);
        memcpy(x, foreign->x, (size_t)study->codec.n * sizeof(*x));
        study->first[study->n_first++] = x;
        added++;
    }
    return 0;
}

/* Rows ------------------------------------------------------------------------------------------------------------- */

/* Mean of own − earlier over the configurations that were trained here and in that sweep. */
static void offset_of(const struct study *study, const char *sweep, const struct study_row *own, int n_own,
                      double *offset)
{
    int n = 0;
    memset(offset, 0, (size_t)study->n_objectives * sizeof(*offset));
    for (int i = 0; i < study->n_foreign; i++) {
        const struct study_foreign *foreign = &study->foreign[i];
        int configuration = strcmp(foreign->sweep, sweep) == 0 ? study_find(study, foreign->key) : -1;
        for (int k = 0; k < n_own && configuration >= 0; k++)
            if (own[k].configuration == configuration && own[k].is_complete) {
                n++;
                for (int m = 0; m < study->n_objectives; m++)
                    offset[m] += (own[k].scores[m] - foreign->scores[m] - offset[m]) / n;
            }
    }
}

int study_all_rows(const struct study *study, int n_finished, struct arena *arena, struct study_row **rows, int *n_rows,
                   struct err *err)
{
    struct study_row *own = NULL;
    int n_own = 0, rc = study_rows(study, n_finished, arena, &own, &n_own, err);
    const char *sweep = "";
    double offset[OBJECTIVES_MAX] = {0};
    if (rc < 0 || study->n_foreign == 0) {
        *rows = own;
        *n_rows = n_own;
        return rc;
    }
    struct study_row *all = arena_calloc(arena, (size_t)(study->n_foreign + n_own) + 1, sizeof(*all));
    if (!all)
        return no_memory(err);
    for (int i = 0; i < study->n_foreign; i++) {
        const struct study_foreign *foreign = &study->foreign[i];
        double *scores = arena_calloc(arena, (size_t)study->n_objectives + 1, sizeof(*scores));
        if (!scores)
            return no_memory(err);
        if (strcmp(sweep, foreign->sweep) != 0)
            offset_of(study, sweep = foreign->sweep, own, n_own, offset);
        for (int m = 0; m < study->n_objectives; m++)
            scores[m] = foreign->scores[m] + offset[m];
        all[i] = (struct study_row){.configuration = -1,
                                    .trial = -1,
                                    .x = foreign->x,
                                    .scores = scores,
                                    .outcomes = foreign->outcomes,
                                    .cost = NAN,
                                    .n = 1,
                                    .is_foreign = true,
                                    .is_complete = true,
                                    .violation = study_violation(study, foreign->outcomes)};
    }
    if (n_own > 0)
        memcpy(all + study->n_foreign, own, (size_t)n_own * sizeof(*all));
    *rows = all;
    *n_rows = study->n_foreign + n_own;
    return 0;
}
