// Convolutions as matrix products whose rows point into a zero-padded copy of one image: nothing is unfolded.
// In an NHWC image the elements under one row of the kernel are contiguous, so a sum over (kh, kw, in) is
// `kernel_height` segments of kernel_width·in_channels.
#include "internal.h"

long deml_window_output(long size, long kernel, long stride, long padding) {
    return (deml_plus(size, deml_times(2, padding)) - kernel) / stride + 1;
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

/// a·b·c; LONG_MAX if that is too much.
static long product_of(long a, long b, long c) { return deml_times(deml_times(a, b), c); }

/// Rows begin ..< end of y, counted over all images. scratch: a padded image, the product's.
DEML_BODY(conv2d_forward) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long row_floats = deml_times(a->padded_width, s->in_channels);
    float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row_floats));
    deml_product p = {.a = padded, .group = a->ow, .group_stride = deml_times(s->stride_height, row_floats),
                      .row_stride = deml_times(s->stride_width, s->in_channels), .segments = s->kernel_height,
                      .run = deml_times(s->kernel_width, s->in_channels), .segment = row_floats, .step = 1,
                      .b = a->weights, .b_stride = s->out_channels, .init = a->bias, .c_stride = s->out_channels,
                      .relu = a->relu};
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, deml_times(a->oh, a->ow), s->out_channels);
    for (long row = begin; row < end;) {
        const long image = row / a->oh, first = row % a->oh, last = deml_min(a->oh, first + end - row);
        pad_image(a->x + image * s->height * s->width * s->in_channels, s->height, s->width, s->in_channels,
                  s->padding_height, s->padding_width, 1, 1, a->padded_height, a->padded_width, padded);
        p.c = a->to + image * a->oh * a->ow * s->out_channels;
        deml_product_rows(worker, &p, first * a->ow, last * a->ow, s->out_channels);
        row += last - first;
    }
}

static conv2d_arguments prepare(const deml_conv2d *s) {
    return (conv2d_arguments){
        .s = *s, .oh = deml_window_output(s->height, s->kernel_height, s->stride_height, s->padding_height),
        .ow = deml_window_output(s->width, s->kernel_width, s->stride_width, s->padding_width),
        .padded_height = deml_plus(s->height, deml_times(2, s->padding_height)),
        .padded_width = deml_plus(s->width, deml_times(2, s->padding_width))};
}

static deml_call forward_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    const double k = (double)s->kernel_height * (double)s->kernel_width * (double)s->in_channels;
    return (deml_call){conv2d_forward, a, deml_times(s->batch, a->oh), 1,
                       2.0 * k * (double)a->ow * (double)s->out_channels / 16, true};
}

void deml_conv2d_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.weights = weights, a.bias = bias, a.to = y, a.relu = activation == DEML_RELU;
    deml_run(pool, forward_call(&a));
}

/// Rows begin ..< end of dx, counted over all images: dy, with stride - 1 zeros between its elements and kernel - 1
/// around it, convolved with the kernel turned by 180°. scratch: turned weights [kh][kw][out][in], padded dy, the
/// product's.
DEML_BODY(conv2d_input_gradient) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels, out = s->out_channels, taps = deml_times(s->kernel_height, s->kernel_width);
    const long row_floats = deml_times(a->padded_width, out);
    float *turned = deml_cut(&worker->scratch, product_of(taps, in, out));
    float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row_floats));
    deml_product p = {.group = s->width, .group_stride = row_floats, .row_stride = out, .segments = s->kernel_height,
                      .run = deml_times(s->kernel_width, out), .segment = row_floats, .step = 1, .b = turned,
                      .b_stride = in, .c_stride = in};
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, deml_times(s->height, s->width), in);
    for (long t = 0; t < taps; t++)
        for (long o = 0; o < out; o++)
            for (long i = 0; i < in; i++)
                turned[(t * out + o) * in + i] = a->weights[((taps - 1 - t) * in + i) * out + o];
    p.a = padded + (s->padding_height * a->padded_width + s->padding_width) * out;
    for (long row = begin; row < end;) {
        const long image = row / s->height, first = row % s->height, last = deml_min(s->height, first + end - row);
        pad_image(a->dy + image * a->oh * a->ow * out, a->oh, a->ow, out, s->kernel_height - 1, s->kernel_width - 1,
                  s->stride_height, s->stride_width, a->padded_height, a->padded_width, padded);
        p.c = a->to + image * s->height * s->width * in;
        deml_product_rows(worker, &p, first * s->width, last * s->width, in);
        row += last - first;
    }
}

static conv2d_arguments prepare_input_gradient(const deml_conv2d *s) {
    conv2d_arguments a = prepare(s);
    // The last rows and columns may not be covered by any window: the copy reaches over them too.
    a.padded_height = deml_plus(a.padded_height, s->kernel_height - 1);
    a.padded_width = deml_plus(a.padded_width, s->kernel_width - 1);
    return a;
}

static deml_call input_gradient_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    const double k = (double)s->kernel_height * (double)s->kernel_width * (double)s->out_channels;
    return (deml_call){conv2d_input_gradient, a, deml_times(s->batch, s->height), 1,
                       2.0 * k * (double)s->width * (double)s->in_channels / 16, true};
}

void deml_conv2d_input_gradient(deml_pool *pool, const deml_conv2d *shape, const float *dy, const float *weights,
                                float *dx) {
    conv2d_arguments a = prepare_input_gradient(shape);
    a.dy = dy, a.weights = weights, a.to = dx;
    deml_run(pool, input_gradient_call(&a));
}

/// Rows of the weights' gradient: kernel_height·kernel_width·in_channels.
static long weight_rows(const deml_conv2d *s) { return product_of(s->kernel_height, s->kernel_width, s->in_channels); }

/// Rows begin ..< end of the weights' gradient (kh, kw, in); the row after the last is the bias. Sums run over
/// (b, oh, ow): image after image goes on with the chains. scratch: padded image, the rows unless the sink keeps them,
/// the product's.
DEML_BODY(conv2d_weight_gradient) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const deml_sink *sink = a->weight_sink;
    const long in = s->in_channels, out = s->out_channels, row_floats = deml_times(a->padded_width, in);
    const long rows_end = deml_min(end, weight_rows(s)), mark = worker->scratch.used;
    if (begin < rows_end) {
        float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row_floats));
        float *rows = sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(rows_end - begin, out));
        deml_product p = {.a = padded, .group = deml_times(s->kernel_width, in), .group_stride = row_floats,
                          .row_stride = 1, .segments = a->oh, .run = a->ow,
                          .segment = deml_times(s->stride_height, row_floats), .step = deml_times(s->stride_width, in),
                          .b_stride = out, .init_stride = out, .c_stride = out};
        if (worker->scratch.measuring) {
            deml_product_rows(worker, &p, begin, rows_end, out);  // the first image's, and how the others go on
            p.goes_on = true;
            deml_product_rows(worker, &p, begin, rows_end, out);
        } else {
            if (sink->gradient) rows = sink->gradient + begin * out;
            p.c = rows - begin * out;
            for (long image = 0; image < s->batch; image++) {
                pad_image(a->x + image * s->height * s->width * in, s->height, s->width, in, s->padding_height,
                          s->padding_width, 1, 1, a->padded_height, a->padded_width, padded);
                p.b = a->dy + image * a->oh * a->ow * out;
                p.goes_on = image > 0;
                p.init = image > 0 ? p.c : NULL;
                deml_product_rows(worker, &p, begin, rows_end, out);
            }
            deml_update update;
            if (sink->optimizer) update = deml_update_prepare(sink->optimizer);
            deml_sink_put(worker->kernels, sink, &update, begin * out, (rows_end - begin) * out, rows);
        }
        deml_arena_release(&worker->scratch, mark);
    }
    if (a->bias_sink && end > weight_rows(s))
        deml_bias_gradient(worker, product_of(s->batch, a->oh, a->ow), 0, out, out, a->dy, a->bias_sink);
}

static deml_call weight_gradient_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    return (deml_call){conv2d_weight_gradient, a, deml_plus(weight_rows(s), 1), 1,
                       2.0 * (double)s->batch * (double)a->oh * (double)a->ow * (double)s->out_channels / 16, true};
}

void deml_conv2d_weight_gradient(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.dy = dy, a.weight_sink = weights, a.bias_sink = bias;
    deml_run(pool, weight_gradient_call(&a));
}

deml_scratch deml_conv2d_scratch(long threads, deml_isa isa, const deml_conv2d *shape, bool training) {
    const deml_kernels *kernels = deml_isa_kernels(isa);
    const deml_sink nowhere = {0};  // keeps no gradient: that needs the most
    conv2d_arguments a = prepare(shape), of_input = prepare_input_gradient(shape);
    a.weight_sink = &nowhere, a.bias_sink = &nowhere;
    const deml_call calls[] = {forward_call(&a), input_gradient_call(&of_input), weight_gradient_call(&a)};
    deml_scratch need = {0, 0};
    for (int i = 0; i < (training ? 3 : 1); i++)
        need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &calls[i]));
    return need;
}
