/* Work over many elements in equal shares that may run at the same time. The result must be the same bits whatever
 * their number: a share writes where no other reads or writes. */
#ifndef TRAINER_SHARE_H
#define TRAINER_SHARE_H

struct work_share {
    int index, count; /* share `index` of `count`, from 0 */
};

typedef void (*share_fn)(void *work, struct work_share share);

/* Who does it. */
struct crew {
    void (*run)(void *members, share_fn fn, void *work); /* calls fn for every share, returns when all are done */
    void *members;
};

/* Alone, as one share, when there is no crew (NULL). */
static inline void crew_run(const struct crew *crew, share_fn fn, void *work)
{
    if (crew)
        crew->run(crew->members, fn, work);
    else
        fn(work, (struct work_share){0, 1});
}

#endif
