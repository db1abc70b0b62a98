// The compiled core's entry points. The core knows pointers and sizes: no Python, no torch.
//
// Letters: T steps, B rows (sequences), I inputs, H hidden units, P the size of the hidden state
// (H, or the projection's size), G gates (LSTM 4, GRU 3, RNN 1), S numbers kept of a unit and step
// for the backward pass (LSTM 4, GRU 4, RNN 0). N is the number of (step, row) pairs that exist.
//
// All pointers are to caller-owned memory of the element type of the table (float or double), are
// only used during the call, are aligned to the element only, and do not overlap unless said so.
// Matrices are row-major and dense unless a leading dimension (ld) is given.
#pragma once
#include "cell_list.h"

namespace unrolled {

// Where it stands, no function is left for the linker to take from another instruction set's build.
#define UNROLLED_INLINE inline __attribute__((always_inline))

struct Shape {
    Cell cell;
    Index inputs;      // I
    Index hidden;      // H
    Index projection;  // P where the hidden state is projected, else 0
    bool biased;       // whether there are biases
    UNROLLED_INLINE Index state() const { return projection > 0 ? projection : hidden; }
};

// Which steps the rows have, and which of them a call runs. Rows are sorted by falling length: at
// step t the first size(t) of them are active.
struct Layout {
    Index steps;           // T, at least 1
    Index rows;            // B
    const Index* offsets;  // [T]: the sum of the sizes before t; null where all rows have all steps
    const Index* sizes;    // [T], falling, at most B; null likewise
    bool reverse;          // whether the scan goes from each row's last step to its first
    Index begin, end;      // the steps begin ... end - 1 are run: all of them, or a stretch

    UNROLLED_INLINE Index size(Index t) const { return sizes ? sizes[t] : rows; }
    // How many (step, row) pairs there are before step t, and from `begin` to it.
    UNROLLED_INLINE Index offset(Index t) const { return offsets ? offsets[t] : t * rows; }
    UNROLLED_INLINE Index slot(Index t) const { return offset(t) - offset(begin); }
    UNROLLED_INLINE Index slots() const { return slot(end - 1) + size(end - 1); }
};

// A matrix over N: the numbers of step t of row b begin at at(layout, t, b) and lie side by side.
// Where the layout is ragged `step` is not used.
template <class T>
struct Matrix {
    T* data;  // where step 0 of row 0 is, or would be if it were there
    Index step, row;

    UNROLLED_INLINE T* at(const Layout& layout, Index t, Index b) const {
        return data + (layout.offsets ? layout.offsets[t] * row : t * step) + b * row;
    }
};

// What a layer in one direction is handed, whatever runs it. The lists are as long as its kind
// says: a program's as program.h has them, those of a cell with kernels as below.
//
// What is kept for a backward pass lies by slot(t) + b: a step after the other, from `begin` on.
// K is the number of such places of a call, all N or those of its stretch.
template <class T>
struct Forward {
    const T* const* weights;        // each dense
    const Matrix<const T>* inputs;  // the layer's input is the first
    const T* const* constants;      // [B, ·], the same at every step
    const T* const* before;  // [B, ·] states before the first step that is run; null for zero
    Matrix<T> output;        // the first state after each step
    T* const* after;         // [B, ·] states after the last step that is run
    T* const* kept;          // [K, ·] each; null where nothing is kept (inference)
};

// Which gradients of weights are wanted, a bit each, in the order of the list.
using Wanted = std::uint64_t;

template <class T>
struct Backward {
    const T* const* weights;
    const Matrix<const T>* inputs;
    const T* const* constants;
    const T* const* before;  // as in the forward pass
    Matrix<const T> output;  // as the forward pass left it
    const T* const* kept;
    Matrix<const T> d_output;  // data null for zero
    const T* const* d_after;   // [B, ·] each, null for zero; may be d_before's
    T* const* d_before;        // [B, ·] each, null if not wanted
    T* const* carried;  // [K, ·] each, null if not wanted: the loss by each step's states, as they
                        //   are handed on to the next; d_before's are the first's
    T* total;           // [K, ·] or null: of the first state handed on and given out, with d_output
    Matrix<T> d_input;  // of the first input, data null if not wanted
    bool adds_to_input;     // whether d_input has another direction's share already
    T* const* d_constants;  // [B, ·] each, which are added to, null if not wanted
    Wanted wanted;          // the weights' gradients that are summed
    T* sums;  // [sums_size], zero before a pass's first call: the weights' gradients as they grow;
              //   null where one call runs all steps. Every number is a sum over the steps in the
              //   order of the backward scan, whatever stretches they are run in and on however
              //   many threads: the same to the last bit.
    T* const* gradients;  // what the sums come to, in a pass's last call: of each weight, null if
                          //   not wanted; else null
};

// The lists of a cell that has kernels, by their names; what a layer lacks is null. The states are
// the hidden one [P] and, of an LSTM, the cell state [H]. There are no constants, and one input.
template <class X>
struct Weights {
    X* ih;       // [G*H, I]
    X* hh;       // [G*H, P]
    X* bias_ih;  // [G*H], with biases
    X* bias_hh;  // [G*H]
    X* hr;       // [P, H], with a projection
};

template <class X>
UNROLLED_INLINE Weights<X> named_weights(const Shape& s, X* const* list) {
    return {list[0], list[1], s.biased ? list[2] : nullptr, s.biased ? list[3] : nullptr,
            s.projection ? list[s.biased ? 4 : 2] : nullptr};
}

// What such a cell keeps.
template <class X>
struct Kept {
    X* gates;  // [S*H] LSTM input, forget, candidate, output, activated;
               //   GRU reset, update, candidate, activated, and W_hn*h + b_hn
    X* cells;  // [H] LSTM: the cell states
    X* raw;    // [H] the hidden state before its projection
};

template <class X>
UNROLLED_INLINE Kept<X> named_kept(const Shape& s, X* const* list) {
    if (!list) return {nullptr, nullptr, nullptr};
    const CellKind& kind = kind_of(s.cell);
    const int cells = kind.kept ? 1 : 0, raw = cells + (kind.has_cell ? 1 : 0);
    return {kind.kept ? list[0] : nullptr, kind.has_cell ? list[cells] : nullptr,
            s.projection ? list[raw] : nullptr};
}

// Asked now and then, by the calling thread alone, whether a call is to end early. What the call
// was to write is then of no use.
struct Interrupt {
    bool (*is_due)() = nullptr;
};

enum class Outcome { done, no_memory, interrupted };

// What runs a cell's equations: program.h.
struct Program;
enum class Code : int;

// One instruction set's build of the core for one element type.
template <class T>
struct Table {
    // One layer in one direction, on at most so many threads. Memory for scratch is taken once a
    // call; throws nothing. `packed` are the weights as `pack` wrote them, or null: then each call
    // packs those that it is handed.
    Outcome (*forward)(const Shape&, const Layout&, const Forward<T>&, const T* packed, int threads,
                       Interrupt);
    Index (*packed_size)(const Shape&);
    void (*pack)(const Shape&, const T* const* weights, T* packed);
    Outcome (*backward)(const Shape&, const Layout&, const Backward<T>&, int threads, Interrupt);
    Index (*sums_size)(const Shape&, const Layout&, Wanted);
    // The same of a layer whose cell is given as a program.
    Outcome (*program_forward)(const Program&, const Layout&, const Forward<T>&, int threads,
                               Interrupt);
    Outcome (*program_backward)(const Program&, const Layout&, const Backward<T>&, int threads,
                                Interrupt);
    Index (*program_sums_size)(const Program&, const Layout&, Wanted);
    // One of its instructions by itself, for tests: y[i] = f(x[0][i], ...); x has four, or null.
    void (*instruct)(Code, const T* const* x, T* y, Index count);
    // Does rounds * busy_width multiply-adds in registers, for measuring the machine's peak.
    T (*busy)(Index rounds);
    Index busy_width;
};

struct Core {
    const char* name;  // "baseline", "avx2", "avx512"
    int vector_bytes;
    const Table<float>* f32;
    const Table<double>* f64;
    // The same as f32 with what products multiply rounded to bfloat16, sums and all else in
    // float32: by float32's instructions, or by those for pairs of bfloat16. Null where the build
    // has none; only a machine that has AVX512-BF16 may run them.
    const Table<float>* rounded;
    const Table<float>* paired;
    // What multiplies whole numbers in 8 bits, which has a forward pass alone: by what every
    // machine has, or by AVX512-VNNI, null as above.
    const Table<float>* bytes;
    const Table<float>* vnni;
};

}  // namespace unrolled
