// What the C files of this target share: the table of inner loops, the arguments they take, and the thread pool.
#ifndef DEML_INTERNAL_H
#define DEML_INTERNAL_H

#include <math.h>
#include <string.h>

#include "CKernels.h"
#include "scratch.h"

/// One thread of a pool, as a kernel sees it.
typedef struct {
    const struct deml_kernels *kernels;
    deml_arena scratch;  // this thread's own, empty when a part begins
} deml_worker;

/// Does elements begin ..< end of a call whose arguments are in a struct of its own (below).
///
/// A body that uses scratch is also run with a measuring arena (scratch.h): then it cuts its blocks and returns, and
/// must not touch the arrays, of which there may be none. What a part needs may depend on how many elements it has and
/// on whether it is the last, not on where it begins.
typedef void deml_body(const void *arguments, long begin, long end, deml_worker *worker);
#define DEML_BODY(name) \
    static void name(const void *arguments, long begin, long end, __attribute__((unused)) deml_worker *worker)

enum { DEML_CALL_KEY = 6 };

/// `body` over 0 ..< count, divided between threads at multiples of `unit`. `operations`: a rough count for one
/// element, so that small calls stay on one thread.
typedef struct {
    deml_body *body;
    const void *arguments;
    long count, unit;
    double operations;
    bool uses_scratch;
    // All that the need for scratch depends on, beside the body, for calls so short that to measure them each time would
    // show; [0] is 0: nothing is said.
    long key[DEML_CALL_KEY];
} deml_call;

/// Runs a call and returns when all is done.
void deml_run(deml_pool *pool, deml_call call);
/// Bytes of scratch that each thread needs for a call divided between at most `threads`.
long deml_call_scratch(const struct deml_kernels *kernels, long threads, const deml_call *call);
const struct deml_kernels *deml_pool_kernels(const deml_pool *pool);
const struct deml_kernels *deml_isa_kernels(deml_isa isa);
/// `count` floats of the pool that live until the next call of this function, for what one body hands to the next.
float *deml_pool_shared(deml_pool *pool, long count);
/// The bytes that takes.
long deml_shared_scratch(long count);

static inline long deml_min(long a, long b) { return a < b ? a : b; }
static inline long deml_max(long a, long b) { return a > b ? a : b; }
static inline long deml_ceil_div(long a, long b) { return a / b + (a % b != 0); }

// MARK: Tiles of a matrix product (kernels/tile.h; driven by gemm.c)

enum { DEML_MAX_TILE_ROWS = 12, DEML_MAX_TILE_VECTORS = 4 };

/// c[r][j] = init[r][j] + sum over s < segments, t < run of a[r][s·segment + t·step] · b[s·run + t][j],
/// one chain of fused multiply-adds a c, in the order of (s, t). init NULL: zeros; stride 0: a bias; = c: goes on.
typedef struct {
    const float *a[DEML_MAX_TILE_ROWS];
    long segments, run, segment, step;
    const float *b;
    long b_stride;
    const float *init;
    long init_stride;
    float *c;
    long c_stride;
    bool relu;
} deml_tile;

// MARK: Arguments of the bodies

typedef struct {
    deml_activation kind;
    deml_activation_options options;
    const float *x, *y, *dy;
    float *to;
} deml_activation_arguments;
typedef struct { float a; const float *x, *y; float *to; bool relu; } deml_vector_arguments;
typedef struct { long pixels, channels; const float *x, *gate, *dy; float *to; } deml_gate_arguments;
typedef struct { long count, block; const float *x; double *sums; } deml_squares_arguments;
typedef struct { deml_function function; const float *x; float *y; } deml_function_arguments;
typedef struct {
    deml_random random;
    uint32_t threshold;
    float scale;
    const float *x;
    float *y;
} deml_dropout_arguments;

/// An optimiser with what is derived from its step.
typedef struct {
    deml_optimizer o;
    float one_minus_beta1, one_minus_beta2, step_size, rsqrt_correction2, decay_factor;
} deml_update;
deml_update deml_update_prepare(const deml_optimizer *optimizer);
typedef struct { deml_update update; const float *gradient; float *value, *state1, *state2; } deml_update_arguments;

typedef struct {
    long channels, pixels;
    const void *from;
    const int64_t *indices;
    const float *scale, *shift;
    float *to;
} deml_gather_arguments;

typedef struct { deml_pool2d s; const float *in; uint16_t *position; float *out; } deml_pool2d_arguments;

typedef struct { deml_resize2d s; const float *from; float *to; } deml_resize2d_arguments;

typedef struct {
    long rows, size, pixels, groups;
    float epsilon;
    const float *x, *dy, *gamma, *beta;
    float *out, *mean, *rstd;
    const deml_sink *gamma_sink, *beta_sink;
    float *sums;
} deml_norm_arguments;

typedef struct {
    long rows, channels, block;
    const float *x, *dy, *gamma, *beta, *mean, *rstd, *mean_d, *mean_dn;
    float *sums, *to;  // sums: [blocks][2][channels]
    bool relu, backwards;  // a relu follows; blocks or rows are gone through from the last on
} deml_batch_norm_arguments;

typedef struct {
    long rows, counted, classes;  // counted: rows with a label
    const float *x, *y, *target;
    const int32_t *labels;
    float smoothing;
    deml_output_loss loss;
    float delta;
    float *losses, *to;
    uint8_t *correct;
} deml_loss_arguments;

typedef struct {
    deml_attention s;
    deml_random random;
    uint32_t threshold;  // of dropout
    float keep;          // 1/(1-p)
    const float *qkv, *y, *dy;
    float *to, *statistics;
} deml_attention_arguments;

/// Where a depthwise kernel's elements read, from the first one on, in floats.
typedef struct { long rows, columns, row_stride, column_stride; } deml_taps;

/// The inner loops compiled for one instruction set: kernels/*.h, included once by each kernels_*.c.
typedef struct deml_kernels {
    deml_isa isa;
    long lanes, max_vectors;
    long max_rows[DEML_MAX_TILE_VECTORS + 1];  // of a tile, by its number of vectors
    void (*tile)(long rows, long vectors, const deml_tile *tile);
    /// sums[j] (+)= x[0][j] + x[1][j] + …, one chain a column; count columns, rows `stride` apart.
    void (*column_sums)(long rows, long count, long stride, const float *x, float *sums, bool accumulate);
    /// to[r][i] = from[r][i], i < width.
    void (*copy_rows)(long rows, long width, const float *from, long from_stride, float *to, long to_stride);
    /// to[c][r] = from[r][c].
    void (*transpose)(long rows, long columns, const float *from, long from_stride, float *to, long to_stride);
    void (*normalize_u8)(long count, const uint8_t *x, float scale, float shift, float *y);
    void (*normalize_f32)(long count, const float *x, float scale, float shift, float *y);
    void (*update)(const deml_update *u, long count, const float *g, float *value, float *state1, float *state2);
    /// y[p][c] = f(bias[c] + sum over taps of x[p·pixel_stride + tap][c]·weights[tap][c]); f: identity or relu.
    void (*depthwise_pixels)(const deml_taps *taps, long pixels, long channels, long pixel_stride, const float *x,
                             const float *weights, const float *bias, bool relu, float *y);
    /// sums[tap][c] += x[r·row_stride + p·pixel_stride + tap][c]·dy[r][p][c], in the order of (r, p).
    void (*depthwise_weights)(const deml_taps *taps, long rows, long pixels, long channels, long row_stride,
                              long pixel_stride, const float *x, long dy_stride, const float *dy, float *sums);
    double (*fma_peak)(long iterations);
    /// deml_text_fields, deml_text_numbers.
    long (*text_fields)(const uint8_t *text, long count, uint8_t separator, long most, deml_text_field *fields,
                        uint32_t *line_ends, long *lines);
    long (*text_numbers)(const uint8_t *text, const deml_text_field *fields, long stride, long count, uint8_t decimal,
                         double *numbers, uint32_t *others, deml_text_range *range);
    deml_body *activation_forward, *activation_backward, *add, *scale, *multiply, *subtract;
    deml_body *sum_of_squares, *function, *dropout, *gate_forward, *gate_gradient, *gate_input_gradient;
    deml_body *max_pool_forward, *max_pool_backward, *avg_pool_forward, *avg_pool_backward;
    deml_body *upsample_forward, *upsample_backward, *adaptive_pool_forward, *adaptive_pool_backward;
    deml_body *layer_norm_forward, *layer_norm_backward, *layer_norm_parameters;
    deml_body *group_norm_forward, *group_norm_backward;
    deml_body *batch_norm_sums, *batch_norm_squares, *batch_norm_gradients, *batch_norm_forward, *batch_norm_backward;
    deml_body *softmax_forward, *cross_entropy, *compare_outputs;
    deml_body *attention_forward, *attention_backward;
    deml_body *lstm_forward, *lstm_backward, *gru_forward, *gru_backward;
} deml_kernels;

extern const deml_kernels deml_kernels_portable;
#if defined(__x86_64__)
extern const deml_kernels deml_kernels_avx2, deml_kernels_avx512;
#elif defined(__aarch64__)
extern const deml_kernels deml_kernels_neon;
#endif

// MARK: Matrix products on one thread (gemm.c)

/// C[m][n] = init + A·B as in deml_tile; row m of A starts at a + (m / group)·group_stride + (m % group)·row_stride.
typedef struct {
    const float *a;
    long group, group_stride, row_stride;
    long segments, run, segment, step;
    const float *b;
    long b_stride;
    const float *init;
    long init_stride;
    float *c;
    long c_stride;
    bool relu;
    bool goes_on;  // init is c
} deml_product;
/// Rows begin ..< end, columns 0 ..< columns (c, b and init point at the first column; c and init at row 0). Cuts its
/// scratch itself and gives it back; a worker that measures needs no arrays.
void deml_product_rows(deml_worker *worker, const deml_product *p, long begin, long end, long columns);

/// Gives a finished gradient to a sink: elements at `offset` of the parameter.
void deml_sink_put(const deml_kernels *kernels, const deml_sink *sink, const deml_update *update, long offset,
                   long count, const float *gradient);
/// The bias's gradient, sums of columns begin ..< end of dy[rows][stride], into its sink.
void deml_bias_gradient(deml_worker *worker, long rows, long begin, long end, long stride, const float *dy,
                        const deml_sink *sink);

#endif
