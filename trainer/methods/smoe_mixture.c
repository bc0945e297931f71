/* The passes of tokens through a mixture's gates and experts. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "trainer/methods/smoe.h"

#define NORM_EPSILON 1e-5
#define NO_ROOM      (-1e9) /* added to a logit: its share of a softmax is 0 */

enum { ENTROPY_BITS = 32 };

/* One gate's say on the tokens that wait for it. */
struct routing {
    int gate, n, top, n_seen; /* n_seen: experts it chooses among */
    const int32_t *rows;      /* of the mixture's input */
    int32_t *best;            /* (n): the best expert of each, counted from the gate's first */
    int32_t *chosen;          /* (n, top): the same of all chosen; −1: it had no room */
    struct value *h, *p;      /* what the gate read, and the probabilities */
    struct value *weights;    /* (n · top, 1) */
};

/* The best expert of every row and, for two, the second. */
static void rank_experts(struct routing *r)
{
    for (int i = 0; i < r->n; i++) {
        const real *p = r->p->data + (size_t)i * (size_t)r->p->cols;
        int best = 0, second = -1;
        for (int e = 1; e < r->n_seen; e++)
            best = p[e] > p[best] ? e : best;
        for (int e = 0; e < r->n_seen; e++)
            if (e != best && (second < 0 || p[e] > p[second]))
                second = e;
        r->best[i] = best;
        r->chosen[i * r->top] = best;
        if (r->top > 1)
            r->chosen[i * r->top + 1] = second;
    }
}

/* Choices that their expert has no room for become −1: all first choices come in front of all second ones. */
static void limit_experts(struct routing *r, int room, int *taken)
{
    memset(taken, 0, (size_t)r->n_seen * sizeof(*taken));
    for (int k = 0; k < r->top; k++)
        for (int i = 0; i < r->n; i++) {
            int32_t *chosen = &r->chosen[i * r->top + k];
            if (taken[*chosen]++ >= room)
                *chosen = -1;
        }
}

static int room_of(const struct mixture *mixture, const struct tape *tape, const struct routing *r)
{
    if (!tape->is_training || mixture->capacity <= 0)
        return r->n;
    double room = mixture->capacity * ceil((double)r->n / r->n_seen);
    return room < 1 ? 1 : room < r->n ? (int)room : r->n;
}

/* g of every choice. */
static struct value *weigh(struct tape *tape, const struct routing *r, struct value *logits, const int32_t *first,
                           const int32_t *second)
{
    if (r->top == 1)
        return op_pick(tape, r->p, first);
    real *penalties = tape_alloc(tape, "smoe", 2 * (size_t)r->n * sizeof(real));
    if (!penalties)
        return NULL;
    for (int i = 0; i < 2 * r->n; i++)
        penalties[i] = r->chosen[i] < 0 ? (real)NO_ROOM : 0;
    struct value *pair = op_beside(tape, op_pick(tape, logits, first), op_pick(tape, logits, second));
    pair = op_softmax(tape, op_add(tape, pair, tape_constant(tape, penalties, r->n, 2, NULL)));
    return op_reshape(tape, pair, 2 * r->n, 1);
}

/* Chooses and weighs the experts of r->rows. */
static bool route(const struct mixture *mixture, struct tape *tape, struct routing *r)
{
    struct value *logits = op_linear(tape, r->h, &mixture->gate[r->gate]->value, NULL);
    r->p = op_softmax(tape, logits);
    r->n_seen = mixture->n_experts - mixture->firsts[r->gate];
    r->top = mixture->top < r->n_seen ? mixture->top : r->n_seen;
    size_t n = (size_t)r->n, top = (size_t)r->top;
    int32_t *all = tape_alloc(tape, "smoe", n * (top + 2) * sizeof(*all));
    int *taken = tape_alloc(tape, "smoe", (size_t)r->n_seen * sizeof(*taken));
    if (!r->p || !all || !taken)
        return false;
    r->best = all;
    r->chosen = all + 2 * n;
    rank_experts(r);
    int32_t *second = all + n;
    for (int i = 0; i < r->n; i++)
        second[i] = r->chosen[i * r->top + r->top - 1];
    limit_experts(r, room_of(mixture, tape, r), taken);
    r->weights = weigh(tape, r, logits, r->best, second);
    return r->weights != NULL;
}

/* E Σ_e mean(p_e) f_e with f_e the share of the tokens whose best expert is e. */
static struct value *balance(struct tape *tape, const struct routing *r)
{
    int n = r->n, n_seen = r->n_seen;
    real *ones = tape_alloc(tape, "smoe", (size_t)n * sizeof(real));
    real *shares = tape_alloc(tape, "smoe", (size_t)n_seen * sizeof(real));
    if (!ones || !shares)
        return NULL;
    memset(shares, 0, (size_t)n_seen * sizeof(real));
    for (int i = 0; i < n; i++) {
        ones[i] = 1 / (real)n;
        shares[r->best[i]] += (real)n_seen / (real)n;
    }
    struct value *means = op_matmul(tape, tape_constant(tape, ones, 1, n, NULL), false, r->p, false);
    return op_matmul(tape, means, false, tape_constant(tape, shares, n_seen, 1, NULL), false);
}

static struct value *normalise(struct tape *tape, const struct mixture *mixture, int stratum, struct value *x)
{
    return op_layer_norm(tape, x, &mixture->norm[stratum]->value, &mixture->norm_bias[stratum]->value, NORM_EPSILON);
}

static struct value *apply(struct tape *tape, const struct mixture *mixture, const struct expert *expert,
                           struct value *x)
{
    struct value *b1 = expert->first_bias ? &expert->first_bias->value : NULL;
    struct value *b2 = expert->second_bias ? &expert->second_bias->value : NULL;
    struct value *y = op_linear(tape, x, &expert->first->value, b1);
    if (mixture->has_activation)
        y = op_activation(tape, y, mixture->activation);
    y = op_linear(tape, y, &expert->second->value, b2);
    return mixture->scaling == 1 ? y : op_scale(tape, y, mixture->scaling);
}

/* What one expert gives its tokens. */
struct part {
    struct value *value;
    int32_t *rows; /* of the mixture's input */
};

static int stratum_of(const struct mixture *mixture, int expert)
{
    int stratum = 0;
    while (stratum + 1 < mixture->n_strata && expert >= mixture->firsts[stratum + 1])
        stratum++;
    return stratum;
}

/* The part of an expert (counted from the gate's first); its value is NULL when it has no token. */
static bool make_part(struct tape *tape, const struct mixture *mixture, const struct routing *r, struct value *x,
                      int expert, struct part *part)
{
    int n = 0, total = r->n * r->top, at = 0;
    for (int i = 0; i < total; i++)
        n += r->chosen[i] == expert;
    *part = (struct part){0};
    if (n == 0)
        return true;
    int32_t *lists = tape_alloc(tape, "smoe", 3 * (size_t)n * sizeof(*lists));
    if (!lists)
        return false;
    int32_t *local = lists, *choices = lists + n;
    part->rows = lists + 2 * (size_t)n;
    for (int i = 0; i < total; i++)
        if (r->chosen[i] == expert) {
            local[at] = i / r->top;
            choices[at] = i;
            part->rows[at++] = r->rows[i / r->top];
        }
    int own = mixture->firsts[r->gate] + expert, stratum = stratum_of(mixture, own);
    struct value *input = mixture->normalises_by_expert && stratum != r->gate
                              ? normalise(tape, mixture, stratum, op_take_rows(tape, x, part->rows, n))
                              : op_take_rows(tape, r->h, local, n);
    struct value *y = apply(tape, mixture, &mixture->experts[own], input);
    part->value = op_multiply_column(tape, y, op_take_rows(tape, r->weights, choices, n));
    return part->value != NULL;
}

/* (n, width): what the experts of a pass give each token of x, 0 for those that did not take part. */
static struct value *gather(struct tape *tape, const struct mixture *mixture, const struct routing *r, struct value *x)
{
    struct value **values = tape_alloc(tape, "smoe", (size_t)r->n_seen * sizeof(struct value *));
    const int32_t **rows = tape_alloc(tape, "smoe", (size_t)r->n_seen * sizeof(int32_t *));
    int n = 0;
    if (!values || !rows)
        return NULL;
    for (int e = 0; e < r->n_seen; e++) {
        struct part part;
        if (!make_part(tape, mixture, r, x, e, &part))
            return NULL;
        if (!part.value)
            continue;
        values[n] = part.value;
        rows[n++] = part.rows;
    }
    return op_sum_at_rows(tape, values, rows, n, x->rows, x->cols, x->layout);
}

/* In training some tokens get nothing from the experts, as everybody gets a little less afterwards; then dropout. */
static struct value *mask(struct tape *tape, const struct mixture *mixture, int gate, struct value *update)
{
    if (mixture->masking > 0 && update) {
        real *ones = tape_alloc(tape, "smoe", (size_t)update->rows * sizeof(real));
        for (int i = 0; ones && i < update->rows; i++)
            ones[i] = 1;
        struct value *kept = ones ? tape_constant(tape, ones, update->rows, 1, update->layout) : NULL;
        kept = op_dropout(tape, kept, mixture->masking, mixture->site + 64 + (uint32_t)gate);
        update = op_multiply_column(tape, update, op_scale(tape, kept, 1 - mixture->masking));
    }
    return op_dropout(tape, update, mixture->dropout, mixture->site + (uint32_t)gate);
}

/* Counting --------------------------------------------------------------------------------------------------------- */

/* Token and task of every row of x. */
struct row_kinds {
    const int32_t *ids; /* −1: a method put it there */
    const int32_t *tasks;
};

static bool find_kinds(struct pass *pass, const struct mixture *mixture, const struct value *x, struct row_kinds *out)
{
    const struct batch *batch = pass->batch;
    const int32_t *all = mixture->is_decoder ? batch->decoder_ids : batch->ids;
    int32_t *ids = tape_alloc(pass->tape, "smoe", 2 * (size_t)x->rows * sizeof(*ids));
    if (!ids)
        return false;
    int32_t *tasks = ids + x->rows;
    for (int s = 0; s < x->layout->n_segments; s++) {
        const struct segment *segment = &x->layout->segments[s];
        for (int i = segment->first; i < segment->first + segment->rows; i++) {
            int32_t origin = x->layout->origin ? x->layout->origin[i] : i;
            ids[i] = origin < 0 ? -1 : all[origin];
            tasks[i] = batch->tasks ? batch->tasks[s] : 0;
        }
    }
    *out = (struct row_kinds){ids, tasks};
    return true;
}

static void count_token(const struct model *model, struct mixture_counts *counts, const struct row_kinds *kinds,
                        int row, bool is_new)
{
    const struct token_kinds *known = model->token_kinds;
    struct token_count *counted[3] = {&counts->all, NULL, NULL};
    if (known && known->bands && kinds->ids[row] >= 0 && kinds->ids[row] < model->vocab_size)
        counted[1] = &counts->bands[known->bands[kinds->ids[row]]];
    if (counts->tasks)
        counted[2] = &counts->tasks[kinds->tasks[row]];
    for (int i = 0; i < 3; i++)
        if (counted[i]) {
            counted[i]->tokens += is_new;
            counted[i]->passes++;
        }
}

static double entropy_of(const struct value *p, int row)
{
    double sum = 0;
    for (int e = 0; e < p->cols; e++) {
        double share = (double)p->data[(size_t)row * (size_t)p->cols + (size_t)e];
        sum -= share > 0 ? share * log(share) : 0;
    }
    return sum;
}

static void count_pass(const struct pass *pass, struct mixture *mixture, const struct routing *r,
                       const struct row_kinds *kinds)
{
    struct mixture_counts *counts = &mixture->counts;
    int64_t d = mixture->width, taken = 0;
    for (int i = 0; i < r->n; i++) {
        double entropy = entropy_of(r->p, i);
        count_token(pass->model, counts, kinds, r->rows[i], r->gate == 0);
        counts->entropy += isfinite(entropy) ? (int64_t)ldexp(entropy, ENTROPY_BITS) : 0;
    }
    for (int i = 0; i < r->n * r->top; i++)
        if (r->chosen[i] >= 0) {
            counts->experts[mixture->firsts[r->gate] + r->chosen[i]]++;
            taken++;
        }
    counts->choices += r->n * r->top;
    counts->overflowed += r->n * r->top - taken;
    counts->flops += 2 * d * r->n_seen * r->n + 4 * d * mixture->inner * taken;
}

/* The passes ------------------------------------------------------------------------------------------------------- */

/* Rows whose next gate is `gate`, in order. */
static const int32_t *waiting(struct tape *tape, const int32_t *states, int n, int gate, int *n_waiting)
{
    int32_t *rows = tape_alloc(tape, "smoe", (size_t)n * sizeof(*rows));
    *n_waiting = 0;
    for (int i = 0; rows && i < n; i++)
        if (states[i] == gate)
            rows[(*n_waiting)++] = i;
    return rows;
}

static void add_loss(struct pass *pass, struct mixture *mixture, struct value *loss, int n_passes)
{
    struct tape *tape = pass->tape;
    if (!loss || !tape->is_recording)
        return;
    mixture->counts.balance += (double)loss->data[0] / n_passes;
    mixture->counts.calls++;
    if (mixture->balance_weight > 0)
        pass_add_loss(pass, op_scale(tape, loss, mixture->balance_weight / n_passes));
}

struct value *mixture_update(struct mixture *mixture, struct pass *pass, struct value *x, struct value *first)
{
    struct tape *tape = pass->tape;
    struct value *sum = NULL, *loss = NULL;
    struct row_kinds kinds = {0};
    int n_passes = 0, n = x ? x->rows : 0;
    int32_t *states = x ? tape_alloc(tape, "smoe", (size_t)n * sizeof(*states)) : NULL;
    bool counts = !pass->cache;
    if (!states || (counts && !find_kinds(pass, mixture, x, &kinds)))
        return NULL;
    memset(states, 0, (size_t)n * sizeof(*states));
    for (int gate = 0; gate < mixture->n_strata; gate++) {
        struct routing r = {.gate = gate};
        r.rows = waiting(tape, states, n, gate, &r.n);
        if (!r.rows)
            return NULL;
        if (r.n == 0)
            continue;
        struct value *own = r.n == n ? x : op_take_rows(tape, x, r.rows, r.n);
        r.h = gate == 0 && first ? first : normalise(tape, mixture, gate, own);
        if (!r.h || !route(mixture, tape, &r))
            return NULL;
        struct value *update = mask(tape, mixture, gate, gather(tape, mixture, &r, x)), *own_loss = balance(tape, &r);
        if (!update)
            return NULL;
        loss = loss ? op_add(tape, loss, own_loss) : own_loss;
        sum = sum ? op_add(tape, sum, update) : update;
        x = gate + 1 < mixture->n_strata ? op_add(tape, x, update) : x;
        n_passes++;
        for (int i = 0; i < r.n; i++)
            states[r.rows[i]] = stratum_of(mixture, mixture->firsts[gate] + r.best[i]) + 1;
        if (counts)
            count_pass(pass, mixture, &r, &kinds);
    }
    add_loss(pass, mixture, loss, n_passes);
    return sum;
}
