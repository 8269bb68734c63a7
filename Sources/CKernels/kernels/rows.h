// Pooling windows, layer and group normalisation, softmax and losses.

// MARK: Pooling. Elements of the division: rows of output (forward) or input (backward), of all images.

DEML_BODY(max_pool_forward) {
    const deml_pool2d_arguments *a = arguments;
    const deml_pool2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long top = row % s->out_height * s->stride_height - s->padding_height;
        const float *image = a->in + row / s->out_height * s->height * s->width * s->channels;
        const long h0 = deml_max(top, 0), h1 = deml_min(top + s->kernel_height, s->height);
        for (long ow = 0; ow < s->out_width; ow++) {
            const long left = ow * s->stride_width - s->padding_width;
            const long w0 = deml_max(left, 0), w1 = deml_min(left + s->kernel_width, s->width);
            const long to = (row * s->out_width + ow) * s->channels;
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf best = load_some(image + (h0 * s->width + w0) * s->channels + c, n);
                vi position = (int32_t)((h0 - top) * s->kernel_width + w0 - left);
                for (long h = h0; h < h1; h++)
                    for (long w = w0; w < w1; w++) {
                        const vf x = load_some(image + (h * s->width + w) * s->channels + c, n);
                        const vi mask = x > best;
                        best = choose(mask, x, best);
                        position = choose_int(mask, (vi)(int32_t)((h - top) * s->kernel_width + w - left), position);
                    }
                store_some(a->out + to + c, best, n);
                const vs narrow = __builtin_convertvector(position, vs);
                memcpy(a->position + to + c, &narrow, sizeof(uint16_t) * (size_t)deml_min(n, LANES));
            }
        }
    }
}

/// First and one past the last window (of `windows`) that covers `at`.
INLINE void windows_over(long at, long kernel, long stride, long padding, long windows, long *first, long *last) {
    const long shifted = at + padding;
    *first = shifted < kernel ? 0 : (shifted - kernel) / stride + 1;
    *last = deml_min(shifted / stride + 1, windows);
}

/// How much of a window counts: numbers from first to last along one dimension.
INLINE long window_count(long index, long size, long kernel, long stride, long padding, bool exclude_padding) {
    const long first = index * stride - padding, last = deml_min(first + kernel, size + padding);
    return exclude_padding ? deml_min(last, size) - deml_max(first, 0) : last - first;
}

/// What the sum of a window is divided by.
INLINE float window_area(const deml_pool2d *s, long oh, long ow) {
    const bool without = s->exclude_padding;
    return (float)(window_count(oh, s->height, s->kernel_height, s->stride_height, s->padding_height, without) *
                   window_count(ow, s->width, s->kernel_width, s->stride_width, s->padding_width, without));
}

/// Whether that is the whole kernel for every window.
INLINE bool windows_are_whole(const deml_pool2d *s) {
    const bool has_padding = s->padding_height > 0 || s->padding_width > 0;
    return !(s->exclude_padding && has_padding) &&
        window_area(s, s->out_height - 1, s->out_width - 1) == (float)(s->kernel_height * s->kernel_width);
}

/// dx gathers from the windows over it, in their order; `position` NULL: average pooling.
INLINE void pool_backward(const deml_pool2d_arguments *a, long begin, long end, const uint16_t *positions) {
    const deml_pool2d *s = &a->s;
    const float area = (float)(s->kernel_height * s->kernel_width);
    const bool whole = windows_are_whole(s);
    for (long row = begin; row < end; row++) {
        const long h = row % s->height, image = row / s->height;
        long h0, h1, w0, w1;
        windows_over(h, s->kernel_height, s->stride_height, s->padding_height, s->out_height, &h0, &h1);
        for (long w = 0; w < s->width; w++) {
            windows_over(w, s->kernel_width, s->stride_width, s->padding_width, s->out_width, &w0, &w1);
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = 0;
                for (long oh = h0; oh < h1; oh++)
                    for (long ow = w0; ow < w1; ow++) {
                        const long from = ((image * s->out_height + oh) * s->out_width + ow) * s->channels + c;
                        vf dy = load_some(a->in + from, n);
                        if (positions) {
                            const long top = oh * s->stride_height - s->padding_height;
                            const long left = ow * s->stride_width - s->padding_width;
                            vs position = 0;
                            memcpy(&position, positions + from, sizeof(uint16_t) * (size_t)deml_min(n, LANES));
                            const vi here = (int32_t)((h - top) * s->kernel_width + w - left);
                            dy = choose(__builtin_convertvector(position, vi) == here, dy, (vf)0);
                        } else if (!whole) {
                            dy /= window_area(s, oh, ow);
                        }
                        sum += dy;
                    }
                store_some(a->out + (row * s->width + w) * s->channels + c, positions || !whole ? sum : sum / area, n);
            }
        }
    }
}

DEML_BODY(max_pool_backward) {
    const deml_pool2d_arguments *a = arguments;
    pool_backward(a, begin, end, a->position);
}

DEML_BODY(avg_pool_backward) { pool_backward(arguments, begin, end, NULL); }

DEML_BODY(avg_pool_forward) {
    const deml_pool2d_arguments *a = arguments;
    const deml_pool2d *s = &a->s;
    for (long row = begin; row < end; row++) {
        const long top = row % s->out_height * s->stride_height - s->padding_height;
        const float *image = a->in + row / s->out_height * s->height * s->width * s->channels;
        for (long ow = 0; ow < s->out_width; ow++) {
            const long left = ow * s->stride_width - s->padding_width;
            const float area = window_area(s, row % s->out_height, ow);
            for (long c = 0; c < s->channels; c += LANES) {
                const long n = s->channels - c;
                vf sum = 0;
                for (long h = deml_max(top, 0); h < deml_min(top + s->kernel_height, s->height); h++)
                    for (long w = deml_max(left, 0); w < deml_min(left + s->kernel_width, s->width); w++)
                        sum += load_some(image + (h * s->width + w) * s->channels + c, n);
                store_some(a->out + (row * s->out_width + ow) * s->channels + c, sum / area, n);
            }
        }
    }
}

// MARK: Layer normalisation (Ba et al., arXiv:1607.06450); without means root mean square normalisation (Zhang and
// Sennrich, arXiv:1910.07467). Elements: rows.

DEML_BODY(layer_norm_forward) {
    const deml_norm_arguments *a = arguments;
    const long size = a->size;
    for (long r = begin; r < end; r++) {
        const float *x = a->x + r * size;
        partial_sums sums = {0};
        for (long i = 0; a->mean && i < size; i += LANES) sums.part[PART(i)] += load_some(x + i, size - i);
        const float mean = total(sums) / (float)size;
        partial_sums squares = {0};
        for (long i = 0; i < size; i += LANES) {
            const vf d = first_lanes(load_some(x + i, size - i) - mean, size - i);
            squares.part[PART(i)] = fma_(d, d, squares.part[PART(i)]);
        }
        const float rstd = 1.0f / sqrtf(total(squares) / (float)size + a->epsilon);
        if (a->mean) a->mean[r] = mean;
        a->rstd[r] = rstd;
        for (long i = 0; i < size; i += LANES) {
            const long n = size - i;
            const vf normal = (load_some(x + i, n) - mean) * rstd;
            const vf gamma = a->gamma ? load_some(a->gamma + i, n) : (vf)1;
            store_some(a->out + r * size + i, fma_(normal, gamma, a->beta ? load_some(a->beta + i, n) : (vf)0), n);
        }
    }
}

DEML_BODY(layer_norm_backward) {
    const deml_norm_arguments *a = arguments;
    const long size = a->size;
    for (long r = begin; r < end; r++) {
        const float *x = a->x + r * size, *dy = a->dy + r * size, mean = a->mean ? a->mean[r] : 0, rstd = a->rstd[r];
        partial_sums plain = {0}, weighted = {0};
        for (long i = 0; i < size; i += LANES) {
            const long n = size - i;
            const vf normal = (load_some(x + i, n) - mean) * rstd;
            const vf d = a->gamma ? load_some(dy + i, n) * load_some(a->gamma + i, n) : load_some(dy + i, n);
            plain.part[PART(i)] += d;
            weighted.part[PART(i)] = fma_(d, normal, weighted.part[PART(i)]);
        }
        const float mean_d = a->mean ? total(plain) / (float)size : 0, mean_dn = total(weighted) / (float)size;
        for (long i = 0; i < size; i += LANES) {
            const long n = size - i;
            const vf normal = (load_some(x + i, n) - mean) * rstd;
            const vf d = a->gamma ? load_some(dy + i, n) * load_some(a->gamma + i, n) : load_some(dy + i, n);
            store_some(a->out + r * size + i, fma_(-normal, (vf)mean_dn, d - mean_d) * rstd, n);
        }
    }
}

/// Columns begin ..< end of the gradients of gamma (sums[0][…]) and beta (sums[1][…]): chains over the rows.
DEML_BODY(layer_norm_parameters) {
    const deml_norm_arguments *a = arguments;
    EACH(i, n) {
        vf gamma = 0, beta = 0;
        for (long r = 0; r < a->rows; r++) {
            const vf dy = load_some(a->dy + r * a->size + i, n);
            const vf normal = (load_some(a->x + r * a->size + i, n) - (a->mean ? a->mean[r] : 0)) * a->rstd[r];
            gamma = fma_(dy, normal, gamma);
            beta += dy;
        }
        store_some(a->sums + i, gamma, n);
        store_some(a->sums + a->size + i, beta, n);
    }
}

// MARK: Group normalisation (Wu and He, arXiv:1803.08494). Elements: images; size = channels. A group's sum is a chain
// over pixels for each channel, then a chain over its channels.

/// scratch: sums, squares, means [channels] each.
DEML_BODY(group_norm_forward) {
    const deml_norm_arguments *a = arguments;
    const long channels = a->size, per_group = channels / a->groups;
    float *sums = deml_cut(&worker->scratch, channels), *squares = deml_cut(&worker->scratch, channels);
    float *means = deml_cut(&worker->scratch, channels);
    if (worker->scratch.measuring) return;
    for (long b = begin; b < end; b++) {
        const float *x = a->x + b * a->pixels * channels;
        const float count = (float)(a->pixels * per_group);
        column_sums(a->pixels, channels, channels, x, sums, false);
        for (long g = 0; g < a->groups; g++) {
            float sum = 0;
            for (long c = 0; c < per_group; c++) sum += sums[g * per_group + c];
            a->mean[b * a->groups + g] = sum / count;
            for (long c = 0; c < per_group; c++) means[g * per_group + c] = sum / count;
        }
        for (long c = 0; c < channels; c += LANES) {
            const long n = channels - c;
            const vf mean = load_some(means + c, n);
            vf sum = 0;
            for (long p = 0; p < a->pixels; p++) {
                const vf d = load_some(x + p * channels + c, n) - mean;
                sum = fma_(d, d, sum);
            }
            store_some(squares + c, sum, n);
        }
        for (long g = 0; g < a->groups; g++) {
            float sum = 0;
            for (long c = 0; c < per_group; c++) sum += squares[g * per_group + c];
            const float rstd = 1.0f / sqrtf(sum / count + a->epsilon);
            a->rstd[b * a->groups + g] = rstd;
            for (long c = 0; c < per_group; c++) sums[g * per_group + c] = rstd;
        }
        for (long c = 0; c < channels; c += LANES) {
            const long n = channels - c;
            const vf mean = load_some(means + c, n), rstd = load_some(sums + c, n);
            const vf gamma = a->gamma ? load_some(a->gamma + c, n) : (vf)1;
            const vf beta = a->beta ? load_some(a->beta + c, n) : (vf)0;
            for (long p = 0; p < a->pixels; p++) {
                const vf normal = (load_some(x + p * channels + c, n) - mean) * rstd;
                store_some(a->out + (b * a->pixels + p) * channels + c, fma_(normal, gamma, beta), n);
            }
        }
    }
}

/// sums [batch][2][channels]: sums over pixels of dy·normal and of dy, kept for the parameters' gradients.
DEML_BODY(group_norm_backward) {
    const deml_norm_arguments *a = arguments;
    const long channels = a->size, per_group = channels / a->groups;
    float *means = deml_cut(&worker->scratch, channels), *rstds = deml_cut(&worker->scratch, channels);
    float *mean_d = deml_cut(&worker->scratch, channels), *mean_dn = deml_cut(&worker->scratch, channels);
    if (worker->scratch.measuring) return;
    for (long b = begin; b < end; b++) {
        const float *x = a->x + b * a->pixels * channels, *dy = a->dy + b * a->pixels * channels;
        float *gammas = a->sums + b * 2 * channels, *betas = gammas + channels;
        const float count = (float)(a->pixels * per_group);
        for (long c = 0; c < channels; c++) {
            means[c] = a->mean[b * a->groups + c / per_group];
            rstds[c] = a->rstd[b * a->groups + c / per_group];
        }
        for (long c = 0; c < channels; c += LANES) {
            const long n = channels - c;
            const vf mean = load_some(means + c, n), rstd = load_some(rstds + c, n);
            vf plain = 0, weighted = 0;
            for (long p = 0; p < a->pixels; p++) {
                const vf d = load_some(dy + p * channels + c, n);
                plain += d;
                weighted = fma_(d, (load_some(x + p * channels + c, n) - mean) * rstd, weighted);
            }
            store_some(gammas + c, weighted, n);
            store_some(betas + c, plain, n);
        }
        for (long g = 0; g < a->groups; g++) {
            float plain = 0, weighted = 0;
            for (long c = g * per_group; c < (g + 1) * per_group; c++) {
                const float gamma = a->gamma ? a->gamma[c] : 1.0f;
                plain += gamma * betas[c];
                weighted += gamma * gammas[c];
            }
            for (long c = g * per_group; c < (g + 1) * per_group; c++)
                mean_d[c] = plain / count, mean_dn[c] = weighted / count;
        }
        for (long c = 0; c < channels; c += LANES) {
            const long n = channels - c;
            const vf mean = load_some(means + c, n), rstd = load_some(rstds + c, n);
            const vf md = load_some(mean_d + c, n), mdn = load_some(mean_dn + c, n);
            const vf gamma = a->gamma ? load_some(a->gamma + c, n) : (vf)1;
            for (long p = 0; p < a->pixels; p++) {
                const vf normal = (load_some(x + p * channels + c, n) - mean) * rstd;
                const vf d = load_some(dy + p * channels + c, n) * gamma;
                store_some(a->out + (b * a->pixels + p) * channels + c, fma_(-normal, mdn, d - md) * rstd, n);
            }
        }
    }
}

// MARK: Softmax and losses. Elements: rows.

/// The largest; a NaN counts where it is the first.
INLINE float row_maximum(const float *x, long n) {
    float maximum = x[0];
    long c = 1;
    if (n >= 2 * LANES) {
        vf most = load(x);
        for (c = LANES; c + LANES <= n; c += LANES) {
            const vf v = load(x + c);
            most = choose(v > most, v, most);
        }
        for (long lane = 0; lane < LANES; lane++) maximum = most[lane] > maximum ? most[lane] : maximum;
    }
    for (; c < n; c++) maximum = x[c] > maximum ? x[c] : maximum;
    return maximum;
}

/// Sum over the row of e^(x - maximum).
INLINE float exponential_sum(const float *x, float maximum, long count) {
    partial_sums sums = {0};
    for (long c = 0; c < count; c += LANES)
        sums.part[PART(c)] += first_lanes(exponential(load_some(x + c, count - c) - maximum), count - c);
    return total(sums);
}

DEML_BODY(softmax_forward) {
    const deml_loss_arguments *a = arguments;
    for (long r = begin; r < end; r++) {
        const float *x = a->x + r * a->classes, maximum = row_maximum(x, a->classes);
        const float sum = exponential_sum(x, maximum, a->classes);
        for (long c = 0; c < a->classes; c += LANES) {
            const long n = a->classes - c;
            store_some(a->to + r * a->classes + c, exponential(load_some(x + c, n) - maximum) / sum, n);
        }
    }
}

/// loss = log Σe^(x-max) - (1-s)·(x[label]-max) - s/classes·Σ(x-max); gradient (softmax - smoothed label)/rows.
DEML_BODY(cross_entropy) {
    const deml_loss_arguments *a = arguments;
    const long classes = a->classes;
    const float smoothing = a->smoothing, per_class = smoothing / (float)classes, scale = 1.0f / (float)a->counted;
    for (long r = begin; r < end; r++) {
        const long label = a->labels[r];
        if (label < 0) {
            a->losses[r] = 0, a->correct[r] = 0;
            if (a->to) memset(a->to + r * classes, 0, (size_t)classes * sizeof(float));
            continue;
        }
        const float *x = a->x + r * classes, maximum = row_maximum(x, classes);
        const float sum = exponential_sum(x, maximum, classes), log_sum = logarithm((vf)sum)[0];
        float loss = log_sum - (1.0f - smoothing) * (x[label] - maximum);
        if (smoothing != 0) {
            partial_sums sums = {0};
            for (long c = 0; c < classes; c += LANES)
                sums.part[PART(c)] += first_lanes(load_some(x + c, classes - c) - maximum, classes - c);
            loss -= per_class * total(sums);
        }
        a->losses[r] = loss;
        bool first = x[label] == maximum;
        for (long c = 0; c < label; c++) first = first && x[c] < maximum;
        a->correct[r] = first;
        if (!a->to) continue;
        const float inverse = 1.0f / sum;
        for (long c = 0; c < classes; c += LANES) {
            const long n = classes - c;
            vf target = per_class;
            if (label >= c && label < c + LANES) target[label - c] += 1.0f - smoothing;
            const vf softmax = exponential(load_some(x + c, n) - maximum) * inverse;
            store_some(a->to + r * classes + c, (softmax - target) * scale, n);
        }
    }
}

/// A row's losses and gradients by one way of comparing: `term` of d = x - target is the loss, added up in 16 partial
/// sums, and `slope` its derivative.
#define COMPARE(add_term, slope) \
    for (long c = 0; c < n; c += LANES) { \
        const vf v = load_some(a->x + r * n + c, n - c), t = load_some(a->target + r * n + c, n - c), d = v - t; \
        vf *const sum = &sums.part[PART(c)]; \
        (void)d; \
        *sum = add_term; \
        if (a->to) store_some(a->to + r * n + c, (slope) * scale, n - c); \
    }

DEML_BODY(compare_outputs) {
    const deml_loss_arguments *a = arguments;
    const long n = a->classes;
    const float each = 1.0f / ((float)a->rows * (float)n), delta = a->delta;
    for (long r = begin; r < end; r++) {
        partial_sums sums = {0};
        switch (a->loss) {
        case DEML_SQUARED_ERROR: {
            const float scale = 2.0f / ((float)a->rows * (float)n);
            COMPARE(fma_(d, d, *sum), d)
            break;
        }
        case DEML_ABSOLUTE_ERROR: {
            const float scale = each;
            COMPARE(*sum + absolute(d), sign(d))
            break;
        }
        case DEML_HUBER: {
            const float scale = each;
            COMPARE(*sum + choose(absolute(d) < delta, d * 0.5f * d, (absolute(d) - 0.5f * delta) * delta),
                    between(d, -delta, delta))
            break;
        }
        default: {
            const float scale = each;
            // Behind the row's end x and target are 0, but the term is log 2.
            COMPARE(*sum + first_lanes(fma_(-v, t, choose(v > 0, v, (vf)0)) +
                                       logarithm_of_one_plus(exponential(-absolute(v))), n - c), sigmoid(v) - t)
        }
        }
        a->losses[r] = total(sums) / (float)n;
    }
}
#undef COMPARE
