// Register tiles: a few rows times a few vectors of columns, summed over k one after the other.
//
// Every element is the same sum in the same order whatever tile it falls into: a row alone and a
// row in any batch give the same bits.
#pragma once
#include "bytes.h"
#include "share.h"

namespace unrolled::UNROLLED_ISA {

// The most rows of a tile: as many accumulators as the build has registers for.
constexpr int tile_rows = UNROLLED_BYTES == 64 ? 6 : 3;

// Two lines of weights, a vector apart each, become one: in place, line after line of `columns`
// vectors.
template <class O>
UNROLLED_INLINE void combine_lines(typename O::Sum* lines, Index count, Index columns) {
    using T = typename O::Sum;
    if constexpr (O::rounds) {
        const Index width = columns * lanes<T>;
        T* to = lines;
        for (Index k = 0; k < count; k += O::at_once) {
            const T* from = lines + k * width;
            for (Index c = 0; c < width; c += lanes<T>, to += lanes<T>)
                store(to, O::combine(load(from + c),
                                     k + 1 < count ? load(from + c + width) : Vec<T>{}));
        }
    }
}

// acc[r][map(c)] += what one line of C vectors of weights adds, each lane of row r times x(r).
template <class O, int R, int C, int A, class Map, class X>
UNROLLED_INLINE void accumulate_line(Vec<typename O::Sum> (&acc)[R][A], const typename O::Sum* w,
                                     Map map, X x) {
    using T = typename O::Sum;
    Vec<T> column[C];
    for (int c = 0; c < C; ++c) column[c] = load(w + c * lanes<T>);
    for (int r = 0; r < R; ++r) {
        const Vec<T> here = x(r);
        for (int c = 0; c < C; ++c)
            acc[r][map(c)] = O::multiply_add(here, column[c], acc[r][map(c)]);
    }
}

// acc[r][map(c)] += sum over k of rows[r][k] * w[k * C + c], for C vectors of weights a line.
template <class O, int R, int C, int A, class Map>
UNROLLED_INLINE void accumulate(Vec<typename O::Sum> (&acc)[R][A],
                                const typename O::Number* const* rows, Index k_end,
                                const typename O::Sum* w, Map map) {
    if constexpr (O::is_scaled) {
        accumulate_bytes<O, R, C>(acc, rows, k_end, w, map);
    } else {
        const typename O::Number* in[R];
        for (int r = 0; r < R; ++r) in[r] = rows[r];
        Index k = 0;
        for (; k + O::at_once <= k_end; k += O::at_once) {
            accumulate_line<O, R, C>(acc, w, map, [&](int r) { return O::spread(in[r] + k); });
            w += C * lanes<typename O::Sum>;
        }
        if (O::at_once > 1 && k < k_end)
            accumulate_line<O, R, C>(acc, w, map, [&](int r) { return O::spread_last(in[r] + k); });
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

// Dense products, out[row] (+)= in[row] * W with W [K, M] packed for C vectors at a time, a panel.
template <class T>
constexpr int product_vectors(Index columns) {
    const Index vectors = (columns + lanes<T> - 1) / lanes<T>;
    return vectors >= 4 ? 4 : vectors >= 2 ? 2 : 1;
}

// Calls f.template operator()<C>() for the C that suits so many columns.
template <class T, class F>
auto with_vectors(Index columns, F f) {
    switch (product_vectors<T>(columns)) {
        case 4: return f.template operator()<4>();
        case 2: return f.template operator()<2>();
        default: return f.template operator()<1>();
    }
}

template <class T>
Index panel_width(Index columns) {
    return product_vectors<T>(columns) * lanes<T>;
}

template <class T>
Index panels(Index columns) {
    return (columns + panel_width<T>(columns) - 1) / panel_width<T>(columns);
}

template <class T>
Index packed_product_size(Index k, Index columns) {
    return panels<T>(columns) * panel_width<T>(columns) * k;
}

// W as it lies in memory, [K, M] or transposed, its rows turned round so that row `turn` comes
// first.
template <class T>
struct Source {
    const T* w;
    Index k_end, columns;
    bool transposed;
    Index turn;
};

// Writes the panel that begins with this column.
template <class T>
void pack_panel(const Source<T>& from, Index begin, T* packed) {
    const Index width = panel_width<T>(from.columns);
    for (Index k = 0; k < from.k_end;) {
        const Index row = (k + from.turn) % from.k_end;
        Index some = from.k_end - row < from.k_end - k ? from.k_end - row : from.k_end - k;
        if (some > lanes<T>) some = lanes<T>;
        for (Index c = 0; c < width; c += lanes<T>) {
            const Index left = from.columns - begin - c;
            T* to = packed + k * width + c;
            if (left <= 0) {
                for (Index i = 0; i < some; ++i) store(to + i * width, Vec<T>{});
            } else if (from.transposed) {
                for (Index i = 0; i < some; ++i) store(to + i * width, Vec<T>{});
                copy_transposed(from.w + (begin + c) * from.k_end + row, from.k_end, left, some, to,
                                width);
            } else {
                const T* w = from.w + row * from.columns + begin + c;
                for (Index i = 0; i < some; ++i)
                    store(to + i * width, load(w + i * from.columns, left));
            }
        }
        k += some;
    }
}

template <class O, class T = typename O::Sum>
void pack_product(const Source<T>& from, T* packed, int threads) {
    const Index width = panel_width<T>(from.columns);
    for_all(panels<T>(from.columns), threads, [&](Index panel) {
        T* const to = packed + panel * width * O::lines(from.k_end);
        if constexpr (O::is_scaled) {  // of a projection, which is transposed
            const auto row = [&](Index place) {
                const Index column = panel * width + place;
                return column < from.columns ? from.w + column * from.k_end : nullptr;
            };
            pack_bytes(row, from.k_end, width / lanes<T>, to);
        } else {
            pack_panel(from, panel * width, to);
            combine_lines<O>(to, from.k_end, width / lanes<T>);
        }
    });
}

// One panel's columns, of which `left` are real.
template <class O, int R, int C, class T = typename O::Sum>
UNROLLED_INLINE void product_tile(const T* panel, Index k_end, Index left,
                                  const typename O::Number* const* in, T* const* out, bool add) {
    Vec<T> acc[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c)
            acc[r][c] = add && left > c * lanes<T>
                            ? load(out[r] + c * lanes<T>, left - c * lanes<T>)
                            : Vec<T>{};
    accumulate<O, R, C>(acc, in, k_end, panel, [](int c) { return c; });
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c)
            if (left > c * lanes<T>) store(out[r] + c * lanes<T>, acc[r][c], left - c * lanes<T>);
}

// Rows first ... last - 1: out(row) (+)= in(row) * W. The pointers come from two functions of the
// row.
template <class O, class In, class Out, class T = typename O::Sum>
void product(const T* packed, Index k_end, Index columns, Index first, Index last, In in, Out out,
             bool add) {
    with_vectors<T>(columns, [&]<int C>() {
        const Index width = C * lanes<T>;
        // Columns outside, rows inside: a panel of weights is read from afar once for all rows.
        for (Index begin = 0; begin < columns; begin += width) {
            const T* panel = packed + begin * O::lines(k_end);
            for_tiles(first, last, [&]<int R>(Index row) {
                const typename O::Number* from[R];
                T* to[R];
                for (int r = 0; r < R; ++r) from[r] = in(row + r), to[r] = out(row + r) + begin;
                product_tile<O, R, C>(panel, k_end, columns - begin, from, to, add);
            });
        }
    });
}

}  // namespace unrolled::UNROLLED_ISA
