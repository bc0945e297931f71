/* Maps of characters as sentencepiece compiles them: which text stands for a character, or for a few.
 *
 * Layout: u32 little endian size of the trie in bytes | the trie, a u32 a unit (a Darts-clone double array) | texts,
 * each with a NUL behind it, found by their offset. A unit has the label of its byte (bits 0-7), whether a value hangs
 * on it (bit 8) and the offset of its children (bits 10-31, times 256 when bit 9 is set); a value is 31 bits. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "common/text.h"
#include "trainer/tokenizer_parts.h"

struct charsmap {
    const uint32_t *units;
    size_t n_units;
    const char *texts; /* NUL-terminated behind the last one too */
    size_t n_texts;
};

int charsmap_make(struct charsmap **map, const unsigned char *data, size_t n, struct arena *arena, struct err *err)
{
    struct charsmap *made = arena_calloc(arena, 1, sizeof(*made));
    uint32_t size = 0;
    for (size_t i = 0; i < 4 && i < n; i++)
        size |= (uint32_t)data[i] << (8 * i);
    if (n < 8 || size < 4 || size % 4 != 0 || size > n - 4)
        return err_set(err, ERR_FORMAT,
                       "precompiled_charsmap: a trie of %u bytes in %zu bytes, a whole number of units was expected",
                       size, n);
    uint32_t *units = arena_alloc(arena, size);
    char *texts = arena_calloc(arena, n - 4 - size + 1, 1);
    if (!made || !units || !texts)
        return err_set(err, ERR_NOMEM, "no memory for the map of characters");
    for (size_t i = 0; i < size / 4; i++) {
        const unsigned char *at = data + 4 + 4 * i;
        units[i] = (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
    }
    memcpy(texts, data + 4 + size, n - 4 - size);
    *made = (struct charsmap){units, size / 4, texts, n - 4 - size};
    for (size_t at = 0; at < made->n_texts; at += strlen(texts + at) + 1)
        if (utf8_valid_prefix(texts + at, strlen(texts + at)) != strlen(texts + at))
            return err_set(err, ERR_FORMAT, "precompiled_charsmap: the text at %zu is not UTF-8", at);
    *map = made;
    return 0;
}

int charsmap_read(struct charsmap **map, const char *base64, struct arena *arena, struct err *err)
{
    unsigned char *data = NULL;
    size_t n = 0;
    if (strlen(base64) > TOKENIZER_MAX_CHARSMAP)
        return err_set(err, ERR_FORMAT, "precompiled_charsmap: longer than %d bytes", TOKENIZER_MAX_CHARSMAP);
    int rc = text_decode_base64(base64, strlen(base64), &data, &n, err);
    if (rc < 0)
        return err_wrap(err, "precompiled_charsmap");
    rc = charsmap_make(map, data, n, arena, err);
    free(data);
    return rc;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & (1u << 9)) >> 6);
}

/* What stands for the shortest mapped beginning of text, or NULL. That it then takes the place of the whole is how the
 * reference does it. */
static const char *find(const struct charsmap *map, const char *text, size_t n)
{
    size_t at = offset_of(map->units[0]);
    for (size_t i = 0; i < n && text[i]; i++) {
        unsigned char byte = (unsigned char)text[i];
        at ^= byte;
        if (at >= map->n_units || (map->units[at] & (1u << 31 | 0xff)) != byte)
            return NULL;
        bool has_value = map->units[at] >> 8 & 1;
        at ^= offset_of(map->units[at]);
        if (!has_value)
            continue;
        size_t value = at < map->n_units ? map->units[at] & ((1u << 31) - 1) : map->n_texts;
        bool is_start = value < map->n_texts; /* the reference would read from anywhere; a text is never cut */
        return is_start && ((unsigned char)map->texts[value] & 0xc0) != 0x80 ? map->texts + value : NULL;
    }
    return NULL;
}

static void add(struct codes *out, const char *text)
{
    for (size_t at = 0, n = strlen(text), length; at < n; at += length)
        codes_add(out, (int32_t)utf8_decode(text + at, n - at, &length));
}

/* The characters of a grapheme as one when they are mapped so and are less than 6 bytes, else each by itself. */
static void apply_grapheme(const struct charsmap *map, const int32_t *codes, size_t n, struct codes *out)
{
    char bytes[8];
    size_t length = 0, i = 0;
    for (i = 0; i < n && length < 6 && n <= 5; i++) {
        char c[4];
        size_t m = utf8_encode((uint32_t)codes[i], c);
        if (length + m >= 6)
            break;
        memcpy(bytes + length, c, m);
        length += m;
    }
    const char *whole = i == n && n > 1 ? find(map, bytes, length) : NULL;
    if (whole) {
        add(out, whole);
        return;
    }
    for (i = 0; i < n; i++) {
        size_t m = utf8_encode((uint32_t)codes[i], bytes);
        const char *one = find(map, bytes, m);
        if (one)
            add(out, one);
        else
            codes_add(out, codes[i]);
    }
}

void charsmap_apply(const struct charsmap *map, struct codes *codes)
{
    struct codes out = {0};
    utf8proc_int32_t state = 0;
    for (size_t start = 0, end; start < codes->n; start = end) {
        end = start + 1;
        state = 0;
        while (end < codes->n && !utf8proc_grapheme_break_stateful(codes->items[end - 1], codes->items[end], &state))
            end++;
        apply_grapheme(map, codes->items + start, end - start, &out);
    }
    out.failed = out.failed || codes->failed;
    codes_done(codes);
    *codes = out;
}
