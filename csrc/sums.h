// The weights' gradients: sums over the steps of products of what a step read with what the loss
// says of what it computed.
//
// A block is a number of (step, row) pairs, slots, in the order of the backward scan. Every number
// is summed slot after slot, from block to block, so that it is the same however the scan is cut.
#pragma once
#include "matmul.h"

namespace unrolled::UNROLLED_ISA {

template <class O>
struct Block {
    using T = typename O::Sum;
    Index begin, end;  // steps of the scan
    Index slots;
    bool closes;                  // whether the running sums go over into the totals after it
    const T*** read;              // [sources], [slots]: what each slot read of a source
    T** d_input;                  // [slots], if wanted
    T* derivatives;               // [slots, Sums::row]
    typename O::Number* rounded;  // the same as products read them, where they round

    // The derivatives from a place in the list on, as products read them.
    const typename O::Number* multiplied(Index place) const {
        if constexpr (O::rounds) return rounded + place;
        else return derivatives + place;
    }
    // To be called once so many of them are there.
    void round(Index place, Index count) const {
        if constexpr (O::rounds) O::narrow(derivatives + place, count, rounded + place);
    }
};

// Slots that are multiplied at once: one, or two rows of a step.
struct Line {
    Index slot, slots;
};

// The lines of a block in the order of the scan back. No line has slots of two steps: which slots
// are together does not depend on how the steps are cut into blocks.
template <int at_once>
class Lines {
   public:
    // `end` is the block's.
    Lines(const Layout& layout, Index end) : layout_(layout), step_(end) {}

    // There has to be one.
    UNROLLED_INLINE Line next() {
        if constexpr (at_once == 1) return {slot_++, 1};
        while (rest_ == 0) rest_ = layout_.size(Order{layout_}.step(--step_));
        const Line line = {slot_, rest_ < at_once ? rest_ : at_once};
        slot_ += line.slots;
        rest_ -= line.slots;
        return line;
    }

   private:
    const Layout& layout_;
    Index step_, rest_ = 0, slot_ = 0;
};

// Sums over so many slots one after the other lose up to half as many units in the last place;
// beyond that they are added up apart.
constexpr Index longest_sum = 4096;
constexpr int most_parts = 128;

template <class O>
class Sums {
    using T = typename O::Sum;

   public:
    // So many lines of a panel are copied at a time: it stays in the cache, however many
    // slots a block has, and is small beside a block, however many threads there are.
    static constexpr Index panel_lines = 256 / O::at_once;
    // Where numbers are rounded, what the slots read is copied, so many numbers of each at a time.
    static constexpr Index copied = 8 * tile_rows;
    static constexpr Index panel_size = panel_lines * (4 * lanes<T> + (O::rounds ? copied : 0));
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
    void run(Index task, const Layout& layout, const Block<O>& block, T* sums, T* panel) const {
        const int group = group_of(task);
        with_vectors<T>(group_[group].width,
                        [&]<int V>() { run_panel<V>(group, task, layout, block, sums, panel); });
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
    void run_panel(int group, Index number, const Layout& layout, const Block<O>& block, T* sums,
                   T* panel) const {
        const Index width = V * lanes<T>, left = group_[group].width - number * width;
        const T* derivatives = block.derivatives + group_[group].begin + number * width;
        Lines<O::at_once> all(layout, block.end);
        Line lines[panel_lines];
        Index done = 0;
        do {  // once for a block without a slot too: it may close
            Index count = 0;
            for (; count < panel_lines && done < block.slots; ++count) {
                lines[count] = all.next();
                done += lines[count].slots;
                const T* from = derivatives + lines[count].slot * row;
                for (int v = 0; v < V; ++v)
                    store(panel + count * width + v * lanes<T>,
                          read_line(lines[count], from + v * lanes<T>, from + v * lanes<T> + row,
                                    left - v * lanes<T>));
            }
            for (int p = 0; p < parts_; ++p) {
                const Part& part = part_[p];
                if (part.group != group) continue;
                const T* const* read = part.source == ones ? nullptr : block.read[part.source];
                T* const here = sums + part.offset + number * width * part.count;
                const bool closes = block.closes && done == block.slots;
                if (read) add_products<V>(read, part.count, lines, count, panel, here, closes);
                else if (O::rounds) add_up<V>(lines, count, derivatives, left, here, closes);
                else add_panel<V>(count, panel, here, closes);
            }
        } while (done < block.slots);
    }

    // What stands in a panel for the numbers of a line's slots, of which so many are left.
    UNROLLED_INLINE static Vec<T> read_line(const Line& line, const T* first, const T* second,
                                            Index left) {
        if (left <= 0) return Vec<T>{};
        if constexpr (O::rounds)
            return O::combine(load(first, left), line.slots > 1 ? load(second, left) : Vec<T>{});
        else return load(first, left);
    }

    // sums [V vectors] += the panel's lines.
    template <int V>
    void add_panel(Index line_count, const T* panel, T* sums, bool closes) const {
        Vec<T> acc[1][V];
        for (int v = 0; v < V; ++v) acc[0][v] = load(sums + v * lanes<T>);
        for (Index k = 0; k < line_count; ++k)
            for (int v = 0; v < V; ++v) acc[0][v] += load(panel + (k * V + v) * lanes<T>);
        leave<1, V>(acc, sums, closes);
    }

    // The same where the panel's are rounded: of the derivatives as they were.
    template <int V>
    void add_up(const Line* lines, Index line_count, const T* derivatives, Index left, T* sums,
                bool closes) const {
        Vec<T> acc[1][V];
        for (int v = 0; v < V; ++v) acc[0][v] = load(sums + v * lanes<T>);
        for (Index k = 0; k < line_count; ++k) {
            for (Index slot = 0; slot < lines[k].slots; ++slot) {
                const T* from = derivatives + (lines[k].slot + slot) * row;
                for (int v = 0; v < V && left > v * lanes<T>; ++v)
                    acc[0][v] += load(from + v * lanes<T>, left - v * lanes<T>);
            }
        }
        leave<1, V>(acc, sums, closes);
    }

    // sums [count, V vectors] += what the slots read, times the panel.
    template <int V>
    void add_products(const T* const* read, Index count, const Line* lines, Index line_count,
                      T* panel, T* sums, bool closes) const {
        if constexpr (O::rounds) {
            T* const copies = panel + panel_lines * V * lanes<T>;
            for (Index begin = 0; begin < count; begin += copied) {
                const Index some = count - begin < copied ? count - begin : copied;
                copy_lines(read, begin, some, lines, line_count, copies);
                for_tiles(0, some, [&]<int R>(Index first) {
                    add_tile<R, V>(
                        line_count, panel, sums + (begin + first) * V * lanes<T>, closes,
                        [&](Index k, int r) {
                            const T* here = copies + k * copied + first + r;
                            return O::spread(reinterpret_cast<const typename O::Number*>(here));
                        });
                });
            }
        } else {
            read += lines[0].slot;  // a line is a slot
            for_tiles(0, count, [&]<int R>(Index first) {
                add_tile<R, V>(line_count, panel, sums + first * V * lanes<T>, closes,
                               [&](Index k, int r) { return O::spread(read[k] + first + r); });
            });
        }
    }

    // Numbers begin ... begin + some - 1 of what the slots read, a line behind the other.
    static void copy_lines(const T* const* read, Index begin, Index some, const Line* lines,
                           Index line_count, T* to) {
        for (Index k = 0; k < line_count; ++k, to += copied) {
            const T* const* from = read + lines[k].slot;
            const T* const second = lines[k].slots > 1 ? from[1] + begin : nullptr;
            for (Index i = 0; i < some; i += lanes<T>)
                store(to + i, read_line(lines[k], from[0] + begin + i, second + i, some - i));
        }
    }

    // sums [R, V vectors] += the panel's lines, each times x(line, r).
    template <int R, int V, class X>
    void add_tile(Index line_count, const T* panel, T* sums, bool closes, X x) const {
        Vec<T> acc[R][V];
        for (int r = 0; r < R; ++r)
            for (int v = 0; v < V; ++v) acc[r][v] = load(sums + (r * V + v) * lanes<T>);
        for (Index k = 0; k < line_count; ++k)
            accumulate_line<O, R, V>(
                acc, panel + k * V * lanes<T>, [](int v) { return v; },
                [&](int r) { return x(k, r); });
        leave<R, V>(acc, sums, closes);
    }

    template <int R, int V>
    UNROLLED_INLINE void leave(const Vec<T> (&acc)[R][V], T* sums, bool closes) const {
        for (int r = 0; r < R; ++r) {
            for (int v = 0; v < V; ++v, sums += lanes<T>) {
                if (closes) store(sums + size_, load(sums + size_) + acc[r][v]);
                store(sums, closes ? Vec<T>{} : acc[r][v]);
            }
        }
    }

    Part part_[most_parts];
    Group group_[most_parts];
    int parts_ = 0, groups_ = 0;
    Index size_ = 0;
};

}  // namespace unrolled::UNROLLED_ISA
