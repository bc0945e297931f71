/* Copying a group of operations with all it points to into one block, so that the thread owns what it works on. */
#include "orchestrator/store_copy.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/store_internal.h"

/* Two passes over the same walk: the first, without a block, only counts. Aligned parts come before texts. */
struct block {
    char *at; /* NULL: counting */
    size_t bytes;
};

static void *take(struct block *block, const void *data, size_t size)
{
    void *copy = block->at;
    block->bytes += size;
    if (block->at == NULL)
        return NULL;
    block->at += size;
    return size == 0 ? copy : memcpy(copy, data, size);
}

static const char *take_text(struct block *block, const char *text)
{
    return text == NULL ? NULL : take(block, text, strlen(text) + 1);
}

/* A batch repeats a few names in turn (loss, norm, rate; loss, norm, rate; …), so each is looked for among the last
 * ones and kept once. */
enum { RECENT_NAMES = 16 };

static void copy_point_names(struct block *block, const struct store_points *from, struct store_point *to)
{
    for (size_t i = 0; i < from->n; i++) {
        const char *name = from->points[i].name;
        size_t back = 1;
        while (back <= i && back <= RECENT_NAMES && from->points[i - back].name != name &&
               strcmp(from->points[i - back].name, name) != 0)
            back++;
        bool is_recent = back <= i && back <= RECENT_NAMES;
        const char *copy = is_recent ? NULL : take_text(block, name);
        if (to != NULL)
            to[i].name = is_recent ? to[i - back].name : copy;
    }
}

static void copy_arrays(struct block *block, const struct store_op *from, struct store_op *to)
{
    if (from->kind == STORE_POINTS) {
        const void *points = take(block, from->points.points, from->points.n * sizeof *from->points.points);
        if (to != NULL)
            to->points.points = points;
    }
}

static void copy_texts(struct block *block, const struct store_op *from, struct store_op *to)
{
    const size_t *offsets = store_op_rows[from->kind].texts;
    for (; offsets != NULL && *offsets != 0; offsets++) {
        const char *text;
        memcpy(&text, (const char *)from + *offsets, sizeof text);
        const char *copy = take_text(block, text);
        if (to != NULL)
            memcpy((char *)to + *offsets, &copy, sizeof copy);
    }
    if (from->kind == STORE_POINTS)
        copy_point_names(block, &from->points, to == NULL ? NULL : (struct store_point *)to->points.points);
    if (from->kind == STORE_EVALUATION && from->evaluation.items != NULL) {
        const void *items = take(block, from->evaluation.items, from->evaluation.items_bytes);
        if (to != NULL)
            to->evaluation.items = items;
    }
}

/* to NULL: only counts. */
static void copy_group(struct block *block, const struct store_op *from, size_t n, struct store_op *to)
{
    for (size_t i = 0; i < n; i++)
        copy_arrays(block, &from[i], to == NULL ? NULL : &to[i]);
    for (size_t i = 0; i < n; i++)
        copy_texts(block, &from[i], to == NULL ? NULL : &to[i]);
}

static int check_ops(const struct store_op *ops, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned)ops[i].kind >= STORE_OP_KINDS)
            return err_set(err, ERR_INTERNAL, "%d is no kind of store operation", (int)ops[i].kind);
        if (ops[i].kind != STORE_POINTS)
            continue;
        for (size_t p = 0; p < ops[i].points.n; p++) {
            if (ops[i].points.points[p].name == NULL)
                return err_set(err, ERR_INTERNAL, "point %zu of a batch has no name", p);
        }
    }
    return 0;
}

int store_copy_ops(const struct store_op *ops, size_t n, struct store_op **copy, size_t *bytes, struct err *err)
{
    struct block block = {.bytes = n * sizeof *ops};
    int rc = check_ops(ops, n, err);
    if (rc != 0)
        return rc;
    copy_group(&block, ops, n, NULL);
    struct store_op *to = malloc(block.bytes > 0 ? block.bytes : 1);
    if (to == NULL)
        return err_set(err, ERR_NOMEM, "no memory for %zu bytes of store operations", block.bytes);
    const size_t counted = block.bytes;
    block = (struct block){.at = (char *)to};
    take(&block, ops, n * sizeof *ops);
    copy_group(&block, ops, n, to);
    assert(block.bytes == counted);
    *copy = to;
    *bytes = counted;
    return 0;
}
