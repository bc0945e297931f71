/* Writing and reading AdapterHub's folders. */
#include "trainer/methods/adapterhub_file.h"

#include <stdlib.h>

#include "common/file.h"

void adapterhub_add_leave_out(struct text *json, const struct model *model, const cJSON *settings)
{
    bool is_first = true;
    text_add(json, ",\"leave_out\":[");
    for (int layer = 0; layer < model->n_layers; layer++)
        if (!setting_has_layer(model, settings, layer)) {
            text_printf(json, "%s%d", is_first ? "" : ",", layer);
            is_first = false;
        }
    text_add(json, "]");
}

int adapterhub_save(const struct model *model, const char *method, struct text *config, const char *folder,
                    struct err *err)
{
    struct text json = {0};
    char *path = file_join(folder, "adapter.safetensors"), *head = file_join(folder, "head.safetensors");
    int rc = path && head && !config->failed ? method_file_write(model, method, "", false, path, err)
                                             : err_set(err, ERR_NOMEM, "no memory to save '%s'", method);
    if (rc == 0)
        rc = method_file_write(model, NULL, "", true, head, err);
    free(path);
    free(head);
    if (rc == 0) {
        text_printf(&json, "{\"model_type\":\"%s\",\"model_name\":\"\",\"model_class\":\"\",\"name\":\"nightsweep\",",
                    model->kind->name);
        text_printf(&json, "\"hidden_size\":%d,\"version\":\"adapters.1.3.0\",\"config\":%s}", model->hidden_size,
                    config->data);
        rc = method_file_write_text(folder, "adapter_config.json", &json, err);
    }
    text_done(config);
    return rc;
}

int adapterhub_load(struct model *model, const char *method, const char *folder, struct err *err)
{
    char *path = file_join(folder, "adapter.safetensors"), *head = file_join(folder, "head.safetensors");
    int rc = path && head ? method_file_read(model, method, path, err)
                          : err_set(err, ERR_NOMEM, "no memory to load '%s'", method);
    if (rc == 0 && file_exists(head))
        rc = method_file_read(model, NULL, head, err);
    free(path);
    free(head);
    return rc;
}
