/* TensorBoard event files: a folder a trial, with its scalars and the three summaries of the HParams tab.
 *
 * File: TFRecords, each u64 length, u32 masked CRC-32C of the length, data, u32 masked CRC-32C of the data, all little
 * endian; the data is the protocol buffer Event. The tab drops a run that lacks a displayed hyperparameter, and makes a
 * column of text where one value is text; so every trial carries every searched value of its sweep, and a number that
 * does not apply is 0 (or one below the smallest where 0 is in use). Values are float32 there; the store has the rest.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "orchestrator/export_rows.h"

/* Protocol buffers ---------------------------------------------------------------------------------------------------
 */

static void add_varint(struct text *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        text_add_char(out, (char)(value | 0x80));
    text_add_char(out, (char)value);
}

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

static void add_key(struct text *out, unsigned field, enum wire wire)
{
    add_varint(out, field << 3 | (unsigned)wire);
}

static void add_bytes(struct text *out, unsigned field, const void *data, size_t n)
{
    add_key(out, field, WIRE_BYTES);
    add_varint(out, n);
    text_add_n(out, data, n);
}

static void add_string(struct text *out, unsigned field, const char *s)
{
    /* Protocol buffers refuse strings that are no UTF-8. */
    add_bytes(out, field, s, utf8_valid_prefix(s, strlen(s)));
}

/* A message inside another; takes its text. */
static void add_message(struct text *out, unsigned field, struct text *message)
{
    add_bytes(out, field, message->data ? message->data : "", message->len);
    out->failed = out->failed || message->failed;
    text_done(message);
}

static void add_little_endian(struct text *out, uint64_t bits, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        text_add_char(out, (char)(bits >> (8 * i)));
}

static void add_double(struct text *out, unsigned field, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    add_key(out, field, WIRE_FIXED64);
    add_little_endian(out, bits, 8);
}

static void add_float(struct text *out, unsigned field, double value)
{
    float small = (float)value;
    uint32_t bits;
    memcpy(&bits, &small, sizeof(bits));
    add_key(out, field, WIRE_FIXED32);
    add_little_endian(out, bits, 4);
}

static void add_int(struct text *out, unsigned field, int64_t value)
{
    add_key(out, field, WIRE_VARINT);
    add_varint(out, (uint64_t)value);
}

/* CRC-32C (Castagnoli, reflected 0x82F63B78), rotated and shifted as TFRecord wants it. */
static uint32_t masked_crc(const char *data, size_t n)
{
    static uint32_t table[256];
    for (uint32_t i = 1; table[255] == 0 && i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? 0x82F63B78U ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    uint32_t crc = ~0U;
    for (size_t i = 0; i < n; i++)
        crc = table[(crc ^ (unsigned char)data[i]) & 255] ^ crc >> 8;
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

/* An Event as a record; takes its text. */
static void add_record(struct text *file, struct text *event)
{
    char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (char)((uint64_t)event->len >> (8 * i));
    text_add_n(file, length, 8);
    add_little_endian(file, masked_crc(length, 8), 4);
    text_add_n(file, event->data, event->len);
    add_little_endian(file, masked_crc(event->data, event->len), 4);
    file->failed = file->failed || event->failed;
    text_done(event);
}

/* Events -------------------------------------------------------------------------------------------------------------
 */

/* A searched value over the sweep: text as soon as one value is. */
struct hyperparameters {
    struct export_names names;
    bool is_text[256];
    double absent[256]; /* what stands for "does not apply" */
};

struct run {
    struct store *store;
    const char *folder;
    struct hyperparameters parameters;
    struct export_names metrics;
    struct text file;
    double begin, end, total_steps;
    struct text session; /* being written */
    bool has[256];
};

static int add_parameter_name(sqlite3_stmt *row, void *context, struct err *err)
{
    struct hyperparameters *h = context;
    int place = export_names_place(&h->names, (const char *)sqlite3_column_text(row, 0));
    if (place < 0 || place >= 256)
        return err_set(err, ERR_NOMEM, "more than 256 searched values are too many for TensorBoard");
    h->is_text[place] = sqlite3_column_int(row, 1) > 0;
    double low = sqlite3_column_double(row, 2);
    h->absent[place] = low > 0 ? 0 : low - 1;
    return 0;
}

static int add_metric_name(sqlite3_stmt *row, void *context, struct err *err)
{
    if (export_names_place(context, (const char *)sqlite3_column_text(row, 0)) < 0)
        return err_set(err, ERR_NOMEM, "no memory for the names of metrics");
    return 0;
}

/* One of the HParams tab's summaries; takes the plugin's data. */
static void add_plugin_summary(struct run *run, const char *tag, struct text *data)
{
    struct text plugin = {0}, metadata = {0}, tensor = {0}, value = {0}, summary = {0}, event = {0}, shape = {0};
    add_string(&plugin, 1, "hparams");
    add_message(&plugin, 2, data);
    add_message(&metadata, 1, &plugin);
    add_int(&tensor, 1, 1); /* DT_FLOAT, a scalar nobody reads */
    add_message(&tensor, 2, &shape);
    add_float(&tensor, 5, 0);
    add_string(&value, 1, tag);
    add_message(&value, 8, &tensor);
    add_message(&value, 9, &metadata);
    add_message(&summary, 1, &value);
    add_double(&event, 1, run->begin);
    add_message(&event, 5, &summary);
    add_record(&run->file, &event);
}

static void add_experiment(struct run *run)
{
    struct text data = {0}, experiment = {0};
    for (int i = 0; i < run->parameters.names.n; i++) {
        struct text info = {0};
        add_string(&info, 1, run->parameters.names.names[i]);
        add_int(&info, 4, run->parameters.is_text[i] ? 1 : 3);
        add_message(&experiment, 4, &info);
    }
    for (int i = 0; i < run->metrics.n; i++) {
        struct text info = {0}, name = {0};
        add_string(&name, 2, run->metrics.names[i]);
        add_message(&info, 1, &name);
        add_message(&experiment, 5, &info);
    }
    add_message(&data, 2, &experiment);
    add_plugin_summary(run, "_hparams_/experiment", &data);
}

/* An entry of the map hparams: takes the value. */
static void add_parameter(struct text *session, const char *name, struct text *value)
{
    struct text entry = {0};
    add_string(&entry, 1, name);
    add_message(&entry, 2, value);
    add_message(session, 1, &entry);
}

static int add_parameter_value(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct run *run = context;
    const char *name = (const char *)sqlite3_column_text(row, 0);
    int place = export_names_place(&run->parameters.names, name);
    struct text value = {0};
    if (run->parameters.is_text[place])
        add_string(&value, 3, (const char *)sqlite3_column_text(row, 1));
    else
        add_double(&value, 2, sqlite3_column_double(row, 1));
    add_parameter(&run->session, name, &value);
    run->has[place] = true;
    return 0;
}

static int add_session(struct run *run, const struct export_trial *trial, struct err *err)
{
    struct text data = {0}, end_data = {0}, end = {0};
    memset(run->has, 0, sizeof(run->has));
    int rc = export_each(run->store, "SELECT name, value FROM parameter_value WHERE trial_id = ?1", trial->id,
                         add_parameter_value, run, err);
    for (int i = 0; i < run->parameters.names.n; i++) {
        struct text value = {0};
        if (run->has[i])
            continue;
        if (run->parameters.is_text[i])
            add_string(&value, 3, "not applicable");
        else
            add_double(&value, 2, run->parameters.absent[i]);
        add_parameter(&run->session, run->parameters.names.names[i], &value);
    }
    add_double(&run->session, 5, run->begin);
    add_message(&data, 3, &run->session);
    add_plugin_summary(run, "_hparams_/session_start_info", &data);
    bool is_done = text_equal(trial->state, "COMPLETE"), is_failed = text_equal(trial->state, "FAILED");
    add_int(&end, 1, is_done ? 1 : is_failed ? 2 : text_equal(trial->state, "RUNNING") ? 3 : 0);
    add_double(&end, 2, run->end);
    add_message(&end_data, 4, &end);
    add_plugin_summary(run, "_hparams_/session_end_info", &end_data);
    return rc;
}

static int add_point(sqlite3_stmt *row, void *context, struct err *err)
{
    (void)err;
    struct run *run = context;
    int64_t step = sqlite3_column_int64(row, 1);
    struct text value = {0}, summary = {0}, event = {0};
    add_string(&value, 1, (const char *)sqlite3_column_text(row, 0));
    add_float(&value, 2, sqlite3_column_type(row, 2) == SQLITE_NULL ? NAN : sqlite3_column_double(row, 2));
    add_message(&summary, 1, &value);
    add_double(&event, 1, run->begin + (run->end - run->begin) * fmin(1, (double)step / fmax(run->total_steps, 1)));
    add_int(&event, 2, step);
    add_message(&event, 5, &summary);
    add_record(&run->file, &event);
    return 0;
}

static int write_trial(const struct export_trial *trial, void *context, struct err *err)
{
    struct run *run = context;
    struct text path = {0}, version = {0};
    run->begin = trial->started.is_known ? trial->started.value : trial->created.value;
    run->end = trial->finished.is_known ? trial->finished.value : run->begin + trial->seconds.value;
    run->total_steps = (double)(trial->steps > 0 ? trial->steps : 1);
    text_reset(&run->file);
    add_double(&version, 1, run->begin);
    add_string(&version, 3, "brain.Event:2");
    add_record(&run->file, &version);
    add_experiment(run);
    int rc = add_session(run, trial, err);
    if (rc == 0)
        rc = export_each(run->store,
                         "SELECT n.name, m.step, m.value FROM metric m JOIN metric_name n ON n.id = m.name_id"
                         " WHERE m.trial_id = ?1 ORDER BY m.step, n.name",
                         trial->id, add_point, run, err);
    text_printf(&path, "%s/", run->folder);
    export_add_path_part(&path, trial->sweep);
    text_printf(&path, "/trial-%04lld/events.out.tfevents.%.0f.nightsweep", (long long)trial->number, run->begin);
    if (rc == 0)
        rc = path.failed ? err_set(err, ERR_NOMEM, "no memory for a path")
                         : export_write_file(path.data, &run->file, err);
    text_done(&path);
    return rc;
}

static int write_sweep(int64_t sweep_id, const char *name, void *context, struct err *err)
{
    (void)name;
    struct run *run = context;
    export_names_done(&run->parameters.names);
    export_names_done(&run->metrics);
    int rc = export_each(run->store,
                         "SELECT p.name, SUM(typeof(p.value) = 'text'), MIN(p.value) FROM parameter_value p"
                         " JOIN trial t ON t.id = p.trial_id WHERE t.sweep_id = ?1 GROUP BY p.name ORDER BY p.name",
                         sweep_id, add_parameter_name, &run->parameters, err);
    if (rc == 0)
        rc = export_each(run->store,
                         "SELECT DISTINCT n.name FROM trial t JOIN metric m ON m.trial_id = t.id JOIN metric_name n"
                         " ON n.id = m.name_id WHERE t.sweep_id = ?1 ORDER BY 1",
                         sweep_id, add_metric_name, &run->metrics, err);
    if (rc == 0)
        rc = export_each_trial(run->store, sweep_id, write_trial, run, err);
    return rc;
}

static int write_tensorboard(const struct export_request *request, struct err *err)
{
    struct run *run = calloc(1, sizeof(*run));
    if (!run)
        return err_set(err, ERR_NOMEM, "no memory for the events of a trial");
    run->store = request->store;
    run->folder = request->path;
    int rc = export_each_sweep(request, write_sweep, run, err);
    export_names_done(&run->parameters.names);
    export_names_done(&run->metrics);
    text_done(&run->file);
    free(run);
    return rc;
}

const struct export_format export_tensorboard = {"tensorboard", "-tensorboard",
                                                 "a folder of event files, scalars and HParams", write_tensorboard};
