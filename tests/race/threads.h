// In place of csrc/pool.h: the standard library's threads. ThreadSanitizer sees how they wait for
// each other; of the OpenMP runtime, which is not built with it, it does not.
#pragma once
#include <barrier>
#include <thread>
#include <vector>

namespace unrolled::UNROLLED_ISA {

inline std::barrier<>* barrier_of_all = nullptr;

template <class F>
void on_threads(int threads, F f) {
    if (threads <= 1) return f(0, 1);
    std::barrier<> barrier(threads);
    barrier_of_all = &barrier;
    std::vector<std::thread> others;
    for (int thread = 1; thread < threads; ++thread)
        others.emplace_back([&f, thread, threads] { f(thread, threads); });
    f(0, threads);
    for (std::thread& other : others) other.join();
}

inline void wait_for_all(int threads) {
    if (threads > 1) barrier_of_all->arrive_and_wait();
}

}  // namespace unrolled::UNROLLED_ISA
