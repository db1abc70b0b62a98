// The LSTM: one step forward, one step backward, for one vector of units of one row.
#pragma once
#include "../activation.h"
#include "../step.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Lstm {
    static constexpr int gates = 4, kept = 4, derivatives = 4, sums = 4, unit_vectors = 1;
    static constexpr bool has_cell = true, keeps_part_of_hidden = false;
    static constexpr Index recurrent_derivatives = 0;  // where in d_gates the hidden state's stand

    // Which sum the product with gate g's input weights, or hidden weights, belongs to.
    static constexpr int input_sum(int g) { return g; }
    static constexpr int hidden_sum(int g) { return g; }

    // sums: W x + U h + b of input, forget, candidate, output.
    UNROLLED_INLINE static void forward(const Vec<T> (&sum)[sums], const Row<T>& row, Index unit,
                                        Index left, Index hidden) {
        const Vec<T> i = sigmoid<T>(sum[0]), f = sigmoid<T>(sum[1]), g = tanh<T>(sum[2]),
                     o = sigmoid<T>(sum[3]);
        const Vec<T> before = load(row.cell_before + unit, left);
        const Vec<T> c = fused(f, before, i * g);
        store(row.cell + unit, c, left);
        store(row.hidden + unit, o * tanh<T>(c), left);
        if (row.gates) {
            T* to = row.gates + unit;
            store(to, i, left);
            store(to + hidden, f, left);
            store(to + 2 * hidden, g, left);
            store(to + 3 * hidden, o, left);
        }
    }

    UNROLLED_INLINE static void backward(const BackRow<T>& row, Index unit, Index left,
                                         Index hidden) {
        const T* from = row.gates + unit;
        const Vec<T> i = load(from, left), f = load(from + hidden, left),
                     g = load(from + 2 * hidden, left), o = load(from + 3 * hidden, left);
        const Vec<T> tanh_c = tanh<T>(load(row.cell + unit, left));
        const Vec<T> dh = load(row.d_hidden + unit, left);
        const Vec<T> dc =
            fused(dh * o, fused(-tanh_c, tanh_c, all<T>(1)), load(row.d_cell + unit, left));
        T* to = row.d_gates + unit;
        store(to, dc * g * i * (T(1) - i), left);
        store(to + hidden, dc * load(row.cell_before + unit, left) * f * (T(1) - f), left);
        store(to + 2 * hidden, dc * i * fused(-g, g, all<T>(1)), left);
        store(to + 3 * hidden, dh * tanh_c * o * (T(1) - o), left);
        store(row.d_cell + unit, dc * f, left);
    }
};

}  // namespace unrolled::UNROLLED_ISA
