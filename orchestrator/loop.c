/* The loop of a real run: libuv's. */
#include "orchestrator/loop.h"

#include <signal.h>

#include "common/file.h"

enum { LOOP_DESCRIPTORS = 8 };

const bool loop_has_threads = true;

static void on_news(uv_async_t *async)
{
    struct loop *loop = async->data;
    loop->options.on_news(loop->options.context);
}

static void on_tick(uv_timer_t *timer)
{
    struct loop *loop = timer->data;
    loop->options.on_tick(loop->options.context);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct loop *loop = handle->data;
    loop->options.on_signal(loop->options.context, number);
}

static void on_idle(uv_prepare_t *idle)
{
    struct loop *loop = idle->data;
    loop->options.on_idle(loop->options.context);
}

/* `nohup` and its like: the terminal may go, the run goes on. */
static bool is_hangup_ignored(void)
{
    struct sigaction action;
    return sigaction(SIGHUP, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int loop_open(struct loop *loop, const struct loop_options *options, struct err *err)
{
    static const int numbers[LOOP_SIGNALS] = {SIGINT, SIGTERM, SIGUSR1, SIGHUP};
    int rc = file_check_descriptors(LOOP_DESCRIPTORS, err); /* without them libuv ends the process */
    int status = rc == 0 ? uv_loop_init(&loop->uv) : 0;
    if (rc < 0)
        return rc;
    if (status < 0)
        return err_set(err, ERR_IO, "no event loop: %s", uv_strerror(status));
    loop->options = *options;
    uv_async_init(&loop->uv, &loop->news, on_news);
    uv_timer_init(&loop->uv, &loop->tick);
    uv_prepare_init(&loop->uv, &loop->idle);
    loop->news.data = loop->tick.data = loop->idle.data = loop;
    for (int i = 0; i < LOOP_SIGNALS; i++) {
        uv_signal_init(&loop->uv, &loop->signals[i]);
        loop->signals[i].data = loop;
        if (numbers[i] != SIGHUP || !is_hangup_ignored())
            uv_signal_start(&loop->signals[i], on_signal, numbers[i]);
    }
    uv_timer_start(&loop->tick, on_tick, options->tick_ms, options->tick_ms);
    uv_prepare_start(&loop->idle, on_idle);
    return 0;
}

void loop_run(struct loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void loop_stop(struct loop *loop)
{
    uv_close((uv_handle_t *)&loop->news, NULL);
    uv_close((uv_handle_t *)&loop->tick, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    for (int i = 0; i < LOOP_SIGNALS; i++)
        uv_close((uv_handle_t *)&loop->signals[i], NULL);
}

void loop_close(struct loop *loop)
{
    uv_loop_close(&loop->uv);
}

void loop_wake(struct loop *loop)
{
    uv_async_send(&loop->news);
}

uint64_t loop_now_ns(void)
{
    return uv_hrtime();
}
