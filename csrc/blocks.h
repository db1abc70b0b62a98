// The order of the work of a backward scan: in blocks of steps, the rows shared out to threads as
// in the forward one; then the products of the block that has just been scanned, for the weights'
// gradients and the input's, while the next block is scanned.
#pragma once
#include <atomic>

#include "pack.h"
#include "sums.h"

namespace unrolled::UNROLLED_ISA {

constexpr Index rows_of_task = 48;              // of the input's gradient
constexpr Index most_at_once = Index(1) << 30;  // multiply-adds without asking to stop

template <class O>
class Blocks {
    using T = typename O::Sum;

   public:
    Blocks(const Layout& layout, const Sums<O>& sums) : layout_(layout), sums_(sums) {}

    // Slots of a block.
    Index capacity() const {
        const Index slots = layout_.slots() < block_slots ? layout_.slots() : block_slots;
        return slots > layout_.size(layout_.begin) ? slots : layout_.size(layout_.begin);
    }

    // Memory for blocks that read so many sources, on so many threads.
    void take(Scratch& scratch, int sources, bool wants_input, int threads) {
        for (int i = 0; i < (threads > 1 ? 2 : 1); ++i) {
            Block<O>& block = blocks_[i];
            block.read = scratch.take<const T**>(sources);
            for (int source = 0; source < sources; ++source) {
                const T** slots = scratch.take<const T*>(capacity());
                if (block.read) block.read[source] = slots;
            }
            block.d_input = scratch.take<T*>(wants_input ? capacity() : 0);
            block.derivatives = scratch.take<T>(capacity() * sums_.row);
            block.rounded =
                scratch.take<typename O::Number>(O::rounds ? capacity() * sums_.row : 0);
        }
        panels_ = scratch.take<T>(threads * Sums<O>::panel_size);
    }

    // Calls scan(block, first, last, thread) for rows of every block, the last one first, and
    // run_task(task, block, panel, thread) for each of tasks(block) once the block is scanned.
    template <class Scan, class Tasks, class RunTask>
    void run(int threads, Scan scan, Tasks tasks, RunTask run_task) {
        Index bounds[most_threads + 1];
        on_threads(threads, [&](int thread, int all) {
            if (thread == 0) cut(layout_, all, bounds);
            wait_for_all(all);
            T* panel = panels_ + thread * Sums<O>::panel_size;
            if (all > 1)
                at_once(bounds[thread], bounds[thread + 1], panel, thread, all, scan, tasks,
                        run_task);
            else one_by_one(panel, scan, tasks, run_task);
        });
    }

   private:
    // So many slots make a block's products worth their reading of the sums.
    static constexpr Index block_slots = 256;

    template <class Scan, class Tasks, class RunTask>
    void one_by_one(T* panel, Scan scan, Tasks tasks, RunTask run_task) {
        Block<O>& block = blocks_[0];
        for (Index end = layout_.end - layout_.begin; end > 0; end = block.begin) {
            extend(block, end);
            scan(block, 0, layout_.rows, 0);
            for (Index task = 0; task < tasks(block); ++task) run_task(task, block, panel, 0);
        }
    }

    // While one block's products are shared out, the block that the scan comes to next is scanned
    // by who has rows in it. The results do not depend on who does what.
    template <class Scan, class Tasks, class RunTask>
    void at_once(Index first, Index last, T* panel, int thread, int all, Scan scan, Tasks tasks,
                 RunTask run_task) {
        // The same numbers on every thread, and on each its own: no thread reads what another
        // writes.
        Block<O> own[2] = {blocks_[0], blocks_[1]};
        Index end = layout_.end - layout_.begin;
        for (int turn = 0;; turn ^= 1) {
            Block<O>&mine = own[turn], &before = own[turn ^ 1];
            if (end > 0) {
                extend(mine, end);
                // Nobody claims of these before the barrier, and nobody has since the last one.
                if (thread == 0) next_task_[turn] = 0;
                scan(mine, first, last, thread);
            }
            if (end < layout_.end - layout_.begin)
                for (Index task; (task = next_task_[turn ^ 1]++) < tasks(before);)
                    run_task(task, before, panel, thread);
            if (end <= 0) return;
            end = mine.begin;
            wait_for_all(all);
        }
    }

    // The block that ends before the scan's step `end`: as many steps as it has room for.
    void extend(Block<O>& block, Index end) const {
        const Order order{layout_};
        block.end = block.begin = end;
        block.slots = 0;
        block.closes = false;
        while (block.begin > 0 && !block.closes) {
            const Index t = order.step(block.begin - 1), size = layout_.size(t);
            if (block.slots && block.slots + size > capacity()) break;
            --block.begin;
            block.slots += size;
            block.closes = Sums<O>::closes(layout_, t);
        }
    }

    const Layout& layout_;
    const Sums<O>& sums_;
    Block<O> blocks_[2];
    T* panels_ = nullptr;
    std::atomic<Index> next_task_[2] = {0, 0};
};

}  // namespace unrolled::UNROLLED_ISA
