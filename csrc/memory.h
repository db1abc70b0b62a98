// Scratch memory of one call, taken at once.
#pragma once
#include <cstdlib>
#include <cstring>

#include "contract.h"
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

// Gives out pieces of one block of memory. Without a block it only counts, so that the same code
// that takes the pieces says beforehand how large the block has to be.
class Scratch {
   public:
    static constexpr std::size_t line = 64;  // bytes of a cache line, and of the widest vector

    Scratch() = default;  // counts
    // Of memory from a cache line's beginning on.
    explicit Scratch(char* base) : base_(base) {}
    std::size_t used() const { return used_; }

    template <class T>
    T* take(Index count) {
        T* piece = base_ ? reinterpret_cast<T*>(base_ + used_) : nullptr;
        used_ += (static_cast<std::size_t>(count) * sizeof(T) + line - 1) / line * line;
        return piece;
    }

    // Calls pieces(scratch) to count, then again with the memory, then run(), whose outcome it
    // gives.
    template <class Pieces, class Run>
    static Outcome with(Pieces pieces, Run run) {
        Scratch scratch;
        pieces(scratch);
        char* memory = static_cast<char*>(std::malloc(scratch.used_ + line));
        if (!memory) return Outcome::no_memory;
        const std::size_t over = reinterpret_cast<std::uintptr_t>(memory) % line;
        scratch = Scratch(memory + (line - over));
        pieces(scratch);
        const Outcome outcome = run();
        std::free(memory);
        return outcome;
    }

   private:
    char* base_ = nullptr;
    std::size_t used_ = 0;
};

template <class T>
void copy(T* to, const T* from, Index count) {
    if (count > 0) std::memcpy(to, from, count * sizeof(T));
}

template <class T>
void zero(T* to, Index count) {
    if (count > 0) std::memset(to, 0, count * sizeof(T));
}

}  // namespace unrolled::UNROLLED_ISA
