// One step forward of a few rows of a block of units: what the scan and the stepper share, so that
// stepping gives the same bits as the whole sequence.
#pragma once
#include "pack.h"
#include "step.h"

namespace unrolled::UNROLLED_ISA {

// `packed` are the weights of this block, `left` its units from `unit` on that have a place in
// rows.
template <class O, class C, int R, class T = typename O::Sum>
UNROLLED_INLINE void step_tile(const Shape& s, const T* packed, const Row<T>* rows,
                               const Reads<O>* reads, Index unit, Index left) {
    constexpr int columns = Packed<O, C>::columns;
    const T* inputs = packed + C::sums * lanes<T>;
    const T* hiddens = inputs + O::lines(s.inputs) * columns * lanes<T>;
    Vec<T> sum[R][C::sums];
    const typename O::Number* input[R];
    const typename O::Number* hidden[R];
    for (int r = 0; r < R; ++r) {
        input[r] = reads[r].input;
        hidden[r] = reads[r].hidden;
        for (int a = 0; a < C::sums; ++a) sum[r][a] = load(packed + a * lanes<T>);
    }
    accumulate<O, R, columns>(sum, input, s.inputs, inputs, &C::input_sum);
    accumulate<O, R, columns>(sum, hidden, s.state(), hiddens, &C::hidden_sum);
#pragma GCC unroll 1
    for (int r = 0; r < R; ++r) C::forward(sum[r], rows[r], unit, left, s.hidden);
}

}  // namespace unrolled::UNROLLED_ISA
