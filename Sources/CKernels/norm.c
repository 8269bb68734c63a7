// Layer and group normalisation: calls of kernels/rows.h.
#include "internal.h"

typedef struct { long count, batch; const float *sums; const deml_sink *gamma_sink, *beta_sink; } finish_arguments;

/// Gradients of gamma and beta from sums [batch][2][count]: chains over the batch, into their sinks. One thread.
DEML_BODY(finish) {
    (void)begin, (void)end;
    const finish_arguments *a = arguments;
    const deml_sink *sinks[2] = {a->gamma_sink, a->beta_sink};
    for (int which = 0; which < 2; which++) {
        deml_update update;
        if (!sinks[which]) continue;
        if (sinks[which]->optimizer) update = deml_update_prepare(sinks[which]->optimizer);
        float *gradient = (float *)worker->scratch;
        worker->kernels->column_sums(a->batch, a->count, 2 * a->count, a->sums + which * a->count, gradient, false);
        deml_sink_put(worker->kernels, sinks[which], &update, 0, a->count, gradient);
    }
}

void deml_layer_norm_forward(deml_pool *pool, long rows, long size, float epsilon, const float *x, const float *gamma,
                             const float *beta, float *y, float *mean, float *rstd) {
    const deml_norm_arguments a = {.rows = rows, .size = size, .epsilon = epsilon, .x = x, .gamma = gamma,
                                   .beta = beta, .out = y, .mean = mean, .rstd = rstd};
    deml_run(pool, deml_pool_kernels(pool)->layer_norm_forward, &a, rows, 1, 3.0 * (double)size, 0);
}

void deml_layer_norm_backward(deml_pool *pool, long rows, long size, const float *x, const float *dy,
                              const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink) {
    deml_norm_arguments a = {.rows = rows, .size = size, .x = x, .dy = dy, .gamma = gamma, .out = dx,
                             .mean = (float *)mean, .rstd = (float *)rstd};
    // The parameters' gradients are summed first (dx may be dy) but reach their sinks last: dx needs the old gamma.
    a.sums = deml_pool_shared(pool, 2 * size * (long)sizeof(float));
    const bool wanted = gamma_sink || beta_sink;
    if (wanted)
        deml_run(pool, deml_pool_kernels(pool)->layer_norm_parameters, &a, size, 64, 3.0 * (double)rows, 0);
    deml_run(pool, deml_pool_kernels(pool)->layer_norm_backward, &a, rows, 1, 4.0 * (double)size, 0);
    const finish_arguments f = {size, 1, a.sums, gamma_sink, beta_sink};
    if (wanted) deml_run(pool, finish, &f, 1, 1, 0, size * (long)sizeof(float));
}

void deml_group_norm_forward(deml_pool *pool, long batch, long pixels, long channels, long groups, float epsilon,
                             const float *x, const float *gamma, const float *beta, float *y, float *mean,
                             float *rstd) {
    const deml_norm_arguments a = {.rows = batch, .size = channels, .pixels = pixels, .groups = groups,
                                   .epsilon = epsilon, .x = x, .gamma = gamma, .beta = beta, .out = y, .mean = mean,
                                   .rstd = rstd};
    deml_run(pool, deml_pool_kernels(pool)->group_norm_forward, &a, batch, 1, 3.0 * (double)(pixels * channels),
             3 * channels * (long)sizeof(float));
}

void deml_group_norm_backward(deml_pool *pool, long batch, long pixels, long channels, long groups, const float *x,
                              const float *dy, const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink) {
    deml_norm_arguments a = {.rows = batch, .size = channels, .pixels = pixels, .groups = groups, .x = x, .dy = dy,
                             .gamma = gamma, .out = dx, .mean = (float *)mean, .rstd = (float *)rstd};
    a.sums = deml_pool_shared(pool, batch * 2 * channels * (long)sizeof(float));
    deml_run(pool, deml_pool_kernels(pool)->group_norm_backward, &a, batch, 1, 4.0 * (double)(pixels * channels),
             4 * channels * (long)sizeof(float));
    const finish_arguments f = {channels, batch, a.sums, gamma_sink, beta_sink};
    if (gamma_sink || beta_sink) deml_run(pool, finish, &f, 1, 1, 0, channels * (long)sizeof(float));
}
