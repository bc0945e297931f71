/* libyaml's document becomes a cJSON tree. */
#include "orchestrator/yaml.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_document_t document;
    int n_nodes, depth;
    struct err *err;
};

static int no_memory(struct reader *reader)
{
    return err_set(reader->err, ERR_NOMEM, "no memory for a YAML file");
}

static int refuse(struct reader *reader, const yaml_node_t *node, const char *what)
{
    return err_set(reader->err, ERR_FORMAT, "line %zu, column %zu: %s", node->start_mark.line + 1,
                   node->start_mark.column + 1, what);
}

/* Scalars ---------------------------------------------------------------------------------------------------------- */

static bool is_word(const char *text, const char *const *words)
{
    for (; *words; words++)
        if (strcmp(text, *words) == 0)
            return true;
    return false;
}

/* A number as YAML writes one: 1_000, 0x1f, 0o17, .5, 1e-5. */
static bool is_number(const char *text, double *value)
{
    char plain[64], *end = NULL;
    size_t n = 0;
    const char *digits = text + (*text == '-' || *text == '+');
    bool is_negative = *text == '-';
    if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'o') && digits[2]) {
        *value = (double)strtoull(digits + 2, &end, digits[1] == 'x' ? 16 : 8);
        *value = is_negative ? -*value : *value;
        return *end == '\0' && digits[2] != '-' && digits[2] != '+';
    }
    if (!(*digits >= '0' && *digits <= '9') && !(*digits == '.' && digits[1] >= '0' && digits[1] <= '9'))
        return false;
    for (const char *c = digits; *c && n < sizeof(plain) - 1; c++)
        if (*c != '_')
            plain[n++] = *c;
    plain[n] = '\0';
    if (strlen(digits) >= sizeof(plain) || text_parse_double(plain, value, NULL) < 0)
        return false;
    *value = is_negative ? -*value : *value;
    return true;
}

static int read_scalar(struct reader *reader, const yaml_node_t *node, cJSON **out)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF", NULL};
    static const char *const infinite[] = {".inf",  ".Inf",  ".INF", "-.inf", "-.Inf", "-.INF",
                                           "+.inf", "+.Inf", ".nan", ".NaN",  ".NAN",  NULL};
    const char *text = (const char *)node->data.scalar.value;
    double number = 0;
    if (strlen(text) != node->data.scalar.length)
        return refuse(reader, node, "a text with a NUL");
    if (node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        *out = cJSON_CreateString(text);
    else if (is_word(text, infinite))
        return refuse(reader, node, "a finite number was expected");
    else if (is_word(text, nulls))
        *out = cJSON_CreateNull();
    else if (is_word(text, trues) || is_word(text, falses))
        *out = cJSON_CreateBool(is_word(text, trues));
    else if (!is_number(text, &number))
        *out = cJSON_CreateString(text);
    else if ((*out = cJSON_CreateNumber(number)))
        (*out)->valuestring = strdup(text);
    return *out ? 0 : no_memory(reader);
}

/* Collections ------------------------------------------------------------------------------------------------------ */

static int read_node(struct reader *reader, int index, cJSON **out);

static int read_sequence(struct reader *reader, const yaml_node_t *node, cJSON *list)
{
    int rc = 0;
    for (const yaml_node_item_t *item = node->data.sequence.items.start;
         item < node->data.sequence.items.top && rc == 0; item++) {
        cJSON *value = NULL;
        rc = read_node(reader, *item, &value);
        if (rc == 0)
            json_append(list, value);
    }
    return rc;
}

/* Members of another mapping that the object does not have itself. */
static int merge(struct reader *reader, const yaml_node_t *at, cJSON *object, const cJSON *other)
{
    if (cJSON_IsArray(other)) {
        int rc = 0;
        for (const cJSON *item = other->child; item && rc == 0; item = item->next)
            rc = merge(reader, at, object, item);
        return rc;
    }
    if (!cJSON_IsObject(other))
        return refuse(reader, at, "'<<' merges mappings, another value was found");
    for (const cJSON *item = other->child; item; item = item->next)
        if (!json_get(object, item->string)) {
            cJSON *copy = cJSON_Duplicate(item, true);
            if (!json_put(object, item->string, copy))
                return no_memory(reader);
        }
    return 0;
}

static int read_pair(struct reader *reader, const yaml_node_pair_t *pair, cJSON *object, cJSON **merged)
{
    const yaml_node_t *key = yaml_document_get_node(&reader->document, pair->key);
    cJSON *value = NULL;
    if (key->type != YAML_SCALAR_NODE)
        return refuse(reader, key, "a key must be a text");
    const char *name = (const char *)key->data.scalar.value;
    bool is_merge = strcmp(name, "<<") == 0 && key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (strlen(name) != key->data.scalar.length)
        return refuse(reader, key, "a key with a NUL");
    if (json_get(object, name) || (is_merge && *merged))
        return refuse(reader, key, "the key stands in a mapping twice");
    int rc = read_node(reader, pair->value, &value);
    if (rc < 0)
        return rc;
    if (is_merge) {
        *merged = value;
        return 0;
    }
    return json_put(object, name, value) ? 0 : no_memory(reader);
}

static int read_mapping(struct reader *reader, const yaml_node_t *node, cJSON *object)
{
    cJSON *merged = NULL;
    int rc = 0;
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start; pair < node->data.mapping.pairs.top && rc == 0;
         pair++)
        rc = read_pair(reader, pair, object, &merged);
    if (rc == 0 && merged)
        rc = merge(reader, node, object, merged);
    cJSON_Delete(merged);
    return rc;
}

static int read_node(struct reader *reader, int index, cJSON **out)
{
    const yaml_node_t *node = yaml_document_get_node(&reader->document, index);
    if (++reader->n_nodes > YAML_MAX_NODES)
        return refuse(reader, node, "too many values, aliases counted");
    if (reader->depth >= JSON_MAX_DEPTH)
        return refuse(reader, node, "too deep, or an alias of itself");
    if (node->type == YAML_SCALAR_NODE)
        return read_scalar(reader, node, out);
    bool is_list = node->type == YAML_SEQUENCE_NODE;
    cJSON *made = is_list ? cJSON_CreateArray() : cJSON_CreateObject();
    if (!made)
        return no_memory(reader);
    reader->depth++;
    int rc = is_list ? read_sequence(reader, node, made) : read_mapping(reader, node, made);
    reader->depth--;
    if (rc < 0)
        cJSON_Delete(made);
    else
        *out = made;
    return rc;
}

/* The file --------------------------------------------------------------------------------------------------------- */

static int refuse_parse(const yaml_parser_t *parser, struct err *err)
{
    const yaml_mark_t *mark = &parser->problem_mark;
    if (parser->error == YAML_MEMORY_ERROR)
        return err_set(err, ERR_NOMEM, "no memory for a YAML file");
    if (parser->error == YAML_READER_ERROR)
        return err_set(err, ERR_FORMAT, "byte %zu: %s", parser->problem_offset + 1, parser->problem);
    return err_set(err, ERR_FORMAT, "line %zu, column %zu: %s%s%s", mark->line + 1, mark->column + 1, parser->problem,
                   parser->context ? " " : "", parser->context ? parser->context : "");
}

/* Whether nothing but the end follows. */
static int check_end(yaml_parser_t *parser, struct err *err)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return refuse_parse(parser, err);
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    int rc = root ? err_set(err, ERR_FORMAT, "line %zu: a second document begins, one was expected",
                            root->start_mark.line + 1)
                  : 0;
    yaml_document_delete(&next);
    return rc;
}

int yaml_parse(const char *text, size_t n, cJSON **root, struct err *err)
{
    struct reader reader = {.err = err};
    yaml_parser_t parser;
    cJSON *made = NULL;
    if (!yaml_parser_initialize(&parser))
        return err_set(err, ERR_NOMEM, "no memory for a YAML file");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    if (!yaml_parser_load(&parser, &reader.document)) {
        int rc = refuse_parse(&parser, err);
        yaml_parser_delete(&parser);
        return rc;
    }
    int rc = yaml_document_get_root_node(&reader.document) ? read_node(&reader, 1, &made)
                                                           : err_set(err, ERR_FORMAT, "the file is empty");
    if (rc == 0)
        rc = check_end(&parser, err);
    yaml_document_delete(&reader.document);
    yaml_parser_delete(&parser);
    if (rc < 0)
        cJSON_Delete(made);
    else
        *root = made;
    return rc;
}
