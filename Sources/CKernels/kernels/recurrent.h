// The functions of LSTMs (Hochreiter and Schmidhuber, 1997) and GRUs (Cho et al., arXiv:1406.1078, in torch's form) between
// their products. Elements of the division: blocks of HIDDEN_BLOCK units, of all examples.

enum { HIDDEN_BLOCK = 64 };

/// Calls `each` with `b`, the example, and `i`, the first of `n` units, for every vector of the elements.
#define EACH_UNIT(s) \
    for (long blocks = deml_ceil_div((s)->hidden, HIDDEN_BLOCK), at = begin; at < end; at++) \
        for (long b = at / blocks, i = at % blocks * HIDDEN_BLOCK, last = deml_min(i + HIDDEN_BLOCK, (s)->hidden), \
                  n = last - i; i < last; i += LANES, n = last - i)

INLINE vf some_or_zero(const float *p, long at, long n) { return p ? load_some(p + at, n) : (vf)0; }

DEML_BODY(lstm_forward) {
    const deml_recurrent_step *s = arguments;
    EACH_UNIT(s) {
        float *const gates = s->gates + b * s->gates_stride + i;
        const vf in = sigmoid(load_some(gates, n)), forget = sigmoid(load_some(gates + s->hidden, n));
        const vf next = hyperbolic_tangent(load_some(gates + 2 * s->hidden, n));
        const vf out = sigmoid(load_some(gates + 3 * s->hidden, n));
        const vf cell = fma_(forget, some_or_zero(s->before, b * s->before_stride + i, n), in * next);
        store_some(gates, in, n);
        store_some(gates + s->hidden, forget, n);
        store_some(gates + 2 * s->hidden, next, n);
        store_some(gates + 3 * s->hidden, out, n);
        store_some(s->cell + b * s->cell_stride + i, cell, n);
        store_some(s->h + b * s->h_stride + i, out * hyperbolic_tangent(cell), n);
    }
}

DEML_BODY(lstm_backward) {
    const deml_recurrent_step *s = arguments;
    EACH_UNIT(s) {
        float *const gates = s->gates + b * s->gates_stride + i;
        const vf in = load_some(gates, n), forget = load_some(gates + s->hidden, n);
        const vf next = load_some(gates + 2 * s->hidden, n), out = load_some(gates + 3 * s->hidden, n);
        const vf dh = some_or_zero(s->dh, b * s->hidden + i, n) + load_some(s->dy + b * s->dy_stride + i, n);
        const vf squashed = hyperbolic_tangent(load_some(s->cell + b * s->cell_stride + i, n));
        float *const carried = s->dbefore + b * s->hidden + i;
        const vf dcell = fma_(dh * out, fma_(-squashed, squashed, (vf)1), load_some(carried, n));
        store_some(gates, dcell * next * (in * (1.0f - in)), n);
        store_some(gates + s->hidden,
                   dcell * some_or_zero(s->before, b * s->before_stride + i, n) * (forget * (1.0f - forget)), n);
        store_some(gates + 2 * s->hidden, dcell * in * fma_(-next, next, (vf)1), n);
        store_some(gates + 3 * s->hidden, dh * squashed * (out * (1.0f - out)), n);
        store_some(carried, dcell * forget, n);
    }
}

DEML_BODY(gru_forward) {
    const deml_recurrent_step *s = arguments;
    EACH_UNIT(s) {
        float *const gates = s->gates + b * s->gates_stride + i;
        const float *const recurrent = s->recurrent + b * s->gates_stride + i;
        const vf reset = sigmoid(load_some(gates, n) + load_some(recurrent, n));
        const vf update = sigmoid(load_some(gates + s->hidden, n) + load_some(recurrent + s->hidden, n));
        const vf next = hyperbolic_tangent(fma_(reset, load_some(recurrent + 2 * s->hidden, n),
                                                load_some(gates + 2 * s->hidden, n)));
        const vf before = some_or_zero(s->before, b * s->before_stride + i, n);
        store_some(gates, reset, n);
        store_some(gates + s->hidden, update, n);
        store_some(gates + 2 * s->hidden, next, n);
        store_some(s->h + b * s->h_stride + i, fma_(update, before - next, next), n);
    }
}

DEML_BODY(gru_backward) {
    const deml_recurrent_step *s = arguments;
    EACH_UNIT(s) {
        float *const gates = s->gates + b * s->gates_stride + i;
        float *const recurrent = s->recurrent + b * s->gates_stride + i;
        const vf reset = load_some(gates, n), update = load_some(gates + s->hidden, n);
        const vf next = load_some(gates + 2 * s->hidden, n);
        const vf before = some_or_zero(s->before, b * s->before_stride + i, n);
        float *const carried = s->dbefore + b * s->hidden + i;
        const vf dh = load_some(s->dy + b * s->dy_stride + i, n) +
                      (some_or_zero(s->dh, b * s->hidden + i, n) + load_some(carried, n));
        const vf dnext = dh * (1.0f - update) * fma_(-next, next, (vf)1);
        const vf dreset = dnext * load_some(recurrent + 2 * s->hidden, n) * (reset * (1.0f - reset));
        const vf dupdate = dh * (before - next) * (update * (1.0f - update));
        store_some(gates, dreset, n);
        store_some(recurrent, dreset, n);
        store_some(gates + s->hidden, dupdate, n);
        store_some(recurrent + s->hidden, dupdate, n);
        store_some(gates + 2 * s->hidden, dnext, n);
        store_some(recurrent + 2 * s->hidden, dnext * reset, n);
        store_some(carried, dh * update, n);
    }
}
#undef EACH_UNIT
