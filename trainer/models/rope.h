/* Rotary positions as configs describe them: rope_theta with rope_scaling, or rope_parameters. */
#ifndef TRAINER_MODELS_ROPE_H
#define TRAINER_MODELS_ROPE_H

#include "trainer/model.h"

struct rope {
    int half;            /* pairs a head */
    double *frequencies; /* half of them, in the trial arena */
    double scaling;      /* of cosines and sines (yarn); 1 for others */
    /* dynamic: sequences longer than max_positions turn with a larger base, by their own length */
    bool is_dynamic;
    double theta, factor;
    int max_positions;
};

/* Reads the config. Types: default; linear and dynamic (position interpolation, NTK-aware); llama3; yarn (Peng et al.
 * 2023, arXiv:2309.00071). ERR_UNSUPPORTED for others. */
int rope_load(struct model *model, struct rope *rope, int head_size, struct err *err) MUST_CHECK;
/* The rotation of every row of the layout, in the step arena; false when it is full. */
bool rope_rotation(const struct rope *rope, struct tape *tape, const struct layout *layout, struct rotation *rotation);

#endif
