// The core's functions for one kind of operands: core_f32.cpp and its siblings compile them.
#pragma once
#include "activation.h"
#include "backward.h"
#include "cells/all.h"
#include "forward.h"
#include "instruction_sets.h"
#include "program_backward.h"
#include "program_forward.h"

namespace unrolled {
namespace UNROLLED_ISA {

template <class O, class T = typename O::Sum>
Outcome forward(const Shape& s, const Layout& layout, const Forward<T>& f, const T* packed,
                int threads, Interrupt interrupt) {
    return with_cell<T>(s, [&]<class C>() {
        return ForwardScan<O, C>::run(s, layout, f, packed, threads, interrupt);
    });
}

template <class O, class T = typename O::Sum>
Index packed_size(const Shape& s) {
    return with_cell<T>(s, [&]<class C>() { return ForwardScan<O, C>::packed_size(s); });
}

template <class O, class T = typename O::Sum>
void pack(const Shape& s, const T* const* weights, T* packed) {
    with_cell<T>(s, [&]<class C>() { ForwardScan<O, C>::pack(s, weights, packed, 1); });
}

template <class O, class T = typename O::Sum>
Outcome backward(const Shape& s, const Layout& layout, const Backward<T>& g, int threads,
                 Interrupt interrupt) {
    return with_cell_back<T>(
        s, [&]<class C>() { return BackwardScan<O, C>::run(s, layout, g, threads, interrupt); });
}

template <class O>
Index sums_size(const Shape& s, const Layout& layout, Wanted wanted) {
    return with_cell_back<typename O::Sum>(
        s, [&]<class C>() { return WeightSums<O, C>(s, wanted).sums.memory(layout); });
}

template <class O>
Index program_sums_size(const Program& p, const Layout& layout, Wanted wanted) {
    return ProgramSums<O>(p, wanted).sums.memory(layout);
}

// One instruction on numbers of its own, for tests: y[i] = f(x[0][i], x[1][i], ...).
template <class T>
void instruct(Code code, const T* const* x, T* y, Index count) {
    const Instruction instruction = {code, 4, {0, 1, 2, 3}};
    T room[5][lanes<T>] = {};
    for (Index i = 0; i < count; i += lanes<T>) {
        for (int o = 0; o < 4; ++o) store(room[o], x[o] ? load(x[o] + i, count - i) : Vec<T>{});
        execute<T, 1>(&instruction, &instruction + 1, 1,
                      [&](int o) { return Lies<T>{room[o], 0, 0}; });
        store(y + i, load(room[4]), count - i);
    }
}

// As many independent chains as hide the latency of a multiply-add on every machine we know.
constexpr int busy_chains = 12;

template <class O, class T = typename O::Sum>
T busy(Index rounds) {
    Vec<T> chain[busy_chains];
    for (int c = 0; c < busy_chains; ++c) chain[c] = all<T>(T(c));
    const Vec<T> factor = all<T>(T(0.5)), other = all<T>(T(0.25));
    for (Index i = 0; i < rounds; ++i)
        for (int c = 0; c < busy_chains; ++c) chain[c] = O::multiply_add(factor, other, chain[c]);
    T sum = 0;
    for (int c = 0; c < busy_chains; ++c) sum += chain[c][0];
    return sum;
}

template <class O, class T = typename O::Sum>
constexpr Table<T> table = {
    forward<O>,
    packed_size<O>,
    pack<O>,
    backward<O>,
    sums_size<O>,
    ProgramForwardScan<O>::run,
    ProgramBackwardScan<O>::run,
    program_sums_size<O>,
    instruct<T>,
    busy<O>,
    busy_chains * lanes<T> * O::at_once,
};

// Where there is no way back: of cells that have kernels.
template <class O>
constexpr Table<float> forward_table = {
    forward<O>, packed_size<O>, pack<O>, nullptr, nullptr, nullptr,
    nullptr,    nullptr,        nullptr, nullptr, 0,
};

}  // namespace UNROLLED_ISA
}  // namespace unrolled
