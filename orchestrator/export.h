/* Exports: results of sweeps in the forms that other tools open. A format is one file and one row of the table. */
#ifndef ORCHESTRATOR_EXPORT_H
#define ORCHESTRATOR_EXPORT_H

#include "orchestrator/store.h"

struct export_request {
    const char *path; /* file or folder to write; "-", of a page: standard output */
    struct store *store;
    const char *const *names; /* sweeps, at least one */
    int n_names;
    const int64_t *trials; /* numbers of the trials wanted, for formats that choose; NULL: the format's own choice */
    int n_trials;
};

struct export_format {
    const char *name, *ending; /* of the default path: <first sweep><ending> */
    const char *help;
    /* Reads the store alone. Files are replaced atomically, folders made; into a folder that is there already files
     * are added, and those of the same name replaced. */
    int (*write)(const struct export_request *request, struct err *err);
};

extern const struct export_format *const export_formats[]; /* NULL-terminated */
extern const struct export_format export_html, export_live, export_csv, export_jsonl, export_tensorboard, export_mlflow,
    export_optuna_journal, export_adapters;

#endif
