// The stepper's kernels, once for each instruction set, as core.cpp is: the same headers, without
// threads.
#include "stepper.h"

#include "block.h"
#include "cells/all.h"
#include "instruction_sets.h"
#include "program_step.h"

namespace unrolled {
namespace UNROLLED_ISA {

template <class T>
Index units(const Shape& s) {
    return with_cell<T>(
        s, [&]<class C>() { return Packed<Whole<T>, C>::blocks(s) * Packed<Whole<T>, C>::width; });
}

template <class T>
Index layer_size(const Shape& s) {
    return with_cell<T>(s, [&]<class C>() { return Packed<Whole<T>, C>::size(s); });
}

template <class T>
Index packed_size(const Shape& s) {
    return layer_size<T>(s) + (s.projection ? packed_product_size<T>(s.hidden, s.projection) : 0);
}

template <class T>
void pack(const Shape& s, const Weights<const T>& w, T* packed) {
    with_cell<T>(s, [&]<class C>() { Packed<Whole<T>, C>::write(s, w, packed, 1); });
    if (s.projection)
        pack_product<Whole<T>>({w.hr, s.hidden, s.projection, true, 0}, packed + layer_size<T>(s),
                               1);
}

template <class T, class C>
void step_layer(const LayerStep<T>& l, Index first, Index last) {
    using P = Packed<Whole<T>, C>;
    for (Index block = 0; block < P::blocks(l.shape); ++block) {
        const T* packed = l.packed + block * P::block_size(l.shape);
        for_tiles(first, last, [&]<int R>(Index b) {
            Row<T> rows[R];
            Reads<Whole<T>> reads[R];
            for (int r = 0; r < R; ++r) {
                Row<T>& row = rows[r];
                row.hidden_before = l.hidden_before + (b + r) * l.state_row;
                reads[r] = {l.input + (b + r) * l.input_row, row.hidden_before};
                row.cell = C::has_cell ? l.cell + (b + r) * l.unit_row : nullptr;
                row.cell_before = row.cell;
                row.hidden = l.raw + (b + r) * l.unit_row;
                row.gates = nullptr;
            }
            step_tile<Whole<T>, C, R>(l.shape, packed, rows, reads, block * P::width, P::width);
        });
    }
}

template <class T>
void step(const LayerStep<T>& l, Index first, Index last) {
    with_cell<T>(l.shape, [&]<class C>() { step_layer<T, C>(l, first, last); });
    if (l.shape.projection)
        product<Whole<T>>(
            l.packed + layer_size<T>(l.shape), l.shape.hidden, l.shape.projection, first, last,
            [&](Index b) { return l.raw + b * l.unit_row; },
            [&](Index b) { return l.hidden + b * l.state_row; }, false);
}

template <class T>
Index linear_size(Index inputs, Index outputs) {
    return packed_product_size<T>(inputs, outputs);
}

template <class T>
void pack_linear(const T* weight, Index inputs, Index outputs, T* packed) {
    pack_product<Whole<T>>({weight, inputs, outputs, true, 0}, packed, 1);
}

template <class T>
void linear(const LinearStep<T>& l, Index first, Index last) {
    for (Index b = first; b < last; ++b) copy(l.output + b * l.output_row, l.bias, l.outputs);
    product<Whole<T>>(
        l.packed, l.inputs, l.outputs, first, last,
        [&](Index b) { return l.input + b * l.input_row; },
        [&](Index b) { return l.output + b * l.output_row; }, true);
}

template <class T>
Index program_size(const Program& p, Index rows) {
    return ProgramStepper<T>::size(p, rows);
}

template <class T>
void program_start(const Program& p, const T* const* weights, const ProgramPlaces<T>& places,
                   void* memory) {
    ProgramStepper<T>::start(p, weights, places, memory);
}

template <class T>
void program_step(void* memory, const ProgramStep<T>& step, Index first, Index last) {
    static_cast<ProgramStepper<T>*>(memory)->step(step, first, last);
}

template <class T>
void all_sigmoid(const T* x, T* y, Index count) {
    for (Index i = 0; i < count; i += lanes<T>) store(y + i, sigmoid<T>(load(x + i)));
}

template <class T>
void all_tanh(const T* x, T* y, Index count) {
    for (Index i = 0; i < count; i += lanes<T>) store(y + i, tanh<T>(load(x + i)));
}

template <class T>
constexpr StepTable<T> step_table = {
    units<T>,  packed_size<T>,  pack<T>,          step<T>,         linear_size<T>, pack_linear<T>,
    linear<T>, program_size<T>, program_start<T>, program_step<T>, all_sigmoid<T>, all_tanh<T>,
};

constexpr StepCore step_core = {UNROLLED_TEXT(UNROLLED_ISA), step_table<float>, step_table<double>};

}  // namespace UNROLLED_ISA

UNROLLED_BUILD(StepCore, step_core_, UNROLLED_ISA::step_core)

}  // namespace unrolled
