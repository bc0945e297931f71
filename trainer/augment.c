/* Altered copies of training rows. */
#include "trainer/augment.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/file.h"
#include "common/json.h"
#include "common/rng.h"
#include "common/settings.h"
#include "common/text.h"
#include "trainer/methods/method_file.h"

enum { MAX_LIST_BYTES = 16 << 20, MAX_OPERATIONS = 8, MAX_WORDS = 4096 };

static const char *const operation_names[] = {"synonym",          "swap", "delete", "insert", "cutout",
                                              "back_translation", "copy"};

/* Synonyms ----------------------------------------------------------------------------------------------------------
 */

struct entry {
    const char *word;
    const char **others;
    uint32_t n;
    UT_hash_handle hh;
};

struct synonyms {
    struct arena arena;
    struct entry *entries;
};

static char *trimmed(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    size_t n = strlen(text);
    while (n > 0 && isspace((unsigned char)text[n - 1]))
        text[--n] = '\0';
    return text;
}

static int add_line(struct synonyms *s, char *line, struct err *err)
{
    char *colon = strchr(line, ':');
    if (!colon)
        return err_set(err, ERR_DATA, "'%.60s' has no ':', word: synonym, synonym was expected", line);
    *colon = '\0';
    struct entry *entry = arena_calloc(&s->arena, 1, sizeof(*entry)), *known = NULL;
    size_t most = 1;
    for (const char *c = colon + 1; *c; c++)
        most += *c == ',';
    if (!entry || !(entry->others = arena_calloc(&s->arena, most, sizeof(*entry->others))))
        return err_set(err, ERR_NOMEM, "no memory for synonyms");
    entry->word = trimmed(line);
    for (char *next = colon + 1, *part; (part = strsep(&next, ","));) {
        part = trimmed(part);
        if (*part)
            entry->others[entry->n++] = part;
    }
    if (!*entry->word || entry->n == 0)
        return err_set(err, ERR_DATA, "a word and at least one synonym were expected");
    HASH_FIND_STR(s->entries, entry->word, known);
    if (known)
        return err_set(err, ERR_DATA, "'%s' stands there twice", entry->word);
    HASH_ADD_KEYPTR(hh, s->entries, entry->word, strlen(entry->word), entry);
    return 0;
}

int synonyms_read(struct synonyms **synonyms, const char *path, struct err *err)
{
    char *data = NULL;
    size_t n = 0;
    int number = 0, rc = file_read(path, MAX_LIST_BYTES, &data, &n, err);
    struct synonyms *s = rc == 0 ? calloc(1, sizeof(*s)) : NULL;
    char *copy = s ? arena_strndup(&s->arena, data, n) : NULL;
    if (rc == 0 && !copy)
        rc = err_set(err, ERR_NOMEM, "no memory for '%s'", path);
    for (char *next = copy, *line; rc == 0 && (line = strsep(&next, "\n"));) {
        number++;
        line = trimmed(line);
        if (*line && *line != '#' && (rc = add_line(s, line, err)) < 0)
            err_wrap(err, "'%s', line %d", path, number);
    }
    if (rc == 0 && !s->entries)
        rc = err_set(err, ERR_DATA, "'%s' has no words", path);
    free(data);
    if (rc == 0)
        *synonyms = s;
    else
        synonyms_free(s);
    return rc;
}

void synonyms_free(struct synonyms *s)
{
    if (!s)
        return;
    HASH_CLEAR(hh, s->entries);
    arena_done(&s->arena);
    free(s);
}

/* Words -------------------------------------------------------------------------------------------------------------
 */

struct words {
    const char **items;
    uint32_t n;
};

/* Room for twice as many: insertions. */
static bool split(const char *text, struct words *words, struct arena *arena)
{
    char *copy = arena_strdup(arena, text);
    words->n = 0;
    words->items = arena_alloc(arena, 2 * MAX_WORDS * sizeof(*words->items));
    if (!copy || !words->items)
        return false;
    for (char *next = copy, *part; words->n < MAX_WORDS && (part = strsep(&next, " \t\r\n"));)
        if (*part)
            words->items[words->n++] = part;
    return true;
}

static const char *join(const struct words *words, struct arena *arena)
{
    struct text out = {0};
    for (uint32_t i = 0; i < words->n; i++) {
        text_add(&out, i ? " " : "");
        text_add(&out, words->items[i]);
    }
    const char *copy = out.failed ? NULL : arena_strdup(arena, out.data ? out.data : "");
    text_done(&out);
    return copy;
}

static bool is_letter(char c)
{
    return isalpha((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* A synonym of the word without the punctuation around it, which is kept, and with its capital; NULL: the list has
 * none. */
static const char *synonym_of(const char *word, const struct synonyms *synonyms, struct rng_stream *stream,
                              bool keeps_punctuation, struct arena *arena)
{
    size_t first = 0, last = strlen(word), k = 0;
    char plain[128];
    struct entry *entry = NULL;
    while (first < last && !is_letter(word[first]))
        first++;
    while (last > first && !is_letter(word[last - 1]))
        last--;
    if (!synonyms || last == first || last - first >= sizeof(plain))
        return NULL;
    for (size_t i = first; i < last; i++)
        plain[k++] = (char)tolower((unsigned char)word[i]);
    plain[k] = '\0';
    HASH_FIND_STR(synonyms->entries, plain, entry);
    if (!entry)
        return NULL;
    const char *other = entry->others[rng_below(stream, entry->n)];
    if (!keeps_punctuation)
        return other;
    char *out = arena_printf(arena, "%.*s%s%s", (int)first, word, other, word + last);
    if (out && isupper((unsigned char)word[first]))
        out[first] = (char)toupper((unsigned char)out[first]);
    return out;
}

/* How many of n words. */
static uint32_t share_of(double rate, uint32_t n)
{
    double share = floor(rate * n + 0.5);
    return share < 1 ? 1 : share > n ? n : (uint32_t)share;
}

/* Operations ---------------------------------------------------------------------------------------------------------
 */

static void replace_synonyms(struct words *words, double rate, const struct synonyms *synonyms,
                             struct rng_stream *stream, struct arena *arena)
{
    uint32_t *order = arena_alloc(arena, ((size_t)words->n + 1) * sizeof(*order)), left = share_of(rate, words->n);
    if (!order)
        return;
    for (uint32_t i = 0; i < words->n; i++)
        order[i] = i;
    rng_shuffle(stream, order, words->n);
    for (uint32_t i = 0; i < words->n && left > 0; i++) {
        const char *other = synonym_of(words->items[order[i]], synonyms, stream, true, arena);
        if (other) {
            words->items[order[i]] = other;
            left--;
        }
    }
}

static void swap_words(struct words *words, double rate, struct rng_stream *stream)
{
    for (uint32_t i = share_of(rate, words->n); words->n > 1 && i > 0; i--) {
        uint32_t a = rng_below(stream, words->n), b = rng_below(stream, words->n - 1);
        const char *kept = words->items[a];
        b += b >= a;
        words->items[a] = words->items[b];
        words->items[b] = kept;
    }
}

static void delete_words(struct words *words, double rate, struct rng_stream *stream)
{
    uint32_t kept = 0, survivor = rng_below(stream, words->n);
    const char *one = words->items[survivor];
    for (uint32_t i = 0; i < words->n; i++)
        if (rng_uniform(stream) >= rate)
            words->items[kept++] = words->items[i];
    if (kept == 0)
        words->items[kept++] = one;
    words->n = kept;
}

static void insert_words(struct words *words, double rate, const struct synonyms *synonyms, struct rng_stream *stream,
                         struct arena *arena)
{
    for (uint32_t i = share_of(rate, words->n); i > 0 && words->n < 2 * MAX_WORDS; i--) {
        const char *other = NULL;
        uint32_t start = rng_below(stream, words->n);
        for (uint32_t k = 0; k < words->n && !other; k++)
            other = synonym_of(words->items[(start + k) % words->n], synonyms, stream, false, arena);
        if (!other)
            return;
        uint32_t place = rng_below(stream, words->n + 1);
        memmove(words->items + place + 1, words->items + place, (words->n - place) * sizeof(*words->items));
        words->items[place] = other;
        words->n++;
    }
}

static void cut_out(struct words *words, double rate, struct rng_stream *stream)
{
    uint32_t n = share_of(rate, words->n);
    if (words->n < 2)
        return;
    n = n < words->n ? n : words->n - 1;
    uint32_t first = rng_below(stream, words->n - n + 1);
    memmove(words->items + first, words->items + first + n, (words->n - first - n) * sizeof(*words->items));
    words->n -= n;
}

const char *augment_text(const char *text, enum augment_operation operation, double rate,
                         const struct synonyms *synonyms, uint64_t seed, uint32_t copy, uint32_t row,
                         struct arena *arena)
{
    struct rng_stream stream = rng_stream(rng_make(seed, RNG_AUGMENT), copy, row, (uint32_t)operation);
    struct words words;
    if (!split(text, &words, arena))
        return NULL;
    if (words.n == 0 || operation == AUGMENT_COPY || operation == AUGMENT_BACK_TRANSLATION)
        return arena_strdup(arena, text);
    switch (operation) {
    case AUGMENT_SYNONYM:
        replace_synonyms(&words, rate, synonyms, &stream, arena);
        break;
    case AUGMENT_SWAP:
        swap_words(&words, rate, &stream);
        break;
    case AUGMENT_DELETE:
        delete_words(&words, rate, &stream);
        break;
    case AUGMENT_INSERT:
        insert_words(&words, rate, synonyms, &stream, arena);
        break;
    default:
        cut_out(&words, rate, &stream);
    }
    return join(&words, arena);
}

/* Rows ---------------------------------------------------------------------------------------------------------------
 */

struct augmentation {
    enum augment_operation operations[MAX_OPERATIONS];
    uint32_t n_operations, copies;
    double rate;
    struct synonyms *synonyms;
    struct rows translated; /* the file with the other column in the place of the text */
};

static int add_operation(struct augmentation *a, const char *name, struct err *err)
{
    for (uint32_t i = 0; i < sizeof(operation_names) / sizeof(operation_names[0]); i++)
        if (strcmp(operation_names[i], name) == 0 && a->n_operations < MAX_OPERATIONS) {
            a->operations[a->n_operations++] = (enum augment_operation)i;
            return 0;
        }
    return strcmp(name, "none") == 0 ? 0 : err_set(err, ERR_USAGE, "settings.augmentation: '%s' is no operation", name);
}

static bool has(const struct augmentation *a, enum augment_operation operation)
{
    for (uint32_t i = 0; i < a->n_operations; i++)
        if (a->operations[i] == operation)
            return true;
    return false;
}

static int read_translated(struct augmentation *a, const char *path, const cJSON *task, const char *column,
                           struct err *err)
{
    cJSON *copy = cJSON_Duplicate(task, true);
    if (!copy || !cJSON_ReplaceItemInObjectCaseSensitive(copy, "text", cJSON_CreateString(column))) {
        cJSON_Delete(copy);
        return err_set(err, ERR_NOMEM, "no memory for the column '%s'", column);
    }
    int rc = rows_read(&a->translated, path, copy, 0, err);
    cJSON_Delete(copy);
    return rc;
}

static int open_augmentation(struct augmentation *a, const char *path, const cJSON *task, const cJSON *settings,
                             struct err *err)
{
    const cJSON *given = json_get(settings, "augmentation");
    const char *words = setting_text(settings, "augmentation_words", NULL);
    const char *column = setting_text(settings, "augmentation_column", NULL);
    int rc = 0;
    for (const cJSON *item = cJSON_IsArray(given) ? given->child : given; item && rc == 0;
         item = cJSON_IsArray(given) ? item->next : NULL)
        rc = add_operation(a, cJSON_IsString(item) ? item->valuestring : "?", err);
    a->copies = (uint32_t)setting_number(settings, "augmentation_copies", 1);
    a->rate = setting_number(settings, "augmentation_rate", 0.1);
    if (rc == 0 && (has(a, AUGMENT_SYNONYM) || has(a, AUGMENT_INSERT)))
        rc = words ? synonyms_read(&a->synonyms, words, err)
                   : err_set(err, ERR_USAGE,
                             "settings.augmentation_words is missing: synonym and insert need a list of words");
    if (rc == 0 && has(a, AUGMENT_BACK_TRANSLATION))
        rc = column ? read_translated(a, path, task, column, err)
                    : err_set(err, ERR_USAGE,
                              "settings.augmentation_column is missing: the column of the training file that holds "
                              "each text translated and back");
    return rc;
}

/* The other text of a row: both come by the same lines of the same file. */
static const char *translated_of(const struct augmentation *a, uint32_t line)
{
    size_t low = 0, high = a->translated.count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (a->translated.items[middle].line < line)
            low = middle + 1;
        else
            high = middle;
    }
    return low < a->translated.count && a->translated.items[low].line == line ? a->translated.items[low].text : NULL;
}

static int add_copy(struct rows *rows, const struct augmentation *a, size_t index, uint32_t copy, uint64_t seed,
                    struct arena *scratch, struct err *err)
{
    struct row row = rows->items[index];
    enum augment_operation operation = a->operations[copy % a->n_operations];
    const char *text = row.text;
    if (operation == AUGMENT_BACK_TRANSLATION)
        text = translated_of(a, row.line);
    else
        text = augment_text(row.text, operation, a->rate, a->synonyms, seed, copy, row.line, scratch);
    row.text = text ? arena_strdup(&rows->arena, text) : NULL;
    arena_reset(scratch);
    if (!row.text)
        return text || operation != AUGMENT_BACK_TRANSLATION
                   ? err_set(err, ERR_NOMEM, "no memory for altered copies")
                   : err_set(err, ERR_DATA, "line %u has no text in the other column", row.line);
    return rows_add(rows, row, err);
}

int augment_rows(struct rows *rows, const char *path, const cJSON *task, const cJSON *settings, uint64_t seed,
                 size_t *added, struct err *err)
{
    struct augmentation a = {0};
    struct arena scratch = {0};
    size_t n = rows->count;
    int rc = open_augmentation(&a, path, task, settings, err);
    *added = 0;
    for (uint32_t copy = 0; a.n_operations > 0 && copy < a.copies; copy++)
        for (size_t i = 0; i < n && rc == 0; i++)
            rc = add_copy(rows, &a, i, copy, seed, &scratch, err);
    *added = rows->count - n;
    synonyms_free(a.synonyms);
    rows_done(&a.translated);
    arena_done(&scratch);
    return rc;
}
