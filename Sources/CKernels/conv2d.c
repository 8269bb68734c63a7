// Convolutions as matrix products whose rows point into a zero-padded copy of one image: nothing is unfolded.
// In an NHWC image the elements under one row of the kernel are contiguous, so a sum over (kh, kw, in) is
// `kernel_height` segments of kernel_width·in_channels.
#include "internal.h"

long deml_window_output(long size, long kernel, long stride, long padding) {
    return (size + 2 * padding - kernel) / stride + 1;
}

typedef struct {
    deml_conv2d s;
    long oh, ow;                         // output
    long padded_height, padded_width;    // of the image copy
    const float *x, *dy, *weights, *bias;
    float *to;
    bool relu;
    const deml_sink *weight_sink, *bias_sink;
} conv2d_arguments;

static long align_floats(long count) { return deml_ceil_div(count, 16) * 16; }

/// One image [height][width][channels] into the middle of zeros, `spread` elements apart (1: as it is).
static void pad_image(const float *image, long height, long width, long channels, long top, long left, long spread_h,
                      long spread_w, long padded_height, long padded_width, float *to) {
    memset(to, 0, (size_t)(padded_height * padded_width * channels) * sizeof(float));
    for (long h = 0; h < height; h++) {
        const float *from = image + h * width * channels;
        float *row = to + ((top + h * spread_h) * padded_width + left) * channels;
        if (spread_w == 1) memcpy(row, from, (size_t)(width * channels) * sizeof(float));
        else
            for (long w = 0; w < width; w++)
                memcpy(row + w * spread_w * channels, from + w * channels, (size_t)channels * sizeof(float));
    }
}

/// Rows begin ..< end of y, counted over all images. scratch: a padded image, the product's.
DEML_BODY(conv2d_forward) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long row_floats = a->padded_width * s->in_channels;
    float *padded = (float *)worker->scratch;
    char *scratch = (char *)(padded + align_floats(a->padded_height * row_floats));
    for (long row = begin; row < end;) {
        const long image = row / a->oh, first = row % a->oh, last = deml_min(a->oh, first + end - row);
        pad_image(a->x + image * s->height * s->width * s->in_channels, s->height, s->width, s->in_channels,
                  s->padding_height, s->padding_width, 1, 1, a->padded_height, a->padded_width, padded);
        const deml_product p = {
            .a = padded, .group = a->ow, .group_stride = s->stride_height * row_floats,
            .row_stride = s->stride_width * s->in_channels, .segments = s->kernel_height,
            .run = s->kernel_width * s->in_channels, .segment = row_floats, .step = 1, .b = a->weights,
            .b_stride = s->out_channels, .init = a->bias, .c = a->to + image * a->oh * a->ow * s->out_channels,
            .c_stride = s->out_channels, .relu = a->relu};
        deml_product_rows(worker->kernels, &p, first * a->ow, last * a->ow, s->out_channels, scratch);
        row += last - first;
    }
}

static void run_forward(deml_pool *pool, const conv2d_arguments *a) {
    const long k = a->s.kernel_height * a->s.kernel_width * a->s.in_channels;
    const long padded = align_floats(a->padded_height * a->padded_width * a->s.in_channels);
    deml_run(pool, conv2d_forward, a, a->s.batch * a->oh, 1,
             2.0 * (double)k * (double)a->ow * (double)a->s.out_channels / 16,
             padded * (long)sizeof(float) + deml_product_scratch(deml_pool_kernels(pool), a->s.kernel_height, k / a->s.kernel_height));
}

static conv2d_arguments prepare(const deml_conv2d *s) {
    return (conv2d_arguments){
        .s = *s, .oh = deml_window_output(s->height, s->kernel_height, s->stride_height, s->padding_height),
        .ow = deml_window_output(s->width, s->kernel_width, s->stride_width, s->padding_width),
        .padded_height = s->height + 2 * s->padding_height, .padded_width = s->width + 2 * s->padding_width};
}

void deml_conv2d_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.weights = weights, a.bias = bias, a.to = y, a.relu = activation == DEML_RELU;
    run_forward(pool, &a);
}

/// Rows begin ..< end of dx, counted over all images: dy, with stride - 1 zeros between its elements and kernel - 1
/// around it, convolved with the kernel turned by 180°. scratch: turned weights [kh][kw][out][in], padded dy, product's.
DEML_BODY(conv2d_input_gradient) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels, out = s->out_channels, taps = s->kernel_height * s->kernel_width;
    const long row_floats = a->padded_width * out;
    float *turned = (float *)worker->scratch, *padded = turned + align_floats(taps * in * out);
    char *scratch = (char *)(padded + align_floats(a->padded_height * row_floats));
    for (long t = 0; t < taps; t++)
        for (long o = 0; o < out; o++)
            for (long i = 0; i < in; i++)
                turned[(t * out + o) * in + i] = a->weights[((taps - 1 - t) * in + i) * out + o];
    for (long row = begin; row < end;) {
        const long image = row / s->height, first = row % s->height, last = deml_min(s->height, first + end - row);
        pad_image(a->dy + image * a->oh * a->ow * out, a->oh, a->ow, out, s->kernel_height - 1, s->kernel_width - 1,
                  s->stride_height, s->stride_width, a->padded_height, a->padded_width, padded);
        const deml_product p = {
            .a = padded + (s->padding_height * a->padded_width + s->padding_width) * out, .group = s->width,
            .group_stride = row_floats, .row_stride = out, .segments = s->kernel_height,
            .run = s->kernel_width * out, .segment = row_floats, .step = 1, .b = turned, .b_stride = in,
            .c = a->to + image * s->height * s->width * in, .c_stride = in};
        deml_product_rows(worker->kernels, &p, first * s->width, last * s->width, in, scratch);
        row += last - first;
    }
}

void deml_conv2d_input_gradient(deml_pool *pool, const deml_conv2d *shape, const float *dy, const float *weights,
                                float *dx) {
    conv2d_arguments a = prepare(shape);
    a.dy = dy, a.weights = weights, a.to = dx;
    // The last rows and columns may not be covered by any window: the copy reaches over them too.
    a.padded_height = shape->height + 2 * shape->padding_height + shape->kernel_height - 1;
    a.padded_width = shape->width + 2 * shape->padding_width + shape->kernel_width - 1;
    const long out = shape->out_channels, k = shape->kernel_height * shape->kernel_width * out;
    const long floats = align_floats(k * shape->in_channels) + align_floats(a.padded_height * a.padded_width * out);
    deml_run(pool, conv2d_input_gradient, &a, shape->batch * shape->height, 1,
             2.0 * (double)k * (double)shape->width * (double)shape->in_channels / 16,
             floats * (long)sizeof(float) + deml_product_scratch(deml_pool_kernels(pool), shape->kernel_height, k / shape->kernel_height));
}

/// Rows begin ..< end of the weights' gradient (kh, kw, in); the row after the last is the bias. Sums run over
/// (b, oh, ow): image after image goes on with the chains. scratch: padded image, the rows, the product's.
DEML_BODY(conv2d_weight_gradient) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels, out = s->out_channels, row_floats = a->padded_width * in;
    const long weight_rows = s->kernel_height * s->kernel_width * in, rows_end = deml_min(end, weight_rows);
    float *padded = (float *)worker->scratch, *rows = padded + align_floats(a->padded_height * row_floats);
    char *scratch = (char *)(rows + align_floats((end - begin) * out));
    if (begin < rows_end) {
        if (a->weight_sink->gradient) rows = a->weight_sink->gradient + begin * out;
        for (long image = 0; image < s->batch; image++) {
            pad_image(a->x + image * s->height * s->width * in, s->height, s->width, in, s->padding_height,
                      s->padding_width, 1, 1, a->padded_height, a->padded_width, padded);
            const deml_product p = {
                .a = padded, .group = s->kernel_width * in, .group_stride = row_floats, .row_stride = 1,
                .segments = a->oh, .run = a->ow, .segment = s->stride_height * row_floats,
                .step = s->stride_width * in, .b = a->dy + image * a->oh * a->ow * out, .b_stride = out,
                .init = image ? rows - begin * out : NULL, .init_stride = out, .c = rows - begin * out,
                .c_stride = out};
            deml_product_rows(worker->kernels, &p, begin, rows_end, out, scratch);
        }
        deml_update update;
        if (a->weight_sink->optimizer) update = deml_update_prepare(a->weight_sink->optimizer);
        deml_sink_put(worker->kernels, a->weight_sink, &update, begin * out, (rows_end - begin) * out, rows);
    }
    if (end > weight_rows && a->bias_sink)
        deml_bias_gradient(worker->kernels, s->batch * a->oh * a->ow, 0, out, out, a->dy, a->bias_sink, padded);
}

void deml_conv2d_weight_gradient(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.dy = dy, a.weight_sink = weights, a.bias_sink = bias;
    const long rows = shape->kernel_height * shape->kernel_width * shape->in_channels + 1, out = shape->out_channels;
    const long pixels = a.oh * a.ow;
    const long floats = align_floats(deml_max(a.padded_height * a.padded_width * shape->in_channels, out)) +
                        align_floats(rows * out);
    deml_run(pool, conv2d_weight_gradient, &a, rows, 1,
             2.0 * (double)(shape->batch * pixels) * (double)out / 16,
             floats * (long)sizeof(float) + deml_product_scratch(deml_pool_kernels(pool), a.oh, a.ow));
}
