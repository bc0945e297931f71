/* Diagnostics for the developer: NIGHTSWEEP_DEBUG=scheduler,worker opens a component's log on standard error,
 * NIGHTSWEEP_TRACE=file writes events as JSON lines. Libraries never log otherwise. */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdbool.h>

bool log_enabled(const char *component);
/* A timestamped line on standard error when the component is enabled. */
void log_debug(const char *component, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One JSON line {"time":…,"component":…,"event":…, members…}; `members` is ready JSON without braces, or "". */
void log_trace(const char *component, const char *event, const char *members);

#endif
