/* Budgets of time that hold over all runs of a sweep: CPU time of its trainers, wall clock while it runs.
 *
 * What is used is an event of the store (kind 'budget'), written ahead: a part of the budget is reserved before it is
 * used, and the reservation becomes what was really used when a run ends in good order. A run that is killed has used
 * what it had reserved, so a restart never overruns. */
#include <math.h>
#include <stdio.h>

#include "orchestrator/coordinator_internal.h"
#include "orchestrator/progress_view.h"

/* The part of a budget that is reserved at a time, at most so many seconds. */
static const double reserved_share = 0.02, reserved_seconds = 60;

static double wall_used(const struct coordinator *c)
{
    return c->options->used.seconds + 1e-9 * (double)(loop_now_ns() - c->started_ns);
}

static double cpu_used(const struct coordinator *c)
{
    double sum = c->options->used.cpu_seconds;
    for (int i = 0; i < c->n_pools; i++)
        sum += c->pools[i].cpu_before + c->pools[i].cpu_seconds;
    return sum;
}

static void keep(struct coordinator *c, double wall, double cpu)
{
    struct text message = {0};
    text_add(&message, "{\"seconds\":");
    text_add_double(&message, wall);
    text_add(&message, ",\"cpu_seconds\":");
    text_add_double(&message, cpu);
    text_add_char(&message, '}');
    if (!message.failed)
        coordinator_event(c, NULL, "budget", "%s", message.data);
    text_done(&message);
}

/* More is reserved once half of the last reservation is used. */
static bool reserve(double used, double budget, double most, double *reserved)
{
    double part = fmin(budget * reserved_share, most);
    if (budget <= 0 || used + part / 2 < *reserved)
        return false;
    *reserved = used + part;
    return true;
}

static bool is_over(const struct budget *budget, double wall, double cpu, char *why, size_t size)
{
    struct text text = {0};
    bool is_cpu = budget->cpu_seconds > 0 && cpu >= budget->cpu_seconds;
    if (!is_cpu && !(budget->seconds > 0 && wall >= budget->seconds))
        return false;
    progress_add_duration(&text, is_cpu ? budget->cpu_seconds : budget->seconds);
    snprintf(why, size, "the budget of %s of %s is used up: running trials write their checkpoints",
             text.data ? text.data : "time", is_cpu ? "CPU time" : "wall clock");
    text_done(&text);
    return true;
}

/* Trials at a time: what `adjust` left, or more while those in the slots beyond still end. */
static int most_busy(const struct coordinator *c)
{
    int in_use = c->n_pools * c->slots_each;
    return c->n_busy > in_use ? c->n_busy : in_use;
}

void budget_watch(struct coordinator *c)
{
    const struct budget *budget = &c->definition->budget;
    double wall = wall_used(c), cpu = cpu_used(c);
    char why[160];
    if (c->is_stopping || (budget->cpu_seconds <= 0 && budget->seconds <= 0))
        return;
    if (is_over(budget, wall, cpu, why, sizeof(why))) {
        coordinator_stop(c, ATTEMPT_TIME_LIMIT, "budget_used_up", why);
        return;
    }
    double most = reserved_seconds * most_busy(c) * c->definition->resources.threads;
    bool wants_wall = reserve(wall, budget->seconds, reserved_seconds, &c->reserved_wall);
    bool wants_cpu = reserve(cpu, budget->cpu_seconds, most, &c->reserved_cpu);
    if (wants_wall || wants_cpu)
        keep(c, fmax(wall, c->reserved_wall), fmax(cpu, c->reserved_cpu));
}

void budget_settle(struct coordinator *c)
{
    if (c->definition->budget.cpu_seconds > 0 || c->definition->budget.seconds > 0)
        keep(c, wall_used(c), cpu_used(c));
}
