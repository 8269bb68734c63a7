// Images of another size: padding, upsampling, adaptive average pooling. The loops over channels: kernels/resample.h.
#include "internal.h"

// MARK: Padding

typedef struct {
    deml_pad2d s;
    long out_height, out_width;
    const float *from;
    float *to;
} pad_arguments;

static void fill(float *to, long count, float value) {
    for (long i = 0; i < count; i++) to[i] = value;
}

/// Elements: rows of y.
DEML_BODY(pad_forward) {
    const pad_arguments *a = arguments;
    const deml_pad2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long h = row % a->out_height - s->top, image = row / a->out_height;
        float *to = a->to + row * a->out_width * s->channels;
        if (h < 0 || h >= s->height) {
            fill(to, a->out_width * s->channels, s->value);
            continue;
        }
        fill(to, s->left * s->channels, s->value);
        memcpy(to + s->left * s->channels, a->from + (image * s->height + h) * s->width * s->channels,
               (size_t)(s->width * s->channels) * sizeof(float));
        fill(to + (s->left + s->width) * s->channels, s->right * s->channels, s->value);
    }
}

/// Elements: rows of dx.
DEML_BODY(pad_backward) {
    const pad_arguments *a = arguments;
    const deml_pad2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long h = row % s->height, image = row / s->height;
        const long from = ((image * a->out_height + h + s->top) * a->out_width + s->left) * s->channels;
        memcpy(a->to + row * s->width * s->channels, a->from + from,
               (size_t)(s->width * s->channels) * sizeof(float));
    }
}

static void pad(deml_pool *pool, deml_body *body, const deml_pad2d *s, bool backward, const float *from, float *to) {
    const pad_arguments a = {*s, s->top + s->height + s->bottom, s->left + s->width + s->right, from, to};
    const long rows = s->batch * (backward ? s->height : a.out_height);
    deml_run(pool, (deml_call){body, &a, rows, 1, (double)(a.out_width * s->channels) / 4, false});
}
void deml_pad2d_forward(deml_pool *pool, const deml_pad2d *shape, const float *x, float *y) {
    pad(pool, pad_forward, shape, false, x, y);
}
void deml_pad2d_backward(deml_pool *pool, const deml_pad2d *shape, const float *dy, float *dx) {
    pad(pool, pad_backward, shape, true, dy, dx);
}

// MARK: Upsampling, adaptive average pooling

static void resize(deml_pool *pool, deml_body *body, const deml_resize2d *s, bool backward, double operations,
                   const float *from, float *to) {
    const deml_resize2d_arguments a = {*s, from, to};
    const long rows = s->batch * (backward ? s->height : s->out_height);
    const double width = (double)(backward ? deml_max(s->width, s->out_width * s->out_height / s->height) : s->out_width);
    deml_run(pool, (deml_call){body, &a, rows, 1, width * (double)s->channels * operations, false});
}
void deml_upsample2d_forward(deml_pool *pool, const deml_resize2d *shape, const float *x, float *y) {
    resize(pool, deml_pool_kernels(pool)->upsample_forward, shape, false, shape->bilinear ? 4 : 1, x, y);
}
void deml_upsample2d_backward(deml_pool *pool, const deml_resize2d *shape, const float *dy, float *dx) {
    resize(pool, deml_pool_kernels(pool)->upsample_backward, shape, true, shape->bilinear ? 4 : 1, dy, dx);
}
void deml_adaptive_avg_pool2d_forward(deml_pool *pool, const deml_resize2d *shape, const float *x, float *y) {
    const double window = (double)((shape->height / shape->out_height + 1) * (shape->width / shape->out_width + 1));
    resize(pool, deml_pool_kernels(pool)->adaptive_pool_forward, shape, false, window, x, y);
}
void deml_adaptive_avg_pool2d_backward(deml_pool *pool, const deml_resize2d *shape, const float *dy, float *dx) {
    resize(pool, deml_pool_kernels(pool)->adaptive_pool_backward, shape, true, 2, dy, dx);
}
