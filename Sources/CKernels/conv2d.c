// Convolutions as matrix products whose rows point into a zero-padded copy of one image: nothing is unfolded.
// In an NHWC image the elements under one row of the kernel are contiguous, so a sum over (kh, kw, in) is
// `kernel_height` segments of kernel_width·in_channels.
#include "conv2d.h"

long deml_window_output(long size, long kernel, long stride, long padding) {
    return (deml_plus(size, deml_times(2, padding)) - kernel) / stride + 1;
}

void deml_pad_image(const float *image, long height, long width, long channels, long first, long count, long top,
                    long left, long spread_h, long spread_w, long padded_height, long padded_width, float *to) {
    memset(to, 0, (size_t)(padded_height * padded_width * count) * sizeof(float));
    for (long h = 0; h < height; h++) {
        const float *from = image + h * width * channels + first;
        float *row = to + ((top + h * spread_h) * padded_width + left) * count;
        if (spread_w == 1 && count == channels) memcpy(row, from, (size_t)(width * channels) * sizeof(float));
        else
            for (long w = 0; w < width; w++)
                memcpy(row + w * spread_w * count, from + w * channels, (size_t)count * sizeof(float));
    }
}

void deml_pad_input(const conv2d_arguments *a, long image, long first, long count, float *to) {
    const deml_conv2d *s = &a->s;
    deml_pad_image(a->x + image * s->height * s->width * s->in_channels, s->height, s->width, s->in_channels, first,
                   count, s->padding_height, s->padding_width, 1, 1, a->padded_height, a->padded_width, to);
}

void deml_pad_gradient(const conv2d_arguments *a, long image, long first, long count, float *to) {
    const deml_conv2d *s = &a->s;
    const long out = s->out_channels;
    deml_pad_image(a->dy + image * a->oh * a->ow * out, a->oh, a->ow, out, first, count,
                   reach(s->kernel_height, s->dilation_height) - 1, reach(s->kernel_width, s->dilation_width) - 1,
                   s->stride_height, s->stride_width, a->padded_height, a->padded_width, to);
}

/// One of three ways: depthwise; grouped, or with gaps within a row; else dense.
static deml_body *way(const deml_conv2d *s, deml_body *dense, deml_body *depthwise, deml_body *grouped) {
    if (s->groups > 1 && s->groups == s->in_channels && s->groups == s->out_channels) return depthwise;
    return s->groups > 1 || (s->dilation_width > 1 && s->kernel_width > 1) ? grouped : dense;
}

/// Rows begin ..< end of y, counted over all images. scratch: a padded image, the product's.
DEML_BODY(conv2d_forward) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long row_floats = deml_times(a->padded_width, s->in_channels);
    float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row_floats));
    deml_product p = {.a = padded, .group = a->ow, .group_stride = deml_times(s->stride_height, row_floats),
                      .row_stride = deml_times(s->stride_width, s->in_channels), .segments = s->kernel_height,
                      .run = deml_times(s->kernel_width, s->in_channels),
                      .segment = deml_times(s->dilation_height, row_floats), .step = 1, .b = a->weights,
                      .b_stride = s->out_channels, .init = a->bias, .c_stride = s->out_channels,
                      .relu = a->relu};
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, deml_times(a->oh, a->ow), s->out_channels);
    for (long row = begin; row < end;) {
        const long image = row / a->oh, first = row % a->oh, last = deml_min(a->oh, first + end - row);
        deml_pad_input(a, image, 0, s->in_channels, padded);
        p.c = a->to + image * a->oh * a->ow * s->out_channels;
        deml_product_rows(worker, &p, first * a->ow, last * a->ow, s->out_channels);
        row += last - first;
    }
}

static conv2d_arguments prepare(const deml_conv2d *s) {
    return (conv2d_arguments){
        .s = *s,
        .oh = deml_window_output(s->height, reach(s->kernel_height, s->dilation_height), s->stride_height,
                                 s->padding_height),
        .ow = deml_window_output(s->width, reach(s->kernel_width, s->dilation_width), s->stride_width,
                                 s->padding_width),
        .padded_height = deml_plus(s->height, deml_times(2, s->padding_height)),
        .padded_width = deml_plus(s->width, deml_times(2, s->padding_width))};
}

static deml_call forward_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    return (deml_call){way(s, conv2d_forward, deml_depthwise_forward, deml_grouped_forward), a,
                       deml_times(s->batch, a->oh), 1,
                       2.0 * (double)weight_rows(s) * (double)a->ow * (double)s->out_channels / 16, true};
}

void deml_conv2d_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.weights = weights, a.bias = bias, a.to = y, a.relu = activation == DEML_RELU;
    deml_run(pool, forward_call(&a));
}

/// One tap of the weights, of the kernel turned by 180°: [in][out] → [out][in].
static void turn_tap(const conv2d_arguments *a, long kh, long kw, const deml_worker *worker, float *to) {
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels, out = s->out_channels;
    const long tap = (s->kernel_height - 1 - kh) * s->kernel_width + s->kernel_width - 1 - kw;
    worker->kernels->transpose(in, out, a->weights + tap * in * out, out, to, in);
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
                      .run = deml_times(s->kernel_width, out),
                      .segment = deml_times(s->dilation_height, row_floats), .step = 1, .b = turned, .b_stride = in,
                      .init = a->bias, .c_stride = in, .relu = a->relu};
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, deml_times(s->height, s->width), in);
    for (long t = 0; t < taps; t++)
        turn_tap(a, t / s->kernel_width, t % s->kernel_width, worker, turned + t * in * out);
    p.a = padded + gradient_begin(a);
    for (long row = begin; row < end;) {
        const long image = row / s->height, first = row % s->height, last = deml_min(s->height, first + end - row);
        deml_pad_gradient(a, image, 0, out, padded);
        p.c = a->to + image * s->height * s->width * in;
        deml_product_rows(worker, &p, first * s->width, last * s->width, in);
        row += last - first;
    }
}

// With a stride most of that are zeros. Pixels of dx at the same place between the strides (a phase) meet dy under the
// same taps, so they are a convolution of dy as it is with these taps alone.

/// The taps of the turned kernel, one dimension of it, that meet dy at the pixels phase, phase + stride, …
typedef struct {
    long first, count;  // taps first, first + stride, …
    long from;          // the element of dy that the first of them meets at the first pixel
} phase_taps;

static phase_taps taps_of_phase(long phase, long kernel, long stride, long padding) {
    long first = (kernel - 1 - phase - padding) % stride;
    if (first < 0) first += stride;
    return (phase_taps){first, first < kernel ? (kernel - 1 - first) / stride + 1 : 0,
                        (phase + padding + first - (kernel - 1)) / stride};
}

/// The first pixel of a phase from `at` on, counted in pixels of the phase.
static long pixel_of_phase(long at, long phase, long stride) { return at <= phase ? 0 : deml_ceil_div(at - phase, stride); }

/// dy without spreading: zeros before it, as many as a kernel reaches back, and behind it, as far as windows go.
static long strided_zeros(long kernel, long stride) { return (kernel - 1) / stride; }
static long strided_size(long size, long output, long kernel, long stride, long padding) {
    return deml_plus(strided_zeros(kernel, stride), deml_max(output, deml_plus(size - 1, padding) / stride + 1));
}

/// Copies pixels of a phase, [rows][columns][in], to where they belong in dx; whether one is -0.
static bool spread_phase(const deml_conv2d *s, const float *from, long rows, long columns, float *to) {
    const long in = s->in_channels;
    uint32_t any = 0;
    for (long r = 0; r < rows; r++)
        for (long c = 0; c < columns; c++, from += in) {
            float *const pixel = to + (r * s->stride_height * s->width + c * s->stride_width) * in;
            memcpy(pixel, from, (size_t)in * sizeof(float));
            for (long i = 0; i < in; i++) {
                uint32_t bits;
                memcpy(&bits, from + i, sizeof bits);
                any |= bits == 0x80000000;
            }
        }
    return any;
}

/// conv2d_input_gradient without the products with zeros. These change nothing but a -0, which a sum can only become by
/// products too small for a float: such rows are done again with them. scratch: a phase's weights [kh][kw][out][in], padded
/// dy, a phase of dx, the product's.
DEML_BODY(conv2d_strided_input_gradient) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels, out = s->out_channels, sh = s->stride_height, sw = s->stride_width;
    const long most_h = deml_ceil_div(s->kernel_height, sh), most_w = deml_ceil_div(s->kernel_width, sw);
    const long top = strided_zeros(s->kernel_height, sh), left = strided_zeros(s->kernel_width, sw);
    const long height = strided_size(s->height, a->oh, s->kernel_height, sh, s->padding_height);
    const long width = strided_size(s->width, a->ow, s->kernel_width, sw, s->padding_width);
    const long pixels = deml_times(deml_ceil_div(s->height, sh), deml_ceil_div(s->width, sw)), mark = worker->scratch.used;
    float *turned = deml_cut(&worker->scratch, deml_times(product_of(s->kernel_height, s->kernel_width, in), out));
    float *padded = deml_cut(&worker->scratch, product_of(height, width, out));
    float *part = deml_cut(&worker->scratch, deml_times(pixels, in));
    deml_product p = {.group_stride = deml_times(width, out), .row_stride = out, .segment = deml_times(width, out),
                      .step = 1, .b_stride = in, .init = a->bias, .c = part, .c_stride = in, .relu = a->relu};
    if (worker->scratch.measuring) {
        p.group = pixels;
        for (int less = 0; less < 4; less++) {  // phases may have a tap less than others
            p.segments = deml_max(1, most_h - less % 2), p.run = deml_times(deml_max(1, most_w - less / 2), out);
            deml_product_rows(worker, &p, 0, pixels, in);
        }
        deml_arena_release(&worker->scratch, mark);
        return conv2d_input_gradient(arguments, begin, end, worker);
    }
    float *to_turned = turned;
    for (long ph = 0; ph < deml_min(sh, s->height); ph++)
        for (long pw = 0; pw < deml_min(sw, s->width); pw++) {
            const phase_taps h = taps_of_phase(ph, s->kernel_height, sh, s->padding_height);
            const phase_taps w = taps_of_phase(pw, s->kernel_width, sw, s->padding_width);
            for (long i = 0; i < h.count; i++)
                for (long j = 0; j < w.count; j++, to_turned += in * out)
                    turn_tap(a, h.first + i * sh, w.first + j * sw, worker, to_turned);
        }
    bool again = false;
    for (long row = begin; row < end;) {
        const long image = row / s->height, first = row % s->height, last = deml_min(s->height, first + end - row);
        deml_pad_image(a->dy + image * a->oh * a->ow * out, a->oh, a->ow, out, 0, out, top, left, 1, 1, height, width,
                       padded);
        p.b = turned;
        for (long ph = 0; ph < deml_min(sh, s->height); ph++)
            for (long pw = 0; pw < deml_min(sw, s->width); pw++) {
                const phase_taps h = taps_of_phase(ph, s->kernel_height, sh, s->padding_height);
                const phase_taps w = taps_of_phase(pw, s->kernel_width, sw, s->padding_width);
                const long from = pixel_of_phase(first, ph, sh), rows = pixel_of_phase(last, ph, sh) - from;
                const long columns = pixel_of_phase(s->width, pw, sw), count = rows * columns;
                // No taps at all: a sum of one zero.
                p.a = h.count && w.count ? padded + ((top + h.from + from) * width + left + w.from) * out : padded;
                p.group = columns, p.segments = h.count, p.run = w.count ? w.count * out : 0;
                deml_product_rows(worker, &p, 0, count, in);
                p.b += h.count * w.count * in * out;
                float *const to = a->to + ((image * s->height + ph + from * sh) * s->width + pw) * in;
                again = spread_phase(s, part, rows, columns, to) || again;
            }
        row += last - first;
    }
    deml_arena_release(&worker->scratch, mark);
    if (again) conv2d_input_gradient(arguments, begin, end, worker);
}

static conv2d_arguments prepare_input_gradient(const deml_conv2d *s) {
    conv2d_arguments a = prepare(s);
    // The last rows and columns may not be covered by any window: the copy reaches over them too.
    a.padded_height = deml_plus(a.padded_height, reach(s->kernel_height, s->dilation_height) - 1);
    a.padded_width = deml_plus(a.padded_width, reach(s->kernel_width, s->dilation_width) - 1);
    return a;
}

static deml_call input_gradient_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    double k = (double)s->kernel_height * (double)s->kernel_width * (double)(s->out_channels / s->groups);
    const bool strided = (s->stride_height > 1 || s->stride_width > 1) && s->dilation_height == 1;
    deml_body *const dense = strided ? conv2d_strided_input_gradient : conv2d_input_gradient;
    deml_body *const body = way(s, dense, deml_depthwise_input_gradient, deml_grouped_input_gradient);
    if (body == conv2d_strided_input_gradient) k /= (double)s->stride_height * (double)s->stride_width;
    return (deml_call){body, a,
                       deml_times(s->batch, s->height), 1,
                       2.0 * k * (double)s->width * (double)s->in_channels / 16, true};
}

void deml_conv2d_transposed_forward(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *weights,
                                    const float *bias, deml_activation activation, float *y) {
    conv2d_arguments a = prepare_input_gradient(shape);
    a.dy = x, a.weights = weights, a.bias = bias, a.relu = activation == DEML_RELU, a.to = y;
    deml_run(pool, input_gradient_call(&a));
}

void deml_conv2d_input_gradient(deml_pool *pool, const deml_conv2d *shape, const float *dy, const float *weights,
                                float *dx) {
    deml_conv2d_transposed_forward(pool, shape, dy, weights, NULL, DEML_IDENTITY, dx);
}

void deml_conv2d_put(const conv2d_arguments *a, deml_worker *worker, long begin, long end, const float *rows) {
    const long out = a->s.out_channels;
    deml_update update;
    if (a->weight_sink->optimizer) update = deml_update_prepare(a->weight_sink->optimizer);
    deml_sink_put(worker->kernels, a->weight_sink, &update, begin * out, (end - begin) * out, rows);
}

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
        deml_product p = {.a = padded, .group = deml_times(s->kernel_width, in),
                          .group_stride = deml_times(s->dilation_height, row_floats), .row_stride = 1,
                          .segments = a->oh, .run = a->ow,
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
                deml_pad_input(a, image, 0, in, padded);
                p.b = a->dy + image * a->oh * a->ow * out;
                p.goes_on = image > 0;
                p.init = image > 0 ? p.c : NULL;
                deml_product_rows(worker, &p, begin, rows_end, out);
            }
            deml_conv2d_put(a, worker, begin, rows_end, rows);
        }
        deml_arena_release(&worker->scratch, mark);
    }
    if (a->bias_sink && end > weight_rows(s))
        deml_bias_gradient(worker, output_pixels(a), 0, out, out, a->dy, a->bias_sink);
}

static deml_call weight_gradient_call(const conv2d_arguments *a) {
    const deml_conv2d *s = &a->s;
    deml_body *body = way(s, conv2d_weight_gradient, deml_depthwise_weight_gradient, deml_grouped_weight_gradient);
    const double pixels = 2.0 * (double)s->batch * (double)a->oh * (double)a->ow / 16;
    // Depthwise: channels, each with all its weights and its bias.
    if (body == deml_depthwise_weight_gradient)
        return (deml_call){body, a, s->in_channels, 16, pixels * (double)weight_rows(s), true};
    return (deml_call){body, a, deml_plus(weight_rows(s), 1), 1, pixels * (double)s->out_channels, true};
}

void deml_conv2d_weight_gradient(deml_pool *pool, const deml_conv2d *shape, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias) {
    conv2d_arguments a = prepare(shape);
    a.x = x, a.dy = dy, a.weight_sink = weights, a.bias_sink = bias;
    deml_run(pool, weight_gradient_call(&a));
}

typedef struct { long rows, channels; const float *dy; const deml_sink *sink; } bias_arguments;

/// Elements: channels.
DEML_BODY(bias_gradient) {
    const bias_arguments *a = arguments;
    deml_bias_gradient(worker, a->rows, begin, end, a->channels, a->dy, a->sink);
}

static deml_call bias_call(const bias_arguments *a) {
    return (deml_call){bias_gradient, a, a->channels, 16, (double)a->rows / 8, true};
}

void deml_bias_gradient_of(deml_pool *pool, long rows, long channels, const float *dy, const deml_sink *bias) {
    const bias_arguments a = {rows, channels, dy, bias};
    deml_run(pool, bias_call(&a));
}

deml_scratch deml_conv2d_scratch(long threads, deml_isa isa, const deml_conv2d *shape, bool training) {
    const deml_kernels *kernels = deml_isa_kernels(isa);
    const deml_sink nowhere = {0};  // keeps no gradient: that needs the most
    conv2d_arguments a = prepare(shape), of_input = prepare_input_gradient(shape);
    a.weight_sink = &nowhere, a.bias_sink = &nowhere;
    // Of a transposed convolution the inputs are what has a bias.
    const bias_arguments bias = {.rows = product_of(shape->batch, shape->height, shape->width),
                                 .channels = shape->in_channels};
    const deml_call calls[] = {forward_call(&a), input_gradient_call(&of_input), weight_gradient_call(&a),
                               bias_call(&bias)};
    deml_scratch need = {0, 0};
    for (int i = 0; i < (training ? 4 : 1); i++)
        need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &calls[i]));
    return need;
}
