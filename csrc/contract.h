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
#include <cstdint>

namespace unrolled {

using Index = std::int64_t;

enum class Cell : int { rnn_tanh = 0, rnn_relu = 1, lstm = 2, gru = 3 };

struct Shape {
    Cell cell;
    Index inputs;      // I
    Index hidden;      // H
    Index projection;  // P where the hidden state is projected, else 0
    Index state() const { return projection > 0 ? projection : hidden; }
};

// Where the steps of the rows lie: step t of row b is row offset(t) + b * stride of every matrix
// over N. Rows are sorted by falling length: at step t the first size(t) of them are active.
struct Layout {
    Index steps;           // T, at least 1
    Index rows;            // B
    const Index* offsets;  // [T], or null where every row has every step: then t * step
    const Index* sizes;    // [T], falling, at most B, or null likewise: then B
    Index step;            // rows of a matrix between two steps, where offsets is null
    Index stride;          // rows of a matrix between two rows of the batch
    bool reverse;          // whether the scan goes from each row's last step to its first

    Index offset(Index t) const { return offsets ? offsets[t] : t * step; }
    Index size(Index t) const { return sizes ? sizes[t] : rows; }
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

template <class T>
struct Forward {
    const T* packed;  // what pack_forward wrote
    const T* input;   // [N, I]
    const T* h0;      // [B, P]
    const T* c0;      // [B, H], LSTM only, else null
    T* output;        // [N, P] with leading dimension ld_output
    Index ld_output;
    T* h_n;    // [B, P]
    T* c_n;    // [B, H], LSTM only, else null
    T* gates;  // [N, S*H], null where nothing is kept (inference) or S is 0:
               //   LSTM input, forget, candidate, output, activated;
               //   GRU reset, update, candidate, activated, and W_hn*h + b_hn
    T* cells;  // [N, H], LSTM: the cell states; null where nothing is kept
    T* raw;    // [N, H], the hidden state before projection; null without projection or in inference
};

template <class T>
struct Backward {
    const T* packed;  // what pack_backward wrote
    const T* h0;      // [B, P]
    const T* c0;      // [B, H], LSTM only, else null
    const T* output;  // [N, P], as the forward pass left it
    Index ld_output;
    const T* gates;    // as kept
    const T* cells;    // as kept
    const T* d_output; // [N, P] with leading dimension ld_d_output, or null for zero
    Index ld_d_output;
    const T* d_h_n;  // [B, P] or null for zero
    const T* d_c_n;  // [B, H] or null for zero
    T* d_gates;      // [N, G*H], GRU [N, 4*H]: the loss by the gates before activation;
                     //   GRU candidate's input share, reset, update, candidate's hidden share
    T* d_h0;         // [B, P]
    T* d_c0;         // [B, H], LSTM only, else null
    T* d_projected;  // [N, P]: the loss by the projected state; null without projection
    T* h_before;     // [N, P]: the hidden state before each step; null if not wanted
};

// One instruction set's build of the core for one element type.
template <class T>
struct Table {
    // How many elements the packed weights take.
    Index (*packed_forward_size)(const Shape&);
    Index (*packed_backward_size)(const Shape&);
    // Rewrites weights as the kernels read them; packed has that many elements.
    void (*pack_forward)(const Shape&, const Weights<T>&, T* packed);
    void (*pack_backward)(const Shape&, const Weights<T>&, T* packed);
    // One layer in one direction, on at most so many threads. Memory for scratch is taken once a
    // call; throws nothing, returns false if there is none to be had.
    bool (*forward)(const Shape&, const Layout&, const Forward<T>&, int threads);
    bool (*backward)(const Shape&, const Layout&, const Backward<T>&, int threads);
    // The activations by themselves, for tests: y[i] = f(x[i]).
    void (*sigmoid)(const T* x, T* y, Index count);
    void (*tanh)(const T* x, T* y, Index count);
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
