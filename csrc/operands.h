// What products multiply: numbers as they are, or rounded to bfloat16. All else is in the type of
// the sums.
#pragma once
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

// Numbers as they are.
template <class T>
struct Whole {
    using Sum = T;
    using Number = T;                  // of a row that a product reads
    static constexpr int at_once = 1;  // so many numbers of a row are multiplied at a time
    static constexpr bool rounds = false, is_scaled = false;

    // How many numbers a copy of a row takes, and how many lines a column of weights.
    static Index room(Index count) { return count; }
    static Index lines(Index count) { return count; }

    // `at_once` numbers of a row in every lane.
    UNROLLED_INLINE static Vec<T> spread(const T* numbers) { return all<T>(*numbers); }
    // The same where the row ends after the first.
    UNROLLED_INLINE static Vec<T> spread_last(const T* number) { return spread(number); }
    // sum + x w, or the sum of `at_once` such products.
    UNROLLED_INLINE static Vec<T> multiply_add(Vec<T> x, Vec<T> w, Vec<T> sum) {
        return fused(x, w, sum);
    }
};

// Rounded to bfloat16, to the nearest and of two equally near to the even one, and widened again:
// where the machine has no instruction that multiplies them.
struct Rounded : Whole<float> {
    static constexpr bool rounds = true;

    UNROLLED_INLINE static Vec<float> round(Vec<float> x) {
        typedef std::uint32_t U __attribute__((vector_size(UNROLLED_BYTES)));
        const U bits = reinterpret_cast<U>(x);
        const U rounded = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
        const U quiet = (bits | 0x400000) & 0xffff0000;  // of NaN, which must not become infinite
        return reinterpret_cast<Vec<float>>(x == x ? rounded : quiet);
    }
    // What stands in a lane for a number of one line, and of the next one where there are two.
    UNROLLED_INLINE static Vec<float> combine(Vec<float> x, Vec<float>) { return round(x); }
    static const float* narrow(const float* from, Index count, float* to) {
        for (Index i = 0; i < count; i += lanes<float>)
            store(to + i, round(load(from + i, count - i)), count - i);
        return to;
    }
};

#if UNROLLED_BYTES == 64
#define UNROLLED_PAIRS 1

// In pairs by AVX512-BF16. Its instructions are written out, so that they can stand in the build
// for AVX-512 beside what runs without them; only the table that has them may be called where they
// are missing. They take what is too small for a normal number as 0.
struct Paired {
    using Sum = float;
    using Number = std::uint16_t;
    static constexpr int at_once = 2;
    static constexpr bool rounds = true, is_scaled = false;

    static Index room(Index count) { return count; }
    static Index lines(Index count) { return count; }

    UNROLLED_INLINE static Vec<float> spread(const Number* numbers) {
        int pair;
        std::memcpy(&pair, numbers, sizeof pair);
        return reinterpret_cast<Vec<float>>(_mm512_set1_epi32(pair));
    }
    UNROLLED_INLINE static Vec<float> spread_last(const Number* number) {
        return reinterpret_cast<Vec<float>>(_mm512_set1_epi32(*number));
    }
    UNROLLED_INLINE static Vec<float> multiply_add(Vec<float> x, Vec<float> w, Vec<float> sum) {
        asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
        return sum;
    }
    UNROLLED_INLINE static Vec<float> combine(Vec<float> first, Vec<float> second) {
        Vec<float> apart;  // the first's in the lower half
        asm("vcvtne2ps2bf16 %2, %1, %0" : "=v"(apart) : "v"(second), "v"(first));
        alignas(64) static constexpr Number places[32] = {
            0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
            8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
        return reinterpret_cast<Vec<float>>(
            _mm512_permutexvar_epi16(_mm512_load_si512(places), reinterpret_cast<__m512i>(apart)));
    }
    static const Number* narrow(const float* from, Index count, Number* to) {
        for (Index i = 0; i < count; i += lanes<float>) {
            const Index left = count - i;
            __m256i half;
            asm("vcvtneps2bf16 %1, %0" : "=v"(half) : "v"(load(from + i, left)));
            if (left >= lanes<float>) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), half);
            else
                _mm256_mask_storeu_epi16(to + i, static_cast<__mmask16>(first_lanes<float>(left)),
                                         half);
        }
        return to;
    }
};
#endif

}  // namespace unrolled::UNROLLED_ISA
