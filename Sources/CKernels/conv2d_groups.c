// Convolutions that are no single product: depthwise, with an inner loop of its own (kernels/depthwise.h), and grouped or
// with gaps within a row, as products of unfolded copies of some pixels. Sums have the order of the dense ones.
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
        if (row == begin || h == 0) deml_pad_gradient(a, image, padded);
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

// MARK: Grouped, dilated. Pixels are unfolded block by block: [pixels][kh][kw][channels of a group].

enum { PIXELS_AT_ONCE = 64 };

/// What a pixel's windows hold of the channels `first` ..< first + count, for columns begin ..< end of (kh, kw, channel).
static void unfold(const deml_conv2d *s, const float *window, long padded_width, long channels, long first, long count,
                   long begin, long end, float *to) {
    for (long at = begin; at < end;) {
        const long tap = at / count, c = at % count, some = deml_min(count - c, end - at);
        const long h = tap / s->kernel_width * s->dilation_height, w = tap % s->kernel_width * s->dilation_width;
        memcpy(to, window + (h * padded_width + w) * channels + first + c, (size_t)some * sizeof(float));
        to += some, at += some;
    }
}

/// Rows begin ..< end of images [height][width][columns of all groups] as products with b[group][k][columns], k being
/// (kh, kw, channel of a group). Row h, pixel w has its window at padded + start + h·row_step + w·pixel_step.
typedef struct {
    long height, width, k, channels, columns;
    long start, row_step, pixel_step;
    bool of_gradient;
    const float *b;
    long b_stride, b_group;
} grouped_product;

static void grouped_rows(const conv2d_arguments *a, const grouped_product *g, float *padded, long begin, long end,
                         deml_worker *worker) {
    const deml_conv2d *s = &a->s;
    const long each = g->channels / s->groups, columns = g->columns / s->groups;
    float *patch = deml_cut(&worker->scratch, deml_times(deml_min(PIXELS_AT_ONCE, deml_times(end - begin, g->width)),
                                                         g->k));
    deml_product p = {.a = patch, .group = PIXELS_AT_ONCE, .row_stride = g->k, .segments = 1, .run = g->k, .step = 1,
                      .b_stride = g->b_stride, .c_stride = g->columns, .relu = a->relu};
    if (worker->scratch.measuring)
        return deml_product_rows(worker, &p, 0, deml_min(PIXELS_AT_ONCE, deml_times(end - begin, g->width)), columns);
    for (long row = begin; row < end;) {
        const long image = row / g->height, first = row % g->height, last = deml_min(g->height, first + end - row);
        if (g->of_gradient) deml_pad_gradient(a, image, padded);
        else deml_pad_input(a, image, 0, g->channels, padded);
        for (long pixel = first * g->width; pixel < last * g->width; pixel += PIXELS_AT_ONCE) {
            const long pixels = deml_min(PIXELS_AT_ONCE, last * g->width - pixel);
            for (long group = 0; group < s->groups; group++) {
                for (long i = 0; i < pixels; i++)
                    unfold(s, padded + g->start + (pixel + i) / g->width * g->row_step +
                                  (pixel + i) % g->width * g->pixel_step,
                           a->padded_width, g->channels, group * each, each, 0, g->k, patch + i * g->k);
                p.b = g->b + group * g->b_group;
                p.init = a->bias ? a->bias + group * columns : NULL;
                p.c = a->to + (image * g->height * g->width + pixel) * g->columns + group * columns;
                deml_product_rows(worker, &p, 0, pixels, columns);
            }
        }
        row += last - first;
    }
}

/// Elements: rows of y. scratch: a padded image, an unfolded block, the product's.
void deml_grouped_forward(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, s->in_channels));
    const grouped_product g = {
        .height = a->oh, .width = a->ow, .k = weight_rows(s), .channels = s->in_channels, .columns = s->out_channels,
        .row_step = deml_times(s->stride_height, deml_times(a->padded_width, s->in_channels)),
        .pixel_step = deml_times(s->stride_width, s->in_channels), .b = a->weights, .b_stride = s->out_channels,
        .b_group = s->out_channels / s->groups};
    grouped_rows(a, &g, padded, begin, end, worker);
}

/// Elements: rows of dx. scratch: turned weights [group][kh][kw][out][in], padded dy, an unfolded block, the product's.
void deml_grouped_input_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const long in = s->in_channels / s->groups, out = s->out_channels / s->groups;
    const long taps = deml_times(s->kernel_height, s->kernel_width), size = product_of(taps, in, out);
    float *turned = deml_cut(&worker->scratch, deml_times(size, s->groups));
    float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, s->out_channels));
    for (long g = 0; g < s->groups && !worker->scratch.measuring; g++)
        for (long t = 0; t < taps; t++)
            for (long o = 0; o < out; o++)
                for (long i = 0; i < in; i++)
                    turned[g * size + (t * out + o) * in + i] =
                        a->weights[((taps - 1 - t) * in + i) * s->out_channels + g * out + o];
    const grouped_product g = {
        .height = s->height, .width = s->width, .k = deml_times(taps, out), .channels = s->out_channels,
        .columns = s->in_channels, .start = worker->scratch.measuring ? 0 : gradient_begin(a),
        .row_step = deml_times(a->padded_width, s->out_channels), .pixel_step = s->out_channels, .of_gradient = true,
        .b = turned, .b_stride = in, .b_group = size};
    grouped_rows(a, &g, padded, begin, end, worker);
}

/// Elements: rows of the weights' gradient (kh, kw, input of a group), then the bias. Sums go on from block to block.
/// scratch: a padded image, an unfolded block, the rows unless the sink keeps them, the product's.
void deml_grouped_weight_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const deml_sink *sink = a->weight_sink;
    const long channels = s->in_channels, out = s->out_channels, each = channels / s->groups;
    const long columns = out / s->groups, last = deml_min(end, weight_rows(s)), mark = worker->scratch.used;
    const long count = last - begin, all = deml_times(a->oh, a->ow);
    if (begin < last) {
        float *padded = deml_cut(&worker->scratch, product_of(a->padded_height, a->padded_width, channels));
        float *patch = deml_cut(&worker->scratch, deml_times(deml_min(PIXELS_AT_ONCE, all), count));
        float *rows = sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(count, out));
        deml_product p = {.a = patch, .group = count, .row_stride = 1, .segments = 1,
                          .run = deml_min(PIXELS_AT_ONCE, all), .step = count, .b_stride = out, .init_stride = out,
                          .c_stride = out};
        if (worker->scratch.measuring) {
            deml_product_rows(worker, &p, 0, count, columns);
            p.goes_on = true;
            deml_product_rows(worker, &p, 0, count, columns);
        } else {
            if (sink->gradient) rows = sink->gradient + begin * out;
            for (long image = 0; image < s->batch; image++) {
                deml_pad_input(a, image, 0, channels, padded);
                for (long pixel = 0; pixel < all; pixel += PIXELS_AT_ONCE) {
                    p.run = deml_min(PIXELS_AT_ONCE, all - pixel);
                    p.goes_on = image > 0 || pixel > 0;
                    for (long group = 0; group < s->groups; group++) {
                        for (long i = 0; i < p.run; i++) {
                            const long h = (pixel + i) / a->ow * s->stride_height;
                            const long w = (pixel + i) % a->ow * s->stride_width;
                            unfold(s, padded + (h * a->padded_width + w) * channels, a->padded_width, channels,
                                   group * each, each, begin, last, patch + i * count);
                        }
                        p.b = a->dy + (image * all + pixel) * out + group * columns;
                        p.c = rows + group * columns;
                        p.init = p.goes_on ? p.c : NULL;
                        deml_product_rows(worker, &p, 0, count, columns);
                    }
                }
            }
            deml_conv2d_put(a, worker, begin, last, rows);
        }
        deml_arena_release(&worker->scratch, mark);
    }
    if (a->bias_sink && end > weight_rows(s))
        deml_bias_gradient(worker, output_pixels(a), 0, out, out, a->dy, a->bias_sink);
}
