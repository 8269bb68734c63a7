// Orders of arrays: torch's and ours; batches gathered from a data set.
#include "internal.h"

typedef struct { long rows, columns, matrix; const float *from; float *to; } transpose_arguments;

/// to[column][row] = from[row][column], in blocks that fit the first cache.
static void transpose_block(long rows, long columns, const float *from, float *to, long begin, long end) {
    enum { BLOCK = 16 };
    for (long i = begin; i < end; i += BLOCK)
        for (long j = 0; j < columns; j += BLOCK)
            for (long r = i; r < deml_min(i + BLOCK, end); r++)
                for (long c = j; c < deml_min(j + BLOCK, columns); c++) to[c * rows + r] = from[r * columns + c];
}

/// Elements: rows of one matrix.
DEML_BODY(transpose_rows) {
    const transpose_arguments *a = arguments;
    transpose_block(a->rows, a->columns, a->from, a->to, begin, end);
}

/// Elements: matrices.
DEML_BODY(transpose_matrices) {
    const transpose_arguments *a = arguments;
    for (long b = begin; b < end; b++) {
        const long offset = b * a->rows * a->columns;
        transpose_block(a->rows, a->columns, a->from + offset, a->to + offset, 0, a->rows);
    }
}

static void transpose(deml_pool *pool, long rows, long columns, const float *from, float *to) {
    const transpose_arguments a = {rows, columns, 0, from, to};
    deml_run(pool, (deml_call){transpose_rows, &a, rows, 16, (double)columns, false});
}

static void transpose_each(deml_pool *pool, long count, long rows, long columns, const float *from, float *to) {
    const transpose_arguments a = {rows, columns, 0, from, to};
    deml_run(pool, (deml_call){transpose_matrices, &a, count, 1, (double)rows * (double)columns, false});
}

void deml_linear_weights_import(deml_pool *pool, long in, long out, const float *torch, float *ours) {
    for (long o = 0; o < out; o += deml_linear_block(out, o))
        transpose(pool, deml_linear_block(out, o), in, torch + o * in, ours + o * in);
}
void deml_linear_weights_export(deml_pool *pool, long in, long out, const float *ours, float *torch) {
    for (long o = 0; o < out; o += deml_linear_block(out, o))
        transpose(pool, in, deml_linear_block(out, o), ours + o * in, torch + o * in);
}

// [out][in][pixels] <-> [pixels][in][out], once per training: no need to be quick.
void deml_conv2d_weights_import(deml_pool *pool, long in, long out, long kh, long kw, const float *torch, float *ours) {
    (void)pool;
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++)
            for (long k = 0; k < kh * kw; k++) ours[(k * in + i) * out + o] = torch[(o * in + i) * kh * kw + k];
}
void deml_conv2d_weights_export(deml_pool *pool, long in, long out, long kh, long kw, const float *ours, float *torch) {
    (void)pool;
    for (long o = 0; o < out; o++)
        for (long i = 0; i < in; i++)
            for (long k = 0; k < kh * kw; k++) torch[(o * in + i) * kh * kw + k] = ours[(k * in + i) * out + o];
}

void deml_nchw_to_nhwc(deml_pool *pool, long batch, long channels, long pixels, const float *from, float *to) {
    transpose_each(pool, batch, channels, pixels, from, to);
}
void deml_nhwc_to_nchw(deml_pool *pool, long batch, long channels, long pixels, const float *from, float *to) {
    transpose_each(pool, batch, pixels, channels, from, to);
}

/// Asks for a row that will be read soon: shuffled rows are far apart, and nothing else could know which is next.
static void prefetch(const char *row, long bytes) {
    for (long i = 0; i < deml_min(bytes, 4096); i += 64) __builtin_prefetch(row + i);
}

/// Elements: examples. More than one channel: planes are normalised in scratch, then interleaved.
static void gather(const deml_gather_arguments *a, bool bytes, long begin, long end, deml_worker *worker) {
    const long size = deml_times(a->channels, a->pixels);
    float *planes = a->channels == 1 ? NULL : deml_cut(&worker->scratch, size);
    if (worker->scratch.measuring) return;
    for (long b = begin; b < end; b++) {
        const long from = (a->indices ? (long)a->indices[b] : b) * size;
        if (a->indices && b + 2 < end) {
            const long element = bytes ? 1 : (long)sizeof(float);
            prefetch((const char *)a->from + a->indices[b + 2] * size * element, size * element);
        }
        float *to = planes ? planes : a->to + b * size;
        for (long c = 0; c < a->channels; c++) {
            const long plane = from + c * a->pixels;
            if (bytes)
                worker->kernels->normalize_u8(a->pixels, (const uint8_t *)a->from + plane, a->scale[c], a->shift[c],
                                              to + c * a->pixels);
            else
                worker->kernels->normalize_f32(a->pixels, (const float *)a->from + plane, a->scale[c], a->shift[c],
                                               to + c * a->pixels);
        }
        if (a->channels > 1) transpose_block(a->channels, a->pixels, to, a->to + b * size, 0, a->channels);
    }
}
DEML_BODY(gather_u8) { gather(arguments, true, begin, end, worker); }
DEML_BODY(gather_f32) { gather(arguments, false, begin, end, worker); }

static deml_call gather_call(deml_body *body, long batch, const deml_gather_arguments *a) {
    return (deml_call){body, a, batch, 1, 2.5 * (double)a->channels * (double)a->pixels, true};
}
void deml_gather_u8(deml_pool *pool, long batch, long channels, long pixels, const uint8_t *from,
                    const int64_t *indices, const float *scale, const float *shift, float *to) {
    const deml_gather_arguments a = {channels, pixels, from, indices, scale, shift, to};
    deml_run(pool, gather_call(gather_u8, batch, &a));
}
void deml_gather_f32(deml_pool *pool, long batch, long channels, long pixels, const float *from,
                     const int64_t *indices, const float *scale, const float *shift, float *to) {
    const deml_gather_arguments a = {channels, pixels, from, indices, scale, shift, to};
    deml_run(pool, gather_call(gather_f32, batch, &a));
}
deml_scratch deml_gather_scratch(long threads, deml_isa isa, long batch, long channels, long pixels) {
    const deml_gather_arguments a = {.channels = channels, .pixels = pixels};
    const deml_call call = gather_call(gather_u8, batch, &a);
    return (deml_scratch){deml_call_scratch(deml_isa_kernels(isa), threads, &call), 0};
}

typedef struct { long width, from_stride, to_stride; const float *from; float *to; } copy_arguments;

/// Elements: rows.
DEML_BODY(copy_columns) {
    const copy_arguments *a = arguments;
    for (long r = begin; r < end; r++)
        memcpy(a->to + r * a->to_stride, a->from + r * a->from_stride, (size_t)a->width * sizeof(float));
}

void deml_copy_columns(deml_pool *pool, long rows, long width, const float *from, long from_stride, float *to,
                       long to_stride) {
    const copy_arguments a = {width, from_stride, to_stride, from, to};
    deml_run(pool, (deml_call){copy_columns, &a, rows, 1, 2 + (double)width / 4, false});
}
