/* Text out of files, stores and other programs, made safe to show.
 *
 * Names and messages are whatever somebody wrote: an escape sequence in one could retitle a terminal, hide lines or
 * answer for the person at it. Everything a command prints that it did not write itself goes through here. */
#ifndef ORCHESTRATOR_PRINTABLE_H
#define ORCHESTRATOR_PRINTABLE_H

#include "common/text.h"

/* Appends `s` on one line: control characters, bytes that are not UTF-8 and code points that turn the direction of
 * writing as escapes ("\n", "\x1b", "\u202e"). */
void printable_add(struct text *out, const char *s);
/* The same with line ends kept: each line begins with `indent`, and the last one ends with a newline. */
void printable_add_lines(struct text *out, const char *s, const char *indent);
/* `s` as a JSON string; bytes that are not UTF-8 become U+FFFD. */
void printable_add_json(struct text *out, const char *s);
/* Columns on a terminal: one a code point (wide characters count as one too). */
size_t printable_width(const char *s);

#endif
