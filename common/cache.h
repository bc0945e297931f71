/* The folder of what trials on one machine need not do again (trainer/token_cache.h, trainer/prefix_cache.h). Anything
 * in it may be removed at any time. */
#ifndef COMMON_CACHE_H
#define COMMON_CACHE_H

/* Files with kept activations end so; they are opened, and their time set, by each trainer that uses them. */
#define CACHE_PREFIX_SUFFIX ".prefix"

/* NIGHTSWEEP_CACHE, else $XDG_CACHE_HOME/nightsweep, else ~/.cache/nightsweep; made when it is missing. Heap, owned by
 * the caller; NULL: there is none. */
char *cache_folder(void);

#endif
