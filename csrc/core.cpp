// The core, once for each instruction set: the build compiles this file and those of its tables
// several times, with other flags and another UNROLLED_ISA.
#include "contract.h"
#include "instruction_sets.h"

namespace unrolled {

const Table<float>* UNROLLED_JOIN(f32_, UNROLLED_ISA)();
const Table<double>* UNROLLED_JOIN(f64_, UNROLLED_ISA)();
const Table<float>* UNROLLED_JOIN(rounded_, UNROLLED_ISA)();
const Table<float>* UNROLLED_JOIN(paired_, UNROLLED_ISA)();  // null where the build has none

const Table<float>* UNROLLED_JOIN(bytes_, UNROLLED_ISA)();
const Table<float>* UNROLLED_JOIN(vnni_, UNROLLED_ISA)();  // likewise

const Core* UNROLLED_JOIN(core_, UNROLLED_ISA)();
const Core* UNROLLED_JOIN(core_, UNROLLED_ISA)() {
    static const Core core = {
        UNROLLED_TEXT(UNROLLED_ISA),
        UNROLLED_BYTES,
        UNROLLED_JOIN(f32_, UNROLLED_ISA)(),
        UNROLLED_JOIN(f64_, UNROLLED_ISA)(),
        UNROLLED_JOIN(rounded_, UNROLLED_ISA)(),
        UNROLLED_JOIN(paired_, UNROLLED_ISA)(),
        UNROLLED_JOIN(bytes_, UNROLLED_ISA)(),
        UNROLLED_JOIN(vnni_, UNROLLED_ISA)(),
    };
    return &core;
}

}  // namespace unrolled
