/* What a trial kept: its adapter's folder, read on its own. */
#ifndef TRAINER_SAVED_ADAPTER_H
#define TRAINER_SAVED_ADAPTER_H

#include <cjson/cJSON.h>

#include "trainer/dataset.h"

struct saved_adapter {
    cJSON *description;   /* nightsweep.json */
    cJSON *settings;      /* the trial's, resolved, with init_adapter the folder itself */
    struct labels labels; /* in the order of the head's classes; none for language models */
};

/* ERR_FORMAT, ERR_NOT_FOUND name the file. Done also after a failure. */
int saved_adapter_read(struct saved_adapter *saved, const char *folder, struct err *err) MUST_CHECK;
void saved_adapter_done(struct saved_adapter *saved);

#endif
