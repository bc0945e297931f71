/* Sweeps of another store, with all their rows and files. */
#ifndef ORCHESTRATOR_STORE_IMPORT_H
#define ORCHESTRATOR_STORE_IMPORT_H

#include "orchestrator/store.h"

/* The file that marks a folder whose import has not come to its end, and the end of a folder's name until it is marked.
 */
#define IMPORTING ".importing"

struct store_import {
    const char *other;        /* path; read as of one moment and never written, of this or an earlier version */
    const char *const *names; /* of sweeps in it … */
    int n_names;              /* … 0: all */
    const char *as;           /* another name for the only sweep; NULL: its own */
    /* What came of it. */
    int64_t n_sweeps, n_trials, n_files, n_bytes;
    int64_t n_missing; /* files that rows name and that are gone or other than their hash: the rows come all the same */
};

/* Copies the sweeps into a store that is open for writing: the files first, below the store's own folder, then all rows
 * of all sweeps in one transaction with new ids. What ran in the other store waits in this one. Killed at any moment,
 * the sweeps are in the store whole or not at all; the same command goes on, and `gc` removes what it left.
 * ERR_USAGE for a name that is taken or a folder that is in the way, ERR_NOT_FOUND, and what opening the other says. */
int store_import_sweeps(struct store *store, struct store_import *import, struct err *err) MUST_CHECK;

#endif
