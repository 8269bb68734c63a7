/// Kernels for training small networks on CPUs, with the same bits on every instruction set and thread count.
///
/// How to use them:
/// * A `deml_pool` is the execution context: worker threads, their scratch memory, and the instruction set. Every call
///   takes one, runs on all its threads, and returns when the work is done. A pool serves one caller at a time; use one
///   pool a trainer. Kernels never allocate in steady state: scratch belongs to the pool and only grows, and a caller
///   can have it reserved before the first call (`deml_pool_reserve`).
/// * The caller owns every array passed in. Arrays are dense (no padding, no alignment wanted; 64 bytes is fastest).
/// * Activations are row-major: features [batch][features]; images [batch][height][width][channels] (NHWC).
///   `deml_nchw_to_nhwc` and back restore torch's order where it shows (input, flatten).
/// * Parameters have an order of their own while training, so that neither forward nor gradient packs or transposes
///   them: linear in blocks of outputs (DEML_LINEAR_BLOCK), conv2d [kh][kw][in][out]. `deml_*_weights_import/export`
///   convert from and to torch's order. Optimisers act element by element, so their state has the parameter's order.
/// * "sink": a weight gradient is either written (`gradient`) or consumed at once by the optimiser (`optimizer`), in
///   which case it never exists in memory. Then ask for the input's gradient first: it needs the old weights.
/// * Shapes are the caller's responsibility (checked in Swift); sizes are counts of elements, not bytes.
/// The order of every sum is part of the contract: see README.md beside this folder.
#ifndef DEML_CKERNELS_H
#define DEML_CKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Version of the numeric contract: raised when the bytes of a result change.
int deml_kernels_version(void);

// MARK: Instruction sets and threads (dispatch.c, pool.c)

typedef enum { DEML_PORTABLE = 0, DEML_AVX2 = 1, DEML_AVX512 = 2, DEML_NEON = 3, DEML_ISA_COUNT = 4 } deml_isa;

/// "portable", "avx2", "avx512" or "neon".
const char *deml_isa_name(deml_isa isa);
/// Whether this machine can run it.
bool deml_isa_available(deml_isa isa);
/// The one named by the environment variable DEML_ISA if it is available, else the fastest available.
deml_isa deml_isa_default(void);

typedef struct deml_pool deml_pool;
/// A pool of `threads` (the caller's included, at least 1). NULL if threads or memory cannot be had or `isa` is not
/// available.
deml_pool *deml_pool_create(long threads, deml_isa isa);
void deml_pool_destroy(deml_pool *pool);
long deml_pool_threads(const deml_pool *pool);
deml_isa deml_pool_isa(const deml_pool *pool);
/// Bytes of scratch memory the pool holds now, for all its threads.
long deml_pool_scratch_bytes(const deml_pool *pool);

/// Scratch memory that kernels need: bytes for each thread, and bytes that the threads share. LONG_MAX: more than can
/// be counted. What each kind of layer needs: deml_linear_scratch, deml_conv2d_scratch, deml_group_norm_scratch,
/// deml_layer_norm_scratch, deml_gather_scratch; they allocate nothing and read no array. `training`: with the
/// gradients. Kernels without such a function need none.
typedef struct { long thread_bytes, shared_bytes; } deml_scratch;
/// What is enough for either: one call after the other uses the same memory.
deml_scratch deml_scratch_of_both(deml_scratch a, deml_scratch b);
/// Bytes for all `threads` together; LONG_MAX if that is too much to count.
long deml_scratch_bytes(deml_scratch need, long threads);
/// Allocates at least that much. False if there is no memory, or the size is LONG_MAX: then the pool has less than
/// before, but works. A call whose scratch was not reserved takes it when it runs; where it cannot, it says so on
/// stderr and ends the process. Linux gives memory that it does not have: compare with what is free before.
bool deml_pool_reserve(deml_pool *pool, deml_scratch need);

// MARK: Layout and input (layout.c)

/// torch's Linear.weight [out][in] to our blocks (DEML_LINEAR_BLOCK), and back.
void deml_linear_weights_import(deml_pool *pool, long in, long out, const float *torch, float *ours);
void deml_linear_weights_export(deml_pool *pool, long in, long out, const float *ours, float *torch);
/// torch's Conv2d.weight [out][in][kh][kw] to ours [kh][kw][in][out], and back.
void deml_conv2d_weights_import(deml_pool *pool, long in, long out, long kh, long kw, const float *torch, float *ours);
void deml_conv2d_weights_export(deml_pool *pool, long in, long out, long kh, long kw, const float *ours, float *torch);
/// [batch][channels][pixels] to [batch][pixels][channels], and back (also for parameters shaped like an image).
void deml_nchw_to_nhwc(deml_pool *pool, long batch, long channels, long pixels, const float *from, float *to);
void deml_nhwc_to_nchw(deml_pool *pool, long batch, long channels, long pixels, const float *from, float *to);

/// A batch gathered from a data set and normalised in one pass:
/// to[b][p][c] = fma(from[indices[b]][c][p], scale[c], shift[c]), with
/// scale = 1/(divide_by·std), shift = -mean/std. Features without channels: channels = 1, pixels = features.
/// `indices` may be NULL: rows 0 ..< batch.
void deml_gather_u8(deml_pool *pool, long batch, long channels, long pixels, const uint8_t *from,
                    const int64_t *indices, const float *scale, const float *shift, float *to);
void deml_gather_f32(deml_pool *pool, long batch, long channels, long pixels, const float *from,
                     const int64_t *indices, const float *scale, const float *shift, float *to);

/// Scratch of either.
deml_scratch deml_gather_scratch(long threads, deml_isa isa, long batch, long channels, long pixels);

// MARK: Optimisers (optimizer.c)

typedef enum { DEML_SGD = 0, DEML_ADAM, DEML_ADAMW, DEML_RMSPROP, DEML_LION, DEML_OPTIMIZER_COUNT } deml_optimizer_kind;

/// Settings with torch's meaning; rmsprop's alpha is beta2. `step` counts from 1 (Adam's bias correction).
typedef struct {
    deml_optimizer_kind kind;
    float learning_rate, momentum, weight_decay, beta1, beta2, epsilon;
    bool nesterov, centered;
    int64_t step;
} deml_optimizer;

/// Where a parameter's gradient goes. `gradient` (may be NULL): it is written there. `optimizer` (may be NULL): `value`
/// is updated. state1: momentum, Adam's and Lion's m, rmsprop's square average; state2: Adam's v, rmsprop's momentum or,
/// where it is centered (then there is none), the gradient's average; both start as zeros; NULL where the kind needs none.
typedef struct {
    float *gradient;
    const deml_optimizer *optimizer;
    float *value, *state1, *state2;
} deml_sink;

/// One optimiser step over a parameter of `count` elements whose gradient is in `gradient`.
void deml_optimizer_step(deml_pool *pool, const deml_optimizer *optimizer, long count, const float *gradient,
                         float *value, float *state1, float *state2);

// MARK: Matrix products and linear layers (gemm.c)

/// C[m][n] = sum over k of A(m,k)·B[k][n] (+ C if `accumulate`); A is a[m][k], or a[k][m] if `a_transposed`.
/// lda, ldb, ldc: distance of rows in elements.
void deml_gemm(deml_pool *pool, long m, long n, long k, const float *a, long lda, bool a_transposed, const float *b,
               long ldb, float *c, long ldc, bool accumulate);

typedef enum {
    DEML_IDENTITY = 0, DEML_RELU, DEML_LEAKY_RELU, DEML_GELU, DEML_TANH, DEML_SIGMOID, DEML_SILU, DEML_RELU6,
    DEML_HARD_SIGMOID, DEML_HARD_SWISH, DEML_ELU, DEML_GELU_TANH, DEML_SOFTPLUS, DEML_ACTIVATION_COUNT
} deml_activation;

/// Weights of linear layers lie in blocks of so many outputs, one block after the other, the last with what is left
/// over: block[in][outputs of the block]. Weight (i, o) is at first·in + i·width + (o - first), where `first` is the
/// first output of the block and `width` = deml_linear_block(out, first) their number, 64 to 127 (or all, where there
/// are fewer). What one thread works on is contiguous then, and so is what the inner loop reads.
enum { DEML_LINEAR_BLOCK = 64 };
long deml_linear_block(long out, long first);

/// y[batch][out] = f(x[batch][in] · weights + bias[out]); f: DEML_IDENTITY or DEML_RELU; bias may be NULL.
void deml_linear_forward(deml_pool *pool, long batch, long in, long out, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y);
/// dx[batch][in] = dy[batch][out] · weightsᵀ.
void deml_linear_input_gradient(deml_pool *pool, long batch, long in, long out, const float *dy, const float *weights,
                                float *dx);
/// dweights = x[batch][in]ᵀ · dy[batch][out], in blocks as the weights; dbias[out] = sum of dy over the batch (`bias`
/// may be NULL).
void deml_linear_weight_gradient(deml_pool *pool, long batch, long in, long out, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias);

/// Scratch of the forward pass and, if `training`, of both gradients.
deml_scratch deml_linear_scratch(long threads, deml_isa isa, long batch, long in, long out, bool training);

/// The forward pass for rows of x and y that are x_stride and y_stride apart. `accumulate`: the sums go on from what is in
/// y, and there is no bias.
void deml_linear_rows(deml_pool *pool, long batch, long in, long out, const float *x, long x_stride,
                      const float *weights, const float *bias, bool accumulate, float *y, long y_stride);
deml_scratch deml_linear_rows_scratch(long threads, deml_isa isa, long batch, long in, long out);
/// weightsᵀ, in blocks as the weights of a layer from `out` to `in`.
void deml_linear_weights_transpose(deml_pool *pool, long in, long out, const float *weights, float *transposed);

// MARK: Convolution (conv2d.c), pooling (elementwise.c); images NHWC

typedef struct {
    long batch, height, width, in_channels, out_channels;
    long kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width;
    /// Channels are divided into so many groups, in and out; a kernel's elements are so far apart. At least 1.
    long groups, dilation_height, dilation_width;
} deml_conv2d;

/// (size + 2·padding - kernel) / stride + 1.
long deml_window_output(long size, long kernel, long stride, long padding);
/// y[b][oh][ow][out] = f(bias + sum over (kh,kw,in) of x padded · weights[kh][kw][in][out]), `in` being the inputs of
/// the output's group; f: DEML_IDENTITY or DEML_RELU; bias may be NULL.
void deml_conv2d_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y);
/// A transposed convolution: what the gradient by the input of `shape` is (so x has its output's shape, and y its
/// input's), with a bias for each of its in_channels that begins the sum, and f.
void deml_conv2d_transposed_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                                    const float *bias, deml_activation activation, float *y);
/// dx[b][h][w][in] from dy[b][oh][ow][out].
void deml_conv2d_input_gradient(deml_pool *pool, const deml_conv2d *shape, const float *dy, const float *weights,
                                float *dx);
/// dweights[kh][kw][in of a group][out] and dbias[out] (`bias` may be NULL) from x[b][h][w][in] and dy[b][oh][ow][out].
void deml_conv2d_weight_gradient(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias);

/// A bias' gradient alone: sums of dy[rows][channels] over the rows.
void deml_bias_gradient_of(deml_pool *pool, long rows, long channels, const float *dy, const deml_sink *bias);

/// Scratch of the forward pass and, if `training`, of all others; of a transposed convolution take it for training.
deml_scratch deml_conv2d_scratch(long threads, deml_isa isa, const deml_conv2d *shape, bool training);

/// A window over x[batch][height][width][channels]; y[batch][out_height][out_width][channels]. The last windows may reach
/// beyond the end (torch's ceil_mode), but each begins before it, and holds a number that is no padding.
typedef struct {
    long batch, height, width, channels, out_height, out_width;
    long kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width;
    bool exclude_padding;  // means are of what is there alone (torch's count_include_pad=False)
} deml_pool2d;

/// y = largest of the window (the first of equals); `position` (as y): which element of the window it was.
/// At most 65,536 elements a window.
void deml_max_pool2d_forward(deml_pool *pool, const deml_pool2d *shape, const float *x, float *y, uint16_t *position);
void deml_max_pool2d_backward(deml_pool *pool, const deml_pool2d *shape, const float *dy, const uint16_t *position,
                              float *dx);
/// y = mean of the window, padding counted as zeros if it is not excluded; what lies beyond the padding never counts.
/// Global average pool: kernel = size.
void deml_avg_pool2d_forward(deml_pool *pool, const deml_pool2d *shape, const float *x, float *y);
void deml_avg_pool2d_backward(deml_pool *pool, const deml_pool2d *shape, const float *dy, float *dx);

// MARK: Images of another size (resample.c), NHWC

/// y[b][top + height + bottom][left + width + right][c]: x, with `value` around it.
typedef struct {
    long batch, height, width, channels, top, bottom, left, right;
    float value;
} deml_pad2d;
void deml_pad2d_forward(deml_pool *pool, const deml_pad2d *shape, const float *x, float *y);
void deml_pad2d_backward(deml_pool *pool, const deml_pad2d *shape, const float *dy, float *dx);

/// x[batch][height][width][channels] to y[batch][out_height][out_width][channels]. Of upsampling: bilinear or nearest,
/// and how far an output is from the next, measured in inputs.
typedef struct {
    long batch, height, width, channels, out_height, out_width;
    bool bilinear;
    float scale_height, scale_width;
} deml_resize2d;
/// torch's interpolate with align_corners=False.
void deml_upsample2d_forward(deml_pool *pool, const deml_resize2d *shape, const float *x, float *y);
void deml_upsample2d_backward(deml_pool *pool, const deml_resize2d *shape, const float *dy, float *dx);
/// The mean of window i of n over `size`, which reaches from floor(i·size/n) to ceil((i+1)·size/n).
void deml_adaptive_avg_pool2d_forward(deml_pool *pool, const deml_resize2d *shape, const float *x, float *y);
void deml_adaptive_avg_pool2d_backward(deml_pool *pool, const deml_resize2d *shape, const float *dy, float *dx);

// MARK: Elementwise (elementwise.c); input and output may be the same array

/// alpha: leaky_relu's negative_slope, elu's alpha, softplus' beta; threshold: softplus'.
typedef struct { float alpha, threshold; } deml_activation_options;
/// y[i] = f(x[i]). gelu is the exact one (erf), torch's default; silu is x·sigmoid(x).
void deml_activation_forward(deml_pool *pool, deml_activation activation, deml_activation_options options, long count,
                             const float *x, float *y);
/// dx[i] = dy[i]·f'(x[i]). relu, relu6, tanh and sigmoid read the forward pass' *output* y (x may be NULL), all others
/// its *input* x (y may be NULL).
void deml_activation_backward(deml_pool *pool, deml_activation activation, deml_activation_options options, long count,
                              const float *x, const float *y, const float *dy, float *dx);
/// y[i] += x[i].
void deml_add(deml_pool *pool, long count, const float *x, float *y);
/// sum[i] = f(x[i] + y[i]), f: identity or relu (residual connections).
void deml_sum(deml_pool *pool, long count, const float *x, const float *y, deml_activation activation, float *sum);
/// x[i] *= factor.
void deml_scale(deml_pool *pool, long count, float factor, float *x);
/// product[i] = a[i]·b[i].
void deml_multiply(deml_pool *pool, long count, const float *a, const float *b, float *product);
/// Sum of x[i]² in double precision (a gradient's norm): the same bytes for any number of threads, see README.md.
double deml_sum_of_squares(deml_pool *pool, long count, const float *x);
/// y[b][p][c] = x[b][p][c]·gate[b][c].
void deml_gate_forward(deml_pool *pool, long batch, long pixels, long channels, const float *x, const float *gate,
                       float *y);
/// dgate[b][c] = sum of dy·x over the pixels.
void deml_gate_gradient(deml_pool *pool, long batch, long pixels, long channels, const float *x, const float *dy,
                        float *dgate);
/// dx[b][p][c] += dy[b][p][c]·gate[b][c].
void deml_gate_input_gradient(deml_pool *pool, long batch, long pixels, long channels, const float *gate,
                              const float *dy, float *dx);
/// to[r][0 ..< width] = from[r][0 ..< width]; rows are from_stride and to_stride apart.
void deml_copy_columns(deml_pool *pool, long rows, long width, const float *from, long from_stride, float *to,
                       long to_stride);
/// difference[i] = a[i] - b[i].
void deml_subtract(deml_pool *pool, long count, const float *a, const float *b, float *difference);
/// Whether every element is finite.
bool deml_all_finite(deml_pool *pool, long count, const float *x);

/// exp, log, tanh, erf of each element, at most 2 ulp from the exact value: what activations and losses compute with,
/// for tests.
typedef enum { DEML_FUNCTION_EXP = 0, DEML_FUNCTION_LOG, DEML_FUNCTION_TANH, DEML_FUNCTION_ERF } deml_function;
void deml_function_values(deml_pool *pool, deml_function function, long count, const float *x, float *y);

// MARK: Randomness (elementwise.c)

/// A position in the random numbers of a training run: Philox4x32-10 with key = seed (low, high word) and counter =
/// {block, step, epoch, purpose << 24 | layer}. Independent of threads and of what was drawn before.
typedef struct {
    uint64_t seed;
    uint32_t purpose, epoch, step, layer;
} deml_random;

/// The four words of block `block`: one of what dropout draws many of, for tests.
void deml_philox(const deml_random *random, uint32_t block, uint32_t words[4]);
/// Dropout: y[i] = x[i]/(1-p) with probability 1-p, else 0. Element i is dropped if its word < p·2³²; it has word
/// (i/16)%4 of block (i/64)·16 + i%16. Backward is the same function: dx = dropout(dy).
void deml_dropout(deml_pool *pool, const deml_random *random, float p, long count, const float *x, float *y);

// MARK: Normalisation (norm.c)

/// y[r][i] = (x[r][i] - mean_r)·rstd_r·gamma[i] + beta[i], over rows of `size` elements. gamma and beta may be NULL.
/// mean[rows] and rstd[rows] are written for the backward pass. `mean` NULL in both passes: nothing is subtracted, and
/// rstd = 1/sqrt(mean of x² + epsilon) (root mean square normalisation).
void deml_layer_norm_forward(deml_pool *pool, long rows, long size, float epsilon, const float *x, const float *gamma,
                             const float *beta, float *y, float *mean, float *rstd);
void deml_layer_norm_backward(deml_pool *pool, long rows, long size, const float *x, const float *dy,
                              const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink);
deml_scratch deml_layer_norm_scratch(long threads, deml_isa isa, long size, bool training);
/// x[batch][pixels][channels], statistics over (pixels, channels of the group); gamma[channels], beta[channels];
/// mean and rstd [batch][groups].
void deml_group_norm_forward(deml_pool *pool, long batch, long pixels, long channels, long groups, float epsilon,
                             const float *x, const float *gamma, const float *beta, float *y, float *mean,
                             float *rstd);
void deml_group_norm_backward(deml_pool *pool, long batch, long pixels, long channels, long groups, const float *x,
                              const float *dy, const float *gamma, const float *mean, const float *rstd, float *dx,
                              const deml_sink *gamma_sink, const deml_sink *beta_sink);
deml_scratch deml_group_norm_scratch(long threads, deml_isa isa, long batch, long pixels, long channels, long groups,
                                     bool training);

// MARK: Batch normalisation (batch_norm.c)

/// In training: y[r][c] = f((x[r][c] - mean_c)·rstd_c·gamma[c] + beta[c]) over all rows (examples, or pixels of all images);
/// f: identity or relu. gamma and beta may be NULL. mean[channels] and rstd[channels] are written for the backward pass; the running ones go
/// towards mean and unbiased variance: running += momentum·(batch's - running).
void deml_batch_norm_forward(deml_pool *pool, long rows, long channels, float epsilon, float momentum, const float *x,
                             const float *gamma, const float *beta, deml_activation activation, float *y, float *mean,
                             float *rstd, float *running_mean, float *running_var);
/// The same with the running ones instead of the batch's; a variance below 0 counts as 0.
void deml_batch_norm_inference(deml_pool *pool, long rows, long channels, float epsilon, const float *running_mean,
                               const float *running_var, const float *x, const float *gamma, const float *beta,
                               deml_activation activation, float *y);
/// dy: the gradient of y, f included. dx may be NULL.
void deml_batch_norm_backward(deml_pool *pool, long rows, long channels, const float *x, const float *dy,
                              const float *gamma, const float *beta, deml_activation activation, const float *mean,
                              const float *rstd, float *dx, const deml_sink *gamma_sink, const deml_sink *beta_sink);
deml_scratch deml_batch_norm_scratch(long threads, deml_isa isa, long rows, long channels, bool training);

// MARK: Tokens (tokens.c). An id is a whole number kept as a float, 0 ..< count: the caller has checked it.

/// y[r][width] = weights[ids[r]][width].
void deml_embedding_forward(deml_pool *pool, long rows, long width, const float *ids, const float *weights, float *y);
/// dweights[count][width] = start (NULL: 0) + the rows of dy whose id it is, in their order; those of the id `padding` are
/// left out (-1: none is).
void deml_embedding_gradient(deml_pool *pool, long rows, long count, long width, const float *ids, const float *dy,
                             const float *start, long padding, const deml_sink *sink);
deml_scratch deml_embedding_scratch(long threads, deml_isa isa, long count, long width);
/// y[b][i] = x[b][i] + position[i].
void deml_add_positions(deml_pool *pool, long batch, long count, const float *x, const float *position, float *y);
/// dposition[i] = sum of dy[b][i] over the batch for i < count; 0 for count ..< all.
void deml_position_gradient(deml_pool *pool, long batch, long count, long all, const float *dy, const deml_sink *sink);
deml_scratch deml_position_scratch(long threads, deml_isa isa, long all);

// MARK: Attention (attention.c)

/// Scaled dot-product attention of `heads` heads of `width` numbers over `tokens` tokens.
typedef struct {
    long batch, tokens, heads, width;
    bool causal;    // a token sees itself and those before it
    float dropout;  // probability that a weight counts 0, else 1/(1-dropout) times; 0: there is none
} deml_attention;
/// qkv[b][t][3][heads][width] to y[b][t][heads][width] = softmax(q·kᵀ/sqrt(width))·v. statistics[b][heads][t][2] (each
/// row's maximum and sum) is for the backward pass. `random` may be NULL where there is no dropout. No array of
/// tokens x tokens is ever made: a thread has DEML_ATTENTION_ROWS rows of it.
enum { DEML_ATTENTION_ROWS = 32 };
void deml_attention_forward(deml_pool *pool, const deml_attention *shape, const deml_random *random, const float *qkv,
                            float *y, float *statistics);
/// dqkv from dy and what the forward pass had and wrote.
void deml_attention_backward(deml_pool *pool, const deml_attention *shape, const deml_random *random, const float *qkv,
                             const float *y, const float *statistics, const float *dy, float *dqkv);
deml_scratch deml_attention_scratch(long threads, deml_isa isa, const deml_attention *shape, bool training);

// MARK: Recurrent layers (recurrent.c): the functions of one time step, between the products. Rows of the batch are
// `…_stride` apart; NULL for what is 0.

typedef struct {
    long batch, hidden;
    float *gates;         // [batch][4·hidden] i, f, g, o of an LSTM; [batch][3·hidden] r, z, n of a GRU
    float *recurrent;     // of a GRU, as gates: the part of h
    long gates_stride;    // of either
    const float *before;  // of an LSTM c, of a GRU h, one step earlier; rows before_stride apart
    long before_stride;
    float *cell;          // [batch][hidden], of an LSTM c
    long cell_stride;
    float *h;
    long h_stride;
    // Of the backward pass.
    const float *dy;      // the gradient of h from outside, rows dy_stride apart
    long dy_stride;
    const float *dh;      // [batch][hidden]: of h from the step after this
    float *dbefore;       // [batch][hidden]: comes in as the gradient of c (LSTM), or of h past the products (GRU), from
                          // the step after this; goes out as that of `before`
} deml_recurrent_step;
/// i, f, o = sigmoid, g = tanh, in place; c = f·before + i·g; h = o·tanh c.
void deml_lstm_forward(deml_pool *pool, const deml_recurrent_step *step);
/// gates become the gradients of what they were before their functions.
void deml_lstm_backward(deml_pool *pool, const deml_recurrent_step *step);
/// r, z = sigmoid(gates + recurrent), n = tanh(gates + r·recurrent), in place; h = n + z·(before - n).
void deml_gru_forward(deml_pool *pool, const deml_recurrent_step *step);
/// gates and recurrent become their gradients.
void deml_gru_backward(deml_pool *pool, const deml_recurrent_step *step);

// MARK: Softmax and losses (elementwise.c)

/// y[r][c] = exp(x[r][c] - max) / sum.
void deml_softmax_forward(deml_pool *pool, long rows, long classes, const float *x, float *y);
/// Cross entropy of logits x[rows][classes] against labels[rows], torch's label smoothing. losses[rows] (not yet
/// averaged), correct[rows] = 1 if the first largest logit is the label's. dx (may be NULL; may be x): gradient of the
/// mean over rows. A row whose label is negative does not count: its loss, `correct` and gradient are 0.
void deml_cross_entropy(deml_pool *pool, long rows, long classes, const float *x, const int32_t *labels,
                        float label_smoothing, float *losses, uint8_t *correct, float *dx);
/// What each output is compared by: (x-t)²; |x-t|; (x-t)²/2 where |x-t| < delta, else delta·(|x-t| - delta/2); and
/// log(1 + e^x) - x·t, the cross entropy of sigmoid(x) with a target between 0 and 1.
typedef enum {
    DEML_SQUARED_ERROR = 0, DEML_ABSOLUTE_ERROR, DEML_HUBER, DEML_BINARY_CROSS_ENTROPY, DEML_OUTPUT_LOSS_COUNT
} deml_output_loss;
/// x[rows][outputs] against targets of the same shape: losses[rows] = mean over outputs; dx (may be NULL; may be x):
/// gradient of the mean over everything.
void deml_compare_outputs(deml_pool *pool, deml_output_loss loss, float delta, long rows, long outputs, const float *x,
                          const float *target, float *losses, float *dx);

// MARK: Measurement (dispatch.c)

/// Runs `iterations` rounds of independent multiply-adds in registers on the calling thread; the number of
/// floating-point operations done (2 a lane). FMA peak = result / seconds.
double deml_fma_peak_operations(deml_pool *pool, long iterations);

// MARK: Tables of text (text.c)

#include "deml_text.h"

// MARK: Hashing (sha256.c)

#include "deml_sha256.h"

#endif
