/* Is a difference real, how large is it, and what could have been seen: two samples of scores, one a seed. */
#ifndef COMMON_STATS_DIFFERENCE_H
#define COMMON_STATS_DIFFERENCE_H

/* A difference of two means as a t statistic sees it. */
struct difference {
    double mean;      /* of a minus that of b */
    double se, df;    /* standard error and degrees of freedom; NaN when a sample has one value */
    double low, high; /* 95 % Student interval; NaN likewise */
};

/* a[i] and b[i] belong together (one seed): mean of a − b, s/√n, n − 1. n = 0: all NaN. */
struct difference stats_paired(const double *a, const double *b, int n);
/* Independent samples of unequal variance (Welch 1947): √(s²_a/n_a + s²_b/n_b), Satterthwaite's degrees of freedom. Two
 * samples without variance have se 0 and df n_a + n_b − 2. */
struct difference stats_welch(const double *a, int n_a, const double *b, int n_b);

/* Two-sided p of "there is no difference". se 0: 1 for a mean of 0, else 0. NaN where se is. */
double stats_difference_p(struct difference difference);
/* One-sided p of "a is worse than b by margin or more": P(T > (mean + margin)/se). Small: a is not inferior. */
double stats_inferior_p(struct difference difference, double margin);
/* Two one-sided tests (Schuirmann 1987): the larger p of "a is lower by margin or more" and "a is higher by …". */
double stats_tost_p(struct difference difference, double margin);
/* The smallest true difference that a two-sided t test at level `alpha` with this se and df finds with probability
 * `power`: δ with P(|T'_{df, δ/se}| > t_{1−alpha/2, df}) = power, T' noncentral. NaN where se is. */
double stats_detectable(struct difference difference, double alpha, double power);
/* P(T' > t), T' noncentral t with df degrees of freedom and noncentrality `shift`; absolute error below 1e-10. */
double stats_noncentral_t_tail(double t, double df, double shift);

/* (mean a − mean b)/s, s² = ((n_a − 1)s²_a + (n_b − 1)s²_b)/(n_a + n_b − 2) (Cohen 1988, 2.5). NaN without variance. */
double stats_cohen_d(const double *a, int n_a, const double *b, int n_b);
/* P(a > b) − P(a < b) over all pairs of values (Cliff 1993), ties in neither. NaN when a sample is empty. */
double stats_cliff_delta(const double *a, int n_a, const double *b, int n_b);
/* Holm's step-down adjustment (Holm 1979) of p[0..n) in place; NaN entries stay and are not counted. */
void stats_holm(double *p, int n);

#endif
