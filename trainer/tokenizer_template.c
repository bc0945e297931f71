/* Post-processors: the special tokens around one text or a pair. */
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

static int add_piece(struct template *template, struct piece piece, struct err *err)
{
    if (template->n == TOKENIZER_MAX_TEMPLATE)
        return err_set(err, ERR_UNSUPPORTED, "post_processor: more than %d pieces", TOKENIZER_MAX_TEMPLATE);
    template->n_special += !piece.is_text;
    template->pieces[template->n++] = piece;
    return 0;
}

static int read_piece(const struct tokenizer *t, const cJSON *item, struct template *template, struct err *err)
{
    const cJSON *special = json_get(item, "SpecialToken"), *sequence = json_get(item, "Sequence");
    const cJSON *body = special ? special : sequence;
    const char *id;
    int64_t type = 0;
    struct piece piece = {.is_text = special == NULL};
    if (!body)
        return err_set(err, ERR_FORMAT, "post_processor: a piece is neither SpecialToken nor Sequence");
    int rc = json_get_string(body, "id", "post_processor", &id, err);
    if (rc == 0)
        rc = json_opt_int64(body, "type_id", "post_processor", &type, err);
    if (rc < 0)
        return rc;
    if (type < 0 || type > 1)
        return err_set(err, ERR_UNSUPPORTED, "post_processor: type_id %lld, 0 or 1 was expected", (long long)type);
    piece.type = (uint8_t)type;
    if (special)
        rc = vocabulary_id(t, id, "post_processor", &piece.id, err);
    else if (strcmp(id, "A") == 0 || strcmp(id, "B") == 0)
        piece.text = id[0] - 'A';
    else
        rc = err_set(err, ERR_FORMAT, "post_processor: sequence '%s', A or B was expected", id);
    return rc < 0 ? rc : add_piece(template, piece, err);
}

static int read_template(const struct tokenizer *t, const cJSON *json, const char *key, struct template *template,
                         struct err *err)
{
    const cJSON *list;
    int rc = json_get_array(json, key, "post_processor", &list, err);
    template->n = template->n_special = 0;
    for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
        rc = read_piece(t, item, template, err);
    return rc;
}

/* ["[SEP]", 102] of BertProcessing and RobertaProcessing. */
static int read_named(const cJSON *json, const char *key, int32_t *id, struct err *err)
{
    const cJSON *list;
    int rc = json_get_array(json, key, "post_processor", &list, err);
    return rc < 0 ? rc : vocabulary_read_id(list->child ? list->child->next : NULL, "post_processor", id, err);
}

static int read_fixed(struct tokenizer *t, const cJSON *json, bool is_roberta, struct err *err)
{
    int32_t cls, sep;
    int rc = read_named(json, "cls", &cls, err);
    if (rc == 0)
        rc = read_named(json, "sep", &sep, err);
    if (rc < 0)
        return rc;
    uint8_t second = is_roberta ? 0 : 1;
    const struct piece first = {.id = cls}, a = {.is_text = true}, end = {.id = sep};
    const struct piece b = {.is_text = true, .text = 1, .type = second}, last = {.id = sep, .type = second};
    t->single = (struct template){.pieces = {first, a, end}, .n = 3, .n_special = 2};
    if (is_roberta)
        t->pair = (struct template){.pieces = {first, a, end, end, b, last}, .n = 6, .n_special = 4};
    else
        t->pair = (struct template){.pieces = {first, a, end, b, last}, .n = 5, .n_special = 3};
    return 0;
}

static int read_processor(struct tokenizer *t, const cJSON *json, int depth, struct err *err)
{
    const char *type;
    const cJSON *list;
    if (!cJSON_IsObject(json))
        return err_set(err, ERR_FORMAT, "post_processor: %s was found, an object was expected", json_type_name(json));
    int rc = json_get_string(json, "type", "post_processor", &type, err);
    if (rc < 0)
        return rc;
    if (strcmp(type, "ByteLevel") == 0) /* moves offsets, which nobody asks for here */
        return 0;
    if (strcmp(type, "Sequence") == 0 && depth < TOKENIZER_MAX_DEPTH) {
        rc = json_get_array(json, "processors", "post_processor", &list, err);
        for (const cJSON *item = rc == 0 ? list->child : NULL; item && rc == 0; item = item->next)
            rc = read_processor(t, item, depth + 1, err);
        return rc;
    }
    if (t->single.n_special + t->pair.n_special > 0)
        return err_set(err, ERR_UNSUPPORTED, "post_processor: '%s' behind one that adds tokens is not built in", type);
    if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        return read_fixed(t, json, type[0] == 'R', err);
    if (strcmp(type, "TemplateProcessing") != 0)
        return err_set(err, ERR_UNSUPPORTED,
                       "post_processor: '%s' is not built in (TemplateProcessing, BertProcessing, RobertaProcessing, "
                       "ByteLevel and Sequence are)",
                       type);
    rc = read_template(t, json, "single", &t->single, err);
    return rc < 0 ? rc : read_template(t, json, "pair", &t->pair, err);
}

int template_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const struct piece a = {.is_text = true}, b = {.is_text = true, .text = 1, .type = 1};
    t->single = (struct template){.pieces = {a}, .n = 1};
    t->pair = (struct template){.pieces = {a, b}, .n = 2};
    return !json || cJSON_IsNull(json) ? 0 : read_processor(t, json, 0, err);
}
