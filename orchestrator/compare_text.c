/* The comparison for people: tables with a sentence for what they say. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "orchestrator/columns.h"
#include "orchestrator/compare_internal.h"
#include "orchestrator/printable.h"
#include "orchestrator/summary.h"

static const char indent[] = "  ";

/* "0.0123", or "-" for what is not known. */
static void add_real(struct columns *columns, const char *format, double value)
{
    char cell[64];
    if (isfinite(value)) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(cell, sizeof(cell), format, value);
#pragma GCC diagnostic pop
        columns_add(columns, cell);
    } else {
        columns_add(columns, NULL);
    }
}

static void add_interval(struct columns *columns, struct interval interval)
{
    struct text cell = {0};
    summary_add_interval(&cell, interval);
    columns_add(columns, cell.data);
    text_done(&cell);
}

static void add_range(struct columns *columns, double low, double high)
{
    if (isfinite(low) && isfinite(high))
        columns_printf(columns, "[%+.4f, %+.4f]", low, high);
    else
        columns_add(columns, NULL);
}

static void finish(struct text *out, struct columns *columns)
{
    columns_write(out, columns, indent);
    columns_done(columns);
}

/* Names ------------------------------------------------------------------------------------------------------------ */

static const char *part_of(const struct comparison *c)
{
    const char *slash = strchr(c->metric, '/');
    return slash ? slash + 1 : c->metric;
}

static void add_heading(struct text *out, const struct comparison *c)
{
    for (int i = 0; i < c->n_sweeps; i++) {
        text_add(out, i ? ", '" : c->n_sweeps > 1 ? "sweeps '" : "sweep '");
        printable_add(out, c->sweeps[i]);
        text_add_char(out, '\'');
    }
    text_add(out, ": configurations chosen by ");
    printable_add(out, c->metric);
    text_printf(out, " (%s), compared on ", c->goal);
    if (c->uses_test) {
        text_add(out, "test/");
        printable_add(out, part_of(c));
    } else {
        text_add(out, "the same values, which flatters what was chosen by them");
    }
    if (c->n_items > 0)
        text_printf(out, ", %d items", c->n_items);
    text_add(out, "\n\n");
}

/* Methods ---------------------------------------------------------------------------------------------------------- */

static void add_methods(struct text *out, const struct comparison *c)
{
    const char *const titles[] = {
        "method", ">configuration", "parameters", ">of", "validation, 95 % over seeds", "test, 95 % over seeds"};
    struct columns columns;
    text_add(out, "methods, best on validation first\n");
    columns_init(&columns, 6, titles);
    for (int i = 0; i < c->n_methods; i++) {
        const struct compare_method *m = &c->methods[i];
        columns_add(&columns, m->label);
        columns_printf(&columns, "%lld", (long long)m->chosen->number);
        columns_add(&columns, m->chosen->parameters);
        columns_printf(&columns, "%d", m->n_configurations);
        add_interval(&columns, m->validation);
        add_interval(&columns, m->test);
    }
    finish(out, &columns);
}

/* Pairs ------------------------------------------------------------------------------------------------------------ */

void compare_add_verdict(struct text *out, const struct comparison *c, const struct compare_pair *pair)
{
    bool a_is_better = (pair->difference.mean > 0) == c->is_maximized;
    if (isnan(pair->adjusted_p))
        text_add(out, "cannot be tested");
    else if (pair->adjusted_p < 0.05)
        text_printf(out, "%s is better", c->methods[a_is_better ? pair->a : pair->b].label);
    else
        text_add(out, "not distinguishable");
}

static void add_pair(struct columns *columns, const struct comparison *c, const struct compare_pair *pair)
{
    struct text verdict = {0};
    columns_printf(columns, "%s − %s", c->methods[pair->a].label, c->methods[pair->b].label);
    add_real(columns, "%+.4f", pair->difference.mean);
    add_range(columns, pair->has_items ? pair->items.low : pair->difference.low,
              pair->has_items ? pair->items.high : pair->difference.high);
    add_real(columns, "%.4f", pair->p);
    add_real(columns, "%.4f", pair->adjusted_p);
    add_real(columns, "%.2f", pair->cohen_d);
    add_real(columns, "%+.2f", pair->cliff_delta);
    add_real(columns, "%.2f", pair->order_ab);
    add_real(columns, "%.2f", pair->order_ba);
    add_real(columns, "%.4f", pair->detectable);
    compare_add_verdict(&verdict, c, pair);
    columns_add(columns, verdict.data);
    text_done(&verdict);
}

static void add_pairs_note(struct text *out, const struct comparison *c)
{
    int with_items = 0, matched = 0, fewest = COMPARE_MAX_SEEDS;
    for (int i = 0; i < c->n_pairs; i++) {
        with_items += c->pairs[i].has_items;
        matched += c->pairs[i].n_seeds > 0;
        fewest = c->pairs[i].n_seeds < fewest ? c->pairs[i].n_seeds : fewest;
    }
    if (with_items == c->n_pairs)
        text_printf(out, "%sinterval and p: paired bootstrap over items%s, %d resamples", indent,
                    fewest > 1 ? ", nested over seeds" : " (one seed: how much seeds vary is not in it)", c->resamples);
    else if (with_items > 0)
        text_printf(out, "%sinterval and p: paired bootstrap over items where both have the same, else t over seeds",
                    indent);
    else
        text_printf(out, "%sinterval and p: %s t test over seeds", indent, matched ? "paired" : "Welch's");
    text_printf(out, "; Holm over %d pairs\n", c->n_pairs);
    text_printf(
        out,
        "%sd, δ: Cohen's and Cliff's; ε(a), ε(b): almost stochastic order, below 0.5 that one is better (at %.4g"
        " each, 95 %% together)\n"
        "%sshowable: the smallest difference a t test over these seeds would find in 4 cases of 5\n",
        indent, c->order_confidence, indent);
}

/* "; it is better than b, c" of the pairs of the first method with that verdict. */
static void add_partners(struct text *out, const struct comparison *c, const char *verdict, const char *words)
{
    int n = 0;
    struct text own = {0};
    for (int i = 0; i < c->n_pairs && c->pairs[i].a == 0; i++) {
        text_reset(&own);
        compare_add_verdict(&own, c, &c->pairs[i]);
        if (own.failed || !text_equal(own.data, verdict))
            continue;
        text_add(out, n++ ? ", " : words);
        printable_add(out, c->methods[c->pairs[i].b].label);
    }
    text_done(&own);
}

/* The finding about the method that validation puts first. */
static void add_finding(struct text *out, const struct comparison *c)
{
    struct text better = {0};
    text_printf(&better, "%s is better", c->methods[0].label);
    text_printf(out, "%sin short: ", indent);
    printable_add(out, c->methods[0].label);
    text_add(out, " is first on validation");
    add_partners(out, c, better.data ? better.data : "", "; better than ");
    add_partners(out, c, "not distinguishable", "; not distinguishable from ");
    add_partners(out, c, "cannot be tested", "; not tested against ");
    text_add(out, "\n\n");
    text_done(&better);
}

static void add_pairs(struct text *out, const struct comparison *c)
{
    const char *const titles[] = {"a − b", ">difference", "95 %",  ">p",        ">p (Holm)", ">d",
                                  ">δ",    ">ε(a)",       ">ε(b)", ">showable", "verdict"};
    struct columns columns;
    if (c->n_pairs == 0)
        return;
    text_add(out, "\npairs\n");
    columns_init(&columns, 11, titles);
    for (int i = 0; i < c->n_pairs; i++)
        add_pair(&columns, c, &c->pairs[i]);
    finish(out, &columns);
    add_pairs_note(out, c);
    add_finding(out, c);
}

/* Non-inferiority -------------------------------------------------------------------------------------------------- */

static void add_inferiority(struct text *out, const struct comparison *c)
{
    static const char *const verdicts[] = {"cannot be tested", "cannot be said", "not inferior"};
    const char *const titles[] = {"method", ">p inferior", ">p equivalent (TOST)", "90 % over items", "verdict"};
    struct columns columns;
    if (c->reference < 0) {
        text_add(out,
                 "no finished trial of 'full': nothing to be non-inferior to (--reference names another method)\n");
        return;
    }
    if (c->n_inferiority == 0)
        return;
    text_add(out, "non-inferiority to ");
    printable_add(out, c->methods[c->reference].label);
    text_printf(out, " at a margin of %g (--margin)\n", c->margin);
    columns_init(&columns, 5, titles);
    for (int i = 0; i < c->n_inferiority; i++) {
        const struct compare_inferiority *x = &c->inferiority[i];
        columns_add(&columns, c->methods[x->method].label);
        add_real(&columns, "%.4f", x->inferior_p);
        add_real(&columns, "%.4f", x->tost_p);
        add_range(&columns, x->low90, x->high90);
        columns_add(&columns, x->is_equivalent ? "equivalent" : verdicts[x->verdict + 1]);
    }
    finish(out, &columns);
}

/* Fronts and budgets ----------------------------------------------------------------------------------------------- */

static void add_member(struct text *out, const struct comparison *c, const struct compare_configuration *x)
{
    if (c->n_sweeps > 1) {
        printable_add(out, c->sweeps[x->sweep]);
        text_add(out, ": ");
    }
    printable_add(out, x->method);
    if (!text_equal(x->parameters, "{}")) {
        text_add_char(out, ' ');
        printable_add(out, x->parameters);
    }
}

enum { FRONT_MOST = 12 }; /* members that are named */

static void add_front(struct text *out, const struct comparison *c, int slot, const char *title)
{
    int n = 0;
    for (int i = 0; i < c->n_configurations; i++)
        n += c->configurations[i].on_front[slot];
    if (n == 0)
        return;
    text_printf(out, "%s%s: %d of %d configurations", indent, title, n, c->n_configurations);
    for (int i = 0, shown = 0; i < c->n_configurations && shown < FRONT_MOST; i++)
        if (c->configurations[i].on_front[slot]) {
            text_add(out, shown++ ? "; " : ": ");
            add_member(out, c, &c->configurations[i]);
        }
    text_add(out, n > FRONT_MOST ? "; …\n" : "\n");
}

static void add_fronts(struct text *out, const struct comparison *c)
{
    text_add(out, "\nPareto fronts (validation score and cost; nothing else is at least as good in both and better in "
                  "one)\n");
    add_front(out, c, AXIS_PARAMETERS, "score × trained parameters");
    add_front(out, c, AXIS_BYTES, "score × stored bytes");
    add_front(out, c, AXIS_SECONDS, "score × seconds");
    add_front(out, c, AXIS_BIAS, "score × bias");
    add_front(out, c, AXIS_FORGETTING, "score × forgetting");
    add_front(out, c, AXIS_SCORE, "all together");
}

static void add_budgets(struct text *out, const struct comparison *c)
{
    static const int steps[] = {1, 2, 4, 8, 16, 32};
    const char *const titles[] = {"method", ">k=1", ">2", ">4", ">8", ">16", ">32", ">all", "k"};
    struct columns columns;
    text_add(out, "\nexpected best validation score of k configurations drawn at random from those tried\n");
    columns_init(&columns, 9, titles);
    for (int i = 0; i < c->n_methods; i++) {
        const struct compare_method *m = &c->methods[i];
        columns_add(&columns, m->label);
        for (int k = 0; k < 6; k++)
            add_real(&columns, "%.4f", steps[k] <= m->n_expected ? m->expected_best[steps[k] - 1] : (double)NAN);
        add_real(&columns, "%.4f", m->n_expected > 0 ? m->expected_best[m->n_expected - 1] : (double)NAN);
        columns_printf(&columns, "%d", m->n_expected);
    }
    finish(out, &columns);
}

/* Traditional and parameter-efficient ------------------------------------------------------------------------------ */

static void add_bytes(struct columns *columns, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int unit = 0;
    for (; bytes >= 1024 && unit < 4; unit++)
        bytes /= 1024;
    if (isfinite(bytes) && bytes > 0)
        columns_printf(columns, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    else
        columns_add(columns, NULL);
}

static void add_cost(struct columns *columns, const struct compare_method *m)
{
    const struct compare_configuration *x = m->chosen;
    columns_add(columns, m->label);
    columns_add(columns, m->is_traditional ? "traditional" : "parameter-efficient");
    columns_add_count(columns, isnan(x->axes[AXIS_PARAMETERS]) ? -1 : (int64_t)x->axes[AXIS_PARAMETERS]);
    add_real(columns, "%.3g", x->flops);
    add_real(columns, "%.1f", x->axes[AXIS_SECONDS]);
    add_bytes(columns, x->peak_bytes);
    add_real(columns, "%+.4f", m->gap.mean);
    add_bytes(columns, x->axes[AXIS_BYTES]);
    add_real(columns, "%.1f %%", 100 * m->kept);
}

/* The best of the traditional methods beside the best of the others, with the survey's rows. */
static const struct compare_method *best_method(const struct comparison *c, bool is_traditional)
{
    for (int i = 0; i < c->n_methods; i++)
        if (c->methods[i].is_traditional == is_traditional)
            return &c->methods[i];
    return NULL;
}

static void add_ratio(struct columns *columns, double traditional, double efficient)
{
    if (isfinite(traditional) && isfinite(efficient) && traditional > 0)
        columns_printf(columns, "%.3g", efficient / traditional);
    else
        columns_add(columns, NULL);
}

static void add_row(struct columns *columns, const char *name, const char *format, double traditional, double efficient,
                    bool is_bytes)
{
    columns_add(columns, name);
    if (is_bytes)
        add_bytes(columns, traditional);
    else
        add_real(columns, format, traditional);
    if (is_bytes)
        add_bytes(columns, efficient);
    else
        add_real(columns, format, efficient);
}

static void add_overview(struct text *out, const struct comparison *c)
{
    const struct compare_method *t = best_method(c, true), *e = best_method(c, false);
    struct columns columns;
    if (!t || !e)
        return;
    const struct compare_configuration *a = t->chosen, *b = e->chosen;
    const char *const titles[] = {"", ">traditional", ">parameter-efficient", ">ratio"};
    text_add(out, "\nthe best of each kind: ");
    printable_add(out, t->label);
    text_add(out, " and ");
    printable_add(out, e->label);
    text_add_char(out, '\n');
    columns_init(&columns, 4, titles);
    add_row(&columns, "score (validation)", "%.4f", t->validation.mean, e->validation.mean, false);
    columns_add(&columns, NULL);
    add_row(&columns, "parameters updated", "%.0f", a->axes[AXIS_PARAMETERS], b->axes[AXIS_PARAMETERS], false);
    add_ratio(&columns, a->axes[AXIS_PARAMETERS], b->axes[AXIS_PARAMETERS]);
    add_row(&columns, "cost (FLOPs)", "%.3g", a->flops, b->flops, false);
    add_ratio(&columns, a->flops, b->flops);
    add_row(&columns, "time (seconds)", "%.1f", a->axes[AXIS_SECONDS], b->axes[AXIS_SECONDS], false);
    add_ratio(&columns, a->axes[AXIS_SECONDS], b->axes[AXIS_SECONDS]);
    add_row(&columns, "memory", NULL, a->peak_bytes, b->peak_bytes, true);
    add_ratio(&columns, a->peak_bytes, b->peak_bytes);
    add_row(&columns, "overfitting (validation − training loss)", "%+.4f", t->gap.mean, e->gap.mean, false);
    columns_add(&columns, NULL);
    add_row(&columns, "stored size", NULL, a->axes[AXIS_BYTES], b->axes[AXIS_BYTES], true);
    add_ratio(&columns, a->axes[AXIS_BYTES], b->axes[AXIS_BYTES]);
    add_row(&columns, "knowledge kept (%)", "%.1f", 100 * t->kept, 100 * e->kept, false);
    columns_add(&columns, NULL);
    finish(out, &columns);
}

static void add_fits(struct text *out, const struct comparison *c)
{
    int n = 0;
    for (int i = 0; i < c->n_methods; i++) {
        const struct compare_method *m = &c->methods[i];
        if (m->fit.verdict == FIT_UNKNOWN)
            continue;
        text_add(out, n++ ? "" : "\nfit of the chosen configurations\n");
        text_add(out, indent);
        printable_add(out, m->label);
        text_add(out, ": ");
        fit_add_words(out, &m->fit, m->chosen->method, m->chosen->settings);
        text_add_char(out, '\n');
    }
}

/* Small training sets are where methods part: a row a size, a column a method. */
static void add_sizes(struct text *out, const struct comparison *c)
{
    const char *titles[COLUMNS_MAX] = {"training rows"};
    struct text names = {0};
    size_t starts[COLUMNS_MAX];
    struct columns columns;
    int n = c->n_methods < COLUMNS_MAX - 1 ? c->n_methods : COLUMNS_MAX - 1;
    if (c->n_sizes == 0)
        return;
    for (int i = 0; i < n; i++) {
        starts[i] = names.len;
        text_printf(&names, ">%s", c->methods[i].label);
        text_add_n(&names, "", 1);
    }
    if (!names.failed) {
        for (int i = 0; i < n; i++)
            titles[i + 1] = names.data + starts[i];
        text_add(out,
                 "\noverfitting (validation loss − training loss) by the size of the training set, each method's best "
                 "configuration of it\n");
        columns_init(&columns, n + 1, titles);
        for (int s = 0; s < c->n_sizes; s++) {
            columns_add(&columns, c->sizes[s].label);
            for (int i = 0; i < n; i++)
                add_real(&columns, "%+.4f", c->sizes[s].gaps[i]);
        }
        finish(out, &columns);
    }
    text_done(&names);
}

static void add_costs(struct text *out, const struct comparison *c)
{
    const char *const titles[] = {"method",       "fine-tuning", ">parameters updated", ">FLOPs", ">seconds", ">memory",
                                  ">overfitting", ">stored",     ">knowledge kept"};
    struct columns columns;
    text_add(out,
             "\ntraditional and parameter-efficient fine-tuning (overfitting: validation loss − training loss at the "
             "best checkpoint; knowledge kept: probes of other tasks, after/before, else perplexity of general text, "
             "before/after)\n");
    columns_init(&columns, 9, titles);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < c->n_methods; i++)
            if (c->methods[i].is_traditional == (pass == 0))
                add_cost(&columns, &c->methods[i]);
    finish(out, &columns);
}

static void add_checks(struct text *out, const struct comparison *c)
{
    const char *const titles[] = {"method", "check", "metric", ">seeds", ">before", ">after"};
    struct columns columns;
    int n = 0;
    columns_init(&columns, 6, titles);
    for (int i = 0; i < c->n_methods; i++)
        for (int k = 0; k < c->methods[i].n_checks; k++, n++) {
            const struct compare_check *check = &c->methods[i].checks[k];
            if (strpbrk(check->metric, "/[")) /* of single layers: in the JSON; cells of a matrix: below */
                continue;
            columns_add(&columns, c->methods[i].label);
            columns_add(&columns, check->name);
            columns_add(&columns, check->metric);
            columns_printf(&columns, "%d", check->n);
            add_real(&columns, "%.4f", check->before);
            add_real(&columns, "%.4f", check->after);
        }
    if (n > 0) {
        text_add(out, "\nchecks of the chosen configurations, means over seeds\n");
        columns_write(out, &columns, indent);
    }
    columns_done(&columns);
}

void compare_add_text(struct text *out, const struct comparison *c)
{
    add_heading(out, c);
    add_methods(out, c);
    add_pairs(out, c);
    add_inferiority(out, c);
    add_fronts(out, c);
    add_budgets(out, c);
    add_costs(out, c);
    add_overview(out, c);
    add_fits(out, c);
    add_sizes(out, c);
    add_checks(out, c);
    compare_add_matrices(out, c);
}
