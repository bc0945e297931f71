/* Reads finished trials ordered by method and configuration, folds them into one line a configuration, keeps the best
 * of each method. Intervals are Student's over seeds. */
#include "orchestrator/summary.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SEEDS = 1024 };

/* What is gathered of one configuration while its trials stream by. */
struct gathered {
    struct summary_method line;
    double scores[MAX_SEEDS], tests[MAX_SEEDS];
    int n_scores, n_tests, n_trials;
    double flips_before, flips_after, seconds;
    int n_before, n_after;
};

static int sql_error(struct store *store, const char *what, struct err *err)
{
    return err_set(err, ERR_STORE, "%s: cannot read %s: %s", store_path(store), what,
                   sqlite3_errmsg(store_database(store)));
}

static const char *column_text(struct arena *arena, sqlite3_stmt *row, int column)
{
    const unsigned char *s = sqlite3_column_text(row, column);
    return arena_strdup(arena, s ? (const char *)s : "");
}

const char *summary_method_label(struct arena *arena, const char *method)
{
    if (method[0] != '[')
        return arena_strdup(arena, method);
    struct text label = {0};
    for (const char *c = method; *c; c++)
        if (*c == ',')
            text_add_char(&label, '+');
        else if (!strchr("[]\" ", *c))
            text_add_char(&label, *c);
    char *copy = arena_strdup(arena, label.failed || !label.data ? method : label.data);
    text_done(&label);
    return copy;
}

static void gather(struct gathered *g, sqlite3_stmt *row)
{
    if (sqlite3_column_type(row, 4) != SQLITE_NULL && g->n_scores < MAX_SEEDS)
        g->scores[g->n_scores++] = sqlite3_column_double(row, 4);
    if (sqlite3_column_type(row, 5) != SQLITE_NULL && g->n_tests < MAX_SEEDS)
        g->tests[g->n_tests++] = sqlite3_column_double(row, 5);
    if (sqlite3_column_type(row, 6) != SQLITE_NULL) {
        g->flips_before += sqlite3_column_double(row, 6);
        g->n_before++;
    }
    if (sqlite3_column_type(row, 7) != SQLITE_NULL) {
        g->flips_after += sqlite3_column_double(row, 7);
        g->n_after++;
    }
    g->line.trained_parameters = sqlite3_column_int64(row, 8);
    g->line.stored_bytes = sqlite3_column_int64(row, 9);
    g->seconds += sqlite3_column_double(row, 10);
    g->line.peak_bytes = fmax(g->line.peak_bytes, sqlite3_column_double(row, 11));
    g->n_trials++;
}

static void close_configuration(struct gathered *g)
{
    g->line.score = stats_student(g->scores, g->n_scores, 0.95);
    g->line.test = stats_student(g->tests, g->n_tests, 0.95);
    if (g->n_before > 0)
        g->line.flip_before = known_real(g->flips_before / g->n_before);
    if (g->n_after > 0)
        g->line.flip_after = known_real(g->flips_after / g->n_after);
    g->line.seconds = g->n_trials > 0 ? g->seconds / g->n_trials : 0;
}

static bool is_better(const struct summary *summary, const struct summary_method *a, const struct summary_method *b)
{
    if (a->score.n != b->score.n)
        return a->score.n > b->score.n;
    return strcmp(summary->goal, "maximize") == 0 ? a->score.mean > b->score.mean : a->score.mean < b->score.mean;
}

/* Adds the configuration to its method's line, or replaces it where it is better. */
static int fold(struct summary *summary, struct gathered *g, struct arena *arena, struct err *err)
{
    if (g->n_trials == 0 || g->n_scores == 0)
        return 0;
    close_configuration(g);
    for (int i = 0; i < summary->n_methods; i++) {
        struct summary_method *m = &summary->methods[i];
        if (strcmp(m->method, g->line.method) != 0)
            continue;
        int n = m->n_configurations + 1;
        if (is_better(summary, &g->line, m))
            *m = g->line;
        m->n_configurations = n;
        return 0;
    }
    struct summary_method *grown = arena_calloc(arena, (size_t)summary->n_methods + 1, sizeof(*grown));
    if (!grown)
        return err_set(err, ERR_NOMEM, "no memory for the summary of '%s'", summary->sweep);
    if (summary->n_methods > 0)
        memcpy(grown, summary->methods, (size_t)summary->n_methods * sizeof(*grown));
    g->line.n_configurations = 1;
    grown[summary->n_methods++] = g->line;
    summary->methods = grown;
    return 0;
}

static const char trials_sql[] =
    "SELECT c.id, c.number, json_extract(c.settings, '$.method'), c.parameters, t.value,"
    " (SELECT json_extract(e.metrics, '$.' || substr(?2, instr(?2, '/') + 1)) FROM evaluation e"
    "   WHERE e.trial_id = t.id AND e.split = 'test' AND e.is_final ORDER BY e.step DESC LIMIT 1),"
    " (SELECT b.before FROM bias_check b WHERE b.trial_id = t.id AND b.metric = 'flip_rate' ORDER BY b.id LIMIT 1),"
    " (SELECT b.after FROM bias_check b WHERE b.trial_id = t.id AND b.metric = 'flip_rate' ORDER BY b.id LIMIT 1),"
    " t.trained_parameters, t.stored_bytes,"
    " (SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id),"
    " (SELECT MAX(a.peak_bytes) FROM attempt a WHERE a.trial_id = t.id)"
    " FROM trial t JOIN configuration c ON c.id = t.configuration_id"
    " WHERE t.sweep_id = ?1 AND t.state = 'COMPLETE' AND c.role = 'search'"
    " ORDER BY c.number, t.number";

static int read_methods(struct store *store, int64_t sweep_id, struct arena *arena, struct summary *summary,
                        struct err *err)
{
    sqlite3_stmt *row = NULL;
    struct gathered *g = arena_calloc(arena, 1, sizeof(*g));
    int64_t current = 0;
    int rc = g ? 0 : err_set(err, ERR_NOMEM, "no memory for the summary of '%s'", summary->sweep);
    if (rc < 0)
        return rc;
    if (sqlite3_prepare_v2(store_database(store), trials_sql, -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the trials", err);
    sqlite3_bind_int64(row, 1, sweep_id);
    sqlite3_bind_text(row, 2, summary->metric, -1, SQLITE_STATIC);
    int step;
    while ((step = sqlite3_step(row)) == SQLITE_ROW && rc == 0) {
        if (sqlite3_column_int64(row, 0) != current) {
            rc = fold(summary, g, arena, err);
            memset(g, 0, sizeof(*g));
            current = sqlite3_column_int64(row, 0);
            g->line.configuration = sqlite3_column_int64(row, 1);
            g->line.method = summary_method_label(arena, (const char *)sqlite3_column_text(row, 2));
            g->line.parameters = column_text(arena, row, 3);
        }
        gather(g, row);
    }
    if (rc == 0 && step != SQLITE_DONE)
        rc = sql_error(store, "the trials", err);
    if (rc == 0)
        rc = fold(summary, g, arena, err);
    sqlite3_finalize(row);
    return rc;
}

/* The number of trials in each state, and the seconds of all attempts. */
static int read_counts(struct store *store, int64_t sweep_id, struct summary *summary, struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(
            store_database(store),
            "SELECT t.state, COUNT(*), SUM((SELECT SUM(a.seconds) FROM attempt a WHERE a.trial_id = t.id))"
            " FROM trial t WHERE t.sweep_id = ?1 GROUP BY t.state",
            -1, &row, NULL) != SQLITE_OK)
        return sql_error(store, "the states", err);
    sqlite3_bind_int64(row, 1, sweep_id);
    int step;
    while ((step = sqlite3_step(row)) == SQLITE_ROW) {
        const char *state = (const char *)sqlite3_column_text(row, 0);
        for (int i = 0; i < TRIAL_STATE_COUNT; i++)
            if (strcmp(trial_state_name((enum trial_state)i), state) == 0)
                summary->n_trials[i] = sqlite3_column_int(row, 1);
        summary->seconds += sqlite3_column_double(row, 2);
    }
    sqlite3_finalize(row);
    return step == SQLITE_DONE ? 0 : sql_error(store, "the states", err);
}

static int read_objective(struct store *store, int64_t sweep_id, struct arena *arena, struct summary *summary,
                          struct err *err)
{
    sqlite3_stmt *row = NULL;
    if (sqlite3_prepare_v2(store_database(store),
                           "SELECT metric, goal FROM objective WHERE sweep_id = ?1 AND position = 0", -1, &row,
                           NULL) != SQLITE_OK)
        return sql_error(store, "the objective", err);
    sqlite3_bind_int64(row, 1, sweep_id);
    int rc = 0;
    if (sqlite3_step(row) == SQLITE_ROW) {
        summary->metric = column_text(arena, row, 0);
        summary->goal = column_text(arena, row, 1);
    } else {
        rc = err_set(err, ERR_STORE, "%s: sweep '%s' has no objective", store_path(store), summary->sweep);
    }
    sqlite3_finalize(row);
    return rc;
}

/* Insertion sort: there are a few methods. */
static void sort_methods(struct summary *summary)
{
    for (int i = 1; i < summary->n_methods; i++) {
        struct summary_method line = summary->methods[i];
        bool maximize = strcmp(summary->goal, "maximize") == 0;
        int j = i;
        for (; j > 0; j--) {
            double above = summary->methods[j - 1].score.mean;
            if (maximize ? above >= line.score.mean : above <= line.score.mean)
                break;
            summary->methods[j] = summary->methods[j - 1];
        }
        summary->methods[j] = line;
    }
}

int summary_read(struct store *store, const char *sweep, struct arena *arena, struct summary *out, struct err *err)
{
    struct summary summary = {.sweep = arena_strdup(arena, sweep)};
    int64_t sweep_id = 0;
    int rc = store_find_sweep(store, sweep, &sweep_id, err);
    if (rc == 0 && sweep_id == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no sweep '%s' in '%s'", sweep, store_path(store));
    if (rc == 0)
        rc = read_objective(store, sweep_id, arena, &summary, err);
    if (rc == 0)
        rc = read_counts(store, sweep_id, &summary, err);
    if (rc == 0)
        rc = read_methods(store, sweep_id, arena, &summary, err);
    if (rc == 0) {
        sort_methods(&summary);
        *out = summary;
    }
    return rc;
}

/* As text ------------------------------------------------------------------------------------------------------------
 */

void summary_add_count(struct text *out, int64_t count)
{
    char digits[32];
    int n = snprintf(digits, sizeof(digits), "%lld", (long long)(count < 0 ? -count : count));
    if (count < 0)
        text_add_char(out, '-');
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            text_add_char(out, ',');
        text_add_char(out, digits[i]);
    }
}

void summary_add_interval(struct text *out, struct interval interval)
{
    if (interval.n == 0)
        text_add(out, "-");
    else if (interval.n == 1 || isnan(interval.low))
        text_printf(out, "%.4f (1 seed)", interval.mean);
    else
        text_printf(out, "%.4f [%.4f, %.4f]", interval.mean, interval.low, interval.high);
}

static void add_flips(struct text *out, const struct summary_method *m)
{
    if (!m->flip_after.is_known)
        text_add(out, "-");
    else if (!m->flip_before.is_known)
        text_printf(out, "? → %.4f", m->flip_after.value);
    else
        text_printf(out, "%.4f → %.4f", m->flip_before.value, m->flip_after.value);
}

enum { COLUMNS = 5 };

static void method_cells(const struct summary_method *m, struct text cells[COLUMNS])
{
    text_add(&cells[0], m->method);
    summary_add_count(&cells[1], m->trained_parameters);
    summary_add_interval(&cells[2], m->score);
    add_flips(&cells[3], m);
    text_printf(&cells[4], "%.1f", m->seconds);
}

/* Width on a terminal: bytes that start a code point. All texts here have one column a code point. */
static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void add_line(struct text *out, const char *const cells[COLUMNS], const size_t widths[COLUMNS])
{
    for (int c = 0; c < COLUMNS; c++) {
        bool is_right = c == 1 || c == 4;
        size_t pad = widths[c] - width(cells[c]);
        for (size_t i = 0; is_right && i < pad; i++)
            text_add_char(out, ' ');
        text_add(out, cells[c]);
        for (size_t i = 0; !is_right && c + 1 < COLUMNS && i < pad; i++)
            text_add_char(out, ' ');
        text_add(out, c + 1 < COLUMNS ? "   " : "\n");
    }
}

void summary_add_table(struct text *out, const struct summary *summary)
{
    struct text score = {0};
    text_printf(&score, "%s, 95 %% over seeds", summary->metric);
    const char *const titles[COLUMNS] = {"method", "trained", score.data ? score.data : "", "flip rate before → after",
                                         "seconds a trial"};
    size_t widths[COLUMNS];
    for (int c = 0; c < COLUMNS; c++)
        widths[c] = width(titles[c]);
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            add_line(out, titles, widths);
        for (int i = 0; i < summary->n_methods; i++) {
            struct text cells[COLUMNS] = {0};
            const char *texts[COLUMNS];
            method_cells(&summary->methods[i], cells);
            for (int c = 0; c < COLUMNS; c++) {
                texts[c] = cells[c].data ? cells[c].data : "";
                widths[c] = width(texts[c]) > widths[c] ? width(texts[c]) : widths[c];
            }
            if (pass == 1)
                add_line(out, texts, widths);
            for (int c = 0; c < COLUMNS; c++)
                text_done(&cells[c]);
        }
    }
    text_done(&score);
}

static void add_number(struct text *out, const char *key, double value)
{
    text_printf(out, ",\"%s\":", key);
    if (isfinite(value))
        text_add_double(out, value);
    else
        text_add(out, "null");
}

static void add_interval_json(struct text *out, const char *key, struct interval interval)
{
    text_printf(out, ",\"%s\":{\"n\":%d", key, interval.n);
    add_number(out, "mean", interval.mean);
    add_number(out, "low", interval.low);
    add_number(out, "high", interval.high);
    text_add_char(out, '}');
}

void summary_add_json(struct text *out, const struct summary *summary)
{
    text_add(out, "{\"sweep\":");
    text_add_json(out, summary->sweep);
    text_add(out, ",\"metric\":");
    text_add_json(out, summary->metric);
    text_add(out, ",\"goal\":");
    text_add_json(out, summary->goal);
    text_add(out, ",\"trials\":{");
    for (int i = 0; i < TRIAL_STATE_COUNT; i++)
        text_printf(out, "%s\"%s\":%d", i ? "," : "", trial_state_name((enum trial_state)i), summary->n_trials[i]);
    text_add(out, "},\"methods\":[");
    for (int i = 0; i < summary->n_methods; i++) {
        const struct summary_method *m = &summary->methods[i];
        text_printf(out, "%s{\"method\":", i ? "," : "");
        text_add_json(out, m->method);
        text_printf(out, ",\"configuration\":%lld,\"configurations\":%d,\"parameters\":%s", (long long)m->configuration,
                    m->n_configurations, m->parameters);
        add_interval_json(out, "score", m->score);
        add_interval_json(out, "test", m->test);
        add_number(out, "flip_rate_before", m->flip_before.is_known ? m->flip_before.value : NAN);
        add_number(out, "flip_rate_after", m->flip_after.is_known ? m->flip_after.value : NAN);
        text_printf(out, ",\"trained_parameters\":%lld,\"stored_bytes\":%lld", (long long)m->trained_parameters,
                    (long long)m->stored_bytes);
        add_number(out, "seconds", m->seconds);
        add_number(out, "peak_bytes", m->peak_bytes);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}
