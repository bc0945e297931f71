/* Another vocabulary for a model. */
#include "trainer/extend_command.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/file.h"
#include "common/json.h"
#include "common/rng.h"
#include "common/table.h"
#include "trainer/gemm.h"
#include "trainer/procrustes.h"
#include "trainer/request.h"
#include "trainer/safetensors.h"
#include "trainer/tokenizer.h"

enum { MAX_FILE = 256 << 20, MAX_IDS = TOKENIZER_MAX_VOCABULARY };

struct entry {
    const char *text;
    int id;
    UT_hash_handle hh;
};

/* A folder's tokens by text and by id. */
struct vocabulary {
    cJSON *json;
    struct entry *by_text;
    const char **by_id; /* NULL: no token */
    int n;
};

struct extending {
    cJSON *request, *config;
    const char *model, *donor, *output;
    bool aligns;
    uint64_t seed;
    struct vocabulary old, new;
    struct safetensors *weights, *donor_weights;
    struct arena arena;
    int old_rows; /* vocab_size of the model's config */
    int n_kept, n_aligned, n_drawn;
    char *folder;
};

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, "no memory to extend a vocabulary");
}

/* Vocabularies --------------------------------------------------------------------------------------------------------
 */

static int add_token(struct vocabulary *v, const char *text, double id, struct arena *arena, struct err *err)
{
    struct entry *entry = NULL;
    if (!(id >= 0 && id < MAX_IDS) || id != floor(id))
        return err_set(err, ERR_FORMAT, "tokenizer.json: the id of '%.80s' is none", text);
    HASH_FIND_STR(v->by_text, text, entry);
    if (!entry) {
        entry = arena_calloc(arena, 1, sizeof(*entry));
        if (!entry)
            return no_memory(err);
        entry->text = text;
        HASH_ADD_KEYPTR(hh, v->by_text, entry->text, strlen(entry->text), entry);
        if (!entry->hh.tbl)
            return no_memory(err);
    }
    entry->id = (int)id;
    v->n = entry->id >= v->n ? entry->id + 1 : v->n;
    return 0;
}

static int read_tokens(struct vocabulary *v, struct arena *arena, struct err *err)
{
    const cJSON *list = json_get(json_get(v->json, "model"), "vocab"), *added = json_get(v->json, "added_tokens");
    int rc = 0, id = 0;
    if (!cJSON_IsObject(list) && !cJSON_IsArray(list))
        return err_set(err, ERR_UNSUPPORTED, "tokenizer.json has no model.vocab");
    for (const cJSON *item = list->child; item && rc == 0; item = item->next, id++) {
        const cJSON *piece = cJSON_IsArray(item) ? item->child : NULL; /* Unigram: [text, score] */
        if (cJSON_IsObject(list) ? !cJSON_IsNumber(item) : !cJSON_IsString(piece))
            rc = err_set(err, ERR_FORMAT, "tokenizer.json: entry %d of model.vocab is none", id + 1);
        else
            rc = cJSON_IsObject(list) ? add_token(v, item->string, item->valuedouble, arena, err)
                                      : add_token(v, piece->valuestring, id, arena, err);
    }
    for (const cJSON *item = cJSON_IsArray(added) ? added->child : NULL; item && rc == 0; item = item->next) {
        const cJSON *text = json_get(item, "content"), *number = json_get(item, "id");
        rc = cJSON_IsString(text) && cJSON_IsNumber(number)
                 ? add_token(v, text->valuestring, number->valuedouble, arena, err)
                 : err_set(err, ERR_FORMAT, "tokenizer.json: added_tokens: a content and an id were expected");
    }
    if (rc == 0 && !(v->by_id = arena_calloc(arena, (size_t)v->n + 1, sizeof(*v->by_id))))
        rc = no_memory(err);
    for (const struct entry *entry = v->by_text; entry && rc == 0; entry = entry->hh.next)
        v->by_id[entry->id] = entry->text;
    return rc;
}

static int read_vocabulary(struct vocabulary *v, const char *folder, struct arena *arena, struct err *err)
{
    char *path = file_join(folder, "tokenizer.json");
    int rc = path ? json_read_file(path, &v->json, err) : no_memory(err);
    free(path);
    if (rc == 0 && (rc = read_tokens(v, arena, err)) < 0)
        err_wrap(err, "'%s'", folder);
    return rc;
}

/* The id of a token, or −1. */
static int find_id(const struct vocabulary *v, const char *text)
{
    struct entry *entry = NULL;
    HASH_FIND_STR(v->by_text, text, entry);
    return entry ? entry->id : -1;
}

/* Rows
 * ----------------------------------------------------------------------------------------------------------------- */

static bool is_table(const struct tensor *tensor, int rows)
{
    return tensor->n_dims == 2 && tensor->shape[0] == rows;
}

static int read_matrix(struct extending *e, const struct tensor *tensor, real **out, struct err *err)
{
    *out = arena_alloc(&e->arena, (tensor->n + 1) * sizeof(**out));
    return *out ? safetensors_read(tensor, *out, err) : no_memory(err);
}

/* The donor's embedding: its first matrix with a row a token. */
static int find_donor_table(struct extending *e, const struct tensor **out, struct err *err)
{
    cJSON *config = NULL;
    char *path = file_join(e->donor, "config.json");
    int64_t rows = 0;
    int rc = path ? json_read_file(path, &config, err) : no_memory(err);
    if (rc == 0)
        rc = json_get_int64(config, "vocab_size", path, &rows, err);
    *out = NULL;
    for (size_t i = 0; rc == 0 && !*out && i < safetensors_count(e->donor_weights); i++)
        if (is_table(safetensors_at(e->donor_weights, i), (int)rows))
            *out = safetensors_at(e->donor_weights, i);
    if (rc == 0 && !*out)
        rc = err_set(err, ERR_UNSUPPORTED, "'%s' has no table of %d rows to align", e->donor, (int)rows);
    if (rc == 0 && (*out)->shape[0] < e->new.n)
        rc = err_set(err, ERR_FORMAT, "'%s': the tokenizer has %d ids, the table %d rows", e->donor, e->new.n,
                     (int)rows);
    json_free(config);
    free(path);
    return rc;
}

/* All of the donor's vectors in the model's space, (new.n, width); NULL without align. */
static int align(struct extending *e, const real *own, int width, real **out, struct err *err)
{
    const struct tensor *table = NULL;
    real *donor = NULL;
    int n = 0, rc = find_donor_table(e, &table, err);
    if (rc == 0)
        rc = read_matrix(e, table, &donor, err);
    if (rc < 0)
        return rc;
    int narrow = (int)table->shape[1];
    real *a = arena_alloc(&e->arena, ((size_t)e->new.n *(size_t)narrow + 1) * sizeof(*a));
    real *b = arena_alloc(&e->arena, ((size_t)e->new.n *(size_t)width + 1) * sizeof(*b));
    real *w = arena_alloc(&e->arena, ((size_t)width * (size_t)narrow + 1) * sizeof(*w));
    *out = arena_alloc(&e->arena, ((size_t)e->new.n *(size_t)width + 1) * sizeof(**out));
    if (!a || !b || !w || !*out)
        return no_memory(err);
    for (int id = 0; id < e->new.n; id++) {
        int known = e->new.by_id[id] ? find_id(&e->old, e->new.by_id[id]) : -1;
        if (known < 0 || known >= e->old_rows)
            continue;
        memcpy(a + (size_t)n * (size_t)narrow, donor + (size_t)id * (size_t)narrow, (size_t)narrow * sizeof(*a));
        memcpy(b + (size_t)n * (size_t)width, own + (size_t)known * (size_t)width, (size_t)width * sizeof(*b));
        n++;
    }
    if (n == 0)
        return err_set(err, ERR_USAGE, "'%s' and '%s' have no token in common to align by", e->model, e->donor);
    rc = procrustes(a, narrow, b, width, n, w, err);
    if (rc == 0)
        gemm(false, true, e->new.n, width, narrow, 1, donor, narrow, w, narrow, 0, *out, width);
    return rc;
}

/* The new table of one matrix of the model. `counts`: of the first one. */
static int make_table(struct extending *e, const struct tensor *tensor, real **out, bool counts, struct err *err)
{
    int width = (int)tensor->shape[1];
    real *own = NULL, *aligned = NULL;
    int rc = read_matrix(e, tensor, &own, err);
    if (rc == 0 && e->aligns)
        rc = align(e, own, width, &aligned, err);
    *out = arena_calloc(&e->arena, (size_t)e->new.n *(size_t)width + 1, sizeof(**out));
    if (rc == 0 && !*out)
        rc = no_memory(err);
    for (int id = 0; id < e->new.n &&rc == 0; id++) {
        int known = e->new.by_id[id] ? find_id(&e->old, e->new.by_id[id]) : -1;
        bool is_kept = known >= 0 && known < e->old_rows;
        real *row = *out + (size_t)id * (size_t)width;
        const real *from = is_kept   ? own + (size_t)known * (size_t)width
                           : aligned ? aligned + (size_t)id * (size_t)width
                                     : NULL;
        struct rng_stream stream = rng_stream(rng_make(e->seed, RNG_INIT), 0, (uint32_t)id, rng_site(tensor->name));
        for (int k = 0; k < width; k++)
            row[k] = from ? from[k] : (real)(rng_normal(&stream) / sqrt(width));
        if (counts)
            ++*(is_kept ? &e->n_kept : from ? &e->n_aligned : &e->n_drawn);
    }
    return rc;
}

/* A bias a token: (vocab) or (1, vocab). */
static bool is_bias(const struct tensor *tensor, int rows)
{
    return (tensor->n_dims == 1 && tensor->shape[0] == rows) ||
           (tensor->n_dims == 2 && tensor->shape[0] == 1 && tensor->shape[1] == rows);
}

static int make_bias(struct extending *e, const struct tensor *tensor, real **out, struct err *err)
{
    real *own = NULL;
    int rc = read_matrix(e, tensor, &own, err);
    *out = arena_calloc(&e->arena, (size_t)e->new.n + 1, sizeof(**out));
    for (int id = 0; id < e->new.n &&rc == 0 && *out; id++) {
        int known = e->new.by_id[id] ? find_id(&e->old, e->new.by_id[id]) : -1;
        if (known >= 0 && known < e->old_rows)
            (*out)[id] = own[known];
    }
    return rc == 0 && !*out ? no_memory(err) : rc;
}

static int write_weights(struct extending *e, struct err *err)
{
    size_t n = safetensors_count(e->weights);
    struct tensor_source *tensors = arena_calloc(&e->arena, n + 1, sizeof(*tensors));
    int64_t(*shapes)[SAFETENSORS_MAX_DIMS] = arena_calloc(&e->arena, n + 1, sizeof(*shapes));
    char *path = file_join(e->folder, "model.safetensors");
    bool is_first = true;
    int rc = tensors && shapes && path ? 0 : no_memory(err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        const struct tensor *tensor = safetensors_at(e->weights, i);
        real *data = NULL;
        memcpy(shapes[i], tensor->shape, sizeof(shapes[i]));
        if (is_table(tensor, e->old_rows)) {
            rc = make_table(e, tensor, &data, is_first, err);
            is_first = false;
            shapes[i][0] = e->new.n;
        } else if (is_bias(tensor, e->old_rows)) {
            rc = make_bias(e, tensor, &data, err);
            shapes[i][tensor->n_dims - 1] = e->new.n;
        } else {
            rc = read_matrix(e, tensor, &data, err);
        }
        tensors[i] = (struct tensor_source){tensor->name, tensor->n_dims, shapes[i], data};
    }
    if (rc == 0 && is_first)
        rc = err_set(err, ERR_UNSUPPORTED, "'%s' has no table of %d rows", e->model, e->old_rows);
    if (rc == 0)
        rc = safetensors_write(path, tensors, n, err);
    free(path);
    return rc;
}

/* The folder
 * ------------------------------------------------------------------------------------------------------------ */

/* Ids follow their tokens. */
static int move_ids(const struct extending *e, cJSON *config, const char *name, struct err *err)
{
    for (cJSON *item = config->child; item; item = item->next) {
        if (!text_ends_with(item->string, "_token_id") || !cJSON_IsNumber(item))
            continue;
        int old = (int)item->valuedouble;
        const char *text = old >= 0 && old < e->old.n ? e->old.by_id[old] : NULL;
        int id = text ? find_id(&e->new, text) : -1;
        if (id < 0)
            return err_set(err, ERR_UNSUPPORTED, "%s: %s is %d ('%s'), which the new vocabulary does not have", name,
                           item->string, old, text ? text : "no token");
        cJSON_SetNumberValue(item, id);
    }
    return 0;
}

static int write_json(const struct extending *e, const cJSON *json, const char *name, struct err *err)
{
    struct text text = {0};
    char *path = file_join(e->folder, name);
    json_add(&text, json);
    text_add(&text, "\n");
    int rc = path && !text.failed ? file_write_atomic(path, text.data, text.len, err) : no_memory(err);
    text_done(&text);
    free(path);
    return rc;
}

static int write_configs(struct extending *e, struct err *err)
{
    char *path = file_join(e->model, "generation_config.json");
    cJSON *generation = NULL, *size = cJSON_CreateNumber(e->new.n);
    int rc = path && size ? move_ids(e, e->config, "config.json", err) : no_memory(err);
    if (rc == 0 && cJSON_ReplaceItemInObjectCaseSensitive(e->config, "vocab_size", size))
        size = NULL; /* the config has it */
    else if (rc == 0)
        rc = no_memory(err);
    if (rc == 0)
        rc = write_json(e, e->config, "config.json", err);
    if (rc == 0 && file_exists(path) && (rc = json_read_file(path, &generation, err)) == 0 &&
        (rc = move_ids(e, generation, "generation_config.json", err)) == 0)
        rc = write_json(e, generation, "generation_config.json", err);
    json_free(generation);
    cJSON_Delete(size);
    free(path);
    return rc;
}

static int copy_tokenizer(const struct extending *e, struct err *err)
{
    char *from = file_join(e->donor, "tokenizer.json"), *to = file_join(e->folder, "tokenizer.json");
    int rc = from && to ? file_copy(from, to, MAX_FILE, err) : no_memory(err);
    free(from);
    free(to);
    return rc;
}

static int write_folder(struct extending *e, struct err *err)
{
    struct text name = {0};
    text_printf(&name, "%s.tmp-extend", e->output);
    e->folder = text_take(&name);
    int rc = e->folder ? file_remove_tree(e->folder, err) : no_memory(err);
    if (rc == 0)
        rc = file_make_folders(e->folder, err);
    if (rc == 0)
        rc = copy_tokenizer(e, err);
    if (rc == 0)
        rc = write_configs(e, err);
    if (rc == 0)
        rc = write_weights(e, err);
    if (rc == 0 && rename(e->folder, e->output) < 0)
        rc = err_set_errno(err, "'%s' cannot be made", e->output);
    if (rc < 0 && e->folder && file_remove_tree(e->folder, NULL) < 0)
        rc = rc < 0 ? rc : -1;
    return rc;
}

static int read_request(struct extending *e, FILE *in, struct err *err)
{
    int64_t seed = 0, rows = 0;
    e->aligns = true;
    int rc = request_read(in, &e->request, err);
    if (rc == 0)
        rc = json_get_string(e->request, "model", "request", &e->model, err);
    if (rc == 0)
        rc = json_get_string(e->request, "vocabulary", "request", &e->donor, err);
    if (rc == 0)
        rc = json_get_string(e->request, "output", "request", &e->output, err);
    if (rc == 0)
        rc = json_opt_bool(e->request, "align", "request", &e->aligns, err);
    if (rc == 0)
        rc = json_opt_int64(e->request, "seed", "request", &seed, err);
    if (rc == 0 && file_exists(e->output))
        rc = err_set(err, ERR_USAGE, "'%s' exists already", e->output);
    e->seed = (uint64_t)seed;
    char *path = rc == 0 ? file_join(e->model, "config.json") : NULL;
    if (rc == 0)
        rc = path ? json_read_file(path, &e->config, err) : no_memory(err);
    if (rc == 0)
        rc = json_get_int64(e->config, "vocab_size", path, &rows, err);
    if (rc == 0 && (rows < 1 || rows > MAX_IDS))
        rc = err_set(err, ERR_FORMAT, "'%s': vocab_size is %lld", path, (long long)rows);
    e->old_rows = (int)rows;
    free(path);
    return rc;
}

int extend_command(FILE *in, FILE *out, struct err *err)
{
    struct extending e = {0};
    int rc = read_request(&e, in, err);
    if (rc == 0)
        rc = read_vocabulary(&e.old, e.model, &e.arena, err);
    if (rc == 0)
        rc = read_vocabulary(&e.new, e.donor, &e.arena, err);
    if (rc == 0)
        rc = safetensors_open_model(&e.weights, e.model, err);
    if (rc == 0 && e.aligns)
        rc = safetensors_open_model(&e.donor_weights, e.donor, err);
    if (rc == 0)
        rc = write_folder(&e, err);
    if (rc == 0)
        fprintf(out, "{\"tokens\":%d,\"kept\":%d,\"aligned\":%d,\"drawn\":%d}\n", e.new.n, e.n_kept, e.n_aligned,
                e.n_drawn);
    HASH_CLEAR(hh, e.old.by_text);
    HASH_CLEAR(hh, e.new.by_text);
    safetensors_close(e.weights);
    safetensors_close(e.donor_weights);
    json_free(e.old.json);
    json_free(e.new.json);
    json_free(e.config);
    json_free(e.request);
    arena_done(&e.arena);
    free(e.folder);
    return rc;
}
