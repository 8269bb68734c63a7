// Batch normalisation: calls of kernels/batch_norm.h.
#include "internal.h"

enum { LEAST_ROWS = 256, MOST_BLOCKS = 256 };  // of a block of rows, and blocks: part of the numeric contract, README.md

static long block_rows(long rows) { return deml_max(LEAST_ROWS, deml_ceil_div(rows, MOST_BLOCKS)); }
static long block_count(long rows) { return deml_ceil_div(rows, block_rows(rows)); }

/// Sums of a pass: [blocks][2][channels], and behind them what becomes of them: [2][channels].
static long shared_floats(long rows, long channels) {
    return deml_times(deml_plus(block_count(rows), 1), deml_times(2, channels));
}

typedef struct { long channels; const float *gradients; const deml_sink *sinks[2]; } finish_arguments;

/// Gradients of gamma and beta, [2][channels], into their sinks. One thread.
DEML_BODY(finish) {
    (void)begin, (void)end;
    const finish_arguments *a = arguments;
    for (int which = 0; which < 2; which++) {
        deml_update update;
        if (!a->sinks[which]) continue;
        if (a->sinks[which]->optimizer) update = deml_update_prepare(a->sinks[which]->optimizer);
        deml_sink_put(worker->kernels, a->sinks[which], &update, 0, a->channels, a->gradients + which * a->channels);
    }
}

/// Runs a pass over blocks and adds up what it gives: totals[2][channels].
static void block_sums(deml_pool *pool, deml_body *body, const deml_batch_norm_arguments *a, float *totals) {
    const long blocks = block_count(a->rows);
    deml_run(pool, (deml_call){body, a, blocks, 1, 2.0 * (double)a->block * (double)a->channels, false});
    deml_pool_kernels(pool)->column_sums(blocks, 2 * a->channels, 2 * a->channels, a->sums, totals, false);
}

static void run_rows(deml_pool *pool, deml_body *body, const deml_batch_norm_arguments *a) {
    deml_run(pool, (deml_call){body, a, a->rows, 16, 2.0 * (double)a->channels, false});
}

void deml_batch_norm_forward(deml_pool *pool, long rows, long channels, float epsilon, float momentum, const float *x,
                             const float *gamma, const float *beta, deml_activation activation, float *y, float *mean,
                             float *rstd, float *running_mean, float *running_var) {
    const deml_kernels *kernels = deml_pool_kernels(pool);
    float *sums = deml_pool_shared(pool, shared_floats(rows, channels));
    float *totals = sums + block_count(rows) * 2 * channels;
    deml_batch_norm_arguments a = {.rows = rows, .channels = channels, .block = block_rows(rows), .x = x,
                                   .gamma = gamma, .beta = beta, .mean = mean, .rstd = rstd, .sums = sums, .to = y,
                                   .relu = activation == DEML_RELU, .backwards = true};
    block_sums(pool, kernels->batch_norm_sums, &a, totals);
    for (long c = 0; c < channels; c++) mean[c] = totals[c] / (float)rows;
    a.backwards = false;
    block_sums(pool, kernels->batch_norm_squares, &a, totals);
    a.backwards = true;
    for (long c = 0; c < channels; c++) {
        rstd[c] = 1.0f / sqrtf(totals[c] / (float)rows + epsilon);
        const float variance = totals[c] / (float)deml_max(rows - 1, 1);
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
        running_var[c] += momentum * (variance - running_var[c]);
    }
    run_rows(pool, kernels->batch_norm_forward, &a);
}

void deml_batch_norm_inference(deml_pool *pool, long rows, long channels, float epsilon, const float *running_mean,
                               const float *running_var, const float *x, const float *gamma, const float *beta,
                               deml_activation activation, float *y) {
    float *rstd = deml_pool_shared(pool, channels);
    for (long c = 0; c < channels; c++)
        rstd[c] = 1.0f / sqrtf((running_var[c] > 0 ? running_var[c] : 0) + epsilon);
    const deml_batch_norm_arguments a = {.rows = rows, .channels = channels, .x = x, .gamma = gamma, .beta = beta,
                                         .mean = running_mean, .rstd = rstd, .to = y,
                                         .relu = activation == DEML_RELU};
    run_rows(pool, deml_pool_kernels(pool)->batch_norm_forward, &a);
}

void deml_batch_norm_backward(deml_pool *pool, long rows, long channels, const float *x, const float *dy,
                              const float *gamma, const float *beta, deml_activation activation, const float *mean,
                              const float *rstd, float *dx, const deml_sink *gamma_sink, const deml_sink *beta_sink) {
    const deml_kernels *kernels = deml_pool_kernels(pool);
    float *sums = deml_pool_shared(pool, shared_floats(rows, channels));
    float *totals = sums + block_count(rows) * 2 * channels;
    // The blocks' sums are no more needed when their means are.
    float *mean_dn = sums, *mean_d = sums + channels;
    deml_batch_norm_arguments a = {.rows = rows, .channels = channels, .block = block_rows(rows), .x = x, .dy = dy,
                                   .gamma = gamma, .beta = beta, .mean = mean, .rstd = rstd, .mean_d = mean_d,
                                   .mean_dn = mean_dn, .sums = sums, .to = dx, .relu = activation == DEML_RELU,
                                   .backwards = true};
    block_sums(pool, kernels->batch_norm_gradients, &a, totals);
    for (long c = 0; c < channels; c++) {
        mean_dn[c] = totals[c] / (float)rows;
        mean_d[c] = totals[channels + c] / (float)rows;
    }
    a.backwards = false;
    // Before gamma changes.
    if (dx) run_rows(pool, kernels->batch_norm_backward, &a);
    const finish_arguments f = {channels, totals, {gamma_sink, beta_sink}};
    if (gamma_sink || beta_sink) deml_run(pool, (deml_call){finish, &f, 1, 1, 0, false});
}

deml_scratch deml_batch_norm_scratch(long threads, deml_isa isa, long rows, long channels, bool training) {
    (void)threads, (void)isa;
    return (deml_scratch){0, deml_shared_scratch(training ? shared_floats(rows, channels) : channels)};
}
