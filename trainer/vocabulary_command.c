/* Learning a vocabulary. */
#include "trainer/vocabulary_command.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "common/ngrams.h"
#include "common/normal_form.h"
#include "common/table.h"
#include "trainer/bpe_train.h"
#include "trainer/check_file.h"
#include "trainer/request.h"

#define SPACE "\xe2\x96\x81" /* ▁ */
static const char *const first_tokens[] = {"<s>", "<pad>", "</s>", "<unk>"};
enum { N_FIRST = 4, MAX_SPECIAL = 1024, MAX_SIZE = 1 << 20 };

struct counted {
    char *text;
    int64_t count;
    UT_hash_handle hh;
};

struct teaching {
    cJSON *request;
    const cJSON *files, *columns, *special;
    const char *form, *output;
    int64_t size, min_count;
    struct counted *words; /* in the order they came */
    struct arena arena;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to learn a vocabulary");
}

/* Words ---------------------------------------------------------------------------------------------------------------
 */

static int count_word(struct teaching *t, const char *word, int bytes, struct err *err)
{
    struct counted *found = NULL;
    char *text = arena_printf(&t->arena, SPACE "%.*s", bytes, word);
    if (!text)
        return no_memory(err);
    HASH_FIND_STR(t->words, text, found);
    if (found) {
        found->count++;
        return 0;
    }
    found = arena_calloc(&t->arena, 1, sizeof(*found));
    if (!found)
        return no_memory(err);
    found->text = text;
    found->count = 1;
    HASH_ADD_KEYPTR(hh, t->words, found->text, strlen(found->text), found);
    return found->hh.tbl ? 0 : no_memory(err);
}

static bool is_special(const struct teaching *t, const struct word *word)
{
    for (const cJSON *item = t->special ? t->special->child : NULL; item; item = item->next)
        if (strlen(item->valuestring) == (size_t)word->bytes &&
            memcmp(item->valuestring, word->start, (size_t)word->bytes) == 0)
            return true;
    return false;
}

static int count_text(struct teaching *t, const char *raw, struct err *err)
{
    struct text text = {0};
    struct arena arena = {0};
    int n = 0, rc = normal_form_add(&text, t->form, raw, err);
    const struct word *words = rc == 0 ? ngrams_split(text.data ? text.data : "", text.len, &n, &arena) : NULL;
    if (rc == 0 && !words)
        rc = no_memory(err);
    for (int i = 0; i < n && rc == 0; i++)
        if (!is_special(t, &words[i]))
            rc = count_word(t, words[i].start, words[i].bytes, err);
    arena_done(&arena);
    text_done(&text);
    return rc;
}

static int read_files(struct teaching *t, struct err *err)
{
    int rc = 0;
    for (const cJSON *file = t->files->child; file && rc == 0; file = file->next)
        for (const cJSON *column = t->columns->child; column && rc == 0; column = column->next) {
            struct rows rows = {0};
            rc = check_texts_read(&rows, file->valuestring, column->valuestring, err);
            for (size_t i = 0; i < rows.count && rc == 0; i++)
                rc = count_text(t, rows.items[i].text, err);
            rows_done(&rows);
        }
    return rc;
}

/* Writing -------------------------------------------------------------------------------------------------------------
 */

static void add_added(struct text *out, const char *text, int id)
{
    text_printf(out, "%s{\"id\":%d,\"content\":", id ? "," : "", id);
    text_add_json(out, text);
    text_add(out, ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false,\"special\":true}");
}

static void add_entry(struct text *out, const char *text, int id)
{
    text_add(out, id ? "," : "");
    text_add_json(out, text);
    text_printf(out, ":%d", id);
}

static const char *token_text(const struct bpe_vocabulary *v, int first_id, int id)
{
    return v->tokens[id - first_id];
}

static void add_tokenizer(struct text *out, const struct teaching *t, const struct bpe_vocabulary *v, int first_id)
{
    int id = 0;
    text_add(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[");
    for (; id < N_FIRST; id++)
        add_added(out, first_tokens[id], id);
    for (const cJSON *item = t->special ? t->special->child : NULL; item; item = item->next)
        add_added(out, item->valuestring, id++);
    text_add(out, "],\"normalizer\":");
    text_printf(out, strcmp(t->form, "none") == 0 ? "null" : "{\"type\":\"%s\"}", t->form);
    text_add(out,
             ",\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE
             "\",\"prepend_scheme\":\"always\",\"split\":true},\"post_processor\":{\"type\":\"TemplateProcessing\","
             "\"single\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":"
             "0}}],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},{\"Sequence\":{\"id\":\"B\",\"type_id\":0}},"
             "{\"SpecialToken\":{\"id\":\"</s>\",\"type_id\":0}}],\"special_tokens\":{\"</s>\":{\"id\":\"</s>\","
             "\"ids\":[2],\"tokens\":[\"</s>\"]}}},\"decoder\":{\"type\":\"Metaspace\",\"replacement\":\"" SPACE
             "\",\"prepend_scheme\":\"always\",\"split\":true},\"model\":{\"type\":\"BPE\",\"dropout\":null,"
             "\"unk_token\":\"<unk>\",\"continuing_subword_prefix\":null,\"end_of_word_suffix\":null,"
             "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":false,\"vocab\":{");
    for (id = 0; id < N_FIRST; id++)
        add_entry(out, first_tokens[id], id);
    for (const cJSON *item = t->special ? t->special->child : NULL; item; item = item->next)
        add_entry(out, item->valuestring, id++);
    for (int i = 0; i < v->n_tokens; i++)
        add_entry(out, v->tokens[i], first_id + i);
    text_add(out, "},\"merges\":[");
    for (int i = 0; i < v->n_merges; i++) {
        text_add(out, i ? ",[" : "[");
        text_add_json(out, token_text(v, first_id, v->merges[i].left));
        text_add_char(out, ',');
        text_add_json(out, token_text(v, first_id, v->merges[i].right));
        text_add_char(out, ']');
    }
    text_add(out, "]}}\n");
}

static int learn(struct teaching *t, struct err *err)
{
    struct bpe_vocabulary vocabulary;
    struct text out = {0};
    size_t n = 0, n_words = HASH_COUNT(t->words);
    int first_id = N_FIRST + (t->special ? cJSON_GetArraySize(t->special) : 0);
    struct bpe_word *words = arena_calloc(&t->arena, n_words + 1, sizeof(*words));
    if (!words)
        return no_memory(err);
    for (const struct counted *word = t->words; word; word = word->hh.next)
        words[n++] = (struct bpe_word){word->text, word->count};
    int rc = bpe_train(&vocabulary, words, n, first_id, (int)t->size - first_id, t->min_count, &t->arena, err);
    if (rc == 0) {
        add_tokenizer(&out, t, &vocabulary, first_id);
        rc = out.failed ? no_memory(err) : file_write_atomic(t->output, out.data, out.len, err);
    }
    text_done(&out);
    return rc;
}

/* The request ---------------------------------------------------------------------------------------------------------
 */

static int check_texts(const cJSON *list, const char *key, int least, int most, struct err *err)
{
    int n = list ? cJSON_GetArraySize(list) : 0;
    if (n < least || n > most)
        return err_set(err, ERR_USAGE, "%s: %d texts, %d to %d were expected", key, n, least, most);
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next)
        if (!cJSON_IsString(item) || !item->valuestring[0])
            return err_set(err, ERR_USAGE, "%s: texts that are not empty were expected", key);
    return 0;
}

static int read_request(struct teaching *t, FILE *in, struct err *err)
{
    t->form = "NFC";
    t->min_count = 1;
    int rc = request_read(in, &t->request, err);
    if (rc == 0)
        rc = json_get_array(t->request, "files", "request", &t->files, err);
    if (rc == 0)
        rc = check_texts(t->files, "files", 1, 1000, err);
    if (rc == 0)
        rc = json_get_array(t->request, "columns", "request", &t->columns, err);
    if (rc == 0)
        rc = check_texts(t->columns, "columns", 1, 100, err);
    if (rc == 0)
        rc = json_opt_array(t->request, "special", "request", &t->special, err);
    if (rc == 0)
        rc = check_texts(t->special, "special", 0, MAX_SPECIAL, err);
    if (rc == 0)
        rc = json_opt_string(t->request, "form", "request", &t->form, err);
    if (rc == 0 && normal_form_check(t->form, err) < 0)
        rc = err_wrap(err, "form");
    if (rc == 0)
        rc = json_get_string(t->request, "output", "request", &t->output, err);
    if (rc == 0)
        rc = json_get_int64(t->request, "size", "request", &t->size, err);
    if (rc == 0)
        rc = json_opt_int64(t->request, "min_count", "request", &t->min_count, err);
    int first_id = N_FIRST + (t->special ? cJSON_GetArraySize(t->special) : 0);
    if (rc == 0 && (t->size <= first_id || t->size > MAX_SIZE))
        rc = err_set(err, ERR_USAGE, "size: %lld, %d to %d was expected", (long long)t->size, first_id + 1, MAX_SIZE);
    if (rc == 0 && t->min_count < 1)
        rc = err_set(err, ERR_USAGE, "min_count: %lld is below 1", (long long)t->min_count);
    return rc;
}

int vocabulary_command(FILE *in, struct err *err)
{
    struct teaching t = {0};
    int rc = read_request(&t, in, err);
    if (rc == 0)
        rc = read_files(&t, err);
    if (rc == 0)
        rc = learn(&t, err);
    HASH_CLEAR(hh, t.words);
    json_free(t.request);
    arena_done(&t.arena);
    return rc;
}
