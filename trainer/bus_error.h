/* A map whose file was cut off, or whose disk fails, ends the trainer with SIGBUS: then at least it says of which file.
 * The last line of standard error becomes the attempt's message. */
#ifndef TRAINER_BUS_ERROR_H
#define TRAINER_BUS_ERROR_H

/* From now on SIGBUS writes "nightsweep-trainer: '<file>' cannot be read at byte N any more: …" to standard error
 * before it ends the process as it would have. In all threads; needs nothing but the kernel's list of maps. */
void bus_error_explain(void);

#endif
