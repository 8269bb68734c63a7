// What the three ways of a convolution share: dense (conv2d.c), depthwise and grouped (conv2d_groups.c).
#ifndef DEML_CONV2D_H
#define DEML_CONV2D_H

#include "internal.h"

typedef struct {
    deml_conv2d s;
    long oh, ow;                         // output
    long padded_height, padded_width;    // of the image copy
    const float *x, *dy, *weights, *bias;
    float *to;
    bool relu;
    const deml_sink *weight_sink, *bias_sink;
} conv2d_arguments;

/// a·b·c; LONG_MAX if that is too much.
static inline long product_of(long a, long b, long c) { return deml_times(deml_times(a, b), c); }
/// What a kernel with gaps reaches over.
static inline long reach(long kernel, long dilation) { return deml_plus(deml_times(kernel - 1, dilation), 1); }
/// Rows of the weights' gradient: (kh, kw, input of a group).
static inline long weight_rows(const deml_conv2d *s) {
    return product_of(s->kernel_height, s->kernel_width, s->in_channels / s->groups);
}
static inline long output_pixels(const conv2d_arguments *a) { return product_of(a->s.batch, a->oh, a->ow); }

/// Channels first ..< first + count of one image [height][width][channels] into the middle of zeros
/// [padded_height][padded_width][count], `spread` elements apart (1: as it is).
void deml_pad_image(const float *image, long height, long width, long channels, long first, long count, long top,
                    long left, long spread_h, long spread_w, long padded_height, long padded_width, float *to);
/// So many channels of the image `image` of x, or of dy for the gradient by the input, padded.
void deml_pad_input(const conv2d_arguments *a, long image, long first, long count, float *to);
void deml_pad_gradient(const conv2d_arguments *a, long image, long first, long count, float *to);
/// Where a padded gradient begins for pixel (0, 0) of dx.
static inline long gradient_begin(const conv2d_arguments *a) {
    return (a->s.padding_height * a->padded_width + a->s.padding_width) * a->s.out_channels;
}
/// The finished rows begin ..< end of the weights' gradient, into their sink.
void deml_conv2d_put(const conv2d_arguments *a, deml_worker *worker, long begin, long end, const float *rows);

deml_body deml_depthwise_forward, deml_depthwise_input_gradient, deml_depthwise_weight_gradient;
deml_body deml_grouped_forward, deml_grouped_input_gradient, deml_grouped_weight_gradient;

#endif
