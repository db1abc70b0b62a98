// exp, sigmoid and tanh on vectors: by polynomial, right to a few units in the last place over the
// whole range, with NaN and the infinities where they belong.
#pragma once
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

// What exp needs of a type. ln 2 is split so that n * ln2_high is exact for every n that occurs;
// the polynomial is exp(r) = 1 + r + r^2 * (c0 + c1 r + ...) on |r| <= ln 2 / 2.
template <class T>
struct ExpOf;

template <>
struct ExpOf<float> {
    static constexpr float log2_e = 1.44269504088896341f, ln2_high = 0.693359375f,
                           ln2_low = -2.12194440e-4f, round = 12582912.0f,  // 1.5 * 2^23
        least = -104.0f;
    static constexpr int mantissa = 23, bias = 127;
    // (exp(r) - 1 - r) / r^2 at the Chebyshev nodes: 2.2e-10 of exp(r) at most.
    static constexpr float c[] = {0.500000001347f,    0.166666666816f,   0.0416664649253f,
                                  0.00833331092548f,  0.00139336499963f, 0.000198909908247f};
};

template <>
struct ExpOf<double> {
    static constexpr double log2_e = 1.44269504088896340736, ln2_high = 6.93145751953125e-1,
                            ln2_low = 1.42860682030941723212e-6,
                            round = 6755399441055744.0,  // 1.5 * 2^52
        least = -746.0;
    static constexpr int mantissa = 52, bias = 1023;
    // 1/k! from k = 2: at |r| <= 0.3466 the first term left out, r^14/14!, is below 2^-56 of exp(r).
    static constexpr double c[] = {1.0 / 2,         1.0 / 6,          1.0 / 24,
                                   1.0 / 120,       1.0 / 720,        1.0 / 5040,
                                   1.0 / 40320,     1.0 / 362880,     1.0 / 3628800,
                                   1.0 / 39916800,  1.0 / 479001600,  1.0 / 6227020800};
};

// exp(x) = 2^n * (1 + m) with |m| <= 0.42, for x from `least` to 0; NaN gives NaN in m.
template <class T>
struct Reduced {
    Vec<T> n_shifted;  // n as the low bits of a number near `round`
    Vec<T> m;          // exp(r) - 1, right to a unit in its own last place
};

template <class T>
UNROLLED_INLINE Reduced<T> reduce(Vec<T> x) {
    using E = ExpOf<T>;
    const Vec<T> shifted = x * E::log2_e + E::round;
    const Vec<T> n = shifted - E::round;
    const Vec<T> r = (x - n * E::ln2_high) - n * E::ln2_low;
    constexpr int terms = sizeof(E::c) / sizeof(T);
    Vec<T> p = all<T>(E::c[terms - 1]);
    for (int k = terms - 2; k >= 0; --k) p = p * r + E::c[k];
    return {shifted, r + (r * r) * p};
}

// 2^n for n from -bias + 1 to 0.
template <class T>
UNROLLED_INLINE Vec<T> power(Vec<T> n_shifted) {
    using E = ExpOf<T>;
    const Mask<T> n = to_bits<T>(n_shifted) - to_bits<T>(all<T>(E::round));
    return from_bits<T>((n + E::bias) << E::mantissa);
}

template <class T>
UNROLLED_INLINE Vec<T> magnitude(Vec<T> x) {
    return x < T(0) ? -x : x;
}

// 1 / (1 + exp(-x)), as e / (1 + e) where x is negative, with e = exp(-|x|) <= 1.
template <class T>
UNROLLED_INLINE Vec<T> sigmoid(Vec<T> x) {
    using E = ExpOf<T>;
    Vec<T> y = -magnitude<T>(x);
    y = y < E::least ? all<T>(E::least) : y;
    const Reduced<T> e = reduce<T>(y);
    // In two steps, so that a result below the smallest normal number is reached without overflow.
    const Mask<T> n = to_bits<T>(e.n_shifted) - to_bits<T>(all<T>(E::round));
    const Mask<T> half = n >> 1;
    const Vec<T> first = from_bits<T>((half + E::bias) << E::mantissa);
    const Vec<T> second = from_bits<T>((n - half + E::bias) << E::mantissa);
    const Vec<T> exp = (first + first * e.m) * second;
    const Vec<T> numerator = x < T(0) ? exp : all<T>(T(1));
    return numerator / (T(1) + exp);
}

// With e = exp(-2|x|) and m = e - 1: tanh |x| = -m / (1 + e), which loses nothing near 0, and where
// e is small 1 - 2e / (1 + e), which rounds what is left of 1 only once.
template <class T>
UNROLLED_INLINE Vec<T> tanh(Vec<T> x) {
    constexpr T least = sizeof(T) == 4 ? T(-20) : T(-44);  // tanh is 1 to the last bit from there
    Vec<T> y = T(-2) * magnitude<T>(x);
    y = y < least ? all<T>(least) : y;
    const Reduced<T> r = reduce<T>(y);
    const Vec<T> scale = power<T>(r.n_shifted);
    const Vec<T> e = scale + scale * r.m;
    const Vec<T> m = scale * r.m + (scale - T(1));
    const Mask<T> far = e < T(0.25);
    const Vec<T> quotient = (far ? T(2) * e : -m) / (T(1) + e);
    const Vec<T> t = far ? T(1) - quotient : quotient;
    const Mask<T> sign = to_bits<T>(all<T>(T(-0.0)));
    return from_bits<T>((to_bits<T>(t) & ~sign) | (to_bits<T>(x) & sign));
}

template <class T>
UNROLLED_INLINE Vec<T> relu(Vec<T> x) {
    return x < T(0) ? Vec<T>{} : x;  // NaN stays NaN
}

}  // namespace unrolled::UNROLLED_ISA
