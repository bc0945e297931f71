/* The table of exports. */
#include "orchestrator/export.h"

#include "orchestrator/export_page.h"

static int write_page(const struct export_request *request, struct err *err)
{
    return export_page_file(request->path, request->store, request->names, request->n_names, false, err);
}

static int write_live(const struct export_request *request, struct err *err)
{
    return export_page_file(request->path, request->store, request->names, request->n_names, true, err);
}

const struct export_format export_html = {"html", ".html", "one self-contained page", write_page};
const struct export_format export_live = {"live", ".html", "the page as `serve` sends it: it asks its server for news",
                                          write_live};

const struct export_format *const export_formats[] = {&export_html,           &export_live,        &export_csv,
                                                      &export_jsonl,          &export_tensorboard, &export_mlflow,
                                                      &export_optuna_journal, &export_adapters,    NULL};
