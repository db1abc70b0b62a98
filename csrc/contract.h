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

// The weights in torch's layout; the biases are both null or both given.
template <class T>
struct Weights {
    const T* ih;       // [G*H, I]
    const T* hh;       // [G*H, P]
    const T* bias_ih;  // [G*H] or null
    const T* bias_hh;  // [G*H] or null
    const T* hr;       // [P, H], null without projection
};

// What is kept for a backward pass lies by slot(t) + b: a step after the other, from `begin` on.
// K is the number of such places of a call, all N or those of its stretch.
template <class T>
struct Forward {
    Weights<T> weights;
    Matrix<const T> input;  // I numbers each
    const T* h0;            // [B, P] before the first step that is run; null for zero
    const T* c0;            // [B, H], LSTM only, else null; null for zero
    Matrix<T> output;       // P numbers each
    T* h_n;                 // [B, P] after the last step that is run
    T* c_n;                 // [B, H], LSTM only, else null
    T* gates;               // [K, S*H], null where nothing is kept (inference) or S is 0:
                            //   LSTM input, forget, candidate, output, activated;
                            //   GRU reset, update, candidate, activated, and W_hn*h + b_hn
    T* cells;               // [K, H], LSTM: the cell states; null where nothing is kept
    T* raw;  // [K, H], the hidden state before projection; null without projection or in inference
};

// The gradients of the weights, as Weights has them; null for what the layer lacks or nobody wants.
template <class T>
struct Gradients {
    T* ih;
    T* hh;
    T* bias_ih;
    T* bias_hh;
    T* hr;

    UNROLLED_INLINE bool any() const { return ih || hh || bias_ih || bias_hh || hr; }
};

// Which of them are wanted, a bit each, in the order of Gradients.
using Wanted = unsigned;

template <class T>
struct Backward {
    Weights<T> weights;
    Matrix<const T> input;
    const T* h0;  // as in the forward pass
    const T* c0;
    Matrix<const T> output;  // as the forward pass left it
    const T* gates;          // as kept
    const T* cells;
    const T* raw;
    Matrix<const T> d_output;  // P numbers each, data null for zero
    const T* d_h_n;            // [B, P] or null for zero; may be d_h0
    const T* d_c_n;            // [B, H] or null for zero; may be d_c0
    T* d_h0;                   // [B, P], or null if not wanted
    T* d_c0;                   // [B, H], LSTM only, else null; null if not wanted
    T* carried_h;  // [K, P], [K, H], or null if not wanted: the loss by each step's states,
    T* carried_c;  //   as they are handed on to the next; d_h0 and d_c0 are the first's
    T* total_h;    // [K, P], or null: of the hidden state handed on and given out, with d_output
    Matrix<T> d_input;   // I numbers each, data null if not wanted
    bool adds_to_input;  // whether d_input has another direction's share already
    Wanted wanted;       // the weights' gradients that are summed
    T* sums;  // [sums_size], zero before a pass's first call: the weights' gradients as they grow;
              //   null where one call runs all steps. Every number is a sum over the steps in the
              //   order of the backward scan, whatever stretches they are run in and on however
              //   many threads: the same to the last bit.
    Gradients<T> gradients;  // what the sums come to, in a pass's last call; else all null
};

// Asked now and then, by the calling thread alone, whether a call is to end early. What the call
// was to write is then of no use.
struct Interrupt {
    bool (*is_due)() = nullptr;
};

enum class Outcome { done, no_memory, interrupted };

// What runs a cell's equations: program.h.
struct Program;
template <class T>
struct ProgramForward;
template <class T>
struct ProgramBackward;
using WantedWeights = std::uint64_t;
enum class Code : int;

// One instruction set's build of the core for one element type.
template <class T>
struct Table {
    // One layer in one direction, on at most so many threads. Memory for scratch is taken once a
    // call; throws nothing.
    Outcome (*forward)(const Shape&, const Layout&, const Forward<T>&, int threads, Interrupt);
    Outcome (*backward)(const Shape&, const Layout&, const Backward<T>&, int threads, Interrupt);
    Index (*sums_size)(const Shape&, const Layout&, Wanted);
    // The same of a layer whose cell is given as a program.
    Outcome (*program_forward)(const Program&, const Layout&, const ProgramForward<T>&, int threads,
                               Interrupt);
    Outcome (*program_backward)(const Program&, const Layout&, const ProgramBackward<T>&,
                                int threads, Interrupt);
    Index (*program_sums_size)(const Program&, const Layout&, WantedWeights);
    // One of its instructions by itself, for tests: y[i] = f(x[0][i], ...); x has four, or null.
    void (*instruct)(Code, const T* const* x, T* y, Index count);
    // Does rounds * busy_width multiply-adds in registers, for measuring the machine's peak.
    T (*busy)(Index rounds);
    Index busy_width;
};

struct Core {
    const char* name;  // "baseline", "avx2", "avx512"
    int vector_bytes;
    Table<float> f32;
    Table<double> f64;
};

}  // namespace unrolled
