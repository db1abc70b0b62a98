// The GRU with the reset gate after the product: one step forward, one step backward.
#pragma once
#include "../activation.h"
#include "../step.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Gru {
    // Four sums: the candidate's input and hidden shares stay apart until the reset gate is known.
    static constexpr int gates = 3, kept = 4, derivatives = 4, sums = 4, unit_vectors = 1;
    static constexpr bool has_cell = false, keeps_part_of_hidden = true;
    static constexpr Index recurrent_derivatives = 1;

    static constexpr int input_sum(int g) { return g; }
    static constexpr int hidden_sum(int g) { return g == 2 ? 3 : g; }

    UNROLLED_INLINE static void forward(const Vec<T> (&sum)[sums], const Row<T>& row, Index unit,
                                        Index left, Index hidden) {
        const Vec<T> r = sigmoid<T>(sum[0]), z = sigmoid<T>(sum[1]);
        const Vec<T> n = tanh<T>(fused(r, sum[3], sum[2]));
        const Vec<T> before = load(row.hidden_before + unit, left);
        store(row.hidden + unit, fused(z, before - n, n), left);
        if (row.gates) {
            T* to = row.gates + unit;
            store(to, r, left);
            store(to + hidden, z, left);
            store(to + 2 * hidden, n, left);
            store(to + 3 * hidden, sum[3], left);
        }
    }

    // d_gates: the candidate's input share, reset, update, the candidate's hidden share. What of
    // the hidden state's gradient passes by the gates is left in d_hidden.
    UNROLLED_INLINE static void backward(const BackRow<T>& row, Index unit, Index left,
                                         Index hidden) {
        const T* from = row.gates + unit;
        const Vec<T> r = load(from, left), z = load(from + hidden, left),
                     n = load(from + 2 * hidden, left),
                     hidden_share = load(from + 3 * hidden, left);
        const Vec<T> dh = load(row.d_hidden + unit, left);
        const Vec<T> before = load(row.hidden_before + unit, left);
        const Vec<T> by_before = dh * z;
        const Vec<T> dn = (dh - by_before) * fused(-n, n, all<T>(1));
        T* to = row.d_gates + unit;
        store(to, dn, left);
        store(to + hidden, dn * hidden_share * r * (T(1) - r), left);
        store(to + 2 * hidden, dh * (before - n) * z * (T(1) - z), left);
        store(to + 3 * hidden, dn * r, left);
        store(row.d_hidden + unit, by_before, left);
    }
};

}  // namespace unrolled::UNROLLED_ISA
