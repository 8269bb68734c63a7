// Prints one digest of the bytes that every kernel computes, for each instruction set of this machine:
//
//     avx2 conv2d 5f0c…
//
// The lines of all machines must agree but for the first word (Tests/system/kernels_arm64.sh).
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "CKernels.h"

static uint64_t state, digest;

static float *random_floats(long count, float scale) {
    float *p = malloc((size_t)count * sizeof(float));
    for (long i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        p[i] = (float)((int32_t)(state >> 40) - (1 << 23)) / (float)(1 << 23) * scale;
    }
    return p;
}
static float *zeros(long count) { return calloc((size_t)count, sizeof(float)); }

/// FNV-1a over the bytes of each float, in a fixed order.
static void add(const float *p, long count) {
    for (long i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, p + i, sizeof bits);
        for (int b = 0; b < 4; b++) digest = (digest ^ (bits >> (8 * b) & 0xff)) * 1099511628211u;
    }
}
static void report(deml_pool *pool, const char *what) {
    printf("%s %s %016llx\n", deml_isa_name(deml_pool_isa(pool)), what, (unsigned long long)digest);
    digest = 14695981039346656037u;
    state = 1;
}

static const deml_optimizer optimizers[] = {
    {.kind = DEML_SGD, .learning_rate = 0.1f, .momentum = 0.9f, .weight_decay = 0.01f, .nesterov = true, .step = 3},
    {.kind = DEML_ADAM, .learning_rate = 0.01f, .beta1 = 0.9f, .beta2 = 0.999f, .epsilon = 1e-8f, .step = 7},
    {.kind = DEML_ADAMW, .learning_rate = 0.01f, .weight_decay = 0.1f, .beta1 = 0.9f, .beta2 = 0.999f,
     .epsilon = 1e-8f, .step = 7},
    {.kind = DEML_RMSPROP, .learning_rate = 0.01f, .momentum = 0.9f, .weight_decay = 0.1f, .beta2 = 0.99f,
     .epsilon = 1e-8f, .step = 7},
    {.kind = DEML_LION, .learning_rate = 0.01f, .weight_decay = 0.1f, .beta1 = 0.9f, .beta2 = 0.99f, .step = 7},
};

static void linear(deml_pool *pool, long batch, long in, long out) {
    float *x = random_floats(batch * in, 1), *w = random_floats(in * out, 0.3f), *bias = random_floats(out, 1);
    float *y = zeros(batch * out), *dx = zeros(batch * in), *m = zeros(in * out), *v = zeros(in * out), *db = zeros(out);
    deml_linear_forward(pool, batch, in, out, x, w, bias, DEML_RELU, y);
    deml_linear_input_gradient(pool, batch, in, out, y, w, dx);
    for (int i = 0; i < 5; i++) {
        // What one keeps another may take the root of: the sign of a NaN is the processor's affair.
        memset(m, 0, (size_t)(in * out) * sizeof *m), memset(v, 0, (size_t)(in * out) * sizeof *v);
        const deml_sink sink = {.optimizer = &optimizers[i], .value = w, .state1 = m, .state2 = v};
        const deml_sink bias_sink = {.gradient = db};
        deml_linear_weight_gradient(pool, batch, in, out, x, y, &sink, &bias_sink);
    }
    add(y, batch * out), add(dx, batch * in), add(w, in * out), add(m, in * out), add(v, in * out), add(db, out);
    free(x), free(w), free(bias), free(y), free(dx), free(m), free(v), free(db);
}

static void convolution(deml_pool *pool, deml_conv2d s) {
    const long oh = deml_window_output(s.height, (s.kernel_height - 1) * s.dilation_height + 1, s.stride_height,
                                       s.padding_height);
    const long ow = deml_window_output(s.width, (s.kernel_width - 1) * s.dilation_width + 1, s.stride_width,
                                       s.padding_width);
    const long nx = s.batch * s.height * s.width * s.in_channels, ny = s.batch * oh * ow * s.out_channels;
    const long nw = s.kernel_height * s.kernel_width * s.in_channels / s.groups * s.out_channels;
    float *x = random_floats(nx, 1), *w = random_floats(nw, 0.3f), *bias = random_floats(s.out_channels, 1);
    float *y = zeros(ny), *dx = zeros(nx), *dw = zeros(nw), *db = zeros(s.out_channels);
    deml_conv2d_forward(pool, &s, x, w, bias, DEML_RELU, y);
    deml_conv2d_input_gradient(pool, &s, y, w, dx);
    const deml_sink sink = {.gradient = dw}, bias_sink = {.gradient = db};
    deml_conv2d_weight_gradient(pool, &s, x, y, &sink, &bias_sink);
    add(y, ny), add(dx, nx), add(dw, nw), add(db, s.out_channels);
    free(x), free(w), free(bias), free(y), free(dx), free(dw), free(db);
}

static void pooling(deml_pool *pool, deml_pool2d s) {
    const long nx = s.batch * s.height * s.width * s.channels, ny = s.batch * s.out_height * s.out_width * s.channels;
    float *x = random_floats(nx, 1), *y = zeros(ny), *dx = zeros(nx);
    uint16_t *position = malloc((size_t)ny * sizeof *position);
    deml_max_pool2d_forward(pool, &s, x, y, position);
    deml_max_pool2d_backward(pool, &s, y, position, dx);
    add(y, ny), add(dx, nx);
    deml_avg_pool2d_forward(pool, &s, x, y);
    deml_avg_pool2d_backward(pool, &s, y, dx);
    add(y, ny), add(dx, nx);
    free(x), free(y), free(dx), free(position);
}

static void resampling(deml_pool *pool, deml_resize2d s) {
    const deml_pad2d pad = {s.batch, s.height, s.width, s.channels, 1, 2, 3, 0, 0.5f};
    const long nx = s.batch * s.height * s.width * s.channels, ny = s.batch * s.out_height * s.out_width * s.channels;
    const long padded = s.batch * (s.height + 3) * (s.width + 3) * s.channels;
    float *x = random_floats(nx, 1), *y = zeros(ny), *dx = zeros(nx), *around = zeros(padded);
    for (int bilinear = 0; bilinear < 2; bilinear++) {
        s.bilinear = bilinear;
        deml_upsample2d_forward(pool, &s, x, y);
        deml_upsample2d_backward(pool, &s, y, dx);
        add(y, ny), add(dx, nx);
    }
    deml_adaptive_avg_pool2d_forward(pool, &s, x, y);
    deml_adaptive_avg_pool2d_backward(pool, &s, y, dx);
    add(y, ny), add(dx, nx);
    deml_pad2d_forward(pool, &pad, x, around);
    deml_pad2d_backward(pool, &pad, around, dx);
    add(around, padded), add(dx, nx);
    free(x), free(y), free(dx), free(around);
}

static void elementwise(deml_pool *pool, long count) {
    float *x = random_floats(count, 10), *dy = random_floats(count, 1), *y = zeros(count), *dx = zeros(count);
    for (int kind = DEML_IDENTITY; kind < DEML_ACTIVATION_COUNT; kind++) {
        const deml_activation_options options = {0.01f, 0.05f};
        deml_activation_forward(pool, (deml_activation)kind, options, count, x, y);
        deml_activation_backward(pool, (deml_activation)kind, options, count, x, y, dy, dx);
        add(y, count), add(dx, count);
    }
    const deml_random random = {.seed = 12345678901234567u, .purpose = 2, .epoch = 3, .step = 4, .layer = 5};
    deml_dropout(pool, &random, 0.3f, count, x, y);
    add(y, count);
    for (int f = DEML_FUNCTION_EXP; f <= DEML_FUNCTION_ERF; f++) {
        for (long i = 0; f == DEML_FUNCTION_LOG && i < count; i++) x[i] = x[i] < 0 ? -x[i] : x[i] + 1e-30f;
        deml_function_values(pool, (deml_function)f, count, x, y);
        add(y, count);
    }
    free(x), free(dy), free(y), free(dx);
}

static void rows(deml_pool *pool, long count, long size) {
    float *x = random_floats(count * size, 3), *dy = random_floats(count * size, 1), *gamma = random_floats(size, 1);
    float *y = zeros(count * size), *dx = zeros(count * size), *mean = zeros(count * size), *rstd = zeros(count * size);
    float *dgamma = zeros(size), *dbeta = zeros(size);
    const deml_sink gamma_sink = {.gradient = dgamma}, beta_sink = {.gradient = dbeta};
    deml_layer_norm_forward(pool, count, size, 1e-5f, x, gamma, gamma, y, mean, rstd);
    deml_layer_norm_backward(pool, count, size, x, dy, gamma, mean, rstd, dx, &gamma_sink, &beta_sink);
    add(y, count * size), add(dx, count * size), add(dgamma, size), add(dbeta, size);
    if (count % 4 == 0) {
        deml_group_norm_forward(pool, 4, count / 4, size, 1, 1e-5f, x, gamma, gamma, y, mean, rstd);
        deml_group_norm_backward(pool, 4, count / 4, size, 1, x, dy, gamma, mean, rstd, dx, &gamma_sink, &beta_sink);
        add(y, count * size), add(dx, count * size), add(dgamma, size), add(dbeta, size);
    }
    deml_layer_norm_forward(pool, count, size, 1e-5f, x, gamma, NULL, y, NULL, rstd);
    deml_layer_norm_backward(pool, count, size, x, dy, gamma, NULL, rstd, dx, &gamma_sink, NULL);
    add(y, count * size), add(dx, count * size), add(dgamma, size);
    deml_softmax_forward(pool, count, size, x, y);
    add(y, count * size);
    int32_t *labels = malloc((size_t)count * sizeof *labels);
    uint8_t *correct = malloc((size_t)count);
    for (long r = 0; r < count; r++) labels[r] = (int32_t)(r % size);
    deml_cross_entropy(pool, count, size, x, labels, 0.1f, mean, correct, dx);
    add(mean, count), add(dx, count * size);
    for (int loss = 0; loss < DEML_OUTPUT_LOSS_COUNT; loss++) {
        deml_compare_outputs(pool, (deml_output_loss)loss, 0.7f, count, size, x, y, mean, dx);
        add(mean, count), add(dx, count * size);
    }
    free(x), free(dy), free(gamma), free(y), free(dx), free(mean), free(rstd), free(dgamma), free(dbeta);
    free(labels), free(correct);
}

static void batch_norm(deml_pool *pool, long count, long channels) {
    const long n = count * channels;
    float *x = random_floats(n, 3), *dy = random_floats(n, 1), *gamma = random_floats(channels, 1), *y = zeros(n);
    float *dx = zeros(n), *mean = zeros(channels), *rstd = zeros(channels), *running = zeros(channels);
    float *variance = zeros(channels), *dgamma = zeros(channels), *dbeta = zeros(channels);
    const deml_sink gamma_sink = {.gradient = dgamma}, beta_sink = {.gradient = dbeta};
    deml_batch_norm_forward(pool, count, channels, 1e-5f, 0.1f, x, gamma, gamma, DEML_IDENTITY, y, mean, rstd, running,
                            variance);
    add(y, n), add(running, channels), add(variance, channels);
    deml_batch_norm_backward(pool, count, channels, x, dy, gamma, gamma, DEML_IDENTITY, mean, rstd, dx, &gamma_sink,
                             &beta_sink);
    add(dx, n), add(dgamma, channels), add(dbeta, channels);
    deml_batch_norm_inference(pool, count, channels, 1e-5f, running, variance, x, gamma, gamma, DEML_IDENTITY, y);
    add(y, n);
    free(x), free(dy), free(gamma), free(y), free(dx), free(mean), free(rstd), free(running), free(variance);
    free(dgamma), free(dbeta);
}

static void gates(deml_pool *pool, long batch, long pixels, long channels) {
    const long n = batch * pixels * channels;
    float *x = random_floats(n, 1), *gate = random_floats(batch * channels, 1), *y = zeros(n);
    float *dgate = zeros(batch * channels), *columns = zeros(batch * pixels * (channels + 3));
    deml_gate_forward(pool, batch, pixels, channels, x, gate, y);
    deml_gate_gradient(pool, batch, pixels, channels, x, y, dgate);
    deml_gate_input_gradient(pool, batch, pixels, channels, dgate, y, x);
    deml_copy_columns(pool, batch * pixels, channels, y, channels, columns + 1, channels + 3);
    add(x, n), add(y, n), add(dgate, batch * channels), add(columns, batch * pixels * (channels + 3));
    free(x), free(gate), free(y), free(dgate), free(columns);
}

static void attention(deml_pool *pool, deml_attention s) {
    const long inner = s.heads * s.width, n = s.batch * s.tokens * inner, rows = s.batch * s.heads * s.tokens;
    float *qkv = random_floats(3 * n, 2), *dy = random_floats(n, 1), *y = zeros(n), *dqkv = zeros(3 * n);
    float *statistics = zeros(2 * rows);
    const deml_random random = {.seed = 12345678901234567u, .purpose = 1, .epoch = 3, .step = 4, .layer = 5};
    deml_attention_forward(pool, &s, &random, qkv, y, statistics);
    deml_attention_backward(pool, &s, &random, qkv, y, statistics, dy, dqkv);
    add(y, n), add(dqkv, 3 * n), add(statistics, 2 * rows);
    free(qkv), free(dy), free(y), free(dqkv), free(statistics);
}

static void recurrent(deml_pool *pool, long batch, long hidden, bool gru) {
    const long gates_stride = (gru ? 3 : 4) * hidden, count = batch * hidden;
    float *gates = random_floats(batch * gates_stride, 3), *other = random_floats(batch * gates_stride, 3);
    float *before = random_floats(count, 1), *dh = random_floats(count, 1), *cell = zeros(count), *h = zeros(count);
    float *weights = random_floats(hidden * gates_stride, 0.3f), *turned = zeros(hidden * gates_stride);
    const deml_recurrent_step step = {batch, hidden, gates, gru ? other : NULL, gates_stride, before, hidden, cell,
                                      hidden, h, hidden, dh, hidden, dh, before};
    deml_linear_rows(pool, batch, hidden, gates_stride, before, hidden, weights, NULL, true, gates, gates_stride);
    gru ? deml_gru_forward(pool, &step) : deml_lstm_forward(pool, &step);
    add(gates, batch * gates_stride), add(h, count), add(cell, count);
    gru ? deml_gru_backward(pool, &step) : deml_lstm_backward(pool, &step);
    deml_linear_weights_transpose(pool, hidden, gates_stride, weights, turned);
    deml_linear_rows(pool, batch, gates_stride, hidden, gates, gates_stride, turned, NULL, false, h, hidden);
    add(gates, batch * gates_stride), add(h, count), add(before, count), add(other, batch * gates_stride);
    free(gates), free(other), free(before), free(dh), free(cell), free(h), free(weights), free(turned);
}

static void tokens(deml_pool *pool, long batch, long length, long width, long count) {
    const long rows = batch * length, n = rows * width;
    float *ids = zeros(rows), *weights = random_floats(count * width, 1), *y = zeros(n), *dweights = zeros(count * width);
    float *dposition = zeros(length * width);
    for (long r = 0; r < rows; r++) ids[r] = (float)(r * 7 % count);
    const deml_sink sink = {.gradient = dweights}, positions = {.gradient = dposition};
    deml_embedding_forward(pool, rows, width, ids, weights, y);
    deml_add_positions(pool, batch, length * width, y, weights, y);
    deml_embedding_gradient(pool, rows, count, width, ids, y, weights, 2, &sink);
    deml_position_gradient(pool, batch, length * width, length * width, y, &positions);
    add(y, n), add(dweights, count * width), add(dposition, length * width);
    free(ids), free(weights), free(y), free(dweights), free(dposition);
}

/// Plain and by the processor's instructions, all lengths around a block.
static void hashes(void) {
    float *x = random_floats(100, 1);
    for (size_t count = 0; count <= 400; count++)
        for (int plain = 0; plain < 2; plain++) {
            deml_sha256 hash;
            float words[8];
            deml_sha256_begin(&hash, plain);
            deml_sha256_update(&hash, x, count / 3);
            deml_sha256_update(&hash, (const char *)x + count / 3, count - count / 3);
            deml_sha256_end(&hash, (uint8_t *)words);
            add(words, 8);
        }
    free(x);
}

/// Tables of text, with what is no number among numbers, as long as the fields and rows come.
static void text(deml_isa isa) {
    static const char some[] = "0123456789-+.,,\n0123456789.5,;e x";
    for (long count = 0; count < 5000; count += 61) {
        // No more memory than the text has.
        uint8_t *bytes = malloc((size_t)count + 1);
        const long room = count + 64;
        deml_text_field *fields = calloc((size_t)room, sizeof *fields);
        uint32_t *ends = calloc((size_t)room, sizeof *ends), *others = calloc((size_t)room, sizeof *others);
        double *numbers = calloc((size_t)room, sizeof *numbers);
        for (long i = 0; i < count; i++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)some[(state >> 33) % (sizeof some - 1 - (state >> 60 ? 3 : 0))];
        }
        long lines = 0, found = 0;
        const long seen = deml_text_fields(isa, bytes, count, ',', room, fields, ends, &lines);
        for (long i = 0; i < seen; i++) found += bytes[i] == ',' || bytes[i] == '\n';
        deml_text_range range = {1e300, -1e300, true};
        for (long stride = 1; stride < 4 && found > 0; stride++) {
            const long rows = (found + stride - 1) / stride;
            const long other = deml_text_numbers(isa, bytes, fields, stride, rows, '.', numbers, others, &range);
            // What is none is NaN, whose bits are the processor's affair.
            for (long i = 0; i < other; i++) numbers[others[i]] = 0;
            add((const float *)numbers, 2 * rows), add((const float *)others, other);
        }
        add((const float *)fields, 2 * found), add((const float *)ends, lines);
        add((const float *)&range.minimum, 4);
        free(bytes), free(fields), free(ends), free(others), free(numbers);
    }
}

int main(void) {
    for (int isa = 0; isa < DEML_ISA_COUNT; isa++) {
        if (!deml_isa_available((deml_isa)isa)) continue;
        deml_pool *pool = deml_pool_create(2, (deml_isa)isa);
        if (!pool) return 1;
        digest = 14695981039346656037u, state = 1;
        linear(pool, 1, 7, 3), linear(pool, 10, 100, 33), linear(pool, 64, 200, 128), linear(pool, 3, 50, 10);
        report(pool, "linear");
        convolution(pool, (deml_conv2d){3, 14, 14, 3, 20, 5, 5, 1, 1, 2, 2, 1, 1, 1});
        convolution(pool, (deml_conv2d){2, 9, 10, 1, 32, 3, 3, 2, 2, 1, 1, 1, 1, 1});
        convolution(pool, (deml_conv2d){2, 9, 10, 24, 24, 3, 3, 2, 1, 1, 1, 24, 1, 2});
        convolution(pool, (deml_conv2d){2, 9, 10, 12, 8, 3, 2, 1, 2, 1, 1, 4, 2, 1});
        convolution(pool, (deml_conv2d){2, 9, 10, 6, 20, 3, 3, 1, 1, 1, 1, 1, 1, 2});
        report(pool, "conv2d");
        pooling(pool, (deml_pool2d){2, 9, 8, 20, 4, 4, 2, 2, 2, 2, 0, 0, false});
        pooling(pool, (deml_pool2d){2, 7, 7, 3, 4, 4, 3, 3, 2, 2, 1, 1, false});
        pooling(pool, (deml_pool2d){2, 8, 7, 20, 5, 4, 3, 3, 2, 2, 1, 1, true});
        resampling(pool, (deml_resize2d){2, 9, 8, 20, 18, 5, false, 0.5f, 1.6f});
        resampling(pool, (deml_resize2d){3, 4, 5, 3, 7, 9, false, 4.0f / 7, 5.0f / 9});
        report(pool, "pooling");
        elementwise(pool, 1), elementwise(pool, 10007);
        report(pool, "elementwise");
        rows(pool, 3, 10), rows(pool, 64, 129), rows(pool, 20, 16);
        batch_norm(pool, 3, 10), batch_norm(pool, 1000, 37);
        gates(pool, 3, 20, 37), gates(pool, 20, 1, 100);
        report(pool, "rows");
        linear(pool, 300, 70, 150), linear(pool, 700, 16, 65), linear(pool, 260, 8, 9);
        tokens(pool, 3, 10, 33, 20), tokens(pool, 20, 30, 64, 70);
        attention(pool, (deml_attention){2, 70, 3, 20, true, 0.2f});
        attention(pool, (deml_attention){3, 40, 4, 8, false, 0});
        recurrent(pool, 10, 100, false), recurrent(pool, 10, 100, true), recurrent(pool, 3, 7, true);
        report(pool, "sequences");
        hashes();
        report(pool, "sha256");
        text((deml_isa)isa);
        report(pool, "text");
        deml_pool_destroy(pool);
    }
    return 0;
}
