/* PiSSA: LoRA that starts from the weight's principal singular values, W = U S Vᵀ,
 *     A = √(S_r/s) V_rᵀ, B = U_r √(S_r/s), and the base weight keeps the rest, W − s B A.
 * Meng et al. 2024, arXiv:2404.02948, 3
 *
 * Saved as a LoRA of rank 2r on the untouched weight, which PEFT reads without converting anything:
 * s (B A − B₀ A₀) = s [B, −B₀] [A; A₀]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/gemm.h"
#include "trainer/methods/lora.h"
#include "trainer/safetensors.h"
#include "trainer/svd.h"

struct pissa {
    struct lora lora;
    struct param *weight;
    const real *original; /* the base weight as it was */
    real *a0, *b0;        /* what was taken out of it */
    struct pissa *next;
};

struct pissa_sites {
    struct pissa *first;
    bool has_start; /* a0 and b0 came with a saved adapter */
};

static struct value *pissa_output(void *state, struct pass *pass, struct value *x, struct value *y)
{
    const struct lora *lora = &((const struct pissa *)state)->lora;
    return op_add_scaled(pass->tape, y, lora_update(lora, pass, x), lora->scaling);
}

/* The base weight without s B₀ A₀. */
static void take_out(struct pissa *pissa)
{
    const struct lora *lora = &pissa->lora;
    const struct site *site = lora->site;
    int in = site->in, out = site->out, r = lora->rank;
    real scale = (real)-lora->scaling;
    memcpy(pissa->weight->value.data, pissa->original, (size_t)in * (size_t)out * sizeof(real));
    if (site->is_transposed)
        gemm(true, true, in, out, r, scale, pissa->a0, in, pissa->b0, r, 1, pissa->weight->value.data, out);
    else
        gemm(false, false, out, in, r, scale, pissa->b0, r, pissa->a0, in, 1, pissa->weight->value.data, in);
}

/* The principal part of the weight into A and B. A row-major (out, in) matrix is its own transpose in column-major. */
static int factor(struct pissa *pissa, struct err *err)
{
    const struct lora *lora = &pissa->lora;
    const struct site *site = lora->site;
    bool is_out_first = site->is_transposed; /* column-major rows are outputs */
    int m = is_out_first ? site->out : site->in, n = is_out_first ? site->in : site->out, k = m < n ? m : n;
    size_t size = (size_t)m * (size_t)n;
    real *work = malloc((size + (size_t)k * (size_t)(m + n + 1)) * sizeof(*work));
    if (!work)
        return err_set(err, ERR_NOMEM, "no memory for the singular values of '%s'", site->name);
    real *u = work + size, *v = u + (size_t)m * (size_t)k, *s = v + (size_t)k * (size_t)n;
    memcpy(work, pissa->original, size * sizeof(*work));
    int rc = svd(m, n, work, s, u, v, err);
    for (int j = 0; rc == 0 && j < lora->rank; j++) {
        real root = (real)sqrt((double)s[j] / lora->scaling);
        for (int i = 0; i < site->in; i++)
            lora->a->value.data[(size_t)j * (size_t)site->in + (size_t)i] =
                root * (is_out_first ? v[(size_t)i * (size_t)k + (size_t)j] : u[(size_t)j * (size_t)m + (size_t)i]);
        for (int i = 0; i < site->out; i++)
            lora->b->value.data[(size_t)i * (size_t)lora->rank + (size_t)j] =
                root * (is_out_first ? u[(size_t)j * (size_t)m + (size_t)i] : v[(size_t)i * (size_t)k + (size_t)j]);
    }
    free(work);
    return rc;
}

/* From A and B as they are now. */
static void start_from(struct pissa *pissa)
{
    memcpy(pissa->a0, pissa->lora.a->value.data, param_size(pissa->lora.a) * sizeof(real));
    memcpy(pissa->b0, pissa->lora.b->value.data, param_size(pissa->lora.b) * sizeof(real));
    take_out(pissa);
}

static int own_weight(struct model *model, struct pissa *pissa, struct err *err)
{
    struct param *weight = pissa->weight = pissa->lora.site->weight;
    struct arena *arena = model->params.arena;
    int rc = param_expand(&model->params, weight, err);
    if (rc < 0)
        return rc;
    real *own = arena_alloc(arena, param_size(weight) * sizeof(real));
    pissa->a0 = arena_alloc(arena, param_size(pissa->lora.a) * sizeof(real));
    pissa->b0 = arena_alloc(arena, param_size(pissa->lora.b) * sizeof(real));
    if (!own || !pissa->a0 || !pissa->b0)
        return err_set(err, ERR_NOMEM, "no memory for PiSSA at '%s'", pissa->lora.site->name);
    pissa->original = weight->value.data;
    weight->value.data = own;
    weight->is_mapped = false;
    return 0;
}

static int attach_site(struct model *model, struct site *site, const cJSON *settings, struct pissa_sites *sites,
                       struct err *err)
{
    struct pissa *pissa = arena_calloc(model->params.arena, 1, sizeof(*pissa));
    if (!pissa)
        return err_set(err, ERR_NOMEM, "no memory for PiSSA at '%s'", site->name);
    if (site->weight->is_trained)
        return err_set(err, ERR_UNSUPPORTED, "PiSSA at '%s': another method trains its weight", site->name);
    int rc = lora_add(model, &pissa->lora, site, settings, "pissa", ".weight", err);
    if (rc == 0 && pissa->lora.rank > (site->in < site->out ? site->in : site->out))
        rc = err_set(err, ERR_UNSUPPORTED, "settings.rank: %d, but '%s' is %d x %d", pissa->lora.rank, site->name,
                     site->out, site->in);
    if (rc == 0)
        rc = own_weight(model, pissa, err);
    if (rc == 0)
        rc = factor(pissa, err);
    if (rc < 0)
        return rc;
    start_from(pissa);
    pissa->next = sites->first;
    sites->first = pissa;
    const struct hook hook = {.output = pissa_output, .state = pissa};
    return site_hook(site, model->params.arena, &hook, err);
}

static int pissa_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct pissa_sites *sites = arena_calloc(model->params.arena, 1, sizeof(*sites));
    int rc = sites ? method_keep(model, &method_pissa, sites, err) : err_set(err, ERR_NOMEM, "no memory for PiSSA");
    (void)seed;
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (lora_wants(model, settings, model->sites[i]))
            rc = attach_site(model, model->sites[i], settings, sites, err);
    return rc;
}

static int pissa_loaded(struct model *model, const cJSON *settings, struct err *err)
{
    struct pissa_sites *sites = method_kept(model, &method_pissa);
    (void)settings;
    (void)err;
    for (struct pissa *pissa = sites->first; pissa; pissa = pissa->next)
        if (sites->has_start)
            take_out(pissa);
        else
            start_from(pissa);
    return 0;
}

/* Files ------------------------------------------------------------------------------------------------------------ */

/* [A; A₀] as (2r, in) and [B, −B₀] as (out, 2r). */
static int add_pair(const struct pissa *pissa, struct arena *arena, struct tensor_source *tensors)
{
    const struct lora *lora = &pissa->lora;
    int in = lora->site->in, out = lora->site->out, r = lora->rank;
    real *a = arena_alloc(arena, 2 * param_size(lora->a) * sizeof(real));
    real *b = arena_alloc(arena, 2 * param_size(lora->b) * sizeof(real));
    int64_t *shapes = arena_alloc(arena, 4 * sizeof(*shapes));
    if (!a || !b || !shapes)
        return -1;
    memcpy(shapes, (const int64_t[]){2 * r, in, out, 2 * r}, 4 * sizeof(*shapes));
    memcpy(a, lora->a->value.data, param_size(lora->a) * sizeof(real));
    memcpy(a + param_size(lora->a), pissa->a0, param_size(lora->a) * sizeof(real));
    for (int i = 0; i < out; i++)
        for (int k = 0; k < r; k++) {
            b[(size_t)i * 2 * (size_t)r + (size_t)k] = lora->b->value.data[(size_t)i * (size_t)r + (size_t)k];
            b[(size_t)i * 2 * (size_t)r + (size_t)(r + k)] = -pissa->b0[(size_t)i * (size_t)r + (size_t)k];
        }
    tensors[0] = (struct tensor_source){arena_printf(arena, "base_model.model.%s", lora->a->name), 2, shapes, a};
    tensors[1] = (struct tensor_source){arena_printf(arena, "base_model.model.%s", lora->b->name), 2, shapes + 2, b};
    return tensors[0].name && tensors[1].name ? 0 : -1;
}

static int write_tensors(const struct model *model, const char *path, struct err *err)
{
    const struct pissa_sites *sites = method_kept(model, &method_pissa);
    struct arena arena = {0};
    struct tensor_source *tensors = arena_calloc(&arena, 2 * model->params.count, sizeof(*tensors));
    size_t n = 0;
    int rc = tensors ? 0 : -1;
    for (const struct pissa *pissa = sites->first; pissa && rc == 0; pissa = pissa->next, n += 2)
        rc = add_pair(pissa, &arena, &tensors[n]);
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        const struct param *param = model->params.items[i];
        if (param->origin == PARAM_HEAD && param->is_trained)
            tensors[n++] = (struct tensor_source){arena_printf(&arena, "base_model.model.%s", param->name),
                                                  param->n_dims, param->shape, param->value.data};
    }
    rc = rc < 0 ? err_set(err, ERR_NOMEM, "no memory to save PiSSA") : safetensors_write(path, tensors, n, err);
    arena_done(&arena);
    return rc;
}

/* The settings of the LoRA that is saved: twice the ranks, and alphas that leave the scaling as it is. */
static cJSON *doubled(const cJSON *settings)
{
    static const char *const names[] = {"rank", "alpha", "rank_pattern", "alpha_pattern"};
    double alpha = setting_flag(settings, "rank_stabilized") ? sqrt(2) : 2;
    cJSON *out = cJSON_Duplicate(settings, true);
    for (int i = 0; out && i < 4; i++) {
        cJSON *item = cJSON_GetObjectItem(out, names[i]);
        double factor = i % 2 ? alpha : 2;
        if (cJSON_IsNumber(item))
            cJSON_SetNumberValue(item, item->valuedouble * factor);
        for (cJSON *member = cJSON_IsObject(item) ? item->child : NULL; member; member = member->next)
            cJSON_SetNumberValue(member, member->valuedouble * factor);
    }
    return out;
}

static int pissa_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    char *path = file_join(folder, "adapter_model.safetensors");
    cJSON *twice = doubled(settings);
    int rc = path && twice ? write_tensors(model, path, err) : err_set(err, ERR_NOMEM, "no memory to save PiSSA");
    if (rc == 0)
        rc = lora_save_config(model, twice, "\"peft_type\":\"LORA\",", folder, err);
    cJSON_Delete(twice);
    free(path);
    return rc;
}

/* One half of a saved tensor: rows (of A) or columns (of B) from `first` on. */
static int read_half(const struct safetensors *file, const struct param *param, bool is_b, int half, real *out,
                     struct err *err)
{
    char key[600];
    snprintf(key, sizeof(key), "base_model.model.%s", param->name);
    const struct tensor *tensor = safetensors_find(file, key);
    int rows = param->value.rows, cols = param->value.cols;
    if (!tensor || tensor->n != 2 * param_size(param))
        return err_set(err, ERR_FORMAT, "tensor '%s' is missing or has not twice the rank", key);
    real *all = malloc(tensor->n * sizeof(*all));
    int rc = all ? safetensors_read(tensor, all, err) : err_set(err, ERR_NOMEM, "no memory for '%s'", key);
    for (int i = 0; rc == 0 && i < rows; i++)
        for (int k = 0; k < cols; k++)
            out[(size_t)i * (size_t)cols + (size_t)k] =
                is_b ? (half ? -1 : 1) * all[(size_t)i * 2 * (size_t)cols + (size_t)(half * cols + k)]
                     : all[(size_t)(half * rows + i) * (size_t)cols + (size_t)k];
    free(all);
    return rc;
}

static int read_head(struct model *model, const struct safetensors *file, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; i < model->params.count && rc == 0; i++) {
        struct param *param = model->params.items[i];
        char key[600];
        snprintf(key, sizeof(key), "base_model.model.%s", param->name);
        const struct tensor *tensor = param->origin == PARAM_HEAD ? safetensors_find(file, key) : NULL;
        if (tensor && tensor->n == param_size(param))
            rc = safetensors_read(tensor, param->value.data, err);
    }
    return rc;
}

static int pissa_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct pissa_sites *sites = method_kept(model, &method_pissa);
    struct safetensors *file = NULL;
    char *path = file_join(folder, "adapter_model.safetensors");
    int rc = path ? safetensors_open(&file, path, err) : err_set(err, ERR_NOMEM, "no memory to load PiSSA");
    (void)settings;
    for (struct pissa *pissa = sites->first; pissa && rc == 0; pissa = pissa->next) {
        rc = read_half(file, pissa->lora.a, false, 0, pissa->lora.a->value.data, err);
        if (rc == 0)
            rc = read_half(file, pissa->lora.b, true, 0, pissa->lora.b->value.data, err);
        if (rc == 0)
            rc = read_half(file, pissa->lora.a, false, 1, pissa->a0, err);
        if (rc == 0)
            rc = read_half(file, pissa->lora.b, true, 1, pissa->b0, err);
    }
    if (rc == 0)
        rc = read_head(model, file, err);
    sites->has_start = rc == 0;
    safetensors_close(file);
    free(path);
    return rc;
}

const struct method_kind method_pissa = {
    .name = "pissa",
    .paper = "arXiv:2404.02948",
    .attach = pissa_attach,
    .loaded = pissa_loaded,
    .save = pissa_save,
    .load = pissa_load,
};
