/* golden-run: trains every golden case in a folder and writes what came of it.
 *
 *     golden-run --cases DIR --out DIR [--check]
 *
 * For each case <out>/<case>/result.json (loss, grad_norm, lr, eval_init, eval_final; or status unsupported with the
 * reason) and adapter.safetensors. With --check the results are compared with the case's expected ones. Exit status: 0,
 * 1 when a case fails, 2 for wrong usage. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/json.h"
#include "tests/golden/golden.h"
#include "trainer/blas_settle.h"
#include "trainer/gemm.h"
#include "trainer/methods/method_file.h"

struct totals {
    int ok, unsupported, failed;
};

static int write_status(const char *out, const char *status, const struct err *why, struct err *err)
{
    struct text json = {0};
    text_printf(&json, "{\"status\":\"%s\",\"reason\":", status);
    text_add_json(&json, why->message);
    text_add(&json, "}");
    return method_file_write_text(out, "result.json", &json, err);
}

static int run_case(const char *folder, const char *name, const char *out_root, bool check, struct totals *totals,
                    struct err *err)
{
    cJSON *spec = NULL, *settings = NULL;
    struct err why = {0};
    char *spec_path = file_join(folder, "case.json"), *out = file_join(out_root, name);
    int rc = json_read_file(spec_path, &spec, err);
    if (rc == 0)
        rc = file_make_folders(out, err);
    if (rc < 0)
        goto out;
    int result = golden_settings(spec, folder, &settings, &why);
    if (result == 0)
        result = golden_train(spec, settings, folder, out, &why);
    if (result == 0 && check)
        result = golden_check(folder, out, &why);
    if (result == ERR_UNSUPPORTED) {
        totals->unsupported++;
        rc = write_status(out, "unsupported", &why, err);
    } else if (result < 0) {
        totals->failed++;
        printf("%-36s failed: %s\n", name, why.message);
        if (!check || result != ERR_NUMERIC)
            rc = write_status(out, "failed", &why, err);
    } else {
        totals->ok++;
    }
out:
    json_free(spec);
    cJSON_Delete(settings);
    free(spec_path);
    free(out);
    return rc;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int run_all(const char *cases, const char *out, bool check, struct totals *totals, struct err *err)
{
    DIR *directory = opendir(cases);
    char *names[4096];
    size_t n = 0;
    int rc = 0;
    if (!directory)
        return err_set_errno(err, "'%s'", cases);
    for (struct dirent *entry; (entry = readdir(directory)) && n < 4096;) {
        char path[4096];
        snprintf(path, sizeof(path), "%s/%s/case.json", cases, entry->d_name);
        if (file_exists(path))
            names[n++] = strdup(entry->d_name);
    }
    closedir(directory);
    qsort(names, n, sizeof(char *), compare);
    for (size_t i = 0; i < n; i++) {
        char *folder = file_join(cases, names[i]);
        if (rc == 0)
            rc = run_case(folder, names[i], out, check, totals, err);
        free(folder);
        free(names[i]);
    }
    return rc == 0 && n == 0 ? err_set(err, ERR_NOT_FOUND, "'%s' has no cases", cases) : rc;
}

int main(int argc, char **argv)
{
    const char *cases = NULL, *out = NULL;
    bool check = false;
    struct totals totals = {0};
    struct err err = {0};
    blas_settle(argv);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--cases") == 0 && i + 1 < argc)
            cases = argv[++i];
        else if (strcmp(argv[i], "--out") == 0 && i + 1 < argc)
            out = argv[++i];
        else if (strcmp(argv[i], "--check") == 0)
            check = true;
    }
    if (!cases || !out) {
        fprintf(stderr, "usage: golden-run --cases DIR --out DIR [--check]\n");
        return 2;
    }
    gemm_set_threads(1);
    int rc = run_all(cases, out, check, &totals, &err);
    if (rc < 0)
        fprintf(stderr, "golden-run: %s\n", err.message);
    printf("golden: %d ok, %d failed, %d unsupported\n", totals.ok, totals.failed, totals.unsupported);
    return rc < 0 ? err_exit_status(rc) : totals.failed ? 1 : 0;
}
