// A program's forward scan: rows shared out to threads, each row from its first step to its last.
#pragma once
#include "program_memory.h"

namespace unrolled::UNROLLED_ISA {

template <class O>
struct ProgramForwardScan {
    using T = typename O::Sum;
    const Program& p;
    const Equations& e;
    const Layout& layout;
    const Forward<T>& f;
    ProgramMemory<O> memory;
    const T** before;  // f's, or zeros
    Stop stop;

    static Outcome run(const Program& p, const Layout& layout, const Forward<T>& f, int threads,
                       Interrupt interrupt) {
        const Equations& e = f.kept ? p.train : p.infer;
        threads = affordable(layout.slots() * work(e), threads);
        if (threads > layout.rows) threads = layout.rows < 1 ? 1 : static_cast<int>(layout.rows);
        ProgramForwardScan scan{p, e, layout, f, {p, e}, nullptr, Stop(interrupt)};
        T* zeros = nullptr;
        Index none = 0;
        for (int i = 0; i < p.states.count; ++i)
            if (!f.before[i] && p.states.data[i] > none) none = p.states.data[i];
        none *= layout.rows;
        return Scratch::with(
            [&](Scratch& scratch) {
                scan.memory.take(scratch, layout.rows, threads);
                scan.before = scratch.take<const T*>(p.states.count);
                zeros = scratch.take<T>(none);
            },
            [&] {
                zero(zeros, none);
                for (int i = 0; i < p.states.count; ++i)
                    scan.before[i] = f.before[i] ? f.before[i] : zeros;
                scan.memory.start(f.weights, threads);
                scan.share(threads);
                return scan.stop.outcome();
            });
    }

   private:
    void share(int threads) {
        Index bounds[most_threads + 1];
        on_threads(threads, [&](int thread, int all) {
            if (thread == 0) cut(layout, all, bounds);
            wait_for_all(all);
            scan_rows(bounds[thread], bounds[thread + 1], thread);
        });
    }

    // Whether a state is kept after every step; else its place is f.after's, step after step.
    bool is_kept(Index state) const { return f.kept && p.state_places.data[state] >= 0; }

    void scan_rows(Index first, Index last, int thread) {
        const Order order{layout};
        Tile<O>& tile = memory.tile(thread);
        for (Index i = 1; i < p.states.count; ++i) {
            const Index units = p.states.data[i];
            if (!is_kept(i))
                copy(f.after[i] + first * units, before[i] + first * units, (last - first) * units);
        }
        tile.moving = {};
        for (int o = 0; o < e.operands.count; ++o)
            if (moves(e.operands.data[o])) tile.moves(o);
            else place_fixed(tile, o);
        for (Index i = 0; i < order.count(); ++i) {
            const Index t = order.step(i), size = layout.size(t);
            const Index end = last < size ? last : size;
            const Index fresh = order.fresh(i, first, end);
            if (step(tile, i, first, fresh, false, thread)) return;
            if (step(tile, i, fresh, end, true, thread)) return;
            // Here some rows come to their end: all that are left, or those that the next lacks.
            const Index next = i + 1 < order.count() ? layout.size(order.step(i + 1)) : 0;
            if (next < end) finish(t, next < first ? first : next, end);
        }
        const Index any = layout.size(layout.begin);  // from here on a row has no step
        for (Index s = 0; s < p.states.count; ++s) {
            const Index from = any < first ? first : any, units = p.states.data[s];
            if (from < last)
                copy(f.after[s] + from * units, before[s] + from * units, (last - from) * units);
        }
    }

    bool step(Tile<O>& tile, Index i, Index first, Index end, bool starts, int thread) {
        if (first >= end) return false;
        for_each(tile.moving, [&](int o) { place(tile, o, i, starts); });
        return memory.run(thread, first, end, [&](Index work) { return stop.after(work, thread); });
    }

    // The states after a row's last step.
    void finish(Index t, Index first, Index end) {
        for (Index s = 0; s < p.states.count; ++s) {
            const Index units = p.states.data[s];
            if (s && !is_kept(s)) continue;
            for (Index b = first; b < end; ++b)
                copy(f.after[s] + b * units,
                     s ? kept(t, p.state_places.data[s]) + b * p.kept : f.output.at(layout, t, b),
                     units);
        }
    }

    T* kept(Index t, Index place) const { return f.kept[0] + layout.slot(t) * p.kept + place; }

    // Whether an operand lies elsewhere at every step.
    bool moves(const Operand& operand) const {
        switch (operand.kind) {
            case Kind::input:
            case Kind::kept: return true;
            case Kind::before:
            case Kind::after: return operand.index == 0 || is_kept(operand.index);
            default: return false;
        }
    }

    // Where it lies at every step.
    void place_fixed(Tile<O>& tile, int o) {
        const Operand& operand = e.operands.data[o];
        if (operand.kind == Kind::constant)
            tile.bind(o, const_cast<T*>(f.constants[operand.index]), operand.units);
        else if (operand.kind == Kind::before || operand.kind == Kind::after)
            tile.bind(o, f.after[operand.index], operand.units);
    }

    // Where it lies at the scan's step i, of rows that start there or go on.
    void place(Tile<O>& tile, int o, Index i, bool starts) {
        const Operand& operand = e.operands.data[o];
        const Order order{layout};
        const Index t = order.step(i);
        switch (operand.kind) {
            case Kind::input: {
                const Matrix<const T>& input = f.inputs[operand.index];
                return tile.bind(o, const_cast<T*>(input.at(layout, t, 0)), input.row);
            }
            case Kind::kept: return tile.bind(o, kept(t, operand.index), p.kept);
            case Kind::after:
                if (operand.index == 0) tile.bind(o, f.output.at(layout, t, 0), f.output.row);
                else tile.bind(o, kept(t, p.state_places.data[operand.index]), p.kept);
                return;
            case Kind::before: {
                const Index state = operand.index;
                if (starts) return tile.bind(o, const_cast<T*>(before[state]), operand.units);
                const Index from = order.step(i - 1);
                if (state == 0) tile.bind(o, f.output.at(layout, from, 0), f.output.row);
                else tile.bind(o, kept(from, p.state_places.data[state]), p.kept);
                return;
            }
            default: return;
        }
    }
};

}  // namespace unrolled::UNROLLED_ISA
