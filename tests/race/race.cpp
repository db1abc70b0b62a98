// One layer there and back on one thread and on several, under ThreadSanitizer (make race): no
// thread may touch what another is writing, and the numbers have to be the same to the last bit.
#define UNROLLED_POOL "../tests/race/threads.h"
#include <cstdio>
#include <random>
#include <vector>

#include "../../csrc/backward.h"
#include "../../csrc/cells/elman.h"
#include "../../csrc/cells/gru.h"
#include "../../csrc/cells/lstm.h"
#include "../../csrc/forward.h"

using namespace unrolled;
using namespace unrolled::UNROLLED_ISA;
using Numbers = std::vector<float>;

struct Case {
    Cell cell;
    Index steps, rows, projection;
    bool reverse, ragged;
};

constexpr Index inputs = 5, hidden = 40;

template <class O, class C>
std::vector<Numbers> run(const Case& of, int threads) {
    std::mt19937 generator(1);
    std::normal_distribution<float> normal(0, 0.3f);
    const auto random = [&](Index count) {
        Numbers numbers(count);
        for (float& number : numbers) number = normal(generator);
        return numbers;
    };

    const Shape s{of.cell, inputs, hidden, of.projection, true};
    const Index state = s.state(), gates = C::gates * hidden, rows = of.rows;
    std::vector<Index> offsets(of.steps), sizes(of.steps);
    Index pairs = 0;
    for (Index t = 0; t < of.steps; ++t) {
        offsets[t] = pairs;
        pairs += sizes[t] = of.ragged ? rows - t * rows / of.steps : rows;
    }
    const Layout layout{of.steps,
                        rows,
                        of.ragged ? offsets.data() : nullptr,
                        of.ragged ? sizes.data() : nullptr,
                        of.reverse,
                        0,
                        of.steps};

    Numbers ih = random(gates * inputs), hh = random(gates * state), bias_ih = random(gates),
            bias_hh = random(gates), hr = random(of.projection * hidden),
            input = random(pairs * inputs), d_output = random(pairs * state);
    Numbers output(pairs * state), h_n(rows * state), c_n(rows * hidden),
        gates_kept(pairs * C::kept * hidden), cells(pairs * hidden), raw(pairs * hidden);
    const float* const weights[] = {ih.data(), hh.data(), bias_ih.data(), bias_hh.data(),
                                    hr.data()};
    const Matrix<const float> inputs_of_steps{input.data(), rows * inputs, inputs};
    const float* const no_states[] = {nullptr, nullptr};
    float* const after[] = {h_n.data(), c_n.data()};
    std::vector<float*> kept;
    if (C::kept > 0) kept.push_back(gates_kept.data());
    if (C::has_cell) kept.push_back(cells.data());
    if (of.projection > 0) kept.push_back(raw.data());
    const Forward<float> forward = {
        weights, &inputs_of_steps, nullptr, no_states, {output.data(), rows * state, state},
        after,   kept.data(),
    };
    ForwardScan<O, C>::run(s, layout, forward, nullptr, threads, Interrupt{});
    if constexpr (O::is_scaled) {
        return {output, h_n, c_n};  // there is no way back
    } else {
        Numbers d_input(pairs * inputs), d_h0(rows * state), d_c0(rows * hidden),
            d_ih(gates * inputs), d_hh(gates * state), d_bias_ih(gates), d_bias_hh(gates),
            d_hr(of.projection * hidden);
        float *const d_before[] = {d_h0.data(), d_c0.data()}, *const not_wanted[] = {nullptr,
                                                                                     nullptr};
        float* const gradients[] = {d_ih.data(), d_hh.data(), d_bias_ih.data(), d_bias_hh.data(),
                                    d_hr.data()};
        const Backward<float> backward = {
            weights,
            &inputs_of_steps,
            nullptr,
            no_states,
            {output.data(), rows * state, state},
            kept.data(),
            {d_output.data(), rows * state, state},
            no_states,
            d_before,
            not_wanted,
            nullptr,
            {d_input.data(), rows * inputs, inputs},
            false,
            nullptr,
            0b11111,
            nullptr,
            gradients,
        };
        BackwardScan<O, C>::run(s, layout, backward, threads, Interrupt{});
        return {output, h_n, c_n, d_input, d_h0, d_c0, d_ih, d_hh, d_bias_ih, d_bias_hh, d_hr};
    }
}

template <class O, class C>
int differing(Cell cell, Index projection) {
    int found = 0;
    for (const bool ragged : {false, true})
        for (const bool reverse : {false, true})
            // One row or several, and sums that are short or go over into totals.
            for (const auto& [steps, rows] : {std::pair{500, 1}, {60, 23}, {250, 23}}) {
                const Case of{cell, steps, rows, projection, reverse, ragged};
                const auto alone = run<O, C>(of, 1);
                for (const int threads : {2, 4}) found += run<O, C>(of, threads) != alone;
            }
    return found;
}

// Of all cells, with products of this kind.
template <class O>
int differing() {
    return differing<O, Elman<float, false, 4>>(Cell::rnn_tanh, 0) +
           differing<O, Gru<float>>(Cell::gru, 0) + differing<O, Lstm<float>>(Cell::lstm, 0) +
           differing<O, Lstm<float>>(Cell::lstm, 7);
}

int main() {
    const int found = differing<Whole<float>>() + differing<Rounded>() + differing<Bytes>();
    std::printf("%d results depend on the number of threads\n", found);
    return found > 0;
}
