// A program as Python hands it over, checked: whatever it says, nothing is read or written past the
// end of what belongs to it.
#pragma once
#include <deque>
#include <memory>

#include "handed.h"
#include "program.h"

namespace unrolled {

// The tuples in which Python writes the structures of program.h.
using HandedOperand = std::tuple<int, Index, Index>;
using HandedRows = std::tuple<int, Index, Index>;  // a weight, its first row, how many
using HandedTotal =
    std::tuple<int, std::vector<std::tuple<int, Index, int>>, std::vector<std::tuple<int, Index>>>;
using HandedInstruction = std::tuple<std::string, int, std::vector<int>>;
using HandedReduction = std::tuple<int, int, bool>;
using HandedBackTotal = std::tuple<int, Index, std::vector<HandedRows>, bool>;
using HandedGradient = std::tuple<int, Index, std::vector<HandedRows>>;
using HandedStage = std::tuple<Index, std::vector<HandedTotal>, std::vector<HandedInstruction>,
                               std::vector<HandedReduction>, std::vector<HandedBackTotal>>;
using HandedEquations =
    std::tuple<std::vector<HandedOperand>, std::vector<HandedStage>, int, std::vector<Index>>;

// The arguments of LinkedProgram.
using HandedProgram =
    std::tuple<std::vector<Index>, std::vector<Index>, std::vector<Index>,
               std::vector<std::tuple<Index, Index>>, std::vector<double>, HandedEquations,
               HandedEquations, HandedEquations, Index, Index, std::vector<Index>,
               std::vector<HandedBackTotal>, std::vector<HandedGradient>>;

struct InstructionName {
    const char* name;
    int arity;
};
constexpr InstructionName instruction_names[] = {
#define UNROLLED_NAME(name, arity) {#name, arity},
    UNROLLED_INSTRUCTIONS(UNROLLED_NAME)
#undef UNROLLED_NAME
};
constexpr int instruction_count = sizeof(instruction_names) / sizeof(instruction_names[0]);

inline int instruction_number(const std::string& name) {
    for (int i = 0; i < instruction_count; ++i)
        if (name == instruction_names[i].name) return i;
    throw std::invalid_argument("there is no instruction " + name);
}

class LinkedProgram {
   public:
    LinkedProgram(std::vector<Index> inputs, std::vector<Index> constants,
                  std::vector<Index> states, const std::vector<std::tuple<Index, Index>>& weights,
                  std::vector<double> numbers, const HandedEquations& infer,
                  const HandedEquations& train, const HandedEquations& back, Index kept,
                  Index derivatives, std::vector<Index> state_places,
                  const std::vector<HandedBackTotal>& to_input,
                  const std::vector<HandedGradient>& weight_gradients) {
        Program& p = program_;
        require(!inputs.empty() && !states.empty(), "an input and a state were expected");
        for (const auto* sizes : {&inputs, &constants, &states})
            for (const Index size : *sizes) checked_units(size);
        for (const Index size : states) require(size >= 1, "a state without numbers");
        p.inputs = keep(std::move(inputs));
        p.constants = keep(std::move(constants));
        p.states = keep(std::move(states));
        require(weights.size() <= most_weights, "too many weights");
        std::vector<Index> rows, columns;
        for (const auto& [row, column] : weights) {
            times(row, column < 1 ? 1 : column);
            require(checked_units(row) >= 1 && checked_units(column) >= 0, "a weight without rows");
            rows.push_back(row), columns.push_back(column);
        }
        p.weight_rows = keep(std::move(rows));
        p.weight_columns = keep(std::move(columns));
        p.numbers = keep(std::move(numbers));
        p.kept = checked_units(kept);
        p.derivatives = checked_units(derivatives);
        require(state_places.size() == size(p.states), "a place for each state was expected");
        for (std::size_t i = 0; i < state_places.size(); ++i)
            require(
                state_places[i] == -1 || (i && within(state_places[i], p.states.data[i], p.kept)),
                "a state is not within what is kept");
        p.state_places = keep(std::move(state_places));
        link(infer, p.infer, Use::infer);
        link(train, p.train, Use::train);
        link(back, p.back, Use::back);
        p.to_input = back_totals(p.back, to_input);
        for (int i = 0; i < p.to_input.count; ++i)
            require(operand(p.back, p.to_input.data[i].to).kind == Kind::d_input,
                    "the input's gradient was expected");
        p.weight_gradients = gradients(weight_gradients);
        p.terms = list(terms_);
        p.biases = list(biases_);
        p.pieces = list(pieces_);
    }
    LinkedProgram(const LinkedProgram&) = delete;

    static std::unique_ptr<const LinkedProgram> of(HandedProgram&& handed) {
        return std::apply(
            [](auto&&... parts) {
                return std::make_unique<const LinkedProgram>(std::move(parts)...);
            },
            std::move(handed));
    }

    const Program& program() const { return program_; }

   private:
    enum class Use { infer, train, back };

    // --- what is kept alive ---------------------------------------------------------------------

    template <class X>
    static List<X> list(const std::vector<X>& all) {
        return {all.data(), static_cast<int>(all.size())};
    }
    template <class X>
    static std::size_t size(const List<X>& list) {
        return static_cast<std::size_t>(list.count);
    }

    List<Index> keep(std::vector<Index>&& v) { return list(indices_.emplace_back(std::move(v))); }
    List<int> keep(std::vector<int>&& v) { return list(ints_.emplace_back(std::move(v))); }
    List<double> keep(std::vector<double>&& v) { return list(numbers_.emplace_back(std::move(v))); }
    List<Operand> keep(std::vector<Operand>&& v) {
        return list(operands_.emplace_back(std::move(v)));
    }
    List<Total> keep(std::vector<Total>&& v) { return list(totals_.emplace_back(std::move(v))); }
    List<Alike> keep(std::vector<Alike>&& v) { return list(alike_.emplace_back(std::move(v))); }
    List<Stage> keep(std::vector<Stage>&& v) { return list(stages_.emplace_back(std::move(v))); }
    List<Instruction> keep(std::vector<Instruction>&& v) {
        return list(instructions_.emplace_back(std::move(v)));
    }
    List<Reduction> keep(std::vector<Reduction>&& v) {
        return list(reductions_.emplace_back(std::move(v)));
    }
    List<BackTotal> keep(std::vector<BackTotal>&& v) {
        return list(back_totals_.emplace_back(std::move(v)));
    }
    List<WeightGradient> keep(std::vector<WeightGradient>&& v) {
        return list(gradients_.emplace_back(std::move(v)));
    }

    // --- checks ---------------------------------------------------------------------------------

    // No size is beyond this, so that sums and products of a few of them are numbers, too.
    static Index checked_units(Index units) {
        require(0 <= units && units <= Index(1) << 31, "a size is negative, or beyond all memory");
        return units;
    }

    static bool within(Index begin, Index count, Index all) {
        return begin >= 0 && count >= 0 && begin <= all && count <= all - begin;
    }

    static Index of(const List<Index>& sizes, Index index) {
        require(0 <= index && index < sizes.count, "an operand that is not there");
        return sizes.data[index];
    }

    const Operand& operand(const Equations& e, int number) const {
        require(0 <= number && number < e.operands.count, "an operand that is not there");
        return e.operands.data[number];
    }

    static bool is_in_memory(const Operand& o) {
        return o.kind != Kind::number && o.kind != Kind::weight && o.kind != Kind::scratch;
    }
    // Whether blocks of part of a vector read and write copies of it.
    static bool is_copied(const Operand& o) {
        return is_in_memory(o) && (o.kind != Kind::buffer || o.units == 1);
    }

    static bool is_written(const Operand& o, Use use) {
        switch (o.kind) {
            case Kind::scratch:
            case Kind::buffer: return true;
            case Kind::after: return use != Use::back;
            case Kind::kept: return use == Use::train;
            case Kind::derivative:
            case Kind::d_state:
            case Kind::d_input:
            case Kind::d_constant: return use == Use::back;
            default: return false;
        }
    }

    Operand checked(const HandedOperand& handed, const Equations& e, Use use) const {
        const Program& p = program_;
        const auto [kind, index, units] = handed;
        require(0 <= kind && kind < kinds, "an operand of no kind");
        const Operand o = {static_cast<Kind>(kind), index, checked_units(units)};
        Index expected = units;
        switch (o.kind) {
            case Kind::number:
                require(0 <= index && index < p.numbers.count, "a number that is not there");
                expected = 1;
                break;
            case Kind::weight:
                expected = of(p.weight_rows, index);
                require(p.weight_columns.data[index] == 0, "a vector of weights was expected");
                break;
            case Kind::input: expected = of(p.inputs, index); break;
            case Kind::constant:
            case Kind::d_constant: expected = of(p.constants, index); break;
            case Kind::before:
            case Kind::after:
                expected = of(p.states, index);
                require(use != Use::back || index == 0 || p.state_places.data[index] >= 0,
                        "a state that is not kept");
                break;
            case Kind::d_state: expected = of(p.states, index); break;
            case Kind::kept:
                require(use != Use::infer && within(index, units, p.kept), "nothing is kept there");
                break;
            case Kind::derivative:
                require(within(index, units, p.derivatives), "there are no derivatives there");
                break;
            case Kind::buffer: expected = of(e.buffers, index); break;
            case Kind::scratch:
                require(0 <= index && index < e.scratch, "there is no scratch there");
                break;
            case Kind::d_input: expected = of(p.inputs, 0); break;
        }
        require(units == expected, "an operand of another size");
        require(o.kind < Kind::derivative || use == Use::back, "no derivatives in a step forward");
        return o;
    }

    int written(const Equations& e, int number, Index units, Use use) const {
        const Operand& o = operand(e, number);
        require(is_written(o, use) && o.units == units, "a result can't be written there");
        return number;
    }

    // --- the parts ------------------------------------------------------------------------------

    void link(const HandedEquations& handed, Equations& e, Use use) {
        const auto& [operands, stages, scratch, buffers] = handed;
        require(0 <= scratch && scratch <= 4096 && operands.size() <= 16384, "too many operands");
        require(stages.size() <= 4096 && buffers.size() <= 4096, "too many stages");
        e.scratch = scratch;
        for (const Index units : buffers) require(checked_units(units) >= 1, "an empty buffer");
        e.buffers = keep(std::vector<Index>(buffers));
        std::vector<Operand> all;
        for (const auto& o : operands) all.push_back(checked(o, e, use));
        e.operands = keep(std::move(all));
        std::vector<Stage> linked;
        for (const auto& stage : stages) linked.push_back(link(stage, e, use));
        std::vector<Index> copies(operands.size(), -1);
        for (const Stage& stage : linked) {
            for (int i = 0; i < stage.multiplied.count; ++i) {
                const int number = stage.multiplied.data[i];
                Index& place = copies[static_cast<std::size_t>(number)];
                if (place >= 0) continue;
                place = e.copied;
                e.copied = times(1, e.copied + operand(e, number).units);
            }
        }
        e.copies = keep(std::move(copies));
        e.stages = keep(std::move(linked));
    }

    Stage link(const HandedStage& handed, const Equations& e, Use use) {
        const Index units = std::get<0>(handed);
        const auto& [_, totals, instructions, reductions, back] = handed;
        require(checked_units(units) >= 1, "a stage without units");
        Stage stage = {};
        stage.units = units;
        std::vector<int> loads, stores, spreads, multiplied;
        const auto add = [](std::vector<int>& to, int number) {
            for (const int known : to)
                if (known == number) return;
            to.push_back(number);
        };
        const auto store = [&](int number) {
            written(e, number, units, use);
            if (is_copied(operand(e, number))) add(stores, number);
        };
        std::vector<Total> sums;
        for (const auto& [to, terms, biases] : totals) {
            store(to);
            sums.push_back(total(e, units, to, terms, biases));
            for (const auto& term : terms) add(multiplied, std::get<2>(term));
        }
        std::vector<Instruction> codes;
        for (const auto& [name, to, from] : instructions) {
            const int number = instruction_number(name), arity = instruction_names[number].arity;
            require(static_cast<int>(from.size()) == arity, name + ": other operands");
            store(to);
            Instruction i = {static_cast<Code>(number), to, {to, to, to, to}};
            for (std::size_t k = 0; k < from.size(); ++k) {
                const Operand& o = operand(e, i.from[k] = from[k]);
                require(o.units == units || o.units == 1, name + ": an operand of another size");
                if (is_copied(o)) add(o.units == units ? loads : spreads, from[k]);
            }
            codes.push_back(i);
        }
        std::vector<Reduction> reduced;
        for (const auto& [to, from, is_mean] : reductions) {
            require(
                is_in_memory(operand(e, written(e, to, 1, use))) && is_in_memory(operand(e, from)),
                "what is summed over a row's units, and its sum, have places of their own");
            reduced.push_back({to, from, is_mean});
        }
        require(use == Use::back || back.empty(), "no derivatives in a step forward");
        stage.length = group(sums, stage);
        times(units, stage.length);
        stage.totals = keep(std::move(sums));
        stage.instructions = keep(std::move(codes));
        stage.reductions = keep(std::move(reduced));
        stage.back_totals = back_totals(e, back);
        stage.loads = keep(std::move(loads));
        stage.stores = keep(std::move(stores));
        stage.spreads = keep(std::move(spreads));
        stage.multiplied = keep(std::move(multiplied));
        return stage;
    }

    Total total(const Equations& e, Index units, int to,
                const std::vector<std::tuple<int, Index, int>>& terms,
                const std::vector<std::tuple<int, Index>>& biases) {
        Total total = {to, static_cast<int>(terms_.size()), static_cast<int>(terms.size()),
                       static_cast<int>(biases_.size()), static_cast<int>(biases.size())};
        for (const auto& [weight, row, of] : terms) {
            const Operand& o = operand(e, of);
            require(is_in_memory(o), "what is multiplied has a place of its own");
            check_rows(weight, row, units, o.units);
            terms_.push_back({weight, row, of});
        }
        for (const auto& [weight, row] : biases) {
            check_rows(weight, row, units, 0);
            biases_.push_back({weight, row});
        }
        return total;
    }

    // Of no columns is a bias: of an operand without numbers (an input of width 0) nothing is read.
    void check_rows(int weight, Index row, Index rows, Index columns) const {
        require(0 <= weight && weight < program_.weight_rows.count &&
                    program_.weight_columns.data[weight] == columns &&
                    within(row, rows, program_.weight_rows.data[weight]),
                "rows of a weight that are not there");
    }

    Index group(const std::vector<Total>& totals, Stage& stage) {
        std::vector<Alike> groups;
        Index all = 0;
        for (std::size_t i = 0; i < totals.size(); ++i) {
            const bool goes_on = !groups.empty() && are_alike(totals[i - 1], totals[i]);
            if (goes_on) ++groups.back().count;
            else groups.push_back({static_cast<int>(i), 1, length(totals[i])});
            all += 1 + groups.back().length;
        }
        stage.alike = keep(std::move(groups));
        return times(1, all);
    }

    bool are_alike(const Total& a, const Total& b) const {
        if (a.terms != b.terms) return false;
        for (int i = 0; i < a.terms; ++i)
            if (term(a, i).of != term(b, i).of) return false;
        return true;
    }
    const Term& term(const Total& total, int i) const {
        return terms_[static_cast<std::size_t>(total.first_term + i)];
    }
    Index length(const Total& total) const {
        Index all = 0;
        for (int i = 0; i < total.terms; ++i)
            all += program_.weight_columns.data[term(total, i).weight];
        return all;
    }

    // Checks the pieces, and gives how many rows they have together.
    Index add_pieces(const std::vector<HandedRows>& pieces, Index columns, Index begin) {
        Index all = 0;
        for (const auto& [weight, row, rows] : pieces) {
            check_rows(weight, row, rows, columns);
            pieces_.push_back({weight, row, rows});
            all += rows;
        }
        times(all, columns < 1 ? 1 : columns);
        require(all >= 1 && within(begin, all, program_.derivatives),
                "there are no derivatives there");
        return all;
    }

    List<BackTotal> back_totals(const Equations& e, const std::vector<HandedBackTotal>& handed) {
        std::vector<BackTotal> all;
        for (const auto& [to, begin, pieces, adds] : handed) {
            const Operand& o = operand(e, to);
            require(is_written(o, Use::back) && is_in_memory(o) && o.kind != Kind::derivative,
                    "a product can't be written there");
            const int first = static_cast<int>(pieces_.size());
            add_pieces(pieces, o.units, begin);
            all.push_back({to, begin, first, static_cast<int>(pieces.size()), adds});
        }
        return keep(std::move(all));
    }

    List<WeightGradient> gradients(const std::vector<HandedGradient>& handed) {
        std::vector<WeightGradient> all;
        require(handed.size() <= 128, "too many gradients");
        for (const auto& [of, begin, pieces] : handed) {
            Index columns = 0;
            if (of != -1) {
                const Operand& o = operand(program_.back, of);
                require(o.kind == Kind::input || o.kind == Kind::constant ||
                            o.kind == Kind::before || o.kind == Kind::after || o.kind == Kind::kept,
                        "what is multiplied is still there when a block has been scanned");
                columns = o.units;
            }
            const int first = static_cast<int>(pieces_.size());
            const Index width = add_pieces(pieces, columns, begin);
            all.push_back({of, begin, width, first, static_cast<int>(pieces.size())});
        }
        return keep(std::move(all));
    }

    Program program_ = {};
    std::deque<std::vector<Index>> indices_;
    std::deque<std::vector<int>> ints_;
    std::deque<std::vector<double>> numbers_;
    std::deque<std::vector<Operand>> operands_;
    std::deque<std::vector<Total>> totals_;
    std::deque<std::vector<Alike>> alike_;
    std::deque<std::vector<Stage>> stages_;
    std::deque<std::vector<Instruction>> instructions_;
    std::deque<std::vector<Reduction>> reductions_;
    std::deque<std::vector<BackTotal>> back_totals_;
    std::deque<std::vector<WeightGradient>> gradients_;
    std::vector<Term> terms_;
    std::vector<Bias> biases_;
    std::vector<Piece> pieces_;
};

}  // namespace unrolled
