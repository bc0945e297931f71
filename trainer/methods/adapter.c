/* The methods of bottleneck adapters: adapter and compacter (adapter.h), alone or on top of frozen ones (MAD-X:
 * Pfeiffer et al. 2020, arXiv:2005.00052). */
#include "trainer/methods/adapter.h"

#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/methods/adapterhub_file.h"

/* Frozen adapters below: each reads what the one before it gives. */
static int add_stack(struct model *model, const cJSON *settings, struct err *err)
{
    const cJSON *folders = json_get(settings, "stacked_on");
    const cJSON *item = cJSON_IsArray(folders) ? folders->child : folders;
    for (int i = 0; item; item = cJSON_IsArray(folders) ? item->next : NULL, i++) {
        struct adapter *list;
        int rc = adapter_add_folder(model, item->valuestring, i, settings, &list, err);
        if (rc == 0)
            rc = adapter_hook(model, list, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int attach(struct model *model, const cJSON *settings, const char *method, uint64_t seed, struct err *err)
{
    struct adapter_spec *spec = arena_calloc(model->params.arena, 1, sizeof(*spec));
    struct adapter *list;
    if (!spec)
        return err_set(err, ERR_NOMEM, "no memory for adapters");
    adapter_spec_of_settings(settings, method, spec);
    int rc = add_stack(model, settings, err);
    if (rc == 0)
        rc = adapter_add(model, spec, settings, seed, &list, err);
    if (rc == 0)
        rc = adapter_hook(model, list, err);
    return rc == 0 && spec->inverse_reduction > 0 ? invertible_add(model, spec, seed, err) : rc;
}

static int save(const struct model *model, const cJSON *settings, const char *method, const char *folder,
                struct err *err)
{
    struct adapter_spec spec;
    struct text config = {0};
    adapter_spec_of_settings(settings, method, &spec);
    adapter_add_config(&config, model, &spec, settings);
    return adapterhub_save(model, method, &config, folder, err);
}

static int adapter_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    return attach(model, settings, "adapter", seed, err);
}

static int adapter_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return save(model, settings, "adapter", folder, err);
}

/* The configuration of a saved adapter must say what the job says: its tensors have the same shapes in every place. */
static int check_config(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    static const char *const keys[] = {"mh_adapter",    "is_parallel", "original_ln_before", "ln_before", "ln_after",
                                       "non_linearity", "scaling",     "use_gating"};
    struct adapter_spec spec = {0};
    struct text text = {0};
    cJSON *own = NULL, *saved = NULL;
    char *path = file_join(folder, "adapter_config.json");
    adapter_spec_of_settings(settings, "adapter", &spec);
    adapter_add_config(&text, model, &spec, settings);
    int rc = path && !text.failed ? json_parse(text.data, text.len, &own, err)
                                  : err_set(err, ERR_NOMEM, "no memory to load the adapter");
    if (rc == 0)
        rc = json_read_file(path, &saved, err);
    for (size_t i = 0; rc == 0 && i < sizeof(keys) / sizeof(keys[0]); i++) {
        const cJSON *was = json_get(json_get(saved, "config"), keys[i]), *is = json_get(own, keys[i]);
        if (was && is && !json_equal(was, is))
            rc = err_set(err, ERR_FORMAT, "'%s': %s is another than the job's settings make it", path, keys[i]);
    }
    json_free(own);
    json_free(saved);
    text_done(&text);
    free(path);
    return rc;
}

static int adapter_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    int rc = check_config(model, settings, folder, err);
    return rc < 0 ? rc : adapterhub_load(model, "adapter", folder, err);
}

static int compacter_attach(struct model *model, const cJSON *settings, uint64_t seed, struct err *err)
{
    return attach(model, settings, "compacter", seed, err);
}

static int compacter_save(const struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    return save(model, settings, "compacter", folder, err);
}

static int compacter_load(struct model *model, const cJSON *settings, const char *folder, struct err *err)
{
    (void)settings;
    return adapterhub_load(model, "compacter", folder, err);
}

const struct method_kind method_adapter = {
    .name = "adapter",
    .paper = "arXiv:1902.00751, arXiv:2005.00247, arXiv:2110.04366",
    .attach = adapter_attach,
    .save = adapter_save,
    .load = adapter_load,
};

const struct method_kind method_compacter = {
    .name = "compacter",
    .paper = "arXiv:2106.04647",
    .attach = compacter_attach,
    .save = compacter_save,
    .load = compacter_load,
};
