// Register tiles: a few rows times a few vectors of columns, summed over k one after the other.
//
// Every element is the same sum in the same order whatever tile it falls into: a row alone and a
// row in any batch give the same bits.
#pragma once
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

// The most rows of a tile: as many accumulators as the build has registers for.
constexpr int tile_rows = UNROLLED_BYTES == 64 ? 6 : 3;

// acc[r][map(c)] += sum over k of rows[r][k] * w[k * C + c], for C vectors of weights a step of k.
template <class T, int R, int C, int A, class Map>
UNROLLED_INLINE void accumulate(Vec<T> (&acc)[R][A], const T* const* rows, Index k_end,
                                const T* w, Map map) {
    const T* in[R];
    for (int r = 0; r < R; ++r) in[r] = rows[r];
    for (Index k = 0; k < k_end; ++k) {
        Vec<T> column[C];
        for (int c = 0; c < C; ++c) column[c] = load(w + c * lanes<T>);
        w += C * lanes<T>;
        for (int r = 0; r < R; ++r) {
            const T x = in[r][k];
            for (int c = 0; c < C; ++c) acc[r][map(c)] += x * column[c];
        }
    }
}

// Calls f.template operator()<R>(first) for tiles of rows that together are first ... last - 1.
template <class F>
UNROLLED_INLINE void for_tiles(Index first, Index last, F f) {
    for (; first + tile_rows <= last; first += tile_rows) f.template operator()<tile_rows>(first);
    if constexpr (tile_rows > 4) {
        if (first + 4 <= last) f.template operator()<4>(first), first += 4;
    }
    if (first + 2 <= last) f.template operator()<2>(first), first += 2;
    if (first < last) f.template operator()<1>(first);
}

// Dense products, out[row] (+)= in[row] * W with W [K, M] packed for C vectors at a time.
template <class T>
constexpr int product_vectors(Index columns) {
    const Index vectors = (columns + lanes<T> - 1) / lanes<T>;
    return vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
}

template <class T>
Index packed_product_size(Index k, Index columns) {
    const Index width = product_vectors<T>(columns) * lanes<T>;
    return (columns + width - 1) / width * width * k;
}

// w is read as w[k * step_k + column * step_column].
template <class T>
void pack_product(const T* w, Index k_end, Index columns, Index step_k, Index step_column,
                  T* packed) {
    const Index width = product_vectors<T>(columns) * lanes<T>;
    for (Index begin = 0; begin < columns; begin += width) {
        for (Index k = 0; k < k_end; ++k) {
            for (Index i = 0; i < width; ++i) {
                const Index column = begin + i;
                *packed++ = column < columns ? w[k * step_k + column * step_column] : T(0);
            }
        }
    }
}

template <class T, int R, int C>
UNROLLED_INLINE void product_tile(const T* packed, Index k_end, Index columns,
                                  const T* const* in, T* const* out, bool add) {
    constexpr Index width = C * lanes<T>;
    for (Index begin = 0; begin < columns; begin += width) {
        const Index left = columns - begin;
        Vec<T> acc[R][C];
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c)
                acc[r][c] = add && left > c * lanes<T>
                                ? load(out[r] + begin + c * lanes<T>, left - c * lanes<T>)
                                : Vec<T>{};
        accumulate<T, R, C>(acc, in, k_end, packed, [](int c) { return c; });
        packed += k_end * width;
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c)
                if (left > c * lanes<T>)
                    store(out[r] + begin + c * lanes<T>, acc[r][c], left - c * lanes<T>);
    }
}

// Rows first ... last - 1: out(row) (+)= in(row) * W. The pointers come from two functions of the row.
template <class T, class In, class Out>
void product(const T* packed, Index k_end, Index columns, Index first, Index last, In in, Out out,
             bool add) {
    const int vectors = product_vectors<T>(columns);
    const auto with = [&]<int C>() {
        const Index width = C * lanes<T>;
        // Columns outside, rows inside: a panel of weights is read from afar once for all rows.
        for (Index begin = 0; begin < columns; begin += width) {
            const T* panel = packed + begin * k_end;
            for_tiles(first, last, [&]<int R>(Index row) {
                const T* from[R];
                T* to[R];
                for (int r = 0; r < R; ++r) from[r] = in(row + r), to[r] = out(row + r) + begin;
                product_tile<T, R, C>(panel, k_end, columns - begin < width ? columns - begin : width,
                                      from, to, add);
            });
        }
    };
    if (vectors == 4) with.template operator()<4>();
    else if (vectors == 2) with.template operator()<2>();
    else with.template operator()<1>();
}

}  // namespace unrolled::UNROLLED_ISA
