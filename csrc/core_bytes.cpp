// The core's tables for products of whole numbers in 8 bits.
#include "bytes.h"
#include "tables.h"

namespace unrolled {

UNROLLED_BUILD(Table<float>, bytes_, UNROLLED_ISA::forward_table<UNROLLED_ISA::Bytes>)

#ifdef UNROLLED_VNNI
UNROLLED_BUILD(Table<float>, vnni_, UNROLLED_ISA::forward_table<UNROLLED_ISA::Vnni>)
#else
const Table<float>* UNROLLED_JOIN(vnni_, UNROLLED_ISA)();
const Table<float>* UNROLLED_JOIN(vnni_, UNROLLED_ISA)() { return nullptr; }
#endif

}  // namespace unrolled
