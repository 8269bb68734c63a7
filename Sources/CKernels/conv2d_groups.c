// Convolutions that are no single product: depthwise, with an inner loop of its own (kernels/depthwise.h), and grouped or
// with gaps within a row of the kernel, as several products. Sums have the order of the dense ones.
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
// within a row, each of its rows is a product, which goes on with the sums of the one before.

static bool has_gaps(const deml_conv2d *s) { return s->dilation_width > 1 && s->kernel_width > 1; }

/// Images [height][width][columns of all groups] as products of windows with b[group][kh][kw][channel][columns of the
/// group]. Pixel (h, w) has its window at padded + start + h·row_step + w·pixel_step.
typedef struct {
    long height, width, channels, columns;  // channels and columns of all groups
    long start, row_step, pixel_step;       // in pixels of the padded copy
    bool of_gradient;
    const float *b;
    long b_stride, b_group;
} grouped_product;

/// Rows begin ..< end, counted over all images. scratch: a group's padded copy, the product's.
static void grouped_rows(const conv2d_arguments *a, const grouped_product *g, long begin, long end,
                         deml_worker *worker) {
    const deml_conv2d *s = &a->s;
    const long each = g->channels / s->groups, columns = g->columns / s->groups;
    const long row = deml_times(a->padded_width, each), kernel_row = deml_times(s->kernel_width, each);
    float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row));
    deml_product p = {.group = g->width, .group_stride = deml_times(g->row_step, each),
                      .row_stride = deml_times(g->pixel_step, each), .segments = s->kernel_height, .run = kernel_row,
                      .segment = deml_times(s->dilation_height, row), .step = 1, .b_stride = g->b_stride,
                      .init_stride = 0, .c_stride = g->columns};
    const long products = has_gaps(s) ? s->kernel_height : 1;
    if (has_gaps(s))
        p.segments = s->kernel_width, p.run = each, p.segment = deml_times(s->dilation_width, each);
    if (worker->scratch.measuring) {
        const long rows = deml_times(g->height, g->width);
        deml_product_rows(worker, &p, 0, rows, columns);
        p.goes_on = true;
        if (products > 1) deml_product_rows(worker, &p, 0, rows, columns);
        return;
    }
    for (long at = begin; at < end;) {
        const long image = at / g->height, first = at % g->height, last = deml_min(g->height, first + end - at);
        for (long group = 0; group < s->groups; group++) {
            if (g->of_gradient) deml_pad_gradient(a, image, group * each, each, padded);
            else deml_pad_input(a, image, group * each, each, padded);
            p.c = a->to + image * g->height * g->width * g->columns + group * columns;
            for (long i = 0; i < products; i++) {
                p.a = padded + g->start * each + i * s->dilation_height * row;
                p.b = g->b + group * g->b_group + i * kernel_row * g->b_stride;
                p.goes_on = i > 0;
                p.init = i > 0 ? p.c : a->bias ? a->bias + group * columns : NULL;
                p.init_stride = i > 0 ? p.c_stride : 0;
                p.relu = a->relu && i == products - 1;
                deml_product_rows(worker, &p, first * g->width, last * g->width, columns);
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

/// Elements: rows of the weights' gradient (kh, kw, input of a group), then the bias. Sums go on from image to image.
/// scratch: a group's padded copy, the rows unless the sink keeps them, the product's.
void deml_grouped_weight_gradient(const void *arguments, long begin, long end, deml_worker *worker) {
    const conv2d_arguments *a = arguments;
    const deml_conv2d *s = &a->s;
    const deml_sink *sink = a->weight_sink;
    const long out = s->out_channels, each = s->in_channels / s->groups, columns = out / s->groups;
    const long last = deml_min(end, weight_rows(s)), mark = worker->scratch.used;
    const long row = deml_times(a->padded_width, each), kernel_row = deml_times(s->kernel_width, each);
    if (begin < last) {
        float *padded = deml_cut(&worker->scratch, deml_times(a->padded_height, row));
        float *rows = sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(last - begin, out));
        deml_product p = {.group = kernel_row, .group_stride = deml_times(s->dilation_height, row), .row_stride = 1,
                          .segments = a->oh, .run = a->ow, .segment = deml_times(s->stride_height, row),
                          .step = deml_times(s->stride_width, each), .b_stride = out, .init_stride = out,
                          .c_stride = out};
        if (has_gaps(s)) p.group = each, p.group_stride = deml_times(s->dilation_width, each);
        if (worker->scratch.measuring) {
            deml_product_rows(worker, &p, begin, last, columns);
            p.goes_on = true;
            deml_product_rows(worker, &p, begin, last, columns);
        } else {
            if (sink->gradient) rows = sink->gradient + begin * out;
            for (long image = 0; image < s->batch; image++)
                for (long group = 0; group < s->groups; group++) {
                    deml_pad_input(a, image, group * each, each, padded);
                    p.b = a->dy + image * a->oh * a->ow * out + group * columns;
                    p.goes_on = image > 0;
                    // Of a kernel with gaps one of its rows at a time, of another all.
                    for (long from = begin, to; from < last; from = to) {
                        const long of = has_gaps(s) ? from / kernel_row : 0;
                        to = has_gaps(s) ? deml_min(last, (of + 1) * kernel_row) : last;
                        p.a = padded + of * s->dilation_height * row;
                        p.c = rows + (of * kernel_row - begin) * out + group * columns;
                        p.init = p.goes_on ? p.c : NULL;
                        deml_product_rows(worker, &p, from - of * kernel_row, to - of * kernel_row, columns);
                    }
                }
            deml_conv2d_put(a, worker, begin, last, rows);
        }
        deml_arena_release(&worker->scratch, mark);
    }
    if (a->bias_sink && end > weight_rows(s))
        deml_bias_gradient(worker, output_pixels(a), 0, out, out, a->dy, a->bias_sink);
}
