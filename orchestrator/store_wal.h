/* What SQLite does not say of a write-ahead log. */
#ifndef ORCHESTRATOR_STORE_WAL_H
#define ORCHESTRATOR_STORE_WAL_H

#include "common/err.h"

/* Whether the log of the store `path` (FILE-wal; none is fine) is damaged in front of transactions that are still to be
 * read. SQLite takes the first frame whose checksum is wrong for the end: right behind a power cut, which can only
 * spoil what was not synchronised yet, and wrong when a disk or a person spoiled a frame in the middle. With
 * synchronous=FULL a transaction is on disk before the first frame of the next one is written, so a whole frame of this
 * log behind a spoilt one, with the end of a transaction between them, says that what was acknowledged would be lost:
 * ERR_STORE, with how many transactions. Damage in the last transaction cannot be told from a power cut. The
 * rows of a sweep that begins are written without that wait (store_set_durable): a power cut within that moment may
 * look like damage, and `nightsweep recover` then loses nothing that anybody was told. Call it while nobody writes.
 *
 * Format: https://www.sqlite.org/walformat.html */
int store_wal_check(const char *path, struct err *err) MUST_CHECK;

#endif
