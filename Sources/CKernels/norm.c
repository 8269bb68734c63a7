// Layer and group normalisation: calls of kernels/rows.h.
#include "internal.h"

typedef struct { long count, batch; const float *sums; const deml_sink *gamma_sink, *beta_sink; } finish_arguments;

/// Gradients of gamma and beta from sums [batch][2][count]: chains over the batch, into their sinks. One thread.
DEML_BODY(finish) {
    (void)begin, (void)end;
    const finish_arguments *a = arguments;
    float *gradient = deml_cut(&worker->scratch, a->count);
    if (worker->scratch.measuring) return;
    const deml_sink *sinks[2] = {a->gamma_sink, a->beta_sink};
    for (int which = 0; which < 2; which++) {
        deml_update update;
        if (!sinks[which]) continue;
        if (sinks[which]->optimizer) update = deml_update_prepare(sinks[which]->optimizer);
        worker->kernels->column_sums(a->batch, a->count, 2 * a->count, a->sums + which * a->count, gradient, false);
        deml_sink_put(worker->kernels, sinks[which], &update, 0, a->count, gradient);
    }
}

static deml_call finish_call(const finish_arguments *a) { return (deml_call){finish, a, 1, 1, 0, true}; }

void deml_layer_norm_forward(deml_pool *pool, long rows, long size, float epsilon, const float *x, const float *gamma,
                             const float *beta, float *y, float *mean, float *rstd) {
    const deml_norm_arguments a = {.rows = rows, .size = size, .epsilon = epsilon, .x = x, .gamma = gamma,
                                   .beta = beta, .out = y, .mean = mean, .rstd = rstd};
    deml_run(pool, (deml_call){deml_pool_kernels(pool)->layer_norm_forward, &a, rows, 1, 3.0 * (double)size, false});
}

/// Sums for the gradients of gamma and beta: [2][size].
static long layer_norm_sums(long size) { return deml_times(2, size); }

void deml_layer_norm_backward(deml_pool *pool, long rows, long size, const float *x, const float *dy,
                              const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink) {
    const deml_kernels *kernels = deml_pool_kernels(pool);
    deml_norm_arguments a = {.rows = rows, .size = size, .x = x, .dy = dy, .gamma = gamma, .out = dx,
                             .mean = (float *)mean, .rstd = (float *)rstd};
    // The parameters' gradients are summed first (dx may be dy) but reach their sinks last: dx needs the old gamma.
    a.sums = deml_pool_shared(pool, layer_norm_sums(size));
    const bool wanted = gamma_sink || beta_sink;
    if (wanted) deml_run(pool, (deml_call){kernels->layer_norm_parameters, &a, size, 64, 3.0 * (double)rows, false});
    deml_run(pool, (deml_call){kernels->layer_norm_backward, &a, rows, 1, 4.0 * (double)size, false});
    const finish_arguments f = {size, 1, a.sums, gamma_sink, beta_sink};
    if (wanted) deml_run(pool, finish_call(&f));
}

deml_scratch deml_layer_norm_scratch(long threads, deml_isa isa, long size, bool training) {
    const finish_arguments f = {.count = size, .batch = 1};
    const deml_call call = finish_call(&f);
    if (!training) return (deml_scratch){0, 0};
    return (deml_scratch){deml_call_scratch(deml_isa_kernels(isa), threads, &call),
                          deml_shared_scratch(layer_norm_sums(size))};
}

static deml_call group_norm_call(deml_body *body, const deml_norm_arguments *a, double operations) {
    return (deml_call){body, a, a->rows, 1, operations * (double)a->pixels * (double)a->size, true};
}

void deml_group_norm_forward(deml_pool *pool, long batch, long pixels, long channels, long groups, float epsilon,
                             const float *x, const float *gamma, const float *beta, float *y, float *mean,
                             float *rstd) {
    const deml_norm_arguments a = {.rows = batch, .size = channels, .pixels = pixels, .groups = groups,
                                   .epsilon = epsilon, .x = x, .gamma = gamma, .beta = beta, .out = y, .mean = mean,
                                   .rstd = rstd};
    deml_run(pool, group_norm_call(deml_pool_kernels(pool)->group_norm_forward, &a, 3));
}

/// The same for each image: [batch][2][channels].
static long group_norm_sums(long batch, long channels) { return deml_times(batch, deml_times(2, channels)); }

void deml_group_norm_backward(deml_pool *pool, long batch, long pixels, long channels, long groups, const float *x,
                              const float *dy, const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink) {
    deml_norm_arguments a = {.rows = batch, .size = channels, .pixels = pixels, .groups = groups, .x = x, .dy = dy,
                             .gamma = gamma, .out = dx, .mean = (float *)mean, .rstd = (float *)rstd};
    a.sums = deml_pool_shared(pool, group_norm_sums(batch, channels));
    deml_run(pool, group_norm_call(deml_pool_kernels(pool)->group_norm_backward, &a, 4));
    const finish_arguments f = {channels, batch, a.sums, gamma_sink, beta_sink};
    if (gamma_sink || beta_sink) deml_run(pool, finish_call(&f));
}

deml_scratch deml_group_norm_scratch(long threads, deml_isa isa, long batch, long pixels, long channels, long groups,
                                     bool training) {
    const deml_kernels *kernels = deml_isa_kernels(isa);
    const deml_norm_arguments a = {.rows = batch, .size = channels, .pixels = pixels, .groups = groups};
    const deml_call forward = group_norm_call(kernels->group_norm_forward, &a, 3);
    deml_scratch need = {deml_call_scratch(kernels, threads, &forward), 0};
    if (!training) return need;
    const finish_arguments f = {.count = channels, .batch = batch};
    const deml_call backward = group_norm_call(kernels->group_norm_backward, &a, 4), last = finish_call(&f);
    need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &backward));
    need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &last));
    need.shared_bytes = deml_shared_scratch(group_norm_sums(batch, channels));
    return need;
}
