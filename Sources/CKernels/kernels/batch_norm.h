// Batch normalisation of x[rows][channels] (Ioffe and Szegedy, arXiv:1502.03167), and a relu that follows it. A channel's sum
// over rows is 4 partial sums a block of rows, row r of the block in r % 4, halved; then a chain over the blocks.

/// Whole vectors of channels whose sums are in registers at once: what lies side by side is read together.
enum { SUM_VECTORS = LANES == 16 ? 4 : 2, GRADIENT_VECTORS = LANES == 16 ? 2 : 1, NORM_ROWS = 32 };

/// Sums over the rows first ..< last of `vectors` vectors of channels from c on, n channels: `step` adds row r's vector v
/// to sum[v][i] (and more[v][i]), i being r % 4 within the block.
#define BLOCK_SUMS(vectors, step) \
    vf sum[SUM_VECTORS][4], more[SUM_VECTORS][4]; \
    UNROLL for (int v = 0; v < vectors; v++) UNROLL for (int i = 0; i < 4; i++) sum[v][i] = more[v][i] = (vf)0; \
    long r = first; \
    for (; r + 4 <= last; r += 4) \
        UNROLL for (int i = 0; i < 4; i++) UNROLL for (int v = 0; v < vectors; v++) { step(r + i, i, v) } \
    for (int i = 0; r + i < last; i++) UNROLL for (int v = 0; v < vectors; v++) { step(r + i, i, v) } \
    UNROLL for (int v = 0; v < vectors; v++) { \
        const long at = c + v * LANES, left = n - v * LANES; \
        store_some(to + at, (sum[v][0] + sum[v][2]) + (sum[v][1] + sum[v][3]), left); \
        store_some(to + a->channels + at, (more[v][0] + more[v][2]) + (more[v][1] + more[v][3]), left); \
    }

/// Vector v of row `row` of an array [rows][channels].
#define AT(array, row, v) load_some(array + (row) * a->channels + c + (v) * LANES, n - (v) * LANES)
#define OF_CHANNELS(array, v, otherwise) ((array) ? load_some((array) + c + (v) * LANES, n - (v) * LANES) : (vf)(otherwise))

INLINE void sums_of_block(const int vectors, const deml_batch_norm_arguments *a, long first, long last, long c, long n,
                          float *to) {
#define STEP(row, i, v) sum[v][i] += AT(a->x, row, v);
    BLOCK_SUMS(vectors, STEP)
#undef STEP
}

INLINE void squares_of_block(const int vectors, const deml_batch_norm_arguments *a, long first, long last, long c, long n,
                             float *to) {
    vf mean[SUM_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) mean[v] = OF_CHANNELS(a->mean, v, 0);
#define STEP(row, i, v) const vf d = AT(a->x, row, v) - mean[v]; sum[v][i] = fma_(d, d, sum[v][i]);
    BLOCK_SUMS(vectors, STEP)
#undef STEP
}

/// dy, or 0 where the relu behind the normalisation gave 0.
INLINE vf before_relu(bool relu, vf dy, vf normal, vf gamma, vf beta) {
    return relu ? choose(fma_(normal, gamma, beta) > 0, dy, (vf)0) : dy;
}

INLINE void gradients_of_block(const int vectors, const bool relu, const deml_batch_norm_arguments *a, long first,
                               long last, long c, long n, float *to) {
    vf mean[SUM_VECTORS], rstd[SUM_VECTORS], gamma[SUM_VECTORS], beta[SUM_VECTORS];
    UNROLL for (int v = 0; v < vectors; v++) {
        mean[v] = OF_CHANNELS(a->mean, v, 0), rstd[v] = OF_CHANNELS(a->rstd, v, 0);
        gamma[v] = OF_CHANNELS(a->gamma, v, 1), beta[v] = OF_CHANNELS(a->beta, v, 0);
    }
#define STEP(row, i, v) \
    const vf normal = (AT(a->x, row, v) - mean[v]) * rstd[v]; \
    const vf d = before_relu(relu, AT(a->dy, row, v), normal, gamma[v], beta[v]); \
    sum[v][i] = fma_(d, normal, sum[v][i]); \
    more[v][i] += d;
    BLOCK_SUMS(vectors, STEP)
#undef STEP
}
#undef BLOCK_SUMS

/// Elements: blocks. What is read last by one pass is read first by the next, `backwards`, from the nearest cache.
#define EACH_BLOCK(most, call) \
    for (long i = begin; i < end; i++) { \
        const long b = a->backwards ? end - 1 - (i - begin) : i; \
        const long first = b * a->block, last = deml_min(a->rows, first + a->block); \
        float *const to = a->sums + b * 2 * a->channels; \
        long c = 0; \
        for (; c + most * LANES <= a->channels; c += most * LANES) call(most, most * LANES); \
        for (; c + LANES <= a->channels; c += LANES) call(1, LANES); \
        if (c < a->channels) call(1, a->channels - c); \
    }

/// Sums of x.
DEML_BODY(batch_norm_sums) {
    const deml_batch_norm_arguments *a = arguments;
#define CALL(vectors, n) sums_of_block(vectors, a, first, last, c, n, to)
    EACH_BLOCK(SUM_VECTORS, CALL)
#undef CALL
}

/// Sums of (x - mean)².
DEML_BODY(batch_norm_squares) {
    const deml_batch_norm_arguments *a = arguments;
#define CALL(vectors, n) squares_of_block(vectors, a, first, last, c, n, to)
    EACH_BLOCK(SUM_VECTORS, CALL)
#undef CALL
}

/// Sums of dy·normal, and of dy.
DEML_BODY(batch_norm_gradients) {
    const deml_batch_norm_arguments *a = arguments;
#define CALL(vectors, n) gradients_of_block(vectors, false, a, first, last, c, n, to)
#define CALL_RELU(vectors, n) gradients_of_block(vectors, true, a, first, last, c, n, to)
    if (a->relu) EACH_BLOCK(GRADIENT_VECTORS, CALL_RELU)
    else EACH_BLOCK(GRADIENT_VECTORS, CALL)
#undef CALL
#undef CALL_RELU
}
#undef EACH_BLOCK

/// Rows begin ..< end, some at a time for each vector of channels, which `row` does: r and `at` are its place.
#define EACH_ROW(prepare, row) \
    for (long some = begin; some < end; some += NORM_ROWS) { \
        const long rows = deml_min(NORM_ROWS, end - some); \
        const long from = a->backwards ? begin + end - some - rows : some; \
        for (long c = 0; c < a->channels; c += LANES) { \
            const long n = a->channels - c; \
            prepare \
            if (n >= LANES) for (long r = from; r < from + rows; r++) { const long n = LANES, at = r * a->channels + c; row } \
            else for (long r = from; r < from + rows; r++) { const long at = r * a->channels + c; row } \
        } \
    }

/// Elements: rows.
DEML_BODY(batch_norm_forward) {
    const deml_batch_norm_arguments *a = arguments;
    const bool relu = a->relu;
#define PREPARE \
    const vf mean = OF_CHANNELS(a->mean, 0, 0), rstd = OF_CHANNELS(a->rstd, 0, 0); \
    const vf gamma = OF_CHANNELS(a->gamma, 0, 1), beta = OF_CHANNELS(a->beta, 0, 0);
#define ROW \
    const vf y = fma_((load_some(a->x + at, n) - mean) * rstd, gamma, beta); \
    store_some(a->to + at, relu ? choose(y > 0, y, (vf)0) : y, n);
    EACH_ROW(PREPARE, ROW)
#undef PREPARE
#undef ROW
}

/// Elements: rows. dx = (dy - mean of dy - normal·mean of dy·normal)·(gamma·rstd).
DEML_BODY(batch_norm_backward) {
    const deml_batch_norm_arguments *a = arguments;
    const bool relu = a->relu;
#define PREPARE \
    const vf mean = OF_CHANNELS(a->mean, 0, 0), rstd = OF_CHANNELS(a->rstd, 0, 0); \
    const vf gamma = OF_CHANNELS(a->gamma, 0, 1), beta = OF_CHANNELS(a->beta, 0, 0); \
    const vf mean_d = OF_CHANNELS(a->mean_d, 0, 0), mean_dn = OF_CHANNELS(a->mean_dn, 0, 0); \
    const vf scale = a->gamma ? gamma * rstd : rstd;
#define ROW \
    const vf normal = (load_some(a->x + at, n) - mean) * rstd; \
    const vf d = before_relu(relu, load_some(a->dy + at, n), normal, gamma, beta); \
    store_some(a->to + at, fma_(-normal, mean_dn, d - mean_d) * scale, n);
    EACH_ROW(PREPARE, ROW)
#undef PREPARE
#undef ROW
}
#undef EACH_ROW
#undef AT
#undef OF_CHANNELS
