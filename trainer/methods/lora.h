/* What LoRA and its relatives share: pairs A (r, in), B (out, r) at linear sites, and PEFT's files of them. */
#ifndef TRAINER_METHODS_LORA_H
#define TRAINER_METHODS_LORA_H

#include "trainer/methods/gate.h"

struct lora {
    const struct site *site;
    struct param *a, *b; /* (r, in), (out, r) */
    int rank;
    double scaling, dropout; /* scaling s: α/r, or α/√r when rank_stabilized */
    uint32_t dropout_site;
    /* AdapterHub's form: gates instead of the scaling; of a fused projection only some parts (bit p: part p of 3),
     * whose A and B lie below each other. */
    struct gate gate;
    unsigned parts; /* 0: the whole site */
};

/* Whether the settings' targets and layers take in the site; by default those LoRA usually goes to. */
bool lora_wants(const struct model *model, const cJSON *settings, const struct site *site);
/* Site, rank, scaling and dropout from the settings. */
void lora_read(struct lora *lora, const struct site *site, const cJSON *settings);
/* LoRA of an embedding site; only when the settings name it. */
int lora_embedding_attach(struct model *model, struct site *site, const cJSON *settings, uint64_t seed,
                          struct err *err) MUST_CHECK;
/* The parts (query, key, value) of a fused projection that the targets name by role; 0 when it is wanted whole. */
unsigned lora_parts(const struct site *site, const cJSON *settings);
/* Adds the pair of a site as tensors <site>.lora_A<suffix> and <site>.lora_B<suffix> (suffix NULL: AdapterHub's names),
 * zeroed; rank, alpha and their patterns from the settings. `lora->parts` is set before. */
int lora_add(struct model *model, struct lora *lora, const struct site *site, const cJSON *settings, const char *method,
             const char *suffix, struct err *err) MUST_CHECK;
/* A: uniform ±1/√in (Kaiming's with a = √5) or normal with deviation 1/r; B stays 0. */
void lora_init(struct lora *lora, const cJSON *settings, uint64_t seed);
/* B A dropout(x): (n, out), not yet scaled. */
struct value *lora_update(const struct lora *lora, struct pass *pass, struct value *x);
/* A (rank × in) applied to rows of the weight whatever its storage: scores (out, rank) = W Aᵀ. */
void lora_project_weight(const struct site *site, const real *weight, const real *a, int rank, real *out);

/* adapter_model.safetensors and adapter_config.json; `extra` is JSON members in front of the common ones
 * ("\"use_dora\":true,"), or "". */
int lora_save_files(const struct model *model, const cJSON *settings, const char *method, const char *extra,
                    const char *folder, struct err *err) MUST_CHECK;
/* adapter_config.json alone. */
int lora_save_config(const struct model *model, const cJSON *settings, const char *extra, const char *folder,
                     struct err *err) MUST_CHECK;
int lora_load_files(struct model *model, const cJSON *settings, const char *method, const char *folder,
                    struct err *err) MUST_CHECK;
/* ,"target_modules":[…]: full names of the sites that have a tensor <site>.<part>. */
void lora_add_targets(struct text *json, const struct model *model, const char *part);

#endif
