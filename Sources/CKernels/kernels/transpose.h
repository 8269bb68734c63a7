// A matrix the other way round, a square of LANES x LANES at a time in registers.

#if LANES == 16
#define LOW_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define LOW_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOW_HALVES 0, 4, 1, 5
#define HIGH_HALVES 2, 6, 3, 7
#endif

/// As often as the lanes can be halved: row i and row i + LANES/2 become two rows with their elements in turn.
INLINE void transpose_square(const float *from, long from_stride, float *to, long to_stride) {
    vf m[LANES], turned[LANES];
    UNROLL for (int i = 0; i < LANES; i++) m[i] = load(from + i * from_stride);
    UNROLL for (int size = LANES; size > 1; size /= 2) {
        UNROLL for (int i = 0; i < LANES / 2; i++) {
            turned[2 * i] = __builtin_shufflevector(m[i], m[i + LANES / 2], LOW_HALVES);
            turned[2 * i + 1] = __builtin_shufflevector(m[i], m[i + LANES / 2], HIGH_HALVES);
        }
        UNROLL for (int i = 0; i < LANES; i++) m[i] = turned[i];
    }
    UNROLL for (int i = 0; i < LANES; i++) store(to + i * to_stride, m[i]);
}

/// to[c][r] = from[r][c].
static void transpose(long rows, long columns, const float *from, long from_stride, float *to, long to_stride) {
    const long whole_rows = rows / LANES * LANES, whole_columns = columns / LANES * LANES;
    for (long r = 0; r < whole_rows; r += LANES)
        for (long c = 0; c < whole_columns; c += LANES)
            transpose_square(from + r * from_stride + c, from_stride, to + c * to_stride + r, to_stride);
    for (long c = 0; c < columns; c++)
        for (long r = c < whole_columns ? whole_rows : 0; r < rows; r++) to[c * to_stride + r] = from[r * from_stride + c];
}
#undef LOW_HALVES
#undef HIGH_HALVES
