// The inner loops of a depthwise convolution: lanes are channels, and several pixels or taps are in registers.

enum { DEPTHWISE_PIXELS = 6, DEPTHWISE_TAPS = 9 };

/// `pixels` outputs of LANES channels at once, `pixel_stride` apart in x.
INLINE void depthwise_block(const int pixels, const deml_taps *t, long channels, long n, long pixel_stride,
                            const float *x, const float *weights, const float *bias, bool relu, float *y) {
    vf sum[DEPTHWISE_PIXELS];
    UNROLL for (int i = 0; i < pixels; i++) sum[i] = bias ? load_some(bias, n) : (vf)0;
    for (long r = 0; r < t->rows; r++) {
        const float *row = x + r * t->row_stride;
        for (long c = 0; c < t->columns; c++, weights += channels) {
            const vf w = load_some(weights, n);
            UNROLL for (int i = 0; i < pixels; i++)
                sum[i] = fma_(load_some(row + i * pixel_stride, n), w, sum[i]);
            row += t->column_stride;
        }
    }
    UNROLL for (int i = 0; i < pixels; i++)
        store_some(y + i * channels, relu ? choose(sum[i] > 0, sum[i], (vf)0) : sum[i], n);
}

INLINE void depthwise_columns(const deml_taps *t, long pixels, long channels, long n, long pixel_stride,
                              const float *x, const float *weights, const float *bias, bool relu, float *y) {
    long p = 0;
    for (; p + DEPTHWISE_PIXELS <= pixels; p += DEPTHWISE_PIXELS)
        depthwise_block(DEPTHWISE_PIXELS, t, channels, n, pixel_stride, x + p * pixel_stride, weights, bias, relu,
                        y + p * channels);
    for (; p < pixels; p++)
        depthwise_block(1, t, channels, n, pixel_stride, x + p * pixel_stride, weights, bias, relu, y + p * channels);
}

static void depthwise_pixels(const deml_taps *t, long pixels, long channels, long pixel_stride, const float *x,
                             const float *weights, const float *bias, bool relu, float *y) {
    for (long c = 0; c < channels; c += LANES) {
        const long n = channels - c;
        const float *b = bias ? bias + c : NULL;
        if (n >= LANES) depthwise_columns(t, pixels, channels, LANES, pixel_stride, x + c, weights + c, b, relu, y + c);
        else depthwise_columns(t, pixels, channels, n, pixel_stride, x + c, weights + c, b, relu, y + c);
    }
}

/// `count` taps from number `first` on, which go on with their chains in sums[tap][channels].
INLINE void depthwise_taps(const int count, const deml_taps *t, long first, long rows, long pixels, long channels,
                           long n, long row_stride, long pixel_stride, const float *x, long dy_stride,
                           const float *dy, float *sums) {
    vf sum[DEPTHWISE_TAPS];
    long offset[DEPTHWISE_TAPS];
    UNROLL for (int i = 0; i < count; i++) {
        offset[i] = (first + i) / t->columns * t->row_stride + (first + i) % t->columns * t->column_stride;
        sum[i] = load_some(sums + (first + i) * channels, n);
    }
    for (long r = 0; r < rows; r++)
        for (long p = 0; p < pixels; p++, dy += dy_stride) {
            const vf d = load_some(dy, n);
            const float *from = x + r * row_stride + p * pixel_stride;
            UNROLL for (int i = 0; i < count; i++) sum[i] = fma_(load_some(from + offset[i], n), d, sum[i]);
        }
    UNROLL for (int i = 0; i < count; i++) store_some(sums + (first + i) * channels, sum[i], n);
}

static void depthwise_weights(const deml_taps *t, long rows, long pixels, long channels, long row_stride,
                              long pixel_stride, const float *x, long dy_stride, const float *dy, float *sums) {
    const long all = t->rows * t->columns;
    for (long c = 0; c < channels; c += LANES) {
        const long n = channels - c;
        long tap = 0;
#define TAPS(count, n) \
        for (; tap + (count) <= all; tap += (count)) \
            depthwise_taps(count, t, tap, rows, pixels, channels, n, row_stride, pixel_stride, x + c, dy_stride, \
                           dy + c, sums + c);
        if (n >= LANES) {
            TAPS(DEPTHWISE_TAPS, LANES) TAPS(3, LANES) TAPS(1, LANES)
        } else {
            TAPS(DEPTHWISE_TAPS, n) TAPS(1, n)
        }
#undef TAPS
    }
}
