/* Attention, sequence by sequence and head by head.
 *
 * With S = scale q kᵀ, P = softmax(S), D = dropout(P) and o = D v:
 *     dD = do vᵀ    dP = mask(dD)/(1 − rate)    dS = P ⊙ (dP − rowsum(dP ⊙ P))    dq = scale dS k    dk = scale dSᵀ q
 * Only the log-sum-exp of each row is kept; P and the dropout mask are computed again in backward. A position bias is
 * added to S; its gradient is the sum of dS over the pairs at the same (bucketed) distance.
 *
 * With a gate g a row i sees its extra keys and values as g_i k and g_i v: the columns of S and of D that belong to
 * them are multiplied by g_i, and dg_i = Σ_j D_ij (do_i·v_j) + Σ_j dS_ij (scale q_i·k_j) over those columns. */
#include <math.h>

#include "trainer/op_internal.h"

struct attention_node {
    struct tape_node node;
    struct value *q, *k, *v;
    struct attention options;
    real *log_sum; /* (n_heads, n): log Σ_j exp S_ij */
};

/* One (sequence, head): where its operands lie. Keys are the extra ones in front, then the sequence's own. */
struct head {
    const struct segment *queries, *keys;
    int index, kv_index, size, n_extra, n_keys;
    int before; /* keys of rows in front of the first query's */
};

struct scratch {
    real *scores, *slopes; /* (rows, keys) */
    uint8_t *is_kept;      /* dropout's mask */
    int32_t *buckets;      /* of a position bias, by distance: points at distance 0 */
};

static struct head head_of(const struct attention *options, const struct value *q, const struct value *k, int sequence,
                           int index)
{
    int n_extra = options->extra_keys ? options->extra_keys->rows : 0;
    const struct segment *keys = &k->layout->segments[sequence];
    return (struct head){
        .queries = &q->layout->segments[sequence],
        .keys = keys,
        .index = index,
        .kv_index = index / (options->n_heads / options->n_kv_heads),
        .size = q->cols / options->n_heads,
        .n_extra = n_extra,
        .n_keys = n_extra + keys->keys,
        .before = options->is_continued ? keys->keys - q->layout->segments[sequence].rows : 0,
    };
}

/* The rows of q (or o) of a head, and the own and the extra rows of k or v. */
static size_t query_at(const struct head *head, const struct value *q)
{
    return (size_t)head->queries->first * (size_t)q->cols + (size_t)(head->index * head->size);
}
static size_t key_at(const struct head *head, const struct value *k)
{
    return (size_t)head->keys->first * (size_t)k->cols + (size_t)(head->kv_index * head->size);
}
static size_t extra_at(const struct head *head)
{
    return (size_t)(head->kv_index * head->size);
}

/* The keys [first, end) that a row sees. */
struct range {
    int first, end;
};

static struct range visible_keys(const struct attention *options, const struct head *head, int row)
{
    struct range range = {0, head->n_keys};
    row += head->before;
    if (options->is_causal && row + 1 < head->keys->keys)
        range.end = head->n_extra + row + 1;
    if (options->window > 0 && head->n_extra + row + 1 > options->window)
        range.first = head->n_extra + row + 1 - options->window;
    /* A carried padding row far behind the last key would see nothing: it sees the last one. */
    if (range.first >= range.end)
        range.first = range.end - 1;
    return range;
}

/* out (+)= left · rightᵀ where right is k or v, with the extra rows' columns in front. */
static void times_keys(const struct head *head, real *out, const real *left, int left_cols, const struct value *extra,
                       const struct value *own, real scale)
{
    int rows = head->queries->rows;
    if (head->n_extra)
        gemm(false, true, rows, head->n_extra, head->size, scale, left, left_cols, extra->data + extra_at(head),
             extra->cols, 0, out, head->n_keys);
    gemm(false, true, rows, head->keys->keys, head->size, scale, left, left_cols, own->data + key_at(head, own),
         own->cols, 0, out + head->n_extra, head->n_keys);
}

/* out (+)= weights · (k or v).   weights: (rows, keys) */
static void weigh_keys(const struct head *head, real *out, int out_cols, const real *weights, const struct value *extra,
                       const struct value *own, real scale, real beta)
{
    int rows = head->queries->rows;
    if (head->n_extra) {
        gemm(false, false, rows, head->size, head->n_extra, scale, weights, head->n_keys, extra->data + extra_at(head),
             extra->cols, beta, out, out_cols);
        beta = 1;
    }
    gemm(false, false, rows, head->size, head->keys->keys, scale, weights + head->n_extra, head->n_keys,
         own->data + key_at(head, own), own->cols, beta, out, out_cols);
}

/* d(k or v) += scale weightsᵀ · right, for own and extra rows. */
static void scatter_keys(const struct head *head, const real *weights, const real *right, int right_cols,
                         const struct value *extra, const struct value *own, real scale)
{
    int rows = head->queries->rows;
    if (needs(extra) && head->n_extra)
        gemm(true, false, head->n_extra, head->size, rows, scale, weights, head->n_keys, right, right_cols, 1,
             extra->grad + extra_at(head), extra->cols);
    if (needs(own))
        gemm(true, false, head->keys->keys, head->size, rows, scale, weights + head->n_extra, head->n_keys, right,
             right_cols, 1, own->grad + key_at(head, own), own->cols);
}

/* Pure in (step, example, site, head, row, key). */
static void draw_mask(const struct tape *tape, const struct attention *options, const struct head *head,
                      uint8_t *is_kept)
{
    size_t n = (size_t)head->queries->rows * (size_t)head->n_keys;
    kernels()->keep_mask(tape->dropout, tape->step, head->queries->example,
                         options->site + (uint32_t)head->index * 0x9e3779b9u, dropout_threshold(options->dropout),
                         is_kept, n);
}

/* Drops probabilities (or their slopes) into out, which may be they. */
static void drop(const struct attention *options, const struct head *head, const uint8_t *is_kept, real *out,
                 const real *values)
{
    size_t n = (size_t)head->queries->rows * (size_t)head->n_keys;
    kernels()->mask(out, values, is_kept, (real)(1 / (1 - options->dropout)), n, true);
}

/* The extra columns of each row times the row's gate. */
static void gate_rows(const struct attention *options, const struct head *head, real *values)
{
    for (int i = 0; options->extra_gate && i < head->queries->rows; i++)
        for (int j = 0; j < head->n_extra; j++)
            values[(size_t)i * (size_t)head->n_keys + (size_t)j] *= options->extra_gate->data[head->queries->first + i];
}

/* dg_i += Σ over the extra columns of left ⊙ right. */
static void gate_grad_products(const struct attention *options, const struct head *head, const real *left,
                               const real *right)
{
    for (int i = 0; i < head->queries->rows; i++)
        options->extra_gate->grad[head->queries->first + i] += kernels()->dot(
            left + (size_t)i * (size_t)head->n_keys, right + (size_t)i * (size_t)head->n_keys, (size_t)head->n_extra);
}

/* dg_i += Σ_j dS_ij (scale q_i·k_j) over the extra columns. */
static void gate_grad_scores(const struct attention *options, const struct head *head, const real *slopes,
                             const struct value *q)
{
    for (int i = 0; i < head->queries->rows; i++) {
        const real *row = q->data + query_at(head, q) + (size_t)i * (size_t)q->cols;
        real total = 0;
        for (int j = 0; j < head->n_extra; j++)
            total += slopes[(size_t)i * (size_t)head->n_keys + (size_t)j] *
                     kernels()->dot(row, value_row(options->extra_keys, j) + extra_at(head), (size_t)head->size);
        options->extra_gate->grad[head->queries->first + i] += (real)options->scale * total;
    }
}

static bool drops(const struct tape *tape, const struct attention *options)
{
    return tape->is_training && options->dropout > 0;
}

/* The distance's row in the table of a position bias: small distances have one each, larger ones share on a logarithmic
 * scale, up to max_distance.   Raffel et al. 2019, arXiv:1910.10683, 2.1 */
static int bucket_of(const struct position_bias *bias, int distance)
{
    int n = bias->table->rows, base = 0;
    if (bias->is_bidirectional) {
        n /= 2;
        base = distance > 0 ? n : 0;
        distance = distance < 0 ? -distance : distance;
    } else {
        distance = distance < 0 ? -distance : 0;
    }
    int exact = n / 2;
    if (distance < exact)
        return base + distance;
    /* In float, as the models were trained: at the borders rounding decides. */
    float share = logf((float)distance / (float)exact) / (float)log((double)bias->max_distance / exact);
    int bucket = exact + (int)(share * (float)(n - exact));
    return base + (bucket < n ? bucket : n - 1);
}

/* scores += bias (grad NULL), or the table's gradient += scores. Extra keys stand in front of position 0. */
static void position_bias(const struct value *table, const int32_t *buckets, const struct head *head, real *scores,
                          real *grad)
{
    for (int i = 0; i < head->queries->rows; i++)
        for (int j = 0; j < head->n_keys; j++) {
            int at = buckets[j - head->n_extra - head->before - i] * table->cols + head->index;
            real *score = &scores[(size_t)i * (size_t)head->n_keys + (size_t)j];
            if (grad)
                grad[at] += *score;
            else
                *score += table->data[at];
        }
}

static void scores_of(const struct attention *options, const struct head *head, const struct value *q,
                      const struct value *k, const struct scratch *scratch)
{
    real *scores = scratch->scores;
    times_keys(head, scores, q->data + query_at(head, q), q->cols, options->extra_keys, k, (real)options->scale);
    gate_rows(options, head, scores);
    if (options->bias.table)
        position_bias(options->bias.table, scratch->buckets, head, scores, NULL);
}

/* Nothing outside the range. */
static void clear_rest(real *row, struct range range, int n_keys)
{
    memset(row, 0, (size_t)range.first * sizeof(real));
    memset(row + range.end, 0, (size_t)(n_keys - range.end) * sizeof(real));
}

/* Softmax of each row in place; the log-sum-exp of each row into log_sum. */
static void softmax_rows(const struct attention *options, const struct head *head, real *scores, real *log_sum)
{
    for (int i = 0; i < head->queries->rows; i++) {
        struct range range = visible_keys(options, head, i);
        real *whole = scores + (size_t)i * (size_t)head->n_keys, *row = whole + range.first;
        size_t n = (size_t)(range.end - range.first);
        real shift = kernels()->max(row, n), sum = kernels()->exp_sum(row, row, shift, n), factor = 1 / sum;
        for (size_t j = 0; j < n; j++)
            row[j] *= factor;
        clear_rest(whole, range, head->n_keys);
        log_sum[i] = shift + (real)log((double)sum);
    }
}

/* P again, from the scores and the kept log-sum-exp. */
static void probabilities_again(const struct attention *options, const struct head *head, real *scores,
                                const real *log_sum)
{
    for (int i = 0; i < head->queries->rows; i++) {
        struct range range = visible_keys(options, head, i);
        real *row = scores + (size_t)i * (size_t)head->n_keys;
        kernels()->exp_sum(row + range.first, row + range.first, log_sum[i], (size_t)(range.end - range.first));
        clear_rest(row, range, head->n_keys);
    }
}

static int32_t *buckets_of(struct tape *tape, const struct position_bias *bias, int rows, int keys)
{
    int32_t *buckets = tape_alloc(tape, "attention", (size_t)(rows + keys) * sizeof(*buckets));
    for (int distance = -rows; buckets && distance < keys; distance++)
        buckets[rows + distance] = bucket_of(bias, distance);
    return buckets ? buckets + rows : NULL;
}

static bool scratch_alloc(struct tape *tape, const struct attention *options, const struct value *q,
                          const struct value *k, struct scratch *scratch)
{
    size_t largest = 1;
    int rows = 0, keys = 0;
    for (int s = 0; s < q->layout->n_segments; s++) {
        struct head head = head_of(options, q, k, s, 0);
        size_t n = (size_t)head.queries->rows * (size_t)head.n_keys;
        largest = n > largest ? n : largest;
        int reach = head.queries->rows + head.n_extra + head.before;
        rows = reach > rows ? reach : rows;
        keys = head.n_keys > keys ? head.n_keys : keys;
    }
    scratch->scores = tape_alloc(tape, "attention", largest * sizeof(real));
    scratch->slopes = tape_alloc(tape, "attention", largest * sizeof(real));
    scratch->is_kept = drops(tape, options) ? tape_alloc(tape, "attention", largest) : NULL;
    scratch->buckets = options->bias.table ? buckets_of(tape, &options->bias, rows, keys) : NULL;
    return !tape->failed;
}

static void head_backward(struct tape *tape, const struct attention_node *node, const struct head *head,
                          struct scratch *scratch)
{
    const struct attention *options = &node->options;
    struct value *q = node->q, *k = node->k, *v = node->v, *o = node->node.output;
    size_t n = (size_t)head->queries->rows * (size_t)head->n_keys;
    const real *dout = o->grad + query_at(head, o);
    real *p = scratch->scores, *ds = scratch->slopes, scale = (real)options->scale;

    scores_of(options, head, q, k, scratch);
    if (drops(tape, options))
        draw_mask(tape, options, head, scratch->is_kept);
    probabilities_again(options, head, p, node->log_sum + (size_t)head->index * (size_t)q->rows + head->queries->first);
    if (needs(v) || needs(options->extra_values)) {
        if (drops(tape, options))
            drop(options, head, scratch->is_kept, ds, p);
        else
            memcpy(ds, p, n * sizeof(real));
        gate_rows(options, head, ds);
        scatter_keys(head, ds, dout, o->cols, options->extra_values, v, 1);
    }
    if (!needs(q) && !needs(k) && !needs(options->extra_keys) && !needs(options->extra_gate) &&
        !needs(options->bias.table))
        return;
    times_keys(head, ds, dout, o->cols, options->extra_values, v, 1);
    if (drops(tape, options))
        drop(options, head, scratch->is_kept, ds, ds);
    if (needs(options->extra_gate))
        gate_grad_products(options, head, p, ds);
    gate_rows(options, head, ds);
    for (int i = 0; i < head->queries->rows; i++) {
        real *slope = ds + (size_t)i * (size_t)head->n_keys;
        const real *row = p + (size_t)i * (size_t)head->n_keys;
        real mean = kernels()->dot(slope, row, (size_t)head->n_keys);
        for (int j = 0; j < head->n_keys; j++)
            slope[j] = row[j] * (slope[j] - mean);
    }
    if (needs(options->bias.table))
        position_bias(options->bias.table, scratch->buckets, head, ds, options->bias.table->grad);
    if (needs(options->extra_gate))
        gate_grad_scores(options, head, ds, q);
    gate_rows(options, head, ds);
    if (needs(q))
        weigh_keys(head, q->grad + query_at(head, q), q->cols, ds, options->extra_keys, k, scale, 1);
    scatter_keys(head, ds, q->data + query_at(head, q), q->cols, options->extra_keys, k, scale);
}

/* Makes the gradient exist, zeroed when it is new. */
static bool open_grad(struct tape *tape, struct value *value)
{
    bool is_first;
    if (!needs(value))
        return true;
    if (!tape_grad(tape, value, &is_first))
        return false;
    if (is_first)
        memset(value->grad, 0, value_size(value) * sizeof(real));
    return true;
}

static void attention_backward(struct tape *tape, struct tape_node *base)
{
    struct attention_node *node = (struct attention_node *)base;
    const struct attention *options = &node->options;
    struct scratch scratch;
    bool is_open = open_grad(tape, node->q) && open_grad(tape, node->k) && open_grad(tape, node->v) &&
                   open_grad(tape, options->extra_keys) && open_grad(tape, options->extra_values) &&
                   open_grad(tape, options->extra_gate) && open_grad(tape, options->bias.table);
    struct arena_mark mark = arena_mark(tape->arena);
    if (is_open && !options->extra_keys) {
        node->k->balanced_first = 0;
        node->k->balanced_cols = node->k->cols;
    }
    if (is_open && scratch_alloc(tape, options, node->q, node->k, &scratch))
        for (int s = 0; s < node->q->layout->n_segments; s++)
            for (int h = 0; h < options->n_heads; h++) {
                struct head head = head_of(options, node->q, node->k, s, h);
                head_backward(tape, node, &head, &scratch);
            }
    arena_rewind(tape->arena, mark);
}

static void head_forward(struct tape *tape, const struct attention *options, const struct head *head, struct value *q,
                         struct value *k, struct value *v, struct value *o, real *log_sum, struct scratch *scratch)
{
    scores_of(options, head, q, k, scratch);
    softmax_rows(options, head, scratch->scores, log_sum);
    if (drops(tape, options)) {
        draw_mask(tape, options, head, scratch->is_kept);
        drop(options, head, scratch->is_kept, scratch->scores, scratch->scores);
    }
    gate_rows(options, head, scratch->scores);
    weigh_keys(head, o->data + query_at(head, o), o->cols, scratch->scores, options->extra_values, v, 1, 0);
}

struct value *op_attention(struct tape *tape, struct value *q, struct value *k, struct value *v,
                           const struct attention *options)
{
    if (!q || !k || !v)
        return NULL;
    const struct layout *layout = q->layout;
    assert(layout && q->cols % options->n_heads == 0 && options->n_heads % options->n_kv_heads == 0);
    assert(k->cols == options->n_kv_heads * (q->cols / options->n_heads) && v->cols == k->cols);
    assert(k->layout && k->layout->n_segments == layout->n_segments);
    struct value *o = tape_value(tape, "attention", q->rows, q->cols, layout);
    real *log_sum = tape_alloc(tape, "attention", (size_t)options->n_heads * (size_t)q->rows * sizeof(real));
    struct scratch scratch;
    if (!o || !log_sum)
        return NULL;
    struct arena_mark mark = arena_mark(tape->arena);
    if (scratch_alloc(tape, options, q, k, &scratch))
        for (int s = 0; s < layout->n_segments; s++)
            for (int h = 0; h < options->n_heads; h++) {
                struct head head = head_of(options, q, k, s, h);
                head_forward(tape, options, &head, q, k, v, o,
                             log_sum + (size_t)h * (size_t)q->rows + layout->segments[s].first, &scratch);
            }
    arena_rewind(tape->arena, mark);
    if (tape->failed)
        return NULL;
    if (!tape->is_recording ||
        !(needs(q) || needs(k) || needs(v) || needs(options->extra_keys) || needs(options->extra_values) ||
          needs(options->extra_gate) || needs(options->bias.table)))
        return o;
    struct attention_node *node = op_node(tape, "attention", sizeof(*node), o, attention_backward);
    if (!node)
        return NULL;
    node->q = q;
    node->k = k;
    node->v = v;
    node->options = *options;
    node->log_sum = log_sum;
    return o;
}
