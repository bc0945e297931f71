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

struct chat {
    const struct chat_kind *kind;
    char *system; /* what stands in front when the conversation has no system message of its own; heap, or NULL */
};

/* The template `name`: chatml, llama-2, llama-3, alpaca, plain; or auto: the one that the model folder carries
 * (tokenizer_config.json, chat_template.jinja, the GGUF file's metadata). ERR_UNSUPPORTED for an unknown name (lists
 * those known), for a template that is none of these, and for a folder without one. */
int chat_open(struct chat *chat, const char *name, const char *folder, struct err *err) MUST_CHECK;
void chat_close(struct chat *chat);
const char *chat_name(const struct chat *chat);
/* Which of the common ones a Jinja template is. */
int chat_recognise(struct chat *chat, const char *jinja, struct err *err) MUST_CHECK;
/* Appends the conversation; with `asks` also what an answer begins with. Beginning-of-text tokens are left to the
 * tokenizer. ERR_USAGE for roles that do not take turns, where the template needs it, or that it does not know. */
int chat_add(const struct chat *chat, const struct chat_message *messages, size_t n, bool asks, struct text *out,
             struct err *err) MUST_CHECK;
/* What an answer ends with: "<|im_end|>"; "" when that is the tokenizer's end of text. */
const char *chat_end(const struct chat *chat);

#endif
