/* Every task on small models: opened, trained, evaluated, and stopped and gone on with to the same bits; rows that do
 * not fit are refused by file and line. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/json.h"
#include "trainer/trial.h"
#include "trainer/word_pieces.h"

/* A trial on rows of its own. The golden models' tokenizers know w6 … w99. */
struct run {
    char folder[64];
    struct trial_job job;
    struct records records;
    struct trial trial;
    FILE *out;
    char *text;
    size_t n;
};

static atomic_bool never;
static const char *method_settings = "\"method\":\"full\"";

static void write_rows(const struct run *run, const char *name, const char *rows)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", run->folder, name);
    cr_assert_eq(file_write_atomic(path, rows, strlen(rows), NULL), 0);
}

static int open_run(struct run *run, const char *model, const char *task, const char *more, struct err *err)
{
    struct text text = {0};
    text_printf(&text,
                "{\"v\":1,\"type\":\"job\",\"output\":\"%s/out\",\"seed\":5,\"model\":{\"path\":\"%s%s\"},"
                "\"task\":{\"train\":\"%s/train.jsonl\",\"validation\":\"%s/train.jsonl\",%s},\"settings\":{"
                "\"batch_size\":3,\"epochs\":2,\"warmup\":0,\"learning_rate\":0.01,%s,\"max_tokens\":"
                "24,\"pooling\":\"mean\"}%s}",
                run->folder, model[0] == '/' ? "" : "tests/golden/cases/models/", model, run->folder, run->folder, task,
                method_settings, more);
    run->out = open_memstream(&run->text, &run->n);
    records_init(&run->records, run->out, 1);
    int rc = trial_job_parse(&run->job, text.data, text.len, err);
    if (rc == 0)
        rc = trial_open(&run->trial, &run->job, &run->records, &never, err);
    text_done(&text);
    return rc;
}

static void close_run(struct run *run)
{
    trial_close(&run->trial);
    trial_job_done(&run->job);
    records_done(&run->records);
    if (run->out)
        fclose(run->out);
    free(run->text);
    run->out = NULL;
    run->text = NULL;
}

static void make_folder(struct run *run)
{
    memset(run, 0, sizeof(*run));
    snprintf(run->folder, sizeof(run->folder), "/tmp/nightsweep-tasks-XXXXXX");
    cr_assert_not_null(mkdtemp(run->folder));
}

static const struct {
    const char *name, *model, *task, *rows;
} cases[] = {
    {"regression", "bert", "\"kind\":\"regression\",\"text\":\"t\",\"label\":\"y\"",
     "{\"t\":\"w7 w8\",\"y\":0.5}\n{\"t\":\"w9 w10 w11\",\"y\":-1}\n{\"t\":\"w12\",\"y\":\"2.25\"}\n{\"t\":\"w30 "
     "w7\",\"y\":3}\n"},
    {"regression", "gpt2", "\"kind\":\"regression\",\"text\":\"t\",\"label\":\"y\"",
     "{\"t\":\"w7 w8\",\"y\":0.5}\n{\"t\":\"w9 w10 w11\",\"y\":-1}\n{\"t\":\"w12\",\"y\":\"2.25\"}\n{\"t\":\"w30 "
     "w7\",\"y\":3}\n"},
    {"multiple_choice", "bert", "\"kind\":\"multiple_choice\",\"text\":\"q\",\"choices\":\"c\",\"label\":\"y\"",
     "{\"q\":\"w7 w8\",\"c\":[\"w9\",\"w10 w11\",\"w12\"],\"y\":1}\n{\"q\":\"w8\",\"c\":[\"w9 "
     "w20\",\"w10\",\"w13\"],\"y\":\"w13\"}\n"
     "{\"q\":\"w30 w31 "
     "w32\",\"c\":[\"w33\",\"w34\",\"w35\"],\"y\":0}\n{\"q\":\"w40\",\"c\":[\"w41\",\"w42\",\"w43\"],\"y\":2}\n"},
    {"multiple_choice", "roberta",
     "\"kind\":\"multiple_choice\",\"text\":\"q\",\"choices\":[\"a\",\"b\"],\"label\":\"y\"",
     "{\"q\":\"w7 w8\",\"a\":\"w9\",\"b\":\"w10 w11\",\"y\":1}\n{\"q\":\"w8\",\"a\":\"w9 w20\",\"b\":\"w10\",\"y\":0}\n"
     "{\"q\":\"w30\",\"a\":\"w19\",\"b\":\"w12\",\"y\":1}\n"},
    {"token_classification", "bert", "\"kind\":\"token_classification\",\"text\":\"w\",\"label\":\"g\"",
     "{\"w\":[\"w7\",\"w8\",\"w9\"],\"g\":[\"B-A\",\"I-A\",\"O\"]}\n{\"w\":\"w9 w10\",\"g\":\"O B-B\"}\n"
     "{\"w\":[\"w40\"],\"g\":[\"O\"]}\n{\"w\":\"w41 w42 w43 w44\",\"g\":\"B-B I-B B-A O\"}\n"},
    {"token_classification", "gpt2", "\"kind\":\"token_classification\",\"text\":\"w\",\"label\":\"g\"",
     "{\"w\":[\"w7\",\"w8\",\"w9\"],\"g\":[\"B-A\",\"I-A\",\"O\"]}\n{\"w\":\"w9 w10\",\"g\":\"O B-B\"}\n"
     "{\"w\":[\"w40\"],\"g\":[\"O\"]}\n{\"w\":\"w41 w42 w43 w44\",\"g\":\"B-B I-B B-A O\"}\n"},
    {"question_answering", "bert",
     "\"kind\":\"question_answering\",\"text\":\"q\",\"text_pair\":\"c\",\"answer\":\"a\"",
     "{\"q\":\"w7 w8\",\"c\":\"w9 w10 w11 w12\",\"a\":\"w10 w11\"}\n"
     "{\"q\":\"w20\",\"c\":\"w30 w31 w30\",\"a\":{\"text\":[\"w30\"],\"answer_start\":[8]}}\n"
     "{\"q\":\"w21\",\"c\":\"w40 w41\",\"a\":[\"w41\",\"w40\"]}\n"},
    {"question_answering", "llama",
     "\"kind\":\"question_answering\",\"text\":\"q\",\"text_pair\":\"c\",\"answer\":\"a\"",
     "{\"q\":\"w7 w8\",\"c\":\"w9 w10 w11 w12\",\"a\":\"w10 w11\"}\n{\"q\":\"w21\",\"c\":\"w40 "
     "w41\",\"a\":[\"w41\",\"w40\"]}\n"},
    {"cloze", "gpt2",
     "\"kind\":\"cloze\",\"text\":\"t\",\"label\":\"y\",\"template\":\"{text} w60 "
     "{mask}\",\"label_words\":{\"0\":\"w61\",\"1\":\"w62\"}",
     "{\"t\":\"w7 w8\",\"y\":0}\n{\"t\":\"w9\",\"y\":1}\n{\"t\":\"w10 w11 w12\",\"y\":0}\n{\"t\":\"w13\",\"y\":1}\n"},
    {"masked", "masked", "\"kind\":\"masked\",\"text\":\"t\"",
     "{\"t\":\"w7 w8 w9 w10\"}\n{\"t\":\"w9\"}\n{\"t\":\"w10 w11 w12\"}\n{\"t\":\"w13 w14 w15 w16 w17 w18\"}\n"},
    {"cloze", "masked",
     "\"kind\":\"cloze\",\"text\":\"t\",\"text_pair\":\"p\",\"label\":\"y\",\"template\":\"{text} w20 {mask} "
     "{text_pair}\","
     "\"label_words\":{\"a\":\"w21\",\"b\":\"w22\",\"c\":\"w23\"}",
     "{\"t\":\"w7 w8\",\"p\":\"w30\",\"y\":\"a\"}\n{\"t\":\"w9\",\"p\":\"w31 "
     "w32\",\"y\":\"b\"}\n{\"t\":\"w10\",\"p\":\"w33\",\"y\":\"c\"}\n"
     "{\"t\":\"w13\",\"p\":\"w34 w35 w36 w37 w38 w39 w30 w31 w32 w33 w34 w35 w36 w37 w38 w39 w30 w31 w32 w33 w34 w35 "
     "w36 w37 w38 w39\",\"y\":\"a\"}\n"},
};
enum { N_CASES = sizeof(cases) / sizeof(cases[0]) };

/* A model of one layer with a head for masked tokens, of tensors drawn here, on the golden models' tokenizer. */
struct shape {
    const char *name;
    int rows, cols; /* cols 0: a vector */
};

enum { D = 8, V = 40, HEADER = 8192 };

static const struct shape masked_model[] = {
    {"bert.embeddings.word_embeddings.weight", V, D},
    {"bert.embeddings.position_embeddings.weight", 32, D},
    {"bert.embeddings.token_type_embeddings.weight", 2, D},
    {"bert.embeddings.LayerNorm.weight", D, 0},
    {"bert.embeddings.LayerNorm.bias", D, 0},
    {"bert.encoder.layer.0.attention.self.query.weight", D, D},
    {"bert.encoder.layer.0.attention.self.query.bias", D, 0},
    {"bert.encoder.layer.0.attention.self.key.weight", D, D},
    {"bert.encoder.layer.0.attention.self.key.bias", D, 0},
    {"bert.encoder.layer.0.attention.self.value.weight", D, D},
    {"bert.encoder.layer.0.attention.self.value.bias", D, 0},
    {"bert.encoder.layer.0.attention.output.dense.weight", D, D},
    {"bert.encoder.layer.0.attention.output.dense.bias", D, 0},
    {"bert.encoder.layer.0.attention.output.LayerNorm.weight", D, 0},
    {"bert.encoder.layer.0.attention.output.LayerNorm.bias", D, 0},
    {"bert.encoder.layer.0.intermediate.dense.weight", 2 * D, D},
    {"bert.encoder.layer.0.intermediate.dense.bias", 2 * D, 0},
    {"bert.encoder.layer.0.output.dense.weight", D, 2 * D},
    {"bert.encoder.layer.0.output.dense.bias", D, 0},
    {"bert.encoder.layer.0.output.LayerNorm.weight", D, 0},
    {"bert.encoder.layer.0.output.LayerNorm.bias", D, 0},
    {"cls.predictions.transform.dense.weight", D, D},
    {"cls.predictions.transform.dense.bias", D, 0},
    {"cls.predictions.transform.LayerNorm.weight", D, 0},
    {"cls.predictions.transform.LayerNorm.bias", D, 0},
    {"cls.predictions.bias", V, 0},
    {NULL, 0, 0},
};

static void write_model(const char *folder, const char *config, const struct shape *shapes)
{
    struct text header = {0}, data = {0};
    char path[128];
    size_t at = 0;
    struct rng_stream stream = rng_stream(rng_make(4, RNG_INIT), 0, 0, 0);
    for (const struct shape *shape = shapes; shape->name; shape++) {
        size_t count = (size_t)shape->rows * (size_t)(shape->cols ? shape->cols : 1);
        text_printf(&header, "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%d", at ? "," : "{", shape->name, shape->rows);
        text_printf(&header, shape->cols ? ",%d]" : "]", shape->cols);
        text_printf(&header, ",\"data_offsets\":[%zu,%zu]}", at, at + 4 * count);
        at += 4 * count;
        for (size_t i = 0; i < count; i++) {
            float value = (float)(0.3 * rng_normal(&stream)) + (strstr(shape->name, "orm.weight") ? 1 : 0);
            text_add_n(&data, (const char *)&value, 4);
        }
    }
    text_add(&header, "}");
    while (header.len < HEADER)
        text_add(&header, " ");
    cr_assert_eq(header.len, HEADER);
    struct text file = {0};
    uint64_t size = HEADER;
    text_add_n(&file, (const char *)&size, 8);
    text_add_n(&file, header.data, header.len);
    text_add_n(&file, data.data, data.len);
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    cr_assert_eq(file_write_atomic(path, file.data, file.len, NULL), 0);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    cr_assert_eq(file_write_atomic(path, config, strlen(config), NULL), 0);
    struct text tokenizer = {0};
    text_add(&tokenizer,
             "{\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"},\"model\":{\"type\":\"WordLevel\",\"unk_token\":"
             "\"[UNK]\",\"vocab\":{\"[PAD]\":0,\"[UNK]\":1,\"[CLS]\":2,\"[SEP]\":3,\"[MASK]\":4");
    for (int i = 5; i < V; i++)
        text_printf(&tokenizer, ",\"w%d\":%d", i, i);
    text_add(&tokenizer, "}}}");
    snprintf(path, sizeof(path), "%s/tokenizer.json", folder);
    cr_assert_eq(file_write_atomic(path, tokenizer.data, tokenizer.len, NULL), 0);
    text_done(&tokenizer);
    text_done(&header);
    text_done(&data);
    text_done(&file);
}

/* The trained tensors' hash. */
static void weights_of(const struct run *run, char hex[HASH_HEX_SIZE])
{
    struct text all = {0};
    for (size_t i = 0; i < run->trial.model.params.count; i++) {
        const struct param *param = run->trial.model.params.items[i];
        if (param->is_trained)
            text_add_n(&all, (const char *)param->value.data, param_size(param) * sizeof(real));
    }
    hash_bytes(all.data, all.len, hex);
    text_done(&all);
}

static const char masked_config[] =
    "{\"model_type\":\"bert\",\"vocab_size\":40,\"hidden_size\":8,\"num_hidden_layers\":1,"
    "\"num_attention_heads\":2,\"intermediate_size\":16,\"max_position_embeddings\":32,"
    "\"hidden_dropout_prob\":0.1}";

/* Whole, and in two attempts of which the second goes on from the first one's checkpoint. */
static const struct shape bilstm[] = {
    {"embedding.weight", V, D},
    {"layers.0.forward_input.weight", 4 * 5, D},
    {"layers.0.forward_input.bias", 4 * 5, 0},
    {"layers.0.forward_recurrent.weight", 4 * 5, 5},
    {"layers.0.forward_recurrent.bias", 4 * 5, 0},
    {"layers.0.backward_input.weight", 4 * 5, D},
    {"layers.0.backward_input.bias", 4 * 5, 0},
    {"layers.0.backward_recurrent.weight", 4 * 5, 5},
    {"layers.0.backward_recurrent.bias", 4 * 5, 0},
    {"layers.0.output.weight", D, 2 * 5},
    {"layers.0.output.bias", D, 0},
    {"layers.0.norm.weight", D, 0},
    {"layers.0.norm.bias", D, 0},
    {NULL, 0, 0},
};
static const struct shape text_cnn[] = {
    {"embedding.weight", V, D},     {"layers.0.window.weight", 5, 3 * D},
    {"layers.0.window.bias", 5, 0}, {"layers.0.output.weight", D, 5},
    {"layers.0.output.bias", D, 0}, {"layers.0.norm.weight", D, 0},
    {"layers.0.norm.bias", D, 0},   {NULL, 0, 0},
};
#define STACK_CONFIG(type)                                                                                             \
    "{\"model_type\":\"" type "\",\"vocab_size\":40,\"hidden_size\":8,\"num_hidden_layers\":1,\"inner_size\":5}"

/* Cases of one kind, with its rows, model made here and task. */
struct made {
    const char *name, *model, *task, *rows;
};

static void make_model(const char *name, const char *folder)
{
    cr_assert_eq(file_make_folders(folder, NULL), 0);
    if (strcmp(name, "bilstm") == 0)
        write_model(folder, STACK_CONFIG("bilstm"), bilstm);
    else if (strcmp(name, "text_cnn") == 0)
        write_model(folder, STACK_CONFIG("text_cnn"), text_cnn);
    else
        write_model(folder, masked_config, masked_model);
}

static void trains_and_resumes(struct made c)
{
    char own_model[96];
    struct run run;
    struct err err = {0};
    char whole[HASH_HEX_SIZE], parts[HASH_HEX_SIZE], start[HASH_HEX_SIZE], resume[256] = "";
    make_folder(&run);
    write_rows(&run, "train.jsonl", c.rows);
    snprintf(own_model, sizeof(own_model), "%s/model", run.folder);
    bool is_own = strcmp(c.model, "masked") == 0 || strcmp(c.model, "bilstm") == 0 || strcmp(c.model, "text_cnn") == 0;
    const char *model = is_own ? own_model : c.model;
    if (is_own)
        make_model(c.model, own_model);
    cr_assert_eq(open_run(&run, model, c.task, "", &err), 0, "%s, %s: %s", c.name, model, err.message);
    weights_of(&run, start);
    cr_assert_eq(trial_run(&run.trial, &err), 0, "%s, %s: %s", c.name, model, err.message);
    weights_of(&run, whole);
    cr_expect_str_neq(start, whole, "%s, %s: nothing was trained", c.name, model);
    fflush(run.out);
    for (const struct task_metric *metric = task_find(c.name)->metrics; metric->name; metric++) {
        char point[64];
        snprintf(point, sizeof(point), "validation/%s", metric->name);
        cr_expect(!metric->is_curve || strstr(run.text, point), "%s, %s: no %s", c.name, model, point);
    }
    close_run(&run);
    cr_assert_eq(open_run(&run, model, c.task, ",\"pause_at_step\":1", &err), 0, "%s", err.message);
    cr_assert_eq(trial_run(&run.trial, &err), 0, "%s", err.message);
    close_run(&run);
    snprintf(resume, sizeof(resume), ",\"resume\":\"%s/out/0-1.checkpoint\"", run.folder);
    cr_assert_eq(open_run(&run, model, c.task, resume, &err), 0, "%s", err.message);
    cr_assert_eq(trial_run(&run.trial, &err), 0, "%s, %s: %s", c.name, model, err.message);
    weights_of(&run, parts);
    cr_expect_str_eq(whole, parts, "%s, %s: stopped and gone on with is not the same", c.name, model);
    close_run(&run);
    cr_assert_eq(file_remove_tree(run.folder, NULL), 0);
}

static void refuses(struct made c, const char *expected)
{
    struct run run;
    struct err err = {0};
    char own_model[96];
    make_folder(&run);
    write_rows(&run, "train.jsonl", c.rows);
    snprintf(own_model, sizeof(own_model), "%s/model", run.folder);
    make_model(c.model, own_model);
    cr_expect_eq(open_run(&run, own_model, c.task, "", &err), ERR_UNSUPPORTED, "%s, %s", c.model, method_settings);
    cr_expect(strstr(err.message, expected), "%s: %s", c.model, err.message);
    close_run(&run);
    cr_assert_eq(file_remove_tree(run.folder, NULL), 0);
}

TestSuite(tasks, .timeout = 300);

Test(tasks, train_and_resume_to_the_same_bits)
{
    for (int i = 0; i < N_CASES; i++)
        trains_and_resumes((struct made){cases[i].name, cases[i].model, cases[i].task, cases[i].rows});
}

/* What transformers get, a model that is none gets unchanged; what needs attention is refused with the reason. */
Test(tasks, methods_attach_to_models_that_are_no_transformers)
{
    static const struct {
        const char *settings, *refusal;
    } methods[] = {
        {"\"method\":\"lora\",\"rank\":2,\"method_dropout\":0.1", NULL},
        {"\"method\":\"dora\",\"rank\":2", NULL},
        {"\"method\":\"vera\",\"rank\":2", NULL},
        {"\"method\":\"bitfit\"", NULL},
        {"\"method\":\"layer_norm\"", NULL},
        {"\"method\":\"adapter\",\"adapter_size\":3", NULL},
        {"\"method\":\"adapter\",\"adapter_size\":3,\"adapter_placement\":\"houlsby\"", NULL},
        {"\"method\":\"compacter\",\"adapter_size\":4,\"phm_dim\":2", NULL},
        {"\"method\":\"prompt\",\"prompt_length\":2", NULL},
        {"\"method\":[\"lora\",\"bitfit\"],\"rank\":2", NULL},
        {"\"method\":\"partial\",\"top_layers\":1", NULL},
        {"\"method\":\"prefix\",\"prompt_length\":2", "prefix"},
    };
    static const char *const models[] = {"bilstm", "text_cnn"};
    static const char task[] = "\"kind\":\"classification\",\"text\":\"t\",\"label\":\"y\"",
                      rows[] = "{\"t\":\"w7 w8 w9\",\"y\":0}\n{\"t\":\"w9\",\"y\":1}\n{\"t\":\"w10 "
                               "w11\",\"y\":0}\n{\"t\":\"w13 w14\",\"y\":1}\n";
    for (size_t m = 0; m < 2 * sizeof(methods) / sizeof(methods[0]); m++) {
        struct made c = {"classification", models[m % 2], task, rows};
        method_settings = methods[m / 2].settings;
        if (methods[m / 2].refusal)
            refuses(c, methods[m / 2].refusal);
        else
            trains_and_resumes(c);
    }
    method_settings = "\"method\":\"full\"";
    trains_and_resumes((struct made){"token_classification", "bilstm",
                                     "\"kind\":\"token_classification\",\"text\":\"t\",\"label\":\"y\"",
                                     "{\"t\":\"w7 w8\",\"y\":\"O B-A\"}\n{\"t\":\"w9\",\"y\":\"O\"}\n"});
}

static const struct {
    const char *model, *task, *rows, *expected;
} refused[] = {
    {"bert", "\"kind\":\"regression\",\"text\":\"t\",\"label\":\"y\"",
     "{\"t\":\"w7\",\"y\":1}\n{\"t\":\"w8\",\"y\":\"much\"}\n",
     "train.jsonl', line 2: a number was expected in field 'y'"},
    {"bert", "\"kind\":\"multiple_choice\",\"text\":\"q\",\"choices\":\"c\",\"label\":\"y\"",
     "{\"q\":\"w7\",\"c\":[\"w8\",\"w9\"],\"y\":0}\n{\"q\":\"w7\",\"c\":[\"w8\",\"w9\",\"w10\"],\"y\":0}\n",
     "line 2: 3 choices, 2 were expected"},
    {"bert", "\"kind\":\"multiple_choice\",\"text\":\"q\",\"choices\":\"c\",\"label\":\"y\"",
     "{\"q\":\"w7\",\"c\":[\"w8\",\"w9\"],\"y\":2}\n", "line 1: label '2', the number of a choice from 0 to 1"},
    {"gpt2", "\"kind\":\"multiple_choice\",\"text\":\"q\",\"choices\":\"c\",\"label\":\"y\"",
     "{\"q\":\"w7\",\"c\":[\"w8\",\"w9\"],\"y\":1}\n", "multiple choice is not built in for 'gpt2' models"},
    {"bert", "\"kind\":\"token_classification\",\"text\":\"w\",\"label\":\"g\"",
     "{\"w\":\"w7 w8\",\"g\":\"O A\"}\n{\"w\":\"w7 w8\",\"g\":\"O\"}\n", "line 2: 2 words and 1 tags"},
    {"bert", "\"kind\":\"token_classification\",\"text\":\"w\",\"label\":\"g\"", "{\"w\":[\"w7 w8\"],\"g\":\"O A\"}\n",
     "line 1: a list of words without white space was expected in field 'w'"},
    {"bert", "\"kind\":\"question_answering\",\"text\":\"q\",\"text_pair\":\"c\",\"answer\":\"a\"",
     "{\"q\":\"w7\",\"c\":\"w8 w9\",\"a\":\"w8\"}\n{\"q\":\"w7\",\"c\":\"w8 w9\",\"a\":\"w10\"}\n",
     "line 2: the answer 'w10' does not stand in the second text"},
    {"bert", "\"kind\":\"masked\",\"text\":\"t\"", "{\"t\":\"w7 w8\"}\n", "no head that fills masked tokens in"},
    {"gpt2", "\"kind\":\"masked\",\"text\":\"t\"", "{\"t\":\"w7 w8\"}\n",
     "masked language modelling is not built in for 'gpt2' models"},
    {"gpt2",
     "\"kind\":\"cloze\",\"text\":\"t\",\"label\":\"y\",\"template\":\"{text} "
     "{mask}\",\"label_words\":{\"0\":\"w61\",\"2\":\"w62\"}",
     "{\"t\":\"w7\",\"y\":0}\n{\"t\":\"w8\",\"y\":1}\n", "task.label_words: there is no word for the label '1'"},
    {"gpt2",
     "\"kind\":\"cloze\",\"text\":\"t\",\"label\":\"y\",\"template\":\"{text} {mask}\",\"label_words\":{\"0\":\"w61 "
     "w7\",\"1\":\"w62\"}",
     "{\"t\":\"w7\",\"y\":0}\n{\"t\":\"w8\",\"y\":1}\n", "'w61 w7', the word of label '0', is 2 tokens"},
    {"gpt2",
     "\"kind\":\"cloze\",\"text\":\"t\",\"label\":\"y\",\"template\":\"{mask} "
     "{text}\",\"label_words\":{\"0\":\"w61\",\"1\":\"w62\"}",
     "{\"t\":\"w7\",\"y\":0}\n{\"t\":\"w8\",\"y\":1}\n", "a causal model sees nothing behind {mask}"},
};

Test(tasks, refuse_rows_by_their_place)
{
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct run run;
        struct err err = {0};
        make_folder(&run);
        write_rows(&run, "train.jsonl", refused[i].rows);
        cr_expect_lt(open_run(&run, refused[i].model, refused[i].task, "", &err), 0, "%s", refused[i].expected);
        cr_expect(strstr(err.message, refused[i].expected), "'%s' is not in: %s", refused[i].expected, err.message);
        close_run(&run);
        cr_assert_eq(file_remove_tree(run.folder, NULL), 0);
    }
}

/* Units are as small as tokens can be told apart, and their tokens are the whole text's. */
Test(tasks, a_text_is_cut_into_units)
{
    struct tokenizer *tokenizer = NULL;
    struct word_pieces pieces;
    struct arena arena = {0};
    struct text_unit *units;
    struct encoding ids, whole;
    struct err err = {0};
    int n;
    static const char text[] = " w7  w8\nw9";
    static const int bytes[][2] = {{1, 3}, {5, 7}, {8, 10}};
    cr_assert_eq(tokenizer_open(&tokenizer, "tests/golden/cases/models/bert", &err), 0, "%s", err.message);
    cr_assert_eq(word_pieces_open(&pieces, tokenizer, &arena, &err), 0, "%s", err.message);
    cr_expect_eq(pieces.n_special, 0);
    cr_assert_eq(word_pieces_cut(&pieces, text, &arena, &units, &n, &ids, &err), 0, "%s", err.message);
    cr_assert_eq(tokenizer_encode_plain(tokenizer, text, 100, &arena, &whole, &err), 0);
    cr_assert_eq(n, 3);
    cr_assert_eq(ids.n, whole.n);
    cr_expect_eq(memcmp(ids.ids, whole.ids, (size_t)ids.n * sizeof(int32_t)), 0);
    for (int i = 0; i < n; i++) {
        cr_expect_eq(units[i].start, bytes[i][0]);
        cr_expect_eq(units[i].end, bytes[i][1]);
        cr_expect(units[i].first == i && units[i].n == 1);
    }
    tokenizer_close(tokenizer);
    arena_done(&arena);
}
