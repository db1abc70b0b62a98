// The threads: those of the OpenMP runtime.
#pragma once
#ifdef _OPENMP
#include <omp.h>
#endif

namespace unrolled::UNROLLED_ISA {

// Calls f(thread, threads) on each of so many threads of the OpenMP pool.
template <class F>
void on_threads(int threads, F f) {
    if (threads <= 1) return f(0, 1);
#ifdef _OPENMP
    // The runtime may have fewer to give than were asked for.
#pragma omp parallel num_threads(threads)
    f(omp_get_thread_num(), omp_get_num_threads());
#else
    f(0, 1);
#endif
}

inline void wait_for_all(int threads) {
    if (threads <= 1) return;
#ifdef _OPENMP
#pragma omp barrier
#endif
}

}  // namespace unrolled::UNROLLED_ISA
