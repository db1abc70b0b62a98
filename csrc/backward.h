// The backward scan, in blocks of steps: the rows shared out to threads as in the forward one; then
// the products of the block that has just been scanned, for the weights' gradients and the input's,
// while the next block is scanned.
#pragma once
#include <atomic>

#include "pack.h"
#include "step.h"
#include "sums.h"

namespace unrolled::UNROLLED_ISA {

template <class T, class C>
struct BackwardScan {
    // So many slots make a block's products worth their reading of the sums.
    static constexpr Index block_slots = 256;
    static constexpr Index rows_of_task = 48;              // of the input's gradient
    static constexpr Index most_at_once = Index(1) << 30;  // multiply-adds without asking to stop

    const Shape& s;
    const Layout& layout;
    const Backward<T>& g;
    const Sums<T, C> sums;
    T* summed;             // g's, or our own
    const Index capacity;  // slots of a block
    // Packed: hh for the step before, hr for what was projected, ih for the input's gradient.
    T *hh, *hr, *ih;
    BackRow<T>* rows;  // [B]
    T* d_raw;          // [B, H], with a projection
    const T* h0;       // g's, or zeros
    const T* c0;
    T* d_h;  // [B, P], [B, H]: the loss by the states as the scan goes back
    T* d_c;
    Block<T> blocks[2];
    std::atomic<Index> next_task[2];
    Stop stop;

    BackwardScan(const Shape& s, const Layout& layout, const Backward<T>& g, Interrupt interrupt)
        : s(s), layout(layout), g(g), sums(s, g.wanted), summed(g.sums),
          capacity(most_slots(layout)), h0(g.h0), c0(g.c0), d_h(g.d_h0), d_c(g.d_c0),
          next_task{0, 0}, stop(interrupt) {}

    static Outcome run(const Shape& s, const Layout& layout, const Backward<T>& g, int threads,
                       Interrupt interrupt) {
        BackwardScan scan(s, layout, g, interrupt);
        return scan.with_memory(threads);
    }

   private:
    // --- memory ---------------------------------------------------------------------------------

    static Index most_slots(const Layout& layout) {
        const Index slots = layout.slots() < block_slots ? layout.slots() : block_slots;
        return slots > layout.size(layout.begin) ? slots : layout.size(layout.begin);
    }

    Outcome with_memory(int threads) {
        const Index of_a_step = s.hidden * (3 * C::gates * (s.inputs + s.state()) + s.projection);
        threads = affordable(layout.slots() * of_a_step, threads);
        const Index hs = layout.rows * s.state(), cs = C::has_cell ? layout.rows * s.hidden : 0;
        T *h_zeros = nullptr, *c_zeros = nullptr, *panels = nullptr;
        return Scratch::with(
            [&](Scratch& scratch) {
                hh = scratch.take<T>(packed_product_size<T>(C::gates * s.hidden, s.state()));
                hr = scratch.take<T>(s.projection ? packed_product_size<T>(s.projection, s.hidden)
                                                  : 0);
                ih = scratch.take<T>(
                    g.d_input.data ? packed_product_size<T>(C::gates * s.hidden, s.inputs) : 0);
                rows = scratch.take<BackRow<T>>(layout.rows);
                d_raw = scratch.take<T>(s.projection ? layout.rows * s.hidden : 0);
                h_zeros = scratch.take<T>(g.h0 ? 0 : hs);
                c_zeros = scratch.take<T>(g.c0 ? 0 : cs);
                if (!g.d_h0) d_h = scratch.take<T>(hs);
                if (!g.d_c0) d_c = scratch.take<T>(cs);
                if (!g.sums) summed = scratch.take<T>(sums.memory(layout));
                panels = scratch.take<T>(threads * Sums<T, C>::panel_size);
                for (int i = 0; i < (threads > 1 ? 2 : 1); ++i) take_block(scratch, blocks[i]);
            },
            [&] {
                if (!g.h0) zero(h_zeros, hs), h0 = h_zeros;
                if (!g.c0) zero(c_zeros, cs), c0 = c_zeros;
                start(d_h, g.d_h_n, hs);
                start(d_c, g.d_c_n, cs);
                if (!g.sums) zero(summed, sums.memory(layout));
                pack(threads);
                share(threads, panels);
                if (g.gradients.any() && !stop.is_due()) sums.write(s, layout, summed, g.gradients);
                return stop.outcome();
            });
    }

    void pack(int threads) const {
        const Index gates = C::gates * s.hidden;
        threads = affordable(gates * (s.inputs + s.state()) * packing, threads);
        pack_product<T>({g.weights.hh, gates, s.state(), false, 0}, hh, threads);
        if (s.projection)  // d raw = hr^T * d h
            pack_product<T>({g.weights.hr, s.projection, s.hidden, false, 0}, hr, threads);
        // In the order in which the cell leaves its gates.
        const Index turn = Sums<T, C>::differ ? gates - s.hidden : 0;
        if (g.d_input.data)
            pack_product<T>({g.weights.ih, gates, s.inputs, false, turn}, ih, threads);
    }

    void take_block(Scratch& scratch, Block<T>& block) const {
        const Index projected = s.projection ? capacity : 0;
        block.input = scratch.take<const T*>(capacity);
        block.hidden = scratch.take<const T*>(capacity);
        block.raw = scratch.take<const T*>(projected);
        block.d_projected = scratch.take<const T*>(projected);
        T* numbers = scratch.take<T>(projected * s.projection);
        block.d_input = scratch.take<T*>(g.d_input.data ? capacity : 0);
        block.d_gates = scratch.take<T>(capacity * C::derivatives * s.hidden);
        for (Index slot = 0; numbers && slot < projected; ++slot)
            block.d_projected[slot] = numbers + slot * s.projection;
    }

    static void start(T* to, const T* from, Index count) {
        if (from == to) return;
        if (from) copy(to, from, count);
        else zero(to, count);
    }

    // --- the order of the work ------------------------------------------------------------------

    void share(int threads, T* panels) {
        Index bounds[most_threads + 1];
        on_threads(threads, [&](int thread, int all) {
            if (thread == 0) cut(layout, all, bounds);
            wait_for_all(all);
            T* panel = panels + thread * Sums<T, C>::panel_size;
            if (all > 1) at_once(bounds[thread], bounds[thread + 1], panel, thread, all);
            else one_by_one(panel);
        });
    }

    void one_by_one(T* panel) {
        Block<T>& block = blocks[0];
        for (Index end = layout.end - layout.begin; end > 0; end = block.begin) {
            extend(block, end);
            scan(block, 0, layout.rows, 0);
            for (Index task = 0; task < tasks(block); ++task) run_task(task, block, panel, 0);
        }
    }

    // While one block's products are shared out, the block that the scan comes to next is scanned
    // by who has rows in it. The results do not depend on who does what.
    void at_once(Index first, Index last, T* panel, int thread, int all) {
        // The same numbers on every thread, and on each its own: no thread reads what another
        // writes.
        Block<T> own[2] = {blocks[0], blocks[1]};
        Index end = layout.end - layout.begin;
        for (int turn = 0;; turn ^= 1) {
            Block<T>&mine = own[turn], &before = own[turn ^ 1];
            if (end > 0) {
                extend(mine, end);
                // Nobody claims of these before the barrier, and nobody has since the last one.
                if (thread == 0) next_task[turn] = 0;
                scan(mine, first, last, thread);
            }
            if (end < layout.end - layout.begin)
                for (Index task; (task = next_task[turn ^ 1]++) < tasks(before);)
                    run_task(task, before, panel, thread);
            if (end <= 0) return;
            end = mine.begin;
            wait_for_all(all);
        }
    }

    // The block that ends before the scan's step `end`: as many steps as it has room for.
    void extend(Block<T>& block, Index end) const {
        const Order order{layout};
        block.end = block.begin = end;
        block.slots = 0;
        block.closes = false;
        while (block.begin > 0 && !block.closes) {
            const Index t = order.step(block.begin - 1), size = layout.size(t);
            if (block.slots && block.slots + size > capacity) break;
            --block.begin;
            block.slots += size;
            block.closes = Sums<T, C>::has_totals(layout) &&
                           (layout.reverse ? t + 1 : t) % Sums<T, C>::stretch(layout) == 0;
        }
    }

    Index tasks(const Block<T>& block) const {
        const Index of_input = (block.slots + rows_of_task - 1) / rows_of_task;
        return sums.tasks(s) + (g.d_input.data ? of_input : 0);
    }

    void run_task(Index task, const Block<T>& block, T* panel, int thread) {
        const Index of_sums = sums.tasks(s);
        const Index of_slot = panel_width<T>(C::gates * s.hidden) * (s.inputs + s.state());
        if (stop.after(task < of_sums ? block.slots * of_slot
                                      : rows_of_task * C::gates * s.hidden * s.inputs,
                       thread))
            return;
        if (task < of_sums) return sums.run(s, task, block, summed, panel);
        const Index first = (task - of_sums) * rows_of_task, last = first + rows_of_task;
        product<T>(
            ih, C::gates * s.hidden, s.inputs, first, last < block.slots ? last : block.slots,
            [&](Index slot) -> const T* {
                return block.d_gates + slot * C::derivatives * s.hidden;
            },
            [&](Index slot) { return block.d_input[slot]; }, g.adds_to_input);
    }

    // --- the scan -------------------------------------------------------------------------------

    void scan(const Block<T>& block, Index first, Index last, int thread) {
        const Order order{layout};
        const Index state = s.state(), hidden = s.hidden;
        // All rows, but for sizes at which these would take longer than one waits for an answer.
        const Index of_row = C::gates * hidden * state, most = most_at_once / of_row;
        const Index at_a_time = most > rows_of_task ? most : rows_of_task;
        Index slot = 0;
        for (Index i = block.end - 1; i >= block.begin; --i) {
            const Index size = layout.size(order.step(i)), end = last < size ? last : size;
            place(i, first, end, block, slot);
            slot += size;
            if (s.projection)
                product<T>(
                    hr, state, hidden, first, end,
                    [&](Index b) -> const T* { return rows[b].d_output; },
                    [&](Index b) { return rows[b].d_hidden; }, false);
            for (Index b = first; b < end; ++b)
                for (Index unit = 0; unit < hidden; unit += lanes<T>)
                    C::backward(rows[b], unit, hidden - unit, hidden);
            for (Index from = first; from < end; from += at_a_time) {
                if (stop.after((end < from + at_a_time ? end - from : at_a_time) * of_row, thread))
                    return;
                product<T>(
                    hh, C::gates * hidden, state, from,
                    end < from + at_a_time ? end : from + at_a_time,
                    [&](Index b) -> const T* {
                        return rows[b].d_gates + C::recurrent_derivatives * hidden;
                    },
                    [&](Index b) { return rows[b].d_output; }, C::keeps_part_of_hidden);
            }
        }
    }

    // Where the rows read and write at the scan's step i, whose slots begin at `slot`.
    void place(Index i, Index first, Index end, const Block<T>& block, Index slot) {
        const Order order{layout};
        const Index t = order.step(i), before = i ? order.step(i - 1) : t;
        const Index fresh = order.fresh(i, first, end), state = s.state(), hidden = s.hidden;
        const Index kept = layout.slot(t), kept_before = layout.slot(before);
        const T* input = g.input.at(layout, t, 0);
        const T* output = g.output.at(layout, t, 0);
        const T* output_before = g.output.at(layout, before, 0);
        const T* d_output = g.d_output.data ? g.d_output.at(layout, t, 0) : nullptr;
        T* d_input = g.d_input.data ? g.d_input.at(layout, t, 0) : nullptr;
        for (Index b = first; b < end; ++b) {
            const bool starts = b >= fresh;
            BackRow<T>& row = rows[b];
            row.hidden_before = starts ? h0 + b * state : output_before + b * g.output.row;
            row.hidden = output + b * g.output.row;
            row.gates = g.gates ? g.gates + (kept + b) * C::kept * hidden : nullptr;
            row.d_gates = block.d_gates + (slot + b) * C::derivatives * hidden;
            row.d_output = d_h + b * state;
            row.d_hidden = s.projection ? d_raw + b * hidden : row.d_output;
            if constexpr (C::has_cell) {
                row.cell = g.cells + (kept + b) * hidden;
                row.cell_before = starts ? c0 + b * hidden : g.cells + (kept_before + b) * hidden;
                row.d_cell = d_c + b * hidden;
            }
            if (g.carried_h) copy(g.carried_h + (kept + b) * state, row.d_output, state);
            if (C::has_cell && g.carried_c)
                copy(g.carried_c + (kept + b) * hidden, d_c + b * hidden, hidden);
            if (d_output) add(row.d_output, d_output + b * g.d_output.row, state);
            if (g.total_h) copy(g.total_h + (kept + b) * state, row.d_output, state);
            block.input[slot + b] = input + b * g.input.row;
            block.hidden[slot + b] = row.hidden_before;
            if (d_input) block.d_input[slot + b] = d_input + b * g.d_input.row;
            if (s.projection) {
                block.raw[slot + b] = g.raw + (kept + b) * hidden;
                copy(const_cast<T*>(block.d_projected[slot + b]), row.d_output, state);
            }
        }
    }

    static void add(T* to, const T* from, Index count) {
        for (Index i = 0; i < count; i += lanes<T>)
            store(to + i, load(to + i, count - i) + load(from + i, count - i), count - i);
    }
};

}  // namespace unrolled::UNROLLED_ISA
