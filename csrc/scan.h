// The loop over time: rows shared out to threads, each row from its first step to its last.
#pragma once
#ifdef _OPENMP
#include <omp.h>
#endif
#include <cstdlib>

#include "pack.h"
#include "step.h"

namespace unrolled::UNROLLED_ISA {

// Below so many multiply-adds a second thread costs more than it brings.
constexpr Index worth_a_thread = 200000;

struct Place {
    const Layout& layout;

    Index at(Index step, Index row) const {
        return layout.offset(step) + row * layout.stride;
    }
    // The step before in the order of the scan, or -1 at the row's first.
    Index before(Index step, Index row) const {
        if (!layout.reverse) return step - 1;
        return step + 1 < layout.steps && row < layout.size(step + 1) ? step + 1 : -1;
    }
    Index first_of_scan(Index i) const { return layout.reverse ? layout.steps - 1 - i : i; }
};

// Cuts the rows into shares of about equal numbers of steps, and runs f(first, last) on each.
template <class F>
void share(const Layout& layout, Index work_of_step, int threads, F f) {
    Index steps = layout.steps * layout.rows;
    if (layout.sizes) {
        steps = 0;
        for (Index t = 0; t < layout.steps; ++t) steps += layout.size(t);
    }
    const Index affordable = steps * work_of_step / worth_a_thread;
    if (threads > affordable) threads = affordable < 1 ? 1 : static_cast<int>(affordable);
    if (threads > layout.rows) threads = static_cast<int>(layout.rows);
    if (threads <= 1) return f(Index(0), layout.rows);
#ifdef _OPENMP
    // Row b has as many steps as there are sizes above b; walk the rows from the longest down.
    Index bounds[257];
    if (threads > 256) threads = 256;
    bounds[0] = 0;
    Index row = 0, done = 0, length = layout.steps;
    for (int share = 1; share < threads; ++share) {
        const Index goal = steps * share / threads;
        while (row < layout.rows && done < goal) {
            while (length > 0 && layout.size(length - 1) <= row) --length;
            done += length;
            ++row;
        }
        bounds[share] = row;
    }
    bounds[threads] = layout.rows;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int i = 0; i < threads; ++i) f(bounds[i], bounds[i + 1]);
#else
    f(Index(0), layout.rows);
#endif
}

template <class T>
void copy(T* to, const T* from, Index count) {
    if (count > 0) std::memcpy(to, from, count * sizeof(T));
}

template <class T, class C>
struct Scan {
    using P = Packed<T, C>;

    static void forward_block(const Shape& s, const T* packed, const Row<T>* rows, Index block,
                              Index first, Index last) {
        const T* biases = packed + block * P::block_size(s);
        const T* inputs = biases + C::sums * lanes<T>;
        const T* hiddens = inputs + s.inputs * P::columns * lanes<T>;
        const Index unit = block * P::width;
        for_tiles(first, last, [&]<int R>(Index row) {
            Vec<T> sum[R][C::sums];
            const T* input[R];
            const T* hidden[R];
            for (int r = 0; r < R; ++r) {
                input[r] = rows[row + r].input;
                hidden[r] = rows[row + r].hidden_before;
                for (int a = 0; a < C::sums; ++a) sum[r][a] = load(biases + a * lanes<T>);
            }
            constexpr int columns = P::columns;
            accumulate<T, R, columns>(sum, input, s.inputs, inputs, &C::input_sum);
            accumulate<T, R, columns>(sum, hidden, s.state(), hiddens, &C::hidden_sum);
            for (int r = 0; r < R; ++r)
                C::forward(sum[r], rows[row + r], unit, s.hidden - unit, s.hidden);
        });
    }

    static void forward_rows(const Shape& s, const Layout& layout, const Forward<T>& f, Row<T>* rows,
                             T* raw, Index first, Index last) {
        const Place place{layout};
        const Index state = s.state(), hidden = s.hidden;
        const T* projection = f.packed + P::size(s);
        if (C::has_cell && !f.cells)
            copy(f.c_n + first * hidden, f.c0 + first * hidden, (last - first) * hidden);
        for (Index i = 0; i < layout.steps; ++i) {
            const Index t = place.first_of_scan(i);
            const Index end = last < layout.size(t) ? last : layout.size(t);
            for (Index b = first; b < end; ++b) {
                const Index here = place.at(t, b), step_before = place.before(t, b);
                const bool starts = step_before < 0;
                const Index before = starts ? 0 : place.at(step_before, b);
                Row<T>& row = rows[b];
                row.input = f.input + here * s.inputs;
                row.hidden_before = starts ? f.h0 + b * state : f.output + before * f.ld_output;
                row.output = f.output + here * f.ld_output;
                row.gates = f.gates ? f.gates + here * C::kept * hidden : nullptr;
                if constexpr (C::has_cell) {
                    row.cell = f.cells ? f.cells + here * hidden : f.c_n + b * hidden;
                    row.cell_before = !f.cells ? row.cell
                                      : starts ? f.c0 + b * hidden
                                               : f.cells + before * hidden;
                }
                row.hidden = !s.projection ? row.output : f.raw ? f.raw + here * hidden
                                                                : raw + b * hidden;
            }
            for (Index block = 0; block < P::blocks(s); ++block)
                forward_block(s, f.packed, rows, block, first, end);
            if (s.projection)
                product<T>(
                    projection, hidden, state, first, end,
                    [&](Index b) { return rows[b].hidden; }, [&](Index b) { return rows[b].output; },
                    false);
        }
        for (Index b = first; b < last; ++b) {
            const bool any = layout.size(0) > b;  // else the row has no step, and keeps its state
            copy(f.h_n + b * state, any ? rows[b].output : f.h0 + b * state, state);
            if constexpr (C::has_cell) {
                if (f.cells)
                    copy(f.c_n + b * hidden, any ? rows[b].cell : f.c0 + b * hidden, hidden);
            }
        }
    }

    static bool forward(const Shape& s, const Layout& layout, const Forward<T>& f, int threads) {
        const Index raw_size = s.projection && !f.raw ? layout.rows * s.hidden : 0;
        void* memory = std::malloc(layout.rows * sizeof(Row<T>) + raw_size * sizeof(T) + 1);
        if (!memory) return false;
        Row<T>* rows = static_cast<Row<T>*>(memory);
        T* raw = reinterpret_cast<T*>(rows + layout.rows);
        const Index work = s.hidden * (C::gates * (s.inputs + s.state()) + s.projection);
        share(layout, work, threads, [&](Index first, Index last) {
            forward_rows(s, layout, f, rows, raw, first, last);
        });
        std::free(memory);
        return true;
    }

    static void backward_rows(const Shape& s, const Layout& layout, const Backward<T>& g,
                              BackRow<T>* rows, T* d_raw, Index first, Index last) {
        const Place place{layout};
        const Index state = s.state(), hidden = s.hidden, derived = C::derivatives * hidden;
        const T* projection = g.packed + packed_product_size<T>(C::gates * hidden, state);
        start_gradient(g.d_h0, g.d_h_n, first * state, last * state);
        if constexpr (C::has_cell) start_gradient(g.d_c0, g.d_c_n, first * hidden, last * hidden);
        for (Index i = layout.steps - 1; i >= 0; --i) {
            const Index t = place.first_of_scan(i);
            const Index end = last < layout.size(t) ? last : layout.size(t);
            for (Index b = first; b < end; ++b) {
                const Index here = place.at(t, b), step_before = place.before(t, b);
                const bool starts = step_before < 0;
                const Index before = starts ? 0 : place.at(step_before, b);
                BackRow<T>& row = rows[b];
                row.hidden_before = starts ? g.h0 + b * state : g.output + before * g.ld_output;
                row.hidden = g.output + here * g.ld_output;
                row.gates = g.gates ? g.gates + here * C::kept * hidden : nullptr;
                row.d_gates = g.d_gates + here * derived;
                row.d_output = g.d_h0 + b * state;
                row.d_hidden = s.projection ? d_raw + b * hidden : row.d_output;
                if constexpr (C::has_cell) {
                    row.cell = g.cells + here * hidden;
                    row.cell_before = starts ? g.c0 + b * hidden : g.cells + before * hidden;
                    row.d_cell = g.d_c0 + b * hidden;
                }
                if (g.d_output) add(row.d_output, g.d_output + here * g.ld_d_output, state);
                if (g.h_before) copy(g.h_before + here * state, row.hidden_before, state);
                if (s.projection) copy(g.d_projected + here * state, row.d_output, state);
            }
            if (s.projection)
                product<T>(
                    projection, state, hidden, first, end,
                    [&](Index b) -> const T* { return rows[b].d_output; },
                    [&](Index b) { return rows[b].d_hidden; }, false);
            for (Index b = first; b < end; ++b)
                for (Index unit = 0; unit < hidden; unit += lanes<T>)
                    C::backward(rows[b], unit, hidden - unit, hidden);
            product<T>(
                g.packed, C::gates * hidden, state, first, end,
                [&](Index b) -> const T* {
                    return rows[b].d_gates + C::recurrent_derivatives * hidden;
                },
                [&](Index b) { return rows[b].d_output; }, C::keeps_part_of_hidden);
        }
    }

    static bool backward(const Shape& s, const Layout& layout, const Backward<T>& g, int threads) {
        const Index raw_size = s.projection ? layout.rows * s.hidden : 0;
        void* memory = std::malloc(layout.rows * sizeof(BackRow<T>) + raw_size * sizeof(T) + 1);
        if (!memory) return false;
        BackRow<T>* rows = static_cast<BackRow<T>*>(memory);
        T* d_raw = reinterpret_cast<T*>(rows + layout.rows);
        const Index work = s.hidden * (C::gates * s.state() + s.projection);
        share(layout, work, threads, [&](Index first, Index last) {
            backward_rows(s, layout, g, rows, d_raw, first, last);
        });
        std::free(memory);
        return true;
    }

   private:
    static void start_gradient(T* to, const T* from, Index first, Index last) {
        for (Index i = first; i < last; ++i) to[i] = from ? from[i] : T(0);
    }

    static void add(T* to, const T* from, Index count) {
        for (Index i = 0; i < count; i += lanes<T>)
            store(to + i, load(to + i, count - i) + load(from + i, count - i), count - i);
    }
};

}  // namespace unrolled::UNROLLED_ISA
