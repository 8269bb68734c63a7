// Convolutions that are no single product: depthwise, with an inner loop of its own (kernels/depthwise.h), and grouped or
// with gaps within a row, as products over copies of some channels or pixels. Sums have the order of the dense ones.
#include "conv2d.h"

// MARK: Depthwise: as many groups as channels, in and out. Weights [kh][kw][channels].

static deml_taps taps_of(const deml_conv2d *s, long padded_width, long channels) {
    const long row = deml_times(padded_width, channels);
    return (deml_taps){.rows = s->kernel_height, .columns = s->kernel_width,
                       .row_stride = deml_times(s->dilation_height, row),
                       .column_stride = deml_times(s->dilation_width, channels)};
}

/// Elements: rows of y. scratch: a padded image.
void deml_depthwise_forward(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long channels = s->in_channels;
    float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, channels));
    if (worker->scratch.measuring) return;
    const deml_taps taps = taps_of(s, a->padded_width, channels);
    for (long row = begin; row < end; row++) {
        const long image = row / a->oh, oh = row % a->oh;
        if (row == begin || oh == 0) deml_pad_input(a, image, 0, channels, padded);
        worker->kernels->depthwise_pixels(&taps, a->ow, channels, s->stride_width * channels,
                                          padded + oh * s->stride_height * a->padded_width * channels, a->weights,
                                          a->bias, a->relu, a->to + row * a->ow * channels);
    }
}

/// Elements: rows of dx. scratch: turned weights, padded dy.
void deml_depthwise_input_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long channels = s->in_channels, count = deml_times(s->kernel_height, s->kernel_width);
    float *turned = deml_cut(&worker->scratch, deml_times(count, channels));
    float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, channels));
    if (worker->scratch.measuring) return;
    const deml_taps taps = taps_of(s, a->padded_width, channels);
    for (long t = 0; t < count; t++)
        memcpy(turned + t * channels, a->weights + (count - 1 - t) * channels, (size_t)channels * sizeof(float));
    for (long row = begin; row < end; row++) {
        const long image = row / s->height, h = row % s->height;
        if (row == begin || h == 0) deml_pad_gradient(a, image, 0, channels, padded);
        worker->kernels->depthwise_pixels(&taps, s->width, channels, channels,
                                          padded + gradient_begin(a) + h * a->padded_width * channels, turned, a->bias,
                                          a->relu, a->to + row * s->width * channels);
    }
}

/// Elements: channels. scratch: their part of a padded image and of the gradients, taps and bias.
void deml_depthwise_weight_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long width = end - begin, channels = s->in_channels, count = deml_times(s->kernel_height, s->kernel_width);
    float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, width));
    float *sums = deml_cut(&worker->scratch, deml_times(count, width));
    if (!worker->scratch.measuring) {
        const deml_taps taps = taps_of(s, a->padded_width, width);
        memset(sums, 0, (size_t)(count * width) * sizeof(float));
        for (long image = 0; image < s->batch; image++) {
            deml_pad_input(a, image, begin, width, padded);
            worker->kernels->depthwise_weights(&taps, a->oh, a->ow, width, s->stride_height * a->padded_width * width,
                                               s->stride_width * width, padded, channels,
                                               a->dy + image * a->oh * a->ow * channels + begin, sums);
        }
        deml_update update;
        if (a->weight_sink->optimizer) update = deml_update_prepare(a->weight_sink->optimizer);
        for (long t = 0; t < count; t++)
            deml_sink_put(worker->kernels, a->weight_sink, &update, t * channels + begin, width, sums + t * width);
    }
    if (a->bias_sink)
        deml_bias_gradient(worker, output_pixels(a), begin, end, channels, a->dy, a->bias_sink);
}

// MARK: Grouped, dilated. Each group is a convolution of its own over a copy of its channels. Where the kernel has gaps
// within a row, pixels are unfolded besides, block by block: [pixels][kh][kw][channels of the group].

enum { PIXELS_AT_ONCE = 64 };

static bool has_gaps(const deml_conv2d *s) { return s->dilation_width > 1 && s->kernel_width > 1; }

/// What a window of [.][padded_width][channels] holds for columns begin ..< end of (kh, kw, channel).
static void unfold(const deml_conv2d *s, const float *window, long padded_width, long channels, long begin, long end,
                   float *to) {
    for (long at = begin; at < end;) {
        const long tap = at / channels, c = at % channels, some = deml_min(channels - c, end - at);
        const long h = tap / s->kernel_width * s->dilation_height, w = tap % s->kernel_width * s->dilation_width;
        memcpy(to, window + (h * padded_width + w) * channels + c, (size_t)some * sizeof(float));
        to += some, at += some;
    }
}

/// Images [height][width][columns of all groups] as products of windows with b[group][k][columns of the group]. Pixel
/// (h, w) has its window at padded + start + h·row_step + w·pixel_step.
typedef struct {
    long height, width, channels, columns;  // channels and columns of all groups
    long start, row_step, pixel_step;       // in pixels of the padded copy
    bool of_gradient;
    const float *b;
    long b_stride, b_group;
} grouped_product;

/// Rows begin ..< end, counted over all images. scratch: a group's padded copy, an unfolded block, the product's.
static void grouped_rows(const conv2d_arguments *a, const grouped_product *g, long begin, long end,
                         deml_worker *worker) {
    const deml_conv2d *s = &a->s;
    const long each = g->channels / s->groups, columns = g->columns / s->groups;
    const long row = deml_times(a->padded_width, each), k = product_of(s->kernel_height, s->kernel_width, each);
    const long most = deml_min(PIXELS_AT_ONCE, deml_times(g->height, g->width));
    float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row)), *patch = NULL;
    deml_product p = {.group = g->width, .group_stride = deml_times(g->row_step, each),
                      .row_stride = deml_times(g->pixel_step, each), .segments = s->kernel_height,
                      .run = deml_times(s->kernel_width, each), .segment = deml_times(s->dilation_height, row),
                      .step = 1, .b_stride = g->b_stride, .c_stride = g->columns, .relu = a->relu};
    if (has_gaps(s)) {
        patch = deml_cut(&worker->scratch, deml_times(most, k));
        p.group = PIXELS_AT_ONCE, p.row_stride = k, p.segments = 1, p.run = k, p.segment = 0;
    }
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, patch ? most : deml_times(g->height, g->width), columns);
    p.a = patch ? patch : padded + g->start * each;
    for (long at = begin; at < end;) {
        const long image = at / g->height, first = at % g->height, last = deml_min(g->height, first + end - at);
        for (long group = 0; group < s->groups; group++) {
            if (g->of_gradient) deml_pad_gradient(a, image, group * each, each, padded);
            else deml_pad_input(a, image, group * each, each, padded);
            p.b = g->b + group * g->b_group;
            p.init = a->bias ? a->bias + group * columns : NULL;
            p.c = a->to + image * g->height * g->width * g->columns + group * columns;
            if (!patch) {
                deml_product_rows(worker, &p, first * g->width, last * g->width, columns);
                continue;
            }
            for (long pixel = first * g->width; pixel < last * g->width; pixel += PIXELS_AT_ONCE) {
                const long pixels = deml_min(PIXELS_AT_ONCE, last * g->width - pixel);
                for (long i = pixel; i < pixel + pixels; i++)
                    unfold(s, padded + (g->start + i / g->width * g->row_step + i % g->width * g->pixel_step) * each,
                           a->padded_width, each, 0, k, patch + (i - pixel) * k);
                deml_product block = p;
                block.c = p.c + pixel * g->columns;
                deml_product_rows(worker, &block, 0, pixels, columns);
            }
        }
        at += last - first;
    }
}

/// Elements: rows of y.
void deml_grouped_forward(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const grouped_product g = {
        .height = a->oh, .width = a->ow, .channels = s->in_channels, .columns = s->out_channels,
        .row_step = deml_times(s->stride_height, a->padded_width), .pixel_step = s->stride_width, .b = a->weights,
        .b_stride = s->out_channels, .b_group = s->out_channels / s->groups};
    grouped_rows(a, &g, begin, end, worker);
}

/// Elements: rows of dx. scratch: turned weights [group][kh][kw][out][in], and that of the rows.
void deml_grouped_input_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels / s->groups, out = s->out_channels / s->groups;
    const long taps = deml_times(s->kernel_height, s->kernel_width), size = product_of(taps, in, out);
    float *turned = deml_cut(&worker->scratch, deml_times(size, s->groups));
    for (long g = 0; g < s->groups && !worker->scratch.measuring; g++)
        for (long t = 0; t < taps; t++)
            for (long o = 0; o < out; o++)
                for (long i = 0; i < in; i++)
                    turned[g * size + (t * out + o) * in + i] =
                        a->weights[((taps - 1 - t) * in + i) * s->out_channels + g * out + o];
    const grouped_product g = {
        .height = s->height, .width = s->width, .channels = s->out_channels, .columns = s->in_channels,
        .start = deml_plus(deml_times(s->padding_height, a->padded_width), s->padding_width),
        .row_step = a->padded_width, .pixel_step = 1, .of_gradient = true, .b = turned, .b_stride = in,
        .b_group = size};
    grouped_rows(a, &g, begin, end, worker);
}

/// Elements: rows of the weights' gradient (kh, kw, input of a group), then the bias. Sums go on from image to image, and
/// from block to block. scratch: a group's padded copy, an unfolded block, the rows unless the sink keeps them, the
/// product's.
void deml_grouped_weight_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const deml_sink *sink = a->weight_sink;
    const long out = s->out_channels, each = s->in_channels / s->groups, columns = out / s->groups;
    const long last = deml_min(end, weight_rows(s)), count = last - begin, mark = worker->scratch.used;
    const long all = deml_times(a->oh, a->ow), row = deml_times(a->padded_width, each);
    if (begin < last) {
        float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row)), *patch = NULL;
        float *rows = sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(count, out));
        deml_product p = {.group = deml_times(s->kernel_width, each),
                          .group_stride = deml_times(s->dilation_height, row), .row_stride = 1, .segments = a->oh,
                          .run = a->ow, .segment = deml_times(s->stride_height, row),
                          .step = deml_times(s->stride_width, each), .b_stride = out, .init_stride = out,
                          .c_stride = out};
        if (has_gaps(s)) {
            patch = deml_cut(&worker->scratch, deml_times(deml_min(PIXELS_AT_ONCE, all), count));
            p.group = LONG_MAX, p.segments = 1, p.run = deml_min(PIXELS_AT_ONCE, all), p.step = count;
        }
        if (worker->scratch.measuring) {
            deml_product_rows(worker, &p, begin, last, columns);
            p.goes_on = true;
            deml_product_rows(worker, &p, begin, last, columns);
        } else {
            if (sink->gradient) rows = sink->gradient + begin * out;
            for (long image = 0; image < s->batch; image++)
                for (long group = 0; group < s->groups; group++) {
                    deml_pad_input(a, image, group * each, each, padded);
                    p.a = patch ? patch - begin : padded;
                    p.c = rows - begin * out + group * columns;
                    for (long pixel = 0; pixel < all; pixel += patch ? PIXELS_AT_ONCE : all) {
                        if (patch) p.run = deml_min(PIXELS_AT_ONCE, all - pixel);
                        for (long i = 0; patch && i < p.run; i++) {
                            const long h = (pixel + i) / a->ow * s->stride_height;
                            const long w = (pixel + i) % a->ow * s->stride_width;
                            unfold(s, padded + (h * a->padded_width + w) * each, a->padded_width, each, begin, last,
                                   patch + i * count);
                        }
                        p.b = a->dy + (image * all + pixel) * out + group * columns;
                        p.goes_on = image > 0 || pixel > 0;
                        p.init = p.goes_on ? p.c : NULL;
                        deml_product_rows(worker, &p, begin, last, columns);
                    }
                }
            deml_conv2d_put(a, worker, begin, last, rows);
        }
        deml_arena_release(&worker->scratch, mark);
    }
    if (a->bias_sink && end > weight_rows(s))
        deml_bias_gradient(worker, output_pixels(a), 0, out, out, a->dy, a->bias_sink);
}
