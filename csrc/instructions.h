// What a program's instructions do, on a block of vectors of units of a few rows.
#pragma once
#include <cmath>

#include "activation.h"
#include "program.h"

namespace unrolled::UNROLLED_ISA {

// --- functions that the cells with kernels of their own don't need -------------------------------

// 2^k for whole k in two factors, so that neither passes the greatest number nor the least.
template <class T>
UNROLLED_INLINE Vec<T> scaled(Vec<T> x, Mask<T> k) {
    using E = Exp<T>;
    const Mask<T> half = k >> 1;
    const auto factor = [](Mask<T> n) {
        return from_bits<T>((n + typename Simd<T>::Bits(E::bias)) << E::mantissa);
    };
    return x * factor(half) * factor(k - half);
}

// With x = n ln 2 + r: 2^n (1 + (exp(r) - 1)).
template <class T>
UNROLLED_INLINE Vec<T> exp(Vec<T> x) {
    using E = Exp<T>;
    constexpr T most = sizeof(T) == 4 ? T(89) : T(710);  // beyond it is infinity
    const Vec<T> y = at_most(at_least(x, E::least), most);
    const Vec<T> shifted = fused(y, all<T>(E::log2_e), all<T>(E::round));
    const Vec<T> n = shifted - E::round;
    const Vec<T> high = fused(n, all<T>(-E::ln2_high), y);
    const Vec<T> r = fused(n, all<T>(-E::ln2_low), high);
    // The polynomial is c (exp(-r) - 1) / r, so that this is c (exp(r) - 1).
    const Vec<T> f = -r * polynomial<T>(-r, E::exp_minus_1);
    const Mask<T> k = to_bits<T>(shifted) - to_bits<T>(all<T>(E::round));
    return scaled<T>(fused(f, all<T>(T(1) / E::c), all<T>(1)), k);
}

template <class T>
struct Log;
template <>
struct Log<float> {
    // atanh(s) / s of s^2, for s^2 <= 1/9.
    static constexpr int terms = 9;
};
template <>
struct Log<double> {
    static constexpr int terms = 18;
};

// 2 atanh(s) by its series, for |s| <= 1/3.
template <class T>
UNROLLED_INLINE Vec<T> twice_atanh(Vec<T> s) {
    const Vec<T> s2 = s * s;
    Vec<T> sum = all<T>(T(2) / (2 * Log<T>::terms + 1));
    for (int k = Log<T>::terms - 1; k >= 1; --k) sum = fused(sum, s2, all<T>(T(2) / (2 * k + 1)));
    return fused(sum * s2, s, s + s);
}

// log(1 + y) for y from 0 to 1.
template <class T>
UNROLLED_INLINE Vec<T> log_of_one_plus(Vec<T> y) {
    return twice_atanh<T>(y / (y + T(2)));
}

// With x = 2^k m, m from sqrt(1/2) to sqrt(2): k ln 2 + 2 atanh((m - 1) / (m + 1)).
template <class T>
UNROLLED_INLINE Vec<T> log(Vec<T> x) {
    using E = Exp<T>;
    using Bits = typename Simd<T>::Bits;
    const Vec<T> least = all<T>(sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308));
    constexpr int lift = E::mantissa + 1;  // of subnormal numbers
    const Vec<T> lifted = x * T(Bits(1) << lift);
    const Vec<T> positive = x < least ? lifted : x;
    const Vec<T> y = x > T(0) ? positive : all<T>(1);  // of others the logarithm is known
    const Mask<T> down = x < least ? Mask<T>{} + Bits(lift) : Mask<T>{};
    const Mask<T> half = to_bits<T>(all<T>(T(0.70710678118654752440)));
    const Mask<T> k = (to_bits<T>(y) - half) >> E::mantissa;
    const Vec<T> m = from_bits<T>(to_bits<T>(y) - (k << E::mantissa));
    const Vec<T> n = __builtin_convertvector(k - down, Vec<T>);
    const Vec<T> of_m = twice_atanh<T>((m - T(1)) / (m + T(1)));
    const Vec<T> sum = fused(n, all<T>(E::ln2_high), fused(n, all<T>(E::ln2_low), of_m));
    const T infinity = T(INFINITY);
    const Vec<T> of_positive = x == infinity ? x : sum;  // NaN has left by itself
    const Vec<T> nan = all<T>(T(NAN));
    return x > T(0) ? of_positive : x == T(0) ? all<T>(-infinity) : x != x ? x : nan;
}

template <class T>
UNROLLED_INLINE Vec<T> absolute(Vec<T> x) {
    return from_bits<T>(to_bits<T>(x) & ~to_bits<T>(all<T>(T(-0.0))));
}

// log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|))
template <class T>
UNROLLED_INLINE Vec<T> softplus(Vec<T> x) {
    return relu<T>(x) + log_of_one_plus<T>(exp<T>(-absolute<T>(x)));
}

template <class T>
UNROLLED_INLINE Vec<T> one_or_zero(Mask<T> mask) {
    return from_bits<T>(mask & to_bits<T>(all<T>(T(1))));
}

// 0 of NaN, as torch has it.
template <class T>
UNROLLED_INLINE Vec<T> sign(Vec<T> x) {
    return one_or_zero<T>(x > T(0)) - one_or_zero<T>(x < T(0));
}

template <class T>
UNROLLED_INLINE Vec<T> power_of(Vec<T> x, Vec<T> exponent) {
    for (int i = 0; i < lanes<T>; ++i) x[i] = std::pow(x[i], exponent[i]);
    return x;
}

// Of two, NaN wins.
template <class T>
UNROLLED_INLINE Vec<T> minimum(Vec<T> x, Vec<T> y) {
    const Vec<T> least = x < y ? x : y;
    return x != x ? x : least;
}

template <class T>
UNROLLED_INLINE Vec<T> maximum(Vec<T> x, Vec<T> y) {
    const Vec<T> greatest = x > y ? x : y;
    return x != x ? x : greatest;
}

// --- where an operand lies
// ------------------------------------------------------------------------

// Its vectors in a block: of row r and vector v at data + r * row + v * step.
template <class T>
struct Lies {
    T* data;
    Index row, step;
};

// y = f(...) for V vectors of each of so many rows.
template <class T, int V, class F>
UNROLLED_INLINE void each(Index rows, Lies<T> y, Lies<T> a, F f) {
    for (; rows > 0; --rows, y.data += y.row, a.data += a.row)
        for (int v = 0; v < V; ++v) store(y.data + v * y.step, f(load(a.data + v * a.step)));
}

template <class T, int V, class F>
UNROLLED_INLINE void each(Index rows, Lies<T> y, Lies<T> a, Lies<T> b, F f) {
    for (; rows > 0; --rows, y.data += y.row, a.data += a.row, b.data += b.row)
        for (int v = 0; v < V; ++v)
            store(y.data + v * y.step, f(load(a.data + v * a.step), load(b.data + v * b.step)));
}

template <class T, int V, class F>
UNROLLED_INLINE void each(Index rows, Lies<T> y, Lies<T> a, Lies<T> b, Lies<T> c, F f) {
    for (; rows > 0; --rows, y.data += y.row, a.data += a.row, b.data += b.row, c.data += c.row)
        for (int v = 0; v < V; ++v)
            store(y.data + v * y.step, f(load(a.data + v * a.step), load(b.data + v * b.step),
                                         load(c.data + v * c.step)));
}

template <class T, int V, class F>
UNROLLED_INLINE void each(Index rows, Lies<T> y, Lies<T> a, Lies<T> b, Lies<T> c, Lies<T> d, F f) {
    for (; rows > 0; --rows) {
        for (int v = 0; v < V; ++v)
            store(y.data + v * y.step, f(load(a.data + v * a.step), load(b.data + v * b.step),
                                         load(c.data + v * c.step), load(d.data + v * d.step)));
        y.data += y.row, a.data += a.row, b.data += b.row, c.data += c.row, d.data += d.row;
    }
}

// --- the instructions
// -----------------------------------------------------------------------------

// Runs the first of these, and those that follow it with the same code, on V vectors of so many
// rows; gives what is left. lies(i) says where an operand lies.
template <class T, int V, class Where>
UNROLLED_INLINE const Instruction* execute(const Instruction* i, const Instruction* end, Index rows,
                                           Where lies) {
    using X = Vec<T>;
    const Code code = i->code;
    const auto of_one = [&](auto f) {
        do each<T, V>(rows, lies(i->to), lies(i->from[0]), f);
        while (++i != end && i->code == code);
        return i;
    };
    const auto of_two = [&](auto f) {
        do each<T, V>(rows, lies(i->to), lies(i->from[0]), lies(i->from[1]), f);
        while (++i != end && i->code == code);
        return i;
    };
    const auto of_three = [&](auto f) {
        do each<T, V>(rows, lies(i->to), lies(i->from[0]), lies(i->from[1]), lies(i->from[2]), f);
        while (++i != end && i->code == code);
        return i;
    };
    const auto of_four = [&](auto f) {
        do
            each<T, V>(rows, lies(i->to), lies(i->from[0]), lies(i->from[1]), lies(i->from[2]),
                       lies(i->from[3]), f);
        while (++i != end && i->code == code);
        return i;
    };
    const auto one_minus_square = [](X t) { return fused(-t, t, all<T>(1)); };
    switch (code) {
        case Code::copy: return of_one([](X x) { return x; });
        case Code::negative: return of_one([](X x) { return -x; });
        case Code::absolute: return of_one([](X x) { return absolute<T>(x); });
        case Code::sign: return of_one([](X x) { return sign<T>(x); });
        case Code::exp: return of_one([](X x) { return exp<T>(x); });
        case Code::log: return of_one([](X x) { return log<T>(x); });
        case Code::sqrt: return of_one([](X x) { return square_root(x); });
        case Code::sigmoid: return of_one([](X x) { return sigmoid<T>(x); });
        case Code::tanh: return of_one([](X x) { return tanh<T>(x); });
        case Code::relu: return of_one([](X x) { return relu<T>(x); });
        case Code::softplus: return of_one([](X x) { return softplus<T>(x); });
        case Code::add: return of_two([](X p, X q) { return p + q; });
        case Code::subtract: return of_two([](X p, X q) { return p - q; });
        case Code::multiply: return of_two([](X p, X q) { return p * q; });
        case Code::divide: return of_two([](X p, X q) { return p / q; });
        case Code::power: return of_two([](X p, X q) { return power_of<T>(p, q); });
        case Code::minimum: return of_two([](X p, X q) { return minimum<T>(p, q); });
        case Code::maximum: return of_two([](X p, X q) { return maximum<T>(p, q); });
        case Code::less: return of_two([](X p, X q) { return one_or_zero<T>(p < q); });
        case Code::less_equal: return of_two([](X p, X q) { return one_or_zero<T>(p <= q); });
        case Code::equal: return of_two([](X p, X q) { return one_or_zero<T>(p == q); });
        case Code::where: return of_three([](X p, X q, X r) { return p != T(0) ? q : r; });
        case Code::multiply_add: return of_three([](X p, X q, X r) { return fused(p, q, r); });
        case Code::subtract_product: return of_three([](X p, X q, X r) { return fused(-p, q, r); });
        case Code::multiply_add_product:
            return of_four([](X p, X q, X r, X s) { return fused(p, q, r * s); });
        case Code::multiply_tanh: return of_two([](X p, X q) { return p * tanh<T>(q); });
        case Code::sigmoid_back: return of_two([](X d, X s) { return d * s * (T(1) - s); });
        case Code::sigmoid_back_product:
            return of_three([](X d, X s, X e) { return d * e * s * (T(1) - s); });
        case Code::tanh_back: return of_two([=](X d, X t) { return d * one_minus_square(t); });
        case Code::tanh_back_product:
            return of_three([=](X d, X t, X e) { return d * e * one_minus_square(t); });
        case Code::tanh_back_add:
            return of_three([=](X d, X t, X e) { return fused(d, one_minus_square(t), e); });
        case Code::multiply_add_sigmoid:
            return of_three([](X p, X q, X r) { return sigmoid<T>(fused(p, q, r)); });
        case Code::multiply_add_tanh:
            return of_three([](X p, X q, X r) { return tanh<T>(fused(p, q, r)); });
        case Code::blend: return of_three([](X p, X q, X r) { return fused(p, q - r, r); });
        case Code::tanh_back_difference:
            return of_three([=](X p, X q, X t) { return (p - q) * one_minus_square(t); });
        case Code::sigmoid_back_difference:
            return of_four([](X d, X s, X p, X q) { return d * (p - q) * s * (T(1) - s); });
    }
    return end;
}

}  // namespace unrolled::UNROLLED_ISA
