// Matrix products: a product is cut into column panels as wide as a tile and row tiles; every tile runs the whole sum.
#include "internal.h"

enum {
    PANEL_BYTES = 128 * 1024,    // a copied panel of b stays in the second cache
    LARGE_BYTES = 1024 * 1024,   // a b larger than this does not
    FIRST_BYTES = 32 * 1024,     // a panel of b stays in the first cache
};

/// Whole segments, or steps of the only segment, whose rows of b are copied together.
static long panel_depth(long segments, long run, long width) {
    const long rows = deml_max(1, PANEL_BYTES / (width * (long)sizeof(float)));
    return segments > 1 ? deml_min(segments, deml_max(1, rows / run)) : deml_min(run, rows);
}

/// Rows begin ..< end of one panel of `vectors` whole vectors starting at `column`.
static void panel(const deml_kernels *kernels, const deml_product *p, long begin, long end, long column,
                  long vectors) {
    deml_tile t = {.segments = p->segments, .run = p->run, .segment = p->segment, .step = p->step,
                   .b = p->b + column, .b_stride = p->b_stride, .init_stride = p->init_stride,
                   .c_stride = p->c_stride, .relu = p->relu};
    // Tiles of equal height: 64 rows by at most 12 are 10 or 11 each, not five of 12 and one of 4.
    const long tiles = deml_ceil_div(end - begin, kernels->max_rows[vectors]);
    const long least = tiles > 0 ? (end - begin) / tiles : 0, higher = end - begin - least * tiles;
    const long group = begin < p->group ? 0 : begin / p->group;
    long row = begin - group * p->group;
    const float *first = p->a + group * p->group_stride, *a = first + row * p->row_stride;
    for (long r = begin, index = 0; index < tiles; index++) {
        const long rows = least + (index < higher);
        for (long i = 0; i < rows; i++) {
            t.a[i] = a;
            a += p->row_stride;
            if (++row == p->group) row = 0, a = first += p->group_stride;
        }
        t.c = p->c + r * p->c_stride + column;
        t.init = p->init ? p->init + r * p->init_stride + column : NULL;
        kernels->tile(rows, vectors, &t);
        r += rows;
    }
}

/// The same from copies of the panel's rows of b, one block of the sum after the other, which go on with the chains in
/// c.
static void copied_panel(deml_worker *worker, const deml_product *p, long begin, long end, long column, long vectors) {
    const long width = vectors * worker->kernels->lanes, total = p->segments > 1 ? p->segments : p->run;
    const long depth = panel_depth(p->segments, p->run, width), scale = p->segments > 1 ? p->run : 1;
    const long mark = worker->scratch.used;
    float *copy = deml_cut(&worker->scratch, deml_times(deml_times(depth, scale), width));
    for (long k = 0; k < total && !worker->scratch.measuring; k += depth) {
        const long some = deml_min(depth, total - k);
        deml_product part = *p;
        part.a += k * (p->segments > 1 ? p->segment : p->step);
        if (p->segments > 1) part.segments = some;
        else part.run = some;
        worker->kernels->copy_rows(some * scale, width, p->b + k * scale * p->b_stride + column, p->b_stride, copy,
                                   width);
        part.b = copy - column, part.b_stride = width;
        if (k > 0) part.init = p->c, part.init_stride = p->c_stride;
        part.relu = p->relu && k + some == total;
        panel(worker->kernels, &part, begin, end, column, vectors);
    }
    deml_arena_release(&worker->scratch, mark);
}

/// The last `columns`, fewer than a vector, from a copy of b padded with zeros, into padded rows of c.
static void narrow_panel(deml_worker *worker, const deml_product *p, long begin, long end, long column, long columns) {
    const deml_kernels *kernels = worker->kernels;
    const long lanes = kernels->lanes, k = deml_times(p->segments, p->run), most = kernels->max_rows[1];
    const long mark = worker->scratch.used, tile = DEML_MAX_TILE_ROWS * lanes;
    const size_t bytes = (size_t)columns * sizeof(float);
    float *b = deml_cut(&worker->scratch, deml_times(k, lanes));
    float *c = deml_cut(&worker->scratch, tile), *init = deml_cut(&worker->scratch, tile);
    if (!worker->scratch.measuring) {
        memset(b, 0, (size_t)(k * lanes) * sizeof(float));
        memset(init, 0, (size_t)tile * sizeof(float));
        for (long i = 0; i < k; i++) memcpy(b + i * lanes, p->b + i * p->b_stride + column, bytes);
    }
    for (long r = begin; r < end && !worker->scratch.measuring; r += most) {
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
    deml_arena_release(&worker->scratch, mark);
}

/// The most vectors side by side in a panel. Where b does not stay in the first cache and all rows fit into one tile that is
/// narrower, b is read once.
static long panel_vectors(const deml_kernels *kernels, const deml_product *p, long rows) {
    long vectors = kernels->max_vectors;
    const long bytes = deml_times(deml_times(p->segments, p->run), vectors * kernels->lanes * (long)sizeof(float));
    if (bytes <= FIRST_BYTES || rows <= kernels->max_rows[vectors]) return vectors;
    while (vectors > 2 && rows > kernels->max_rows[vectors]) vectors--;
    return rows <= kernels->max_rows[vectors] ? vectors : kernels->max_vectors;
}

void deml_product_rows(deml_worker *worker, const deml_product *p, long begin, long end, long columns) {
    const deml_kernels *kernels = worker->kernels;
    const long lanes = kernels->lanes;
    // Where columns are no multiple of the lanes, the last vector begins early and computes some columns twice, which
    // is harmless unless c is also where the chains go on.
    const bool twice = columns >= lanes && !p->goes_on;
    const long b_bytes = deml_times(deml_times(deml_times(p->segments, p->run), p->b_stride), (long)sizeof(float));
    const long whole = columns / lanes, rest = columns - whole * lanes, all = whole + (twice && rest > 0);
    const long panels = deml_ceil_div(all, panel_vectors(kernels, p, end - begin)), least = panels > 0 ? all / panels : 0;
    long column = 0;
    for (long left = all, higher = all - least * panels; left > 0; higher--) {
        const long vectors = deml_min(deml_min(whole, left), least + (higher > 0));
        const long first = deml_min(column, columns - vectors * lanes);
        // A panel with rows far apart is worth a copy if it is read often, and not from the second cache anyway.
        if (p->b_stride > vectors * lanes && end - begin > 3 * kernels->max_rows[vectors] && b_bytes > LARGE_BYTES)
            copied_panel(worker, p, begin, end, first, vectors);
        else if (!worker->scratch.measuring)
            panel(kernels, p, begin, end, first, vectors);
        column += vectors * lanes, left -= vectors;
        // Panels are as wide as the first or as the last: these two are enough to measure.
        if (worker->scratch.measuring && left > least) left = least, higher = 0;
    }
    if (!twice && rest > 0) narrow_panel(worker, p, begin, end, columns - rest, rest);
}

typedef struct { deml_product product; long rows, columns; } gemm_arguments;

/// Elements: rows.
DEML_BODY(gemm_rows) {
    const gemm_arguments *a = arguments;
    deml_product_rows(worker, &a->product, begin, end, a->columns);
}

/// Elements: columns.
DEML_BODY(gemm_columns) {
    const gemm_arguments *a = arguments;
    deml_product p = a->product;
    if (!worker->scratch.measuring) {
        p.b += begin, p.c += begin;
        if (p.init) p.init += begin;
    }
    deml_product_rows(worker, &p, 0, a->rows, end - begin);
}

void deml_gemm(deml_pool *pool, long m, long n, long k, const float *a, long lda, bool a_transposed, const float *b,
               long ldb, float *c, long ldc, bool accumulate) {
    const gemm_arguments arguments = {
        {.a = a, .group = deml_max(1, m), .row_stride = a_transposed ? 1 : lda, .segments = 1, .run = k,
         .step = a_transposed ? lda : 1, .b = b, .b_stride = ldb, .init = accumulate ? c : NULL, .init_stride = ldc,
         .c = c, .c_stride = ldc, .goes_on = accumulate}, m, n};
    const deml_kernels *kernels = deml_pool_kernels(pool);
    const long panel_columns = kernels->lanes * kernels->max_vectors, threads = deml_pool_threads(pool);
    const double operations = 2.0 * (double)k / 16;
    // Whole panels a thread if there are enough of them: each reads only its own part of b.
    if (n / panel_columns >= threads && n / panel_columns % threads == 0)
        deml_run(pool, (deml_call){gemm_columns, &arguments, n, panel_columns, operations * (double)m, true});
    else
        deml_run(pool, (deml_call){gemm_rows, &arguments, m, deml_max(1, deml_min(6, deml_ceil_div(m, threads))),
                                   operations * (double)n, true});
}

// MARK: Linear layers. Weights lie in blocks of outputs: block[in][outputs of the block].

typedef struct {
    long batch, in, out;
    long x_stride, y_stride;  // of the forward pass: rows are so far apart
    const float *x, *dy, *weights, *bias;
    float *y, *dx;
    bool relu, goes_on;  // goes_on: sums begin with what is in y
    const deml_sink *weight_sink, *bias_sink;
} linear_arguments;

enum { ROWS_AT_ONCE = 48, LEAST_ROWS_TO_TRANSPOSE = 32, MANY_ROWS = 256 };

long deml_linear_block(long out, long first) {
    return out - first < 2 * DEML_LINEAR_BLOCK ? out - first : DEML_LINEAR_BLOCK;
}

static long block_count(long out) { return deml_max(1, out / DEML_LINEAR_BLOCK); }

/// The first output of a block; of the one after the last, the number of outputs.
static long block_begin(long out, long block) { return block < block_count(out) ? block * DEML_LINEAR_BLOCK : out; }

/// Whether threads share the blocks of a layer rather than its rows. Then a thread reads and updates weights that no
/// other does, which stay in its cache. A block is never divided: there must be enough of them to give each about the
/// same.
static bool shares_blocks(long threads, long out) {
    const long most = deml_ceil_div(block_count(out), threads) - 1;
    const long last = deml_linear_block(out, block_begin(out, block_count(out) - 1));
    return deml_times(most * DEML_LINEAR_BLOCK + last, threads) <= deml_plus(out, out / 4);
}

/// Where a loop over blocks goes on after the block at `o`. All but the layer's last are alike: to measure, the first
/// and that one are enough.
static long next_block(const linear_arguments *a, long o, const deml_worker *worker) {
    const long next = o + deml_linear_block(a->out, o);
    return worker->scratch.measuring ? deml_max(next, block_begin(a->out, block_count(a->out) - 1)) : next;
}

/// Rows (examples) begin ..< end of outputs first ..< last, whole blocks.
static void forward_rows(const linear_arguments *a, long begin, long end, long first, long last, deml_worker *worker) {
    for (long o = first; o < last; o = next_block(a, o, worker)) {
        const long width = deml_linear_block(a->out, o);
        deml_product p = {.group = a->batch, .row_stride = a->x_stride, .segments = 1, .run = a->in, .step = 1,
                          .b_stride = width, .c_stride = a->y_stride, .relu = a->relu, .goes_on = a->goes_on};
        if (!worker->scratch.measuring) {
            p.a = a->x, p.b = a->weights + o * a->in, p.c = a->y + o;
            p.init = a->bias ? a->bias + o : NULL;
            if (a->goes_on) p.init = p.c, p.init_stride = a->y_stride;
        }
        deml_product_rows(worker, &p, begin, end, width);
    }
}

/// The same, where x does not stay in the second cache so many rows at a time that it does, for all blocks.
static void forward_part(const linear_arguments *a, long begin, long end, long first, long last, deml_worker *worker) {
    const long row_bytes = deml_times(a->in, (long)sizeof(float));
    long rows = end - begin;
    if (deml_times(rows, row_bytes) > LARGE_BYTES) rows = deml_max(48, LARGE_BYTES / 3 / row_bytes / 12 * 12);
    if (worker->scratch.measuring) {
        forward_rows(a, 0, rows, first, last, worker);
        forward_rows(a, 0, (end - begin) % deml_max(1, rows), first, last, worker);
        return;
    }
    for (long row = begin; row < end; row += rows)
        forward_rows(a, row, deml_min(row + rows, end), first, last, worker);
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

/// A call of a layer's: networks are small and their steps short, so that what it needs is found once.
static deml_call linear_call(deml_body *body, const linear_arguments *a, long count, long unit, double operations) {
    const long flags = (a->goes_on ? 1 : 0) | (a->weight_sink && a->weight_sink->gradient ? 2 : 0);
    return (deml_call){body, a, count, unit, operations, true,
                       {a->batch, a->in, a->out, a->x_stride, a->y_stride, flags}};
}

static deml_call forward_call(long threads, const linear_arguments *a) {
    const double operations = 2.0 * (double)a->in / 16;
    if (shares_blocks(threads, a->out))
        return linear_call(linear_forward_blocks, a, block_count(a->out), 1,
                           operations * DEML_LINEAR_BLOCK * (double)a->batch);
    return linear_call(linear_forward_rows, a, a->batch, deml_max(1, deml_min(6, deml_ceil_div(a->batch, threads))),
                       operations * (double)a->out);
}

void deml_linear_forward(deml_pool *pool, long batch, long in, long out, const float *x, const float *weights,
                         const float *bias, deml_activation activation, float *y) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x_stride = in, .y_stride = out, .x = x,
                                .weights = weights, .bias = bias, .y = y, .relu = activation == DEML_RELU};
    deml_run(pool, forward_call(deml_pool_threads(pool), &a));
}

void deml_linear_rows(deml_pool *pool, long batch, long in, long out, const float *x, long x_stride,
                      const float *weights, const float *bias, bool accumulate, float *y, long y_stride) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x_stride = x_stride, .y_stride = y_stride,
                                .x = x, .weights = weights, .bias = accumulate ? NULL : bias, .y = y,
                                .goes_on = accumulate};
    deml_run(pool, forward_call(deml_pool_threads(pool), &a));
}

deml_scratch deml_linear_rows_scratch(long threads, deml_isa isa, long batch, long in, long out) {
    deml_scratch need = {0, 0};
    for (int goes_on = 0; goes_on < 2; goes_on++) {
        const linear_arguments a = {.batch = batch, .in = in, .out = out, .x_stride = in, .y_stride = out,
                                    .goes_on = goes_on};
        const deml_call call = forward_call(threads, &a);
        need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(deml_isa_kernels(isa), threads, &call));
    }
    return need;
}

typedef struct { long in, out; const float *from; float *to; } transpose_arguments;

/// Elements: blocks of the transposed weights.
DEML_BODY(transpose_blocks) {
    const transpose_arguments *a = arguments;
    for (long block = begin; block < end; block++) {
        const long i0 = block_begin(a->in, block), width = deml_linear_block(a->in, i0);
        float *const to = a->to + i0 * a->out;
        for (long o0 = 0; o0 < a->out; o0 += deml_linear_block(a->out, o0)) {
            const long some = deml_linear_block(a->out, o0);
            const float *const from = a->from + o0 * a->in + i0 * some;
            worker->kernels->transpose(width, some, from, some, to + o0 * width, width);
        }
    }
}

void deml_linear_weights_transpose(deml_pool *pool, long in, long out, const float *weights, float *transposed) {
    const transpose_arguments a = {in, out, weights, transposed};
    deml_run(pool, (deml_call){transpose_blocks, &a, block_count(in), 1, (double)out * DEML_LINEAR_BLOCK * 4, false});
}

/// Columns begin ..< end of dx (inputs). dxᵀ = weights · dyᵀ, so that lanes run over the batch and the weights are
/// read where they are; only dy and dx, which are small, are transposed. scratch: dyᵀ, a block of dxᵀ, the product's.
DEML_BODY(linear_input_gradient) {
    const linear_arguments *a = arguments;
    const long lanes = worker->kernels->lanes, width = deml_times(deml_ceil_div(a->batch, lanes), lanes);
    // A last block of another width is a product of its own, whose sums go on from the others'.
    const long blocks = a->out % DEML_LINEAR_BLOCK ? block_count(a->out) - 1 : block_count(a->out);
    const long whole = blocks * DEML_LINEAR_BLOCK, rest = a->out - whole;
    float *dyt = deml_cut(&worker->scratch, deml_times(a->out, width));
    float *dxt = deml_cut(&worker->scratch, deml_times(ROWS_AT_ONCE, width));
    deml_product of_blocks = {.group = ROWS_AT_ONCE, .row_stride = DEML_LINEAR_BLOCK, .segments = blocks,
                              .run = DEML_LINEAR_BLOCK, .segment = deml_times(a->in, DEML_LINEAR_BLOCK), .step = 1,
                              .b = dyt, .b_stride = width, .c = dxt, .c_stride = width};
    deml_product of_rest = of_blocks;
    of_rest.row_stride = rest, of_rest.segments = 1, of_rest.run = rest;
    if (blocks > 0) of_rest.init = dxt, of_rest.init_stride = width, of_rest.goes_on = true;
    if (worker->scratch.measuring) {
        const long rows = deml_min(ROWS_AT_ONCE, end - begin);
        if (blocks > 0) deml_product_rows(worker, &of_blocks, 0, rows, width);
        if (rest > 0) deml_product_rows(worker, &of_rest, 0, rows, width);
        return;
    }
    of_rest.b = dyt + whole * width;
    worker->kernels->transpose(a->batch, a->out, a->dy, a->out, dyt, width);
    for (long o = 0; o < a->out; o++)
        for (long b = a->batch; b < width; b++) dyt[o * width + b] = 0;
    for (long i = begin; i < end; i += ROWS_AT_ONCE) {
        const long rows = deml_min(ROWS_AT_ONCE, end - i);
        of_blocks.a = a->weights + i * DEML_LINEAR_BLOCK;
        of_rest.a = a->weights + whole * a->in + i * rest;
        if (blocks > 0) deml_product_rows(worker, &of_blocks, 0, rows, width);
        if (rest > 0) deml_product_rows(worker, &of_rest, 0, rows, width);
        worker->kernels->transpose(rows, a->batch, dxt, width, a->dx + i, a->in);
    }
}

static deml_call input_gradient_call(const linear_arguments *a) {
    return linear_call(linear_input_gradient, a, a->in, 6, 2.0 * (double)a->out * (double)a->batch / 16);
}

/// Whether the weights are transposed rather than dy: where there are more rows than inputs, it is the smaller array, and
/// lanes run over the inputs. The sums are the same.
static bool transposes_weights(long batch, long in) {
    return (in >= 16 || batch >= MANY_ROWS) && batch >= LEAST_ROWS_TO_TRANSPOSE && batch >= in / 2;
}

static linear_arguments transposed_product(long batch, long in, long out) {
    return (linear_arguments){.batch = batch, .in = out, .out = in, .x_stride = out, .y_stride = in};
}

void deml_linear_input_gradient(deml_pool *pool, long batch, long in, long out, const float *dy, const float *weights,
                                float *dx) {
    if (transposes_weights(batch, in)) {
        float *const transposed = deml_pool_shared(pool, deml_times(in, out));
        deml_linear_weights_transpose(pool, in, out, weights, transposed);
        linear_arguments a = transposed_product(batch, in, out);
        a.x = dy, a.weights = transposed, a.y = dx;
        return deml_run(pool, forward_call(deml_pool_threads(pool), &a));
    }
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .dy = dy, .weights = weights, .dx = dx};
    deml_run(pool, input_gradient_call(&a));
}

/// Rows (inputs) begin ..< end of the gradient of the weights of outputs first ..< last, whole blocks. Some rows of a
/// block at a time go into the sink while they are in the first cache. scratch: those rows, unless the sink keeps them.
static void weight_gradient_part(const linear_arguments *a, long begin, long end, long first, long last,
                                 deml_worker *worker) {
    const deml_sink *sink = a->weight_sink;
    const long mark = worker->scratch.used;
    float *block = sink->gradient ? NULL : deml_cut(&worker->scratch, ROWS_AT_ONCE * 2 * DEML_LINEAR_BLOCK);
    deml_update update;
    if (sink->optimizer) update = deml_update_prepare(sink->optimizer);
    for (long i = begin; i < end; i += ROWS_AT_ONCE) {
        for (long o = first; o < last; o = next_block(a, o, worker)) {
            const long rows = deml_min(ROWS_AT_ONCE, end - i), width = deml_linear_block(a->out, o);
            deml_product p = {.group = rows, .row_stride = 1, .segments = 1, .run = a->batch, .step = a->in,
                              .b_stride = a->out, .c_stride = width};
            if (worker->scratch.measuring) {
                deml_product_rows(worker, &p, 0, rows, width);
                continue;
            }
            const long offset = o * a->in + i * width;
            float *gradient = sink->gradient ? sink->gradient + offset : block;
            p.a = a->x + i, p.b = a->dy + o, p.c = gradient;
            deml_product_rows(worker, &p, 0, rows, width);
            deml_sink_put(worker->kernels, sink, &update, offset, rows * width, gradient);
        }
        if (worker->scratch.measuring) break;  // no later rows are more than the first
    }
    deml_arena_release(&worker->scratch, mark);
}

/// The same of many examples, some at a time, of which x and dy are copied: what the tiles read lies close together, and the
/// sums go on from one copy to the next. With `biases` also the gradients of the biases of outputs first ..< last, from the
/// same copies of dy. scratch: the copies, the sums of some rows, unless the sink keeps them, and of the biases.
static void weight_gradient_of_many(const linear_arguments *a, long begin, long end, long first, long last, bool biases,
                                    deml_worker *worker) {
    enum { EXAMPLES = 128, ROWS = 256, STRIDE = ROWS + 16 };  // rows of the copy are no power of two apart
    const deml_sink *sink = a->weight_sink;
    const long mark = worker->scratch.used, most = deml_min(ROWS, end - begin);
    float *const some_x = deml_cut(&worker->scratch, STRIDE * EXAMPLES);
    float *const part = deml_cut(&worker->scratch, EXAMPLES * 2 * DEML_LINEAR_BLOCK);
    float *const sums = sink->gradient ? NULL : deml_cut(&worker->scratch, deml_times(most, last - first));
    float *const bias_sums = biases ? deml_cut(&worker->scratch, last - first) : NULL;
    const bool measuring = worker->scratch.measuring;
    deml_update update;
    if (sink->optimizer) update = deml_update_prepare(sink->optimizer);
    for (long i = begin; i < end; i += ROWS) {
        const long rows = deml_min(ROWS, end - i);
        for (long k = 0; k < a->batch; k += EXAMPLES) {
            const long some = deml_min(EXAMPLES, a->batch - k);
            if (!measuring) worker->kernels->copy_rows(some, rows, a->x + k * a->in + i, a->in, some_x, STRIDE);
            for (long o = first; o < last; o = next_block(a, o, worker)) {
                const long width = deml_linear_block(a->out, o);
                deml_product p = {.group = rows, .row_stride = 1, .segments = 1, .run = some, .step = STRIDE,
                                  .b_stride = width, .c_stride = width, .init_stride = width, .goes_on = k > 0};
                if (!measuring) {
                    worker->kernels->copy_rows(some, width, a->dy + k * a->out + o, a->out, part, width);
                    p.a = some_x, p.b = part;
                    p.c = sink->gradient ? sink->gradient + o * a->in + i * width : sums + (o - first) * rows;
                    p.init = k > 0 ? p.c : NULL;
                    if (biases && i == begin)
                        worker->kernels->column_sums(some, width, width, part, bias_sums + (o - first), k > 0);
                }
                deml_product_rows(worker, &p, 0, rows, width);
            }
            if (measuring && k > 0) break;  // the first begins the sums, all others are alike
        }
        for (long o = first; o < last && !measuring; o += deml_linear_block(a->out, o)) {
            const long width = deml_linear_block(a->out, o), offset = o * a->in + i * width;
            deml_sink_put(worker->kernels, sink, &update, offset, rows * width,
                          sink->gradient ? sink->gradient + offset : sums + (o - first) * rows);
        }
        if (measuring) break;  // no later rows are more than the first
    }
    if (biases && !measuring) {
        if (a->bias_sink->optimizer) update = deml_update_prepare(a->bias_sink->optimizer);
        deml_sink_put(worker->kernels, a->bias_sink, &update, first, last - first, bias_sums);
    }
    deml_arena_release(&worker->scratch, mark);
}

/// Rows begin ..< end of the weights' gradient and, with `biases`, that of the biases.
static void weight_gradient(const linear_arguments *a, long begin, long end, long first, long last, bool biases,
                            deml_worker *worker) {
    biases = biases && a->bias_sink;
    if (a->batch >= MANY_ROWS && begin < end) return weight_gradient_of_many(a, begin, end, first, last, biases, worker);
    weight_gradient_part(a, begin, end, first, last, worker);
    if (biases) deml_bias_gradient(worker, a->batch, first, last, a->out, a->dy, a->bias_sink);
}

/// Elements: inputs, then the bias.
DEML_BODY(linear_weight_gradient_rows) {
    const linear_arguments *a = arguments;
    weight_gradient(a, begin, deml_min(end, a->in), 0, a->out, end > a->in, worker);
}

/// Elements: blocks, each with its biases.
DEML_BODY(linear_weight_gradient_blocks) {
    const linear_arguments *a = arguments;
    const long first = block_begin(a->out, begin), last = block_begin(a->out, end);
    weight_gradient(a, 0, a->in, first, last, true, worker);
}

static deml_call weight_gradient_call(long threads, const linear_arguments *a) {
    const double operations = 2.0 * (double)a->batch / 16;
    if (shares_blocks(threads, a->out))
        return linear_call(linear_weight_gradient_blocks, a, block_count(a->out), 1,
                           operations * DEML_LINEAR_BLOCK * (double)a->in);
    return linear_call(linear_weight_gradient_rows, a, deml_plus(a->in, 1), 6, operations * (double)a->out);
}

void deml_linear_weight_gradient(deml_pool *pool, long batch, long in, long out, const float *x, const float *dy,
                                 const deml_sink *weights, const deml_sink *bias) {
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x = x, .dy = dy, .weight_sink = weights,
                                .bias_sink = bias};
    deml_run(pool, weight_gradient_call(deml_pool_threads(pool), &a));
}

deml_scratch deml_linear_scratch(long threads, deml_isa isa, long batch, long in, long out, bool training) {
    const deml_kernels *kernels = deml_isa_kernels(isa);
    const deml_sink nowhere = {0};  // keeps no gradient: that needs the most
    const linear_arguments a = {.batch = batch, .in = in, .out = out, .x_stride = in, .y_stride = out,
                                .weight_sink = &nowhere, .bias_sink = &nowhere};
    const linear_arguments back = transposed_product(batch, in, out);
    const bool transposes = transposes_weights(batch, in);
    // A smaller batch may do what this one does not.
    linear_arguments smaller = a;
    if (transposes) smaller.batch = in < 16 ? MANY_ROWS - 1 : deml_max(LEAST_ROWS_TO_TRANSPOSE, in / 2) - 1;
    // So are parts of the fewest examples that are many, which fewer threads share.
    linear_arguments fewer = a, fewest = a;
    fewer.batch = deml_min(batch, MANY_ROWS - 1), fewest.batch = deml_min(batch, MANY_ROWS);
    const deml_call calls[] = {forward_call(threads, &a), weight_gradient_call(threads, &a),
                               weight_gradient_call(threads, &fewer), weight_gradient_call(threads, &fewest),
                               input_gradient_call(&smaller), forward_call(threads, &back)};
    deml_scratch need = {0, training && transposes ? deml_shared_scratch(deml_times(in, out)) : 0};
    for (int i = 0; i < (training ? transposes ? 6 : 5 : 1); i++)
        need.thread_bytes = deml_max(need.thread_bytes, deml_call_scratch(kernels, threads, &calls[i]));
    return need;
}
