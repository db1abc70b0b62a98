// Rows shared out to threads, and the order in which a scan meets the steps.
#pragma once
#include "memory.h"
#include "stop.h"

#ifndef UNROLLED_POOL  // tests/race has one that ThreadSanitizer understands
#define UNROLLED_POOL "pool.h"
#endif
#include UNROLLED_POOL

namespace unrolled::UNROLLED_ISA {

// Below so many multiply-adds a second thread costs more than it brings.
constexpr Index worth_a_thread = 200000;
constexpr int most_threads = 256;
// To move a number from one place to another costs about as much as so many multiply-adds.
constexpr Index packing = 8;

inline int affordable(Index work, int threads) {
    const Index most = work / worth_a_thread;
    if (threads > most) threads = most < 1 ? 1 : static_cast<int>(most);
    return threads < most_threads ? threads : most_threads;
}

// Calls f(i) for i from 0 to count - 1, a stretch of them on each thread.
template <class F>
void for_all(Index count, int threads, F f) {
    on_threads(threads, [&](int thread, int all) {
        for (Index i = count * thread / all; i < count * (thread + 1) / all; ++i) f(i);
    });
}

// Cuts the rows into shares of about equal numbers of steps: share i is bounds[i] ... bounds[i + 1]
// - 1.
inline void cut(const Layout& layout, int shares, Index* bounds) {
    const Index steps = layout.slots();
    // Row b has as many steps as there are sizes above b; walk the rows from the longest down.
    Index row = 0, done = 0, end = layout.end;
    bounds[0] = 0;
    for (int share = 1; share < shares; ++share) {
        const Index goal = steps * share / shares;
        while (row < layout.rows && done < goal) {
            while (end > layout.begin && layout.size(end - 1) <= row) --end;
            done += end - layout.begin;
            ++row;
        }
        bounds[share] = row;
    }
    bounds[shares] = layout.rows;
}

// The steps in the order of the scan, and how its rows come in.
struct Order {
    const Layout& layout;

    Index count() const { return layout.end - layout.begin; }
    Index step(Index i) const { return layout.reverse ? layout.end - 1 - i : layout.begin + i; }
    // Rows first ... last - 1: those from here on have their first step at step(i). Rows come to an
    // end in the forward scan, and come in one after the other in the reverse one.
    Index fresh(Index i, Index first, Index last) const {
        if (i == 0) return first;
        const Index going_on = layout.size(step(i - 1));
        return going_on < first ? first : going_on < last ? going_on : last;
    }
};

}  // namespace unrolled::UNROLLED_ISA
