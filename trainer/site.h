/* Sites: the places of a model that methods attach to.
 *
 * A model names its sites by the Hugging Face path of the base tensor and calls them in its forward pass; a method
 * walks the list of sites at attach time and hooks into those it wants. The model knows no method, the method no model.
 * Hooks of several methods run in attach order. */
#ifndef TRAINER_SITE_H
#define TRAINER_SITE_H

#include "trainer/ops.h"
#include "trainer/param.h"

enum site_kind {
    SITE_LINEAR,    /* y = x Wᵀ + b */
    SITE_SUBLAYER,  /* how a sublayer's output h joins the residual stream, with its layer norm */
    SITE_ATTENTION, /* extra keys and values */
    SITE_EMBEDDING, /* the table of tokens: rows may be inserted, positions shifted */
    SITE_BLOCK      /* hidden states on their way: role "embeddings" in front of the first layer, "layer" behind each
                     * one, "output" in front of a language model's output embedding */
};

struct site;
struct pass; /* one forward pass: tape, batch, model; see model.h */

/* What a method hangs on a site. Every function may be NULL; `state` is the method's own (trial arena). */
struct hook {
    /* linear: the weight that is used instead (DoRA, hypernetworks), the input that is read instead (IA3), and the
     * result that is passed on (LoRA adds to y). x is the site's input before any input hook. */
    struct value *(*weight)(void *state, struct pass *pass, struct value *w);
    struct value *(*input)(void *state, struct pass *pass, struct value *x);
    struct value *(*output)(void *state, struct pass *pass, struct value *x, struct value *y);
    /* sublayer: h' from h (the sublayer's dense output, after dropout) and z (the residual), before h' + z and norm. */
    struct value *(*sublayer)(void *state, struct pass *pass, struct value *h, struct value *z);
    /* sublayer: h itself instead of the feed-forward that the model has there, from its input (normalised in front) and
     * the residual stream. The linear sites inside are replaced (site_replace_linear). */
    struct value *(*feed_forward)(void *state, struct pass *pass, struct value *x, struct value *z);
    /* attention: may set extra_keys, extra_values and extra_gate. x is what queries are made from. */
    void (*attention)(void *state, struct pass *pass, struct value *x, struct attention *attention);
    /* embedding: the rows that go on instead of the table's rows `ids`. */
    struct value *(*embed)(void *state, struct pass *pass, const int32_t *ids, struct value *x);
    /* embedding: rows (P, width) put into every sequence, in front of it or behind its first row. */
    struct value *(*insert)(void *state, struct pass *pass, bool *behind_first);
    /* block: the value that goes on instead; its layout may be another, with rows inserted. */
    struct value *(*replace)(void *state, struct pass *pass, struct value *x);
    void *state;
    struct hook *next;
};

struct site {
    enum site_kind kind;
    const char *name; /* "bert.encoder.layer.3.attention.self.query" */
    /* linear: query key value query_key_value attention_output intermediate gate output pooler output_embedding;
     * sublayer: attention cross_attention feed_forward; attention: attention cross_attention */
    const char *role;
    int layer;                   /* from 0; −1: below the layers; n_layers: above them */
    int in, out;                 /* linear: features; attention: width of x and of its keys; others: width in both */
    int n_heads, n_kv_heads;     /* attention: a head is out/n_kv_heads wide */
    bool is_transposed;          /* linear: W stored (in, out) */
    bool is_decoder;             /* of an encoder-decoder model: it belongs to the decoder */
    struct param *weight, *bias; /* linear; bias may be NULL. embedding: the table (tokens, width) */
    double scale;                /* embedding: factor on the rows looked up; 0: none */
    int position_shift;          /* embedding: what methods add to the position of every sequence */
    /* sublayer: post-norm models normalise after the sum (norm is used by pfeiffer adapters), pre-norm ones have none
     * here */
    struct param *norm_weight, *norm_bias;
    double norm_epsilon;
    /* sublayer: a feed-forward that a method may take the place of: its inner width (0: it may not), its activation */
    int inner;
    enum activation activation;
    bool
        is_replaced; /* linear: nobody computes it, see site_replace_linear; sublayer: its feed-forward is a method's */
    int method_width;    /* values that a method computes here a token, where that is not about the site's own width */
    double method_flops; /* and what they take a token, forward */
    struct hook *hooks, **hooks_end;
};

/* Adds a hook (copied into the trial arena) behind those that are there. */
int site_hook(struct site *site, struct arena *trial, const struct hook *hook, struct err *err) MUST_CHECK;

/* For methods that take the place of what a linear site is part of: its tensors are not trained, later hooks are
 * refused. ERR_UNSUPPORTED when another method is there already. */
int site_replace_linear(struct site *site, struct err *err) MUST_CHECK;

/* What models call. */
struct value *site_linear(struct pass *pass, struct site *site, struct value *x);
/* LN(h' + z) for post-norm sublayers, h' + z for others. */
struct value *site_sublayer(struct pass *pass, struct site *site, struct value *h, struct value *z);
/* What a method gives in the feed-forward's place; only where the sublayer is_replaced. */
struct value *site_feed_forward(struct pass *pass, struct site *site, struct value *x, struct value *z);
void site_attention(struct pass *pass, struct site *site, struct value *x, struct attention *attention);
/* The rows `ids` of the embedding, with the rows that methods insert. The result's layout is the one of all hidden
 * states behind it: positions start at position_shift, and `origin` tells inserted rows. */
struct value *site_embedding(struct pass *pass, struct site *site, const int32_t *ids, const struct layout *layout);
struct value *site_replace(struct pass *pass, struct site *site, struct value *x);

/* Whether the site's name is the target in PEFT's sense: equal, or ending with "." + target. */
bool site_matches(const struct site *site, const char *target);

#endif
