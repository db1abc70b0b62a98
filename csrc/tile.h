// One thread's run through the stages of a program, a block of units of a few rows at a time.
#pragma once
#include "instructions.h"
#include "matmul.h"
#include "memory.h"

namespace unrolled::UNROLLED_ISA {

// Where an operand's numbers are: of row b, from `unit` on, at data + b * of_row + unit * of_unit;
// then a row further at `row`, a vector at `step`.
template <class T>
struct Bound {
    T* data;
    Index of_row, of_unit, row, step;

    Lies<T> at(Index b, Index unit) const {
        return {data + b * of_row + unit * of_unit, row, step};
    }
};

// So many rows of a block: one look at an instruction does for all of them.
constexpr Index block_rows = 12;
constexpr Index block_vectors = 4;

// Calls f.template operator()<V>(unit) for the blocks of V vectors that so many units are cut into.
// Only the last one may be partly filled, and has one vector.
template <class T, class F>
UNROLLED_INLINE void for_blocks(Index units, F f) {
    Index unit = 0;
    for (; unit + 4 * lanes<T> <= units; unit += 4 * lanes<T>) f.template operator()<4>(unit);
    if (unit + 2 * lanes<T> <= units) f.template operator()<2>(unit), unit += 2 * lanes<T>;
    for (; unit < units; unit += lanes<T>) f.template operator()<1>(unit);
}

template <class X, class F>
UNROLLED_INLINE void for_each(const List<X>& list, F f) {
    for (int i = 0; i < list.count; ++i) f(list.data[i]);
}

// --- sums of products
// -----------------------------------------------------------------------------

// The weights of a stage's sums as the kernels read them. Sums that multiply the same operands
// stand side by side, in panels of up to four columns, each a vector of units of one sum. For each
// block of units, for each panel: the biases of its columns, and then, operand after operand,
// number after number, their weights.
template <class O>
class PackedStage {
    using T = typename O::Sum;

   public:
    static Index size(const Stage& stage) {
        Index all = 0;
        for_blocks<T>(stage.units, [&]<int V>(Index) { all += block_size<V>(stage); });
        return all;
    }

    // Each thread packs the blocks whose turn it is.
    static void write(const Program& p, const Equations& e, const Stage& stage,
                      const T* const* weights, T* packed, int thread, int threads) {
        int turn = 0;
        for_blocks<T>(stage.units, [&]<int V>(Index unit) {
            if (turn++ % threads == thread) write_block<V>(p, e, stage, weights, unit, packed);
            packed += block_size<V>(stage);
        });
    }

    template <int V>
    static Index block_size(const Stage& stage) {
        return V * lanes<T> * stage.length;
    }

   private:
    template <int V>
    static void write_block(const Program& p, const Equations& e, const Stage& stage,
                            const T* const* weights, Index unit, T* to) {
        for_each(stage.alike, [&](const Alike& alike) {
            const int columns = alike.count * V;
            for (int begin = 0; begin < columns; begin += 4) {
                const int some = columns - begin < 4 ? columns - begin : 4;
                for (int c = 0; c < some; ++c, to += lanes<T>)
                    write_biases(p, stage.units, total(stage, alike, begin + c, V), weights,
                                 first_unit<V>(unit, begin + c), to);
                const Total& first = total(stage, alike, begin, V);
                for (int i = 0; i < first.terms; ++i) {
                    const int of = p.terms.data[first.first_term + i].of;
                    const Index k_end = e.operands.data[of].units;
                    for (int c = 0; c < some; ++c) {
                        const Total& here = total(stage, alike, begin + c, V);
                        const Term& term = p.terms.data[here.first_term + i];
                        write_column(weights[term.weight] + term.row * k_end, k_end, stage.units,
                                     first_unit<V>(unit, begin + c), to + c * lanes<T>,
                                     some * lanes<T>);
                    }
                    combine_lines<O>(to, k_end, some);
                    to += k_end * some * lanes<T>;
                }
            }
        });
    }

    static const Total& total(const Stage& stage, const Alike& alike, int column, int vectors) {
        return stage.totals.data[alike.first + column / vectors];
    }
    template <int V>
    static Index first_unit(Index unit, int column) {
        return unit + column % V * lanes<T>;
    }

    static void write_biases(const Program& p, Index units, const Total& total,
                             const T* const* weights, Index unit, T* to) {
        for (Index i = 0; i < lanes<T>; ++i) {
            to[i] = T(0);
            if (unit + i >= units) continue;
            for (int b = 0; b < total.biases; ++b) {
                const Bias& bias = p.biases.data[total.first_bias + b];
                to[i] += weights[bias.weight][bias.row + unit + i];
            }
        }
    }

    static void write_column(const T* w, Index k_end, Index units, Index unit, T* to, Index step) {
        const Index left = units - unit;
        for (Index k = 0; k < k_end; k += lanes<T>) {
            const Index some = k_end - k < lanes<T> ? k_end - k : lanes<T>;
            if (left < lanes<T>)
                for (Index i = 0; i < some; ++i) store(to + (k + i) * step, Vec<T>{});
            copy_transposed(w + unit * k_end + k, k_end, left, some, to + k * step, step);
        }
    }
};

// --- a thread's run
// -------------------------------------------------------------------------------

template <class O>
class Tile {
    using T = typename O::Sum;
    using Number = typename O::Number;

   public:
    // What memory it needs, with that of the equations' buffers.
    static void take(Scratch& scratch, const Equations& e, Tile& tile) {
        const Index operands = e.operands.count;
        tile.memory = scratch.take<Bound<T>>(operands);
        tile.whole = scratch.take<Bound<T>>(operands);
        tile.partly = scratch.take<Bound<T>>(operands);
        tile.moving_ = scratch.take<int>(operands);
        tile.scratch = scratch.take<T>(e.scratch * block_rows * row_width(e));
        tile.ends = scratch.take<T>(operands * block_rows * lanes<T>);
    }

    static Index row_width(const Equations& e) {
        Index vectors = 1;
        for_each(e.stages, [&](const Stage& stage) {
            for_blocks<T>(stage.units, [&]<int V>(Index) {
                if (V > vectors) vectors = V;
            });
        });
        return vectors * lanes<T>;
    }

    // An operand in memory: of row b at data + b * row.
    void bind(int operand, T* data, Index row) {
        memory[operand] = {data, row, 1, row, lanes<T>};
        if (e->operands.data[operand].units > 1) whole[operand] = memory[operand];
    }

    // All that has the same place at every step. `vectors` are the weights that stand in equations,
    // with room for whole vectors, and `numbers` likewise.
    void start(const Equations& equations, T* const* vectors, const T* numbers, T* const* buffers,
               Number* copies) {
        e = &equations;
        copies_ = copies;
        const Index width = row_width(*e);
        for (int o = 0; o < e->operands.count; ++o) {
            const Operand& operand = e->operands.data[o];
            T* const end = ends + o * block_rows * lanes<T>;
            const Bound<T> apart = {end, 0, 0, lanes<T>, operand.units == 1 ? 0 : lanes<T>};
            memory[o] = whole[o] = partly[o] = apart;
            Bound<T> same = apart;
            switch (operand.kind) {
                case Kind::number:
                    same = {const_cast<T*>(numbers) + operand.index * lanes<T>, 0, 0, 0, 0};
                    break;
                case Kind::weight:
                    same = operand.units == 1 ? Bound<T>{vectors[operand.index], 0, 0, 0, 0}
                                              : Bound<T>{vectors[operand.index], 0, 1, 0, lanes<T>};
                    break;
                case Kind::scratch:
                    same = {scratch + operand.index * block_rows * width, 0, 0, width, lanes<T>};
                    break;
                case Kind::buffer: {
                    const Index row = padded(operand.units);
                    if (operand.units == 1) {
                        bind(o, buffers[operand.index], row);
                        continue;
                    }
                    same = {buffers[operand.index], row, 1, row, lanes<T>};
                    memory[o] = same;
                    break;
                }
                default: continue;
            }
            whole[o] = partly[o] = same;
        }
    }

    // So far apart lie the rows of a buffer.
    static Index padded(Index units) {
        return units == 1 ? 1 : (units + lanes<T> - 1) / lanes<T> * lanes<T>;
    }

    // The buffers are for so many rows: from here on for those from `first` on.
    void rebase(Index first, T* const* buffers) {
        for (int o = 0; o < e->operands.count; ++o) {
            const Operand& operand = e->operands.data[o];
            if (operand.kind != Kind::buffer) continue;
            T* const data = buffers[operand.index] - first * padded(operand.units);
            memory[o].data = data;
            if (operand.units > 1) whole[o].data = partly[o].data = data;
        }
    }

    // The stage for rows first ... last - 1. `stop` is asked after every block, and true to end.
    template <class Ask>
    bool run(const Program& p, const Stage& stage, const T* packed, Index first, Index last,
             Ask stop) {
        if constexpr (O::rounds) for_each(stage.multiplied, [&](int o) { round(o, first, last); });
        bool is_due = false;
        for_blocks<T>(stage.units, [&]<int V>(Index unit) {
            if (is_due) return;
            const Index left = stage.units - unit;
            for (Index b = first; b < last; b += block_rows) {
                const Index rows = last - b < block_rows ? last - b : block_rows;
                if (left < V * lanes<T>) run_partly(p, stage, packed, unit, left, b, rows);
                else run_block<V>(p, stage, whole, packed, unit, b, rows);
            }
            packed += PackedStage<O>::template block_size<V>(stage);
            is_due = stop(V * lanes<T>);
        });
        if (!is_due)
            for_each(stage.reductions, [&](const Reduction& r) { reduce(r, first, last); });
        return is_due;
    }

    // Notes that an operand is to be bound anew at every step.
    void moves(int operand) {
        moving_[moving.count++] = operand;
        moving.data = moving_;
    }

    Bound<T>* memory;  // [operands], of those that are in memory
    List<int> moving;
    const Equations* e;

   private:
    // What products read of an operand in row b.
    const Number* read(int operand, Index b) const {
        if constexpr (O::rounds) return copy_of(operand, b);
        else return memory[operand].data + b * memory[operand].of_row;
    }

    void round(int operand, Index first, Index last) const {
        const Bound<T>& from = memory[operand];
        for (Index b = first; b < last; ++b)
            O::narrow(from.data + b * from.of_row, e->operands.data[operand].units,
                      copy_of(operand, b));
    }

    Number* copy_of(int operand, Index b) const {
        return copies_ + b * e->copied + e->copies.data[operand];
    }

    Number* copies_;  // [B, Equations::copied], where numbers are rounded
    int* moving_;
    Bound<T>*whole, *partly;  // [operands], in a block of whole vectors, and in one that is not
    T* scratch;
    T* ends;  // [operands, block_rows, lanes], copies for blocks of part of a vector

    void run_partly(const Program& p, const Stage& stage, const T* packed, Index unit, Index left,
                    Index b, Index rows) {
        const auto each = [&](const List<int>& list, auto move) {
            for_each(list, [&](int o) {
                const Bound<T>& from = memory[o];
                for (Index r = 0; r < rows; ++r)
                    move(from.data + (b + r) * from.of_row + unit, copy_of(o) + r * lanes<T>);
            });
        };
        each(stage.loads, [&](T* there, T* here) { store(here, load(there, left)); });
        run_block<1>(p, stage, partly, packed, unit, b, rows);
        each(stage.stores, [&](T* there, T* here) { store(there, load(here), left); });
    }

    T* copy_of(int operand) const { return ends + operand * block_rows * lanes<T>; }

    template <int V>
    void run_block(const Program& p, const Stage& stage, const Bound<T>* bound, const T* packed,
                   Index unit, Index b, Index rows) {
        for_each(stage.spreads, [&](int o) {
            for (Index r = 0; r < rows; ++r)
                store(copy_of(o) + r * lanes<T>,
                      all<T>(memory[o].data[(b + r) * memory[o].of_row]));
        });
        add_up<V>(p, stage, bound, packed, unit, b, rows);
        const Instruction* next = stage.instructions.data;
        const Instruction* const end = next + stage.instructions.count;
        while (next != end)
            next = execute<T, V>(next, end, rows, [&](int o) { return bound[o].at(b, unit); });
    }

    template <int V>
    void add_up(const Program& p, const Stage& stage, const Bound<T>* bound, const T* packed,
                Index unit, Index b, Index rows) {
        for_each(stage.alike, [&](const Alike& alike) {
            const Total* totals = stage.totals.data + alike.first;
            const int columns = alike.count * V;
            for (int begin = 0; begin < columns; begin += 4) {
                const int some = columns - begin < 4 ? columns - begin : 4;
                const Lies<T> to[4] = {
                    column<V>(bound, totals, begin, columns, unit, b),
                    column<V>(bound, totals, begin + 1, columns, unit, b),
                    column<V>(bound, totals, begin + 2, columns, unit, b),
                    column<V>(bound, totals, begin + 3, columns, unit, b),
                };
                const auto panel = [&]<int C>() {
                    for_tiles(0, rows, [&]<int R>(Index r) {
                        panel_tile<R, C>(p, *totals, to, packed, b + r, r);
                    });
                };
                switch (some) {
                    case 4: panel.template operator()<4>(); break;
                    case 3: panel.template operator()<3>(); break;
                    case 2: panel.template operator()<2>(); break;
                    default: panel.template operator()<1>();
                }
                packed += some * lanes<T> * (1 + alike.length);
            }
        });
    }

    template <int V>
    static Lies<T> column(const Bound<T>* bound, const Total* totals, int column, int columns,
                          Index unit, Index b) {
        if (column >= columns) return {nullptr, 0, 0};
        Lies<T> first = bound[totals[column / V].to].at(b, unit);
        first.data += column % V * first.step;
        return first;
    }

    template <int R, int C>
    UNROLLED_INLINE void panel_tile(const Program& p, const Total& total, const Lies<T>* to,
                                    const T* packed, Index b, Index r_begin) const {
        Vec<T> sum[R][C];
        for (int c = 0; c < C; ++c) {
            const Vec<T> bias = load(packed + c * lanes<T>);
            for (int r = 0; r < R; ++r) sum[r][c] = bias;
        }
        const T* weights = packed + C * lanes<T>;
        for (int i = 0; i < total.terms; ++i) {
            const int of = p.terms.data[total.first_term + i].of;
            const Number* rows[R];
            for (int r = 0; r < R; ++r) rows[r] = read(of, b + r);
            const Index k_end = e->operands.data[of].units;
            accumulate<O, R, C>(sum, rows, k_end, weights, [](int c) { return c; });
            weights += k_end * C * lanes<T>;
        }
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) store(to[c].data + (r_begin + r) * to[c].row, sum[r][c]);
    }

    // Every row's in the same order, whatever rows are run with it.
    void reduce(const Reduction& reduction, Index first, Index last) {
        const Index units = e->operands.data[reduction.of].units;
        const Bound<T>&from = memory[reduction.of], &to = memory[reduction.to];
        for (Index b = first; b < last; ++b) {
            const T* row = from.data + b * from.of_row;
            Vec<T> sum = {};
            for (Index unit = 0; unit < units; unit += lanes<T>)
                sum += load(row + unit, units - unit);
            T all = 0;
            for (int i = 0; i < lanes<T>; ++i) all += sum[i];
            to.data[b * to.of_row] = reduction.is_mean ? all / T(units) : all;
        }
    }
};

}  // namespace unrolled::UNROLLED_ISA
