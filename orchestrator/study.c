/* The study's life: asking, telling, restoring. */
#include "orchestrator/study_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/search_kinds.h"
#include "orchestrator/stop_kinds.h"

enum { REFUSED_MAX = 64, DRAWS_MAX = 2000 };

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the search");
}

/* Growing arrays --------------------------------------------------------------------------------------------------- */

static int grow(void *array, int *capacity, int n, size_t size, struct err *err)
{
    void **data = array;
    if (n < *capacity)
        return 0;
    int next = *capacity ? *capacity * 2 : 64;
    void *grown = realloc(*data, (size_t)next * size);
    if (!grown)
        return no_memory(err);
    *data = grown;
    *capacity = next;
    return 0;
}

/* Known configurations --------------------------------------------------------------------------------------------- */

static size_t hash_text(const char *text)
{
    uint64_t hash = 1469598103934665603ULL;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211ULL;
    return (size_t)(hash ^ (hash >> 32));
}

/* The slot of the key: filled when it is known. */
static int *find_slot(const struct study *study, const char *key)
{
    size_t mask = (size_t)study->index_size - 1, at = hash_text(key) & mask;
    while (study->index[at] && strcmp(study->configurations[study->index[at] - 1].key, key) != 0)
        at = (at + 1) & mask;
    return &study->index[at];
}

static int grow_index(struct study *study, struct err *err)
{
    if (study->index_size > 2 * (study->n_configurations + 1))
        return 0;
    int size = study->index_size ? study->index_size * 2 : 256;
    int *index = calloc((size_t)size, sizeof(*index));
    if (!index)
        return no_memory(err);
    free(study->index);
    study->index = index;
    study->index_size = size;
    for (int i = 0; i < study->n_configurations; i++)
        *find_slot(study, study->configurations[i].key) = i + 1;
    return 0;
}

static char *key_of(const cJSON *parameters)
{
    struct text text = {0};
    json_add_canonical(&text, parameters);
    return text_take(&text);
}

int study_find(const struct study *study, const char *key)
{
    return study->index_size ? *find_slot(study, key) - 1 : -1;
}

static bool is_known(const struct study *study, const cJSON *parameters)
{
    char *key = study->index_size ? key_of(parameters) : NULL;
    bool found = key && *find_slot(study, key);
    free(key);
    return found;
}

bool study_is_known(struct study *study, const double *x)
{
    cJSON *parameters = NULL;
    struct err ignored;
    if (codec_decode(&study->codec, x, &parameters, &ignored) < 0)
        return false;
    bool found = is_known(study, parameters);
    cJSON_Delete(parameters);
    return found;
}

/* Constraints ------------------------------------------------------------------------------------------------------ */

struct scope {
    const cJSON *parameters, *settings;
};

static int look_up(const char *name, double *value, void *context, struct err *err)
{
    const struct scope *scope = context;
    const cJSON *found = json_get(scope->parameters, name);
    if (!found)
        found = json_get(scope->settings, name);
    if (!found || !cJSON_IsNumber(found))
        return err_set(err, ERR_USAGE, "'%s' does not exist here", name);
    *value = found->valuedouble;
    return 0;
}

static bool compares(const struct constraint *constraint, double left, double right)
{
    double excess = constraint->is_at_least ? right - left : left - right;
    return constraint->is_strict ? excess < 0 : excess <= 0;
}

/* A constraint over a parameter that does not exist beside the others says nothing about them. */
static bool meets(const struct study *study, const cJSON *parameters)
{
    struct scope scope = {parameters, study->definition->settings};
    for (int i = 0; i < study->n_constraints; i++) {
        const struct constraint *constraint = &study->definition->constraints[i];
        double left, right;
        struct err ignored;
        if (constraint->metric || expression_evaluate(constraint->left, look_up, &scope, &left, &ignored) < 0 ||
            expression_evaluate(constraint->right, look_up, &scope, &right, &ignored) < 0)
            continue;
        if (!compares(constraint, left, right))
            return false;
    }
    return true;
}

bool study_is_allowed(struct study *study, const double *x)
{
    cJSON *parameters = NULL;
    struct err ignored;
    bool is_any = false;
    for (int i = 0; i < study->n_constraints; i++)
        is_any = is_any || !study->definition->constraints[i].metric;
    if (!is_any)
        return true;
    if (codec_decode(&study->codec, x, &parameters, &ignored) < 0)
        return false;
    bool allowed = meets(study, parameters);
    cJSON_Delete(parameters);
    return allowed;
}

double study_violation(const struct study *study, const double *outcomes)
{
    double sum = 0;
    for (int i = 0; i < study->n_constraints; i++) {
        const struct constraint *constraint = &study->definition->constraints[i];
        if (!constraint->metric || isnan(outcomes[i]) || compares(constraint, outcomes[i], constraint->bound))
            continue;
        sum += fmax(fabs(outcomes[i] - constraint->bound), 1e-300);
    }
    return sum;
}

/* Making and freeing ----------------------------------------------------------------------------------------------- */

static int read_first(struct study *study, struct err *err)
{
    const cJSON *first = study->definition->first;
    int n = first ? cJSON_GetArraySize(first) : 0, rc = 0;
    size_t size = (size_t)study->codec.n + 1;
    double *middle = arena_calloc(&study->arena, size, sizeof(*middle));
    study->first = arena_calloc(&study->arena, (size_t)n + 1, sizeof(*study->first));
    if (!middle || !study->first)
        return no_memory(err);
    for (int j = 0; j < study->codec.n; j++)
        middle[j] = study->codec.dimensions[j].is_category ? 0 : 0.5;
    for (const cJSON *item = first ? first->child : NULL; item && rc == 0; item = item->next) {
        double *x = arena_calloc(&study->arena, size, sizeof(*x));
        if (!x)
            return no_memory(err);
        rc = codec_encode(&study->codec, item, middle, x, err);
        if (rc < 0)
            err_wrap(err, "search.first[%d]", study->n_first);
        else
            study->first[study->n_first++] = x;
    }
    study->n_fixed_first = study->n_first;
    return rc;
}

int study_new(struct study **study, const struct definition *definition, bool can_pause, struct err *err)
{
    struct study *made = calloc(1, sizeof(*made));
    if (!made)
        return no_memory(err);
    *made = (struct study){
        .definition = definition,
        .can_pause = can_pause,
        .n_objectives = definition->n_objectives,
        .n_constraints = definition->n_constraints,
        .kind = search_find(definition->search),
        .grid_size = space_grid_size(&definition->space),
    };
    int rc = json_check_memory(err); /* of the grid: a value that could not be put would not have been counted */
    if (rc == 0)
        rc = codec_init(&made->codec, &definition->space, &made->arena, err);
    if (rc == 0)
        rc = grow_index(made, err);
    if (rc == 0)
        rc = read_first(made, err);
    if (rc == 0 && definition->is_strict)
        rc = study_order_new(&made->order, err);
    if (rc < 0) {
        study_free(made);
        return rc;
    }
    made->explanation = made->kind->help;
    if (made->kind->choose)
        made->kind = made->kind->choose(made, &made->explanation);
    if (made->kind->prepare && (rc = made->kind->prepare(err)) < 0) {
        study_free(made);
        return rc;
    }
    *study = made;
    return 0;
}

void study_free(struct study *study)
{
    if (!study)
        return;
    if (study->kind && study->kind->free_state)
        study->kind->free_state(study->state);
    for (int i = 0; i < study->n_configurations; i++) {
        cJSON_Delete(study->configurations[i].parameters);
        free(study->configurations[i].key);
        free(study->configurations[i].x);
    }
    for (int i = 0; i < study->n_trials; i++)
        free(study->trials[i]->points);
    free(study->configurations);
    free(study->trials);
    free(study->finished);
    free(study->index);
    free(study->foreign);
    study_order_free(study->order);
    text_done(&study->reason);
    arena_done(&study->arena);
    free(study);
}

const char *study_explain(struct study *study)
{
    const char *text = arena_printf(&study->arena, "%s: %s", study->kind->name, study->explanation);
    return text ? text : study->kind->name;
}

/* Adding ----------------------------------------------------------------------------------------------------------- */

/* Takes `parameters` (freed on failure too). */
static int add_configuration(struct study *study, cJSON *parameters, const double *x, struct err *err)
{
    size_t bytes = ((size_t)study->codec.n + 1) * sizeof(*x);
    char *key = key_of(parameters);
    double *kept = malloc(bytes);
    int rc = key && kept ? grow(&study->configurations, &study->configurations_capacity, study->n_configurations,
                                sizeof(*study->configurations), err)
                         : no_memory(err);
    if (rc == 0)
        rc = grow_index(study, err);
    if (rc < 0) {
        free(key);
        free(kept);
        cJSON_Delete(parameters);
        return rc;
    }
    memcpy(kept, x, bytes - sizeof(*x));
    study->configurations[study->n_configurations++] =
        (struct study_configuration){.x = kept, .parameters = parameters, .key = key};
    int *slot = find_slot(study, key);
    if (!*slot)
        *slot = study->n_configurations;
    return 0;
}

static int add_trial(struct study *study, int configuration, struct err *err)
{
    struct study_configuration *c = &study->configurations[configuration];
    struct study_trial *trial = arena_calloc(&study->arena, 1, sizeof(*trial));
    int rc = grow(&study->trials, &study->trials_capacity, study->n_trials, sizeof(struct study_trial *), err);
    if (rc < 0)
        return rc;
    if (!trial)
        return no_memory(err);
    *trial = (struct study_trial){
        .number = study->n_trials + 1,
        .configuration = configuration,
        .seed_index = c->n_trials++,
        .state = TRIAL_RUNNING,
        .scores = arena_calloc(&study->arena, (size_t)study->n_objectives + 1, sizeof(double)),
        .outcomes = arena_calloc(&study->arena, (size_t)study->n_constraints + 1, sizeof(double)),
        .cost = NAN,
        .finished = -1,
    };
    if (!trial->scores || !trial->outcomes)
        return no_memory(err);
    for (int i = 0; i < study->n_constraints; i++)
        trial->outcomes[i] = NAN;
    study->trials[study->n_trials++] = trial;
    study->n_running++;
    c->n_open++;
    study_reserve_steps(study, trial);
    return 0;
}

/* Proposing -------------------------------------------------------------------------------------------------------- */

struct rng_stream study_stream(const struct study *study, int attempt)
{
    /* Site 0 is what random search draws from; the others must not repeat it. */
    return rng_stream(rng_make(study->definition->seed, RNG_SEARCH), (uint32_t)attempt,
                      (uint32_t)study->n_configurations, 1);
}

void study_draw(struct study *study, struct rng_stream *stream, double *x)
{
    for (int j = 0; j < study->codec.n; j++)
        x[j] = rng_uniform(stream);
    codec_from_uniform(&study->codec, x, x);
}

int64_t study_expected_configurations(const struct study *study)
{
    const struct definition *d = study->definition;
    int64_t n = INT64_MAX;
    if (d->configurations > 0)
        n = d->configurations;
    if (d->budget.trials > 0 && (d->budget.trials + d->seeds - 1) / d->seeds < n)
        n = (d->budget.trials + d->seeds - 1) / d->seeds;
    if (study->grid_size >= 0 && study->grid_size < n)
        n = study->grid_size;
    return n;
}

int study_encode(struct study *study, const cJSON *parameters, double *x, struct err *err)
{
    for (int j = 0; j < study->codec.n; j++)
        x[j] = study->codec.dimensions[j].is_category ? 0 : 0.5;
    return codec_encode(&study->codec, parameters, x, x, err);
}

/* Takes a point as the next configuration unless it is known or refused: *added. */
static int take_point(struct study *study, double *x, bool *added, struct err *err)
{
    cJSON *parameters = NULL;
    int rc = codec_settle(&study->codec, x, err);
    if (rc == 0)
        rc = codec_decode(&study->codec, x, &parameters, err);
    if (rc < 0)
        return rc == ERR_USAGE ? 0 : rc; /* no configuration there */
    if (is_known(study, parameters) || !meets(study, parameters)) {
        cJSON_Delete(parameters);
        return 0;
    }
    rc = study_encode(study, parameters, x, err);
    if (rc < 0) {
        cJSON_Delete(parameters);
        return rc;
    }
    *added = true;
    return add_configuration(study, parameters, x, err);
}

/* The same for a proposal that is a configuration already. */
static int take_configuration(struct study *study, cJSON *parameters, double *x, bool *added, struct err *err)
{
    if (is_known(study, parameters) || !meets(study, parameters)) {
        cJSON_Delete(parameters);
        return 0;
    }
    int rc = study_encode(study, parameters, x, err);
    if (rc < 0) {
        cJSON_Delete(parameters);
        return rc;
    }
    *added = true;
    return add_configuration(study, parameters, x, err);
}

/* From algorithms that count: the next of their proposals that is new. */
static int propose_counted(struct study *study, double *x, bool *added, struct err *err)
{
    int64_t misses = 0;
    while (!*added && misses++ < DRAWS_MAX + study->n_configurations) {
        cJSON *parameters = NULL;
        int rc = study->kind->propose(study->definition, study->position, &parameters, err);
        if (rc < 0 || !parameters)
            return rc;
        study->position++;
        rc = take_configuration(study, parameters, x, added, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The first new configuration of the grid from a random place on: finds the last ones of a space nearly used up. */
static int propose_from_grid(struct study *study, double *x, bool *added, struct err *err)
{
    struct rng_stream stream = study_stream(study, 1 << 20);
    int64_t size = study->grid_size;
    if (size <= 0)
        return 0;
    int64_t at = (int64_t)(rng_uniform(&stream) * (double)size) % size;
    for (int64_t i = 0; i < size && i < study->n_configurations + 1000000 && !*added; i++, at = (at + 1) % size) {
        cJSON *parameters = NULL;
        int rc = space_grid_at(&study->definition->space, at, &parameters, err);
        if (rc == 0)
            rc = take_configuration(study, parameters, x, added, err);
        if (rc < 0 && rc != ERR_USAGE)
            return rc;
    }
    return 0;
}

static int propose_drawn(struct study *study, double *x, bool *added, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < DRAWS_MAX && !*added && rc == 0; i++) {
        struct rng_stream stream = study_stream(study, REFUSED_MAX + i);
        study_draw(study, &stream, x);
        rc = take_point(study, x, added, err);
    }
    return !*added && rc == 0 ? propose_from_grid(study, x, added, err) : rc;
}

/* Not one configuration was found: an error where constraints over parameters are the reason. */
static int nothing_allowed(const struct study *study, struct err *err)
{
    for (int i = 0; i < study->n_constraints; i++)
        if (!study->definition->constraints[i].metric)
            return err_set(err, ERR_USAGE, "constraints: no configuration was found that meets '%s'%s",
                           study->definition->constraints[i].text, study->n_constraints > 1 ? " and the others" : "");
    return 0;
}

/* Adds the next configuration; *added false: the space is used up. */
static int propose(struct study *study, bool *added, struct err *err)
{
    double *x = calloc((size_t)study->codec.n + 1, sizeof(*x));
    int rc = x ? 0 : no_memory(err);
    bool is_used_up = study->grid_size >= 0 && study->n_configurations >= study->grid_size;
    if (rc == 0 && !study->is_warm)
        rc = study_rank_foreign(study, err);
    if (rc == 0 && study->n_configurations < study->n_first) {
        if (study->n_configurations >= study->n_fixed_first)
            text_printf(&study->reason, "warm start: one of the best of earlier sweeps");
        memcpy(x, study->first[study->n_configurations], (size_t)study->codec.n * sizeof(*x));
        rc = take_point(study, x, added, err);
    }
    if (rc == 0 && !*added && !is_used_up && study->kind->propose) {
        rc = propose_counted(study, x, added, err);
        if (rc == 0 && !*added && study->kind != &search_grid)
            rc = propose_drawn(study, x, added, err);
    } else if (rc == 0 && !*added && !is_used_up) {
        for (int attempt = 0; attempt < REFUSED_MAX && !*added && rc == 0; attempt++) {
            rc = study->kind->suggest(study, attempt, x, err);
            if (rc == 0)
                rc = take_point(study, x, added, err);
        }
        if (rc == 0 && !*added)
            rc = propose_drawn(study, x, added, err);
    }
    free(x);
    if (rc == 0 && !*added && study->n_configurations == 0)
        rc = nothing_allowed(study, err);
    return rc;
}

/* Whether the newest configuration still wants a seed. */
static bool wants_seed(const struct study *study, int *configuration)
{
    for (int i = study->n_configurations - 1; i >= 0 && i >= study->n_configurations - 64; i--) {
        const struct study_configuration *c = &study->configurations[i];
        if (c->n_trials < study->definition->seeds && !c->is_lost) {
            *configuration = i;
            return true;
        }
    }
    return false;
}

bool study_is_out_of_trials(const struct study *study)
{
    int64_t trials = study->definition->budget.trials;
    return trials > 0 && study->n_trials >= trials;
}

bool study_is_complete(const struct study *study)
{
    int64_t bound = study->definition->configurations;
    bool is_bounded = (bound > 0 && study->n_configurations >= bound) ||
                      (study->grid_size >= 0 && study->n_configurations >= study->grid_size);
    return is_bounded || study_is_out_of_trials(study);
}

static void fill(const struct study *study, struct study_proposal *proposal, const struct study_trial *trial,
                 enum study_answer answer)
{
    *proposal = (struct study_proposal){
        .answer = answer,
        .trial = trial->number,
        .configuration = trial->configuration + 1,
        .seed_index = trial->seed_index,
        .parameters = study->configurations[trial->configuration].parameters,
        .position = study->position,
        .parent = trial->parent,
        .parent_step = trial->parent_step,
        .step = trial->step,
        .reason = study->reason.data ? study->reason.data : "",
    };
}

static int answer_nothing(const struct study *study, struct study_proposal *proposal)
{
    bool may_promote = study->n_paused > 0 && study->n_running > 0;
    *proposal = (struct study_proposal){.answer = may_promote ? STUDY_WAIT : STUDY_DONE, .reason = ""};
    return 0;
}

static bool in_generations(const struct study *study)
{
    return study->can_pause && study->definition->stopping.kind && study->definition->stopping.kind->in_generations;
}

/* Whether every member that the definition asks for has been proposed. */
static bool is_population_complete(const struct study *study)
{
    return study->is_population_full || study_is_out_of_trials(study) ||
           study->n_configurations - study->n_children >= study_expected_configurations(study);
}

static void go_on(struct study *study, struct study_trial *trial)
{
    trial->state = TRIAL_RUNNING;
    trial->is_due = false;
    trial->heir_of = 0;
    study->n_paused--;
    study->n_running++;
    study_reserve_steps(study, trial);
}

/* A new trial in the place of `replaced`: it has the steps of its parent. */
static int add_child(struct study *study, struct study_trial *replaced, const struct study_trial *parent,
                     struct err *err)
{
    int rc = study_end(study, replaced, TRIAL_PRUNED, err);
    if (rc == 0)
        rc = add_trial(study, study->n_configurations - 1, err);
    if (rc < 0)
        return rc;
    struct study_trial *child = study->trials[study->n_trials - 1];
    child->parent = parent->number;
    child->parent_step = child->step = parent->step;
    child->rung = parent->rung;
    study_reserve_steps(study, child);
    replaced->is_due = false;
    study->n_children++;
    return 0;
}

static int replace(struct study *study, struct study_trial *replaced, struct study_proposal *proposal, struct err *err)
{
    const struct study_trial *parent = study->trials[replaced->heir_of - 1];
    double *x = calloc((size_t)study->codec.n + 1, sizeof(*x));
    cJSON *parameters = NULL;
    int rc = x ? stop_pbt_perturb(study, parent, study->n_trials + 1, x, err) : no_memory(err);
    if (rc == 0)
        rc = codec_decode(&study->codec, x, &parameters, err);
    if (rc == 0)
        rc = study_encode(study, parameters, x, err);
    if (rc == 0)
        rc = add_configuration(study, parameters, x, err);
    free(x);
    if (rc == 0)
        rc = add_child(study, replaced, parent, err);
    if (rc < 0)
        return rc;
    text_reset(&study->reason);
    text_printf(
        &study->reason,
        "generation %d: goes on from trial %lld at step %lld with its parameters moved, in the place of trial %lld "
        "(place %d of %d)",
        parent->rung, (long long)parent->number, (long long)parent->step, (long long)replaced->number, replaced->place,
        replaced->n_members);
    fill(study, proposal, study->trials[study->n_trials - 1], STUDY_TRIAL);
    proposal->replaced = replaced->number;
    return 0;
}

/* A new configuration, or one that noise wants another seed of: in turn, as long as there are both. */
static int next_configuration(struct study *study, int *configuration, bool *added, struct err *err)
{
    int64_t bound = study->definition->configurations;
    bool is_bounded = bound > 0 && study->n_configurations >= bound;
    const struct study_trial *last = study->n_trials ? study->trials[study->n_trials - 1] : NULL;
    bool was_repeated = last && last->seed_index >= study->definition->seeds;
    *added = (is_bounded || !was_repeated) && study_wants_reevaluation(study, configuration);
    if (*added || is_bounded)
        return 0;
    int rc = propose(study, added, err);
    if (rc == 0 && *added)
        *configuration = study->n_configurations - 1;
    else if (rc == 0)
        *added = study_wants_reevaluation(study, configuration); /* the space is used up */
    return rc;
}

/* A generation that is complete: its last are replaced, then the others go on. */
static int ask_generation(struct study *study, struct study_proposal *proposal, struct err *err)
{
    const struct stop_kind *kind = study->definition->stopping.kind;
    struct study_trial *trial;
    kind->prepare(study);
    trial = study_is_out_of_trials(study) ? NULL : kind->replace(study);
    if (trial && study_has_steps_for(study, trial))
        return replace(study, trial, proposal, err);
    if (trial || !(trial = kind->promote(study)) || !study_has_steps_for(study, trial))
        return answer_nothing(study, proposal);
    go_on(study, trial);
    fill(study, proposal, trial, STUDY_RESUME);
    return 0;
}

int study_ask_now(struct study *study, struct study_proposal *proposal, struct err *err)
{
    const struct stopping *stopping = &study->definition->stopping;
    struct study_trial *promoted = NULL;
    int configuration = 0, rc = 0;
    bool added = false;
    text_reset(&study->reason);
    if (in_generations(study) && is_population_complete(study))
        return ask_generation(study, proposal, err);
    if (study->can_pause && stopping->kind && stopping->kind->promote && study->n_paused > 0 && !in_generations(study))
        promoted = stopping->kind->promote(study);
    if (promoted && !study_has_steps_for(study, promoted))
        return answer_nothing(study, proposal);
    if (promoted) {
        go_on(study, promoted);
        fill(study, proposal, promoted, STUDY_RESUME);
        return 0;
    }
    if (study_is_out_of_trials(study) || !study_has_steps_for(study, NULL))
        return answer_nothing(study, proposal);
    if (!wants_seed(study, &configuration)) {
        rc = next_configuration(study, &configuration, &added, err);
        if (rc < 0)
            return rc;
        if (!added && in_generations(study) && !study->is_population_full) {
            study->is_population_full = true; /* smaller than asked for: its members go on */
            return study_ask_now(study, proposal, err);
        }
        if (!added)
            return answer_nothing(study, proposal);
    }
    rc = add_trial(study, configuration, err);
    if (rc == 0)
        fill(study, proposal, study->trials[study->n_trials - 1], STUDY_TRIAL);
    return rc;
}

static int restore_child(struct study *study, const struct study_proposal *proposal, struct err *err)
{
    bool is_good = proposal->parent <= study->n_trials && proposal->replaced >= 1 &&
                   proposal->replaced <= study->n_trials &&
                   study->trials[proposal->replaced - 1]->state == TRIAL_PAUSED &&
                   proposal->configuration == study->n_configurations;
    if (!is_good)
        return err_set(err, ERR_USAGE, "trial %lld cannot go on from trial %lld in the place of trial %lld",
                       (long long)proposal->trial, (long long)proposal->parent, (long long)proposal->replaced);
    return add_child(study, study->trials[proposal->replaced - 1], study->trials[proposal->parent - 1], err);
}

int study_restore_now(struct study *study, const struct study_proposal *proposal, struct err *err)
{
    int rc = 0;
    if (proposal->answer == STUDY_RESUME) {
        if (proposal->trial < 1 || proposal->trial > study->n_trials ||
            study->trials[proposal->trial - 1]->state != TRIAL_PAUSED)
            return err_set(err, ERR_USAGE, "trial %lld is not paused", (long long)proposal->trial);
        if (in_generations(study))
            study->definition->stopping.kind->prepare(study);
        go_on(study, study->trials[proposal->trial - 1]);
        return 0;
    }
    if (proposal->trial != study->n_trials + 1)
        return err_set(err, ERR_USAGE, "trial %lld follows trial %d", (long long)proposal->trial, study->n_trials);
    if (proposal->parent > 0 && in_generations(study))
        study->definition->stopping.kind->prepare(study);
    if (proposal->configuration == study->n_configurations + 1) {
        cJSON *copy = cJSON_Duplicate(proposal->parameters, true);
        double *x = calloc((size_t)study->codec.n + 1, sizeof(*x));
        rc = copy && x ? study_encode(study, copy, x, err) : no_memory(err);
        if (rc == 0)
            rc = add_configuration(study, copy, x, err);
        else
            cJSON_Delete(copy);
        free(x);
    } else if (proposal->configuration < 1 || proposal->configuration > study->n_configurations) {
        rc = err_set(err, ERR_USAGE, "configuration %lld follows configuration %d", (long long)proposal->configuration,
                     study->n_configurations);
    }
    study->position = proposal->position;
    if (rc == 0 && proposal->parent > 0)
        return restore_child(study, proposal, err);
    return rc == 0 ? add_trial(study, (int)proposal->configuration - 1, err) : rc;
}

/* Looking ---------------------------------------------------------------------------------------------------------- */

int study_state(const struct study *study, int64_t trial, enum trial_state *state, struct err *err)
{
    if (trial < 1 || trial > study->n_trials)
        return err_set(err, ERR_NOT_FOUND, "there is no trial %lld; the last is %d", (long long)trial, study->n_trials);
    *state = study->trials[trial - 1]->state;
    return 0;
}

int study_describe(const struct study *study, int64_t trial, struct study_proposal *proposal, struct err *err)
{
    if (trial < 1 || trial > study->n_trials)
        return err_set(err, ERR_NOT_FOUND, "there is no trial %lld; the last is %d", (long long)trial, study->n_trials);
    fill(study, proposal, study->trials[trial - 1], STUDY_TRIAL);
    return 0;
}

int64_t study_pause_step(const struct study *study, int64_t trial)
{
    const struct stop_kind *kind = study->definition->stopping.kind;
    bool is_known = trial >= 1 && trial <= study->n_trials;
    return is_known && study->can_pause && kind && kind->pause_at ? kind->pause_at(study, study->trials[trial - 1]) : 0;
}

int64_t study_trials(const struct study *study)
{
    return study->order ? study_order_trials(study) : study->n_trials;
}

int64_t study_configurations(const struct study *study)
{
    int64_t trials = study_trials(study), most = study->order ? 0 : study->n_configurations;
    for (int64_t i = 0; i < trials && study->order; i++)
        most = study->trials[i]->configuration >= most ? study->trials[i]->configuration + 1 : most;
    return most;
}

int64_t study_best(const struct study *study)
{
    const struct study_trial *best = NULL;
    for (int i = 0; i < study->n_finished; i++) {
        const struct study_trial *trial = study->trials[study->finished[i]];
        if (trial->state == TRIAL_COMPLETE && study_violation(study, trial->outcomes) == 0 &&
            (!best || trial->scores[0] < best->scores[0]))
            best = trial;
    }
    return best ? best->number : 0;
}
