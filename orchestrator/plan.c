/* The plan: proposals become configurations, configurations become trials, and both are looked up in the store. */
#include "orchestrator/plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/table.h"
#include "common/text.h"
#include "orchestrator/search.h"

/* Trials by identity. Baselines are kept apart: a linear probe that is searched for is a trial of its own. */
struct plan_entry {
    char key[HASH_HEX_SIZE + 1]; /* 'b' or 's', and the identity */
    int index;
    UT_hash_handle hh;
};

struct plan_index {
    struct plan_entry *planned; /* the first trial of each configuration → its configuration */
    struct plan_entry *stored;  /* → index into store_loaded.trials */
    int64_t last_configuration, last_trial;
    bool *is_asked; /* of each stored trial */
};

static void make_key(char key[HASH_HEX_SIZE + 1], bool is_baseline, const char *identity)
{
    key[0] = is_baseline ? 'b' : 's';
    memcpy(key + 1, identity, HASH_HEX_SIZE - 1);
    key[HASH_HEX_SIZE] = '\0';
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory for the plan");
}

static int index_put(struct plan *plan, struct plan_entry **index, bool is_baseline, const char *identity, int value,
                     struct err *err)
{
    struct plan_entry *entry = arena_calloc(&plan->arena, 1, sizeof(*entry));
    if (!entry)
        return no_memory(err);
    make_key(entry->key, is_baseline, identity);
    entry->index = value;
    HASH_ADD_STR(*index, key, entry);
    return entry->hh.tbl ? 0 : no_memory(err);
}

static int index_get(struct plan_entry *index, bool is_baseline, const char *identity)
{
    char key[HASH_HEX_SIZE + 1];
    struct plan_entry *entry = NULL;
    make_key(key, is_baseline, identity);
    HASH_FIND_STR(index, key, entry);
    return entry ? entry->index : -1;
}

/* What the store has, by identity; of equal trials the one with the lowest number counts. */
static int index_stored(struct plan *plan, struct err *err)
{
    const struct store_loaded *stored = plan->stored;
    struct plan_index *index = plan->index;
    int rc = 0;
    index->is_asked = arena_calloc(&plan->arena, (size_t)stored->n_trials + 1, sizeof(*index->is_asked));
    if (!index->is_asked)
        return no_memory(err);
    for (int i = 0; i < stored->n_configurations; i++)
        if (stored->configurations[i].number > index->last_configuration)
            index->last_configuration = stored->configurations[i].number;
    for (int i = 0; i < stored->n_trials && rc == 0; i++) {
        const struct store_trial *trial = &stored->trials[i];
        bool is_baseline = stored->configurations[trial->configuration].is_baseline;
        if (trial->number > index->last_trial)
            index->last_trial = trial->number;
        if (index_get(index->stored, is_baseline, trial->identity) < 0)
            rc = index_put(plan, &index->stored, is_baseline, trial->identity, i, err);
    }
    return rc;
}

static int grow(void **items, int *capacity, int needed, size_t size, struct err *err)
{
    if (needed <= *capacity)
        return 0;
    int larger = *capacity ? 2 * *capacity : 64;
    void *moved = realloc(*items, (size_t)larger * size);
    if (!moved)
        return no_memory(err);
    *items = moved;
    *capacity = larger;
    return 0;
}

static bool is_budget_spent(const struct plan *plan)
{
    int64_t budget = plan->definition->budget.trials;
    return budget > 0 && plan->n_trials >= budget;
}

/* The repeat-th trial of a configuration. One that stands in the store keeps its number. */
static int add_trial(struct plan *plan, int configuration, int repeat, const struct text *rest, struct err *err)
{
    struct planned_configuration *c = &plan->configurations[configuration];
    int rc = grow((void **)&plan->trials, &plan->trials_capacity, plan->n_trials + 1, sizeof(*plan->trials), err);
    if (rc < 0)
        return rc;
    struct planned_trial *trial = &plan->trials[plan->n_trials];
    *trial = (struct planned_trial){.configuration = configuration, .stored = -1};
    trial->seed = job_seed(plan->definition, c->settings, repeat);
    rc = job_identity_of_seed(rest, plan->definition, plan->hashes, trial->seed, trial->identity, err);
    if (rc < 0)
        return rc;
    if (plan->stored)
        trial->stored = index_get(plan->index->stored, c->is_baseline, trial->identity);
    if (trial->stored >= 0) {
        const struct store_trial *stored = &plan->stored->trials[trial->stored];
        trial->number = stored->number;
        plan->index->is_asked[trial->stored] = true;
        c->stored_id = stored->configuration_id;
        c->number = plan->stored->configurations[stored->configuration].number;
    }
    plan->n_trials++;
    c->n_trials++;
    return 0;
}

/* Numbers for what is new, in the order of proposal. */
static void give_numbers(struct plan *plan, int configuration)
{
    struct planned_configuration *c = &plan->configurations[configuration];
    if (c->stored_id == 0)
        c->number = ++plan->index->last_configuration;
    for (int i = c->first_trial; i < c->first_trial + c->n_trials; i++)
        if (plan->trials[i].stored < 0)
            plan->trials[i].number = ++plan->index->last_trial;
}

/* Adds a configuration whose settings are resolved (both taken) unless an equal one is there. */
static int add_resolved(struct plan *plan, cJSON *parameters, cJSON *settings, bool is_baseline, int *added,
                        struct err *err)
{
    char identity[HASH_HEX_SIZE];
    struct text rest = {0}; /* of the identity: the same for all seeds */
    int rc = job_identity_add(&rest, plan->definition, plan->hashes, settings, err);
    if (rc == 0)
        rc = job_identity_of_seed(&rest, plan->definition, plan->hashes, job_seed(plan->definition, settings, 0),
                                  identity, err);
    if (rc == 0 && index_get(plan->index->planned, is_baseline, identity) >= 0) {
        plan->n_equal++;
        goto drop;
    }
    if (rc == 0)
        rc = grow((void **)&plan->configurations, &plan->configurations_capacity, plan->n_configurations + 1,
                  sizeof(*plan->configurations), err);
    if (rc == 0)
        rc = index_put(plan, &plan->index->planned, is_baseline, identity, plan->n_configurations, err);
    if (rc < 0)
        goto drop;
    int index = plan->n_configurations++;
    plan->configurations[index] = (struct planned_configuration){
        .is_baseline = is_baseline, .parameters = parameters, .settings = settings, .first_trial = plan->n_trials};
    for (int repeat = 0; repeat < plan->definition->seeds && rc == 0 && !is_budget_spent(plan); repeat++)
        rc = add_trial(plan, index, repeat, &rest, err);
    give_numbers(plan, index);
    *added = index;
    text_done(&rest);
    return rc;
drop:
    text_done(&rest);
    cJSON_Delete(parameters);
    cJSON_Delete(settings);
    return rc;
}

int plan_add(struct plan *plan, cJSON *parameters, bool is_baseline, int *added, struct err *err)
{
    cJSON *settings = NULL;
    *added = -1;
    plan->n_proposals++;
    int rc = is_baseline ? job_baseline_settings(plan->definition, &settings, err)
                         : job_settings(plan->definition, parameters, &settings, err);
    if (rc < 0) {
        cJSON_Delete(parameters);
        return rc;
    }
    return add_resolved(plan, parameters, settings, is_baseline, added, err);
}

static int add_baseline(struct plan *plan, struct err *err)
{
    int added;
    cJSON *none = cJSON_CreateObject();
    return none ? plan_add(plan, none, true, &added, err) : no_memory(err);
}

bool plan_is_adaptive(const struct definition *definition)
{
    const struct search_kind *search = search_find(definition->search);
    return (search && !search->propose) || definition->stopping.kind || definition->n_constraints > 0 ||
           definition->first || definition->warm_start || definition->cost || definition->reevaluations > 0 ||
           definition->budget.steps > 0;
}

/* What was proposed stays asked for. */
static void keep_stored(struct plan *plan)
{
    for (int i = 0; plan->stored && i < plan->stored->n_trials; i++)
        if (!plan->stored->configurations[plan->stored->trials[i].configuration].is_baseline)
            plan->index->is_asked[i] = true;
}

static int too_many(int64_t n, const char *more, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "the definition asks for %s%" PRId64
                   " trials, %d can be listed beforehand; search.configurations or "
                   "budget.trials limits them, or an algorithm that proposes as it goes (search.algorithm: auto)",
                   more, n, PLAN_MAX_TRIALS);
}

/* A list that is known to be too long is not begun. */
int plan_check_length(const struct definition *definition, struct err *err)
{
    int64_t size = space_grid_size(&definition->space), n = strcmp(definition->search, "grid") == 0 ? size : 0;
    if (definition->configurations > 0 && (n <= 0 || definition->configurations < n))
        n = definition->configurations;
    if (size >= 0 && size < n)
        n = size;
    n = n > INT64_MAX / definition->seeds ? INT64_MAX : n * definition->seeds;
    if (definition->budget.trials > 0 && definition->budget.trials < n)
        n = definition->budget.trials;
    return n > PLAN_MAX_TRIALS ? too_many(n, "", err) : 0;
}

static int add_proposals(struct plan *plan, struct err *err)
{
    const struct search_kind *search = search_find(plan->definition->search);
    int rc = 0;
    if (!search)
        return err_set(err, ERR_INTERNAL, "search algorithm '%s' is not in the table", plan->definition->search);
    rc = plan_check_length(plan->definition, err);
    for (int64_t i = 0; rc == 0 && !is_budget_spent(plan); i++) {
        cJSON *configuration = NULL;
        int added;
        if (plan->n_trials > PLAN_MAX_TRIALS)
            return too_many(plan->n_trials, "more than ", err);
        rc = search->propose(plan->definition, i, &configuration, err);
        if (rc == 0 && !configuration)
            break;
        rc = rc == 0 ? plan_add(plan, configuration, false, &added, err) : rc;
        if (rc < 0)
            err_wrap(err, "proposal %" PRId64, i + 1);
    }
    return rc;
}

/* The configurations that the store has, as the search proposed them. */
static int add_stored(struct plan *plan, struct err *err)
{
    int rc = 0, added;
    for (int i = 0; plan->stored && i < plan->stored->n_configurations && rc == 0; i++) {
        const struct store_configuration *stored = &plan->stored->configurations[i];
        cJSON *parameters = stored->is_baseline ? NULL : cJSON_Parse(stored->parameters);
        if (parameters)
            rc = plan_add(plan, parameters, false, &added, err);
        else if (!stored->is_baseline)
            rc = no_memory(err);
    }
    return rc;
}

static int64_t most_configurations(const struct definition *definition)
{
    int64_t n = PLAN_MAX_TRIALS / definition->seeds, size = space_grid_size(&definition->space);
    if (definition->configurations > 0 && definition->configurations < n)
        n = definition->configurations;
    return size >= 0 && size < n ? size : n;
}

/* Random draws where the search has not proposed yet. A draw that the space or a setting refuses is no proposal of a
 * search either. */
static int add_draws(struct plan *plan, struct err *err)
{
    const struct definition *definition = plan->definition;
    int64_t n_baseline = plan->n_configurations > 0 && plan->configurations[0].is_baseline;
    int64_t n = most_configurations(definition), most_draws = 20 * n + 1000;
    for (int64_t i = 0; i < most_draws && plan->n_configurations - n_baseline < n && !is_budget_spent(plan); i++) {
        struct rng_stream stream = rng_stream(rng_make(definition->seed, RNG_SEARCH), 0, (uint32_t)i, 0);
        cJSON *configuration = NULL;
        int added, rc = space_draw(&definition->space, &stream, &configuration, err);
        if (rc == 0)
            rc = plan_add(plan, configuration, false, &added, err);
        if (rc == ERR_NOMEM)
            return rc;
    }
    return 0;
}

int plan_add_expected(struct plan *plan, struct err *err)
{
    const struct search_kind *search = search_find(plan->definition->search);
    int rc = add_stored(plan, err);
    if (rc == 0)
        rc = search && search->propose ? add_proposals(plan, err) : add_draws(plan, err);
    plan->n_proposals = plan->n_equal = 0;
    return rc;
}

static int list_dropped(struct plan *plan, struct err *err)
{
    int n = plan->stored ? plan->stored->n_trials : 0;
    plan->dropped = arena_calloc(&plan->arena, (size_t)n + 1, sizeof(*plan->dropped));
    if (!plan->dropped)
        return no_memory(err);
    for (int i = 0; i < n; i++)
        if (!plan->index->is_asked[i])
            plan->dropped[plan->n_dropped++] = i;
    return 0;
}

int plan_make(struct plan *plan, const struct definition *definition, const struct input_hashes *hashes,
              const struct store_loaded *stored, struct err *err)
{
    *plan = (struct plan){.definition = definition, .hashes = hashes, .stored = stored};
    plan->index = arena_calloc(&plan->arena, 1, sizeof(*plan->index));
    if (!plan->index)
        return no_memory(err);
    int rc = stored ? index_stored(plan, err) : 0;
    if (rc == 0 && definition->n_checks > 0)
        rc = add_baseline(plan, err);
    if (rc == 0 && plan_is_adaptive(definition))
        keep_stored(plan);
    else if (rc == 0)
        rc = add_proposals(plan, err);
    return rc == 0 ? list_dropped(plan, err) : rc;
}

void plan_done(struct plan *plan)
{
    if (plan->index) {
        HASH_CLEAR(hh, plan->index->planned);
        HASH_CLEAR(hh, plan->index->stored);
    }
    for (int i = 0; i < plan->n_configurations; i++) {
        cJSON_Delete(plan->configurations[i].parameters);
        cJSON_Delete(plan->configurations[i].settings);
    }
    free(plan->configurations);
    free(plan->trials);
    arena_done(&plan->arena);
    *plan = (struct plan){0};
}
