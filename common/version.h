/* What this program is: version, commit it was built from, and the number of its results. */
#ifndef COMMON_VERSION_H
#define COMMON_VERSION_H

const char *version_program(void);
const char *version_commit(void);

/* Part of every trial's identity. Raise it by hand whenever any result or default changes, so that earlier results
 * are not mistaken for those of today's program. */
enum { VERSION_NUMERICS = 5 };

#endif
