/* Those who ask a run for something while it works (orchestrator/control.h), without a socket. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/simulate/world.h"

enum { CLIENTS_MAX = 64 };

struct control_client {
    struct control *control;
    bool is_answered;
};

static struct control_client clients[CLIENTS_MAX];
static int n_clients;
static struct control *control;

int control_listen(struct control *listening, uv_loop_t *loop, const char *store, struct err *err)
{
    (void)loop;
    (void)store;
    (void)err;
    listening->is_open = true;
    control = listening;
    return 0;
}

void control_answer(struct control_client *client, const char *line)
{
    if (client->is_answered)
        world_break("a request is answered twice");
    client->is_answered = true;
    client->control->n_asked--;
    world_trace("answer: %.200s", line);
}

void control_close(struct control *listening)
{
    listening->is_open = false;
}

int control_ask(const char *store, const char *request, struct text *answer, struct err *err)
{
    (void)store;
    (void)request;
    (void)answer;
    return err_set(err, ERR_NOT_FOUND, "nobody listens here");
}

static void ask(const char *request)
{
    cJSON *json = cJSON_Parse(request);
    if (!control->is_open || n_clients == CLIENTS_MAX || !json) {
        cJSON_Delete(json);
        return;
    }
    world_trace("request: %s", request);
    clients[n_clients] = (struct control_client){.control = control};
    control->n_asked++;
    control->on_request(&clients[n_clients++], json, control->context);
}

static void resume(void *context)
{
    (void)context;
    ask("{\"v\":1,\"op\":\"resume\",\"sweep\":\"s\"}");
}

static void visit(void *context)
{
    char request[160] = "";
    (void)context;
    switch (world_below(7)) {
    case 0:
    case 1:
        ask("{\"v\":1,\"op\":\"pause\",\"sweep\":\"s\"}");
        world_after(world_between(0, 5), resume, NULL);
        break;
    case 2:
    case 3:
        snprintf(request, sizeof(request), "{\"v\":1,\"op\":\"adjust\",\"slots\":%d}", 1 + world_below(4));
        break;
    case 4:
        snprintf(request, sizeof(request), "{\"v\":1,\"op\":\"adjust\",\"deadline_seconds\":%d}", world_below(4));
        break;
    case 5:
        snprintf(request, sizeof(request), "{\"v\":1,\"op\":\"%s\",\"sweep\":\"s\",\"trial\":%d}",
                 world_chance(0.5) ? "cancel" : "retry", 1 + world_below(8));
        world->is_touched = true;
        break;
    default:
        ask("{\"v\":1,\"op\":\"state\",\"sweep\":\"s\"}");
    }
    if (request[0])
        ask(request);
}

void people_come(struct coordinator *c)
{
    (void)c;
    while (world_takes(&world->requests, 0.5))
        world_after(world_between(0, 15), visit, NULL);
}
