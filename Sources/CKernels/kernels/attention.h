// Scaled dot-product attention (Vaswani et al., arXiv:1706.03762), DEML_ATTENTION_ROWS queries at a time against all keys, so
// that no matrix of tokens x tokens is ever made (Rabe and Staats, arXiv:2112.05682). Elements of the division: heads of all
// examples.

enum { QUERIES = DEML_ATTENTION_ROWS };

/// What one head of one example is read from, rows of q, k and v `stride` apart.
typedef struct {
    const deml_attention_arguments *a;
    long tokens, width, stride, inner;  // inner: heads·width
    const float *q, *k, *v;
    float scale;
    long first_row;  // of statistics, and of dropout's numbers
} attention_head;

/// p + n, of arrays that there may be none of (where only scratch is measured).
INLINE const float *from_here(const float *p, long n) { return p ? p + n : NULL; }
INLINE float *to_there(float *p, long n) { return p ? p + n : NULL; }

INLINE attention_head attention_head_at(const deml_attention_arguments *a, long at) {
    const deml_attention *s = &a->s;
    const long inner = s->heads * s->width, b = at / s->heads, h = at % s->heads;
    const float *q = from_here(a->qkv, b * s->tokens * 3 * inner + h * s->width);
    return (attention_head){a, s->tokens, s->width, 3 * inner, inner, q, from_here(q, inner), from_here(q, 2 * inner),
                            1.0f / sqrtf((float)s->width), at * s->tokens};
}

/// Keys that the block of queries from `query` on is compared with. Those that a query may not see take part as zeros.
INLINE long attention_keys(const attention_head *h, long query) {
    return h->a->s.causal ? deml_min(query + QUERIES, h->tokens) : h->tokens;
}
/// Keys that it sees.
INLINE long attention_seen(const attention_head *h, long query) { return h->a->s.causal ? query + 1 : h->tokens; }

INLINE void attention_scaled(const attention_head *h, long query, long rows, float *to) {
    for (long r = 0; r < rows; r++)
        for (long d = 0; d < h->width; d += LANES)
            store_some(to + r * h->width + d, load_some(h->q + (query + r) * h->stride + d, h->width - d) * h->scale,
                       h->width - d);
}

/// The block of queries after the one from `query` on; to measure, the first and the last are enough: no other needs more.
INLINE long attention_next(long query, long tokens, bool measuring) {
    const long last = (tokens - 1) / QUERIES * QUERIES;
    if (!measuring) return query + QUERIES;
    return query < last ? last : tokens;
}

/// Rows of scores lie so far apart: whole vectors of every length, so that none is cut.
INLINE long attention_row(long tokens) { return deml_times(deml_ceil_div(tokens, 16), 16); }

/// Whether lanes of the vector at j are among the first n.
INLINE vi attention_mask(long j, long n) {
    vi lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < (int32_t)deml_min(n - j, LANES);
}

/// The largest of x[0 ..< n], a row of scores.
INLINE float attention_maximum(const float *x, long n) {
    vf most = load(x);
    for (long j = LANES; j + LANES <= n; j += LANES) most = choose(load(x + j) > most, load(x + j), most);
    const long rest = n / LANES * LANES;
    if (n < LANES) most = choose(attention_mask(0, n), most, (vf)-INFINITY);
    else if (rest < n) {
        const vf last = choose(attention_mask(rest, n), load(x + rest), (vf)-INFINITY);
        most = choose(last > most, last, most);
    }
    return largest(most);
}

/// x[0 ..< n] times 0 or 1/(1-p): numbers of the row that begins at a multiple of 64.
INLINE void attention_dropout(const attention_head *h, long query, long n, float *x) {
    const deml_attention_arguments *a = h->a;
    const long row = (h->first_row + query) * (deml_ceil_div(h->tokens, 64) * 64);
    for (long j = 0; j < n; j += 64)
        for (long lane = 0; lane < 16; lane += LANES) {
            vu words[4];
            philox(&a->random, (uint32_t)((row + j) / 4 + lane), words);
            for (long w = 0; w < 4; w++) {
                const long at = j + w * 16 + lane, left = n - at;
                if (left <= 0) break;
                const vf kept = load_some(x + at, left) * a->keep;
                store_some(x + at, choose((vi)(words[w] >= a->threshold), kept, (vf)0), left);
            }
        }
}

/// A product of one head: c[rows][columns] (= or +=) A·B, where A's row r begins at a + r·row_stride and goes in `step`s.
INLINE void attention_product(deml_worker *worker, long rows, long columns, long run, const float *a, long row_stride,
                              long step, const float *b, long b_stride, float *c, long c_stride, bool goes_on) {
    const deml_product p = {.a = a, .group = rows, .row_stride = row_stride, .segments = 1, .run = run, .step = step,
                            .b = b, .b_stride = b_stride, .init = goes_on ? c : NULL, .init_stride = c_stride, .c = c,
                            .c_stride = c_stride, .goes_on = goes_on};
    deml_product_rows(worker, &p, 0, rows, columns);
}

/// scratch: kᵀ, queries, their scores.
DEML_BODY(attention_forward) {
    const deml_attention_arguments *a = arguments;
    const long tokens = a->s.tokens, width = a->s.width;
    const bool measuring = worker->scratch.measuring;
    float *kt = deml_cut(&worker->scratch, deml_times(tokens, width));
    float *q = deml_cut(&worker->scratch, deml_times(QUERIES, width));
    const long row = attention_row(tokens);
    float *scores = deml_cut(&worker->scratch, deml_times(QUERIES, row));
    for (long at = begin; at < (measuring ? begin + 1 : end); at++) {
        const attention_head h = attention_head_at(a, at);
        float *const y = to_there(a->to, at / a->s.heads * tokens * h.inner + at % a->s.heads * width);
        if (!measuring) transpose(tokens, width, h.k, h.stride, kt, tokens);
        for (long query = 0; query < tokens; query = attention_next(query, tokens, measuring)) {
            const long rows = deml_min(QUERIES, tokens - query), keys = attention_keys(&h, query);
            if (!measuring) attention_scaled(&h, query, rows, q);
            attention_product(worker, rows, keys, width, q, width, 1, kt, tokens, scores, row, false);
            for (long r = 0; r < rows && !measuring; r++) {
                float *const x = scores + r * row, *const statistics = a->statistics + 2 * (h.first_row + query + r);
                const long n = attention_seen(&h, query + r);
                const float maximum = attention_maximum(x, n);
                partial_sums sums = {0};
                long j = 0;
                for (; j + LANES <= n; j += LANES) {
                    const vf p = exponential(load(x + j) - maximum);
                    sums.part[PART(j)] += p;
                    store(x + j, p);
                }
                if (j < n) {
                    const vf p = choose(attention_mask(j, n), exponential(load(x + j) - maximum), (vf)0);
                    sums.part[PART(j)] += p;
                    store(x + j, p);
                    j += LANES;
                }
                for (; j < keys; j += LANES) store(x + j, (vf)0);
                statistics[0] = maximum, statistics[1] = total(sums);
                if (a->threshold > 0) attention_dropout(&h, query + r, n, x);
            }
            attention_product(worker, rows, width, keys, scores, row, 1, h.v, h.stride, to_there(y, query * h.inner),
                              h.inner, false);
            for (long r = 0; r < rows && !measuring; r++) {
                const float sum = a->statistics[2 * (h.first_row + query + r) + 1];
                float *const to = y + (query + r) * h.inner;
                for (long d = 0; d < width; d += LANES) store_some(to + d, load_some(to + d, width - d) / sum, width - d);
            }
        }
    }
}

/// dv[j] = Σ p·dy, ds = p·(dp - Σ dy·y) with dp = dy·vᵀ, dq = scale·Σ ds·k, dk[j] = Σ ds·(scale·q): sums over the queries in
/// their order, over the keys in theirs. scratch: kᵀ, vᵀ, queries, p and ds.
DEML_BODY(attention_backward) {
    const deml_attention_arguments *a = arguments;
    const long tokens = a->s.tokens, width = a->s.width;
    const bool measuring = worker->scratch.measuring;
    float *kt = deml_cut(&worker->scratch, deml_times(tokens, width));
    float *vt = deml_cut(&worker->scratch, deml_times(tokens, width));
    float *q = deml_cut(&worker->scratch, deml_times(QUERIES, width));
    const long row = attention_row(tokens);
    float *p = deml_cut(&worker->scratch, deml_times(QUERIES, row));
    float *ds = deml_cut(&worker->scratch, deml_times(QUERIES, row));
    float *keep = deml_cut(&worker->scratch, a->threshold > 0 ? row : 1);
    for (long at = begin; at < (measuring ? begin + 1 : end); at++) {
        const attention_head h = attention_head_at(a, at);
        const long column = at % a->s.heads * width, first = at / a->s.heads * tokens;
        float *const dq = to_there(a->to, first * h.stride + column);
        float *const dk = to_there(dq, h.inner), *const dv = to_there(dq, 2 * h.inner);
        const float *const y = from_here(a->y, first * h.inner + column);
        const float *const dy = from_here(a->dy, first * h.inner + column);
        if (!measuring) {
            transpose(tokens, width, h.k, h.stride, kt, tokens);
            transpose(tokens, width, h.v, h.stride, vt, tokens);
            for (long t = 0; t < tokens; t++) {
                memset(dk + t * h.stride, 0, (size_t)width * sizeof(float));
                memset(dv + t * h.stride, 0, (size_t)width * sizeof(float));
            }
        }
        for (long query = 0; query < tokens; query = attention_next(query, tokens, measuring)) {
            const long rows = deml_min(QUERIES, tokens - query), keys = attention_keys(&h, query);
            const float *const dyq = from_here(dy, query * h.inner);
            if (!measuring) attention_scaled(&h, query, rows, q);
            attention_product(worker, rows, keys, width, q, width, 1, kt, tokens, p, row, false);
            attention_product(worker, rows, keys, width, dyq, h.inner, 1, vt, tokens, ds, row, false);
            for (long r = 0; r < rows && !measuring; r++) {
                float *const pr = p + r * row, *const dr = ds + r * row;
                const float *const statistics = a->statistics + 2 * (h.first_row + query + r);
                const long n = attention_seen(&h, query + r);
                partial_sums sums = {0};
                for (long d = 0; d < width; d += LANES)
                    sums.part[PART(d)] = fma_(load_some(dyq + r * h.inner + d, width - d),
                                              load_some(y + (query + r) * h.inner + d, width - d), sums.part[PART(d)]);
                const float dot = total(sums);
                if (a->threshold > 0) {
                    for (long j = 0; j < n; j++) keep[j] = 1;
                    attention_dropout(&h, query + r, n, keep);
                }
                for (long j = 0; j < keys; j += LANES) {
                    const vi seen = attention_mask(j, n);
                    const vf weight = exponential(load(pr + j) - statistics[0]) / statistics[1];
                    const vf kept = a->threshold > 0 ? load(keep + j) : (vf)1;
                    store(dr + j, choose(seen, weight * (load(dr + j) * kept - dot), (vf)0));
                    store(pr + j, choose(seen, weight * kept, (vf)0));
                }
            }
            attention_product(worker, keys, width, rows, p, 1, row, dyq, h.inner, dv, h.stride, true);
            attention_product(worker, keys, width, rows, ds, 1, row, q, width, dk, h.stride, true);
            float *const dqq = to_there(dq, query * h.stride);
            attention_product(worker, rows, width, keys, ds, row, 1, h.k, h.stride, dqq, h.stride, false);
            for (long r = 0; r < rows && !measuring; r++)
                for (long d = 0; d < width; d += LANES)
                    store_some(dqq + r * h.stride + d, load_some(dqq + r * h.stride + d, width - d) * h.scale, width - d);
        }
    }
}
