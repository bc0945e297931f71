/* nightsweep-worker: runs trainers on this machine for a coordinator. Started by it, locally or through ssh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/file.h"
#include "common/text.h"
#include "common/version.h"
#include "worker/worker.h"

static const char help[] =
    "usage: nightsweep-worker --slots N [--marker FILE] [--file PATH]... [--trainer PATH]\n"
    "\n"
    "Runs trainers for a coordinator that writes commands to its standard input and reads records from its standard\n"
    "output (docs/protocol.md). The coordinator starts it; it ends with it.\n"
    "\n"
    "  --slots N          trainers at a time\n"
    "  --marker FILE      a file whose content it tells the coordinator: proves that both see the same folder\n"
    "  --file PATH        a file or folder that trainers will read; it tells the coordinator when it cannot be read "
    "here\n"
    "  --trainer PATH     the trainer's program (default: nightsweep-trainer beside this program)\n"
    "  --heartbeat-ms N   milliseconds between heartbeats (default: 1000)\n"
    "  --version          prints the version and ends\n"
    "  --help             prints this text and ends\n"
    "\n"
    "Exit status: 0 told to quit or the coordinator is gone, 2 wrong command line or command, 3 environment, 70 a "
    "bug.\n";

static int parse_count(const char *name, const char *value, int most, int *out, struct err *err)
{
    int64_t n = 0;
    if (text_parse_int64(value, &n, err) < 0)
        return err_wrap(err, "%s", name);
    if (n < 1 || n > most)
        return err_set(err, ERR_USAGE, "%s: '%s' is not from 1 to %d", name, value, most);
    *out = (int)n;
    return 0;
}

/* One option with its value; ERR_USAGE for one that is unknown. */
static int parse_option(struct worker_options *options, const char *name, const char *value, struct err *err)
{
    static const char *const names[] = {"--slots", "--marker",  "--trainer", "--heartbeat-ms",
                                        "--file",  "--version", "--help",    NULL};
    const char *nearest = text_nearest(name, names);
    for (size_t i = 0; i < 5; i++)
        if (text_equal(name, names[i]) && !value)
            return err_set(err, ERR_USAGE, "%s: a value was expected behind it", name);
    if (text_equal(name, "--slots"))
        return parse_count(name, value, WORKER_MAX_SLOTS, &options->slots, err);
    if (text_equal(name, "--heartbeat-ms"))
        return parse_count(name, value, 1000 * 1000, &options->heartbeat_ms, err);
    if (text_equal(name, "--file") && options->n_files == WORKER_FILES_MAX)
        return err_set(err, ERR_USAGE, "%s: more than %d files", name, WORKER_FILES_MAX);
    if (text_equal(name, "--file"))
        options->files[options->n_files++] = value;
    else if (text_equal(name, "--marker"))
        options->marker = value;
    else if (text_equal(name, "--trainer"))
        options->trainer = value;
    else
        return err_set(err, ERR_USAGE, "unknown option '%s'%s%s", name, nearest ? ", nearest is " : "",
                       nearest ? nearest : "");
    return 0;
}

static int parse(struct worker_options *options, int argc, char **argv, struct err *err)
{
    for (int i = 1; i < argc; i += 2) {
        int rc = parse_option(options, argv[i], i + 1 < argc ? argv[i + 1] : NULL, err);
        if (rc < 0)
            return rc;
    }
    if (options->slots == 0)
        return err_set(err, ERR_USAGE, "--slots is missing: how many trainers run at a time");
    return 0;
}

/* The trainer beside this program; owned by the caller. */
static char *default_trainer(void)
{
    char *folder = file_program_folder();
    char *trainer = folder ? file_join(folder, "nightsweep-trainer") : NULL;
    free(folder);
    return trainer;
}

int main(int argc, char **argv)
{
    struct worker_options options = {.heartbeat_ms = WORKER_HEARTBEAT_MS};
    struct err err = {0};
    for (int i = 1; i < argc; i++) {
        if (text_equal(argv[i], "--help")) {
            fputs(help, stdout);
            return 0;
        }
        if (text_equal(argv[i], "--version")) {
            printf("nightsweep-worker %s (%s)\n", version_program(), version_commit());
            return 0;
        }
    }
    char *trainer = default_trainer();
    options.trainer = trainer;
    int rc = parse(&options, argc, argv, &err);
    if (rc == 0 && !options.trainer)
        rc = err_set(&err, ERR_NOMEM, "no memory for the trainer's path");
    if (rc == 0)
        rc = worker_run(&options, &err);
    if (rc < 0)
        fprintf(stderr, "nightsweep-worker: %s\n", err.message);
    free(trainer);
    return rc < 0 ? err_exit_status(err.code) : 0;
}
