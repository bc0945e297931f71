/* The step over all trained parameters: the same bits whoever computes which share, and whether a table's rows are
 * marked or not. */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "trainer/ops.h"
#include "trainer/optimizer.h"

enum { ROWS = 5000, COLS = 7, BATCH = 40, STEPS = 6, PARTS = 3 };

struct side {
    struct arena arena, step;
    struct params params;
    struct optimizer optimizer;
    struct tape tape;
    struct param *table, *bias;
};

static struct err err;

static void open_side(struct side *side, const char *settings_json)
{
    memset(side, 0, sizeof(*side));
    side->params.arena = &side->arena;
    const int64_t table[] = {ROWS, COLS}, bias[] = {COLS};
    side->table = params_add(&side->params, "embeddings.weight", 2, table, NULL, PARAM_BASE);
    side->bias = params_add(&side->params, "dense.bias", 1, bias, NULL, PARAM_BASE);
    cr_assert(side->table && side->bias);
    for (int i = 0; i < ROWS * COLS; i++)
        side->table->value.data[i] = (real)((i * 37) % 101) / 101 - (real)0.5;
    cJSON *settings = cJSON_Parse(settings_json);
    optimizer_init(&side->optimizer, settings);
    cJSON_Delete(settings);
    cr_assert_eq(param_train(&side->params, side->table, "full", &err), 0, "%s", err.message);
    cr_assert_eq(param_train(&side->params, side->bias, "full", &err), 0, "%s", err.message);
    cr_assert_eq(optimizer_start(&side->optimizer, &side->params, &err), 0, "%s", err.message);
}

static void close_side(struct side *side)
{
    arena_done(&side->step);
    arena_done(&side->arena);
}

/* The loss is the squared length of the batch's rows plus the bias. */
static void take_step(struct side *side, int step, const struct crew *crew, double *norm)
{
    static int32_t ids[BATCH];
    for (int i = 0; i < BATCH; i++)
        ids[i] = (step * 11 + i * i * 97) % ROWS;
    params_zero_grad(&side->params, crew);
    side->tape.is_recording = true;
    tape_begin(&side->tape, &side->step);
    struct value *rows = op_embedding(&side->tape, &side->table->value, ids, BATCH, NULL);
    struct value *square = op_matmul(&side->tape, rows, true, rows, false);
    struct value *weights = tape_value(&side->tape, "ones", COLS, 1, NULL);
    for (int i = 0; weights && i < COLS; i++)
        weights->data[i] = 1;
    struct value *sums = op_matmul(&side->tape, square, false, weights, false);
    struct value *loss = op_matmul(&side->tape, weights, true, sums, false);
    tape_backward(&side->tape, loss, 1);
    cr_assert_eq(tape_check(&side->tape, &err), 0, "%s", err.message);
    for (int i = 0; i < COLS; i++)
        side->bias->value.grad[i] = (real)(i - 2) / (real)(step + 1);
    *norm = optimizer_grad_norm(&side->optimizer, &side->params, crew);
    optimizer_step(&side->optimizer, &side->params, 1e-2, *norm, crew);
}

/* The last share first. */
static void backwards(void *members, share_fn fn, void *work)
{
    ++*(int *)members;
    for (int i = PARTS - 1; i >= 0; i--)
        fn(work, (struct work_share){i, PARTS});
}

static void expect_equal(const struct side *a, const struct side *b, int step)
{
    size_t bytes = ROWS * COLS * sizeof(real);
    cr_assert_eq(memcmp(a->table->value.data, b->table->value.data, bytes), 0, "step %d", step);
    cr_assert_eq(memcmp(a->table->moment1, b->table->moment1, bytes), 0, "step %d", step);
    cr_assert_eq(memcmp(a->bias->value.data, b->bias->value.data, COLS * sizeof(real)), 0, "step %d", step);
}

/* One side as it is, the other without marks and in shares. */
static void compare(const char *settings)
{
    struct side marked, plain;
    open_side(&marked, settings);
    open_side(&plain, settings);
    cr_assert_not_null(marked.table->value.row_marks);
    plain.table->value.row_marks = NULL;
    int calls = 0;
    struct crew crew = {backwards, &calls};
    for (int step = 0; step < STEPS; step++) {
        double a, b;
        take_step(&marked, step, NULL, &a);
        take_step(&plain, step, &crew, &b);
        cr_assert(a > 0 && a == b, "step %d: norms %.17g and %.17g", step, a, b);
        expect_equal(&marked, &plain, step);
        if (step == 2) /* as after a checkpoint was read */
            for (int row = 0; row < ROWS; row++)
                marked.table->value.row_marks[row] &= ROW_TOUCHED;
        if (step == 2)
            optimizer_mark_rows(&marked.params);
    }
    cr_assert_eq(calls, 3 * STEPS);
    close_side(&marked);
    close_side(&plain);
}

Test(optimizer, marks_and_shares_change_no_bit)
{
    compare("{\"optimizer\":\"adamw\",\"weight_decay\":0.01,\"clip\":0.5}");
    compare("{\"optimizer\":\"adamw\"}");
    compare("{\"optimizer\":\"sgd\",\"momentum\":0.9,\"weight_decay\":0.01,\"clip\":0.1}");
}

Test(optimizer, rows_no_text_asked_for_are_not_marked)
{
    struct side side;
    double norm;
    int touched = 0, moved = 0;
    open_side(&side, "{\"weight_decay\":0.1}");
    real before = side.table->value.data[3 * COLS];
    take_step(&side, 0, NULL, &norm);
    take_step(&side, 1, NULL, &norm);
    for (int row = 0; row < ROWS; row++) {
        touched += (side.table->value.row_marks[row] & ROW_TOUCHED) != 0;
        moved += (side.table->value.row_marks[row] & ROW_MOVED) != 0;
    }
    cr_assert(touched > 0 && touched <= BATCH && moved > touched && moved <= 2 * BATCH, "%d %d", touched, moved);
    cr_assert_eq(side.table->value.row_marks[3], 0);
    real decay = 1 - (real)1e-2 * (real)0.1;
    cr_assert(fabs((double)(side.table->value.data[3 * COLS] - before * decay * decay)) < 1e-6);
    cr_assert(side.table->value.data[3 * COLS] != before);
    close_side(&side);
}

/* A gradient that does not come row by row marks all rows. */
Test(optimizer, dense_gradients_mark_every_row)
{
    struct side side;
    bool is_first;
    open_side(&side, "{}");
    cr_assert_not_null(tape_grad(&side.tape, &side.table->value, &is_first));
    for (int row = 0; row < ROWS; row++)
        cr_assert_eq(side.table->value.row_marks[row], ROW_TOUCHED | ROW_MOVED);
    params_zero_grad(&side.params, NULL);
    for (int row = 0; row < ROWS; row++)
        cr_assert_eq(side.table->value.row_marks[row], ROW_MOVED);
    close_side(&side);
}
