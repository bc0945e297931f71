/* What a task's files are like before anything is trained on them (`nightsweep data`, docs/data.md). */
#ifndef TRAINER_DATA_CHECK_H
#define TRAINER_DATA_CHECK_H

#include <cjson/cJSON.h>

#include "common/text.h"

/* Reads a request {"task":{…},"model":folder or absent,"max_tokens":n or absent} and appends the findings as one JSON
 * object: splits with rows, labels, lengths and truncation; duplicates within and between them; label conflicts.
 * ERR_DATA for a bad row, with file and line. */
int data_check(const cJSON *request, struct text *out, struct err *err) MUST_CHECK;

#endif
