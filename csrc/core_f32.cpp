// The core's table for float32.
#include "tables.h"

namespace unrolled {

UNROLLED_BUILD(Table<float>, f32_, UNROLLED_ISA::table<UNROLLED_ISA::Whole<float>>)

}  // namespace unrolled
