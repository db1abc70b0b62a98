// What a cell's step reads and writes of one row: pointers to its place in the matrices.
#pragma once
#include "operands.h"

namespace unrolled::UNROLLED_ISA {

// What the products of a step read of a row.
template <class O>
struct Reads {
    const typename O::Number *input, *hidden;
};

template <class T>
struct Row {
    const T* hidden_before;
    const T* cell_before;  // LSTM only
    T* cell;               // LSTM only; may be cell_before
    T* hidden;             // before projection, if there is one
    T* gates;              // null where nothing is kept
    T* output;             // after projection; else the same as hidden
};

template <class T>
struct BackRow {
    const T* hidden_before;
    const T* cell_before;
    const T* cell;
    const T* hidden;  // the cell's output; Elman only
    const T* gates;
    T* d_hidden;  // the loss by the cell's output
    T* d_cell;    // LSTM only
    T* d_gates;
    T* d_output;  // the loss by the projected state; else the same as d_hidden
};

}  // namespace unrolled::UNROLLED_ISA
