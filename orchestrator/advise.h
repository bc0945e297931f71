/* Which method to take within limits, by what this sweep and earlier ones measured: `nightsweep advise`
 * (docs/choosing.md). */
#ifndef ORCHESTRATOR_ADVISE_H
#define ORCHESTRATOR_ADVISE_H

#include "orchestrator/compare.h"

enum { ADVICE_MAX_EARLIER = 64 };

/* 0: no limit. */
struct advice_limits {
    double bytes;        /* of what is stored */
    double memory_bytes; /* at the peak of training */
    double seconds;      /* of a trial */
};

/* How the advised method stood in another sweep with the same objective. */
struct advice_earlier {
    const char *sweep;
    int rank, n_methods; /* rank 1: the best on validation */
    struct interval score;
    const char *best; /* that sweep's best method */
    double behind;    /* how far behind it, 0 for the best; in the metric's units */
};

struct advice {
    const char *sweep;
    struct advice_limits limits;
    struct comparison comparison;               /* of the sweep */
    const struct compare_configuration *chosen; /* best on validation within the limits; NULL: none is */
    struct interval score;
    int method;  /* index of the chosen one's method */
    int cheaper; /* a method within the limits that cannot be told apart and stores less; −1: none */
    int n_admitted, n_configurations;
    struct advice_earlier earlier[ADVICE_MAX_EARLIER];
    int n_earlier;
};

/* Reads the store; all in `arena`. `sweep` NULL: the newest with a finished trial. ERR_NOT_FOUND, ERR_USAGE. */
int advise(struct store *store, const char *sweep, const struct advice_limits *limits, struct arena *arena,
           struct advice *advice, struct err *err) MUST_CHECK;
/* Why a configuration is not admitted ("stores 86.1 MiB"), or false when it is. */
bool advice_refuses(const struct advice_limits *limits, const struct compare_configuration *x, struct text *reason);
void advice_add_text(struct text *out, const struct advice *advice);
void advice_add_json(struct text *out, const struct advice *advice);

#endif
