// A program's backward scan: see blocks.h for the order of its work.
#pragma once
#include "blocks.h"
#include "program_memory.h"

namespace unrolled::UNROLLED_ISA {

// The sums of the wanted weights' gradients.
template <class O>
class ProgramSums {
    using T = typename O::Sum;

   public:
    Sums<O> sums;

    ProgramSums(const Program& p, Wanted wanted) : sums(p.derivatives), p_(p) {
        for (int i = 0; i < p.weight_gradients.count; ++i) {
            const WeightGradient& g = p.weight_gradients.data[i];
            bool any = false;
            for (int k = 0; k < g.pieces; ++k) any |= wanted >> piece(g, k).weight & 1u;
            const Index count = g.of < 0 ? 1 : p.back.operands.data[g.of].units;
            part_[i] = any ? sums.add(g.of < 0 ? Sums<O>::ones : i, count, g.begin, g.width) : -1;
        }
    }

    // Whether a slot is to say what it read for this gradient.
    bool reads(int i) const { return part_[i] >= 0 && p_.weight_gradients.data[i].of >= 0; }

    void write(const T* summed, T* const* gradients) const {
        for (int i = 0; i < p_.weight_gradients.count; ++i) {
            const WeightGradient& g = p_.weight_gradients.data[i];
            if (part_[i] < 0) continue;
            const Index count = g.of < 0 ? 1 : p_.back.operands.data[g.of].units;
            Index begin = 0;
            for (int k = 0; k < g.pieces; begin += piece(g, k++).rows) {
                T* const to = gradients[piece(g, k).weight];
                if (to)
                    sums.write(part_[i], summed, begin, piece(g, k).rows,
                               to + piece(g, k).row * count);
            }
        }
    }

   private:
    const Piece& piece(const WeightGradient& g, int k) const {
        return p_.pieces.data[g.first_piece + k];
    }

    const Program& p_;
    int part_[most_parts];
};

template <class O>
struct ProgramBackwardScan {
    using T = typename O::Sum;
    const Program& p;
    const Equations& e;
    const Layout& layout;
    const Backward<T>& g;
    const ProgramSums<O> weights;
    const Sums<O>& sums = weights.sums;
    Blocks<O> blocks;
    ProgramMemory<O> memory;
    T* summed;         // g's, or our own
    T* products;       // packed: those of the stages, then those with the input's gradient
    const T** before;  // g's, or zeros
    T** d_states;      // the loss by the states as the scan goes back: g's, or our own
    T** d_constants;
    T* d_input;  // [B, I], where it is not wanted
    Stop stop;

    ProgramBackwardScan(const Program& p, const Layout& layout, const Backward<T>& g,
                        Interrupt interrupt)
        : p(p), e(p.back), layout(layout), g(g), weights(p, g.wanted), blocks(layout, sums),
          memory(p, e), summed(g.sums), stop(interrupt) {}

    static Outcome run(const Program& p, const Layout& layout, const Backward<T>& g, int threads,
                       Interrupt interrupt) {
        ProgramBackwardScan scan(p, layout, g, interrupt);
        return scan.with_memory(threads);
    }

   private:
    // --- memory ---------------------------------------------------------------------------------

    Outcome with_memory(int threads) {
        threads = affordable(layout.slots() * (work(e) + 2 * work_of_products()), threads);
        T* zeros = nullptr;
        const Index rows = layout.rows;
        return Scratch::with(
            [&](Scratch& scratch) {
                memory.take(scratch, rows, threads);
                products = scratch.take<T>(size_of_products());
                before = scratch.take<const T*>(p.states.count);
                d_states = scratch.take<T*>(p.states.count);
                d_constants = scratch.take<T*>(p.constants.count);
                Index largest = 0;
                for (int i = 0; i < p.states.count; ++i) {
                    if (p.states.data[i] > largest) largest = p.states.data[i];
                    T* const own = scratch.take<T>(g.d_before[i] ? 0 : rows * p.states.data[i]);
                    if (d_states) d_states[i] = g.d_before[i] ? g.d_before[i] : own;
                }
                for (int i = 0; i < p.constants.count; ++i) {
                    T* const own =
                        scratch.take<T>(g.d_constants[i] ? 0 : rows * p.constants.data[i]);
                    if (d_constants) d_constants[i] = g.d_constants[i] ? g.d_constants[i] : own;
                }
                d_input = scratch.take<T>(g.d_input.data ? 0 : rows * p.inputs.data[0]);
                zeros = scratch.take<T>(rows * largest);
                if (!g.sums) summed = scratch.take<T>(sums.memory(layout));
                blocks.take(scratch, p.weight_gradients.count, g.d_input.data, threads);
            },
            [&] {
                for (int i = 0; i < p.states.count; ++i) {
                    const Index count = rows * p.states.data[i];
                    zero(zeros, count);
                    before[i] = g.before[i] ? g.before[i] : zeros;
                    if (!g.d_after[i]) zero(d_states[i], count);
                    else if (g.d_after[i] != d_states[i]) copy(d_states[i], g.d_after[i], count);
                }
                for (int i = 0; i < p.constants.count; ++i)
                    if (!g.d_constants[i]) zero(d_constants[i], rows * p.constants.data[i]);
                if (!g.d_input.data) zero(d_input, rows * p.inputs.data[0]);
                if (!g.sums) zero(summed, sums.memory(layout));
                memory.start(g.weights, threads);
                pack(threads);
                share(threads);
                if (g.gradients && !stop.is_due()) {
                    sums.finish(layout, summed);
                    weights.write(summed, g.gradients);
                }
                return stop.outcome();
            });
    }

    // Calls f(total, its operand) for all products, those with the input's gradient last.
    template <class F>
    void for_products(F f) const {
        for_each(e.stages, [&](const Stage& stage) { for_each(stage.back_totals, f); });
        if (g.d_input.data) for_each(p.to_input, f);
    }

    Index units(const BackTotal& total) const { return e.operands.data[total.to].units; }
    Index width(const BackTotal& total) const {
        Index all = 0;
        for (int k = 0; k < total.pieces; ++k) all += p.pieces.data[total.first_piece + k].rows;
        return all;
    }
    Index size(const BackTotal& total) const {
        return packed_product_size<T>(width(total), units(total));
    }

    Index size_of_products() const {
        Index all = 0;
        for_products([&](const BackTotal& total) { all += size(total); });
        return all;
    }
    Index work_of_products() const {
        Index all = 0;
        for_products([&](const BackTotal& total) { all += width(total) * units(total); });
        return all;
    }

    void pack(int threads) const {
        T* to = products;
        threads = affordable(size_of_products() * packing, threads);
        for_products([&](const BackTotal& total) {
            const Index columns = units(total), k_end = width(total);
            const Index panel = panel_width<T>(columns);
            for_all(panels<T>(columns), threads, [&](Index number) {
                T* here = to + number * panel * k_end;
                for (int k = 0; k < total.pieces; ++k) {
                    const Piece& piece = p.pieces.data[total.first_piece + k];
                    const T* w = g.weights[piece.weight] + piece.row * columns;
                    pack_panel<T>({w, piece.rows, columns, false, 0}, number * panel, here);
                    here += piece.rows * panel;
                }
                combine_lines<O>(to + number * panel * k_end, k_end, panel / lanes<T>);
            });
            to += size(total);
        });
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
        return sums.tasks() + (g.d_input.data && p.to_input.count ? rows_apart : 0);
    }

    void run_task(Index task, const Block<O>& block, T* panel, int thread) {
        const Index of_sums = sums.tasks();
        if (task < of_sums) {
            if (stop.after(block.slots * sums.work(task), thread)) return;
            return sums.run(task, layout, block, summed, panel);
        }
        const T* packed = products;
        for_each(e.stages, [&](const Stage& stage) {
            for_each(stage.back_totals, [&](const BackTotal& total) { packed += size(total); });
        });
        const Index first = (task - of_sums) * rows_of_task, last = first + rows_of_task;
        bool adds = g.adds_to_input;
        for_each(p.to_input, [&](const BackTotal& total) {
            if (stop.after(rows_of_task * width(total) * units(total), thread)) return;
            product<O>(
                packed, width(total), units(total), first, last < block.slots ? last : block.slots,
                [&](Index slot) { return block.multiplied(slot * sums.row + total.begin); },
                [&](Index slot) { return block.d_input[slot]; }, adds);
            packed += size(total);
            adds = true;
        });
    }

    // --- the scan -------------------------------------------------------------------------------

    void scan(const Block<O>& block, Index first, Index last, int thread) {
        const Order order{layout};
        Tile<O>& tile = memory.tile(thread);
        tile.moving = {};
        for (int o = 0; o < e.operands.count; ++o)
            if (moves(e.operands.data[o])) tile.moves(o);
            else place_fixed(tile, o);
        Index slot = 0;
        for (Index i = block.end - 1; i >= block.begin; --i) {
            const Index size = layout.size(order.step(i)), end = last < size ? last : size;
            const Index fresh = order.fresh(i, first, end);
            if (step(tile, i, first, fresh, false, block, slot, thread)) return;
            if (step(tile, i, fresh, end, true, block, slot, thread)) return;
            slot += size;
        }
    }

    bool step(Tile<O>& tile, Index i, Index first, Index end, bool starts, const Block<O>& block,
              Index slot, int thread) {
        if (first >= end) return false;
        for_each(tile.moving, [&](int o) { place(tile, o, i, starts, block, slot); });
        hand_on(tile, i, first, end, block, slot);
        return memory.in_turns(thread, first, end, [&](Index from, Index until) {
            return run_stages(tile, from, until, block, slot, thread);
        });
    }

    bool run_stages(Tile<O>& tile, Index first, Index end, const Block<O>& block, Index slot,
                    int thread) {
        const T *weights_here = memory.packed(), *packed = products;
        bool is_due = false;
        for_each(e.stages, [&](const Stage& stage) {
            if (is_due) return;
            const Index of_unit = (end - first) * (stage.length + 4 * stage.instructions.count);
            is_due = tile.run(p, stage, weights_here, first, end,
                              [&](Index units) { return stop.after(units * of_unit, thread); });
            weights_here += PackedStage<O>::size(stage);
            if (O::rounds && !is_due) round(stage, first, end, block, slot);
            for_each(stage.back_totals, [&](const BackTotal& total) {
                if (!is_due)
                    is_due = multiply(tile, total, packed, first, end, block, slot, thread);
                packed += size(total);
            });
        });
        return is_due;
    }

    // What a stage has written of the derivatives.
    void round(const Stage& stage, Index first, Index end, const Block<O>& block, Index slot) {
        for_each(stage.stores, [&](int o) {
            const Operand& operand = e.operands.data[o];
            if (operand.kind != Kind::derivative) return;
            for (Index b = first; b < end; ++b)
                block.round((slot + b) * sums.row + operand.index, operand.units);
        });
    }

    bool multiply(Tile<O>& tile, const BackTotal& total, const T* packed, Index first, Index end,
                  const Block<O>& block, Index slot, int thread) {
        // All rows, but for sizes at which these would take longer than one waits for an answer.
        const Index of_row = width(total) * units(total), most = most_at_once / (of_row + 1);
        const Index at_a_time = most > rows_of_task ? most : rows_of_task;
        const Bound<T>& to = tile.memory[total.to];
        for (Index from = first; from < end; from += at_a_time) {
            const Index until = end < from + at_a_time ? end : from + at_a_time;
            if (stop.after((until - from) * of_row, thread)) return true;
            product<O>(
                packed, width(total), units(total), from, until,
                [&](Index b) { return block.multiplied((slot + b) * sums.row + total.begin); },
                [&](Index b) { return to.data + b * to.of_row; }, total.adds);
        }
        return false;
    }

    // What the rows hand over at the scan's step i: to who wants to know what the loss says of the
    // states, from what it says of the output, and to the sums.
    void hand_on(Tile<O>& tile, Index i, Index first, Index end, const Block<O>& block,
                 Index slot) {
        const Order order{layout};
        const Index t = order.step(i), kept = layout.slot(t);
        for (int s = 0; s < p.states.count; ++s) {
            const Index units = p.states.data[s];
            for (Index b = first; g.carried[s] && b < end; ++b)
                copy(g.carried[s] + (kept + b) * units, d_states[s] + b * units, units);
        }
        const Index units = p.states.data[0];
        for (Index b = first; b < end; ++b) {
            if (g.d_output.data) add(d_states[0] + b * units, g.d_output.at(layout, t, b), units);
            if (g.total) copy(g.total + (kept + b) * units, d_states[0] + b * units, units);
            if (g.d_input.data) block.d_input[slot + b] = g.d_input.at(layout, t, b);
        }
        for (int k = 0; k < p.weight_gradients.count; ++k) {
            if (!weights.reads(k)) continue;
            const Bound<T>& from = tile.memory[p.weight_gradients.data[k].of];
            for (Index b = first; b < end; ++b)
                block.read[k][slot + b] = from.data + b * from.of_row;
        }
    }

    static void add(T* to, const T* from, Index count) {
        for (Index i = 0; i < count; i += lanes<T>)
            store(to + i, load(to + i, count - i) + load(from + i, count - i), count - i);
    }

    const T* kept(Index t, Index place) const {
        return g.kept[0] + layout.slot(t) * p.kept + place;
    }

    // Whether an operand lies elsewhere at every step.
    bool moves(const Operand& operand) const {
        switch (operand.kind) {
            case Kind::input:
            case Kind::before:
            case Kind::after:
            case Kind::kept:
            case Kind::derivative: return true;
            case Kind::d_input: return g.d_input.data;
            default: return false;
        }
    }

    // Where it lies at every step.
    void place_fixed(Tile<O>& tile, int o) {
        const Operand& operand = e.operands.data[o];
        switch (operand.kind) {
            case Kind::constant:
                return tile.bind(o, const_cast<T*>(g.constants[operand.index]), operand.units);
            case Kind::d_state: return tile.bind(o, d_states[operand.index], operand.units);
            case Kind::d_constant: return tile.bind(o, d_constants[operand.index], operand.units);
            case Kind::d_input: return tile.bind(o, d_input, operand.units);
            default: return;
        }
    }

    // Where it lies at the scan's step i, of rows whose first that is, or not, and whose slots
    // begin at `slot`.
    void place(Tile<O>& tile, int o, Index i, bool starts, const Block<O>& block, Index slot) {
        const Operand& operand = e.operands.data[o];
        const Order order{layout};
        const Index t = order.step(i);
        const auto bind = [&](const T* data, Index row) {
            tile.bind(o, const_cast<T*>(data), row);
        };
        switch (operand.kind) {
            case Kind::input: {
                const Matrix<const T>& input = g.inputs[operand.index];
                return bind(input.at(layout, t, 0), input.row);
            }
            case Kind::kept: return bind(kept(t, operand.index), p.kept);
            case Kind::derivative:
                return bind(block.derivatives + slot * sums.row + operand.index, sums.row);
            case Kind::d_input: return bind(g.d_input.at(layout, t, 0), g.d_input.row);
            case Kind::before:
                if (starts) return bind(before[operand.index], operand.units);
                return place_state(bind, operand.index, order.step(i - 1));
            case Kind::after: return place_state(bind, operand.index, t);
            default: return;
        }
    }

    template <class Bind>
    void place_state(Bind bind, Index state, Index t) {
        if (state == 0) bind(g.output.at(layout, t, 0), g.output.row);
        else bind(kept(t, p.state_places.data[state]), p.kept);
    }
};

}  // namespace unrolled::UNROLLED_ISA
