// The core's table for products of numbers rounded to bfloat16.
#include "tables.h"

namespace unrolled {

UNROLLED_BUILD(Table<float>, rounded_, UNROLLED_ISA::table<UNROLLED_ISA::Rounded>)

}  // namespace unrolled
