// exp, log, tanh, erf and what follows from them: the same operations on every instruction set, at most 2 ulp.
// Polynomials: N. Juffa's published single-precision approximations (exp, tanh, erf); FreeBSD's e_logf.c (log).

/// e^x = 2^n·e^r, n = round(x/ln 2), |r| ≤ ln 2 / 2. Overflows to infinity, underflows gradually to 0.
INLINE vf exponential(vf x) {
    const vf magic = 12582912.0f;  // 1.5·2^23: adding it rounds to an integer in the low bits
    vf clamped = choose(x > 89.0f, (vf)89.0f, choose(x < -104.0f, (vf)-104.0f, x));
    vf shifted = fma_(clamped, (vf)1.44269502f, magic);
    vf n = shifted - magic;
    vf r = fma_(n, (vf)-6.93145752e-1f, clamped);
    r = fma_(n, (vf)-1.42860677e-6f, r);
    vf p = 1.37805939e-3f;
    p = fma_(p, r, (vf)8.37312452e-3f);
    p = fma_(p, r, (vf)4.16695364e-2f);
    p = fma_(p, r, (vf)1.66664720e-1f);
    p = fma_(p, r, (vf)4.99999851e-1f);
    p = fma_(p, r, (vf)1.0f);
    p = fma_(p, r, (vf)1.0f);
    vi exponent = (vi)shifted - (vi)magic, half = exponent >> 1;
    vf result = p * (vf)((half + 127) << 23) * (vf)((exponent - half + 127) << 23);
    return choose(x == x, result, x);
}

/// ln x = k·ln 2 + ln(1+f), sqrt(1/2) < 1+f < sqrt(2).
INLINE vf logarithm(vf x) {
    vi subnormal = x < 1.17549435e-38f;
    vi bits = (vi)choose(subnormal, x * 33554432.0f, x) + (0x3f800000 - 0x3f3504f3);
    vf k = __builtin_convertvector((bits >> 23) - 127 - (subnormal & 25), vf);
    vf f = (vf)((bits & 0x007fffff) + 0x3f3504f3) - 1.0f;
    vf s = f / (f + 2.0f), z = s * s, w = z * z;
    vf odd = w * fma_(w, (vf)0.24279078841f, (vf)0.40000972152f);
    vf even = z * fma_(w, (vf)0.28498786688f, (vf)0.66666662693f);
    vf half_square = 0.5f * f * f;
    vf result = fma_(s, half_square + (odd + even), k * 9.0580006145e-06f) - half_square + f + k * 6.9313812256e-01f;
    result = choose(x == 0, (vf)-INFINITY, result);
    result = choose(x == (vf)INFINITY, x, result);
    return choose((x < 0) | (x != x), (vf)NAN, result);
}

/// tanh x = x + x³·P(x²) for |x| < 0.55, else 1 - 2/(e^2|x| + 1).
INLINE vf hyperbolic_tangent(vf x) {
    vf t = absolute(x), s = x * x;
    vf p = 1.57394409e-2f;
    p = fma_(p, s, (vf)-5.23025580e-2f);
    p = fma_(p, s, (vf)1.33152470e-1f);
    p = fma_(p, s, (vf)-3.33327681e-1f);
    vf small = fma_(p * s, x, x);
    vf large = 1.0f - 2.0f / (exponential(t + t) + 1.0f);
    return choose(t < 0.55f, small, copy_sign(large, x));
}

/// erf x = x·P(x²) for |x| ≤ 0.9277, else 1 - e^Q(|x|).
INLINE vf error_function(vf x) {
    vf t = absolute(x), s = x * x;
    vf q = fma_((vf)-1.72853470e-5f, t, (vf)3.83197126e-4f);
    vf u = fma_((vf)-3.88396438e-3f, t, (vf)2.42546219e-2f);
    q = fma_(q, s, u);
    q = fma_(q, t, (vf)-1.06777877e-1f);
    q = fma_(q, t, (vf)-6.34846687e-1f);
    q = fma_(q, t, (vf)-1.28717512e-1f);
    q = fma_(q, t, -t);
    vf large = copy_sign(1.0f - exponential(q), x);
    vf p = -5.96761703e-4f;
    p = fma_(p, s, (vf)4.99119423e-3f);
    p = fma_(p, s, (vf)-2.67681349e-2f);
    p = fma_(p, s, (vf)1.12819925e-1f);
    p = fma_(p, s, (vf)-3.76125336e-1f);
    p = fma_(p, s, (vf)1.28379166e-1f);
    return choose(t > 0.927734375f, large, fma_(p, x, x));
}

/// e^x - 1, without cancellation where x is small: there the exponential's own polynomial is without its last term.
INLINE vf exponential_minus_one(vf x) {
    vf p = 1.37805939e-3f;
    p = fma_(p, x, (vf)8.37312452e-3f);
    p = fma_(p, x, (vf)4.16695364e-2f);
    p = fma_(p, x, (vf)1.66664720e-1f);
    p = fma_(p, x, (vf)4.99999851e-1f);
    p = fma_(p, x, (vf)1.0f);
    return choose(absolute(x) < 0.34657359f, p * x, exponential(x) - 1.0f);
}

/// ln(1 + x), x ≥ 0: ln u·x/(u - 1), where u is 1 + x rounded (Hewlett-Packard, "HP-15C advanced functions handbook").
INLINE vf logarithm_of_one_plus(vf x) {
    const vf u = 1.0f + x, d = u - 1.0f;
    return choose(d == 0, x, logarithm(u) * x / choose(d == 0, (vf)1, d));
}

INLINE vf sigmoid(vf x) { return 1.0f / (1.0f + exponential(-x)); }
/// gelu x = x·Φ(x) = x/2·(1 + erf(x/√2)); Hendrycks and Gimpel, arXiv:1606.08415.
INLINE vf gaussian_cdf(vf x) { return fma_(error_function(x * 0.70710678f), (vf)0.5f, (vf)0.5f); }
INLINE vf gelu(vf x) { return x * gaussian_cdf(x); }
/// Φ(x) + x·φ(x).
INLINE vf gelu_derivative(vf x) {
    return fma_(x * 0.39894228f, exponential(x * x * -0.5f), gaussian_cdf(x));
}
/// silu x = x·sigmoid x; Elfwing et al., arXiv:1702.03118.
INLINE vf silu(vf x) { return x / (1.0f + exponential(-x)); }
/// sigmoid x·(1 + x·(1 - sigmoid x)).
INLINE vf silu_derivative(vf x) {
    const vf s = sigmoid(x);
    return s * fma_(x, 1.0f - s, (vf)1);
}
/// gelu's form by tanh: x/2·(1 + tanh u), u = √(2/π)·(x + 0.044715·x³).
INLINE vf gelu_tanh_angle(vf x) { return x * fma_(x * x, (vf)0.035677408f, (vf)0.79788456f); }
INLINE vf gelu_tanh(vf x) { return x * fma_(hyperbolic_tangent(gelu_tanh_angle(x)), (vf)0.5f, (vf)0.5f); }
/// (1 + tanh u)/2 + x/2·(1 - tanh² u)·u'.
INLINE vf gelu_tanh_derivative(vf x) {
    const vf t = hyperbolic_tangent(gelu_tanh_angle(x)), slope = fma_(x * x, (vf)0.10703222f, (vf)0.79788456f);
    return fma_(x * 0.5f * slope, fma_(-t, t, (vf)1), fma_(t, (vf)0.5f, (vf)0.5f));
}
/// ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|).
INLINE vf softplus(vf x) {
    return choose(x > 0, x, (vf)0) + logarithm_of_one_plus(exponential(-absolute(x)));
}
