// The stepper's kernels, once for each instruction set, as core.cpp is: the same headers, without
// threads.
#include "stepper.h"

#include "block.h"
#include "cells/all.h"
#include "instruction_sets.h"
#include "program_step.h"

namespace unrolled {
namespace UNROLLED_ISA {

template <class O, class T = typename O::Sum>
Index units(const Shape& s) {
    return with_cell<T>(s,
                        [&]<class C>() { return Packed<O, C>::blocks(s) * Packed<O, C>::width; });
}

template <class O, class T = typename O::Sum>
Index layer_size(const Shape& s) {
    return with_cell<T>(s, [&]<class C>() { return Packed<O, C>::size(s); });
}

template <class O, class T = typename O::Sum>
Index packed_size(const Shape& s) {
    const Index of_projection =
        s.projection ? packed_product_size<T>(O::lines(s.hidden), s.projection) : 0;
    return layer_size<O>(s) + of_projection;
}

template <class O, class T = typename O::Sum>
void pack(const Shape& s, const Weights<const T>& w, T* packed) {
    with_cell<T>(s, [&]<class C>() { Packed<O, C>::write(s, w, packed, 1); });
    if (s.projection)
        pack_product<O>({w.hr, s.hidden, s.projection, true, 0}, packed + layer_size<O>(s), 1);
}

// Where the copies of a row's input, of its hidden state and of this before its projection lie.
template <class O>
struct Copies {
    const Shape& s;
    Index input() const { return 0; }
    Index hidden() const { return O::room(s.inputs); }
    Index raw() const { return hidden() + O::room(s.state()); }
    Index all() const { return raw() + (s.projection ? O::room(s.hidden) : 0); }
};

template <class O>
Index copied(const Shape& s) {
    return O::rounds ? Copies<O>{s}.all() : 0;
}

// A row's numbers as products read them.
template <class O, class T = typename O::Sum>
const typename O::Number* read(const LayerStep<T>& l, const T* from, Index count, Index b,
                               Index place) {
    if constexpr (O::rounds)
        return O::narrow(from, count, l.copies + b * copied<O>(l.shape) + place);
    else return from;
}

template <class O, class C, class T = typename O::Sum>
void step_layer(const LayerStep<T>& l, Index first, Index last) {
    using P = Packed<O, C>;
    const Copies<O> places{l.shape};
    constexpr Index at_once = 16 * tile_rows;
    for (Index begin = first; begin < last; begin += at_once) {
        const Index end = begin + at_once < last ? begin + at_once : last;
        Reads<O> reads[at_once];
        for (Index b = begin; b < end; ++b)
            reads[b - begin] = {
                read<O>(l, l.input + b * l.input_row, l.shape.inputs, b, places.input()),
                read<O>(l, l.hidden_before + b * l.state_row, l.shape.state(), b, places.hidden())};
        for (Index block = 0; block < P::blocks(l.shape); ++block) {
            const T* packed = l.packed + block * P::block_size(l.shape);
            for_tiles(begin, end, [&]<int R>(Index b) {
                Row<T> rows[R];
                for (int r = 0; r < R; ++r) {
                    Row<T>& row = rows[r];
                    row.hidden_before = l.hidden_before + (b + r) * l.state_row;
                    row.cell = C::has_cell ? l.cell + (b + r) * l.unit_row : nullptr;
                    row.cell_before = row.cell;
                    row.hidden = l.raw + (b + r) * l.unit_row;
                    row.gates = nullptr;
                }
                step_tile<O, C, R>(l.shape, packed, rows, reads + (b - begin), block * P::width,
                                   P::width);
            });
        }
    }
}

template <class O, class T = typename O::Sum>
void step(const LayerStep<T>& l, Index first, Index last) {
    with_cell<T>(l.shape, [&]<class C>() { step_layer<O, C>(l, first, last); });
    if (l.shape.projection)
        product<O>(
            l.packed + layer_size<O>(l.shape), l.shape.hidden, l.shape.projection, first, last,
            [&](Index b) {
                return read<O>(l, l.raw + b * l.unit_row, l.shape.hidden, b,
                               Copies<O>{l.shape}.raw());
            },
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

// O is what recurrent layers multiply.
template <class O, class T = typename O::Sum>
constexpr StepTable<T> step_table = {
    units<O>,        packed_size<O>, pack<O>,     copied<O>,       step<O>,
    linear_size<T>,  pack_linear<T>, linear<T>,   program_size<T>, program_start<T>,
    program_step<T>, all_sigmoid<T>, all_tanh<T>,
};

#ifdef UNROLLED_VNNI
using FastBytes = Vnni;
#else
using FastBytes = Bytes;
#endif

constexpr StepCore step_core = {
    UNROLLED_TEXT(UNROLLED_ISA), step_table<Whole<float>>, step_table<Whole<double>>,
    step_table<Bytes>,           step_table<FastBytes>,
};

}  // namespace UNROLLED_ISA

UNROLLED_BUILD(StepCore, step_core_, UNROLLED_ISA::step_core)

}  // namespace unrolled
