/* chrF and chrF++. */
#include "common/chrf.h"

#include <string.h>

#include "common/ngrams.h"
#include "common/text.h"

/* One text as characters and as words with their punctuation cut off. */
struct side {
    uint32_t *characters, *units;
    struct word *words;
    int n_characters, n_words;
};

static bool is_punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
}

/* One mark at a word's end, else one at its beginning, becomes a word of its own: "(hi)" gives "(hi" and ")". */
static struct word *cut(const struct word *words, int n, int *n_out, struct arena *arena)
{
    struct word *out = arena_alloc(arena, (2 * (size_t)n + 1) * sizeof(*out));
    int count = 0;
    for (int i = 0; out && i < n; i++) {
        const char *s = words[i].start;
        size_t length;
        int bytes = words[i].bytes;
        (void)utf8_decode(s, (size_t)bytes, &length);
        bool is_single = (int)length == bytes;
        if (!is_single && is_punctuation(s[bytes - 1])) {
            out[count++] = (struct word){s, bytes - 1};
            out[count++] = (struct word){s + bytes - 1, 1};
        } else if (!is_single && is_punctuation(s[0])) {
            out[count++] = (struct word){s, 1};
            out[count++] = (struct word){s + 1, bytes - 1};
        } else {
            out[count++] = words[i];
        }
    }
    *n_out = count;
    return out;
}

static int read_side(struct side *side, const char *text, bool has_words, struct arena *arena, struct err *err)
{
    size_t n = strlen(text);
    *side = (struct side){0};
    side->characters = ngrams_characters(text, n, &side->n_characters, arena);
    if (side->characters && has_words) {
        struct word *words = ngrams_split(text, n, &side->n_words, arena);
        side->words = words ? cut(words, side->n_words, &side->n_words, arena) : NULL;
    }
    return side->characters && (side->words || !has_words) ? 0 : err_set(err, ERR_NOMEM, "no memory for a segment");
}

/* The statistics of a hypothesis against one reference. */
static int compare(const struct side *a, const struct side *b, struct chrf *out, struct arena *arena, struct err *err)
{
    int rc = 0;
    for (int i = 0; i < CHRF_CHARACTER_ORDERS + out->word_orders && rc == 0; i++) {
        bool is_word = i >= CHRF_CHARACTER_ORDERS;
        int order = is_word ? i - CHRF_CHARACTER_ORDERS + 1 : i + 1;
        struct ngrams x, y;
        rc = ngrams_sort(&x, is_word ? a->units : a->characters, is_word ? a->n_words : a->n_characters, order, arena,
                         err);
        if (rc == 0)
            rc = ngrams_sort(&y, is_word ? b->units : b->characters, is_word ? b->n_words : b->n_characters, order,
                             arena, err);
        if (rc < 0)
            break;
        out->hypothesis[i] = y.n > 0 ? x.n : 0; /* no hits are missed where there is nothing to hit */
        out->reference[i] = y.n;
        out->matches[i] = ngrams_match(&x, &y, 1);
    }
    return rc;
}

static int number_words(struct side *a, struct side *b, struct arena *arena, struct err *err)
{
    const struct word *lists[] = {a->words, b->words};
    const int counts[] = {a->n_words, b->n_words};
    uint32_t *units[2] = {0};
    int rc = ngrams_number(lists, counts, 2, units, arena, err);
    a->units = units[0];
    b->units = units[1];
    return rc;
}

static int add_segment(struct chrf *chrf, const char *hypothesis, const char *const *references, int n_references,
                       struct arena *arena, struct err *err)
{
    struct chrf best = {0};
    double best_score = -1;
    struct side a, b;
    int rc = read_side(&a, hypothesis, chrf->word_orders > 0, arena, err);
    for (int r = 0; r < n_references && rc == 0; r++) {
        struct chrf one = {.word_orders = chrf->word_orders};
        rc = read_side(&b, references[r], chrf->word_orders > 0, arena, err);
        if (rc == 0 && chrf->word_orders > 0)
            rc = number_words(&a, &b, arena, err);
        if (rc == 0)
            rc = compare(&a, &b, &one, arena, err);
        if (rc == 0 && chrf_score(&one) > best_score) {
            best_score = chrf_score(&one);
            best = one;
        }
    }
    for (int i = 0; i < CHRF_ORDERS && rc == 0; i++) {
        chrf->hypothesis[i] += best.hypothesis[i];
        chrf->reference[i] += best.reference[i];
        chrf->matches[i] += best.matches[i];
    }
    return rc;
}

int chrf_add(struct chrf *chrf, const char *hypothesis, const char *const *references, int n_references,
             struct err *err)
{
    struct arena arena = {0};
    int rc = add_segment(chrf, hypothesis, references, n_references, &arena, err);
    arena_done(&arena);
    return rc;
}

double chrf_score(const struct chrf *chrf)
{
    const double factor = 4; /* β² */
    double precision = 0, recall = 0;
    int orders = 0;
    for (int i = 0; i < CHRF_CHARACTER_ORDERS + chrf->word_orders; i++)
        if (chrf->hypothesis[i] > 0 && chrf->reference[i] > 0) {
            precision += (double)chrf->matches[i] / (double)chrf->hypothesis[i];
            recall += (double)chrf->matches[i] / (double)chrf->reference[i];
            orders++;
        }
    if (orders == 0 || precision + recall <= 0)
        return 0;
    precision /= orders;
    recall /= orders;
    return 100 * (1 + factor) * precision * recall / (factor * precision + recall);
}
