// How a long call ends early: the calling thread asks now and then, and all threads heed the
// answer.
#pragma once
#include <atomic>
#include <chrono>

#include "contract.h"
#include "simd.h"

namespace unrolled::UNROLLED_ISA {

class Stop {
   public:
    explicit Stop(Interrupt interrupt) : interrupt_(interrupt) {}

    // To be called after so many multiply-adds of this thread; 0 is the calling one. True from when
    // the call is to end: its threads then leave the rest of their work, and still meet at every
    // barrier.
    bool after(Index work, int thread) {
        if (thread == 0 && (work_ += work) >= between_looks) look();
        return is_due();
    }

    bool is_due() const { return is_due_.load(std::memory_order_relaxed); }

    Outcome outcome() const { return is_due() ? Outcome::interrupted : Outcome::done; }

   private:
    using Clock = std::chrono::steady_clock;
    // To look at the clock costs nothing beside so much work, which takes some milliseconds at
    // most; to ask may mean to wait for Python's lock.
    static constexpr Index between_looks = 1 << 22;
    static constexpr std::chrono::milliseconds between_questions{50};

    void look() {
        work_ = 0;
        const auto now = Clock::now();
        if (now - asked_ < between_questions) return;
        asked_ = now;
        if (interrupt_.is_due && interrupt_.is_due())
            is_due_.store(true, std::memory_order_relaxed);
    }

    const Interrupt interrupt_;
    Index work_ = 0;
    Clock::time_point asked_ = Clock::now();
    std::atomic<bool> is_due_{false};
};

}  // namespace unrolled::UNROLLED_ISA
