/* The templates, a row each. */
#include "trainer/chat.h"

#include <stdlib.h>
#include <string.h>

#include "common/arena.h"
#include "common/file.h"
#include "common/json.h"
#include "trainer/gguf.h"

enum { MAX_TEMPLATE_BYTES = 1 << 20, MAX_MARKS = 4 };

struct chat_kind {
    const char *name, *end;
    const char *marks[MAX_MARKS];   /* all of them stand in its Jinja template */
    const char *strange[MAX_MARKS]; /* none of these does */
    int (*add)(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks, struct text *out,
               struct err *err);
};

static bool is_role(const struct chat_message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

static void add_trimmed(struct text *out, const char *content)
{
    size_t start = strspn(content, " \t\n\r\v\f"), n = strlen(content);
    while (n > start && strchr(" \t\n\r\v\f", content[n - 1]))
        n--;
    text_add_n(out, content + start, n - start);
}

/* system (at most one, first), then user and assistant in turns. */
static int check_turns(const char *name, const struct chat_message *messages, size_t n, size_t *first, struct err *err)
{
    *first = n > 0 && is_role(&messages[0], "system") ? 1 : 0;
    for (size_t i = *first; i < n; i++)
        if (!is_role(&messages[i], (i - *first) % 2 == 0 ? "user" : "assistant"))
            return err_set(err, ERR_USAGE, "chat template '%s': message %zu is of '%s', user and assistant take turns",
                           name, i + 1, messages[i].role);
    return 0;
}

/* <|im_start|>role\ncontent<|im_end|>\n */
static int add_chatml(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                      struct text *out, struct err *err)
{
    (void)err;
    if (chat->system && !(n > 0 && is_role(&messages[0], "system")))
        text_printf(out, "<|im_start|>system\n%s<|im_end|>\n", chat->system);
    for (size_t i = 0; i < n; i++)
        text_printf(out, "<|im_start|>%s\n%s<|im_end|>\n", messages[i].role, messages[i].content);
    if (asks)
        text_add(out, "<|im_start|>assistant\n");
    return 0;
}

/* <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|> */
static int add_llama3(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                      struct text *out, struct err *err)
{
    (void)chat, (void)err;
    for (size_t i = 0; i < n; i++) {
        text_printf(out, "<|start_header_id|>%s<|end_header_id|>\n\n", messages[i].role);
        add_trimmed(out, messages[i].content);
        text_add(out, "<|eot_id|>");
    }
    if (asks)
        text_add(out, "<|start_header_id|>assistant<|end_header_id|>\n\n");
    return 0;
}

/* [INST] <<SYS>>\nsystem\n<</SYS>>\n\nuser [/INST] assistant </s><s>[INST] … */
static int add_llama2(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                      struct text *out, struct err *err)
{
    size_t first;
    int rc = check_turns("llama-2", messages, n, &first, err);
    (void)chat, (void)asks;
    for (size_t i = first; rc == 0 && i < n; i++) {
        if (is_role(&messages[i], "assistant")) {
            text_add(out, " ");
            add_trimmed(out, messages[i].content);
            text_add(out, " </s>");
            continue;
        }
        text_add(out, i > first ? "<s>[INST] " : "[INST] ");
        if (i == first && first == 1)
            text_printf(out, "<<SYS>>\n%s\n<</SYS>>\n\n", messages[0].content);
        add_trimmed(out, messages[i].content);
        text_add(out, " [/INST]");
    }
    return rc;
}

static const char alpaca_system[] =
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.";

static int add_alpaca(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                      struct text *out, struct err *err)
{
    size_t first;
    int rc = check_turns("alpaca", messages, n, &first, err);
    (void)chat;
    if (rc < 0)
        return rc;
    text_printf(out, "%s\n\n", first ? messages[0].content : alpaca_system);
    for (size_t i = first; i < n; i++)
        text_printf(out, is_role(&messages[i], "user") ? "### Instruction:\n%s\n\n" : "### Response:\n%s\n\n",
                    messages[i].content);
    if (asks)
        text_add(out, "### Response:\n");
    return 0;
}

static int add_plain(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                     struct text *out, struct err *err)
{
    (void)chat, (void)asks, (void)err;
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%s\n", messages[i].content);
    return 0;
}

/* Question: …\nAnswer: …\n */
static int add_vanilla(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks,
                       struct text *out, struct err *err)
{
    (void)chat, (void)err;
    for (size_t i = 0; i < n; i++)
        text_printf(out,
                    is_role(&messages[i], "user")        ? "Question: %s\n"
                    : is_role(&messages[i], "assistant") ? "Answer: %s\n"
                                                         : "%s\n\n",
                    messages[i].content);
    if (asks)
        text_add(out, "Answer:");
    return 0;
}

static const struct chat_kind kinds[] = {
    {"chatml", "<|im_end|>", {"<|im_start|>", "<|im_end|>", "message"}, {"[INST]"}, add_chatml},
    {"llama-2", "", {"[INST]", "<<SYS>>", "[/INST]"}, {NULL}, add_llama2},
    {"llama-3",
     "<|eot_id|>",
     {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
     {"Cutting Knowledge", "strftime_now"},
     add_llama3},
    {"alpaca", "", {"### Instruction:", "### Response:"}, {NULL}, add_alpaca},
    {"plain", "", {NULL}, {NULL}, add_plain},
    {"text_vanilla", "", {NULL}, {NULL}, add_vanilla},
};
enum { N_KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Wordings: the same question put in five ways, after Lyu et al. 2024 (arXiv:2402.18540). What is text_… takes a
 * template of its own, what is chat_… the model's, without the system message that it brings. */
struct chat_wording {
    const char *name, *kind; /* kind NULL: the model's own */
    const char *system;      /* or NULL */
    const char *front, *back;
};

static const struct chat_wording wordings[] = {
    {"text_vanilla", "text_vanilla", NULL, "", ""},
    {"text_alpaca", "alpaca", NULL, "", ""},
    {"chat_vanilla", NULL, NULL, "Question: ", ""},
    {"chat_alpaca", NULL, alpaca_system, "### Instruction:\n", "\n\n### Response:\n"},
    {"chat_safety", NULL,
     "You are a careful assistant. Answer briefly and truthfully. Some topics are restricted: never answer a question "
     "about a restricted topic, say instead that you cannot help with that.",
     "Question: ", ""},
};
enum { N_WORDINGS = sizeof(wordings) / sizeof(wordings[0]) };

static const struct chat_wording *find_wording(const char *name)
{
    for (int i = 0; i < N_WORDINGS; i++)
        if (strcmp(wordings[i].name, name) == 0)
            return &wordings[i];
    return NULL;
}

/* The conversation in its wording, in `arena`; *n is set to the number of messages. NULL without memory. */
static const struct chat_message *reword(const struct chat_wording *wording, const struct chat_message *messages,
                                         size_t *n, struct arena *arena)
{
    bool has_system = *n > 0 && is_role(&messages[0], "system"), brings = wording->system && !has_system;
    struct chat_message *own = arena_calloc(arena, *n + 1, sizeof(*own));
    for (size_t i = 0; own && i < *n; i++) {
        struct chat_message *message = &own[i + brings];
        *message = messages[i];
        if (is_role(message, "user"))
            message->content = arena_printf(arena, "%s%s%s", wording->front, message->content, wording->back);
        if (!message->content)
            return NULL;
    }
    if (own && brings)
        own[0] = (struct chat_message){"system", wording->system};
    *n += brings;
    return own;
}

/* Recognising ------------------------------------------------------------------------------------------------------ */

/* The text of a system message that the template itself brings: '<|im_start|>system\n…<|im_end|>' within quotes. */
static int find_system(struct chat *chat, const char *jinja, struct err *err)
{
    static const char begin[] = "<|im_start|>system";
    for (const char *at = strstr(jinja, begin); at; at = strstr(at + 1, begin)) {
        const char *start = at + sizeof(begin) - 1, *end = strstr(start, "<|im_end|>");
        start += start[0] == '\n' ? 1 : start[0] == '\\' && start[1] == 'n' ? 2 : 0;
        if (!end || start == at + sizeof(begin) - 1 || start == end || memchr(start, '\'', (size_t)(end - start)) ||
            memchr(start, '"', (size_t)(end - start)) || memchr(start, '{', (size_t)(end - start)) ||
            memchr(start, '\\', (size_t)(end - start)))
            continue;
        chat->system = strndup(start, (size_t)(end - start));
        return chat->system ? 0 : err_set(err, ERR_NOMEM, "no memory for the chat template");
    }
    return 0;
}

static bool is_kind(const struct chat_kind *kind, const char *jinja)
{
    for (int i = 0; i < MAX_MARKS && kind->marks[i]; i++)
        if (!strstr(jinja, kind->marks[i]))
            return false;
    for (int i = 0; i < MAX_MARKS && kind->strange[i]; i++)
        if (strstr(jinja, kind->strange[i]))
            return false;
    return kind->marks[0] != NULL;
}

int chat_recognise(struct chat *chat, const char *jinja, struct err *err)
{
    for (int i = 0; i < N_KINDS; i++)
        if (is_kind(&kinds[i], jinja)) {
            *chat = (struct chat){.kind = &kinds[i]};
            return strcmp(kinds[i].name, "chatml") == 0 ? find_system(chat, jinja, err) : 0;
        }
    return err_set(
        err, ERR_UNSUPPORTED,
        "the model's chat template is none of those built in (chatml, llama-2, llama-3, alpaca, plain); Jinja "
        "is not interpreted: name one of them as chat_template, if it is what the model was trained with. It "
        "begins: %.80s",
        jinja);
}

/* A text, or the one named "default" of a list. */
static const char *template_in(const cJSON *config)
{
    const cJSON *given = json_get(config, "chat_template"), *item;
    if (cJSON_IsString(given))
        return given->valuestring;
    cJSON_ArrayForEach(item, given)
    {
        const cJSON *name = json_get(item, "name"), *text = json_get(item, "template");
        if (cJSON_IsString(name) && cJSON_IsString(text) && strcmp(name->valuestring, "default") == 0)
            return text->valuestring;
    }
    return NULL;
}

static int recognise_gguf(struct chat *chat, const char *path, bool *is_found, struct err *err)
{
    struct gguf *gguf = NULL;
    const char *jinja;
    int rc = gguf_open(&gguf, path, err);
    if (rc == 0 && gguf_text(gguf, "tokenizer.chat_template", &jinja)) {
        *is_found = true;
        rc = chat_recognise(chat, jinja, err);
    }
    gguf_close(gguf);
    return rc;
}

static int recognise_folder(struct chat *chat, const char *folder, struct err *err)
{
    char *config_path = file_join(folder, "tokenizer_config.json"),
         *jinja_path = file_join(folder, "chat_template.jinja");
    char *gguf = NULL, *jinja = NULL;
    cJSON *config = NULL;
    size_t n = 0;
    bool is_found = false;
    int rc = config_path && jinja_path ? 0 : err_set(err, ERR_NOMEM, "no memory");
    if (rc == 0 && file_exists(jinja_path)) {
        rc = file_read(jinja_path, MAX_TEMPLATE_BYTES, &jinja, &n, err);
        is_found = rc == 0;
        if (rc == 0)
            rc = chat_recognise(chat, jinja, err);
    }
    if (rc == 0 && !is_found && file_exists(config_path)) {
        rc = json_read_file(config_path, &config, err);
        is_found = rc == 0 && template_in(config);
        if (is_found)
            rc = chat_recognise(chat, template_in(config), err);
    }
    if (rc == 0 && !is_found)
        rc = gguf_find(&gguf, folder, err);
    if (rc == 0 && gguf)
        rc = recognise_gguf(chat, gguf, &is_found, err);
    if (rc == 0 && !is_found)
        rc = err_set(err, ERR_UNSUPPORTED,
                     "'%s' carries no chat template; name one: chatml, llama-2, llama-3, alpaca, plain", folder);
    json_free(config);
    free(config_path);
    free(jinja_path);
    free(gguf);
    free(jinja);
    return rc;
}

static int open_kind(struct chat *chat, const char *name, const char *folder, struct err *err)
{
    if (strcmp(name, "auto") == 0)
        return recognise_folder(chat, folder, err);
    for (int i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *chat = (struct chat){.kind = &kinds[i]};
            return 0;
        }
    return err_set(err, ERR_UNSUPPORTED,
                   "chat template '%s' is not built in; these are: auto, chatml, llama-2, llama-3, alpaca, plain, "
                   "text_vanilla, text_alpaca, chat_vanilla, chat_alpaca, chat_safety",
                   name);
}

int chat_open(struct chat *chat, const char *name, const char *folder, struct err *err)
{
    const struct chat_wording *wording = find_wording(name);
    int rc = open_kind(chat, wording ? (wording->kind ? wording->kind : "auto") : name, folder, err);
    if (rc < 0)
        return wording ? err_wrap(err, "chat template '%s'", name) : rc;
    if (wording) {
        free(chat->system);
        chat->system = NULL;
        chat->wording = wording;
    }
    return 0;
}

void chat_close(struct chat *chat)
{
    free(chat->system);
    *chat = (struct chat){0};
}

const char *chat_name(const struct chat *chat)
{
    return chat->wording ? chat->wording->name : chat->kind->name;
}

const char *chat_lead(const struct chat *chat)
{
    return chat->kind->add == add_vanilla ? " " : "";
}

const char *chat_end(const struct chat *chat)
{
    return chat->kind->end;
}

int chat_add(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks, struct text *out,
             struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (!is_role(&messages[i], "system") && !is_role(&messages[i], "user") && !is_role(&messages[i], "assistant"))
            return err_set(err, ERR_USAGE, "message %zu: role '%s', system, user or assistant was expected", i + 1,
                           messages[i].role);
    struct arena arena = {0};
    const struct chat_message *own = chat->wording ? reword(chat->wording, messages, &n, &arena) : messages;
    int rc = own || n == 0 ? chat->kind->add(chat, own, n, asks, out, err)
                           : err_set(err, ERR_NOMEM, "no memory for a conversation");
    arena_done(&arena);
    return rc == 0 && out->failed ? err_set(err, ERR_NOMEM, "no memory for a conversation") : rc;
}
