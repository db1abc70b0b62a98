// The only file of the core that knows Python: addresses and sizes in, checked by handed.h.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "instruction_sets.h"
#include "linked.h"

namespace nb = nanobind;

namespace unrolled {

UNROLLED_DECLARE(Core, core_)

namespace {

const Builds<Core>& builds() {
    static const Builds<Core> all(UNROLLED_BUILDS(core_));
    return all;
}

template <class T>
const Table<T>& table(int isa) {
    if constexpr (sizeof(T) == 4) return *builds().at(isa).f32;
    else return *builds().at(isa).f64;
}

// The ways in which products can multiply such numbers: as they are, rounded to bfloat16, or in 8
// bits. The fastest comes last.
std::vector<std::string> products(int isa, const std::string& numbers) {
    const Core& here = builds().at(isa);
    if (numbers == "whole") return {"whole"};
    if (numbers == "int8") {
        if (here.vnni && has_vnni()) return {"bytes", "vnni"};
        return {"bytes"};
    }
    require(numbers == "bfloat16", "whole, bfloat16 or int8 was expected");
    if (!here.paired || !has_pairs()) return {"rounded"};
    if (!pairs_are_fast()) return {"paired", "rounded"};
    return {"rounded", "paired"};
}

// The same with products that multiply this.
template <class T>
const Table<T>& table(int isa, const std::string& multiplied) {
    if (multiplied == "whole") return table<T>(isa);
    if constexpr (sizeof(T) == 4) {
        const Core& here = builds().at(isa);
        if (multiplied == "rounded") return *here.rounded;
        if (multiplied == "bytes") return *here.bytes;
        if (multiplied == "paired" && here.paired && has_pairs()) return *here.paired;
        if (multiplied == "vnni" && here.vnni && has_vnni()) return *here.vnni;
        throw std::invalid_argument("one of products() was expected");
    }
    throw std::invalid_argument("in float64 nothing is rounded");
}

// Whether a signal's handler has raised, as it does for Ctrl-C. Only Python's main thread runs
// handlers.
bool is_interrupted() {
    nb::gil_scoped_acquire held;
    return PyErr_CheckSignals() != 0;
}

constexpr const char* has_no_way_back = "in 8 bits there is no way back";

int checked_threads(int threads) {
    require(threads >= 1, "at least one thread was expected");
    return threads;
}

// Runs it without Python's lock, and raises what it comes to.
template <class Work>
void run(Work work) {
    Outcome outcome;
    {
        nb::gil_scoped_release free;
        outcome = work(Interrupt{is_interrupted});
    }
    if (outcome == Outcome::no_memory) throw std::bad_alloc();
    if (outcome == Outcome::interrupted) throw nb::python_error();
}

// How many numbers there are of each kind: of a row, and of each weight.
struct Widths {
    std::vector<Index> weights, inputs, constants, states, kept;
};

using Memories = std::vector<Memory>;

// The members of contract.h's Forward and Backward, as Python hands them over.
// What a pass reads: weights, inputs, constants, and the states before its first step.
using HandedRead = std::tuple<Memories, std::vector<Place>, Memories, Memories>;
// What it writes, and a backward pass reads again: the output, and what is kept.
using HandedLeft = std::tuple<Place, Memories>;
// What the loss says of the results: of the output, and of the last states.
using HandedLoss = std::tuple<Place, Memories>;
// Where it goes: the states before, the input, whether that is added to, and the constants.
using HandedFound = std::tuple<Memories, Place, bool, Memories>;
// Of every step: of each state as it is handed on, and of the first with what is given out.
using HandedCarried = std::tuple<Memories, Memory>;
// The weights' gradients: which are wanted, their sums as they grow, and where they go.
using HandedSums = std::tuple<Wanted, Memory, Memories>;

// One kind of layer in one direction, with the instruction set that runs it. It checks that all it
// is handed is there.
template <class T>
class Pass {
   public:
    virtual ~Pass() = default;

    void forward(const Layout& layout, const HandedRead& read, const HandedLeft& left,
                 const Memories& after, int threads) const {
        const auto& [weights, inputs, constants, before] = read;
        const auto& [output, kept] = left;
        check(layout);
        const auto of_rows = counts(widths_.states, layout.rows);
        const auto w = pointers<const T>("a weight", weights, widths_.weights, true);
        const auto x = places(inputs, layout);
        const auto c = pointers<const T>("a constant", constants,
                                         counts(widths_.constants, layout.rows), true);
        const auto s = pointers<const T>("a state", before, of_rows, false);
        const auto n = pointers<T>("a last state", after, of_rows, true);
        std::vector<T*> k;
        if (!kept.empty())
            k = pointers<T>("what is kept", kept, counts(widths_.kept, layout.slots()), true);
        const Forward<T> f = {
            w.data(),
            x.data(),
            c.data(),
            s.data(),
            reached<T>("output", output, layout, widths_.states[0]),
            n.data(),
            kept.empty() ? nullptr : k.data(),
        };
        run([&](Interrupt interrupt) {
            return run_forward(layout, f, checked_threads(threads), interrupt);
        });
    }

    void backward(const Layout& layout, const HandedRead& read, const HandedLeft& left,
                  const HandedLoss& loss, const HandedFound& found, const HandedCarried& watched,
                  const HandedSums& gradients_of_weights, int threads) const {
        const auto& [weights, inputs, constants, before] = read;
        const auto& [output, kept] = left;
        const auto& [d_output, d_after] = loss;
        const auto& [d_before, d_input, adds_to_input, d_constants] = found;
        const auto& [carried, total] = watched;
        const auto& [wanted, sums, gradients] = gradients_of_weights;
        check(layout);
        const Index rows = layout.rows, slots = layout.slots();
        const auto of_rows = counts(widths_.states, rows), of_slots = counts(widths_.states, slots);
        const auto of_constants = counts(widths_.constants, rows);
        const auto w = pointers<const T>("a weight", weights, widths_.weights, true);
        const auto x = places(inputs, layout);
        const auto c = pointers<const T>("a constant", constants, of_constants, true);
        const auto s = pointers<const T>("a state", before, of_rows, false);
        const auto k = pointers<const T>("what is kept", kept, counts(widths_.kept, slots), true);
        const auto d_n = pointers<const T>("d_after", d_after, of_rows, false);
        const auto d_s = pointers<T>("d_before", d_before, of_rows, false);
        const auto each = pointers<T>("carried", carried, of_slots, false);
        const auto d_c = pointers<T>("d_constants", d_constants, of_constants, false);
        const auto d_w = pointers<T>("a gradient", gradients, widths_.weights, false);
        const bool ends = std::any_of(d_w.begin(), d_w.end(), [](T* d) { return d != nullptr; });
        const Backward<T> g = {
            w.data(),
            x.data(),
            c.data(),
            s.data(),
            reached<const T>("output", output, layout, widths_.states[0]),
            k.data(),
            reached_if_given<const T>("d_output", d_output, layout, widths_.states[0]),
            d_n.data(),
            d_s.data(),
            each.data(),
            optional<T>("total", total, of_slots[0]),
            reached_if_given<T>("d_input", d_input, layout, widths_.inputs[0]),
            adds_to_input,
            d_c.data(),
            wanted,
            optional<T>("sums", sums, sums_size(layout, wanted)),
            ends ? d_w.data() : nullptr,
        };
        run([&](Interrupt interrupt) {
            return run_backward(layout, g, checked_threads(threads), interrupt);
        });
    }

    virtual Index sums_size(const Layout& layout, Wanted wanted) const = 0;
    // How many numbers of a slot each tensor of what is kept has.
    const std::vector<Index>& kept() const { return widths_.kept; }

   protected:
    Pass(const Table<T>& table, Widths&& widths) : table_(table), widths_(std::move(widths)) {}

    virtual Outcome run_forward(const Layout&, const Forward<T>&, int threads, Interrupt) const = 0;
    virtual Outcome run_backward(const Layout&, const Backward<T>&, int threads,
                                 Interrupt) const = 0;
    // What a call takes for itself: no size is beyond all memory.
    virtual void check(const Layout&) const {}

    static std::vector<Index> counts(const std::vector<Index>& widths, Index rows) {
        std::vector<Index> all(widths);
        for (Index& count : all) count = times(rows, count);
        return all;
    }

    const Table<T>& table_;

    // What is `needed` is there unless it has no numbers.
    template <class Pointer>
    static std::vector<Pointer*> pointers(const char* name, const Memories& memory,
                                          const std::vector<Index>& counts, bool needed) {
        require(memory.size() == counts.size(),
                std::string(name) + ": more or fewer than expected");
        std::vector<Pointer*> found(memory.size());
        for (std::size_t i = 0; i < memory.size(); ++i)
            found[i] = needed ? needed_if_any<Pointer>(name, memory[i], counts[i])
                              : optional<Pointer>(name, memory[i], counts[i]);
        return found;
    }

    std::vector<Matrix<const T>> places(const std::vector<Place>& places,
                                        const Layout& layout) const {
        require(places.size() == widths_.inputs.size(), "other inputs");
        std::vector<Matrix<const T>> found;
        for (std::size_t i = 0; i < places.size(); ++i)
            found.push_back(reached<const T>("input", places[i], layout, widths_.inputs[i]));
        return found;
    }

   private:
    const Widths widths_;
};

// Of a cell that has kernels.
template <class T>
class KernelPass final : public Pass<T> {
   public:
    KernelPass(int isa, const std::string& multiplied, const std::string& cell, Index inputs,
               Index hidden, Index projection, bool biased)
        : KernelPass(table<T>(isa, multiplied),
                     checked(Shape{cell_named(cell), inputs, hidden, projection, biased})) {}

    // The same with these weights, packed once for all calls, which are handed none.
    KernelPass(const KernelPass& other, const Memories& weights)
        : Pass<T>(other.table_, without_weights(other.shape_)), shape_(other.shape_) {
        const auto from =
            this->template pointers<const T>("a weight", weights, widths(shape_).weights, true);
        const auto bytes = static_cast<std::size_t>(this->table_.packed_size(shape_)) * sizeof(T);
        packed_.reset(static_cast<T*>(::operator new(bytes, line)));
        nb::gil_scoped_release free;
        this->table_.pack(shape_, from.data(), packed_.get());
    }

    Index sums_size(const Layout& layout, Wanted wanted) const override {
        require(this->table_.sums_size, has_no_way_back);
        return this->table_.sums_size(shape_, layout, wanted);
    }

   private:
    KernelPass(const Table<T>& table, const Shape& shape)
        : Pass<T>(table, widths(shape)), shape_(shape) {
        // 255 * 127 of each are to be a number of 32 bits.
        constexpr Index most = Index(1) << 16;
        require(table.backward || (shape.inputs <= most && shape.hidden <= most),
                "in 8 bits so many numbers can't be summed");
    }

    Outcome run_forward(const Layout& layout, const Forward<T>& f, int threads,
                        Interrupt interrupt) const override {
        return this->table_.forward(shape_, layout, f, packed_.get(), threads, interrupt);
    }
    Outcome run_backward(const Layout& layout, const Backward<T>& g, int threads,
                         Interrupt interrupt) const override {
        require(this->table_.backward, has_no_way_back);
        return this->table_.backward(shape_, layout, g, threads, interrupt);
    }

    static constexpr std::align_val_t line{64};
    struct Free {
        void operator()(T* packed) const { ::operator delete(packed, line); }
    };

    static Widths without_weights(const Shape& s) {
        Widths all = widths(s);
        all.weights.clear();
        return all;
    }

    static Widths widths(const Shape& s) {
        const CellKind& kind = kind_of(s.cell);
        const Index rows = kind.gates * s.hidden;
        Widths all;
        all.weights = {rows * s.inputs, rows * s.state()};
        if (s.biased) all.weights.insert(all.weights.end(), {rows, rows});
        all.inputs = {s.inputs};
        all.states = {s.state()};
        if (kind.has_cell) all.states.push_back(s.hidden);
        if (kind.kept) all.kept.push_back(kind.kept * s.hidden);
        if (kind.has_cell) all.kept.push_back(s.hidden);
        if (s.projection) {
            all.weights.push_back(s.projection * s.hidden);
            all.kept.push_back(s.hidden);
        }
        return all;
    }

    const Shape shape_;
    std::unique_ptr<T, Free> packed_;
};

// Of a cell that is given as a program.
template <class T>
class ProgramPass final : public Pass<T> {
   public:
    ProgramPass(int isa, const std::string& multiplied, const LinkedProgram& linked)
        : Pass<T>(table<T>(isa, multiplied), widths(linked.program())), program_(linked.program()) {
        require(this->table_.program_forward, "in 8 bits no program runs");
    }

    Index sums_size(const Layout& layout, Wanted wanted) const override {
        return this->table_.program_sums_size(program_, layout, wanted);
    }

   private:
    Outcome run_forward(const Layout& layout, const Forward<T>& f, int threads,
                        Interrupt interrupt) const override {
        return this->table_.program_forward(program_, layout, f, threads, interrupt);
    }
    Outcome run_backward(const Layout& layout, const Backward<T>& g, int threads,
                         Interrupt interrupt) const override {
        return this->table_.program_backward(program_, layout, g, threads, interrupt);
    }

    // What the stages hand to each other, of all rows.
    void check(const Layout& layout) const override {
        for (const Equations* e : {&program_.infer, &program_.train, &program_.back})
            this->counts(all_of(e->buffers), layout.rows);
        times(layout.slots(), program_.derivatives);
    }

    static std::vector<Index> all_of(const List<Index>& list) {
        return {list.data, list.data + list.count};
    }

    static Widths widths(const Program& p) {
        Widths all = {{}, all_of(p.inputs), all_of(p.constants), all_of(p.states), {p.kept}};
        for (int i = 0; i < p.weight_rows.count; ++i) {
            const Index columns = p.weight_columns.data[i];
            all.weights.push_back(times(p.weight_rows.data[i], columns < 1 ? 1 : columns));
        }
        return all;
    }

    const Program& program_;
};

template <class T>
void bind_passes(nb::module_& m, const char* type) {
    const std::string name(type);
    nb::class_<Pass<T>>(m, ("Pass" + name).c_str())
        .def("forward", &Pass<T>::forward)
        .def("backward", &Pass<T>::backward)
        .def("sums_size", &Pass<T>::sums_size)
        .def_prop_ro("kept", &Pass<T>::kept);
    nb::class_<KernelPass<T>, Pass<T>>(m, ("Kernel" + name).c_str())
        .def(nb::init<int, const std::string&, const std::string&, Index, Index, Index, bool>())
        .def("with_weights", [](const KernelPass<T>& pass, const Memories& weights) {
            return std::make_unique<KernelPass<T>>(pass, weights);
        });
    nb::class_<ProgramPass<T>, Pass<T>>(m, ("Program" + name).c_str())
        .def(nb::init<int, const std::string&, const LinkedProgram&>(), nb::keep_alive<1, 4>());
}

// One instruction by itself.
template <class T>
void instruct(int isa, const std::string& name, const std::vector<Memory>& x, const Memory& y) {
    const int number = instruction_number(name);
    const Index count = std::get<1>(y);
    require(static_cast<int>(x.size()) == instruction_names[number].arity, "other operands");
    const T* from[4] = {};
    for (std::size_t i = 0; i < x.size(); ++i) from[i] = needed<const T>("x", x[i], count);
    table<T>(isa).instruct(static_cast<Code>(number), from, needed<T>("y", y, count), count);
}

// How many multiply-adds so many rounds were.
template <class T>
Index busy(int isa, const std::string& multiplied, Index rounds) {
    require(0 <= rounds && rounds <= Index(1) << 32, "at most 2^32 rounds were expected");
    const Table<T>& here = table<T>(isa, multiplied);
    require(here.busy, "of bytes there is no such measure");
    nb::gil_scoped_release free;
    volatile T sink = here.busy(rounds);
    (void)sink;
    return rounds * here.busy_width;
}

}  // namespace

NB_MODULE(_core, m) {
    // A graph that is alive when Python ends holds its passes; that is no leak of ours.
    nb::set_leak_warnings(false);
    m.def("isas", [] { return builds().names(); });
    m.def("products", &products);
    m.def("cells", [] {
        std::vector<std::tuple<std::string, Index>> all;
        for (const CellKind& kind : cell_kinds) all.emplace_back(kind.name, kind.gates);
        return all;
    });
    nb::class_<Sizes>(m, "Sizes")
        .def(nb::init<Index, std::vector<Index>>())
        .def("offset", &Sizes::offset);
    nb::class_<Layout>(m, "Layout")
        .def("__init__",
             [](Layout* self, Index steps, Index rows, bool reverse, Index begin, Index end) {
                 new (self) Layout(checked({steps, rows, nullptr, nullptr, reverse, begin, end}));
             })
        .def(
            "__init__",
            [](Layout* self, const Sizes& sizes, bool reverse, Index begin, Index end) {
                new (self) Layout(checked(sizes.layout(reverse, begin, end)));
            },
            nb::keep_alive<1, 2>());
    nb::class_<LinkedProgram>(m, "Program")
        .def(nb::init<std::vector<Index>, std::vector<Index>, std::vector<Index>,
                      const std::vector<std::tuple<Index, Index>>&, std::vector<double>,
                      const HandedEquations&, const HandedEquations&, const HandedEquations&, Index,
                      Index, std::vector<Index>, const std::vector<HandedBackTotal>&,
                      const std::vector<HandedGradient>&>());
    bind_passes<float>(m, "F32");
    bind_passes<double>(m, "F64");
    m.def("instruct_f32", &instruct<float>);
    m.def("instruct_f64", &instruct<double>);
    m.def("instructions", [] {
        std::vector<std::tuple<std::string, int>> all;
        for (const InstructionName& i : instruction_names) all.emplace_back(i.name, i.arity);
        return all;
    });
    m.def("busy_f32", &busy<float>);
    m.def("busy_f64", &busy<double>);
}

}  // namespace unrolled
