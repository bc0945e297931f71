/* Tests of orchestrator/control and control_request: requests both ways, and the channel with hostile clients. */
#include "orchestrator/control.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "orchestrator/control_request.h"
#include "tests/support/store_rows.h"
#include "tests/support/temp.h"

static void round_trip(const struct control_request *request, struct control_request *back, cJSON **json)
{
    struct text text = {0};
    struct err err = {0};
    control_request_write(&text, request);
    cr_assert_eq(json_parse(text.data, text.len, json, &err), 0, "%s: %s", text.data, err.message);
    cr_assert_eq(control_request_read(back, *json, &err), 0, "%s: %s", text.data, err.message);
    text_done(&text);
}

Test(control, requests_read_back)
{
    struct control_request back;
    cJSON *json = NULL;
    round_trip(&(struct control_request){.op = CONTROL_CANCEL, .sweep = "a\"b", .trial = 7, .reason = "x\ny"}, &back,
               &json);
    cr_assert_eq(back.op, CONTROL_CANCEL);
    cr_assert_str_eq(back.sweep, "a\"b");
    cr_assert_str_eq(back.reason, "x\ny");
    cr_assert_eq(back.trial, 7);
    json_free(json);
    round_trip(&(struct control_request){.op = CONTROL_ADJUST, .slots = 4, .deadline_seconds = known_real(0.5)}, &back,
               &json);
    cr_assert_eq(back.slots, 4);
    cr_assert(back.deadline_seconds.is_known && back.deadline_seconds.value == 0.5);
    json_free(json);
}

Test(control, wrong_requests_are_refused)
{
    static const char *const wrong[] = {"[]",
                                        "{}",
                                        "{\"op\":1}",
                                        "{\"op\":\"destroy\"}",
                                        "{\"op\":\"pause\"}",
                                        "{\"op\":\"cancel\",\"sweep\":3}",
                                        "{\"op\":\"cancel\",\"sweep\":\"s\",\"trial\":1.5}",
                                        "{\"op\":\"adjust\",\"deadline_seconds\":\"x\"}"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct control_request request;
        struct err err = {0};
        cJSON *json = NULL;
        cr_assert_eq(json_parse(wrong[i], strlen(wrong[i]), &json, &err), 0);
        cr_assert(control_request_read(&request, json, &err) < 0, "%s", wrong[i]);
        json_free(json);
    }
}

/* The channel ------------------------------------------------------------------------------------------------------ */

static struct control control;
static char store_path_[4600];
static int n_requests;

static void on_request(struct control_client *client, cJSON *request, void *context)
{
    (void)context;
    n_requests++;
    const cJSON *op = json_get(request, "op");
    control_answer(client, cJSON_IsString(op) ? op->valuestring : "none");
    json_free(request);
}

static void *ask_things(void *context)
{
    struct err err = {0};
    struct text answer = {0};
    uv_async_t *done = context;
    cr_expect_eq(control_ask(store_path_, "{\"op\":\"hello\"}", &answer, &err), 0, "%s", err.message);
    cr_expect_str_eq(answer.data, "hello");
    text_reset(&answer);
    cr_expect_eq(control_ask(store_path_, "{\"op\":", &answer, &err), 0, "%s", err.message);
    cr_expect_not_null(strstr(answer.data, "\"ok\":false"));
    text_reset(&answer);
    char *large = calloc(1, 200 << 10);
    memset(large, 'x', (200 << 10) - 1);
    cr_expect_eq(control_ask(store_path_, large, &answer, &err), ERR_IO);
    free(large);
    text_done(&answer);
    uv_async_send(done);
    return NULL;
}

static void on_done(uv_async_t *done)
{
    control_close(&control);
    uv_close((uv_handle_t *)done, NULL);
}

Test(control, channel)
{
    struct temp temp;
    struct err err = {0};
    struct stat info;
    uv_loop_t loop;
    uv_async_t done;
    pthread_t thread;
    temp_open(&temp);
    /* A path far longer than the address of a socket. */
    char name[400] = "";
    for (int i = 0; i < 3; i++)
        snprintf(
            name + strlen(name), sizeof(name) - strlen(name), "%.*s/", 100,
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    snprintf(name + strlen(name), sizeof(name) - strlen(name), "x.db");
    snprintf(store_path_, sizeof(store_path_), "%s", temp_path(&temp, name));
    struct store *store = rows_open(store_path_);
    struct text answer = {0};
    cr_assert_eq(control_ask(store_path_, "{}", &answer, &err), ERR_NOT_FOUND, "%s", err.message);
    uv_loop_init(&loop);
    uv_async_init(&loop, &done, on_done);
    control.on_request = on_request;
    cr_assert_eq(control_listen(&control, &loop, store_path_, &err), 0, "%s", err.message);
    char socket[4700];
    snprintf(socket, sizeof(socket), "%s.control", store_path_);
    cr_assert_eq(stat(socket, &info), 0);
    cr_expect_eq(info.st_mode & 0777, 0600);
    pthread_create(&thread, NULL, ask_things, &done);
    uv_run(&loop, UV_RUN_DEFAULT);
    pthread_join(thread, NULL);
    cr_expect_eq(uv_loop_close(&loop), 0);
    cr_expect_eq(n_requests, 1);
    cr_expect_null(control.clients);
    cr_expect(stat(socket, &info) < 0, "the socket is left");
    store_close(store);
    temp_close(&temp);
}

Test(control, a_store_without_a_run)
{
    struct temp temp;
    struct err err = {0};
    cJSON *answer = NULL;
    temp_open(&temp);
    const char *path = temp_path(&temp, "x.db");
    const struct control_request cancel = {.op = CONTROL_CANCEL, .sweep = "s"},
                                 pause = {.op = CONTROL_PAUSE, .sweep = "s"};
    cr_assert_eq(control_perform(path, &cancel, &answer, &err), ERR_NOT_FOUND);
    struct store *store = rows_open(path);
    int64_t sweep = rows_sweep(store, "s");
    rows_trial(store, sweep, rows_configuration(store, sweep, 1), 1, 1);
    store_close(store);
    cr_assert_eq(control_perform(path, &pause, &answer, &err), ERR_USAGE);
    cr_assert_not_null(strstr(err.message, "there is nothing to pause"), "%s", err.message);
    cr_assert_eq(control_perform(path, &cancel, &answer, &err), 0, "%s", err.message);
    cr_assert_eq(json_get(answer, "changed")->valueint, 1);
    json_free(answer);
    cr_assert_not(control_find_state(path, &answer));
    temp_close(&temp);
}
