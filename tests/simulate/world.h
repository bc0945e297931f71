/* The world of the simulation: its time, its chance, what may still go wrong, and what must not.
 *
 * The coordinator runs in a process of its own, which is what a kill ends; the world lies in memory that it shares with
 * the one that watches. Everything that happens is an event of one queue, and every draw comes from the seed: the same
 * seed gives the same events. Linked in the place of loop.c, pool.c, control.c and crash.c. */
#ifndef TESTS_SIMULATE_WORLD_H
#define TESTS_SIMULATE_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "orchestrator/coordinator_internal.h"

enum { WORLD_KILLED = 99, WORLD_BROKEN = 98 }; /* exit statuses: the coordinator was killed; a promise was */

/* What was committed: it must be there when the store is opened again. */
struct ledger {
    int64_t points, evaluations, decisions, events, attempts, trials, final_trials;
};

struct world {
    uint64_t seed, random, now_ns, n_events;
    /* What may still go wrong. */
    int kills, worker_deaths, trainer_faults, store_faults, requests, interrupts;
    double kill_rate;    /* at a crash point */
    double slow_commits; /* how many of them take up to three seconds */
    int n_runs;
    bool is_touched; /* a person ended a trial */
    struct ledger ledger;
    bool prints;     /* what happens */
    char folder[64]; /* of store and files; not part of what is said */
    uint64_t trace_hash;
    char broken[512]; /* which promise; "": none */
};
extern struct world *world;

/* In [0, 1); in [from, to); whole in [0, n); true so often. */
double world_uniform(void);
double world_between(double from, double to);
int world_below(int n);
bool world_chance(double share);
/* True so often while `left` lasts, which it takes one of. */
bool world_takes(int *left, double share);
/* In [0, 1): of a trial and a step alone. */
double world_number(const char *identity, const char *purpose, int64_t step);

/* Calls act(context) so many seconds from now. */
void world_after(double seconds, void (*act)(void *context), void *context);
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Ends the process: a promise is broken. */
void world_break(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Ends the process, as SIGKILL would. */
void world_kill(const char *where) __attribute__((noreturn));
void world_read_ledger(sqlite3 *db, struct ledger *ledger);
void world_check_ledger(const struct ledger *found);

/* people.c: those who ask the run for something, from now on. */
void people_come(struct coordinator *c);

#endif
