// A part of the core is built once for each instruction set: how a build is found, and which ones
// this machine can run.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

#define UNROLLED_TEXT_OF(x) #x
#define UNROLLED_TEXT(x) UNROLLED_TEXT_OF(x)
#define UNROLLED_JOIN_OF(a, b) a##b
#define UNROLLED_JOIN(a, b) UNROLLED_JOIN_OF(a, b)

// clang-format off
// In a build: the function by which its table is found.
#define UNROLLED_BUILD(Type, part, table)                   \
    extern const Type* UNROLLED_JOIN(part, UNROLLED_ISA)(); \
    const Type* UNROLLED_JOIN(part, UNROLLED_ISA)() { return &table; }

// In a module: these functions, and a list of them, the least instruction set first.
#define UNROLLED_DECLARE(Type, part) \
    const Type* part##baseline();    \
    const Type* part##avx2();        \
    const Type* part##avx512();
#ifdef UNROLLED_X86
#define UNROLLED_BUILDS(part) {part##baseline, part##avx2, part##avx512}
#else
#define UNROLLED_BUILDS(part) {part##baseline}
#endif
// clang-format on

namespace unrolled {

constexpr int place_of_avx2 = 1, place_of_avx512 = 2;  // in that list

// Whether the machine has instructions that multiply pairs of bfloat16.
inline bool has_pairs() {
#ifdef UNROLLED_X86
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

// Whether these are worth it: Intel's do half as many a second as there are fused multiply-adds in
// float32, so that with the same number of products they bring nothing.
inline bool pairs_are_fast() {
#ifdef UNROLLED_X86
    return __builtin_cpu_is("amd");
#else
    return false;
#endif
}

// Whether it has those that multiply and add bytes four at a time.
inline bool has_vnni() {
#ifdef UNROLLED_X86
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

// The builds that this machine can run, the best last.
template <class Type>
class Builds {
   public:
    explicit Builds(std::vector<const Type* (*)()> all) {
        for (const auto build : all)
            if (is_usable(static_cast<int>(usable_.size()))) usable_.push_back(build());
    }

    const Type& at(int isa) const {
        if (isa < 0 || static_cast<std::size_t>(isa) >= usable_.size())
            throw std::invalid_argument("the number of one of isas() was expected");
        return *usable_[static_cast<std::size_t>(isa)];
    }

    std::vector<std::string> names() const {
        std::vector<std::string> found;
        for (const Type* build : usable_) found.emplace_back(build->name);
        return found;
    }

   private:
    // Whether the machine has the instructions of the build at this place, and of those before it.
    static bool is_usable([[maybe_unused]] int isa) {
#ifdef UNROLLED_X86
        __builtin_cpu_init();
        if (isa == place_of_avx2)
            return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        if (isa == place_of_avx512)
            return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#endif
        return true;
    }

    std::vector<const Type*> usable_;
};

}  // namespace unrolled
