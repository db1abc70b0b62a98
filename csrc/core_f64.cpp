// The core's table for float64.
#include "tables.h"

namespace unrolled {

UNROLLED_BUILD(Table<double>, f64_, UNROLLED_ISA::table<UNROLLED_ISA::Whole<double>>)

}  // namespace unrolled
