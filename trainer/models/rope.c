/* Rotary positions: frequencies θ^(−2j/size), j < size/2, scaled as the config says. */
#include "trainer/models/rope.h"

#include <math.h>
#include <string.h>

#include "common/json.h"

#define TWO_PI 6.28318530717958647692

struct parameters {
    const cJSON *json; /* the object, or NULL */
    const char *where, *type;
    double factor;
    int original_positions; /* the length the model was first trained for */
};

/* A number of the object, above 0; a missing or null one takes `fallback` (0: it must be there). */
static int number(const struct parameters *p, const char *key, double fallback, double *out, struct err *err)
{
    *out = fallback;
    int rc = fallback == 0 ? json_get_double(p->json, key, p->where, out, err)
                           : json_opt_double(p->json, key, p->where, out, err);
    if (rc == 0 && !(*out > 0 && isfinite(*out)))
        rc = err_set(err, ERR_FORMAT, "%s: '%s' is %g, a number above 0 was expected", p->where, key, *out);
    return rc;
}

static void plain(const struct rope *rope, double theta, double *frequencies)
{
    for (int j = 0; j < rope->half; j++)
        frequencies[j] = pow(theta, -(double)j / rope->half);
}

/* Slow turns are stretched by the factor, fast ones kept, those between interpolated.   Dubey et al. 2024,
 * arXiv:2407.21783 */
static int llama3(const struct parameters *p, struct rope *rope, struct err *err)
{
    double low, high;
    int rc = number(p, "low_freq_factor", 0, &low, err);
    if (rc == 0)
        rc = number(p, "high_freq_factor", 0, &high, err);
    if (rc < 0)
        return rc;
    if (high <= low)
        return err_set(err, ERR_FORMAT, "%s: high_freq_factor %g is not above low_freq_factor %g", p->where, high, low);
    for (int j = 0; j < rope->half; j++) {
        double f = rope->frequencies[j], length = TWO_PI / f, share;
        if (length < p->original_positions / high)
            share = 1;
        else if (length > p->original_positions / low)
            share = 0;
        else
            share = (p->original_positions / length - low) / (high - low);
        rope->frequencies[j] = (1 - share) * f / p->factor + share * f;
    }
    return 0;
}

/* The (real) index of the frequency that turns `turns` times over the original length. */
static double turning_index(const struct rope *rope, const struct parameters *p, double turns)
{
    return rope->half * log(p->original_positions / (turns * TWO_PI)) / log(rope->theta);
}

static double mscale(double factor, double m)
{
    return factor <= 1 ? 1 : 0.1 * m * log(factor) + 1;
}

static int yarn_scaling(const struct parameters *p, struct rope *rope, struct err *err)
{
    double m = 0, m_all = 0;
    int rc = json_opt_double(p->json, "mscale", p->where, &m, err);
    if (rc == 0)
        rc = json_opt_double(p->json, "mscale_all_dim", p->where, &m_all, err);
    double fallback = m != 0 && m_all != 0 ? mscale(p->factor, m) / mscale(p->factor, m_all) : mscale(p->factor, 1);
    return rc < 0 ? rc : number(p, "attention_factor", fallback, &rope->scaling, err);
}

/* Frequencies between those that turn beta_slow and beta_fast times are interpolated; cosines and sines are scaled.
 * Peng et al. 2023, arXiv:2309.00071, 3.2-3.4 */
static int yarn(const struct parameters *p, struct rope *rope, struct err *err)
{
    double fast, slow;
    bool truncates = true;
    int rc = number(p, "beta_fast", 32, &fast, err);
    if (rc == 0)
        rc = number(p, "beta_slow", 1, &slow, err);
    if (rc == 0)
        rc = json_opt_bool(p->json, "truncate", p->where, &truncates, err);
    if (rc == 0)
        rc = yarn_scaling(p, rope, err);
    if (rc < 0)
        return rc;
    double low = turning_index(rope, p, fast), high = turning_index(rope, p, slow);
    low = fmax(truncates ? floor(low) : low, 0);
    high = fmin(truncates ? ceil(high) : high, 2 * rope->half - 1);
    high = high == low ? high + 0.001 : high;
    for (int j = 0; j < rope->half; j++) {
        double f = rope->frequencies[j], ramp = fmin(fmax((j - low) / (high - low), 0), 1);
        rope->frequencies[j] = f / p->factor * ramp + f * (1 - ramp);
    }
    return 0;
}

static int apply_type(const struct parameters *p, struct rope *rope, struct err *err)
{
    if (strcmp(p->type, "default") == 0)
        return 0;
    if (strcmp(p->type, "llama3") == 0)
        return llama3(p, rope, err);
    if (strcmp(p->type, "yarn") == 0)
        return yarn(p, rope, err);
    rope->is_dynamic = strcmp(p->type, "dynamic") == 0;
    if (!rope->is_dynamic && strcmp(p->type, "linear") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "%s: rope_type '%s' is not built in; these are: default, linear, dynamic, llama3, yarn",
                       p->where, p->type);
    for (int j = 0; j < rope->half && !rope->is_dynamic; j++)
        rope->frequencies[j] /= p->factor;
    return 0;
}

static int read_parameters(const struct model *model, struct parameters *p, struct rope *rope, struct err *err)
{
    const cJSON *given = json_get(model->config, "rope_parameters"), *scaling = json_get(model->config, "rope_scaling");
    bool is_new = cJSON_IsObject(given);
    struct parameters config = {.json = model->config, .where = "config.json"};
    double original = model->max_positions, theta = 10000;
    *p = (struct parameters){.json = is_new                    ? given
                                     : cJSON_IsObject(scaling) ? scaling
                                                               : NULL,
                             .where = is_new ? "config.json: rope_parameters" : "config.json: rope_scaling",
                             .type = "default",
                             .factor = 1};
    int rc = number(&config, "rope_theta", 10000, &theta, err);
    if (rc == 0 && p->json) {
        rc = json_opt_string(p->json, "type", p->where, &p->type, err);
        if (rc == 0)
            rc = json_opt_string(p->json, "rope_type", p->where, &p->type, err);
        if (rc == 0)
            rc = number(p, "rope_theta", theta, &theta, err);
        if (rc == 0)
            rc = number(p, "original_max_position_embeddings", original, &original, err);
    }
    if (rc == 0)
        rc = number(&config, "original_max_position_embeddings", original, &original, err);
    p->original_positions = (int)original;
    rope->theta = theta;
    if (rc == 0 && strcmp(p->type, "default") != 0)
        rc = number(p, "factor", strcmp(p->type, "yarn") == 0 ? model->max_positions / original : 0, &p->factor, err);
    return rc;
}

int rope_load(struct model *model, struct rope *rope, int head_size, struct err *err)
{
    struct parameters p;
    double part = 1;
    int rc = read_parameters(model, &p, rope, err);
    if (rc < 0)
        return rc;
    const struct parameters config = {.json = model->config, .where = "config.json"};
    rc = number(&config, "partial_rotary_factor", 1, &part, err);
    if (rc == 0 && p.json)
        rc = number(&p, "partial_rotary_factor", part, &part, err);
    if (rc < 0)
        return rc;
    /* The plain form of these families turns whole heads whatever the config says. */
    rope->half = (strcmp(p.type, "default") == 0 ? head_size : (int)(head_size * fmin(part, 1))) / 2;
    rope->frequencies = arena_calloc(model->params.arena, (size_t)rope->half + 1, sizeof(double));
    rope->scaling = 1;
    rope->factor = p.factor;
    rope->max_positions = model->max_positions;
    if (!rope->frequencies)
        return err_set(err, ERR_NOMEM, "no memory for rotary positions");
    if (rope->half < 2)
        return err_set(err, ERR_FORMAT, "config.json: a head of %d is too small for rotary positions", head_size);
    plain(rope, rope->theta, rope->frequencies);
    return apply_type(&p, rope, err);
}

/* NTK-aware scaling: the base grows with the sequence's length so that the slowest turn spans it. */
static double grown_theta(const struct rope *rope, int length)
{
    double d = 2 * rope->half;
    return rope->theta * pow(rope->factor * length / rope->max_positions - (rope->factor - 1), d / (d - 2));
}

bool rope_rotation(const struct rope *rope, struct tape *tape, const struct layout *layout, struct rotation *rotation)
{
    size_t half = (size_t)rope->half, n = (size_t)layout->n_rows * half;
    real *cosines = tape_alloc(tape, "rotation", n * sizeof(real)),
         *sines = tape_alloc(tape, "rotation", n * sizeof(real));
    double *grown = tape_alloc(tape, "rotation", half * sizeof(double));
    if (!cosines || !sines || !grown)
        return false;
    for (int s = 0; s < layout->n_segments; s++) {
        const struct segment *segment = &layout->segments[s];
        int length = segment->position + segment->rows;
        bool grows = rope->is_dynamic && length > rope->max_positions;
        if (grows)
            plain(rope, grown_theta(rope, length), grown);
        for (int i = 0; i < segment->rows; i++)
            for (size_t j = 0; j < half; j++) {
                double angle = (segment->position + i) * (grows ? grown : rope->frequencies)[j];
                size_t at = (size_t)(segment->first + i) * half + j;
                cosines[at] = (real)(cos(angle) * rope->scaling);
                sines[at] = (real)(sin(angle) * rope->scaling);
            }
    }
    *rotation = (struct rotation){rope->half, cosines, sines};
    return true;
}
