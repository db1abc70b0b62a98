// sigmoid and tanh on vectors: by polynomial and one division, right to 2 units in the last place
// in float and 4 in double over the whole range, with NaN and the infinities where they belong.
//
// They stand in every step beside products of a few vectors, so they are as short as that precision
// allows: a multiple n of ln 2 (or of ln 2 / 2) is taken from x, a polynomial gives exp of the
// rest, and 2^n goes into the quotient as it is, without building exp(x).
#pragma once
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Exp;

// The polynomials are minimax ones, by Remez.
template <>
struct Exp<float> {
    static constexpr int mantissa = 23, bias = 127;
    // Added to a number below 2^21, it leaves the nearest whole number in the last bits.
    static constexpr float round = 12582912.0f;  // 1.5 * 2^23
    static constexpr float log2_e = 1.44269504088896341f, ln2 = 0.693147180559945309f;
    // ln 2 in two parts, so that n * ln2_high is exact for every n that occurs.
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;

    // Sigmoid's numerator: at 1 the worst roundings, those just above a power of two, fall
    // together.
    static constexpr float c = 1.25f;
    // c (exp(-r) - 1) / r on |r| <= ln 2 / 2: exp(-r) to 2e-8 of it.
    static constexpr float exp_minus_1[] = {c * -1.0f,       c * 0.49999875f,   c * -0.16666543f,
                                            c * 0.04170034f, c * -0.008366256f, c * 0.0011894088f};
    // From `least` sigmoid is below half the least number; from `most` it is 1 to the last bit.
    static constexpr float least = -104.0f, most = 20.0f;
    static constexpr int room = 24;  // so that 2^(150 - room) is a number still

    // (s - (1 - exp(-2s)) / 2) / s^2 on |s| <= ln 2 / 4: 1.5e-8 of (1 - exp(-2s)) / 2 at most.
    static constexpr float one_minus_exp[] = {0.99999994f, -0.66666156f, 0.33334205f, -0.1338739f,
                                              0.044273697f};
    static constexpr float far = 10.0f;  // from there tanh is 1 to the last bit
};

template <>
struct Exp<double> {
    static constexpr int mantissa = 52, bias = 1023;
    static constexpr double round = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr double log2_e = 1.44269504088896340736, ln2 = 0.693147180559945309417;
    static constexpr double ln2_high = 6.93145751953125e-1, ln2_low = 1.42860682030941723212e-6;

    static constexpr double c = 1.25;
    // As above: 2e-17 of it.
    static constexpr double exp_minus_1[] = {
        c * -1.0,
        c * 0.5000000000000012,
        c * -0.16666666666666216,
        c * 0.04166666666651771,
        c * -0.008333333333549863,
        c * 0.0013888888946387077,
        c * -0.00019841269436556437,
        c * 2.480149059794045e-05,
        c * -2.755762681928651e-06,
        c * 2.763104874708073e-07,
        c * -2.499142067962887e-08,
    };
    static constexpr double least = -746.0, most = 40.0;
    static constexpr int room = 54;

    // As above: 4e-17 at most.
    static constexpr double one_minus_exp[] = {
        1.000000000000001,      -0.6666666666666635,    0.33333333333261406,
        -0.13333333333423283,   0.04444444458100782,    -0.012698412620164587,
        0.003174592675035012,   -0.0007054696330980263, 0.00014144531415882935,
        -2.565506539098733e-05,
    };
    static constexpr double far = 20.0;
};

// 2^k, of what was rounded by adding Exp<T>::round + bias + k - n to n.
template <class T>
UNROLLED_INLINE Vec<T> power(Vec<T> shifted) {
    return from_bits<T>(to_bits<T>(shifted) << Exp<T>::mantissa);
}

// c0 + c1 x + c2 x^2 + ...: the fewest instructions.
template <class T, int count>
UNROLLED_INLINE Vec<T> polynomial(Vec<T> x, const T (&c)[count]) {
    Vec<T> sum = all<T>(c[count - 1]);
    for (int k = count - 2; k >= 0; --k) sum = fused(sum, x, all<T>(c[k]));
    return sum;
}

// The same two terms at a time: half as long a chain, for who has x^2 at hand.
template <class T, int count>
UNROLLED_INLINE Vec<T> polynomial(Vec<T> x, Vec<T> x2, const T (&c)[count]) {
    constexpr int odd = count % 2;
    const auto pair = [&](int k) { return fused(all<T>(c[k + 1]), x, all<T>(c[k])); };
    Vec<T> sum = odd ? all<T>(c[count - 1]) : pair(count - 2);
    for (int k = count - 4 + odd; k >= 0; k -= 2) sum = fused(x2, sum, pair(k));
    return sum;
}

// With exp(-x) = 2^-n exp(-r) and f = exp(-r) - 1: c / (c + 2^-n c f + 2^-n c), where summed in
// this order 1 + f is not rounded by itself. Where x is far below 0, 2^-n would pass the greatest
// number before the result passes the least: so above and below it is all by 2^-room.
template <class T>
UNROLLED_INLINE Vec<T> sigmoid(Vec<T> x) {
    using E = Exp<T>;
    x = at_most(at_least(x, E::least), E::most);
    constexpr T round = E::round + (E::bias - E::room);
    const Vec<T> shifted = fused(x, all<T>(-E::log2_e), all<T>(round));
    const Vec<T> minus_n = shifted - round;
    const Vec<T> high = fused(minus_n, all<T>(E::ln2_high), x);
    const Vec<T> r = fused(minus_n, all<T>(E::ln2_low), high);
    const Vec<T> f = r * polynomial<T>(r, E::exp_minus_1);
    const Vec<T> scale = power<T>(shifted);
    const Vec<T> c = all<T>(E::c / T(std::int64_t(1) << E::room));
    return c / fused(scale, all<T>(E::c), fused(scale, f, c));
}

// With exp(-2|x|) = 2^-n exp(-2s) and q = (1 - exp(-2s)) / 2:
//   tanh |x| = (1 - exp(-2|x|)) / (1 + exp(-2|x|)) = (q + (2^n - 1) / 2) / ((2^n + 1) / 2 - q).
// Near 0 n is 0, and nothing is lost: q is s to begin with. Of |x|, because where x is below 0 the
// denominator would lie just above a power of two, where roundings are worst.
template <class T>
UNROLLED_INLINE Vec<T> tanh(Vec<T> x) {
    using E = Exp<T>;
    const Mask<T> sign_bit = to_bits<T>(all<T>(T(-0.0)));
    const Vec<T> y = at_most(from_bits<T>(to_bits<T>(x) & ~sign_bit), E::far);
    constexpr T round = E::round + (E::bias - 1);
    const Vec<T> shifted = fused(y, all<T>(2 * E::log2_e), all<T>(round));
    const Vec<T> s = fused(shifted - round, all<T>(-E::ln2 / 2), y);
    const Vec<T> half_power = power<T>(shifted);
    const Vec<T> s2 = s * s;
    const Vec<T> q = fused(-s2, polynomial<T>(s, s2, E::one_minus_exp), s);
    const Vec<T> t = (q + (half_power - T(0.5))) / ((half_power + T(0.5)) - q);
    return from_bits<T>(to_bits<T>(t) | (to_bits<T>(x) & sign_bit));
}

template <class T>
UNROLLED_INLINE Vec<T> relu(Vec<T> x) {
    return x < T(0) ? Vec<T>{} : x;  // NaN stays NaN
}

}  // namespace unrolled::UNROLLED_ISA
