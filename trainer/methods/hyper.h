/* What hypernetworks share: the embedding of a task at a place, and going by the task of each sequence. */
#ifndef TRAINER_METHODS_HYPER_H
#define TRAINER_METHODS_HYPER_H

#include "trainer/methods/method_file.h"

struct hyper {
    struct param *task, *layer, *place; /* embeddings (n, size) */
    struct param *proj1, *proj1_bias, *proj2, *proj2_bias, *norm, *norm_bias;
    int projected;  /* size of what hyper_embedding gives */
    int fixed_task; /* settings.hyper_task; −1: each sequence's own */
    int n_tasks;
    bool is_frozen; /* settings.hyper_trained is "task": all but the tasks' embeddings stays as it is */
};

/* Adds the tensors that make embeddings, below `prefix`, drawn from the seed. ERR_UNSUPPORTED when there are more tasks
 * than settings.hyper_tasks, or settings.hyper_task is none of them. */
int hyper_add(struct hyper *hyper, struct model *model, const char *method, const char *prefix, const cJSON *settings,
              uint64_t seed, struct err *err) MUST_CHECK;
/* One more tensor of the network: a generator (rows, projected), or with rows 0 a vector of `cols`. */
int hyper_add_tensor(const struct hyper *hyper, struct model *model, struct param **param, const char *method,
                     const char *prefix, int rows, int cols, const char *name, struct err *err) MUST_CHECK;
/* e = LN(W₂ ReLU(W₁ [z_task; z_layer; z_place] + b₁) + b₂), (1, projected). */
struct value *hyper_embedding(const struct hyper *hyper, struct tape *tape, int task, int layer, int place);
/* W e + b as (rows, cols). */
struct value *hyper_generate(struct tape *tape, struct value *e, struct param *weight, struct param *bias, int rows,
                             int cols);
/* f(x) row by row, with what f makes for the task of each row's sequence: (rows of x, cols). */
typedef struct value *(*hyper_fn)(const void *context, struct pass *pass, int task, struct value *x);
struct value *hyper_by_task(const struct hyper *hyper, struct pass *pass, struct value *x, int cols, hyper_fn f,
                            const void *context);

/* The tensors, and the names of the tasks. Reading takes tasks by their names: one that the file does not know starts
 * at settings.hyper_start, or at the mean of those it knows. */
int hyper_save(const struct model *model, const char *method, const char *folder, struct err *err) MUST_CHECK;
int hyper_load(struct model *model, const char *prefix, const cJSON *settings, const char *folder,
               struct err *err) MUST_CHECK;

#endif
