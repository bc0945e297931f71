/* Looking after the file of a store: copies of a live one, room given back, where its trials' files lie. */
#ifndef ORCHESTRATOR_STORE_CARE_H
#define ORCHESTRATOR_STORE_CARE_H

#include "orchestrator/store.h"

/* Copies the store, as of one moment and also while a run writes to it, to a new file: whole and checked
 * (integrity_check, references), or not at all. *bytes is its size. ERR_USAGE when the file is there. */
int store_backup(struct store *store, const char *path, int64_t *bytes, struct err *err) MUST_CHECK;
/* Rewrites the file of a store that is open for writing without the pages that nothing uses any more. */
int store_shrink(struct store *store, struct err *err) MUST_CHECK;
/* Bytes of the store's files on disk: the database and its write-ahead log; 0 when there is none. */
int64_t store_file_bytes(const char *path);
/* The folder that holds the sweeps' folders: "runs/nightsweep" of "runs/nightsweep.db", absolute; heap. */
int store_trials_folder(const char *store_path, char **folder, struct err *err) MUST_CHECK;

/* Bytes of all files below a path; a missing one has none. Links are not followed. */
int64_t disk_bytes(const char *path);
/* Whether `path` is `folder` or lies below it, both absolute. */
bool disk_is_below(const char *path, const char *folder);

#endif
