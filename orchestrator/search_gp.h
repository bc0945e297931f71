/* What the files of the Gaussian process search share: models of all that is measured, and the value of a point. */
#ifndef ORCHESTRATOR_SEARCH_GP_H
#define ORCHESTRATOR_SEARCH_GP_H

#include "orchestrator/search_gp_model.h"
#include "orchestrator/study_internal.h"

enum { GP_MODELS_MAX = 48, GP_EVIDENCE_ROWS = 150 };

/* Turns values into what the model sees: about mean 0, deviation 1, and where the evidence says so logarithmic away
 * from the best value, since bad values need no resolution. */
struct gp_warp {
    double low, width; /* log1p((y − low) / width) above low, linear below; width 0: linear */
    double mean, deviation;
};

enum gp_role { GP_OBJECTIVE, GP_OUTCOME, GP_FAILURE, GP_COST };

struct gp_quantity {
    enum gp_role role;
    int index; /* of the objective or constraint */
    struct gp gp;
    struct gp_warp warp;
    double *theta;
    int n_fitted; /* finished trials behind theta; 0: none */
    int n_base;   /* rows of those */
    bool is_usable;
    double bound; /* of outcomes and failures: what the value must not exceed, warped */
};

struct gp_known {
    const double *x;
    double value; /* of the first objective, without its noise, warped */
};

struct gp_search {
    struct arena scratch; /* of one proposal */
    int d;                /* dimensions of the codec, and one for the resource where trials end early */
    bool has_resource;
    bool *is_common; /* (d): dimensions that always exist, where others do not; NULL elsewhere */
    struct gp_quantity quantities[GP_MODELS_MAX];
    int n_quantities;
    struct study_row *rows;
    int n_rows;
    int branch; /* dimension that this proposal keeps at branch_value; −1: none */
    double branch_value;
    struct gp_known *known; /* feasible rows */
    int n_known;
    double *fallback; /* a value for each dimension that does not exist at a point: where a good one has it */
    double weights[OBJECTIVES_MAX], lows[OBJECTIVES_MAX], widths[OBJECTIVES_MAX]; /* of more than two objectives */
    double best; /* of the first objective, warped; what must be improved */
    bool has_best;
    bool is_end;        /* of a noisy search: the sure value decides */
    double (*front)[2]; /* of two objectives, warped */
    int n_front;
    double reference[2];
    double *candidates; /* (n, codec.n) of the last proposal, best first */
    int n_candidates, for_configuration;
    void *tpe; /* state of the algorithm that takes over from so many trials on */
};

/* Fits and conditions all models on the study's finished and running trials. */
int gp_prepare(struct study *study, struct gp_search *search, struct err *err) MUST_CHECK;
/* While a branch of a conditional space has not had its share of trials, keeps the proposal to that branch and its own
 * best: branches are arms, given up one after the other by the best value found in each, since what was learned in one
 * misleads about another. */
void gp_enter_branch(struct study *study, struct gp_search *search);
/* What the models see of a settled point, whole trials in the resource's place: search->d numbers, `stride` apart. */
void gp_point(const struct study *study, const struct gp_search *search, const double *x, size_t stride, double *out);
/* log of what a settled point is worth, with derivatives by its numbers (codec.n) unless NULL. */
double gp_value(struct study *study, struct gp_search *search, const double *x, double *gradient);
/* The same for m points (m, codec.n). */
int gp_values(struct study *study, struct gp_search *search, const double *points, int m, double *values,
              struct err *err) MUST_CHECK;

#endif
