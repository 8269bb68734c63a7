// Vectors of LANES floats by the compiler's vector types: one text for every instruction set. The including file sets
// LANES and the target's features first.
#include <stdint.h>

typedef float vf __attribute__((ext_vector_type(LANES)));
typedef int32_t vi __attribute__((ext_vector_type(LANES)));
typedef uint32_t vu __attribute__((ext_vector_type(LANES)));
typedef double vd __attribute__((ext_vector_type(LANES)));
typedef uint64_t vul __attribute__((ext_vector_type(LANES)));
typedef int64_t vl __attribute__((ext_vector_type(LANES)));
typedef uint8_t vb __attribute__((ext_vector_type(LANES)));
typedef uint16_t vs __attribute__((ext_vector_type(LANES)));

#define INLINE static inline __attribute__((always_inline, unused))
#define UNROLL _Pragma("clang loop unroll(full)")

INLINE vf load(const float *p) { vf v; memcpy(&v, p, sizeof v); return v; }
INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
/// The first n ≤ LANES elements; zeros behind them.
INLINE vf load_some(const float *p, long n) {
    if (n >= LANES) return load(p);
    vf v = 0;
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}
INLINE void store_some(float *p, vf v, long n) {
    if (n >= LANES) return store(p, v);
    memcpy(p, &v, (size_t)n * sizeof(float));
}
/// v with zeros behind its first n lanes.
INLINE vf first_lanes(vf v, long n) {
    vf kept = 0;
    store_some((float *)&kept, v, n);
    return kept;
}
INLINE vf choose(vi mask, vf yes, vf no) { return (vf)(((vi)yes & mask) | ((vi)no & ~mask)); }
INLINE vi choose_int(vi mask, vi yes, vi no) { return (yes & mask) | (no & ~mask); }
INLINE vf between(vf a, float least, float most) {
    return choose(a > least, choose(a < most, a, (vf)most), (vf)least);
}
INLINE vf sign(vf a) { return choose(a > 0, (vf)1, choose(a < 0, (vf)-1, (vf)0)); }
INLINE vf absolute(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vf copy_sign(vf magnitude, vf sign) {
    return (vf)(((vi)magnitude & 0x7fffffff) | ((vi)sign & (vi)(int32_t)0x80000000));
}

#if defined(__FMA__) || defined(__aarch64__)
INLINE vf fma_(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
#else
/// a·b + c rounded once, without an FMA instruction. The product is exact in double; the sum is rounded to odd there
/// (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums", 2008), after which rounding to float is right.
INLINE vf fma_(vf a, vf b, vf c) {
    vd p = __builtin_convertvector(a, vd) * __builtin_convertvector(b, vd), d = __builtin_convertvector(c, vd);
    vd s = p + d, t = s - p;
    vd error = (p - (s - t)) + (d - t);
    vl bits = (vl)s, infinite = (bits & 0x7ff0000000000000) == 0x7ff0000000000000;
    vl away = ((error > 0) == (s > 0));  // the exact sum has the larger magnitude
    vl inexact_and_even = (error != 0) & ((bits & 1) == 0) & ~infinite;
    return __builtin_convertvector((vd)(bits + (inexact_and_even & ((away & 2) - 1))), vf);
}
#endif

INLINE vf square_root(vf a) { return __builtin_elementwise_sqrt(a); }

/// Sums are kept in 16 partial sums on every instruction set (element i goes to partial i % 16), then halved: 8, 4, 2,
/// 1.
enum { PARTS = 16 / LANES };
#define PART(i) ((i) / LANES % PARTS)
typedef struct { vf part[PARTS]; } partial_sums;
#if LANES == 16
#define LOWER_8(v) __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7)
#define UPPER_8(v) __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15)
#endif
typedef float vf4 __attribute__((ext_vector_type(4)));
typedef float vf8 __attribute__((ext_vector_type(8)));
INLINE float total(partial_sums sums) {
    // s[i] + s[i + 8], s[i] + s[i + 4], … of 16 numbers that lie in PARTS vectors.
#if LANES == 16
    const vf8 eight = LOWER_8(sums.part[0]) + UPPER_8(sums.part[0]);
#elif LANES == 8
    const vf8 eight = sums.part[0] + sums.part[1];
#endif
#if LANES >= 8
    const vf4 four = __builtin_shufflevector(eight, eight, 0, 1, 2, 3) + __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
#else
    const vf4 four = (sums.part[0] + sums.part[2]) + (sums.part[1] + sums.part[3]);
#endif
    return (four[0] + four[2]) + (four[1] + four[3]);
}
/// The largest lane of v, which has no NaN.
INLINE float largest(vf v) {
#if LANES == 16
    const vf8 low = LOWER_8(v), high = UPPER_8(v), eight = __builtin_elementwise_max(low, high);
#elif LANES == 8
    const vf8 eight = v;
#endif
#if LANES >= 8
    const vf4 lower = __builtin_shufflevector(eight, eight, 0, 1, 2, 3);
    const vf4 upper = __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
    const vf4 four = __builtin_elementwise_max(lower, upper);
#else
    const vf4 four = v;
#endif
    const float a = four[0] > four[2] ? four[0] : four[2], b = four[1] > four[3] ? four[1] : four[3];
    return a > b ? a : b;
}
