// The backward scan of the cells that have kernels of their own.
#pragma once
#include "blocks.h"
#include "step.h"

namespace unrolled::UNROLLED_ISA {

// The sources of Sums.
enum Read : int { of_input, of_hidden, of_raw, sources };

// The sums of a layer's weights' gradients. A slot's derivatives are those of the gates, in the
// order in which the cell leaves them, and behind them that of the projected state.
template <class O, class C>
class WeightSums {
    using T = typename O::Sum;

   public:
    Sums<O> sums;

    // What is not wanted has no sums, and takes no time.
    WeightSums(const Shape& s, Wanted wanted)
        : sums(C::derivatives * s.hidden + s.projection), shape_(s) {
        const auto wants = [=](int weight) { return (wanted >> weight & 1u) != 0; };
        const Index width = C::gates * s.hidden, recurrent = C::recurrent_derivatives * s.hidden;
        if (wants(0)) ih_ = sums.add(of_input, s.inputs, 0, width);
        if (wants(1)) hh_ = sums.add(of_hidden, s.state(), recurrent, width);
        // Where the shares are the same, so are the gradients of the two biases.
        if (s.biased && (wants(2) || (!recurrent && wants(3))))
            bias_ih_ = sums.add(Sums<O>::ones, 1, 0, width);
        if (s.biased && wants(3))
            bias_hh_ = recurrent ? sums.add(Sums<O>::ones, 1, recurrent, width) : bias_ih_;
        if (s.projection && wants(s.biased ? 4 : 2))
            hr_ = sums.add(of_raw, s.hidden, C::derivatives * s.hidden, s.projection);
    }

    void write(const T* summed, T* const* gradients) const {
        const Weights<T> to = named_weights(shape_, gradients);
        const Index width = C::gates * shape_.hidden;
        write_from_input(ih_, summed, to.ih, shape_.inputs);
        if (to.hh) sums.write(hh_, summed, 0, width, to.hh);
        write_from_input(bias_ih_, summed, to.bias_ih, 1);
        if (to.bias_hh) sums.write(bias_hh_, summed, 0, width, to.bias_hh);
        if (to.hr) sums.write(hr_, summed, 0, shape_.projection, to.hr);
    }

   private:
    // The input's share begins with the last gate where the shares differ: see the cell.
    void write_from_input(int part, const T* summed, T* to, Index count) const {
        if (!to) return;
        const Index last = C::recurrent_derivatives * shape_.hidden;
        const Index others = C::gates * shape_.hidden - last;
        sums.write(part, summed, 0, last, to + others * count);
        sums.write(part, summed, last, others, to);
    }

    const Shape& shape_;
    int ih_ = 0, hh_ = 0, bias_ih_ = 0, bias_hh_ = 0, hr_ = 0;
};

template <class O, class C>
struct BackwardScan {
    using T = typename O::Sum;
    const Shape& s;
    const Layout& layout;
    const Backward<T>& g;
    const Weights<const T> weights;
    const Kept<const T> kept;
    const WeightSums<O, C> gradients;
    const Sums<O>& sums = gradients.sums;
    T* summed;  // g's, or our own
    // Packed: hh for the step before, hr for what was projected, ih for the input's gradient.
    T *hh, *hr, *ih;
    BackRow<T>* rows;  // [B]
    T* d_raw;          // [B, H], with a projection
    const T* h0;       // g's, or zeros
    const T* c0;
    T* d_h;  // [B, P], [B, H]: the loss by the states as the scan goes back
    T* d_c;
    Blocks<O> blocks;
    Stop stop;

    BackwardScan(const Shape& s, const Layout& layout, const Backward<T>& g, Interrupt interrupt)
        : s(s), layout(layout), g(g), weights(named_weights(s, g.weights)),
          kept(named_kept(s, g.kept)), gradients(s, g.wanted), summed(g.sums), h0(g.before[0]),
          c0(of_cell(g.before)), d_h(g.d_before[0]), d_c(of_cell(g.d_before)), blocks(layout, sums),
          stop(interrupt) {}

    static Outcome run(const Shape& s, const Layout& layout, const Backward<T>& g, int threads,
                       Interrupt interrupt) {
        BackwardScan scan(s, layout, g, interrupt);
        return scan.with_memory(threads);
    }

   private:
    // The cell state's of a list.
    template <class X>
    static X* of_cell(X* const* list) {
        return C::has_cell ? list[1] : nullptr;
    }

    // --- memory ---------------------------------------------------------------------------------

    Outcome with_memory(int threads) {
        const Index of_a_step = s.hidden * (3 * C::gates * (s.inputs + s.state()) + s.projection);
        threads = affordable(layout.slots() * of_a_step, threads);
        const Index hs = layout.rows * s.state(), cs = C::has_cell ? layout.rows * s.hidden : 0;
        T *h_zeros = nullptr, *c_zeros = nullptr;
        return Scratch::with(
            [&](Scratch& scratch) {
                hh = scratch.take<T>(packed_product_size<T>(C::gates * s.hidden, s.state()));
                hr = scratch.take<T>(s.projection ? packed_product_size<T>(s.projection, s.hidden)
                                                  : 0);
                ih = scratch.take<T>(
                    g.d_input.data ? packed_product_size<T>(C::gates * s.hidden, s.inputs) : 0);
                rows = scratch.take<BackRow<T>>(layout.rows);
                d_raw = scratch.take<T>(s.projection ? layout.rows * s.hidden : 0);
                h_zeros = scratch.take<T>(g.before[0] ? 0 : hs);
                c_zeros = scratch.take<T>(c0 ? 0 : cs);
                if (!g.d_before[0]) d_h = scratch.take<T>(hs);
                if (!of_cell(g.d_before)) d_c = scratch.take<T>(cs);
                if (!g.sums) summed = scratch.take<T>(sums.memory(layout));
                blocks.take(scratch, sources, g.d_input.data, threads);
            },
            [&] {
                if (!h0) zero(h_zeros, hs), h0 = h_zeros;
                if (!c0) zero(c_zeros, cs), c0 = c_zeros;
                start(d_h, g.d_after[0], hs);
                start(d_c, of_cell(g.d_after), cs);
                if (!g.sums) zero(summed, sums.memory(layout));
                pack(threads);
                share(threads);
                if (g.gradients && !stop.is_due()) {
                    sums.finish(layout, summed);
                    gradients.write(summed, g.gradients);
                }
                return stop.outcome();
            });
    }

    void pack(int threads) const {
        const Index gates = C::gates * s.hidden;
        threads = affordable(gates * (s.inputs + s.state()) * packing, threads);
        pack_product<O>({weights.hh, gates, s.state(), false, 0}, hh, threads);
        if (s.projection)  // d raw = hr^T * d h
            pack_product<O>({weights.hr, s.projection, s.hidden, false, 0}, hr, threads);
        // In the order in which the cell leaves its gates.
        const Index turn = C::recurrent_derivatives ? gates - s.hidden : 0;
        if (g.d_input.data)
            pack_product<O>({weights.ih, gates, s.inputs, false, turn}, ih, threads);
    }

    static void start(T* to, const T* from, Index count) {
        if (from == to) return;
        if (from) copy(to, from, count);
        else zero(to, count);
    }

    // --- the products of a block ----------------------------------------------------------------

    void share(int threads) {
        blocks.run(
            threads,
            [&](const Block<O>& block, Index first, Index last, int thread) {
                scan(block, first, last, thread);
            },
            [&](const Block<O>& block) { return tasks(block); },
            [&](Index task, const Block<O>& block, T* panel, int thread) {
                run_task(task, block, panel, thread);
            });
    }

    Index tasks(const Block<O>& block) const {
        const Index rows_apart = (block.slots + rows_of_task - 1) / rows_of_task;
        return sums.tasks() + (g.d_input.data ? rows_apart : 0);
    }

    void run_task(Index task, const Block<O>& block, T* panel, int thread) {
        const Index of_sums = sums.tasks();
        if (stop.after(task < of_sums ? block.slots * sums.work(task)
                                      : rows_of_task * C::gates * s.hidden * s.inputs,
                       thread))
            return;
        if (task < of_sums) return sums.run(task, layout, block, summed, panel);
        const Index first = (task - of_sums) * rows_of_task, last = first + rows_of_task;
        product<O>(
            ih, C::gates * s.hidden, s.inputs, first, last < block.slots ? last : block.slots,
            [&](Index slot) { return block.multiplied(slot * sums.row); },
            [&](Index slot) { return block.d_input[slot]; }, g.adds_to_input);
    }

    // --- the scan -------------------------------------------------------------------------------

    void scan(const Block<O>& block, Index first, Index last, int thread) {
        const Order order{layout};
        const Index state = s.state(), hidden = s.hidden;
        const Index recurrent = C::recurrent_derivatives * hidden;
        // All rows, but for sizes at which these would take longer than one waits for an answer.
        const Index of_row = C::gates * hidden * state, most = most_at_once / of_row;
        const Index at_a_time = most > rows_of_task ? most : rows_of_task;
        Index slot = 0;
        for (Index i = block.end - 1; i >= block.begin; --i) {
            const Index size = layout.size(order.step(i)), end = last < size ? last : size;
            place(i, first, end, block, slot);
            if (s.projection) project_back(block, slot, first, end);
            for (Index b = first; b < end; ++b) {
                for (Index unit = 0; unit < hidden; unit += lanes<T>)
                    C::backward(rows[b], unit, hidden - unit, hidden);
                block.round((slot + b) * sums.row, C::derivatives * hidden);
            }
            for (Index from = first; from < end; from += at_a_time) {
                if (stop.after((end < from + at_a_time ? end - from : at_a_time) * of_row, thread))
                    return;
                product<O>(
                    hh, C::gates * hidden, state, from,
                    end < from + at_a_time ? end : from + at_a_time,
                    [&](Index b) { return block.multiplied((slot + b) * sums.row + recurrent); },
                    [&](Index b) { return rows[b].d_output; }, C::keeps_part_of_hidden);
            }
            slot += size;
        }
    }

    void project_back(const Block<O>& block, Index slot, Index first, Index end) {
        const Index begin = C::derivatives * s.hidden;
        for (Index b = first; b < end; ++b)
            block.round((slot + b) * sums.row + begin, s.projection);
        product<O>(
            hr, s.projection, s.hidden, first, end,
            [&](Index b) { return block.multiplied((slot + b) * sums.row + begin); },
            [&](Index b) { return rows[b].d_hidden; }, false);
    }

    // Where the rows read and write at the scan's step i, whose slots begin at `slot`.
    void place(Index i, Index first, Index end, const Block<O>& block, Index slot) {
        const Order order{layout};
        const Index t = order.step(i), before = i ? order.step(i - 1) : t;
        const Index fresh = order.fresh(i, first, end), state = s.state(), hidden = s.hidden;
        const Index here = layout.slot(t), there = layout.slot(before);
        const T* input = g.inputs[0].at(layout, t, 0);
        const T* output = g.output.at(layout, t, 0);
        const T* output_before = g.output.at(layout, before, 0);
        const T* d_output = g.d_output.data ? g.d_output.at(layout, t, 0) : nullptr;
        T* d_input = g.d_input.data ? g.d_input.at(layout, t, 0) : nullptr;
        for (Index b = first; b < end; ++b) {
            const bool starts = b >= fresh;
            BackRow<T>& row = rows[b];
            row.hidden_before = starts ? h0 + b * state : output_before + b * g.output.row;
            row.hidden = output + b * g.output.row;
            row.gates = kept.gates ? kept.gates + (here + b) * C::kept * hidden : nullptr;
            row.d_gates = block.derivatives + (slot + b) * sums.row;
            row.d_output = d_h + b * state;
            row.d_hidden = s.projection ? d_raw + b * hidden : row.d_output;
            if constexpr (C::has_cell) {
                row.cell = kept.cells + (here + b) * hidden;
                row.cell_before = starts ? c0 + b * hidden : kept.cells + (there + b) * hidden;
                row.d_cell = d_c + b * hidden;
            }
            if (g.carried[0]) copy(g.carried[0] + (here + b) * state, row.d_output, state);
            if (C::has_cell && g.carried[1])
                copy(g.carried[1] + (here + b) * hidden, d_c + b * hidden, hidden);
            if (d_output) add(row.d_output, d_output + b * g.d_output.row, state);
            if (g.total) copy(g.total + (here + b) * state, row.d_output, state);
            block.read[of_input][slot + b] = input + b * g.inputs[0].row;
            block.read[of_hidden][slot + b] = row.hidden_before;
            if (d_input) block.d_input[slot + b] = d_input + b * g.d_input.row;
            if (s.projection) {
                block.read[of_raw][slot + b] = kept.raw + (here + b) * hidden;
                copy(row.d_gates + C::derivatives * hidden, row.d_output, state);
            }
        }
    }

    static void add(T* to, const T* from, Index count) {
        for (Index i = 0; i < count; i += lanes<T>)
            store(to + i, load(to + i, count - i) + load(from + i, count - i), count - i);
    }
};

}  // namespace unrolled::UNROLLED_ISA
