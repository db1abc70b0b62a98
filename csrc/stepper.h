// One step at a time, for streams: what the build of each instruction set gives to the layers.
//
// As in contract.h the core knows pointers and sizes. Here it is the layers that own the memory
// (layers.h): rows lie `width` numbers apart, a multiple of every vector, aligned to a cache line
// and zero past the real units, so that only whole vectors are read and written.
#pragma once
#include "contract.h"

namespace unrolled {

// Rows of numbers, as a layer hands them to the next.
template <class T>
struct Rows {
    T* data;
    Index row;
    T* at(Index b) const { return data + b * row; }
};

// One layer of a recurrent module at one step.
template <class T>
struct LayerStep {
    Shape shape;
    const T* packed;  // the weights, as StepTable::pack wrote them
    const T* input;   // [B, I], rows input_row numbers apart
    Index input_row;
    const T* hidden_before;  // [B, P], rows state_row apart; not `hidden`
    T* hidden;               // [B, P] likewise
    Index state_row;
    T* cell;  // [B, H], rows unit_row apart; LSTM only
    T* raw;   // [B, H] likewise, before projection; the same as `hidden` without one
    Index unit_row;
    std::uint8_t* copies;  // [B, StepTable::copied], what products read if not the numbers
};

// out = in * W^T + bias.
template <class T>
struct LinearStep {
    Index inputs, outputs;
    const T* packed;  // as StepTable::pack_linear wrote them
    const T* bias;    // [O]
    const T* input;
    Index input_row;
    T* output;
    Index output_row;
};

// What a program has at every step, of so many rows.
template <class T>
struct ProgramPlaces {
    const Rows<T>* states;  // the first is not read, the others are written in place
    const Rows<T>* constants;
    Index rows;
};

// A program at one step.
template <class T>
struct ProgramStep {
    Rows<const T> input;
    Rows<const T> before;  // the first state; not `after`
    Rows<T> after;
};

template <class T>
struct StepTable {
    // How many units the blocks of a layer hold: its own, rounded up.
    Index (*units)(const Shape&);
    Index (*packed_size)(const Shape&);
    void (*pack)(const Shape&, const Weights<const T>&, T* packed);
    // How many bytes of copies a row needs.
    Index (*copied)(const Shape&);
    // Rows first ... last - 1. Each gives the same bits whatever rows are run with it, and the bits
    // of contract.h's forward.
    void (*step)(const LayerStep<T>&, Index first, Index last);

    Index (*linear_size)(Index inputs, Index outputs);
    void (*pack_linear)(const T* weight, Index inputs, Index outputs, T* packed);
    void (*linear)(const LinearStep<T>&, Index first, Index last);

    // A cell's program (program.h): the bytes that it needs, what is written there from a cache
    // line's beginning on, and rows first ... last - 1 of a step, with the bits of
    // contract.h's program_forward. The program and its places stay where they are.
    Index (*program_size)(const Program&, Index rows);
    void (*program_start)(const Program&, const T* const* weights, const ProgramPlaces<T>&,
                          void* memory);
    void (*program_step)(void* memory, const ProgramStep<T>&, Index first, Index last);

    void (*sigmoid)(const T* x, T* y, Index count);
    void (*tanh)(const T* x, T* y, Index count);
};

struct StepCore {
    const char* name;  // "baseline", "avx2", "avx512"
    StepTable<float> f32;
    StepTable<double> f64;
    // The same as f32 with products of recurrent layers in 8 bits: by what every machine has, and
    // by AVX512-VNNI where the build has it.
    StepTable<float> bytes;
    StepTable<float> vnni;
};

}  // namespace unrolled
