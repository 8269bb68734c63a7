// Random shapes for every kernel, on every instruction set of this machine, bit for bit against plain loops.
//
//     sweep 1 1000        cases with the seeds 1 ... 1000
//     sweep 77 1          the case with seed 77 again
//
// A seed says all of its case: kernel, shape, numbers, threads. Arrays have exactly the size that CKernels.h states and
// every case has pools of its own, so that with the address sanitizer nothing outside of an array or of a block of
// scratch is read or written unnoticed. The loops below have the order of sums of Sources/CKernels/README.md; exp, log,
// tanh and erf are the portable kernels' (FunctionTests.swift compares those with double precision).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/common_interface_defs.h>
#define SANITIZED 1
#endif
#endif

// MARK: The case in progress

static uint64_t seed, state;
static char what[400];
static long failures, threads;
static bool large;  // products have a right side of more than a megabyte: then panels of it are copied
static deml_pool *reference;  // portable, one thread

static void name_case(void) { fprintf(stderr, "sweep: seed %llu, %s\n", (unsigned long long)seed, what); }

static uint64_t next(void) {  // SplitMix64
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
/// least ... most, all alike; or small ones more often.
static long any(long least, long most) { return least + (long)(next() % (uint64_t)(most - least + 1)); }
static long mostly_small(long least, long most) {
    const double share = (double)(next() >> 11) / 9007199254740992.0;
    return least + (long)((double)(most - least + 1) * share * share * share);
}

static void *allocations[64];
static int allocation_count;
static void *take(long count, long size) {
    void *memory = malloc((size_t)count * (size_t)size);
    if (!memory || allocation_count == 64) exit(2);
    return allocations[allocation_count++] = memory;
}
static float *empty(long count) { return memset(take(count, 4), 0xff, (size_t)count * 4); }
static float *zeros(long count) { return memset(take(count, 4), 0, (size_t)count * 4); }
static float *floats(long count, float scale) {
    float *p = take(count, 4);
    for (long i = 0; i < count; i++) p[i] = (float)((int32_t)(next() >> 40) - (1 << 23)) / (float)(1 << 23) * scale;
    return p;
}
static float *copy_of(const float *from, long count) { return memcpy(take(count, 4), from, (size_t)count * 4); }

static void same(const deml_pool *pool, const char *output, const void *got, const void *expected, long bytes) {
    if (memcmp(got, expected, (size_t)bytes) == 0) return;
    failures++;
    name_case();
    long i = 0;
    while (memcmp((const char *)got + i, (const char *)expected + i, 4) == 0 && i + 8 <= bytes) i += 4;
    float a, b;
    memcpy(&a, (const char *)got + i, 4), memcpy(&b, (const char *)expected + i, 4);
    fprintf(stderr, "    %s with %ld threads: %s differs at byte %ld: %a and not %a\n",
            deml_isa_name(deml_pool_isa(pool)), threads, output, i, (double)a, (double)b);
}
static void same_floats(const deml_pool *pool, const char *output, const float *got, const float *expected,
                        long count) {
    same(pool, output, got, expected, count * 4);
}

/// Pools of the case, one for each instruction set.
static deml_pool *pools[DEML_ISA_COUNT + 1];
#define EACH_POOL(pool) for (deml_pool **each = pools, *pool; (pool = *each) != NULL; each++)

/// A call took no more scratch than was foretold.
static void took_at_most(const deml_pool *pool, deml_scratch need) {
    const long taken = deml_pool_scratch_bytes(pool), foretold = deml_scratch_bytes(need, threads);
    if (taken <= foretold) return;
    failures++;
    name_case();
    fprintf(stderr, "    %s with %ld threads took %ld bytes of scratch and not %ld\n",
            deml_isa_name(deml_pool_isa(pool)), threads, taken, foretold);
}

// MARK: Plain loops

/// c[j] = fma(a, b[j], c[j]): one step of so many chains.
#define STEP for (long j = 0; j < count; j++) c[j] = __builtin_fmaf(a, b[j], c[j])
static void step_anywhere(float a, const float *b, float *c, long count) { STEP; }
#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void step_fused(float a, const float *b, float *c, long count) { STEP; }
static void step(float a, const float *b, float *c, long count) {
    if (__builtin_cpu_supports("fma") && __builtin_cpu_supports("avx2")) step_fused(a, b, c, count);
    else step_anywhere(a, b, c, count);
}
#else
static void step(float a, const float *b, float *c, long count) { step_anywhere(a, b, c, count); }
#endif

static float *function(deml_function f, long count, const float *x) {
    float *y = empty(count);
    deml_function_values(reference, f, count, x, y);
    return y;
}

/// 16 partial sums, halved.
static float halved(float s[16]) {
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

/// Where the weight of input i and output o is.
static long weight_at(long in, long out, long i, long o) {
    long first = o / 64;
    if (first >= (out >= 64 ? out / 64 : 1)) first = out / 64 - 1;
    first *= 64;
    return first * in + i * deml_linear_block(out, first) + o - first;
}

static double power(double base, int64_t exponent) {
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1) result *= base;
    return result;
}

static void update(const deml_optimizer *o, long count, const float *g, float *value, float *m, float *v) {
    const float size = (float)(o->learning_rate / (1 - power(o->beta1, o->step)));
    const float correction = (float)(1 / sqrt(1 - power(o->beta2, o->step)));
    const float left = (float)(1 - (double)o->learning_rate * o->weight_decay);
    for (long i = 0; i < count; i++) {
        float p = value[i], d = g[i];
        const bool decoupled = o->kind == DEML_ADAMW || o->kind == DEML_LION;
        if (o->weight_decay != 0 && !decoupled) d = fmaf(o->weight_decay, p, d);
        if (o->weight_decay != 0 && decoupled) p *= left;
        if (o->kind == DEML_RMSPROP) {
            m[i] = fmaf(d * (float)(1 - (double)o->beta2), d, m[i] * o->beta2);
            float variance = m[i];
            if (o->centered) {
                v[i] = fmaf((float)(1 - (double)o->beta2), d - v[i], v[i]);
                variance = fmaf(-v[i], v[i], m[i]);
                variance = variance > 0 ? variance : 0;
            }
            d /= sqrtf(variance) + o->epsilon;
            if (o->momentum != 0) d = v[i] = fmaf(o->momentum, v[i], d);
            value[i] = fmaf(-o->learning_rate, d, p);
            continue;
        }
        if (o->kind == DEML_LION) {
            const float c = fmaf((float)(1 - (double)o->beta1), d - m[i], m[i]);
            value[i] = fmaf(-o->learning_rate, c > 0 ? 1 : c < 0 ? -1 : 0, p);
            m[i] = fmaf((float)(1 - (double)o->beta2), d - m[i], m[i]);
            continue;
        }
        if (o->kind == DEML_SGD) {
            if (o->momentum != 0) {
                m[i] = fmaf(o->momentum, m[i], d);
                d = o->nesterov ? fmaf(o->momentum, m[i], d) : m[i];
            }
            value[i] = fmaf(-o->learning_rate, d, p);
            continue;
        }
        m[i] = fmaf((float)(1 - (double)o->beta1), d - m[i], m[i]);
        v[i] = fmaf(d * (float)(1 - (double)o->beta2), d, v[i] * o->beta2);
        value[i] = fmaf(-size, m[i] / fmaf(sqrtf(v[i]), correction, o->epsilon), p);
    }
}

static deml_optimizer any_optimizer(void) {
    deml_optimizer o = {.kind = (deml_optimizer_kind)any(0, DEML_OPTIMIZER_COUNT - 1), .learning_rate = 0.05f,
                            .momentum = any(0, 1) ? 0.9f : 0, .weight_decay = any(0, 1) ? 0.01f : 0, .beta1 = 0.9f,
                            .beta2 = 0.999f, .epsilon = 1e-8f, .nesterov = any(0, 1), .step = any(1, 1000)};
    o.centered = o.kind == DEML_RMSPROP && o.momentum == 0 && any(0, 1);
    return o;
}

// MARK: A parameter's gradient, kept, given to an optimiser, or both

typedef struct {
    long count;
    bool keeps, updates;
    deml_optimizer optimizer;
    float *gradient, *start, *value, *state1, *state2;  // as expected
    float *got_gradient, *got_value, *got_state1, *got_state2;
    deml_sink sink;
} parameter;

static parameter expect_parameter(long count, float *gradient) {
    const long way = any(0, 2);
    parameter p = {.count = count, .keeps = way != 1, .updates = way != 0, .optimizer = any_optimizer(),
                   .gradient = gradient, .start = floats(count, 1), .state1 = zeros(count), .state2 = zeros(count),
                   .got_gradient = empty(count), .got_value = empty(count), .got_state1 = empty(count),
                   .got_state2 = empty(count)};
    p.value = copy_of(p.start, count);
    if (p.updates) update(&p.optimizer, count, gradient, p.value, p.state1, p.state2);
    return p;
}
static const deml_sink *sink_of(parameter *p) {
    memset(p->got_gradient, 0xff, (size_t)p->count * 4);
    memcpy(p->got_value, p->start, (size_t)p->count * 4);
    memset(p->got_state1, 0, (size_t)p->count * 4), memset(p->got_state2, 0, (size_t)p->count * 4);
    p->sink = (deml_sink){p->keeps ? p->got_gradient : NULL, p->updates ? &p->optimizer : NULL, p->got_value,
                          p->got_state1, p->got_state2};
    return &p->sink;
}
static void same_parameter(const deml_pool *pool, const parameter *p) {
    if (p->keeps) same_floats(pool, "gradient", p->got_gradient, p->gradient, p->count);
    same_floats(pool, "value", p->got_value, p->value, p->count);
    same_floats(pool, "first state", p->got_state1, p->state1, p->count);
    same_floats(pool, "second state", p->got_state2, p->state2, p->count);
}

// MARK: Products

enum { FEW_OPERATIONS = 200000, MANY_OPERATIONS = 18000000, LARGE = 262144 };

static void gemm(void) {
    long m = mostly_small(1, 300), n = mostly_small(1, 300), k = mostly_small(1, 300);
    if (large) n = any(70, 600), k = LARGE / n + any(1, 50), m = any(7, 50);
    else
        while (m * n * k > FEW_OPERATIONS) *(m > n && m > k ? &m : n > k ? &n : &k) /= 2;
    const bool transposed = any(0, 1), accumulate = any(0, 1);
    const long lda = (transposed ? m : k) + any(0, 3), ldb = n + any(0, 3), ldc = n + any(0, 3);
    snprintf(what, sizeof what, "gemm m %ld n %ld k %ld lda %ld ldb %ld ldc %ld%s%s", m, n, k, lda, ldb, ldc,
             transposed ? " transposed" : "", accumulate ? " accumulated" : "");
    const long na = transposed ? (k - 1) * lda + m : (m - 1) * lda + k, nb = (k - 1) * ldb + n, nc = (m - 1) * ldc + n;
    const float *a = floats(na, 1), *b = floats(nb, 1), *start = floats(nc, 1);
    float *expected = copy_of(start, nc), *c = empty(nc);
    for (long i = 0; i < m; i++) {
        if (!accumulate) memset(expected + i * ldc, 0, (size_t)n * 4);
        for (long l = 0; l < k; l++)
            step(a[transposed ? l * lda + i : i * lda + l], b + l * ldb, expected + i * ldc, n);
    }
    EACH_POOL(pool) {
        memcpy(c, start, (size_t)nc * 4);
        deml_gemm(pool, m, n, k, a, lda, transposed, b, ldb, c, ldc, accumulate);
        same_floats(pool, "c", c, expected, nc);
    }
}

static void linear(void) {
    const long which = any(0, 2);
    long batch = mostly_small(1, 70), in = mostly_small(1, 600), out = mostly_small(1, 600);
    if (large) {
        if (which == 0) out = any(65, 300), in = LARGE / (out < 127 ? out : 64) + any(1, 60), batch = any(7, 50);
        if (which == 1) batch = any(65, 70), out = LARGE / 80 + any(1, 300), in = any(7, 50);
        if (which == 2) batch = any(50, 70), out = LARGE / batch + any(1, 300), in = any(7, 50);
    } else
        while (batch * in * out > FEW_OPERATIONS) *(in > out ? &in : out > batch ? &out : &batch) /= 2;
    const char *const names[] = {"forward", "input gradient", "weight gradient"};
    const bool relu = any(0, 1), with_bias = any(0, 1);
    snprintf(what, sizeof what, "linear %s batch %ld in %ld out %ld%s%s", names[which], batch, in, out,
             relu ? " relu" : "", with_bias ? " bias" : "");
    const float *x = floats(batch * in, 1), *dy = floats(batch * out, 1), *torch = floats(in * out, 0.3f);
    const float *bias = floats(out, 1);
    float *weights = empty(in * out);  // torch is [out][in]
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++) weights[weight_at(in, out, i, o)] = torch[o * in + i];
    if (which == 0) {
        float *y = zeros(batch * out), *got = empty(batch * out), *rows = empty(in * out);
        for (long o = 0; o < out; o++)
            for (long i = 0; i < in; i++) rows[i * out + o] = torch[o * in + i];
        for (long b = 0; b < batch; b++) {
            if (with_bias) memcpy(y + b * out, bias, (size_t)out * 4);
            for (long i = 0; i < in; i++) step(x[b * in + i], rows + i * out, y + b * out, out);
            for (long o = 0; relu && o < out; o++) y[b * out + o] = y[b * out + o] > 0 ? y[b * out + o] : 0;
        }
        EACH_POOL(pool) {
            memset(got, 0xff, (size_t)(batch * out) * 4);
            deml_linear_forward(pool, batch, in, out, x, weights, with_bias ? bias : NULL,
                                relu ? DEML_RELU : DEML_IDENTITY, got);
            same_floats(pool, "y", got, y, batch * out);
            took_at_most(pool, deml_linear_scratch(threads, deml_pool_isa(pool), batch, in, out, false));
        }
    } else if (which == 1) {
        float *dx = zeros(batch * in), *got = empty(batch * in);
        for (long b = 0; b < batch; b++)
            for (long o = 0; o < out; o++) step(dy[b * out + o], torch + o * in, dx + b * in, in);
        EACH_POOL(pool) {
            memset(got, 0xff, (size_t)(batch * in) * 4);
            deml_linear_input_gradient(pool, batch, in, out, dy, weights, got);
            same_floats(pool, "dx", got, dx, batch * in);
            took_at_most(pool, deml_linear_scratch(threads, deml_pool_isa(pool), batch, in, out, true));
        }
    } else {
        float *rows = zeros(in * out), *dweights = empty(in * out), *dbias = zeros(out);
        for (long b = 0; b < batch; b++) {
            for (long i = 0; i < in; i++) step(x[b * in + i], dy + b * out, rows + i * out, out);
            for (long o = 0; o < out; o++) dbias[o] += dy[b * out + o];
        }
        for (long o = 0; o < out; o++)
            for (long i = 0; i < in; i++) dweights[weight_at(in, out, i, o)] = rows[i * out + o];
        parameter w = expect_parameter(in * out, dweights), b = expect_parameter(out, dbias);
        EACH_POOL(pool) {
            deml_linear_weight_gradient(pool, batch, in, out, x, dy, sink_of(&w), with_bias ? sink_of(&b) : NULL);
            same_parameter(pool, &w);
            if (with_bias) same_parameter(pool, &b);
            took_at_most(pool, deml_linear_scratch(threads, deml_pool_isa(pool), batch, in, out, true));
        }
    }
}

/// Rows of any distance, sums that go on, and the weights the other way round.
static void linear_rows(void) {
    long batch = mostly_small(1, 70), in = mostly_small(1, 300), out = mostly_small(1, 300);
    if (large) out = any(65, 300), in = LARGE / (out < 127 ? out : 64) + any(1, 60), batch = any(7, 50);
    else
        while (batch * in * out > FEW_OPERATIONS) *(in > out ? &in : out > batch ? &out : &batch) /= 2;
    const long x_stride = in + any(0, 5), y_stride = out + any(0, 5), nx = (batch - 1) * x_stride + in;
    const long ny = (batch - 1) * y_stride + out;
    const bool accumulate = any(0, 1), with_bias = any(0, 1);
    snprintf(what, sizeof what, "linear rows batch %ld in %ld out %ld%s", batch, in, out, accumulate ? " goes on" : "");
    const float *x = floats(nx, 1), *start = floats(ny, 1), *torch = floats(in * out, 0.3f), *bias = floats(out, 1);
    float *weights = empty(in * out), *rows = empty(in * out), *y = copy_of(start, ny), *got = empty(ny);
    float *turned = empty(in * out), *got_turned = empty(in * out);
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++) {
            weights[weight_at(in, out, i, o)] = rows[i * out + o] = torch[o * in + i];
            turned[weight_at(out, in, o, i)] = torch[o * in + i];
        }
    for (long b = 0; b < batch; b++) {
        for (long o = 0; !accumulate && o < out; o++) y[b * y_stride + o] = with_bias ? bias[o] : 0;
        for (long i = 0; i < in; i++) step(x[b * x_stride + i], rows + i * out, y + b * y_stride, out);
    }
    EACH_POOL(pool) {
        memcpy(got, start, (size_t)ny * 4);
        deml_linear_rows(pool, batch, in, out, x, x_stride, weights, with_bias ? bias : NULL, accumulate, got, y_stride);
        same_floats(pool, "y", got, y, ny);
        took_at_most(pool, deml_linear_rows_scratch(threads, deml_pool_isa(pool), batch, in, out));
        memset(got_turned, 0xff, (size_t)(in * out) * 4);
        deml_linear_weights_transpose(pool, in, out, weights, got_turned);
        same_floats(pool, "transposed weights", got_turned, turned, in * out);
    }
}

static long reach_height(const deml_conv2d *s) { return (s->kernel_height - 1) * s->dilation_height + 1; }
static long reach_width(const deml_conv2d *s) { return (s->kernel_width - 1) * s->dilation_width + 1; }
static long output_height(const deml_conv2d *s) {
    return deml_window_output(s->height, reach_height(s), s->stride_height, s->padding_height);
}
static long output_width(const deml_conv2d *s) {
    return deml_window_output(s->width, reach_width(s), s->stride_width, s->padding_width);
}
static long operations(const deml_conv2d *s) {
    return s->batch * output_height(s) * output_width(s) * s->kernel_height * s->kernel_width * s->in_channels *
           s->out_channels / s->groups;
}
static bool fits(const deml_conv2d *s) {
    return s->height + 2 * s->padding_height >= reach_height(s) && s->width + 2 * s->padding_width >= reach_width(s);
}

/// Weights (or, for their gradient, outputs) of more than LARGE elements with an image of some 30 to 60 pixels.
static deml_conv2d large_convolution(long which) {
    for (;;) {
        deml_conv2d s = {any(1, 2), any(5, 9), any(5, 9), any(1, 8), any(64, 512), any(1, 7), any(1, 7),
                         1, 1, any(0, 3), any(0, 3), 1, any(0, 3) ? 1 : 2, 1};
        if (any(0, 1)) s.kernel_width = s.kernel_height, s.padding_width = s.padding_height;
        if (which == 2) s.height = any(20, 40), s.width = any(20, 40);
        else s.in_channels = LARGE / (s.kernel_height * s.kernel_width * s.out_channels) * any(8, 12) / 8 + 1;
        if (which == 1) {
            const long in = s.in_channels;
            s.in_channels = s.out_channels, s.out_channels = in;
        }
        if (fits(&s) && operations(&s) <= MANY_OPERATIONS) return s;
    }
}

static deml_conv2d small_convolution(void) {
    for (;;) {
        deml_conv2d s = {mostly_small(1, 70), mostly_small(1, 32), mostly_small(1, 32), mostly_small(1, 512),
                         mostly_small(1, 512), any(1, 7), any(1, 7), mostly_small(1, 4), mostly_small(1, 4),
                         any(0, 3), any(0, 3), 1, any(0, 2) ? 1 : any(1, 3), any(0, 2) ? 1 : any(1, 3)};
        if (any(0, 1)) s.kernel_width = s.kernel_height, s.stride_width = s.stride_height;
        const long way = any(0, 5), groups = any(2, 6);
        long *const sizes[] = {&s.batch, &s.height, &s.width, &s.in_channels, &s.out_channels};
        for (int i = 0; i < 200 && fits(&s) && operations(&s) > FEW_OPERATIONS; i++) {
            long *const size = sizes[any(0, 4)];
            if (*size > 1) *size = (*size + 1) / 2;
        }
        if (way == 0) s.groups = s.out_channels = s.in_channels;
        if (way == 1) s.groups = groups, s.in_channels *= groups, s.out_channels *= groups;
        if (fits(&s) && operations(&s) <= FEW_OPERATIONS) return s;
    }
}

static void convolution(void) {
    const long which = any(0, 2);
    const deml_conv2d s = large ? large_convolution(which) : small_convolution();
    const bool relu = any(0, 1), with_bias = any(0, 1);
    const char *const names[] = {"forward", "input gradient", "weight gradient"};
    snprintf(what, sizeof what,
             "conv2d %s batch %ld height %ld width %ld in %ld out %ld kernel %ldx%ld stride %ldx%ld padding %ldx%ld"
             " groups %ld dilation %ldx%ld%s%s",
             names[which], s.batch, s.height, s.width, s.in_channels, s.out_channels, s.kernel_height, s.kernel_width,
             s.stride_height, s.stride_width, s.padding_height, s.padding_width, s.groups, s.dilation_height,
             s.dilation_width, relu ? " relu" : "", with_bias ? " bias" : "");
    const long oh = output_height(&s), ow = output_width(&s);
    const long in = s.in_channels, out = s.out_channels, taps = s.kernel_height * s.kernel_width;
    const long ig = in / s.groups, og = out / s.groups;
    const long nx = s.batch * s.height * s.width * in, ny = s.batch * oh * ow * out, nw = taps * ig * out;
    // Products near the smallest float become 0 or -0, whose sign zeros added later decide.
    const bool tiny = any(0, 2) == 0;
    const float *x = floats(nx, 1), *dy = floats(ny, tiny ? 1e-38f : 1), *weights = floats(nw, tiny ? 1e-7f : 0.3f);
    const float *bias = floats(in > out ? in : out, 1);
    float *nothing = zeros(in > out ? in : out);
    if (which == 1) {
        // The kernel turned by 180 degrees, over (kh, kw, out); zeros where no output is.
        // A transposed convolution is the same with a bias and a function.
        float *dx = zeros(nx), *got = empty(nx), *turned = empty(nw);
        for (long t = 0; t < taps; t++)
            for (long o = 0; o < out; o++)
                for (long i = 0; i < ig; i++)
                    turned[(t * out + o) * ig + i] = weights[((taps - 1 - t) * ig + i) * out + o];
        for (long at = 0; at < s.batch * s.height * s.width; at++) {
            const long b = at / (s.height * s.width), h = at / s.width % s.height, w = at % s.width;
            if (with_bias) memcpy(dx + at * in, bias, (size_t)in * 4);
            for (long t = 0; t < taps; t++) {
                const long up = s.kernel_height - 1 - t / s.kernel_width, back = s.kernel_width - 1 - t % s.kernel_width;
                const long top = h + s.padding_height - up * s.dilation_height;
                const long left = w + s.padding_width - back * s.dilation_width;
                const bool there = top >= 0 && left >= 0 && top % s.stride_height == 0 && left % s.stride_width == 0 &&
                                   top / s.stride_height < oh && left / s.stride_width < ow;
                const float *from = there ? dy + ((b * oh + top / s.stride_height) * ow + left / s.stride_width) * out
                                          : nothing;
                for (long o = 0; o < out; o++)
                    step(from[o], turned + (t * out + o) * ig, dx + at * in + o / og * ig, ig);
            }
            for (long i = 0; relu && i < in; i++) dx[at * in + i] = dx[at * in + i] > 0 ? dx[at * in + i] : 0;
        }
        EACH_POOL(pool) {
            memset(got, 0xff, (size_t)nx * 4);
            if (with_bias || relu)
                deml_conv2d_transposed_forward(pool, &s, dy, weights, with_bias ? bias : NULL,
                                               relu ? DEML_RELU : DEML_IDENTITY, got);
            else deml_conv2d_input_gradient(pool, &s, dy, weights, got);
            same_floats(pool, "dx", got, dx, nx);
            took_at_most(pool, deml_conv2d_scratch(threads, deml_pool_isa(pool), &s, true));
        }
        return;
    }
    float *y = zeros(ny), *dweights = zeros(nw), *dbias = zeros(out);
    for (long at = 0; at < s.batch * oh * ow; at++) {
        const long b = at / (oh * ow), top = at / ow % oh * s.stride_height - s.padding_height;
        const long left = at % ow * s.stride_width - s.padding_width;
        if (with_bias) memcpy(y + at * out, bias, (size_t)out * 4);
        for (long t = 0; t < taps; t++) {
            const long h = top + t / s.kernel_width * s.dilation_height;
            const long w = left + t % s.kernel_width * s.dilation_width;
            const bool there = h >= 0 && h < s.height && w >= 0 && w < s.width;
            const float *from = there ? x + ((b * s.height + h) * s.width + w) * in : nothing;
            for (long i = 0; i < in; i++) {
                const long row = (t * ig + i % ig) * out + i / ig * og, column = at * out + i / ig * og;
                if (which == 0) step(from[i], weights + row, y + column, og);
                else step(from[i], dy + column, dweights + row, og);
            }
        }
        for (long o = 0; o < out; o++) {
            if (relu && !(y[at * out + o] > 0)) y[at * out + o] = 0;
            dbias[o] += dy[at * out + o];
        }
    }
    if (which == 0) {
        float *got = empty(ny);
        EACH_POOL(pool) {
            memset(got, 0xff, (size_t)ny * 4);
            deml_conv2d_forward(pool, &s, x, weights, with_bias ? bias : NULL, relu ? DEML_RELU : DEML_IDENTITY, got);
            same_floats(pool, "y", got, y, ny);
            took_at_most(pool, deml_conv2d_scratch(threads, deml_pool_isa(pool), &s, false));
        }
        return;
    }
    parameter w = expect_parameter(nw, dweights), b = expect_parameter(out, dbias);
    EACH_POOL(pool) {
        deml_conv2d_weight_gradient(pool, &s, x, dy, sink_of(&w), with_bias ? sink_of(&b) : NULL);
        same_parameter(pool, &w);
        if (with_bias) same_parameter(pool, &b);
        took_at_most(pool, deml_conv2d_scratch(threads, deml_pool_isa(pool), &s, true));
    }
}

// MARK: Pooling

// As many windows as fit, or one more that begins before the end.
static long windows(long size, long kernel, long stride, long padding) {
    const long count = deml_window_output(size, kernel, stride, padding);
    return any(0, 1) && count * stride - padding < size ? count + 1 : count;
}

static void pooling(void) {
    deml_pool2d s = {mostly_small(1, 70), mostly_small(1, 20), mostly_small(1, 20), mostly_small(1, 200), 0, 0, any(1, 7),
                     any(1, 7), any(1, 4), any(1, 4), 0, 0, any(0, 1)};
    s.padding_height = any(0, s.kernel_height / 2), s.padding_width = any(0, s.kernel_width / 2);
    while (s.batch * s.height * s.width * s.channels > 20000) *(s.batch > s.channels ? &s.batch : &s.channels) /= 2;
    if (s.height + 2 * s.padding_height < s.kernel_height) s.height = s.kernel_height;
    if (s.width + 2 * s.padding_width < s.kernel_width) s.width = s.kernel_width;
    const long oh = s.out_height = windows(s.height, s.kernel_height, s.stride_height, s.padding_height);
    const long ow = s.out_width = windows(s.width, s.kernel_width, s.stride_width, s.padding_width);
    snprintf(what, sizeof what,
             "pooling batch %ld height %ld width %ld channels %ld to %ldx%ld kernel %ldx%ld stride %ldx%ld padding %ldx%ld %s",
             s.batch, s.height, s.width, s.channels, oh, ow, s.kernel_height, s.kernel_width, s.stride_height,
             s.stride_width, s.padding_height, s.padding_width, s.exclude_padding ? "excluded" : "included");
    const long nx = s.batch * s.height * s.width * s.channels, ny = s.batch * oh * ow * s.channels;
    const float *x = floats(nx, 1), *dy = floats(ny, 1);
    float *largest = empty(ny), *mean = empty(ny), *largest_dx = zeros(nx), *mean_dx = zeros(nx);
    uint16_t *position = take(ny, 2), *got_position = take(ny, 2);
    // Where a window has fewer numbers than the kernel, each gradient is divided by its own.
    const long whole = s.kernel_height * s.kernel_width;
    long *areas = take(ny, sizeof *areas);
    bool all_whole = true;
    for (long at = 0; at < ny; at++) {
        const long top = at / (s.channels * ow) % oh * s.stride_height - s.padding_height;
        const long left = at / s.channels % ow * s.stride_width - s.padding_width;
        areas[at] = 0;
        for (long t = 0; t < whole; t++) {
            const long h = top + t / s.kernel_width, w = left + t % s.kernel_width;
            const bool inside = h >= 0 && h < s.height && w >= 0 && w < s.width;
            areas[at] += inside || (!s.exclude_padding && h < s.height + s.padding_height && w < s.width + s.padding_width);
        }
        all_whole &= areas[at] == whole;
    }
    for (long at = 0; at < ny; at++) {
        const long c = at % s.channels, b = at / (s.channels * ow * oh);
        const long top = at / (s.channels * ow) % oh * s.stride_height - s.padding_height;
        const long left = at / s.channels % ow * s.stride_width - s.padding_width;
        float sum = 0;
        long best = -1;
        for (long t = 0; t < s.kernel_height * s.kernel_width; t++) {
            const long h = top + t / s.kernel_width, w = left + t % s.kernel_width;
            if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
            const long from = ((b * s.height + h) * s.width + w) * s.channels + c;
            sum += x[from];
            mean_dx[from] += all_whole ? dy[at] : dy[at] / (float)areas[at];
            if (best >= 0 && !(x[from] > x[best])) continue;
            best = from;
            position[at] = (uint16_t)t;
        }
        largest[at] = x[best], mean[at] = sum / (float)areas[at];
        largest_dx[best] += dy[at];
    }
    for (long i = 0; all_whole && i < nx; i++) mean_dx[i] /= (float)whole;
    float *y = empty(ny), *dx = empty(nx);
    EACH_POOL(pool) {
        memset(y, 0xff, (size_t)ny * 4), memset(dx, 0xff, (size_t)nx * 4), memset(got_position, 0xff, (size_t)ny * 2);
        deml_max_pool2d_forward(pool, &s, x, y, got_position);
        deml_max_pool2d_backward(pool, &s, dy, got_position, dx);
        same_floats(pool, "largest", y, largest, ny);
        same(pool, "position", got_position, position, ny * 2);
        same_floats(pool, "gradient of the largest", dx, largest_dx, nx);
        deml_avg_pool2d_forward(pool, &s, x, y);
        deml_avg_pool2d_backward(pool, &s, dy, dx);
        same_floats(pool, "mean", y, mean, ny);
        same_floats(pool, "gradient of the mean", dx, mean_dx, nx);
    }
}

// MARK: Images of another size

static void padding(void) {
    const deml_pad2d s = {mostly_small(1, 20), mostly_small(1, 12), mostly_small(1, 12), mostly_small(1, 40), any(0, 4),
                          any(0, 4), any(0, 4), any(0, 4), (float)any(-9, 9) / 7};
    snprintf(what, sizeof what, "padding batch %ld height %ld width %ld channels %ld by %ld %ld %ld %ld", s.batch,
             s.height, s.width, s.channels, s.top, s.bottom, s.left, s.right);
    const long oh = s.top + s.height + s.bottom, ow = s.left + s.width + s.right;
    const long nx = s.batch * s.height * s.width * s.channels, ny = s.batch * oh * ow * s.channels;
    const float *x = floats(nx, 1), *dy = floats(ny, 1);
    float *y = empty(ny), *dx = empty(nx), *got = empty(ny), *got_dx = empty(nx);
    for (long i = 0; i < ny; i++) {
        const long c = i % s.channels, w = i / s.channels % ow - s.left, h = i / s.channels / ow % oh - s.top;
        const long b = i / s.channels / ow / oh;
        y[i] = s.value;
        if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
        const long from = ((b * s.height + h) * s.width + w) * s.channels + c;
        y[i] = x[from], dx[from] = dy[i];
    }
    EACH_POOL(pool) {
        deml_pad2d_forward(pool, &s, x, got);
        deml_pad2d_backward(pool, &s, dy, got_dx);
        same_floats(pool, "y", got, y, ny);
        same_floats(pool, "dx", got_dx, dx, nx);
    }
}

/// The inputs that output `at` of an axis is made of, and how much of the second.
static void sources(long at, float scale, long size, bool bilinear, long source[2], float *share) {
    const float middle = scale * ((float)at + 0.5f) - 0.5f, place = bilinear ? (middle > 0 ? middle : 0)
                                                                            : (float)at * scale;
    source[0] = (long)place < size - 1 ? (long)place : size - 1;
    source[1] = bilinear && source[0] < size - 1 ? source[0] + 1 : source[0];
    *share = bilinear ? place - (float)source[0] : 0;
    if (*share > 1) *share = 1;
}

static void resampling(void) {
    deml_resize2d s = {mostly_small(1, 20), mostly_small(1, 12), mostly_small(1, 12), mostly_small(1, 40),
                       mostly_small(1, 20), mostly_small(1, 20), any(0, 1), 0, 0};
    s.scale_height = any(0, 1) ? (float)s.height / (float)s.out_height : (float)any(1, 30) / 10;
    s.scale_width = any(0, 1) ? (float)s.width / (float)s.out_width : (float)any(1, 30) / 10;
    snprintf(what, sizeof what, "resampling batch %ld height %ld width %ld channels %ld to %ldx%ld%s by %g %g", s.batch,
             s.height, s.width, s.channels, s.out_height, s.out_width, s.bilinear ? " bilinear" : "",
             (double)s.scale_height, (double)s.scale_width);
    const long nx = s.batch * s.height * s.width * s.channels, ny = s.batch * s.out_height * s.out_width * s.channels;
    const float *x = floats(nx, 1), *dy = floats(ny, 1);
    float *y = empty(ny), *dx = zeros(nx), *mean = empty(ny), *mean_dx = zeros(nx);
    for (long i = 0; i < ny; i++) {
        const long c = i % s.channels, ow = i / s.channels % s.out_width;
        const long oh = i / s.channels / s.out_width % s.out_height, b = i / s.channels / s.out_width / s.out_height;
        const float *const image = x + b * s.height * s.width * s.channels + c;
        float *const gradient = dx + b * s.height * s.width * s.channels + c;
        float *const mean_gradient = mean_dx + b * s.height * s.width * s.channels + c;
        long h[2], w[2];
        float a, z;
        sources(oh, s.scale_height, s.height, s.bilinear, h, &a);
        sources(ow, s.scale_width, s.width, s.bilinear, w, &z);
        const float rows[2] = {1 - a, a}, columns[2] = {1 - z, z};
        for (int k = 0; k < 4; k++) {
            const float value = image[(h[k / 2] * s.width + w[k % 2]) * s.channels];
            const float weight = rows[k / 2] * columns[k % 2];
            y[i] = k == 0 ? weight * value : fmaf(weight, value, y[i]);
        }
        if (!s.bilinear) y[i] = image[(h[0] * s.width + w[0]) * s.channels];
        // Of an input that is both the first and the second at the edge the shares are added.
        for (long p = h[0]; p <= h[1]; p++)
            for (long q = w[0]; q <= w[1]; q++) {
                const float of_row = (p == h[0] ? rows[0] : 0) + (p == h[1] ? rows[1] : 0);
                const float of_column = (q == w[0] ? columns[0] : 0) + (q == w[1] ? columns[1] : 0);
                float *const to = gradient + (p * s.width + q) * s.channels;
                *to = fmaf(of_row * of_column, dy[i], *to);
            }
        const long h0 = oh * s.height / s.out_height, h1 = ((oh + 1) * s.height - 1) / s.out_height + 1;
        const long w0 = ow * s.width / s.out_width, w1 = ((ow + 1) * s.width - 1) / s.out_width + 1;
        const float area = (float)((h1 - h0) * (w1 - w0));
        float sum = 0;
        for (long p = h0; p < h1; p++)
            for (long q = w0; q < w1; q++) {
                sum += image[(p * s.width + q) * s.channels];
                mean_gradient[(p * s.width + q) * s.channels] += dy[i] / area;
            }
        mean[i] = sum / area;
    }
    float *got = empty(ny), *got_dx = empty(nx);
    EACH_POOL(pool) {
        deml_upsample2d_forward(pool, &s, x, got);
        deml_upsample2d_backward(pool, &s, dy, got_dx);
        same_floats(pool, "y", got, y, ny);
        same_floats(pool, "dx", got_dx, dx, nx);
        deml_adaptive_avg_pool2d_forward(pool, &s, x, got);
        deml_adaptive_avg_pool2d_backward(pool, &s, dy, got_dx);
        same_floats(pool, "mean", got, mean, ny);
        same_floats(pool, "gradient of the mean", got_dx, mean_dx, nx);
    }
}

// MARK: Normalisation

static void layer_norm(void) {
    const long rows = mostly_small(1, 70), size = mostly_small(1, 600), n = rows * size;
    const bool centred = any(0, 2) > 0;
    snprintf(what, sizeof what, "layer_norm rows %ld size %ld%s", rows, size, centred ? "" : " without means");
    const float *x = floats(n, 3), *dy = floats(n, 1), *gamma = floats(size, 1), *beta = floats(size, 1);
    float *y = empty(n), *dx = empty(n), *mean = empty(rows), *rstd = empty(rows);
    float *dgamma = zeros(size), *dbeta = zeros(size);
    for (long r = 0; r < rows; r++) {
        const float *xr = x + r * size, *dyr = dy + r * size;
        float sums[16] = {0}, squares[16] = {0}, plain[16] = {0}, weighted[16] = {0};
        for (long i = 0; i < size; i++) sums[i % 16] += xr[i];
        mean[r] = centred ? halved(sums) / (float)size : 0;
        for (long i = 0; i < size; i++) squares[i % 16] = fmaf(xr[i] - mean[r], xr[i] - mean[r], squares[i % 16]);
        rstd[r] = 1 / sqrtf(halved(squares) / (float)size + 1e-5f);
        for (long i = 0; i < size; i++) {
            const float normal = (xr[i] - mean[r]) * rstd[r];
            y[r * size + i] = fmaf(normal, gamma[i], beta[i]);
            plain[i % 16] += dyr[i] * gamma[i];
            weighted[i % 16] = fmaf(dyr[i] * gamma[i], normal, weighted[i % 16]);
            dgamma[i] = fmaf(dyr[i], normal, dgamma[i]);
            dbeta[i] += dyr[i];
        }
        const float d = centred ? halved(plain) / (float)size : 0, dn = halved(weighted) / (float)size;
        for (long i = 0; i < size; i++)
            dx[r * size + i] = fmaf(-((xr[i] - mean[r]) * rstd[r]), dn, dyr[i] * gamma[i] - d) * rstd[r];
    }
    parameter g = expect_parameter(size, dgamma), b = expect_parameter(size, dbeta);
    float *got = empty(n), *got_dx = empty(n), *got_mean = empty(rows), *got_rstd = empty(rows);
    EACH_POOL(pool) {
        float *const means = centred ? got_mean : NULL;
        deml_layer_norm_forward(pool, rows, size, 1e-5f, x, gamma, beta, got, means, got_rstd);
        deml_layer_norm_backward(pool, rows, size, x, dy, gamma, means, got_rstd, got_dx, sink_of(&g), sink_of(&b));
        if (centred) same_floats(pool, "mean", got_mean, mean, rows);
        same_floats(pool, "rstd", got_rstd, rstd, rows);
        same_floats(pool, "y", got, y, n);
        same_floats(pool, "dx", got_dx, dx, n);
        same_parameter(pool, &g);
        same_parameter(pool, &b);
        took_at_most(pool, deml_layer_norm_scratch(threads, deml_pool_isa(pool), size, true));
    }
}

static void group_norm(void) {
    long batch = mostly_small(1, 70), pixels = mostly_small(1, 300), groups = any(1, 8), each = mostly_small(1, 64);
    while (batch * pixels * groups * each > 40000) *(pixels > each ? &pixels : batch > each ? &batch : &each) /= 2;
    const long channels = groups * each, n = batch * pixels * channels;
    snprintf(what, sizeof what, "group_norm batch %ld pixels %ld channels %ld groups %ld", batch, pixels, channels,
             groups);
    const float *x = floats(n, 3), *dy = floats(n, 1), *gamma = floats(channels, 1), *beta = floats(channels, 1);
    float *y = empty(n), *dx = empty(n), *mean = empty(batch * groups), *rstd = empty(batch * groups);
    float *dgamma = zeros(channels), *dbeta = zeros(channels);
    float *sums = zeros(channels), *squares = zeros(channels), *plain = zeros(channels), *weighted = zeros(channels);
    const float count = (float)(pixels * each);
    for (long b = 0; b < batch; b++) {
        float *const accumulated[] = {sums, squares, plain, weighted};
        for (int i = 0; i < 4; i++) memset(accumulated[i], 0, (size_t)channels * 4);
        const float *xb = x + b * pixels * channels, *dyb = dy + b * pixels * channels;
        float *m = mean + b * groups, *r = rstd + b * groups;
        for (long i = 0; i < pixels * channels; i++) sums[i % channels] += xb[i];
        for (long g = 0; g < groups; g++) {
            float sum = 0;
            for (long c = 0; c < each; c++) sum += sums[g * each + c];
            m[g] = sum / count;
        }
        for (long i = 0; i < pixels * channels; i++) {
            const float d = xb[i] - m[i % channels / each];
            squares[i % channels] = fmaf(d, d, squares[i % channels]);
        }
        for (long g = 0; g < groups; g++) {
            float sum = 0;
            for (long c = 0; c < each; c++) sum += squares[g * each + c];
            r[g] = 1 / sqrtf(sum / count + 1e-5f);
        }
        for (long i = 0; i < pixels * channels; i++) {
            const long c = i % channels;
            const float normal = (xb[i] - m[c / each]) * r[c / each];
            y[b * pixels * channels + i] = fmaf(normal, gamma[c], beta[c]);
            plain[c] += dyb[i];
            weighted[c] = fmaf(dyb[i], normal, weighted[c]);
        }
        for (long c = 0; c < channels; c++) dgamma[c] += weighted[c], dbeta[c] += plain[c];
        for (long g = 0; g < groups; g++) {
            float d = 0, dn = 0;
            for (long c = g * each; c < (g + 1) * each; c++) d += gamma[c] * plain[c], dn += gamma[c] * weighted[c];
            for (long i = 0; i < pixels * channels; i++) {
                const long c = i % channels;
                if (c / each != g) continue;
                dx[b * pixels * channels + i] =
                    fmaf(-((xb[i] - m[g]) * r[g]), dn / count, dyb[i] * gamma[c] - d / count) * r[g];
            }
        }
    }
    parameter g = expect_parameter(channels, dgamma), b = expect_parameter(channels, dbeta);
    float *got = empty(n), *got_dx = empty(n), *got_mean = empty(batch * groups), *got_rstd = empty(batch * groups);
    EACH_POOL(pool) {
        deml_group_norm_forward(pool, batch, pixels, channels, groups, 1e-5f, x, gamma, beta, got, got_mean, got_rstd);
        deml_group_norm_backward(pool, batch, pixels, channels, groups, x, dy, gamma, got_mean, got_rstd, got_dx,
                                 sink_of(&g), sink_of(&b));
        same_floats(pool, "mean", got_mean, mean, batch * groups);
        same_floats(pool, "rstd", got_rstd, rstd, batch * groups);
        same_floats(pool, "y", got, y, n);
        same_floats(pool, "dx", got_dx, dx, n);
        same_parameter(pool, &g);
        same_parameter(pool, &b);
        took_at_most(pool, deml_group_norm_scratch(threads, deml_pool_isa(pool), batch, pixels, channels, groups,
                                                   true));
    }
}

/// The sum of each channel: 4 partial sums a block of rows, halved; blocks in order.
static void channel_sums(long rows, long channels, const float *terms, float *sums) {
    const long even = (rows + 255) / 256, block = even > 256 ? even : 256;
    for (long c = 0; c < channels; c++) {
        sums[c] = 0;
        for (long first = 0; first < rows; first += block) {
            float s[4] = {0};
            for (long r = first; r < first + block && r < rows; r++) s[(r - first) % 4] += terms[r * channels + c];
            sums[c] += (s[0] + s[2]) + (s[1] + s[3]);
        }
    }
}
/// The same of products, each added in one rounding.
static void channel_products(long rows, long channels, const float *a, const float *b, float *sums) {
    const long even = (rows + 255) / 256, block = even > 256 ? even : 256;
    for (long c = 0; c < channels; c++) {
        sums[c] = 0;
        for (long first = 0; first < rows; first += block) {
            float s[4] = {0};
            for (long r = first; r < first + block && r < rows; r++)
                s[(r - first) % 4] = fmaf(a[r * channels + c], b[r * channels + c], s[(r - first) % 4]);
            sums[c] += (s[0] + s[2]) + (s[1] + s[3]);
        }
    }
}

static void batch_norm(void) {
    long rows = mostly_small(1, 3000), channels = mostly_small(1, 90);
    if (large) rows = 65536 + any(1, 900), channels = any(1, 3);
    const long n = rows * channels;
    const bool wants_dx = any(0, 3) > 0, affine = any(0, 3) > 0, relu = any(0, 1);
    const deml_activation activation = relu ? DEML_RELU : DEML_IDENTITY;
    snprintf(what, sizeof what, "batch_norm rows %ld channels %ld%s%s%s", rows, channels,
             wants_dx ? "" : " without dx", affine ? "" : " not affine", relu ? " relu" : "");
    const float *x = floats(n, 3), *dy = floats(n, 1), *gamma = floats(channels, 1), *beta = floats(channels, 1);
    const float *old_mean = floats(channels, 1), *old_var = floats(channels, 1);
    float *mean = empty(channels), *rstd = empty(channels), *sums = empty(channels), *running_mean = empty(channels);
    float *running_var = empty(channels), *away = empty(n), *normal = empty(n), *y = empty(n), *dx = empty(n);
    float *dgamma = empty(channels), *dbeta = empty(channels), *inference = empty(n);
    channel_sums(rows, channels, x, sums);
    for (long c = 0; c < channels; c++) mean[c] = sums[c] / (float)rows;
    for (long i = 0; i < n; i++) away[i] = x[i] - mean[i % channels];
    channel_products(rows, channels, away, away, sums);
    for (long c = 0; c < channels; c++) {
        rstd[c] = 1 / sqrtf(sums[c] / (float)rows + 1e-5f);
        running_mean[c] = old_mean[c] + 0.1f * (mean[c] - old_mean[c]);
        running_var[c] = old_var[c] + 0.1f * (sums[c] / (float)(rows > 1 ? rows - 1 : 1) - old_var[c]);
    }
    for (long i = 0; i < n; i++) normal[i] = away[i] * rstd[i % channels];
    float *before = empty(n);  // the gradient before the relu
    for (long i = 0; i < n; i++) {
        const long c = i % channels;
        y[i] = fmaf(normal[i], affine ? gamma[c] : 1, affine ? beta[c] : 0);
        before[i] = relu && !(y[i] > 0) ? 0 : dy[i];
        if (relu && !(y[i] > 0)) y[i] = 0;
    }
    channel_products(rows, channels, before, normal, dgamma);
    channel_sums(rows, channels, before, dbeta);
    for (long i = 0; i < n; i++) {
        const long c = i % channels;
        const float g = affine ? gamma[c] : 1, b = affine ? beta[c] : 0;
        const float d = dbeta[c] / (float)rows, dn = dgamma[c] / (float)rows;
        const float of_run = 1 / sqrtf((running_var[c] > 0 ? running_var[c] : 0) + 1e-5f);
        dx[i] = fmaf(-normal[i], dn, before[i] - d) * (affine ? g * rstd[c] : rstd[c]);
        inference[i] = fmaf((x[i] - running_mean[c]) * of_run, g, b);
        if (relu && !(inference[i] > 0)) inference[i] = 0;
    }
    parameter g = expect_parameter(channels, dgamma), b = expect_parameter(channels, dbeta);
    float *got = empty(n), *got_mean = empty(channels), *got_rstd = empty(channels);
    EACH_POOL(pool) {
        float *got_running = copy_of(old_mean, channels), *got_var = copy_of(old_var, channels);
        const float *gammas = affine ? gamma : NULL, *betas = affine ? beta : NULL;
        const deml_isa isa = deml_pool_isa(pool);
        deml_batch_norm_forward(pool, rows, channels, 1e-5f, 0.1f, x, gammas, betas, activation, got, got_mean,
                                got_rstd, got_running, got_var);
        same_floats(pool, "mean", got_mean, mean, channels);
        same_floats(pool, "rstd", got_rstd, rstd, channels);
        same_floats(pool, "running mean", got_running, running_mean, channels);
        same_floats(pool, "running variance", got_var, running_var, channels);
        same_floats(pool, "y", got, y, n);
        deml_batch_norm_backward(pool, rows, channels, x, dy, gammas, betas, activation, got_mean, got_rstd,
                                 wants_dx ? got : NULL, affine ? sink_of(&g) : NULL, affine ? sink_of(&b) : NULL);
        if (wants_dx) same_floats(pool, "dx", got, dx, n);
        if (affine) same_parameter(pool, &g), same_parameter(pool, &b);
        took_at_most(pool, deml_batch_norm_scratch(threads, isa, rows, channels, true));
        deml_batch_norm_inference(pool, rows, channels, 1e-5f, got_running, got_var, x, gammas, betas,
                                  activation, got);
        same_floats(pool, "inference", got, inference, n);
    }
}

// MARK: Softmax and losses

static void losses(void) {
    const long rows = mostly_small(1, 70), classes = mostly_small(1, 600), n = rows * classes;
    const float smoothing = any(0, 1) ? 0.1f : 0, delta = (float)any(1, 30) / 5;
    const deml_output_loss loss = (deml_output_loss)any(0, DEML_OUTPUT_LOSS_COUNT - 1);
    snprintf(what, sizeof what, "softmax, losses rows %ld classes %ld smoothing %g loss %d", rows, classes,
             (double)smoothing, (int)loss);
    const float *x = floats(n, 5), *target = floats(n, 5);
    int32_t *labels = take(rows, 4);
    uint8_t *correct = take(rows, 1), *got_correct = take(rows, 1);
    float *shifted = empty(n), *softmax = empty(n), *entropy = empty(rows), *dx = empty(n), *sum = empty(rows);
    float *square = empty(rows), *square_dx = empty(n), *maximum = empty(rows);
    for (long i = 0; i < n; i++) {
        float *const m = &maximum[i / classes];
        if (i % classes == 0 || x[i] > *m) *m = x[i];
    }
    for (long i = 0; i < n; i++) shifted[i] = x[i] - maximum[i / classes];
    const float *exponentials = function(DEML_FUNCTION_EXP, n, shifted);
    for (long r = 0; r < rows; r++) {
        float sums[16] = {0};
        for (long c = 0; c < classes; c++) sums[c % 16] += exponentials[r * classes + c];
        sum[r] = halved(sums);
    }
    const float *logarithms = function(DEML_FUNCTION_LOG, rows, sum);
    const bool ignores = any(0, 2) == 0;
    long counted = 0;
    for (long r = 0; r < rows; r++) {
        labels[r] = ignores && any(0, 2) == 0 ? -100 : (int32_t)any(0, classes - 1);
        counted += labels[r] >= 0;
    }
    const float share = smoothing / (float)classes, scale = 1 / (float)counted;
    const float each = (loss == DEML_SQUARED_ERROR ? 2 : 1) / ((float)rows * (float)classes);
    float *far = empty(n), *minus = empty(n), *one_more = empty(n);
    for (long i = 0; i < n; i++) far[i] = -fabsf(x[i]), minus[i] = -x[i];
    const float *small = function(DEML_FUNCTION_EXP, n, far), *downs = function(DEML_FUNCTION_EXP, n, minus);
    for (long i = 0; i < n; i++) one_more[i] = 1 + small[i];
    const float *logs = function(DEML_FUNCTION_LOG, n, one_more);
    for (long r = 0; r < rows; r++) {
        const float *s = shifted + r * classes;
        float sums[16] = {0}, squares[16] = {0};
        const bool counts = labels[r] >= 0;
        entropy[r] = counts ? logarithms[r] - (1 - smoothing) * s[labels[r]] : 0;
        correct[r] = counts && s[labels[r]] == 0;
        for (long c = 0; c < labels[r]; c++) correct[r] &= s[c] < 0;
        for (long c = 0; c < classes; c++) {
            const long i = r * classes + c;
            softmax[i] = exponentials[i] / sum[r];
            sums[c % 16] += s[c];
            const float wanted = c == labels[r] ? share + (1 - smoothing) : share;
            dx[i] = counts ? (exponentials[i] * (1 / sum[r]) - wanted) * scale : 0;
            const float d = x[i] - target[i], size = fabsf(d), more = one_more[i] - 1;
            float *const s16 = &squares[c % 16], slope = 0;
            switch (loss) {
            case DEML_SQUARED_ERROR: *s16 = fmaf(d, d, *s16), slope = d; break;
            case DEML_ABSOLUTE_ERROR: *s16 += size, slope = d > 0 ? 1 : d < 0 ? -1 : 0; break;
            case DEML_HUBER:
                *s16 += size < delta ? d * 0.5f * d : (size - 0.5f * delta) * delta;
                slope = d > -delta ? d < delta ? d : delta : -delta;
                break;
            default:
                *s16 += fmaf(-x[i], target[i], x[i] > 0 ? x[i] : 0) + (more == 0 ? small[i] : logs[i] * small[i] / more);
                slope = 1 / (1 + downs[i]) - target[i];
            }
            square_dx[i] = slope * each;
        }
        if (smoothing != 0 && counts) entropy[r] -= share * halved(sums);
        square[r] = halved(squares) / (float)classes;
    }
    float *got = empty(n), *got_losses = empty(rows);
    EACH_POOL(pool) {
        deml_softmax_forward(pool, rows, classes, x, got);
        same_floats(pool, "softmax", got, softmax, n);
        deml_cross_entropy(pool, rows, classes, x, labels, smoothing, got_losses, got_correct, got);
        same_floats(pool, "cross entropy", got_losses, entropy, rows);
        same_floats(pool, "gradient of the cross entropy", got, dx, n);
        same(pool, "correct", got_correct, correct, rows);
        deml_compare_outputs(pool, loss, delta, rows, classes, x, target, got_losses, got);
        same_floats(pool, "loss of the outputs", got_losses, square, rows);
        same_floats(pool, "gradient by the outputs", got, square_dx, n);
    }
}

// MARK: Elementwise, layout

/// e^x - 1, `e` being e^x: for small x the exponential's polynomial without its last term.
static float minus_one(float x, float e) {
    if (!(fabsf(x) < 0.34657359f)) return e - 1;
    const float factors[] = {8.37312452e-3f, 4.16695364e-2f, 1.66664720e-1f, 4.99999851e-1f, 1};
    float p = 1.37805939e-3f;
    for (int i = 0; i < 5; i++) p = fmaf(p, x, factors[i]);
    return p * x;
}

static void activation(void) {
    const deml_activation kind = (deml_activation)any(DEML_IDENTITY, DEML_ACTIVATION_COUNT - 1);
    const deml_activation_options options = {(float)any(1, 20) / 8, (float)any(0, 20)};
    const long count = mostly_small(1, 40000);
    snprintf(what, sizeof what, "activation %d count %ld", (int)kind, count);
    const float *x = floats(count, 10), *dy = floats(count, 1);
    float *minus = empty(count), *root = empty(count), *half_square = empty(count);
    float *y = empty(count), *dx = empty(count);
    for (long i = 0; i < count; i++)
        minus[i] = -x[i], root[i] = x[i] * 0.70710678f, half_square[i] = x[i] * x[i] * -0.5f;
    const float *tanhs = function(DEML_FUNCTION_TANH, count, x), *exps = function(DEML_FUNCTION_EXP, count, minus);
    const float *erfs = function(DEML_FUNCTION_ERF, count, root);
    const float *bells = function(DEML_FUNCTION_EXP, count, half_square);
    const float alpha = options.alpha;
    float *angle = empty(count), *down = empty(count), *far = empty(count), *one_more = empty(count);
    for (long i = 0; i < count; i++) {
        angle[i] = x[i] * fmaf(x[i] * x[i], 0.035677408f, 0.79788456f);
        down[i] = -(x[i] * alpha), far[i] = -fabsf(x[i] * alpha);
    }
    const float *ups = function(DEML_FUNCTION_EXP, count, x), *angles = function(DEML_FUNCTION_TANH, count, angle);
    const float *downs = function(DEML_FUNCTION_EXP, count, down), *small = function(DEML_FUNCTION_EXP, count, far);
    for (long i = 0; i < count; i++) one_more[i] = 1 + small[i];
    const float *logs = function(DEML_FUNCTION_LOG, count, one_more);
    for (long i = 0; i < count; i++) {
        const float v = x[i], sigmoid = 1 / (1 + exps[i]), normal = fmaf(erfs[i], 0.5f, 0.5f);
        const float shifted = v + 3, sixth = (shifted > 0 ? shifted < 6 ? shifted : 6 : 0) * (1.0f / 6);
        switch (kind) {
        case DEML_RELU: y[i] = v > 0 ? v : 0, dx[i] = v > 0 ? dy[i] : 0; break;
        case DEML_LEAKY_RELU: y[i] = v > 0 ? v : v * alpha, dx[i] = v > 0 ? dy[i] : dy[i] * alpha; break;
        case DEML_GELU: y[i] = v * normal, dx[i] = dy[i] * fmaf(v * 0.39894228f, bells[i], normal); break;
        case DEML_TANH: y[i] = tanhs[i], dx[i] = dy[i] * fmaf(-y[i], y[i], 1); break;
        case DEML_SIGMOID: y[i] = sigmoid, dx[i] = dy[i] * (y[i] * (1 - y[i])); break;
        case DEML_SILU: y[i] = v / (1 + exps[i]), dx[i] = dy[i] * (sigmoid * fmaf(v, 1 - sigmoid, 1)); break;
        case DEML_RELU6: y[i] = v > 0 ? v < 6 ? v : 6 : 0, dx[i] = v > 0 && v < 6 ? dy[i] : 0; break;
        case DEML_HARD_SIGMOID: y[i] = sixth, dx[i] = v > -3 && v < 3 ? dy[i] * (1.0f / 6) : 0; break;
        case DEML_HARD_SWISH:
            y[i] = v * sixth, dx[i] = v > -3 ? v < 3 ? dy[i] * fmaf(v, 1.0f / 3, 0.5f) : dy[i] : 0;
            break;
        case DEML_ELU:
            y[i] = v > 0 ? v : minus_one(v, ups[i]) * alpha, dx[i] = v > 0 ? dy[i] : dy[i] * (ups[i] * alpha);
            break;
        case DEML_GELU_TANH:
            y[i] = v * fmaf(angles[i], 0.5f, 0.5f);
            dx[i] = dy[i] * fmaf(v * 0.5f * fmaf(v * v, 0.10703222f, 0.79788456f), fmaf(-angles[i], angles[i], 1),
                                 fmaf(angles[i], 0.5f, 0.5f));
            break;
        case DEML_SOFTPLUS: {
            const float e = small[i], d = one_more[i] - 1, rest = d == 0 ? e : logs[i] * e / d;
            y[i] = v * alpha > options.threshold ? v : ((v * alpha > 0 ? v * alpha : 0) + rest) / alpha;
            dx[i] = v * alpha > options.threshold ? dy[i] : dy[i] * (1 / (1 + downs[i]));
            break;
        }
        default: y[i] = v, dx[i] = dy[i];
        }
    }
    float *got = empty(count), *got_dx = empty(count);
    EACH_POOL(pool) {
        deml_activation_forward(pool, kind, options, count, x, got);
        deml_activation_backward(pool, kind, options, count, x, got, dy, got_dx);
        same_floats(pool, "y", got, y, count);
        same_floats(pool, "dx", got_dx, dx, count);
    }
}

static void arithmetic(void) {
    const long count = mostly_small(1, 200000);
    const float p = (float)any(0, 10) / 10, factor = (float)any(-30, 30) / 7;
    const deml_random position = {next(), (uint32_t)any(0, 255), (uint32_t)any(0, 99), (uint32_t)any(0, 99999),
                                  (uint32_t)any(0, 99)};
    const deml_optimizer optimizer = any_optimizer();
    snprintf(what, sizeof what, "arithmetic, dropout, optimiser %d count %ld p %g", (int)optimizer.kind, count,
             (double)p);
    const float *x = floats(count, 2), *y = floats(count, 2);
    float *m = floats(count, 1), *v = floats(count, 1), *dropped = empty(count), *value = copy_of(y, count);
    for (long i = 0; i < count; i++) v[i] *= v[i];
    for (long i = 0; optimizer.kind == DEML_RMSPROP && i < count; i++) m[i] *= m[i];
    float *state1 = copy_of(m, count), *state2 = copy_of(v, count), *sum = empty(count), *scaled = empty(count);
    float *product = empty(count), *difference = empty(count);
    update(&optimizer, count, x, value, state1, state2);
    const double threshold = (double)p * 4294967296.0;
    double squares = 0;
    const long even = ((count + 255) / 256 + 15) / 16 * 16, block = even > 4096 ? even : 4096;
    for (long first = 0; first < count; first += block) {
        double s[16] = {0};
        for (long i = first; i < first + block && i < count; i++) s[(i - first) % 16] += (double)x[i] * (double)x[i];
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++) s[i] += s[i + half];
        squares += s[0];
    }
    for (long i = 0; i < count; i++) {
        uint32_t words[4];
        deml_philox(&position, (uint32_t)(i / 64 * 16 + i % 16), words);
        const uint32_t limit = threshold >= 4294967295.0 ? UINT32_MAX : (uint32_t)threshold;
        dropped[i] = words[i / 16 % 4] < limit ? 0 : x[i] * (p < 1 ? 1 / (1 - p) : 0);
        sum[i] = x[i] + y[i], scaled[i] = y[i] * factor, product[i] = x[i] * y[i];
        difference[i] = x[i] - y[i];
    }
    float *got = empty(count), *got1 = empty(count), *got2 = empty(count), *relu_sum = empty(count);
    EACH_POOL(pool) {
        deml_dropout(pool, &position, p, count, x, got);
        same_floats(pool, "dropout", got, dropped, count);
        deml_multiply(pool, count, x, y, got);
        same_floats(pool, "product", got, product, count);
        deml_subtract(pool, count, x, y, got);
        same_floats(pool, "difference", got, difference, count);
        memcpy(got, y, (size_t)count * 4);
        deml_add(pool, count, x, got);
        same_floats(pool, "sum", got, sum, count);
        deml_sum(pool, count, x, y, DEML_IDENTITY, got);
        same_floats(pool, "sum of two", got, sum, count);
        deml_sum(pool, count, x, y, DEML_RELU, got);
        for (long i = 0; i < count; i++) relu_sum[i] = sum[i] > 0 ? sum[i] : 0;
        same_floats(pool, "sum and relu", got, relu_sum, count);
        memcpy(got, y, (size_t)count * 4);
        deml_scale(pool, count, factor, got);
        same_floats(pool, "scaled", got, scaled, count);
        memcpy(got, y, (size_t)count * 4), memcpy(got1, m, (size_t)count * 4), memcpy(got2, v, (size_t)count * 4);
        deml_optimizer_step(pool, &optimizer, count, x, got, got1, got2);
        same_floats(pool, "value", got, value, count);
        same_floats(pool, "first state", got1, state1, count);
        same_floats(pool, "second state", got2, state2, count);
        const double got_squares = deml_sum_of_squares(pool, count, x);
        same(pool, "sum of squares", &got_squares, &squares, 8);
        if (!deml_all_finite(pool, count, x)) same(pool, "all finite", "no  ", "yes ", 4);
    }
}

static void layout(void) {
    long batch = mostly_small(1, 70), channels = mostly_small(1, 64), pixels = mostly_small(1, 1200);
    while (batch * channels * pixels > 60000) *(pixels > channels ? &pixels : &channels) /= 2;
    const long size = channels * pixels, n = batch * size, rows = any(1, 100);
    snprintf(what, sizeof what, "layout, gathering batch %ld channels %ld pixels %ld of %ld", batch, channels, pixels,
             rows);
    const float *x = floats(n, 1), *table = floats(rows * size, 1), *scale = floats(channels, 1);
    const float *shift = floats(channels, 1);
    uint8_t *bytes = take(rows * size, 1);
    int64_t *indices = take(batch, 8);
    float *turned = empty(n), *from_bytes = empty(n), *from_floats = empty(n), *got = empty(n), *back = empty(n);
    for (long i = 0; i < rows * size; i++) bytes[i] = (uint8_t)next();
    for (long b = 0; b < batch; b++) indices[b] = any(0, rows - 1);
    for (long i = 0; i < n; i++) {
        const long b = i / size, p = i % size / channels, c = i % channels, from = indices[b] * size + c * pixels + p;
        turned[i] = x[b * size + c * pixels + p];
        from_bytes[i] = fmaf((float)bytes[from], scale[c], shift[c]);
        from_floats[i] = fmaf(table[from], scale[c], shift[c]);
    }
    EACH_POOL(pool) {
        deml_gather_u8(pool, batch, channels, pixels, bytes, indices, scale, shift, got);
        same_floats(pool, "gathered bytes", got, from_bytes, n);
        took_at_most(pool, deml_gather_scratch(threads, deml_pool_isa(pool), batch, channels, pixels));
        deml_gather_f32(pool, batch, channels, pixels, table, indices, scale, shift, got);
        same_floats(pool, "gathered floats", got, from_floats, n);
        took_at_most(pool, deml_gather_scratch(threads, deml_pool_isa(pool), batch, channels, pixels));
        deml_nchw_to_nhwc(pool, batch, channels, pixels, x, got);
        same_floats(pool, "channels last", got, turned, n);
        deml_nhwc_to_nchw(pool, batch, channels, pixels, got, back);
        same_floats(pool, "channels first", back, x, n);
        deml_linear_weights_import(pool, size, batch, x, got);
        for (long o = 0; o < batch; o++)
            for (long i = 0; i < size; i += 7)
                same(pool, "imported", got + weight_at(size, batch, i, o), x + o * size + i, 4);
        deml_linear_weights_export(pool, size, batch, got, back);
        same_floats(pool, "exported", back, x, n);
        deml_conv2d_weights_import(pool, channels, batch, 1, pixels, x, got);
        deml_conv2d_weights_export(pool, channels, batch, 1, pixels, got, back);
        same_floats(pool, "exported convolution", back, x, n);
    }
}

static void gates(void) {
    const long batch = mostly_small(1, 40), pixels = mostly_small(1, 60), channels = mostly_small(1, 90);
    const long n = batch * pixels * channels, wide = channels + any(0, 9), begin = any(0, wide - channels);
    snprintf(what, sizeof what, "gate batch %ld pixels %ld channels %ld in rows of %ld", batch, pixels, channels, wide);
    const float *x = floats(n, 1), *dy = floats(n, 1), *gate = floats(batch * channels, 1), *old = floats(n, 1);
    float *y = empty(n), *dgate = zeros(batch * channels), *dx = copy_of(old, n), *columns = zeros(batch * pixels * wide);
    for (long i = 0; i < n; i++) {
        const long c = i % channels, row = i / channels, at = row / pixels * channels + c;
        y[i] = x[i] * gate[at];
        dgate[at] = fmaf(dy[i], x[i], dgate[at]);
        dx[i] = fmaf(dy[i], gate[at], dx[i]);
        columns[row * wide + begin + c] = x[i];
    }
    float *got = empty(n), *got_gate = empty(batch * channels), *got_columns = empty(batch * pixels * wide);
    EACH_POOL(pool) {
        deml_gate_forward(pool, batch, pixels, channels, x, gate, got);
        same_floats(pool, "y", got, y, n);
        deml_gate_gradient(pool, batch, pixels, channels, x, dy, got_gate);
        same_floats(pool, "gradient of the gate", got_gate, dgate, batch * channels);
        memcpy(got, old, (size_t)n * 4);
        deml_gate_input_gradient(pool, batch, pixels, channels, gate, dy, got);
        same_floats(pool, "dx", got, dx, n);
        memset(got_columns, 0, (size_t)(batch * pixels * wide) * 4);
        deml_copy_columns(pool, batch * pixels, channels, x, channels, got_columns + begin, wide);
        same_floats(pool, "columns", got_columns, columns, batch * pixels * wide);
        deml_copy_columns(pool, batch * pixels, channels, columns + begin, wide, got, channels);
        same_floats(pool, "columns back", got, x, n);
    }
}

// MARK: Tokens, attention, recurrent layers

static void tokens(void) {
    const long batch = mostly_small(1, 20), length = mostly_small(1, 40), width = mostly_small(1, 200);
    const long count = large ? any(400, 3000) : mostly_small(1, 100), rows = batch * length, n = rows * width;
    const long padding = any(0, 1) ? any(0, count - 1) : -1, all = length * width + any(0, 1) * any(0, 300);
    const bool starts = any(0, 1);
    snprintf(what, sizeof what, "tokens batch %ld length %ld width %ld count %ld padding %ld", batch, length, width, count,
             padding);
    const float *weights = floats(count * width, 1), *dy = floats(n, 1), *start = floats(count * width, 1);
    const float *position = floats(all, 1);
    float *ids = empty(rows), *y = empty(n), *sum = starts ? copy_of(start, count * width) : zeros(count * width);
    float *added = empty(n), *dposition = zeros(all), *got = empty(n);
    for (long r = 0; r < rows; r++) ids[r] = (float)any(0, count - 1);
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < width; i++) {
            const long at = r * width + i, id = (long)ids[r], place = r % length * width + i;
            y[at] = weights[id * width + i];
            if (id != padding) sum[id * width + i] += dy[at];
            added[at] = y[at] + position[place];
            dposition[place] += dy[at];
        }
    parameter embedding = expect_parameter(count * width, sum), positions = expect_parameter(all, dposition);
    EACH_POOL(pool) {
        const deml_isa isa = deml_pool_isa(pool);
        deml_embedding_forward(pool, rows, width, ids, weights, got);
        same_floats(pool, "embedding", got, y, n);
        deml_add_positions(pool, batch, length * width, y, position, got);
        same_floats(pool, "positions", got, added, n);
        deml_embedding_gradient(pool, rows, count, width, ids, dy, starts ? start : NULL, padding, sink_of(&embedding));
        same_parameter(pool, &embedding);
        took_at_most(pool, deml_embedding_scratch(threads, isa, count, width));
        deml_position_gradient(pool, batch, length * width, all, dy, sink_of(&positions));
        same_parameter(pool, &positions);
        took_at_most(pool, deml_scratch_of_both(deml_embedding_scratch(threads, isa, count, width),
                                                deml_position_scratch(threads, isa, all)));
    }
}

/// dropout's factor of element j of a row: a row begins at a multiple of 64.
static float kept(const deml_random *random, const deml_attention *s, long row, long j) {
    if (s->dropout == 0) return 1;
    const long at = row * ((s->tokens + 63) / 64 * 64) + j;
    uint32_t words[4];
    deml_philox(random, (uint32_t)(at / 64 * 16 + at % 16), words);
    return words[at / 16 % 4] >= (uint32_t)((double)s->dropout * 4294967296.0) ? 1 / (1 - s->dropout) : 0;
}

static void attention(void) {
    deml_attention s = {mostly_small(1, 6), mostly_small(1, 130), mostly_small(1, 5), mostly_small(1, 70), any(0, 1),
                        any(0, 1) ? 0.3f : 0};
    while (s.batch * s.heads * s.tokens * s.tokens * s.width > FEW_OPERATIONS && s.batch * s.heads > 1)
        if (s.batch > 1) s.batch--;
        else s.heads--;
    if (large) {  // kᵀ is more than a megabyte
        s.batch = s.heads = 1, s.tokens = any(33, 60), s.width = LARGE / s.tokens + any(1, 50);
    }
    const deml_random random = {next(), 1, (uint32_t)any(0, 9), (uint32_t)any(0, 9), (uint32_t)any(0, 9)};
    snprintf(what, sizeof what, "attention batch %ld tokens %ld heads %ld width %ld%s dropout %g", s.batch, s.tokens, s.heads,
             s.width, s.causal ? " causal" : "", (double)s.dropout);
    const long T = s.tokens, D = s.width, E = s.heads * D, n = s.batch * T * E, block = DEML_ATTENTION_ROWS;
    const float *qkv = floats(3 * n, 2), *dy = floats(n, 1), scale = 1 / sqrtf((float)D);
    float *y = zeros(n), *statistics = empty(s.batch * s.heads * T * 2), *dqkv = zeros(3 * n);
    float *scaled = empty(D), *scores = empty(T), *dp = empty(T), *p = empty(T), *ds = empty(T);
    float *kt = empty(T * D), *vt = empty(T * D), *moved = empty(T);
    for (long head = 0; head < s.batch * s.heads; head++) {
        const long base = head / s.heads * T * 3 * E + head % s.heads * D, out = head / s.heads * T * E + head % s.heads * D;
        const float *q = qkv + base, *k = q + E, *v = k + E;
        float *dq = dqkv + base, *dk = dq + E, *dv = dk + E;
        for (long t = 0; t < T; t++)
            for (long d = 0; d < D; d++) kt[d * T + t] = k[t * 3 * E + d], vt[d * T + t] = v[t * 3 * E + d];
        for (long i = 0; i < T; i++) {
            const long sees = s.causal ? i + 1 : T, keys = s.causal && i / block * block + block < T ? i / block * block + block : T;
            memset(scores, 0, (size_t)T * 4), memset(dp, 0, (size_t)T * 4);
            for (long d = 0; d < D; d++) {
                scaled[d] = q[i * 3 * E + d] * scale;
                step(scaled[d], kt + d * T, scores, keys);
            }
            float maximum = scores[0], sums[16] = {0};
            for (long j = 1; j < sees; j++) maximum = scores[j] > maximum ? scores[j] : maximum;
            for (long j = 0; j < sees; j++) moved[j] = scores[j] - maximum;
            deml_function_values(reference, DEML_FUNCTION_EXP, sees, moved, p);
            for (long j = 0; j < sees; j++) sums[j % 16] += p[j];
            const float sum = halved(sums);
            statistics[2 * (head * T + i)] = maximum, statistics[2 * (head * T + i) + 1] = sum;
            float *to = y + out + i * E, parts[16] = {0};
            const float *from = dy + out + i * E;
            for (long j = 0; j < keys; j++)
                step(j < sees ? p[j] * kept(&random, &s, head * T + i, j) : 0, v + j * 3 * E, to, D);
            for (long d = 0; d < D; d++) to[d] /= sum;
            for (long d = 0; d < D; d++) parts[d % 16] = fmaf(from[d], to[d], parts[d % 16]);
            const float dot = halved(parts);
            for (long d = 0; d < D; d++) step(from[d], vt + d * T, dp, keys);
            for (long j = 0; j < keys; j++) {
                const float weight = j < sees ? p[j] / sum : 0, factor = kept(&random, &s, head * T + i, j);
                ds[j] = j < sees ? weight * (dp[j] * factor - dot) : 0;
                step(weight * factor, from, dv + j * 3 * E, D);
                step(ds[j], scaled, dk + j * 3 * E, D);
            }
            for (long j = 0; j < keys; j++) step(ds[j], k + j * 3 * E, dq + i * 3 * E, D);
            for (long d = 0; d < D; d++) dq[i * 3 * E + d] *= scale;
        }
    }
    float *got = empty(n), *got_statistics = empty(s.batch * s.heads * T * 2), *got_dqkv = empty(3 * n);
    EACH_POOL(pool) {
        deml_attention_forward(pool, &s, &random, qkv, got, got_statistics);
        same_floats(pool, "y", got, y, n);
        took_at_most(pool, deml_attention_scratch(threads, deml_pool_isa(pool), &s, false));
        same_floats(pool, "statistics", got_statistics, statistics, s.batch * s.heads * T * 2);
        deml_attention_backward(pool, &s, &random, qkv, y, statistics, dy, got_dqkv);
        same_floats(pool, "dqkv", got_dqkv, dqkv, 3 * n);
        took_at_most(pool, deml_attention_scratch(threads, deml_pool_isa(pool), &s, true));
    }
}

static float *sigmoids(long count, const float *x) {
    float *negative = empty(count);
    for (long i = 0; i < count; i++) negative[i] = -x[i];
    float *y = function(DEML_FUNCTION_EXP, count, negative);
    for (long i = 0; i < count; i++) y[i] = 1.0f / (1.0f + y[i]);
    return y;
}

static void recurrent(void) {
    const bool gru = any(0, 1), first = any(0, 1), final = any(0, 1);
    const long batch = mostly_small(1, 30), hidden = mostly_small(1, 300), kinds = gru ? 3 : 4;
    const long gates_stride = kinds * hidden + any(0, 4), stride = hidden + any(0, 4), ng = batch * gates_stride;
    const long n = batch * stride, count = batch * hidden;
    snprintf(what, sizeof what, "%s batch %ld hidden %ld", gru ? "gru" : "lstm", batch, hidden);
    const float *gates = floats(ng, 3), *other = floats(ng, 3), *before = floats(n, 1), *dy = floats(n, 1);
    const float *dh = floats(count, 1), *carried = floats(count, 1);
    float *got_gates = empty(ng), *got_other = empty(ng), *h = copy_of(dy, n), *cell = copy_of(dy, n);
    float *got_h = empty(n), *got_cell = empty(n), *got_carried = empty(count);
    float *forward = copy_of(gates, ng), *back = copy_of(gates, ng), *back_other = copy_of(other, ng), *dbefore = empty(count);
    float *z[4], *f[4];
    for (int g = 0; g < kinds; g++) {
        z[g] = empty(count);
        for (long i = 0; i < count; i++) {
            const long at = i / hidden * gates_stride + g * hidden + i % hidden;
            z[g][i] = gru && g < 2 ? gates[at] + other[at]
                      : gru ? fmaf(f[0][i], other[at], gates[at]) : gates[at];
        }
        f[g] = g == 2 ? function(DEML_FUNCTION_TANH, count, z[g]) : sigmoids(count, z[g]);
    }
    float *cells = empty(count);
    for (long i = 0; i < count; i++) {
        const float past = first ? 0 : before[i / hidden * stride + i % hidden];
        cells[i] = gru ? fmaf(f[1][i], past - f[2][i], f[2][i]) : fmaf(f[1][i], past, f[0][i] * f[2][i]);
    }
    const float *squashed = gru ? cells : function(DEML_FUNCTION_TANH, count, cells);
    for (long i = 0; i < count; i++) {
        const long row = i / hidden, unit = i % hidden, at = row * gates_stride + unit;
        const float past = first ? 0 : before[row * stride + unit], later = final ? 0 : dh[i];
        for (int g = 0; g < kinds; g++) forward[at + g * hidden] = f[g][i];
        h[row * stride + unit] = gru ? cells[i] : f[3][i] * squashed[i];
        if (!gru) {
            cell[row * stride + unit] = cells[i];
            const float d = later + dy[row * stride + unit];
            const float dcell = fmaf(d * f[3][i], fmaf(-squashed[i], squashed[i], 1), carried[i]);
            back[at] = dcell * f[2][i] * (f[0][i] * (1 - f[0][i]));
            back[at + hidden] = dcell * past * (f[1][i] * (1 - f[1][i]));
            back[at + 2 * hidden] = dcell * f[0][i] * fmaf(-f[2][i], f[2][i], 1);
            back[at + 3 * hidden] = d * squashed[i] * (f[3][i] * (1 - f[3][i]));
            dbefore[i] = dcell * f[1][i];
            continue;
        }
        const float d = dy[row * stride + unit] + (later + carried[i]);
        const float dnext = d * (1 - f[1][i]) * fmaf(-f[2][i], f[2][i], 1);
        back[at] = back_other[at] = dnext * other[at + 2 * hidden] * (f[0][i] * (1 - f[0][i]));
        back[at + hidden] = back_other[at + hidden] = d * (past - f[2][i]) * (f[1][i] * (1 - f[1][i]));
        back[at + 2 * hidden] = dnext;
        back_other[at + 2 * hidden] = dnext * f[0][i];
        dbefore[i] = d * f[1][i];
    }
    EACH_POOL(pool) {
        memcpy(got_gates, gates, (size_t)ng * 4), memcpy(got_other, other, (size_t)ng * 4);
        memcpy(got_h, dy, (size_t)n * 4), memcpy(got_cell, dy, (size_t)n * 4), memcpy(got_carried, carried, (size_t)count * 4);
        const deml_recurrent_step s = {batch, hidden, got_gates, gru ? got_other : NULL, gates_stride, first ? NULL : before,
                                       stride, got_cell, stride, got_h, stride, dy, stride, final ? NULL : dh, got_carried};
        gru ? deml_gru_forward(pool, &s) : deml_lstm_forward(pool, &s);
        same_floats(pool, "h", got_h, h, n);
        same_floats(pool, "c", got_cell, cell, n);
        same_floats(pool, "gates", got_gates, forward, ng);
        gru ? deml_gru_backward(pool, &s) : deml_lstm_backward(pool, &s);
        same_floats(pool, "gradient of the gates", got_gates, back, ng);
        if (gru) same_floats(pool, "gradient of the recurrent part", got_other, back_other, ng);
        same_floats(pool, "gradient of what was before", got_carried, dbefore, count);
    }
}

// MARK: Cases

static void run_case(void) {
    static void (*const kinds[])(void) = {convolution, convolution, convolution, linear, linear, gemm, pooling,
                                          layer_norm, group_norm, losses, activation, activation, arithmetic,
                                          layout, padding, resampling, gates, batch_norm, linear_rows, tokens,
                                          attention, attention, recurrent};
    state = seed * 0x2545f4914f6cdd1du;
    next();
    large = any(0, 2) == 0;
    threads = large ? any(1, 2) : any(1, 5);
    int count = 0;
    for (int isa = 0; isa < DEML_ISA_COUNT; isa++)
        if (deml_isa_available((deml_isa)isa)) pools[count++] = deml_pool_create(threads, (deml_isa)isa);
    kinds[any(0, (long)(sizeof kinds / sizeof *kinds) - 1)]();
    for (int i = 0; i < count; i++) deml_pool_destroy(pools[i]);
    memset(pools, 0, sizeof pools);
    while (allocation_count > 0) free(allocations[--allocation_count]);
}

int main(int argc, char **argv) {
    if (argc != 3) return fprintf(stderr, "usage: sweep FIRST_SEED COUNT\n"), 64;
    const uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
#if defined(SANITIZED)
    __sanitizer_set_death_callback(name_case);
#endif
    reference = deml_pool_create(1, DEML_PORTABLE);
    for (seed = first; seed < first + count && failures < 10; seed++) run_case();
    deml_pool_destroy(reference);
    if (failures > 0) return fprintf(stderr, "sweep: %ld results differ\n", failures), 1;
    printf("sweep: %llu cases from seed %llu hold\n", (unsigned long long)count, (unsigned long long)first);
    return 0;
}
