/* One parameter of a Weights & Biases sweep file: its distribution in our words. */
#ifndef ORCHESTRATOR_WANDB_PARAMETER_H
#define ORCHESTRATOR_WANDB_PARAMETER_H

#include "common/json.h"
#include "orchestrator/problems.h"

struct wandb_reader {
    struct problems problems;
    struct text *remarks; /* what has no exact counterpart, a line each */
    cJSON *settings, *parameters;
};

/* Adds the parameter `item` under `name` to the settings (a constant) or the parameters; its mistakes go into the
 * problems. ERR_NOMEM. */
int wandb_read_parameter(struct wandb_reader *reader, const char *name, const cJSON *item, struct err *err) MUST_CHECK;
/* The number `key` of the object at `where` into *out, which keeps its value when it is absent; false when it is absent
 * though required, or no number: a problem. */
bool wandb_number(struct wandb_reader *reader, const cJSON *object, const char *where, const char *key,
                  bool is_required, double *out);
/* Members of the object that are not among `keys` (NULL-terminated) are problems, with the nearest that is. */
void wandb_check_keys(struct wandb_reader *reader, const cJSON *object, const char *where, const char *const *keys);

#endif
