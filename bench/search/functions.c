/* The test functions of functions.py, number for number. */
#include "bench/search/functions.h"

#include <math.h>
#include <string.h>

#include "bench/search/functions_held.h"
#include "common/text.h"

enum { CURVE_STEPS = 81 };

/* Noise ------------------------------------------------------------------------------------------------------------ */

static uint64_t splitmix64(uint64_t x)
{
    uint64_t z = x += 0x9E3779B97F4A7C15ULL;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
}

double functions_noise(uint64_t seed, uint64_t trial, uint64_t step)
{
    uint64_t k = splitmix64((seed * 1000003 + trial) * 1000003 + step);
    uint64_t a = splitmix64(k), b = splitmix64(k ^ 0xD1B54A32D192ED03ULL);
    double u = ((double)(a >> 11) + 1) / 9007199254740993.0, v = (double)(b >> 11) / 9007199254740992.0;
    return sqrt(-2.0 * log(u)) * cos(2.0 * M_PI * v);
}

/* Reading ---------------------------------------------------------------------------------------------------------- */

static double number(const cJSON *c, const char *name)
{
    return json_get(c, name)->valuedouble;
}

static bool is(const cJSON *c, const char *name, const char *value)
{
    return strcmp(json_get(c, name)->valuestring, value) == 0;
}

static int coordinates(const cJSON *c, double *x)
{
    int n = 0;
    char name[8] = "x0";
    for (const cJSON *item; n < 10 && (item = json_get(c, name)); name[1] = (char)('0' + n))
        x[n++] = item->valuedouble;
    return n;
}

/* Classic ---------------------------------------------------------------------------------------------------------- */

static double branin(const cJSON *c)
{
    double x = number(c, "x0"), y = number(c, "x1"), b = 5.1 / (4 * M_PI * M_PI), t = 1 / (8 * M_PI);
    double a = y - b * x * x + 5 / M_PI * x - 6;
    return a * a + 10 * (1 - t) * cos(x) + 10;
}

static double hartmann6(const cJSON *c)
{
    static const double a[4][6] = {
        {10, 3, 17, 3.5, 1.7, 8}, {0.05, 10, 17, 0.1, 8, 14}, {3, 3.5, 1.7, 10, 17, 8}, {17, 8, 0.05, 10, 0.1, 14}};
    static const double p[4][6] = {{.1312, .1696, .5569, .0124, .8283, .5886},
                                   {.2329, .4135, .8307, .3736, .1004, .9991},
                                   {.2348, .1451, .3522, .2883, .3047, .6650},
                                   {.4047, .8828, .8732, .5743, .1091, .0381}};
    static const double weights[4] = {1.0, 1.2, 3.0, 3.2};
    double x[10], sum = 0;
    coordinates(c, x);
    for (int i = 0; i < 4; i++) {
        double e = 0;
        for (int j = 0; j < 6; j++)
            e += a[i][j] * (x[j] - p[i][j]) * (x[j] - p[i][j]);
        sum += weights[i] * exp(-e);
    }
    return -sum;
}

static double rosenbrock(const cJSON *c)
{
    double x[10], sum = 0;
    int n = coordinates(c, x);
    for (int i = 0; i + 1 < n; i++)
        sum += 100 * (x[i + 1] - x[i] * x[i]) * (x[i + 1] - x[i] * x[i]) + (1 - x[i]) * (1 - x[i]);
    return sum;
}

static double ackley(const cJSON *c)
{
    double x[10], a = 0, b = 0;
    int n = coordinates(c, x);
    for (int i = 0; i < n; i++) {
        a += (x[i] - 3.7) * (x[i] - 3.7) / n;
        b += cos(2 * M_PI * (x[i] - 3.7)) / n;
    }
    return -20 * exp(-0.2 * sqrt(a)) - exp(b) + 20 + exp(1);
}

/* PEFT-shaped ------------------------------------------------------------------------------------------------------ */

static double square(double x)
{
    return x * x;
}

static double lora_base(const cJSON *c, double *mu)
{
    const cJSON *given = json_get(c, "dropout");
    double r = log2(number(c, "rank")), dropout = given ? given->valuedouble : 0.1;
    *mu = -3.3 - 0.35 * log10(number(c, "alpha_ratio")) - 0.06 * (r - 3);
    double b = 0.300 + 0.06 * exp(-0.7 * r) + 0.004 * square(fmax(0, r - 4)) * (1 - dropout / 0.6);
    b += is(c, "targets", "q") ? .060 : is(c, "targets", "qv") ? .020 : is(c, "targets", "qkv") ? .010 : 0;
    return b + 0.4 * square(dropout - 0.08);
}

static double base(const cJSON *c, const char *method, double *mu, double *divergence)
{
    if (strcmp(method, "lora") == 0) {
        *divergence = -1.9;
        return lora_base(c, mu);
    }
    if (strcmp(method, "adapter") == 0) {
        double k = log2(number(c, "bottleneck"));
        *mu = -3.0 - 0.05 * (k - 6);
        *divergence = -1.7;
        return 0.318 + 0.006 * square(k - 6) + (is(c, "act", "relu") ? 0.006 : 0);
    }
    if (strcmp(method, "prefix") == 0) {
        *mu = -2.3;
        *divergence = -1.2;
        return 0.350 + 0.012 * square(log(number(c, "prefix_len")) - log(30)) + (number(c, "reparam") == 0 ? 0.03 : 0);
    }
    if (strcmp(method, "prompt") == 0) {
        *mu = -1.2;
        *divergence = 0;
        double b = 0.400 + 0.015 * square(log(number(c, "prompt_len")) - log(60));
        return b + (is(c, "init", "random") ? .08 : is(c, "init", "vocab") ? .03 : 0);
    }
    bool is_bitfit = strcmp(method, "bitfit") == 0;
    *mu = is_bitfit ? -2.6 : -4.8;
    *divergence = is_bitfit ? -1.5 : -3.9;
    return is_bitfit ? 0.390 : 0.292;
}

static double peft_parts(const cJSON *c, const char *method, double *mu)
{
    const cJSON *decay = json_get(c, "weight_decay"), *warmup = json_get(c, "warmup");
    double divergence, g = log10(number(c, "lr")), loss = base(c, method, mu, &divergence);
    double d = (g - *mu) * (strcmp(method, "full") == 0 ? 1.9 : 1);
    loss += 0.9 * (1 - exp(-0.35 * d * d));
    if (g > divergence)
        loss += 1.5 * (1 - exp(-4 * square(g - divergence)));
    loss += 0.8 * square((decay ? decay->valuedouble : 0.05) - 0.05);
    return loss + 0.9 * square((warmup ? warmup->valuedouble : 0.06) - 0.06);
}

static double peft_mixed(const cJSON *c)
{
    double mu;
    return peft_parts(c, json_get(c, "method")->valuestring, &mu);
}

static double peft_grid(const cJSON *c)
{
    double mu;
    return peft_parts(c, "lora", &mu);
}

double functions_curve(const cJSON *c, double step)
{
    const char *method = json_get(c, "method")->valuestring;
    double mu, final = peft_parts(c, method, &mu), g = log10(number(c, "lr"));
    bool is_slow = strcmp(method, "prompt") == 0 || strcmp(method, "prefix") == 0;
    double tau = 2.0 * pow(10, 0.45 * fmax(0, mu - g)) * (is_slow ? 1.6 : 1.0);
    return final + fmax(0.05, 1.45 - final) * pow(1 + step / tau, -1.3);
}

static double curve_end(const cJSON *c)
{
    return functions_curve(c, CURVE_STEPS);
}

static double crossing_end(const cJSON *c)
{
    return held_crossing(c, CURVE_STEPS);
}

static double peft_parameters(const cJSON *c)
{
    const char *method = json_get(c, "method")->valuestring;
    double h = 768, layers = 12;
    if (strcmp(method, "lora") == 0)
        return 2 * number(c, "rank") * h * layers *
               (is(c, "targets", "q")     ? 1
                : is(c, "targets", "qv")  ? 2
                : is(c, "targets", "qkv") ? 3
                                          : 6);
    if (strcmp(method, "adapter") == 0)
        return 2 * layers * (2 * h * number(c, "bottleneck") + h + number(c, "bottleneck"));
    if (strcmp(method, "prefix") == 0)
        return 2 * layers * h * number(c, "prefix_len");
    if (strcmp(method, "prompt") == 0)
        return h * number(c, "prompt_len");
    return strcmp(method, "bitfit") == 0 ? 102912 : 110000000;
}

/* Two objectives --------------------------------------------------------------------------------------------------- */

static double zdt_g(const double *x)
{
    double sum = 0;
    for (int i = 1; i < 10; i++)
        sum += x[i];
    return 1 + sum;
}

static double first_x(const cJSON *c)
{
    return number(c, "x0");
}

static double zdt1(const cJSON *c)
{
    double x[10];
    coordinates(c, x);
    return zdt_g(x) * (1 - sqrt(x[0] / zdt_g(x)));
}

static double zdt2(const cJSON *c)
{
    double x[10];
    coordinates(c, x);
    return zdt_g(x) * (1 - square(x[0] / zdt_g(x)));
}

static double log_parameters(const cJSON *c)
{
    return log10(peft_parameters(c));
}

const struct function functions[] = {
    {"branin", branin, NULL, 0.39788735772973816, 0, {0}, NULL},
    {"hartmann6", hartmann6, NULL, -3.322368011391339, 0, {0}, NULL},
    {"peft_mixed", peft_mixed, NULL, 0.292, 0, {0}, NULL},
    {"peft_mixed_noisy", peft_mixed, NULL, 0.292, 0.02, {0}, NULL},
    {"rosenbrock5", rosenbrock, NULL, 0, 0, {0}, NULL},
    {"peft_grid", peft_grid, NULL, 0.3045293125656058, 0, {0}, NULL},
    {"ackley10", ackley, NULL, 0, 0, {0}, NULL},
    {"curve", curve_end, NULL, 0.3011252765214074, 0.01, {0}, functions_curve},
    {"zdt1", first_x, zdt1, 0, 0, {11, 11}, NULL},
    {"zdt2", first_x, zdt2, 0, 0, {11, 11}, NULL},
    {"peft_mo", peft_mixed, log_parameters, 0, 0, {1.5, 8.5}, NULL},
    {"levy5", held_levy, NULL, 0, 0, {0}, NULL},
    {"griewank4", held_griewank, NULL, 0, 0, {0}, NULL},
    {"styblinski3", held_styblinski, NULL, 0, 0, {0}, NULL},
    {"styblinski6", held_styblinski, NULL, 0, 0, {0}, NULL},
    {"optimizer", held_optimizer, NULL, 0, 0, {0}, NULL},
    {"optimizer_noisy", held_optimizer, NULL, 0, 0.02, {0}, NULL},
    {"mixture", held_mixture, NULL, 0, 0, {0}, NULL},
    {"mixture_noisy", held_mixture, NULL, 0, 0.02, {0}, NULL},
    {"crossing", crossing_end, NULL, 0, 0.01, {0}, held_crossing},
    {NULL, NULL, NULL, 0, 0, {0}, NULL},
};
