/* Decoders: from tokens back to a text. */
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static const char replacement_character[] = "\xef\xbf\xbd";

/* Bytes that are no UTF-8 become U+FFFD, one for each longest beginning of a character. */
static void add_lossy(struct pieces *out, const char *bytes, size_t n)
{
    for (size_t at = 0; at < n;) {
        size_t valid = utf8_valid_prefix(bytes + at, n - at);
        pieces_add_text(out, bytes + at, valid);
        at += valid;
        if (at == n)
            return;
        unsigned char c = (unsigned char)bytes[at];
        size_t length = c >= 0xf0 && c <= 0xf4  ? 4
                        : c >= 0xe0 && c < 0xf0 ? 3
                        : c >= 0xc2 && c < 0xe0 ? 2
                                                : 1,
               good = 1;
        while (good < length && at + good < n) {
            unsigned char next = (unsigned char)bytes[at + good];
            unsigned char low = good > 1 ? 0x80 : c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
            unsigned char high = good > 1 ? 0xbf : c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
            if (next < low || next > high)
                break;
            good++;
        }
        pieces_add_text(out, replacement_character, 3);
        at += good;
    }
}

/* ByteLevel: all tokens' characters as the bytes they stand for; a token with another character stays as it is. */
static void decode_byte_level(const struct step *step, struct pieces *in, struct pieces *out)
{
    struct pieces bytes = {0};
    (void)step;
    for (size_t s = 0; s < in->n_spans; s++) {
        const char *token = in->text + in->spans[s].start;
        size_t n = in->spans[s].n, kept = bytes.n;
        bool is_bytes = true;
        for (size_t at = 0, length; at < n && is_bytes; at += length) {
            int byte = byte_level_byte((int32_t)utf8_decode(token + at, n - at, &length));
            char c = (char)byte;
            is_bytes = byte >= 0;
            if (is_bytes)
                pieces_add_text(&bytes, &c, 1);
        }
        if (is_bytes)
            continue;
        bytes.n = kept;
        pieces_add_text(&bytes, token, n);
    }
    if (bytes.n)
        add_lossy(out, bytes.text, bytes.n);
    pieces_end_word(out, 0);
    out->failed = out->failed || bytes.failed;
    pieces_done(&bytes);
}

static void add_replaced(struct pieces *out, const char *text, size_t n, const char *from, const char *to)
{
    size_t m = strlen(from), start = out->n;
    for (size_t at = 0; at < n;) {
        bool is_here = m > 0 && n - at >= m && memcmp(text + at, from, m) == 0;
        pieces_add_text(out, is_here ? to : text + at, is_here ? strlen(to) : 1);
        at += is_here ? m : 1;
    }
    pieces_end_word(out, start);
}

/* Metaspace: "▁" is ' ', but at the first token, which got it in front. */
static int read_metaspace(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    bool adds = true;
    const char *replacement = "\u2581", *scheme = NULL;
    int rc = json_opt_string(json, "replacement", "decoder", &replacement, err);
    if (rc == 0)
        rc = json_opt_bool(json, "add_prefix_space", "decoder", &adds, err);
    if (rc == 0)
        rc = json_opt_string(json, "prepend_scheme", "decoder", &scheme, err);
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, replacement)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    step->scheme = (scheme ? strcmp(scheme, "never") == 0 : !adds) ? PREPEND_NEVER : PREPEND_ALWAYS;
    return rc;
}

static void decode_metaspace(const struct step *step, struct pieces *in, struct pieces *out)
{
    for (size_t s = 0; s < in->n_spans; s++)
        add_replaced(out, in->text + in->spans[s].start, in->spans[s].n, step->text,
                     s == 0 && step->scheme != PREPEND_NEVER ? "" : " ");
}

static int read_replace(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *content;
    int rc = step_read_pattern(t, step, json, "decoder", err);
    if (rc == 0 && step->pattern)
        rc = err_set(err, ERR_UNSUPPORTED, "decoder: Replace with a regular expression is not built in");
    if (rc == 0)
        rc = json_get_string(json, "content", "decoder", &content, err);
    if (rc == 0 && !(step->content = arena_strdup(&t->arena, content)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

static void decode_replace(const struct step *step, struct pieces *in, struct pieces *out)
{
    for (size_t s = 0; s < in->n_spans; s++)
        add_replaced(out, in->text + in->spans[s].start, in->spans[s].n, step->text, step->content);
}

/* ByteFallback: neighbouring <0x..> are the bytes of a text; when they are no UTF-8, each is U+FFFD. */
static int byte_of(const char *token, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    if (n != 6 || memcmp(token, "<0x", 3) != 0 || token[5] != '>')
        return -1;
    const char *high = memchr(digits, token[3], 16), *low = memchr(digits, token[4], 16);
    return high && low ? (int)(high - digits) * 16 + (int)(low - digits) : -1;
}

static void end_bytes(struct pieces *bytes, struct pieces *out)
{
    bool is_text = bytes->n > 0 && utf8_valid_prefix(bytes->text, bytes->n) == bytes->n;
    if (is_text)
        pieces_add(out, bytes->text, bytes->n);
    for (size_t i = 0; !is_text && i < bytes->n; i++)
        pieces_add(out, replacement_character, 3);
    bytes->n = 0;
}

static void decode_byte_fallback(const struct step *step, struct pieces *in, struct pieces *out)
{
    struct pieces bytes = {0};
    (void)step;
    for (size_t s = 0; s < in->n_spans; s++) {
        const char *token = in->text + in->spans[s].start;
        int byte = byte_of(token, in->spans[s].n);
        char c = (char)byte;
        if (byte >= 0) {
            pieces_add_text(&bytes, &c, 1);
            continue;
        }
        end_bytes(&bytes, out);
        pieces_add(out, token, in->spans[s].n);
    }
    end_bytes(&bytes, out);
    out->failed = out->failed || bytes.failed;
    pieces_done(&bytes);
}

static void decode_fuse(const struct step *step, struct pieces *in, struct pieces *out)
{
    (void)step;
    for (size_t s = 0; s < in->n_spans; s++)
        pieces_add_text(out, in->text + in->spans[s].start, in->spans[s].n);
    pieces_end_word(out, 0);
}

static int read_strip(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *content;
    int64_t start = 0, stop = 0;
    int rc = json_get_string(json, "content", "decoder", &content, err);
    if (rc == 0)
        rc = json_opt_int64(json, "start", "decoder", &start, err);
    if (rc == 0)
        rc = json_opt_int64(json, "stop", "decoder", &stop, err);
    if (rc == 0 && (!content[0] || start < 0 || stop < 0 || start > 1024 || stop > 1024))
        rc = err_set(err, ERR_FORMAT, "decoder: Strip with a content and numbers of 0 to 1024 was expected");
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, content)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    step->start = (int)start;
    step->stop = (int)stop;
    return rc;
}

static void decode_strip(const struct step *step, struct pieces *in, struct pieces *out)
{
    size_t m = strlen(step->text);
    for (size_t s = 0; s < in->n_spans; s++) {
        const char *token = in->text + in->spans[s].start;
        size_t n = in->spans[s].n;
        for (int i = 0; i < step->start && n >= m && memcmp(token, step->text, m) == 0; i++, n -= m)
            token += m;
        for (int i = 0; i < step->stop && n >= m && memcmp(token + n - m, step->text, m) == 0; i++)
            n -= m;
        pieces_add(out, token, n);
    }
}

static int read_word_piece(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *prefix = "##";
    step->cleans_up = true;
    int rc = json_opt_string(json, "prefix", "decoder", &prefix, err);
    if (rc == 0)
        rc = json_opt_bool(json, "cleanup", "decoder", &step->cleans_up, err);
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, prefix)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

/* Spaces in front of punctuation out, as the reference has it. */
static void clean_up(struct pieces *out, struct pieces *token)
{
    static const char *const rules[][2] = {{" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
                                           {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
                                           {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
        struct pieces cleaned = {0};
        if (token->n)
            add_replaced(&cleaned, token->text, token->n, rules[r][0], rules[r][1]);
        cleaned.failed = cleaned.failed || token->failed;
        pieces_done(token);
        *token = cleaned;
    }
    if (token->n)
        pieces_add(out, token->text, token->n);
    out->failed = out->failed || token->failed;
}

static void decode_word_piece(const struct step *step, struct pieces *in, struct pieces *out)
{
    size_t m = strlen(step->text);
    for (size_t s = 0; s < in->n_spans; s++) {
        const char *token = in->text + in->spans[s].start;
        size_t n = in->spans[s].n;
        struct pieces whole = {0};
        bool goes_on = s > 0 && n >= m && memcmp(token, step->text, m) == 0;
        if (s > 0 && !goes_on)
            pieces_add_text(&whole, " ", 1);
        pieces_add_text(&whole, goes_on ? token + m : token, goes_on ? n - m : n);
        if (step->cleans_up)
            clean_up(out, &whole);
        else if (whole.n)
            pieces_add(out, whole.text, whole.n);
        out->failed = out->failed || whole.failed;
        pieces_done(&whole);
    }
}

static int read_bpe(struct tokenizer *t, struct step *step, const cJSON *json, struct err *err)
{
    const char *suffix = "</w>";
    int rc = json_opt_string(json, "suffix", "decoder", &suffix, err);
    if (rc == 0 && !(step->text = arena_strdup(&t->arena, suffix)))
        rc = err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    return rc;
}

static void decode_bpe(const struct step *step, struct pieces *in, struct pieces *out)
{
    for (size_t s = 0; s < in->n_spans; s++)
        add_replaced(out, in->text + in->spans[s].start, in->spans[s].n, step->text, s + 1 < in->n_spans ? " " : "");
}

const struct step_kind decoder_kinds[] = {{.name = "ByteLevel", .decode = decode_byte_level},
                                          {.name = "Metaspace", .read = read_metaspace, .decode = decode_metaspace},
                                          {.name = "Replace", .read = read_replace, .decode = decode_replace},
                                          {.name = "ByteFallback", .decode = decode_byte_fallback},
                                          {.name = "Fuse", .decode = decode_fuse},
                                          {.name = "Strip", .read = read_strip, .decode = decode_strip},
                                          {.name = "WordPiece", .read = read_word_piece, .decode = decode_word_piece},
                                          {.name = "BPEDecoder", .read = read_bpe, .decode = decode_bpe},
                                          {0}};

static bool is_special(const struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_added; i++)
        if (t->added[i].id == id)
            return t->added[i].is_special;
    return false;
}

int tokenizer_decode(const struct tokenizer *t, const int32_t *ids, size_t n, bool skips_special, struct text *out,
                     struct err *err)
{
    struct pieces now = {0}, next = {0};
    for (size_t i = 0; i < n; i++) {
        const char *text = ids[i] >= 0 && ids[i] < t->vocab_size ? t->texts[ids[i]] : NULL;
        if (!text || (skips_special && is_special(t, ids[i])))
            continue;
        if (t->decoders.n == 0 && now.n_spans) /* the reference joins tokens with a space then */
            pieces_add(&now, " ", 1);
        pieces_add(&now, text, strlen(text));
    }
    for (int i = 0; i < t->decoders.n; i++) {
        pieces_reset(&next);
        t->decoders.items[i].kind->decode(&t->decoders.items[i], &now, &next);
        struct pieces kept = now;
        now = next;
        next = kept;
    }
    for (size_t s = 0; s < now.n_spans; s++)
        text_add_n(out, now.text + now.spans[s].start, now.spans[s].n);
    bool failed = now.failed || next.failed || out->failed;
    pieces_done(&now);
    pieces_done(&next);
    return failed ? err_set(err, ERR_NOMEM, "no memory to decode %zu tokens", n) : 0;
}
