/* What the progress display looks like: pure text from a state, for progress.c to print. */
#ifndef ORCHESTRATOR_PROGRESS_VIEW_H
#define ORCHESTRATOR_PROGRESS_VIEW_H

#include "common/text.h"
#include "orchestrator/progress.h"

/* A line a slot and the total line, each at most `width` columns wide (more than 20) and ended by a newline; the number
 * of lines. */
int progress_add_screen(struct text *out, const struct progress_state *state, int width, bool has_color);
/* The whole state on one plain line, without newline. */
void progress_add_line(struct text *out, const struct progress_state *state);
/* One JSON object {"v":1,"type":"progress",…}, without newline. */
void progress_add_json(struct text *out, const struct progress_state *state, const char *time);
/* {"v":1,"type":"event","kind":…,"message":…} */
void progress_add_event_json(struct text *out, const char *kind, const char *message, const char *time);
/* "45 s", "12 min", "3 h 05 min", "2 d 4 h"; "?" when it is not finite. */
void progress_add_duration(struct text *out, double seconds);

#endif
