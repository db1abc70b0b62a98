// What Python hands over: memory by its address and size, checked against what a call reaches of
// it.
//
// Addresses are numbers, so that nobody can tell whether they are true. What can be told is whether
// a call keeps within the memory that its caller says is there.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "contract.h"

namespace unrolled {

using Address = std::uintptr_t;

// An address, and how many numbers lie there; (0, 0) for nothing.
using Memory = std::tuple<Address, Index>;

// A matrix over the steps: a Memory's two, then where in it step 0 of row 0 is (or would be: before
// or behind it), and how many numbers are from a step to the next and from a row to the next.
using Place = std::tuple<Address, Index, Index, Index, Index>;

// No size is beyond this, nor the product of two: so sums of a few of them are numbers, too.
constexpr Index largest = Index(1) << 46;

inline void require(bool holds, const std::string& otherwise) {
    if (!holds) throw std::invalid_argument(otherwise);
}

inline Index times(Index a, Index b) {
    Index product = 0;
    require(a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, &product) && product <= largest,
            "a size is negative, or beyond all memory");
    return product;
}

// The sizes of a ragged batch's steps: copied, so that nobody changes them during a call.
class Sizes {
   public:
    Sizes(Index rows, std::vector<Index> sizes) : rows_(rows), sizes_(std::move(sizes)) {
        require(rows >= 0 && rows <= largest && !sizes_.empty(), "no steps, or no number of rows");
        Index before = rows, all = 0;
        offsets_.reserve(sizes_.size() + 1);
        for (const Index size : sizes_) {
            require(0 <= size && size <= before, "sizes should fall from the number of rows");
            offsets_.push_back(all);
            all += before = size;
            require(all <= largest, "a size is beyond all memory");
        }
        offsets_.push_back(all);
    }

    Index rows() const { return rows_; }
    Index steps() const { return static_cast<Index>(sizes_.size()); }
    // How many pairs of a step and a row there are before this step.
    Index offset(Index step) const {
        require(0 <= step && step <= steps(), "no such step");
        return offsets_[static_cast<std::size_t>(step)];
    }
    Layout layout(bool reverse, Index begin, Index end) const {
        return {steps(), rows_, offsets_.data(), sizes_.data(), reverse, begin, end};
    }

   private:
    Index rows_;
    std::vector<Index> sizes_, offsets_;
};

inline Layout checked(const Layout& layout) {
    require(layout.steps >= 1 && layout.rows >= 0 && 0 <= layout.begin &&
                layout.begin < layout.end && layout.end <= layout.steps,
            "no such steps or rows");
    times(layout.steps, layout.rows);
    return layout;
}

inline Shape checked(const Shape& shape) {
    require(shape.inputs >= 0 && shape.hidden >= 1 && shape.projection >= 0, "no such size");
    times(4, times(shape.hidden, times(1, shape.inputs) + times(1, shape.state())));
    return shape;
}

// Memory for so many numbers.
template <class T>
T* needed(const char* name, const Memory& memory, Index count) {
    const auto [address, there] = memory;
    require(address && address % alignof(T) == 0, std::string(name) + ": no address of numbers");
    require(there >= count, std::string(name) + ": memory for " + std::to_string(count) +
                                " numbers was expected, there is some for " +
                                std::to_string(there));
    return reinterpret_cast<T*>(address);
}

// The same, or null where a call needs none: a batch without rows has states without memory.
template <class T>
T* needed_if_any(const char* name, const Memory& memory, Index count) {
    return count ? needed<T>(name, memory, count) : nullptr;
}

// The same, or null where there is none.
template <class T>
T* optional(const char* name, const Memory& memory, Index count) {
    return std::get<0>(memory) ? needed<T>(name, memory, count) : nullptr;
}

// A matrix of rows of `width` numbers, of which the layout's steps lie within the memory.
template <class T>
Matrix<T> reached(const char* name, const Place& place, const Layout& layout, Index width) {
    const auto [address, there, origin, step, row] = place;
    // A layer without inputs reads nothing, wherever it is.
    if (!width || !layout.slots()) return {reinterpret_cast<T*>(address), 0, 0};
    const Index steps_apart = layout.offsets ? row : step;
    const Index first = layout.offsets ? layout.offset(layout.begin) : layout.begin;
    const Index last = layout.offsets ? first + layout.slots() - 1 : layout.end - 1;
    const Index of_rows = layout.offsets ? 0 : times(layout.rows - 1, row);
    require(origin >= -largest && origin <= largest, std::string(name) + ": lies nowhere");
    const Index lowest = origin + times(first, steps_apart);
    require(lowest >= 0, std::string(name) + ": begins before its memory");
    needed<T>(name, {address, there}, origin + times(last, steps_apart) + of_rows + width);
    return {reinterpret_cast<T*>(address) + origin, step, row};
}

template <class T>
Matrix<T> reached_if_given(const char* name, const Place& place, const Layout& layout,
                           Index width) {
    if (!std::get<0>(place)) return {nullptr, 0, 0};
    return reached<T>(name, place, layout, width);
}

}  // namespace unrolled
