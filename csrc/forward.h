// The forward scan: rows shared out to threads, each row from its first step to its last.
#pragma once
#include "block.h"
#include "share.h"

namespace unrolled::UNROLLED_ISA {

template <class O, class C>
struct ForwardScan {
    using T = typename O::Sum;
    using Number = typename O::Number;
    using P = Packed<O, C>;
    const Shape& s;
    const Layout& layout;
    const Forward<T>& f;
    const T* packed;  // the weights as the kernels read them
    Row<T>* rows;     // [B]
    Reads<O>* reads;
    Number* rounded;  // [B, ·] the input, P and H, as products read them, if not as they are
    T* raw;           // [B, H], where it is not kept
    const T* h0;      // f's, or zeros
    const T* c0;
    T *h_n, *c_n;
    Kept<T> kept;
    Stop stop;

    ForwardScan(const Shape& s, const Layout& layout, const Forward<T>& f, Interrupt interrupt)
        : s(s), layout(layout), f(f), h0(f.before[0]), c0(C::has_cell ? f.before[1] : nullptr),
          h_n(f.after[0]), c_n(C::has_cell ? f.after[1] : nullptr), kept(named_kept(s, f.kept)),
          stop(interrupt) {}

    static Index packed_size(const Shape& s) { return P::size(s) + projection_size(s); }

    static void pack(const Shape& s, const T* const* list, T* packed, int threads) {
        const Weights<const T> weights = named_weights(s, list);
        P::write(s, weights, packed, threads);
        if (s.projection)  // h = hr * raw
            pack_product<O>({weights.hr, s.hidden, s.projection, true, 0}, packed + P::size(s),
                            threads);
    }

    static Outcome run(const Shape& s, const Layout& layout, const Forward<T>& f, const T* packed,
                       int threads, Interrupt interrupt) {
        ForwardScan scan(s, layout, f, interrupt);
        T *zeros = nullptr, *own = nullptr;
        const Index none = layout.rows * (s.hidden > s.state() ? s.hidden : s.state());
        const bool lacks = !scan.h0 || (C::has_cell && !scan.c0);
        return Scratch::with(
            [&](Scratch& scratch) {
                own = scratch.take<T>(packed ? 0 : packed_size(s));
                scan.rows = scratch.take<Row<T>>(layout.rows);
                scan.reads = scratch.take<Reads<O>>(layout.rows);
                scan.rounded = scratch.take<Number>(O::rounds ? layout.rows * rounded_size(s) : 0);
                scan.raw =
                    scratch.take<T>(s.projection && !scan.kept.raw ? layout.rows * s.hidden : 0);
                zeros = scratch.take<T>(lacks ? none : 0);
            },
            [&] {
                if (lacks) zero(zeros, none);
                if (!scan.h0) scan.h0 = zeros;
                if (!scan.c0) scan.c0 = zeros;
                if (!packed) pack(s, f.weights, own, affordable(packed_size(s) * packing, threads));
                scan.packed = packed ? packed : own;
                scan.share(threads);
                return scan.stop.outcome();
            });
    }

   private:
    static Index projection_size(const Shape& s) {
        return s.projection ? packed_product_size<T>(O::lines(s.hidden), s.projection) : 0;
    }
    static Index rounded_size(const Shape& s) {
        return O::room(s.inputs) + O::room(s.state()) + (s.projection ? O::room(s.hidden) : 0);
    }

    void share(int threads) {
        const Index of_a_step = s.hidden * (C::gates * (s.inputs + s.state()) + s.projection);
        threads = affordable(layout.slots() * of_a_step, threads);
        if (threads > layout.rows) threads = static_cast<int>(layout.rows);
        Index bounds[most_threads + 1];
        on_threads(threads, [&](int thread, int all) {
            if (thread == 0) cut(layout, all, bounds);
            wait_for_all(all);
            scan_rows(bounds[thread], bounds[thread + 1], thread);
        });
    }

    void scan_rows(Index first, Index last, int thread) {
        const Order order{layout};
        const Index state = s.state(), hidden = s.hidden;
        const Index of_block = P::width * C::gates * (s.inputs + state);
        if (C::has_cell && !kept.cells)
            copy(c_n + first * hidden, c0 + first * hidden, (last - first) * hidden);
        for (Index i = 0; i < order.count(); ++i) {
            const Index t = order.step(i), size = layout.size(t);
            const Index end = last < size ? last : size;
            place(i, first, end);
            for (Index block = 0; block < P::blocks(s); ++block) {
                step_block(block, first, end);
                if (stop.after((end - first) * of_block, thread)) return;
            }
            if (s.projection) project(first, end);
        }
        const Index any = layout.size(layout.begin);  // from here on a row has no step
        for (Index b = first; b < last; ++b) {
            copy(h_n + b * state, b < any ? rows[b].output : h0 + b * state, state);
            if constexpr (C::has_cell) {
                if (kept.cells)
                    copy(c_n + b * hidden, b < any ? rows[b].cell : c0 + b * hidden, hidden);
            }
        }
    }

    // Where the rows read and write at the scan's step i.
    void place(Index i, Index first, Index end) {
        const Order order{layout};
        const Index t = order.step(i), before = i ? order.step(i - 1) : t;
        const Index fresh = order.fresh(i, first, end), state = s.state(), hidden = s.hidden;
        const Index slot = layout.slot(t), slot_before = layout.slot(before);
        const T* input = f.inputs[0].at(layout, t, 0);
        T* output = f.output.at(layout, t, 0);
        const T* output_before = f.output.at(layout, before, 0);
        for (Index b = first; b < end; ++b) {
            const bool starts = b >= fresh;
            Row<T>& row = rows[b];
            row.hidden_before = starts ? h0 + b * state : output_before + b * f.output.row;
            Number* const here = rounded + b * rounded_size(s);
            reads[b] = {read(input + b * f.inputs[0].row, s.inputs, here),
                        read(row.hidden_before, state, here + O::room(s.inputs))};
            row.output = output + b * f.output.row;
            row.gates = kept.gates ? kept.gates + (slot + b) * C::kept * hidden : nullptr;
            if constexpr (C::has_cell) {
                row.cell = kept.cells ? kept.cells + (slot + b) * hidden : c_n + b * hidden;
                row.cell_before = !kept.cells ? row.cell
                                  : starts    ? c0 + b * hidden
                                              : kept.cells + (slot_before + b) * hidden;
            }
            row.hidden = !s.projection ? row.output
                         : kept.raw    ? kept.raw + (slot + b) * hidden
                                       : raw + b * hidden;
        }
    }

    void project(Index first, Index end) {
        const Index place = O::room(s.inputs) + O::room(s.state());
        for (Index b = first; b < end; ++b)
            reads[b].hidden = read(rows[b].hidden, s.hidden, rounded + b * rounded_size(s) + place);
        product<O>(
            packed + P::size(s), s.hidden, s.state(), first, end,
            [&](Index b) { return reads[b].hidden; }, [&](Index b) { return rows[b].output; },
            false);
    }

    // The numbers as products read them.
    static const Number* read(const T* from, Index count, Number* to) {
        if constexpr (O::rounds) {
            return O::narrow(from, count, to);
        } else {
            return from;
        }
    }

    // One step of a block of units of these rows.
    void step_block(Index block, Index first, Index end) {
        const T* weights = packed + block * P::block_size(s);
        const Index unit = block * P::width;
        for_tiles(first, end, [&]<int R>(Index row) {
            step_tile<O, C, R>(s, weights, rows + row, reads + row, unit, s.hidden - unit);
        });
    }
};

}  // namespace unrolled::UNROLLED_ISA
