/* AdapterFusion: attention over frozen adapters, o_n = a_n(u), at each of their places,
 *     q = u W_q + b_q, k_n = o_n W_k + b_k, v_n = o_n W_v;   h' = h + Σ_n softmax_n(q·k_n) v_n
 * without 1/√d; W_v starts at the identity and is held near it by an extra loss w Σ‖W_v − I‖².
 * Pfeiffer et al. 2021, arXiv:2005.00247, 3.2 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/adapter.h"
#include "trainer/methods/adapterhub_file.h"

enum { MAX_FUSED = 16 };

struct fusion {
    const struct adapter *members[MAX_FUSED];
    int n_members;
    struct param *query, *query_bias, *key, *key_bias, *value;
    double regularization;
    struct fusion *next;
};

static void add_regularization(const struct fusion *fusion, struct pass *pass)
{
    struct tape *tape = pass->tape;
    int d = fusion->value->value.rows;
    real *identity = tape_alloc(tape, "fusion", (size_t)d * (size_t)d * sizeof(real));
    if (!identity)
        return;
    memset(identity, 0, (size_t)d * (size_t)d * sizeof(real));
    for (int i = 0; i < d; i++)
        identity[(size_t)i * (size_t)d + (size_t)i] = 1;
    struct value *difference =
        op_add_scaled(tape, &fusion->value->value, tape_constant(tape, identity, d, d, NULL), -1);
    struct value *flat = op_reshape(tape, difference, 1, d * d);
    pass_add_loss(pass, op_scale(tape, op_row_dot(tape, flat, flat), fusion->regularization));
}

static struct value *fusion_sublayer(void *state, struct pass *pass, struct value *h, struct value *z)
{
    const struct fusion *fusion = state;
    struct tape *tape = pass->tape;
    struct value *u = adapter_input(fusion->members[fusion->n_members - 1], pass, h, z), *scores = NULL, *sum = h;
    struct value *query = op_linear(tape, u, &fusion->query->value, &fusion->query_bias->value), *outputs[MAX_FUSED];
    for (int n = 0; n < fusion->n_members; n++) {
        outputs[n] = adapter_up(fusion->members[n], pass, u);
        struct value *key = op_linear(tape, outputs[n], &fusion->key->value, &fusion->key_bias->value);
        struct value *score = op_row_dot(tape, query, key);
        scores = n ? op_beside(tape, scores, score) : score;
    }
    struct value *weights = op_softmax(tape, scores);
    for (int n = 0; n < fusion->n_members; n++) {
        struct value *value = op_linear(tape, outputs[n], &fusion->value->value, NULL);
        sum = op_add(tape, sum, op_multiply_column(tape, value, op_columns(tape, weights, n, 1)));
    }
    if (tape->is_recording && fusion->regularization > 0)
        add_regularization(fusion, pass);
    return sum;
}

/* The adapters' names with commas between them: AdapterHub's name of the fusion. */
static const char *join_names(const struct adapter *const *members, int n, struct arena *arena)
{
    const char *names = members[0]->spec->name;
    for (int i = 1; i < n && names; i++)
        names = arena_printf(arena, "%s,%s", names, members[i]->spec->name);
    return names ? names : "";
}

static int add_layer(struct model *model, struct fusion *fusion, const struct site *site, uint64_t seed,
                     struct err *err)
{
    int d = site->out, rc = 0;
    const char *names = join_names(fusion->members, fusion->n_members, model->params.arena);
    struct {
        struct param **param;
        int rows;
        const char *part;
    } const parts[] = {{&fusion->query, d, "query.weight"},
                       {&fusion->query_bias, 0, "query.bias"},
                       {&fusion->key, d, "key.weight"},
                       {&fusion->key_bias, 0, "key.bias"},
                       {&fusion->value, d, "value.weight"}};
    for (size_t i = 0; i < 5 && rc == 0; i++)
        rc = method_add(model, parts[i].param, (struct method_param){"fusion", site->layer, parts[i].rows, d, false},
                        err, "%s.adapter_fusion_layer.%s.%s", site->name, names, parts[i].part);
    if (rc < 0)
        return rc;
    method_init_normal(fusion->query, seed, 0.02);
    method_init_normal(fusion->key, seed, 0.02);
    method_init_fill(fusion->value, 1e-6);
    for (int i = 0; i < d; i++)
        fusion->value->value.data[(size_t)i * (size_t)d + (size_t)i] = 1;
    fusion->value->never_decays = true; /* its neutral value is the identity */
    return 0;
}

/* The adapters of all lists at one site. */
static int add_site(struct model *model, struct site *site, struct adapter *const *lists, int n_lists,
                    const cJSON *settings, uint64_t seed, struct err *err)
{
    struct fusion *fusion = arena_calloc(model->params.arena, 1, sizeof(*fusion));
    if (!fusion)
        return err_set(err, ERR_NOMEM, "no memory to fuse adapters at '%s'", site->name);
    for (int i = 0; i < n_lists; i++)
        for (const struct adapter *adapter = lists[i]; adapter; adapter = adapter->next)
            if (adapter->site == site)
                fusion->members[fusion->n_members++] = adapter;
    if (fusion->n_members == 0)
        return 0;
    if (fusion->members[fusion->n_members - 1]->spec->placement == PLACEMENT_PARALLEL)
        return err_set(err, ERR_UNSUPPORTED, "fusion of parallel adapters is not built in");
    fusion->regularization = setting_number(settings, "fusion_regularization", 0.01);
    int rc = add_layer(model, fusion, site, seed, err);
    const struct hook hook = {.sublayer = fusion_sublayer, .state = fusion};
    return rc < 0 ? rc : site_hook(site, model->params.arena, &hook, err);
}

static int fusion_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    struct adapter *lists[MAX_FUSED];
    const cJSON *folders = json_get(settings, "fused_adapters");
    const cJSON *item = cJSON_IsArray(folders) ? folders->child : folders;
    int n = 0, rc = 0;
    if (!item)
        return err_set(err, ERR_UNSUPPORTED, "settings.fused_adapters is missing: the folders of the adapters to fuse");
    for (; item && rc == 0; item = cJSON_IsArray(folders) ? item->next : NULL, n++)
        rc = n < MAX_FUSED ? adapter_add_folder(model, item->valuestring, n, settings, &lists[n], err)
                           : err_set(err, ERR_UNSUPPORTED, "settings.fused_adapters: more than %d", MAX_FUSED);
    for (size_t i = 0; i < model->n_sites && rc == 0; i++)
        if (model->sites[i]->kind == SITE_SUBLAYER)
            rc = add_site(model, model->sites[i], lists, n, settings, seed, err);
    return rc;
}

static int fusion_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter_fusion.safetensors"), *head = file_join(folder, "head.safetensors");
    int rc = path && head ? method_file_write(model, "fusion", "", false, path, err)
                          : err_set(err, ERR_NOMEM, "no memory to save the fusion");
    (void)settings;
    if (rc == 0)
        rc = method_file_write(model, NULL, "", true, head, err);
    free(path);
    free(head);
    text_printf(&json,
                "{\"model_type\":\"%s\",\"name\":\"nightsweep\",\"hidden_size\":%d,\"version\":\"adapters.1.3.0\","
                "\"config\":{\"key\":true,\"query\":true,\"value\":true,\"query_before_ln\":false,"
                "\"residual_before\":false,\"temperature\":false,\"value_before_softmax\":true,"
                "\"value_initialized\":true,\"regularization\":true,\"dropout_prob\":null}}",
                model->kind->name, model->hidden_size);
    if (rc < 0)
        text_done(&json);
    return rc < 0 ? rc : method_file_write_text(folder, "adapter_fusion_config.json", &json, err);
}

static int fusion_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    char *path = file_join(folder, "adapter_fusion.safetensors"), *head = file_join(folder, "head.safetensors");
    int rc = path && head ? method_file_read(model, "fusion", path, err)
                          : err_set(err, ERR_NOMEM, "no memory to load the fusion");
    (void)settings;
    if (rc == 0 && file_exists(head))
        rc = method_file_read(model, NULL, head, err);
    free(path);
    free(head);
    return rc;
}

const struct method_kind method_fusion = {
    .name = "fusion",
    .spans_layers = true,
    .paper = "arXiv:2005.00247",
    .attach = fusion_attach,
    .save = fusion_save,
    .load = fusion_load,
};
