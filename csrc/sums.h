// The weights' gradients: sums over the steps of products of what a step read with what the loss
// says of its gates.
//
// A block is a number of (step, row) pairs, slots, in the order of the backward scan. Every number
// is summed slot after slot, from block to block, so that it is the same however the scan is cut.
#pragma once
#include <initializer_list>

#include "matmul.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Block {
    Index begin, end;  // steps of the scan
    Index slots;
    bool closes;      // whether the running sums go over into the totals after it
    const T** input;  // [slots], what each slot read
    const T** hidden;
    const T** raw;  // [slots], with a projection
    const T** d_projected;
    T** d_input;  // [slots], if wanted
    T* d_gates;   // [slots, derivatives * H]
};

// Sums over so many slots one after the other lose up to half as many units in the last place;
// beyond that they are added up apart.
constexpr Index longest_sum = 4096;

// What is summed: `count` numbers that a slot read, times `width` of what comes from its gates.
struct Part {
    Index count, width;
    Index offset;  // of the sums in memory: [panels, count, panel width]
};

template <class T, class C>
struct Sums {
    // Weights of the input, of the hidden state, the biases of both, the projection.
    static constexpr int input = 0, hidden = 1, bias_ih = 2, bias_hh = 3, projection = 4, parts = 5;
    // Whether the input's share of the gates is another than the hidden state's.
    static constexpr bool differ = C::recurrent_derivatives > 0;
    // So many slots' share of a panel are copied at a time: it stays in the cache, however many
    // slots a block has, and is small beside a block, however many threads there are.
    static constexpr Index panel_slots = 256, panel_size = panel_slots * 4 * lanes<T>;
    Part part[parts];
    Index size = 0;

    // What is not wanted has no sums, and takes no time.
    Sums(const Shape& s, Wanted wanted) {
        const auto is_wanted = [=](int p) { return (wanted >> p & 1u) != 0; };
        // Where the shares are the same, so are the gradients of the two biases.
        const bool bias = is_wanted(bias_ih) || (!differ && is_wanted(bias_hh));
        const Index counts[] = {is_wanted(input) ? s.inputs : 0, is_wanted(hidden) ? s.state() : 0,
                                bias, differ && is_wanted(bias_hh)};
        for (int p = 0; p < projection; ++p) add(p, counts[p], C::gates * s.hidden);
        const bool projects = s.projection && is_wanted(projection);
        add(projection, projects ? s.projection : 0, s.projection ? s.hidden : 0);
    }

    // How many steps are summed before the sums go over into totals; every step of a pass knows it.
    static Index stretch(const Layout& layout) {
        const Index steps = longest_sum / (layout.rows < 1 ? 1 : layout.rows);
        return steps < 1 ? 1 : steps;
    }
    static bool has_totals(const Layout& layout) { return layout.steps > stretch(layout); }

    Index memory(const Layout& layout) const { return has_totals(layout) ? 2 * size : size; }

    // Work that can be done in any order and at the same time: one panel of each group of parts
    // that read the same columns.
    static Index tasks(const Shape& s) {
        const Index of_gates = panels<T>(C::gates * s.hidden);
        return (differ ? 2 : 1) * of_gates + (s.projection ? panels<T>(s.hidden) : 0);
    }

    // `panel` is memory for panel_size numbers.
    void run(const Shape& s, Index task, const Block<T>& block, T* sums, T* panel) const {
        const Index of_gates = panels<T>(C::gates * s.hidden), ld = C::derivatives * s.hidden;
        const auto gates = [&](Index from) {
            return [=, &block](Index slot) { return block.d_gates + slot * ld + from; };
        };
        if (task < of_gates) {
            if constexpr (differ) run_panel({input, bias_ih}, task, gates(0), block, sums, panel);
            else run_panel({input, hidden, bias_ih}, task, gates(0), block, sums, panel);
        } else if (differ && task < 2 * of_gates) {
            run_panel({hidden, bias_hh}, task - of_gates,
                      gates(C::recurrent_derivatives * s.hidden), block, sums, panel);
        } else {
            run_panel(
                {projection}, task - (differ ? 2 : 1) * of_gates,
                [&](Index slot) { return block.raw[slot]; }, block, sums, panel);
        }
    }

    // What the sums come to, in the weights' own order.
    void write(const Shape& s, const Layout& layout, T* sums, const Gradients<T>& to) const {
        if (has_totals(layout))
            for (Index i = 0; i < size; ++i) sums[i] += sums[size + i];
        // The input's share begins with the last gate where the shares differ: see the cell.
        const Index turn = (C::gates - C::recurrent_derivatives) * s.hidden;
        write_part(part[input], sums, to.ih, turn);
        write_part(part[hidden], sums, to.hh, 0);
        write_part(part[bias_ih], sums, to.bias_ih, turn);
        write_part(part[differ ? bias_hh : bias_ih], sums, to.bias_hh, 0);
        write_projection(sums, to.hr);
    }

   private:
    void add(int p, Index count, Index width) {
        part[p] = {count, width, size};
        if (count) size += packed_product_size<T>(count, width);
    }

    template <class From>
    void run_panel(std::initializer_list<int> of, Index number, From from, const Block<T>& block,
                   T* sums, T* panel) const {
        Index count = 0;
        for (const int p : of) count += part[p].count;
        if (!count) return;
        const Index columns = part[*of.begin()].width;
        with_vectors<T>(columns, [&]<int V>() {
            const Index width = V * lanes<T>, left = columns - number * width;
            Index first = 0;
            do {  // once for a block without a slot too: it may close
                const Index rest = block.slots - first;
                const Index slots = rest < panel_slots ? rest : panel_slots;
                for (Index slot = 0; slot < slots; ++slot)
                    for (int v = 0; v < V; ++v)
                        store(panel + slot * width + v * lanes<T>,
                              left > v * lanes<T>
                                  ? load(from(first + slot) + number * width + v * lanes<T>,
                                         left - v * lanes<T>)
                                  : Vec<T>{});
                for (const int p : of)
                    add_products<V>(read(p, block, first), part[p].count, slots, panel,
                                    sums + part[p].offset + number * width * part[p].count,
                                    block.closes && slots == rest);
                first += slots;
            } while (first < block.slots);
        });
    }

    static const T* const* read(int p, const Block<T>& block, Index first) {
        switch (p) {
            case input: return block.input + first;
            case hidden: return block.hidden + first;
            case projection: return block.d_projected + first;
            default: return nullptr;
        }
    }

    // sums [count, V vectors] += what the slots read, times the panel; null reads ones.
    template <int V>
    void add_products(const T* const* read, Index count, Index slots, const T* panel, T* sums,
                      bool closes) const {
        for_tiles(0, count, [&]<int R>(Index first) {
            Vec<T> acc[R][V];
            T* here = sums + first * V * lanes<T>;
            for (int r = 0; r < R; ++r)
                for (int v = 0; v < V; ++v) acc[r][v] = load(here + (r * V + v) * lanes<T>);
            if (read) accumulate_across<T, R, V>(acc, read, first, slots, panel);
            else add_up<V>(acc[0], slots, panel);
            for (int r = 0; r < R; ++r) {
                for (int v = 0; v < V; ++v, here += lanes<T>) {
                    if (closes) store(here + size, load(here + size) + acc[r][v]);
                    store(here, closes ? Vec<T>{} : acc[r][v]);
                }
            }
        });
    }

    template <int V>
    static void add_up(Vec<T> (&acc)[V], Index slots, const T* panel) {
        for (Index slot = 0; slot < slots; ++slot)
            for (int v = 0; v < V; ++v) acc[v] += load(panel + (slot * V + v) * lanes<T>);
    }

    // to [width, count], its rows turned round: row r of the sums is row r + turn.
    static void write_part(const Part& part, const T* sums, T* to, Index turn) {
        if (!to) return;
        const Index width = panel_width<T>(part.width);
        for (Index column = 0; column < part.width;) {
            // Not past the end of a panel nor past where the rows begin anew.
            const Index row = (column + turn) % part.width, in_panel = column % width;
            Index some = part.width - row < width - in_panel ? part.width - row : width - in_panel;
            if (some > part.width - column) some = part.width - column;
            if (some > lanes<T>) some = lanes<T>;
            const T* from = sums + part.offset + (column - in_panel) * part.count + in_panel;
            for (Index j = 0; j < part.count; j += lanes<T>)
                copy_transposed(from + j * width, width, part.count - j, some,
                                to + row * part.count + j, part.count);
            column += some;
        }
    }

    // The projection's weights lie as the sums do, [P, H].
    void write_projection(const T* sums, T* to) const {
        if (!to) return;
        const Part& of = part[projection];
        const Index width = panel_width<T>(of.width);
        for (Index column = 0; column < of.width; column += width)
            for (Index j = 0; j < of.count; ++j)
                copy(to + j * of.width + column, sums + of.offset + column * of.count + j * width,
                     of.width - column < width ? of.width - column : width);
    }
};

}  // namespace unrolled::UNROLLED_ISA
