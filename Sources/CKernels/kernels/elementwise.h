// Activations, sums of arrays, normalised input, optimiser updates, dropout: one pass each.

#define EACH(i, n) for (long i = begin, n = end - i; i < end; i += LANES, n = end - i)

INLINE vf activate(const deml_activation kind, deml_activation_options o, vf x) {
    switch (kind) {
    case DEML_RELU: return choose(x > 0, x, (vf)0);
    case DEML_LEAKY_RELU: return choose(x > 0, x, x * o.alpha);
    case DEML_GELU: return gelu(x);
    case DEML_TANH: return hyperbolic_tangent(x);
    case DEML_SIGMOID: return sigmoid(x);
    case DEML_SILU: return silu(x);
    case DEML_RELU6: return between(x, 0, 6);
    case DEML_HARD_SIGMOID: return between(x + 3.0f, 0, 6) * (1.0f / 6);
    case DEML_HARD_SWISH: return x * (between(x + 3.0f, 0, 6) * (1.0f / 6));
    case DEML_ELU: return choose(x > 0, x, exponential_minus_one(x) * o.alpha);
    case DEML_GELU_TANH: return gelu_tanh(x);
    case DEML_SOFTPLUS: return choose(x * o.alpha > o.threshold, x, softplus(x * o.alpha) / o.alpha);
    default: return x;
    }
}

DEML_BODY(activation_forward) {
    const deml_activation_arguments *a = arguments;
#define FORWARD(kind_) case kind_: \
        EACH(i, n) store_some(a->to + i, activate(kind_, a->options, load_some(a->x + i, n)), n); return;
    switch (a->kind) {
        FORWARD(DEML_IDENTITY) FORWARD(DEML_RELU) FORWARD(DEML_LEAKY_RELU)
        FORWARD(DEML_GELU) FORWARD(DEML_TANH) FORWARD(DEML_SIGMOID)
        FORWARD(DEML_SILU) FORWARD(DEML_RELU6) FORWARD(DEML_HARD_SIGMOID) FORWARD(DEML_HARD_SWISH)
        FORWARD(DEML_ELU) FORWARD(DEML_GELU_TANH) FORWARD(DEML_SOFTPLUS)
    default: return;
    }
}

/// dy·f'; `v` is x or y, whichever the derivative is written in.
INLINE vf activate_backward(const deml_activation kind, deml_activation_options o, vf v, vf dy) {
    switch (kind) {
    case DEML_RELU: return choose(v > 0, dy, (vf)0);
    case DEML_LEAKY_RELU: return choose(v > 0, dy, dy * o.alpha);
    case DEML_GELU: return dy * gelu_derivative(v);
    case DEML_TANH: return dy * fma_(-v, v, (vf)1);
    case DEML_SIGMOID: return dy * (v * (1 - v));
    case DEML_SILU: return dy * silu_derivative(v);
    case DEML_RELU6: return choose((v > 0) & (v < 6), dy, (vf)0);
    case DEML_HARD_SIGMOID: return choose((v > -3) & (v < 3), dy * (1.0f / 6), (vf)0);
    case DEML_HARD_SWISH:
        return choose(v > -3, choose(v < 3, dy * fma_(v, (vf)(1.0f / 3), (vf)0.5f), dy), (vf)0);
    case DEML_ELU: return choose(v > 0, dy, dy * (exponential(v) * o.alpha));
    case DEML_GELU_TANH: return dy * gelu_tanh_derivative(v);
    case DEML_SOFTPLUS: return choose(v * o.alpha > o.threshold, dy, dy * sigmoid(v * o.alpha));
    default: return dy;
    }
}

DEML_BODY(activation_backward) {
    const deml_activation_arguments *a = arguments;
#define BACKWARD(kind_, from) case kind_: \
        EACH(i, n) store_some(a->to + i, activate_backward(kind_, a->options, load_some(a->from + i, n), \
                                                           load_some(a->dy + i, n)), n); return;
    switch (a->kind) {
        BACKWARD(DEML_IDENTITY, dy) BACKWARD(DEML_RELU, y) BACKWARD(DEML_LEAKY_RELU, x)
        BACKWARD(DEML_GELU, x) BACKWARD(DEML_TANH, y) BACKWARD(DEML_SIGMOID, y)
        BACKWARD(DEML_SILU, x) BACKWARD(DEML_RELU6, y) BACKWARD(DEML_HARD_SIGMOID, x)
        BACKWARD(DEML_HARD_SWISH, x) BACKWARD(DEML_ELU, x) BACKWARD(DEML_GELU_TANH, x) BACKWARD(DEML_SOFTPLUS, x)
    default: return;
    }
}

DEML_BODY(add) {
    const deml_vector_arguments *a = arguments;
    if (a->relu) EACH(i, n) {
        const vf sum = load_some(a->x + i, n) + load_some(a->y + i, n);
        store_some(a->to + i, choose(sum > 0, sum, (vf)0), n);
    }
    else EACH(i, n) store_some(a->to + i, load_some(a->x + i, n) + load_some(a->y + i, n), n);
}

DEML_BODY(scale) {
    const deml_vector_arguments *a = arguments;
    EACH(i, n) store_some(a->to + i, load_some(a->x + i, n) * a->a, n);
}

DEML_BODY(multiply) {
    const deml_vector_arguments *a = arguments;
    EACH(i, n) store_some(a->to + i, load_some(a->x + i, n) * load_some(a->y + i, n), n);
}

/// Elements: pixels of all images.
DEML_BODY(gate_forward) {
    const deml_gate_arguments *a = arguments;
    for (long p = begin; p < end; p++)
        for (long c = 0; c < a->channels; c += LANES) {
            const long n = a->channels - c, at = p * a->channels + c;
            const vf gate = load_some(a->gate + p / a->pixels * a->channels + c, n);
            store_some(a->to + at, load_some(a->x + at, n) * gate, n);
        }
}

/// Elements: pixels of all images.
DEML_BODY(gate_input_gradient) {
    const deml_gate_arguments *a = arguments;
    for (long p = begin; p < end; p++)
        for (long c = 0; c < a->channels; c += LANES) {
            const long n = a->channels - c, at = p * a->channels + c;
            const vf gate = load_some(a->gate + p / a->pixels * a->channels + c, n);
            store_some(a->to + at, fma_(load_some(a->dy + at, n), gate, load_some(a->to + at, n)), n);
        }
}

/// Elements: images.
DEML_BODY(gate_gradient) {
    const deml_gate_arguments *a = arguments;
    for (long b = begin; b < end; b++)
        for (long c = 0; c < a->channels; c += LANES) {
            const long n = a->channels - c;
            vf sum = 0;
            for (long p = 0; p < a->pixels; p++) {
                const long at = (b * a->pixels + p) * a->channels + c;
                sum = fma_(load_some(a->dy + at, n), load_some(a->x + at, n), sum);
            }
            store_some(a->to + b * a->channels + c, sum, n);
        }
}

/// Elements: blocks. A square of a float is exact in double precision: each addition rounds once.
DEML_BODY(sum_of_squares) {
    const deml_squares_arguments *a = arguments;
    for (long b = begin; b < end; b++) {
        const long last = deml_min(a->count, (b + 1) * a->block);
        vd parts[PARTS] = {0};
        for (long i = b * a->block; i < last; i += LANES) {
            const vd x = __builtin_convertvector(load_some(a->x + i, last - i), vd);
            parts[PART(i)] += x * x;
        }
        double sums[16];
        memcpy(sums, parts, sizeof sums);
        for (int half = 8; half > 0; half /= 2)
            for (int i = 0; i < half; i++) sums[i] += sums[i + half];
        a->sums[b] = sums[0];
    }
}

DEML_BODY(subtract) {
    const deml_vector_arguments *a = arguments;
    EACH(i, n) store_some(a->to + i, load_some(a->x + i, n) - load_some(a->y + i, n), n);
}

DEML_BODY(function) {
    const deml_function_arguments *a = arguments;
    EACH(i, n) {
        const vf x = load_some(a->x + i, n);
        const vf y = a->function == DEML_FUNCTION_EXP ? exponential(x)
                     : a->function == DEML_FUNCTION_LOG ? logarithm(x)
                     : a->function == DEML_FUNCTION_TANH ? hyperbolic_tangent(x) : error_function(x);
        store_some(a->y + i, y, n);
    }
}

static void normalize_u8(long count, const uint8_t *x, float scale, float shift, float *y) {
    for (long i = 0; i < count; i += LANES) {
        vb bytes = 0;
        if (count - i >= LANES) memcpy(&bytes, x + i, sizeof(uint8_t) * LANES);
        else memcpy(&bytes, x + i, (size_t)(count - i));
        store_some(y + i, fma_(__builtin_convertvector(bytes, vf), (vf)scale, (vf)shift), count - i);
    }
}

static void normalize_f32(long count, const float *x, float scale, float shift, float *y) {
    for (long i = 0; i < count; i += LANES)
        store_some(y + i, fma_(load_some(x + i, count - i), (vf)scale, (vf)shift), count - i);
}

/// `body` for each vector of `count` elements, i being its first and n how many there are in it: LANES, which the compiler
/// knows, but in the last.
#define EACH_VECTOR(count, i, n, body) \
    do { \
        long i = 0; \
        for (; i + LANES <= (count); i += LANES) { \
            enum { n = LANES }; \
            body; \
        } \
        if (i < (count)) { \
            const long n = (count) - i; \
            body; \
        } \
    } while (0)

// Each takes a copy of what it is told: a store could change the original, for all that the compiler knows.

INLINE void sgd_some(const deml_update *u, bool decays, bool has_momentum, long n, const float *g, float *value,
                     float *state1) {
    const vf p = load_some(value, n), momentum = (vf)u->o.momentum;
    vf d = load_some(g, n);
    if (decays) d = fma_((vf)u->o.weight_decay, p, d);
    if (has_momentum) {
        const vf buffer = fma_(momentum, load_some(state1, n), d);
        store_some(state1, buffer, n);
        d = u->o.nesterov ? fma_(momentum, buffer, d) : buffer;
    }
    store_some(value, fma_((vf)-u->o.learning_rate, d, p), n);
}

static void update_sgd(const deml_update *update, long count, const float *g, float *value, float *state1) {
    const deml_update u = *update;
    const bool decays = u.o.weight_decay != 0;
    if (u.o.momentum != 0)
        EACH_VECTOR(count, i, n, sgd_some(&u, decays, true, n, g + i, value + i, state1 + i));
    else if (decays)
        EACH_VECTOR(count, i, n, sgd_some(&u, true, false, n, g + i, value + i, NULL));
    else
        EACH_VECTOR(count, i, n, sgd_some(&u, false, false, n, g + i, value + i, NULL));
}

INLINE void rmsprop_some(const deml_update *u, bool decays, bool momentum, long n, const float *g, float *value,
                         float *state1, float *state2) {
    const deml_optimizer *o = &u->o;
    const vf p = load_some(value, n);
    vf d = load_some(g, n);
    if (decays) d = fma_((vf)o->weight_decay, p, d);
    const vf square = fma_(d * u->one_minus_beta2, d, load_some(state1, n) * o->beta2);
    store_some(state1, square, n);
    vf variance = square;
    if (o->centered) {
        const vf old = load_some(state2, n), mean = fma_((vf)u->one_minus_beta2, d - old, old);
        store_some(state2, mean, n);
        // Never below 0, where rounding would make a NaN of a gradient that is always the same.
        variance = fma_(-mean, mean, square);
        variance = choose(variance > 0, variance, (vf)0);
    }
    vf step = d / (square_root(variance) + o->epsilon);
    if (momentum) {
        step = fma_((vf)o->momentum, load_some(state2, n), step);
        store_some(state2, step, n);
    }
    store_some(value, fma_((vf)-o->learning_rate, step, p), n);
}

static void update_rmsprop(const deml_update *update, long count, const float *g, float *value, float *state1,
                           float *state2) {
    const deml_update u = *update;
    const bool decays = u.o.weight_decay != 0, momentum = u.o.momentum != 0;
    EACH_VECTOR(count, i, n, rmsprop_some(&u, decays, momentum, n, g + i, value + i, state1 + i, state2 + i));
}

INLINE void lion_some(const deml_update *u, bool decays, long n, const float *g, float *value, float *state1) {
    const vf d = load_some(g, n), m = load_some(state1, n);
    vf p = load_some(value, n);
    if (decays) p = p * u->decay_factor;
    store_some(value, fma_((vf)-u->o.learning_rate, sign(fma_((vf)u->one_minus_beta1, d - m, m)), p), n);
    store_some(state1, fma_((vf)u->one_minus_beta2, d - m, m), n);
}

static void update_lion(const deml_update *update, long count, const float *g, float *value, float *state1) {
    const deml_update u = *update;
    const bool decays = u.o.weight_decay != 0;
    EACH_VECTOR(count, i, n, lion_some(&u, decays, n, g + i, value + i, state1 + i));
}

/// decays: 0, 1 (weightDecay·p is added to the gradient) or 2 (AdamW's).
INLINE void adam_some(const deml_update *u, int decays, long n, const float *g, float *value, float *state1,
                      float *state2) {
    vf p = load_some(value, n), d = load_some(g, n);
    if (decays == 1) d = fma_((vf)u->o.weight_decay, p, d);
    else if (decays == 2) p = p * u->decay_factor;
    vf m = load_some(state1, n), v = load_some(state2, n);
    m = fma_((vf)u->one_minus_beta1, d - m, m);
    v = fma_(d * u->one_minus_beta2, d, v * u->o.beta2);
    store_some(state1, m, n);
    store_some(state2, v, n);
    const vf denominator = fma_(square_root(v), (vf)u->rsqrt_correction2, (vf)u->o.epsilon);
    store_some(value, fma_((vf)-u->step_size, m / denominator, p), n);
}

static void update_adam(const deml_update *update, long count, const float *g, float *value, float *state1,
                        float *state2) {
    const deml_update u = *update;
    if (u.o.weight_decay == 0)
        EACH_VECTOR(count, i, n, adam_some(&u, 0, n, g + i, value + i, state1 + i, state2 + i));
    else if (u.o.kind != DEML_ADAMW)
        EACH_VECTOR(count, i, n, adam_some(&u, 1, n, g + i, value + i, state1 + i, state2 + i));
    else
        EACH_VECTOR(count, i, n, adam_some(&u, 2, n, g + i, value + i, state1 + i, state2 + i));
}

/// SGD (Sutskever et al. 2013 for momentum and Nesterov), Adam (Kingma and Ba, arXiv:1412.6980), AdamW (Loshchilov and
/// Hutter, arXiv:1711.05101), RMSprop (Tieleman and Hinton 2012), in the forms and with the order of operations of
/// torch.optim; Lion (Chen et al., arXiv:2302.06675).
static void update(const deml_update *u, long count, const float *g, float *value, float *state1, float *state2) {
    switch (u->o.kind) {
    case DEML_SGD: return update_sgd(u, count, g, value, state1);
    case DEML_RMSPROP: return update_rmsprop(u, count, g, value, state1, state2);
    case DEML_LION: return update_lion(u, count, g, value, state1);
    default: return update_adam(u, count, g, value, state1, state2);
    }
}

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11), LANES consecutive blocks.
INLINE void philox(const deml_random *r, uint32_t block, vu words[4]) {
    vu c0, c1 = r->step, c2 = r->epoch, c3 = (r->purpose << 24) | r->layer;
    for (int i = 0; i < LANES; i++) c0[i] = block + (uint32_t)i;
    uint32_t k0 = (uint32_t)r->seed, k1 = (uint32_t)(r->seed >> 32);
    for (int round = 0; round < 10; round++) {
        const vul p0 = __builtin_convertvector(c0, vul) * 0xD2511F53u;
        const vul p1 = __builtin_convertvector(c2, vul) * 0xCD9E8D57u;
        c0 = __builtin_convertvector(p1 >> 32, vu) ^ c1 ^ k0;
        c2 = __builtin_convertvector(p0 >> 32, vu) ^ c3 ^ k1;
        c1 = __builtin_convertvector(p1, vu);
        c3 = __builtin_convertvector(p0, vu);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

/// begin is a multiple of 64 (the division's unit).
DEML_BODY(dropout) {
    const deml_dropout_arguments *a = arguments;
    for (long i = begin; i < end; i += 64)
        for (long lane = 0; lane < 16; lane += LANES) {
            vu words[4];
            philox(&a->random, (uint32_t)(i / 4 + lane), words);
            for (long w = 0; w < 4; w++) {
                const long at = i + w * 16 + lane, n = end - at;
                if (n <= 0) break;
                const vf kept = load_some(a->x + at, n) * a->scale;
                store_some(a->y + at, choose((vi)(words[w] >= a->threshold), kept, (vf)0), n);
            }
        }
}
