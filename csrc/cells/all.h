// Which cell a shape names.
#pragma once
#include "../matmul.h"
#include "elman.h"
#include "gru.h"
#include "lstm.h"

namespace unrolled::UNROLLED_ISA {

// Calls f.template operator()<C>() for the cell that the shape names.
template <class T, bool is_relu, class F>
auto with_elman(const Shape& s, F f) {
    switch (product_vectors<T>(s.hidden)) {
        case 4: return f.template operator()<Elman<T, is_relu, 4>>();
        case 2: return f.template operator()<Elman<T, is_relu, 2>>();
        default: return f.template operator()<Elman<T, is_relu, 1>>();
    }
}

template <class T, class F>
auto with_cell(const Shape& s, F f) {
    switch (s.cell) {
        case Cell::rnn_tanh: return with_elman<T, false>(s, f);
        case Cell::rnn_relu: return with_elman<T, true>(s, f);
        case Cell::lstm: return f.template operator()<Lstm<T>>();
        default: return f.template operator()<Gru<T>>();
    }
}

}  // namespace unrolled::UNROLLED_ISA
