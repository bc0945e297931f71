/* The subcommands that are built in; command.c lists them. */
#ifndef ORCHESTRATOR_COMMAND_KINDS_H
#define ORCHESTRATOR_COMMAND_KINDS_H

#include "orchestrator/command.h"

extern const struct command command_plan, command_run, command_status, command_names, command_show, command_export,
    command_train, command_doctor;
extern const struct command command_suggest, command_tell;
extern const struct command command_serve;
extern const struct command command_advise, command_compare;
extern const struct command command_slurm;
extern const struct command command_score;
extern const struct command command_data;
extern const struct command command_generate;
extern const struct command command_predict;
extern const struct command command_eval;
extern const struct command command_merge, command_vocabulary, command_extend;
extern const struct command command_import;
extern const struct command command_recover;
extern const struct command command_cancel, command_retry, command_pause, command_resume, command_adjust;
extern const struct command command_archive, command_delete, command_gc, command_backup;
extern const struct command command_explain, command_init;

#endif
