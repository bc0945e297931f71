/* Pairs of sentences that differ in who they speak of, in the format of CrowS-Pairs: which one does the model find more
 * likely (docs/checks.md)?   Nangia et al. 2020, arXiv:2010.00133 */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/likelihood.h"
#include "trainer/matching.h"

enum { WIDTH = 3 };

static int read_file(struct rows *rows, const char *path, struct err *err)
{
    int rc = check_rows_read(rows, path, "sent_more", "sent_less", "stereo_antistereo", err);
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        const struct row *row = &rows->items[i];
        if (strcmp(row->label, "stereo") != 0 && strcmp(row->label, "antistereo") != 0)
            rc = err_set(err, ERR_DATA, "'%s', line %u: stereo_antistereo is '%s', stereo or antistereo was expected",
                         path, row->line, row->label);
        else if (strcmp(row->text, row->pair) == 0)
            rc = err_set(err, ERR_DATA, "'%s', line %u: both sentences are the same", path, row->line);
    }
    return rc;
}

/* "sample": so many pairs, drawn once and for all from the file, so that every trial and its baseline has the same
 * ones; in the file's order. */
static int draw_sample(struct rows *rows, const struct trial_check *check, struct err *err)
{
    enum { SAMPLE_SEED = 1 };
    const char *given = NULL;
    int64_t n = 0;
    int rc = json_opt_string(check->options, "sample", "check", &given, err);
    if (rc == 0 && given && (text_parse_int64(given, &n, NULL) < 0 || n < 1 || n > ROWS_MAX))
        rc = err_set(err, ERR_USAGE, "sample: '%s', a whole number of pairs from 1 was expected", given);
    if (rc < 0 || !given || (size_t)n >= rows->count)
        return rc;
    uint32_t *order = calloc(rows->count, sizeof(*order));
    bool *is_drawn = calloc(rows->count, sizeof(*is_drawn));
    size_t kept = 0;
    if (!order || !is_drawn)
        rc = err_set(err, ERR_NOMEM, "no memory to draw pairs");
    if (rc == 0)
        dataset_order(order, (uint32_t)rows->count, SAMPLE_SEED, 0, true);
    for (int64_t i = 0; i < n && rc == 0; i++)
        is_drawn[order[i]] = true;
    for (size_t i = 0; i < rows->count && rc == 0; i++)
        if (is_drawn[i])
            rows->items[kept++] = rows->items[i];
    rows->count = rc == 0 ? kept : rows->count;
    free(order);
    free(is_drawn);
    return rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct rows rows = {0};
    int rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_file(&rows, check->file, err);
    if (rc == 0)
        rc = draw_sample(&rows, check, err);
    rows_done(&rows);
    likelihood_close(&likelihood);
    return rc;
}

/* Of a masked model only the tokens that both sentences share are asked for, special ones left out. */
static int keep_shared(struct likelihood *l, struct scored_text pair[2], struct err *err)
{
    int32_t *shared[2], n[2] = {0, 0};
    int most = pair[0].n > pair[1].n ? pair[0].n : pair[1].n;
    for (int k = 0; k < 2; k++)
        if (!(shared[k] = arena_alloc(&l->arena, (size_t)(most + 1) * sizeof(**shared))))
            return err_set(err, ERR_NOMEM, "no memory for a pair of sentences");
    int count = matching_tokens(pair[0].ids, pair[0].n, pair[1].ids, pair[1].n, shared[0], shared[1], &l->arena);
    if (count < 0)
        return err_set(err, ERR_NOMEM, "no memory for a pair of sentences");
    for (int k = 0; k < 2; k++) {
        int first = pair[k].n_positions ? pair[k].positions[0] : 0;
        int last = pair[k].n_positions ? pair[k].positions[pair[k].n_positions - 1] : -1;
        for (int i = 0; i < count; i++)
            if (shared[k][i] >= first && shared[k][i] <= last)
                pair[k].positions[n[k]++] = shared[k][i];
        pair[k].n_positions = n[k];
    }
    return 0;
}

static int measure(struct likelihood *l, const struct rows *rows, double *items, struct err *err)
{
    size_t n = rows->count;
    struct scored_text *texts = arena_calloc(&l->arena, 2 * n, sizeof(*texts));
    int rc = texts ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu pairs", n);
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = likelihood_encode(l, rows->items[i].text, &texts[2 * i], err);
        if (rc == 0)
            rc = likelihood_encode(l, rows->items[i].pair, &texts[2 * i + 1], err);
        if (rc == 0 && l->is_masked)
            rc = keep_shared(l, &texts[2 * i], err);
    }
    if (rc == 0)
        rc = likelihood_score(l, texts, 2 * n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        items[WIDTH * i] = texts[2 * i].log_p;
        items[WIDTH * i + 1] = texts[2 * i + 1].log_p;
        items[WIDTH * i + 2] = strcmp(rows->items[i].label, "antistereo") == 0;
    }
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct rows rows = {0};
    char hash[HASH_HEX_SIZE];
    int rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_file(&rows, check->file, err);
    if (rc == 0)
        rc = draw_sample(&rows, check, err);
    double *items = rc == 0 ? arena_calloc(&likelihood.arena, WIDTH * rows.count, sizeof(*items)) : NULL;
    if (rc == 0 && !items)
        rc = err_set(err, ERR_NOMEM, "no memory for %zu pairs", rows.count);
    if (rc == 0)
        rc = measure(&likelihood, &rows, items, err);
    if (rc == 0) {
        check_rows_hash(&rows, hash);
        check_send(trial, check, items, rows.count, hash);
    }
    rows_done(&rows);
    likelihood_close(&likelihood);
    return rc;
}

const struct check_kind check_crows_pairs = {.name = "crows_pairs", .fits = fits, .run = run};
