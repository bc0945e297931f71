/* Reading nightsweep.json of a kept adapter. */
#include "trainer/saved_adapter.h"

#include <stdlib.h>

#include "common/file.h"
#include "common/json.h"
#include "common/settings.h"

static int read_settings(struct saved_adapter *saved, const char *path, const char *folder, struct err *err)
{
    const cJSON *settings = NULL;
    int rc = json_get_object(saved->description, "settings", path, &settings, err);
    if (rc == 0)
        rc = settings_resolve(settings, path, &saved->settings, err);
    if (rc == 0 && !cJSON_AddStringToObject(saved->settings, "init_adapter", folder))
        rc = err_set(err, ERR_NOMEM, "no memory for settings");
    return rc;
}

static int read_labels(struct saved_adapter *saved, const char *path, struct err *err)
{
    const cJSON *list = NULL;
    struct labels *labels = &saved->labels;
    int rc = json_get_array(saved->description, "labels", path, &list, err);
    if (rc < 0)
        return rc;
    labels->names = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof(*labels->names));
    if (!labels->names)
        return err_set(err, ERR_NOMEM, "no memory for labels");
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsString(item))
            return err_set(err, ERR_FORMAT, "'%s': labels: a list of texts was expected", path);
        labels->names[labels->count++] = item->valuestring;
    }
    return 0;
}

int saved_adapter_read(struct saved_adapter *saved, const char *folder, struct err *err)
{
    char *path = file_join(folder, "nightsweep.json");
    *saved = (struct saved_adapter){0};
    int rc = path ? json_read_file(path, &saved->description, err) : err_set(err, ERR_NOMEM, "no memory for a path");
    if (rc == 0)
        rc = read_settings(saved, path, folder, err);
    if (rc == 0)
        rc = read_labels(saved, path, err);
    free(path);
    return rc;
}

void saved_adapter_done(struct saved_adapter *saved)
{
    labels_done(&saved->labels);
    json_free(saved->settings);
    json_free(saved->description);
    *saved = (struct saved_adapter){0};
}
