/* Saving what can be read of a damaged store into a new one. */
#ifndef ORCHESTRATOR_STORE_RESCUE_H
#define ORCHESTRATOR_STORE_RESCUE_H

#include "orchestrator/store.h"

enum { RESCUE_TABLES_MAX = 64 };

struct rescue_table {
    char name[64];
    int64_t n_copied;
    int64_t n_refused; /* rows whose parent was lost, or that are not what the schema wants */
    bool is_damaged;   /* some of it could not be read */
};

struct rescue {
    struct rescue_table tables[RESCUE_TABLES_MAX];
    int n_tables;
    bool is_log_damaged; /* what its write-ahead log has behind the damage is lost */
};

/* Reads `damaged`, which is left as it is, row by row from both ends of each table and around what cannot be read, into
 * a new store `output` of the current schema. Rows are only taken with the rows that they refer to, so the new store is
 * whole: store_check passes. ERR_USAGE when `output` is there, ERR_BUSY when a run uses the damaged one, ERR_NOT_FOUND,
 * ERR_STORE when not even its schema can be read or the new one cannot be written. */
int store_rescue(const char *damaged, const char *output, struct rescue *rescue, struct err *err) MUST_CHECK;

#endif
