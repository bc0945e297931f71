/* Words to tokens. */
#include "trainer/word_pieces.h"

#include <string.h>

#include "trainer/tokenizer_text.h"

enum { MANY_TOKENS = 1 << 20 };

static int plain(const struct word_pieces *pieces, const char *text, struct arena *arena, struct encoding *out,
                 struct err *err)
{
    return tokenizer_encode_plain(pieces->tokenizer, text, MANY_TOKENS, arena, out, err);
}

static bool begins_with(const int32_t *ids, int n, const struct encoding *part)
{
    return part->n <= n && (part->n == 0 || memcmp(ids, part->ids, (size_t)part->n * sizeof(*ids)) == 0);
}

static int find_frame(struct word_pieces *pieces, const struct encoding *word, struct arena *arena, struct err *err)
{
    struct encoding whole;
    int rc = tokenizer_encode(pieces->tokenizer, "a", NULL, MANY_TOKENS, arena, &whole, err);
    if (rc < 0)
        return rc;
    pieces->n_special = whole.n - word->n;
    pieces->special = arena_alloc(arena, (size_t)(whole.n + 1) * sizeof(int32_t));
    if (!pieces->special)
        return err_set(err, ERR_NOMEM, "no memory for special tokens");
    while (pieces->n_front < pieces->n_special &&
           !begins_with(whole.ids + pieces->n_front, whole.n - pieces->n_front, word))
        pieces->n_front++;
    for (int i = 0; i < pieces->n_special; i++)
        pieces->special[i] = whole.ids[i < pieces->n_front ? i : i + word->n];
    return 0;
}

int word_pieces_open(struct word_pieces *pieces, const struct tokenizer *tokenizer, struct arena *arena,
                     struct err *err)
{
    struct encoding bare, spaced, both;
    *pieces = (struct word_pieces){.tokenizer = tokenizer};
    int rc = plain(pieces, "a", arena, &bare, err);
    if (rc == 0)
        rc = plain(pieces, " a", arena, &spaced, err);
    if (rc == 0)
        rc = plain(pieces, "a a", arena, &both, err);
    if (rc < 0)
        return rc;
    pieces->carries_space = both.n == bare.n + spaced.n && begins_with(both.ids, both.n, &bare) &&
                            begins_with(both.ids + bare.n, spaced.n, &spaced);
    return find_frame(pieces, &bare, arena, err);
}

static int encode_part(const struct word_pieces *pieces, bool has_space, const char *word, size_t n,
                       struct arena *arena, struct encoding *out, struct err *err)
{
    const char *text = arena_printf(arena, "%s%.*s", has_space ? " " : "", (int)n, word);
    return text ? plain(pieces, text, arena, out, err) : err_set(err, ERR_NOMEM, "no memory for a word");
}

int word_pieces_encode(const struct word_pieces *pieces, const char *word, size_t n, struct arena *arena,
                       struct encoding *encoding, struct err *err)
{
    return encode_part(pieces, pieces->carries_space, word, n, arena, encoding, err);
}

/* Units of a text ------------------------------------------------------------------------------------------------- */

struct cutting {
    const struct word_pieces *pieces;
    const char *text;
    struct arena *arena;
    struct encoding whole; /* the tokens of the text as a whole … */
    int at;                /* … of which so many are the units' so far */
    bool is_whole;         /* so far the units' tokens are those of the whole */
    struct text_unit *units;
    int n_units;
    int32_t *ids;
    int n_ids;
};

static void add_unit(struct cutting *c, int start, int end, const struct encoding *part)
{
    c->units[c->n_units++] = (struct text_unit){start, end, c->n_ids, part->n};
    if (part->n)
        memcpy(c->ids + c->n_ids, part->ids, (size_t)part->n * sizeof(*c->ids));
    c->n_ids += part->n;
}

/* Where the run of punctuation, or of what is none, that begins at `start` ends. */
static int run_end(const char *text, int start, int end)
{
    bool is_first = true, kind = false;
    size_t length;
    for (int at = start; at < end; at += (int)length, is_first = false) {
        bool is_mark = text_is_punctuation((int32_t)utf8_decode(text + at, (size_t)(end - at), &length));
        if (is_first)
            kind = is_mark;
        else if (is_mark != kind)
            return at;
    }
    return end;
}

/* The word's runs as units of their own, when their tokens one behind the other are the word's. */
static int cut_word(struct cutting *c, bool has_space, int start, int end, const struct encoding *word, struct err *err)
{
    int n_units = c->n_units, n_ids = c->n_ids, rc = 0;
    bool is_same = true;
    for (int at = start, next; at < end && rc == 0 && is_same; at = next) {
        struct encoding part;
        next = run_end(c->text, at, end);
        rc = encode_part(c->pieces, has_space && at == start, c->text + at, (size_t)(next - at), c->arena, &part, err);
        is_same = rc == 0 && begins_with(word->ids + (c->n_ids - n_ids), word->n - (c->n_ids - n_ids), &part);
        if (is_same)
            add_unit(c, at, next, &part);
    }
    if (rc < 0 || (is_same && c->n_ids - n_ids == word->n))
        return rc;
    c->n_units = n_units;
    c->n_ids = n_ids;
    add_unit(c, start, end, word);
    return 0;
}

/* A word with what makes its tokens those of the whole text; when neither does, as in the middle of a text. */
static int add_word(struct cutting *c, int start, int end, struct err *err)
{
    const struct word_pieces *pieces = c->pieces;
    bool first = pieces->carries_space && start > 0;
    struct encoding word = {0};
    for (int attempt = 0; attempt < 2; attempt++) {
        bool has_space = attempt == 0 ? first : !first;
        int rc = encode_part(pieces, has_space, c->text + start, (size_t)(end - start), c->arena, &word, err);
        if (rc < 0)
            return rc;
        if (c->is_whole && begins_with(c->whole.ids + c->at, c->whole.n - c->at, &word)) {
            c->at += word.n;
            return cut_word(c, has_space, start, end, &word, err);
        }
    }
    c->is_whole = false;
    int rc = encode_part(pieces, first, c->text + start, (size_t)(end - start), c->arena, &word, err);
    return rc < 0 ? rc : cut_word(c, first, start, end, &word, err);
}

int word_pieces_cut(const struct word_pieces *pieces, const char *text, struct arena *arena, struct text_unit **units,
                    int *n_units, struct encoding *ids, struct err *err)
{
    struct cutting c = {.pieces = pieces, .text = text, .arena = arena, .is_whole = true};
    size_t n = strlen(text);
    int rc = plain(pieces, text, arena, &c.whole, err);
    if (rc < 0)
        return rc;
    c.units = arena_alloc(arena, (n + 1) * sizeof(*c.units));
    c.ids = arena_alloc(arena, ((size_t)c.whole.n + 8 * n + 16) * sizeof(*c.ids)); /* a byte gives a few at most */
    if (!c.units || !c.ids)
        return err_set(err, ERR_NOMEM, "no memory for the words of a text");
    for (size_t at = strspn(text, " \t\r\n"), end; at < n && rc == 0; at = end + strspn(text + end, " \t\r\n")) {
        end = at + strcspn(text + at, " \t\r\n");
        rc = add_word(&c, (int)at, (int)end, err);
    }
    *units = c.units;
    *n_units = c.n_units;
    *ids = (struct encoding){.ids = c.ids, .n = c.n_ids};
    return rc;
}
