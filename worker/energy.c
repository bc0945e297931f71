/* Reading the counters. */
#include "worker/energy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/text.h"

static bool read_number(const char *folder, int package, const char *name, uint64_t *out)
{
    char path[512], *data = NULL;
    size_t n = 0;
    int64_t value = 0;
    snprintf(path, sizeof(path), "%s/intel-rapl:%d/%s", folder, package, name);
    if (file_read(path, 64, &data, &n, NULL) < 0)
        return false;
    data[strcspn(data, "\n")] = '\0';
    bool is_read = text_parse_int64(data, &value, NULL) == 0 && value >= 0;
    *out = (uint64_t)value;
    free(data);
    return is_read;
}

void energy_start(struct energy_meter *meter, const char *folder)
{
    const char *given = getenv("NIGHTSWEEP_POWERCAP");
    *meter = (struct energy_meter){.folder = folder ? folder : given ? given : "/sys/class/powercap"};
    while (meter->n < ENERGY_MAX_PACKAGES &&
           read_number(meter->folder, meter->n, "max_energy_range_uj", &meter->range[meter->n]) &&
           read_number(meter->folder, meter->n, "energy_uj", &meter->last[meter->n]))
        meter->n++;
    meter->is_known = meter->n > 0;
}

void energy_add(struct energy_meter *meter)
{
    for (int i = 0; i < meter->n && meter->is_known; i++) {
        uint64_t now = 0;
        meter->is_known = read_number(meter->folder, i, "energy_uj", &now);
        uint64_t used = now >= meter->last[i] ? now - meter->last[i] : meter->range[i] - meter->last[i] + now;
        meter->joules += meter->is_known ? (double)used / 1e6 : 0;
        meter->last[i] = now;
    }
}
