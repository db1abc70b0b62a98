// The core's table for products of pairs of bfloat16, in a build that can have one.
#include "operands.h"

#ifdef UNROLLED_PAIRS
#include "tables.h"

namespace unrolled {

UNROLLED_BUILD(Table<float>, paired_, UNROLLED_ISA::table<UNROLLED_ISA::Paired>)

}  // namespace unrolled
#else
#include "instruction_sets.h"

namespace unrolled {

const Table<float>* UNROLLED_JOIN(paired_, UNROLLED_ISA)();
const Table<float>* UNROLLED_JOIN(paired_, UNROLLED_ISA)() { return nullptr; }

}  // namespace unrolled
#endif
