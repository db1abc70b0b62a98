// Products of whole numbers in 8 bits: a row's from -127 to 127 with a scale of the row, a column
// of weights' likewise. What is summed of these is exact; then it is multiplied by both scales.
#pragma once
#include <limits>

#include "operands.h"

namespace unrolled::UNROLLED_ISA {

typedef std::int32_t Int32s __attribute__((vector_size(UNROLLED_BYTES)));
typedef std::uint8_t Bytes8 __attribute__((vector_size(UNROLLED_BYTES / 4)));

constexpr float most_of_byte = 127;

// What the numbers are multiplied by, and its inverse, if none is farther from 0 than `most`. Where
// all are next to nothing they count as 0. Infinity and NaN make all of it NaN.
struct ByteScale {
    float scale, inverse;

    explicit ByteScale(float most)
        : scale(most < 1e-30f ? 0 : most / most_of_byte),
          inverse(most < 1e-30f ? 0 : most_of_byte / most) {
        if (!(most <= std::numeric_limits<float>::max())) scale = most - most, inverse = 0;
    }
};

UNROLLED_INLINE Int32s as_ints(Vec<float> x) { return reinterpret_cast<Int32s>(x); }
UNROLLED_INLINE Vec<float> as_floats(Int32s x) { return reinterpret_cast<Vec<float>>(x); }

// x / scale to the nearest whole number, of two equally near to the even one.
UNROLLED_INLINE Int32s to_whole(Vec<float> x, float inverse) {
    constexpr float magic = 12582912;  // its last bit stands for 1
    return as_ints(fused(x, all<float>(inverse), all<float>(magic))) - as_ints(all<float>(magic));
}

// The larger numbers by their distance from 0, lane by lane; NaN is larger than all others.
UNROLLED_INLINE Int32s farther(Int32s most, Vec<float> x) {
    const Int32s distance = as_ints(x) & 0x7fffffff;
    return distance > most ? distance : most;
}

// The largest number in all lanes, by halves.
template <int n, int... i>
UNROLLED_INLINE Int32s largest(Int32s x, std::integer_sequence<int, i...> all_lanes) {
    const Int32s turned = __builtin_shufflevector(x, x, ((i + n) % lanes<float>)...);
    const Int32s larger = x > turned ? x : turned;
    if constexpr (n == 1) return larger;
    else return largest<n / 2>(larger, all_lanes);
}

UNROLLED_INLINE float farthest(Int32s most) {
    const Int32s all_alike =
        largest<lanes<float> / 2>(most, std::make_integer_sequence<int, lanes<float>>());
    return as_floats(all_alike)[0];
}

UNROLLED_INLINE Bytes8 to_8_bits(Int32s x) {
#if UNROLLED_BYTES == 64
    return reinterpret_cast<Bytes8>(_mm512_maskz_cvtepi32_epi8(-1, reinterpret_cast<__m512i>(x)));
#else
    return __builtin_convertvector(x, Bytes8);
#endif
}

// What all that multiplies bytes has. A row's are handed over with 128 added, from 1 to 255, behind
// their scale.
struct ByteOperands {
    using Sum = float;
    using Number = std::uint8_t;
    static constexpr int at_once = 4;
    static constexpr bool rounds = true, is_scaled = true;
    static constexpr Index header = sizeof(float);

    // How many bytes a row of so many numbers takes.
    static Index room(Index count) { return header + (count + 3) / 4 * 4; }
    // How many lines a column of so many weights takes: with its scales and corrections.
    static Index lines(Index count) { return (count + 3) / 4 + 2; }

    static float scale_of(const Number* row) {
        float scale;
        std::memcpy(&scale, row - header, sizeof scale);
        return scale;
    }

    static const Number* narrow(const float* from, Index count, Number* to) {
        Int32s most = {};
        for (Index i = 0; i < count; i += lanes<float>)
            most = farther(most, load(from + i, count - i));
        const ByteScale scale(farthest(most));
        std::memcpy(to, &scale.scale, sizeof scale.scale);
        to += header;
        const Index all_of_them = (count + 3) / 4 * 4;
        for (Index i = 0; i < count; i += lanes<float>) {
            const Index left = all_of_them - i;
            const Int32s whole = (to_whole(load(from + i, count - i), scale.inverse) + 128) & 255;
            const Bytes8 bytes = to_8_bits(whole);
            if (left >= lanes<float>) std::memcpy(to + i, &bytes, sizeof bytes);
            else std::memcpy(to + i, &bytes, static_cast<std::size_t>(left));
        }
        return to;
    }

    UNROLLED_INLINE static Int32s spread(const Number* numbers) {
        std::int32_t four;
        std::memcpy(&four, numbers, sizeof four);
        return four - Int32s{};
    }
};

// By what every machine has.
struct Bytes : ByteOperands {
    // sum + the four products of each lane.
    UNROLLED_INLINE static Int32s multiply_add(Int32s x, Int32s w, Int32s sum) {
#ifdef __SSE2__  // the even bytes, then the odd ones, in 16 bits
        const Int32s even = x & 0x00ff00ff, odd = (x >> 8) & 0x00ff00ff;
#if UNROLLED_BYTES == 64
        const auto a = reinterpret_cast<__m512i>(w);
        return sum +
               reinterpret_cast<Int32s>(
                   _mm512_madd_epi16(reinterpret_cast<__m512i>(even),
                                     _mm512_srai_epi16(_mm512_slli_epi16(a, 8), 8))) +
               reinterpret_cast<Int32s>(
                   _mm512_madd_epi16(reinterpret_cast<__m512i>(odd), _mm512_srai_epi16(a, 8)));
#elif UNROLLED_BYTES == 32
        const auto a = reinterpret_cast<__m256i>(w);
        return sum +
               reinterpret_cast<Int32s>(
                   _mm256_madd_epi16(reinterpret_cast<__m256i>(even),
                                     _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8))) +
               reinterpret_cast<Int32s>(
                   _mm256_madd_epi16(reinterpret_cast<__m256i>(odd), _mm256_srai_epi16(a, 8)));
#else
        const auto a = reinterpret_cast<__m128i>(w);
        return sum +
               reinterpret_cast<Int32s>(_mm_madd_epi16(reinterpret_cast<__m128i>(even),
                                                       _mm_srai_epi16(_mm_slli_epi16(a, 8), 8))) +
               reinterpret_cast<Int32s>(
                   _mm_madd_epi16(reinterpret_cast<__m128i>(odd), _mm_srai_epi16(a, 8)));
#endif
#else
        for (int place = 0; place < 32; place += 8)
            sum += ((x >> place) & 255) * ((w << (24 - place)) >> 24);
        return sum;
#endif
    }
};

#if UNROLLED_BYTES == 64
#define UNROLLED_VNNI 1

// By AVX512-VNNI, whose instruction is written out as those of Paired are.
struct Vnni : ByteOperands {
    UNROLLED_INLINE static Int32s multiply_add(Int32s x, Int32s w, Int32s sum) {
        asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(w));
        return sum;
    }
};
#endif

// The weights of `columns` vectors of units as bytes, four of each in a line; behind them a line of
// scales, and one of what 128 makes in all. row(place) are those of the unit at this place of the
// lines, null where there is none.
template <class Row>
void pack_bytes(Row row, Index k_end, Index columns, float* to) {
    const Index width = columns * lanes<float>, groups = (k_end + 3) / 4;
    for (Index place = 0; place < width; ++place) {
        float* const here = to + place;
        const float* const w = row(place);
        Int32s most = {}, sums = {};
        for (Index k = 0; w && k < k_end; k += lanes<float>)
            most = farther(most, load(w + k, k_end - k));
        const ByteScale scale(farthest(most));
        for (Index k = 0; k < k_end; k += lanes<float>) {
            const Vec<float> some = w ? load(w + k, k_end - k) : Vec<float>{};
            const Int32s whole = (to_whole(some, scale.inverse) << 24) >> 24;  // of NaN, too
            const Bytes8 bytes = to_8_bits(whole);
            sums += whole;
            for (Index group = 0; group < lanes<float> / 4 && k / 4 + group < groups; ++group)
                std::memcpy(here + (k / 4 + group) * width,
                            reinterpret_cast<const char*>(&bytes) + 4 * group, 4);
        }
        std::int32_t sum = 0;
        for (int i = 0; i < lanes<float>; ++i) sum += sums[i];
        sum *= 128;
        here[groups * width] = scale.scale;
        std::memcpy(here + (groups + 1) * width, &sum, sizeof sum);
    }
}

// acc[r][map(c)] += sum over k of rows[r][k] * w[k * C + c], as bytes.
template <class O, int R, int C, int A, class Map>
UNROLLED_INLINE void accumulate_bytes(Vec<float> (&acc)[R][A], const std::uint8_t* const* rows,
                                      Index k_end, const float* w, Map map) {
    const std::uint8_t* in[R];
    Int32s sum[R][C] = {};
    for (int r = 0; r < R; ++r) in[r] = rows[r];
    for (Index k = 0; k < k_end; k += 4, w += C * lanes<float>) {
        Int32s column[C];
        for (int c = 0; c < C; ++c) column[c] = as_ints(load(w + c * lanes<float>));
        for (int r = 0; r < R; ++r) {
            const Int32s here = O::spread(in[r] + k);
            for (int c = 0; c < C; ++c) sum[r][c] = O::multiply_add(here, column[c], sum[r][c]);
        }
    }
    for (int c = 0; c < C; ++c) {
        const Vec<float> scale = load(w + c * lanes<float>);
        const Int32s correction = as_ints(load(w + (C + c) * lanes<float>));
        for (int r = 0; r < R; ++r) {
            const Vec<float> whole = __builtin_convertvector(sum[r][c] - correction, Vec<float>);
            acc[r][map(c)] = fused(whole, scale * all<float>(O::scale_of(in[r])), acc[r][map(c)]);
        }
    }
}

}  // namespace unrolled::UNROLLED_ISA
