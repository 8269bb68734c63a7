// Batch normalisation of x[rows][channels] (Ioffe and Szegedy, arXiv:1502.03167). A channel's sum over rows is 4 partial
// sums a block of rows, row r of the block in r % 4, halved; then a chain over the blocks.

/// Runs `step` for each row r of block b and each vector of channels; it adds to sum[r % 4] (and more[r % 4]).
#define BLOCK_SUMS(step) \
    for (long b = begin; b < end; b++) { \
        const long first = b * a->block, last = deml_min(a->rows, first + a->block); \
        float *to = a->sums + b * 2 * a->channels; \
        for (long c = 0; c < a->channels; c += LANES) { \
            const long n = a->channels - c; \
            vf sum[4] = {0}, more[4] = {0}; \
            long r = first; \
            for (; r + 4 <= last; r += 4) UNROLL for (int i = 0; i < 4; i++) { step(r + i, i) } \
            for (int i = 0; r + i < last; i++) { step(r + i, i) } \
            store_some(to + c, (sum[0] + sum[2]) + (sum[1] + sum[3]), n); \
            store_some(to + a->channels + c, (more[0] + more[2]) + (more[1] + more[3]), n); \
        } \
    }

/// Elements: blocks. Sums of x.
DEML_BODY(batch_norm_sums) {
    const deml_batch_norm_arguments *a = arguments;
#define STEP(row, i) sum[i] += load_some(a->x + (row) * a->channels + c, n);
    BLOCK_SUMS(STEP)
#undef STEP
}

/// Elements: blocks. Sums of (x - mean)².
DEML_BODY(batch_norm_squares) {
    const deml_batch_norm_arguments *a = arguments;
#define STEP(row, i) \
    const vf d = load_some(a->x + (row) * a->channels + c, n) - load_some(a->mean + c, n); \
    sum[i] = fma_(d, d, sum[i]);
    BLOCK_SUMS(STEP)
#undef STEP
}

/// Elements: blocks. Sums of dy·normal, and of dy.
DEML_BODY(batch_norm_gradients) {
    const deml_batch_norm_arguments *a = arguments;
#define STEP(row, i) \
    const vf d = load_some(a->dy + (row) * a->channels + c, n); \
    const vf x = load_some(a->x + (row) * a->channels + c, n); \
    sum[i] = fma_(d, (x - load_some(a->mean + c, n)) * load_some(a->rstd + c, n), sum[i]); \
    more[i] += d;
    BLOCK_SUMS(STEP)
#undef STEP
}
#undef BLOCK_SUMS

/// Elements: rows.
DEML_BODY(batch_norm_forward) {
    const deml_batch_norm_arguments *a = arguments;
    for (long c = 0; c < a->channels; c += LANES) {
        const long n = a->channels - c;
        const vf mean = load_some(a->mean + c, n), rstd = load_some(a->rstd + c, n);
        const vf gamma = a->gamma ? load_some(a->gamma + c, n) : (vf)1;
        const vf beta = a->beta ? load_some(a->beta + c, n) : (vf)0;
        for (long r = begin; r < end; r++) {
            const long at = r * a->channels + c;
            store_some(a->to + at, fma_((load_some(a->x + at, n) - mean) * rstd, gamma, beta), n);
        }
    }
}

/// Elements: rows. dx = (dy - mean of dy - normal·mean of dy·normal)·(gamma·rstd).
DEML_BODY(batch_norm_backward) {
    const deml_batch_norm_arguments *a = arguments;
    for (long c = 0; c < a->channels; c += LANES) {
        const long n = a->channels - c;
        const vf mean = load_some(a->mean + c, n), rstd = load_some(a->rstd + c, n);
        const vf mean_d = load_some(a->mean_d + c, n), mean_dn = load_some(a->mean_dn + c, n);
        const vf scale = a->gamma ? load_some(a->gamma + c, n) * rstd : rstd;
        for (long r = begin; r < end; r++) {
            const long at = r * a->channels + c;
            const vf normal = (load_some(a->x + at, n) - mean) * rstd;
            store_some(a->to + at, fma_(-normal, mean_dn, load_some(a->dy + at, n) - mean_d) * scale, n);
        }
    }
}
