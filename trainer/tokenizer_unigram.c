/* Unigram: the cutting of a word into pieces with the largest sum of scores (log probabilities), found by dynamic
 * programming over its end positions. A character that no piece covers is unknown and costs the lowest score − 10;
 * neighbouring unknowns are one.   Kudo 2018, arXiv:1804.10959 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "trainer/tokenizer_parts.h"

#define UNKNOWN_PENALTY 10.0

struct edge {
    uint32_t node; /* from; 0: the place is free (the root is node 1) */
    uint32_t to;
    unsigned char byte;
};

struct unigram {
    struct edge *edges; /* a trie of all pieces, its edges in one table (open addressing) */
    size_t mask, n_edges;
    uint32_t n_nodes;
    int32_t *ids; /* of the piece that ends at a node, −1: none */
    double *scores;
    double unknown_score;
    int32_t bytes[256]; /* id of <0x00> … <0xFF>, −1: none */
    bool falls_back;
};

/* Trie ------------------------------------------------------------------------------------------------------------- */

static struct edge *edge_at(const struct unigram *u, uint32_t node, unsigned char byte)
{
    uint64_t key = (uint64_t)node << 8 | byte;
    size_t at = (size_t)((key * 0x9e3779b97f4a7c15u) >> 31) & u->mask;
    while (u->edges[at].node && (u->edges[at].node != node || u->edges[at].byte != byte))
        at = (at + 1) & u->mask;
    return &u->edges[at];
}

static void insert(struct unigram *u, const char *text, size_t n, int32_t id)
{
    uint32_t node = 1;
    for (size_t i = 0; i < n; i++) {
        struct edge *edge = edge_at(u, node, (unsigned char)text[i]);
        if (!edge->node)
            *edge = (struct edge){node, ++u->n_nodes, (unsigned char)text[i]};
        node = edge->to;
    }
    u->ids[node] = id;
}

/* Reading ---------------------------------------------------------------------------------------------------------- */

static int open_trie(struct tokenizer *t, struct unigram *u, size_t n_bytes, struct err *err)
{
    size_t size = 1024;
    while (size < 2 * n_bytes)
        size *= 2;
    u->edges = arena_calloc(&t->arena, size, sizeof(*u->edges));
    u->ids = arena_alloc(&t->arena, (n_bytes + 2) * sizeof(*u->ids));
    if (!u->edges || !u->ids)
        return err_set(err, ERR_NOMEM, "no memory for the vocabulary");
    memset(u->ids, 0xff, (n_bytes + 2) * sizeof(*u->ids)); /* −1 */
    u->mask = size - 1;
    u->n_nodes = 1;
    return 0;
}

static int read_piece(struct tokenizer *t, struct unigram *u, const cJSON *item, int32_t id, struct err *err)
{
    const cJSON *text = cJSON_IsArray(item) ? item->child : NULL, *score = text ? text->next : NULL;
    if (!score || score->next || !cJSON_IsString(text) || !cJSON_IsNumber(score) || !text->valuestring[0])
        return err_set(err, ERR_FORMAT, "model.vocab: piece %d: a text and its score were expected", id);
    size_t n = strlen(text->valuestring);
    if (vocabulary_find(t, text->valuestring, n))
        return err_set(err, ERR_FORMAT, "model.vocab: piece %d: '%s' is there twice", id, text->valuestring);
    u->scores[id] = score->valuedouble;
    insert(u, text->valuestring, n, id);
    return vocabulary_add(t, text->valuestring, id, false, err);
}

static int read_pieces(struct tokenizer *t, struct unigram *u, const cJSON *list, struct err *err)
{
    size_t n = 0, bytes = 0;
    int32_t id = 0;
    for (const cJSON *item = list->child; item; item = item->next, n++)
        bytes += cJSON_IsArray(item) && cJSON_IsString(item->child) ? strlen(item->child->valuestring) + 1 : 0;
    int rc = vocabulary_reserve(t, n, bytes, err);
    u->scores = rc == 0 ? arena_calloc(&t->arena, n + 1, sizeof(*u->scores)) : NULL;
    if (rc == 0 && !u->scores)
        rc = err_set(err, ERR_NOMEM, "no memory for the vocabulary");
    if (rc == 0)
        rc = open_trie(t, u, bytes, err);
    for (const cJSON *item = list->child; item && rc == 0; item = item->next)
        rc = read_piece(t, u, item, id++, err);
    double lowest = INFINITY;
    for (int32_t i = 0; rc == 0 && i < id; i++)
        lowest = fmin(lowest, u->scores[i]);
    u->unknown_score = lowest - UNKNOWN_PENALTY;
    return rc;
}

static int read_unknown(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *given = json_get(json, "unk_id");
    if (!given || cJSON_IsNull(given))
        return err_set(err, ERR_UNSUPPORTED, "model.unk_id: a vocabulary without an unknown piece is not built in");
    int rc = vocabulary_read_id(given, "model.unk_id", &t->unknown, err);
    if (rc == 0 && t->unknown >= t->vocab_size)
        rc = err_set(err, ERR_FORMAT, "model.unk_id: %d, the vocabulary has %d pieces", t->unknown, t->vocab_size);
    return rc;
}

static int unigram_read(struct tokenizer *t, const cJSON *json, struct err *err)
{
    const cJSON *list;
    struct unigram *u = arena_calloc(&t->arena, 1, sizeof(*u));
    int rc =
        u ? json_get_array(json, "vocab", "model", &list, err) : err_set(err, ERR_NOMEM, "no memory for the tokenizer");
    if (rc == 0)
        rc = read_pieces(t, u, list, err);
    if (rc == 0)
        rc = read_unknown(t, json, err);
    if (rc == 0)
        rc = json_opt_bool(json, "byte_fallback", "model", &u->falls_back, err);
    if (rc < 0)
        return rc;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof(text), "<0x%02X>", (unsigned)byte);
        const struct token *token = vocabulary_find(t, text, 6);
        u->bytes[byte] = token ? token->id : -1;
    }
    t->model = u;
    return 0;
}

/* Encoding --------------------------------------------------------------------------------------------------------- */

/* The best cutting of what ends here. */
struct best {
    double score;
    int32_t id, start; /* of its last piece; start −1: nothing ends here */
};

static void offer(struct best *best, double score, int32_t id, size_t start)
{
    if (best->start < 0 || score > best->score)
        *best = (struct best){score, id, (int32_t)start};
}

static void find_best(const struct unigram *u, int32_t unknown, const char *word, size_t n, struct best *best)
{
    for (size_t i = 0; i <= n; i++)
        best[i] = (struct best){0, -1, -1};
    for (size_t start = 0, length; start < n; start += length) {
        bool has_single = false;
        uint32_t node = 1;
        utf8_decode(word + start, n - start, &length);
        for (size_t end = start; end < n;) {
            const struct edge *edge = edge_at(u, node, (unsigned char)word[end++]);
            if (!edge->node)
                break;
            node = edge->to;
            int32_t id = u->ids[node];
            if (id < 0)
                continue;
            offer(&best[end], u->scores[id] + best[start].score, id, start);
            has_single = has_single || end - start == length;
        }
        if (!has_single)
            offer(&best[start + length], u->unknown_score + best[start].score, unknown, start);
    }
}

/* A stretch of unknown characters: a piece after all when the whole of it is one, else its bytes, else unknown. */
static void add_unknown(const struct tokenizer *t, const struct unigram *u, const char *text, size_t n,
                        struct codes *ids)
{
    const struct token *token = vocabulary_find(t, text, n);
    bool has_bytes = !token && u->falls_back;
    for (size_t i = 0; i < n && has_bytes; i++)
        has_bytes = u->bytes[(unsigned char)text[i]] >= 0;
    for (size_t i = 0; i < n && has_bytes; i++)
        codes_add(ids, u->bytes[(unsigned char)text[i]]);
    if (!has_bytes)
        codes_add(ids, token ? token->id : t->unknown);
}

static void unigram_encode(const struct tokenizer *t, const char *word, size_t n, struct codes *ids)
{
    const struct unigram *u = t->model;
    struct best *best = workspace_memory(t->work, (n + 1) * sizeof(*best));
    if (!best)
        return;
    find_best(u, t->unknown, word, n, best);
    /* Back from the end: each place gets where its piece ends, so that the way forward is known. */
    for (size_t end = n, next = n; end > 0; next = end) {
        end = (size_t)best[end].start;
        best[end].score = (double)next;
    }
    for (size_t at = 0; at < n;) {
        size_t end = (size_t)best[at].score, start = at;
        int32_t id = best[end].id;
        while (id == t->unknown && end < n && best[(size_t)best[end].score].id == t->unknown)
            end = (size_t)best[end].score;
        if (id == t->unknown)
            add_unknown(t, u, word + start, end - start, ids);
        else
            codes_add(ids, id);
        at = end;
    }
}

const struct model_type tokenizer_unigram = {"Unigram", unigram_read, unigram_encode, true};
