// The inner loop of every matrix product and convolution, and column sums.

/// A tile of `rows` x `vectors` accumulators kept in registers. Each step of the sum loads `vectors` vectors of b and
/// broadcasts one element of each row of a. rows and vectors are constants wherever this is inlined.
INLINE void tile_of(const int rows, const int vectors, const deml_tile *t) {
    vf sum[DEML_MAX_TILE_ROWS][DEML_MAX_TILE_VECTORS];
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++)
            sum[r][v] = t->init ? load(t->init + r * t->init_stride + v * LANES) : (vf)0;
    const float *b = t->b;
    const long step = t->step, run = t->run, b_stride = t->b_stride;
    for (long s = 0; s < t->segments; s++) {
        const float *a[DEML_MAX_TILE_ROWS];
        UNROLL for (int r = 0; r < rows; r++) a[r] = t->a[r] + s * t->segment;
        for (long k = 0; k < run; k++) {
            vf row[DEML_MAX_TILE_VECTORS];
            UNROLL for (int v = 0; v < vectors; v++) row[v] = load(b + v * LANES);
            b += b_stride;
            UNROLL for (int r = 0; r < rows; r++) {
                const vf x = (vf)(a[r][k * step]);
                UNROLL for (int v = 0; v < vectors; v++) sum[r][v] = fma_(x, row[v], sum[r][v]);
            }
        }
    }
    UNROLL for (int r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) {
            const vf value = t->relu ? choose(sum[r][v] > 0, sum[r][v], (vf)0) : sum[r][v];
            store(t->c + r * t->c_stride + v * LANES, value);
        }
}

// One copy of the loop for each size of tile. TILE_ROWS_1 … are the most rows with that many vectors of accumulators.
#define TILE_CASE(rows, vectors) \
    case (rows) * 8 + (vectors): if ((rows) <= TILE_ROWS_##vectors) return tile_of(rows, vectors, t); break;
#define TILE_CASES(rows) TILE_CASE(rows, 1) TILE_CASE(rows, 2) TILE_CASE(rows, 3) TILE_CASE(rows, 4)

static void tile(long rows, long vectors, const deml_tile *t) {
    switch (rows * 8 + vectors) {
        TILE_CASES(1) TILE_CASES(2) TILE_CASES(3) TILE_CASES(4) TILE_CASES(5) TILE_CASES(6)
        TILE_CASES(7) TILE_CASES(8) TILE_CASES(9) TILE_CASES(10) TILE_CASES(11) TILE_CASES(12)
    }
}

/// `vectors` columns of vectors side by side, n floats: their chains run at once, and what lies in a row is read together.
INLINE void column_sums_of(const int vectors, long rows, long n, long stride, const float *x, float *sums,
                           bool accumulate) {
    vf sum[8];
    UNROLL for (int v = 0; v < vectors; v++) sum[v] = accumulate ? load_some(sums + v * LANES, n - v * LANES) : (vf)0;
    for (long r = 0; r < rows; r++)
        UNROLL for (int v = 0; v < vectors; v++) sum[v] += load_some(x + r * stride + v * LANES, n - v * LANES);
    UNROLL for (int v = 0; v < vectors; v++) store_some(sums + v * LANES, sum[v], n - v * LANES);
}

static void column_sums(long rows, long count, long stride, const float *x, float *sums, bool accumulate) {
    long j = 0;
    for (; j + 8 * LANES <= count; j += 8 * LANES) column_sums_of(8, rows, 8 * LANES, stride, x + j, sums + j, accumulate);
    for (; j + 4 * LANES <= count; j += 4 * LANES) column_sums_of(4, rows, 4 * LANES, stride, x + j, sums + j, accumulate);
    for (; j + LANES <= count; j += LANES) column_sums_of(1, rows, LANES, stride, x + j, sums + j, accumulate);
    if (j < count) column_sums_of(1, rows, count - j, stride, x + j, sums + j, accumulate);
}

/// to[r][i] = from[r][i].
static void copy_rows(long rows, long width, const float *from, long from_stride, float *to, long to_stride) {
    if (width == 4 * LANES) {
        for (long r = 0; r < rows; r++)
            UNROLL for (int v = 0; v < 4; v++)
                store(to + r * to_stride + v * LANES, load(from + r * from_stride + v * LANES));
        return;
    }
    for (long r = 0; r < rows; r++) {
        float *const row = to + r * to_stride;
        long i = 0;
        for (; i + LANES <= width; i += LANES) store(row + i, load(from + r * from_stride + i));
        if (i < width) store_some(row + i, load_some(from + r * from_stride + i, width - i), width - i);
    }
}

static double fma_peak(long iterations) {
    enum { CHAINS = 12 };
    vf sum[CHAINS];
    const vf a = 0.5f, b = 0.25f;
    UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = (float)i;
    for (long k = 0; k < iterations; k++)
        UNROLL for (int i = 0; i < CHAINS; i++) sum[i] = fma_(sum[i], a, b);
    volatile vf keep;
    UNROLL for (int i = 0; i < CHAINS; i++) keep = sum[i];
    (void)keep;
    return 2.0 * LANES * CHAINS * (double)iterations;
}
