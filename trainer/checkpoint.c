/* Checkpoints: everything training needs to go on, bit for bit.
 *
 *     "NSCHKPT1" | u64 header length | header (JSON) | data | SHA-256 of all before
 *
 * Data, for every trained tensor in the order of parameters: values, first moment, second moment (AdamW), best values;
 * for every tensor of a method's state: its values. */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/crash.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/trial.h"

static const char magic[8] = {'N', 'S', 'C', 'H', 'K', 'P', 'T', '1'};

enum { CHECKPOINT_FORMAT = 1, DIGEST_BYTES = 32 };

static void add_fingerprint(struct text *json, const struct fingerprint *f)
{
    text_add(json, "{\"blas_version\":");
    text_add_json(json, f->blas_version);
    text_add(json, ",\"blas_core\":");
    text_add_json(json, f->blas_core);
    text_add(json, ",\"kernel_level\":");
    text_add_json(json, f->kernel_level);
    text_add(json, ",\"compute\":");
    text_add_json(json, f->compute);
    text_add(json, "}");
}

static void add_header(struct text *json, const struct trial *trial)
{
    const struct progress *p = &trial->progress;
    text_printf(json, "{\"format\":%d,\"identity\":", CHECKPOINT_FORMAT);
    text_add_json(json, trial->job->identity);
    text_add(json, ",\"fingerprint\":");
    add_fingerprint(json, &trial->fingerprint);
    text_printf(json, ",\"step\":%lld,\"best_step\":%lld,\"bad_evaluations\":%lld,\"is_stopped_early\":%s",
                (long long)p->step, (long long)p->best_step, (long long)p->bad_evaluations,
                p->is_stopped_early ? "true" : "false");
    text_add(json, ",\"best_value\":");
    text_add_double(json, p->best_value);
    text_add(json, ",\"summed_tokens\":");
    text_add_double(json, p->summed_tokens);
    text_printf(json, ",\"optimizer_steps\":%u,\"trained_parameters\":%zu}", trial->optimizer.steps,
                params_count_trained(&trial->model.params));
}

/* The blocks of a trained tensor that a checkpoint holds. */
static int blocks_of(const struct trial *trial, size_t index, real *blocks[4])
{
    struct param *param = trial->model.params.items[index];
    int n = 0;
    if (param->is_trained || param->is_state)
        blocks[n++] = param->value.data;
    if (!param->is_trained)
        return n;
    blocks[n++] = param->moment1;
    if (param->moment2)
        blocks[n++] = param->moment2;
    if (trial->progress.best_step >= 0)
        blocks[n++] = trial->best[index];
    return n;
}

static void send(struct trial *trial, const char *path, size_t bytes, const char *hash)
{
    struct text *line = records_begin(trial->records, "checkpoint");
    records_add_int(line, "step", trial->progress.step);
    records_add_text(line, "path", path);
    records_add_int(line, "bytes", (int64_t)bytes);
    records_add_text(line, "sha256", hash);
    records_send(trial->records);
}

/* A file that is hashed as it is written. */
struct hashed_file {
    struct file_write file;
    EVP_MD_CTX *context;
    size_t bytes;
};

static int add(struct hashed_file *out, const void *data, size_t n, struct err *err)
{
    if (EVP_DigestUpdate(out->context, data, n) != 1)
        return err_set(err, ERR_INTERNAL, "the checkpoint cannot be hashed");
    out->bytes += n;
    return file_write_add(&out->file, data, n, err);
}

static int add_all(struct hashed_file *out, const struct trial *trial, struct err *err)
{
    struct text header = {0};
    unsigned char length[8];
    add_header(&header, trial);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.len >> (8 * i) & 255);
    int rc =
        header.failed ? err_set(err, ERR_NOMEM, "no memory for a checkpoint") : add(out, magic, sizeof(magic), err);
    if (rc == 0)
        rc = add(out, length, sizeof(length), err);
    if (rc == 0)
        rc = add(out, header.data, header.len, err);
    for (size_t i = 0; i < trial->model.params.count; i++) {
        real *blocks[4];
        int n = blocks_of(trial, i, blocks);
        for (int b = 0; b < n && rc == 0; b++)
            rc = add(out, blocks[b], param_size(trial->model.params.items[i]) * sizeof(real), err);
    }
    text_done(&header);
    return rc;
}

static int digest_so_far(const struct hashed_file *out, unsigned char digest[EVP_MAX_MD_SIZE], struct err *err)
{
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    bool is_made = copy && EVP_MD_CTX_copy_ex(copy, out->context) == 1 && EVP_DigestFinal_ex(copy, digest, NULL) == 1;
    EVP_MD_CTX_free(copy);
    return is_made ? 0 : err_set(err, ERR_INTERNAL, "the checkpoint cannot be hashed");
}

int checkpoint_write(struct trial *trial, struct err *err)
{
    struct hashed_file out = {.context = EVP_MD_CTX_new()};
    char name[64], hash[HASH_HEX_SIZE];
    unsigned char digest[EVP_MAX_MD_SIZE];
    snprintf(name, sizeof(name), "%lld-%lld.checkpoint", (long long)trial->job->attempt,
             (long long)trial->progress.step);
    char *path = file_join(trial->job->output, name);
    int rc = path && out.context ? 0 : err_set(err, ERR_NOMEM, "no memory for a checkpoint");
    if (rc == 0 && EVP_DigestInit_ex(out.context, EVP_sha256(), NULL) != 1)
        rc = err_set(err, ERR_INTERNAL, "the checkpoint cannot be hashed");
    if (rc == 0)
        rc = file_write_begin(&out.file, path, err);
    if (rc == 0)
        rc = add_all(&out, trial, err);
    if (rc == 0)
        rc = digest_so_far(&out, digest, err);
    if (rc == 0)
        rc = add(&out, digest, DIGEST_BYTES, err);
    if (rc == 0)
        rc = digest_so_far(&out, digest, err);
    if (rc == 0)
        rc = file_write_commit(&out.file, err);
    if (rc == 0) {
        hash_hex(digest, hash);
        crash_at(CRASH_CHECKPOINT_WRITTEN);
        send(trial, path, out.bytes, hash);
        crash_at(CRASH_CHECKPOINT_SENT);
    }
    file_write_abandon(&out.file);
    EVP_MD_CTX_free(out.context);
    free(path);
    return rc;
}

static int read_progress(struct trial *trial, const cJSON *header, struct err *err)
{
    struct progress p = {0};
    int64_t steps, format, trained;
    const char *identity;
    int rc = json_get_int64(header, "format", "checkpoint", &format, err);
    if (rc == 0 && format != CHECKPOINT_FORMAT)
        rc = err_set(err, ERR_UNSUPPORTED, "format %lld, this program reads %d", (long long)format, CHECKPOINT_FORMAT);
    if (rc == 0)
        rc = json_get_string(header, "identity", "checkpoint", &identity, err);
    const char *parent = trial->job->parent;
    if (rc == 0 && strcmp(identity, trial->job->identity) != 0 && !(parent && text_equal(identity, parent)))
        rc = err_set(err, ERR_FORMAT, "it belongs to another trial (identity %.12s…)", identity);
    if (rc == 0)
        rc = json_get_int64(header, "step", "checkpoint", &p.step, err);
    if (rc == 0)
        rc = json_get_int64(header, "best_step", "checkpoint", &p.best_step, err);
    if (rc == 0)
        rc = json_get_int64(header, "bad_evaluations", "checkpoint", &p.bad_evaluations, err);
    if (rc == 0)
        rc = json_get_bool(header, "is_stopped_early", "checkpoint", &p.is_stopped_early, err);
    if (rc == 0)
        rc = json_get_double(header, "best_value", "checkpoint", &p.best_value, err);
    if (rc == 0)
        rc = json_get_double(header, "summed_tokens", "checkpoint", &p.summed_tokens, err);
    if (rc == 0)
        rc = json_get_int64(header, "optimizer_steps", "checkpoint", &steps, err);
    if (rc == 0)
        rc = json_get_int64(header, "trained_parameters", "checkpoint", &trained, err);
    if (rc == 0 && (size_t)trained != params_count_trained(&trial->model.params))
        rc = err_set(err, ERR_FORMAT, "%lld trained parameters, this trial has %zu", (long long)trained,
                     params_count_trained(&trial->model.params));
    if (rc < 0)
        return rc;
    trial->progress = p;
    trial->optimizer.steps = (uint32_t)steps;
    return 0;
}

static int read_tensors(struct trial *trial, const unsigned char *data, size_t n, struct err *err)
{
    size_t at = 0;
    for (size_t i = 0; i < trial->model.params.count; i++) {
        real *blocks[4];
        size_t bytes = param_size(trial->model.params.items[i]) * sizeof(real);
        int n_blocks = blocks_of(trial, i, blocks);
        for (int b = 0; b < n_blocks; b++, at += bytes) {
            if (bytes > n - at)
                return err_set(err, ERR_FORMAT, "it ends inside '%s'", trial->model.params.items[i]->name);
            memcpy(blocks[b], data + at, bytes);
        }
    }
    return at == n ? 0 : err_set(err, ERR_FORMAT, "%zu bytes too many", n - at);
}

static bool equals_fingerprint(const struct trial *trial, const cJSON *header)
{
    struct text ours = {0}, theirs = {0};
    const cJSON *found = json_get(header, "fingerprint");
    add_fingerprint(&ours, &trial->fingerprint);
    if (found)
        json_add(&theirs, found);
    bool is_equal = found && !ours.failed && !theirs.failed && strcmp(ours.data, theirs.data) == 0;
    text_done(&ours);
    text_done(&theirs);
    return is_equal;
}

static int read_map(struct trial *trial, const struct file_map *map, bool *bit_exact, struct err *err)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    uint64_t length = 0;
    cJSON *header = NULL;
    if (map->len < sizeof(magic) + 8 + DIGEST_BYTES || memcmp(map->data, magic, sizeof(magic)) != 0)
        return err_set(err, ERR_FORMAT, "it is no checkpoint");
    size_t n = map->len - DIGEST_BYTES;
    if (EVP_Digest(map->data, n, digest, NULL, EVP_sha256(), NULL) != 1 ||
        memcmp(digest, map->data + n, DIGEST_BYTES) != 0)
        return err_set(err, ERR_FORMAT, "its checksum is wrong: the file is damaged");
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)map->data[sizeof(magic) + i] << (8 * i);
    if (length > n - sizeof(magic) - 8)
        return err_set(err, ERR_FORMAT, "its header is longer than the file");
    const unsigned char *start = map->data + sizeof(magic) + 8;
    int rc = json_parse((const char *)start, (size_t)length, &header, err);
    if (rc == 0)
        rc = read_progress(trial, header, err);
    if (rc == 0)
        rc = read_tensors(trial, start + length, n - sizeof(magic) - 8 - (size_t)length, err);
    if (rc == 0) {
        optimizer_mark_rows(&trial->model.params);
        *bit_exact = equals_fingerprint(trial, header);
    }
    json_free(header);
    return rc;
}

int checkpoint_read(struct trial *trial, const char *path, bool *bit_exact, struct err *err)
{
    struct file_map map = {0};
    int rc = file_map_open(&map, path, err);
    if (rc == 0)
        rc = read_map(trial, &map, bit_exact, err);
    file_map_close(&map);
    return rc < 0 ? err_wrap(err, "checkpoint '%s'", path) : 0;
}
