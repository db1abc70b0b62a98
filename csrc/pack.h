// The forward weights as the kernels read them: for each block of units its biases, then for each
// input, then for each hidden number, one vector for each gate.
#pragma once
#include "matmul.h"

namespace unrolled::UNROLLED_ISA {

template <class O, class C>
struct Packed {
    using T = typename O::Sum;
    static constexpr Index width = C::unit_vectors * lanes<T>;  // units in a block
    static constexpr Index columns = C::unit_vectors > 1 ? C::unit_vectors : C::gates;

    static Index blocks(const Shape& s) { return (s.hidden + width - 1) / width; }
    static Index block_size(const Shape& s) {
        return (C::sums + (O::lines(s.inputs) + O::lines(s.state())) * columns) * lanes<T>;
    }
    static Index size(const Shape& s) { return blocks(s) * block_size(s); }

    // The unit and the row of the weights that lane i of column c stands for.
    static Index unit(Index block, Index c, Index i) {
        return block * width + (C::unit_vectors > 1 ? c * lanes<T> : 0) + i;
    }
    static Index gate(Index c) { return C::unit_vectors > 1 ? 0 : c; }

    static void write(const Shape& s, const Weights<const T>& w, T* packed, int threads) {
        for_all(blocks(s), threads, [&](Index block) {
            T* to = packed + block * block_size(s);
            write_biases(s, w, block, to);
            to += C::sums * lanes<T>;
            write_matrix(s, w.ih, s.inputs, block, to);
            to += O::lines(s.inputs) * columns * lanes<T>;
            write_matrix(s, w.hh, s.state(), block, to);
        });
    }

   private:
    static void write_biases(const Shape& s, const Weights<const T>& w, Index block, T* to) {
        for (Index i = 0; i < C::sums * lanes<T>; ++i) to[i] = T(0);
        if (!w.bias_ih) return;
        for (Index c = 0; c < columns; ++c) {
            for (Index i = 0; i < lanes<T>; ++i) {
                const Index u = unit(block, c, i);
                if (u >= s.hidden) continue;
                const Index row = gate(c) * s.hidden + u;
                to[C::input_sum(c) * lanes<T> + i] += w.bias_ih[row];
                to[C::hidden_sum(c) * lanes<T> + i] += w.bias_hh[row];
            }
        }
    }

    static void write_matrix(const Shape& s, const T* w, Index k_end, Index block, T* to) {
        if constexpr (O::is_scaled) {
            const auto row = [&](Index place) -> const T* {
                const Index c = place / lanes<T>, u = unit(block, c, place % lanes<T>);
                return u < s.hidden ? w + (gate(c) * s.hidden + u) * k_end : nullptr;
            };
            pack_bytes(row, k_end, columns, to);
        } else {
            write_lines(s, w, k_end, block, to);
        }
    }

    static void write_lines(const Shape& s, const T* w, Index k_end, Index block, T* to) {
        constexpr Index step = columns * lanes<T>;
        for (Index k = 0; k < k_end; k += lanes<T>) {
            const Index some = k_end - k < lanes<T> ? k_end - k : lanes<T>;
            for (Index c = 0; c < columns; ++c) {
                const Index u = unit(block, c, 0), left = s.hidden - u;
                T* here = to + k * step + c * lanes<T>;
                if (left < lanes<T>)
                    for (Index i = 0; i < some; ++i) store(here + i * step, Vec<T>{});
                if (left > 0)
                    copy_transposed(w + (gate(c) * s.hidden + u) * k_end + k, k_end, left, some,
                                    here, step);
            }
        }
        combine_lines<O>(to, k_end, columns);
    }
};

}  // namespace unrolled::UNROLLED_ISA
