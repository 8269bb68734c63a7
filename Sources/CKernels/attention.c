// Attention: calls of kernels/attention.h.
#include "internal.h"

/// The threshold and scale of deml_dropout, for the same probability.
static deml_attention_arguments prepare(const deml_attention *s, const deml_random *random) {
    const double threshold = (double)s->dropout * 4294967296.0;
    deml_attention_arguments a = {.s = *s, .keep = s->dropout < 1 ? 1 / (1 - s->dropout) : 0};
    a.threshold = threshold >= 4294967295.0 ? UINT32_MAX : (uint32_t)threshold;
    if (random) a.random = *random;
    return a;
}

static deml_call attention_call(deml_body *body, const deml_attention_arguments *a, double products) {
    const deml_attention *s = &a->s;
    const double pairs = (double)s->tokens * (double)s->tokens * (s->causal ? 0.5 : 1);
    return (deml_call){body, a, deml_times(s->batch, s->heads), 1, pairs * (products * (double)s->width / 8 + 8), true};
}

void deml_attention_forward(deml_pool *pool, const deml_attention *shape, const deml_random *random, const float *qkv,
                            float *y, float *statistics) {
    deml_attention_arguments a = prepare(shape, random);
    a.qkv = qkv, a.to = y, a.statistics = statistics;
    deml_run(pool, attention_call(deml_pool_kernels(pool)->attention_forward, &a, 2));
}

void deml_attention_backward(deml_pool *pool, const deml_attention *shape, const deml_random *random, const float *qkv,
                             const float *y, const float *statistics, const float *dy, float *dqkv) {
    deml_attention_arguments a = prepare(shape, random);
    a.qkv = qkv, a.y = y, a.dy = dy, a.to = dqkv, a.statistics = (float *)statistics;
    deml_run(pool, attention_call(deml_pool_kernels(pool)->attention_backward, &a, 5));
}

deml_scratch deml_attention_scratch(long threads, deml_isa isa, const deml_attention *shape, bool training) {
    const deml_kernels *kernels = deml_isa_kernels(isa);
    const deml_attention_arguments a = prepare(shape, NULL);
    const deml_call forward = attention_call(kernels->attention_forward, &a, 2);
    const deml_call backward = attention_call(kernels->attention_backward, &a, 5);
    deml_scratch need = {deml_call_scratch(kernels, threads, &forward), 0};
    if (training) need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &backward));
    return need;
}
