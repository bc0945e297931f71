/* AdapterHub's files: adapter.safetensors, adapter_config.json, and the head beside them.   Pfeiffer et al. 2020,
 * arXiv:2007.07779; adapters 1.3 */
#ifndef TRAINER_METHODS_ADAPTERHUB_FILE_H
#define TRAINER_METHODS_ADAPTERHUB_FILE_H

#include "trainer/methods/method_file.h"

/* `config` is the JSON object of the adapter's configuration (taken). */
int adapterhub_save(const struct model *model, const char *method, struct text *config, const char *folder,
                    struct err *err) MUST_CHECK;
int adapterhub_load(struct model *model, const char *method, const char *folder, struct err *err) MUST_CHECK;
/* ,"leave_out":[…]: the layers that the settings leave out. */
void adapterhub_add_leave_out(struct text *json, const struct model *model, const cJSON *settings);

#endif
