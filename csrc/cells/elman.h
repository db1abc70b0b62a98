// The Elman network: one step forward, one step backward.
#pragma once
#include "../activation.h"
#include "../step.h"

namespace unrolled::UNROLLED_ISA {

// With one gate a tile takes several vectors of units, to have as many sums as the others.
template <class T, bool is_relu, int units>
struct Elman {
    static constexpr int gates = 1, kept = 0, derivatives = 1, sums = units, unit_vectors = units;
    static constexpr bool has_cell = false, keeps_part_of_hidden = false;
    static constexpr Index recurrent_derivatives = 0;

    static constexpr int input_sum(int v) { return v; }
    static constexpr int hidden_sum(int v) { return v; }

    UNROLLED_INLINE static void forward(const Vec<T> (&sum)[sums], const Row<T>& row, Index unit,
                                        Index left, Index) {
        for (int v = 0; v < units; ++v) {
            const Index from = v * lanes<T>;
            if (left <= from) break;
            const Vec<T> h = is_relu ? relu<T>(sum[v]) : tanh<T>(sum[v]);
            store(row.hidden + unit + from, h, left - from);
        }
    }

    UNROLLED_INLINE static void backward(const BackRow<T>& row, Index unit, Index left, Index) {
        const Vec<T> h = load(row.hidden + unit, left), dh = load(row.d_hidden + unit, left);
        // Of relu as torch has it: nothing passes where the output is 0, and all where it is NaN.
        const Vec<T> d = is_relu ? (h <= T(0) ? Vec<T>{} : dh) : dh * fused(-h, h, all<T>(1));
        store(row.d_gates + unit, d, left);
    }
};

}  // namespace unrolled::UNROLLED_ISA
