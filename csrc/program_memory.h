// What both scans of a program have beside what they are given: packed weights, weights that stand
// in equations, numbers, and the rows that stages hand to each other.
#pragma once
#include "share.h"
#include "tile.h"

namespace unrolled::UNROLLED_ISA {

template <class O>
class ProgramMemory {
    using T = typename O::Sum;

   public:
    ProgramMemory(const Program& p, const Equations& e) : p_(p), e_(e) {}

    void take(Scratch& scratch, Index rows, int threads) {
        Index weights = 0;
        for_each(e_.stages, [&](const Stage& stage) { weights += PackedStage<O>::size(stage); });
        packed_ = scratch.take<T>(weights);
        vectors_ = scratch.take<T*>(p_.weight_rows.count);
        for (int w = 0; w < p_.weight_rows.count; ++w) {
            T* const vector = scratch.take<T>(is_vector(w) ? room(p_.weight_rows.data[w]) : 0);
            if (vectors_) vectors_[w] = vector;
        }
        numbers_ = scratch.take<T>(p_.numbers.count * lanes<T>);
        at_once_ = rows < rows_at_once() ? rows : rows_at_once();
        buffers_ = scratch.take<T*>(threads * e_.buffers.count);
        for (int i = 0; i < threads * e_.buffers.count; ++i) {
            T* const buffer = scratch.take<T>(buffer_size(i));
            if (buffers_) buffers_[i] = buffer;
        }
        copies_ = scratch.take<typename O::Number>(O::rounds ? rows * e_.copied : 0);
        tiles_ = scratch.take<Tile<O>>(threads);
        for (int thread = 0; thread < threads; ++thread) {
            Tile<O> none;
            Tile<O>::take(scratch, e_, tiles_ ? tiles_[thread] : none);
        }
    }

    void start(const T* const* weights, int threads) {
        for (int w = 0; w < p_.weight_rows.count; ++w) {
            if (!is_vector(w)) continue;
            const Index units = p_.weight_rows.data[w];
            for (Index i = 0; i < room(units); ++i)
                vectors_[w][i] = units == 1 ? weights[w][0] : i < units ? weights[w][i] : T(0);
        }
        for (Index i = 0; i < p_.numbers.count * lanes<T>; ++i)
            numbers_[i] = T(p_.numbers.data[i / lanes<T>]);
        // What stands past the units is computed with, and read by nobody.
        for (int i = 0; i < threads * e_.buffers.count; ++i) zero(buffers_[i], buffer_size(i));
        for (int i = 0; i < threads; ++i)
            tiles_[i].start(e_, vectors_, numbers_, buffers(i), copies_);
        Index size = 0;
        for_each(e_.stages, [&](const Stage& stage) { size += PackedStage<O>::size(stage); });
        on_threads(affordable(size * packing, threads), [&](int thread, int all) {
            T* to = packed_;
            for_each(e_.stages, [&](const Stage& stage) {
                PackedStage<O>::write(p_, e_, stage, weights, to, thread, all);
                to += PackedStage<O>::size(stage);
            });
        });
    }

    Tile<O>& tile(int thread) const { return tiles_[thread]; }
    const T* packed() const { return packed_; }

    // A step forward of rows first ... last - 1, whose operands are bound. `ask` is told of so many
    // multiply-adds after every block, and true to end; then that is given.
    template <class Ask>
    bool run(int thread, Index first, Index last, Ask ask) const {
        return in_turns(thread, first, last, [&](Index from, Index until) {
            const T* packed = packed_;
            bool is_due = false;
            for_each(e_.stages, [&](const Stage& stage) {
                if (is_due) return;
                const Index of_unit =
                    (until - from) * (stage.length + 4 * stage.instructions.count);
                is_due = tiles_[thread].run(p_, stage, packed, from, until,
                                            [&](Index units) { return ask(units * of_unit); });
                packed += PackedStage<O>::size(stage);
            });
            return is_due;
        });
    }

    // Calls f(first, last) for rows first ... last - 1, as many at once as the buffers are for;
    // ends early where it gives true.
    template <class F>
    bool in_turns(int thread, Index first, Index last, F f) const {
        for (Index b = first; b < last; b += at_once_) {
            if (e_.buffers.count) tiles_[thread].rebase(b, buffers(thread));
            if (f(b, last - b < at_once_ ? last : b + at_once_)) return true;
        }
        return false;
    }

   private:
    // So many rows go through all stages before the next do: what stages hand to each other stays
    // in the cache.
    Index rows_at_once() const {
        constexpr Index in_the_cache = (Index(1) << 18) / sizeof(T);
        Index row = 0;
        for_each(e_.buffers, [&](Index units) { row += Tile<O>::padded(units); });
        if (!row) return all_rows;
        const Index blocks = in_the_cache / (row * block_rows);
        return blocks < 1 ? block_rows : blocks * block_rows;
    }
    static constexpr Index all_rows = Index(1) << 46;

    T* const* buffers(int thread) const { return buffers_ + thread * e_.buffers.count; }
    Index buffer_size(int i) const {
        return at_once_ * Tile<O>::padded(e_.buffers.data[i % e_.buffers.count]);
    }
    bool is_vector(int w) const { return p_.weight_columns.data[w] == 0; }
    static Index room(Index units) { return (units + lanes<T> - 1) / lanes<T> * lanes<T>; }

    const Program& p_;
    const Equations& e_;
    T* packed_ = nullptr;
    T** vectors_ = nullptr;
    T* numbers_ = nullptr;
    T** buffers_ = nullptr;  // [threads, buffers]
    Index at_once_ = 1;
    typename O::Number* copies_ = nullptr;
    Tile<O>* tiles_ = nullptr;
};

// The multiply-adds of a step of a row.
inline Index work(const Equations& e) {
    Index all = 0;
    for_each(e.stages, [&](const Stage& stage) {
        all += stage.units * (stage.length + 4 * stage.instructions.count);
    });
    return all;
}

}  // namespace unrolled::UNROLLED_ISA
