// A vector of as many numbers as one register of this build holds, in the compiler's own terms.
//
// The build gives UNROLLED_ISA (a namespace of its own: the linker merges inline functions of equal
// names, and an old machine would then run new instructions) and UNROLLED_BYTES (a register's
// size).
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#ifdef __SSE2__
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#include "contract.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Simd;

template <>
struct Simd<float> {
    static constexpr int lanes = UNROLLED_BYTES / 4;
    using Bits = std::int32_t;
    typedef float V __attribute__((vector_size(UNROLLED_BYTES), aligned(4), may_alias));
    typedef std::int32_t I __attribute__((vector_size(UNROLLED_BYTES), aligned(4), may_alias));
    typedef float R __attribute__((vector_size(UNROLLED_BYTES)));  // in a register
    typedef std::int32_t RI __attribute__((vector_size(UNROLLED_BYTES)));
};

template <>
struct Simd<double> {
    static constexpr int lanes = UNROLLED_BYTES / 8;
    using Bits = std::int64_t;
    typedef double V __attribute__((vector_size(UNROLLED_BYTES), aligned(8), may_alias));
    typedef double R __attribute__((vector_size(UNROLLED_BYTES)));
    typedef std::int64_t RI __attribute__((vector_size(UNROLLED_BYTES)));
};

template <class T>
using Vec = typename Simd<T>::R;
template <class T>
using Mask = typename Simd<T>::RI;

template <class T>
constexpr int lanes = Simd<T>::lanes;

template <class T>
UNROLLED_INLINE Vec<T> load(const T* p) {
    return *reinterpret_cast<const typename Simd<T>::V*>(p);
}

template <class T>
UNROLLED_INLINE void store(T* p, Vec<T> v) {
    *reinterpret_cast<typename Simd<T>::V*>(p) = v;
}

// The first n numbers only; what stands past them in memory is neither read nor written.
#if UNROLLED_BYTES == 64
template <class T>
UNROLLED_INLINE unsigned first_lanes(Index n) {
    return n <= 0 ? 0 : (1u << n) - 1;
}
UNROLLED_INLINE Vec<float> load(const float* p, Index n) {
    if (n >= lanes<float>) return load(p);
    return _mm512_maskz_loadu_ps(static_cast<__mmask16>(first_lanes<float>(n)), p);
}
UNROLLED_INLINE Vec<double> load(const double* p, Index n) {
    if (n >= lanes<double>) return load(p);
    return _mm512_maskz_loadu_pd(static_cast<__mmask8>(first_lanes<double>(n)), p);
}
UNROLLED_INLINE void store(float* p, Vec<float> v, Index n) {
    if (n >= lanes<float>) return store(p, v);
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>(first_lanes<float>(n)), v);
}
UNROLLED_INLINE void store(double* p, Vec<double> v, Index n) {
    if (n >= lanes<double>) return store(p, v);
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>(first_lanes<double>(n)), v);
}
#else
template <class T>
UNROLLED_INLINE Vec<T> load(const T* p, Index n) {
    if (n >= lanes<T>) return load(p);
    Vec<T> v = {};
    for (Index i = 0; i < n; ++i) v[i] = p[i];
    return v;
}

template <class T>
UNROLLED_INLINE void store(T* p, Vec<T> v, Index n) {
    if (n >= lanes<T>) return store(p, v);
    for (Index i = 0; i < n; ++i) p[i] = v[i];
}
#endif

template <class T>
UNROLLED_INLINE Vec<T> all(T x) {
    return x - Vec<T>{};
}

// Rows of a square of numbers become its columns, in log2(lanes) rounds in each of which the rows
// of the upper and of the lower half are interleaved pair by pair.
template <class T, int... i>
UNROLLED_INLINE void transpose(Vec<T> (&v)[sizeof...(i)], std::integer_sequence<int, i...>) {
    constexpr int n = sizeof...(i);
    for (int round = 1; round < n; round *= 2) {
        Vec<T> next[n];
        for (int k = 0; k < n / 2; ++k) {
            const Vec<T> a = v[k], b = v[k + n / 2];
            next[2 * k] = __builtin_shufflevector(a, b, (i / 2 + (i % 2) * n)...);
            next[2 * k + 1] = __builtin_shufflevector(a, b, (n / 2 + i / 2 + (i % 2) * n)...);
        }
        for (int k = 0; k < n; ++k) v[k] = next[k];
    }
}

// to[c * ld_to + r] = from[r * ld_from + c] for at most `lanes` rows and columns.
template <class T>
UNROLLED_INLINE void copy_transposed(const T* from, Index ld_from, Index rows, Index columns, T* to,
                                     Index ld_to) {
    constexpr int n = lanes<T>;
    Vec<T> v[n] = {};
    for (Index r = 0; r < n && r < rows; ++r) v[r] = load(from + r * ld_from, columns);
    transpose<T>(v, std::make_integer_sequence<int, n>());
    for (Index c = 0; c < n && c < columns; ++c) store(to + c * ld_to, v[c], rows);
}
// x, or the limit that it lies beyond; NaN stays NaN. On x86 that is one instruction, which gives
// its second operand where one is NaN; of a comparison GCC makes two or three.
#ifdef __SSE2__
#if UNROLLED_BYTES == 64  // by way of maskz: of the plain one's own header GCC 12 warns
#define UNROLLED_MM(name, ...) _mm512_maskz_##name(-1, __VA_ARGS__)
#elif UNROLLED_BYTES == 32
#define UNROLLED_MM(name, ...) _mm256_##name(__VA_ARGS__)
#else
#define UNROLLED_MM(name, ...) _mm_##name(__VA_ARGS__)
#endif
UNROLLED_INLINE Vec<float> at_least(Vec<float> x, float limit) {
    return UNROLLED_MM(max_ps, all<float>(limit), x);
}
UNROLLED_INLINE Vec<float> at_most(Vec<float> x, float limit) {
    return UNROLLED_MM(min_ps, all<float>(limit), x);
}
UNROLLED_INLINE Vec<double> at_least(Vec<double> x, double limit) {
    return UNROLLED_MM(max_pd, all<double>(limit), x);
}
UNROLLED_INLINE Vec<double> at_most(Vec<double> x, double limit) {
    return UNROLLED_MM(min_pd, all<double>(limit), x);
}
#else
template <class V, class T>
UNROLLED_INLINE V at_least(V x, T limit) {
    return x < limit ? all<T>(limit) : x;
}
template <class V, class T>
UNROLLED_INLINE V at_most(V x, T limit) {
    return x > limit ? all<T>(limit) : x;
}
#endif

// a * b + c, rounded once where the build has an instruction for it. Nothing else is fused: the
// compiler is told to leave what is written apart, so that two kernels of the same equations give
// the same bits.
#if defined(__SSE2__) && defined(__FMA__)
UNROLLED_INLINE Vec<float> fused(Vec<float> a, Vec<float> b, Vec<float> c) {
    return UNROLLED_MM(fmadd_ps, a, b, c);
}
UNROLLED_INLINE Vec<double> fused(Vec<double> a, Vec<double> b, Vec<double> c) {
    return UNROLLED_MM(fmadd_pd, a, b, c);
}
#elif defined(__ARM_NEON) && defined(__ARM_FEATURE_FMA) && UNROLLED_BYTES == 16
UNROLLED_INLINE Vec<float> fused(Vec<float> a, Vec<float> b, Vec<float> c) {
    return reinterpret_cast<Vec<float>>(vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b));
}
UNROLLED_INLINE Vec<double> fused(Vec<double> a, Vec<double> b, Vec<double> c) {
    return reinterpret_cast<Vec<double>>(vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b));
}
#else
template <class V>
UNROLLED_INLINE V fused(V a, V b, V c) {
    return a * b + c;
}
#endif

#ifdef __SSE2__
UNROLLED_INLINE Vec<float> square_root(Vec<float> x) { return UNROLLED_MM(sqrt_ps, x); }
UNROLLED_INLINE Vec<double> square_root(Vec<double> x) { return UNROLLED_MM(sqrt_pd, x); }
#undef UNROLLED_MM
#else
template <class V>
UNROLLED_INLINE V square_root(V x) {
    for (unsigned i = 0; i < sizeof(V) / sizeof(x[0]); ++i) x[i] = std::sqrt(x[i]);
    return x;
}
#endif

template <class T>
UNROLLED_INLINE Vec<T> from_bits(Mask<T> bits) {
    return reinterpret_cast<Vec<T>>(bits);
}

template <class T>
UNROLLED_INLINE Mask<T> to_bits(Vec<T> v) {
    return reinterpret_cast<Mask<T>>(v);
}

}  // namespace unrolled::UNROLLED_ISA
