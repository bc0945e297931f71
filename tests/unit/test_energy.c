/* The energy counters: sums over packages, a counter that goes round, and machines that have none. */
#include "worker/energy.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "common/file.h"
#include "tests/support/temp.h"

static struct temp temp;

static void set(int package, const char *name, const char *value)
{
    char folder[64], path[96];
    snprintf(folder, sizeof(folder), "intel-rapl:%d", package);
    cr_assert_eq(file_make_folders(temp_path(&temp, folder), NULL), 0);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    temp_write(&temp, path, value, strlen(value));
}

Test(energy, sums_what_the_packages_used)
{
    struct energy_meter meter;
    temp_open(&temp);
    set(0, "max_energy_range_uj", "1000000000\n");
    set(0, "energy_uj", "999000000\n");
    set(1, "max_energy_range_uj", "1000000000\n");
    set(1, "energy_uj", "5000000\n");
    energy_start(&meter, temp.folder);
    cr_assert_eq(meter.n, 2);
    set(0, "energy_uj", "2000000\n"); /* went round: 1 + 2 joules */
    set(1, "energy_uj", "5500000\n");
    energy_add(&meter);
    cr_expect(meter.is_known);
    cr_expect_float_eq(meter.joules, 3.5, 1e-9);
    set(0, "energy_uj", "2250000\n");
    energy_add(&meter);
    cr_expect_float_eq(meter.joules, 3.75, 1e-9);
    set(1, "energy_uj", "gone\n");
    energy_add(&meter);
    cr_expect(!meter.is_known, "a counter that cannot be read makes the figure unknown");
    temp_close(&temp);
}

Test(energy, a_machine_without_counters_has_no_figure)
{
    struct energy_meter meter;
    temp_open(&temp);
    energy_start(&meter, temp.folder);
    energy_add(&meter);
    cr_expect(meter.n == 0 && !meter.is_known);
    temp_close(&temp);
}
