/* BLEU. The tokenizer is four substitutions, each from left to right over the result of the one before. */
#include "common/bleu.h"

#include <math.h>
#include <string.h>

#include "common/ngrams.h"

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Punctuation but for apostrophe, comma, hyphen and full stop. */
static bool is_separate(char c)
{
    return (c >= '{' && c <= '~') || (c >= '[' && c <= '`') || (c >= ' ' && c <= '&') || (c >= '(' && c <= '+') ||
           (c >= ':' && c <= '@') || c == '/';
}

static bool is_stop(char c)
{
    return c == '.' || c == ',';
}

static void replace(struct text *out, const struct text *in, const char *from, const char *to)
{
    const char *at = in->data ? in->data : "", *found;
    text_reset(out);
    for (; (found = strstr(at, from)); at = found + strlen(from)) {
        text_add_n(out, at, (size_t)(found - at));
        text_add(out, to);
    }
    text_add(out, at);
    out->failed = out->failed || in->failed;
}

/* How many bytes a substitution takes at c[0..left), and what it puts there; 0: it does not match. */
typedef int substitution(const char *c, size_t left, struct text *out);

static int separate(const char *c, size_t left, struct text *out)
{
    (void)left;
    if (!is_separate(*c))
        return 0;
    text_printf(out, " %c ", *c);
    return 1;
}

/* A stop that no digit stands before. */
static int stop_behind(const char *c, size_t left, struct text *out)
{
    if (left < 2 || is_digit(c[0]) || !is_stop(c[1]))
        return 0;
    text_add_char(out, c[0]);
    text_printf(out, " %c ", c[1]);
    return 2;
}

/* A stop that no digit follows. */
static int stop_before(const char *c, size_t left, struct text *out)
{
    if (left < 2 || !is_stop(c[0]) || is_digit(c[1]))
        return 0;
    text_printf(out, " %c ", c[0]);
    text_add_char(out, c[1]);
    return 2;
}

static int hyphen_behind_digit(const char *c, size_t left, struct text *out)
{
    if (left < 2 || !is_digit(c[0]) || c[1] != '-')
        return 0;
    text_printf(out, "%c - ", c[0]);
    return 2;
}

static void substitute(struct text *out, const struct text *in, substitution *rule)
{
    text_reset(out);
    for (size_t at = 0; at < in->len;) {
        int taken = rule(in->data + at, in->len - at, out);
        if (!taken)
            text_add_char(out, in->data[at]);
        at += taken ? (size_t)taken : 1;
    }
    out->failed = out->failed || in->failed;
}

/* Bytes before trailing white space. */
static size_t trimmed(const char *line)
{
    size_t n = strlen(line), end = 0;
    for (size_t at = 0, length; at < n; at += length)
        if (!text_is_space(utf8_decode(line + at, n - at, &length)))
            end = at + length;
    return end;
}

void bleu_tokenize(struct text *out, const char *line)
{
    static const char *const entities[][2] = {{"<skipped>", ""}, {"-\n", ""},   {"\n", " "},  {"&quot;", "\""},
                                              {"&amp;", "&"},    {"&lt;", "<"}, {"&gt;", ">"}};
    static substitution *const rules[] = {separate, stop_behind, stop_before, hyphen_behind_digit};
    struct text from = {0}, to = {0}, swap;
    text_add_n(&from, line, trimmed(line));
    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++) {
        replace(&to, &from, entities[i][0], entities[i][1]);
        swap = from, from = to, to = swap;
    }
    text_reset(&to);
    text_printf(&to, " ");
    text_add(&to, from.data ? from.data : "");
    text_add_char(&to, ' ');
    to.failed = to.failed || from.failed;
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        substitute(&from, &to, rules[i]);
        swap = from, from = to, to = swap;
    }
    text_add_n(out, to.data ? to.data : "", to.len);
    out->failed = out->failed || from.failed || to.failed;
    text_done(&from);
    text_done(&to);
}

/* Of the references' lengths the one nearest to n; of two as near the shorter. */
static int64_t nearest(int n, const int *lengths, int count)
{
    int best = lengths[0];
    for (int r = 1; r < count; r++) {
        int distance = lengths[r] > n ? lengths[r] - n : n - lengths[r], least = best > n ? best - n : n - best;
        if (distance < least || (distance == least && lengths[r] < best))
            best = lengths[r];
    }
    return best;
}

static int add_segment(struct bleu *bleu, const struct text *texts, int n_references, struct arena *arena,
                       struct err *err)
{
    const struct word *words[BLEU_MAX_REFERENCES + 1];
    int counts[BLEU_MAX_REFERENCES + 1], n = n_references + 1;
    uint32_t *units[BLEU_MAX_REFERENCES + 1];
    struct ngrams ngrams[BLEU_MAX_REFERENCES + 1];
    for (int t = 0; t < n; t++)
        if (!(words[t] = ngrams_split(texts[t].data, texts[t].len, &counts[t], arena)))
            return err_set(err, ERR_NOMEM, "no memory for a segment");
    int rc = ngrams_number(words, counts, n, units, arena, err);
    for (int order = 1; order <= BLEU_ORDERS && rc == 0; order++) {
        for (int t = 0; t < n && rc == 0; t++)
            rc = ngrams_sort(&ngrams[t], units[t], counts[t], order, arena, err);
        if (rc == 0) {
            bleu->total[order - 1] += ngrams[0].n;
            bleu->correct[order - 1] += ngrams_match(&ngrams[0], ngrams + 1, n_references);
        }
    }
    bleu->hypothesis_length += counts[0];
    bleu->reference_length += nearest(counts[0], counts + 1, n_references);
    return rc;
}

int bleu_add(struct bleu *bleu, const char *hypothesis, const char *const *references, int n_references,
             struct err *err)
{
    struct text texts[BLEU_MAX_REFERENCES + 1] = {0};
    struct arena arena = {0};
    struct bleu next = *bleu;
    int rc = n_references >= 1 && n_references <= BLEU_MAX_REFERENCES
                 ? 0
                 : err_set(err, ERR_USAGE, "%d references, 1 to %d were expected", n_references, BLEU_MAX_REFERENCES);
    for (int t = 0; t <= n_references && rc == 0; t++) {
        bleu_tokenize(&texts[t], t == 0 ? hypothesis : references[t - 1]);
        if (texts[t].failed)
            rc = err_set(err, ERR_NOMEM, "no memory for a segment");
    }
    if (rc == 0)
        rc = add_segment(&next, texts, n_references, &arena, err);
    if (rc == 0)
        *bleu = next;
    for (int t = 0; t <= n_references && t <= BLEU_MAX_REFERENCES; t++)
        text_done(&texts[t]);
    arena_done(&arena);
    return rc;
}

double bleu_score(const struct bleu *bleu)
{
    double penalty = 1, sum = 0, smoothing = 1;
    int64_t hypothesis = bleu->hypothesis_length, reference = bleu->reference_length, matches = 0;
    if (hypothesis < reference)
        penalty = hypothesis > 0 ? exp(1 - (double)reference / (double)hypothesis) : 0;
    for (int n = 0; n < BLEU_ORDERS; n++)
        matches += bleu->correct[n];
    if (matches == 0)
        return 0;
    for (int n = 0; n < BLEU_ORDERS; n++) {
        if (bleu->total[n] == 0)
            return 0;
        /* An order without a match counts as half a match, the next one as a quarter, … (mteval-v13a). */
        smoothing *= bleu->correct[n] == 0 ? 2 : 1;
        double correct = bleu->correct[n] == 0 ? 1 / smoothing : (double)bleu->correct[n];
        sum += log(100 * correct / (double)bleu->total[n]);
    }
    return penalty * exp(sum / BLEU_ORDERS);
}
