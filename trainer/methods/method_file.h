/* Reading and writing what methods trained. */
#ifndef TRAINER_METHODS_METHOD_FILE_H
#define TRAINER_METHODS_METHOD_FILE_H

#include "common/text.h"
#include "trainer/method.h"

/* Which parameters go into a file: those trained by `method` (NULL: the head). */
int method_file_write(const struct model *model, const char *method, const char *key_prefix, bool with_head,
                      const char *path, struct err *err) MUST_CHECK;
/* Reads every tensor of the file into the parameter of its name: keys without "base_model.model.", "base_layer." and
 * "modules_to_save.", with adapters and LoRA pairs under any name of theirs. ERR_FORMAT for a tensor that is no
 * parameter or has another shape; ERR_NOT_FOUND when one trained by `method` is missing (NULL: none has to be there).
 */
int method_file_read(struct model *model, const char *method, const char *path, struct err *err) MUST_CHECK;
/* Our parameter's name for a key in such a file, written into out. */
void method_file_name(const char *key, char *out, size_t size);
/* Writes JSON text (taken: freed in any case) as folder/name. */
int method_file_write_text(const char *folder, const char *name, struct text *json, struct err *err) MUST_CHECK;

/* Settings in short: text, number, flag; `fallback` when absent. */
const char *setting_text(const cJSON *settings, const char *name, const char *fallback);
double setting_number(const cJSON *settings, const char *name, double fallback);
bool setting_flag(const cJSON *settings, const char *name);
/* Whether the layer is in the settings' `layers` (all when absent), and, with top layers trained whole beside this
 * method, below those. */
bool setting_has_layer(const struct model *model, const cJSON *settings, int layer);
/* Whether a site's name ends with one of the names in a setting (a text or a list); `fallback` (NULL-terminated) when
 * absent. */
bool setting_has_target(const struct site *site, const cJSON *targets, const char *const *fallback);

#endif
