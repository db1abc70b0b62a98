// Which cell a shape names.
#pragma once
#include "../matmul.h"
#include "elman.h"
#include "gru.h"
#include "lstm.h"

namespace unrolled::UNROLLED_ISA {

// Calls f.template operator()<C>(), whose file says what the list of cells says.
template <Cell cell, class C, class F>
auto with(F f) {
    static_assert(C::gates == kind_of(cell).gates && C::kept == kind_of(cell).kept &&
                  C::has_cell == kind_of(cell).has_cell);
    return f.template operator()<C>();
}

// The same for the cell that the shape names.
template <class T, Cell cell, class F>
auto with_elman(const Shape& s, F f) {
    constexpr bool is_relu = cell == Cell::rnn_relu;
    switch (product_vectors<T>(s.hidden)) {
        case 4: return with<cell, Elman<T, is_relu, 4>>(f);
        case 2: return with<cell, Elman<T, is_relu, 2>>(f);
        default: return with<cell, Elman<T, is_relu, 1>>(f);
    }
}

template <class T, class F>
auto with_cell(const Shape& s, F f) {
    switch (s.cell) {
        case Cell::rnn_tanh: return with_elman<T, Cell::rnn_tanh>(s, f);
        case Cell::rnn_relu: return with_elman<T, Cell::rnn_relu>(s, f);
        case Cell::lstm: return with<Cell::lstm, Lstm<T>>(f);
        case Cell::gru: return with<Cell::gru, Gru<T>>(f);
    }
    __builtin_trap();  // a cell comes from its name, which cell_list.h has
}

// The same for the way back, on which a tile has one vector of units of every cell.
template <class T, class F>
auto with_cell_back(const Shape& s, F f) {
    switch (s.cell) {
        case Cell::rnn_tanh: return with<Cell::rnn_tanh, Elman<T, false, 1>>(f);
        case Cell::rnn_relu: return with<Cell::rnn_relu, Elman<T, true, 1>>(f);
        case Cell::lstm: return with<Cell::lstm, Lstm<T>>(f);
        case Cell::gru: return with<Cell::gru, Gru<T>>(f);
    }
    __builtin_trap();  // likewise
}

}  // namespace unrolled::UNROLLED_ISA
