/* Tasks that rows name, and bands of frequency, by hand. */
#include <criterion/criterion.h>
#include <string.h>

#include "trainer/token_kinds.h"

static struct row row(const char *task, uint32_t line)
{
    return (struct row){.text = "text", .label = "", .task = task, .line = line};
}

Test(token_kinds, tasks_are_those_of_the_training_rows)
{
    struct row train[] = {row("b", 1), row("a", 2), row("b", 3)}, test[] = {row("a", 1), row("c", 2)},
               bare[] = {row(NULL, 7)};
    struct rows rows = {.path = (char *)(uintptr_t) "train", .items = train, .count = 3};
    struct example examples[3] = {0};
    struct dataset dataset = {.examples = examples, .count = 3};
    struct token_kinds kinds;
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(token_kinds_read(&kinds, &rows, &arena, &err), 0);
    cr_assert_eq(kinds.n_tasks, 2);
    cr_expect_str_eq(kinds.tasks[0], "a");
    cr_expect_str_eq(kinds.tasks[1], "b");
    cr_assert_eq(token_kinds_assign(&kinds, &dataset, &rows, &err), 0);
    cr_expect(examples[0].task == 1 && examples[1].task == 0 && examples[2].task == 1);
    struct rows others = {.path = (char *)(uintptr_t) "test", .items = test, .count = 2};
    cr_expect_eq(token_kinds_assign(&kinds, &dataset, &others, &err), ERR_DATA);
    cr_expect_str_eq(err.message, "'test', line 2: no training row has the task 'c'");
    others = (struct rows){.path = (char *)(uintptr_t) "test", .items = bare, .count = 1};
    cr_expect_eq(token_kinds_assign(&kinds, &dataset, &others, &err), ERR_DATA);
    cr_expect(strstr(err.message, "line 7"), "%s", err.message);
    cr_assert_eq(token_kinds_read(&kinds, &others, &arena, &err), 0);
    cr_expect_eq(kinds.n_tasks, 0, "data that names no tasks");
    arena_done(&arena);
}

Test(token_kinds, bands_have_a_quarter_of_the_tokens_each)
{
    /* Twenty tokens: id 3 eight times, id 1 four times, ids 0 and 2 three times, id 4 twice; id 5 never. */
    int32_t ids[] = {3, 3, 3, 3, 3, 3, 3, 3, 1, 1, 1, 1, 0, 0, 0}, decoder[] = {2, 2, 2, 4, 4};
    struct example example = {.ids = ids, .n_tokens = 15, .decoder_ids = decoder, .n_targets = 5};
    struct dataset dataset = {.examples = &example, .count = 1};
    struct token_kinds kinds = {0};
    struct arena arena = {0};
    struct err err = {0};
    cr_assert_eq(token_kinds_count(&kinds, &dataset, 6, &arena, &err), 0);
    const uint8_t expected[] = {2, 1, 3, 0, 3, 3}; /* what stands in front: 12, 8, 15, 0, 18 and 20 of 20 */
    for (int id = 0; id < 6; id++)
        cr_expect_eq(kinds.bands[id], expected[id], "id %d: band %d", id, kinds.bands[id]);
    arena_done(&arena);
}
