// Upsampling and adaptive average pooling of x[batch][height][width][channels]. Elements of the division: rows of output
// (forward) or input (backward), of all images. Backward gathers: a row of dx has the windows over it in their order.

// MARK: Upsampling (torch's interpolate, align_corners=False)

/// Where an output is between two inputs: it is (1 - share)·lower + share·upper. Nearest: share 0.
typedef struct { long lower, upper; float share; } between_inputs;

INLINE between_inputs source_of(long at, float scale, long size, bool bilinear) {
    if (!bilinear) {
        const long lower = deml_min((long)((float)at * scale), size - 1);
        return (between_inputs){lower, lower, 0};
    }
    const float place = scale * ((float)at + 0.5f) - 0.5f, there = place > 0 ? place : 0;
    const long lower = deml_min((long)there, size - 1);
    const float share = there - (float)lower;
    return (between_inputs){lower, deml_min(lower + 1, size - 1), share < 1 ? share : 1};
}

/// How much of input `at` an output has.
INLINE float share_of(between_inputs source, long at) {
    return (source.lower == at ? 1 - source.share : 0) + (source.upper == at ? source.share : 0);
}

/// First and one past the last output that input `at` is part of: sources go up with outputs.
INLINE void outputs_of(long at, float scale, long size, long outputs, bool bilinear, long *first, long *last) {
    long low = 0, high = outputs;
    while (low < high) {
        const long middle = (low + high) / 2;
        if (source_of(middle, scale, size, bilinear).upper < at) low = middle + 1;
        else high = middle;
    }
    *first = low;
    high = outputs;
    while (low < high) {
        const long middle = (low + high) / 2;
        if (source_of(middle, scale, size, bilinear).lower <= at) low = middle + 1;
        else high = middle;
    }
    *last = low;
}

/// ((1-a)(1-b)·x00 + (1-a)b·x01) + a(1-b)·x10) + ab·x11, a being the height's share and b the width's.
DEML_BODY(upsample_forward) {
    const deml_resize2d_arguments *a = arguments;
    const deml_resize2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const between_inputs h = source_of(row % s->out_height, s->scale_height, s->height, s->bilinear);
        const float *image = a->from + row / s->out_height * s->height * s->width * s->channels;
        const float *upper = image + h.lower * s->width * s->channels, *lower = image + h.upper * s->width * s->channels;
        for (long ow = 0; ow < s->out_width; ow++) {
            const between_inputs w = source_of(ow, s->scale_width, s->width, s->bilinear);
            const long left = w.lower * s->channels, right = w.upper * s->channels;
            float *to = a->to + (row * s->out_width + ow) * s->channels;
            if (!s->bilinear) {
                memcpy(to, upper + left, (size_t)s->channels * sizeof(float));
                continue;
            }
            const vf w00 = (1 - h.share) * (1 - w.share), w01 = (1 - h.share) * w.share;
            const vf w10 = h.share * (1 - w.share), w11 = h.share * w.share;
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = w00 * load_some(upper + left + c, n);
                sum = fma_(w01, load_some(upper + right + c, n), sum);
                sum = fma_(w10, load_some(lower + left + c, n), sum);
                store_some(to + c, fma_(w11, load_some(lower + right + c, n), sum), n);
            }
        }
    }
}

DEML_BODY(upsample_backward) {
    const deml_resize2d_arguments *a = arguments;
    const deml_resize2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long h = row % s->height, image = row / s->height;
        long h0, h1, w0, w1;
        outputs_of(h, s->scale_height, s->height, s->out_height, s->bilinear, &h0, &h1);
        for (long w = 0; w < s->width; w++) {
            outputs_of(w, s->scale_width, s->width, s->out_width, s->bilinear, &w0, &w1);
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = 0;
                for (long oh = h0; oh < h1; oh++) {
                    const float of_row = share_of(source_of(oh, s->scale_height, s->height, s->bilinear), h);
                    for (long ow = w0; ow < w1; ow++) {
                        const float share = share_of(source_of(ow, s->scale_width, s->width, s->bilinear), w);
                        const long from = ((image * s->out_height + oh) * s->out_width + ow) * s->channels + c;
                        sum = fma_((vf)(of_row * share), load_some(a->from + from, n), sum);
                    }
                }
                store_some(a->to + (row * s->width + w) * s->channels + c, sum, n);
            }
        }
    }
}

// MARK: Adaptive average pooling. Window i of n over `size`: from ⌊i·size/n⌋ to ⌈(i+1)·size/n⌉.

INLINE long window_begin(long i, long size, long windows) { return i * size / windows; }
INLINE long window_end(long i, long size, long windows) { return deml_ceil_div((i + 1) * size, windows); }

DEML_BODY(adaptive_pool_forward) {
    const deml_resize2d_arguments *a = arguments;
    const deml_resize2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long oh = row % s->out_height;
        const long h0 = window_begin(oh, s->height, s->out_height), h1 = window_end(oh, s->height, s->out_height);
        const float *image = a->from + row / s->out_height * s->height * s->width * s->channels;
        for (long ow = 0; ow < s->out_width; ow++) {
            const long w0 = window_begin(ow, s->width, s->out_width), w1 = window_end(ow, s->width, s->out_width);
            const float area = (float)((h1 - h0) * (w1 - w0));
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = 0;
                for (long h = h0; h < h1; h++)
                    for (long w = w0; w < w1; w++) sum += load_some(image + (h * s->width + w) * s->channels + c, n);
                store_some(a->to + (row * s->out_width + ow) * s->channels + c, sum / area, n);
            }
        }
    }
}

DEML_BODY(adaptive_pool_backward) {
    const deml_resize2d_arguments *a = arguments;
    const deml_resize2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long h = row % s->height, image = row / s->height;
        // The first window that ends behind h; the last that begins before or at it.
        const long first_h = h * s->out_height / s->height, last_h = ((h + 1) * s->out_height - 1) / s->height;
        for (long w = 0; w < s->width; w++) {
            const long first_w = w * s->out_width / s->width, last_w = ((w + 1) * s->out_width - 1) / s->width;
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = 0;
                for (long oh = first_h; oh <= last_h; oh++) {
                    const long height = window_end(oh, s->height, s->out_height) -
                                        window_begin(oh, s->height, s->out_height);
                    for (long ow = first_w; ow <= last_w; ow++) {
                        const long width = window_end(ow, s->width, s->out_width) -
                                           window_begin(ow, s->width, s->out_width);
                        const long from = ((image * s->out_height + oh) * s->out_width + ow) * s->channels + c;
                        sum += load_some(a->from + from, n) / (float)(height * width);
                    }
                }
                store_some(a->to + (row * s->width + w) * s->channels + c, sum, n);
            }
        }
    }
}
