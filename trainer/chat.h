/* Chat templates: how a conversation becomes one text. The common ones, by name or recognised from the template that a
 * model carries; Jinja itself is not interpreted. */
#ifndef TRAINER_CHAT_H
#define TRAINER_CHAT_H

#include <stdbool.h>

#include "common/err.h"
#include "common/text.h"

struct chat_message {
    const char *role; /* system, user, assistant */
    const char *content;
};

struct chat_kind;
struct chat_wording;

struct chat {
    const struct chat_kind *kind;
    const struct chat_wording *wording; /* what is put around a user's message, or NULL */
    char *system; /* what stands in front when the conversation has no system message of its own; heap, or NULL */
};

/* The template `name`: chatml, llama-2, llama-3, alpaca, plain; or auto: the one that the model folder carries
 * (tokenizer_config.json, chat_template.jinja, the GGUF file's metadata); or one of the five wordings of the safety
 * check (check_safety_templates): text_vanilla and text_alpaca without the model's turns, chat_vanilla, chat_alpaca and
 * chat_safety in them, the last with a system message that says what not to answer. ERR_UNSUPPORTED for an unknown name
 * (lists those known), for a template that is none of these, and for a folder without one. */
int chat_open(struct chat *chat, const char *name, const char *folder, struct err *err) MUST_CHECK;
void chat_close(struct chat *chat);
const char *chat_name(const struct chat *chat);
/* Which of the common ones a Jinja template is. */
int chat_recognise(struct chat *chat, const char *jinja, struct err *err) MUST_CHECK;
/* Appends the conversation; with `asks` also what an answer begins with. Beginning-of-text tokens are left to the
 * tokenizer. ERR_USAGE for roles that do not take turns, where the template needs it, or that it does not know. */
int chat_add(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks, struct text *out,
             struct err *err) MUST_CHECK;
/* What stands between the conversation and an answer and belongs to the answer's first token: " " or "". */
const char *chat_lead(const struct chat *chat);
/* What an answer ends with: "<|im_end|>"; "" when that is the tokenizer's end of text. */
const char *chat_end(const struct chat *chat);

#endif
