/* Perplexity and bits per byte of general text, pseudo-perplexity of masked models: what the model forgot
 * (docs/checks.md). */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/check.h"
#include "trainer/check_file.h"
#include "trainer/likelihood.h"

enum { POSITIONS = 3, WIDTH = 4 };

/* How many positions of a text; 0: all. */
static int read_positions(const struct trial_check *check, int *most, struct err *err)
{
    const char *given = NULL;
    int64_t n = POSITIONS;
    int rc = json_opt_string(check->options, "positions", "check", &given, err);
    if (rc == 0 && given && strcmp(given, "all") == 0)
        n = 0;
    else if (rc == 0 && given && (text_parse_int64(given, &n, NULL) < 0 || n < 1 || n > 100000))
        rc = err_set(err, ERR_USAGE, "positions: '%s', a whole number from 1 or all was expected", given);
    *most = (int)n;
    return rc;
}

static int fits(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct rows rows = {0};
    int most, rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_positions(check, &most, err);
    if (rc == 0)
        rc = check_texts_read(&rows, check->file, "text", err);
    rows_done(&rows);
    likelihood_close(&likelihood);
    return rc;
}

static int measure(struct likelihood *likelihood, const struct rows *rows, int most, double *items, struct err *err)
{
    struct scored_text *texts = arena_calloc(&likelihood->arena, rows->count, sizeof(*texts));
    int rc = texts ? 0 : err_set(err, ERR_NOMEM, "no memory for %zu texts", rows->count);
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        rc = likelihood_encode(likelihood, rows->items[i].text, &texts[i], err);
        if (likelihood->is_masked)
            likelihood_thin(&texts[i], most);
    }
    if (rc == 0)
        rc = likelihood_score(likelihood, texts, rows->count, err);
    for (size_t i = 0; i < rows->count && rc == 0; i++) {
        double *item = items + WIDTH * i;
        item[0] = -texts[i].log_p;
        item[1] = texts[i].n_positions;
        item[2] = (double)strlen(rows->items[i].text);
        item[3] = likelihood->is_masked;
    }
    return rc;
}

static int run(struct trial *trial, const struct trial_check *check, struct err *err)
{
    struct likelihood likelihood;
    struct rows rows = {0};
    char hash[HASH_HEX_SIZE];
    double *items = NULL;
    int most = 0, rc = likelihood_open(&likelihood, trial, err);
    if (rc == 0)
        rc = read_positions(check, &most, err);
    if (rc == 0)
        rc = check_texts_read(&rows, check->file, "text", err);
    if (rc == 0 && !(items = calloc(WIDTH * rows.count, sizeof(*items))))
        rc = err_set(err, ERR_NOMEM, "no memory for %zu texts", rows.count);
    if (rc == 0)
        rc = measure(&likelihood, &rows, most, items, err);
    if (rc == 0) {
        check_rows_hash(&rows, hash);
        check_send(trial, check, items, rows.count, hash);
    }
    free(items);
    rows_done(&rows);
    likelihood_close(&likelihood);
    return rc;
}

const struct check_kind check_perplexity = {.name = "perplexity", .fits = fits, .run = run};
