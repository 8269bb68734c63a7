// Matrix products: a product is cut into column panels as wide as a tile and row tiles; every tile runs the whole sum.
#include "internal.h"

enum {
    PANEL_BYTES = 128 * 1024,    // a copied panel of b stays in the second cache
    LARGE_BYTES = 1024 * 1024,   // a b larger than this does not
};

/// Whole segments, or steps of the only segment, whose rows of b are copied together.
static long panel_depth(long segments, long run, long width) {
    const long rows = deml_max(1, PANEL_BYTES / (width * (long)sizeof(float)));
    return segments > 1 ? deml_min(segments, deml_max(1, rows / run)) : deml_min(run, rows);
}

long deml_product_scratch(const deml_kernels *kernels, long segments, long run) {
    const long width = kernels->lanes * kernels->max_vectors;
    const long depth = panel_depth(segments, run, width) * (segments > 1 ? run : 1);
    const long copied = depth * width, narrow = (segments * run + 2 * DEML_MAX_TILE_ROWS) * kernels->lanes;
    return deml_max(copied, narrow) * (long)sizeof(float);
}

/// Rows begin ..< end of one panel of `vectors` whole vectors starting at `column`.
static void panel(const deml_kernels *kernels, const deml_product *p, long begin, long end, long column,
                  long vectors) {
    deml_tile t = {.segments = p->segments, .run = p->run, .segment = p->segment, .step = p->step,
                   .b = p->b + column, .b_stride = p->b_stride, .init_stride = p->init_stride,
                   .c_stride = p->c_stride, .relu = p->relu};
    const long most = kernels->max_rows[vectors];
    long row = begin % p->group;
    const float *a = p->a + begin / p->group * p->group_stride;
    for (long r = begin; r < end;) {
        // Tiles of equal height: 64 rows by at most 12 are 10 or 11 each, not five of 12 and one of 4.
        const long rows = deml_ceil_div(end - r, deml_ceil_div(end - r, most));
        for (long i = 0; i < rows; i++) {
            t.a[i] = a + row * p->row_stride;
            if (++row == p->group) row = 0, a += p->group_stride;
        }
        t.c = p->c + r * p->c_stride + column;
        t.init = p->init ? p->init + r * p->init_stride + column : NULL;
        kernels->tile(rows, vectors, &t);
        r += rows;
    }
}

/// The same from copies of the panel's rows of b, one block of the sum after the other, which go on with the chains in c.
static void copied_panel(const deml_kernels *kernels, const deml_product *p, long begin, long end, long column,
                         long vectors, float *copy) {
    const long width = vectors * kernels->lanes, total = p->segments > 1 ? p->segments : p->run;
    const long depth = panel_depth(p->segments, p->run, width);
    for (long k = 0; k < total; k += depth) {
        const long some = deml_min(depth, total - k), scale = p->segments > 1 ? p->run : 1;
        deml_product part = *p;
        part.a += k * (p->segments > 1 ? p->segment : p->step);
        if (p->segments > 1) part.segments = some;
        else part.run = some;
        for (long row = 0; row < some * scale; row++)
            memcpy(copy + row * width, p->b + (k * scale + row) * p->b_stride + column, (size_t)width * sizeof(float));
        part.b = copy - column, part.b_stride = width;
        if (k > 0) part.init = p->c, part.init_stride = p->c_stride;
        part.relu = p->relu && k + some == total;
        panel(kernels, &part, begin, end, column, vectors);
    }
}

/// The last `columns`, fewer than a vector, from a copy of b padded with zeros, into padded rows of c.
static void narrow_panel(const deml_kernels *kernels, const deml_product *p, long begin, long end, long column,
                         long columns, float *scratch) {
    const long lanes = kernels->lanes, k = p->segments * p->run, most = kernels->max_rows[1];
    const size_t bytes = (size_t)columns * sizeof(float);
    float *b = scratch, *c = b + k * lanes, *init = c + DEML_MAX_TILE_ROWS * lanes;
    memset(scratch, 0, (size_t)((k + 2 * DEML_MAX_TILE_ROWS) * lanes) * sizeof(float));
    for (long i = 0; i < k; i++) memcpy(b + i * lanes, p->b + i * p->b_stride + column, bytes);
    for (long r = begin; r < end; r += most) {
        const long rows = deml_min(end - r, most);
        deml_product part = *p;
        // Row r of the product is row 0 of the padded copies.
        for (long i = 0; p->init && i < rows; i++)
            memcpy(init + i * lanes, p->init + (r + i) * p->init_stride + column, bytes);
        part.b = b, part.b_stride = lanes;
        part.c = c - r * lanes, part.c_stride = lanes;
        if (p->init) part.init = init - r * lanes, part.init_stride = lanes;
        panel(kernels, &part, r, r + rows, 0, 1);
        for (long i = 0; i < rows; i++) memcpy(p->c + (r + i) * p->c_stride + column, c + i * lanes, bytes);
    }
}

void deml_product_rows(const deml_kernels *kernels, const deml_product *p, long begin, long end, long columns,
                       char *scratch) {
    const long lanes = kernels->lanes;
    // Where columns are no multiple of the lanes, the last vector begins early and computes some columns twice, which
    // is harmless unless c is also where the chains go on.
    const bool twice = columns >= lanes && p->init != p->c;
    long vectors_left = twice ? deml_ceil_div(columns, lanes) : columns / lanes;
    long column = 0;
    while (vectors_left > 0) {
        const long vectors = deml_min(
            columns / lanes, deml_ceil_div(vectors_left, deml_ceil_div(vectors_left, kernels->max_vectors)));
        const long first = deml_min(column, columns - vectors * lanes);
        // A panel with rows far apart is worth a copy if it is read often, and not from the second cache anyway.
        const bool copy = p->b_stride > vectors * lanes && end - begin > 3 * kernels->max_rows[vectors] &&
                          p->segments * p->run * p->b_stride * (long)sizeof(float) > LARGE_BYTES;
        if (copy) copied_panel(kernels, p, begin, end, first, vectors, (float *)scratch);
        else panel(kernels, p, begin, end, first, vectors);
        column += vectors * lanes, vectors_left -= vectors;
    }
    if (column < columns) narrow_panel(kernels, p, begin, end, column, columns - column, (float *)scratch);
}

typedef struct { deml_product product; long rows, columns; } gemm_arguments;

/// Elements: rows.
DEML_BODY(gemm_rows) {
    const gemm_arguments *a = arguments;
    deml_product_rows(worker->kernels, &a->product, begin, end, a->columns, worker->scratch);
}

/// Elements: columns.
DEML_BODY(gemm_columns) {
    const gemm_arguments *a = arguments;
    deml_product p = a->product;
    p.b += begin, p.c += begin;
    if (p.init) p.init += begin;
    deml_product_rows(worker->kernels, &p, 0, a->rows, end - begin, worker->scratch);
}

static void gemm(deml_pool *pool, const gemm_arguments *a) {
    const deml_kernels *kernels = deml_pool_kernels(pool);
    const long k = a->product.segments * a->product.run, panel_columns = kernels->lanes * kernels->max_vectors;
    const long scratch = deml_product_scratch(kernels, 1, k), threads = deml_pool_threads(pool);
    const double operations = 2.0 * (double)k / 16;
    // Whole panels a thread if there are enough of them: each reads only its own part of b.
    if (a->columns / panel_columns >= threads && a->columns / panel_columns % threads == 0)
        deml_run(pool, gemm_columns, a, a->columns, panel_columns, operations * (double)a->rows, scratch);
    else
        deml_run(pool, gemm_rows, a, a->rows, deml_min(6, deml_ceil_div(a->rows, threads)),
                 operations * (double)a->columns, scratch);
}

void deml_gemm(deml_pool *pool, long m, long n, long k, const float *a, long lda, bool a_transposed, const float *b,
               long ldb, float *c, long ldc, bool accumulate) {
    const gemm_arguments arguments = {
        {.a = a, .group = m, .row_stride = a_transposed ? 1 : lda, .segments = 1, .run = k,
         .step = a_transposed ? lda : 1, .b = b, .b_stride = ldb, .init = accumulate ? c : NULL, .init_stride = ldc,
         .c = c, .c_stride = ldc}, m, n};
    if (m > 0) gemm(pool, &arguments);
}

// MARK: Linear layers. Weights lie in blocks of outputs: block[in][outputs of the block].

typedef struct {
    long batch, in, out;
    const float *x, *dy, *weights, *bias;
    float *y, *dx;
    bool relu;
    const deml_sink *weight_sink, *bias_sink;
} linear_arguments;

enum { ROWS_AT_ONCE = 48, WEIGHT_GRADIENT_BLOCK = ROWS_AT_ONCE * 2 * DEML_LINEAR_BLOCK };

long deml_linear_block(long out, long first) {
    return out - first < 2 * DEML_LINEAR_BLOCK ? out - first : DEML_LINEAR_BLOCK;
}

static long block_count(long out) { return deml_max(1, out / DEML_LINEAR_BLOCK); }

/// The first output of a block; of the one after the last, the number of outputs.
static long block_begin(long out, long block) { return block < block_count(out) ? block * DEML_LINEAR_BLOCK : out; }

/// Whether threads share the blocks of a layer rather than its rows. Then a thread reads and updates weights that no other
/// does, which stay in its cache. A block is never divided: there must be enough of them to give each about the same.
static bool shares_blocks(const deml_pool *pool, long out) {
    const long threads = deml_pool_threads(pool), most = deml_ceil_div(block_count(out), threads) - 1;
    return (most * DEML_LINEAR_BLOCK + deml_linear_block(out, block_begin(out, block_count(out) - 1))) * threads <=
           out + out / 4;
}

/// Rows (examples) begin ..< end of outputs first ..< last, whole blocks.
static void forward_part(const linear_arguments *a, long begin, long end, long first, long last, deml_worker *worker) {
    for (long o = first, width; o < last; o += width) {
        width = deml_linear_block(a->out, o);
        const deml_product p = {.a = a->x, .group = a->batch, .row_stride = a->in, .segments = 1, .run = a->in, .step = 1,
                                .b = a->weights + o * a->in, .b_stride = width, .init = a->bias ? a->bias + o : NULL,
                                .c = a->y + o, .c_stride = a->out, .relu = a->relu};
        deml_product_rows(worker->kernels, &p, begin, end, width, worker->scratch);
    }
}

/// Elements: examples.
DEML_BODY(linear_forward_rows) {
    const linear_arguments *a = arguments;
    forward_part(a, begin, end, 0, a->out, worker);
}

/// Elements: blocks.
DEML_BODY(linear_forward_blocks) {
    const linear_arguments *a = arguments;
    forward_part(a, 0, a->batch, block_begin(a->out, begin), block_begin(a->out, end), worker);
}

void deml_linear_forward(deml_pool *pool, long batch, long in, long out, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x = x, .weights = weights, .bias = bias, .y = y,
                                .relu = activation == DEML_RELU};
    const long scratch = deml_product_scratch(deml_pool_kernels(pool), 1, in), threads = deml_pool_threads(pool);
    const double operations = 2.0 * (double)in / 16;
    if (shares_blocks(pool, out))
        deml_run(pool, linear_forward_blocks, &a, block_count(out), 1, operations * DEML_LINEAR_BLOCK * (double)batch,
                 scratch);
    else
        deml_run(pool, linear_forward_rows, &a, batch, deml_min(6, deml_ceil_div(batch, threads)),
                 operations * (double)out, scratch);
}

/// Columns begin ..< end of dx (inputs). dxᵀ = weights · dyᵀ, so that lanes run over the batch and the weights are
/// read where they are; only dy and dx, which are small, are transposed. scratch: dyᵀ, a block of dxᵀ.
DEML_BODY(linear_input_gradient) {
    const linear_arguments *a = arguments;
    const deml_kernels *kernels = worker->kernels;
    const long width = deml_ceil_div(a->batch, kernels->lanes) * kernels->lanes;
    // A last block of another width is a product of its own, whose sums go on from the others'.
    const long blocks = a->out % DEML_LINEAR_BLOCK ? block_count(a->out) - 1 : block_count(a->out);
    const long whole = blocks * DEML_LINEAR_BLOCK, rest = a->out - whole;
    float *dyt = (float *)worker->scratch, *dxt = dyt + a->out * width;
    char *scratch = (char *)(dxt + ROWS_AT_ONCE * width);
    for (long o = 0; o < a->out; o++)
        for (long b = 0; b < width; b++) dyt[o * width + b] = b < a->batch ? a->dy[b * a->out + o] : 0;
    for (long i = begin; i < end; i += ROWS_AT_ONCE) {
        const long rows = deml_min(ROWS_AT_ONCE, end - i);
        deml_product p = {.a = a->weights + i * DEML_LINEAR_BLOCK, .group = rows, .row_stride = DEML_LINEAR_BLOCK,
                          .segments = blocks, .run = DEML_LINEAR_BLOCK, .segment = a->in * DEML_LINEAR_BLOCK, .step = 1,
                          .b = dyt, .b_stride = width, .c = dxt, .c_stride = width};
        if (blocks > 0) deml_product_rows(kernels, &p, 0, rows, width, scratch);
        p.a = a->weights + whole * a->in + i * rest, p.row_stride = rest, p.segments = 1, p.run = rest;
        p.b = dyt + whole * width;
        if (blocks > 0) p.init = dxt, p.init_stride = width;
        if (rest > 0) deml_product_rows(kernels, &p, 0, rows, width, scratch);
        for (long b = 0; b < a->batch; b++)
            for (long r = 0; r < rows; r++) a->dx[b * a->in + i + r] = dxt[r * width + b];
    }
}

void deml_linear_input_gradient(deml_pool *pool, long batch, long in, long out, const float *dy, const float *weights,
                                float *dx) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .dy = dy, .weights = weights, .dx = dx};
    const long lanes = deml_pool_kernels(pool)->lanes, width = deml_ceil_div(batch, lanes) * lanes;
    deml_run(pool, linear_input_gradient, &a, in, 6, 2.0 * (double)out * (double)batch / 16,
             (out + ROWS_AT_ONCE) * width * (long)sizeof(float) +
                 deml_product_scratch(deml_pool_kernels(pool), 1, out));
}

/// Rows (inputs) begin ..< end of the gradient of the weights of outputs first ..< last, whole blocks. Some rows of a
/// block at a time go into the sink while they are in the first cache.
static void weight_gradient_part(const linear_arguments *a, long begin, long end, long first, long last,
                                 deml_worker *worker) {
    const deml_kernels *kernels = worker->kernels;
    const deml_sink *sink = a->weight_sink;
    float *block = (float *)worker->scratch;
    char *scratch = (char *)(block + WEIGHT_GRADIENT_BLOCK);
    deml_update update;
    if (sink->optimizer) update = deml_update_prepare(sink->optimizer);
    for (long i = begin; i < end; i += ROWS_AT_ONCE)
        for (long o = first, width; o < last; o += width) {
            const long rows = deml_min(ROWS_AT_ONCE, end - i);
            width = deml_linear_block(a->out, o);
            const long offset = o * a->in + i * width;
            float *gradient = sink->gradient ? sink->gradient + offset : block;
            const deml_product p = {.a = a->x + i, .group = rows, .row_stride = 1, .segments = 1, .run = a->batch,
                                    .step = a->in, .b = a->dy + o, .b_stride = a->out, .c = gradient, .c_stride = width};
            deml_product_rows(kernels, &p, 0, rows, width, scratch);
            deml_sink_put(kernels, sink, &update, offset, rows * width, gradient);
        }
}

/// Elements: inputs, then the bias.
DEML_BODY(linear_weight_gradient_rows) {
    const linear_arguments *a = arguments;
    weight_gradient_part(a, begin, deml_min(end, a->in), 0, a->out, worker);
    if (end > a->in && a->bias_sink)
        deml_bias_gradient(worker->kernels, a->batch, 0, a->out, a->out, a->dy, a->bias_sink, (float *)worker->scratch);
}

/// Elements: blocks, each with its biases.
DEML_BODY(linear_weight_gradient_blocks) {
    const linear_arguments *a = arguments;
    const long first = block_begin(a->out, begin), last = block_begin(a->out, end);
    weight_gradient_part(a, 0, a->in, first, last, worker);
    if (a->bias_sink)
        deml_bias_gradient(worker->kernels, a->batch, first, last, a->out, a->dy, a->bias_sink,
                           (float *)worker->scratch);
}

void deml_linear_weight_gradient(deml_pool *pool, long batch, long in, long out, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x = x, .dy = dy, .weight_sink = weights,
                                .bias_sink = bias};
    const double operations = 2.0 * (double)batch / 16;
    const long block = deml_max(WEIGHT_GRADIENT_BLOCK, out) * (long)sizeof(float);
    const long scratch = block + deml_product_scratch(deml_pool_kernels(pool), 1, batch);
    if (shares_blocks(pool, out))
        deml_run(pool, linear_weight_gradient_blocks, &a, block_count(out), 1,
                 operations * DEML_LINEAR_BLOCK * (double)in, scratch);
    else
        deml_run(pool, linear_weight_gradient_rows, &a, in + 1, 6, operations * (double)out, scratch);
}
