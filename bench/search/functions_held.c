/* Functions beside the suite: they show whether a change made for it carries over. Optima are 0. */
#include "bench/search/functions_held.h"

#include <math.h>
#include <string.h>

#include "common/text.h"

static double number(const cJSON *c, const char *name)
{
    return json_get(c, name)->valuedouble;
}

static bool is(const cJSON *c, const char *name, const char *value)
{
    return strcmp(json_get(c, name)->valuestring, value) == 0;
}

static double square(double x)
{
    return x * x;
}

static int coordinates(const cJSON *c, double *x)
{
    int n = 0;
    char name[8] = "x0";
    for (const cJSON *item; n < 10 && (item = json_get(c, name)); name[1] = (char)('0' + n))
        x[n++] = item->valuedouble;
    return n;
}

double held_levy(const cJSON *c)
{
    double x[10], sum = 0;
    int n = coordinates(c, x);
    for (int i = 0; i < n; i++)
        x[i] = 1 + (x[i] - 1) / 4;
    for (int i = 0; i + 1 < n; i++)
        sum += square(x[i] - 1) * (1 + 10 * square(sin(M_PI * x[i] + 1)));
    return square(sin(M_PI * x[0])) + sum + square(x[n - 1] - 1) * (1 + square(sin(2 * M_PI * x[n - 1])));
}

double held_griewank(const cJSON *c)
{
    double x[10], sum = 0, product = 1;
    int n = coordinates(c, x);
    for (int i = 0; i < n; i++) {
        sum += x[i] * x[i] / 4000;
        product *= cos(x[i] / sqrt(i + 1));
    }
    return sum - product + 1;
}

double held_styblinski(const cJSON *c)
{
    double x[10], sum = 0;
    int n = coordinates(c, x);
    for (int i = 0; i < n; i++)
        sum += 0.5 * (square(square(x[i])) - 16 * x[i] * x[i] + 5 * x[i]) + 39.16616570377142;
    return sum;
}

double held_optimizer(const cJSON *c)
{
    double rate = log10(number(c, "learning_rate")), loss = 0.3 * square(number(c, "dropout") - 0.15);
    loss += 0.02 * square(log2(number(c, "batch")) - 5);
    if (is(c, "optimizer", "sgd"))
        return loss + 0.5 * (1 - exp(-square(rate + 1.2 - number(c, "momentum")))) +
               0.3 * square(number(c, "momentum") - 0.8);
    return loss + 0.015 + 0.5 * (1 - exp(-2 * square(rate + 3.1))) + 0.1 * square(number(c, "beta2") - 0.97) * 100;
}

double held_mixture(const cJSON *c)
{
    double layers = number(c, "layers"), width = log2(number(c, "width")), rate = log10(number(c, "learning_rate"));
    double loss = 0.01 * square(layers - 7) + 0.02 * square(width - 8 + 0.1 * (layers - 7));
    loss += is(c, "activation", "gelu")   ? 0
            : is(c, "activation", "silu") ? 0.01
            : is(c, "activation", "relu") ? 0.04
                                          : 0.2;
    loss += is(c, "norm", "layer") ? 0 : is(c, "norm", "rms") ? 0.005 : 0.15;
    return loss + 0.4 * (1 - exp(-0.8 * square(rate + 3 + 0.2 * (width - 8)))) +
           0.5 * square(number(c, "dropout") - 0.1);
}

/* What learns fast early is not what ends best: curves cross. */
double held_crossing(const cJSON *c, double step)
{
    double rate = log10(number(c, "learning_rate"));
    double end = 0.15 * square(rate + 3.5) + 0.3 * square(number(c, "decay") - 0.2);
    end += 0.02 * square(number(c, "layers") - 4) + (is(c, "schedule", "cosine") ? 0 : 0.03);
    double pace = 6 * pow(10, -0.5 * (rate + 3.5)) * (is(c, "schedule", "cosine") ? 2 : 1);
    return end + exp(-step / pace) + 0.002 * fmax(0, 27 - step) / (1 + pace);
}
