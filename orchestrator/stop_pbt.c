/* Population-based training (Jaderberg et al. 2017, arXiv:1711.09846), in generations.
 *
 * Every `interval` steps all members of the population pause. Those among the last percentile % are replaced: each by a
 * new trial that goes on from the checkpoint of a member of the first percentile %, with that one's parameters
 * perturbed. The others go on. Since a generation is complete before anything is decided, the same seed and results
 * give the same decisions with any number of slots. */
#include <math.h>
#include <string.h>

#include "orchestrator/stop_kinds.h"

/* How often a value is drawn anew, how far it is moved otherwise, and how often a perturbed point may be refused. */
static const double redraw_share = 0.25, factors[] = {0.8, 1.25};
enum { PERTURBATIONS_MAX = 20, STREAM_PARENT = 1 << 23 };

/* What may change while a trial is trained: not the shape of what is trained, nor the number of its steps. */
static const char *const changeable[] = {"learning_rate",
                                         "head_learning_rate_factor",
                                         "lora_b_learning_rate_factor",
                                         "weight_decay",
                                         "method_dropout",
                                         "dropout",
                                         "momentum",
                                         "beta1",
                                         "beta2",
                                         "clip",
                                         "label_smoothing",
                                         "alpha",
                                         "balance_weight",
                                         "orthogonality_weight",
                                         "fusion_regularization",
                                         NULL};

bool stop_pbt_can_change(const struct definition *definition, const char *name)
{
    for (const char *const *known = changeable; *known; known++)
        if (strcmp(*known, name) == 0)
            return true;
    return definition->is_free;
}

static double boundary(const struct study *study, int generation)
{
    return study->definition->stopping.interval * generation;
}

static int64_t pause_at(const struct study *study, const struct study_trial *trial)
{
    double step = boundary(study, trial->rung + 1);
    return step < study->definition->stopping.max_resource ? (int64_t)step : 0;
}

static enum stop_verdict decide(struct study *study, struct study_trial *trial)
{
    int64_t step = pause_at(study, trial);
    if (step == 0 || trial->step < step)
        return STOP_CONTINUE;
    trial->rung++;
    text_reset(&study->reason);
    text_printf(&study->reason, "generation %d at step %lld: %s %.6g, waits for the others", trial->rung,
                (long long)step, study->definition->stopping.metric,
                stop_shown(study, stop_point_at(trial, (double)step)->value));
    return STOP_PAUSE;
}

/* Paused members, best first. */
static int rank_members(const struct study *study, struct study_trial **members, int *ranks)
{
    int n = 0;
    for (int i = 0; i < study->n_trials; i++) {
        struct study_trial *trial = study->trials[i];
        if (trial->state != TRIAL_PAUSED)
            continue;
        const struct study_point *own = stop_point_at(trial, boundary(study, trial->rung));
        int rank = 0;
        for (int k = 0; k < study->n_trials; k++) {
            const struct study_trial *other = study->trials[k];
            if (other->state == TRIAL_PAUSED && other != trial)
                rank += stop_is_better(study, stop_point_at(other, boundary(study, other->rung)), own);
        }
        int at = n++;
        for (; at > 0 && ranks[at - 1] > rank; at--) {
            members[at] = members[at - 1];
            ranks[at] = ranks[at - 1];
        }
        members[at] = trial;
        ranks[at] = rank;
    }
    return n;
}

/* Once everybody is there: who is replaced, by whom, and who goes on. */
static void prepare(struct study *study)
{
    for (int i = 0; i < study->n_trials; i++)
        if (study->trials[i]->is_due)
            return; /* decided already, and not yet carried out */
    struct study_trial **members =
        arena_calloc(&study->arena, (size_t)study->n_paused + 1, sizeof(struct study_trial *));
    int *ranks = arena_calloc(&study->arena, (size_t)study->n_paused + 1, sizeof(*ranks));
    if (study->n_running > 0 || study->n_paused == 0 || !members || !ranks)
        return;
    int n = rank_members(study, members, ranks);
    int share = (int)floor(n * study->definition->stopping.percentile / 100 + 1e-9);
    share = n < 3 ? 0 : share < 1 ? 1 : share > n / 2 ? n / 2 : share;
    for (int i = 0; i < n; i++) {
        struct study_trial *trial = members[i];
        trial->is_due = true;
        if (i < n - share || ranks[i] == ranks[0])
            continue;
        struct rng_stream stream = rng_stream(rng_make(study->definition->seed, RNG_SEARCH), STREAM_PARENT,
                                              (uint32_t)trial->number, (uint32_t)trial->rung);
        trial->heir_of = members[rng_below(&stream, (uint32_t)share)]->number;
        trial->place = i + 1;
        trial->n_members = n;
    }
}

static struct study_trial *promote(struct study *study)
{
    for (int i = 0; i < study->n_trials; i++) {
        struct study_trial *trial = study->trials[i];
        bool is_replaced = trial->heir_of && !study_is_out_of_trials(study);
        if (!trial->is_due || trial->state != TRIAL_PAUSED || is_replaced)
            continue;
        text_reset(&study->reason);
        text_printf(&study->reason, "generation %d is complete: goes on", trial->rung);
        return trial;
    }
    return NULL;
}

static struct study_trial *replace(struct study *study)
{
    for (int i = 0; i < study->n_trials; i++)
        if (study->trials[i]->is_due && study->trials[i]->heir_of && study->trials[i]->state == TRIAL_PAUSED)
            return study->trials[i];
    return NULL;
}

/* One value moved: drawn anew, to the neighbour in a list, or by a factor. */
static double perturbed(struct study *study, int j, double x, double fresh, struct rng_stream *stream)
{
    const struct codec_dimension *dimension = &study->codec.dimensions[j];
    double u = rng_uniform(stream);
    uint32_t up = rng_below(stream, 2);
    if (u < redraw_share)
        return fresh;
    if (dimension->distribution->kind == DISTRIBUTION_VALUES)
        return fmin(fmax(x + (up ? 1 : -1) / dimension->n_values, 0.5 / dimension->n_values),
                    1 - 0.5 / dimension->n_values);
    return codec_place(&study->codec, j, codec_number(&study->codec, j, x) * factors[up]);
}

int stop_pbt_perturb(struct study *study, const struct study_trial *parent, int64_t child, double *x, struct err *err)
{
    const double *from = study->configurations[parent->configuration].x;
    double *fresh = arena_calloc(&study->arena, (size_t)study->codec.n + 1, sizeof(*fresh));
    if (!fresh)
        return err_set(err, ERR_NOMEM, "no memory for the search");
    for (int attempt = 0; attempt < PERTURBATIONS_MAX; attempt++) {
        struct rng_stream stream = rng_stream(rng_make(study->definition->seed, RNG_SEARCH),
                                              (uint32_t)(STREAM_PARENT + 1 + attempt), (uint32_t)child, 0);
        study_draw(study, &stream, fresh);
        for (int j = 0; j < study->codec.n; j++) {
            const struct codec_dimension *dimension = &study->codec.dimensions[j];
            const char *name = study->definition->space.parameters[dimension->parameter].name;
            bool is_fixed = isnan(from[j]) || dimension->is_category || !stop_pbt_can_change(study->definition, name);
            x[j] = is_fixed ? from[j] : perturbed(study, j, from[j], fresh[j], &stream);
            if (isnan(x[j]))
                x[j] = dimension->is_category ? 0 : 0.5; /* does not exist, and settling says so */
        }
        if (codec_settle(&study->codec, x, err) == 0 && study_is_allowed(study, x))
            return 0;
    }
    memcpy(x, from, (size_t)study->codec.n * sizeof(*x));
    return 0;
}

const struct stop_kind stop_pbt = {
    .name = "pbt",
    .help = "population-based training: the last go on from the checkpoints of the first, with other parameters",
    .options = "interval max_resource percentile",
    .needs_max = true,
    .can_pause = true,
    .in_generations = true,
    .decide = decide,
    .promote = promote,
    .prepare = prepare,
    .replace = replace,
    .pause_at = pause_at,
};
