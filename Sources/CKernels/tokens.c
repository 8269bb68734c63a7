// Embeddings of tokens and positions.
#include "internal.h"

typedef struct {
    long rows, width, padding;
    const float *ids, *weights, *start, *dy;
    float *y;
    const deml_sink *sink;
} embedding_arguments;

/// Elements: rows.
DEML_BODY(embedding_rows) {
    const embedding_arguments *a = arguments;
    for (long r = begin; r < end; r++)
        memcpy(a->y + r * a->width, a->weights + (long)a->ids[r] * a->width, (size_t)a->width * sizeof(float));
}

void deml_embedding_forward(deml_pool *pool, long rows, long width, const float *ids, const float *weights, float *y) {
    const embedding_arguments a = {.rows = rows, .width = width, .ids = ids, .weights = weights, .y = y};
    deml_run(pool, (deml_call){embedding_rows, &a, rows, 1, (double)width / 2, false});
}

/// Elements: ids. Some of them at a time, so that their gradients stay in the second cache. scratch: those, unless the
/// sink keeps them.
DEML_BODY(embedding_gradient) {
    enum { FLOATS_AT_ONCE = 64 * 1024 };
    const embedding_arguments *a = arguments;
    const long most = deml_min(deml_max(1, FLOATS_AT_ONCE / a->width), end - begin), width = a->width;
    float *block = a->sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(most, width));
    if (worker->scratch.measuring) return;
    deml_update update;
    if (a->sink->optimizer) update = deml_update_prepare(a->sink->optimizer);
    for (long first = begin; first < end; first += most) {
        const long last = deml_min(first + most, end), count = (last - first) * width;
        float *const gradient = a->sink->gradient ? a->sink->gradient + first * width : block;
        if (a->start) memcpy(gradient, a->start + first * width, (size_t)count * sizeof(float));
        else memset(gradient, 0, (size_t)count * sizeof(float));
        for (long r = 0; r < a->rows; r++) {
            const long id = (long)a->ids[r];
            if (id < first || id >= last || id == a->padding) continue;
            float *const to = gradient + (id - first) * width;
            const float *const dy = a->dy + r * width;
            for (long i = 0; i < width; i++) to[i] += dy[i];
        }
        deml_sink_put(worker->kernels, a->sink, &update, first * width, count, gradient);
    }
}

static deml_call embedding_gradient_call(long count, const embedding_arguments *a) {
    const double adds = (double)a->rows / (double)deml_max(1, count);
    return (deml_call){embedding_gradient, a, count, 1, (adds + 3) * (double)a->width / 4, true};
}

void deml_embedding_gradient(deml_pool *pool, long rows, long count, long width, const float *ids, const float *dy,
                             const float *start, long padding, const deml_sink *sink) {
    const embedding_arguments a = {.rows = rows, .width = width, .padding = padding, .ids = ids, .start = start,
                                   .dy = dy, .sink = sink};
    deml_run(pool, embedding_gradient_call(count, &a));
}

/// `rows` decide how many threads take part; more take no more memory than fewer, all together.
deml_scratch deml_embedding_scratch(long threads, deml_isa isa, long count, long width) {
    const deml_sink nowhere = {0};
    deml_scratch need = {0, 0};
    for (int many = 0; many < 2; many++) {
        const embedding_arguments a = {.rows = many ? LONG_MAX : 0, .width = width, .sink = &nowhere};
        const deml_call call = embedding_gradient_call(count, &a);
        need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(deml_isa_kernels(isa), threads, &call));
    }
    return need;
}

typedef struct {
    long batch, count;
    const float *x, *position, *dy;
    float *y;
    const deml_sink *sink;
} position_arguments;

/// Elements: examples.
DEML_BODY(add_positions) {
    const position_arguments *a = arguments;
    for (long b = begin; b < end; b++) {
        const float *const x = a->x + b * a->count;
        float *const y = a->y + b * a->count;
        for (long i = 0; i < a->count; i++) y[i] = x[i] + a->position[i];
    }
}

void deml_add_positions(deml_pool *pool, long batch, long count, const float *x, const float *position, float *y) {
    const position_arguments a = {.batch = batch, .count = count, .x = x, .position = position, .y = y};
    deml_run(pool, (deml_call){add_positions, &a, batch, 1, (double)count, false});
}

/// Elements: numbers of the parameter. scratch: some of its gradients, unless the sink keeps them.
DEML_BODY(position_gradient) {
    enum { FLOATS_AT_ONCE = 4096 };
    const position_arguments *a = arguments;
    float *block = a->sink->gradient ? NULL : deml_cut(&worker->scratch, FLOATS_AT_ONCE);
    if (worker->scratch.measuring) return;
    deml_update update;
    if (a->sink->optimizer) update = deml_update_prepare(a->sink->optimizer);
    for (long first = begin; first < end; first += FLOATS_AT_ONCE) {
        const long count = deml_min(FLOATS_AT_ONCE, end - first), used = deml_min(count, deml_max(0, a->count - first));
        float *const gradient = a->sink->gradient ? a->sink->gradient + first : block;
        worker->kernels->column_sums(a->batch, used, a->count, a->dy + first, gradient, false);
        memset(gradient + used, 0, (size_t)(count - used) * sizeof(float));
        deml_sink_put(worker->kernels, a->sink, &update, first, count, gradient);
    }
}

static deml_call position_gradient_call(long all, const position_arguments *a) {
    return (deml_call){position_gradient, a, all, 64, (double)a->batch + 3, true};
}

void deml_position_gradient(deml_pool *pool, long batch, long count, long all, const float *dy, const deml_sink *sink) {
    const position_arguments a = {.batch = batch, .count = count, .dy = dy, .sink = sink};
    deml_run(pool, position_gradient_call(all, &a));
}

deml_scratch deml_position_scratch(long threads, deml_isa isa, long all) {
    const deml_sink nowhere = {0};
    const position_arguments a = {.sink = &nowhere};
    const deml_call call = position_gradient_call(all, &a);
    return (deml_scratch){deml_call_scratch(deml_isa_kernels(isa), threads, &call), 0};
}
