// The weights' gradients: sums over the steps of products of what a step read with what the loss
// says of what it computed.
//
// A block is a number of (step, row) pairs, slots, in the order of the backward scan. Every number
// is summed slot after slot, from block to block, so that it is the same however the scan is cut.
#pragma once
#include "matmul.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
struct Block {
    Index begin, end;  // steps of the scan
    Index slots;
    bool closes;      // whether the running sums go over into the totals after it
    const T*** read;  // [sources], [slots]: what each slot read of a source
    T** d_input;      // [slots], if wanted
    T* derivatives;   // [slots, Sums::row]
};

// Sums over so many slots one after the other lose up to half as many units in the last place;
// beyond that they are added up apart.
constexpr Index longest_sum = 4096;
constexpr int most_parts = 128;

template <class T>
class Sums {
   public:
    // So many slots' share of a panel are copied at a time: it stays in the cache, however many
    // slots a block has, and is small beside a block, however many threads there are.
    static constexpr Index panel_slots = 256, panel_size = panel_slots * 4 * lanes<T>;
    static constexpr int ones = -1;  // the source of a bias

    const Index row;  // so many derivatives has each slot

    explicit Sums(Index row) : row(row) {}

    // Adds what is to be summed: `count` numbers that a slot read of a source, times `width` of its
    // derivatives from `begin` on. Gives its number.
    int add(int source, Index count, Index begin, Index width) {
        int group = 0;
        while (group < groups_ && (group_[group].begin != begin || group_[group].width != width))
            ++group;
        if (group == groups_) group_[groups_++] = {begin, width};
        part_[parts_] = {source, group, count, width, size_};
        size_ += packed_product_size<T>(count, width);
        return parts_++;
    }

    // How many steps are summed before the sums go over into totals; every step of a pass knows it.
    static Index stretch(const Layout& layout) {
        const Index steps = longest_sum / (layout.rows < 1 ? 1 : layout.rows);
        return steps < 1 ? 1 : steps;
    }
    static bool has_totals(const Layout& layout) { return layout.steps > stretch(layout); }
    // Whether the running sums go over after the scan back has met step t.
    static bool closes(const Layout& layout, Index t) {
        return has_totals(layout) && (layout.reverse ? t + 1 : t) % stretch(layout) == 0;
    }

    Index memory(const Layout& layout) const { return has_totals(layout) ? 2 * size_ : size_; }

    // Work that can be done in any order and at the same time: one panel of each group of parts
    // that read the same derivatives.
    Index tasks() const {
        Index all = 0;
        for (int group = 0; group < groups_; ++group) all += panels<T>(group_[group].width);
        return all;
    }

    // The multiply-adds of a task for one slot.
    Index work(Index task) const {
        const Group& group = group_[group_of(task)];
        Index all = 0;
        for (int p = 0; p < parts_; ++p)
            if (&group_[part_[p].group] == &group) all += part_[p].count;
        return all * panel_width<T>(group.width);
    }

    // `panel` is memory for panel_size numbers.
    void run(Index task, const Block<T>& block, T* sums, T* panel) const {
        const int group = group_of(task);
        with_vectors<T>(group_[group].width,
                        [&]<int V>() { run_panel<V>(group, task, block, sums, panel); });
    }

    // To be called once before `write`, when all slots are summed.
    void finish(const Layout& layout, T* sums) const {
        if (!has_totals(layout)) return;
        for (Index i = 0; i < size_; ++i) sums[i] += sums[size_ + i];
    }

    // to [rows, count] = the sums of a part's columns from `begin` on.
    void write(int number, const T* sums, Index begin, Index rows, T* to) const {
        const Part& part = part_[number];
        const Index width = panel_width<T>(part.width);
        for (Index row = 0; row < rows;) {
            const Index column = begin + row, in_panel = column % width;  // not past a panel's end
            Index some = rows - row < width - in_panel ? rows - row : width - in_panel;
            if (some > lanes<T>) some = lanes<T>;
            const T* from = sums + part.offset + (column - in_panel) * part.count + in_panel;
            for (Index j = 0; j < part.count; j += lanes<T>)
                copy_transposed(from + j * width, width, part.count - j, some,
                                to + row * part.count + j, part.count);
            row += some;
        }
    }

   private:
    struct Part {
        int source, group;
        Index count, width;
        Index offset;  // of the sums in memory: [panels, count, panel width]
    };
    struct Group {
        Index begin, width;
    };

    // Leaves the task's number within its group.
    int group_of(Index& task) const {
        int group = 0;
        for (; task >= panels<T>(group_[group].width); ++group)
            task -= panels<T>(group_[group].width);
        return group;
    }

    template <int V>
    void run_panel(int group, Index number, const Block<T>& block, T* sums, T* panel) const {
        const Index width = V * lanes<T>, left = group_[group].width - number * width;
        const T* derivatives = block.derivatives + group_[group].begin + number * width;
        Index first = 0;
        do {  // once for a block without a slot too: it may close
            const Index rest = block.slots - first;
            const Index slots = rest < panel_slots ? rest : panel_slots;
            for (Index slot = 0; slot < slots; ++slot) {
                const T* from = derivatives + (first + slot) * row;
                for (int v = 0; v < V; ++v)
                    store(panel + slot * width + v * lanes<T>,
                          left > v * lanes<T> ? load(from + v * lanes<T>, left - v * lanes<T>)
                                              : Vec<T>{});
            }
            for (int p = 0; p < parts_; ++p) {
                const Part& part = part_[p];
                if (part.group != group) continue;
                add_products<V>(part.source == ones ? nullptr : block.read[part.source] + first,
                                part.count, slots, panel,
                                sums + part.offset + number * width * part.count,
                                block.closes && slots == rest);
            }
            first += slots;
        } while (first < block.slots);
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
                    if (closes) store(here + size_, load(here + size_) + acc[r][v]);
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

    Part part_[most_parts];
    Group group_[most_parts];
    int parts_ = 0, groups_ = 0;
    Index size_ = 0;
};

}  // namespace unrolled::UNROLLED_ISA
