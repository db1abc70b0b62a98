// The cells that have kernels of their own, and what is to be known of each outside of its file.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

namespace unrolled {

using Index = std::int64_t;

enum class Cell : int { rnn_tanh, rnn_relu, lstm, gru };

struct CellKind {
    const char* name;       // torch's mode
    Index gates;            // G
    Index kept;             // S: numbers of a unit and step that the backward pass reads
    bool has_cell;          // whether it has a cell state beside the hidden one
    bool may_be_projected;  // whether its hidden state may be
};

constexpr CellKind cell_kinds[] = {
    {"RNN_TANH", 1, 0, false, false},
    {"RNN_RELU", 1, 0, false, false},
    {"LSTM", 4, 4, true, true},
    {"GRU", 3, 4, false, false},
};

constexpr const CellKind& kind_of(Cell cell) { return cell_kinds[static_cast<int>(cell)]; }

inline Cell cell_named(const std::string& name) {
    constexpr int count = sizeof(cell_kinds) / sizeof(cell_kinds[0]);
    for (int i = 0; i < count; ++i)
        if (name == cell_kinds[i].name) return static_cast<Cell>(i);
    throw std::invalid_argument("there is no cell " + name);
}

}  // namespace unrolled
