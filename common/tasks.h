/* The kinds of tasks and what a definition says about each: a row a kind, read by the definition, the job, the trainer
 * and the checks. What a task computes is the trainer's (trainer/task.h). */
#ifndef COMMON_TASKS_H
#define COMMON_TASKS_H

#include <stdbool.h>

enum { TASK_MAX_KEYS = 6, TASK_MAX_METRICS = 8 };

/* Where a row keeps what a column holds (trainer/rows.h); TASK_NAME: which of several tasks, trained
 * together, it belongs to; TASK_OPTION: no column, but a member of the task. */
enum task_slot { TASK_TEXT, TASK_PAIR, TASK_LABEL, TASK_LIST, TASK_NAME, TASK_OPTION };

/* What stands in a column, or in an option. */
enum task_value {
    VALUE_TEXT,    /* a text that is not empty */
    VALUE_LABEL,   /* a text, a whole number or a flag */
    VALUE_NUMBER,  /* a number */
    VALUE_WORDS,   /* a list of words, or a text that is cut at white space */
    VALUE_CHOICES, /* a list of texts; the task may name several columns of one text each instead */
    VALUE_ANSWERS, /* a text, a list of texts, or SQuAD's {"text": […], "answer_start": […]} */
    VALUE_MAP      /* options: an object of texts */
};

struct task_key {
    const char *name; /* member of the definition's `task`; NULL ends the list */
    enum task_slot slot;
    enum task_value value;
    bool is_required;
};

struct task_metric {
    const char *name; /* without "validation/"; NULL ends the list */
    bool is_maximized;
    bool is_curve; /* a point at every validation, and an objective that may be chosen */
};

struct task_info {
    const char *name;
    struct task_key keys[TASK_MAX_KEYS + 1];
    struct task_metric metrics[TASK_MAX_METRICS + 1]; /* the first is the objective unless the definition names one */
    bool has_classes; /* its labels are a small set: rows are split and sampled label by label */
    bool has_head;    /* layers of its own are trained with every method */
    bool is_labelled; /* rows to predict carry what is to be learned: it comes out of the text */
    bool takes_chat;  /* its texts may be a user's messages */
};

extern const struct task_info tasks_table[];         /* ends with a name of NULL */
const struct task_info *task_find(const char *kind); /* NULL when unknown */
/* Its bit in check_info.tasks: 1 << its place in the table. */
unsigned task_bit(const struct task_info *info);
/* Why a setting that is given (not its default) does not apply to the task, or NULL: it does. Static text. */
const char *task_refuses_setting(const struct task_info *info, const char *setting);
/* The kinds' names, NULL-terminated, for text_nearest. */
const char *const *task_names(void);
/* Its metrics with "validation/" in front, NULL-terminated: all that a final evaluation reports, or only the curves.
 * Static texts. */
const char *const *task_reports(const struct task_info *info, bool only_curves);
/* The metric's row by its name without "validation/"; NULL: the task has none of that name. */
const struct task_metric *task_metric(const struct task_info *info, const char *name);
/* "classification, causal or seq2seq" of all kinds, names with `before` in front ("validation/"); static text. */
const char *task_list(const char *const *names);

#endif
