/* Stopping rules: what ends trials early. One file and one row each. */
#ifndef ORCHESTRATOR_STOP_H
#define ORCHESTRATOR_STOP_H

#include "orchestrator/definition.h"

struct study;
struct study_trial;

enum stop_verdict { STOP_CONTINUE, STOP_END, STOP_PAUSE };

struct stop_kind {
    const char *name, *help;
    const char *options; /* keys of the definition's `stopping`, separated by spaces */
    double min_trials;   /* default of that key */
    bool needs_max;      /* max_resource must be given */
    bool can_pause;      /* trials may be paused and resumed, where the trainer can do it */
    /* Decides about the trial after its newest point; the reason goes into study->reason (text). */
    enum stop_verdict (*decide)(struct study *study, struct study_trial *trial);
    /* A paused trial to resume, or NULL. */
    struct study_trial *(*promote)(struct study *study);
    /* Of rules that decide about a whole population at a time (stop_pbt.c), else NULL: */
    bool in_generations;
    void (*prepare)(struct study *study);                /* everybody waits: decide */
    struct study_trial *(*replace)(struct study *study); /* the next member to be replaced (heir_of says from whom) */
    int64_t (*pause_at)(const struct study *study, const struct study_trial *trial); /* its next pause; 0: none */
};

extern const struct stop_kind *const stop_kinds[]; /* NULL-terminated */
const struct stop_kind *stop_find(const char *name);

#endif
