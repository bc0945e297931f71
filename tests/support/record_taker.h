/* The coordinator's side of the wire without a worker: one slot whose attempt always runs, on a store of its own. */
#ifndef TESTS_SUPPORT_RECORD_TAKER_H
#define TESTS_SUPPORT_RECORD_TAKER_H

#include "common/json.h"

/* Opens the store at `path` (not synced: nothing here survives a power cut) and takes up a sweep with the objective
 * validation/accuracy whose output folder is /out. */
int record_taker_open(const char *path, struct err *err) MUST_CHECK;
/* A trainer's record of `type`, or a worker's `ended`, is taken as the coordinator takes it; a refused one ends the
 * attempt, and a new trial's begins with the next. The path "@" of a checkpoint stands for the one it must have. The
 * answer is that of record_take. */
int record_taker_take(cJSON *record, const char *type, struct err *err) MUST_CHECK;
/* Waits for the store. ERR_… when it refused an operation for anything but the record's own content, or the
 * coordinator gave up. */
int record_taker_flush(struct err *err) MUST_CHECK;
void record_taker_close(void);

#endif
