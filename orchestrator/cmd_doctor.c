/* `nightsweep doctor`: what this installation and machine have, what is missing, and what to do about it. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "common/version.h"
#include "orchestrator/child.h"
#include "orchestrator/columns.h"
#include "orchestrator/command_kinds.h"
#include "orchestrator/printable.h"
#include "orchestrator/store.h"

enum finding_kind { FINDING_OK, FINDING_HINT, FINDING_MISSING }; /* missing: nothing trains without it */

struct finding {
    enum finding_kind kind;
    char *name, *value, *advice; /* advice: what to do, or NULL */
};

enum { MAX_FINDINGS = 192 };

struct doctor {
    struct finding findings[MAX_FINDINGS];
    int n;
    cJSON *bench; /* the trainer's answer to --bench, or NULL */
};

static void add(struct doctor *doctor, enum finding_kind kind, const char *name, const char *value, const char *advice)
{
    if (doctor->n == MAX_FINDINGS)
        return;
    doctor->findings[doctor->n++] =
        (struct finding){kind, strdup(name), strdup(value ? value : ""), advice ? strdup(advice) : NULL};
}

static void add_format(struct doctor *doctor, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void add_format(struct doctor *doctor, const char *name, const char *format, ...)
{
    va_list args;
    char value[512];
    va_start(args, format);
    vsnprintf(value, sizeof(value), format, args);
    va_end(args);
    add(doctor, FINDING_OK, name, value, NULL);
}

/* Versions and machine -----------------------------------------------------------------------------------------------
 */

static void check_versions(struct doctor *doctor)
{
    add_format(doctor, "nightsweep", "%s (%s)", version_program(), version_commit());
    add_format(doctor, "results version", "%d", VERSION_NUMERICS);
    add(doctor, FINDING_OK, "libuv", uv_version_string(), NULL);
    add(doctor, FINDING_OK, "SQLite", sqlite3_libversion(), NULL);
    add(doctor, FINDING_OK, "cJSON", cJSON_Version(), NULL);
    add(doctor, FINDING_OK, "OpenSSL", OpenSSL_version(OPENSSL_VERSION_STRING), NULL);
}

/* A number in kB out of /proc/meminfo; 0 when it is not there. */
static double memory_gib(const char *name)
{
    char *data = NULL;
    size_t n;
    double kib = 0;
    if (file_read("/proc/meminfo", 1 << 16, &data, &n, NULL) < 0)
        return 0;
    const char *line = strstr(data, name);
    if (line)
        kib = strtod(line + strlen(name) + 1, NULL);
    free(data);
    return kib / (1024 * 1024);
}

static void check_machine(struct doctor *doctor)
{
    struct utsname name;
    if (uname(&name) == 0)
        add_format(doctor, "system", "%s %s %s, host %s", name.sysname, name.release, name.machine, name.nodename);
    add_format(doctor, "cores", "%u usable", uv_available_parallelism());
    add_format(doctor, "memory", "%.1f GiB, %.1f GiB free", memory_gib("MemTotal"), memory_gib("MemAvailable"));
}

/* The trainer --------------------------------------------------------------------------------------------------------
 */

enum { TRAINER_SECONDS = 300 }; /* it answers in seconds, unless the machine is busy */

static int on_trainer_line(char *line, size_t n, void *context, struct err *err)
{
    cJSON **answer = context;
    json_free(*answer);
    *answer = NULL;
    return json_parse(line, n, answer, err);
}

/* The trainer's answer to --doctor (what it computes with) or --bench; *answer is owned by the caller. */
static int ask_trainer(const char *what, const char *model, cJSON **answer, struct err *err)
{
    const char *const argv[] = {"nightsweep-trainer", what, model, NULL};
    struct child_options options = {
        .argv = argv, .on_line = on_trainer_line, .context = answer, .timeout_seconds = TRAINER_SECONDS};
    int rc = child_run(&options, err);
    if (rc == 0 && !cJSON_IsObject(*answer))
        rc = err_set(err, ERR_FORMAT, "nightsweep-trainer %s says nothing", what);
    return rc;
}

static void add_answer(struct doctor *doctor, const char *name, const cJSON *answer, const char *key)
{
    const cJSON *value = json_get(answer, key);
    add(doctor, FINDING_OK, name, cJSON_IsString(value) ? value->valuestring : "unknown", NULL);
}

static void check_trainer(struct doctor *doctor)
{
    cJSON *answer = NULL;
    struct err err = {0};
    if (ask_trainer("--doctor", NULL, &answer, &err) < 0) {
        add(doctor, FINDING_MISSING, "trainer", err.message,
            "`make` builds it; it must stand in the folder of nightsweep");
        json_free(answer);
        return;
    }
    const cJSON *version = json_get(answer, "program_version"), *commit = json_get(answer, "git_commit");
    bool is_same = cJSON_IsString(version) && text_equal(version->valuestring, version_program()) &&
                   cJSON_IsString(commit) && text_equal(commit->valuestring, version_commit());
    add(doctor, is_same ? FINDING_OK : FINDING_HINT, "trainer", is_same ? "beside this program" : "of another build",
        is_same ? NULL : "`make` builds all programs from the same sources");
    add_answer(doctor, "BLAS", answer, "blas_version");
    add_answer(doctor, "BLAS core", answer, "blas_core");
    add_answer(doctor, "CPU", answer, "cpu");
    add_answer(doctor, "kernels", answer, "kernel_level");
    add_answer(doctor, "trainer's sandbox", answer, "sandbox");
    add_answer(doctor, "bf16", answer, "bf16");
    const char *core = getenv("OPENBLAS_CORETYPE");
    add(doctor, FINDING_OK, "OPENBLAS_CORETYPE", core && *core ? core : "not set: the library's choice is good here",
        NULL);
    json_free(answer);
}

static void check_worker(struct doctor *doctor)
{
    char *folder = file_program_folder(), *path = folder ? file_join(folder, "nightsweep-worker") : NULL;
    if (path && access(path, X_OK) == 0)
        add(doctor, FINDING_OK, "worker", "beside this program", NULL);
    else
        add(doctor, FINDING_MISSING, "worker", path, "`make` builds it; it must stand in the folder of nightsweep");
    free(folder);
    free(path);
}

/* Speed --------------------------------------------------------------------------------------------------------------
 */

static double number_of(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

static const char *text_of(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsString(value) ? value->valuestring : "";
}

static void add_products(struct doctor *doctor, const char *list, const char *type)
{
    const cJSON *row;
    cJSON_ArrayForEach(row, json_get(doctor->bench, list))
    {
        char name[128];
        snprintf(name, sizeof(name), "%s %s %.0fx%.0fx%.0f", type, text_of(row, "product"), number_of(row, "m"),
                 number_of(row, "n"), number_of(row, "k"));
        add_format(doctor, name, "%.0f GFLOP/s, %.0f %% of the library's best", number_of(row, "gflops"),
                   100 * number_of(row, "share"));
    }
}

/* Products, kernels and what follows from them, by the trainer's own measurement; one thread. */
static void check_speed(struct doctor *doctor, const char *model)
{
    const cJSON *row;
    struct err err = {0};
    if (ask_trainer("--bench", model, &doctor->bench, &err) < 0) {
        add(doctor, FINDING_MISSING, "speed", err.message, NULL);
        return;
    }
    add_format(doctor, "measured", "%s, %.0f tokens a product, one thread, processor time",
               text_of(doctor->bench, "model"), number_of(doctor->bench, "tokens"));
    add_format(doctor, "fp32 best product", "%.0f GFLOP/s", number_of(doctor->bench, "best_gflops"));
    add_products(doctor, "products", "fp32");
    if (json_get(doctor->bench, "best_bf16_gflops"))
        add_format(doctor, "bf16 best product", "%.0f GFLOP/s", number_of(doctor->bench, "best_bf16_gflops"));
    add_products(doctor, "bf16_products", "bf16");
    add_format(doctor, "triad", "%.1f GB/s", number_of(doctor->bench, "triad_gb_per_second"));
    cJSON_ArrayForEach(row, json_get(doctor->bench, "kernels"))
    {
        add_format(doctor, text_of(row, "kernel"), "%.1f GB/s, %.0f %% of the triad", number_of(row, "gb_per_second"),
                   100 * number_of(row, "share"));
    }
    cJSON_ArrayForEach(row, json_get(doctor->bench, "roofline"))
    {
        char name[64];
        snprintf(name, sizeof(name), "roofline %s %s", text_of(row, "method"), text_of(row, "compute"));
        add_format(doctor, name, "%.0f tokens/s a core at these rates, %.0f if every product ran at the best",
                   number_of(row, "estimate"), number_of(row, "ceiling"));
    }
}

/* Files --------------------------------------------------------------------------------------------------------------
 */

/* The nearest folder above `path` that exists; owned by the caller. */
static char *existing_folder(const char *path)
{
    char *folder = file_folder(path);
    while (folder && !file_is_folder(folder) && !text_equal(folder, ".") && !text_equal(folder, "/")) {
        char *above = file_folder(folder);
        free(folder);
        folder = above;
    }
    return folder;
}

static void check_disk(struct doctor *doctor, const char *folder)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) != 0)
        return;
    double gib = (double)disk.f_bavail * (double)disk.f_frsize / (1 << 30);
    char value[128];
    snprintf(value, sizeof(value), "%.1f GiB free", gib);
    add(doctor, gib < 1 ? FINDING_HINT : FINDING_OK, "disk", value,
        gib < 1 ? "checkpoints and adapters need room; --store puts them elsewhere" : NULL);
}

static void check_store(struct doctor *doctor, const char *path)
{
    struct store *store = NULL;
    struct err err = {0};
    struct text text = {0};
    char *folder = existing_folder(path);
    int rc = store_open(&store, path, STORE_READ, &err);
    if (rc == 0) {
        text_printf(&text, "'%s', schema version %d", path, STORE_VERSION);
        add(doctor, FINDING_OK, "store", text.data, NULL);
    } else if (rc == ERR_NOT_FOUND && folder && access(folder, W_OK) == 0) {
        text_printf(&text, "'%s', none yet", path);
        add(doctor, FINDING_OK, "store", text.data, NULL);
    } else {
        add(doctor, FINDING_MISSING, "store", rc == ERR_NOT_FOUND ? "its folder cannot be written to" : err.message,
            "--store names another one");
    }
    if (folder)
        check_disk(doctor, folder);
    store_close(store);
    text_done(&text);
    free(folder);
}

/* Of the ready sweeps; a sweep of one's own may have them anywhere. */
static void check_inputs(struct doctor *doctor)
{
    bool has_model = file_exists("models/minilm/model.safetensors"), has_data = file_exists("data/movies/train.jsonl");
    add(doctor, has_model ? FINDING_OK : FINDING_HINT, "model of the ready sweeps",
        has_model ? "models/minilm" : "not in models/minilm below this folder", has_model ? NULL : "`make models`");
    add(doctor, has_data ? FINDING_OK : FINDING_HINT, "data of the ready sweeps",
        has_data ? "data/movies" : "not in data/movies below this folder", has_data ? NULL : "`make data`");
}

/* Writing ------------------------------------------------------------------------------------------------------------
 */

static const char *const kind_names[] = {"ok", "hint", "missing"};

static void add_text(struct text *out, const struct doctor *doctor)
{
    static const char *const titles[] = {"", "", ""};
    struct columns columns;
    columns_init(&columns, 3, titles);
    for (int i = 0; i < doctor->n; i++) {
        const struct finding *finding = &doctor->findings[i];
        struct text value = {0};
        text_printf(&value, "%s%s%s", finding->value ? finding->value : "", finding->advice ? ": " : "",
                    finding->advice ? finding->advice : "");
        columns_add(&columns, kind_names[finding->kind]);
        columns_add(&columns, finding->name ? finding->name : "");
        columns_add(&columns, value.data);
        text_done(&value);
    }
    columns_write(out, &columns, "");
    columns_done(&columns);
}

static void add_json(struct text *out, const struct doctor *doctor, bool is_ready)
{
    text_printf(out, "{\"v\":1,\"ready\":%s,\"findings\":[", is_ready ? "true" : "false");
    for (int i = 0; i < doctor->n; i++) {
        const struct finding *finding = &doctor->findings[i];
        text_printf(out, "%s{\"kind\":\"%s\",\"name\":", i ? "," : "", kind_names[finding->kind]);
        printable_add_json(out, finding->name ? finding->name : "");
        text_add(out, ",\"value\":");
        printable_add_json(out, finding->value ? finding->value : "");
        text_add(out, ",\"advice\":");
        if (finding->advice)
            printable_add_json(out, finding->advice);
        else
            text_add(out, "null");
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
    char *bench = doctor->bench ? cJSON_PrintUnformatted(doctor->bench) : NULL;
    if (bench)
        text_printf(out, ",\"bench\":%s", bench);
    free(bench);
    text_add(out, "}\n");
}

static int run(const struct command_line *line, struct err *err)
{
    struct doctor doctor = {0};
    struct text out = {0};
    bool is_ready = true;
    if (command_has(line, "model") && !command_has(line, "bench"))
        return err_set(err, ERR_USAGE, "doctor: --model goes with --bench, which measures its shapes");
    check_versions(&doctor);
    check_machine(&doctor);
    check_trainer(&doctor);
    check_worker(&doctor);
    check_store(&doctor, line->store);
    check_inputs(&doctor);
    if (command_has(line, "bench"))
        check_speed(&doctor, command_value(line, "model"));
    for (int i = 0; i < doctor.n; i++)
        is_ready = is_ready && doctor.findings[i].kind != FINDING_MISSING;
    if (command_has(line, "json"))
        add_json(&out, &doctor, is_ready);
    else
        add_text(&out, &doctor);
    int rc = command_print(&out, "the findings", 0, err);
    for (int i = 0; i < doctor.n; i++) {
        free(doctor.findings[i].name);
        free(doctor.findings[i].value);
        free(doctor.findings[i].advice);
    }
    json_free(doctor.bench);
    return rc == 0 && !is_ready ? 3 : rc;
}

static const struct command_option options[] = {
    {"bench", NULL, "measure matrix products and kernels too: some seconds"},
    {"model", "FOLDER", "with --bench: the model folder whose shapes are measured (default: MiniLM-L6's)"},
    {"json", NULL, "write one JSON object"},
    {NULL, NULL, NULL},
};

const struct command command_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "what this installation has, and what is missing",
    .description =
        "Versions of the programs and libraries, the BLAS library's core and the kernels' level, cores, memory "
        "and disk, whether trainer and worker are found, whether the store can be opened, and whether model "
        "and data of the ready sweeps are there. Each line is ok, a hint, or missing; the exit status is 3 "
        "when something is missing that every run needs.\n"
        "\n"
        "--bench measures on one thread, by processor time: GFLOP/s of a model's matrix products beside the "
        "library's own best, the bandwidth of the kernels between them beside a STREAM triad over arrays of "
        "16 MiB, and the tokens a second of LoRA and of full fine-tuning on short texts that follow from both.",
    .options = options,
    .least_arguments = 0,
    .most_arguments = 0,
    .run = run,
};
