// Optimiser steps and gradient sinks. The update itself: kernels/elementwise.h.
#include "internal.h"

/// base^exponent by squaring: pow of the C library is not the same everywhere.
static double power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

deml_update deml_update_prepare(const deml_optimizer *optimizer) {
    deml_update u = {.o = *optimizer};
    if (optimizer->kind == DEML_SGD) return u;
    const double correction1 = 1 - power(optimizer->beta1, optimizer->step);
    const double correction2 = 1 - power(optimizer->beta2, optimizer->step);
    u.one_minus_beta1 = (float)(1 - (double)optimizer->beta1);
    u.one_minus_beta2 = (float)(1 - (double)optimizer->beta2);
    u.step_size = (float)(optimizer->learning_rate / correction1);
    u.rsqrt_correction2 = (float)(1 / sqrt(correction2));
    u.decay_factor = (float)(1 - (double)optimizer->learning_rate * optimizer->weight_decay);
    return u;
}

static void update_range(const deml_kernels *kernels, const deml_update *u, long offset, long count, const float *g,
                         float *value, float *state1, float *state2) {
    kernels->update(u, count, g, value + offset, state1 ? state1 + offset : NULL, state2 ? state2 + offset : NULL);
}

DEML_BODY(step) {
    const deml_update_arguments *a = arguments;
    update_range(worker->kernels, &a->update, begin, end - begin, a->gradient + begin, a->value, a->state1, a->state2);
}

void deml_optimizer_step(deml_pool *pool, const deml_optimizer *optimizer, long count, const float *gradient,
                         float *value, float *state1, float *state2) {
    const deml_update_arguments a = {deml_update_prepare(optimizer), gradient, value, state1, state2};
    deml_run(pool, (deml_call){step, &a, count, 64, optimizer->kind == DEML_SGD ? 2 : 8, false});
}

void deml_sink_put(const deml_kernels *kernels, const deml_sink *sink, const deml_update *update, long offset,
                   long count, const float *gradient) {
    if (sink->gradient && sink->gradient + offset != gradient)
        memcpy(sink->gradient + offset, gradient, (size_t)count * sizeof(float));
    if (sink->optimizer)
        update_range(kernels, update, offset, count, gradient, sink->value, sink->state1, sink->state2);
}

void deml_bias_gradient(deml_worker *worker, long rows, long begin, long end, long stride, const float *dy,
                        const deml_sink *sink) {
    const long mark = worker->scratch.used;
    float *sums = deml_cut(&worker->scratch, end - begin);
    if (!worker->scratch.measuring) {
        deml_update update;
        if (sink->optimizer) update = deml_update_prepare(sink->optimizer);
        worker->kernels->column_sums(rows, end - begin, stride, dy + begin, sums, false);
        deml_sink_put(worker->kernels, sink, &update, begin, end - begin, sums);
    }
    deml_arena_release(&worker->scratch, mark);
}
