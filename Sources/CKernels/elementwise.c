// Calls of kernels/elementwise.h and kernels/rows.h: arguments in, division between threads.
#include <stdatomic.h>

#include "internal.h"

#define RUN(body, arguments, count, unit, operations) \
    deml_run(pool, (deml_call){deml_pool_kernels(pool)->body, arguments, count, unit, operations, false})

/// Whether it takes an exponential function.
static bool is_expensive(deml_activation kind) {
    return (kind >= DEML_GELU && kind <= DEML_SILU) || kind >= DEML_ELU;
}
void deml_activation_forward(deml_pool *pool, deml_activation activation, deml_activation_options options, long count,
                             const float *x, float *y) {
    const deml_activation_arguments a = {activation, options, x, NULL, NULL, y};
    RUN(activation_forward, &a, count, 64, is_expensive(activation) ? 4 : 1);
}
void deml_activation_backward(deml_pool *pool, deml_activation activation, deml_activation_options options, long count,
                              const float *x, const float *y, const float *dy, float *dx) {
    const deml_activation_arguments a = {activation, options, x, y, dy, dx};
    RUN(activation_backward, &a, count, 64, is_expensive(activation) && activation != DEML_TANH &&
                                            activation != DEML_SIGMOID ? 4 : 1);
}
void deml_add(deml_pool *pool, long count, const float *x, float *y) {
    const deml_vector_arguments a = {1, y, x, y, false};
    RUN(add, &a, count, 64, 1);
}
void deml_sum(deml_pool *pool, long count, const float *x, const float *y, deml_activation activation, float *sum) {
    const deml_vector_arguments a = {1, x, y, sum, activation == DEML_RELU};
    RUN(add, &a, count, 64, 1);
}
void deml_scale(deml_pool *pool, long count, float factor, float *x) {
    const deml_vector_arguments a = {factor, x, NULL, x, false};
    RUN(scale, &a, count, 64, 1);
}
void deml_multiply(deml_pool *pool, long count, const float *x, const float *y, float *product) {
    const deml_vector_arguments a = {1, x, y, product, false};
    RUN(multiply, &a, count, 64, 1);
}
void deml_gate_forward(deml_pool *pool, long batch, long pixels, long channels, const float *x, const float *gate,
                       float *y) {
    const deml_gate_arguments a = {.pixels = pixels, .channels = channels, .x = x, .gate = gate, .to = y};
    RUN(gate_forward, &a, batch * pixels, 1, (double)channels);
}
void deml_gate_gradient(deml_pool *pool, long batch, long pixels, long channels, const float *x, const float *dy,
                        float *dgate) {
    const deml_gate_arguments a = {.pixels = pixels, .channels = channels, .x = x, .dy = dy, .to = dgate};
    RUN(gate_gradient, &a, batch, 1, (double)pixels * (double)channels);
}
void deml_gate_input_gradient(deml_pool *pool, long batch, long pixels, long channels, const float *gate,
                              const float *dy, float *dx) {
    const deml_gate_arguments a = {.pixels = pixels, .channels = channels, .gate = gate, .dy = dy, .to = dx};
    RUN(gate_input_gradient, &a, batch * pixels, 1, (double)channels);
}
double deml_sum_of_squares(deml_pool *pool, long count, const float *x) {
    enum { MOST_BLOCKS = 256, LEAST_ELEMENTS = 4096 };  // part of the numeric contract: README.md
    double sums[MOST_BLOCKS], sum = 0;
    const long block = deml_max(LEAST_ELEMENTS, deml_ceil_div(deml_ceil_div(count, MOST_BLOCKS), 16) * 16);
    const long blocks = deml_ceil_div(count, block);
    const deml_squares_arguments a = {count, block, x, sums};
    RUN(sum_of_squares, &a, blocks, 1, (double)block);
    for (long b = 0; b < blocks; b++) sum += sums[b];
    return sum;
}
void deml_subtract(deml_pool *pool, long count, const float *x, const float *y, float *difference) {
    const deml_vector_arguments a = {1, x, y, difference, false};
    RUN(subtract, &a, count, 64, 1);
}
void deml_function_values(deml_pool *pool, deml_function function, long count, const float *x, float *y) {
    const deml_function_arguments a = {function, x, y};
    RUN(function, &a, count, 64, 4);
}

typedef struct { const float *x; atomic_bool *found; } finite_arguments;
DEML_BODY(find_not_finite) {
    const finite_arguments *a = arguments;
    uint32_t any = 0;
    for (long i = begin; i < end; i++) {
        uint32_t bits;
        memcpy(&bits, a->x + i, sizeof bits);
        any |= (bits & 0x7f800000) == 0x7f800000;
    }
    if (any) atomic_store(a->found, true);
}
bool deml_all_finite(deml_pool *pool, long count, const float *x) {
    atomic_bool found = false;
    const finite_arguments a = {x, &found};
    deml_run(pool, (deml_call){find_not_finite, &a, count, 64, 1, false});
    return !atomic_load(&found);
}

// MARK: Randomness

void deml_philox(const deml_random *random, uint32_t block, uint32_t words[4]) {
    uint32_t c[4] = {block, random->step, random->epoch, random->purpose << 24 | random->layer};
    uint32_t k0 = (uint32_t)random->seed, k1 = (uint32_t)(random->seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c[0] * 0xD2511F53u, p1 = (uint64_t)c[2] * 0xCD9E8D57u;
        const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ k0, (uint32_t)p1,
                                  (uint32_t)(p0 >> 32) ^ c[3] ^ k1, (uint32_t)p0};
        memcpy(c, next, sizeof c);
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    memcpy(words, c, sizeof c);
}
void deml_dropout(deml_pool *pool, const deml_random *random, float p, long count, const float *x, float *y) {
    const double threshold = (double)p * 4294967296.0;
    const deml_dropout_arguments a = {*random, threshold >= 4294967295.0 ? UINT32_MAX : (uint32_t)threshold,
                                      p < 1 ? 1 / (1 - p) : 0, x, y};
    RUN(dropout, &a, count, 64, 9);
}

// MARK: Pooling

static void pool2d(deml_pool *pool, deml_body *body, bool backward, const deml_pool2d *s, const float *in,
                   uint16_t *position, float *out) {
    const deml_pool2d_arguments a = {*s, in, position, out};
    deml_run(pool, (deml_call){body, &a, s->batch * (backward ? s->height : s->out_height), 1,
                               (double)(s->width * s->channels) * 2, false});
}
void deml_max_pool2d_forward(deml_pool *pool, const deml_pool2d *shape, const float *x, float *y, uint16_t *position) {
    pool2d(pool, deml_pool_kernels(pool)->max_pool_forward, false, shape, x, position, y);
}
void deml_max_pool2d_backward(deml_pool *pool, const deml_pool2d *shape, const float *dy, const uint16_t *position,
                              float *dx) {
    pool2d(pool, deml_pool_kernels(pool)->max_pool_backward, true, shape, dy, (uint16_t *)position, dx);
}
void deml_avg_pool2d_forward(deml_pool *pool, const deml_pool2d *shape, const float *x, float *y) {
    pool2d(pool, deml_pool_kernels(pool)->avg_pool_forward, false, shape, x, NULL, y);
}
void deml_avg_pool2d_backward(deml_pool *pool, const deml_pool2d *shape, const float *dy, float *dx) {
    pool2d(pool, deml_pool_kernels(pool)->avg_pool_backward, true, shape, dy, NULL, dx);
}

// MARK: Softmax and losses

void deml_softmax_forward(deml_pool *pool, long rows, long classes, const float *x, float *y) {
    const deml_loss_arguments a = {.rows = rows, .classes = classes, .x = x, .to = y};
    RUN(softmax_forward, &a, rows, 1, 8.0 * (double)classes);
}
void deml_cross_entropy(deml_pool *pool, long rows, long classes, const float *x, const int32_t *labels,
                        float label_smoothing, float *losses, uint8_t *correct, float *dx) {
    long counted = 0;
    for (long r = 0; r < rows; r++) counted += labels[r] >= 0;
    const deml_loss_arguments a = {.rows = rows, .counted = counted, .classes = classes, .x = x, .labels = labels,
                                   .smoothing = label_smoothing, .losses = losses, .to = dx, .correct = correct};
    RUN(cross_entropy, &a, rows, 1, 8.0 * (double)classes);
}
void deml_compare_outputs(deml_pool *pool, deml_output_loss loss, float delta, long rows, long outputs, const float *x,
                          const float *target, float *losses, float *dx) {
    const deml_loss_arguments a = {.rows = rows, .classes = outputs, .x = x, .target = target, .loss = loss,
                                   .delta = delta, .losses = losses, .to = dx};
    RUN(compare_outputs, &a, rows, 1, (loss == DEML_BINARY_CROSS_ENTROPY ? 12.0 : 2.0) * (double)outputs);
}
