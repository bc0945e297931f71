/* A trial that kept an adapter: where it lies, and what it was trained with. For the commands that use it afterwards.
 */
#ifndef ORCHESTRATOR_TRAINED_H
#define ORCHESTRATOR_TRAINED_H

#include "orchestrator/choice.h"
#include "orchestrator/definition.h"

struct trained {
    struct definition definition;
    char *adapter;   /* its folder: the trial's own, or that of an equal trial whose result it took */
    char *test;      /* the task's test file, or NULL */
    cJSON *recorded; /* the metrics of its final test, or NULL */
};

/* The trial of that id. ERR_NOT_FOUND when it kept no adapter or the folder is gone; ERR_DATA when the model is not the
 * one it was trained on. Done also after a failure. */
int trained_read(struct trained *trained, struct store *store, int64_t id, struct err *err) MUST_CHECK;
/* Folds its adapter into its base: a model folder at `output`, which must not exist. By the trainer beside this
 * program, in a folder beside the one asked for: it can write nowhere else. `output` appears whole or not at all.
 * `format` and `type` as trainer/merge_command.h says; NULL: safetensors, f32. */
int trained_merge(const struct trained *trained, const char *output, const char *format, const char *type,
                  struct err *err) MUST_CHECK;
void trained_done(struct trained *trained);
/* choice_run_trial of a trial that is the argument, or --trial. ERR_USAGE without one. */
int trained_run(const struct command_line *line, choice_trial_fn answer, struct err *err) MUST_CHECK;

#endif
