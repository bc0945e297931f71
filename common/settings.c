/* The settings table. One row a setting; nothing else in the program lists them. */
#include "common/settings.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const methods[] = {
    "full",   "partial",  "linear_probe", "bitfit",     "layer_norm",    "lora",      "dora",
    "pissa",  "vera",     "adalora",      "ia3",        "adapter",       "compacter", "fusion",
    "prompt", "p_tuning", "prefix",       "hyper_lora", "hyper_adapter", "smoe",      NULL};
static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const char *const schedules[] = {"constant", "linear", "cosine", "inverse_sqrt", NULL};
static const char *const placements[] = {"houlsby", "pfeiffer", "parallel", "sequential", NULL};
static const char *const activations[] = {"relu", "gelu", "gelu_new", "silu", "tanh", NULL};
static const char *const scalings[] = {"learned", "channel", NULL};
static const char *const gatings[] = {"none", "masked", "adapterhub", NULL};
static const char *const prompt_starts[] = {"random", "vocabulary", "text", NULL};
static const char *const prompt_positions[] = {"first", "behind_first", NULL};
static const char *const prompt_spaces[] = {"words", "hidden", NULL};
static const char *const prompt_encoders[] = {"mlp", "lstm", NULL};
static const char *const prefix_positions[] = {"shifted", "kept", NULL};
static const char *const lora_biases[] = {"none", "all", "lora_only", NULL};
static const char *const lora_inits[] = {"kaiming", "gaussian", NULL};
static const char *const poolings[] = {"pooler", "mean", "first", NULL};
static const char *const chat_templates[] = {"auto",         "chatml",      "llama-2",      "llama-3",
                                             "alpaca",       "plain",       "text_vanilla", "text_alpaca",
                                             "chat_vanilla", "chat_alpaca", "chat_safety",  NULL};
static const char *const heads[] = {"seeded", "model", NULL};
static const char *const weightings[] = {"none", "balanced", NULL};
static const char *const augmentations[] = {"none",   "synonym",          "swap", "delete", "insert",
                                            "cutout", "back_translation", "copy", NULL};
static const char *const orders[] = {"shuffle", "file", NULL};
static const char *const computes[] = {"fp32", "bf16", NULL};
static const char *const storages[] = {"float32", "file", NULL};
static const char *const frozen_prefixes[] = {"none", "shared", NULL};
static const char *const hyper_trainings[] = {"all", "task", NULL};
static const char *const expert_kinds[] = {"adapter", "lora", "feed_forward", NULL};
static const char *const expert_inits[] = {"copied", "seeded", NULL};

#define LARGE              1e15
#define NUMBER(low, high)  .types = SETTING_NUMBER, .min = (low), .max = (high)
#define INT(low, high)     .types = SETTING_INT, .min = (low), .max = (high)
#define BOOL               .types = SETTING_BOOL
#define CHOICE(names)      .types = SETTING_CHOICE, .choices = (names)
#define WHEN(name, values) .when = (name), .when_values = (values)
#define LORA               WHEN("method", "lora dora pissa adalora hyper_lora")
#define HYPER              WHEN("method", "hyper_lora hyper_adapter")
#define ADAPTER            WHEN("method", "adapter compacter")

const struct setting settings_table[] = {
    {"method", "method", .types = SETTING_CHOICE | SETTING_CHOICES, .choices = methods, .default_json = "\"full\"",
     .help = "how the model is adapted; a list attaches several, in order"},
    {"rank", "method", INT(1, 65536), .default_json = "8", WHEN("method", "lora dora pissa adalora vera hyper_lora"),
     .help = "rank r of the LoRA matrices; AdaLoRA: to begin with"},
    {"alpha", "method", NUMBER(0, LARGE), .min_is_open = true, .default_json = "16", LORA,
     .help = "LoRA scaling numerator: the update is scaled by alpha/rank"},
    {"rank_stabilized", "method", BOOL, .default_json = "false", WHEN("method", "lora dora pissa adalora"),
     .help = "scale by alpha/sqrt(rank) instead"},
    {"rank_pattern", "method", .types = SETTING_NUMBER_MAP, .min = 1, .max = 65536,
     WHEN("method", "lora dora pissa adalora"), .help = "other ranks for modules whose name ends with the key"},
    {"alpha_pattern", "method", .types = SETTING_NUMBER_MAP, .min = 0, .max = LARGE, .min_is_open = true,
     WHEN("method", "lora dora pissa adalora"), .help = "other alphas for modules whose name ends with the key"},
    {"lora_bias", "method", CHOICE(lora_biases), .default_json = "\"none\"", WHEN("method", "lora"),
     .help = "which biases of the base model are trained beside LoRA"},
    {"lora_init", "method", CHOICE(lora_inits), .default_json = "\"kaiming\"", WHEN("method", "lora dora"),
     .help = "initialisation of A: uniform ±1/sqrt(in) or normal with deviation 1/rank; B starts at zero"},
    {"target_rank", "method", INT(1, 65536), .default_json = "4", WHEN("method", "adalora"),
     .help = "mean rank that AdaLoRA's allocation ends with"},
    {"orthogonality_weight", "method", NUMBER(0, LARGE), .default_json = "0.5", WHEN("method", "adalora"),
     .help = "weight of the loss that holds AdaLoRA's factors near orthonormal"},
    {"allocation_warmup", "method", NUMBER(0, 1), .default_json = "0.1", WHEN("method", "adalora"),
     .help = "share of the steps before AdaLoRA begins to cut ranks"},
    {"allocation_final", "method", NUMBER(0, 1), .default_json = "0.3", WHEN("method", "adalora"),
     .help = "share of the steps at the end in which AdaLoRA's ranks stay as they are"},
    {"allocation_every", "method", INT(1, 1e9), .default_json = "1", WHEN("method", "adalora"),
     .help = "AdaLoRA cuts ranks every so many steps"},
    {"allocation_beta1", "method", NUMBER(0, 1), .max_is_open = true, .default_json = "0.85", WHEN("method", "adalora"),
     .help = "smoothing of AdaLoRA's sensitivity over steps"},
    {"allocation_beta2", "method", NUMBER(0, 1), .max_is_open = true, .default_json = "0.85", WHEN("method", "adalora"),
     .help = "smoothing of AdaLoRA's uncertainty over steps"},
    {"targets", "method", .types = SETTING_TEXT_LIST, WHEN("method", "lora dora pissa adalora vera ia3"),
     .help = "modules that get the method, by the end of their name (default: the model's usual, query and value; IA3: "
             "key, value and the feed-forward's output)"},
    {"feed_forward_targets", "method", .types = SETTING_TEXT_LIST, WHEN("method", "ia3"),
     .help = "those of IA3's targets whose input is scaled instead of their output"},
    {"layers", "method", .types = SETTING_INT_LIST, .min = 0, .max = 65535,
     WHEN("method",
          "lora dora pissa adalora vera ia3 adapter compacter prefix bitfit layer_norm hyper_lora hyper_adapter smoe"),
     .help = "layers that get the method, counted from 0 (default: all)"},
    {"top_layers", "method", INT(0, 65535), .default_json = "2", WHEN("method", "partial"),
     .help = "how many of the highest layers are trained whole; methods beside it go to the layers below"},
    {"bias_terms", "method", .types = SETTING_TEXT_LIST, WHEN("method", "bitfit"),
     .help = "modules whose biases are trained, by the end of their name (default: all)"},
    {"adapter_size", "method", INT(1, 65536), .default_json = "64", WHEN("method", "adapter compacter hyper_adapter"),
     .help = "bottleneck size of an adapter"},
    {"adapter_placement", "method", CHOICE(placements), .default_json = "\"pfeiffer\"", ADAPTER,
     .help = "houlsby: after attention and after the feed-forward; pfeiffer: after the feed-forward, on the norm of "
             "the sum; "
             "sequential: on the feed-forward's own output; parallel: beside it"},
    {"activation", "method", CHOICE(activations), WHEN("method", "adapter compacter hyper_adapter"),
     .help = "non-linearity of an adapter (default: the placement's paper: houlsby and hyper_adapter silu, pfeiffer "
             "and parallel relu)"},
    {"adapter_scaling", "method", .types = SETTING_NUMBER | SETTING_CHOICE, .min = 0, .max = LARGE, .min_is_open = true,
     .choices = scalings, ADAPTER,
     .help =
         "factor on an adapter's output: a number, learned, or learned per channel (default: parallel 4, others 1)"},
    {"adapter_norm_before", "method", BOOL, .default_json = "false", ADAPTER,
     .help = "a layer norm in front of each adapter"},
    {"adapter_norm_after", "method", BOOL, .default_json = "false", ADAPTER,
     .help = "a layer norm behind each adapter"},
    {"adapter_invertible", "method", BOOL, .default_json = "false", ADAPTER,
     .help = "an invertible adapter behind the embeddings too (MAD-X)"},
    {"inverse_reduction", "method", NUMBER(1, 65536), .default_json = "2", ADAPTER,
     .help = "its input width over its hidden width"},
    {"phm_dim", "method", INT(1, 64), .default_json = "4", WHEN("method", "compacter"),
     .help = "number of Kronecker products in each weight of Compacter; divides hidden and adapter size"},
    {"phm_rank", "method", INT(1, 64), .default_json = "1", WHEN("method", "compacter"),
     .help = "rank of their right factors"},
    {"stacked_on", "method", .types = SETTING_TEXT_LIST, ADAPTER,
     .help = "saved adapters (folders) that stay frozen below this one: a language adapter below a task adapter"},
    {"fused_adapters", "method", .types = SETTING_TEXT_LIST, WHEN("method", "fusion"),
     .help = "saved adapters (folders) that AdapterFusion attends to"},
    {"fusion_regularization", "method", NUMBER(0, LARGE), .default_json = "0.01", WHEN("method", "fusion"),
     .help = "weight of the loss that holds AdapterFusion's values near what the adapters give"},
    {"gating", "method", CHOICE(gatings), .default_json = "\"none\"", WHEN("method", "lora adapter compacter prefix"),
     .help = "gates of UniPELT: masked means over a sequence's own tokens (in causal models: so far), or as AdapterHub "
             "over padding and later tokens too"},
    {"hyper_tasks", "method", INT(1, 65536), HYPER,
     .help = "tasks that one hypernetwork knows (default: those of the data, or one)"},
    {"hyper_task", "method", INT(0, 65535), HYPER,
     .help = "the task of all rows, counted from 0 (default: each row's own, where the data names tasks)"},
    {"hyper_embedding_size", "method", INT(1, 65536), .default_json = "64", HYPER,
     .help = "size of the hypernetwork's embeddings of task, layer and place"},
    {"hyper_hidden_size", "method", INT(1, 65536), .default_json = "128", HYPER,
     .help = "hidden size of the hypernetwork"},
    {"hyper_projected_size", "method", INT(1, 65536), HYPER,
     .help = "size of what its generators read (default: hyper_embedding_size)"},
    {"strata", "method", .types = SETTING_SIZE_LIST, .min = 1, .max = 1024, .default_json = "[4,4]",
     WHEN("method", "smoe"),
     .help = "experts of each stratum of the mixture; tokens of a lower one go on to the next. One stratum: a plain "
             "mixture"},
    {"expert_kind", "method", CHOICE(expert_kinds), .default_json = "\"adapter\"", WHEN("method", "smoe"),
     .help = "bottlenecks or LoRA pairs behind each layer, or experts in the place of feed-forwards"},
    {"expert_size", "method", INT(1, 65536), .default_json = "16", WHEN("expert_kind", "adapter lora"),
     .help = "bottleneck size or rank of an expert"},
    {"expert_alpha", "method", NUMBER(0, LARGE), .min_is_open = true, .default_json = "16", WHEN("expert_kind", "lora"),
     .help = "scaling numerator of a LoRA expert: alpha/expert_size"},
    {"expert_inner_size", "method", INT(1, 1048576), WHEN("expert_kind", "feed_forward"),
     .help = "inner width of an expert (default: the feed-forward's)"},
    {"expert_init", "method", CHOICE(expert_inits), .default_json = "\"copied\"", WHEN("expert_kind", "feed_forward"),
     .help = "experts start as copies of the feed-forward, or from the seed"},
    {"expert_interval", "method", INT(1, 65535), WHEN("method", "smoe"),
     .help = "experts in every so manieth layer (default: feed_forward every 2nd, the others every one)"},
    {"expert_top", "method", INT(1, 2), .default_json = "1", WHEN("method", "smoe"),
     .help = "experts that a gate sends a token to"},
    {"expert_capacity", "method", NUMBER(0, LARGE), .default_json = "0", WHEN("method", "smoe"),
     .help = "in training an expert takes at most so many times its even share of a gate's tokens; 0: all"},
    {"expert_masking", "method", NUMBER(0, 1), .max_is_open = true, .default_json = "0", WHEN("method", "smoe"),
     .help = "share of the tokens that get nothing from the experts in training"},
    {"balance_weight", "method", NUMBER(0, LARGE), .default_json = "0.01", WHEN("method", "smoe"),
     .help = "weight of the loss that spreads tokens over experts"},
    {"prompt_length", "method", INT(1, 65536), .default_json = "10", WHEN("method", "prompt p_tuning prefix"),
     .help = "rows of a prompt, or keys and values of a prefix"},
    {"prompt_init", "method", CHOICE(prompt_starts), .default_json = "\"vocabulary\"", WHEN("method", "prompt"),
     .help = "what a prompt starts from: random numbers, random words, or the words of prompt_text"},
    {"prompt_text", "method", .types = SETTING_TEXT, WHEN("prompt_init", "text"),
     .help = "the text a prompt starts from, repeated until it is full"},
    {"prompt_position", "method", CHOICE(prompt_positions), .default_json = "\"first\"",
     WHEN("method", "prompt p_tuning"),
     .help = "in front of each sequence, as PEFT, or behind its first token, which a classifier then still pools"},
    {"prompt_space", "method", CHOICE(prompt_spaces), .default_json = "\"words\"", WHEN("method", "prompt"),
     .help = "among the words, as PEFT, or behind position embeddings and their norm, as AdapterHub"},
    {"prompt_encoder", "method", CHOICE(prompt_encoders), .default_json = "\"mlp\"", WHEN("method", "p_tuning"),
     .help = "network that makes P-tuning's prompt"},
    {"prompt_lstm_layers", "method", INT(1, 8), .default_json = "2", WHEN("prompt_encoder", "lstm"),
     .help = "bidirectional layers of the LSTM"},
    {"prefix_mlp", "method", BOOL, .default_json = "false", WHEN("method", "prefix"),
     .help = "a network makes the prefix, instead of training it itself (which is P-tuning v2)"},
    {"prefix_positions", "method", CHOICE(prefix_positions), .default_json = "\"shifted\"", WHEN("method", "prefix"),
     .help = "tokens' positions start behind the prefix, as PEFT, or at 0, as AdapterHub"},
    {"prompt_hidden_size", "method", INT(1, 65536), WHEN("method", "p_tuning prefix"),
     .help = "hidden size of the network that makes the prompt or prefix (default: the model's)"},
    {"method_dropout", "method", NUMBER(0, 1), .max_is_open = true, .default_json = "0",
     WHEN("method", "lora dora pissa adalora vera adapter compacter hyper_lora hyper_adapter"),
     .help = "dropout inside the method (LoRA and its kind: on its input; adapter: on its output)"},

    {"learning_rate", "optimisation", NUMBER(0, LARGE), .min_is_open = true, .default_json = "0.001",
     .help = "peak learning rate (default by method: full 5e-5, partial 1e-4, linear_probe 5e-3, adapter 5e-4, ia3 "
             "5e-3, vera and prompt 1e-2, prefix 5e-3, others 1e-3)"},
    {"head_learning_rate_factor", "optimisation", NUMBER(0, LARGE), .default_json = "1",
     .help = "learning rate of the head, as a multiple of learning_rate"},
    {"lora_b_learning_rate_factor", "optimisation", NUMBER(0, LARGE), .default_json = "1",
     WHEN("method", "lora dora pissa adalora"),
     .help = "learning rate of the LoRA B matrices, as a multiple of learning_rate (LoRA+ uses 16)"},
    {"method_learning_rate_factors", "optimisation", .types = SETTING_NUMBER_MAP, .min = 0, .max = LARGE,
     .help = "learning rate of each method of a list, as multiples of learning_rate: {\"lora\": 2}"},
    {"hyper_trained", "optimisation", CHOICE(hyper_trainings), .default_json = "\"all\"", HYPER,
     .help = "all of a hypernetwork, or the embeddings of the tasks alone"},
    {"optimizer", "optimisation", CHOICE(optimizers), .default_json = "\"adamw\"", .help = "optimiser"},
    {"weight_decay", "optimisation", NUMBER(0, LARGE), .default_json = "0.01", .help = "decoupled weight decay"},
    {"decay_biases", "optimisation", BOOL, .default_json = "false",
     .help = "weight decay on biases and layer norms too"},
    {"momentum", "optimisation", NUMBER(0, 1), .max_is_open = true, .default_json = "0.9", WHEN("optimizer", "sgd"),
     .help = "momentum of SGD"},
    {"beta1", "optimisation", NUMBER(0, 1), .max_is_open = true, .default_json = "0.9", WHEN("optimizer", "adamw"),
     .help = "decay of AdamW's first moment"},
    {"beta2", "optimisation", NUMBER(0, 1), .max_is_open = true, .default_json = "0.999", WHEN("optimizer", "adamw"),
     .help = "decay of AdamW's second moment"},
    {"epsilon", "optimisation", NUMBER(0, 1), .min_is_open = true, .default_json = "1e-8", WHEN("optimizer", "adamw"),
     .help = "AdamW's epsilon, outside the square root"},
    {"batch_size", "optimisation", INT(1, 65536), .default_json = "32", .help = "examples in a batch"},
    {"accumulation", "optimisation", INT(1, 65536), .default_json = "1",
     .help = "batches summed into one optimiser step"},
    {"epochs", "optimisation", NUMBER(0, 1e6), .min_is_open = true, .default_json = "3",
     .help = "passes over the training data"},
    {"steps", "optimisation", INT(1, 1e9), .help = "optimiser steps, instead of epochs"},
    {"schedule", "optimisation", CHOICE(schedules), .default_json = "\"linear\"",
     .help = "learning rate over the steps"},
    {"warmup", "optimisation", NUMBER(0, 1e9), .default_json = "0.06",
     .help = "warm-up from 0: a share of all steps when below 1, else a number of steps"},
    {"clip", "optimisation", NUMBER(0, LARGE), .default_json = "1", .help = "largest gradient norm; 0: no clipping"},
    {"label_smoothing", "optimisation", NUMBER(0, 1), .max_is_open = true, .default_json = "0",
     .help = "share of the target spread over all classes"},
    {"class_weights", "optimisation", .types = SETTING_CHOICE | SETTING_NUMBER_MAP, .choices = weightings, .min = 0,
     .max = LARGE, .default_json = "\"none\"",
     .help = "weights of the classes in the loss: balanced (n/(C·n_c)) or a number a label"},
    {"dropout", "optimisation", NUMBER(0, 1), .max_is_open = true,
     .help = "dropout of hidden states and head (default: the model's)"},
    {"attention_dropout", "optimisation", NUMBER(0, 1), .max_is_open = true,
     .help = "dropout of attention probabilities (default: the model's)"},

    {"mask_probability", "data", NUMBER(0, 1), .min_is_open = true,
     .help = "masked: share of a text's tokens that is asked for (default: 0.15)"},
    {"chat_template", "data", CHOICE(chat_templates),
     .help = "causal with a target: text is a user's message and target the answer, written as this template has them; "
             "auto: the model's own"},
    {"max_tokens", "data", INT(1, 1048576), .default_json = "128",
     .help = "tokens an example is cut to (at most the model's positions)"},
    {"train_fraction", "data", NUMBER(0, 1), .min_is_open = true, .default_json = "1",
     .help = "share of the training data used, stratified by label"},
    {"examples_per_class", "data", INT(0, 1e9), .default_json = "0",
     .help = "few-shot: training examples of each class; 0: all"},
    {"validation_examples_per_class", "data", INT(0, 1e9), .default_json = "0",
     .help = "few-shot: validation examples of each class, by the trial's seed; 0: all"},
    {"train_examples", "data", INT(0, 1e9), .default_json = "0",
     .help = "at most so many rows from the top of the training file; 0: all"},
    {"validation_examples", "data", INT(0, 1e9), .default_json = "0", .help = "the same for validation"},
    {"test_examples", "data", INT(0, 1e9), .default_json = "0", .help = "the same for test"},
    {"augmentation", "data", .types = SETTING_CHOICE | SETTING_CHOICES, .choices = augmentations,
     .default_json = "\"none\"",
     .help = "altered copies of the training rows, by one operation or by several in turn; copy alters nothing"},
    {"augmentation_copies", "data", INT(1, 64), .default_json = "1",
     WHEN("augmentation", "synonym swap delete insert cutout back_translation copy"),
     .help = "altered copies of each training row"},
    {"augmentation_rate", "data", NUMBER(0, 1), .min_is_open = true, .default_json = "0.1",
     WHEN("augmentation", "synonym swap delete insert cutout"), .help = "share of a text's words that is altered"},
    {"augmentation_words", "data", .types = SETTING_TEXT, WHEN("augmentation", "synonym insert"),
     .help = "file of synonyms, 'word: synonym, synonym' a line"},
    {"augmentation_column", "data", .types = SETTING_TEXT, WHEN("augmentation", "back_translation"),
     .help = "column of the training file with each text translated and back"},
    {"order", "data", CHOICE(orders), .default_json = "\"shuffle\"", .help = "order of the training examples"},
    {"seed", "data", INT(0, 9007199254740991.0), .help = "seed of the trial (default: derived from the sweep's seed)"},

    {"evaluate_every", "evaluation", INT(0, 1e9), .default_json = "0",
     .help = "validation every so many steps, beside each epoch; 0: epochs only"},
    {"patience", "evaluation", INT(0, 1e9), .default_json = "0",
     .help = "early stopping after so many validations without a better one; 0: off"},

    {"pooling", "model", CHOICE(poolings), .default_json = "\"pooler\"", .help = "what the classification head reads"},
    {"init_head", "model", CHOICE(heads), .default_json = "\"seeded\"",
     .help = "a new head drawn from the seed, or the one the model carries"},
    {"init_adapter", "model", .types = SETTING_TEXT, .help = "a saved adapter (folder) to start from"},
    {"hyper_start", "model", .types = SETTING_TEXT, HYPER,
     .help = "task of init_adapter that a new one's embedding starts from (default: the mean of all)"},
    {"compute", "model", CHOICE(computes), .default_json = "\"fp32\"", .help = "arithmetic of the matrix products"},
    {"weight_storage", "model", CHOICE(storages), .default_json = "\"float32\"",
     .help = "frozen weights in memory: as float32, or as the file stores them (quantised, bfloat16)"},
    {"frozen_prefix", "model", CHOICE(frozen_prefixes), .default_json = "\"none\"",
     .help =
         "shared: layers below the lowest trained one see no dropout, and what they give is computed once a text and "
         "kept for all trials"},
};
const size_t settings_count = sizeof(settings_table) / sizeof(settings_table[0]);

/* Learning rates differ by an order of magnitude between methods; one default would be wrong for most. */
static const struct {
    const char *method, *json;
} learning_rates[] = {
    {"full", "5e-5"},      {"partial", "1e-4"},  {"linear_probe", "5e-3"}, {"adapter", "5e-4"},
    {"compacter", "3e-3"}, {"fusion", "5e-5"},   {"ia3", "5e-3"},          {"vera", "1e-2"},
    {"prompt", "1e-2"},    {"p_tuning", "1e-3"}, {"prefix", "5e-3"},
};

const struct setting *settings_find(const char *name)
{
    for (size_t i = 0; i < settings_count; i++)
        if (strcmp(settings_table[i].name, name) == 0)
            return &settings_table[i];
    return NULL;
}

const char *const *settings_names(void)
{
    static const char *names[sizeof(settings_table) / sizeof(settings_table[0]) + 1];
    for (size_t i = 0; i < settings_count; i++)
        names[i] = settings_table[i].name; /* the same values at every call: safe to repeat */
    return names;
}

const char *const *settings_methods(void)
{
    return methods;
}

static bool is_choice(const struct setting *setting, const char *text)
{
    for (const char *const *c = setting->choices; c && *c; c++)
        if (strcmp(*c, text) == 0)
            return true;
    return false;
}

static int choice_error(const struct setting *setting, const char *text, const char *where, struct err *err)
{
    struct text list = {0};
    for (const char *const *c = setting->choices; *c; c++)
        text_printf(&list, "%s%s", c == setting->choices ? "" : ", ", *c);
    const char *near = text_nearest(text, setting->choices);
    int rc = err_set(err, ERR_USAGE, "%s: '%s' is not one of %s%s%s%s", where, text, list.failed ? "…" : list.data,
                     near ? "; nearest is '" : "", near ? near : "", near ? "'" : "");
    text_done(&list);
    return rc;
}

static int check_number(const struct setting *setting, double value, const char *where, struct err *err)
{
    if (value < setting->min || (setting->min_is_open && value == setting->min))
        return err_set(err, ERR_USAGE, "%s: %.17g is %s %.17g, %s", where, value,
                       value == setting->min ? "equal to" : "below", setting->min,
                       setting->min_is_open ? "and must be above it" : "the least allowed");
    if (value > setting->max || (setting->max_is_open && value == setting->max))
        return err_set(err, ERR_USAGE, "%s: %.17g is %s %.17g, %s", where, value,
                       value == setting->max ? "equal to" : "above", setting->max,
                       setting->max_is_open ? "and must be below it" : "the most allowed");
    return 0;
}

static int check_int(const struct setting *setting, double value, const char *where, struct err *err)
{
    if (value != floor(value))
        return err_set(err, ERR_USAGE, "%s: %.17g is not a whole number", where, value);
    return check_number(setting, value, where, err);
}

static int type_error(const struct setting *setting, const cJSON *value, const char *where, struct err *err)
{
    static const struct {
        unsigned type;
        const char *name;
    } names[] = {{SETTING_NUMBER, "a number"},
                 {SETTING_INT, "a whole number"},
                 {SETTING_BOOL, "true or false"},
                 {SETTING_CHOICE, "one of its names"},
                 {SETTING_CHOICES, "a list of them"},
                 {SETTING_TEXT, "a text"},
                 {SETTING_TEXT_LIST, "a list of texts"},
                 {SETTING_INT_LIST, "a list of whole numbers"},
                 {SETTING_SIZE_LIST, "a list of whole numbers"},
                 {SETTING_NUMBER_MAP, "an object of numbers"}};
    struct text expected = {0};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (setting->types & names[i].type)
            text_printf(&expected, "%s%s", expected.len ? " or " : "", names[i].name);
    int rc = err_set(err, ERR_USAGE, "%s: %s was found, %s was expected", where, json_type_name(value),
                     expected.failed ? "something else" : expected.data);
    text_done(&expected);
    return rc;
}

static int check_list(const struct setting *setting, const cJSON *list, const char *where, struct err *err)
{
    if (cJSON_GetArraySize(list) == 0)
        return err_set(err, ERR_USAGE, "%s: the list is empty", where);
    int i = 0;
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        char place[512];
        snprintf(place, sizeof(place), "%s[%d]", where, i);
        int rc = 0;
        if ((setting->types & SETTING_CHOICES) && cJSON_IsString(item)) {
            if (!is_choice(setting, item->valuestring))
                return choice_error(setting, item->valuestring, place, err);
        } else if ((setting->types & (SETTING_INT_LIST | SETTING_SIZE_LIST)) && cJSON_IsNumber(item)) {
            rc = check_int(setting, item->valuedouble, place, err);
        } else if (!((setting->types & SETTING_TEXT_LIST) && cJSON_IsString(item))) {
            return type_error(setting, item, place, err);
        }
        if (rc < 0)
            return rc;
        for (const cJSON *other = setting->types & SETTING_SIZE_LIST ? item : list->child; other != item;
             other = other->next)
            if (json_equal(other, item))
                return err_set(err, ERR_USAGE, "%s: the same entry stands in the list twice", place);
    }
    return 0;
}

static int check_map(const struct setting *setting, const cJSON *map, const char *where, struct err *err)
{
    for (const cJSON *item = map->child; item; item = item->next) {
        char place[512];
        snprintf(place, sizeof(place), "%s.%s", where, item->string);
        if (!cJSON_IsNumber(item))
            return err_set(err, ERR_USAGE, "%s: %s was found, a number was expected", place, json_type_name(item));
        int rc = check_number(setting, item->valuedouble, place, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int settings_check(const struct setting *setting, const cJSON *value, const char *where, struct err *err)
{
    if (setting->types & SETTING_ANY)
        return 0;
    if (cJSON_IsNumber(value) && (setting->types & SETTING_NUMBER))
        return check_number(setting, value->valuedouble, where, err);
    if (cJSON_IsNumber(value) && (setting->types & SETTING_INT))
        return check_int(setting, value->valuedouble, where, err);
    if (cJSON_IsBool(value) && (setting->types & SETTING_BOOL))
        return 0;
    if (cJSON_IsString(value) && (setting->types & (SETTING_TEXT | SETTING_TEXT_LIST)))
        return value->valuestring[0] ? 0 : err_set(err, ERR_USAGE, "%s: the text is empty", where);
    if (cJSON_IsString(value) && (setting->types & SETTING_CHOICE))
        return is_choice(setting, value->valuestring) ? 0 : choice_error(setting, value->valuestring, where, err);
    if (cJSON_IsArray(value) &&
        (setting->types & (SETTING_CHOICES | SETTING_TEXT_LIST | SETTING_INT_LIST | SETTING_SIZE_LIST)))
        return check_list(setting, value, where, err);
    if (cJSON_IsObject(value) && (setting->types & SETTING_NUMBER_MAP))
        return check_map(setting, value, where, err);
    return type_error(setting, value, where, err);
}

/* Whether `text` is one of the space-separated `words`. */
static bool has_word(const char *words, const char *text)
{
    size_t n = strlen(text);
    for (const char *w = words; w && *w; w += strcspn(w, " "), w += strspn(w, " "))
        if (strcspn(w, " ") == n && strncmp(w, text, n) == 0)
            return true;
    return false;
}

static bool value_matches(const cJSON *value, const char *words)
{
    if (cJSON_IsString(value))
        return has_word(words, value->valuestring);
    for (const cJSON *item = cJSON_IsArray(value) ? value->child : NULL; item; item = item->next)
        if (value_matches(item, words))
            return true;
    return false;
}

bool settings_applies(const struct setting *setting, const cJSON *values)
{
    if (!setting->when)
        return true;
    const struct setting *parent = settings_find(setting->when);
    if (!settings_applies(parent, values))
        return false;
    const cJSON *given = json_get(values, parent->name);
    if (given)
        return value_matches(given, setting->when_values);
    cJSON *fallback = settings_default(parent, values);
    bool applies = fallback && value_matches(fallback, setting->when_values);
    cJSON_Delete(fallback);
    return applies;
}

cJSON *settings_default(const struct setting *setting, const cJSON *values)
{
    const char *json = setting->default_json;
    if (!(setting->types & SETTING_ANY) && strcmp(setting->name, "learning_rate") == 0) {
        const cJSON *method = json_get(values, "method");
        const cJSON *first = cJSON_IsArray(method) ? method->child : method;
        const char *name = cJSON_IsString(first) ? first->valuestring : "full";
        for (size_t i = 0; i < sizeof(learning_rates) / sizeof(learning_rates[0]); i++)
            if (strcmp(learning_rates[i].method, name) == 0)
                json = learning_rates[i].json;
    }
    return json ? cJSON_Parse(json) : NULL;
}

/* The value of one setting beside `given`, in *value (owned); NULL when it has none. */
static int resolve_one(const struct setting *setting, const cJSON *given, const char *where, cJSON **value,
                       struct err *err)
{
    const cJSON *found = json_get(given, setting->name);
    *value = NULL;
    if (!found) {
        *value = settings_default(setting, given);
        return 0;
    }
    char place[512];
    snprintf(place, sizeof(place), "%s.%s", where, setting->name);
    int rc = settings_check(setting, found, place, err);
    if (rc < 0)
        return rc;
    *value = cJSON_Duplicate(found, true);
    return *value ? 0 : err_set(err, ERR_NOMEM, "%s: no memory", place);
}

int settings_resolve(const cJSON *given, const char *where, cJSON **resolved, struct err *err)
{
    if (given && !cJSON_IsObject(given) && !cJSON_IsNull(given))
        return err_set(err, ERR_FORMAT, "%s: %s was found, an object was expected", where, json_type_name(given));
    cJSON *out = cJSON_CreateObject();
    int rc = out ? 0 : err_set(err, ERR_NOMEM, "%s: no memory", where);
    for (const cJSON *item = given ? given->child : NULL; item && rc == 0; item = item->next) {
        if (settings_find(item->string))
            continue;
        const char *near = text_nearest(item->string, settings_names());
        rc = err_set(err, ERR_USAGE, "%s: unknown name '%s'%s%s%s", where, item->string, near ? "; nearest is '" : "",
                     near ? near : "", near ? "'" : "");
    }
    for (size_t i = 0; i < settings_count && rc == 0; i++) {
        const struct setting *setting = &settings_table[i];
        cJSON *value = NULL;
        if (!settings_applies(setting, given))
            continue;
        /* steps replaces epochs: of the two only one decides. */
        if (strcmp(setting->name, "epochs") == 0 && json_get(given, "steps"))
            continue;
        rc = resolve_one(setting, given, where, &value, err);
        if (rc == 0 && value && !json_put(out, setting->name, value))
            rc = err_set(err, ERR_NOMEM, "%s: no memory", where);
    }
    if (rc == 0)
        rc = json_check_memory(err);
    if (rc < 0)
        cJSON_Delete(out);
    else
        *resolved = out;
    return rc;
}

cJSON *settings_without_defaults(const cJSON *resolved)
{
    cJSON *out = cJSON_CreateObject();
    for (const cJSON *item = resolved->child; item && out; item = item->next) {
        const struct setting *setting = settings_find(item->string);
        cJSON *fallback = setting ? settings_default(setting, resolved) : NULL;
        bool is_default = fallback && json_equal(fallback, item);
        cJSON_Delete(fallback);
        cJSON *copy = is_default ? NULL : cJSON_Duplicate(item, true);
        if (!is_default && !json_put(out, item->string, copy)) {
            cJSON_Delete(out);
            out = NULL;
        }
    }
    return out;
}
