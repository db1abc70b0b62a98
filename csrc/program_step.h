// A program's step for streams: memory that stays from step to step, and the code of the scan.
#pragma once
#include <new>

#include "program_memory.h"
#include "stepper.h"

namespace unrolled::UNROLLED_ISA {

template <class T>
class ProgramStepper {
   public:
    static Index size(const Program& p, Index rows) {
        Scratch count;
        count.take<ProgramStepper>(1);
        ProgramStepper(p).memory_.take(count, rows, 1);
        return static_cast<Index>(count.used());
    }

    // Makes one at the beginning of this memory, with all that it needs behind it.
    static void start(const Program& p, const T* const* weights, const ProgramPlaces<T>& places,
                      void* memory) {
        Scratch scratch(static_cast<char*>(memory));
        ProgramStepper& made = *new (scratch.take<ProgramStepper>(1)) ProgramStepper(p);
        made.memory_.take(scratch, places.rows, 1);
        made.memory_.start(weights, 1);
        made.tile().moving = {};
        for (int o = 0; o < made.e_.operands.count; ++o) made.place_fixed(places, o);
    }

    void step(const ProgramStep<T>& s, Index first, Index last) {
        for_each(tile().moving, [&](int o) { place(s, o); });
        memory_.run(0, first, last, [](Index) { return false; });
    }

   private:
    explicit ProgramStepper(const Program& p) : e_(p.infer), memory_(p, p.infer) {}

    Tile<Whole<T>>& tile() const { return memory_.tile(0); }

    // Where an operand lies at every step; the input and the first state are noted.
    void place_fixed(const ProgramPlaces<T>& places, int o) {
        const Operand& operand = e_.operands.data[o];
        const bool is_state = operand.kind == Kind::before || operand.kind == Kind::after;
        if (operand.kind == Kind::input || (is_state && operand.index == 0)) tile().moves(o);
        else if (is_state) bind(o, places.states[operand.index]);
        else if (operand.kind == Kind::constant) bind(o, places.constants[operand.index]);
    }

    void place(const ProgramStep<T>& s, int o) {
        const Kind kind = e_.operands.data[o].kind;
        if (kind == Kind::after) bind(o, s.after);
        else bind(o, kind == Kind::input ? s.input : s.before);
    }

    void bind(int o, Rows<T> rows) { tile().bind(o, rows.data, rows.row); }
    void bind(int o, Rows<const T> rows) { tile().bind(o, const_cast<T*>(rows.data), rows.row); }

    const Equations& e_;
    ProgramMemory<Whole<T>> memory_;
};

}  // namespace unrolled::UNROLLED_ISA
